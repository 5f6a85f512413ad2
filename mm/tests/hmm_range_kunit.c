// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the HMM range walker, in a mm of the test's own: what holds for
 * every call. The states that a page can be in are in hmm_range_cells.c, the walk
 * beside other threads is in hmm_range_race.c.
 */
#include <linux/file.h>
#include <linux/hugetlb.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/sched/signal.h>
#include <linux/swap.h>
#include <linux/swapops.h>

#include "hmm_range_states.h"

/* Anonymous memory of @npages pages that begins at a multiple of @align */
static struct hmm_range_test *map(struct kunit *test, unsigned long npages,
				  unsigned long align)
{
	unsigned long addr = hmm_test_mmap(test, npages << PAGE_SHIFT, align);

	return hmm_test_watch(test, addr, npages);
}

/* So few that no huge page fits */
static struct hmm_range_test *map_small(struct kunit *test, unsigned long npages)
{
	return map(test, npages, PAGE_SIZE);
}

static void write_page(struct kunit *test, struct hmm_range_test *t,
		       unsigned long page)
{
	hmm_test_write(test, t->addr + (page << PAGE_SHIFT));
}

static void unmap(struct kunit *test, struct hmm_range_test *t,
		  unsigned long page)
{
	KUNIT_ASSERT_EQ(test, 0, vm_munmap(t->addr + (page << PAGE_SHIFT),
					   PAGE_SIZE));
}

/* One fault for each 2 MiB page of a hole, not for each 4 KiB of it */
static void thp_hole(struct kunit *test)
{
	const unsigned long size = 64UL << 20;
	unsigned long before, i, bad = 0;
	struct hmm_range_test *t;

	t = map(test, size >> PAGE_SHIFT, PMD_SIZE);
	before = hmm_test_faults();
	KUNIT_EXPECT_EQ(test, 0, hmm_test_fault(t, HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE));
	KUNIT_EXPECT_EQ(test, size / PMD_SIZE, hmm_test_faults() - before);

	for (i = 0; i < t->npages; i++)
		bad += hmm_pfn_to_map_order(t->range.hmm_pfns[i]) != PMD_ORDER;
	KUNIT_EXPECT_EQ(test, 0, bad);
}

static void small_hole(struct kunit *test)
{
	struct hmm_range_test *t = map_small(test, 100);
	unsigned long before = hmm_test_faults();

	KUNIT_EXPECT_EQ(test, 0, hmm_test_fault(t, HMM_PFN_REQ_FAULT));
	KUNIT_EXPECT_EQ(test, 100, hmm_test_faults() - before);
	/* Present now: nothing left to fault */
	KUNIT_EXPECT_EQ(test, 0, hmm_test_fault(t, HMM_PFN_REQ_FAULT));
	KUNIT_EXPECT_EQ(test, 100, hmm_test_faults() - before);
}

/* A page that requests nothing is not faulted, whatever its neighbours want. */
static void requests_per_page(struct kunit *test)
{
	struct hmm_range_test *t = map_small(test, 4);
	unsigned long before = hmm_test_faults();
	unsigned long *pfns = t->range.hmm_pfns;

	pfns[1] = HMM_PFN_REQ_FAULT;
	pfns[2] = HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE;
	/* To write without to fault asks for nothing. */
	pfns[3] = HMM_PFN_REQ_WRITE;
	t->range.pfn_flags_mask = HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE;
	KUNIT_ASSERT_EQ(test, 0, hmm_test_walk(t, hmm_range_fault));

	KUNIT_EXPECT_EQ(test, 2, hmm_test_faults() - before);
	KUNIT_EXPECT_EQ(test, 0, pfns[0]);
	KUNIT_EXPECT_EQ(test, HMM_PFN_VALID, hmm_test_flags(pfns[1]));
	KUNIT_EXPECT_EQ(test, HMM_PFN_VALID | HMM_PFN_WRITE, hmm_test_flags(pfns[2]));
	KUNIT_EXPECT_EQ(test, 0, pfns[3]);
}

