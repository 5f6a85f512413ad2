// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * HMM exclusive access: pages that a device has for itself, until the CPU touches them.
 *
 * make_device_exclusive_range() gives the CPU an entry that faults, and the fault sends
 * MMU_NOTIFY_EXCLUSIVE before it puts the old one back. So an entry of the mirror page
 * table with HMM_PTE_EXCLUSIVE is excl away like any other, and what is to be seen to
 * here is how it gets there:
 *
 *	fault					CPU
 *	=====					===
 *	begins a range, walks it for writing
 *	mmap_lock for reading
 *	make_device_exclusive_range()
 *	  locks the folio
 *	  MMU_NOTIFY_EXCLUSIVE, ours
 *	  entry that faults
 *						touches the page
 *						  waits for the folio
 *	mirror->lock
 *	  has the range collided?
 *	  publishes, the driver is told
 *	mirror->lock dropped
 *	folio lock, mmap_lock dropped
 *						  MMU_NOTIFY_EXCLUSIVE
 *						  mirror->lock
 *						    the driver is told
 *						  the old entry comes back
 *
 * The range is begun before, as for any fault, because the lock of a folio keeps only
 * faults of the CPU away: MADV_DONTNEED, the OOM reaper and UFFDIO_WRITEPROTECT change
 * the entry without it, with mmap_lock held for reading like here. They collide with the
 * range. What this task sends itself, while it takes pages (range->taking), says what it
 * knows, and does not. What locks add is that it comes to an end: the CPU cannot have the
 * page back before the device has had it.
 *
 * The page stays mapped by the entry that faults. Reclaim, migration and memory failure
 * find it by the rmap: they lock the folio, and send MMU_NOTIFY_CLEAR before they replace
 * the entry. So they come before the page is excl, or after it was published.
 *
 * Nobody waits with these locks held: neither for an invalidation (UFFDIO_MOVE locks a
 * folio in the middle of its own) nor for another folio, unless it is found swapped out
 * when it is excl: folios are locked by ascending addresses of the one mm that maps them.
 * After many collisions mmap_lock is held for writing (see mm/hmm_fault.c), which keeps
 * those out who change the entry without the lock of the folio. With that alone, a folio
 * may be waited for.
 *
 * Only anonymous memory can be exclusive. Private memory of the device itself is mirrored
 * for writing instead: the CPU cannot access it, but other mirrors of the same device can,
 * and nothing in the CPU page table would tell them that one of them has it exclusively.
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
 * struct hmm_exclusive_large - large folios that are to be split
 * @addr: where the first of them is mapped
 * @count: how many they are
 * @folios: each with a reference
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

/* Is there nothing that can be excl from the CPU? */
static bool hmm_exclusive_already(unsigned long entry)
{
	return entry & (HMM_PTE_EXCLUSIVE | HMM_PTE_UNADDRESSABLE);
}

/* NULL if the page cannot be exclusive. It is mapped, and stays so for the moment. */
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
 * Find out what can be excl from @start on. Pages stay what the walk has found while
 * the lock is held and the range has not collided: so their folios can be looked at.
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

/* With no lock held, or mmap_lock for writing. The reference goes. */
static int hmm_exclusive_split(struct folio *folio)
{
	int ret = folio_lock_killable(folio);

	if (!ret) {
		/* Others have references, which keep it from being split for now. */
		if (folio_test_large(folio) && split_folio(folio))
			ret = -EBUSY;
		folio_unlock(folio);
	}
	folio_put(folio);
	return ret;
}

/* Split them, after which the range is to be walked again. */
static int hmm_exclusive_split_all(const struct hmm_exclusive_large *large,
				   unsigned long start, unsigned long *end)
{
	int ret = hmm_exclusive_split(large->folios[0]);
	unsigned int i;

	for (i = 1; i < large->count; i++)
		hmm_exclusive_split(large->folios[i]);
	if (ret && large->addr != start) {
		/* Not that the pages before it go without */
		*end = large->addr;
		ret = 0;
	}
	return ret ?: -EAGAIN;
}

/* Take pages of which none is excl already. Return where those end that were got. */
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
 * The page was not got, because somebody has the folio locked. Wait for him, with no lock
 * held but that of the caller. If that is not what it was the caller comes back a number
 * of times.
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
 * hmm_exclusive_make() - take pages from the CPU
 * @excl: to be filled in, for hmm_exclusive_release()
 * @range: of the mirror, begun, and walked for writing
 * @start: address of the first page
 * @end: first address behind the last page, at most %HMM_EXCLUSIVE_MAX pages later, all
 *	of which the walk has found so; out: behind the last that was excl or, if -EAGAIN,
 *	is to be asked for again
 * @locked: the caller holds mmap_lock for writing
 *
 * The entries of the range become what is to be published. Its state is not looked at:
 * that is for who publishes, and until then for hmm_exclusive_release().
 *
 * Context: Process context, with no lock held but mmap_lock if @locked; of the mirror, the
 * users of its mm are. Sleeps. Takes the locks of folios, and mmap_lock for reading unless
 * @locked, which stay until hmm_exclusive_release() if it returns 0.
 * Return: 0; -EAGAIN if the range is to be begun again; -EBUSY the same, but not for ever,
 * because somebody else has a reference; -EOPNOTSUPP if the page at @start is not of a
 * kind that can be excl; -EINTR; or what taking a reference returned for it.
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
	/* Others wait for the folios. */
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
 * hmm_exclusive_release() - let the CPU have pages back when it wants them
 * @excl: of hmm_exclusive_make() that returned 0
 *
 * Context: After they were published, with the lock of the mirror not held.
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
 * hmm_range_make_exclusive() - take pages of a range from the CPU
 * @range: of a mirror with %HMM_MIRROR_OWN_TABLES and &hmm_mirror.dev_private_owner;
 *	hmm_range_begin() has returned 0 for it
 * @start: first address, page aligned
 * @end: end address, exclusive, page aligned; [@start, @end) lies within @range and
 *	within one VMA
 * @pages: out: the pages, locked and with a reference each; NULL for a page that cannot be
 *	exclusive, or not now
 *
 * Takes the place of make_device_exclusive_range() for drivers with page tables of their
 * own, between hmm_range_begin() and hmm_range_retry(). The invalidation by which it takes
 * the pages does not collide with @range; it is delivered as usual otherwise, to this
 * driver as well. If hmm_range_retry() returns false under &hmm_mirror.lock, the driver
 * writes PTEs for the pages that it has got, and drops the lock. Then, and also if
 * hmm_range_retry() returns true, it calls unlock_page() and put_page() for each of them.
 * The CPU can get a page back as soon as it is unlocked.
 *
 * Context: Process context, with a reference on mm_users and with mmap_lock held, for
 * reading or writing. Takes CPU faults for writing. Sleeps.
 * Return: The number of pages in @pages, of which some may be NULL and which is less than
 * asked for if a CPU fault has failed, or
 *
 * * %-EINVAL: an address is not page aligned or not in @range, or the mirror has no owner
 * * %-EFAULT: no page can be had at @start
 * * %-EINTR: the task has a fatal signal pending
 * * %-ENOMEM
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
