// SPDX-License-Identifier: GPL-2.0
/* Helpers that all KUnit tests of HMM share */
#include <linux/ioport.h>
#include <linux/mman.h>
#include <linux/pagemap.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

#include <asm/syscall.h>

#include "hmm_test.h"

static bool hmm_test_invalidate(struct mmu_interval_notifier *notifier,
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
	t->invalidations++;
	mutex_unlock(&t->lock);
	return true;
}

static const struct mmu_interval_notifier_ops hmm_test_notifier_ops = {
	.invalidate = hmm_test_invalidate,
};

static void hmm_test_remove(void *notifier)
{
	mmu_interval_notifier_remove(notifier);
}

/* Map anonymous memory of @size bytes at a multiple of @align. */
unsigned long hmm_test_mmap(struct kunit *test, unsigned long size, unsigned long align)
{
	unsigned long at;

	at = kunit_vm_mmap(test, NULL, 0, size + align, PROT_READ | PROT_WRITE,
			   MAP_ANONYMOUS | MAP_PRIVATE | MAP_NORESERVE, 0);
	KUNIT_ASSERT_NE(test, 0, at);
	KUNIT_ASSERT_LT(test, at, TASK_SIZE);
	return ALIGN(at, align);
}

static void hmm_test_vfree(void *memory)
{
	vfree(memory);
}

/* Register an interval notifier for a range of the current mm, as a driver does. */
struct hmm_range_test *hmm_test_watch(struct kunit *test, unsigned long addr,
				      unsigned long npages)
{
	unsigned long size = npages << PAGE_SHIFT;
	struct hmm_range_test *t;
	unsigned long *pfns;
	int ret;

	t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, t);
	mutex_init(&t->lock);
	t->addr = addr;
	t->npages = npages;

	pfns = vcalloc(npages, sizeof(*pfns));
	KUNIT_ASSERT_NOT_NULL(test, pfns);
	ret = kunit_add_action_or_reset(test, hmm_test_vfree, pfns);
	KUNIT_ASSERT_EQ(test, 0, ret);

	ret = mmu_interval_notifier_insert(&t->notifier, current->mm, addr, size,
					   &hmm_test_notifier_ops);
	KUNIT_ASSERT_EQ(test, 0, ret);
	ret = kunit_add_action_or_reset(test, hmm_test_remove, &t->notifier);
	KUNIT_ASSERT_EQ(test, 0, ret);

	t->range.notifier = &t->notifier;
	t->range.hmm_pfns = pfns;
	t->range.start = addr;
	t->range.end = addr + size;
	return t;
}

/*
 * Tests call this only if they watch many ranges in turn: the end of a test does the
 * same.
 */
void hmm_test_unwatch(struct kunit *test, struct hmm_range_test *t)
{
	kunit_release_action(test, hmm_test_remove, &t->notifier);
	kunit_release_action(test, hmm_test_vfree, t->range.hmm_pfns);
	kunit_kfree(test, t);
}

int hmm_test_walk(struct hmm_range_test *t, int (*walker)(struct hmm_range *))
{
	int ret;

	t->range.notifier_seq = mmu_interval_read_begin(&t->notifier);
	mmap_read_lock(t->notifier.mm);
	ret = walker(&t->range);
	mmap_read_unlock(t->notifier.mm);
	return ret;
}

int hmm_test_fault(struct hmm_range_test *t, unsigned long flags)
{
	t->range.default_flags = flags;
	t->range.pfn_flags_mask = 0;
	return hmm_test_walk(t, hmm_range_fault);
}

void hmm_test_write(struct kunit *test, unsigned long addr)
{
	KUNIT_ASSERT_EQ(test, 0, put_user('x', (char __user *)addr));
}

void hmm_test_read(struct kunit *test, unsigned long addr)
{
	KUNIT_ASSERT_EQ(test, 0, fault_in_readable((char __user *)addr, 1));
}

