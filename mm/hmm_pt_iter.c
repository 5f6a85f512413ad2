// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * HMM mirror page table: look-up and iteration. mm/hmm_pt.c has the protocol.
 */
#include <linux/hmm_mirror.h>
#include <linux/mm.h>

#include "hmm_pt_table.h"

/* Is there an entry with @flag in or below the slots from @first up to @stop (exclusive)? */
static bool hmm_pt_any_slots(struct page *page, const struct hmm_pt_level *at,
			     unsigned int first, unsigned int stop, unsigned long flag)
{
	const unsigned long *slots = page_address(page);
	unsigned long groups = READ_ONCE(*hmm_pt_summary(page, flag));
	unsigned int slot, next;

	if (first >= stop)
		return false;
	groups &= GENMASK((stop - 1) >> at->group_shift, first >> at->group_shift);
	for (; groups; groups &= groups - 1) {
		slot = __ffs(groups) << at->group_shift;
		next = slot + BIT(at->group_shift);
		if (slot >= first && next <= stop)
			return true;
		next = min(next, stop);
		for (slot = max(slot, first); slot < next; slot++) {
			if (hmm_pt_has(READ_ONCE(slots[slot]), flag))
				return true;
		}
	}
	return false;
}

/*
 * Is there an entry with @flag at @addr, or after it (if @after) or before it (if not), within
 * the slot that contains @addr?
 */
static bool hmm_pt_any_outside(struct page *page, const struct hmm_pt_level *at,
			       unsigned long addr, bool after, unsigned long flag)
{
	for (;;) {
		const unsigned long *slots = page_address(page);
		unsigned long word = READ_ONCE(slots[hmm_pt_slot(at, addr)]);
		unsigned int slot;

		if (!hmm_pt_is_table(word) || !hmm_pt_has(word, flag))
			return word & flag;
		page = pfn_to_page(word);
		at--;
		slot = hmm_pt_slot(at, addr);
		if (hmm_pt_any_slots(page, at, after ? slot + 1 : 0,
				     after ? at->mask + 1 : slot, flag))
			return true;
	}
}

/*
 * Does any entry from @start to @last have @flag? This reads slots of at most two tables of a
 * level, and stops at the level where nothing is mirrored. It is also the cost of a change of a
 * range that is not mirrored.
 */
bool hmm_pt_any(const struct hmm_pt *pt, unsigned long start, unsigned long last,
		unsigned long flag)
{
	const struct hmm_pt_level *at = &pt->level[pt->top];
	struct page *page = pt->root;
	unsigned int slot;

	/* Go down to the table in which @start and @last are in different slots. */
	while ((slot = hmm_pt_slot(at, start)) == hmm_pt_slot(at, last)) {
		const unsigned long *slots = page_address(page);
		unsigned long word = READ_ONCE(slots[slot]);

		if (!hmm_pt_is_table(word) || !hmm_pt_has(word, flag))
			return word & flag;
		page = pfn_to_page(word);
		at--;
	}
	return hmm_pt_any_slots(page, at, slot + 1, hmm_pt_slot(at, last), flag) ||
	       hmm_pt_any_outside(page, at, start, true, flag) ||
	       hmm_pt_any_outside(page, at, last, false, flag);
}

/*
 * Find the slot that determines what is mirrored at @addr. Return its word, its level and its
 * table. The word is an entry, 0, or a table without entries in or below it. Under the lock of
 * the mirror, only HMM_PTE_DIRTY of it can change.
 */
unsigned long hmm_pt_find(const struct hmm_pt *pt, unsigned long addr, struct page **page,
			  const struct hmm_pt_level **at)
{
	unsigned long word, *slots;

	*page = pt->root;
	for (*at = &pt->level[pt->top];; (*at)--) {
		slots = page_address(*page);
		word = READ_ONCE(slots[hmm_pt_slot(*at, addr)]);
		if (!hmm_pt_is_table(word) || !hmm_pt_has(word, HMM_PTE_VALID))
			return word;
		*page = pfn_to_page(word);
	}
}

/* The number of pages before @addr in its slot */
static unsigned long hmm_pt_offset(const struct hmm_pt_level *at, unsigned long addr)
{
	return (addr & (BIT(at->shift) - 1)) >> PAGE_SHIFT;
}

