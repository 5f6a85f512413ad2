// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * HMM mirror page table: what a device may access of an address space.
 *
 * A radix tree in the geometry of the CPU's page table, each table of one word for
 * each slot. A slot holds
 *
 * - 0: nothing is mirrored there;
 * - an entry, with HMM_PTE_VALID: of a page or, above the lowest level, of as many
 *   as a table below would hold;
 * - the pfn of a table of the level below, without HMM_PTE_VALID.
 *
 * Entries come in blocks, naturally aligned, of 2^order pages with one permission:
 * what the CPU maps by one huge entry, or a large folio that it maps by many. A
 * block is at the highest level whose slots are no larger than it, in one slot or
 * in several in a row. It is never cut: whatever hits part of it hits all of it,
 * because so does the device page table, where a block may be a single entry.
 *
 * The slots of a table are in BITS_PER_LONG groups. The struct page of the table has
 * two words with one bit for each: whether there is any entry at all in or below
 * the slots of the group, and whether one with HMM_PTE_WRITE. These bits are exact,
 * up to the root. So what is empty is passed over at the highest level that spans
 * it, also where tables were left behind by entries that are gone; and to find
 * where in a table there is something, a few slots are looked at, not all of them.
 *
 * Where there are DMA addresses, a table that entries can be in has an array of them
 * behind its slots, in step with these: of an entry, the mapping of its block (see
 * hmm_dma_map()), with the address of its own first page. A block is mapped once, and
 * goes together with its mapping; but a mapping whose block gave way to another one is
 * not undone before hmm_pt_unstage(): until then the device may use it.
 *
 * The root has slots for user space, and for what lies below its last slot. What is
 * beyond is not mirrored: device faults come with any address.
 *
 * The lock of the mirror keeps it all in place:
 *
 * - held for writing: entries come (hmm_pt_publish()) and go (hmm_pt_clear(),
 *   hmm_pt_write_protect()), and tables do (hmm_pt_publish(), hmm_pt_reclaim()).
 * - held for reading: nothing changes but HMM_PTE_DIRTY, which any number of
 *   threads may set at once in entries that have HMM_PTE_WRITE.
 *
 * hmm_pt_has_none() looks without it, under change_lock. Whatever removes entries or tables
 * announces the change first, and hmm_pt_has_none() does not look until it is done. A new table
 * is complete before it is linked.
 *
 * None of this allocates or frees memory, or sleeps. What is published was staged
 * by hmm_pt_prepare() with the lock not held; tables that become empty stay until
 * hmm_pt_reclaim() is called, which frees with the lock dropped.
 *
 * A page is told that it is dirty before the entry that knows loses HMM_PTE_WRITE
 * or goes. As long as it has HMM_PTE_WRITE it stays dirty, even if it is published
 * again: a device marks what it writes when it likes.
 */
#include <kunit/static_stub.h>
#include <kunit/visibility.h>
#include <linux/hmm.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/pgtable.h>
#include <linux/rwsem.h>

#include "hmm_internal.h"

/* A block is in one table: that of its slot of the highest level where entries are. */
#define HMM_PT_ORDER_MAX	((unsigned int)(PUD_SHIFT - PAGE_SHIFT))

/**
 * struct hmm_pt_part - those slots of a table that a range is in
 * @page: the table
 * @slots: its slots
 * @at: its level
 * @level: the number of that, 0 for a table of ptes
 * @first: the first slot
 * @last: the last one
 * @groups: mask of the groups that @first to @last are in
 */
struct hmm_pt_part {
	struct page *page;
	unsigned long *slots;
	const struct hmm_pt_level *at;
	unsigned int level;
	unsigned int first;
	unsigned int last;
	unsigned long groups;
};

/**
 * struct hmm_pt_drop - what becomes of entries
 * @pt: the page table
 * @keep: the bits of them that stay; what is not valid then is nothing
 * @stage: where the DMA mappings of those that go are left; NULL to unmap at once
 */
struct hmm_pt_drop {
	const struct hmm_pt *pt;
	unsigned long keep;
	struct hmm_pt_stage *stage;
};

static bool hmm_pt_is_table(unsigned long word)
{
	return word && !(word & HMM_PTE_VALID);
}

static unsigned int hmm_pt_word_order(unsigned long word)
{
	return hmm_pte_order((hmm_pte_t){ .pfn = word });
}

static unsigned int hmm_pt_slot(const struct hmm_pt_level *at, unsigned long addr)
{
	return (addr >> at->shift) & at->mask;
}

/* The DMA mappings of a table, in step with its slots */
static dma_addr_t *hmm_pt_maps(const struct hmm_pt_level *at, struct page *page)
{
	unsigned long *slots = page_address(page);

	return (dma_addr_t *)(slots + at->mask + 1);
}

/* The last address that is in the same table as @addr */
static unsigned long hmm_pt_table_last(const struct hmm_pt_level *at, unsigned long addr)
{
	return addr | (unsigned long)at->mask << at->shift | (BIT(at->shift) - 1);
}

