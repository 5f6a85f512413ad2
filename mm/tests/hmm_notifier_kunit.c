// SPDX-License-Identifier: GPL-2.0
/*
 * What the series changes in the MMU notifiers: refused invalidations, invalidations that
 * are never ended, the list of active invalidations, and the event of fork()
 */
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/pagemap.h>
#include <linux/random.h>
#include <linux/rmap.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/shmem_fs.h>

#include <asm/unistd.h>

#include "hmm_test.h"

#define WATCHED_PAGES	16UL
/* A thread that takes longer than this is stuck. */
#define STUCK_MS	60000
/* Wait for so long to check that a thread stays asleep. */
#define QUIET_MS	50
#define RACE_MS		300
#define RACE_ROUNDS	20

/* A thread that may sleep forever */
struct sleeper {
	int (*sleep)(struct sleeper *sleeper);
	struct hmm_range_test *t;
	/* The range that it waits for, in pages of @t */
	unsigned long first;
	unsigned long last;
	int ret;
	struct completion done;
	struct task_struct *task;
};

static struct hmm_range_test *watch(struct kunit *test)
{
	unsigned long addr = hmm_test_mmap(test, WATCHED_PAGES * PAGE_SIZE, PAGE_SIZE);

	return hmm_test_watch(test, addr, WATCHED_PAGES);
}

/* Describe an invalidation of the pages from @first to @last, exclusive. */
static void describe(struct hmm_range_test *t, struct mmu_notifier_range *range,
		     unsigned long first, unsigned long last)
{
	mmu_notifier_range_init(range, MMU_NOTIFY_CLEAR, 0, t->notifier.mm,
				t->addr + first * PAGE_SIZE, t->addr + last * PAGE_SIZE);
}

/* Until end() nothing may abort the test, because the mm has @range on its list. */
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

static bool active(struct hmm_range_test *t, unsigned long first, unsigned long last)
{
	return mmu_interval_active(t->notifier.mm, t->addr + first * PAGE_SIZE,
				   t->addr + last * PAGE_SIZE);
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

/* Wait until the thread sleeps, and return whether it stays asleep. */
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

/* Wait until the thread returns. If it does not, end the invalidation @rescue. */
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

/* Register a notifier on the list, which is called after the interval notifiers. */
static void register_refusing(struct kunit *test)
{
	struct mmu_notifier *notifier;

	notifier = kunit_kzalloc(test, sizeof(*notifier), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, notifier);
	notifier->ops = &refusing_ops;
	KUNIT_ASSERT_EQ(test, 0, mmu_notifier_register(notifier, current->mm));
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, unregister, notifier));
}

/* An invalidation that a notifier refuses is over without a call to end it. */
static void refused_is_over(struct kunit *test)
{
	struct hmm_range_test *t = watch(test);
	struct mmu_notifier_range range, other;

	register_refusing(test);
	KUNIT_EXPECT_EQ(test, -EAGAIN, begin_nonblock(t, &range, 0, 4));
	KUNIT_EXPECT_EQ(test, 1, t->invalidations);
	KUNIT_EXPECT_FALSE(test, active(t, 0, 4));
	expect_readable(test, t, &range);

	/* It was not ended twice either. */
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

/* An invalidation that an interval notifier refuses is over without a call to end it. */
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
	KUNIT_EXPECT_FALSE(test, active(t, 0, 4));
	expect_readable(test, t, &range);
}

/* A refused invalidation does not end an outer one. */
static void refused_within_another(struct kunit *test)
{
	struct hmm_range_test *t = watch(test);
	struct sleeper reader = { .sleep = sleep_read_begin, .t = t };
	struct mmu_notifier_range outer, range;

	register_refusing(test);
	begin(t, &outer, 0, 8);
	KUNIT_EXPECT_EQ(test, -EAGAIN, begin_nonblock(t, &range, 2, 10));
	KUNIT_EXPECT_TRUE(test, active(t, 0, 8));
	KUNIT_EXPECT_FALSE(test, active(t, 8, 10));
	sleeper_start(test, &reader);
	KUNIT_EXPECT_TRUE(test, sleeper_stays(&reader));
	end(&outer);
	sleeper_expect_back(test, &reader, &range);
}

