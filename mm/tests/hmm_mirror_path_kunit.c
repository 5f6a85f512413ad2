// SPDX-License-Identifier: GPL-2.0
/*
 * Which locks hmm_mirror_fault() takes, and that it ends while other threads change the
 * range
 */
#include <linux/delay.h>
#include <linux/file.h>
#include <linux/kthread.h>
#include <linux/mman.h>
#include <linux/pagemap.h>
#include <linux/rmap.h>
#include <linux/shmem_fs.h>
#include <linux/swap.h>
#include <linux/swapops.h>

#include "hmm_mirror_test.h"
#include "hmm_range_states.h"

/*
 * Map small pages whose window exists and whose VMA has an anon_vma: without one a fault
 * needs mmap_lock.
 */
static unsigned long map_used(struct hmm_fake *fake, unsigned long npages)
{
	unsigned long addr = hmm_fake_map_small(fake, npages);

	hmm_test_write(fake->test, addr);
	hmm_fake_fault_all(fake, addr, 1, HMM_FAULT_WRITE);
	KUNIT_ASSERT_EQ(fake->test, 0, do_madvise(current->mm, addr, npages << PAGE_SHIFT,
						  MADV_DONTNEED));
	/* A new window would need mmap_lock, so prevent that the gc frees this one. */
	hmm_fake_stop_gc(&fake->mirror);
	return addr;
}

static void expect_paths(struct hmm_fake *fake, const struct hmm_mirror_stats *before,
			 unsigned long vma_lock, unsigned long mmap_lock,
			 unsigned long progress)
{
	struct hmm_mirror_stats stats = hmm_fake_stats(fake);

	KUNIT_EXPECT_EQ(fake->test, vma_lock, stats.vma_lock - before->vma_lock);
	KUNIT_EXPECT_EQ(fake->test, mmap_lock, stats.mmap_lock - before->mmap_lock);
	KUNIT_EXPECT_EQ(fake->test, progress, stats.progress - before->progress);
}

/* A fault takes the VMA lock only, so a writer of mmap_lock does not delay it. */
static void fault_takes_vma_lock_only(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = map_used(fake, 16);
	struct hmm_mirror_stats before = hmm_fake_stats(fake);
	struct hmm_fake_call *call;

	mmap_write_lock(current->mm);
	call = hmm_fake_call(fake, addr, 16, HMM_FAULT_WRITE);
	KUNIT_EXPECT_EQ(test, 16, hmm_fake_call_ends(call));
	mmap_write_unlock(current->mm);
	KUNIT_EXPECT_EQ(test, 16, hmm_fake_writable(fake, addr, 16));
	expect_paths(fake, &before, 1, 0, 0);
	KUNIT_EXPECT_EQ(test, before.collisions, hmm_fake_stats(fake).collisions);
}

/* A range of several VMAs is faulted under one VMA lock after the other. */
static void several_vmas_take_vma_locks(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = map_used(fake, 16);
	struct hmm_mirror_stats before;
	struct hmm_fake_call *call;

	hmm_test_write(test, addr);
	KUNIT_ASSERT_EQ(test, 0, hmm_fake_protect(AT(addr, 4), 3 * PAGE_SIZE, PROT_READ));
	before = hmm_fake_stats(fake);
	mmap_write_lock(current->mm);
	call = hmm_fake_call(fake, addr, 16, HMM_FAULT_READ);
	KUNIT_EXPECT_EQ(test, 16, hmm_fake_call_ends(call));
	mmap_write_unlock(current->mm);
	expect_paths(fake, &before, 1, 0, 0);
	KUNIT_EXPECT_EQ(test, 4, hmm_fake_fault(fake, addr, 16, HMM_FAULT_WRITE));
	KUNIT_EXPECT_EQ(test, 4, hmm_fake_writable(fake, addr, 16));
}

/* A fault waits for a thread that changes the VMA, and then takes mmap_lock. */
static void waits_for_vma_writer(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = map_used(fake, 16);
	struct hmm_mirror_stats before = hmm_fake_stats(fake);
	struct hmm_fake_call *call;

	mmap_write_lock(current->mm);
	vma_start_write(vma_lookup(current->mm, addr));
	call = hmm_fake_call(fake, addr, 16, HMM_FAULT_WRITE);
	KUNIT_EXPECT_TRUE(test, hmm_fake_call_blocks(call));
	mmap_write_unlock(current->mm);
	KUNIT_EXPECT_EQ(test, 16, hmm_fake_call_ends(call));
	expect_paths(fake, &before, 0, 1, 0);
}

