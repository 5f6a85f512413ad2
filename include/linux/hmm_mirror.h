/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * HMM mirror: a device uses the address space of a process, at the virtual addresses of the
 * process and without pinning memory.
 *
 * The mirror page table holds the pages that the device may access, and records which of them
 * it has written. hmm_mirror_fault() fills it from the CPU page table, which it reads with the
 * range walker (linux/hmm.h). Before a CPU page table entry changes, MMU notifiers remove its
 * copy from the mirror page table and from the device.
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
 * The mirror page table: the pages that a device may access, their DMA addresses, and which of
 * them it has written. To read it, hold the lock of its mirror for reading or writing.
 *
 * A 32-bit kernel has neither device memory nor exclusive access: the flags for them are 0.
 */
#define HMM_PTE_DIRTY_BIT	(BITS_PER_LONG - 3)

/**
 * enum hmm_pte_flags - flags of an entry of the mirror page table
 * @HMM_PTE_VALID: the entry holds a pfn, and the device may read the page
 * @HMM_PTE_WRITE: the device may also write the page
 * @HMM_PTE_DIRTY: the page is marked as written by the device, see hmm_mirror_range_dirty()
 * @HMM_PTE_ORDER_SHIFT: position of the block order, see hmm_pte_order()
 * @HMM_PTE_DEVICE: the page is device memory (ZONE_DEVICE)
 * @HMM_PTE_UNADDRESSABLE: neither the CPU nor another device by DMA can access the page
 * @HMM_PTE_EXCLUSIVE: the CPU cannot access the page while this flag is set. It is set only
 *	together with %HMM_PTE_WRITE, and cleared together with it
 * @HMM_PTE_FLAGS: all bits of an entry that do not belong to the pfn
 *
 * Flags that the range walker also reports have the same values as in &enum hmm_pfn_flags, so
 * that a mask turns an output entry of the walker into an entry of the mirror page table.
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
 * typedef hmm_pte_t - an entry, as read from the mirror page table
 *
 * It is valid as long as the lock under which it was read is held.
 */
typedef struct {
	/* private: use hmm_pte_pfn(), hmm_pte_dma() and the other accessors */
	unsigned long pfn;
	dma_addr_t dma;
} hmm_pte_t;

/**
 * hmm_pte_valid() - may the device access this page?
 * @pte: entry
 *
 * Context: Any.
 * Return: true if it may. If false, no page is mirrored at this address, and the rest of @pte
 * has no meaning.
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
 * Return: true if it may.
 */
static inline bool hmm_pte_write(hmm_pte_t pte)
{
	return pte.pfn & HMM_PTE_WRITE;
}

/**
 * hmm_pte_dirty() - is this page marked as written by the device?
 * @pte: entry
 *
 * Context: Any.
 * Return: true if it was marked since the device got permission to write it.
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
 * Return: true for a page in ZONE_DEVICE. Its struct page can be freed while the page is
 * mirrored, see hmm_pte_page().
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
 * Return: true if neither the CPU nor another device can access the page at its present place.
 */
static inline bool hmm_pte_unaddressable(hmm_pte_t pte)
{
	return pte.pfn & HMM_PTE_UNADDRESSABLE;
}

/**
 * hmm_pte_exclusive() - does this mirror have exclusive access to the page?
 * @pte: entry
 *
 * Private memory of the device is never exclusive, see %HMM_FAULT_EXCLUSIVE.
 *
 * Context: Any.
 * Return: true if neither the CPU nor another mirror can access the page.
 */
static inline bool hmm_pte_exclusive(hmm_pte_t pte)
{
	return pte.pfn & HMM_PTE_EXCLUSIVE;
}

/**
 * hmm_pte_order() - the size of the block that contains this page
 * @pte: valid entry
 *
 * A block is naturally aligned, both in the address space and in memory. It is mirrored and
 * invalidated as a whole. Of its flags, only hmm_pte_dirty() can differ between its pages.
 *
 * Context: Any.
 * Return: log2 of the size in pages.
 */
static inline unsigned int hmm_pte_order(hmm_pte_t pte)
{
	return (pte.pfn >> HMM_PTE_ORDER_SHIFT) & 0x1f;
}

/**
 * hmm_pte_pfn() - the page frame number of a valid entry
 * @pte: valid entry
 *
 * Context: Any.
 * Return: The page frame number.
 */
static inline unsigned long hmm_pte_pfn(hmm_pte_t pte)
{
	return pte.pfn & ~HMM_PTE_FLAGS;
}

/**
 * hmm_pte_page() - the page of a valid entry
 * @pte: valid entry
 *
 * The struct page of a hmm_pte_device() entry may have been freed: get a reference on its
 * pagemap (get_dev_pagemap()) before you access it.
 *
 * Context: Under the lock of the mirror, because an entry holds no reference on its page.
 * Return: The page.
 */
