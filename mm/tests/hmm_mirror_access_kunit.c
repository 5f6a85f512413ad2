// SPDX-License-Identifier: GPL-2.0
/*
 * Accesses under way: which invalidations wait for them, which pages they cover, and how
 * they end
 */
#include <linux/irq_work.h>
#include <linux/kthread.h>
#include <linux/mman.h>
#include <linux/sched/coredump.h>
#include <linux/swap.h>
#include <linux/swapops.h>

#include "hmm_mirror_test.h"
#include "hmm_pt_test.h"
#include "hmm_range_states.h"

static long begin(struct hmm_fake *fake, struct hmm_access *access, unsigned long addr,
		  unsigned long npages, unsigned int flags)
{
	return hmm_access_begin(access, &fake->mirror, addr, AT(addr, npages), flags, NULL);
}

static long try(struct hmm_fake *fake, struct hmm_access *access, unsigned long addr,
		unsigned long npages, unsigned int flags)
{
	return hmm_access_try(access, &fake->mirror, addr, AT(addr, npages), flags);
}

/*
 * Make the call in another thread. The caller has set all members except @done and @task.
 */
static void call_start(struct hmm_fake_call *call, int (*thread)(void *))
{
	init_completion(&call->done);
	call->task = kthread_create(thread, call, "hmm_call");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(call->fake->test, call->task);
	get_task_struct(call->task);
	wake_up_process(call->task);
}

static long call_ends(struct hmm_fake_call *call)
{
	KUNIT_EXPECT_TRUE(call->fake->test,
			  wait_for_completion_timeout(&call->done, HMM_FAKE_STUCK));
	put_task_struct(call->task);
	return call->ret;
}

struct begun {
	struct hmm_fake_call call;
	struct hmm_access access;
};

static int begin_thread(void *arg)
{
	struct hmm_fake_call *call = arg;
	struct begun *begun = container_of(call, struct begun, call);

	call->ret = hmm_access_begin(&begun->access, &call->fake->mirror, call->start, call->end,
				     call->flags, call->job);
	complete_all(&call->done);
	return 0;
}

static struct begun *begin_elsewhere(struct hmm_fake *fake, unsigned long addr,
				     unsigned long npages, unsigned int flags)
{
	struct begun *begun = kunit_kzalloc(fake->test, sizeof(*begun), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(fake->test, begun);
	begun->call = (struct hmm_fake_call){
		.fake = fake, .start = addr, .end = AT(addr, npages), .flags = flags,
	};
	call_start(&begun->call, begin_thread);
	return begun;
}

/* An access mirrors pages that are not mirrored, and marks them dirty if it writes. */
static void mirrors_pages(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 16), faults;
	struct hmm_access read, write;

	KUNIT_EXPECT_EQ(test, 0, try(fake, &read, addr, 16, HMM_FAULT_READ));
	faults = hmm_fake_stats(fake).faults;
	KUNIT_EXPECT_EQ(test, 16, begin(fake, &read, addr, 16, HMM_FAULT_READ));
	KUNIT_EXPECT_EQ(test, 16, hmm_fake_valid(fake, addr, 16));
	/* The access began with the commit. A second lookup would not count as a fault. */
	KUNIT_EXPECT_EQ(test, faults + 1, hmm_fake_stats(fake).faults);
	hmm_access_end(&read);
	KUNIT_EXPECT_EQ(test, 0, try(fake, &write, addr, 16, HMM_FAULT_WRITE));
	KUNIT_EXPECT_EQ(test, 4, begin(fake, &write, AT(addr, 2), 4, HMM_FAULT_WRITE));
	KUNIT_EXPECT_EQ(test, 4, hmm_fake_count(fake, addr, 16, HMM_PTE_DIRTY | HMM_PTE_WRITE));
	faults = hmm_fake_stats(fake).faults;
	/* Several accesses can cover a page. The second one needs no fault. */
	KUNIT_EXPECT_EQ(test, 3, begin(fake, &read, AT(addr, 3), 3, HMM_FAULT_READ));
	KUNIT_EXPECT_EQ(test, faults, hmm_fake_stats(fake).faults);
	hmm_access_end(&write);
	hmm_access_end(&read);
	KUNIT_EXPECT_TRUE(test, !hmm_access_is_under_way(&fake->mirror, 0, ULONG_MAX, false));
}

