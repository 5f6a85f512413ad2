// SPDX-License-Identifier: GPL-2.0
/*
 * The lifetime of a mirror and of its mm: registration, unregistration, exit of the mm,
 * invalidations and faults in different orders
 */
#include <linux/delay.h>
#include <linux/file.h>
#include <linux/kthread.h>
#include <linux/mman.h>
#include <linux/prandom.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/shmem_fs.h>

#include "hmm_mirror_test.h"

/* Create a mm that can exit during the test. The caller has its only mm_users reference. */
static struct mm_struct *hmm_fake_mm(struct kunit *test)
{
	struct mm_struct *mm = mm_alloc();

	KUNIT_ASSERT_NOT_NULL(test, mm);
	mm->task_size = TASK_SIZE;
	arch_pick_mmap_layout(mm, &current->signal->rlim[RLIMIT_STACK]);
	return mm;
}

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

/* The race: in each round several threads end a mm with mirrors concurrently. */
#define LIFE_MIRRORS	3
#define LIFE_ACTORS	6
#define LIFE_CHUNKS	3
#define LIFE_SIZE	(LIFE_CHUNKS * PMD_SIZE)
#define LIFE_ROUNDS	2000

struct life;

/**
 * struct life_mirror - one of the mirrors, freed as soon as it is unregistered
 * @mirror: mirror
 * @life: the race that it belongs to
 * @faulting: the actors fault on this mirror
 * @lock: protects the members below
 * @releases: number of calls of the release callback
 * @late: number of callbacks after the release
 */
struct life_mirror {
	struct hmm_mirror mirror;
	struct life *life;
	bool faulting;
	spinlock_t lock; /* protects the members below */
	unsigned int releases;
	unsigned int late;
};

struct life_actor {
	struct life *life;
	void (*act)(struct life *life, struct rnd_state *rnd);
	struct rnd_state rnd;
	struct task_struct *task;
};

/**
 * struct life - the race
 * @mm: the mm of this round
 * @addr: anonymous memory, with a page of @file mapped after its first page
 * @file: a file that one actor unmaps from every mm
 * @mirrors: the mirrors; the pointers are stale after unregistration
 * @entered: a fault on the first mirror has begun or has ended
 * @fault_flags: flags of that fault
 * @fault_size: size of that fault
 * @actors: the threads
 * @round: number of the round; its change starts the actors
 * @begin: where the actors wait for the next round
 * @working: number of actors that have not finished the round
 * @done: all actors have finished the round
 * @stop: the last round is over
 * @wrong: number of mirrors with a wrong number of releases or a late callback, and of
 *	wrong errors
 * @faulted: number of successful faults
 */
struct life {
	struct mm_struct *mm;
	unsigned long addr;
	struct file *file;
	struct life_mirror *mirrors[LIFE_MIRRORS];
	struct completion entered;
	unsigned int fault_flags;
	unsigned long fault_size;
	struct life_actor actors[LIFE_ACTORS];
	unsigned int round;
	wait_queue_head_t begin;
	atomic_t working;
	struct completion done;
	bool stop;
	atomic_t wrong;
	atomic_t faulted;
};

static void life_wait_a_bit(struct rnd_state *rnd)
{
	u32 some = prandom_u32_state(rnd) % 16;

	if (some < 6)
		udelay(20 * some);
	else if (some < 8)
		usleep_range(50, 500 * (some - 5));
}

static void life_unregister(struct life *life, unsigned int nr)
{
	struct life_mirror *m = life->mirrors[nr];

	hmm_mirror_unregister(&m->mirror);
	if (m->releases != 1 || m->late)
		atomic_inc(&life->wrong);
	memset(m, 0x5a, sizeof(*m));
	kfree(m);
}

static void life_unregister_faulting(struct life *life, struct rnd_state *rnd)
{
	wait_for_completion(&life->entered);
	life_wait_a_bit(rnd);
	life_unregister(life, 0);
}

static void life_unregister_others(struct life *life, struct rnd_state *rnd)
{
	life_wait_a_bit(rnd);
	life_unregister(life, 1);
	life_wait_a_bit(rnd);
	life_unregister(life, 2);
}

/* The callback reports that a fault has begun. */
static int life_sync(struct hmm_mirror *mirror, const struct hmm_update *update)
{
	struct life_mirror *m = container_of(mirror, struct life_mirror, mirror);

	if (m->faulting && (update->event == HMM_UPDATE_DEVICE_RFAULT ||
			    update->event == HMM_UPDATE_DEVICE_WFAULT))
		complete(&m->life->entered);
	spin_lock(&m->lock);
	m->late += m->releases;
	spin_unlock(&m->lock);
	return 0;
}

static void life_release(struct hmm_mirror *mirror)
{
	struct life_mirror *m = container_of(mirror, struct life_mirror, mirror);

	spin_lock(&m->lock);
	m->releases++;
	spin_unlock(&m->lock);
}

static const struct hmm_mirror_ops life_ops = {
	.sync_cpu_device_pagetables = life_sync,
	.release = life_release,
};

