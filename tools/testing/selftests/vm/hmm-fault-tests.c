// SPDX-License-Identifier: GPL-2.0
/*
 * Device faults that wait for a userfaultfd, that a signal or the driver ends, and that copy or
 * swap in pages.
 *
 * Every fault must end, and must not use a slower path than necessary: HMM_DMIRROR_STATS counts
 * the collisions, and the chunks for each kind of lock. Where a test checks these counters, only
 * one thread works for the device.
 */
#include "../kselftest_harness.h"

#include <poll.h>

#include "hmm-fault-workers.h"
#include "hmm-uffd.h"
#include "hmm-witness.h"

#define NPAGES		HPAGE_PAGES

FIXTURE(hmm_fault)
{
	struct dmirror dev;
};

FIXTURE_SETUP(hmm_fault)
{
	dmirror_open(_metadata, &self->dev, PRIVATE, 2 * NPAGES);
}

FIXTURE_TEARDOWN(hmm_fault)
{
	close(self->dev.fd);
}

/*
 * A device fault fails with -EFAULT if the userfaultfd is UFFD_USER_MODE_ONLY, until that is
 * closed.
 */
TEST_F(hmm_fault, uffd_user_mode_only)
{
	char *mem = map_small(_metadata, NPAGES);
	int uffd = uffd_open(_metadata, UFFD_USER_MODE_ONLY, 0);

	uffd_register(_metadata, uffd, mem, NPAGES, UFFDIO_REGISTER_MODE_MISSING);
	EXPECT_EQ(-EFAULT, dmirror_read(&self->dev, mem, 1));
	EXPECT_EQ(-EFAULT, dmirror_read(&self->dev, mem, NPAGES));
	EXPECT_EQ(-EFAULT, dmirror_write_stamps(&self->dev, mem, NPAGES));
	close(uffd);
	EXPECT_EQ(NPAGES, dmirror_write_stamps(&self->dev, mem, NPAGES));
}

/* A device fault that waits for a userfaultfd without a server */

struct waiter {
	pthread_t thread;
	struct dmirror *dev;
	char *mem;
	int uffd;
	long ret;
};

static void *waiter_thread(void *arg)
{
	struct waiter *waiter = arg;

	waiter->ret = dmirror_read_zeros(waiter->dev, waiter->mem, NPAGES);
	return NULL;
}

static bool has_fault(int uffd)
{
	struct pollfd polled = { .fd = uffd, .events = POLLIN };

	return poll(&polled, 1, PATIENCE_MSECS) == 1 && polled.revents == POLLIN;
}

static void waiter_start(struct __test_metadata *_metadata, struct waiter *waiter,
			 struct dmirror *dev)
{
	waiter->dev = dev;
	waiter->mem = map_apart(_metadata, NPAGES);
	waiter->uffd = uffd_open(_metadata, O_NONBLOCK, 0);
	uffd_register(_metadata, waiter->uffd, waiter->mem, NPAGES,
		      UFFDIO_REGISTER_MODE_MISSING);
	ASSERT_EQ(0, pthread_create(&waiter->thread, NULL, waiter_thread, waiter));
	ASSERT_TRUE(has_fault(waiter->uffd));
}

static long waiter_end(struct __test_metadata *_metadata, struct waiter *waiter)
{
	ASSERT_EQ(0, pthread_join(waiter->thread, NULL));
	return waiter->ret;
}

/* A fault that waits for a userfaultfd continues when the userfaultfd is closed. */
TEST_F(hmm_fault, uffd_closed)
{
	struct waiter waiter;

	waiter_start(_metadata, &waiter, &self->dev);
	ASSERT_EQ(0, close(waiter.uffd));
	EXPECT_EQ(NPAGES, waiter_end(_metadata, &waiter));
}

/* A fault that waits for a userfaultfd continues when the range is unregistered. */
TEST_F(hmm_fault, uffd_unregistered)
{
	struct waiter waiter;
	struct uffdio_range range = { .len = NPAGES * PAGE_SIZE };

	waiter_start(_metadata, &waiter, &self->dev);
	range.start = (uintptr_t)waiter.mem;
	ASSERT_EQ(0, ioctl(waiter.uffd, UFFDIO_UNREGISTER, &range));
	EXPECT_EQ(NPAGES, waiter_end(_metadata, &waiter));
	close(waiter.uffd);
}

