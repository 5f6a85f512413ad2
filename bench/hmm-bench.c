// SPDX-License-Identifier: GPL-2.0
/*
 * Measure range walkers, mirror page tables, the faults of a device (faults.c) and migration to
 * a device (devmem.c). Print each figure on one line:
 *
 *	bench NAME UNIT WHO VALUE
 *
 * WHO is peer, ours, floor or gup. bench/report makes tables from these lines.
 *
 *	hmm-bench.c  ->  faults.c, devmem.c  ->  measure.c, rows.c  ->  /dev/hmm_bench
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "measure.h"
#include "parts.h"
#include "rows.h"

static unsigned long many;	/* default number of pages of a row */

static const struct request nothing = {};
static const struct request read_mask0 = { .flags = REQ_FAULT };
static const struct request write_mask0 = { .flags = REQ_FAULT | REQ_WRITE };
static const struct request read_mask1 = { .mask = ~0ULL, .input = REQ_FAULT };
static const struct request write_mask1 = { .mask = ~0ULL, .input = REQ_FAULT | REQ_WRITE };

/* Call the walkers in turn on memory that is present. Their results must agree. */
static void compare(const char *name, enum hmm_bench_what peer, enum hmm_bench_what ours,
		    struct memory m, unsigned long per_call, struct request req)
{
	double took[3][PAIRS_MAX];

	for (int i = 0; i < pairs; i++) {
		struct hmm_bench a = measure(peer, m, per_call, req, ROUNDS);
		struct hmm_bench b = measure(ours, m, per_call, req, ROUNDS);
		struct hmm_bench f = measure(HMM_BENCH_FLOOR, m, per_call, nothing, ROUNDS);

		measure_check(name, &a, req, m.pages);
		measure_check(name, &b, req, m.pages);
		if (a.sum != b.sum)
			die("%s: the walkers do not agree", name);
		took[0][i] = (double)a.best / m.pages;
		took[1][i] = (double)b.best / m.pages;
		took[2][i] = (double)f.best / m.pages;
	}
	say(name, "peer", median(took[0], pairs));
	say(name, "ours", median(took[1], pairs));
	say(name, "floor", median(took[2], pairs));
}

static void row(const char *name, struct memory m, unsigned long per_call, struct request req)
{
	compare(name, HMM_BENCH_PEER, HMM_BENCH_OURS, m, per_call, req);
}

static void row_gup(const char *name, struct memory m, struct request req)
{
	double took[PAIRS_MAX];

	row(name, m, m.pages, req);
	for (int i = 0; i < pairs; i++)
		took[i] = (double)measure(HMM_BENCH_GUP, m, m.pages, req, ROUNDS).best / m.pages;
	say(name, "gup", median(took, pairs));
}

static void present_4k(void)
{
	struct memory m = anon_touched(many, MADV_NOHUGEPAGE);

	row_gup("snapshot/4K", m, nothing);
	row_gup("present/4K/read/mask-0", m, read_mask0);
	row("present/4K/read/mask-1", m, many, read_mask1);
	row_gup("present/4K/write/mask-0", m, write_mask0);
	row("present/4K/write/mask-1", m, many, write_mask1);
	row("call/1-page/present", m, 1, write_mask0);
	drop(m);
}

/* Fragmented memory, in which few pages are contiguous */
static void present_4k_odd(void)
{
	struct memory m = anon_shuffled(many);

	row("snapshot/4K/shuffled", m, many, nothing);
	/* MADV_FREE clears the dirty bit of every second pte, so adjacent ptes differ. */
	for (unsigned long page = 0; page < m.pages; page += 2)
		if (madvise(m.mem + page * PAGE_SIZE, PAGE_SIZE, MADV_FREE))
			die("MADV_FREE: %s", strerror(errno));
	row("snapshot/4K/mixed", m, many, nothing);
	drop(m);
}

