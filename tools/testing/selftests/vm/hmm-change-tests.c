// SPDX-License-Identifier: GPL-2.0
/*
 * Changes of memory that a device has mirrored.
 *
 * In each test the device mirrors memory and one operation changes it. Then the test checks the
 * event that the device was notified of, the access that the device still has, and the content
 * that the device reads and writes. The tests need two nodes, huge pages and shared memory, and
 * fail without them.
 *
 * hmm_change tests anonymous memory (small pages, folios of 64 KiB, THPs), hugetlb memory, shared
 * memory and files, with a device of each type. hmm-mirror-tests and hmm-dirty-tests have the
 * changes that need only one type of device.
 */
#include "../kselftest_harness.h"

#include "hmm-mirror-fixture.h"

/* Kinds of memory, and how changes of them differ */

struct kind {
	char *(*map)(struct __test_metadata *_metadata, int *fd);
	long page;		/* pages that migrate together */
	enum notified read_only;	/* event of mprotect(PROT_READ) */
	enum mapped after_read_only;
	enum notified moved;	/* event of mremap() */
	enum notified forked;
	enum mapped after_fork;
	bool discards;		/* MADV_DONTNEED discards the content */
};

static char *map_anon(struct __test_metadata *_metadata, int *fd)
{
	return map_small(_metadata, NPAGES);
}

#define THP_DIR		"/sys/kernel/mm/transparent_hugepage/"
#define MTHP_ORDER	4

/* Folios of 64 KiB, which PTEs map */
static char *map_mthp(struct __test_metadata *_metadata, int *fd)
{
	char *mem;

	ASSERT_TRUE(write_text(THP_DIR "hugepages-64kB/enabled", "always"));
	ASSERT_TRUE(write_text(THP_DIR "hugepages-2048kB/enabled", "never"));
	mem = map_thp(_metadata, 1);
	memset(mem, 0, SIZE);
	/* Before khugepaged scans the memory: the last of these writes wakes it */
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
	.map = map_anon, .page = 1, .read_only = EVENT_WRITE_PROTECT, .after_read_only = MAPS_RO,
	.moved = EVENT_MUNMAP, .forked = EVENT_FORK, .after_fork = MAPS_RO, .discards = true,
};

static const struct kind mthp = {
	.map = map_mthp, .page = 1 << MTHP_ORDER, .read_only = EVENT_WRITE_PROTECT,
	.after_read_only = MAPS_RO, .moved = EVENT_MUNMAP, .forked = EVENT_FORK,
	.after_fork = MAPS_RO, .discards = true,
};

static const struct kind thp = {
	.map = map_one_thp, .page = NPAGES, .read_only = EVENT_WRITE_PROTECT,
	.after_read_only = MAPS_RO, .moved = EVENT_MUNMAP, .forked = EVENT_FORK,
	.after_fork = MAPS_RO, .discards = true,
};

/* mprotect() may unshare a page table and fork() may copy pages, so both revoke all access. */
static const struct kind hugetlb = {
	.map = map_one_hugetlb, .page = NPAGES, .read_only = EVENT_MIGRATE,
	.after_read_only = MAPS_NOTHING, .moved = EVENT_MIGRATE, .forked = EVENT_MIGRATE,
	.after_fork = MAPS_NOTHING, .discards = true,
};

/* Shared memory stays shared when a process forks. */
static const struct kind shmem = {
	.map = map_shmem, .page = 1, .read_only = EVENT_WRITE_PROTECT, .after_read_only = MAPS_RO,
	.moved = EVENT_MUNMAP, .forked = EVENT_NOTHING, .after_fork = MAPS_RW,
};

static const struct kind file = {
	.map = map_file, .page = 1, .read_only = EVENT_WRITE_PROTECT, .after_read_only = MAPS_RO,
	.moved = EVENT_MUNMAP, .forked = EVENT_NOTHING, .after_fork = MAPS_RW,
};

/* The memory is mirrored for writing, and holds what the device has written. */

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

/* munmap() revokes all access of the device. */
TEST_F(hmm_change, munmap)
{
	ASSERT_EQ(0, munmap(self->mem, SIZE));
	EXPECT_EQ(NPAGES, dmirror_notified(&self->dev, self->mem, NPAGES, EVENT_MUNMAP));
	EXPECT_EQ(NPAGES, dmirror_maps(&self->dev, self->mem, NPAGES, MAPS_NOTHING));
	EXPECT_EQ(-EFAULT, dmirror_read(&self->dev, self->mem, NPAGES));
}

