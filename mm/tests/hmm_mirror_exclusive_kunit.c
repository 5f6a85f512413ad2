// SPDX-License-Identifier: GPL-2.0
/*
 * HMM_FAULT_EXCLUSIVE gives a device exclusive access to pages: which pages, and which errors
 */
#include <kunit/static_stub.h>
#include <linux/file.h>
#include <linux/hugetlb.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/pagemap.h>
#include <linux/sched/signal.h>
#include <linux/shmem_fs.h>
#include <linux/swap.h>
#include <linux/swapops.h>

#include "hmm_mirror_exclusive.h"
#include "hmm_pt_test.h"
#include "hmm_range_states.h"

/* Combinations of flags that make no sense fail with -EINVAL. */
static void bad_flags(struct kunit *test)
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
	hmm_fake_expect_taken(fake, addr, 1);
}

/* An exclusive fault returns the same errors as a write fault. */
static void fails_like_write_fault(struct kunit *test)
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
	hmm_fake_expect_taken(fake, addr, 3);
	hmm_fake_expect_taken(fake, AT(addr, 4), 2);
	KUNIT_EXPECT_EQ(test, 5, hmm_fake_flagged(fake, addr, 8));
	KUNIT_EXPECT_EQ(test, 5, hmm_fake_cpu_lost(addr, 8));
}

/* A fault makes exactly the pages of its range exclusive. */
static void exact_range(struct kunit *test)
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
		hmm_fake_take(fake, first, parts[i].count);
		KUNIT_EXPECT_EQ(test, first, fake->fill.start);
		KUNIT_EXPECT_EQ(test, AT(first, parts[i].count), fake->fill.end);
		KUNIT_EXPECT_EQ(test, parts[i].count, hmm_fake_flagged(fake, addr, 8));
		KUNIT_EXPECT_EQ(test, parts[i].count, hmm_fake_cpu_lost(addr, 8));
	}
}

/* One fault makes pages of two VMAs exclusive. */
static void two_vmas(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 8);

	KUNIT_ASSERT_EQ(test, 0, hmm_fake_protect(AT(addr, 4), 4 * PAGE_SIZE,
						  PROT_READ | PROT_WRITE | PROT_EXEC));
	hmm_fake_take(fake, AT(addr, 1), 6);
	KUNIT_EXPECT_EQ(test, 1, hmm_fake_stats(fake).faults);
	KUNIT_EXPECT_EQ(test, 6, hmm_fake_cpu_lost(addr, 8));
}

/* One fault makes a range exclusive that needs several chunks and has unaligned ends. */
static void many_chunks(struct kunit *test)
{
	const unsigned long pages = 3 * PTRS_PER_PTE - 30;
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map(fake, SZ_512M, 4 * PMD_SIZE) + 13 * PAGE_SIZE;

	hmm_fake_take(fake, addr, pages);
	KUNIT_EXPECT_EQ(test, pages, hmm_fake_flagged(fake, fake->base, SZ_1G >> PAGE_SHIFT));
	KUNIT_EXPECT_EQ(test, 1, hmm_fake_stats(fake).faults);
	KUNIT_EXPECT_EQ(test, pages, hmm_fake_stats(fake).pages);
}

/* One fault makes pages of two windows exclusive. */
static void two_windows(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long edge = fake->base + SZ_1G, addr = AT(edge, -3);

	hmm_fake_map(fake, SZ_1G - PMD_SIZE, 2 * PMD_SIZE);
	hmm_fake_take(fake, addr, 6);
	KUNIT_EXPECT_EQ(test, 6, hmm_fake_cpu_lost(AT(edge, -8), 16));
}

/* Pages of a THP become exclusive, and the CPU keeps the other pages of the THP. */
static void part_of_huge_page(struct kunit *test)
{
	const unsigned long pages = PTRS_PER_PTE;
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_huge(fake, 2), i;

	for (i = 0; i < pages; i += 100)
		hmm_test_write(test, AT(addr, i));
	hmm_fake_fault_all(fake, addr, pages, HMM_FAULT_WRITE);
	KUNIT_ASSERT_EQ(test, PMD_ORDER, hmm_pte_order(hmm_fake_entry(fake, addr)));
	hmm_fake_take(fake, AT(addr, 100), 2);
	KUNIT_EXPECT_EQ(test, 2, hmm_fake_cpu_lost(addr, pages));
	KUNIT_EXPECT_EQ(test, 'x', hmm_fake_device_read(fake, AT(addr, 100)));
	/* The CPU still has the other pages. */
	for (i = 0; i < pages; i += 100)
		KUNIT_EXPECT_EQ(test, 'x', hmm_fake_cpu_read(fake, AT(addr, i)));
	KUNIT_EXPECT_EQ(test, 1, hmm_fake_cpu_lost(addr, pages));
	hmm_fake_take(fake, addr, 2 * pages);
	for (i = 0; i < pages; i += 100)
		KUNIT_EXPECT_EQ(test, 'x', hmm_fake_device_read(fake, AT(addr, i)));
}

