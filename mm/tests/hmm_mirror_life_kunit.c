// SPDX-License-Identifier: GPL-2.0
/*
 * The lifetime of a mirror and of its mm: registration, unregistration, exit of the mm,
 * invalidations and faults in different orders
 */
#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/mman.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>

#include "hmm_mirror_test.h"

static struct hmm_fake *life_fake(struct kunit *test, struct mm_struct *mm,
				  unsigned int flags)
{
	struct hmm_fake *fake;

	kthread_use_mm(mm);
	fake = hmm_fake_new(test, flags);
	KUNIT_ASSERT_PTR_EQ(test, mm, fake->mirror.mm);
	return fake;
}

static void life_exit(struct mm_struct *mm)
{
	kthread_unuse_mm(mm);
	mmput(mm);
}

static void expect_dead(struct hmm_fake *fake, unsigned long addr)
{
	struct hmm_range range = {
		.mirror = &fake->mirror,
		.start = addr,
		.end = addr + PAGE_SIZE,
	};

	KUNIT_EXPECT_EQ(fake->test, -ESRCH, hmm_fake_fault(fake, addr, 1, HMM_FAULT_READ));
	KUNIT_EXPECT_EQ(fake->test, -ESRCH, hmm_range_begin(&range));
	KUNIT_EXPECT_EQ(fake->test, 0, hmm_fake_valid(fake, fake->base, 1 << 18));
	KUNIT_EXPECT_EQ(fake->test, 1, fake->releases);
	KUNIT_EXPECT_EQ(fake->test, 0, fake->late);
}

/* The exit of the mm revokes everything from the driver and then releases the mirror. */
static void exit_then_unregister(struct kunit *test)
{
	struct mm_struct *mm = hmm_fake_mm(test);
	struct hmm_fake *fake = life_fake(test, mm, 0), *idle = hmm_fake_another(fake, 0);
	unsigned long addr = hmm_fake_map_small(fake, 16);

	hmm_fake_fault_all(fake, addr, 16, HMM_FAULT_WRITE);
	life_exit(mm);
	hmm_fake_expect_one(fake, HMM_UPDATE_MUNMAP, fake->base, fake->base + SZ_1G);
	hmm_fake_expect_none(idle);
	expect_dead(fake, addr);
	expect_dead(idle, addr);
	hmm_fake_unregister(fake);
	hmm_fake_unregister(idle);
}

/* hmm_mirror_unregister() revokes everything. The driver gets no callback afterwards. */
static void unregister_before_exit(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 16), i;

	for (i = 0; i < 3; i++) {
		hmm_fake_fault_all(fake, addr, 16, HMM_FAULT_WRITE);
		hmm_fake_clear_log(fake);
		hmm_fake_unregister(fake);
		hmm_fake_expect_one(fake, HMM_UPDATE_MUNMAP, fake->base, fake->base + SZ_1G);
		/* The driver gets no callback any more. */
		KUNIT_EXPECT_EQ(test, 0, do_madvise(current->mm, addr, 16 * PAGE_SIZE,
						    MADV_DONTNEED));
		KUNIT_EXPECT_EQ(test, 1, fake->count);
		fake = hmm_fake_another(fake, 0);
	}
}

/* The driver may free a mirror as soon as hmm_mirror_unregister() returns. */
static void freed_after_unregister(struct kunit *test)
{
	struct hmm_fake *keeper = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(keeper, 16), i;

	for (i = 0; i < 20; i++) {
		struct hmm_fake *fake = kmalloc(sizeof(*fake), GFP_KERNEL);

		KUNIT_ASSERT_NOT_NULL(test, fake);
		hmm_fake_init(fake);
		KUNIT_ASSERT_EQ(test, 0, hmm_mirror_register(&fake->mirror, current->mm));
		if (i % 2)
			KUNIT_EXPECT_EQ(test, 16, hmm_fake_fault(fake, addr, 16,
								 HMM_FAULT_WRITE));
		/* The gc runs, or is about to run. */
		if (i % 4 == 3)
			hmm_fake_invalidate(keeper, MMU_NOTIFY_CLEAR, addr, addr + SZ_1M);
		hmm_mirror_unregister(&fake->mirror);
		KUNIT_EXPECT_EQ(test, 1, fake->releases);
		memset(fake, 0x5a, sizeof(*fake));
		kfree(fake);
		hmm_fake_invalidate(keeper, MMU_NOTIFY_CLEAR, addr, addr + SZ_1M);
	}
	/* Wait until a gc that still has the mirror would find it. */
	msleep(1500);
}

