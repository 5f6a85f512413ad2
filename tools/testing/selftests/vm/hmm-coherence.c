// SPDX-License-Identifier: GPL-2.0
/*
 * Coherence of the memory that the CPU and devices access.
 *
 * Threads of the CPU and of devices read and write words and check each value against the values
 * that the word may have (see hmm-coherence.h), while other threads change the memory in random
 * order. The first violation ends the run. It prints the wrong word, the last changes of the
 * memory, the events of the devices, and the seed of the random numbers.
 *
 * In the environment: HMM_COHERENCE_SECONDS is the duration, 60 by default; HMM_COHERENCE_SEED is
 * the seed of the random numbers, the time by default.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <stdio.h>

#include "hmm-coherence.h"

#define THREADS		2	/* threads of each sort that access memory */
#define CHANGERS	4	/* threads that make changes; they mostly sleep */
#define HOT		4	/* tenths of a second that a region is hot */
#define PROGRESS	10	/* seconds */
#define LATE		5	/* limit of the duration on a slow machine, as a factor */
#define STUCK		120	/* seconds that a thread may take to end */

static struct actor cpus[THREADS], devices[THREADS], changers[CHANGERS];
static long out_before, in_before;	/* swapped pages */

static __u64 number_from(const char *name, __u64 otherwise)
{
	const char *text = getenv(name);
	char *end;
	__u64 value;

	if (!text)
		return otherwise;
	value = strtoull(text, &end, 0);
	if (!*text || *end || !value)
		ksft_exit_fail_msg("%s is not a number above 0: '%s'\n", name, text);
	return value;
}

static unsigned long accesses(void)
{
	unsigned long sum = 0;

	for (unsigned int i = 0; i < nregions; i++)
		sum += regions[i].cpu_reads + regions[i].cpu_writes + regions[i].device_reads +
		       regions[i].device_writes;
	return sum;
}

static unsigned long changes_made(void)
{
	unsigned long sum = 0, done, tried;

	for (unsigned int i = 0; i < nchanges; i++) {
		changes_count(i, &done, &tried);
		sum += done;
	}
	return sum;
}

static bool region_was_accessed(const struct region *r)
{
	return r->cpu_reads && r->cpu_writes && r->device_reads && r->device_writes;
}

/* Pages since the start */
static long swapped_out(void)
{
	return read_number(VMSTAT, "pswpout ") - out_before;
}

static long swapped_in(void)
{
	return read_number(VMSTAT, "pswpin ") - in_before;
}

static void start(struct actor *actors, unsigned int n, void *(*run)(void *))
{
	for (unsigned int i = 0; i < n; i++)
		if (pthread_create(&actors[i].thread, NULL, run, &actors[i]))
			ksft_exit_fail_msg("no thread\n");
}

/* Returns true if each change was made and each kind of memory was accessed. */
static bool everything_was_done(void)
{
	unsigned long done, tried;

	for (unsigned int i = 0; i < nchanges; i++) {
		changes_count(i, &done, &tried);
		if (!done)
			return false;
	}
	for (unsigned int i = 0; i < nregions; i++)
		if (!region_was_accessed(&regions[i]))
			return false;
	return swapped_out() && swapped_in();
}

/*
 * Ends after @seconds or at a violation. On a slow machine it ends later, when everything was
 * done once, because a change that was not made was not tested.
 */
static void watch(long seconds)
{
	const long begin = msecs_now();
	long now, next = PROGRESS;

	for (unsigned int i = 0; !atomic_load(&stopping); i++) {
		usleep(100000);
		if (i % HOT == 0)
			atomic_store(&hot, i / HOT % nregions);
		now = (msecs_now() - begin) / 1000;
		if (now >= next) {
			ksft_print_msg("%ld of %ld s: %lu changes, %lu accesses checked\n", now,
				       seconds, changes_made(), accesses());
			next += PROGRESS;
		}
		if (now >= LATE * seconds || (now >= seconds && everything_was_done()))
			atomic_store(&stopping, true);
	}
	if (atomic_load(&violations))
		ksft_print_msg("the violation came after %ld ms\n", msecs_now() - begin);
}