/* The entry of the page at @addr, given the word, the table and the level of its slot */
static hmm_pte_t hmm_pt_pte(const struct hmm_pt *pt, unsigned long word, struct page *page,
			    const struct hmm_pt_level *at, unsigned long addr)
{
	unsigned long offset = hmm_pt_offset(at, addr);
	hmm_pte_t pte = {
		.pfn = word + offset,
		.dma = DMA_MAPPING_ERROR,
	};
	dma_addr_t map;

	if (pt->dma_dev) {
		map = hmm_pt_maps(at, page)[hmm_pt_slot(at, addr)];
		if (map)
			pte.dma = (map & ~(dma_addr_t)HMM_DMA_FLAGS) +
				  ((dma_addr_t)offset << PAGE_SHIFT);
	}
	return pte;
}

/**
 * hmm_pt_load() - read the entry of a page
 * @pt: mirror page table
 * @addr: any address in the page; need not be in user space
 *
 * Context: Under the lock of the mirror. Does not sleep.
 * Return: The entry. hmm_pte_valid() is false if no page is mirrored there.
 */
hmm_pte_t hmm_pt_load(struct hmm_pt *pt, unsigned long addr)
{
	const struct hmm_pt_level *at;
	unsigned long word;
	struct page *page;

	lockdep_assert_held(pt->lock);
	if (!pt->root || addr > hmm_pt_last(pt))
		return (hmm_pte_t){};
	word = hmm_pt_find(pt, addr, &page, &at);
	return word & HMM_PTE_VALID ? hmm_pt_pte(pt, word, page, at, addr) : (hmm_pte_t){};
}

/* Continue with the slots of the table that determines what is mirrored at iter->end. */
static noinline void hmm_pt_iter_enter(struct hmm_pt_iter *iter)
{
	const struct hmm_pt *pt = iter->pt;
	const unsigned long *slots;
	unsigned long last;

	hmm_pt_find(pt, iter->end, &iter->page, &iter->level);
	slots = page_address(iter->page);
	last = min(iter->limit - 1, hmm_pt_table_last(iter->level, iter->end));
	iter->slot = slots + hmm_pt_slot(iter->level, iter->end);
	iter->stop = slots + hmm_pt_slot(iter->level, last) + 1;
	iter->pages = iter->level == pt->level && !pt->dma_dev ? iter->stop - 1 : NULL;
}

/* Advance by @count slots. */
static void hmm_pt_iter_advance(struct hmm_pt_iter *iter, unsigned int count)
{
	unsigned int shift = iter->level->shift;
	unsigned long last = (((iter->end >> shift) + count) << shift) - 1;

	iter->slot += count;
	iter->end = min(last, iter->limit - 1) + 1;
}

/* The number of slots without entries, from the current slot on: at least one */
static unsigned int hmm_pt_iter_empty(const struct hmm_pt_iter *iter)
{
	const unsigned long *slots = page_address(iter->page);
	unsigned int slot = iter->slot - slots + 1;
	unsigned int group = find_next_bit(hmm_pt_summary(iter->page, HMM_PTE_VALID),
					   BITS_PER_LONG, slot >> iter->level->group_shift);

	slot = max(slot, group << iter->level->group_shift);
	return min_t(unsigned int, slot, iter->stop - slots) - (iter->slot - slots);
}

/* Advance to the next slot with an entry. Return the entry, or 0 if there is none. */
static noinline unsigned long hmm_pt_iter_seek(struct hmm_pt_iter *iter)
{
	unsigned long word, last = hmm_pt_last(iter->pt);

	if (!iter->pt->root || iter->end == iter->limit || iter->end > last)
		return 0;
	if (iter->limit - 1 > last)
		iter->limit = last + 1;
	while (iter->end != iter->limit) {
		if (iter->slot == iter->stop)
			hmm_pt_iter_enter(iter);
		word = READ_ONCE(*iter->slot);
		if (word & HMM_PTE_VALID)
			return word;
		if (hmm_pt_has(word, HMM_PTE_VALID))
			hmm_pt_iter_enter(iter);
		else
			hmm_pt_iter_advance(iter, hmm_pt_iter_empty(iter));
	}
	return 0;
}

/* The DMA address of the entry in a slot */
static dma_addr_t hmm_pt_iter_dma(const struct hmm_pt_iter *iter, const unsigned long *slot)
{
	const unsigned long *slots = page_address(iter->page);
	dma_addr_t map = hmm_pt_maps(iter->level, iter->page)[slot - slots];

	return map ? map & ~(dma_addr_t)HMM_DMA_FLAGS : DMA_MAPPING_ERROR;
}

