// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * HMM mirror page table: entries are staged without the lock of the mirror, and published
 * under it. mm/hmm_pt.c has the protocol.
 */
#include <linux/hmm_mirror.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/pgtable.h>
#include <linux/rwsem.h>

#include "hmm_pt_table.h"

/* The largest order of a block: a block must fit in one slot of the highest level with entries */
#define HMM_PT_ORDER_MAX	((unsigned int)(PUD_SHIFT - PAGE_SHIFT))

static unsigned long *hmm_pt_stage_word(const struct hmm_pt_stage *stage,
					unsigned long addr)
{
	return &stage->words[(addr - stage->start) >> PAGE_SHIFT];
}

/* The order of the largest block that can begin with the page at @addr */
static unsigned int hmm_pt_stage_order(const struct hmm_pt_stage *stage,
				       unsigned long addr)
{
	const unsigned long *words = hmm_pt_stage_word(stage, addr);
	unsigned long left = (stage->end - addr) >> PAGE_SHIFT;
	unsigned long same = 1, count;

	count = BIT(min3(hmm_pt_word_order(*words), HMM_PT_ORDER_MAX,
			 (unsigned int)ilog2(left)));
	/* A block is as aligned as both its address and its pfn. */
	count |= addr >> PAGE_SHIFT | *words;
	count &= -count;
	while (same < count && words[same] == words[0] + same)
		same++;
	return ilog2(same);
}

/*
 * Set the order of each word to that of the block in which it is published. A page gets into a
 * smaller block if other pages of its block are outside of the range or have different entries.
 */
static int hmm_pt_stage_blocks(const struct hmm_pt_stage *stage)
{
	unsigned long *words = stage->words, *stop = hmm_pt_stage_word(stage, stage->end);
	unsigned long addr, count;
	unsigned int order;

	while (words < stop) {
		if (!(*words & HMM_PTE_VALID))
			return -EINVAL;
		if (!hmm_pt_word_order(*words)) {
			words++;
			continue;
		}
		addr = stage->start + ((words - stage->words) << PAGE_SHIFT);
		order = hmm_pt_stage_order(stage, addr);
		if (order == hmm_pt_word_order(*words)) {
			/* The other words of the block are equal, so their order is right, too. */
			words += BIT(order);
			continue;
		}
		for (count = BIT(order); count; count--, words++) {
			*words &= ~(0x1fUL << HMM_PTE_ORDER_SHIFT);
			*words |= (unsigned long)order << HMM_PTE_ORDER_SHIFT;
		}
	}
	return 0;
}

/* Count the missing tables of each level, from @level down. */
static void hmm_pt_stage_count(const struct hmm_pt *pt, const struct hmm_pt_stage *stage,
			       struct page *page, unsigned int level,
			       unsigned long start, unsigned long last,
			       unsigned long *count)
{
	/* If the table itself is missing, the root stands in for it, and no slot is read. */
	const struct hmm_pt_span span = hmm_pt_span(pt, page ?: pt->root, level, start, last);
	unsigned int slot;

	for (slot = span.first; level && slot <= span.last; slot++) {
		unsigned long addr = hmm_pt_slot_start(&span, slot, start);
		unsigned int order = hmm_pt_word_order(*hmm_pt_stage_word(stage, addr));
		unsigned long word = page ? READ_ONCE(span.slots[slot]) : 0;
		struct page *below = NULL;

		if (order >= span.at->shift - PAGE_SHIFT)
			continue;
		if (hmm_pt_is_table(word))
			below = pfn_to_page(word);
		else
			count[level - 1]++;
		hmm_pt_stage_count(pt, stage, below, level - 1, addr,
				   hmm_pt_slot_last(&span, slot, last), count);
	}
}

/**
 * hmm_pt_stage() - describe entries to publish
 * @stage: stage to initialize
 * @start: first address
 * @end: end address, exclusive
 * @words: see &struct hmm_pt_stage; hmm_pt_prepare() changes the orders
 * @maps: array for the DMA mappings, one for each page; NULL if the page table has no DMA
 *	addresses
 *
 * Context: Any.
 */
void hmm_pt_stage(struct hmm_pt_stage *stage, unsigned long start, unsigned long end,
		  unsigned long *words, dma_addr_t *maps)
{
	stage->start = start;
	stage->end = end;
	stage->words = words;
	stage->maps = maps;
	stage->mapped = start;
	if (maps)
		memset(maps, 0, ((end - start) >> PAGE_SHIFT) * sizeof(*maps));
	hmm_pt_spare_init(&stage->spare);
}

