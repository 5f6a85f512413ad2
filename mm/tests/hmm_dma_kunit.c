// SPDX-License-Identifier: GPL-2.0
/*
 * DMA addresses in the mirror page table: when blocks are mapped and unmapped, and which
 * devices and pages are rejected
 *
 * Devices that are not coherent are not tested, because all devices on x86 are coherent.
 */
#include <kunit/device.h>
#include <kunit/static_stub.h>
#include <linux/dma-map-ops.h>
#include <linux/pgtable.h>
#include <linux/sizes.h>
#include <linux/swiotlb.h>

#include "hmm_pt_test.h"

/* A pfn without memory. The tests never access it, because it never becomes dirty. */
#define FAR_PFN		BIT(40)
#define PAGES(shift)	BIT((shift) - PAGE_SHIFT)
#define READ_FAR	(HMM_PTE_VALID | FAR_PFN)
#define WRITE_FAR	(HMM_PT_TEST_RW | FAR_PFN)

static struct hmm_pt_device *device_of(struct kunit *test)
{
	struct hmm_pt_test *t = test->priv;

	return t->device;
}

/* Return the mapping of the block at @addr, or NULL if the device may not access it. */
static const struct hmm_pt_mapping *find_block(struct kunit *test, unsigned long addr)
{
	hmm_pte_t pte = hmm_pt_test_lookup(test, addr);
	unsigned long size = PAGE_SIZE << hmm_pte_order(pte);
	unsigned long offset = addr & (size - 1);
	const struct hmm_pt_mapping *mapping;

	if (!hmm_pte_valid(pte) || hmm_pte_dma(pte) == DMA_MAPPING_ERROR)
		return NULL;
	mapping = hmm_pt_device_find(device_of(test), hmm_pte_dma(pte) - offset);
	KUNIT_ASSERT_NOT_NULL(test, mapping);
	KUNIT_EXPECT_EQ(test, size, mapping->size);
	KUNIT_EXPECT_EQ(test, hmm_pte_pfn(pte), mapping->pfn + (offset >> PAGE_SHIFT));
	return mapping;
}

static void expect_mapped(struct kunit *test, unsigned long addr, unsigned int order,
			  enum dma_data_direction dir)
{
	const struct hmm_pt_mapping *mapping = find_block(test, addr);

	KUNIT_ASSERT_NOT_NULL(test, mapping);
	KUNIT_EXPECT_EQ(test, PAGE_SIZE << order, mapping->size);
	KUNIT_EXPECT_EQ(test, dir, mapping->dir);
}

static unsigned int count_runs(struct kunit *test, unsigned long start, unsigned long end)
{
	struct hmm_pt_test *t = test->priv;
	struct hmm_pt_iter iter;
	unsigned int runs = 0;

	down_read(&t->lock);
	hmm_pt_for_each(&iter, t, start, end)
		runs++;
	up_read(&t->lock);
	return runs;
}

/* Return the result of hmm_pt_init() for @dev, with a temporary page table. */
static int try_init(struct kunit *test, struct device *dev)
{
	struct hmm_pt_test *t = test->priv;
	struct hmm_pt pt;
	int ret = hmm_pt_init(&pt, &t->lock, dev);

	if (!ret)
		hmm_pt_destroy(&pt);
	return ret;
}

/* A device without a DMA mask is rejected. */
static void dma_needs_mask(struct kunit *test)
{
	struct hmm_pt_device *device = device_of(test);

	KUNIT_EXPECT_EQ(test, 0, try_init(test, device->dev));
	device->dev->dma_mask = NULL;
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP, try_init(test, device->dev));
	device->dev->dma_mask = &device->mask;
}

/* A device whose DMA is forced to bounce is rejected, unless an IOMMU translates for it. */
static void dma_bounce_rejected(struct kunit *test)
{
	struct hmm_pt_device *device = device_of(test);
	const struct dma_map_ops *ops = get_dma_ops(device->dev);
	struct io_tlb_mem *mem = kunit_kzalloc(test, sizeof(*mem), GFP_KERNEL);
	struct io_tlb_mem *old = device->dev->dma_io_tlb_mem;

	KUNIT_ASSERT_NOT_NULL(test, mem);
	device->dev->dma_io_tlb_mem = mem;
	set_dma_ops(device->dev, NULL);
	KUNIT_EXPECT_EQ(test, 0, try_init(test, device->dev));
	mem->force_bounce = true;
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP, try_init(test, device->dev));
	set_dma_ops(device->dev, ops);
	KUNIT_EXPECT_EQ(test, 0, try_init(test, device->dev));
	device->dev->dma_io_tlb_mem = old;
}

