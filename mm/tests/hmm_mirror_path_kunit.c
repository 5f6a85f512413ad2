// SPDX-License-Identifier: GPL-2.0
/*
 * Which locks hmm_mirror_fault() takes, and what it waits for
 */
#include <linux/mman.h>

#include "hmm_mirror_path.h"

/*
 * Map small pages whose window exists and whose VMA has an anon_vma: without one a fault
 * needs mmap_lock.
 */
static unsigned long map_used(struct hmm_fake *fake, unsigned long npages)
{
	unsigned long addr = hmm_fake_map_small(fake, npages);

	hmm_test_write(fake->test, addr);
	hmm_fake_fault_all(fake, addr, 1, HMM_FAULT_WRITE);
	KUNIT_ASSERT_EQ(fake->test, 0, do_madvise(current->mm, addr, npages << PAGE_SHIFT,
						  MADV_DONTNEED));
	/* A new window would need mmap_lock, so prevent that the gc frees this one. */
	hmm_fake_stop_gc(&fake->mirror);
	return addr;
}

/* A fault takes the VMA lock only, so a writer of mmap_lock does not delay it. */
static void fault_takes_vma_lock_only(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = map_used(fake, 16);
	struct hmm_mirror_stats before = hmm_fake_stats(fake);
	struct hmm_fake_call *call;

	mmap_write_lock(current->mm);
	call = hmm_fake_call(fake, addr, 16, HMM_FAULT_WRITE);
	KUNIT_EXPECT_EQ(test, 16, hmm_fake_call_ends(call));
	mmap_write_unlock(current->mm);
	KUNIT_EXPECT_EQ(test, 16, hmm_fake_writable(fake, addr, 16));
	hmm_path_expect(fake, &before, 1, 0, 0);
	KUNIT_EXPECT_EQ(test, before.collisions, hmm_fake_stats(fake).collisions);
}

/* A range of several VMAs is faulted under one VMA lock after the other. */
static void several_vmas_take_vma_locks(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = map_used(fake, 16);
	struct hmm_mirror_stats before;
	struct hmm_fake_call *call;

	hmm_test_write(test, addr);
	KUNIT_ASSERT_EQ(test, 0, hmm_fake_protect(AT(addr, 4), 3 * PAGE_SIZE, PROT_READ));
	before = hmm_fake_stats(fake);
	mmap_write_lock(current->mm);
	call = hmm_fake_call(fake, addr, 16, HMM_FAULT_READ);
	KUNIT_EXPECT_EQ(test, 16, hmm_fake_call_ends(call));
	mmap_write_unlock(current->mm);
	hmm_path_expect(fake, &before, 1, 0, 0);
	KUNIT_EXPECT_EQ(test, 4, hmm_fake_fault(fake, addr, 16, HMM_FAULT_WRITE));
	KUNIT_EXPECT_EQ(test, 4, hmm_fake_writable(fake, addr, 16));
}

/* A fault waits for a thread that changes the VMA, and then takes mmap_lock. */
static void waits_for_vma_writer(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = map_used(fake, 16);
	struct hmm_mirror_stats before = hmm_fake_stats(fake);
	struct hmm_fake_call *call;

	mmap_write_lock(current->mm);
	vma_start_write(vma_lookup(current->mm, addr));
	call = hmm_fake_call(fake, addr, 16, HMM_FAULT_WRITE);
	KUNIT_EXPECT_TRUE(test, hmm_fake_call_blocks(call));
	mmap_write_unlock(current->mm);
	KUNIT_EXPECT_EQ(test, 16, hmm_fake_call_ends(call));
	hmm_path_expect(fake, &before, 0, 1, 0);
}