/*
 * An access covers the leading mirrored pages, or at most 2 MiB of pages that it mirrors.
 */
static void covers_leading_pages(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map(fake, SZ_512M, 2 * PMD_SIZE), pages = PTRS_PER_PTE;
	struct hmm_access access;

	KUNIT_ASSERT_EQ(test, 0, do_madvise(current->mm, addr, 2 * PMD_SIZE, MADV_NOHUGEPAGE));
	KUNIT_EXPECT_EQ(test, pages - 1, begin(fake, &access, AT(addr, 1), 2 * pages - 1,
					       HMM_FAULT_READ));
	hmm_access_end(&access);
	hmm_fake_fault_all(fake, AT(addr, pages), 4, HMM_FAULT_WRITE);
	KUNIT_EXPECT_EQ(test, pages + 3, try(fake, &access, AT(addr, 1), 2 * pages - 1,
					     HMM_FAULT_READ));
	hmm_access_end(&access);
	/* A write access ends at a read-only entry, and every access ends at a hole. */
	KUNIT_EXPECT_EQ(test, 2, try(fake, &access, AT(addr, pages + 2), 8, HMM_FAULT_WRITE));
	hmm_access_end(&access);
	vm_munmap(AT(addr, 8), PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, 7, begin(fake, &access, AT(addr, 1), 10, HMM_FAULT_WRITE));
	hmm_access_end(&access);
	KUNIT_EXPECT_EQ(test, -EFAULT, begin(fake, &access, AT(addr, 8), 2, HMM_FAULT_READ));
}

/* Bad arguments, missing permission and dead mirrors fail. */
static void bad_arguments_fail(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	struct hmm_fake *own = hmm_fake_another(fake, HMM_MIRROR_OWN_TABLES);
	unsigned long addr = hmm_fake_map_small(fake, 16);
	struct hmm_access access;

	KUNIT_EXPECT_EQ(test, -EINVAL, begin(fake, &access, addr, 0, HMM_FAULT_READ));
	KUNIT_EXPECT_EQ(test, -EINVAL, begin(fake, &access, addr + 1, 1, HMM_FAULT_READ));
	KUNIT_EXPECT_EQ(test, -EINVAL, begin(fake, &access, addr, 1, 0));
	KUNIT_EXPECT_EQ(test, -EINVAL, begin(fake, &access, addr, 1,
					     HMM_FAULT_READ | HMM_FAULT_PRESENT));
	KUNIT_EXPECT_EQ(test, -EINVAL, begin(own, &access, addr, 1, HMM_FAULT_READ));
	KUNIT_EXPECT_EQ(test, -EINVAL, try(fake, &access, addr, 0, HMM_FAULT_READ));
	KUNIT_EXPECT_EQ(test, -EINVAL, try(fake, &access, addr, 1,
					   HMM_FAULT_READ | HMM_FAULT_PRESENT));
	KUNIT_EXPECT_EQ(test, -EINVAL, try(own, &access, addr, 1, HMM_FAULT_READ));
	KUNIT_ASSERT_EQ(test, 0, hmm_fake_protect(addr, PAGE_SIZE, PROT_READ));
	KUNIT_EXPECT_EQ(test, -EPERM, begin(fake, &access, addr, 1, HMM_FAULT_WRITE));
	hmm_fake_unregister(fake);
	KUNIT_EXPECT_EQ(test, -ESRCH, begin(fake, &access, addr, 1, HMM_FAULT_READ));
	KUNIT_EXPECT_EQ(test, -ESRCH, try(fake, &access, addr, 1, HMM_FAULT_READ));
}

