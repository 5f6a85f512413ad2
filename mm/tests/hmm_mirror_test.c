// SPDX-License-Identifier: GPL-2.0
/* A driver without a device, for the tests of the mirror */
#include <linux/delay.h>
#include <linux/hugetlb.h>
#include <linux/kthread.h>
#include <linux/mman.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>

#include <asm/unistd.h>

#include "hmm_mirror_test.h"
#include "hmm_range_states.h"

/* The tests need at most this much: four windows. */
#define FAKE_SIZE	(4UL << 30)

static bool fake_is_fill(const struct hmm_update *update)
{
	return update->event == HMM_UPDATE_DEVICE_RFAULT ||
	       update->event == HMM_UPDATE_DEVICE_WFAULT;
}

/* These rules hold for each update that a driver gets. */
static bool fake_update_is_sane(const struct hmm_update *update)
{
	return update->event > HMM_UPDATE_NONE && update->start < update->end &&
	       PAGE_ALIGNED(update->start | update->end) &&
	       update->start >> 30 == (update->end - 1) >> 30 &&
	       (update->blockable || !fake_is_fill(update));
}

/*
 * The callback can still read the entries that it has to revoke, and is called only if
 * there are such entries.
 */
static bool fake_has_it(struct hmm_mirror *mirror, const struct hmm_update *update)
{
	switch (update->event) {
	case HMM_UPDATE_WRITE_PROTECT:
	case HMM_UPDATE_FORK:
	case HMM_UPDATE_ISDIRTY:
		return hmm_pt_writable(&mirror->pt, update->start, update->end);
	default:
		return hmm_pt_occupied(&mirror->pt, update->start, update->end);
	}
}

static int fake_fill(struct hmm_fake *fake, const struct hmm_update *update)
{
	bool shares = down_read_trylock(&fake->mirror.lock);
	int ret = 0;

	if (shares)
		up_read(&fake->mirror.lock);
	lockdep_assert_held_read(&fake->mirror.lock);
	spin_lock(&fake->lock);
	fake->fill = *update;
	fake->fills++;
	fake->fill_shares = shares;
	if (update->start >= fake->fill_error_from)
		swap(ret, fake->fill_error);
	spin_unlock(&fake->lock);
	return ret;
}

static int fake_sync(struct hmm_mirror *mirror, const struct hmm_update *update)
{
	struct hmm_fake *fake = container_of(mirror, struct hmm_fake, mirror);
	bool refuse, hold;

	lockdep_assert_held(&mirror->lock);
	spin_lock(&fake->lock);
	fake->late += fake->releases;
	fake->wrong += !fake_update_is_sane(update);
	fake->wrong += !(mirror->flags & HMM_MIRROR_OWN_TABLES) && !fake_has_it(mirror, update);
	spin_unlock(&fake->lock);
	if (fake_is_fill(update))
		return fake_fill(fake, update);

	lockdep_assert_held_write(&mirror->lock);
	spin_lock(&fake->lock);
	if (fake->count < HMM_FAKE_LOG)
		fake->log[fake->count] = *update;
	fake->count++;
	refuse = fake->refuse && update->start >= fake->refuse_from;
	if (refuse)
		fake->refuse--;
	hold = fake->hold;
	fake->hold = false;
	spin_unlock(&fake->lock);
	if (hold) {
		complete(&fake->held);
		wait_for_completion(&fake->go);
	}
	return refuse ? -EAGAIN : 0;
}

static void fake_release(struct hmm_mirror *mirror)
{
	struct hmm_fake *fake = container_of(mirror, struct hmm_fake, mirror);

	spin_lock(&fake->lock);
	fake->releases++;
	fake->releaser = current;
	spin_unlock(&fake->lock);
}

static const struct hmm_mirror_ops fake_ops = {
	.sync_cpu_device_pagetables = fake_sync,
	.release = fake_release,
};

/*
 * Set what a driver must set. The other members are not 0, because a driver need not
 * clear them.
 */
