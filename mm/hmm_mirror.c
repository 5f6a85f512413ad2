// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * HMM mirror: lets a device use the address space of a process.
 *
 * The mirror page table has an entry for each page that the device may access.
 * hmm_mirror_fault() adds entries from the CPU page table. The callbacks of MMU notifiers
 * remove them before the CPU page table changes. So an entry exists only while the CPU page
 * table agrees with it.
 *
 * This comment describes the protocol of this file, mm/hmm_window.c (windows and
 * ranges) and mm/hmm_invalidate.c (invalidations).
 *
 * Windows
 *
 * The address space is divided into aligned windows. hmm_range_begin() inserts an interval
 * notifier for each window that the range overlaps, unless the window has one. A delayed
 * work item, mirror->gc, removes the notifier some time after the window has become empty.
 * So most changes of memory that is not mirrored call no notifier. The sentinel is one more
 * notifier, on the last page of all addresses, which never belongs to user space: the
 * release of the mm reaches it after all windows.
 *
 * Ranges
 *
 * The CPU page table can change between a walk and the commit of the result. A range
 * detects this. Its states:
 *
 *	idle -> begun		hmm_range_begin(): the range is in mirror->ranges
 *	begun -> collided	hmm_mirror_collide(): an invalidation overlaps the range
 *	begun -> committed	hmm_range_retry() returned false, under mirror->lock; the
 *				range can still collide, and stays committed
 *	any -> idle		hmm_range_end()
 *
 * An invalidation that starts after the range has begun finds the range:
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
 * The holder of mirror->lock may wait for a device. So the callback takes mirror->lock only
 * if the invalidation overlaps mirrored pages, or a committed range: the task that has begun
 * that range may be about to publish pages. hmm_range_retry() marks a range that has not
 * collided as committed, under range_lock, and a later callback finds that:
 *
 *	mirror->lock				mmu_notifier_invalidate_range_start()
 *	  range_lock: committed = true		  callback:
 *						    range_lock: is committed
 *	  publishes				    mirror->lock, sleeps
 *	mirror->lock dropped
 *						    the driver is called
 *						    entries are removed
 *						    mirror->lock dropped
 *
 * The callback also takes mirror->lock while another callback revokes pages of a range that
 * overlaps the invalidation, see hmm_pt_begin_change(). So it does not depend on the order
 * in which the other callback removes entries and DMA mappings and marks pages dirty, or on
 * when this CPU sees the stores.
 *
 * A range waits for the invalidations that started before it:
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
 * Both orders of the two critical sections of subscriptions->lock are covered. If the
 * invalidation is linked first, the beginning range finds it. Otherwise list_add() comes
 * before the check, the check before the link, and the link before the callback, which
 * finds the range. hmm_window_insert() inserts the notifier of a window before the first
 * range in the window begins, so the callback is never missing.
 *
 * hmm_range_begin() copies range->mirror, range->start and range->end to begun, begun_start
 * and begun_end: the driver may change the three fields to walk the range part by part. One
 * interval, from seen_start to seen_end, covers all addresses that the walks of the parts
 * have read.
 *
 * Only invalidations that overlap a range delay it or collide with it. One kind of
 * overlapping invalidation does not collide: a CPU fault that the walk takes can send an
 * invalidation, for example for copy-on-write. This invalidation does not collide with the
 * range of the walk if the walks of the range have read only addresses before the start of
 * the invalidation.
 *
 * While a thread holds mirror->lock, it does not wait for the end of an invalidation. The
 * invalidating thread can send a second invalidation before the first one ends, and may need
 * mirror->lock for it.
 *
 * Unlocked reads
 *
 * - mirror->inside and range->inside: hmm_inside() returns true only for the task that has
 *   called hmm_inside_enter(). Only that task reads range->unseen.
 * - range->collided, by the walker (hmm_walk_check()) and the fault: a hint to give up
 *   early. The read under range_lock, in hmm_range_retry(), decides.
 * - mirror->users, by hmm_mirror_unregister(): once it is 0 it stays 0.
 * - mirror->dead, by __hmm_range_begin() and by the walker: they return an error. The read
 *   under mirror->lock, in hmm_range_retry(), decides, but can only request a retry: without
 *   the error of __hmm_range_begin() a caller would retry forever.
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
 * exit_mmap() and the reverse mapping may still invalidate a dead mirror: the callbacks
 * return immediately. Faults of a dying mirror end by themselves, so release() may wait for
 * them. hmm_mirror_unregister() waits for the users of the mirror after release(), because
 * a driver may end its ranges in release().
 *
 * The driver may free a mirror that is gone. Functions that are called before it is freed find
 * an empty mirror: mirror->users is 0, so faults and ranges do not begin, and the mirror page
 * table has no root, so look-ups find no entry.
 *
 * Lock order, outermost first:
 *
 *	window_mutex
 *	mmap_lock
 *	VMA locks, folio locks, other locks that are held when invalidations are sent
 *	mirror->lock
 *	page table locks; range_lock; access_lock; xa_lock of mirror->windows
 */
