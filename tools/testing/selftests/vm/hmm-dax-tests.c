// SPDX-License-Identifier: GPL-2.0
/*
 * Accesses of a device to DAX memory: file systems and devices, under PTEs, PMDs and PUDs.
 *
 *			FS-DAX PTE, PMD		device DAX PTE, PMD, PUD
 * snapshot		x			x
 * read, write		x			x
 * mprotect		x			x
 * entries cut		x			x
 * neighbours		x			x
 * private mapping	x			absent: the driver refuses it
 * truncate		x			absent: the size is that of the device
 * hole punch		x			absent: the device has no blocks
 * msync		x			absent: the device has no writeback
 *
 * FS-DAX under PUDs is absent: no file system faults in more than a PMD.
 */
#include "../kselftest_harness.h"

#include "hmm-dax.h"

/* Larger than one chunk of the device's range faults, and no multiple of it */
#define NPAGES		100

FIXTURE(hmm_dax)
{
	struct dmirror dev;
	int fd;
	char *mem;	/* memory that the device accesses */
	char *alias;	/* another mapping of the same content, for the CPU */
};

FIXTURE_VARIANT(hmm_dax)
{
	struct dax_kind kind;
	unsigned int after_read;	/* permission after a read fault */
};

/* A file system needs a fault for the first write, device DAX does not. */
FIXTURE_VARIANT_ADD(hmm_dax, fs_pte)
{
	.kind = DAX_PTE(FS_DIR),
	.after_read = SEEN_RO,
};

FIXTURE_VARIANT_ADD(hmm_dax, fs_pmd)
{
	.kind = DAX_PMD(FS_DIR),
	.after_read = SEEN_RO,
};

FIXTURE_VARIANT_ADD(hmm_dax, device_pte)
{
	.kind = DAX_PTE("/dev/" DEVICE_PTE),
	.after_read = SEEN_RW,
};

FIXTURE_VARIANT_ADD(hmm_dax, device_pmd)
{
	.kind = DAX_PMD("/dev/" DEVICE_PMD),
	.after_read = SEEN_RW,
};

FIXTURE_VARIANT_ADD(hmm_dax, device_pud)
{
	.kind = DAX_PUD("/dev/" DEVICE_PUD),
	.after_read = SEEN_RW,
};

FIXTURE_SETUP(hmm_dax)
{
	dmirror_open(_metadata, &self->dev, 0, HPAGE_PAGES);
	self->fd = dax_open(_metadata, &variant->kind);
	self->mem = dax_map(_metadata, &variant->kind, PROT_RW, self->fd);
	self->alias = dax_map(_metadata, &variant->kind, PROT_RW, self->fd);
}

FIXTURE_TEARDOWN(hmm_dax)
{
	close(self->fd);
	close(self->dev.fd);
}

/* A snapshot of DAX memory that is not mapped reports holes. */
TEST_F(hmm_dax, snapshot_of_nothing)
{
	EXPECT_EQ(NPAGES, dmirror_sees(&self->dev, self->mem, NPAGES, SEEN_NONE));
}

/* A snapshot reports every page of the memory under entries of the full size. */
TEST_F_TIMEOUT(hmm_dax, snapshot, 120)
{
	const struct dax_kind *kind = &variant->kind;

	dax_populate(kind, self->mem);
	EXPECT_EQ(kind->pages,
		  dmirror_sees(&self->dev, self->mem, kind->pages, SEEN_RW | kind->size));
}

/* A snapshot of a read-only mapping reports read-only entries. */
TEST_F(hmm_dax, snapshot_read_only)
{
	const struct dax_kind *kind = &variant->kind;
	char *mem = dax_map(_metadata, kind, PROT_READ, self->fd);

	stamp_write(self->alias, NPAGES, TAG_CPU);
	ASSERT_EQ(NPAGES, stamp_run(mem, NPAGES, TAG_CPU));
	EXPECT_EQ(NPAGES, dmirror_sees(&self->dev, mem, NPAGES, SEEN_RO | kind->size));
}