static inline struct page *hmm_pte_page(hmm_pte_t pte)
{
	return pfn_to_page(hmm_pte_pfn(pte));
}

/**
 * hmm_pte_dma() - the DMA address of a valid entry
 * @pte: valid entry
 *
 * Context: Any.
 * Return: The DMA address of the page. %DMA_MAPPING_ERROR if it has none, because the mirror
 * has no &hmm_mirror.dma_dev or the page is private memory of a device.
 */
static inline dma_addr_t hmm_pte_dma(hmm_pte_t pte)
{
	return pte.dma;
}

/* Maximum number of levels: pte, pmd, pud, p4d, pgd */
#define HMM_PT_LEVELS	5

/* private: how an address selects a slot; precomputed, because every walk uses it */
struct hmm_pt_level {
	unsigned int		mask;
	unsigned char		shift;
	unsigned char		group_shift;
};

/* private: the zero page or huge zero page, which is mapped only once; map is 0 if unmapped */
struct hmm_pt_zero {
	dma_addr_t		map;
	unsigned long		pfn;
};

/**
 * struct hmm_pt - the mirror page table
 * @lock: the lock of its mirror
 * @dma_dev: the device whose DMA addresses the entries have, or NULL
 */
struct hmm_pt {
	struct rw_semaphore	*lock;
	struct device		*dma_dev;
	/* private: */
	struct page		*root;
	atomic_long_t		bytes;
	struct mutex		zero_lock;	/* zero and huge_zero */
	struct hmm_pt_zero	zero;
	struct hmm_pt_zero	huge_zero;
	spinlock_t		change_lock;	/* innermost; for readers without @lock */
	unsigned long		change_start;	/* change_lock: first address that changes */
	unsigned long		change_last;	/* change_lock: last address that changes */
	bool			changing;	/* change_lock: is a change in progress? */
	unsigned int		top;
	struct hmm_pt_level	level[HMM_PT_LEVELS];
};

/**
 * struct hmm_pt_iter - a run of contiguous, equal entries
 * @addr: first address of the run
 * @end: end address of the run, exclusive; at most the end of the iterated range
 * @pte: entry of the first page
 */
struct hmm_pt_iter {
	unsigned long		addr;
	unsigned long		end;
	hmm_pte_t		pte;
	/* private: position of the next run */
	struct hmm_pt		*pt;
	unsigned long		limit;
	struct page		*page;
	const unsigned long	*slot;
	const unsigned long	*stop;
	/* slots before this one are ptes without DMA, and have a next slot */
	const unsigned long	*pages;
	const struct hmm_pt_level *level;
};

bool hmm_pt_next_run(struct hmm_pt_iter *iter);
void hmm_pte_set_dirty(struct hmm_pt_iter *iter);

/**
 * hmm_pt_first() - start to iterate over a range
 * @iter: iterator to initialize
 * @pt: mirror page table
 * @start: first address, page aligned
 * @end: end address, exclusive, page aligned
 *
 * For hmm_pt_for_each().
 *
 * Context: Any. Only hmm_pt_next() needs the lock of the mirror.
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
 * hmm_pt_next() - find the next run of contiguous, equal entries
 * @iter: iterator, set up by hmm_pt_first(); out: the run
 *
 * For hmm_pt_for_each(). Where memory is fragmented, so that each page is a run, this is
 * inline.
 *
 * Context: Under the lock of the mirror, held since the first run. Does not sleep.
 * Return: true, or false if there is no further run.
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
 * hmm_pt_for_each() - iterate over the runs of contiguous, equal entries of a range
 * @iter: &struct hmm_pt_iter to use
 * @mirror: &struct hmm_mirror
 * @start: first address, page aligned
 * @end: end address, exclusive, page aligned
 *
 * Addresses where no page is mirrored are skipped. A run is as long as possible: it can consist
 * of many blocks, if they have the same order. Its DMA addresses are contiguous, too.
 *
 * Context: Under the lock of the mirror, from the first run to the last.
 */
#define hmm_pt_for_each(iter, mirror, start, end)			\
	for (hmm_pt_first(iter, &(mirror)->pt, start, end); hmm_pt_next(iter); )

/**
 * struct hmm_job - handle to cancel the faults of a driver's job
 *
 * The driver embeds it in its object for a queue, a context or a job of the device, and calls
 * hmm_job_init(). It belongs to one mirror.
 */
struct hmm_job {
	/* private: */
	bool cancelled;		/* mirror->range_lock; never cleared */
};

/**
 * hmm_job_init() - initialize a job
 * @job: job
 *
 * Context: Any. No fault of @job may be under way.
 */
static inline void hmm_job_init(struct hmm_job *job)
{
	job->cancelled = false;
}

