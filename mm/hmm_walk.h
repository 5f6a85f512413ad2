/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * HMM range walker, internal interface: hmm.c walks the levels, hmm_walk_pte.c scans a pte
 * table, hmm_walk_fault.c takes CPU faults, hmm_resident.c detects faults that need I/O.
 * mm/hmm.c has the protocol.
 */
#ifndef _MM_HMM_WALK_H
#define _MM_HMM_WALK_H

#include <linux/memremap.h>
#include <linux/shmem_fs.h>
#include <linux/swap.h>
#include <linux/swapops.h>

#include "hmm_range.h"

/* Attributes: hmm_range_fault() does not report them. */
#define HMM_PFN_ATTRIBUTES	(HMM_PFN_READ | HMM_PFN_EMPTY |		\
				 HMM_PFN_SPECIAL | HMM_PFN_DEVICE |	\
				 HMM_PFN_UNADDRESSABLE |		\
				 HMM_PFN_DIRTY | HMM_PFN_YOUNG)

/* The entry of memory that no device may access: a fault would not help. */
#define HMM_PFN_REFUSED		(HMM_PFN_ERROR | HMM_PFN_SPECIAL)

/*
 * Number of consecutive faults that may succeed at one address without meeting
 * the request. Some faults must be repeated: hugetlb waits for a lock and
 * requests another fault, and userfaultfd's asynchronous write protection needs
 * two. But a driver that never installs an entry must not keep the walk, which
 * holds mmap_lock, forever.
 */
#define HMM_WALK_NO_PROGRESS_MAX	32

/**
 * enum hmm_walk_lock - lock that a walk has taken itself
 * @HMM_WALK_VMA_LOCK: the lock of each VMA, for reading
 * @HMM_WALK_MMAP_LOCK: mmap_lock, for reading, for all of the range or its last part
 */
enum hmm_walk_lock {
	HMM_WALK_VMA_LOCK,
	HMM_WALK_MMAP_LOCK,
};

/* A fault has dropped the lock that protects the VMA. */
#define HMM_WALK_UNLOCKED	1

/**
 * struct hmm_walk - state of one walk
 * @range: the range to walk
 * @mm: the mm of the page table
 * @vma: the VMA that was entered last
 * @fault_flags: flags of faults: %FAULT_FLAG_VMA_LOCK if only @vma is locked,
 *	%FAULT_FLAG_ALLOW_RETRY if they may drop the lock, and
 *	%FAULT_FLAG_INTERRUPTIBLE if a signal may end their wait for user space
 * @lock: the lock that the walk has taken
 * @default_req: the request flags of every page
 * @input_req: the request flags of an input entry that count, too
 * @lenient: a request to write counts only if @vma is writable
 * @report: the flags that an output may have
 * @grant: %HMM_PFN_VALID, with %HMM_PFN_WRITE if @vma allows a device to write
 * @dying: errno for a requested page of devmap memory whose driver is being removed
 * @locked: scan pte tables of @vma under their lock
 * @pgmap: the pinned pagemap of the last devmap entry, or NULL
 * @fault_addr: address of the last fault
 * @no_progress: number of consecutive faults at @fault_addr before the last one
 * @waited: address of the last fault that has dropped mmap_lock to wait
 * @careful: faults are for another process, or must not start I/O
 * @interrupted: a signal has ended the wait of a fault for user space
 * @ahead: number of empty ptes of @vma to fault in before the walk reads a pte again
 * @expect: address of the pte that is still empty if each of these faults mapped one
 *	page; 0: none
 */
struct hmm_walk {
	struct hmm_range *range;
	struct mm_struct *mm;
	struct vm_area_struct *vma;
	unsigned int fault_flags;
	enum hmm_walk_lock lock;
	unsigned long default_req;
	unsigned long input_req;
	bool lenient;
	unsigned long report;
	unsigned long grant;
	int dying;
	bool locked;
	struct dev_pagemap *pgmap;
	unsigned long fault_addr;
	unsigned int no_progress;
	unsigned long waited;
	bool careful;
	bool interrupted;
	unsigned int ahead;
	unsigned long expect;
};

static inline unsigned long *hmm_walk_slot(const struct hmm_walk *walk,
					   unsigned long addr)
{
	struct hmm_range *range = walk->range;

	return &range->hmm_pfns[(addr - range->start) >> PAGE_SHIFT];
}

