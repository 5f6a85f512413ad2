/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Declarations that the source files of the dmirror test device share.
 */
#ifndef _LIB_TEST_HMM_H
#define _LIB_TEST_HMM_H

#include <linux/hmm_devmem.h>
#include <linux/hmm_mirror.h>
#include <linux/list.h>
#include <linux/memremap.h>
#include <linux/mutex.h>
#include <linux/sizes.h>
#include <linux/spinlock.h>

#include "test_hmm_uapi.h"

struct mmu_notifier_range;

/* Size of arrays on the stack, in pages that are processed together */
#define DMIRROR_BATCH		64

/* Size of a chunk of device memory. A coherent device has one chunk. */
#define DMIRROR_CHUNK_SIZE	SZ_256M

/**
 * struct dmirror_device - one of /dev/hmm_dmirror{0..3}, and its memory
 * @devmem: its memory, for HMM
 * @spm: physical address of %MEMORY_DEVICE_COHERENT memory
 * @chunks: list of struct dmirror_chunk
 * @used: number of pages in use
 * @cpu_faults: number of CPU faults on its pages
 * @blocks: number of allocations for a huge page
 * @flags: HMM_DMIRROR_FLAG_*, one bit each
 *
 * The owner of its pages is the address of this structure.
 */
struct dmirror_device {
	struct hmm_devmem	devmem;
	phys_addr_t		spm;
	/** @grow_lock: held while a chunk is added to @chunks */
	struct mutex		grow_lock;
	/** @lock: protects @chunks and @used; taken in any context that frees a page */
	spinlock_t		lock;
	struct list_head	chunks;
	unsigned long		used;
	atomic_long_t		cpu_faults;
	atomic_long_t		blocks;
	unsigned long		flags;
};

/**
 * struct dmirror_log - the callbacks of a mirror
 * @first: sequence number of the oldest event in @ring
 * @next: sequence number of the next event
 * @lost: number of events that were overwritten before they were read
 * @refused: number of callbacks that failed because of HMM_DMIRROR_REFUSE
 * @refuse: the callbacks that must fail
 * @released: the mirror was released
 * @ring: the events, indexed by their sequence numbers
 */
struct dmirror_log {
	/** @lock: protects the other members; callbacks for faults run concurrently */
	spinlock_t			lock;
	u64				first;
	u64				next;
	u64				lost;
	u64				refused;
	struct hmm_dmirror_refuse	refuse;
	bool				released;
	struct hmm_dmirror_event	ring[HMM_DMIRROR_LOG_SIZE];
};

/**
 * struct dmirror - an open file
 * @mirror: mirror of the process that opened the file. Its page table models the device's TLB
 * @mdevice: the device
 * @holders: number of HMM_DMIRROR_HOLD calls that hold the lock of @mirror
 * @prefetch: the work item of HMM_DMIRROR_PREFETCH_WORK
 * @prefetch_start: start address of the work item; constant while it is pending
 * @prefetch_end: end address, exclusive
 * @prefetch_ret: 0, or the errno of the last work item
 * @log: callbacks of @mirror
 */
struct dmirror {
	struct hmm_mirror	mirror;
	struct dmirror_device	*mdevice;
	atomic_t		holders;
	struct work_struct	prefetch;
	unsigned long		prefetch_start;
	unsigned long		prefetch_end;
	int			prefetch_ret;
	/** @read_lock: held while @log is read, so that each event is read once */
	struct mutex		read_lock;
	struct dmirror_log	log;
};

/* test_hmm.c */
int dmirror_check_range(struct dmirror *dm, u64 addr, u64 npages);

static inline unsigned long dmirror_cmd_end(const struct hmm_dmirror_cmd *cmd)
{
	return cmd->addr + (cmd->npages << PAGE_SHIFT);
}

/* test_hmm_events.c */
extern const struct hmm_mirror_ops dmirror_mirror_ops;
void dmirror_log_init(struct dmirror *dm);
int dmirror_events(struct dmirror *dm, void *arg);
int dmirror_hold(struct dmirror *dm, void *arg);
int dmirror_refuse(struct dmirror *dm, void *arg);
int dmirror_invalidate(struct dmirror *dm, void *arg);
int dmirror_stats(struct dmirror *dm, void *arg);

/* test_hmm_mem.c */
int dmirror_devmem_init(struct dmirror_device *mdevice, enum memory_type type,
			phys_addr_t spm);
void dmirror_devmem_reserve(struct dmirror_device *mdevice, unsigned long npages);
int dmirror_devmem_release(struct dmirror_device *mdevice);
void dmirror_devmem_exit(struct dmirror_device *mdevice);

/* The page that holds the content of a page */
static inline struct page *dmirror_content(struct page *page)
{
	return is_device_private_page(page) ? page->zone_device_data : page;
}

/* test_hmm_report.c */
int dmirror_snapshot(struct dmirror *dm, void *arg);
int dmirror_attributes(struct dmirror *dm, void *arg);
int dmirror_table(struct dmirror *dm, void *arg);
int dmirror_check_exclusive(struct dmirror *dm, void *arg);

/* test_hmm_notify.c, which is always built in */
int test_hmm_notify_start(struct mmu_notifier_range *range, bool blockable);
void test_hmm_notify_end(struct mmu_notifier_range *range);

#endif /* _LIB_TEST_HMM_H */
