// SPDX-License-Identifier: GPL-2.0
/*
 * Drivers with page tables of their own, and concurrent threads that zap pages. Each
 * driver faults like a driver of 6.12, with a mirror instead of its interval notifier:
 * nouveau_range_fault() and nouveau_atomic_range_fault(), amdgpu_hmm_range_get_pages(),
 * xe_hmm_userptr_populate_range(), and ib_umem_odp_map_dma_and_lock().
 */
#include <linux/highmem.h>
#include <linux/kthread.h>
#include <linux/mman.h>
#include <linux/pagemap.h>
#include <linux/sched/mm.h>
#include <linux/uaccess.h>

#include "hmm_mirror_test.h"

#define OWN_PAGES	16
#define OWN_STAMP	0x6f776e00000000UL

/**
 * struct own_driver - the driver and its device
 * @mirror: the mirror
 * @mm: the address space
 * @addr: address of the first page
 * @table: what the device may access, see &enum hmm_pfn_flags; protected by mirror.lock
 * @invalidations: number of invalidations that the driver got
 * @collided: how often own_atomic() got a page and then collided
 * @wrong: number of updates that must not occur
 * @userptr: the range that own_userptr() keeps between calls
 * @userptr_pfns: the result of its walk
 * @userptr_begun: hmm_range_begin() has succeeded for it
 * @zapper: the thread that zaps pages
 */
struct own_driver {
	struct hmm_mirror mirror;
	struct mm_struct *mm;
	unsigned long addr;
	unsigned long table[OWN_PAGES];
	unsigned long invalidations;
	unsigned long collided;
	unsigned long wrong;
	struct hmm_range userptr;
	unsigned long userptr_pfns[OWN_PAGES];
	bool userptr_begun;
	struct task_struct *zapper;
};

