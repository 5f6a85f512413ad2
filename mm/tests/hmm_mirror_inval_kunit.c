// SPDX-License-Identifier: GPL-2.0
/*
 * Invalidations of mirrors: which of them reach the driver and with which range, which
 * are refused, and concurrent faults and ranges
 */
#include <kunit/static_stub.h>
#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/workqueue.h>

#include "hmm_mirror_test.h"

/* Map 16 pages and mirror them for writing. */
static unsigned long map_mirrored(struct hmm_fake *fake)
{
	unsigned long addr = hmm_fake_map_small(fake, 16);

	hmm_fake_fault_all(fake, addr, 16, HMM_FAULT_WRITE);
	hmm_fake_clear_log(fake);
	return addr;
}

static void clear(struct hmm_fake *fake, unsigned long start, unsigned long end)
{
	hmm_fake_clear_log(fake);
	hmm_fake_invalidate(fake, MMU_NOTIFY_CLEAR, start, end);
}

/* An invalidation affects exactly the entries of its half-open range. */
static void half_open_range(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 16);

	hmm_fake_fault_all(fake, AT(addr, 4), 8, HMM_FAULT_WRITE);

	clear(fake, addr, AT(addr, 4));
	hmm_fake_expect_none(fake);
	clear(fake, AT(addr, 12), AT(addr, 16));
	hmm_fake_expect_none(fake);
	KUNIT_EXPECT_EQ(test, 8, hmm_fake_writable(fake, addr, 16));

	clear(fake, addr, AT(addr, 5));
	hmm_fake_expect_one(fake, HMM_UPDATE_MIGRATE, addr, AT(addr, 5));
	KUNIT_EXPECT_EQ(test, 7, hmm_fake_writable(fake, AT(addr, 5), 11));
	KUNIT_EXPECT_EQ(test, 0, hmm_fake_valid(fake, addr, 5));

	clear(fake, AT(addr, 11), AT(addr, 12));
	hmm_fake_expect_one(fake, HMM_UPDATE_MIGRATE, AT(addr, 11), AT(addr, 12));
	clear(fake, AT(addr, 7), AT(addr, 9));
	hmm_fake_expect_one(fake, HMM_UPDATE_MIGRATE, AT(addr, 7), AT(addr, 9));
	KUNIT_EXPECT_EQ(test, 2, hmm_fake_writable(fake, AT(addr, 5), 2));
	KUNIT_EXPECT_EQ(test, 2, hmm_fake_writable(fake, AT(addr, 9), 2));
	KUNIT_EXPECT_EQ(test, 4, hmm_fake_writable(fake, addr, 16));
}

/* Invalidations of unmirrored pages do not reach the driver. */
static void unmirrored_is_skipped(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = map_mirrored(fake);
	struct hmm_mirror_stats stats = hmm_fake_stats(fake);

	/* In the window */
	clear(fake, AT(addr, 16), AT(addr, 100));
	hmm_fake_expect_none(fake);
	KUNIT_EXPECT_EQ(test, stats.callbacks_skipped + 1,
			hmm_fake_stats(fake).callbacks_skipped);
	/* Outside of all windows: the notifiers of HMM are not called. */
	clear(fake, fake->base + SZ_1G, fake->base + 2UL * SZ_1G);
	clear(fake, fake->base - PAGE_SIZE, fake->base);
	hmm_fake_expect_none(fake);
	KUNIT_EXPECT_EQ(test, stats.callbacks_skipped + 1,
			hmm_fake_stats(fake).callbacks_skipped);
	KUNIT_EXPECT_EQ(test, stats.callbacks, hmm_fake_stats(fake).callbacks);
	KUNIT_EXPECT_EQ(test, 16, hmm_fake_writable(fake, addr, 16));

	clear(fake, addr, AT(addr, 16));
	KUNIT_EXPECT_EQ(test, stats.callbacks + 1, hmm_fake_stats(fake).callbacks);
}

/* Each update covers one window, including its first and last page. */
static void two_windows(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long edge = fake->base + SZ_1G, addr = edge - 4 * PAGE_SIZE;

	hmm_fake_map(fake, SZ_1G - 4 * PAGE_SIZE, 8 * PAGE_SIZE);
	hmm_fake_fault_all(fake, addr, 8, HMM_FAULT_WRITE);
	/* Each chunk is a fill of its own. */
	KUNIT_EXPECT_EQ(test, 2, fake->fills);

	hmm_fake_clear_log(fake);
	hmm_fake_invalidate(fake, MMU_NOTIFY_PROTECTION_PAGE, AT(addr, 2), AT(addr, 6));
	KUNIT_EXPECT_EQ(test, 2, fake->count);
	hmm_fake_expect(fake, 0, HMM_UPDATE_WRITE_PROTECT, AT(addr, 2), edge);
	hmm_fake_expect(fake, 1, HMM_UPDATE_WRITE_PROTECT, edge, AT(addr, 6));
	KUNIT_EXPECT_EQ(test, 8, hmm_fake_valid(fake, addr, 8));
	KUNIT_EXPECT_EQ(test, 4, hmm_fake_writable(fake, addr, 8));

	clear(fake, AT(addr, 3), edge);
	hmm_fake_expect_one(fake, HMM_UPDATE_MIGRATE, AT(addr, 3), edge);
	clear(fake, edge, AT(edge, 1));
	hmm_fake_expect_one(fake, HMM_UPDATE_MIGRATE, edge, AT(edge, 1));
	KUNIT_EXPECT_EQ(test, 6, hmm_fake_valid(fake, addr, 8));
}

