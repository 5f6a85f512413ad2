// SPDX-License-Identifier: GPL-2.0
/*
 * HMM_FAULT_EXCLUSIVE: pages that the device has for itself, and how the CPU gets them
 * back.
 */
#include <kunit/static_stub.h>
#include <linux/delay.h>
#include <linux/highmem.h>
#include <linux/huge_mm.h>
#include <linux/hugetlb.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/pagemap.h>
#include <linux/sched/signal.h>
#include <linux/shmem_fs.h>
#include <linux/swapops.h>

#include <asm/futex.h>

#include "../internal.h"
#include "hmm_mirror_test.h"
#include "hmm_pt_test.h"
#include "hmm_range_states.h"

#define EXCLUSIVE	(HMM_PTE_VALID | HMM_PTE_WRITE | HMM_PTE_EXCLUSIVE)

static int get_lost_pfn(pte_t *ptep, unsigned long addr, void *pfn)
{
	pte_t pte = ptep_get(ptep);

	if (is_swap_pte(pte) && is_device_exclusive_entry(pte_to_swp_entry(pte)))
		*(unsigned long *)pfn = swp_offset_pfn(pte_to_swp_entry(pte));
	return 0;
}

/* The page that the CPU has lost to a device; 0 if it has not */
static unsigned long lost_pfn(unsigned long addr)
{
	pmd_t *pmdp = mm_find_pmd(current->mm, addr);
	unsigned long pfn = 0;

	if (pmdp && !pmd_trans_huge(pmdp_get_lockless(pmdp)))
		apply_to_existing_page_range(current->mm, addr, PAGE_SIZE, get_lost_pfn, &pfn);
	return pfn;
}

static unsigned long lost(unsigned long addr, unsigned long npages)
{
	unsigned long count = 0;

	for (; npages; npages--, addr += PAGE_SIZE)
		count += !!lost_pfn(addr);
	return count;
}

static unsigned long exclusive(struct hmm_fake *fake, unsigned long addr,
			       unsigned long npages)
{
	return hmm_fake_count(fake, addr, npages, EXCLUSIVE);
}

/* Neither is there one without WRITE. */
static unsigned long called_exclusive(struct hmm_fake *fake, unsigned long addr,
				      unsigned long npages)
{
	return hmm_fake_count(fake, addr, npages, HMM_PTE_EXCLUSIVE);
}

static void expect_taken(struct hmm_fake *fake, unsigned long addr, unsigned long npages)
{
	struct kunit *test = fake->test;

	KUNIT_EXPECT_EQ(test, npages, exclusive(fake, addr, npages));
	for (; npages; npages--, addr += PAGE_SIZE) {
		hmm_pte_t pte = hmm_fake_entry(fake, addr);

		KUNIT_EXPECT_EQ(test, lost_pfn(addr), hmm_pte_pfn(pte));
		KUNIT_EXPECT_EQ(test, 0, hmm_pte_order(pte));
	}
}

static void take(struct hmm_fake *fake, unsigned long addr, unsigned long npages)
{
	KUNIT_ASSERT_EQ(fake->test, npages,
			hmm_fake_fault(fake, addr, npages, HMM_FAULT_EXCLUSIVE));
	expect_taken(fake, addr, npages);
}

static char device_reads(struct hmm_fake *fake, unsigned long addr)
{
	char value, *map = kmap_local_page(hmm_pte_page(hmm_fake_entry(fake, addr)));

	value = *map;
	kunmap_local(map);
	return value;
}

static void device_writes(struct hmm_fake *fake, unsigned long addr, char value)
{
	char *map;

	guard(rwsem_read)(&fake->mirror.lock);
	map = kmap_local_page(hmm_pte_page(hmm_pt_lookup(&fake->mirror, addr, NULL)));
	*map = value;
	kunmap_local(map);
	hmm_mirror_range_dirty(&fake->mirror, addr, addr + PAGE_SIZE);
}

static char cpu_reads(struct hmm_fake *fake, unsigned long addr)
{
	char value = 0;

	KUNIT_EXPECT_EQ(fake->test, 0, get_user(value, (char __user *)addr));
	return value;
}

static void bad_arguments(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 1);

	KUNIT_EXPECT_EQ(test, -EINVAL, hmm_fake_fault(fake, addr, 1, HMM_FAULT_EXCLUSIVE |
						      HMM_FAULT_PRESENT));
	KUNIT_EXPECT_EQ(test, -EINVAL, hmm_fake_fault(fake, addr, 1, HMM_FAULT_EXCLUSIVE |
						      HMM_FAULT_READ | HMM_FAULT_PRESENT));
	KUNIT_EXPECT_EQ(test, 0, hmm_fake_stats(fake).faults);
	hmm_fake_set_owner(fake, NULL);
	KUNIT_EXPECT_EQ(test, -EINVAL, hmm_fake_fault(fake, addr, 1, HMM_FAULT_EXCLUSIVE));
	KUNIT_EXPECT_EQ(test, 0, hmm_fake_stats(fake).faults);
	hmm_fake_set_owner(fake, fake);
	KUNIT_EXPECT_EQ(test, 0, fake->fills);
	KUNIT_EXPECT_EQ(test, 1, hmm_fake_fault(fake, addr, 1, HMM_FAULT_EXCLUSIVE |
						HMM_FAULT_READ | HMM_FAULT_WRITE));
	expect_taken(fake, addr, 1);
}

