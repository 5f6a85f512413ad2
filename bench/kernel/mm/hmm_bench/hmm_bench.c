// SPDX-License-Identifier: GPL-2.0
/*
 * /dev/hmm_bench measures range walkers on the memory of the calling process. fault.c measures
 * the faults of a device on this memory. table.c measures mirror page tables without memory.
 *
 * Under QEMU's -icount each instruction takes one nanosecond of guest time. So the same clock
 * measures time and counts instructions.
 */
#include <linux/fs.h>
#include <linux/hmm_mirror.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/module.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/timekeeping.h>
#include <linux/uaccess.h>

#include "fault.h"
#include "hmm_bench.h"
#include "listen.h"
#include "peer.h"
#include "table.h"

/**
 * struct hmm_bench_run - one measurement in progress
 * @notifier: reports changes of the range
 * @args: the parameters, and later the results
 * @entries: one entry for each page
 * @source: input of hmm_bench_floor(), of the same size
 */
struct hmm_bench_run {
	struct mmu_interval_notifier notifier;
	struct hmm_bench args;
	unsigned long *entries;
	unsigned long *source;
};

static bool hmm_bench_invalidate(struct mmu_interval_notifier *notifier,
				 const struct mmu_notifier_range *range,
				 unsigned long seq)
{
	/* The entries are not used after the measurement, so this needs no lock. */
	mmu_interval_set_seq(notifier, seq);
	return true;
}

static const struct mmu_interval_notifier_ops hmm_bench_ops = {
	.invalidate = hmm_bench_invalidate,
};

static int hmm_bench_walk(struct hmm_bench_run *run,
			  int (*walker)(struct hmm_range *range))
{
	const struct hmm_bench *args = &run->args;
	const unsigned long step = args->per_call << PAGE_SHIFT;
	struct hmm_range range = {
		.notifier = &run->notifier,
		.default_flags = args->default_flags,
		.pfn_flags_mask = args->pfn_flags_mask,
		.hmm_pfns = run->entries,
	};
	unsigned long addr;
	int ret = 0;

	range.notifier_seq = mmu_interval_read_begin(&run->notifier);
	mmap_read_lock(current->mm);
	for (addr = 0; !ret && addr < args->npages << PAGE_SHIFT; addr += step) {
		range.start = args->addr + addr;
		range.end = range.start + step;
		ret = walker(&range);
		range.hmm_pfns += args->per_call;
	}
	mmap_read_unlock(current->mm);
	return ret;
}

static int hmm_bench_gup(struct hmm_bench_run *run)
{
	const struct hmm_bench *args = &run->args;
	const unsigned int flags = args->default_flags & HMM_PFN_REQ_WRITE ?
				   FOLL_WRITE : 0;
	struct page **pages = (struct page **)run->entries;
	unsigned long done = 0, i;

	while (done < args->npages) {
		long got = get_user_pages_fast(args->addr + (done << PAGE_SHIFT),
					       min(args->per_call,
						   args->npages - done),
					       flags, pages + done);

		if (got <= 0)
			return got ?: -EFAULT;
		for (i = 0; i < got; i++)
			put_page(pages[done + i]);
		done += got;
	}
	/* hmm_bench_look() must not treat the page pointers as entries. */
	memset(run->entries, 0, args->npages * sizeof(*run->entries));
	return 0;
}

/*
 * For each page, read eight bytes and write eight bytes. The function is aligned, because the
 * loop takes twice as long if it crosses a cache line.
 */
static noinline __aligned(64) void
hmm_bench_floor(unsigned long *to, const unsigned long *from, unsigned long count)
{
	unsigned long i;

	for (i = 0; i < count; i++)
		WRITE_ONCE(to[i], READ_ONCE(from[i]));
}

/* The faults that each walker must take for pages that are not present */
static int hmm_bench_faults(const struct hmm_bench *args)
{
	unsigned long addr = args->addr, end = addr + (args->npages << PAGE_SHIFT);
	struct vm_area_struct *vma;
	int ret = 0;

	mmap_read_lock(current->mm);
	vma = vma_lookup(current->mm, addr);
	if (!vma || vma->vm_end < end)
		ret = -EINVAL;
	for (; !ret && addr < end; addr += PAGE_SIZE) {
		vm_fault_t fault = handle_mm_fault(vma, addr, FAULT_FLAG_REMOTE |
						   FAULT_FLAG_WRITE, NULL);

		if (fault & VM_FAULT_ERROR)
			ret = vm_fault_to_errno(fault, 0);
		cond_resched();
	}
	mmap_read_unlock(current->mm);
	return ret;
}

