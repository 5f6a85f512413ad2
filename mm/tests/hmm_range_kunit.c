// SPDX-License-Identifier: GPL-2.0
/*
 * The HMM range walker in a mm that the test owns: what holds for every call.
 * hmm_range_cells.c tests the states of a page, hmm_range_race.c concurrent changes.
 */
#include <linux/file.h>
#include <linux/hugetlb.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/sched/signal.h>
#include <linux/swap.h>
#include <linux/swapops.h>

#include "hmm_range_states.h"

/* Map @npages of anonymous memory at a multiple of @align. */
static struct hmm_range_test *map(struct kunit *test, unsigned long npages,
				  unsigned long align)
{
	unsigned long addr = hmm_test_mmap(test, npages << PAGE_SHIFT, align);

	return hmm_test_watch(test, addr, npages);
}

/* Map so few pages that no THP fits. */
static struct hmm_range_test *map_small(struct kunit *test, unsigned long npages)
{
	return map(test, npages, PAGE_SIZE);
}

static void write_page(struct kunit *test, struct hmm_range_test *t,
		       unsigned long page)
{
	hmm_test_write(test, t->addr + (page << PAGE_SHIFT));
}

static void unmap(struct kunit *test, struct hmm_range_test *t,
		  unsigned long page)
{
	KUNIT_ASSERT_EQ(test, 0, vm_munmap(t->addr + (page << PAGE_SHIFT),
					   PAGE_SIZE));
}

/* A hole takes one fault for each 2 MiB page, and not one for each 4 KiB. */
static void thp_hole_takes_one_fault_each(struct kunit *test)
{
	const unsigned long size = 64UL << 20;
	unsigned long before, i, bad = 0;
	struct hmm_range_test *t;

	t = map(test, size >> PAGE_SHIFT, PMD_SIZE);
	before = hmm_test_faults();
	KUNIT_EXPECT_EQ(test, 0, hmm_test_fault(t, HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE));
	KUNIT_EXPECT_EQ(test, size / PMD_SIZE, hmm_test_faults() - before);

	for (i = 0; i < t->npages; i++)
		bad += hmm_pfn_to_map_order(t->range.hmm_pfns[i]) != PMD_ORDER;
	KUNIT_EXPECT_EQ(test, 0, bad);
}

/*
 * A hole without THPs takes one fault for each page, and none when the pages are present.
 */
static void small_hole_takes_fault_per_page(struct kunit *test)
{
	struct hmm_range_test *t = map_small(test, 100);
	unsigned long before = hmm_test_faults();

	KUNIT_EXPECT_EQ(test, 0, hmm_test_fault(t, HMM_PFN_REQ_FAULT));
	KUNIT_EXPECT_EQ(test, 100, hmm_test_faults() - before);
	/* All pages are present, so no fault remains. */
	KUNIT_EXPECT_EQ(test, 0, hmm_test_fault(t, HMM_PFN_REQ_FAULT));
	KUNIT_EXPECT_EQ(test, 100, hmm_test_faults() - before);
}

/* A page without a request is not faulted in, whatever its neighbours request. */
static void requests_per_page(struct kunit *test)
{
	struct hmm_range_test *t = map_small(test, 4);
	unsigned long before = hmm_test_faults();
	unsigned long *pfns = t->range.hmm_pfns;

	pfns[1] = HMM_PFN_REQ_FAULT;
	pfns[2] = HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE;
	/* HMM_PFN_REQ_WRITE without HMM_PFN_REQ_FAULT requests nothing. */
	pfns[3] = HMM_PFN_REQ_WRITE;
	t->range.pfn_flags_mask = HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE;
	KUNIT_ASSERT_EQ(test, 0, hmm_test_walk(t, hmm_range_fault));

	KUNIT_EXPECT_EQ(test, 2, hmm_test_faults() - before);
	KUNIT_EXPECT_EQ(test, 0, pfns[0]);
	KUNIT_EXPECT_EQ(test, HMM_PFN_VALID, hmm_test_flags(pfns[1]));
	KUNIT_EXPECT_EQ(test, HMM_PFN_VALID | HMM_PFN_WRITE, hmm_test_flags(pfns[2]));
	KUNIT_EXPECT_EQ(test, 0, pfns[3]);
}

