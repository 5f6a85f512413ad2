// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * HMM range walker: CPU page table -> array of pfns.
 *
 * The walk reads page table entries and takes no reference on the pages that they map. The
 * result can be out of date as soon as it is stored. The mmu notifier detects that:
 *
 *	walker				invalidating thread
 *	======				===================
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
 *		[Required: mmu_interval_read_retry() == true]
 *
 * If invalidate_range_start() comes anywhere between the first and the last line of the
 * walker, mmu_interval_read_retry() returns true, whether the walk has read the old or the
 * new entry. So the walk can read entries without their lock. The tables themselves are
 * protected as follows:
 *
 * - mmap_lock protects the VMAs, and in a VMA all tables down to the pmd table. An entry
 *   that points to one of these tables does not change. The lock of a VMA gives the same
 *   guarantee for that VMA.
 * - khugepaged can free a pte table at any time. pte_offset_map() enters an RCU read-side
 *   critical section, which keeps the table. It fails if there is no table any more. Then
 *   the walk reads the pmd entry again.
 * - hugetlb tables can be shared. Another thread can unshare a table without mmap_lock, but
 *   not without the hugetlb VMA lock for writing. The walk takes that lock for reading.
 *
 * Device memory that is mapped like other memory (devmap: DAX) disappears with its driver,
 * even while it is mapped. The walk pins the pagemap while it reads such pfns, so that the
 * removal of the driver waits. One pin is enough for consecutive entries of one pagemap. The
 * walk holds no pin during a fault or a wait, because these can wait for the removal.
 *
 * For device memory of other kinds (private, coherent, P2PDMA) the walk has no pin, but has
 * to read the struct page: it shows the kind of the memory, and the owner of a device private
 * page. When the driver is removed, the kernel frees the struct pages as soon as all of the
 * pages are free, without an RCU grace period. A page that is mapped is not free. So the walk
 * reads such a struct page only under the lock of the pte table, while the entry is in place.
 *
 * The walk takes a fault at the address that needs it. It holds only mmap_lock or the lock of
 * the VMA then, and no pointer into a pte table. Afterwards it continues at the pmd entry,
 * which it reads again. So it finds a mapping of any size that the fault has installed. Once
 * it has stored the entry of a page, it does not walk that page again in the same call.
 *
 * The walk never drops the caller's mmap_lock. hmm_walk_entries(), for a mirror, takes its
 * locks itself. There, faults that wait for I/O or for user space drop the lock. The only cost
 * is to find the VMA again: the entries already stored remain valid until an invalidation,
 * with or without the lock.
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

/* The flags that a walk for a driver keeps from input to output */
#define HMM_PFN_STICKY		(HMM_PFN_DMA_MAPPED | HMM_PFN_P2PDMA | HMM_PFN_P2PDMA_BUS)

/* Number of pages by which the shortest loops are unrolled */
#define HMM_WALK_UNROLL	32

/* Number of pages whose input is searched for sticky flags before they are walked */
#define HMM_WALK_SEARCH_PAGES	BIT(18)

/* Number of pages that are walked in one step if there are sticky flags */
#define HMM_WALK_STICKY_PAGES	512UL

/*
 * A page of a huge mapping costs only a load and a store. A loop over single pages would spend
 * more time on its counter than on them.
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
 * Store @entry for the pages from @addr on, with ascending pfns if it has one.
 * Stop at the first page that requests more than @entry gives. That page keeps
 * its input.
 *
 * Return: The address of that page; @end if all pages are stored.
 */
