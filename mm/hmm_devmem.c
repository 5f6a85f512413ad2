// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * HMM: migration of pages between system memory and the memory of a device.
 *
 * migrate_vma_setup(), migrate_vma_pages() and migrate_vma_finalize() leave four loops to each
 * driver: to the device, back on request, back for a CPU fault, and back because the device
 * loses memory. The loops differ in how the pages are found, and in where new pages come from.
 * This file has the loops; the driver allocates device pages and copies.
 *
 *   collect    CPU page table entries become migration entries. The pages are locked and
 *              unmapped. Mirrors are invalidated: no device accesses the pages.
 *   allocate   a locked page for each page that is to move
 *   copy       by the driver, see &hmm_devmem_ops.copy
 *   replace    the new page gets the mapping, and the charge, of the old one
 *   finalize   migration entries become entries of the new page. All pages are unlocked.
 *
 * Eviction finds device pages by their pfn, so that it meets pages that another thread is
 * moving: one that is allocated but has not replaced a page yet, and one that has been replaced
 * and still has a reference. Neither contains memory of a process. Both changes happen under the
 * page lock, and a page that is not locked and contains memory that a process uses is mapped.
 * So migrate_device_range() takes the page lock and leaves out pages that are not mapped. It
 * keeps the anon_vma, because eviction holds no mmap_lock: the process can exit meanwhile.
 */
#include <linux/hmm_devmem.h>
#include <linux/hmm_mirror.h>
#include <linux/dax.h>
#include <linux/hugetlb.h>
#include <linux/migrate.h>
#include <linux/pagemap.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sizes.h>

#include "hmm_mirror.h"

/* The most that moves under one hold of mmap_lock: on most machines a huge page */
#define HMM_DEVMEM_WINDOW	(SZ_2M / PAGE_SIZE)

/* A CPU fault moves 64 KiB back, at most: neighbours of the page that it needs */
#define HMM_DEVMEM_AROUND	DIV_ROUND_UP(SZ_64K, PAGE_SIZE)

/**
 * struct hmm_devmem_batch - pages that move together
 * @devmem: the memory of the device that they move to, or leave
 * @npages: the number of elements of each array
 * @src: what moves, of migrate_vma_setup() or migrate_device_range()
 * @dst: what replaces it
 * @from: pages to copy from, for the driver
 * @to: pages to copy to
 */
struct hmm_devmem_batch {
	struct hmm_devmem	*devmem;
	unsigned long		npages;
	unsigned long		*src;
	unsigned long		*dst;
	struct page		**from;
	struct page		**to;
};

/* One allocation, of the size of the window */
struct hmm_devmem_arrays {
	unsigned long	src[HMM_DEVMEM_WINDOW];
	unsigned long	dst[HMM_DEVMEM_WINDOW];
	struct page	*from[HMM_DEVMEM_WINDOW];
	struct page	*to[HMM_DEVMEM_WINDOW];
};

static void hmm_devmem_use_arrays(struct hmm_devmem_batch *batch,
				  struct hmm_devmem_arrays *arrays)
{
	batch->src = arrays->src;
	batch->dst = arrays->dst;
	batch->from = arrays->from;
	batch->to = arrays->to;
}

/*
 * Only anonymous memory moves to a device in the end, see __migrate_device_pages(). The kernel
 * must not even read pages of secretmem, which are not anonymous. KSM reads its pages at any
 * time, so they stay.
 */
static bool hmm_devmem_can_leave(unsigned long src)
{
	struct page *page = migrate_pfn_to_page(src);

	return src & MIGRATE_PFN_MIGRATE && (!page || (PageAnon(page) && !PageKsm(page)));
}

/* The whole window moves, and is naturally aligned. */
static bool hmm_devmem_is_block(const struct hmm_devmem_batch *batch, unsigned long start)
{
	unsigned long i;

	if (batch->npages != HMM_DEVMEM_WINDOW || !IS_ALIGNED(start, SZ_2M))
		return false;
	for (i = 0; i < batch->npages; i++) {
		if (!hmm_devmem_can_leave(batch->src[i]))
			return false;
	}
	return true;
}

