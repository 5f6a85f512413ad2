// SPDX-License-Identifier: GPL-2.0
/* Kinds of memory, and the rows that show which of them the device can access */
#define _GNU_SOURCE
#include <stdlib.h>
#include <unistd.h>
#include <linux/magic.h>
#include <linux/mman.h>
#include <sys/mman.h>
#include <sys/vfs.h>

#include "demo.h"

#define ANON	(MAP_PRIVATE | MAP_ANONYMOUS)

static int open_ext4(struct demo *d)
{
	char path[] = "/scratch/demo.XXXXXX";
	struct statfs fs;

	d->fd = mkstemp(path);
	if (failed(d, "new file in /scratch", d->fd < 0) ||
	    failed(d, path, unlink(path) || fstatfs(d->fd, &fs)))
		return -1;
	if (fs.f_type != EXT4_SUPER_MAGIC)
		return fail(d, "/scratch is not an ext4 filesystem");
	return file_is_written(d, FIRST);
}

static int open_memfd(struct demo *d)
{
	d->fd = memfd_create("demo", MFD_CLOEXEC);
	if (failed(d, "memfd_create", d->fd < 0))
		return -1;
	return failed(d, "ftruncate", ftruncate(d->fd, d->kind->size));
}

static const struct kind file = {
	.size = 1 * MIB, .open = open_ext4, .written = true, .flags = MAP_SHARED,
};
static const struct kind shmem = { .size = 1 * MIB, .open = open_memfd, .flags = MAP_SHARED };
const struct kind small_pages = { .size = 1 * MIB, .flags = ANON, .advice = MADV_NOHUGEPAGE };
static const struct kind thp = { .size = 4 * MIB, .flags = ANON, .advice = MADV_HUGEPAGE };
static const struct kind hugetlb = { .size = 4 * MIB, .flags = ANON | MAP_HUGETLB | MAP_HUGE_2MB };

int memory_map(struct demo *d)
{
	const struct kind *kind = d->kind;

	if (failed(d, "mmap", mmap(PLACE, kind->size, PROT_READ | PROT_WRITE,
				   kind->flags | MAP_FIXED_NOREPLACE, d->fd, 0) == MAP_FAILED) ||
	    failed(d, "madvise", madvise(PLACE, kind->size, kind->advice)))
		return -1;
	d->mem = PLACE;
	return 0;
}

/* Begin a scene with new memory. */
int memory_new(struct demo *d)
{
	d->scene++;
	d->mem = NULL;
	munmap(PLACE, OTHER_PLACE + MAX_SIZE - PLACE);
	if (d->fd >= 0)
		close(d->fd);
	d->fd = -1;
	return d->kind->open && d->kind->open(d) ? -1 : memory_map(d);
}

static bool is_pmd_mapped(unsigned char prot)
{
	return prot != HMM_DMIRROR_PROT_ERROR && prot & HMM_DMIRROR_PROT_PMD;
}

/* The kinds that are larger than 2 MiB are mapped by entries of 2 MiB. */
static int memory_is_read(struct demo *d)
{
	if (memory_new(d))
		return -1;
	if (!d->kind->written)
		cpu_writes(d, FIRST);
	if (pages_must_be(d, "under 2 MiB entries", is_pmd_mapped,
			  d->kind->size > 2 * MIB ? npages(d) : 0))
		return -1;
	return read_and_compare(d, FIRST);
}

/* Reuses the memory of the row before. */
static int memory_is_written(struct demo *d)
{
	if (!d->mem)
		return fail(d, "not run, the memory could not be mapped");
	if (write_and_compare(d, SECOND))
		return -1;
	return d->fd < 0 ? 0 : file_must_hold(d, SECOND);
}

/* A row of this table. The title of a row without _expected says enough. */
#define MEMORY(_what, _kind, _run, _expected) \
	{ .what = _what, .kind = _kind, .run = _run, .expected = _expected }

const struct row memory_rows[] = {
	MEMORY("file on ext4: device reads", &file, memory_is_read, NULL),
	MEMORY("file on ext4: device writes", &file, memory_is_written, NULL),
	MEMORY("anonymous 4 KiB pages: device reads", &small_pages, memory_is_read,
	       "no page under a 2 MiB entry, the content that the CPU wrote"),
	MEMORY("anonymous 4 KiB pages: device writes", &small_pages, memory_is_written, NULL),
	MEMORY("anonymous THP: device reads", &thp, memory_is_read,
	       "every page under a 2 MiB entry, the content that the CPU wrote"),
	MEMORY("anonymous THP: device writes", &thp, memory_is_written, NULL),
	MEMORY("hugetlb 2 MiB pages: device reads", &hugetlb, memory_is_read,
	       "every page under a 2 MiB entry, the content that the CPU wrote"),
	MEMORY("hugetlb 2 MiB pages: device writes", &hugetlb, memory_is_written, NULL),
	MEMORY("shmem (memfd): device reads", &shmem, memory_is_read, NULL),
	MEMORY("shmem (memfd): device writes", &shmem, memory_is_written, NULL),
	{ 0 },
};
