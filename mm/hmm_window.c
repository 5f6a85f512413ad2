// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * HMM mirror: windows, and ranges in flight. mm/hmm_mirror.c has the protocol.
 */
#include <linux/hmm_mirror.h>
#include <linux/memcontrol.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "hmm_mirror.h"

/* How long an empty window is kept: it is likely to be used again. */
#define HMM_WINDOW_IDLE		HZ

/**
 * struct hmm_window - part of the address space that has an interval notifier
 * @notifier: interval notifier of the window
 * @mirror: mirror
 * @users: number of begun ranges that overlap it; protected by the xa_lock of
 *	mirror->windows
 */
struct hmm_window {
	struct mmu_interval_notifier notifier;
	struct hmm_mirror *mirror;
	unsigned long users;
};

/**
 * hmm_window_gc_later() - free empty windows and tables after some time
 * @mirror: mirror
 *
 * Context: Any.
 */
void hmm_window_gc_later(struct hmm_mirror *mirror)
{
	queue_delayed_work(system_unbound_wq, &mirror->gc, HMM_WINDOW_IDLE);
}

static bool hmm_window_invalidate(struct mmu_interval_notifier *notifier,
				  const struct mmu_notifier_range *range,
				  unsigned long cur_seq)
{
	struct hmm_window *window = container_of(notifier, struct hmm_window, notifier);

	/*
	 * The sequence of a window is not used: ranges detect collisions. A notification may
	 * span all addresses, and the notification of exit_mmap() has an unaligned end.
	 */
	return hmm_mirror_notify(window->mirror, range,
				 max(range->start, notifier->interval_tree.start),
				 min(range->end - 1, notifier->interval_tree.last) + 1);
}

static const struct mmu_interval_notifier_ops hmm_window_ops = {
	.invalidate = hmm_window_invalidate,
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
 * mmu_interval_read_begin() waits until no invalidation is active in the whole mm. Many
 * concurrent invalidations could delay that forever, so mmap_lock is held for writing: it
 * excludes all invalidating threads but two kinds, CPU faults that copy pages under the lock
 * of their VMA, and the reverse mapping. The wait lasts while invalidations of these kinds
 * overlap without a gap, and while one of them waits for an access under way. No active
 * invalidation takes mmap_lock.
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

/* Insert a window, or find the one that another thread has inserted. Count a user. */
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
	hmm_window_gc_later(mirror);
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

/* Erase a window that has no user and no mirrored page. */
static bool hmm_window_erase_idle(struct hmm_mirror *mirror, struct hmm_window *window,
				  unsigned long index)
{
	unsigned long start = index << HMM_WINDOW_SHIFT;
	bool idle;

	/* A window without a user gets no entries: each begun range is a user. */
	guard(rwsem_read)(&mirror->lock);
	if (mirror->reg.own_tables ||
	    hmm_pt_occupied(&mirror->pt, start, start + HMM_WINDOW_SIZE))
		return false;
	xa_lock(&mirror->windows);
	idle = !window->users;
	if (idle)
		__xa_erase(&mirror->windows, index);
	xa_unlock(&mirror->windows);
	/* The user may leave the window empty: check again later. */
	if (!idle)
		hmm_window_gc_later(mirror);
	return idle;
}

/**
 * hmm_window_gc() - free windows and tables that are empty
 * @work: &hmm_mirror.gc
 */
void hmm_window_gc(struct work_struct *work)
{
	struct hmm_mirror *mirror = container_of(to_delayed_work(work), struct hmm_mirror,
						 gc);
	struct hmm_window *window;
	unsigned long index;
	bool retired;

	xa_for_each(&mirror->windows, index, window) {
		unsigned long start = index << HMM_WINDOW_SHIFT;

		/* Erase the window first: the gc does not visit its tables again. */
		retired = hmm_window_erase_idle(mirror, window, index);
		hmm_pt_reclaim(&mirror->pt, start, start + HMM_WINDOW_SIZE);
		if (retired)
			hmm_window_remove(window);
	}
}

/**
 * hmm_windows_remove() - remove all windows of a mirror
 * @mirror: mirror without ranges, which is being unregistered
 *
 * Context: Process context. Sleeps.
 */
void hmm_windows_remove(struct hmm_mirror *mirror)
{
	struct hmm_window *window;
	unsigned long index;

	xa_for_each(&mirror->windows, index, window)
		hmm_window_remove(window);
	xa_destroy(&mirror->windows);
}

static void hmm_windows_put(struct hmm_mirror *mirror, unsigned long first,
			    unsigned long end)
{
	for (; first < end; first++)
		hmm_window_put(mirror, first);
}

/* The caller holds a reference on mm_users, and no lock. */
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

/* Add the range for invalidations to find, and wait for those that started before. */
static int hmm_range_add(struct hmm_range *range)
{
	struct hmm_mirror *mirror = range->begun;

	range->collided = false;
	range->committed = false;
	range->inside.task = NULL;
	range->seen_start = 0;
	range->seen_end = 0;
	spin_lock(&mirror->range_lock);
	list_add(&range->node, &mirror->ranges);
	spin_unlock(&mirror->range_lock);

	return mmu_interval_wait_active(mirror->mm, range->begun_start, range->begun_end);
}

static void hmm_range_del(struct hmm_range *range)
{
	struct hmm_mirror *mirror = range->begun;

	spin_lock(&mirror->range_lock);
	list_del(&range->node);
	spin_unlock(&mirror->range_lock);
}

/* The caller holds references on mm_users and on the mirror. */
int __hmm_range_begin(struct hmm_range *range)
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
	ret = hmm_range_add(range);
	/* A range of a dead mirror is never committed. */
	if (!ret && READ_ONCE(mirror->dead))
		ret = -ESRCH;
	if (!ret)
		return 0;
	__hmm_range_end(range);
idle:
	range->begun = NULL;
	return ret;
}

