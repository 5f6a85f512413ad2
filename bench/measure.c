// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "measure.h"

static int bench_fd;

void die(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	fputs("hmm-bench: ", stdout);
	vprintf(fmt, args);
	va_end(args);
	putchar('\n');
	exit(1);
}

unsigned long long now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

/* Memory */

static char *map_at(char *where, unsigned long pages, int flags, int fd)
{
	char *mem = mmap(where, pages * PAGE_SIZE, PROT_READ | PROT_WRITE, flags, fd, 0);

	if (mem == MAP_FAILED)
		die("mmap of %lu pages: %s", pages, strerror(errno));
	return mem;
}

/* Aligned to 1 GiB, so that page table entries of each size fit */
struct memory anon(unsigned long pages, int advice)
{
	const int flags = MAP_PRIVATE | MAP_ANONYMOUS;
	const unsigned long gib = GIB_PAGES * PAGE_SIZE;
	char *area = map_at(NULL, pages + GIB_PAGES, flags | MAP_NORESERVE, -1);
	struct memory m = { .pages = pages };

	munmap(area, (pages + GIB_PAGES) * PAGE_SIZE);
	area = (char *)(((unsigned long)area + gib - 1) & -gib);
	m.mem = map_at(area, pages, flags | MAP_FIXED, -1);
	/* A kernel without THP rejects the advice. All of its pages are small. */
	if (madvise(m.mem, pages * PAGE_SIZE, advice) && advice == MADV_HUGEPAGE)
		die("no transparent huge pages: %s", strerror(errno));
	return m;
}

void drop(struct memory m)
{
	munmap(m.mem, m.pages * PAGE_SIZE);
}

void touch(struct memory m, unsigned long step)
{
	for (unsigned long page = 0; page < m.pages; page += step)
		*(volatile char *)(m.mem + page * PAGE_SIZE) = 1;
}

static void populate(struct memory m)
{
	if (madvise(m.mem, m.pages * PAGE_SIZE, MADV_POPULATE_WRITE))
		die("%lu pages of memory: %s", m.pages, strerror(errno));
}

struct memory anon_touched(unsigned long pages, int advice)
{
	struct memory m = anon(pages, advice);

	populate(m);
	return m;
}

/*
 * Populate the pages one by one, in an order that scatters the pfns. The number of pages is a
 * power of two and the multiplier is odd, so the order includes each page once. It is the same in
 * each run.
 */
struct memory anon_shuffled(unsigned long pages)
{
	struct memory m = anon(pages, MADV_NOHUGEPAGE);

	for (unsigned long i = 0; i < pages; i++) {
		unsigned long page = i * 0x9e3779b1UL % pages;

		populate((struct memory){ .mem = m.mem + page * PAGE_SIZE, .pages = 1 });
	}
	return m;
}

struct memory of_file(const char *path, unsigned long pages)
{
	int fd = open(path, O_RDWR);
	struct memory m = { .pages = pages };

	if (fd < 0)
		die("%s: %s", path, strerror(errno));
	m.mem = map_at(NULL, pages, MAP_SHARED, fd);
	close(fd);
	touch(m, 1);
	return m;
}

struct memory of_hugetlb(unsigned long pages, int log2_size)
{
	struct memory m = { .pages = pages };

	m.mem = map_at(NULL, pages, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB |
				    log2_size << MAP_HUGE_SHIFT, -1);
	touch(m, 1);
	return m;
}

/* Measurements */

void measure_open(void)
{
	bench_fd = open("/dev/hmm_bench", O_RDWR | O_CLOEXEC);
	if (bench_fd < 0)
		die("/dev/hmm_bench: %s", strerror(errno));
}

struct hmm_bench measure(enum hmm_bench_what what, struct memory m, unsigned long per_call,
			 struct request req, unsigned int rounds)
{
	struct hmm_bench bench = {
		.addr = (unsigned long)m.mem,
		.npages = m.pages,
		.per_call = per_call,
		.default_flags = req.flags,
		.pfn_flags_mask = req.mask,
		.input = req.input,
		.what = what,
		.rounds = rounds,
	};

	if (ioctl(bench_fd, HMM_BENCH_RUN, &bench))
		die("%lu pages, %d: %s", m.pages, what, strerror(errno));
	return bench;
}

/* The figure of a walker that skips work is meaningless. */
void measure_check(const char *name, const struct hmm_bench *b, struct request req,
		   unsigned long valid)
{
	bool write = (req.flags | (req.mask & req.input)) & REQ_WRITE;

	if (b->valid != valid)
		die("%s: %llu valid pages, not %lu", name, b->valid, valid);
	if (write && b->writable != valid)
		die("%s: %llu writable pages, not %lu", name, b->writable, valid);
}

struct hmm_bench_table measure_table(enum hmm_bench_holds holder, enum hmm_bench_layout layout,
				     unsigned int rounds)
{
	struct hmm_bench_table table = {
		.holder = holder,
		.layout = layout,
		.rounds = rounds,
	};

	if (ioctl(bench_fd, HMM_BENCH_TABLE, &table))
		die("table %d, layout %d: %s", holder, layout, strerror(errno));
	return table;
}

struct hmm_bench_gap measure_gap(enum hmm_bench_holds holder, unsigned int rounds)
{
	struct hmm_bench_gap gap = { .holder = holder, .rounds = rounds };

	if (ioctl(bench_fd, HMM_BENCH_GAP, &gap))
		die("table %d with an empty TiB: %s", holder, strerror(errno));
	return gap;
}

struct hmm_bench_fault measure_fault(enum hmm_bench_drivers driver, struct memory m,
				     unsigned int rounds, unsigned long least)
{
	struct hmm_bench_fault fault = {
		.driver = driver,
		.addr = (unsigned long)m.mem,
		.npages = m.pages,
		.rounds = rounds,
		.least = least,
	};

	if (ioctl(bench_fd, HMM_BENCH_FAULT, &fault))
		die("fault of %lu pages, %d: %s", m.pages, driver, strerror(errno));
	if (fault.writable != m.pages)
		die("fault of %lu pages, %d: it maps %llu", m.pages, driver, fault.writable);
	return fault;
}

int listeners_open(void)
{
	int fd = open("/dev/hmm_bench", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		die("/dev/hmm_bench: %s", strerror(errno));
	return fd;
}

void listeners_add(int fd, enum hmm_bench_listeners what, unsigned int count, struct memory m)
{
	const struct hmm_bench_listen listen = {
		.what = what,
		.count = count,
		.addr = (unsigned long)m.mem,
	};

	if (ioctl(fd, HMM_BENCH_LISTEN, &listen))
		die("%u listeners, %d: %s", count, what, strerror(errno));
}

double mprotect_page(struct memory m, unsigned int calls)
{
	unsigned long long best = -1, begin, took;

	for (unsigned int round = 0; round < 5; round++) {
		begin = now();
		for (unsigned int call = 0; call < calls; call += 2) {
			if (mprotect(m.mem, PAGE_SIZE, PROT_READ) ||
			    mprotect(m.mem, PAGE_SIZE, PROT_READ | PROT_WRITE))
				die("mprotect: %s", strerror(errno));
		}
		took = now() - begin;
		if (took < best)
			best = took;
	}
	return (double)best / calls;
}