/* An invalidation of pages under access waits or is refused. Others proceed. */
static void invalidation_waits(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 16);
	struct hmm_fake_other other = { .event = MMU_NOTIFY_UNMAP }, elsewhere = other;
	struct hmm_fake_other nonblock = { .event = MMU_NOTIFY_CLEAR, .nonblock = true };
	struct hmm_access access;

	hmm_fake_fault_all(fake, addr, 16, HMM_FAULT_WRITE);
	KUNIT_ASSERT_EQ(test, 4, begin(fake, &access, addr, 4, HMM_FAULT_READ));
	hmm_fake_clear_log(fake);
	hmm_fake_other_start(&other, fake, AT(addr, 3), AT(addr, 5));
	KUNIT_EXPECT_TRUE(test, hmm_fake_other_waits(&other));
	hmm_fake_expect_none(fake);
	/* mirror->lock is free, and invalidations of other mirrored pages proceed. */
	KUNIT_EXPECT_EQ(test, 16, hmm_fake_valid(fake, addr, 16));
	hmm_fake_other_start(&elsewhere, fake, AT(addr, 8), AT(addr, 9));
	KUNIT_EXPECT_TRUE(test, hmm_fake_other_ends(&elsewhere));
	hmm_fake_expect_one(fake, HMM_UPDATE_MUNMAP, AT(addr, 8), AT(addr, 9));
	hmm_fake_other_start(&nonblock, fake, addr, AT(addr, 1));
	KUNIT_EXPECT_TRUE(test, hmm_fake_other_ends(&nonblock));
	KUNIT_EXPECT_EQ(test, -EAGAIN, nonblock.ret);
	KUNIT_EXPECT_EQ(test, 1, hmm_fake_stats(fake).refused);
	KUNIT_EXPECT_EQ(test, 1, fake->count);
	hmm_access_end(&access);
	KUNIT_EXPECT_TRUE(test, hmm_fake_other_ends(&other));
	KUNIT_EXPECT_EQ(test, 2, fake->count);
	KUNIT_EXPECT_EQ(test, 13, hmm_fake_valid(fake, addr, 16));
}

/* An invalidation of a part of a block waits for an access to another part. */
static void invalidation_waits_in_block(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_huge(fake, 1);
	struct hmm_fake_other other = { .event = MMU_NOTIFY_CLEAR };
	struct hmm_access access;

	hmm_fake_fault_all(fake, addr, HPAGE_PMD_NR, HMM_FAULT_WRITE);
	KUNIT_ASSERT_EQ(test, 1, begin(fake, &access, AT(addr, 7), 1, HMM_FAULT_READ));
	hmm_fake_other_start(&other, fake, AT(addr, 100), AT(addr, 101));
	KUNIT_EXPECT_TRUE(test, hmm_fake_other_waits(&other));
	hmm_access_end(&access);
	KUNIT_EXPECT_TRUE(test, hmm_fake_other_ends(&other));
}

/* No access begins in a range in which an invalidation waits, so that the wait ends. */
static void waiting_invalidation_blocks_access(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 16);
	struct hmm_fake_other other = { .event = MMU_NOTIFY_CLEAR };
	struct hmm_access first, second;
	struct begun *begun;

	hmm_fake_fault_all(fake, addr, 16, HMM_FAULT_WRITE);
	hmm_fake_clear_log(fake);
	KUNIT_ASSERT_EQ(test, 1, begin(fake, &first, AT(addr, 4), 1, HMM_FAULT_WRITE));
	hmm_fake_other_start(&other, fake, AT(addr, 4), AT(addr, 8));
	KUNIT_EXPECT_TRUE(test, hmm_fake_other_waits(&other));
	KUNIT_EXPECT_EQ(test, 0, try(fake, &second, AT(addr, 4), 1, HMM_FAULT_READ));
	KUNIT_EXPECT_EQ(test, 0, try(fake, &second, AT(addr, 7), 4, HMM_FAULT_READ));
	/* Pages before and after the range of the invalidation */
	KUNIT_EXPECT_EQ(test, 4, try(fake, &second, addr, 16, HMM_FAULT_READ));
	hmm_access_end(&second);
	KUNIT_EXPECT_EQ(test, 8, try(fake, &second, AT(addr, 8), 8, HMM_FAULT_READ));
	hmm_access_end(&second);
	begun = begin_elsewhere(fake, AT(addr, 5), 2, HMM_FAULT_READ);
	KUNIT_EXPECT_TRUE(test, hmm_fake_call_blocks(&begun->call));
	/* The barrier stays until mirror->lock is free. Then both threads proceed. */
	down_read(&fake->mirror.lock);
	hmm_access_end(&first);
	KUNIT_EXPECT_TRUE(test, hmm_fake_call_blocks(&begun->call));
	up_read(&fake->mirror.lock);
	KUNIT_EXPECT_TRUE(test, hmm_fake_other_ends(&other));
	KUNIT_EXPECT_EQ(test, 2, call_ends(&begun->call));
	hmm_access_end(&begun->access);
	hmm_fake_expect_one(fake, HMM_UPDATE_MIGRATE, AT(addr, 4), AT(addr, 8));
}

