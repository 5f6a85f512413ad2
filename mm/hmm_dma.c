// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * HMM DMA addresses: where a device that is not the CPU finds the pages that it
 * mirrors.
 *
 * CPU and device use a page at the same time, with nobody between their accesses who
 * could sync a copy or a cache. So a device gets addresses only where DMA reaches the
 * page itself, coherently: where the DMA API would bounce, mirroring is refused.
 */
#include <kunit/static_stub.h>
#include <kunit/visibility.h>
#include <linux/dma-direct.h>
#include <linux/dma-map-ops.h>
#include <linux/dma-mapping.h>
#include <linux/iommu.h>
#include <linux/iommu-dma.h>

#include "hmm_internal.h"

/* Whoever would have to sync is refused. Failure is told by an errno, not in the log. */
#define HMM_DMA_ATTRS	(DMA_ATTR_SKIP_CPU_SYNC | DMA_ATTR_NO_WARN)

static_assert(PAGE_SIZE > HMM_DMA_FLAGS);

/* No IOMMU translates: pages are where they are. */
static bool hmm_dma_is_direct(struct device *dev)
{
	return !use_dma_iommu(dev) && !get_dma_ops(dev);
}

/* By way of Xen's DMA operations memory that is in one piece here rarely is. */
#ifdef CONFIG_SWIOTLB_XEN
#include <xen/swiotlb-xen.h>

static bool hmm_dma_is_xen(struct device *dev)
{
	return get_dma_ops(dev) == &xen_swiotlb_dma_ops;
}
#else
static bool hmm_dma_is_xen(struct device *dev)
{
	return false;
}
#endif

static bool hmm_dma_bounces(struct device *dev)
{
	return hmm_dma_is_xen(dev) ||
	       (hmm_dma_is_direct(dev) && is_swiotlb_force_bounce(dev));
}

#ifdef CONFIG_IOMMU_DMA
static unsigned long hmm_dma_iommu_granule(struct device *dev)
{
	return BIT(__ffs(iommu_get_domain_for_dev(dev)->pgsize_bitmap));
}
#else
static unsigned long hmm_dma_iommu_granule(struct device *dev)
{
	return PAGE_SIZE;
}
#endif

/* The least that can be mapped: what is beside a page in that would be a copy. */
VISIBLE_IF_KUNIT unsigned long hmm_dma_granule(struct device *dev)
{
	KUNIT_STATIC_STUB_REDIRECT(hmm_dma_granule, dev);

	return use_dma_iommu(dev) ? hmm_dma_iommu_granule(dev) : PAGE_SIZE;
}

/**
 * hmm_dma_check() - can a device mirror by DMA at all?
 * @dev: device
 *
 * Context: Any.
 * Return: 0; -EOPNOTSUPP if its DMA is not coherent, is bounced always, or if its
 * IOMMU cannot map a single page.
 */
int hmm_dma_check(struct device *dev)
{
	if (!dev->dma_mask || !dev_is_dma_coherent(dev) || hmm_dma_bounces(dev) ||
	    hmm_dma_granule(dev) > PAGE_SIZE)
		return -EOPNOTSUPP;
	return 0;
}

static enum dma_data_direction hmm_dma_direction(bool write)
{
	return write ? DMA_BIDIRECTIONAL : DMA_TO_DEVICE;
}

/**
 * hmm_dma_map() - let a device access a block of pages
 * @dev: device that hmm_dma_check() accepts
 * @pfn: the first page
 * @order: log2 of how many there are
 * @write: whether the device may write them
 * @map: out: the mapping, for hmm_dma_unmap()
 *
 * The pages need not be allocated any more: whoever maps them finds out later, and
 * before the device does.
 *
 * Context: May sleep.
 * Return: 0; -EOPNOTSUPP if the device does not reach the pages; -ENOMEM.
 */
int hmm_dma_map(struct device *dev, unsigned long pfn, unsigned int order, bool write,
		dma_addr_t *map)
{
	size_t size = PAGE_SIZE << order;
	dma_addr_t addr;

	if (hmm_dma_is_direct(dev) &&
	    !dma_capable(dev, phys_to_dma(dev, PFN_PHYS(pfn)), size, true))
		return -EOPNOTSUPP;

	addr = dma_map_page_attrs(dev, pfn_to_page(pfn), 0, size, hmm_dma_direction(write),
				  HMM_DMA_ATTRS);
	if (dma_mapping_error(dev, addr))
		return -ENOMEM;
	*map = addr | (dma_addr_t)order << HMM_DMA_ORDER_SHIFT | HMM_DMA_MAPPED |
	       (write ? HMM_DMA_WRITE : 0);
	return 0;
}

/**
 * hmm_dma_unmap() - a device does not access a block of pages any more
 * @dev: device
 * @map: of hmm_dma_map()
 *
 * Context: Any. Does not sleep.
 */
void hmm_dma_unmap(struct device *dev, dma_addr_t map)
{
	dma_unmap_page_attrs(dev, map & ~(dma_addr_t)HMM_DMA_FLAGS,
			     PAGE_SIZE << hmm_dma_order(map),
			     hmm_dma_direction(map & HMM_DMA_WRITE), HMM_DMA_ATTRS);
}