/* Some invalidations cover the whole address space and have an unaligned end. */
static void whole_address_space(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = map_mirrored(fake);

	hmm_fake_invalidate(fake, MMU_NOTIFY_SOFT_DIRTY, 0, ULONG_MAX);
	hmm_fake_expect_one(fake, HMM_UPDATE_ISDIRTY, fake->base, fake->base + SZ_1G);
	hmm_fake_clear_log(fake);
	hmm_fake_invalidate(fake, MMU_NOTIFY_UNMAP, AT(addr, 8), ULONG_MAX);
	hmm_fake_expect_one(fake, HMM_UPDATE_MUNMAP, AT(addr, 8), fake->base + SZ_1G);
	KUNIT_EXPECT_EQ(test, 8, hmm_fake_valid(fake, addr, 16));
}

/* An invalidation of a part of a block covers the whole block. */
static void widened_to_blocks(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_huge(fake, 4);
	const unsigned long pages = 4 * PTRS_PER_PTE;

	hmm_fake_fault_all(fake, addr, pages, HMM_FAULT_WRITE);
	KUNIT_ASSERT_EQ(test, PMD_ORDER, hmm_pte_order(hmm_fake_entry(fake, addr)));

	hmm_fake_clear_log(fake);
	hmm_fake_invalidate(fake, MMU_NOTIFY_PROTECTION_PAGE, AT(addr, 7), AT(addr, 8));
	hmm_fake_expect_one(fake, HMM_UPDATE_WRITE_PROTECT, addr, addr + PMD_SIZE);
	KUNIT_EXPECT_EQ(test, pages, hmm_fake_valid(fake, addr, pages));
	KUNIT_EXPECT_EQ(test, pages - PTRS_PER_PTE, hmm_fake_writable(fake, addr, pages));

	clear(fake, addr + PMD_SIZE - PAGE_SIZE, addr + PMD_SIZE + PAGE_SIZE);
	hmm_fake_expect_one(fake, HMM_UPDATE_MIGRATE, addr, addr + 2 * PMD_SIZE);
	KUNIT_EXPECT_EQ(test, 2 * PTRS_PER_PTE, hmm_fake_valid(fake, addr, pages));

	clear(fake, addr, addr + 2 * PMD_SIZE + PAGE_SIZE);
	hmm_fake_expect_one(fake, HMM_UPDATE_MIGRATE, addr, addr + 3 * PMD_SIZE);
	clear(fake, addr + 4 * PMD_SIZE - PAGE_SIZE, addr + 4 * PMD_SIZE);
	hmm_fake_expect_one(fake, HMM_UPDATE_MIGRATE, addr + 3 * PMD_SIZE, addr + 4 * PMD_SIZE);
	KUNIT_EXPECT_EQ(test, 0, hmm_fake_valid(fake, addr, pages));
}

/* A driver with its own page tables gets every invalidation of the windows in use. */
static void own_tables(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, HMM_MIRROR_OWN_TABLES);
	unsigned long addr = hmm_fake_map_small(fake, 16);
	struct hmm_range range = {
		.mirror = &fake->mirror,
		.start = addr,
		.end = AT(addr, 16),
	};

	clear(fake, addr, AT(addr, 4));
	hmm_fake_expect_none(fake);
	KUNIT_EXPECT_EQ(test, -EINVAL, hmm_fake_fault(fake, addr, 1, HMM_FAULT_READ));
	KUNIT_ASSERT_EQ(test, 0, hmm_range_begin(&range));
	hmm_range_end(&range);

	clear(fake, AT(addr, 1), AT(addr, 4));
	hmm_fake_expect_one(fake, HMM_UPDATE_MIGRATE, AT(addr, 1), AT(addr, 4));
	hmm_fake_clear_log(fake);
	hmm_fake_invalidate(fake, MMU_NOTIFY_PROTECTION_PAGE, AT(addr, 2), AT(addr, 3));
	hmm_fake_expect_one(fake, HMM_UPDATE_WRITE_PROTECT, AT(addr, 2), AT(addr, 3));
	/* The window in use stays; the driver gets invalidations of that window only. */
	mod_delayed_work(system_unbound_wq, &fake->mirror.gc, 0);
	flush_delayed_work(&fake->mirror.gc);
	clear(fake, fake->base, AT(fake->base, 1));
	hmm_fake_expect_one(fake, HMM_UPDATE_MIGRATE, fake->base, AT(fake->base, 1));
	clear(fake, fake->base + SZ_1G, fake->base + SZ_2G);
	hmm_fake_expect_none(fake);
}