/**
 * enum hmm_update_event - why the device page table has to be updated
 * @HMM_UPDATE_NONE: never delivered; the value in a zeroed struct
 * @HMM_UPDATE_MUNMAP: make device PTEs invalid, and report the pages that the device has
 *	written, see hmm_mirror_range_dirty(). The mapping is likely to be removed: this is a
 *	hint that device page tables of the range can be freed
 * @HMM_UPDATE_MIGRATE: as %HMM_UPDATE_MUNMAP, but the mapping stays. It gets other pages, or
 *	the CPU gets pages back that the device had exclusively (%HMM_FAULT_EXCLUSIVE)
 * @HMM_UPDATE_WRITE_PROTECT: make device PTEs read-only, and report the pages that the device
 *	has written. The pages stay
 * @HMM_UPDATE_FORK: as %HMM_UPDATE_WRITE_PROTECT, because of fork()
 * @HMM_UPDATE_ISDIRTY: as %HMM_UPDATE_WRITE_PROTECT, because writes are tracked from now on
 *	(soft-dirty)
 * @HMM_UPDATE_DEVICE_RFAULT: read the mirror page table with hmm_pt_for_each(), and write all
 *	device PTEs of the range: a DMA address can change although its page does not. The
 *	fault was for reading
 * @HMM_UPDATE_DEVICE_WFAULT: as %HMM_UPDATE_DEVICE_RFAULT. The fault was for writing or for
 *	exclusive access, see hmm_pte_exclusive()
 *
 * All but the last two are invalidations. When the driver returns 0 from an invalidation, the
 * device must no longer access the range, or no longer write it if PTEs become read-only:
 * device TLBs are flushed, and accesses under way have ended. When the driver returns 0 from
 * one of the last two, the device must no longer use old PTEs of the range: TLB entries of
 * changed PTEs are flushed.
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
 * @end: end address, exclusive, page aligned
 * @event: the event
 * @blockable: whether the driver may sleep
 * @job: for %HMM_UPDATE_DEVICE_RFAULT and %HMM_UPDATE_DEVICE_WFAULT, the job of the fault, see
 *	hmm_mirror_fault_job(), or NULL; NULL for invalidations
 *
 * The range can be larger than the change, because a block is invalidated as a whole.
 */
struct hmm_update {
	unsigned long		start;
	unsigned long		end;
	enum hmm_update_event	event;
	bool			blockable;
	struct hmm_job		*job;
};

/**
 * struct hmm_mirror_ops - callbacks of the driver
 */
struct hmm_mirror_ops {
	/**
	 * @sync_cpu_device_pagetables: update the device page table.
	 *
	 * Called with &hmm_mirror.lock held: for writing if the event is an invalidation, for
	 * reading otherwise. Migrations that the driver starts itself are also delivered, from
	 * within migrate_vma_setup(). The callback must not take mmap_lock, access user
	 * memory, allocate memory in a way that may reclaim, or wait for a fault, for an
	 * invalidation or for an access of any range (hmm_access_begin()). The only HMM
	 * functions that it may call are those that read the mirror page table,
	 * hmm_mirror_range_dirty(), hmm_pte_set_dirty(), and those whose description allows it.
	 *
	 * For an invalidation it returns 0, or -EAGAIN if &hmm_update.blockable is false and it
	 * would have to sleep. After -EAGAIN the device may continue its accesses, and the
	 * invalidating thread tries again later or gives up. For %HMM_UPDATE_DEVICE_RFAULT and
	 * %HMM_UPDATE_DEVICE_WFAULT it returns 0 or an errno other than -EAGAIN. After an error
	 * HMM invalidates the range by %HMM_UPDATE_MIGRATE, and the fault ends there:
	 * hmm_mirror_fault() returns the errno if no page was mirrored before.
	 *
	 * NULL if the device has no page table. It may then access pages only between
	 * hmm_access_begin() and hmm_access_end(), or while &hmm_mirror.lock is held.
	 */
	int (*sync_cpu_device_pagetables)(struct hmm_mirror *mirror,
					  const struct hmm_update *update);
	/**
	 * @release: the mirror ends.
	 *
	 * Called once, with no lock held, when the mm dies or the mirror is unregistered,
	 * whichever comes first. All accesses have ended, everything has been invalidated, and
	 * no other callback follows. Faults under way have been cancelled and end with -ESRCH,
	 * so that this function may wait for them. It may sleep, but it must not unregister a
	 * mirror of the mm, or wait for a task that does. May be NULL.
	 */
	void (*release)(struct hmm_mirror *mirror);
};

/**
 * enum hmm_mirror_flags - &hmm_mirror.flags
 * @HMM_MIRROR_OWN_TABLES: the driver has its own page tables and uses hmm_range_fault(). It is
 *	called for every invalidation in a window in which a range has begun, see
 *	hmm_range_begin(). It cannot use hmm_mirror_fault()
 */
