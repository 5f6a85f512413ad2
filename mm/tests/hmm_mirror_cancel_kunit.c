// SPDX-License-Identifier: GPL-2.0
/*
 * Faults that wait for user space and are cancelled, mirrors that end meanwhile, and what
 * holds for a mirror after its unregistration
 */
#include <linux/delay.h>
#include <linux/fdtable.h>
#include <linux/kthread.h>
#include <linux/mman.h>
#include <linux/random.h>
#include <linux/sched/coredump.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/uaccess.h>
#include <linux/userfaultfd.h>

#include <asm/unistd.h>

#include "hmm_mirror_test.h"

#define CANCEL_PAGES	8

/**
 * struct cancel_uffd - memory that a userfaultfd covers, which answers faults only on
 *	request
 * @test: the test
 * @fd: the userfaultfd
 * @args: a page of user memory for the arguments of ioctls
 */
struct cancel_uffd {
	struct kunit *test;
	int fd;
	unsigned long args;
};

static void uffd_ioctl(struct cancel_uffd *u, unsigned int command, const void *arg,
		       size_t size)
{
	KUNIT_ASSERT_EQ(u->test, 0, copy_to_user((void __user *)u->args, arg, size));
	KUNIT_ASSERT_EQ(u->test, 0, hmm_test_syscall(__NR_ioctl, u->fd, command, u->args, 0, 0));
}

static void uffd_close(void *arg)
{
	struct cancel_uffd *u = arg;

	close_fd(u->fd);
}

static struct cancel_uffd *uffd_watch(struct hmm_fake *fake, unsigned long addr)
{
	const struct uffdio_api api = { .api = UFFD_API };
	const struct uffdio_register reg = {
		.range = { .start = addr, .len = CANCEL_PAGES * PAGE_SIZE },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	struct kunit *test = fake->test;
	struct cancel_uffd *u = kunit_kzalloc(test, sizeof(*u), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, u);
	u->test = test;
	u->args = hmm_fake_map(fake, SZ_256M, PAGE_SIZE);
	u->fd = hmm_test_syscall(__NR_userfaultfd, 0, 0, 0, 0, 0);
	KUNIT_ASSERT_GE(test, u->fd, 0);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, uffd_close, u));
	uffd_ioctl(u, UFFDIO_API, &api, sizeof(api));
	uffd_ioctl(u, UFFDIO_REGISTER, &reg, sizeof(reg));
	return u;
}

static void uffd_serve(struct cancel_uffd *u, unsigned long addr)
{
	const struct uffdio_zeropage zero = { .range = { .start = addr, .len = PAGE_SIZE } };

	uffd_ioctl(u, UFFDIO_ZEROPAGE, &zero, sizeof(zero));
}

/* Wait until the fault of @call waits for user space. */
static void expect_waits(struct kunit *test, struct hmm_fake_call *call)
{
	unsigned long begin = jiffies;

	while (!(READ_ONCE(call->task->__state) & TASK_INTERRUPTIBLE) &&
	       time_before(jiffies, begin + HMM_FAKE_STUCK))
		usleep_range(1000, 2000);
	KUNIT_EXPECT_FALSE(test, completion_done(&call->done));
}

static unsigned int cancel(struct hmm_fake *fake, unsigned long addr, unsigned long npages)
{
	return hmm_mirror_cancel_range(&fake->mirror, addr, AT(addr, npages));
}

