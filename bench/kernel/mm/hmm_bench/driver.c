// SPDX-License-Identifier: GPL-2.0
/*
 * A driver without a mirror, which fault.c measures. It works like the test device of the base
 * tree and similar drivers:
 *
 * - One interval notifier spans the mm.
 * - The driver serves a fault in chunks, whose entries fit on the stack. For each chunk it begins
 *   a read of the sequence and walks the range under mmap_lock. It stores the pages in an xarray,
 *   unless an invalidation has changed any part of the mm in the meantime.
 * - The xarray, by its normal API, also represents the device page table.
 */
#include <linux/hmm_mirror.h>
#include <linux/mmu_notifier.h>
#include <linux/mutex.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/xarray.h>

#include "fault.h"
#include "hmm_bench.h"
#include "peer.h"

/* The value of lib/test_hmm.c in the base tree */
#define HMM_BENCH_CHUNK		64

#define HMM_BENCH_TAG_WRITE	1

/**
 * struct hmm_bench_device - a device without a mirror
 * @notifier: spans the mm
 * @lock: protects @pages, and the test of the sequence against invalidations
 * @pages: the pages that the device may access
 * @retries: number of restarted chunks
 */
struct hmm_bench_device {
	struct mmu_interval_notifier notifier;
	struct mutex lock;	/* see above */
	struct xarray pages;
	u64 retries;
};

static bool hmm_bench_device_invalidate(struct mmu_interval_notifier *notifier,
					const struct mmu_notifier_range *range,
					unsigned long seq)
{
	struct hmm_bench_device *device =
		container_of(notifier, struct hmm_bench_device, notifier);
	unsigned long index;
	void *entry;

	if (mmu_notifier_range_blockable(range))
		mutex_lock(&device->lock);
	else if (!mutex_trylock(&device->lock))
		return false;
	mmu_interval_set_seq(notifier, seq);
	xa_for_each_range(&device->pages, index, entry, range->start >> PAGE_SHIFT,
			  (range->end - 1) >> PAGE_SHIFT)
		xa_erase(&device->pages, index);
	mutex_unlock(&device->lock);
	return true;
}

static const struct mmu_interval_notifier_ops hmm_bench_device_ops = {
	.invalidate = hmm_bench_device_invalidate,
};

static void *hmm_bench_device_probe(struct mm_struct *mm)
{
	struct hmm_bench_device *device = kzalloc(sizeof(*device), GFP_KERNEL);
	int ret;

	if (!device)
		return ERR_PTR(-ENOMEM);
	mutex_init(&device->lock);
	xa_init(&device->pages);
	ret = mmu_interval_notifier_insert(&device->notifier, mm, 0, ULONG_MAX & PAGE_MASK,
					   &hmm_bench_device_ops);
	if (!ret)
		return device;
	kfree(device);
	return ERR_PTR(ret);
}

static void hmm_bench_device_remove(void *data)
{
	struct hmm_bench_device *device = data;

	mmu_interval_notifier_remove(&device->notifier);
	xa_destroy(&device->pages);
	kfree(device);
}

static int hmm_bench_device_store(struct hmm_bench_device *device,
				  const struct hmm_range *range)
{
	const unsigned long *pfns = range->hmm_pfns;
	unsigned long index;

	for (index = range->start >> PAGE_SHIFT; index < range->end >> PAGE_SHIFT; index++) {
		void *entry = hmm_pfn_to_page(*pfns);

		if (*pfns & HMM_PFN_WRITE)
			entry = xa_tag_pointer(entry, HMM_BENCH_TAG_WRITE);
		entry = xa_store(&device->pages, index, entry, GFP_ATOMIC);
		if (xa_is_err(entry))
			return xa_err(entry);
		pfns++;
	}
	return 0;
}

/* Try to map one chunk. Return: -EBUSY if the caller must try again. */
static int hmm_bench_device_try(struct hmm_bench_device *device, struct hmm_range *range)
{
	struct mm_struct *mm = device->notifier.mm;
	int ret;

	range->notifier_seq = mmu_interval_read_begin(range->notifier);
	mmap_read_lock(mm);
	ret = hmm_bench_peer(range);
	mmap_read_unlock(mm);
	if (ret)
		return ret;

	guard(mutex)(&device->lock);
	if (mmu_interval_read_retry(range->notifier, range->notifier_seq))
		return -EBUSY;
	return hmm_bench_device_store(device, range);
}

static int hmm_bench_device_fault(void *data, unsigned long start, unsigned long end)
{
	struct hmm_bench_device *device = data;
	struct mm_struct *mm = device->notifier.mm;
	unsigned long pfns[HMM_BENCH_CHUNK];
	struct hmm_range range = {
		.notifier = &device->notifier,
		.default_flags = HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE,
		.hmm_pfns = pfns,
	};
	int ret = 0;

	if (!mmget_not_zero(mm))
		return -ESRCH;
	while (!ret && start < end) {
		range.start = start;
		range.end = min(start + HMM_BENCH_CHUNK * PAGE_SIZE, end);
		ret = hmm_bench_device_try(device, &range);
		if (!ret) {
			start = range.end;
		} else if (ret == -EBUSY && !fatal_signal_pending(current)) {
			device->retries++;
			ret = 0;
		}
	}
	mmput(mm);
	return ret;
}

static void hmm_bench_device_look(void *data, struct hmm_bench_fault *args)
{
	struct hmm_bench_device *device = data;
	unsigned long index, first = args->addr >> PAGE_SHIFT;
	void *entry;

	guard(mutex)(&device->lock);
	xa_for_each_range(&device->pages, index, entry, first, first + args->npages - 1) {
		args->writable += xa_pointer_tag(entry) == HMM_BENCH_TAG_WRITE;
		args->sum += page_to_pfn((struct page *)xa_untag_pointer(entry));
	}
	args->retries = device->retries;
}

const struct hmm_bench_driver hmm_bench_driver = {
	.probe = hmm_bench_device_probe,
	.remove = hmm_bench_device_remove,
	.fault = hmm_bench_device_fault,
	.look = hmm_bench_device_look,
};
