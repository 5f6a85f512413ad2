// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * HMM device faults: the commit. It publishes the result of a walk in the mirror page table,
 * and calls the driver to write its page table.
 *
 *	hmm_commit_runs()		each run of valid pages
 *	  hmm_commit_make_entries()	entries and their block orders
 *	  hmm_pt_prepare()		tables and DMA mappings; allocates, with no lock held
 *	  hmm_commit_stage()
 *	    mirror->lock, for writing
 *	      hmm_commit_check()	0, -EAGAIN or -ESRCH
 *	      hmm_pt_publish()		0, or -EAGAIN if tables or blocks have changed
 *	    mirror->lock, for reading
 *	      hmm_commit_sync()		callback of the driver
 *	      hmm_access_hold()
 *	  hmm_pt_unstage()		unmaps replaced DMA mappings
 *
 * In this file only hmm_commit_is_stale() and hmm_commit_check() decide to return -EAGAIN.
 */
#include <linux/hmm_mirror.h>
#include <linux/mm.h>
#include <linux/rwsem.h>

#include "hmm_fault.h"

/*
 * Return the number of pages, from @pfn on, of one CPU mapping or of one folio. If the CPU maps
 * the folio by ptes, set the order of the folio in the entries: an invalidation is likely to
 * affect the whole folio.
 */
static unsigned long hmm_commit_folio(const unsigned long *pfn, unsigned long *word,
				      unsigned long pages)
{
	unsigned long order = hmm_pfn_to_map_order(*pfn);
	struct folio *folio;
	struct page *page;
	unsigned long i;

	if (order)
		return min(pages, BIT(order) - (*pfn & (BIT(order) - 1)));
	/* The struct page of device memory can be gone. */
	if (*word & HMM_PTE_DEVICE)
		return 1;
	page = hmm_pfn_to_page(*pfn);
	folio = page_folio(page);
	if (!folio_test_large(folio))
		return 1;
	pages = min_t(unsigned long, pages,
		      folio_nr_pages(folio) - folio_page_idx(folio, page));
	for (i = 0; i < pages && pfn[i] == pfn[0] + i; i++)
		word[i] |= (unsigned long)folio_order(folio) << HMM_PTE_ORDER_SHIFT;
	return i;
}

/* With @write, pages are writable as in the CPU page table; otherwise only if they also were. */
static void hmm_commit_make_words(struct hmm_fault *fault, unsigned long index,
				  unsigned long stop, bool write)
{
	const unsigned long *pfns = fault->range.hmm_pfns;
	unsigned long *words = fault->words;

	if (index >= stop)
		return;
	if (write) {
		memcpy(words + index, pfns + index, (stop - index) * sizeof(*words));
		return;
	}
	for (; index < stop; index++)
		words[index] = pfns[index] & (~HMM_PTE_WRITE | words[index]);
}

/* Return 0 if the result of the walk is up to date, or an errno. */
static int hmm_commit_is_stale(struct hmm_fault *fault)
{
	lockdep_assert_held(&fault->mirror->lock);
	if (fault->mirror->dead)
		return -ESRCH;
	return hmm_range_retry(&fault->range) ? -EAGAIN : 0;
}

/**
 * hmm_commit_make_entries() - convert the result of the walk to entries
 * @fault: fault
 * @start: first address
 * @end: end address, exclusive; the walk has found all of the pages valid
 *
 * A page that has not collided is not freed or migrated while mirror->lock is held, because
 * an invalidation has to come first. So its folio can be read.
 *
 * Context: Process context, mirror->lock not held. Sleeps.
 * Return: 0; -EAGAIN if the range has collided; -ESRCH if the mirror is dead.
 */
int hmm_commit_make_entries(struct hmm_fault *fault, unsigned long start, unsigned long end)
{
	unsigned long i, first = hmm_fault_index(fault, start);
	unsigned long stop = hmm_fault_index(fault, end);
	unsigned long from = clamp(hmm_fault_index(fault, fault->start), first, stop);
	unsigned long to = clamp(hmm_fault_index(fault, fault->end), first, stop);
	const unsigned long *pfns = fault->range.hmm_pfns;
	unsigned long *words = fault->words;
	int ret;

	hmm_commit_make_words(fault, first, from, false);
	hmm_commit_make_words(fault, from, to, fault->flags & HMM_FAULT_WRITE);
	hmm_commit_make_words(fault, to, stop, false);

	guard(rwsem_read)(&fault->mirror->lock);
	ret = hmm_commit_is_stale(fault);
	if (ret)
		return ret;
	for (i = first; i < stop;)
		i += hmm_commit_folio(&pfns[i], &words[i], stop - i);
	return 0;
}