/* Read accesses continue and begin while pages are write-protected. */
static void readers_proceed_under_write_protect(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 4);
	struct hmm_fake_other other = { .event = MMU_NOTIFY_PROTECTION_PAGE };
	struct hmm_access read, write;

	hmm_fake_fault_all(fake, addr, 4, HMM_FAULT_WRITE);
	KUNIT_ASSERT_EQ(test, 4, begin(fake, &read, addr, 4, HMM_FAULT_READ));
	hmm_fake_other_start(&other, fake, addr, AT(addr, 2));
	KUNIT_EXPECT_TRUE(test, hmm_fake_other_ends(&other));
	KUNIT_EXPECT_EQ(test, 2, hmm_fake_writable(fake, addr, 4));
	hmm_access_end(&read);

	KUNIT_ASSERT_EQ(test, 2, begin(fake, &write, AT(addr, 2), 2, HMM_FAULT_WRITE));
	hmm_fake_other_start(&other, fake, AT(addr, 2), AT(addr, 3));
	KUNIT_EXPECT_TRUE(test, hmm_fake_other_waits(&other));
	KUNIT_EXPECT_EQ(test, 2, try(fake, &read, AT(addr, 2), 2, HMM_FAULT_READ));
	hmm_access_end(&read);
	KUNIT_EXPECT_EQ(test, 0, try(fake, &read, AT(addr, 2), 2, HMM_FAULT_WRITE));
	hmm_access_end(&write);
	KUNIT_EXPECT_TRUE(test, hmm_fake_other_ends(&other));
	KUNIT_EXPECT_EQ(test, 1, hmm_fake_writable(fake, addr, 4));
}

/* An invalidation marks the page dirty again after a write access has ended. */
static void dirty_after_write(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 2);
	struct hmm_fake_other other = { .event = MMU_NOTIFY_CLEAR };
	struct hmm_access access;
	struct page *page;

	KUNIT_ASSERT_EQ(test, 1, begin(fake, &access, addr, 1, HMM_FAULT_WRITE));
	page = hmm_pte_page(hmm_fake_entry(fake, addr));
	hmm_fake_other_start(&other, fake, addr, AT(addr, 1));
	KUNIT_EXPECT_TRUE(test, hmm_fake_other_waits(&other));
	ClearPageDirty(page);
	hmm_access_end(&access);
	KUNIT_EXPECT_TRUE(test, hmm_fake_other_ends(&other));
	KUNIT_EXPECT_TRUE(test, PageDirty(page));
}

struct ends {
	struct irq_work work;
	struct hmm_access access;
	bool in_irq;
};

static void end_in_irq(struct irq_work *work)
{
	struct ends *ends = container_of(work, struct ends, work);

	ends->in_irq = in_hardirq();
	hmm_access_end(&ends->access);
}

