// SPDX-License-Identifier: GPL-2.0
/*
 * The mirror page table against a model, by operations at random.
 *
 * The model has a maple tree of blocks, each with its first word, and one of what is
 * dirty. What is at an address is always the same page: a change of pages would have
 * come with an invalidation. In every other GiB that is device memory, in blocks of
 * any order; elsewhere it is one of a few pages, which can be told that they are dirty.
 */
#include <linux/bitmap.h>
#include <linux/maple_tree.h>
#include <linux/pgtable.h>
#include <linux/prandom.h>

#include "hmm_pt_test.h"

#define OPERATIONS	(IS_ENABLED(CONFIG_KASAN) ? 100000 : 1000000)
#define POOL_ORDER	10
#define POOL_PAGES	BIT(POOL_ORDER)
#define PUD_PAGES_ORDER	(PUD_SHIFT - PAGE_SHIFT)
/* Looked at or published at once */
#define PAGES_MAX	4096
/* Where no memory is, and aligned to every order */
#define DEVICE_PFN	BIT(45)

struct model {
	struct kunit *test;
	struct hmm_pt_test *t;
	struct rnd_state rnd;
	struct maple_tree blocks;
	struct maple_tree dirty;
	struct page *pool;
	DECLARE_BITMAP(told, POOL_PAGES);
	unsigned long *words;
	unsigned long *seen;
	unsigned long places[4];
	unsigned int nr_places;
	unsigned long done;
};

static u32 below(struct model *m, u32 limit)
{
	return prandom_u32_state(&m->rnd) % limit;
}

static bool is_device(unsigned long page)
{
	return page >> PUD_PAGES_ORDER & 1;
}

static unsigned long pfn_of(struct model *m, unsigned long page)
{
	if (is_device(page))
		return DEVICE_PFN + page;
	return page_to_pfn(m->pool) + page % POOL_PAGES;
}

static unsigned int order_of(unsigned long word)
{
	return hmm_pte_order((hmm_pte_t){ .pfn = word });
}

/* What is dirty in a block: its pages, or its huge entries */
static unsigned int unit_order(unsigned long word)
{
	unsigned int order = order_of(word);

	return order >= PUD_PAGES_ORDER ? PUD_PAGES_ORDER : order >= PMD_ORDER ? PMD_ORDER : 0;
}

/* A value has no room for the highest bit, which every entry has. */
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
	KUNIT_ASSERT_EQ(m->test, 0, mtree_store_range(tree, first, last, value, GFP_KERNEL));
}

/* A page near one of the places where tables of all levels meet */
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

/* The dirty pages of the range are told; they stay dirty only if @keep. */
static bool tell(struct model *m, unsigned long first, unsigned long last)
{
	unsigned long index = first, page;
	bool any = false;
	void *entry;

	mt_for_each(&m->dirty, entry, index, last) {
		MA_STATE(mas, &m->dirty, index - 1, index - 1);
		unsigned long from, to;

		mtree_lock(&m->dirty);
		mas_walk(&mas);
		from = max(mas.index, first);
		to = min(mas.last, last);
		mtree_unlock(&m->dirty);
		for (page = from; page <= to && !is_device(page); page++)
			__set_bit(page % POOL_PAGES, m->told);
		any = true;
	}
	return any;
}

/* Those that should have been told are dirty, and nobody else. */
static void check_told(struct model *m)
{
	unsigned long i;

	for (i = 0; i < POOL_PAGES; i++) {
		if (PageDirty(m->pool + i) != test_bit(i, m->told))
			KUNIT_FAIL_AND_ABORT(m->test, "page %lu of the pool at %lu", i, m->done);
		ClearPageDirty(m->pool + i);
	}
	bitmap_zero(m->told, POOL_PAGES);
}

static void widen(struct model *m, unsigned long *first, unsigned long *last)
{
	MA_STATE(mas, &m->blocks, *first, *first);

	mtree_lock(&m->blocks);
	if (mas_walk(&mas))
		*first = min(*first, mas.index);
	mas_set(&mas, *last);
	if (mas_walk(&mas))
		*last = max(*last, mas.last);
	mtree_unlock(&m->blocks);
}

