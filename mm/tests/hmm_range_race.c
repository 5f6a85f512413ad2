// SPDX-License-Identifier: GPL-2.0
/*
 * Walks concurrent with threads that change the range
 *
 * The test's thread acts as the device. It walks, takes the driver's lock, checks whether
 * the walk is still valid and, if so, reads and writes the pages while no invalidation
 * can pass. Each page contains a tag made of its address, or zeroes when it is new. So
 * the device detects a page of another address and a freed page, and the CPU's thread
 * detects a device that has written to such a page.
 */
#include <linux/highmem.h>
#include <linux/huge_mm.h>
#include <linux/kthread.h>
#include <linux/migrate.h>
#include <linux/mman.h>
#include <linux/pagemap.h>
#include <linux/prandom.h>
#include <linux/rmap.h>
#include <linux/swap.h>
#include <linux/uaccess.h>

#include <asm/unistd.h>

#include "../internal.h"
#include "hmm_test.h"

#define RACE_SIZE	(4 * PMD_SIZE)
#define RACE_MS		300
/* A thread with fewer rounds continues after that time, */
#define RACE_ROUNDS	20
/* until it is considered stuck. */
#define RACE_STUCK_MS	60000

struct hmm_race;

/**
 * struct hmm_racer - a way to change the range
 * @name: name of the change
 * @act: makes the change once at @addr; returns whether it worked
 * @huge: changes 2 MiB at a time, otherwise a few pages
 * @unmaps: a concurrent walk may find no VMA
 * @protects: a concurrent walk may find a read-only VMA
 */
struct hmm_racer {
	const char *name;
	bool (*act)(struct hmm_race *race, unsigned long addr, unsigned long size);
	bool huge;
	bool unmaps;
	bool protects;
};

/**
 * struct hmm_race - one race
 * @mm: the mm
 * @addr: the range of RACE_SIZE bytes
 * @aside: an area of the same size elsewhere
 * @seed: seed of all random choices
 * @unmaps: one of the racers unmaps
 * @protects: one of the racers protects
 * @wrong: how often the CPU found a wrong tag, or lost a part
 */
struct hmm_race {
	struct mm_struct *mm;
	unsigned long addr;
	unsigned long aside;
	u32 seed;
	bool unmaps;
	bool protects;
	atomic_t wrong;
};

struct hmm_race_thread {
	struct hmm_race *race;
	const struct hmm_racer *racer;
	struct task_struct *task;
	struct rnd_state rnd;
	/* Number of successful changes */
	unsigned long rounds;
};

static unsigned long race_tag(unsigned long addr)
{
	return addr >> PAGE_SHIFT | 1UL << 63;
}

static bool race_tag_is_right(unsigned long tag, unsigned long addr)
{
	return !tag || tag == race_tag(addr);
}

static bool race_touch(struct hmm_race *race, unsigned long addr, unsigned long size)
{
	unsigned long tag;

	/* Either may fail because of the other threads. */
	if (!get_user(tag, (unsigned long __user *)addr) &&
	    !race_tag_is_right(tag, addr))
		atomic_inc(&race->wrong);
	return !put_user(race_tag(addr), (unsigned long __user *)addr);
}

static bool race_dontneed(struct hmm_race *race, unsigned long addr, unsigned long size)
{
	return !do_madvise(race->mm, addr, size, MADV_DONTNEED);
}

static bool race_collapse(struct hmm_race *race, unsigned long addr, unsigned long size)
{
	return !do_madvise(race->mm, addr, size, MADV_COLLAPSE);
}

static struct folio *race_get_folio(unsigned long addr)
{
	struct page *page;

	return get_user_pages_fast(addr, 1, 0, &page) == 1 ? page_folio(page) : NULL;
}

/* Collapse first, so that there is a large folio to split. */
static bool race_split(struct hmm_race *race, unsigned long addr, unsigned long size)
{
	struct folio *folio;
	bool done = false;

	race_collapse(race, addr, size);
	folio = race_get_folio(addr);
	if (!folio)
		return false;
	if (folio_test_anon(folio) && folio_test_large(folio) && folio_trylock(folio)) {
		done = !split_folio(folio);
		folio_unlock(folio);
	}
	folio_put(folio);
	return done;
}

static bool race_remap(struct hmm_race *race, unsigned long addr, unsigned long size)
{
	vm_munmap(addr, size);
	cond_resched();
	return vm_mmap(NULL, addr, size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, 0) == addr;
}

/* Move the pages away and back, so that each page is only visible at its own address. */
static bool race_move(struct hmm_race *race, unsigned long addr, unsigned long size)
{
	unsigned long aside = addr - race->addr + race->aside;

	const unsigned long flags = MREMAP_MAYMOVE | MREMAP_FIXED;

	return hmm_test_syscall(__NR_mremap, addr, size, size, flags, aside) == aside &&
	       hmm_test_syscall(__NR_mremap, aside, size, size, flags, addr) == addr;
}