/* A device ends its access in an interrupt handler. */
static void ends_in_interrupt(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 2);
	struct hmm_fake_other other = { .event = MMU_NOTIFY_CLEAR };
	struct ends ends = { .work = IRQ_WORK_INIT_HARD(end_in_irq) };

	KUNIT_ASSERT_EQ(test, 2, begin(fake, &ends.access, addr, 2, HMM_FAULT_WRITE));
	hmm_fake_other_start(&other, fake, addr, AT(addr, 2));
	KUNIT_EXPECT_TRUE(test, hmm_fake_other_waits(&other));
	irq_work_queue(&ends.work);
	KUNIT_EXPECT_TRUE(test, hmm_fake_other_ends(&other));
	irq_work_sync(&ends.work);
	KUNIT_EXPECT_TRUE(test, ends.in_irq);
}

static int zap_thread(void *arg)
{
	struct hmm_fake_call *call = arg;

	call->ret = hmm_mirror_zap(&call->fake->mirror, call->start, call->end);
	complete_all(&call->done);
	return 0;
}

static int unregister_thread(void *arg)
{
	struct hmm_fake_call *call = arg;

	hmm_mirror_unregister(&call->fake->mirror);
	complete_all(&call->done);
	return 0;
}

/* hmm_mirror_zap() waits for accesses. */
static void zap_waits(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 4);
	struct hmm_access access;
	struct hmm_fake_call call = { .fake = fake, .start = addr, .end = AT(addr, 1) };

	KUNIT_ASSERT_EQ(test, 4, begin(fake, &access, addr, 4, HMM_FAULT_WRITE));
	call_start(&call, zap_thread);
	KUNIT_EXPECT_TRUE(test, hmm_fake_call_blocks(&call));
	KUNIT_EXPECT_EQ(test, 4, hmm_fake_valid(fake, addr, 4));
	hmm_access_end(&access);
	KUNIT_EXPECT_EQ(test, 0, call_ends(&call));
	KUNIT_EXPECT_EQ(test, 3, hmm_fake_valid(fake, addr, 4));
}

/* hmm_mirror_unregister() waits for accesses, and no access begins anywhere meanwhile. */
static void unregister_waits(struct kunit *test)
{
	struct hmm_fake *fake = kunit_kzalloc(test, sizeof(*fake), GFP_KERNEL);
	struct hmm_fake *keeper = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(keeper, 4);
	struct hmm_access access, other;
	struct hmm_fake_call call = { .fake = fake };
	struct begun *begun;

	KUNIT_ASSERT_NOT_NULL(test, fake);
	hmm_fake_init(fake);
	fake->test = test;
	KUNIT_ASSERT_EQ(test, 0, hmm_mirror_register(&fake->mirror, current->mm));
	hmm_fake_fault_all(fake, addr, 4, HMM_FAULT_WRITE);
	KUNIT_ASSERT_EQ(test, 1, begin(fake, &access, addr, 1, HMM_FAULT_WRITE));
	call_start(&call, unregister_thread);
	KUNIT_EXPECT_TRUE(test, hmm_fake_call_blocks(&call));
	KUNIT_EXPECT_EQ(test, 0, fake->releases);
	KUNIT_EXPECT_EQ(test, 0, try(fake, &other, AT(addr, 2), 1, HMM_FAULT_READ));
	begun = begin_elsewhere(fake, AT(addr, 2), 1, HMM_FAULT_READ);
	KUNIT_EXPECT_EQ(test, -ESRCH, call_ends(&begun->call));
	hmm_access_end(&access);
	call_ends(&call);
	KUNIT_EXPECT_EQ(test, 1, fake->releases);
	KUNIT_EXPECT_EQ(test, -ESRCH, try(fake, &other, addr, 1, HMM_FAULT_READ));
}