/* mprotect() at address 0, which only privileged tasks can map, is an invalidation, too. */
static void protect_address_zero(struct kunit *test)
{
	const unsigned long size = 2 * PAGE_SIZE;
	struct mmu_notifier_range rescue;
	struct hmm_range_test *t;

	/* Give the thread a mm. */
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

/* mmu_interval_active() takes half-open ranges of bytes. */
static void active_overlap(struct kunit *test)
{
	struct hmm_range_test *t = watch(test);
	struct mm_struct *mm = t->notifier.mm;
	struct mmu_notifier_range range;

	KUNIT_EXPECT_FALSE(test, active(t, 0, WATCHED_PAGES));
	begin(t, &range, 4, 8);

	KUNIT_EXPECT_FALSE(test, active(t, 0, 4));
	KUNIT_EXPECT_TRUE(test, active(t, 0, 5));
	KUNIT_EXPECT_TRUE(test, active(t, 4, 5));
	KUNIT_EXPECT_TRUE(test, active(t, 5, 7));
	KUNIT_EXPECT_TRUE(test, active(t, 4, 8));
	KUNIT_EXPECT_TRUE(test, active(t, 3, 9));
	KUNIT_EXPECT_TRUE(test, active(t, 7, 8));
	KUNIT_EXPECT_TRUE(test, active(t, 7, WATCHED_PAGES));
	KUNIT_EXPECT_FALSE(test, active(t, 8, WATCHED_PAGES));

	KUNIT_EXPECT_FALSE(test, mmu_interval_active(mm, range.start - 1, range.start));
	KUNIT_EXPECT_TRUE(test, mmu_interval_active(mm, range.start, range.start + 1));
	KUNIT_EXPECT_TRUE(test, mmu_interval_active(mm, range.end - 1, range.end));
	KUNIT_EXPECT_FALSE(test, mmu_interval_active(mm, range.end, range.end + 1));
	KUNIT_EXPECT_TRUE(test, mmu_interval_active(mm, 0, ULONG_MAX));

	end(&range);
	KUNIT_EXPECT_FALSE(test, mmu_interval_active(mm, 0, ULONG_MAX));
}

/*
 * An invalidation is active also where no notifier is registered, because one may be
 * inserted meanwhile.
 */
static void active_unwatched(struct kunit *test)
{
	struct hmm_range_test *t = watch(test);
	const unsigned long beyond = 2 * WATCHED_PAGES;
	struct mmu_notifier_range range;

	begin(t, &range, beyond, beyond + 1);
	KUNIT_EXPECT_FALSE(test, active(t, 0, beyond));
	KUNIT_EXPECT_TRUE(test, active(t, 0, beyond + 1));
	end(&range);
	KUNIT_EXPECT_FALSE(test, active(t, 0, beyond + 1));
	KUNIT_EXPECT_EQ(test, 0, t->invalidations);
}

/* The end of an inner invalidation leaves the outer one active. */
static void active_nested(struct kunit *test)
{
	struct hmm_range_test *t = watch(test);
	struct mmu_notifier_range outer, inner;

	begin(t, &outer, 0, 8);
	begin(t, &inner, 4, 12);
	KUNIT_EXPECT_TRUE(test, active(t, 0, 1));
	KUNIT_EXPECT_TRUE(test, active(t, 11, 12));
	end(&inner);
	KUNIT_EXPECT_TRUE(test, active(t, 4, 8));
	KUNIT_EXPECT_FALSE(test, active(t, 8, 12));
	end(&outer);
	KUNIT_EXPECT_FALSE(test, active(t, 0, WATCHED_PAGES));
}

/* Concurrent invalidations end in any order, and each end removes only one of them. */
static void active_parallel(struct kunit *test)
{
	static const unsigned char orders[][3] = {
		{ 0, 1, 2 }, { 0, 2, 1 }, { 1, 0, 2 }, { 1, 2, 0 }, { 2, 0, 1 }, { 2, 1, 0 },
	};
	struct hmm_range_test *t = watch(test);
	struct mmu_notifier_range ranges[3];
	unsigned long i, j, left;

	for (i = 0; i < ARRAY_SIZE(orders); i++) {
		for (j = 0; j < 3; j++)
			begin(t, &ranges[j], 4 * j, 4 * j + 4);
		left = 7;
		for (j = 0; j < 3; j++) {
			end(&ranges[orders[i][j]]);
			left &= ~(1UL << orders[i][j]);
			KUNIT_EXPECT_EQ(test, !!(left & 1), active(t, 0, 4));
			KUNIT_EXPECT_EQ(test, !!(left & 2), active(t, 4, 8));
			KUNIT_EXPECT_EQ(test, !!(left & 4), active(t, 8, 12));
		}
	}
}

/* An end without a start removes no other invalidation. */
static void active_end_without_start(struct kunit *test)
{
	struct hmm_range_test *t = watch(test);
	struct mmu_notifier_range range, stray;

	begin(t, &range, 0, 4);
	describe(t, &stray, 0, 4);
	end(&stray);
	KUNIT_EXPECT_TRUE(test, active(t, 0, 4));
	end(&range);
	end(&stray);
	KUNIT_EXPECT_FALSE(test, active(t, 0, 4));
	expect_readable(test, t, &stray);
}

struct mortal {
	struct mmu_interval_notifier notifier;
	unsigned int released;
	unsigned int active;
};

static bool mortal_invalidate(struct mmu_interval_notifier *notifier,
			      const struct mmu_notifier_range *range, unsigned long seq)
{
	struct mortal *mortal = container_of(notifier, struct mortal, notifier);

	mmu_interval_set_seq(notifier, seq);
	mortal->released += range->event == MMU_NOTIFY_RELEASE;
	mortal->active += mmu_interval_active(notifier->mm, 0, PAGE_SIZE) &&
			  mmu_interval_active(notifier->mm, ULONG_MAX - 1, ULONG_MAX);
	return true;
}

static const struct mmu_interval_notifier_ops mortal_ops = {
	.invalidate = mortal_invalidate,
};

/* The release of a mm is an invalidation of the whole mm while it lasts. */
static void active_at_release(struct kunit *test)
{
	struct mm_struct *mm = mm_alloc();
	struct mortal mortal = {};
	int ret;

	KUNIT_ASSERT_NOT_NULL(test, mm);
	/* The mm has no notifiers yet. */
	KUNIT_EXPECT_FALSE(test, mmu_interval_active(mm, 0, ULONG_MAX));
	KUNIT_EXPECT_EQ(test, 0, mmu_interval_wait_active(mm, 0, ULONG_MAX));

	ret = mmu_interval_notifier_insert(&mortal.notifier, mm, 0, PAGE_SIZE, &mortal_ops);
	KUNIT_EXPECT_EQ(test, 0, ret);
	mmput(mm);
	if (ret)
		return;
	KUNIT_EXPECT_EQ(test, 1, mortal.released);
	KUNIT_EXPECT_EQ(test, 1, mortal.active);
	KUNIT_EXPECT_FALSE(test, mmu_interval_active(mm, 0, ULONG_MAX));
	mmu_interval_notifier_remove(&mortal.notifier);
}

static int sleep_wait_active(struct sleeper *sleeper)
{
	struct hmm_range_test *t = sleeper->t;

	return mmu_interval_wait_active(t->notifier.mm,
					t->addr + sleeper->first * PAGE_SIZE,
					t->addr + sleeper->last * PAGE_SIZE);
}

static void waiter_start(struct kunit *test, struct sleeper *waiter,
			 struct hmm_range_test *t, unsigned long first, unsigned long last)
{
	*waiter = (struct sleeper) {
		.sleep = sleep_wait_active, .t = t, .first = first, .last = last, .ret = 1,
	};
	sleeper_start(test, waiter);
}

static void waiter_kill(struct sleeper *waiter)
{
	if (waiter->task)
		send_sig(SIGKILL, waiter->task, 1);
}

static void waiter_expect_back(struct kunit *test, struct sleeper *waiter, int ret)
{
	bool back = sleeper_comes_back(waiter);

	KUNIT_EXPECT_TRUE(test, back);
	if (!waiter->task)
		return;
	if (!back)
		waiter_kill(waiter);
	kthread_stop(waiter->task);
	put_task_struct(waiter->task);
	KUNIT_EXPECT_EQ(test, ret, waiter->ret);
}

/* A wait ignores invalidations that do not overlap. */
static void wait_ignores_others(struct kunit *test)
{
	struct hmm_range_test *t = watch(test);
	struct mmu_notifier_range below, above;
	struct sleeper waiter;

	waiter_start(test, &waiter, t, 4, 8);
	waiter_expect_back(test, &waiter, 0);

	begin(t, &below, 0, 4);
	begin(t, &above, 8, 12);
	waiter_start(test, &waiter, t, 4, 8);
	waiter_expect_back(test, &waiter, 0);
	end(&above);
	end(&below);
}

/* A wait ends with the overlapping invalidation, although others in the mm stay active. */
static void wait_for_one_of_many(struct kunit *test)
{
	struct hmm_range_test *t = watch(test);
	struct mmu_notifier_range before, range, after;
	struct sleeper low, high, reader;

	begin(t, &before, 0, 4);
	begin(t, &range, 4, 8);
	begin(t, &after, 8, 12);
	waiter_start(test, &low, t, 4, 5);
	waiter_start(test, &high, t, 7, 8);
	reader = (struct sleeper) { .sleep = sleep_read_begin, .t = t };
	sleeper_start(test, &reader);
	KUNIT_EXPECT_TRUE(test, sleeper_stays(&low));
	KUNIT_EXPECT_TRUE(test, sleeper_stays(&high));
	end(&range);
	waiter_expect_back(test, &low, 0);
	waiter_expect_back(test, &high, 0);
	KUNIT_EXPECT_TRUE(test, sleeper_stays(&reader));
	end(&after);
	end(&before);
	sleeper_expect_back(test, &reader, &before);
}

/* A wait lasts until all overlapping invalidations have ended. */
static void wait_for_each(struct kunit *test)
{
	struct hmm_range_test *t = watch(test);
	struct mmu_notifier_range first, second, other;
	struct sleeper waiter;

	begin(t, &first, 0, 5);
	begin(t, &second, 7, 12);
	begin(t, &other, 12, 16);
	waiter_start(test, &waiter, t, 4, 8);
	KUNIT_EXPECT_TRUE(test, sleeper_stays(&waiter));
	end(&other);
	KUNIT_EXPECT_TRUE(test, sleeper_stays(&waiter));
	end(&first);
	KUNIT_EXPECT_TRUE(test, sleeper_stays(&waiter));
	end(&second);
	waiter_expect_back(test, &waiter, 0);
}

/*
 * A wait ignores invalidations that start later, because there may always be another one.
 */
static void wait_ignores_later(struct kunit *test)
{
	struct hmm_range_test *t = watch(test);
	struct mmu_notifier_range range, other, later;
	struct sleeper waiter;

	begin(t, &range, 4, 8);
	begin(t, &other, 12, 16);
	waiter_start(test, &waiter, t, 4, 8);
	KUNIT_EXPECT_TRUE(test, sleeper_stays(&waiter));
	begin(t, &later, 4, 8);
	/* A later invalidation does not hide an earlier one. */
	end(&other);
	KUNIT_EXPECT_TRUE(test, sleeper_stays(&waiter));
	end(&range);
	waiter_expect_back(test, &waiter, 0);
	KUNIT_EXPECT_TRUE(test, active(t, 4, 8));
	end(&later);
}

/* A killed waiter returns -EINTR. The invalidation and the other waiter are unaffected. */
static void killed_waiter_returns(struct kunit *test)
{
	struct hmm_range_test *t = watch(test);
	struct mmu_notifier_range range;
	struct sleeper killed, other;

	begin(t, &range, 4, 8);
	waiter_start(test, &killed, t, 4, 8);
	waiter_start(test, &other, t, 4, 8);
	KUNIT_EXPECT_TRUE(test, sleeper_stays(&killed));
	KUNIT_EXPECT_TRUE(test, sleeper_stays(&other));
	waiter_kill(&killed);
	if (!sleeper_comes_back(&killed))
		end(&range);
	waiter_expect_back(test, &killed, -EINTR);
	KUNIT_EXPECT_TRUE(test, active(t, 4, 8));
	KUNIT_EXPECT_TRUE(test, sleeper_stays(&other));
	end(&range);
	waiter_expect_back(test, &other, 0);
	KUNIT_EXPECT_FALSE(test, active(t, 4, 8));
}

/* Ends ranges while another thread is about to wait for them */
struct ender {
	struct hmm_range_test *t;
	struct mmu_notifier_range range;
	/*
	 * Number of invalidations that have begun, have ended, and have no waiter any
	 * more
	 */
	unsigned long begun;
	unsigned long ended;
	unsigned long over;
	bool stuck;
};

static unsigned long observe(unsigned long *count)
{
	/* Pairs with smp_store_release() in count_to(). */
	return smp_load_acquire(count);
}

static void count_to(unsigned long *count, unsigned long n)
{
	/* Pairs with smp_load_acquire() in observe(). */
	smp_store_release(count, n);
}

static bool await(unsigned long *count, unsigned long n)
{
	unsigned long until = jiffies + msecs_to_jiffies(STUCK_MS);

	while (observe(count) != n && time_before(jiffies, until) &&
	       !kthread_should_stop())
		cond_resched();
	return observe(count) == n;
}

static int ender_thread(void *arg)
{
	struct ender *ender = arg;
	struct mmu_notifier_range other;
	unsigned long n;

	for (n = 1; await(&ender->begun, n); n++) {
		ndelay(get_random_u32_below(16384));
		end(&ender->range);
		count_to(&ender->ended, n);
		if (await(&ender->over, n))
			continue;
		/*
		 * The waiter has missed the end. The end of another invalidation wakes
		 * it.
		 */
		WRITE_ONCE(ender->stuck, true);
		begin(ender->t, &other, 0, 1);
		end(&other);
		break;
	}
	return 0;
}

/* A thread that is about to sleep does not miss the end of an invalidation. */
static void wait_races_with_end(struct kunit *test)
{
	struct hmm_range_test *t = watch(test);
	struct ender ender = { .t = t };
	unsigned long until, n = 0;
	struct task_struct *task;

	task = kthread_create(ender_thread, &ender, "hmm_notifier_end");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, task);
	get_task_struct(task);
	wake_up_process(task);

	until = jiffies + msecs_to_jiffies(RACE_MS);
	while (test->status != KUNIT_FAILURE && !READ_ONCE(ender.stuck) &&
	       (n < RACE_ROUNDS || time_before(jiffies, until))) {
		begin(t, &ender.range, 4, 8);
		count_to(&ender.begun, ++n);
		ndelay(get_random_u32_below(16384));
		mmu_interval_wait_active(t->notifier.mm, t->addr + 7 * PAGE_SIZE,
					 t->addr + WATCHED_PAGES * PAGE_SIZE);
		KUNIT_EXPECT_FALSE(test, active(t, 0, WATCHED_PAGES));
		count_to(&ender.over, n);
		KUNIT_EXPECT_TRUE(test, await(&ender.ended, n));
	}
	kthread_stop(task);
	put_task_struct(task);
	KUNIT_EXPECT_FALSE(test, ender.stuck);
	kunit_info(test, "%lu waits", n);
}