/* As for any fault that writes */
static void errors(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 8);

	KUNIT_ASSERT_EQ(test, 0, vm_munmap(AT(addr, 3), PAGE_SIZE));
	KUNIT_ASSERT_EQ(test, 0, hmm_fake_protect(AT(addr, 6), PAGE_SIZE, PROT_READ));
	KUNIT_EXPECT_EQ(test, -EFAULT, hmm_fake_fault(fake, fake->base, 1, HMM_FAULT_EXCLUSIVE));
	KUNIT_EXPECT_EQ(test, 3, hmm_fake_fault(fake, addr, 8, HMM_FAULT_EXCLUSIVE));
	KUNIT_EXPECT_EQ(test, -EFAULT, hmm_fake_fault(fake, AT(addr, 3), 5, HMM_FAULT_EXCLUSIVE));
	KUNIT_EXPECT_EQ(test, 2, hmm_fake_fault(fake, AT(addr, 4), 4, HMM_FAULT_EXCLUSIVE));
	KUNIT_EXPECT_EQ(test, -EPERM, hmm_fake_fault(fake, AT(addr, 6), 2, HMM_FAULT_EXCLUSIVE));
	expect_taken(fake, addr, 3);
	expect_taken(fake, AT(addr, 4), 2);
	KUNIT_EXPECT_EQ(test, 5, called_exclusive(fake, addr, 8));
	KUNIT_EXPECT_EQ(test, 5, lost(addr, 8));
}

/* The CPU touches pages: it gets these back, the device knows it, and nothing is lost. */
static void cpu_touches(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 8);

	hmm_test_write(test, AT(addr, 3));
	take(fake, addr, 8);
	KUNIT_EXPECT_EQ(test, HMM_UPDATE_DEVICE_WFAULT, fake->fill.event);
	KUNIT_EXPECT_EQ(test, 1, fake->fills);
	KUNIT_EXPECT_EQ(test, 'x', device_reads(fake, AT(addr, 3)));
	device_writes(fake, AT(addr, 3), 'd');
	device_writes(fake, AT(addr, 7), 'e');

	hmm_fake_forget(fake);
	KUNIT_EXPECT_EQ(test, 'd', cpu_reads(fake, AT(addr, 3)));
	hmm_fake_expect_one(fake, HMM_UPDATE_MIGRATE, AT(addr, 3), AT(addr, 4));
	KUNIT_EXPECT_FALSE(test, hmm_pte_valid(hmm_fake_entry(fake, AT(addr, 3))));
	hmm_fake_forget(fake);
	hmm_test_write(test, AT(addr, 7));
	hmm_fake_expect_one(fake, HMM_UPDATE_MIGRATE, AT(addr, 7), AT(addr, 8));
	expect_taken(fake, addr, 3);
	expect_taken(fake, AT(addr, 4), 3);
	KUNIT_EXPECT_EQ(test, 6, lost(addr, 8));

	take(fake, addr, 8);
	KUNIT_EXPECT_EQ(test, 'd', device_reads(fake, AT(addr, 3)));
	KUNIT_EXPECT_EQ(test, 'x', device_reads(fake, AT(addr, 7)));
}

/* What the device has written reaches the page when that goes. */
static void dirty(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 2);
	struct page *page;

	take(fake, addr, 2);
	page = hmm_pte_page(hmm_fake_entry(fake, addr));
	ClearPageDirty(page);
	device_writes(fake, addr, 'd');
	KUNIT_EXPECT_FALSE(test, PageDirty(page));
	/* And served as it is, it stays so. */
	take(fake, addr, 2);
	KUNIT_EXPECT_TRUE(test, hmm_pte_dirty(hmm_fake_entry(fake, addr)));
	ClearPageDirty(page);
	cpu_reads(fake, addr);
	KUNIT_EXPECT_TRUE(test, PageDirty(page));
}

/* Neither more nor less than what is asked for */
static void ends(struct kunit *test)
{
	static const struct { unsigned int first, count; } parts[] = {
		{ 0, 1 }, { 7, 1 }, { 3, 1 }, { 2, 4 }, { 0, 8 }, { 5, 3 },
	};
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 8), i;

	for (i = 0; i < ARRAY_SIZE(parts); i++) {
		unsigned long first = AT(addr, parts[i].first), page;

		for (page = 0; page < 8; page++)
			hmm_test_write(test, AT(addr, page));
		take(fake, first, parts[i].count);
		KUNIT_EXPECT_EQ(test, first, fake->fill.start);
		KUNIT_EXPECT_EQ(test, AT(first, parts[i].count), fake->fill.end);
		KUNIT_EXPECT_EQ(test, parts[i].count, called_exclusive(fake, addr, 8));
		KUNIT_EXPECT_EQ(test, parts[i].count, lost(addr, 8));
	}
}

static void two_vmas(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 8);

	KUNIT_ASSERT_EQ(test, 0, hmm_fake_protect(AT(addr, 4), 4 * PAGE_SIZE,
						  PROT_READ | PROT_WRITE | PROT_EXEC));
	take(fake, AT(addr, 1), 6);
	KUNIT_EXPECT_EQ(test, 1, hmm_fake_stats(fake).faults);
	KUNIT_EXPECT_EQ(test, 6, lost(addr, 8));
}

