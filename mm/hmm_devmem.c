// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * HMM: migration of pages between system memory and the memory of a device.
 *
 * With migrate_vma_setup(), migrate_vma_pages() and migrate_vma_finalize(), each driver needs
 * four loops: migration to the device, back on request, back for a CPU fault, and back for
 * eviction. The loops differ in how they find pages, and in the source of new pages. This file
 * has the loops. The driver allocates device pages and copies. The steps of a migration:
 *
 *   collect    Replace CPU page table entries by migration entries. Lock and unmap the
 *              pages. Invalidate the mirrors: no device accesses the pages.
 *   allocate   Allocate and lock a new page for each page.
 *   copy       Call &hmm_devmem_ops.copy of the driver.
 *   replace    Move the mapping and the charge of the old page to the new page.
 *   finalize   Replace migration entries by entries of the new page. Unlock all pages.
 *
 * Eviction finds device pages by their pfn. So it also finds pages that another thread is
 * moving: a page that is allocated but has not replaced another page yet, and a page that was
 * replaced but still has a reference. Neither contains memory of a process. Both changes happen
 * under the page lock. An unlocked page that contains memory of a process is mapped. So
 * migrate_device_range() takes the page lock, and skips pages that are not mapped. It holds a
 * reference on the anon_vma, because eviction does not hold mmap_lock: the process can exit.
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

/* Maximum number of pages that move under one hold of mmap_lock: usually a huge page */
#define HMM_DEVMEM_WINDOW	(SZ_2M / PAGE_SIZE)

/* A CPU fault moves up to 64 KiB back: the page and its neighbours */
#define HMM_DEVMEM_AROUND	DIV_ROUND_UP(SZ_64K, PAGE_SIZE)

/**
 * struct hmm_devmem_batch - pages that move together
 * @devmem: the device memory that they move to or from
 * @npages: the number of elements of each array
 * @src: pages to move, from migrate_vma_setup() or migrate_device_range()
 * @dst: pages that replace them
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

/* The arrays of a batch, in one allocation */
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
 * __migrate_device_pages() moves only anonymous memory to a device. Do not copy other pages: the
 * kernel must not even read secretmem. KSM can read its pages at any time, so they do not move.
 */
static bool hmm_devmem_can_leave(unsigned long src)
{
	struct page *page = migrate_pfn_to_page(src);

	return src & MIGRATE_PFN_MIGRATE && (!page || (PageAnon(page) && !PageKsm(page)));
}

/* Can the whole window move, and is it naturally aligned? */
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

/* Allocate device pages. Pages for which there is no device page do not move. */
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
 * Allocate system pages. @args is NULL if the pages were found by their pfns. For neighbours of
 * the page that a CPU fault needs, do not reclaim hard and do not invoke the OOM killer.
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

/* Return: the number of pages that have moved, or an errno of migrate_vma_setup() or the driver. */
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

/* Does migrate_vma_setup() accept the VMA? */
static bool hmm_devmem_vma_moves(struct vm_area_struct *vma)
{
	return !(vma->vm_flags & VM_SPECIAL) && !is_vm_hugetlb_page(vma) && !vma_is_dax(vma);
}

/* Move the memory in the first window of [*@start, @end), and advance *@start. */
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
 * @devmem: the memory of the device
 * @mm: the address space; the caller holds an mm_users reference
 * @start: first address, page aligned
 * @end: end address, exclusive, page aligned
 *
 * Moves anonymous memory, including pages that were never accessed. File pages, and pages that
 * are pinned, locked or on another device, do not move. No page moves if the device has no free
 * memory. Addresses outside of VMAs are skipped. The CPU mapping of a huge page is split. On
 * the device the page remains one block if &hmm_devmem_ops.alloc provides a block.
 *
 * mmap_lock is held for at most 2 MiB at a time. Mirrors get callbacks with
 * %HMM_UPDATE_MIGRATE. hmm_mirror_migrate() also mirrors the moved pages.
 *
 * Context: Process context, with no lock held. Sleeps.
 * Return: The number of pages that have moved, which can be 0. Or an errno, after some pages
 * may have moved:
 *
 * * %-EINVAL: the range is empty, not page aligned, or not in user space
 * * %-ENOMEM: no memory for internal arrays
 * * %-EINTR: a fatal signal is pending
 * * the errno that &hmm_devmem_ops.copy returned
 */
