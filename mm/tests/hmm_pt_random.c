// SPDX-License-Identifier: GPL-2.0
/*
 * The mirror page table against a model, by operations at random.
 *
 * The model has a word for each page, as hmm_pt_load() has it. What is at an address is
 * always the same page: a change of pages would have come with an invalidation. Near
 * the places where tables of all levels meet it is one that can be told that it is
 * dirty; elsewhere it is device memory, in blocks of any order.
 *
 * With DMA addresses, each of them is looked up with the device, which knows what it
 * may access there.
 */
#include <linux/bitmap.h>
#include <linux/pgtable.h>
#include <linux/prandom.h>

#include "hmm_pt_test.h"

#define OPERATIONS	(IS_ENABLED(CONFIG_KASAN) ? 100000 : 1000000)
#define PUD_PAGES_ORDER	(PUD_SHIFT - PAGE_SHIFT)
/* Looked at or published at once */
#define PAGES_MAX	4096
/* Where no memory is, and aligned to every order */
#define DEVICE_PFN	BIT(45)
/* Only in the words of the model: mapped for DMA in both directions */
#define MAPPED_WRITE	HMM_PFN_YOUNG
/* Changed or asked for at once */
#define RANGE_ORDER	19
#define AREA_PAGES	BIT(RANGE_ORDER + 2)
#define PLACES_MAX	4

/* Memory on one side of a place, in as large a piece as can be had */
#define POOL_ORDER	10
#define POOL_PAGES	BIT(POOL_ORDER)
#define POOLS_MAX	6

struct pool {
	struct page *pages;
	unsigned long first;
	DECLARE_BITMAP(told, POOL_PAGES);
};

/* What there is on both sides of a place; no operation goes beyond. */
struct place {
	unsigned long page;
	unsigned long first;
	unsigned long *words;
};