/* The device reads what the CPU has written, and gets the permission of a read fault. */
TEST_F(hmm_dax, read)
{
	stamp_write(self->alias, NPAGES, TAG_CPU);
	EXPECT_EQ(NPAGES, dmirror_read_stamps(&self->dev, self->mem, NPAGES, TAG_CPU));
	EXPECT_EQ(NPAGES, dmirror_sees(&self->dev, self->mem, NPAGES,
				       variant->after_read | variant->kind.size));
}

/* The CPU sees what the device has written, under writable entries of the full size. */
TEST_F(hmm_dax, write)
{
	stamp_write(self->alias, NPAGES, TAG_CPU);
	EXPECT_EQ(NPAGES, dmirror_write_stamps(&self->dev, self->mem, NPAGES));
	EXPECT_EQ(NPAGES, stamp_run(self->alias, NPAGES, TAG_DEVICE));
	EXPECT_EQ(NPAGES, dmirror_sees(&self->dev, self->mem, NPAGES,
				       SEEN_RW | variant->kind.size));
}

/* A device that has read can also write. */
TEST_F(hmm_dax, write_after_read)
{
	stamp_write(self->alias, NPAGES, TAG_CPU);
	ASSERT_EQ(NPAGES, dmirror_read_stamps(&self->dev, self->mem, NPAGES, TAG_CPU));
	EXPECT_EQ(NPAGES, dmirror_write_stamps(&self->dev, self->mem, NPAGES));
	EXPECT_EQ(NPAGES, stamp_run(self->alias, NPAGES, TAG_DEVICE));
}

/* mprotect() revokes and restores write access of the device. */
TEST_F(hmm_dax, mprotect)
{
	const struct dax_kind *kind = &variant->kind;
	const size_t size = kind->pages * PAGE_SIZE;

	stamp_write(self->mem, NPAGES, TAG_CPU);
	ASSERT_EQ(NPAGES, dmirror_read_stamps(&self->dev, self->mem, NPAGES, TAG_CPU));
	ASSERT_EQ(0, mprotect(self->mem, size, PROT_READ));

	EXPECT_EQ(-EPERM, dmirror_write_stamps(&self->dev, self->mem, NPAGES));
	EXPECT_EQ(NPAGES, dmirror_read_stamps(&self->dev, self->mem, NPAGES, TAG_CPU));
	EXPECT_EQ(NPAGES, dmirror_sees(&self->dev, self->mem, NPAGES, SEEN_RO | kind->size));

	ASSERT_EQ(0, mprotect(self->mem, size, PROT_RW));
	EXPECT_EQ(NPAGES, dmirror_write_stamps(&self->dev, self->mem, NPAGES));
	EXPECT_EQ(NPAGES, stamp_run(self->alias, NPAGES, TAG_DEVICE));
}

/* A write to a read-only mapping fails with -EPERM and faults no page in. */
TEST_F(hmm_dax, mprotect_of_nothing)
{
	stamp_write(self->alias, NPAGES, TAG_CPU);
	ASSERT_EQ(0, mprotect(self->mem, variant->kind.pages * PAGE_SIZE, PROT_READ));
	EXPECT_EQ(-EPERM, dmirror_write_stamps(&self->dev, self->mem, NPAGES));
	EXPECT_EQ(NPAGES, dmirror_sees(&self->dev, self->mem, NPAGES, SEEN_NONE));
	EXPECT_EQ(NPAGES, dmirror_read_stamps(&self->dev, self->mem, NPAGES, TAG_CPU));
}

/* Ranges that end inside of an entry. The memory around them must not change. */

