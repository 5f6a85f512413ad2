// SPDX-License-Identifier: GPL-2.0
/*
 * The dmirror test device: its memory, and the migration of pages there and back.
 *
 * The memory consists of chunks, each with a dev_pagemap. The struct pages of a private device
 * have no memory: for each page in use, a page of system memory holds the content, and
 * page->zone_device_data points to it. A coherent device has one chunk, which is memory that the
 * platform has set aside.
 *
 * A page in use holds a reference to its chunk, and memunmap_pages() waits until all references
 * are gone. So a chunk is retired first: no page is allocated from it any more, and its pages
 * migrate back until all of it is free. No lock is held meanwhile, because the task that frees
 * the last page may want to allocate another one.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/bitmap.h>
#include <linux/delay.h>
#include <linux/highmem.h>
#include <linux/ioport.h>
#include <linux/mm.h>
#include <linux/slab.h>

#include "test_hmm.h"

#define DMIRROR_CHUNK_PAGES	(DMIRROR_CHUNK_SIZE >> PAGE_SHIFT)

/* Time limit for pages that cannot migrate at the moment */
#define DMIRROR_RELEASE_MSECS	1000

/**
 * struct dmirror_chunk - memory of a device
 * @pagemap: provides its struct pages
 * @mdevice: the device
 * @node: in &dmirror_device.chunks
 * @first_pfn: PFN of the first page
 * @used: number of pages in use
 * @hint: index at which the search for free pages begins
 * @retired: no page may be allocated
 * @map: the pages in use
 *
 * &dmirror_device.lock protects the members that change.
 */
struct dmirror_chunk {
	struct dev_pagemap	pagemap;
	struct dmirror_device	*mdevice;
	struct list_head	node;
	unsigned long		first_pfn;
	unsigned long		used;
	unsigned long		hint;
	bool			retired;
	DECLARE_BITMAP(map, DMIRROR_CHUNK_PAGES);
};

static struct dmirror_chunk *dmirror_page_chunk(struct page *page)
{
	return container_of(page->pgmap, struct dmirror_chunk, pagemap);
}

static unsigned long dmirror_page_index(struct page *page)
{
	return page_to_pfn(page) - dmirror_page_chunk(page)->first_pfn;
}

static void dmirror_devmem_give_back(struct page *page, unsigned long npages)
{
	struct dmirror_chunk *chunk = dmirror_page_chunk(page);
	struct dmirror_device *mdevice = chunk->mdevice;
	unsigned long flags;

	spin_lock_irqsave(&mdevice->lock, flags);
	bitmap_clear(chunk->map, dmirror_page_index(page), npages);
	chunk->used -= npages;
	mdevice->used -= npages;
	spin_unlock_irqrestore(&mdevice->lock, flags);
}

static void dmirror_page_free(struct page *page)
{
	if (page->pgmap->type == MEMORY_DEVICE_PRIVATE)
		__free_page(page->zone_device_data);
	page->zone_device_data = NULL;
	dmirror_devmem_give_back(page, 1);
}

static vm_fault_t dmirror_migrate_to_ram(struct vm_fault *vmf)
{
	struct dmirror_device *mdevice = dmirror_page_chunk(vmf->page)->mdevice;

	atomic_long_inc(&mdevice->cpu_faults);
	return hmm_devmem_migrate_to_ram(&mdevice->devmem, vmf);
}

static const struct dev_pagemap_ops dmirror_pagemap_ops = {
	.page_free	= dmirror_page_free,
	.migrate_to_ram	= dmirror_migrate_to_ram,
};

