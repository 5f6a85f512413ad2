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
#include <linux/userfaultfd_k.h>

#include "hmm_walk.h"
#include "internal.h"

/* What a walk for a driver keeps from input to output */
#define HMM_PFN_STICKY		(HMM_PFN_DMA_MAPPED | HMM_PFN_P2PDMA | HMM_PFN_P2PDMA_BUS)

/* Pages for which the loops that do least are unrolled */
#define HMM_WALK_UNROLL	32

/* Pages whose input is searched for sticky flags before they are walked */
#define HMM_WALK_SEARCH_PAGES	BIT(18)

/* Pages that are walked in one step if there are sticky flags */
#define HMM_WALK_STICKY_PAGES	512UL

/*
 * Of a huge mapping nothing is done for each page but a load and a store: a loop around one
 * page takes longer to count than for these.
 */
static void hmm_walk_fill_slots(unsigned long *slot, unsigned long count,
				unsigned long entry, unsigned long step)
{
	unsigned int i;

	for (; count >= HMM_WALK_UNROLL; count -= HMM_WALK_UNROLL, slot += HMM_WALK_UNROLL) {
#pragma GCC unroll 32
		for (i = 0; i < HMM_WALK_UNROLL; i++, entry += step)
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
static unsigned long hmm_walk_fill(const struct hmm_walk *walk,
				   unsigned long addr, unsigned long end,
				    unsigned long entry)
{
	unsigned long *slot = hmm_walk_slot(walk, addr);
	unsigned long step = entry & HMM_PFN_VALID ? 1 : 0;

	entry &= walk->report;
	if (hmm_walk_satisfies(entry, walk->default_req | walk->input_req)) {
		/* No page can have requested more: do not read the input. */
		hmm_walk_fill_slots(slot, (end - addr) >> PAGE_SHIFT, entry, step);
		return end;
	}

	for (; addr < end; addr += PAGE_SIZE, entry += step, slot++) {
		if (!hmm_walk_satisfies(entry, hmm_walk_request(walk, *slot)))
			break;
		*slot = entry;
	}
	return addr;
}

/*
 * Store @entry for all pages of [@addr, @end), or for those before the first
 * one that requests more.
 *
 * Return: 0 when all are stored, 1 when the page now at @addr needs a fault (or
 * whatever else brings another entry), or an error.
 */
static int hmm_walk_store(const struct hmm_walk *walk,
			  unsigned long *addr, unsigned long end,
			   unsigned long entry)
{
	*addr = hmm_walk_fill(walk, *addr, end, entry);
	if (*addr == end)
		return 0;
	return hmm_walk_may_fault(walk, *addr, entry) ?: 1;
}

/* hmm_walk_store(), and the fault if one is needed; @addr tells how far it got. */
static int hmm_walk_emit(struct hmm_walk *walk, unsigned long *addr,
			 unsigned long end, unsigned long entry)
{
	int ret = hmm_walk_store(walk, addr, end, entry);

	return ret > 0 ? hmm_walk_handle_fault(walk, *addr) : ret;
}

/* hmm_walk_emit() for a leaf above the pte tables */
static int hmm_walk_emit_leaf(struct hmm_walk *walk, unsigned long *addr,
			      unsigned long end, unsigned long entry, bool devmap)
{
	int ret = hmm_walk_store(walk, addr, end, entry);

	if (ret <= 0)
		return ret;
	if (devmap && !(entry & HMM_PFN_VALID))
		return walk->dying;
	return hmm_walk_handle_fault(walk, *addr);
}

#ifdef CONFIG_HUGETLB_PAGE
static unsigned long hmm_walk_hugetlb_pte(const struct hmm_walk *walk,
					  unsigned long addr, pte_t pte)
{
	struct hstate *h = hstate_vma(walk->vma);
	unsigned long pfn, flags = 0;

	if (!pte_present(pte))
		return hmm_walk_nonpresent(walk, pte);

	pfn = pte_pfn(pte) + ((addr & ~huge_page_mask(h)) >> PAGE_SHIFT);
	if (huge_pte_write(pte))
		flags |= HMM_PFN_WRITE;
	if (huge_pte_dirty(pte))
		flags |= HMM_PFN_DIRTY;
	if (pte_young(pte))
		flags |= HMM_PFN_YOUNG;
	return hmm_walk_present(walk, pfn, huge_page_order(h), flags);
}

static int hmm_walk_hugetlb(struct hmm_walk *walk,
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
		entry = hmm_walk_hugetlb_pte(walk, *addr, pte);
		migrating = hmm_walk_pte_is_migrating(pte);
	}

	ret = hmm_walk_store(walk, addr, end, entry);
	if (ret > 0 && migrating) {
		hmm_walk_unpin(walk);
		/* Drops the lock before it sleeps */
		migration_entry_wait_huge(vma, base, ptep);
		return hmm_walk_check(walk);
	}

	/* A fault takes the same lock, for writing if need be. */
	hugetlb_vma_unlock_read(vma);
	return ret > 0 ? hmm_walk_handle_fault(walk, *addr) : ret;
}
#else
/* There are no such VMAs. */
static int hmm_walk_hugetlb(struct hmm_walk *walk,
			    unsigned long *addr, unsigned long end)
{
	return -EFAULT;
}
#endif

#ifdef CONFIG_TRANSPARENT_HUGEPAGE
static unsigned long hmm_walk_leaf_pmd(struct hmm_walk *walk,
				       unsigned long addr, pmd_t pmd)
{
	unsigned long pfn = pmd_pfn(pmd) + ((addr & ~PMD_MASK) >> PAGE_SHIFT);
	unsigned long flags = 0;

	if (pmd_protnone(pmd))
		return 0;
	if (is_huge_zero_pmd(pmd))
		return hmm_walk_present(walk, pfn, PMD_ORDER, 0);
	if (pmd_devmap(pmd)) {
		if (!hmm_walk_pin(walk, pfn))
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
	return hmm_walk_present(walk, pfn, PMD_ORDER, flags);
}
#else
static unsigned long hmm_walk_leaf_pmd(const struct hmm_walk *walk,
				       unsigned long addr, pmd_t pmd)
{
	return HMM_PFN_REFUSED;
}
#endif

static int hmm_walk_wait_pmd(struct hmm_walk *walk, pmd_t *pmdp,
			     unsigned long *addr, unsigned long end)
{
	int ret = hmm_walk_store(walk, addr, end, 0);

	if (ret <= 0)
		return ret;
	if (!hmm_walk_may_wait_for_migration(walk))
		return -EAGAIN;
	hmm_walk_unpin(walk);
	pmd_migration_entry_wait(walk->mm, pmdp);
	return hmm_walk_check(walk);
}

static int hmm_walk_pmd(struct hmm_walk *walk, pmd_t *pmdp,
			unsigned long *addr, unsigned long end)
{
	pmd_t pmd = pmdp_get_lockless(pmdp);

	end = pmd_addr_end(*addr, end);
	if (pmd_none(pmd))
		return hmm_walk_emit(walk, addr, end, HMM_PFN_EMPTY);
	if (thp_migration_supported() && is_pmd_migration_entry(pmd))
		return hmm_walk_wait_pmd(walk, pmdp, addr, end);
	/* Before the kind of leaf is asked: only a present entry has one. */
	if (!pmd_present(pmd))
		return hmm_walk_emit(walk, addr, end, HMM_PFN_REFUSED);
	if (pmd_trans_huge(pmd) || pmd_devmap(pmd))
		return hmm_walk_emit_leaf(walk, addr, end,
					   hmm_walk_leaf_pmd(walk, *addr, pmd),
					   pmd_devmap(pmd));
	if (pmd_bad(pmd))
		return hmm_walk_emit(walk, addr, end, HMM_PFN_REFUSED);
	return hmm_walk_ptes(walk, pmdp, addr, end);
}

#if defined(CONFIG_TRANSPARENT_HUGEPAGE) && \
	defined(CONFIG_HAVE_ARCH_TRANSPARENT_HUGEPAGE_PUD)
static unsigned long hmm_walk_leaf_pud(struct hmm_walk *walk,
				       unsigned long addr, pud_t pud)
{
	unsigned long pfn = pud_pfn(pud) + ((addr & ~PUD_MASK) >> PAGE_SHIFT);
	unsigned long flags = HMM_PFN_DEVICE;

	/* Device DAX is the only memory that comes in puds. */
	if (!pud_devmap(pud))
		return HMM_PFN_REFUSED;
	if (!hmm_walk_pin(walk, pfn))
		return 0;

	if (pud_write(pud))
		flags |= HMM_PFN_WRITE;
	if (pud_dirty(pud))
		flags |= HMM_PFN_DIRTY;
	if (pud_young(pud))
		flags |= HMM_PFN_YOUNG;
	return hmm_walk_present(walk, pfn, PUD_ORDER, flags);
}
#else
static unsigned long hmm_walk_leaf_pud(const struct hmm_walk *walk,
				       unsigned long addr, pud_t pud)
{
	return HMM_PFN_REFUSED;
}
#endif

static int hmm_walk_pud(struct hmm_walk *walk, pud_t *pudp,
			unsigned long *addr, unsigned long end)
{
	pud_t pud = pudp_get(pudp);
	int ret;

	end = pud_addr_end(*addr, end);
	if (pud_none(pud))
		return hmm_walk_emit(walk, addr, end, HMM_PFN_EMPTY);
	if (!pud_present(pud))
		return hmm_walk_emit(walk, addr, end, HMM_PFN_REFUSED);
	if (pud_trans_huge(pud) || pud_devmap(pud))
		return hmm_walk_emit_leaf(walk, addr, end,
					   hmm_walk_leaf_pud(walk, *addr, pud),
					   pud_devmap(pud));
	if (pud_bad(pud))
		return hmm_walk_emit(walk, addr, end, HMM_PFN_REFUSED);

	/* Not only from one pmd to the next: again, when one needed a fault. */
	do {
		ret = hmm_walk_pmd(walk, pmd_offset(pudp, *addr), addr, end);
		cond_resched();
	} while (!ret && *addr < end);
	return ret;
}

static int hmm_walk_p4d(struct hmm_walk *walk, p4d_t *p4dp,
			unsigned long *addr, unsigned long end)
{
	end = p4d_addr_end(*addr, end);
	if (p4d_none(*p4dp))
		return hmm_walk_emit(walk, addr, end, HMM_PFN_EMPTY);
	if (p4d_bad(*p4dp))
		return hmm_walk_emit(walk, addr, end, HMM_PFN_REFUSED);
	return hmm_walk_pud(walk, pud_offset(p4dp, *addr), addr, end);
}

static int hmm_walk_pgd(struct hmm_walk *walk,
			unsigned long *addr, unsigned long end)
{
	pgd_t *pgdp = pgd_offset(walk->mm, *addr);

	end = pgd_addr_end(*addr, end);
	if (pgd_none(*pgdp))
		return hmm_walk_emit(walk, addr, end, HMM_PFN_EMPTY);
	if (pgd_bad(*pgdp))
		return hmm_walk_emit(walk, addr, end, HMM_PFN_REFUSED);
	return hmm_walk_p4d(walk, p4d_offset(pgdp, *addr), addr, end);
}

/* The entry of every page of @vma, if it may not be mirrored at all; else 0 */
static unsigned long hmm_walk_vma_refused(struct vm_area_struct *vma)
{
	if (vma->vm_flags & (VM_IO | VM_PFNMAP) || vma_is_secretmem(vma))
		return HMM_PFN_REFUSED;
	/* HMM_PFN_VALID is the promise that a device may read. */
	if (!(vma->vm_flags & VM_READ))
		return HMM_PFN_ERROR;
	return 0;
}

static int hmm_walk_vma(struct hmm_walk *walk,
			unsigned long *addr, unsigned long end)
{
	struct vm_area_struct *vma = walk->vma;
	unsigned long refused = hmm_walk_vma_refused(vma);
	int ret;

	if (refused)
		return hmm_walk_emit(walk, addr, end, refused);

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
			ret = hmm_walk_hugetlb(walk, addr, end);
		else
			ret = hmm_walk_pgd(walk, addr, end);
		if (ret)
			return ret;
		cond_resched();
	}
	return 0;
}

/* Walk on from @addr to @end, with mmap_lock held. */
static int hmm_walk_vmas(struct hmm_walk *walk, unsigned long *addr,
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
			ret = hmm_walk_vma(walk, addr, next);
		} else {
			next = vma ? min(end, vma->vm_start) : end;
			ret = hmm_walk_emit(walk, addr, next, HMM_PFN_ERROR);
		}
	}
	return ret;
}

