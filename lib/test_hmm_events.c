// SPDX-License-Identifier: GPL-2.0
/*
 * The dmirror test device: the callbacks of the mirror, and the ioctls that report them, make
 * them fail, and cause them.
 *
 * The device has no page table other than the mirror page table. So the callbacks only log their
 * arguments.
 */
#include <linux/hrtimer.h>
#include <linux/mmu_notifier.h>
#include <linux/uaccess.h>

#include "test_hmm.h"

static u32 dmirror_event(enum hmm_update_event event)
{
	switch (event) {
	case HMM_UPDATE_MUNMAP:
		return HMM_DMIRROR_EVENT_MUNMAP;
	case HMM_UPDATE_MIGRATE:
		return HMM_DMIRROR_EVENT_MIGRATE;
	case HMM_UPDATE_WRITE_PROTECT:
		return HMM_DMIRROR_EVENT_WRITE_PROTECT;
	case HMM_UPDATE_FORK:
		return HMM_DMIRROR_EVENT_FORK;
	case HMM_UPDATE_ISDIRTY:
		return HMM_DMIRROR_EVENT_ISDIRTY;
	case HMM_UPDATE_DEVICE_RFAULT:
		return HMM_DMIRROR_EVENT_DEVICE_RFAULT;
	case HMM_UPDATE_DEVICE_WFAULT:
		return HMM_DMIRROR_EVENT_DEVICE_WFAULT;
	default:
		return HMM_DMIRROR_EVENT_NONE;
	}
}

static bool dmirror_is_fault(const struct hmm_update *update)
{
	return update->event == HMM_UPDATE_DEVICE_RFAULT ||
	       update->event == HMM_UPDATE_DEVICE_WFAULT;
}

static struct hmm_dmirror_event *dmirror_log_slot(struct dmirror_log *log, u64 seq)
{
	return &log->ring[seq % HMM_DMIRROR_LOG_SIZE];
}

static void dmirror_log_add(struct dmirror_log *log, const struct hmm_dmirror_event *event)
{
	lockdep_assert_held(&log->lock);
	if (log->next - log->first == HMM_DMIRROR_LOG_SIZE) {
		log->first++;
		log->lost++;
	}
	*dmirror_log_slot(log, log->next) = *event;
	dmirror_log_slot(log, log->next)->seq = log->next;
	log->next++;
}

/* The errno that this callback must return, or 0 */
static u32 dmirror_refusal(struct dmirror_log *log, const struct hmm_update *update)
{
	u64 *left = &log->refuse.nonblockable;
	u32 error = EAGAIN;

	lockdep_assert_held(&log->lock);
	if (dmirror_is_fault(update)) {
		left = &log->refuse.faults;
		error = log->refuse.error;
	} else if (update->blockable) {
		left = &log->refuse.blockable;
	}
	if (!*left)
		return 0;
	--*left;
	log->refused++;
	return error;
}

/* Guarantees that every driver relies on */
static void dmirror_check_update(struct dmirror *dm, const struct hmm_update *update)
{
	if (dmirror_is_fault(update))
		lockdep_assert_held_read(&dm->mirror.lock);
	else
		lockdep_assert_held_write(&dm->mirror.lock);
	WARN_ON_ONCE(dmirror_event(update->event) == HMM_DMIRROR_EVENT_NONE);
	WARN_ON_ONCE(update->start >= update->end);
	WARN_ON_ONCE(!PAGE_ALIGNED(update->start | update->end));
	WARN_ON_ONCE(dm->log.released);
}

static int dmirror_sync(struct hmm_mirror *mirror, const struct hmm_update *update)
{
	struct dmirror *dm = container_of(mirror, struct dmirror, mirror);
	struct hmm_dmirror_event event = {
		.start = update->start,
		.end = update->end,
		.event = dmirror_event(update->event),
		.blockable = update->blockable,
	};

	dmirror_check_update(dm, update);
	spin_lock(&dm->log.lock);
	event.result = dmirror_refusal(&dm->log, update);
	dmirror_log_add(&dm->log, &event);
	spin_unlock(&dm->log.lock);
	return -(int)event.result;
}