/* pfn_flags_mask filters the requests of entries; default_flags adds to them. */
static void requests_masked(struct kunit *test)
{
	struct hmm_range_test *t = map_small(test, 3);
	unsigned long *pfns = t->range.hmm_pfns;

	pfns[1] = HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE;
	KUNIT_ASSERT_EQ(test, 0, hmm_test_walk(t, hmm_range_fault));
	KUNIT_EXPECT_EQ(test, 0, pfns[1]);

	pfns[1] = HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE;
	t->range.pfn_flags_mask = HMM_PFN_REQ_FAULT;
	KUNIT_ASSERT_EQ(test, 0, hmm_test_walk(t, hmm_range_fault));
	KUNIT_EXPECT_EQ(test, HMM_PFN_VALID, hmm_test_flags(pfns[1]));
	KUNIT_EXPECT_EQ(test, 0, pfns[0]);

	pfns[0] = 0;
	pfns[1] = 0;
	pfns[2] = HMM_PFN_REQ_WRITE;
	t->range.pfn_flags_mask = HMM_PFN_REQ_WRITE;
	t->range.default_flags = HMM_PFN_REQ_FAULT;
	KUNIT_ASSERT_EQ(test, 0, hmm_test_walk(t, hmm_range_fault));
	KUNIT_EXPECT_EQ(test, HMM_PFN_VALID, hmm_test_flags(pfns[0]));
	KUNIT_EXPECT_EQ(test, HMM_PFN_VALID | HMM_PFN_WRITE, hmm_test_flags(pfns[2]));
}

/* The snapshot ignores all requests. */
static void snapshot_ignores_requests(struct kunit *test)
{
	struct hmm_range_test *t = map_small(test, 2);
	unsigned long before = hmm_test_faults();

	t->range.hmm_pfns[0] = HMM_PFN_REQ_FAULT;
	t->range.default_flags = HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE;
	t->range.pfn_flags_mask = ~0UL;
	unmap(test, t, 1);
	KUNIT_EXPECT_EQ(test, 0, hmm_test_walk(t, hmm_range_snapshot));
	KUNIT_EXPECT_EQ(test, before, hmm_test_faults());
	KUNIT_EXPECT_EQ(test, HMM_PFN_EMPTY, t->range.hmm_pfns[0]);
	KUNIT_EXPECT_EQ(test, HMM_PFN_ERROR, t->range.hmm_pfns[1]);
}

/*
 * The walker handles many VMAs of different kinds with a gap. It fails at the first page
 * that is requested and not available.
 */
static void several_vmas(struct kunit *test)
{
	struct hmm_range_test *t = map_small(test, 8);
	unsigned long *pfns = t->range.hmm_pfns, i;

	for (i = 0; i < t->npages; i++)
		write_page(test, t, i);
	for (i = 1; i < t->npages; i += 2)
		KUNIT_ASSERT_EQ(test, t->addr + (i << PAGE_SHIFT),
				vm_mmap(NULL, t->addr + (i << PAGE_SHIFT), PAGE_SIZE,
					PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, 0));
	unmap(test, t, 5);

	KUNIT_ASSERT_EQ(test, 0, hmm_test_fault(t, 0));
	for (i = 0; i < t->npages; i++)
		KUNIT_EXPECT_EQ(test, i == 5 ? HMM_PFN_ERROR :
				i % 2 ? 0 : HMM_PFN_VALID | HMM_PFN_WRITE,
				hmm_test_flags(pfns[i]));

	for (i = 0; i < t->npages; i++)
		pfns[i] = HMM_TEST_UNTOUCHED;
	KUNIT_ASSERT_EQ(test, -EFAULT, hmm_test_fault(t, HMM_PFN_REQ_FAULT));
	for (i = 0; i < 5; i++)
		KUNIT_EXPECT_EQ(test, i % 2 ? HMM_PFN_VALID : HMM_PFN_VALID | HMM_PFN_WRITE,
				hmm_test_flags(pfns[i]));
	for (; i < t->npages; i++)
		KUNIT_EXPECT_EQ(test, HMM_TEST_UNTOUCHED, pfns[i]);

	/* A gap without a request is ignored. */
	t->range.default_flags = 0;
	t->range.pfn_flags_mask = ~0UL;
	for (i = 0; i < t->npages; i++)
		pfns[i] = i == 5 ? 0 : HMM_PFN_REQ_FAULT;
	KUNIT_ASSERT_EQ(test, 0, hmm_test_walk(t, hmm_range_fault));
	KUNIT_EXPECT_EQ(test, HMM_PFN_ERROR, pfns[5]);
	KUNIT_EXPECT_EQ(test, HMM_PFN_VALID, hmm_test_flags(pfns[7]));
}

/* Map two pages on both sides of a boundary between two tables. */
static struct hmm_range_test *map_around(struct kunit *test, unsigned long boundary)
{
	unsigned long at = boundary - 2 * PAGE_SIZE;

	KUNIT_ASSERT_EQ(test, at, kunit_vm_mmap(test, NULL, at, 4 * PAGE_SIZE,
						PROT_READ | PROT_WRITE,
						MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, 0));
	return hmm_test_watch(test, at, 4);
}

