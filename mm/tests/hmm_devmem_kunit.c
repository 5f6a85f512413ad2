// SPDX-License-Identifier: GPL-2.0
/*
 * Migration to device memory and back, with the driver for device memory that
 * Documentation/vm/hmm.rst includes. Each part that the document shows begins with a
 * comment "hmm.rst: NAME" and ends where the next part begins.
 */
#include <linux/hmm_devmem.h>
#include <linux/bitmap.h>
#include <linux/delay.h>
#include <linux/highmem.h>
#include <linux/ioport.h>
#include <linux/mman.h>
#include <linux/pagemap.h>
#include <linux/rmap.h>
#include <linux/vmalloc.h>

#include "../internal.h"
#include "hmm_mirror_test.h"

/* hmm.rst: vram memory */
#define VRAM_PAGES	1024

/**
 * struct vram - device memory that the CPU cannot address
 * @devmem: the device memory, for HMM
 * @pgmap: its struct pages
 * @used: pages that are allocated
 * @storage: the contents of the pages; software emulates this device
 * @fail_blocks: allocations of blocks fail
 * @fail_copies: all copies fail
 * @bad: copies from this page fail, if not NULL
 * @blocks: number of blocks allocated
 * @copied: number of pages copied
 */
struct vram {
	struct hmm_devmem devmem;
	struct dev_pagemap pgmap;
	/** @lock: protects @used */
	spinlock_t lock;
	DECLARE_BITMAP(used, VRAM_PAGES);
	char *storage;
	bool fail_blocks;
	bool fail_copies;
	struct page *bad;
	unsigned long blocks;
	unsigned long copied;
};

static unsigned long vram_index(struct vram *vram, struct page *page)
{
	return page_to_pfn(page) - PHYS_PFN(vram->pgmap.range.start);
}

static struct page *vram_alloc(struct hmm_devmem *devmem, unsigned int order)
{
	struct vram *vram = container_of(devmem, struct vram, devmem);
	const unsigned long npages = 1UL << order;
	unsigned long i;

	if (order && vram->fail_blocks)
		return NULL;
	spin_lock_irq(&vram->lock);
	i = bitmap_find_next_zero_area(vram->used, VRAM_PAGES, 0, npages, npages - 1);
	if (i < VRAM_PAGES)
		bitmap_set(vram->used, i, npages);
	spin_unlock_irq(&vram->lock);
	if (i >= VRAM_PAGES)
		return NULL;
	vram->blocks += order > 0;
	return pfn_to_page(PHYS_PFN(vram->pgmap.range.start) + i);
}

static void vram_free(struct page *page)
{
	struct vram *vram = container_of(page->pgmap, struct vram, pgmap);
	unsigned long flags;

	spin_lock_irqsave(&vram->lock, flags);
	__clear_bit(vram_index(vram, page), vram->used);
	spin_unlock_irqrestore(&vram->lock, flags);
}

/* A real device copies by DMA, and waits here until the last page is copied. */
static int vram_copy(struct hmm_devmem *devmem, struct page **to, struct page **from,
		     unsigned long npages)
{
	struct vram *vram = container_of(devmem, struct vram, devmem);
	unsigned long i;

	if (vram->fail_copies)
		return -EIO;
	for (i = 0; i < npages; i++) {
		char *content;

		if (vram->bad && from[i] == vram->bad)
			return -EIO;
		if (is_device_private_page(to[i])) {
			content = vram->storage + vram_index(vram, to[i]) * PAGE_SIZE;
			if (from[i])
				memcpy_from_page(content, from[i], 0, PAGE_SIZE);
			else
				memset(content, 0, PAGE_SIZE);
		} else {
			content = vram->storage + vram_index(vram, from[i]) * PAGE_SIZE;
			memcpy_to_page(to[i], 0, content, PAGE_SIZE);
		}
		vram->copied++;
	}
	return 0;
}

static vm_fault_t vram_migrate_to_ram(struct vm_fault *vmf)
{
	struct vram *vram = container_of(vmf->page->pgmap, struct vram, pgmap);

	return hmm_devmem_migrate_to_ram(&vram->devmem, vmf);
}

static const struct hmm_devmem_ops vram_devmem_ops = {
	.alloc	= vram_alloc,
	.copy	= vram_copy,
};