/*
 * A range of a mirror may be walked part by part. What was read of other parts counts on,
 * unless this walk reads all of it again.
 */
static void hmm_walk_begin(struct hmm_walk *walk)
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

static void hmm_walk_end(struct hmm_walk *walk)
{
	struct hmm_range *range = walk->range;

	hmm_walk_unpin(walk);
	if (range->mirror)
		hmm_range_saw(range, range->start, range->end);
}

/* A part of a range that was begun, or one that was not and is only reported */
static bool hmm_walk_bad_range(const struct hmm_range *range)
{
	if (range->start >= range->end || !PAGE_ALIGNED(range->start | range->end))
		return true;
	return range->mirror && range->begun &&
	       (range->mirror != range->begun || range->start < range->begun_start ||
		range->end > range->begun_end);
}

/* Has any of the pages sticky flags? */
static bool hmm_walk_has_sticky(const unsigned long *slot, unsigned long count)
{
	unsigned long any = 0;
	unsigned int i;

	for (; count >= HMM_WALK_UNROLL; count -= HMM_WALK_UNROLL, slot += HMM_WALK_UNROLL) {
#pragma GCC unroll 32
		for (i = 0; i < HMM_WALK_UNROLL; i++)
			any |= slot[i];
	}
	for (; count; count--)
		any |= *slot++;
	return any & HMM_PFN_STICKY;
}

