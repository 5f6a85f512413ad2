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
 * fault. A page that is not mapped will do if it is in memory and stays there: the caller
 * has a reference on it, by which it cannot be reclaimed. Truncation still can take it.
 * Whatever else changes the entry is kept out by mmap_lock.
 */
#include <linux/hmm_mirror.h>
#include <linux/hugetlb.h>
#include <linux/pagemap.h>
#include <linux/pagewalk.h>
#include <linux/shmem_fs.h>
#include <linux/swap.h>
#include <linux/swapops.h>

#include "hmm_walk.h"
#include "internal.h"
#include "swap.h"

/* A folio that is in the page cache, or the swap cache, and has been read; or NULL */
static struct folio *hmm_cache_get(struct address_space *mapping, pgoff_t index)
{
	struct folio *folio = filemap_get_folio(mapping, index);

	if (IS_ERR(folio))
		return NULL;
	if (folio_test_uptodate(folio))
		return folio;
	folio_put(folio);
	return NULL;
}

/*
 * The same for a file of a file system. A mark starts read-ahead, where that is done at
 * all. A folio that is locked for I/O makes the fault give up.
 */
static struct folio *hmm_page_cache_get(const struct vm_area_struct *vma, pgoff_t index)
{
	struct folio *folio = hmm_cache_get(vma->vm_file->f_mapping, index);

	if (!folio || !folio_test_readahead(folio) || !vma->vm_file->f_ra.ra_pages ||
	    vma->vm_flags & VM_RAND_READ)
		return folio;
	folio_put(folio);
	return NULL;
}

static struct folio *hmm_swap_cache_get(swp_entry_t swp)
{
	struct swap_info_struct *si = get_swap_device(swp);
	struct folio *folio;

	if (!si)
		return NULL;
	folio = hmm_cache_get(swap_address_space(swp), swap_cache_index(swp));
	put_swap_device(si);
	return folio;
}

/* A hole in a file of shmem takes memory only; NULL in the page cache stands for it. */
static bool hmm_shmem_has(struct address_space *mapping, pgoff_t index, struct folio **folio)
{
	struct folio *entry = filemap_get_entry(mapping, index);

	if (xa_is_value(entry))
		return false;
	if (!entry)
		return true;
	folio_put(entry);
	*folio = hmm_cache_get(mapping, index);
	return *folio;
}

/* Does the file system take part when the page of a shared mapping becomes writable? */
static bool hmm_vma_notifies_write(const struct vm_area_struct *vma)
{
	return vma->vm_flags & VM_SHARED && vma->vm_ops &&
	       (vma->vm_ops->page_mkwrite || vma->vm_ops->pfn_mkwrite);
}

/* The page of a file that is not mapped. Only of these faults is it known what they do. */
static bool hmm_file_has(struct vm_area_struct *vma, unsigned long addr, struct folio **folio)
{
	struct address_space *mapping = vma->vm_file->f_mapping;
	pgoff_t index = linear_page_index(vma, addr);

	/* A folio of shmem is locked by reclaim and migration, not for I/O. */
	if (shmem_mapping(mapping))
		return hmm_shmem_has(mapping, index, folio);
	if (vma->vm_ops->fault == filemap_fault)
		*folio = hmm_page_cache_get(vma, index);
	return *folio;
}

static bool hmm_swap_pte_needs_no_io(pte_t pte, struct folio **folio)
{
	swp_entry_t swp = pte_to_swp_entry(pte);

	/* Migration is waited for, or not, by the walk; poison is an error. */
	if (non_swap_entry(swp))
		return true;
	*folio = hmm_swap_cache_get(swp);
	return *folio;
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
 * hmm_resident_fault_needs_no_io() - can a CPU fault be served from memory alone?
 * @vma: VMA
 * @addr: address in @vma
 * @write: the fault is for writing
 * @folio: out: what the fault will map, with a reference for the caller to drop after the
 *	fault; NULL if nothing has to be kept
 *
 * Context: mmap_lock is held for writing. Does not sleep.
 * Return: true if the fault starts no I/O and waits for none, as far as can be told now;
 * false if it may, or may wait for user space.
 */
bool hmm_resident_fault_needs_no_io(struct vm_area_struct *vma, unsigned long addr, bool write,
				    struct folio **folio)
{
	bool huge;
	pte_t pte;

	*folio = NULL;
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
		return hmm_swap_pte_needs_no_io(pte, folio);
	return vma_is_anonymous(vma) || hmm_file_has(vma, addr, folio);
}

/* With mmap_lock held. What is mapped; else what would be, if it is in memory */
static struct folio *hmm_resident_in_vma(struct vm_area_struct *vma, unsigned long addr)
{
	struct folio_walk fw;
	struct folio *folio = folio_walk_start(&fw, vma, addr, 0);
	bool huge;
	pte_t pte;

	if (folio) {
		folio_get(folio);
		folio_walk_end(&fw, vma);
		return folio;
	}
	if (is_vm_hugetlb_page(vma) || vma_is_dax(vma))
		return NULL;
	pte = hmm_read_pte(vma, addr, &huge);
	if (huge || pte_present(pte))
		return NULL;
	if (!pte_none_mostly(pte))
		hmm_swap_pte_needs_no_io(pte, &folio);
	else if (vma->vm_file)
		folio = hmm_cache_get(vma->vm_file->f_mapping, linear_page_index(vma, addr));
	return folio;
}

/**
 * hmm_resident_folio() - get the folio of a page that is in memory
 * @mm: address space
 * @addr: address
 *
 * A reference keeps a folio in the page cache or the swap cache, though not mapped.
 *
 * Context: mmap_lock is held. May sleep, but waits for no I/O.
 * Return: The folio, with a reference; or NULL if there is none, or it is not to be had.
 */
struct folio *hmm_resident_folio(struct mm_struct *mm, unsigned long addr)
{
	struct vm_area_struct *vma = vma_lookup(mm, addr);

	mmap_assert_locked(mm);
	return vma ? hmm_resident_in_vma(vma, addr) : NULL;
}