/* A fault that waits for a userfaultfd fails with -EFAULT when the memory is unmapped. */
TEST_F(hmm_fault, uffd_unmapped)
{
	struct waiter waiter;
	struct uffdio_range range = { .len = NPAGES * PAGE_SIZE };

	waiter_start(_metadata, &waiter, &self->dev);
	range.start = (uintptr_t)waiter.mem;
	ASSERT_EQ(0, munmap(waiter.mem, NPAGES * PAGE_SIZE));
	ASSERT_EQ(0, ioctl(waiter.uffd, UFFDIO_WAKE, &range));
	EXPECT_EQ(-EFAULT, waiter_end(_metadata, &waiter));
	close(waiter.uffd);
}

/* A work item that faults. No signal can reach it. */
static void work_waits(struct __test_metadata *_metadata, struct waiter *waiter,
		       struct dmirror *dev)
{
	waiter->mem = map_apart(_metadata, NPAGES);
	uffd_register(_metadata, waiter->uffd, waiter->mem, NPAGES,
		      UFFDIO_REGISTER_MODE_MISSING);
	ASSERT_EQ(0, dmirror_prefetch_work(dev, waiter->mem, NPAGES));
	ASSERT_TRUE(has_fault(waiter->uffd));
}

/*
 * hmm_mirror_cancel_range() cancels the faults in its range, and neither other faults nor later
 * ones.
 */
TEST_F(hmm_fault, cancelled)
{
	struct waiter worker, waiter;

	waiter_start(_metadata, &waiter, &self->dev);
	worker.uffd = uffd_open(_metadata, O_NONBLOCK, 0);
	work_waits(_metadata, &worker, &self->dev);
	EXPECT_EQ(-EBUSY, dmirror_prefetch_work(&self->dev, worker.mem, NPAGES));
	EXPECT_EQ(1, dmirror_cancel(&self->dev, worker.mem + PAGE_SIZE, 1));
	EXPECT_EQ(-ECANCELED, dmirror_wait_work(&self->dev));
	EXPECT_EQ(0, dmirror_cancel(&self->dev, worker.mem, NPAGES));
	ASSERT_EQ(0, dmirror_prefetch_work(&self->dev, worker.mem, NPAGES));
	ASSERT_TRUE(has_fault(worker.uffd));
	ASSERT_EQ(0, close(worker.uffd));
	EXPECT_EQ(0, dmirror_wait_work(&self->dev));
	EXPECT_EQ(1, dmirror_cancel(&self->dev, waiter.mem, NPAGES));
	EXPECT_EQ(-ECANCELED, waiter_end(_metadata, &waiter));
	close(waiter.uffd);
}

/*
 * A process can exit while a work item of its device waits for its userfaultfd.
 *
 * At exit the kernel closes the device file and the userfaultfd one after the other.
 */
