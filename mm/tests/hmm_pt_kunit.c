// SPDX-License-Identifier: GPL-2.0
/*
 * The mirror page table without a mirror: what each operation does, above all at the ends
 * of ranges, blocks and tables. hmm_pt_random.c tests random operations.
 */
#include <kunit/static_stub.h>
#include <linux/kthread.h>
#include <linux/pgtable.h>
#include <linux/xarray.h>

#include "hmm_pt_test.h"

/* A pfn without memory. The tests never access it, because it never becomes dirty. */
#define FAR_PFN		BIT(40)
#define PAGES(shift)	BIT((shift) - PAGE_SHIFT)
/* Number of rounds of the writer with concurrent readers */
#define ROUNDS		(IS_ENABLED(CONFIG_KASAN) ? 1000 : 5000)

static unsigned long bytes(struct kunit *test)
{
	struct hmm_pt_test *t = test->priv;

	return atomic_long_read(&t->pt.bytes);
}

/* Expect one run in a range, which has exactly the given ends. */
static void expect_run(struct kunit *test, unsigned long addr, unsigned long npages,
		       unsigned long word)
{
	unsigned long end = addr + (npages << PAGE_SHIFT);
	unsigned long from = addr ? addr - PAGE_SIZE : addr;
	struct hmm_pt_test *t = test->priv;
	struct hmm_pt_iter iter;
	unsigned int runs = 0;

	down_read(&t->lock);
	hmm_pt_for_each(&iter, t, from, end + PAGE_SIZE) {
		KUNIT_EXPECT_EQ(test, addr, iter.addr);
		KUNIT_EXPECT_EQ(test, end, iter.end);
		KUNIT_EXPECT_EQ(test, word, iter.pte.pfn);
		runs++;
	}
	KUNIT_EXPECT_EQ(test, 1, runs);
	/* An empty range has no run. */
	hmm_pt_for_each(&iter, t, 0, 0)
		KUNIT_FAIL(test, "%lx is not in an empty range", iter.addr);
	/* A range inside of the run */
	if (npages > 2) {
		hmm_pt_first(&iter, &t->pt, addr + PAGE_SIZE, end - PAGE_SIZE);
		KUNIT_EXPECT_TRUE(test, hmm_pt_next(&iter));
		KUNIT_EXPECT_EQ(test, addr + PAGE_SIZE, iter.addr);
		KUNIT_EXPECT_EQ(test, end - PAGE_SIZE, iter.end);
		KUNIT_EXPECT_EQ(test, word + 1, iter.pte.pfn);
		KUNIT_EXPECT_FALSE(test, hmm_pt_next(&iter));
	}
	up_read(&t->lock);
}

/* An empty table has no entry, and its operations change no range. */
static void pt_empty(struct kunit *test)
{
	unsigned long start = 0, end = TASK_SIZE_MAX;
	struct hmm_pt_test *t = test->priv;
	struct hmm_pt_iter iter;

	kunit_info(test, "%u levels\n", t->pt.top + 1);
	KUNIT_EXPECT_EQ(test, HMM_PT_LEVELS - mm_p4d_folded(NULL), t->pt.top + 1);
	KUNIT_EXPECT_FALSE(test, hmm_pt_test_occupied(test, start, end));
	KUNIT_EXPECT_FALSE(test, hmm_pt_test_writable(test, start, end));
	KUNIT_EXPECT_FALSE(test, hmm_pte_valid(hmm_pt_test_lookup(test, PAGE_SIZE)));
	hmm_pt_test_clear(test, &start, &end);
	KUNIT_EXPECT_EQ(test, 0, start);
	KUNIT_EXPECT_EQ(test, TASK_SIZE_MAX, end);

	down_read(&t->lock);
	hmm_pt_for_each(&iter, t, 0, TASK_SIZE_MAX)
		KUNIT_FAIL(test, "a run in an empty table");
	up_read(&t->lock);
}

static const struct {
	const char *name;
	unsigned int shift;
} borders[] = {
	{ "first page", 0 },
	{ "pte tables", PMD_SHIFT },
	{ "pmd tables", PUD_SHIFT },
	{ "pud tables", 39 },
	{ "p4d tables", 48 },
	{ "last page", 64 },
};

