// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of what the series changes in the MMU notifiers: refused
 * invalidations, those that nobody ended.
 */
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/sched.h>

#include <asm/unistd.h>

#include "hmm_test.h"

#define WATCHED_PAGES	16UL
/* What takes longer is taken for stuck. */
#define STUCK_MS	60000
/* For what must not come to pass to show that it does */
#define QUIET_MS	50

/* Somebody who may sleep for ever, in a thread of its own */
struct sleeper {
	int (*sleep)(struct sleeper *sleeper);
	struct hmm_range_test *t;
	int ret;
	struct completion done;
	struct task_struct *task;
};

static struct hmm_range_test *watch(struct kunit *test)
{
	unsigned long addr = hmm_test_mmap(test, WATCHED_PAGES * PAGE_SIZE, PAGE_SIZE);

	return hmm_test_watch(test, addr, WATCHED_PAGES);
}

/* Describe an invalidation from page @first to before page @last */
static void describe(struct hmm_range_test *t, struct mmu_notifier_range *range,
		     unsigned long first, unsigned long last)
{
	mmu_notifier_range_init(range, MMU_NOTIFY_CLEAR, 0, t->notifier.mm,
				t->addr + first * PAGE_SIZE, t->addr + last * PAGE_SIZE);
}

/* From here to end() nothing may abort the test: others know of @range. */
static void begin(struct hmm_range_test *t, struct mmu_notifier_range *range,
		  unsigned long first, unsigned long last)
{
	describe(t, range, first, last);
	mmu_notifier_invalidate_range_start(range);
}

static int begin_nonblock(struct hmm_range_test *t, struct mmu_notifier_range *range,
			  unsigned long first, unsigned long last)
{
	describe(t, range, first, last);
	return mmu_notifier_invalidate_range_start_nonblock(range);
}

static void end(struct mmu_notifier_range *range)
{
	mmu_notifier_invalidate_range_end(range);
}

static int sleep_read_begin(struct sleeper *sleeper)
{
	mmu_interval_read_begin(&sleeper->t->notifier);
	return 0;
}

static int sleeper_thread(void *arg)
{
	struct sleeper *sleeper = arg;

	allow_signal(SIGKILL);
	sleeper->ret = sleeper->sleep(sleeper);
	complete_all(&sleeper->done);
	return 0;
}

static void sleeper_start(struct kunit *test, struct sleeper *sleeper)
{
	struct task_struct *task;

	init_completion(&sleeper->done);
	task = kthread_create(sleeper_thread, sleeper, "hmm_notifier");
	KUNIT_EXPECT_NOT_ERR_OR_NULL(test, task);
	if (IS_ERR_OR_NULL(task))
		return;
	sleeper->task = get_task_struct(task);
	wake_up_process(task);
}

static bool sleeper_comes_back(struct sleeper *sleeper)
{
	return sleeper->task &&
	       wait_for_completion_timeout(&sleeper->done, msecs_to_jiffies(STUCK_MS));
}

/* Does it come to sleep, and stay so? */
static bool sleeper_stays(struct sleeper *sleeper)
{
	unsigned long until = jiffies + msecs_to_jiffies(STUCK_MS);

	while (sleeper->task && !completion_done(&sleeper->done) &&
	       time_before(jiffies, until) &&
	       !(READ_ONCE(sleeper->task->__state) & TASK_UNINTERRUPTIBLE))
		cond_resched();
	msleep(QUIET_MS);
	return sleeper->task && !completion_done(&sleeper->done);
}

/* With a last means of bringing it back: the end of an invalidation */
static void sleeper_expect_back(struct kunit *test, struct sleeper *sleeper,
				struct mmu_notifier_range *rescue)
{
	bool back = sleeper_comes_back(sleeper);

	KUNIT_EXPECT_TRUE(test, back);
	if (!back)
		end(rescue);
	if (!sleeper->task)
		return;
	kthread_stop(sleeper->task);
	put_task_struct(sleeper->task);
}

static void expect_readable(struct kunit *test, struct hmm_range_test *t,
			    struct mmu_notifier_range *rescue)
{
	struct sleeper reader = { .sleep = sleep_read_begin, .t = t };

	sleeper_start(test, &reader);
	sleeper_expect_back(test, &reader, rescue);
}

static int refuse(struct mmu_notifier *notifier, const struct mmu_notifier_range *range)
{
	return mmu_notifier_range_blockable(range) ? 0 : -EAGAIN;
}

static const struct mmu_notifier_ops refusing_ops = {
	.invalidate_range_start = refuse,
};