static int own_sync(struct hmm_mirror *mirror, const struct hmm_update *update)
{
	struct own_driver *own = container_of(mirror, struct own_driver, mirror);
	unsigned long i;

	lockdep_assert_held_write(&mirror->lock);
	own->invalidations++;
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

/* nouveau_range_fault() */
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

/* nouveau_atomic_range_fault(): the CPU loses the page until its next access */
static int own_atomic(struct own_driver *own, unsigned long first, unsigned long npages)
{
	unsigned long start = own->addr + first * PAGE_SIZE;
	struct hmm_range range = { .mirror = &own->mirror };
	struct page *page;
	bool retry;
	int ret;

	do {
		range.start = start;
		range.end = start + PAGE_SIZE;
		ret = hmm_range_begin(&range);
		if (ret)
			return ret;
		page = NULL;
		mmap_read_lock(own->mm);
		ret = hmm_range_make_exclusive(&range, start, start + PAGE_SIZE, &page);
		mmap_read_unlock(own->mm);

		down_read(&own->mirror.lock);
		retry = hmm_range_retry(&range);
		if (page && !retry)
			own->table[first] = page_to_pfn(page) | HMM_PFN_VALID | HMM_PFN_WRITE;
		up_read(&own->mirror.lock);
		if (page) {
			unlock_page(page);
			put_page(page);
		}
		hmm_range_end(&range);
		own->collided += page && retry;
	} while (ret >= 0 && (retry || !page));
	return min(ret, 0);
}

/* amdgpu_hmm_range_get_pages(): one range, whose members change to walk it in chunks */
static int own_chunks(struct own_driver *own, unsigned long first, unsigned long npages)
{
	unsigned long pfns[OWN_PAGES], start = own->addr + first * PAGE_SIZE;
	unsigned long end = start + npages * PAGE_SIZE;
	struct hmm_range range = {
		.mirror = &own->mirror,
		.default_flags = HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE,
	};
	bool retry;
	int ret;

	do {
		range.start = start;
		range.end = end;
		range.hmm_pfns = pfns;
		ret = hmm_range_begin(&range);
		if (ret)
			return ret;
		mmap_read_lock(own->mm);
		do {
			range.end = min(range.start + 2 * PAGE_SIZE, end);
			ret = hmm_range_fault(&range);
			range.hmm_pfns += 2;
			range.start = range.end;
		} while (!ret && range.end < end);
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
 * xe_hmm_userptr_populate_range(): keep the result of the walk, and call
 * hmm_range_retry() before each use. The range does not end before it has collided.
 */
static int own_userptr(struct own_driver *own, unsigned long first, unsigned long npages)
{
	struct hmm_range *range = &own->userptr;
	bool retry = true;
	int ret = 0;

	for (;;) {
		down_read(&own->mirror.lock);
		retry = !own->userptr_begun || hmm_range_retry(range);
		if (!retry)
			memcpy(own->table + first, own->userptr_pfns + first,
			       npages * sizeof(*own->table));
		up_read(&own->mirror.lock);
		if (!retry)
			return 0;
		if (own->userptr_begun)
			hmm_range_end(range);
		own->userptr_begun = false;
		range->mirror = &own->mirror;
		range->start = own->addr;
		range->end = own->addr + OWN_PAGES * PAGE_SIZE;
		range->hmm_pfns = own->userptr_pfns;
		range->default_flags = HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE;
		ret = hmm_range_begin(range);
		if (ret)
			return ret;
		mmap_read_lock(own->mm);
		ret = hmm_range_fault(range);
		mmap_read_unlock(own->mm);
		if (ret) {
			hmm_range_end(range);
			if (ret != -EBUSY)
				return ret;
			continue;
		}
		own->userptr_begun = true;
	}
}

/* ib_umem_odp_map_dma_and_lock(): on success, return with the lock held */
static int own_map_and_lock(struct own_driver *own, unsigned long first,
			    unsigned long npages)
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

	for (;;) {
		ret = hmm_range_begin(&range);
		if (ret)
			return ret;
		mmap_read_lock(own->mm);
		ret = hmm_range_fault(&range);
		mmap_read_unlock(own->mm);
		down_read(&own->mirror.lock);
		retry = ret || hmm_range_retry(&range);
		hmm_range_end(&range);
		if (!retry) {
			memcpy(own->table + first, pfns, npages * sizeof(*pfns));
			return 0;
		}
		up_read(&own->mirror.lock);
		if (ret && ret != -EBUSY)
			return ret;
	}
}

static int own_map(struct own_driver *own, unsigned long first, unsigned long npages)
{
	int ret = own_map_and_lock(own, first, npages);

	if (!ret)
		up_read(&own->mirror.lock);
	return ret;
}

/*
 * Access each page that the device may access. It must be memory of the process. A page
 * that was freed would be poisoned, or have contents of another owner. Return the number
 * of pages.
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

static void own_zap(struct own_driver *own, unsigned long i)
{
	i %= OWN_PAGES;
	do_madvise(own->mm, own->addr + i * PAGE_SIZE, PAGE_SIZE, MADV_DONTNEED);
	if (i % 4 == 0)
		do_madvise(own->mm, own->addr, OWN_PAGES * PAGE_SIZE, MADV_DONTNEED);
}

/*
 * These drivers only make progress in a pause between zaps, so pause as long as the zaps
 * took.
 */
static int own_zap_thread(void *arg)
{
	struct own_driver *own = arg;
	unsigned long begin, i = 0;

	while (!kthread_should_stop()) {
		begin = jiffies;
		do {
			own_zap(own, i);
			i += 7;
			cond_resched();
		} while (time_before(jiffies, begin + 2));
		schedule_timeout_idle(jiffies - begin);
	}
	return 0;
}

static void own_unregister(void *arg)
{
	struct own_driver *own = arg;

	if (own->userptr_begun)
		hmm_range_end(&own->userptr);
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
	own->mirror.dev_private_owner = own;
	KUNIT_ASSERT_EQ(test, 0, hmm_mirror_register(&own->mirror, own->mm));
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, own_unregister, own));
	return own;
}

/*
 * The device loses pages on MADV_DONTNEED, mprotect() and munmap(), and can fault them in
 * again.
 */
static void invalidations_reach_own_tables(struct kunit *test)
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

/*
 * hmm_range_make_exclusive() does not collide with its own range if nothing else changes
 * the page.
 */
