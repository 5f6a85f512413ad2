// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the HMM range walker, in a mm of the test's own.
 */
#include <kunit/test.h>
#include <linux/hmm.h>
#include <linux/huge_mm.h>
#include <linux/memremap.h>
#include <linux/mman.h>
#include <linux/mmu_notifier.h>
#include <linux/module.h>
#include <linux/pagemap.h>
#include <linux/swap.h>
#include <linux/swapops.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

#define ATTRIBUTES	(HMM_PFN_READ | HMM_PFN_EMPTY | HMM_PFN_SPECIAL |	\
			 HMM_PFN_DEVICE | HMM_PFN_UNADDRESSABLE |		\
			 HMM_PFN_DIRTY | HMM_PFN_YOUNG)

/* No flag of an entry: a test that expects "unchanged" fills this in. */
#define UNTOUCHED	0x5aUL

struct hmm_range_test {
	struct mmu_interval_notifier notifier;
	/* Stands for the driver's own lock, which serialises the callback. */
	struct mutex lock;
	struct hmm_range range;
	unsigned long addr;
	unsigned long npages;
};

static bool hmm_range_test_invalidate(struct mmu_interval_notifier *notifier,
				      const struct mmu_notifier_range *range,
				      unsigned long seq)
{
	struct hmm_range_test *t =
		container_of(notifier, struct hmm_range_test, notifier);

	if (mmu_notifier_range_blockable(range))
		mutex_lock(&t->lock);
	else if (!mutex_trylock(&t->lock))
		return false;
	mmu_interval_set_seq(notifier, seq);
	mutex_unlock(&t->lock);
	return true;
}

static const struct mmu_interval_notifier_ops hmm_range_test_ops = {
	.invalidate = hmm_range_test_invalidate,
};

static void hmm_range_test_remove(void *notifier)
{
	mmu_interval_notifier_remove(notifier);
}

static void hmm_range_test_vfree(void *memory)
{
	vfree(memory);
}

/* Anonymous memory of @npages pages that begins at a multiple of @align */
static struct hmm_range_test *map(struct kunit *test, unsigned long npages,
				  unsigned long align, unsigned long prot)
{
	unsigned long size = npages << PAGE_SHIFT;
	struct hmm_range_test *t;
	unsigned long *pfns;
	unsigned long at;
	int ret;

	t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, t);
	mutex_init(&t->lock);

	at = kunit_vm_mmap(test, NULL, 0, size + align, prot,
			   MAP_ANONYMOUS | MAP_PRIVATE, 0);
	KUNIT_ASSERT_LT(test, at, TASK_SIZE);
	t->addr = ALIGN(at, align);
	t->npages = npages;

	pfns = vcalloc(npages, sizeof(*pfns));
	KUNIT_ASSERT_NOT_NULL(test, pfns);
	ret = kunit_add_action_or_reset(test, hmm_range_test_vfree, pfns);
	KUNIT_ASSERT_EQ(test, 0, ret);

	ret = mmu_interval_notifier_insert(&t->notifier, current->mm, t->addr,
					   size, &hmm_range_test_ops);
	KUNIT_ASSERT_EQ(test, 0, ret);
	ret = kunit_add_action_or_reset(test, hmm_range_test_remove,
					&t->notifier);
	KUNIT_ASSERT_EQ(test, 0, ret);

	t->range.notifier = &t->notifier;
	t->range.hmm_pfns = pfns;
	t->range.start = t->addr;
	t->range.end = t->addr + size;
	return t;
}

static struct hmm_range_test *map_small(struct kunit *test, unsigned long npages)
{
	struct hmm_range_test *t = map(test, npages, PAGE_SIZE,
				       PROT_READ | PROT_WRITE);
	struct vm_area_struct *vma;

	mmap_write_lock(current->mm);
	vma = find_vma(current->mm, t->addr);
	vm_flags_set(vma, VM_NOHUGEPAGE);
	mmap_write_unlock(current->mm);
	return t;
}

static int walk(struct hmm_range_test *t, int (*walker)(struct hmm_range *))
{
	int ret;

	t->range.notifier_seq = mmu_interval_read_begin(&t->notifier);
	mmap_read_lock(current->mm);
	ret = walker(&t->range);
	mmap_read_unlock(current->mm);
	return ret;
}

static int fault(struct hmm_range_test *t, unsigned long flags)
{
	t->range.default_flags = flags;
	t->range.pfn_flags_mask = 0;
	return walk(t, hmm_range_fault);
}

