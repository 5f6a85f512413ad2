// SPDX-License-Identifier: GPL-2.0
/*
 * CPU faults of a walk by the device: their number, which is one for each entry that the walk
 * installs, and faults on memory that is registered with a userfaultfd.
 */
#include "../kselftest_harness.h"

#include <sys/resource.h>

#include "hmm-dmirror-expect.h"
#include "hmm-memory.h"
#include "hmm-page-state.h"
#include "hmm-uffd.h"

#define NPAGES		100
#define SHARED_ANON	(MAP_SHARED | MAP_ANONYMOUS)

#define FAULTS_HUGE	32

FIXTURE(hmm_faults)
{
	struct dmirror dev;
};

FIXTURE_VARIANT(hmm_faults)
{
	unsigned long request;
	enum seen huge;
};

FIXTURE_VARIANT_ADD(hmm_faults, read)
{
	.request = HMM_DMIRROR_READ,
	.huge = SEEN_HUGE_RO,
};

FIXTURE_VARIANT_ADD(hmm_faults, write)
{
	.request = HMM_DMIRROR_WRITE,
	.huge = SEEN_HUGE_RW,
};

/* Lock text, stack and buffers in memory, so that the tests count only faults of the walk. */
FIXTURE_SETUP(hmm_faults)
{
	dmirror_open(_metadata, &self->dev, 0, FAULTS_HUGE * HPAGE_PAGES);
	ASSERT_EQ(0, mlockall(MCL_CURRENT));
}

FIXTURE_TEARDOWN(hmm_faults)
{
	close(self->dev.fd);
}

/* The walk runs in the calling thread, whose counters contain the faults of the walk. */
static long faults_so_far(void)
{
	struct rusage usage;

	getrusage(RUSAGE_THREAD, &usage);
	return usage.ru_minflt + usage.ru_majflt;
}

static long faults_of(struct dmirror *dev, unsigned long request, char *mem, long npages)
{
	long start = faults_so_far();
	long ret = dmirror_ioctl(dev, request, mem, npages, dev->buf);

	return ret == npages ? faults_so_far() - start : ret;
}

/* A walk of present pages takes no CPU fault. */
TEST_F(hmm_faults, present)
{
	char *mem = map_small(_metadata, NPAGES);

	stamp_write(mem, NPAGES, TAG_CPU);
	EXPECT_EQ(0, faults_of(&self->dev, variant->request, mem, NPAGES));
}

/* A walk takes one CPU fault for each missing small page. */
TEST_F(hmm_faults, small_hole)
{
	char *mem = map_small(_metadata, NPAGES);

	EXPECT_EQ(NPAGES, faults_of(&self->dev, variant->request, mem, NPAGES));
}

/* A walk takes CPU faults for the missing pages only. */
TEST_F(hmm_faults, holes_between_present_pages)
{
	char *mem = map_small(_metadata, NPAGES);

	for (long i = 0; i < NPAGES; i += 2)
		stamp_write(page_at(mem, i), 1, TAG_CPU);
	EXPECT_EQ(NPAGES / 2, faults_of(&self->dev, variant->request, mem, NPAGES));
}

/* A walk takes one CPU fault for each THP that it faults in. */
TEST_F_TIMEOUT(hmm_faults, thp_hole, 120)
{
	const long npages = FAULTS_HUGE * HPAGE_PAGES;
	char *mem = map_thp(_metadata, FAULTS_HUGE);

	EXPECT_EQ(FAULTS_HUGE, faults_of(&self->dev, variant->request, mem, npages));
	EXPECT_EQ(npages, dmirror_sees(&self->dev, mem, npages, variant->huge));
}

/* A walk takes one CPU fault for each hugetlb page that it faults in. */
TEST_F_TIMEOUT(hmm_faults, hugetlb_hole, 120)
{
	char *mem = map_hugetlb(_metadata, 4, PROT_RW);

	EXPECT_EQ(4, faults_of(&self->dev, variant->request, mem, 4 * HPAGE_PAGES));
	EXPECT_EQ(4 * HPAGE_PAGES,
		  dmirror_sees(&self->dev, mem, 4 * HPAGE_PAGES, variant->huge));
}