/* The request flags of a page with the input entry @input */
static inline unsigned long hmm_walk_request(const struct hmm_walk *walk,
					     unsigned long input)
{
	return (input & walk->input_req) | walk->default_req;
}

/* HMM_PFN_REQ_WRITE counts only together with HMM_PFN_REQ_FAULT. */
static inline bool hmm_walk_satisfies(unsigned long entry, unsigned long req)
{
	return !(req & HMM_PFN_REQ_FAULT) || !(req & ~entry);
}

/*
 * Pin the pagemap of a devmap entry, and unpin the previous pagemap.
 *
 * Return: false if its driver is being removed. Then there is no page. A request for it
 * fails with walk->dying, because neither a fault nor another read would help.
 */
static inline bool hmm_walk_pin(struct hmm_walk *walk, unsigned long pfn)
{
	walk->pgmap = get_dev_pagemap(pfn, walk->pgmap);
	return walk->pgmap;
}

static inline void hmm_walk_unpin(struct hmm_walk *walk)
{
	if (!IS_ENABLED(CONFIG_ZONE_DEVICE))
		return;
	put_dev_pagemap(walk->pgmap);
	walk->pgmap = NULL;
}

/*
 * Check whether to continue the walk, at its start and after each fault and wait. The result
 * is useless if an invalidation has overlapped the range since it began.
 */
static __always_inline int hmm_walk_check(const struct hmm_walk *walk)
{
	const struct hmm_range *range = walk->range;

	if (!range->mirror)
		return mmu_interval_check_retry(range->notifier, range->notifier_seq) ?
		       -EBUSY : 0;
	/*
	 * These pair with the WRITE_ONCE() in hmm_mirror_collide(), hmm_mirror_kill() and
	 * hmm_call_cancel(). All are hints, like mmu_interval_check_retry(). A range does not
	 * collide if it began after its window was invalidated for the end of the mirror, so
	 * dead is checked, too.
	 */
	if (READ_ONCE(range->collided) || READ_ONCE(range->mirror->dead))
		return -EBUSY;
	return range->call && READ_ONCE(range->call->error) ? -EINTR : 0;
}

/*
 * With FAULT_FLAG_RETRY_NOWAIT the caller holds mmap_lock for writing, and must not wait for
 * I/O. The migration of a file page can wait for I/O.
 */
static inline bool hmm_walk_may_wait_for_migration(const struct hmm_walk *walk)
{
	return !(walk->fault_flags & FAULT_FLAG_RETRY_NOWAIT) || !walk->vma->vm_file ||
	       shmem_mapping(walk->vma->vm_file->f_mapping);
}

/* The entry for a present mapping of any size */
static inline unsigned long hmm_walk_present(const struct hmm_walk *walk,
					     unsigned long pfn, unsigned int order,
				       unsigned long flags)
{
	return pfn | (unsigned long)order << HMM_PFN_ORDER_SHIFT |
	       HMM_PFN_VALID | HMM_PFN_READ |
	       (flags & (walk->grant | ~HMM_PFN_WRITE));
}

static inline bool hmm_walk_pte_is_migrating(pte_t pte)
{
	return is_swap_pte(pte) && is_migration_entry(pte_to_swp_entry(pte));
}

int hmm_walk_may_fault(const struct hmm_walk *walk, unsigned long addr, unsigned long entry);
int hmm_walk_handle_faults(struct hmm_walk *walk, unsigned long addr, unsigned int count);

static inline int hmm_walk_handle_fault(struct hmm_walk *walk, unsigned long addr)
{
	return hmm_walk_handle_faults(walk, addr, 1);
}

unsigned long hmm_walk_nonpresent(const struct hmm_walk *walk, pte_t pte);
int hmm_walk_ptes(struct hmm_walk *walk, pmd_t *pmdp, unsigned long *addr,
		  unsigned long end);

int hmm_walk_entries_nowait(struct hmm_range *range);
int hmm_walk_entries(struct hmm_range *range, enum hmm_walk_lock *lock);

struct folio *hmm_resident_folio(struct mm_struct *mm, unsigned long addr);
bool hmm_resident_fault_needs_no_io(struct vm_area_struct *vma, unsigned long addr, bool write,
				    struct folio **folio);

#endif /* _MM_HMM_WALK_H */