/* A fault takes mmap_lock to find holes. */
static void holes_need_mmap_lock(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = map_used(fake, 16);
	struct hmm_mirror_stats before = hmm_fake_stats(fake);

	KUNIT_ASSERT_EQ(test, 0, vm_munmap(AT(addr, 8), PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, 8, hmm_fake_fault(fake, addr, 16, HMM_FAULT_WRITE));
	expect_paths(fake, &before, 0, 1, 0);
	hmm_test_write(test, AT(addr, 12));
	KUNIT_EXPECT_EQ(test, 9, hmm_fake_fault(fake, addr, 16,
						HMM_FAULT_READ | HMM_FAULT_PRESENT));
	expect_paths(fake, &before, 0, 2, 0);
}

/*
 * A file whose next CPU faults do something to the page first: wait, or invalidate the
 * page and map nothing
 */
enum path_how {
	PATH_WAITS = 1,
	PATH_SLEEPS,
	PATH_IS_INVALIDATED,
	PATH_IS_INVALIDATED_LONG,
	PATH_INVALIDATES_ITSELF,
};

/**
 * struct path_file - the file, and what its CPU faults have observed
 * @real_ops: vm_ops of the VMA before
 * @ops: the same, with other fault handlers
 * @left: how many of the next CPU faults do @how first
 * @done: number of CPU faults
 * @how: what those CPU faults do
 * @then: what they do after the first @left, 0 for nothing
 * @then_left: the number of CPU faults that do @then
 * @from: start of the invalidation by the last CPU fault of @left, 0 for the file's start
 * @also: work that runs during the last CPU fault of @left
 * @woken: how often a sleeping CPU fault was woken
 * @vma_lock_only: the last CPU fault held the VMA lock only
 * @may_retry: the last CPU fault could have dropped the lock to wait
 * @killable: a kill ends the wait of the last CPU fault
 * @interruptible: any signal ends the wait of the last CPU fault
 * @lets_vma_lock: other threads could take the VMA lock during the last CPU fault
 * @locks: how often mmap_lock was taken for CPU faults that must not wait
 * @lock_seq: mm_lock_seq at the last of these
 * @active: an invalidation is under way
 * @early: a CPU fault happened while an invalidation was under way
 */
struct path_file {
	const struct vm_operations_struct *real_ops;
	struct vm_operations_struct ops;
	unsigned int left;
	unsigned int done;
	enum path_how how;
	enum path_how then;
	unsigned int then_left;
	unsigned long from;
	struct work_struct *also;
	unsigned int woken;
	bool vma_lock_only;
	bool may_retry;
	bool killable;
	bool interruptible;
	bool lets_vma_lock;
	unsigned int locks;
	unsigned int lock_seq;
	bool active;
	bool early;
};

static struct path_file path_file;

struct path_work {
	struct work_struct work;
	struct mmu_notifier_range range;
};

static void path_invalidate_work(struct work_struct *work)
{
	struct path_work *w = container_of(work, struct path_work, work);

	mmu_notifier_invalidate_range_start(&w->range);
	mmu_notifier_invalidate_range_end(&w->range);
}

/* An invalidation that ends after the fault */
static struct mmu_notifier_range path_long_range;

static void path_end_work(struct work_struct *work)
{
	WRITE_ONCE(path_file.active, false);
	mmu_notifier_invalidate_range_end(&path_long_range);
}

static DECLARE_DELAYED_WORK(path_long_end, path_end_work);

static void path_begin_work(struct work_struct *work)
{
	struct path_work *w = container_of(work, struct path_work, work);

	path_long_range = w->range;
	WRITE_ONCE(path_file.active, true);
	mmu_notifier_invalidate_range_start(&path_long_range);
	schedule_delayed_work(&path_long_end, HZ / 5);
}

static void path_unlock(struct vm_fault *vmf)
{
	if (vmf->flags & FAULT_FLAG_VMA_LOCK)
		vma_end_read(vmf->vma);
	else
		mmap_read_unlock(vmf->vma->vm_mm);
}

/*
 * The work is another fault, which takes locks of the mm, so hold none of them meanwhile.
 */
static vm_fault_t path_lets_work(struct vm_fault *vmf)
{
	path_unlock(vmf);
	schedule_work(path_file.also);
	flush_work(path_file.also);
	return VM_FAULT_RETRY;
}

/* Invalidate in another thread, or in the faulting thread itself. */
static vm_fault_t path_invalidate(struct vm_fault *vmf)
{
	unsigned long start = vmf->vma->vm_start;
	struct path_work w;

	if (!path_file.left && path_file.from)
		start = path_file.from;
	/* Invalidate more than the page, as if it belonged to a large folio. */
	mmu_notifier_range_init(&w.range, MMU_NOTIFY_CLEAR, 0, vmf->vma->vm_mm, start,
				vmf->vma->vm_end);
	INIT_WORK_ONSTACK(&w.work, path_file.how == PATH_IS_INVALIDATED_LONG ?
				   path_begin_work : path_invalidate_work);
	if (path_file.how == PATH_INVALIDATES_ITSELF) {
		path_invalidate_work(&w.work);
	} else {
		schedule_work(&w.work);
		flush_work(&w.work);
	}
	destroy_work_on_stack(&w.work);
	if (!path_file.left && path_file.also)
		return path_lets_work(vmf);
	return VM_FAULT_NOPAGE;
}

/* Wait like a userfaultfd fault: it drops the lock, and only for the first time. */
static vm_fault_t path_wait(struct vm_fault *vmf)
{
	if (vmf->flags & FAULT_FLAG_RETRY_NOWAIT)
		return VM_FAULT_RETRY;
	path_unlock(vmf);
	return VM_FAULT_RETRY;
}

/* Sleep like I/O: it is killable and has no other wakeup than the expected one. */
static vm_fault_t path_sleep(struct vm_fault *vmf)
{
	set_current_state(TASK_KILLABLE);
	schedule();
	path_file.woken++;
	return path_file.real_ops->fault(vmf);
}

/* Can other threads take the VMA lock? */
static bool path_lets_lock(struct vm_area_struct *vma)
{
	bool lets = vma_start_read(vma);

	if (lets)
		vma_end_read(vma);
	return lets;
}

static void path_note(struct vm_fault *vmf)
{
	unsigned int seq = READ_ONCE(vmf->vma->vm_mm->mm_lock_seq.sequence);

	path_file.done++;
	path_file.vma_lock_only = vmf->flags & FAULT_FLAG_VMA_LOCK;
	path_file.may_retry = fault_flag_allow_retry_first(vmf->flags) &&
			      !(vmf->flags & FAULT_FLAG_RETRY_NOWAIT);
	path_file.killable = vmf->flags & FAULT_FLAG_KILLABLE;
	path_file.interruptible = vmf->flags & FAULT_FLAG_INTERRUPTIBLE;
	path_file.lets_vma_lock = path_lets_lock(vmf->vma);
	path_file.early |= READ_ONCE(path_file.active);
	if (vmf->flags & FAULT_FLAG_RETRY_NOWAIT && path_file.lock_seq != seq) {
		path_file.lock_seq = seq;
		path_file.locks++;
	}
}

static vm_fault_t path_fault(struct vm_fault *vmf)
{
	vm_fault_t ret;

	path_note(vmf);
	if (!path_file.left)
		return path_file.real_ops->fault(vmf);
	path_file.left--;
	if (!path_file.left && path_file.then) {
		ret = path_invalidate(vmf);
		path_file.how = path_file.then;
		path_file.then = 0;
		path_file.left = path_file.then_left;
		return ret;
	}
	if (path_file.how == PATH_WAITS)
		return path_wait(vmf);
	if (path_file.how == PATH_SLEEPS)
		return path_sleep(vmf);
	return path_invalidate(vmf);
}

/* Without this, faults of a file do not use the VMA lock. */
static vm_fault_t path_map_pages(struct vm_fault *vmf, pgoff_t first, pgoff_t last)
{
	return 0;
}

/* The tests map other memory before the file, in the same chunk. */
#define PATH_OFFSET	(SZ_512M + SZ_1M)

static unsigned long map_path_file(struct hmm_fake *fake, unsigned int left,
				   enum path_how how)
{
	struct file *file = shmem_file_setup("hmm_mirror_path", SZ_64K, VM_NORESERVE);
	struct kunit *test = fake->test;
	struct vm_area_struct *vma;
	unsigned long addr;

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, file);
	addr = hmm_fake_map_file(fake, PATH_OFFSET, SZ_64K, file, MAP_SHARED);
	fput(file);
	/* Create the window. */
	hmm_fake_fault_all(fake, AT(addr, 15), 1, HMM_FAULT_WRITE);

	mmap_write_lock(current->mm);
	vma = vma_lookup(current->mm, addr);
	vma_start_write(vma);
	path_file = (struct path_file){
		.real_ops = vma->vm_ops,
		.ops = *vma->vm_ops,
		.left = left,
		.how = how,
	};
	path_file.ops.fault = path_fault;
	path_file.ops.map_pages = path_map_pages;
	vma->vm_ops = &path_file.ops;
	mmap_write_unlock(current->mm);
	return addr;
}

