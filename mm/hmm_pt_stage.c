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

/* A block is in one table: that of its slot of the highest level where entries are. */
#define HMM_PT_ORDER_MAX	((unsigned int)(PUD_SHIFT - PAGE_SHIFT))

static unsigned long *hmm_pt_stage_word(const struct hmm_pt_stage *stage,
					unsigned long addr)
{
	return &stage->words[(addr - stage->start) >> PAGE_SHIFT];
}

/* The order of the largest block that begins with the page at @addr */
static unsigned int hmm_pt_stage_order(const struct hmm_pt_stage *stage,
				       unsigned long addr)
{
	const unsigned long *words = hmm_pt_stage_word(stage, addr);
	unsigned long left = (stage->end - addr) >> PAGE_SHIFT;
	unsigned long same = 1, count;

	count = BIT(min3(hmm_pt_word_order(*words), HMM_PT_ORDER_MAX,
			 (unsigned int)ilog2(left)));
	/* Aligned as both the address and the pfn are */
	count |= addr >> PAGE_SHIFT | *words;
	count &= -count;
	while (same < count && words[same] == words[0] + same)
		same++;
	return ilog2(same);
}

/*
 * Make the order of each word that of the block it is to be published in. A page
 * beside which others of its block are out of the range, or differ, gets into a
 * smaller one.
 */
static int hmm_pt_stage_blocks(const struct hmm_pt_stage *stage)
{
	unsigned long *words = stage->words, *behind = hmm_pt_stage_word(stage, stage->end);
	unsigned long addr, count;
	unsigned int order;

	while (words < behind) {
		if (!(*words & HMM_PTE_VALID))
			return -EINVAL;
		if (!hmm_pt_word_order(*words)) {
			words++;
			continue;
		}
		addr = stage->start + ((words - stage->words) << PAGE_SHIFT);
		order = hmm_pt_stage_order(stage, addr);
		if (order == hmm_pt_word_order(*words)) {
			/* So is that of the others, which are like it. */
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

/* Count what tables there must be, from @level down, that are not there. */
static void hmm_pt_stage_count(const struct hmm_pt *pt, const struct hmm_pt_stage *stage,
			       struct page *page, unsigned int level,
			       unsigned long start, unsigned long last,
			       unsigned long *count)
{
	/* The root stands for a table that there is not, whose slots are not read. */
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
 * hmm_pt_stage() - describe entries that are to be published
 * @stage: to be filled in
 * @start: address of the first
 * @end: first address behind the last
 * @words: see &struct hmm_pt_stage; hmm_pt_prepare() changes the orders
 * @maps: room for as many DMA mappings, or NULL if the page table has none
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
 * Has the block that is to be published at @addr a mapping that will do? It is of the same
 * pages then, all of them, and lets the device do as much.
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

/* Which blocks keep their mappings, as things are now? */
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

/* Do those still have them that were to keep them? */
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

/* The block at @addr is to be two of half the size. */
static void hmm_pt_stage_split(const struct hmm_pt_stage *stage, unsigned long addr)
{
	unsigned long *words = hmm_pt_stage_word(stage, addr);
	unsigned long count = BIT(hmm_pt_word_order(*words));

	for (; count; count--)
		*words++ -= 1UL << HMM_PTE_ORDER_SHIFT;
}

/*
 * Map each block that is not mapped yet, and that DMA can reach. Where there are no
 * addresses in a row for a large block, smaller ones will do.
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

/* Let @stage have the tables that it lacks. */
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
 * hmm_pt_prepare() - get what it takes to publish entries
 * @pt: mirror page table
 * @stage: of hmm_pt_stage(); or left by hmm_pt_publish() that returned -EAGAIN, with the
 *	range and the words as they were. What has been walked again is to be staged
 *	anew, after hmm_pt_unstage(): there are DMA mappings of the old pages
 *
 * A block that is mirrored as it is to be, but for permissions that its DMA mapping has,
 * keeps that. The others are mapped, with the old mapping there as well, until
 * hmm_pt_unstage().
 *
 * Context: Takes pt->lock for reading, and allocates with it dropped, for the memcg
 * that the caller has set active. May sleep.
 * Return: 0; -EINVAL if the range is empty or not all of it valid; -EOPNOTSUPP if the
 * device does not reach some of it by DMA; -ENOSPC if there is no DMA address left for some
 * of it; -ENOMEM. In any case hmm_pt_unstage() is to follow.
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
	/* How many depends on the blocks. */
	return ret ?: hmm_pt_stage_tables(pt, stage);
}

/**
 * hmm_pt_unstage() - give back what was prepared and not used, or was used before
 * @pt: mirror page table
 * @stage: what hmm_pt_prepare() has seen, whatever came of it
 *
 * Context: pt->lock not held. May sleep. After hmm_pt_publish(), when the device has
 * been told what it may access now.
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
 * @old, which is dirty, gives way to @word. If that is of the same page, the device
 * may go on writing it without saying so again. (Where sizes differ pfns are not
 * compared: a page can be called dirty once too often.)
 */
static unsigned long hmm_pte_inherit(unsigned long old, unsigned long word,
				     unsigned int shift)
{
	hmm_pte_mark_folio_dirty(old, shift);
	if ((old ^ word) & ~HMM_PTE_FLAGS || !(word & HMM_PTE_WRITE))
		return word;
	return word | HMM_PTE_DIRTY;
}

/* The DMA mapping for the entry @word that is to get into a slot */
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
	/* So that it is not left in the stage. */
	map = maps[slot];
	maps[slot] = 0;
	return map;
}

/* Put @map into a slot, in place of what is there; leave that in the stage. */
static void hmm_pt_put_map(const struct hmm_pt_op *op, const struct hmm_pt_span *span,
			   unsigned int slot, unsigned long addr, dma_addr_t map)
{
	hmm_pt_zap_maps(op, span, slot, slot + 1, addr);
	hmm_pt_maps(span->at, span->page)[slot] = map;
}

/* Put the entry @word into a slot of a directory. Return what it becomes. */
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

/* Fill the table that is, or has to be, in a slot of a directory. */
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
	/* hmm_pt_has_none() may read it without the lock, for other addresses. */
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

/* Publish what is staged from @start to @last, all of which is in the table. */
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
 * hmm_pt_stage_next_map() - the next block that is going to have a new DMA mapping
 * @stage: what hmm_pt_prepare() has returned 0 for
 * @addr: where to begin; out: first address of the block
 * @next: out: end address of it, exclusive
 *
 * Context: Any.
 * Return: false if there is none.
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

/* Does everything that is needed wait in the stage? */
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
 * hmm_pt_publish() - let a device access what was staged
 * @pt: mirror page table
 * @stage: what hmm_pt_prepare() has returned 0 for
 *
 * Entries that there are in the range give way to those of the stage. What they know
 * to be dirty stays dirty. Their DMA mappings are left in the stage, but for those that are
 * kept: the device may use them until it has been told of the new ones, and
 * hmm_pt_unstage() be called then.
 *
 * Context: Under pt->lock, held for writing. Does not sleep.
 * Return: 0, with all of it published, or -EAGAIN, with nothing changed. While the lock
 * was not held, tables were freed that are needed now: hmm_pt_prepare() gets others. Or
 * a block came that the range cuts: see hmm_pt_widen(), walk all of it, and stage it
 * anew.
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
