/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The states of a CPU page table that the walker distinguishes, and the result of a walk
 * for each state: the table of tests
 */
#ifndef _MM_TESTS_HMM_RANGE_STATES_H
#define _MM_TESTS_HMM_RANGE_STATES_H

#include <linux/sched.h>
#include <linux/workqueue.h>

#include "hmm_test.h"

/* The kinds of requests: the columns of the table */
enum hmm_column {
	HMM_NOT_REQUESTED,
	HMM_ATTRIBUTES,
	HMM_REQUESTED,
	HMM_REQUESTED_WRITE,
	HMM_COLUMNS,
};

/* The backing of a mapping */
enum hmm_backing {
	HMM_ANON,
	HMM_SHMEM,
	HMM_HUGETLB,
	HMM_HUGETLB_PRIVATE,
	HMM_SECRETMEM,
};

/**
 * struct hmm_outcome - the result of a call
 * @ret: the return value
 * @entry: the flags of each page of the mapping, if @ret is 0
 * @faults: the number of faults for the whole mapping
 * @absent: why this cell cannot exist, or cannot exist in KUnit
 */
struct hmm_outcome {
	int ret;
	unsigned long entry;
	unsigned int faults;
	const char *absent;
};

/**
 * struct hmm_area - a mapping in some state, between two ordinary pages
 * @test: the test
 * @state: the state
 * @addr: start address
 * @npages: its size, which is that of the page table entry under test
 * @pfn: pfn of the first page, if only @state->make can tell
 * @saved_flags: VMA flags before the test changed them
 * @entry: the page table entry that the test wrote, or NULL
 * @was: the value before
 * @is: the value that the test wrote
 * @folio: the folio, locked while @entry is a migration entry
 * @mm: the mm
 * @owner: the required value of &hmm_range.dev_private_owner
 * @waiter: the task that waits for the folio
 * @patience: number of checks left whether @waiter sleeps
 * @arriving: what to do before the migration ends, or NULL
 * @arrival: ends the migration when @waiter sleeps
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
 * @name: name of the test
 * @backing: the backing
 * @order: size of the mapping, as an order
 * @set: VM_* flags to set in its VMA, or else in the next VMA
 * @clear: VM_* flags to clear
 * @make: brings the mapping into the state
 * @cell: the results
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
