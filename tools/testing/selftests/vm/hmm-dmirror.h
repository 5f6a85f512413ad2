/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Verbs for the tests of HMM that use the kselftest harness. Those of the device are in
 * hmm-device.h; these set things up and assert by themselves: a state that cannot be made
 * fails the test.
 */
#ifndef _SELFTESTS_VM_HMM_DMIRROR_H
#define _SELFTESTS_VM_HMM_DMIRROR_H

#include <dirent.h>
#include <limits.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <linux/kernel-page-flags.h>
#include <linux/memfd.h>
#include <linux/mman.h>
#include <linux/userfaultfd.h>

#include "hmm-device.h"

/* Memory */

static inline void *map_pages(struct __test_metadata *_metadata, long npages, int prot,
			      int flags, int fd)
{
	void *mem = mmap(NULL, npages * PAGE_SIZE, prot, flags, fd, 0);

	ASSERT_NE(MAP_FAILED, mem)
		TH_LOG("mmap of %ld pages, flags %#x: %m", npages, flags);
	return mem;
}

/* Anonymous memory that is mapped by ptes only. */
static inline char *map_small(struct __test_metadata *_metadata, long npages)
{
	void *mem = map_pages(_metadata, npages, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1);

	ASSERT_EQ(0, madvise(mem, npages * PAGE_SIZE, MADV_NOHUGEPAGE));
	return mem;
}

/* Aligned anonymous memory that a first touch maps by pmds. */
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

/* The number of leading pages of the file that hold their stamp. */
static inline long file_run(int fd, long npages, enum tag tag)
{
	char *content = malloc(npages * PAGE_SIZE);
	ssize_t got = pread(fd, content, npages * PAGE_SIZE, 0);
	long run = got < 0 ? -errno : stamp_run(content, got / PAGE_SIZE, tag);

	free(content);
	return run;
}

/* What the kernel itself says about an address */

#define PM_PFN_MASK	((1ULL << 55) - 1)
#define PM_SOFT_DIRTY	(1ULL << 55)
#define PM_UFFD_WP	(1ULL << 57)
#define PM_SWAP		(1ULL << 62)
#define PM_PRESENT	(1ULL << 63)

static inline __u64 read_u64_at(struct __test_metadata *_metadata, const char *path,
				__u64 index)
{
	int fd = open(path, O_RDONLY);
	__u64 value;

	ASSERT_LE(0, fd)
		TH_LOG("%s: %m", path);
	ASSERT_EQ((ssize_t)sizeof(value),
		  pread(fd, &value, sizeof(value), index * sizeof(value)));
	close(fd);
	return value;
}

static inline __u64 pagemap_of(struct __test_metadata *_metadata, void *addr)
{
	return read_u64_at(_metadata, "/proc/self/pagemap", (uintptr_t)addr / PAGE_SIZE);
}

static inline bool is_uffd_wp(struct __test_metadata *_metadata, void *addr)
{
	return pagemap_of(_metadata, addr) & PM_UFFD_WP;
}

static inline __u64 pfn_of(struct __test_metadata *_metadata, void *addr)
{
	__u64 entry = pagemap_of(_metadata, addr);

	ASSERT_NE(0ULL, entry & PM_PRESENT);
	return entry & PM_PFN_MASK;
}

static inline bool page_has_flag(struct __test_metadata *_metadata, void *addr, int flag)
{
	return read_u64_at(_metadata, "/proc/kpageflags", pfn_of(_metadata, addr)) >> flag & 1;
}

/* @flag is one of the two-letter names in the VmFlags line of smaps. */
static inline bool vma_has_flag(struct __test_metadata *_metadata, void *addr, const char *flag)
{
	FILE *smaps = fopen("/proc/self/smaps", "r");
	unsigned long start, end;
	bool inside = false, found = false;
	char line[PATH_MAX];

	ASSERT_NE(NULL, smaps);
	while (fgets(line, sizeof(line), smaps)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			inside = (uintptr_t)addr >= start && (uintptr_t)addr < end;
		else if (inside && !strncmp(line, "VmFlags:", 8))
			found = strstr(line + 8, flag);
	}
	fclose(smaps);
	return found;
}

/* States that need help from the kernel */

/*
 * Reclaim does not see pages that are still in a batch on their way to the LRU lists, and drains
 * that of its own CPU only. Moving pages, even none, begins with those of all CPUs.
 */
static inline void drain_lru_batches(struct __test_metadata *_metadata)
{
	int node, status;

	ASSERT_EQ(0, syscall(SYS_move_pages, 0, 0, NULL, &node, &status, 0));
}

static inline void swap_out(struct __test_metadata *_metadata, char *mem, long npages)
{
	long swapped = 0;

	for (int tries = 0; tries < 100 && swapped < npages; tries++) {
		drain_lru_batches(_metadata);
		ASSERT_EQ(0, madvise(mem, npages * PAGE_SIZE, MADV_PAGEOUT));
		for (swapped = 0; swapped < npages; swapped++)
			if (!(pagemap_of(_metadata, mem + swapped * PAGE_SIZE) & PM_SWAP))
				break;
	}
	ASSERT_EQ(npages, swapped)
		TH_LOG("pages stay in memory: is swap on?");
}

/* Their entries go when they are dropped from the page cache, or swapped out. */
static inline void reclaim_file(struct __test_metadata *_metadata, char *mem, long npages)
{
	long left = npages;

	for (int tries = 0; tries < 100 && left; tries++) {
		drain_lru_batches(_metadata);
		ASSERT_EQ(0, madvise(mem, npages * PAGE_SIZE, MADV_PAGEOUT));
		left = 0;
		for (long i = 0; i < npages; i++)
			left += !!(pagemap_of(_metadata, page_at(mem, i)) & PM_PRESENT);
	}
	ASSERT_EQ(0, left);
}

