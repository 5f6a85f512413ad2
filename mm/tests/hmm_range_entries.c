// SPDX-License-Identifier: GPL-2.0
/*
 * Page table entries made by hand, for the states that no user can make, or not at
 * will. No locks are taken: the mm is the test's own, and beside the test's thread
 * there is only the work item that ends a migration, while the other one waits for
 * the folio and leaves the entry alone.
 *
 * An entry that was put there as a bare word is in no counter (rss, mapcount,
 * page_table_check). It has to be gone before the mm sees it: the one before it
 * comes back with hmm_area_restore(), unless a fault has replaced it by then.
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

/* The entry that maps the beginning of @a in tables where it has that @order */
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

/* Put @value there as it is. */
void hmm_area_put(struct hmm_area *a, unsigned long *entry, unsigned long value)
{
	a->entry = entry;
	a->was = *entry;
	a->is = value;
	WRITE_ONCE(*entry, value);
	flush_tlb_mm(current->mm);
}

/* The value of a leaf that is no reference to any page */
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

/* Change a present entry, so that the counters stay right. */
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

/* Tell those who watch that the first page of @a changes. */
void hmm_area_invalidate(struct hmm_area *a)
{
	struct mmu_notifier_range range;

	mmu_notifier_range_init(&range, MMU_NOTIFY_CLEAR, 0, a->mm, a->addr,
				a->addr + PAGE_SIZE);
	mmu_notifier_invalidate_range_start(&range);
	mmu_notifier_invalidate_range_end(&range);
}

/* The page at the beginning of @a, which is mapped */
struct page *hmm_area_page(struct hmm_area *a)
{
	struct page *page;

	KUNIT_ASSERT_EQ(a->test, 1, get_user_pages_fast(a->addr, 1, 0, &page));
	put_page(page);
	return page;
}

/* What migration does until the copy is made: a locked folio, an entry to wait for */
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