/* Invalidates random ranges */
struct invalidator {
	struct hmm_range_test *t;
	struct task_struct *task;
	/* Odd while [first, last) is certainly active */
	unsigned long count;
	unsigned long first;
	unsigned long last;
};

static int invalidator_thread(void *arg)
{
	struct invalidator *inv = arg;
	struct mmu_notifier_range range;

	while (!kthread_should_stop()) {
		WRITE_ONCE(inv->first, get_random_u32_below(WATCHED_PAGES));
		WRITE_ONCE(inv->last, inv->first + 1 +
			   get_random_u32_below(WATCHED_PAGES - inv->first));
		begin(inv->t, &range, inv->first, inv->last);
		count_to(&inv->count, inv->count + 1);
		usleep_range(10, 100);
		count_to(&inv->count, inv->count + 1);
		end(&range);
	}
	return 0;
}

/* Return the count of an overlapping invalidation that is certainly active, or 0. */
static unsigned long invalidator_overlaps(struct invalidator *inv, unsigned long first,
					  unsigned long last)
{
	unsigned long count = observe(&inv->count);
	bool overlaps = READ_ONCE(inv->first) < last && first < READ_ONCE(inv->last);

	/*
	 * Check that the range belongs to this count: the count changes before the range.
	 */
	smp_rmb();
	return overlaps && count & 1 && READ_ONCE(inv->count) == count ? count : 0;
}