static const struct dev_pagemap_ops vram_pagemap_ops = {
	.page_free	= vram_free,
	.migrate_to_ram	= vram_migrate_to_ram,
};

static int vram_init(struct vram *vram)
{
	struct resource *res;
	void *ret;

	res = request_free_mem_region(&iomem_resource, VRAM_PAGES * PAGE_SIZE, "vram");
	if (IS_ERR(res))
		return PTR_ERR(res);
	spin_lock_init(&vram->lock);
	vram->devmem.ops = &vram_devmem_ops;
	vram->devmem.type = MEMORY_DEVICE_PRIVATE;
	vram->devmem.owner = vram;
	vram->pgmap.type = MEMORY_DEVICE_PRIVATE;
	vram->pgmap.owner = vram;
	vram->pgmap.ops = &vram_pagemap_ops;
	vram->pgmap.range.start = res->start;
	vram->pgmap.range.end = res->end;
	vram->pgmap.nr_range = 1;
	ret = memremap_pages(&vram->pgmap, NUMA_NO_NODE);
	if (IS_ERR(ret))
		release_mem_region(res->start, resource_size(res));
	return PTR_ERR_OR_ZERO(ret);
}

/*
 * All files are closed, so the driver allocates no page. Evict the pages that are still
 * in use.
 */
static void vram_exit(struct vram *vram)
{
	unsigned long i;

	while ((i = find_first_bit(vram->used, VRAM_PAGES)) < VRAM_PAGES) {
		hmm_devmem_evict(&vram->devmem, PHYS_PFN(vram->pgmap.range.start) + i,
				 VRAM_PAGES - i);
		/* A page can be locked, or have an extra reference for a moment. */
		msleep(20);
	}
	memunmap_pages(&vram->pgmap);
	release_mem_region(vram->pgmap.range.start, range_len(&vram->pgmap.range));
}

/* hmm.rst: end */

static void vram_remove(void *data)
{
	struct vram *vram = data;

	vram->fail_copies = false;
	vram_exit(vram);
	vfree(vram->storage);
}

/* Create a device with memory, and a mirror of its owner. */
static struct vram *vram_new(struct kunit *test, struct hmm_fake **fake)
{
	struct vram *vram = kunit_kzalloc(test, sizeof(*vram), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, vram);
	vram->storage = vzalloc(VRAM_PAGES * PAGE_SIZE);
	KUNIT_ASSERT_NOT_NULL(test, vram->storage);
	KUNIT_ASSERT_EQ(test, 0, vram_init(vram));
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, vram_remove, vram));
	*fake = hmm_fake_new(test, 0);
	hmm_fake_set_owner(*fake, vram);
	return vram;
}

static unsigned long vram_in_use(struct vram *vram)
{
	return bitmap_weight(vram->used, VRAM_PAGES);
}

static void stamp(struct kunit *test, unsigned long addr, unsigned long npages)
{
	unsigned long i;

	for (i = 0; i < npages; i++)
		KUNIT_ASSERT_EQ(test, 0, put_user(i + 1, (unsigned long __user *)AT(addr, i)));
}

/* Count the leading pages that still have their stamps. */
static unsigned long stamped(unsigned long addr, unsigned long npages)
{
	unsigned long i, word;

	for (i = 0; i < npages; i++) {
		if (get_user(word, (unsigned long __user *)AT(addr, i)) || word != i + 1)
			break;
	}
	return i;
}

static unsigned long on_device(struct hmm_fake *fake, unsigned long addr, unsigned long npages)
{
	return hmm_fake_count(fake, addr, npages, HMM_PTE_VALID | HMM_PTE_DEVICE);
}

static long migrate(struct vram *vram, struct hmm_fake *fake, unsigned long addr,
		    unsigned long npages)
{
	return hmm_mirror_migrate(&fake->mirror, &vram->devmem, addr, AT(addr, npages),
				  HMM_FAULT_WRITE, NULL);
}

static long migrate_back(struct vram *vram, unsigned long addr, unsigned long npages)
{
	return hmm_devmem_migrate_back(&vram->devmem, current->mm, addr, AT(addr, npages));
}

