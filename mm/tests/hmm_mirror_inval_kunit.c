// SPDX-License-Identifier: GPL-2.0
/*
 * Invalidations of mirrors: which of them reach the driver, with which range; those that
 * are refused; and faults and ranges beside them.
 */
#include <kunit/static_stub.h>
#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/workqueue.h>

#include "hmm_mirror_test.h"

/* 16 pages that are mirrored for writing */
static unsigned long map_mirrored(struct hmm_fake *fake)
{
	unsigned long addr = hmm_fake_map_small(fake, 16);

	hmm_fake_fault_all(fake, addr, 16, HMM_FAULT_WRITE);
	hmm_fake_forget(fake);
	return addr;
}

static void clear(struct hmm_fake *fake, unsigned long start, unsigned long end)
{
	hmm_fake_forget(fake);
	hmm_fake_invalidate(fake, MMU_NOTIFY_CLEAR, start, end);
}

/* Neither too much nor too little: nothing is as often wrong as an end. */
static void half_open(struct kunit *test)
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

static void nothing_mirrored(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = map_mirrored(fake);
	struct hmm_mirror_stats stats = hmm_fake_stats(fake);

	/* In the window */
	clear(fake, AT(addr, 16), AT(addr, 100));
	hmm_fake_expect_none(fake);
	KUNIT_EXPECT_EQ(test, stats.callbacks_skipped + 1,
			hmm_fake_stats(fake).callbacks_skipped);
	/* Outside of all windows: HMM itself is not called. */
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

/* Each update is of one window, the first and the last page of it included. */
static void two_windows(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long edge = fake->base + SZ_1G, addr = edge - 4 * PAGE_SIZE;

	hmm_fake_map(fake, SZ_1G - 4 * PAGE_SIZE, 8 * PAGE_SIZE);
	hmm_fake_fault_all(fake, addr, 8, HMM_FAULT_WRITE);
	/* Each piece is filled in by itself. */
	KUNIT_EXPECT_EQ(test, 2, fake->fills);

	hmm_fake_forget(fake);
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

/* Some come with all that can be addressed, and with an end that is no page's. */
static void whole_address_space(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = map_mirrored(fake);

	hmm_fake_invalidate(fake, MMU_NOTIFY_SOFT_DIRTY, 0, ULONG_MAX);
	hmm_fake_expect_one(fake, HMM_UPDATE_ISDIRTY, fake->base, fake->base + SZ_1G);
	hmm_fake_forget(fake);
	hmm_fake_invalidate(fake, MMU_NOTIFY_UNMAP, AT(addr, 8), ULONG_MAX);
	hmm_fake_expect_one(fake, HMM_UPDATE_MUNMAP, AT(addr, 8), fake->base + SZ_1G);
	KUNIT_EXPECT_EQ(test, 8, hmm_fake_valid(fake, addr, 16));
}

/* What the device has in one entry goes as one. */
static void widened(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_huge(fake, 4);
	const unsigned long pages = 4 * PTRS_PER_PTE;

	hmm_fake_fault_all(fake, addr, pages, HMM_FAULT_WRITE);
	KUNIT_ASSERT_EQ(test, PMD_ORDER, hmm_pte_order(hmm_fake_entry(fake, addr)));

	hmm_fake_forget(fake);
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

/* HMM does not know what such a driver has. */
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
	hmm_fake_forget(fake);
	hmm_fake_invalidate(fake, MMU_NOTIFY_PROTECTION_PAGE, AT(addr, 2), AT(addr, 3));
	hmm_fake_expect_one(fake, HMM_UPDATE_WRITE_PROTECT, AT(addr, 2), AT(addr, 3));
	/* It has a window, that is not reaped, and no more than one. */
	mod_delayed_work(system_unbound_wq, &fake->mirror.reaper, 0);
	flush_delayed_work(&fake->mirror.reaper);
	clear(fake, fake->base, AT(fake->base, 1));
	hmm_fake_expect_one(fake, HMM_UPDATE_MIGRATE, fake->base, AT(fake->base, 1));
	clear(fake, fake->base + SZ_1G, fake->base + SZ_2G);
	hmm_fake_expect_none(fake);
}

/* What has been told not to block says so to the driver. */
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

/* Nothing is left of what was refused: no invalidation that goes on for ever. */
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
	/* A window that is new has to come into the tree. */
	hmm_fake_map(fake, SZ_1G, PAGE_SIZE);
	call = hmm_fake_call(fake, fake->base + SZ_1G, 1, HMM_FAULT_WRITE);
	KUNIT_EXPECT_EQ(test, 1, hmm_fake_call_ends(call));
}

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

static void refused_often(struct kunit *test)
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

/* What the first window has lost stays lost. */
static void refused_in_second_window(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long edge = fake->base + SZ_1G, addr = edge - 8 * PAGE_SIZE;

	hmm_fake_map(fake, SZ_1G - 8 * PAGE_SIZE, 16 * PAGE_SIZE);
	hmm_fake_fault_all(fake, addr, 16, HMM_FAULT_WRITE);
	hmm_fake_forget(fake);
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

/* A thread that reads the mirror page table for as long as it is wanted */
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
	/* It is HMM that has refused. */
	KUNIT_EXPECT_EQ(test, 1, hmm_fake_stats(fake).refused);
	KUNIT_EXPECT_EQ(test, 16, hmm_fake_writable(fake, addr, 16));
	expect_works(fake, addr);
}

/* One that may block waits for the lock instead. */
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

/* What is invalidated collides with the ranges that have a page of it, and no others. */
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

	/* Nothing is mirrored: it is a matter of the CPU's page table. */
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

/* A fault waits for what is invalidated when it begins, to the end of it. */
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

/* The end of an inner one is not that of the outer one. */
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

	/* With somebody waiting, another one begins and ends. */
	hmm_fake_range(fake, &inner, MMU_NOTIFY_CLEAR, AT(addr, 1), AT(addr, 3));
	mmu_notifier_invalidate_range_start(&inner);
	mmu_notifier_invalidate_range_end(&inner);
	KUNIT_EXPECT_TRUE(test, hmm_fake_call_blocks(call));
	KUNIT_EXPECT_EQ(test, 0, hmm_fake_valid(fake, addr, 8));
	mmu_notifier_invalidate_range_end(&outer);
	KUNIT_EXPECT_EQ(test, 2, hmm_fake_call_ends(call));
	KUNIT_EXPECT_EQ(test, 2, hmm_fake_writable(fake, addr, 8));
}

