/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Mappings and files for the tests that use the kselftest harness, and devices with a buffer.
 * The functions assert: a test fails if it cannot have the memory that it needs.
 */
#ifndef _SELFTESTS_VM_HMM_MEMORY_H
#define _SELFTESTS_VM_HMM_MEMORY_H

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <linux/memfd.h>
#include <linux/mman.h>

#include "hmm-dmirror-ioctl.h"
#include "hmm-kernel-files.h"
#include "hmm-stamps.h"

#define PROT_RW		(PROT_READ | PROT_WRITE)

/* Numbers of the devices. The CPU can access the memory of the coherent ones. */
#define PRIVATE		0
#define OTHER_PRIVATE	1
#define COHERENT	2
#define OTHER_COHERENT	3

static inline void *map_pages(struct __test_metadata *_metadata, long npages, int prot,
			      int flags, int fd)
{
	void *mem = mmap(NULL, npages * PAGE_SIZE, prot, flags, fd, 0);

	ASSERT_NE(MAP_FAILED, mem)
		TH_LOG("mmap of %ld pages, flags %#x: %m", npages, flags);
	return mem;
}

/* Anonymous memory that only PTEs map */
static inline char *map_small(struct __test_metadata *_metadata, long npages)
{
	void *mem = map_pages(_metadata, npages, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1);

	ASSERT_EQ(0, madvise(mem, npages * PAGE_SIZE, MADV_NOHUGEPAGE));
	return mem;
}

/* Aligned anonymous memory that PMDs map after the first access */
static inline char *map_thp(struct __test_metadata *_metadata, long nhuge)
{
	char *mem = map_pages(_metadata, (nhuge + 1) * HPAGE_PAGES, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1);

	mem = (char *)(((uintptr_t)mem + HPAGE_SIZE - 1) & -HPAGE_SIZE);
	ASSERT_EQ(0, madvise(mem, nhuge * HPAGE_SIZE, MADV_HUGEPAGE));
	return mem;
}

static inline char *map_hugetlb(struct __test_metadata *_metadata, long nhuge, int prot)
{
	return map_pages(_metadata, nhuge * HPAGE_PAGES, prot,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_HUGE_2MB, -1);
}

static inline int shmem_file(struct __test_metadata *_metadata, unsigned int flags, long npages)
{
	int fd = memfd_create("hmm-tests", MFD_CLOEXEC | flags);

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ftruncate(fd, npages * PAGE_SIZE));
	return fd;
}

static inline int scratch_file(struct __test_metadata *_metadata, long npages)
{
	int fd = open(SCRATCH_DIR, O_TMPFILE | O_RDWR, 0600);
	size_t size = npages * PAGE_SIZE;
	char *content = calloc(npages, PAGE_SIZE);

	ASSERT_LE(0, fd)
		TH_LOG("no file in " SCRATCH_DIR ": %m");
	stamp_write(content, npages, TAG_CPU);
	ASSERT_EQ((ssize_t)size, pwrite(fd, content, size, 0));
	free(content);
	return fd;
}

/* The number of leading pages of the file that hold their stamp */
static inline long file_run(int fd, long npages, enum tag tag)
{
	char *content = malloc(npages * PAGE_SIZE);
	ssize_t got = pread(fd, content, npages * PAGE_SIZE, 0);
	long run = got < 0 ? -errno : stamp_run(content, got / PAGE_SIZE, tag);

	free(content);
	return run;
}

static inline int secret_file(struct __test_metadata *_metadata, long npages)
{
	int fd = syscall(SYS_memfd_secret, 0);

	ASSERT_LE(0, fd)
		TH_LOG("memfd_secret: %m; boot with secretmem.enable=1");
	ASSERT_EQ(0, ftruncate(fd, npages * PAGE_SIZE));
	return fd;
}

/* Mappings without struct pages */

static inline void *find_vvar(struct __test_metadata *_metadata)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	unsigned long start, vvar = 0;
	char line[PATH_MAX];

	ASSERT_NE(NULL, maps);
	while (fgets(line, sizeof(line), maps))
		if (strstr(line, "[vvar]") && sscanf(line, "%lx-", &start) == 1)
			vvar = start;
	fclose(maps);
	ASSERT_NE(0UL, vvar);
	return (void *)vvar;
}

/* The first memory BAR of a PCI function. The kernel refuses to map I/O BARs. */
static inline void *map_bar(const char *function)
{
	char path[PATH_MAX];
	void *mem = MAP_FAILED;

	for (int bar = 0; bar < 6 && mem == MAP_FAILED; bar++) {
		snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/resource%d", function, bar);
		int fd = open(path, O_RDWR);

		if (fd < 0)
			continue;
		mem = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		close(fd);
	}
	return mem;
}

static inline void *map_any_bar(struct __test_metadata *_metadata)
{
	DIR *functions = opendir("/sys/bus/pci/devices");
	void *mem = MAP_FAILED;
	struct dirent *entry;

	ASSERT_NE(NULL, functions);
	while (mem == MAP_FAILED && (entry = readdir(functions)))
		mem = map_bar(entry->d_name);
	closedir(functions);
	ASSERT_NE(MAP_FAILED, mem)
		TH_LOG("no PCI device here has a memory BAR");
	return mem;
}

static inline void dmirror_open(struct __test_metadata *_metadata, struct dmirror *dev, int id,
				long buf_pages)
{
	char path[32];

	ASSERT_EQ(PAGE_SIZE, sysconf(_SC_PAGESIZE));
	snprintf(path, sizeof(path), "/dev/hmm_dmirror%d", id);
	dev->fd = open(path, O_RDWR);
	ASSERT_LE(0, dev->fd)
		TH_LOG("%s: %m (is the module test_hmm loaded?)", path);
	dev->faults = 0;
	dev->buf_pages = buf_pages;
	dev->buf = map_pages(_metadata, buf_pages, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1);
}

#endif /* _SELFTESTS_VM_HMM_MEMORY_H */
