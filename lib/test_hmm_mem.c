// SPDX-License-Identifier: GPL-2.0
/*
 * The dmirror test device: its memory, and how pages move there and back.
 *
 * The memory comes in chunks, each with a dev_pagemap. Of a private device, there is
 * nothing behind the struct pages: for each page in use, a page of system memory
 * plays the device's memory, and page->zone_device_data points to it. Of a coherent
 * device, there is one chunk, and it is real memory that the platform has set aside.
 *
 * A page in use holds its chunk's reference count, and memunmap_pages() waits for
 * ever until there is none. So a chunk is retired first: nothing more is taken
 * from it, and what is in it is moved back until all of it is free. No lock is held
 * meanwhile, because who brings the last page may want to take another.
 *
 * So eviction meets pages at any time: one that was just taken has a reference count before it
 * is locked, and one that has moved away keeps its reference until the migration is finished.
 * Neither has memory of a process. To migrate it would take content that is not there yet, or
 * a page for which the memory cgroup does not account any more. A page is live from when it
 * has taken the place of another to when another takes its place. That changes under its lock,
 * and only live pages are evicted.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/bitmap.h>
#include <linux/delay.h>
#include <linux/highmem.h>
#include <linux/ioport.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/slab.h>

#include "test_hmm.h"

#define DMIRROR_CHUNK_PAGES	(DMIRROR_CHUNK_SIZE >> PAGE_SHIFT)

/* How long to wait for pages that cannot be moved at the moment */
#define DMIRROR_RELEASE_MSECS	1000

/**
 * struct dmirror_chunk - memory of a device
 * @pagemap: what makes struct pages of it
 * @mdevice: whose it is
 * @node: in &dmirror_device.chunks
 * @first_pfn: of its first page
 * @used: how many pages are in use
 * @hint: where to look for one that is not
 * @retired: no page is to be taken
 * @map: which pages are in use
 * @live: which pages hold memory of a process; a bit changes under the lock of its page
 *
 * &dmirror_device.lock protects the rest of what can change.
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
	DECLARE_BITMAP(live, DMIRROR_CHUNK_PAGES);
};

static struct dmirror_chunk *dmirror_page_chunk(struct page *page)
{
	return container_of(page->pgmap, struct dmirror_chunk, pagemap);
}

static unsigned long dmirror_page_index(struct page *page)
{
	return page_to_pfn(page) - dmirror_page_chunk(page)->first_pfn;
}

static bool dmirror_page_is_live(struct page *page)
{
	return test_bit(dmirror_page_index(page), dmirror_page_chunk(page)->live);
}

/* With the page locked, or its last reference gone */
static void dmirror_page_set_live(struct page *page, bool live)
{
	assign_bit(dmirror_page_index(page), dmirror_page_chunk(page)->live, live);
}

static void dmirror_page_free(struct page *page)
{
	struct dmirror_chunk *chunk = dmirror_page_chunk(page);
	struct dmirror_device *mdevice = chunk->mdevice;
	unsigned long flags;

	dmirror_page_set_live(page, false);

	if (chunk->pagemap.type == MEMORY_DEVICE_PRIVATE)
		__free_page(page->zone_device_data);
	page->zone_device_data = NULL;

	spin_lock_irqsave(&mdevice->lock, flags);
	__clear_bit(dmirror_page_index(page), chunk->map);
	chunk->used--;
	mdevice->used--;
	spin_unlock_irqrestore(&mdevice->lock, flags);
}

/* The content of what moves back, in a page of system memory; 0 if there is none */
static unsigned long dmirror_copy_back(unsigned long src)
{
	struct page *from = migrate_pfn_to_page(src), *to;

	if (!from || !(src & MIGRATE_PFN_MIGRATE) || !dmirror_page_is_live(from))
		return 0;
	to = alloc_page(GFP_HIGHUSER_MOVABLE);
	if (!to)
		return 0;
	lock_page(to);
	copy_highpage(to, dmirror_content(from, from->pgmap));
	return migrate_pfn(page_to_pfn(to));
}