static bool hmm_devmem_alloc(struct hmm_devmem_batch *batch, unsigned long first,
			     unsigned int order)
{
	struct page *page = batch->devmem->ops->alloc(batch->devmem, order);
	unsigned long i;

	if (!page)
		return false;
	for (i = 0; i < 1UL << order; i++) {
		zone_device_page_init(page + i);
		batch->dst[first + i] = migrate_pfn(page_to_pfn(page + i));
	}
	return true;
}

/* Device pages. What there is none for stays where it is. */
static void hmm_devmem_alloc_device(struct hmm_devmem_batch *batch, unsigned long start)
{
	bool more = true;
	unsigned long i;

	memset(batch->dst, 0, batch->npages * sizeof(*batch->dst));
	if (hmm_devmem_is_block(batch, start) &&
	    hmm_devmem_alloc(batch, 0, ilog2(HMM_DEVMEM_WINDOW)))
		return;
	for (i = 0; i < batch->npages && more; i++) {
		if (hmm_devmem_can_leave(batch->src[i]))
			more = hmm_devmem_alloc(batch, i, 0);
	}
}

/*
 * System pages. @args is NULL if the pages were found by their pfns. For the neighbours of the
 * page that a CPU fault needs, no other memory is reclaimed by force, and no process is killed.
 */
static void hmm_devmem_alloc_system(struct hmm_devmem_batch *batch,
				    const struct migrate_vma *args)
{
	struct folio *folio;
	unsigned long i;

	for (i = 0; i < batch->npages; i++) {
		struct page *page = migrate_pfn_to_page(batch->src[i]);
		gfp_t gfp = GFP_HIGHUSER_MOVABLE;

		batch->dst[i] = 0;
		if (!page || !(batch->src[i] & MIGRATE_PFN_MIGRATE))
			continue;
		if (args && args->fault_page && args->fault_page != page)
			gfp |= __GFP_NORETRY | __GFP_NOWARN;
		folio = args ? vma_alloc_folio(gfp, 0, args->vma, args->start + i * PAGE_SIZE,
					       false) :
			       folio_alloc(gfp, 0);
		if (!folio)
			continue;
		folio_lock(folio);
		batch->dst[i] = migrate_pfn(folio_pfn(folio));
	}
}

static void hmm_devmem_free_new(struct hmm_devmem_batch *batch)
{
	unsigned long i;

	for (i = 0; i < batch->npages; i++) {
		struct page *page = migrate_pfn_to_page(batch->dst[i]);

		batch->dst[i] = 0;
		if (!page)
			continue;
		unlock_page(page);
		put_page(page);
	}
}

static int hmm_devmem_copy(struct hmm_devmem_batch *batch)
{
	unsigned long i, count = 0;
	int ret;

	for (i = 0; i < batch->npages; i++) {
		if (!batch->dst[i])
			continue;
		batch->from[count] = migrate_pfn_to_page(batch->src[i]);
		batch->to[count++] = migrate_pfn_to_page(batch->dst[i]);
	}
	if (!count)
		return 0;
	ret = batch->devmem->ops->copy(batch->devmem, batch->to, batch->from, count);
	if (ret)
		hmm_devmem_free_new(batch);
	return ret;
}

static unsigned long hmm_devmem_count_moved(const struct hmm_devmem_batch *batch)
{
	unsigned long i, moved = 0;

	for (i = 0; i < batch->npages; i++)
		moved += !!(batch->src[i] & MIGRATE_PFN_MIGRATE);
	return moved;
}

static unsigned long hmm_devmem_select(const struct hmm_devmem *devmem)
{
	return devmem->type == MEMORY_DEVICE_PRIVATE ? MIGRATE_VMA_SELECT_DEVICE_PRIVATE :
						       MIGRATE_VMA_SELECT_DEVICE_COHERENT;
}