/* The cost of the attributes, compared with our walk without them */
static void attributes(const char *name, struct memory m)
{
	compare(name, HMM_BENCH_OURS, HMM_BENCH_SNAPSHOT, m, many, nothing);
	drop(m);
}

static void present_huge(void)
{
	struct memory m = anon_touched(4 * many, MADV_HUGEPAGE);

	row("snapshot/THP", m, m.pages, nothing);
	row("present/THP/write/mask-0", m, m.pages, write_mask0);
	row("present/THP/write/mask-1", m, m.pages, write_mask1);
	drop(m);

	m = of_hugetlb(many, 21);
	row("snapshot/hugetlb-2M", m, m.pages, nothing);
	row("present/hugetlb-2M/write/mask-0", m, m.pages, write_mask0);
	drop(m);
	m = of_hugetlb(GIB_PAGES, 30);
	row("snapshot/hugetlb-1G", m, m.pages, nothing);
	row("present/hugetlb-1G/write/mask-0", m, m.pages, write_mask0);
	drop(m);
}

static void present_dax(void)
{
	const struct {
		const char *path, *snapshot, *present;
		unsigned long pages;
	} kinds[] = {
		{ "/dev/dax2.0", "snapshot/DAX-pte", "present/DAX-pte/write/mask-0", many },
		{ "/dev/dax1.0", "snapshot/DAX-pmd", "present/DAX-pmd/write/mask-0", many },
		{ "/dev/dax0.0", "snapshot/DAX-pud", "present/DAX-pud/write/mask-0", GIB_PAGES },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct memory m = of_file(kinds[i].path, kinds[i].pages);

		row(kinds[i].snapshot, m, m.pages, nothing);
		row(kinds[i].present, m, m.pages, write_mask0);
		drop(m);
	}
}

/* Memory that the walk itself faults in */

struct populate {
	const char *name;
	unsigned long pages;
	int advice;
	unsigned long per_call;
	unsigned long present;	/* one in this number of pages is present; 0: none */
};

static double populate_once(const struct populate *p, enum hmm_bench_what what)
{
	struct memory m = anon(p->pages, p->advice);
	struct hmm_bench b;

	if (p->present)
		touch(m, p->present);
	b = measure(what, m, p->per_call, write_mask0, 1);
	if (what != HMM_BENCH_FAULTS)
		measure_check(p->name, &b, write_mask0, p->pages);
	drop(m);
	return b.best;
}

static double touch_once(const struct populate *p)
{
	struct memory m = anon(p->pages, p->advice);
	unsigned long long begin = now();

	touch(m, 1);
	begin = now() - begin;
	drop(m);
	return begin;
}

/*
 * The floor is the cost of the faults without a walk. A second row subtracts a cost that all
 * walkers share: the floor, or the cost of the CPU to touch each page. The latter is higher if
 * each page needs an exception.
 */
static void row_populate(const struct populate *p, const char *less_name, bool less_touch)
{
	const unsigned long missing = p->present ? p->pages - p->pages / p->present : p->pages;
	double peer[PAIRS_MAX], ours[PAIRS_MAX], floor[PAIRS_MAX], touched[PAIRS_MAX];
	double less;

	for (int i = 0; i < pairs; i++) {
		/* Alternate the order, because memory that was freed last is in the cache. */
		if (i % 2)
			peer[i] = populate_once(p, HMM_BENCH_PEER) / missing;
		ours[i] = populate_once(p, HMM_BENCH_OURS) / missing;
		if (i % 2 == 0)
			peer[i] = populate_once(p, HMM_BENCH_PEER) / missing;
		floor[i] = populate_once(p, HMM_BENCH_FAULTS) / missing;
		touched[i] = less_touch ? touch_once(p) / missing : 0;
	}
	say(p->name, "peer", median(peer, pairs));
	say(p->name, "ours", median(ours, pairs));
	say(p->name, "floor", median(floor, pairs));
	if (!less_name)
		return;
	less = less_touch ? median(touched, pairs) : median(floor, pairs);
	say(less_name, "peer", median(peer, pairs) - less);
	say(less_name, "ours", median(ours, pairs) - less);
}

