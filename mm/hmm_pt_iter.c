// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * HMM mirror page table: look-up and iteration. mm/hmm_pt.c has the protocol.
 */
#include <linux/hmm_mirror.h>
#include <linux/mm.h>

#include "hmm_pt_table.h"

/* Is there an entry with @flag in or below the slots from @first up to @stop? */
static bool hmm_pt_any_slots(struct page *page, const struct hmm_pt_level *at,
			     unsigned int first, unsigned int stop, unsigned long flag)
{
	const unsigned long *slots = page_address(page);
	unsigned long groups = READ_ONCE(*hmm_pt_summary(page, flag));
	unsigned int slot, behind;

	if (first >= stop)
		return false;
	groups &= GENMASK((stop - 1) >> at->group_shift, first >> at->group_shift);
	for (; groups; groups &= groups - 1) {
		slot = __ffs(groups) << at->group_shift;
		behind = slot + BIT(at->group_shift);
		if (slot >= first && behind <= stop)
			return true;
		behind = min(behind, stop);
		for (slot = max(slot, first); slot < behind; slot++) {
			if (hmm_pt_has(READ_ONCE(slots[slot]), flag))
				return true;
		}
	}
	return false;
}

/*
 * Below the slot that @addr is in, is there an entry with @flag at @addr, or before it
 * (behind it, if @behind)?
 */
static bool hmm_pt_any_outside(struct page *page, const struct hmm_pt_level *at,
			       unsigned long addr, bool behind, unsigned long flag)
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
		if (hmm_pt_any_slots(page, at, behind ? slot + 1 : 0,
				     behind ? at->mask + 1 : slot, flag))
			return true;
	}
}

/*
 * Has any of the entries from @start to @last @flag? At most three tables of a level
 * are looked at, and the less is done at each the less there is: this is also what it
 * costs that a range changes where nothing is mirrored.
 */
