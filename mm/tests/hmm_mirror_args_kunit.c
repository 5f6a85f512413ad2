// SPDX-License-Identifier: GPL-2.0
/*
 * A driver may change what it has given to HMM while HMM uses it: the members of a range
 * between hmm_range_begin() and hmm_range_end(), and those of a registered mirror.
 */
#include <linux/mman.h>

#include "hmm_mirror_test.h"
#include "hmm_pt_test.h"

static bool retry(struct hmm_fake *fake, struct hmm_range *range)
{
	guard(rwsem_read)(&fake->mirror.lock);
	return hmm_range_retry(range);
}

/*
 * An invalidation of any page of the range collides, although the members describe a
 * part.
 */
static void range_narrowed(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, HMM_MIRROR_OWN_TABLES);
	unsigned long addr = hmm_fake_map_small(fake, 4);
	struct hmm_range range = {
		.mirror = &fake->mirror,
		.start = addr,
		.end = AT(addr, 2),
	};

	KUNIT_ASSERT_EQ(test, 0, hmm_range_begin(&range));
	range.start = AT(addr, 1);
	hmm_fake_invalidate(fake, MMU_NOTIFY_CLEAR, AT(addr, 2), AT(addr, 3));
	KUNIT_EXPECT_FALSE(test, retry(fake, &range));
	hmm_fake_invalidate(fake, MMU_NOTIFY_CLEAR, addr, AT(addr, 1));
	KUNIT_EXPECT_TRUE(test, retry(fake, &range));
	range.start = addr;
	KUNIT_EXPECT_TRUE(test, retry(fake, &range));
	hmm_range_end(&range);
}

/* If the members describe another window at the end, the window in use is freed. */
static void range_moved(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 4), begin = jiffies;
	struct hmm_range range = {
		.mirror = &fake->mirror,
		.start = addr,
		.end = AT(addr, 2),
	};

	KUNIT_ASSERT_EQ(test, 0, hmm_range_begin(&range));
	range.start += SZ_1G;
	range.end += SZ_1G;
	hmm_fake_invalidate(fake, MMU_NOTIFY_CLEAR, addr, AT(addr, 1));
	KUNIT_EXPECT_TRUE(test, retry(fake, &range));
	hmm_range_end(&range);
	while (!xa_empty(&fake->mirror.windows) && time_before(jiffies, begin + HMM_FAKE_STUCK))
		schedule_timeout_uninterruptible(HZ / 10);
	KUNIT_EXPECT_TRUE(test, xa_empty(&fake->mirror.windows));
}

static int walk(struct hmm_range *range, int (*walker)(struct hmm_range *))
{
	int ret;

	mmap_read_lock(current->mm);
	ret = walker(range);
	mmap_read_unlock(current->mm);
	return ret;
}

/* A walk outside of the range that has begun fails with -EINVAL. */
static void walk_outside_fails(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, HMM_MIRROR_OWN_TABLES);
	struct hmm_fake *other = hmm_fake_another(fake, HMM_MIRROR_OWN_TABLES);
	unsigned long addr = hmm_fake_map_small(fake, 4), pfns[4];
	struct hmm_range range = {
		.mirror = &fake->mirror,
		.start = AT(addr, 1),
		.end = AT(addr, 3),
		.hmm_pfns = pfns,
	};

	KUNIT_ASSERT_EQ(test, 0, hmm_range_begin(&range));
	KUNIT_EXPECT_EQ(test, 0, walk(&range, hmm_range_fault));
	range.start = AT(addr, 2);
	KUNIT_EXPECT_EQ(test, 0, walk(&range, hmm_range_fault));
	range.end = AT(addr, 4);
	KUNIT_EXPECT_EQ(test, -EINVAL, walk(&range, hmm_range_fault));
	range.end = AT(addr, 3);
	range.start = addr;
	KUNIT_EXPECT_EQ(test, -EINVAL, walk(&range, hmm_range_fault));
	KUNIT_EXPECT_EQ(test, -EINVAL, walk(&range, hmm_range_snapshot));
	range.start = AT(addr, 2);
	range.mirror = &other->mirror;
	KUNIT_EXPECT_EQ(test, -EINVAL, walk(&range, hmm_range_fault));
	/* The range belongs to the mirror that it was begun for. */
	hmm_fake_invalidate(fake, MMU_NOTIFY_CLEAR, AT(addr, 1), AT(addr, 2));
	KUNIT_EXPECT_TRUE(test, retry(fake, &range));
	hmm_range_end(&range);
	KUNIT_EXPECT_TRUE(test, list_empty(&fake->mirror.ranges));
}

static void unregister(void *arg)
{
	struct hmm_fake *fake = arg;

	hmm_mirror_unregister(&fake->mirror);
}

/* HMM uses the members of a mirror as they were at registration. */
static void mirror_changed_after_register(struct kunit *test)
{
	struct hmm_pt_device *device = hmm_pt_device(test);
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long base = fake->base, addr;
	hmm_pte_t pte;

	hmm_fake_unregister(fake);
	hmm_fake_init(fake);
	fake->test = test;
	fake->base = base;
	fake->mirror.dma_dev = device->dev;
	KUNIT_ASSERT_EQ(test, 0, hmm_mirror_register(&fake->mirror, current->mm));
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, unregister, fake));
	fake->mirror.ops = NULL;
	fake->mirror.dma_dev = NULL;
	fake->mirror.dev_private_owner = NULL;
	fake->mirror.flags = HMM_MIRROR_OWN_TABLES | BIT(31);

	addr = hmm_fake_map_small(fake, 4);
	hmm_fake_fault_all(fake, addr, 4, HMM_FAULT_WRITE);
	pte = hmm_fake_entry(fake, addr);
	KUNIT_EXPECT_NE(test, DMA_MAPPING_ERROR, hmm_pte_dma(pte));
	KUNIT_EXPECT_EQ(test, 1, hmm_fake_fault(fake, addr, 1, HMM_FAULT_EXCLUSIVE));
	hmm_fake_clear_log(fake);
	hmm_fake_invalidate(fake, MMU_NOTIFY_CLEAR, AT(addr, 2), AT(addr, 3));
	hmm_fake_expect_one(fake, HMM_UPDATE_MIGRATE, AT(addr, 2), AT(addr, 3));
	/* The driver of a mirror with HMM_MIRROR_OWN_TABLES would be called again. */
	hmm_fake_invalidate(fake, MMU_NOTIFY_CLEAR, AT(addr, 2), AT(addr, 3));
	KUNIT_EXPECT_EQ(test, 1, fake->count);
	kunit_release_action(test, unregister, fake);
	KUNIT_EXPECT_EQ(test, 1, fake->releases);
	KUNIT_EXPECT_EQ(test, 0, device->live);
}

static struct kunit_case hmm_mirror_args_cases[] = {
	KUNIT_CASE(range_narrowed),
	KUNIT_CASE(range_moved),
	KUNIT_CASE(walk_outside_fails),
	KUNIT_CASE(mirror_changed_after_register),
	{}
};

static struct kunit_suite hmm_mirror_args_suite = {
	.name = "hmm_mirror_args",
	.test_cases = hmm_mirror_args_cases,
};

kunit_test_suite(hmm_mirror_args_suite);