/* Print the kernel stack of each thread. */
static void print_threads(void)
{
	struct dirent *entry;
	char path[512], line[256];
	DIR *tasks = opendir("/proc/self/task");

	while (tasks && (entry = readdir(tasks))) {
		snprintf(path, sizeof(path), "/proc/self/task/%s/stack", entry->d_name);
		FILE *file = fopen(path, "r");

		ksft_print_msg("thread %s\n", entry->d_name);
		while (file && fgets(line, sizeof(line), file))
			ksft_print_msg("  %s", line);
		if (file)
			fclose(file);
	}
	if (tasks)
		closedir(tasks);
}

static void join(struct actor *actors, unsigned int n)
{
	struct timespec deadline;

	clock_gettime(CLOCK_REALTIME, &deadline);
	deadline.tv_sec += STUCK;
	for (unsigned int i = 0; i < n; i++) {
		if (pthread_timedjoin_np(actors[i].thread, NULL, &deadline)) {
			history_print();
			print_threads();
			ksft_exit_fail_msg("%s does not end; HMM_COHERENCE_SEED=%llu\n",
					   actors[i].name, (unsigned long long)seed);
		}
	}
}

/* After the last change, every slot holds what was written last, for the CPU and all devices. */
static void look_at_all(void)
{
	__u64 page[WORDS_PER_PAGE], least;

	for (unsigned int i = 0; i < nregions; i++) {
		for (unsigned int slot = 0; slot < SLOTS; slot++) {
			struct region *r = &regions[i];
			struct slot_span span = { slot, 1 };

			for (unsigned int n = 0; n < NDEVICES; n++)
				device_look(&devices[0], n, r, span);
			least = slot_least(r, slot);
			cpu_load(r, slot, page);
			page_check("the CPU in the end", r, slot, page, least);
			page_check_whole("the CPU in the end", r, slot, page);
		}
	}
}

static void report_changes(void)
{
	unsigned long done, tried;

	for (unsigned int i = 0; i < nchanges; i++) {
		changes_count(i, &done, &tried);
		ksft_print_msg("%s: %lu times, and %lu failed\n", changes[i].name, done,
			       tried - done);
		ksft_test_result(done, "change %s\n", changes[i].name);
	}
}

static void report_memory(void)
{
	for (unsigned int i = 0; i < nregions; i++) {
		const struct region *r = &regions[i];

		ksft_print_msg("%s: words CPU read %lu, wrote %lu; devices %lu and %lu\n",
			       r->kind->name, r->cpu_reads, r->cpu_writes, r->device_reads,
			       r->device_writes);
		ksft_test_result(region_was_accessed(r), "memory %s\n", r->kind->name);
	}
}

static void init_actors(void)
{
	for (unsigned int i = 0; i < THREADS; i++) {
		actor_init(&cpus[i], i, "CPU", false);
		actor_init(&devices[i], THREADS + i, "device", true);
	}
	for (unsigned int i = 0; i < CHANGERS; i++)
		actor_init(&changers[i], 2 * THREADS + i, "change", true);
}

int main(void)
{
	long seconds = number_from("HMM_COHERENCE_SECONDS", 60);

	out_before = read_number(VMSTAT, "pswpout ");
	in_before = read_number(VMSTAT, "pswpin ");
	ksft_print_header();
	seed = number_from("HMM_COHERENCE_SEED", time(NULL));
	ksft_set_plan(nchanges + nregions + 2);
	ksft_print_msg("HMM_COHERENCE_SEED=%llu, %ld seconds\n", (unsigned long long)seed, seconds);
	regions_create();
	init_actors();
	changes_prepare();
	start(cpus, THREADS, cpu_thread);
	start(devices, THREADS, device_thread);
	start(changers, CHANGERS, change_thread);
	watch(seconds);
	join(changers, CHANGERS);
	join(cpus, THREADS);
	join(devices, THREADS);
	if (!atomic_load(&violations))
		look_at_all();

	report_changes();
	report_memory();
	ksft_print_msg("pages swapped out: %ld, in: %ld\n", swapped_out(), swapped_in());
	ksft_test_result(swapped_out() && swapped_in(), "swap\n");
	ksft_print_msg("%lu changes, %lu accesses checked, %lu violations\n", changes_made(),
		       accesses(), atomic_load(&violations));
	ksft_test_result(!atomic_load(&violations), "coherence\n");
	ksft_finished();
}
