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
 * Maximum number of pages that are made exclusive in one step. It is small so that CPU faults,
 * and threads that wait for mmap_lock or for the lock of a folio, do not wait for long.
 */
#define HMM_EXCLUSIVE_MAX	64

/*
 * Collisions of a chunk before the slow path. A collision costs a walk of 2 MiB at most. The
 * slow path takes mmap_lock for writing, which delays every thread that uses the mm.
 */
#define HMM_FAULT_COLLISIONS_MAX	8

/* Most ranges have at most this number of pages. Their arrays are on the stack. */
#define HMM_FAULT_SMALL		4

/**
 * enum hmm_chunk_state - how hmm_mirror_fault() serves the current chunk
 * @HMM_CHUNK_FAST: fast path, the whole chunk; concurrent invalidations can collide with it
 * @HMM_CHUNK_SLOW: slow path, only the first page, serialized by mmap_lock
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
 * @HMM_RETRY_RESIZED: the size of the chunk has changed
 * @HMM_RETRY_BUSY: another thread holds the page: a reference, or the lock of its folio
 * @HMM_RETRY_STEP: the next step of the slow path
 * @HMM_RETRY_WAIT: the slow path needs a CPU fault that can wait for I/O or for user space:
 *	the fast path takes that fault, which can drop the locks
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
 * @pfns: array for range.hmm_pfns of &struct hmm_fault
 * @words: array for words
 * @maps: array for maps
 */
struct hmm_fault_arrays {
	unsigned long pfns[HMM_FAULT_SMALL];
	unsigned long words[HMM_FAULT_SMALL];
	dma_addr_t maps[HMM_FAULT_SMALL];
};

/**
 * struct hmm_fault - state of hmm_mirror_fault()
 * @mirror: mirror
 * @call: entry in mirror->calls, by which another task can cancel the fault
 * @flags: flags of the caller
 * @limit: end of the requested range, exclusive
 * @access: access to begin when its first page is mirrored, or NULL
 * @accessed: number of pages of that access; 0 if it has not begun
 * @start: first address of the current chunk
 * @end: end of the chunk, exclusive
 * @min_end: end of the chunk without the rest of a larger mapping, see hmm_fault_resize()
 * @size: size that chunks are cut to; small after many collisions
 * @state: how the chunk is served
 * @retry: why the last attempt has to be repeated
 * @collisions: number of collisions of the chunk
 * @busy: number of consecutive attempts that ended with %HMM_RETRY_BUSY
 * @empty: nothing is mapped in the window of the chunk
 * @lock: lock that the last walk has taken
 * @folio: folio of the page at @start, with a reference that keeps it in memory; or NULL
 * @range: the chunk, widened to whole blocks in the fast path
 * @exclusive: some pages of @range are mirrored with %HMM_PTE_EXCLUSIVE
 * @small: arrays for a range of at most %HMM_FAULT_SMALL pages
 * @room: number of elements of the arrays
 * @words: one word for each page of @range. hmm_fault_remember() stores %HMM_PTE_WRITE of the
 *	mirror page table, or the whole entry if it has %HMM_PTE_EXCLUSIVE.
 *	hmm_commit_make_entries() replaces that by the entry to publish
 * @maps: DMA mappings of these entries, or NULL if the mirror has no DMA addresses
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
 * struct hmm_exclusive - exclusive pages that the CPU cannot access before they are released
 * @mm: address space of the pages; mmap_lock is held
 * @locked: the caller holds mmap_lock for writing; otherwise it was taken for reading
 * @pages: pages, each locked and with a reference; NULL for a page that failed
 * @count: number of @pages
 * @nofs: return value of memalloc_nofs_save()
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
