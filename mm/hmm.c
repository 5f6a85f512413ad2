// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * HMM range walker: CPU page table -> array of pfns.
 *
 * The walk reads page table entries and takes no reference on what they point
 * to. What it stores may be out of date the moment it is stored; that it is
 * used only while true is the business of the mmu notifier:
 *
 *	walker				somebody who changes the range
 *	======				==============================
 *	seq = mmu_interval_read_begin()
 *	mmap_read_lock()
 *					mmu_notifier_invalidate_range_start()
 *					  driver: lock; set_seq(); unlock
 *	read the entry, old or new	change the entry
 *					mmu_notifier_invalidate_range_end()
 *	mmap_read_unlock()
 *	driver: lock
 *	mmu_interval_read_retry(seq)
 *
 * Whichever value of the entry was read, the last line says "again" when start
 * fell anywhere between the first line and that one. Hence entries are read
 * without their lock. What keeps the tables themselves in place:
 *
 * - mmap_lock keeps the VMAs, and below a VMA every table down to the one that
 *   holds the pmd entry. An entry that was found to be such a table stays one.
 *   For one VMA its own lock does the same.
 * - pte tables go at any time when khugepaged collapses them. pte_offset_map()
 *   enters an RCU read side section that they survive, and fails when there is
 *   none any more: then the pmd entry is looked at again.
 * - hugetlb tables can be shared, and unshared with only hugetlb's own lock
 *   for the VMA held for writing: it is taken for reading.
 *
 * Memory of a device that is mapped like other memory (devmap: DAX) goes with
 * its driver, mapped or not. While its pfns are read its pagemap is pinned, so
 * that the driver's removal waits. One pin does for all entries in a row that
 * belong to one pagemap; none is held over a fault or a wait, because removal
 * may be what they wait for.
 *
 * One thing needs more. The owner of a device private page is found by way of
 * its struct page, and so is whether a page is device memory at all. But struct
 * page of device memory goes with its driver, as soon as the last page is free;
 * RCU does not delay that. A page is not free while it is mapped, so such pages
 * are only looked at under the lock of the pte table, with the entry in place.
 *
 * Faults are taken in place, with nothing but mmap_lock held, or the lock of the
 * VMA, and every pointer into a pte table forgotten; then the pmd entry, which stays,
 * is looked at again. So whatever size of mapping a fault has installed is seen as
 * such, and within one call no page is walked twice that has been stored.
 *
 * The caller's mmap_lock is never dropped. A walk for a mirror takes its locks itself,
 * and lets faults that have to wait, for I/O or for user space, drop them. That costs no
 * more than the way down from the VMA again: what was stored before stays good until an
 * invalidation says otherwise, with locks or without.
 */
#include <linux/hmm.h>
#include <linux/hugetlb.h>
#include <linux/memremap.h>
#include <linux/mmu_notifier.h>
#include <linux/sched/mm.h>
#include <linux/secretmem.h>
#include <linux/shmem_fs.h>
#include <linux/swap.h>
#include <linux/swapops.h>
#include <linux/userfaultfd_k.h>

#include "hmm_internal.h"
#include "internal.h"

/* What only hmm_range_snapshot() reports */
#define HMM_PFN_ATTRIBUTES	(HMM_PFN_READ | HMM_PFN_EMPTY |		\
				 HMM_PFN_SPECIAL | HMM_PFN_DEVICE |	\
				 HMM_PFN_UNADDRESSABLE |		\
				 HMM_PFN_DIRTY | HMM_PFN_YOUNG)

/* What a walk for a driver keeps from input to output */
#define HMM_PFN_STICKY		(HMM_PFN_DMA_MAPPED | HMM_PFN_P2PDMA | HMM_PFN_P2PDMA_BUS)

/* Pages for which the loops that do least are unrolled */
#define HMM_RANGE_UNROLL	32

/* Pages whose input is searched for sticky flags before they are walked */
#define HMM_RANGE_SEARCH_PAGES	BIT(18)

/* Pages that are walked in one step if there are sticky flags */
#define HMM_RANGE_STICKY_PAGES	512UL

/* A fault that would not help, for memory that no device may have */
#define HMM_PFN_REFUSED		(HMM_PFN_ERROR | HMM_PFN_SPECIAL)

/*
 * How many faults in a row may succeed at one address without giving what was
 * requested. Some do so for a good reason: hugetlb waits for a lock and has the
 * fault taken again, userfaultfd's asynchronous write protection takes two. But
 * a driver that never installs anything must not keep the walk, and mmap_lock
 * with it, for ever.
 */
#define HMM_RANGE_FRUITLESS_MAX	32

/*
 * How many faults to take before looking what they brought: enough that the look
 * costs next to nothing for each. That many are in vain when pages of one size give
 * way to larger ones.
 */
#define HMM_RANGE_AHEAD_MAX	64

/* On 64-bit the flags begin where no pfn of any architecture reaches. */
#if !defined(MAX_POSSIBLE_PHYSMEM_BITS) && defined(MAX_PHYSMEM_BITS)
#define MAX_POSSIBLE_PHYSMEM_BITS	MAX_PHYSMEM_BITS
#endif
#if defined(CONFIG_64BIT) && defined(MAX_POSSIBLE_PHYSMEM_BITS)
static_assert(MAX_POSSIBLE_PHYSMEM_BITS - PAGE_SHIFT <= HMM_PFN_ATTR_SHIFT);
#endif

/* A fault has dropped the lock that kept the VMA. */
#define HMM_RANGE_UNLOCKED	1

/**
 * struct hmm_range_walk - state of one walk
 * @range: what to walk
 * @mm: whose page table
 * @vma: the VMA that was entered last
 * @fault_flags: how to take faults: %FAULT_FLAG_VMA_LOCK if @vma alone is locked,
 *	%FAULT_FLAG_ALLOW_RETRY if they may drop the lock, and
 *	%FAULT_FLAG_INTERRUPTIBLE if they may wait for user space
 * @path: which lock the walk has taken; that of the mm if it was any use
 * @default_req: the request flags of every page
 * @input_req: which request flags of an input entry count as well
 * @lenient: a request to write counts only where @vma may be written
 * @report: which flags an output may carry
 * @grant: of %HMM_PFN_VALID and %HMM_PFN_WRITE, what @vma can let a device do
 * @dying: what a request for memory fails with whose driver is going away
 * @locked: walk pte tables of @vma under their lock
 * @pgmap: pinned, because the devmap entry that was read last belongs to it
 * @fault_addr: where the last fault was taken
 * @fruitless: how many faults in a row were taken there before that one
 * @waited: where a fault has last dropped mmap_lock to wait
 * @careful: faults are of another process, or must not start I/O
 * @interrupted: a signal has ended the wait of a fault for user space
 * @ahead: how many empty ptes of @vma to fault in before looking at any
 * @expect: the pte that is empty still if each of those faults made one page
 */
struct hmm_range_walk {
	struct hmm_range *range;
	struct mm_struct *mm;
	struct vm_area_struct *vma;
	unsigned int fault_flags;
	enum hmm_mirror_count path;
	unsigned long default_req;
	unsigned long input_req;
	bool lenient;
	unsigned long report;
	unsigned long grant;
	int dying;
	bool locked;
	struct dev_pagemap *pgmap;
	unsigned long fault_addr;
	unsigned int fruitless;
	unsigned long waited;
	bool careful;
	bool interrupted;
	unsigned int ahead;
	unsigned long expect;
};

static unsigned long *hmm_range_slot(const struct hmm_range_walk *walk,
				     unsigned long addr)
{
	struct hmm_range *range = walk->range;

	return &range->hmm_pfns[(addr - range->start) >> PAGE_SHIFT];
}

/* The request flags that hold for a page whose input entry is @input */
static unsigned long hmm_range_request(const struct hmm_range_walk *walk,
				       unsigned long input)
{
	return (input & walk->input_req) | walk->default_req;
}

/* A request to write counts only together with the one to fault */
static bool hmm_range_satisfies(unsigned long entry, unsigned long req)
{
	return !(req & HMM_PFN_REQ_FAULT) || !(req & ~entry);
}

/*
 * Of a huge mapping nothing is done for each page but a load and a store: a loop around one
 * page takes longer to count than for these.
 */
