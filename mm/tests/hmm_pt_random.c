// SPDX-License-Identifier: GPL-2.0
/*
 * Random operations on the mirror page table, compared with a model
 *
 * The model has a maple tree of blocks, each with its first word, and a maple tree of
 * dirty pages. An address always has the same page, because a change of pages would come
 * with an invalidation. Near the places where tables of all levels meet, pages have a
 * struct page that can become dirty. Elsewhere they are device memory, in blocks of any
 * order.
 *
 * With DMA addresses, the test looks up each address in the mappings of the device.
 */
#include <linux/bitmap.h>
#include <linux/maple_tree.h>
#include <linux/pgtable.h>
#include <linux/prandom.h>

#include "hmm_pt_test.h"

#define OPERATIONS	(IS_ENABLED(CONFIG_KASAN) ? 100000 : 1000000)
#define PUD_PAGES_ORDER	(PUD_SHIFT - PAGE_SHIFT)
/* Number of pages that one operation reads or publishes at most */
#define PAGES_MAX	4096
/* A pfn without memory, aligned to every order */
#define DEVICE_PFN	BIT(44)
static_assert(!(DEVICE_PFN & HMM_PTE_FLAGS));
/* Set in words of the model only: the DMA mapping is bidirectional */
#define MAPPED_WRITE	HMM_PFN_YOUNG

/* Memory on one side of a place, as one block */
#define POOL_ORDER	10
#define POOL_PAGES	BIT(POOL_ORDER)
#define POOLS_MAX	6

struct pool {
	struct page *pages;
	unsigned long first;
	DECLARE_BITMAP(marked, POOL_PAGES);
};

struct model {
	struct kunit *test;
	struct hmm_pt_test *t;
	struct rnd_state rnd;
	struct maple_tree blocks;
	struct maple_tree dirty;
	struct pool pools[POOLS_MAX];
	unsigned int nr_pools;
	unsigned long *words;
	unsigned long *seen;
	dma_addr_t *seen_dma;
	/* Number of blocks that have DMA mappings */
	unsigned long reached;
	unsigned long places[4];
	unsigned int nr_places;
	unsigned long done;
};

static u32 below(struct model *m, u32 limit)
{
	return prandom_u32_state(&m->rnd) % limit;
}

static struct pool *pool_of(struct model *m, unsigned long page)
{
	unsigned int i;

	for (i = 0; i < m->nr_pools; i++) {
		if (page - m->pools[i].first < POOL_PAGES)
			return &m->pools[i];
	}
	return NULL;
}

static unsigned long pfn_of(struct model *m, unsigned long page)
{
	struct pool *pool = pool_of(m, page);

	return pool ? page_to_pfn(pool->pages) + page - pool->first : DEVICE_PFN + page;
}

static unsigned int order_of(unsigned long word)
{
	return hmm_pte_order((hmm_pte_t){ .pfn = word });
}

/* The order of the units that become dirty in a block: pages or huge entries */
static unsigned int unit_order(unsigned long word)
{
	unsigned int order = order_of(word);

	return order >= PUD_PAGES_ORDER ? PUD_PAGES_ORDER : order >= PMD_ORDER ? PMD_ORDER : 0;
}

/* An xarray value has no room for the highest bit, which every entry has set. */
static void *to_value(unsigned long word)
{
	return xa_mk_value(word & ~HMM_PTE_VALID);
}

static unsigned long from_value(void *value)
{
	return xa_to_value(value) | HMM_PTE_VALID;
}

static void store(struct model *m, struct maple_tree *tree, unsigned long first,
		  unsigned long last, void *value)
{
	MA_STATE(mas, tree, first, last);

	KUNIT_ASSERT_EQ(m->test, 0, mas_store_gfp(&mas, value, GFP_KERNEL));
}

/* Return a page near one of the places where tables of all levels meet. */
static unsigned long random_page(struct model *m)
{
	unsigned long place = m->places[below(m, m->nr_places)];
	long distance = below(m, BIT(1 + below(m, PUD_PAGES_ORDER + 1)));
	unsigned long limit = TASK_SIZE_MAX >> PAGE_SHIFT;

	if (!place || (place < limit && below(m, 2)))
		return place + distance;
	return place - 1 - distance;
}