/* After a wait, the invalidations that were active before it have ended. Each wait ends. */
static void wait_in_storm(struct kunit *test)
{
	struct invalidator invs[4] = {};
	struct hmm_range_test *t = watch(test);
	unsigned long first, last, until, i, n = 0, waits = 0, early = 0;
	unsigned long counts[ARRAY_SIZE(invs)];
	struct task_struct *task;

	for (i = 0; i < ARRAY_SIZE(invs); i++) {
		invs[i].t = t;
		task = kthread_run(invalidator_thread, &invs[i], "hmm_notifier_%lu", i);
		KUNIT_EXPECT_NOT_ERR_OR_NULL(test, task);
		invs[i].task = IS_ERR(task) ? NULL : task;
	}

	until = jiffies + msecs_to_jiffies(RACE_MS);
	while (n < RACE_ROUNDS || time_before(jiffies, until)) {
		first = get_random_u32_below(WATCHED_PAGES);
		last = first + 1 + get_random_u32_below(WATCHED_PAGES - first);
		for (i = 0; i < ARRAY_SIZE(invs); i++)
			counts[i] = invalidator_overlaps(&invs[i], first, last);
		mmu_interval_wait_active(t->notifier.mm, t->addr + first * PAGE_SIZE,
					 t->addr + last * PAGE_SIZE);
		for (i = 0; i < ARRAY_SIZE(invs); i++) {
			waits += !!counts[i];
			early += counts[i] && READ_ONCE(invs[i].count) == counts[i];
		}
		n++;
		cond_resched();
	}

	for (i = 0; i < ARRAY_SIZE(invs); i++)
		if (invs[i].task)
			kthread_stop(invs[i].task);
	KUNIT_EXPECT_EQ(test, 0, early);
	KUNIT_EXPECT_FALSE(test, active(t, 0, WATCHED_PAGES));
	kunit_info(test, "%lu waits, for %lu invalidations", n, waits);
}

