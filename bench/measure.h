/* SPDX-License-Identifier: GPL-2.0 */
/* Memory of each kind, and the measurements of /dev/hmm_bench on it */
#ifndef HMM_BENCH_MEASURE_H
#define HMM_BENCH_MEASURE_H

#include "kernel/mm/hmm_bench/hmm_bench.h"

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

#define PAGE_SIZE	4096UL
#define HPAGE_PAGES	512UL
#define GIB_PAGES	(1UL << 18)

#define REQ_FAULT	(1ULL << 63)
#define REQ_WRITE	(1ULL << 62)

struct memory {
	char *mem;
	unsigned long pages;
};

/* What a walker must do, as in &struct hmm_range */
struct request {
	unsigned long long flags, mask, input;
};

/* On an error, each function prints a message and ends the program. */
void __attribute__((noreturn, format(printf, 1, 2))) die(const char *fmt, ...);
unsigned long long now(void);	/* nanoseconds */

struct memory anon(unsigned long pages, int advice);	/* private, not populated */
struct memory anon_touched(unsigned long pages, int advice);
struct memory anon_shuffled(unsigned long pages);	/* scattered pfns */
struct memory of_file(const char *path, unsigned long pages);
struct memory of_hugetlb(unsigned long pages, int log2_size);
void touch(struct memory m, unsigned long step);
void drop(struct memory m);

void measure_open(void);
/* Each call gets @per_call pages, and @rounds rounds cover all of the memory. */
struct hmm_bench measure(enum hmm_bench_what what, struct memory m, unsigned long per_call,
			 struct request req, unsigned int rounds);
/* Check that the walker did all of @req, and reported @valid pages. */
void measure_check(const char *name, const struct hmm_bench *b, struct request req,
		   unsigned long valid);

/* A table that holds an entry for each page of 1 GiB, and a table with an empty TiB */
struct hmm_bench_table measure_table(enum hmm_bench_holds holder, enum hmm_bench_layout layout,
				     unsigned int rounds);
struct hmm_bench_gap measure_gap(enum hmm_bench_holds holder, unsigned int rounds);

/*
 * A device faults all of the memory for writing, for @rounds rounds and @least nanoseconds at
 * least.
 */
struct hmm_bench_fault measure_fault(enum hmm_bench_drivers driver, struct memory m,
				     unsigned int rounds, unsigned long least);

/* A file of /dev/hmm_bench for listeners. close() removes the listeners. */
int listeners_open(void);
void listeners_add(int fd, enum hmm_bench_listeners what, unsigned int count, struct memory m);
/* Return: nanoseconds of one mprotect() of one page, measured over @calls calls */
double mprotect_page(struct memory m, unsigned int calls);

#endif /* HMM_BENCH_MEASURE_H */
