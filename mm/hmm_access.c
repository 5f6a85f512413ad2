// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * HMM: accesses of a device that are under way. Their pages must stay where they are until
 * the accesses have ended.
 *
 * An access is in a tree of its mirror from its beginning to its end. It begins under
 * mirror->lock, when all of its pages are found in the mirror page table. An invalidation
 * holds that lock for writing, and finds in the tree the accesses that it has to wait for:
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
 * The invalidation does not hold the lock while it waits: a driver takes it to look up the
 * addresses of an access that is under way, and other invalidations go on. No access begins
 * in the range of a barrier, so the wait ends. A task that is kept from beginning an access
 * waits until the barrier is removed, and then faults: the page is likely to be gone.
 *
 * Publishing waits likewise before it replaces DMA mappings: those of a page that is upgraded,
 * or of pages that become a block.
 *
 * An access ends in any context, for instance in the interrupt handler of the device, so
 * access_lock is taken with interrupts disabled. It is taken inside mirror->lock. Only the
 * lock of the wait queue is taken inside it.
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
 * @write: accesses that only read may begin
 */
struct hmm_access_barrier {
	struct list_head node;
	unsigned long start;
	unsigned long last;
	bool write;
};

/**
 * hmm_access_init() - let there be no access
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
 * @write: only accesses that write count
 *
 * Context: Under &hmm_mirror.lock, held for writing, none begins. Does not sleep.
 * Return: whether there is an access that has not ended.
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
 * @write: accesses that only read are not waited for
 *
 * None is under way when this returns, and none begins until the lock is dropped.
 *
 * Context: Under &hmm_mirror.lock, held for writing, which is dropped and taken again. Sleeps.
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

/* The last address up to which an access can begin at @start; 0 if it cannot begin there */
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
 * hmm_access_is_allowed() - can an access begin, or does an invalidation wait?
 * @mirror: mirror
 * @addr: where
 * @write: it is for writing
 *
 * Context: Any. Does not sleep.
 * Return: whether it can.
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
 * @addr: where
 * @write: it is for writing
 *
 * Context: With no lock held. Sleeps.
 * Return: 0, or -EINTR if the task has a fatal signal pending.
 */
int hmm_access_wait_allowed(struct hmm_mirror *mirror, unsigned long addr, bool write)
{
	if (wait_event_killable(mirror->access_wait, hmm_access_is_allowed(mirror, addr, write)))
		return -EINTR;
	return 0;
}

/*
 * Keep the driver of device memory, and with it the struct pages, from going away. Return
 * the end of the pages of the run that the one reference of the access covers.
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
		/* The page is in one of its ranges, perhaps not in the first. */
		stop += PAGE_SIZE;
	}
	range = &access->pgmap->range;
	if (phys >= range->start && phys <= range->end)
		stop = iter->addr + min_t(u64, iter->end - iter->addr, range->end + 1 - phys);
	return stop;
}

/* The end of the pages from @start on that are mirrored as @flags require */
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

	/* The OOM reaper gives up if it is refused again and again. */
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
 * hmm_access_hold() - begin an access of what is mirrored
 * @access: access
 * @mirror: mirror
 * @start: first address, page aligned
 * @end: end address, exclusive, page aligned
 * @flags: of &enum hmm_fault_flags
 *
 * Context: Under &hmm_mirror.lock, held for reading or writing. May sleep.
 * Return: The number of pages of the access, from @start on; 0 if the first page is not
 * mirrored as @flags require, or an invalidation waits for it; -EFAULT if it is device memory
 * whose driver is going away.
 */
long hmm_access_hold(struct hmm_access *access, struct hmm_mirror *mirror,
		     unsigned long start, unsigned long end, unsigned int flags)
{
	unsigned long stop;

	lockdep_assert_held(&mirror->lock);
	/* This bounds how long the lock is held. */
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
 * hmm_access_try() - begin an access of what is mirrored already
 * @access: to be filled in; it exists until hmm_access_end()
 * @mirror: mirror without %HMM_MIRROR_OWN_TABLES
 * @start: first address, page aligned
 * @end: end address, exclusive, page aligned
 * @flags: %HMM_FAULT_READ, %HMM_FAULT_WRITE or %HMM_FAULT_EXCLUSIVE: as what it must be
 *	mirrored
 *
 * Like hmm_access_begin(), but never faults. It is for a device that accesses several ranges
 * at the same time: while one access is under way that the caller has to end, other accesses
 * are begun by this function. If it returns 0 the caller ends all of them, faults, and begins
 * again. It does not loop on this function: 0 also says that an invalidation waits. Two devices
 * that each need the same two ranges exclusively can keep each other from progress.
 *
 * Context: Process context, with no lock held that is taken in callbacks; not under
 * &hmm_mirror.lock. Sleeps.
 * Return: The number of pages of the access, from @start on; 0 if the first page is not
 * mirrored as @flags require, or an invalidation waits for it. Or
 *
 * * %-EINVAL: flags that make no sense, a range that is empty, not page aligned, or not of
 *   user space, or a mirror whose driver has its own page tables
 * * %-EFAULT: memory of a device whose driver is going away
 * * %-ESRCH: the mm is gone, or the mirror is being unregistered, or has been
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
 * hmm_access_end() - the device has ended an access
 * @access: of hmm_access_begin() or hmm_access_try(), which returned a number of pages
 *
 * All that the device has written must be in memory. Invalidations that wait for this access
 * go on.
 *
 * Context: Once for each access. Any context that may take a spinlock, also an interrupt
 * handler (on PREEMPT_RT a threaded one); not an NMI. Does not sleep. @access may be freed
 * afterwards, and the mirror may be gone if it is being unregistered.
 */
void hmm_access_end(struct hmm_access *access)
{
	struct hmm_mirror *mirror = access->mirror;
	unsigned long flags;

	put_dev_pagemap(access->pgmap);
	spin_lock_irqsave(&mirror->access_lock, flags);
	interval_tree_remove(&access->node, &mirror->accesses[access->write]);
	/* hmm_mirror_unregister() may free the mirror as soon as the lock is dropped. */
	if (!list_empty(&mirror->barriers))
		wake_up_all(&mirror->access_wait);
	spin_unlock_irqrestore(&mirror->access_lock, flags);
}
EXPORT_SYMBOL_GPL(hmm_access_end);
