// SPDX-License-Identifier: GPL-2.0
/*
 * HMM_BENCH_FAULT: the cost of the faults of a device, for a driver with a mirror, and for a
 * driver without a mirror (driver.c).
 *
 * All rounds but the first begin with an MMU notifier invalidation of all of the memory, which
 * does not change. So the device maps nothing, and the CPU page table maps all pages.
 */
#include <linux/err.h>
#include <linux/hmm_mirror.h>
#include <linux/mmu_notifier.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/timekeeping.h>
#include <linux/uaccess.h>

#include "fault.h"
#include "hmm_bench.h"

/**
 * struct hmm_bench_mirrored - a device that has a mirror
 * @mirror: the mirror
 * @mapped: a sum of the reported entries, in place of a device page table
 */
struct hmm_bench_mirrored {
	struct hmm_mirror mirror;
	unsigned long mapped;
};

static int hmm_bench_mirrored_sync(struct hmm_mirror *mirror, const struct hmm_update *update)
{
	struct hmm_bench_mirrored *device =
		container_of(mirror, struct hmm_bench_mirrored, mirror);
	struct hmm_pt_iter iter;
	unsigned long mapped = 0;

	if (update->event != HMM_UPDATE_DEVICE_WFAULT)
		return 0;
	hmm_pt_for_each(&iter, mirror, update->start, update->end)
		mapped += iter.pte.pfn + iter.end - iter.addr;
	WRITE_ONCE(device->mapped, mapped);
	return 0;
}

static const struct hmm_mirror_ops hmm_bench_mirrored_ops = {
	.sync_cpu_device_pagetables = hmm_bench_mirrored_sync,
};

static void *hmm_bench_mirrored_probe(struct mm_struct *mm)
{
	struct hmm_bench_mirrored *device = kzalloc(sizeof(*device), GFP_KERNEL);
	int ret;

	if (!device)
		return ERR_PTR(-ENOMEM);
	device->mirror.ops = &hmm_bench_mirrored_ops;
	ret = hmm_mirror_register(&device->mirror, mm);
	if (!ret)
		return device;
	kfree(device);
	return ERR_PTR(ret);
}

static void hmm_bench_mirrored_remove(void *data)
{
	struct hmm_bench_mirrored *device = data;

	hmm_mirror_unregister(&device->mirror);
	kfree(device);
}

static int hmm_bench_mirrored_fault(void *data, unsigned long start, unsigned long end)
{
	struct hmm_bench_mirrored *device = data;
	long pages = hmm_mirror_fault(&device->mirror, start, end, HMM_FAULT_WRITE);

	if (pages < 0)
		return pages;
	return pages == (end - start) >> PAGE_SHIFT ? 0 : -EFAULT;
}

static void hmm_bench_mirrored_look(void *data, struct hmm_bench_fault *args)
{
	unsigned long end = args->addr + (args->npages << PAGE_SHIFT);
	struct hmm_bench_mirrored *device = data;
	struct hmm_mirror_stats stats;
	struct hmm_pt_iter iter;

	down_read(&device->mirror.lock);
	hmm_pt_for_each(&iter, &device->mirror, args->addr, end) {
		u64 pages = (iter.end - iter.addr) >> PAGE_SHIFT;

		if (hmm_pte_write(iter.pte))
			args->writable += pages;
		args->sum += pages * hmm_pte_pfn(iter.pte) + pages * (pages - 1) / 2;
	}
	up_read(&device->mirror.lock);
	hmm_mirror_get_stats(&device->mirror, &stats);
	args->retries = stats.collisions;
}

static const struct hmm_bench_driver hmm_bench_mirrored = {
	.probe = hmm_bench_mirrored_probe,
	.remove = hmm_bench_mirrored_remove,
	.fault = hmm_bench_mirrored_fault,
	.look = hmm_bench_mirrored_look,
};

/* Invalidate all entries of the device page table. */
static void hmm_bench_invalidate_all(const struct hmm_bench_fault *args)
{
	struct mmu_notifier_range range;

	mmu_notifier_range_init(&range, MMU_NOTIFY_CLEAR, 0, current->mm, args->addr,
				args->addr + (args->npages << PAGE_SHIFT));
	mmu_notifier_invalidate_range_start(&range);
	mmu_notifier_invalidate_range_end(&range);
}

static int hmm_bench_fault_rounds(const struct hmm_bench_driver *driver, void *device,
				  struct hmm_bench_fault *args)
{
	unsigned long end = args->addr + (args->npages << PAGE_SHIFT);
	u64 round, took;
	int ret;

	for (round = 0; round < args->rounds || args->total < args->least; round++) {
		if (fatal_signal_pending(current))
			return -EINTR;
		if (round)
			hmm_bench_invalidate_all(args);
		took = ktime_get_ns();
		ret = driver->fault(device, args->addr, end);
		took = ktime_get_ns() - took;
		if (ret)
			return ret;
		args->best = min(args->best, took);
		args->total += took;
		cond_resched();
	}
	args->rounds = round;
	driver->look(device, args);
	return 0;
}

static const struct hmm_bench_driver *hmm_bench_fault_driver(u64 who)
{
	switch (who) {
	case HMM_BENCH_NO_MIRROR:
		return &hmm_bench_driver;
	case HMM_BENCH_A_MIRROR:
		return &hmm_bench_mirrored;
	default:
		return NULL;
	}
}

long hmm_bench_fault(void __user *arg)
{
	const struct hmm_bench_driver *driver;
	struct hmm_bench_fault args;
	void *device;
	int ret;

	if (copy_from_user(&args, arg, sizeof(args)))
		return -EFAULT;
	driver = hmm_bench_fault_driver(args.driver);
	if (!driver || !args.rounds || !PAGE_ALIGNED(args.addr) || !args.npages ||
	    args.npages > TASK_SIZE >> PAGE_SHIFT)
		return -EINVAL;
	args.best = U64_MAX;
	args.total = 0;
	args.writable = 0;
	args.sum = 0;

	device = driver->probe(current->mm);
	if (IS_ERR(device))
		return PTR_ERR(device);
	ret = hmm_bench_fault_rounds(driver, device, &args);
	driver->remove(device);
	if (!ret && copy_to_user(arg, &args, sizeof(args)))
		return -EFAULT;
	return ret;
}
