// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * HMM exclusive access: a device has a page exclusively until the CPU accesses it.
 *
 * make_device_exclusive_range() replaces the CPU page table entry by one that faults. The CPU
 * fault sends MMU_NOTIFY_EXCLUSIVE before it restores the old entry. So an entry of the mirror
 * page table with HMM_PTE_EXCLUSIVE is revoked like any other. This file makes pages exclusive,
 * and the fault then publishes the entries:
 *
 *	fault					CPU
 *	=====					===
 *	begin a range, walk it for writing
 *	mmap_lock for reading
 *	make_device_exclusive_range()
 *	  lock the folio
 *	  send MMU_NOTIFY_EXCLUSIVE
 *	  install the entry that faults
 *						access the page: CPU fault
 *						  wait for the folio lock
 *	mirror->lock
 *	  has the range collided?
 *	  publish, call the driver
 *	unlock mirror->lock
 *	unlock the folio and mmap_lock
 *						  send MMU_NOTIFY_EXCLUSIVE
 *						    mirror->lock
 *						      call the driver, revoke
 *						  restore the old entry
 *
 *			[Required: the driver is called for the entry before
 *			 it is called for the revocation]
 *
 * The range begins first, as for any fault, because the folio lock excludes only CPU faults.
 * MADV_DONTNEED, the OOM reaper and UFFDIO_WRITEPROTECT change the entry without the folio
 * lock. mmap_lock does not exclude them, because they and the faulting task hold it for
 * reading. So their invalidations collide with the range. The invalidation that the faulting
 * task sends does not collide with its own range (%HMM_INSIDE_MAKE_EXCLUSIVE). The folio lock
 * guarantees progress: the CPU cannot get the page back before the commit.
 *
 * The entry that faults still maps the page. Reclaim, migration and memory failure find it by
 * the rmap. They lock the folio, and send MMU_NOTIFY_CLEAR before they replace the entry. So
 * they come before the page becomes exclusive, or after it was published.
 *
 * While the faulting task holds a folio lock, it does not wait for an invalidation, because
 * UFFDIO_MOVE waits for folio locks during an invalidation. It also does not wait for another
 * folio lock, with one exception: get_user_pages_remote() may swap in a page, and wait for
 * the lock of its folio. This does not deadlock: only one mm maps these folios, and they are
 * locked in the order of their addresses in that mm. After many collisions the caller holds
 * mmap_lock for writing (see mm/hmm_fault_slow.c), which excludes the threads that change the
 * entry without the folio lock. While the faulting task holds mmap_lock but no folio lock, it
 * may wait for a folio lock.
 *
 * Only anonymous memory can be exclusive. Private memory of the device itself is mirrored for
 * writing instead: the CPU cannot access it, but other mirrors of the same device can. The CPU
 * page table has no state that would show them that one mirror has it exclusively.
 */
#include <linux/hmm_mirror.h>
#include <linux/huge_mm.h>
#include <linux/hugetlb.h>
#include <linux/memremap.h>
#include <linux/pagemap.h>
#include <linux/rmap.h>
#include <linux/sched/mm.h>

#include "hmm_fault.h"

/**
 * struct hmm_exclusive_large - large folios to split
 * @addr: first address of the first folio in the range
 * @count: number of @folios
 * @folios: the folios, with a reference each
 */
struct hmm_exclusive_large {
	unsigned long addr;
	unsigned int count;
	struct folio *folios[HMM_EXCLUSIVE_MAX];
};

static unsigned long *hmm_exclusive_entry(const struct hmm_range *range, unsigned long addr)
{
	return &range->hmm_pfns[(addr - range->start) >> PAGE_SHIFT];
}

/* Is the page already inaccessible to the CPU? */
static bool hmm_exclusive_already(unsigned long entry)
{
	return entry & (HMM_PTE_EXCLUSIVE | HMM_PTE_UNADDRESSABLE);
}

/* The folio of a page; NULL if it cannot be exclusive. The caller keeps the page mapped. */
static struct folio *hmm_exclusive_folio(unsigned long entry)
{
	struct dev_pagemap *pgmap;
	struct folio *folio;
	bool coherent;

	if (entry & HMM_PTE_DEVICE) {
		pgmap = get_dev_pagemap(entry & ~HMM_PFN_FLAGS, NULL);
		coherent = pgmap && pgmap->type == MEMORY_DEVICE_COHERENT;
		put_dev_pagemap(pgmap);
		if (!coherent)
			return NULL;
	}
	folio = page_folio(hmm_pfn_to_page(entry));
	return folio_test_anon(folio) && !folio_test_hugetlb(folio) ? folio : NULL;
}

/*
 * Find the pages from @start on that can be exclusive, and large folios among them. While
 * mirror->lock is held and the range has not collided, the walked pages remain mapped. So
 * it is safe to access their folios.
 */