static void border_desc(const typeof(*borders) *border, char *desc)
{
	strscpy(desc, border->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(borders, borders, border_desc);

static unsigned long border_addr(struct kunit *test)
{
	const typeof(*borders) *border = test->param_value;

	if (!border->shift)
		return 0;
	if (border->shift == 64)
		return TASK_SIZE_MAX;
	/* A table of four levels ends below, where its tests use another boundary. */
	return BIT(min_t(unsigned int, border->shift, ilog2(TASK_SIZE_MAX - 1)));
}

/*
 * Pages on both sides of a boundary of tables are one run, and can be cleared one by one.
 */
static void pt_table_boundary(struct kunit *test)
{
	unsigned long word = HMM_PT_TEST_RW | FAR_PFN, border = border_addr(test);
	unsigned long addr = border ? border - 7 * PAGE_SIZE : 0, i, start, end;
	unsigned long npages = border == TASK_SIZE_MAX ? 7 : 13;
	struct hmm_pt_test *t = test->priv;
	struct hmm_pt_iter iter;

	hmm_pt_test_map(test, addr, npages, word);
	expect_run(test, addr, npages, word);
	for (i = 0; i < npages; i++)
		KUNIT_EXPECT_EQ(test, word + i,
				hmm_pt_test_lookup(test, addr + (i << PAGE_SHIFT)).pfn);

	/* A run that begins with the last page of a table, after another run */
	hmm_pt_test_map(test, addr + 5 * PAGE_SIZE, 1, word + npages);
	down_read(&t->lock);
	hmm_pt_first(&iter, &t->pt, addr + 5 * PAGE_SIZE, TASK_SIZE_MAX);
	KUNIT_EXPECT_TRUE(test, hmm_pt_next(&iter));
	KUNIT_EXPECT_EQ(test, addr + 6 * PAGE_SIZE, iter.end);
	KUNIT_EXPECT_TRUE(test, hmm_pt_next(&iter));
	KUNIT_EXPECT_EQ(test, addr + (npages << PAGE_SHIFT), iter.end);
	up_read(&t->lock);

	for (i = 0; i < npages; i++) {
		start = addr + (i << PAGE_SHIFT);
		end = start + PAGE_SIZE;
		KUNIT_EXPECT_TRUE(test, hmm_pt_test_writable(test, addr, end));
		hmm_pt_test_protect(test, &start, &end);
		KUNIT_EXPECT_FALSE(test, hmm_pt_test_writable(test, addr, end));
		KUNIT_EXPECT_EQ(test, i + 1 < npages,
				hmm_pt_test_writable(test, addr, TASK_SIZE_MAX));
		hmm_pt_test_clear(test, &start, &end);
		KUNIT_EXPECT_FALSE(test, hmm_pt_test_occupied(test, 0, end));
		KUNIT_EXPECT_EQ(test, i + 1 < npages,
				hmm_pt_test_occupied(test, end, TASK_SIZE_MAX));
	}
}

static const unsigned int block_orders[] = {
	1, 4, PMD_ORDER - 1, PMD_ORDER, PMD_ORDER + 1, PMD_ORDER + 4, PUD_SHIFT - PAGE_SHIFT,
};

static void order_desc(const unsigned int *order, char *desc)
{
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "order %u", *order);
}

KUNIT_ARRAY_PARAM(block_orders, block_orders, order_desc);

/* A change of any page of a block changes the whole block, and no neighbour. */
static void pt_block_changes_whole(struct kunit *test)
{
	unsigned int order = *(const unsigned int *)test->param_value;
	unsigned long word = hmm_pt_test_block(HMM_PT_TEST_RW | FAR_PFN, order);
	unsigned long size = PAGE_SIZE << order, addr = BIT(39), start, end;
	const unsigned long hits[][2] = {
		{ addr, addr + PAGE_SIZE },
		{ addr + size - PAGE_SIZE, addr + size },
		{ addr - PAGE_SIZE, addr + PAGE_SIZE },
		{ addr + size - PAGE_SIZE, addr + size + PAGE_SIZE },
		{ addr, addr + size },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(hits); i++) {
		hmm_pt_test_map(test, addr, BIT(order), word);
		expect_run(test, addr, BIT(order), word);
		hmm_pt_test_map(test, addr - PAGE_SIZE, 1, HMM_PT_TEST_RW | 1);
		hmm_pt_test_map(test, addr + size, 1, HMM_PT_TEST_RW | 2);

		start = hits[i][0];
		end = hits[i][1];
		hmm_pt_test_protect(test, &start, &end);
		KUNIT_EXPECT_EQ(test, min(hits[i][0], addr), start);
		KUNIT_EXPECT_EQ(test, max(hits[i][1], addr + size), end);
		KUNIT_EXPECT_FALSE(test, hmm_pt_test_writable(test, start, end));
		KUNIT_EXPECT_EQ(test, (word & ~HMM_PTE_WRITE) + BIT(order) - 1,
				hmm_pt_test_lookup(test, addr + size - PAGE_SIZE).pfn);

		start = hits[i][0];
		end = hits[i][1];
		hmm_pt_test_clear(test, &start, &end);
		KUNIT_EXPECT_EQ(test, min(hits[i][0], addr), start);
		KUNIT_EXPECT_EQ(test, max(hits[i][1], addr + size), end);
		KUNIT_EXPECT_FALSE(test, hmm_pt_test_occupied(test, addr, addr + size));
		KUNIT_EXPECT_EQ(test, hits[i][0] == addr || hits[i][0] > addr,
				hmm_pt_test_occupied(test, 0, addr));
		KUNIT_EXPECT_EQ(test, hits[i][1] <= addr + size,
				hmm_pt_test_occupied(test, addr + size, TASK_SIZE_MAX));
		start = 0;
		end = TASK_SIZE_MAX;
		hmm_pt_test_clear(test, &start, &end);
	}
}

/* The part of a block inside of the range is published in smaller blocks. */
static void pt_block_clipped(struct kunit *test)
{
	unsigned long word = hmm_pt_test_block(HMM_PTE_VALID | FAR_PFN, PMD_ORDER);
	unsigned long words[8];
	unsigned int i;

	/* Pages 3, 4 to 7 and 8 of a THP */
	hmm_pt_test_map(test, PMD_SIZE + 3 * PAGE_SIZE, 6, word + 3);
	for (i = 3; i < 9; i++)
		KUNIT_EXPECT_EQ(test, i > 3 && i < 8 ? 2 : 0,
				hmm_pte_order(hmm_pt_test_lookup(test, PMD_SIZE + i * PAGE_SIZE)));

	/* Blocks with a writable neighbour, and unaligned blocks */
	hmm_pt_test_fill(words, 6, hmm_pt_test_block(HMM_PTE_VALID | FAR_PFN, 3));
	words[0] |= HMM_PTE_WRITE;
	KUNIT_ASSERT_EQ(test, 0, hmm_pt_test_publish(test, 0, 6, words));
	for (i = 0; i < 6; i++)
		KUNIT_EXPECT_EQ(test, i < 2 ? 0 : 1,
				hmm_pte_order(hmm_pt_test_lookup(test, i * PAGE_SIZE)));
	hmm_pt_test_map(test, PUD_SIZE, PTRS_PER_PTE, word + 1);
	for (i = 0; i < 6; i++)
		KUNIT_EXPECT_EQ(test, 0,
				hmm_pte_order(hmm_pt_test_lookup(test, PUD_SIZE + i * PAGE_SIZE)));

	/* A block that continues after the stage */
	word = hmm_pt_test_block(HMM_PTE_VALID | FAR_PFN, 3);
	hmm_pt_test_fill(words, 8, word);
	KUNIT_ASSERT_EQ(test, 0, hmm_pt_test_publish(test, 2 * PUD_SIZE, 6, words));
	for (i = 0; i < 6; i++)
		KUNIT_EXPECT_EQ(test, i < 4 ? 2 : 1,
				hmm_pte_order(hmm_pt_test_lookup(test, 2 * PUD_SIZE +
								 i * PAGE_SIZE)));
	KUNIT_EXPECT_EQ(test, word + 6, words[6]);
	KUNIT_EXPECT_EQ(test, word + 7, words[7]);
}

/* Small entries replace a huge one, and a huge entry replaces small ones. */
static void pt_replace(struct kunit *test)
{
	unsigned long huge = hmm_pt_test_block(HMM_PTE_VALID | FAR_PFN, PUD_SHIFT - PAGE_SHIFT);
	unsigned long *words = hmm_pt_test_words(test, PAGES(PUD_SHIFT));
	unsigned long empty, addr = PUD_SIZE;

	hmm_pt_test_map(test, addr, PAGES(PUD_SHIFT), huge);
	empty = bytes(test);
	hmm_pt_test_map(test, addr, PAGES(PUD_SHIFT), HMM_PT_TEST_RW | FAR_PFN);
	expect_run(test, addr, PAGES(PUD_SHIFT), HMM_PT_TEST_RW | FAR_PFN);
	KUNIT_EXPECT_EQ(test, empty + PAGE_SIZE * (1 + PTRS_PER_PMD), bytes(test));
	hmm_pt_test_map(test, addr, PAGES(PUD_SHIFT), huge);
	expect_run(test, addr, PAGES(PUD_SHIFT), huge);
	KUNIT_EXPECT_EQ(test, empty, bytes(test));
	KUNIT_EXPECT_FALSE(test, hmm_pt_test_writable(test, 0, TASK_SIZE_MAX));

	/* A stage that cuts a huge entry must cover all of it. */
	hmm_pt_test_fill(words, 1, HMM_PT_TEST_RW | 1);
	KUNIT_EXPECT_EQ(test, -EAGAIN, hmm_pt_test_publish(test, addr, 1, words));
	KUNIT_EXPECT_EQ(test, -EAGAIN, hmm_pt_test_publish(test, addr + PUD_SIZE - PAGE_SIZE,
							   1, words));
	expect_run(test, addr, PAGES(PUD_SHIFT), huge);
	KUNIT_EXPECT_EQ(test, empty, bytes(test));
}

/* A stage can reuse a table that an entry replaces, as an empty table next to it. */
static void pt_table_reused(struct kunit *test)
{
	unsigned long huge = hmm_pt_test_block(HMM_PTE_VALID | FAR_PFN, PUD_SHIFT - PAGE_SHIFT);
	unsigned long word = HMM_PTE_VALID | FAR_PFN, pages = PAGES(PUD_SHIFT);
	unsigned long *words = hmm_pt_test_words(test, pages + 1);
	struct hmm_pt_test *t = test->priv;
	struct hmm_pt_stage stage, other;

	hmm_pt_test_map(test, PUD_SIZE + 5 * PMD_SIZE, 1, word);
	hmm_pt_test_fill(words, pages, huge);
	words[pages] = word;
	hmm_pt_test_stage(test, &stage, PUD_SIZE, pages + 1, words);
	KUNIT_ASSERT_EQ(test, 0, hmm_pt_prepare(&t->pt, &stage));
	KUNIT_EXPECT_EQ(test, 0, hmm_pt_test_publish_staged(test, &stage));
	KUNIT_EXPECT_EQ(test, word, hmm_pt_test_lookup(test, 2 * PUD_SIZE).pfn);

	/* The table has no slot from its earlier use. */
	hmm_pt_test_stage(test, &other, 2 * PUD_SIZE + 5 * PMD_SIZE, 1, &word);
	KUNIT_EXPECT_EQ(test, 0, hmm_pt_prepare(&t->pt, &other));
	KUNIT_EXPECT_EQ(test, 1, other.spare.count[0]);
	hmm_pt_unstage(&t->pt, &other);
	hmm_pt_unstage(&t->pt, &stage);
}

/* A stage with a hole and an empty stage are rejected. */
static void pt_bad_stages(struct kunit *test)
{
	unsigned long words[3] = { HMM_PTE_VALID | 1, 0, HMM_PTE_VALID | 2 };

	KUNIT_EXPECT_EQ(test, -EINVAL, hmm_pt_test_publish(test, 0, 3, words));
	KUNIT_EXPECT_EQ(test, -EINVAL, hmm_pt_test_publish(test, 0, 0, words));
	KUNIT_EXPECT_FALSE(test, hmm_pt_test_occupied(test, 0, TASK_SIZE_MAX));
}

/* A stage whose tables are reclaimed after its preparation must be prepared again. */
static void pt_reclaim_after_prepare(struct kunit *test)
{
	unsigned long word = HMM_PTE_VALID | FAR_PFN, addr = PUD_SIZE, empty = bytes(test);
	unsigned long start = 0, end = TASK_SIZE_MAX, full;
	struct hmm_pt_test *t = test->priv;
	struct hmm_pt_stage stage;

	hmm_pt_test_map(test, addr, 1, word);
	full = bytes(test);
	hmm_pt_reclaim(&t->pt, 0, TASK_SIZE_MAX);
	KUNIT_EXPECT_EQ(test, full, bytes(test));

	hmm_pt_test_stage(test, &stage, addr, 1, &word);
	KUNIT_ASSERT_EQ(test, 0, hmm_pt_prepare(&t->pt, &stage));
	KUNIT_EXPECT_EQ(test, full, bytes(test));
	hmm_pt_test_clear(test, &start, &end);
	KUNIT_EXPECT_EQ(test, full, bytes(test));
	hmm_pt_reclaim(&t->pt, addr, addr + PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, empty, bytes(test));

	down_write(&t->lock);
	KUNIT_EXPECT_EQ(test, -EAGAIN, hmm_pt_publish(&t->pt, &stage));
	KUNIT_EXPECT_FALSE(test, hmm_pt_occupied(&t->pt, 0, TASK_SIZE_MAX));
	up_write(&t->lock);
	KUNIT_ASSERT_EQ(test, 0, hmm_pt_prepare(&t->pt, &stage));
	down_write(&t->lock);
	KUNIT_EXPECT_EQ(test, 0, hmm_pt_publish(&t->pt, &stage));
	up_write(&t->lock);
	hmm_pt_unstage(&t->pt, &stage);
	expect_run(test, addr, 1, word);
	KUNIT_EXPECT_EQ(test, full, bytes(test));
}

static void free_page_of(void *page)
{
	__free_page(page);
}

static struct page *some_page(struct kunit *test)
{
	struct page *page = alloc_page(GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, page);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, free_page_of, page));
	return page;
}