static void dmirror_released(struct hmm_mirror *mirror)
{
	struct dmirror *dm = container_of(mirror, struct dmirror, mirror);
	const struct hmm_dmirror_event event = {
		.event = HMM_DMIRROR_EVENT_RELEASE,
		.blockable = 1,
	};

	/* Its fault is cancelled, and no other fault can begin. */
	flush_work(&dm->prefetch);
	spin_lock(&dm->log.lock);
	WARN_ON_ONCE(dm->log.released);
	dm->log.released = true;
	dmirror_log_add(&dm->log, &event);
	spin_unlock(&dm->log.lock);
}

const struct hmm_mirror_ops dmirror_mirror_ops = {
	.sync_cpu_device_pagetables	= dmirror_sync,
	.release			= dmirror_released,
};

void dmirror_log_init(struct dmirror *dm)
{
	spin_lock_init(&dm->log.lock);
	mutex_init(&dm->read_lock);
}

static bool dmirror_log_peek(struct dmirror_log *log, struct hmm_dmirror_event *event)
{
	bool any;

	spin_lock(&log->lock);
	any = log->first != log->next;
	if (any)
		*event = *dmirror_log_slot(log, log->first);
	spin_unlock(&log->lock);
	return any;
}

/* The event has reached user space. If it was overwritten meanwhile, it was not lost. */
static void dmirror_log_pop(struct dmirror_log *log, u64 seq)
{
	spin_lock(&log->lock);
	if (log->first == seq)
		log->first++;
	else
		log->lost--;
	spin_unlock(&log->lock);
}

int dmirror_events(struct dmirror *dm, void *arg)
{
	struct hmm_dmirror_events *events = arg;
	struct hmm_dmirror_event __user *to = u64_to_user_ptr(events->ptr);
	struct hmm_dmirror_event event;
	u64 room = events->count;

	if (events->reserved)
		return -EINVAL;

	guard(mutex)(&dm->read_lock);
	for (events->count = 0; events->count < room; events->count++, to++) {
		if (!dmirror_log_peek(&dm->log, &event))
			break;
		if (copy_to_user(to, &event, sizeof(event)))
			return events->count ? 0 : -EFAULT;
		dmirror_log_pop(&dm->log, event.seq);
	}
	spin_lock(&dm->log.lock);
	events->lost = dm->log.lost;
	spin_unlock(&dm->log.lock);
	return 0;
}

/*
 * Sleep by the clock that user space uses. Jiffies can run ahead of it: a guest that did not run
 * for a while catches up with all of its ticks at the same time.
 */
static int dmirror_sleep(u64 msecs)
{
	ktime_t end = ktime_add_ms(ktime_get(), msecs);
	int ret;

	do {
		set_current_state(TASK_INTERRUPTIBLE);
		ret = schedule_hrtimeout(&end, HRTIMER_MODE_ABS);
	} while (ret && !signal_pending(current));
	return ret;
}

int dmirror_hold(struct dmirror *dm, void *arg)
{
	const struct hmm_dmirror_hold *hold = arg;
	int ret;

	if (hold->msecs > HMM_DMIRROR_MSECS_MAX || hold->reserved)
		return -EINVAL;

	guard(rwsem_read)(&dm->mirror.lock);
	atomic_inc(&dm->holders);
	ret = dmirror_sleep(hold->msecs);
	atomic_dec(&dm->holders);
	return ret;
}

int dmirror_refuse(struct dmirror *dm, void *arg)
{
	const struct hmm_dmirror_refuse *refuse = arg;

	if (!refuse->faults != !refuse->error || refuse->error > MAX_ERRNO || refuse->reserved)
		return -EINVAL;

	spin_lock(&dm->log.lock);
	dm->log.refuse = *refuse;
	spin_unlock(&dm->log.lock);
	return 0;
}

