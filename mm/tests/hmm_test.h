/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Helpers that all KUnit tests of HMM share: a watched range of the test's own mm, and
 * devices with memory
 */
#ifndef _MM_TESTS_HMM_TEST_H
#define _MM_TESTS_HMM_TEST_H

#include <kunit/test.h>
#include <linux/hmm_mirror.h>
#include <linux/memremap.h>
#include <linux/mmu_notifier.h>
#include <linux/mutex.h>

#define HMM_TEST_ATTRIBUTES	(HMM_PFN_READ | HMM_PFN_EMPTY |		\
				 HMM_PFN_SPECIAL | HMM_PFN_DEVICE |	\
				 HMM_PFN_UNADDRESSABLE |		\
				 HMM_PFN_DIRTY | HMM_PFN_YOUNG)

/*
 * Has no flag of an entry: a test fills entries with it to check that they stay
 * unchanged.
 */
#define HMM_TEST_UNTOUCHED	0x5aUL

struct hmm_range_test {
	struct mmu_interval_notifier notifier;
	/* The driver's own lock, which serializes the callback */
	struct mutex lock;
	/* Number of calls of the callback; written under @lock */
	unsigned long invalidations;
	struct hmm_range range;
	unsigned long addr;
	unsigned long npages;
};

unsigned long hmm_test_mmap(struct kunit *test, unsigned long size, unsigned long align);
struct hmm_range_test *hmm_test_watch(struct kunit *test, unsigned long addr,
				      unsigned long npages);
void hmm_test_unwatch(struct kunit *test, struct hmm_range_test *t);
int hmm_test_walk(struct hmm_range_test *t, int (*walker)(struct hmm_range *));
int hmm_test_fault(struct hmm_range_test *t, unsigned long flags);

void hmm_test_write(struct kunit *test, unsigned long addr);
void hmm_test_read(struct kunit *test, unsigned long addr);
unsigned long hmm_test_faults(void);
long hmm_test_syscall(unsigned int nr, unsigned long a, unsigned long b,
		      unsigned long c, unsigned long d, unsigned long e);

/**
 * struct hmm_test_device - a device with memory that the tests do not access
 * @pgmap: the memory of the device
 * @page: the first page, which is in use
 * @gives_back: a fault on a private page removes its pte; otherwise the fault succeeds
 *	and changes nothing, as with a driver that faults on its own memory
 * @asked: number of faults on the private pages
 * @gone: the test removed the memory before its end
 */
struct hmm_test_device {
	struct dev_pagemap pgmap;
	struct page *page;
	bool gives_back;
	unsigned int asked;
	bool gone;
};

struct hmm_test_device *hmm_test_device(struct kunit *test, enum memory_type type,
					unsigned long size);
struct hmm_test_device *hmm_test_device_at(struct kunit *test, enum memory_type type,
					   u64 start, unsigned long size);
void hmm_test_device_unplug(struct hmm_test_device *dev);

static inline unsigned long hmm_test_flags(unsigned long entry)
{
	return entry & HMM_PFN_FLAGS;
}

/* hmm_range_cells.c and hmm_range_race.c define these tests of the suite hmm_range. */
const void *hmm_range_cell_gen_params(const void *prev, char *desc);
void hmm_range_cell(struct kunit *test);
const void *hmm_range_race_gen_params(const void *prev, char *desc);
void hmm_range_race(struct kunit *test);

#endif /* _MM_TESTS_HMM_TEST_H */
