/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * The ioctls of the dmirror test device.
 *
 * /dev/hmm_dmirror0 and 1 have memory that the CPU cannot access, 2 and 3 have memory that the
 * CPU can access. An open file mirrors the address space of the process that opened it, and
 * takes addresses of that process. In another address space (that of a child, or after exec())
 * an ioctl that takes addresses fails with EPERM. The other ioctls work, so that a test can
 * observe the mirror of a process that has died.
 *
 * An ioctl that fails because of its arguments changes nothing.
 */
#ifndef _LIB_TEST_HMM_UAPI_H
#define _LIB_TEST_HMM_UAPI_H

#include <linux/ioctl.h>
#include <linux/types.h>

/*
 * A range of pages for the device.
 *
 * @addr: (in) address of the first page
 * @ptr: (in) buffer of the caller, outside of the range
 * @npages: (in) number of pages
 * @cpages: (out) number of pages that the device has handled
 * @faults: (out) number of device faults
 */
struct hmm_dmirror_cmd {
	__u64		addr;
	__u64		ptr;
	__u64		npages;
	__u64		cpages;
	__u64		faults;
};

/* The device reads the pages into the buffer. */
#define HMM_DMIRROR_READ		_IOWR('H', 0x00, struct hmm_dmirror_cmd)
/* The device writes the buffer to the pages. */
#define HMM_DMIRROR_WRITE		_IOWR('H', 0x01, struct hmm_dmirror_cmd)
/*
 * Migrate the pages to device memory, and read them there into the buffer.
 * ENOENT: a page is not in device memory afterwards.
 */
#define HMM_DMIRROR_MIGRATE_TO_DEV	_IOWR('H', 0x02, struct hmm_dmirror_cmd)
/* Migrate the pages back that are in device memory. cpages: the number of these pages. */
#define HMM_DMIRROR_MIGRATE_TO_SYS	_IOWR('H', 0x03, struct hmm_dmirror_cmd)
/* Store an HMM_DMIRROR_PROT_* byte for each page in the buffer. */
#define HMM_DMIRROR_SNAPSHOT		_IOWR('H', 0x04, struct hmm_dmirror_cmd)
/* Give the device exclusive access to the pages, and read them into the buffer. */
#define HMM_DMIRROR_EXCLUSIVE		_IOWR('H', 0x05, struct hmm_dmirror_cmd)
/* EPERM: the device has exclusive access to a page of the range. */
#define HMM_DMIRROR_CHECK_EXCLUSIVE	_IOWR('H', 0x06, struct hmm_dmirror_cmd)
/*
 * Release all memory of the device: the pages of all processes migrate back. The range is
 * ignored. EBUSY: a page cannot migrate.
 */
#define HMM_DMIRROR_RELEASE		_IOWR('H', 0x07, struct hmm_dmirror_cmd)
/*
 * Set the flags of the device to HMM_DMIRROR_FLAG_* in @npages. There is no range.
 * EINVAL: an unknown flag.
 */
#define HMM_DMIRROR_FLAGS		_IOWR('H', 0x08, struct hmm_dmirror_cmd)
/* The same as HMM_DMIRROR_READ, which also waits for userfaultfd */
#define HMM_DMIRROR_READ_UNLOCKED	_IOWR('H', 0x09, struct hmm_dmirror_cmd)
/* Store HMM_DMIRROR_ATTR_* of the CPU page table in a __u64 for each page in the buffer. */
#define HMM_DMIRROR_ATTRIBUTES		_IOWR('H', 0x20, struct hmm_dmirror_cmd)
/*
 * Store HMM_DMIRROR_PTE_* of the mirror page table in a __u64 for each page in the buffer. The
 * lock of the mirror is held for 64 pages at a time.
 */
#define HMM_DMIRROR_TABLE		_IOWR('H', 0x21, struct hmm_dmirror_cmd)
#define HMM_DMIRROR_EVENTS		_IOWR('H', 0x22, struct hmm_dmirror_events)
#define HMM_DMIRROR_HOLD		_IOW('H', 0x23, struct hmm_dmirror_hold)
#define HMM_DMIRROR_REFUSE		_IOW('H', 0x24, struct hmm_dmirror_refuse)
#define HMM_DMIRROR_INVALIDATE		_IOW('H', 0x25, struct hmm_dmirror_invalidate)
#define HMM_DMIRROR_STATS		_IOR('H', 0x26, struct hmm_dmirror_stats)
/* The device mirrors the pages for reading. There is no buffer. */
#define HMM_DMIRROR_PREFETCH		_IOWR('H', 0x27, struct hmm_dmirror_cmd)
/*
 * A work item mirrors the pages for writing. The ioctl does not wait for it.
 * EBUSY: the work item of an earlier call is still pending.
 */