static unsigned long hmm_walk_fill(const struct hmm_walk *walk,
				   unsigned long addr, unsigned long end,
				    unsigned long entry)
{
	unsigned long *slot = hmm_walk_slot(walk, addr);
	unsigned long step = entry & HMM_PFN_VALID ? 1 : 0;

	entry &= walk->report;
	if (hmm_walk_satisfies(entry, walk->default_req | walk->input_req)) {
		/* No page can request more: do not read the input. */
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
 * Return: 0 if all are stored, 1 if the page now at @addr needs a fault or a wait
 * that changes its entry, or an errno.
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

/* hmm_walk_store(), and the fault if one is needed. @addr advances past the stored pages. */
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
		/* An entry can have two words: only the lock makes the read atomic. */
		spinlock_t *ptl = huge_pte_lock(h, walk->mm, ptep);
		pte_t pte = huge_ptep_get(walk->mm, base, ptep);

		spin_unlock(ptl);
		entry = hmm_walk_hugetlb_pte(walk, *addr, pte);
		migrating = hmm_walk_pte_is_migrating(pte);
	}

	ret = hmm_walk_store(walk, addr, end, entry);
	if (ret > 0 && migrating) {
		hmm_walk_unpin(walk);
		/* This drops the hugetlb VMA lock before it sleeps. */
		migration_entry_wait_huge(vma, base, ptep);
		return hmm_walk_check(walk);
	}

	/* A fault takes the same lock, possibly for writing. */
	hugetlb_vma_unlock_read(vma);
	return ret > 0 ? hmm_walk_handle_fault(walk, *addr) : ret;
}
#else
/* Without hugetlb there are no such VMAs. */
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
	/* This comes before the tests for a leaf, which are valid only for present entries. */
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

	/* Only device DAX is mapped by puds. */
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

	/* A pmd is walked again after a fault. */
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