/* Pages migrate to the device and back, and keep their contents. */
static void there_and_back(struct kunit *test)
{
	struct hmm_fake *fake;
	struct vram *vram = vram_new(test, &fake);
	unsigned long addr = hmm_fake_map_small(fake, 40);

	stamp(test, addr, 40);
	KUNIT_ASSERT_EQ(test, 40, migrate(vram, fake, addr, 40));
	KUNIT_EXPECT_EQ(test, 40, on_device(fake, addr, 40));
	KUNIT_EXPECT_EQ(test, 40, hmm_fake_writable(fake, addr, 40));
	KUNIT_EXPECT_EQ(test, 40, vram_in_use(vram));
	KUNIT_EXPECT_EQ(test, 40, migrate_back(vram, addr, 40));
	KUNIT_EXPECT_EQ(test, 0, hmm_fake_valid(fake, addr, 40));
	KUNIT_EXPECT_EQ(test, 0, vram_in_use(vram));
	KUNIT_EXPECT_EQ(test, 80, vram->copied);
	KUNIT_EXPECT_EQ(test, 40, stamped(addr, 40));
}

/* Pages that are already on the device stay there and are not copied. */
static void device_pages_stay(struct kunit *test)
{
	struct hmm_fake *fake;
	struct vram *vram = vram_new(test, &fake);
	unsigned long addr = hmm_fake_map_small(fake, 40);

	stamp(test, addr, 40);
	KUNIT_ASSERT_EQ(test, 20, migrate(vram, fake, AT(addr, 10), 20));
	KUNIT_ASSERT_EQ(test, 40, migrate(vram, fake, addr, 40));
	KUNIT_EXPECT_EQ(test, 40, vram->copied);
	KUNIT_EXPECT_EQ(test, 40, on_device(fake, addr, 40));
	KUNIT_EXPECT_EQ(test, 0, hmm_devmem_migrate(&vram->devmem, current->mm, addr,
						    AT(addr, 40)));
	KUNIT_EXPECT_EQ(test, 40, stamped(addr, 40));
}

/* Pages that were never touched migrate, too, and are zero. */
static void untouched_pages_are_zero(struct kunit *test)
{
	struct hmm_fake *fake;
	struct vram *vram = vram_new(test, &fake);
	unsigned long addr = hmm_fake_map_small(fake, 8), word, i;

	memset(vram->storage, 0xff, VRAM_PAGES * PAGE_SIZE);
	KUNIT_ASSERT_EQ(test, 8, migrate(vram, fake, addr, 8));
	KUNIT_EXPECT_EQ(test, 8, on_device(fake, addr, 8));
	for (i = 0; i < 8; i++) {
		KUNIT_ASSERT_EQ(test, 0, get_user(word, (unsigned long __user *)AT(addr, i)));
		KUNIT_EXPECT_EQ(test, 0, word);
	}
}

/* A THP migrates to one block of device memory. */
static void huge_page_to_block(struct kunit *test)
{
	struct hmm_fake *fake;
	struct vram *vram = vram_new(test, &fake);
	unsigned long addr = hmm_fake_map_huge(fake, 1);

	stamp(test, addr, 512);
	KUNIT_ASSERT_EQ(test, 512, migrate(vram, fake, addr, 512));
	KUNIT_EXPECT_EQ(test, 1, vram->blocks);
	KUNIT_EXPECT_EQ(test, hmm_pte_pfn(hmm_fake_entry(fake, addr)) + 511,
			hmm_pte_pfn(hmm_fake_entry(fake, AT(addr, 511))));
	KUNIT_EXPECT_EQ(test, 512, stamped(addr, 512));
	KUNIT_EXPECT_EQ(test, 0, vram_in_use(vram));
}

/* If the device has no free block, a THP migrates to single pages. */
static void huge_page_without_block(struct kunit *test)
{
	struct hmm_fake *fake;
	struct vram *vram = vram_new(test, &fake);
	unsigned long addr = hmm_fake_map_huge(fake, 1);

	vram->fail_blocks = true;
	stamp(test, addr, 512);
	KUNIT_ASSERT_EQ(test, 512, migrate(vram, fake, addr, 512));
	KUNIT_EXPECT_EQ(test, 512, on_device(fake, addr, 512));
	KUNIT_EXPECT_EQ(test, 512, stamped(addr, 512));
}