long hmm_devmem_migrate(struct hmm_devmem *devmem, struct mm_struct *mm, unsigned long start,
			unsigned long end)
{
	return hmm_devmem_migrate_range(devmem, mm, start, end, true);
}
EXPORT_SYMBOL_GPL(hmm_devmem_migrate);

/**
 * hmm_devmem_migrate_back() - move memory of a process from a device to system memory
 * @devmem: the memory of the device; pages of other devices do not move
 * @mm: the address space; the caller holds an mm_users reference
 * @start: first address, page aligned
 * @end: end address, exclusive, page aligned
 *
 * A page does not move if another thread has locked it or holds a reference, or if there is no
 * system memory for it.
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
	/* The page was collected, but there was no memory for it. */
	if (args.cpages && migrate_pfn_to_page(src[i]) == vmf->page && !dst[i])
		return VM_FAULT_OOM;
	return 0;
}

/**
 * hmm_devmem_migrate_to_ram() - &dev_pagemap_ops.migrate_to_ram for private memory
 * @devmem: the memory of the device
 * @vmf: the CPU fault
 *
 * Moves the page back, together with its neighbours on the device: up to 64 KiB, naturally
 * aligned.
 *
 * Context: As for &dev_pagemap_ops.migrate_to_ram, which is called with the page locked. The
 * driver must not take a lock under which a thread faults.
 * Return: 0, even if another thread was faster or held a reference: the CPU retries.
 * %VM_FAULT_OOM: no system memory. %VM_FAULT_SIGBUS: &hmm_devmem_ops.copy has failed for the
 * page.
 */
vm_fault_t hmm_devmem_migrate_to_ram(struct hmm_devmem *devmem, struct vm_fault *vmf)
{
	const unsigned long size = HMM_DEVMEM_AROUND * PAGE_SIZE;
	unsigned long addr = vmf->address & PAGE_MASK, start = round_down(addr, size);
	vm_fault_t ret = hmm_devmem_fault_range(devmem, vmf, start, start + size);

	/* A neighbour may have failed: retry with the page alone. */
	if (ret == VM_FAULT_SIGBUS)
		ret = hmm_devmem_fault_range(devmem, vmf, addr, addr + PAGE_SIZE);
	return ret;
}
EXPORT_SYMBOL_GPL(hmm_devmem_migrate_to_ram);

/**
 * hmm_devmem_evict() - move the contents of device pages to system memory
 * @devmem: the memory of the device
 * @pfn: pfn of the first page
 * @npages: number of pages
 *
 * For a driver that needs the memory, or is about to lose it. Moves the pages of any process.
 * A page does not move if another thread has locked it or holds a reference. So the driver first
 * ensures that &hmm_devmem_ops.alloc returns none of these pages. Then it repeats the call until
 * all are free, or it gives up. Threads may move pages to and from the device concurrently.
 *
 * Context: Process context, but not in reclaim (a shrinker). The caller must hold no lock that
 * &hmm_devmem_ops or callbacks of mirrors take. &hmm_devmem_ops.alloc may call this. Sleeps, and
 * allocates memory.
 * Return: The number of pages that have moved. Or an errno, after some pages may have moved:
 *
 * * %-ENOMEM: no memory for internal arrays
 * * %-EINTR: a fatal signal is pending
 * * the errno that &hmm_devmem_ops.copy returned
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
 * @devmem: the memory of the device; &hmm_devmem.owner is &hmm_mirror.dev_private_owner
 * @start: first address, page aligned
 * @end: end address, exclusive, page aligned
 * @flags: as for hmm_mirror_fault_job()
 * @job: as for hmm_mirror_fault_job(), or NULL
 *
 * Like hmm_mirror_fault_job(), but first moves pages to the device, 2 MiB at a time, see
 * hmm_devmem_migrate(). Pages that do not move are mirrored as by hmm_mirror_fault(), which moves
 * private pages of another device to system memory. hmm_pte_device() is true for device memory.
 *
 * If @job is cancelled, at most the current 2 MiB still move. hmm_mirror_cancel_range() cancels
 * only the faults, not the migration.
 *
 * Context: As for hmm_mirror_fault_job().
 * Return: As for hmm_mirror_fault_job(), or the errno of hmm_devmem_migrate(). Or -EINVAL if the
 * owners differ, or if the mirror has %HMM_MIRROR_OWN_TABLES.
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
	    hmm_mirror_bad_flags(mirror, flags) || hmm_mirror_bad_range(mirror, start, end))
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