/* hmm_mirror_check_device() reports to probe() whether the device can reach all memory. */
static void dma_check_device(struct kunit *test)
{
	struct hmm_pt_device *device = device_of(test);
	const struct dma_map_ops *ops = get_dma_ops(device->dev);
	u64 mask = device->mask, limit = device->dev->bus_dma_limit;

	KUNIT_EXPECT_EQ(test, 0, hmm_mirror_check_device(device->dev));
	set_dma_ops(device->dev, NULL);
	device->mask = DMA_BIT_MASK(64);
	KUNIT_EXPECT_EQ(test, 0, hmm_mirror_check_device(device->dev));
	device->dev->bus_dma_limit = DMA_BIT_MASK(20);
	KUNIT_EXPECT_EQ(test, -ERANGE, hmm_mirror_check_device(device->dev));
	device->dev->bus_dma_limit = limit;
	device->mask = DMA_BIT_MASK(20);
	KUNIT_EXPECT_EQ(test, -ERANGE, hmm_mirror_check_device(device->dev));
	/* An IOMMU can map all memory. */
	set_dma_ops(device->dev, ops);
	KUNIT_EXPECT_EQ(test, 0, hmm_mirror_check_device(device->dev));
	device->mask = mask;
	device->dev->dma_mask = NULL;
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP, hmm_mirror_check_device(device->dev));
	device->dev->dma_mask = &device->mask;
}

static unsigned long granule;

static unsigned long some_granule(struct device *dev)
{
	return granule;
}

/* A device whose IOMMU has a granule larger than a page is rejected. */
static void dma_large_granule_rejected(struct kunit *test)
{
	struct hmm_pt_device *device = device_of(test);

	KUNIT_EXPECT_EQ(test, PAGE_SIZE, hmm_dma_granule(device->dev));
	kunit_activate_static_stub(test, hmm_dma_granule, some_granule);
	granule = PAGE_SIZE;
	KUNIT_EXPECT_EQ(test, 0, try_init(test, device->dev));
	granule = PAGE_SIZE / 2;
	KUNIT_EXPECT_EQ(test, 0, try_init(test, device->dev));
	granule = 2 * PAGE_SIZE;
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP, try_init(test, device->dev));
	kunit_deactivate_static_stub(test, hmm_dma_granule);
}

/*
 * Without an IOMMU, pages beyond the mask fail, and the last page within the mask
 * succeeds.
 */
static void dma_beyond_mask(struct kunit *test)
{
	struct hmm_pt_device *device = device_of(test);
	const struct dma_map_ops *ops = get_dma_ops(device->dev);
	struct hmm_pt_test *t = test->priv;
	unsigned long last = HMM_PT_TEST_RW | (PAGES(32) - 1), words[2];

	set_dma_ops(device->dev, NULL);
	device->mask = DMA_BIT_MASK(32);
	hmm_pt_test_map(test, 0, 1, last);
	KUNIT_EXPECT_EQ(test, SZ_4G - PAGE_SIZE, hmm_pte_dma(hmm_pt_test_lookup(test, 0)));
	hmm_pt_test_map(test, PMD_SIZE, 2, hmm_pt_test_block(last - 1, 1));
	KUNIT_EXPECT_EQ(test, 1, hmm_pte_order(hmm_pt_test_lookup(test, PMD_SIZE)));
	KUNIT_EXPECT_EQ(test, SZ_4G - PAGE_SIZE,
			hmm_pte_dma(hmm_pt_test_lookup(test, PMD_SIZE + PAGE_SIZE)));

	hmm_pt_test_fill(words, 2, last);
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP, hmm_pt_test_publish(test, PUD_SIZE, 2, words));
	device->mask = DMA_BIT_MASK(32) - PAGE_SIZE;
	hmm_pt_test_fill(words, 2, hmm_pt_test_block(last - 1, 1));
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP, hmm_pt_test_publish(test, PUD_SIZE, 2, words));
	KUNIT_EXPECT_FALSE(test, hmm_pt_test_occupied(test, PUD_SIZE, TASK_SIZE_MAX));
	/* Memory that gets no DMA mapping is never beyond the mask. */
	hmm_pt_test_map(test, PUD_SIZE, 1, WRITE_FAR | HMM_PTE_DEVICE | HMM_PTE_UNADDRESSABLE);

	device->mask = DMA_BIT_MASK(64);
	hmm_pt_destroy(&t->pt);
	set_dma_ops(device->dev, ops);
	KUNIT_ASSERT_EQ(test, 0, hmm_pt_init(&t->pt, &t->lock, device->dev));
}

/* With an IOMMU, pages beyond the mask succeed. */
static void dma_iommu_mask(struct kunit *test)
{
	struct hmm_pt_device *device = device_of(test);

	device->mask = DMA_BIT_MASK(32);
	hmm_pt_test_map(test, 0, 1, WRITE_FAR);
	expect_mapped(test, 0, 0, DMA_BIDIRECTIONAL);
	device->mask = DMA_BIT_MASK(64);
}