/* After -ECANCELED there is no access. */
static void cancelled_job_begins_none(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 4);
	struct hmm_access access;
	struct hmm_job job;

	hmm_job_init(&job);
	KUNIT_ASSERT_EQ(test, 4, hmm_access_begin(&access, &fake->mirror, addr, AT(addr, 4),
						  HMM_FAULT_WRITE, &job));
	hmm_access_end(&access);
	hmm_mirror_cancel_job(&fake->mirror, &job);
	KUNIT_EXPECT_EQ(test, -ECANCELED, hmm_access_begin(&access, &fake->mirror, addr,
							   AT(addr, 4), HMM_FAULT_WRITE, &job));
	KUNIT_EXPECT_TRUE(test, !hmm_access_is_under_way(&fake->mirror, 0, ULONG_MAX, false));
}

static struct hmm_mirror *cancelled_mirror;

static int cancels_in_callback(struct hmm_mirror *mirror, const struct hmm_update *update)
{
	if (update->job)
		hmm_mirror_cancel_job(cancelled_mirror, update->job);
	return 0;
}

/*
 * A job that is cancelled after the commit gets -ECANCELED, and no access stays under
 * way.
 */
static void cancelled_after_commit(struct kunit *test)
{
	static const struct hmm_mirror_ops ops = {
		.sync_cpu_device_pagetables = cancels_in_callback,
	};
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 4);
	const struct hmm_mirror_ops *old = fake->mirror.ops;
	struct hmm_access access;
	struct hmm_job job;

	hmm_job_init(&job);
	cancelled_mirror = &fake->mirror;
	hmm_fake_set_ops(fake, &ops);
	KUNIT_EXPECT_EQ(test, -ECANCELED, hmm_access_begin(&access, &fake->mirror, addr,
							   AT(addr, 4), HMM_FAULT_WRITE, &job));
	KUNIT_EXPECT_EQ(test, 4, hmm_fake_valid(fake, addr, 4));
	KUNIT_EXPECT_TRUE(test, !hmm_access_is_under_way(&fake->mirror, 0, ULONG_MAX, false));
	hmm_fake_set_ops(fake, old);
}

/* An access with HMM_FAULT_EXCLUSIVE makes pages exclusive that were mirrored before. */
static void exclusive_access(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 4);
	struct hmm_access access;

	hmm_test_write(test, addr);
	KUNIT_ASSERT_EQ(test, 1, begin(fake, &access, addr, 1, HMM_FAULT_WRITE));
	hmm_access_end(&access);
	KUNIT_EXPECT_EQ(test, 0, try(fake, &access, addr, 1, HMM_FAULT_EXCLUSIVE));
	KUNIT_ASSERT_EQ(test, 4, begin(fake, &access, addr, 4, HMM_FAULT_EXCLUSIVE));
	KUNIT_EXPECT_EQ(test, 4, hmm_fake_count(fake, addr, 4, HMM_PTE_EXCLUSIVE));
	hmm_access_end(&access);
}

/* A write access to private memory that cannot become writable ends with -EFAULT. */
static void device_declines_write(struct kunit *test)
{
	struct hmm_test_device *dev = hmm_test_device(test, MEMORY_DEVICE_PRIVATE, PMD_SIZE);
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 4);
	struct hmm_area *a = hmm_fake_area(fake, addr);
	swp_entry_t swp = make_readable_device_private_entry(page_to_pfn(dev->page));
	struct hmm_access access;

	hmm_fake_set_owner(fake, dev);
	hmm_area_put(a, hmm_area_entry(a, 0), pte_val(swp_entry_to_pte(swp)));
	KUNIT_EXPECT_EQ(test, -EFAULT, begin(fake, &access, addr, 2, HMM_FAULT_WRITE));
	KUNIT_EXPECT_EQ(test, -EFAULT, begin(fake, &access, addr, 2, HMM_FAULT_EXCLUSIVE));
	KUNIT_EXPECT_EQ(test, 2, begin(fake, &access, addr, 2, HMM_FAULT_READ));
	hmm_access_end(&access);
	hmm_area_restore(a);
	hmm_fake_invalidate(fake, MMU_NOTIFY_CLEAR, addr, AT(addr, 1));
}

/*
 * The OOM reaper must not block and gives up after some time, so no access begins in its
 * mm.
 */