/*
 * A fault that must wait for the first time does so under the VMA lock, and retries under
 * mmap_lock. Waits do not count as collisions and their number is not limited.
 */
static void waits_are_no_collisions(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = map_path_file(fake, 1, PATH_WAITS);
	struct hmm_mirror_stats before = hmm_fake_stats(fake);

	hmm_fake_fault_all(fake, addr, 1, HMM_FAULT_READ);
	KUNIT_EXPECT_EQ(test, 2, path_file.done);
	KUNIT_EXPECT_FALSE(test, path_file.vma_lock_only);
	KUNIT_EXPECT_TRUE(test, path_file.may_retry);
	KUNIT_EXPECT_TRUE(test, path_file.killable);
	/* Only waits for user space are interruptible. */
	KUNIT_EXPECT_FALSE(test, path_file.interruptible);
	expect_paths(fake, &before, 0, 1, 0);

	/*
	 * The first wait was under the VMA lock and the second under mmap_lock, which a
	 * fault may drop once.
	 */
	path_file.left = 2;
	hmm_fake_fault_all(fake, AT(addr, 3), 1, HMM_FAULT_READ);
	KUNIT_EXPECT_FALSE(test, path_file.may_retry);
	expect_paths(fake, &before, 0, 2, 0);

	/* A fault may wait more often than it may make no progress. */
	path_file.left = 200;
	path_file.done = 0;
	hmm_fake_fault_all(fake, AT(addr, 1), 2, HMM_FAULT_WRITE);
	KUNIT_EXPECT_EQ(test, 202, path_file.done);
	/* No fault had waited for the last page before. */
	KUNIT_EXPECT_TRUE(test, path_file.may_retry);
	expect_paths(fake, &before, 0, 3, 0);
	KUNIT_EXPECT_EQ(test, before.collisions, hmm_fake_stats(fake).collisions);
}

/* With fewer collisions than the maximum, a fault does not take the slow path. */
static void few_collisions_stay_on_fast_path(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = map_path_file(fake, HMM_FAULT_COLLISIONS_MAX - 1, PATH_IS_INVALIDATED);
	struct hmm_mirror_stats before = hmm_fake_stats(fake);

	hmm_fake_fault_all(fake, addr, 4, HMM_FAULT_WRITE);
	KUNIT_EXPECT_EQ(test, HMM_FAULT_COLLISIONS_MAX - 1,
			hmm_fake_stats(fake).collisions - before.collisions);
	expect_paths(fake, &before, 1, 0, 0);
}

/*
 * If a fault of the walk invalidates a page that the walk has read before, the walk
 * collides.
 */
