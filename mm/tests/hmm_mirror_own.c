// SPDX-License-Identifier: GPL-2.0
/*
 * A driver that has page tables of its own: hmm_range_begin(), hmm_range_fault(),
 * hmm_range_retry() and hmm_range_end(), beside threads that take the pages away.
 */
#include <linux/highmem.h>
#include <linux/kthread.h>
#include <linux/mman.h>
#include <linux/sched/mm.h>

#include "hmm_mirror_test.h"

#define OWN_PAGES	16
#define OWN_STAMP	0x6f776e00000000UL

/**
 * struct own_driver - the driver and its device
 * @mirror: mirror
 * @mm: address space
 * @addr: of the first page
 * @table: what the device may access, see &enum hmm_pfn_flags; under mirror.lock
 * @told: invalidations
 * @wrong: updates that must not be
 * @zapper: takes pages away
 */
struct own_driver {
	struct hmm_mirror mirror;
	struct mm_struct *mm;
	unsigned long addr;
	unsigned long table[OWN_PAGES];
	unsigned long told;
	unsigned long wrong;
	struct task_struct *zapper;
};

static int own_sync(struct hmm_mirror *mirror, const struct hmm_update *update)
{
	struct own_driver *own = container_of(mirror, struct own_driver, mirror);
	unsigned long i;

	lockdep_assert_held_write(&mirror->lock);
	own->told++;
	own->wrong += update->event == HMM_UPDATE_NONE ||
		      update->event >= HMM_UPDATE_DEVICE_RFAULT;
	for (i = 0; i < OWN_PAGES; i++) {
		unsigned long addr = own->addr + i * PAGE_SIZE;

		if (addr >= update->start && addr < update->end)
			own->table[i] = 0;
	}
	return 0;
}

static const struct hmm_mirror_ops own_ops = { .sync_cpu_device_pagetables = own_sync };

/* As a driver's fault handler does it */
static int own_fault(struct own_driver *own, unsigned long first, unsigned long npages)
{
	unsigned long pfns[OWN_PAGES];
	struct hmm_range range = {
		.mirror = &own->mirror,
		.start = own->addr + first * PAGE_SIZE,
		.end = own->addr + (first + npages) * PAGE_SIZE,
		.hmm_pfns = pfns,
		.default_flags = HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE,
	};
	bool retry;
	int ret;

	do {
		ret = hmm_range_begin(&range);
		if (ret)
			return ret;
		mmap_read_lock(own->mm);
		ret = hmm_range_fault(&range);
		mmap_read_unlock(own->mm);

		down_read(&own->mirror.lock);
		retry = hmm_range_retry(&range);
		if (!ret && !retry)
			memcpy(own->table + first, pfns, npages * sizeof(*pfns));
		up_read(&own->mirror.lock);
		hmm_range_end(&range);
	} while (ret == -EBUSY || (!ret && retry));
	return ret;
}

/*
 * What the device may access is the memory of the process, and no page that was freed:
 * that would be poisoned, or somebody else's. Return how many pages it has.
 */
static unsigned long own_access(struct kunit *test, struct own_driver *own)
{
	unsigned long i, count = 0;

	guard(rwsem_read)(&own->mirror.lock);
	for (i = 0; i < OWN_PAGES; i++) {
		unsigned long *word;

		if (!own->table[i])
			continue;
		count++;
		word = kmap_local_page(hmm_pfn_to_page(own->table[i]));
		KUNIT_EXPECT_TRUE(test, !*word || *word == OWN_STAMP + i);
		*word = OWN_STAMP + i;
		kunmap_local(word);
	}
	return count;
}

static int own_zap_thread(void *arg)
{
	struct own_driver *own = arg;
	unsigned long i = 0;

	while (!kthread_should_stop()) {
		i = (i + 7) % OWN_PAGES;
		do_madvise(own->mm, own->addr + i * PAGE_SIZE, PAGE_SIZE, MADV_DONTNEED);
		if (i % 4 == 0)
			do_madvise(own->mm, own->addr, OWN_PAGES * PAGE_SIZE, MADV_DONTNEED);
		cond_resched();
	}
	return 0;
}

static void own_unregister(void *arg)
{
	struct own_driver *own = arg;

	hmm_mirror_unregister(&own->mirror);
}

static void own_stop(void *arg)
{
	struct own_driver *own = arg;

	kthread_stop(own->zapper);
}

static struct own_driver *own_new(struct kunit *test)
{
	struct own_driver *own = kunit_kzalloc(test, sizeof(*own), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, own);
	own->addr = kunit_vm_mmap(test, NULL, 0, OWN_PAGES * PAGE_SIZE, PROT_READ | PROT_WRITE,
				  MAP_ANONYMOUS | MAP_PRIVATE, 0);
	KUNIT_ASSERT_NE(test, 0, own->addr);
	own->mm = current->mm;
	own->mirror.ops = &own_ops;
	own->mirror.flags = HMM_MIRROR_OWN_TABLES;
	KUNIT_ASSERT_EQ(test, 0, hmm_mirror_register(&own->mirror, own->mm));
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, own_unregister, own));
	return own;
}

static void fault_and_lose(struct kunit *test)
{
	struct own_driver *own = own_new(test);

	KUNIT_EXPECT_EQ(test, 0, own_fault(own, 4, 8));
	KUNIT_EXPECT_EQ(test, 8, own_access(test, own));
	KUNIT_EXPECT_EQ(test, 0, do_madvise(own->mm, own->addr + 5 * PAGE_SIZE, PAGE_SIZE,
					    MADV_DONTNEED));
	KUNIT_EXPECT_EQ(test, 7, own_access(test, own));
	KUNIT_EXPECT_EQ(test, 0, hmm_fake_protect(own->addr, OWN_PAGES * PAGE_SIZE, PROT_READ));
	KUNIT_EXPECT_EQ(test, 0, own_access(test, own));
	KUNIT_EXPECT_EQ(test, -EPERM, own_fault(own, 0, 1));
	KUNIT_EXPECT_EQ(test, 0, vm_munmap(own->addr, OWN_PAGES * PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, -EFAULT, own_fault(own, 0, 1));
	KUNIT_EXPECT_EQ(test, 0, own->wrong);
}

static void fault_beside_zaps(struct kunit *test)
{
	struct own_driver *own = own_new(test);
	ktime_t end = ktime_add_ms(ktime_get(), MSEC_PER_SEC);
	unsigned long i, accesses = 0;

	own->zapper = kthread_run(own_zap_thread, own, "hmm_own_zap");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, own->zapper);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, own_stop, own));
	for (i = 0; i < 300 || ktime_before(ktime_get(), end); i++) {
		KUNIT_ASSERT_EQ(test, 0, own_fault(own, i % 8, 1 + i % 9));
		accesses += own_access(test, own);
	}
	kunit_release_action(test, own_stop, own);
	kunit_info(test, "%lu faults, %lu accesses, told %lu times", i, accesses, own->told);
	KUNIT_EXPECT_GT(test, accesses, 0);
	KUNIT_EXPECT_GT(test, own->told, 0);
	KUNIT_EXPECT_EQ(test, 0, own->wrong);
}

static struct kunit_case hmm_mirror_own_cases[] = {
	KUNIT_CASE(fault_and_lose),
	KUNIT_CASE_SLOW(fault_beside_zaps),
	{}
};

static struct kunit_suite hmm_mirror_own_suite = {
	.name = "hmm_mirror_own",
	.test_cases = hmm_mirror_own_cases,
};

kunit_test_suite(hmm_mirror_own_suite);
