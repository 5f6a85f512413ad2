/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the KUnit tests of the mirror page table share.
 */
#ifndef _MM_TESTS_HMM_PT_TEST_H
#define _MM_TESTS_HMM_PT_TEST_H

#include <kunit/test.h>
#include <linux/hmm.h>
#include <linux/rwsem.h>

#include "../hmm_internal.h"

#define HMM_PT_TEST_RW	(HMM_PTE_VALID | HMM_PTE_WRITE)

/**
 * struct hmm_pt_test - a page table that no mirror has
 * @lock: stands for the lock of the mirror
 * @pt: the page table
 */
struct hmm_pt_test {
	struct rw_semaphore lock;
	struct hmm_pt pt;
};

int hmm_pt_test_init(struct kunit *test);
void hmm_pt_test_exit(struct kunit *test);

unsigned long *hmm_pt_test_words(struct kunit *test, unsigned long npages);
unsigned long hmm_pt_test_block(unsigned long word, unsigned int order);
void hmm_pt_test_fill(unsigned long *words, unsigned long npages, unsigned long word);
int hmm_pt_test_publish(struct kunit *test, unsigned long addr, unsigned long npages,
			unsigned long *words);
void hmm_pt_test_map(struct kunit *test, unsigned long addr, unsigned long npages,
		     unsigned long word);
hmm_pte_t hmm_pt_test_lookup(struct kunit *test, unsigned long addr);
void hmm_pt_test_clear(struct kunit *test, unsigned long *start, unsigned long *end);
void hmm_pt_test_protect(struct kunit *test, unsigned long *start, unsigned long *end);
void hmm_pt_test_dirty(struct kunit *test, unsigned long start, unsigned long end);
bool hmm_pt_test_occupied(struct kunit *test, unsigned long start, unsigned long end);
bool hmm_pt_test_writable(struct kunit *test, unsigned long start, unsigned long end);

/* Of hmm_pt_random.c, for the one suite */
void hmm_pt_random(struct kunit *test);

#endif /* _MM_TESTS_HMM_PT_TEST_H */
