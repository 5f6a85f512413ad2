/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * HMM DMA addresses, internal interface of hmm_dma.c.
 */
#ifndef _MM_HMM_DMA_H
#define _MM_HMM_DMA_H

#include <linux/hmm_mirror.h>

/*
 * A DMA mapping is one word: the page-aligned DMA address, with flags and the order in the low
 * bits, which hmm_dma_unmap() needs. 0 means that there is no mapping. In a stage, HMM_DMA_KEPT
 * and the order stand for a block that keeps its present mapping.
 */
#define HMM_DMA_MAPPED		BIT(0)
#define HMM_DMA_WRITE		BIT(1)
#define HMM_DMA_KEPT		BIT(2)
#define HMM_DMA_SHARED		BIT(3)		/* part of a zero page: not unmapped */
#define HMM_DMA_ORDER_SHIFT	4
#define HMM_DMA_FLAGS		(BIT(HMM_DMA_ORDER_SHIFT + 5) - 1)

static inline unsigned int hmm_dma_order(dma_addr_t map)
{
	return (map & HMM_DMA_FLAGS) >> HMM_DMA_ORDER_SHIFT;
}

#ifdef CONFIG_HMM_DMA
int hmm_dma_check(struct device *dev);
bool hmm_dma_reaches_all(struct device *dev);
void hmm_dma_warn(struct device *dev);
int hmm_dma_map(struct hmm_pt *pt, unsigned long pfn, unsigned int order, bool write,
		dma_addr_t *map);
void hmm_dma_unmap(const struct hmm_pt *pt, dma_addr_t map);
void hmm_dma_unmap_zero(struct hmm_pt *pt);
#else
static inline int hmm_dma_check(struct device *dev)
{
	return -EOPNOTSUPP;
}

static inline bool hmm_dma_reaches_all(struct device *dev)
{
	return false;
}

static inline void hmm_dma_warn(struct device *dev)
{
}

static inline int hmm_dma_map(struct hmm_pt *pt, unsigned long pfn, unsigned int order,
			      bool write, dma_addr_t *map)
{
	return -EOPNOTSUPP;
}

static inline void hmm_dma_unmap(const struct hmm_pt *pt, dma_addr_t map)
{
}

static inline void hmm_dma_unmap_zero(struct hmm_pt *pt)
{
}
#endif

#if IS_ENABLED(CONFIG_KUNIT)
unsigned long hmm_dma_granule(struct device *dev);
#endif

#endif /* _MM_HMM_DMA_H */