static bool race_protect(struct hmm_race *race, unsigned long addr, unsigned long size)
{
	long ret = hmm_test_syscall(__NR_mprotect, addr, size, PROT_READ, 0, 0);

	return !hmm_test_syscall(__NR_mprotect, addr, size, PROT_READ | PROT_WRITE, 0, 0) &&
	       !ret;
}

static bool race_migrate(struct hmm_race *race, unsigned long addr, unsigned long size)
{
	struct migration_target_control target = {
		.nid = NUMA_NO_NODE,
		.gfp_mask = GFP_HIGHUSER_MOVABLE,
		.reason = MR_SYSCALL,
	};
	struct folio *folio = race_get_folio(addr);
	LIST_HEAD(folios);
	bool done;

	if (!folio)
		return false;
	lru_add_drain_all();
	done = isolate_folio_to_list(folio, &folios);
	folio_put(folio);
	if (migrate_pages(&folios, alloc_migration_target, NULL,
			  (unsigned long)&target, MIGRATE_SYNC, MR_SYSCALL, NULL)) {
		putback_movable_pages(&folios);
		done = false;
	}
	return done;
}

static bool race_exclusive(struct hmm_race *race, unsigned long addr, unsigned long size)
{
	struct page *page = NULL;

	mmap_read_lock(race->mm);
	make_device_exclusive_range(race->mm, addr, addr + PAGE_SIZE, &page, race);
	mmap_read_unlock(race->mm);
	if (!page)
		return false;
	unlock_page(page);
	put_page(page);
	return true;
}

static const struct hmm_racer racers[] = {
	{ "dontneed", race_dontneed },
	{ "dontneed_huge", race_dontneed, .huge = true },
	{ "collapse", race_collapse, .huge = true },
	{ "split", race_split, .huge = true },
	{ "remap", race_remap, .unmaps = true },
	{ "remap_huge", race_remap, .huge = true, .unmaps = true },
	{ "move", race_move, .unmaps = true },
	{ "move_huge", race_move, .huge = true, .unmaps = true },
	{ "protect", race_protect, .protects = true },
	{ "migrate", race_migrate },
	/* All racers above */
	{ "all_of_them" },
	/*
	 * Not together with migration: try_to_migrate_one() of 6.12 reads the swap entry
	 * of an exclusive page as a pte.
	 */
	{ "exclusive", race_exclusive },
};

static const struct hmm_racer cpu = { "cpu", race_touch };

static int race_thread(void *arg)
{
	struct hmm_race_thread *thread = arg;
	struct hmm_race *race = thread->race;
	unsigned long addr, size, at;

	kthread_use_mm(race->mm);
	while (!kthread_should_stop()) {
		size = PMD_SIZE;
		at = prandom_u32_state(&thread->rnd) % RACE_SIZE;
		addr = ALIGN_DOWN(race->addr + at, PMD_SIZE);
		if (!thread->racer->huge) {
			size = PAGE_SIZE << at % 5;
			addr = ALIGN_DOWN(race->addr + at, size);
		}
		if (thread->racer->act(race, addr, size))
			WRITE_ONCE(thread->rounds, thread->rounds + 1);
		cond_resched();
	}
	kthread_unuse_mm(race->mm);
	return 0;
}

static void race_start(struct kunit *test, struct hmm_race *race,
		       struct hmm_race_thread *thread, const struct hmm_racer *racer)
{
	thread->race = race;
	thread->racer = racer;
	race->unmaps |= racer->unmaps;
	race->protects |= racer->protects;
	/* A sequence of its own, derived from the first seed */
	prandom_seed_state(&thread->rnd, ++race->seed);
	thread->task = kthread_run(race_thread, thread, "hmm_race_%s", racer->name);
	KUNIT_EXPECT_NOT_ERR_OR_NULL(test, thread->task);
}

/*
 * The device accesses the pages, with no invalidation under way. Return the number of
 * errors.
 */
static unsigned long race_device_access(const struct hmm_race *race,
					const struct hmm_range *range)
{
	unsigned long addr, entry, *tag, wrong = 0, i = 0;
	const unsigned long requested = range->default_flags;

	for (addr = range->start; addr < range->end; addr += PAGE_SIZE) {
		entry = range->hmm_pfns[i++];
		if (requested & ~entry || (entry & HMM_PFN_ERROR && !race->unmaps)) {
			wrong++;
			continue;
		}
		if (!(entry & HMM_PFN_VALID))
			continue;
		tag = kmap_local_page(hmm_pfn_to_page(entry));
		wrong += !race_tag_is_right(READ_ONCE(*tag), addr);
		if (requested & HMM_PFN_REQ_WRITE)
			WRITE_ONCE(*tag, race_tag(addr));
		kunmap_local(tag);
	}
	return wrong;
}

static bool race_walk_may_return(const struct hmm_race *race, int ret)
{
	return ret == -EBUSY || (ret == -EFAULT && race->unmaps) ||
	       (ret == -EPERM && race->protects);
}