/* The walker crosses the boundaries between tables of every level. */
static void crosses_every_level(struct kunit *test)
{
	/* The second of each pair has no tables on its left. */
	const unsigned long boundaries[] = {
		PMD_SIZE, 4 * PMD_SIZE, PUD_SIZE, 4 * PUD_SIZE,
		P4D_SIZE, 4 * P4D_SIZE, PGDIR_SIZE, 4 * PGDIR_SIZE,
	};
	unsigned long addr, i, page;
	struct hmm_range_test *t;
	struct page *there;

	kunit_info(test, "%d levels", pgtable_l5_enabled() ? 5 : 4);
	for (i = 0; i < ARRAY_SIZE(boundaries); i++) {
		t = map_around(test, boundaries[i]);
		KUNIT_EXPECT_EQ(test, 0, hmm_test_walk(t, hmm_range_snapshot));
		for (page = 0; page < 4; page++)
			KUNIT_EXPECT_EQ(test, HMM_PFN_EMPTY, t->range.hmm_pfns[page]);
		/* Only one side has tables. */
		write_page(test, t, 2);
		KUNIT_EXPECT_EQ(test, 0, hmm_test_fault(t, 0));
		KUNIT_EXPECT_EQ(test, 0, t->range.hmm_pfns[1]);
		KUNIT_EXPECT_TRUE(test, t->range.hmm_pfns[2] & HMM_PFN_VALID);

		KUNIT_EXPECT_EQ(test, 0, hmm_test_fault(t, HMM_PFN_REQ_FAULT |
							   HMM_PFN_REQ_WRITE));
		for (page = 0; page < 4; page++) {
			addr = t->addr + (page << PAGE_SHIFT);
			KUNIT_ASSERT_EQ(test, 1, get_user_pages_fast(addr, 1, FOLL_WRITE,
								     &there));
			KUNIT_EXPECT_PTR_EQ(test, there,
					    hmm_pfn_to_page(t->range.hmm_pfns[page]));
			put_page(there);
		}
	}
}

/* After the last VMA every page is an error. */
static void above_last_vma(struct kunit *test)
{
	unsigned long at = DEFAULT_MAP_WINDOW - 16 * PAGE_SIZE;
	struct hmm_range_test *t;

	KUNIT_ASSERT_EQ(test, at, kunit_vm_mmap(test, NULL, at, PAGE_SIZE, PROT_READ,
						MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, 0));
	t = hmm_test_watch(test, at, 3);
	KUNIT_EXPECT_EQ(test, 0, hmm_test_walk(t, hmm_range_snapshot));
	KUNIT_EXPECT_EQ(test, HMM_PFN_EMPTY, t->range.hmm_pfns[0]);
	KUNIT_EXPECT_EQ(test, HMM_PFN_ERROR, t->range.hmm_pfns[1]);
	KUNIT_EXPECT_EQ(test, HMM_PFN_ERROR, t->range.hmm_pfns[2]);
	t->range.hmm_pfns[1] = HMM_TEST_UNTOUCHED;
	KUNIT_EXPECT_EQ(test, -EFAULT, hmm_test_fault(t, HMM_PFN_REQ_FAULT));
	KUNIT_EXPECT_EQ(test, HMM_PFN_VALID, hmm_test_flags(t->range.hmm_pfns[0]));
	KUNIT_EXPECT_EQ(test, HMM_TEST_UNTOUCHED, t->range.hmm_pfns[1]);
}

/* Map hugetlb pages at @addr. */
static void map_hugetlb(struct kunit *test, unsigned long addr, unsigned long npages)
{
	unsigned long size = npages * PMD_SIZE, at;
	struct file *file;

	file = hugetlb_file_setup("hmm_range", size, VM_NORESERVE,
				  HUGETLB_ANONHUGE_INODE, PMD_SHIFT);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, file);
	at = kunit_vm_mmap(test, file, addr, size, PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_FIXED, 0);
	fput(file);
	KUNIT_ASSERT_EQ(test, addr, at);
}

static struct page *page_at(struct kunit *test, unsigned long addr)
{
	struct page *page;

	KUNIT_ASSERT_EQ(test, 1, get_user_pages_fast(addr, 1, 0, &page));
	put_page(page);
	return page;
}

/* A hugetlb VMA far from all others has no tables, and its pages are empty. */
static void hugetlb_without_tables(struct kunit *test)
{
	struct hmm_range_test *t;
	unsigned long i;

	map_hugetlb(test, P4D_SIZE, 1);
	t = hmm_test_watch(test, P4D_SIZE, HPAGE_PMD_NR);
	KUNIT_EXPECT_EQ(test, 0, hmm_test_walk(t, hmm_range_snapshot));
	for (i = 0; i < t->npages; i++)
		KUNIT_EXPECT_EQ(test, HMM_PFN_EMPTY, t->range.hmm_pfns[i]);
	KUNIT_EXPECT_EQ(test, 0, hmm_test_fault(t, 0));
	KUNIT_EXPECT_EQ(test, 0, t->range.hmm_pfns[0]);
	KUNIT_EXPECT_EQ(test, 0, hmm_test_fault(t, HMM_PFN_REQ_FAULT));
	KUNIT_EXPECT_TRUE(test, t->range.hmm_pfns[HPAGE_PMD_NR - 1] & HMM_PFN_VALID);
}