/* Records the events of a notifier */
struct listener {
	struct mmu_interval_notifier notifier;
	unsigned int n;
	struct {
		enum mmu_notifier_event event;
		unsigned int flags;
	} seen[8];
};

static bool listener_invalidate(struct mmu_interval_notifier *notifier,
				const struct mmu_notifier_range *range, unsigned long seq)
{
	struct listener *l = container_of(notifier, struct listener, notifier);

	mmu_interval_set_seq(notifier, seq);
	if (l->n < ARRAY_SIZE(l->seen)) {
		l->seen[l->n].event = range->event;
		l->seen[l->n].flags = range->flags;
	}
	l->n++;
	return true;
}

static const struct mmu_interval_notifier_ops listener_ops = {
	.invalidate = listener_invalidate,
};

static struct listener *listen(struct kunit *test, unsigned long addr)
{
	struct listener *l = kunit_kzalloc(test, sizeof(*l), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, l);
	interval_insert(test, &l->notifier, addr, &listener_ops);
	return l;
}

static void expect_event(struct kunit *test, struct listener *l,
			 enum mmu_notifier_event event, unsigned int flags)
{
	KUNIT_EXPECT_EQ(test, 1, l->n);
	KUNIT_EXPECT_EQ(test, event, l->seen[0].event);
	KUNIT_EXPECT_EQ(test, MMU_NOTIFIER_RANGE_BLOCKABLE | flags, l->seen[0].flags);
	l->n = 0;
}