static void touch(struct kunit *test, struct hmm_range_test *t,
		  unsigned long page)
{
	KUNIT_ASSERT_EQ(test, 0, put_user('x', (char __user *)t->addr +
					       (page << PAGE_SHIFT)));
}

static void read_page(struct kunit *test, struct hmm_range_test *t,
		      unsigned long page)
{
	char c;

	KUNIT_ASSERT_EQ(test, 0, get_user(c, (char __user *)t->addr +
					     (page << PAGE_SHIFT)));
}

static void unmap(struct kunit *test, struct hmm_range_test *t,
		  unsigned long page)
{
	KUNIT_ASSERT_EQ(test, 0, vm_munmap(t->addr + (page << PAGE_SHIFT),
					   PAGE_SIZE));
}

/* What handle_mm_fault() has served to this thread, for others' mm too */
static unsigned long faults_taken(void)
{
	return current->min_flt + current->maj_flt;
}

static unsigned long flags_of(unsigned long entry)
{
	return entry & HMM_PFN_FLAGS;
}

/* One fault for each 2 MiB page of a hole, not for each 4 KiB of it */
static void thp_hole(struct kunit *test)
{
	const unsigned long size = 64UL << 20;
	unsigned long before, i, bad = 0;
	struct hmm_range_test *t;

	t = map(test, size >> PAGE_SHIFT, PMD_SIZE, PROT_READ | PROT_WRITE);
	before = faults_taken();
	KUNIT_EXPECT_EQ(test, 0, fault(t, HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE));
	KUNIT_EXPECT_EQ(test, size / PMD_SIZE, faults_taken() - before);

	for (i = 0; i < t->npages; i++)
		bad += hmm_pfn_to_map_order(t->range.hmm_pfns[i]) != PMD_ORDER;
	KUNIT_EXPECT_EQ(test, 0, bad);
}

static void small_hole(struct kunit *test)
{
	struct hmm_range_test *t = map_small(test, 100);
	unsigned long before = faults_taken();

	KUNIT_EXPECT_EQ(test, 0, fault(t, HMM_PFN_REQ_FAULT));
	KUNIT_EXPECT_EQ(test, 100, faults_taken() - before);
	/* Present now: nothing left to fault */
	KUNIT_EXPECT_EQ(test, 0, fault(t, HMM_PFN_REQ_FAULT));
	KUNIT_EXPECT_EQ(test, 100, faults_taken() - before);
}

static void fault_reports_no_attributes(struct kunit *test)
{
	struct hmm_range_test *t = map_small(test, 3);

	touch(test, t, 1);
	KUNIT_ASSERT_EQ(test, 0, fault(t, 0));
	KUNIT_EXPECT_EQ(test, 0, t->range.hmm_pfns[0]);
	KUNIT_EXPECT_EQ(test, HMM_PFN_VALID | HMM_PFN_WRITE,
			flags_of(t->range.hmm_pfns[1]));
	KUNIT_EXPECT_EQ(test, 0, t->range.hmm_pfns[2]);
}

static void snapshot_small(struct kunit *test)
{
	struct hmm_range_test *t = map_small(test, 4);
	unsigned long before;

	touch(test, t, 1);
	read_page(test, t, 2);
	before = faults_taken();

	/* Requests do not count. */
	t->range.default_flags = HMM_PFN_REQ_FAULT;
	t->range.pfn_flags_mask = ~0UL;
	KUNIT_ASSERT_EQ(test, 0, walk(t, hmm_range_snapshot));

	KUNIT_EXPECT_EQ(test, before, faults_taken());
	KUNIT_EXPECT_EQ(test, HMM_PFN_EMPTY, t->range.hmm_pfns[0]);
	KUNIT_EXPECT_EQ(test, HMM_PFN_VALID | HMM_PFN_WRITE | HMM_PFN_READ |
			      HMM_PFN_DIRTY | HMM_PFN_YOUNG,
			flags_of(t->range.hmm_pfns[1]));
	KUNIT_EXPECT_EQ(test, HMM_PFN_VALID | HMM_PFN_READ,
			flags_of(t->range.hmm_pfns[2]));
	KUNIT_EXPECT_TRUE(test, is_zero_pfn(t->range.hmm_pfns[2] & ~HMM_PFN_FLAGS));
	KUNIT_EXPECT_EQ(test, HMM_PFN_EMPTY, t->range.hmm_pfns[3]);
}