static void add_block(struct model *m, unsigned long page, unsigned long word)
{
	unsigned long last = page + BIT(order_of(word)) - 1;
	unsigned long unit = page, step = BIT(unit_order(word));

	store(m, &m->blocks, page, last, to_value(word));
	if (!mt_find(&m->dirty, &unit, last))
		return;
	for (unit = page; unit <= last; unit += step) {
		bool dirty = tell(m, unit, unit + step - 1) && word & HMM_PTE_WRITE;

		store(m, &m->dirty, unit, unit + step - 1, dirty ? xa_mk_value(1) : NULL);
	}
}

/* Blocks of orders at random, some of which say they are larger than they can be */
static unsigned long random_words(struct model *m, unsigned long page, unsigned long end)
{
	unsigned long at = page, i, word;
	unsigned int order, most;

	while (at < end) {
		most = min_t(unsigned int, ilog2(end - at), at ? __ffs(at) : PUD_PAGES_ORDER);
		if (!is_device(at))
			most = min(most, POOL_ORDER);
		order = below(m, 3) ? below(m, most + 1) : most;
		word = HMM_PTE_VALID | pfn_of(m, at);
		word |= is_device(at) ? HMM_PTE_DEVICE : 0;
		word |= below(m, 2) ? HMM_PTE_WRITE : 0;
		word |= below(m, 8) ? 0 : HMM_PTE_EXCLUSIVE;
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
		end = random_end(m, page, 11);
	}
	count = random_words(m, page, end);
	first = page;
	last = end - 1;
	widen(m, &first, &last);
	ret = hmm_pt_test_publish(m->test, page << PAGE_SHIFT, count, m->words);
	KUNIT_ASSERT_EQ(m->test, first == page && last == end - 1 ? 0 : -EAGAIN, ret);
	if (ret)
		return;
	for (at = page; at < end; at += BIT(order_of(m->words[at - page])))
		add_block(m, at, m->words[at - page]);
}

static void do_clear(struct model *m)
{
	unsigned long first = random_page(m), last = random_end(m, first, 20) - 1;
	unsigned long start = first << PAGE_SHIFT, end = (last + 1) << PAGE_SHIFT;

	hmm_pt_test_clear(m->test, &start, &end);
	widen(m, &first, &last);
	KUNIT_ASSERT_EQ(m->test, first << PAGE_SHIFT, start);
	KUNIT_ASSERT_EQ(m->test, (last + 1) << PAGE_SHIFT, end);
	tell(m, first, last);
	store(m, &m->blocks, first, last, NULL);
	store(m, &m->dirty, first, last, NULL);
}

static void do_protect(struct model *m)
{
	unsigned long first = random_page(m), last = random_end(m, first, 14) - 1;
	unsigned long start = first << PAGE_SHIFT, end = (last + 1) << PAGE_SHIFT;
	unsigned long index;
	void *value;

	hmm_pt_test_protect(m->test, &start, &end);
	widen(m, &first, &last);
	KUNIT_ASSERT_EQ(m->test, first << PAGE_SHIFT, start);
	KUNIT_ASSERT_EQ(m->test, (last + 1) << PAGE_SHIFT, end);
	tell(m, first, last);
	store(m, &m->dirty, first, last, NULL);
	index = first;
	mt_for_each(&m->blocks, value, index, last) {
		unsigned long word = from_value(value) & ~HMM_PTE_WRITE;

		store(m, &m->blocks, index - BIT(order_of(word)), index - 1, to_value(word));
	}
}

static void do_dirty(struct model *m)
{
	unsigned long first = random_page(m), last = random_end(m, first, 12) - 1;
	unsigned long index = first;
	void *value;

	hmm_pt_test_dirty(m->test, first << PAGE_SHIFT, (last + 1) << PAGE_SHIFT);
	mt_for_each(&m->blocks, value, index, last) {
		unsigned long word = from_value(value), step = BIT(unit_order(word));
		unsigned long block = index - BIT(order_of(word));

		if (!(word & HMM_PTE_WRITE))
			continue;
		store(m, &m->dirty, round_down(max(block, first), step),
		      round_up(min(last + 1, index), step) - 1, xa_mk_value(1));
	}
}

static void do_ask(struct model *m)
{
	unsigned long first = random_page(m), last = random_end(m, first, 20) - 1;
	unsigned long start = first << PAGE_SHIFT, end = (last + 1) << PAGE_SHIFT;
	bool occupied = false, writable = false;
	unsigned long index = first;
	void *value;

	mt_for_each(&m->blocks, value, index, last) {
		occupied = true;
		writable = writable || from_value(value) & HMM_PTE_WRITE;
	}
	KUNIT_ASSERT_EQ(m->test, occupied, hmm_pt_test_occupied(m->test, start, end));
	KUNIT_ASSERT_EQ(m->test, writable, hmm_pt_test_writable(m->test, start, end));
}