static int hmm_exclusive_survey(struct hmm_range *range, unsigned long start,
				unsigned long *end, struct hmm_exclusive_large *large)
{
	unsigned long addr;

	large->count = 0;
	guard(rwsem_read)(&range->mirror->lock);
	if (hmm_range_retry(range))
		return -EAGAIN;
	for (addr = start; addr < *end; addr += PAGE_SIZE) {
		unsigned long entry = *hmm_exclusive_entry(range, addr);
		struct folio *folio;

		if (hmm_exclusive_already(entry))
			continue;
		folio = hmm_exclusive_folio(entry);
		if (!folio) {
			*end = addr;
			break;
		}
		if (!folio_test_large(folio) ||
		    (large->count && large->folios[large->count - 1] == folio))
			continue;
		folio_get(folio);
		if (!large->count)
			large->addr = addr;
		large->folios[large->count++] = folio;
	}
	return *end == start ? -EOPNOTSUPP : 0;
}

/* Split @folio and drop the reference. Called with no lock, or with mmap_lock for writing. */
static int hmm_exclusive_split(struct folio *folio)
{
	int ret = folio_lock_killable(folio);

	if (!ret) {
		/* References of other threads can prevent the split for a time. */
		if (folio_test_large(folio) && split_folio(folio))
			ret = -EBUSY;
		folio_unlock(folio);
	}
	folio_put(folio);
	return ret;
}

/* Split the folios. The caller then walks the range again. */
static int hmm_exclusive_split_all(const struct hmm_exclusive_large *large,
				   unsigned long start, unsigned long *end)
{
	int ret = hmm_exclusive_split(large->folios[0]);
	unsigned int i;

	for (i = 1; i < large->count; i++)
		hmm_exclusive_split(large->folios[i]);
	if (ret && large->addr != start) {
		/* The pages before the folio can still become exclusive. */
		*end = large->addr;
		ret = 0;
	}
	return ret ?: -EAGAIN;
}

/*
 * Make pages exclusive. All of them are still accessible to the CPU.
 *
 * Return: The end of the pages before the first failure.
 */
static unsigned long hmm_exclusive_make_run(struct hmm_exclusive *excl,
					    struct hmm_range *range, unsigned long start,
					    unsigned long end, int *error)
{
	struct page **pages = excl->pages + excl->count;
	unsigned long *entry = hmm_exclusive_entry(range, start);
	int i, npages;

	npages = make_device_exclusive_range(excl->mm, start, end, pages,
					     range->mirror->reg.owner);
	if (npages < 0) {
		*error = npages;
		return start;
	}
	excl->count += npages;
	for (i = 0; i < npages && pages[i]; i++, entry++)
		*entry = page_to_pfn(pages[i]) | HMM_PTE_VALID | HMM_PTE_WRITE |
			 HMM_PTE_EXCLUSIVE | (*entry & HMM_PTE_DEVICE);
	return start + ((unsigned long)i << PAGE_SHIFT);
}

static unsigned long hmm_exclusive_make_all(struct hmm_exclusive *excl,
					    struct hmm_range *range, unsigned long start,
					    unsigned long end, int *error)
{
	unsigned long addr = start, next;

	hmm_inside_enter(&range->inside, HMM_INSIDE_MAKE_EXCLUSIVE);
	while (addr < end) {
		for (next = addr; next < end; next += PAGE_SIZE) {
			if (hmm_exclusive_already(*hmm_exclusive_entry(range, next)))
				break;
		}
		if (next == addr) {
			addr += PAGE_SIZE;
			continue;
		}
		addr = hmm_exclusive_make_run(excl, range, addr, next, error);
		if (addr != next)
			break;
	}
	hmm_inside_leave(&range->inside);
	return addr;
}

/*
 * The page did not become exclusive, probably because another thread has locked the folio. Wait
 * for the folio lock, with no lock held other than the caller's mmap_lock. If the folio is not
 * locked, return -EBUSY: the caller retries a limited number of times.
 */
static int hmm_exclusive_wait(struct hmm_range *range, unsigned long addr)
{
	struct folio *folio = NULL;
	int ret = -EBUSY;

	down_read(&range->mirror->lock);
	if (!hmm_range_retry(range)) {
		folio = page_folio(hmm_pfn_to_page(*hmm_exclusive_entry(range, addr)));
		folio_get(folio);
	}
	up_read(&range->mirror->lock);
	if (!folio)
		return -EAGAIN;
	if (folio_test_locked(folio))
		ret = folio_wait_locked_killable(folio) ?: -EAGAIN;
	folio_put(folio);
	return ret;
}