/* Whatever is invalidated beside a range is nothing to it. */
static void elsewhere(struct kunit *test)
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
	/* This would wait for ever. */
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
 * A window does not come into the tree while anything is invalidated. What begins after
 * that is seen by it.
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
	/* Start and end nest: whoever waits must not be in the way of this one. */
	hmm_fake_range(fake, &inner, MMU_NOTIFY_CLEAR, other, AT(other, 4));
	mmu_notifier_invalidate_range_start(&inner);
	mmu_notifier_invalidate_range_end(&inner);
	mmu_notifier_invalidate_range_end(&range);
	KUNIT_EXPECT_EQ(test, 16, hmm_fake_call_ends(call));
	KUNIT_EXPECT_EQ(test, 16, hmm_fake_writable(fake, other, 16));

	clear(fake, other, AT(other, 8));
	hmm_fake_expect_one(fake, HMM_UPDATE_MIGRATE, other, AT(other, 8));
}

static void new_window_overlapping(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 16);
	struct mmu_notifier_range range;
	struct hmm_fake_call *call;

	hmm_fake_range(fake, &range, MMU_NOTIFY_CLEAR, addr, AT(addr, 8));
	/* The sentinel is far away, so that this does not hold up who comes into the tree. */
	mmu_notifier_invalidate_range_start(&range);
	call = hmm_fake_call(fake, addr, 16, HMM_FAULT_WRITE);
	KUNIT_EXPECT_TRUE(test, hmm_fake_call_blocks(call));
	mmu_notifier_invalidate_range_end(&range);
	KUNIT_EXPECT_EQ(test, 16, hmm_fake_call_ends(call));
	KUNIT_EXPECT_EQ(test, 16, hmm_fake_writable(fake, addr, 16));
}

/* While the driver is in its callback nobody makes the range valid again. */
static void fault_during_callback(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = map_mirrored(fake);
	struct hmm_fake_other invalidator;
	struct hmm_fake_call *call;

	hmm_fake_hold(&invalidator, fake, addr, AT(addr, 8));
	call = hmm_fake_call(fake, addr, 8, HMM_FAULT_WRITE);
	KUNIT_EXPECT_TRUE(test, hmm_fake_call_blocks(call));
	hmm_fake_let_go(&invalidator);
	KUNIT_EXPECT_EQ(test, 8, hmm_fake_call_ends(call));
	KUNIT_EXPECT_EQ(test, 16, hmm_fake_writable(fake, addr, 16));
	hmm_fake_expect_one(fake, HMM_UPDATE_MIGRATE, addr, AT(addr, 8));
}

