// SPDX-License-Identifier: GPL-2.0
/*
 * Helpers that the tests of HMM_FAULT_EXCLUSIVE share
 */
#include <linux/highmem.h>
#include <linux/mm.h>
#include <linux/swap.h>
#include <linux/swapops.h>

#include "../internal.h"
#include "hmm_mirror_exclusive.h"

#define EXCLUSIVE	(HMM_PTE_VALID | HMM_PTE_WRITE | HMM_PTE_EXCLUSIVE)

static int get_lost_pfn(pte_t *ptep, unsigned long addr, void *pfn)
{
	pte_t pte = ptep_get(ptep);

	if (is_swap_pte(pte) && is_device_exclusive_entry(pte_to_swp_entry(pte)))
		*(unsigned long *)pfn = swp_offset_pfn(pte_to_swp_entry(pte));
	return 0;
}

/* The pfn that the CPU has lost to a device at @addr, or 0 */
static unsigned long lost_pfn(unsigned long addr)
{
	pmd_t *pmdp = mm_find_pmd(current->mm, addr);
	unsigned long pfn = 0;

	if (pmdp && !pmd_trans_huge(pmdp_get_lockless(pmdp)))
		apply_to_existing_page_range(current->mm, addr, PAGE_SIZE, get_lost_pfn, &pfn);
	return pfn;
}

/* Count the pages that the CPU has lost to a device. */
unsigned long hmm_fake_cpu_lost(unsigned long addr, unsigned long npages)
{
	unsigned long count = 0;

	for (; npages; npages--, addr += PAGE_SIZE)
		count += !!lost_pfn(addr);
	return count;
}

/* Count the pages that are exclusive and writable. */
unsigned long hmm_fake_exclusive(struct hmm_fake *fake, unsigned long addr,
				 unsigned long npages)
{
	return hmm_fake_count(fake, addr, npages, EXCLUSIVE);
}

/* Count exclusive entries without a check of the other flags. These must be the same. */
unsigned long hmm_fake_flagged(struct hmm_fake *fake, unsigned long addr,
			       unsigned long npages)
{
	return hmm_fake_count(fake, addr, npages, HMM_PTE_EXCLUSIVE);
}

/* Expect all pages to be exclusive, with the page that the CPU has lost. */
void hmm_fake_expect_taken(struct hmm_fake *fake, unsigned long addr, unsigned long npages)
{
	struct kunit *test = fake->test;

	KUNIT_EXPECT_EQ(test, npages, hmm_fake_exclusive(fake, addr, npages));
	for (; npages; npages--, addr += PAGE_SIZE) {
		hmm_pte_t pte = hmm_fake_entry(fake, addr);

		KUNIT_EXPECT_EQ(test, lost_pfn(addr), hmm_pte_pfn(pte));
		KUNIT_EXPECT_EQ(test, 0, hmm_pte_order(pte));
	}
}

/* Make the pages exclusive. */
void hmm_fake_take(struct hmm_fake *fake, unsigned long addr, unsigned long npages)
{
	KUNIT_ASSERT_EQ(fake->test, npages,
			hmm_fake_fault(fake, addr, npages, HMM_FAULT_EXCLUSIVE));
	hmm_fake_expect_taken(fake, addr, npages);
}

/* Read a byte as the device. */
char hmm_fake_device_read(struct hmm_fake *fake, unsigned long addr)
{
	char value, *map = kmap_local_page(hmm_pte_page(hmm_fake_entry(fake, addr)));

	value = *map;
	kunmap_local(map);
	return value;
}

/* Write a byte as the device, and mark the page dirty. */
void hmm_fake_device_write(struct hmm_fake *fake, unsigned long addr, char value)
{
	char *map;

	guard(rwsem_read)(&fake->mirror.lock);
	map = kmap_local_page(hmm_pte_page(hmm_pt_lookup(&fake->mirror, addr, NULL)));
	*map = value;
	kunmap_local(map);
	hmm_mirror_range_dirty(&fake->mirror, addr, addr + PAGE_SIZE);
}

/* Read a byte as the CPU. */
char hmm_fake_cpu_read(struct hmm_fake *fake, unsigned long addr)
{
	char value = 0;

	KUNIT_EXPECT_EQ(fake->test, 0, get_user(value, (char __user *)addr));
	return value;
}