/* The mask keeps out what an entry requests; the default adds to it. */
static void requests_masked(struct kunit *test)
{
	struct hmm_range_test *t = map_small(test, 3);
	unsigned long *pfns = t->range.hmm_pfns;

	pfns[1] = HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE;
	KUNIT_ASSERT_EQ(test, 0, hmm_test_walk(t, hmm_range_fault));
	KUNIT_EXPECT_EQ(test, 0, pfns[1]);

	pfns[1] = HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE;
	t->range.pfn_flags_mask = HMM_PFN_REQ_FAULT;
	KUNIT_ASSERT_EQ(test, 0, hmm_test_walk(t, hmm_range_fault));
	KUNIT_EXPECT_EQ(test, HMM_PFN_VALID, hmm_test_flags(pfns[1]));
	KUNIT_EXPECT_EQ(test, 0, pfns[0]);

	pfns[0] = 0;
	pfns[1] = 0;
	pfns[2] = HMM_PFN_REQ_WRITE;
	t->range.pfn_flags_mask = HMM_PFN_REQ_WRITE;
	t->range.default_flags = HMM_PFN_REQ_FAULT;
	KUNIT_ASSERT_EQ(test, 0, hmm_test_walk(t, hmm_range_fault));
	KUNIT_EXPECT_EQ(test, HMM_PFN_VALID, hmm_test_flags(pfns[0]));
	KUNIT_EXPECT_EQ(test, HMM_PFN_VALID | HMM_PFN_WRITE, hmm_test_flags(pfns[2]));
}

/* Requests are not for the snapshot, in whichever way they come. */
static void snapshot_ignores_requests(struct kunit *test)
{
	struct hmm_range_test *t = map_small(test, 2);
	unsigned long before = hmm_test_faults();

	t->range.hmm_pfns[0] = HMM_PFN_REQ_FAULT;
	t->range.default_flags = HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE;
	t->range.pfn_flags_mask = ~0UL;
	unmap(test, t, 1);
	KUNIT_EXPECT_EQ(test, 0, hmm_test_walk(t, hmm_range_snapshot));
	KUNIT_EXPECT_EQ(test, before, hmm_test_faults());
	KUNIT_EXPECT_EQ(test, HMM_PFN_EMPTY, t->range.hmm_pfns[0]);
	KUNIT_EXPECT_EQ(test, HMM_PFN_ERROR, t->range.hmm_pfns[1]);
}

/*
 * Many VMAs of different kinds, one behind the other and with a gap in between;
 * what fails is the first page that was asked for in vain.
 */
static void several_vmas(struct kunit *test)
{
	struct hmm_range_test *t = map_small(test, 8);
	unsigned long *pfns = t->range.hmm_pfns, i;

	for (i = 0; i < t->npages; i++)
		write_page(test, t, i);
	for (i = 1; i < t->npages; i += 2)
		KUNIT_ASSERT_EQ(test, t->addr + (i << PAGE_SHIFT),
				vm_mmap(NULL, t->addr + (i << PAGE_SHIFT), PAGE_SIZE,
					PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, 0));
	unmap(test, t, 5);

	KUNIT_ASSERT_EQ(test, 0, hmm_test_fault(t, 0));
	for (i = 0; i < t->npages; i++)
		KUNIT_EXPECT_EQ(test, i == 5 ? HMM_PFN_ERROR :
				i % 2 ? 0 : HMM_PFN_VALID | HMM_PFN_WRITE,
				hmm_test_flags(pfns[i]));

	for (i = 0; i < t->npages; i++)
		pfns[i] = HMM_TEST_UNTOUCHED;
	KUNIT_ASSERT_EQ(test, -EFAULT, hmm_test_fault(t, HMM_PFN_REQ_FAULT));
	for (i = 0; i < 5; i++)
		KUNIT_EXPECT_EQ(test, i % 2 ? HMM_PFN_VALID : HMM_PFN_VALID | HMM_PFN_WRITE,
				hmm_test_flags(pfns[i]));
	for (; i < t->npages; i++)
		KUNIT_EXPECT_EQ(test, HMM_TEST_UNTOUCHED, pfns[i]);

	/* Not asked for, the gap does not matter. */
	t->range.default_flags = 0;
	t->range.pfn_flags_mask = ~0UL;
	for (i = 0; i < t->npages; i++)
		pfns[i] = i == 5 ? 0 : HMM_PFN_REQ_FAULT;
	KUNIT_ASSERT_EQ(test, 0, hmm_test_walk(t, hmm_range_fault));
	KUNIT_EXPECT_EQ(test, HMM_PFN_ERROR, pfns[5]);
	KUNIT_EXPECT_EQ(test, HMM_PFN_VALID, hmm_test_flags(pfns[7]));
}

/* Two pages on both sides of where two tables of some level meet */
static struct hmm_range_test *map_around(struct kunit *test, unsigned long boundary)
{
	unsigned long at = boundary - 2 * PAGE_SIZE;

	KUNIT_ASSERT_EQ(test, at, kunit_vm_mmap(test, NULL, at, 4 * PAGE_SIZE,
						PROT_READ | PROT_WRITE,
						MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, 0));
	return hmm_test_watch(test, at, 4);
}

