// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * HMM mirror page table: the pages of an address space that a device may access.
 *
 * It is a radix tree with the geometry of the CPU page table. A table is an array of slots of
 * one word each. A slot contains
 *
 * - 0: no page is mirrored there;
 * - an entry, which has HMM_PTE_VALID: of a page or, above the lowest level, of as many pages
 *   as the slot covers;
 * - the pfn of a table of the next lower level, without HMM_PTE_VALID.
 *
 *	hmm_ptdesc.valid	1       0       1       0	a bit for each group
 *	hmm_ptdesc.write	1       0       0       0
 *				+-------+-------+-------+-------+
 *	slots			| E 0 T | 0 0 0 | 0 E 0 | T 0 0 |
 *				+-----|-+-------+-------+-|-----+
 *				      v                   v
 *				table with E        table without entries
 *
 * Entries (E) form naturally aligned blocks of 2^order pages with the same permission: the pages
 * that one huge entry of the CPU maps, or a large folio that many entries map. A block is at the
 * highest level whose slots are not larger than the block, in one slot or in several adjacent
 * ones. A block is never split: a change of a part of it affects the whole block, because it may
 * be a single entry of the device page table.
 *
 * The slots of a table form BITS_PER_LONG groups. The descriptor of the table (struct
 * hmm_ptdesc, overlaid on its struct page) has two summary words with one bit for each group:
 * @valid says whether there is any entry in or below the slots of the group, @write whether
 * there is one with HMM_PTE_WRITE. The bits are exact, up to the root. So an empty range is
 * skipped at the highest level that covers it, even if tables (T) without entries are left
 * there, and a search for entries reads only some of the slots of a table.
 *
 * If there are DMA addresses, each table that can hold entries has an array of them after its
 * slots. The element for an entry is one dma_addr_t (see mm/hmm_dma.h): the DMA address of the
 * first page of the entry and, in the low bits, flags and the order of the mapping of its block. A
 * block is mapped once and is removed together with its mapping. When a new block replaces it, its
 * mapping stays until hmm_pt_unstage(), because the device may use it until then.
 *
 * The slots of the root cover all addresses from 0 to hmm_pt_last(): user space is among them.
 * Higher addresses are not mirrored, but look-ups accept them: a device can fault at any address.
 *
 * The lock of the mirror protects the page table:
 *
 * - held for writing: entries are added (hmm_pt_publish()) and removed (hmm_pt_publish(),
 *   hmm_pt_clear()) or lose bits (hmm_pt_write_protect()), and tables are added
 *   (hmm_pt_publish()) and removed (hmm_pt_publish(), hmm_pt_reclaim()).
 * - held for reading: nothing changes but HMM_PTE_DIRTY, which any number of threads may set
 *   concurrently in entries that have HMM_PTE_WRITE.
 *
 * hmm_pt_has_none() reads the page table under change_lock instead. Before entries or tables of a
 * range are removed, hmm_pt_begin_change() announces this under change_lock, and hmm_pt_has_none()
 * does not read the range until hmm_pt_end_change(). hmm_pt_publish() is not announced: the
 * caller of hmm_pt_has_none() must exclude it in the range. Outside of the range it may add a
 * table that hmm_pt_has_none() reads: a new table is complete before it is linked.
 *
 * Under the lock of the mirror no function allocates or frees memory, or sleeps.
 * hmm_pt_prepare() allocates before the lock is taken. Empty tables stay until hmm_pt_reclaim(),
 * which frees them after the lock is dropped.
 *
 * The page of a dirty entry is marked dirty before the entry loses HMM_PTE_WRITE or is removed.
 * A dirty entry stays dirty while it has HMM_PTE_WRITE, even if hmm_pt_publish() replaces it by
 * an entry of the same page: the driver may mark a page before the device writes it, and need not
 * mark it again.
 */
#include <kunit/static_stub.h>
#include <linux/hmm_mirror.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/pgtable.h>
#include <linux/rwsem.h>

#include "hmm_pt_table.h"

/*
 * Return the flags in and below a group, given those in and below its slots from @first up to
 * @stop (exclusive), @held. The other slots have not changed, so that they can add only flags
 * that the old summary has.
 */
noinline unsigned long hmm_pt_group_flags(const struct hmm_pt_span *span, unsigned int group,
				 unsigned int first, unsigned int stop, unsigned long held)
{
	unsigned int slot = group << span->at->group_shift;
	unsigned int next = (group + 1) << span->at->group_shift;
	unsigned long had =
		(*hmm_pt_summary(span->page, HMM_PTE_VALID) & BIT(group) ? HMM_PTE_VALID : 0) |
		(*hmm_pt_summary(span->page, HMM_PTE_WRITE) & BIT(group) ? HMM_PTE_WRITE : 0);

	for (; slot < first && had & ~held; slot++)
		held |= hmm_pt_slot_flags(span->slots[slot]);
	for (slot = stop; slot < next && had & ~held; slot++)
		held |= hmm_pt_slot_flags(span->slots[slot]);
	return held;
}

static void hmm_pt_recompute_summary(const struct hmm_pt_span *span, unsigned int group)
{
	unsigned int next = (group + 1) << span->at->group_shift;

	hmm_pt_update_summary(span, group, next, next, 0);
}

/* Can tables of this level hold entries, or only pointers to tables? */
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

/* Remove a table without entries, and the tables below it. */
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
 * Device memory needs no dirty mark, and its struct page may have been freed. The lock of the
 * folio is not taken, because the invalidating thread may hold it. This is safe as it is in
 * zap_pte_range(): the folio is mapped, and the file system was prepared for writes when it was
 * mapped writable.
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