static unsigned long random_end(struct model *m, unsigned long page, unsigned int orders)
{
	unsigned long end = page + 1 + below(m, BIT(below(m, orders)));

	return min(end, TASK_SIZE_MAX >> PAGE_SHIFT);
}

/* Expect the dirty pages of the range to be marked. Return whether there are any. */
static bool expect_marked(struct model *m, unsigned long first, unsigned long last)
{
	MA_STATE(mas, &m->dirty, first, first);
	bool any = false;
	unsigned int i;

	while (mas_find(&mas, last)) {
		for (i = 0; i < m->nr_pools; i++) {
			struct pool *pool = &m->pools[i];
			unsigned long from = max3(mas.index, first, pool->first);
			unsigned long to = min3(mas.last, last, pool->first + POOL_PAGES - 1);

			if (from <= to)
				bitmap_set(pool->marked, from - pool->first, to - from + 1);
		}
		any = true;
	}
	return any;
}

/* Exactly the expected pages are marked dirty. */
static void check_marked(struct model *m)
{
	unsigned long i, page;

	for (i = 0; i < m->nr_pools; i++) {
		struct pool *pool = &m->pools[i];

		for (page = 0; page < POOL_PAGES; page++) {
			unsigned long *flags = &pool->pages[page].flags;

			if (test_bit(PG_dirty, flags) != test_bit(page, pool->marked))
				KUNIT_FAIL_AND_ABORT(m->test, "page %lx at %lu",
						     pool->first + page, m->done);
			if (test_bit(PG_dirty, flags))
				clear_bit(PG_dirty, flags);
		}
		bitmap_zero(pool->marked, POOL_PAGES);
	}
}

static void widen(struct model *m, unsigned long *first, unsigned long *last)
{
	MA_STATE(mas, &m->blocks, *first, *first);

	if (mas_walk(&mas))
		*first = min(*first, mas.index);
	mas_set(&mas, *last);
	if (mas_walk(&mas))
		*last = max(*last, mas.last);
}

/* Count the blocks in a range that have DMA mappings. */
static unsigned long count_reached(struct model *m, unsigned long first, unsigned long last)
{
	MA_STATE(mas, &m->blocks, first, first);
	unsigned long count = 0;
	void *value;

	mas_for_each(&mas, value, last)
		count += !(from_value(value) & HMM_PTE_UNADDRESSABLE);
	return count;
}

/* Each block has one DMA mapping, and no other mappings exist. */
static void check_mapped(struct model *m)
{
	if (!m->t->device)
		return;
	KUNIT_ASSERT_EQ_MSG(m->test, m->reached, m->t->device->live, "at %lu", m->done);
	KUNIT_ASSERT_STREQ_MSG(m->test, "", m->t->device->complaint ?: "", "at %lu", m->done);
}

/* Is the same block already mapped bidirectionally? The mapping then stays. */
static bool keeps_write(struct model *m, unsigned long page, unsigned long last,
			unsigned long word)
{
	MA_STATE(mas, &m->blocks, page, page);
	void *value = mas_walk(&mas);

	return value && mas.index == page && mas.last == last &&
	       order_of(from_value(value)) == order_of(word) &&
	       !((from_value(value) | word) & HMM_PTE_UNADDRESSABLE) &&
	       from_value(value) & MAPPED_WRITE;
}

/* Add a block. Pages that were dirty stay dirty if the block is writable, in its units. */
static void add_block(struct model *m, unsigned long page, unsigned long word)
{
	unsigned long last = page + BIT(order_of(word)) - 1;
	unsigned long step = BIT(unit_order(word));

	word |= word & HMM_PTE_WRITE || keeps_write(m, page, last, word) ? MAPPED_WRITE : 0;
	store(m, &m->blocks, page, last, to_value(word));
	m->reached += !(word & HMM_PTE_UNADDRESSABLE);
	if (!expect_marked(m, page, last))
		return;
	if (!(word & HMM_PTE_WRITE)) {
		store(m, &m->dirty, page, last, NULL);
		return;
	}
	while (step > 1 && page <= last) {
		MA_STATE(mas, &m->dirty, page, page);
		unsigned long from, to;

		if (!mas_find(&mas, last))
			break;
		from = round_down(max(mas.index, page), step);
		to = round_up(min(mas.last, last) + 1, step) - 1;
		store(m, &m->dirty, from, to, xa_mk_value(1));
		page = to + 1;
	}
}

