/* SPDX-License-Identifier: GPL-2.0 */
/* Tables with an entry for each page: the operations that table.c measures */
#ifndef _HMM_BENCH_TABLE_H
#define _HMM_BENCH_TABLE_H

#include <linux/types.h>

/**
 * struct hmm_bench_range - a range, and the table that holds its entries
 * @table: private to the &struct hmm_bench_holder
 * @dma: the table also holds DMA addresses
 * @start: address of the first page
 * @npages: number of pages
 * @order: log2 of the pages of an entry
 * @words: one word for each page, in the format of hmm_pt_stage()
 * @sum: sum of the entries in the last walk
 */
struct hmm_bench_range {
	void *table;
	bool dma;
	unsigned long start;
	unsigned long npages;
	unsigned int order;
	unsigned long *words;
	unsigned long sum;
};

static inline unsigned long hmm_bench_range_end(const struct hmm_bench_range *range)
{
	return range->start + (range->npages << PAGE_SHIFT);
}

/**
 * struct hmm_bench_holder - a kind of table with an entry for each page
 * @init: create range->table; return 0 or an errno
 * @exit: free range->table
 * @prepare: allocate all that @fill needs, because @fill must not allocate; return 0 or an errno
 * @unprepare: free the allocations that @fill did not use
 * @lock: lock the table once for any number of the operations below
 * @unlock: unlock the table
 * @fill: store all entries of the range; return 0 or an errno
 * @iterate: read all entries, only if the order is 0; return the number of pages
 * @clear: remove all entries, only if the order is 0; return 0
 * @occupied: return 1 if the range has an entry, otherwise 0
 * @holds: return whether the table holds the correct entry for a page
 * @bytes: return the memory that the table uses
 *
 * All operations apply to a whole range, except @holds, which is not measured.
 */
struct hmm_bench_holder {
	int (*init)(struct hmm_bench_range *range);
	void (*exit)(struct hmm_bench_range *range);
	int (*prepare)(struct hmm_bench_range *range);
	void (*unprepare)(struct hmm_bench_range *range);
	void (*lock)(struct hmm_bench_range *range);
	void (*unlock)(struct hmm_bench_range *range);
	int (*fill)(struct hmm_bench_range *range);
	int (*iterate)(struct hmm_bench_range *range);
	int (*clear)(struct hmm_bench_range *range);
	int (*occupied)(struct hmm_bench_range *range);
	bool (*holds)(struct hmm_bench_range *range, unsigned long page);
	unsigned long (*bytes)(struct hmm_bench_range *range);
};

extern const struct hmm_bench_holder hmm_bench_pt;
extern const struct hmm_bench_holder hmm_bench_xarray;

long hmm_bench_table(void __user *arg);
long hmm_bench_gap(void __user *arg);

#endif /* _HMM_BENCH_TABLE_H */