static void hmm_range_fill_slots(unsigned long *slot, unsigned long count,
				 unsigned long entry, unsigned long step)
{
	unsigned int i;

	for (; count >= HMM_RANGE_UNROLL; count -= HMM_RANGE_UNROLL, slot += HMM_RANGE_UNROLL) {
#pragma GCC unroll 32
		for (i = 0; i < HMM_RANGE_UNROLL; i++, entry += step)
			slot[i] = entry;
	}
	for (; count; count--, entry += step)
		*slot++ = entry;
}

/*
 * Store @entry for the pages from @addr on, counting its pfn up if it holds
 * one. Stop at the first page that has requested more than @entry gives: it
 * keeps its input.
 *
 * Return: where it stopped; @end when all pages are stored.
 */
static unsigned long hmm_range_fill(const struct hmm_range_walk *walk,
				    unsigned long addr, unsigned long end,
				    unsigned long entry)
{
	unsigned long *slot = hmm_range_slot(walk, addr);
	unsigned long step = entry & HMM_PFN_VALID ? 1 : 0;

	entry &= walk->report;
	if (hmm_range_satisfies(entry, walk->default_req | walk->input_req)) {
		/* No page can have requested more: do not read the input. */
		hmm_range_fill_slots(slot, (end - addr) >> PAGE_SHIFT, entry, step);
		return end;
	}

	for (; addr < end; addr += PAGE_SIZE, entry += step, slot++) {
		if (!hmm_range_satisfies(entry, hmm_range_request(walk, *slot)))
			break;
		*slot = entry;
	}
	return addr;
}

/*
 * @entry does not meet the request of the page at @addr. Could another one?
 * Memory that has no page to give is told from one that may not be written.
 */
static int hmm_range_may_fault(const struct hmm_range_walk *walk,
			       unsigned long addr, unsigned long entry)
{
	unsigned long req;

	if (entry & HMM_PFN_ERROR)
		return -EFAULT;

	req = hmm_range_request(walk, *hmm_range_slot(walk, addr));
	if (!hmm_range_satisfies(walk->grant, req))
		return -EPERM;
	return 0;
}

/*
 * Store @entry for all pages of [@addr, @end), or for those before the first
 * one that requests more.
 *
 * Return: 0 when all are stored, 1 when the page now at @addr needs a fault (or
 * whatever else brings another entry), or an error.
 */
static int hmm_range_store(const struct hmm_range_walk *walk,
			   unsigned long *addr, unsigned long end,
			   unsigned long entry)
{
	*addr = hmm_range_fill(walk, *addr, end, entry);
	if (*addr == end)
		return 0;
	return hmm_range_may_fault(walk, *addr, entry) ?: 1;
}

/*
 * Pin the pagemap of a devmap entry, instead of the one before it.
 *
 * Return: false if its driver is going away. Then there is no page: who asks for
 * it gets walk->dying, because a fault would change nothing, nor would looking again.
 */
static bool hmm_range_pin(struct hmm_range_walk *walk, unsigned long pfn)
{
	walk->pgmap = get_dev_pagemap(pfn, walk->pgmap);
	return walk->pgmap;
}

static void hmm_range_unpin(struct hmm_range_walk *walk)
{
	if (!IS_ENABLED(CONFIG_ZONE_DEVICE))
		return;
	put_dev_pagemap(walk->pgmap);
	walk->pgmap = NULL;
}

/*
 * Is it still worth going on? Asked first, and after every fault and wait. Not if something
 * in the range has been invalidated since the caller began.
 */
static __always_inline int hmm_range_check(const struct hmm_range_walk *walk)
{
	const struct hmm_range *range = walk->range;

	if (!range->mirror)
		return mmu_interval_check_retry(range->notifier, range->notifier_seq) ?
		       -EBUSY : 0;
	/*
	 * Pair with the WRITE_ONCE() in hmm_mirror_collide(), hmm_mirror_kill() and
	 * hmm_call_cancel(); hints, as the other is. A range may have begun after its window
	 * was told of the end.
	 */
	if (READ_ONCE(range->collided) || READ_ONCE(range->mirror->dead))
		return -EBUSY;
	return range->call && READ_ONCE(range->call->error) ? -EINTR : 0;
}

/*
 * The fault is done, has waited, or wants to be taken with mmap_lock. The last two are
 * not in vain. When it is taken again where it has waited it may keep the lock, as for
 * a CPU fault.
 */
static int hmm_range_lost_lock(struct hmm_range_walk *walk, unsigned long addr,
			       vm_fault_t fault, unsigned int flags)
{
	/* The caller's lock is where it was. */
	if (walk->fault_flags & FAULT_FLAG_RETRY_NOWAIT)
		return -EAGAIN;
	if (fault & VM_FAULT_COMPLETED)
		return HMM_RANGE_UNLOCKED;
	if (!(walk->fault_flags & FAULT_FLAG_VMA_LOCK))
		walk->waited = addr;
	walk->interrupted = flags & FAULT_FLAG_INTERRUPTIBLE && signal_pending(current);
	walk->path = HMM_COUNT_MMAP_LOCK;
	walk->fault_addr = addr;
	walk->fruitless = 0;
	return HMM_RANGE_UNLOCKED;
}

/*
 * No walk of the range has read anything from @addr on: neither this one, nor an earlier
 * one of another part.
 */
static vm_fault_t hmm_range_cpu_fault(struct hmm_range_walk *walk, unsigned long addr,
				      unsigned int flags)
{
	struct hmm_range *range = walk->range;
	vm_fault_t fault;

	if (!range->mirror)
		return handle_mm_fault(walk->vma, addr, flags, NULL);
	range->unseen = max(addr, range->seen_end);
	WRITE_ONCE(range->faulting, current);
	fault = handle_mm_fault(walk->vma, addr, flags, NULL);
	WRITE_ONCE(range->faulting, NULL);
	return fault;
}

/*
 * With FAULT_FLAG_RETRY_NOWAIT the caller holds mmap_lock for writing: nothing may wait
 * for I/O. A migration of a file's page can.
 */
static bool hmm_range_may_wait_for_migration(const struct hmm_range_walk *walk)
{
	return !(walk->fault_flags & FAULT_FLAG_RETRY_NOWAIT) || !walk->vma->vm_file ||
	       shmem_mapping(walk->vma->vm_file->f_mapping);
}

/*
 * May a fault that needs care be taken now? hmm_range_handle_faults() says which do. Then
 * @folio has to be kept meanwhile, if there is one.
 */
static int hmm_range_check_fault(const struct hmm_range_walk *walk, unsigned long addr,
				 unsigned int flags, struct folio **folio)
{
	if (hmm_mm_is_killed(walk->mm))
		return -EINTR;
	if (flags & FAULT_FLAG_RETRY_NOWAIT &&
	    !hmm_fault_needs_no_io(walk->vma, addr, flags & FAULT_FLAG_WRITE, folio))
		return -EAGAIN;
	return 0;
}

/*
 * For @count pages with one request, which hmm_range_may_fault() lets pass. Only the
 * first fault makes an error: when another one fails, the walk comes to that page,
 * after it has stored those before it.
 */
static __always_inline int hmm_range_take_faults(struct hmm_range_walk *walk,
						 unsigned long addr, unsigned int count,
						 unsigned int flags, bool careful)
{
	struct folio *folio = NULL;
	unsigned int done;
	vm_fault_t fault;
	int ret;

	for (done = 0; done < count; done++, addr += PAGE_SIZE) {
		if (done && fatal_signal_pending(current))
			break;
		ret = careful ? hmm_range_check_fault(walk, addr, flags, &folio) : 0;
		if (ret)
			return done ? 0 : ret;
		fault = hmm_range_cpu_fault(walk, addr, addr == walk->waited ?
				flags | FAULT_FLAG_TRIED : flags);
		if (careful && folio)
			folio_put(folio);
		if (unlikely(fault & (VM_FAULT_RETRY | VM_FAULT_COMPLETED) &&
			     flags & FAULT_FLAG_ALLOW_RETRY))
			return hmm_range_lost_lock(walk, addr, fault, flags);
		if (unlikely(fault & VM_FAULT_ERROR)) {
			if (done)
				break;
			/* There may be memory, but not for a mm that is dying. */
			if (careful && hmm_mm_is_killed(walk->mm))
				return -EINTR;
			return vm_fault_to_errno(fault, 0) ?: -EFAULT;
		}
		if (hmm_range_check(walk))
			return -EBUSY;
	}
	return 0;
}