/* The last address that the root has a slot for */
static unsigned long hmm_pt_last(const struct hmm_pt *pt)
{
	return hmm_pt_table_last(&pt->level[pt->top], 0);
}

/* The groups of a table in or below which there are entries with @flag */
static unsigned long *hmm_pt_groups(struct page *page, unsigned long flag)
{
	return flag == HMM_PTE_WRITE ? &page->index : &page->private;
}

/* Is there an entry with @flag in or below a slot? */
static bool hmm_pt_has(unsigned long word, unsigned long flag)
{
	if (hmm_pt_is_table(word))
		return READ_ONCE(*hmm_pt_groups(pfn_to_page(word), flag));
	return word & flag;
}

/* Of %HMM_PTE_VALID and %HMM_PTE_WRITE, what there is in or below a slot */
static unsigned long hmm_pt_holds(unsigned long word)
{
	return (hmm_pt_has(word, HMM_PTE_VALID) ? HMM_PTE_VALID : 0) |
	       (hmm_pt_has(word, HMM_PTE_WRITE) ? HMM_PTE_WRITE : 0);
}

/* The slots of a table that @start to @last are in. The table is for all of these. */
static __always_inline struct hmm_pt_part
hmm_pt_part(const struct hmm_pt *pt, struct page *page, unsigned int level,
	    unsigned long start, unsigned long last)
{
	const struct hmm_pt_level *at = &pt->level[level];
	struct hmm_pt_part part = {
		.page = page,
		.slots = page_address(page),
		.at = at,
		.level = level,
		.first = hmm_pt_slot(at, start),
		.last = hmm_pt_slot(at, last),
	};

	part.groups = GENMASK(part.last >> at->group_shift, part.first >> at->group_shift);
	return part;
}

static unsigned int hmm_pt_group_first(const struct hmm_pt_part *part, unsigned int group)
{
	return max(part->first, group << part->at->group_shift);
}

static unsigned int hmm_pt_group_last(const struct hmm_pt_part *part, unsigned int group)
{
	return min(part->last, ((group + 1) << part->at->group_shift) - 1);
}

/* What of the range from @start to @last is in a slot: its first address ... */
static unsigned long hmm_pt_slot_start(const struct hmm_pt_part *part, unsigned int slot,
				       unsigned long start)
{
	if (slot == part->first)
		return start;
	return ((start >> part->at->shift) + slot - part->first) << part->at->shift;
}

/* ... and its last one. They are inclusive because the range may end where a word does. */
static unsigned long hmm_pt_slot_last(const struct hmm_pt_part *part, unsigned int slot,
				      unsigned long last)
{
	if (slot == part->last)
		return last;
	return (((last >> part->at->shift) - part->last + slot + 1) << part->at->shift) - 1;
}

/*
 * What there is in and below a group: in slots from @first up to @stop, @held. What is in
 * the others has not changed, so that it is no more than the table knows of.
 */
static noinline unsigned long hmm_pt_group_holds(const struct hmm_pt_part *part,
						 unsigned int group, unsigned int first,
						 unsigned int stop, unsigned long held)
{
	unsigned int slot = group << part->at->group_shift;
	unsigned int behind = (group + 1) << part->at->group_shift;
	unsigned long had =
		(*hmm_pt_groups(part->page, HMM_PTE_VALID) & BIT(group) ? HMM_PTE_VALID : 0) |
		(*hmm_pt_groups(part->page, HMM_PTE_WRITE) & BIT(group) ? HMM_PTE_WRITE : 0);

	for (; slot < first && had & ~held; slot++)
		held |= hmm_pt_holds(part->slots[slot]);
	for (slot = stop; slot < behind && had & ~held; slot++)
		held |= hmm_pt_holds(part->slots[slot]);
	return held;
}

/*
 * Let a table know what there is in and below a group: in slots from @first up to
 * @stop, @held; for what is in the others, see there.
 */
static void hmm_pt_regroup(const struct hmm_pt_part *part, unsigned int group,
			   unsigned int first, unsigned int stop, unsigned long held)
{
	unsigned long *any = hmm_pt_groups(part->page, HMM_PTE_VALID);
	unsigned long *write = hmm_pt_groups(part->page, HMM_PTE_WRITE);

	if (stop - first < BIT(part->at->group_shift))
		held = hmm_pt_group_holds(part, group, first, stop, held);
	WRITE_ONCE(*any, held & HMM_PTE_VALID ? *any | BIT(group) : *any & ~BIT(group));
	WRITE_ONCE(*write, held & HMM_PTE_WRITE ? *write | BIT(group) : *write & ~BIT(group));
}

static void hmm_pt_regroup_all(const struct hmm_pt_part *part, unsigned int group)
{
	unsigned int behind = (group + 1) << part->at->group_shift;

	hmm_pt_regroup(part, group, behind, behind, 0);
}

/* Are there entries in tables of this level, or only tables? */
static bool hmm_pt_has_entries(const struct hmm_pt_level *at)
{
	return at->shift <= PUD_SHIFT;
}

