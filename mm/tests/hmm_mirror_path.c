// SPDX-License-Identifier: GPL-2.0
/*
 * A file whose CPU faults wait or invalidate, for the tests of the paths of a fault
 */
#include <linux/file.h>
#include <linux/mman.h>
#include <linux/shmem_fs.h>

#include "hmm_mirror_path.h"

/* Check how many chunks a fault has served on each path since @before. */
void hmm_path_expect(struct hmm_fake *fake, const struct hmm_mirror_stats *before,
		     unsigned long vma_lock, unsigned long mmap_lock, unsigned long serialized)
{
	struct hmm_mirror_stats stats = hmm_fake_stats(fake);

	KUNIT_EXPECT_EQ(fake->test, vma_lock, stats.vma_lock - before->vma_lock);
	KUNIT_EXPECT_EQ(fake->test, mmap_lock, stats.mmap_lock - before->mmap_lock);
	KUNIT_EXPECT_EQ(fake->test, serialized, stats.slow_path - before->slow_path);
}

struct hmm_path_file hmm_path_file;

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
	WRITE_ONCE(hmm_path_file.active, false);
	mmu_notifier_invalidate_range_end(&path_long_range);
}

DECLARE_DELAYED_WORK(hmm_path_long_end, path_end_work);

static void path_begin_work(struct work_struct *work)
{
	struct path_work *w = container_of(work, struct path_work, work);

	path_long_range = w->range;
	WRITE_ONCE(hmm_path_file.active, true);
	mmu_notifier_invalidate_range_start(&path_long_range);
	schedule_delayed_work(&hmm_path_long_end, HZ / 5);
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
	schedule_work(hmm_path_file.also);
	flush_work(hmm_path_file.also);
	return VM_FAULT_RETRY;
}

/* Invalidate in another thread, or in the faulting thread itself. */
static vm_fault_t path_invalidate(struct vm_fault *vmf)
{
	unsigned long start = vmf->vma->vm_start;
	struct path_work w;

	if (!hmm_path_file.left && hmm_path_file.from)
		start = hmm_path_file.from;
	/* Invalidate more than the page, as if it belonged to a large folio. */
	mmu_notifier_range_init(&w.range, MMU_NOTIFY_CLEAR, 0, vmf->vma->vm_mm, start,
				vmf->vma->vm_end);
	INIT_WORK_ONSTACK(&w.work, hmm_path_file.how == HMM_PATH_IS_INVALIDATED_LONG ?
				   path_begin_work : path_invalidate_work);
	if (hmm_path_file.how == HMM_PATH_INVALIDATES_ITSELF) {
		path_invalidate_work(&w.work);
	} else {
		schedule_work(&w.work);
		flush_work(&w.work);
	}
	destroy_work_on_stack(&w.work);
	if (!hmm_path_file.left && hmm_path_file.also)
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
	hmm_path_file.woken++;
	return hmm_path_file.real_ops->fault(vmf);
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

	hmm_path_file.done++;
	hmm_path_file.vma_lock_only = vmf->flags & FAULT_FLAG_VMA_LOCK;
	hmm_path_file.may_retry = fault_flag_allow_retry_first(vmf->flags) &&
			      !(vmf->flags & FAULT_FLAG_RETRY_NOWAIT);
	hmm_path_file.killable = vmf->flags & FAULT_FLAG_KILLABLE;
	hmm_path_file.interruptible = vmf->flags & FAULT_FLAG_INTERRUPTIBLE;
	hmm_path_file.lets_vma_lock = path_lets_lock(vmf->vma);
	hmm_path_file.early |= READ_ONCE(hmm_path_file.active);
	if (vmf->flags & FAULT_FLAG_RETRY_NOWAIT && hmm_path_file.lock_seq != seq) {
		hmm_path_file.lock_seq = seq;
		hmm_path_file.locks++;
	}
}

static vm_fault_t path_fault(struct vm_fault *vmf)
{
	vm_fault_t ret;

	path_note(vmf);
	if (!hmm_path_file.left)
		return hmm_path_file.real_ops->fault(vmf);
	hmm_path_file.left--;
	if (!hmm_path_file.left && hmm_path_file.then) {
		ret = path_invalidate(vmf);
		hmm_path_file.how = hmm_path_file.then;
		hmm_path_file.then = 0;
		hmm_path_file.left = hmm_path_file.then_left;
		return ret;
	}
	if (hmm_path_file.how == HMM_PATH_WAITS)
		return path_wait(vmf);
	if (hmm_path_file.how == HMM_PATH_SLEEPS)
		return path_sleep(vmf);
	return path_invalidate(vmf);
}

/* Without this, faults of a file do not use the VMA lock. */
static vm_fault_t path_map_pages(struct vm_fault *vmf, pgoff_t first, pgoff_t last)
{
	return 0;
}

/* Map the file, whose next @left CPU faults do @how first. */
unsigned long hmm_path_map(struct hmm_fake *fake, unsigned int left, enum hmm_path_how how)
{
	struct file *file = shmem_file_setup("hmm_mirror_path", SZ_64K, VM_NORESERVE);
	struct kunit *test = fake->test;
	struct vm_area_struct *vma;
	unsigned long addr;

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, file);
	addr = hmm_fake_map_file(fake, HMM_PATH_OFFSET, SZ_64K, file, MAP_SHARED);
	fput(file);
	/* Create the window. */
	hmm_fake_fault_all(fake, AT(addr, 15), 1, HMM_FAULT_WRITE);

	mmap_write_lock(current->mm);
	vma = vma_lookup(current->mm, addr);
	vma_start_write(vma);
	hmm_path_file = (struct hmm_path_file){
		.real_ops = vma->vm_ops,
		.ops = *vma->vm_ops,
		.left = left,
		.how = how,
	};
	hmm_path_file.ops.fault = path_fault;
	hmm_path_file.ops.map_pages = path_map_pages;
	vma->vm_ops = &hmm_path_file.ops;
	mmap_write_unlock(current->mm);
	return addr;
}