/* A non-blockable invalidation reaches the driver as not blockable. */
static void non_blockable(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = map_mirrored(fake);

	KUNIT_EXPECT_EQ(test, 0, hmm_fake_invalidate_nonblock(fake, MMU_NOTIFY_UNMAP, addr,
							      AT(addr, 8)));
	KUNIT_EXPECT_EQ(test, 1, fake->count);
	hmm_fake_expect(fake, 0, HMM_UPDATE_MUNMAP, addr, AT(addr, 8));
	KUNIT_EXPECT_FALSE(test, fake->log[0].blockable);
	KUNIT_EXPECT_EQ(test, 8, hmm_fake_valid(fake, addr, 16));
	KUNIT_EXPECT_EQ(test, 0, hmm_fake_stats(fake).refused);
}

/* A refused invalidation leaves no invalidation under way, and later faults succeed. */
static void expect_works(struct hmm_fake *fake, unsigned long addr)
{
	struct kunit *test = fake->test;
	struct hmm_fake_call *call;

	KUNIT_EXPECT_FALSE(test, mmu_interval_active(current->mm, 0, ULONG_MAX));
	clear(fake, addr, AT(addr, 16));
	hmm_fake_expect_one(fake, HMM_UPDATE_MIGRATE, addr, AT(addr, 16));
	KUNIT_EXPECT_EQ(test, 0, hmm_fake_valid(fake, addr, 16));
	call = hmm_fake_call(fake, addr, 16, HMM_FAULT_WRITE);
	KUNIT_EXPECT_EQ(test, 16, hmm_fake_call_ends(call));
	KUNIT_EXPECT_EQ(test, 16, hmm_fake_writable(fake, addr, 16));
	/* A new window must be inserted into the interval tree. */
	hmm_fake_map(fake, SZ_1G, PAGE_SIZE);
	call = hmm_fake_call(fake, fake->base + SZ_1G, 1, HMM_FAULT_WRITE);
	KUNIT_EXPECT_EQ(test, 1, hmm_fake_call_ends(call));
}

/* An invalidation that the driver refuses changes no entry, and collides with ranges. */
static void refused_by_driver(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = map_mirrored(fake);
	struct hmm_range range = {
		.mirror = &fake->mirror,
		.start = addr,
		.end = AT(addr, 4),
	};

	KUNIT_ASSERT_EQ(test, 0, hmm_range_begin(&range));
	fake->refuse = 1;
	KUNIT_EXPECT_EQ(test, -EAGAIN, hmm_fake_invalidate_nonblock(fake, MMU_NOTIFY_UNMAP, addr,
								    AT(addr, 8)));
	KUNIT_EXPECT_EQ(test, 1, fake->count);
	KUNIT_EXPECT_EQ(test, 1, hmm_fake_stats(fake).refused);
	KUNIT_EXPECT_EQ(test, 16, hmm_fake_writable(fake, addr, 16));
	down_read(&fake->mirror.lock);
	KUNIT_EXPECT_TRUE(test, hmm_range_retry(&range));
	up_read(&fake->mirror.lock);
	hmm_range_end(&range);
	expect_works(fake, addr);
}

/* An invalidation that is refused several times succeeds at last. */
static void refused_repeatedly(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = map_mirrored(fake);
	unsigned int i;

	fake->refuse = 20;
	for (i = 0; i < 20; i++)
		KUNIT_EXPECT_EQ(test, -EAGAIN,
				hmm_fake_invalidate_nonblock(fake, MMU_NOTIFY_CLEAR, addr,
							     AT(addr, 16)));
	KUNIT_EXPECT_EQ(test, 16, hmm_fake_writable(fake, addr, 16));
	KUNIT_EXPECT_EQ(test, 0, hmm_fake_invalidate_nonblock(fake, MMU_NOTIFY_CLEAR, addr,
							      AT(addr, 16)));
	KUNIT_EXPECT_EQ(test, 0, hmm_fake_valid(fake, addr, 16));
	hmm_fake_fault_all(fake, addr, 16, HMM_FAULT_WRITE);
	expect_works(fake, addr);
}

/* If the second window refuses, the entries of the first window stay revoked. */
static void refused_in_second_window(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long edge = fake->base + SZ_1G, addr = edge - 8 * PAGE_SIZE;

	hmm_fake_map(fake, SZ_1G - 8 * PAGE_SIZE, 16 * PAGE_SIZE);
	hmm_fake_fault_all(fake, addr, 16, HMM_FAULT_WRITE);
	hmm_fake_clear_log(fake);
	fake->refuse = 1;
	fake->refuse_from = edge;
	KUNIT_EXPECT_EQ(test, -EAGAIN, hmm_fake_invalidate_nonblock(fake, MMU_NOTIFY_CLEAR, addr,
								    AT(addr, 16)));
	KUNIT_EXPECT_EQ(test, 2, fake->count);
	KUNIT_EXPECT_EQ(test, 0, hmm_fake_valid(fake, addr, 8));
	KUNIT_EXPECT_EQ(test, 8, hmm_fake_writable(fake, edge, 8));
	KUNIT_EXPECT_FALSE(test, mmu_interval_active(current->mm, 0, ULONG_MAX));
	hmm_fake_fault_all(fake, addr, 16, HMM_FAULT_WRITE);
}

