// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * HMM mirror: invalidations. mm/hmm_mirror.c has the protocol.
 */
#include <linux/hmm_mirror.h>
#include <linux/hugetlb.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>

#include <trace/events/hmm.h>

#include "hmm_mirror.h"

/*
 * Does the walk of the range do that itself? A CPU fault that it takes invalidates what it
 * copies, and is over before the walk goes on to look there.
 */
static bool hmm_range_invalidates_itself(const struct hmm_range *range, unsigned long start)
{
	/* What is before the range has not been looked at, either. */
	return hmm_inside(&range->inside, HMM_INSIDE_CPU_FAULT) &&
	       max(start, range->begun_start) >= range->unseen;
}

/*
 * Ranges in flight that overlap must not be committed, but for that of @taker. Return
 * whether one is: what it has found is being published, or looked at, under mirror->lock.
 */
static bool hmm_mirror_collide(struct hmm_mirror *mirror, unsigned long start,
			       unsigned long end, bool own)
{
	struct hmm_range *range;
	bool committed = false;

	spin_lock(&mirror->range_lock);
	list_for_each_entry(range, &mirror->ranges, node) {
		if (range->begun_start >= end || start >= range->begun_end)
			continue;
		/* This task is here, and does not publish what it has found. */
		if (hmm_range_invalidates_itself(range, start) ||
		    (own && hmm_inside(&range->inside, HMM_INSIDE_MAKE_EXCLUSIVE)))
			continue;
		committed |= range->committed;
		WRITE_ONCE(range->collided, true);
	}
	spin_unlock(&mirror->range_lock);
	return committed;
}

/*
 * The task that takes pages for a device, if this is what it tells others of that: it
 * knows itself. Only these events, and migrations, have an owner.
 */
static bool hmm_mirror_is_owner(const struct hmm_mirror *mirror,
				const struct mmu_notifier_range *range)
{
	return range->event == MMU_NOTIFY_EXCLUSIVE && range->owner &&
	       range->owner == mirror->reg.owner;
}

/*
 * Did the protection of all of it become one that lets a device read? The senders of
 * MMU_NOTIFY_PROTECTION_VMA hold mmap_lock. Protecting hugetlb memory can take away
 * a table of ptes that is shared, and the pages with it.
 */
static bool hmm_mirror_stays_readable(struct hmm_mirror *mirror, unsigned long start,
				      unsigned long end)
{
	struct vm_area_struct *vma;

	mmap_assert_locked(mirror->mm);
	vma = vma_lookup(mirror->mm, start);
	return vma && end <= vma->vm_end && vma->vm_flags & VM_READ &&
	       !is_vm_hugetlb_page(vma);
}

static enum hmm_update_event hmm_mirror_event(struct hmm_mirror *mirror,
					      const struct mmu_notifier_range *range,
					      unsigned long start, unsigned long end)
{
	switch (range->event) {
	case MMU_NOTIFY_UNMAP:
	case MMU_NOTIFY_RELEASE:
		return HMM_UPDATE_MUNMAP;
	case MMU_NOTIFY_PROTECTION_PAGE:
		return range->flags & MMU_NOTIFIER_RANGE_FORK ? HMM_UPDATE_FORK :
								HMM_UPDATE_WRITE_PROTECT;
	case MMU_NOTIFY_PROTECTION_VMA:
		if (hmm_mirror_stays_readable(mirror, start, end))
			return HMM_UPDATE_WRITE_PROTECT;
		return HMM_UPDATE_MIGRATE;
	case MMU_NOTIFY_SOFT_DIRTY:
		return HMM_UPDATE_ISDIRTY;
	default:
		/* Also if the device itself is the reason: its old pages go. */
		return HMM_UPDATE_MIGRATE;
	}
}

static bool hmm_update_protects(const struct hmm_update *update)
{
	return update->event == HMM_UPDATE_WRITE_PROTECT ||
	       update->event == HMM_UPDATE_FORK || update->event == HMM_UPDATE_ISDIRTY;
}

/* Has the device anything that the update takes away? */
static bool hmm_mirror_is_affected(struct hmm_mirror *mirror, const struct hmm_update *update)
{
	if (mirror->reg.own_tables)
		return true;
	if (hmm_update_protects(update))
		return hmm_pt_writable(&mirror->pt, update->start, update->end);
	return hmm_pt_occupied(&mirror->pt, update->start, update->end);
}

/*
 * The same without mirror->lock, after ranges in flight have collided: is there certainly
 * nothing to take away? The holder of that lock may wait for a device, for long.
 */
static bool hmm_mirror_is_unaffected(struct hmm_mirror *mirror, const struct hmm_update *update)
{
	return !mirror->reg.own_tables &&
	       hmm_pt_has_none(&mirror->pt, update->start, update->end,
			       hmm_update_protects(update));
}

