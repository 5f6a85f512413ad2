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
#include <linux/huge_mm.h>
#include <linux/iommu.h>
#include <linux/iommu-dma.h>

#include "hmm_dma.h"

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

/* The last address that a device reaches without an IOMMU */
static u64 hmm_dma_limit(struct device *dev)
{
	return min_not_zero(*dev->dma_mask, dev->bus_dma_limit);
}

/**
 * hmm_dma_reaches_all() - is all memory within the DMA mask of a device, and of its bus?
 * @dev: device that hmm_dma_check() returns 0 for
 *
 * Context: Any.
 * Return: whether it is, or an IOMMU translates.
 */
bool hmm_dma_reaches_all(struct device *dev)
{
	return !hmm_dma_is_direct(dev) || dma_get_required_mask(dev) <= hmm_dma_limit(dev);
}

/**
 * hmm_dma_warn() - warn if faults of some memory are going to fail
 * @dev: device
 *
 * Context: Any.
 */
void hmm_dma_warn(struct device *dev)
{
	if (!hmm_dma_reaches_all(dev))
		dev_warn_once(dev, "mirrors memory up to %#llx only: no IOMMU, and memory up to %#llx\n",
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
	/* Why is not told. The IOMMU has run out of addresses, as a rule. */
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
 * Map a part of the zero page, or of the huge one, which is mapped as a whole. The huge zero
 * page that a mm maps stays the same while the mm lives. But a pfn that is out of date, and
 * will not be published, may be that of another one: so it is compared.
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
 * hmm_dma_map() - let the device access a block of pages
 * @pt: mirror page table, with a device that hmm_dma_check() accepts
 * @pfn: the first page
 * @order: log2 of how many there are
 * @write: whether the device may write them
 * @map: out: the mapping, for hmm_dma_unmap()
 *
 * Memory that was never written is one page, or one huge page, at any number of addresses.
 * That is mapped once.
 *
 * The pages need not be allocated any more: whoever maps them finds out later, and
 * before the device does.
 *
 * Context: May sleep.
 * Return: 0; -EOPNOTSUPP if the device does not reach the pages; -ENOSPC if it does not get
 * an address for them.
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
 * hmm_dma_unmap() - the device does not access a block of pages any more
 * @pt: mirror page table
 * @map: of hmm_dma_map()
 *
 * Context: Any. Does not sleep.
 */
void hmm_dma_unmap(const struct hmm_pt *pt, dma_addr_t map)
{
	if (!(map & HMM_DMA_SHARED))
		hmm_dma_unmap_pages(pt->dma_dev, map);
}

/**
 * hmm_dma_unmap_zero() - undo what hmm_dma_map() has mapped once
 * @pt: mirror page table, of which nothing else is mapped any more
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
