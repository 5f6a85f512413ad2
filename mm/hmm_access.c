// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * HMM: accesses of a device that are under way. Their pages must stay mapped and mirrored
 * until the accesses have ended.
 *
 * An access is in a tree of its mirror from its beginning to its end. It begins under
 * mirror->lock, if all of its pages are in the mirror page table. An invalidation holds
 * that lock for writing, and finds the accesses that it has to wait for in the tree:
 *
 *	access				invalidation
 *	======				============
 *	mirror->lock, for reading
 *	  pages are mirrored
 *	  access_lock: into the tree
 *	mirror->lock dropped
 *	the device reads and writes	mirror->lock, for writing
 *					  access_lock: an access overlaps; add a barrier
 *					mirror->lock dropped
 *					sleeps
 *	access_lock: out of the tree,
 *	  wake up the invalidation
 *					mirror->lock, for writing; remove the barrier
 *					  call the driver, clear the entries
 *
 * The invalidation drops the lock while it waits: a driver takes the lock to look up the
 * addresses of an access that is under way, and other invalidations proceed. No access
 * begins in the range of a barrier, so the wait ends. A task that cannot begin an access
 * because of a barrier waits until the barrier is removed, and then faults: the page is
 * probably unmapped by then.
 *
 * The commit waits in the same way before it replaces the DMA mapping of a page that becomes
 * writable, or of pages that become a larger block.
 *
 * An access can end in an interrupt handler, so access_lock is taken with interrupts
 * disabled. It nests inside mirror->lock. Only the lock of the wait queue nests inside it.
 */
#include <linux/hmm_mirror.h>
#include <linux/memremap.h>
#include <linux/sched/coredump.h>
#include <linux/wait.h>

#include "hmm_mirror.h"

/**
 * struct hmm_access_barrier - a range in which no access begins
 * @node: in mirror->barriers
 * @start: first address
 * @last: last address
 * @write: only accesses for writing are blocked
 */
struct hmm_access_barrier {
	struct list_head node;
	unsigned long start;
	unsigned long last;
	bool write;
};

/**
 * hmm_access_init() - initialise the access state of a mirror
 * @mirror: mirror that is being registered
 *
 * Context: Any.
 */
void hmm_access_init(struct hmm_mirror *mirror)
{
	spin_lock_init(&mirror->access_lock);
	mirror->accesses[false] = RB_ROOT_CACHED;
	mirror->accesses[true] = RB_ROOT_CACHED;
	INIT_LIST_HEAD(&mirror->barriers);
	init_waitqueue_head(&mirror->access_wait);
}

/**
 * hmm_access_is_under_way() - does a device access a range?
 * @mirror: mirror
 * @start: first address
 * @last: last address
 * @write: consider only accesses for writing
 *
 * Context: Any. If &hmm_mirror.lock is held for writing, no access begins meanwhile. Does not
 * sleep.
 * Return: True if an access that overlaps the range has not ended.
 */
bool hmm_access_is_under_way(struct hmm_mirror *mirror, unsigned long start,
			     unsigned long last, bool write)
{
	unsigned long flags;
	bool under_way;

	spin_lock_irqsave(&mirror->access_lock, flags);
	under_way = interval_tree_iter_first(&mirror->accesses[true], start, last) ||
		    (!write &&
		     interval_tree_iter_first(&mirror->accesses[false], start, last));
	spin_unlock_irqrestore(&mirror->access_lock, flags);
	return under_way;
}

/**
 * hmm_access_wait() - wait until no device accesses a range
 * @mirror: mirror
 * @start: first address
 * @last: last address
 * @write: wait only for accesses for writing
 *
 * When this returns no access is under way, and none begins until the lock is dropped.
 *
 * Context: Under &hmm_mirror.lock, held for writing; the lock is dropped and taken again.
 * Sleeps.
 */
void hmm_access_wait(struct hmm_mirror *mirror, unsigned long start, unsigned long last,
		     bool write)
{
	struct hmm_access_barrier barrier = { .start = start, .last = last, .write = write };
	unsigned long flags;

	lockdep_assert_held_write(&mirror->lock);
	spin_lock_irqsave(&mirror->access_lock, flags);
	list_add(&barrier.node, &mirror->barriers);
	spin_unlock_irqrestore(&mirror->access_lock, flags);
	up_write(&mirror->lock);
	wait_event(mirror->access_wait, !hmm_access_is_under_way(mirror, start, last, write));
	down_write(&mirror->lock);
	spin_lock_irqsave(&mirror->access_lock, flags);
	list_del(&barrier.node);
	wake_up_all(&mirror->access_wait);
	spin_unlock_irqrestore(&mirror->access_lock, flags);
}

