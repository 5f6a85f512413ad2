// SPDX-License-Identifier: GPL-2.0
/*
 * Page table entries that tests write directly, for states that user space cannot cause,
 * or not reliably. This takes no locks. The test owns the mm, and besides its thread only
 * the work item that ends a migration runs, while the test's thread waits for the folio
 * and does not change the entry.
 *
 * Such an entry is in no counter (rss, mapcount, page_table_check). It must be gone
 * before the mm handles it: hmm_area_restore() puts the earlier entry back, unless a
 * fault has replaced it.
 */
#include <linux/hugetlb.h>
#include <linux/pagemap.h>
#include <linux/swap.h>
#include <linux/swapops.h>

#include <asm/tlbflush.h>

#include "../internal.h"
#include "hmm_range_states.h"

/* On x86-64 an entry of any level is one word. */
static unsigned long *hmm_area_hugetlb_entry(struct hmm_area *a)
{
	struct vm_area_struct *vma;
	pte_t *ptep;

	mmap_read_lock(current->mm);
	vma = find_vma(current->mm, a->addr);
	ptep = huge_pte_alloc(current->mm, vma, a->addr,
			      PAGE_SIZE << a->state->order);
	mmap_read_unlock(current->mm);
	KUNIT_ASSERT_NOT_NULL(a->test, ptep);
	return (unsigned long *)ptep;
}

/* Return the entry that maps the start of @a, at the level of @order. */
unsigned long *hmm_area_entry(struct hmm_area *a, unsigned int order)
{
	struct mm_struct *mm = current->mm;
	pgd_t *pgdp = pgd_offset(mm, a->addr);
	p4d_t *p4dp;
	pud_t *pudp;
	pmd_t *pmdp;

	if (hmm_area_is_hugetlb(a))
		return hmm_area_hugetlb_entry(a);

	if (order == PGDIR_SHIFT - PAGE_SHIFT)
		return (unsigned long *)pgdp;
	p4dp = p4d_alloc(mm, pgdp, a->addr);
	KUNIT_ASSERT_NOT_NULL(a->test, p4dp);
	if (order == P4D_SHIFT - PAGE_SHIFT)
		return (unsigned long *)p4dp;
	pudp = pud_alloc(mm, p4dp, a->addr);
	KUNIT_ASSERT_NOT_NULL(a->test, pudp);
	if (order == PUD_ORDER)
		return (unsigned long *)pudp;
	pmdp = pmd_alloc(mm, pudp, a->addr);
	KUNIT_ASSERT_NOT_NULL(a->test, pmdp);
	if (order == PMD_ORDER)
		return (unsigned long *)pmdp;
	KUNIT_ASSERT_EQ(a->test, 0, pte_alloc(mm, pmdp));
	return (unsigned long *)pte_offset_kernel(pmdp, a->addr);
}

/* Write @value to the entry. */
void hmm_area_put(struct hmm_area *a, unsigned long *entry, unsigned long value)
{
	a->entry = entry;
	a->was = *entry;
	a->is = value;
	WRITE_ONCE(*entry, value);
	flush_tlb_mm(current->mm);
}

/* The value of a leaf entry that holds no reference on a page */
unsigned long hmm_area_devmap(unsigned int order, unsigned long pfn, pgprot_t prot)
{
	if (order == PUD_ORDER)
		return pud_val(pud_mkhuge(pud_mkdevmap(pfn_pud(pfn, prot))));
	if (order == PMD_ORDER)
		return pmd_val(pmd_mkhuge(pmd_mkdevmap(pfn_pmd(pfn, prot))));
	return pte_val(pte_mkdevmap(pfn_pte(pfn, prot)));
}

unsigned long hmm_area_special(unsigned int order, unsigned long pfn, pgprot_t prot)
{
	if (order == PUD_ORDER)
		return pud_val(pud_mkhuge(pud_mkspecial(pfn_pud(pfn, prot))));
	if (order == PMD_ORDER)
		return pmd_val(pmd_mkhuge(pmd_mkspecial(pfn_pmd(pfn, prot))));
	return pte_val(pte_mkspecial(pfn_pte(pfn, prot)));
}

/* Change a present entry, so that counters stay correct. */
void hmm_area_change(struct hmm_area *a, pte_t (*pte)(pte_t), pmd_t (*pmd)(pmd_t))
{
	unsigned long *entry = hmm_area_entry(a, a->state->order);
	struct mm_struct *mm = current->mm;

	KUNIT_ASSERT_NE(a->test, 0, *entry);
	if (hmm_area_is_hugetlb(a)) {
		unsigned long size = PAGE_SIZE << a->state->order;
		pte_t *ptep = (pte_t *)entry;
		pte_t old = huge_ptep_get_and_clear(mm, a->addr, ptep, size);

		set_huge_pte_at(mm, a->addr, ptep, pte(old), size);
	} else if (a->state->order == PMD_ORDER) {
		pmd_t *pmdp = (pmd_t *)entry;
		pmd_t old = pmdp_huge_get_and_clear(mm, a->addr, pmdp);

		set_pmd_at(mm, a->addr, pmdp, pmd(old));
	} else {
		pte_t *ptep = (pte_t *)entry;
		pte_t old = ptep_get_and_clear(mm, a->addr, ptep);

		set_pte_at(mm, a->addr, ptep, pte(old));
	}
	flush_tlb_mm(mm);
}

/* Call the notifiers for the first page of @a. */
void hmm_area_invalidate(struct hmm_area *a)
{
	struct mmu_notifier_range range;

	mmu_notifier_range_init(&range, MMU_NOTIFY_CLEAR, 0, a->mm, a->addr,
				a->addr + PAGE_SIZE);
	mmu_notifier_invalidate_range_start(&range);
	mmu_notifier_invalidate_range_end(&range);
}

/* Return the page at the start of @a, which is mapped. */
struct page *hmm_area_page(struct hmm_area *a)
{
	struct page *page;

	KUNIT_ASSERT_EQ(a->test, 1, get_user_pages_fast(a->addr, 1, 0, &page));
	put_page(page);
	return page;
}

/* Like migration before the copy: lock the folio, and write a migration entry. */
void hmm_area_migrate(struct hmm_area *a)
{
	unsigned long *entry = hmm_area_entry(a, a->state->order);
	unsigned long value;
	swp_entry_t swp;

	a->folio = page_folio(hmm_area_page(a));
	folio_get(a->folio);
	folio_lock(a->folio);
	swp = make_writable_migration_entry(folio_pfn(a->folio));
	if (a->state->order == PMD_ORDER && !hmm_area_is_hugetlb(a))
		value = pmd_val(swp_entry_to_pmd(swp));
	else
		value = pte_val(swp_entry_to_pte(swp));
	hmm_area_put(a, entry, value);
}

void hmm_area_restore(struct hmm_area *a)
{
	if (a->entry)
		cmpxchg(a->entry, a->is, a->was);
	a->entry = NULL;
	if (a->folio) {
		folio_unlock(a->folio);
		folio_put(a->folio);
		a->folio = NULL;
	}
}