/* Returns the number of pages that have moved, or what the driver returned. */
static long hmm_devmem_move(struct hmm_devmem_batch *batch, struct migrate_vma *args,
			    bool to_device)
{
	unsigned long moved;
	int ret;

	args->src = batch->src;
	args->dst = batch->dst;
	args->pgmap_owner = batch->devmem->owner;
	args->flags = to_device ? MIGRATE_VMA_SELECT_SYSTEM : hmm_devmem_select(batch->devmem);
	ret = migrate_vma_setup(args);
	if (ret)
		return ret;
	batch->npages = args->npages;
	if (to_device)
		hmm_devmem_alloc_device(batch, args->start);
	else
		hmm_devmem_alloc_system(batch, args);
	ret = hmm_devmem_copy(batch);
	migrate_vma_pages(args);
	moved = hmm_devmem_count_moved(batch);
	migrate_vma_finalize(args);
	return ret ?: moved;
}

/* Those that migrate_vma_setup() takes */
static bool hmm_devmem_vma_moves(struct vm_area_struct *vma)
{
	return !(vma->vm_flags & VM_SPECIAL) && !is_vm_hugetlb_page(vma) && !vma_is_dax(vma);
}

/* Move what is in the first window of [*start, @end), and advance *@start. */
static long hmm_devmem_migrate_window(struct hmm_devmem_batch *batch, struct mm_struct *mm,
				      unsigned long *start, unsigned long end, bool to_device)
{
	struct migrate_vma args = {};
	long ret = 0;

	if (mmap_read_lock_killable(mm))
		return -EINTR;
	args.vma = find_vma(mm, *start);
	if (!args.vma || args.vma->vm_start >= end) {
		*start = end;
		goto unlock;
	}
	args.start = max(*start, args.vma->vm_start);
	args.end = min(end, args.vma->vm_end);
	args.end = min(args.end - 1, args.start | (SZ_2M - 1)) + 1;
	*start = args.end;
	if (hmm_devmem_vma_moves(args.vma))
		ret = hmm_devmem_move(batch, &args, to_device);
unlock:
	mmap_read_unlock(mm);
	return ret;
}

static long hmm_devmem_migrate_range(struct hmm_devmem *devmem, struct mm_struct *mm,
				     unsigned long start, unsigned long end, bool to_device)
{
	struct hmm_devmem_arrays *arrays __free(kvfree) = kvmalloc(sizeof(*arrays), GFP_KERNEL);
	struct hmm_devmem_batch batch = { .devmem = devmem };
	long moved = 0, ret;

	if (!PAGE_ALIGNED(start | end) || start >= end || end > mm->task_size)
		return -EINVAL;
	if (!arrays)
		return -ENOMEM;
	hmm_devmem_use_arrays(&batch, arrays);
	while (start < end) {
		ret = hmm_devmem_migrate_window(&batch, mm, &start, end, to_device);
		if (ret < 0)
			return ret;
		moved += ret;
		if (fatal_signal_pending(current))
			return -EINTR;
		cond_resched();
	}
	return moved;
}

/**
 * hmm_devmem_migrate() - move memory of a process to the memory of a device
 * @devmem: where to
 * @mm: the address space; the caller has a reference on mm_users
 * @start: first address, page aligned
 * @end: end address, exclusive, page aligned
 *
 * Moves anonymous memory, and what was never touched of it, as far as it can move: a page that
 * is pinned, locked, on another device or of a file stays where it is, and so does everything
 * when the device has no memory left. Addresses where nothing is mapped are skipped. A huge
 * page is split on the CPU. On the device it remains one block if &hmm_devmem_ops.alloc has one.
 *
 * mmap_lock is held for at most 2 MiB at a time. Callbacks of mirrors come for
 * &HMM_UPDATE_MIGRATE; hmm_mirror_migrate() also mirrors what has moved.
 *
 * Context: Process context, with no lock held. Sleeps.
 * Return: The number of pages that have moved, which may be 0. Or, when some may have moved:
 *
 * * %-EINVAL: a range that is empty, not page aligned, or not of user space
 * * %-ENOMEM: no memory for the arrays that this needs
 * * %-EINTR: a fatal signal is pending
 * * what &hmm_devmem_ops.copy returned
 */
long hmm_devmem_migrate(struct hmm_devmem *devmem, struct mm_struct *mm, unsigned long start,
			unsigned long end)
{
	return hmm_devmem_migrate_range(devmem, mm, start, end, true);
}
EXPORT_SYMBOL_GPL(hmm_devmem_migrate);

