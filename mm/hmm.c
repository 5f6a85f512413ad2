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
 * - mmap_lock, held by the caller, keeps the VMAs, and below a VMA every table
 *   down to the one that holds the pmd entry. An entry that was found to be
 *   such a table stays one.
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
 * Faults are taken in place, with nothing but mmap_lock held and every table
 * pointer forgotten; then the address is looked up from the top. So whatever
 * size of mapping a fault has installed is seen as such, and within one call no
 * page is walked twice that has been stored.
 */
#include <linux/hmm.h>
#include <linux/hugetlb.h>
#include <linux/memremap.h>
#include <linux/mmu_notifier.h>
#include <linux/sched/signal.h>
#include <linux/secretmem.h>
#include <linux/swap.h>
#include <linux/swapops.h>

#include "internal.h"

/* What only hmm_range_snapshot() reports */
#define HMM_PFN_ATTRIBUTES	(HMM_PFN_READ | HMM_PFN_EMPTY |		\
				 HMM_PFN_SPECIAL | HMM_PFN_DEVICE |	\
				 HMM_PFN_UNADDRESSABLE |		\
				 HMM_PFN_DIRTY | HMM_PFN_YOUNG)

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

/* On 64-bit the flags begin where no pfn of any architecture reaches. */
#if !defined(MAX_POSSIBLE_PHYSMEM_BITS) && defined(MAX_PHYSMEM_BITS)
#define MAX_POSSIBLE_PHYSMEM_BITS	MAX_PHYSMEM_BITS
#endif
#if defined(CONFIG_64BIT) && defined(MAX_POSSIBLE_PHYSMEM_BITS)
static_assert(MAX_POSSIBLE_PHYSMEM_BITS - PAGE_SHIFT <= HMM_PFN_ATTR_SHIFT);
#endif

/**
 * struct hmm_range_walk - state of one walk
 * @range: what to walk
 * @mm: whose page table
 * @vma: the VMA that was entered last
 * @default_req: the request flags of every page
 * @input_req: which request flags of an input entry count as well
 * @report: which flags an output may carry
 * @grant: of %HMM_PFN_VALID and %HMM_PFN_WRITE, what @vma can let a device do
 * @locked: walk pte tables of @vma under their lock
 * @pgmap: pinned, because the devmap entry that was read last belongs to it
 * @fault_addr: where the last fault was taken
 * @fruitless: how many faults in a row were taken there before that one
 */