/* Cancelling a range, a job or all faults cancels exactly the faults that it names. */
static void cancels_exactly_what_it_names(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0), *other = hmm_fake_another(fake, 0);
	unsigned long addr = hmm_fake_map_small(fake, CANCEL_PAGES), i;
	struct cancel_uffd *u = uffd_watch(fake, addr);
	struct hmm_fake_call *calls[6];
	struct hmm_job jobs[3];

	for (i = 0; i < ARRAY_SIZE(jobs); i++)
		hmm_job_init(&jobs[i]);
	for (i = 0; i < ARRAY_SIZE(calls); i++) {
		calls[i] = hmm_fake_call_job(i == 5 ? other : fake, AT(addr, i), 1,
					     HMM_FAULT_WRITE, i == 5 ? &jobs[2] : &jobs[i % 2]);
		expect_waits(test, calls[i]);
	}
	/* The range is half-open. */
	KUNIT_EXPECT_EQ(test, 0, cancel(fake, AT(addr, 5), 2));
	KUNIT_EXPECT_EQ(test, 0, cancel(fake, AT(addr, -1), 1));
	KUNIT_EXPECT_EQ(test, 1, cancel(fake, AT(addr, 1), 1));
	KUNIT_EXPECT_EQ(test, -ECANCELED, hmm_fake_call_ends(calls[1]));
	KUNIT_EXPECT_EQ(test, 3, hmm_mirror_cancel_job(&fake->mirror, &jobs[0]));
	KUNIT_EXPECT_EQ(test, 0, hmm_mirror_cancel_job(&fake->mirror, &jobs[0]));
	for (i = 0; i < 5; i += 2)
		KUNIT_EXPECT_EQ(test, -ECANCELED, hmm_fake_call_ends(calls[i]));
	/* The other faults still wait. */
	expect_waits(test, calls[3]);
	expect_waits(test, calls[5]);
	KUNIT_EXPECT_EQ(test, 1, hmm_mirror_cancel_range(&fake->mirror, 0, ULONG_MAX));
	KUNIT_EXPECT_EQ(test, -ECANCELED, hmm_fake_call_ends(calls[3]));
	uffd_serve(u, AT(addr, 5));
	KUNIT_EXPECT_EQ(test, 1, hmm_fake_call_ends(calls[5]));

	/* Cancelling a range does not affect later faults. Cancelling a job does. */
	calls[0] = hmm_fake_call_job(fake, addr, 1, HMM_FAULT_WRITE, &jobs[1]);
	expect_waits(test, calls[0]);
	KUNIT_EXPECT_EQ(test, -ECANCELED,
			hmm_mirror_fault_job(&fake->mirror, addr, AT(addr, 1),
					     HMM_FAULT_WRITE, &jobs[0]));
	uffd_serve(u, addr);
	KUNIT_EXPECT_EQ(test, 1, hmm_fake_call_ends(calls[0]));
	KUNIT_EXPECT_PTR_EQ(test, &jobs[1], fake->fill.job);
	KUNIT_EXPECT_EQ(test, -ECANCELED,
			hmm_mirror_fault_job(&fake->mirror, addr, AT(addr, 1),
					     HMM_FAULT_WRITE, &jobs[0]));
	hmm_job_init(&jobs[0]);
	KUNIT_EXPECT_EQ(test, 1, hmm_mirror_fault_job(&fake->mirror, addr, AT(addr, 1),
						      HMM_FAULT_WRITE, &jobs[0]));
	KUNIT_EXPECT_EQ(test, 0, hmm_mirror_zap(&fake->mirror, addr, AT(addr, 1)));
	hmm_fake_fault_all(fake, addr, 1, HMM_FAULT_WRITE);
	KUNIT_EXPECT_PTR_EQ(test, NULL, fake->fill.job);
}

/* A work item that faults repeatedly for a job that is cancelled at any time */
struct cancelled_job {
	struct hmm_mirror *mirror;
	struct hmm_job job;
	struct work_struct work;
	unsigned long addr;
};

static void cancelled_work(struct work_struct *work)
{
	struct cancelled_job *c = container_of(work, struct cancelled_job, work);
	long ret;

	do
		ret = hmm_mirror_fault_job(c->mirror, c->addr, AT(c->addr, 1), HMM_FAULT_READ,
					   &c->job);
	while (ret != -ECANCELED);
}

/* A job that is cancelled at any time ends with -ECANCELED. */
static void job_cancelled_any_time(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, CANCEL_PAGES + 1), i;
	struct cancelled_job *c;

	uffd_watch(fake, addr);
	for (i = 0; i < 200; i++) {
		c = kmalloc(sizeof(*c), GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, c);
		c->mirror = &fake->mirror;
		/* Every other job waits for user space. */
		c->addr = i % 2 ? addr : AT(addr, CANCEL_PAGES);
		hmm_job_init(&c->job);
		INIT_WORK(&c->work, cancelled_work);
		queue_work(system_unbound_wq, &c->work);
		if (i % 4)
			udelay(get_random_u32_below(50));
		hmm_mirror_cancel_job(&fake->mirror, &c->job);
		cancel_work_sync(&c->work);
		kfree(c);
	}
}