/* More than is taken at once; begins and ends anywhere */
static void many(struct kunit *test)
{
	const unsigned long pages = 3 * PTRS_PER_PTE - 30;
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map(fake, SZ_512M, 4 * PMD_SIZE) + 13 * PAGE_SIZE;

	take(fake, addr, pages);
	KUNIT_EXPECT_EQ(test, pages, called_exclusive(fake, fake->base, SZ_1G >> PAGE_SHIFT));
	KUNIT_EXPECT_EQ(test, 1, hmm_fake_stats(fake).faults);
	KUNIT_EXPECT_EQ(test, pages, hmm_fake_stats(fake).pages);
}

/* Of two windows */
static void two_windows(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long edge = fake->base + SZ_1G, addr = AT(edge, -3);

	hmm_fake_map(fake, SZ_1G - PMD_SIZE, 2 * PMD_SIZE);
	take(fake, addr, 6);
	KUNIT_EXPECT_EQ(test, 6, lost(AT(edge, -8), 16));
}

static void huge_page(struct kunit *test)
{
	const unsigned long pages = PTRS_PER_PTE;
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_huge(fake, 2), i;

	for (i = 0; i < pages; i += 100)
		hmm_test_write(test, AT(addr, i));
	hmm_fake_fault_all(fake, addr, pages, HMM_FAULT_WRITE);
	KUNIT_ASSERT_EQ(test, PMD_ORDER, hmm_pte_order(hmm_fake_entry(fake, addr)));
	take(fake, AT(addr, 100), 2);
	KUNIT_EXPECT_EQ(test, 2, lost(addr, pages));
	KUNIT_EXPECT_EQ(test, 'x', device_reads(fake, AT(addr, 100)));
	/* The others are the CPU's as before. */
	for (i = 0; i < pages; i += 100)
		KUNIT_EXPECT_EQ(test, 'x', cpu_reads(fake, AT(addr, i)));
	KUNIT_EXPECT_EQ(test, 1, lost(addr, pages));
	take(fake, addr, 2 * pages);
	for (i = 0; i < pages; i += 100)
		KUNIT_EXPECT_EQ(test, 'x', device_reads(fake, AT(addr, i)));
}

/* 64 pages in folios of 16, which are mapped by ptes */
static unsigned long map_large(struct hmm_fake *fake)
{
	const unsigned long always = huge_anon_orders_always;
	unsigned long addr = fake->base + SZ_512M, i;

	/* No larger than the VMA */
	huge_anon_orders_always |= BIT(4);
	hmm_fake_map(fake, SZ_512M, 64 * PAGE_SIZE);
	for (i = 0; i < 64; i++)
		hmm_test_write(fake->test, AT(addr, i));
	huge_anon_orders_always = always;
	return addr;
}

/* The range cuts the first and the last. */
static void large_folios(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = map_large(fake), i;

	hmm_fake_fault_all(fake, addr, 64, HMM_FAULT_WRITE);
	KUNIT_ASSERT_EQ(test, 4, hmm_pte_order(hmm_fake_entry(fake, addr)));
	KUNIT_ASSERT_EQ(test, 4, hmm_pte_order(hmm_fake_entry(fake, AT(addr, 63))));
	take(fake, AT(addr, 5), 48);
	KUNIT_EXPECT_EQ(test, 48, lost(addr, 64));
	for (i = 0; i < 64; i++)
		KUNIT_EXPECT_EQ(test, 'x', cpu_reads(fake, AT(addr, i)));
	KUNIT_EXPECT_EQ(test, 0, lost(addr, 64));
}

/* Somebody has a reference on a THP: what comes before it can be had. */
static void cannot_split(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_huge(fake, 2), edge = addr + PMD_SIZE;
	struct page *page = NULL;

	KUNIT_ASSERT_EQ(test, 0, do_madvise(current->mm, addr, PMD_SIZE, MADV_NOHUGEPAGE));
	KUNIT_ASSERT_EQ(test, 1, get_user_pages_fast(AT(edge, 3), 1, FOLL_WRITE, &page));
	KUNIT_EXPECT_TRUE(test, PageTransCompound(page));

	KUNIT_EXPECT_EQ(test, 4, hmm_fake_fault(fake, AT(edge, -4), 8, HMM_FAULT_EXCLUSIVE));
	expect_taken(fake, AT(edge, -4), 4);
	KUNIT_EXPECT_EQ(test, -EBUSY, hmm_fake_fault(fake, edge, 1, HMM_FAULT_EXCLUSIVE));
	KUNIT_EXPECT_EQ(test, 0, lost(edge, PTRS_PER_PTE));
	put_page(page);
	take(fake, AT(edge, -4), 8);
}

/* On a smaller one, which a later part of what is taken at once is of */
static void cannot_split_later(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = map_large(fake);
	struct page *page = NULL;

	KUNIT_ASSERT_EQ(test, 1, get_user_pages_fast(AT(addr, 35), 1, FOLL_WRITE, &page));
	KUNIT_EXPECT_TRUE(test, PageCompound(page));
	KUNIT_EXPECT_EQ(test, 32, hmm_fake_fault(fake, addr, 64, HMM_FAULT_EXCLUSIVE));
	expect_taken(fake, addr, 32);
	KUNIT_EXPECT_EQ(test, 32, lost(addr, 64));
	KUNIT_EXPECT_EQ(test, -EBUSY, hmm_fake_fault(fake, AT(addr, 32), 32,
						     HMM_FAULT_EXCLUSIVE));
	put_page(page);
	take(fake, addr, 64);
}

