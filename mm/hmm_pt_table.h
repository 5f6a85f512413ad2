/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * HMM mirror page table: layout of the tables. Only the files of the page table include this.
 */
#ifndef _MM_HMM_PT_TABLE_H
#define _MM_HMM_PT_TABLE_H

#include "hmm_pt.h"

/**
 * struct hmm_ptdesc - descriptor of a table, overlaid on its struct page
 * @__page_flags: same as page flags
 * @list: entry in a list of &struct hmm_pt_spare while the table is in no page table
 * @__page_mapping: not used
 * @write: summary: a bit for each group of slots; set if there is an entry with
 *	%HMM_PTE_WRITE in or below the slots of the group
 * @valid: summary: a bit for each group of slots; set if there is any entry in or below them
 */
struct hmm_ptdesc {
	unsigned long		__page_flags;
	struct list_head	list;
	unsigned long		__page_mapping;
	unsigned long		write;
	unsigned long		valid;
};

#define HMM_PTDESC_MATCH(page_field, field)					\
	static_assert(offsetof(struct page, page_field) == offsetof(struct hmm_ptdesc, field))
HMM_PTDESC_MATCH(flags, __page_flags);
HMM_PTDESC_MATCH(lru, list);
HMM_PTDESC_MATCH(mapping, __page_mapping);
HMM_PTDESC_MATCH(index, write);
HMM_PTDESC_MATCH(private, valid);
#undef HMM_PTDESC_MATCH
static_assert(sizeof(struct hmm_ptdesc) <= sizeof(struct page));

static inline struct hmm_ptdesc *hmm_page_ptdesc(struct page *page)
{
	return (struct hmm_ptdesc *)page;
}

static inline struct page *hmm_ptdesc_page(struct hmm_ptdesc *ptdesc)
{
	return (struct page *)ptdesc;
}

/**
 * struct hmm_pt_span - the slots of a table that a range covers
 * @page: the table
 * @slots: slots of the table
 * @at: level of the table
 * @level: number of that level; 0 is the level of the pte tables
 * @first: first slot of the range
 * @last: last slot of the range
 * @groups: mask of the groups that contain @first to @last
 */
struct hmm_pt_span {
	struct page *page;
	unsigned long *slots;
	const struct hmm_pt_level *at;
	unsigned int level;
	unsigned int first;
	unsigned int last;
	unsigned long groups;
};

/**
 * struct hmm_pt_op - how to restrict entries
 * @pt: the page table
 * @keep: mask of the bits that entries keep; 0 removes them
 * @stage: stage that gets the DMA mappings of removed entries; NULL unmaps them immediately
 */
struct hmm_pt_op {
	const struct hmm_pt *pt;
	unsigned long keep;
	struct hmm_pt_stage *stage;
};

static inline bool hmm_pt_is_table(unsigned long word)
{
	return word && !(word & HMM_PTE_VALID);
}

static inline unsigned int hmm_pt_word_order(unsigned long word)
{
	return hmm_pte_order((hmm_pte_t){ .pfn = word });
}

static inline unsigned int hmm_pt_slot(const struct hmm_pt_level *at, unsigned long addr)
{
	return (addr >> at->shift) & at->mask;
}

/* The DMA mappings of a table: one for each slot, at the same index */
static inline dma_addr_t *hmm_pt_maps(const struct hmm_pt_level *at, struct page *page)
{
	unsigned long *slots = page_address(page);

	return (dma_addr_t *)(slots + at->mask + 1);
}

/* The last address that is in the same table as @addr */
static inline unsigned long hmm_pt_table_last(const struct hmm_pt_level *at, unsigned long addr)
{
	return addr | (unsigned long)at->mask << at->shift | (BIT(at->shift) - 1);
}

/* The last address that the root has a slot for */
static inline unsigned long hmm_pt_last(const struct hmm_pt *pt)
{
	return hmm_pt_table_last(&pt->level[pt->top], 0);
}

/* The summary of a table for @flag: the groups that have such an entry in or below their slots */
static inline unsigned long *hmm_pt_summary(struct page *page, unsigned long flag)
{
	struct hmm_ptdesc *ptdesc = hmm_page_ptdesc(page);

	return flag == HMM_PTE_WRITE ? &ptdesc->write : &ptdesc->valid;
}

/* Does a slot contain an entry with @flag, or a table with one in or below it? */
static inline bool hmm_pt_has(unsigned long word, unsigned long flag)
{
	if (hmm_pt_is_table(word))
		return READ_ONCE(*hmm_pt_summary(pfn_to_page(word), flag));
	return word & flag;
}