/* A thread that reads the mirror page table until it is stopped */
struct reader {
	struct hmm_fake *fake;
	struct completion reads;
	struct completion stop;
	struct completion stopped;
};

static int reader_thread(void *arg)
{
	struct reader *reader = arg;

	down_read(&reader->fake->mirror.lock);
	complete(&reader->reads);
	wait_for_completion(&reader->stop);
	up_read(&reader->fake->mirror.lock);
	complete(&reader->stopped);
	return 0;
}

static void reader_start(struct reader *reader, struct hmm_fake *fake)
{
	struct task_struct *task;

	reader->fake = fake;
	init_completion(&reader->reads);
	init_completion(&reader->stop);
	init_completion(&reader->stopped);
	task = kthread_run(reader_thread, reader, "hmm_reader");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(fake->test, task);
	wait_for_completion(&reader->reads);
}

/* A non-blockable invalidation is refused while another thread holds mirror->lock. */
static void refused_by_lock(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = map_mirrored(fake);
	struct reader reader;

	reader_start(&reader, fake);
	KUNIT_EXPECT_EQ(test, -EAGAIN, hmm_fake_invalidate_nonblock(fake, MMU_NOTIFY_UNMAP, addr,
								    AT(addr, 8)));
	complete(&reader.stop);
	wait_for_completion(&reader.stopped);
	hmm_fake_expect_none(fake);
	/* HMM refused it, and not the driver. */
	KUNIT_EXPECT_EQ(test, 1, hmm_fake_stats(fake).refused);
	KUNIT_EXPECT_EQ(test, 16, hmm_fake_writable(fake, addr, 16));
	expect_works(fake, addr);
}

/* A blockable invalidation waits for mirror->lock. */
static void waits_for_lock(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = map_mirrored(fake);
	struct reader reader;

	reader_start(&reader, fake);
	complete(&reader.stop);
	clear(fake, addr, AT(addr, 8));
	wait_for_completion(&reader.stopped);
	hmm_fake_expect_one(fake, HMM_UPDATE_MIGRATE, addr, AT(addr, 8));
	KUNIT_EXPECT_EQ(test, 8, hmm_fake_writable(fake, addr, 16));
}

static bool collided(struct hmm_range *range)
{
	guard(rwsem_read)(&range->mirror->lock);
	return hmm_range_retry(range);
}

/* An invalidation collides exactly with the ranges that it overlaps. */
static void collides(struct kunit *test)
{
	static const struct {
		unsigned int start, end;
		bool collides;
	} cases[] = {
		{ 0, 4, false }, { 8, 16, false }, { 0, 5, true }, { 7, 8, true },
		{ 4, 5, true }, { 5, 6, true }, { 0, 16, true }, { 4, 8, true },
		{ 16, 100, false },
	};
	static const enum mmu_notifier_event events[] = {
		MMU_NOTIFY_UNMAP, MMU_NOTIFY_CLEAR, MMU_NOTIFY_PROTECTION_VMA,
		MMU_NOTIFY_PROTECTION_PAGE, MMU_NOTIFY_SOFT_DIRTY,
	};
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 16), i, event;
	struct hmm_range range = { .mirror = &fake->mirror };

	/*
	 * Collisions concern the CPU page table, so they do not depend on mirrored
	 * entries.
	 */
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		for (event = 0; event < ARRAY_SIZE(events); event++) {
			range.start = AT(addr, 4);
			range.end = AT(addr, 8);
			KUNIT_ASSERT_EQ(test, 0, hmm_range_begin(&range));
			KUNIT_EXPECT_FALSE(test, collided(&range));
			hmm_fake_invalidate(fake, events[event], AT(addr, cases[i].start),
					    AT(addr, cases[i].end));
			KUNIT_EXPECT_EQ(test, cases[i].collides, collided(&range));
			hmm_range_end(&range);
		}
	}
	hmm_fake_expect_none(fake);
}

/* A range in two windows collides with an invalidation in either of them. */
static void collides_in_either_window(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long edge = fake->base + SZ_1G, i;
	struct hmm_range range = {
		.mirror = &fake->mirror,
		.start = edge - PAGE_SIZE,
		.end = edge + PAGE_SIZE,
	};

	for (i = 0; i < 2; i++) {
		KUNIT_ASSERT_EQ(test, 0, hmm_range_begin(&range));
		hmm_fake_invalidate(fake, MMU_NOTIFY_CLEAR, range.start + i * PAGE_SIZE,
				    range.start + (i + 1) * PAGE_SIZE);
		KUNIT_EXPECT_TRUE(test, collided(&range));
		hmm_range_end(&range);
		KUNIT_ASSERT_EQ(test, 0, hmm_range_begin(&range));
		hmm_fake_invalidate(fake, MMU_NOTIFY_CLEAR, edge - 2 * PAGE_SIZE,
				    edge - PAGE_SIZE);
		KUNIT_EXPECT_FALSE(test, collided(&range));
		hmm_range_end(&range);
	}
}