static int no_sync(struct hmm_mirror *mirror, const struct hmm_update *update)
{
	return 0;
}

static void map_in(struct kunit *test, struct mm_struct *mm)
{
	unsigned long addr;

	kthread_use_mm(mm);
	addr = vm_mmap(NULL, 0, PAGE_SIZE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, 0);
	kthread_unuse_mm(mm);
	KUNIT_ASSERT_LT(test, addr, TASK_SIZE);
}

/*
 * Bad members, a dead mm and a signal make hmm_mirror_register() fail. A later call
 * succeeds.
 */
static void register_fails(struct kunit *test)
{
	static const struct hmm_mirror_ops no_ops = {};
	static const struct hmm_mirror_ops no_release = { .sync_cpu_device_pagetables = no_sync };
	struct hmm_mirror mirror = { .ops = &no_ops, .flags = HMM_MIRROR_OWN_TABLES };
	struct mm_struct *mm = hmm_fake_mm(test);
	int ret;

	KUNIT_EXPECT_EQ(test, -EINVAL, hmm_mirror_register(&mirror, mm));
	mirror.ops = NULL;
	KUNIT_EXPECT_EQ(test, -EINVAL, hmm_mirror_register(&mirror, mm));
	mirror.ops = &no_release;
	mirror.flags = HMM_MIRROR_OWN_TABLES << 1;
	KUNIT_EXPECT_EQ(test, -EINVAL, hmm_mirror_register(&mirror, mm));
	mirror.flags = 0;

	mmgrab(mm);
	mmput(mm);
	KUNIT_EXPECT_EQ(test, -ESRCH, hmm_mirror_register(&mirror, mm));
	mmdrop(mm);

	/*
	 * The first registration in a mm with mappings is interruptible, and can be
	 * repeated.
	 */
	mm = hmm_fake_mm(test);
	map_in(test, mm);
	allow_signal(SIGKILL);
	send_sig(SIGKILL, current, 1);
	ret = hmm_mirror_register(&mirror, mm);
	flush_signals(current);
	disallow_signal(SIGKILL);
	KUNIT_EXPECT_EQ(test, -EINTR, ret);
	/* As after hmm_mirror_unregister() */
	if (ret)
		KUNIT_EXPECT_EQ(test, -ESRCH,
				hmm_mirror_fault(&mirror, 0, PAGE_SIZE, HMM_FAULT_READ));
	if (ret)
		KUNIT_ASSERT_EQ(test, 0, hmm_mirror_register(&mirror, mm));
	mmput(mm);
	hmm_mirror_unregister(&mirror);
}

/* hmm_mirror_unregister() in a separate thread */
struct unregistering {
	struct hmm_fake *fake;
	struct task_struct *task;
	struct completion done;
};

static int unregister_thread(void *arg)
{
	struct unregistering *u = arg;

	hmm_fake_unregister(u->fake);
	complete_all(&u->done);
	return 0;
}

static void unregister_start(struct unregistering *u, struct hmm_fake *fake)
{
	u->fake = fake;
	init_completion(&u->done);
	u->task = kthread_create(unregister_thread, u, "hmm_unregister");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(fake->test, u->task);
	get_task_struct(u->task);
	wake_up_process(u->task);
}

static bool unregister_has_begun(struct hmm_fake *fake)
{
	unsigned long begin = jiffies;

	while (!READ_ONCE(fake->releases) && time_before(jiffies, begin + HMM_FAKE_STUCK))
		msleep(20);
	return fake->releases;
}

static unsigned long unregister_switches(struct unregistering *u)
{
	return READ_ONCE(u->task->nvcsw) + READ_ONCE(u->task->nivcsw);
}

