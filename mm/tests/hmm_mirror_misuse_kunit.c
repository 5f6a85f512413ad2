// SPDX-License-Identifier: GPL-2.0
/*
 * Misuse by a driver triggers a WARN, and does no harm. guest/suites/kunit.expect lists
 * the warnings, each of which must appear.
 */
#include "hmm_mirror_test.h"

static unsigned long map_mirrored(struct hmm_fake *fake)
{
	unsigned long addr = hmm_fake_map_small(fake, 16);

	hmm_fake_fault_all(fake, addr, 16, HMM_FAULT_WRITE);
	hmm_fake_clear_log(fake);
	return addr;
}

/*
 * If a driver refuses a blockable invalidation, the CPU does not wait, and HMM revokes
 * the entries.
 */
static void refuses_blockable(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = map_mirrored(fake);

	fake->refuse = 1;
	hmm_fake_invalidate(fake, MMU_NOTIFY_CLEAR, addr, addr + PAGE_SIZE);
	hmm_fake_expect_one(fake, HMM_UPDATE_MIGRATE, addr, addr + PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, 15, hmm_fake_valid(fake, addr, 16));
	KUNIT_EXPECT_EQ(test, 0, hmm_fake_stats(fake).refused);
	KUNIT_EXPECT_FALSE(test, mmu_interval_active(current->mm, 0, ULONG_MAX));
}

/*
 * -EAGAIN is for invalidations. If a driver returns it for a fill, the fault fails with
 * -EIO.
 */
static void fill_returns_eagain(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 16);

	fake->fill_error = -EAGAIN;
	KUNIT_EXPECT_EQ(test, -EIO, hmm_fake_fault(fake, addr, 16, HMM_FAULT_WRITE));
	KUNIT_EXPECT_EQ(test, 1, fake->fills);
	KUNIT_EXPECT_EQ(test, 0, hmm_fake_valid(fake, addr, 16));
	hmm_fake_fault_all(fake, addr, 16, HMM_FAULT_WRITE);
}

/* The second hmm_mirror_unregister() does nothing. */
static void unregisters_twice(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);

	map_mirrored(fake);
	hmm_fake_unregister(fake);
	hmm_mirror_unregister(&fake->mirror);
	KUNIT_EXPECT_EQ(test, 1, fake->releases);
}

/* A driver that unregisters in its callbacks */
static const struct hmm_mirror_ops *misuse_ops;
static bool misuse;

static int misuse_sync(struct hmm_mirror *mirror, const struct hmm_update *update)
{
	if (misuse)
		hmm_mirror_unregister(mirror);
	return misuse_ops->sync_cpu_device_pagetables(mirror, update);
}

static void misuse_release(struct hmm_mirror *mirror)
{
	hmm_mirror_unregister(mirror);
	misuse_ops->release(mirror);
}

/* hmm_mirror_unregister() in sync_cpu_device_pagetables() does nothing. */
static void unregisters_in_sync(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	struct hmm_mirror_ops ops = *fake->mirror.ops;
	unsigned long addr;

	misuse_ops = fake->mirror.ops;
	ops.sync_cpu_device_pagetables = misuse_sync;
	hmm_fake_set_ops(fake, &ops);
	addr = map_mirrored(fake);
	misuse = true;
	hmm_fake_invalidate(fake, MMU_NOTIFY_CLEAR, addr, addr + 4 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, 12, hmm_fake_valid(fake, addr, 16));
	KUNIT_EXPECT_EQ(test, 4, hmm_fake_fault(fake, addr, 4, HMM_FAULT_WRITE));
	KUNIT_EXPECT_EQ(test, 16, hmm_fake_valid(fake, addr, 16));
	misuse = false;
	KUNIT_EXPECT_EQ(test, 0, fake->releases);
	hmm_fake_unregister(fake);
}

/* hmm_mirror_unregister() in release() does nothing. */
static void unregisters_in_release(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	struct hmm_mirror_ops ops = *fake->mirror.ops;

	misuse_ops = fake->mirror.ops;
	ops.release = misuse_release;
	hmm_fake_set_ops(fake, &ops);
	hmm_fake_unregister(fake);
	KUNIT_EXPECT_EQ(test, 1, fake->releases);
}

static struct kunit_case hmm_mirror_misuse_cases[] = {
	KUNIT_CASE(refuses_blockable),
	KUNIT_CASE(fill_returns_eagain),
	KUNIT_CASE(unregisters_twice),
	KUNIT_CASE(unregisters_in_sync),
	KUNIT_CASE(unregisters_in_release),
	{}
};

static struct kunit_suite hmm_mirror_misuse_suite = {
	.name = "hmm_mirror_misuse",
	.test_cases = hmm_mirror_misuse_cases,
};

kunit_test_suite(hmm_mirror_misuse_suite);