/* Is there a mapping, and is @addr the first address of its block? */
static bool hmm_dma_begins(dma_addr_t map, unsigned long addr)
{
	return map && !((addr >> PAGE_SHIFT) & (BIT(hmm_dma_order(map)) - 1));
}

/*
 * Remove the mappings of the slots from @slot up to @stop (exclusive), which contain whole
 * blocks. @addr is the address of the first slot.
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

/* This loop is most of the cost of a large range, so it does no more than it must. */
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
	/* The first and the last group can have slots that are not, or not fully, in the range. */
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
 * Apply @op to the entries from @start to @last, after the folios of dirty entries are marked
 * dirty.
 *
 * Return: bitwise OR of the old entries, or 0 if there was none.
 */
unsigned long hmm_pt_restrict(const struct hmm_pt_op *op, struct page *page, unsigned int level,
			      unsigned long start, unsigned long last)
{
	const struct hmm_pt_span span = hmm_pt_span(op->pt, page, level, start, last);
	/* An operation that keeps bits removes only bits that need HMM_PTE_WRITE. */
	unsigned long flag = op->keep ? HMM_PTE_WRITE : HMM_PTE_VALID;
	unsigned long groups = span.groups & *hmm_pt_summary(page, flag);
	unsigned long met = 0;

	while (groups) {
		/* Handle adjacent groups together. */
		unsigned int group = __ffs(groups);
		unsigned int next = find_next_zero_bit(&groups, BITS_PER_LONG, group);
		unsigned int slot = hmm_pt_group_first(&span, group);
		unsigned int stop = hmm_pt_group_last(&span, next - 1) + 1;

		groups &= ~GENMASK(next - 1, group);
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

/* Remove the tables between @start and @last that have become empty. */
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
 * hmm_pt_set_dirty() - mark the writable pages of a range as written by the device
 * @pt: mirror page table
 * @start: first address, page aligned
 * @end: end address, exclusive, page aligned
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
 * hmm_pt_begin_change() - announce the removal of entries or tables
 * @pt: mirror page table
 * @start: first address, page aligned
 * @last: last address
 *
 * Until hmm_pt_end_change(), hmm_pt_has_none() does not read the range. So when it finds no
 * entry there, DMA mappings are unmapped and pages are marked dirty, and this is visible to its
 * caller. No table is freed while hmm_pt_has_none() reads it.
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
 * hmm_pt_end_change() - end the change that hmm_pt_begin_change() has announced
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
 * hmm_pt_has_none() - is the range certainly not mirrored?
 * @pt: mirror page table
 * @start: first address, page aligned
 * @end: end address, exclusive, page aligned
 * @write: only entries with %HMM_PTE_WRITE count
 *
 * For callers that must not wait for pt->lock. The caller must make sure that no
 * hmm_pt_publish() of an overlapping range is under way, because that is not announced.
 *
 * Context: With or without pt->lock. Does not sleep.
 * Return: true if the range has no such entry, and removed entries are no longer in use. false
 * if it may have one: hmm_pt_occupied() and hmm_pt_writable() give the exact answer.
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
 * hmm_pt_clear() - remove all entries of a range
 * @pt: mirror page table
 * @start: first address, page aligned; out: first address of the affected blocks, see
 *	hmm_pt_widen()
 * @end: end address, exclusive, page aligned; out: end address of the affected blocks
 *
 * Marks dirty pages, and unmaps DMA mappings. Tables stay.
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
 * hmm_pt_write_protect() - remove write permission from all entries of a range
 * @pt: mirror page table
 * @start: first address, page aligned; out: first address of the affected blocks, see
 *	hmm_pt_widen()
 * @end: end address, exclusive, page aligned; out: end address of the affected blocks
 *
 * Marks dirty pages. The device may still read the pages, but not exclusively, because a change
 * that only removes write permission leaves the page readable for the CPU. DMA mappings stay
 * writable: the device page table is what prevents writes.
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
 * hmm_pt_reclaim() - free the empty tables of a range
 * @pt: mirror page table
 * @start: first address, page aligned
 * @end: end address, exclusive, page aligned
 *
 * Context: Takes pt->lock for writing, and frees after dropping it. May sleep.
 */
void hmm_pt_reclaim(struct hmm_pt *pt, unsigned long start, unsigned long end)
{
	struct hmm_pt_spare spare;

	if (start == end)
		return;
	hmm_pt_spare_init(&spare);
	down_write(pt->lock);
	/* A removed table can cover more than the range. */
	hmm_pt_begin_change(pt, 0, ULONG_MAX);
	hmm_pt_unlink_empty(pt, pt->root, pt->top, start, end - 1, &spare);
	hmm_pt_end_change(pt);
	up_write(pt->lock);
	hmm_pt_spare_free(pt, &spare);
}

/* Set up the levels of the CPU page table, except the folded ones. */
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
 * hmm_pt_init() - initialize an empty mirror page table
 * @pt: mirror page table
 * @lock: the lock of its mirror
 * @dma_dev: the device whose DMA addresses the entries have, or NULL
 *
 * Context: May sleep.
 * Return: 0; -EOPNOTSUPP if @dma_dev cannot mirror by DMA, see hmm_dma_check(); -ENOMEM. After
 * an error there is nothing to destroy.
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
 * Marks dirty pages, and unmaps DMA mappings.
 *
 * Afterwards hmm_pt_load(), hmm_pt_set_dirty() and the iterator find no entry. No other function
 * may be called for @pt.
 *
 * Context: Takes pt->lock for writing. May sleep. No stage of @pt may exist. Pages that are
 * still mirrored must be invalidated before they change, until this returns.
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
