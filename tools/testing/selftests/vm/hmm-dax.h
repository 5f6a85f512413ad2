/* SPDX-License-Identifier: GPL-2.0 */
/*
 * DAX memory for the tests, as guest/suites/dax.sh sets it up: FS-DAX file systems, and a device
 * DAX device for each size of page table entry. The tests fail without them.
 */
#ifndef _SELFTESTS_VM_HMM_DAX_H
#define _SELFTESTS_VM_HMM_DAX_H

#include "hmm-dmirror-expect.h"
#include "hmm-memory.h"

#define PUD_PAGES	(HPAGE_PAGES * HPAGE_PAGES)

/* Too few pages for an entry of 2 MiB */
#define SMALL_PAGES	128L

struct dax_kind {
	const char *path;	/* device, or directory for a new file */
	long entry;		/* pages of one page table entry */
	long pages;		/* room for at least two entries */
	unsigned int size;	/* how a snapshot reports the size of an entry */
};

#define FS_DIR		"/dax"
#define FS_DIR_UNBOUND	"/dax-unbound"	/* mount point of file systems whose driver is unbound */
#define DEVICE_PUD	"dax0.0"
#define DEVICE_PMD	"dax2.0"
#define DEVICE_PTE	"dax3.0"

#define DAX_PTE(where)	{ .path = (where), .entry = 1, .pages = SMALL_PAGES, .size = 0 }
#define DAX_PMD(where)	{ .path = (where), .entry = HPAGE_PAGES, .pages = 2 * HPAGE_PAGES, \
			  .size = HMM_DMIRROR_PROT_PMD }
#define DAX_PUD(where)	{ .path = (where), .entry = PUD_PAGES, .pages = 2 * PUD_PAGES, \
			  .size = HMM_DMIRROR_PROT_PUD }

static inline bool is_device(const struct dax_kind *kind)
{
	return !strncmp(kind->path, "/dev/", 5);
}

/*
 * A file with allocated blocks. The file system places the blocks of a large file so that PMDs
 * can map them.
 */
static inline int open_file(struct __test_metadata *_metadata, const char *dir, long npages)
{
	int fd = open(dir, O_TMPFILE | O_RDWR, 0600);

	ASSERT_LE(0, fd)
		TH_LOG("no file in %s: %m", dir);
	ASSERT_EQ(0, fallocate(fd, 0, 0, npages * PAGE_SIZE))
		TH_LOG("fallocate of %ld pages: %m", npages);
	return fd;
}

static inline int dax_open(struct __test_metadata *_metadata, const struct dax_kind *kind)
{
	int fd;

	if (!is_device(kind))
		return open_file(_metadata, kind->path, kind->pages);
	fd = open(kind->path, O_RDWR);
	ASSERT_LE(0, fd)
		TH_LOG("%s: %m", kind->path);
	return fd;
}

/* The file system or the driver aligns the address, so that entries of the full size fit. */
static inline char *dax_map(struct __test_metadata *_metadata, const struct dax_kind *kind,
			    int prot, int fd)
{
	return map_pages(_metadata, kind->pages, prot, MAP_SHARED, fd);
}

/* The page after the memory is one that no device may read. */
static inline char *dax_map_before_none(struct __test_metadata *_metadata,
					const struct dax_kind *kind, int fd)
{
	const uintptr_t align = kind->entry * PAGE_SIZE;
	char *area = map_pages(_metadata, 2 * kind->pages, PROT_NONE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1);
	char *mem = (char *)(((uintptr_t)area + align - 1) & -align);

	ASSERT_EQ(mem, mmap(mem, kind->pages * PAGE_SIZE, PROT_RW, MAP_SHARED | MAP_FIXED, fd, 0))
		TH_LOG("mmap of %s: %m", kind->path);
	return mem;
}

/* The CPU writes to each entry, so all of the memory is mapped writable. */
static inline void dax_populate(const struct dax_kind *kind, char *mem)
{
	for (long page = 0; page < kind->pages; page += kind->entry)
		stamp_write(page_at(mem, page), 1, TAG_CPU);
}

#endif /* _SELFTESTS_VM_HMM_DAX_H */