/**
 * hmm_exclusive_make() - make pages exclusive to the device
 * @excl: out: state for hmm_exclusive_release()
 * @range: begun range of the mirror, walked for writing
 * @start: address of the first page
 * @end: end address, exclusive, at most %HMM_EXCLUSIVE_MAX pages after @start; the walk has
 *	found all pages writable, or already inaccessible to the CPU; out: end of the pages
 *	that are exclusive if 0 is returned, end of the pages to request next if -EAGAIN
 * @locked: the caller holds mmap_lock for writing
 *
 * Sets the entries of the range for the commit. It does not test afterwards whether the range
 * has collided: the commit does. The CPU cannot get the pages back until
 * hmm_exclusive_release().
 *
 * Context: Process context, with an mm_users reference on the mm of the mirror, and with no
 * lock held other than mmap_lock if @locked. Sleeps. Takes folio locks, and mmap_lock for
 * reading unless @locked. If it returns 0, these are held until hmm_exclusive_release().
 * Return: 0; -EAGAIN if the caller must begin the range again; -EBUSY if it must begin the
 * range again, for a limited time, because another thread holds a reference; -EOPNOTSUPP if
 * the page at @start cannot be exclusive; -EINTR; or the errno of
 * make_device_exclusive_range().
 */
int hmm_exclusive_make(struct hmm_exclusive *excl, struct hmm_range *range,
		       unsigned long start, unsigned long *end, bool locked)
{
	struct hmm_exclusive_large large;
	unsigned long got;
	int ret, error = 0;

	ret = hmm_exclusive_survey(range, start, end, &large);
	if (large.count)
		return hmm_exclusive_split_all(&large, start, end);
	if (ret)
		return ret;

	excl->mm = range->mirror->mm;
	excl->locked = locked;
	excl->count = 0;
	if (!locked && mmap_read_lock_killable(excl->mm))
		return -EINTR;
	/* Reclaim must not enter a file system while folios are locked. */
	excl->nofs = memalloc_nofs_save();
	got = hmm_exclusive_make_all(excl, range, start, *end, &error);
	if (got != start) {
		*end = got;
		return 0;
	}

	hmm_exclusive_release(excl);
	return error ?: hmm_exclusive_wait(range, start);
}

/**
 * hmm_exclusive_release() - allow the CPU to get pages back
 * @excl: filled in by hmm_exclusive_make(), which returned 0
 *
 * Context: After the commit, without mirror->lock.
 */
void hmm_exclusive_release(struct hmm_exclusive *excl)
{
	unsigned int i;

	for (i = 0; i < excl->count; i++) {
		if (!excl->pages[i])
			continue;
		unlock_page(excl->pages[i]);
		put_page(excl->pages[i]);
	}
	memalloc_nofs_restore(excl->nofs);
	if (!excl->locked)
		mmap_read_unlock(excl->mm);
}

/**
 * hmm_range_make_exclusive() - make pages of a range exclusive to the device
 * @range: range of a mirror with %HMM_MIRROR_OWN_TABLES and &hmm_mirror.dev_private_owner;
 *	hmm_range_begin() has returned 0 for it
 * @start: first address, page aligned
 * @end: end address, exclusive, page aligned; [@start, @end) lies within @range and
 *	within one VMA
 * @pages: out: the pages, locked and with a reference each; NULL for a page that cannot be
 *	exclusive, or cannot be exclusive at present
 *
 * Drivers with page tables of their own call this instead of make_device_exclusive_range(),
 * between hmm_range_begin() and hmm_range_retry(). The invalidation that it sends does not
 * collide with @range. Otherwise it is delivered as usual, to this driver as well. If
 * hmm_range_retry() returns false under &hmm_mirror.lock, the driver writes PTEs for @pages,
 * and drops the lock. Then the driver calls unlock_page() and put_page() for each page. It
 * does so if hmm_range_retry() returns true, too. The CPU can get a page back as soon as
 * the page is unlocked.
 *
 * Context: Process context, with an mm_users reference and with mmap_lock held for reading
 * or writing. Takes CPU faults for writing. Sleeps.
 * Return: The number of elements in @pages. Some can be NULL. The number is less than
 * requested if a CPU fault fails. Or
 *
 * * %-EINVAL: the range is empty or not page aligned, or exceeds @range, or the mirror has
 *   no owner
 * * %-EFAULT: there is no writable page at @start
 * * %-EINTR: the task has a fatal signal pending
 * * %-ENOMEM: a fault ran out of memory
 */
int hmm_range_make_exclusive(struct hmm_range *range, unsigned long start,
			     unsigned long end, struct page **pages)
{
	struct hmm_mirror *mirror = range->begun;
	int npages;

	if (start >= end || !PAGE_ALIGNED(start | end) || start < range->begun_start ||
	    end > range->begun_end || !mirror->reg.owner)
		return -EINVAL;
	hmm_inside_enter(&range->inside, HMM_INSIDE_MAKE_EXCLUSIVE);
	npages = make_device_exclusive_range(mirror->mm, start, end, pages,
					     mirror->reg.owner);
	hmm_inside_leave(&range->inside);
	if (npages > 0)
		hmm_range_saw(range, start, end);
	return npages;
}
EXPORT_SYMBOL_GPL(hmm_range_make_exclusive);