/*
 * A fault that is cancelled after some chunks returns -ECANCELED and no count, so that
 * the caller does not continue.
 */
static void cancelled_after_some_chunks(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, PTRS_PER_PTE + CANCEL_PAGES), edge;
	struct hmm_fake_call *call;

	/* The pages before the edge are a chunk of their own. */
	edge = ALIGN(addr + PAGE_SIZE, PMD_SIZE);
	uffd_watch(fake, edge);
	call = hmm_fake_call(fake, AT(edge, -4), 8, HMM_FAULT_WRITE);
	expect_waits(test, call);
	KUNIT_EXPECT_EQ(test, 1, cancel(fake, edge, 1));
	KUNIT_EXPECT_EQ(test, -ECANCELED, hmm_fake_call_ends(call));
	KUNIT_EXPECT_EQ(test, 4, hmm_fake_writable(fake, AT(edge, -4), 8));
}

/* A cancellation right after the start of a fault is not lost. */
static void cancelled_early(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, CANCEL_PAGES), i;
	struct hmm_fake_call *call;

	uffd_watch(fake, addr);
	for (i = 0; i < 200; i++) {
		call = hmm_fake_call(fake, addr, 1, HMM_FAULT_READ);
		while (!cancel(fake, addr, 1))
			cond_resched();
		KUNIT_ASSERT_EQ(test, -ECANCELED, hmm_fake_call_ends(call));
		/*
		 * No signal stays pending in the thread, which may be a worker with other
		 * work.
		 */
		KUNIT_ASSERT_FALSE(test, call->signal_left);
	}
}

/* A callback with an interruptible wait */
static int slow_sync(struct hmm_mirror *mirror, const struct hmm_update *update)
{
	struct hmm_fake *fake = container_of(mirror, struct hmm_fake, mirror);

	if (update->event != HMM_UPDATE_DEVICE_WFAULT)
		return 0;
	fake->fills++;
	complete(&fake->held);
	return wait_for_completion_interruptible(&fake->go) ? -EIO : 0;
}

/* Cancelling a fault ends an interruptible wait in the driver's callback. */
static void cancelled_in_callback(struct kunit *test)
{
	static const struct hmm_mirror_ops ops = { .sync_cpu_device_pagetables = slow_sync };
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	const struct hmm_mirror_ops *old = fake->mirror.ops;
	unsigned long addr;
	struct hmm_fake_call *call;

	hmm_fake_set_ops(fake, &ops);
	addr = hmm_fake_map_small(fake, 4);
	call = hmm_fake_call(fake, addr, 4, HMM_FAULT_WRITE);
	wait_for_completion(&fake->held);
	KUNIT_EXPECT_EQ(test, 1, cancel(fake, addr, 1));
	KUNIT_EXPECT_EQ(test, -ECANCELED, hmm_fake_call_ends(call));
	KUNIT_EXPECT_FALSE(test, call->signal_left);
	KUNIT_EXPECT_EQ(test, 0, hmm_fake_valid(fake, addr, 4));
	hmm_fake_set_ops(fake, old);
}

/* A fault in a thread that accepts SIGUSR1 */
static int signalled_thread(void *arg)
{
	struct hmm_fake_call *call = arg;

	allow_signal(SIGUSR1);
	complete(&call->fake->held);
	wait_for_completion(&call->fake->go);
	call->ret = hmm_mirror_fault(&call->fake->mirror, call->start, call->end, call->flags);
	flush_signals(current);
	complete_all(&call->done);
	return 0;
}