static struct populate populate_4k(void)
{
	return (struct populate){
		.name = "populate/4K",
		.pages = many,
		.advice = MADV_NOHUGEPAGE,
		.per_call = many,
	};
}

static void populates(void)
{
	struct populate all = populate_4k(), half = all, call = all, thp = all;

	row_populate(&all, "populate/4K/less-faults", false);
	half.name = "populate/4K/half";
	half.present = 2;
	row_populate(&half, NULL, false);
	call.name = "call/1-page/missing";
	call.per_call = 1;
	row_populate(&call, NULL, false);
	thp.name = "populate/THP";
	thp.advice = MADV_HUGEPAGE;
	row_populate(&thp, "populate/THP/less-touch", true);
}

/* Cost by the size of a call */
static void sizes(const char *kind, int advice)
{
	struct memory all = anon_touched(GIB_PAGES, advice);

	for (unsigned long pages = 1; pages <= GIB_PAGES; pages *= 4) {
		struct memory m = { .mem = all.mem, .pages = pages };
		char name[64];

		snprintf(name, sizeof(name), "size/%s/%lu", kind, pages);
		row(name, m, pages, write_mask0);
	}
	drop(all);
}

/* Cost by the number of threads, all of which walk the same memory */

#define THREADS_MAX	8
#define THREAD_ROUNDS	500

struct worker {
	pthread_t thread;
	pthread_barrier_t *barrier;
	enum hmm_bench_what what;
	struct memory m;
};

static void *work(void *arg)
{
	struct worker *w = arg;

	pthread_barrier_wait(w->barrier);
	measure(w->what, w->m, HPAGE_PAGES, write_mask0, THREAD_ROUNDS);
	pthread_barrier_wait(w->barrier);
	return NULL;
}

/*
 * Return: nanoseconds for each page that each thread has walked. Start and exit of the threads
 * are excluded, because they take mmap_lock for writing.
 */
static double work_together(enum hmm_bench_what what, struct memory m, int threads)
{
	struct worker workers[THREADS_MAX];
	pthread_barrier_t barrier;
	unsigned long long begin;

	pthread_barrier_init(&barrier, NULL, threads + 1);
	for (int i = 0; i < threads; i++) {
		workers[i] = (struct worker){ .barrier = &barrier, .what = what, .m = m };
		if (pthread_create(&workers[i].thread, NULL, work, &workers[i]))
			die("pthread_create: %s", strerror(errno));
	}
	pthread_barrier_wait(&barrier);
	begin = now();
	pthread_barrier_wait(&barrier);
	begin = now() - begin;
	for (int i = 0; i < threads; i++)
		pthread_join(workers[i].thread, NULL);
	pthread_barrier_destroy(&barrier);
	return (double)begin / (m.pages * THREAD_ROUNDS);
}

static void threads(void)
{
	struct memory m = anon_touched(many, MADV_NOHUGEPAGE);

	for (int count = 1; count <= THREADS_MAX; count++) {
		double peer[PAIRS_MAX], ours[PAIRS_MAX], floor[PAIRS_MAX];
		char name[64];

		for (int i = 0; i < pairs; i++) {
			peer[i] = work_together(HMM_BENCH_PEER, m, count);
			ours[i] = work_together(HMM_BENCH_OURS, m, count);
			/* The floor takes no lock, so only the machine slows it down. */
			floor[i] = work_together(HMM_BENCH_FLOOR, m, count);
		}
		snprintf(name, sizeof(name), "threads/4K/%d", count);
		say(name, "peer", median(peer, pairs));
		say(name, "ours", median(ours, pairs));
		say(name, "floor", median(floor, pairs));
	}
	drop(m);
}