/* A fault takes mmap_lock to find holes. */
static void holes_need_mmap_lock(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = map_used(fake, 16);
	struct hmm_mirror_stats before = hmm_fake_stats(fake);

	KUNIT_ASSERT_EQ(test, 0, vm_munmap(AT(addr, 8), PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, 8, hmm_fake_fault(fake, addr, 16, HMM_FAULT_WRITE));
	hmm_path_expect(fake, &before, 0, 1, 0);
	hmm_test_write(test, AT(addr, 12));
	KUNIT_EXPECT_EQ(test, 9, hmm_fake_fault(fake, addr, 16,
						HMM_FAULT_READ | HMM_FAULT_PRESENT));
	hmm_path_expect(fake, &before, 0, 2, 0);
}

/*
 * A fault that must wait for the first time does so under the VMA lock, and retries under
 * mmap_lock. Waits do not count as collisions and their number is not limited.
 */
static void waits_are_no_collisions(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_path_map(fake, 1, HMM_PATH_WAITS);
	struct hmm_mirror_stats before = hmm_fake_stats(fake);

	hmm_fake_fault_all(fake, addr, 1, HMM_FAULT_READ);
	KUNIT_EXPECT_EQ(test, 2, hmm_path_file.done);
	KUNIT_EXPECT_FALSE(test, hmm_path_file.vma_lock_only);
	KUNIT_EXPECT_TRUE(test, hmm_path_file.may_retry);
	KUNIT_EXPECT_TRUE(test, hmm_path_file.killable);
	/* Only waits for user space are interruptible. */
	KUNIT_EXPECT_FALSE(test, hmm_path_file.interruptible);
	hmm_path_expect(fake, &before, 0, 1, 0);

	/*
	 * The first wait was under the VMA lock and the second under mmap_lock, which a
	 * fault may drop once.
	 */
	hmm_path_file.left = 2;
	hmm_fake_fault_all(fake, AT(addr, 3), 1, HMM_FAULT_READ);
	KUNIT_EXPECT_FALSE(test, hmm_path_file.may_retry);
	hmm_path_expect(fake, &before, 0, 2, 0);

	/* A fault may wait more often than it may make no progress. */
	hmm_path_file.left = 200;
	hmm_path_file.done = 0;
	hmm_fake_fault_all(fake, AT(addr, 1), 2, HMM_FAULT_WRITE);
	KUNIT_EXPECT_EQ(test, 202, hmm_path_file.done);
	/* No fault had waited for the last page before. */
	KUNIT_EXPECT_TRUE(test, hmm_path_file.may_retry);
	hmm_path_expect(fake, &before, 0, 3, 0);
	KUNIT_EXPECT_EQ(test, before.collisions, hmm_fake_stats(fake).collisions);
}

/* With fewer collisions than the maximum, a fault does not take the slow path. */
static void few_collisions_stay_on_fast_path(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_path_map(fake, HMM_FAULT_COLLISIONS_MAX - 1,
					  HMM_PATH_IS_INVALIDATED);
	struct hmm_mirror_stats before = hmm_fake_stats(fake);

	hmm_fake_fault_all(fake, addr, 4, HMM_FAULT_WRITE);
	KUNIT_EXPECT_EQ(test, HMM_FAULT_COLLISIONS_MAX - 1,
			hmm_fake_stats(fake).collisions - before.collisions);
	hmm_path_expect(fake, &before, 1, 0, 0);
}

/*
 * If a fault of the walk invalidates a page that the walk has read before, the walk
 * collides.
 */
static void own_fault_invalidates_earlier_page(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long page = hmm_fake_map_small(fake, SZ_1M >> PAGE_SHIFT) + SZ_1M - PAGE_SIZE;
	struct hmm_mirror_stats before;

	hmm_test_write(test, page);
	hmm_path_map(fake, 1, HMM_PATH_INVALIDATES_ITSELF);
	hmm_path_file.from = page;
	before = hmm_fake_stats(fake);
	KUNIT_EXPECT_EQ(test, 2, hmm_fake_fault(fake, page, 2, HMM_FAULT_READ));
	KUNIT_EXPECT_EQ(test, 1, hmm_fake_stats(fake).collisions - before.collisions);
}

/* Cancelling a fault does not wake it from a sleep that expects no wakeup. */
static void cancel_does_not_wake_io(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_path_map(fake, 1, HMM_PATH_SLEEPS);
	struct hmm_fake_call *call = hmm_fake_call(fake, addr, 2, HMM_FAULT_READ);

	KUNIT_EXPECT_TRUE(test, hmm_fake_call_blocks(call));
	KUNIT_EXPECT_EQ(test, 1, hmm_mirror_cancel_range(&fake->mirror, addr, AT(addr, 1)));
	KUNIT_EXPECT_TRUE(test, hmm_fake_call_blocks(call));
	KUNIT_EXPECT_EQ(test, 0, hmm_path_file.woken);
	wake_up_process(call->task);
	KUNIT_EXPECT_EQ(test, -ECANCELED, hmm_fake_call_ends(call));
	/* It began no other CPU fault. */
	KUNIT_EXPECT_EQ(test, 1, hmm_path_file.done);
}

/*
 * A driver may walk a range in several calls. A CPU fault of one call that invalidates a
 * page that another call has read makes the range collide.
 */
static int walk_part(struct hmm_range *range, unsigned long addr)
{
	int ret;

	range->start = addr;
	range->end = addr + PAGE_SIZE;
	mmap_read_lock(current->mm);
	ret = hmm_range_fault(range);
	mmap_read_unlock(current->mm);
	return ret;
}

/*
 * Upward, a call that is repeated counts as it was last. Downward, a call that
 * invalidates what an earlier call has read collides.
 */
static void range_walked_in_parts(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_path_map(fake, 0, HMM_PATH_INVALIDATES_ITSELF), pfn;
	struct hmm_range range = {
		.mirror = &fake->mirror,
		.start = addr,
		.end = AT(addr, 2),
		.hmm_pfns = &pfn,
		.default_flags = HMM_PFN_REQ_FAULT,
	};

	/* Upward nothing collides, and a repeated call replaces the earlier one. */
	KUNIT_ASSERT_EQ(test, 0, hmm_range_begin(&range));
	hmm_path_file.left = 1;
	KUNIT_EXPECT_EQ(test, 0, walk_part(&range, addr));
	hmm_path_file.left = 1;
	hmm_path_file.from = AT(addr, 1);
	KUNIT_EXPECT_EQ(test, 0, walk_part(&range, AT(addr, 1)));
	down_read(&fake->mirror.lock);
	KUNIT_EXPECT_FALSE(test, hmm_range_retry(&range));
	up_read(&fake->mirror.lock);
	hmm_range_end(&range);

	KUNIT_ASSERT_EQ(test, 0, do_madvise(current->mm, addr, PAGE_SIZE, MADV_DONTNEED));
	range.start = addr;
	range.end = AT(addr, 2);
	KUNIT_ASSERT_EQ(test, 0, hmm_range_begin(&range));
	KUNIT_EXPECT_EQ(test, 0, walk_part(&range, AT(addr, 1)));
	hmm_path_file.left = 1;
	hmm_path_file.from = 0;
	KUNIT_EXPECT_EQ(test, -EBUSY, walk_part(&range, addr));
	down_read(&fake->mirror.lock);
	KUNIT_EXPECT_TRUE(test, hmm_range_retry(&range));
	up_read(&fake->mirror.lock);
	hmm_range_end(&range);
	hmm_path_file.left = 0;
}

static struct kunit_case hmm_mirror_path_cases[] = {
	KUNIT_CASE(fault_takes_vma_lock_only),
	KUNIT_CASE(several_vmas_take_vma_locks),
	KUNIT_CASE(waits_for_vma_writer),
	KUNIT_CASE(holes_need_mmap_lock),
	KUNIT_CASE(waits_are_no_collisions),
	KUNIT_CASE(few_collisions_stay_on_fast_path),
	KUNIT_CASE(own_fault_invalidates_earlier_page),
	KUNIT_CASE(cancel_does_not_wake_io),
	KUNIT_CASE(range_walked_in_parts),
	{}
};

static struct kunit_suite hmm_mirror_path_suite = {
	.name = "hmm_mirror_path",
	.test_cases = hmm_mirror_path_cases,
};

kunit_test_suite(hmm_mirror_path_suite);
