// SPDX-License-Identifier: GPL-2.0
/*
 * hugetlb memory that changes while two devices access it.
 *
 * A CPU fault on hugetlb memory takes the hugetlb lock of its VMA for writing, or waits for the
 * holder of that lock. A walk that faults while it holds the lock deadlocks, and lockdep reports
 * the possibility. So in each test the devices fault continuously while hugetlb pages vanish or
 * migrate in one particular way.
 */
#include "../kselftest_harness.h"

#include <linux/memfd.h>
#include <linux/mempolicy.h>
#include <pthread.h>
#include <stdatomic.h>

#include "hmm-dmirror-expect.h"
#include "hmm-memory.h"

#define STORM_SECONDS	1
#define STORM_LAST_SECONDS	60
#define STORM_PAGES	32
#define STORM_REST_NS	50000000	/* then changes without a pause for the same time */
#define ENOUGH		2	/* changes, even if they take longer than STORM_SECONDS */
#define DEVICES		2

/*
 * One byte identifies the writer and the page. The tests compare only this byte, because a copy
 * that runs concurrently with a store may tear a word.
 */
enum mark {
	MARK_CPU = 0x40,
	MARK_DEVICE = 0x80,
};

struct storm {
	int fd;
	char *mem;
	size_t size;
	size_t page_size;
	char *window;		/* STORM_PAGES that the devices access */
	bool (*change)(struct storm *storm);
	bool by_file;		/* reads as zeros afterwards, and faults do not delay it */
	long error;		/* allowed result of a device access */
	atomic_bool over;
	atomic_long changes;
	atomic_int failed;	/* errno of a change */
};

FIXTURE(hmm_hugetlb)
{
	struct storm storm;
};

FIXTURE_VARIANT(hmm_hugetlb)
{
	size_t page_size;
	long pages;
	long window;	/* index of its first page, in pages of 4 KiB */
	unsigned int flag;
};

/* Half of the window is in the second huge page. */
FIXTURE_VARIANT_ADD(hmm_hugetlb, 2M)
{
	.page_size = HPAGE_SIZE,
	.pages = 2,
	.window = HPAGE_PAGES - STORM_PAGES / 2,
	.flag = MFD_HUGE_2MB,
};

FIXTURE_VARIANT_ADD(hmm_hugetlb, 1G)
{
	.page_size = HPAGE_SIZE * HPAGE_PAGES,
	.pages = 1,
	.window = 100 * HPAGE_PAGES - STORM_PAGES / 2,
	.flag = MFD_HUGE_1GB,
};

static void mark_pages(char *mem, enum mark by)
{
	for (int i = 0; i < STORM_PAGES; i++)
		*page_at(mem, i) = by | i;
}

static void storm_prepare(struct __test_metadata *_metadata, struct storm *storm, long pages,
			  long window, unsigned int flag)
{
	storm->size = storm->page_size * pages;
	storm->fd = memfd_create("hmm-hugetlb-tests", MFD_CLOEXEC | MFD_HUGETLB | flag);
	ASSERT_LE(0, storm->fd)
		TH_LOG("memfd_create: %m");
	ASSERT_EQ(0, ftruncate(storm->fd, storm->size));
	storm->mem = map_pages(_metadata, storm->size / PAGE_SIZE, PROT_RW, MAP_SHARED, storm->fd);
	storm->window = page_at(storm->mem, window);
	mark_pages(storm->window, MARK_CPU);
}

static void storm_clear_up(struct storm *storm)
{
	munmap(storm->mem, storm->size);
	close(storm->fd);
}

FIXTURE_SETUP(hmm_hugetlb)
{
	self->storm.page_size = variant->page_size;
	storm_prepare(_metadata, &self->storm, variant->pages, variant->window, variant->flag);
}

FIXTURE_TEARDOWN(hmm_hugetlb)
{
	storm_clear_up(&self->storm);
}

/* Changes of the memory */

static bool change_zap(struct storm *storm)
{
	return !madvise(storm->mem, storm->size, MADV_DONTNEED);
}

static bool change_truncate(struct storm *storm)
{
	return !ftruncate(storm->fd, 0) &&
	       !ftruncate(storm->fd, storm->size);
}

static bool change_punch(struct storm *storm)
{
	return !fallocate(storm->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
			  storm->size);
}

/* Migrate to the other node, and back the next time. Only a complete migration counts. */
static bool change_node(struct storm *storm)
{
	const int node = storm->changes % 2;
	int nodes[] = { node, node }, status[] = { -1, -1 };
	void *pages[] = {
		storm->mem,
		storm->mem + storm->size - storm->page_size,
	};
	const long count = storm->size / storm->page_size;

	if (syscall(SYS_move_pages, 0, count, pages, nodes, status, MPOL_MF_MOVE_ALL) < 0)
		return false;
	if (status[0] != node || status[count - 1] != node)
		storm->changes--;
	return true;
}

/*
 * A change that finds pages by the file waits for the CPU fault and then always wins against the
 * device, if the next change follows immediately. So pause for every other interval, in which
 * faults can end.
 */
static bool storm_rests(const struct storm *storm)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return storm->by_file && now.tv_nsec / STORM_REST_NS % 2;
}