static void own_fault_invalidates_earlier_page(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long page = hmm_fake_map_small(fake, SZ_1M >> PAGE_SHIFT) + SZ_1M - PAGE_SIZE;
	struct hmm_mirror_stats before;

	hmm_test_write(test, page);
	map_path_file(fake, 1, PATH_INVALIDATES_ITSELF);
	path_file.from = page;
	before = hmm_fake_stats(fake);
	KUNIT_EXPECT_EQ(test, 2, hmm_fake_fault(fake, page, 2, HMM_FAULT_READ));
	KUNIT_EXPECT_EQ(test, 1, hmm_fake_stats(fake).collisions - before.collisions);
}

/* After the maximum of collisions the slow path serves one page; then chunks grow again. */
static void many_collisions_are_serialized(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = map_path_file(fake, HMM_FAULT_COLLISIONS_MAX, PATH_IS_INVALIDATED);
	struct hmm_mirror_stats before = hmm_fake_stats(fake);

	hmm_fake_fault_all(fake, addr, 14, HMM_FAULT_WRITE);
	KUNIT_EXPECT_EQ(test, HMM_FAULT_COLLISIONS_MAX,
			hmm_fake_stats(fake).collisions - before.collisions);
	/* 1 page on the slow path, then 1, 2, 4 and the remaining 6 pages */
	expect_paths(fake, &before, 4, 0, 1);
}

/*
 * HMM_FAULT_MAY_WRITE makes a page writable on the slow path exactly if its mapping
 * permits that.
 */
static void serialized_may_write(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = map_path_file(fake, HMM_FAULT_COLLISIONS_MAX, PATH_IS_INVALIDATED);
	struct hmm_mirror_stats before = hmm_fake_stats(fake);

	KUNIT_EXPECT_EQ(test, 2, hmm_fake_fault(fake, addr, 2, HMM_FAULT_MAY_WRITE));
	KUNIT_EXPECT_EQ(test, 2, hmm_fake_writable(fake, addr, 2));
	KUNIT_EXPECT_EQ(test, 1, hmm_fake_stats(fake).progress - before.progress);
	KUNIT_ASSERT_EQ(test, 0, hmm_fake_protect(addr, 2 * PAGE_SIZE, PROT_READ));
	hmm_fake_invalidate(fake, MMU_NOTIFY_CLEAR, addr, AT(addr, 2));
	KUNIT_ASSERT_EQ(test, 0, do_madvise(current->mm, addr, 2 * PAGE_SIZE, MADV_DONTNEED));
	path_file.left = HMM_FAULT_COLLISIONS_MAX;
	KUNIT_EXPECT_EQ(test, 2, hmm_fake_fault(fake, addr, 2, HMM_FAULT_MAY_WRITE));
	KUNIT_EXPECT_EQ(test, 0, hmm_fake_writable(fake, addr, 2));
	KUNIT_EXPECT_EQ(test, 2, hmm_fake_stats(fake).progress - before.progress);
}

/*
 * On the slow path a fault retries after CPU faults that map nothing. It fails with
 * -EFAULT if no CPU fault ever maps the page.
 */
static void serialized_collides(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = map_path_file(fake, HMM_FAULT_COLLISIONS_MAX + 3, PATH_IS_INVALIDATED);
	struct hmm_mirror_stats before = hmm_fake_stats(fake);

	hmm_fake_fault_all(fake, addr, 1, HMM_FAULT_WRITE);
	KUNIT_EXPECT_EQ(test, HMM_FAULT_COLLISIONS_MAX + 4, path_file.done);
	KUNIT_EXPECT_FALSE(test, path_file.vma_lock_only);
	KUNIT_EXPECT_FALSE(test, path_file.may_retry);
	KUNIT_EXPECT_FALSE(test, path_file.lets_vma_lock);
	KUNIT_EXPECT_EQ(test, HMM_FAULT_COLLISIONS_MAX + 3,
			hmm_fake_stats(fake).collisions - before.collisions);
	expect_paths(fake, &before, 0, 0, 1);
	/* No CPU fault ever maps the page. */
	path_file.left = UINT_MAX;
	path_file.how = PATH_INVALIDATES_ITSELF;
	KUNIT_EXPECT_EQ(test, -EFAULT, hmm_fake_fault(fake, AT(addr, 1), 1, HMM_FAULT_READ));
	path_file.left = 0;
}

/* A fault that must wait on the slow path waits without the locks. */
static void serialized_waits_without_locks(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = map_path_file(fake, HMM_FAULT_COLLISIONS_MAX, PATH_IS_INVALIDATED);
	struct hmm_mirror_stats before = hmm_fake_stats(fake);

	path_file.then = PATH_WAITS;
	path_file.then_left = 1;
	hmm_fake_fault_all(fake, addr, 1, HMM_FAULT_WRITE);
	KUNIT_EXPECT_EQ(test, HMM_FAULT_COLLISIONS_MAX,
			hmm_fake_stats(fake).collisions - before.collisions);
	/* The usual path serves the page after the wait. */
	expect_paths(fake, &before, 1, 0, 0);
}

/*
 * The slow path releases mmap_lock from time to time, however often the page is
 * invalidated.
 */
static void serialized_releases_mmap_lock(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = map_path_file(fake, HMM_FAULT_COLLISIONS_MAX + 10,
					   PATH_IS_INVALIDATED);

	hmm_fake_fault_all(fake, addr, 1, HMM_FAULT_WRITE);
	KUNIT_EXPECT_EQ(test, 2, path_file.locks);
}

/*
 * On the slow path a fault retries after CPU faults that invalidate the page themselves.
 * It fails with -EFAULT if they never stop.
 */