/* Few drivers have them: to keep them must not cost the others anything for each page. */
static noinline int hmm_walk_sticky(struct hmm_walk *walk, unsigned long *addr,
				    unsigned long end)
{
	unsigned long *slot = hmm_walk_slot(walk, *addr);
	unsigned long i, count = (end - *addr) >> PAGE_SHIFT;
	u8 kept[HMM_WALK_STICKY_PAGES];
	int ret;

	for (i = 0; i < count; i++)
		kept[i] = (slot[i] & HMM_PFN_STICKY) >> (BITS_PER_LONG - 8);
	ret = hmm_walk_vmas(walk, addr, end);
	for (i = 0; i < count; i++)
		slot[i] |= (unsigned long)kept[i] << (BITS_PER_LONG - 8);
	return ret;
}

/* The end of so many pages from @addr on, or @end if that comes first */
static unsigned long hmm_walk_step_end(unsigned long addr, unsigned long end, unsigned long pages)
{
	return addr + min(end - addr, pages << PAGE_SHIFT);
}

static int hmm_walk_all(struct hmm_walk *walk)
{
	const struct hmm_range *range = walk->range;
	unsigned long addr = range->start, end;
	int ret = 0;

	while (!ret && addr < range->end) {
		end = hmm_walk_step_end(addr, range->end, HMM_WALK_SEARCH_PAGES);
		if (likely(!hmm_walk_has_sticky(hmm_walk_slot(walk, addr),
						(end - addr) >> PAGE_SHIFT))) {
			ret = hmm_walk_vmas(walk, &addr, end);
			continue;
		}
		while (!ret && addr < end)
			ret = hmm_walk_sticky(walk, &addr,
					      hmm_walk_step_end(addr, end,
								HMM_WALK_STICKY_PAGES));
	}
	return ret;
}