/* Create blocks of random orders, some of which claim an order that is too large. */
static unsigned long random_words(struct model *m, unsigned long page, unsigned long end)
{
	unsigned long at = page, i, word;
	unsigned int order, most;

	while (at < end) {
		bool is_device = !pool_of(m, at);

		most = min_t(unsigned int, ilog2(end - at), at ? __ffs(at) : PUD_PAGES_ORDER);
		if (!is_device)
			most = min(most, POOL_ORDER);
		order = below(m, 3) ? below(m, most + 1) : most;
		/* Do not overlap the memory before a place. */
		while (is_device && pool_of(m, at + BIT(order) - 1))
			order--;
		word = HMM_PTE_VALID | pfn_of(m, at);
		word |= is_device ? HMM_PTE_DEVICE : 0;
		word |= is_device && !below(m, 4) ? HMM_PTE_UNADDRESSABLE : 0;
		word |= below(m, 2) ? HMM_PTE_WRITE : 0;
		word |= word & HMM_PTE_WRITE && !below(m, 4) ? HMM_PTE_EXCLUSIVE : 0;
		word = hmm_pt_test_block(word, order + (below(m, 4) ? 0 : 1));
		for (i = 0; i < BIT(order); i++)
			m->words[at - page + i] = word + i;
		at += BIT(order);
	}
	return at - page;
}

static void do_map(struct model *m)
{
	unsigned long page = random_page(m), end, first, last, count, at;
	int ret;

	if (!below(m, 2000)) {
		page = round_down(page, BIT(PUD_PAGES_ORDER));
		end = page + BIT(PUD_PAGES_ORDER);
	} else {
		page = below(m, 2) ? page : round_down(page, BIT(below(m, PMD_ORDER + 3)));
		/* The model stores each block, which takes most of the time. */
		end = random_end(m, page, below(m, 16) ? 6 : 11);
	}
	count = random_words(m, page, end);
	first = page;
	last = end - 1;
	widen(m, &first, &last);
	if (m->t->device)
		m->t->device->adjacent = below(m, 2);
	ret = hmm_pt_test_publish(m->test, page << PAGE_SHIFT, count, m->words);
	KUNIT_ASSERT_EQ(m->test, first == page && last == end - 1 ? 0 : -EAGAIN, ret);
	if (!ret) {
		m->reached -= count_reached(m, first, last);
		for (at = page; at < end; at += BIT(order_of(m->words[at - page])))
			add_block(m, at, m->words[at - page]);
	}
	check_mapped(m);
}

static void do_clear(struct model *m)
{
	unsigned long first = random_page(m), last = random_end(m, first, 20) - 1;
	unsigned long start = first << PAGE_SHIFT, end = (last + 1) << PAGE_SHIFT;

	hmm_pt_test_clear(m->test, &start, &end);
	widen(m, &first, &last);
	KUNIT_ASSERT_EQ(m->test, first << PAGE_SHIFT, start);
	KUNIT_ASSERT_EQ(m->test, (last + 1) << PAGE_SHIFT, end);
	m->reached -= count_reached(m, first, last);
	store(m, &m->blocks, first, last, NULL);
	if (expect_marked(m, first, last))
		store(m, &m->dirty, first, last, NULL);
	check_mapped(m);
}

static void do_protect(struct model *m)
{
	unsigned long first = random_page(m), last = random_end(m, first, 14) - 1;
	unsigned long start = first << PAGE_SHIFT, end = (last + 1) << PAGE_SHIFT;
	struct ma_state mas;
	void *value;

	hmm_pt_test_protect(m->test, &start, &end);
	widen(m, &first, &last);
	KUNIT_ASSERT_EQ(m->test, first << PAGE_SHIFT, start);
	KUNIT_ASSERT_EQ(m->test, (last + 1) << PAGE_SHIFT, end);
	if (expect_marked(m, first, last))
		store(m, &m->dirty, first, last, NULL);
	mas_init(&mas, &m->blocks, first);
	mas_for_each(&mas, value, last) {
		unsigned long word = from_value(value);

		if (!(word & HMM_PTE_WRITE))
			continue;
		word &= ~(HMM_PTE_WRITE | HMM_PTE_EXCLUSIVE);
		KUNIT_ASSERT_EQ(m->test, 0, mas_store_gfp(&mas, to_value(word), GFP_KERNEL));
	}
	check_mapped(m);
}