/* The entry of every page of @vma if no device may access @vma; else 0 */
static unsigned long hmm_walk_vma_refused(struct vm_area_struct *vma)
{
	if (vma->vm_flags & (VM_IO | VM_PFNMAP) || vma_is_secretmem(vma))
		return HMM_PFN_REFUSED;
	/* HMM_PFN_VALID means that a device may read. */
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
	 * The ptes of a shadow stack are writable, but only for call
	 * instructions. A device must not write there.
	 */
	walk->grant = HMM_PFN_VALID;
	if ((vma->vm_flags & (VM_WRITE | VM_SHADOW_STACK)) == VM_WRITE)
		walk->grant |= HMM_PFN_WRITE;
	if (walk->lenient)
		walk->input_req = HMM_PFN_REQ_FAULT | (walk->grant & HMM_PFN_REQ_WRITE);

	/*
	 * Only struct page shows that a page is P2PDMA memory. vm_insert_page() maps
	 * these pages, and sets VM_MIXEDMAP.
	 */
	walk->locked = walk->report & HMM_PFN_ATTRIBUTES ||
		       (IS_ENABLED(CONFIG_PCI_P2PDMA) &&
			vma->vm_flags & VM_MIXEDMAP);

	/*
	 * A signal ends a wait for user space. So does the cancellation of the call: it sets
	 * TIF_NOTIFY_SIGNAL and sends no signal.
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

/* Continue the walk from @addr to @end, with mmap_lock held. */
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
 * A range of a mirror may be walked part by part. The range depends on the parts that were
 * read before, unless this walk reads all of them again.
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

static __always_inline void hmm_walk_end(struct hmm_walk *walk)
{
	struct hmm_range *range = walk->range;

	hmm_walk_unpin(walk);
	if (range->mirror)
		hmm_range_saw(range, range->start, range->end);
}

/*
 * Is the range invalid? If it was begun, start and end must be within the begun range. It may
 * be walked without hmm_range_begin() if the result is only reported.
 */
static bool hmm_walk_bad_range(const struct hmm_range *range)
{
	if (range->start >= range->end || !PAGE_ALIGNED(range->start | range->end))
		return true;
	return range->mirror && range->begun &&
	       (range->mirror != range->begun || range->start < range->begun_start ||
		range->end > range->begun_end);
}

/* Does any of the pages have sticky flags? */
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

/* Few drivers set sticky flags. To keep them must not cost other drivers time for each page. */
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

/* The end of the next @pages pages from @addr on, or @end if that comes first */
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
 * hmm_range_fault() - report the pages of a range, and fault in requested pages
 * @range: the range. Before the caller takes mmap_lock, it calls hmm_range_begin() if
 *	&hmm_range.mirror is set; else it sets &hmm_range.notifier_seq to the return value
 *	of mmu_interval_read_begin()
 *
 * Replaces each entry of &hmm_range.hmm_pfns by the state of its page in the CPU page
 * table, see &enum hmm_pfn_flags. A page is requested by &hmm_range.default_flags, or by
 * the flags of its own entry that are set in &hmm_range.pfn_flags_mask. Requested pages
 * are faulted in. A page without a request is only reported, and never makes the call fail.
 *
 * On success every entry has been replaced. The entries of requested pages are valid, and
 * writable if that was requested. There is one exception: a page of the caller's own
 * device memory that the CPU maps read-only, and that its driver declines to migrate back.
 * It is reported without %HMM_PFN_WRITE.
 *
 * On error the entries before the failed address are final, and the others still hold
 * their input. Outputs are not requests: before the caller retries, it must set again all
 * requests for which pfn_flags_mask has a bit.
 *
 * The caller may use the result only under the driver's own lock, and only after
 * hmm_range_retry() or mmu_interval_read_retry() has returned false under that lock.
 *
 * Context: Process context, with an mm_users reference (mmget_not_zero()) on the mm of the
 * mirror or notifier, and with its mmap_lock held for reading or writing. The lock is not
 * dropped. Sleeps.
 * Return: 0 on success, or
 *
 * * %-EINVAL: the range is empty or not page aligned, or exceeds the range for which
 *   hmm_range_begin() was called
 * * %-EBUSY: the range was invalidated since it began, the mirror is dead, faults
 *   succeed without progress, or the driver of a requested page of device memory is
 *   being removed. The caller drops mmap_lock, begins the range again and retries, for a
 *   limited time
 * * %-EFAULT: a requested page cannot be accessed: there is no VMA, the VMA is not
 *   readable, the memory is special or poisoned, userfaultfd must provide the page, or
 *   the fault failed
 * * %-EPERM: a page of a VMA that is not writable was requested for writing
 * * %-ENOMEM: a fault ran out of memory
 * * %-EINTR: a page needs a fault, and the task has a fatal signal pending or the
 *   process of the mm is being killed
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

/* Set the requests and reported flags of a walk for the mirror page table. */
static void hmm_walk_init_entries(struct hmm_walk *walk)
{
	walk->report = ~HMM_PFN_ATTRIBUTES | HMM_PFN_DEVICE | HMM_PFN_UNADDRESSABLE;
	walk->dying = -EFAULT;
	walk->input_req = walk->range->pfn_flags_mask;
	walk->lenient = walk->input_req && walk->range->call && walk->range->call->may_write;
}

/**
 * hmm_walk_entries_nowait() - like hmm_range_fault(), for the mirror page table
 * @range: the range, with the requests of its pages
 *
 * Also reports %HMM_PFN_DEVICE and %HMM_PFN_UNADDRESSABLE. Starts no I/O, and waits
 * neither for I/O nor for user space, because either can need mmap_lock.
 *
 * Context: As for hmm_range_fault(). Sleeps.
 * Return: As for hmm_range_fault(), but -EFAULT if the driver of the memory is being
 * removed, and -EAGAIN if a fault would start I/O or wait. Or -EINTR if range->call has an
 * error.
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
 * Continue the walk from @addr: one VMA under its own lock, or the rest of the range under
 * mmap_lock if a fault needs that, or if no VMA could be locked.
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
 * hmm_walk_entries() - like hmm_walk_entries_nowait(), but takes locks, and waits
 * @range: the range, with the requests of its pages
 * @lock: out: the lock that the walk has taken
 *
 * Context: Process context, with an mm_users reference, and with no lock held that faults
 * need. Sleeps. Holds no lock while it waits for I/O or userfaultfd.
 * Return: As for hmm_walk_entries_nowait(), without -EAGAIN. Or -EINTR if a fatal signal is
 * pending, even if no page needs a fault, or if any signal has ended a wait for userfaultfd.
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
 * @range: the range; its request flags and those of the input entries are ignored
 *
 * Like hmm_range_fault() without any request, but the entries have attributes,
 * too: see &enum hmm_pfn_flags. Takes no faults, and does not wait for migrations.
 *
 * Context: As for hmm_range_fault(). Sleeps.
 * Return: 0 on success, or
 *
 * * %-EINVAL: the range is empty or not page aligned, or exceeds the range for which
 *   hmm_range_begin() was called
 * * %-EBUSY: the range was invalidated since it began, or the mirror is dead
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