static void snapshot_thp(struct kunit *test)
{
	const unsigned long order = (unsigned long)PMD_ORDER << HMM_PFN_ORDER_SHIFT;
	struct hmm_range_test *t;

	t = map(test, 2 * HPAGE_PMD_NR, PMD_SIZE, PROT_READ | PROT_WRITE);
	touch(test, t, 7);
	/* Cut the mapping at its beginning, and end behind a hole of two pages */
	t->range.start += 3 * PAGE_SIZE;
	t->range.end = t->addr + PMD_SIZE + 2 * PAGE_SIZE;
	KUNIT_ASSERT_EQ(test, 0, walk(t, hmm_range_snapshot));

	KUNIT_EXPECT_EQ(test, HMM_PFN_VALID | HMM_PFN_WRITE | HMM_PFN_READ |
			      HMM_PFN_DIRTY | HMM_PFN_YOUNG | order,
			flags_of(t->range.hmm_pfns[0]));
	KUNIT_EXPECT_EQ(test, 3, t->range.hmm_pfns[0] & (HPAGE_PMD_NR - 1));
	KUNIT_EXPECT_EQ(test, t->range.hmm_pfns[0] + HPAGE_PMD_NR - 4,
			t->range.hmm_pfns[HPAGE_PMD_NR - 4]);
	KUNIT_EXPECT_EQ(test, HMM_PFN_EMPTY, t->range.hmm_pfns[HPAGE_PMD_NR - 3]);
	KUNIT_EXPECT_EQ(test, HMM_PFN_EMPTY, t->range.hmm_pfns[HPAGE_PMD_NR - 2]);
	KUNIT_EXPECT_EQ(test, 0, t->range.hmm_pfns[HPAGE_PMD_NR - 1]);
}

static void snapshot_no_vma(struct kunit *test)
{
	struct hmm_range_test *t = map_small(test, 3);

	unmap(test, t, 1);
	KUNIT_ASSERT_EQ(test, 0, walk(t, hmm_range_snapshot));
	KUNIT_EXPECT_EQ(test, HMM_PFN_EMPTY, t->range.hmm_pfns[0]);
	KUNIT_EXPECT_EQ(test, HMM_PFN_ERROR, t->range.hmm_pfns[1]);
	KUNIT_EXPECT_EQ(test, HMM_PFN_EMPTY, t->range.hmm_pfns[2]);
}

static void snapshot_prot_none(struct kunit *test)
{
	struct hmm_range_test *t = map(test, 1, PAGE_SIZE, PROT_NONE);

	KUNIT_ASSERT_EQ(test, 0, walk(t, hmm_range_snapshot));
	KUNIT_EXPECT_EQ(test, HMM_PFN_ERROR, t->range.hmm_pfns[0]);
}

static void snapshot_special(struct kunit *test)
{
	struct hmm_range_test *t = map_small(test, 1);

	touch(test, t, 0);
	mmap_write_lock(current->mm);
	vm_flags_set(find_vma(current->mm, t->addr), VM_IO);
	mmap_write_unlock(current->mm);

	KUNIT_ASSERT_EQ(test, 0, walk(t, hmm_range_snapshot));
	KUNIT_EXPECT_EQ(test, HMM_PFN_ERROR | HMM_PFN_SPECIAL, t->range.hmm_pfns[0]);
	KUNIT_EXPECT_EQ(test, -EFAULT, fault(t, HMM_PFN_REQ_FAULT));

	mmap_write_lock(current->mm);
	vm_flags_clear(find_vma(current->mm, t->addr), VM_IO);
	mmap_write_unlock(current->mm);
}

/* A page that requests nothing is not faulted, whatever its neighbours want. */
static void requests_per_page(struct kunit *test)
{
	struct hmm_range_test *t = map_small(test, 4);
	unsigned long before = faults_taken();
	unsigned long *pfns = t->range.hmm_pfns;

	pfns[1] = HMM_PFN_REQ_FAULT;
	pfns[2] = HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE;
	/* To write without to fault asks for nothing. */
	pfns[3] = HMM_PFN_REQ_WRITE;
	t->range.pfn_flags_mask = HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE;
	KUNIT_ASSERT_EQ(test, 0, walk(t, hmm_range_fault));

	KUNIT_EXPECT_EQ(test, 2, faults_taken() - before);
	KUNIT_EXPECT_EQ(test, 0, pfns[0]);
	KUNIT_EXPECT_EQ(test, HMM_PFN_VALID, flags_of(pfns[1]));
	KUNIT_EXPECT_EQ(test, HMM_PFN_VALID | HMM_PFN_WRITE, flags_of(pfns[2]));
	KUNIT_EXPECT_EQ(test, 0, pfns[3]);
}