/* Migration of a part of a THP needs no block. */
static void part_of_huge_page(struct kunit *test)
{
	struct hmm_fake *fake;
	struct vram *vram = vram_new(test, &fake);
	unsigned long addr = hmm_fake_map_huge(fake, 2);

	stamp(test, addr, 1024);
	KUNIT_ASSERT_EQ(test, 1022, migrate(vram, fake, AT(addr, 1), 1022));
	KUNIT_EXPECT_EQ(test, 0, vram->blocks);
	KUNIT_EXPECT_EQ(test, 0, on_device(fake, addr, 1));
	KUNIT_EXPECT_EQ(test, 1022, on_device(fake, AT(addr, 1), 1022));
	KUNIT_EXPECT_EQ(test, 0, on_device(fake, AT(addr, 1023), 1));
	KUNIT_EXPECT_EQ(test, 1024, stamped(addr, 1024));
}

/*
 * Pages for which the device has no memory stay in system memory, and are mirrored there.
 */
static void device_is_full(struct kunit *test)
{
	struct hmm_fake *fake;
	struct vram *vram = vram_new(test, &fake);
	unsigned long addr = hmm_fake_map_small(fake, 40);

	stamp(test, addr, 40);
	bitmap_set(vram->used, 0, VRAM_PAGES - 10);
	KUNIT_EXPECT_EQ(test, 40, migrate(vram, fake, addr, 40));
	bitmap_clear(vram->used, 0, VRAM_PAGES - 10);
	KUNIT_EXPECT_EQ(test, 10, on_device(fake, addr, 40));
	KUNIT_EXPECT_EQ(test, 40, hmm_fake_writable(fake, addr, 40));
	KUNIT_EXPECT_EQ(test, 40, stamped(addr, 40));
}

/* If the device cannot copy, no page moves and no page stays allocated. */
static void copy_fails(struct kunit *test)
{
	struct hmm_fake *fake;
	struct vram *vram = vram_new(test, &fake);
	unsigned long addr = hmm_fake_map_small(fake, 8);

	stamp(test, addr, 8);
	vram->fail_copies = true;
	KUNIT_EXPECT_EQ(test, -EIO, migrate(vram, fake, addr, 8));
	KUNIT_EXPECT_EQ(test, 0, vram_in_use(vram));
	KUNIT_EXPECT_EQ(test, 8, stamped(addr, 8));
	vram->fail_copies = false;
	KUNIT_ASSERT_EQ(test, 8, migrate(vram, fake, addr, 8));
	vram->fail_copies = true;
	KUNIT_EXPECT_EQ(test, -EIO, migrate_back(vram, addr, 8));
	KUNIT_EXPECT_EQ(test, -EIO, hmm_devmem_evict(&vram->devmem,
						     PHYS_PFN(vram->pgmap.range.start),
						     VRAM_PAGES));
	KUNIT_EXPECT_EQ(test, 0, stamped(addr, 8));
	KUNIT_EXPECT_EQ(test, 8, vram_in_use(vram));
	vram->fail_copies = false;
	KUNIT_EXPECT_EQ(test, 8, stamped(addr, 8));
}

/* A CPU fault migrates the aligned 64 KiB around it back, within the VMA. */
static void cpu_fault_returns_neighbours(struct kunit *test)
{
	struct hmm_fake *fake;
	struct vram *vram = vram_new(test, &fake);
	unsigned long addr = ALIGN(hmm_fake_map_small(fake, 80), SZ_64K);

	stamp(test, addr, 64);
	KUNIT_ASSERT_EQ(test, 64, migrate(vram, fake, addr, 64));
	hmm_test_read(test, AT(addr, 21));
	KUNIT_EXPECT_EQ(test, 16, on_device(fake, addr, 16));
	KUNIT_EXPECT_EQ(test, 0, on_device(fake, AT(addr, 16), 16));
	KUNIT_EXPECT_EQ(test, 32, on_device(fake, AT(addr, 32), 32));
	KUNIT_ASSERT_EQ(test, 0, vm_munmap(AT(addr, 40), 4 * PAGE_SIZE));
	hmm_test_read(test, AT(addr, 38));
	KUNIT_EXPECT_EQ(test, 0, on_device(fake, AT(addr, 32), 8));
	KUNIT_EXPECT_EQ(test, 20, on_device(fake, AT(addr, 44), 20));
	KUNIT_EXPECT_EQ(test, 36, vram_in_use(vram));
	KUNIT_EXPECT_EQ(test, 40, stamped(addr, 40));
}

