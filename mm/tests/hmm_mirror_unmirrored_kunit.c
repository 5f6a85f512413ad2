// SPDX-License-Identifier: GPL-2.0
/*
 * An invalidation of unmirrored pages waits for no lock, and so not for a device. But it
 * waits for a commit that has begun, and for another invalidation of the same pages.
 */
#include "hmm_mirror_test.h"

/* Map 16 pages, and mirror the first 8 for writing. */
static unsigned long map_half(struct hmm_fake *fake)
{
	unsigned long addr = hmm_fake_map_small(fake, 16);

	hmm_fake_fault_all(fake, addr, 8, HMM_FAULT_WRITE);
	hmm_fake_clear_log(fake);
	return addr;
}

/* An invalidation of unmirrored pages proceeds while the driver handles another one. */
static void proceeds_during_callback(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = map_half(fake), skipped;
	struct hmm_fake_other held, other = { .event = MMU_NOTIFY_CLEAR };

	hmm_fake_hold(&held, fake, addr, AT(addr, 1));
	skipped = hmm_fake_stats(fake).callbacks_skipped;
	hmm_fake_other_start(&other, fake, AT(addr, 8), AT(addr, 16));
	KUNIT_EXPECT_TRUE(test, hmm_fake_other_ends(&other));
	other.nonblock = true;
	hmm_fake_other_start(&other, fake, AT(addr, 8), AT(addr, 16));
	KUNIT_EXPECT_TRUE(test, hmm_fake_other_ends(&other));
	KUNIT_EXPECT_EQ(test, 0, other.ret);
	KUNIT_EXPECT_EQ(test, 2, hmm_fake_stats(fake).callbacks_skipped - skipped);
	hmm_fake_release_held(&held);
	hmm_fake_expect_one(fake, HMM_UPDATE_MIGRATE, addr, AT(addr, 1));
	KUNIT_EXPECT_EQ(test, 7, hmm_fake_writable(fake, addr, 16));
}

/*
 * A write protection of read-only pages proceeds while the driver handles another
 * invalidation.
 */
static void write_protect_proceeds_during_callback(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = map_half(fake);
	struct hmm_fake_other held, other = { .event = MMU_NOTIFY_PROTECTION_PAGE };

	hmm_test_write(test, AT(addr, 8));
	hmm_fake_fault_all(fake, AT(addr, 8), 8, HMM_FAULT_READ);
	hmm_fake_hold(&held, fake, addr, AT(addr, 1));
	hmm_fake_other_start(&other, fake, AT(addr, 8), AT(addr, 16));
	KUNIT_EXPECT_TRUE(test, hmm_fake_other_ends(&other));
	/* But the same pages cannot be revoked meanwhile. */
	other.event = MMU_NOTIFY_CLEAR;
	hmm_fake_other_start(&other, fake, AT(addr, 8), AT(addr, 16));
	KUNIT_EXPECT_TRUE(test, hmm_fake_other_waits(&other));
	hmm_fake_release_held(&held);
	KUNIT_EXPECT_TRUE(test, hmm_fake_other_ends(&other));
	KUNIT_EXPECT_EQ(test, 7, hmm_fake_valid(fake, addr, 16));
}

/*
 * An invalidation of unmirrored pages proceeds while a driver reads the mirror page
 * table.
 */
static void proceeds_during_lookup(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = map_half(fake);
	struct hmm_fake_other one = { .event = MMU_NOTIFY_CLEAR }, two = one;

	hmm_fake_other_create(&one, fake, AT(addr, 8), AT(addr, 16));
	hmm_fake_other_create(&two, fake, AT(addr, 7), AT(addr, 9));
	down_read(&fake->mirror.lock);
	wake_up_process(one.task);
	KUNIT_EXPECT_TRUE(test, hmm_fake_other_ends(&one));
	wake_up_process(two.task);
	KUNIT_EXPECT_TRUE(test, hmm_fake_other_waits(&two));
	up_read(&fake->mirror.lock);
	KUNIT_EXPECT_TRUE(test, hmm_fake_other_ends(&two));
	hmm_fake_expect_one(fake, HMM_UPDATE_MIGRATE, AT(addr, 7), AT(addr, 9));
}

/* An invalidation of the rest of a block waits until the driver has revoked the block. */
static void waits_for_rest_of_block(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_huge(fake, 1);
	struct hmm_fake_other held, other = { .event = MMU_NOTIFY_CLEAR };

	hmm_fake_fault_all(fake, addr, HPAGE_PMD_NR, HMM_FAULT_WRITE);
	hmm_fake_hold(&held, fake, addr, AT(addr, 1));
	hmm_fake_other_start(&other, fake, AT(addr, 100), AT(addr, 101));
	KUNIT_EXPECT_TRUE(test, hmm_fake_other_waits(&other));
	hmm_fake_release_held(&held);
	KUNIT_EXPECT_TRUE(test, hmm_fake_other_ends(&other));
	KUNIT_EXPECT_EQ(test, 0, hmm_fake_valid(fake, addr, HPAGE_PMD_NR));
}