void __hmm_range_end(struct hmm_range *range)
{
	hmm_range_del(range);
	hmm_windows_put(range->begun, hmm_range_first_window(range),
			hmm_range_end_window(range));
	range->begun = NULL;
}

/*
 * Begin the range again: earlier walks and collisions do not count. The caller may hold locks
 * that no overlapping invalidation needs to end.
 */
int hmm_range_renew(struct hmm_range *range)
{
	hmm_range_del(range);
	return hmm_range_add(range);
}

/**
 * hmm_range_begin() - begin to detect collisions of a range with invalidations
 * @range: with &hmm_range.mirror, &hmm_range.start and &hmm_range.end set
 *
 * Replaces mmu_interval_read_begin() for drivers that have their own page tables. The driver
 * then calls hmm_range_fault() under mmap_lock, and hmm_range_retry() under
 * &hmm_mirror.lock. If hmm_range_retry() returns true, the result is out of date. Otherwise
 * the driver may write it to device PTEs before it drops the lock. In both cases the driver
 * calls hmm_range_end(), also before it begins the same range again.
 *
 * The range is copied: it does not change until hmm_range_end(), even if the fields of @range
 * do. So hmm_range_fault() may be called for parts of the range, in any order.
 * hmm_range_retry() checks the whole range.
 *
 * The caller needs a reference on mm_users (mmget_not_zero()) for hmm_range_fault(); this
 * function does not take one. Without %HMM_MIRROR_OWN_TABLES the device must not use the
 * result: the driver would not be called when it changes.
 *
 * Context: Process context, with no lock held that an invalidation may need, such as
 * mmap_lock and &hmm_mirror.lock. Sleeps until the invalidations that overlap the range and
 * have started before have ended.
 * Return: 0, or
 *
 * * %-EINVAL: the range is empty, not page aligned, or not of user space
 * * %-EFAULT: nothing is mapped in one of the windows that the range overlaps (1 GiB each on
 *   most 64-bit machines)
 * * %-ESRCH: the mm is gone, or the mirror is being or has been unregistered
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
		ret = __hmm_range_begin(range);
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
 * @range: range that hmm_range_begin() returned 0 for
 *
 * Context: Under &hmm_mirror.lock, held for reading or writing. Does not sleep.
 * Return: True if the results of walks since the range began must not be used: it has been
 * invalidated, or the mirror is dead. False if they can be used until the lock is dropped.
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
 * hmm_range_end() - end a range
 * @range: range that hmm_range_begin() returned 0 for
 *
 * Context: Process context. Does not sleep. If the mirror is being unregistered, it may
 * be freed when this returns.
 */
void hmm_range_end(struct hmm_range *range)
{
	struct hmm_mirror *mirror = range->begun;

	__hmm_range_end(range);
	hmm_mirror_put(mirror);
}
EXPORT_SYMBOL_GPL(hmm_range_end);