static long signalled_fault(struct hmm_fake *fake, unsigned long addr, bool waits)
{
	struct hmm_fake_call call = {
		.fake = fake,
		.start = addr,
		.end = addr + PAGE_SIZE,
		.flags = HMM_FAULT_WRITE,
	};

	init_completion(&call.done);
	reinit_completion(&fake->held);
	reinit_completion(&fake->go);
	call.task = kthread_create(signalled_thread, &call, "hmm_signalled");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(fake->test, call.task);
	get_task_struct(call.task);
	wake_up_process(call.task);
	wait_for_completion(&fake->held);
	if (!waits)
		send_sig(SIGUSR1, call.task, 1);
	complete(&fake->go);
	if (waits) {
		expect_waits(fake->test, &call);
		send_sig(SIGUSR1, call.task, 1);
	}
	wait_for_completion(&call.done);
	put_task_struct(call.task);
	return call.ret;
}

/* A signal that does not kill ends a wait for user space, and nothing else. */
static void signal_ends_wait_for_user_space(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 2 * CANCEL_PAGES);

	uffd_watch(fake, addr);
	KUNIT_EXPECT_EQ(test, -EINTR, signalled_fault(fake, addr, true));
	KUNIT_EXPECT_EQ(test, 1, signalled_fault(fake, AT(addr, CANCEL_PAGES), false));
}

/* hmm_mirror_unregister() in another thread */
struct unregistering {
	struct hmm_mirror *mirror;
	struct completion done;
};

static int unregister_thread(void *arg)
{
	struct unregistering *u = arg;

	hmm_mirror_unregister(u->mirror);
	complete_all(&u->done);
	return 0;
}

static void unregister_start(struct kunit *test, struct unregistering *u,
			     struct hmm_mirror *mirror)
{
	u->mirror = mirror;
	init_completion(&u->done);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, kthread_run(unregister_thread, u, "hmm_unregister"));
}

/* hmm_mirror_unregister() ends a fault that waits for user space. */
static void unregister_ends_wait_for_user_space(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, CANCEL_PAGES);
	struct hmm_fake_call *call;

	uffd_watch(fake, addr);
	call = hmm_fake_call(fake, addr, 1, HMM_FAULT_WRITE);
	expect_waits(test, call);
	hmm_fake_unregister(fake);
	KUNIT_EXPECT_EQ(test, -ESRCH, hmm_fake_call_ends(call));
}

/* A fault fails with -ESRCH while the driver still handles the last invalidation. */
static void fault_while_dying(struct kunit *test)
{
	struct hmm_fake *keeper = hmm_fake_new(test, 0);
	struct hmm_fake *fake = kunit_kzalloc(test, sizeof(*fake), GFP_KERNEL);
	unsigned long addr = hmm_fake_map_small(keeper, CANCEL_PAGES + 1);
	struct unregistering u;

	KUNIT_ASSERT_NOT_NULL(test, fake);
	hmm_fake_init(fake);
	fake->test = test;
	KUNIT_ASSERT_EQ(test, 0, hmm_mirror_register(&fake->mirror, current->mm));
	uffd_watch(keeper, addr);
	hmm_fake_fault_all(fake, AT(addr, CANCEL_PAGES), 1, HMM_FAULT_WRITE);
	fake->hold = true;
	unregister_start(test, &u, &fake->mirror);
	wait_for_completion(&fake->held);
	KUNIT_EXPECT_EQ(test, -ESRCH, hmm_fake_fault(fake, addr, 1, HMM_FAULT_WRITE));
	complete(&fake->go);
	wait_for_completion(&u.done);
	KUNIT_EXPECT_EQ(test, 1, fake->releases);
}

/* A driver whose release() waits for the work item that faults */
struct flusher {
	struct hmm_mirror mirror;
	struct work_struct work;
	unsigned long addr;
	long ret;
	bool released;
};

static int flusher_sync(struct hmm_mirror *mirror, const struct hmm_update *update)
{
	return 0;
}

static void flusher_release(struct hmm_mirror *mirror)
{
	struct flusher *f = container_of(mirror, struct flusher, mirror);

	flush_work(&f->work);
	f->released = true;
}

static void flusher_work(struct work_struct *work)
{
	struct flusher *f = container_of(work, struct flusher, work);

	f->ret = hmm_mirror_fault(&f->mirror, f->addr, f->addr + PAGE_SIZE, HMM_FAULT_WRITE);
}

static const struct hmm_mirror_ops flusher_ops = {
	.sync_cpu_device_pagetables = flusher_sync,
	.release = flusher_release,
};