/*
 * The mirrors of the page have been told by migrate_vma_setup(). If the page was not
 * got hold of, the CPU is to try again.
 */
static vm_fault_t dmirror_migrate_to_ram(struct vm_fault *vmf)
{
	struct dmirror_device *mdevice = dmirror_page_chunk(vmf->page)->mdevice;
	unsigned long src = 0, dst = 0;
	struct migrate_vma args = {
		.vma		= vmf->vma,
		.start		= vmf->address,
		.end		= vmf->address + PAGE_SIZE,
		.src		= &src,
		.dst		= &dst,
		.pgmap_owner	= mdevice,
		.flags		= MIGRATE_VMA_SELECT_DEVICE_PRIVATE,
		.fault_page	= vmf->page,
	};
	bool no_memory;

	if (migrate_vma_setup(&args))
		return VM_FAULT_SIGBUS;
	if (!args.cpages)
		return 0;
	dst = dmirror_copy_back(src);
	no_memory = !dst && src & MIGRATE_PFN_MIGRATE;
	migrate_vma_pages(&args);
	if (src & MIGRATE_PFN_MIGRATE) {
		dmirror_page_set_live(vmf->page, false);
		atomic_long_inc(&mdevice->cpu_faults);
	}
	migrate_vma_finalize(&args);
	return no_memory ? VM_FAULT_OOM : 0;
}

static const struct dev_pagemap_ops dmirror_pagemap_ops = {
	.page_free	= dmirror_page_free,
	.migrate_to_ram	= dmirror_migrate_to_ram,
};