static unsigned int hmm_pt_table_order(const struct hmm_pt *pt, unsigned int level)
{
	const struct hmm_pt_level *at = &pt->level[level];
	size_t slot = sizeof(long);

	if (pt->dma_dev && hmm_pt_has_entries(at))
		slot += sizeof(dma_addr_t);
	return get_order(slot * (at->mask + 1UL));
}

VISIBLE_IF_KUNIT struct page *hmm_pt_alloc_table(struct hmm_pt *pt, unsigned int level)
{
	unsigned int order = hmm_pt_table_order(pt, level);
	struct page *page;

	KUNIT_STATIC_STUB_REDIRECT(hmm_pt_alloc_table, pt, level);

	page = alloc_pages(GFP_KERNEL_ACCOUNT | __GFP_ZERO, order);
	if (!page)
		return NULL;
	*hmm_pt_groups(page, HMM_PTE_VALID) = 0;
	*hmm_pt_groups(page, HMM_PTE_WRITE) = 0;
	atomic_long_add(PAGE_SIZE << order, &pt->bytes);
	return page;
}

static void hmm_pt_free_table(struct hmm_pt *pt, struct page *page, unsigned int level)
{
	unsigned int order = hmm_pt_table_order(pt, level);

	atomic_long_sub(PAGE_SIZE << order, &pt->bytes);
	__free_pages(page, order);
}

static void hmm_pt_spare_init(struct hmm_pt_spare *spare)
{
	unsigned int level;

	for (level = 0; level < HMM_PT_LEVELS; level++) {
		INIT_LIST_HEAD(&spare->tables[level]);
		spare->count[level] = 0;
	}
}

static void hmm_pt_spare_put(struct hmm_pt_spare *spare, struct page *page,
			     unsigned int level)
{
	list_add(&page->lru, &spare->tables[level]);
	spare->count[level]++;
}

static struct page *hmm_pt_spare_get(struct hmm_pt_spare *spare, unsigned int level)
{
	struct page *page = list_first_entry(&spare->tables[level], struct page, lru);

	list_del(&page->lru);
	spare->count[level]--;
	return page;
}

static void hmm_pt_spare_free(struct hmm_pt *pt, struct hmm_pt_spare *spare)
{
	unsigned int level;

	for (level = 0; level < HMM_PT_LEVELS; level++) {
		while (spare->count[level])
			hmm_pt_free_table(pt, hmm_pt_spare_get(spare, level), level);
	}
}

/* Take out a table without entries, and those below it. */
static void hmm_pt_unlink(const struct hmm_pt *pt, struct page *page, unsigned int level,
			  struct hmm_pt_spare *spare)
{
	unsigned int slot, last = pt->level[level].mask;
	unsigned long *slots = page_address(page);

	for (slot = 0; level && slot <= last; slot++) {
		if (!slots[slot])
			continue;
		hmm_pt_unlink(pt, pfn_to_page(slots[slot]), level - 1, spare);
		slots[slot] = 0;
	}
	hmm_pt_spare_put(spare, page, level);
}

/*
 * Device memory has no use for it, and its struct page may be gone. The lock of the
 * folio is not taken: whoever sent the invalidation may hold it. As for zap_pte_range(),
 * the folio is mapped, and a file system has made ready for writing when it became so.
 */
static void hmm_pte_tell_dirty(unsigned long word, unsigned int shift)
{
	unsigned long pfn = word & ~HMM_PTE_FLAGS;
	unsigned long end = pfn + BIT(shift - PAGE_SHIFT);

	if (word & HMM_PTE_DEVICE)
		return;
	while (pfn < end) {
		struct folio *folio = page_folio(pfn_to_page(pfn));

		folio_mark_dirty(folio);
		pfn = folio_pfn(folio) + folio_nr_pages(folio);
	}
}

static dma_addr_t *hmm_pt_stage_map(const struct hmm_pt_stage *stage, unsigned long addr)
{
	return &stage->maps[(addr - stage->start) >> PAGE_SHIFT];
}

/* Does a block begin at @addr that has this mapping, or a mapping of this order? */
static bool hmm_dma_begins(dma_addr_t map, unsigned long addr)
{
	return map && !((addr >> PAGE_SHIFT) & (BIT(hmm_dma_order(map)) - 1));
}

/*
 * The entries from @slot up to @stop go, and are of whole blocks: so do the mappings of
 * these. @addr is that of the first.
 */
static void hmm_pt_drop_maps(const struct hmm_pt_drop *op, const struct hmm_pt_part *part,
			     unsigned int slot, unsigned int stop, unsigned long addr)
{
	dma_addr_t *maps = hmm_pt_maps(part->at, part->page);

	for (; slot < stop; slot++, addr += BIT(part->at->shift)) {
		dma_addr_t map = maps[slot];

		maps[slot] = 0;
		if (!hmm_dma_begins(map, addr))
			continue;
		if (op->stage)
			*hmm_pt_stage_map(op->stage, addr) = map;
		else
			hmm_dma_unmap(op->pt, map);
	}
}