/* Find addresses for a chunk. */
static int dmirror_chunk_place(struct dmirror_device *mdevice, struct range *range)
{
	struct resource *res;

	if (mdevice->devmem.type == MEMORY_DEVICE_COHERENT) {
		if (!list_empty(&mdevice->chunks))
			return -ENOSPC;
		range->start = mdevice->spm;
		range->end = mdevice->spm + DMIRROR_CHUNK_SIZE - 1;
		return 0;
	}
	res = request_free_mem_region(&iomem_resource, DMIRROR_CHUNK_SIZE, "hmm_dmirror");
	if (IS_ERR(res))
		return PTR_ERR(res);
	range->start = res->start;
	range->end = res->end;
	return 0;
}

static void dmirror_chunk_unplace(struct dmirror_device *mdevice, const struct range *range)
{
	if (mdevice->devmem.type == MEMORY_DEVICE_PRIVATE)
		release_mem_region(range->start, range_len(range));
}

static struct dmirror_chunk *dmirror_chunk_create(struct dmirror_device *mdevice)
{
	struct dmirror_chunk *chunk;
	void *addr;
	int ret;

	chunk = kvzalloc(sizeof(*chunk), GFP_KERNEL);
	if (!chunk)
		return ERR_PTR(-ENOMEM);
	ret = dmirror_chunk_place(mdevice, &chunk->pagemap.range);
	if (ret)
		goto free;

	chunk->mdevice = mdevice;
	chunk->first_pfn = PHYS_PFN(chunk->pagemap.range.start);
	chunk->pagemap.type = mdevice->devmem.type;
	chunk->pagemap.nr_range = 1;
	chunk->pagemap.ops = &dmirror_pagemap_ops;
	chunk->pagemap.owner = mdevice;
	addr = memremap_pages(&chunk->pagemap, numa_node_id());
	if (IS_ERR(addr)) {
		ret = PTR_ERR(addr);
		goto unplace;
	}
	return chunk;

unplace:
	dmirror_chunk_unplace(mdevice, &chunk->pagemap.range);
free:
	kvfree(chunk);
	return ERR_PTR(ret);
}

/* None of its pages is in use, or can be allocated. */
static void dmirror_chunk_destroy(struct dmirror_chunk *chunk)
{
	struct dmirror_device *mdevice = chunk->mdevice;
	struct range range = chunk->pagemap.range;

	memunmap_pages(&chunk->pagemap);
	dmirror_chunk_unplace(mdevice, &range);
	/* Only now: until then, a coherent device has no address for another chunk. */
	spin_lock_irq(&mdevice->lock);
	list_del(&chunk->node);
	spin_unlock_irq(&mdevice->lock);
	kvfree(chunk);
}

/* Allocate 2^@order free pages. Returns %NULL if there are none. */
static struct page *dmirror_chunk_take(struct dmirror_chunk *chunk, unsigned int order)
{
	const unsigned long npages = 1UL << order;
	unsigned long i;

	lockdep_assert_held(&chunk->mdevice->lock);
	i = bitmap_find_next_zero_area(chunk->map, DMIRROR_CHUNK_PAGES, chunk->hint, npages,
				       npages - 1);
	if (i >= DMIRROR_CHUNK_PAGES)
		i = bitmap_find_next_zero_area(chunk->map, DMIRROR_CHUNK_PAGES, 0, npages,
					       npages - 1);
	if (i >= DMIRROR_CHUNK_PAGES)
		return NULL;
	bitmap_set(chunk->map, i, npages);
	chunk->hint = i + npages;
	chunk->used += npages;
	chunk->mdevice->used += npages;
	return pfn_to_page(chunk->first_pfn + i);
}

static struct page *dmirror_devmem_take(struct dmirror_device *mdevice, unsigned int order)
{
	struct dmirror_chunk *chunk;
	struct page *page = NULL;

	spin_lock_irq(&mdevice->lock);
	list_for_each_entry(chunk, &mdevice->chunks, node) {
		if (!chunk->retired)
			page = dmirror_chunk_take(chunk, order);
		if (page)
			break;
	}
	spin_unlock_irq(&mdevice->lock);
	return page;
}