/* Return whether @page was marked dirty since the last call. */
static bool was_marked_dirty(struct page *page)
{
	bool dirty = PageDirty(page);

	ClearPageDirty(page);
	return dirty;
}

/*
 * The page becomes dirty when the entry is write-protected, cleared or replaced, and only
 * if the device has written.
 */
static void pt_dirty_marks_page(struct kunit *test)
{
	struct page *page = some_page(test);
	unsigned long word = HMM_PT_TEST_RW | page_to_pfn(page), start, end;

	hmm_pt_test_map(test, 0, 1, word);
	hmm_pt_test_dirty(test, 0, TASK_SIZE_MAX);
	KUNIT_EXPECT_TRUE(test, hmm_pte_dirty(hmm_pt_test_lookup(test, 0)));
	KUNIT_EXPECT_FALSE(test, was_marked_dirty(page));

	/* The write protection marks the page once. */
	start = 0;
	end = PAGE_SIZE;
	hmm_pt_test_protect(test, &start, &end);
	KUNIT_EXPECT_TRUE(test, was_marked_dirty(page));
	KUNIT_EXPECT_EQ(test, word & ~HMM_PTE_WRITE, hmm_pt_test_lookup(test, 0).pfn);
	hmm_pt_test_dirty(test, 0, TASK_SIZE_MAX);
	hmm_pt_test_clear(test, &start, &end);
	KUNIT_EXPECT_FALSE(test, was_marked_dirty(page));

	/* A clear marks the page if the device has written. */
	hmm_pt_test_map(test, 0, 1, word);
	hmm_pt_test_clear(test, &start, &end);
	KUNIT_EXPECT_FALSE(test, was_marked_dirty(page));
	hmm_pt_test_map(test, 0, 1, word);
	hmm_pt_test_dirty(test, 0, PAGE_SIZE);
	hmm_pt_test_clear(test, &start, &end);
	KUNIT_EXPECT_TRUE(test, was_marked_dirty(page));

	/*
	 * A replacement marks the page, and the entry stays dirty as long as it is
	 * writable.
	 */
	hmm_pt_test_map(test, 0, 1, word);
	hmm_pt_test_dirty(test, 0, PAGE_SIZE);
	hmm_pt_test_map(test, 0, 1, word);
	KUNIT_EXPECT_TRUE(test, was_marked_dirty(page));
	KUNIT_EXPECT_TRUE(test, hmm_pte_dirty(hmm_pt_test_lookup(test, 0)));
	hmm_pt_test_map(test, 0, 1, HMM_PT_TEST_RW | FAR_PFN);
	KUNIT_EXPECT_TRUE(test, was_marked_dirty(page));
	KUNIT_EXPECT_FALSE(test, hmm_pte_dirty(hmm_pt_test_lookup(test, 0)));
}

