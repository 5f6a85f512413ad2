// SPDX-License-Identifier: GPL-2.0
/*
 * A device with an IOMMU, for the KUnit tests of the mirror page table. The IOMMU records
 * each mapping and its direction, and never uses a DMA address twice.
 */
#include <kunit/device.h>
#include <linux/cleanup.h>
#include <linux/dma-map-ops.h>
#include <linux/hash.h>
#include <linux/vmalloc.h>

#include "hmm_pt_test.h"

/* Maximum number of concurrent mappings */
#define MAPPINGS	BIT(17)
#define HASH_BITS	14

struct hmm_pt_iommu {
	struct hlist_head used[BIT(HASH_BITS)];
	struct hlist_head spare;
	/* Number of mappings that were never used */
	unsigned long fresh;
	struct hmm_pt_mapping mappings[MAPPINGS];
};

static struct hlist_head *bucket(struct hmm_pt_device *device, dma_addr_t addr)
{
	return &device->iommu->used[hash_64(addr >> PAGE_SHIFT, HASH_BITS)];
}

/* Record the complaint for the end of the test, because the caller may hold a spinlock. */
static void complain(struct hmm_pt_device *device, const char *complaint)
{
	if (!device->complaint)
		device->complaint = complaint;
}

const struct hmm_pt_mapping *hmm_pt_device_find(struct hmm_pt_device *device, dma_addr_t addr)
{
	struct hmm_pt_mapping *mapping;

	hlist_for_each_entry(mapping, bucket(device, addr), node) {
		if (mapping->addr == addr)
			return mapping;
	}
	return NULL;
}

/*
 * Leave a page between mappings, so that they are contiguous only if the test sets
 * @adjacent.
 */
static dma_addr_t new_addr(struct hmm_pt_device *device, size_t size)
{
	dma_addr_t addr = ALIGN(device->next + (device->adjacent ? 0 : PAGE_SIZE), size);

	device->next = addr + size;
	return addr;
}

static struct hmm_pt_mapping *new_mapping(struct hmm_pt_iommu *iommu)
{
	struct hmm_pt_mapping *mapping;

	if (hlist_empty(&iommu->spare))
		return iommu->fresh ? &iommu->mappings[--iommu->fresh] : NULL;
	mapping = hlist_entry(iommu->spare.first, struct hmm_pt_mapping, node);
	hlist_del(&mapping->node);
	return mapping;
}

static dma_addr_t map_locked(struct hmm_pt_device *device, struct page *page,
			     unsigned long offset, size_t size,
			     enum dma_data_direction dir, unsigned long attrs)
{
	struct hmm_pt_mapping *mapping;

	if (attrs != (DMA_ATTR_SKIP_CPU_SYNC | DMA_ATTR_NO_WARN))
		complain(device, "attributes of a mapping");
	if (offset || !is_power_of_2(size) || size < PAGE_SIZE ||
	    page_to_pfn(page) & ((size >> PAGE_SHIFT) - 1))
		complain(device, "mapping of no block");
	mapping = device->left && (!device->largest || size <= device->largest) ?
		  new_mapping(device->iommu) : NULL;
	if (!mapping)
		return DMA_MAPPING_ERROR;

	mapping->addr = new_addr(device, size);
	mapping->pfn = page_to_pfn(page);
	mapping->size = size;
	mapping->dir = dir;
	hlist_add_head(&mapping->node, bucket(device, mapping->addr));
	device->left--;
	device->maps++;
	device->live++;
	return mapping->addr;
}

static dma_addr_t map_page(struct device *dev, struct page *page, unsigned long offset,
			   size_t size, enum dma_data_direction dir, unsigned long attrs)
{
	struct hmm_pt_device *device = dev_get_drvdata(dev);
	dma_addr_t addr;

	spin_lock(&device->lock);
	addr = map_locked(device, page, offset, size, dir, attrs);
	spin_unlock(&device->lock);
	return addr;
}

static void unmap_locked(struct hmm_pt_device *device, dma_addr_t addr, size_t size,
			 enum dma_data_direction dir, unsigned long attrs)
{
	struct hmm_pt_mapping *mapping;

	mapping = (struct hmm_pt_mapping *)hmm_pt_device_find(device, addr);
	if (!mapping) {
		complain(device, "unmapping of an unmapped address");
		return;
	}
	if (mapping->size != size)
		complain(device, "unmapping with a wrong size");
	if (mapping->dir != dir)
		complain(device, "unmapping in a wrong direction");
	if (attrs != (DMA_ATTR_SKIP_CPU_SYNC | DMA_ATTR_NO_WARN))
		complain(device, "attributes of an unmapping");
	hlist_del(&mapping->node);
	hlist_add_head(&mapping->node, &device->iommu->spare);
	device->unmaps++;
	device->live--;
}

static void unmap_page(struct device *dev, dma_addr_t addr, size_t size,
		       enum dma_data_direction dir, unsigned long attrs)
{
	struct hmm_pt_device *device = dev_get_drvdata(dev);

	spin_lock(&device->lock);
	unmap_locked(device, addr, size, dir, attrs);
	spin_unlock(&device->lock);
}

static const struct dma_map_ops hmm_pt_device_ops = {
	.map_page = map_page,
	.unmap_page = unmap_page,
};

static void free_iommu(void *iommu)
{
	vfree(iommu);
}

struct hmm_pt_device *hmm_pt_device(struct kunit *test)
{
	struct hmm_pt_device *device = kunit_kzalloc(test, sizeof(*device), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, device);
	device->iommu = vzalloc(sizeof(*device->iommu));
	KUNIT_ASSERT_NOT_NULL(test, device->iommu);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, free_iommu, device->iommu));
	device->iommu->fresh = MAPPINGS;
	spin_lock_init(&device->lock);
	device->left = -1;
	device->next = SZ_4G;

	device->dev = kunit_device_register(test, "hmm_pt");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, device->dev);
	device->mask = DMA_BIT_MASK(64);
	device->dev->dma_mask = &device->mask;
	dev_set_drvdata(device->dev, device);
	set_dma_ops(device->dev, &hmm_pt_device_ops);
	return device;
}