/* With nothing else to do for each entry, this is what a large range costs. */
static unsigned long hmm_pt_drop_ptes(const struct hmm_pt_drop *op,
				      const struct hmm_pt_part *part, unsigned int slot,
				      unsigned int stop, unsigned long start)
{
	unsigned long *slots = part->slots, keep = op->keep, met = 0;

	if (op->pt->dma_dev && !keep)
		hmm_pt_drop_maps(op, part, slot, stop, hmm_pt_slot_start(part, slot, start));

	for (; slot < stop; slot++) {
		unsigned long word = slots[slot];

		if (unlikely(word & HMM_PTE_DIRTY))
			hmm_pte_tell_dirty(word, PAGE_SHIFT);
		slots[slot] = word & keep;
		met |= word;
	}
	return met;
}

static noinline void hmm_pt_regroup_dropped(const struct hmm_pt_part *part, bool all)
{
	unsigned int first = __ffs(part->groups), last = __fls(part->groups);
	unsigned long between = part->groups & ~(BIT(first) | BIT(last));
	unsigned long *any = hmm_pt_groups(part->page, HMM_PTE_VALID);
	unsigned long *write = hmm_pt_groups(part->page, HMM_PTE_WRITE);

	WRITE_ONCE(*write, *write & ~between);
	if (all)
		WRITE_ONCE(*any, *any & ~between);
	/* These have slots that are not, or not all, in the range. */
	hmm_pt_regroup_all(part, first);
	if (last != first)
		hmm_pt_regroup_all(part, last);
}

static unsigned long hmm_pt_drop(const struct hmm_pt_drop *op, struct page *page,
				 unsigned int level, unsigned long start,
				 unsigned long last);

static unsigned long hmm_pt_drop_slots(const struct hmm_pt_drop *op,
				       const struct hmm_pt_part *part, unsigned int slot,
				       unsigned int stop, unsigned long start,
				       unsigned long last)
{
	unsigned long met = 0;

	for (; slot < stop; slot++) {
		unsigned long word = part->slots[slot];
		unsigned long addr = hmm_pt_slot_start(part, slot, start);

		if (word & HMM_PTE_VALID) {
			if (op->pt->dma_dev && !op->keep)
				hmm_pt_drop_maps(op, part, slot, slot + 1, addr);
			if (word & HMM_PTE_DIRTY)
				hmm_pte_tell_dirty(word, part->at->shift);
			part->slots[slot] = word & op->keep;
			met |= word;
		} else if (hmm_pt_has(word, HMM_PTE_VALID)) {
			met |= hmm_pt_drop(op, pfn_to_page(word), part->level - 1, addr,
					   hmm_pt_slot_last(part, slot, last));
		}
	}
	return met;
}

/*
 * Do to the entries from @start to @last what @op says. Their pages are told that they
 * are dirty before.
 *
 * Return: the bits that the entries had; 0 if there was none.
 */
static unsigned long hmm_pt_drop(const struct hmm_pt_drop *op, struct page *page,
				 unsigned int level, unsigned long start,
				 unsigned long last)
{
	const struct hmm_pt_part part = hmm_pt_part(op->pt, page, level, start, last);
	/* Who keeps something takes away what only entries with WRITE have. */
	unsigned long flag = op->keep ? HMM_PTE_WRITE : HMM_PTE_VALID;
	unsigned long groups = part.groups & *hmm_pt_groups(page, flag);
	unsigned long met = 0;

	while (groups) {
		/* As many as there are in a row */
		unsigned int group = __ffs(groups);
		unsigned int behind = find_next_zero_bit(&groups, BITS_PER_LONG, group);
		unsigned int slot = hmm_pt_group_first(&part, group);
		unsigned int stop = hmm_pt_group_last(&part, behind - 1) + 1;

		groups &= ~GENMASK(behind - 1, group);
		if (level)
			met |= hmm_pt_drop_slots(op, &part, slot, stop, start, last);
		else
			met |= hmm_pt_drop_ptes(op, &part, slot, stop, start);
	}
	if (!met)
		return 0;

	hmm_pt_regroup_dropped(&part, !op->keep);
	return met;
}

static void hmm_pt_dirty(const struct hmm_pt *pt, struct page *page, unsigned int level,
			 unsigned long start, unsigned long last)
{
	const struct hmm_pt_part part = hmm_pt_part(pt, page, level, start, last);
	unsigned long groups = part.groups & *hmm_pt_groups(page, HMM_PTE_WRITE);
	unsigned int group, slot;

	for_each_set_bit(group, &groups, BITS_PER_LONG) {
		for (slot = hmm_pt_group_first(&part, group);
		     slot <= hmm_pt_group_last(&part, group); slot++) {
			unsigned long word = READ_ONCE(part.slots[slot]);

			if (hmm_pt_is_table(word))
				hmm_pt_dirty(pt, pfn_to_page(word), level - 1,
					     hmm_pt_slot_start(&part, slot, start),
					     hmm_pt_slot_last(&part, slot, last));
			else if ((word & (HMM_PTE_WRITE | HMM_PTE_DIRTY)) == HMM_PTE_WRITE)
				set_bit(HMM_PTE_DIRTY_BIT, &part.slots[slot]);
		}
	}
}