static noinline int hmm_range_take_faults_carefully(struct hmm_range_walk *walk,
						    unsigned long addr, unsigned int count,
						    unsigned int flags)
{
	struct mm_struct *old = set_remote_mm(walk->mm);
	int ret = hmm_range_take_faults(walk, addr, count, flags, true);

	set_remote_mm(old);
	return ret;
}

/*
 * Care is needed for the memory of another process, which may be killed meanwhile, and
 * where no I/O may be started.
 */
static int hmm_range_handle_faults(struct hmm_range_walk *walk,
				   unsigned long addr, unsigned int count)
{
	unsigned long req = hmm_range_request(walk, *hmm_range_slot(walk, addr));
	unsigned int flags = walk->fault_flags;

	if (fatal_signal_pending(current))
		return -EINTR;

	if (walk->fault_addr != addr) {
		walk->fault_addr = addr;
		walk->fruitless = 0;
	} else if (++walk->fruitless >= HMM_RANGE_FRUITLESS_MAX) {
		return -EBUSY;
	}

	if (req & HMM_PFN_REQ_WRITE)
		flags |= FAULT_FLAG_WRITE;

	hmm_range_unpin(walk);
	if (unlikely(walk->careful))
		return hmm_range_take_faults_carefully(walk, addr, count, flags);
	return hmm_range_take_faults(walk, addr, count, flags, false);
}

static int hmm_range_handle_fault(struct hmm_range_walk *walk,
				  unsigned long addr)
{
	return hmm_range_handle_faults(walk, addr, 1);
}

/* hmm_range_store(), and the fault if one is needed; @addr tells how far it got. */
static int hmm_range_emit(struct hmm_range_walk *walk, unsigned long *addr,
			  unsigned long end, unsigned long entry)
{
	int ret = hmm_range_store(walk, addr, end, entry);

	return ret > 0 ? hmm_range_handle_fault(walk, *addr) : ret;
}

/* hmm_range_emit() for a leaf above the pte tables */
static int hmm_range_emit_leaf(struct hmm_range_walk *walk, unsigned long *addr,
			       unsigned long end, unsigned long entry, bool devmap)
{
	int ret = hmm_range_store(walk, addr, end, entry);

	if (ret <= 0)
		return ret;
	if (devmap && !(entry & HMM_PFN_VALID))
		return walk->dying;
	return hmm_range_handle_fault(walk, *addr);
}

/* The entry for a present mapping of any size */
static unsigned long hmm_range_present(const struct hmm_range_walk *walk,
				       unsigned long pfn, unsigned int order,
				       unsigned long flags)
{
	return pfn | (unsigned long)order << HMM_PFN_ORDER_SHIFT |
	       HMM_PFN_VALID | HMM_PFN_READ |
	       (flags & (walk->grant | ~HMM_PFN_WRITE));
}

/*
 * Can a device write by this entry as it is? An entry of a private page can be writable and still
 * be write-protected by userfaultfd, or be tracked and not soft-dirty.
 */
static bool hmm_range_private_is_writable(const struct hmm_range_walk *walk, pte_t pte)
{
	return is_writable_device_private_entry(pte_to_swp_entry(pte)) &&
	       !pte_swp_uffd_wp(pte) &&
	       (pte_swp_soft_dirty(pte) || !vma_soft_dirty_enabled(walk->vma));
}

/* Private pages are reported to the driver they belong to, and to no other. */
static unsigned long hmm_range_device_private(const struct hmm_range_walk *walk, pte_t pte,
					      swp_entry_t swp)
{
	unsigned long entry = HMM_PFN_DEVICE | HMM_PFN_UNADDRESSABLE;
	void *owner = walk->range->dev_private_owner;

	VM_WARN_ON_ONCE(!walk->locked);
	if (!owner || pfn_swap_entry_to_page(swp)->pgmap->owner != owner)
		return entry;

	entry |= swp_offset_pfn(swp) | HMM_PFN_VALID;
	if (hmm_range_private_is_writable(walk, pte))
		entry |= walk->grant & HMM_PFN_WRITE;
	return entry;
}

/* An entry of a pte or hugetlb table that is not present */
static unsigned long hmm_range_nonpresent(const struct hmm_range_walk *walk,
					  pte_t pte)
{
	swp_entry_t swp;

	if (pte_none(pte))
		return HMM_PFN_EMPTY;

	swp = pte_to_swp_entry(pte);
	if (is_device_private_entry(swp))
		return hmm_range_device_private(walk, pte, swp);
	if (is_device_exclusive_entry(swp))
		return HMM_PFN_DEVICE | HMM_PFN_UNADDRESSABLE;
	if (is_hwpoison_entry(swp) || is_poisoned_swp_entry(swp))
		return HMM_PFN_ERROR;
	if (is_pte_marker_entry(swp))
		return HMM_PFN_EMPTY;

	/* Swapped out, or migrating */
	return 0;
}

static bool hmm_range_pte_is_migrating(pte_t pte)
{
	return is_swap_pte(pte) && is_migration_entry(pte_to_swp_entry(pte));
}

#ifdef CONFIG_HUGETLB_PAGE
static unsigned long hmm_range_hugetlb_pte(const struct hmm_range_walk *walk,
					   unsigned long addr, pte_t pte)
{
	struct hstate *h = hstate_vma(walk->vma);
	unsigned long pfn, flags = 0;

	if (!pte_present(pte))
		return hmm_range_nonpresent(walk, pte);

	pfn = pte_pfn(pte) + ((addr & ~huge_page_mask(h)) >> PAGE_SHIFT);
	if (huge_pte_write(pte))
		flags |= HMM_PFN_WRITE;
	if (huge_pte_dirty(pte))
		flags |= HMM_PFN_DIRTY;
	if (pte_young(pte))
		flags |= HMM_PFN_YOUNG;
	return hmm_range_present(walk, pfn, huge_page_order(h), flags);
}

static int hmm_range_walk_hugetlb(struct hmm_range_walk *walk,
				  unsigned long *addr, unsigned long end)
{
	struct vm_area_struct *vma = walk->vma;
	struct hstate *h = hstate_vma(vma);
	unsigned long base = *addr & huge_page_mask(h);
	unsigned long entry = HMM_PFN_EMPTY;
	bool migrating = false;
	pte_t *ptep;
	int ret;

	end = min(end, base + huge_page_size(h));

	hugetlb_vma_lock_read(vma);
	ptep = hugetlb_walk(vma, base, huge_page_size(h));
	if (ptep) {
		/* With two words to an entry, only the lock makes it one read. */
		spinlock_t *ptl = huge_pte_lock(h, walk->mm, ptep);
		pte_t pte = huge_ptep_get(walk->mm, base, ptep);

		spin_unlock(ptl);
		entry = hmm_range_hugetlb_pte(walk, *addr, pte);
		migrating = hmm_range_pte_is_migrating(pte);
	}

	ret = hmm_range_store(walk, addr, end, entry);
	if (ret > 0 && migrating) {
		hmm_range_unpin(walk);
		/* Drops the lock before it sleeps */
		migration_entry_wait_huge(vma, base, ptep);
		return hmm_range_check(walk);
	}

	/* A fault takes the same lock, for writing if need be. */
	hugetlb_vma_unlock_read(vma);
	return ret > 0 ? hmm_range_handle_fault(walk, *addr) : ret;
}
#else
/* There are no such VMAs. */
static int hmm_range_walk_hugetlb(struct hmm_range_walk *walk,
				  unsigned long *addr, unsigned long end)
{
	return -EFAULT;
}
#endif

/**
 * struct hmm_range_like - a pte, for others that differ in the pfn only
 * @pte: what it would be for the first pfn known
 * @entry: and what its entry would be
 * @count: how many pfns are known from there on; 0 when there is no such pte
 */
struct hmm_range_like {
	unsigned long pte;
	unsigned long entry;
	unsigned long count;
};

/**
 * struct hmm_range_known - what the ptes before tell about the next one
 * @first: first of the pfns of which it is known what memory they belong to
 * @count: how many there are, from there on
 * @device: %HMM_PFN_DEVICE if that is memory of a device, otherwise 0
 * @devmap: its ptes are devmap, and its pagemap is pinned
 * @like: the last pte with such a pfn, unless a page could request more than that
 *	gives
 * @older: the one before it, for where ptes of two kinds alternate
 *
 * Forgotten with the end of the pte table.
 */
