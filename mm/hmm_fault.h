/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * HMM device faults, internal interface: hmm_fault.c has the fault loop and its fast path,
 * hmm_fault_slow.c the slow path, hmm_commit.c the commit, hmm_exclusive.c makes pages
 * exclusive.
 */
#ifndef _MM_HMM_FAULT_H
#define _MM_HMM_FAULT_H

#include "hmm_mirror.h"
#include "hmm_walk.h"

/*
 * Pages that are made exclusive in one step. The number is small so that CPU faults, and
 * threads that wait for mmap_lock or for the lock of a folio, do not wait for long.
 */
#define HMM_EXCLUSIVE_MAX	64

/*
 * Collisions of a chunk before the slow path. A collision costs a walk of at most 2 MiB. The
 * slow path takes mmap_lock for writing, which delays every thread that uses the mm.
 */
#define HMM_FAULT_COLLISIONS_MAX	8

/* The arrays of a range of so few pages, the commonest, are on the stack. */
#define HMM_FAULT_SMALL		4

/**
 * enum hmm_chunk_state - how hmm_mirror_fault() serves the current chunk
 * @HMM_CHUNK_FAST: as a whole; concurrent invalidations can collide with it
 * @HMM_CHUNK_SLOW: its first page alone, serialized by mmap_lock
 */
enum hmm_chunk_state {
	HMM_CHUNK_FAST,
	HMM_CHUNK_SLOW,
};

/**
 * enum hmm_retry - why an attempt to serve a chunk has to be repeated
 * @HMM_RETRY_COLLISION: an invalidation has overlapped the range. hmm_fault_retry() sets this
 *	in place of any other reason
 * @HMM_RETRY_STALE: the mirror page table has changed: a block, a table or a permission
 * @HMM_RETRY_RESIZED: the chunk has got another size
 * @HMM_RETRY_BUSY: another thread holds the page: a reference, or the lock of its folio
 * @HMM_RETRY_STEP: the next step of the slow path
 * @HMM_RETRY_WAIT: the slow path needs a CPU fault that can wait for I/O or for user space:
 *	the fast path takes it, without locks
 */
enum hmm_retry {
	HMM_RETRY_COLLISION,
	HMM_RETRY_STALE,
	HMM_RETRY_RESIZED,
	HMM_RETRY_BUSY,
	HMM_RETRY_STEP,
	HMM_RETRY_WAIT,
};

/**
 * struct hmm_fault_arrays - arrays of a small range
 * @pfns: for range.hmm_pfns of &struct hmm_fault
 * @words: for words
 * @maps: for maps
 */
struct hmm_fault_arrays {
	unsigned long pfns[HMM_FAULT_SMALL];
	unsigned long words[HMM_FAULT_SMALL];
	dma_addr_t maps[HMM_FAULT_SMALL];
};

/**
 * struct hmm_fault - state of hmm_mirror_fault()
 * @mirror: mirror
 * @call: what a canceling task finds, see mm/hmm_cancel.c
 * @flags: flags of the caller
 * @limit: end of the requested range, exclusive
 * @access: access to begin when its first page is mirrored, or NULL
 * @accessed: number of pages of that access; 0 if it has not begun
 * @start: first address of the current chunk
 * @end: its end, exclusive
 * @min_end: its end before it grew to a larger mapping
 * @size: size that chunks are cut to; small after many collisions
 * @state: how the chunk is served
 * @retry: why the last attempt has to be repeated
 * @collisions: collisions of the chunk
 * @busy: attempts in a row that ended with %HMM_RETRY_BUSY
 * @empty: nothing is mapped in the window of the chunk
 * @lock: the lock that the last walk has taken
 * @folio: folio of the page at @start, with a reference that keeps it in memory; or NULL
 * @range: the chunk, and the rest of the blocks that it cuts
 * @exclusive: some of @range is mirrored with %HMM_PTE_EXCLUSIVE
 * @small: arrays of a range of at most %HMM_FAULT_SMALL pages
 * @room: number of pages that the arrays have room for
 * @words: one for each page of @range. First what the mirror page table has: %HMM_PTE_WRITE,
 *	or the whole entry if that has %HMM_PTE_EXCLUSIVE. Then the entry to publish
 * @maps: DMA mappings of these entries, or NULL
 */
struct hmm_fault {
	struct hmm_mirror *mirror;
	struct hmm_call call;
	unsigned int flags;
	unsigned long limit;
	struct hmm_access *access;
	long accessed;
	unsigned long start;
	unsigned long end;
	unsigned long min_end;
	unsigned long size;
	enum hmm_chunk_state state;
	enum hmm_retry retry;
	unsigned int collisions;
	unsigned int busy;
	bool empty;
	enum hmm_walk_lock lock;
	struct folio *folio;
	struct hmm_range range;
	bool exclusive;
	struct hmm_fault_arrays *small;
	unsigned long room;
	unsigned long *words;
	dma_addr_t *maps;
};

static inline unsigned long hmm_fault_index(const struct hmm_fault *fault, unsigned long addr)
{
	return (addr - fault->range.start) >> PAGE_SHIFT;
}

static inline void hmm_fault_put_folio(struct hmm_fault *fault)
{
	if (fault->folio)
		folio_put(fault->folio);
	fault->folio = NULL;
}

/* hmm_fault.c */
int hmm_fault_retry(struct hmm_fault *fault, enum hmm_retry why, int error);
void hmm_fault_request(struct hmm_fault *fault);
void hmm_fault_remember(struct hmm_fault *fault);
long hmm_fault_make_exclusive(struct hmm_fault *fault, unsigned long end);

/* hmm_fault_slow.c */
void hmm_fault_get_folio(struct hmm_fault *fault);
long hmm_fault_slow(struct hmm_fault *fault);

/* hmm_commit.c */
int hmm_commit_make_entries(struct hmm_fault *fault, unsigned long start, unsigned long end);
int hmm_commit_stage(struct hmm_fault *fault, struct hmm_pt_stage *stage);
long hmm_commit_runs(struct hmm_fault *fault, unsigned long end);
void hmm_commit_revoke(struct hmm_fault *fault, unsigned long start, unsigned long end);

/**
 * struct hmm_exclusive - pages that are exclusive, and that the CPU cannot get back yet
 * @mm: their address space; mmap_lock is held
 * @locked: the caller holds mmap_lock for writing; otherwise it was taken for reading
 * @pages: the pages, locked and with a reference each; NULL for a page that failed
 * @count: number of @pages
 * @nofs: of memalloc_nofs_save()
 */
struct hmm_exclusive {
	struct mm_struct *mm;
	bool locked;
	struct page *pages[HMM_EXCLUSIVE_MAX];
	unsigned int count;
	unsigned int nofs;
};

#ifdef CONFIG_HMM_EXCLUSIVE
int hmm_exclusive_make(struct hmm_exclusive *excl, struct hmm_range *range,
		       unsigned long start, unsigned long *end, bool locked);
void hmm_exclusive_release(struct hmm_exclusive *excl);
#else
static inline int hmm_exclusive_make(struct hmm_exclusive *excl, struct hmm_range *range,
				     unsigned long start, unsigned long *end, bool locked)
{
	return -EOPNOTSUPP;
}

static inline void hmm_exclusive_release(struct hmm_exclusive *excl)
{
}
#endif

#endif /* _MM_HMM_FAULT_H */