/* The mirror page table, compared with an xarray */

static void say_pt(const char *what, const char *kind, const char *of, const char *by,
		   double value)
{
	char name[64];

	snprintf(name, sizeof(name), "pt/%s/%s", what, kind);
	say_in(of, name, by, value);
}

static void entries(const char *kind, enum hmm_bench_layout layout, const char *by,
		    enum hmm_bench_holds holder)
{
	const struct hmm_bench_table b = measure_table(holder, layout, ROUNDS);
	const double count = b.entries;

	say_pt("fill", kind, "instructions/entry", by, b.fill / count);
	say_pt("iterate", kind, "instructions/entry", by, b.iterate / count);
	say_pt("clear", kind, "instructions/entry", by, b.clear / count);
}

static void entries_floor(const char *kind, double floor)
{
	say_pt("fill", kind, "instructions/entry", "floor", floor);
	say_pt("iterate", kind, "instructions/entry", "floor", floor);
	say_pt("clear", kind, "instructions/entry", "floor", floor);
}

static void bytes(const char *kind, enum hmm_bench_layout layout, const char *by,
		  enum hmm_bench_holds holder, unsigned int times)
{
	const struct hmm_bench_table b = measure_table(holder, layout, 1);

	say_pt("bytes", kind, "bytes/entry", by, (double)times * b.bytes / b.entries);
}

static void empty(const char *by, enum hmm_bench_holds holder)
{
	const struct hmm_bench_gap b = measure_gap(holder, ROUNDS);
	const double calls = HMM_BENCH_GAP_CALLS;

	say_pt("clear", "1T-empty", "instructions/call", by, b.clear / calls);
	say_pt("occupied", "1T-empty", "instructions/call", by, b.occupied / calls);
}

static void tables(void)
{
	const struct {
		const char *kind;
		enum hmm_bench_layout layout;
	} kinds[] = {
		{ "4K/contiguous", HMM_BENCH_CONTIGUOUS },
		{ "4K/folios", HMM_BENCH_FOLIOS },
		{ "4K/scattered", HMM_BENCH_SCATTERED },
	};
	struct memory m = anon(GIB_PAGES, MADV_NOHUGEPAGE);
	double floor = (double)measure(HMM_BENCH_FLOOR, m, m.pages, nothing, ROUNDS).best / m.pages;

	for (unsigned int i = 0; i < ARRAY_SIZE(kinds); i++) {
		entries(kinds[i].kind, kinds[i].layout, "peer", HMM_BENCH_XARRAY);
		entries(kinds[i].kind, kinds[i].layout, "ours", HMM_BENCH_PT);
		entries_floor(kinds[i].kind, floor);
	}
	empty("peer", HMM_BENCH_XARRAY);
	empty("ours", HMM_BENCH_PT);
	bytes("4K", HMM_BENCH_SCATTERED, "peer", HMM_BENCH_XARRAY, 1);
	bytes("4K", HMM_BENCH_SCATTERED, "ours", HMM_BENCH_PT, 1);
	bytes("2M", HMM_BENCH_HUGE, "peer", HMM_BENCH_XARRAY, 1);
	bytes("2M", HMM_BENCH_HUGE, "ours", HMM_BENCH_PT, 1);
	/* The peer needs one xarray for the pages and one for the DMA addresses. */
	bytes("4K-dma", HMM_BENCH_SCATTERED, "peer", HMM_BENCH_XARRAY, 2);
	bytes("4K-dma", HMM_BENCH_SCATTERED, "ours", HMM_BENCH_PT_DMA, 1);
	bytes("2M-dma", HMM_BENCH_HUGE, "peer", HMM_BENCH_XARRAY, 2);
	bytes("2M-dma", HMM_BENCH_HUGE, "ours", HMM_BENCH_PT_DMA, 1);
	drop(m);
}

/* mprotect() of one page with many listeners: mirrors of other memory, or notifiers of the mm */