static void crosses_every_level(struct kunit *test)
{
	/* The second of each has nothing on its left, not even tables. */
	const unsigned long boundaries[] = {
		PMD_SIZE, 4 * PMD_SIZE, PUD_SIZE, 4 * PUD_SIZE,
		P4D_SIZE, 4 * P4D_SIZE, PGDIR_SIZE, 4 * PGDIR_SIZE,
	};
	unsigned long addr, i, page;
	struct hmm_range_test *t;
	struct page *there;

	kunit_info(test, "%d levels", pgtable_l5_enabled() ? 5 : 4);
	for (i = 0; i < ARRAY_SIZE(boundaries); i++) {
		t = map_around(test, boundaries[i]);
		KUNIT_EXPECT_EQ(test, 0, hmm_test_walk(t, hmm_range_snapshot));
		for (page = 0; page < 4; page++)
			KUNIT_EXPECT_EQ(test, HMM_PFN_EMPTY, t->range.hmm_pfns[page]);
		/* The tables of one side only */
		write_page(test, t, 2);
		KUNIT_EXPECT_EQ(test, 0, hmm_test_fault(t, 0));
		KUNIT_EXPECT_EQ(test, 0, t->range.hmm_pfns[1]);
		KUNIT_EXPECT_TRUE(test, t->range.hmm_pfns[2] & HMM_PFN_VALID);

		KUNIT_EXPECT_EQ(test, 0, hmm_test_fault(t, HMM_PFN_REQ_FAULT |
							   HMM_PFN_REQ_WRITE));
		for (page = 0; page < 4; page++) {
			addr = t->addr + (page << PAGE_SHIFT);
			KUNIT_ASSERT_EQ(test, 1, get_user_pages_fast(addr, 1, FOLL_WRITE,
								     &there));
			KUNIT_EXPECT_PTR_EQ(test, there,
					    hmm_pfn_to_page(t->range.hmm_pfns[page]));
			put_page(there);
		}
	}
}

/* Nothing comes behind the last VMA, not even another VMA. */
static void above_last_vma(struct kunit *test)
{
	unsigned long at = DEFAULT_MAP_WINDOW - 16 * PAGE_SIZE;
	struct hmm_range_test *t;

	KUNIT_ASSERT_EQ(test, at, kunit_vm_mmap(test, NULL, at, PAGE_SIZE, PROT_READ,
						MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, 0));
	t = hmm_test_watch(test, at, 3);
	KUNIT_EXPECT_EQ(test, 0, hmm_test_walk(t, hmm_range_snapshot));
	KUNIT_EXPECT_EQ(test, HMM_PFN_EMPTY, t->range.hmm_pfns[0]);
	KUNIT_EXPECT_EQ(test, HMM_PFN_ERROR, t->range.hmm_pfns[1]);
	KUNIT_EXPECT_EQ(test, HMM_PFN_ERROR, t->range.hmm_pfns[2]);
	t->range.hmm_pfns[1] = HMM_TEST_UNTOUCHED;
	KUNIT_EXPECT_EQ(test, -EFAULT, hmm_test_fault(t, HMM_PFN_REQ_FAULT));
	KUNIT_EXPECT_EQ(test, HMM_PFN_VALID, hmm_test_flags(t->range.hmm_pfns[0]));
	KUNIT_EXPECT_EQ(test, HMM_TEST_UNTOUCHED, t->range.hmm_pfns[1]);
}

/* Huge pages of hugetlbfs at @addr */
static void map_hugetlb(struct kunit *test, unsigned long addr, unsigned long npages)
{
	unsigned long size = npages * PMD_SIZE, at;
	struct file *file;

	file = hugetlb_file_setup("hmm_range", size, VM_NORESERVE,
				  HUGETLB_ANONHUGE_INODE, PMD_SHIFT);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, file);
	at = kunit_vm_mmap(test, file, addr, size, PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_FIXED, 0);
	fput(file);
	KUNIT_ASSERT_EQ(test, addr, at);
}

static struct page *page_at(struct kunit *test, unsigned long addr)
{
	struct page *page;

	KUNIT_ASSERT_EQ(test, 1, get_user_pages_fast(addr, 1, 0, &page));
	put_page(page);
	return page;
}

/* Far from everything else a hugetlb VMA has no table that could be empty. */
static void hugetlb_without_tables(struct kunit *test)
{
	struct hmm_range_test *t;
	unsigned long i;

	map_hugetlb(test, P4D_SIZE, 1);
	t = hmm_test_watch(test, P4D_SIZE, HPAGE_PMD_NR);
	KUNIT_EXPECT_EQ(test, 0, hmm_test_walk(t, hmm_range_snapshot));
	for (i = 0; i < t->npages; i++)
		KUNIT_EXPECT_EQ(test, HMM_PFN_EMPTY, t->range.hmm_pfns[i]);
	KUNIT_EXPECT_EQ(test, 0, hmm_test_fault(t, 0));
	KUNIT_EXPECT_EQ(test, 0, t->range.hmm_pfns[0]);
	KUNIT_EXPECT_EQ(test, 0, hmm_test_fault(t, HMM_PFN_REQ_FAULT));
	KUNIT_EXPECT_TRUE(test, t->range.hmm_pfns[HPAGE_PMD_NR - 1] & HMM_PFN_VALID);
}

