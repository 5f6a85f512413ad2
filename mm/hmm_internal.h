/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the files of HMM share with each other and with their tests.
 */
#ifndef _MM_HMM_INTERNAL_H
#define _MM_HMM_INTERNAL_H

#include <linux/hmm.h>
#include <linux/memcontrol.h>
#include <linux/oom.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>

/**
 * struct hmm_pt_spare - tables that are in no page table
 * @tables: those of each level, all zero
 * @count: how many there are
 */
struct hmm_pt_spare {
	struct list_head tables[HMM_PT_LEVELS];
	unsigned long count[HMM_PT_LEVELS];
};

/**
 * struct hmm_pt_stage - entries that are about to be published
 * @start: address of the first
 * @end: first address behind the last
 * @words: one for each page, every one with %HMM_PTE_VALID; with the order of the
 *	block that the page belongs to, which may reach out of the range
 * @maps: if the page table has DMA addresses, what hmm_dma_map() returned for each
 *	block that is going to be published, or was and is not any more; at its first
 *	page, 0 elsewhere
 * @mapped: up to which address there are @maps, when hmm_pt_prepare() has failed
 * @spare: what the page table lacks to hold them
 */
struct hmm_pt_stage {
	unsigned long		start;
	unsigned long		end;
	unsigned long		*words;
	dma_addr_t		*maps;
	unsigned long		mapped;
	struct hmm_pt_spare	spare;
};

int hmm_pt_init(struct hmm_pt *pt, struct rw_semaphore *lock, struct device *dma_dev);
void hmm_pt_destroy(struct hmm_pt *pt);

void hmm_pt_stage(struct hmm_pt_stage *stage, unsigned long start, unsigned long end,
		  unsigned long *words, dma_addr_t *maps);
int hmm_pt_prepare(struct hmm_pt *pt, struct hmm_pt_stage *stage);
int hmm_pt_publish(struct hmm_pt *pt, struct hmm_pt_stage *stage);
void hmm_pt_unstage(struct hmm_pt *pt, struct hmm_pt_stage *stage);
bool hmm_pt_stage_next_map(const struct hmm_pt_stage *stage, unsigned long *addr,
			   unsigned long *next);

hmm_pte_t hmm_pt_load(struct hmm_pt *pt, unsigned long addr);
bool hmm_pt_occupied(struct hmm_pt *pt, unsigned long start, unsigned long end);
bool hmm_pt_writable(struct hmm_pt *pt, unsigned long start, unsigned long end);
void hmm_pt_begin_change(struct hmm_pt *pt, unsigned long start, unsigned long last);
void hmm_pt_end_change(struct hmm_pt *pt);
bool hmm_pt_has_none(struct hmm_pt *pt, unsigned long start, unsigned long end, bool write);
void hmm_pt_widen(struct hmm_pt *pt, unsigned long *start, unsigned long *end);
void hmm_pt_clear(struct hmm_pt *pt, unsigned long *start, unsigned long *end);
void hmm_pt_write_protect(struct hmm_pt *pt, unsigned long *start, unsigned long *end);
void hmm_pt_set_dirty(struct hmm_pt *pt, unsigned long start, unsigned long end);
void hmm_pt_reclaim(struct hmm_pt *pt, unsigned long start, unsigned long end);

/*
 * A DMA mapping is one word: the address, which is page aligned, and in the bits below
 * what it takes to unmap it. 0 is no mapping. A stage has HMM_DMA_KEPT, and the order, for
 * a block that is to keep the mapping that it has.
 */
#define HMM_DMA_MAPPED		BIT(0)
#define HMM_DMA_WRITE		BIT(1)
#define HMM_DMA_KEPT		BIT(2)
#define HMM_DMA_SHARED		BIT(3)		/* of the zero page: not to be unmapped */
#define HMM_DMA_ORDER_SHIFT	4
#define HMM_DMA_FLAGS		(BIT(HMM_DMA_ORDER_SHIFT + 5) - 1)

