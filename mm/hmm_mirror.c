// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * HMM mirror: keeps a device in line with the address space of a process.
 *
 * The mirror page table says what the device may access. It is filled by
 * hmm_mirror_fault() from the CPU page table, and emptied by the callbacks of MMU
 * notifiers before the CPU page table changes. It is like two caches of one memory: the
 * rule is that an entry is there only while the CPU page table agrees.
 *
 * Windows
 *
 * The address space is cut into aligned windows. One gets an interval notifier when
 * something is mirrored in it for the first time, and loses it some time after it has
 * become empty. So nobody is called for what is changed where nothing is mirrored. The
 * sentinel is one more notifier, on the last page of all, where no user space is: the
 * release of the mm comes to it after all the windows.
 *
 * Ranges
 *
 * Between a look at the CPU page table and what is made of it the page table can change.
 * A range stands for such a look. Its states:
 *
 *	idle -> begun		hmm_range_begin(): in the list of the mirror
 *	begun -> collided	an invalidation that overlaps it reached its window
 *	begun -> committed	hmm_range_retry() said no, under the lock of the mirror; it
 *				may still collide, and stays committed
 *	any -> idle		hmm_range_end()
 *
 * An invalidation that comes after the beginning finds the range:
 *
 *	begin, walk, commit			invalidation
 *	===================			============
 *	range_lock: list_add(range)
 *	range_lock dropped
 *						mmu_notifier_invalidate_range_start()
 *						  active range is linked
 *	walks, sees old entries			  callback:
 *						    range_lock: collided = true
 *						    nothing is mirrored here
 *						changes the entries
 *						mmu_notifier_invalidate_range_end()
 *	mirror->lock
 *	  hmm_range_retry(): collided
 *	mirror->lock dropped, again
 *
 * The callback takes mirror->lock only if something is mirrored in its range, or about to
 * be: the holder may wait for a device. If hmm_range_retry() comes before the collision it
 * marks the range as committed, under range_lock, and the callback finds that:
 *
 *	mirror->lock				mmu_notifier_invalidate_range_start()
 *	  range_lock: committed = true		  callback:
 *						    range_lock: is committed
 *	  publishes				    mirror->lock, sleeps
 *	mirror->lock dropped
 *						    the driver is called, entries go
 *						    mirror->lock dropped
 *
 * Nor does it look while another callback takes away what overlaps, see
 * hmm_pt_begin_change(): so it does not depend on the order in which entries, DMA mappings and
 * dirty bits go there, nor on when another CPU sees that. An invalidation that began before a
 * range is waited for:
 *
 *	begin					invalidation
 *	=====					============
 *						subscriptions->lock: linked
 *						callbacks, which do not find the range
 *	range_lock: list_add(range)
 *	subscriptions->lock: one overlaps?	changes the entries
 *	sleeps
 *						subscriptions->lock: unlinked, wakes
 *	walks, sees new entries
 *
 * Both orders of the two critical sections of subscriptions->lock are covered: if it
 * links first, begin finds it; if begin looks first, list_add() has come before that,
 * the link behind it, and the callback behind the link. A range that the window's
 * notifier does not see because it was inserted too late does not exist: a window is in
 * the tree before the first range in it begins, see hmm_window_insert().
 *
 * A range is what it was when it began: begun_start, begun_end and begun are copies, because
 * the driver rewrites start and end to walk the range part by part, and may point mirror
 * elsewhere. What the walks of all parts have read is kept as one interval, from seen_start
 * to seen_end, for what comes next.
 *
 * A collision is one of ranges. Whatever is invalidated beside a range neither delays
 * nor repeats it; nor does what a CPU fault of the walk invalidates where the walk has
 * not been yet: it copies pages, and the walk would collide with each of them. And since
 * start and end of invalidations nest within one thread, nobody waits for them under
 * mirror->lock.
 *
 * Unlocked reads
 *
 * - range->syncing, taking and faulting, of any range: only who has written them can find
 *   itself there. range->unseen is read by that task alone.
 * - range->collided, by the walker (hmm_range_check()): only to give up early. What
 *   counts is the read under range_lock, by hmm_range_retry().
 * - mirror->users, by hmm_mirror_unregister(): once 0 it stays so.
 * - mirror->dead, by hmm_range_begin() and by the walker: only so that it fails early, or
 *   who retries would do so for ever. What counts is the read under mirror->lock.
 *
 * End
 *
 * A mirror ends when its mm dies or when it is unregistered, whichever comes first:
 *
 *	alive -> dying		range_lock; faults are cancelled and none begins, see
 *				mm/hmm_cancel.c
 *	dying -> dead		mirror->lock, after everything has been invalidated;
 *				nothing can be published
 *	dead -> released	release() has returned
 *	released -> gone	hmm_mirror_unregister() has returned
 *
 * Once a mirror is dead, callbacks, which may still come from exit_mmap() and the reverse
 * mapping, return immediately. Faults end by themselves from the moment a mirror is dying,
 * so release() may wait for them. hmm_mirror_unregister() waits for the users of the
 * mirror after release(), because a driver may end its ranges there.
 *
 * When the mirror is gone its memory may be freed. As long as it exists it is empty:
 * mirror->users is 0, so that faults and ranges do not begin, and the mirror page table
 * has no address.
 *
 * Order of locks: mmap_lock, then VMA locks, folio locks and what else invalidations are
 * sent under, then mirror->lock, then page table locks. window_mutex is outside of
 * mmap_lock, range_lock and the lock of the windows are inside of mirror->lock.
 */