void hmm_fake_init(struct hmm_fake *fake)
{
	memset(fake, 0, sizeof(*fake));
	memset(&fake->mirror, 0x6b, sizeof(fake->mirror));
	fake->mirror.ops = &fake_ops;
	fake->mirror.dma_dev = NULL;
	fake->mirror.dev_private_owner = fake;
	fake->mirror.flags = 0;
	spin_lock_init(&fake->lock);
	init_completion(&fake->held);
	init_completion(&fake->go);
}

/* Unregister the mirror, and check what must hold for each mirror at its end. */
static void fake_unregister(void *arg)
{
	struct hmm_fake *fake = arg;
	struct kunit *test = fake->test;

	complete_all(&fake->go);
	fake->refuse = 0;
	hmm_mirror_unregister(&fake->mirror);
	KUNIT_EXPECT_EQ(test, 1, fake->releases);
	KUNIT_EXPECT_EQ(test, 0, fake->late);
	KUNIT_EXPECT_EQ(test, 0, fake->wrong);
}

void hmm_fake_unregister(struct hmm_fake *fake)
{
	kunit_release_action(fake->test, fake_unregister, fake);
}

static struct hmm_fake *fake_register(struct kunit *test, unsigned long base,
				      unsigned int flags)
{
	struct hmm_fake *fake = kunit_kzalloc(test, sizeof(*fake), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, fake);
	hmm_fake_init(fake);
	fake->test = test;
	fake->base = base;
	fake->mirror.flags = flags;
	KUNIT_ASSERT_EQ(test, 0, hmm_mirror_register(&fake->mirror, current->mm));
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, fake_unregister, fake));
	return fake;
}

/* Create a mm that can exit during the test. The caller has its only mm_users reference. */
struct mm_struct *hmm_fake_mm(struct kunit *test)
{
	struct mm_struct *mm = mm_alloc();

	KUNIT_ASSERT_NOT_NULL(test, mm);
	mm->task_size = TASK_SIZE;
	arch_pick_mmap_layout(mm, &current->signal->rlim[RLIMIT_STACK]);
	return mm;
}

/* Create a mirror of the test's mm, with an area in which tests map memory. */
struct hmm_fake *hmm_fake_new(struct kunit *test, unsigned int flags)
{
	unsigned long base;

	base = kunit_vm_mmap(test, NULL, 0, FAKE_SIZE + SZ_1G, PROT_NONE,
			     MAP_ANONYMOUS | MAP_PRIVATE | MAP_NORESERVE, 0);
	KUNIT_ASSERT_NE(test, 0, base);
	KUNIT_ASSERT_LT(test, base, TASK_SIZE);
	return fake_register(test, ALIGN(base, SZ_1G), flags);
}

/* Create one more mirror of the same mm. */
struct hmm_fake *hmm_fake_another(struct hmm_fake *fake, unsigned int flags)
{
	return fake_register(fake->test, fake->base, flags);
}

/* Register the same mirror again, as the caller has set it up. */
static void fake_register_again(struct hmm_fake *fake)
{
	fake->releases = 0;
	KUNIT_ASSERT_EQ(fake->test, 0, hmm_mirror_register(&fake->mirror, current->mm));
}

void hmm_fake_set_owner(struct hmm_fake *fake, void *owner)
{
	hmm_mirror_unregister(&fake->mirror);
	fake->mirror.dev_private_owner = owner;
	fake_register_again(fake);
}

void hmm_fake_set_device(struct hmm_fake *fake, struct device *dev)
{
	hmm_mirror_unregister(&fake->mirror);
	fake->mirror.dma_dev = dev;
	fake_register_again(fake);
}

void hmm_fake_set_ops(struct hmm_fake *fake, const struct hmm_mirror_ops *ops)
{
	hmm_mirror_unregister(&fake->mirror);
	fake->mirror.ops = ops;
	fake_register_again(fake);
}

unsigned long hmm_fake_map_file(struct hmm_fake *fake, unsigned long offset,
				unsigned long size, struct file *file, unsigned long flags)
{
	unsigned long addr = fake->base + offset;

	KUNIT_ASSERT_EQ(fake->test, addr,
			vm_mmap(file, addr, size, PROT_READ | PROT_WRITE,
				flags | MAP_FIXED | MAP_NORESERVE, 0));
	return addr;
}