/* mprotect(PROT_READ) revokes write access of the device. */
TEST_F(hmm_change, mprotect_read)
{
	const struct kind *kind = variant->kind;

	ASSERT_EQ(0, mprotect(self->mem, SIZE, PROT_READ));
	EXPECT_EQ(NPAGES, dmirror_notified(&self->dev, self->mem, NPAGES, kind->read_only));
	EXPECT_EQ(NPAGES, dmirror_maps(&self->dev, self->mem, NPAGES, kind->after_read_only));
	EXPECT_EQ(kind->after_read_only == MAPS_NOTHING,
		  dmirror_faults_of(&self->dev, self->mem, NPAGES, dmirror_read));
	EXPECT_EQ(NPAGES, stamp_run(self->dev.buf, NPAGES, TAG_DEVICE));
	EXPECT_EQ(-EPERM, dmirror_write_stamps(&self->dev, self->mem, NPAGES));
}

/* mprotect(PROT_NONE) revokes all access of the device. */
TEST_F(hmm_change, mprotect_none)
{
	ASSERT_EQ(0, mprotect(self->mem, SIZE, PROT_NONE));
	EXPECT_EQ(NPAGES, dmirror_notified(&self->dev, self->mem, NPAGES, EVENT_MIGRATE));
	EXPECT_EQ(NPAGES, dmirror_maps(&self->dev, self->mem, NPAGES, MAPS_NOTHING));
	EXPECT_EQ(-EFAULT, dmirror_read(&self->dev, self->mem, NPAGES));
}

/*
 * mprotect() that restores write permission does not notify the device, which faults when it
 * writes.
 */
TEST_F(hmm_change, mprotect_write_again)
{
	ASSERT_EQ(0, mprotect(self->mem, SIZE, PROT_READ));
	ASSERT_EQ(NPAGES, dmirror_read(&self->dev, self->mem, NPAGES));
	dmirror_forget(&self->dev);
	ASSERT_EQ(0, mprotect(self->mem, SIZE, PROT_RW));
	if (variant->kind != &hugetlb) {
		EXPECT_TRUE(dmirror_not_notified(&self->dev));
		EXPECT_EQ(NPAGES, dmirror_maps(&self->dev, self->mem, NPAGES, MAPS_RO));
	}
	EXPECT_EQ(1, dmirror_faults_of(&self->dev, self->mem, NPAGES, dmirror_write_stamps));
	EXPECT_EQ(NPAGES, stamp_run(self->mem, NPAGES, TAG_DEVICE));
}

