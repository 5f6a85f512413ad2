// SPDX-License-Identifier: GPL-2.0
/*
 * Exclusive access of a device, and the operations that revoke it or meet it: reclaim, memory
 * failure, fork(), write tracking, references to the pages, direct I/O, migration and
 * UFFDIO_MOVE.
 */
#include "../kselftest_harness.h"

#include <sys/uio.h>

#include "../../../../mm/gup_test.h"
#include "hmm-cgroup.h"
#include "hmm-mirror-fixture.h"

/* Exclusive access, and its end */

/* The CPU stamps the pages, then the device gets exclusive access and writes them. */
static void take_all(struct __test_metadata *_metadata, struct dmirror *dev, char *mem)
{
	stamp_write(mem, NPAGES, TAG_CPU);
	ASSERT_EQ(NPAGES, dmirror_exclusive(dev, mem, NPAGES));
	ASSERT_EQ(NPAGES, stamp_run(dev->buf, NPAGES, TAG_CPU));
	ASSERT_EQ(NPAGES, dmirror_has_exclusive(dev, mem, NPAGES));
	ASSERT_EQ(0, dmirror_faults_of(dev, mem, NPAGES, dmirror_read));
	ASSERT_EQ(NPAGES, dmirror_write_stamps(dev, mem, NPAGES));
	ASSERT_EQ(NPAGES, dmirror_has_exclusive(dev, mem, NPAGES));
	dmirror_forget(dev);
}