/* %HMM_PTE_VALID and %HMM_PTE_WRITE, each if there is an entry with it in or below the slot */
static inline unsigned long hmm_pt_slot_flags(unsigned long word)
{
	return (hmm_pt_has(word, HMM_PTE_VALID) ? HMM_PTE_VALID : 0) |
	       (hmm_pt_has(word, HMM_PTE_WRITE) ? HMM_PTE_WRITE : 0);
}

/* The slots of a table that cover @start to @last. The table must cover this range. */
static __always_inline struct hmm_pt_span
hmm_pt_span(const struct hmm_pt *pt, struct page *page, unsigned int level,
	    unsigned long start, unsigned long last)
{
	const struct hmm_pt_level *at = &pt->level[level];
	struct hmm_pt_span span = {
		.page = page,
		.slots = page_address(page),
		.at = at,
		.level = level,
		.first = hmm_pt_slot(at, start),
		.last = hmm_pt_slot(at, last),
	};

	span.groups = GENMASK(span.last >> at->group_shift, span.first >> at->group_shift);
	return span;
}

static inline unsigned int hmm_pt_group_first(const struct hmm_pt_span *span, unsigned int group)
{
	return max(span->first, group << span->at->group_shift);
}

static inline unsigned int hmm_pt_group_last(const struct hmm_pt_span *span, unsigned int group)
{
	return min(span->last, ((group + 1) << span->at->group_shift) - 1);
}

/* The first address of the range from @start to @last that is in a slot */
static inline unsigned long hmm_pt_slot_start(const struct hmm_pt_span *span, unsigned int slot,
					      unsigned long start)
{
	if (slot == span->first)
		return start;
	return ((start >> span->at->shift) + slot - span->first) << span->at->shift;
}

/* The last such address. It is inclusive, because a range can end at ULONG_MAX. */
static inline unsigned long hmm_pt_slot_last(const struct hmm_pt_span *span, unsigned int slot,
					     unsigned long last)
{
	if (slot == span->last)
		return last;
	return (((last >> span->at->shift) - span->last + slot + 1) << span->at->shift) - 1;
}

unsigned long hmm_pt_group_flags(const struct hmm_pt_span *span, unsigned int group,
				 unsigned int first, unsigned int stop, unsigned long held);

/*
 * Update the summary of a group whose slots from @first up to @stop (exclusive) have changed:
 * @held are the flags in and below these slots. hmm_pt_group_flags() adds the flags of the
 * other slots of the group.
 */
static inline void hmm_pt_update_summary(const struct hmm_pt_span *span, unsigned int group,
					 unsigned int first, unsigned int stop, unsigned long held)
{
	unsigned long *any = hmm_pt_summary(span->page, HMM_PTE_VALID);
	unsigned long *write = hmm_pt_summary(span->page, HMM_PTE_WRITE);

	if (stop - first < BIT(span->at->group_shift))
		held = hmm_pt_group_flags(span, group, first, stop, held);
	WRITE_ONCE(*any, held & HMM_PTE_VALID ? *any | BIT(group) : *any & ~BIT(group));
	WRITE_ONCE(*write, held & HMM_PTE_WRITE ? *write | BIT(group) : *write & ~BIT(group));
}

static inline dma_addr_t *hmm_pt_stage_map(const struct hmm_pt_stage *stage, unsigned long addr)
{
	return &stage->maps[(addr - stage->start) >> PAGE_SHIFT];
}

void hmm_pt_spare_init(struct hmm_pt_spare *spare);
void hmm_pt_spare_put(struct hmm_pt_spare *spare, struct page *page, unsigned int level);
struct page *hmm_pt_spare_get(struct hmm_pt_spare *spare, unsigned int level);
void hmm_pt_spare_free(struct hmm_pt *pt, struct hmm_pt_spare *spare);
void hmm_pt_unlink(const struct hmm_pt *pt, struct page *page, unsigned int level,
		   struct hmm_pt_spare *spare);
void hmm_pte_mark_folio_dirty(unsigned long word, unsigned int shift);
void hmm_pt_zap_maps(const struct hmm_pt_op *op, const struct hmm_pt_span *span,
		     unsigned int slot, unsigned int stop, unsigned long addr);
unsigned long hmm_pt_restrict(const struct hmm_pt_op *op, struct page *page, unsigned int level,
			      unsigned long start, unsigned long last);
void hmm_pt_dirty(const struct hmm_pt *pt, struct page *page, unsigned int level,
		  unsigned long start, unsigned long last);
bool hmm_pt_any(const struct hmm_pt *pt, unsigned long start, unsigned long last,
		unsigned long flag);
unsigned long hmm_pt_find(const struct hmm_pt *pt, unsigned long addr, struct page **page,
			  const struct hmm_pt_level **at);

#endif /* _MM_HMM_PT_TABLE_H */