/* Return the last address that an access from @start on can have; 0 if it cannot begin. */
static unsigned long hmm_access_allowed(struct hmm_mirror *mirror, unsigned long start,
					unsigned long last, bool write)
{
	struct hmm_access_barrier *barrier;

	lockdep_assert_held(&mirror->access_lock);
	list_for_each_entry(barrier, &mirror->barriers, node) {
		if (barrier->last < start || barrier->start > last || (barrier->write && !write))
			continue;
		if (barrier->start <= start)
			return 0;
		last = barrier->start - 1;
	}
	return last;
}

/**
 * hmm_access_is_allowed() - can an access begin at an address?
 * @mirror: mirror
 * @addr: first address of the access
 * @write: the access is for writing
 *
 * Context: Any. Does not sleep.
 * Return: False if an invalidation or a commit waits for accesses of this page.
 */
bool hmm_access_is_allowed(struct hmm_mirror *mirror, unsigned long addr, bool write)
{
	unsigned long flags;
	bool allowed;

	spin_lock_irqsave(&mirror->access_lock, flags);
	allowed = hmm_access_allowed(mirror, addr, addr, write);
	spin_unlock_irqrestore(&mirror->access_lock, flags);
	return allowed;
}

/**
 * hmm_access_wait_allowed() - wait until an access can begin
 * @mirror: mirror
 * @addr: first address of the access
 * @write: the access is for writing
 *
 * Context: Process context, with no lock held. Sleeps.
 * Return: 0, or -EINTR if the task has a fatal signal pending.
 */
int hmm_access_wait_allowed(struct hmm_mirror *mirror, unsigned long addr, bool write)
{
	if (wait_event_killable(mirror->access_wait, hmm_access_is_allowed(mirror, addr, write)))
		return -EINTR;
	return 0;
}

/*
 * Pin the pagemap of device memory, so that its driver and its struct pages stay. An access
 * has one such reference: return the end of the pages of the run that it covers.
 */
static unsigned long hmm_access_pin(struct hmm_access *access, const struct hmm_pt_iter *iter)
{
	phys_addr_t phys = PFN_PHYS(hmm_pte_pfn(iter->pte));
	unsigned long stop = iter->addr;
	const struct range *range;

	if (!access->pgmap) {
		access->pgmap = get_dev_pagemap(PHYS_PFN(phys), NULL);
		if (!access->pgmap)
			return stop;
		/* A pagemap can have several ranges. Only the first is compared below. */
		stop += PAGE_SIZE;
	}
	range = &access->pgmap->range;
	if (phys >= range->start && phys <= range->end)
		stop = iter->addr + min_t(u64, iter->end - iter->addr, range->end + 1 - phys);
	return stop;
}

/* Return the end of the pages from @start on that are mirrored as @flags require. */
static unsigned long hmm_access_find(struct hmm_access *access, struct hmm_mirror *mirror,
				     unsigned long start, unsigned long end, unsigned int flags)
{
	struct hmm_pt_iter iter;
	unsigned long stop;

	hmm_pt_for_each(&iter, mirror, start, end) {
		if (iter.addr != start || !hmm_pte_serves(iter.pte, flags))
			break;
		stop = hmm_pte_device(iter.pte) ? hmm_access_pin(access, &iter) : iter.end;
		start = stop;
		if (stop != iter.end)
			break;
		cond_resched();
	}
	return start;
}

static bool hmm_access_insert(struct hmm_access *access, struct hmm_mirror *mirror,
			      unsigned long start, unsigned long last)
{
	unsigned long flags;

	/* The OOM reaper must not block on accesses: it gives up after a few attempts. */
	if (test_bit(MMF_UNSTABLE, &mirror->mm->flags))
		return false;
	access->node.start = start;
	spin_lock_irqsave(&mirror->access_lock, flags);
	access->node.last = hmm_access_allowed(mirror, start, last, access->write);
	if (access->node.last)
		interval_tree_insert(&access->node, &mirror->accesses[access->write]);
	spin_unlock_irqrestore(&mirror->access_lock, flags);
	return access->node.last;
}

/**
 * hmm_access_hold() - begin an access of mirrored pages
 * @access: access
 * @mirror: mirror
 * @start: first address, page aligned
 * @end: end address, exclusive, page aligned
 * @flags: flags of &enum hmm_fault_flags
 *
 * Context: Under &hmm_mirror.lock, held for reading or writing. May sleep.
 * Return: The number of pages of the access, from @start on; 0 if the first page is not
 * mirrored as @flags require, if an access of it cannot begin now, see
 * hmm_access_is_allowed(), or if the OOM killer reaps the mm; -EFAULT if the page is device
 * memory whose driver is going away.
 */