bool hmm_pt_any(const struct hmm_pt *pt, unsigned long start, unsigned long last,
		unsigned long flag)
{
	const struct hmm_pt_level *at = &pt->level[pt->top];
	struct page *page = pt->root;
	unsigned int slot;

	/* Down to where the ends part */
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
 * The word of the slot that decides about @addr, the level and the table of that: an
 * entry, 0, or a table below which there is no entry. Nothing but HMM_PTE_DIRTY of it
 * can change.
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

/* How many pages are before @addr in the slot that it is in */
static unsigned long hmm_pt_offset(const struct hmm_pt_level *at, unsigned long addr)
{
	return (addr & (BIT(at->shift) - 1)) >> PAGE_SHIFT;
}

/* The entry of the page at @addr, given the slot that it is in, and its table */
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
 * hmm_pt_load() - the entry of a page
 * @pt: mirror page table
 * @addr: address in the page, of user space or not
 *
 * Context: Under the lock of the mirror. Does not sleep.
 * Return: The entry; not hmm_pte_valid() if nothing is mirrored there.
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

/* Look at the slots of the table that decides about iter->end, up to the limit. */
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

/* Go on by @count slots. */
static void hmm_pt_iter_advance(struct hmm_pt_iter *iter, unsigned int count)
{
	unsigned int shift = iter->level->shift;
	unsigned long last = (((iter->end >> shift) + count) << shift) - 1;

	iter->slot += count;
	iter->end = min(last, iter->limit - 1) + 1;
}

/* How many slots, from that at hand on, hold nothing: one at least */
static unsigned int hmm_pt_iter_empty(const struct hmm_pt_iter *iter)
{
	const unsigned long *slots = page_address(iter->page);
	unsigned int slot = iter->slot - slots + 1;
	unsigned int group = find_next_bit(hmm_pt_summary(iter->page, HMM_PTE_VALID),
					   BITS_PER_LONG, slot >> iter->level->group_shift);

	slot = max(slot, group << iter->level->group_shift);
	return min_t(unsigned int, slot, iter->stop - slots) - (iter->slot - slots);
}

/* The next slot with an entry, or 0 if there is none */
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
 * The slot in which the run ends that has *@word in @slot: there is something else, or
 * it is @stop and *@word is what would go on with the run. Long runs are what most of
 * the time is spent on.
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

/* The same where entries have DMA addresses, which have to go on, too */
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

/* Go on to where the run ends that has @word in the slot at hand. */
static noinline void hmm_pt_iter_extend(struct hmm_pt_iter *iter, unsigned long word)
{
	unsigned long step = BIT(iter->level->shift - PAGE_SHIFT);
	const unsigned long *slot;

	/* Equal entries are of equal order, hence in tables of one level. */
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

/* The next run, wherever it is */
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

/* A run that would go on with @word has come to the end of the table. */
static noinline void hmm_pt_iter_next_table(struct hmm_pt_iter *iter, unsigned long word)
{
	hmm_pt_iter_enter(iter);
	if (READ_ONCE(*iter->slot) == word)
		hmm_pt_iter_extend(iter, word);
}

/**
 * hmm_pt_next_run() - the next run of equal, contiguous entries
 * @iter: what hmm_pt_first(), or hmm_pt_next(), has left; out: the run
 *
 * For hmm_pt_for_each().
 *
 * Context: Under the lock of the mirror, since the first run. Does not sleep.
 * Return: false if there is none any more.
 */
bool hmm_pt_next_run(struct hmm_pt_iter *iter)
{
	const unsigned long *slot = iter->slot, *behind;
	unsigned long word;

	/* Most runs are of pages, and begin where the one before has ended. */
	if (slot >= iter->pages)
		return hmm_pt_iter_next(iter);
	word = READ_ONCE(*slot);
	if (!(word & HMM_PTE_VALID))
		return hmm_pt_iter_next(iter);

	iter->addr = iter->end;
	iter->pte.pfn = word;
	behind = hmm_pt_iter_run(slot, iter->stop, &word, 1);
	iter->slot = behind;
	iter->end += (unsigned long)(behind - slot) << PAGE_SHIFT;
	if (behind == iter->stop && iter->end != iter->limit)
		hmm_pt_iter_next_table(iter, word);
	return true;
}
EXPORT_SYMBOL_GPL(hmm_pt_next_run);

/**
 * hmm_pte_set_dirty() - the device has written the run at hand
 * @iter: of hmm_pt_for_each(), inside the loop
 *
 * Entries without hmm_pte_write() are passed over: the device cannot have written
 * them. The run, as it was read, stays as it is.
 *
 * Context: Under the lock of the mirror, held for reading or writing. Does not sleep.
 */
void hmm_pte_set_dirty(struct hmm_pt_iter *iter)
{
	hmm_pt_set_dirty(iter->pt, iter->addr, iter->end);
}
EXPORT_SYMBOL_GPL(hmm_pte_set_dirty);

/**
 * hmm_pt_occupied() - is anything of a range mirrored?
 * @pt: mirror page table
 * @start: first address, page aligned
 * @end: first address behind the range, page aligned
 *
 * Context: Under pt->lock, held for reading or writing. Does not sleep.
 * Return: whether there is an entry.
 */
bool hmm_pt_occupied(struct hmm_pt *pt, unsigned long start, unsigned long end)
{
	lockdep_assert_held(pt->lock);
	return start != end &&
	       hmm_pt_any(pt, start, end - 1, HMM_PTE_VALID);
}

/**
 * hmm_pt_writable() - may the device write anything of a range?
 * @pt: mirror page table
 * @start: first address, page aligned
 * @end: first address behind the range, page aligned
 *
 * Context: Under pt->lock, held for reading or writing. Does not sleep.
 * Return: whether there is an entry with %HMM_PTE_WRITE.
 */
bool hmm_pt_writable(struct hmm_pt *pt, unsigned long start, unsigned long end)
{
	lockdep_assert_held(pt->lock);
	return start != end &&
	       hmm_pt_any(pt, start, end - 1, HMM_PTE_WRITE);
}

/* The block that the page at @addr is mirrored in, if it is, is in the range, too. */
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
 * hmm_pt_widen() - the range that a change really hits
 * @pt: mirror page table
 * @start: first address, page aligned
 * @end: first address behind the range, page aligned
 *
 * Blocks are not cut: if the range begins or ends in the middle of one, it is
 * widened to all of the block.
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