#define HMM_DMIRROR_PREFETCH_WORK	_IOW('H', 0x28, struct hmm_dmirror_cmd)
/* Cancel device faults in the range. cpages: the number of these faults. */
#define HMM_DMIRROR_CANCEL		_IOWR('H', 0x29, struct hmm_dmirror_cmd)
/* Wait for the work item of HMM_DMIRROR_PREFETCH_WORK, and return its errno. */
#define HMM_DMIRROR_WAIT_WORK		_IO('H', 0x2a)

/* HMM_DMIRROR_FLAGS */
enum {
	/* The next allocation of device memory for a huge page fails, once. */
	HMM_DMIRROR_FLAG_FAIL_ALLOC		= 1 << 0,
};

/*
 * HMM_DMIRROR_SNAPSHOT: the access that the device may have (READ or WRITE), the size of the
 * mapping, and the location of the page. Locations are values, not bits.
 */
enum {
	HMM_DMIRROR_PROT_ERROR			= 0xFF,	/* a fault would fail */
	HMM_DMIRROR_PROT_NONE			= 0x00,	/* a fault may succeed */
	HMM_DMIRROR_PROT_READ			= 0x01,
	HMM_DMIRROR_PROT_WRITE			= 0x02,
	HMM_DMIRROR_PROT_PMD			= 0x04,
	HMM_DMIRROR_PROT_PUD			= 0x08,
	HMM_DMIRROR_PROT_ZERO			= 0x10,	/* the zero page */
	HMM_DMIRROR_PROT_DEV_PRIVATE_LOCAL	= 0x20,	/* memory of this device */
	HMM_DMIRROR_PROT_DEV_PRIVATE_REMOTE	= 0x30,	/* of another device */
	HMM_DMIRROR_PROT_DEV_COHERENT_LOCAL	= 0x40,
	HMM_DMIRROR_PROT_DEV_COHERENT_REMOTE	= 0x50,
};

/* Kinds of device memory; 0 is unused. */
enum {
	HMM_DMIRROR_MEMORY_DEVICE_PRIVATE	= 1,
	HMM_DMIRROR_MEMORY_DEVICE_COHERENT,
};

/* HMM_DMIRROR_ATTRIBUTES: result of hmm_range_snapshot(), see &enum hmm_pfn_flags */
enum {
	HMM_DMIRROR_ATTR_VALID			= 1 << 0,
	HMM_DMIRROR_ATTR_WRITE			= 1 << 1,
	HMM_DMIRROR_ATTR_ERROR			= 1 << 2,
	HMM_DMIRROR_ATTR_READ			= 1 << 3,
	HMM_DMIRROR_ATTR_EMPTY			= 1 << 4,
	HMM_DMIRROR_ATTR_SPECIAL		= 1 << 5,
	HMM_DMIRROR_ATTR_DEVICE			= 1 << 6,
	HMM_DMIRROR_ATTR_UNADDRESSABLE		= 1 << 7,
	HMM_DMIRROR_ATTR_DIRTY			= 1 << 8,
	HMM_DMIRROR_ATTR_YOUNG			= 1 << 9,
};

/* HMM_DMIRROR_TABLE: an entry of the mirror page table; 0: no entry */
enum {
	HMM_DMIRROR_PTE_VALID			= 1 << 0,
	HMM_DMIRROR_PTE_WRITE			= 1 << 1,
	HMM_DMIRROR_PTE_DIRTY			= 1 << 2,
	HMM_DMIRROR_PTE_DEVICE			= 1 << 3,
	HMM_DMIRROR_PTE_EXCLUSIVE		= 1 << 4,
};

/* In both, if VALID: the order of the block that contains the page */
#define HMM_DMIRROR_ORDER_SHIFT		16
#define HMM_DMIRROR_ORDER_MASK		0x1f

/* Events of the callbacks of a mirror */
enum {
	HMM_DMIRROR_EVENT_NONE,		/* no mirror reports this */
	HMM_DMIRROR_EVENT_MUNMAP,
	HMM_DMIRROR_EVENT_MIGRATE,
	HMM_DMIRROR_EVENT_WRITE_PROTECT,
	HMM_DMIRROR_EVENT_FORK,
	HMM_DMIRROR_EVENT_ISDIRTY,
	HMM_DMIRROR_EVENT_DEVICE_RFAULT,
	HMM_DMIRROR_EVENT_DEVICE_WFAULT,
	HMM_DMIRROR_EVENT_RELEASE,	/* of the mirror; without a range */
};

/*
 * A callback.
 *
 * @seq: number of earlier callbacks of this file
 * @start: start address
 * @end: end address, exclusive
 * @event: HMM_DMIRROR_EVENT_*
 * @blockable: 1 if the callback was allowed to sleep, else 0
 * @result: 0, or the errno that it returned because of HMM_DMIRROR_REFUSE
 */