/* Another task has the lock of a page, for longer than anybody tries. */
static void waits_for_folio(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 8);
	struct hmm_fake_call *call;
	struct page *page = NULL;

	KUNIT_ASSERT_EQ(test, 1, get_user_pages_fast(AT(addr, 2), 1, FOLL_WRITE, &page));
	lock_page(page);
	call = hmm_fake_call(fake, addr, 8, HMM_FAULT_EXCLUSIVE);
	KUNIT_EXPECT_TRUE(test, hmm_fake_call_blocks(call));
	schedule_timeout_uninterruptible(3 * HZ / 2);
	KUNIT_EXPECT_FALSE(test, completion_done(&call->done));
	/* Nothing that others need is held. */
	hmm_fake_invalidate(fake, MMU_NOTIFY_CLEAR, AT(addr, 2), AT(addr, 8));
	KUNIT_EXPECT_EQ(test, 0, do_madvise(current->mm, AT(addr, 6), PAGE_SIZE, MADV_DONTNEED));
	mmap_write_lock(current->mm);
	mmap_write_unlock(current->mm);
	expect_taken(fake, addr, 2);
	hmm_test_write(test, addr);
	unlock_page(page);
	put_page(page);
	KUNIT_EXPECT_EQ(test, 8, hmm_fake_call_ends(call));
	expect_taken(fake, AT(addr, 1), 7);
}

static void killed(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 4);

	take(fake, addr, 1);
	allow_signal(SIGKILL);
	send_sig(SIGKILL, current, 1);
	KUNIT_EXPECT_EQ(test, -EINTR, hmm_fake_fault(fake, addr, 4, HMM_FAULT_EXCLUSIVE));
	flush_signals(current);
	disallow_signal(SIGKILL);
	take(fake, addr, 4);
}

/* Only what is anonymous can be had. */
static void file(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	struct file *file = shmem_file_setup("hmm_mirror", 8 * PAGE_SIZE, 0);
	unsigned long addr = hmm_fake_map_small(fake, 4), shared, private;

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, file);
	shared = hmm_fake_map_file(fake, SZ_512M + 4 * PAGE_SIZE, 4 * PAGE_SIZE, file,
				   MAP_SHARED);
	private = hmm_fake_map_file(fake, SZ_256M, 4 * PAGE_SIZE, file, MAP_PRIVATE);
	fput(file);

	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP, hmm_fake_fault(fake, shared, 4, HMM_FAULT_EXCLUSIVE));
	KUNIT_EXPECT_EQ(test, 0, hmm_fake_valid(fake, shared, 4));
	KUNIT_EXPECT_EQ(test, 0, fake->fills);
	KUNIT_EXPECT_EQ(test, 4, hmm_fake_fault(fake, addr, 8, HMM_FAULT_EXCLUSIVE));
	expect_taken(fake, addr, 4);
	KUNIT_EXPECT_EQ(test, 4, lost(addr, 8));
	/* To write means a page of one's own. */
	take(fake, private, 4);
}

static void hugetlb(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	struct file *file = hmm_fake_hugetlb(test, PMD_SIZE, PMD_ORDER);
	unsigned long addr;

	addr = hmm_fake_map_file(fake, SZ_512M, PMD_SIZE, file, MAP_PRIVATE);
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP, hmm_fake_fault(fake, addr, 4, HMM_FAULT_EXCLUSIVE));
	hmm_fake_fault_all(fake, addr, PTRS_PER_PTE, HMM_FAULT_WRITE);
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP, hmm_fake_fault(fake, addr, 4, HMM_FAULT_EXCLUSIVE));
	KUNIT_EXPECT_EQ(test, PTRS_PER_PTE, hmm_fake_writable(fake, addr, PTRS_PER_PTE));
	KUNIT_EXPECT_EQ(test, 0, vm_munmap(addr, PMD_SIZE));
	__fput_sync(file);
}

/*
 * Private memory of the device stays where it is. The CPU cannot access it, but another
 * mirror of the same device can: it is not exclusive, and both may write it.
 */
static void private_memory(struct kunit *test)
{
	struct hmm_test_device *dev = hmm_test_device(test, MEMORY_DEVICE_PRIVATE, PMD_SIZE);
	struct hmm_fake *fake = hmm_fake_new(test, 0), *other = hmm_fake_beside(fake, 0);
	unsigned long addr = hmm_fake_map_small(fake, 4), pfn = page_to_pfn(dev->page);
	struct hmm_area *a = hmm_fake_area(fake, AT(addr, 2));
	swp_entry_t swp = make_writable_device_private_entry(pfn);
	hmm_pte_t pte;

	hmm_fake_set_owner(fake, dev);
	hmm_area_put(a, hmm_area_entry(a, 0), pte_val(swp_entry_to_pte(swp)));
	hmm_fake_set_owner(other, dev);
	hmm_fake_fault_all(other, AT(addr, 2), 1, HMM_FAULT_WRITE);
	hmm_fake_forget(other);
	KUNIT_EXPECT_EQ(test, 4, hmm_fake_fault(fake, addr, 4, HMM_FAULT_EXCLUSIVE));
	KUNIT_EXPECT_EQ(test, 0, dev->asked);
	hmm_fake_expect_none(other);
	KUNIT_EXPECT_EQ(test, 1, hmm_fake_writable(other, addr, 4));
	pte = hmm_fake_entry(fake, AT(addr, 2));
	KUNIT_EXPECT_EQ(test, pfn, hmm_pte_pfn(pte));
	KUNIT_EXPECT_TRUE(test, hmm_pte_device(pte));
	KUNIT_EXPECT_TRUE(test, hmm_pte_write(pte));
	KUNIT_EXPECT_FALSE(test, hmm_pte_exclusive(pte));
	KUNIT_EXPECT_TRUE(test, hmm_pte_unaddressable(pte));
	KUNIT_EXPECT_EQ(test, 3, lost(addr, 4));
	KUNIT_EXPECT_EQ(test, 4, hmm_fake_fault(fake, addr, 4, HMM_FAULT_READ));
	KUNIT_EXPECT_EQ(test, 3, exclusive(fake, addr, 4));
	KUNIT_EXPECT_EQ(test, 0, dev->asked);
	hmm_area_restore(a);
	hmm_fake_invalidate(fake, MMU_NOTIFY_CLEAR, addr, AT(addr, 4));
}

