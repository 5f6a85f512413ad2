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

enum hmm_bench_holds {
	HMM_BENCH_XARRAY,
	HMM_BENCH_PT,		/* the mirror page table, without DMA addresses */
	HMM_BENCH_PT_DMA,	/* the same with them */
};

enum hmm_bench_layout {
	HMM_BENCH_CONTIGUOUS,	/* all pages follow on each other */
	HMM_BENCH_FOLIOS,	/* 16 pages do, in a folio of 64 KiB */
	HMM_BENCH_SCATTERED,	/* none does */
	HMM_BENCH_HUGE,		/* entries of 2 MiB */
};

/**
 * struct hmm_bench_table - what it costs to hold an entry for each page of 1 GiB
 * @holder: in, &enum hmm_bench_holds
 * @layout: in, &enum hmm_bench_layout
 * @rounds: in, how often to do the same
 * @entries: out, how many there are
 * @bytes: out, the memory that they take
 * @fill: out, nanoseconds of the shortest round to put all of them in
 * @iterate: out, to look at all of them
 * @clear: out, to take all of them out; not of entries of 2 MiB, nor is @iterate
 */
struct hmm_bench_table {
	__u32 holder;
	__u32 layout;
	__u64 rounds;
	__u64 entries;
	__u64 bytes;
	__u64 fill;
	__u64 iterate;
	__u64 clear;
};

#define HMM_BENCH_GAP_CALLS	256

/**
 * struct hmm_bench_gap - what 1 TiB costs that has nothing in it, between entries
 * @holder: in, &enum hmm_bench_holds
 * @rounds: in, how often to do the same
 * @clear: out, nanoseconds of the shortest round of %HMM_BENCH_GAP_CALLS that take out
 *	all that there is
 * @occupied: out, and of those that ask whether there is anything
 */
struct hmm_bench_gap {
	__u64 holder;
	__u64 rounds;
	__u64 clear;
	__u64 occupied;
};

enum hmm_bench_listeners {
	HMM_BENCH_MIRRORS,	/* each with the page at @addr mirrored */
	HMM_BENCH_NOTIFIERS,	/* of all the mm, plain struct mmu_notifier */
};

/**
 * struct hmm_bench_listen - have others listen for changes, until the file is closed
 * @what: in, &enum hmm_bench_listeners
 * @count: in, how many more
 * @addr: in
 */
struct hmm_bench_listen {
	__u64 what;
	__u64 count;
	__u64 addr;
};

enum hmm_bench_drivers {
	HMM_BENCH_NO_MIRROR,	/* what a driver does without us */
	HMM_BENCH_A_MIRROR,	/* a mirror, by hmm_mirror_fault() */
};

/**
 * struct hmm_bench_fault - what it takes to serve a device that faults
 * @driver: in, &enum hmm_bench_drivers
 * @addr: in, where the device wants to write, page aligned
 * @npages: in, number of pages from there
 * @rounds: in, how often to do the same at least, each time with nothing in the device's
 *	tables; out, how often it was done
 * @least: in, nanoseconds that all rounds take at least
 * @best: out, nanoseconds of the shortest round
 * @total: out, of all rounds
 * @retries: out, how often the driver had to begin again, in all rounds
 * @writable: out, pages that the device may write in the end
 * @sum: out, of their pfns
 */
struct hmm_bench_fault {
	__u64 driver;
	__u64 addr;
	__u64 npages;
	__u64 rounds;
	__u64 least;
	__u64 best;
	__u64 total;
	__u64 retries;
	__u64 writable;
	__u64 sum;
};

#define HMM_BENCH_RUN	_IOWR('H', 0xb0, struct hmm_bench)
#define HMM_BENCH_TABLE	_IOWR('H', 0xb1, struct hmm_bench_table)
#define HMM_BENCH_GAP	_IOWR('H', 0xb2, struct hmm_bench_gap)
#define HMM_BENCH_LISTEN	_IOW('H', 0xb3, struct hmm_bench_listen)
#define HMM_BENCH_FAULT	_IOWR('H', 0xb4, struct hmm_bench_fault)

#endif /* _HMM_BENCH_H */