static unsigned long dmirror_devmem_count_free(struct dmirror_device *mdevice)
{
	struct dmirror_chunk *chunk;
	unsigned long count = 0;

	spin_lock_irq(&mdevice->lock);
	list_for_each_entry(chunk, &mdevice->chunks, node)
		count += chunk->retired ? 0 : DMIRROR_CHUNK_PAGES - chunk->used;
	spin_unlock_irq(&mdevice->lock);
	return count;
}

/*
 * Add memory if there are fewer free pages. This cannot happen in the allocation, because HMM
 * holds page locks by then. Another thread can be faster to allocate the new pages.
 */
void dmirror_devmem_reserve(struct dmirror_device *mdevice, unsigned long npages)
{
	struct dmirror_chunk *chunk;

	guard(mutex)(&mdevice->grow_lock);
	while (dmirror_devmem_count_free(mdevice) < npages) {
		chunk = dmirror_chunk_create(mdevice);
		if (IS_ERR(chunk))
			return;
		spin_lock_irq(&mdevice->lock);
		list_add_tail(&chunk->node, &mdevice->chunks);
		spin_unlock_irq(&mdevice->lock);
	}
}

static void dmirror_free_contents(struct page *page, unsigned long npages)
{
	unsigned long i;

	for (i = 0; i < npages; i++) {
		__free_page(page[i].zone_device_data);
		page[i].zone_device_data = NULL;
	}
}

/* Allocate the system memory that holds the content of pages of a private device. */
static bool dmirror_alloc_contents(struct page *page, unsigned long npages)
{
	unsigned long i;

	for (i = 0; i < npages; i++) {
		page[i].zone_device_data = alloc_page(GFP_HIGHUSER);
		if (!page[i].zone_device_data) {
			dmirror_free_contents(page, i);
			return false;
		}
		cond_resched();
	}
	return true;
}

static struct dmirror_device *dmirror_of_devmem(struct hmm_devmem *devmem)
{
	return container_of(devmem, struct dmirror_device, devmem);
}

static struct page *dmirror_devmem_alloc(struct hmm_devmem *devmem, unsigned int order)
{
	struct dmirror_device *mdevice = dmirror_of_devmem(devmem);
	struct page *page;

	if (order && test_and_clear_bit(ilog2(HMM_DMIRROR_FLAG_FAIL_ALLOC), &mdevice->flags))
		return NULL;
	page = dmirror_devmem_take(mdevice, order);
	if (page && order)
		atomic_long_inc(&mdevice->blocks);
	if (page && devmem->type == MEMORY_DEVICE_PRIVATE &&
	    !dmirror_alloc_contents(page, 1UL << order)) {
		dmirror_devmem_give_back(page, 1UL << order);
		page = NULL;
	}
	return page;
}

static int dmirror_devmem_copy(struct hmm_devmem *devmem, struct page **to, struct page **from,
			       unsigned long npages)
{
	unsigned long i;

	for (i = 0; i < npages; i++) {
		struct page *content = dmirror_content(to[i]);

		if (from[i])
			copy_highpage(content, dmirror_content(from[i]));
		else
			clear_highpage(content);
		cond_resched();
	}
	return 0;
}

static const struct hmm_devmem_ops dmirror_devmem_ops = {
	.alloc	= dmirror_devmem_alloc,
	.copy	= dmirror_devmem_copy,
};

/* Migrate back as many pages as possible now. */
static int dmirror_evict_chunk(struct dmirror_chunk *chunk)
{
	struct hmm_devmem *devmem = &chunk->mdevice->devmem;
	unsigned long i = 0;
	long ret;

	while ((i = find_next_bit(chunk->map, DMIRROR_CHUNK_PAGES, i)) < DMIRROR_CHUNK_PAGES) {
		const unsigned long end = round_up(i + 1, DMIRROR_BATCH);

		ret = hmm_devmem_evict(devmem, chunk->first_pfn + i, end - i);
		if (ret < 0)
			return ret;
		i = end;
	}
	return 0;
}