/* Memory of a file system or of a device that everybody may map */
static void devmap(struct kunit *test)
{
	struct hmm_test_device *dev = hmm_test_device(test, MEMORY_DEVICE_GENERIC, PMD_SIZE);
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 4);
	struct hmm_area *a = hmm_fake_area(fake, AT(addr, 2));

	hmm_area_put(a, hmm_area_entry(a, 0),
		     hmm_area_devmap(0, page_to_pfn(dev->page), PAGE_SHARED));
	KUNIT_EXPECT_EQ(test, 2, hmm_fake_fault(fake, addr, 4, HMM_FAULT_EXCLUSIVE));
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP, hmm_fake_fault(fake, AT(addr, 2), 2,
							  HMM_FAULT_EXCLUSIVE));
	expect_taken(fake, addr, 2);
	hmm_fake_invalidate(fake, MMU_NOTIFY_CLEAR, addr, AT(addr, 4));
	hmm_area_restore(a);
}

/* Both processes get the pages, read-only: so may the device read, and no more. */
static void forks(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 8), i;

	take(fake, AT(addr, 2), 4);
	for (i = 2; i < 6; i++)
		device_writes(fake, AT(addr, i), 'd');
	hmm_fake_forget(fake);
	hmm_fake_fork(test);
	KUNIT_EXPECT_EQ(test, 1, fake->count);
	KUNIT_EXPECT_EQ(test, HMM_UPDATE_FORK, fake->log[0].event);
	KUNIT_EXPECT_EQ(test, 0, lost(addr, 8));
	KUNIT_EXPECT_EQ(test, 4, hmm_fake_valid(fake, addr, 8));
	KUNIT_EXPECT_EQ(test, 0, hmm_fake_writable(fake, addr, 8));
	KUNIT_EXPECT_EQ(test, 0, called_exclusive(fake, addr, 8));
	for (i = 2; i < 6; i++)
		KUNIT_EXPECT_EQ(test, 'd', cpu_reads(fake, AT(addr, i)));
	hmm_fake_fault_all(fake, AT(addr, 2), 4, HMM_FAULT_READ);
	KUNIT_EXPECT_EQ(test, 0, called_exclusive(fake, addr, 8));
	take(fake, addr, 8);
	for (i = 2; i < 6; i++)
		KUNIT_EXPECT_EQ(test, 'd', device_reads(fake, AT(addr, i)));
}

static void protected_by(struct kunit *test, unsigned long prot, bool readable)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 8);

	take(fake, addr, 8);
	device_writes(fake, AT(addr, 3), 'd');
	hmm_fake_forget(fake);
	KUNIT_ASSERT_EQ(test, 0, hmm_fake_protect(AT(addr, 2), 4 * PAGE_SIZE, prot));
	hmm_fake_expect_one(fake, readable ? HMM_UPDATE_WRITE_PROTECT : HMM_UPDATE_MIGRATE,
			    AT(addr, 2), AT(addr, 6));
	KUNIT_EXPECT_EQ(test, readable ? 4 : 0, hmm_fake_valid(fake, AT(addr, 2), 4));
	KUNIT_EXPECT_EQ(test, 0, hmm_fake_writable(fake, AT(addr, 2), 4));
	KUNIT_EXPECT_EQ(test, 0, called_exclusive(fake, AT(addr, 2), 4));
	expect_taken(fake, addr, 2);
	expect_taken(fake, AT(addr, 6), 2);
	if (readable) {
		KUNIT_EXPECT_EQ(test, -EPERM, hmm_fake_fault(fake, AT(addr, 2), 1,
							     HMM_FAULT_EXCLUSIVE));
		KUNIT_EXPECT_EQ(test, -EPERM, hmm_fake_fault(fake, AT(addr, 2), 1,
							     HMM_FAULT_WRITE));
		hmm_fake_fault_all(fake, AT(addr, 2), 4, HMM_FAULT_READ);
		KUNIT_EXPECT_EQ(test, 'd', cpu_reads(fake, AT(addr, 3)));
	}
	KUNIT_ASSERT_EQ(test, 0, hmm_fake_protect(AT(addr, 2), 4 * PAGE_SIZE,
						  PROT_READ | PROT_WRITE));
	take(fake, addr, 8);
	KUNIT_EXPECT_EQ(test, 'd', device_reads(fake, AT(addr, 3)));
}

static void mprotect_read(struct kunit *test)
{
	protected_by(test, PROT_READ, true);
}

static void mprotect_none(struct kunit *test)
{
	protected_by(test, PROT_NONE, false);
}