/*
 * Can the staged block at @addr keep the DMA mapping of the block that is mirrored there? The
 * mapping must be of exactly the same pages, and it must be writable if @word is.
 */
static bool hmm_pt_keeps_map(const struct hmm_pt *pt, unsigned long addr, unsigned long word)
{
	const struct hmm_pt_level *at;
	unsigned long old;
	struct page *page;
	dma_addr_t map;

	old = hmm_pt_find(pt, addr, &page, &at);
	if (!(old & HMM_PTE_VALID) || (old ^ word) & ~HMM_PTE_FLAGS)
		return false;
	map = hmm_pt_maps(at, page)[hmm_pt_slot(at, addr)];
	return map && hmm_dma_order(map) == hmm_pt_word_order(word) &&
	       (map & HMM_DMA_WRITE || !(word & HMM_PTE_WRITE));
}

/* Find the blocks that can keep their mappings, as the page table is now. */
static void hmm_pt_stage_kept(const struct hmm_pt *pt, const struct hmm_pt_stage *stage)
{
	unsigned long addr, word;
	dma_addr_t *map;

	lockdep_assert_held(pt->lock);
	for (addr = stage->start; addr < stage->end; addr += PAGE_SIZE << hmm_pt_word_order(word)) {
		word = *hmm_pt_stage_word(stage, addr);
		map = hmm_pt_stage_map(stage, addr);
		if (*map & HMM_DMA_MAPPED || word & HMM_PTE_UNADDRESSABLE)
			continue;
		*map = 0;
		if (hmm_pt_keeps_map(pt, addr, word))
			*map = HMM_DMA_KEPT |
			       (dma_addr_t)hmm_pt_word_order(word) << HMM_DMA_ORDER_SHIFT;
	}
}

/* Can all blocks with HMM_DMA_KEPT still keep their mappings? */
static bool hmm_pt_stage_keeps(const struct hmm_pt *pt, const struct hmm_pt_stage *stage)
{
	unsigned long addr, word;

	for (addr = stage->start; addr < stage->end; addr += PAGE_SIZE << hmm_pt_word_order(word)) {
		word = *hmm_pt_stage_word(stage, addr);
		if (*hmm_pt_stage_map(stage, addr) & HMM_DMA_KEPT &&
		    !hmm_pt_keeps_map(pt, addr, word))
			return false;
	}
	return true;
}

/* Split the staged block at @addr into two of half its size. */
static void hmm_pt_stage_split(const struct hmm_pt_stage *stage, unsigned long addr)
{
	unsigned long *words = hmm_pt_stage_word(stage, addr);
	unsigned long count = BIT(hmm_pt_word_order(*words));

	for (; count; count--)
		*words++ -= 1UL << HMM_PTE_ORDER_SHIFT;
}

/*
 * Map each block that has no mapping yet and that DMA can reach. If there is no contiguous range
 * of DMA addresses for a large block, map smaller ones instead.
 */
static int hmm_pt_stage_dma(struct hmm_pt *pt, struct hmm_pt_stage *stage)
{
	unsigned long addr = stage->start, word;
	dma_addr_t *map;
	int ret;

	while (addr < stage->end) {
		word = *hmm_pt_stage_word(stage, addr);
		map = hmm_pt_stage_map(stage, addr);
		cond_resched();
		ret = 0;
		if (!*map && !(word & HMM_PTE_UNADDRESSABLE))
			ret = hmm_dma_map(pt, word & ~HMM_PTE_FLAGS, hmm_pt_word_order(word),
					  word & HMM_PTE_WRITE, map);
		if (ret == -ENOSPC && hmm_pt_word_order(word)) {
			hmm_pt_stage_split(stage, addr);
			continue;
		}
		if (ret) {
			stage->mapped = addr;
			return ret;
		}
		addr += PAGE_SIZE << hmm_pt_word_order(word);
	}
	return 0;
}

/* Allocate the tables that are missing in the page table and in @stage. */
static int hmm_pt_stage_tables(struct hmm_pt *pt, struct hmm_pt_stage *stage)
{
	unsigned long count[HMM_PT_LEVELS] = {};
	struct page *page;
	unsigned int level;

	down_read(pt->lock);
	hmm_pt_stage_count(pt, stage, pt->root, pt->top, stage->start, stage->end - 1, count);
	up_read(pt->lock);

	for (level = 0; level < pt->top; level++) {
		while (stage->spare.count[level] < count[level]) {
			page = hmm_pt_alloc_table(pt, level);
			if (!page)
				return -ENOMEM;
			hmm_pt_spare_put(&stage->spare, page, level);
		}
	}
	return 0;
}