static void test_cut(struct __test_metadata *_metadata, struct dmirror *dev,
		     const struct dax_kind *kind, char *mem, char *alias, long first, long npages)
{
	char *part = page_at(mem, first);

	stamp_write(page_at(alias, first - 1), npages + 2, TAG_CPU);
	stamp_write(page_at(alias, first), npages, TAG_CPU);
	EXPECT_EQ(npages, dmirror_read_stamps(dev, part, npages, TAG_CPU));
	EXPECT_EQ(npages, dmirror_write_stamps(dev, part, npages));
	EXPECT_EQ(npages, stamp_run(page_at(alias, first), npages, TAG_DEVICE));
	EXPECT_EQ(1, stamp_run(page_at(alias, first - 1), 2, TAG_CPU));
	EXPECT_EQ(stamp_of(TAG_CPU, npages + 1), *(__u64 *)page_at(alias, first + npages));
	EXPECT_EQ(npages, dmirror_sees(dev, part, npages, SEEN_RW | kind->size));
}

/* An access to a part of an entry changes nothing around that part. */
TEST_F(hmm_dax, inside_one_entry)
{
	const struct dax_kind *kind = &variant->kind;

	test_cut(_metadata, &self->dev, kind, self->mem, self->alias, kind->pages / 4 + 7, 20);
}

/* An access to parts of two entries changes nothing around those parts. */
TEST_F(hmm_dax, across_two_entries)
{
	const struct dax_kind *kind = &variant->kind;

	test_cut(_metadata, &self->dev, kind, self->mem, self->alias,
		 kind->pages / 2 - NPAGES / 2, NPAGES);
}

/*
 * DAX memory, anonymous memory followed by a hole, and another DAX device:
 *
 *	memory of the variant | anonymous  | hole      | device DAX under PMDs
 *			      | ANON_PAGES | GAP_PAGES | HPAGE_PAGES
 */
#define ANON_PAGES	16
#define EDGE_PAGES	8
#define GAP_PAGES	(HPAGE_PAGES - ANON_PAGES)

static char *map_fixed(struct __test_metadata *_metadata, char *mem, long npages, int flags,
		       int fd, long first)
{
	ASSERT_EQ(mem, mmap(mem, npages * PAGE_SIZE, PROT_RW, flags | MAP_FIXED, fd,
			    first * PAGE_SIZE));
	return mem;
}