/* Map 64 pages in folios of 16 pages, which ptes map. */
static unsigned long map_large(struct hmm_fake *fake)
{
	const unsigned long always = huge_anon_orders_always;
	unsigned long addr = fake->base + SZ_512M, i;

	/* The VMA is not larger, so larger folios do not fit. */
	huge_anon_orders_always |= BIT(4);
	hmm_fake_map(fake, SZ_512M, 64 * PAGE_SIZE);
	for (i = 0; i < 64; i++)
		hmm_test_write(fake->test, AT(addr, i));
	huge_anon_orders_always = always;
	return addr;
}

/*
 * Pages of large folios become exclusive, also if the range cuts the first and the last
 * folio.
 */
static void parts_of_large_folios(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = map_large(fake), i;

	hmm_fake_fault_all(fake, addr, 64, HMM_FAULT_WRITE);
	KUNIT_ASSERT_EQ(test, 4, hmm_pte_order(hmm_fake_entry(fake, addr)));
	KUNIT_ASSERT_EQ(test, 4, hmm_pte_order(hmm_fake_entry(fake, AT(addr, 63))));
	hmm_fake_take(fake, AT(addr, 5), 48);
	KUNIT_EXPECT_EQ(test, 48, hmm_fake_cpu_lost(addr, 64));
	for (i = 0; i < 64; i++)
		KUNIT_EXPECT_EQ(test, 'x', hmm_fake_cpu_read(fake, AT(addr, i)));
	KUNIT_EXPECT_EQ(test, 0, hmm_fake_cpu_lost(addr, 64));
}

/* A THP with an extra reference cannot be split: the pages before it become exclusive. */
static void referenced_huge_page_is_busy(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_huge(fake, 2), edge = addr + PMD_SIZE;
	struct page *page = NULL;

	KUNIT_ASSERT_EQ(test, 0, do_madvise(current->mm, addr, PMD_SIZE, MADV_NOHUGEPAGE));
	KUNIT_ASSERT_EQ(test, 1, get_user_pages_fast(AT(edge, 3), 1, FOLL_WRITE, &page));
	KUNIT_EXPECT_TRUE(test, PageTransCompound(page));

	KUNIT_EXPECT_EQ(test, 4, hmm_fake_fault(fake, AT(edge, -4), 8, HMM_FAULT_EXCLUSIVE));
	hmm_fake_expect_taken(fake, AT(edge, -4), 4);
	KUNIT_EXPECT_EQ(test, -EBUSY, hmm_fake_fault(fake, edge, 1, HMM_FAULT_EXCLUSIVE));
	KUNIT_EXPECT_EQ(test, 0, hmm_fake_cpu_lost(edge, PTRS_PER_PTE));
	put_page(page);
	hmm_fake_take(fake, AT(edge, -4), 8);
}

/* The same for a smaller folio in the middle of a chunk. */
static void referenced_large_folio_is_busy(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = map_large(fake);
	struct page *page = NULL;

	KUNIT_ASSERT_EQ(test, 1, get_user_pages_fast(AT(addr, 35), 1, FOLL_WRITE, &page));
	KUNIT_EXPECT_TRUE(test, PageCompound(page));
	KUNIT_EXPECT_EQ(test, 32, hmm_fake_fault(fake, addr, 64, HMM_FAULT_EXCLUSIVE));
	hmm_fake_expect_taken(fake, addr, 32);
	KUNIT_EXPECT_EQ(test, 32, hmm_fake_cpu_lost(addr, 64));
	KUNIT_EXPECT_EQ(test, -EBUSY, hmm_fake_fault(fake, AT(addr, 32), 32,
						     HMM_FAULT_EXCLUSIVE));
	put_page(page);
	hmm_fake_take(fake, addr, 64);
}

/*
 * An exclusive fault waits for a folio lock, without a limit of time, and holds no lock
 * meanwhile.
 */