/**
 * hmm_pt_prepare() - allocate tables and DMA mappings for a stage
 * @pt: mirror page table
 * @stage: stage of hmm_pt_stage(). Or a stage for which hmm_pt_publish() has returned -EAGAIN,
 *	with the same range and words. After a new walk, call hmm_pt_unstage() and
 *	hmm_pt_stage() first, because the stage has DMA mappings of the old pages
 *
 * A block that is already mirrored with the same pages keeps its DMA mapping, if that has the
 * permission that the new entry needs. All other blocks get a new mapping, in addition to the
 * old one, which stays until hmm_pt_unstage().
 *
 * Context: Takes pt->lock for reading, and allocates without it, for the memcg that the caller
 * has set active. May sleep.
 * Return: 0; -EINVAL if the range is empty or has an invalid entry; -EOPNOTSUPP if DMA of the
 * device cannot reach a page; -ENOSPC if there is no DMA address left; -ENOMEM. In any case the
 * caller must call hmm_pt_unstage() in the end.
 */
int hmm_pt_prepare(struct hmm_pt *pt, struct hmm_pt_stage *stage)
{
	int ret;

	if (stage->start >= stage->end)
		return -EINVAL;
	ret = hmm_pt_stage_blocks(stage);
	if (!ret && pt->dma_dev) {
		down_read(pt->lock);
		hmm_pt_stage_kept(pt, stage);
		up_read(pt->lock);
		ret = hmm_pt_stage_dma(pt, stage);
	}
	/* The number of tables depends on the blocks, which the DMA mappings can split. */
	return ret ?: hmm_pt_stage_tables(pt, stage);
}

/**
 * hmm_pt_unstage() - free unused tables, and unused or replaced DMA mappings
 * @pt: mirror page table
 * @stage: stage that was passed to hmm_pt_prepare(), successfully or not
 *
 * Context: pt->lock not held. May sleep. After hmm_pt_publish(), call this only when the device
 * uses the new entries.
 */
void hmm_pt_unstage(struct hmm_pt *pt, struct hmm_pt_stage *stage)
{
	unsigned long addr = stage->start;

	while (pt->dma_dev && addr < stage->end) {
		dma_addr_t *map = hmm_pt_stage_map(stage, addr);

		addr += PAGE_SIZE << hmm_dma_order(*map);
		if (*map & HMM_DMA_MAPPED)
			hmm_dma_unmap(pt, *map);
		*map = 0;
		cond_resched();
	}
	hmm_pt_spare_free(pt, &stage->spare);
}

/*
 * @word replaces @old, which is dirty. If both are of the same page, @word becomes dirty, too:
 * the device may write the page again without another mark. (Where the levels of the entries
 * differ, pfns are not compared: marking a page dirty once too often is harmless.)
 */
static unsigned long hmm_pte_inherit(unsigned long old, unsigned long word,
				     unsigned int shift)
{
	hmm_pte_mark_folio_dirty(old, shift);
	if ((old ^ word) & ~HMM_PTE_FLAGS || !(word & HMM_PTE_WRITE))
		return word;
	return word | HMM_PTE_DIRTY;
}

/* Get the DMA mapping for the entry @word of a slot. The stage or the slot loses it. */
static dma_addr_t hmm_pt_unstage_map(const struct hmm_pt_stage *stage,
				     const struct hmm_pt_span *span, unsigned int slot,
				  unsigned long addr, unsigned long word)
{
	dma_addr_t *maps = hmm_pt_maps(span->at, span->page);
	dma_addr_t *staged = hmm_pt_stage_map(stage, addr), map;

	if ((addr >> PAGE_SHIFT) & (BIT(hmm_pt_word_order(word)) - 1))
		return maps[slot - 1] ? maps[slot - 1] + BIT(span->at->shift) : 0;
	map = *staged;
	*staged = 0;
	if (!(map & HMM_DMA_KEPT))
		return map;
	/* Clear it in the slot, so that hmm_pt_put_map() does not move it to the stage. */
	map = maps[slot];
	maps[slot] = 0;
	return map;
}