static void serialized_no_progress(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = map_path_file(fake, HMM_FAULT_COLLISIONS_MAX, PATH_IS_INVALIDATED);
	struct hmm_mirror_stats before = hmm_fake_stats(fake);

	path_file.then = PATH_INVALIDATES_ITSELF;
	path_file.then_left = 40;
	hmm_fake_fault_all(fake, addr, 1, HMM_FAULT_WRITE);
	KUNIT_EXPECT_EQ(test, HMM_FAULT_COLLISIONS_MAX,
			hmm_fake_stats(fake).collisions - before.collisions);
	expect_paths(fake, &before, 0, 0, 1);
	/* The CPU faults never stop to invalidate the page. */
	path_file.how = PATH_IS_INVALIDATED;
	path_file.left = HMM_FAULT_COLLISIONS_MAX;
	path_file.then = PATH_INVALIDATES_ITSELF;
	path_file.then_left = UINT_MAX;
	KUNIT_EXPECT_EQ(test, -EFAULT, hmm_fake_fault(fake, AT(addr, 1), 1, HMM_FAULT_READ));
	path_file.left = 0;
}

/* The slow path waits for an invalidation under way before it reads the page table. */
static void serialized_waits_for_active(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = map_path_file(fake, HMM_FAULT_COLLISIONS_MAX, PATH_IS_INVALIDATED);

	path_file.then = PATH_IS_INVALIDATED_LONG;
	path_file.then_left = 1;
	hmm_fake_fault_all(fake, addr, 1, HMM_FAULT_WRITE);
	flush_delayed_work(&path_long_end);
	KUNIT_EXPECT_EQ(test, HMM_FAULT_COLLISIONS_MAX + 2, path_file.done);
	KUNIT_EXPECT_FALSE(test, path_file.early);
}

/*
 * The slow path revokes the whole block that a page belongs to, and then mirrors the
 * page.
 */
static void serialized_block(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long huge = hmm_fake_map_huge(fake, 1), addr, page;
	struct hmm_mirror_stats before;

	hmm_test_write(test, huge);
	addr = map_path_file(fake, 0, PATH_IS_INVALIDATED);
	page = AT(addr, -1);
	hmm_fake_fault_all(fake, huge, SZ_1M >> PAGE_SHIFT, HMM_FAULT_READ);
	KUNIT_ASSERT_EQ(test, 8, hmm_pte_order(hmm_fake_entry(fake, page)));
	hmm_fake_invalidate(fake, MMU_NOTIFY_CLEAR, addr, addr + SZ_64K);
	hmm_fake_clear_log(fake);
	before = hmm_fake_stats(fake);

	path_file.left = HMM_FAULT_COLLISIONS_MAX;
	KUNIT_EXPECT_EQ(test, 2, hmm_fake_fault(fake, page, 2, HMM_FAULT_WRITE));
	hmm_fake_expect_one(fake, HMM_UPDATE_MIGRATE, huge, addr);
	KUNIT_EXPECT_EQ(test, 2, hmm_fake_valid(fake, huge, PTRS_PER_PTE));
	KUNIT_EXPECT_EQ(test, 0, hmm_pte_order(hmm_fake_entry(fake, page)));
	KUNIT_EXPECT_EQ(test, HMM_FAULT_COLLISIONS_MAX + 1,
			hmm_fake_stats(fake).collisions - before.collisions);
	expect_paths(fake, &before, 1, 0, 1);
}

struct written {
	struct work_struct work;
	struct hmm_fake *fake;
	unsigned long page;
};

static void write_work(struct work_struct *work)
{
	struct written *w = container_of(work, struct written, work);

	hmm_fake_fault_all(w->fake, w->page, 1, HMM_FAULT_WRITE);
}

/*
 * A read fault on the slow path keeps the write access that another fault has just given.
 */
static void serialized_keeps_write_access(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	struct written w = { .fake = fake };
	struct hmm_fake_call *call;

	w.page = hmm_fake_map_small(fake, SZ_1M >> PAGE_SHIFT) + SZ_1M - PAGE_SIZE;
	hmm_test_write(test, w.page);
	map_path_file(fake, HMM_FAULT_COLLISIONS_MAX, PATH_IS_INVALIDATED);
	INIT_WORK_ONSTACK(&w.work, write_work);
	path_file.also = &w.work;
	call = hmm_fake_call(fake, w.page, 2, HMM_FAULT_READ);
	KUNIT_EXPECT_EQ(test, 2, hmm_fake_call_ends(call));
	destroy_work_on_stack(&w.work);
	KUNIT_EXPECT_EQ(test, 1, hmm_fake_writable(fake, w.page, 2));
	KUNIT_EXPECT_EQ(test, 1, hmm_fake_stats(fake).progress);
}

/*
 * A write fault to device memory that the CPU may not write, and that the driver leaves
 * so, fails with -EFAULT on the slow path, too.
 */
