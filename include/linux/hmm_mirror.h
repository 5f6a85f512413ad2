/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * HMM mirror: lets a device use the address space of a process, at the CPU's virtual
 * addresses and without pinning memory.
 *
 * The mirror page table holds what the device may access and what it has written.
 * hmm_mirror_fault() fills it from the CPU page table by means of the range walker
 * (linux/hmm.h). Before a CPU page table entry changes, MMU notifiers remove the copy from
 * the mirror page table and from the device.
 */
#ifndef _LINUX_HMM_MIRROR_H
#define _LINUX_HMM_MIRROR_H

#include <linux/dma-mapping.h>
#include <linux/hmm.h>
#include <linux/interval_tree.h>
#include <linux/lockdep.h>
#include <linux/list.h>
#include <linux/mmu_notifier.h>
#include <linux/mutex.h>
#include <linux/refcount.h>
#include <linux/rwsem.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

struct dentry;
struct dev_pagemap;
struct device;

/*
 * The mirror page table: what a device may access, at which address, and what it
 * has written. It is read with the lock of its mirror held, for reading or writing.
 *
 * On 32-bit there is no memory of devices, nor room for its flags: they are 0.
 */
#define HMM_PTE_DIRTY_BIT	(BITS_PER_LONG - 3)

/**
 * enum hmm_pte_flags - flags of an entry of the mirror page table
 * @HMM_PTE_VALID: the entry holds a pfn, and the device may read the page
 * @HMM_PTE_WRITE: the device may write it, too
 * @HMM_PTE_DIRTY: the device has written it
 * @HMM_PTE_ORDER_SHIFT: position of the order, see hmm_pte_order()
 * @HMM_PTE_DEVICE: the page is device memory (ZONE_DEVICE)
 * @HMM_PTE_UNADDRESSABLE: the CPU cannot access it, nor can other devices by DMA
 * @HMM_PTE_EXCLUSIVE: the CPU may not access the page for as long as this holds; only
 *	with %HMM_PTE_WRITE, and gone together with that
 * @HMM_PTE_FLAGS: every bit of an entry that does not belong to the pfn
 *
 * What a walk of the CPU page table reports as well is where it has it in
 * &enum hmm_pfn_flags, so that an entry is made of its result by a mask.
 */
enum hmm_pte_flags {
	HMM_PTE_VALID		= HMM_PFN_VALID,
	HMM_PTE_WRITE		= HMM_PFN_WRITE,
	HMM_PTE_DIRTY		= 1UL << HMM_PTE_DIRTY_BIT,
	HMM_PTE_ORDER_SHIFT	= HMM_PFN_ORDER_SHIFT,
	HMM_PTE_DEVICE		= HMM_PFN_DEVICE,
	HMM_PTE_UNADDRESSABLE	= HMM_PFN_UNADDRESSABLE,
	HMM_PTE_EXCLUSIVE	= HMM_PFN_ATTR(7),
	HMM_PTE_FLAGS		= HMM_PFN_FLAGS,
};

/**
 * typedef hmm_pte_t - an entry of the mirror page table, as it was read
 *
 * It is true for as long as the lock is held under which it was read.
 */
typedef struct {
	/* private: see hmm_pte_pfn(), hmm_pte_dma() and those beside them */
	unsigned long pfn;
	dma_addr_t dma;
} hmm_pte_t;

/**
 * hmm_pte_valid() - may the device access this page?
 * @pte: entry
 *
 * Context: Any.
 * Return: false if nothing is mirrored here, and nothing else of @pte counts.
 */
static inline bool hmm_pte_valid(hmm_pte_t pte)
{
	return pte.pfn & HMM_PTE_VALID;
}

/**
 * hmm_pte_write() - may the device write this page?
 * @pte: entry
 *
 * Context: Any.
 * Return: whether it may.
 */
static inline bool hmm_pte_write(hmm_pte_t pte)
{
	return pte.pfn & HMM_PTE_WRITE;
}

/**
 * hmm_pte_dirty() - has the device been said to have written this page?
 * @pte: entry
 *
 * Context: Any.
 * Return: true if so, since the device may write it.
 */
static inline bool hmm_pte_dirty(hmm_pte_t pte)
{
	return pte.pfn & HMM_PTE_DIRTY;
}