enum hmm_mirror_flags {
	HMM_MIRROR_OWN_TABLES	= BIT(0),
};

/* private: counters of a mirror, see &struct hmm_mirror_stats */
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
 * struct hmm_mirror_stats - statistics of a mirror since it was registered
 * @faults: calls of hmm_mirror_fault(), and of hmm_access_begin() if it had to fault
 * @pages: pages that these calls have mirrored
 * @collisions: attempts that had to be repeated because an invalidation overlapped the range
 * @vma_lock: chunks of faults that took only the locks of VMAs
 * @mmap_lock: chunks that took mmap_lock for reading
 * @slow_path: chunks that took mmap_lock for writing, to exclude other threads
 * @callbacks: invalidations for which the driver was called
 * @callbacks_skipped: invalidations in a window of the mirror for which the driver was not
 *	called, because the range had no entry to remove or to write-protect
 * @refused: non-blocking invalidations that were refused: by the driver, because the lock of
 *	the mirror was held, or because an access was under way
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
 * struct hmm_mirror - the address space of a process, mirrored for one device
 * @ops: callbacks of the driver
 * @dma_dev: the device whose DMA addresses the entries of the mirror page table have; NULL:
 *	they have only pfns
 * @dev_private_owner: &dev_pagemap.owner of the device's own memory, or NULL
 * @flags: %HMM_MIRROR_OWN_TABLES or 0
 * @mm: the address space
 * @lock: protects the mirror page table and the device page table. Entries that were read
 *	under it are valid as long as it is held. Do not allocate memory under it in a way that
 *	may reclaim
 *
 * The driver embeds it in an object of its own. It sets the first four fields before
 * hmm_mirror_register(), which copies them: a later change has no effect. The objects that @ops
 * and @dma_dev point to must exist until hmm_mirror_unregister() has returned. The other fields
 * belong to HMM.
 *
 * Each mirror has its own page table, because devices differ. Each has its own DMA addresses.
 * Permissions differ, as when one device has a page exclusively, or writes a page that another
 * reads. And a device is not disturbed by an invalidation of pages that it does not mirror.
 */
struct hmm_mirror {
	const struct hmm_mirror_ops	*ops;
	struct device			*dma_dev;
	void				*dev_private_owner;
	unsigned int			flags;
	struct mm_struct		*mm;
	struct rw_semaphore		lock;
	/* private: copies of the driver's fields, made by hmm_mirror_register() */
	struct {
		const struct hmm_mirror_ops	*ops;
		void				*owner;
		bool				own_tables;
	} reg;
	struct hmm_pt			pt;		/* lock */
	bool				dying;		/* range_lock; never cleared */
	bool				dead;		/* lock; never cleared */
	struct hmm_inside		inside;		/* lock, for writing; none if @dead */
	spinlock_t			range_lock;
	struct list_head		ranges;		/* range_lock */
	struct list_head		calls;		/* range_lock; faults under way */
	spinlock_t			access_lock;
	struct rb_root_cached		accesses[2];	/* access_lock; reads, writes */
	struct list_head		barriers;	/* access_lock; no access begins in these */
	wait_queue_head_t		access_wait;	/* for the end of accesses, barriers */
	refcount_t			users;
	struct mutex			window_mutex;	/* serializes insertion of windows */
	struct xarray			windows;	/* xa_lock */
	struct mmu_interval_notifier	sentinel;
	struct delayed_work		gc;
	struct dentry			*debugfs;
	atomic_long_t			counts[NR_HMM_COUNTS];
};

/**
 * enum hmm_fault_flags - requests to hmm_mirror_fault()
 * @HMM_FAULT_READ: the device reads
 * @HMM_FAULT_WRITE: the device writes, and may also read
 * @HMM_FAULT_MAY_WRITE: the device writes where the process may write, and reads elsewhere: a
 *	page is mirrored for writing if its VMA is writable
 * @HMM_FAULT_PRESENT: fault in no page; skip pages that the CPU does not map
 * @HMM_FAULT_EXCLUSIVE: the device gets exclusive access for reading and writing until the CPU
 *	touches the pages. This is for atomic operations of the device that are not atomic with
 *	respect to the CPU. Private memory of the device is mirrored as for %HMM_FAULT_WRITE
 *	instead: the CPU cannot access it, and other mirrors of the same device can
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
 * The driver embeds it in an object of its own and need not set any field. It belongs to HMM
 * from the time that hmm_access_begin() or hmm_access_try() returns a number of pages greater
 * than 0, until hmm_access_end().
 */
struct hmm_access {
	/* private: constant while the access is under way */
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

/* Needs CONFIG_DEVICE_PRIVATE: a driver that calls this function selects it. */
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
 * hmm_mirror_fault() - serve a device fault or prefetch that has no job
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