static void serialized_device_declines_write(struct kunit *test)
{
	struct hmm_test_device *dev = hmm_test_device(test, MEMORY_DEVICE_PRIVATE, PMD_SIZE);
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long page = hmm_fake_map_small(fake, SZ_1M >> PAGE_SHIFT) + SZ_1M - PAGE_SIZE;
	struct hmm_area a = { .test = test, .state = hmm_states, .addr = page };
	swp_entry_t swp = make_readable_device_private_entry(page_to_pfn(dev->page));
	unsigned long addr = map_path_file(fake, HMM_FAULT_COLLISIONS_MAX, PATH_IS_INVALIDATED);

	hmm_fake_set_owner(fake, dev);
	hmm_area_put(&a, hmm_area_entry(&a, 0), pte_val(swp_entry_to_pte(swp)));
	KUNIT_EXPECT_EQ(test, -EFAULT, hmm_fake_fault(fake, page, 2, HMM_FAULT_WRITE));
	KUNIT_EXPECT_EQ(test, 0, path_file.left);
	KUNIT_EXPECT_EQ(test, 0, hmm_fake_valid(fake, page, 1));
	/* The device may read it. */
	KUNIT_ASSERT_EQ(test, 0, do_madvise(current->mm, addr, SZ_64K, MADV_DONTNEED));
	path_file.left = HMM_FAULT_COLLISIONS_MAX;
	KUNIT_EXPECT_EQ(test, 2, hmm_fake_fault(fake, page, 2, HMM_FAULT_READ));
	KUNIT_EXPECT_TRUE(test, hmm_pte_device(hmm_fake_entry(fake, page)));
	hmm_area_restore(&a);
	hmm_fake_invalidate(fake, MMU_NOTIFY_CLEAR, page, AT(page, 1));
}

/*
 * On the slow path, too, a fault ends at a page that cannot be exclusive, and does not
 * wait.
 */
static void serialized_ends_at_non_exclusive(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long page = hmm_fake_map_small(fake, SZ_1M >> PAGE_SHIFT) + SZ_1M - PAGE_SIZE;
	unsigned long addr = map_path_file(fake, HMM_FAULT_COLLISIONS_MAX + 2,
					   PATH_IS_INVALIDATED);
	struct hmm_mirror_stats before;

	before = hmm_fake_stats(fake);
	KUNIT_EXPECT_EQ(test, 1, hmm_fake_fault(fake, page, 2, HMM_FAULT_EXCLUSIVE));
	KUNIT_EXPECT_EQ(test, 1, hmm_fake_count(fake, page, 2, HMM_PTE_EXCLUSIVE));
	KUNIT_EXPECT_EQ(test, 0, path_file.left);
	expect_paths(fake, &before, 1, 0, 0);

	/* A page that the device has lost is faulted in like any other page. */
	KUNIT_ASSERT_EQ(test, 0, do_madvise(current->mm, addr, SZ_64K, MADV_DONTNEED));
	KUNIT_ASSERT_EQ(test, 0, hmm_mirror_zap(&fake->mirror, page, addr));
	path_file.left = HMM_FAULT_COLLISIONS_MAX;
	path_file.from = page;
	KUNIT_EXPECT_EQ(test, 2, hmm_fake_fault(fake, page, 2, HMM_FAULT_READ));
	KUNIT_EXPECT_EQ(test, 0, hmm_fake_count(fake, page, 2, HMM_PTE_EXCLUSIVE));
	expect_paths(fake, &before, 2, 0, 1);
}

/* Either invalidate the page without a change, or truncate the file, without a lock. */
static void invalidate_unlocked(struct hmm_fake *fake, unsigned long page, struct file *file)
{
	struct mmu_notifier_range range;

	hmm_fake_range(fake, &range, MMU_NOTIFY_CLEAR, page, page + PAGE_SIZE);
	mmu_notifier_invalidate_range_start(&range);
	mmu_notifier_invalidate_range_end(&range);
}

static void truncate_unlocked(struct hmm_fake *fake, unsigned long page, struct file *file)
{
	unmap_mapping_range(file->f_mapping, 0, 0, 1);
}

/*
 * While another thread holds the folio lock, the slow path waits, and reads the page
 * table again afterwards.
 */
static void waits_for_folio(struct kunit *test,
			    void (*meanwhile)(struct hmm_fake *fake, unsigned long page,
					      struct file *file))
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	struct file *file = shmem_file_setup("hmm_mirror_path", PAGE_SIZE, VM_NORESERVE);
	struct hmm_mirror_stats before;
	struct hmm_fake_call *call;
	struct page *seen = NULL;
	struct folio *folio;
	unsigned long page;
	int refs;

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, file);
	page = hmm_fake_map_file(fake, PATH_OFFSET - PAGE_SIZE, PAGE_SIZE, file, MAP_SHARED);
	hmm_test_write(test, page);
	map_path_file(fake, HMM_FAULT_COLLISIONS_MAX, PATH_IS_INVALIDATED);
	before = hmm_fake_stats(fake);
	folio = filemap_lock_folio(file->f_mapping, 0);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, folio);
	/* Drain references that other threads could drop meanwhile. */
	lru_add_drain_all();
	refs = folio_ref_count(folio);
	call = hmm_fake_call(fake, page, 2, HMM_FAULT_READ);
	KUNIT_EXPECT_TRUE(test, hmm_fake_call_blocks(call));
	meanwhile(fake, page, file);
	folio_unlock(folio);
	KUNIT_EXPECT_EQ(test, 2, hmm_fake_call_ends(call));
	lru_add_drain_all();
	KUNIT_EXPECT_EQ(test, refs, folio_ref_count(folio));
	folio_put(folio);

	/*
	 * The fault read the page table after the wait, so that the invalidation is no
	 * collision.
	 */
	KUNIT_EXPECT_EQ(test, HMM_FAULT_COLLISIONS_MAX,
			hmm_fake_stats(fake).collisions - before.collisions);
	expect_paths(fake, &before, 1, 0, 1);
	KUNIT_EXPECT_TRUE(test, get_user_page_fast_only(page, 0, &seen));
	KUNIT_EXPECT_PTR_EQ(test, seen, hmm_pte_page(hmm_fake_entry(fake, page)));
	if (seen)
		put_page(seen);
	fput(file);
}

/* The slow path waits for the folio lock while the page is invalidated. */
static void serialized_waits_for_invalidated_folio(struct kunit *test)
{
	waits_for_folio(test, invalidate_unlocked);
}