/**
 * hmm_pte_device() - is this page device memory?
 * @pte: entry
 *
 * Context: Any.
 * Return: true for a page of ZONE_DEVICE, whose struct page can go while it is
 * mirrored.
 */
static inline bool hmm_pte_device(hmm_pte_t pte)
{
	return pte.pfn & HMM_PTE_DEVICE;
}

/**
 * hmm_pte_unaddressable() - is this page private memory of the device?
 * @pte: entry
 *
 * Context: Any.
 * Return: true if neither the CPU nor another device can access the page where it is.
 */
static inline bool hmm_pte_unaddressable(hmm_pte_t pte)
{
	return pte.pfn & HMM_PTE_UNADDRESSABLE;
}

/**
 * hmm_pte_exclusive() - is this page kept from the CPU and from all other mirrors?
 * @pte: entry
 *
 * Private memory of the device never is: see %HMM_FAULT_EXCLUSIVE.
 *
 * Context: Any.
 * Return: true if only this mirror can access it.
 */
static inline bool hmm_pte_exclusive(hmm_pte_t pte)
{
	return pte.pfn & HMM_PTE_EXCLUSIVE;
}

/**
 * hmm_pte_order() - the size of the block that this page is mirrored in
 * @pte: valid entry
 *
 * The block is naturally aligned, in the address space and in memory, and comes
 * and goes as a whole. Its pages can differ in nothing but hmm_pte_dirty().
 *
 * Context: Any.
 * Return: log2 of the size in pages.
 */
static inline unsigned int hmm_pte_order(hmm_pte_t pte)
{
	return (pte.pfn >> HMM_PTE_ORDER_SHIFT) & 0x1f;
}

/**
 * hmm_pte_pfn() - the page frame number behind a valid entry
 * @pte: valid entry
 *
 * Context: Any.
 * Return: The number.
 */
static inline unsigned long hmm_pte_pfn(hmm_pte_t pte)
{
	return pte.pfn & ~HMM_PTE_FLAGS;
}

/**
 * hmm_pte_page() - the page behind a valid entry
 * @pte: valid entry
 *
 * The struct page of an entry that is hmm_pte_device() may be gone: pin its
 * pagemap before looking at it.
 *
 * Context: Under the lock of the mirror, because no reference is held.
 * Return: The page.
 */
static inline struct page *hmm_pte_page(hmm_pte_t pte)
{
	return pfn_to_page(hmm_pte_pfn(pte));
}

/**
 * hmm_pte_dma() - where the device finds the page behind a valid entry
 * @pte: valid entry
 *
 * Context: Any.
 * Return: The address for DMA; %DMA_MAPPING_ERROR if the page has none, because the
 * mirror has no &hmm_mirror.dma_dev, or because it is private memory of a device.
 */
static inline dma_addr_t hmm_pte_dma(hmm_pte_t pte)
{
	return pte.dma;
}

/* Levels of the page table at most: pte, pmd, pud, p4d, pgd */
#define HMM_PT_LEVELS	5

/* private: how an address selects a slot: kept, because it is what operations cost */
struct hmm_pt_level {
	unsigned int		mask;
	unsigned char		shift;
	unsigned char		group_shift;
};

/* private: the zero page, or the huge one, which is mapped once; map is 0 if it is not */
struct hmm_pt_zero {
	dma_addr_t		map;
	unsigned long		pfn;
};

/**
 * struct hmm_pt - the mirror page table
 * @lock: the lock of its mirror
 * @dma_dev: the device that entries have DMA addresses for, or NULL
 */
struct hmm_pt {
	struct rw_semaphore	*lock;
	struct device		*dma_dev;
	/* private: */
	struct page		*root;
	atomic_long_t		bytes;
	struct mutex		zero_lock;	/* of the next two, until they are mapped */
	struct hmm_pt_zero	zero;
	struct hmm_pt_zero	huge_zero;
	spinlock_t		change_lock;	/* innermost, for a look without @lock */
	unsigned long		change_start;	/* change_lock: what is being changed, */
	unsigned long		change_last;	/* the last address of that */
	bool			changing;	/* change_lock: is anything? */
	unsigned int		top;
	struct hmm_pt_level	level[HMM_PT_LEVELS];
};

/**
 * struct hmm_pt_iter - a run of equal, contiguous entries
 * @addr: where it begins
 * @end: where it ends; cut to the range that is looked at
 * @pte: the entry of its first page
 */