long hmm_access_hold(struct hmm_access *access, struct hmm_mirror *mirror,
		     unsigned long start, unsigned long end, unsigned int flags)
{
	unsigned long stop;

	lockdep_assert_held(&mirror->lock);
	/* Bound how long the lock is held. */
	end = start + min(end - start, HMM_WINDOW_SIZE);
	access->mirror = mirror;
	access->write = flags & (HMM_FAULT_WRITE | HMM_FAULT_EXCLUSIVE);
	access->pgmap = NULL;
	stop = hmm_access_find(access, mirror, start, end, flags);
	if (stop == start) {
		hmm_pte_t pte = hmm_pt_lookup(mirror, start, NULL);

		return hmm_pte_valid(pte) && hmm_pte_serves(pte, flags) ? -EFAULT : 0;
	}
	if (!hmm_access_insert(access, mirror, start, stop - 1)) {
		put_dev_pagemap(access->pgmap);
		return 0;
	}
	stop = access->node.last + 1;
	if (access->write)
		hmm_mirror_range_dirty(mirror, start, stop);
	return (stop - start) >> PAGE_SHIFT;
}

/**
 * hmm_access_try() - begin an access of pages that are mirrored already
 * @access: access; it must exist until hmm_access_end()
 * @mirror: mirror without %HMM_MIRROR_OWN_TABLES
 * @start: first address, page aligned
 * @end: end address, exclusive, page aligned
 * @flags: %HMM_FAULT_READ, %HMM_FAULT_WRITE or %HMM_FAULT_EXCLUSIVE: required access
 *
 * Like hmm_access_begin(), but never faults. It is for a device that accesses several ranges
 * at the same time: a task that has to end an access begins further accesses by this function.
 * If it returns 0 the caller must end all of them before it faults and begins again. The
 * caller must not call this function in a loop instead: an invalidation may be waiting for
 * one of the accesses. Two devices that need the same two ranges exclusively can prevent each
 * other from making progress.
 *
 * Context: Process context, with no lock held that is taken in callbacks; not under
 * &hmm_mirror.lock. Sleeps.
 * Return: The number of pages of the access, from @start on; 0 if the first page is not
 * mirrored as @flags require, or an invalidation waits for accesses of it. Or
 *
 * * %-EINVAL: the flags are invalid, the range is empty, not page aligned, or not of user
 *   space, or the driver of the mirror has its own page tables
 * * %-EFAULT: the page is device memory whose driver is going away
 * * %-ESRCH: the mm is gone, or the mirror is being or has been unregistered
 */
long hmm_access_try(struct hmm_access *access, struct hmm_mirror *mirror,
		    unsigned long start, unsigned long end, unsigned int flags)
{
	long ret = -EINVAL;

	if (!hmm_mirror_get(mirror))
		return -ESRCH;
	if (!hmm_mirror_bad_flags(mirror, flags) &&
	    !(flags & (HMM_FAULT_PRESENT | HMM_FAULT_MAY_WRITE)) &&
	    !mirror->reg.own_tables && !hmm_mirror_bad_range(mirror, start, end)) {
		guard(rwsem_read)(&mirror->lock);
		ret = mirror->dead ? -ESRCH :
				     hmm_access_hold(access, mirror, start, end, flags);
	}
	hmm_mirror_put(mirror);
	return ret;
}
EXPORT_SYMBOL_GPL(hmm_access_try);

/**
 * hmm_access_end() - end an access
 * @access: access for which hmm_access_begin() or hmm_access_try() returned a number of pages
 *
 * The driver calls this once for each access, when all data that the device has written is
 * in memory. Invalidations that wait for this access continue.
 *
 * Context: Any context that may take a spinlock, including interrupt handlers (threaded ones
 * on PREEMPT_RT), but not NMI. Does not sleep. @access may be freed when this returns. If the
 * mirror is being unregistered, it may be freed, too.
 */
void hmm_access_end(struct hmm_access *access)
{
	struct hmm_mirror *mirror = access->mirror;
	unsigned long flags;

	put_dev_pagemap(access->pgmap);
	spin_lock_irqsave(&mirror->access_lock, flags);
	interval_tree_remove(&access->node, &mirror->accesses[access->write]);
	/* The mirror may be unregistered and freed as soon as the lock is dropped. */
	if (!list_empty(&mirror->barriers))
		wake_up_all(&mirror->access_wait);
	spin_unlock_irqrestore(&mirror->access_lock, flags);
}
EXPORT_SYMBOL_GPL(hmm_access_end);