/* Three huge pages of one VMA, the second not there; then all of them */
static void hugetlb_pages(struct kunit *test)
{
	const unsigned long step = 100;
	struct hmm_range_test *t;
	unsigned long i, entry;

	map_hugetlb(test, P4D_SIZE, 3);
	hmm_test_write(test, P4D_SIZE);
	hmm_test_write(test, P4D_SIZE + 2 * PMD_SIZE);
	t = hmm_test_watch(test, P4D_SIZE, 3 * HPAGE_PMD_NR);
	t->range.start += 7 * PAGE_SIZE;
	t->range.end -= 9 * PAGE_SIZE;

	KUNIT_EXPECT_EQ(test, 0, hmm_test_fault(t, 0));
	for (i = 7; i < 3 * HPAGE_PMD_NR - 9; i++) {
		entry = t->range.hmm_pfns[i - 7];
		KUNIT_ASSERT_EQ(test, i / HPAGE_PMD_NR != 1, !!(entry & HMM_PFN_VALID));
	}
	KUNIT_EXPECT_EQ(test, 0, hmm_test_fault(t, HMM_PFN_REQ_FAULT));
	for (i = 7; i < 3 * HPAGE_PMD_NR - 9; i += step)
		KUNIT_EXPECT_PTR_EQ(test, page_at(test, t->addr + (i << PAGE_SHIFT)),
				    hmm_pfn_to_page(t->range.hmm_pfns[i - 7]));
}

/* A request in the middle of a huge page that cannot be met */
static void request_inside_huge(struct kunit *test)
{
	struct hmm_range_test *t = map(test, HPAGE_PMD_NR, PMD_SIZE);
	unsigned long *pfns = t->range.hmm_pfns, i;
	struct vm_area_struct *vma;

	write_page(test, t, 0);
	mmap_write_lock(current->mm);
	vma = vma_lookup(current->mm, t->addr);
	vm_flags_clear(vma, VM_WRITE);
	mmap_write_unlock(current->mm);

	pfns[100] = HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE;
	pfns[101] = HMM_TEST_UNTOUCHED;
	t->range.pfn_flags_mask = ~0UL;
	KUNIT_EXPECT_EQ(test, -EPERM, hmm_test_walk(t, hmm_range_fault));
	for (i = 0; i < 100; i++)
		KUNIT_EXPECT_TRUE(test, pfns[i] & HMM_PFN_VALID);
	KUNIT_EXPECT_EQ(test, HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE, pfns[100]);
	KUNIT_EXPECT_EQ(test, HMM_TEST_UNTOUCHED, pfns[101]);

	mmap_write_lock(current->mm);
	vm_flags_set(vma, VM_WRITE);
	mmap_write_unlock(current->mm);
}

/* Ptes of many kinds in one table, the private one in their midst */
static void mixed_ptes(struct kunit *test)
{
	struct hmm_area a = { .test = test, .state = hmm_states };
	struct hmm_range_test *t = map_small(test, 7);
	unsigned long *pfns = t->range.hmm_pfns, i;
	struct hmm_test_device *dev;
	swp_entry_t swp;

	dev = hmm_test_device(test, MEMORY_DEVICE_PRIVATE, PMD_SIZE);
	swp = make_writable_device_private_entry(page_to_pfn(dev->page));
	write_page(test, t, 0);
	hmm_test_read(test, t->addr + PAGE_SIZE);
	write_page(test, t, 4);
	write_page(test, t, 6);
	a.addr = t->addr + 2 * PAGE_SIZE;
	hmm_area_put(&a, hmm_area_entry(&a, 0), pte_val(swp_entry_to_pte(swp)));

	t->range.dev_private_owner = dev;
	t->range.pfn_flags_mask = ~0UL;
	pfns[2] = HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE;
	pfns[5] = HMM_PFN_REQ_FAULT;
	KUNIT_EXPECT_EQ(test, 0, hmm_test_walk(t, hmm_range_fault));
	KUNIT_EXPECT_EQ(test, HMM_PFN_VALID, hmm_test_flags(pfns[1]));
	KUNIT_EXPECT_EQ(test, page_to_pfn(dev->page) | HMM_PFN_VALID | HMM_PFN_WRITE, pfns[2]);
	KUNIT_EXPECT_EQ(test, 0, pfns[3]);
	KUNIT_EXPECT_EQ(test, HMM_PFN_VALID, hmm_test_flags(pfns[5]));
	for (i = 0; i < 7; i += i ? 2 : 4) {
		KUNIT_EXPECT_EQ(test, HMM_PFN_VALID | HMM_PFN_WRITE, hmm_test_flags(pfns[i]));
		KUNIT_EXPECT_PTR_EQ(test, page_at(test, t->addr + (i << PAGE_SHIFT)),
				    hmm_pfn_to_page(pfns[i]));
	}
	hmm_area_restore(&a);
}