/* Addresses for a chunk */
static int dmirror_chunk_place(struct dmirror_device *mdevice, struct range *range)
{
	struct resource *res;

	if (mdevice->type == MEMORY_DEVICE_COHERENT) {
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
	if (mdevice->type == MEMORY_DEVICE_PRIVATE)
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
	chunk->pagemap.type = mdevice->type;
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

/* None of its pages is in use, or can be again. */
static void dmirror_chunk_destroy(struct dmirror_chunk *chunk)
{
	struct dmirror_device *mdevice = chunk->mdevice;
	struct range range = chunk->pagemap.range;

	memunmap_pages(&chunk->pagemap);
	dmirror_chunk_unplace(mdevice, &range);
	/* Only now: until then, a coherent device has no place for another one. */
	spin_lock_irq(&mdevice->lock);
	list_del(&chunk->node);
	spin_unlock_irq(&mdevice->lock);
	kvfree(chunk);
}

static struct page *dmirror_chunk_take(struct dmirror_chunk *chunk)
{
	unsigned long i;

	lockdep_assert_held(&chunk->mdevice->lock);
	i = find_next_zero_bit(chunk->map, DMIRROR_CHUNK_PAGES, chunk->hint);
	if (i == DMIRROR_CHUNK_PAGES)
		i = find_first_zero_bit(chunk->map, DMIRROR_CHUNK_PAGES);
	__set_bit(i, chunk->map);
	chunk->hint = i + 1;
	chunk->used++;
	chunk->mdevice->used++;
	return pfn_to_page(chunk->first_pfn + i);
}

/* Take a page of the device's memory. It is not initialised. */
static struct page *dmirror_devmem_take(struct dmirror_device *mdevice)
{
	struct dmirror_chunk *chunk;
	struct page *page = NULL;

	spin_lock_irq(&mdevice->lock);
	list_for_each_entry(chunk, &mdevice->chunks, node) {
		if (!chunk->retired && chunk->used < DMIRROR_CHUNK_PAGES) {
			page = dmirror_chunk_take(chunk);
			break;
		}
	}
	spin_unlock_irq(&mdevice->lock);
	return page;
}

/* The same, and get more memory if there is no such page. */
static struct page *dmirror_devmem_take_or_grow(struct dmirror_device *mdevice)
{
	struct page *page = dmirror_devmem_take(mdevice);
	struct dmirror_chunk *chunk;

	if (page)
		return page;
	guard(mutex)(&mdevice->grow_lock);
	page = dmirror_devmem_take(mdevice);
	if (page)
		return page;
	chunk = dmirror_chunk_create(mdevice);
	if (IS_ERR(chunk))
		return NULL;
	spin_lock_irq(&mdevice->lock);
	list_add_tail(&chunk->node, &mdevice->chunks);
	page = dmirror_chunk_take(chunk);
	spin_unlock_irq(&mdevice->lock);
	return page;
}

/* A page of the device's memory, locked, with what plays its content */
static struct page *dmirror_devmem_alloc(struct dmirror_device *mdevice)
{
	struct page *page, *content = NULL;

	if (mdevice->type == MEMORY_DEVICE_PRIVATE) {
		content = alloc_page(GFP_HIGHUSER);
		if (!content)
			return NULL;
	}
	page = dmirror_devmem_take_or_grow(mdevice);
	if (!page) {
		if (content)
			__free_page(content);
		return NULL;
	}
	/* As soon as it has a reference count, others may lock the page. */
	page->zone_device_data = content;
	zone_device_page_init(page);
	return page;
}

/* Move back as many of the pages from @pfn on as can be moved now. */
static void dmirror_evict_batch(unsigned long pfn)
{
	unsigned long src[DMIRROR_BATCH], dst[DMIRROR_BATCH];
	unsigned int i;

	migrate_device_range(src, pfn, DMIRROR_BATCH);
	for (i = 0; i < DMIRROR_BATCH; i++)
		dst[i] = dmirror_copy_back(src[i]);
	migrate_device_pages(src, dst, DMIRROR_BATCH);
	for (i = 0; i < DMIRROR_BATCH; i++) {
		if (src[i] & MIGRATE_PFN_MIGRATE)
			dmirror_page_set_live(migrate_pfn_to_page(src[i]), false);
	}
	migrate_device_finalize(src, dst, DMIRROR_BATCH);
}

static void dmirror_evict_chunk(struct dmirror_chunk *chunk, unsigned long deadline)
{
	unsigned long i = find_first_bit(chunk->map, DMIRROR_CHUNK_PAGES);

	for (; i < DMIRROR_CHUNK_PAGES && time_before_eq(jiffies, deadline);
	     i = find_next_bit(chunk->map, DMIRROR_CHUNK_PAGES, i)) {
		i = round_down(i, DMIRROR_BATCH);
		dmirror_evict_batch(chunk->first_pfn + i);
		i += DMIRROR_BATCH;
		cond_resched();
	}
}

static bool dmirror_chunk_is_free(struct dmirror_chunk *chunk)
{
	unsigned long used;

	spin_lock_irq(&chunk->mdevice->lock);
	used = chunk->used;
	spin_unlock_irq(&chunk->mdevice->lock);
	return !used;
}

/* Mark a chunk, so that nothing is taken from it and nobody else retires it. */
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

/*
 * A page can be locked, or pinned, or on its way elsewhere: try for a while, or until there is
 * a signal.
 */
static int dmirror_chunk_empty(struct dmirror_chunk *chunk)
{
	unsigned long deadline = jiffies + msecs_to_jiffies(DMIRROR_RELEASE_MSECS);

	for (;;) {
		dmirror_evict_chunk(chunk, deadline);
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
 * Take from a device all memory that it has now. Whatever is there moves back, but for -EBUSY
 * and -EINTR. Others may take new memory meanwhile, which comes after the old in the list.
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

/* The code that frees pages is about to go, so none may be left. */
void dmirror_devmem_exit(struct dmirror_device *mdevice)
{
	while (dmirror_devmem_release(mdevice)) {
		pr_info("waiting for %lu pages of device memory\n", READ_ONCE(mdevice->used));
		/* With a signal pending it returns immediately. */
		msleep(DMIRROR_RELEASE_MSECS);
	}
}

int dmirror_devmem_init(struct dmirror_device *mdevice, enum memory_type type,
			phys_addr_t spm)
{
	struct dmirror_chunk *chunk;

	mdevice->type = type;
	mdevice->spm = spm;
	mutex_init(&mdevice->grow_lock);
	spin_lock_init(&mdevice->lock);
	INIT_LIST_HEAD(&mdevice->chunks);

	/* Not at the first use: where there is no memory, it is to be seen at once. */
	chunk = dmirror_chunk_create(mdevice);
	if (IS_ERR(chunk))
		return PTR_ERR(chunk);
	list_add_tail(&chunk->node, &mdevice->chunks);
	return 0;
}

/* A locked page of the device's memory with the content of @src; 0 if there is none */
static unsigned long dmirror_copy_out(struct dmirror_device *mdevice, unsigned long src)
{
	struct page *from = migrate_pfn_to_page(src), *to, *content;

	if (!(src & MIGRATE_PFN_MIGRATE))
		return 0;
	/* Others stay in the end; those of secretmem the kernel must not even look at. */
	if (from && !PageAnon(from))
		return 0;
	to = dmirror_devmem_alloc(mdevice);
	if (!to)
		return 0;
	content = dmirror_content(to, to->pgmap);
	/* Nothing, or the zero page, was mapped there. */
	if (from)
		copy_highpage(content, from);
	else
		clear_highpage(content);
	return migrate_pfn(page_to_pfn(to));
}

static int dmirror_migrate_batch(struct dmirror_device *mdevice, struct vm_area_struct *vma,
				 unsigned long start, unsigned long end, bool to_device,
				 u64 *moved)
{
	unsigned long src[DMIRROR_BATCH], dst[DMIRROR_BATCH];
	struct migrate_vma args = {
		.vma		= vma,
		.start		= start,
		.end		= end,
		.src		= src,
		.dst		= dst,
		.pgmap_owner	= mdevice,
	};
	unsigned long i;
	int ret;

	if (to_device)
		args.flags = MIGRATE_VMA_SELECT_SYSTEM;
	else if (mdevice->type == MEMORY_DEVICE_PRIVATE)
		args.flags = MIGRATE_VMA_SELECT_DEVICE_PRIVATE;
	else
		args.flags = MIGRATE_VMA_SELECT_DEVICE_COHERENT;

	ret = migrate_vma_setup(&args);
	if (ret)
		return ret;
	for (i = 0; i < args.npages; i++)
		dst[i] = to_device ? dmirror_copy_out(mdevice, src[i]) : dmirror_copy_back(src[i]);
	migrate_vma_pages(&args);
	for (i = 0; i < args.npages; i++) {
		if (!(src[i] & MIGRATE_PFN_MIGRATE))
			continue;
		dmirror_page_set_live(migrate_pfn_to_page(to_device ? dst[i] : src[i]), to_device);
		++*moved;
	}
	migrate_vma_finalize(&args);
	return 0;
}

/* Is all of the range mapped, so that it can be read? */
static bool dmirror_is_readable(struct mm_struct *mm, unsigned long start, unsigned long end)
{
	VMA_ITERATOR(vmi, mm, start);
	struct vm_area_struct *vma;

	mmap_assert_locked(mm);
	for_each_vma_range(vmi, vma, end) {
		if (vma->vm_start > start || !(vma->vm_flags & VM_READ))
			return false;
		start = vma->vm_end;
	}
	return start >= end;
}

/*
 * Move pages of the process at hand. Which of them did move is not reported: some
 * never can, and those that did may be back already.
 */
int dmirror_migrate(struct dmirror *dm, unsigned long start, unsigned long end,
		    bool to_device, u64 *moved)
{
	struct mm_struct *mm = dm->mirror.mm;
	struct vm_area_struct *vma;
	unsigned long addr, next;
	int ret = 0;

	mmap_read_lock(mm);
	if (!dmirror_is_readable(mm, start, end))
		ret = -EINVAL;
	for (addr = start; addr < end && !ret; addr = next) {
		vma = vma_lookup(mm, addr);
		next = min3(end, vma->vm_end, addr + DMIRROR_BATCH * PAGE_SIZE);
		ret = dmirror_migrate_batch(dm->mdevice, vma, addr, next, to_device, moved);
		if (!ret && fatal_signal_pending(current))
			ret = -EINTR;
		cond_resched();
	}
	mmap_read_unlock(mm);
	return ret;
}