/* The hung task detector reports a task that is not scheduled for a while. */
static bool unregister_seems_hung(struct unregistering *u)
{
	unsigned long begin = jiffies, before;

	do {
		before = unregister_switches(u);
		msleep(500);
	} while (unregister_switches(u) != before &&
		 time_before(jiffies, begin + HMM_FAKE_STUCK));
	return unregister_switches(u) == before &&
	       READ_ONCE(u->task->__state) == TASK_UNINTERRUPTIBLE;
}

static bool unregister_ends(struct unregistering *u)
{
	bool ended = wait_for_completion_timeout(&u->done, HMM_FAKE_STUCK);

	put_task_struct(u->task);
	if (!ended) {
		KUNIT_FAIL(u->fake->test, "hmm_mirror_unregister() is stuck");
		wait_for_completion(&u->done);
	}
	return ended;
}

/* A fault that finds its mirror unregistered returns -ESRCH and does not retry. */
static void unregister_ends_fault(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 16);
	struct mmu_notifier_range range;
	struct hmm_fake_call *call;
	struct unregistering u;

	hmm_fake_fault_all(fake, addr, 4, HMM_FAULT_WRITE);
	hmm_fake_range(fake, &range, MMU_NOTIFY_CLEAR, addr, addr + PAGE_SIZE);
	mmu_notifier_invalidate_range_start(&range);
	call = hmm_fake_call(fake, addr, 16, HMM_FAULT_WRITE);
	KUNIT_EXPECT_TRUE(test, hmm_fake_call_blocks(call));
	unregister_start(&u, fake);
	KUNIT_EXPECT_TRUE(test, unregister_has_begun(fake));
	mmu_notifier_invalidate_range_end(&range);
	KUNIT_EXPECT_EQ(test, -ESRCH, hmm_fake_call_ends(call));
	unregister_ends(&u);
}

/* hmm_mirror_unregister() waits for ranges that have begun. No other range begins. */
static void unregister_waits_for_range(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, HMM_MIRROR_OWN_TABLES);
	unsigned long addr = hmm_fake_map_small(fake, 16);
	struct hmm_range range = {
		.mirror = &fake->mirror,
		.start = addr,
		.end = addr + PAGE_SIZE,
	}, later = range;
	struct unregistering u;

	KUNIT_ASSERT_EQ(test, 0, hmm_range_begin(&range));
	unregister_start(&u, fake);
	KUNIT_EXPECT_TRUE(test, unregister_has_begun(fake));
	KUNIT_EXPECT_EQ(test, -ESRCH, hmm_range_begin(&later));
	KUNIT_EXPECT_TRUE(test, unregister_seems_hung(&u));
	KUNIT_EXPECT_FALSE(test, completion_done(&u.done));
	down_read(&fake->mirror.lock);
	KUNIT_EXPECT_TRUE(test, hmm_range_retry(&range));
	up_read(&fake->mirror.lock);
	hmm_range_end(&range);
	unregister_ends(&u);
}

static int unregister_mirror_thread(void *arg)
{
	struct unregistering *u = arg;

	hmm_mirror_unregister(&u->fake->mirror);
	complete_all(&u->done);
	return 0;
}

/*
 * A range may begin after unregistration has called the driver for its window. It must
 * retry.
 */
