/* SPDX-License-Identifier: GPL-2.0 */
/* Helpers that the KUnit tests of the mirror page table share */
#ifndef _MM_TESTS_HMM_PT_TEST_H
#define _MM_TESTS_HMM_PT_TEST_H

#include <kunit/test.h>
#include <linux/dma-mapping.h>
#include <linux/hmm_mirror.h>
#include <linux/rwsem.h>
#include <linux/spinlock.h>

#include "../hmm_pt.h"

#define HMM_PT_TEST_RW	(HMM_PTE_VALID | HMM_PTE_WRITE)

/**
 * struct hmm_pt_mapping - memory that a device may access at a DMA address
 * @node: in a list of &struct hmm_pt_iommu
 * @addr: the DMA address
 * @pfn: the first page
 * @size: size in bytes
 * @dir: the direction, which permits writing or not
 */
struct hmm_pt_mapping {
	struct hlist_node node;
	dma_addr_t addr;
	unsigned long pfn;
	size_t size;
	enum dma_data_direction dir;
};

/**
 * struct hmm_pt_device - a device that checks its DMA mappings
 * @dev: the kernel's device
 * @mask: its DMA mask
 * @lock: protects the mappings
 * @iommu: the mappings
 * @next: lowest DMA address of the next mapping
 * @adjacent: the next mapping directly follows the one before, if alignment permits
 * @left: number of mappings before one fails; negative for no limit
 * @largest: maximum size of a mapping; 0 for no limit
 * @maps: number of mappings made
 * @unmaps: number of mappings undone
 * @live: number of current mappings
 * @complaint: the first misuse of the DMA API, or NULL
 */
struct hmm_pt_device {
	struct device *dev;
	u64 mask;
	/* Held while a mapping is looked up, made, or undone */
	spinlock_t lock;
	struct hmm_pt_iommu *iommu;
	dma_addr_t next;
	bool adjacent;
	long left;
	size_t largest;
	unsigned long maps;
	unsigned long unmaps;
	unsigned long live;
	const char *complaint;
};

struct hmm_pt_device *hmm_pt_device(struct kunit *test);
const struct hmm_pt_mapping *hmm_pt_device_find(struct hmm_pt_device *device, dma_addr_t addr);

/**
 * struct hmm_pt_test - a page table without a mirror
 * @lock: replaces the lock of the mirror
 * @pt: the page table
 * @device: the device of its DMA addresses, or NULL
 * @maps: array for the DMA mappings of 1 GiB, if there is a device
 */
struct hmm_pt_test {
	struct rw_semaphore lock;
	struct hmm_pt pt;
	struct hmm_pt_device *device;
	dma_addr_t *maps;
};

int hmm_pt_test_init(struct kunit *test);
int hmm_pt_test_init_dma(struct kunit *test);
void hmm_pt_test_exit(struct kunit *test);

unsigned long *hmm_pt_test_words(struct kunit *test, unsigned long npages);
unsigned long hmm_pt_test_block(unsigned long word, unsigned int order);
void hmm_pt_test_stage(struct kunit *test, struct hmm_pt_stage *stage, unsigned long addr,
		       unsigned long npages, unsigned long *words);
int hmm_pt_test_publish_staged(struct kunit *test, struct hmm_pt_stage *stage);
void hmm_pt_test_fill(unsigned long *words, unsigned long npages, unsigned long word);
int hmm_pt_test_publish(struct kunit *test, unsigned long addr, unsigned long npages,
			unsigned long *words);
void hmm_pt_test_map(struct kunit *test, unsigned long addr, unsigned long npages,
		     unsigned long word);
hmm_pte_t hmm_pt_test_lookup(struct kunit *test, unsigned long addr);
void hmm_pt_test_clear(struct kunit *test, unsigned long *start, unsigned long *end);
void hmm_pt_test_protect(struct kunit *test, unsigned long *start, unsigned long *end);
void hmm_pt_test_dirty(struct kunit *test, unsigned long start, unsigned long end);
bool hmm_pt_test_occupied(struct kunit *test, unsigned long start, unsigned long end);
bool hmm_pt_test_writable(struct kunit *test, unsigned long start, unsigned long end);

/* hmm_pt_memcg.c and hmm_pt_random.c define these tests of the suites in hmm_pt_kunit.c. */
void hmm_pt_memcg(struct kunit *test);
void hmm_pt_random(struct kunit *test);

#endif /* _MM_TESTS_HMM_PT_TEST_H */
