// SPDX-License-Identifier: GPL-2.0
/*
 * Tracking of writes by a device: soft-dirty, userfaultfd write protection, writeback, and dirty
 * pages that only the device has written.
 */
#include "../kselftest_harness.h"

#include <linux/fs.h>

#include "hmm-mirror-fixture.h"

/* Soft-dirty and userfaultfd write protection */

/* @block: pages that become soft-dirty together */
static void test_soft_dirty(struct __test_metadata *_metadata, struct dmirror *dev, char *mem,
			    long block)
{
	mirror_all(_metadata, dev, mem);
	ASSERT_TRUE(write_text("/proc/self/clear_refs", "4"));
	EXPECT_EQ(NPAGES, dmirror_notified(dev, mem, NPAGES, EVENT_ISDIRTY));
	EXPECT_EQ(NPAGES, dmirror_maps(dev, mem, NPAGES, MAPS_RO));
	EXPECT_EQ(0, dmirror_faults_of(dev, mem, NPAGES, dmirror_read));
	EXPECT_FALSE(is_soft_dirty(_metadata, mem));
	EXPECT_EQ(1, dmirror_write_stamps(dev, mem, 1));
	EXPECT_TRUE(is_soft_dirty(_metadata, mem));
	EXPECT_EQ(block > 1, is_soft_dirty(_metadata, page_at(mem, 1)));
}

/* After clear_refs a write of the device makes a small page soft-dirty. */
TEST_F(hmm_mirror, soft_dirty)
{
	test_soft_dirty(_metadata, &self->dev, map_small(_metadata, NPAGES), 1);
}

/* After clear_refs a write of the device to one page makes the THP soft-dirty. */
TEST_F(hmm_mirror, soft_dirty_of_thp)
{
	test_soft_dirty(_metadata, &self->dev, map_thp(_metadata, 1), NPAGES);
}

/* After clear_refs a write of the device makes a page of shared memory soft-dirty. */
TEST_F(hmm_mirror, soft_dirty_of_shmem)
{
	int fd;

	test_soft_dirty(_metadata, &self->dev, map_shmem(_metadata, &fd), 1);
	close(fd);
}

/* After clear_refs a write of the device makes a page of a file soft-dirty. */
TEST_F(hmm_mirror, soft_dirty_of_file)
{
	int fd;

	test_soft_dirty(_metadata, &self->dev, map_file(_metadata, &fd), 1);
	close(fd);
}

/* Returns the number of pages that were written since the last scan, and write-protects them. */
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

/* PAGEMAP_SCAN reports exactly the pages that the device has written since the last scan. */
TEST_F(hmm_mirror, pagemap_scan)
{
	char *mem = map_small(_metadata, NPAGES);
	int uffd = uffd_open(_metadata, 0, WP_ASYNC);

	uffd_register(_metadata, uffd, mem, NPAGES, UFFDIO_REGISTER_MODE_WP);
	mirror_all(_metadata, &self->dev, mem);
	EXPECT_EQ(NPAGES, pagemap_scan(mem, NPAGES));
	EXPECT_EQ(NPAGES, dmirror_notified(&self->dev, mem, NPAGES, EVENT_WRITE_PROTECT));
	EXPECT_EQ(NPAGES, dmirror_maps(&self->dev, mem, NPAGES, MAPS_RO));
	EXPECT_EQ(0, dmirror_faults_of(&self->dev, mem, NPAGES, dmirror_read));
	EXPECT_EQ(0, pagemap_scan(mem, NPAGES));
	EXPECT_EQ(3, dmirror_write_stamps(&self->dev, page_at(mem, 5), 3));
	EXPECT_EQ(3, pagemap_scan(mem, NPAGES));
	close(uffd);
}

/* PAGEMAP_SCAN of two VMAs revokes all access, because the event describes the first VMA only. */
TEST_F(hmm_mirror, pagemap_scan_of_two_vmas)
{
	char *mem = map_small(_metadata, NPAGES);
	int uffd = uffd_open(_metadata, 0, WP_ASYNC);

	uffd_register(_metadata, uffd, mem, NPAGES, UFFDIO_REGISTER_MODE_WP);
	ASSERT_EQ(0, madvise(page_at(mem, NPAGES / 2), SIZE / 2, MADV_DONTFORK));
	mirror_all(_metadata, &self->dev, mem);
	EXPECT_EQ(NPAGES, pagemap_scan(mem, NPAGES));
	EXPECT_EQ(NPAGES, dmirror_notified(&self->dev, mem, NPAGES, EVENT_MIGRATE));
	EXPECT_EQ(NPAGES, dmirror_maps(&self->dev, mem, NPAGES, MAPS_NOTHING));
	EXPECT_EQ(NPAGES, dmirror_read_stamps(&self->dev, mem, NPAGES, TAG_DEVICE));
	close(uffd);
}

/* For hugetlb memory the kernel may unshare a page table, so the event revokes all access. */
static void test_uffd_wp(struct __test_metadata *_metadata, struct dmirror *dev, char *mem,
			 enum notified event, enum mapped mapped)
{
	int uffd = uffd_open(_metadata, 0, WP_ASYNC);

