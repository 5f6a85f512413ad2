/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/* What /dev/hmm_bench measures: shared by the kernel and the program that asks. */
#ifndef _HMM_BENCH_H
#define _HMM_BENCH_H

#include <linux/ioctl.h>
#include <linux/types.h>

enum hmm_bench_what {
	HMM_BENCH_PEER,		/* the base tree's hmm_range_fault() */
	HMM_BENCH_OURS,		/* our hmm_range_fault() */
	HMM_BENCH_SNAPSHOT,	/* our hmm_range_snapshot() */
	HMM_BENCH_FLOOR,	/* a loop that reads eight bytes a page and writes eight */
	HMM_BENCH_FAULTS,	/* handle_mm_fault() for each page, and no look at it */
	HMM_BENCH_GUP,		/* get_user_pages_fast(), and put_page() on each page */
};

/**
 * struct hmm_bench - one measurement
 * @addr: in, first address, page aligned
 * @npages: in, number of pages from there
 * @per_call: in, pages that one call of the walker gets, a divisor of @npages
 * @default_flags: in, of &struct hmm_range
 * @pfn_flags_mask: in, of &struct hmm_range
 * @input: in, every entry before each round
 * @what: in, &enum hmm_bench_what
 * @rounds: in, how often to do the same
 * @best: out, nanoseconds of the shortest round
 * @valid: out, number of valid entries after the last round
 * @writable: out, and of writable ones
 * @sum: out, of all entries without their attributes
 */
struct hmm_bench {
	__u64 addr;
	__u64 npages;
	__u64 per_call;
	__u64 default_flags;
	__u64 pfn_flags_mask;
	__u64 input;
	__u32 what;
	__u32 rounds;
	__u64 best;
	__u64 valid;
	__u64 writable;
	__u64 sum;
};

#define HMM_BENCH_RUN	_IOWR('H', 0xb0, struct hmm_bench)

#endif /* _HMM_BENCH_H */