static const struct {
	const char *name;
	unsigned int order;
} sizes[] = {
	{ "page", 0 },
	{ "order 4", 4 },
	{ "pmd", PMD_ORDER },
	{ "order 13", PMD_ORDER + 4 },
	{ "pud", PUD_SHIFT - PAGE_SHIFT },
};

static void size_desc(const typeof(*sizes) *size, char *desc)
{
	strscpy(desc, size->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(sizes, sizes, size_desc);

static unsigned int size_order(struct kunit *test)
{
	const typeof(*sizes) *size = test->param_value;

	return size->order;
}

/* A block has one DMA mapping, and an invalidation of any part unmaps all of it. */
static void dma_block(struct kunit *test)
{
	unsigned int order = size_order(test);
	unsigned long addr = BIT(39), size = PAGE_SIZE << order, start, end;
	struct hmm_pt_device *device = device_of(test);
	dma_addr_t dma;

	hmm_pt_test_map(test, addr - PAGE_SIZE, 1, READ_FAR);
	hmm_pt_test_map(test, addr + size, 1, READ_FAR);
	hmm_pt_test_map(test, addr, BIT(order), hmm_pt_test_block(WRITE_FAR, order));
	KUNIT_EXPECT_EQ(test, 3, device->maps);
	KUNIT_EXPECT_EQ(test, 3, device->live);
	expect_mapped(test, addr, order, DMA_BIDIRECTIONAL);
	expect_mapped(test, addr + size - PAGE_SIZE, order, DMA_BIDIRECTIONAL);
	dma = hmm_pte_dma(hmm_pt_test_lookup(test, addr));
	KUNIT_EXPECT_EQ(test, dma + size - PAGE_SIZE,
			hmm_pte_dma(hmm_pt_test_lookup(test, addr + size - PAGE_SIZE)));

	/* The device's own page table write-protects the page, so the DMA mapping stays. */
	start = addr + size / 2 / PAGE_SIZE * PAGE_SIZE;
	end = start + PAGE_SIZE;
	hmm_pt_test_protect(test, &start, &end);
	KUNIT_EXPECT_EQ(test, 3, device->maps);
	KUNIT_EXPECT_EQ(test, 0, device->unmaps);
	expect_mapped(test, addr, order, DMA_BIDIRECTIONAL);
	KUNIT_EXPECT_EQ(test, dma, hmm_pte_dma(hmm_pt_test_lookup(test, addr)));

	start = addr + size / 2 / PAGE_SIZE * PAGE_SIZE;
	end = start + PAGE_SIZE;
	hmm_pt_test_clear(test, &start, &end);
	KUNIT_EXPECT_EQ(test, 1, device->unmaps);
	KUNIT_EXPECT_NULL(test, hmm_pt_device_find(device, dma));
	expect_mapped(test, addr - PAGE_SIZE, 0, DMA_TO_DEVICE);
	expect_mapped(test, addr + size, 0, DMA_TO_DEVICE);
	/* Nothing is left that could be unmapped twice. */
	start = addr - PAGE_SIZE;
	end = addr + size + PAGE_SIZE;
	hmm_pt_test_clear(test, &start, &end);
	KUNIT_EXPECT_EQ(test, 3, device->unmaps);
	KUNIT_EXPECT_EQ(test, 0, device->live);
}

/* An upgrade to write access keeps the old DMA mapping until the driver was called. */
static void dma_upgrade_keeps_old_mapping(struct kunit *test)
{
	unsigned int order = size_order(test);
	unsigned long npages = BIT(order), addr = BIT(39);
	unsigned long *words = hmm_pt_test_words(test, npages);
	struct hmm_pt_device *device = device_of(test);
	struct hmm_pt_test *t = test->priv;
	struct hmm_pt_stage stage;
	dma_addr_t dma;

	hmm_pt_test_map(test, addr, npages, hmm_pt_test_block(READ_FAR, order));
	expect_mapped(test, addr, order, DMA_TO_DEVICE);
	dma = hmm_pte_dma(hmm_pt_test_lookup(test, addr));

	hmm_pt_test_fill(words, npages, hmm_pt_test_block(WRITE_FAR, order));
	hmm_pt_test_stage(test, &stage, addr, npages, words);
	KUNIT_ASSERT_EQ(test, 0, hmm_pt_prepare(&t->pt, &stage));
	KUNIT_EXPECT_EQ(test, dma, hmm_pte_dma(hmm_pt_test_lookup(test, addr)));
	KUNIT_ASSERT_EQ(test, 0, hmm_pt_test_publish_staged(test, &stage));
	KUNIT_EXPECT_NE(test, dma, hmm_pte_dma(hmm_pt_test_lookup(test, addr)));
	expect_mapped(test, addr, order, DMA_BIDIRECTIONAL);
	expect_mapped(test, addr + ((npages - 1) << PAGE_SHIFT), order, DMA_BIDIRECTIONAL);
	KUNIT_EXPECT_EQ(test, 0, device->unmaps);
	KUNIT_EXPECT_NOT_NULL(test, hmm_pt_device_find(device, dma));

	hmm_pt_unstage(&t->pt, &stage);
	KUNIT_EXPECT_EQ(test, 1, device->unmaps);
	KUNIT_EXPECT_NULL(test, hmm_pt_device_find(device, dma));
	expect_mapped(test, addr, order, DMA_BIDIRECTIONAL);
	/* A read-only entry keeps the writable DMA mapping. */
	hmm_pt_test_map(test, addr, npages, hmm_pt_test_block(READ_FAR, order));
	expect_mapped(test, addr, order, DMA_BIDIRECTIONAL);
	KUNIT_EXPECT_EQ(test, 1, device->live);
}

/*
 * An entry with the right mapping keeps its DMA address, and needs no second one
 * meanwhile.
 */
static void dma_address_kept(struct kunit *test)
{
	unsigned int order = size_order(test);
	unsigned long npages = BIT(order), addr = BIT(39), start = addr, end = addr + PAGE_SIZE;
	unsigned long *words = hmm_pt_test_words(test, npages);
	unsigned long word = hmm_pt_test_block(WRITE_FAR, order);
	struct hmm_pt_device *device = device_of(test);
	struct hmm_pt_test *t = test->priv;
	struct hmm_pt_stage stage;
	dma_addr_t dma;

	hmm_pt_test_map(test, addr, npages, word);
	dma = hmm_pte_dma(hmm_pt_test_lookup(test, addr));
	device->left = 0;
	hmm_pt_test_map(test, addr, npages, word);
	hmm_pt_test_map(test, addr, npages, hmm_pt_test_block(READ_FAR, order));
	hmm_pt_test_map(test, addr, npages, word);
	KUNIT_EXPECT_EQ(test, dma, hmm_pte_dma(hmm_pt_test_lookup(test, addr)));
	expect_mapped(test, addr, order, DMA_BIDIRECTIONAL);
	expect_mapped(test, addr + ((npages - 1) << PAGE_SHIFT), order, DMA_BIDIRECTIONAL);
	KUNIT_EXPECT_EQ(test, 1, device->maps);
	KUNIT_EXPECT_EQ(test, 0, device->unmaps);

	/* If the mapping is gone at the time of publication, a new one is needed. */
	hmm_pt_test_fill(words, npages, word);
	hmm_pt_test_stage(test, &stage, addr, npages, words);
	KUNIT_ASSERT_EQ(test, 0, hmm_pt_prepare(&t->pt, &stage));
	hmm_pt_test_clear(test, &start, &end);
	KUNIT_EXPECT_EQ(test, -EAGAIN, hmm_pt_test_publish_staged(test, &stage));
	device->left = -1;
	KUNIT_ASSERT_EQ(test, 0, hmm_pt_prepare(&t->pt, &stage));
	KUNIT_EXPECT_EQ(test, 0, hmm_pt_test_publish_staged(test, &stage));
	hmm_pt_unstage(&t->pt, &stage);
	KUNIT_EXPECT_EQ(test, 2, device->maps);
	KUNIT_EXPECT_EQ(test, 1, device->live);
	expect_mapped(test, addr, order, DMA_BIDIRECTIONAL);

	/* If the stage is dropped, a kept mapping stays, too. */
	hmm_pt_test_stage(test, &stage, addr, npages, words);
	KUNIT_ASSERT_EQ(test, 0, hmm_pt_prepare(&t->pt, &stage));
	hmm_pt_unstage(&t->pt, &stage);
	expect_mapped(test, addr, order, DMA_BIDIRECTIONAL);
	/* A different page gets a mapping of its own. */
	hmm_pt_test_map(test, addr, npages, word + npages);
	KUNIT_EXPECT_EQ(test, 3, device->maps);
	KUNIT_EXPECT_EQ(test, 1, device->live);
	expect_mapped(test, addr, order, DMA_BIDIRECTIONAL);
}

/* If no contiguous DMA addresses are available, smaller blocks are mapped. */
static void dma_smaller_blocks(struct kunit *test)
{
	unsigned long addr = BIT(39), npages = BIT(PMD_ORDER), i;
	unsigned long word = hmm_pt_test_block(WRITE_FAR, PMD_ORDER);
	struct hmm_pt_device *device = device_of(test);

	device->largest = PAGE_SIZE << 4;
	hmm_pt_test_map(test, addr, npages, word);
	KUNIT_EXPECT_EQ(test, npages >> 4, device->live);
	for (i = 0; i < npages; i += 15)
		expect_mapped(test, addr + i * PAGE_SIZE, 4, DMA_BIDIRECTIONAL);
	device->largest = PAGE_SIZE;
	hmm_pt_test_map(test, addr, npages, word + npages);
	KUNIT_EXPECT_EQ(test, npages, device->live);
	/* When they are available again, one block is mapped. */
	device->largest = 0;
	hmm_pt_test_map(test, addr, npages, word);
	KUNIT_EXPECT_EQ(test, 1, device->live);
	expect_mapped(test, addr, PMD_ORDER, DMA_BIDIRECTIONAL);
}

/* The zero page is mapped once, however often it is mirrored. */
static void dma_zero_page(struct kunit *test)
{
	unsigned long addr = BIT(39), start = addr, end = addr + BIT(30), i;
	unsigned long zero = HMM_PTE_VALID | my_zero_pfn(0);
	struct hmm_pt_device *device = device_of(test);
	struct hmm_pt_test *t = test->priv;
	dma_addr_t dma;

	for (i = 0; i < 1000; i++)
		hmm_pt_test_map(test, addr + i * PMD_SIZE / 2, 1, zero);
	KUNIT_EXPECT_EQ(test, 1, device->live);
	KUNIT_EXPECT_EQ(test, 1, device->maps);
	dma = hmm_pte_dma(hmm_pt_test_lookup(test, addr));
	KUNIT_EXPECT_EQ(test, dma, hmm_pte_dma(hmm_pt_test_lookup(test, addr + 99 * PMD_SIZE)));
	KUNIT_EXPECT_EQ(test, DMA_TO_DEVICE, hmm_pt_device_find(device, dma)->dir);
	/* A page that replaces it gets a mapping of its own. */
	hmm_pt_test_map(test, addr, 1, WRITE_FAR);
	expect_mapped(test, addr, 0, DMA_BIDIRECTIONAL);
	KUNIT_EXPECT_EQ(test, 2, device->live);
	/* Another zero page gets a mapping of its own, too. */
	t->pt.zero.pfn++;
	hmm_pt_test_map(test, addr, 1, zero);
	KUNIT_EXPECT_NE(test, dma, hmm_pte_dma(hmm_pt_test_lookup(test, addr)));
	expect_mapped(test, addr, 0, DMA_TO_DEVICE);
	KUNIT_EXPECT_EQ(test, 2, device->live);
	t->pt.zero.pfn--;
	hmm_pt_test_clear(test, &start, &end);
	KUNIT_EXPECT_EQ(test, 1, device->live);
	KUNIT_EXPECT_EQ(test, 2, device->unmaps);
}

static const struct {
	unsigned int from;
	unsigned int to;
} replacements[] = {
	{ 0, 0 },
	{ 0, 4 },
	{ 4, 0 },
	{ 2, 4 },
	{ 0, PMD_ORDER },
	{ PMD_ORDER, 0 },
	{ 4, PMD_ORDER },
	{ PMD_ORDER, 4 },
	{ 0, PMD_ORDER + 4 },
	{ PMD_ORDER + 4, 0 },
	{ PMD_ORDER, PMD_ORDER + 4 },
	{ PMD_ORDER + 4, PMD_ORDER },
	{ PMD_ORDER + 4, PMD_ORDER + 4 },
	{ PMD_ORDER, PUD_SHIFT - PAGE_SHIFT },
	{ PUD_SHIFT - PAGE_SHIFT, PMD_ORDER },
	{ PMD_ORDER + 4, PUD_SHIFT - PAGE_SHIFT },
	{ PUD_SHIFT - PAGE_SHIFT, PMD_ORDER + 4 },
};

static void replacement_desc(const typeof(*replacements) *replacement, char *desc)
{
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "order %u by order %u", replacement->from,
		 replacement->to);
}

KUNIT_ARRAY_PARAM(replacements, replacements, replacement_desc);

/*
 * Blocks of one order replace blocks of another. The old mappings stay until the stage
 * ends.
 */
static void dma_replace(struct kunit *test)
{
	const typeof(*replacements) *by = test->param_value;
	unsigned int order = max(by->from, by->to), i;
	unsigned long npages = BIT(order), addr = BIT(39) - (PAGE_SIZE << order);
	unsigned long *words = hmm_pt_test_words(test, npages);
	unsigned long olds = BIT(order - by->from), news = BIT(order - by->to);
	struct hmm_pt_device *device = device_of(test);
	struct hmm_pt_test *t = test->priv;
	struct hmm_pt_stage stage;
	dma_addr_t *dmas;

	dmas = (dma_addr_t *)hmm_pt_test_words(test, olds);
	hmm_pt_test_map(test, addr, npages, hmm_pt_test_block(WRITE_FAR, by->from));
	KUNIT_EXPECT_EQ(test, olds, device->maps);
	for (i = 0; i < olds; i++)
		dmas[i] = hmm_pte_dma(hmm_pt_test_lookup(test, addr + (i * PAGE_SIZE << by->from)));

	/* Use different pages, because a mapping of the same page would be kept. */
	hmm_pt_test_fill(words, npages, hmm_pt_test_block(READ_FAR, by->to) + npages);
	hmm_pt_test_stage(test, &stage, addr, npages, words);
	KUNIT_ASSERT_EQ(test, 0, hmm_pt_prepare(&t->pt, &stage));
	KUNIT_ASSERT_EQ(test, 0, hmm_pt_test_publish_staged(test, &stage));
	KUNIT_EXPECT_EQ(test, olds + news, device->live);
	for (i = 0; i < olds; i++)
		KUNIT_EXPECT_NOT_NULL(test, hmm_pt_device_find(device, dmas[i]));

	hmm_pt_unstage(&t->pt, &stage);
	KUNIT_EXPECT_EQ(test, news, device->live);
	KUNIT_EXPECT_EQ(test, olds + news, device->maps);
	for (i = 0; i < olds; i++)
		KUNIT_EXPECT_NULL(test, hmm_pt_device_find(device, dmas[i]));
	for (i = 0; i < news; i++) {
		expect_mapped(test, addr + (i * PAGE_SIZE << by->to), by->to, DMA_TO_DEVICE);
		expect_mapped(test, addr + ((i + 1) * PAGE_SIZE << by->to) - PAGE_SIZE, by->to,
			      DMA_TO_DEVICE);
	}
}

/*
 * If any mapping fails, the earlier ones of the stage are undone, and the old entries
 * stay.
 */
static void dma_map_fails(struct kunit *test)
{
	unsigned long addr = PMD_SIZE - 8 * PAGE_SIZE;
	struct hmm_pt_device *device = device_of(test);
	unsigned long words[16];
	unsigned int i, fails;

	hmm_pt_test_map(test, addr, 12, READ_FAR);
	KUNIT_EXPECT_EQ(test, 12, device->live);
	for (fails = 0; fails <= 16; fails++) {
		hmm_pt_test_fill(words, 16, WRITE_FAR);
		device->left = fails;
		if (!hmm_pt_test_publish(test, addr, 16, words))
			break;
		KUNIT_EXPECT_EQ(test, 12, device->live);
		for (i = 0; i < 12; i++)
			expect_mapped(test, addr + i * PAGE_SIZE, 0, DMA_TO_DEVICE);
		KUNIT_EXPECT_FALSE(test, hmm_pt_test_writable(test, 0, TASK_SIZE_MAX));
		KUNIT_EXPECT_FALSE(test, hmm_pt_test_occupied(test, addr + 12 * PAGE_SIZE,
							      TASK_SIZE_MAX));
		device->left = 0;
		KUNIT_EXPECT_EQ(test, -ENOSPC, hmm_pt_test_publish(test, addr, 16, words));
	}
	KUNIT_EXPECT_EQ(test, 16, fails);
	KUNIT_EXPECT_EQ(test, 16, device->live);
	for (i = 0; i < 16; i++)
		expect_mapped(test, addr + i * PAGE_SIZE, 0, DMA_BIDIRECTIONAL);
	device->left = -1;
}

/* If a stage must be prepared again, it keeps the mappings that it has made. */
static void dma_prepared_again(struct kunit *test)
{
	unsigned long addr = PUD_SIZE, start = 0, end = TASK_SIZE_MAX, words[8];
	struct hmm_pt_device *device = device_of(test);
	struct hmm_pt_test *t = test->priv;
	struct hmm_pt_stage stage;

	hmm_pt_test_map(test, addr, 1, READ_FAR);
	hmm_pt_test_fill(words, 8, hmm_pt_test_block(WRITE_FAR, 1));
	hmm_pt_test_stage(test, &stage, addr, 8, words);
	KUNIT_ASSERT_EQ(test, 0, hmm_pt_prepare(&t->pt, &stage));
	KUNIT_EXPECT_EQ(test, 1 + 4, device->maps);
	hmm_pt_test_clear(test, &start, &end);
	hmm_pt_reclaim(&t->pt, 0, TASK_SIZE_MAX);
	KUNIT_EXPECT_EQ(test, -EAGAIN, hmm_pt_test_publish_staged(test, &stage));
	KUNIT_EXPECT_EQ(test, 4, device->live);
	KUNIT_ASSERT_EQ(test, 0, hmm_pt_prepare(&t->pt, &stage));
	KUNIT_EXPECT_EQ(test, 1 + 4, device->maps);
	KUNIT_EXPECT_EQ(test, 0, hmm_pt_test_publish_staged(test, &stage));
	hmm_pt_unstage(&t->pt, &stage);
	KUNIT_EXPECT_EQ(test, 1 + 4, device->maps);
	KUNIT_EXPECT_EQ(test, 4, device->live);
	expect_mapped(test, addr + 6 * PAGE_SIZE, 1, DMA_BIDIRECTIONAL);

	/* A stage that is dropped leaves nothing mapped. */
	hmm_pt_test_stage(test, &stage, 2 * addr, 8, words);
	KUNIT_ASSERT_EQ(test, 0, hmm_pt_prepare(&t->pt, &stage));
	KUNIT_EXPECT_EQ(test, 8, device->live);
	hmm_pt_unstage(&t->pt, &stage);
	KUNIT_EXPECT_EQ(test, 4, device->live);
}

/* Private device memory has no DMA address, next to memory that has one. */
static void dma_unaddressable(struct kunit *test)
{
	unsigned int order = size_order(test);
	unsigned long size = PAGE_SIZE << order, addr = BIT(39), start, end;
	unsigned long word = hmm_pt_test_block(WRITE_FAR | HMM_PTE_DEVICE, order);
	struct hmm_pt_device *device = device_of(test);

	hmm_pt_test_map(test, addr, BIT(order), word | HMM_PTE_UNADDRESSABLE);
	KUNIT_EXPECT_EQ(test, 0, device->maps);
	KUNIT_EXPECT_EQ(test, DMA_MAPPING_ERROR, hmm_pte_dma(hmm_pt_test_lookup(test, addr)));
	KUNIT_EXPECT_EQ(test, DMA_MAPPING_ERROR,
			hmm_pte_dma(hmm_pt_test_lookup(test, addr + size - PAGE_SIZE)));
	hmm_pt_test_map(test, addr + size, BIT(order), (word | HMM_PTE_UNADDRESSABLE) + BIT(order));
	KUNIT_EXPECT_EQ(test, 1, count_runs(test, 0, TASK_SIZE_MAX));

	/* The memory migrates to system memory and back. */
	start = addr;
	end = addr + PAGE_SIZE;
	hmm_pt_test_clear(test, &start, &end);
	hmm_pt_test_map(test, addr, BIT(order), word);
	KUNIT_EXPECT_EQ(test, 1, device->maps);
	expect_mapped(test, addr, order, DMA_BIDIRECTIONAL);
	KUNIT_EXPECT_EQ(test, 2, count_runs(test, 0, TASK_SIZE_MAX));
	hmm_pt_test_map(test, addr, BIT(order), word | HMM_PTE_UNADDRESSABLE);
	KUNIT_EXPECT_EQ(test, 0, device->live);
	KUNIT_EXPECT_EQ(test, DMA_MAPPING_ERROR,
			hmm_pte_dma(hmm_pt_test_lookup(test, addr + size - PAGE_SIZE)));
}

/* A run is contiguous in virtual addresses, in pfns and in DMA addresses. */
static void dma_runs(struct kunit *test)
{
	unsigned int order = size_order(test);
	unsigned long size = PAGE_SIZE << order, addr = BIT(39) - 2 * size, pfn = BIT(order);
	unsigned long word = hmm_pt_test_block(WRITE_FAR, order), i;
	unsigned long start = addr, end = addr + 3 * size;
	struct hmm_pt_device *device = device_of(test);
	struct hmm_pt_test *t = test->priv;
	struct hmm_pt_iter iter;

	/* Contiguous pfns only; the last boundary is also one between tables. */
	for (i = 0; i < 3; i++)
		hmm_pt_test_map(test, addr + i * size, BIT(order), word + i * pfn);
	KUNIT_EXPECT_EQ(test, 3, count_runs(test, 0, TASK_SIZE_MAX));
	KUNIT_EXPECT_EQ(test, 3, count_runs(test, addr, addr + 3 * size));
	i = 0;
	down_read(&t->lock);
	hmm_pt_for_each(&iter, t, addr, addr + 3 * size) {
		KUNIT_EXPECT_EQ(test, addr + i * size, iter.addr);
		KUNIT_EXPECT_EQ(test, addr + ++i * size, iter.end);
	}
	up_read(&t->lock);
	for (i = 0; i < 3; i++)
		expect_mapped(test, addr + i * size, order, DMA_BIDIRECTIONAL);

	/* DMA addresses are contiguous, too. */
	device->adjacent = true;
	hmm_pt_test_clear(test, &start, &end);
	for (i = 0; i < 3; i++)
		hmm_pt_test_map(test, addr + i * size, BIT(order), word + i * pfn);
	KUNIT_EXPECT_EQ(test, 1, count_runs(test, 0, TASK_SIZE_MAX));
	KUNIT_EXPECT_EQ(test, 1, count_runs(test, addr + size, addr + 3 * size));
	/* Contiguous DMA addresses only */
	start = addr;
	end = addr + 3 * size;
	hmm_pt_test_clear(test, &start, &end);
	for (i = 0; i < 3; i++)
		hmm_pt_test_map(test, addr + i * size, BIT(order), word - i * pfn);
	KUNIT_EXPECT_EQ(test, hmm_pte_dma(hmm_pt_test_lookup(test, addr)) + 2 * size,
			hmm_pte_dma(hmm_pt_test_lookup(test, addr + 2 * size)));
	KUNIT_EXPECT_EQ(test, 3, count_runs(test, 0, TASK_SIZE_MAX));
}

/* One call maps blocks of several sizes. */
static void dma_mixed(struct kunit *test)
{
	unsigned long addr = BIT(39) - PMD_SIZE, npages = 3 * PTRS_PER_PTE, i, start, end;
	unsigned long *words = hmm_pt_test_words(test, npages);
	struct hmm_pt_device *device = device_of(test);

	for (i = 0; i < PTRS_PER_PTE; i++) {
		unsigned long word = i % 32 < 16 ? hmm_pt_test_block(READ_FAR, 4) : WRITE_FAR;

		words[i] = word + i;
		words[PTRS_PER_PTE + i] = hmm_pt_test_block(WRITE_FAR, PMD_ORDER) + i;
		words[2 * PTRS_PER_PTE + i] = READ_FAR + 2 * i;
	}
	KUNIT_ASSERT_EQ(test, 0, hmm_pt_test_publish(test, addr, npages, words));
	KUNIT_EXPECT_EQ(test, 16 * 17 + 1 + PTRS_PER_PTE, device->live);
	for (i = 0; i < npages; i++)
		find_block(test, addr + (i << PAGE_SHIFT));
	expect_mapped(test, addr, 4, DMA_TO_DEVICE);
	expect_mapped(test, addr + 16 * PAGE_SIZE, 0, DMA_BIDIRECTIONAL);
	expect_mapped(test, addr + PMD_SIZE, PMD_ORDER, DMA_BIDIRECTIONAL);

	/* From the last page of a block of order 4 to the last page but one */
	start = addr + 15 * PAGE_SIZE;
	end = addr + 3 * PMD_SIZE - PAGE_SIZE;
	hmm_pt_test_clear(test, &start, &end);
	KUNIT_EXPECT_EQ(test, addr, start);
	KUNIT_EXPECT_EQ(test, 1, device->live);
	expect_mapped(test, end, 0, DMA_TO_DEVICE);
}

/* A page table with DMA addresses needs 16 bytes for each entry, and the directories. */
static void dma_memory(struct kunit *test)
{
	unsigned long word = READ_FAR | HMM_PTE_DEVICE | HMM_PTE_UNADDRESSABLE;
	struct hmm_pt_test *t = test->priv;
	unsigned long bytes;

	/* Unmapped entries need the same tables. */
	hmm_pt_test_map(test, BIT(39), PAGES(PUD_SHIFT), word);
	bytes = atomic_long_read(&t->pt.bytes);
	kunit_info(test, "1 GiB of 4K pages: %lu bytes\n", bytes);
	/* 16 bytes for each entry, and the directories */
	KUNIT_EXPECT_LE(test, 10 * bytes, 161 * PAGES(PUD_SHIFT));
}

static struct kunit_case hmm_dma_cases[] = {
	KUNIT_CASE(dma_needs_mask),
	KUNIT_CASE(dma_bounce_rejected),
	KUNIT_CASE(dma_check_device),
	KUNIT_CASE(dma_large_granule_rejected),
	KUNIT_CASE(dma_beyond_mask),
	KUNIT_CASE(dma_iommu_mask),
	KUNIT_CASE_PARAM(dma_block, sizes_gen_params),
	KUNIT_CASE_PARAM(dma_upgrade_keeps_old_mapping, sizes_gen_params),
	KUNIT_CASE_PARAM(dma_address_kept, sizes_gen_params),
	KUNIT_CASE(dma_smaller_blocks),
	KUNIT_CASE(dma_zero_page),
	KUNIT_CASE_PARAM(dma_replace, replacements_gen_params),
	KUNIT_CASE(dma_map_fails),
	KUNIT_CASE(dma_prepared_again),
	KUNIT_CASE_PARAM(dma_unaddressable, sizes_gen_params),
	KUNIT_CASE_PARAM(dma_runs, sizes_gen_params),
	KUNIT_CASE(dma_mixed),
	KUNIT_CASE(dma_memory),
	{}
};

static struct kunit_suite hmm_dma_suite = {
	.name = "hmm_dma",
	.init = hmm_pt_test_init_dma,
	.exit = hmm_pt_test_exit,
	.test_cases = hmm_dma_cases,
};

kunit_test_suite(hmm_dma_suite);