struct hmm_range_known {
	unsigned long first;
	unsigned long count;
	unsigned long device;
	bool devmap;
	struct hmm_range_like like;
	struct hmm_range_like older;
};

static void hmm_range_know_pfns(struct hmm_range_known *known, unsigned long first,
				unsigned long count, unsigned long device, bool devmap)
{
	known->first = first;
	known->count = count;
	known->device = device;
	known->devmap = devmap;
	known->like.count = 0;
	known->older.count = 0;
}

static void hmm_range_know_nothing(struct hmm_range_known *known)
{
	hmm_range_know_pfns(known, 0, 0, 0, false);
}

/*
 * Every pte of an ordinary mapping maps a page. Which kind of page matters only to
 * those who walk with the lock of the pte table held.
 */
static void hmm_range_know_all(const struct hmm_range_walk *walk,
			       struct hmm_range_known *known)
{
	/* Only the pte can tell what has no page. */
	if (!IS_ENABLED(CONFIG_ARCH_HAS_PTE_SPECIAL) &&
	    walk->vma->vm_flags & VM_MIXEDMAP)
		hmm_range_know_nothing(known);
	else
		hmm_range_know_pfns(known, 0, highest_memmap_pfn + 1, 0, false);
}

#ifdef CONFIG_ZONE_DEVICE
/*
 * Device memory comes in whole subsections, each of one device: memory hotplug adds
 * nothing smaller. A section that is online and not tainted has none at all.
 *
 * Those could change as soon as nobody uses their pages. But as long as the lock of
 * the pte table is held no page is mapped there that was not before, and what is
 * mapped stays what it is.
 *
 * Return: false for a page that no device may have.
 */
static bool hmm_range_know_page(const struct hmm_range_walk *walk,
				struct hmm_range_known *known, struct page *page)
{
	unsigned long pfn = page_to_pfn(page), count = PAGES_PER_SUBSECTION;
	unsigned long device = is_zone_device_page(page) ? HMM_PFN_DEVICE : 0;
	struct mem_section *section = __pfn_to_section(pfn);
	unsigned long first;

	VM_WARN_ON_ONCE(!walk->locked);
	if (is_pci_p2pdma_page(page))
		return false;
	if (online_section(section) && !online_device_section(section))
		count = PAGES_PER_SECTION;
	first = ALIGN_DOWN(pfn, count);
	count = min(count, highest_memmap_pfn + 1 - first);
	hmm_range_know_pfns(known, first, count, device, false);
	return true;
}

/* get_dev_pagemap() keeps a pagemap for what is in its first range, and so do we. */
static void hmm_range_know_pagemap(struct hmm_range_known *known,
				   const struct dev_pagemap *pgmap)
{
	hmm_range_know_pfns(known, PHYS_PFN(pgmap->range.start),
			    PHYS_PFN(range_len(&pgmap->range)), HMM_PFN_DEVICE, true);
}
#else
static bool hmm_range_know_page(const struct hmm_range_walk *walk,
				struct hmm_range_known *known, struct page *page)
{
	hmm_range_know_all(walk, known);
	return known->count;
}

static void hmm_range_know_pagemap(struct hmm_range_known *known,
				   const struct dev_pagemap *pgmap)
{
}
#endif

/*
 * On 64-bit every architecture that has PFN_PTE_SHIFT keeps the pfn as a number from
 * that bit on, with nothing above that a pfn could carry into.
 */
#if defined(CONFIG_64BIT) && defined(PFN_PTE_SHIFT)
/*
 * How many pfns is @pte away from like->pte? No less than like->count if it is
 * different in anything but the pfn: that turns up in the topmost bits.
 *
 * Most ptes are like the one before, and this is all that is asked of them.
 */
static __always_inline unsigned long
hmm_range_pte_distance(const struct hmm_range_like *like, pte_t pte)
{
	return ror64(pte_val(pte) - like->pte, PFN_PTE_SHIFT);
}

/*
 * @pte, of @pfn, gave @entry: those like it may be stored alike. Where the zero page
 * is not marked in the pte it is, but for attributes, like any other page.
 */
static __always_inline void
hmm_range_know_pte(struct hmm_range_known *known, pte_t pte, unsigned long pfn,
		   unsigned long entry, bool locked)
{
	const unsigned long offset = pfn - known->first;

	if (locked && !IS_ENABLED(CONFIG_ARCH_HAS_PTE_SPECIAL))
		return;
	known->older = known->like;
	known->like.pte = pte_val(pte) - (offset << PFN_PTE_SHIFT);
	known->like.entry = entry - offset;
	known->like.count = known->count;
}
#else
static unsigned long
hmm_range_pte_distance(const struct hmm_range_like *like, pte_t pte)
{
	return ULONG_MAX;
}

static void hmm_range_know_pte(struct hmm_range_known *known, pte_t pte,
			       unsigned long pfn, unsigned long entry, bool locked)
{
}
#endif

/* Is @pte, of @pfn, present, and the memory that it maps known? */
static __always_inline bool
hmm_range_pte_is_known(const struct hmm_range_walk *walk,
		       struct hmm_range_known *known, pte_t pte,
		       unsigned long pfn, bool locked)
{
	const bool inside = pfn - known->first < known->count;

	if (!pte_present(pte) || pte_protnone(pte))
		return false;
	if (pte_devmap(pte))
		return inside && known->devmap;
	if (IS_ENABLED(CONFIG_ARCH_HAS_PTE_SPECIAL) ? pte_special(pte) : is_zero_pfn(pfn))
		return false;
	if (inside)
		return !known->devmap;
	return locked && pfn <= highest_memmap_pfn &&
	       hmm_range_know_page(walk, known, pfn_to_page(pfn));
}

static __always_inline unsigned long
hmm_range_known_pte(const struct hmm_range_walk *walk,
		    const struct hmm_range_known *known, pte_t pte,
		    unsigned long pfn, bool locked)
{
	unsigned long flags = known->device;

	if (pte_write(pte))
		flags |= HMM_PFN_WRITE;
	if (locked && pte_dirty(pte))
		flags |= HMM_PFN_DIRTY;
	if (locked && pte_young(pte))
		flags |= HMM_PFN_YOUNG;
	return hmm_range_present(walk, pfn, 0, flags);
}

/* A pte that is not known. Those that come after it may be known by it. */
static noinline unsigned long
hmm_range_odd_pte(struct hmm_range_walk *walk, unsigned long addr, pte_t pte,
		  struct hmm_range_known *known)
{
	unsigned long pfn = pte_pfn(pte);
	struct page *page;

	if (!pte_present(pte))
		return hmm_range_nonpresent(walk, pte);
	if (pte_protnone(pte))
		return 0;
	if (pte_devmap(pte)) {
		if (!hmm_range_pin(walk, pfn)) {
			/* Nor is the one before it pinned any more. */
			hmm_range_know_nothing(known);
			return 0;
		}
		hmm_range_know_pagemap(known, walk->pgmap);
		return hmm_range_known_pte(walk, known, pte, pfn, true);
	}
	if (is_zero_pfn(pfn))
		return hmm_range_present(walk, pfn, 0, 0);

	page = vm_normal_page(walk->vma, addr, pte);
	if (!page)
		return HMM_PFN_REFUSED;
	if (!walk->locked)
		hmm_range_know_all(walk, known);
	else if (!hmm_range_know_page(walk, known, page))
		return HMM_PFN_REFUSED;
	return hmm_range_known_pte(walk, known, pte, pfn, true);
}

static bool hmm_range_pte_is_private(pte_t pte)
{
	return is_swap_pte(pte) &&
	       is_device_private_entry(pte_to_swp_entry(pte));
}

/**
 * struct hmm_range_stop - where the walk of a pte table stopped
 * @pte: the pte there
 * @entry: what it would have been stored as
 * @empty: how many ptes from there on are empty, with the same request for each,
 *	if the first is; no more than are worth knowing
 */
struct hmm_range_stop {
	pte_t pte;
	unsigned long entry;
	unsigned int empty;
};