/* Each page takes a second fault: that is no reason to give up on the whole. */
static void many_second_faults(struct kunit *test)
{
	struct hmm_area a = { .test = test, .state = hmm_states };
	struct hmm_range_test *t = map_small(test, 100);
	pte_t marker = make_pte_marker(PTE_MARKER_UFFD_WP);
	unsigned long before, i;

	for (i = 0; i < t->npages; i++) {
		a.addr = t->addr + (i << PAGE_SHIFT);
		hmm_area_put(&a, hmm_area_entry(&a, 0), pte_val(marker));
	}
	before = hmm_test_faults();
	KUNIT_EXPECT_EQ(test, 0, hmm_test_fault(t, HMM_PFN_REQ_FAULT));
	KUNIT_EXPECT_EQ(test, 200, hmm_test_faults() - before);
}

/* Entries of the upper levels that make no sense: an error, and nothing worse */
static void bad_upper_levels(struct kunit *test)
{
	const unsigned int orders[] = { P4D_SHIFT - PAGE_SHIFT, PGDIR_SHIFT - PAGE_SHIFT };
	struct hmm_area a = { .test = test, .state = hmm_states };
	struct hmm_range_test *t = map_around(test, PGDIR_SIZE);
	unsigned long i, page, *entry;

	a.addr = t->addr + 2 * PAGE_SIZE;
	for (page = 0; page < 4; page++)
		write_page(test, t, page);

	for (i = 0; i < (pgtable_l5_enabled() ? 2 : 1); i++) {
		entry = hmm_area_entry(&a, orders[i]);
		hmm_area_put(&a, entry, _KERNPG_TABLE | _PAGE_GLOBAL);
		KUNIT_EXPECT_EQ(test, 0, hmm_test_walk(t, hmm_range_snapshot));
		KUNIT_EXPECT_TRUE(test, t->range.hmm_pfns[1] & HMM_PFN_VALID);
		for (page = 2; page < 4; page++)
			KUNIT_EXPECT_EQ(test, HMM_PFN_ERROR | HMM_PFN_SPECIAL,
					t->range.hmm_pfns[page]);
		KUNIT_EXPECT_EQ(test, -EFAULT, hmm_test_fault(t, HMM_PFN_REQ_FAULT));
		KUNIT_EXPECT_EQ(test, HMM_PFN_ERROR | HMM_PFN_SPECIAL, t->range.hmm_pfns[2]);
		hmm_area_restore(&a);
		KUNIT_EXPECT_EQ(test, 0, hmm_test_fault(t, HMM_PFN_REQ_FAULT));
	}
}

static void bad_ranges(struct kunit *test)
{
	struct hmm_range_test *t = map_small(test, 4);
	const struct hmm_range good = t->range;

	t->range.end = good.start;
	KUNIT_EXPECT_EQ(test, -EINVAL, hmm_test_walk(t, hmm_range_fault));
	KUNIT_EXPECT_EQ(test, -EINVAL, hmm_test_walk(t, hmm_range_snapshot));
	t->range.end = good.start - PAGE_SIZE;
	KUNIT_EXPECT_EQ(test, -EINVAL, hmm_test_walk(t, hmm_range_fault));
	t->range.end = good.end - 1;
	KUNIT_EXPECT_EQ(test, -EINVAL, hmm_test_walk(t, hmm_range_fault));
	t->range.end = good.end;
	t->range.start = good.start + 1;
	KUNIT_EXPECT_EQ(test, -EINVAL, hmm_test_walk(t, hmm_range_fault));
	t->range.start = good.start;
	KUNIT_EXPECT_EQ(test, 0, hmm_test_walk(t, hmm_range_fault));
}

/* Whoever comes with the sequence number of before an invalidation is sent back. */
static void invalidated_before(struct kunit *test)
{
	struct hmm_range_test *t = map_small(test, 2);
	unsigned long seq = mmu_interval_read_begin(&t->notifier);

	unmap(test, t, 1);
	t->range.notifier_seq = seq;
	t->range.hmm_pfns[0] = HMM_TEST_UNTOUCHED;
	mmap_read_lock(current->mm);
	KUNIT_EXPECT_EQ(test, -EBUSY, hmm_range_fault(&t->range));
	KUNIT_EXPECT_EQ(test, -EBUSY, hmm_range_snapshot(&t->range));
	mmap_read_unlock(current->mm);
	KUNIT_EXPECT_EQ(test, HMM_TEST_UNTOUCHED, t->range.hmm_pfns[0]);
	KUNIT_EXPECT_EQ(test, 0, hmm_test_fault(t, 0));
}