static void waits_for_folio_lock(struct kunit *test)
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
	/* The fault holds no lock that these need. */
	hmm_fake_invalidate(fake, MMU_NOTIFY_CLEAR, AT(addr, 2), AT(addr, 8));
	KUNIT_EXPECT_EQ(test, 0, do_madvise(current->mm, AT(addr, 6), PAGE_SIZE, MADV_DONTNEED));
	mmap_write_lock(current->mm);
	mmap_write_unlock(current->mm);
	hmm_fake_expect_taken(fake, addr, 2);
	hmm_test_write(test, addr);
	unlock_page(page);
	put_page(page);
	KUNIT_EXPECT_EQ(test, 8, hmm_fake_call_ends(call));
	hmm_fake_expect_taken(fake, AT(addr, 1), 7);
}

/* A killed task gets -EINTR, and can fault again when the signal is gone. */
static void killed_task_fails(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 4);

	hmm_fake_take(fake, addr, 1);
	allow_signal(SIGKILL);
	send_sig(SIGKILL, current, 1);
	KUNIT_EXPECT_EQ(test, -EINTR, hmm_fake_fault(fake, addr, 4, HMM_FAULT_EXCLUSIVE));
	flush_signals(current);
	disallow_signal(SIGKILL);
	hmm_fake_take(fake, addr, 4);
}

/* File pages cannot be exclusive; private copies of them can. */
static void file_pages_are_not_supported(struct kunit *test)
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
	hmm_fake_expect_taken(fake, addr, 4);
	KUNIT_EXPECT_EQ(test, 4, hmm_fake_cpu_lost(addr, 8));
	/* The write fault makes a private copy. */
	hmm_fake_take(fake, private, 4);
}

/* hugetlb pages cannot be exclusive, and stay mirrored as they are. */
static void hugetlb_is_not_supported(struct kunit *test)
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
 * A fault leaves private memory of the device where it is. The CPU cannot access that
 * memory, but another mirror of the device can, so that it is not exclusive and both may
 * write.
 */
static void private_memory_stays(struct kunit *test)
{
	struct hmm_test_device *dev = hmm_test_device(test, MEMORY_DEVICE_PRIVATE, PMD_SIZE);
	struct hmm_fake *fake = hmm_fake_new(test, 0), *other = hmm_fake_another(fake, 0);
	unsigned long addr = hmm_fake_map_small(fake, 4), pfn = page_to_pfn(dev->page);
	struct hmm_area *a = hmm_fake_area(fake, AT(addr, 2));
	swp_entry_t swp = make_writable_device_private_entry(pfn);
	hmm_pte_t pte;

	hmm_fake_set_owner(fake, dev);
	hmm_area_put(a, hmm_area_entry(a, 0), pte_val(swp_entry_to_pte(swp)));
	hmm_fake_set_owner(other, dev);
	hmm_fake_fault_all(other, AT(addr, 2), 1, HMM_FAULT_WRITE);
	hmm_fake_clear_log(other);
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
	KUNIT_EXPECT_EQ(test, 3, hmm_fake_cpu_lost(addr, 4));
	KUNIT_EXPECT_EQ(test, 4, hmm_fake_fault(fake, addr, 4, HMM_FAULT_READ));
	KUNIT_EXPECT_EQ(test, 3, hmm_fake_exclusive(fake, addr, 4));
	KUNIT_EXPECT_EQ(test, 0, dev->asked);
	hmm_area_restore(a);
	hmm_fake_invalidate(fake, MMU_NOTIFY_CLEAR, addr, AT(addr, 4));
}

/* DAX memory cannot be exclusive. */
static void devmap_is_not_supported(struct kunit *test)
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
	hmm_fake_expect_taken(fake, addr, 2);
	hmm_fake_invalidate(fake, MMU_NOTIFY_CLEAR, addr, AT(addr, 4));
	hmm_area_restore(a);
}

/* Exclusive pages stay exclusive, whatever flags a later fault has. */
static void later_faults_keep_exclusive(struct kunit *test)
{
	static const unsigned int flags[] = {
		HMM_FAULT_EXCLUSIVE, HMM_FAULT_READ, HMM_FAULT_WRITE,
		HMM_FAULT_READ | HMM_FAULT_WRITE, HMM_FAULT_READ | HMM_FAULT_PRESENT,
		HMM_FAULT_WRITE | HMM_FAULT_PRESENT,
	};
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 8), faults, i;

	hmm_fake_take(fake, addr, 8);
	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		hmm_fake_clear_log(fake);
		faults = hmm_test_faults();
		KUNIT_EXPECT_EQ(test, 8, hmm_fake_fault(fake, addr, 8, flags[i]));
		KUNIT_EXPECT_EQ(test, 0, fake->fills);
		hmm_fake_expect_none(fake);
		KUNIT_EXPECT_EQ(test, faults, hmm_test_faults());
		hmm_fake_expect_taken(fake, addr, 8);
	}
}

