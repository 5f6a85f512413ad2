// SPDX-License-Identifier: GPL-2.0
/*
 * The walker must not apply to a pte what it has found out for the pte before. So a pte
 * gives the same entry after any other pte as it gives alone in its table.
 *
 * The ptes are words in a table that nothing else uses. They are in no counter, and gone
 * before the mm handles them.
 */
#include <linux/ioport.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/prandom.h>

#include "../internal.h"
#include "hmm_range_states.h"

#define RUNS_KINDS_MAX	80
/* Few enough rounds that results are not dominated by long runs of one kind */
#define RUNS_ROUNDS	40

/*
 * Device memory between system memory, in units of subsections: see guest/suites/kunit.sh
 */
#define RUNS_HOLE	0x40200000UL

#define V	HMM_PFN_VALID
#define W	HMM_PFN_WRITE
#define R	HMM_PFN_READ
#define Y	HMM_PFN_YOUNG
#define D	HMM_PFN_DIRTY

/**
 * struct runs_kind - a kind of pte
 * @name: name for messages
 * @pte: the pte
 * @flags: the flags of its entry in each column, without the pfn
 * @refused: the error of a request for it; 0 if it takes a fault or succeeds
 * @owner: the owner that the walk needs for these flags
 * @mixedmap: only valid in a VMA with %VM_MIXEDMAP
 * @area: the mapping that the pte comes from, or NULL
 */
struct runs_kind {
	const char *name;
	unsigned long pte;
	unsigned long flags[2];
	int refused;
	void *owner;
	bool mixedmap;
	struct hmm_area *area;
};

/**
 * struct runs - a pte table and the kinds of ptes for it
 * @test: the test
 * @table: the memory that the table maps
 * @ptes: the table
 * @t: watches @table
 * @kinds: the kinds of ptes
 * @nr: number of kinds
 * @alone: the entry of each kind alone in the table, in each column
 */
struct runs {
	struct kunit *test;
	struct hmm_area *table;
	unsigned long *ptes;
	struct hmm_range_test *t;
	struct runs_kind kinds[RUNS_KINDS_MAX];
	unsigned int nr;
	unsigned long alone[RUNS_KINDS_MAX][2];
};

static int (*const runs_walkers[])(struct hmm_range *) = {
	[HMM_NOT_REQUESTED]	= hmm_range_fault,
	[HMM_ATTRIBUTES]	= hmm_range_snapshot,
};

static void runs_make_table(struct hmm_area *a)
{
	a->pfn = (unsigned long)hmm_area_entry(a, 0);
}

/* VMAs whose pte tables are walked without the lock if possible, and with it */
static const struct hmm_state runs_tables[] = {
	{
		"plain", .order = PMD_ORDER, .set = VM_NOHUGEPAGE,
		.make = runs_make_table,
	}, {
		"mixedmap", .order = PMD_ORDER, .set = VM_NOHUGEPAGE | VM_MIXEDMAP,
		.make = runs_make_table,
	},
};