/* While a change is announced, its entries count as mirrored, although they are cleared. */
static void announced_change_counts_as_mirrored(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = map_half(fake);
	struct hmm_pt *pt = &fake->mirror.pt;
	unsigned long start = addr, end = AT(addr, 4);

	down_write(&fake->mirror.lock);
	hmm_pt_begin_change(pt, start, end - 1);
	hmm_pt_clear(pt, &start, &end);
	KUNIT_EXPECT_FALSE(test, hmm_pt_has_none(pt, addr, AT(addr, 1), false));
	KUNIT_EXPECT_FALSE(test, hmm_pt_has_none(pt, AT(addr, 3), AT(addr, 4), true));
	KUNIT_EXPECT_FALSE(test, hmm_pt_has_none(pt, AT(addr, 4), AT(addr, 5), false));
	KUNIT_EXPECT_TRUE(test, hmm_pt_has_none(pt, AT(addr, 8), AT(addr, 9), false));
	KUNIT_EXPECT_TRUE(test, hmm_pt_has_none(pt, addr - PAGE_SIZE, addr, false));
	hmm_pt_end_change(pt);
	KUNIT_EXPECT_TRUE(test, hmm_pt_has_none(pt, addr, AT(addr, 4), false));
	/* The driver of the test has nothing to do. */
	up_write(&fake->mirror.lock);
}

/*
 * After a successful hmm_range_retry(), pages of the range count as mirrored until the
 * lock is released.
 */
static void waits_for_commit(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 16);
	struct hmm_range range = {
		.mirror = &fake->mirror,
		.start = addr,
		.end = AT(addr, 8),
	};
	struct hmm_fake_other one = { .event = MMU_NOTIFY_CLEAR }, two = one;

	KUNIT_ASSERT_EQ(test, 0, hmm_range_begin(&range));
	hmm_fake_other_create(&one, fake, AT(addr, 8), AT(addr, 16));
	hmm_fake_other_create(&two, fake, AT(addr, 7), AT(addr, 16));
	down_read(&fake->mirror.lock);
	KUNIT_EXPECT_FALSE(test, hmm_range_retry(&range));
	wake_up_process(one.task);
	KUNIT_EXPECT_TRUE(test, hmm_fake_other_ends(&one));
	wake_up_process(two.task);
	KUNIT_EXPECT_TRUE(test, hmm_fake_other_waits(&two));
	up_read(&fake->mirror.lock);
	KUNIT_EXPECT_TRUE(test, hmm_fake_other_ends(&two));
	down_read(&fake->mirror.lock);
	KUNIT_EXPECT_TRUE(test, hmm_range_retry(&range));
	up_read(&fake->mirror.lock);
	hmm_range_end(&range);
}

/* An invalidation that does not wait still collides with ranges. */
static void collides_during_callback(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = map_half(fake);
	struct hmm_range range = {
		.mirror = &fake->mirror,
		.start = AT(addr, 8),
		.end = AT(addr, 16),
	};
	struct hmm_fake_other held, other = { .event = MMU_NOTIFY_CLEAR };

	KUNIT_ASSERT_EQ(test, 0, hmm_range_begin(&range));
	hmm_fake_hold(&held, fake, addr, AT(addr, 1));
	hmm_fake_other_start(&other, fake, AT(addr, 15), AT(addr, 16));
	KUNIT_EXPECT_TRUE(test, hmm_fake_other_ends(&other));
	hmm_fake_release_held(&held);
	down_read(&fake->mirror.lock);
	KUNIT_EXPECT_TRUE(test, hmm_range_retry(&range));
	up_read(&fake->mirror.lock);
	hmm_range_end(&range);
}

/* A driver with its own page tables gets each invalidation, one at a time. */
static void own_tables_wait(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, HMM_MIRROR_OWN_TABLES);
	unsigned long addr = hmm_fake_map_small(fake, 16);
	struct hmm_range range = {
		.mirror = &fake->mirror,
		.start = addr,
		.end = AT(addr, 8),
	};
	struct hmm_fake_other held, other = { .event = MMU_NOTIFY_CLEAR };

	KUNIT_ASSERT_EQ(test, 0, hmm_range_begin(&range));
	hmm_range_end(&range);
	hmm_fake_hold(&held, fake, addr, AT(addr, 1));
	hmm_fake_other_start(&other, fake, AT(addr, 8), AT(addr, 16));
	KUNIT_EXPECT_TRUE(test, hmm_fake_other_waits(&other));
	hmm_fake_release_held(&held);
	KUNIT_EXPECT_TRUE(test, hmm_fake_other_ends(&other));
	KUNIT_EXPECT_EQ(test, 2, fake->count);
}

static struct kunit_case hmm_mirror_unmirrored_cases[] = {
	KUNIT_CASE(proceeds_during_callback),
	KUNIT_CASE(write_protect_proceeds_during_callback),
	KUNIT_CASE(proceeds_during_lookup),
	KUNIT_CASE(waits_for_rest_of_block),
	KUNIT_CASE(announced_change_counts_as_mirrored),
	KUNIT_CASE(waits_for_commit),
	KUNIT_CASE(collides_during_callback),
	KUNIT_CASE(own_tables_wait),
	{}
};

static struct kunit_suite hmm_mirror_unmirrored_suite = {
	.name = "hmm_mirror_unmirrored",
	.test_cases = hmm_mirror_unmirrored_cases,
};

kunit_test_suite(hmm_mirror_unmirrored_suite);