static int dmirror_notify_event(u32 event, enum mmu_notifier_event *out)
{
	switch (event) {
	case HMM_DMIRROR_NOTIFY_UNMAP:
		*out = MMU_NOTIFY_UNMAP;
		return 0;
	case HMM_DMIRROR_NOTIFY_CLEAR:
		*out = MMU_NOTIFY_CLEAR;
		return 0;
	case HMM_DMIRROR_NOTIFY_PROTECTION_VMA:
		*out = MMU_NOTIFY_PROTECTION_VMA;
		return 0;
	case HMM_DMIRROR_NOTIFY_PROTECTION_PAGE:
		*out = MMU_NOTIFY_PROTECTION_PAGE;
		return 0;
	case HMM_DMIRROR_NOTIFY_SOFT_DIRTY:
		*out = MMU_NOTIFY_SOFT_DIRTY;
		return 0;
	case HMM_DMIRROR_NOTIFY_MIGRATE:
		*out = MMU_NOTIFY_MIGRATE;
		return 0;
	case HMM_DMIRROR_NOTIFY_EXCLUSIVE:
		*out = MMU_NOTIFY_EXCLUSIVE;
		return 0;
	default:
		return -EINVAL;
	}
}

/*
 * Callbacks may look up VMAs, because some senders of invalidations hold mmap_lock. But no sender
 * holds it for as long as this range stays invalid, which would delay faults that need not wait.
 */
static int dmirror_notify(struct mmu_notifier_range *range, bool blockable, u64 msecs)
{
	int ret;

	mmap_read_lock(range->mm);
	ret = test_hmm_notify_start(range, blockable);
	mmap_read_unlock(range->mm);
	if (ret)
		return ret;

	ret = dmirror_sleep(msecs);
	test_hmm_notify_end(range);
	return ret;
}

int dmirror_invalidate(struct dmirror *dm, void *arg)
{
	const struct hmm_dmirror_invalidate *inv = arg;
	enum mmu_notifier_event event;
	struct mmu_notifier_range range;
	int ret;

	ret = dmirror_check_range(dm, inv->addr, inv->npages);
	if (!ret)
		ret = dmirror_notify_event(inv->event, &event);
	if (ret)
		return ret;
	if (inv->msecs > HMM_DMIRROR_MSECS_MAX)
		return -EINVAL;
	if (inv->flags & ~(HMM_DMIRROR_NOTIFY_BLOCKABLE | HMM_DMIRROR_NOTIFY_OWN))
		return -EINVAL;

	mmu_notifier_range_init_owner(&range, event, 0, dm->mirror.mm, inv->addr,
				      inv->addr + (inv->npages << PAGE_SHIFT),
				      inv->flags & HMM_DMIRROR_NOTIFY_OWN ? dm->mdevice : NULL);
	return dmirror_notify(&range, inv->flags & HMM_DMIRROR_NOTIFY_BLOCKABLE, inv->msecs);
}

int dmirror_stats(struct dmirror *dm, void *arg)
{
	struct hmm_dmirror_stats *stats = arg;
	struct hmm_mirror_stats mirror;

	hmm_mirror_get_stats(&dm->mirror, &mirror);
	*stats = (struct hmm_dmirror_stats){
		.faults = mirror.faults,
		.pages = mirror.pages,
		.collisions = mirror.collisions,
		.vma_lock = mirror.vma_lock,
		.mmap_lock = mirror.mmap_lock,
		.slow_path = mirror.slow_path,
		.callbacks = mirror.callbacks,
		.callbacks_skipped = mirror.callbacks_skipped,
		.holders = atomic_read(&dm->holders),
		.devmem_faults = atomic_long_read(&dm->mdevice->cpu_faults),
		.devmem_blocks = atomic_long_read(&dm->mdevice->blocks),
	};
	spin_lock(&dm->log.lock);
	stats->events = dm->log.next;
	stats->events_lost = dm->log.lost;
	stats->refused = dm->log.refused;
	spin_unlock(&dm->log.lock);

	spin_lock_irq(&dm->mdevice->lock);
	stats->devmem_pages = dm->mdevice->used;
	spin_unlock_irq(&dm->mdevice->lock);
	return 0;
}
