// SPDX-License-Identifier: GPL-2.0
/*
 * Rows of memory that moves to a private device and back. Our test device (ours) uses
 * hmm_devmem_*(). The test device of 6.12 (peer) has its own migration code. One of the two is
 * loaded.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "hmm-dmirror-ioctl.h"
#include "measure.h"
#include "parts.h"
#include "rows.h"

/* Pages that the test devices move in one call */
#define CALL_PAGES	HPAGE_PAGES

#define THREADS_MAX	8

static char buffer[CALL_PAGES * PAGE_SIZE];

static struct dmirror device_open(void)
{
	struct dmirror dev = { .buf = buffer, .buf_pages = CALL_PAGES };

	dev.fd = open("/dev/hmm_dmirror0", O_RDWR);
	if (dev.fd < 0)
		die("/dev/hmm_dmirror0: %m");
	return dev;
}

static void device_do(struct dmirror *dev, dmirror_verb *verb, char *mem)
{
	int tries = 10;
	long ret;

	/* A page does not move while another task holds a reference to it: try again. */
	while ((ret = verb(dev, mem, CALL_PAGES)) < 0) {
		if (!--tries)
			die("the device: %s", strerror(-ret));
	}
}

static void to_device(struct dmirror *dev, struct memory m)
{
	for (unsigned long i = 0; i < m.pages; i += CALL_PAGES)
		device_do(dev, dmirror_migrate_to_dev, m.mem + i * PAGE_SIZE);
}

/* Align the memory, so that it can consist of huge pages. */
static struct memory aligned(struct memory m)
{
	const uintptr_t size = CALL_PAGES * PAGE_SIZE;

	m.mem = (char *)(((uintptr_t)m.mem + size - 1) & -size);
	m.pages -= CALL_PAGES;
	return m;
}

static void row_there(struct dmirror *dev, const char *name, const char *who, bool touched,
		      int advice, bool fault_first)
{
	double took[PAIRS_MAX];

	for (int i = 0; i < pairs; i++) {
		struct memory whole = anon(2 * CALL_PAGES, advice), m = aligned(whole);
		unsigned long long begin;

		if (touched)
			touch(m, 1);
		begin = now();
		if (fault_first)
			device_do(dev, dmirror_read, m.mem);
		device_do(dev, dmirror_migrate_to_dev, m.mem);
		took[i] = now() - begin;
		/* The call ends with a read, which differs between the drivers: subtract it. */
		begin = now();
		device_do(dev, dmirror_read, m.mem);
		took[i] = (took[i] - (now() - begin)) / m.pages;
		drop(whole);
	}
	say(name, who, median(took, pairs));
}

static void row_back(struct dmirror *dev, const char *who)
{
	double took[PAIRS_MAX];

	for (int i = 0; i < pairs; i++) {
		struct memory m = anon_touched(CALL_PAGES, MADV_NOHUGEPAGE);
		unsigned long long begin;

		to_device(dev, m);
		begin = now();
		touch(m, 1);
		took[i] = (now() - begin) / (double)m.pages;
		drop(m);
	}
	say("devmem/back", who, median(took, pairs));
}

void devmem_counted(const char *who)
{
	const bool ours = !strcmp(who, "ours");
	struct dmirror dev = device_open();

	row_there(&dev, "devmem/there/4K/less-read", who, true, MADV_NOHUGEPAGE, false);
	row_there(&dev, "devmem/there/THP/less-read", who, true, MADV_HUGEPAGE, false);
	row_back(&dev, who);
	/*
	 * Ours moves untouched memory in one call. For the peer, the device faults it first, then
	 * another call moves it.
	 */
	if (ours) {
		const char *name = "devmem/fault-and-move/less-read";

		row_there(&dev, name, "ours", false, MADV_NOHUGEPAGE, false);
		row_there(&dev, name, "peer", false, MADV_NOHUGEPAGE, true);
	}
}

static pthread_barrier_t barrier;

static void *touch_all(void *arg)
{
	const struct memory *m = arg;

	pthread_barrier_wait(&barrier);
	touch(*m, 1);
	return NULL;
}

/* CPU faults for each page, if all threads touch the same pages in the same order */
static double faults_per_page(struct dmirror *dev, struct memory m, int threads)
{
	pthread_t thread[THREADS_MAX];
	struct rusage before, after;

	to_device(dev, m);
	pthread_barrier_init(&barrier, NULL, threads);
	getrusage(RUSAGE_SELF, &before);
	for (int i = 0; i < threads; i++) {
		if (pthread_create(&thread[i], NULL, touch_all, &m))
			die("pthread_create");
	}
	for (int i = 0; i < threads; i++)
		pthread_join(thread[i], NULL);
	getrusage(RUSAGE_SELF, &after);
	pthread_barrier_destroy(&barrier);
	return (after.ru_minflt - before.ru_minflt) / (double)m.pages;
}

void devmem(const char *who)
{
	struct memory m = anon_touched(32 * CALL_PAGES, MADV_NOHUGEPAGE);
	struct dmirror dev = device_open();

	for (int threads = 1; threads <= THREADS_MAX; threads *= 2) {
		char name[64];
		double worst = 0;

		for (int i = 0; i < ROUNDS; i++) {
			double faults = faults_per_page(&dev, m, threads);

			worst = faults > worst ? faults : worst;
		}
		snprintf(name, sizeof(name), "devmem/back/%d-threads", threads);
		say(name, who, worst);
	}
}