struct hmm_range_walk {
	struct hmm_range *range;
	struct mm_struct *mm;
	struct vm_area_struct *vma;
	unsigned long default_req;
	unsigned long input_req;
	unsigned long report;
	unsigned long grant;
	bool locked;
	struct dev_pagemap *pgmap;
	unsigned long fault_addr;
	unsigned int fruitless;
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
		for (; addr < end; addr += PAGE_SIZE, entry += step)
			*slot++ = entry;
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
 * it gets -EBUSY, because a fault would change nothing, nor would looking again.
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

/* Is it still worth going on? Asked first, and after every fault and wait. */
static int hmm_range_check(const struct hmm_range_walk *walk)
{
	struct hmm_range *range = walk->range;

	if (mmu_interval_check_retry(range->notifier, range->notifier_seq))
		return -EBUSY;
	return 0;
}

/* For a page that hmm_range_may_fault() lets pass */
static int hmm_range_handle_fault(struct hmm_range_walk *walk,
				  unsigned long addr)
{
	unsigned long req = hmm_range_request(walk, *hmm_range_slot(walk, addr));
	unsigned int flags = FAULT_FLAG_REMOTE;
	vm_fault_t fault;

	/* A task that was killed must not fill more memory first. */
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
	fault = handle_mm_fault(walk->vma, addr, flags, NULL);
	if (fault & VM_FAULT_ERROR)
		return vm_fault_to_errno(fault, 0) ?: -EFAULT;

	return hmm_range_check(walk);
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
		return -EBUSY;
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

/* Private pages are reported to the driver they belong to, and to no other. */
static unsigned long hmm_range_device_private(const struct hmm_range_walk *walk,
					      swp_entry_t swp)
{
	unsigned long entry = HMM_PFN_DEVICE | HMM_PFN_UNADDRESSABLE;
	void *owner = walk->range->dev_private_owner;

	VM_WARN_ON_ONCE(!walk->locked);
	if (!owner || pfn_swap_entry_to_page(swp)->pgmap->owner != owner)
		return entry;

	entry |= swp_offset_pfn(swp) | HMM_PFN_VALID;
	if (is_writable_device_private_entry(swp))
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
		return hmm_range_device_private(walk, swp);
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

static unsigned long hmm_range_pte_flags(pte_t pte)
{
	return (pte_write(pte) ? HMM_PFN_WRITE : 0) |
	       (pte_dirty(pte) ? HMM_PFN_DIRTY : 0) |
	       (pte_young(pte) ? HMM_PFN_YOUNG : 0);
}

/*
 * A pte with a struct page behind it. With the pte table locked the page cannot
 * go away, so that it may be asked what kind it is. Those who need to know have
 * set walk->locked.
 */
static __always_inline unsigned long
hmm_range_normal_pte(const struct hmm_range_walk *walk, pte_t pte,
		     struct page *page, bool locked)
{
	unsigned long flags = hmm_range_pte_flags(pte);

	if (locked && unlikely(is_zone_device_page(page))) {
		if (is_pci_p2pdma_page(page))
			return HMM_PFN_REFUSED;
		flags |= HMM_PFN_DEVICE;
	}
	return hmm_range_present(walk, pte_pfn(pte), 0, flags);
}

/* Does @pte need nothing but hmm_range_normal_pte()? */
static bool hmm_range_pte_is_normal(pte_t pte)
{
	return IS_ENABLED(CONFIG_ARCH_HAS_PTE_SPECIAL) &&
	       pte_present(pte) && !pte_protnone(pte) &&
	       !pte_special(pte) && !pte_devmap(pte) &&
	       pte_pfn(pte) <= highest_memmap_pfn;
}

static noinline unsigned long
hmm_range_odd_pte(struct hmm_range_walk *walk, unsigned long addr, pte_t pte)
{
	unsigned long pfn = pte_pfn(pte);
	struct page *page;

	if (!pte_present(pte))
		return hmm_range_nonpresent(walk, pte);
	if (pte_protnone(pte))
		return 0;
	if (pte_devmap(pte)) {
		if (!hmm_range_pin(walk, pfn))
			return 0;
		return hmm_range_present(walk, pfn, 0, HMM_PFN_DEVICE |
						       hmm_range_pte_flags(pte));
	}
	if (is_zero_pfn(pfn))
		return hmm_range_present(walk, pfn, 0, 0);

	page = vm_normal_page(walk->vma, addr, pte);
	if (!page)
		return HMM_PFN_REFUSED;
	return hmm_range_normal_pte(walk, pte, page, walk->locked);
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
 */
struct hmm_range_stop {
	pte_t pte;
	unsigned long entry;
};

/* Return: whether the walk came to @end; otherwise @stop says what is at @addr. */
static __always_inline bool
hmm_range_scan_ptes(struct hmm_range_walk *walk, pte_t *ptep,
		    unsigned long *addr, unsigned long end, bool locked,
		    struct hmm_range_stop *stop)
{
	const unsigned long report = locked ? walk->report : ~HMM_PFN_ATTRIBUTES;
	unsigned long *slot = hmm_range_slot(walk, *addr);
	unsigned long at = *addr, entry = 0;
	pte_t pte;

	for (; at < end; at += PAGE_SIZE, ptep++, slot++) {
		pte = locked ? ptep_get(ptep) : ptep_get_lockless(ptep);

		if (likely(hmm_range_pte_is_normal(pte)))
			entry = hmm_range_normal_pte(walk, pte, pte_page(pte),
						     locked);
		else if (locked || !hmm_range_pte_is_private(pte))
			entry = hmm_range_odd_pte(walk, at, pte);
		else
			break;

		entry &= report;
		if (!hmm_range_satisfies(entry, hmm_range_request(walk, *slot)))
			break;
		*slot = entry;
	}

	*addr = at;
	if (at == end)
		return true;
	stop->pte = pte;
	stop->entry = entry;
	return false;
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
		return -EBUSY;

	if (hmm_range_pte_is_migrating(stop->pte)) {
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

	return hmm_range_handle_fault(walk, *addr);
}

static int hmm_range_walk_ptes_locked(struct hmm_range_walk *walk, pmd_t *pmdp,
				      unsigned long *addr, unsigned long end)
{
	struct hmm_range_stop stop;
	spinlock_t *ptl; /* of the table */
	pte_t *table;
	bool done;

	table = pte_offset_map_lock(walk->mm, pmdp, *addr, &ptl);
	if (!table)
		return 0;
	done = hmm_range_scan_ptes(walk, table, addr, end, true, &stop);
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
	return hmm_range_walk_pmd(walk, pmd_offset(pudp, *addr), addr, end);
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

	/* P2PDMA pages come from vm_insert_page(), which sets VM_MIXEDMAP. */
	walk->locked = walk->report & HMM_PFN_ATTRIBUTES ||
		       (IS_ENABLED(CONFIG_PCI_P2PDMA) &&
			vma->vm_flags & VM_MIXEDMAP);

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

static int hmm_range_walk(struct hmm_range_walk *walk)
{
	struct hmm_range *range = walk->range;
	unsigned long addr = range->start, next;
	struct vm_area_struct *vma;
	int ret;

	walk->mm = range->notifier->mm;
	walk->fault_addr = ULONG_MAX;
	mmap_assert_locked(walk->mm);

	if (range->start >= range->end ||
	    !PAGE_ALIGNED(range->start | range->end))
		return -EINVAL;

	ret = hmm_range_check(walk);
	while (!ret && addr < range->end) {
		vma = find_vma(walk->mm, addr);
		if (vma && vma->vm_start <= addr) {
			walk->vma = vma;
			next = min(range->end, vma->vm_end);
			ret = hmm_range_walk_vma(walk, &addr, next);
		} else {
			next = vma ? min(range->end, vma->vm_start) : range->end;
			ret = hmm_range_emit(walk, &addr, next, HMM_PFN_ERROR);
		}
	}
	hmm_range_unpin(walk);
	return ret;
}

/**
 * hmm_range_fault() - report the pages of a range, faulting in what is asked for
 * @range: what to walk; &hmm_range.notifier_seq has to come from
 *	mmu_interval_read_begin(), called before mmap_lock was taken
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
 * mmu_interval_read_retry() has said that nothing has invalidated it since.
 *
 * Context: Process context, with a reference on the users of the notifier's mm
 * (mmget_not_zero()) and with its mmap_lock held for reading or writing; it is
 * not dropped. Sleeps.
 * Return: 0 on success, or
 *
 * * %-EINVAL: the range is empty or not page aligned
 * * %-EBUSY: the range was invalidated since &hmm_range.notifier_seq was read,
 *   or faults succeed without making progress, or a requested page is device
 *   memory whose driver is going away; drop mmap_lock, call
 *   mmu_interval_read_begin() and try again
 * * %-EFAULT: a requested page can not be accessed: there is no mapping, it may
 *   not be read, its memory is special, poisoned or handled by userfaultfd,
 *   or the fault failed
 * * %-EPERM: a page that is mapped read-only was requested for writing
 * * %-ENOMEM: a fault ran out of memory
 * * %-EINTR: a page needs a fault and the task has a fatal signal pending
 */
int hmm_range_fault(struct hmm_range *range)
{
	struct hmm_range_walk walk = {
		.range = range,
		.report = ~HMM_PFN_ATTRIBUTES,
		.default_req = range->default_flags &
			       (HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE),
		.input_req = range->pfn_flags_mask &
			     (HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE),
	};

	return hmm_range_walk(&walk);
}
EXPORT_SYMBOL(hmm_range_fault);

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
 * * %-EBUSY: the range was invalidated since &hmm_range.notifier_seq was read
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