/* The slow path waits for the folio lock while the page is truncated. */
static void serialized_waits_for_truncated_folio(struct kunit *test)
{
	waits_for_folio(test, truncate_unlocked);
}

/*
 * vm_normal_page() asks the VMA for a special page. The handler invalidates, so that a
 * walk without any CPU fault collides, too.
 */
static unsigned int special_left;

static struct page *special_page(struct vm_area_struct *vma, unsigned long addr)
{
	struct mmu_notifier_range range;

	if (!special_left)
		return NULL;
	special_left--;
	mmu_notifier_range_init(&range, MMU_NOTIFY_CLEAR, 0, vma->vm_mm, addr,
				addr + PAGE_SIZE);
	if (!mmu_notifier_invalidate_range_start_nonblock(&range))
		mmu_notifier_invalidate_range_end(&range);
	return NULL;
}

static void set_vm_ops(unsigned long addr, const struct vm_operations_struct *ops)
{
	struct vm_area_struct *vma;

	mmap_write_lock(current->mm);
	vma = vma_lookup(current->mm, addr);
	vma_start_write(vma);
	vma->vm_ops = ops;
	mmap_write_unlock(current->mm);
}

/*
 * HMM_FAULT_PRESENT on the slow path skips holes and empty pages, mirrors present pages,
 * and faults nothing in.
 */
static void serialized_present(struct kunit *test)
{
	static const struct vm_operations_struct ops = { .find_special_page = special_page };
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 4), first;
	struct hmm_area a = { .test = test, .state = hmm_states, .addr = AT(addr, 3) };
	struct hmm_mirror_stats before;

	KUNIT_ASSERT_EQ(test, 0, vm_munmap(addr, PAGE_SIZE));
	/* The CPU has read-only access, so the device can have no more. */
	hmm_test_read(test, AT(addr, 2));
	hmm_area_put(&a, hmm_area_entry(&a, 0), hmm_area_special(0, 1, PAGE_SHARED));
	set_vm_ops(AT(addr, 3), &ops);
	/* This maps nothing, but creates the window. */
	KUNIT_EXPECT_EQ(test, 0, hmm_fake_fault(fake, AT(addr, 1), 1,
						HMM_FAULT_PRESENT | HMM_FAULT_WRITE));
	hmm_fake_stop_gc(&fake->mirror);
	for (first = 0; first < 3; first++) {
		before = hmm_fake_stats(fake);
		special_left = HMM_FAULT_COLLISIONS_MAX;
		KUNIT_EXPECT_EQ(test, 1, hmm_fake_fault(fake, AT(addr, first), 4 - first,
							HMM_FAULT_PRESENT | HMM_FAULT_WRITE));
		KUNIT_EXPECT_EQ(test, HMM_FAULT_COLLISIONS_MAX,
				hmm_fake_stats(fake).collisions - before.collisions);
		KUNIT_EXPECT_EQ(test, 1, hmm_fake_valid(fake, addr, 4));
	}
	/* The present page was the one that the slow path served. */
	KUNIT_EXPECT_EQ(test, 1, hmm_fake_stats(fake).progress - before.progress);
	set_vm_ops(AT(addr, 3), NULL);
	hmm_area_restore(&a);
	hmm_fake_invalidate(fake, MMU_NOTIFY_CLEAR, addr, AT(addr, 4));
}

/* Cancelling a fault does not wake it from a sleep that expects no wakeup. */
static void cancel_does_not_wake_io(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = map_path_file(fake, 1, PATH_SLEEPS);
	struct hmm_fake_call *call = hmm_fake_call(fake, addr, 2, HMM_FAULT_READ);

	KUNIT_EXPECT_TRUE(test, hmm_fake_call_blocks(call));
	KUNIT_EXPECT_EQ(test, 1, hmm_mirror_cancel_range(&fake->mirror, addr, AT(addr, 1)));
	KUNIT_EXPECT_TRUE(test, hmm_fake_call_blocks(call));
	KUNIT_EXPECT_EQ(test, 0, path_file.woken);
	wake_up_process(call->task);
	KUNIT_EXPECT_EQ(test, -ECANCELED, hmm_fake_call_ends(call));
	/* It began no other CPU fault. */
	KUNIT_EXPECT_EQ(test, 1, path_file.done);
}

static void take_work(struct work_struct *work)
{
	struct written *w = container_of(work, struct written, work);

	hmm_fake_fault_all(w->fake, w->page, 1, HMM_FAULT_EXCLUSIVE);
}

/* The slow path keeps a page exclusive that another fault has just made exclusive. */
static void serialized_keeps_exclusive(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = map_path_file(fake, 0, PATH_IS_INVALIDATED);
	struct written w = { .fake = fake, .page = addr };
	struct hmm_mirror_stats before;
	struct hmm_fake_call *call;

	hmm_fake_map(fake, PATH_OFFSET, PAGE_SIZE);
	hmm_test_write(test, addr);
	before = hmm_fake_stats(fake);
	path_file.left = HMM_FAULT_COLLISIONS_MAX;
	INIT_WORK_ONSTACK(&w.work, take_work);
	path_file.also = &w.work;
	call = hmm_fake_call(fake, addr, 2, HMM_FAULT_READ);
	KUNIT_EXPECT_EQ(test, 2, hmm_fake_call_ends(call));
	destroy_work_on_stack(&w.work);
	/* The fault that made the page exclusive counts as one chunk. */
	expect_paths(fake, &before, 2, 0, 1);
	KUNIT_EXPECT_EQ(test, 1, hmm_fake_count(fake, addr, 1, HMM_PTE_EXCLUSIVE));
}

