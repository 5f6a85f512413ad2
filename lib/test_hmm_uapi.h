/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * What user space can have the dmirror test device do.
 *
 * /dev/hmm_dmirror0 and 1 have memory of their own that the CPU cannot address, 2
 * and 3 have memory that it can. An open file mirrors the address space of the
 * process that opened it, and addresses are that process's. From any other address
 * space (a child's, the one after exec()) an ioctl that takes addresses fails with
 * EPERM; the others work, so that it can be seen what becomes of a mirror whose
 * process has died.
 *
 * An ioctl that fails for its arguments has changed nothing.
 */
#ifndef _LIB_TEST_HMM_UAPI_H
#define _LIB_TEST_HMM_UAPI_H

#include <linux/ioctl.h>
#include <linux/types.h>

/*
 * Pages that the device is to work on.
 *
 * @addr: (in) address of the first page
 * @ptr: (in) buffer of the caller, outside of those pages
 * @npages: (in) how many pages
 * @cpages: (out) how many of them it has worked on
 * @faults: (out) how often the device found a page missing in its page table
 */
struct hmm_dmirror_cmd {
	__u64		addr;
	__u64		ptr;
	__u64		npages;
	__u64		cpages;
	__u64		faults;
};

/* The device reads the pages into the buffer */
#define HMM_DMIRROR_READ		_IOWR('H', 0x00, struct hmm_dmirror_cmd)
/* The device writes the buffer into the pages */
#define HMM_DMIRROR_WRITE		_IOWR('H', 0x01, struct hmm_dmirror_cmd)
/*
 * The pages move to the device's memory, and it reads them there into the buffer.
 * ENOENT: some are elsewhere.
 */
#define HMM_DMIRROR_MIGRATE_TO_DEV	_IOWR('H', 0x02, struct hmm_dmirror_cmd)
/* Those of the pages that are in the device's memory move back; cpages: so many */
#define HMM_DMIRROR_MIGRATE_TO_SYS	_IOWR('H', 0x03, struct hmm_dmirror_cmd)
/* The buffer gets an HMM_DMIRROR_PROT_* byte for each page */
#define HMM_DMIRROR_SNAPSHOT		_IOWR('H', 0x04, struct hmm_dmirror_cmd)
/* The device takes the pages away from the CPU, and reads them into the buffer */
#define HMM_DMIRROR_EXCLUSIVE		_IOWR('H', 0x05, struct hmm_dmirror_cmd)
/* EPERM: some of the pages are still kept from the CPU */
#define HMM_DMIRROR_CHECK_EXCLUSIVE	_IOWR('H', 0x06, struct hmm_dmirror_cmd)
/*
 * All memory of the device is taken from it, whoever's pages are there: they move
 * back. EBUSY: some cannot. The pages given are not looked at.
 */
#define HMM_DMIRROR_RELEASE		_IOWR('H', 0x07, struct hmm_dmirror_cmd)
/*
 * Set HMM_DMIRROR_FLAG_* of the device, which are in @npages; the others are cleared. There is
 * no range. EINVAL: a flag that does not exist.
 */
#define HMM_DMIRROR_FLAGS		_IOWR('H', 0x08, struct hmm_dmirror_cmd)
/* As HMM_DMIRROR_READ, which also waits for userfaultfd */
#define HMM_DMIRROR_READ_UNLOCKED	_IOWR('H', 0x09, struct hmm_dmirror_cmd)
/* The buffer gets HMM_DMIRROR_ATTR_* in a __u64 for each page: the CPU's page table */
#define HMM_DMIRROR_ATTRIBUTES		_IOWR('H', 0x20, struct hmm_dmirror_cmd)
/*
 * The buffer gets HMM_DMIRROR_PTE_* in a __u64 for each page: the mirror page table,
 * and in it what the device has written. It is read 64 pages at a time.
 */
#define HMM_DMIRROR_TABLE		_IOWR('H', 0x21, struct hmm_dmirror_cmd)
#define HMM_DMIRROR_EVENTS		_IOWR('H', 0x22, struct hmm_dmirror_events)
#define HMM_DMIRROR_HOLD		_IOW('H', 0x23, struct hmm_dmirror_hold)
#define HMM_DMIRROR_REFUSE		_IOW('H', 0x24, struct hmm_dmirror_refuse)
#define HMM_DMIRROR_INVALIDATE		_IOW('H', 0x25, struct hmm_dmirror_invalidate)
#define HMM_DMIRROR_STATS		_IOR('H', 0x26, struct hmm_dmirror_stats)
/* The device maps the pages, to read them later; there is no buffer */
#define HMM_DMIRROR_PREFETCH		_IOWR('H', 0x27, struct hmm_dmirror_cmd)
/*
 * The device maps the pages to write them, by a work item: the ioctl does not wait for it.
 * EBUSY: the work item of an earlier call is not done yet.
 */
#define HMM_DMIRROR_PREFETCH_WORK	_IOW('H', 0x28, struct hmm_dmirror_cmd)
/* Cancel faults of the device in the pages; cpages: how many faults that were */
#define HMM_DMIRROR_CANCEL		_IOWR('H', 0x29, struct hmm_dmirror_cmd)
/* Wait for the work item of HMM_DMIRROR_PREFETCH_WORK; fails as that has failed */
#define HMM_DMIRROR_WAIT_WORK		_IO('H', 0x2a)

/* HMM_DMIRROR_FLAGS */
enum {
	/* The next allocation of device memory for a huge page fails, once. */
	HMM_DMIRROR_FLAG_FAIL_ALLOC		= 1 << 0,
};

/*
 * HMM_DMIRROR_SNAPSHOT: what the device may do with a page (READ or WRITE), the size
 * of its mapping, and where it is. Places are values, not bits.
 */
enum {
	HMM_DMIRROR_PROT_ERROR			= 0xFF,	/* nothing to be had here */
	HMM_DMIRROR_PROT_NONE			= 0x00,	/* a fault might bring it */
	HMM_DMIRROR_PROT_READ			= 0x01,
	HMM_DMIRROR_PROT_WRITE			= 0x02,
	HMM_DMIRROR_PROT_PMD			= 0x04,
	HMM_DMIRROR_PROT_PUD			= 0x08,
	HMM_DMIRROR_PROT_ZERO			= 0x10,	/* the zero page */
	HMM_DMIRROR_PROT_DEV_PRIVATE_LOCAL	= 0x20,	/* memory of this device */
	HMM_DMIRROR_PROT_DEV_PRIVATE_REMOTE	= 0x30,	/* of another one */
	HMM_DMIRROR_PROT_DEV_COHERENT_LOCAL	= 0x40,
	HMM_DMIRROR_PROT_DEV_COHERENT_REMOTE	= 0x50,
};

/* What kinds of memory devices have; 0 is none of them */
enum {
	HMM_DMIRROR_MEMORY_DEVICE_PRIVATE	= 1,
	HMM_DMIRROR_MEMORY_DEVICE_COHERENT,
};

/* HMM_DMIRROR_ATTRIBUTES: what hmm_range_snapshot() says, see &enum hmm_pfn_flags */
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

/* HMM_DMIRROR_TABLE: what is in the mirror page table; 0: nothing */
enum {
	HMM_DMIRROR_PTE_VALID			= 1 << 0,
	HMM_DMIRROR_PTE_WRITE			= 1 << 1,
	HMM_DMIRROR_PTE_DIRTY			= 1 << 2,
	HMM_DMIRROR_PTE_DEVICE			= 1 << 3,
	HMM_DMIRROR_PTE_EXCLUSIVE		= 1 << 4,
};

/* In both, if VALID: log2 of the size of the block, in pages, that the page is in */
#define HMM_DMIRROR_ORDER_SHIFT		16
#define HMM_DMIRROR_ORDER_MASK		0x1f

/* What a callback of the mirror was called for */
enum {
	HMM_DMIRROR_EVENT_NONE,		/* what no mirror delivers */
	HMM_DMIRROR_EVENT_MUNMAP,
	HMM_DMIRROR_EVENT_MIGRATE,
	HMM_DMIRROR_EVENT_WRITE_PROTECT,
	HMM_DMIRROR_EVENT_FORK,
	HMM_DMIRROR_EVENT_ISDIRTY,
	HMM_DMIRROR_EVENT_DEVICE_RFAULT,
	HMM_DMIRROR_EVENT_DEVICE_WFAULT,
	HMM_DMIRROR_EVENT_RELEASE,	/* of the mirror; has no range */
};

/*
 * A callback.
 *
 * @seq: how many callbacks of this file came before
 * @start: first address that it was told
 * @end: first address behind
 * @event: HMM_DMIRROR_EVENT_*
 * @blockable: 1 if it was allowed to sleep, else 0
 * @result: 0 or the errno that it returned, as it was asked to by HMM_DMIRROR_REFUSE
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
 * HMM_DMIRROR_EVENTS: the oldest events move from the file's log into a buffer. The
 * log keeps the newest HMM_DMIRROR_LOG_SIZE.
 *
 * @ptr: (in) array of struct hmm_dmirror_event
 * @count: (in) how many there is room for; (out) how many were stored
 * @lost: (out) how many there was no room for in the log, since the file was opened
 */
struct hmm_dmirror_events {
	__u64		ptr;
	__u64		count;
	__u64		lost;
	__u64		reserved;
};

#define HMM_DMIRROR_LOG_SIZE		1024

/*
 * HMM_DMIRROR_HOLD: hold the lock of the mirror for reading. EINTR: for less time,
 * because of a signal.
 *
 * @msecs: (in) how many milliseconds, at most HMM_DMIRROR_MSECS_MAX
 */
struct hmm_dmirror_hold {
	__u64		msecs;
	__u64		reserved;
};

#define HMM_DMIRROR_MSECS_MAX		10000

/*
 * HMM_DMIRROR_REFUSE: make the next callbacks fail. Each of the three counts by
 * itself, and replaces what was asked for before; 0 is none.
 *
 * @nonblockable: (in) invalidations that may not block and get EAGAIN
 * @blockable: (in) those that may, and get it nevertheless: the kernel warns of that
 * @faults: (in) faults of the device that get @error
 * @error: (in) an errno if there are @faults, else 0
 */
struct hmm_dmirror_refuse {
	__u64		nonblockable;
	__u64		blockable;
	__u64		faults;
	__u32		error;
	__u32		reserved;
};

/* What the kernel says will happen to a range: enum mmu_notifier_event */
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
	HMM_DMIRROR_NOTIFY_BLOCKABLE		= 1 << 0, /* who hears of it may sleep */
	HMM_DMIRROR_NOTIFY_OWN			= 1 << 1, /* this device does it */
};