struct hmm_pt_iter {
	unsigned long		addr;
	unsigned long		end;
	hmm_pte_t		pte;
	/* private: where to go on */
	struct hmm_pt		*pt;
	unsigned long		limit;
	struct page		*page;
	const unsigned long	*slot;
	const unsigned long	*stop;
	/* slots below this one are of pages without DMA, and another is behind them */
	const unsigned long	*pages;
	const struct hmm_pt_level *level;
};

bool hmm_pt_next_run(struct hmm_pt_iter *iter);
void hmm_pte_set_dirty(struct hmm_pt_iter *iter);

/**
 * hmm_pt_first() - begin to look at a range
 * @iter: to be filled in
 * @pt: mirror page table
 * @start: first address, page aligned
 * @end: first address behind the range, page aligned
 *
 * For hmm_pt_for_each().
 *
 * Context: Any. What hmm_pt_next() needs is needed only then.
 */
static inline void hmm_pt_first(struct hmm_pt_iter *iter, struct hmm_pt *pt,
				unsigned long start, unsigned long end)
{
	iter->pt = pt;
	iter->end = start;
	iter->limit = end;
	iter->slot = NULL;
	iter->stop = NULL;
	iter->pages = NULL;
	iter->pte.dma = DMA_MAPPING_ERROR;
}

/**
 * hmm_pt_next() - the next run of equal, contiguous entries
 * @iter: what hmm_pt_first(), or this function, has left; out: the run
 *
 * For hmm_pt_for_each(). Pages that are scattered over memory, each a run of its own,
 * are told without a call.
 *
 * Context: Under the lock of the mirror, since the first run. Does not sleep.
 * Return: false if there is none any more.
 */
static inline bool hmm_pt_next(struct hmm_pt_iter *iter)
{
	const unsigned long *slot = iter->slot;

	lockdep_assert_held(iter->pt->lock);
	if (slot < iter->pages) {
		unsigned long word = READ_ONCE(slot[0]);

		if (word & HMM_PTE_VALID && READ_ONCE(slot[1]) != word + 1) {
			iter->slot = slot + 1;
			iter->addr = iter->end;
			iter->end += PAGE_SIZE;
			iter->pte.pfn = word;
			return true;
		}
	}
	return hmm_pt_next_run(iter);
}

/**
 * hmm_pt_for_each() - look at each run of equal, contiguous entries of a range
 * @iter: &struct hmm_pt_iter to use
 * @mirror: &struct hmm_mirror
 * @start: first address, page aligned
 * @end: first address behind the range, page aligned
 *
 * Nothing is said of addresses where nothing is mirrored. Runs are as long as can
 * be, whatever the sizes of the blocks in them are, if those are equal. Their DMA
 * addresses are contiguous, too.
 *
 * Context: Under the lock of the mirror, from the first run to the last.
 */
#define hmm_pt_for_each(iter, mirror, start, end)			\
	for (hmm_pt_first(iter, &(mirror)->pt, start, end); hmm_pt_next(iter); )

/**
 * struct hmm_job - something of a driver's that faults, and can be cancelled
 *
 * It is embedded in what the driver has for a queue, a context or a job of its device.
 * hmm_job_init() initialises it. It belongs to one mirror.
 */
struct hmm_job {
	/* private: */
	bool cancelled;		/* mirror->range_lock; once true it stays so */
};

/**
 * hmm_job_init() - initialise a job
 * @job: job
 *
 * Context: Any. No fault of @job is under way.
 */
static inline void hmm_job_init(struct hmm_job *job)
{
	job->cancelled = false;
}