static void range_begun_during_unregister_retries(struct kunit *test)
{
	struct hmm_fake *fake = kunit_kzalloc(test, sizeof(*fake), GFP_KERNEL);
	unsigned long addr = hmm_fake_map_small(hmm_fake_new(test, 0), 1);
	struct unregistering u = { .fake = fake };
	struct hmm_range range;

	KUNIT_ASSERT_NOT_NULL(test, fake);
	hmm_fake_init(fake);
	fake->test = test;
	fake->mirror.flags = HMM_MIRROR_OWN_TABLES;
	range.mirror = &fake->mirror;
	range.start = addr;
	range.end = addr + PAGE_SIZE;
	KUNIT_ASSERT_EQ(test, 0, hmm_mirror_register(&fake->mirror, current->mm));
	/* The window stays until the end of the test. */
	KUNIT_EXPECT_EQ(test, 0, hmm_range_begin(&range));
	hmm_range_end(&range);

	init_completion(&u.done);
	fake->hold = true;
	u.task = kthread_create(unregister_mirror_thread, &u, "hmm_unregister");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, u.task);
	get_task_struct(u.task);
	wake_up_process(u.task);
	wait_for_completion(&fake->held);
	KUNIT_EXPECT_EQ(test, 0, hmm_range_begin(&range));
	complete(&fake->go);
	KUNIT_EXPECT_TRUE(test, unregister_has_begun(fake));
	down_read(&fake->mirror.lock);
	KUNIT_EXPECT_FALSE(test, range.collided);
	KUNIT_EXPECT_TRUE(test, hmm_range_retry(&range));
	up_read(&fake->mirror.lock);
	hmm_range_end(&range);
	unregister_ends(&u);
}

static int invalidate_thread(void *arg)
{
	struct hmm_fake_call *call = arg;

	hmm_fake_invalidate(call->fake, MMU_NOTIFY_CLEAR, call->start, call->end);
	complete(&call->done);
	return 0;
}

/* hmm_mirror_unregister() waits for a callback that runs. */
static void unregister_waits_for_callback(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 16);
	struct hmm_fake_call call = { .fake = fake, .start = addr, .end = addr + PAGE_SIZE };
	struct task_struct *task;
	struct unregistering u;

	hmm_fake_fault_all(fake, addr, 16, HMM_FAULT_WRITE);
	init_completion(&call.done);
	fake->hold = true;
	task = kthread_run(invalidate_thread, &call, "hmm_invalidate");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, task);
	wait_for_completion(&fake->held);
	/* This also ends the held callback. */
	unregister_start(&u, fake);
	unregister_ends(&u);
	wait_for_completion(&call.done);
	KUNIT_EXPECT_EQ(test, 2, fake->count);
	hmm_fake_expect(fake, 0, HMM_UPDATE_MIGRATE, addr, addr + PAGE_SIZE);
	hmm_fake_expect(fake, 1, HMM_UPDATE_MUNMAP, fake->base, fake->base + SZ_1G);
}

/* A fault keeps the mm alive until the fault ends. */
static void exit_waits_for_fault(struct kunit *test)
{
	struct mm_struct *mm = hmm_fake_mm(test);
	struct hmm_fake *fake = life_fake(test, mm, 0);
	unsigned long addr = hmm_fake_map_small(fake, 16), begin = jiffies;
	struct mmu_notifier_range range;
	struct task_struct *faulting;
	struct hmm_fake_call *call;

	hmm_fake_fault_all(fake, addr, 4, HMM_FAULT_WRITE);
	hmm_fake_range(fake, &range, MMU_NOTIFY_CLEAR, addr, addr + PAGE_SIZE);
	mmu_notifier_invalidate_range_start(&range);
	call = hmm_fake_call(fake, addr, 16, HMM_FAULT_WRITE);
	faulting = call->task;
	KUNIT_EXPECT_TRUE(test, hmm_fake_call_blocks(call));
	life_exit(mm);
	KUNIT_EXPECT_EQ(test, 0, fake->releases);
	mmu_notifier_invalidate_range_end(&range);
	KUNIT_EXPECT_EQ(test, 16, hmm_fake_call_ends(call));
	/* The fault had the last mm_users reference, and another task must drop it. */
	while (!READ_ONCE(fake->releases) && time_before(jiffies, begin + HMM_FAKE_STUCK))
		msleep(20);
	/* The caller of a fault may hold locks that the release callback takes. */
	KUNIT_EXPECT_PTR_NE(test, faulting, fake->releaser);
	expect_dead(fake, addr);
}

struct late_end {
	struct delayed_work work;
	struct hmm_fake *fake;
	struct hmm_access access;
	unsigned int releases;
	unsigned int count;
};

static void end_late(struct work_struct *work)
{
	struct late_end *late = container_of(to_delayed_work(work), struct late_end, work);

	late->releases = READ_ONCE(late->fake->releases);
	late->count = READ_ONCE(late->fake->count);
	hmm_access_end(&late->access);
}

