// SPDX-License-Identifier: GPL-2.0
/*
 * Rows of the faults of a device. One driver has a mirror (ours). The other driver has no mirror
 * but an interval notifier of the whole mm (peer). The faults run alone, and concurrently with
 * threads that change other memory of the process.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "measure.h"
#include "parts.h"
#include "rows.h"

#define MIB_PAGES	256UL

/* How often to measure, and which figure to report */
struct rounds {
	unsigned int rounds;
	unsigned long least;	/* minimum time of all rounds, in nanoseconds */
	bool mean;		/* report the mean of all rounds, not the shortest */
};

/* Long enough for the other threads to run */
static const struct rounds timed = { .rounds = 1, .least = 100000000, .mean = true };
static const struct rounds counted = { .rounds = ROUNDS };
static const struct rounds once = { .rounds = 1 };

static struct hmm_bench_fault measure_rounds(enum hmm_bench_drivers driver, struct memory m,
					     const struct rounds *r)
{
	return measure_fault(driver, m, r->rounds, r->least);
}

static double figure(const struct hmm_bench_fault *fault, const struct rounds *r)
{
	const double pages = fault->npages;

	return r->mean ? fault->total / pages / fault->rounds : fault->best / pages;
}

/*
 * Call the drivers in turn on the same memory. Both must map the same pages. With @retries_name,
 * a second row reports how often a driver had to restart a fault.
 */
static void row_fault(const char *name, struct memory m, const struct rounds *r,
		      const char *retries_name)
{
	unsigned long long retries[2] = {};
	double took[2][PAIRS_MAX];

	for (int i = 0; i < pairs; i++) {
		struct hmm_bench_fault peer = measure_rounds(HMM_BENCH_NO_MIRROR, m, r);
		struct hmm_bench_fault ours = measure_rounds(HMM_BENCH_A_MIRROR, m, r);

		if (peer.sum != ours.sum)
			die("%s: the drivers do not map the same pages", name);
		took[0][i] = figure(&peer, r);
		took[1][i] = figure(&ours, r);
		retries[0] += peer.retries;
		retries[1] += ours.retries;
	}
	say(name, "peer", median(took[0], pairs));
	say(name, "ours", median(took[1], pairs));
	if (!retries_name)
		return;
	/* The sum, because a median would hide rare retries */
	say_in("retries", retries_name, "peer", retries[0]);
	say_in("retries", retries_name, "ours", retries[1]);
}

static void row_present(const char *name, unsigned long pages, int advice,
			const struct rounds *r)
{
	struct memory m = anon_touched(pages, advice);

	row_fault(name, m, r, NULL);
	drop(m);
}

/* Memory that is not present: each driver faults new memory once, and the figure varies little. */
static void row_missing(const char *name, unsigned long pages, int advice)
{
	const enum hmm_bench_drivers drivers[] = { HMM_BENCH_NO_MIRROR, HMM_BENCH_A_MIRROR };

	for (int i = 0; i < 2; i++) {
		struct memory m = anon(pages, advice);
		struct hmm_bench_fault fault = measure_rounds(drivers[i], m, &once);

		say(name, i ? "ours" : "peer", figure(&fault, &once));
		drop(m);
	}
}

/* Threads that change memory that no device uses */

struct disturber {
	pthread_t thread;
	pthread_barrier_t *barrier;
	void (*disturb)(struct memory m);
	struct memory m;
	atomic_bool stop;
	unsigned long times;
};

static void map_and_unmap(struct memory m)
{
	const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;

	if (mmap(m.mem, m.pages * PAGE_SIZE, PROT_READ | PROT_WRITE, flags, -1, 0) == MAP_FAILED)
		die("mmap: %s", strerror(errno));
	touch(m, m.pages);
	drop(m);
}

static void protect(struct memory m)
{
	if (mprotect(m.mem, m.pages * PAGE_SIZE, PROT_READ) ||
	    mprotect(m.mem, m.pages * PAGE_SIZE, PROT_READ | PROT_WRITE))
		die("mprotect of %lu pages: %s", m.pages, strerror(errno));
}