/* Of the ptes from @ptep on, see &hmm_range_stop.empty */
static noinline unsigned int
hmm_range_count_empty(const struct hmm_range_walk *walk, pte_t *ptep,
		      unsigned long addr, unsigned long end)
{
	unsigned long *slot = hmm_range_slot(walk, addr);
	unsigned long req = hmm_range_request(walk, *slot);
	/* Twice as many could be wanted, and the one behind them. */
	unsigned long most = min3((end - addr) >> PAGE_SHIFT, 2UL * walk->ahead + 1,
				  HMM_RANGE_AHEAD_MAX + 1UL);
	unsigned int i = 0;

	while (i < most && pte_none(ptep_get_lockless(ptep + i)) &&
	       hmm_range_request(walk, slot[i]) == req)
		i++;
	return i;
}

static __always_inline pte_t hmm_range_read_pte(pte_t *ptep, bool locked)
{
	return locked ? ptep_get(ptep) : ptep_get_lockless(ptep);
}

/* Store the entry of @pte. Return: false if it is not like the one before. */
static __always_inline bool
hmm_range_store_alike(const struct hmm_range_like *like, pte_t pte,
		      unsigned long *slot)
{
	unsigned long distance = hmm_range_pte_distance(like, pte);

	if (distance >= like->count)
		return false;
	*slot = like->entry + distance;
	return true;
}

static __always_inline bool
hmm_range_scan_alike(const struct hmm_range_like *like, pte_t *ptep,
		     unsigned long *slot, bool locked)
{
	return likely(hmm_range_store_alike(like, hmm_range_read_pte(ptep, locked),
					    slot));
}

/* And of the seven behind it. Return: how many there are before one that is not. */
static __always_inline unsigned int
hmm_range_scan_eight(const struct hmm_range_like *like, pte_t *ptep,
		     unsigned long *slot, bool locked)
{
	if (!hmm_range_scan_alike(like, ptep, slot, locked))
		return 0;
	if (!hmm_range_scan_alike(like, ptep + 1, slot + 1, locked))
		return 1;
	if (!hmm_range_scan_alike(like, ptep + 2, slot + 2, locked))
		return 2;
	if (!hmm_range_scan_alike(like, ptep + 3, slot + 3, locked))
		return 3;
	if (!hmm_range_scan_alike(like, ptep + 4, slot + 4, locked))
		return 4;
	if (!hmm_range_scan_alike(like, ptep + 5, slot + 5, locked))
		return 5;
	if (!hmm_range_scan_alike(like, ptep + 6, slot + 6, locked))
		return 6;
	if (!hmm_range_scan_alike(like, ptep + 7, slot + 7, locked))
		return 7;
	return 8;
}

/*
 * And of all up to @last: sixteen at a time, since to advance and compare takes half
 * as long as what is done for one.
 *
 * Return: the slot of the first pte that is not like the others, or @last.
 */
static __always_inline unsigned long *
hmm_range_scan_run(const struct hmm_range_like like, pte_t *ptep,
		   unsigned long *slot, unsigned long *last, bool locked)
{
	const unsigned long *bulk = slot + round_down(last - slot, 16);
	unsigned int count;

	for (; slot < bulk; ptep += 16, slot += 16) {
		count = hmm_range_scan_eight(&like, ptep, slot, locked);
		if (count < 8)
			return slot + count;
		count = hmm_range_scan_eight(&like, ptep + 8, slot + 8, locked);
		if (count < 8)
			return slot + 8 + count;
	}
	for (; slot < last; ptep++, slot++)
		if (!hmm_range_scan_alike(&like, ptep, slot, locked))
			break;
	return slot;
}

/* Return: whether the walk came to @end; otherwise @stop says what is at @addr. */
static __always_inline bool
hmm_range_scan_ptes(struct hmm_range_walk *walk, pte_t *ptep,
		    unsigned long *addr, unsigned long end, bool locked,
		    struct hmm_range_stop *stop)
{
	const unsigned long report = locked ? walk->report : ~HMM_PFN_ATTRIBUTES;
	const unsigned long needed = walk->default_req | walk->input_req;
	unsigned long *slot = hmm_range_slot(walk, *addr);
	unsigned long *const last = slot + ((end - *addr) >> PAGE_SHIFT);
	struct hmm_range_known known;
	unsigned long *stop_slot, entry = 0;
	pte_t pte = __pte(0);
	bool is_known;

	known.like = (struct hmm_range_like){};
	known.older = (struct hmm_range_like){};
	if (locked)
		hmm_range_know_nothing(&known);
	else
		hmm_range_know_all(walk, &known);

	for (; slot < last; ptep++, slot++) {
		stop_slot = hmm_range_scan_run(known.like, ptep, slot, last, locked);
		/* Or else ptep is kept up to date within that, for each single pte. */
		OPTIMIZER_HIDE_VAR(stop_slot);
		ptep += stop_slot - slot;
		slot = stop_slot;
		if (slot == last)
			break;

		pte = hmm_range_read_pte(ptep, locked);
		if (hmm_range_store_alike(&known.older, pte, slot)) {
			swap(known.like, known.older);
			continue;
		}
		is_known = hmm_range_pte_is_known(walk, &known, pte, pte_pfn(pte), locked);
		if (likely(is_known))
			entry = hmm_range_known_pte(walk, &known, pte, pte_pfn(pte),
						    locked);
		else if (locked || !hmm_range_pte_is_private(pte))
			entry = hmm_range_odd_pte(walk, end - ((last - slot) << PAGE_SHIFT),
						  pte, &known);
		else
			break;

		entry &= report;
		if (unlikely(needed & ~entry)) {
			if (!hmm_range_satisfies(entry, hmm_range_request(walk, *slot)))
				break;
		} else if (is_known) {
			/* No page can request more than this, nor than those like it. */
			hmm_range_know_pte(&known, pte, pte_pfn(pte), entry, locked);
		}
		*slot = entry;
	}

	*addr = end - ((last - slot) << PAGE_SHIFT);
	if (slot == last)
		return true;
	stop->pte = pte;
	stop->entry = entry;
	stop->empty = pte_none(pte) ?
		      hmm_range_count_empty(walk, ptep, *addr, end) : 0;
	return false;
}

/*
 * Fault in empty ptes. After a fault the next pte need not be empty any more: it may
 * have brought a large folio, or mapped what is around. Where that has turned out
 * not to be so, take twice as many before looking again.
 *
 * It turns out at the next pte, which is left empty for that, if no large folio can
 * end before it: those begin and end at multiples of at least two pages.
 */
static int hmm_range_fault_empty(struct hmm_range_walk *walk, unsigned long addr,
				 unsigned int empty)
{
	const unsigned long first = addr >> PAGE_SHIFT;

	if (walk->expect)
		walk->ahead = walk->expect == addr ?
			      min(2 * walk->ahead, HMM_RANGE_AHEAD_MAX) : 1;
	walk->expect = 0;

	if (empty > 1) {
		empty = min(empty - 1, walk->ahead);
		if (empty > 1 && (first + empty) % 2 == 0)
			empty--;
		if ((first + empty) % 2)
			walk->expect = addr + empty * PAGE_SIZE;
	}
	return hmm_range_handle_faults(walk, addr, empty);
}

static int hmm_range_resolve_pte(struct hmm_range_walk *walk, pmd_t *pmdp,
				 unsigned long *addr,
				 const struct hmm_range_stop *stop)
{
	int ret = hmm_range_may_fault(walk, *addr, stop->entry);

	if (ret)
		return ret;

	if (pte_present(stop->pte) && pte_devmap(stop->pte) &&
	    !(stop->entry & HMM_PFN_VALID))
		return walk->dying;

	if (hmm_range_pte_is_migrating(stop->pte)) {
		if (!hmm_range_may_wait_for_migration(walk))
			return -EAGAIN;
		hmm_range_unpin(walk);
		migration_entry_wait(walk->mm, pmdp, *addr);
		return hmm_range_check(walk);
	}

	/*
	 * A page of the caller's own device that the CPU maps read-only: the
	 * fault should bring it back to system memory. But a driver may decline
	 * to do that to itself (amdkfd does, with its locks held); then, in the
	 * end, it gets the page as it is, for it to sort out.
	 */
	if (stop->entry & HMM_PFN_VALID && walk->fault_addr == *addr &&
	    walk->fruitless == HMM_RANGE_FRUITLESS_MAX - 1 &&
	    hmm_range_pte_is_private(stop->pte)) {
		*hmm_range_slot(walk, *addr) = stop->entry;
		*addr += PAGE_SIZE;
		return 0;
	}

	if (stop->empty)
		return hmm_range_fault_empty(walk, *addr, stop->empty);
	return hmm_range_handle_fault(walk, *addr);
}