/* The exit of a mm waits until the device has ended its access. */
static void exit_waits_for_access(struct kunit *test)
{
	struct mm_struct *mm = hmm_fake_mm(test);
	struct hmm_fake *fake = life_fake(test, mm, 0);
	unsigned long addr = hmm_fake_map_small(fake, 16);
	struct late_end late = { .fake = fake, .releases = 1 };

	KUNIT_ASSERT_EQ(test, 16, hmm_access_begin(&late.access, &fake->mirror, addr,
						   addr + 16 * PAGE_SIZE, HMM_FAULT_WRITE, NULL));
	INIT_DELAYED_WORK_ONSTACK(&late.work, end_late);
	schedule_delayed_work(&late.work, HZ / 5);
	life_exit(mm);
	flush_delayed_work(&late.work);
	destroy_delayed_work_on_stack(&late.work);
	KUNIT_EXPECT_EQ(test, 0, late.releases);
	KUNIT_EXPECT_EQ(test, 0, late.count);
	KUNIT_EXPECT_EQ(test, 1, fake->count);
	expect_dead(fake, addr);
}

/* hmm_range_begin() in a separate thread */
static int begin_thread(void *arg)
{
	struct hmm_fake_call *call = arg;
	struct hmm_range range = {
		.mirror = &call->fake->mirror,
		.start = call->start,
		.end = call->end,
	};

	call->ret = hmm_range_begin(&range);
	if (!call->ret)
		hmm_range_end(&range);
	complete(&call->done);
	return 0;
}

/* hmm_range_begin() that waits for an invalidation keeps the mm alive, as a fault does. */
static void exit_waits_for_range_begin(struct kunit *test)
{
	struct mm_struct *mm = hmm_fake_mm(test);
	struct hmm_fake *fake = life_fake(test, mm, HMM_MIRROR_OWN_TABLES);
	unsigned long addr = hmm_fake_map_small(fake, 16), begin = jiffies;
	struct hmm_fake_call call = {
		.fake = fake,
		.start = addr,
		.end = addr + 16 * PAGE_SIZE,
	};
	struct mmu_notifier_range range;

	init_completion(&call.done);
	hmm_fake_range(fake, &range, MMU_NOTIFY_CLEAR, addr, addr + PAGE_SIZE);
	mmu_notifier_invalidate_range_start(&range);
	call.task = kthread_create(begin_thread, &call, "hmm_begin");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, call.task);
	get_task_struct(call.task);
	wake_up_process(call.task);
	KUNIT_EXPECT_TRUE(test, hmm_fake_call_blocks(&call));
	life_exit(mm);
	KUNIT_EXPECT_EQ(test, 0, fake->releases);
	mmu_notifier_invalidate_range_end(&range);
	wait_for_completion(&call.done);
	KUNIT_EXPECT_EQ(test, 0, call.ret);
	while (!READ_ONCE(fake->releases) && time_before(jiffies, begin + HMM_FAKE_STUCK))
		msleep(20);
	KUNIT_EXPECT_EQ(test, 1, fake->releases);
	KUNIT_EXPECT_PTR_NE(test, call.task, fake->releaser);
	put_task_struct(call.task);
}

static struct kunit_case hmm_mirror_life_cases[] = {
	KUNIT_CASE(exit_then_unregister),
	KUNIT_CASE(unregister_before_exit),
	KUNIT_CASE(freed_after_unregister),
	KUNIT_CASE(register_fails),
	KUNIT_CASE(unregister_ends_fault),
	KUNIT_CASE(unregister_waits_for_range),
	KUNIT_CASE(range_begun_during_unregister_retries),
	KUNIT_CASE(unregister_waits_for_callback),
	KUNIT_CASE(exit_waits_for_fault),
	KUNIT_CASE(exit_waits_for_access),
	KUNIT_CASE(exit_waits_for_range_begin),
	{}
};

static struct kunit_suite hmm_mirror_life_suite = {
	.name = "hmm_mirror_life",
	.test_cases = hmm_mirror_life_cases,
};

kunit_test_suite(hmm_mirror_life_suite);
