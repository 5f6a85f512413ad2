// SPDX-License-Identifier: GPL-2.0
/*
 * Storms: two threads continuously change the memory on which a device faults.
 *
 * HMM_STORM_SECONDS in the environment sets the duration of each storm; the default is 2, the
 * maximum 120. In a guest it may be an argument of the kernel.
 */
#include "../kselftest_harness.h"

#include "hmm-fault-workers.h"
#include "hmm-uffd.h"

/* A UFFD_FEATURE_WP_ASYNC userfaultfd needs no server. -1: there is none. */
static int recorder = -1;

static bool act_record(char *mem, long npages, long round)
{
	struct uffdio_writeprotect wp = {
		.range = { .start = (uintptr_t)mem, .len = npages * PAGE_SIZE },
		.mode = UFFDIO_WRITEPROTECT_MODE_WP,
	};

	return !ioctl(recorder, UFFDIO_WRITEPROTECT, &wp);
}

static bool act_pageout(char *mem, long npages, long round)
{
	return !madvise(mem, npages * PAGE_SIZE, MADV_PAGEOUT);
}

/* The target of the move is after the memory and one page of distance. */
static bool act_mremap(char *mem, long npages, long round)
{
	const long size = npages * PAGE_SIZE;
	char *to = mem + size + PAGE_SIZE;

	return mremap(mem, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to &&
	       mremap(to, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, mem) == mem;
}

/* Storms */

#define STORM_PAGES	64
#define STORM_TIMEOUT	300

struct storm {
	bool (*act[2])(char *mem, long npages, long round);
	bool discards;		/* pages become zero */
	bool records;		/* tracks writes of the device */
	bool exclusive;		/* the device asks for exclusive access */
	int read_error;		/* an error of the device that the changes explain */
	int write_error;
};

/* The memory that the device accesses */
struct prey {
	struct dmirror dev;
	char *mem;
	__u64 written;		/* last value that the device has written */
};

FIXTURE(hmm_storm)
{
	struct prey prey;
};

FIXTURE_VARIANT(hmm_storm)
{
	struct storm storm;
};

FIXTURE_VARIANT_ADD(hmm_storm, dontneed)
{
	.storm = {
		.act = { act_dontneed, act_dontneed },
		.discards = true,
	},
};

FIXTURE_VARIANT_ADD(hmm_storm, mprotect)
{
	.storm = {
		.act = { act_mprotect, act_mprotect },
		.write_error = EPERM,
	},
};

FIXTURE_VARIANT_ADD(hmm_storm, dontneed_and_mprotect)
{
	.storm = {
		.act = { act_dontneed, act_mprotect },
		.discards = true, .write_error = EPERM,
	},
};

FIXTURE_VARIANT_ADD(hmm_storm, nodes)
{
	.storm = {
		.act = { act_move, act_move },
	},
};

FIXTURE_VARIANT_ADD(hmm_storm, pageout)
{
	.storm = {
		.act = { act_pageout, act_pageout },
	},
};

FIXTURE_VARIANT_ADD(hmm_storm, nodes_and_pageout)
{
	.storm = {
		.act = { act_move, act_pageout },
	},
};

/* The memory is at the other address half of the time. */
FIXTURE_VARIANT_ADD(hmm_storm, mremap)
{
	.storm = {
		.act = { act_mremap, act_pageout },
		.read_error = EFAULT, .write_error = EFAULT,
	},
};

FIXTURE_VARIANT_ADD(hmm_storm, recorded)
{
	.storm = {
		.act = { act_record, act_record },
		.records = true,
	},
};

FIXTURE_VARIANT_ADD(hmm_storm, recorded_and_dontneed)
{
	.storm = {
		.act = { act_record, act_dontneed },
		.discards = true, .records = true,
	},
};

FIXTURE_VARIANT_ADD(hmm_storm, fork)
{
	.storm = {
		.act = { act_fork, act_fork },
	},
};

FIXTURE_VARIANT_ADD(hmm_storm, fork_and_dontneed)
{
	.storm = {
		.act = { act_fork, act_dontneed },
		.discards = true,
	},
};

FIXTURE_VARIANT_ADD(hmm_storm, dontneed_and_exclusive)
{
	.storm = {
		.act = { act_dontneed, act_dontneed },
		.exclusive = true,
	},
};

FIXTURE_VARIANT_ADD(hmm_storm, mprotect_and_exclusive)
{
	.storm = {
		.act = { act_mprotect, act_mprotect },
		.exclusive = true, .read_error = EPERM, .write_error = EPERM,
	},
};

FIXTURE_SETUP(hmm_storm)
{
	char *room = map_pages(_metadata, 2 * STORM_PAGES + 3, PROT_NONE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1);

	dmirror_open(_metadata, &self->prey.dev, PRIVATE, STORM_PAGES);
	self->prey.mem = room + PAGE_SIZE;
	ASSERT_EQ(0, mprotect(self->prey.mem, STORM_PAGES * PAGE_SIZE, PROT_RW));
	ASSERT_EQ(0, madvise(self->prey.mem, STORM_PAGES * PAGE_SIZE, MADV_NOHUGEPAGE));
	memset(self->prey.mem, 0, STORM_PAGES * PAGE_SIZE);
	if (!variant->storm.records)
		return;
	recorder = uffd_open(_metadata, 0, UFFD_FEATURE_WP_UNPOPULATED | UFFD_FEATURE_WP_ASYNC);
	uffd_register(_metadata, recorder, self->prey.mem, STORM_PAGES,
		      UFFDIO_REGISTER_MODE_WP);
}

FIXTURE_TEARDOWN(hmm_storm)
{
	close(recorder);
	close(self->prey.dev.fd);
}

static int storm_seconds(void)
{
	const char *seconds = getenv("HMM_STORM_SECONDS");

	return seconds ? atoi(seconds) : 2;
}

/* Results of the device accesses */
struct score {
	long calls;
	long errors;		/* errors that are allowed */
	long wrong;		/* other errors, and wrong content */
	long slowest;		/* ms */
	__u64 faults;
	__u64 collisions;
	__u64 vma_lock;
	__u64 mmap_lock;
	__u64 progress;
	__u64 worst;		/* most collisions of a fault, or most per fault in a call */
};

static void score_add(struct score *score, const struct hmm_dmirror_stats *stats, long msecs)
{
	score->calls++;
	if (msecs > score->slowest)
		score->slowest = msecs;
	score->faults += stats->faults;
	score->collisions += stats->collisions;
	score->vma_lock += stats->vma_lock;
	score->mmap_lock += stats->mmap_lock;
	score->progress += stats->slow_path;
	if (stats->collisions > score->worst * stats->faults)
		score->worst = (stats->collisions + stats->faults - 1) / stats->faults;
}

static void score_print(const struct score *score, const char *what)
{
	ksft_print_msg("%s: %ld accesses, slowest %ld ms, %ld refused\n", what, score->calls,
		       score->slowest, score->errors);
	ksft_print_msg("%s: %llu faults, %llu collisions, at most %llu of one\n", what,
		       (unsigned long long)score->faults,
		       (unsigned long long)score->collisions, (unsigned long long)score->worst);
	ksft_print_msg("%s: chunks: vma_lock %llu, mmap_lock %llu, progress %llu\n", what,
		       (unsigned long long)score->vma_lock,
		       (unsigned long long)score->mmap_lock,
		       (unsigned long long)score->progress);
}

/*
 * One page holds the last value, or zeros if the changes discard content. Of many pages, a write
 * that has failed may have written a part.
 */
static bool storm_content_is_right(const struct prey *prey, long npages, bool discards)
{
	const __u64 *words = (const __u64 *)prey->dev.buf;

	for (long i = 0; i < npages; i++, words += WORDS_PER_PAGE)
		if (words[0] != words[WORDS_PER_PAGE - 1] ||
		    (npages == 1 && words[0] != prey->written && (words[0] || !discards)))
			return false;
	return true;
}

static long storm_read(struct prey *prey, const struct storm *storm, long npages)
{
	long done = dmirror_read(&prey->dev, prey->mem, npages);

	if (done == npages && !storm_content_is_right(prey, npages, storm->discards))
		return -EILSEQ;
	return done;
}

static long storm_write(struct prey *prey, long npages)
{
	__u64 *words = (__u64 *)prey->dev.buf, value = prey->written + 1;
	long done;

	for (long i = 0; i < npages * WORDS_PER_PAGE; i++)
		words[i] = value;
	done = dmirror_write(&prey->dev, prey->mem, npages);
	if (done == npages)
		prey->written = value;
	return done;
}

/* Alternates reads and writes, or asks for exclusive access */
static long storm_access_once(struct prey *prey, const struct storm *storm, long npages,
			      bool write)
{
	if (storm->exclusive)
		return dmirror_exclusive(&prey->dev, prey->mem, npages);
	return write ? storm_write(prey, npages) : storm_read(prey, storm, npages);
}

static void storm_access(struct prey *prey, const struct storm *storm, long npages,
			 struct score *score)
{
	const bool write = score->calls & 1;
	const int allowed = write ? storm->write_error : storm->read_error;
	struct hmm_dmirror_stats stats = dmirror_stats(&prey->dev);
	long begin = msecs_now();
	long done = storm_access_once(prey, storm, npages, write);

	stats = dmirror_stats_since(&prey->dev, &stats);
	score_add(score, &stats, msecs_now() - begin);
	if (allowed && done == -allowed) {
		score->errors++;
	} else if (done != npages) {
		ksft_print_msg("%s of %ld pages: %ld\n", write ? "write" : "read", npages, done);
		score->wrong++;
	}
}

static void test_storm(struct __test_metadata *_metadata, struct prey *prey,
		       const struct storm *storm, long npages, struct score *score)
{
	struct worker workers[2];
	time_t deadline;
	int i;

	*score = (struct score){};
	for (i = 0; i < 2; i++)
		worker_start(_metadata, &workers[i], storm->act[i], prey->mem, npages);
	deadline = in_seconds(storm_seconds() + 1);
	while (before(deadline) && !score->wrong)
		storm_access(prey, storm, npages, score);
	for (i = 0; i < 2; i++)
		worker_end(_metadata, &workers[i]);
	ksft_print_msg("meanwhile %ld and %ld changes\n", workers[0].done, workers[1].done);
	EXPECT_EQ(0, score->wrong);
}

/*
 * Each fault on one page ends after a bounded number of collisions, and the device sees the
 * right content.
 */
TEST_F_TIMEOUT(hmm_storm, one_page, STORM_TIMEOUT)
{
	struct score score;

	test_storm(_metadata, &self->prey, &variant->storm, 1, &score);
	score_print(&score, "one page");
	EXPECT_LT(0ULL, score.faults);
	EXPECT_GE(3ULL * COLLISIONS_MAX, score.worst);
}

/* Each fault on many pages ends, and the device sees only content that was written there. */
TEST_F_TIMEOUT(hmm_storm, many_pages, STORM_TIMEOUT)
{
	struct score score;

	test_storm(_metadata, &self->prey, &variant->storm, STORM_PAGES, &score);
	score_print(&score, "64 pages");
	EXPECT_LT(0ULL, score.faults);
}

TEST_HARNESS_MAIN