#include <linux/hmm_mirror.h>
#include <linux/hugetlb.h>
#include <linux/memcontrol.h>
#include <linux/poison.h>
#include <linux/refcount.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/wait_bit.h>

#include "hmm_mirror.h"

#define CREATE_TRACE_POINTS
#include <trace/events/hmm.h>

#define HMM_SENTINEL_ADDR	(ULONG_MAX & PAGE_MASK)

/* mirror->mm of a mirror that is not registered */
#define HMM_MIRROR_POISON	((struct mm_struct *)(0x4d4d48UL + POISON_POINTER_DELTA))

/* Get a reference on @mirror, outside of callbacks. Fails once the count is 0. */
bool hmm_mirror_get(struct hmm_mirror *mirror)
{
	return refcount_inc_not_zero(&mirror->users);
}

/* @mirror may be freed as soon as the count is 0: wake_up_var() uses only the address. */
void hmm_mirror_put(struct hmm_mirror *mirror)
{
	if (!refcount_dec_and_test(&mirror->users))
		return;
	/* wake_up_var() checks for waiters without a lock: order that after the decrement. */
	smp_mb__after_atomic();
	wake_up_var(&mirror->users);
}

static void hmm_mirror_release(struct hmm_mirror *mirror)
{
	trace_hmm_release(mirror);
	if (!mirror->reg.ops->release)
		return;
	hmm_inside_enter(&mirror->inside, HMM_INSIDE_CALLBACK);
	mirror->reg.ops->release(mirror);
	hmm_inside_leave(&mirror->inside);
}

/* The windows have been invalidated before. */
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

bool hmm_mirror_bad_range(const struct hmm_mirror *mirror, unsigned long start,
			  unsigned long end)
{
	return start >= end || !PAGE_ALIGNED(start | end) || end > mirror->mm->task_size;
}

bool hmm_mirror_bad_flags(const struct hmm_mirror *mirror, unsigned int flags)
{
	const unsigned int access = HMM_FAULT_READ | HMM_FAULT_WRITE | HMM_FAULT_EXCLUSIVE |
				    HMM_FAULT_MAY_WRITE;

	/* The owner identifies the MMU_NOTIFY_EXCLUSIVE events of this device. */
	if (flags & HMM_FAULT_EXCLUSIVE &&
	    (flags & (HMM_FAULT_PRESENT | HMM_FAULT_MAY_WRITE) || !mirror->reg.owner))
		return true;
	/* The first accepts a read-only page, the second does not. */
	if (flags & HMM_FAULT_MAY_WRITE && flags & HMM_FAULT_WRITE)
		return true;
	return !(flags & access) || flags & ~(access | HMM_FAULT_PRESENT);
}

/**
 * hmm_mirror_range_dirty() - the device has written a range
 * @mirror: mirror
 * @start: first address, page aligned
 * @end: end address, exclusive, page aligned, of user space
 *
 * Marks the entries with hmm_pte_write(): the device cannot have written other pages. The
 * pages become dirty when their entries become read-only or are removed.
 *
 * Context: Under &hmm_mirror.lock, held for reading or writing;
 * &hmm_mirror_ops.sync_cpu_device_pagetables is called with it. Does not sleep.
 */
void hmm_mirror_range_dirty(struct hmm_mirror *mirror, unsigned long start,
			    unsigned long end)
{
	hmm_pt_set_dirty(&mirror->pt, start, end);
}
EXPORT_SYMBOL_GPL(hmm_mirror_range_dirty);