/* A CPU access revokes the page that it touches. */
static void give_back(struct __test_metadata *_metadata, struct dmirror *dev, char *mem)
{
	dmirror_forget(dev);
	EXPECT_EQ(1, stamp_run(mem, 1, TAG_DEVICE));
	EXPECT_EQ(1, dmirror_notified(dev, mem, 1, EVENT_MIGRATE));
	EXPECT_EQ(1, dmirror_maps(dev, mem, 1, MAPS_NOTHING));
	EXPECT_EQ(-EPERM, dmirror_check_exclusive(dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, stamp_run(mem, NPAGES, TAG_DEVICE));
	EXPECT_EQ(0, dmirror_check_exclusive(dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, dmirror_maps(dev, mem, NPAGES, MAPS_NOTHING));
}

/* A device gets exclusive access to small pages, and a CPU access revokes it page by page. */
TEST_F(hmm_mirror, exclusive)
{
	char *mem = map_small(_metadata, NPAGES);

	take_all(_metadata, &self->dev, mem);
	give_back(_metadata, &self->dev, mem);
}

/* Exclusive access to a THP splits it, and the device maps small pages. */
TEST_F(hmm_mirror, exclusive_of_thp)
{
	char *mem = map_thp(_metadata, 1);

	mirror_all(_metadata, &self->dev, mem);
	take_all(_metadata, &self->dev, mem);
	EXPECT_EQ(NPAGES, dmirror_maps_order(&self->dev, mem, NPAGES, 0));
	give_back(_metadata, &self->dev, mem);
}

/* Exclusive access swaps pages in. */
TEST_F(hmm_mirror, exclusive_of_swapped)
{
	char *mem = map_small(_metadata, NPAGES);

	stamp_write(mem, NPAGES, TAG_CPU);
	swap_out(_metadata, mem, NPAGES);
	ASSERT_EQ(NPAGES, dmirror_exclusive(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, stamp_run(self->dev.buf, NPAGES, TAG_CPU));
	EXPECT_EQ(NPAGES, dmirror_has_exclusive(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, stamp_run(mem, NPAGES, TAG_CPU));
}

/* MADV_PAGEOUT, which is for pages that the CPU maps, does not revoke exclusive access. */
TEST_F(hmm_mirror, exclusive_then_pageout)
{
	char *mem = map_small(_metadata, NPAGES);

	take_all(_metadata, &self->dev, mem);
	ASSERT_EQ(0, madvise(mem, SIZE, MADV_PAGEOUT));
	EXPECT_TRUE(dmirror_not_notified(&self->dev));
	EXPECT_EQ(NPAGES, dmirror_has_exclusive(&self->dev, mem, NPAGES));
	give_back(_metadata, &self->dev, mem);
	swap_out(_metadata, mem, NPAGES);
	EXPECT_EQ(NPAGES, stamp_run(mem, NPAGES, TAG_DEVICE));
}

/*
 * Reclaim revokes exclusive access. The pages belong to a cgroup that has room for a part of
 * them.
 */

#define CGROUP_LIMIT	"12M"
#define CGROUP_PAGES	2048	/* 8 MiB */

FIXTURE(hmm_reclaim)
{
	struct dmirror dev;
	char *mem;
};

static char *take_cgroup_pages(struct __test_metadata *_metadata, struct dmirror *dev)
{
	char *mem = map_small(_metadata, CGROUP_PAGES);

	ASSERT_EQ(CGROUP_PAGES, dmirror_whole(dev, mem, CGROUP_PAGES, dmirror_exclusive));
	ASSERT_EQ(CGROUP_PAGES, dmirror_whole(dev, mem, CGROUP_PAGES, dmirror_write_stamps));
	return mem;
}

FIXTURE_SETUP(hmm_reclaim)
{
	cgroup_make(_metadata, "+memory");
	ASSERT_TRUE(write_text(CGROUP "memory.max", CGROUP_LIMIT));
	dmirror_open(_metadata, &self->dev, PRIVATE, NPAGES);
	ASSERT_TRUE(cgroup_add(0));
	self->mem = take_cgroup_pages(_metadata, &self->dev);
	ASSERT_EQ(CGROUP_PAGES, dmirror_has_exclusive(&self->dev, self->mem, CGROUP_PAGES));
	dmirror_forget(&self->dev);
}

FIXTURE_TEARDOWN(hmm_reclaim)
{
	EXPECT_TRUE(cgroup_leave());
	EXPECT_TRUE(cgroup_has_removed());
	close(self->dev.fd);
}

static long stamps_left(char *mem, long npages)
{
	long i;

	for (i = 0; i < npages; i += NPAGES)
		if (stamp_run(page_at(mem, i), NPAGES, TAG_DEVICE) != NPAGES)
			break;
	return i;
}

static long exclusive_left(struct dmirror *dev, char *mem, long npages)
{
	__u64 *entry = malloc(npages * sizeof(*entry));
	long left = 0, done = dmirror_table(dev, mem, npages, entry);

	for (long i = 0; i < done; i++)
		left += !!(entry[i] & HMM_DMIRROR_PTE_EXCLUSIVE);
	free(entry);
	return done < 0 ? done : left;
}

/* Reclaim until the device has half of the pages. Returns how many pages the device keeps. */
static long reclaim_half(struct __test_metadata *_metadata, struct dmirror *dev, char *mem)
{
	long left = CGROUP_PAGES;

	for (int tries = 0; tries < 100 && left > CGROUP_PAGES / 2; tries++) {
		drain_lru_batches(_metadata);
		write_text(CGROUP "memory.reclaim", "1M");
		left = exclusive_left(dev, mem, CGROUP_PAGES);
	}
	return left;
}

/* Reclaim revokes exclusive access, and swaps out what the device has written. */
TEST_F_TIMEOUT(hmm_reclaim, reclaimed_on_request, 240)
{
	EXPECT_GE(CGROUP_PAGES / 2, reclaim_half(_metadata, &self->dev, self->mem));
	EXPECT_EQ(CGROUP_PAGES, stamps_left(self->mem, CGROUP_PAGES));
}

/*
 * A device can get exclusive access to more pages than the cgroup may hold, and the process
 * survives.
 */
TEST_F_TIMEOUT(hmm_reclaim, reclaimed_at_the_limit, 240)
{
	char *more = take_cgroup_pages(_metadata, &self->dev);

	EXPECT_EQ(CGROUP_PAGES, stamps_left(more, CGROUP_PAGES));
	EXPECT_EQ(CGROUP_PAGES, stamps_left(self->mem, CGROUP_PAGES));
}

/* Reclaim does not revoke exclusive access to locked memory. */
TEST_F_TIMEOUT(hmm_reclaim, mlocked_is_not_reclaimed, 240)
{
	ASSERT_EQ(0, mlock2(self->mem, CGROUP_PAGES * PAGE_SIZE, MLOCK_ONFAULT));
	drain_lru_batches(_metadata);
	write_text(CGROUP "memory.reclaim", "1M");
	EXPECT_EQ(CGROUP_PAGES, dmirror_has_exclusive(&self->dev, self->mem, CGROUP_PAGES));
	EXPECT_TRUE(dmirror_not_notified(&self->dev));
	ASSERT_EQ(0, munlock(self->mem, CGROUP_PAGES * PAGE_SIZE));
	EXPECT_GE(CGROUP_PAGES / 2, reclaim_half(_metadata, &self->dev, self->mem));
}

/* Memory failure */

static bool write_number(const char *path, __u64 number)
{
	char text[32];

	snprintf(text, sizeof(text), "%#llx", (unsigned long long)number);
	return write_text(path, text);
}

/*
 * memory_failure() revokes exclusive access, and the page fails with -EFAULT and SIGBUS
 * afterwards.
 */
TEST_F(hmm_mirror, exclusive_poisoned)
{
	char *mem = map_small(_metadata, NPAGES), *bad = page_at(mem, 3);
	__u64 pfn;

	stamp_write(mem, NPAGES, TAG_CPU);
	pfn = pfn_of(_metadata, bad);
	take_all(_metadata, &self->dev, mem);
	drain_lru_batches(_metadata);
	ASSERT_TRUE(write_number("/sys/kernel/debug/hwpoison/corrupt-pfn", pfn));
	EXPECT_EQ(1, dmirror_notified(&self->dev, bad, 1, EVENT_MIGRATE));
	EXPECT_EQ(1, dmirror_maps(&self->dev, bad, 1, MAPS_NOTHING));
	EXPECT_EQ(-EFAULT, dmirror_read(&self->dev, bad, 1));
	EXPECT_EQ(-EFAULT, dmirror_exclusive(&self->dev, bad, 1));
	EXPECT_EQ(SIGBUS, signal_of_access(_metadata, bad, true));
	EXPECT_EQ(3, stamp_run(mem, 3, TAG_DEVICE));
	ASSERT_EQ(0, munmap(mem, SIZE));
	page_unpoison(_metadata, pfn);
}

/* A soft offline revokes exclusive access and migrates the content to another page. */
TEST_F(hmm_mirror, exclusive_soft_offlined)
{
	char *mem = map_small(_metadata, NPAGES), *bad = page_at(mem, 3);
	__u64 pfn;

	stamp_write(mem, NPAGES, TAG_CPU);
	pfn = pfn_of(_metadata, bad);
	take_all(_metadata, &self->dev, mem);
	drain_lru_batches(_metadata);
	ASSERT_TRUE(write_number("/sys/devices/system/memory/soft_offline_page",
				 pfn * PAGE_SIZE));
	EXPECT_EQ(1, dmirror_notified(&self->dev, bad, 1, EVENT_MIGRATE));
	EXPECT_EQ(1, dmirror_maps(&self->dev, bad, 1, MAPS_NOTHING));
	EXPECT_NE(pfn, pfn_of(_metadata, bad));
	EXPECT_EQ(NPAGES, stamp_run(mem, NPAGES, TAG_DEVICE));
	page_unpoison(_metadata, pfn);
}

/* fork() ends exclusive access, and later writes of the device do not change the child's memory. */
TEST_F(hmm_mirror, exclusive_then_fork)
{
	char *mem = map_small(_metadata, NPAGES);
	struct witness child;

	take_all(_metadata, &self->dev, mem);
	child = witness_fork(_metadata, mem, NPAGES, TAG_DEVICE);
	EXPECT_EQ(NPAGES, dmirror_notified(&self->dev, mem, NPAGES, EVENT_FORK));
	EXPECT_EQ(NPAGES, dmirror_maps(&self->dev, mem, NPAGES, MAPS_RO));
	EXPECT_EQ(0, dmirror_check_exclusive(&self->dev, mem, NPAGES));
	ASSERT_EQ(NPAGES, dmirror_exclusive(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, dmirror_write_stamps(&self->dev, mem, NPAGES));
	EXPECT_TRUE(witness_saw_no_change(&child));
}

/*
 * clear_refs ends exclusive access, so that the next write of the device makes the page
 * soft-dirty.
 */
TEST_F(hmm_mirror, exclusive_then_soft_dirty)
{
	char *mem = map_small(_metadata, NPAGES);

	take_all(_metadata, &self->dev, mem);
	ASSERT_TRUE(write_text("/proc/self/clear_refs", "4"));
	EXPECT_EQ(NPAGES, dmirror_notified(&self->dev, mem, NPAGES, EVENT_ISDIRTY));
	EXPECT_EQ(NPAGES, dmirror_maps(&self->dev, mem, NPAGES, MAPS_RO));
	EXPECT_EQ(0, dmirror_check_exclusive(&self->dev, mem, NPAGES));
	ASSERT_EQ(NPAGES, dmirror_exclusive(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, stamp_run(self->dev.buf, NPAGES, TAG_DEVICE));
	EXPECT_EQ(NPAGES, stamp_run(mem, NPAGES, TAG_DEVICE));
	EXPECT_TRUE(is_soft_dirty(_metadata, mem));
}

/*
 * A userfaultfd write protection ends exclusive access, and the next exclusive access removes
 * it.
 */
TEST_F(hmm_mirror, exclusive_then_uffd_wp)
{
	char *mem = map_small(_metadata, NPAGES);
	int uffd = uffd_open(_metadata, 0, WP_ASYNC);

	uffd_register(_metadata, uffd, mem, NPAGES, UFFDIO_REGISTER_MODE_WP);
	take_all(_metadata, &self->dev, mem);
	uffd_write_protect(_metadata, uffd, mem, NPAGES);
	EXPECT_EQ(NPAGES, dmirror_notified(&self->dev, mem, NPAGES, EVENT_WRITE_PROTECT));
	EXPECT_EQ(NPAGES, dmirror_maps(&self->dev, mem, NPAGES, MAPS_RO));
	EXPECT_EQ(0, dmirror_check_exclusive(&self->dev, mem, NPAGES));
	EXPECT_TRUE(is_uffd_wp(_metadata, mem));
	ASSERT_EQ(1, dmirror_exclusive(&self->dev, mem, 1));
	EXPECT_FALSE(is_uffd_wp(_metadata, mem));
	EXPECT_TRUE(is_uffd_wp(_metadata, page_at(mem, 1)));
	EXPECT_EQ(NPAGES, stamp_run(mem, NPAGES, TAG_DEVICE));
	close(uffd);
}

/* Exclusive access to memory that is not anonymous fails with -EOPNOTSUPP. */
TEST_F(hmm_mirror, exclusive_needs_anonymous)
{
	int fd;
	char *mem = map_shmem(_metadata, &fd);

	EXPECT_EQ(-EOPNOTSUPP, dmirror_exclusive(&self->dev, mem, NPAGES));
	close(fd);
	mem = map_file(_metadata, &fd);
	EXPECT_EQ(-EOPNOTSUPP, dmirror_exclusive(&self->dev, mem, NPAGES));
	close(fd);
	mem = map_hugetlb(_metadata, 1, PROT_RW);
	EXPECT_EQ(-EOPNOTSUPP, dmirror_exclusive(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, dmirror_maps(&self->dev, mem, NPAGES, MAPS_NOTHING));
}

/* References to a page under exclusive access */

static void take_exclusive(struct __test_metadata *_metadata, struct dmirror *dev, char *mem,
			   long npages)
{
	ASSERT_EQ(npages, dmirror_exclusive(dev, mem, npages));
	ASSERT_EQ(npages, dmirror_has_exclusive(dev, mem, npages));
	ASSERT_EQ(npages, dmirror_write_stamps(dev, mem, npages));
	dmirror_forget(dev);
}

struct pipe_end {
	int read;
	int write;
};

static struct pipe_end splice_page(struct __test_metadata *_metadata, char *page)
{
	struct iovec iov = { page, PAGE_SIZE };
	int fds[2];

	ASSERT_EQ(0, pipe(fds));
	ASSERT_EQ(PAGE_SIZE, vmsplice(fds[1], &iov, 1, 0));
	return (struct pipe_end){ fds[0], fds[1] };
}

static void pipe_close(struct pipe_end *pipe)
{
	close(pipe->read);
	close(pipe->write);
}

/*
 * A device can get exclusive access to a page in a pipe, and the reader of the pipe sees what
 * the device writes.
 */
TEST_F(hmm_mirror, exclusive_in_pipe)
{
	char *mem = map_small(_metadata, 1), page[PAGE_SIZE];
	struct pipe_end pipe;
	__u64 pfn;

	stamp_write(mem, 1, TAG_CPU);
	pfn = pfn_of(_metadata, mem);
	pipe = splice_page(_metadata, mem);
	take_exclusive(_metadata, &self->dev, mem, 1);
	ASSERT_EQ(PAGE_SIZE, read(pipe.read, page, PAGE_SIZE));
	EXPECT_EQ(1, stamp_run(page, 1, TAG_DEVICE));
	EXPECT_TRUE(dmirror_not_notified(&self->dev));
	EXPECT_EQ(1, dmirror_has_exclusive(&self->dev, mem, 1));
	EXPECT_EQ(1, stamp_run(mem, 1, TAG_DEVICE));
	EXPECT_EQ(pfn, pfn_of(_metadata, mem));
	pipe_close(&pipe);
}

/*
 * Exclusive access to a THP that cannot be split because of a page in a pipe fails with -EBUSY
 * and changes nothing.
 */
TEST_F_TIMEOUT(hmm_mirror, exclusive_thp_in_pipe, 120)
{
	char *mem = map_thp(_metadata, 1);
	struct pipe_end pipe;
	__u64 pfn;

	mirror_all(_metadata, &self->dev, mem);
	pfn = pfn_of(_metadata, mem);
	pipe = splice_page(_metadata, mem);
	EXPECT_EQ(-EBUSY, dmirror_exclusive(&self->dev, mem, NPAGES));
	EXPECT_EQ(pfn, pfn_of(_metadata, mem));
	EXPECT_EQ(NPAGES, stamp_run(mem, NPAGES, TAG_DEVICE));
	pipe_close(&pipe);
	EXPECT_EQ(NPAGES, dmirror_exclusive(&self->dev, mem, NPAGES));
}

/* Pages that stay pinned until the file is closed */
static int pin_pages(struct __test_metadata *_metadata, char *mem, long npages)
{
	struct pin_longterm_test pin = {
		.addr = (uintptr_t)mem,
		.size = npages * PAGE_SIZE,
		.flags = PIN_LONGTERM_TEST_FLAG_USE_WRITE,
	};
	int fd = open(DEBUG_DIR "/gup_test", O_RDWR);

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ioctl(fd, PIN_LONGTERM_TEST_START, &pin))
		TH_LOG("PIN_LONGTERM_TEST_START: %m");
	return fd;
}

/* The number of leading pages that hold their stamp, as the user of the pin reads them */
static long pinned_run(int fd, long npages, enum tag tag)
{
	char *content = malloc(npages * PAGE_SIZE);
	__u64 addr = (uintptr_t)content;
	long run = ioctl(fd, PIN_LONGTERM_TEST_READ, &addr) ? -errno :
							      stamp_run(content, npages, tag);

	free(content);
	return run;
}

/*
 * A device can get exclusive access to pinned pages, and the user of the pin accesses the same
 * pages.
 */
TEST_F(hmm_mirror, exclusive_while_pinned)
{
	char *mem = map_small(_metadata, NPAGES);
	__u64 pfn;
	int pin;

	stamp_write(mem, NPAGES, TAG_CPU);
	pin = pin_pages(_metadata, mem, NPAGES);
	pfn = pfn_of(_metadata, mem);
	take_exclusive(_metadata, &self->dev, mem, NPAGES);
	EXPECT_EQ(NPAGES, pinned_run(pin, NPAGES, TAG_DEVICE));
	EXPECT_TRUE(dmirror_not_notified(&self->dev));
	EXPECT_EQ(NPAGES, stamp_run(mem, NPAGES, TAG_DEVICE));
	EXPECT_EQ(pfn, pfn_of(_metadata, mem));
	EXPECT_EQ(NPAGES, pinned_run(pin, NPAGES, TAG_DEVICE));
	close(pin);
}

/* fork() copies pinned pages for the child: the parent and the user of the pin keep theirs. */
TEST_F(hmm_mirror, fork_of_exclusive_pinned)
{
	char *mem = map_small(_metadata, NPAGES);
	struct witness child;
	int pin;

	stamp_write(mem, NPAGES, TAG_CPU);
	pin = pin_pages(_metadata, mem, NPAGES);
	take_exclusive(_metadata, &self->dev, mem, NPAGES);
	child = witness_fork(_metadata, mem, NPAGES, TAG_DEVICE);
	stamp_write(mem, NPAGES, TAG_CPU);
	EXPECT_EQ(NPAGES, pinned_run(pin, NPAGES, TAG_CPU));
	take_exclusive(_metadata, &self->dev, mem, NPAGES);
	EXPECT_EQ(NPAGES, pinned_run(pin, NPAGES, TAG_DEVICE));
	EXPECT_TRUE(witness_saw_no_change(&child));
	close(pin);
}

/* A pin revokes exclusive access like a CPU access. */
TEST_F(hmm_mirror, pin_of_exclusive)
{
	char *mem = map_small(_metadata, NPAGES);
	int pin;

	take_exclusive(_metadata, &self->dev, mem, NPAGES);
	pin = pin_pages(_metadata, mem, NPAGES);
	EXPECT_EQ(NPAGES, dmirror_notified(&self->dev, mem, NPAGES, EVENT_MIGRATE));
	EXPECT_EQ(NPAGES, dmirror_maps(&self->dev, mem, NPAGES, MAPS_NOTHING));
	EXPECT_EQ(NPAGES, pinned_run(pin, NPAGES, TAG_DEVICE));
	close(pin);
}

/* Direct I/O revokes exclusive access, and what the device has written reaches the disk. */
TEST_F_TIMEOUT(hmm_mirror, direct_io_of_exclusive, 120)
{
	char *mem = map_small(_metadata, NPAGES);
	int fd = open(SCRATCH_DIR, O_TMPFILE | O_RDWR | O_DIRECT, 0600);

	ASSERT_LE(0, fd);
	take_exclusive(_metadata, &self->dev, mem, NPAGES);
	ASSERT_EQ(SIZE, pwrite(fd, mem, SIZE, 0));
	EXPECT_EQ(NPAGES, dmirror_notified(&self->dev, mem, NPAGES, EVENT_MIGRATE));
	ASSERT_EQ(0, madvise(mem, SIZE, MADV_DONTNEED));
	ASSERT_EQ(SIZE, pread(fd, mem, SIZE, 0));
	EXPECT_EQ(NPAGES, stamp_run(mem, NPAGES, TAG_DEVICE));
	close(fd);
}

/* Migration of pages under exclusive access and of device memory */

/* A page under exclusive access migrates to the device only after the CPU maps it again. */
TEST_F(hmm_mirror, migration_of_exclusive)
{
	char *mem = map_small(_metadata, NPAGES);

	stamp_write(mem, NPAGES, TAG_CPU);
	take_exclusive(_metadata, &self->dev, mem, NPAGES / 2);
	EXPECT_EQ(-ENOENT, dmirror_migrate_to_dev(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES / 2, dmirror_maps(&self->dev, mem, NPAGES / 2, MAPS_NOTHING));
	EXPECT_EQ(1, dmirror_sees(&self->dev, page_at(mem, NPAGES / 2), 1,
				  HMM_DMIRROR_PROT_DEV_PRIVATE_LOCAL | SEEN_RW));
	EXPECT_EQ(NPAGES / 2, dmirror_exclusive(&self->dev, mem, NPAGES / 2));
	EXPECT_EQ(NPAGES / 2, dmirror_has_exclusive(&self->dev, mem, NPAGES / 2));

	/* Without an entry, a read fault of the device ends its exclusive access. */
	ASSERT_EQ(0, dmirror_invalidate(&self->dev, mem, NPAGES / 2, HMM_DMIRROR_NOTIFY_CLEAR));
	EXPECT_EQ(NPAGES / 2, dmirror_read_stamps(&self->dev, mem, NPAGES / 2, TAG_DEVICE));
	/* A page in the LRU batch of another CPU has a reference, and would not migrate. */
	drain_lru_batches(_metadata);
	EXPECT_EQ(NPAGES, dmirror_migrate_to_dev(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES / 2, stamp_run(mem, NPAGES / 2, TAG_DEVICE));
}

struct move {
	int uffd;
	char *from;
	char *to;
	long done;	/* bytes, or a negative errno */
};

static void move_prepare(struct __test_metadata *_metadata, struct move *move)
{
	move->uffd = uffd_open(_metadata, 0, UFFD_FEATURE_MOVE);
	move->from = map_small(_metadata, NPAGES);
	move->to = map_small(_metadata, NPAGES);
	uffd_register(_metadata, move->uffd, move->to, NPAGES, UFFDIO_REGISTER_MODE_MISSING);
	stamp_write(move->from, NPAGES, TAG_CPU);
}

/* Returns 0 or a negative errno. @done has more detail. */
static long move_pages(struct move *move, long first, long npages)
{
	struct uffdio_move arg = {
		.src = (uintptr_t)page_at(move->from, first),
		.dst = (uintptr_t)page_at(move->to, first),
		.len = npages * PAGE_SIZE,
	};
	long ret = ioctl(move->uffd, UFFDIO_MOVE, &arg) ? -errno : 0;

	move->done = arg.move;
	return ret;
}

static bool is_empty(struct __test_metadata *_metadata, char *page)
{
	return !(pagemap_of(_metadata, page) & (PM_PRESENT | PM_SWAP));
}

/*
 * UFFDIO_MOVE of device memory fails with -EFAULT and leaves the page on the device with its
 * content.
 */
TEST_F_TIMEOUT(hmm_mirror, uffd_move_of_device_memory, 120)
{
	struct move move;

	move_prepare(_metadata, &move);
	ASSERT_EQ(NPAGES, dmirror_migrate_to_dev(&self->dev, move.from, NPAGES));
	ASSERT_EQ(NPAGES, dmirror_write_stamps(&self->dev, move.from, NPAGES));
	dmirror_forget(&self->dev);
	EXPECT_EQ(-EFAULT, move_pages(&move, 0, NPAGES));
	EXPECT_EQ(-EFAULT, move.done);
	EXPECT_EQ(1, dmirror_notified(&self->dev, move.from, 1, EVENT_MIGRATE));
	EXPECT_TRUE(is_empty(_metadata, move.to));
	EXPECT_EQ(NPAGES, dmirror_read_stamps(&self->dev, move.from, NPAGES, TAG_DEVICE));
	EXPECT_EQ(NPAGES, dmirror_maps_bits(&self->dev, move.from, NPAGES,
					    HMM_DMIRROR_PTE_DEVICE, HMM_DMIRROR_PTE_DEVICE));
	EXPECT_EQ(NPAGES, stamp_run(move.from, NPAGES, TAG_DEVICE));
	EXPECT_EQ(0, move_pages(&move, 0, NPAGES));
	EXPECT_EQ(NPAGES, stamp_run(move.to, NPAGES, TAG_DEVICE));
	close(move.uffd);
}

/*
 * UFFDIO_MOVE of a page under exclusive access fails with -EFAULT, and the device gets the page
 * again.
 */
TEST_F_TIMEOUT(hmm_mirror, uffd_move_of_exclusive, 120)
{
	struct move move;

	move_prepare(_metadata, &move);
	take_exclusive(_metadata, &self->dev, move.from, NPAGES);
	EXPECT_EQ(-EFAULT, move_pages(&move, 0, NPAGES));
	EXPECT_EQ(-EFAULT, move.done);
	EXPECT_EQ(1, dmirror_notified(&self->dev, move.from, 1, EVENT_MIGRATE));
	EXPECT_TRUE(is_empty(_metadata, move.to));
	EXPECT_EQ(1, dmirror_exclusive(&self->dev, move.from, 1));
	EXPECT_EQ(1, stamp_run(self->dev.buf, 1, TAG_DEVICE));
	EXPECT_EQ(NPAGES, dmirror_has_exclusive(&self->dev, move.from, NPAGES));
	EXPECT_EQ(NPAGES, stamp_run(move.from, NPAGES, TAG_DEVICE));
	EXPECT_EQ(0, move_pages(&move, 0, NPAGES));
	EXPECT_EQ(NPAGES, stamp_run(move.to, NPAGES, TAG_DEVICE));
	close(move.uffd);
}

/*
 * UFFDIO_MOVE stops at the first page under exclusive access and reports how many bytes it has
 * moved.
 */
TEST_F(hmm_mirror, uffd_move_in_part)
{
	struct move move;

	move_prepare(_metadata, &move);
	take_exclusive(_metadata, &self->dev, page_at(move.from, 2), 1);
	EXPECT_EQ(-EAGAIN, move_pages(&move, 0, 4));
	EXPECT_EQ(2 * PAGE_SIZE, move.done);
	EXPECT_EQ(2, stamp_run(move.to, 2, TAG_CPU));
	EXPECT_EQ(1, stamp_run(page_at(move.from, 2), 1, TAG_DEVICE));
	close(move.uffd);
}

TEST_HARNESS_MAIN
