// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * HMM DMA addresses: the addresses at which a device accesses the pages that it mirrors.
 *
 * CPU and device use a page at the same time, so that there is no point in time at which a copy
 * or a cache could be synced. A device therefore gets an address only if its DMA reaches the page
 * itself, coherently. If the DMA API would bounce, mirroring fails.
 */
#include <kunit/static_stub.h>
#include <kunit/visibility.h>
#include <linux/dma-direct.h>
#include <linux/dma-map-ops.h>
#include <linux/dma-mapping.h>
#include <linux/huge_mm.h>
#include <linux/iommu.h>
#include <linux/iommu-dma.h>

#include "hmm_dma.h"

/* Devices that need a sync are refused. An errno reports a failure, so the log need not. */
#define HMM_DMA_ATTRS	(DMA_ATTR_SKIP_CPU_SYNC | DMA_ATTR_NO_WARN)

static_assert(PAGE_SIZE > HMM_DMA_FLAGS);

/* Does DMA bypass any IOMMU, so that the physical address determines the DMA address? */
static bool hmm_dma_is_direct(struct device *dev)
{
	return !use_dma_iommu(dev) && !get_dma_ops(dev);
}

/* Xen's DMA operations bounce most blocks: they are rarely contiguous in machine memory. */
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

/* The smallest size of a mapping. If it is larger than a page, a page cannot be mapped alone. */
VISIBLE_IF_KUNIT unsigned long hmm_dma_granule(struct device *dev)
{
	KUNIT_STATIC_STUB_REDIRECT(hmm_dma_granule, dev);

	return use_dma_iommu(dev) ? hmm_dma_iommu_granule(dev) : PAGE_SIZE;
}

/**
 * hmm_dma_check() - can a device mirror by DMA?
 * @dev: device
 *
 * Context: Any.
 * Return: 0; -EOPNOTSUPP if the device has no DMA mask, if its DMA is not coherent or always
 * bounces, or if its IOMMU cannot map a single page.
 */
int hmm_dma_check(struct device *dev)
{
	if (!dev->dma_mask || !dev_is_dma_coherent(dev) || hmm_dma_bounces(dev) ||
	    hmm_dma_granule(dev) > PAGE_SIZE)
		return -EOPNOTSUPP;
	return 0;
}

/* The last address that the device can access without an IOMMU */
static u64 hmm_dma_limit(struct device *dev)
{
	return min_not_zero(*dev->dma_mask, dev->bus_dma_limit);
}

/**
 * hmm_dma_reaches_all() - is all memory within the DMA mask of a device and its bus?
 * @dev: device for which hmm_dma_check() returns 0
 *
 * Context: Any.
 * Return: true if it is, or if an IOMMU translates.
 */
bool hmm_dma_reaches_all(struct device *dev)
{
	return !hmm_dma_is_direct(dev) || dma_get_required_mask(dev) <= hmm_dma_limit(dev);
}

/**
 * hmm_dma_warn() - warn if faults of some memory will fail
 * @dev: device
 *
 * Context: Any.
 */
void hmm_dma_warn(struct device *dev)
{
	if (!hmm_dma_reaches_all(dev))
		dev_warn_once(dev, "no IOMMU: faults fail above %#llx, and memory needs a DMA mask of %#llx\n",
			      hmm_dma_limit(dev), dma_get_required_mask(dev));
}

static enum dma_data_direction hmm_dma_direction(bool write)
{
	return write ? DMA_BIDIRECTIONAL : DMA_TO_DEVICE;
}

static int hmm_dma_map_pages(struct device *dev, unsigned long pfn, unsigned int order,
			     bool write, dma_addr_t *map)
{
	size_t size = PAGE_SIZE << order;
	dma_addr_t addr;

	if (hmm_dma_is_direct(dev) &&
	    !dma_capable(dev, phys_to_dma(dev, PFN_PHYS(pfn)), size, true))
		return -EOPNOTSUPP;

	addr = dma_map_page_attrs(dev, pfn_to_page(pfn), 0, size, hmm_dma_direction(write),
				  HMM_DMA_ATTRS);
	/* The DMA API reports no reason. Usually the IOMMU has no address left. */
	if (dma_mapping_error(dev, addr))
		return -ENOSPC;
	*map = addr | (dma_addr_t)order << HMM_DMA_ORDER_SHIFT | HMM_DMA_MAPPED |
	       (write ? HMM_DMA_WRITE : 0);
	return 0;
}