#include <linux/hmm.h>
#include <linux/hugetlb.h>
#include <linux/memcontrol.h>
#include <linux/poison.h>
#include <linux/refcount.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/wait_bit.h>

#include "hmm_internal.h"

#define CREATE_TRACE_POINTS
#include <trace/events/hmm.h>

/* How long a window stays without anything in it: it is likely to be used again. */
#define HMM_WINDOW_IDLE		HZ

#define HMM_SENTINEL_ADDR	(ULONG_MAX & PAGE_MASK)

/* What a mirror that was unregistered has for an mm */
#define HMM_MIRROR_POISON	((struct mm_struct *)(0x4d4d48UL + POISON_POINTER_DELTA))

/**
 * struct hmm_window - where a mirror listens for invalidations
 * @notifier: for the window
 * @mirror: whose it is
 * @users: ranges that have begun in it; under the lock of mirror->windows
 */
struct hmm_window {
	struct mmu_interval_notifier notifier;
	struct hmm_mirror *mirror;
	unsigned long users;
};

/* Whoever uses @mirror, from outside of callbacks. Not if it is being unregistered. */
bool hmm_mirror_get(struct hmm_mirror *mirror)
{
	return refcount_inc_not_zero(&mirror->users);
}

/* @mirror may be gone when this returns; only its address is used to wake. */
void hmm_mirror_put(struct hmm_mirror *mirror)
{
	if (!refcount_dec_and_test(&mirror->users))
		return;
	/* Before it is looked at who waits: hmm_mirror_unregister() may be about to. */
	smp_mb__after_atomic();
	wake_up_var(&mirror->users);
}

static void hmm_mirror_reap_later(struct hmm_mirror *mirror)
{
	queue_delayed_work(system_unbound_wq, &mirror->reaper, HMM_WINDOW_IDLE);
}

/*
 * Does the walk of the range do that itself? A CPU fault that it takes invalidates what it
 * copies, and is over before the walk goes on to look there.
 */
static bool hmm_range_invalidates(const struct hmm_range *range, unsigned long start)
{
	/* What is before the range has not been looked at, either. */
	return READ_ONCE(range->faulting) == current &&
	       max(start, range->begun_start) >= range->unseen;
}

/*
 * Ranges in flight that overlap must not be committed, but for that of @taker. Return
 * whether one is: what it has found is being published, or looked at, under mirror->lock.
 */