static bool wait_until_listed(struct hmm_mirror *mirror)
{
	unsigned long begin = jiffies;

	while (list_empty_careful(&mirror->calls) &&
	       time_before(jiffies, begin + HMM_FAKE_STUCK))
		usleep_range(1000, 2000);
	return !list_empty_careful(&mirror->calls);
}

/* A release() that waits for a fault ends, although user space never answers the fault. */
static void release_waits_for_fault(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, CANCEL_PAGES);
	struct flusher *f = kunit_kzalloc(test, sizeof(*f), GFP_KERNEL);
	struct unregistering unregistering;
	struct cancel_uffd *u;

	KUNIT_ASSERT_NOT_NULL(test, f);
	u = uffd_watch(fake, addr);
	f->addr = addr;
	f->mirror.ops = &flusher_ops;
	INIT_WORK(&f->work, flusher_work);
	KUNIT_ASSERT_EQ(test, 0, hmm_mirror_register(&f->mirror, current->mm));
	queue_work(system_unbound_wq, &f->work);
	KUNIT_ASSERT_TRUE(test, wait_until_listed(&f->mirror));
	msleep(50);
	unregister_start(test, &unregistering, &f->mirror);
	if (!wait_for_completion_timeout(&unregistering.done, HMM_FAKE_STUCK)) {
		KUNIT_FAIL(test, "release() waits for a fault that does not end");
		uffd_serve(u, addr);
		wait_for_completion(&unregistering.done);
	}
	KUNIT_EXPECT_TRUE(test, f->released);
	KUNIT_EXPECT_EQ(test, -ESRCH, f->ret);
}

/* After hmm_mirror_unregister() every call on the mirror fails or does nothing. */
static void after_unregister(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 4);
	struct hmm_range range = {
		.mirror = &fake->mirror,
		.start = addr,
		.end = AT(addr, 4),
	};
	struct hmm_pt_iter iter;
	unsigned int order = 1;

	hmm_fake_fault_all(fake, addr, 4, HMM_FAULT_WRITE);
	hmm_fake_unregister(fake);
	KUNIT_EXPECT_EQ(test, -ESRCH, hmm_fake_fault(fake, addr, 4, HMM_FAULT_WRITE));
	KUNIT_EXPECT_EQ(test, -ESRCH, hmm_fake_fault(fake, addr, 4, 0));
	KUNIT_EXPECT_EQ(test, -ESRCH, hmm_range_begin(&range));
	KUNIT_EXPECT_EQ(test, 0, hmm_mirror_cancel_range(&fake->mirror, 0, ULONG_MAX));
	down_write(&fake->mirror.lock);
	KUNIT_EXPECT_FALSE(test, hmm_pte_valid(hmm_pt_lookup(&fake->mirror, addr, &order)));
	KUNIT_EXPECT_EQ(test, 0, order);
	hmm_pt_for_each(&iter, &fake->mirror, 0, ULONG_MAX & PAGE_MASK)
		KUNIT_FAIL(test, "%lx is mirrored", iter.addr);
	hmm_mirror_range_dirty(&fake->mirror, addr, AT(addr, 4));
	up_write(&fake->mirror.lock);
	KUNIT_EXPECT_EQ(test, 4, hmm_fake_stats(fake).pages);
}

/* Threads that use a mirror before and after the device is unplugged */
struct unplug {
	struct hmm_fake *fake;
	unsigned long addr;
	bool gone;
	atomic_t refused;
	atomic_t wrong;
};

static int unplug_thread(void *arg)
{
	struct unplug *unplug = arg;
	struct hmm_fake *fake = unplug->fake;
	long ret;

	while (!kthread_should_stop()) {
		bool gone = READ_ONCE(unplug->gone);

		ret = hmm_fake_fault(fake, unplug->addr, 4, HMM_FAULT_WRITE);
		if (gone)
			atomic_inc(&unplug->refused);
		if (ret != -ESRCH && ret != 4)
			atomic_inc(&unplug->wrong);
		if (gone && (ret != -ESRCH || hmm_fake_valid(fake, unplug->addr, 4)))
			atomic_inc(&unplug->wrong);
		hmm_mirror_cancel_range(&fake->mirror, 0, PAGE_SIZE);
		cond_resched();
	}
	return 0;
}