static bool windowless(struct hmm_fake *fake)
{
	return xa_empty(&fake->mirror.windows);
}

static void wait_until_reaped(struct hmm_fake *fake)
{
	unsigned long begin = jiffies;

	while (!windowless(fake) && time_before(jiffies, begin + HMM_FAKE_STUCK))
		msleep(20);
	KUNIT_EXPECT_TRUE(fake->test, windowless(fake));
	/* The last window has gone before its notifier. */
	flush_delayed_work(&fake->mirror.reaper);
}

/* Who is killed while he waits to begin leaves nothing behind. */
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
	hmm_fake_let_go(&invalidator);
	wait_until_reaped(fake);
}

/* The device had zeroes, and writes: its own fault takes those away, and is no collision. */
static void invalidates_itself(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 4);

	hmm_fake_fault_all(fake, addr, 4, HMM_FAULT_READ);
	hmm_fake_forget(fake);
	hmm_fake_fault_all(fake, addr, 4, HMM_FAULT_WRITE);
	KUNIT_EXPECT_EQ(test, 4, fake->count);
	KUNIT_EXPECT_EQ(test, 0, hmm_fake_stats(fake).collisions);
}

/* Between the walk, whose result is good, and the commit: the pages go. */
static struct page *alloc_table_late(struct hmm_pt *pt, unsigned int level)
{
	struct hmm_fake *fake = container_of(pt, struct hmm_fake, mirror.pt);

	kunit_deactivate_static_stub(fake->test, hmm_pt_alloc_table);
	do_madvise(current->mm, fake->base + SZ_512M, 16 * PAGE_SIZE, MADV_DONTNEED);
	return hmm_pt_alloc_table(pt, level);
}

/* The same after a fault that the walk has taken, whose own invalidation would not count */
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

/* There: another fault lets the device write. */
static struct page *alloc_table_written(struct hmm_pt *pt, unsigned int level)
{
	struct hmm_fake *fake = container_of(pt, struct hmm_fake, mirror.pt);

	kunit_deactivate_static_stub(fake->test, hmm_pt_alloc_table);
	hmm_fake_fault_all(fake, AT(fake->base + SZ_512M, 4), 8, HMM_FAULT_WRITE);
	return hmm_pt_alloc_table(pt, level);
}

static void written_before_commit(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 16), i;

	for (i = 0; i < 16; i++)
		hmm_test_write(test, AT(addr, i));
	kunit_activate_static_stub(test, hmm_pt_alloc_table, alloc_table_written);
	hmm_fake_fault_all(fake, addr, 16, HMM_FAULT_READ);
	/* It would take that away, and the driver not learn of it. */
	KUNIT_EXPECT_EQ(test, 8, hmm_fake_writable(fake, addr, 16));
	KUNIT_EXPECT_EQ(test, 8, hmm_fake_writable(fake, AT(addr, 4), 8));
	KUNIT_EXPECT_EQ(test, 2, fake->fills);
	hmm_fake_expect_none(fake);
}

static void expect_reaped(struct hmm_fake *fake, unsigned long addr, long bytes)
{
	struct hmm_mirror_stats stats = hmm_fake_stats(fake);

	KUNIT_EXPECT_EQ(fake->test, bytes, atomic_long_read(&fake->mirror.pt.bytes));
	clear(fake, addr, AT(addr, 16));
	KUNIT_EXPECT_EQ(fake->test, stats.callbacks_skipped,
			hmm_fake_stats(fake).callbacks_skipped);
}

/* What has become empty goes some time later, and comes back. */
static void reaped(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	long bytes = atomic_long_read(&fake->mirror.pt.bytes);
	unsigned long addr, i;

	for (i = 0; i < 2; i++) {
		addr = hmm_fake_map_small(fake, 16);
		hmm_fake_fault_all(fake, addr, 16, HMM_FAULT_WRITE);
		KUNIT_EXPECT_LT(test, bytes, atomic_long_read(&fake->mirror.pt.bytes));
		/* It has come for the new window, and nothing is due any more. */
		mod_delayed_work(system_unbound_wq, &fake->mirror.reaper, 0);
		flush_delayed_work(&fake->mirror.reaper);
		hmm_fake_forget(fake);
		KUNIT_EXPECT_EQ(test, 0, vm_munmap(addr, 16 * PAGE_SIZE));
		hmm_fake_expect_one(fake, HMM_UPDATE_MUNMAP, addr, AT(addr, 16));
		wait_until_reaped(fake);
		expect_reaped(fake, addr, bytes);
	}
}