static void runs_table_desc(const struct hmm_state *state, char *desc)
{
	strscpy(desc, state->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(runs_table, runs_tables, runs_table_desc);

/* From the first pte in the table until runs_leave(), nothing may abort the test. */
static struct runs *runs_enter(struct kunit *test)
{
	struct runs *r = kunit_kzalloc(test, sizeof(*r), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, r);
	r->test = test;
	r->table = hmm_area_alloc(test, test->param_value);
	r->t = hmm_test_watch(test, r->table->addr, r->table->npages);
	hmm_area_enter(r->table);
	r->ptes = (unsigned long *)r->table->pfn;
	return r;
}

static void runs_leave(struct runs *r)
{
	memset(r->ptes, 0, PAGE_SIZE);
	while (r->nr--)
		if (r->kinds[r->nr].area)
			hmm_area_leave(r->kinds[r->nr].area);
	hmm_area_leave(r->table);
}

/* Walk the first @n ptes of the table. */
static int runs_walk(struct runs *r, unsigned int n, enum hmm_column column)
{
	r->t->range.end = r->t->range.start + n * PAGE_SIZE;
	return hmm_test_walk(r->t, runs_walkers[column]);
}

static void runs_add(struct runs *r, const struct runs_kind *kind)
{
	const struct hmm_state *table = r->test->param_value;

	if (kind->mixedmap && !(table->set & VM_MIXEDMAP))
		return;
	if (r->nr < RUNS_KINDS_MAX)
		r->kinds[r->nr++] = *kind;
	else
		KUNIT_FAIL(r->test, "no room for %s", kind->name);
}

/* Does the state depend only on its pte, in a VMA like that of the table? */
static bool runs_state_fits(const struct runs *r, const struct hmm_state *state)
{
	return !state->order && state->backing == HMM_ANON && !state->clear &&
	       !(state->set & ~(r->table->state->set & VM_MIXEDMAP));
}

static bool runs_is_mapped(unsigned long addr)
{
	bool mapped;

	mmap_read_lock(current->mm);
	mapped = vma_lookup(current->mm, addr);
	mmap_read_unlock(current->mm);
	return mapped;
}

static void runs_add_state(struct runs *r, const struct hmm_state *state)
{
	const struct hmm_outcome *cell = state->cell;
	struct runs_kind kind = {
		.name = state->name,
		.flags = { cell[HMM_NOT_REQUESTED].entry, cell[HMM_ATTRIBUTES].entry },
		.refused = cell[HMM_REQUESTED].ret,
		.mixedmap = state->set & VM_MIXEDMAP,
		.area = hmm_area_alloc(r->test, state),
	};

	/* Each state gets a device of its own. */
	r->test->priv = NULL;
	hmm_area_enter(kind.area);
	if (!runs_is_mapped(kind.area->addr)) {
		hmm_area_leave(kind.area);
		return;
	}
	kind.owner = kind.area->owner;
	kind.pte = *hmm_area_entry(kind.area, 0);
	runs_add(r, &kind);
}

static void runs_add_states(struct runs *r)
{
	unsigned int i;

	for (i = 0; i < hmm_nr_states; i++)
		if (runs_state_fits(r, &hmm_states[i]))
			runs_add_state(r, &hmm_states[i]);
}

static void runs_free_pages(void *page)
{
	__free_pages(page, PMD_ORDER + 1);
}

/* Allocate two subsections of system memory, and return the first pfn. */
static unsigned long runs_system_pfn(struct kunit *test)
{
	struct page *page = alloc_pages(GFP_KERNEL, PMD_ORDER + 1);

	KUNIT_ASSERT_NOT_NULL(test, page);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, runs_free_pages, page));
	return page_to_pfn(page);
}

static pte_t runs_pte(unsigned long pfn, unsigned long set, unsigned long clear)
{
	return pfn_pte(pfn, __pgprot((pgprot_val(PAGE_SHARED) | set) & ~clear));
}

/* Add a pte of memory that no device may access. */
static void runs_add_refused(struct runs *r, const char *name, pte_t pte)
{
	runs_add(r, &(struct runs_kind) {
		name, pte_val(pte), { HMM_PFN_ERROR, HMM_PFN_ERROR | HMM_PFN_SPECIAL },
		-EFAULT, .mixedmap = true });
}

/* Add ptes with contiguous pfns that differ in one bit from the first of them. */
static void runs_add_bits(struct runs *r, unsigned long pfn)
{
	const unsigned long twin = pte_val(runs_pte(pfn + 4, 0, _PAGE_PRESENT));
	const struct runs_kind kinds[] = {
		{ "page", pte_val(runs_pte(pfn, 0, 0)), { V | W, V | W | R | Y } },
		{ "next page", pte_val(runs_pte(pfn + 1, 0, 0)), { V | W, V | W | R | Y } },
		{ "read-only", pte_val(runs_pte(pfn + 2, 0, _PAGE_RW)), { V, V | R | Y } },
		{ "old", pte_val(runs_pte(pfn + 3, 0, _PAGE_ACCESSED)), { V | W, V | W | R } },
		/* A pte that is not present is no swap entry here. */
		{ "not present", twin, { 0, 0 } },
		{ "dirty", pte_val(runs_pte(pfn + 5, _PAGE_DIRTY, 0)),
		  { V | W, V | W | R | Y | D } },
		{ "protnone", pte_val(pte_modify(runs_pte(pfn + 6, 0, 0), PAGE_NONE)), { 0, 0 } },
		{ "executable", pte_val(runs_pte(pfn + 7, 0, _PAGE_NX)),
		  { V | W, V | W | R | Y } },
		{ "soft-dirty", pte_val(runs_pte(pfn + 8, _PAGE_SOFT_DIRTY, 0)),
		  { V | W, V | W | R | Y } },
		{ "next to the zero page", pte_val(runs_pte(my_zero_pfn(0) ^ 1, 0, 0)),
		  { V | W, V | W | R | Y } },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(kinds); i++)
		runs_add(r, &kinds[i]);
	runs_add_refused(r, "special", pte_mkspecial(runs_pte(pfn + 9, 0, 0)));
}