/* Bad ranges fail with -EINVAL. */
static void bad_ranges(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 16), i;
	const struct {
		unsigned long start, end;
		int ret;
	} cases[] = {
		{ addr, addr, -EINVAL }, { addr + PAGE_SIZE, addr, -EINVAL },
		{ addr + 1, addr + PAGE_SIZE, -EINVAL }, { addr, addr + 1, -EINVAL },
		{ addr, TASK_SIZE + PAGE_SIZE, -EINVAL }, { PAGE_OFFSET, -PAGE_SIZE, -EINVAL },
		{ -PAGE_SIZE, 0, -EINVAL },
	};

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct hmm_range range = {
			.mirror = &fake->mirror,
			.start = cases[i].start,
			.end = cases[i].end,
		};

		KUNIT_EXPECT_EQ(test, cases[i].ret, hmm_range_begin(&range));
		KUNIT_EXPECT_EQ(test, cases[i].ret,
				hmm_mirror_fault(&fake->mirror, cases[i].start, cases[i].end,
						 HMM_FAULT_READ));
	}
}

/* A fault waits until an overlapping invalidation under way has ended. */
static void waits_for_active(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = map_mirrored(fake);
	struct mmu_notifier_range range;
	struct hmm_fake_call *call;

	hmm_fake_range(fake, &range, MMU_NOTIFY_CLEAR, AT(addr, 4), AT(addr, 8));
	mmu_notifier_invalidate_range_start(&range);
	call = hmm_fake_call(fake, addr, 16, HMM_FAULT_WRITE);
	KUNIT_EXPECT_TRUE(test, hmm_fake_call_blocks(call));
	KUNIT_EXPECT_EQ(test, 0, hmm_fake_valid(fake, AT(addr, 4), 4));
	mmu_notifier_invalidate_range_end(&range);
	KUNIT_EXPECT_EQ(test, 16, hmm_fake_call_ends(call));
	KUNIT_EXPECT_EQ(test, 16, hmm_fake_writable(fake, addr, 16));
	KUNIT_EXPECT_EQ(test, 0, hmm_fake_stats(fake).collisions);
}

/* The end of an inner invalidation does not end the outer one. */
static void nested(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = map_mirrored(fake);
	struct mmu_notifier_range outer, inner;
	struct hmm_fake_call *call;

	hmm_fake_range(fake, &outer, MMU_NOTIFY_UNMAP, addr, AT(addr, 8));
	hmm_fake_range(fake, &inner, MMU_NOTIFY_CLEAR, AT(addr, 2), AT(addr, 4));
	mmu_notifier_invalidate_range_start(&outer);
	mmu_notifier_invalidate_range_start(&inner);
	mmu_notifier_invalidate_range_end(&inner);
	call = hmm_fake_call(fake, AT(addr, 2), 2, HMM_FAULT_WRITE);
	KUNIT_EXPECT_TRUE(test, hmm_fake_call_blocks(call));

	/* Another invalidation begins and ends while a fault waits. */
	hmm_fake_range(fake, &inner, MMU_NOTIFY_CLEAR, AT(addr, 1), AT(addr, 3));
	mmu_notifier_invalidate_range_start(&inner);
	mmu_notifier_invalidate_range_end(&inner);
	KUNIT_EXPECT_TRUE(test, hmm_fake_call_blocks(call));
	KUNIT_EXPECT_EQ(test, 0, hmm_fake_valid(fake, addr, 8));
	mmu_notifier_invalidate_range_end(&outer);
	KUNIT_EXPECT_EQ(test, 2, hmm_fake_call_ends(call));
	KUNIT_EXPECT_EQ(test, 2, hmm_fake_writable(fake, addr, 8));
}

/* Invalidations outside of a range do not affect it. */
static void invalidated_elsewhere(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = map_mirrored(fake);
	struct hmm_range waiting = {
		.mirror = &fake->mirror,
		.start = AT(addr, 8),
		.end = AT(addr, 16),
	};
	struct mmu_notifier_range range;
	struct hmm_mirror_stats stats;
	long ret;

	clear(fake, AT(addr, 8), AT(addr, 16));
	KUNIT_ASSERT_EQ(test, 0, hmm_range_begin(&waiting));
	hmm_fake_range(fake, &range, MMU_NOTIFY_CLEAR, addr, AT(addr, 8));
	mmu_notifier_invalidate_range_start(&range);
	/* This must not wait for the invalidation. */
	ret = hmm_fake_fault(fake, AT(addr, 8), 8, HMM_FAULT_WRITE);
	mmu_notifier_invalidate_range_end(&range);
	KUNIT_EXPECT_EQ(test, 8, ret);
	KUNIT_EXPECT_EQ(test, 8, hmm_fake_writable(fake, addr, 16));
	KUNIT_EXPECT_FALSE(test, collided(&waiting));
	hmm_range_end(&waiting);
	stats = hmm_fake_stats(fake);
	KUNIT_EXPECT_EQ(test, 0, stats.collisions);
}