/* Has only this entry the page? The same rule as in wp_can_reuse_anon_folio() */
static bool hmm_range_may_reuse(struct vm_area_struct *vma, struct page *page)
{
	struct folio *folio = page_folio(page);
	bool alone;

	if (!folio_test_anon(folio) || folio_test_large(folio))
		return false;
	if (PageAnonExclusive(page))
		return true;
	if (folio_ref_count(folio) != 1 || !folio_trylock(folio))
		return false;
	alone = folio_ref_count(folio) == 1;
	if (alone) {
		folio_move_anon_rmap(folio, vma);
		SetPageAnonExclusive(page);
	}
	folio_unlock(folio);
	return alone;
}

/*
 * The caller's device is to write a private page of its own, whose entry does not let it: it
 * lost that to a NUMA hint, to fork() or to mprotect(), or writes are watched. Where a write of
 * the CPU would keep an ordinary page, let the device write in place. A CPU fault would bring
 * the page back to system memory.
 *
 * Return: whether the entry has changed.
 */
static bool hmm_range_reuse_private(struct hmm_range_walk *walk, unsigned long addr,
				    pte_t *ptep, const struct hmm_range_stop *stop)
{
	swp_entry_t swp;
	pte_t pte;

	if (!(stop->entry & HMM_PFN_VALID) || !hmm_range_pte_is_private(stop->pte) ||
	    !(walk->grant & HMM_PFN_WRITE) || pte_swp_uffd_wp(stop->pte))
		return false;
	swp = pte_to_swp_entry(stop->pte);
	if (!hmm_range_may_reuse(walk->vma, pfn_swap_entry_to_page(swp)))
		return false;
	pte = swp_entry_to_pte(make_writable_device_private_entry(swp_offset(swp)));
	set_pte_at(walk->mm, addr, ptep, pte_swp_mksoft_dirty(pte));
	return true;
}

static int hmm_range_walk_ptes_locked(struct hmm_range_walk *walk, pmd_t *pmdp,
				      unsigned long *addr, unsigned long end)
{
	struct hmm_range_stop stop;
	unsigned long start = *addr;
	spinlock_t *ptl; /* of the table */
	pte_t *table;
	bool done;

	table = pte_offset_map_lock(walk->mm, pmdp, start, &ptl);
	if (!table)
		return 0;
	do {
		done = hmm_range_scan_ptes(walk, table + ((*addr - start) >> PAGE_SHIFT), addr,
					   end, true, &stop);
	} while (!done && hmm_range_reuse_private(walk, *addr,
						  table + ((*addr - start) >> PAGE_SHIFT), &stop));
	pte_unmap_unlock(table, ptl);

	return done ? 0 : hmm_range_resolve_pte(walk, pmdp, addr, &stop);
}

static int hmm_range_walk_ptes(struct hmm_range_walk *walk, pmd_t *pmdp,
			       unsigned long *addr, unsigned long end)
{
	struct hmm_range_stop stop;
	pte_t *table;
	bool done;

	table = pte_offset_map(pmdp, *addr);
	if (!table)
		return 0;
	done = hmm_range_scan_ptes(walk, table, addr, end, false, &stop);
	pte_unmap(table);

	if (done)
		return 0;
	if (hmm_range_pte_is_private(stop.pte)) {
		/* Look again under the lock, and at the rest of the VMA too. */
		walk->locked = true;
		return 0;
	}
	return hmm_range_resolve_pte(walk, pmdp, addr, &stop);
}

#ifdef CONFIG_TRANSPARENT_HUGEPAGE
static unsigned long hmm_range_leaf_pmd(struct hmm_range_walk *walk,
					unsigned long addr, pmd_t pmd)
{
	unsigned long pfn = pmd_pfn(pmd) + ((addr & ~PMD_MASK) >> PAGE_SHIFT);
	unsigned long flags = 0;

	if (pmd_protnone(pmd))
		return 0;
	if (is_huge_zero_pmd(pmd))
		return hmm_range_present(walk, pfn, PMD_ORDER, 0);
	if (pmd_devmap(pmd)) {
		if (!hmm_range_pin(walk, pfn))
			return 0;
		flags |= HMM_PFN_DEVICE;
	} else if (!vm_normal_page_pmd(walk->vma, addr, pmd)) {
		return HMM_PFN_REFUSED;
	}

	if (pmd_write(pmd))
		flags |= HMM_PFN_WRITE;
	if (pmd_dirty(pmd))
		flags |= HMM_PFN_DIRTY;
	if (pmd_young(pmd))
		flags |= HMM_PFN_YOUNG;
	return hmm_range_present(walk, pfn, PMD_ORDER, flags);
}
#else
static unsigned long hmm_range_leaf_pmd(const struct hmm_range_walk *walk,
					unsigned long addr, pmd_t pmd)
{
	return HMM_PFN_REFUSED;
}
#endif

static int hmm_range_wait_pmd(struct hmm_range_walk *walk, pmd_t *pmdp,
			      unsigned long *addr, unsigned long end)
{
	int ret = hmm_range_store(walk, addr, end, 0);

	if (ret <= 0)
		return ret;
	if (!hmm_range_may_wait_for_migration(walk))
		return -EAGAIN;
	hmm_range_unpin(walk);
	pmd_migration_entry_wait(walk->mm, pmdp);
	return hmm_range_check(walk);
}

static int hmm_range_walk_pmd(struct hmm_range_walk *walk, pmd_t *pmdp,
			      unsigned long *addr, unsigned long end)
{
	pmd_t pmd = pmdp_get_lockless(pmdp);

	end = pmd_addr_end(*addr, end);
	if (pmd_none(pmd))
		return hmm_range_emit(walk, addr, end, HMM_PFN_EMPTY);
	if (thp_migration_supported() && is_pmd_migration_entry(pmd))
		return hmm_range_wait_pmd(walk, pmdp, addr, end);
	/* Before the kind of leaf is asked: only a present entry has one. */
	if (!pmd_present(pmd))
		return hmm_range_emit(walk, addr, end, HMM_PFN_REFUSED);
	if (pmd_trans_huge(pmd) || pmd_devmap(pmd))
		return hmm_range_emit_leaf(walk, addr, end,
					   hmm_range_leaf_pmd(walk, *addr, pmd),
					   pmd_devmap(pmd));
	if (pmd_bad(pmd))
		return hmm_range_emit(walk, addr, end, HMM_PFN_REFUSED);
	if (walk->locked)
		return hmm_range_walk_ptes_locked(walk, pmdp, addr, end);
	return hmm_range_walk_ptes(walk, pmdp, addr, end);
}

#if defined(CONFIG_TRANSPARENT_HUGEPAGE) && \
	defined(CONFIG_HAVE_ARCH_TRANSPARENT_HUGEPAGE_PUD)
static unsigned long hmm_range_leaf_pud(struct hmm_range_walk *walk,
					unsigned long addr, pud_t pud)
{
	unsigned long pfn = pud_pfn(pud) + ((addr & ~PUD_MASK) >> PAGE_SHIFT);
	unsigned long flags = HMM_PFN_DEVICE;

	/* Device DAX is the only memory that comes in puds. */
	if (!pud_devmap(pud))
		return HMM_PFN_REFUSED;
	if (!hmm_range_pin(walk, pfn))
		return 0;

	if (pud_write(pud))
		flags |= HMM_PFN_WRITE;
	if (pud_dirty(pud))
		flags |= HMM_PFN_DIRTY;
	if (pud_young(pud))
		flags |= HMM_PFN_YOUNG;
	return hmm_range_present(walk, pfn, PUD_ORDER, flags);
}
#else
static unsigned long hmm_range_leaf_pud(const struct hmm_range_walk *walk,
					unsigned long addr, pud_t pud)
{
	return HMM_PFN_REFUSED;
}
#endif