/* The same if only some of the pages are exclusive. */
static void later_faults_keep_some_exclusive(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 16);

	hmm_fake_take(fake, AT(addr, 2), 3);
	hmm_fake_take(fake, AT(addr, 10), 2);
	hmm_fake_clear_log(fake);
	hmm_fake_fault_all(fake, addr, 8, HMM_FAULT_READ);
	KUNIT_EXPECT_EQ(test, 3, hmm_fake_writable(fake, addr, 8));
	hmm_fake_expect_taken(fake, AT(addr, 2), 3);
	hmm_fake_expect_none(fake);
	KUNIT_EXPECT_EQ(test, 3, hmm_fake_cpu_lost(addr, 8));

	hmm_fake_invalidate(fake, MMU_NOTIFY_CLEAR, addr, AT(addr, 2));
	hmm_fake_invalidate(fake, MMU_NOTIFY_CLEAR, AT(addr, 5), AT(addr, 8));
	hmm_fake_clear_log(fake);
	hmm_fake_take(fake, addr, 16);
	hmm_fake_expect_none(fake);
}

/*
 * Pages that the device has mirrored become exclusive. The update to the driver is no
 * collision.
 */
static void mirrored_pages_become_exclusive(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 8), i;

	for (i = 0; i < 8; i++)
		hmm_test_write(test, AT(addr, i));
	hmm_fake_fault_all(fake, addr, 4, HMM_FAULT_WRITE);
	hmm_fake_fault_all(fake, AT(addr, 4), 4, HMM_FAULT_READ);
	hmm_fake_device_write(fake, addr, 'd');
	hmm_fake_take(fake, AT(addr, 2), 4);
	KUNIT_EXPECT_EQ(test, 8, hmm_fake_valid(fake, addr, 8));
	KUNIT_EXPECT_EQ(test, 6, hmm_fake_writable(fake, addr, 8));
	KUNIT_EXPECT_EQ(test, 4, hmm_fake_cpu_lost(addr, 8));
	/* The fault does not collide with its own invalidation. */
	KUNIT_EXPECT_EQ(test, 0, hmm_fake_stats(fake).collisions);
}

/* If the driver fails the fill, the device loses the pages and the CPU gets them back. */
static void driver_error_returns_pages(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 8);

	hmm_test_write(test, AT(addr, 1));
	fake->fill_error = -EIO;
	KUNIT_EXPECT_EQ(test, -EIO, hmm_fake_fault(fake, addr, 4, HMM_FAULT_EXCLUSIVE));
	hmm_fake_expect_one(fake, HMM_UPDATE_MIGRATE, addr, AT(addr, 4));
	KUNIT_EXPECT_EQ(test, 0, hmm_fake_valid(fake, addr, 8));
	KUNIT_EXPECT_EQ(test, 0, hmm_fake_stats(fake).pages);
	KUNIT_EXPECT_EQ(test, 'x', hmm_fake_cpu_read(fake, AT(addr, 1)));
	hmm_fake_take(fake, addr, 8);
	KUNIT_EXPECT_EQ(test, 'x', hmm_fake_device_read(fake, AT(addr, 1)));
}

/*
 * Zap a page after the pages became exclusive and before the commit. This needs mmap_lock
 * for reading, but no folio lock.
 */
static struct page *alloc_table_late(struct hmm_pt *pt, unsigned int level)
{
	struct hmm_fake *fake = container_of(pt, struct hmm_fake, mirror.pt);
	unsigned long addr = fake->base + SZ_512M;

	kunit_deactivate_static_stub(fake->test, hmm_pt_alloc_table);
	mmap_assert_locked(current->mm);
	KUNIT_EXPECT_EQ(fake->test, 8, hmm_fake_cpu_lost(addr, 8));
	zap_page_range_single(vma_lookup(current->mm, addr), AT(addr, 3), PAGE_SIZE, NULL);
	KUNIT_EXPECT_EQ(fake->test, 7, hmm_fake_cpu_lost(addr, 8));
	return hmm_pt_alloc_table(pt, level);
}

/* A zap before the commit makes the fault collide and retry. */
static void zap_before_commit_collides(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 8), i;

	for (i = 0; i < 8; i++)
		hmm_test_write(test, AT(addr, i));
	kunit_activate_static_stub(test, hmm_pt_alloc_table, alloc_table_late);
	hmm_fake_take(fake, addr, 8);
	KUNIT_EXPECT_GE(test, hmm_fake_stats(fake).collisions, 1);
	for (i = 0; i < 8; i++)
		KUNIT_EXPECT_EQ(test, i == 3 ? 0 : 'x',
				hmm_fake_device_read(fake, AT(addr, i)));
}

