// SPDX-License-Identifier: GPL-2.0
/*
 * An xarray with the same entries as a mirror page table, which table.c measures. It is the
 * cheapest way in which a driver without a mirror page table can store them:
 *
 * - It uses the advanced API, whose state moves from one page to the next. It takes the lock once,
 *   so no entry needs a retry.
 * - A reserved entry (XA_ZERO_ENTRY) precedes each fill and replaces each cleared entry, so nodes
 *   are allocated before the measurement and freed after it. This is also the cheapest way: an
 *   entry costs about 155 instructions to store or to clear. A store to an empty slot costs 169
 *   instructions, and a store of NULL costs 261, because nodes count their entries.
 * - The entries have the format of pointers. Nodes also count value entries, which costs 13
 *   instructions.
 * - xas_next() costs 25 instructions a page, xas_for_each() costs 36.
 * - Clearing does not test whether an entry was dirty.
 *
 * A store of NULL as one entry of 1 GiB clears all entries below it for 14 instructions a page. A
 * driver cannot use this, because it needs the old entries.
 */
#include <linux/hmm_mirror.h>
#include <linux/slab.h>
#include <linux/xarray.h>

#include "table.h"

/* The address of a page and its permission. The xarray reserves the two lowest bits. */
static void *hmm_bench_xa_entry(const struct hmm_bench_range *range, unsigned long page)
{
	unsigned long word = range->words[page];
	unsigned long addr = (word & ~HMM_PTE_FLAGS) << PAGE_SHIFT;

	return (void *)(word & HMM_PTE_WRITE ? addr | 4 : addr);
}

/**
 * struct hmm_bench_xa - an xarray, and the entries to store
 * @xa: the xarray
 * @entries: one for each page, made before the measurement
 */
struct hmm_bench_xa {
	struct xarray xa;
	void **entries;
};

static int hmm_bench_xa_init(struct hmm_bench_range *range)
{
	struct hmm_bench_xa *table = kzalloc(sizeof(*table), GFP_KERNEL);

	if (!table)
		return -ENOMEM;
	xa_init(&table->xa);
	range->table = table;
	return 0;
}

static void hmm_bench_xa_exit(struct hmm_bench_range *range)
{
	struct hmm_bench_xa *table = range->table;

	xa_destroy(&table->xa);
	kfree(table);
}

static int hmm_bench_xa_prepare(struct hmm_bench_range *range)
{
	struct hmm_bench_xa *table = range->table;
	unsigned long page;

	table->entries = kvmalloc_array(range->npages, sizeof(*table->entries), GFP_KERNEL);
	if (!table->entries)
		return -ENOMEM;
	for (page = 0; page < range->npages; page++)
		table->entries[page] = hmm_bench_xa_entry(range, page);

	for (page = 0; page < range->npages; page += BIT(range->order)) {
		XA_STATE_ORDER(xas, &table->xa, (range->start >> PAGE_SHIFT) + page,
			       range->order);

		do {
			xas_lock(&xas);
			xas_store(&xas, XA_ZERO_ENTRY);
			xas_unlock(&xas);
		} while (xas_nomem(&xas, GFP_KERNEL));
		if (xas_error(&xas))
			return xas_error(&xas);
	}
	return 0;
}

static void hmm_bench_xa_unprepare(struct hmm_bench_range *range)
{
	struct hmm_bench_xa *table = range->table;

	kvfree(table->entries);
	table->entries = NULL;
}

static void hmm_bench_xa_lock(struct hmm_bench_range *range)
{
	struct hmm_bench_xa *table = range->table;

	xa_lock(&table->xa);
}

static void hmm_bench_xa_unlock(struct hmm_bench_range *range)
{
	struct hmm_bench_xa *table = range->table;

	xa_unlock(&table->xa);
}

/* Entries that map several pages each */
static int hmm_bench_xa_fill_blocks(struct hmm_bench_range *range)
{
	struct hmm_bench_xa *table = range->table;
	unsigned long page;

	for (page = 0; page < range->npages; page += BIT(range->order)) {
		XA_STATE_ORDER(xas, &table->xa, (range->start >> PAGE_SHIFT) + page,
			       range->order);

		xas_store(&xas, table->entries[page]);
		if (xas_error(&xas))
			return xas_error(&xas);
	}
	return 0;
}