/*
 * Three hugetlb pages of one VMA, of which the second is missing, are walked and faulted
 * in.
 */
static void hugetlb_pages(struct kunit *test)
{
	const unsigned long step = 100;
	struct hmm_range_test *t;
	unsigned long i, entry;

	map_hugetlb(test, P4D_SIZE, 3);
	hmm_test_write(test, P4D_SIZE);
	hmm_test_write(test, P4D_SIZE + 2 * PMD_SIZE);
	t = hmm_test_watch(test, P4D_SIZE, 3 * HPAGE_PMD_NR);
	t->range.start += 7 * PAGE_SIZE;
	t->range.end -= 9 * PAGE_SIZE;

	KUNIT_EXPECT_EQ(test, 0, hmm_test_fault(t, 0));
	for (i = 7; i < 3 * HPAGE_PMD_NR - 9; i++) {
		entry = t->range.hmm_pfns[i - 7];
		KUNIT_ASSERT_EQ(test, i / HPAGE_PMD_NR != 1, !!(entry & HMM_PFN_VALID));
	}
	KUNIT_EXPECT_EQ(test, 0, hmm_test_fault(t, HMM_PFN_REQ_FAULT));
	for (i = 7; i < 3 * HPAGE_PMD_NR - 9; i += step)
		KUNIT_EXPECT_PTR_EQ(test, page_at(test, t->addr + (i << PAGE_SHIFT)),
				    hmm_pfn_to_page(t->range.hmm_pfns[i - 7]));
}

/* A request for a page inside of a THP that cannot be satisfied fails at that page. */
static void request_inside_huge_page(struct kunit *test)
{
	struct hmm_range_test *t = map(test, HPAGE_PMD_NR, PMD_SIZE);
	unsigned long *pfns = t->range.hmm_pfns, i;
	struct vm_area_struct *vma;

	write_page(test, t, 0);
	mmap_write_lock(current->mm);
	vma = vma_lookup(current->mm, t->addr);
	vm_flags_clear(vma, VM_WRITE);
	mmap_write_unlock(current->mm);

	pfns[100] = HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE;
	pfns[101] = HMM_TEST_UNTOUCHED;
	t->range.pfn_flags_mask = ~0UL;
	KUNIT_EXPECT_EQ(test, -EPERM, hmm_test_walk(t, hmm_range_fault));
	for (i = 0; i < 100; i++)
		KUNIT_EXPECT_TRUE(test, pfns[i] & HMM_PFN_VALID);
	KUNIT_EXPECT_EQ(test, HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE, pfns[100]);
	KUNIT_EXPECT_EQ(test, HMM_TEST_UNTOUCHED, pfns[101]);

	mmap_write_lock(current->mm);
	vm_flags_set(vma, VM_WRITE);
	mmap_write_unlock(current->mm);
}

/*
 * Ptes of many kinds in one table, with a private page among them, have the right
 * entries.
 */
static void mixed_ptes(struct kunit *test)
{
	struct hmm_area a = { .test = test, .state = hmm_states };
	struct hmm_range_test *t = map_small(test, 7);
	unsigned long *pfns = t->range.hmm_pfns, i;
	struct hmm_test_device *dev;
	swp_entry_t swp;

	dev = hmm_test_device(test, MEMORY_DEVICE_PRIVATE, PMD_SIZE);
	swp = make_writable_device_private_entry(page_to_pfn(dev->page));
	write_page(test, t, 0);
	hmm_test_read(test, t->addr + PAGE_SIZE);
	write_page(test, t, 4);
	write_page(test, t, 6);
	a.addr = t->addr + 2 * PAGE_SIZE;
	hmm_area_put(&a, hmm_area_entry(&a, 0), pte_val(swp_entry_to_pte(swp)));

	t->range.dev_private_owner = dev;
	t->range.pfn_flags_mask = ~0UL;
	pfns[2] = HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE;
	pfns[5] = HMM_PFN_REQ_FAULT;
	KUNIT_EXPECT_EQ(test, 0, hmm_test_walk(t, hmm_range_fault));
	KUNIT_EXPECT_EQ(test, HMM_PFN_VALID, hmm_test_flags(pfns[1]));
	KUNIT_EXPECT_EQ(test, page_to_pfn(dev->page) | HMM_PFN_VALID | HMM_PFN_WRITE, pfns[2]);
	KUNIT_EXPECT_EQ(test, 0, pfns[3]);
	KUNIT_EXPECT_EQ(test, HMM_PFN_VALID, hmm_test_flags(pfns[5]));
	for (i = 0; i < 7; i += i ? 2 : 4) {
		KUNIT_EXPECT_EQ(test, HMM_PFN_VALID | HMM_PFN_WRITE, hmm_test_flags(pfns[i]));
		KUNIT_EXPECT_PTR_EQ(test, page_at(test, t->addr + (i << PAGE_SHIFT)),
				    hmm_pfn_to_page(pfns[i]));
	}
	hmm_area_restore(&a);
}