/* Put @map into a slot. Move the mapping that it replaces to the stage. */
static void hmm_pt_put_map(const struct hmm_pt_op *op, const struct hmm_pt_span *span,
			   unsigned int slot, unsigned long addr, dma_addr_t map)
{
	hmm_pt_zap_maps(op, span, slot, slot + 1, addr);
	hmm_pt_maps(span->at, span->page)[slot] = map;
}

/* Publish the entry at @addr in a slot of a directory. Return it with its final flags. */
static unsigned long hmm_pt_publish_huge(const struct hmm_pt *pt, struct hmm_pt_stage *stage,
					 const struct hmm_pt_span *span, unsigned int slot,
					 unsigned long addr)
{
	const struct hmm_pt_op op = { .pt = pt, .stage = stage };
	unsigned long word = *hmm_pt_stage_word(stage, addr), old = span->slots[slot];
	dma_addr_t map = 0;
	struct page *below;

	if (pt->dma_dev)
		map = hmm_pt_unstage_map(stage, span, slot, addr, word);
	if (hmm_pt_is_table(old)) {
		below = pfn_to_page(old);
		old = hmm_pt_restrict(&op, below, span->level - 1, addr,
				      addr + BIT(span->at->shift) - 1);
		hmm_pt_unlink(pt, below, span->level - 1, &stage->spare);
		if (old & HMM_PTE_DIRTY && word & HMM_PTE_WRITE)
			word |= HMM_PTE_DIRTY;
	} else if (old & HMM_PTE_DIRTY) {
		word = hmm_pte_inherit(old, word, span->at->shift);
	}
	if (pt->dma_dev)
		hmm_pt_put_map(&op, span, slot, addr, map);
	span->slots[slot] = word;
	return word;
}

static void hmm_pt_fill(const struct hmm_pt *pt, struct hmm_pt_stage *stage,
			struct page *page, unsigned int level, unsigned long start,
			unsigned long last);

/* Fill the table in a slot of a directory, or put a new one there. Return its flags. */
static unsigned long hmm_pt_publish_below(const struct hmm_pt *pt, struct hmm_pt_stage *stage,
					  const struct hmm_pt_span *span, unsigned int slot,
					  unsigned long addr, unsigned long last)
{
	const struct hmm_pt_op op = { .pt = pt, .stage = stage };
	unsigned long old = span->slots[slot];
	struct page *below;

	if (hmm_pt_is_table(old)) {
		hmm_pt_fill(pt, stage, pfn_to_page(old), span->level - 1, addr, last);
		return hmm_pt_slot_flags(old);
	}
	below = hmm_pt_spare_get(&stage->spare, span->level - 1);
	hmm_pt_fill(pt, stage, below, span->level - 1, addr, last);
	if (old & HMM_PTE_DIRTY) {
		hmm_pte_mark_folio_dirty(old, span->at->shift);
		hmm_pt_dirty(pt, below, span->level - 1, addr, last);
	}
	if (pt->dma_dev && old)
		hmm_pt_put_map(&op, span, slot, addr, 0);
	/* hmm_pt_has_none() may read the table without the lock, for other addresses. */
	smp_store_release(&span->slots[slot], page_to_pfn(below));
	return hmm_pt_slot_flags(span->slots[slot]);
}

static void hmm_pt_fill_directory(const struct hmm_pt *pt, struct hmm_pt_stage *stage,
				  const struct hmm_pt_span *span, unsigned long start,
				  unsigned long last)
{
	unsigned long groups = span->groups;
	unsigned int group, slot;

	for_each_set_bit(group, &groups, BITS_PER_LONG) {
		unsigned int first = hmm_pt_group_first(span, group);
		unsigned int stop = hmm_pt_group_last(span, group) + 1;
		unsigned long held = 0;

		for (slot = first; slot < stop; slot++) {
			unsigned long addr = hmm_pt_slot_start(span, slot, start);
			unsigned long word = *hmm_pt_stage_word(stage, addr);

			if (hmm_pt_word_order(word) >= span->at->shift - PAGE_SHIFT)
				held |= hmm_pt_publish_huge(pt, stage, span, slot, addr);
			else
				held |= hmm_pt_publish_below(pt, stage, span, slot, addr,
							     hmm_pt_slot_last(span, slot, last));
		}
		hmm_pt_update_summary(span, group, first, stop, held);
	}
}

