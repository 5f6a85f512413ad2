// SPDX-License-Identifier: GPL-2.0
/*
 * What a device is told when the memory changes that it has mirrored.
 *
 * Each test has the device mirror something, changes it in one way, and then asks three things:
 * what the device was told, what it maps now, and whether it sees and writes the right content.
 * What a change needs from the machine (swap, two nodes, huge pages, KSM) is not optional.
 *
 *			anonymous	THP	hugetlb	shmem	file
 * munmap, mprotect	x		x	x	x	x
 * mremap, fork		x		x	x	x	x
 * MADV_DONTNEED	x		x	x	x	x
 * another node		x		x	x	x	x
 * reclaim		x		x	absent	x	x
 * MADV_FREE		x		x	absent: anonymous memory only
 * soft-dirty		x		x	absent	x	x
 * uffd-wp		x		x	x	x	absent
 * KSM			x		absent: small anonymous pages only
 * MADV_COLLAPSE	x		absent	absent	x	absent
 * truncate, hole punch	absent: there is no file	x	x
 * writeback		absent				absent	x
 *
 * The first four rows, in which there are anonymous folios of 64 KiB as well, and what the device
 * has taken to its memory, are tested with a device of each type; to the others it makes no
 * difference.
 */
#include "../kselftest_harness.h"

#include <linux/fs.h>
#include <pthread.h>

#include "hmm-mirror.h"

#define HUGE_ORDER	9

/* What is needed beside the memory itself */

static int node_of(char *mem)
{
	void *page = mem;
	int status = -1;

	syscall(SYS_move_pages, 0, 1, &page, NULL, &status, 0);
	return status;
}

/* Kinds of memory, and what they differ in */

struct kind {
	char *(*map)(struct __test_metadata *_metadata, int *fd);
	long page;		/* pages that move together */
	enum told read_only;	/* by mprotect(PROT_READ) */
	enum mapped after_read_only;
	enum told moved;	/* by mremap() */
	enum told forked;
	enum mapped after_fork;
	bool discards;		/* MADV_DONTNEED loses the content */
};

static char *map_anon(struct __test_metadata *_metadata, int *fd)
{
	return map_small(_metadata, NPAGES);
}

#define THP_DIR		"/sys/kernel/mm/transparent_hugepage/"
#define MTHP_ORDER	4

/* Folios of 64 KiB, that are mapped by ptes. */
static char *map_mthp(struct __test_metadata *_metadata, int *fd)
{
	char *mem;

	ASSERT_TRUE(write_text(THP_DIR "hugepages-64kB/enabled", "always"));
	ASSERT_TRUE(write_text(THP_DIR "hugepages-2048kB/enabled", "never"));
	mem = map_thp(_metadata, 1);
	memset(mem, 0, SIZE);
	/* Before khugepaged comes, which the last of these wakes */
	ASSERT_EQ(0, madvise(mem, SIZE, MADV_NOHUGEPAGE));
	ASSERT_TRUE(write_text(THP_DIR "hugepages-64kB/enabled", "never"));
	ASSERT_TRUE(write_text(THP_DIR "hugepages-2048kB/enabled", "inherit"));
	return mem;
}

static char *map_one_thp(struct __test_metadata *_metadata, int *fd)
{
	return map_thp(_metadata, 1);
}

static char *map_one_hugetlb(struct __test_metadata *_metadata, int *fd)
{
	return map_hugetlb(_metadata, 1, PROT_RW);
}

static const struct kind anon = {
	.map = map_anon, .page = 1, .read_only = TOLD_WRITE_PROTECT, .after_read_only = MAPS_RO,
	.moved = TOLD_MUNMAP, .forked = TOLD_FORK, .after_fork = MAPS_RO, .discards = true,
};

static const struct kind mthp = {
	.map = map_mthp, .page = 1 << MTHP_ORDER, .read_only = TOLD_WRITE_PROTECT,
	.after_read_only = MAPS_RO, .moved = TOLD_MUNMAP, .forked = TOLD_FORK,
	.after_fork = MAPS_RO, .discards = true,
};

static const struct kind thp = {
	.map = map_one_thp, .page = NPAGES, .read_only = TOLD_WRITE_PROTECT,
	.after_read_only = MAPS_RO, .moved = TOLD_MUNMAP, .forked = TOLD_FORK,
	.after_fork = MAPS_RO, .discards = true,
};

/* mprotect() may unshare a table of ptes, fork() may copy pages: what is mirrored goes. */
static const struct kind hugetlb = {
	.map = map_one_hugetlb, .page = NPAGES, .read_only = TOLD_MIGRATE,
	.after_read_only = MAPS_NOTHING, .moved = TOLD_MIGRATE, .forked = TOLD_MIGRATE,
	.after_fork = MAPS_NOTHING, .discards = true,
};

/* Shared memory stays shared when a process forks. */
static const struct kind shmem = {
	.map = map_shmem, .page = 1, .read_only = TOLD_WRITE_PROTECT, .after_read_only = MAPS_RO,
	.moved = TOLD_MUNMAP, .forked = TOLD_NOTHING, .after_fork = MAPS_RW,
};

static const struct kind file = {
	.map = map_file, .page = 1, .read_only = TOLD_WRITE_PROTECT, .after_read_only = MAPS_RO,
	.moved = TOLD_MUNMAP, .forked = TOLD_NOTHING, .after_fork = MAPS_RW,
};

/* The memory is mirrored for writing, and holds what the device wrote. */

FIXTURE(hmm_change)
{
	struct dmirror dev;
	int fd;
	char *mem;
};

FIXTURE_VARIANT(hmm_change)
{
	const struct kind *kind;
	int device;
};

FIXTURE_VARIANT_ADD(hmm_change, anon)
{
	.kind = &anon,
	.device = PRIVATE,
};

FIXTURE_VARIANT_ADD(hmm_change, anon_coherent)
{
	.kind = &anon,
	.device = COHERENT,
};

FIXTURE_VARIANT_ADD(hmm_change, mthp)
{
	.kind = &mthp,
	.device = PRIVATE,
};

FIXTURE_VARIANT_ADD(hmm_change, mthp_coherent)
{
	.kind = &mthp,
	.device = COHERENT,
};

FIXTURE_VARIANT_ADD(hmm_change, thp)
{
	.kind = &thp,
	.device = PRIVATE,
};

FIXTURE_VARIANT_ADD(hmm_change, thp_coherent)
{
	.kind = &thp,
	.device = COHERENT,
};

