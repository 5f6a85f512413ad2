// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * HMM mirror: windows, and ranges in flight. mm/hmm_mirror.c has the protocol.
 */
#include <linux/hmm_mirror.h>
#include <linux/memcontrol.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "hmm_mirror.h"

/* How long a window stays without anything in it: it is likely to be used again. */
#define HMM_WINDOW_IDLE		HZ

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
	 * The sequence of a window is never read: collisions are found by range. The
	 * notification may span all addresses, and the end of that of exit_mmap() is unaligned.
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

/* Take a window out that nobody uses and in which nothing is mirrored. */
static bool hmm_window_erase_idle(struct hmm_mirror *mirror, struct hmm_window *window,
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
		hmm_window_gc_later(mirror);
	return idle;
}

/**
 * hmm_window_gc() - free tables and windows that invalidations have left empty
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

		/* Before: nobody comes back for the tables of a window that is not there. */
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

/* The caller holds references on mm_users and on the users of the mirror. */
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
	/* What begins from now on would never be committed. */
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
 * Begin once more, for who holds locks, of which no invalidation that overlaps may need
 * one to end. What has been seen before does not count, nor what has collided with it.
 */
int hmm_range_renew(struct hmm_range *range)
{
	hmm_range_del(range);
	return hmm_range_add(range);
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

	__hmm_range_end(range);
	hmm_mirror_put(mirror);
}
EXPORT_SYMBOL_GPL(hmm_range_end);