/**
 * enum hmm_update_event - what a device is told of a range
 * @HMM_UPDATE_NONE: never delivered; what a struct that was not filled in says
 * @HMM_UPDATE_MUNMAP: make device PTEs invalid, after hmm_mirror_range_dirty() for what
 *	they let the device write. The range is going away, so that device page tables
 *	can be freed: a hint, the mapping may stay
 * @HMM_UPDATE_MIGRATE: make device PTEs invalid, after hmm_mirror_range_dirty() for what
 *	they let the device write. The mapping stays and gets other pages, or the CPU gets
 *	back what the device had by %HMM_FAULT_EXCLUSIVE
 * @HMM_UPDATE_WRITE_PROTECT: make device PTEs read-only, after hmm_mirror_range_dirty()
 *	for what they let the device write. The pages stay
 * @HMM_UPDATE_FORK: as %HMM_UPDATE_WRITE_PROTECT, because of fork()
 * @HMM_UPDATE_ISDIRTY: as %HMM_UPDATE_WRITE_PROTECT, because somebody wants to know what
 *	is written from now on
 * @HMM_UPDATE_DEVICE_RFAULT: read the mirror page table by hmm_pt_for_each(), and write
 *	device PTEs, all of the range: DMA addresses may have changed where pages have
 *	not. It was filled for reading
 * @HMM_UPDATE_DEVICE_WFAULT: the same, for writing; or for exclusive access, to what is
 *	hmm_pte_exclusive()
 *
 * All but the last two are invalidations. When the driver has returned from one the
 * device accesses the range no more, or writes it no more: device TLBs are flushed, and
 * accesses under way are over. When it has returned 0 from one of the last two the
 * device uses nothing that it had for the range before: of PTEs that have changed, TLBs
 * are flushed.
 */
enum hmm_update_event {
	HMM_UPDATE_NONE,
	HMM_UPDATE_MUNMAP,
	HMM_UPDATE_MIGRATE,
	HMM_UPDATE_WRITE_PROTECT,
	HMM_UPDATE_FORK,
	HMM_UPDATE_ISDIRTY,
	HMM_UPDATE_DEVICE_RFAULT,
	HMM_UPDATE_DEVICE_WFAULT,
};

/**
 * struct hmm_update - an event and its range
 * @start: first address, page aligned
 * @end: first address behind the range, page aligned
 * @event: what has happened, or is about to
 * @blockable: whether the driver may sleep
 * @job: for %HMM_UPDATE_DEVICE_RFAULT and %HMM_UPDATE_DEVICE_WFAULT, the job of the
 *	fault, see hmm_mirror_fault_job(), or NULL; NULL for invalidations
 *
 * The range may be wider than what changes: what is mirrored as one block goes as one.
 */
struct hmm_update {
	unsigned long		start;
	unsigned long		end;
	enum hmm_update_event	event;
	bool			blockable;
	struct hmm_job		*job;
};

/**
 * struct hmm_mirror_ops - what a driver does for its mirrors
 */
struct hmm_mirror_ops {
	/**
	 * @sync_cpu_device_pagetables: bring the device page table in line.
	 *
	 * Called with &hmm_mirror.lock held, for writing if it is an invalidation and
	 * for reading if not. Must not take mmap_lock, wait for a fault, for an
	 * invalidation, or for an access of any range (hmm_access_begin()), allocate
	 * memory in a way that may reclaim, access user memory, or call
	 * hmm_mirror_unregister(). It is called for migrations that the driver
	 * itself asks for as well, from within migrate_vma_setup(). Of HMM only what
	 * reads the mirror page table may be called, and hmm_mirror_range_dirty() and
	 * hmm_pte_set_dirty().
	 *
	 * For an invalidation it returns 0, or -EAGAIN if not &hmm_update.blockable and
	 * it would have to sleep: then whoever asked tries again later or gives up, and
	 * the device may go on. For %HMM_UPDATE_DEVICE_RFAULT and
	 * %HMM_UPDATE_DEVICE_WFAULT it returns 0 or an errno other than -EAGAIN, which
	 * hmm_mirror_fault() returns after it has had the range invalidated by
	 * %HMM_UPDATE_MIGRATE.
	 *
	 * NULL for a driver whose device has no page table, if what it accesses is under way
	 * (hmm_access_begin()), or &hmm_mirror.lock is held for as long as that takes.
	 */
	int (*sync_cpu_device_pagetables)(struct hmm_mirror *mirror,
					  const struct hmm_update *update);
	/**
	 * @release: the mirror is at its end.
	 *
	 * Called once, without a lock, when the mm dies or the mirror is unregistered,
	 * whichever comes first, after all accesses have ended and everything has been
	 * invalidated. No callback follows. Faults under way have been cancelled and end
	 * with -ESRCH, so that this may wait for them. May sleep, but must not unregister
	 * a mirror of the mm, nor wait for a task that does. May be NULL.
	 */
	void (*release)(struct hmm_mirror *mirror);
};