/* Walk a random chunk. Return whether the device could access it. */
static bool race_walk(struct kunit *test, const struct hmm_race *race,
		      struct hmm_range_test *t, struct rnd_state *rnd)
{
	static const unsigned long requests[] = {
		0, HMM_PFN_REQ_FAULT, HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE,
	};
	unsigned long first = prandom_u32_state(rnd) % t->npages;
	unsigned long most = min(t->npages - first, 1UL << prandom_u32_state(rnd) % 11);
	unsigned long wrong = 0;
	bool held;
	int ret;

	t->range.start = t->addr + (first << PAGE_SHIFT);
	t->range.end = t->range.start + (most << PAGE_SHIFT);
	ret = hmm_test_fault(t, requests[prandom_u32_state(rnd) % ARRAY_SIZE(requests)]);
	if (ret) {
		if (!race_walk_may_return(race, ret))
			KUNIT_FAIL(test, "the walk returned %d", ret);
		return false;
	}

	mutex_lock(&t->lock);
	held = !mmu_interval_read_retry(&t->notifier, t->range.notifier_seq);
	if (held)
		wrong = race_device_access(race, &t->range);
	mutex_unlock(&t->lock);
	KUNIT_EXPECT_EQ(test, 0, wrong);
	return held;
}

static void race_snapshot(struct kunit *test, struct hmm_range_test *t)
{
	unsigned long i, entry, wrong = 0;
	int ret;

	ret = hmm_test_walk(t, hmm_range_snapshot);
	if (ret) {
		KUNIT_EXPECT_EQ(test, -EBUSY, ret);
		return;
	}
	for (i = 0; i < (t->range.end - t->range.start) >> PAGE_SHIFT; i++) {
		entry = t->range.hmm_pfns[i];
		if (entry & HMM_PFN_VALID)
			wrong += entry & (HMM_PFN_ERROR | HMM_PFN_EMPTY | HMM_PFN_SPECIAL);
		else
			wrong += !!(entry & ~HMM_PFN_FLAGS);
	}
	KUNIT_EXPECT_EQ(test, 0, wrong);
}

/* Many racers can disturb each other, so not all of them need to succeed. */
static bool race_all_came_round(const struct hmm_race_thread *threads, unsigned int n)
{
	while (n <= 2 && n--)
		if (READ_ONCE(threads[n].rounds) < RACE_ROUNDS)
			return false;
	return true;
}

/* The device never accesses a wrong page while other threads change the range. */
void hmm_range_race(struct kunit *test)
{
	const struct hmm_racer *racer = test->param_value;
	struct hmm_race_thread threads[ARRAY_SIZE(racers)] = {};
	unsigned long good = 0, begin, n = 0;
	struct hmm_race race = {};
	struct hmm_range_test *t;
	struct rnd_state rnd;

	race.seed = get_random_u32();
	kunit_info(test, "seed %u", race.seed);
	prandom_seed_state(&rnd, race.seed);
	race.addr = kunit_vm_mmap(test, NULL, 0, 2 * RACE_SIZE + PMD_SIZE,
				  PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, 0);
	KUNIT_ASSERT_NE(test, 0, race.addr);
	KUNIT_ASSERT_LT(test, race.addr, TASK_SIZE);
	race.addr = ALIGN(race.addr, PMD_SIZE);
	race.aside = race.addr + RACE_SIZE;
	race.mm = current->mm;
	t = hmm_test_watch(test, race.addr, RACE_SIZE >> PAGE_SHIFT);

	race_start(test, &race, &threads[n++], &cpu);
	if (racer->act)
		race_start(test, &race, &threads[n++], racer);
	else
		for (racer = racers; racer->act; racer++)
			race_start(test, &race, &threads[n++], racer);

	begin = jiffies;
	while (test->status != KUNIT_FAILURE &&
	       (time_before(jiffies, begin + msecs_to_jiffies(RACE_MS * n)) ||
		good < RACE_ROUNDS || !race_all_came_round(threads, n))) {
		if (time_after(jiffies, begin + msecs_to_jiffies(RACE_STUCK_MS))) {
			KUNIT_FAIL(test, "stuck: %lu good walks", good);
			break;
		}
		good += race_walk(test, &race, t, &rnd);
		race_snapshot(test, t);
	}

	while (n--) {
		if (IS_ERR_OR_NULL(threads[n].task))
			continue;
		kthread_stop(threads[n].task);
		kunit_info(test, "%s: %lu rounds", threads[n].racer->name,
			   threads[n].rounds);
	}
	kunit_info(test, "%lu good walks", good);
	KUNIT_EXPECT_EQ(test, 0, atomic_read(&race.wrong));
}

const void *hmm_range_race_gen_params(const void *prev, char *desc)
{
	const struct hmm_racer *racer = prev;

	racer = racer ? racer + 1 : racers;
	if (racer == racers + ARRAY_SIZE(racers))
		return NULL;
	strscpy(desc, racer->name, KUNIT_PARAM_DESC_SIZE);
	return racer;
}