static void runs_add_devmap(struct runs *r, const char *name, unsigned long pfn,
			    unsigned long clear, bool gone)
{
	const unsigned long attributes = V | W | R | Y | HMM_PFN_DEVICE;

	runs_add(r, &(struct runs_kind) {
		name, hmm_area_devmap(0, pfn, PAGE_SHARED) & ~clear,
		{ gone ? 0 : V | W, gone ? 0 : attributes }, gone ? -EBUSY : 0 });
}

/* Add three contiguous pagemaps, of which the last one has no driver any more. */
static void runs_add_pagemaps(struct runs *r)
{
	const enum memory_type type = MEMORY_DEVICE_GENERIC;
	struct hmm_test_device *first = hmm_test_device(r->test, type, PMD_SIZE);
	unsigned long pfn = page_to_pfn(first->page), n = PHYS_PFN(PMD_SIZE);
	struct hmm_test_device *gone;

	hmm_test_device_at(r->test, type, PFN_PHYS(pfn + n), PMD_SIZE);
	gone = hmm_test_device_at(r->test, type, PFN_PHYS(pfn + 2 * n), PMD_SIZE);
	hmm_test_device_unplug(gone);

	runs_add_devmap(r, "devmap, first", pfn, 0, false);
	runs_add_devmap(r, "devmap, last", pfn + n - 1, 0, false);
	runs_add_devmap(r, "next devmap, first", pfn + n, 0, false);
	runs_add_devmap(r, "next devmap, last", pfn + 2 * n - 1, 0, false);
	runs_add_devmap(r, "gone devmap, first", pfn + 2 * n, 0, true);
	runs_add_devmap(r, "gone devmap, last", pfn + 3 * n - 1, 0, true);
	/* On x86, devmap ptes are also special, but not on all architectures. */
	runs_add_devmap(r, "devmap, not special", pfn + 1, _PAGE_SPECIAL, false);
	runs_add_devmap(r, "gone devmap, not special", pfn + 2 * n + 1, _PAGE_SPECIAL, true);
	runs_add_refused(r, "special, in memory of devmap",
			 pte_mkspecial(runs_pte(pfn + 2, 0, 0)));
}

static void runs_add_page(struct runs *r, const char *name, unsigned long pfn,
			  unsigned long device)
{
	runs_add(r, &(struct runs_kind) {
		name, pte_val(runs_pte(pfn, 0, 0)), { V | W, V | W | R | Y | device } });
}

/* Coherent memory in one subsection, followed by memory that no device may access */
static void runs_add_subsections(struct runs *r)
{
	struct hmm_test_device *dev =
		hmm_test_device(r->test, MEMORY_DEVICE_COHERENT, SUBSECTION_SIZE);
	unsigned long pfn = page_to_pfn(dev->page), n = PAGES_PER_SUBSECTION;

	hmm_test_device_at(r->test, MEMORY_DEVICE_PCI_P2PDMA, PFN_PHYS(pfn + n),
			   SUBSECTION_SIZE);
	runs_add_page(r, "coherent, first", pfn, HMM_PFN_DEVICE);
	runs_add_page(r, "coherent, last", pfn + n - 1, HMM_PFN_DEVICE);
	runs_add_refused(r, "p2pdma, first", runs_pte(pfn + n, 0, 0));
}