/**
 * enum hmm_mirror_flags - &hmm_mirror.flags
 * @HMM_MIRROR_OWN_TABLES: the driver has page tables of its own and uses
 *	hmm_range_fault(): it is called for every invalidation in a window where a range
 *	was begun, and hmm_mirror_fault() is not for it
 */
enum hmm_mirror_flags {
	HMM_MIRROR_OWN_TABLES	= BIT(0),
};

/* private: what a mirror counts, see &struct hmm_mirror_stats */
enum hmm_mirror_count {
	HMM_COUNT_FAULTS,
	HMM_COUNT_PAGES,
	HMM_COUNT_COLLISIONS,
	HMM_COUNT_VMA_LOCK,
	HMM_COUNT_MMAP_LOCK,
	HMM_COUNT_SLOW_PATH,
	HMM_COUNT_CALLBACKS,
	HMM_COUNT_SKIPPED,
	HMM_COUNT_REFUSED,
	NR_HMM_COUNTS,
};

/**
 * struct hmm_mirror_stats - what a mirror has done since it was registered
 * @faults: calls of hmm_mirror_fault()
 * @pages: what these have mirrored
 * @collisions: how often they had to begin again because of an invalidation
 * @vma_lock: pieces of faults that took no lock of the mm but those of VMAs
 * @mmap_lock: pieces that took mmap_lock for reading
 * @slow_path: pieces that took it for writing, to keep others out
 * @callbacks: invalidations that the driver was called for
 * @callbacks_skipped: those in a window of the mirror for which it was not, because
 *	nothing of the range was mirrored
 * @refused: invalidations that must not block and were refused: by the driver, or because
 *	the lock of the mirror was held, or an access was under way
 */
struct hmm_mirror_stats {
	unsigned long faults;
	unsigned long pages;
	unsigned long collisions;
	unsigned long vma_lock;
	unsigned long mmap_lock;
	unsigned long slow_path;
	unsigned long callbacks;
	unsigned long callbacks_skipped;
	unsigned long refused;
};

/**
 * struct hmm_mirror - the address space of a process, as one device has it
 * @ops: of the driver
 * @dma_dev: the device that entries of the mirror page table have DMA addresses for;
 *	NULL: they have pfns alone
 * @dev_private_owner: &dev_pagemap.owner of the device's own memory, or NULL
 * @flags: %HMM_MIRROR_OWN_TABLES or 0
 * @mm: the address space
 * @lock: protects the mirror page table, and with it that of the device: what was read
 *	from it is true as long as the lock is held. Memory must not be allocated under
 *	it in a way that may reclaim.
 *
 * It is embedded in an object of the driver. The driver sets the first four fields
 * before hmm_mirror_register(), which copies them: a later change has no effect. What
 * @ops and @dma_dev point to must stay until hmm_mirror_unregister() has returned. The
 * other fields belong to HMM.
 *
 * Each mirror has a page table of its own, because devices differ: in the addresses by
 * which DMA finds a page; in what they may do with it, as when one has it exclusively
 * or writes it while another reads; and in where they look at all, so that none is
 * disturbed for what it does not mirror.
 */
struct hmm_mirror {
	const struct hmm_mirror_ops	*ops;
	struct device			*dma_dev;
	void				*dev_private_owner;
	unsigned int			flags;
	struct mm_struct		*mm;
	struct rw_semaphore		lock;
	/* private: what the driver has set, as of registration */
	struct {
		const struct hmm_mirror_ops	*ops;
		void				*owner;
		bool				own_tables;
	} reg;
	struct hmm_pt			pt;		/* lock */
	bool				dying;		/* range_lock; once true it stays so */
	bool				dead;		/* lock; once true it stays so */
	struct hmm_inside		inside;		/* lock, held for writing; or @dead */
	spinlock_t			range_lock;
	struct list_head		ranges;		/* range_lock */
	struct list_head		calls;		/* range_lock; of hmm_mirror_fault() */
	spinlock_t			access_lock;
	struct rb_root_cached		accesses[2];	/* access_lock; that read, that write */
	struct list_head		barriers;	/* access_lock; where none begins */
	wait_queue_head_t		access_wait;	/* for accesses, and for barriers */
	refcount_t			users;
	struct mutex			window_mutex;	/* who inserts a window */
	struct xarray			windows;	/* its own lock */
	struct mmu_interval_notifier	sentinel;
	struct delayed_work		gc;
	struct dentry			*debugfs;
	atomic_long_t			counts[NR_HMM_COUNTS];
};

