/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The ioctls of the dmirror test device, one function for each. The selftests, the demo in
 * guest/ and the benchmark use this header, so it includes nothing of kselftest.
 *
 * Each function returns a negative errno when its ioctl fails. Otherwise a function that takes
 * pages returns the number of pages that the device has handled; the caller compares it with
 * the number that it has passed. The other functions return 0 unless a comment says more.
 */
#ifndef _SELFTESTS_VM_HMM_DMIRROR_IOCTL_H
#define _SELFTESTS_VM_HMM_DMIRROR_IOCTL_H

#include <errno.h>
#include <stdint.h>
#include <sys/ioctl.h>

#include "test_hmm_uapi.h"

/**
 * struct dmirror - an open device
 * @fd: the device file
 * @buf: reads and migrations store the content of the pages here, writes load it from here
 * @buf_pages: size of @buf
 * @faults: sum of &hmm_dmirror_cmd.faults over all calls
 */
struct dmirror {
	int fd;
	char *buf;
	long buf_pages;
	unsigned long faults;
};

/* A function below that takes pages, and uses &dmirror.buf if it needs a buffer */
typedef long dmirror_verb(struct dmirror *dev, void *addr, long npages);

static inline long dmirror_ioctl(struct dmirror *dev, unsigned long request, void *addr,
				 long npages, void *ptr)
{
	struct hmm_dmirror_cmd cmd = {
		.addr = (uintptr_t)addr,
		.ptr = (uintptr_t)ptr,
		.npages = npages,
	};

	if (ioctl(dev->fd, request, &cmd))
		return -errno;
	/* Several threads may share an open device. */
	__atomic_fetch_add(&dev->faults, cmd.faults, __ATOMIC_RELAXED);
	return cmd.cpages;
}

/* All ioctls that take a range of pages */
static const unsigned long page_requests[] = {
	HMM_DMIRROR_READ, HMM_DMIRROR_WRITE, HMM_DMIRROR_MIGRATE_TO_DEV,
	HMM_DMIRROR_MIGRATE_TO_SYS, HMM_DMIRROR_SNAPSHOT, HMM_DMIRROR_EXCLUSIVE,
	HMM_DMIRROR_CHECK_EXCLUSIVE, HMM_DMIRROR_RELEASE, HMM_DMIRROR_ATTRIBUTES,
	HMM_DMIRROR_TABLE, HMM_DMIRROR_PREFETCH, HMM_DMIRROR_PREFETCH_WORK,
	HMM_DMIRROR_CANCEL, HMM_DMIRROR_READ_UNLOCKED,
};

#define PAGE_REQUESTS	(sizeof(page_requests) / sizeof(*page_requests))

static inline long dmirror_read(struct dmirror *dev, void *addr, long npages)
{
	return dmirror_ioctl(dev, HMM_DMIRROR_READ, addr, npages, dev->buf);
}

static inline long dmirror_write(struct dmirror *dev, void *addr, long npages)
{
	return dmirror_ioctl(dev, HMM_DMIRROR_WRITE, addr, npages, dev->buf);
}

static inline long dmirror_prefetch(struct dmirror *dev, void *addr, long npages)
{
	return dmirror_ioctl(dev, HMM_DMIRROR_PREFETCH, addr, npages, NULL);
}

static inline long dmirror_prefetch_work(struct dmirror *dev, void *addr, long npages)
{
	return dmirror_ioctl(dev, HMM_DMIRROR_PREFETCH_WORK, addr, npages, NULL);
}

static inline long dmirror_wait_work(struct dmirror *dev)
{
	return ioctl(dev->fd, HMM_DMIRROR_WAIT_WORK) ? -errno : 0;
}

/* Returns the number of faults that it has cancelled. */
static inline long dmirror_cancel(struct dmirror *dev, void *addr, long npages)
{
	return dmirror_ioctl(dev, HMM_DMIRROR_CANCEL, addr, npages, NULL);
}

static inline long dmirror_migrate_to_dev(struct dmirror *dev, void *addr, long npages)
{
	return dmirror_ioctl(dev, HMM_DMIRROR_MIGRATE_TO_DEV, addr, npages, dev->buf);
}

static inline long dmirror_migrate_to_sys(struct dmirror *dev, void *addr, long npages)
{
	return dmirror_ioctl(dev, HMM_DMIRROR_MIGRATE_TO_SYS, addr, npages, NULL);
}