static void life_fault(struct life *life, struct rnd_state *rnd)
{
	struct hmm_mirror *mirror = &life->mirrors[0]->mirror;
	long ret;

	ret = hmm_mirror_fault(mirror, life->addr, life->addr + life->fault_size,
			       life->fault_flags);
	/* Another actor may free the mirror from here on. */
	complete(&life->entered);
	if (ret > 0)
		atomic_inc(&life->faulted);
	else if (ret != -ESRCH && ret != -EFAULT)
		atomic_inc(&life->wrong);
}

static void life_change(struct life *life, struct rnd_state *rnd)
{
	unsigned int i;

	for (i = 0; i < 4 && mmget_not_zero(life->mm); i++) {
		unsigned long addr = life->addr + prandom_u32_state(rnd) % LIFE_CHUNKS * PMD_SIZE;

		if (i % 2) {
			do_madvise(life->mm, addr, PAGE_SIZE, MADV_DONTNEED);
		} else {
			kthread_use_mm(life->mm);
			put_user('x', (char __user *)addr);
			hmm_fake_protect(addr, PAGE_SIZE, PROT_READ);
			kthread_unuse_mm(life->mm);
		}
		mmput(life->mm);
		life_wait_a_bit(rnd);
	}
}

/* This needs no mm_users reference, and runs while the mm exits. */
static void life_unmap_file(struct life *life, struct rnd_state *rnd)
{
	unsigned int i;

	for (i = 0; i < 10; i++) {
		unmap_mapping_range(life->file->f_mapping, 0, 0, 1);
		cond_resched();
	}
}

static void life_mmput(struct life *life, struct rnd_state *rnd)
{
	life_wait_a_bit(rnd);
	mmput(life->mm);
}

/* Pairs with the smp_load_acquire() in life_thread(). */
static void life_begin(struct life *life)
{
	reinit_completion(&life->done);
	atomic_set(&life->working, LIFE_ACTORS);
	/* An actor that reads the new round also reads the members of this round. */
	smp_store_release(&life->round, life->round + 1);
	wake_up_all(&life->begin);
}

static int life_thread(void *arg)
{
	struct life_actor *actor = arg;
	struct life *life = actor->life;
	unsigned int round = 0;

	for (;;) {
		/* Pairs with the smp_store_release() in life_begin(). */
		wait_event(life->begin, smp_load_acquire(&life->round) != round);
		round = life->round;
		if (life->stop)
			break;
		actor->act(life, &actor->rnd);
		if (atomic_dec_and_test(&life->working))
			complete(&life->done);
	}
	if (atomic_dec_and_test(&life->working))
		complete(&life->done);
	return 0;
}

static void life_run(struct kunit *test, struct life *life)
{
	life_begin(life);
	if (!wait_for_completion_timeout(&life->done, HMM_FAKE_STUCK)) {
		KUNIT_FAIL(test, "stuck in round %u", life->round);
		wait_for_completion(&life->done);
	}
}

static void life_stop(void *arg)
{
	struct life *life = arg;

	life->stop = true;
	life_begin(life);
	wait_for_completion(&life->done);
	__fput_sync(life->file);
}

static void life_map(struct kunit *test, struct life *life)
{
	unsigned long i;

	life->addr = ALIGN(vm_mmap(NULL, 0, LIFE_SIZE + PMD_SIZE, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, 0), PMD_SIZE);
	KUNIT_ASSERT_EQ(test, 0, do_madvise(life->mm, life->addr, LIFE_SIZE, MADV_NOHUGEPAGE));
	/* Populate each chunk. */
	for (i = 0; i < LIFE_SIZE; i += PMD_SIZE)
		hmm_test_write(test, life->addr + i);
	KUNIT_ASSERT_EQ(test, life->addr + PAGE_SIZE,
			vm_mmap(life->file, life->addr + PAGE_SIZE, PAGE_SIZE, PROT_READ,
				MAP_SHARED | MAP_FIXED, 0));
	hmm_test_read(test, life->addr + PAGE_SIZE);
}

static struct life_mirror *life_register(struct kunit *test, struct life *life,
					 unsigned int nr)
{
	struct life_mirror *m = kmalloc(sizeof(*m), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, m);
	/* Members that the driver does not set are ignored. */
	memset(m, 0x6b, sizeof(*m));
	m->mirror.ops = &life_ops;
	m->mirror.dma_dev = NULL;
	m->mirror.dev_private_owner = m;
	m->mirror.flags = 0;
	m->life = life;
	m->faulting = !nr;
	spin_lock_init(&m->lock);
	m->releases = 0;
	m->late = 0;
	KUNIT_ASSERT_EQ(test, 0, hmm_mirror_register(&m->mirror, life->mm));
	return m;
}