/* Each page takes a second fault, and the walk still succeeds. */
static void many_second_faults(struct kunit *test)
{
	struct hmm_area a = { .test = test, .state = hmm_states };
	struct hmm_range_test *t = map_small(test, 100);
	pte_t marker = make_pte_marker(PTE_MARKER_UFFD_WP);
	unsigned long before, i;

	for (i = 0; i < t->npages; i++) {
		a.addr = t->addr + (i << PAGE_SHIFT);
		hmm_area_put(&a, hmm_area_entry(&a, 0), pte_val(marker));
	}
	before = hmm_test_faults();
	KUNIT_EXPECT_EQ(test, 0, hmm_test_fault(t, HMM_PFN_REQ_FAULT));
	KUNIT_EXPECT_EQ(test, 200, hmm_test_faults() - before);
}

/* Bad entries at the upper levels are errors. */
static void bad_upper_levels(struct kunit *test)
{
	const unsigned int orders[] = { P4D_SHIFT - PAGE_SHIFT, PGDIR_SHIFT - PAGE_SHIFT };
	struct hmm_area a = { .test = test, .state = hmm_states };
	struct hmm_range_test *t = map_around(test, PGDIR_SIZE);
	unsigned long i, page, *entry;

	a.addr = t->addr + 2 * PAGE_SIZE;
	for (page = 0; page < 4; page++)
		write_page(test, t, page);

	for (i = 0; i < (pgtable_l5_enabled() ? 2 : 1); i++) {
		entry = hmm_area_entry(&a, orders[i]);
		hmm_area_put(&a, entry, _KERNPG_TABLE | _PAGE_GLOBAL);
		KUNIT_EXPECT_EQ(test, 0, hmm_test_walk(t, hmm_range_snapshot));
		KUNIT_EXPECT_TRUE(test, t->range.hmm_pfns[1] & HMM_PFN_VALID);
		for (page = 2; page < 4; page++)
			KUNIT_EXPECT_EQ(test, HMM_PFN_ERROR | HMM_PFN_SPECIAL,
					t->range.hmm_pfns[page]);
		KUNIT_EXPECT_EQ(test, -EFAULT, hmm_test_fault(t, HMM_PFN_REQ_FAULT));
		KUNIT_EXPECT_EQ(test, HMM_PFN_ERROR | HMM_PFN_SPECIAL, t->range.hmm_pfns[2]);
		hmm_area_restore(&a);
		KUNIT_EXPECT_EQ(test, 0, hmm_test_fault(t, HMM_PFN_REQ_FAULT));
	}
}

/* Bad ranges fail with -EINVAL. */
static void bad_ranges(struct kunit *test)
{
	struct hmm_range_test *t = map_small(test, 4);
	const struct hmm_range good = t->range;

	t->range.end = good.start;
	KUNIT_EXPECT_EQ(test, -EINVAL, hmm_test_walk(t, hmm_range_fault));
	KUNIT_EXPECT_EQ(test, -EINVAL, hmm_test_walk(t, hmm_range_snapshot));
	t->range.end = good.start - PAGE_SIZE;
	KUNIT_EXPECT_EQ(test, -EINVAL, hmm_test_walk(t, hmm_range_fault));
	t->range.end = good.end - 1;
	KUNIT_EXPECT_EQ(test, -EINVAL, hmm_test_walk(t, hmm_range_fault));
	t->range.end = good.end;
	t->range.start = good.start + 1;
	KUNIT_EXPECT_EQ(test, -EINVAL, hmm_test_walk(t, hmm_range_fault));
	t->range.start = good.start;
	KUNIT_EXPECT_EQ(test, 0, hmm_test_walk(t, hmm_range_fault));
}

/* A walk with a stale sequence number returns -EBUSY. */
static void invalidated_before(struct kunit *test)
{
	struct hmm_range_test *t = map_small(test, 2);
	unsigned long seq = mmu_interval_read_begin(&t->notifier);

	unmap(test, t, 1);
	t->range.notifier_seq = seq;
	t->range.hmm_pfns[0] = HMM_TEST_UNTOUCHED;
	mmap_read_lock(current->mm);
	KUNIT_EXPECT_EQ(test, -EBUSY, hmm_range_fault(&t->range));
	KUNIT_EXPECT_EQ(test, -EBUSY, hmm_range_snapshot(&t->range));
	mmap_read_unlock(current->mm);
	KUNIT_EXPECT_EQ(test, HMM_TEST_UNTOUCHED, t->range.hmm_pfns[0]);
	KUNIT_EXPECT_EQ(test, 0, hmm_test_fault(t, 0));
}