/* Issue a system call in the current thread and its mm. */
long hmm_test_syscall(unsigned int nr, unsigned long a, unsigned long b,
		      unsigned long c, unsigned long d, unsigned long e)
{
	const struct pt_regs regs = { .di = a, .si = b, .dx = c, .r10 = d, .r8 = e };

	return x64_sys_call(&regs, nr);
}

/*
 * The number of faults that handle_mm_fault() has served for this thread, also in another
 * mm. It does not count faults that fail.
 */
unsigned long hmm_test_faults(void)
{
	return current->min_flt + current->maj_flt;
}

static vm_fault_t hmm_test_migrate_to_ram(struct vm_fault *vmf)
{
	struct hmm_test_device *dev =
		container_of(vmf->page->pgmap, struct hmm_test_device, pgmap);
	spinlock_t *ptl; /* page table lock */
	pte_t *ptep;

	dev->asked++;
	if (!dev->gives_back)
		return 0;

	/* The test wrote the entry itself, so no counter changes when the entry goes. */
	ptep = pte_offset_map_lock(vmf->vma->vm_mm, vmf->pmd, vmf->address, &ptl);
	if (!ptep)
		return 0;
	set_pte(ptep, __pte(0));
	pte_unmap_unlock(ptep, ptl);
	return 0;
}

static void hmm_test_page_free(struct page *page)
{
}

static const struct dev_pagemap_ops hmm_test_pgmap_ops = {
	.migrate_to_ram = hmm_test_migrate_to_ram,
	.page_free = hmm_test_page_free,
};

static void hmm_test_device_remove(void *arg)
{
	struct hmm_test_device *dev = arg;

	if (dev->gone)
		return;
	/* memremap_pages() itself holds references on memory of the other types. */
	if (dev->pgmap.type == MEMORY_DEVICE_PRIVATE ||
	    dev->pgmap.type == MEMORY_DEVICE_COHERENT)
		put_page(dev->page);
	memunmap_pages(&dev->pgmap);
}

static void hmm_test_release_region(void *arg)
{
	struct resource *res = arg;

	release_mem_region(res->start, resource_size(res));
}

/* Remove the driver. This waits until the pagemap has no reference. */
void hmm_test_device_unplug(struct hmm_test_device *dev)
{
	hmm_test_device_remove(dev);
	dev->gone = true;
}

/* Create a device whose memory begins at @start, which the caller has reserved. */
struct hmm_test_device *hmm_test_device_at(struct kunit *test, enum memory_type type,
					   u64 start, unsigned long size)
{
	struct hmm_test_device *dev;
	void *ret;

	dev = kunit_kzalloc(test, sizeof(*dev), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, dev);
	dev->pgmap.type = type;
	dev->pgmap.range.start = start;
	dev->pgmap.range.end = dev->pgmap.range.start + size - 1;
	dev->pgmap.nr_range = 1;
	dev->pgmap.ops = &hmm_test_pgmap_ops;
	dev->pgmap.owner = dev;
	ret = memremap_pages(&dev->pgmap, NUMA_NO_NODE);
	if (IS_ERR(ret))
		KUNIT_FAIL_AND_ABORT(test, "memremap_pages: %pe", ret);

	dev->page = pfn_to_page(PHYS_PFN(dev->pgmap.range.start));
	if (type == MEMORY_DEVICE_PRIVATE || type == MEMORY_DEVICE_COHERENT) {
		zone_device_page_init(dev->page);
		unlock_page(dev->page);
	}
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, hmm_test_device_remove, dev));
	return dev;
}

/*
 * Create a device with @size bytes of memory, which begin at a multiple of @size. Two
 * more devices of the same size fit after them, unless @size exceeds a section.
 */
struct hmm_test_device *hmm_test_device(struct kunit *test, enum memory_type type,
					unsigned long size)
{
	struct resource *res;

	res = request_free_mem_region(&iomem_resource, 3 * size, "hmm_test");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, res);
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, hmm_test_release_region, res));
	return hmm_test_device_at(test, type, ALIGN(res->start, size), size);
}