static int child(void *unused)
{
	do_exit(0);
}

/* Fork a process that exits immediately. */
static void fork_once(struct kunit *test)
{
	struct kernel_clone_args args = { .exit_signal = SIGCHLD, .fn = child };
	pid_t pid = kernel_clone(&args);
	int status;

	KUNIT_ASSERT_GT(test, pid, 0);
	/*
	 * kernel_wait() waits and then finds no child, because kernel threads ignore
	 * SIGCHLD.
	 */
	KUNIT_EXPECT_EQ(test, -ECHILD, kernel_wait(pid, &status));
}

static unsigned long map_shared(struct kunit *test)
{
	struct file *file = shmem_file_setup("hmm_notifier", PAGE_SIZE, 0);
	unsigned long addr;

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, file);
	addr = vm_mmap(file, 0, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
	fput(file);
	KUNIT_ASSERT_LT(test, addr, TASK_SIZE);
	return addr;
}

/* fork() sets MMU_NOTIFIER_RANGE_FORK. */
static void fork_sets_flag(struct kunit *test)
{
	unsigned long addr = hmm_test_mmap(test, PAGE_SIZE, PAGE_SIZE);
	unsigned long shared = map_shared(test);
	struct listener *l = listen(test, addr), *aside = listen(test, shared);

	hmm_test_write(test, addr);
	hmm_test_write(test, shared);
	fork_once(test);
	expect_event(test, l, MMU_NOTIFY_PROTECTION_PAGE, MMU_NOTIFIER_RANGE_FORK);
	/* Shared memory stays writable. */
	KUNIT_EXPECT_EQ(test, 0, aside->n);
}