/* Returns the address of the anonymous memory. */
static char *assemble(struct __test_metadata *_metadata, const struct dax_kind *kind, int fd)
{
	const long align = kind->entry > HPAGE_PAGES ? kind->entry : HPAGE_PAGES;
	const long first = kind->entry > SMALL_PAGES ? kind->entry : SMALL_PAGES;
	char *area = map_pages(_metadata, 4 * align, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	char *border = (char *)(((uintptr_t)area + 2 * align * PAGE_SIZE - 1) &
				-(align * PAGE_SIZE));
	int back = open("/dev/" DEVICE_PMD, O_RDWR);

	ASSERT_LE(0, back);
	map_fixed(_metadata, page_at(border, -first), first, MAP_SHARED, fd, 0);
	map_fixed(_metadata, border, HPAGE_PAGES, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_EQ(0, madvise(border, HPAGE_SIZE, MADV_NOHUGEPAGE));
	map_fixed(_metadata, page_at(border, HPAGE_PAGES), HPAGE_PAGES, MAP_SHARED, back,
		  2 * HPAGE_PAGES);
	close(back);
	stamp_write(page_at(border, -EDGE_PAGES), EDGE_PAGES + ANON_PAGES, TAG_CPU);
	stamp_write(page_at(border, HPAGE_PAGES), EDGE_PAGES, TAG_CPU);
	return border;
}

/* One snapshot can span DAX memory, anonymous memory, a hole and another DAX device. */
TEST_F(hmm_dax, neighbours_in_a_snapshot)
{
	const struct dax_kind *kind = &variant->kind;
	char *border = assemble(_metadata, kind, self->fd);
	unsigned char seen[EDGE_PAGES + HPAGE_PAGES + EDGE_PAGES];

	ASSERT_EQ((long)sizeof(seen), dmirror_snapshot(&self->dev, page_at(border, -EDGE_PAGES),
						       sizeof(seen), seen));
	for (long i = 0; i < (long)sizeof(seen); i++) {
		unsigned int want = SEEN_HUGE_RW;

		if (i < EDGE_PAGES)
			want = SEEN_RW | kind->size;
		else if (i < EDGE_PAGES + ANON_PAGES)
			want = SEEN_RW;
		else if (i < EDGE_PAGES + HPAGE_PAGES)
			want = SEEN_NONE;
		ASSERT_EQ(want, seen[i])
			TH_LOG("page %ld", i);
	}
}

/* One read can span DAX memory, anonymous memory, a hole and another DAX device. */
TEST_F(hmm_dax, neighbours_read)
{
	const long part = EDGE_PAGES + ANON_PAGES;
	char *border = assemble(_metadata, &variant->kind, self->fd);
	char *seen = self->dev.buf;

	ASSERT_EQ(HPAGE_PAGES, dmirror_read(&self->dev, page_at(border, -EDGE_PAGES), HPAGE_PAGES));
	EXPECT_EQ(part, stamp_run(seen, part, TAG_CPU));
	EXPECT_EQ(GAP_PAGES - EDGE_PAGES,
		  zero_run(page_at(seen, part), GAP_PAGES - EDGE_PAGES));

	ASSERT_EQ(HPAGE_PAGES, dmirror_read(&self->dev, page_at(border, EDGE_PAGES), HPAGE_PAGES));
	EXPECT_EQ(GAP_PAGES, zero_run(page_at(seen, ANON_PAGES - EDGE_PAGES), GAP_PAGES));
	EXPECT_EQ(EDGE_PAGES,
		  stamp_run(page_at(seen, HPAGE_PAGES - EDGE_PAGES), EDGE_PAGES, TAG_CPU));
}

/* One write can span DAX memory, anonymous memory, a hole and another DAX device. */
TEST_F(hmm_dax, neighbours_written)
{
	const long all = HPAGE_PAGES;
	char *border = assemble(_metadata, &variant->kind, self->fd);
	char *first = page_at(border, -EDGE_PAGES);
	char *second = page_at(border, EDGE_PAGES);

	EXPECT_EQ(all, dmirror_write_stamps(&self->dev, first, all));
	EXPECT_EQ(all, stamp_run(first, all, TAG_DEVICE));
	EXPECT_EQ(all, dmirror_write_stamps(&self->dev, second, all));
	EXPECT_EQ(all, stamp_run(second, all, TAG_DEVICE));
}

/* Operations that only files support */

FIXTURE(hmm_fsdax)
{
	struct dmirror dev;
	int fd;
	char *mem;
	char *alias;
};

FIXTURE_VARIANT(hmm_fsdax)
{
	struct dax_kind kind;
	unsigned int hole;	/* how a snapshot reports a hole of the file that was read */
};

FIXTURE_VARIANT_ADD(hmm_fsdax, pte)
{
	.kind = DAX_PTE(FS_DIR),
	.hole = SEEN_ZERO,
};

/* A snapshot does not report the huge zero page as a zero page. */
FIXTURE_VARIANT_ADD(hmm_fsdax, pmd)
{
	.kind = DAX_PMD(FS_DIR),
	.hole = SEEN_HUGE_RO,
};

FIXTURE_SETUP(hmm_fsdax)
{
	dmirror_open(_metadata, &self->dev, 0, HPAGE_PAGES);
	self->fd = dax_open(_metadata, &variant->kind);
	self->mem = dax_map(_metadata, &variant->kind, PROT_RW, self->fd);
	self->alias = dax_map(_metadata, &variant->kind, PROT_RW, self->fd);
}

FIXTURE_TEARDOWN(hmm_fsdax)
{
	close(self->fd);
	close(self->dev.fd);
}

/* A write of the device to a private mapping of a DAX file does not change the file. */
TEST_F(hmm_fsdax, private_mapping)
{
	const struct dax_kind *kind = &variant->kind;
	char *own = map_pages(_metadata, kind->pages, PROT_RW, MAP_PRIVATE, self->fd);

	stamp_write(self->alias, NPAGES, TAG_CPU);
	EXPECT_EQ(NPAGES, dmirror_read_stamps(&self->dev, own, NPAGES, TAG_CPU));
	EXPECT_EQ(NPAGES, dmirror_sees(&self->dev, own, NPAGES, SEEN_RO | kind->size));

	EXPECT_EQ(NPAGES, dmirror_write_stamps(&self->dev, own, NPAGES));
	EXPECT_EQ(NPAGES, dmirror_sees(&self->dev, own, NPAGES, SEEN_RW));
	EXPECT_EQ(NPAGES, stamp_run(own, NPAGES, TAG_DEVICE));
	EXPECT_EQ(NPAGES, stamp_run(self->alias, NPAGES, TAG_CPU));
	EXPECT_EQ(NPAGES, file_run(self->fd, NPAGES, TAG_CPU));
}

/* After a truncation to zero all accesses fail, and after an extension the file reads as zeros. */
TEST_F(hmm_fsdax, truncate)
{
	stamp_write(self->mem, NPAGES, TAG_CPU);
	ASSERT_EQ(NPAGES, dmirror_write_stamps(&self->dev, self->mem, NPAGES));
	ASSERT_EQ(0, ftruncate(self->fd, 0));

	EXPECT_EQ(-EFAULT, dmirror_read(&self->dev, self->mem, 1));
	EXPECT_EQ(-EFAULT, dmirror_write(&self->dev, self->mem, NPAGES));
	EXPECT_EQ(NPAGES, dmirror_sees(&self->dev, self->mem, NPAGES, SEEN_NONE));

	ASSERT_EQ(0, ftruncate(self->fd, variant->kind.pages * PAGE_SIZE));
	EXPECT_EQ(NPAGES, dmirror_read_zeros(&self->dev, self->mem, NPAGES));
}

/* After a truncation inside of an entry, only the pages that the file still has are accessible. */
TEST_F(hmm_fsdax, truncate_inside_an_entry)
{
	const long left = NPAGES / 2;

	stamp_write(self->mem, NPAGES, TAG_CPU);
	ASSERT_EQ(NPAGES, dmirror_read_stamps(&self->dev, self->mem, NPAGES, TAG_CPU));
	ASSERT_EQ(0, ftruncate(self->fd, left * PAGE_SIZE));

	EXPECT_EQ(-EFAULT, dmirror_read(&self->dev, page_at(self->mem, left), 1));
	EXPECT_EQ(-EFAULT, dmirror_write(&self->dev, self->mem, NPAGES));
	EXPECT_EQ(left, dmirror_read_stamps(&self->dev, self->mem, left, TAG_CPU));
	EXPECT_EQ(left, dmirror_write_stamps(&self->dev, self->mem, left));
	EXPECT_EQ(left, file_run(self->fd, left, TAG_DEVICE));
}

/* A punched hole reads as zeros, and a write of the device fills it. */
TEST_F(hmm_fsdax, hole_punched)
{
	const struct dax_kind *kind = &variant->kind;

	stamp_write(self->mem, NPAGES, TAG_CPU);
	ASSERT_EQ(NPAGES, dmirror_write_stamps(&self->dev, self->mem, NPAGES));
	ASSERT_EQ(0, fallocate(self->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
			       kind->pages * PAGE_SIZE));

	EXPECT_EQ(NPAGES, dmirror_sees(&self->dev, self->mem, NPAGES, SEEN_NONE));
	EXPECT_EQ(NPAGES, dmirror_read_zeros(&self->dev, self->mem, NPAGES));
	EXPECT_EQ(NPAGES, dmirror_sees(&self->dev, self->mem, NPAGES, variant->hole));

	EXPECT_EQ(NPAGES, dmirror_write_stamps(&self->dev, self->mem, NPAGES));
	EXPECT_EQ(NPAGES, stamp_run(self->alias, NPAGES, TAG_DEVICE));
}

/*
 * msync() revokes write access of the device, so that the file system is notified of the next
 * write.
 */
TEST_F(hmm_fsdax, msync)
{
	const struct dax_kind *kind = &variant->kind;

	for (int round = 0; round < 2; round++) {
		ASSERT_EQ(NPAGES, dmirror_write_stamps(&self->dev, self->mem, NPAGES));
		EXPECT_EQ(NPAGES, stamp_run(self->alias, NPAGES, TAG_DEVICE));
		EXPECT_EQ(NPAGES,
			  dmirror_sees(&self->dev, self->mem, NPAGES, SEEN_RW | kind->size));
		ASSERT_EQ(0, msync(self->mem, kind->pages * PAGE_SIZE, MS_SYNC));
		EXPECT_EQ(NPAGES,
			  dmirror_sees(&self->dev, self->mem, NPAGES, SEEN_RO | kind->size));
		EXPECT_EQ(NPAGES, dmirror_read_stamps(&self->dev, self->mem, NPAGES, TAG_DEVICE));
		stamp_write(self->alias, NPAGES, TAG_CPU);
	}
}

/* The cells of the table that are absent: each operation must fail. */

/* Device DAX supports none of the operations that the table above calls absent. */
TEST(unsupported_by_device_dax)
{
	static const struct dax_kind kinds[] = {
		DAX_PTE("/dev/" DEVICE_PTE),
		DAX_PMD("/dev/" DEVICE_PMD),
		DAX_PUD("/dev/" DEVICE_PUD),
	};

	ksft_print_msg("absent: FS-DAX under puds; no file system faults in more than a pmd\n");
	for (unsigned int i = 0; i < ARRAY_SIZE(kinds); i++) {
		const struct dax_kind *kind = &kinds[i];
		const size_t size = kind->pages * PAGE_SIZE;
		int fd = dax_open(_metadata, kind);
		char *mem = dax_map(_metadata, kind, PROT_RW, fd);

		ksft_print_msg("absent: private mapping, truncate, hole punch, msync of %s\n",
			       kind->path);
		EXPECT_EQ(MAP_FAILED, mmap(NULL, size, PROT_RW, MAP_PRIVATE, fd, 0));
		EXPECT_EQ(-1, ftruncate(fd, 0));
		EXPECT_EQ(-1, fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, size));
		EXPECT_EQ(-1, msync(mem, size, MS_SYNC));
		munmap(mem, size);
		close(fd);
	}
}

/* Two pagemaps, and memory without a pagemap, in one walk */

/* One walk can alternate between two pagemaps and memory without a pagemap. */
TEST(alternating_pagemaps)
{
	static const struct dax_kind file = DAX_PTE(FS_DIR), device = DAX_PTE("/dev/" DEVICE_PTE);
	const long part = 8, all = 6 * part;
	struct dmirror dev;
	char *mem;

	dmirror_open(_metadata, &dev, 0, all);
	int ffd = dax_open(_metadata, &file), dfd = dax_open(_metadata, &device);

	mem = map_small(_metadata, all);
	map_fixed(_metadata, page_at(mem, 0), part, MAP_SHARED, ffd, 0);
	map_fixed(_metadata, page_at(mem, 2 * part), part, MAP_SHARED, dfd, 3);
	map_fixed(_metadata, page_at(mem, 3 * part), part, MAP_SHARED, ffd, 2 * part);
	map_fixed(_metadata, page_at(mem, 5 * part), part, MAP_SHARED, dfd, 5 * part);

	EXPECT_EQ(all, dmirror_write_stamps(&dev, mem, all));
	EXPECT_EQ(all, stamp_run(mem, all, TAG_DEVICE));
	EXPECT_EQ(all, dmirror_sees(&dev, mem, all, SEEN_RW));
	stamp_write(mem, all, TAG_CPU);
	EXPECT_EQ(all, dmirror_read_stamps(&dev, mem, all, TAG_CPU));
	close(dfd);
	close(ffd);
	close(dev.fd);
}

TEST_HARNESS_MAIN