static void hmm_pt_fill_maps(const struct hmm_pt *pt, struct hmm_pt_stage *stage,
			     const struct hmm_pt_span *span, unsigned long addr)
{
	const struct hmm_pt_op op = { .pt = pt, .stage = stage };
	unsigned int slot;

	for (slot = span->first; slot <= span->last; slot++, addr += PAGE_SIZE) {
		unsigned long word = *hmm_pt_stage_word(stage, addr);

		hmm_pt_put_map(&op, span, slot, addr,
			       hmm_pt_unstage_map(stage, span, slot, addr, word));
	}
}

static void hmm_pt_fill_ptes(const struct hmm_pt_span *span, const unsigned long *words)
{
	unsigned int group, slot = span->first, first, stop;

	for (group = slot >> span->at->group_shift; slot <= span->last; group++) {
		unsigned long held = 0;

		first = slot;
		stop = hmm_pt_group_last(span, group) + 1;
		for (; slot < stop; slot++) {
			unsigned long old = span->slots[slot], word = *words++;

			if (unlikely(old & HMM_PTE_DIRTY))
				word = hmm_pte_inherit(old, word, span->at->shift);
			span->slots[slot] = word;
			held |= word;
		}
		hmm_pt_update_summary(span, group, first, stop, held);
	}
}

/* Publish the entries from @start to @last, which are all in the table @page or below it. */
static void hmm_pt_fill(const struct hmm_pt *pt, struct hmm_pt_stage *stage,
			struct page *page, unsigned int level, unsigned long start,
			unsigned long last)
{
	const struct hmm_pt_span span = hmm_pt_span(pt, page, level, start, last);

	if (level) {
		hmm_pt_fill_directory(pt, stage, &span, start, last);
	} else {
		if (pt->dma_dev)
			hmm_pt_fill_maps(pt, stage, &span, start);
		hmm_pt_fill_ptes(&span, hmm_pt_stage_word(stage, start));
	}
}

/**
 * hmm_pt_stage_next_map() - find the next block that gets a new DMA mapping
 * @stage: stage for which hmm_pt_prepare() has returned 0
 * @addr: address to start at; out: first address of the block
 * @next: out: end address of the block, exclusive
 *
 * Context: Any.
 * Return: true, or false if there is no such block.
 */
bool hmm_pt_stage_next_map(const struct hmm_pt_stage *stage, unsigned long *addr,
			   unsigned long *next)
{
	for (; *addr < stage->end; *addr = *next) {
		*next = *addr + (PAGE_SIZE << hmm_pt_word_order(*hmm_pt_stage_word(stage, *addr)));
		if (*hmm_pt_stage_map(stage, *addr) & HMM_DMA_MAPPED)
			return true;
	}
	return false;
}

/* Does the stage have all tables that are missing? */
static bool hmm_pt_stage_has_tables(const struct hmm_pt *pt, const struct hmm_pt_stage *stage)
{
	unsigned long count[HMM_PT_LEVELS] = {};
	unsigned int level;

	hmm_pt_stage_count(pt, stage, pt->root, pt->top, stage->start, stage->end - 1, count);
	for (level = 0; level < pt->top; level++) {
		if (stage->spare.count[level] < count[level])
			return false;
	}
	return true;
}

/**
 * hmm_pt_publish() - publish the entries of a stage
 * @pt: mirror page table
 * @stage: stage for which hmm_pt_prepare() has returned 0
 *
 * The entries of the stage replace those of the range. Pages that are dirty stay dirty. The DMA
 * mappings of the old entries move to the stage, except for those that are kept: the device may
 * use them until its driver has written the new entries. The caller must call hmm_pt_unstage()
 * then.
 *
 * Context: Under pt->lock, held for writing. Does not sleep.
 * Return: 0 if all entries are published. -EAGAIN if nothing has changed, for one of two reasons:
 * while the lock was not held, tables that are needed now were freed, or a DMA mapping to keep
 * was unmapped: call hmm_pt_prepare() again. Or the range cuts a block that was mirrored
 * meanwhile: extend the range (hmm_pt_widen()), walk it again, and stage it anew.
 */
int hmm_pt_publish(struct hmm_pt *pt, struct hmm_pt_stage *stage)
{
	unsigned long start = stage->start, end = stage->end;

	lockdep_assert_held_write(pt->lock);
	hmm_pt_widen(pt, &start, &end);
	if (start != stage->start || end != stage->end)
		return -EAGAIN;
	if (!hmm_pt_stage_has_tables(pt, stage))
		return -EAGAIN;
	if (pt->dma_dev && !hmm_pt_stage_keeps(pt, stage))
		return -EAGAIN;
	hmm_pt_fill(pt, stage, pt->root, pt->top, start, end - 1);
	return 0;
}
