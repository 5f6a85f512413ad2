/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/* The interface of /dev/hmm_bench, shared by the kernel and user space */
#ifndef _HMM_BENCH_H
#define _HMM_BENCH_H

#include <linux/ioctl.h>
#include <linux/types.h>

enum hmm_bench_what {
	HMM_BENCH_PEER,		/* the base tree's hmm_range_fault() */
	HMM_BENCH_OURS,		/* our hmm_range_fault() */
	HMM_BENCH_SNAPSHOT,	/* our hmm_range_snapshot() */
	HMM_BENCH_FLOOR,	/* a loop that reads eight bytes a page and writes eight */
	HMM_BENCH_FAULTS,	/* handle_mm_fault() for each page, without a walk */
	HMM_BENCH_GUP,		/* get_user_pages_fast(), and put_page() on each page */
};

/**
 * struct hmm_bench - one measurement
 * @addr: in, first address, page aligned
 * @npages: in, number of pages from @addr
 * @per_call: in, pages of one call of the walker, a divisor of @npages
 * @default_flags: in, of &struct hmm_range
 * @pfn_flags_mask: in, of &struct hmm_range
 * @input: in, value of all entries before each round
 * @what: in, &enum hmm_bench_what
 * @rounds: in, number of rounds
 * @best: out, nanoseconds of the shortest round
 * @valid: out, number of valid entries after the last round
 * @writable: out, number of writable entries after the last round
 * @sum: out, checksum of all entries without their attributes
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
	HMM_BENCH_PT_DMA,	/* the mirror page table, with DMA addresses */
};

enum hmm_bench_layout {
	HMM_BENCH_CONTIGUOUS,	/* all pages are contiguous */
	HMM_BENCH_FOLIOS,	/* folios of 16 contiguous pages, 64 KiB */
	HMM_BENCH_SCATTERED,	/* no two pages are contiguous */
	HMM_BENCH_HUGE,		/* entries of 2 MiB */
};

/**
 * struct hmm_bench_table - the cost of a table with an entry for each page of 1 GiB
 * @holder: in, &enum hmm_bench_holds
 * @layout: in, &enum hmm_bench_layout
 * @rounds: in, number of rounds
 * @entries: out, number of entries
 * @bytes: out, memory of the table
 * @fill: out, nanoseconds to store all entries, in the shortest round
 * @iterate: out, nanoseconds to read all entries; not for entries of 2 MiB
 * @clear: out, nanoseconds to remove all entries; not for entries of 2 MiB
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
 * struct hmm_bench_gap - the cost of an empty TiB between entries
 * @holder: in, &enum hmm_bench_holds
 * @rounds: in, number of rounds
 * @clear: out, nanoseconds of %HMM_BENCH_GAP_CALLS calls that clear the TiB, in the shortest
 *	round
 * @occupied: out, nanoseconds of %HMM_BENCH_GAP_CALLS calls that test whether the TiB is
 *	occupied, in the shortest round
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
 * struct hmm_bench_listen - add listeners for changes, until the file is closed
 * @what: in, &enum hmm_bench_listeners
 * @count: in, number of listeners to add
 * @addr: in, address of the page that each mirror mirrors
 */
struct hmm_bench_listen {
	__u64 what;
	__u64 count;
	__u64 addr;
};

enum hmm_bench_drivers {
	HMM_BENCH_NO_MIRROR,	/* a driver with an interval notifier and an xarray */
	HMM_BENCH_A_MIRROR,	/* a driver with a mirror, by hmm_mirror_fault() */
};

/**
 * struct hmm_bench_fault - the cost of the faults of a device
 * @driver: in, &enum hmm_bench_drivers
 * @addr: in, first address that the device faults for writing, page aligned
 * @npages: in, number of pages from @addr
 * @rounds: in, minimum number of rounds, each of which starts with an empty device page table;
 *	out, actual number of rounds
 * @least: in, minimum time of all rounds in nanoseconds
 * @best: out, nanoseconds of the shortest round
 * @total: out, nanoseconds of all rounds
 * @retries: out, number of restarted faults in all rounds
 * @writable: out, number of pages that the device may write after the last round
 * @sum: out, sum of the pfns of these pages
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