static inline long dmirror_exclusive(struct dmirror *dev, void *addr, long npages)
{
	return dmirror_ioctl(dev, HMM_DMIRROR_EXCLUSIVE, addr, npages, dev->buf);
}

/* Returns -EPERM while the device has exclusive access to a page of the range, else 0. */
static inline long dmirror_check_exclusive(struct dmirror *dev, void *addr, long npages)
{
	return dmirror_ioctl(dev, HMM_DMIRROR_CHECK_EXCLUSIVE, addr, npages, NULL);
}

/* Evict all memory of the device. The driver checks the range and ignores it otherwise. */
static inline long dmirror_release(struct dmirror *dev, void *addr)
{
	return dmirror_ioctl(dev, HMM_DMIRROR_RELEASE, addr, 1, NULL);
}

/* @flags: HMM_DMIRROR_FLAG_* */
static inline long dmirror_set_flags(struct dmirror *dev, unsigned long flags)
{
	return dmirror_ioctl(dev, HMM_DMIRROR_FLAGS, NULL, flags, NULL);
}

/* @seen receives an HMM_DMIRROR_PROT_* byte for each page. */
static inline long dmirror_snapshot(struct dmirror *dev, void *addr, long npages,
				    unsigned char *seen)
{
	return dmirror_ioctl(dev, HMM_DMIRROR_SNAPSHOT, addr, npages, seen);
}

/* @entries receives HMM_DMIRROR_PTE_* of each page. */
static inline long dmirror_table(struct dmirror *dev, void *addr, long npages, __u64 *entries)
{
	return dmirror_ioctl(dev, HMM_DMIRROR_TABLE, addr, npages, entries);
}

/* Move up to @room events from the log to @events. Returns the number of events. */
static inline long dmirror_events(struct dmirror *dev, struct hmm_dmirror_event *events,
				  long room)
{
	struct hmm_dmirror_events arg = { .ptr = (uintptr_t)events, .count = room };

	return ioctl(dev->fd, HMM_DMIRROR_EVENTS, &arg) ? -errno : (long)arg.count;
}

static inline long dmirror_hold(struct dmirror *dev, __u64 msecs)
{
	struct hmm_dmirror_hold hold = { .msecs = msecs };

	return ioctl(dev->fd, HMM_DMIRROR_HOLD, &hold) ? -errno : 0;
}

static inline long dmirror_refuse(struct dmirror *dev, __u64 nonblockable, __u64 faults,
				  __u32 error)
{
	struct hmm_dmirror_refuse refuse = {
		.nonblockable = nonblockable,
		.faults = faults,
		.error = error,
	};

	return ioctl(dev->fd, HMM_DMIRROR_REFUSE, &refuse) ? -errno : 0;
}

/* @event: HMM_DMIRROR_NOTIFY_UNMAP to _EXCLUSIVE, @flags: HMM_DMIRROR_NOTIFY_BLOCKABLE, _OWN */
static inline long dmirror_invalidate_for(struct dmirror *dev, void *addr, long npages,
					  __u32 event, __u32 flags, __u64 msecs)
{
	struct hmm_dmirror_invalidate invalidate = {
		.addr = (uintptr_t)addr,
		.npages = npages,
		.msecs = msecs,
		.event = event,
		.flags = flags,
	};

	return ioctl(dev->fd, HMM_DMIRROR_INVALIDATE, &invalidate) ? -errno : 0;
}

static inline long dmirror_get_stats(struct dmirror *dev, struct hmm_dmirror_stats *stats)
{
	return ioctl(dev->fd, HMM_DMIRROR_STATS, stats) ? -errno : 0;
}

/*
 * Send an invalidation that must not block until the driver has answered it. -EAGAIN also
 * results when HMM has the lock of the mirror, for example because it frees empty tables: the
 * driver is not called then, and &hmm_dmirror_stats.refused does not change.
 */
static inline long dmirror_invalidate_now(struct dmirror *dev, void *addr, long npages,
					  __u32 event)
{
	struct hmm_dmirror_stats before, now;
	long ret, err = dmirror_get_stats(dev, &before);

	if (err)
		return err;
	do {
		ret = dmirror_invalidate_for(dev, addr, npages, event, 0, 0);
		err = dmirror_get_stats(dev, &now);
	} while (!err && ret == -EAGAIN && now.refused == before.refused);
	return err ?: ret;
}

#endif /* _SELFTESTS_VM_HMM_DMIRROR_IOCTL_H */