static inline unsigned int hmm_dma_order(dma_addr_t map)
{
	return (map & HMM_DMA_FLAGS) >> HMM_DMA_ORDER_SHIFT;
}

#ifdef CONFIG_HMM_DMA
int hmm_dma_check(struct device *dev);
bool hmm_dma_reaches_all(struct device *dev);
void hmm_dma_warn(struct device *dev);
int hmm_dma_map(struct hmm_pt *pt, unsigned long pfn, unsigned int order, bool write,
		dma_addr_t *map);
void hmm_dma_unmap(const struct hmm_pt *pt, dma_addr_t map);
void hmm_dma_unmap_zero(struct hmm_pt *pt);
#else
static inline int hmm_dma_check(struct device *dev)
{
	return -EOPNOTSUPP;
}

static inline bool hmm_dma_reaches_all(struct device *dev)
{
	return false;
}

static inline void hmm_dma_warn(struct device *dev)
{
}

static inline int hmm_dma_map(struct hmm_pt *pt, unsigned long pfn, unsigned int order,
			      bool write, dma_addr_t *map)
{
	return -EOPNOTSUPP;
}

static inline void hmm_dma_unmap(const struct hmm_pt *pt, dma_addr_t map)
{
}

static inline void hmm_dma_unmap_zero(struct hmm_pt *pt)
{
}
#endif

static inline void hmm_mirror_count(struct hmm_mirror *mirror, enum hmm_mirror_count count,
				    long n)
{
	atomic_long_add(n, &mirror->counts[count]);
}

/* What is allocated until the end is charged to the mm, whichever task does it. */
static inline struct mem_cgroup *hmm_charge_begin(struct mm_struct *mm)
{
	return set_active_memcg(get_mem_cgroup_from_mm(mm));
}

static inline void hmm_charge_end(struct mem_cgroup *old)
{
	mem_cgroup_put(set_active_memcg(old));
}

/*
 * The windows of a mirror: large enough that there are few, small enough that what is
 * not mirrored is not in any. No block of the page table may reach from one into the
 * next.
 */
#define HMM_WINDOW_SHIFT	MAX(PUD_SHIFT, BITS_PER_LONG == 64 ? 30 : 28)
#define HMM_WINDOW_SIZE		BIT(HMM_WINDOW_SHIFT)

/*
 * How many collisions of a fault to take for chance, before the locks are taken that
 * keep others out. Those cost everybody who uses the mm; a collision costs a walk of at
 * most 2 MiB.
 */
#define HMM_FAULT_COLLISIONS_MAX	8

/**
 * struct hmm_call - a call of hmm_mirror_fault() that is under way
 * @node: in mirror->calls; under mirror->range_lock
 * @task: the task that has called
 * @start: first address of the call
 * @end: end address, exclusive
 * @job: of the caller, or NULL
 * @may_write: pages are requested for writing only where the VMA may be written
 * @error: 0, or the errno that the call has to end with: -ECANCELED or -ESRCH. Written
 *	under mirror->range_lock, at most once. Reads without the lock only make the call
 *	end early, the read that counts is that of hmm_call_end()
 */
struct hmm_call {
	struct list_head node;
	struct task_struct *task;
	unsigned long start;
	unsigned long end;
	struct hmm_job *job;
	bool may_write;
	int error;
};

int hmm_call_begin(struct hmm_mirror *mirror, struct hmm_call *call);
int hmm_call_end(struct hmm_mirror *mirror, struct hmm_call *call);
void hmm_mirror_set_dying(struct hmm_mirror *mirror);

/*
 * A task that is killed must not fill more memory first. Neither must one that fills the
 * memory of another process which is killed: a worker gets no signal then, and that memory
 * is freed only when it has stopped.
 */
static inline bool hmm_mm_is_remote(const struct mm_struct *mm)
{
	return current->mm != mm || current->flags & PF_KTHREAD;
}

static inline bool hmm_mm_is_killed(struct mm_struct *mm)
{
	return fatal_signal_pending(current) || (hmm_mm_is_remote(mm) && mm_is_dying(mm));
}

