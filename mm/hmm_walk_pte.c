// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * HMM range walker: the scan of a pte table. mm/hmm.c has the protocol.
 */
#include <linux/hmm.h>
#include <linux/memremap.h>
#include <linux/mm.h>
#include <linux/rmap.h>

#include "hmm_walk.h"
#include "internal.h"

/*
 * Maximum number of faults before the walk reads the ptes again. It is large enough
 * that the read costs almost nothing for each fault. Where larger folios begin, up to
 * this many faults find their page already mapped.
 */
#define HMM_WALK_AHEAD_MAX	64

/* On 64-bit, no pfn of any architecture overlaps the flags. */
#if !defined(MAX_POSSIBLE_PHYSMEM_BITS) && defined(MAX_PHYSMEM_BITS)
#define MAX_POSSIBLE_PHYSMEM_BITS	MAX_PHYSMEM_BITS
#endif
#if defined(CONFIG_64BIT) && defined(MAX_POSSIBLE_PHYSMEM_BITS)
static_assert(MAX_POSSIBLE_PHYSMEM_BITS - PAGE_SHIFT <= HMM_PFN_ATTR_SHIFT);
#endif

/*
 * Does this entry of a private page allow a write without a fault? A writable entry can still be
 * write-protected by userfaultfd, or not be soft-dirty in a VMA that tracks soft-dirty ptes.
 */
static bool hmm_walk_private_is_writable(const struct hmm_walk *walk, pte_t pte)
{
	return is_writable_device_private_entry(pte_to_swp_entry(pte)) &&
	       !pte_swp_uffd_wp(pte) &&
	       (pte_swp_soft_dirty(pte) || !vma_soft_dirty_enabled(walk->vma));
}

/* A private page is reported only to the driver that owns it. */
static unsigned long hmm_walk_device_private(const struct hmm_walk *walk, pte_t pte,
					     swp_entry_t swp)
{
	unsigned long entry = HMM_PFN_DEVICE | HMM_PFN_UNADDRESSABLE;
	void *owner = walk->range->dev_private_owner;

	VM_WARN_ON_ONCE(!walk->locked);
	if (!owner || pfn_swap_entry_to_page(swp)->pgmap->owner != owner)
		return entry;

	entry |= swp_offset_pfn(swp) | HMM_PFN_VALID;
	if (hmm_walk_private_is_writable(walk, pte))
		entry |= walk->grant & HMM_PFN_WRITE;
	return entry;
}

/* An entry of a pte or hugetlb table that is not present */
unsigned long hmm_walk_nonpresent(const struct hmm_walk *walk, pte_t pte)
{
	swp_entry_t swp;

	if (pte_none(pte))
		return HMM_PFN_EMPTY;

	swp = pte_to_swp_entry(pte);
	if (is_device_private_entry(swp))
		return hmm_walk_device_private(walk, pte, swp);
	if (is_device_exclusive_entry(swp))
		return HMM_PFN_DEVICE | HMM_PFN_UNADDRESSABLE;
	if (is_hwpoison_entry(swp) || is_poisoned_swp_entry(swp))
		return HMM_PFN_ERROR;
	if (is_pte_marker_entry(swp))
		return HMM_PFN_EMPTY;

	/* Swapped out, or migrating */
	return 0;
}

/**
 * struct hmm_walk_like - a model for ptes that differ only in the pfn
 * @pte: the pte that maps the first known pfn
 * @entry: the entry of that pte
 * @count: number of known pfns; 0 if there is no model
 */
struct hmm_walk_like {
	unsigned long pte;
	unsigned long entry;
	unsigned long count;
};

/**
 * struct hmm_walk_known - knowledge from earlier ptes about the next pte
 * @first: first known pfn: it is known what kind of memory it belongs to
 * @count: number of consecutive known pfns
 * @device: %HMM_PFN_DEVICE if that memory is device memory, otherwise 0
 * @devmap: its ptes are devmap, and its pagemap is pinned
 * @like: the last pte with a known pfn and an entry that meets any possible request
 * @older: the previous @like, for ptes of two alternating kinds
 *
 * It is valid within one pte table.
 */
struct hmm_walk_known {
	unsigned long first;
	unsigned long count;
	unsigned long device;
	bool devmap;
	struct hmm_walk_like like;
	struct hmm_walk_like older;
};

static void hmm_walk_know_pfns(struct hmm_walk_known *known, unsigned long first,
			       unsigned long count, unsigned long device, bool devmap)
{
	known->first = first;
	known->count = count;
	known->device = device;
	known->devmap = devmap;
	known->like.count = 0;
	known->older.count = 0;
}