/* A walk that invalidates its own range by breaking COW returns -EBUSY. */
static void invalidated_by_fault(struct kunit *test)
{
	struct hmm_range_test *t = map_small(test, 2);

	hmm_test_read(test, t->addr);
	t->range.hmm_pfns[0] = HMM_TEST_UNTOUCHED;
	KUNIT_EXPECT_EQ(test, -EBUSY,
			hmm_test_fault(t, HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE));
	KUNIT_EXPECT_EQ(test, HMM_TEST_UNTOUCHED, t->range.hmm_pfns[0]);
	KUNIT_EXPECT_EQ(test, 0,
			hmm_test_fault(t, HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE));
}

/* An invalidation while the walk waits for a migration returns -EBUSY. */
static void invalidated_while_waiting(struct kunit *test)
{
	const struct hmm_state *state;
	struct hmm_range_test *t;
	unsigned int kinds = 0;
	struct hmm_area *a;

	for (state = hmm_states; state < hmm_states + hmm_nr_states; state++) {
		a = hmm_area_alloc(test, state);
		t = hmm_test_watch(test, a->addr, 1);
		hmm_area_enter(a);
		if (a->folio && !state->cell[HMM_REQUESTED_WRITE].ret) {
			kinds++;
			a->arriving = hmm_area_invalidate;
			hmm_area_await(a);
			KUNIT_EXPECT_EQ_MSG(test, -EBUSY, hmm_test_fault(t, HMM_PFN_REQ_FAULT),
					    "%s", state->name);
		}
		hmm_area_leave(a);
		hmm_test_unwatch(test, t);
		test->priv = NULL;
	}
	KUNIT_EXPECT_EQ(test, 3, kinds);
}

static unsigned int seen_fault_flags;

static vm_fault_t fault_oom(struct vm_fault *vmf)
{
	seen_fault_flags = vmf->flags;
	return VM_FAULT_OOM;
}

static vm_fault_t fault_sigbus(struct vm_fault *vmf)
{
	return VM_FAULT_SIGBUS;
}

static vm_fault_t fault_hwpoison(struct vm_fault *vmf)
{
	return VM_FAULT_HWPOISON;
}

static const struct vm_operations_struct oom_ops = { .fault = fault_oom };
static const struct vm_operations_struct sigbus_ops = { .fault = fault_sigbus };
static const struct vm_operations_struct hwpoison_ops = { .fault = fault_hwpoison };

/* Errors of a fault handler become errors of the walk. */
static void failing_faults(struct kunit *test)
{
	static const struct {
		const struct vm_operations_struct *ops;
		int ret;
	} cases[] = {
		{ &oom_ops, -ENOMEM }, { &sigbus_ops, -EFAULT }, { &hwpoison_ops, -EFAULT },
	};
	struct hmm_range_test *t = map_small(test, 2);
	struct vm_area_struct *vma;
	unsigned long i;

	mmap_read_lock(current->mm);
	vma = vma_lookup(current->mm, t->addr);
	mmap_read_unlock(current->mm);
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		vma->vm_ops = cases[i].ops;
		KUNIT_EXPECT_EQ(test, cases[i].ret, hmm_test_fault(t, HMM_PFN_REQ_FAULT));
		KUNIT_EXPECT_EQ(test, 0, hmm_test_fault(t, 0));
	}
	vma->vm_ops = NULL;

	/* The fault is on behalf of another process, and must not drop the lock. */
	KUNIT_EXPECT_TRUE(test, seen_fault_flags & FAULT_FLAG_REMOTE);
	KUNIT_EXPECT_FALSE(test, seen_fault_flags & (FAULT_FLAG_ALLOW_RETRY |
						     FAULT_FLAG_RETRY_NOWAIT |
						     FAULT_FLAG_USER | FAULT_FLAG_WRITE));
}

/* A killed task populates no more memory, and still gets present pages. */
static void killed_task_populates_nothing(struct kunit *test)
{
	struct hmm_range_test *t = map_small(test, 3);
	int ret;

	write_page(test, t, 0);
	t->range.hmm_pfns[1] = HMM_TEST_UNTOUCHED;
	allow_signal(SIGKILL);
	send_sig(SIGKILL, current, 1);
	ret = hmm_test_fault(t, HMM_PFN_REQ_FAULT);
	KUNIT_EXPECT_TRUE(test, t->range.hmm_pfns[0] & HMM_PFN_VALID);
	KUNIT_EXPECT_EQ(test, HMM_TEST_UNTOUCHED, t->range.hmm_pfns[1]);
	KUNIT_EXPECT_EQ(test, 0, hmm_test_walk(t, hmm_range_snapshot));
	flush_signals(current);
	disallow_signal(SIGKILL);

	KUNIT_EXPECT_EQ(test, -EINTR, ret);
	KUNIT_EXPECT_EQ(test, HMM_PFN_EMPTY, t->range.hmm_pfns[1]);
}