/*
 * A driver may walk a range in several calls. A CPU fault of one call that invalidates a
 * page that another call has read makes the range collide.
 */
static int walk_part(struct hmm_range *range, unsigned long addr)
{
	int ret;

	range->start = addr;
	range->end = addr + PAGE_SIZE;
	mmap_read_lock(current->mm);
	ret = hmm_range_fault(range);
	mmap_read_unlock(current->mm);
	return ret;
}

/*
 * Upward, a call that is repeated counts as it was last. Downward, a call that
 * invalidates what an earlier call has read collides.
 */
static void range_walked_in_parts(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = map_path_file(fake, 0, PATH_INVALIDATES_ITSELF), pfn;
	struct hmm_range range = {
		.mirror = &fake->mirror,
		.start = addr,
		.end = AT(addr, 2),
		.hmm_pfns = &pfn,
		.default_flags = HMM_PFN_REQ_FAULT,
	};

	/* Upward nothing collides, and a repeated call replaces the earlier one. */
	KUNIT_ASSERT_EQ(test, 0, hmm_range_begin(&range));
	path_file.left = 1;
	KUNIT_EXPECT_EQ(test, 0, walk_part(&range, addr));
	path_file.left = 1;
	path_file.from = AT(addr, 1);
	KUNIT_EXPECT_EQ(test, 0, walk_part(&range, AT(addr, 1)));
	down_read(&fake->mirror.lock);
	KUNIT_EXPECT_FALSE(test, hmm_range_retry(&range));
	up_read(&fake->mirror.lock);
	hmm_range_end(&range);

	KUNIT_ASSERT_EQ(test, 0, do_madvise(current->mm, addr, PAGE_SIZE, MADV_DONTNEED));
	range.start = addr;
	range.end = AT(addr, 2);
	KUNIT_ASSERT_EQ(test, 0, hmm_range_begin(&range));
	KUNIT_EXPECT_EQ(test, 0, walk_part(&range, AT(addr, 1)));
	path_file.left = 1;
	path_file.from = 0;
	KUNIT_EXPECT_EQ(test, -EBUSY, walk_part(&range, addr));
	down_read(&fake->mirror.lock);
	KUNIT_EXPECT_TRUE(test, hmm_range_retry(&range));
	up_read(&fake->mirror.lock);
	hmm_range_end(&range);
	path_file.left = 0;
}

/* The slow path works if the device has mirrored the range before. */
static void serialized_mirrored_before(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = map_path_file(fake, 0, PATH_IS_INVALIDATED);
	struct hmm_mirror_stats before;

	hmm_fake_fault_all(fake, addr, 8, HMM_FAULT_READ);
	before = hmm_fake_stats(fake);
	KUNIT_ASSERT_EQ(test, 0, do_madvise(current->mm, addr, PAGE_SIZE, MADV_DONTNEED));
	path_file.left = HMM_FAULT_COLLISIONS_MAX;
	KUNIT_EXPECT_EQ(test, 8, hmm_fake_fault(fake, addr, 8, HMM_FAULT_WRITE));
	KUNIT_EXPECT_EQ(test, 8, hmm_fake_writable(fake, addr, 8));
	KUNIT_EXPECT_EQ(test, 1, hmm_fake_stats(fake).progress - before.progress);
}

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
	storm->file = shmem_file_setup("hmm_mirror_path", STORM_PAGES << PAGE_SHIFT, 0);
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
		   worst, hmm_fake_stats(fake).progress);
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

static struct kunit_case hmm_mirror_path_cases[] = {
	KUNIT_CASE(fault_takes_vma_lock_only),
	KUNIT_CASE(several_vmas_take_vma_locks),
	KUNIT_CASE(waits_for_vma_writer),
	KUNIT_CASE(holes_need_mmap_lock),
	KUNIT_CASE(waits_are_no_collisions),
	KUNIT_CASE(few_collisions_stay_on_fast_path),
	KUNIT_CASE(own_fault_invalidates_earlier_page),
	KUNIT_CASE(many_collisions_are_serialized),
	KUNIT_CASE(serialized_may_write),
	KUNIT_CASE(serialized_collides),
	KUNIT_CASE(serialized_waits_without_locks),
	KUNIT_CASE(serialized_releases_mmap_lock),
	KUNIT_CASE(serialized_no_progress),
	KUNIT_CASE(serialized_waits_for_active),
	KUNIT_CASE(serialized_block),
	KUNIT_CASE(serialized_keeps_write_access),
	KUNIT_CASE(serialized_device_declines_write),
	KUNIT_CASE(serialized_ends_at_non_exclusive),
	KUNIT_CASE(serialized_waits_for_invalidated_folio),
	KUNIT_CASE(serialized_waits_for_truncated_folio),
	KUNIT_CASE(serialized_present),
	KUNIT_CASE(cancel_does_not_wake_io),
	KUNIT_CASE(serialized_keeps_exclusive),
	KUNIT_CASE(range_walked_in_parts),
	KUNIT_CASE(serialized_mirrored_before),
	KUNIT_CASE_PARAM_ATTR(faults_end_in_storm, storms_gen_params,
			      { .speed = KUNIT_SPEED_SLOW }),
	{}
};

static struct kunit_suite hmm_mirror_path_suite = {
	.name = "hmm_mirror_path",
	.test_cases = hmm_mirror_path_cases,
};

kunit_test_suite(hmm_mirror_path_suite);