static int hmm_walk_range(struct hmm_walk *walk)
{
	struct hmm_range *range = walk->range;
	int ret;

	if (hmm_walk_bad_range(range))
		return -EINVAL;

	hmm_walk_begin(walk);
	mmap_assert_locked(walk->mm);
	ret = hmm_walk_check(walk);
	if (!ret)
		ret = hmm_walk_all(walk);
	hmm_walk_end(walk);
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
	struct hmm_walk walk = {
		.range = range,
		.report = ~HMM_PFN_ATTRIBUTES,
		.dying = -EBUSY,
		.default_req = range->default_flags &
			       (HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE),
		.input_req = range->pfn_flags_mask &
			     (HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE),
	};

	return hmm_walk_range(&walk);
}
EXPORT_SYMBOL(hmm_range_fault);

/* What a walk for the mirror page table reports and asks for */
static void hmm_walk_init_entries(struct hmm_walk *walk)
{
	walk->report = ~HMM_PFN_ATTRIBUTES | HMM_PFN_DEVICE | HMM_PFN_UNADDRESSABLE;
	walk->dying = -EFAULT;
	walk->input_req = walk->range->pfn_flags_mask;
	walk->lenient = walk->input_req && walk->range->call && walk->range->call->may_write;
}

/**
 * hmm_walk_entries_nowait() - as hmm_range_fault(), for the mirror page table
 * @range: what to walk, with the requests of its pages
 *
 * Reports %HMM_PFN_DEVICE and %HMM_PFN_UNADDRESSABLE as well. Starts no I/O, and waits
 * neither for I/O nor for user space, which may need mmap_lock.
 *
 * Context: As for hmm_range_fault(). Sleeps.
 * Return: As hmm_range_fault(), but -EFAULT if the driver of the memory is going away,
 * and -EAGAIN if a fault would have to start I/O or to wait.
 */