/* Coherent memory in one subsection, between two subsections of system memory */
static void runs_add_hole(struct runs *r)
{
	unsigned long pfn = PHYS_PFN(RUNS_HOLE), n = PAGES_PER_SUBSECTION;

	KUNIT_ASSERT_EQ_MSG(r->test, REGION_DISJOINT,
			    region_intersects(RUNS_HOLE, SUBSECTION_SIZE,
					      IORESOURCE_SYSTEM_RAM, IORES_DESC_NONE),
			    "boot with memmap=2M%%0x40200000-1+2");
	hmm_test_device_at(r->test, MEMORY_DEVICE_COHERENT, RUNS_HOLE, SUBSECTION_SIZE);
	runs_add_page(r, "before the hole, first", pfn - n, 0);
	runs_add_page(r, "before the hole, last", pfn - 1, 0);
	runs_add_page(r, "hole, first", pfn, HMM_PFN_DEVICE);
	runs_add_page(r, "hole, last", pfn + n - 1, HMM_PFN_DEVICE);
	runs_add_page(r, "after the hole, first", pfn + n, 0);
}

static struct runs *runs_enter_with_kinds(struct kunit *test)
{
	struct runs *r = runs_enter(test);

	runs_add_bits(r, runs_system_pfn(test));
	runs_add_pagemaps(r);
	runs_add_subsections(r);
	runs_add_hole(r);
	runs_add_states(r);
	return r;
}

/* Store the entry of each kind alone in the table, for a walk by @owner. */
static void runs_walk_alone(struct runs *r, void *owner)
{
	enum hmm_column column;
	unsigned int i;

	r->t->range.dev_private_owner = owner;
	r->t->range.default_flags = 0;
	r->t->range.pfn_flags_mask = 0;
	for (i = 0; i < r->nr; i++) {
		r->ptes[0] = r->kinds[i].pte;
		for (column = 0; column < ARRAY_SIZE(runs_walkers); column++) {
			KUNIT_EXPECT_EQ(r->test, 0, runs_walk(r, 1, column));
			r->alone[i][column] = r->t->range.hmm_pfns[0];
			if (r->kinds[i].owner == owner)
				KUNIT_EXPECT_EQ_MSG(r->test, r->kinds[i].flags[column],
						    hmm_test_flags(r->alone[i][column]),
						    "%s", r->kinds[i].name);
		}
	}
}

/* The first @stored entries are as they are alone, and later ones are unchanged. */
static void runs_check_entries(struct runs *r, const u8 *order, unsigned int n,
			       unsigned int stored, enum hmm_column column)
{
	const unsigned long *pfns = r->t->range.hmm_pfns;
	unsigned long expected;
	unsigned int i;

	for (i = 0; i < n; i++) {
		expected = i < stored ? r->alone[order[i]][column] : HMM_TEST_UNTOUCHED;
		if (pfns[i] == expected)
			continue;
		KUNIT_FAIL(r->test, "pte %u of %u, \"%s\" after \"%s\": is %lx, should be %lx",
			   i, n, r->kinds[order[i]].name,
			   i ? r->kinds[order[i - 1]].name : "nothing", pfns[i], expected);
		return;
	}
}

/* Without requests, each entry is as it is alone. */
static void runs_check_stored(struct runs *r, const u8 *order, unsigned int n)
{
	enum hmm_column column;

	r->t->range.default_flags = 0;
	r->t->range.pfn_flags_mask = 0;
	for (column = 0; column < ARRAY_SIZE(runs_walkers); column++) {
		KUNIT_EXPECT_EQ(r->test, 0, runs_walk(r, n, column));
		runs_check_entries(r, order, n, n, column);
	}
}

/* Each page requests the access that it has, so the walk needs no fault. */
static void runs_check_requested(struct runs *r, const u8 *order, unsigned int n)
{
	unsigned long faults = hmm_test_faults(), alone, *pfns = r->t->range.hmm_pfns;
	unsigned int i;

	r->t->range.default_flags = 0;
	r->t->range.pfn_flags_mask = ~0UL;
	for (i = 0; i < n; i++) {
		alone = r->alone[order[i]][HMM_NOT_REQUESTED];
		pfns[i] = HMM_TEST_UNTOUCHED | (alone & (HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE));
	}
	KUNIT_EXPECT_EQ(r->test, 0, runs_walk(r, n, HMM_NOT_REQUESTED));
	KUNIT_EXPECT_EQ(r->test, faults, hmm_test_faults());
	runs_check_entries(r, order, n, n, HMM_NOT_REQUESTED);
}

