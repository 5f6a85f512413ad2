// SPDX-License-Identifier: GPL-2.0
/*
 * hmm_mirror_fault() ends during storms of changes to its range.
 */
#include <linux/delay.h>
#include <linux/file.h>
#include <linux/kthread.h>
#include <linux/mman.h>
#include <linux/pagemap.h>
#include <linux/rmap.h>
#include <linux/shmem_fs.h>

#include "hmm_mirror_test.h"

/* Two threads that change a range repeatedly */
struct storm;

struct storm_kind {
	const char *name;
	void (*act)(struct storm *storm);
	bool unlocked;
};

struct storm {
	struct hmm_fake *fake;
	struct mm_struct *mm;
	unsigned long addr;
	struct file *file;
	const struct storm_kind *kind;
	struct task_struct *tasks[2];
	atomic_t rounds;
};

#define STORM_PAGES	16

static void storm_dontneed(struct storm *storm)
{
	do_madvise(storm->mm, storm->addr, STORM_PAGES << PAGE_SHIFT, MADV_DONTNEED);
}

static void storm_protect(struct storm *storm)
{
	kthread_use_mm(storm->mm);
	hmm_fake_protect(storm->addr, STORM_PAGES << PAGE_SHIFT, PROT_READ);
	hmm_fake_protect(storm->addr, STORM_PAGES << PAGE_SHIFT, PROT_READ | PROT_WRITE);
	kthread_unuse_mm(storm->mm);
}

static void storm_rmap(struct storm *storm)
{
	unsigned long i;

	for (i = 0; i < STORM_PAGES; i++) {
		struct folio *folio = filemap_lock_folio(storm->file->f_mapping, i);

		if (IS_ERR(folio))
			continue;
		try_to_unmap(folio, 0);
		folio_unlock(folio);
		folio_put(folio);
	}
}

static void storm_truncation(struct storm *storm)
{
	unmap_mapping_range(storm->file->f_mapping, 0, 0, 1);
}

static const struct storm_kind storm_kinds[] = {
	{ "dontneed", storm_dontneed },
	{ "protect", storm_protect },
	{ "rmap", storm_rmap },
	{ "truncation", storm_truncation, .unlocked = true },
};

static int storm_thread(void *arg)
{
	struct storm *storm = arg;

	while (!kthread_should_stop()) {
		ktime_t began = ktime_get();

		storm->kind->act(storm);
		atomic_inc(&storm->rounds);
		/*
		 * Nothing excludes this thread, so it pauses for as long as its action
		 * took.
		 */
		if (storm->kind->unlocked)
			fsleep(max_t(s64, 1, ktime_us_delta(ktime_get(), began)));
		cond_resched();
	}
	return 0;
}

static void storm_stop(void *arg)
{
	struct storm *storm = arg;

	kthread_stop(storm->tasks[0]);
	kthread_stop(storm->tasks[1]);
	fput(storm->file);
}

static struct storm *storm_start(struct hmm_fake *fake, const struct storm_kind *kind)
{
	struct kunit *test = fake->test;
	struct storm *storm = kunit_kzalloc(test, sizeof(*storm), GFP_KERNEL);
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, storm);
	storm->fake = fake;
	storm->mm = current->mm;
	storm->kind = kind;
	storm->file = shmem_file_setup("hmm_mirror_storm", STORM_PAGES << PAGE_SHIFT, 0);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, storm->file);
	storm->addr = hmm_fake_map_file(fake, SZ_512M, STORM_PAGES << PAGE_SHIFT, storm->file,
					MAP_SHARED);
	hmm_fake_fault_all(fake, storm->addr, STORM_PAGES, HMM_FAULT_WRITE);
	for (i = 0; i < ARRAY_SIZE(storm->tasks); i++) {
		storm->tasks[i] = kthread_run(storm_thread, storm, "hmm_storm_%u", i);
		KUNIT_ASSERT_NOT_ERR_OR_NULL(test, storm->tasks[i]);
	}
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, storm_stop, storm));
	return storm;
}

/*
 * Every fault ends during a storm of changes. The number of collisions is bounded, unless
 * nothing can exclude the storm.
 */
static void faults_end_in_storm(struct kunit *test)
{
	const struct storm_kind *kind = test->param_value;
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	struct storm *storm = storm_start(fake, kind);
	struct hmm_access access;
	ktime_t end = ktime_add_ms(ktime_get(), MSEC_PER_SEC);
	unsigned long i, before, worst = 0;

	for (i = 0; i < 50 || ktime_before(ktime_get(), end); i++) {
		before = hmm_fake_stats(fake).collisions;
		KUNIT_ASSERT_EQ(test, 1, hmm_fake_fault(fake, AT(storm->addr, i % STORM_PAGES),
							1, HMM_FAULT_READ));
		worst = max(worst, hmm_fake_stats(fake).collisions - before);
		/* An access keeps mirrored pages valid. */
		KUNIT_ASSERT_GT(test, hmm_access_begin(&access, &fake->mirror, storm->addr,
						       AT(storm->addr, STORM_PAGES),
						       HMM_FAULT_READ, NULL), 0);
		KUNIT_EXPECT_EQ(test, 1, hmm_fake_valid(fake, storm->addr, 1));
		hmm_access_end(&access);
		KUNIT_ASSERT_EQ(test, STORM_PAGES, hmm_fake_fault(fake, storm->addr, STORM_PAGES,
								  HMM_FAULT_READ));
	}
	kunit_info(test, "%s: %d rounds, %lu faults, %lu collisions, %lu at most, progress %lu",
		   kind->name, atomic_read(&storm->rounds), 2 * i, hmm_fake_stats(fake).collisions,
		   worst, hmm_fake_stats(fake).slow_path);
	/*
	 * The slow path begins after HMM_FAULT_COLLISIONS_MAX collisions and takes as
	 * many steps. It fails if the reverse mapping wins after each CPU fault. On a
	 * loaded machine this happens once in some hundred times, so it does not happen
	 * twice in a row.
	 */
	if (!kind->unlocked)
		KUNIT_EXPECT_LE(test, worst, 3 * HMM_FAULT_COLLISIONS_MAX);
	kunit_release_action(test, storm_stop, storm);
}

KUNIT_ARRAY_PARAM_DESC(storms, storm_kinds, name);

static struct kunit_case hmm_mirror_storm_cases[] = {
	KUNIT_CASE_PARAM_ATTR(faults_end_in_storm, storms_gen_params,
			      { .speed = KUNIT_SPEED_SLOW }),
	{}
};

static struct kunit_suite hmm_mirror_storm_suite = {
	.name = "hmm_mirror_storm",
	.test_cases = hmm_mirror_storm_cases,
};

kunit_test_suite(hmm_mirror_storm_suite);