/* The same when small entries replace a huge one */
static void pt_dirty_split(struct kunit *test)
{
	void *memory = kunit_kmalloc(test, PMD_SIZE, GFP_KERNEL);
	unsigned long word, addr = 3 * PMD_SIZE, last = addr + PMD_SIZE - PAGE_SIZE;
	struct page *page;

	KUNIT_ASSERT_NOT_NULL(test, memory);
	page = virt_to_page(memory);
	word = HMM_PT_TEST_RW | page_to_pfn(page);
	hmm_pt_test_map(test, addr, PTRS_PER_PTE, hmm_pt_test_block(word, PMD_ORDER));
	hmm_pt_test_dirty(test, addr, addr + PAGE_SIZE);
	KUNIT_EXPECT_FALSE(test, was_marked_dirty(page));
	hmm_pt_test_map(test, addr, PTRS_PER_PTE, word);
	KUNIT_EXPECT_TRUE(test, was_marked_dirty(page));
	KUNIT_EXPECT_TRUE(test, hmm_pte_dirty(hmm_pt_test_lookup(test, addr)));
	KUNIT_EXPECT_TRUE(test, hmm_pte_dirty(hmm_pt_test_lookup(test, last)));

	/* Read-only entries or other pages replace the huge one, and mark the page once. */
	hmm_pt_test_map(test, addr, PTRS_PER_PTE, hmm_pt_test_block(word, PMD_ORDER));
	hmm_pt_test_dirty(test, last, last + PAGE_SIZE);
	was_marked_dirty(page);
	hmm_pt_test_map(test, addr, PTRS_PER_PTE, word & ~HMM_PTE_WRITE);
	KUNIT_EXPECT_TRUE(test, was_marked_dirty(page));
	KUNIT_EXPECT_FALSE(test, hmm_pte_dirty(hmm_pt_test_lookup(test, last)));
	hmm_pt_test_map(test, addr, PTRS_PER_PTE, hmm_pt_test_block(word, PMD_ORDER));
	hmm_pt_test_dirty(test, last, last + PAGE_SIZE);
	hmm_pt_test_map(test, addr, PTRS_PER_PTE, HMM_PTE_VALID | FAR_PFN);
	KUNIT_EXPECT_TRUE(test, was_marked_dirty(page));
}