static bool dmirror_chunk_is_free(struct dmirror_chunk *chunk)
{
	unsigned long used;

	spin_lock_irq(&chunk->mdevice->lock);
	used = chunk->used;
	spin_unlock_irq(&chunk->mdevice->lock);
	return !used;
}

/* Mark a chunk, so that no page is allocated from it and no other thread retires it. */
static struct dmirror_chunk *dmirror_chunk_retire(struct dmirror_device *mdevice)
{
	struct dmirror_chunk *chunk, *found = NULL;

	spin_lock_irq(&mdevice->lock);
	list_for_each_entry(chunk, &mdevice->chunks, node) {
		if (!chunk->retired) {
			chunk->retired = true;
			found = chunk;
			break;
		}
	}
	spin_unlock_irq(&mdevice->lock);
	return found;
}

static void dmirror_chunk_unretire(struct dmirror_chunk *chunk)
{
	spin_lock_irq(&chunk->mdevice->lock);
	chunk->retired = false;
	spin_unlock_irq(&chunk->mdevice->lock);
}

/* A page can be locked, pinned, or in migration: try for a while, or until a signal arrives. */
static int dmirror_chunk_empty(struct dmirror_chunk *chunk)
{
	unsigned long deadline = jiffies + msecs_to_jiffies(DMIRROR_RELEASE_MSECS);
	int ret;

	for (;;) {
		ret = dmirror_evict_chunk(chunk);
		if (ret)
			return ret;
		if (dmirror_chunk_is_free(chunk))
			return 0;
		if (time_after(jiffies, deadline))
			return -EBUSY;
		if (msleep_interruptible(20))
			return -EINTR;
	}
}

static unsigned int dmirror_count_chunks(struct dmirror_device *mdevice)
{
	unsigned int count;

	spin_lock_irq(&mdevice->lock);
	count = list_count_nodes(&mdevice->chunks);
	spin_unlock_irq(&mdevice->lock);
	return count;
}

/*
 * Release all memory that the device has now. All of its pages migrate back, unless the result is
 * -EBUSY or -EINTR. Other threads may allocate new memory meanwhile, which comes after the old
 * memory in the list.
 */
int dmirror_devmem_release(struct dmirror_device *mdevice)
{
	unsigned int left = dmirror_count_chunks(mdevice);
	struct dmirror_chunk *chunk;
	int ret;

	while (left-- && (chunk = dmirror_chunk_retire(mdevice))) {
		ret = dmirror_chunk_empty(chunk);
		if (ret) {
			dmirror_chunk_unretire(chunk);
			return ret;
		}
		dmirror_chunk_destroy(chunk);
	}
	return 0;
}

/* The code that frees pages is about to be unloaded, so no page may be left. */
void dmirror_devmem_exit(struct dmirror_device *mdevice)
{
	while (dmirror_devmem_release(mdevice)) {
		pr_info("waiting for %lu pages of device memory\n", READ_ONCE(mdevice->used));
		/* With a pending signal dmirror_devmem_release() returns immediately. */
		msleep(DMIRROR_RELEASE_MSECS);
	}
}

int dmirror_devmem_init(struct dmirror_device *mdevice, enum memory_type type,
			phys_addr_t spm)
{
	struct dmirror_chunk *chunk;

	mdevice->devmem.ops = &dmirror_devmem_ops;
	mdevice->devmem.type = type;
	mdevice->devmem.owner = mdevice;
	mdevice->spm = spm;
	mutex_init(&mdevice->grow_lock);
	spin_lock_init(&mdevice->lock);
	INIT_LIST_HEAD(&mdevice->chunks);

	/* At initialization and not at the first use, so that a lack of memory is reported here. */
	chunk = dmirror_chunk_create(mdevice);
	if (IS_ERR(chunk))
		return PTR_ERR(chunk);
	list_add_tail(&chunk->node, &mdevice->chunks);
	return 0;
}