/**
 * hmm_devmem_migrate_back() - move memory of a process from a device to system memory
 * @devmem: where from; memory of other devices stays
 * @mm: the address space; the caller has a reference on mm_users
 * @start: first address, page aligned
 * @end: end address, exclusive, page aligned
 *
 * Pages that another thread locks or holds stay, and so do those for which there is no system
 * memory.
 *
 * Context: Process context, with no lock held. Sleeps.
 * Return: As for hmm_devmem_migrate().
 */
long hmm_devmem_migrate_back(struct hmm_devmem *devmem, struct mm_struct *mm,
			     unsigned long start, unsigned long end)
{
	return hmm_devmem_migrate_range(devmem, mm, start, end, false);
}
EXPORT_SYMBOL_GPL(hmm_devmem_migrate_back);

static vm_fault_t hmm_devmem_fault_range(struct hmm_devmem *devmem, struct vm_fault *vmf,
					 unsigned long start, unsigned long end)
{
	unsigned long src[HMM_DEVMEM_AROUND], dst[HMM_DEVMEM_AROUND];
	struct page *from[HMM_DEVMEM_AROUND], *to[HMM_DEVMEM_AROUND];
	struct hmm_devmem_batch batch = {
		.devmem = devmem, .src = src, .dst = dst, .from = from, .to = to,
	};
	struct migrate_vma args = {
		.vma = vmf->vma,
		.start = max(start, vmf->vma->vm_start),
		.end = min(end, vmf->vma->vm_end),
		.fault_page = vmf->page,
	};
	unsigned long i = ((vmf->address & PAGE_MASK) - args.start) >> PAGE_SHIFT;

	if (hmm_devmem_move(&batch, &args, false) < 0)
		return VM_FAULT_SIGBUS;
	/* It was collected, and there was no memory for it. */
	if (args.cpages && migrate_pfn_to_page(src[i]) == vmf->page && !dst[i])
		return VM_FAULT_OOM;
	return 0;
}

/**
 * hmm_devmem_migrate_to_ram() - &dev_pagemap_ops.migrate_to_ram for private memory
 * @devmem: the memory that the page is of
 * @vmf: the CPU fault
 *
 * Moves the page back, and with it those of its neighbours that are on the device: up to 64 KiB
 * that are naturally aligned.
 *
 * Context: As for &dev_pagemap_ops.migrate_to_ram, which is called with the page locked: no lock
 * may be taken under which a thread faults.
 * Return: 0, also when another thread was faster or held the page: the CPU tries again.
 * %VM_FAULT_OOM: no system memory. %VM_FAULT_SIGBUS: &hmm_devmem_ops.copy has failed for the
 * page.
 */
vm_fault_t hmm_devmem_migrate_to_ram(struct hmm_devmem *devmem, struct vm_fault *vmf)
{
	const unsigned long size = HMM_DEVMEM_AROUND * PAGE_SIZE;
	unsigned long addr = vmf->address & PAGE_MASK, start = round_down(addr, size);
	vm_fault_t ret = hmm_devmem_fault_range(devmem, vmf, start, start + size);

	/* Perhaps it is a neighbour that cannot be copied. */
	if (ret == VM_FAULT_SIGBUS)
		ret = hmm_devmem_fault_range(devmem, vmf, addr, addr + PAGE_SIZE);
	return ret;
}
EXPORT_SYMBOL_GPL(hmm_devmem_migrate_to_ram);

/**
 * hmm_devmem_evict() - move what is in pages of a device to system memory
 * @devmem: the memory of the device
 * @pfn: the first page
 * @npages: how many pages
 *
 * For a driver that needs the memory, or is about to lose it. Moves the pages of any process.
 * A page that another thread locks or holds stays; so the driver first makes sure that
 * &hmm_devmem_ops.alloc returns none of these pages, then calls this until all are free, or
 * it gives up. Threads may move pages to and from the device concurrently.
 *
 * Context: Process context, but not in reclaim, as a shrinker is. No lock may be held that
 * &hmm_devmem_ops or callbacks of mirrors take. May be called by &hmm_devmem_ops.alloc. Sleeps,
 * for memory too.
 * Return: The number of pages that have moved. Or, when some may have moved, %-ENOMEM if there
 * is no memory for the arrays that this needs, %-EINTR if a fatal signal is pending, and what
 * &hmm_devmem_ops.copy returned.
 */