/* Pages of device memory are not marked: this pfn has no struct page. */
static void pt_dirty_device(struct kunit *test)
{
	unsigned long word = HMM_PT_TEST_RW | HMM_PTE_DEVICE | FAR_PFN;
	unsigned long start = 0, end = TASK_SIZE_MAX;

	hmm_pt_test_map(test, PMD_SIZE, PTRS_PER_PTE, hmm_pt_test_block(word, PMD_ORDER));
	hmm_pt_test_map(test, 0, 1, word);
	hmm_pt_test_dirty(test, 0, TASK_SIZE_MAX);
	KUNIT_EXPECT_TRUE(test, hmm_pte_dirty(hmm_pt_test_lookup(test, 0)));
	KUNIT_EXPECT_TRUE(test, hmm_pte_dirty(hmm_pt_test_lookup(test, 2 * PMD_SIZE - PAGE_SIZE)));
	hmm_pt_test_protect(test, &start, &end);
	KUNIT_EXPECT_FALSE(test, hmm_pte_dirty(hmm_pt_test_lookup(test, 0)));
	hmm_pt_test_clear(test, &start, &end);
}

/* A write-protected entry is no longer exclusive. */
static void pt_exclusive(struct kunit *test)
{
	unsigned long word = HMM_PT_TEST_RW | HMM_PTE_DEVICE | HMM_PTE_EXCLUSIVE | FAR_PFN;
	unsigned long start = PAGE_SIZE, end = 3 * PAGE_SIZE, i;

	hmm_pt_test_map(test, 0, 4, word);
	hmm_pt_test_dirty(test, 0, TASK_SIZE_MAX);
	hmm_pt_test_protect(test, &start, &end);
	for (i = 0; i < 4; i++) {
		hmm_pte_t pte = hmm_pt_test_lookup(test, i * PAGE_SIZE);
		bool whole = i == 0 || i == 3;

		KUNIT_EXPECT_TRUE(test, hmm_pte_valid(pte));
		KUNIT_EXPECT_EQ(test, FAR_PFN + i, hmm_pte_pfn(pte));
		KUNIT_EXPECT_EQ(test, whole, hmm_pte_write(pte));
		KUNIT_EXPECT_EQ(test, whole, hmm_pte_dirty(pte));
		KUNIT_EXPECT_EQ(test, whole, hmm_pte_exclusive(pte));
	}
}