/**
 * hmm_pt_lookup() - look up the entry of an address
 * @mirror: mirror
 * @addr: address, page aligned or not, of user space or not
 * @order: out: log2 of the number of pages in the block of the entry, see
 *	hmm_pte_order(); may be NULL
 *
 * Context: Under &hmm_mirror.lock, held for reading or writing. Does not sleep.
 * Return: The entry. If the page is not mirrored, the entry is not hmm_pte_valid() and
 * @order is 0.
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
 * @dev: device for &hmm_mirror.dma_dev, with its DMA mask set
 *
 * A driver calls this in its probe() function, to report the problem there and not only
 * when a process opens the device.
 *
 * Context: Any.
 * Return: 0, or
 *
 * * %-EOPNOTSUPP: hmm_mirror_register() will return this error
 * * %-ERANGE: mirrors can be registered, but some memory of this machine is beyond the DMA
 *   mask of the device, and no IOMMU translates: faults of these pages return -EOPNOTSUPP
 */
int hmm_mirror_check_device(struct device *dev)
{
	return hmm_dma_check(dev) ?: hmm_dma_reaches_all(dev) ? 0 : -ERANGE;
}
EXPORT_SYMBOL_GPL(hmm_mirror_check_device);

#ifdef CONFIG_LOCKDEP
/* Otherwise lockdep sees this lock order only when memory is short. */
static void hmm_mirror_prime_lockdep(struct hmm_mirror *mirror)
{
	fs_reclaim_acquire(GFP_KERNEL);
	lock_map_acquire(&__mmu_notifier_invalidate_range_start_map);
	might_lock(&mirror->lock);
	lock_map_release(&__mmu_notifier_invalidate_range_start_map);
	fs_reclaim_release(GFP_KERNEL);
}
#else
static void hmm_mirror_prime_lockdep(struct hmm_mirror *mirror)
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
	mirror->inside.task = NULL;
	init_rwsem(&mirror->lock);
	hmm_mirror_prime_lockdep(mirror);
	spin_lock_init(&mirror->range_lock);
	INIT_LIST_HEAD(&mirror->ranges);
	INIT_LIST_HEAD(&mirror->calls);
	hmm_access_init(mirror);
	refcount_set(&mirror->users, 1);
	mutex_init(&mirror->window_mutex);
	xa_init(&mirror->windows);
	INIT_DELAYED_WORK(&mirror->gc, hmm_window_gc);
	memset(mirror->counts, 0, sizeof(mirror->counts));

	old = hmm_charge_begin(mm);
	ret = hmm_pt_init(&mirror->pt, &mirror->lock, mirror->dma_dev);
	hmm_charge_end(old);
	return ret;
}

/**
 * hmm_mirror_register() - mirror an address space
 * @mirror: with &hmm_mirror.ops, &hmm_mirror.dma_dev, &hmm_mirror.dev_private_owner and
 *	&hmm_mirror.flags set; all other fields are ignored
 * @mm: the address space. Until hmm_mirror_unregister() the mirror holds an mm_count
 *	reference, so @mm can die but is not freed
 *
 * Context: Process context, with a reference on mm_count (mmgrab()) or mm_users. Takes
 * mmap_lock for writing. Sleeps.
 * Return: 0, or
 *
 * * %-EINVAL: &hmm_mirror.ops is NULL, %HMM_MIRROR_OWN_TABLES is set without a callback, or
 *   other flags are set
 * * %-ESRCH: the last reference on mm_users was dropped
 * * %-EOPNOTSUPP: DMA of &hmm_mirror.dma_dev would bounce, or is not coherent, or its
 *   IOMMU does not map single pages
 * * %-EINTR: the task has a signal pending
 * * %-ENOMEM
 */
int hmm_mirror_register(struct hmm_mirror *mirror, struct mm_struct *mm)
{
	int ret;

	/* If this fails, later calls return -ESRCH. */
	refcount_set(&mirror->users, 0);
	if (!mirror->ops || mirror->flags & ~HMM_MIRROR_OWN_TABLES)
		return -EINVAL;
	/* Only a driver that uses the mirror page table can do without the callback. */
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
	/* A deferred insertion completes here: the release of the mm must find the sentinel. */
	mmu_interval_read_begin(&mirror->sentinel);
	mmgrab(mm);
	hmm_stats_add(mirror);
	if (mirror->pt.dma_dev)
		hmm_dma_warn(mirror->pt.dma_dev);
	trace_hmm_register(mirror);
	mmput_async(mm);
	return 0;

poison:
	refcount_set(&mirror->users, 0);
	mirror->mm = HMM_MIRROR_POISON;
	mmput_async(mm);
	return ret;
}
EXPORT_SYMBOL_GPL(hmm_mirror_register);