/* Nor does a walk go on that has itself invalidated the range, by breaking COW. */
static void invalidated_by_fault(struct kunit *test)
{
	struct hmm_range_test *t = map_small(test, 2);

	hmm_test_read(test, t->addr);
	t->range.hmm_pfns[0] = HMM_TEST_UNTOUCHED;
	KUNIT_EXPECT_EQ(test, -EBUSY,
			hmm_test_fault(t, HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE));
	KUNIT_EXPECT_EQ(test, HMM_TEST_UNTOUCHED, t->range.hmm_pfns[0]);
	KUNIT_EXPECT_EQ(test, 0,
			hmm_test_fault(t, HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE));
}

/* What comes during a wait counts as well as what a fault does. */
static void invalidated_while_waiting(struct kunit *test)
{
	const struct hmm_state *state;
	struct hmm_range_test *t;
	unsigned int kinds = 0;
	struct hmm_area *a;

	for (state = hmm_states; state < hmm_states + hmm_nr_states; state++) {
		a = hmm_area_alloc(test, state);
		t = hmm_test_watch(test, a->addr, 1);
		hmm_area_enter(a);
		if (a->folio && !state->cell[HMM_REQUESTED_WRITE].ret) {
			kinds++;
			a->arriving = hmm_area_invalidate;
			hmm_area_await(a);
			KUNIT_EXPECT_EQ_MSG(test, -EBUSY, hmm_test_fault(t, HMM_PFN_REQ_FAULT),
					    "%s", state->name);
		}
		hmm_area_leave(a);
		hmm_test_unwatch(test, t);
		test->priv = NULL;
	}
	KUNIT_EXPECT_EQ(test, 3, kinds);
}

static unsigned int seen_fault_flags;

static vm_fault_t fault_oom(struct vm_fault *vmf)
{
	seen_fault_flags = vmf->flags;
	return VM_FAULT_OOM;
}

static vm_fault_t fault_sigbus(struct vm_fault *vmf)
{
	return VM_FAULT_SIGBUS;
}

static vm_fault_t fault_hwpoison(struct vm_fault *vmf)
{
	return VM_FAULT_HWPOISON;
}

static const struct vm_operations_struct oom_ops = { .fault = fault_oom };
static const struct vm_operations_struct sigbus_ops = { .fault = fault_sigbus };
static const struct vm_operations_struct hwpoison_ops = { .fault = fault_hwpoison };

static void failing_faults(struct kunit *test)
{
	static const struct {
		const struct vm_operations_struct *ops;
		int ret;
	} cases[] = {
		{ &oom_ops, -ENOMEM }, { &sigbus_ops, -EFAULT }, { &hwpoison_ops, -EFAULT },
	};
	struct hmm_range_test *t = map_small(test, 2);
	struct vm_area_struct *vma;
	unsigned long i;

	mmap_read_lock(current->mm);
	vma = vma_lookup(current->mm, t->addr);
	mmap_read_unlock(current->mm);
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		vma->vm_ops = cases[i].ops;
		KUNIT_EXPECT_EQ(test, cases[i].ret, hmm_test_fault(t, HMM_PFN_REQ_FAULT));
		KUNIT_EXPECT_EQ(test, 0, hmm_test_fault(t, 0));
	}
	vma->vm_ops = NULL;

	/* On behalf of a process, and with a lock that must not be dropped */
	KUNIT_EXPECT_TRUE(test, seen_fault_flags & FAULT_FLAG_REMOTE);
	KUNIT_EXPECT_FALSE(test, seen_fault_flags & (FAULT_FLAG_ALLOW_RETRY |
						     FAULT_FLAG_RETRY_NOWAIT |
						     FAULT_FLAG_USER | FAULT_FLAG_WRITE));
}

/* A task that was killed fills no more memory; what is there it may still have. */
static void killed(struct kunit *test)
{
	struct hmm_range_test *t = map_small(test, 3);
	int ret;

	write_page(test, t, 0);
	t->range.hmm_pfns[1] = HMM_TEST_UNTOUCHED;
	allow_signal(SIGKILL);
	send_sig(SIGKILL, current, 1);
	ret = hmm_test_fault(t, HMM_PFN_REQ_FAULT);
	KUNIT_EXPECT_TRUE(test, t->range.hmm_pfns[0] & HMM_PFN_VALID);
	KUNIT_EXPECT_EQ(test, HMM_TEST_UNTOUCHED, t->range.hmm_pfns[1]);
	KUNIT_EXPECT_EQ(test, 0, hmm_test_walk(t, hmm_range_snapshot));
	flush_signals(current);
	disallow_signal(SIGKILL);

	KUNIT_EXPECT_EQ(test, -EINTR, ret);
	KUNIT_EXPECT_EQ(test, HMM_PFN_EMPTY, t->range.hmm_pfns[1]);
}