/* The pages go, and so does what the device has of them. */
static void unmapped(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 8);

	take(fake, addr, 8);
	hmm_fake_forget(fake);
	KUNIT_EXPECT_EQ(test, 0, do_madvise(current->mm, addr, 2 * PAGE_SIZE, MADV_DONTNEED));
	hmm_fake_expect_one(fake, HMM_UPDATE_MIGRATE, addr, AT(addr, 2));
	hmm_fake_forget(fake);
	KUNIT_EXPECT_EQ(test, 0, vm_munmap(AT(addr, 6), 2 * PAGE_SIZE));
	hmm_fake_expect_one(fake, HMM_UPDATE_MUNMAP, AT(addr, 6), AT(addr, 8));
	KUNIT_EXPECT_EQ(test, 4, hmm_fake_valid(fake, addr, 8));
	expect_taken(fake, AT(addr, 2), 4);
	KUNIT_EXPECT_EQ(test, 0, lost(addr, 2));
	take(fake, addr, 6);
}

/* Who makes a THP of it brings the pages back first. */
static void collapses(struct kunit *test)
{
	const unsigned long pages = PTRS_PER_PTE;
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_huge(fake, 1);

	take(fake, addr, pages);
	device_writes(fake, AT(addr, 300), 'd');
	/* It wants one page that is there. */
	hmm_test_write(test, addr);
	KUNIT_ASSERT_EQ(test, 0, do_madvise(current->mm, addr, PMD_SIZE, MADV_COLLAPSE));
	KUNIT_EXPECT_EQ(test, 0, hmm_fake_valid(fake, addr, pages));
	KUNIT_EXPECT_EQ(test, 'd', cpu_reads(fake, AT(addr, 300)));
	take(fake, addr, pages);
}

/* What the device has for itself it keeps, whatever the fault is for. */
static void already(struct kunit *test)
{
	static const unsigned int flags[] = {
		HMM_FAULT_EXCLUSIVE, HMM_FAULT_READ, HMM_FAULT_WRITE,
		HMM_FAULT_READ | HMM_FAULT_WRITE, HMM_FAULT_READ | HMM_FAULT_PRESENT,
		HMM_FAULT_WRITE | HMM_FAULT_PRESENT,
	};
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 8), faults, i;

	take(fake, addr, 8);
	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		hmm_fake_forget(fake);
		faults = hmm_test_faults();
		KUNIT_EXPECT_EQ(test, 8, hmm_fake_fault(fake, addr, 8, flags[i]));
		KUNIT_EXPECT_EQ(test, 0, fake->fills);
		hmm_fake_expect_none(fake);
		KUNIT_EXPECT_EQ(test, faults, hmm_test_faults());
		expect_taken(fake, addr, 8);
	}
}

/* The same where it has only some of the pages */
static void some_already(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 16);

	take(fake, AT(addr, 2), 3);
	take(fake, AT(addr, 10), 2);
	hmm_fake_forget(fake);
	hmm_fake_fault_all(fake, addr, 8, HMM_FAULT_READ);
	KUNIT_EXPECT_EQ(test, 3, hmm_fake_writable(fake, addr, 8));
	expect_taken(fake, AT(addr, 2), 3);
	hmm_fake_expect_none(fake);
	KUNIT_EXPECT_EQ(test, 3, lost(addr, 8));

	hmm_fake_invalidate(fake, MMU_NOTIFY_CLEAR, addr, AT(addr, 2));
	hmm_fake_invalidate(fake, MMU_NOTIFY_CLEAR, AT(addr, 5), AT(addr, 8));
	hmm_fake_forget(fake);
	take(fake, addr, 16);
	hmm_fake_expect_none(fake);
}

/* It was the device's, and the CPU's, too: the device hears that it is not, and is. */
static void upgrade(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 8), i;

	for (i = 0; i < 8; i++)
		hmm_test_write(test, AT(addr, i));
	hmm_fake_fault_all(fake, addr, 4, HMM_FAULT_WRITE);
	hmm_fake_fault_all(fake, AT(addr, 4), 4, HMM_FAULT_READ);
	device_writes(fake, addr, 'd');
	take(fake, AT(addr, 2), 4);
	KUNIT_EXPECT_EQ(test, 8, hmm_fake_valid(fake, addr, 8));
	KUNIT_EXPECT_EQ(test, 6, hmm_fake_writable(fake, addr, 8));
	KUNIT_EXPECT_EQ(test, 4, lost(addr, 8));
	/* No collision with what it does itself */
	KUNIT_EXPECT_EQ(test, 0, hmm_fake_stats(fake).collisions);
}

/* Another device loses the pages, and gets them when it wants them. */
static void two_devices(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0), *other = hmm_fake_beside(fake, 0);
	unsigned long addr = hmm_fake_map_small(fake, 8);

	hmm_fake_fault_all(other, addr, 8, HMM_FAULT_WRITE);
	device_writes(other, AT(addr, 3), 'o');
	take(fake, AT(addr, 2), 4);
	KUNIT_EXPECT_EQ(test, 4, hmm_fake_valid(other, addr, 8));
	KUNIT_EXPECT_EQ(test, 0, hmm_fake_valid(other, AT(addr, 2), 4));
	KUNIT_EXPECT_EQ(test, 'o', device_reads(fake, AT(addr, 3)));

	hmm_fake_fault_all(other, AT(addr, 3), 1, HMM_FAULT_READ);
	KUNIT_EXPECT_EQ(test, 3, exclusive(fake, addr, 8));
	KUNIT_EXPECT_EQ(test, 3, hmm_fake_valid(fake, addr, 8));
	take(other, addr, 8);
	KUNIT_EXPECT_EQ(test, 0, hmm_fake_valid(fake, addr, 8));
}