static int hmm_range_walk_pud(struct hmm_range_walk *walk, pud_t *pudp,
			      unsigned long *addr, unsigned long end)
{
	pud_t pud = pudp_get(pudp);
	int ret;

	end = pud_addr_end(*addr, end);
	if (pud_none(pud))
		return hmm_range_emit(walk, addr, end, HMM_PFN_EMPTY);
	if (!pud_present(pud))
		return hmm_range_emit(walk, addr, end, HMM_PFN_REFUSED);
	if (pud_trans_huge(pud) || pud_devmap(pud))
		return hmm_range_emit_leaf(walk, addr, end,
					   hmm_range_leaf_pud(walk, *addr, pud),
					   pud_devmap(pud));
	if (pud_bad(pud))
		return hmm_range_emit(walk, addr, end, HMM_PFN_REFUSED);

	/* Not only from one pmd to the next: again, when one needed a fault. */
	do {
		ret = hmm_range_walk_pmd(walk, pmd_offset(pudp, *addr), addr, end);
		cond_resched();
	} while (!ret && *addr < end);
	return ret;
}

static int hmm_range_walk_p4d(struct hmm_range_walk *walk, p4d_t *p4dp,
			      unsigned long *addr, unsigned long end)
{
	end = p4d_addr_end(*addr, end);
	if (p4d_none(*p4dp))
		return hmm_range_emit(walk, addr, end, HMM_PFN_EMPTY);
	if (p4d_bad(*p4dp))
		return hmm_range_emit(walk, addr, end, HMM_PFN_REFUSED);
	return hmm_range_walk_pud(walk, pud_offset(p4dp, *addr), addr, end);
}

static int hmm_range_walk_pgd(struct hmm_range_walk *walk,
			      unsigned long *addr, unsigned long end)
{
	pgd_t *pgdp = pgd_offset(walk->mm, *addr);

	end = pgd_addr_end(*addr, end);
	if (pgd_none(*pgdp))
		return hmm_range_emit(walk, addr, end, HMM_PFN_EMPTY);
	if (pgd_bad(*pgdp))
		return hmm_range_emit(walk, addr, end, HMM_PFN_REFUSED);
	return hmm_range_walk_p4d(walk, p4d_offset(pgdp, *addr), addr, end);
}

/* The entry of every page of @vma, if it may not be mirrored at all; else 0 */
static unsigned long hmm_range_vma_refused(struct vm_area_struct *vma)
{
	if (vma->vm_flags & (VM_IO | VM_PFNMAP) || vma_is_secretmem(vma))
		return HMM_PFN_REFUSED;
	/* HMM_PFN_VALID is the promise that a device may read. */
	if (!(vma->vm_flags & VM_READ))
		return HMM_PFN_ERROR;
	return 0;
}

static int hmm_range_walk_vma(struct hmm_range_walk *walk,
			      unsigned long *addr, unsigned long end)
{
	struct vm_area_struct *vma = walk->vma;
	unsigned long refused = hmm_range_vma_refused(vma);
	int ret;

	if (refused)
		return hmm_range_emit(walk, addr, end, refused);

	/*
	 * The ptes of a shadow stack are writable in their own way: only by
	 * call instructions, and never by a device.
	 */
	walk->grant = HMM_PFN_VALID;
	if ((vma->vm_flags & (VM_WRITE | VM_SHADOW_STACK)) == VM_WRITE)
		walk->grant |= HMM_PFN_WRITE;
	if (walk->lenient)
		walk->input_req = HMM_PFN_REQ_FAULT | (walk->grant & HMM_PFN_REQ_WRITE);

	/* P2PDMA pages come from vm_insert_page(), which sets VM_MIXEDMAP. */
	walk->locked = walk->report & HMM_PFN_ATTRIBUTES ||
		       (IS_ENABLED(CONFIG_PCI_P2PDMA) &&
			vma->vm_flags & VM_MIXEDMAP);

	/*
	 * A wait for user space can be ended by a signal, and by the cancellation of the
	 * fault, which sends no real one.
	 */
	walk->fault_flags &= ~FAULT_FLAG_INTERRUPTIBLE;
	if (walk->fault_flags & FAULT_FLAG_KILLABLE && userfaultfd_armed(vma))
		walk->fault_flags |= FAULT_FLAG_INTERRUPTIBLE;

	walk->ahead = 1;
	walk->expect = 0;

	while (*addr < end) {
		if (is_vm_hugetlb_page(vma))
			ret = hmm_range_walk_hugetlb(walk, addr, end);
		else
			ret = hmm_range_walk_pgd(walk, addr, end);
		if (ret)
			return ret;
		cond_resched();
	}
	return 0;
}

/* Walk on from @addr to @end, with mmap_lock held. */
static int hmm_range_walk_vmas(struct hmm_range_walk *walk, unsigned long *addr,
			       unsigned long end)
{
	struct vm_area_struct *vma;
	unsigned long next;
	int ret = 0;

	mmap_assert_locked(walk->mm);
	while (!ret && *addr < end) {
		vma = find_vma(walk->mm, *addr);
		if (vma && vma->vm_start <= *addr) {
			walk->vma = vma;
			next = min(end, vma->vm_end);
			ret = hmm_range_walk_vma(walk, addr, next);
		} else {
			next = vma ? min(end, vma->vm_start) : end;
			ret = hmm_range_emit(walk, addr, next, HMM_PFN_ERROR);
		}
	}
	return ret;
}

/*
 * A range of a mirror may be walked part by part. What was read of other parts counts on,
 * unless this walk reads all of it again.
 */
static void hmm_range_walk_begin(struct hmm_range_walk *walk)
{
	struct hmm_range *range = walk->range;

	walk->mm = range->mirror ? range->mirror->mm : range->notifier->mm;
	walk->fault_addr = ULONG_MAX;
	walk->waited = ULONG_MAX;
	walk->careful = walk->fault_flags & FAULT_FLAG_RETRY_NOWAIT ||
			hmm_mm_is_remote(walk->mm);
	walk->fault_flags |= FAULT_FLAG_REMOTE;
	if (range->mirror && range->start <= range->seen_start &&
	    range->seen_end <= range->end)
		range->seen_end = 0;
}

static void hmm_range_walk_end(struct hmm_range_walk *walk)
{
	struct hmm_range *range = walk->range;

	hmm_range_unpin(walk);
	if (range->mirror)
		hmm_range_saw(range, range->start, range->end);
}

/* A part of a range that was begun, or one that was not and is only reported */
static bool hmm_range_is_bad(const struct hmm_range *range)
{
	if (range->start >= range->end || !PAGE_ALIGNED(range->start | range->end))
		return true;
	return range->mirror && range->begun &&
	       (range->mirror != range->begun || range->start < range->begun_start ||
		range->end > range->begun_end);
}

/* Has any of the pages sticky flags? */
static bool hmm_range_has_sticky(const unsigned long *slot, unsigned long count)
{
	unsigned long any = 0;
	unsigned int i;

	for (; count >= HMM_RANGE_UNROLL; count -= HMM_RANGE_UNROLL, slot += HMM_RANGE_UNROLL) {
#pragma GCC unroll 32
		for (i = 0; i < HMM_RANGE_UNROLL; i++)
			any |= slot[i];
	}
	for (; count; count--)
		any |= *slot++;
	return any & HMM_PFN_STICKY;
}

/* Few drivers have them: to keep them must not cost the others anything for each page. */
static noinline int hmm_range_walk_sticky(struct hmm_range_walk *walk, unsigned long *addr,
					  unsigned long end)
{
	unsigned long *slot = hmm_range_slot(walk, *addr);
	unsigned long i, count = (end - *addr) >> PAGE_SHIFT;
	u8 kept[HMM_RANGE_STICKY_PAGES];
	int ret;

	for (i = 0; i < count; i++)
		kept[i] = (slot[i] & HMM_PFN_STICKY) >> (BITS_PER_LONG - 8);
	ret = hmm_range_walk_vmas(walk, addr, end);
	for (i = 0; i < count; i++)
		slot[i] |= (unsigned long)kept[i] << (BITS_PER_LONG - 8);
	return ret;
}

/* The end of so many pages from @addr on, or @end if that comes first */
static unsigned long hmm_range_step(unsigned long addr, unsigned long end, unsigned long pages)
{
	return addr + min(end - addr, pages << PAGE_SHIFT);
}

static int hmm_range_walk_all(struct hmm_range_walk *walk)
{
	const struct hmm_range *range = walk->range;
	unsigned long addr = range->start, end;
	int ret = 0;

	while (!ret && addr < range->end) {
		end = hmm_range_step(addr, range->end, HMM_RANGE_SEARCH_PAGES);
		if (likely(!hmm_range_has_sticky(hmm_range_slot(walk, addr),
						 (end - addr) >> PAGE_SHIFT))) {
			ret = hmm_range_walk_vmas(walk, &addr, end);
			continue;
		}
		while (!ret && addr < end)
			ret = hmm_range_walk_sticky(walk, &addr,
						    hmm_range_step(addr, end,
								   HMM_RANGE_STICKY_PAGES));
	}
	return ret;
}