/*
 * Return the slot after the run that begins with *@word in @slot. If this is @stop, *@word
 * becomes the entry that would continue the run. Long runs take most of the time, so the loop
 * is unrolled.
 */
static __always_inline const unsigned long *
hmm_pt_iter_run(const unsigned long *slot, const unsigned long *stop, unsigned long *word,
		unsigned long step)
{
	unsigned long next = *word;

	for (; stop - slot > 4; slot += 4, next += 4 * step) {
		if (READ_ONCE(slot[1]) != next + step)
			return slot + 1;
		if (READ_ONCE(slot[2]) != next + 2 * step)
			return slot + 2;
		if (READ_ONCE(slot[3]) != next + 3 * step)
			return slot + 3;
		if (READ_ONCE(slot[4]) != next + 4 * step)
			return slot + 4;
	}
	do {
		slot++;
		next += step;
	} while (slot != stop && READ_ONCE(*slot) == next);
	*word = next;
	return slot;
}

/* The same if entries have DMA addresses, which must be contiguous, too */
static const unsigned long *hmm_pt_iter_run_dma(const struct hmm_pt_iter *iter,
						unsigned long *word, dma_addr_t *dma)
{
	const unsigned long *slot = iter->slot;
	unsigned long size = BIT(iter->level->shift);

	do {
		slot++;
		*word += size >> PAGE_SHIFT;
		if (*dma != DMA_MAPPING_ERROR)
			*dma += size;
	} while (slot != iter->stop && READ_ONCE(*slot) == *word &&
		 hmm_pt_iter_dma(iter, slot) == *dma);
	return slot;
}

/* Advance to the end of the run that begins with @word in the current slot. */
static noinline void hmm_pt_iter_extend(struct hmm_pt_iter *iter, unsigned long word)
{
	unsigned long step = BIT(iter->level->shift - PAGE_SHIFT);
	const unsigned long *slot;

	/* Equal entries have the same order, so they are in tables of the same level. */
	do {
		slot = hmm_pt_iter_run(iter->slot, iter->stop, &word, step);
		hmm_pt_iter_advance(iter, slot - iter->slot);
		if (slot != iter->stop || iter->end == iter->limit)
			break;
		hmm_pt_iter_enter(iter);
	} while (READ_ONCE(*iter->slot) == word);
}

static noinline void hmm_pt_iter_extend_dma(struct hmm_pt_iter *iter, unsigned long word)
{
	dma_addr_t dma = hmm_pt_iter_dma(iter, iter->slot);
	const unsigned long *slot;

	iter->pte = hmm_pt_pte(iter->pt, word, iter->page, iter->level, iter->addr);
	do {
		slot = hmm_pt_iter_run_dma(iter, &word, &dma);
		hmm_pt_iter_advance(iter, slot - iter->slot);
		if (slot != iter->stop || iter->end == iter->limit)
			break;
		hmm_pt_iter_enter(iter);
	} while (READ_ONCE(*iter->slot) == word &&
		 hmm_pt_iter_dma(iter, iter->slot) == dma);
}

/* Find the next run, in any table. */
static noinline bool hmm_pt_iter_next(struct hmm_pt_iter *iter)
{
	unsigned long word = 0;

	if (iter->slot != iter->stop)
		word = READ_ONCE(*iter->slot);
	if (!(word & HMM_PTE_VALID)) {
		word = hmm_pt_iter_seek(iter);
		if (!word)
			return false;
	}

	iter->addr = iter->end;
	if (iter->pt->dma_dev) {
		hmm_pt_iter_extend_dma(iter, word);
	} else {
		iter->pte.pfn = word + hmm_pt_offset(iter->level, iter->addr);
		hmm_pt_iter_extend(iter, word);
	}
	return true;
}

/* A run has reached the end of its table. Extend it if the next table continues with @word. */
static noinline void hmm_pt_iter_next_table(struct hmm_pt_iter *iter, unsigned long word)
{
	hmm_pt_iter_enter(iter);
	if (READ_ONCE(*iter->slot) == word)
		hmm_pt_iter_extend(iter, word);
}