/**
 * hmm_commit_revoke() - revoke a range from the device
 * @fault: fault
 * @start: first address
 * @end: end address, exclusive
 *
 * Context: Under mirror->lock, held for writing. Sleeps; the lock may be dropped meanwhile.
 */
void hmm_commit_revoke(struct hmm_fault *fault, unsigned long start, unsigned long end)
{
	struct hmm_update update = {
		.start = start,
		.end = end,
		.event = HMM_UPDATE_MIGRATE,
		.blockable = true,
	};

	lockdep_assert_held_write(&fault->mirror->lock);
	if (!fault->mirror->dead)
		hmm_mirror_invalidate(fault->mirror, &update);
}

/*
 * Has another fault made pages writable or exclusive since the range began? The commit must not
 * reduce their permissions: only an invalidation may, because it calls the driver.
 */
static bool hmm_commit_loses_write(struct hmm_fault *fault, const struct hmm_pt_stage *stage)
{
	struct hmm_pt_iter iter;
	unsigned long i;

	if (!hmm_pt_writable(&fault->mirror->pt, stage->start, stage->end))
		return false;
	hmm_pt_for_each(&iter, fault->mirror, stage->start, stage->end) {
		if (!hmm_pte_write(iter.pte))
			continue;
		for (i = hmm_fault_index(fault, iter.addr);
		     i < hmm_fault_index(fault, iter.end); i++) {
			if (iter.pte.pfn & ~fault->words[i] &
			    (HMM_PTE_WRITE | HMM_PTE_EXCLUSIVE))
				return true;
		}
	}
	return false;
}

/*
 * Wait for accesses that use DMA mappings which the stage replaces. The wait drops the lock.
 */
static void hmm_commit_wait_accesses(struct hmm_mirror *mirror, const struct hmm_pt_stage *stage)
{
	unsigned long addr = stage->start, next;

	if (!stage->maps ||
	    !hmm_access_is_under_way(mirror, stage->start, stage->end - 1, false))
		return;
	while (hmm_pt_stage_next_map(stage, &addr, &next)) {
		if (hmm_access_is_under_way(mirror, addr, next - 1, false))
			return hmm_access_wait(mirror, stage->start, stage->end - 1, false);
		addr = next;
	}
}

/* Return 0 if the stage may be published, or an errno. */
static int hmm_commit_check(struct hmm_fault *fault, const struct hmm_pt_stage *stage)
{
	unsigned long start = stage->start, end = stage->end;
	int ret = hmm_commit_is_stale(fault);

	if (ret)
		return ret;
	/* The stage overlaps a part of a block: revoke the whole block first. */
	hmm_pt_widen(&fault->mirror->pt, &start, &end);
	if (start != stage->start || end != stage->end) {
		hmm_commit_revoke(fault, start, end);
		return -EAGAIN;
	}
	return hmm_commit_loses_write(fault, stage) ? -EAGAIN : 0;
}

/* Call the driver to write its page table. */
static int hmm_commit_sync(struct hmm_fault *fault, const struct hmm_pt_stage *stage)
{
	const struct hmm_update update = {
		.start = stage->start,
		.end = stage->end,
		.event = fault->flags & HMM_FAULT_WRITE ? HMM_UPDATE_DEVICE_WFAULT :
							  HMM_UPDATE_DEVICE_RFAULT,
		.blockable = true,
		.job = fault->call.job,
	};
	struct hmm_mirror *mirror = fault->mirror;
	int ret;

	if (!mirror->reg.ops->sync_cpu_device_pagetables)
		return 0;
	hmm_inside_enter(&fault->range.inside, HMM_INSIDE_CALLBACK);
	ret = mirror->reg.ops->sync_cpu_device_pagetables(mirror, &update);
	hmm_inside_leave(&fault->range.inside);
	if (WARN_ONCE(ret > 0 || ret == -EAGAIN, "%ps returns %d for a fault\n",
		      mirror->reg.ops->sync_cpu_device_pagetables, ret))
		return -EIO;
	return ret;
}