/* mprotect() and writeback do not set MMU_NOTIFIER_RANGE_FORK. */
static void others_do_not_set_fork_flag(struct kunit *test)
{
	unsigned long addr = hmm_test_mmap(test, PAGE_SIZE, PAGE_SIZE);
	unsigned long shared = map_shared(test);
	struct listener *l = listen(test, addr), *aside = listen(test, shared);
	struct page *page;

	hmm_test_write(test, addr);
	KUNIT_EXPECT_EQ(test, 0,
			hmm_test_syscall(__NR_mprotect, addr, PAGE_SIZE, PROT_READ, 0, 0));
	expect_event(test, l, MMU_NOTIFY_PROTECTION_VMA, 0);

	hmm_test_write(test, shared);
	KUNIT_ASSERT_EQ(test, 1, get_user_pages_fast(shared, 1, 0, &page));
	lock_page(page);
	KUNIT_EXPECT_EQ(test, 1, folio_mkclean(page_folio(page)));
	unlock_page(page);
	put_page(page);
	expect_event(test, aside, MMU_NOTIFY_PROTECTION_PAGE, 0);
}

static struct kunit_case hmm_notifier_cases[] = {
	KUNIT_CASE(refused_is_over),
	KUNIT_CASE(refused_by_interval),
	KUNIT_CASE(refused_within_another),
	KUNIT_CASE(protect_address_zero),
	KUNIT_CASE(active_overlap),
	KUNIT_CASE(active_unwatched),
	KUNIT_CASE(active_nested),
	KUNIT_CASE(active_parallel),
	KUNIT_CASE(active_end_without_start),
	KUNIT_CASE(active_at_release),
	KUNIT_CASE(wait_ignores_others),
	KUNIT_CASE(wait_for_one_of_many),
	KUNIT_CASE(wait_for_each),
	KUNIT_CASE(wait_ignores_later),
	KUNIT_CASE(killed_waiter_returns),
	KUNIT_CASE(wait_races_with_end),
	KUNIT_CASE(wait_in_storm),
	KUNIT_CASE(fork_sets_flag),
	KUNIT_CASE(others_do_not_set_fork_flag),
	{}
};

static struct kunit_suite hmm_notifier_suite = {
	.name = "hmm_notifier",
	.test_cases = hmm_notifier_cases,
};

kunit_test_suite(hmm_notifier_suite);