static void hmm_walk_know_nothing(struct hmm_walk_known *known)
{
	hmm_walk_know_pfns(known, 0, 0, 0, false);
}

/*
 * Every pte of an ordinary mapping maps a page. The kind of page matters only if the
 * walk holds the lock of the pte table.
 */
static void hmm_walk_know_all(const struct hmm_walk *walk,
			      struct hmm_walk_known *known)
{
	/* Without pte_special() the pfn of each pte must be checked for a struct page. */
	if (!IS_ENABLED(CONFIG_ARCH_HAS_PTE_SPECIAL) &&
	    walk->vma->vm_flags & VM_MIXEDMAP)
		hmm_walk_know_nothing(known);
	else
		hmm_walk_know_pfns(known, 0, highest_memmap_pfn + 1, 0, false);
}

#ifdef CONFIG_ZONE_DEVICE
/*
 * Memory hotplug adds device memory in whole subsections, and each subsection belongs
 * to one device. A section that is online and not tainted has no device memory.
 *
 * A subsection can change as soon as its pages are unused. But while the lock of the
 * pte table is held, no other page becomes mapped by the table, and the mapped pages
 * remain in use.
 *
 * Return: false for a page that no device may access.
 */
static bool hmm_walk_know_page(const struct hmm_walk *walk,
			       struct hmm_walk_known *known, struct page *page)
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
	hmm_walk_know_pfns(known, first, count, device, false);
	return true;
}

/* Use the first range of the pagemap, in which get_dev_pagemap() keeps the pin. */
static void hmm_walk_know_pagemap(struct hmm_walk_known *known,
				  const struct dev_pagemap *pgmap)
{
	hmm_walk_know_pfns(known, PHYS_PFN(pgmap->range.start),
			   PHYS_PFN(range_len(&pgmap->range)), HMM_PFN_DEVICE, true);
}
#else
static bool hmm_walk_know_page(const struct hmm_walk *walk,
			       struct hmm_walk_known *known, struct page *page)
{
	hmm_walk_know_all(walk, known);
	return known->count;
}

static void hmm_walk_know_pagemap(struct hmm_walk_known *known,
				  const struct dev_pagemap *pgmap)
{
}
#endif

/*
 * On 64-bit, every architecture with PFN_PTE_SHIFT stores the pfn as a number that begins
 * at that bit, and the sum of two pfns does not carry into the bits above it.
 */
#if defined(CONFIG_64BIT) && defined(PFN_PTE_SHIFT)
/*
 * The distance from like->pte to @pte, in pfns. If the ptes differ in anything but the
 * pfn, one of the topmost bits of the result is set: it is at least like->count.
 *
 * Most ptes are like the previous one: for these the walk needs no other test.
 */
static __always_inline unsigned long
hmm_walk_pte_distance(const struct hmm_walk_like *like, pte_t pte)
{
	return ror64(pte_val(pte) - like->pte, PFN_PTE_SHIFT);
}

/*
 * Make @pte, which maps @pfn and has the entry @entry, the model for later ptes. Without
 * pte_special() the pte of the zero page looks like any other. It differs in attributes,
 * which only a walk with the lock reports.
 */