static void hmm_dma_unmap_pages(struct device *dev, dma_addr_t map)
{
	dma_unmap_page_attrs(dev, map & ~(dma_addr_t)HMM_DMA_FLAGS,
			     PAGE_SIZE << hmm_dma_order(map),
			     hmm_dma_direction(map & HMM_DMA_WRITE), HMM_DMA_ATTRS);
}

#ifdef CONFIG_TRANSPARENT_HUGEPAGE
static bool hmm_dma_is_huge_zero(unsigned long pfn)
{
	return (pfn & ~(BIT(PMD_ORDER) - 1)) == READ_ONCE(huge_zero_pfn);
}
#else
static bool hmm_dma_is_huge_zero(unsigned long pfn)
{
	return false;
}
#endif

/*
 * Map a part of the zero page or of the huge zero page, which is mapped as a whole. The huge zero
 * page of an mm does not change while the mm lives. But @pfn can be out of date, in which case it
 * is not published, and belong to another huge zero page. So it is compared.
 */
static int hmm_dma_map_zero(struct hmm_pt *pt, struct hmm_pt_zero *zero, unsigned int zero_order,
			    unsigned long pfn, unsigned int order, dma_addr_t *map)
{
	unsigned long first = pfn & ~(BIT(zero_order) - 1);
	int ret;

	guard(mutex)(&pt->zero_lock);
	if (!zero->map) {
		ret = hmm_dma_map_pages(pt->dma_dev, first, zero_order, false, &zero->map);
		if (ret)
			return ret;
		zero->pfn = first;
	}
	if (zero->pfn != first)
		return -EBUSY;
	*map = (zero->map & ~(dma_addr_t)HMM_DMA_FLAGS) +
	       ((dma_addr_t)(pfn - first) << PAGE_SHIFT);
	*map |= (dma_addr_t)order << HMM_DMA_ORDER_SHIFT | HMM_DMA_MAPPED | HMM_DMA_SHARED;
	return 0;
}

/**
 * hmm_dma_map() - map a block of pages for the device
 * @pt: mirror page table, whose device hmm_dma_check() accepts
 * @pfn: the first page
 * @order: log2 of the number of pages
 * @write: whether the device may write the pages
 * @map: out: the mapping, for hmm_dma_unmap()
 *
 * The zero page and the huge zero page, which memory that was never written consists of, are
 * mapped only once, however many addresses they are mirrored at.
 *
 * The pages may have been freed: then the caller finds that they are out of date, and unmaps them
 * before the device can use the mapping.
 *
 * Context: May sleep.
 * Return: 0; -EOPNOTSUPP if DMA of the device cannot reach the pages; -ENOSPC if there is no DMA
 * address left.
 */
int hmm_dma_map(struct hmm_pt *pt, unsigned long pfn, unsigned int order, bool write,
		dma_addr_t *map)
{
	if (!write && is_zero_pfn(pfn) && !hmm_dma_map_zero(pt, &pt->zero, 0, pfn, order, map))
		return 0;
	if (!write && hmm_dma_is_huge_zero(pfn) && order <= PMD_ORDER &&
	    !hmm_dma_map_zero(pt, &pt->huge_zero, PMD_ORDER, pfn, order, map))
		return 0;
	return hmm_dma_map_pages(pt->dma_dev, pfn, order, write, map);
}

/**
 * hmm_dma_unmap() - unmap a block of pages
 * @pt: mirror page table
 * @map: mapping of hmm_dma_map()
 *
 * Context: The device no longer uses the mapping. Does not sleep.
 */
void hmm_dma_unmap(const struct hmm_pt *pt, dma_addr_t map)
{
	if (!(map & HMM_DMA_SHARED))
		hmm_dma_unmap_pages(pt->dma_dev, map);
}

/**
 * hmm_dma_unmap_zero() - unmap the zero pages
 * @pt: mirror page table without any other mapping
 *
 * Context: Any. Does not sleep.
 */
void hmm_dma_unmap_zero(struct hmm_pt *pt)
{
	if (pt->zero.map)
		hmm_dma_unmap_pages(pt->dma_dev, pt->zero.map);
	if (pt->huge_zero.map)
		hmm_dma_unmap_pages(pt->dma_dev, pt->huge_zero.map);
}
