// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * HMM: accesses of a device that are under way, in memory that must stay where it is until
 * they have ended.
 *
 * An access is in a tree of its mirror from its beginning to its end. It begins under
 * mirror->lock, when all of its pages are found in the mirror page table. Whoever takes
 * pages away holds that lock for writing, and finds in the tree what to wait for:
 *
 *	access				invalidation
 *	======				============
 *	mirror->lock, for reading
 *	  pages are mirrored
 *	  access_lock: into the tree
 *	mirror->lock dropped
 *	the device reads and writes	mirror->lock, for writing
 *					  access_lock: one overlaps; a barrier is put up
 *					mirror->lock dropped
 *					sleeps
 *	access_lock: out of the tree,
 *	  wakes who waits
 *					mirror->lock, for writing; barrier removed
 *					  the driver is called, entries go
 *
 * The lock is not held while accesses are waited for: a driver takes it to look up addresses
 * of what it has under way, and other invalidations go on. No access begins behind a
 * barrier, so that the wait comes to an end. Whoever is kept from beginning waits for that,
 * too, and faults then: the page is likely to be gone.
 *
 * Publishing is an invalidation, too, of DMA mappings that give way to others: those of a
 * page that is upgraded, or of pages that become a block.
 *
 * An access ends in any context, by an interrupt of the device for instance, so access_lock
 * is taken with interrupts off. It is inside of mirror->lock, and nothing is inside of it
 * but the lock of the wait queue.
 */
#include <linux/hmm.h>
#include <linux/memremap.h>
#include <linux/wait.h>

#include "hmm_internal.h"

/**
 * struct hmm_access_barrier - where no access begins
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
	mirror->accesses = RB_ROOT_CACHED;
	INIT_LIST_HEAD(&mirror->barriers);
	init_waitqueue_head(&mirror->access_wait);
}

static struct hmm_access *hmm_access_first(struct hmm_mirror *mirror, unsigned long start,
					   unsigned long last, bool write)
{
	struct interval_tree_node *node;

	lockdep_assert_held(&mirror->access_lock);
	for (node = interval_tree_iter_first(&mirror->accesses, start, last); node;
	     node = interval_tree_iter_next(node, start, last)) {
		struct hmm_access *access = container_of(node, struct hmm_access, node);

		if (access->write || !write)
			return access;
	}
	return NULL;
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
	guard(spinlock_irqsave)(&mirror->access_lock);
	return hmm_access_first(mirror, start, last, write);
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

	lockdep_assert_held_write(&mirror->lock);
	scoped_guard(spinlock_irqsave, &mirror->access_lock)
		list_add(&barrier.node, &mirror->barriers);
	up_write(&mirror->lock);
	wait_event(mirror->access_wait, !hmm_access_is_under_way(mirror, start, last, write));
	down_write(&mirror->lock);
	guard(spinlock_irqsave)(&mirror->access_lock);
	list_del(&barrier.node);
	wake_up_all(&mirror->access_wait);
}

/* How far from @start on, up to @last, an access can begin; 0: not at all */
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

static bool hmm_access_is_allowed(struct hmm_mirror *mirror, unsigned long addr, bool write)
{
	guard(spinlock_irqsave)(&mirror->access_lock);
	return hmm_access_allowed(mirror, addr, addr, write);
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
 * Keep the driver of memory of a device from going away, with struct page. Return the end of
 * those pages of a run for which one reference does, together with what came before.
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

/* How far from @start on everything is mirrored as it is needed */
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
	guard(spinlock_irqsave)(&mirror->access_lock);
	last = hmm_access_allowed(mirror, start, last, access->write);
	if (!last)
		return false;
	access->node.start = start;
	access->node.last = last;
	interval_tree_insert(&access->node, &mirror->accesses);
	return true;
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
 * Return: How many pages the access is of, from @start on; 0: that page is not mirrored as it
 * is needed, or somebody is about to take it away; -EFAULT: it is memory of a device whose
 * driver is going away.
 */
long hmm_access_hold(struct hmm_access *access, struct hmm_mirror *mirror,
		     unsigned long start, unsigned long end, unsigned int flags)
{
	unsigned long stop;

	lockdep_assert_held(&mirror->lock);
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
 * at once: while one access is under way whose end depends on the caller, others are begun
 * by this. If it returns 0 the caller ends all of them, and begins again by a fault.
 *
 * Context: Process context, with no lock held that is taken in callbacks; not under
 * &hmm_mirror.lock. Sleeps.
 * Return: How many pages the access is of, from @start on; 0 if the first one is not mirrored
 * so, or is about to be taken away. Or
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
	if (!hmm_fault_bad_flags(mirror, flags) &&
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
 * What the device has written is in memory. Whoever waits to take the pages away goes on.
 *
 * Context: Any, also an interrupt. Does not sleep. @access may be freed afterwards, and the
 * mirror may be gone if it is being unregistered.
 */
void hmm_access_end(struct hmm_access *access)
{
	struct hmm_mirror *mirror = access->mirror;

	put_dev_pagemap(access->pgmap);
	/* Who waits may free the mirror when the lock is dropped: so it is woken before. */
	guard(spinlock_irqsave)(&mirror->access_lock);
	interval_tree_remove(&access->node, &mirror->accesses);
	wake_up_all(&mirror->access_wait);
}
EXPORT_SYMBOL_GPL(hmm_access_end);