/* hmm_pte_set_dirty() marks exactly the current run. */
static void pt_dirty_run(struct kunit *test)
{
	unsigned long word = HMM_PT_TEST_RW | HMM_PTE_DEVICE | FAR_PFN;
	struct hmm_pt_test *t = test->priv;
	struct hmm_pt_iter iter;
	unsigned int i;

	hmm_pt_test_map(test, PMD_SIZE - 3 * PAGE_SIZE, 6, word);
	down_read(&t->lock);
	hmm_pt_for_each(&iter, t, PMD_SIZE - 2 * PAGE_SIZE, PMD_SIZE + 2 * PAGE_SIZE)
		hmm_pte_set_dirty(&iter);
	up_read(&t->lock);
	for (i = 0; i < 6; i++)
		KUNIT_EXPECT_EQ(test, i > 0 && i < 5,
				hmm_pte_dirty(hmm_pt_test_lookup(test, PMD_SIZE + i * PAGE_SIZE -
								 3 * PAGE_SIZE)));
}

/* Number of tables that can be allocated before a failure; the test has one thread. */
static long allocations_left;

static struct page *alloc_fails(struct hmm_pt *pt, unsigned int level)
{
	struct kunit *test = kunit_get_current_test();
	struct page *page;

	if (!allocations_left--)
		return NULL;
	kunit_deactivate_static_stub(test, hmm_pt_alloc_table);
	page = hmm_pt_alloc_table(pt, level);
	kunit_activate_static_stub(test, hmm_pt_alloc_table, alloc_fails);
	return page;
}