static void driver_fails(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 8);

	hmm_test_write(test, AT(addr, 1));
	fake->fill_error = -EIO;
	KUNIT_EXPECT_EQ(test, -EIO, hmm_fake_fault(fake, addr, 4, HMM_FAULT_EXCLUSIVE));
	hmm_fake_expect_one(fake, HMM_UPDATE_MIGRATE, addr, AT(addr, 4));
	KUNIT_EXPECT_EQ(test, 0, hmm_fake_valid(fake, addr, 8));
	KUNIT_EXPECT_EQ(test, 0, hmm_fake_stats(fake).pages);
	KUNIT_EXPECT_EQ(test, 'x', cpu_reads(fake, AT(addr, 1)));
	take(fake, addr, 8);
	KUNIT_EXPECT_EQ(test, 'x', device_reads(fake, AT(addr, 1)));
}

/*
 * Between the taking and the commit: what does not need the lock of a folio changes the
 * CPU's page table. mmap_lock is held for reading.
 */
static struct page *alloc_table_late(struct hmm_pt *pt, unsigned int level)
{
	struct hmm_fake *fake = container_of(pt, struct hmm_fake, mirror.pt);
	unsigned long addr = fake->base + SZ_512M;

	kunit_deactivate_static_stub(fake->test, hmm_pt_alloc_table);
	mmap_assert_locked(current->mm);
	KUNIT_EXPECT_EQ(fake->test, 8, lost(addr, 8));
	zap_page_range_single(vma_lookup(current->mm, addr), AT(addr, 3), PAGE_SIZE, NULL);
	KUNIT_EXPECT_EQ(fake->test, 7, lost(addr, 8));
	return hmm_pt_alloc_table(pt, level);
}

static void collides(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 8), i;

	for (i = 0; i < 8; i++)
		hmm_test_write(test, AT(addr, i));
	kunit_activate_static_stub(test, hmm_pt_alloc_table, alloc_table_late);
	take(fake, addr, 8);
	KUNIT_EXPECT_GE(test, hmm_fake_stats(fake).collisions, 1);
	for (i = 0; i < 8; i++)
		KUNIT_EXPECT_EQ(test, i == 3 ? 0 : 'x', device_reads(fake, AT(addr, i)));
}

/* Again and again, as long as mmap_lock is not held for writing */
static struct page *alloc_table_hammered(struct hmm_pt *pt, unsigned int level)
{
	struct hmm_fake *fake = container_of(pt, struct hmm_fake, mirror.pt);
	unsigned long addr = fake->base + SZ_512M;
	struct page *table;

	if (mmap_read_trylock(current->mm)) {
		zap_page_range_single(vma_lookup(current->mm, addr), addr, PAGE_SIZE, NULL);
		mmap_read_unlock(current->mm);
	}
	kunit_deactivate_static_stub(fake->test, hmm_pt_alloc_table);
	table = hmm_pt_alloc_table(pt, level);
	kunit_activate_static_stub(fake->test, hmm_pt_alloc_table, alloc_table_hammered);
	return table;
}

static void hammered(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 8), i;

	for (i = 0; i < 8; i++)
		hmm_test_write(test, AT(addr, i));
	kunit_activate_static_stub(test, hmm_pt_alloc_table, alloc_table_hammered);
	take(fake, addr, 8);
	KUNIT_EXPECT_EQ(test, HMM_FAULT_COLLISIONS_MAX, hmm_fake_stats(fake).collisions);
	KUNIT_EXPECT_EQ(test, 1, hmm_fake_stats(fake).progress);
	for (i = 1; i < 8; i++)
		KUNIT_EXPECT_EQ(test, 'x', device_reads(fake, AT(addr, i)));
	KUNIT_EXPECT_EQ(test, 'x', cpu_reads(fake, AT(addr, 1)));
}

static void unregister(void *mirror)
{
	hmm_mirror_unregister(mirror);
}

/* Each page has a DMA mapping of its own. */
static void dma(struct kunit *test)
{
	struct hmm_pt_device *device = hmm_pt_device(test);
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long base = fake->base, addr, i;

	hmm_fake_unregister(fake);
	hmm_fake_init(fake);
	fake->test = test;
	fake->base = base;
	fake->mirror.dma_dev = device->dev;
	KUNIT_ASSERT_EQ(test, 0, hmm_mirror_register(&fake->mirror, current->mm));
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, unregister, &fake->mirror));

	addr = hmm_fake_map_huge(fake, 1);
	hmm_fake_fault_all(fake, addr, PTRS_PER_PTE, HMM_FAULT_WRITE);
	KUNIT_EXPECT_EQ(test, 1, device->live);
	take(fake, AT(addr, 2), 4);
	KUNIT_EXPECT_EQ(test, 4, device->live);
	for (i = 2; i < 6; i++) {
		hmm_pte_t pte = hmm_fake_entry(fake, AT(addr, i));
		const struct hmm_pt_mapping *map = hmm_pt_device_find(device, hmm_pte_dma(pte));

		KUNIT_ASSERT_NOT_NULL(test, map);
		KUNIT_EXPECT_EQ(test, hmm_pte_pfn(pte), map->pfn);
		KUNIT_EXPECT_EQ(test, DMA_BIDIRECTIONAL, map->dir);
	}
	cpu_reads(fake, AT(addr, 3));
	KUNIT_EXPECT_EQ(test, 3, device->live);
	device->left = 0;
	KUNIT_EXPECT_EQ(test, -ENOSPC, hmm_fake_fault(fake, AT(addr, 3), 3,
						      HMM_FAULT_EXCLUSIVE));
	expect_taken(fake, AT(addr, 4), 2);
	KUNIT_EXPECT_EQ(test, 3, device->live);
	device->left = -1;
	take(fake, AT(addr, 2), 4);
	KUNIT_EXPECT_EQ(test, 4, device->live);
	kunit_release_action(test, unregister, &fake->mirror);
	KUNIT_EXPECT_EQ(test, 0, device->live);
	KUNIT_EXPECT_NULL(test, device->complaint);
}

