// SPDX-License-Identifier: GPL-2.0
/* Mappings of each kind, which a test brings into a state and back */
#include <linux/fdtable.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/hugetlb.h>
#include <linux/mman.h>
#include <linux/shmem_fs.h>

#include <asm/syscall.h>
#include <asm/unistd.h>

#include "hmm_range_states.h"

static void hmm_area_mmap(struct hmm_area *a, unsigned long addr, unsigned long size,
			  struct file *file, unsigned long prot, unsigned long flags)
{
	KUNIT_ASSERT_EQ(a->test, addr, vm_mmap(file, addr, size, prot,
					       flags | MAP_FIXED, 0));
}

/* Only the system call creates such a file. */
static struct file *hmm_area_secret_file(struct hmm_area *a, unsigned long size)
{
	const struct pt_regs regs = {};
	struct file *file;
	int fd;

	fd = x64_sys_call(&regs, __NR_memfd_secret);
	KUNIT_ASSERT_GE_MSG(a->test, fd, 0, "boot with secretmem.enable=1");
	file = fget(fd);
	close_fd(fd);
	KUNIT_ASSERT_EQ(a->test, 0, vfs_truncate(&file->f_path, size));
	return file;
}

/* Clearing a 1 GiB page takes seconds, so all tests share this one. */
static struct file *hmm_range_giant;

void hmm_range_release_giant(void)
{
	if (hmm_range_giant)
		__fput_sync(hmm_range_giant);
	hmm_range_giant = NULL;
}

static struct file *hmm_area_hugetlb_file(struct hmm_area *a, unsigned long size)
{
	struct file *file;

	if (a->state->order == PUD_ORDER && hmm_range_giant)
		return get_file(hmm_range_giant);
	file = hugetlb_file_setup("hmm_range", size, VM_NORESERVE,
				  HUGETLB_ANONHUGE_INODE,
				  PAGE_SHIFT + a->state->order);
	if (a->state->order == PUD_ORDER && !IS_ERR(file))
		hmm_range_giant = get_file(file);
	return file;
}

static struct file *hmm_area_file(struct hmm_area *a, unsigned long size)
{
	if (a->state->backing == HMM_SECRETMEM)
		return hmm_area_secret_file(a, size);
	if (hmm_area_is_hugetlb(a))
		return hmm_area_hugetlb_file(a, size);
	return shmem_file_setup("hmm_range", size, 0);
}

static void hmm_area_map(struct hmm_area *a)
{
	unsigned long flags = MAP_PRIVATE, size = a->npages << PAGE_SHIFT;
	struct file *file = NULL;

	if (a->state->backing == HMM_ANON) {
		flags |= MAP_ANONYMOUS;
	} else {
		file = hmm_area_file(a, size);
		KUNIT_ASSERT_NOT_ERR_OR_NULL(a->test, file);
		if (a->state->backing != HMM_HUGETLB_PRIVATE)
			flags = MAP_SHARED;
	}
	hmm_area_mmap(a, a->addr, size, file, PROT_READ | PROT_WRITE, flags);
	if (file)
		fput(file);
}

/* Map an ordinary page. Its protection makes it a VMA of its own. */
static void hmm_area_map_neighbour(struct hmm_area *a, unsigned long addr)
{
	hmm_area_mmap(a, addr, PAGE_SIZE, NULL, PROT_READ | PROT_WRITE | PROT_EXEC,
		      MAP_PRIVATE | MAP_ANONYMOUS);
	hmm_test_write(a->test, addr);
}

static void hmm_area_set_flags(struct hmm_area *a, unsigned long set,
			       unsigned long clear)
{
	struct vm_area_struct *vma;

	mmap_write_lock(current->mm);
	vma = find_vma(current->mm, a->addr);
	a->saved_flags = vma->vm_flags;
	vm_flags_mod(vma, set, clear);
	mmap_write_unlock(current->mm);
}

/* End the migration as soon as a task sleeps until its end. */
static void hmm_area_arrive(struct work_struct *work)
{
	struct hmm_area *a = container_of(to_delayed_work(work), struct hmm_area, arrival);

	if (a->patience && !(READ_ONCE(a->waiter->__state) & TASK_UNINTERRUPTIBLE)) {
		a->patience--;
		schedule_delayed_work(&a->arrival, msecs_to_jiffies(10));
		return;
	}
	if (a->arriving)
		a->arriving(a);
	hmm_area_restore(a);
}

/* End the migration when the current task waits for it, or after ten seconds. */
void hmm_area_await(struct hmm_area *a)
{
	a->waiter = current;
	a->patience = 1000;
	schedule_delayed_work(&a->arrival, msecs_to_jiffies(10));
}

/* Do not use the stack: the work item may still run when a test is aborted. */
struct hmm_area *hmm_area_alloc(struct kunit *test, const struct hmm_state *state)
{
	unsigned long size = PAGE_SIZE << state->order, at;
	struct hmm_area *a;

	a = kunit_kzalloc(test, sizeof(*a), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, a);
	a->test = test;
	a->mm = current->mm;
	a->state = state;
	a->npages = 1UL << state->order;
	INIT_DELAYED_WORK(&a->arrival, hmm_area_arrive);

	/* Room for the alignment, and for a page on both sides */
	at = kunit_vm_mmap(test, NULL, 0, 3 * size + 2 * PAGE_SIZE, PROT_NONE,
			   MAP_ANONYMOUS | MAP_PRIVATE | MAP_NORESERVE, 0);
	KUNIT_ASSERT_NE(test, 0, at);
	KUNIT_ASSERT_LT(test, at, TASK_SIZE);
	a->addr = ALIGN(at + PAGE_SIZE, size);

	hmm_area_map_neighbour(a, a->addr - PAGE_SIZE);
	hmm_area_map_neighbour(a, a->addr + size);
	hmm_area_map(a);
	return a;
}

/* Until hmm_area_leave() nothing may abort the test. */
void hmm_area_enter(struct hmm_area *a)
{
	a->state->make(a);
	hmm_area_set_flags(a, a->state->set, a->state->clear);
}

void hmm_area_leave(struct hmm_area *a)
{
	unsigned long size = a->npages << PAGE_SHIFT;

	/* If the walk did not wait, the work item still re-arms itself. */
	cancel_delayed_work_sync(&a->arrival);
	hmm_area_restore(a);
	hmm_area_set_flags(a, a->saved_flags & a->state->clear, a->state->set);
	KUNIT_ASSERT_EQ(a->test, 0, vm_munmap(a->addr - PAGE_SIZE,
					      size + 2 * PAGE_SIZE));
	/*
	 * fput() in a kernel thread leaves the last reference, and huge pages, to a work
	 * item.
	 */
	flush_delayed_fput();
}
