// SPDX-License-Identifier: GPL-2.0
/*
 * Faults of a device, and changes of mirrored memory that the kernel makes by itself or on
 * request: reclaim, MADV_FREE, KSM, MADV_COLLAPSE and the unsharing of hugetlb page tables.
 *
 * The tests need swap, huge pages and KSM, and fail without them.
 */
#include "../kselftest_harness.h"

#include "hmm-mirror-fixture.h"

#define HUGE_ORDER	9

/* Faults of the device */

/* A read fault maps pages read-only and notifies the driver of a read fault. */
TEST_F(hmm_mirror, read_fault)
{
	char *mem = map_small(_metadata, NPAGES);

	stamp_write(mem, NPAGES, TAG_CPU);
	EXPECT_EQ(NPAGES, dmirror_read_stamps(&self->dev, mem, NPAGES, TAG_CPU));
	EXPECT_TRUE(dmirror_notified_of_faults(&self->dev, EVENT_RFAULT));
	EXPECT_EQ(NPAGES, dmirror_maps(&self->dev, mem, NPAGES, MAPS_RO));
	EXPECT_EQ(0, dmirror_faults_of(&self->dev, mem, NPAGES, dmirror_read));
}

/* A write fault maps pages writable and dirty, and notifies the driver of a write fault. */
TEST_F(hmm_mirror, write_fault)
{
	char *mem = map_small(_metadata, NPAGES);

	stamp_write(mem, NPAGES, TAG_CPU);
	ASSERT_EQ(NPAGES, dmirror_read(&self->dev, mem, NPAGES));
	dmirror_forget(&self->dev);
	EXPECT_EQ(NPAGES, dmirror_write_stamps(&self->dev, mem, NPAGES));
	EXPECT_TRUE(dmirror_notified_of_faults(&self->dev, EVENT_WFAULT));
	EXPECT_EQ(NPAGES, dmirror_maps(&self->dev, mem, NPAGES, MAPS_RW));
	EXPECT_EQ(NPAGES, dmirror_has_written(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, stamp_run(mem, NPAGES, TAG_DEVICE));
}

/* A read of the device does not break COW, and a write does. */
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

/* The invalidation of a COW that the device's own fault causes is no collision. */
TEST_F(hmm_mirror, cow_is_no_collision)
{
	char *mem = mirrored(_metadata, &self->dev);
	struct witness child = witness_fork(_metadata, mem, NPAGES, TAG_DEVICE);
	__u64 before = dmirror_stats(&self->dev).collisions;

	EXPECT_EQ(1, dmirror_faults_of(&self->dev, mem, NPAGES, dmirror_write_stamps));
	EXPECT_EQ(before, dmirror_stats(&self->dev).collisions);
	EXPECT_TRUE(witness_saw_no_change(&child));
}

/* A device can map a whole THP as one block, and the next THP stays unmapped. */
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

/* A fault that the driver refuses fails with the errno of the driver and maps nothing. */
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

/* Changes without a callback of the driver */

/* Changes of memory next to a mirrored range do not notify the driver. */
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
	EXPECT_TRUE(dmirror_not_notified(&self->dev));
	EXPECT_LT(skipped, dmirror_stats(&self->dev).callbacks_skipped);
	EXPECT_EQ(0, dmirror_faults_of(&self->dev, page_at(mem, NPAGES), NPAGES,
				       dmirror_write_stamps));
}

/* Changes that revoke write access do not notify a driver that has mirrored read-only. */
TEST_F(hmm_mirror, protection_without_write)
{
	char *mem = map_small(_metadata, NPAGES);
	struct witness child;

	stamp_write(mem, NPAGES, TAG_CPU);
	ASSERT_EQ(NPAGES, dmirror_read(&self->dev, mem, NPAGES));
	dmirror_forget(&self->dev);
	child = witness_fork(_metadata, mem, NPAGES, TAG_CPU);
	ASSERT_EQ(0, mprotect(mem, SIZE, PROT_READ));
	EXPECT_TRUE(dmirror_not_notified(&self->dev));
	EXPECT_EQ(NPAGES, dmirror_maps(&self->dev, mem, NPAGES, MAPS_RO));
	EXPECT_TRUE(witness_saw_no_change(&child));
}

/* Reclaim, KSM and MADV_COLLAPSE */

static void test_reclaim(struct __test_metadata *_metadata, struct dmirror *dev, char *mem)
{
	EXPECT_EQ(NPAGES, dmirror_notified(dev, mem, NPAGES, EVENT_MIGRATE));
	EXPECT_EQ(NPAGES, dmirror_maps(dev, mem, NPAGES, MAPS_NOTHING));
	EXPECT_EQ(1, dmirror_faults_of(dev, mem, NPAGES, dmirror_read));
	EXPECT_EQ(NPAGES, stamp_run(dev->buf, NPAGES, TAG_DEVICE));
}

/* Reclaim of small pages revokes all access, and one fault reads them back. */
TEST_F(hmm_mirror, pageout)
{
	char *mem = mirrored(_metadata, &self->dev);

	swap_out(_metadata, mem, NPAGES);
	test_reclaim(_metadata, &self->dev, mem);
}

