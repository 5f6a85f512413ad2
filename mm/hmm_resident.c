// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * HMM: which CPU faults can be served from memory alone.
 *
 * A device fault that collides again and again is served with mmap_lock held for writing,
 * see mm/hmm_fault.c. No CPU fault that starts I/O, or waits for it, may be taken there:
 * every thread of the process would wait with it, and a file system in user space may
 * need one of them. FAULT_FLAG_RETRY_NOWAIT does not keep a fault from that. A page of a
 * file that is read without read-ahead is read synchronously, a mark of read-ahead starts
 * the next one, swap-in starts before the flag counts, and ->page_mkwrite() does not see
 * the flag.
 *
 * So the page table entry is looked at before the fault, and what it takes to serve the
 * fault. The answer is a hint: the page may be reclaimed between this and the fault. The
 * caller has just seen it brought into memory, and whatever else changes the entry is
 * kept out by mmap_lock.
 */
#include <linux/hmm.h>
#include <linux/hugetlb.h>
#include <linux/pagemap.h>
#include <linux/shmem_fs.h>
#include <linux/swap.h>
#include <linux/swapops.h>

#include "hmm_internal.h"
#include "internal.h"
#include "swap.h"

/* Is a page in the page cache, or the swap cache, and has been read? */
static bool hmm_cache_has(struct address_space *mapping, pgoff_t index)
{
	struct folio *folio = filemap_get_folio(mapping, index);
	bool has;

	if (IS_ERR(folio))
		return false;
	has = folio_test_uptodate(folio);
	folio_put(folio);
	return has;
}

/*
 * The same for a file of a file system, which may have the folio locked while it reads or
 * writes. A mark starts read-ahead, where that is done at all.
 */
static bool hmm_page_cache_has(const struct vm_area_struct *vma, pgoff_t index)
{
	struct folio *folio = filemap_get_folio(vma->vm_file->f_mapping, index);
	bool has;

	if (IS_ERR(folio))
		return false;
	has = folio_test_uptodate(folio) && !folio_test_locked(folio);
	if (folio_test_readahead(folio) && vma->vm_file->f_ra.ra_pages &&
	    !(vma->vm_flags & VM_RAND_READ))
		has = false;
	folio_put(folio);
	return has;
}

/* A hole in a file of shmem takes memory only; NULL in the page cache stands for it. */
static bool hmm_shmem_has(struct address_space *mapping, pgoff_t index)
{
	struct folio *folio = filemap_get_entry(mapping, index);

	if (xa_is_value(folio))
		return false;
	if (!folio)
		return true;
	folio_put(folio);
	return hmm_cache_has(mapping, index);
}

static bool hmm_swap_cache_has(swp_entry_t swp)
{
	struct swap_info_struct *si = get_swap_device(swp);
	bool has;

	if (!si)
		return false;
	has = hmm_cache_has(swap_address_space(swp), swap_cache_index(swp));
	put_swap_device(si);
	return has;
}

/* Does the file system take part when the page of a shared mapping becomes writable? */
static bool hmm_vma_notifies_write(const struct vm_area_struct *vma)
{
	return vma->vm_flags & VM_SHARED && vma->vm_ops &&
	       (vma->vm_ops->page_mkwrite || vma->vm_ops->pfn_mkwrite);
}

/* The page of a file that is not mapped. Only of these faults is it known what they do. */
static bool hmm_file_has(struct vm_area_struct *vma, unsigned long addr)
{
	struct address_space *mapping = vma->vm_file->f_mapping;
	pgoff_t index = linear_page_index(vma, addr);

	/* A folio of shmem is locked by reclaim and migration, not for I/O. */
	if (shmem_mapping(mapping))
		return hmm_shmem_has(mapping, index);
	return vma->vm_ops->fault == filemap_fault && hmm_page_cache_has(vma, index);
}

static bool hmm_swap_pte_needs_no_io(pte_t pte)
{
	swp_entry_t swp = pte_to_swp_entry(pte);

	/* Migration is waited for, or not, by the walk; poison is an error. */
	return non_swap_entry(swp) || hmm_swap_cache_has(swp);
}

/* The pte at @addr, or none if there is no table or a larger entry */
static pte_t hmm_read_pte(struct vm_area_struct *vma, unsigned long addr, bool *huge)
{
	pmd_t *pmdp = mm_find_pmd(vma->vm_mm, addr);
	pte_t *ptep, pte = __pte(0);
	pmd_t pmd;

	*huge = false;
	if (!pmdp)
		return pte;
	pmd = pmdp_get_lockless(pmdp);
	*huge = !pmd_none(pmd) && (pmd_trans_huge(pmd) || pmd_devmap(pmd) || !pmd_present(pmd));
	if (pmd_none(pmd) || *huge)
		return pte;
	ptep = pte_offset_map(pmdp, addr);
	if (!ptep)
		return pte;
	pte = ptep_get_lockless(ptep);
	pte_unmap(ptep);
	return pte;
}

/**
 * hmm_fault_needs_no_io() - can a CPU fault be served from memory alone?
 * @vma: VMA
 * @addr: address in @vma
 * @write: the fault is for writing
 *
 * Context: mmap_lock is held for writing. Does not sleep.
 * Return: true if the fault starts no I/O and waits for none, as far as can be told now;
 * false if it may.
 */
bool hmm_fault_needs_no_io(struct vm_area_struct *vma, unsigned long addr, bool write)
{
	bool huge;
	pte_t pte;

	/* Pages come from the pool, and are in memory as long as they exist. */
	if (is_vm_hugetlb_page(vma))
		return true;
	/* Where DAX has the page, and whether there is one, the file system may have to read. */
	if (vma_is_dax(vma) || (write && hmm_vma_notifies_write(vma)))
		return false;
	pte = hmm_read_pte(vma, addr, &huge);
	if (huge || pte_present(pte))
		return true;
	if (!pte_none_mostly(pte))
		return hmm_swap_pte_needs_no_io(pte);
	return vma_is_anonymous(vma) || hmm_file_has(vma, addr);
}
