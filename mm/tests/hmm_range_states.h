/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The states that a CPU page table can be in, as the walker tells them apart, and
 * what it has to do with each: the table of tests.
 */
#ifndef _MM_TESTS_HMM_RANGE_STATES_H
#define _MM_TESTS_HMM_RANGE_STATES_H

#include <linux/sched.h>
#include <linux/workqueue.h>

#include "hmm_test.h"

/* How a range can be asked for: the columns of the table */
enum hmm_column {
	HMM_NOT_REQUESTED,
	HMM_ATTRIBUTES,
	HMM_REQUESTED,
	HMM_REQUESTED_WRITE,
	HMM_COLUMNS,
};

/* What holds the memory of a mapping */
enum hmm_backing {
	HMM_ANON,
	HMM_SHMEM,
	HMM_HUGETLB,
	HMM_HUGETLB_PRIVATE,
	HMM_SECRETMEM,
};

/**
 * struct hmm_outcome - what has to come of a call
 * @ret: what it returns
 * @entry: if that is 0: the flags of each page of the mapping
 * @faults: how many faults it takes for the mapping as a whole
 * @absent: this cell cannot exist, or not in KUnit; why
 */
struct hmm_outcome {
	int ret;
	unsigned long entry;
	unsigned int faults;
	const char *absent;
};

/**
 * struct hmm_area - a mapping in some state, between two ordinary pages
 * @test: on whose behalf
 * @state: which
 * @addr: where it begins
 * @npages: its size, that of the page table entry under test
 * @pfn: of the first page, if only the one who made it knows
 * @saved_flags: of the VMA, before any were set by hand
 * @entry: the page table entry that was put there by hand, or NULL
 * @was: what was there before
 * @is: what was put there
 * @folio: locked while @entry says that it migrates
 * @mm: where it is
 * @owner: what &hmm_range.dev_private_owner has to be
 * @waiter: who waits for the folio, once somebody has to
 * @patience: how often to look whether @waiter sleeps by now
 * @arriving: what to do before the migration ends, or NULL
 * @arrival: ends the migration when he does
 */
struct hmm_area {
	struct kunit *test;
	const struct hmm_state *state;
	unsigned long addr;
	unsigned long npages;
	unsigned long pfn;
	unsigned long saved_flags;
	unsigned long *entry;
	unsigned long was;
	unsigned long is;
	struct folio *folio;
	struct mm_struct *mm;
	void *owner;
	struct task_struct *waiter;
	unsigned int patience;
	void (*arriving)(struct hmm_area *a);
	struct delayed_work arrival;
};

/**
 * struct hmm_state - a row of the table
 * @name: how the test is called
 * @backing: what is mapped
 * @order: size of the mapping, as the order of a number of pages
 * @set: VM_* flags that its VMA, or else the next one, gets by hand
 * @clear: VM_* flags that it loses
 * @make: brings it into the state
 * @cell: what has to come of it
 */
struct hmm_state {
	const char *name;
	enum hmm_backing backing;
	unsigned int order;
	vm_flags_t set;
	vm_flags_t clear;
	void (*make)(struct hmm_area *a);
	struct hmm_outcome cell[HMM_COLUMNS];
};

void hmm_range_release_giant(void);

extern const struct hmm_state hmm_states[];
extern const unsigned int hmm_nr_states;

static inline bool hmm_area_is_hugetlb(const struct hmm_area *a)
{
	return a->state->backing == HMM_HUGETLB ||
	       a->state->backing == HMM_HUGETLB_PRIVATE;
}

struct hmm_area *hmm_area_alloc(struct kunit *test, const struct hmm_state *state);
void hmm_area_enter(struct hmm_area *a);
void hmm_area_await(struct hmm_area *a);
void hmm_area_leave(struct hmm_area *a);

unsigned long *hmm_area_entry(struct hmm_area *a, unsigned int order);
void hmm_area_put(struct hmm_area *a, unsigned long *entry, unsigned long value);
void hmm_area_change(struct hmm_area *a, pte_t (*pte)(pte_t), pmd_t (*pmd)(pmd_t));
unsigned long hmm_area_special(unsigned int order, unsigned long pfn, pgprot_t prot);
unsigned long hmm_area_devmap(unsigned int order, unsigned long pfn, pgprot_t prot);
void hmm_area_invalidate(struct hmm_area *a);
struct page *hmm_area_page(struct hmm_area *a);
void hmm_area_migrate(struct hmm_area *a);
void hmm_area_restore(struct hmm_area *a);

#endif /* _MM_TESTS_HMM_RANGE_STATES_H */