static int hmm_range_walk(struct hmm_range_walk *walk)
{
	struct hmm_range *range = walk->range;
	int ret;

	if (hmm_range_is_bad(range))
		return -EINVAL;

	hmm_range_walk_begin(walk);
	mmap_assert_locked(walk->mm);
	ret = hmm_range_check(walk);
	if (!ret)
		ret = hmm_range_walk_all(walk);
	hmm_range_walk_end(walk);
	return ret;
}

/**
 * hmm_range_fault() - report the pages of a range, faulting in what is asked for
 * @range: what to walk; begun, before mmap_lock was taken, by hmm_range_begin() if
 *	&hmm_range.mirror is set, else with &hmm_range.notifier_seq from
 *	mmu_interval_read_begin()
 *
 * Each entry of &hmm_range.hmm_pfns is replaced by what the CPU page table
 * holds for its page: see &enum hmm_pfn_flags. A page is faulted in when
 * &hmm_range.default_flags, or its own entry as far as
 * &hmm_range.pfn_flags_mask lets it, requests that; a page that requests
 * nothing is reported as it is and never makes the call fail.
 *
 * On success every entry has been replaced, and those of requested pages are
 * valid, and writable if that was requested. The one exception is a page of the
 * caller's own device memory which the CPU maps read-only, and which its driver
 * has declined to migrate back: that is reported without %HMM_PFN_WRITE.
 *
 * On error the entries before the address that failed are final, and those from
 * it on still hold their input. Outputs are not requests: who tries again has to
 * fill in the requests again, as far as pfn_flags_mask lets them count.
 *
 * The result may be used only under the driver's own lock and only after
 * hmm_range_retry() or mmu_interval_read_retry() has said that nothing has
 * invalidated it since.
 *
 * Context: Process context, with a reference on the users of the mm of the mirror or
 * notifier (mmget_not_zero()) and with its mmap_lock held for reading or writing; it is
 * not dropped. Sleeps.
 * Return: 0 on success, or
 *
 * * %-EINVAL: the range is empty or not page aligned, or reaches out of the one that
 *   hmm_range_begin() was called for
 * * %-EBUSY: the range was invalidated since it began, or the mirror is at its end,
 *   or faults succeed without making progress, or a requested page is device
 *   memory whose driver is going away; drop mmap_lock, begin the range again and
 *   try again, though not for ever
 * * %-EFAULT: a requested page can not be accessed: there is no mapping, it may
 *   not be read, its memory is special, poisoned or handled by userfaultfd,
 *   or the fault failed
 * * %-EPERM: a page that is mapped read-only was requested for writing
 * * %-ENOMEM: a fault ran out of memory
 * * %-EINTR: a page needs a fault, and the task has a fatal signal pending, or the
 *   process that the mm belongs to is being killed
 */
int hmm_range_fault(struct hmm_range *range)
{
	struct hmm_range_walk walk = {
		.range = range,
		.report = ~HMM_PFN_ATTRIBUTES,
		.dying = -EBUSY,
		.default_req = range->default_flags &
			       (HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE),
		.input_req = range->pfn_flags_mask &
			     (HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE),
	};

	return hmm_range_walk(&walk);
}
EXPORT_SYMBOL(hmm_range_fault);

/* What a walk for the mirror page table reports and asks for */
static void hmm_range_want_entries(struct hmm_range_walk *walk)
{
	walk->report = ~HMM_PFN_ATTRIBUTES | HMM_PFN_DEVICE | HMM_PFN_UNADDRESSABLE;
	walk->dying = -EFAULT;
	walk->input_req = walk->range->pfn_flags_mask;
	walk->lenient = walk->input_req && walk->range->call && walk->range->call->may_write;
}

/**
 * hmm_range_fault_locked() - as hmm_range_fault(), for the mirror page table
 * @range: what to walk, with the requests of its pages
 *
 * Reports %HMM_PFN_DEVICE and %HMM_PFN_UNADDRESSABLE as well. Starts no I/O, and waits
 * neither for I/O nor for user space, which may need mmap_lock.
 *
 * Context: As for hmm_range_fault(). Sleeps.
 * Return: As hmm_range_fault(), but -EFAULT if the driver of the memory is going away,
 * and -EAGAIN if a fault would have to start I/O or to wait.
 */
int hmm_range_fault_locked(struct hmm_range *range)
{
	struct hmm_range_walk walk = {
		.range = range,
		.fault_flags = FAULT_FLAG_ALLOW_RETRY | FAULT_FLAG_RETRY_NOWAIT,
	};

	hmm_range_want_entries(&walk);
	return hmm_range_walk(&walk);
}

/*
 * Walk on from @addr: one VMA under its own lock, or all the rest under mmap_lock if
 * that has turned out to be needed, or there is no VMA.
 */
static int hmm_range_walk_some(struct hmm_range_walk *walk, unsigned long *addr)
{
	unsigned long end = walk->range->end;
	int ret;

	walk->fault_flags = FAULT_FLAG_REMOTE | FAULT_FLAG_ALLOW_RETRY | FAULT_FLAG_KILLABLE;
	walk->vma = NULL;
	if (walk->path == HMM_COUNT_VMA_LOCK)
		walk->vma = lock_vma_under_rcu(walk->mm, *addr);
	if (walk->vma) {
		walk->fault_flags |= FAULT_FLAG_VMA_LOCK;
		ret = hmm_range_walk_vma(walk, addr, min(end, walk->vma->vm_end));
		if (ret != HMM_RANGE_UNLOCKED)
			vma_end_read(walk->vma);
	} else {
		walk->path = HMM_COUNT_MMAP_LOCK;
		hmm_range_unpin(walk);
		if (mmap_read_lock_killable(walk->mm))
			return -EINTR;
		ret = hmm_range_walk_vmas(walk, addr, end);
		if (ret != HMM_RANGE_UNLOCKED)
			mmap_read_unlock(walk->mm);
	}
	if (ret != HMM_RANGE_UNLOCKED)
		return ret;
	return walk->interrupted ? -EINTR : hmm_range_check(walk);
}

/**
 * hmm_range_fault_entries() - as hmm_range_fault_locked(), taking the locks it needs
 * @range: what to walk, with the requests of its pages
 * @path: out: %HMM_COUNT_VMA_LOCK if that were only the locks of VMAs, and else
 *	%HMM_COUNT_MMAP_LOCK
 *
 * Context: Process context, with a reference on the users of the mm, and with no lock
 * that faults need. Sleeps, while I/O or userfaultfd are waited for with no lock held.
 * Return: As hmm_range_fault_locked(); -EINTR also when nothing needs a fault, when a
 * signal of any kind has ended a wait for userfaultfd, and when range->call has an error.
 */
int hmm_range_fault_entries(struct hmm_range *range, enum hmm_mirror_count *path)
{
	struct hmm_range_walk walk = {
		.range = range,
		.path = HMM_COUNT_VMA_LOCK,
	};
	unsigned long addr = range->start;
	int ret;

	hmm_range_want_entries(&walk);
	hmm_range_walk_begin(&walk);
	ret = hmm_range_check(&walk);
	while (!ret && addr < range->end)
		ret = hmm_range_walk_some(&walk, &addr);
	hmm_range_walk_end(&walk);
	*path = walk.path;
	return ret;
}

/**
 * hmm_range_snapshot() - report the pages of a range with their attributes
 * @range: what to walk; its request flags and input entries are not looked at
 *
 * As hmm_range_fault() without any request, but the entries carry attributes
 * too: see &enum hmm_pfn_flags. Nothing is faulted in, nothing is waited for.
 *
 * Context: As for hmm_range_fault(). Sleeps.
 * Return: 0 on success, or
 *
 * * %-EINVAL: the range is empty or not page aligned
 * * %-EBUSY: the range was invalidated since it began
 */
int hmm_range_snapshot(struct hmm_range *range)
{
	struct hmm_range_walk walk = {
		.range = range,
		.report = ~0UL,
	};

	return hmm_range_walk(&walk);
}
EXPORT_SYMBOL_GPL(hmm_range_snapshot);