static void unregister(void *notifier)
{
	mmu_notifier_unregister(notifier, ((struct mmu_notifier *)notifier)->mm);
}

/* A notifier of the list, which is asked after those of the intervals */
static void register_refusing(struct kunit *test)
{
	struct mmu_notifier *notifier;

	notifier = kunit_kzalloc(test, sizeof(*notifier), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, notifier);
	notifier->ops = &refusing_ops;
	KUNIT_ASSERT_EQ(test, 0, mmu_notifier_register(notifier, current->mm));
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, unregister, notifier));
}

/* What a notifier refuses is over, though nobody ends it. */
static void refused(struct kunit *test)
{
	struct hmm_range_test *t = watch(test);
	struct mmu_notifier_range range, other;

	register_refusing(test);
	KUNIT_EXPECT_EQ(test, -EAGAIN, begin_nonblock(t, &range, 0, 4));
	KUNIT_EXPECT_EQ(test, 1, t->invalidations);
	expect_readable(test, t, &range);

	/* It has not been ended twice either. */
	begin(t, &other, 0, 4);
	end(&other);
	expect_readable(test, t, &range);
}

static bool interval_refuse(struct mmu_interval_notifier *notifier,
			    const struct mmu_notifier_range *range, unsigned long seq)
{
	mmu_interval_set_seq(notifier, seq);
	return mmu_notifier_range_blockable(range);
}

static const struct mmu_interval_notifier_ops interval_refusing_ops = {
	.invalidate = interval_refuse,
};

static void interval_remove(void *notifier)
{
	mmu_interval_notifier_remove(notifier);
}

static void interval_insert(struct kunit *test, struct mmu_interval_notifier *notifier,
			    unsigned long addr, const struct mmu_interval_notifier_ops *ops)
{
	KUNIT_ASSERT_EQ(test, 0, mmu_interval_notifier_insert(notifier, current->mm, addr,
							      PAGE_SIZE, ops));
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, interval_remove, notifier));
}

static void refused_by_interval(struct kunit *test)
{
	struct hmm_range_test *t = watch(test);
	struct mmu_interval_notifier *notifier;
	struct mmu_notifier_range range;

	notifier = kunit_kzalloc(test, sizeof(*notifier), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, notifier);
	interval_insert(test, notifier, t->addr, &interval_refusing_ops);
	register_refusing(test);
	KUNIT_EXPECT_EQ(test, -EAGAIN, begin_nonblock(t, &range, 0, 4));
	expect_readable(test, t, &range);
}

/* ... and ends nothing but itself. */
static void refused_within_another(struct kunit *test)
{
	struct hmm_range_test *t = watch(test);
	struct sleeper reader = { .sleep = sleep_read_begin, .t = t };
	struct mmu_notifier_range outer, range;

	register_refusing(test);
	begin(t, &outer, 0, 8);
	KUNIT_EXPECT_EQ(test, -EAGAIN, begin_nonblock(t, &range, 2, 4));
	sleeper_start(test, &reader);
	KUNIT_EXPECT_TRUE(test, sleeper_stays(&reader));
	end(&outer);
	sleeper_expect_back(test, &reader, &range);
}

/* A mapping there is for the privileged, but it is not another kind of mapping. */
static void protect_address_zero(struct kunit *test)
{
	const unsigned long size = 2 * PAGE_SIZE;
	struct mmu_notifier_range rescue;
	struct hmm_range_test *t;

	/* For a mm */
	hmm_test_mmap(test, PAGE_SIZE, PAGE_SIZE);
	KUNIT_ASSERT_EQ(test, 0, vm_mmap(NULL, 0, size, PROT_READ | PROT_WRITE,
					 MAP_ANONYMOUS | MAP_PRIVATE | MAP_FIXED, 0));
	hmm_test_write(test, PAGE_SIZE);
	t = hmm_test_watch(test, 0, 2);
	KUNIT_EXPECT_EQ(test, 0, hmm_test_syscall(__NR_mprotect, 0, size, PROT_READ, 0, 0));
	KUNIT_EXPECT_EQ(test, 1, t->invalidations);
	describe(t, &rescue, 0, 2);
	expect_readable(test, t, &rescue);
}

static struct kunit_case hmm_notifier_cases[] = {
	KUNIT_CASE(refused),
	KUNIT_CASE(refused_by_interval),
	KUNIT_CASE(refused_within_another),
	KUNIT_CASE(protect_address_zero),
	{}
};

static struct kunit_suite hmm_notifier_suite = {
	.name = "hmm_notifier",
	.test_cases = hmm_notifier_cases,
};

kunit_test_suite(hmm_notifier_suite);
