/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Threads that change memory while a device faults, and the cost of the device's faults.
 */
#ifndef _SELFTESTS_VM_HMM_FAULT_WORKERS_H
#define _SELFTESTS_VM_HMM_FAULT_WORKERS_H

#include <pthread.h>

#include "hmm-dmirror-expect.h"
#include "hmm-memory.h"
#include "hmm-page-state.h"

/*
 * HMM_FAULT_COLLISIONS_MAX of the kernel: the slow path begins after this number of collisions,
 * and takes at most as many attempts. On a loaded machine about one in some hundred slow paths is
 * repeated.
 */
#define COLLISIONS_MAX	8

/* A time limit for operations that take no time unless there is a bug */
#define PATIENCE_MSECS	30000

static inline bool stopped(const bool *stop)
{
	return __atomic_load_n(stop, __ATOMIC_ACQUIRE);
}

static inline void set_stopped(bool *stop)
{
	__atomic_store_n(stop, true, __ATOMIC_RELEASE);
}

/* The counters since @before */
static inline struct hmm_dmirror_stats dmirror_stats_since(struct dmirror *dev,
							   const struct hmm_dmirror_stats *before)
{
	struct hmm_dmirror_stats stats = dmirror_stats(dev);

	stats.faults -= before->faults;
	stats.collisions -= before->collisions;
	stats.vma_lock -= before->vma_lock;
	stats.mmap_lock -= before->mmap_lock;
	stats.slow_path -= before->slow_path;
	return stats;
}

static inline void print_stats(const char *what, const struct hmm_dmirror_stats *stats)
{
	ksft_print_msg("%s: %llu faults, %llu collisions\n", what,
		       (unsigned long long)stats->faults, (unsigned long long)stats->collisions);
	ksft_print_msg("%s: chunks: vma_lock %llu, mmap_lock %llu, progress %llu\n", what,
		       (unsigned long long)stats->vma_lock,
		       (unsigned long long)stats->mmap_lock,
		       (unsigned long long)stats->slow_path);
}

/* Small anonymous memory that the kernel cannot merge with other mappings */
static inline char *map_apart(struct __test_metadata *_metadata, long npages)
{
	char *mem = map_pages(_metadata, npages + 2, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1);

	mem += PAGE_SIZE;
	ASSERT_EQ(0, mprotect(mem, npages * PAGE_SIZE, PROT_RW));
	ASSERT_EQ(0, madvise(mem, npages * PAGE_SIZE, MADV_NOHUGEPAGE));
	return mem;
}

/* Takes mmap_lock for writing, and leaves no mapping. */
static inline bool map_and_unmap(void)
{
	char *mem = mmap(NULL, 16 * PAGE_SIZE, PROT_RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (mem == MAP_FAILED)
		return false;
	*mem = 1;
	return !mprotect(mem, 8 * PAGE_SIZE, PROT_READ) && !munmap(mem, 16 * PAGE_SIZE);
}

/* Threads that repeat a change until the test stops them */

struct worker {
	pthread_t thread;
	bool (*act)(char *mem, long npages, long round);
	char *mem;
	long npages;
	bool stop;
	long done;	/* number of changes that have succeeded */
};

static inline void *worker_thread(void *arg)
{
	struct worker *worker = arg;

	for (long round = 0; !stopped(&worker->stop); round++)
		if (worker->act(worker->mem, worker->npages, round))
			__atomic_add_fetch(&worker->done, 1, __ATOMIC_RELEASE);
	return NULL;
}

/* Returns after the first change that has succeeded. */
static inline void worker_start(struct __test_metadata *_metadata, struct worker *worker,
				bool (*act)(char *mem, long npages, long round), char *mem,
				long npages)
{
	long deadline = msecs_now() + PATIENCE_MSECS;

	*worker = (struct worker){ .act = act, .mem = mem, .npages = npages };
	ASSERT_EQ(0, pthread_create(&worker->thread, NULL, worker_thread, worker));
	while (!__atomic_load_n(&worker->done, __ATOMIC_ACQUIRE) && msecs_now() < deadline)
		usleep(1000);
	ASSERT_GT(deadline, msecs_now());
}

/* Returns the number of changes that have succeeded. */
static inline long worker_end(struct __test_metadata *_metadata, struct worker *worker)
{
	set_stopped(&worker->stop);
	ASSERT_EQ(0, pthread_join(worker->thread, NULL));
	return worker->done;
}

static inline bool act_elsewhere(char *mem, long npages, long round)
{
	return map_and_unmap();
}

static inline bool act_dontneed(char *mem, long npages, long round)
{
	return !madvise(mem, npages * PAGE_SIZE, MADV_DONTNEED);
}

static inline bool act_mprotect(char *mem, long npages, long round)
{
	return !mprotect(mem, npages * PAGE_SIZE, round & 1 ? PROT_RW : PROT_READ);
}

static inline bool act_move(char *mem, long npages, long round)
{
	return move_to_node(mem, npages, 1, round & 1) > 0;
}

static inline bool act_fork(char *mem, long npages, long round)
{
	pid_t pid = fork();
	int status;

	if (!pid)
		_exit(0);
	return pid > 0 && waitpid(pid, &status, 0) == pid && !status;
}

#endif /* _SELFTESTS_VM_HMM_FAULT_WORKERS_H */