/* Nobody's walk goes on for ever because a driver does not do its work. */
static void private_page_of_stubborn_device(struct kunit *test)
{
	struct hmm_area a = { .test = test, .state = hmm_states };
	struct hmm_range_test *t = map_small(test, 3);
	unsigned long *pfns = t->range.hmm_pfns;
	struct hmm_test_device *dev;
	swp_entry_t swp;

	dev = hmm_test_device(test, MEMORY_DEVICE_PRIVATE, PMD_SIZE);
	swp = make_writable_device_private_entry(page_to_pfn(dev->page));
	a.addr = t->addr + PAGE_SIZE;
	hmm_area_put(&a, hmm_area_entry(&a, 0), pte_val(swp_entry_to_pte(swp)));

	pfns[1] = HMM_TEST_UNTOUCHED;
	KUNIT_EXPECT_EQ(test, -EBUSY, hmm_test_fault(t, HMM_PFN_REQ_FAULT));
	KUNIT_EXPECT_EQ(test, HMM_PFN_VALID, hmm_test_flags(pfns[0]));
	KUNIT_EXPECT_EQ(test, HMM_TEST_UNTOUCHED, pfns[1]);
	KUNIT_EXPECT_GE(test, dev->asked, 2);
	KUNIT_EXPECT_LE(test, dev->asked, 100);

	hmm_area_restore(&a);
}

/* A write to a page that userfaultfd watches is for the CPU fault to see, also on the device. */
static void private_page_write_protected(struct kunit *test)
{
	struct hmm_area a = { .test = test, .state = hmm_states };
	struct hmm_range_test *t = map_small(test, 3);
	unsigned long *pfns = t->range.hmm_pfns;
	struct hmm_test_device *dev;
	pte_t pte;

	dev = hmm_test_device(test, MEMORY_DEVICE_PRIVATE, PMD_SIZE);
	pte = swp_entry_to_pte(make_writable_device_private_entry(page_to_pfn(dev->page)));
	a.addr = t->addr + PAGE_SIZE;
	hmm_test_write(test, t->addr);
	hmm_test_write(test, t->addr + 2 * PAGE_SIZE);
	t->range.dev_private_owner = dev;
	hmm_area_put(&a, hmm_area_entry(&a, 0), pte_val(pte));
	KUNIT_EXPECT_EQ(test, 0, hmm_test_fault(t, 0));
	KUNIT_EXPECT_EQ(test, HMM_PFN_VALID | HMM_PFN_WRITE, hmm_test_flags(pfns[1]));
	hmm_area_restore(&a);

	hmm_area_put(&a, hmm_area_entry(&a, 0), pte_val(pte_swp_mkuffd_wp(pte)));
	KUNIT_EXPECT_EQ(test, 0, hmm_test_fault(t, HMM_PFN_REQ_FAULT));
	KUNIT_EXPECT_EQ(test, HMM_PFN_VALID, hmm_test_flags(pfns[1]));
	KUNIT_EXPECT_EQ(test, 0, dev->asked);
	dev->gives_back = true;
	KUNIT_EXPECT_EQ(test, 0, hmm_test_fault(t, HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE));
	KUNIT_EXPECT_EQ(test, 1, dev->asked);
	hmm_area_restore(&a);
}

static void flags_leave_room_for_pfns(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, 0, HMM_TEST_ATTRIBUTES & ~HMM_PFN_FLAGS);
	KUNIT_EXPECT_EQ(test, 0, HMM_TEST_ATTRIBUTES &
			(HMM_PFN_VALID | HMM_PFN_WRITE | HMM_PFN_ERROR |
			 0x1fUL << HMM_PFN_ORDER_SHIFT));
	KUNIT_EXPECT_EQ(test, IS_ENABLED(CONFIG_64BIT) ? 7 : 0,
			hweight_long(HMM_TEST_ATTRIBUTES));
}