/*
 * The number of pages, of a huge page at most, that are on the node once those that can have
 * moved there.
 */
static inline long move_to_node(char *mem, long npages, long step, int node)
{
	void *pages[HPAGE_PAGES];
	int nodes[HPAGE_PAGES], status[HPAGE_PAGES];
	long i, n = 0, there = 0;

	for (i = 0; i < npages; i += step) {
		pages[n] = page_at(mem, i);
		nodes[n++] = node;
	}
	if (syscall(SYS_move_pages, 0, n, pages, nodes, status, 2 /* MPOL_MF_MOVE */) < 0)
		return -errno;
	for (i = 0; i < n; i++)
		there += status[i] == node ? step : 0;
	return there;
}

static inline void poison_noticed(int signo)
{
}

/*
 * Returns the pfn, which page_unpoison() wants after the range has been unmapped.
 *
 * The kernel treats the call as if the CPU had read the bad page, and sends SIGBUS by force. One
 * is let pass; a second would be a test that touches what it has poisoned.
 */
static inline __u64 page_poison(struct __test_metadata *_metadata, void *addr, long size)
{
	struct sigaction once = {
		.sa_handler = poison_noticed,
		.sa_flags = SA_RESETHAND,
	};
	__u64 pfn = pfn_of(_metadata, addr);

	ASSERT_EQ(0, sigaction(SIGBUS, &once, NULL));
	ASSERT_EQ(0, madvise(addr, size, MADV_HWPOISON))
		TH_LOG("MADV_HWPOISON: %m");
	return pfn;
}

static inline void page_unpoison(struct __test_metadata *_metadata, __u64 pfn)
{
	int fd = open("/sys/kernel/debug/hwpoison/unpoison-pfn", O_WRONLY);
	char text[32];
	int len = snprintf(text, sizeof(text), "%#llx", (unsigned long long)pfn);

	ASSERT_LE(0, fd)
		TH_LOG("unpoison-pfn: %m");
	ASSERT_EQ(len, write(fd, text, len))
		TH_LOG("unpoison of pfn %s: %m", text);
	close(fd);
}

static inline int secret_file(struct __test_metadata *_metadata, long npages)
{
	int fd = syscall(SYS_memfd_secret, 0);

	ASSERT_LE(0, fd)
		TH_LOG("memfd_secret: %m; boot with secretmem.enable=1");
	ASSERT_EQ(0, ftruncate(fd, npages * PAGE_SIZE));
	return fd;
}

static inline int uffd_open(struct __test_metadata *_metadata, int flags, __u64 features)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC | flags);

	ASSERT_LE(0, fd)
		TH_LOG("userfaultfd: %m");
	ASSERT_EQ(0, ioctl(fd, UFFDIO_API, &api))
		TH_LOG("features %#llx: %m", (unsigned long long)features);
	return fd;
}

static inline void uffd_register(struct __test_metadata *_metadata, int fd, void *mem,
				 long npages, __u64 mode)
{
	struct uffdio_register reg = {
		.range = { .start = (uintptr_t)mem, .len = npages * PAGE_SIZE },
		.mode = mode,
	};

	ASSERT_EQ(0, ioctl(fd, UFFDIO_REGISTER, &reg))
		TH_LOG("UFFDIO_REGISTER mode %#llx: %m", (unsigned long long)mode);
}

static inline void uffd_write_protect(struct __test_metadata *_metadata, int fd, void *mem,
				      long npages)
{
	struct uffdio_writeprotect wp = {
		.range = { .start = (uintptr_t)mem, .len = npages * PAGE_SIZE },
		.mode = UFFDIO_WRITEPROTECT_MODE_WP,
	};

	ASSERT_EQ(0, ioctl(fd, UFFDIO_WRITEPROTECT, &wp));
}

static inline void uffd_poison(struct __test_metadata *_metadata, int fd, void *mem, long npages)
{
	struct uffdio_poison poison = {
		.range = { .start = (uintptr_t)mem, .len = npages * PAGE_SIZE },
	};

	ASSERT_EQ(0, ioctl(fd, UFFDIO_POISON, &poison));
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

/* The first memory BAR of a PCI function; I/O BARs refuse to be mapped. */
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

/* A child that shares the pages of its parent until it is asked what it sees there. */

struct witness {
	pid_t pid;
	int ask;
};

static inline struct witness witness_fork(struct __test_metadata *_metadata, void *mem,
					  long npages, enum tag tag)
{
	struct witness witness;
	int question[2];
	char byte;

	ASSERT_EQ(0, pipe(question));
	witness.ask = question[1];
	witness.pid = fork();
	ASSERT_LE(0, witness.pid);
	if (!witness.pid) {
		close(question[1]);
		/* Returns at the parent's close(). */
		if (read(question[0], &byte, 1))
			_exit(2);
		_exit(stamp_run(mem, npages, tag) != npages);
	}
	close(question[0]);
	return witness;
}

static inline bool witness_saw_no_change(struct witness *witness)
{
	int status;

	close(witness->ask);
	return waitpid(witness->pid, &status, 0) == witness->pid &&
	       WIFEXITED(status) && !WEXITSTATUS(status);
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
	dev->buf_pages = buf_pages;
	dev->buf = map_pages(_metadata, buf_pages, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1);
}

#endif /* _SELFTESTS_VM_HMM_DMIRROR_H */
