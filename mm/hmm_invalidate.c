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
 * Does the invalidation come from a CPU fault of the walk itself, at addresses that the walk
 * has not read? The fault ends before the walk reads them.
 */
static bool hmm_range_invalidates_itself(const struct hmm_range *range, unsigned long start)
{
	/* The walk does not read addresses before the range, either. */
	return hmm_inside(&range->inside, HMM_INSIDE_CPU_FAULT) &&
	       max(start, range->begun_start) >= range->unseen;
}

/*
 * Mark the ranges in flight that overlap as collided. With @own, except a range for which this
 * task makes pages exclusive. Return whether a marked range is committed: its result is being
 * published or used under mirror->lock.
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
		/* This task cannot commit the range before the invalidation ends. */
		if (hmm_range_invalidates_itself(range, start) ||
		    (own && hmm_inside(&range->inside, HMM_INSIDE_MAKE_EXCLUSIVE)))
			continue;
		committed |= range->committed;
		WRITE_ONCE(range->collided, true);
	}
	spin_unlock(&mirror->range_lock);
	return committed;
}

/* Does make_device_exclusive_range() send this event, on behalf of the device itself? */
static bool hmm_mirror_is_owner(const struct hmm_mirror *mirror,
				const struct mmu_notifier_range *range)
{
	return range->event == MMU_NOTIFY_EXCLUSIVE && range->owner &&
	       range->owner == mirror->reg.owner;
}

/*
 * Is the whole range still readable? The senders of MMU_NOTIFY_PROTECTION_VMA hold mmap_lock.
 * A change of the protection of hugetlb memory can unshare a page table, which unmaps pages.
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
		/* Also for migrations by the driver itself: the old pages are unmapped. */
		return HMM_UPDATE_MIGRATE;
	}
}

static bool hmm_update_protects(const struct hmm_update *update)
{
	return update->event == HMM_UPDATE_WRITE_PROTECT ||
	       update->event == HMM_UPDATE_FORK || update->event == HMM_UPDATE_ISDIRTY;
}

/* Does the update revoke anything from the device? */
static bool hmm_mirror_is_affected(struct hmm_mirror *mirror, const struct hmm_update *update)
{
	if (mirror->reg.own_tables)
		return true;
	if (hmm_update_protects(update))
		return hmm_pt_writable(&mirror->pt, update->start, update->end);
	return hmm_pt_occupied(&mirror->pt, update->start, update->end);
}

/*
 * Does the update certainly revoke nothing? Called after hmm_mirror_collide(), without
 * mirror->lock: the holder of that lock may wait for a device for a long time.
 */
static bool hmm_mirror_is_unaffected(struct hmm_mirror *mirror, const struct hmm_update *update)
{
	return !mirror->reg.own_tables &&
	       hmm_pt_has_none(&mirror->pt, update->start, update->end,
			       hmm_update_protects(update));
}

/* Call the driver. It may refuse only updates that must not block. Then nothing changes. */
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
	/* This invalidation cannot fail: continue as if the driver had returned 0. */
	if (update->blockable)
		return true;
	hmm_mirror_count(mirror, HMM_COUNT_REFUSED, 1);
	return false;
}

/*
 * Widen the update to whole blocks, and wait until no access of them is under way. The wait
 * drops the lock, and everything may change: then start again with the original range.
 *
 * Return: 1 if the update revokes something; 0 if it does not; -EAGAIN if it must not block
 * and would have to wait.
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
 * Revoke the access, or only the write access, of the device to a range, as @update->event
 * requires. The lock may be dropped before that.
 *
 * Return: True if it is revoked. False if the update must not block: then nothing has changed.
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

/* The same, and ranges in flight collide, so that they do not publish the pages again. */
bool hmm_mirror_invalidate(struct hmm_mirror *mirror, struct hmm_update *update)
{
	hmm_mirror_collide(mirror, update->start, update->end, false);
	return hmm_mirror_revoke(mirror, update);
}

/**
 * hmm_mirror_notify() - handle an invalidation in a window
 * @mirror: mirror
 * @range: range of the MMU notifier
 * @start: first address of @range in the window
 * @end: end address of @range in the window, exclusive
 *
 * Context: Callback of an MMU notifier: locks of the mm may be held. Sleeps only if @range is
 * blockable.
 * Return: True; or false if @range is not blockable and this would have to wait, or the driver
 * refuses. Then the mirror page table has not changed.
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