/* If a neighbour cannot be copied it stays, and the CPU fault succeeds. */
static void bad_neighbour_stays(struct kunit *test)
{
	struct hmm_fake *fake;
	struct vram *vram = vram_new(test, &fake);
	unsigned long addr = ALIGN(hmm_fake_map_small(fake, 32), SZ_64K);

	stamp(test, addr, 16);
	KUNIT_ASSERT_EQ(test, 16, migrate(vram, fake, addr, 16));
	vram->bad = pfn_to_page(hmm_pte_pfn(hmm_fake_entry(fake, AT(addr, 9))));
	KUNIT_EXPECT_EQ(test, 9, stamped(addr, 16));
	KUNIT_EXPECT_EQ(test, 7, vram_in_use(vram));
	vram->bad = NULL;
	KUNIT_EXPECT_EQ(test, 16, stamped(addr, 16));
}

/* Migration back does not split THPs that are in system memory. */
static void huge_page_stays(struct kunit *test)
{
	struct hmm_fake *fake;
	struct vram *vram = vram_new(test, &fake);
	unsigned long addr = hmm_fake_map_huge(fake, 1);

	stamp(test, addr, 512);
	hmm_fake_fault_all(fake, addr, 512, HMM_FAULT_WRITE);
	KUNIT_ASSERT_EQ(test, PMD_SHIFT - PAGE_SHIFT, hmm_pte_order(hmm_fake_entry(fake, addr)));
	KUNIT_EXPECT_EQ(test, 0, migrate_back(vram, addr, 512));
	hmm_fake_fault_all(fake, addr, 512, HMM_FAULT_WRITE);
	KUNIT_EXPECT_EQ(test, PMD_SHIFT - PAGE_SHIFT, hmm_pte_order(hmm_fake_entry(fake, addr)));
}

/* Eviction of some pages, and then of all pages, migrates them back. */
static void eviction_returns_pages(struct kunit *test)
{
	struct hmm_fake *fake;
	struct vram *vram = vram_new(test, &fake);
	unsigned long addr = hmm_fake_map_small(fake, 40);
	unsigned long pfn = PHYS_PFN(vram->pgmap.range.start);

	stamp(test, addr, 40);
	KUNIT_ASSERT_EQ(test, 40, migrate(vram, fake, addr, 40));
	KUNIT_EXPECT_EQ(test, 10, hmm_devmem_evict(&vram->devmem, pfn + 5, 10));
	KUNIT_EXPECT_EQ(test, 30, on_device(fake, addr, 40));
	KUNIT_EXPECT_EQ(test, 30, hmm_devmem_evict(&vram->devmem, pfn, VRAM_PAGES));
	KUNIT_EXPECT_EQ(test, 0, vram_in_use(vram));
	KUNIT_EXPECT_EQ(test, 0, hmm_fake_valid(fake, addr, 40));
	KUNIT_EXPECT_EQ(test, 40, stamped(addr, 40));
}

static unsigned long vram_unmapped;	/* start of the 8 pages that vram_unmap_and_copy() unmaps */
static int vram_anon_vma_refs;		/* anon_vma references of those pages after the unmap */

static int vram_unmap_and_copy(struct hmm_devmem *devmem, struct page **to, struct page **from,
			       unsigned long npages)
{
	vm_munmap(vram_unmapped, 8 * PAGE_SIZE);
	vram_anon_vma_refs = atomic_read(&folio_anon_vma(page_folio(from[0]))->refcount);
	return vram_copy(devmem, to, from, npages);
}

