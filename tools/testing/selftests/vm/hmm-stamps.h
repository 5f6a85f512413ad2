/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Page sizes, and the stamps that the CPU and the device write to pages.
 */
#ifndef _SELFTESTS_VM_HMM_STAMPS_H
#define _SELFTESTS_VM_HMM_STAMPS_H

#include <linux/types.h>

/* The tests expect the page sizes of x86-64; dmirror_open() checks the base page size. */
#define PAGE_SIZE	4096L
#define HPAGE_SIZE	(2L << 20)
#define HPAGE_PAGES	(HPAGE_SIZE / PAGE_SIZE)
#define WORDS_PER_PAGE	(PAGE_SIZE / (long)sizeof(__u64))

/* The last writer of a page */
enum tag {
	TAG_CPU = 0xc9,
	TAG_DEVICE = 0xde,
};

static inline char *page_at(char *mem, long index)
{
	return mem + index * PAGE_SIZE;
}

static inline __u64 stamp_of(enum tag tag, long page)
{
	return (__u64)tag << 32 | (page + 1);
}

/* Stamp both ends of each page, so that stamp_run() detects a page that is copied in part. */
static inline void stamp_write(void *mem, long npages, enum tag tag)
{
	__u64 *words = mem;

	for (long i = 0; i < npages; i++, words += WORDS_PER_PAGE) {
		words[0] = stamp_of(tag, i);
		words[WORDS_PER_PAGE - 1] = stamp_of(tag, i);
	}
}

/* The number of leading pages that hold their stamp */
static inline long stamp_run(const void *mem, long npages, enum tag tag)
{
	const __u64 *words = mem;
	long i;

	for (i = 0; i < npages; i++, words += WORDS_PER_PAGE)
		if (words[0] != stamp_of(tag, i) ||
		    words[WORDS_PER_PAGE - 1] != stamp_of(tag, i))
			break;
	return i;
}

/* The number of leading pages that are all zeros */
static inline long zero_run(const void *mem, long npages)
{
	const __u64 *words = mem;
	long i = 0;

	while (i < npages * WORDS_PER_PAGE && !words[i])
		i++;
	return i / WORDS_PER_PAGE;
}

#endif /* _SELFTESTS_VM_HMM_STAMPS_H */
