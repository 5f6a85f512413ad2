/* SPDX-License-Identifier: GPL-2.0 */
/* What table.c measures, by what it is done, and on what */
#ifndef _HMM_BENCH_TABLE_H
#define _HMM_BENCH_TABLE_H

#include <linux/types.h>

/**
 * struct hmm_bench_range - what is held, and where
 * @table: holds it; of the holder that is measured
 * @dma: with DMA addresses, where a holder can do with them and without
 * @start: address of the first page
 * @npages: how many pages there are
 * @order: log2 of the pages of an entry, where it is one entry for several
 * @words: one for each page, as hmm_pt_stage() wants them
 * @sum: of what the last walk saw
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
 * struct hmm_bench_holder - something that holds an entry for each page
 * @init: make range->table; 0 or an errno
 * @exit: free it
 * @prepare: get all that @fill will need: it may not allocate; 0 or an errno
 * @unprepare: free what was got and is not needed
 * @lock: taken once for any number of those below
 * @unlock: and given back
 * @fill: have all of the range held; 0 or an errno
 * @iterate: look at all that is held, where @order is 0; return the number of pages
 * @clear: have nothing of the range held, alike; 0
 * @occupied: is anything of the range held? 0 or 1
 * @holds: is what it should be held for this page?
 * @bytes: the memory that it takes
 *
 * None is called but for a whole range, except @holds, which is not measured.
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