/* Two devices and the CPU, each of which adds to the same word for a while */
struct adder {
	struct hmm_fake *fake;
	struct mm_struct *mm;
	unsigned long addr;
	unsigned long end;
	unsigned long added;
	bool wrong;
	struct completion done;
};

/* The one that is not atomic: unless the CPU, and the other device, do not have the page */
static bool device_adds(struct adder *adder)
{
	struct hmm_mirror *mirror = &adder->fake->mirror;
	u32 *map, value;
	hmm_pte_t pte;

	if (hmm_mirror_fault(mirror, adder->addr, adder->addr + 4 * PAGE_SIZE,
			     HMM_FAULT_EXCLUSIVE) != 4)
		adder->wrong = true;
	guard(rwsem_read)(&mirror->lock);
	pte = hmm_pt_lookup(mirror, adder->addr, NULL);
	if (!hmm_pte_exclusive(pte))
		return false;
	map = kmap_local_page(hmm_pte_page(pte));
	value = READ_ONCE(*map);
	udelay(5);
	WRITE_ONCE(*map, value + 1);
	kunmap_local(map);
	hmm_mirror_range_dirty(mirror, adder->addr, adder->addr + PAGE_SIZE);
	return true;
}

static bool cpu_adds(struct adder *adder)
{
	int old;

	if (arch_futex_atomic_op_inuser(FUTEX_OP_ADD, 1, &old, (u32 __user *)adder->addr))
		adder->wrong = true;
	udelay(5);
	return true;
}

static int adder_thread(void *arg)
{
	struct adder *adder = arg;

	if (!adder->fake)
		kthread_use_mm(adder->mm);
	while (time_before(jiffies, adder->end)) {
		adder->added += adder->fake ? device_adds(adder) : cpu_adds(adder);
		cond_resched();
	}
	if (!adder->fake)
		kthread_unuse_mm(adder->mm);
	complete(&adder->done);
	return 0;
}

static void adders(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0), *other = hmm_fake_beside(fake, 0);
	unsigned long addr = hmm_fake_map_small(fake, 4), sum = 0, i;
	struct adder adders[] = {
		{ .fake = fake }, { .fake = other }, { .mm = current->mm },
	};
	u32 value = 0;

	for (i = 0; i < ARRAY_SIZE(adders); i++) {
		adders[i].addr = addr;
		adders[i].end = jiffies + 2 * HZ;
		init_completion(&adders[i].done);
		KUNIT_EXPECT_NOT_ERR_OR_NULL(test, kthread_run(adder_thread, &adders[i],
							       "hmm_adder"));
	}
	for (i = 0; i < ARRAY_SIZE(adders); i++) {
		wait_for_completion(&adders[i].done);
		KUNIT_EXPECT_GT(test, adders[i].added, 0);
		KUNIT_EXPECT_FALSE(test, adders[i].wrong);
		sum += adders[i].added;
	}
	KUNIT_EXPECT_EQ(test, 0, get_user(value, (u32 __user *)addr));
	KUNIT_EXPECT_EQ(test, (u32)sum, value);
	kunit_info(test, "added by devices: %lu, %lu; by the CPU: %lu; collisions: %lu, %lu\n",
		   adders[0].added, adders[1].added, adders[2].added,
		   hmm_fake_stats(fake).collisions, hmm_fake_stats(other).collisions);
}

static struct kunit_case hmm_mirror_exclusive_cases[] = {
	KUNIT_CASE(bad_arguments),
	KUNIT_CASE(errors),
	KUNIT_CASE(cpu_touches),
	KUNIT_CASE(dirty),
	KUNIT_CASE(ends),
	KUNIT_CASE(two_vmas),
	KUNIT_CASE(many),
	KUNIT_CASE(two_windows),
	KUNIT_CASE(huge_page),
	KUNIT_CASE(large_folios),
	KUNIT_CASE(cannot_split),
	KUNIT_CASE(cannot_split_later),
	KUNIT_CASE(waits_for_folio),
	KUNIT_CASE(killed),
	KUNIT_CASE(file),
	KUNIT_CASE(hugetlb),
	KUNIT_CASE(private_memory),
	KUNIT_CASE(devmap),
	KUNIT_CASE(forks),
	KUNIT_CASE(mprotect_read),
	KUNIT_CASE(mprotect_none),
	KUNIT_CASE(unmapped),
	KUNIT_CASE(collapses),
	KUNIT_CASE(already),
	KUNIT_CASE(some_already),
	KUNIT_CASE(upgrade),
	KUNIT_CASE(two_devices),
	KUNIT_CASE(driver_fails),
	KUNIT_CASE(collides),
	KUNIT_CASE(hammered),
	KUNIT_CASE(dma),
	KUNIT_CASE_SLOW(adders),
	{}
};

static struct kunit_suite hmm_mirror_exclusive_suite = {
	.name = "hmm_mirror_exclusive",
	.test_cases = hmm_mirror_exclusive_cases,
};

kunit_test_suite(hmm_mirror_exclusive_suite);