/* Concurrent users of a mirror that is unregistered get -ESRCH. */
static void unregister_with_concurrent_users(struct kunit *test)
{
	struct hmm_fake *keeper = hmm_fake_new(test, 0);
	struct unplug *u = kunit_kzalloc(test, sizeof(*u), GFP_KERNEL);
	struct task_struct *tasks[3];
	unsigned long i, round;

	KUNIT_ASSERT_NOT_NULL(test, u);
	u->addr = hmm_fake_map_small(keeper, 4);
	for (round = 0; round < 20; round++) {
		u->fake = kmalloc(sizeof(*u->fake), GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, u->fake);
		hmm_fake_init(u->fake);
		KUNIT_ASSERT_EQ(test, 0, hmm_mirror_register(&u->fake->mirror, current->mm));
		u->gone = false;
		atomic_set(&u->refused, 0);
		for (i = 0; i < ARRAY_SIZE(tasks); i++) {
			tasks[i] = kthread_run(unplug_thread, u, "hmm_unplug");
			KUNIT_ASSERT_NOT_ERR_OR_NULL(test, tasks[i]);
		}
		while (!hmm_fake_stats(u->fake).faults)
			cond_resched();
		hmm_mirror_unregister(&u->fake->mirror);
		WRITE_ONCE(u->gone, true);
		while (!atomic_read(&u->refused))
			cond_resched();
		for (i = 0; i < ARRAY_SIZE(tasks); i++)
			kthread_stop(tasks[i]);
		memset(u->fake, 0x5a, sizeof(*u->fake));
		kfree(u->fake);
		KUNIT_ASSERT_EQ(test, 0, atomic_read(&u->wrong));
	}
}

/* A fault for a mm whose process is being killed fails with -EINTR in any thread. */
static void killed_mm_faults_nothing(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 4);
	struct mm_struct *mm = current->mm;
	struct task_struct __rcu *owner;

	set_bit(MMF_UNSTABLE, &mm->flags);
	KUNIT_EXPECT_EQ(test, -EINTR, hmm_fake_fault(fake, addr, 4, HMM_FAULT_READ));
	clear_bit(MMF_UNSTABLE, &mm->flags);
	owner = mm->owner;
	RCU_INIT_POINTER(mm->owner, NULL);
	KUNIT_EXPECT_EQ(test, -EINTR, hmm_fake_fault(fake, addr, 4, HMM_FAULT_READ));
	mm->owner = owner;
	current->signal->flags |= SIGNAL_GROUP_EXIT;
	RCU_INIT_POINTER(mm->owner, current);
	KUNIT_EXPECT_EQ(test, -EINTR, hmm_fake_fault(fake, addr, 4, HMM_FAULT_READ));
	current->signal->flags &= ~SIGNAL_GROUP_EXIT;
	KUNIT_EXPECT_EQ(test, 0, hmm_fake_valid(fake, addr, 4));
	hmm_fake_fault_all(fake, addr, 4, HMM_FAULT_WRITE);
	mm->owner = owner;
}

static struct kunit_case hmm_mirror_cancel_cases[] = {
	KUNIT_CASE(cancels_exactly_what_it_names),
	KUNIT_CASE(job_cancelled_any_time),
	KUNIT_CASE(cancelled_after_some_chunks),
	KUNIT_CASE(cancelled_early),
	KUNIT_CASE(cancelled_in_callback),
	KUNIT_CASE(signal_ends_wait_for_user_space),
	KUNIT_CASE(unregister_ends_wait_for_user_space),
	KUNIT_CASE(fault_while_dying),
	KUNIT_CASE(release_waits_for_fault),
	KUNIT_CASE(after_unregister),
	KUNIT_CASE(unregister_with_concurrent_users),
	KUNIT_CASE(killed_mm_faults_nothing),
	{}
};

static struct kunit_suite hmm_mirror_cancel_suite = {
	.name = "hmm_mirror_cancel",
	.test_cases = hmm_mirror_cancel_cases,
};

kunit_test_suite(hmm_mirror_cancel_suite);