unsigned long hmm_fake_map(struct hmm_fake *fake, unsigned long offset, unsigned long size)
{
	return hmm_fake_map_file(fake, offset, size, NULL, MAP_ANONYMOUS | MAP_PRIVATE);
}

/* Describe CPU page table entries from @addr on, which the test writes itself. */
struct hmm_area *hmm_fake_area(struct hmm_fake *fake, unsigned long addr)
{
	struct hmm_area *a = kunit_kzalloc(fake->test, sizeof(*a), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(fake->test, a);
	a->test = fake->test;
	a->state = hmm_states;
	a->addr = addr;
	return a;
}

/* Map small pages in the middle of the first window. */
unsigned long hmm_fake_map_small(struct hmm_fake *fake, unsigned long npages)
{
	unsigned long addr = hmm_fake_map(fake, SZ_512M, npages << PAGE_SHIFT);

	KUNIT_ASSERT_EQ(fake->test, 0, do_madvise(current->mm, addr, npages << PAGE_SHIFT,
						  MADV_NOHUGEPAGE));
	return addr;
}

/* Map memory for @count THPs at the same place. */
unsigned long hmm_fake_map_huge(struct hmm_fake *fake, unsigned long count)
{
	return hmm_fake_map(fake, SZ_512M, count * PMD_SIZE);
}

struct file *hmm_fake_hugetlb(struct kunit *test, unsigned long size, unsigned int order)
{
	struct file *file = hugetlb_file_setup("hmm_mirror", size, VM_NORESERVE,
					       HUGETLB_ANONHUGE_INODE, PAGE_SHIFT + order);

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, file);
	return file;
}

long hmm_fake_fault(struct hmm_fake *fake, unsigned long addr, unsigned long npages,
		    unsigned int flags)
{
	return hmm_mirror_fault(&fake->mirror, addr, addr + (npages << PAGE_SHIFT), flags);
}

void hmm_fake_fault_all(struct hmm_fake *fake, unsigned long addr, unsigned long npages,
			unsigned int flags)
{
	KUNIT_ASSERT_EQ(fake->test, npages, hmm_fake_fault(fake, addr, npages, flags));
	KUNIT_ASSERT_EQ(fake->test, npages, hmm_fake_valid(fake, addr, npages));
	if (flags & HMM_FAULT_WRITE)
		KUNIT_ASSERT_EQ(fake->test, npages, hmm_fake_writable(fake, addr, npages));
}

static int fake_call_thread(void *arg)
{
	struct hmm_fake_call *call = arg;

	call->ret = hmm_mirror_fault_job(&call->fake->mirror, call->start, call->end,
					 call->flags, call->job);
	call->signal_left = signal_pending(current);
	complete_all(&call->done);
	return 0;
}

static void fake_call_wait(void *arg)
{
	struct hmm_fake_call *call = arg;

	wait_for_completion(&call->done);
	put_task_struct(call->task);
}

/* Start a fault in another thread. */
struct hmm_fake_call *hmm_fake_call(struct hmm_fake *fake, unsigned long addr,
				    unsigned long npages, unsigned int flags)
{
	return hmm_fake_call_job(fake, addr, npages, flags, NULL);
}

struct hmm_fake_call *hmm_fake_call_job(struct hmm_fake *fake, unsigned long addr,
					unsigned long npages, unsigned int flags,
					struct hmm_job *job)
{
	struct kunit *test = fake->test;
	struct hmm_fake_call *call;

	call = kunit_kzalloc(test, sizeof(*call), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, call);
	call->fake = fake;
	call->start = addr;
	call->end = addr + (npages << PAGE_SHIFT);
	call->flags = flags;
	call->job = job;
	init_completion(&call->done);
	call->task = kthread_create(fake_call_thread, call, "hmm_fake_call");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, call->task);
	get_task_struct(call->task);
	wake_up_process(call->task);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, fake_call_wait, call));
	return call;
}

/*
 * Wait until the task sleeps, and check that it stays asleep. On a loaded machine the
 * result may be wrongly true, but it is never wrongly false.
 */