/*
 * Request the pages up to the first one that is not available. The entries before it are
 * stored. Later pages have no request, so that a walk that continues takes no fault on
 * ptes that the test wrote, and waits for no migration that never ends.
 */
static void runs_check_refused(struct runs *r, const u8 *order, unsigned int n)
{
	unsigned long faults = hmm_test_faults();
	unsigned int i, stored;

	for (stored = 0; stored < n; stored++)
		if (!(r->alone[order[stored]][HMM_NOT_REQUESTED] & HMM_PFN_VALID))
			break;
	/* Without an error the request takes a fault, which other tests cover. */
	if (stored == n || !r->kinds[order[stored]].refused)
		return;

	r->t->range.default_flags = 0;
	r->t->range.pfn_flags_mask = ~0UL;
	for (i = 0; i < n; i++)
		r->t->range.hmm_pfns[i] = HMM_TEST_UNTOUCHED |
					  (i <= stored ? HMM_PFN_REQ_FAULT : 0);
	KUNIT_EXPECT_EQ(r->test, r->kinds[order[stored]].refused,
			runs_walk(r, n, HMM_NOT_REQUESTED));
	KUNIT_EXPECT_EQ(r->test, faults, hmm_test_faults());
	/* An entry that was not stored still has its input. */
	r->t->range.hmm_pfns[stored] &= ~HMM_PFN_REQ_FAULT;
	runs_check_entries(r, order, n, stored, HMM_NOT_REQUESTED);
}

static void runs_check(struct runs *r, const u8 *order, unsigned int n)
{
	unsigned int i;

	for (i = 0; i < n; i++)
		r->ptes[i] = r->kinds[order[i]].pte;
	runs_check_stored(r, order, n);
	runs_check_requested(r, order, n);
	runs_check_refused(r, order, n);
}

/* Check the pairs that depend on @owner, or all others if @owner is NULL. */
static void runs_check_pairs(struct runs *r, void *owner)
{
	u8 order[5], a, b;

	runs_walk_alone(r, owner);
	for (a = 0; a < r->nr; a++) {
		for (b = 0; b < r->nr && r->test->status != KUNIT_FAILURE; b++) {
			if (owner ? r->kinds[a].owner != owner && r->kinds[b].owner != owner :
				    r->kinds[a].owner || r->kinds[b].owner)
				continue;
			/* Begin with an ordinary page, and without it. */
			order[0] = 0;
			order[1] = a;
			order[2] = b;
			order[3] = a;
			order[4] = b;
			runs_check(r, order, 5);
			runs_check(r, order + 1, 4);
		}
	}
}

/* Each kind of pte gives the same entry before and after each other kind. */
static void hmm_range_runs_pairs(struct kunit *test)
{
	struct runs *r = runs_enter_with_kinds(test);
	unsigned int i;

	KUNIT_EXPECT_GT(test, r->nr, 40);
	runs_check_pairs(r, NULL);
	for (i = 0; i < r->nr; i++)
		if (r->kinds[i].owner)
			runs_check_pairs(r, r->kinds[i].owner);
	runs_leave(r);
}

/* All kinds of ptes in one table give the same entries in random order. */
static void hmm_range_runs_any_order(struct kunit *test)
{
	struct runs *r = runs_enter_with_kinds(test);
	u8 order[PTRS_PER_PTE];
	struct rnd_state rnd;
	unsigned int i, round;
	u32 seed = get_random_u32();

	kunit_info(test, "seed %u", seed);
	prandom_seed_state(&rnd, seed);
	for (round = 0; round < RUNS_ROUNDS && test->status != KUNIT_FAILURE; round++) {
		for (i = 0; i < PTRS_PER_PTE; i++)
			order[i] = prandom_u32_state(&rnd) % r->nr;
		runs_walk_alone(r, r->kinds[order[0]].owner);
		runs_check(r, order, PTRS_PER_PTE);
	}
	runs_leave(r);
}

/* The pfns in two subsections that the ptes map */
enum runs_pattern {
	RUNS_UP,
	RUNS_DOWN,
	RUNS_ENDS,
	RUNS_SAME,
	RUNS_SCATTERED,
	RUNS_PATTERNS,
};