/*
 * A failed allocation of any table leaves no table. With enough tables the stage
 * succeeds.
 */
static void pt_alloc_fails(struct kunit *test)
{
	unsigned long word = HMM_PTE_VALID | FAR_PFN, addr = BIT(39) - PAGE_SIZE;
	struct hmm_pt_test *t = test->priv;
	unsigned long empty = bytes(test), words[2];
	unsigned int fails;

	for (fails = 0; fails <= 2 * t->pt.top; fails++) {
		hmm_pt_test_fill(words, 2, word);
		allocations_left = fails;
		kunit_activate_static_stub(test, hmm_pt_alloc_table, alloc_fails);
		if (!hmm_pt_test_publish(test, addr, 2, words))
			break;
		KUNIT_EXPECT_EQ(test, empty, bytes(test));
		KUNIT_EXPECT_FALSE(test, hmm_pt_test_occupied(test, 0, TASK_SIZE_MAX));
	}
	kunit_deactivate_static_stub(test, hmm_pt_alloc_table);
	/* Each page has tables of its own below the highest common one. */
	KUNIT_EXPECT_EQ(test, 6 + (t->pt.top == 4), fails);
	expect_run(test, addr, 2, word);
}

/* A page table needs 8 bytes for each entry, and the directories. */
static void pt_memory(struct kunit *test)
{
	unsigned long addr = BIT(39), pages = PAGES(PUD_SHIFT), i, tables;
	unsigned long word = HMM_PTE_VALID | FAR_PFN;
	struct hmm_pt_test *t = test->priv;
	unsigned long start = addr, end = addr + PUD_SIZE;
	unsigned long nodes = 0;

	hmm_pt_test_map(test, addr, pages, word);
	for (i = pages; i > 1; nodes += i)
		i = DIV_ROUND_UP(i, XA_CHUNK_SIZE);
	kunit_info(test, "1 GiB of 4K pages: %lu bytes, in an xarray %lu\n",
		   bytes(test), nodes * sizeof(struct xa_node));
	KUNIT_EXPECT_LE(test, 10 * bytes(test), 81 * pages);

	hmm_pt_test_clear(test, &start, &end);
	hmm_pt_reclaim(&t->pt, 0, TASK_SIZE_MAX);
	KUNIT_EXPECT_EQ(test, PAGE_SIZE, bytes(test));

	hmm_pt_test_map(test, addr, pages, hmm_pt_test_block(word, PMD_ORDER));
	/* The table of the entries, and the directories above it */
	tables = bytes(test) - t->pt.top * PAGE_SIZE + PAGE_SIZE;
	kunit_info(test, "1 GiB of 2M pages: %lu bytes and directories\n", tables);
	KUNIT_EXPECT_LE(test, 10 * tables, 81 * PTRS_PER_PMD);
}

struct pt_race {
	struct kunit *test;
	unsigned long words[64];
	unsigned long bad;
};

/* Concurrent readers see either the whole range as one run, or nothing. */
static int read_concurrently(void *arg)
{
	struct pt_race *race = arg;
	struct hmm_pt_test *t = race->test->priv;
	struct hmm_pt_iter iter;

	while (!kthread_should_stop()) {
		unsigned long pages = 0, addr = BIT(39) - 32 * PAGE_SIZE;

		down_read(&t->lock);
		hmm_pt_set_dirty(&t->pt, addr, addr + 64 * PAGE_SIZE);
		hmm_pt_for_each(&iter, t, addr, addr + 64 * PAGE_SIZE)
			pages += (iter.end - iter.addr) >> PAGE_SHIFT;
		if ((pages && pages != 64) ||
		    !pages == hmm_pt_occupied(&t->pt, addr, addr + 64 * PAGE_SIZE))
			race->bad++;
		up_read(&t->lock);
		cond_resched();
	}
	return 0;
}