/* Revoke all pages from the device, unless the release of the mm has done this already. */
static void hmm_mirror_kill(struct hmm_mirror *mirror)
{
	unsigned long index;
	bool was_dead;
	void *window;

	down_write(&mirror->lock);
	/* Wait before the loop: windows can change while the lock is dropped. */
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

/* Zap from the first mirrored page to the end of its window: this bounds the lock hold time. */
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
 * hmm_mirror_zap() - revoke all pages of a range from the device
 * @mirror: mirror without %HMM_MIRROR_OWN_TABLES
 * @start: first address, page aligned
 * @end: end address, exclusive, page aligned
 *
 * Calls the driver with %HMM_UPDATE_MIGRATE, as for an invalidation by the CPU. Then removes
 * the entries with their DMA mappings, and the tables that become empty. A block that is
 * partly in the range is revoked as a whole. The next hmm_mirror_fault(), or a fault that is
 * under way, can mirror the pages again. Waits for accesses, see hmm_access_begin().
 *
 * Context: Process context, with no lock held that is taken in callbacks. Sleeps.
 * Return: 0, or
 *
 * * %-EINVAL: the range is empty, not page aligned, or not of user space, or the driver of
 *   the mirror has its own page tables
 * * %-ESRCH: the mm is gone, or the mirror is being or has been unregistered
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

/* Is this task in a callback for a fault, which holds mirror->lock for reading? */
static bool hmm_mirror_syncs_fault(struct hmm_mirror *mirror)
{
	struct hmm_range *range;
	bool syncs = false;

	spin_lock(&mirror->range_lock);
	list_for_each_entry(range, &mirror->ranges, node)
		syncs = syncs || hmm_inside(&range->inside, HMM_INSIDE_CALLBACK);
	spin_unlock(&mirror->range_lock);
	return syncs;
}

/**
 * hmm_mirror_unregister() - stop mirroring an address space
 * @mirror: mirror that hmm_mirror_register() returned 0 for
 *
 * This function does, in order:
 *
 * 1. cancel the faults under way, which return -ESRCH
 * 2. wait for the accesses under way; another task, or the device, must end them
 * 3. invalidate all mirrored pages and call &hmm_mirror_ops.release, unless this
 *    happened when the mm died
 * 4. wait for the faults under way, and for begun ranges, which other tasks must end
 *
 * When this returns no callback runs or will run, and @mirror may be freed. Until it is
 * freed, later calls are safe: hmm_mirror_fault() and hmm_range_begin() return -ESRCH,
 * cancellation has no effect, hmm_pt_lookup() and hmm_pt_for_each() find no entries, and
 * &hmm_mirror.lock can be taken. So the driver of an unplugged device may unregister a
 * mirror that other tasks still use, and free it after them. A mirror with
 * &hmm_mirror.dma_dev must be unregistered before the remove() function of that device
 * returns.
 *
 * Context: Process context, with no lock held that is taken in callbacks, by
 * invalidations, or by hmm_mirror_fault(). A call from a callback triggers a WARN and does
 * nothing. Sleeps.
 */
void hmm_mirror_unregister(struct hmm_mirror *mirror)
{
	struct mm_struct *mm = mirror->mm;

	might_sleep();
	if (WARN(mm == HMM_MIRROR_POISON, "a mirror is unregistered twice\n"))
		return;
	if (WARN(hmm_inside(&mirror->inside, HMM_INSIDE_CALLBACK) ||
		 hmm_mirror_syncs_fault(mirror),
		 "a mirror is unregistered in a callback of its own\n"))
		return;

	hmm_mirror_set_dying(mirror);
	hmm_mirror_kill(mirror);
	hmm_mirror_put(mirror);
	wait_var_event(&mirror->users, !refcount_read(&mirror->users));
	/* Pairs with refcount_dec_and_test() in hmm_mirror_put(), before the teardown. */
	smp_acquire__after_ctrl_dep();
	mmu_interval_notifier_remove(&mirror->sentinel);
	cancel_delayed_work_sync(&mirror->gc);
	hmm_windows_remove(mirror);
	hmm_stats_remove(mirror);
	hmm_pt_destroy(&mirror->pt);
	trace_hmm_unregister(mirror);
	mirror->mm = HMM_MIRROR_POISON;
	mmdrop(mm);
}
EXPORT_SYMBOL_GPL(hmm_mirror_unregister);