/* If the process unmaps pages during their eviction, their anon_vma stays valid. */
static void unmapped_in_eviction(struct kunit *test)
{
	static const struct hmm_devmem_ops ops = {
		.alloc	= vram_alloc,
		.copy	= vram_unmap_and_copy,
	};
	struct hmm_fake *fake;
	struct vram *vram = vram_new(test, &fake);
	unsigned long addr = hmm_fake_map_small(fake, 8);

	stamp(test, addr, 8);
	KUNIT_ASSERT_EQ(test, 8, migrate(vram, fake, addr, 8));
	vram_unmapped = addr;
	vram->devmem.ops = &ops;
	hmm_devmem_evict(&vram->devmem, PHYS_PFN(vram->pgmap.range.start), VRAM_PAGES);
	vram->devmem.ops = &vram_devmem_ops;
	KUNIT_EXPECT_GT(test, vram_anon_vma_refs, 0);
	KUNIT_EXPECT_EQ(test, 0, vram_in_use(vram));
}

/* Eviction ignores a page that has a reference and is not mapped by any process. */
static void eviction_ignores_unmapped_page(struct kunit *test)
{
	struct hmm_fake *fake;
	struct vram *vram = vram_new(test, &fake);
	struct page *page = vram_alloc(&vram->devmem, 0);

	KUNIT_ASSERT_NOT_NULL(test, page);
	zone_device_page_init(page);
	unlock_page(page);
	KUNIT_EXPECT_EQ(test, 0, hmm_devmem_evict(&vram->devmem, page_to_pfn(page), 1));
	KUNIT_EXPECT_EQ(test, 0, vram->copied);
	KUNIT_EXPECT_EQ(test, 1, page_ref_count(page));
	put_page(page);
	KUNIT_EXPECT_EQ(test, 0, vram_in_use(vram));
}