static bool fake_waits(struct task_struct *task, struct completion *done)
{
	unsigned long begin = jiffies;
	unsigned int asleep = 0;

	while (asleep < 30 && time_before(jiffies, begin + HMM_FAKE_STUCK)) {
		if (completion_done(done))
			return false;
		asleep = READ_ONCE(task->__state) & TASK_UNINTERRUPTIBLE ? asleep + 1 : 0;
		usleep_range(1000, 2000);
	}
	return !completion_done(done);
}

bool hmm_fake_call_blocks(struct hmm_fake_call *call)
{
	return fake_waits(call->task, &call->done);
}

long hmm_fake_call_ends(struct hmm_fake_call *call)
{
	struct kunit *test = call->fake->test;

	if (!wait_for_completion_timeout(&call->done, HMM_FAKE_STUCK))
		KUNIT_FAIL(test, "a fault is stuck");
	kunit_release_action(test, fake_call_wait, call);
	return call->ret;
}

hmm_pte_t hmm_fake_entry(struct hmm_fake *fake, unsigned long addr)
{
	guard(rwsem_read)(&fake->mirror.lock);
	return hmm_pt_lookup(&fake->mirror, addr, NULL);
}

/* Count the entries that have all of @flags. */
unsigned long hmm_fake_count(struct hmm_fake *fake, unsigned long addr,
			     unsigned long npages, unsigned long flags)
{
	unsigned long end = addr + (npages << PAGE_SHIFT), count = 0;
	struct hmm_pt_iter iter;

	guard(rwsem_read)(&fake->mirror.lock);
	hmm_pt_for_each(&iter, &fake->mirror, addr, end) {
		if ((iter.pte.pfn & flags) == flags)
			count += (iter.end - iter.addr) >> PAGE_SHIFT;
	}
	return count;
}

struct hmm_mirror_stats hmm_fake_stats(struct hmm_fake *fake)
{
	struct hmm_mirror_stats stats;

	hmm_mirror_get_stats(&fake->mirror, &stats);
	return stats;
}

void hmm_fake_range(struct hmm_fake *fake, struct mmu_notifier_range *range,
		    enum mmu_notifier_event event, unsigned long start, unsigned long end)
{
	mmu_notifier_range_init(range, event, 0, fake->mirror.mm, start, end);
}

/*
 * Invalidate like code that changes the CPU page table, but change nothing. Another
 * thread may unregister the mirror meanwhile, so read its mm first.
 */
void hmm_fake_invalidate(struct hmm_fake *fake, enum mmu_notifier_event event,
			 unsigned long start, unsigned long end)
{
	struct mm_struct *mm = fake->mirror.mm;
	struct mmu_notifier_range range;

	hmm_fake_range(fake, &range, event, start, end);
	mmap_read_lock(mm);
	mmu_notifier_invalidate_range_start(&range);
	mmu_notifier_invalidate_range_end(&range);
	mmap_read_unlock(mm);
}

/*
 * The gc runs some time after an invalidation, and holds mirror->lock for a moment. A
 * non-blockable invalidation would be refused meanwhile.
 */
void hmm_fake_stop_gc(struct hmm_mirror *mirror)
{
	cancel_delayed_work_sync(&mirror->gc);
}

int hmm_fake_invalidate_nonblock(struct hmm_fake *fake, enum mmu_notifier_event event,
				 unsigned long start, unsigned long end)
{
	struct mm_struct *mm = fake->mirror.mm;
	struct mmu_notifier_range range;
	int ret;

	hmm_fake_stop_gc(&fake->mirror);
	hmm_fake_range(fake, &range, event, start, end);
	mmap_read_lock(mm);
	ret = mmu_notifier_invalidate_range_start_nonblock(&range);
	if (!ret)
		mmu_notifier_invalidate_range_end(&range);
	mmap_read_unlock(mm);
	return ret;
}