static void *storm_thread(void *arg)
{
	struct storm *storm = arg;

	while (!storm->over && !storm->failed) {
		if (storm_rests(storm)) {
			usleep(1000);
			continue;
		}
		if (!storm->change(storm))
			storm->failed = errno;
		storm->changes++;
	}
	return NULL;
}

/* Accesses of the devices */

struct user {
	struct dmirror dev;
	pthread_t thread;
	struct storm *storm;
	atomic_long reads, writes;
	long stray;		/* an unexpected error */
	long strangers;		/* pages with content that no thread has written */
};

static long count_strangers(const struct storm *storm, char *mem)
{
	long strangers = 0;

	for (int i = 0; i < STORM_PAGES; i++) {
		unsigned char seen = *page_at(mem, i);

		strangers += seen != (MARK_CPU | i) && seen != (MARK_DEVICE | i) &&
			     (seen || !storm->by_file);
	}
	return strangers;
}

/* Returns true if the access has succeeded. */
static bool user_judge(struct user *user, long ret)
{
	if (ret != STORM_PAGES && ret != -EBUSY && ret != user->storm->error)
		user->stray = ret;
	return ret == STORM_PAGES;
}

static void *user_thread(void *arg)
{
	struct user *user = arg;
	struct storm *storm = user->storm;
	char *window = storm->window;

	while (!storm->over) {
		mark_pages(user->dev.buf, MARK_DEVICE);
		user->writes += user_judge(user, dmirror_write(&user->dev, window, STORM_PAGES));
		if (!user_judge(user, dmirror_read(&user->dev, window, STORM_PAGES)))
			continue;
		user->reads++;
		user->strangers += count_strangers(storm, user->dev.buf);
	}
	return NULL;
}

static bool storm_has_shown(const struct storm *storm, const struct user *users)
{
	bool shown = storm->changes >= ENOUGH;

	for (int i = 0; i < DEVICES; i++)
		shown = shown && users[i].reads && users[i].writes;
	return shown || storm->failed;
}

static void storm_run(struct __test_metadata *_metadata, struct storm *storm)
{
	time_t deadline = in_seconds(STORM_SECONDS), last = in_seconds(STORM_LAST_SECONDS);
	struct user users[DEVICES] = {};
	pthread_t thread;

	ASSERT_EQ(0, pthread_create(&thread, NULL, storm_thread, storm));
	for (int i = 0; i < DEVICES; i++) {
		users[i].storm = storm;
		dmirror_open(_metadata, &users[i].dev, i, STORM_PAGES);
		ASSERT_EQ(0, pthread_create(&users[i].thread, NULL, user_thread, &users[i]));
	}
	while (before(deadline) || (!storm_has_shown(storm, users) && before(last)))
		usleep(10000);

	storm->over = true;
	ASSERT_EQ(0, pthread_join(thread, NULL));
	EXPECT_EQ(0, storm->failed);
	EXPECT_LE(ENOUGH, storm->changes);
	for (int i = 0; i < DEVICES; i++) {
		ASSERT_EQ(0, pthread_join(users[i].thread, NULL));
		ksft_print_msg("%ld changes, device %d: %ld reads, %ld writes\n",
			       storm->changes, i, users[i].reads, users[i].writes);
		EXPECT_EQ(0, users[i].stray);
		EXPECT_EQ(0, users[i].strangers);
		EXPECT_LT(0, users[i].reads);
		EXPECT_LT(0, users[i].writes);
		close(users[i].dev.fd);
	}
}

/* Devices see only content that was written there while MADV_DONTNEED unmaps the pages. */
TEST_F_TIMEOUT(hmm_hugetlb, zapped, 120)
{
	self->storm.change = change_zap;
	storm_run(_metadata, &self->storm);
}

/*
 * Devices see only content that was written there, zeros, or -EFAULT while the file is
 * truncated and extended.
 */
TEST_F_TIMEOUT(hmm_hugetlb, truncated, 120)
{
	self->storm.change = change_truncate;
	self->storm.by_file = true;
	self->storm.error = -EFAULT;
	storm_run(_metadata, &self->storm);
}

/*
 * Devices see only content that was written there, or zeros, while holes are punched.
 *
 * The pool needs a page for each fault, and a page for each device or thread that may still hold
 * an old one: the punching thread drops a page after others may fault again, and the other
 * device may wait for its lock. With an empty pool a fault ends in SIGBUS, and so does one of
 * concurrent CPU threads without a device.
 */
TEST_F_TIMEOUT(hmm_hugetlb, hole_punched, 120)
{
	self->storm.change = change_punch;
	self->storm.by_file = true;
	storm_run(_metadata, &self->storm);
}

/*
 * Devices see only content that was written there while the pages migrate between nodes.
 *
 * There is no such test for 1 GiB: both nodes would need a reserved page, and memblock reserves
 * all pages on one node if the other has no free chunk of that size.
 */
TEST(hugetlb_2M_migrated)
{
	struct storm storm = { .page_size = HPAGE_SIZE, .change = change_node };

	storm_prepare(_metadata, &storm, 2, HPAGE_PAGES - STORM_PAGES / 2, MFD_HUGE_2MB);
	storm_run(_metadata, &storm);
	storm_clear_up(&storm);
}

TEST_HARNESS_MAIN