/* Is there an entry with @flag in or below the slots from @first up to @stop? */
static bool hmm_pt_any_slots(struct page *page, const struct hmm_pt_level *at,
			     unsigned int first, unsigned int stop, unsigned long flag)
{
	const unsigned long *slots = page_address(page);
	unsigned long groups = READ_ONCE(*hmm_pt_groups(page, flag));
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
static bool hmm_pt_any_beside(struct page *page, const struct hmm_pt_level *at,
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
static bool hmm_pt_any(const struct hmm_pt *pt, unsigned long start, unsigned long last,
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
	       hmm_pt_any_beside(page, at, start, true, flag) ||
	       hmm_pt_any_beside(page, at, last, false, flag);
}

/* Take out the tables between @start and @last that have no entries any more. */
static void hmm_pt_unlink_empty(const struct hmm_pt *pt, struct page *page,
				unsigned int level, unsigned long start,
				unsigned long last, struct hmm_pt_spare *spare)
{
	const struct hmm_pt_part part = hmm_pt_part(pt, page, level, start, last);
	unsigned int slot;

	for (slot = part.first; level && slot <= part.last; slot++) {
		unsigned long word = part.slots[slot];

		if (!hmm_pt_is_table(word))
			continue;
		if (hmm_pt_has(word, HMM_PTE_VALID)) {
			hmm_pt_unlink_empty(pt, pfn_to_page(word), level - 1,
					    hmm_pt_slot_start(&part, slot, start),
					    hmm_pt_slot_last(&part, slot, last), spare);
		} else {
			hmm_pt_unlink(pt, pfn_to_page(word), level - 1, spare);
			part.slots[slot] = 0;
		}
	}
}

/*
 * The word of the slot that decides about @addr, the level and the table of that: an
 * entry, 0, or a table below which there is no entry. Nothing but HMM_PTE_DIRTY of it
 * can change.
 */
static unsigned long hmm_pt_find(const struct hmm_pt *pt, unsigned long addr,
				 struct page **page, const struct hmm_pt_level **at)
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
	unsigned int group = find_next_bit(hmm_pt_groups(iter->page, HMM_PTE_VALID),
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
static noinline void hmm_pt_iter_go_on(struct hmm_pt_iter *iter, unsigned long word)
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
		hmm_pt_iter_go_on(iter, word);
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
 * hmm_pt_set_dirty() - the device has written a range
 * @pt: mirror page table
 * @start: first address, page aligned
 * @end: first address behind the range, page aligned
 *
 * Context: Under pt->lock, held for reading or writing. Does not sleep.
 */
void hmm_pt_set_dirty(struct hmm_pt *pt, unsigned long start, unsigned long end)
{
	unsigned long last = min(end - 1, hmm_pt_last(pt));

	lockdep_assert_held(pt->lock);
	if (pt->root && start != end && start <= last)
		hmm_pt_dirty(pt, pt->root, pt->top, start, last);
}

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

/**
 * hmm_pt_begin_change() - entries of a range are about to go, or tables
 * @pt: mirror page table
 * @start: first address, page aligned
 * @last: last address
 *
 * Until hmm_pt_end_change(), hmm_pt_has_none() does not look into the range. So a caller that
 * finds no entry there knows that DMA mappings are undone and pages are marked dirty, and this
 * CPU sees that; and no table is freed while it is read.
 *
 * Context: Under pt->lock, held for writing until hmm_pt_end_change(). Does not sleep.
 */
void hmm_pt_begin_change(struct hmm_pt *pt, unsigned long start, unsigned long last)
{
	lockdep_assert_held_write(pt->lock);
	spin_lock(&pt->change_lock);
	pt->change_start = start;
	pt->change_last = last;
	pt->changing = true;
	spin_unlock(&pt->change_lock);
}

/**
 * hmm_pt_end_change() - what hmm_pt_begin_change() has announced is done
 * @pt: mirror page table
 *
 * Context: Under pt->lock, held for writing. Does not sleep.
 */
void hmm_pt_end_change(struct hmm_pt *pt)
{
	lockdep_assert_held_write(pt->lock);
	spin_lock(&pt->change_lock);
	pt->changing = false;
	spin_unlock(&pt->change_lock);
}

/**
 * hmm_pt_has_none() - is certainly nothing of a range mirrored?
 * @pt: mirror page table
 * @start: first address, page aligned
 * @end: end address, exclusive, page aligned
 * @write: only entries with %HMM_PTE_WRITE count
 *
 * For callers that must not wait for pt->lock. Entries that hmm_pt_publish() is about to add
 * are not announced here: the caller must know of them.
 *
 * Context: With pt->lock held or not. Does not sleep.
 * Return: true if there is no such entry, and the use of those that were there is over.
 * false: perhaps; hmm_pt_occupied() and hmm_pt_writable() tell.
 */
bool hmm_pt_has_none(struct hmm_pt *pt, unsigned long start, unsigned long end, bool write)
{
	bool none;

	spin_lock(&pt->change_lock);
	none = !(pt->changing && start <= pt->change_last && end > pt->change_start) &&
	       !hmm_pt_any(pt, start, end - 1, write ? HMM_PTE_WRITE : HMM_PTE_VALID);
	spin_unlock(&pt->change_lock);
	return none;
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

static void hmm_pt_drop_range(const struct hmm_pt *pt, unsigned long start,
			      unsigned long end, unsigned long keep)
{
	const struct hmm_pt_drop op = { .pt = pt, .keep = keep };

	if (start != end && hmm_pt_any(pt, start, end - 1, keep ? HMM_PTE_WRITE : HMM_PTE_VALID))
		hmm_pt_drop(&op, pt->root, pt->top, start, end - 1);
}

/**
 * hmm_pt_clear() - nothing of a range is mirrored any more
 * @pt: mirror page table
 * @start: first address, page aligned; out: of what was hit, see hmm_pt_widen()
 * @end: first address behind the range, page aligned; out: alike
 *
 * Pages that are dirty are told, DMA mappings undone. Tables stay.
 *
 * Context: Under pt->lock, held for writing. Does not sleep.
 */
void hmm_pt_clear(struct hmm_pt *pt, unsigned long *start, unsigned long *end)
{
	lockdep_assert_held_write(pt->lock);
	hmm_pt_widen(pt, start, end);
	hmm_pt_drop_range(pt, *start, *end, 0);
}

/**
 * hmm_pt_write_protect() - nothing of a range may be written any more
 * @pt: mirror page table
 * @start: first address, page aligned; out: of what was hit, see hmm_pt_widen()
 * @end: first address behind the range, page aligned; out: alike
 *
 * Pages that are dirty are told. What is mirrored may still be read, and not exclusively:
 * the changes that take away the right to write let the CPU read. DMA mappings stay as
 * they are: devices write where their own page tables let them.
 *
 * Context: Under pt->lock, held for writing. Does not sleep.
 */
void hmm_pt_write_protect(struct hmm_pt *pt, unsigned long *start, unsigned long *end)
{
	lockdep_assert_held_write(pt->lock);
	hmm_pt_widen(pt, start, end);
	hmm_pt_drop_range(pt, *start, *end,
			  ~(HMM_PTE_WRITE | HMM_PTE_DIRTY | HMM_PTE_EXCLUSIVE));
}

/**
 * hmm_pt_reclaim() - free the tables of a range that have become empty
 * @pt: mirror page table
 * @start: first address, page aligned
 * @end: first address behind the range, page aligned
 *
 * Context: Takes pt->lock for writing, and frees with it dropped. May sleep.
 */
void hmm_pt_reclaim(struct hmm_pt *pt, unsigned long start, unsigned long end)
{
	struct hmm_pt_spare spare;

	if (start == end)
		return;
	hmm_pt_spare_init(&spare);
	down_write(pt->lock);
	/* A table that goes may be of more than the range. */
	hmm_pt_begin_change(pt, 0, ULONG_MAX);
	hmm_pt_unlink_empty(pt, pt->root, pt->top, start, end - 1, &spare);
	hmm_pt_end_change(pt);
	up_write(pt->lock);
	hmm_pt_spare_free(pt, &spare);
}

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
	const struct hmm_pt_part part = hmm_pt_part(pt, page ?: pt->root, level, start, last);
	unsigned int slot;

	for (slot = part.first; level && slot <= part.last; slot++) {
		unsigned long addr = hmm_pt_slot_start(&part, slot, start);
		unsigned int order = hmm_pt_word_order(*hmm_pt_stage_word(stage, addr));
		unsigned long word = page ? READ_ONCE(part.slots[slot]) : 0;
		struct page *below = NULL;

		if (order >= part.at->shift - PAGE_SHIFT)
			continue;
		if (hmm_pt_is_table(word))
			below = pfn_to_page(word);
		else
			count[level - 1]++;
		hmm_pt_stage_count(pt, stage, below, level - 1, addr,
				   hmm_pt_slot_last(&part, slot, last), count);
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
	hmm_pte_tell_dirty(old, shift);
	if ((old ^ word) & ~HMM_PTE_FLAGS || !(word & HMM_PTE_WRITE))
		return word;
	return word | HMM_PTE_DIRTY;
}

/* The DMA mapping for the entry @word that is to get into a slot */
static dma_addr_t hmm_pt_take_map(const struct hmm_pt_stage *stage,
				  const struct hmm_pt_part *part, unsigned int slot,
				  unsigned long addr, unsigned long word)
{
	dma_addr_t *maps = hmm_pt_maps(part->at, part->page);
	dma_addr_t *staged = hmm_pt_stage_map(stage, addr), map;

	if ((addr >> PAGE_SHIFT) & (BIT(hmm_pt_word_order(word)) - 1))
		return maps[slot - 1] ? maps[slot - 1] + BIT(part->at->shift) : 0;
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
static void hmm_pt_put_map(const struct hmm_pt_drop *op, const struct hmm_pt_part *part,
			   unsigned int slot, unsigned long addr, dma_addr_t map)
{
	hmm_pt_drop_maps(op, part, slot, slot + 1, addr);
	hmm_pt_maps(part->at, part->page)[slot] = map;
}

/* Put the entry @word into a slot of a directory. Return what it becomes. */
static unsigned long hmm_pt_publish_huge(const struct hmm_pt *pt, struct hmm_pt_stage *stage,
					 const struct hmm_pt_part *part, unsigned int slot,
					 unsigned long addr)
{
	const struct hmm_pt_drop op = { .pt = pt, .stage = stage };
	unsigned long word = *hmm_pt_stage_word(stage, addr), old = part->slots[slot];
	dma_addr_t map = 0;
	struct page *below;

	if (pt->dma_dev)
		map = hmm_pt_take_map(stage, part, slot, addr, word);
	if (hmm_pt_is_table(old)) {
		below = pfn_to_page(old);
		old = hmm_pt_drop(&op, below, part->level - 1, addr,
				  addr + BIT(part->at->shift) - 1);
		hmm_pt_unlink(pt, below, part->level - 1, &stage->spare);
		if (old & HMM_PTE_DIRTY && word & HMM_PTE_WRITE)
			word |= HMM_PTE_DIRTY;
	} else if (old & HMM_PTE_DIRTY) {
		word = hmm_pte_inherit(old, word, part->at->shift);
	}
	if (pt->dma_dev)
		hmm_pt_put_map(&op, part, slot, addr, map);
	part->slots[slot] = word;
	return word;
}

static void hmm_pt_fill(const struct hmm_pt *pt, struct hmm_pt_stage *stage,
			struct page *page, unsigned int level, unsigned long start,
			unsigned long last);

/* Fill the table that is, or has to be, in a slot of a directory. */
static unsigned long hmm_pt_publish_below(const struct hmm_pt *pt, struct hmm_pt_stage *stage,
					  const struct hmm_pt_part *part, unsigned int slot,
					  unsigned long addr, unsigned long last)
{
	const struct hmm_pt_drop op = { .pt = pt, .stage = stage };
	unsigned long old = part->slots[slot];
	struct page *below;

	if (hmm_pt_is_table(old)) {
		hmm_pt_fill(pt, stage, pfn_to_page(old), part->level - 1, addr, last);
		return hmm_pt_holds(old);
	}
	below = hmm_pt_spare_get(&stage->spare, part->level - 1);
	hmm_pt_fill(pt, stage, below, part->level - 1, addr, last);
	if (old & HMM_PTE_DIRTY) {
		hmm_pte_tell_dirty(old, part->at->shift);
		hmm_pt_dirty(pt, below, part->level - 1, addr, last);
	}
	if (pt->dma_dev && old)
		hmm_pt_put_map(&op, part, slot, addr, 0);
	/* hmm_pt_has_none() may read it without the lock, for other addresses. */
	smp_store_release(&part->slots[slot], page_to_pfn(below));
	return hmm_pt_holds(part->slots[slot]);
}

static void hmm_pt_fill_directory(const struct hmm_pt *pt, struct hmm_pt_stage *stage,
				  const struct hmm_pt_part *part, unsigned long start,
				  unsigned long last)
{
	unsigned long groups = part->groups;
	unsigned int group, slot;

	for_each_set_bit(group, &groups, BITS_PER_LONG) {
		unsigned int first = hmm_pt_group_first(part, group);
		unsigned int stop = hmm_pt_group_last(part, group) + 1;
		unsigned long held = 0;

		for (slot = first; slot < stop; slot++) {
			unsigned long addr = hmm_pt_slot_start(part, slot, start);
			unsigned long word = *hmm_pt_stage_word(stage, addr);

			if (hmm_pt_word_order(word) >= part->at->shift - PAGE_SHIFT)
				held |= hmm_pt_publish_huge(pt, stage, part, slot, addr);
			else
				held |= hmm_pt_publish_below(pt, stage, part, slot, addr,
							     hmm_pt_slot_last(part, slot, last));
		}
		hmm_pt_regroup(part, group, first, stop, held);
	}
}

static void hmm_pt_fill_maps(const struct hmm_pt *pt, struct hmm_pt_stage *stage,
			     const struct hmm_pt_part *part, unsigned long addr)
{
	const struct hmm_pt_drop op = { .pt = pt, .stage = stage };
	unsigned int slot;

	for (slot = part->first; slot <= part->last; slot++, addr += PAGE_SIZE) {
		unsigned long word = *hmm_pt_stage_word(stage, addr);

		hmm_pt_put_map(&op, part, slot, addr,
			       hmm_pt_take_map(stage, part, slot, addr, word));
	}
}

static void hmm_pt_fill_ptes(const struct hmm_pt_part *part, const unsigned long *words)
{
	unsigned int group, slot = part->first, first, stop;

	for (group = slot >> part->at->group_shift; slot <= part->last; group++) {
		unsigned long held = 0;

		first = slot;
		stop = hmm_pt_group_last(part, group) + 1;
		for (; slot < stop; slot++) {
			unsigned long old = part->slots[slot], word = *words++;

			if (unlikely(old & HMM_PTE_DIRTY))
				word = hmm_pte_inherit(old, word, part->at->shift);
			part->slots[slot] = word;
			held |= word;
		}
		hmm_pt_regroup(part, group, first, stop, held);
	}
}

/* Publish what is staged from @start to @last, all of which is in the table. */
static void hmm_pt_fill(const struct hmm_pt *pt, struct hmm_pt_stage *stage,
			struct page *page, unsigned int level, unsigned long start,
			unsigned long last)
{
	const struct hmm_pt_part part = hmm_pt_part(pt, page, level, start, last);

	if (level) {
		hmm_pt_fill_directory(pt, stage, &part, start, last);
	} else {
		if (pt->dma_dev)
			hmm_pt_fill_maps(pt, stage, &part, start);
		hmm_pt_fill_ptes(&part, hmm_pt_stage_word(stage, start));
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
static bool hmm_pt_stage_suffices(const struct hmm_pt *pt, const struct hmm_pt_stage *stage)
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
	if (!hmm_pt_stage_suffices(pt, stage))
		return -EAGAIN;
	if (pt->dma_dev && !hmm_pt_stage_keeps(pt, stage))
		return -EAGAIN;
	hmm_pt_fill(pt, stage, pt->root, pt->top, start, end - 1);
	return 0;
}

/* The levels that the CPU's page table has, when those that are folded are left out */
static void hmm_pt_geometry(struct hmm_pt *pt)
{
	const unsigned char shifts[] = {
		PAGE_SHIFT, PMD_SHIFT, PUD_SHIFT, P4D_SHIFT, PGDIR_SHIFT,
	};
	unsigned int i;

	pt->top = 0;
	pt->level[0].shift = PAGE_SHIFT;
	for (i = 1; i < ARRAY_SIZE(shifts); i++) {
		if (shifts[i] != pt->level[pt->top].shift)
			pt->level[++pt->top].shift = shifts[i];
	}
	for (i = 0; i <= pt->top; i++) {
		unsigned int bits = i < pt->top ? pt->level[i + 1].shift - pt->level[i].shift :
						  ilog2(PTRS_PER_PGD);

		pt->level[i].mask = BIT(bits) - 1;
		pt->level[i].group_shift = max_t(unsigned int, bits, ilog2(BITS_PER_LONG)) -
					   ilog2(BITS_PER_LONG);
	}
}

/**
 * hmm_pt_init() - an empty mirror page table
 * @pt: mirror page table
 * @lock: the lock of its mirror
 * @dma_dev: device to have DMA addresses for, or NULL
 *
 * Context: May sleep.
 * Return: 0; -EOPNOTSUPP if @dma_dev cannot mirror by DMA, see hmm_dma_check();
 * -ENOMEM. If not 0, there is nothing to destroy.
 */
int hmm_pt_init(struct hmm_pt *pt, struct rw_semaphore *lock, struct device *dma_dev)
{
	int ret = dma_dev ? hmm_dma_check(dma_dev) : 0;

	if (ret)
		return ret;
	pt->lock = lock;
	pt->dma_dev = dma_dev;
	mutex_init(&pt->zero_lock);
	spin_lock_init(&pt->change_lock);
	pt->changing = false;
	pt->zero.map = 0;
	pt->huge_zero.map = 0;
	atomic_long_set(&pt->bytes, 0);
	hmm_pt_geometry(pt);
	pt->root = hmm_pt_alloc_table(pt, pt->top);
	return pt->root ? 0 : -ENOMEM;
}

/**
 * hmm_pt_destroy() - free a mirror page table
 * @pt: mirror page table
 *
 * Pages that are dirty are told, DMA mappings undone.
 *
 * Afterwards hmm_pt_load(), hmm_pt_set_dirty() and the iterator find nothing. No other
 * function may be called for @pt.
 *
 * Context: Takes pt->lock for writing. May sleep. There is no stage of @pt. What is
 * mirrored still has to be invalidated before it changes, until this returns.
 */
void hmm_pt_destroy(struct hmm_pt *pt)
{
	const struct hmm_pt_drop op = { .pt = pt };
	struct hmm_pt_spare spare;

	hmm_pt_spare_init(&spare);
	down_write(pt->lock);
	hmm_pt_drop(&op, pt->root, pt->top, 0, hmm_pt_table_last(&pt->level[pt->top], 0));
	hmm_pt_unlink(pt, pt->root, pt->top, &spare);
	pt->root = NULL;
	if (pt->dma_dev)
		hmm_dma_unmap_zero(pt);
	up_write(pt->lock);
	hmm_pt_spare_free(pt, &spare);
	WARN_ON(atomic_long_read(&pt->bytes));
}