/*
 * HMM_DMIRROR_INVALIDATE: send an invalidation, with nothing behind it that changes.
 * EAGAIN: somebody would have had to sleep.
 *
 * @addr: (in) address of the first page
 * @npages: (in) how many pages
 * @msecs: (in) how long it goes on, at most HMM_DMIRROR_MSECS_MAX
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
 * HMM_DMIRROR_STATS: what has happened since the file was opened.
 *
 * @faults: calls of hmm_mirror_fault()
 * @pages: pages that those have mirrored
 * @collisions: times that an invalidation undid the work of a fault
 * @vma_lock: pieces of faults that needed no lock of the mm but those of VMAs
 * @mmap_lock: pieces that took mmap_lock for reading
 * @progress: pieces that took it for writing
 * @callbacks: calls of the driver for an invalidation
 * @callbacks_skipped: invalidations of which the driver was not told
 * @events: callbacks that were logged
 * @events_lost: those of them that were overwritten before they were read
 * @refused: those of them that failed, because of HMM_DMIRROR_REFUSE
 * @holders: HMM_DMIRROR_HOLDs that hold the lock now
 * @devmem_pages: pages of the device's memory that are in use now, by whomever
 * @devmem_faults: CPU faults on pages of it since the module was loaded
 * @devmem_blocks: allocations of it for a huge page since the module was loaded
 */
struct hmm_dmirror_stats {
	__u64		faults;
	__u64		pages;
	__u64		collisions;
	__u64		vma_lock;
	__u64		mmap_lock;
	__u64		progress;
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