static void do_dirty(struct model *m)
{
	unsigned long first = random_page(m), last = random_end(m, first, 12) - 1;
	struct ma_state mas;
	void *value;

	hmm_pt_test_dirty(m->test, first << PAGE_SHIFT, (last + 1) << PAGE_SHIFT);
	mas_init(&mas, &m->blocks, first);
	mas_for_each(&mas, value, last) {
		unsigned long word = from_value(value), step = BIT(unit_order(word));

		if (word & HMM_PTE_WRITE)
			store(m, &m->dirty, round_down(max(mas.index, first), step),
			      round_up(min(last, mas.last) + 1, step) - 1, xa_mk_value(1));
	}
}

static void do_query(struct model *m)
{
	unsigned long first = random_page(m), last = random_end(m, first, 20) - 1;
	unsigned long start = first << PAGE_SHIFT, end = (last + 1) << PAGE_SHIFT;
	struct ma_state mas;
	bool occupied = false, writable = false;
	void *value;

	mas_init(&mas, &m->blocks, first);
	mas_for_each(&mas, value, last) {
		occupied = true;
		writable = from_value(value) & HMM_PTE_WRITE;
		if (writable)
			break;
	}
	KUNIT_ASSERT_EQ(m->test, occupied, hmm_pt_test_occupied(m->test, start, end));
	KUNIT_ASSERT_EQ(m->test, writable, hmm_pt_test_writable(m->test, start, end));
}

/*
 * Read each page by hmm_pt_for_each(). Return the number of runs that are wrong or too
 * short.
 */
static unsigned long read_pages(struct model *m, unsigned long first, unsigned long end)
{
	dma_addr_t dma, next_dma = DMA_MAPPING_ERROR;
	unsigned long prev_end = 0, next = 0, page, bad = 0;
	struct hmm_pt_iter iter;

	memset(m->seen, 0, (end - first) * sizeof(*m->seen));
	down_read(&m->t->lock);
	hmm_pt_for_each(&iter, m->t, first << PAGE_SHIFT, end << PAGE_SHIFT) {
		dma = hmm_pte_dma(iter.pte);
		bad += iter.end <= iter.addr || iter.addr < prev_end;
		bad += iter.end > end << PAGE_SHIFT;
		bad += iter.addr == prev_end && iter.pte.pfn == next && dma == next_dma;
		if (bad)
			break;
		prev_end = iter.end;
		next = iter.pte.pfn;
		for (page = iter.addr >> PAGE_SHIFT; page < iter.end >> PAGE_SHIFT; page++) {
			m->seen[page - first] = next++;
			m->seen_dma[page - first] = dma;
			if (dma != DMA_MAPPING_ERROR)
				dma += PAGE_SIZE;
		}
		next_dma = dma;
	}
	up_read(&m->t->lock);
	return bad;
}

/*
 * Count the pages of a block from @page to @stop that the device cannot access correctly.
 */
static unsigned long count_lost(struct model *m, unsigned long word, unsigned long page,
				unsigned long stop, const dma_addr_t *dma)
{
	const struct hmm_pt_mapping *mapping;
	unsigned long bad = 0, size, offset;

	if (!m->t->device || word & HMM_PTE_UNADDRESSABLE) {
		for (; page < stop; page++)
			bad += *dma++ != DMA_MAPPING_ERROR;
		return bad;
	}
	size = PAGE_SIZE << order_of(word);
	offset = *dma & (size - 1);
	mapping = hmm_pt_device_find(m->t->device, *dma - offset);
	if (!mapping || mapping->size != size ||
	    mapping->pfn + (offset >> PAGE_SHIFT) != pfn_of(m, page) ||
	    mapping->dir != (word & MAPPED_WRITE ? DMA_BIDIRECTIONAL : DMA_TO_DEVICE))
		return stop - page;
	for (; page < stop; page++, offset += PAGE_SIZE)
		bad += *dma++ != mapping->addr + offset;
	return bad;
}