/* What hmm_pt_for_each() says of each page, in runs that could not be longer */
static void look(struct model *m, unsigned long first, unsigned long end)
{
	struct hmm_pt_iter iter;
	unsigned long behind = 0, next = 0, page;

	memset(m->seen, 0, (end - first) * sizeof(*m->seen));
	down_read(&m->t->lock);
	hmm_pt_for_each(&iter, m->t, first << PAGE_SHIFT, end << PAGE_SHIFT) {
		KUNIT_EXPECT_GT(m->test, iter.end, iter.addr);
		KUNIT_EXPECT_GE(m->test, iter.addr, behind);
		KUNIT_EXPECT_FALSE(m->test, iter.addr == behind && iter.pte.pfn == next);
		for (page = iter.addr >> PAGE_SHIFT; page < iter.end >> PAGE_SHIFT; page++)
			m->seen[page - first] = iter.pte.pfn + page -
						(iter.addr >> PAGE_SHIFT);
		behind = iter.end;
		next = iter.pte.pfn + ((iter.end - iter.addr) >> PAGE_SHIFT);
	}
	up_read(&m->t->lock);
}

static void do_look(struct model *m)
{
	unsigned long first = random_page(m), end = random_end(m, first, 12);
	unsigned long index = first, page, bad = 0;
	void *value;

	look(m, first, end);
	memset(m->words, 0, (end - first) * sizeof(*m->words));
	mt_for_each(&m->blocks, value, index, end - 1) {
		unsigned long word = from_value(value);
		unsigned long block = index - BIT(order_of(word));

		for (page = max(block, first); page < index && page < end; page++)
			m->words[page - first] = word + page - block;
	}
	for (page = first; page < end; page++) {
		if (m->words[page - first] && mtree_load(&m->dirty, page))
			m->words[page - first] |= HMM_PTE_DIRTY;
		bad += m->words[page - first] != m->seen[page - first];
	}
	page = first + below(m, end - first);
	bad += m->words[page - first] !=
	       hmm_pt_test_lookup(m->test, page << PAGE_SHIFT).pfn;
	KUNIT_ASSERT_EQ_MSG(m->test, 0, bad, "[%lx, %lx) at %lu", first, end, m->done);
}

static void do_reclaim(struct model *m)
{
	unsigned long first = random_page(m), end = random_end(m, first, 20);

	hmm_pt_reclaim(&m->t->pt, first << PAGE_SHIFT, end << PAGE_SHIFT);
}

static void (*const operations[])(struct model *m) = {
	do_map, do_map, do_map, do_clear, do_protect, do_dirty, do_dirty, do_ask, do_look,
	do_look,
};

static void free_pool(void *pool)
{
	__free_pages(pool, POOL_ORDER);
}

static void free_trees(void *arg)
{
	struct model *m = arg;

	mtree_destroy(&m->blocks);
	mtree_destroy(&m->dirty);
}

static struct model *new_model(struct kunit *test)
{
	struct model *m = kunit_kzalloc(test, sizeof(*m), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, m);
	m->test = test;
	m->t = test->priv;
	mt_init(&m->blocks);
	mt_init(&m->dirty);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, free_trees, m));
	m->pool = alloc_pages(GFP_KERNEL, POOL_ORDER);
	KUNIT_ASSERT_NOT_NULL(test, m->pool);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, free_pool, m->pool));
	m->words = hmm_pt_test_words(test, BIT(PUD_PAGES_ORDER));
	m->seen = hmm_pt_test_words(test, PAGES_MAX);

	m->places[m->nr_places++] = 0;
	m->places[m->nr_places++] = BIT(P4D_SHIFT - PAGE_SHIFT);
	m->places[m->nr_places++] = TASK_SIZE_MAX >> PAGE_SHIFT;
	if (PGDIR_SHIFT > P4D_SHIFT)
		m->places[m->nr_places++] = BIT(PGDIR_SHIFT - PAGE_SHIFT);
	return m;
}

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
			check_told(m);
		}
		cond_resched();
	}
	check_told(m);
}