/* A fault that fails leaves nothing behind, nor does one that the reaper found at it. */
static void reaped_after_use(struct kunit *test)
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
	wait_until_reaped(fake);
	expect_reaped(fake, addr, bytes);

	KUNIT_ASSERT_EQ(test, 0, hmm_range_begin(&range));
	mod_delayed_work(system_unbound_wq, &fake->mirror.reaper, 0);
	flush_delayed_work(&fake->mirror.reaper);
	/* In use: it has to hear of this. */
	KUNIT_EXPECT_FALSE(test, windowless(fake));
	clear(fake, addr, AT(addr, 1));
	KUNIT_EXPECT_TRUE(test, collided(&range));
	hmm_range_end(&range);
	wait_until_reaped(fake);
	expect_reaped(fake, addr, bytes);
}

static void not_reaped(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = map_mirrored(fake), i;

	for (i = 15; i; i--) {
		clear(fake, AT(addr, i), AT(addr, i + 1));
		mod_delayed_work(system_unbound_wq, &fake->mirror.reaper, 0);
		flush_delayed_work(&fake->mirror.reaper);
		KUNIT_EXPECT_EQ(test, i, hmm_fake_writable(fake, addr, 16));
	}
	clear(fake, addr, AT(addr, 16));
	hmm_fake_expect_one(fake, HMM_UPDATE_MIGRATE, addr, AT(addr, 16));
}

static int reaper_thread(void *arg)
{
	struct hmm_fake *fake = arg;

	while (!kthread_should_stop()) {
		mod_delayed_work(system_unbound_wq, &fake->mirror.reaper, 0);
		flush_delayed_work(&fake->mirror.reaper);
		cond_resched();
	}
	return 0;
}

static void reap_race_stop(void *task)
{
	kthread_stop(task);
}

/* The reaper always comes at the wrong time. */
static void reap_race(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 16), rounds = 0;
	ktime_t end = ktime_add_ms(ktime_get(), MSEC_PER_SEC);
	struct task_struct *task;

	task = kthread_run(reaper_thread, fake, "hmm_reaper");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, task);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, reap_race_stop, task));
	while (ktime_before(ktime_get(), end) || rounds < 50) {
		hmm_fake_fault_all(fake, addr, 16, HMM_FAULT_WRITE);
		hmm_fake_forget(fake);
		KUNIT_ASSERT_EQ(test, 0, do_madvise(current->mm, addr, 16 * PAGE_SIZE,
						    MADV_DONTNEED));
		KUNIT_ASSERT_EQ(test, 1, fake->count);
		KUNIT_ASSERT_EQ(test, 0, hmm_fake_valid(fake, addr, 16));
		rounds++;
	}
	kunit_info(test, "%lu rounds", rounds);
	kunit_release_action(test, reap_race_stop, task);
}

static struct kunit_case hmm_mirror_inval_cases[] = {
	KUNIT_CASE(half_open),
	KUNIT_CASE(nothing_mirrored),
	KUNIT_CASE(two_windows),
	KUNIT_CASE(whole_address_space),
	KUNIT_CASE(widened),
	KUNIT_CASE(own_tables),
	KUNIT_CASE(non_blockable),
	KUNIT_CASE(refused_by_driver),
	KUNIT_CASE(refused_often),
	KUNIT_CASE(refused_in_second_window),
	KUNIT_CASE(refused_by_lock),
	KUNIT_CASE(waits_for_lock),
	KUNIT_CASE(collides),
	KUNIT_CASE(collides_in_either_window),
	KUNIT_CASE(bad_ranges),
	KUNIT_CASE(waits_for_active),
	KUNIT_CASE(nested),
	KUNIT_CASE(elsewhere),
	KUNIT_CASE(new_window),
	KUNIT_CASE(new_window_overlapping),
	KUNIT_CASE(fault_during_callback),
	KUNIT_CASE(killed_in_begin),
	KUNIT_CASE(invalidates_itself),
	KUNIT_CASE(collides_before_commit),
	KUNIT_CASE(collides_after_fault),
	KUNIT_CASE(written_before_commit),
	KUNIT_CASE(reaped),
	KUNIT_CASE(reaped_after_use),
	KUNIT_CASE(not_reaped),
	KUNIT_CASE(reap_race),
	{}
};

static struct kunit_suite hmm_mirror_inval_suite = {
	.name = "hmm_mirror_inval",
	.test_cases = hmm_mirror_inval_cases,
};

kunit_test_suite(hmm_mirror_inval_suite);