struct model {
	struct kunit *test;
	struct hmm_pt_test *t;
	struct rnd_state rnd;
	struct place places[PLACES_MAX];
	unsigned int nr_places;
	struct pool pools[POOLS_MAX];
	unsigned int nr_pools;
	unsigned long *words;
	unsigned long *seen;
	dma_addr_t *seen_dma;
	/* How many blocks there are that DMA can reach */
	unsigned long reached;
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

/* What is dirty in a block: its pages, or its huge entries */
static unsigned int unit_order(unsigned long word)
{
	unsigned int order = order_of(word);

	return order >= PUD_PAGES_ORDER ? PUD_PAGES_ORDER : order >= PMD_ORDER ? PMD_ORDER : 0;
}

/* The word of a page, which those behind it follow */
static unsigned long *word_of(struct model *m, unsigned long page)
{
	unsigned int i = 0;

	while (page - m->places[i].first >= AREA_PAGES)
		i++;
	return &m->places[i].words[page - m->places[i].first];
}

/* A page near one of the places where tables of all levels meet */
static unsigned long random_page(struct model *m)
{
	unsigned long place = m->places[below(m, m->nr_places)].page;
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

/* The dirty pages of the range are told. */
static void tell(struct model *m, unsigned long first, unsigned long last)
{
	unsigned int i;

	for (i = 0; i < m->nr_pools; i++) {
		struct pool *pool = &m->pools[i];
		unsigned long page = max(first, pool->first);

		for (; page <= last && page - pool->first < POOL_PAGES; page++) {
			if (*word_of(m, page) & HMM_PTE_DIRTY)
				__set_bit(page - pool->first, pool->told);
		}
	}
}

/* Those that should have been told are dirty, and nobody else. */
static void check_told(struct model *m)
{
	unsigned long i, page;

	for (i = 0; i < m->nr_pools; i++) {
		struct pool *pool = &m->pools[i];

		for (page = 0; page < POOL_PAGES; page++) {
			unsigned long *flags = &pool->pages[page].flags;

			if (test_bit(PG_dirty, flags) != test_bit(page, pool->told))
				KUNIT_FAIL_AND_ABORT(m->test, "page %lx at %lu",
						     pool->first + page, m->done);
			if (test_bit(PG_dirty, flags))
				clear_bit(PG_dirty, flags);
		}
		bitmap_zero(pool->told, POOL_PAGES);
	}
}

static void widen(struct model *m, unsigned long *first, unsigned long *last)
{
	*first &= ~(BIT(order_of(*word_of(m, *first))) - 1);
	*last |= BIT(order_of(*word_of(m, *last))) - 1;
}

/* How many blocks that DMA can reach go? */
static unsigned long count_reached(struct model *m, unsigned long first, unsigned long last)
{
	const unsigned long *word = word_of(m, first), *stop = word + (last - first) + 1;
	unsigned long count = 0;

	while (word < stop) {
		count += *word && !(*word & HMM_PTE_UNADDRESSABLE);
		word += BIT(order_of(*word));
	}
	return count;
}

/* Each block is mapped once, and nothing else. */
static void check_mapped(struct model *m)
{
	if (!m->t->device)
		return;
	KUNIT_ASSERT_EQ_MSG(m->test, m->reached, m->t->device->live, "at %lu", m->done);
	KUNIT_ASSERT_STREQ_MSG(m->test, "", m->t->device->complaint ?: "", "at %lu", m->done);
}

/* What was dirty of it stays so, if it may be written, by the page or the huge entry. */
static void add_block(struct model *m, unsigned long page, unsigned long word)
{
	unsigned long *words = word_of(m, page), *stop = words + BIT(order_of(word));
	unsigned long step = BIT(unit_order(word)), i;

	m->reached += !(word & HMM_PTE_UNADDRESSABLE);
	word |= word & HMM_PTE_WRITE ? MAPPED_WRITE : 0;
	for (; words < stop; words += step) {
		unsigned long dirty = 0;

		for (i = 0; i < step; i++)
			dirty |= words[i] & HMM_PTE_DIRTY;
		dirty = word & HMM_PTE_WRITE ? dirty : 0;
		for (i = 0; i < step; i++)
			words[i] = word++ | dirty;
	}
}

/* Many tables at once, but seldom: that empties all, and takes long to look at. */
static unsigned long random_far_end(struct model *m, unsigned long page)
{
	return random_end(m, page, 1 + below(m, RANGE_ORDER + 1));
}

/* Blocks of orders at random, some of which say they are larger than they can be */
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
		/* Not onto the memory before a place */
		while (is_device && pool_of(m, at + BIT(order) - 1))
			order--;
		word = HMM_PTE_VALID | pfn_of(m, at);
		word |= is_device ? HMM_PTE_DEVICE : 0;
		word |= is_device && !below(m, 4) ? HMM_PTE_UNADDRESSABLE : 0;
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
	if (m->t->device)
		m->t->device->adjacent = below(m, 2);
	ret = hmm_pt_test_publish(m->test, page << PAGE_SHIFT, count, m->words);
	KUNIT_ASSERT_EQ(m->test, first == page && last == end - 1 ? 0 : -EAGAIN, ret);
	if (!ret) {
		m->reached -= count_reached(m, first, last);
		tell(m, first, last);
		for (at = page; at < end; at += BIT(order_of(m->words[at - page])))
			add_block(m, at, m->words[at - page]);
	}
	check_mapped(m);
}

static void do_clear(struct model *m)
{
	unsigned long first = random_page(m), last = random_far_end(m, first) - 1;
	unsigned long start = first << PAGE_SHIFT, end = (last + 1) << PAGE_SHIFT;

	hmm_pt_test_clear(m->test, &start, &end);
	widen(m, &first, &last);
	KUNIT_ASSERT_EQ(m->test, first << PAGE_SHIFT, start);
	KUNIT_ASSERT_EQ(m->test, (last + 1) << PAGE_SHIFT, end);
	m->reached -= count_reached(m, first, last);
	tell(m, first, last);
	memset(word_of(m, first), 0, (last - first + 1) * sizeof(long));
	check_mapped(m);
}

static void do_protect(struct model *m)
{
	unsigned long first = random_page(m), last = random_end(m, first, 14) - 1;
	unsigned long start = first << PAGE_SHIFT, end = (last + 1) << PAGE_SHIFT;
	unsigned long *word;

	hmm_pt_test_protect(m->test, &start, &end);
	widen(m, &first, &last);
	KUNIT_ASSERT_EQ(m->test, first << PAGE_SHIFT, start);
	KUNIT_ASSERT_EQ(m->test, (last + 1) << PAGE_SHIFT, end);
	tell(m, first, last);
	for (word = word_of(m, first); first <= last; first++)
		*word++ &= ~(HMM_PTE_WRITE | HMM_PTE_DIRTY);
	check_mapped(m);
}

static void do_dirty(struct model *m)
{
	unsigned long page = random_page(m), last = random_end(m, page, 12) - 1;
	unsigned long *word;

	hmm_pt_test_dirty(m->test, page << PAGE_SHIFT, (last + 1) << PAGE_SHIFT);
	while (page <= last) {
		unsigned long count = BIT(unit_order(*word_of(m, page)));

		page &= ~(count - 1);
		word = word_of(m, page);
		page += count;
		while (count-- && *word & HMM_PTE_WRITE)
			*word++ |= HMM_PTE_DIRTY;
	}
}

static void do_ask(struct model *m)
{
	unsigned long first = random_page(m), last = random_far_end(m, first) - 1;
	const unsigned long *word = word_of(m, first), *stop = word + (last - first) + 1;
	unsigned long start = first << PAGE_SHIFT, end = (last + 1) << PAGE_SHIFT;
	unsigned long any = 0;

	while (word < stop && !(any & HMM_PTE_WRITE))
		any |= *word++;
	KUNIT_ASSERT_EQ(m->test, any != 0, hmm_pt_test_occupied(m->test, start, end));
	KUNIT_ASSERT_EQ(m->test, (any & HMM_PTE_WRITE) != 0,
			hmm_pt_test_writable(m->test, start, end));
}

/* What hmm_pt_for_each() says of each page. How many runs are wrong, or too short? */
static unsigned long look(struct model *m, unsigned long first, unsigned long end)
{
	dma_addr_t dma, next_dma = DMA_MAPPING_ERROR;
	unsigned long behind = 0, next = 0, page, bad = 0;
	struct hmm_pt_iter iter;

	memset(m->seen, 0, (end - first) * sizeof(*m->seen));
	down_read(&m->t->lock);
	hmm_pt_for_each(&iter, m->t, first << PAGE_SHIFT, end << PAGE_SHIFT) {
		dma = hmm_pte_dma(iter.pte);
		bad += iter.end <= iter.addr || iter.addr < behind || iter.end > end << PAGE_SHIFT;
		bad += iter.addr == behind && iter.pte.pfn == next && dma == next_dma;
		if (bad)
			break;
		behind = iter.end;
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

/* How many pages of a block, from @page up to @stop, the device would not find? */
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

static void do_look(struct model *m)
{
	unsigned long first = random_page(m), end = random_end(m, first, 12);
	const unsigned long *words = word_of(m, first);
	unsigned long page, stop, bad;
	hmm_pte_t pte;

	bad = look(m, first, end);
	for (page = first; page < end; page++)
		bad += (words[page - first] & ~MAPPED_WRITE) != m->seen[page - first];
	for (page = first; !bad && page < end; page = stop) {
		unsigned long word = words[page - first], mask = BIT(order_of(word)) - 1;

		stop = min((page | mask) + 1, end);
		if (word)
			bad += count_lost(m, word, page, stop, m->seen_dma + page - first);
	}
	page = first + below(m, end - first);
	pte = hmm_pt_test_lookup(m->test, page << PAGE_SHIFT);
	bad += m->seen[page - first] != pte.pfn;
	bad += hmm_pte_valid(pte) && hmm_pte_dma(pte) != m->seen_dma[page - first];
	KUNIT_ASSERT_EQ_MSG(m->test, 0, bad, "[%lx, %lx) at %lu", first, end, m->done);
}

static void do_reclaim(struct model *m)
{
	unsigned long first = random_page(m), end = random_far_end(m, first);

	hmm_pt_reclaim(&m->t->pt, first << PAGE_SHIFT, end << PAGE_SHIFT);
}

static void (*const operations[])(struct model *m) = {
	do_map, do_map, do_map, do_clear, do_protect, do_dirty, do_dirty, do_ask, do_look,
	do_look,
};

static void free_pools(void *arg)
{
	struct model *m = arg;

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

static void add_place(struct model *m, unsigned long page)
{
	struct place *place = &m->places[m->nr_places++];

	place->page = page;
	place->first = page - AREA_PAGES / 2;
	place->words = hmm_pt_test_words(m->test, AREA_PAGES);
	if (page)
		add_pool(m, round_down(page - 1, POOL_PAGES));
	if (page < TASK_SIZE_MAX >> PAGE_SHIFT)
		add_pool(m, page);
}

static struct model *new_model(struct kunit *test)
{
	struct model *m = kunit_kzalloc(test, sizeof(*m), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, m);
	m->test = test;
	m->t = test->priv;
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, free_pools, m));
	m->words = hmm_pt_test_words(test, BIT(PUD_PAGES_ORDER));
	m->seen = hmm_pt_test_words(test, PAGES_MAX);
	m->seen_dma = (dma_addr_t *)hmm_pt_test_words(test, PAGES_MAX);
	add_place(m, 0);
	add_place(m, BIT(P4D_SHIFT - PAGE_SHIFT));
	add_place(m, TASK_SIZE_MAX >> PAGE_SHIFT);
	if (PGDIR_SHIFT > P4D_SHIFT)
		add_place(m, BIT(PGDIR_SHIFT - PAGE_SHIFT));
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