/* Begin the access before the lock under which its first page was published is dropped. */
static int hmm_commit_begin_access(struct hmm_fault *fault, const struct hmm_pt_stage *stage)
{
	const struct hmm_call *call = &fault->call;

	if (!fault->access || call->start < stage->start || call->start >= stage->end)
		return 0;
	fault->accessed = hmm_access_hold(fault->access, fault->mirror, call->start, call->end,
					  fault->flags);
	return min(fault->accessed, 0);
}

/**
 * hmm_commit_stage() - publish a stage and call the driver
 * @fault: fault
 * @stage: stage that hmm_pt_prepare() returned 0 for
 *
 * Context: Process context, mirror->lock not held. Sleeps.
 * Return: 0; -EAGAIN if the walk has to be repeated, see hmm_commit_check() and
 * hmm_pt_publish(); -ESRCH if the mirror is dead; the error of the driver's callback; -EFAULT
 * if an access has to begin and the driver of the memory is going away. After an error of the
 * callback or -EFAULT the pages of the stage are revoked.
 */
int hmm_commit_stage(struct hmm_fault *fault, struct hmm_pt_stage *stage)
{
	struct hmm_mirror *mirror = fault->mirror;
	int ret;

	down_write(&mirror->lock);
	hmm_commit_wait_accesses(mirror, stage);
	ret = hmm_commit_check(fault, stage) ?: hmm_pt_publish(&mirror->pt, stage);
	if (ret) {
		up_write(&mirror->lock);
		return ret;
	}
	downgrade_write(&mirror->lock);
	ret = hmm_commit_sync(fault, stage) ?: hmm_commit_begin_access(fault, stage);
	up_read(&mirror->lock);
	if (!ret)
		return 0;

	/* The driver may have written some of its PTEs. */
	down_write(&mirror->lock);
	hmm_commit_revoke(fault, stage->start, stage->end);
	up_write(&mirror->lock);
	return ret;
}

/* Commit valid pages from @start to @end. Reduce @end to the pages that have a DMA mapping. */
static int hmm_commit(struct hmm_fault *fault, unsigned long start, unsigned long *end)
{
	unsigned long first = hmm_fault_index(fault, start);
	struct hmm_pt *pt = &fault->mirror->pt;
	struct hmm_pt_stage stage;
	int ret;

	ret = hmm_commit_make_entries(fault, start, *end);
	while (!ret) {
		hmm_pt_stage(&stage, start, *end, fault->words + first,
			     fault->maps ? fault->maps + first : NULL);
		ret = hmm_pt_prepare(pt, &stage);
		if (!ret) {
			ret = hmm_commit_stage(fault, &stage);
			hmm_pt_unstage(pt, &stage);
			break;
		}
		hmm_pt_unstage(pt, &stage);
		if (stage.mapped == start)
			break;
		*end = stage.mapped;
		ret = 0;
	}
	return ret;
}

/**
 * hmm_commit_runs() - commit each run of valid pages
 * @fault: fault
 * @end: end address, exclusive
 *
 * Context: Process context, mirror->lock not held. Sleeps.
 * Return: The number of pages of the chunk that were committed; the error of the first run
 * if there are none; or -EAGAIN if the walk has to be repeated, even if pages were committed.
 */
long hmm_commit_runs(struct hmm_fault *fault, unsigned long end)
{
	const unsigned long *pfns = fault->range.hmm_pfns;
	unsigned long i, stop = hmm_fault_index(fault, end);
	unsigned long addr, next, done;
	long pages = 0;
	int ret;

	for (addr = fault->range.start; addr < end; addr = next) {
		i = hmm_fault_index(fault, addr);
		while (i < stop && pfns[i] & HMM_PFN_VALID)
			i++;
		next = fault->range.start + (i << PAGE_SHIFT);
		if (next == addr) {
			next += PAGE_SIZE;
			continue;
		}
		done = next;
		ret = hmm_commit(fault, addr, &done);
		if (ret)
			return pages && ret != -EAGAIN ? pages : ret;
		if (done > fault->start && addr < fault->end)
			pages += (min(done, fault->end) - max(addr, fault->start)) >> PAGE_SHIFT;
		/* Further runs may wait, which would delay an access that has begun. */
		if (done != next || fault->accessed)
			break;
	}
	return pages;
}