static void oom_mm_begins_none(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 4);
	struct hmm_access access;

	hmm_fake_fault_all(fake, addr, 4, HMM_FAULT_WRITE);
	set_bit(MMF_UNSTABLE, &current->mm->flags);
	KUNIT_EXPECT_EQ(test, 0, try(fake, &access, addr, 4, HMM_FAULT_READ));
	KUNIT_EXPECT_EQ(test, -EINTR, begin(fake, &access, addr, 4, HMM_FAULT_READ));
	clear_bit(MMF_UNSTABLE, &current->mm->flags);
	KUNIT_EXPECT_EQ(test, 4, try(fake, &access, addr, 4, HMM_FAULT_READ));
	hmm_access_end(&access);
}

/* An access covers at most one window, which bounds the time under mirror->lock. */
static void one_window_at_most(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_huge(fake, 512), pages = SZ_1G >> PAGE_SHIFT;
	struct hmm_access access;

	KUNIT_ASSERT_EQ(test, 0, hmm_fake_protect(addr, SZ_1G, PROT_READ));
	KUNIT_EXPECT_EQ(test, pages, hmm_fake_fault(fake, addr, pages, HMM_FAULT_READ));
	vm_munmap(addr + SZ_1G, PMD_SIZE);
	hmm_fake_map(fake, SZ_512M + SZ_1G, PMD_SIZE);
	hmm_fake_fault_all(fake, addr + SZ_1G, 1, HMM_FAULT_READ);
	KUNIT_EXPECT_EQ(test, pages, try(fake, &access, addr, pages + 1, HMM_FAULT_READ));
	hmm_access_end(&access);
}

/*
 * An access holds the pagemap of device memory, and none begins after the driver is gone.
 */
static void holds_pagemap(struct kunit *test)
{
	struct hmm_test_device *dev = hmm_test_device(test, MEMORY_DEVICE_GENERIC, PMD_SIZE);
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 4);
	struct hmm_area *a = hmm_fake_area(fake, AT(addr, 2));
	struct hmm_access access;

	hmm_area_put(a, hmm_area_entry(a, 0),
		     hmm_area_devmap(0, page_to_pfn(dev->page), PAGE_SHARED));
	KUNIT_ASSERT_EQ(test, 4, begin(fake, &access, addr, 4, HMM_FAULT_WRITE));
	KUNIT_EXPECT_PTR_EQ(test, &dev->pgmap, access.pgmap);
	hmm_access_end(&access);
	KUNIT_ASSERT_EQ(test, 2, begin(fake, &access, addr, 2, HMM_FAULT_WRITE));
	KUNIT_EXPECT_NULL(test, access.pgmap);
	hmm_access_end(&access);
	hmm_test_device_unplug(dev);
	KUNIT_EXPECT_EQ(test, 2, try(fake, &access, addr, 4, HMM_FAULT_WRITE));
	hmm_access_end(&access);
	KUNIT_EXPECT_EQ(test, -EFAULT, try(fake, &access, AT(addr, 2), 1, HMM_FAULT_WRITE));
	hmm_fake_invalidate(fake, MMU_NOTIFY_CLEAR, addr, AT(addr, 4));
	hmm_area_restore(a);
}

/* Contiguous pages of two devices need two accesses. */
static void two_devices(struct kunit *test)
{
	struct hmm_test_device *dev = hmm_test_device(test, MEMORY_DEVICE_GENERIC, PMD_SIZE);
	struct hmm_test_device *two = hmm_test_device(test, MEMORY_DEVICE_GENERIC, PMD_SIZE);
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 4);
	struct hmm_area *a = hmm_fake_area(fake, addr), *b = hmm_fake_area(fake, AT(addr, 1));
	struct hmm_access access;

	hmm_area_put(a, hmm_area_entry(a, 0),
		     hmm_area_devmap(0, page_to_pfn(dev->page), PAGE_SHARED));
	hmm_area_put(b, hmm_area_entry(b, 0),
		     hmm_area_devmap(0, page_to_pfn(two->page), PAGE_SHARED));
	KUNIT_EXPECT_EQ(test, 1, begin(fake, &access, addr, 4, HMM_FAULT_WRITE));
	hmm_access_end(&access);
	KUNIT_EXPECT_EQ(test, 3, begin(fake, &access, AT(addr, 1), 3, HMM_FAULT_WRITE));
	KUNIT_EXPECT_PTR_EQ(test, &two->pgmap, access.pgmap);
	hmm_access_end(&access);
	hmm_fake_invalidate(fake, MMU_NOTIFY_CLEAR, addr, AT(addr, 4));
	hmm_area_restore(b);
	hmm_area_restore(a);
}