static __always_inline void
hmm_walk_know_pte(struct hmm_walk_known *known, pte_t pte, unsigned long pfn,
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
hmm_walk_pte_distance(const struct hmm_walk_like *like, pte_t pte)
{
	return ULONG_MAX;
}

static void hmm_walk_know_pte(struct hmm_walk_known *known, pte_t pte,
			      unsigned long pfn, unsigned long entry, bool locked)
{
}
#endif

/* Is @pte present, and is the memory of its @pfn known? */
static __always_inline bool
hmm_walk_pte_is_known(const struct hmm_walk *walk,
		      struct hmm_walk_known *known, pte_t pte,
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
	       hmm_walk_know_page(walk, known, pfn_to_page(pfn));
}

static __always_inline unsigned long
hmm_walk_known_pte(const struct hmm_walk *walk,
		   const struct hmm_walk_known *known, pte_t pte,
		    unsigned long pfn, bool locked)
{
	unsigned long flags = known->device;

	if (pte_write(pte))
		flags |= HMM_PFN_WRITE;
	if (locked && pte_dirty(pte))
		flags |= HMM_PFN_DIRTY;
	if (locked && pte_young(pte))
		flags |= HMM_PFN_YOUNG;
	return hmm_walk_present(walk, pfn, 0, flags);
}

/* The entry of a pte that is not known. It can make later ptes known. */
static noinline unsigned long
hmm_walk_slow_pte(struct hmm_walk *walk, unsigned long addr, pte_t pte,
		  struct hmm_walk_known *known)
{
	unsigned long pfn = pte_pfn(pte);
	struct page *page;

	if (!pte_present(pte))
		return hmm_walk_nonpresent(walk, pte);
	if (pte_protnone(pte))
		return 0;
	if (pte_devmap(pte)) {
		if (!hmm_walk_pin(walk, pfn)) {
			/* The previous pagemap is not pinned any more. */
			hmm_walk_know_nothing(known);
			return 0;
		}
		hmm_walk_know_pagemap(known, walk->pgmap);
		return hmm_walk_known_pte(walk, known, pte, pfn, true);
	}
	if (is_zero_pfn(pfn))
		return hmm_walk_present(walk, pfn, 0, 0);

	page = vm_normal_page(walk->vma, addr, pte);
	if (!page)
		return HMM_PFN_REFUSED;
	if (!walk->locked)
		hmm_walk_know_all(walk, known);
	else if (!hmm_walk_know_page(walk, known, page))
		return HMM_PFN_REFUSED;
	return hmm_walk_known_pte(walk, known, pte, pfn, true);
}

static bool hmm_walk_pte_is_private(pte_t pte)
{
	return is_swap_pte(pte) &&
	       is_device_private_entry(pte_to_swp_entry(pte));
}

/**
 * struct hmm_walk_stop - the pte at which the walk of a pte table stopped
 * @pte: the pte
 * @entry: its entry, which was not stored
 * @empty: number of empty ptes with the same request from there on, limited to the
 *	number that the next step can use
 */
struct hmm_walk_stop {
	pte_t pte;
	unsigned long entry;
	unsigned int empty;
};

/* Count the empty ptes from @ptep on, see &hmm_walk_stop.empty. */
static noinline unsigned int
hmm_walk_count_empty(const struct hmm_walk *walk, pte_t *ptep,
		     unsigned long addr, unsigned long end)
{
	unsigned long *slot = hmm_walk_slot(walk, addr);
	unsigned long req = hmm_walk_request(walk, *slot);
	/* The next step faults in at most twice as many, and needs the pte after them. */
	unsigned long most = min3((end - addr) >> PAGE_SHIFT, 2UL * walk->ahead + 1,
				  HMM_WALK_AHEAD_MAX + 1UL);
	unsigned int i = 0;

	while (i < most && pte_none(ptep_get_lockless(ptep + i)) &&
	       hmm_walk_request(walk, slot[i]) == req)
		i++;
	return i;
}

static __always_inline pte_t hmm_walk_read_pte(pte_t *ptep, bool locked)
{
	return locked ? ptep_get(ptep) : ptep_get_lockless(ptep);
}

/* Store the entry of @pte if it is like @like. Return: whether it is. */
static __always_inline bool
hmm_walk_store_like(const struct hmm_walk_like *like, pte_t pte,
		    unsigned long *slot)
{
	unsigned long distance = hmm_walk_pte_distance(like, pte);

	if (distance >= like->count)
		return false;
	*slot = like->entry + distance;
	return true;
}

static __always_inline bool
hmm_walk_scan_like(const struct hmm_walk_like *like, pte_t *ptep,
		   unsigned long *slot, bool locked)
{
	return likely(hmm_walk_store_like(like, hmm_walk_read_pte(ptep, locked),
					    slot));
}

/* The same for eight ptes. Return: the number of ptes before the first that is not like @like. */
static __always_inline unsigned int
hmm_walk_scan_eight(const struct hmm_walk_like *like, pte_t *ptep,
		    unsigned long *slot, bool locked)
{
	if (!hmm_walk_scan_like(like, ptep, slot, locked))
		return 0;
	if (!hmm_walk_scan_like(like, ptep + 1, slot + 1, locked))
		return 1;
	if (!hmm_walk_scan_like(like, ptep + 2, slot + 2, locked))
		return 2;
	if (!hmm_walk_scan_like(like, ptep + 3, slot + 3, locked))
		return 3;
	if (!hmm_walk_scan_like(like, ptep + 4, slot + 4, locked))
		return 4;
	if (!hmm_walk_scan_like(like, ptep + 5, slot + 5, locked))
		return 5;
	if (!hmm_walk_scan_like(like, ptep + 6, slot + 6, locked))
		return 6;
	if (!hmm_walk_scan_like(like, ptep + 7, slot + 7, locked))
		return 7;
	return 8;
}

/*
 * The same for all ptes up to @last, sixteen at a time: to advance and compare takes
 * half as long as the work for one pte.
 *
 * Return: The slot of the first pte that is not like @like, or @last.
 */
static __always_inline unsigned long *
hmm_walk_scan_run(const struct hmm_walk_like like, pte_t *ptep,
		  unsigned long *slot, unsigned long *last, bool locked)
{
	const unsigned long *bulk = slot + round_down(last - slot, 16);
	unsigned int count;

	for (; slot < bulk; ptep += 16, slot += 16) {
		count = hmm_walk_scan_eight(&like, ptep, slot, locked);
		if (count < 8)
			return slot + count;
		count = hmm_walk_scan_eight(&like, ptep + 8, slot + 8, locked);
		if (count < 8)
			return slot + 8 + count;
	}
	for (; slot < last; ptep++, slot++)
		if (!hmm_walk_scan_like(&like, ptep, slot, locked))
			break;
	return slot;
}

/* Return: true if the walk has reached @end; otherwise @stop describes the pte at @addr. */
static __always_inline bool
hmm_walk_scan_ptes(struct hmm_walk *walk, pte_t *ptep,
		   unsigned long *addr, unsigned long end, bool locked,
		    struct hmm_walk_stop *stop)
{
	const unsigned long report = locked ? walk->report : ~HMM_PFN_ATTRIBUTES;
	const unsigned long needed = walk->default_req | walk->input_req;
	unsigned long *slot = hmm_walk_slot(walk, *addr);
	unsigned long *const last = slot + ((end - *addr) >> PAGE_SHIFT);
	struct hmm_walk_known known;
	unsigned long *stop_slot, entry = 0;
	pte_t pte = __pte(0);
	bool is_known;

	known.like = (struct hmm_walk_like){};
	known.older = (struct hmm_walk_like){};
	if (locked)
		hmm_walk_know_nothing(&known);
	else
		hmm_walk_know_all(walk, &known);

	for (; slot < last; ptep++, slot++) {
		stop_slot = hmm_walk_scan_run(known.like, ptep, slot, last, locked);
		/* Otherwise the compiler updates ptep in hmm_walk_scan_run(), for each pte. */
		OPTIMIZER_HIDE_VAR(stop_slot);
		ptep += stop_slot - slot;
		slot = stop_slot;
		if (slot == last)
			break;

		pte = hmm_walk_read_pte(ptep, locked);
		if (hmm_walk_store_like(&known.older, pte, slot)) {
			swap(known.like, known.older);
			continue;
		}
		is_known = hmm_walk_pte_is_known(walk, &known, pte, pte_pfn(pte), locked);
		if (likely(is_known))
			entry = hmm_walk_known_pte(walk, &known, pte, pte_pfn(pte),
						   locked);
		else if (locked || !hmm_walk_pte_is_private(pte))
			entry = hmm_walk_slow_pte(walk, end - ((last - slot) << PAGE_SHIFT),
						  pte, &known);
		else
			break;

		entry &= report;
		if (unlikely(needed & ~entry)) {
			if (!hmm_walk_satisfies(entry, hmm_walk_request(walk, *slot)))
				break;
		} else if (is_known) {
			/* This entry, and those like it, meet any possible request. */
			hmm_walk_know_pte(&known, pte, pte_pfn(pte), entry, locked);
		}
		*slot = entry;
	}

	*addr = end - ((last - slot) << PAGE_SHIFT);
	if (slot == last)
		return true;
	stop->pte = pte;
	stop->entry = entry;
	stop->empty = pte_none(pte) ?
		      hmm_walk_count_empty(walk, ptep, *addr, end) : 0;
	return false;
}

/*
 * Fault in empty ptes. A fault can also map the next ptes, by a large folio or by
 * fault-around. If the faults of the last step mapped one page each, take twice as many
 * before the walk reads a pte again.
 *
 * The pte at walk->expect shows that, because no fault was taken for it. Its address is
 * an odd number of pages, so no large folio ends before it: large folios begin and end at
 * multiples of at least two pages.
 */
static int hmm_walk_fault_empty(struct hmm_walk *walk, unsigned long addr,
				unsigned int empty)
{
	const unsigned long first = addr >> PAGE_SHIFT;

	if (walk->expect)
		walk->ahead = walk->expect == addr ?
			      min(2 * walk->ahead, HMM_WALK_AHEAD_MAX) : 1;
	walk->expect = 0;

	if (empty > 1) {
		empty = min(empty - 1, walk->ahead);
		if (empty > 1 && (first + empty) % 2 == 0)
			empty--;
		if ((first + empty) % 2)
			walk->expect = addr + empty * PAGE_SIZE;
	}
	return hmm_walk_handle_faults(walk, addr, empty);
}

static int hmm_walk_resolve_pte(struct hmm_walk *walk, pmd_t *pmdp,
				unsigned long *addr,
				 const struct hmm_walk_stop *stop)
{
	int ret = hmm_walk_may_fault(walk, *addr, stop->entry);

	if (ret)
		return ret;

	if (pte_present(stop->pte) && pte_devmap(stop->pte) &&
	    !(stop->entry & HMM_PFN_VALID))
		return walk->dying;

	if (hmm_walk_pte_is_migrating(stop->pte)) {
		if (!hmm_walk_may_wait_for_migration(walk))
			return -EAGAIN;
		hmm_walk_unpin(walk);
		migration_entry_wait(walk->mm, pmdp, *addr);
		return hmm_walk_check(walk);
	}

	/*
	 * The CPU maps a page of the caller's own device read-only. A fault
	 * should migrate it back to system memory. But a driver can decline to
	 * migrate during its own call (amdkfd does, because it holds its
	 * locks). After the last fault the driver gets the read-only entry.
	 */
	if (stop->entry & HMM_PFN_VALID && walk->fault_addr == *addr &&
	    walk->no_progress == HMM_WALK_NO_PROGRESS_MAX - 1 &&
	    hmm_walk_pte_is_private(stop->pte)) {
		*hmm_walk_slot(walk, *addr) = stop->entry;
		*addr += PAGE_SIZE;
		return 0;
	}

	if (stop->empty)
		return hmm_walk_fault_empty(walk, *addr, stop->empty);
	return hmm_walk_handle_fault(walk, *addr);
}

/* Does only this entry use the page? The rule is that of wp_can_reuse_anon_folio(). */
static bool hmm_walk_may_reuse(struct vm_area_struct *vma, struct page *page)
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
 * The caller requests a write to a private page of its own device, and the entry does not allow
 * it: a NUMA hint, fork() or mprotect() has made it read-only, or it is not soft-dirty. If a CPU
 * write would reuse an ordinary page, make the entry writable. A CPU fault would migrate the page
 * back to system memory.
 *
 * Return: true if the entry has changed.
 */
static bool hmm_walk_make_writable(struct hmm_walk *walk, unsigned long addr,
				   pte_t *ptep, const struct hmm_walk_stop *stop)
{
	swp_entry_t swp;
	pte_t pte;

	if (!(stop->entry & HMM_PFN_VALID) || !hmm_walk_pte_is_private(stop->pte) ||
	    !(walk->grant & HMM_PFN_WRITE) || pte_swp_uffd_wp(stop->pte))
		return false;
	swp = pte_to_swp_entry(stop->pte);
	if (!hmm_walk_may_reuse(walk->vma, pfn_swap_entry_to_page(swp)))
		return false;
	pte = swp_entry_to_pte(make_writable_device_private_entry(swp_offset(swp)));
	set_pte_at(walk->mm, addr, ptep, pte_swp_mksoft_dirty(pte));
	return true;
}

static int hmm_walk_ptes_locked(struct hmm_walk *walk, pmd_t *pmdp,
				unsigned long *addr, unsigned long end)
{
	struct hmm_walk_stop stop;
	unsigned long start = *addr;
	spinlock_t *ptl; /* lock of the table */
	pte_t *table;
	bool done;

	table = pte_offset_map_lock(walk->mm, pmdp, start, &ptl);
	if (!table)
		return 0;
	do {
		done = hmm_walk_scan_ptes(walk, table + ((*addr - start) >> PAGE_SHIFT), addr,
					  end, true, &stop);
	} while (!done && hmm_walk_make_writable(walk, *addr,
						  table + ((*addr - start) >> PAGE_SHIFT), &stop));
	pte_unmap_unlock(table, ptl);

	return done ? 0 : hmm_walk_resolve_pte(walk, pmdp, addr, &stop);
}

int hmm_walk_ptes(struct hmm_walk *walk, pmd_t *pmdp, unsigned long *addr, unsigned long end)
{
	struct hmm_walk_stop stop;
	pte_t *table;
	bool done;

	if (walk->locked)
		return hmm_walk_ptes_locked(walk, pmdp, addr, end);

	table = pte_offset_map(pmdp, *addr);
	if (!table)
		return 0;
	done = hmm_walk_scan_ptes(walk, table, addr, end, false, &stop);
	pte_unmap(table);

	if (done)
		return 0;
	if (hmm_walk_pte_is_private(stop.pte)) {
		/* Scan it again under the lock. Scan the rest of the VMA under the lock, too. */
		walk->locked = true;
		return 0;
	}
	return hmm_walk_resolve_pte(walk, pmdp, addr, &stop);
}
