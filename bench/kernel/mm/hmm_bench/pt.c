// SPDX-License-Identifier: GPL-2.0
/*
 * The mirror page table, which table.c measures.
 */
#include <linux/dma-mapping.h>
#include <linux/hmm_mirror.h>
#include <linux/platform_device.h>
#include <linux/rwsem.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "../hmm_pt.h"
#include "table.h"

/**
 * struct hmm_bench_mirror - the part of a mirror that its page table needs
 * @lock: the lock of the mirror
 * @pt: the page table
 * @stage: the entries that hmm_pt_publish() will commit
 * @device: the device of the DMA addresses, or NULL without DMA addresses
 * @maps: the DMA mappings of the stage
 */
struct hmm_bench_mirror {
	struct rw_semaphore lock;
	struct hmm_pt pt;
	struct hmm_pt_stage stage;
	struct platform_device *device;
	dma_addr_t *maps;
};

/* A device without an IOMMU that can address all memory */
static int hmm_bench_pt_dma_init(struct hmm_bench_mirror *mirror, unsigned long npages)
{
	int ret;

	mirror->maps = vmalloc_array(npages, sizeof(*mirror->maps));
	if (!mirror->maps)
		return -ENOMEM;
	mirror->device = platform_device_register_simple("hmm_bench", PLATFORM_DEVID_NONE,
							 NULL, 0);
	if (IS_ERR(mirror->device)) {
		ret = PTR_ERR(mirror->device);
		mirror->device = NULL;
		return ret;
	}
	return dma_coerce_mask_and_coherent(&mirror->device->dev, DMA_BIT_MASK(64));
}

static void hmm_bench_pt_free(struct hmm_bench_mirror *mirror)
{
	if (mirror->device)
		platform_device_unregister(mirror->device);
	vfree(mirror->maps);
	kfree(mirror);
}

static int hmm_bench_pt_init(struct hmm_bench_range *range)
{
	struct hmm_bench_mirror *mirror = kzalloc(sizeof(*mirror), GFP_KERNEL);
	int ret = 0;

	if (!mirror)
		return -ENOMEM;
	init_rwsem(&mirror->lock);
	if (range->dma)
		ret = hmm_bench_pt_dma_init(mirror, range->npages);
	if (!ret)
		ret = hmm_pt_init(&mirror->pt, &mirror->lock,
				  mirror->device ? &mirror->device->dev : NULL);
	if (ret)
		hmm_bench_pt_free(mirror);
	else
		range->table = mirror;
	return ret;
}

static void hmm_bench_pt_exit(struct hmm_bench_range *range)
{
	struct hmm_bench_mirror *mirror = range->table;

	hmm_pt_destroy(&mirror->pt);
	hmm_bench_pt_free(mirror);
}

static int hmm_bench_pt_prepare(struct hmm_bench_range *range)
{
	struct hmm_bench_mirror *mirror = range->table;

	hmm_pt_stage(&mirror->stage, range->start, hmm_bench_range_end(range),
		     range->words, mirror->maps);
	return hmm_pt_prepare(&mirror->pt, &mirror->stage);
}

/* Free all empty tables, so that the next fill must link tables again. */
static void hmm_bench_pt_unprepare(struct hmm_bench_range *range)
{
	struct hmm_bench_mirror *mirror = range->table;

	hmm_pt_unstage(&mirror->pt, &mirror->stage);
	hmm_pt_reclaim(&mirror->pt, range->start, hmm_bench_range_end(range));
}

static void hmm_bench_pt_lock(struct hmm_bench_range *range)
{
	struct hmm_bench_mirror *mirror = range->table;

	down_write(&mirror->lock);
}

static void hmm_bench_pt_unlock(struct hmm_bench_range *range)
{
	struct hmm_bench_mirror *mirror = range->table;

	up_write(&mirror->lock);
}

static int hmm_bench_pt_fill(struct hmm_bench_range *range)
{
	struct hmm_bench_mirror *mirror = range->table;

	return hmm_pt_publish(&mirror->pt, &mirror->stage);
}

static int hmm_bench_pt_iterate(struct hmm_bench_range *range)
{
	struct hmm_bench_mirror *mirror = range->table;
	unsigned long bytes = 0, sum = 0;
	struct hmm_pt_iter iter;

	hmm_pt_for_each(&iter, mirror, range->start, hmm_bench_range_end(range)) {
		sum += iter.pte.pfn;
		bytes += iter.end - iter.addr;
	}
	range->sum = sum;
	return bytes >> PAGE_SHIFT;
}

static int hmm_bench_pt_clear(struct hmm_bench_range *range)
{
	struct hmm_bench_mirror *mirror = range->table;
	unsigned long start = range->start, end = hmm_bench_range_end(range);

	hmm_pt_clear(&mirror->pt, &start, &end);
	return 0;
}

static int hmm_bench_pt_occupied(struct hmm_bench_range *range)
{
	struct hmm_bench_mirror *mirror = range->table;

	return hmm_pt_occupied(&mirror->pt, range->start, hmm_bench_range_end(range));
}

static bool hmm_bench_pt_holds(struct hmm_bench_range *range, unsigned long page)
{
	struct hmm_bench_mirror *mirror = range->table;
	hmm_pte_t pte = hmm_pt_load(&mirror->pt, range->start + (page << PAGE_SHIFT));

	return pte.pfn == range->words[page];
}

static unsigned long hmm_bench_pt_bytes(struct hmm_bench_range *range)
{
	struct hmm_bench_mirror *mirror = range->table;

	return atomic_long_read(&mirror->pt.bytes);
}

const struct hmm_bench_holder hmm_bench_pt = {
	.init = hmm_bench_pt_init,
	.exit = hmm_bench_pt_exit,
	.prepare = hmm_bench_pt_prepare,
	.unprepare = hmm_bench_pt_unprepare,
	.lock = hmm_bench_pt_lock,
	.unlock = hmm_bench_pt_unlock,
	.fill = hmm_bench_pt_fill,
	.iterate = hmm_bench_pt_iterate,
	.clear = hmm_bench_pt_clear,
	.occupied = hmm_bench_pt_occupied,
	.holds = hmm_bench_pt_holds,
	.bytes = hmm_bench_pt_bytes,
};