static void unrequested_page_does_not_fail(struct kunit *test)
{
	struct hmm_range_test *t = map_small(test, 3);
	unsigned long *pfns = t->range.hmm_pfns;

	unmap(test, t, 1);
	pfns[0] = HMM_PFN_REQ_FAULT;
	pfns[2] = HMM_PFN_REQ_FAULT;
	t->range.pfn_flags_mask = ~0UL;
	KUNIT_ASSERT_EQ(test, 0, walk(t, hmm_range_fault));
	KUNIT_EXPECT_EQ(test, HMM_PFN_VALID, flags_of(pfns[0]));
	KUNIT_EXPECT_EQ(test, HMM_PFN_ERROR, pfns[1]);
	KUNIT_EXPECT_EQ(test, HMM_PFN_VALID, flags_of(pfns[2]));
}

/* Entries before the address that fails are final, the others are as they were. */
static void outputs_on_error(struct kunit *test)
{
	struct hmm_range_test *t = map_small(test, 4);
	unsigned long *pfns = t->range.hmm_pfns;

	unmap(test, t, 2);
	pfns[0] = UNTOUCHED;
	pfns[1] = UNTOUCHED;
	pfns[2] = UNTOUCHED;
	pfns[3] = UNTOUCHED;
	KUNIT_ASSERT_EQ(test, -EFAULT, fault(t, HMM_PFN_REQ_FAULT));
	KUNIT_EXPECT_EQ(test, HMM_PFN_VALID, flags_of(pfns[0]));
	KUNIT_EXPECT_EQ(test, HMM_PFN_VALID, flags_of(pfns[1]));
	KUNIT_EXPECT_EQ(test, UNTOUCHED, pfns[2]);
	KUNIT_EXPECT_EQ(test, UNTOUCHED, pfns[3]);
}

static void write_to_read_only(struct kunit *test)
{
	struct hmm_range_test *t = map(test, 2, PAGE_SIZE, PROT_READ);
	unsigned long before = faults_taken();

	t->range.hmm_pfns[0] = UNTOUCHED;
	KUNIT_EXPECT_EQ(test, -EPERM,
			fault(t, HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE));
	KUNIT_EXPECT_EQ(test, UNTOUCHED, t->range.hmm_pfns[0]);
	KUNIT_EXPECT_EQ(test, before, faults_taken());
	KUNIT_EXPECT_EQ(test, 0, fault(t, HMM_PFN_REQ_FAULT));
}

static void bad_ranges(struct kunit *test)
{
	struct hmm_range_test *t = map_small(test, 4);
	const struct hmm_range good = t->range;

	t->range.end = good.start;
	KUNIT_EXPECT_EQ(test, -EINVAL, walk(t, hmm_range_fault));
	KUNIT_EXPECT_EQ(test, -EINVAL, walk(t, hmm_range_snapshot));
	t->range.end = good.start - PAGE_SIZE;
	KUNIT_EXPECT_EQ(test, -EINVAL, walk(t, hmm_range_fault));
	t->range.end = good.end - 1;
	KUNIT_EXPECT_EQ(test, -EINVAL, walk(t, hmm_range_fault));
	t->range.end = good.end;
	t->range.start = good.start + 1;
	KUNIT_EXPECT_EQ(test, -EINVAL, walk(t, hmm_range_fault));
	t->range.start = good.start;
	KUNIT_EXPECT_EQ(test, 0, walk(t, hmm_range_fault));
}

/* Whoever comes with the sequence number of before an invalidation is sent back. */
static void invalidated_before(struct kunit *test)
{
	struct hmm_range_test *t = map_small(test, 2);
	unsigned long seq = mmu_interval_read_begin(&t->notifier);

	unmap(test, t, 1);
	t->range.notifier_seq = seq;
	t->range.default_flags = 0;
	mmap_read_lock(current->mm);
	KUNIT_EXPECT_EQ(test, -EBUSY, hmm_range_fault(&t->range));
	KUNIT_EXPECT_EQ(test, -EBUSY, hmm_range_snapshot(&t->range));
	mmap_read_unlock(current->mm);
	KUNIT_EXPECT_EQ(test, 0, fault(t, 0));
}