static void atomic_does_not_collide_with_itself(struct kunit *test)
{
	struct own_driver *own = own_new(test);
	struct hmm_fake *other = hmm_fake_new(test, 0);
	unsigned long word, invalidations;

	KUNIT_ASSERT_EQ(test, 0, put_user(OWN_STAMP, (unsigned long __user *)own->addr));
	hmm_fake_fault_all(other, own->addr, 1, HMM_FAULT_WRITE);
	KUNIT_EXPECT_EQ(test, 0, own_atomic(own, 0, 1));
	KUNIT_EXPECT_EQ(test, 0, own->collided);
	KUNIT_EXPECT_EQ(test, 1, own_access(test, own));
	/* Other mirrors have lost the page. A CPU access revokes it from the device. */
	KUNIT_EXPECT_EQ(test, 0, hmm_fake_valid(other, own->addr, 1));
	invalidations = own->invalidations;
	KUNIT_EXPECT_EQ(test, 0, get_user(word, (unsigned long __user *)own->addr));
	KUNIT_EXPECT_EQ(test, OWN_STAMP, word);
	KUNIT_EXPECT_EQ(test, 0, own_access(test, own));
	KUNIT_EXPECT_GT(test, own->invalidations, invalidations);
}

/* hmm_range_make_exclusive() fails outside of its range and in holes. */
static void atomic_errors(struct kunit *test)
{
	struct own_driver *own = own_new(test);
	struct page *pages[3] = {};
	struct hmm_range range = {
		.mirror = &own->mirror,
		.start = own->addr + PAGE_SIZE,
		.end = own->addr + 3 * PAGE_SIZE,
	};
	unsigned long start = range.start, end = range.end;

	KUNIT_ASSERT_EQ(test, 0, hmm_range_begin(&range));
	mmap_read_lock(own->mm);
	KUNIT_EXPECT_EQ(test, -EINVAL, hmm_range_make_exclusive(&range, start, start, pages));
	KUNIT_EXPECT_EQ(test, -EINVAL, hmm_range_make_exclusive(&range, start + 1, end, pages));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			hmm_range_make_exclusive(&range, start - PAGE_SIZE, end, pages));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			hmm_range_make_exclusive(&range, start, end + PAGE_SIZE, pages));
	mmap_read_unlock(own->mm);
	hmm_range_end(&range);
	KUNIT_EXPECT_EQ(test, 0, vm_munmap(own->addr, OWN_PAGES * PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, -EFAULT, own_atomic(own, 0, 1));
}

struct own_kind {
	const char *name;
	int (*fault)(struct own_driver *own, unsigned long first, unsigned long npages);
};

static const struct own_kind own_kinds[] = {
	{ "nouveau",		own_fault },
	{ "nouveau_atomic",	own_atomic },
	{ "amdgpu_chunks",	own_chunks },
	{ "xe_userptr",		own_userptr },
	{ "umem_odp",		own_map },
};

KUNIT_ARRAY_PARAM_DESC(own_kinds, own_kinds, name);

/* The device accesses only current pages while another thread zaps them. */
static void faults_during_zaps(struct kunit *test)
{
	const struct own_kind *kind = test->param_value;
	struct own_driver *own = own_new(test);
	ktime_t end = ktime_add_ms(ktime_get(), MSEC_PER_SEC);
	unsigned long i, accesses = 0;

	own->zapper = kthread_run(own_zap_thread, own, "hmm_own_zap");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, own->zapper);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, own_stop, own));
	for (i = 0; i < 50 || ktime_before(ktime_get(), end); i++) {
		KUNIT_ASSERT_EQ(test, 0, kind->fault(own, i % 8, 1 + i % 9));
		accesses += own_access(test, own);
	}
	kunit_release_action(test, own_stop, own);
	kunit_info(test, "%lu faults, %lu accesses, %lu invals", i, accesses, own->invalidations);
	KUNIT_EXPECT_GT(test, accesses, 0);
	KUNIT_EXPECT_GT(test, own->invalidations, 0);
	KUNIT_EXPECT_EQ(test, 0, own->wrong);
}

static struct kunit_case hmm_mirror_own_cases[] = {
	KUNIT_CASE(invalidations_reach_own_tables),
	KUNIT_CASE(atomic_does_not_collide_with_itself),
	KUNIT_CASE(atomic_errors),
	KUNIT_CASE_PARAM_ATTR(faults_during_zaps, own_kinds_gen_params,
			      { .speed = KUNIT_SPEED_SLOW }),
	{}
};

static struct kunit_suite hmm_mirror_own_suite = {
	.name = "hmm_mirror_own",
	.test_cases = hmm_mirror_own_cases,
};

kunit_test_suite(hmm_mirror_own_suite);
