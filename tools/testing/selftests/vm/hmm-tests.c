// SPDX-License-Identifier: GPL-2.0
/*
 * Accesses of a device to each state of the CPU page table.
 *
 * Each test creates one state, and accesses it in up to three ways: by a snapshot (no request), a
 * read (read request) and a write (write request). The states need swap, huge pages, secretmem
 * and soft-reserved memory. A test that cannot create its state fails.
 */
#include "../kselftest_harness.h"

#include <pthread.h>
#include <stdatomic.h>

#include "hmm-dmirror-expect.h"
#include "hmm-memory.h"
#include "hmm-page-state.h"
#include "hmm-witness.h"

/* Larger than one chunk of the device's range faults, and no multiple of it */
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

/* Holes, and addresses without a mapping */

/* A device reads zeros from a hole, which maps the zero page. */
TEST_F(hmm, hole_read)
{
	char *mem = map_small(_metadata, NPAGES);

	EXPECT_EQ(NPAGES, dmirror_sees(&self->dev, mem, NPAGES, SEEN_NONE));
	ASSERT_EQ(NPAGES, dmirror_read_zeros(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, dmirror_sees(&self->dev, mem, NPAGES, SEEN_ZERO));
}

/* A device that writes to a hole gets writable pages, and the CPU sees what it wrote. */
TEST_F(hmm, hole_write)
{
	char *mem = map_small(_metadata, NPAGES);

	ASSERT_EQ(NPAGES, dmirror_write_stamps(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, dmirror_sees(&self->dev, mem, NPAGES, SEEN_RW));
	EXPECT_EQ(NPAGES, stamp_run(mem, NPAGES, TAG_DEVICE));
}

/* A snapshot faults no page in. */
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

/* A read returns the content of the present pages, and zeros for the holes between them. */
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

/*
 * An unmapped page fails a range that contains it, and a snapshot reports an error for that
 * page only.
 */
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

/*
 * A device access below a MAP_GROWSDOWN mapping fails, although a CPU access expands the
 * mapping.
 */
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

/* A device can neither read nor write a PROT_NONE mapping. */
TEST_F(hmm, prot_none)
{
	char *mem = map_small(_metadata, NPAGES);

	stamp_write(mem, NPAGES, TAG_CPU);
	ASSERT_EQ(0, mprotect(mem, NPAGES * PAGE_SIZE, PROT_NONE));

	EXPECT_EQ(NPAGES, dmirror_sees(&self->dev, mem, NPAGES, SEEN_ERROR));
	EXPECT_EQ(-EFAULT, dmirror_read(&self->dev, mem, NPAGES));
	EXPECT_EQ(-EFAULT, dmirror_write(&self->dev, mem, NPAGES));
}

/* A PROT_NONE page fails a range that contains it, and does not affect the pages around it. */
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

/* A device can read a read-only mapping, and gets -EPERM when it writes. */
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

/* A write to a hole in a read-only mapping fails with -EPERM and faults no page in. */
TEST_F(hmm, read_only_hole)
{
	char *mem = map_small(_metadata, NPAGES);

	ASSERT_EQ(0, mprotect(mem, NPAGES * PAGE_SIZE, PROT_READ));

	EXPECT_EQ(-EPERM, dmirror_write_stamps(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, dmirror_sees(&self->dev, mem, NPAGES, SEEN_NONE));
	EXPECT_EQ(NPAGES, dmirror_read_zeros(&self->dev, mem, NPAGES));
}

/* A device can write again after mprotect() has restored the permission. */
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

/* One range can span an anonymous, a private file, a shared and a read-only VMA. */
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

/* A device can access the last page of a mapping, but no page after it. */
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

/* A device can read and write small pages that are present. */
TEST_F(hmm, present)
{
	char *mem = map_small(_metadata, NPAGES);

	stamp_write(mem, NPAGES, TAG_CPU);
	EXPECT_EQ(NPAGES, dmirror_sees(&self->dev, mem, NPAGES, SEEN_RW));
	EXPECT_EQ(NPAGES, dmirror_read_stamps(&self->dev, mem, NPAGES, TAG_CPU));
	EXPECT_EQ(NPAGES, dmirror_write_stamps(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, stamp_run(mem, NPAGES, TAG_DEVICE));
}

/* A read of the device keeps the zero page mapped, and a write replaces it. */
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

/* A write of the device breaks COW and does not change the memory of the child. */
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

/* A read of the device swaps pages in. */
TEST_F(hmm, swapped_out_read)
{
	char *mem = map_small(_metadata, NPAGES);

	stamp_write(mem, NPAGES, TAG_CPU);
	swap_out(_metadata, mem, NPAGES);

	EXPECT_EQ(NPAGES, dmirror_sees(&self->dev, mem, NPAGES, SEEN_NONE));
	EXPECT_EQ(NPAGES, dmirror_read_stamps(&self->dev, mem, NPAGES, TAG_CPU));
}

/* A write of the device swaps pages in and makes them writable. */
TEST_F(hmm, swapped_out_write)
{
	char *mem = map_small(_metadata, NPAGES);

	stamp_write(mem, NPAGES, TAG_CPU);
	swap_out(_metadata, mem, NPAGES);

	EXPECT_EQ(NPAGES / 2, dmirror_write_stamps(&self->dev, mem, NPAGES / 2));
	EXPECT_EQ(NPAGES / 2, dmirror_sees(&self->dev, mem, NPAGES / 2, SEEN_RW));
	EXPECT_EQ(NPAGES / 2, stamp_run(mem, NPAGES, TAG_DEVICE));
}

/* A hwpoisoned page fails with -EFAULT, and the pages around it stay accessible. */
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

/* A snapshot that starts and ends inside of THPs reports PMD entries for all pages. */
TEST_F(hmm, thp_present)
{
	char *mem = map_thp(_metadata, 3);
	char *cut = page_at(mem, 7);
	long npages = 3 * HPAGE_PAGES - 7 - 5;

	stamp_write(mem, 3 * HPAGE_PAGES, TAG_CPU);
	EXPECT_EQ(npages, dmirror_sees(&self->dev, cut, npages, SEEN_HUGE_RW));
}

/* A device can read and write a THP, which stays mapped by a PMD. */
TEST_F(hmm, thp_access)
{
	char *mem = map_thp(_metadata, 1);

	stamp_write(mem, HPAGE_PAGES, TAG_CPU);
	EXPECT_EQ(HPAGE_PAGES, dmirror_read_stamps(&self->dev, mem, HPAGE_PAGES, TAG_CPU));
	EXPECT_EQ(HPAGE_PAGES, dmirror_write_stamps(&self->dev, mem, HPAGE_PAGES));
	EXPECT_EQ(HPAGE_PAGES, dmirror_sees(&self->dev, mem, HPAGE_PAGES, SEEN_HUGE_RW));
	EXPECT_EQ(HPAGE_PAGES, stamp_run(mem, HPAGE_PAGES, TAG_DEVICE));
}

/* A write to one page of a hole of 2 MiB allocates a THP and maps it writable. */
TEST_F(hmm, thp_hole)
{
	char *mem = map_thp(_metadata, 1);

	EXPECT_EQ(HPAGE_PAGES, dmirror_sees(&self->dev, mem, HPAGE_PAGES, SEEN_NONE));
	EXPECT_EQ(1, dmirror_write_stamps(&self->dev, page_at(mem, 77), 1));
	EXPECT_EQ(HPAGE_PAGES, dmirror_sees(&self->dev, mem, HPAGE_PAGES, SEEN_HUGE_RW));
	EXPECT_EQ(1, stamp_run(page_at(mem, 77), 1, TAG_DEVICE));
}

/* A read of the device keeps the huge zero page mapped. */
TEST_F(hmm, huge_zero_page)
{
	char *mem = map_thp(_metadata, 1);

	ASSERT_EQ(HPAGE_PAGES, zero_run(mem, HPAGE_PAGES));
	EXPECT_EQ(HPAGE_PAGES, dmirror_sees(&self->dev, mem, HPAGE_PAGES, SEEN_HUGE_RO));
	EXPECT_EQ(HPAGE_PAGES, dmirror_read_zeros(&self->dev, mem, HPAGE_PAGES));
	EXPECT_EQ(HPAGE_PAGES, dmirror_sees(&self->dev, mem, HPAGE_PAGES, SEEN_HUGE_RO));
}

/* A write to one page of the huge zero page leaves zeros in all other pages. */
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

/* Of a THP that is mapped by PTEs, a snapshot reports the permission of each PTE. */
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

/* A hole in a THP that is mapped by PTEs reads as zeros. */
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

/* A write of the device to a shared THP does not change the memory of the child. */
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

/* A device can read and write hugetlb pages that are present. */
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

/* A fault of the device on one hugetlb page does not fault the next one in. */
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

/* A write to read-only hugetlb memory fails with -EPERM, whether a page is present or not. */
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

/* A write of the device to a shared hugetlb page does not change the memory of the child. */
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

/* A hwpoisoned hugetlb page fails with -EFAULT, and the next page stays accessible. */
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

/* A device reads a file through a read-only private mapping and cannot write to it. */
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

/* A write of the device to a private mapping does not change the file. */
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

/* A write of the device to a shared mapping reaches the disk. */
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

/* A device access after the end of a file fails with -EFAULT. */
TEST_F(hmm, file_past_its_end)
{
	int fd = scratch_file(_metadata, 10);
	char *mem = map_pages(_metadata, 20, PROT_RW, MAP_SHARED, fd);

	EXPECT_EQ(20, dmirror_sees(&self->dev, mem, 20, SEEN_NONE));
	EXPECT_EQ(10, dmirror_read_stamps(&self->dev, mem, 10, TAG_CPU));
	EXPECT_EQ(-EFAULT, dmirror_read(&self->dev, page_at(mem, 10), 1));
	EXPECT_EQ(-EFAULT, dmirror_write(&self->dev, mem, 20));
}

/* After a truncation, the device can access only the pages that the file still has. */
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

/* A device can read and write shared anonymous memory. */
TEST_F(hmm, shmem)
{
	char *mem = map_pages(_metadata, NPAGES, PROT_RW, SHARED_ANON, -1);

	EXPECT_EQ(NPAGES, dmirror_sees(&self->dev, mem, NPAGES, SEEN_NONE));
	EXPECT_EQ(NPAGES, dmirror_write_stamps(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, dmirror_sees(&self->dev, mem, NPAGES, SEEN_RW));
	EXPECT_EQ(NPAGES, stamp_run(mem, NPAGES, TAG_DEVICE));
	EXPECT_EQ(NPAGES, dmirror_read_stamps(&self->dev, mem, NPAGES, TAG_DEVICE));
}

/* What a device writes through one mapping of a file is visible through the other. */
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

/* Memory that devices cannot access */

/*
 * A device cannot access a secretmem page that is present.
 *
 * Both secretmem tests take a snapshot before they read: secretmem pages are not in the direct
 * map of the kernel, so a driver that gets such a page oopses.
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

/* A device cannot fault in a secretmem page. */
TEST_F(hmm, secretmem_hole)
{
	int fd = secret_file(_metadata, NPAGES);
	char *mem = map_pages(_metadata, NPAGES, PROT_RW, MAP_SHARED, fd);

	ASSERT_EQ(NPAGES, dmirror_sees(&self->dev, mem, NPAGES, SEEN_ERROR));
	EXPECT_EQ(-EFAULT, dmirror_read(&self->dev, mem, NPAGES));
	EXPECT_EQ(-EFAULT, dmirror_write(&self->dev, mem, NPAGES));
}

/* A device cannot access a PFN mapping of the kernel. */
TEST_F(hmm, pfnmap_vvar)
{
	char *mem = find_vvar(_metadata);

	ASSERT_TRUE(vma_has_flag(_metadata, mem, "pf"));
	EXPECT_EQ(1, dmirror_sees(&self->dev, mem, 1, SEEN_ERROR));
	EXPECT_EQ(-EFAULT, dmirror_read(&self->dev, mem, 1));
}

/* A device cannot access a PCI BAR. */
TEST_F(hmm, pfnmap_pci_bar)
{
	char *mem = map_any_bar(_metadata);

	ASSERT_TRUE(vma_has_flag(_metadata, mem, "io"));
	EXPECT_EQ(1, dmirror_sees(&self->dev, mem, 1, SEEN_ERROR));
	EXPECT_EQ(-EFAULT, dmirror_read(&self->dev, mem, 1));
	EXPECT_EQ(-EFAULT, dmirror_write(&self->dev, mem, 1));
}

/*
 * A device can access an ordinary page in a VM_MIXEDMAP mapping, here that of the driver's
 * mmap().
 */
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

/* Concurrent changes of the mapping */

#define STORM_PAGES	32
#define STORM_SECONDS	2

/*
 * One byte identifies the writer and the page. The test compares only this byte, because a copy
 * that runs concurrently with a store may tear a word.
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

/*
 * While the mapping changes, an access succeeds with a content that was written there, or fails
 * with an error that the change explains.
 */
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

TEST_HARNESS_MAIN