static int hmm_bench_once(struct hmm_bench_run *run)
{
	switch (run->args.what) {
	case HMM_BENCH_PEER:
		return hmm_bench_walk(run, hmm_bench_peer);
	case HMM_BENCH_OURS:
		return hmm_bench_walk(run, hmm_range_fault);
	case HMM_BENCH_SNAPSHOT:
		return hmm_bench_walk(run, hmm_range_snapshot);
	case HMM_BENCH_FLOOR:
		hmm_bench_floor(run->entries, run->source, run->args.npages);
		return 0;
	case HMM_BENCH_FAULTS:
		return hmm_bench_faults(&run->args);
	case HMM_BENCH_GUP:
		return hmm_bench_gup(run);
	default:
		return -EINVAL;
	}
}

static int hmm_bench_rounds(struct hmm_bench_run *run)
{
	struct hmm_bench *args = &run->args;
	unsigned int round;
	u64 begin;
	int ret;

	args->best = U64_MAX;
	for (round = 0; round < args->rounds; round++) {
		if (fatal_signal_pending(current))
			return -EINTR;
		memset64((u64 *)run->entries, args->input, args->npages);
		begin = ktime_get_ns();
		ret = hmm_bench_once(run);
		if (ret)
			return ret;
		args->best = min(args->best, ktime_get_ns() - begin);
		cond_resched();
	}
	return 0;
}

static void hmm_bench_look(struct hmm_bench_run *run)
{
	const unsigned long plain = ~HMM_PFN_FLAGS | HMM_PFN_VALID | HMM_PFN_WRITE |
				    HMM_PFN_ERROR | 0x1fUL << HMM_PFN_ORDER_SHIFT;
	struct hmm_bench *args = &run->args;
	unsigned long i;

	args->valid = 0;
	args->writable = 0;
	args->sum = 0;
	for (i = 0; i < args->npages; i++) {
		unsigned long entry = run->entries[i];

		args->valid += !!(entry & HMM_PFN_VALID);
		args->writable += !!(entry & HMM_PFN_WRITE);
		args->sum = args->sum * 31 + (entry & plain);
	}
}

static int hmm_bench_measure(struct hmm_bench_run *run)
{
	const struct hmm_bench *args = &run->args;
	int ret;

	if (!args->rounds || !args->npages || !args->per_call ||
	    args->npages % args->per_call || !PAGE_ALIGNED(args->addr) ||
	    args->npages > INT_MAX / sizeof(*run->entries))
		return -EINVAL;

	run->entries = kvmalloc_array(args->npages, sizeof(*run->entries),
				      GFP_KERNEL_ACCOUNT);
	run->source = kvcalloc(args->npages, sizeof(*run->source),
			       GFP_KERNEL_ACCOUNT);
	ret = -ENOMEM;
	if (!run->entries || !run->source)
		goto out;

	ret = mmu_interval_notifier_insert(&run->notifier, current->mm,
					   args->addr,
					   args->npages << PAGE_SHIFT,
					   &hmm_bench_ops);
	if (ret)
		goto out;
	ret = hmm_bench_rounds(run);
	mmu_interval_notifier_remove(&run->notifier);
	if (!ret)
		hmm_bench_look(run);
out:
	kvfree(run->source);
	kvfree(run->entries);
	return ret;
}

static long hmm_bench_walks(void __user *arg)
{
	struct hmm_bench_run run = {};
	int ret;

	if (copy_from_user(&run.args, arg, sizeof(run.args)))
		return -EFAULT;
	ret = hmm_bench_measure(&run);
	if (!ret && copy_to_user(arg, &run.args, sizeof(run.args)))
		return -EFAULT;
	return ret;
}

static long hmm_bench_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	switch (cmd) {
	case HMM_BENCH_RUN:
		return hmm_bench_walks((void __user *)arg);
	case HMM_BENCH_TABLE:
		return hmm_bench_table((void __user *)arg);
	case HMM_BENCH_GAP:
		return hmm_bench_gap((void __user *)arg);
	case HMM_BENCH_LISTEN:
		return hmm_bench_listen(file, (void __user *)arg);
	case HMM_BENCH_FAULT:
		return hmm_bench_fault((void __user *)arg);
	default:
		return -ENOTTY;
	}
}

/* The file starts without listeners. */
static int hmm_bench_open(struct inode *inode, struct file *file)
{
	file->private_data = NULL;
	return 0;
}

static const struct file_operations hmm_bench_fops = {
	.owner = THIS_MODULE,
	.open = hmm_bench_open,
	.release = hmm_bench_release,
	.unlocked_ioctl = hmm_bench_ioctl,
};

static struct miscdevice hmm_bench_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "hmm_bench",
	.fops = &hmm_bench_fops,
	.mode = 0600,
};

builtin_misc_device(hmm_bench_device);