static void listeners(void)
{
	const unsigned int many_listeners = 512, calls = 256;
	struct memory page = anon_touched(1, MADV_NOHUGEPAGE);
	struct memory other = anon_touched(1, MADV_NOHUGEPAGE);
	int fd = listeners_open();
	double one;

	unit = "instructions/call";
	listeners_add(fd, HMM_BENCH_MIRRORS, 1, other);
	one = mprotect_page(page, calls);
	say("mirror/mprotect/512-mirrors", "peer", one);
	say("mirror/mprotect/512-notifiers", "peer", one);
	listeners_add(fd, HMM_BENCH_MIRRORS, many_listeners - 1, other);
	say("mirror/mprotect/512-mirrors", "ours", mprotect_page(page, calls));
	close(fd);

	fd = listeners_open();
	listeners_add(fd, HMM_BENCH_MIRRORS, 1, other);
	listeners_add(fd, HMM_BENCH_NOTIFIERS, many_listeners, other);
	say("mirror/mprotect/512-notifiers", "ours", mprotect_page(page, calls));
	close(fd);
	drop(page);
	drop(other);
}

/* For a profiler: one second of walks, one second of populating */
static void profile(void)
{
	struct memory m = anon_touched(many, MADV_NOHUGEPAGE);
	struct populate all = populate_4k();
	unsigned long long end = now() + 1000000000ULL;

	while (now() < end)
		measure(HMM_BENCH_OURS, m, many, write_mask0, 100);
	drop(m);
	end = now() + 1000000000ULL;
	while (now() < end)
		populate_once(&all, HMM_BENCH_OURS);
}

int main(int argc, char **argv)
{
	const char *mode = argc >= 2 ? argv[1] : "", *who = argc == 3 ? argv[2] : "";

	if (strncmp(mode, "devmem", 6))
		measure_open();
	if (!strcmp(mode, "instructions")) {
		unit = "instructions/page";
		many = 16 << 10;
		/* Instruction counts vary little. */
		pairs = 3;
		present_4k();
		attributes("attributes/4K", anon_touched(many, MADV_NOHUGEPAGE));
		present_huge();
		present_dax();
		populates();
		sizes("4K", MADV_NOHUGEPAGE);
		sizes("THP", MADV_HUGEPAGE);
		present_4k_odd();
		attributes("attributes/4K/shuffled", anon_shuffled(many));
	} else if (!strcmp(mode, "tables")) {
		tables();
		listeners();
	} else if (!strcmp(mode, "threads")) {
		unit = "ns/page";
		many = 4 * HPAGE_PAGES;
		pairs = 9;
		threads();
	} else if (!strcmp(mode, "faults")) {
		unit = "ns/page";
		pairs = 9;
		faults();
	} else if (!strcmp(mode, "faults-counted")) {
		unit = "instructions/page";
		pairs = 3;
		faults_counted();
	} else if (!strcmp(mode, "devmem")) {
		unit = "faults/page";
		devmem(who);
	} else if (!strcmp(mode, "devmem-counted")) {
		unit = "instructions/page";
		pairs = 3;
		devmem_counted(who);
	} else if (!strcmp(mode, "native")) {
		struct populate all;

		unit = "ns/page";
		prefix = "native/";
		pairs = 31;
		many = 64 << 10;
		present_4k();
		/* UML maps scattered memory page by page, which is slow. */
		many = 16 << 10;
		present_4k_odd();
		/* The noise of faults exceeds the difference: use little memory, often. */
		pairs = PAIRS_MAX;
		many = HPAGE_PAGES;
		all = populate_4k();
		row_populate(&all, NULL, false);
	} else if (!strcmp(mode, "profile")) {
		many = 16 << 10;
		profile();
	} else {
		die("name a part: instructions, tables, threads, faults, faults-counted, "
		    "devmem, devmem-counted, native, profile");
	}
	puts("bench done");
	return 0;
}