static int hmm_bench_xa_fill(struct hmm_bench_range *range)
{
	struct hmm_bench_xa *table = range->table;
	void **entry = table->entries, **end = entry + range->npages;
	XA_STATE(xas, &table->xa, range->start >> PAGE_SHIFT);

	if (range->order)
		return hmm_bench_xa_fill_blocks(range);
	for (; entry < end; entry++) {
		xas_store(&xas, *entry);
		xas_next(&xas);
	}
	return xas_error(&xas);
}

/* Move to the next entry. In most cases it is the entry of the next page. */
static __always_inline void *hmm_bench_xa_next(struct xa_state *xas, unsigned long last)
{
	void *entry;

	if (xas->xa_index >= last)
		return NULL;
	entry = xas_next(xas);
	return likely(entry) ? entry : xas_find(xas, last);
}

static int hmm_bench_xa_iterate(struct hmm_bench_range *range)
{
	unsigned long last = (hmm_bench_range_end(range) - 1) >> PAGE_SHIFT;
	struct hmm_bench_xa *table = range->table;
	XA_STATE(xas, &table->xa, range->start >> PAGE_SHIFT);
	unsigned long count = 0, sum = 0;
	void *entry;

	for (entry = xas_find(&xas, last); entry; entry = hmm_bench_xa_next(&xas, last)) {
		sum += (unsigned long)entry;
		count++;
	}
	range->sum = sum;
	return count;
}

static int hmm_bench_xa_clear(struct hmm_bench_range *range)
{
	unsigned long last = (hmm_bench_range_end(range) - 1) >> PAGE_SHIFT;
	struct hmm_bench_xa *table = range->table;
	XA_STATE(xas, &table->xa, range->start >> PAGE_SHIFT);
	void *entry;

	for (entry = xas_find(&xas, last); entry; entry = hmm_bench_xa_next(&xas, last))
		xas_store(&xas, XA_ZERO_ENTRY);
	return xas_error(&xas);
}

static int hmm_bench_xa_occupied(struct hmm_bench_range *range)
{
	unsigned long last = (hmm_bench_range_end(range) - 1) >> PAGE_SHIFT;
	struct hmm_bench_xa *table = range->table;
	XA_STATE(xas, &table->xa, range->start >> PAGE_SHIFT);

	return xas_find(&xas, last) ? 1 : 0;
}

static bool hmm_bench_xa_holds(struct hmm_bench_range *range, unsigned long page)
{
	struct hmm_bench_xa *table = range->table;
	void *entry = xa_load(&table->xa, (range->start >> PAGE_SHIFT) + page);

	return entry == table->entries[round_down(page, BIT(range->order))];
}

static unsigned long hmm_bench_xa_nodes(const struct xarray *xa, const void *entry)
{
	unsigned long nodes = 1;
	struct xa_node *node;
	unsigned int slot;

	if (!xa_is_node(entry))
		return 0;
	node = xa_to_node(entry);
	for (slot = 0; node->shift && slot < XA_CHUNK_SIZE; slot++)
		nodes += hmm_bench_xa_nodes(xa, xa_entry_locked(xa, node, slot));
	return nodes;
}

/* This does not count the space that the slab allocator wastes between nodes. */
static unsigned long hmm_bench_xa_bytes(struct hmm_bench_range *range)
{
	const struct hmm_bench_xa *table = range->table;

	return hmm_bench_xa_nodes(&table->xa, xa_head_locked(&table->xa)) *
	       sizeof(struct xa_node);
}

const struct hmm_bench_holder hmm_bench_xarray = {
	.init = hmm_bench_xa_init,
	.exit = hmm_bench_xa_exit,
	.prepare = hmm_bench_xa_prepare,
	.unprepare = hmm_bench_xa_unprepare,
	.lock = hmm_bench_xa_lock,
	.unlock = hmm_bench_xa_unlock,
	.fill = hmm_bench_xa_fill,
	.iterate = hmm_bench_xa_iterate,
	.clear = hmm_bench_xa_clear,
	.occupied = hmm_bench_xa_occupied,
	.holds = hmm_bench_xa_holds,
	.bytes = hmm_bench_xa_bytes,
};
