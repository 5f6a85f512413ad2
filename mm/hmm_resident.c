// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * HMM: detect CPU faults that need no I/O.
 *
 * The slow path of a device fault holds mmap_lock for writing, see mm/hmm_fault_slow.c. It must
 * not take a CPU fault that starts I/O or waits for it: all threads of the process would wait,
 * and a file system in user space can depend on one of them. FAULT_FLAG_RETRY_NOWAIT is not
 * sufficient:
 *
 * - without read-ahead, a fault reads a file page synchronously
 * - a page that is marked for read-ahead starts the next read-ahead
 * - swap-in starts before the flag is tested
 * - ->page_mkwrite() does not see the flag
 *
 * So these functions test the page table entry before the fault, and the data that the fault
 * needs. A page that is not mapped is sufficient if it is in memory and remains there: the
 * caller gets a reference, which prevents reclaim. Truncation can still remove the page.
 * mmap_lock prevents other changes of the entry.
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

/* Get a folio that is in the page cache or the swap cache, and up to date; or NULL. */
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
 * The same for a file of a file system, but no folio whose mark would start read-ahead. A folio
 * that is locked for I/O is allowed: the fault returns without a wait.
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

/* A hole in a shmem file, without an entry in the page cache, needs only memory. */
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

/* Does the file system get a call when a page of a shared mapping becomes writable? */
static bool hmm_vma_notifies_write(const struct vm_area_struct *vma)
{
	return vma->vm_flags & VM_SHARED && vma->vm_ops &&
	       (vma->vm_ops->page_mkwrite || vma->vm_ops->pfn_mkwrite);
}

/* Can a file page that is not mapped be mapped without I/O? Other fault handlers are unknown. */
static bool hmm_file_has(struct vm_area_struct *vma, unsigned long addr, struct folio **folio)
{
	pgoff_t index = linear_page_index(vma, addr);
	struct address_space *mapping;

	/* A special mapping, such as the vDSO, has a fault handler and no file. */
	if (!vma->vm_file)
		return false;
	mapping = vma->vm_file->f_mapping;
	/* Reclaim and migration lock shmem folios. They are not locked for I/O. */
	if (shmem_mapping(mapping))
		return hmm_shmem_has(mapping, index, folio);
	if (vma->vm_ops->fault == filemap_fault)
		*folio = hmm_page_cache_get(vma, index);
	return *folio;
}

static bool hmm_swap_pte_needs_no_io(pte_t pte, struct folio **folio)
{
	swp_entry_t swp = pte_to_swp_entry(pte);

	/* The walk decides whether to wait for migration. Poison is an error. */
	if (non_swap_entry(swp))
		return true;
	*folio = hmm_swap_cache_get(swp);
	return *folio;
}

/* The pte at @addr; none if there is no pte table. @huge: the pmd is a leaf or not present. */
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
 * hmm_resident_fault_needs_no_io() - test whether a CPU fault can succeed without I/O
 * @vma: VMA
 * @addr: address in @vma
 * @write: the fault is for writing
 * @folio: out: the folio that the fault will map, with a reference that the caller drops
 *	after the fault; NULL if there is no folio to keep in memory
 *
 * Context: mmap_lock is held for writing. Does not sleep.
 * Return: true if the present state shows that the fault neither starts I/O nor waits for
 * it; false if it can start I/O, wait for I/O, or wait for user space.
 */
bool hmm_resident_fault_needs_no_io(struct vm_area_struct *vma, unsigned long addr, bool write,
				    struct folio **folio)
{
	bool huge;
	pte_t pte;

	*folio = NULL;
	/* hugetlb pages come from the pool, and are always in memory. */
	if (is_vm_hugetlb_page(vma))
		return true;
	/* The file system may have to read: DAX to find the page, others before a write. */
	if (vma_is_dax(vma) || (write && hmm_vma_notifies_write(vma)))
		return false;
	pte = hmm_read_pte(vma, addr, &huge);
	if (huge || pte_present(pte))
		return true;
	if (!pte_none_mostly(pte))
		return hmm_swap_pte_needs_no_io(pte, folio);
	return vma_is_anonymous(vma) || hmm_file_has(vma, addr, folio);
}

/*
 * Get the folio that is mapped at @addr. If none is mapped, get the folio that a fault would map,
 * if it is in memory. Called with mmap_lock held.
 */
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
 * The reference keeps the folio in the page cache or the swap cache, but not mapped.
 *
 * Context: mmap_lock is held. May sleep, but does not wait for I/O.
 * Return: The folio, with a reference; or NULL if there is none, or it is not accessible.
 */
struct folio *hmm_resident_folio(struct mm_struct *mm, unsigned long addr)
{
	struct vm_area_struct *vma = vma_lookup(mm, addr);

	mmap_assert_locked(mm);
	return vma ? hmm_resident_in_vma(vma, addr) : NULL;
}