/**
 * enum hmm_fault_flags - what hmm_mirror_fault() is to do
 * @HMM_FAULT_READ: the device reads
 * @HMM_FAULT_WRITE: the device writes, and perhaps reads
 * @HMM_FAULT_MAY_WRITE: the device writes where the process may write, and only reads
 *	elsewhere: a page is mirrored for writing if its mapping lets it
 * @HMM_FAULT_PRESENT: no page is faulted in, those that are not there are left out
 * @HMM_FAULT_EXCLUSIVE: the device gets the pages for itself, to read and to write, until
 *	the CPU touches them: for atomic operations that only the device knows to be so.
 *	Its own private memory is mirrored as for %HMM_FAULT_WRITE instead, because the CPU
 *	cannot access that, and other mirrors of the same device can
 */
enum hmm_fault_flags {
	HMM_FAULT_READ		= BIT(0),
	HMM_FAULT_WRITE		= BIT(1),
	HMM_FAULT_PRESENT	= BIT(2),
	HMM_FAULT_EXCLUSIVE	= BIT(3),
	HMM_FAULT_MAY_WRITE	= BIT(4),
};

/**
 * struct hmm_access - an access of a device that is under way
 *
 * It is embedded in an object of the driver, which need not set anything. From
 * hmm_access_begin() or hmm_access_try(), which return a number of pages, to
 * hmm_access_end() it belongs to HMM.
 */
struct hmm_access {
	/* private: constant while it is under way */
	struct hmm_mirror		*mirror;
	struct dev_pagemap		*pgmap;		/* a reference, or NULL */
	bool				write;
	struct interval_tree_node	node;		/* mirror->access_lock */
};

long hmm_access_begin(struct hmm_access *access, struct hmm_mirror *mirror,
		      unsigned long start, unsigned long end, unsigned int flags,
		      struct hmm_job *job);
long hmm_access_try(struct hmm_access *access, struct hmm_mirror *mirror,
		    unsigned long start, unsigned long end, unsigned int flags);
void hmm_access_end(struct hmm_access *access);

int hmm_range_begin(struct hmm_range *range);
bool hmm_range_retry(struct hmm_range *range);
void hmm_range_end(struct hmm_range *range);

/* Only with CONFIG_DEVICE_PRIVATE, which a driver that calls this selects */
int hmm_range_make_exclusive(struct hmm_range *range, unsigned long start,
			     unsigned long end, struct page **pages);

int hmm_mirror_check_device(struct device *dev);
int hmm_mirror_register(struct hmm_mirror *mirror, struct mm_struct *mm);
void hmm_mirror_unregister(struct hmm_mirror *mirror);
int hmm_mirror_zap(struct hmm_mirror *mirror, unsigned long start, unsigned long end);
long hmm_mirror_fault_job(struct hmm_mirror *mirror, unsigned long start, unsigned long end,
			  unsigned int flags, struct hmm_job *job);
unsigned int hmm_mirror_cancel_job(struct hmm_mirror *mirror, struct hmm_job *job);
unsigned int hmm_mirror_cancel_range(struct hmm_mirror *mirror, unsigned long start,
				     unsigned long end);
void hmm_mirror_range_dirty(struct hmm_mirror *mirror, unsigned long start,
			    unsigned long end);
hmm_pte_t hmm_pt_lookup(struct hmm_mirror *mirror, unsigned long addr, unsigned int *order);
void hmm_mirror_get_stats(struct hmm_mirror *mirror, struct hmm_mirror_stats *stats);

/**
 * hmm_mirror_fault() - serve a device fault, or prefetch, of no job
 * @mirror: mirror without %HMM_MIRROR_OWN_TABLES
 * @start: first address, page aligned
 * @end: end address, exclusive, page aligned
 * @flags: see &enum hmm_fault_flags
 *
 * Context: As for hmm_mirror_fault_job().
 * Return: As for hmm_mirror_fault_job().
 */
static inline long hmm_mirror_fault(struct hmm_mirror *mirror, unsigned long start,
				    unsigned long end, unsigned int flags)
{
	return hmm_mirror_fault_job(mirror, start, end, flags, NULL);
}

#endif /* _LINUX_HMM_MIRROR_H */