static void life_round(struct kunit *test, struct life *life, struct rnd_state *rnd)
{
	struct mm_struct *mm = hmm_fake_mm(test);
	unsigned int i;

	life->mm = mm;
	mmgrab(mm);
	kthread_use_mm(mm);
	life_map(test, life);
	reinit_completion(&life->entered);
	for (i = 0; i < LIFE_MIRRORS; i++)
		life->mirrors[i] = life_register(test, life, i);
	hmm_mirror_fault(&life->mirrors[1]->mirror, life->addr, life->addr + LIFE_SIZE,
			 HMM_FAULT_PRESENT | HMM_FAULT_WRITE);
	kthread_unuse_mm(mm);

	/* Either a fault of many chunks, or one that needs CPU faults */
	life->fault_flags = HMM_FAULT_PRESENT | HMM_FAULT_READ;
	life->fault_size = LIFE_SIZE;
	if (prandom_u32_state(rnd) % 4 == 0) {
		life->fault_flags = HMM_FAULT_READ;
		life->fault_size = SZ_256K;
	}
	life_run(test, life);
	mmdrop(mm);
}

/*
 * Each mirror is released once and gets no late callback, in whatever order the actors
 * run.
 */
static void released_once_in_race(struct kunit *test)
{
	static void (*const acts[LIFE_ACTORS])(struct life *, struct rnd_state *) = {
		life_unregister_faulting, life_unregister_others, life_fault,
		life_change, life_unmap_file, life_mmput,
	};
	struct life *life = kunit_kzalloc(test, sizeof(*life), GFP_KERNEL);
	u32 seed = get_random_u32();
	struct rnd_state rnd;
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, life);
	kunit_info(test, "seed %u", seed);
	prandom_seed_state(&rnd, seed);
	init_completion(&life->entered);
	init_completion(&life->done);
	init_waitqueue_head(&life->begin);
	life->file = shmem_file_setup("hmm_mirror", PAGE_SIZE, 0);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, life->file);
	for (i = 0; i < LIFE_ACTORS; i++) {
		struct life_actor *actor = &life->actors[i];

		actor->life = life;
		actor->act = acts[i];
		prandom_seed_state(&actor->rnd, ++seed);
		actor->task = kthread_run(life_thread, actor, "hmm_life_%u", i);
		KUNIT_ASSERT_NOT_ERR_OR_NULL(test, actor->task);
	}
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, life_stop, life));

	for (i = 0; i < LIFE_ROUNDS; i++) {
		life_round(test, life, &rnd);
		KUNIT_ASSERT_EQ(test, 0, atomic_read(&life->wrong));
	}
	kunit_info(test, "%u rounds, %d faults", i, atomic_read(&life->faulted));
	KUNIT_EXPECT_GT(test, atomic_read(&life->faulted), 0);
}

/*
 * Several threads that register and unregister, while the first one creates what they
 * share
 */
struct crowd {
	struct mm_struct *mm;
	unsigned long addr;
	atomic_t wrong;
	atomic_t working;
	struct completion done;
};

static int crowd_thread(void *arg)
{
	struct crowd *crowd = arg;
	struct hmm_fake *fake;
	unsigned int i;

	for (i = 0; i < 25; i++) {
		fake = kmalloc(sizeof(*fake), GFP_KERNEL);
		if (!fake)
			break;
		hmm_fake_init(fake);
		if (hmm_mirror_register(&fake->mirror, crowd->mm)) {
			atomic_inc(&crowd->wrong);
			kfree(fake);
			break;
		}
		if (hmm_fake_fault(fake, crowd->addr, 4, HMM_FAULT_READ) != 4)
			atomic_inc(&crowd->wrong);
		do_madvise(crowd->mm, crowd->addr, PAGE_SIZE, MADV_DONTNEED);
		hmm_mirror_unregister(&fake->mirror);
		if (fake->releases != 1 || fake->late || fake->wrong)
			atomic_inc(&crowd->wrong);
		memset(fake, 0x5a, sizeof(*fake));
		kfree(fake);
	}
	if (atomic_dec_and_test(&crowd->working))
		complete(&crowd->done);
	return 0;
}

/* Concurrent registration and unregistration in one mm succeed. */
static void concurrent_registration(struct kunit *test)
{
	struct crowd crowd = { .mm = hmm_fake_mm(test) };
	unsigned int i;

	kthread_use_mm(crowd.mm);
	crowd.addr = vm_mmap(NULL, 0, 4 * PAGE_SIZE, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, 0);
	kthread_unuse_mm(crowd.mm);
	init_completion(&crowd.done);
	atomic_set(&crowd.working, 4);
	for (i = 0; i < 4; i++)
		kthread_run(crowd_thread, &crowd, "hmm_crowd");
	wait_for_completion(&crowd.done);
	KUNIT_EXPECT_EQ(test, 0, atomic_read(&crowd.wrong));
	mmput(crowd.mm);
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
	KUNIT_CASE(concurrent_registration),
	KUNIT_CASE_SLOW(released_once_in_race),
	{}
};

static struct kunit_suite hmm_mirror_life_suite = {
	.name = "hmm_mirror_life",
	.test_cases = hmm_mirror_life_cases,
};

kunit_test_suite(hmm_mirror_life_suite);
