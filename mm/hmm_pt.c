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
#include <linux/hmm_mirror.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/pgtable.h>
#include <linux/rwsem.h>

#include "hmm_pt_table.h"

/*
 * What there is in and below a group: in slots from @first up to @stop, @held. What is in
 * the others has not changed, so that it is no more than the table knows of.
 */
unsigned long hmm_pt_group_flags(const struct hmm_pt_span *span, unsigned int group,
				 unsigned int first, unsigned int stop, unsigned long held)
{
	unsigned int slot = group << span->at->group_shift;
	unsigned int behind = (group + 1) << span->at->group_shift;
	unsigned long had =
		(*hmm_pt_summary(span->page, HMM_PTE_VALID) & BIT(group) ? HMM_PTE_VALID : 0) |
		(*hmm_pt_summary(span->page, HMM_PTE_WRITE) & BIT(group) ? HMM_PTE_WRITE : 0);

	for (; slot < first && had & ~held; slot++)
		held |= hmm_pt_slot_flags(span->slots[slot]);
	for (slot = stop; slot < behind && had & ~held; slot++)
		held |= hmm_pt_slot_flags(span->slots[slot]);
	return held;
}

static void hmm_pt_recompute_summary(const struct hmm_pt_span *span, unsigned int group)
{
	unsigned int behind = (group + 1) << span->at->group_shift;

	hmm_pt_update_summary(span, group, behind, behind, 0);
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

struct page *hmm_pt_alloc_table(struct hmm_pt *pt, unsigned int level)
{
	unsigned int order = hmm_pt_table_order(pt, level);
	struct page *page;

	KUNIT_STATIC_STUB_REDIRECT(hmm_pt_alloc_table, pt, level);

	page = alloc_pages(GFP_KERNEL_ACCOUNT | __GFP_ZERO, order);
	if (!page)
		return NULL;
	*hmm_pt_summary(page, HMM_PTE_VALID) = 0;
	*hmm_pt_summary(page, HMM_PTE_WRITE) = 0;
	atomic_long_add(PAGE_SIZE << order, &pt->bytes);
	return page;
}

static void hmm_pt_free_table(struct hmm_pt *pt, struct page *page, unsigned int level)
{
	unsigned int order = hmm_pt_table_order(pt, level);

	atomic_long_sub(PAGE_SIZE << order, &pt->bytes);
	__free_pages(page, order);
}

void hmm_pt_spare_init(struct hmm_pt_spare *spare)
{
	unsigned int level;

	for (level = 0; level < HMM_PT_LEVELS; level++) {
		INIT_LIST_HEAD(&spare->tables[level]);
		spare->count[level] = 0;
	}
}

void hmm_pt_spare_put(struct hmm_pt_spare *spare, struct page *page, unsigned int level)
{
	list_add(&hmm_page_ptdesc(page)->list, &spare->tables[level]);
	spare->count[level]++;
}

struct page *hmm_pt_spare_get(struct hmm_pt_spare *spare, unsigned int level)
{
	struct hmm_ptdesc *ptdesc = list_first_entry(&spare->tables[level],
						     struct hmm_ptdesc, list);

	list_del(&ptdesc->list);
	spare->count[level]--;
	return hmm_ptdesc_page(ptdesc);
}

void hmm_pt_spare_free(struct hmm_pt *pt, struct hmm_pt_spare *spare)
{
	unsigned int level;

	for (level = 0; level < HMM_PT_LEVELS; level++) {
		while (spare->count[level])
			hmm_pt_free_table(pt, hmm_pt_spare_get(spare, level), level);
	}
}

/* Take out a table without entries, and those below it. */
void hmm_pt_unlink(const struct hmm_pt *pt, struct page *page, unsigned int level,
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
void hmm_pte_mark_folio_dirty(unsigned long word, unsigned int shift)
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

/* Does a block begin at @addr that has this mapping, or a mapping of this order? */
static bool hmm_dma_begins(dma_addr_t map, unsigned long addr)
{
	return map && !((addr >> PAGE_SHIFT) & (BIT(hmm_dma_order(map)) - 1));
}

/*
 * The entries from @slot up to @stop go, and are of whole blocks: so do the mappings of
 * these. @addr is that of the first.
 */
void hmm_pt_zap_maps(const struct hmm_pt_op *op, const struct hmm_pt_span *span,
		     unsigned int slot, unsigned int stop, unsigned long addr)
{
	dma_addr_t *maps = hmm_pt_maps(span->at, span->page);

	for (; slot < stop; slot++, addr += BIT(span->at->shift)) {
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
static unsigned long hmm_pt_restrict_ptes(const struct hmm_pt_op *op,
					  const struct hmm_pt_span *span, unsigned int slot,
				      unsigned int stop, unsigned long start)
{
	unsigned long *slots = span->slots, keep = op->keep, met = 0;

	if (op->pt->dma_dev && !keep)
		hmm_pt_zap_maps(op, span, slot, stop, hmm_pt_slot_start(span, slot, start));

	for (; slot < stop; slot++) {
		unsigned long word = slots[slot];

		if (unlikely(word & HMM_PTE_DIRTY))
			hmm_pte_mark_folio_dirty(word, PAGE_SHIFT);
		slots[slot] = word & keep;
		met |= word;
	}
	return met;
}

static noinline void hmm_pt_summarize_restricted(const struct hmm_pt_span *span, bool all)
{
	unsigned int first = __ffs(span->groups), last = __fls(span->groups);
	unsigned long between = span->groups & ~(BIT(first) | BIT(last));
	unsigned long *any = hmm_pt_summary(span->page, HMM_PTE_VALID);
	unsigned long *write = hmm_pt_summary(span->page, HMM_PTE_WRITE);

	WRITE_ONCE(*write, *write & ~between);
	if (all)
		WRITE_ONCE(*any, *any & ~between);
	/* These have slots that are not, or not all, in the range. */
	hmm_pt_recompute_summary(span, first);
	if (last != first)
		hmm_pt_recompute_summary(span, last);
}

static unsigned long hmm_pt_restrict_slots(const struct hmm_pt_op *op,
					   const struct hmm_pt_span *span, unsigned int slot,
				       unsigned int stop, unsigned long start,
				       unsigned long last)
{
	unsigned long met = 0;

	for (; slot < stop; slot++) {
		unsigned long word = span->slots[slot];
		unsigned long addr = hmm_pt_slot_start(span, slot, start);

		if (word & HMM_PTE_VALID) {
			if (op->pt->dma_dev && !op->keep)
				hmm_pt_zap_maps(op, span, slot, slot + 1, addr);
			if (word & HMM_PTE_DIRTY)
				hmm_pte_mark_folio_dirty(word, span->at->shift);
			span->slots[slot] = word & op->keep;
			met |= word;
		} else if (hmm_pt_has(word, HMM_PTE_VALID)) {
			met |= hmm_pt_restrict(op, pfn_to_page(word), span->level - 1, addr,
					   hmm_pt_slot_last(span, slot, last));
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
unsigned long hmm_pt_restrict(const struct hmm_pt_op *op, struct page *page, unsigned int level,
			      unsigned long start, unsigned long last)
{
	const struct hmm_pt_span span = hmm_pt_span(op->pt, page, level, start, last);
	/* Who keeps something takes away what only entries with WRITE have. */
	unsigned long flag = op->keep ? HMM_PTE_WRITE : HMM_PTE_VALID;
	unsigned long groups = span.groups & *hmm_pt_summary(page, flag);
	unsigned long met = 0;

	while (groups) {
		/* As many as there are in a row */
		unsigned int group = __ffs(groups);
		unsigned int behind = find_next_zero_bit(&groups, BITS_PER_LONG, group);
		unsigned int slot = hmm_pt_group_first(&span, group);
		unsigned int stop = hmm_pt_group_last(&span, behind - 1) + 1;

		groups &= ~GENMASK(behind - 1, group);
		if (level)
			met |= hmm_pt_restrict_slots(op, &span, slot, stop, start, last);
		else
			met |= hmm_pt_restrict_ptes(op, &span, slot, stop, start);
	}
	if (!met)
		return 0;

	hmm_pt_summarize_restricted(&span, !op->keep);
	return met;
}

void hmm_pt_dirty(const struct hmm_pt *pt, struct page *page, unsigned int level,
		  unsigned long start, unsigned long last)
{
	const struct hmm_pt_span span = hmm_pt_span(pt, page, level, start, last);
	unsigned long groups = span.groups & *hmm_pt_summary(page, HMM_PTE_WRITE);
	unsigned int group, slot;

	for_each_set_bit(group, &groups, BITS_PER_LONG) {
		for (slot = hmm_pt_group_first(&span, group);
		     slot <= hmm_pt_group_last(&span, group); slot++) {
			unsigned long word = READ_ONCE(span.slots[slot]);

			if (hmm_pt_is_table(word))
				hmm_pt_dirty(pt, pfn_to_page(word), level - 1,
					     hmm_pt_slot_start(&span, slot, start),
					     hmm_pt_slot_last(&span, slot, last));
			else if ((word & (HMM_PTE_WRITE | HMM_PTE_DIRTY)) == HMM_PTE_WRITE)
				set_bit(HMM_PTE_DIRTY_BIT, &span.slots[slot]);
		}
	}
}

/* Take out the tables between @start and @last that have no entries any more. */
static void hmm_pt_unlink_empty(const struct hmm_pt *pt, struct page *page,
				unsigned int level, unsigned long start,
				unsigned long last, struct hmm_pt_spare *spare)
{
	const struct hmm_pt_span span = hmm_pt_span(pt, page, level, start, last);
	unsigned int slot;

	for (slot = span.first; level && slot <= span.last; slot++) {
		unsigned long word = span.slots[slot];

		if (!hmm_pt_is_table(word))
			continue;
		if (hmm_pt_has(word, HMM_PTE_VALID)) {
			hmm_pt_unlink_empty(pt, pfn_to_page(word), level - 1,
					    hmm_pt_slot_start(&span, slot, start),
					    hmm_pt_slot_last(&span, slot, last), spare);
		} else {
			hmm_pt_unlink(pt, pfn_to_page(word), level - 1, spare);
			span.slots[slot] = 0;
		}
	}
}

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

static void hmm_pt_restrict_range(const struct hmm_pt *pt, unsigned long start,
				  unsigned long end, unsigned long keep)
{
	const struct hmm_pt_op op = { .pt = pt, .keep = keep };

	if (start != end && hmm_pt_any(pt, start, end - 1, keep ? HMM_PTE_WRITE : HMM_PTE_VALID))
		hmm_pt_restrict(&op, pt->root, pt->top, start, end - 1);
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
	hmm_pt_restrict_range(pt, *start, *end, 0);
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
	hmm_pt_restrict_range(pt, *start, *end,
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
	const struct hmm_pt_op op = { .pt = pt };
	struct hmm_pt_spare spare;

	hmm_pt_spare_init(&spare);
	down_write(pt->lock);
	hmm_pt_restrict(&op, pt->root, pt->top, 0, hmm_pt_table_last(&pt->level[pt->top], 0));
	hmm_pt_unlink(pt, pt->root, pt->top, &spare);
	pt->root = NULL;
	if (pt->dma_dev)
		hmm_dma_unmap_zero(pt);
	up_write(pt->lock);
	hmm_pt_spare_free(pt, &spare);
	WARN_ON(atomic_long_read(&pt->bytes));
}