static unsigned int runs_pattern_pfn(enum runs_pattern pattern, unsigned int i,
				     struct rnd_state *rnd)
{
	const unsigned int n = 2 * PAGES_PER_SUBSECTION;

	switch (pattern) {
	case RUNS_UP:
		return n / 4 + i;
	case RUNS_DOWN:
		return n - n / 4 - i;
	case RUNS_ENDS:
		return i % 2 ? n - 1 : 0;
	case RUNS_SAME:
		return 5;
	default:
		return prandom_u32_state(rnd) % n;
	}
}

/**
 * struct runs_memory - memory of one kind
 * @pfn: its first pfn
 * @device: %HMM_PFN_DEVICE for device memory
 * @devmap: its ptes are devmap
 */
struct runs_memory {
	unsigned long pfn;
	unsigned long device;
	bool devmap;
};

static const struct {
	unsigned long clear;
	unsigned long flags;
} runs_protections[] = {
	{ 0, V | W | R | Y },
	{ _PAGE_RW, V | R | Y },
	{ _PAGE_ACCESSED, V | W | R },
};

/*
 * Each @keep ptes have the flags of one row, and the following ones those of the next
 * row.
 */
static void runs_check_pattern(struct runs *r, const struct runs_memory *memory,
			       enum runs_pattern pattern, unsigned int keep,
			       struct rnd_state *rnd)
{
	const unsigned long *pfns = r->t->range.hmm_pfns;
	static unsigned long expected[PTRS_PER_PTE];
	unsigned long pfn, i, row, bad = 0;
	pte_t pte;

	for (i = 0; i < PTRS_PER_PTE; i++) {
		pfn = memory->pfn + runs_pattern_pfn(pattern, i, rnd);
		row = i / keep % ARRAY_SIZE(runs_protections);
		pte = runs_pte(pfn, 0, runs_protections[row].clear);
		r->ptes[i] = pte_val(memory->devmap ? pte_mkdevmap(pte) : pte);
		expected[i] = pfn | runs_protections[row].flags | memory->device;
	}
	KUNIT_EXPECT_EQ(r->test, 0, runs_walk(r, PTRS_PER_PTE, HMM_ATTRIBUTES));
	for (i = 0; i < PTRS_PER_PTE; i++)
		bad += pfns[i] != expected[i];
	KUNIT_EXPECT_EQ(r->test, 0, runs_walk(r, PTRS_PER_PTE, HMM_NOT_REQUESTED));
	for (i = 0; i < PTRS_PER_PTE; i++)
		bad += pfns[i] != (expected[i] & ~HMM_TEST_ATTRIBUTES);
	KUNIT_EXPECT_EQ_MSG(r->test, 0, bad, "pattern %d, %u of a kind, pfns from %lx",
			    pattern, keep, memory->pfn);
}

/*
 * Ptes of one memory give the right pfns: upward, downward, at its ends, and in random
 * order.
 */
static void hmm_range_runs_pfns(struct kunit *test)
{
	const unsigned long size = 2 * SUBSECTION_SIZE;
	struct runs *r = runs_enter(test);
	const struct runs_memory memories[] = {
		{ runs_system_pfn(test) },
		{ page_to_pfn(hmm_test_device(test, MEMORY_DEVICE_GENERIC, size)->page),
		  HMM_PFN_DEVICE, true },
		{ page_to_pfn(hmm_test_device(test, MEMORY_DEVICE_COHERENT, size)->page),
		  HMM_PFN_DEVICE },
	};
	static const unsigned int keep[] = { 1, 7, PTRS_PER_PTE };
	u32 seed = get_random_u32();
	enum runs_pattern pattern;
	struct rnd_state rnd;
	unsigned int i, j;

	kunit_info(test, "seed %u", seed);
	prandom_seed_state(&rnd, seed);
	for (i = 0; i < ARRAY_SIZE(memories); i++)
		for (pattern = 0; pattern < RUNS_PATTERNS; pattern++)
			for (j = 0; j < ARRAY_SIZE(keep); j++)
				runs_check_pattern(r, &memories[i], pattern, keep[j], &rnd);
	runs_leave(r);
}

/* Numbers of pages of a huge mapping, around the number that is stored at a time */
static const unsigned int runs_counts[] = { 1, 2, 7, 8, 9, 15, 16, 17, 23, 24, 25 };