/* Publication and clearing are atomic for concurrent readers. */
static void pt_concurrent_readers(struct kunit *test)
{
	unsigned long word = HMM_PT_TEST_RW | HMM_PTE_DEVICE | FAR_PFN, start, end;
	struct pt_race races[2] = { { .test = test }, { .test = test } };
	struct hmm_pt_test *t = test->priv;
	struct task_struct *threads[2];
	unsigned int i;

	for (i = 0; i < 2; i++) {
		threads[i] = kthread_run(read_concurrently, &races[i], "hmm_pt_reader/%u", i);
		KUNIT_ASSERT_NOT_ERR_OR_NULL(test, threads[i]);
	}
	for (i = 0; i < ROUNDS; i++) {
		start = BIT(39) - 32 * PAGE_SIZE;
		end = start + 64 * PAGE_SIZE;
		hmm_pt_test_fill(races[0].words, 64, word);
		KUNIT_EXPECT_EQ(test, 0, hmm_pt_test_publish(test, start, 64, races[0].words));
		cond_resched();
		hmm_pt_test_clear(test, &start, &end);
		if (i % 2)
			hmm_pt_reclaim(&t->pt, 0, TASK_SIZE_MAX);
	}
	for (i = 0; i < 2; i++) {
		kthread_stop(threads[i]);
		KUNIT_EXPECT_EQ(test, 0, races[i].bad);
	}
}

static struct kunit_case hmm_pt_cases[] = {
	KUNIT_CASE(pt_empty),
	KUNIT_CASE_PARAM(pt_table_boundary, borders_gen_params),
	KUNIT_CASE_PARAM(pt_block_changes_whole, block_orders_gen_params),
	KUNIT_CASE(pt_block_clipped),
	KUNIT_CASE(pt_replace),
	KUNIT_CASE(pt_table_reused),
	KUNIT_CASE(pt_bad_stages),
	KUNIT_CASE(pt_reclaim_after_prepare),
	KUNIT_CASE(pt_dirty_marks_page),
	KUNIT_CASE(pt_dirty_split),
	KUNIT_CASE(pt_dirty_device),
	KUNIT_CASE(pt_dirty_run),
	KUNIT_CASE(pt_exclusive),
	KUNIT_CASE(pt_alloc_fails),
	KUNIT_CASE(pt_memory),
	KUNIT_CASE(hmm_pt_memcg),
	KUNIT_CASE_SLOW(pt_concurrent_readers),
	KUNIT_CASE_SLOW(hmm_pt_random),
	{}
};

static struct kunit_suite hmm_pt_suite = {
	.name = "hmm_pt",
	.init = hmm_pt_test_init,
	.exit = hmm_pt_test_exit,
	.test_cases = hmm_pt_cases,
};

/* The same tests with contiguous DMA addresses, without those of memory use */
static struct kunit_case hmm_pt_dma_cases[] = {
	KUNIT_CASE(pt_empty),
	KUNIT_CASE_PARAM(pt_table_boundary, borders_gen_params),
	KUNIT_CASE_PARAM(pt_block_changes_whole, block_orders_gen_params),
	KUNIT_CASE(pt_block_clipped),
	KUNIT_CASE(pt_bad_stages),
	KUNIT_CASE(pt_reclaim_after_prepare),
	KUNIT_CASE(pt_dirty_marks_page),
	KUNIT_CASE(pt_dirty_split),
	KUNIT_CASE(pt_dirty_device),
	KUNIT_CASE(pt_dirty_run),
	KUNIT_CASE(pt_exclusive),
	KUNIT_CASE(pt_alloc_fails),
	KUNIT_CASE_SLOW(pt_concurrent_readers),
	KUNIT_CASE_SLOW(hmm_pt_random),
	{}
};

static int init_adjacent(struct kunit *test)
{
	int ret = hmm_pt_test_init_dma(test);
	struct hmm_pt_test *t = test->priv;

	t->device->adjacent = true;
	return ret;
}

static struct kunit_suite hmm_pt_dma_suite = {
	.name = "hmm_pt_dma",
	.init = init_adjacent,
	.exit = hmm_pt_test_exit,
	.test_cases = hmm_pt_dma_cases,
};

kunit_test_suites(&hmm_pt_suite, &hmm_pt_dma_suite);