/* Walks of memory that is registered with a userfaultfd */

FIXTURE(hmm_walk)
{
	struct dmirror dev;
};

FIXTURE_SETUP(hmm_walk)
{
	dmirror_open(_metadata, &self->dev, PRIVATE, NPAGES);
}

FIXTURE_TEARDOWN(hmm_walk)
{
	close(self->dev.fd);
}

/* A snapshot of memory that is registered with a userfaultfd causes no userfaultfd event. */
TEST_F(hmm_walk, uffd_missing)
{
	char *mem = map_small(_metadata, 2 * NPAGES);
	char *missing = page_at(mem, NPAGES);
	int uffd = uffd_open(_metadata, 0, 0);

	stamp_write(mem, NPAGES, TAG_CPU);
	uffd_register(_metadata, uffd, mem, 2 * NPAGES, UFFDIO_REGISTER_MODE_MISSING);

	EXPECT_EQ(NPAGES, dmirror_sees(&self->dev, missing, NPAGES, SEEN_NONE));
	EXPECT_EQ(NPAGES, dmirror_read_stamps(&self->dev, mem, NPAGES, TAG_CPU));
}

/* A device fault fails with -EFAULT if the userfaultfd has UFFD_FEATURE_SIGBUS. */
TEST_F(hmm_walk, uffd_missing_sigbus)
{
	char *mem = map_small(_metadata, NPAGES);
	int uffd = uffd_open(_metadata, 0, UFFD_FEATURE_SIGBUS);

	uffd_register(_metadata, uffd, mem, NPAGES, UFFDIO_REGISTER_MODE_MISSING);
	EXPECT_EQ(-EFAULT, dmirror_read(&self->dev, mem, NPAGES));
	EXPECT_EQ(-EFAULT, dmirror_write(&self->dev, mem, NPAGES));
}

/* A device fault fails with -EFAULT if the userfaultfd is UFFD_USER_MODE_ONLY. */
TEST_F(hmm_walk, uffd_missing_user_mode_only)
{
	char *mem = map_small(_metadata, NPAGES);
	int uffd = uffd_open(_metadata, UFFD_USER_MODE_ONLY, 0);

	uffd_register(_metadata, uffd, mem, NPAGES, UFFDIO_REGISTER_MODE_MISSING);
	EXPECT_EQ(-EFAULT, dmirror_read(&self->dev, mem, NPAGES));
	EXPECT_EQ(-EFAULT, dmirror_write(&self->dev, mem, NPAGES));
}