/*
 * Walk the pages [@first, @first + @count) of @a, whose first entry is @entry. Other
 * entries must not change.
 */
static unsigned long runs_check_part(struct hmm_area *a, struct hmm_range_test *t,
				     unsigned long *pfns, unsigned long entry,
				     unsigned long first, unsigned int count,
				     enum hmm_column column)
{
	unsigned long step = entry & HMM_PFN_VALID ? 1 : 0, bad = 0, expected, i;

	for (i = 0; i < count + 2; i++)
		pfns[i] = HMM_TEST_UNTOUCHED;
	t->range.hmm_pfns = pfns + 1;
	t->range.start = a->addr + first * PAGE_SIZE;
	t->range.end = t->range.start + count * PAGE_SIZE;
	bad += !!hmm_test_walk(t, runs_walkers[column]);
	for (i = 0; i < count + 2; i++) {
		expected = i && i <= count ? entry + step * (first + i - 1) :
					     HMM_TEST_UNTOUCHED;
		bad += pfns[i] != expected;
	}
	return bad;
}

static unsigned long runs_check_parts(struct hmm_area *a, struct hmm_range_test *t,
				      unsigned long *pfns, enum hmm_column column)
{
	unsigned long bad = 0, entry;
	unsigned int i;

	t->range.start = a->addr;
	t->range.end = a->addr + PAGE_SIZE;
	bad += !!hmm_test_walk(t, runs_walkers[column]);
	entry = t->range.hmm_pfns[0];
	bad += hmm_test_flags(entry) != a->state->cell[column].entry;
	for (i = 0; i < ARRAY_SIZE(runs_counts); i++) {
		const unsigned int n = runs_counts[i];

		bad += runs_check_part(a, t, pfns, entry, 0, n, column);
		bad += runs_check_part(a, t, pfns, entry, 1, n, column);
		bad += runs_check_part(a, t, pfns, entry, 13, n, column);
		bad += runs_check_part(a, t, pfns, entry, a->npages - n, n, column);
	}
	return bad;
}

/* A walk of a few pages of a huge mapping does not change the entries next to its own. */
static void hmm_range_runs_huge(struct kunit *test)
{
	const struct hmm_state *state;
	unsigned int kinds = 0;

	for (state = hmm_states; state < hmm_states + hmm_nr_states; state++) {
		unsigned long *pfns, *own, bad = 0;
		struct hmm_range_test *t;
		struct hmm_area *a;

		/* Skip 1 GiB states that need a 1 GiB page, which takes seconds. */
		if (!state->order || (state->order == PUD_ORDER && state->backing))
			continue;
		test->priv = NULL;
		a = hmm_area_alloc(test, state);
		t = hmm_test_watch(test, a->addr, a->npages);
		own = t->range.hmm_pfns;
		pfns = own + a->npages / 2;
		hmm_area_enter(a);
		t->range.pfn_flags_mask = ~0UL;
		bad += runs_check_parts(a, t, pfns, HMM_NOT_REQUESTED);
		t->range.hmm_pfns = own;
		t->range.pfn_flags_mask = 0;
		bad += runs_check_parts(a, t, pfns, HMM_NOT_REQUESTED);
		t->range.hmm_pfns = own;
		bad += runs_check_parts(a, t, pfns, HMM_ATTRIBUTES);
		t->range.hmm_pfns = own;
		KUNIT_EXPECT_EQ_MSG(test, 0, bad, "%s", state->name);
		hmm_area_leave(a);
		hmm_test_unwatch(test, t);
		kinds++;
	}
	KUNIT_EXPECT_GT(test, kinds, 20);
}

static struct kunit_case hmm_range_runs_cases[] = {
	KUNIT_CASE_PARAM(hmm_range_runs_pairs, runs_table_gen_params),
	KUNIT_CASE_PARAM(hmm_range_runs_any_order, runs_table_gen_params),
	KUNIT_CASE_PARAM(hmm_range_runs_pfns, runs_table_gen_params),
	KUNIT_CASE(hmm_range_runs_huge),
	{}
};

static struct kunit_suite hmm_range_runs_suite = {
	.name = "hmm_range_runs",
	.test_cases = hmm_range_runs_cases,
};

kunit_test_suite(hmm_range_runs_suite);