/* What was read of the range from @start to @end counts from now on. */
static inline void hmm_range_saw(struct hmm_range *range, unsigned long start,
				 unsigned long end)
{
	range->seen_start = range->seen_end ? min(range->seen_start, start) : start;
	range->seen_end = max(range->seen_end, end);
}

/*
 * Does an entry let the device do what @flags of &enum hmm_fault_flags say? Private memory
 * of the device itself is as good as exclusive.
 */
static inline bool hmm_pte_serves(hmm_pte_t pte, unsigned int flags)
{
	if (flags & HMM_FAULT_EXCLUSIVE && !hmm_pte_exclusive(pte) && !hmm_pte_unaddressable(pte))
		return false;
	return hmm_pte_write(pte) || !(flags & (HMM_FAULT_WRITE | HMM_FAULT_EXCLUSIVE));
}

void hmm_access_init(struct hmm_mirror *mirror);
bool hmm_access_is_under_way(struct hmm_mirror *mirror, unsigned long start,
			     unsigned long last, bool write);
void hmm_access_wait(struct hmm_mirror *mirror, unsigned long start, unsigned long last,
		     bool write);
bool hmm_access_is_allowed(struct hmm_mirror *mirror, unsigned long addr, bool write);
int hmm_access_wait_allowed(struct hmm_mirror *mirror, unsigned long addr, bool write);
long hmm_access_hold(struct hmm_access *access, struct hmm_mirror *mirror,
		     unsigned long start, unsigned long end, unsigned int flags);
bool hmm_fault_bad_flags(const struct hmm_mirror *mirror, unsigned int flags);

struct folio *hmm_resident_folio(struct mm_struct *mm, unsigned long addr);
bool hmm_fault_needs_no_io(struct vm_area_struct *vma, unsigned long addr, bool write,
			   struct folio **folio);

int hmm_range_fault_locked(struct hmm_range *range);
int hmm_range_fault_entries(struct hmm_range *range, enum hmm_mirror_count *path);

bool hmm_mirror_get(struct hmm_mirror *mirror);
void hmm_mirror_put(struct hmm_mirror *mirror);
bool hmm_mirror_bad_range(const struct hmm_mirror *mirror, unsigned long start,
			  unsigned long end);
bool hmm_mirror_invalidate(struct hmm_mirror *mirror, struct hmm_update *update);
int hmm_range_begin_alive(struct hmm_range *range);
int hmm_range_renew(struct hmm_range *range);
void hmm_range_end_alive(struct hmm_range *range);

/*
 * Pages that are taken at once, for the exclusive use of a device. Few enough that the
 * CPU, and whoever waits for mmap_lock or the lock of a folio, does not wait for long.
 */
#define HMM_EXCLUSIVE_MAX	64

/**
 * struct hmm_exclusive - pages that the CPU cannot get back before they are let go
 * @mm: the address space that they are of; mmap_lock is held
 * @locked: by the caller, for writing; else it was taken for reading
 * @pages: locked, with a reference each; NULL: another one that was not got
 * @count: of these
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
int hmm_exclusive_take(struct hmm_exclusive *taken, struct hmm_range *range,
		       unsigned long start, unsigned long *end, bool locked);
void hmm_exclusive_let_go(struct hmm_exclusive *taken);
#else
static inline int hmm_exclusive_take(struct hmm_exclusive *taken, struct hmm_range *range,
				     unsigned long start, unsigned long *end,
				     bool locked)
{
	return -EOPNOTSUPP;
}

static inline void hmm_exclusive_let_go(struct hmm_exclusive *taken)
{
}
#endif

void hmm_stats_add(struct hmm_mirror *mirror);
void hmm_stats_remove(struct hmm_mirror *mirror);

#if IS_ENABLED(CONFIG_KUNIT)
struct page *hmm_pt_alloc_table(struct hmm_pt *pt, unsigned int level);
unsigned long hmm_dma_granule(struct device *dev);
#endif

#endif /* _MM_HMM_INTERNAL_H */
