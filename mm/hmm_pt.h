/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * HMM mirror page table, internal interface: hmm_pt.c manages the tables, hmm_pt_iter.c reads
 * them, hmm_pt_stage.c publishes entries. mm/hmm_pt.c has the protocol.
 */
#ifndef _MM_HMM_PT_H
#define _MM_HMM_PT_H

#include <linux/hmm_mirror.h>
#include <linux/mm.h>

#include "hmm_dma.h"

/**
 * struct hmm_pt_spare - tables that are in no page table
 * @tables: list of the tables of each level; all their slots are 0
 * @count: number of tables of each level
 */
struct hmm_pt_spare {
	struct list_head tables[HMM_PT_LEVELS];
	unsigned long count[HMM_PT_LEVELS];
};

/**
 * struct hmm_pt_stage - entries that are about to be published
 * @start: first address
 * @end: end address, exclusive
 * @words: one entry for each page, all with %HMM_PTE_VALID. The order of an entry is that of
 *	its block, which can extend beyond the range until hmm_pt_prepare() reduces the order
 * @maps: DMA mappings, or NULL if the page table has no DMA addresses. Before hmm_pt_publish(),
 *	each new block has its mapping of hmm_dma_map() at its first page; after it, each
 *	replaced block has its old mapping at its first page. All others are 0
 * @mapped: end of the blocks that are mapped, if hmm_pt_prepare() has failed to map the next
 *	one; otherwise @start
 * @spare: the tables that the page table needs in addition
 */
struct hmm_pt_stage {
	unsigned long		start;
	unsigned long		end;
	unsigned long		*words;
	dma_addr_t		*maps;
	unsigned long		mapped;
	struct hmm_pt_spare	spare;
};

int hmm_pt_init(struct hmm_pt *pt, struct rw_semaphore *lock, struct device *dma_dev);
void hmm_pt_destroy(struct hmm_pt *pt);

void hmm_pt_stage(struct hmm_pt_stage *stage, unsigned long start, unsigned long end,
		  unsigned long *words, dma_addr_t *maps);
int hmm_pt_prepare(struct hmm_pt *pt, struct hmm_pt_stage *stage);
int hmm_pt_publish(struct hmm_pt *pt, struct hmm_pt_stage *stage);
void hmm_pt_unstage(struct hmm_pt *pt, struct hmm_pt_stage *stage);
bool hmm_pt_stage_next_map(const struct hmm_pt_stage *stage, unsigned long *addr,
			   unsigned long *next);

hmm_pte_t hmm_pt_load(struct hmm_pt *pt, unsigned long addr);
bool hmm_pt_occupied(struct hmm_pt *pt, unsigned long start, unsigned long end);
bool hmm_pt_writable(struct hmm_pt *pt, unsigned long start, unsigned long end);
void hmm_pt_begin_change(struct hmm_pt *pt, unsigned long start, unsigned long last);
void hmm_pt_end_change(struct hmm_pt *pt);
bool hmm_pt_has_none(struct hmm_pt *pt, unsigned long start, unsigned long end, bool write);
void hmm_pt_widen(struct hmm_pt *pt, unsigned long *start, unsigned long *end);
void hmm_pt_clear(struct hmm_pt *pt, unsigned long *start, unsigned long *end);
void hmm_pt_write_protect(struct hmm_pt *pt, unsigned long *start, unsigned long *end);
void hmm_pt_set_dirty(struct hmm_pt *pt, unsigned long start, unsigned long end);
void hmm_pt_reclaim(struct hmm_pt *pt, unsigned long start, unsigned long end);

struct page *hmm_pt_alloc_table(struct hmm_pt *pt, unsigned int level);

#endif /* _MM_HMM_PT_H */