/* Reclaim of a THP revokes all access, and one fault reads it back. */
TEST_F(hmm_mirror, pageout_of_thp)
{
	char *mem = map_thp(_metadata, 1);

	mirror_all(_metadata, &self->dev, mem);
	swap_out(_metadata, mem, NPAGES);
	test_reclaim(_metadata, &self->dev, mem);
}

/* Reclaim of shared memory revokes all access, and one fault reads it back. */
TEST_F(hmm_mirror, pageout_of_shmem)
{
	int fd;
	char *mem = map_shmem(_metadata, &fd);

	mirror_all(_metadata, &self->dev, mem);
	reclaim_file(_metadata, mem, NPAGES);
	test_reclaim(_metadata, &self->dev, mem);
	close(fd);
}

/* Reclaim of file pages revokes all access, and one fault reads them back. */
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

/* A write of the device makes a page dirty, and so ends its lazy freeing. */
static void test_madv_free(struct __test_metadata *_metadata, struct dmirror *dev, char *mem)
{
	mirror_all(_metadata, dev, mem);
	ASSERT_EQ(0, madvise(mem, SIZE, MADV_FREE));
	EXPECT_EQ(NPAGES, dmirror_notified(dev, mem, NPAGES, EVENT_MIGRATE));
	EXPECT_EQ(NPAGES, dmirror_maps(dev, mem, NPAGES, MAPS_NOTHING));
	EXPECT_EQ(NPAGES, dmirror_write_stamps(dev, mem, NPAGES));
	swap_out(_metadata, mem, NPAGES);
	EXPECT_EQ(NPAGES, dmirror_read_stamps(dev, mem, NPAGES, TAG_DEVICE));
}

/* What the device writes after MADV_FREE of small pages is kept. */
TEST_F(hmm_mirror, madv_free)
{
	test_madv_free(_metadata, &self->dev, map_small(_metadata, NPAGES));
}

/* What the device writes after MADV_FREE of a THP is kept. */
TEST_F(hmm_mirror, madv_free_of_thp)
{
	test_madv_free(_metadata, &self->dev, map_thp(_metadata, 1));
}

#define KSM_DIR	"/sys/kernel/mm/ksm/"

/* 6.12 reports KPF_KSM for every anonymous page, so compare the page frame numbers. */
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

/* KSM revokes access to the pages that it merges, and a write of the device unshares one page. */
TEST_F_TIMEOUT(hmm_mirror, merged_by_ksm, 120)
{
	const long npages = 16;
	char *mem = map_small(_metadata, npages);

	memset(self->dev.buf, 0x5a, npages * PAGE_SIZE);
	ASSERT_EQ(npages, dmirror_write(&self->dev, mem, npages));
	dmirror_forget(&self->dev);
	ksm_merge(_metadata, mem, npages);
	EXPECT_EQ(npages, dmirror_notified(&self->dev, mem, npages, EVENT_MIGRATE));
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
	EXPECT_EQ(NPAGES, dmirror_notified(dev, mem, NPAGES, EVENT_MIGRATE));
	EXPECT_EQ(NPAGES, dmirror_read_stamps(dev, mem, NPAGES, TAG_DEVICE));
	EXPECT_EQ(NPAGES, dmirror_maps_order(dev, mem, NPAGES, HUGE_ORDER));
}

/* MADV_COLLAPSE revokes access to small pages, and the device maps the THP as one block. */
TEST_F(hmm_mirror, collapse)
{
	char *mem = map_thp(_metadata, 1);

	ASSERT_EQ(0, madvise(mem, SIZE, MADV_NOHUGEPAGE));
	mirror_all(_metadata, &self->dev, mem);
	test_collapse(_metadata, &self->dev, mem);
}

/* MADV_COLLAPSE of shared memory revokes access, and the device maps the THP as one block. */
TEST_F(hmm_mirror, collapse_of_shmem)
{
	char *mem = map_thp(_metadata, 1);
	int fd = shmem_file(_metadata, 0, NPAGES);

	ASSERT_EQ(mem, mmap(mem, SIZE, PROT_RW, MAP_SHARED | MAP_FIXED, fd, 0));
	mirror_all(_metadata, &self->dev, mem);
	test_collapse(_metadata, &self->dev, mem);
	close(fd);
}

/* A hugetlb page table that two processes share, because all of it maps the same file */

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

/* The unsharing of a hugetlb page table revokes all access and keeps the content. */
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
	EXPECT_EQ(NPAGES, dmirror_notified(&self->dev, mem, NPAGES, EVENT_MIGRATE));
	EXPECT_EQ(NPAGES, dmirror_maps(&self->dev, mem, NPAGES, MAPS_NOTHING));
	EXPECT_EQ(NPAGES, dmirror_read_stamps(&self->dev, mem, NPAGES, TAG_DEVICE));
	EXPECT_TRUE(witness_saw_no_change(&child));
	close(fd);
}

TEST_HARNESS_MAIN