/* A driver's own flags stay, whatever becomes of the page, also where it is not looked at. */
static void sticky_flags(struct kunit *test)
{
	const unsigned long kinds[] = { HMM_PFN_DMA_MAPPED, HMM_PFN_P2PDMA, HMM_PFN_P2PDMA_BUS };
	const unsigned long all = kinds[0] | kinds[1] | kinds[2];
	struct hmm_range_test *t = map_small(test, 1200);
	unsigned long *pfns = t->range.hmm_pfns, i;

	KUNIT_ASSERT_EQ(test, 0, vm_munmap(t->addr + 1199 * PAGE_SIZE, PAGE_SIZE));
	for (i = 0; i < 1200; i++)
		pfns[i] = i % 5 ? kinds[i % 3] : all;
	KUNIT_EXPECT_EQ(test, 0, hmm_test_fault(t, 0));
	for (i = 0; i < 1200; i++)
		KUNIT_ASSERT_EQ(test, i % 5 ? kinds[i % 3] : all, pfns[i] & ~HMM_PFN_ERROR);
	KUNIT_EXPECT_EQ(test, HMM_PFN_ERROR, pfns[1199] & HMM_PFN_ERROR);

	/* One page is enough, also the last one. */
	t->range.end = t->addr + 33 * PAGE_SIZE;
	memset(pfns, 0, 33 * sizeof(*pfns));
	pfns[32] = HMM_PFN_P2PDMA;
	KUNIT_EXPECT_EQ(test, 0, hmm_test_fault(t, 0));
	KUNIT_EXPECT_EQ(test, 0, pfns[0]);
	KUNIT_EXPECT_EQ(test, HMM_PFN_P2PDMA, pfns[32]);
	t->range.end = t->addr + 1200 * PAGE_SIZE;
	for (i = 0; i < 33; i++)
		pfns[i] = i % 5 ? kinds[i % 3] : all;

	/* All but the last page become valid. That one keeps its input. */
	KUNIT_EXPECT_EQ(test, -EFAULT, hmm_test_fault(t, HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE));
	for (i = 0; i < 1199; i++) {
		KUNIT_ASSERT_EQ(test, i % 5 ? kinds[i % 3] : all, pfns[i] & all);
		KUNIT_ASSERT_EQ(test, HMM_PFN_VALID | HMM_PFN_WRITE,
				pfns[i] & (HMM_PFN_VALID | HMM_PFN_WRITE));
	}
	KUNIT_EXPECT_EQ(test, kinds[1199 % 3] | HMM_PFN_ERROR, pfns[1199]);
	/* They are not requests. */
	t->range.end -= PAGE_SIZE;
	memset_l(pfns, all, 1199);
	t->range.pfn_flags_mask = HMM_PFN_REQ_FAULT;
	t->range.default_flags = 0;
	do_madvise(current->mm, t->addr, 1199 * PAGE_SIZE, MADV_DONTNEED);
	KUNIT_EXPECT_EQ(test, 0, hmm_test_walk(t, hmm_range_fault));
	KUNIT_EXPECT_EQ(test, all, pfns[0]);
	KUNIT_EXPECT_EQ(test, all, pfns[1198]);
}

static struct kunit_case hmm_range_cases[] = {
	KUNIT_CASE_PARAM(hmm_range_cell, hmm_range_cell_gen_params),
	KUNIT_CASE(thp_hole),
	KUNIT_CASE(small_hole),
	KUNIT_CASE(requests_per_page),
	KUNIT_CASE(requests_masked),
	KUNIT_CASE(snapshot_ignores_requests),
	KUNIT_CASE(several_vmas),
	KUNIT_CASE(crosses_every_level),
	KUNIT_CASE(above_last_vma),
	KUNIT_CASE(hugetlb_without_tables),
	KUNIT_CASE(hugetlb_pages),
	KUNIT_CASE(request_inside_huge),
	KUNIT_CASE(mixed_ptes),
	KUNIT_CASE(many_second_faults),
	KUNIT_CASE(bad_upper_levels),
	KUNIT_CASE(bad_ranges),
	KUNIT_CASE(invalidated_before),
	KUNIT_CASE(invalidated_by_fault),
	KUNIT_CASE(invalidated_while_waiting),
	KUNIT_CASE(failing_faults),
	KUNIT_CASE(killed),
	KUNIT_CASE(private_page_of_stubborn_device),
	KUNIT_CASE(private_page_write_protected),
	KUNIT_CASE(flags_leave_room_for_pfns),
	KUNIT_CASE(sticky_flags),
	KUNIT_CASE_PARAM_ATTR(hmm_range_race, hmm_range_race_gen_params,
			      { .speed = KUNIT_SPEED_SLOW }),
	{}
};

static void hmm_range_suite_exit(struct kunit_suite *suite)
{
	hmm_range_release_giant();
}

static struct kunit_suite hmm_range_suite = {
	.name = "hmm_range",
	.suite_exit = hmm_range_suite_exit,
	.test_cases = hmm_range_cases,
};

kunit_test_suite(hmm_range_suite);
