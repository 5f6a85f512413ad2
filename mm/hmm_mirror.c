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
 * - range->collided, by the walker (hmm_walk_check()): only to give up early. What
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

/* What a mirror that was unregistered has for an mm */
#define HMM_MIRROR_POISON	((struct mm_struct *)(0x4d4d48UL + POISON_POINTER_DELTA))

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

static void hmm_mirror_release(struct hmm_mirror *mirror)
{
	trace_hmm_release(mirror);
	if (!mirror->reg.ops->release)
		return;
	hmm_inside_enter(&mirror->inside, HMM_INSIDE_CALLBACK);
	mirror->reg.ops->release(mirror);
	hmm_inside_leave(&mirror->inside);
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

bool hmm_mirror_bad_range(const struct hmm_mirror *mirror, unsigned long start,
			  unsigned long end)
{
	return start >= end || !PAGE_ALIGNED(start | end) || end > mirror->mm->task_size;
}

bool hmm_mirror_bad_flags(const struct hmm_mirror *mirror, unsigned int flags)
{
	const unsigned int access = HMM_FAULT_READ | HMM_FAULT_WRITE | HMM_FAULT_EXCLUSIVE |
				    HMM_FAULT_MAY_WRITE;

	/* The event of taking a page is told from others by its owner. */
	if (flags & HMM_FAULT_EXCLUSIVE &&
	    (flags & (HMM_FAULT_PRESENT | HMM_FAULT_MAY_WRITE) || !mirror->reg.owner))
		return true;
	/* It writes in any case, or not. */
	if (flags & HMM_FAULT_MAY_WRITE && flags & HMM_FAULT_WRITE)
		return true;
	return !(flags & access) || flags & ~(access | HMM_FAULT_PRESENT);
}

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
	unsigned long index;
	bool was_dead;
	void *window;

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
		syncs = syncs || hmm_inside(&range->inside, HMM_INSIDE_CALLBACK);
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
	/* What the last user did comes before what is freed here. */
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