/**
 * hmm_pt_next_run() - find the next run of contiguous, equal entries
 * @iter: iterator, set up by hmm_pt_first(); out: the run
 *
 * For hmm_pt_for_each().
 *
 * Context: Under the lock of the mirror, held since the first run. Does not sleep.
 * Return: true, or false if there is no further run.
 */
bool hmm_pt_next_run(struct hmm_pt_iter *iter)
{
	const unsigned long *slot = iter->slot, *next;
	unsigned long word;

	/* Most runs consist of ptes and begin at the end of the previous run. */
	if (slot >= iter->pages)
		return hmm_pt_iter_next(iter);
	word = READ_ONCE(*slot);
	if (!(word & HMM_PTE_VALID))
		return hmm_pt_iter_next(iter);

	iter->addr = iter->end;
	iter->pte.pfn = word;
	next = hmm_pt_iter_run(slot, iter->stop, &word, 1);
	iter->slot = next;
	iter->end += (unsigned long)(next - slot) << PAGE_SHIFT;
	if (next == iter->stop && iter->end != iter->limit)
		hmm_pt_iter_next_table(iter, word);
	return true;
}
EXPORT_SYMBOL_GPL(hmm_pt_next_run);

/**
 * hmm_pte_set_dirty() - mark the current run as written by the device
 * @iter: iterator of hmm_pt_for_each(), inside the loop
 *
 * Entries without hmm_pte_write() are skipped, because the device cannot have written them.
 * @iter, which has a copy of the first entry, does not change.
 *
 * Context: Under the lock of the mirror, held for reading or writing. Does not sleep.
 */
void hmm_pte_set_dirty(struct hmm_pt_iter *iter)
{
	hmm_pt_set_dirty(iter->pt, iter->addr, iter->end);
}
EXPORT_SYMBOL_GPL(hmm_pte_set_dirty);

/**
 * hmm_pt_occupied() - is any page of a range mirrored?
 * @pt: mirror page table
 * @start: first address, page aligned
 * @end: end address, exclusive, page aligned
 *
 * Context: Under pt->lock, held for reading or writing. Does not sleep.
 * Return: true if the range has an entry.
 */
bool hmm_pt_occupied(struct hmm_pt *pt, unsigned long start, unsigned long end)
{
	lockdep_assert_held(pt->lock);
	return start != end &&
	       hmm_pt_any(pt, start, end - 1, HMM_PTE_VALID);
}

/**
 * hmm_pt_writable() - may the device write any page of a range?
 * @pt: mirror page table
 * @start: first address, page aligned
 * @end: end address, exclusive, page aligned
 *
 * Context: Under pt->lock, held for reading or writing. Does not sleep.
 * Return: true if the range has an entry with %HMM_PTE_WRITE.
 */
bool hmm_pt_writable(struct hmm_pt *pt, unsigned long start, unsigned long end)
{
	lockdep_assert_held(pt->lock);
	return start != end &&
	       hmm_pt_any(pt, start, end - 1, HMM_PTE_WRITE);
}

/* Extend the range to include the block that contains @addr, if there is one. */
static void hmm_pt_widen_to(struct hmm_pt *pt, unsigned long addr, unsigned long *start,
			    unsigned long *end)
{
	hmm_pte_t pte = hmm_pt_load(pt, addr);
	unsigned long mask;

	if (!hmm_pte_valid(pte))
		return;
	mask = (PAGE_SIZE << hmm_pte_order(pte)) - 1;
	*start = min(*start, addr & ~mask);
	*end = max(*end - 1, addr | mask) + 1;
}

/**
 * hmm_pt_widen() - extend a range to whole blocks
 * @pt: mirror page table
 * @start: first address, page aligned; out: first address of the extended range
 * @end: end address, exclusive, page aligned; out: end address of the extended range
 *
 * A block is never split. If the range begins or ends inside a block, it is extended to include
 * the whole block.
 *
 * Context: Under pt->lock, held for reading or writing. Does not sleep.
 */
void hmm_pt_widen(struct hmm_pt *pt, unsigned long *start, unsigned long *end)
{
	unsigned long first = *start, last = *end - PAGE_SIZE;

	lockdep_assert_held(pt->lock);
	if (*start == *end)
		return;
	hmm_pt_widen_to(pt, first, start, end);
	if (last != first)
		hmm_pt_widen_to(pt, last, start, end);
}