/*
 * A new window is inserted into the interval tree only when no invalidation is under way.
 * It gets the invalidations that begin later.
 */
static void new_window(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = map_mirrored(fake), other = fake->base + SZ_1G;
	struct mmu_notifier_range range, inner;
	struct hmm_fake_call *call;

	hmm_fake_map(fake, SZ_1G, 16 * PAGE_SIZE);
	hmm_fake_range(fake, &range, MMU_NOTIFY_CLEAR, addr, AT(addr, 8));
	mmu_notifier_invalidate_range_start(&range);
	call = hmm_fake_call(fake, other, 16, HMM_FAULT_WRITE);
	KUNIT_EXPECT_TRUE(test, hmm_fake_call_blocks(call));
	/* Invalidations nest: a waiting fault must not delay this one. */
	hmm_fake_range(fake, &inner, MMU_NOTIFY_CLEAR, other, AT(other, 4));
	mmu_notifier_invalidate_range_start(&inner);
	mmu_notifier_invalidate_range_end(&inner);
	mmu_notifier_invalidate_range_end(&range);
	KUNIT_EXPECT_EQ(test, 16, hmm_fake_call_ends(call));
	KUNIT_EXPECT_EQ(test, 16, hmm_fake_writable(fake, other, 16));

	clear(fake, other, AT(other, 8));
	hmm_fake_expect_one(fake, HMM_UPDATE_MIGRATE, other, AT(other, 8));
}

/* A fault in a new window waits for an overlapping invalidation under way. */
static void new_window_overlapping(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 16);
	struct mmu_notifier_range range;
	struct hmm_fake_call *call;

	hmm_fake_range(fake, &range, MMU_NOTIFY_CLEAR, addr, AT(addr, 8));
	/*
	 * The sentinel is far away, so that this does not delay the insertion into the
	 * tree.
	 */
	mmu_notifier_invalidate_range_start(&range);
	call = hmm_fake_call(fake, addr, 16, HMM_FAULT_WRITE);
	KUNIT_EXPECT_TRUE(test, hmm_fake_call_blocks(call));
	mmu_notifier_invalidate_range_end(&range);
	KUNIT_EXPECT_EQ(test, 16, hmm_fake_call_ends(call));
	KUNIT_EXPECT_EQ(test, 16, hmm_fake_writable(fake, addr, 16));
}

/* A fault waits while the driver handles an overlapping invalidation. */
static void fault_during_callback(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = map_mirrored(fake);
	struct hmm_fake_other invalidator;
	struct hmm_fake_call *call;

	hmm_fake_hold(&invalidator, fake, addr, AT(addr, 8));
	call = hmm_fake_call(fake, addr, 8, HMM_FAULT_WRITE);
	KUNIT_EXPECT_TRUE(test, hmm_fake_call_blocks(call));
	hmm_fake_release_held(&invalidator);
	KUNIT_EXPECT_EQ(test, 8, hmm_fake_call_ends(call));
	KUNIT_EXPECT_EQ(test, 16, hmm_fake_writable(fake, addr, 16));
	hmm_fake_expect_one(fake, HMM_UPDATE_MIGRATE, addr, AT(addr, 8));
}

static bool windowless(struct hmm_fake *fake)
{
	return xa_empty(&fake->mirror.windows);
}

static void wait_until_freed(struct hmm_fake *fake)
{
	unsigned long begin = jiffies;

	while (!windowless(fake) && time_before(jiffies, begin + HMM_FAKE_STUCK))
		msleep(20);
	KUNIT_EXPECT_TRUE(fake->test, windowless(fake));
	/* The last window is freed before its notifier. */
	flush_delayed_work(&fake->mirror.gc);
}

/* A task that is killed while it waits in hmm_range_begin() leaves no range. */
static void killed_in_begin(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = map_mirrored(fake);
	struct hmm_fake_other invalidator;
	struct hmm_range range = {
		.mirror = &fake->mirror,
		.start = addr,
		.end = AT(addr, 16),
	};

	hmm_fake_hold(&invalidator, fake, range.start, range.end);
	allow_signal(SIGKILL);
	send_sig(SIGKILL, current, 1);
	KUNIT_EXPECT_EQ(test, -EINTR, hmm_range_begin(&range));
	flush_signals(current);
	disallow_signal(SIGKILL);
	KUNIT_EXPECT_TRUE(test, list_empty(&fake->mirror.ranges));
	hmm_fake_release_held(&invalidator);
	wait_until_freed(fake);
}

/* A write fault that replaces the zero page does not collide with its own invalidation. */
static void own_invalidation_is_no_collision(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 4);

	hmm_fake_fault_all(fake, addr, 4, HMM_FAULT_READ);
	hmm_fake_clear_log(fake);
	hmm_fake_fault_all(fake, addr, 4, HMM_FAULT_WRITE);
	KUNIT_EXPECT_EQ(test, 4, fake->count);
	KUNIT_EXPECT_EQ(test, 0, hmm_fake_stats(fake).collisions);
}