/* hmm_devmem_migrate() skips gaps; hmm_mirror_migrate() needs a page at the start. */
static void gap_is_skipped(struct kunit *test)
{
	struct hmm_fake *fake;
	struct vram *vram = vram_new(test, &fake);
	unsigned long addr = hmm_fake_map_small(fake, 24);

	stamp(test, addr, 24);
	KUNIT_ASSERT_EQ(test, 0, vm_munmap(AT(addr, 8), 8 * PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, 16, hmm_devmem_migrate(&vram->devmem, current->mm, addr,
						     AT(addr, 24)));
	KUNIT_EXPECT_EQ(test, 8, migrate(vram, fake, addr, 24));
	KUNIT_EXPECT_EQ(test, -EFAULT, migrate(vram, fake, AT(addr, 8), 8));
	KUNIT_EXPECT_EQ(test, 8, stamped(addr, 24));
}

/*
 * hmm_mirror_migrate() moves and mirrors nothing after a gap: it counts pages from the
 * start.
 */
static void ends_at_gap(struct kunit *test)
{
	struct hmm_fake *fake;
	struct vram *vram = vram_new(test, &fake);
	unsigned long addr = hmm_fake_map_huge(fake, 2);

	stamp(test, addr, 8);
	KUNIT_ASSERT_EQ(test, 0, vm_munmap(AT(addr, 8), 8 * PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, 8, migrate(vram, fake, addr, 1024));
	KUNIT_EXPECT_EQ(test, 0, hmm_fake_valid(fake, AT(addr, 512), 512));
	KUNIT_EXPECT_EQ(test, 504, vram_in_use(vram));
	KUNIT_EXPECT_EQ(test, 8, stamped(addr, 8));
}

/* A cancelled job ends a migration with -ECANCELED. */
static void cancelled_job_ends_migration(struct kunit *test)
{
	struct hmm_fake *fake;
	struct vram *vram = vram_new(test, &fake);
	unsigned long addr = hmm_fake_map_huge(fake, 2);
	struct hmm_job job;

	hmm_job_init(&job);
	stamp(test, addr, 1024);
	hmm_mirror_cancel_job(&fake->mirror, &job);
	KUNIT_EXPECT_EQ(test, -ECANCELED,
			hmm_mirror_migrate(&fake->mirror, &vram->devmem, addr, AT(addr, 1024),
					   HMM_FAULT_WRITE, &job));
	KUNIT_EXPECT_GE(test, 512, vram_in_use(vram));
	KUNIT_EXPECT_EQ(test, 0, hmm_fake_valid(fake, addr, 1024));
	KUNIT_EXPECT_EQ(test, 1024, stamped(addr, 1024));
}

/* Read-only pages migrate, and are mirrored for reading. */
static void read_only_pages_migrate(struct kunit *test)
{
	struct hmm_fake *fake;
	struct vram *vram = vram_new(test, &fake);
	unsigned long addr = hmm_fake_map_small(fake, 8);

	stamp(test, addr, 8);
	KUNIT_ASSERT_EQ(test, 0, hmm_test_syscall(__NR_mprotect, addr, 8 * PAGE_SIZE,
						  PROT_READ, 0, 0));
	KUNIT_EXPECT_EQ(test, -EPERM, migrate(vram, fake, addr, 8));
	KUNIT_EXPECT_EQ(test, 8, hmm_mirror_migrate(&fake->mirror, &vram->devmem, addr,
						    AT(addr, 8), HMM_FAULT_READ, NULL));
	KUNIT_EXPECT_EQ(test, 8, on_device(fake, addr, 8));
	KUNIT_EXPECT_EQ(test, 0, hmm_fake_writable(fake, addr, 8));
	KUNIT_EXPECT_EQ(test, 8, stamped(addr, 8));
}

/*
 * Bad ranges, bad flags, mirrors without the owner or the page table, and dead mirrors are
 * rejected.
 */
static void bad_arguments(struct kunit *test)
{
	struct hmm_fake *fake;
	struct vram *vram = vram_new(test, &fake);
	unsigned long addr = hmm_fake_map_small(fake, 8);
	struct hmm_fake *own = hmm_fake_new(test, HMM_MIRROR_OWN_TABLES);

	stamp(test, addr, 8);
	KUNIT_EXPECT_EQ(test, -EINVAL, migrate(vram, fake, addr, 0));
	KUNIT_EXPECT_EQ(test, -EINVAL, migrate(vram, fake, addr + 1, 8));
	KUNIT_EXPECT_EQ(test, -EINVAL, migrate(vram, fake, TASK_SIZE - PAGE_SIZE, 2));
	KUNIT_EXPECT_EQ(test, -EINVAL, migrate_back(vram, addr, 0));
	KUNIT_EXPECT_EQ(test, -EINVAL, migrate_back(vram, addr + 1, 8));
	KUNIT_EXPECT_EQ(test, -EINVAL, migrate_back(vram, TASK_SIZE - PAGE_SIZE, 2));
	KUNIT_EXPECT_EQ(test, -EINVAL, hmm_mirror_migrate(&fake->mirror, &vram->devmem, addr,
							  AT(addr, 8), 0, NULL));
	hmm_fake_set_owner(own, vram);
	KUNIT_EXPECT_EQ(test, -EINVAL, migrate(vram, own, addr, 8));
	hmm_fake_set_owner(fake, fake);
	KUNIT_EXPECT_EQ(test, -EINVAL, migrate(vram, fake, addr, 8));
	hmm_fake_unregister(fake);
	KUNIT_EXPECT_EQ(test, -ESRCH, migrate(vram, fake, addr, 8));
	KUNIT_EXPECT_EQ(test, 0, vram->copied);
}

static struct kunit_case hmm_devmem_cases[] = {
	KUNIT_CASE(there_and_back),
	KUNIT_CASE(device_pages_stay),
	KUNIT_CASE(untouched_pages_are_zero),
	KUNIT_CASE(huge_page_to_block),
	KUNIT_CASE(huge_page_without_block),
	KUNIT_CASE(part_of_huge_page),
	KUNIT_CASE(device_is_full),
	KUNIT_CASE(copy_fails),
	KUNIT_CASE(cpu_fault_returns_neighbours),
	KUNIT_CASE(bad_neighbour_stays),
	KUNIT_CASE(huge_page_stays),
	KUNIT_CASE(eviction_returns_pages),
	KUNIT_CASE(unmapped_in_eviction),
	KUNIT_CASE(eviction_ignores_unmapped_page),
	KUNIT_CASE(gap_is_skipped),
	KUNIT_CASE(ends_at_gap),
	KUNIT_CASE(cancelled_job_ends_migration),
	KUNIT_CASE(read_only_pages_migrate),
	KUNIT_CASE(bad_arguments),
	{}
};

static struct kunit_suite hmm_devmem_suite = {
	.name = "hmm_devmem",
	.test_cases = hmm_devmem_cases,
};

kunit_test_suite(hmm_devmem_suite);