static int fake_other_thread(void *arg)
{
	struct hmm_fake_other *other = arg;
	struct mmu_notifier_range range;

	/* Like the reverse mapping, without mmap_lock */
	hmm_fake_range(other->fake, &range, other->event, other->start, other->end);
	if (other->nonblock)
		other->ret = mmu_notifier_invalidate_range_start_nonblock(&range);
	else
		mmu_notifier_invalidate_range_start(&range);
	if (!other->ret)
		mmu_notifier_invalidate_range_end(&range);
	complete_all(&other->done);
	return 0;
}

/*
 * Create the thread and do not start it; wake_up_process() does that. This allocates
 * memory.
 */
void hmm_fake_other_create(struct hmm_fake_other *other, struct hmm_fake *fake,
			   unsigned long start, unsigned long end)
{
	other->fake = fake;
	other->start = start;
	other->end = end;
	other->ret = 0;
	init_completion(&other->done);
	if (other->nonblock)
		hmm_fake_stop_gc(&fake->mirror);
	other->task = kthread_create(fake_other_thread, other, "hmm_fake_other");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(fake->test, other->task);
	get_task_struct(other->task);
}

void hmm_fake_other_start(struct hmm_fake_other *other, struct hmm_fake *fake,
			  unsigned long start, unsigned long end)
{
	hmm_fake_other_create(other, fake, start, end);
	wake_up_process(other->task);
}

bool hmm_fake_other_waits(struct hmm_fake_other *other)
{
	return fake_waits(other->task, &other->done);
}

/* If this returns false, the thread is stuck, and the test must release it first. */
bool hmm_fake_other_ends(struct hmm_fake_other *other)
{
	if (!wait_for_completion_timeout(&other->done, HMM_FAKE_STUCK))
		return false;
	put_task_struct(other->task);
	return true;
}

/*
 * Start an invalidation that stays in the driver's callback until
 * hmm_fake_release_held().
 */
void hmm_fake_hold(struct hmm_fake_other *held, struct hmm_fake *fake, unsigned long start,
		   unsigned long end)
{
	held->event = MMU_NOTIFY_CLEAR;
	held->nonblock = false;
	fake->hold = true;
	hmm_fake_other_start(held, fake, start, end);
	wait_for_completion(&fake->held);
}

void hmm_fake_release_held(struct hmm_fake_other *held)
{
	complete(&held->fake->go);
	wait_for_completion(&held->done);
	put_task_struct(held->task);
}

void hmm_fake_clear_log(struct hmm_fake *fake)
{
	spin_lock(&fake->lock);
	memset(fake->log, 0, sizeof(fake->log));
	fake->count = 0;
	fake->fills = 0;
	spin_unlock(&fake->lock);
}

void hmm_fake_expect(struct hmm_fake *fake, unsigned int nr, enum hmm_update_event event,
		     unsigned long start, unsigned long end)
{
	const struct hmm_update *update = &fake->log[nr];

	KUNIT_EXPECT_EQ(fake->test, event, update->event);
	KUNIT_EXPECT_EQ(fake->test, start - fake->base, update->start - fake->base);
	KUNIT_EXPECT_EQ(fake->test, end - fake->base, update->end - fake->base);
}

void hmm_fake_expect_one(struct hmm_fake *fake, enum hmm_update_event event,
			 unsigned long start, unsigned long end)
{
	KUNIT_EXPECT_EQ(fake->test, 1, fake->count);
	hmm_fake_expect(fake, 0, event, start, end);
	KUNIT_EXPECT_TRUE(fake->test, fake->log[0].blockable);
}

void hmm_fake_expect_none(struct hmm_fake *fake)
{
	KUNIT_EXPECT_EQ(fake->test, 0, fake->count);
}

int hmm_fake_protect(unsigned long addr, unsigned long size, unsigned long prot)
{
	return hmm_test_syscall(__NR_mprotect, addr, size, prot, 0, 0);
}

static int fake_child(void *unused)
{
	do_exit(0);
}

/* Fork a child that exits immediately. */
void hmm_fake_fork(struct kunit *test)
{
	struct kernel_clone_args args = {
		.flags = CLONE_UNTRACED,
		.exit_signal = SIGCHLD,
		.fn = fake_child,
	};

	KUNIT_ASSERT_GT(test, kernel_clone(&args), 0);
}