FIXTURE_VARIANT_ADD(hmm_change, hugetlb)
{
	.kind = &hugetlb,
	.device = PRIVATE,
};

FIXTURE_VARIANT_ADD(hmm_change, hugetlb_coherent)
{
	.kind = &hugetlb,
	.device = COHERENT,
};

FIXTURE_VARIANT_ADD(hmm_change, shmem)
{
	.kind = &shmem,
	.device = PRIVATE,
};

FIXTURE_VARIANT_ADD(hmm_change, shmem_coherent)
{
	.kind = &shmem,
	.device = COHERENT,
};

FIXTURE_VARIANT_ADD(hmm_change, file)
{
	.kind = &file,
	.device = PRIVATE,
};

FIXTURE_VARIANT_ADD(hmm_change, file_coherent)
{
	.kind = &file,
	.device = COHERENT,
};

FIXTURE_SETUP(hmm_change)
{
	dmirror_open(_metadata, &self->dev, variant->device, NPAGES);
	self->fd = -1;
	self->mem = variant->kind->map(_metadata, &self->fd);
	mirror_all(_metadata, &self->dev, self->mem);
}

FIXTURE_TEARDOWN(hmm_change)
{
	close(self->fd);
	close(self->dev.fd);
}

TEST_F(hmm_change, munmap)
{
	ASSERT_EQ(0, munmap(self->mem, SIZE));
	EXPECT_EQ(NPAGES, dmirror_told(&self->dev, self->mem, NPAGES, TOLD_MUNMAP));
	EXPECT_EQ(NPAGES, dmirror_maps(&self->dev, self->mem, NPAGES, MAPS_NOTHING));
	EXPECT_EQ(-EFAULT, dmirror_read(&self->dev, self->mem, NPAGES));
}

TEST_F(hmm_change, mprotect_read)
{
	const struct kind *kind = variant->kind;

	ASSERT_EQ(0, mprotect(self->mem, SIZE, PROT_READ));
	EXPECT_EQ(NPAGES, dmirror_told(&self->dev, self->mem, NPAGES, kind->read_only));
	EXPECT_EQ(NPAGES, dmirror_maps(&self->dev, self->mem, NPAGES, kind->after_read_only));
	EXPECT_EQ(kind->after_read_only == MAPS_NOTHING,
		  dmirror_faults_of(&self->dev, self->mem, NPAGES, dmirror_read));
	EXPECT_EQ(NPAGES, stamp_run(self->dev.buf, NPAGES, TAG_DEVICE));
	EXPECT_EQ(-EPERM, dmirror_write_stamps(&self->dev, self->mem, NPAGES));
}

TEST_F(hmm_change, mprotect_none)
{
	ASSERT_EQ(0, mprotect(self->mem, SIZE, PROT_NONE));
	EXPECT_EQ(NPAGES, dmirror_told(&self->dev, self->mem, NPAGES, TOLD_MIGRATE));
	EXPECT_EQ(NPAGES, dmirror_maps(&self->dev, self->mem, NPAGES, MAPS_NOTHING));
	EXPECT_EQ(-EFAULT, dmirror_read(&self->dev, self->mem, NPAGES));
}

/* Permission comes back to the CPU first: the device asks for it when it needs it. */
TEST_F(hmm_change, mprotect_back)
{
	ASSERT_EQ(0, mprotect(self->mem, SIZE, PROT_READ));
	ASSERT_EQ(NPAGES, dmirror_read(&self->dev, self->mem, NPAGES));
	dmirror_forget(&self->dev);
	ASSERT_EQ(0, mprotect(self->mem, SIZE, PROT_RW));
	if (variant->kind != &hugetlb) {
		EXPECT_TRUE(dmirror_told_nothing(&self->dev));
		EXPECT_EQ(NPAGES, dmirror_maps(&self->dev, self->mem, NPAGES, MAPS_RO));
	}
	EXPECT_EQ(1, dmirror_faults_of(&self->dev, self->mem, NPAGES, dmirror_write_stamps));
	EXPECT_EQ(NPAGES, stamp_run(self->mem, NPAGES, TAG_DEVICE));
}