TEST_F(hmm_fault, exit_while_work_waits)
{
	pid_t pid = fork();
	int status;

	ASSERT_LE(0, pid);
	if (!pid) {
		struct waiter worker = { .uffd = uffd_open(_metadata, O_NONBLOCK, 0) };
		struct dmirror dev;

		dmirror_open(_metadata, &dev, PRIVATE, NPAGES);
		work_waits(_metadata, &worker, &dev);
		_exit(0);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
}

/*
 * A fault that waits for a userfaultfd blocks neither changes of mappings nor accesses of other
 * devices.
 */
TEST_F(hmm_fault, uffd_wait_blocks_no_other)
{
	struct waiter waiter;
	struct dmirror other;
	char *mem = map_small(_metadata, NPAGES);

	dmirror_open(_metadata, &other, PRIVATE, NPAGES);
	waiter_start(_metadata, &waiter, &self->dev);
	for (long i = 0; i < 100; i++)
		ASSERT_TRUE(map_and_unmap());
	EXPECT_TRUE(act_fork(NULL, 0, 0));
	EXPECT_EQ(0, mprotect(waiter.mem, PAGE_SIZE, PROT_READ));
	EXPECT_EQ(0, madvise(waiter.mem, NPAGES * PAGE_SIZE, MADV_DONTNEED));
	EXPECT_EQ(NPAGES, dmirror_write_stamps(&other, mem, NPAGES));
	ASSERT_EQ(0, close(waiter.uffd));
	EXPECT_EQ(NPAGES, waiter_end(_metadata, &waiter));
	close(other.fd);
}

/* A process that is killed while its device faults */

struct victim {
	pid_t pid;
	pthread_t watcher;
	struct dmirror dev;
	int uffd;
	int ready;	/* receives a byte when the process may be killed */
};

static void victim_fork(struct __test_metadata *_metadata, struct victim *victim,
			void (*run)(struct __test_metadata *_metadata, struct victim *victim,
				    char *(*map)(struct __test_metadata *_metadata)),
			char *(*map)(struct __test_metadata *_metadata))
{
	int ready[2];

	ASSERT_EQ(0, pipe(ready));
	victim->pid = fork();
	ASSERT_LE(0, victim->pid);
	if (!victim->pid) {
		close(ready[0]);
		victim->ready = ready[1];
		run(_metadata, victim, map);
		_exit(1);
	}
	close(ready[1]);
	victim->ready = ready[0];
}

/* Returns the milliseconds until the process is gone. */
static long victim_kill(struct __test_metadata *_metadata, struct victim *victim)
{
	long begin;
	int status;
	char byte;

	ASSERT_EQ(1, read(victim->ready, &byte, 1));
	begin = msecs_now();
	ASSERT_EQ(0, kill(victim->pid, SIGKILL));
	ASSERT_EQ(victim->pid, waitpid(victim->pid, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	close(victim->ready);
	return msecs_now() - begin;
}

static void *watch_uffd(void *arg)
{
	struct victim *victim = arg;

	if (!has_fault(victim->uffd) || write(victim->ready, "", 1) != 1)
		_exit(2);
	return NULL;
}

static void wait_in_vain(struct __test_metadata *_metadata, struct victim *victim,
			 char *(*map)(struct __test_metadata *_metadata))
{
	char *mem = map(_metadata);

	dmirror_open(_metadata, &victim->dev, PRIVATE, 1);
	victim->uffd = uffd_open(_metadata, O_NONBLOCK, 0);
	uffd_register(_metadata, victim->uffd, mem, NPAGES, UFFDIO_REGISTER_MODE_MISSING);
	ASSERT_EQ(0, pthread_create(&victim->watcher, NULL, watch_uffd, victim));
	dmirror_prefetch(&victim->dev, mem, NPAGES);
}

static char *map_victim_small(struct __test_metadata *_metadata)
{
	return map_small(_metadata, NPAGES);
}

static char *map_victim_hugetlb(struct __test_metadata *_metadata)
{
	return map_hugetlb(_metadata, 1, PROT_RW);
}

static void test_never_served(struct __test_metadata *_metadata,
			      char *(*map)(struct __test_metadata *_metadata))
{
	struct victim victim;
	long msecs;

	victim_fork(_metadata, &victim, wait_in_vain, map);
	msecs = victim_kill(_metadata, &victim);
	ksft_print_msg("killed in %ld ms\n", msecs);
	EXPECT_GT(PATIENCE_MSECS, msecs);
}

/* SIGKILL ends a fault on small pages that waits for a userfaultfd. */
TEST_F_TIMEOUT(hmm_fault, killed_in_uffd_wait, 60)
{
	test_never_served(_metadata, map_victim_small);
}

/* SIGKILL ends a fault on hugetlb memory that waits for a userfaultfd. */
TEST_F_TIMEOUT(hmm_fault, killed_in_uffd_wait_hugetlb, 60)
{
	test_never_served(_metadata, map_victim_hugetlb);
}

/* One fault on 1 GiB of missing memory */

#define PREFETCH_PAGES	(512 * HPAGE_PAGES)
#define PREFETCHED	16	/* chunks that are done when the process is killed */

static void *watch_prefetch(void *arg)
{
	struct victim *victim = arg;
	struct hmm_dmirror_stats stats;

	do {
		usleep(100);
		stats = dmirror_stats(&victim->dev);
	} while (stats.vma_lock + stats.mmap_lock < PREFETCHED);
	if (write(victim->ready, "", 1) != 1)
		_exit(2);
	return NULL;
}

static void prefetch(struct __test_metadata *_metadata, struct victim *victim,
		     char *(*map)(struct __test_metadata *_metadata))
{
	char *mem = map(_metadata);

	dmirror_open(_metadata, &victim->dev, PRIVATE, 1);
	ASSERT_EQ(0, pthread_create(&victim->watcher, NULL, watch_prefetch, victim));
	dmirror_prefetch(&victim->dev, mem, PREFETCH_PAGES);
}

static char *map_prefetch_small(struct __test_metadata *_metadata)
{
	return map_small(_metadata, PREFETCH_PAGES);
}

static char *map_prefetch_thp(struct __test_metadata *_metadata)
{
	return map_thp(_metadata, PREFETCH_PAGES / HPAGE_PAGES);
}

static void test_prefetch_killed(struct __test_metadata *_metadata,
				 char *(*map)(struct __test_metadata *_metadata))
{
	struct victim victim;
	long msecs;

	victim_fork(_metadata, &victim, prefetch, map);
	msecs = victim_kill(_metadata, &victim);
	ksft_print_msg("killed in %ld ms\n", msecs);
	EXPECT_GT(PATIENCE_MSECS, msecs);
}

/* SIGKILL ends a fault on 1 GiB of small pages. */
TEST_F_TIMEOUT(hmm_fault, killed_in_prefetch, 120)
{
	test_prefetch_killed(_metadata, map_prefetch_small);
}

/* SIGKILL ends a fault on 1 GiB of THPs. */
TEST_F_TIMEOUT(hmm_fault, killed_in_prefetch_of_thp, 120)
{
	test_prefetch_killed(_metadata, map_prefetch_thp);
}

/*
 * Pages that the CPU fault must copy. The CPU fault itself invalidates them, which is no
 * collision of the device fault.
 */
static void test_copied(struct __test_metadata *_metadata, struct dmirror *dev, char *mem)
{
	struct hmm_dmirror_stats stats = dmirror_stats(dev);
	long begin = msecs_now();

	EXPECT_EQ(NPAGES, dmirror_write_stamps(dev, mem, NPAGES));
	stats = dmirror_stats_since(dev, &stats);
	ksft_print_msg("%ld pages in %ld ms\n", NPAGES, msecs_now() - begin);
	print_stats("copied", &stats);
	EXPECT_EQ(NPAGES, stamp_run(mem, NPAGES, TAG_DEVICE));
	EXPECT_EQ(1ULL, stats.faults);
	EXPECT_GE((__u64)COLLISIONS_MAX, stats.collisions);
	EXPECT_EQ(0ULL, stats.slow_path);
}

/* A write fault on pages that a child shares does not use the slow path. */
TEST_F(hmm_fault, copied_after_fork)
{
	char *mem = map_small(_metadata, NPAGES);
	struct witness child;

	stamp_write(mem, NPAGES, TAG_CPU);
	child = witness_fork(_metadata, mem, NPAGES, TAG_CPU);
	test_copied(_metadata, &self->dev, mem);
	EXPECT_TRUE(witness_saw_no_change(&child));
}

/* A write fault on the zero page does not use the slow path. */
TEST_F(hmm_fault, copied_zero_page)
{
	char *mem = map_small(_metadata, NPAGES);

	ASSERT_EQ(NPAGES, dmirror_read_zeros(&self->dev, mem, NPAGES));
	test_copied(_metadata, &self->dev, mem);
}

/* Swapped-out memory */

#define SWAPPED_PAGES	(2 * NPAGES)	/* 4 MiB */

static void test_swapped_out(struct __test_metadata *_metadata, struct dmirror *dev,
			     char *mem, bool write)
{
	struct hmm_dmirror_stats stats;
	long begin, done;

	stats = dmirror_stats(dev);
	begin = msecs_now();
	if (write)
		done = dmirror_write_stamps(dev, mem, SWAPPED_PAGES);
	else
		done = dmirror_read_stamps(dev, mem, SWAPPED_PAGES, TAG_CPU);
	EXPECT_EQ(SWAPPED_PAGES, done);
	EXPECT_GT(PATIENCE_MSECS, msecs_now() - begin);
	if (write)
		EXPECT_EQ(SWAPPED_PAGES, stamp_run(mem, SWAPPED_PAGES, TAG_DEVICE));

	stats = dmirror_stats_since(dev, &stats);
	ksft_print_msg("4 MiB in %ld ms\n", msecs_now() - begin);
	print_stats("swapped out", &stats);
	EXPECT_EQ(1ULL, stats.faults);
	EXPECT_GE((__u64)COLLISIONS_MAX, stats.collisions);
	EXPECT_LE(2ULL, stats.vma_lock + stats.mmap_lock);
	EXPECT_EQ(0ULL, stats.slow_path);
}

static char *map_swapped(struct __test_metadata *_metadata)
{
	char *mem = map_small(_metadata, SWAPPED_PAGES);

	stamp_write(mem, SWAPPED_PAGES, TAG_CPU);
	swap_out(_metadata, mem, SWAPPED_PAGES);
	return mem;
}

/* A read fault on swapped-out pages does not use the slow path. */
TEST_F_TIMEOUT(hmm_fault, swapped_out, 60)
{
	test_swapped_out(_metadata, &self->dev, map_swapped(_metadata), false);
}

/* A write fault on swapped-out pages does not use the slow path. */
TEST_F_TIMEOUT(hmm_fault, swapped_out_written, 60)
{
	test_swapped_out(_metadata, &self->dev, map_swapped(_metadata), true);
}

/* A read fault on swapped-out shared memory does not use the slow path. */
TEST_F_TIMEOUT(hmm_fault, swapped_out_of_shmem, 60)
{
	int fd = shmem_file(_metadata, 0, SWAPPED_PAGES);
	char *mem = map_pages(_metadata, SWAPPED_PAGES, PROT_RW, MAP_SHARED, fd);

	stamp_write(mem, SWAPPED_PAGES, TAG_CPU);
	reclaim_file(_metadata, mem, SWAPPED_PAGES);
	test_swapped_out(_metadata, &self->dev, mem, false);
	close(fd);
}

/*
 * The fast path: a page is present while other threads change memory elsewhere. The fault locks
 * the VMA, which succeeds as long as no thread changes this VMA, and nothing collides.
 */

#define ROUNDS		200
#define LARGE_PAGES	(32 * NPAGES)

FIXTURE(hmm_concurrent)
{
	struct dmirror dev;
};

FIXTURE_VARIANT(hmm_concurrent)
{
	bool (*act)(char *mem, long npages, long round);
};

FIXTURE_VARIANT_ADD(hmm_concurrent, no_change)
{
	.act = NULL,
};

FIXTURE_VARIANT_ADD(hmm_concurrent, mprotect)
{
	.act = act_mprotect,
};

FIXTURE_VARIANT_ADD(hmm_concurrent, dontneed)
{
	.act = act_dontneed,
};

FIXTURE_VARIANT_ADD(hmm_concurrent, mmap)
{
	.act = act_elsewhere,
};

FIXTURE_SETUP(hmm_concurrent)
{
	dmirror_open(_metadata, &self->dev, PRIVATE, 1);
}

FIXTURE_TEARDOWN(hmm_concurrent)
{
	close(self->dev.fd);
}

/*
 * A fault on a present page takes only the lock of its VMA and does not collide with changes
 * elsewhere.
 */
TEST_F_TIMEOUT(hmm_concurrent, takes_vma_lock_only, 120)
{
	char *mem = map_apart(_metadata, 1), *large = map_apart(_metadata, LARGE_PAGES);
	struct hmm_dmirror_stats stats;
	struct worker worker;
	long done = 0;

	stamp_write(mem, 1, TAG_CPU);
	stamp_write(large, LARGE_PAGES, TAG_CPU);
	ASSERT_EQ(1, dmirror_read_stamps(&self->dev, large, 1, TAG_CPU));
	stats = dmirror_stats(&self->dev);
	if (variant->act)
		worker_start(_metadata, &worker, variant->act, large, LARGE_PAGES);
	for (long i = 0; i < ROUNDS; i++) {
		ASSERT_EQ(1, dmirror_read_stamps(&self->dev, mem, 1, TAG_CPU));
		ASSERT_EQ(0, dmirror_invalidate(&self->dev, mem, 1, HMM_DMIRROR_NOTIFY_CLEAR));
	}
	if (variant->act)
		done = worker_end(_metadata, &worker);
	stats = dmirror_stats_since(&self->dev, &stats);
	print_stats("one page each", &stats);
	ksft_print_msg("meanwhile %ld changes elsewhere\n", done);
	EXPECT_EQ((__u64)ROUNDS, stats.faults);
	EXPECT_EQ((__u64)ROUNDS, stats.vma_lock);
	EXPECT_EQ(0ULL, stats.mmap_lock);
	EXPECT_EQ(0ULL, stats.slow_path);
	EXPECT_EQ(0ULL, stats.collisions);
}

TEST_HARNESS_MAIN
