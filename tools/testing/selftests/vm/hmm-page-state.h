/* SPDX-License-Identifier: GPL-2.0 */
/*
 * States of pages as the kernel reports them, and functions that bring pages into a state.
 * The functions assert: a test fails if the kernel does not reach the state.
 */
#ifndef _SELFTESTS_VM_HMM_PAGE_STATE_H
#define _SELFTESTS_VM_HMM_PAGE_STATE_H

#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <linux/kernel-page-flags.h>

#include "hmm-stamps.h"

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

/* @flag is a two-letter name in the VmFlags line of smaps. */
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

/*
 * Reclaim does not see pages in the per-CPU LRU batches, and drains only the batch of its own
 * CPU. move_pages() drains the batches of all CPUs, even if it moves no page.
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

/* Reclaim removes the entries when it drops the pages from the page cache or swaps them out. */
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
 * Move up to a huge page. Returns the number of pages that are on the node afterwards. @step is
 * the number of pages that migrate together.
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

/* The node of all pages, or -1 if there is no such node */
static inline int node_of(char *mem, long npages)
{
	int status, node = -1;
	void *page;

	for (long i = 0; i < npages; i++) {
		page = page_at(mem, i);
		if (syscall(SYS_move_pages, 0, 1, &page, NULL, &status, 0) || status < 0)
			return -1;
		if (i && status != node)
			return -1;
		node = status;
	}
	return node;
}

static inline int signal_of_access(struct __test_metadata *_metadata, char *addr, bool write)
{
	int status;
	pid_t pid = fork();

	ASSERT_LE(0, pid);
	if (!pid) {
		if (write)
			__atomic_store_n(addr, 1, __ATOMIC_RELAXED);
		else
			__atomic_load_n(addr, __ATOMIC_RELAXED);
		_exit(0);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static inline void poison_noticed(int signo)
{
}

/*
 * Returns the PFN for page_unpoison(), which must come after the unmap of the range.
 *
 * The kernel treats the call like a CPU read of the bad page, and forces a SIGBUS. The handler
 * ignores one signal. A second signal means that the test has accessed the page.
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

#endif /* _SELFTESTS_VM_HMM_PAGE_STATE_H */