/* If a driver does not migrate its page back, the walk ends with -EBUSY. */
static void private_page_kept_by_device(struct kunit *test)
{
	struct hmm_area a = { .test = test, .state = hmm_states };
	struct hmm_range_test *t = map_small(test, 3);
	unsigned long *pfns = t->range.hmm_pfns;
	struct hmm_test_device *dev;
	swp_entry_t swp;

	dev = hmm_test_device(test, MEMORY_DEVICE_PRIVATE, PMD_SIZE);
	swp = make_writable_device_private_entry(page_to_pfn(dev->page));
	a.addr = t->addr + PAGE_SIZE;
	hmm_area_put(&a, hmm_area_entry(&a, 0), pte_val(swp_entry_to_pte(swp)));

	pfns[1] = HMM_TEST_UNTOUCHED;
	KUNIT_EXPECT_EQ(test, -EBUSY, hmm_test_fault(t, HMM_PFN_REQ_FAULT));
	KUNIT_EXPECT_EQ(test, HMM_PFN_VALID, hmm_test_flags(pfns[0]));
	KUNIT_EXPECT_EQ(test, HMM_TEST_UNTOUCHED, pfns[1]);
	KUNIT_EXPECT_GE(test, dev->asked, 2);
	KUNIT_EXPECT_LE(test, dev->asked, 100);

	hmm_area_restore(&a);
}

/*
 * A write request for a private page under userfaultfd write protection takes a CPU
 * fault.
 */
static void private_page_write_protected(struct kunit *test)
{
	struct hmm_area a = { .test = test, .state = hmm_states };
	struct hmm_range_test *t = map_small(test, 3);
	unsigned long *pfns = t->range.hmm_pfns;
	struct hmm_test_device *dev;
	pte_t pte;

	dev = hmm_test_device(test, MEMORY_DEVICE_PRIVATE, PMD_SIZE);
	pte = swp_entry_to_pte(make_writable_device_private_entry(page_to_pfn(dev->page)));
	a.addr = t->addr + PAGE_SIZE;
	hmm_test_write(test, t->addr);
	hmm_test_write(test, t->addr + 2 * PAGE_SIZE);
	t->range.dev_private_owner = dev;
	hmm_area_put(&a, hmm_area_entry(&a, 0), pte_val(pte));
	KUNIT_EXPECT_EQ(test, 0, hmm_test_fault(t, 0));
	KUNIT_EXPECT_EQ(test, HMM_PFN_VALID | HMM_PFN_WRITE, hmm_test_flags(pfns[1]));
	hmm_area_restore(&a);

	hmm_area_put(&a, hmm_area_entry(&a, 0), pte_val(pte_swp_mkuffd_wp(pte)));
	KUNIT_EXPECT_EQ(test, 0, hmm_test_fault(t, HMM_PFN_REQ_FAULT));
	KUNIT_EXPECT_EQ(test, HMM_PFN_VALID, hmm_test_flags(pfns[1]));
	KUNIT_EXPECT_EQ(test, 0, dev->asked);
	dev->gives_back = true;
	KUNIT_EXPECT_EQ(test, 0, hmm_test_fault(t, HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE));
	KUNIT_EXPECT_EQ(test, 1, dev->asked);
	hmm_area_restore(&a);
}

/* Attributes and other flags do not overlap the pfn. */
static void flags_leave_room_for_pfns(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, 0, HMM_TEST_ATTRIBUTES & ~HMM_PFN_FLAGS);
	KUNIT_EXPECT_EQ(test, 0, HMM_TEST_ATTRIBUTES &
			(HMM_PFN_VALID | HMM_PFN_WRITE | HMM_PFN_ERROR |
			 0x1fUL << HMM_PFN_ORDER_SHIFT));
	KUNIT_EXPECT_EQ(test, IS_ENABLED(CONFIG_64BIT) ? 7 : 0,
			hweight_long(HMM_TEST_ATTRIBUTES));
}

