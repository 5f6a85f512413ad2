// SPDX-License-Identifier: GPL-2.0
/*
 * What a device sees of a process's memory, state by state.
 *
 * Each test makes one state of the CPU page table, then looks at it in the three ways a device
 * can: a snapshot (nothing requested), a read (fault requested), a write (write requested).
 * What a state needs from the machine (swap, huge pages, secretmem, soft-reserved memory) is not
 * optional: a test that cannot make its state fails, since nothing has been learnt about it.
 */
#include "../kselftest_harness.h"

#include <pthread.h>
#include <stdatomic.h>

#include "hmm-dmirror.h"

/* More than one chunk of the device's range faults, and not a multiple of it. */
#define NPAGES		100
#define SHARED_ANON	(MAP_SHARED | MAP_ANONYMOUS)
#define PRIVATE_ANON	(MAP_PRIVATE | MAP_ANONYMOUS)

FIXTURE(hmm)
{
	struct dmirror dev;
};

FIXTURE_SETUP(hmm)
{
	dmirror_open(_metadata, &self->dev, 0, HPAGE_PAGES);
}

FIXTURE_TEARDOWN(hmm)
{
	close(self->dev.fd);
}

/* Holes, and addresses that nothing is mapped at */

TEST_F(hmm, hole_read)
{
	char *mem = map_small(_metadata, NPAGES);

	EXPECT_EQ(NPAGES, dmirror_sees(&self->dev, mem, NPAGES, SEEN_NONE));
	ASSERT_EQ(NPAGES, dmirror_read_zeros(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, dmirror_sees(&self->dev, mem, NPAGES, SEEN_ZERO));
}

TEST_F(hmm, hole_write)
{
	char *mem = map_small(_metadata, NPAGES);

	ASSERT_EQ(NPAGES, dmirror_write_stamps(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, dmirror_sees(&self->dev, mem, NPAGES, SEEN_RW));
	EXPECT_EQ(NPAGES, stamp_run(mem, NPAGES, TAG_DEVICE));
}

TEST_F(hmm, snapshot_leaves_holes_alone)
{
	char *mem = map_small(_metadata, NPAGES);
	unsigned char seen[NPAGES];

	for (long i = 0; i < NPAGES; i += 2)
		stamp_write(page_at(mem, i), 1, TAG_CPU);
	ASSERT_EQ(NPAGES, dmirror_snapshot(&self->dev, mem, NPAGES, seen));
	ASSERT_EQ(NPAGES, dmirror_snapshot(&self->dev, mem, NPAGES, seen));
	for (long i = 0; i < NPAGES; i++)
		EXPECT_EQ(i % 2 ? SEEN_NONE : SEEN_RW, seen[i]);
}

TEST_F(hmm, holes_between_present_pages)
{
	char *mem = map_small(_metadata, NPAGES);

	for (long i = 0; i < NPAGES; i += 2)
		stamp_write(page_at(mem, i), 1, TAG_CPU);
	ASSERT_EQ(NPAGES, dmirror_read(&self->dev, mem, NPAGES));
	for (long i = 0; i < NPAGES; i += 2) {
		EXPECT_EQ(1, stamp_run(page_at(self->dev.buf, i), 1, TAG_CPU));
		EXPECT_EQ(1, zero_run(page_at(self->dev.buf, i + 1), 1));
	}
}

TEST_F(hmm, no_vma)
{
	unsigned char seen[3];
	char *mem = map_small(_metadata, 3);

	stamp_write(mem, 3, TAG_CPU);
	ASSERT_EQ(0, munmap(page_at(mem, 1), PAGE_SIZE));

	ASSERT_EQ(3, dmirror_snapshot(&self->dev, mem, 3, seen));
	EXPECT_EQ(SEEN_RW, seen[0]);
	EXPECT_EQ(SEEN_ERROR, seen[1]);
	EXPECT_EQ(SEEN_RW, seen[2]);
	EXPECT_EQ(-EFAULT, dmirror_read(&self->dev, mem, 3));
	EXPECT_EQ(-EFAULT, dmirror_write(&self->dev, page_at(mem, 1), 1));
	EXPECT_EQ(1, dmirror_read_stamps(&self->dev, mem, 1, TAG_CPU));
}

/* The CPU's own touch in the end shows that the mapping could have grown. */
TEST_F(hmm, stack_does_not_grow)
{
	const long room = 1024;
	char *area = map_small(_metadata, room + 1);
	char *stack = page_at(area, room);
	char *below = page_at(stack, -1);

	ASSERT_EQ(0, munmap(area, (room + 1) * PAGE_SIZE));
	ASSERT_EQ(stack, mmap(stack, PAGE_SIZE, PROT_RW,
			      PRIVATE_ANON | MAP_GROWSDOWN | MAP_FIXED_NOREPLACE, -1, 0));

	EXPECT_EQ(1, dmirror_write_stamps(&self->dev, stack, 1));
	EXPECT_EQ(-EFAULT, dmirror_read(&self->dev, below, 1));
	EXPECT_EQ(-EFAULT, dmirror_write(&self->dev, below, 2));
	EXPECT_EQ(1, dmirror_sees(&self->dev, below, 1, SEEN_ERROR));
	stamp_write(below, 1, TAG_CPU);
	EXPECT_EQ(1, dmirror_read_stamps(&self->dev, below, 1, TAG_CPU));
}

/* Permissions of the mapping */

TEST_F(hmm, prot_none)
{
	char *mem = map_small(_metadata, NPAGES);

	stamp_write(mem, NPAGES, TAG_CPU);
	ASSERT_EQ(0, mprotect(mem, NPAGES * PAGE_SIZE, PROT_NONE));

	EXPECT_EQ(NPAGES, dmirror_sees(&self->dev, mem, NPAGES, SEEN_ERROR));
	EXPECT_EQ(-EFAULT, dmirror_read(&self->dev, mem, NPAGES));
	EXPECT_EQ(-EFAULT, dmirror_write(&self->dev, mem, NPAGES));
}

TEST_F(hmm, prot_none_in_the_middle)
{
	char *mem = map_small(_metadata, 20);

	stamp_write(mem, 20, TAG_CPU);
	ASSERT_EQ(0, mprotect(page_at(mem, 10), PAGE_SIZE, PROT_NONE));

	EXPECT_EQ(10, dmirror_sees(&self->dev, mem, 10, SEEN_RW));
	EXPECT_EQ(1, dmirror_sees(&self->dev, page_at(mem, 10), 1, SEEN_ERROR));
	EXPECT_EQ(9, dmirror_sees(&self->dev, page_at(mem, 11), 9, SEEN_RW));
	EXPECT_EQ(-EFAULT, dmirror_read(&self->dev, mem, 20));
	EXPECT_EQ(10, dmirror_read_stamps(&self->dev, mem, 10, TAG_CPU));
}

TEST_F(hmm, read_only_present)
{
	char *mem = map_small(_metadata, NPAGES);

	stamp_write(mem, NPAGES, TAG_CPU);
	ASSERT_EQ(0, mprotect(mem, NPAGES * PAGE_SIZE, PROT_READ));

	EXPECT_EQ(NPAGES, dmirror_sees(&self->dev, mem, NPAGES, SEEN_RO));
	EXPECT_EQ(NPAGES, dmirror_read_stamps(&self->dev, mem, NPAGES, TAG_CPU));
	EXPECT_EQ(-EPERM, dmirror_write_stamps(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, stamp_run(mem, NPAGES, TAG_CPU));
}

TEST_F(hmm, read_only_hole)
{
	char *mem = map_small(_metadata, NPAGES);

	ASSERT_EQ(0, mprotect(mem, NPAGES * PAGE_SIZE, PROT_READ));

	EXPECT_EQ(-EPERM, dmirror_write_stamps(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, dmirror_sees(&self->dev, mem, NPAGES, SEEN_NONE));
	EXPECT_EQ(NPAGES, dmirror_read_zeros(&self->dev, mem, NPAGES));
}

TEST_F(hmm, permission_comes_back)
{
	char *mem = map_small(_metadata, NPAGES);

	stamp_write(mem, NPAGES, TAG_CPU);
	ASSERT_EQ(0, mprotect(mem, NPAGES * PAGE_SIZE, PROT_READ));
	ASSERT_EQ(-EPERM, dmirror_write_stamps(&self->dev, mem, NPAGES));
	ASSERT_EQ(0, mprotect(mem, NPAGES * PAGE_SIZE, PROT_RW));

	EXPECT_EQ(NPAGES, dmirror_write_stamps(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, stamp_run(mem, NPAGES, TAG_DEVICE));
}

/* Anonymous, private file, shared memory, read-only: four VMAs in one range. */
TEST_F(hmm, several_vmas)
{
	const long part = 20, all = 4 * part;
	char *mem = map_small(_metadata, all);
	int fd = scratch_file(_metadata, part);

	ASSERT_NE(MAP_FAILED, mmap(page_at(mem, part), part * PAGE_SIZE, PROT_RW,
				   MAP_PRIVATE | MAP_FIXED, fd, 0));
	ASSERT_NE(MAP_FAILED, mmap(page_at(mem, 2 * part), part * PAGE_SIZE, PROT_RW,
				   SHARED_ANON | MAP_FIXED, -1, 0));
	stamp_write(mem, all, TAG_CPU);
	ASSERT_EQ(0, mprotect(page_at(mem, 3 * part), part * PAGE_SIZE, PROT_READ));

	EXPECT_EQ(3 * part, dmirror_sees(&self->dev, mem, 3 * part, SEEN_RW));
	EXPECT_EQ(part, dmirror_sees(&self->dev, page_at(mem, 3 * part), part, SEEN_RO));
	EXPECT_EQ(all, dmirror_read_stamps(&self->dev, mem, all, TAG_CPU));
	EXPECT_EQ(-EPERM, dmirror_write_stamps(&self->dev, mem, all));
	EXPECT_EQ(3 * part, dmirror_write_stamps(&self->dev, mem, 3 * part));
	EXPECT_EQ(3 * part, stamp_run(mem, all, TAG_DEVICE));
}

TEST_F(hmm, last_page)
{
	char *mem = map_small(_metadata, NPAGES + 1);
	char *last = page_at(mem, NPAGES - 1);

	ASSERT_EQ(0, munmap(page_at(mem, NPAGES), PAGE_SIZE));

	EXPECT_EQ(1, dmirror_write_stamps(&self->dev, last, 1));
	EXPECT_EQ(1, dmirror_sees(&self->dev, last, 1, SEEN_RW));
	EXPECT_EQ(NPAGES - 1, dmirror_sees(&self->dev, mem, NPAGES - 1, SEEN_NONE));
	EXPECT_EQ(-EFAULT, dmirror_read(&self->dev, last, 2));
	EXPECT_EQ(1, stamp_run(last, 1, TAG_DEVICE));
}

/* Small anonymous pages */

TEST_F(hmm, present)
{
	char *mem = map_small(_metadata, NPAGES);

	stamp_write(mem, NPAGES, TAG_CPU);
	EXPECT_EQ(NPAGES, dmirror_sees(&self->dev, mem, NPAGES, SEEN_RW));
	EXPECT_EQ(NPAGES, dmirror_read_stamps(&self->dev, mem, NPAGES, TAG_CPU));
	EXPECT_EQ(NPAGES, dmirror_write_stamps(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, stamp_run(mem, NPAGES, TAG_DEVICE));
}

TEST_F(hmm, zero_page)
{
	char *mem = map_small(_metadata, NPAGES);

	ASSERT_EQ(NPAGES, zero_run(mem, NPAGES));
	EXPECT_EQ(NPAGES, dmirror_sees(&self->dev, mem, NPAGES, SEEN_ZERO));
	EXPECT_EQ(NPAGES, dmirror_read_zeros(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, dmirror_sees(&self->dev, mem, NPAGES, SEEN_ZERO));
	EXPECT_EQ(NPAGES, dmirror_write_stamps(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, dmirror_sees(&self->dev, mem, NPAGES, SEEN_RW));
	EXPECT_EQ(NPAGES, stamp_run(mem, NPAGES, TAG_DEVICE));
}

TEST_F(hmm, cow_after_fork)
{
	char *mem = map_small(_metadata, NPAGES);
	struct witness child;

	stamp_write(mem, NPAGES, TAG_CPU);
	child = witness_fork(_metadata, mem, NPAGES, TAG_CPU);

	EXPECT_EQ(NPAGES, dmirror_sees(&self->dev, mem, NPAGES, SEEN_RO));
	EXPECT_EQ(NPAGES, dmirror_write_stamps(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, dmirror_sees(&self->dev, mem, NPAGES, SEEN_RW));
	EXPECT_EQ(NPAGES, stamp_run(mem, NPAGES, TAG_DEVICE));
	EXPECT_TRUE(witness_saw_no_change(&child));
}

TEST_F(hmm, swapped_out_read)
{
	char *mem = map_small(_metadata, NPAGES);

	stamp_write(mem, NPAGES, TAG_CPU);
	swap_out(_metadata, mem, NPAGES);

	EXPECT_EQ(NPAGES, dmirror_sees(&self->dev, mem, NPAGES, SEEN_NONE));
	EXPECT_EQ(NPAGES, dmirror_read_stamps(&self->dev, mem, NPAGES, TAG_CPU));
}

TEST_F(hmm, swapped_out_write)
{
	char *mem = map_small(_metadata, NPAGES);

	stamp_write(mem, NPAGES, TAG_CPU);
	swap_out(_metadata, mem, NPAGES);

	EXPECT_EQ(NPAGES / 2, dmirror_write_stamps(&self->dev, mem, NPAGES / 2));
	EXPECT_EQ(NPAGES / 2, dmirror_sees(&self->dev, mem, NPAGES / 2, SEEN_RW));
	EXPECT_EQ(NPAGES / 2, stamp_run(mem, NPAGES, TAG_DEVICE));
}

TEST_F(hmm, poisoned_page)
{
	char *mem = map_small(_metadata, 11);
	char *bad = page_at(mem, 5), *beyond = page_at(mem, 6);
	__u64 pfn;

	stamp_write(mem, 6, TAG_CPU);
	stamp_write(beyond, 5, TAG_CPU);
	pfn = page_poison(_metadata, bad, PAGE_SIZE);

	EXPECT_EQ(1, dmirror_sees(&self->dev, bad, 1, SEEN_ERROR));
	EXPECT_EQ(-EFAULT, dmirror_read(&self->dev, mem, 11));
	EXPECT_EQ(-EFAULT, dmirror_write(&self->dev, bad, 1));
	EXPECT_EQ(5, dmirror_read_stamps(&self->dev, mem, 5, TAG_CPU));
	EXPECT_EQ(5, dmirror_read_stamps(&self->dev, beyond, 5, TAG_CPU));

	ASSERT_EQ(0, munmap(mem, 11 * PAGE_SIZE));
	page_unpoison(_metadata, pfn);
}

/* Transparent huge pages */

TEST_F(hmm, thp_present)
{
	char *mem = map_thp(_metadata, 3);
	char *cut = page_at(mem, 7);
	long npages = 3 * HPAGE_PAGES - 7 - 5;

	stamp_write(mem, 3 * HPAGE_PAGES, TAG_CPU);
	EXPECT_EQ(npages, dmirror_sees(&self->dev, cut, npages, SEEN_HUGE_RW));
}

TEST_F(hmm, thp_access)
{
	char *mem = map_thp(_metadata, 1);

	stamp_write(mem, HPAGE_PAGES, TAG_CPU);
	EXPECT_EQ(HPAGE_PAGES, dmirror_read_stamps(&self->dev, mem, HPAGE_PAGES, TAG_CPU));
	EXPECT_EQ(HPAGE_PAGES, dmirror_write_stamps(&self->dev, mem, HPAGE_PAGES));
	EXPECT_EQ(HPAGE_PAGES, dmirror_sees(&self->dev, mem, HPAGE_PAGES, SEEN_HUGE_RW));
	EXPECT_EQ(HPAGE_PAGES, stamp_run(mem, HPAGE_PAGES, TAG_DEVICE));
}

TEST_F(hmm, thp_hole)
{
	char *mem = map_thp(_metadata, 1);

	EXPECT_EQ(HPAGE_PAGES, dmirror_sees(&self->dev, mem, HPAGE_PAGES, SEEN_NONE));
	EXPECT_EQ(1, dmirror_write_stamps(&self->dev, page_at(mem, 77), 1));
	EXPECT_EQ(HPAGE_PAGES, dmirror_sees(&self->dev, mem, HPAGE_PAGES, SEEN_HUGE_RW));
	EXPECT_EQ(1, stamp_run(page_at(mem, 77), 1, TAG_DEVICE));
}

TEST_F(hmm, huge_zero_page)
{
	char *mem = map_thp(_metadata, 1);

	ASSERT_EQ(HPAGE_PAGES, zero_run(mem, HPAGE_PAGES));
	EXPECT_EQ(HPAGE_PAGES, dmirror_sees(&self->dev, mem, HPAGE_PAGES, SEEN_HUGE_RO));
	EXPECT_EQ(HPAGE_PAGES, dmirror_read_zeros(&self->dev, mem, HPAGE_PAGES));
	EXPECT_EQ(HPAGE_PAGES, dmirror_sees(&self->dev, mem, HPAGE_PAGES, SEEN_HUGE_RO));
}

TEST_F(hmm, huge_zero_page_write)
{
	char *mem = map_thp(_metadata, 1);
	char *page = page_at(mem, 100);

	ASSERT_EQ(HPAGE_PAGES, zero_run(mem, HPAGE_PAGES));
	EXPECT_EQ(1, dmirror_write_stamps(&self->dev, page, 1));
	EXPECT_EQ(1, dmirror_sees_writable(&self->dev, page, 1));
	EXPECT_EQ(1, stamp_run(page, 1, TAG_DEVICE));
	EXPECT_EQ(100, zero_run(mem, HPAGE_PAGES));
	EXPECT_EQ(HPAGE_PAGES - 101, zero_run(page_at(mem, 101), HPAGE_PAGES - 101));
}

TEST_F(hmm, thp_mapped_by_ptes)
{
	char *mem = map_thp(_metadata, 1);
	const long middle = HPAGE_PAGES / 2, rest = HPAGE_PAGES - middle - 1;

	stamp_write(mem, HPAGE_PAGES, TAG_CPU);
	ASSERT_EQ(0, mprotect(page_at(mem, middle), PAGE_SIZE, PROT_READ));
	ASSERT_TRUE(page_has_flag(_metadata, mem, KPF_THP));

	EXPECT_EQ(middle, dmirror_sees(&self->dev, mem, middle, SEEN_RW));
	EXPECT_EQ(1, dmirror_sees(&self->dev, page_at(mem, middle), 1, SEEN_RO));
	EXPECT_EQ(rest, dmirror_sees(&self->dev, page_at(mem, middle + 1), rest, SEEN_RW));
	EXPECT_EQ(HPAGE_PAGES, dmirror_read_stamps(&self->dev, mem, HPAGE_PAGES, TAG_CPU));
	EXPECT_EQ(-EPERM, dmirror_write(&self->dev, mem, HPAGE_PAGES));
}

TEST_F(hmm, thp_with_a_hole)
{
	char *mem = map_thp(_metadata, 1);
	char *hole = page_at(mem, 33);

	stamp_write(mem, HPAGE_PAGES, TAG_CPU);
	ASSERT_EQ(0, madvise(hole, PAGE_SIZE, MADV_DONTNEED));

	EXPECT_EQ(33, dmirror_sees(&self->dev, mem, 33, SEEN_RW));
	EXPECT_EQ(1, dmirror_sees(&self->dev, hole, 1, SEEN_NONE));
	EXPECT_EQ(33, dmirror_read_stamps(&self->dev, mem, HPAGE_PAGES, TAG_CPU));
	EXPECT_EQ(1, zero_run(page_at(self->dev.buf, 33), 1));
}

TEST_F(hmm, thp_cow_after_fork)
{
	char *mem = map_thp(_metadata, 1);
	struct witness child;

	stamp_write(mem, HPAGE_PAGES, TAG_CPU);
	child = witness_fork(_metadata, mem, HPAGE_PAGES, TAG_CPU);

	EXPECT_EQ(HPAGE_PAGES, dmirror_sees(&self->dev, mem, HPAGE_PAGES, SEEN_HUGE_RO));
	EXPECT_EQ(HPAGE_PAGES, dmirror_write_stamps(&self->dev, mem, HPAGE_PAGES));
	EXPECT_EQ(HPAGE_PAGES, dmirror_sees_writable(&self->dev, mem, HPAGE_PAGES));
	EXPECT_EQ(HPAGE_PAGES, stamp_run(mem, HPAGE_PAGES, TAG_DEVICE));
	EXPECT_TRUE(witness_saw_no_change(&child));
}

/* hugetlb */

TEST_F(hmm, hugetlb_present)
{
	char *mem = map_hugetlb(_metadata, 2, PROT_RW);
	long npages = 2 * HPAGE_PAGES - 7 - 5;

	stamp_write(mem, 2 * HPAGE_PAGES, TAG_CPU);
	EXPECT_EQ(npages, dmirror_sees(&self->dev, page_at(mem, 7), npages, SEEN_HUGE_RW));
	EXPECT_EQ(HPAGE_PAGES, dmirror_read_stamps(&self->dev, mem, HPAGE_PAGES, TAG_CPU));
	EXPECT_EQ(HPAGE_PAGES, dmirror_write_stamps(&self->dev, mem, HPAGE_PAGES));
	EXPECT_EQ(HPAGE_PAGES, stamp_run(mem, 2 * HPAGE_PAGES, TAG_DEVICE));
}

TEST_F(hmm, hugetlb_hole)
{
	char *mem = map_hugetlb(_metadata, 2, PROT_RW);
	char *second = mem + HPAGE_SIZE;

	EXPECT_EQ(HPAGE_PAGES, dmirror_sees(&self->dev, mem, HPAGE_PAGES, SEEN_NONE));
	EXPECT_EQ(HPAGE_PAGES, dmirror_read_zeros(&self->dev, mem, HPAGE_PAGES));
	EXPECT_EQ(HPAGE_PAGES, dmirror_sees(&self->dev, mem, HPAGE_PAGES, SEEN_HUGE_RO));
	EXPECT_EQ(HPAGE_PAGES, dmirror_write_stamps(&self->dev, mem, HPAGE_PAGES));
	EXPECT_EQ(HPAGE_PAGES, dmirror_sees(&self->dev, mem, HPAGE_PAGES, SEEN_HUGE_RW));
	EXPECT_EQ(HPAGE_PAGES, stamp_run(mem, HPAGE_PAGES, TAG_DEVICE));
	EXPECT_EQ(HPAGE_PAGES, dmirror_sees(&self->dev, second, HPAGE_PAGES, SEEN_NONE));
}

TEST_F(hmm, hugetlb_read_only)
{
	char *mem = map_hugetlb(_metadata, 2, PROT_RW);

	stamp_write(mem, HPAGE_PAGES, TAG_CPU);
	ASSERT_EQ(0, mprotect(mem, 2 * HPAGE_SIZE, PROT_READ));

	EXPECT_EQ(HPAGE_PAGES, dmirror_sees(&self->dev, mem, HPAGE_PAGES, SEEN_HUGE_RO));
	EXPECT_EQ(HPAGE_PAGES, dmirror_read_stamps(&self->dev, mem, HPAGE_PAGES, TAG_CPU));
	EXPECT_EQ(-EPERM, dmirror_write_stamps(&self->dev, mem, HPAGE_PAGES));
	EXPECT_EQ(-EPERM, dmirror_write_stamps(&self->dev, mem + HPAGE_SIZE, 1));
	EXPECT_EQ(HPAGE_PAGES, stamp_run(mem, HPAGE_PAGES, TAG_CPU));
}

TEST_F(hmm, hugetlb_cow_after_fork)
{
	char *mem = map_hugetlb(_metadata, 1, PROT_RW);
	struct witness child;

	stamp_write(mem, HPAGE_PAGES, TAG_CPU);
	child = witness_fork(_metadata, mem, HPAGE_PAGES, TAG_CPU);

	EXPECT_EQ(HPAGE_PAGES, dmirror_sees(&self->dev, mem, HPAGE_PAGES, SEEN_HUGE_RO));
	EXPECT_EQ(HPAGE_PAGES, dmirror_write_stamps(&self->dev, mem, HPAGE_PAGES));
	EXPECT_EQ(HPAGE_PAGES, dmirror_sees(&self->dev, mem, HPAGE_PAGES, SEEN_HUGE_RW));
	EXPECT_EQ(HPAGE_PAGES, stamp_run(mem, HPAGE_PAGES, TAG_DEVICE));
	EXPECT_TRUE(witness_saw_no_change(&child));
}

TEST_F(hmm, hugetlb_poisoned)
{
	char *mem = map_hugetlb(_metadata, 2, PROT_RW);
	char *good = mem + HPAGE_SIZE;
	__u64 pfn;

	stamp_write(mem, HPAGE_PAGES, TAG_CPU);
	stamp_write(good, HPAGE_PAGES, TAG_CPU);
	pfn = page_poison(_metadata, mem, HPAGE_SIZE);

	EXPECT_EQ(HPAGE_PAGES, dmirror_sees(&self->dev, mem, HPAGE_PAGES, SEEN_ERROR));
	EXPECT_EQ(-EFAULT, dmirror_read(&self->dev, page_at(mem, 9), 1));
	EXPECT_EQ(-EFAULT, dmirror_write(&self->dev, mem, HPAGE_PAGES));
	EXPECT_EQ(HPAGE_PAGES, dmirror_read_stamps(&self->dev, good, HPAGE_PAGES, TAG_CPU));

	ASSERT_EQ(0, munmap(mem, 2 * HPAGE_SIZE));
	page_unpoison(_metadata, pfn);
}

/* Files and shared memory */

TEST_F(hmm, file_private_read_only)
{
	int fd = scratch_file(_metadata, NPAGES);
	char *mem = map_pages(_metadata, NPAGES, PROT_READ, MAP_PRIVATE, fd);

	EXPECT_EQ(NPAGES, dmirror_sees(&self->dev, mem, NPAGES, SEEN_NONE));
	EXPECT_EQ(NPAGES, dmirror_read_stamps(&self->dev, mem, NPAGES, TAG_CPU));
	EXPECT_EQ(NPAGES, dmirror_sees(&self->dev, mem, NPAGES, SEEN_RO));
	EXPECT_EQ(-EPERM, dmirror_write_stamps(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, file_run(fd, NPAGES, TAG_CPU));
}

TEST_F(hmm, file_private_cow)
{
	int fd = scratch_file(_metadata, NPAGES);
	char *mem = map_pages(_metadata, NPAGES, PROT_RW, MAP_PRIVATE, fd);

	ASSERT_EQ(NPAGES, stamp_run(mem, NPAGES, TAG_CPU));
	EXPECT_EQ(NPAGES, dmirror_sees(&self->dev, mem, NPAGES, SEEN_RO));
	EXPECT_EQ(NPAGES, dmirror_write_stamps(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, dmirror_sees(&self->dev, mem, NPAGES, SEEN_RW));
	EXPECT_EQ(NPAGES, stamp_run(mem, NPAGES, TAG_DEVICE));
	EXPECT_EQ(NPAGES, file_run(fd, NPAGES, TAG_CPU));
}

/* Dropped from the page cache, the file comes back from the disk. */
TEST_F(hmm, file_shared)
{
	int fd = scratch_file(_metadata, NPAGES);
	char *mem = map_pages(_metadata, NPAGES, PROT_RW, MAP_SHARED, fd);

	EXPECT_EQ(NPAGES, dmirror_read_stamps(&self->dev, mem, NPAGES, TAG_CPU));
	EXPECT_EQ(NPAGES, dmirror_write_stamps(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, dmirror_sees(&self->dev, mem, NPAGES, SEEN_RW));
	EXPECT_EQ(NPAGES, file_run(fd, NPAGES, TAG_DEVICE));

	ASSERT_EQ(0, munmap(mem, NPAGES * PAGE_SIZE));
	ASSERT_EQ(0, fsync(fd));
	ASSERT_EQ(0, posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
	EXPECT_EQ(NPAGES, file_run(fd, NPAGES, TAG_DEVICE));
}

TEST_F(hmm, file_past_its_end)
{
	int fd = scratch_file(_metadata, 10);
	char *mem = map_pages(_metadata, 20, PROT_RW, MAP_SHARED, fd);

	EXPECT_EQ(20, dmirror_sees(&self->dev, mem, 20, SEEN_NONE));
	EXPECT_EQ(10, dmirror_read_stamps(&self->dev, mem, 10, TAG_CPU));
	EXPECT_EQ(-EFAULT, dmirror_read(&self->dev, page_at(mem, 10), 1));
	EXPECT_EQ(-EFAULT, dmirror_write(&self->dev, mem, 20));
}

TEST_F(hmm, file_truncated_under_the_device)
{
	int fd = scratch_file(_metadata, 10);
	char *mem = map_pages(_metadata, 10, PROT_RW, MAP_SHARED, fd);

	ASSERT_EQ(10, dmirror_read_stamps(&self->dev, mem, 10, TAG_CPU));
	ASSERT_EQ(0, ftruncate(fd, 4 * PAGE_SIZE));
	EXPECT_EQ(4, dmirror_read_stamps(&self->dev, mem, 4, TAG_CPU));
	EXPECT_EQ(-EFAULT, dmirror_read(&self->dev, page_at(mem, 4), 1));
	EXPECT_EQ(6, dmirror_sees(&self->dev, page_at(mem, 4), 6, SEEN_NONE));
}

TEST_F(hmm, shmem)
{
	char *mem = map_pages(_metadata, NPAGES, PROT_RW, SHARED_ANON, -1);

	EXPECT_EQ(NPAGES, dmirror_sees(&self->dev, mem, NPAGES, SEEN_NONE));
	EXPECT_EQ(NPAGES, dmirror_write_stamps(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, dmirror_sees(&self->dev, mem, NPAGES, SEEN_RW));
	EXPECT_EQ(NPAGES, stamp_run(mem, NPAGES, TAG_DEVICE));
	EXPECT_EQ(NPAGES, dmirror_read_stamps(&self->dev, mem, NPAGES, TAG_DEVICE));
}

TEST_F(hmm, memfd_mapped_twice)
{
	int fd = memfd_create("hmm-tests", MFD_CLOEXEC);
	char *mem, *alias;

	ASSERT_EQ(0, ftruncate(fd, NPAGES * PAGE_SIZE));
	mem = map_pages(_metadata, NPAGES, PROT_RW, MAP_SHARED, fd);
	alias = map_pages(_metadata, NPAGES, PROT_READ, MAP_SHARED, fd);
	stamp_write(mem, NPAGES, TAG_CPU);

	EXPECT_EQ(NPAGES, dmirror_read_stamps(&self->dev, alias, NPAGES, TAG_CPU));
	EXPECT_EQ(-EPERM, dmirror_write(&self->dev, alias, NPAGES));
	EXPECT_EQ(NPAGES, dmirror_write_stamps(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, dmirror_read_stamps(&self->dev, alias, NPAGES, TAG_DEVICE));
}

/* Memory that no device may have */

/*
 * In both secretmem tests nothing is read before the snapshot has been refused: these pages are
 * gone from the kernel's direct map, and a driver that got hold of one would oops.
 */
TEST_F(hmm, secretmem_present)
{
	int fd = secret_file(_metadata, NPAGES);
	char *mem = map_pages(_metadata, NPAGES, PROT_RW, MAP_SHARED, fd);

	stamp_write(mem, NPAGES, TAG_CPU);
	ASSERT_EQ(NPAGES, dmirror_sees(&self->dev, mem, NPAGES, SEEN_ERROR));
	EXPECT_EQ(-EFAULT, dmirror_read(&self->dev, mem, NPAGES));
	EXPECT_EQ(-EFAULT, dmirror_write(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, stamp_run(mem, NPAGES, TAG_CPU));
}

TEST_F(hmm, secretmem_hole)
{
	int fd = secret_file(_metadata, NPAGES);
	char *mem = map_pages(_metadata, NPAGES, PROT_RW, MAP_SHARED, fd);

	ASSERT_EQ(NPAGES, dmirror_sees(&self->dev, mem, NPAGES, SEEN_ERROR));
	EXPECT_EQ(-EFAULT, dmirror_read(&self->dev, mem, NPAGES));
	EXPECT_EQ(-EFAULT, dmirror_write(&self->dev, mem, NPAGES));
}

TEST_F(hmm, pfnmap_vvar)
{
	char *mem = find_vvar(_metadata);

	ASSERT_TRUE(vma_has_flag(_metadata, mem, "pf"));
	EXPECT_EQ(1, dmirror_sees(&self->dev, mem, 1, SEEN_ERROR));
	EXPECT_EQ(-EFAULT, dmirror_read(&self->dev, mem, 1));
}

TEST_F(hmm, pfnmap_pci_bar)
{
	char *mem = map_any_bar(_metadata);

	ASSERT_TRUE(vma_has_flag(_metadata, mem, "io"));
	EXPECT_EQ(1, dmirror_sees(&self->dev, mem, 1, SEEN_ERROR));
	EXPECT_EQ(-EFAULT, dmirror_read(&self->dev, mem, 1));
	EXPECT_EQ(-EFAULT, dmirror_write(&self->dev, mem, 1));
}

/* The device's own mmap inserts ordinary pages: a mixed map is not special by itself. */
TEST_F(hmm, mixedmap_ordinary_page)
{
	char *mem = map_pages(_metadata, 4, PROT_RW, MAP_SHARED, self->dev.fd);

	ASSERT_TRUE(vma_has_flag(_metadata, mem, "mm"));
	stamp_write(mem, 4, TAG_CPU);
	EXPECT_EQ(4, dmirror_sees(&self->dev, mem, 4, SEEN_RW));
	EXPECT_EQ(4, dmirror_read_stamps(&self->dev, mem, 4, TAG_CPU));
	EXPECT_EQ(4, dmirror_write_stamps(&self->dev, mem, 4));
	EXPECT_EQ(4, stamp_run(mem, 4, TAG_DEVICE));
}

/* userfaultfd */

/* What is only looked at is not asked for; hmm-fault-tests has what is. */
TEST_F(hmm, uffd_missing)
{
	char *mem = map_small(_metadata, 2 * NPAGES);
	char *missing = page_at(mem, NPAGES);
	int uffd = uffd_open(_metadata, 0, 0);

	stamp_write(mem, NPAGES, TAG_CPU);
	uffd_register(_metadata, uffd, mem, 2 * NPAGES, UFFDIO_REGISTER_MODE_MISSING);

	EXPECT_EQ(NPAGES, dmirror_sees(&self->dev, missing, NPAGES, SEEN_NONE));
	EXPECT_EQ(NPAGES, dmirror_read_stamps(&self->dev, mem, NPAGES, TAG_CPU));
}

TEST_F(hmm, uffd_missing_sigbus)
{
	char *mem = map_small(_metadata, NPAGES);
	int uffd = uffd_open(_metadata, 0, UFFD_FEATURE_SIGBUS);

	uffd_register(_metadata, uffd, mem, NPAGES, UFFDIO_REGISTER_MODE_MISSING);
	EXPECT_EQ(-EFAULT, dmirror_read(&self->dev, mem, NPAGES));
	EXPECT_EQ(-EFAULT, dmirror_write(&self->dev, mem, NPAGES));
}

TEST_F(hmm, uffd_missing_user_mode_only)
{
	char *mem = map_small(_metadata, NPAGES);
	int uffd = uffd_open(_metadata, UFFD_USER_MODE_ONLY, 0);

	uffd_register(_metadata, uffd, mem, NPAGES, UFFDIO_REGISTER_MODE_MISSING);
	EXPECT_EQ(-EFAULT, dmirror_read(&self->dev, mem, NPAGES));
	EXPECT_EQ(-EFAULT, dmirror_write(&self->dev, mem, NPAGES));
}

/* Pages that the file has and this mapping of it has not. */
TEST_F(hmm, uffd_minor)
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

TEST_F(hmm, uffd_wp_present)
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

/* The marker stands in an empty page table of shared memory: a hole, not an error. */
TEST_F(hmm, uffd_wp_marker)
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

TEST_F(hmm, uffd_wp_async)
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

TEST_F(hmm, uffd_poison_marker)
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

/* A mapping that changes while the device works on it */

#define STORM_PAGES	32
#define STORM_SECONDS	2

/*
 * One byte tells who wrote a page and which page it was, and it alone is compared: a copy that
 * runs beside a store may tear a word.
 */
enum storm_mark {
	STORM_CPU = 0x40,
	STORM_DEVICE = 0x80,
};

struct storm {
	char *mem;
	atomic_bool over;
	bool failed;
};

static void storm_mark(char *mem, enum storm_mark by)
{
	for (int i = 0; i < STORM_PAGES; i++)
		*page_at(mem, i) = by | i;
}

static long storm_strangers(const unsigned char *mem)
{
	long strangers = 0;

	for (int i = 0; i < STORM_PAGES; i++, mem += PAGE_SIZE)
		strangers += *mem && *mem != (STORM_CPU | i) && *mem != (STORM_DEVICE | i);
	return strangers;
}

static bool storm_map(char *mem)
{
	return mmap(mem, STORM_PAGES * PAGE_SIZE, PROT_RW, PRIVATE_ANON | MAP_FIXED, -1, 0) == mem;
}

static void *storm_thread(void *arg)
{
	struct storm *storm = arg;
	const size_t size = STORM_PAGES * PAGE_SIZE;

	while (!storm->over && !storm->failed) {
		storm->failed |= !storm_map(storm->mem);
		storm_mark(storm->mem, STORM_CPU);
		storm->failed |= madvise(storm->mem, size / 2, MADV_DONTNEED);
		storm->failed |= mprotect(page_at(storm->mem, 7), size / 4, PROT_READ);
		storm->failed |= madvise(storm->mem, size, MADV_DONTNEED);
		storm->failed |= munmap(storm->mem, size);
	}
	return NULL;
}

static bool storm_allows(long ret)
{
	return ret == STORM_PAGES || ret == -EFAULT || ret == -EPERM || ret == -EBUSY;
}

TEST_F_TIMEOUT(hmm, mapping_changes_meanwhile, 120)
{
	struct storm storm = { .mem = map_small(_metadata, STORM_PAGES) };
	time_t deadline = in_seconds(STORM_SECONDS + 1);
	long ret, reads = 0, writes = 0;
	pthread_t thread;

	ASSERT_EQ(0, pthread_create(&thread, NULL, storm_thread, &storm));
	while (before(deadline)) {
		ret = dmirror_read(&self->dev, storm.mem, STORM_PAGES);
		EXPECT_TRUE(storm_allows(ret)) TH_LOG("read: %ld", ret);
		if (ret == STORM_PAGES) {
			reads++;
			ASSERT_EQ(0, storm_strangers((unsigned char *)self->dev.buf));
		}
		storm_mark(self->dev.buf, STORM_DEVICE);
		ret = dmirror_write(&self->dev, storm.mem, STORM_PAGES);
		EXPECT_TRUE(storm_allows(ret)) TH_LOG("write: %ld", ret);
		writes += ret == STORM_PAGES;
	}
	storm.over = true;
	ASSERT_EQ(0, pthread_join(thread, NULL));

	EXPECT_FALSE(storm.failed);
	EXPECT_LT(0, reads);
	EXPECT_LT(0, writes);
	ASSERT_TRUE(storm_map(storm.mem));
	stamp_write(storm.mem, STORM_PAGES, TAG_CPU);
	EXPECT_EQ(STORM_PAGES, dmirror_read_stamps(&self->dev, storm.mem, STORM_PAGES, TAG_CPU));
}

/* Faults: one for each mapping installed */

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

/* Text, stack and buffers are locked in memory: what is counted later is the device's alone. */
FIXTURE_SETUP(hmm_faults)
{
	dmirror_open(_metadata, &self->dev, 0, FAULTS_HUGE * HPAGE_PAGES);
	ASSERT_EQ(0, mlockall(MCL_CURRENT));
}

FIXTURE_TEARDOWN(hmm_faults)
{
	close(self->dev.fd);
}

/* The walk runs in the calling thread, which is charged for each fault handled in it. */
static long faults_so_far(void)
{
	struct rusage usage;

	getrusage(RUSAGE_THREAD, &usage);
	return usage.ru_minflt + usage.ru_majflt;
}

static long faults_of(struct dmirror *dev, unsigned long request, char *mem, long npages)
{
	long start = faults_so_far();
	long ret = dmirror_ioctl(dev->fd, request, mem, npages, dev->buf);

	return ret == npages ? faults_so_far() - start : ret;
}

TEST_F(hmm_faults, present)
{
	char *mem = map_small(_metadata, NPAGES);

	stamp_write(mem, NPAGES, TAG_CPU);
	EXPECT_EQ(0, faults_of(&self->dev, variant->request, mem, NPAGES));
}

TEST_F(hmm_faults, small_hole)
{
	char *mem = map_small(_metadata, NPAGES);

	EXPECT_EQ(NPAGES, faults_of(&self->dev, variant->request, mem, NPAGES));
}

TEST_F(hmm_faults, holes_between_present_pages)
{
	char *mem = map_small(_metadata, NPAGES);

	for (long i = 0; i < NPAGES; i += 2)
		stamp_write(page_at(mem, i), 1, TAG_CPU);
	EXPECT_EQ(NPAGES / 2, faults_of(&self->dev, variant->request, mem, NPAGES));
}

TEST_F_TIMEOUT(hmm_faults, thp_hole, 120)
{
	const long npages = FAULTS_HUGE * HPAGE_PAGES;
	char *mem = map_thp(_metadata, FAULTS_HUGE);

	EXPECT_EQ(FAULTS_HUGE, faults_of(&self->dev, variant->request, mem, npages));
	EXPECT_EQ(npages, dmirror_sees(&self->dev, mem, npages, variant->huge));
}

TEST_F_TIMEOUT(hmm_faults, hugetlb_hole, 120)
{
	char *mem = map_hugetlb(_metadata, 4, PROT_RW);

	EXPECT_EQ(4, faults_of(&self->dev, variant->request, mem, 4 * HPAGE_PAGES));
	EXPECT_EQ(4 * HPAGE_PAGES,
		  dmirror_sees(&self->dev, mem, 4 * HPAGE_PAGES, variant->huge));
}

/* Memory on the device, and memory kept for the device */

FIXTURE(hmm_device)
{
	struct dmirror dev;
	struct dmirror peer;
};

FIXTURE_VARIANT(hmm_device)
{
	int id;
	int peer_id;
	unsigned int local;	/* how the device sees its own memory */
	unsigned int remote;	/* how its peer sees it */
	unsigned int after;	/* how the device sees it once its peer has read it */
	unsigned int exclusive;	/* how the walker sees what the device has for itself */
};

/* Only the owner can reach it: anybody else's access brings it back. */
FIXTURE_VARIANT_ADD(hmm_device, private)
{
	.id = 0,
	.peer_id = 1,
	.local = HMM_DMIRROR_PROT_DEV_PRIVATE_LOCAL,
	.remote = SEEN_NONE,
	.after = SEEN_RW,
	.exclusive = HMM_DMIRROR_PROT_DEV_PRIVATE_LOCAL | SEEN_RW,
};

/* The CPU and other devices reach it where it is. */
FIXTURE_VARIANT_ADD(hmm_device, coherent)
{
	.id = 2,
	.peer_id = 3,
	.local = HMM_DMIRROR_PROT_DEV_COHERENT_LOCAL,
	.remote = HMM_DMIRROR_PROT_DEV_COHERENT_REMOTE | HMM_DMIRROR_PROT_WRITE,
	.after = HMM_DMIRROR_PROT_DEV_COHERENT_LOCAL | HMM_DMIRROR_PROT_WRITE,
};

FIXTURE_SETUP(hmm_device)
{
	dmirror_open(_metadata, &self->dev, variant->id, NPAGES);
	dmirror_open(_metadata, &self->peer, variant->peer_id, NPAGES);
}

FIXTURE_TEARDOWN(hmm_device)
{
	close(self->peer.fd);
	close(self->dev.fd);
}

/* Stamped pages that have moved to the device. */
static char *map_on_device(struct __test_metadata *_metadata, struct dmirror *dev)
{
	char *mem = map_small(_metadata, NPAGES);

	stamp_write(mem, NPAGES, TAG_CPU);
	ASSERT_EQ(NPAGES, dmirror_migrate_to_dev(dev, mem, NPAGES));
	ASSERT_EQ(NPAGES, stamp_run(dev->buf, NPAGES, TAG_CPU));
	return mem;
}

TEST_F(hmm_device, migrated)
{
	char *mem = map_on_device(_metadata, &self->dev);

	EXPECT_EQ(NPAGES, dmirror_sees(&self->dev, mem, NPAGES, variant->local | SEEN_RW));
	EXPECT_EQ(NPAGES, dmirror_migrate_to_sys(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, dmirror_sees(&self->dev, mem, NPAGES, SEEN_RW));
	EXPECT_EQ(NPAGES, stamp_run(mem, NPAGES, TAG_CPU));
}

TEST_F(hmm_device, hole_migrated)
{
	char *mem = map_small(_metadata, NPAGES);

	ASSERT_EQ(NPAGES, dmirror_migrate_to_dev(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, dmirror_sees(&self->dev, mem, NPAGES, variant->local | SEEN_RW));
	EXPECT_EQ(NPAGES, dmirror_read_zeros(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, zero_run(mem, NPAGES));
}

TEST_F(hmm_device, access_in_place)
{
	char *mem = map_on_device(_metadata, &self->dev);

	EXPECT_EQ(NPAGES, dmirror_read_stamps(&self->dev, mem, NPAGES, TAG_CPU));
	EXPECT_EQ(NPAGES, dmirror_write_stamps(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, dmirror_sees(&self->dev, mem, NPAGES, variant->local | SEEN_RW));
	EXPECT_EQ(NPAGES, stamp_run(mem, NPAGES, TAG_DEVICE));
}

TEST_F(hmm_device, seen_by_peer)
{
	char *mem = map_on_device(_metadata, &self->dev);

	EXPECT_EQ(NPAGES, dmirror_sees(&self->peer, mem, NPAGES, variant->remote));
	EXPECT_EQ(NPAGES, dmirror_sees(&self->dev, mem, NPAGES, variant->local | SEEN_RW));
	EXPECT_EQ(NPAGES, dmirror_read_stamps(&self->peer, mem, NPAGES, TAG_CPU));
	EXPECT_EQ(NPAGES, dmirror_sees(&self->dev, mem, NPAGES, variant->after));
}

TEST_F(hmm_device, written_by_peer)
{
	char *mem = map_on_device(_metadata, &self->dev);

	EXPECT_EQ(NPAGES, dmirror_write_stamps(&self->peer, mem, NPAGES));
	EXPECT_EQ(NPAGES, dmirror_sees(&self->dev, mem, NPAGES, variant->after));
	EXPECT_EQ(NPAGES, stamp_run(mem, NPAGES, TAG_DEVICE));
}

/* The round trip leaves entries read-only in a mapping that may be written. */
TEST_F(hmm_device, write_through_read_only_entry)
{
	char *mem = map_on_device(_metadata, &self->dev);

	ASSERT_EQ(0, mprotect(mem, NPAGES * PAGE_SIZE, PROT_READ));
	EXPECT_EQ(NPAGES, dmirror_sees(&self->dev, mem, NPAGES, variant->local | SEEN_RO));
	ASSERT_EQ(0, mprotect(mem, NPAGES * PAGE_SIZE, PROT_RW));

	EXPECT_EQ(NPAGES, dmirror_write_stamps(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, dmirror_sees_writable(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, stamp_run(mem, NPAGES, TAG_DEVICE));
}

TEST_F(hmm_device, write_to_read_only_vma)
{
	char *mem = map_on_device(_metadata, &self->dev);

	ASSERT_EQ(0, mprotect(mem, NPAGES * PAGE_SIZE, PROT_READ));
	EXPECT_EQ(-EPERM, dmirror_write_stamps(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, stamp_run(mem, NPAGES, TAG_CPU));
}

/* Bringing the page back is not enough: it is still shared, and needs its COW broken as well. */
TEST_F(hmm_device, cow_after_fork)
{
	char *mem = map_on_device(_metadata, &self->dev);
	struct witness child = witness_fork(_metadata, mem, NPAGES, TAG_CPU);

	EXPECT_EQ(NPAGES, dmirror_write_stamps(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, stamp_run(mem, NPAGES, TAG_DEVICE));
	EXPECT_TRUE(witness_saw_no_change(&child));
}

TEST_F(hmm_device, exclusive_read_by_peer)
{
	char *mem = map_small(_metadata, NPAGES);

	stamp_write(mem, NPAGES, TAG_CPU);
	ASSERT_EQ(NPAGES, dmirror_exclusive(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, dmirror_sees(&self->peer, mem, NPAGES, SEEN_NONE));
	EXPECT_EQ(-EPERM, dmirror_check_exclusive(&self->dev, mem, NPAGES));

	EXPECT_EQ(NPAGES, dmirror_read_stamps(&self->peer, mem, NPAGES, TAG_CPU));
	EXPECT_EQ(0, dmirror_check_exclusive(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, dmirror_sees(&self->dev, mem, NPAGES, SEEN_RW));
}

TEST_F(hmm_device, exclusive_then_written)
{
	char *mem = map_small(_metadata, NPAGES);

	stamp_write(mem, NPAGES, TAG_CPU);
	ASSERT_EQ(NPAGES, dmirror_exclusive(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, dmirror_sees(&self->dev, mem, NPAGES, SEEN_NONE));

	/* It has them for itself: writing is no reason to give them back. */
	EXPECT_EQ(NPAGES, dmirror_write_stamps(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, dmirror_sees(&self->dev, mem, NPAGES, SEEN_NONE));
	EXPECT_EQ(-EPERM, dmirror_check_exclusive(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, stamp_run(mem, NPAGES, TAG_DEVICE));
	EXPECT_EQ(NPAGES, dmirror_sees(&self->dev, mem, NPAGES, SEEN_RW));
	EXPECT_EQ(0, dmirror_check_exclusive(&self->dev, mem, NPAGES));
}

/* Private memory is writable where it is, and not exclusive: the device may share it. */
TEST_F(hmm_device, exclusive_of_devices)
{
	char *mem = map_on_device(_metadata, &self->dev);
	const long exclusive = variant->id == PRIVATE ? 0 : NPAGES;

	ASSERT_EQ(NPAGES, dmirror_exclusive(&self->dev, mem, NPAGES));
	EXPECT_EQ(exclusive, dmirror_has_exclusive(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, dmirror_maps(&self->dev, mem, NPAGES, MAPS_RW));
	EXPECT_EQ(NPAGES, dmirror_sees(&self->dev, mem, NPAGES, variant->exclusive));
	EXPECT_EQ(NPAGES, dmirror_write_stamps(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, stamp_run(mem, NPAGES, TAG_DEVICE));
	EXPECT_EQ(0, dmirror_check_exclusive(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, dmirror_sees(&self->dev, mem, NPAGES, variant->after));
}

/* Memory of another one comes to the system, if only so the CPU can lose it. */
TEST_F(hmm_device, exclusive_of_peers)
{
	char *mem = map_on_device(_metadata, &self->peer);

	ASSERT_EQ(NPAGES, dmirror_exclusive(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, stamp_run(self->dev.buf, NPAGES, TAG_CPU));
	EXPECT_EQ(NPAGES, dmirror_has_exclusive(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, dmirror_sees(&self->dev, mem, NPAGES, SEEN_NONE));
	EXPECT_EQ(NPAGES, dmirror_write_stamps(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, stamp_run(mem, NPAGES, TAG_DEVICE));
}

TEST_HARNESS_MAIN
