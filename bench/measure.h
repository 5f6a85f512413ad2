/* SPDX-License-Identifier: GPL-2.0 */
/* Memory of every kind, and measurements on it by /dev/hmm_bench */
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

/* What a walker is asked for, as in &struct hmm_range */
struct request {
	unsigned long long flags, mask, input;
};

/* Each ends the program with a message rather than to return what is wrong. */
void __attribute__((noreturn, format(printf, 1, 2))) die(const char *fmt, ...);
unsigned long long now(void);	/* nanoseconds */

struct memory anon(unsigned long pages, int advice);	/* private, with nothing in it */
struct memory anon_touched(unsigned long pages, int advice);
struct memory anon_shuffled(unsigned long pages);	/* its pfns in no order */
struct memory of_file(const char *path, unsigned long pages);
struct memory of_hugetlb(unsigned long pages, int log2_size);
void touch(struct memory m, unsigned long step);
void drop(struct memory m);

void measure_open(void);
/* Pages @per_call in one call, and the whole as often as @rounds say */
struct hmm_bench measure(enum hmm_bench_what what, struct memory m, unsigned long per_call,
			 struct request req, unsigned int rounds);
/* Has it done all that was requested, with @valid pages? */
void measure_check(const char *name, const struct hmm_bench *b, struct request req,
		   unsigned long valid);

/* 1 GiB in one of those that hold an entry for each page; and 1 TiB with nothing in it */
struct hmm_bench_table measure_table(enum hmm_bench_holds holder, enum hmm_bench_layout layout,
				     unsigned int rounds);
struct hmm_bench_gap measure_gap(enum hmm_bench_holds holder, unsigned int rounds);

/*
 * A device that wants to write all of the memory, as often as @rounds say, and for as
 * many nanoseconds as @least says
 */
struct hmm_bench_fault measure_fault(enum hmm_bench_drivers driver, struct memory m,
				     unsigned int rounds, unsigned long least);

/* A file of /dev/hmm_bench for those who listen; they are gone when it is closed */
int listeners_open(void);
void listeners_add(int fd, enum hmm_bench_listeners what, unsigned int count, struct memory m);
/* What it costs to change the protection of one page, @calls times */
double mprotect_page(struct memory m, unsigned int calls);

#endif /* HMM_BENCH_MEASURE_H */