/* Sticky flags of a driver stay set, whatever happens to the page. */
static void sticky_flags(struct kunit *test)
{
	const unsigned long kinds[] = { HMM_PFN_DMA_MAPPED, HMM_PFN_P2PDMA, HMM_PFN_P2PDMA_BUS };
	const unsigned long all = kinds[0] | kinds[1] | kinds[2];
	struct hmm_range_test *t = map_small(test, 1200);
	unsigned long *pfns = t->range.hmm_pfns, i;

	KUNIT_ASSERT_EQ(test, 0, vm_munmap(t->addr + 1199 * PAGE_SIZE, PAGE_SIZE));
	for (i = 0; i < 1200; i++)
		pfns[i] = i % 5 ? kinds[i % 3] : all;
	KUNIT_EXPECT_EQ(test, 0, hmm_test_fault(t, 0));
	for (i = 0; i < 1200; i++)
		KUNIT_ASSERT_EQ(test, i % 5 ? kinds[i % 3] : all, pfns[i] & ~HMM_PFN_ERROR);
	KUNIT_EXPECT_EQ(test, HMM_PFN_ERROR, pfns[1199] & HMM_PFN_ERROR);

	/* Sticky flags of a single page stay set, also if it is the last page. */
	t->range.end = t->addr + 33 * PAGE_SIZE;
	memset(pfns, 0, 33 * sizeof(*pfns));
	pfns[32] = HMM_PFN_P2PDMA;
	KUNIT_EXPECT_EQ(test, 0, hmm_test_fault(t, 0));
	KUNIT_EXPECT_EQ(test, 0, pfns[0]);
	KUNIT_EXPECT_EQ(test, HMM_PFN_P2PDMA, pfns[32]);
	t->range.end = t->addr + 1200 * PAGE_SIZE;
	for (i = 0; i < 33; i++)
		pfns[i] = i % 5 ? kinds[i % 3] : all;

	/* All pages except the last become valid. The last page keeps its input. */
	KUNIT_EXPECT_EQ(test, -EFAULT, hmm_test_fault(t, HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE));
	for (i = 0; i < 1199; i++) {
		KUNIT_ASSERT_EQ(test, i % 5 ? kinds[i % 3] : all, pfns[i] & all);
		KUNIT_ASSERT_EQ(test, HMM_PFN_VALID | HMM_PFN_WRITE,
				pfns[i] & (HMM_PFN_VALID | HMM_PFN_WRITE));
	}
	KUNIT_EXPECT_EQ(test, kinds[1199 % 3] | HMM_PFN_ERROR, pfns[1199]);
	/* Sticky flags are not requests. */
	t->range.end -= PAGE_SIZE;
	memset_l(pfns, all, 1199);
	t->range.pfn_flags_mask = HMM_PFN_REQ_FAULT;
	t->range.default_flags = 0;
	do_madvise(current->mm, t->addr, 1199 * PAGE_SIZE, MADV_DONTNEED);
	KUNIT_EXPECT_EQ(test, 0, hmm_test_walk(t, hmm_range_fault));
	KUNIT_EXPECT_EQ(test, all, pfns[0]);
	KUNIT_EXPECT_EQ(test, all, pfns[1198]);
}

static struct kunit_case hmm_range_cases[] = {
	KUNIT_CASE_PARAM(hmm_range_cell, hmm_range_cell_gen_params),
	KUNIT_CASE(thp_hole_takes_one_fault_each),
	KUNIT_CASE(small_hole_takes_fault_per_page),
	KUNIT_CASE(requests_per_page),
	KUNIT_CASE(requests_masked),
	KUNIT_CASE(snapshot_ignores_requests),
	KUNIT_CASE(several_vmas),
	KUNIT_CASE(crosses_every_level),
	KUNIT_CASE(above_last_vma),
	KUNIT_CASE(hugetlb_without_tables),
	KUNIT_CASE(hugetlb_pages),
	KUNIT_CASE(request_inside_huge_page),
	KUNIT_CASE(mixed_ptes),
	KUNIT_CASE(many_second_faults),
	KUNIT_CASE(bad_upper_levels),
	KUNIT_CASE(bad_ranges),
	KUNIT_CASE(invalidated_before),
	KUNIT_CASE(invalidated_by_fault),
	KUNIT_CASE(invalidated_while_waiting),
	KUNIT_CASE(failing_faults),
	KUNIT_CASE(killed_task_populates_nothing),
	KUNIT_CASE(private_page_kept_by_device),
	KUNIT_CASE(private_page_write_protected),
	KUNIT_CASE(flags_leave_room_for_pfns),
	KUNIT_CASE(sticky_flags),
	KUNIT_CASE_PARAM_ATTR(hmm_range_race, hmm_range_race_gen_params,
			      { .speed = KUNIT_SPEED_SLOW }),
	{}
};

static void hmm_range_suite_exit(struct kunit_suite *suite)
{
	hmm_range_release_giant();
}

static struct kunit_suite hmm_range_suite = {
	.name = "hmm_range",
	.suite_exit = hmm_range_suite_exit,
	.test_cases = hmm_range_cases,
};

kunit_test_suite(hmm_range_suite);