/* The pfn is that of the page which get_user_pages() finds. */
static void pfns_are_right(struct kunit *test)
{
	struct hmm_range_test *t = map_small(test, 8);
	struct page *page;
	unsigned long i;

	KUNIT_ASSERT_EQ(test, 0, fault(t, HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE));
	for (i = 0; i < t->npages; i++) {
		KUNIT_ASSERT_EQ(test, 1, get_user_pages_fast(t->addr +
				(i << PAGE_SHIFT), 1, FOLL_WRITE, &page));
		KUNIT_EXPECT_PTR_EQ(test, page,
				    hmm_pfn_to_page(t->range.hmm_pfns[i]));
		put_page(page);
	}
}

/*
 * A device whose driver declines to migrate its page back: the fault succeeds
 * and nothing has changed, as with drivers that fault on themselves.
 */
struct stubborn_device {
	struct dev_pagemap pgmap;
	struct page *page;
	unsigned int asked;
};

static vm_fault_t stubborn_migrate_to_ram(struct vm_fault *vmf)
{
	container_of(vmf->page->pgmap, struct stubborn_device, pgmap)->asked++;
	return 0;
}

static void stubborn_page_free(struct page *page)
{
}

static const struct dev_pagemap_ops stubborn_ops = {
	.migrate_to_ram = stubborn_migrate_to_ram,
	.page_free = stubborn_page_free,
};

static void stubborn_remove(void *arg)
{
	struct stubborn_device *dev = arg;

	put_page(dev->page);
	memunmap_pages(&dev->pgmap);
	release_mem_region(dev->pgmap.range.start, range_len(&dev->pgmap.range));
}

static struct stubborn_device *stubborn_device(struct kunit *test)
{
	struct stubborn_device *dev;
	struct resource *res;
	void *ret;

	dev = kunit_kzalloc(test, sizeof(*dev), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, dev);
	res = request_free_mem_region(&iomem_resource, PMD_SIZE, "hmm_range");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, res);

	dev->pgmap.type = MEMORY_DEVICE_PRIVATE;
	dev->pgmap.range.start = res->start;
	dev->pgmap.range.end = res->end;
	dev->pgmap.nr_range = 1;
	dev->pgmap.ops = &stubborn_ops;
	dev->pgmap.owner = dev;
	ret = memremap_pages(&dev->pgmap, NUMA_NO_NODE);
	if (IS_ERR(ret)) {
		release_mem_region(res->start, resource_size(res));
		KUNIT_FAIL_AND_ABORT(test, "memremap_pages: %pe", ret);
	}

	dev->page = pfn_to_page(PHYS_PFN(dev->pgmap.range.start));
	zone_device_page_init(dev->page);
	unlock_page(dev->page);
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, stubborn_remove, dev));
	return dev;
}

static int put_entry_pte(pte_t *ptep, unsigned long addr, void *entry)
{
	set_pte_at(current->mm, addr, ptep, *(pte_t *)entry);
	return 0;
}

/* Entries that are set by hand have no part in the mm's counters: clear them. */
static void put_entry(struct kunit *test, struct hmm_range_test *t,
		      unsigned long page, pte_t pte)
{
	int ret;

	mmap_write_lock(current->mm);
	ret = apply_to_page_range(current->mm, t->addr + (page << PAGE_SHIFT),
				  PAGE_SIZE, put_entry_pte, &pte);
	mmap_write_unlock(current->mm);
	KUNIT_EXPECT_EQ(test, 0, ret);
}