/* A page that the file has and the mapping lacks is a minor fault of the userfaultfd. */
TEST_F(hmm_walk, uffd_minor)
{
	int uffd = uffd_open(_metadata, 0, UFFD_FEATURE_MINOR_SHMEM | UFFD_FEATURE_SIGBUS);
	int fd = memfd_create("hmm-tests", MFD_CLOEXEC);
	char *mem, *alias;

	ASSERT_EQ(0, ftruncate(fd, NPAGES * PAGE_SIZE));
	mem = map_pages(_metadata, NPAGES, PROT_RW, MAP_SHARED, fd);
	alias = map_pages(_metadata, NPAGES, PROT_RW, MAP_SHARED, fd);
	stamp_write(alias, NPAGES, TAG_CPU);
	uffd_register(_metadata, uffd, mem, NPAGES, UFFDIO_REGISTER_MODE_MINOR);

	EXPECT_EQ(NPAGES, dmirror_sees(&self->dev, mem, NPAGES, SEEN_NONE));
	EXPECT_EQ(-EFAULT, dmirror_read(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, dmirror_read_stamps(&self->dev, alias, NPAGES, TAG_CPU));
}

/* A page that is write-protected by a userfaultfd is readable, and not writable. */
TEST_F(hmm_walk, uffd_wp_present)
{
	char *mem = map_small(_metadata, NPAGES);
	int uffd = uffd_open(_metadata, 0,
			     UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_SIGBUS);

	stamp_write(mem, NPAGES, TAG_CPU);
	uffd_register(_metadata, uffd, mem, NPAGES, UFFDIO_REGISTER_MODE_WP);
	uffd_write_protect(_metadata, uffd, mem, NPAGES);

	EXPECT_EQ(NPAGES, dmirror_sees(&self->dev, mem, NPAGES, SEEN_RO));
	EXPECT_EQ(NPAGES, dmirror_read_stamps(&self->dev, mem, NPAGES, TAG_CPU));
	EXPECT_EQ(-EFAULT, dmirror_write_stamps(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, stamp_run(mem, NPAGES, TAG_CPU));
}

/* A uffd-wp marker in an empty page table is a hole, and not an error. */
TEST_F(hmm_walk, uffd_wp_marker)
{
	char *mem = map_pages(_metadata, NPAGES, PROT_RW, SHARED_ANON, -1);
	int uffd = uffd_open(_metadata, 0, UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_SIGBUS |
			     UFFD_FEATURE_WP_HUGETLBFS_SHMEM);

	uffd_register(_metadata, uffd, mem, NPAGES, UFFDIO_REGISTER_MODE_WP);
	uffd_write_protect(_metadata, uffd, mem, NPAGES);
	ASSERT_TRUE(is_uffd_wp(_metadata, mem));

	EXPECT_EQ(NPAGES, dmirror_sees(&self->dev, mem, NPAGES, SEEN_NONE));
	EXPECT_EQ(NPAGES, dmirror_read_zeros(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, dmirror_sees(&self->dev, mem, NPAGES, SEEN_RO));
	EXPECT_EQ(-EFAULT, dmirror_write(&self->dev, mem, NPAGES));
}

/* A write of the device removes the write protection of a UFFD_FEATURE_WP_ASYNC userfaultfd. */
TEST_F(hmm_walk, uffd_wp_async)
{
	char *mem = map_pages(_metadata, NPAGES, PROT_RW, SHARED_ANON, -1);
	int uffd = uffd_open(_metadata, 0, UFFD_FEATURE_PAGEFAULT_FLAG_WP |
			     UFFD_FEATURE_WP_HUGETLBFS_SHMEM | UFFD_FEATURE_WP_ASYNC);

	uffd_register(_metadata, uffd, mem, NPAGES, UFFDIO_REGISTER_MODE_WP);
	uffd_write_protect(_metadata, uffd, mem, NPAGES);
	ASSERT_TRUE(is_uffd_wp(_metadata, mem));

	EXPECT_EQ(NPAGES, dmirror_write_stamps(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, dmirror_sees(&self->dev, mem, NPAGES, SEEN_RW));
	EXPECT_EQ(NPAGES, stamp_run(mem, NPAGES, TAG_DEVICE));
}

/* A device access to a page that UFFDIO_POISON has marked fails with -EFAULT. */
TEST_F(hmm_walk, uffd_poison_marker)
{
	char *mem = map_small(_metadata, 2 * NPAGES);
	char *bad = page_at(mem, NPAGES);
	int uffd = uffd_open(_metadata, 0, UFFD_FEATURE_POISON);

	stamp_write(mem, NPAGES, TAG_CPU);
	uffd_register(_metadata, uffd, mem, 2 * NPAGES, UFFDIO_REGISTER_MODE_MISSING);
	uffd_poison(_metadata, uffd, bad, NPAGES);

	EXPECT_EQ(NPAGES, dmirror_sees(&self->dev, bad, NPAGES, SEEN_ERROR));
	EXPECT_EQ(-EFAULT, dmirror_read(&self->dev, bad, 1));
	EXPECT_EQ(-EFAULT, dmirror_write(&self->dev, mem, 2 * NPAGES));
	EXPECT_EQ(NPAGES, dmirror_read_stamps(&self->dev, mem, NPAGES, TAG_CPU));
}

TEST_HARNESS_MAIN