/* mremap() revokes access at the old address, and the device reads the content at the new one. */
TEST_F(hmm_change, mremap)
{
	char *area = map_pages(_metadata, 2 * NPAGES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	char *to = (char *)(((uintptr_t)area + SIZE - 1) & -SIZE);

	ASSERT_EQ(to, mremap(self->mem, SIZE, SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, to));
	EXPECT_EQ(NPAGES, dmirror_notified(&self->dev, self->mem, NPAGES, variant->kind->moved));
	EXPECT_EQ(NPAGES, dmirror_maps(&self->dev, self->mem, NPAGES, MAPS_NOTHING));
	EXPECT_EQ(-EFAULT, dmirror_read(&self->dev, self->mem, NPAGES));
	EXPECT_EQ(NPAGES, dmirror_read_stamps(&self->dev, to, NPAGES, TAG_DEVICE));
}

/* MADV_DONTNEED revokes all access, and the device reads what the CPU would read. */
TEST_F(hmm_change, dontneed)
{
	ASSERT_EQ(0, madvise(self->mem, SIZE, MADV_DONTNEED));
	EXPECT_EQ(NPAGES, dmirror_notified(&self->dev, self->mem, NPAGES, EVENT_MIGRATE));
	EXPECT_EQ(NPAGES, dmirror_maps(&self->dev, self->mem, NPAGES, MAPS_NOTHING));
	EXPECT_EQ(NPAGES, variant->kind->discards ?
			  dmirror_read_zeros(&self->dev, self->mem, NPAGES) :
			  dmirror_read_stamps(&self->dev, self->mem, NPAGES, TAG_DEVICE));
}

/* fork() revokes write access to private memory, and the child keeps its content. */
TEST_F(hmm_change, fork)
{
	const struct kind *kind = variant->kind;
	struct witness child = witness_fork(_metadata, self->mem, NPAGES, TAG_DEVICE);

	EXPECT_EQ(kind->forked == EVENT_NOTHING ? 0 : NPAGES,
		  dmirror_notified(&self->dev, self->mem, NPAGES, kind->forked));
	EXPECT_EQ(NPAGES, dmirror_maps(&self->dev, self->mem, NPAGES, kind->after_fork));
	EXPECT_EQ(NPAGES, dmirror_read_stamps(&self->dev, self->mem, NPAGES, TAG_DEVICE));
	EXPECT_TRUE(witness_saw_no_change(&child));
}

/* A migration to another node revokes all access and keeps the content. */
TEST_F(hmm_change, migrated_to_node)
{
	const long page = variant->kind->page;

	ASSERT_EQ(NPAGES, move_to_node(self->mem, NPAGES, page, !node_of(self->mem, 1)));
	EXPECT_EQ(NPAGES, dmirror_notified(&self->dev, self->mem, NPAGES, EVENT_MIGRATE));
	EXPECT_EQ(NPAGES, dmirror_maps(&self->dev, self->mem, NPAGES, MAPS_NOTHING));
	EXPECT_EQ(NPAGES, dmirror_read_stamps(&self->dev, self->mem, NPAGES, TAG_DEVICE));
}

/* MADV_DONTNEED of one page revokes access to its block only. */
TEST_F(hmm_change, one_page_discarded)
{
	const long block = variant->kind->page, i = NPAGES / 2 + 1, first = i / block * block;
	char *mem = self->mem;

	if (variant->kind == &hugetlb)
		return;		/* has no smaller pages */
	ASSERT_EQ(NPAGES, dmirror_maps_order(&self->dev, mem, NPAGES, __builtin_ctzl(block)));
	ASSERT_EQ(0, madvise(page_at(mem, i), PAGE_SIZE, MADV_DONTNEED));
	EXPECT_EQ(1, dmirror_notified(&self->dev, page_at(mem, i), 1, EVENT_MIGRATE));
	EXPECT_EQ(block, dmirror_maps(&self->dev, page_at(mem, first), block, MAPS_NOTHING));
	if (first)
		EXPECT_EQ(first, dmirror_maps(&self->dev, mem, first, MAPS_RW));
	EXPECT_EQ(1, dmirror_faults_of(&self->dev, mem, NPAGES, dmirror_read));
	EXPECT_EQ(variant->kind->discards ? i : NPAGES,
		  stamp_run(self->dev.buf, NPAGES, TAG_DEVICE));
}

/* fork() of a process with 64 MiB of mirrored memory */

#define FORK_PAGES	(32 * HPAGE_PAGES)

FIXTURE(hmm_fork)
{
	struct dmirror dev;
	char *mem;
};

FIXTURE_VARIANT(hmm_fork)
{
	char *(*map)(struct __test_metadata *_metadata);
	bool keeps;	/* the device can read after fork() without a fault */
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

/* fork() revokes all access to private hugetlb memory. */
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

/* After fork() the device reads without a fault, and faults once to write a page. */
TEST_F_TIMEOUT(hmm_fork, device_accesses_after_fork, 120)
{
	struct witness child = witness_fork(_metadata, self->mem, FORK_PAGES, TAG_CPU);
	const enum notified event = variant->keeps ? EVENT_FORK : EVENT_MIGRATE;
	const enum mapped mapped = variant->keeps ? MAPS_RO : MAPS_NOTHING;
	long read, write;

	EXPECT_EQ(FORK_PAGES, dmirror_notified(&self->dev, self->mem, FORK_PAGES, event));
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

/* The child of fork() cannot use the mirror of its parent. */
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

/* Changes in the child do not notify the device of the parent. */
TEST_F(hmm_fork, child_changes_its_copy)
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
	EXPECT_TRUE(dmirror_not_notified(&self->dev));
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

/* A truncation revokes access to the pages that the file loses, and to no others. */
TEST_F(hmm_file, truncated)
{
	ASSERT_EQ(0, ftruncate(self->fd, SIZE / 2));
	EXPECT_EQ(NPAGES / 2, dmirror_notified(&self->dev, page_at(self->mem, NPAGES / 2),
					       NPAGES / 2, EVENT_MIGRATE));
	EXPECT_EQ(NPAGES / 2, dmirror_maps(&self->dev, self->mem, NPAGES / 2, MAPS_RW));
	EXPECT_EQ(-EFAULT, dmirror_read(&self->dev, page_at(self->mem, NPAGES / 2), 1));
	EXPECT_EQ(NPAGES / 2, dmirror_read_stamps(&self->dev, self->mem, NPAGES / 2,
						  TAG_DEVICE));
}

/* A punched hole revokes all access, and the device reads zeros. */
TEST_F(hmm_file, hole_punched)
{
	ASSERT_EQ(0, fallocate(self->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, SIZE));
	EXPECT_EQ(NPAGES, dmirror_notified(&self->dev, self->mem, NPAGES, EVENT_MIGRATE));
	EXPECT_EQ(NPAGES, dmirror_maps(&self->dev, self->mem, NPAGES, MAPS_NOTHING));
	EXPECT_EQ(NPAGES, dmirror_read_zeros(&self->dev, self->mem, NPAGES));
}

/* pwrite() does not notify the device, which sees the new content. */
TEST_F(hmm_file, written_by_pwrite)
{
	ASSERT_EQ(1, pwrite(self->fd, "x", 1, 100));
	EXPECT_TRUE(dmirror_not_notified(&self->dev));
	EXPECT_EQ(1, dmirror_read(&self->dev, self->mem, 1));
	EXPECT_EQ('x', self->dev.buf[100]);
}

TEST_HARNESS_MAIN