	uffd_register(_metadata, uffd, mem, NPAGES, UFFDIO_REGISTER_MODE_WP);
	mirror_all(_metadata, dev, mem);
	uffd_write_protect(_metadata, uffd, mem, NPAGES);
	EXPECT_EQ(NPAGES, dmirror_notified(dev, mem, NPAGES, event));
	EXPECT_EQ(NPAGES, dmirror_maps(dev, mem, NPAGES, mapped));
	EXPECT_EQ(mapped == MAPS_NOTHING, dmirror_faults_of(dev, mem, NPAGES, dmirror_read));
	EXPECT_EQ(NPAGES, stamp_run(dev->buf, NPAGES, TAG_DEVICE));
	EXPECT_TRUE(is_uffd_wp(_metadata, mem));
	EXPECT_EQ(1, dmirror_write_stamps(dev, mem, 1));
	EXPECT_FALSE(is_uffd_wp(_metadata, mem));
	close(uffd);
}

/* A write of the device removes an asynchronous write protection of small pages. */
TEST_F(hmm_mirror, uffd_wp)
{
	test_uffd_wp(_metadata, &self->dev, map_small(_metadata, NPAGES), EVENT_WRITE_PROTECT,
		     MAPS_RO);
}

/* A write of the device removes an asynchronous write protection of a THP. */
TEST_F(hmm_mirror, uffd_wp_of_thp)
{
	test_uffd_wp(_metadata, &self->dev, map_thp(_metadata, 1), EVENT_WRITE_PROTECT, MAPS_RO);
}

/*
 * A write of the device removes an asynchronous write protection of hugetlb memory, which has
 * revoked all access.
 */
TEST_F(hmm_mirror, uffd_wp_of_hugetlb)
{
	test_uffd_wp(_metadata, &self->dev, map_hugetlb(_metadata, 1, PROT_RW), EVENT_MIGRATE,
		     MAPS_NOTHING);
}

/* A write of the device removes an asynchronous write protection of shared memory. */
TEST_F(hmm_mirror, uffd_wp_of_shmem)
{
	int fd;

	test_uffd_wp(_metadata, &self->dev, map_shmem(_metadata, &fd), EVENT_WRITE_PROTECT,
		     MAPS_RO);
	close(fd);
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

/* Each writeback revokes write access, and what the device writes between them reaches the disk. */
TEST_F(hmm_mirror, writeback)
{
	int fd;
	char *mem = ext4_mirrored(_metadata, &self->dev, &fd);

	for (int round = 0; round < 2; round++) {
		ASSERT_EQ(0, msync(mem, SIZE, MS_SYNC));
		EXPECT_EQ(NPAGES, dmirror_notified(&self->dev, mem, NPAGES, EVENT_WRITE_PROTECT));
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
 * Dirty pages. A CPU read of shared memory maps the page writable. After that, only the device
 * can report that it has written to the page. The kernel discards a page instead of swapping it
 * out if nothing has marked it dirty.
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

/* A page that only the device has written is dirty after the access is revoked. */
TEST_F(hmm_dirty, page_is_dirty)
{
	ASSERT_EQ(0, dirty_run(_metadata, self->alias, NPAGES));
	ASSERT_EQ(NPAGES, dmirror_write_stamps(&self->dev, self->mem, NPAGES));
	EXPECT_EQ(NPAGES, dmirror_has_written(&self->dev, self->mem, NPAGES));
	ASSERT_EQ(0, dirty_run(_metadata, self->alias, NPAGES));
	ASSERT_TRUE(variant->take(&self->dev, self->mem));
	EXPECT_EQ(NPAGES, dirty_run(_metadata, self->alias, NPAGES));
}

/* A page that only the device has written is swapped out, and not discarded. */
TEST_F(hmm_dirty, content_survives_swap)
{
	ASSERT_EQ(NPAGES, dmirror_write_stamps(&self->dev, self->mem, NPAGES));
	ASSERT_TRUE(variant->take(&self->dev, self->mem));
	munmap(self->mem, SIZE);
	for (int tries = 0; tries < 3; tries++)
		ASSERT_EQ(0, madvise(self->alias, SIZE, MADV_PAGEOUT));
	EXPECT_EQ(NPAGES, stamp_run(self->alias, NPAGES, TAG_DEVICE));
}

/* Reclaim swaps out pages that only the device has written. */
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

/* Pages that the device has only read are not dirty. */
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

/* What the device has written to a file mapping reaches the disk. */
TEST_F(hmm_mirror, written_file_on_disk)
{
	int fd;
	char *mem = ext4_mirrored(_metadata, &self->dev, &fd);

	ASSERT_EQ(0, munmap(mem, SIZE));
	EXPECT_EQ(NPAGES, file_run_on_disk(fd, NPAGES, TAG_DEVICE));
	close(fd);
}

TEST_HARNESS_MAIN