/* Discard the pages between the walk and the commit. */
static struct page *alloc_table_late(struct hmm_pt *pt, unsigned int level)
{
	struct hmm_fake *fake = container_of(pt, struct hmm_fake, mirror.pt);

	kunit_deactivate_static_stub(fake->test, hmm_pt_alloc_table);
	do_madvise(current->mm, fake->base + SZ_512M, 16 * PAGE_SIZE, MADV_DONTNEED);
	return hmm_pt_alloc_table(pt, level);
}

/* The same after a CPU fault of the walk, whose own invalidation is no collision */
static void collides_after_fault(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 16), i;

	for (i = 1; i < 16; i++)
		hmm_test_write(test, AT(addr, i));
	kunit_activate_static_stub(test, hmm_pt_alloc_table, alloc_table_late);
	hmm_fake_fault_all(fake, addr, 16, HMM_FAULT_WRITE);
	KUNIT_EXPECT_EQ(test, 1, hmm_fake_stats(fake).collisions);
}

/* A fault whose pages are discarded before the commit collides and retries. */
static void collides_before_commit(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 16), i;

	kunit_activate_static_stub(test, hmm_pt_alloc_table, alloc_table_late);
	hmm_fake_fault_all(fake, addr, 16, HMM_FAULT_WRITE);
	KUNIT_EXPECT_EQ(test, 1, hmm_fake_stats(fake).collisions);
	KUNIT_EXPECT_EQ(test, 1, fake->fills);
	hmm_fake_expect_none(fake);
	for (i = 0; i < 16; i++) {
		struct page *page = NULL;

		KUNIT_EXPECT_EQ(test, 1, get_user_pages_fast(AT(addr, i), 1, 0, &page));
		KUNIT_EXPECT_PTR_EQ(test, page, hmm_pte_page(hmm_fake_entry(fake, AT(addr, i))));
		if (page)
			put_page(page);
	}
}

/* Give the device write access by another fault at that point. */
static struct page *alloc_table_written(struct hmm_pt *pt, unsigned int level)
{
	struct hmm_fake *fake = container_of(pt, struct hmm_fake, mirror.pt);

	kunit_deactivate_static_stub(fake->test, hmm_pt_alloc_table);
	hmm_fake_fault_all(fake, AT(fake->base + SZ_512M, 4), 8, HMM_FAULT_WRITE);
	return hmm_pt_alloc_table(pt, level);
}

/* A read fault keeps write access that another fault gives before its commit. */
static void written_before_commit(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 16), i;

	for (i = 0; i < 16; i++)
		hmm_test_write(test, AT(addr, i));
	kunit_activate_static_stub(test, hmm_pt_alloc_table, alloc_table_written);
	hmm_fake_fault_all(fake, addr, 16, HMM_FAULT_READ);
	/*
	 * Otherwise the read fault would revoke write access without a call to the
	 * driver.
	 */
	KUNIT_EXPECT_EQ(test, 8, hmm_fake_writable(fake, addr, 16));
	KUNIT_EXPECT_EQ(test, 8, hmm_fake_writable(fake, AT(addr, 4), 8));
	KUNIT_EXPECT_EQ(test, 2, fake->fills);
	hmm_fake_expect_none(fake);
}

static void expect_freed(struct hmm_fake *fake, unsigned long addr, long bytes)
{
	struct hmm_mirror_stats stats = hmm_fake_stats(fake);

	KUNIT_EXPECT_EQ(fake->test, bytes, atomic_long_read(&fake->mirror.pt.bytes));
	clear(fake, addr, AT(addr, 16));
	KUNIT_EXPECT_EQ(fake->test, stats.callbacks_skipped,
			hmm_fake_stats(fake).callbacks_skipped);
}

/* Empty windows and tables are freed some time later, and can be created again. */
static void gc_frees_empty_windows(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	long bytes = atomic_long_read(&fake->mirror.pt.bytes);
	unsigned long addr, i;

	for (i = 0; i < 2; i++) {
		addr = hmm_fake_map_small(fake, 16);
		hmm_fake_fault_all(fake, addr, 16, HMM_FAULT_WRITE);
		KUNIT_EXPECT_LT(test, bytes, atomic_long_read(&fake->mirror.pt.bytes));
		/* The gc has handled the new window, and no more work is due. */
		mod_delayed_work(system_unbound_wq, &fake->mirror.gc, 0);
		flush_delayed_work(&fake->mirror.gc);
		hmm_fake_clear_log(fake);
		KUNIT_EXPECT_EQ(test, 0, vm_munmap(addr, 16 * PAGE_SIZE));
		hmm_fake_expect_one(fake, HMM_UPDATE_MUNMAP, addr, AT(addr, 16));
		wait_until_freed(fake);
		expect_freed(fake, addr, bytes);
	}
}

