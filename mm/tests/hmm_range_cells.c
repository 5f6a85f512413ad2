// SPDX-License-Identifier: GPL-2.0
/*
 * Each row of the walker's contract with each kind of request: a test for each cell of
 * the table in hmm_range_states.c. Each cell is tested with ranges that begin and end
 * inside of the mapping, with its first, last and only page, and together with the
 * ordinary pages on both sides, which are VMAs of their own.
 */
#include <linux/mm.h>

#include "hmm_range_states.h"

static const char * const hmm_column_names[HMM_COLUMNS] = {
	[HMM_NOT_REQUESTED]	= "not_requested",
	[HMM_ATTRIBUTES]	= "attributes",
	[HMM_REQUESTED]		= "requested",
	[HMM_REQUESTED_WRITE]	= "requested_write",
};

static const unsigned long hmm_column_request[HMM_COLUMNS] = {
	[HMM_REQUESTED]		= HMM_PFN_REQ_FAULT,
	[HMM_REQUESTED_WRITE]	= HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE,
};

/**
 * struct hmm_cut - the part of an area that a call covers
 * @name: name for messages
 * @first: its first page, counted from the start of the mapping
 * @end: its end page, exclusive
 * @per_page: requests come from &hmm_range.pfn_flags_mask: the request of the column for
 *	the mapping, and every request for its neighbours
 */
struct hmm_cut {
	const char *name;
	long first;
	long end;
	bool per_page;
};

static bool hmm_area_covers(const struct hmm_area *a, unsigned long addr)
{
	return addr >= a->addr && addr < a->addr + (a->npages << PAGE_SHIFT);
}

/* The input of the entry for @addr */
static unsigned long hmm_cell_input(const struct hmm_area *a, enum hmm_column column,
				    const struct hmm_cut *cut, unsigned long addr)
{
	unsigned long input = HMM_TEST_UNTOUCHED;

	if (!cut->per_page)
		return input;
	/* Bits that are no requests are ignored here, too. */
	input |= HMM_PFN_ERROR;
	if (hmm_area_covers(a, addr))
		return input | hmm_column_request[column];
	return input | HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE;
}

/* The flags of the entry for @addr after a successful walk */
static unsigned long hmm_cell_output(const struct hmm_area *a, enum hmm_column column,
				     unsigned long addr)
{
	unsigned long entry = HMM_PFN_VALID | HMM_PFN_WRITE;

	if (hmm_area_covers(a, addr))
		return a->state->cell[column].entry;
	if (column == HMM_ATTRIBUTES)
		entry |= HMM_PFN_READ | HMM_PFN_DIRTY | HMM_PFN_YOUNG;
	return entry;
}

/* Does the entry for @addr have the pfn of the page there? */
static bool hmm_cell_pfn_is_right(const struct hmm_area *a, unsigned long addr,
				  unsigned long entry)
{
	unsigned long pfn = entry & ~HMM_PFN_FLAGS;
	struct page *page;
	bool right;

	if (!(entry & HMM_PFN_VALID))
		return !pfn;
	if (a->pfn && hmm_area_covers(a, addr) &&
	    pfn == a->pfn + ((addr - a->addr) >> PAGE_SHIFT))
		return true;
	if (get_user_pages_fast(addr, 1, 0, &page) != 1)
		return false;
	right = page_to_pfn(page) == pfn;
	put_page(page);
	return right;
}

static void hmm_cell_check_entries(const struct hmm_area *a, enum hmm_column column,
				   const struct hmm_cut *cut,
				   const struct hmm_range *range)
{
	const struct hmm_outcome *outcome = &a->state->cell[column];
	unsigned long addr, entry, expected, bad = 0, i = 0;
	bool failed = false, pfns;

	for (addr = range->start; addr < range->end; addr += PAGE_SIZE, i++) {
		entry = range->hmm_pfns[i];
		failed |= outcome->ret && hmm_area_covers(a, addr);
		if (failed) {
			expected = hmm_cell_input(a, column, cut, addr);
			if (entry == expected)
				continue;
		} else {
			/*
			 * Check some pages of a 1 GiB mapping only, because each check
			 * takes time.
			 */
			pfns = a->npages <= HPAGE_PMD_NR || i % 509 == 0;
			expected = hmm_cell_output(a, column, addr);
			if (hmm_test_flags(entry) == expected &&
			    (!pfns || hmm_cell_pfn_is_right(a, addr, entry)))
				continue;
		}
		if (!bad++)
			KUNIT_FAIL(a->test, "%s: page %ld: is %lx, should be %lx",
				   cut->name, cut->first + i, entry, expected);
	}
	KUNIT_EXPECT_EQ_MSG(a->test, 0, bad, "%s: number of wrong entries", cut->name);
}