TEST_F(hmm_change, mremap)
{
	char *area = map_pages(_metadata, 2 * NPAGES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	char *to = (char *)(((uintptr_t)area + SIZE - 1) & -SIZE);

	ASSERT_EQ(to, mremap(self->mem, SIZE, SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, to));
	EXPECT_EQ(NPAGES, dmirror_told(&self->dev, self->mem, NPAGES, variant->kind->moved));
	EXPECT_EQ(NPAGES, dmirror_maps(&self->dev, self->mem, NPAGES, MAPS_NOTHING));
	EXPECT_EQ(-EFAULT, dmirror_read(&self->dev, self->mem, NPAGES));
	EXPECT_EQ(NPAGES, dmirror_read_stamps(&self->dev, to, NPAGES, TAG_DEVICE));
}

TEST_F(hmm_change, dontneed)
{
	ASSERT_EQ(0, madvise(self->mem, SIZE, MADV_DONTNEED));
	EXPECT_EQ(NPAGES, dmirror_told(&self->dev, self->mem, NPAGES, TOLD_MIGRATE));
	EXPECT_EQ(NPAGES, dmirror_maps(&self->dev, self->mem, NPAGES, MAPS_NOTHING));
	EXPECT_EQ(NPAGES, variant->kind->discards ?
			  dmirror_read_zeros(&self->dev, self->mem, NPAGES) :
			  dmirror_read_stamps(&self->dev, self->mem, NPAGES, TAG_DEVICE));
}

TEST_F(hmm_change, fork)
{
	const struct kind *kind = variant->kind;
	struct witness child = witness_fork(_metadata, self->mem, NPAGES, TAG_DEVICE);

	EXPECT_EQ(kind->forked == TOLD_NOTHING ? 0 : NPAGES,
		  dmirror_told(&self->dev, self->mem, NPAGES, kind->forked));
	EXPECT_EQ(NPAGES, dmirror_maps(&self->dev, self->mem, NPAGES, kind->after_fork));
	EXPECT_EQ(NPAGES, dmirror_read_stamps(&self->dev, self->mem, NPAGES, TAG_DEVICE));
	EXPECT_TRUE(witness_saw_no_change(&child));
}

TEST_F(hmm_change, node)
{
	const long page = variant->kind->page;

	ASSERT_EQ(NPAGES, move_to_node(self->mem, NPAGES, page, !node_of(self->mem)));
	EXPECT_EQ(NPAGES, dmirror_told(&self->dev, self->mem, NPAGES, TOLD_MIGRATE));
	EXPECT_EQ(NPAGES, dmirror_maps(&self->dev, self->mem, NPAGES, MAPS_NOTHING));
	EXPECT_EQ(NPAGES, dmirror_read_stamps(&self->dev, self->mem, NPAGES, TAG_DEVICE));
}

/* Part of it: what is beside stays mirrored, unless it is of the same block. */
TEST_F(hmm_change, one_page)
{
	const long block = variant->kind->page, i = NPAGES / 2 + 1, first = i / block * block;
	char *mem = self->mem;

	if (variant->kind == &hugetlb)
		return;		/* has no pages smaller than all of it */
	ASSERT_EQ(NPAGES, dmirror_maps_order(&self->dev, mem, NPAGES, __builtin_ctzl(block)));
	ASSERT_EQ(0, madvise(page_at(mem, i), PAGE_SIZE, MADV_DONTNEED));
	EXPECT_EQ(1, dmirror_told(&self->dev, page_at(mem, i), 1, TOLD_MIGRATE));
	EXPECT_EQ(block, dmirror_maps(&self->dev, page_at(mem, first), block, MAPS_NOTHING));
	if (first)
		EXPECT_EQ(first, dmirror_maps(&self->dev, mem, first, MAPS_RW));
	EXPECT_EQ(1, dmirror_faults_of(&self->dev, mem, NPAGES, dmirror_read));
	EXPECT_EQ(variant->kind->discards ? i : NPAGES,
		  stamp_run(self->dev.buf, NPAGES, TAG_DEVICE));
}

/* Fork, of 64 MiB */

#define FORK_PAGES	(32 * HPAGE_PAGES)

FIXTURE(hmm_fork)
{
	struct dmirror dev;
	char *mem;
};

FIXTURE_VARIANT(hmm_fork)
{
	char *(*map)(struct __test_metadata *_metadata);
	bool keeps;	/* fork() leaves the device what it has */
};

static char *map_fork_small(struct __test_metadata *_metadata)
{
	return map_small(_metadata, FORK_PAGES);
}

static char *map_fork_thp(struct __test_metadata *_metadata)
{
	return map_thp(_metadata, FORK_PAGES / HPAGE_PAGES);
}

static char *map_fork_hugetlb(struct __test_metadata *_metadata)
{
	return map_hugetlb(_metadata, FORK_PAGES / HPAGE_PAGES, PROT_RW);
}

FIXTURE_VARIANT_ADD(hmm_fork, small)
{
	.map = map_fork_small,
	.keeps = true,
};

FIXTURE_VARIANT_ADD(hmm_fork, thp)
{
	.map = map_fork_thp,
	.keeps = true,
};

/* The exception: of private hugetlb memory, fork() says that all of it goes. */
FIXTURE_VARIANT_ADD(hmm_fork, hugetlb)
{
	.map = map_fork_hugetlb,
	.keeps = false,
};

FIXTURE_SETUP(hmm_fork)
{
	dmirror_open(_metadata, &self->dev, PRIVATE, NPAGES);
	self->mem = variant->map(_metadata);
	stamp_write(self->mem, FORK_PAGES, TAG_CPU);
	ASSERT_EQ(FORK_PAGES, dmirror_whole(&self->dev, self->mem, FORK_PAGES,
					    dmirror_write_stamps));
	stamp_write(self->mem, FORK_PAGES, TAG_CPU);
	dmirror_forget(&self->dev);
}

FIXTURE_TEARDOWN(hmm_fork)
{
	close(self->dev.fd);
}

TEST_F_TIMEOUT(hmm_fork, device_goes_on, 120)
{
	struct witness child = witness_fork(_metadata, self->mem, FORK_PAGES, TAG_CPU);
	const enum told told = variant->keeps ? TOLD_FORK : TOLD_MIGRATE;
	const enum mapped mapped = variant->keeps ? MAPS_RO : MAPS_NOTHING;
	long read, write;

	EXPECT_EQ(FORK_PAGES, dmirror_told(&self->dev, self->mem, FORK_PAGES, told));
	EXPECT_EQ(FORK_PAGES, dmirror_maps(&self->dev, self->mem, FORK_PAGES, mapped));
	read = dmirror_faults_of(&self->dev, self->mem, FORK_PAGES, dmirror_read);
	write = dmirror_faults_of(&self->dev, page_at(self->mem, NPAGES + 7), 1,
				  dmirror_write_stamps);
	ksft_print_msg("faults of the device after fork: %ld to read 64 MiB, %ld to write a page\n",
		       read, write);
	EXPECT_EQ(variant->keeps ? 0 : FORK_PAGES / NPAGES, read);
	EXPECT_EQ(1, write);
	EXPECT_EQ(1, stamp_run(page_at(self->mem, NPAGES + 7), 1, TAG_DEVICE));
	EXPECT_TRUE(witness_saw_no_change(&child));
}

TEST_F(hmm_fork, child_has_no_mirror)
{
	pid_t pid = fork();
	int status;

	ASSERT_LE(0, pid);
	if (!pid)
		_exit(dmirror_read(&self->dev, self->mem, 1) != -EPERM ||
		      dmirror_maps(&self->dev, self->mem, 1, MAPS_RO) != -EPERM ||
		      dmirror_migrate_to_dev(&self->dev, self->mem, 1) != -EPERM ||
		      dmirror_invalidate(&self->dev, self->mem, 1,
					 HMM_DMIRROR_NOTIFY_CLEAR) != -EPERM);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
}

/* The child changes its copy: no business of the parent's device. */
TEST_F(hmm_fork, changes_of_the_child)
{
	pid_t pid;
	int status;

	ASSERT_EQ(0, mprotect(self->mem, SIZE, PROT_READ));
	ASSERT_EQ(SIZE / PAGE_SIZE, dmirror_read(&self->dev, self->mem, NPAGES));
	pid = fork();
	ASSERT_LE(0, pid);
	dmirror_forget(&self->dev);
	if (!pid)
		_exit(munmap(self->mem, SIZE) ||
		      madvise(self->mem + SIZE, SIZE, MADV_DONTNEED));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_TRUE(dmirror_told_nothing(&self->dev));
}

/* Faults of the device: it gets what it asked for, and is told so */

TEST_F(hmm_mirror, read_fault)
{
	char *mem = map_small(_metadata, NPAGES);

	stamp_write(mem, NPAGES, TAG_CPU);
	EXPECT_EQ(NPAGES, dmirror_read_stamps(&self->dev, mem, NPAGES, TAG_CPU));
	EXPECT_TRUE(dmirror_told_of_faults(&self->dev, TOLD_RFAULT));
	EXPECT_EQ(NPAGES, dmirror_maps(&self->dev, mem, NPAGES, MAPS_RO));
	EXPECT_EQ(0, dmirror_faults_of(&self->dev, mem, NPAGES, dmirror_read));
}

TEST_F(hmm_mirror, write_fault)
{
	char *mem = map_small(_metadata, NPAGES);

	stamp_write(mem, NPAGES, TAG_CPU);
	ASSERT_EQ(NPAGES, dmirror_read(&self->dev, mem, NPAGES));
	dmirror_forget(&self->dev);
	EXPECT_EQ(NPAGES, dmirror_write_stamps(&self->dev, mem, NPAGES));
	EXPECT_TRUE(dmirror_told_of_faults(&self->dev, TOLD_WFAULT));
	EXPECT_EQ(NPAGES, dmirror_maps(&self->dev, mem, NPAGES, MAPS_RW));
	EXPECT_EQ(NPAGES, dmirror_has_written(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, stamp_run(mem, NPAGES, TAG_DEVICE));
}

/* A device that only reads leaves pages shared that were. */
TEST_F(hmm_mirror, read_breaks_no_cow)
{
	char *mem = mirrored(_metadata, &self->dev);
	struct witness child = witness_fork(_metadata, mem, NPAGES, TAG_DEVICE);
	__u64 pfn = pfn_of(_metadata, mem);

	EXPECT_EQ(NPAGES, dmirror_read_stamps(&self->dev, mem, NPAGES, TAG_DEVICE));
	EXPECT_EQ(pfn, pfn_of(_metadata, mem));
	EXPECT_EQ(1, dmirror_write_stamps(&self->dev, mem, 1));
	EXPECT_NE(pfn, pfn_of(_metadata, mem));
	EXPECT_TRUE(witness_saw_no_change(&child));
}

/* Its own COW does not collide with a fault. */
TEST_F(hmm_mirror, cow_is_no_collision)
{
	char *mem = mirrored(_metadata, &self->dev);
	struct witness child = witness_fork(_metadata, mem, NPAGES, TAG_DEVICE);
	__u64 before = dmirror_stats(&self->dev).collisions;

	EXPECT_EQ(1, dmirror_faults_of(&self->dev, mem, NPAGES, dmirror_write_stamps));
	EXPECT_EQ(before, dmirror_stats(&self->dev).collisions);
	EXPECT_TRUE(witness_saw_no_change(&child));
}

TEST_F(hmm_mirror, huge_block)
{
	char *mem = map_thp(_metadata, 2);

	stamp_write(mem, 2 * NPAGES, TAG_CPU);
	EXPECT_EQ(1, dmirror_write_stamps(&self->dev, page_at(mem, 3), 1));
	EXPECT_EQ(1, dmirror_maps(&self->dev, page_at(mem, 3), 1, MAPS_RW));
	EXPECT_EQ(NPAGES, dmirror_write_stamps(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, dmirror_maps_order(&self->dev, mem, NPAGES, HUGE_ORDER));
	EXPECT_EQ(NPAGES, dmirror_maps(&self->dev, page_at(mem, NPAGES), NPAGES, MAPS_NOTHING));
}

TEST_F(hmm_mirror, fault_refused)
{
	char *mem = map_small(_metadata, NPAGES);

	ASSERT_EQ(0, dmirror_refuse(&self->dev, 0, 1, ENOMEM));
	EXPECT_EQ(-ENOMEM, dmirror_write_stamps(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, dmirror_maps(&self->dev, mem, NPAGES, MAPS_NOTHING));
	EXPECT_EQ(1ULL, dmirror_stats(&self->dev).refused);
	EXPECT_EQ(NPAGES, dmirror_write_stamps(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, dmirror_maps(&self->dev, mem, NPAGES, MAPS_RW));
}

/* What the driver is not told of */

TEST_F(hmm_mirror, change_elsewhere)
{
	char *mem = map_small(_metadata, 3 * NPAGES);
	__u64 skipped = dmirror_stats(&self->dev).callbacks_skipped;

	stamp_write(mem, 3 * NPAGES, TAG_CPU);
	mirror_all(_metadata, &self->dev, page_at(mem, NPAGES));
	ASSERT_EQ(0, mprotect(mem, SIZE, PROT_READ));
	ASSERT_EQ(0, madvise(mem, SIZE, MADV_DONTNEED));
	ASSERT_EQ(0, munmap(mem, SIZE));
	ASSERT_EQ(0, munmap(page_at(mem, 2 * NPAGES), SIZE));
	EXPECT_TRUE(dmirror_told_nothing(&self->dev));
	EXPECT_LT(skipped, dmirror_stats(&self->dev).callbacks_skipped);
	EXPECT_EQ(0, dmirror_faults_of(&self->dev, page_at(mem, NPAGES), NPAGES,
				       dmirror_write_stamps));
}

TEST_F(hmm_mirror, protection_without_write)
{
	char *mem = map_small(_metadata, NPAGES);
	struct witness child;

	stamp_write(mem, NPAGES, TAG_CPU);
	ASSERT_EQ(NPAGES, dmirror_read(&self->dev, mem, NPAGES));
	dmirror_forget(&self->dev);
	child = witness_fork(_metadata, mem, NPAGES, TAG_CPU);
	ASSERT_EQ(0, mprotect(mem, SIZE, PROT_READ));
	EXPECT_TRUE(dmirror_told_nothing(&self->dev));
	EXPECT_EQ(NPAGES, dmirror_maps(&self->dev, mem, NPAGES, MAPS_RO));
	EXPECT_TRUE(witness_saw_no_change(&child));
}

/* What the kernel does of its own accord, or is asked to */

static void test_reclaim(struct __test_metadata *_metadata, struct dmirror *dev, char *mem)
{
	EXPECT_EQ(NPAGES, dmirror_told(dev, mem, NPAGES, TOLD_MIGRATE));
	EXPECT_EQ(NPAGES, dmirror_maps(dev, mem, NPAGES, MAPS_NOTHING));
	EXPECT_EQ(1, dmirror_faults_of(dev, mem, NPAGES, dmirror_read));
	EXPECT_EQ(NPAGES, stamp_run(dev->buf, NPAGES, TAG_DEVICE));
}

TEST_F(hmm_mirror, pageout)
{
	char *mem = mirrored(_metadata, &self->dev);

	swap_out(_metadata, mem, NPAGES);
	test_reclaim(_metadata, &self->dev, mem);
}

TEST_F(hmm_mirror, pageout_of_thp)
{
	char *mem = map_thp(_metadata, 1);

	mirror_all(_metadata, &self->dev, mem);
	swap_out(_metadata, mem, NPAGES);
	test_reclaim(_metadata, &self->dev, mem);
}

TEST_F(hmm_mirror, pageout_of_shmem)
{
	int fd;
	char *mem = map_shmem(_metadata, &fd);

	mirror_all(_metadata, &self->dev, mem);
	reclaim_file(_metadata, mem, NPAGES);
	test_reclaim(_metadata, &self->dev, mem);
	close(fd);
}

TEST_F(hmm_mirror, pageout_of_file)
{
	int fd;
	char *mem = map_file(_metadata, &fd);

	mirror_all(_metadata, &self->dev, mem);
	ASSERT_EQ(0, msync(mem, SIZE, MS_SYNC));
	dmirror_forget(&self->dev);
	reclaim_file(_metadata, mem, NPAGES);
	test_reclaim(_metadata, &self->dev, mem);
	close(fd);
}

/* Once the device has written again, the pages are no more to be freed. */
static void test_madv_free(struct __test_metadata *_metadata, struct dmirror *dev, char *mem)
{
	mirror_all(_metadata, dev, mem);
	ASSERT_EQ(0, madvise(mem, SIZE, MADV_FREE));
	EXPECT_EQ(NPAGES, dmirror_told(dev, mem, NPAGES, TOLD_MIGRATE));
	EXPECT_EQ(NPAGES, dmirror_maps(dev, mem, NPAGES, MAPS_NOTHING));
	EXPECT_EQ(NPAGES, dmirror_write_stamps(dev, mem, NPAGES));
	swap_out(_metadata, mem, NPAGES);
	EXPECT_EQ(NPAGES, dmirror_read_stamps(dev, mem, NPAGES, TAG_DEVICE));
}

TEST_F(hmm_mirror, madv_free)
{
	test_madv_free(_metadata, &self->dev, map_small(_metadata, NPAGES));
}

TEST_F(hmm_mirror, madv_free_of_thp)
{
	test_madv_free(_metadata, &self->dev, map_thp(_metadata, 1));
}

#define KSM_DIR	"/sys/kernel/mm/ksm/"

/* 6.12 says KPF_KSM of every anonymous page: what counts is that all are the same. */
static void ksm_merge(struct __test_metadata *_metadata, char *mem, long npages)
{
	time_t deadline = in_seconds(60);
	long merged = 0;

	ASSERT_EQ(0, madvise(mem, npages * PAGE_SIZE, MADV_MERGEABLE));
	ASSERT_TRUE(write_text(KSM_DIR "pages_to_scan", "10000") &&
		    write_text(KSM_DIR "sleep_millisecs", "10") &&
		    write_text(KSM_DIR "run", "1"));
	while (before(deadline) && merged < npages) {
		usleep(20000);
		merged = 0;
		while (merged < npages &&
		       pfn_of(_metadata, page_at(mem, merged)) == pfn_of(_metadata, mem))
			merged++;
	}
	ASSERT_TRUE(write_text(KSM_DIR "run", "0"));
	ASSERT_EQ(npages, merged);
}

TEST_F_TIMEOUT(hmm_mirror, ksm, 120)
{
	const long npages = 16;
	char *mem = map_small(_metadata, npages);

	memset(self->dev.buf, 0x5a, npages * PAGE_SIZE);
	ASSERT_EQ(npages, dmirror_write(&self->dev, mem, npages));
	dmirror_forget(&self->dev);
	ksm_merge(_metadata, mem, npages);
	EXPECT_EQ(npages, dmirror_told(&self->dev, mem, npages, TOLD_MIGRATE));
	EXPECT_EQ(pfn_of(_metadata, mem), pfn_of(_metadata, page_at(mem, npages - 1)));

	ASSERT_EQ(npages, dmirror_read(&self->dev, mem, npages));
	EXPECT_EQ(0x5a, self->dev.buf[npages * PAGE_SIZE - 1]);
	EXPECT_EQ(1, dmirror_write_stamps(&self->dev, mem, 1));
	EXPECT_EQ(1, stamp_run(mem, npages, TAG_DEVICE));
	EXPECT_EQ(0x5a, *page_at(mem, 1));
}

static void test_collapse(struct __test_metadata *_metadata, struct dmirror *dev, char *mem)
{
	ASSERT_EQ(0, madvise(mem, SIZE, MADV_HUGEPAGE));
	ASSERT_EQ(0, madvise(mem, SIZE, MADV_COLLAPSE));
	EXPECT_EQ(NPAGES, dmirror_told(dev, mem, NPAGES, TOLD_MIGRATE));
	EXPECT_EQ(NPAGES, dmirror_read_stamps(dev, mem, NPAGES, TAG_DEVICE));
	EXPECT_EQ(NPAGES, dmirror_maps_order(dev, mem, NPAGES, HUGE_ORDER));
}

TEST_F(hmm_mirror, collapse)
{
	char *mem = map_thp(_metadata, 1);

	ASSERT_EQ(0, madvise(mem, SIZE, MADV_NOHUGEPAGE));
	mirror_all(_metadata, &self->dev, mem);
	test_collapse(_metadata, &self->dev, mem);
}

TEST_F(hmm_mirror, collapse_of_shmem)
{
	char *mem = map_thp(_metadata, 1);
	int fd = shmem_file(_metadata, 0, NPAGES);

	ASSERT_EQ(mem, mmap(mem, SIZE, PROT_RW, MAP_SHARED | MAP_FIXED, fd, 0));
	mirror_all(_metadata, &self->dev, mem);
	test_collapse(_metadata, &self->dev, mem);
	close(fd);
}

/* Who has written since? */

/* @block: pages that get dirty together */
static void test_soft_dirty(struct __test_metadata *_metadata, struct dmirror *dev, char *mem,
			    long block)
{
	mirror_all(_metadata, dev, mem);
	ASSERT_TRUE(write_text("/proc/self/clear_refs", "4"));
	EXPECT_EQ(NPAGES, dmirror_told(dev, mem, NPAGES, TOLD_ISDIRTY));
	EXPECT_EQ(NPAGES, dmirror_maps(dev, mem, NPAGES, MAPS_RO));
	EXPECT_EQ(0, dmirror_faults_of(dev, mem, NPAGES, dmirror_read));
	EXPECT_FALSE(is_soft_dirty(_metadata, mem));
	EXPECT_EQ(1, dmirror_write_stamps(dev, mem, 1));
	EXPECT_TRUE(is_soft_dirty(_metadata, mem));
	EXPECT_EQ(block > 1, is_soft_dirty(_metadata, page_at(mem, 1)));
}

TEST_F(hmm_mirror, soft_dirty)
{
	test_soft_dirty(_metadata, &self->dev, map_small(_metadata, NPAGES), 1);
}

TEST_F(hmm_mirror, soft_dirty_of_thp)
{
	test_soft_dirty(_metadata, &self->dev, map_thp(_metadata, 1), NPAGES);
}

TEST_F(hmm_mirror, soft_dirty_of_shmem)
{
	int fd;

	test_soft_dirty(_metadata, &self->dev, map_shmem(_metadata, &fd), 1);
	close(fd);
}

TEST_F(hmm_mirror, soft_dirty_of_file)
{
	int fd;

	test_soft_dirty(_metadata, &self->dev, map_file(_metadata, &fd), 1);
	close(fd);
}

/* The number of pages that were written since the last scan, which this one write-protects */
static long pagemap_scan(char *mem, long npages)
{
	struct page_region regions[16];
	struct pm_scan_arg arg = {
		.size = sizeof(arg),
		.flags = PM_SCAN_WP_MATCHING,
		.start = (uintptr_t)mem,
		.end = (uintptr_t)page_at(mem, npages),
		.vec = (uintptr_t)regions,
		.vec_len = 16,
		.category_mask = PAGE_IS_WRITTEN,
		.return_mask = PAGE_IS_WRITTEN,
	};
	int fd = open("/proc/self/pagemap", O_RDONLY);
	long i, n = ioctl(fd, PAGEMAP_SCAN, &arg), written = 0;

	if (n < 0)
		written = -errno;
	for (i = 0; i < n; i++)
		written += (regions[i].end - regions[i].start) / PAGE_SIZE;
	close(fd);
	return written;
}

TEST_F(hmm_mirror, pagemap_scan)
{
	char *mem = map_small(_metadata, NPAGES);
	int uffd = uffd_open(_metadata, 0, WP_ASYNC);

	uffd_register(_metadata, uffd, mem, NPAGES, UFFDIO_REGISTER_MODE_WP);
	mirror_all(_metadata, &self->dev, mem);
	EXPECT_EQ(NPAGES, pagemap_scan(mem, NPAGES));
	EXPECT_EQ(NPAGES, dmirror_told(&self->dev, mem, NPAGES, TOLD_WRITE_PROTECT));
	EXPECT_EQ(NPAGES, dmirror_maps(&self->dev, mem, NPAGES, MAPS_RO));
	EXPECT_EQ(0, dmirror_faults_of(&self->dev, mem, NPAGES, dmirror_read));
	EXPECT_EQ(0, pagemap_scan(mem, NPAGES));
	EXPECT_EQ(3, dmirror_write_stamps(&self->dev, page_at(mem, 5), 3));
	EXPECT_EQ(3, pagemap_scan(mem, NPAGES));
	close(uffd);
}

/* The range is of two VMAs. What holds of the first need not of the second. */
TEST_F(hmm_mirror, pagemap_scan_of_two)
{
	char *mem = map_small(_metadata, NPAGES);
	int uffd = uffd_open(_metadata, 0, WP_ASYNC);

	uffd_register(_metadata, uffd, mem, NPAGES, UFFDIO_REGISTER_MODE_WP);
	ASSERT_EQ(0, madvise(page_at(mem, NPAGES / 2), SIZE / 2, MADV_DONTFORK));
	mirror_all(_metadata, &self->dev, mem);
	EXPECT_EQ(NPAGES, pagemap_scan(mem, NPAGES));
	EXPECT_EQ(NPAGES, dmirror_told(&self->dev, mem, NPAGES, TOLD_MIGRATE));
	EXPECT_EQ(NPAGES, dmirror_maps(&self->dev, mem, NPAGES, MAPS_NOTHING));
	EXPECT_EQ(NPAGES, dmirror_read_stamps(&self->dev, mem, NPAGES, TAG_DEVICE));
	close(uffd);
}

/* Of hugetlb memory a table of ptes may be unshared: all of it goes. */
static void test_uffd_wp(struct __test_metadata *_metadata, struct dmirror *dev, char *mem,
			 enum told told, enum mapped mapped)
{
	int uffd = uffd_open(_metadata, 0, WP_ASYNC);

	uffd_register(_metadata, uffd, mem, NPAGES, UFFDIO_REGISTER_MODE_WP);
	mirror_all(_metadata, dev, mem);
	uffd_write_protect(_metadata, uffd, mem, NPAGES);
	EXPECT_EQ(NPAGES, dmirror_told(dev, mem, NPAGES, told));
	EXPECT_EQ(NPAGES, dmirror_maps(dev, mem, NPAGES, mapped));
	EXPECT_EQ(mapped == MAPS_NOTHING, dmirror_faults_of(dev, mem, NPAGES, dmirror_read));
	EXPECT_EQ(NPAGES, stamp_run(dev->buf, NPAGES, TAG_DEVICE));
	EXPECT_TRUE(is_uffd_wp(_metadata, mem));
	EXPECT_EQ(1, dmirror_write_stamps(dev, mem, 1));
	EXPECT_FALSE(is_uffd_wp(_metadata, mem));
	close(uffd);
}

TEST_F(hmm_mirror, uffd_wp)
{
	test_uffd_wp(_metadata, &self->dev, map_small(_metadata, NPAGES), TOLD_WRITE_PROTECT,
		     MAPS_RO);
}

TEST_F(hmm_mirror, uffd_wp_of_thp)
{
	test_uffd_wp(_metadata, &self->dev, map_thp(_metadata, 1), TOLD_WRITE_PROTECT, MAPS_RO);
}

TEST_F(hmm_mirror, uffd_wp_of_hugetlb)
{
	test_uffd_wp(_metadata, &self->dev, map_hugetlb(_metadata, 1, PROT_RW), TOLD_MIGRATE,
		     MAPS_NOTHING);
}

TEST_F(hmm_mirror, uffd_wp_of_shmem)
{
	int fd;

	test_uffd_wp(_metadata, &self->dev, map_shmem(_metadata, &fd), TOLD_WRITE_PROTECT,
		     MAPS_RO);
	close(fd);
}

/* Files */

FIXTURE(hmm_file)
{
	struct dmirror dev;
	int fd;
	char *mem;
};

FIXTURE_VARIANT(hmm_file)
{
	const struct kind *kind;
};

FIXTURE_VARIANT_ADD(hmm_file, shmem)
{
	.kind = &shmem,
};

FIXTURE_VARIANT_ADD(hmm_file, ext4)
{
	.kind = &file,
};

FIXTURE_SETUP(hmm_file)
{
	dmirror_open(_metadata, &self->dev, PRIVATE, NPAGES);
	self->mem = variant->kind->map(_metadata, &self->fd);
	mirror_all(_metadata, &self->dev, self->mem);
}

FIXTURE_TEARDOWN(hmm_file)
{
	close(self->fd);
	close(self->dev.fd);
}

TEST_F(hmm_file, truncated)
{
	ASSERT_EQ(0, ftruncate(self->fd, SIZE / 2));
	EXPECT_EQ(NPAGES / 2, dmirror_told(&self->dev, page_at(self->mem, NPAGES / 2),
					   NPAGES / 2, TOLD_MIGRATE));
	EXPECT_EQ(NPAGES / 2, dmirror_maps(&self->dev, self->mem, NPAGES / 2, MAPS_RW));
	EXPECT_EQ(-EFAULT, dmirror_read(&self->dev, page_at(self->mem, NPAGES / 2), 1));
	EXPECT_EQ(NPAGES / 2, dmirror_read_stamps(&self->dev, self->mem, NPAGES / 2,
						  TAG_DEVICE));
}

TEST_F(hmm_file, hole_punched)
{
	ASSERT_EQ(0, fallocate(self->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, SIZE));
	EXPECT_EQ(NPAGES, dmirror_told(&self->dev, self->mem, NPAGES, TOLD_MIGRATE));
	EXPECT_EQ(NPAGES, dmirror_maps(&self->dev, self->mem, NPAGES, MAPS_NOTHING));
	EXPECT_EQ(NPAGES, dmirror_read_zeros(&self->dev, self->mem, NPAGES));
}

TEST_F(hmm_file, written_by_others)
{
	ASSERT_EQ(1, pwrite(self->fd, "x", 1, 100));
	EXPECT_TRUE(dmirror_told_nothing(&self->dev));
	EXPECT_EQ(1, dmirror_read(&self->dev, self->mem, 1));
	EXPECT_EQ('x', self->dev.buf[100]);
}

static long file_run_on_disk(int fd, long npages, enum tag tag)
{
	if (fsync(fd) || !write_text("/proc/sys/vm/drop_caches", "1"))
		return -errno;
	return file_run(fd, npages, tag);
}

static char *ext4_mirrored(struct __test_metadata *_metadata, struct dmirror *dev, int *fd)
{
	char *mem = map_file(_metadata, fd);

	mirror_all(_metadata, dev, mem);
	return mem;
}

/* Each time the pages are cleaned the device has to ask again before it writes. */
TEST_F(hmm_mirror, writeback)
{
	int fd;
	char *mem = ext4_mirrored(_metadata, &self->dev, &fd);

	for (int round = 0; round < 2; round++) {
		ASSERT_EQ(0, msync(mem, SIZE, MS_SYNC));
		EXPECT_EQ(NPAGES, dmirror_told(&self->dev, mem, NPAGES, TOLD_WRITE_PROTECT));
		EXPECT_EQ(NPAGES, dmirror_maps(&self->dev, mem, NPAGES, MAPS_RO));
		EXPECT_EQ(0, dmirror_faults_of(&self->dev, mem, NPAGES, dmirror_read));
		EXPECT_EQ(NPAGES, stamp_run(self->dev.buf, NPAGES, TAG_DEVICE));
		stamp_write(mem, NPAGES, TAG_CPU);
		EXPECT_EQ(NPAGES, dmirror_write_stamps(&self->dev, mem, NPAGES));
		dmirror_forget(&self->dev);
	}
	ASSERT_EQ(0, munmap(mem, SIZE));
	EXPECT_EQ(NPAGES, file_run_on_disk(fd, NPAGES, TAG_DEVICE));
	close(fd);
}

/*
 * Dirty pages. Those of shared memory are mapped writable when they are read: once the CPU has
 * done so, nobody but the device knows that it has written them. Pages that nobody knows of are
 * not swapped out but thrown away.
 */

FIXTURE(hmm_dirty)
{
	struct dmirror dev;
	int fd;
	char *mem;
	char *alias;
};

FIXTURE_VARIANT(hmm_dirty)
{
	bool (*take)(struct dmirror *dev, char *mem);
};

static bool take_by_munmap(struct dmirror *dev, char *mem)
{
	return !munmap(mem, SIZE);
}

static bool take_by_mprotect(struct dmirror *dev, char *mem)
{
	return !mprotect(mem, SIZE, PROT_READ);
}

static bool take_after_mprotect(struct dmirror *dev, char *mem)
{
	return !mprotect(mem, SIZE, PROT_READ) && !munmap(mem, SIZE);
}

static bool take_by_zap(struct dmirror *dev, char *mem)
{
	return !madvise(mem, SIZE, MADV_DONTNEED);
}

static bool take_by_soft_dirty(struct dmirror *dev, char *mem)
{
	return write_text("/proc/self/clear_refs", "4");
}

static bool take_by_invalidation(struct dmirror *dev, char *mem)
{
	return !dmirror_invalidate_now(dev, mem, NPAGES, HMM_DMIRROR_NOTIFY_CLEAR);
}

static bool take_by_close(struct dmirror *dev, char *mem)
{
	return !close(dev->fd);
}

FIXTURE_VARIANT_ADD(hmm_dirty, by_munmap)
{
	.take = take_by_munmap,
};

FIXTURE_VARIANT_ADD(hmm_dirty, by_mprotect)
{
	.take = take_by_mprotect,
};

FIXTURE_VARIANT_ADD(hmm_dirty, after_mprotect)
{
	.take = take_after_mprotect,
};

FIXTURE_VARIANT_ADD(hmm_dirty, by_zap)
{
	.take = take_by_zap,
};

FIXTURE_VARIANT_ADD(hmm_dirty, by_soft_dirty)
{
	.take = take_by_soft_dirty,
};

FIXTURE_VARIANT_ADD(hmm_dirty, by_invalidation)
{
	.take = take_by_invalidation,
};

FIXTURE_VARIANT_ADD(hmm_dirty, by_close)
{
	.take = take_by_close,
};

FIXTURE_SETUP(hmm_dirty)
{
	dmirror_open(_metadata, &self->dev, PRIVATE, NPAGES);
	self->mem = map_shmem(_metadata, &self->fd);
	self->alias = map_pages(_metadata, NPAGES, PROT_RW, MAP_SHARED, self->fd);
	ASSERT_EQ(NPAGES, zero_run(self->mem, NPAGES));
	ASSERT_EQ(NPAGES, zero_run(self->alias, NPAGES));
}

FIXTURE_TEARDOWN(hmm_dirty)
{
	close(self->fd);
	close(self->dev.fd);
}

static long dirty_run(struct __test_metadata *_metadata, char *mem, long npages)
{
	long i = 0;

	while (i < npages && page_has_flag(_metadata, page_at(mem, i), KPF_DIRTY))
		i++;
	return i;
}

TEST_F(hmm_dirty, told)
{
	ASSERT_EQ(0, dirty_run(_metadata, self->alias, NPAGES));
	ASSERT_EQ(NPAGES, dmirror_write_stamps(&self->dev, self->mem, NPAGES));
	EXPECT_EQ(NPAGES, dmirror_has_written(&self->dev, self->mem, NPAGES));
	ASSERT_EQ(0, dirty_run(_metadata, self->alias, NPAGES));
	ASSERT_TRUE(variant->take(&self->dev, self->mem));
	EXPECT_EQ(NPAGES, dirty_run(_metadata, self->alias, NPAGES));
}

TEST_F(hmm_dirty, swapped_out)
{
	ASSERT_EQ(NPAGES, dmirror_write_stamps(&self->dev, self->mem, NPAGES));
	ASSERT_TRUE(variant->take(&self->dev, self->mem));
	munmap(self->mem, SIZE);
	for (int tries = 0; tries < 3; tries++)
		ASSERT_EQ(0, madvise(self->alias, SIZE, MADV_PAGEOUT));
	EXPECT_EQ(NPAGES, stamp_run(self->alias, NPAGES, TAG_DEVICE));
}

/* Reclaim takes them from the device itself. */
TEST_F(hmm_mirror, dirty_in_reclaim)
{
	int fd;
	char *mem = map_shmem(_metadata, &fd);

	ASSERT_EQ(NPAGES, zero_run(mem, NPAGES));
	ASSERT_EQ(NPAGES, dmirror_write_stamps(&self->dev, mem, NPAGES));
	for (int tries = 0; tries < 3; tries++)
		ASSERT_EQ(0, madvise(mem, SIZE, MADV_PAGEOUT));
	EXPECT_EQ(NPAGES, stamp_run(mem, NPAGES, TAG_DEVICE));
	close(fd);
}

/* What the device has only read is not dirty afterwards. */
TEST_F(hmm_mirror, clean_after_read)
{
	int fd;
	char *mem = map_shmem(_metadata, &fd);
	char *alias = map_pages(_metadata, NPAGES, PROT_RW, MAP_SHARED, fd);

	ASSERT_EQ(NPAGES, zero_run(alias, NPAGES));
	ASSERT_EQ(NPAGES, dmirror_read_zeros(&self->dev, mem, NPAGES));
	ASSERT_EQ(0, munmap(mem, SIZE));
	EXPECT_EQ(0, dirty_run(_metadata, alias, NPAGES));
	close(fd);
}

TEST_F(hmm_mirror, written_file_on_disk)
{
	int fd;
	char *mem = ext4_mirrored(_metadata, &self->dev, &fd);

	ASSERT_EQ(0, munmap(mem, SIZE));
	EXPECT_EQ(NPAGES, file_run_on_disk(fd, NPAGES, TAG_DEVICE));
	close(fd);
}

/* A table of ptes that two processes share, because all of it maps the same hugetlb memory */

static char *map_shared_table(struct __test_metadata *_metadata, int *fd)
{
	const long size = HPAGE_SIZE * HPAGE_PAGES;
	char *mem = map_pages(_metadata, 2 * size / PAGE_SIZE, PROT_NONE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1);

	*fd = memfd_create("hmm-mirror-tests", MFD_CLOEXEC | MFD_HUGETLB | MFD_HUGE_2MB);
	ASSERT_LE(0, *fd);
	ASSERT_EQ(0, ftruncate(*fd, size));
	mem = (char *)(((uintptr_t)mem + size - 1) & -size);
	ASSERT_EQ(mem, mmap(mem, size, PROT_RW, MAP_SHARED | MAP_FIXED | MAP_NORESERVE, *fd, 0));
	return mem;
}

TEST_F(hmm_mirror, hugetlb_table_unshared)
{
	int fd;
	char *mem = map_shared_table(_metadata, &fd);
	struct witness child;

	mirror_all(_metadata, &self->dev, mem);
	child = witness_fork(_metadata, mem, NPAGES, TAG_DEVICE);
	usleep(100000);
	ASSERT_EQ(NPAGES, stamp_run(mem, NPAGES, TAG_DEVICE));
	ASSERT_EQ(NPAGES, dmirror_write_stamps(&self->dev, mem, NPAGES));
	dmirror_forget(&self->dev);
	ASSERT_EQ(0, mprotect(mem, SIZE, PROT_READ));
	EXPECT_EQ(NPAGES, dmirror_told(&self->dev, mem, NPAGES, TOLD_MIGRATE));
	EXPECT_EQ(NPAGES, dmirror_maps(&self->dev, mem, NPAGES, MAPS_NOTHING));
	EXPECT_EQ(NPAGES, dmirror_read_stamps(&self->dev, mem, NPAGES, TAG_DEVICE));
	EXPECT_TRUE(witness_saw_no_change(&child));
	close(fd);
}

TEST_HARNESS_MAIN