struct hmm_dmirror_event {
	__u64		seq;
	__u64		start;
	__u64		end;
	__u32		event;
	__u32		blockable;
	__u32		result;
	__u32		reserved;
};

/*
 * HMM_DMIRROR_EVENTS: move the oldest events from the log of the file to a buffer. The log
 * keeps the newest HMM_DMIRROR_LOG_SIZE events.
 *
 * @ptr: (in) array of struct hmm_dmirror_event
 * @count: (in) size of the array; (out) number of events that were stored
 * @lost: (out) number of events that were overwritten in the log since the file was opened
 */
struct hmm_dmirror_events {
	__u64		ptr;
	__u64		count;
	__u64		lost;
	__u64		reserved;
};

#define HMM_DMIRROR_LOG_SIZE		1024

/*
 * HMM_DMIRROR_HOLD: hold the lock of the mirror for reading. EINTR: a signal has ended this
 * early.
 *
 * @msecs: (in) milliseconds, at most HMM_DMIRROR_MSECS_MAX
 */
struct hmm_dmirror_hold {
	__u64		msecs;
	__u64		reserved;
};

#define HMM_DMIRROR_MSECS_MAX		10000

/*
 * HMM_DMIRROR_REFUSE: make the next callbacks fail. The three counters are independent and
 * replace those of an earlier call; 0 is none.
 *
 * @nonblockable: (in) number of invalidations that must not block, which return EAGAIN
 * @blockable: (in) number of invalidations that may block, whose EAGAIN triggers a WARN
 * @faults: (in) number of device faults that return @error
 * @error: (in) an errno if @faults is not 0, else 0
 */
struct hmm_dmirror_refuse {
	__u64		nonblockable;
	__u64		blockable;
	__u64		faults;
	__u32		error;
	__u32		reserved;
};

/* The reason of an invalidation: enum mmu_notifier_event */
enum {
	HMM_DMIRROR_NOTIFY_UNMAP		= 1,
	HMM_DMIRROR_NOTIFY_CLEAR,
	HMM_DMIRROR_NOTIFY_PROTECTION_VMA,
	HMM_DMIRROR_NOTIFY_PROTECTION_PAGE,
	HMM_DMIRROR_NOTIFY_SOFT_DIRTY,
	HMM_DMIRROR_NOTIFY_MIGRATE,
	HMM_DMIRROR_NOTIFY_EXCLUSIVE,
};

enum {
	HMM_DMIRROR_NOTIFY_BLOCKABLE		= 1 << 0, /* notifiers may sleep */
	HMM_DMIRROR_NOTIFY_OWN			= 1 << 1, /* this device is the owner */
};

/*
 * HMM_DMIRROR_INVALIDATE: send an invalidation without a change of the memory.
 * EAGAIN: a notifier would have had to sleep.
 *
 * @addr: (in) address of the first page
 * @npages: (in) number of pages
 * @msecs: (in) duration in milliseconds, at most HMM_DMIRROR_MSECS_MAX
 * @event: (in) HMM_DMIRROR_NOTIFY_UNMAP to _EXCLUSIVE
 * @flags: (in) HMM_DMIRROR_NOTIFY_BLOCKABLE, _OWN
 */
struct hmm_dmirror_invalidate {
	__u64		addr;
	__u64		npages;
	__u64		msecs;
	__u32		event;
	__u32		flags;
};

/*
 * HMM_DMIRROR_STATS: counters since the file was opened.
 *
 * @faults: calls of hmm_mirror_fault()
 * @pages: pages that these calls have mirrored
 * @collisions: invalidations that overlapped a fault in flight
 * @vma_lock: chunks of faults that took only VMA locks
 * @mmap_lock: chunks that took mmap_lock for reading
 * @slow_path: chunks that took mmap_lock for writing
 * @callbacks: callbacks of the driver for an invalidation
 * @callbacks_skipped: invalidations without a callback
 * @events: callbacks that were logged
 * @events_lost: logged callbacks that were overwritten before they were read
 * @refused: logged callbacks that failed because of HMM_DMIRROR_REFUSE
 * @holders: HMM_DMIRROR_HOLD calls that hold the lock now
 * @devmem_pages: pages of device memory in use now, by all processes
 * @devmem_faults: CPU faults on device memory since the module was loaded
 * @devmem_blocks: allocations of device memory for a huge page since the module was loaded
 */
struct hmm_dmirror_stats {
	__u64		faults;
	__u64		pages;
	__u64		collisions;
	__u64		vma_lock;
	__u64		mmap_lock;
	__u64		slow_path;
	__u64		callbacks;
	__u64		callbacks_skipped;
	__u64		events;
	__u64		events_lost;
	__u64		refused;
	__u64		holders;
	__u64		devmem_pages;
	__u64		devmem_faults;
	__u64		devmem_blocks;
};

#endif /* _LIB_TEST_HMM_UAPI_H */