/* Zap before each commit, unless a writer holds mmap_lock. */
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

/*
 * An exclusive fault ends although every commit collides: the slow path excludes the
 * zaps.
 */
static void ends_with_repeated_zaps(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 8), i;

	for (i = 0; i < 8; i++)
		hmm_test_write(test, AT(addr, i));
	kunit_activate_static_stub(test, hmm_pt_alloc_table, alloc_table_hammered);
	hmm_fake_take(fake, addr, 8);
	KUNIT_EXPECT_EQ(test, HMM_FAULT_COLLISIONS_MAX, hmm_fake_stats(fake).collisions);
	KUNIT_EXPECT_EQ(test, 1, hmm_fake_stats(fake).slow_path);
	for (i = 1; i < 8; i++)
		KUNIT_EXPECT_EQ(test, 'x', hmm_fake_device_read(fake, AT(addr, i)));
	KUNIT_EXPECT_EQ(test, 'x', hmm_fake_cpu_read(fake, AT(addr, 1)));
}

static void unregister(void *mirror)
{
	hmm_mirror_unregister(mirror);
}

/* Each exclusive page has a DMA mapping of its own. */
static void dma_maps_each_page(struct kunit *test)
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
	hmm_fake_take(fake, AT(addr, 2), 4);
	KUNIT_EXPECT_EQ(test, 4, device->live);
	for (i = 2; i < 6; i++) {
		hmm_pte_t pte = hmm_fake_entry(fake, AT(addr, i));
		const struct hmm_pt_mapping *map = hmm_pt_device_find(device, hmm_pte_dma(pte));

		KUNIT_ASSERT_NOT_NULL(test, map);
		KUNIT_EXPECT_EQ(test, hmm_pte_pfn(pte), map->pfn);
		KUNIT_EXPECT_EQ(test, DMA_BIDIRECTIONAL, map->dir);
	}
	hmm_fake_cpu_read(fake, AT(addr, 3));
	KUNIT_EXPECT_EQ(test, 3, device->live);
	device->left = 0;
	KUNIT_EXPECT_EQ(test, -ENOSPC, hmm_fake_fault(fake, AT(addr, 3), 3,
						      HMM_FAULT_EXCLUSIVE));
	hmm_fake_expect_taken(fake, AT(addr, 4), 2);
	KUNIT_EXPECT_EQ(test, 3, device->live);
	device->left = -1;
	hmm_fake_take(fake, AT(addr, 2), 4);
	KUNIT_EXPECT_EQ(test, 4, device->live);
	kunit_release_action(test, unregister, &fake->mirror);
	KUNIT_EXPECT_EQ(test, 0, device->live);
	KUNIT_EXPECT_NULL(test, device->complaint);
}

static struct kunit_case hmm_mirror_exclusive_cases[] = {
	KUNIT_CASE(bad_flags),
	KUNIT_CASE(fails_like_write_fault),
	KUNIT_CASE(exact_range),
	KUNIT_CASE(two_vmas),
	KUNIT_CASE(many_chunks),
	KUNIT_CASE(two_windows),
	KUNIT_CASE(part_of_huge_page),
	KUNIT_CASE(parts_of_large_folios),
	KUNIT_CASE(referenced_huge_page_is_busy),
	KUNIT_CASE(referenced_large_folio_is_busy),
	KUNIT_CASE(waits_for_folio_lock),
	KUNIT_CASE(killed_task_fails),
	KUNIT_CASE(file_pages_are_not_supported),
	KUNIT_CASE(hugetlb_is_not_supported),
	KUNIT_CASE(private_memory_stays),
	KUNIT_CASE(devmap_is_not_supported),
	KUNIT_CASE(later_faults_keep_exclusive),
	KUNIT_CASE(later_faults_keep_some_exclusive),
	KUNIT_CASE(mirrored_pages_become_exclusive),
	KUNIT_CASE(driver_error_returns_pages),
	KUNIT_CASE(zap_before_commit_collides),
	KUNIT_CASE(ends_with_repeated_zaps),
	KUNIT_CASE(dma_maps_each_page),
	{}
};

static struct kunit_suite hmm_mirror_exclusive_suite = {
	.name = "hmm_mirror_exclusive",
	.test_cases = hmm_mirror_exclusive_cases,
};

kunit_test_suite(hmm_mirror_exclusive_suite);
