/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * HMM mirror page table, internal interface: hmm_pt.c has the tables, hmm_pt_iter.c reads
 * them, hmm_pt_stage.c publishes entries. mm/hmm_pt.c has the protocol.
 */
#ifndef _MM_HMM_PT_H
#define _MM_HMM_PT_H

#include <linux/hmm_mirror.h>
#include <linux/mm.h>

#include "hmm_dma.h"

/**
 * struct hmm_pt_spare - tables that are in no page table
 * @tables: those of each level, all zero
 * @count: how many there are
 */
struct hmm_pt_spare {
	struct list_head tables[HMM_PT_LEVELS];
	unsigned long count[HMM_PT_LEVELS];
};

/**
 * struct hmm_pt_stage - entries that are about to be published
 * @start: address of the first
 * @end: first address behind the last
 * @words: one for each page, every one with %HMM_PTE_VALID; with the order of the
 *	block that the page belongs to, which may reach out of the range
 * @maps: if the page table has DMA addresses, what hmm_dma_map() returned for each
 *	block that is going to be published, or was and is not any more; at its first
 *	page, 0 elsewhere
 * @mapped: up to which address there are @maps, when hmm_pt_prepare() has failed
 * @spare: what the page table lacks to hold them
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