static void private_page_of_own_device(struct kunit *test)
{
	struct stubborn_device *dev = stubborn_device(test);
	struct hmm_range_test *t = map_small(test, 3);
	unsigned long pfn = page_to_pfn(dev->page);
	unsigned long *pfns = t->range.hmm_pfns;
	pte_t writable, readable;

	writable = swp_entry_to_pte(make_writable_device_private_entry(pfn));
	readable = swp_entry_to_pte(make_readable_device_private_entry(pfn));
	touch(test, t, 0);
	touch(test, t, 2);
	t->range.dev_private_owner = dev;

	put_entry(test, t, 1, writable);
	KUNIT_EXPECT_EQ(test, 0, fault(t, HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE));
	KUNIT_EXPECT_EQ(test, pfn | HMM_PFN_VALID | HMM_PFN_WRITE, pfns[1]);
	KUNIT_EXPECT_EQ(test, 0, walk(t, hmm_range_snapshot));
	KUNIT_EXPECT_EQ(test, pfn | HMM_PFN_VALID | HMM_PFN_WRITE |
			      HMM_PFN_DEVICE | HMM_PFN_UNADDRESSABLE, pfns[1]);

	put_entry(test, t, 1, readable);
	KUNIT_EXPECT_EQ(test, 0, fault(t, HMM_PFN_REQ_FAULT));
	KUNIT_EXPECT_EQ(test, pfn | HMM_PFN_VALID, pfns[1]);
	KUNIT_EXPECT_EQ(test, 0, dev->asked);

	/* Asked once to give the page back; it does not, so that is all there is. */
	KUNIT_EXPECT_EQ(test, 0, fault(t, HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE));
	KUNIT_EXPECT_EQ(test, pfn | HMM_PFN_VALID, pfns[1]);
	KUNIT_EXPECT_EQ(test, HMM_PFN_VALID | HMM_PFN_WRITE, flags_of(pfns[2]));
	KUNIT_EXPECT_EQ(test, 1, dev->asked);

	put_entry(test, t, 1, __pte(0));
}

/* Nobody's walk goes on for ever because a driver does not do its work. */
static void private_page_of_stubborn_device(struct kunit *test)
{
	struct stubborn_device *dev = stubborn_device(test);
	struct hmm_range_test *t = map_small(test, 3);
	unsigned long *pfns = t->range.hmm_pfns;
	swp_entry_t entry;

	entry = make_writable_device_private_entry(page_to_pfn(dev->page));
	put_entry(test, t, 1, swp_entry_to_pte(entry));

	KUNIT_EXPECT_EQ(test, 0, fault(t, 0));
	KUNIT_EXPECT_EQ(test, 0, pfns[1]);
	KUNIT_EXPECT_EQ(test, 0, walk(t, hmm_range_snapshot));
	KUNIT_EXPECT_EQ(test, HMM_PFN_DEVICE | HMM_PFN_UNADDRESSABLE, pfns[1]);

	pfns[1] = UNTOUCHED;
	KUNIT_EXPECT_EQ(test, -EBUSY, fault(t, HMM_PFN_REQ_FAULT));
	KUNIT_EXPECT_EQ(test, HMM_PFN_VALID, flags_of(pfns[0]));
	KUNIT_EXPECT_EQ(test, UNTOUCHED, pfns[1]);
	KUNIT_EXPECT_GE(test, dev->asked, 2);
	KUNIT_EXPECT_LE(test, dev->asked, 100);

	put_entry(test, t, 1, __pte(0));
}

static void flags_leave_room_for_pfns(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, 0, ATTRIBUTES & ~HMM_PFN_FLAGS);
	KUNIT_EXPECT_EQ(test, 0, ATTRIBUTES &
			(HMM_PFN_VALID | HMM_PFN_WRITE | HMM_PFN_ERROR |
			 0x1fUL << HMM_PFN_ORDER_SHIFT));
	KUNIT_EXPECT_EQ(test, IS_ENABLED(CONFIG_64BIT) ? 7 : 0,
			hweight_long(ATTRIBUTES));
}

static struct kunit_case hmm_range_cases[] = {
	KUNIT_CASE(thp_hole),
	KUNIT_CASE(small_hole),
	KUNIT_CASE(fault_reports_no_attributes),
	KUNIT_CASE(snapshot_small),
	KUNIT_CASE(snapshot_thp),
	KUNIT_CASE(snapshot_no_vma),
	KUNIT_CASE(snapshot_prot_none),
	KUNIT_CASE(snapshot_special),
	KUNIT_CASE(requests_per_page),
	KUNIT_CASE(unrequested_page_does_not_fail),
	KUNIT_CASE(outputs_on_error),
	KUNIT_CASE(write_to_read_only),
	KUNIT_CASE(bad_ranges),
	KUNIT_CASE(invalidated_before),
	KUNIT_CASE(pfns_are_right),
	KUNIT_CASE(private_page_of_own_device),
	KUNIT_CASE(private_page_of_stubborn_device),
	KUNIT_CASE(flags_leave_room_for_pfns),
	{}
};

static struct kunit_suite hmm_range_suite = {
	.name = "hmm_range",
	.test_cases = hmm_range_cases,
};

kunit_test_suite(hmm_range_suite);

MODULE_DESCRIPTION("KUnit tests of the HMM range walker");
MODULE_LICENSE("GPL");