static void *disturb(void *arg)
{
	struct disturber *d = arg;

	for (d->times = 0; !atomic_load(&d->stop); d->times++) {
		d->disturb(d->m);
		if (!d->times)
			pthread_barrier_wait(d->barrier);
	}
	return NULL;
}

static void row_concurrent(const char *name, struct memory m, struct disturber *disturbers,
		       int count)
{
	pthread_barrier_t barrier;
	char retries_name[64];

	snprintf(retries_name, sizeof(retries_name), "%s/retries", name);
	pthread_barrier_init(&barrier, NULL, count + 1);
	for (int i = 0; i < count; i++) {
		disturbers[i].barrier = &barrier;
		if (pthread_create(&disturbers[i].thread, NULL, disturb, &disturbers[i]))
			die("pthread_create: %s", strerror(errno));
	}
	pthread_barrier_wait(&barrier);
	row_fault(name, m, &timed, retries_name);
	for (int i = 0; i < count; i++)
		atomic_store(&disturbers[i].stop, true);
	for (int i = 0; i < count; i++) {
		pthread_join(disturbers[i].thread, NULL);
		printf("# %s: thread %d changed its memory %lu times\n", name, i,
		       disturbers[i].times);
	}
	pthread_barrier_destroy(&barrier);
}

/* @pages pages of @m, from page @first */
static struct memory part(struct memory m, unsigned long first, unsigned long pages)
{
	return (struct memory){ .mem = m.mem + first * PAGE_SIZE, .pages = pages };
}

/*
 * All memory is in the same GiB, with holes that prevent a merge of the mappings:
 *
 *	  0 MiB  the device faults 16 MiB
 *	256 MiB  one thread maps and unmaps 64 KiB
 *	320 MiB  another thread maps and unmaps 64 KiB
 *	512 MiB  one thread protects 256 MiB
 */
static void neighbours(void)
{
	struct memory all = anon(GIB_PAGES, MADV_NOHUGEPAGE);
	struct memory m = part(all, 0, 16 * MIB_PAGES);
	struct memory large = part(all, 512 * MIB_PAGES, 256 * MIB_PAGES);
	struct disturber mappers[] = {
		{ .disturb = map_and_unmap, .m = part(all, 256 * MIB_PAGES, 16) },
		{ .disturb = map_and_unmap, .m = part(all, 320 * MIB_PAGES, 16) },
	};
	struct disturber protector = { .disturb = protect, .m = large };

	drop(part(all, 16 * MIB_PAGES, 496 * MIB_PAGES));
	drop(part(all, 768 * MIB_PAGES, 256 * MIB_PAGES));
	touch(m, 1);
	touch(large, 1);
	row_fault("fault/alone", m, &timed, NULL);
	row_concurrent("fault/with-mmap", m, mappers, ARRAY_SIZE(mappers));
	row_concurrent("fault/with-mprotect", m, &protector, 1);
	drop(m);
	drop(large);
}

void faults(void)
{
	neighbours();
	row_present("prefetch/1G/4K", GIB_PAGES, MADV_NOHUGEPAGE, &timed);
	row_present("prefetch/1G/THP", GIB_PAGES, MADV_HUGEPAGE, &timed);
}

void faults_counted(void)
{
	row_present("fault/2M/4K", HPAGE_PAGES, MADV_NOHUGEPAGE, &counted);
	/* The first fault of a mirror, which has no page table yet */
	row_present("fault/2M/4K/first", HPAGE_PAGES, MADV_NOHUGEPAGE, &once);
	row_present("fault/2M/THP", HPAGE_PAGES, MADV_HUGEPAGE, &counted);
	row_present("fault/1-page", 1, MADV_NOHUGEPAGE, &counted);
	row_present("fault/1G/4K", GIB_PAGES, MADV_NOHUGEPAGE, &once);
	row_present("fault/1G/THP", GIB_PAGES, MADV_HUGEPAGE, &once);
	row_missing("fault/1G/4K/missing", GIB_PAGES, MADV_NOHUGEPAGE);
	row_missing("fault/1G/THP/missing", GIB_PAGES, MADV_HUGEPAGE);
}