/* A window is freed after a failed fault, and after its last range has ended. */
static void gc_frees_windows_after_use(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	long bytes = atomic_long_read(&fake->mirror.pt.bytes);
	unsigned long addr = hmm_fake_map_small(fake, 16);
	struct hmm_range range = {
		.mirror = &fake->mirror,
		.start = addr,
		.end = AT(addr, 16),
	};

	KUNIT_EXPECT_EQ(test, -EFAULT, hmm_fake_fault(fake, AT(addr, 16), 1, HMM_FAULT_READ));
	wait_until_freed(fake);
	expect_freed(fake, addr, bytes);

	KUNIT_ASSERT_EQ(test, 0, hmm_range_begin(&range));
	mod_delayed_work(system_unbound_wq, &fake->mirror.gc, 0);
	flush_delayed_work(&fake->mirror.gc);
	/* The window is in use, so it must still get invalidations. */
	KUNIT_EXPECT_FALSE(test, windowless(fake));
	clear(fake, addr, AT(addr, 1));
	KUNIT_EXPECT_TRUE(test, collided(&range));
	hmm_range_end(&range);
	wait_until_freed(fake);
	expect_freed(fake, addr, bytes);
}

/* The gc keeps windows with mirrored pages. */
static void gc_keeps_used_windows(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = map_mirrored(fake), i;

	for (i = 15; i; i--) {
		clear(fake, AT(addr, i), AT(addr, i + 1));
		mod_delayed_work(system_unbound_wq, &fake->mirror.gc, 0);
		flush_delayed_work(&fake->mirror.gc);
		KUNIT_EXPECT_EQ(test, i, hmm_fake_writable(fake, addr, 16));
	}
	clear(fake, addr, AT(addr, 16));
	hmm_fake_expect_one(fake, HMM_UPDATE_MIGRATE, addr, AT(addr, 16));
}

static int gc_thread(void *arg)
{
	struct hmm_fake *fake = arg;

	while (!kthread_should_stop()) {
		mod_delayed_work(system_unbound_wq, &fake->mirror.gc, 0);
		flush_delayed_work(&fake->mirror.gc);
		cond_resched();
	}
	return 0;
}

static void gc_race_stop(void *task)
{
	kthread_stop(task);
}

/* The gc runs concurrently with faults and invalidations. */
static void gc_races_with_fault(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 16), rounds = 0;
	ktime_t end = ktime_add_ms(ktime_get(), MSEC_PER_SEC);
	struct task_struct *task;

	task = kthread_run(gc_thread, fake, "hmm_gc");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, task);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, gc_race_stop, task));
	while (ktime_before(ktime_get(), end) || rounds < 50) {
		hmm_fake_fault_all(fake, addr, 16, HMM_FAULT_WRITE);
		hmm_fake_clear_log(fake);
		KUNIT_ASSERT_EQ(test, 0, do_madvise(current->mm, addr, 16 * PAGE_SIZE,
						    MADV_DONTNEED));
		KUNIT_ASSERT_EQ(test, 1, fake->count);
		KUNIT_ASSERT_EQ(test, 0, hmm_fake_valid(fake, addr, 16));
		rounds++;
	}
	kunit_info(test, "%lu rounds", rounds);
	kunit_release_action(test, gc_race_stop, task);
}

static struct kunit_case hmm_mirror_inval_cases[] = {
	KUNIT_CASE(half_open_range),
	KUNIT_CASE(unmirrored_is_skipped),
	KUNIT_CASE(two_windows),
	KUNIT_CASE(whole_address_space),
	KUNIT_CASE(widened_to_blocks),
	KUNIT_CASE(own_tables),
	KUNIT_CASE(non_blockable),
	KUNIT_CASE(refused_by_driver),
	KUNIT_CASE(refused_repeatedly),
	KUNIT_CASE(refused_in_second_window),
	KUNIT_CASE(refused_by_lock),
	KUNIT_CASE(waits_for_lock),
	KUNIT_CASE(collides),
	KUNIT_CASE(collides_in_either_window),
	KUNIT_CASE(bad_ranges),
	KUNIT_CASE(waits_for_active),
	KUNIT_CASE(nested),
	KUNIT_CASE(invalidated_elsewhere),
	KUNIT_CASE(new_window),
	KUNIT_CASE(new_window_overlapping),
	KUNIT_CASE(fault_during_callback),
	KUNIT_CASE(killed_in_begin),
	KUNIT_CASE(own_invalidation_is_no_collision),
	KUNIT_CASE(collides_before_commit),
	KUNIT_CASE(collides_after_fault),
	KUNIT_CASE(written_before_commit),
	KUNIT_CASE(gc_frees_empty_windows),
	KUNIT_CASE(gc_frees_windows_after_use),
	KUNIT_CASE(gc_keeps_used_windows),
	KUNIT_CASE(gc_races_with_fault),
	{}
};

static struct kunit_suite hmm_mirror_inval_suite = {
	.name = "hmm_mirror_inval",
	.test_cases = hmm_mirror_inval_cases,
};

kunit_test_suite(hmm_mirror_inval_suite);