static void do_read(struct model *m)
{
	unsigned long first = random_page(m), end = random_end(m, first, 12);
	unsigned long page, stop, bad;
	struct ma_state mas;
	hmm_pte_t pte;
	void *value;

	bad = read_pages(m, first, end);
	memset(m->words, 0, (end - first) * sizeof(*m->words));
	mas_init(&mas, &m->blocks, first);
	mas_for_each(&mas, value, end - 1) {
		unsigned long word = from_value(value);

		page = max(mas.index, first);
		stop = min(mas.last + 1, end);
		bad += count_lost(m, word, page, stop, m->seen_dma + page - first);
		word = (word & ~MAPPED_WRITE) + page - mas.index;
		for (; page < stop; page++)
			m->words[page - first] = word++;
	}
	mas_init(&mas, &m->dirty, first);
	mas_for_each(&mas, value, end - 1) {
		stop = min(mas.last + 1, end);
		for (page = max(mas.index, first); page < stop; page++)
			m->words[page - first] |= HMM_PTE_DIRTY;
	}
	bad += memcmp(m->words, m->seen, (end - first) * sizeof(*m->words)) != 0;
	page = first + below(m, end - first);
	pte = hmm_pt_test_lookup(m->test, page << PAGE_SHIFT);
	bad += m->words[page - first] != pte.pfn;
	bad += hmm_pte_valid(pte) && hmm_pte_dma(pte) != m->seen_dma[page - first];
	KUNIT_ASSERT_EQ_MSG(m->test, 0, bad, "[%lx, %lx) at %lu", first, end, m->done);
}

static void do_reclaim(struct model *m)
{
	unsigned long first = random_page(m), end = random_end(m, first, 20);

	hmm_pt_reclaim(&m->t->pt, first << PAGE_SHIFT, end << PAGE_SHIFT);
}

static void (*const operations[])(struct model *m) = {
	do_map, do_map, do_map, do_clear, do_protect, do_dirty, do_dirty, do_query, do_read,
	do_read,
};

static void free_model(void *arg)
{
	struct model *m = arg;

	__mt_destroy(&m->blocks);
	__mt_destroy(&m->dirty);
	while (m->nr_pools)
		__free_pages(m->pools[--m->nr_pools].pages, POOL_ORDER);
}

static void add_pool(struct model *m, unsigned long first)
{
	struct page *pages = alloc_pages(GFP_KERNEL, POOL_ORDER);

	KUNIT_ASSERT_NOT_NULL(m->test, pages);
	m->pools[m->nr_pools].pages = pages;
	m->pools[m->nr_pools++].first = first;
}

static struct model *new_model(struct kunit *test)
{
	struct model *m = kunit_kzalloc(test, sizeof(*m), GFP_KERNEL);
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, m);
	m->test = test;
	m->t = test->priv;
	/* The test has one thread, so the trees need no lock. */
	mt_init_flags(&m->blocks, MT_FLAGS_LOCK_EXTERN);
	mt_init_flags(&m->dirty, MT_FLAGS_LOCK_EXTERN);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, free_model, m));
	m->words = hmm_pt_test_words(test, BIT(PUD_PAGES_ORDER));
	m->seen = hmm_pt_test_words(test, PAGES_MAX);
	m->seen_dma = (dma_addr_t *)hmm_pt_test_words(test, PAGES_MAX);

	m->places[m->nr_places++] = 0;
	m->places[m->nr_places++] = BIT(P4D_SHIFT - PAGE_SHIFT);
	m->places[m->nr_places++] = TASK_SIZE_MAX >> PAGE_SHIFT;
	if (PGDIR_SHIFT > P4D_SHIFT)
		m->places[m->nr_places++] = BIT(PGDIR_SHIFT - PAGE_SHIFT);
	for (i = 0; i < m->nr_places; i++) {
		if (m->places[i])
			add_pool(m, round_down(m->places[i] - 1, POOL_PAGES));
		if (m->places[i] < TASK_SIZE_MAX >> PAGE_SHIFT)
			add_pool(m, m->places[i]);
	}
	return m;
}

/* The mirror page table agrees with the model after random operations. */
void hmm_pt_random(struct kunit *test)
{
	u32 seed = get_random_u32();
	struct model *m = new_model(test);

	kunit_info(test, "seed %u, %u operations\n", seed, OPERATIONS);
	prandom_seed_state(&m->rnd, seed);
	for (m->done = 0; m->done < OPERATIONS; m->done++) {
		operations[below(m, ARRAY_SIZE(operations))](m);
		if (!below(m, 64)) {
			do_reclaim(m);
			check_marked(m);
		}
		cond_resched();
	}
	check_marked(m);
}