/* Call the driver. Nothing is changed if it refuses, which only those may who must not block. */
static bool hmm_mirror_sync(struct hmm_mirror *mirror, const struct hmm_update *update)
{
	int ret;

	/* The device has no page table of its own. */
	if (!mirror->reg.ops->sync_cpu_device_pagetables)
		return true;
	hmm_inside_enter(&mirror->inside, HMM_INSIDE_CALLBACK);
	if (!update->blockable)
		non_block_start();
	ret = mirror->reg.ops->sync_cpu_device_pagetables(mirror, update);
	if (!update->blockable)
		non_block_end();
	hmm_inside_leave(&mirror->inside);

	trace_hmm_invalidate(mirror, update, ret);
	hmm_mirror_count(mirror, HMM_COUNT_CALLBACKS, 1);
	if (likely(!ret))
		return true;
	WARN_ONCE(update->blockable || ret != -EAGAIN, "%ps refuses an invalidation with %d\n",
		  mirror->reg.ops->sync_cpu_device_pagetables, ret);
	/* Nobody listens: go on as if it had synced. */
	if (update->blockable)
		return true;
	hmm_mirror_count(mirror, HMM_COUNT_REFUSED, 1);
	return false;
}

/*
 * Widen the update to the blocks that it hits, and wait until no access of these is under way.
 * The lock is dropped for the wait, and everything may change: then begin again with the range
 * that was asked for.
 *
 * Return: 1 if something is hit, 0 if nothing is, -EAGAIN if it must not wait.
 */
static int hmm_mirror_wait_accesses(struct hmm_mirror *mirror, struct hmm_update *update)
{
	const unsigned long start = update->start, end = update->end;
	bool write = hmm_update_protects(update);

	while (!mirror->dead && hmm_mirror_is_affected(mirror, update)) {
		hmm_pt_widen(&mirror->pt, &update->start, &update->end);
		if (!hmm_access_is_under_way(mirror, update->start, update->end - 1, write))
			return 1;
		if (!update->blockable)
			return -EAGAIN;
		hmm_access_wait(mirror, update->start, update->end - 1, write);
		update->start = start;
		update->end = end;
	}
	return 0;
}

/*
 * Take from the device what it has of a range, by the event that @update says. The lock may
 * be dropped before.
 *
 * Return: whether that is so now. If not nothing has changed.
 */
static bool hmm_mirror_revoke(struct hmm_mirror *mirror, struct hmm_update *update)
{
	bool done;
	int ret;

	lockdep_assert_held_write(&mirror->lock);

	ret = hmm_mirror_wait_accesses(mirror, update);
	if (ret <= 0) {
		hmm_mirror_count(mirror, ret ? HMM_COUNT_REFUSED : HMM_COUNT_SKIPPED, 1);
		return !ret;
	}
	hmm_pt_begin_change(&mirror->pt, update->start, update->end - 1);
	done = hmm_mirror_sync(mirror, update);
	if (done && hmm_update_protects(update)) {
		hmm_pt_write_protect(&mirror->pt, &update->start, &update->end);
	} else if (done) {
		hmm_pt_clear(&mirror->pt, &update->start, &update->end);
		hmm_window_gc_later(mirror);
	}
	hmm_pt_end_change(&mirror->pt);
	return done;
}

/* The same, and ranges in flight do not bring it back. */
bool hmm_mirror_invalidate(struct hmm_mirror *mirror, struct hmm_update *update)
{
	hmm_mirror_collide(mirror, update->start, update->end, false);
	return hmm_mirror_revoke(mirror, update);
}

/**
 * hmm_mirror_notify() - handle an invalidation in a window
 * @mirror: mirror
 * @range: notification of the MMU notifier
 * @start: first address of it in the window
 * @end: end address in the window, exclusive
 *
 * Context: As the MMU notifier calls it: locks of the mm may be held. Sleeps only if the
 * notification is blockable.
 * Return: true; or false if it is not blockable and would have to wait. Nothing has changed
 * then.
 */
bool hmm_mirror_notify(struct hmm_mirror *mirror, const struct mmu_notifier_range *range,
		       unsigned long start, unsigned long end)
{
	struct hmm_update update = {
		.start = start,
		.end = end,
		.event = hmm_mirror_event(mirror, range, start, end),
		.blockable = mmu_notifier_range_blockable(range),
	};
	bool done = true, committed;

	committed = hmm_mirror_collide(mirror, start, end, hmm_mirror_is_owner(mirror, range));
	if (!committed && hmm_mirror_is_unaffected(mirror, &update)) {
		hmm_mirror_count(mirror, HMM_COUNT_SKIPPED, 1);
		return true;
	}

	if (update.blockable) {
		down_write(&mirror->lock);
	} else if (!down_write_trylock(&mirror->lock)) {
		hmm_mirror_count(mirror, HMM_COUNT_REFUSED, 1);
		return false;
	}
	if (!mirror->dead)
		done = hmm_mirror_revoke(mirror, &update);
	up_write(&mirror->lock);
	return done;
}