int hmm_walk_entries_nowait(struct hmm_range *range)
{
	struct hmm_walk walk = {
		.range = range,
		.fault_flags = FAULT_FLAG_ALLOW_RETRY | FAULT_FLAG_RETRY_NOWAIT,
	};

	hmm_walk_init_entries(&walk);
	return hmm_walk_range(&walk);
}

/*
 * Walk on from @addr: one VMA under its own lock, or all the rest under mmap_lock if
 * that has turned out to be needed, or there is no VMA.
 */
static int hmm_walk_next(struct hmm_walk *walk, unsigned long *addr)
{
	unsigned long end = walk->range->end;
	int ret;

	walk->fault_flags = FAULT_FLAG_REMOTE | FAULT_FLAG_ALLOW_RETRY | FAULT_FLAG_KILLABLE;
	walk->vma = NULL;
	if (walk->lock == HMM_WALK_VMA_LOCK)
		walk->vma = lock_vma_under_rcu(walk->mm, *addr);
	if (walk->vma) {
		walk->fault_flags |= FAULT_FLAG_VMA_LOCK;
		ret = hmm_walk_vma(walk, addr, min(end, walk->vma->vm_end));
		if (ret != HMM_WALK_UNLOCKED)
			vma_end_read(walk->vma);
	} else {
		walk->lock = HMM_WALK_MMAP_LOCK;
		hmm_walk_unpin(walk);
		if (mmap_read_lock_killable(walk->mm))
			return -EINTR;
		ret = hmm_walk_vmas(walk, addr, end);
		if (ret != HMM_WALK_UNLOCKED)
			mmap_read_unlock(walk->mm);
	}
	if (ret != HMM_WALK_UNLOCKED)
		return ret;
	return walk->interrupted ? -EINTR : hmm_walk_check(walk);
}

/**
 * hmm_walk_entries() - as hmm_walk_entries_nowait(), taking the locks it needs
 * @range: what to walk, with the requests of its pages
 * @lock: out: the lock that the walk has taken
 *
 * Context: Process context, with a reference on the users of the mm, and with no lock
 * that faults need. Sleeps, while I/O or userfaultfd are waited for with no lock held.
 * Return: As hmm_walk_entries_nowait(); -EINTR also when nothing needs a fault, when a
 * signal of any kind has ended a wait for userfaultfd, and when range->call has an error.
 */
int hmm_walk_entries(struct hmm_range *range, enum hmm_walk_lock *lock)
{
	struct hmm_walk walk = {
		.range = range,
		.lock = HMM_WALK_VMA_LOCK,
	};
	unsigned long addr = range->start;
	int ret;

	hmm_walk_init_entries(&walk);
	hmm_walk_begin(&walk);
	ret = hmm_walk_check(&walk);
	while (!ret && addr < range->end)
		ret = hmm_walk_next(&walk, &addr);
	hmm_walk_end(&walk);
	*lock = walk.lock;
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
	struct hmm_walk walk = {
		.range = range,
		.report = ~0UL,
	};

	return hmm_walk_range(&walk);
}
EXPORT_SYMBOL_GPL(hmm_range_snapshot);