long hmm_devmem_evict(struct hmm_devmem *devmem, unsigned long pfn, unsigned long npages)
{
	struct hmm_devmem_arrays *arrays __free(kvfree) = kvmalloc(sizeof(*arrays), GFP_KERNEL);
	struct hmm_devmem_batch batch = { .devmem = devmem };
	long moved = 0;
	int ret = 0;

	if (!arrays)
		return -ENOMEM;
	hmm_devmem_use_arrays(&batch, arrays);
	for (; npages && !ret; pfn += batch.npages, npages -= batch.npages) {
		batch.npages = min(npages, HMM_DEVMEM_WINDOW);
		migrate_device_range(batch.src, pfn, batch.npages);
		hmm_devmem_alloc_system(&batch, NULL);
		ret = hmm_devmem_copy(&batch);
		migrate_device_pages(batch.src, batch.dst, batch.npages);
		moved += hmm_devmem_count_moved(&batch);
		migrate_device_finalize(batch.src, batch.dst, batch.npages);
		if (!ret && fatal_signal_pending(current))
			ret = -EINTR;
		cond_resched();
	}
	return ret ?: moved;
}
EXPORT_SYMBOL_GPL(hmm_devmem_evict);

static long hmm_devmem_migrate_mirrored(struct hmm_mirror *mirror, struct hmm_devmem *devmem,
					unsigned long start, unsigned long end)
{
	long ret;

	if (!mmget_not_zero(mirror->mm))
		return -ESRCH;
	ret = hmm_devmem_migrate(devmem, mirror->mm, start, end);
	mmput_async(mirror->mm);
	return ret;
}

/**
 * hmm_mirror_migrate() - move memory to a device and mirror it there
 * @mirror: mirror without %HMM_MIRROR_OWN_TABLES
 * @devmem: where to; &hmm_devmem.owner is &hmm_mirror.dev_private_owner
 * @start: first address, page aligned
 * @end: end address, exclusive, page aligned
 * @flags: as for hmm_mirror_fault_job()
 * @job: as for hmm_mirror_fault_job(), or NULL
 *
 * Like hmm_mirror_fault_job(), but moves what can move to the device first, 2 MiB at a time, see
 * hmm_devmem_migrate(). What does not move is mirrored as by hmm_mirror_fault(), so memory on
 * another device goes to system memory. hmm_pte_device() tells what is on the device.
 *
 * If @job is cancelled, at most the 2 MiB at hand still move. hmm_mirror_cancel_range() does not
 * see the migration, only the faults.
 *
 * Context: As for hmm_mirror_fault_job().
 * Return: As for hmm_mirror_fault_job(), or the errors of hmm_devmem_migrate(). -EINVAL also if
 * the owners differ.
 */
long hmm_mirror_migrate(struct hmm_mirror *mirror, struct hmm_devmem *devmem,
			unsigned long start, unsigned long end, unsigned int flags,
			struct hmm_job *job)
{
	long ret = -EINVAL, done = 0;
	unsigned long next;

	if (!hmm_mirror_get(mirror))
		return -ESRCH;
	if (mirror->reg.own_tables || mirror->reg.owner != devmem->owner ||
	    hmm_mirror_bad_range(mirror, start, end))
		goto put;
	for (; start < end; start = next) {
		next = min(end - 1, start | (SZ_2M - 1)) + 1;
		ret = hmm_devmem_migrate_mirrored(mirror, devmem, start, next);
		if (ret >= 0)
			ret = hmm_mirror_fault_job(mirror, start, next, flags, job);
		if (ret < 0)
			break;
		done += ret;
		if (!(flags & HMM_FAULT_PRESENT) && ret < (next - start) >> PAGE_SHIFT)
			break;
	}
put:
	hmm_mirror_put(mirror);
	return done && ret != -ESRCH && ret != -ECANCELED ? done : ret;
}
EXPORT_SYMBOL_GPL(hmm_mirror_migrate);
