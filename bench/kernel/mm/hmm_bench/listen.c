// SPDX-License-Identifier: GPL-2.0
/*
 * HMM_BENCH_LISTEN: add listeners for the changes of the current mm. A listener is a mirror of
 * one page, or a notifier of the whole mm. close() of the file removes all its listeners.
 */
#include <linux/hmm_mirror.h>
#include <linux/mmu_notifier.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "hmm_bench.h"
#include "listen.h"

/**
 * struct hmm_bench_listener - a listener for changes
 * @next: next listener of the same file
 * @what: which of the two members below is in use
 * @mirror: for HMM_BENCH_MIRRORS
 * @notifier: for HMM_BENCH_NOTIFIERS
 */
struct hmm_bench_listener {
	struct hmm_bench_listener *next;
	enum hmm_bench_listeners what;
	struct hmm_mirror mirror;
	struct mmu_notifier notifier;
};

static int hmm_bench_sync(struct hmm_mirror *mirror, const struct hmm_update *update)
{
	return 0;
}

static const struct hmm_mirror_ops hmm_bench_mirror_ops = {
	.sync_cpu_device_pagetables = hmm_bench_sync,
};

static int hmm_bench_start(struct mmu_notifier *notifier,
			   const struct mmu_notifier_range *range)
{
	return 0;
}

static const struct mmu_notifier_ops hmm_bench_notifier_ops = {
	.invalidate_range_start = hmm_bench_start,
};

static int hmm_bench_listen_mirror(struct hmm_bench_listener *listener, unsigned long addr)
{
	long pages;
	int ret;

	listener->mirror.ops = &hmm_bench_mirror_ops;
	ret = hmm_mirror_register(&listener->mirror, current->mm);
	if (ret)
		return ret;
	pages = hmm_mirror_fault(&listener->mirror, addr, addr + PAGE_SIZE, HMM_FAULT_READ);
	if (pages == 1)
		return 0;
	hmm_mirror_unregister(&listener->mirror);
	return pages;
}

static int hmm_bench_listen_notifier(struct hmm_bench_listener *listener)
{
	listener->notifier.ops = &hmm_bench_notifier_ops;
	return mmu_notifier_register(&listener->notifier, current->mm);
}

long hmm_bench_listen(struct file *file, void __user *arg)
{
	struct hmm_bench_listener *listener;
	struct hmm_bench_listen args;
	int ret = 0;

	if (copy_from_user(&args, arg, sizeof(args)))
		return -EFAULT;
	if (args.what > HMM_BENCH_NOTIFIERS)
		return -EINVAL;
	for (; args.count && !ret; args.count--) {
		listener = kzalloc(sizeof(*listener), GFP_KERNEL_ACCOUNT);
		if (!listener)
			return -ENOMEM;
		listener->what = args.what;
		if (args.what == HMM_BENCH_MIRRORS)
			ret = hmm_bench_listen_mirror(listener, args.addr);
		else
			ret = hmm_bench_listen_notifier(listener);
		if (ret) {
			kfree(listener);
			break;
		}
		listener->next = file->private_data;
		file->private_data = listener;
	}
	return ret;
}

int hmm_bench_release(struct inode *inode, struct file *file)
{
	struct hmm_bench_listener *listener, *next;

	for (listener = file->private_data; listener; listener = next) {
		next = listener->next;
		if (listener->what == HMM_BENCH_MIRRORS)
			hmm_mirror_unregister(&listener->mirror);
		else
			mmu_notifier_unregister(&listener->notifier, listener->notifier.mm);
		kfree(listener);
	}
	return 0;
}