/*
 * Walk, and repeat the walk on -EBUSY after an invalidation: a fault that breaks COW
 * invalidates the range. Each page of the mapping can do this once.
 */
static int hmm_cell_walk(const struct hmm_area *a, enum hmm_column column,
			 const struct hmm_cut *cut, struct hmm_range_test *t)
{
	unsigned long tries = min(a->npages, HPAGE_PMD_NR) + 1, addr, i, before;
	int ret;

	do {
		i = 0;
		before = t->invalidations;
		for (addr = t->range.start; addr < t->range.end; addr += PAGE_SIZE)
			t->range.hmm_pfns[i++] = hmm_cell_input(a, column, cut, addr);
		ret = hmm_test_walk(t, column == HMM_ATTRIBUTES ? hmm_range_snapshot :
								  hmm_range_fault);
	} while (ret == -EBUSY && t->invalidations != before && tries--);
	return ret;
}

static void hmm_cell_try(struct kunit *test, const struct hmm_state *state,
			 enum hmm_column column, const struct hmm_cut *cut)
{
	const struct hmm_outcome *outcome = &state->cell[column];
	unsigned long faults, expected = outcome->faults;
	bool waits = hmm_column_request[column] && !outcome->ret;
	struct hmm_range_test *t;
	struct hmm_area *a;
	int ret;

	a = hmm_area_alloc(test, state);
	t = hmm_test_watch(test, a->addr + cut->first * PAGE_SIZE, cut->end - cut->first);
	hmm_area_enter(a);
	t->range.dev_private_owner = a->owner;
	/* Bits that are no requests are ignored in both. */
	t->range.default_flags = HMM_PFN_ERROR;
	if (cut->per_page)
		t->range.pfn_flags_mask = ~0UL;
	else
		t->range.default_flags |= hmm_column_request[column];

	waits &= !!a->folio;
	if (waits)
		hmm_area_await(a);
	faults = hmm_test_faults();
	ret = hmm_cell_walk(a, column, cut, t);
	faults = hmm_test_faults() - faults;
	if (waits)
		KUNIT_EXPECT_NE_MSG(test, 0, a->patience, "%s: no task waited", cut->name);

	/* A fault for each page happens only for requested pages. */
	if (expected == HPAGE_PMD_NR)
		expected = min(cut->end, HPAGE_PMD_NR) - max(cut->first, 0);
	KUNIT_EXPECT_EQ_MSG(test, outcome->ret, ret, "%s", cut->name);
	KUNIT_EXPECT_EQ_MSG(test, expected, faults, "%s", cut->name);
	hmm_cell_check_entries(a, column, cut, &t->range);

	hmm_area_leave(a);
	hmm_test_unwatch(test, t);
	kunit_kfree(test, a);
}

/* The walker returns the entries, errors and faults of the table. */
void hmm_range_cell(struct kunit *test)
{
	const struct hmm_outcome *outcome = test->param_value;
	const struct hmm_state *state = hmm_states;
	enum hmm_column column;
	unsigned int i;
	long n;

	while (outcome >= state->cell + HMM_COLUMNS)
		state++;
	column = outcome - state->cell;
	n = 1L << state->order;

	const struct hmm_cut cuts[] = {
		{ "first page", 0, 1 },
		{ "last page", n - 1, n },
		{ "middle", n / 4, n - n / 4 },
		{ "with its neighbours", -1, n + 1 },
		{ "request by page", -1, n + 1, true },
	};

	for (i = 0; i < ARRAY_SIZE(cuts); i++)
		/* The snapshot ignores requests, and a single page has no middle. */
		if (!(column == HMM_ATTRIBUTES && cuts[i].per_page) &&
		    (n > 1 || cuts[i].first <= 0))
			hmm_cell_try(test, state, column, &cuts[i]);
}

const void *hmm_range_cell_gen_params(const void *prev, char *desc)
{
	const struct hmm_outcome *outcome = prev;
	const struct hmm_state *state = hmm_states;

	if (!outcome)
		outcome = state->cell;
	else
		outcome++;
	for (; state < hmm_states + hmm_nr_states; state++) {
		if (outcome >= state->cell + HMM_COLUMNS)
			continue;
		if (outcome < state->cell)
			outcome = state->cell;
		while (outcome < state->cell + HMM_COLUMNS && outcome->absent)
			outcome++;
		if (outcome == state->cell + HMM_COLUMNS)
			continue;
		snprintf(desc, KUNIT_PARAM_DESC_SIZE, "%s.%s", state->name,
			 hmm_column_names[outcome - state->cell]);
		return outcome;
	}
	return NULL;
}