/* An upgrade waits until an access no longer uses the DMA address. Other faults proceed. */
static void upgrade_waits_for_dma(struct kunit *test)
{
	struct hmm_pt_device *device = hmm_pt_device(test);
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 8);
	struct hmm_access access, other;
	struct hmm_fake_call *call;
	dma_addr_t dma;

	hmm_fake_set_device(fake, device->dev);
	hmm_test_write(test, addr);
	KUNIT_ASSERT_EQ(test, 1, begin(fake, &access, addr, 1, HMM_FAULT_READ));
	dma = hmm_pte_dma(hmm_fake_entry(fake, addr));
	/* Other pages can be mirrored, and this one again at the same address. */
	hmm_fake_fault_all(fake, addr, 8, HMM_FAULT_READ);
	KUNIT_EXPECT_EQ(test, dma, hmm_pte_dma(hmm_fake_entry(fake, addr)));
	call = hmm_fake_call(fake, addr, 8, HMM_FAULT_WRITE);
	KUNIT_EXPECT_TRUE(test, hmm_fake_call_blocks(call));
	KUNIT_EXPECT_EQ(test, dma, hmm_pte_dma(hmm_fake_entry(fake, addr)));
	KUNIT_EXPECT_NOT_NULL(test, hmm_pt_device_find(device, dma));
	KUNIT_EXPECT_EQ(test, 0, try(fake, &other, addr, 1, HMM_FAULT_READ));
	hmm_access_end(&access);
	KUNIT_EXPECT_EQ(test, 8, hmm_fake_call_ends(call));
	KUNIT_EXPECT_NE(test, dma, hmm_pte_dma(hmm_fake_entry(fake, addr)));
	KUNIT_EXPECT_NULL(test, hmm_pt_device_find(device, dma));
	hmm_fake_unregister(fake);
	KUNIT_EXPECT_STREQ(test, "", device->complaint ?: "");
}

static struct kunit_case hmm_mirror_access_cases[] = {
	KUNIT_CASE(mirrors_pages),
	KUNIT_CASE(covers_leading_pages),
	KUNIT_CASE(bad_arguments_fail),
	KUNIT_CASE(invalidation_waits),
	KUNIT_CASE(invalidation_waits_in_block),
	KUNIT_CASE(waiting_invalidation_blocks_access),
	KUNIT_CASE(readers_proceed_under_write_protect),
	KUNIT_CASE(dirty_after_write),
	KUNIT_CASE(ends_in_interrupt),
	KUNIT_CASE(zap_waits),
	KUNIT_CASE(unregister_waits),
	KUNIT_CASE(cancelled_job_begins_none),
	KUNIT_CASE(cancelled_after_commit),
	KUNIT_CASE(exclusive_access),
	KUNIT_CASE(device_declines_write),
	KUNIT_CASE(oom_mm_begins_none),
	KUNIT_CASE(one_window_at_most),
	KUNIT_CASE(holds_pagemap),
	KUNIT_CASE(two_devices),
	KUNIT_CASE(upgrade_waits_for_dma),
	{}
};

static struct kunit_suite hmm_mirror_access_suite = {
	.name = "hmm_mirror_access",
	.test_cases = hmm_mirror_access_cases,
};

kunit_test_suite(hmm_mirror_access_suite);