static bool hmm_mirror_collide(struct hmm_mirror *mirror, unsigned long start,
			       unsigned long end, const struct task_struct *taker)
{
	struct hmm_range *range;
	bool committed = false;

	spin_lock(&mirror->range_lock);
	list_for_each_entry(range, &mirror->ranges, node) {
		if (range->begun_start >= end || start >= range->begun_end)
			continue;
		/* This task is here, and does not publish what it has found. */
		if (hmm_range_invalidates(range, start) ||
		    (taker && READ_ONCE(range->taking) == taker))
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
static struct task_struct *hmm_mirror_taker(const struct hmm_mirror *mirror,
					    const struct mmu_notifier_range *range)
{
	if (range->event != MMU_NOTIFY_EXCLUSIVE || !range->owner ||
	    range->owner != mirror->reg.owner)
		return NULL;
	return current;
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
static bool hmm_mirror_concerned(struct hmm_mirror *mirror, const struct hmm_update *update)
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
static bool hmm_mirror_unconcerned(struct hmm_mirror *mirror, const struct hmm_update *update)
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
	WRITE_ONCE(mirror->invalidating, current);
	if (!update->blockable)
		non_block_start();
	ret = mirror->reg.ops->sync_cpu_device_pagetables(mirror, update);
	if (!update->blockable)
		non_block_end();
	WRITE_ONCE(mirror->invalidating, NULL);

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
static int hmm_mirror_settle(struct hmm_mirror *mirror, struct hmm_update *update)
{
	const unsigned long start = update->start, end = update->end;
	bool write = hmm_update_protects(update);

	while (!mirror->dead && hmm_mirror_concerned(mirror, update)) {
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
static bool hmm_mirror_take_away(struct hmm_mirror *mirror, struct hmm_update *update)
{
	bool done;
	int ret;

	lockdep_assert_held_write(&mirror->lock);

	ret = hmm_mirror_settle(mirror, update);
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
		hmm_mirror_reap_later(mirror);
	}
	hmm_pt_end_change(&mirror->pt);
	return done;
}

/* The same, and ranges in flight do not bring it back. */
bool hmm_mirror_invalidate(struct hmm_mirror *mirror, struct hmm_update *update)
{
	hmm_mirror_collide(mirror, update->start, update->end, NULL);
	return hmm_mirror_take_away(mirror, update);
}

static bool hmm_window_invalidate(struct mmu_interval_notifier *notifier,
				  const struct mmu_notifier_range *range,
				  unsigned long cur_seq)
{
	struct hmm_window *window = container_of(notifier, struct hmm_window, notifier);
	struct hmm_mirror *mirror = window->mirror;
	/* The range may be of all addresses; its end, as that of exit_mmap(), unaligned. */
	struct hmm_update update = {
		.start = max(range->start, notifier->interval_tree.start),
		.end = min(range->end - 1, notifier->interval_tree.last) + 1,
		.blockable = mmu_notifier_range_blockable(range),
	};
	bool done = true, committed;

	/* The sequence of a window is never read: it is ranges that collide. */
	update.event = hmm_mirror_event(mirror, range, update.start, update.end);
	committed = hmm_mirror_collide(mirror, update.start, update.end,
				       hmm_mirror_taker(mirror, range));
	if (!committed && hmm_mirror_unconcerned(mirror, &update)) {
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
		done = hmm_mirror_take_away(mirror, &update);
	up_write(&mirror->lock);
	return done;
}

static const struct mmu_interval_notifier_ops hmm_window_ops = {
	.invalidate = hmm_window_invalidate,
};

static void hmm_mirror_release(struct hmm_mirror *mirror)
{
	trace_hmm_release(mirror);
	if (!mirror->reg.ops->release)
		return;
	WRITE_ONCE(mirror->releasing, current);
	mirror->reg.ops->release(mirror);
	WRITE_ONCE(mirror->releasing, NULL);
}

/* All the windows have been told before. */
static bool hmm_sentinel_invalidate(struct mmu_interval_notifier *notifier,
				    const struct mmu_notifier_range *range,
				    unsigned long cur_seq)
{
	struct hmm_mirror *mirror = container_of(notifier, struct hmm_mirror, sentinel);
	bool was_dead;

	if (range->event != MMU_NOTIFY_RELEASE)
		return true;

	hmm_mirror_set_dying(mirror);
	down_write(&mirror->lock);
	mmu_interval_set_seq(notifier, cur_seq);
	was_dead = mirror->dead;
	WRITE_ONCE(mirror->dead, true);
	up_write(&mirror->lock);
	if (!was_dead)
		hmm_mirror_release(mirror);
	return true;
}

static const struct mmu_interval_notifier_ops hmm_sentinel_ops = {
	.invalidate = hmm_sentinel_invalidate,
};

static bool hmm_window_get(struct hmm_mirror *mirror, unsigned long index)
{
	struct hmm_window *window;

	xa_lock(&mirror->windows);
	window = xa_load(&mirror->windows, index);
	if (window)
		window->users++;
	xa_unlock(&mirror->windows);
	return window;
}

static void hmm_window_put(struct hmm_mirror *mirror, unsigned long index)
{
	struct hmm_window *window;

	xa_lock(&mirror->windows);
	window = xa_load(&mirror->windows, index);
	window->users--;
	xa_unlock(&mirror->windows);
}

/*
 * The notifier gets into the tree only when no invalidation is under way anywhere in the
 * mm, which a storm of them can put off for ever. With mmap_lock held for writing those
 * who need it for theirs are kept out. Left are CPU faults that copy pages with only the
 * lock of their VMA, and the reverse mapping: for as long as several of these overlap
 * without a gap, the wait, the only one of this kind, goes on. An invalidation that waits for
 * an access under way takes as long as that. No invalidation takes mmap_lock while it is under
 * way.
 */
static int hmm_window_subscribe(struct hmm_window *window, unsigned long start)
{
	struct mm_struct *mm = window->mirror->mm;
	int ret;

	if (mmap_write_lock_killable(mm))
		return -EINTR;
	ret = -EFAULT;
	if (find_vma_intersection(mm, start, start + HMM_WINDOW_SIZE))
		ret = mmu_interval_notifier_insert_locked(&window->notifier, mm, start,
							  HMM_WINDOW_SIZE, &hmm_window_ops);
	if (!ret)
		mmu_interval_read_begin(&window->notifier);
	mmap_write_unlock(mm);
	return ret;
}

/* A new window, unless another thread was faster. It has a user in any case. */
static int hmm_window_insert(struct hmm_mirror *mirror, unsigned long index)
{
	struct hmm_window *window;
	int ret;

	guard(mutex)(&mirror->window_mutex);
	if (hmm_window_get(mirror, index))
		return 0;
	ret = xa_reserve(&mirror->windows, index, GFP_KERNEL_ACCOUNT);
	if (ret)
		return ret;
	window = kzalloc(sizeof(*window), GFP_KERNEL_ACCOUNT);
	if (!window) {
		ret = -ENOMEM;
		goto release;
	}
	window->mirror = mirror;
	window->users = 1;
	ret = hmm_window_subscribe(window, index << HMM_WINDOW_SHIFT);
	if (ret)
		goto free;
	xa_store(&mirror->windows, index, window, GFP_KERNEL_ACCOUNT);
	hmm_mirror_reap_later(mirror);
	return 0;

free:
	kfree(window);
release:
	xa_release(&mirror->windows, index);
	return ret;
}

static void hmm_window_remove(struct hmm_window *window)
{
	mmu_interval_notifier_remove(&window->notifier);
	kfree(window);
}

/* Take a window out that nobody uses and in which nothing is mirrored. */
static bool hmm_window_retire(struct hmm_mirror *mirror, struct hmm_window *window,
			      unsigned long index)
{
	unsigned long start = index << HMM_WINDOW_SHIFT;
	bool idle;

	/* Nothing is published without a user. */
	guard(rwsem_read)(&mirror->lock);
	if (mirror->reg.own_tables ||
	    hmm_pt_occupied(&mirror->pt, start, start + HMM_WINDOW_SIZE))
		return false;
	xa_lock(&mirror->windows);
	idle = !window->users;
	if (idle)
		__xa_erase(&mirror->windows, index);
	xa_unlock(&mirror->windows);
	/* Who uses it may not get anything into it. */
	if (!idle)
		hmm_mirror_reap_later(mirror);
	return idle;
}

/* Free what invalidations have left behind: tables without entries, windows alike. */
static void hmm_mirror_reap(struct work_struct *work)
{
	struct hmm_mirror *mirror = container_of(to_delayed_work(work), struct hmm_mirror,
						 reaper);
	struct hmm_window *window;
	unsigned long index;
	bool retired;

	xa_for_each(&mirror->windows, index, window) {
		unsigned long start = index << HMM_WINDOW_SHIFT;

		/* Before: nobody comes back for the tables of a window that is not there. */
		retired = hmm_window_retire(mirror, window, index);
		hmm_pt_reclaim(&mirror->pt, start, start + HMM_WINDOW_SIZE);
		if (retired)
			hmm_window_remove(window);
	}
}

static void hmm_windows_put(struct hmm_mirror *mirror, unsigned long first,
			    unsigned long end)
{
	for (; first < end; first++)
		hmm_window_put(mirror, first);
}

/* With mm_users held, and no lock */
static int hmm_windows_get(struct hmm_mirror *mirror, unsigned long first,
			   unsigned long end)
{
	unsigned long index;
	int ret;

	for (index = first; index < end; index++) {
		if (hmm_window_get(mirror, index))
			continue;
		ret = hmm_window_insert(mirror, index);
		if (ret) {
			hmm_windows_put(mirror, first, index);
			return ret;
		}
	}
	return 0;
}

static unsigned long hmm_range_first_window(const struct hmm_range *range)
{
	return range->begun_start >> HMM_WINDOW_SHIFT;
}

static unsigned long hmm_range_end_window(const struct hmm_range *range)
{
	return ((range->begun_end - 1) >> HMM_WINDOW_SHIFT) + 1;
}

/* Let invalidations find the range, and wait for those that cannot any more. */
static int hmm_range_enlist(struct hmm_range *range)
{
	struct hmm_mirror *mirror = range->begun;

	range->collided = false;
	range->committed = false;
	range->syncing = NULL;
	range->faulting = NULL;
	range->taking = NULL;
	range->seen_start = 0;
	range->seen_end = 0;
	spin_lock(&mirror->range_lock);
	list_add(&range->node, &mirror->ranges);
	spin_unlock(&mirror->range_lock);

	return mmu_interval_wait_active(mirror->mm, range->begun_start, range->begun_end);
}

static void hmm_range_delist(struct hmm_range *range)
{
	struct hmm_mirror *mirror = range->begun;

	spin_lock(&mirror->range_lock);
	list_del(&range->node);
	spin_unlock(&mirror->range_lock);
}

/* The caller holds references on mm_users and on the users of the mirror. */
int hmm_range_begin_alive(struct hmm_range *range)
{
	struct hmm_mirror *mirror = range->mirror;
	int ret;

	range->begun = mirror;
	range->begun_start = range->start;
	range->begun_end = range->end;
	ret = hmm_windows_get(mirror, hmm_range_first_window(range),
			      hmm_range_end_window(range));
	if (ret)
		goto idle;
	ret = hmm_range_enlist(range);
	/* What begins from now on would never be committed. */
	if (!ret && READ_ONCE(mirror->dead))
		ret = -ESRCH;
	if (!ret)
		return 0;
	hmm_range_end_alive(range);
idle:
	range->begun = NULL;
	return ret;
}

void hmm_range_end_alive(struct hmm_range *range)
{
	hmm_range_delist(range);
	hmm_windows_put(range->begun, hmm_range_first_window(range),
			hmm_range_end_window(range));
	range->begun = NULL;
}

/*
 * Begin once more, for who holds locks, of which no invalidation that overlaps may need
 * one to end. What has been seen before does not count, nor what has collided with it.
 */
int hmm_range_renew(struct hmm_range *range)
{
	hmm_range_delist(range);
	return hmm_range_enlist(range);
}

bool hmm_mirror_bad_range(const struct hmm_mirror *mirror, unsigned long start,
			  unsigned long end)
{
	return start >= end || !PAGE_ALIGNED(start | end) || end > mirror->mm->task_size;
}

/**
 * hmm_range_begin() - begin to look at a range, for a mirror
 * @range: with &hmm_range.mirror, &hmm_range.start and &hmm_range.end set
 *
 * Takes the place of mmu_interval_read_begin() for drivers that have page tables of
 * their own. Then comes hmm_range_fault() under mmap_lock, and after that, with
 * &hmm_mirror.lock held, hmm_range_retry(): if it says so what was found is out of date,
 * and else the device may be let know as long as the lock is held. hmm_range_end() ends
 * it in any case, before another beginning of the same range, too.
 *
 * The range is copied: it stays what it is until hmm_range_end(), also if the fields of
 * @range change. hmm_range_fault() may so be called for parts of it, one after the other
 * and in any order, and hmm_range_retry() speaks for all of it.
 *
 * hmm_range_fault() wants a reference on mm_users (mmget_not_zero()), which this does not
 * take. Without %HMM_MIRROR_OWN_TABLES what is found must not be given to
 * the device: the driver would not be called when it changes.
 *
 * Context: Process context, with no lock held that an invalidation may need, mmap_lock
 * and &hmm_mirror.lock among them. Sleeps until no invalidation that overlaps the range
 * is under way.
 * Return: 0, or
 *
 * * %-EINVAL: the range is empty, not page aligned, or not of user space
 * * %-EFAULT: of the windows that the range is in (1 GiB each on most machines of 64 bits)
 *   there is one in which nothing is mapped
 * * %-ESRCH: the mm is gone, or the mirror is being unregistered
 * * %-EINTR: the task has a fatal signal pending
 * * %-ENOMEM
 */
int hmm_range_begin(struct hmm_range *range)
{
	struct hmm_mirror *mirror = range->mirror;
	struct mem_cgroup *old;
	int ret = -ESRCH;

	range->begun = NULL;
	range->call = NULL;
	if (!hmm_mirror_get(mirror))
		return ret;
	if (hmm_mirror_bad_range(mirror, range->start, range->end)) {
		ret = -EINVAL;
	} else if (mmget_not_zero(mirror->mm)) {
		old = hmm_charge_begin(mirror->mm);
		ret = hmm_range_begin_alive(range);
		hmm_charge_end(old);
		mmput_async(mirror->mm);
	}
	if (ret)
		hmm_mirror_put(mirror);
	return ret;
}
EXPORT_SYMBOL_GPL(hmm_range_begin);

/**
 * hmm_range_retry() - has a range been invalidated?
 * @range: what hmm_range_begin() returned 0 for
 *
 * Context: Under &hmm_mirror.lock, held for reading or writing.
 * Return: true if what was found in the range since it began must not be used.
 */
bool hmm_range_retry(struct hmm_range *range)
{
	struct hmm_mirror *mirror = range->begun;
	bool retry;

	lockdep_assert_held(&mirror->lock);
	spin_lock(&mirror->range_lock);
	retry = range->collided || mirror->dead;
	if (!retry)
		range->committed = true;
	spin_unlock(&mirror->range_lock);
	return retry;
}
EXPORT_SYMBOL_GPL(hmm_range_retry);

/**
 * hmm_range_end() - end what hmm_range_begin() has begun
 * @range: what hmm_range_begin() returned 0 for
 *
 * Context: Process context. Does not sleep. If the mirror is being unregistered, it may
 * be gone afterwards.
 */
void hmm_range_end(struct hmm_range *range)
{
	struct hmm_mirror *mirror = range->begun;

	hmm_range_end_alive(range);
	hmm_mirror_put(mirror);
}
EXPORT_SYMBOL_GPL(hmm_range_end);

/**
 * hmm_mirror_range_dirty() - the device has written a range
 * @mirror: mirror
 * @start: first address, page aligned
 * @end: first address behind the range, page aligned, of user space
 *
 * Only entries with hmm_pte_write() take it; the others cannot have been written. Their
 * pages are told when the entries lose that, or go.
 *
 * Context: Under &hmm_mirror.lock, held for reading or writing, as it is in
 * &hmm_mirror_ops.sync_cpu_device_pagetables. Does not sleep.
 */
void hmm_mirror_range_dirty(struct hmm_mirror *mirror, unsigned long start,
			    unsigned long end)
{
	hmm_pt_set_dirty(&mirror->pt, start, end);
}
EXPORT_SYMBOL_GPL(hmm_mirror_range_dirty);

/**
 * hmm_pt_lookup() - what is mirrored at an address
 * @mirror: mirror
 * @addr: address, page aligned or not, of user space or not
 * @order: out: log2 of the pages of the block that the entry is of, see hmm_pte_order();
 *	may be NULL
 *
 * Context: Under &hmm_mirror.lock, held for reading or writing. Does not sleep.
 * Return: The entry; not hmm_pte_valid() if nothing is mirrored there, and @order is 0
 * then.
 */
hmm_pte_t hmm_pt_lookup(struct hmm_mirror *mirror, unsigned long addr, unsigned int *order)
{
	hmm_pte_t pte = hmm_pt_load(&mirror->pt, addr);

	if (order)
		*order = hmm_pte_order(pte);
	return pte;
}
EXPORT_SYMBOL_GPL(hmm_pt_lookup);

/**
 * hmm_mirror_check_device() - can a device mirror by DMA?
 * @dev: what is to be &hmm_mirror.dma_dev, with its DMA mask set
 *
 * For the probe() function of a driver, which can report there what is missing, instead of
 * when a process opens the device.
 *
 * Context: Any.
 * Return: 0, or
 *
 * * %-EOPNOTSUPP: hmm_mirror_register() will return that
 * * %-ERANGE: mirrors can be registered, but some memory of this machine is beyond the DMA
 *   mask of the device, and no IOMMU translates: faults of pages there return -EOPNOTSUPP
 */
int hmm_mirror_check_device(struct device *dev)
{
	return hmm_dma_check(dev) ?: hmm_dma_reaches_all(dev) ? 0 : -ERANGE;
}
EXPORT_SYMBOL_GPL(hmm_mirror_check_device);

#ifdef CONFIG_LOCKDEP
/* What lockdep would else learn only on the day when memory is short */
static void hmm_mirror_train_lockdep(struct hmm_mirror *mirror)
{
	fs_reclaim_acquire(GFP_KERNEL);
	lock_map_acquire(&__mmu_notifier_invalidate_range_start_map);
	down_write(&mirror->lock);
	up_write(&mirror->lock);
	lock_map_release(&__mmu_notifier_invalidate_range_start_map);
	fs_reclaim_release(GFP_KERNEL);
}
#else
static void hmm_mirror_train_lockdep(struct hmm_mirror *mirror)
{
}
#endif

static int hmm_mirror_init(struct hmm_mirror *mirror, struct mm_struct *mm)
{
	struct mem_cgroup *old;
	int ret;

	mirror->mm = mm;
	mirror->reg.ops = mirror->ops;
	mirror->reg.owner = mirror->dev_private_owner;
	mirror->reg.own_tables = mirror->flags & HMM_MIRROR_OWN_TABLES;
	mirror->dying = false;
	mirror->dead = false;
	mirror->invalidating = NULL;
	mirror->releasing = NULL;
	init_rwsem(&mirror->lock);
	hmm_mirror_train_lockdep(mirror);
	spin_lock_init(&mirror->range_lock);
	INIT_LIST_HEAD(&mirror->ranges);
	INIT_LIST_HEAD(&mirror->calls);
	hmm_access_init(mirror);
	refcount_set(&mirror->users, 1);
	mutex_init(&mirror->window_mutex);
	xa_init(&mirror->windows);
	INIT_DELAYED_WORK(&mirror->reaper, hmm_mirror_reap);
	memset(mirror->counts, 0, sizeof(mirror->counts));

	old = hmm_charge_begin(mm);
	ret = hmm_pt_init(&mirror->pt, &mirror->lock, mirror->dma_dev);
	hmm_charge_end(old);
	return ret;
}

/**
 * hmm_mirror_register() - mirror an address space
 * @mirror: with &hmm_mirror.ops, &hmm_mirror.dma_dev, &hmm_mirror.dev_private_owner and
 *	&hmm_mirror.flags set, and everything else of no matter
 * @mm: the address space; kept from being freed until hmm_mirror_unregister(), but not
 *	from dying
 *
 * Context: Process context, with @mm kept by mmgrab() at least. Takes mmap_lock for
 * writing. Sleeps.
 * Return: 0, or
 *
 * * %-EINVAL: no &hmm_mirror.ops, no callback with %HMM_MIRROR_OWN_TABLES, or unknown flags
 * * %-ESRCH: nobody uses @mm any more
 * * %-EOPNOTSUPP: DMA of &hmm_mirror.dma_dev would bounce, or is not coherent, or its
 *   IOMMU does not map single pages
 * * %-EINTR: the task has a signal pending
 * * %-ENOMEM
 */
int hmm_mirror_register(struct hmm_mirror *mirror, struct mm_struct *mm)
{
	int ret;

	if (!mirror->ops || mirror->flags & ~HMM_MIRROR_OWN_TABLES)
		return -EINVAL;
	/* Only who looks into the mirror page table has nothing to be called for. */
	if (!mirror->ops->sync_cpu_device_pagetables && mirror->flags & HMM_MIRROR_OWN_TABLES)
		return -EINVAL;
	if (!mmget_not_zero(mm))
		return -ESRCH;

	ret = hmm_mirror_init(mirror, mm);
	if (ret)
		goto poison;
	ret = mmu_interval_notifier_insert(&mirror->sentinel, mm, HMM_SENTINEL_ADDR,
					   PAGE_SIZE, &hmm_sentinel_ops);
	if (ret) {
		hmm_pt_destroy(&mirror->pt);
		goto poison;
	}
	/* It may have been put off: then the release of the mm would pass it by. */
	mmu_interval_read_begin(&mirror->sentinel);
	mmgrab(mm);
	hmm_stats_add(mirror);
	if (mirror->pt.dma_dev)
		hmm_dma_warn(mirror->pt.dma_dev);
	trace_hmm_register(mirror);
	mmput_async(mm);
	return 0;

poison:
	mirror->mm = HMM_MIRROR_POISON;
	mmput_async(mm);
	return ret;
}
EXPORT_SYMBOL_GPL(hmm_mirror_register);

/* Take everything back from the device, unless that was done when the mm died. */
static void hmm_mirror_kill(struct hmm_mirror *mirror)
{
	struct hmm_window *window;
	unsigned long index;
	bool was_dead;

	down_write(&mirror->lock);
	/* Before the windows are gone through: they come and go while the lock is dropped. */
	if (hmm_access_is_under_way(mirror, 0, ULONG_MAX, false))
		hmm_access_wait(mirror, 0, ULONG_MAX, false);
	was_dead = mirror->dead;
	if (!was_dead) {
		xa_for_each(&mirror->windows, index, window) {
			struct hmm_update update = {
				.start = index << HMM_WINDOW_SHIFT,
				.end = (index + 1) << HMM_WINDOW_SHIFT,
				.event = HMM_UPDATE_MUNMAP,
				.blockable = true,
			};

			hmm_mirror_invalidate(mirror, &update);
		}
		WRITE_ONCE(mirror->dead, true);
	}
	up_write(&mirror->lock);
	if (!was_dead)
		hmm_mirror_release(mirror);
}

/* Zap what is mirrored next, up to the end of its window: that bounds what the lock holds up. */
static int hmm_mirror_zap_window(struct hmm_mirror *mirror, unsigned long *addr,
				 unsigned long end)
{
	struct hmm_update update = {
		.event = HMM_UPDATE_MIGRATE,
		.blockable = true,
	};
	struct hmm_pt_iter iter;

	guard(rwsem_write)(&mirror->lock);
	if (mirror->dead)
		return -ESRCH;
	hmm_pt_for_each(&iter, mirror, *addr, end) {
		update.start = iter.addr;
		update.end = min(end, ALIGN(iter.addr + 1, HMM_WINDOW_SIZE));
		break;
	}
	*addr = update.end ?: end;
	if (update.end)
		hmm_mirror_invalidate(mirror, &update);
	return 0;
}

/**
 * hmm_mirror_zap() - let the device have nothing of a range any more
 * @mirror: mirror without %HMM_MIRROR_OWN_TABLES
 * @start: first address, page aligned
 * @end: end address, exclusive, page aligned
 *
 * The driver is called with %HMM_UPDATE_MIGRATE, as if the CPU took the pages away. Then the
 * entries go, with the rest of the blocks that the range cuts, their DMA mappings, and the
 * tables that are empty. The next hmm_mirror_fault() brings pages back; so may one that is
 * under way.
 *
 * Context: Process context, with no lock held that is taken in callbacks. Sleeps.
 * Return: 0, or
 *
 * * %-EINVAL: a range that is empty, not page aligned, or not of user space, or a mirror
 *   whose driver has its own page tables
 * * %-ESRCH: the mirror is being unregistered, or has been
 */
int hmm_mirror_zap(struct hmm_mirror *mirror, unsigned long start, unsigned long end)
{
	unsigned long addr = start;
	int ret = -EINVAL;

	if (!hmm_mirror_get(mirror))
		return -ESRCH;
	if (!mirror->reg.own_tables && !hmm_mirror_bad_range(mirror, start, end)) {
		do {
			ret = hmm_mirror_zap_window(mirror, &addr, end);
			cond_resched();
		} while (!ret && addr < end);
		hmm_pt_reclaim(&mirror->pt, start, end);
	}
	hmm_mirror_put(mirror);
	return ret;
}
EXPORT_SYMBOL_GPL(hmm_mirror_zap);

/* Does the task hold the lock for reading, in the driver, because of a fault? */
static bool hmm_mirror_syncs_fault(struct hmm_mirror *mirror)
{
	struct hmm_range *range;
	bool syncs = false;

	spin_lock(&mirror->range_lock);
	list_for_each_entry(range, &mirror->ranges, node)
		syncs = syncs || READ_ONCE(range->syncing) == current;
	spin_unlock(&mirror->range_lock);
	return syncs;
}

/**
 * hmm_mirror_unregister() - mirror an address space no more
 * @mirror: what hmm_mirror_register() returned 0 for
 *
 * Faults under way are cancelled and return -ESRCH. Accesses under way are waited for: they
 * must end without this, and not by this task. Then everything mirrored is invalidated, and
 * &hmm_mirror_ops.release called unless it has been. Then this waits for faults under way,
 * and for ranges that have begun: other tasks have to end those.
 *
 * When this returns no callback runs or will run, and the memory of @mirror may be freed.
 * For as long as that exists, later calls do no harm: hmm_mirror_fault() and
 * hmm_range_begin() return -ESRCH, cancelling cancels nothing, hmm_pt_lookup()
 * and hmm_pt_for_each() find nothing, and &hmm_mirror.lock can be taken. So a driver
 * whose device is unplugged may unregister while other tasks still use the mirror, if it
 * frees the memory after them. A mirror with &hmm_mirror.dma_dev must be unregistered
 * before the remove() function of that device returns.
 *
 * Context: Process context, with no lock held that is taken in callbacks, by
 * invalidations, or by hmm_mirror_fault(). Not from a callback: that is warned of, and
 * does nothing. Sleeps.
 */
void hmm_mirror_unregister(struct hmm_mirror *mirror)
{
	struct mm_struct *mm = mirror->mm;
	struct hmm_window *window;
	unsigned long index;

	might_sleep();
	if (WARN(mm == HMM_MIRROR_POISON, "a mirror is unregistered twice\n"))
		return;
	if (WARN(READ_ONCE(mirror->invalidating) == current ||
		 READ_ONCE(mirror->releasing) == current || hmm_mirror_syncs_fault(mirror),
		 "a mirror is unregistered in a callback of its own\n"))
		return;

	hmm_mirror_set_dying(mirror);
	hmm_mirror_kill(mirror);
	hmm_mirror_put(mirror);
	wait_var_event(&mirror->users, !refcount_read(&mirror->users));
	/* What the last user did comes before what is freed here. */
	smp_acquire__after_ctrl_dep();
	mmu_interval_notifier_remove(&mirror->sentinel);
	cancel_delayed_work_sync(&mirror->reaper);
	xa_for_each(&mirror->windows, index, window)
		hmm_window_remove(window);
	xa_destroy(&mirror->windows);
	hmm_stats_remove(mirror);
	hmm_pt_destroy(&mirror->pt);
	trace_hmm_unregister(mirror);
	mirror->mm = HMM_MIRROR_POISON;
	mmdrop(mm);
}
EXPORT_SYMBOL_GPL(hmm_mirror_unregister);
