/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Verbs for the tests of HMM.
 *
 * Device verbs (dmirror_*) return a number of pages, or a negative errno: a test compares
 * that with the pages it asked for and learns from one number where the device stopped.
 * Set-up verbs assert by themselves: a state that cannot be made fails the test.
 */
#ifndef _SELFTESTS_VM_HMM_DMIRROR_H
#define _SELFTESTS_VM_HMM_DMIRROR_H

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <time.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <linux/kernel-page-flags.h>
#include <linux/memfd.h>
#include <linux/mman.h>
#include <linux/userfaultfd.h>

#include "test_hmm_uapi.h"

/* The expectations are those of x86-64; the fixtures check the base page size. */
#define PAGE_SIZE	4096L
#define HPAGE_SIZE	(2L << 20)
#define HPAGE_PAGES	(HPAGE_SIZE / PAGE_SIZE)
#define WORDS_PER_PAGE	(PAGE_SIZE / (long)sizeof(__u64))

#define PROT_RW		(PROT_READ | PROT_WRITE)

#define SCRATCH_DIR	"/scratch"
#define DEBUG_DIR	"/sys/kernel/debug"
#define TRACE_DIR	DEBUG_DIR "/tracing/"

#define PRIVATE		0	/* devices: whose memory only they can reach */
#define OTHER_PRIVATE	1
#define COHERENT	2	/* and whose memory the CPU can reach as well */
#define OTHER_COHERENT	3

enum seen {
	SEEN_NONE	= HMM_DMIRROR_PROT_NONE,
	SEEN_ERROR	= HMM_DMIRROR_PROT_ERROR,
	SEEN_RO		= HMM_DMIRROR_PROT_READ,
	SEEN_RW		= HMM_DMIRROR_PROT_WRITE,
	SEEN_ZERO	= HMM_DMIRROR_PROT_READ | HMM_DMIRROR_PROT_ZERO,
	SEEN_HUGE_RO	= HMM_DMIRROR_PROT_READ | HMM_DMIRROR_PROT_PMD,
	SEEN_HUGE_RW	= HMM_DMIRROR_PROT_WRITE | HMM_DMIRROR_PROT_PMD,
};

/* What the device has of a page. */
enum mapped {
	MAPS_NOTHING	= 0,
	MAPS_RO		= HMM_DMIRROR_PTE_VALID,
	MAPS_RW		= HMM_DMIRROR_PTE_VALID | HMM_DMIRROR_PTE_WRITE,
};

/* What the device was told. */
enum told {
	TOLD_NOTHING		= HMM_DMIRROR_EVENT_NONE,
	TOLD_MUNMAP		= HMM_DMIRROR_EVENT_MUNMAP,
	TOLD_MIGRATE		= HMM_DMIRROR_EVENT_MIGRATE,
	TOLD_WRITE_PROTECT	= HMM_DMIRROR_EVENT_WRITE_PROTECT,
	TOLD_FORK		= HMM_DMIRROR_EVENT_FORK,
	TOLD_ISDIRTY		= HMM_DMIRROR_EVENT_ISDIRTY,
	TOLD_RFAULT		= HMM_DMIRROR_EVENT_DEVICE_RFAULT,
	TOLD_WFAULT		= HMM_DMIRROR_EVENT_DEVICE_WFAULT,
	TOLD_RELEASE		= HMM_DMIRROR_EVENT_RELEASE,
};

/* Who wrote a page last. */
enum tag {
	TAG_CPU = 0xc9,
	TAG_DEVICE = 0xde,
};

/* An open device with the buffer that its reads fill and its writes take. */
struct dmirror {
	int fd;
	char *buf;
	long buf_pages;
};

static inline char *page_at(char *mem, long index)
{
	return mem + index * PAGE_SIZE;
}

/* Deadlines, for tests that run something for a while, and how long it took */

static inline time_t in_seconds(int seconds)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec + seconds;
}

static inline long msecs_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static inline bool before(time_t deadline)
{
	return in_seconds(0) < deadline;
}

/* Files of the kernel */

static inline bool write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_TRUNC);
	ssize_t len = strlen(text);
	bool done = fd >= 0 && write(fd, text, len) == len;

	close(fd);
	return done;
}

static inline bool file_has(const char *path, const char *text)
{
	FILE *file = fopen(path, "r");
	char line[1024];
	bool found = false;

	while (file && !found && fgets(line, sizeof(line), file))
		found = strstr(line, text);
	if (file)
		fclose(file);
	return found;
}

/* Contents */

static inline __u64 stamp_of(enum tag tag, long page)
{
	return (__u64)tag << 32 | (page + 1);
}

/* Both ends of each page, so that a page copied in part is noticed. */
static inline void stamp_write(void *mem, long npages, enum tag tag)
{
	__u64 *words = mem;

	for (long i = 0; i < npages; i++, words += WORDS_PER_PAGE) {
		words[0] = stamp_of(tag, i);
		words[WORDS_PER_PAGE - 1] = stamp_of(tag, i);
	}
}

/* The number of leading pages that hold their stamp. */
static inline long stamp_run(const void *mem, long npages, enum tag tag)
{
	const __u64 *words = mem;
	long i;

	for (i = 0; i < npages; i++, words += WORDS_PER_PAGE)
		if (words[0] != stamp_of(tag, i) ||
		    words[WORDS_PER_PAGE - 1] != stamp_of(tag, i))
			break;
	return i;
}

/* The number of leading pages that are all zeros. */
static inline long zero_run(const void *mem, long npages)
{
	const __u64 *words = mem;
	long i = 0;

	while (i < npages * WORDS_PER_PAGE && !words[i])
		i++;
	return i / WORDS_PER_PAGE;
}

/* The device */

static inline long dmirror_ioctl(int fd, unsigned long request, void *addr, long npages, void *ptr)
{
	struct hmm_dmirror_cmd cmd = {
		.addr = (uintptr_t)addr,
		.ptr = (uintptr_t)ptr,
		.npages = npages,
	};

	return ioctl(fd, request, &cmd) ? -errno : (long)cmd.cpages;
}

/* What the device can be asked to do with pages */
static const unsigned long page_verbs[] = {
	HMM_DMIRROR_READ, HMM_DMIRROR_WRITE, HMM_DMIRROR_MIGRATE_TO_DEV,
	HMM_DMIRROR_MIGRATE_TO_SYS, HMM_DMIRROR_SNAPSHOT, HMM_DMIRROR_EXCLUSIVE,
	HMM_DMIRROR_CHECK_EXCLUSIVE, HMM_DMIRROR_RELEASE, HMM_DMIRROR_ATTRIBUTES,
	HMM_DMIRROR_TABLE, HMM_DMIRROR_PREFETCH,
};

#define PAGE_VERBS	(sizeof(page_verbs) / sizeof(*page_verbs))

static inline long dmirror_read(struct dmirror *dev, void *addr, long npages)
{
	return dmirror_ioctl(dev->fd, HMM_DMIRROR_READ, addr, npages, dev->buf);
}

static inline long dmirror_write(struct dmirror *dev, void *addr, long npages)
{
	return dmirror_ioctl(dev->fd, HMM_DMIRROR_WRITE, addr, npages, dev->buf);
}

static inline long dmirror_prefetch(struct dmirror *dev, void *addr, long npages)
{
	return dmirror_ioctl(dev->fd, HMM_DMIRROR_PREFETCH, addr, npages, NULL);
}

static inline long dmirror_read_stamps(struct dmirror *dev, void *addr, long npages, enum tag tag)
{
	long done = dmirror_read(dev, addr, npages);

	return done < 0 ? done : stamp_run(dev->buf, done, tag);
}

static inline long dmirror_read_zeros(struct dmirror *dev, void *addr, long npages)
{
	long done;

	memset(dev->buf, 0xff, npages * PAGE_SIZE);
	done = dmirror_read(dev, addr, npages);
	return done < 0 ? done : zero_run(dev->buf, done);
}

static inline long dmirror_write_stamps(struct dmirror *dev, void *addr, long npages)
{
	stamp_write(dev->buf, npages, TAG_DEVICE);
	return dmirror_write(dev, addr, npages);
}

static inline long dmirror_migrate_to_dev(struct dmirror *dev, void *addr, long npages)
{
	return dmirror_ioctl(dev->fd, HMM_DMIRROR_MIGRATE_TO_DEV, addr, npages, dev->buf);
}

static inline long dmirror_migrate_to_sys(struct dmirror *dev, void *addr, long npages)
{
	return dmirror_ioctl(dev->fd, HMM_DMIRROR_MIGRATE_TO_SYS, addr, npages, dev->buf);
}

static inline long dmirror_exclusive(struct dmirror *dev, void *addr, long npages)
{
	return dmirror_ioctl(dev->fd, HMM_DMIRROR_EXCLUSIVE, addr, npages, dev->buf);
}

/* -EPERM while a page of the range is still held exclusively, else 0. */
static inline long dmirror_check_exclusive(struct dmirror *dev, void *addr, long npages)
{
	return dmirror_ioctl(dev->fd, HMM_DMIRROR_CHECK_EXCLUSIVE, addr, npages, dev->buf);
}

static inline long dmirror_snapshot(struct dmirror *dev, void *addr, long npages,
				    unsigned char *seen)
{
	return dmirror_ioctl(dev->fd, HMM_DMIRROR_SNAPSHOT, addr, npages, seen);
}

/* The number of leading pages that show @want in the bits of @mask. */
static inline long dmirror_sees_bits(struct dmirror *dev, void *addr, long npages,
				     unsigned int mask, unsigned int want)
{
	unsigned char *seen = malloc(npages);
	long run, done = dmirror_snapshot(dev, addr, npages, seen);

	for (run = 0; run < done; run++)
		if ((seen[run] & mask) != want) {
			ksft_print_msg("page %ld of %ld: seen 0x%02x, expected 0x%02x\n",
				       run, npages, seen[run], want);
			break;
		}
	free(seen);
	return done < 0 ? done : run;
}

static inline long dmirror_sees(struct dmirror *dev, void *addr, long npages, unsigned int want)
{
	return dmirror_sees_bits(dev, addr, npages, 0xff, want);
}

/* For states that leave the kernel the choice of the mapping's size. */
static inline long dmirror_sees_writable(struct dmirror *dev, void *addr, long npages)
{
	unsigned int mask = HMM_DMIRROR_PROT_READ | HMM_DMIRROR_PROT_WRITE;

	return dmirror_sees_bits(dev, addr, npages, mask, HMM_DMIRROR_PROT_WRITE);
}

/* The mirror of the device */

/* The number of leading pages whose entries show @want in the bits of @mask. */
static inline long dmirror_maps_bits(struct dmirror *dev, void *addr, long npages,
				     __u64 mask, __u64 want)
{
	__u64 *entry = malloc(npages * sizeof(*entry));
	long run, done = dmirror_ioctl(dev->fd, HMM_DMIRROR_TABLE, addr, npages, entry);

	for (run = 0; run < done; run++)
		if ((entry[run] & mask) != want)
			break;
	if (run < done)
		ksft_print_msg("page %ld of %ld: mapped %#llx, expected %#llx\n", run, npages,
			       (unsigned long long)entry[run], (unsigned long long)want);
	free(entry);
	return done < 0 ? done : run;
}

static inline long dmirror_maps(struct dmirror *dev, void *addr, long npages, enum mapped want)
{
	return dmirror_maps_bits(dev, addr, npages, MAPS_RW, want);
}

/* The number of leading pages that the device has for itself. */
static inline long dmirror_has_exclusive(struct dmirror *dev, void *addr, long npages)
{
	const __u64 want = HMM_DMIRROR_PTE_EXCLUSIVE | MAPS_RW;

	return dmirror_maps_bits(dev, addr, npages, want, want);
}

/* The number of leading pages that are mapped in blocks of that order. */
static inline long dmirror_maps_order(struct dmirror *dev, void *addr, long npages, __u64 order)
{
	return dmirror_maps_bits(dev, addr, npages,
				 HMM_DMIRROR_ORDER_MASK << HMM_DMIRROR_ORDER_SHIFT | MAPS_RO,
				 order << HMM_DMIRROR_ORDER_SHIFT | MAPS_RO);
}

/* The number of leading pages that the device is known to have written. */
static inline long dmirror_has_written(struct dmirror *dev, void *addr, long npages)
{
	return dmirror_maps_bits(dev, addr, npages, HMM_DMIRROR_PTE_DIRTY,
				 HMM_DMIRROR_PTE_DIRTY);
}

static inline struct hmm_dmirror_stats dmirror_stats(struct dmirror *dev)
{
	struct hmm_dmirror_stats stats = {};

	if (ioctl(dev->fd, HMM_DMIRROR_STATS, &stats))
		ksft_print_msg("HMM_DMIRROR_STATS: %s\n", strerror(errno));
	return stats;
}

static inline long dmirror_whole(struct dmirror *dev, char *mem, long npages,
				 long (*verb)(struct dmirror *dev, void *addr, long npages))
{
	long i, done;

	for (i = 0; i < npages; i += done) {
		long left = npages - i;

		done = verb(dev, page_at(mem, i), left < dev->buf_pages ? left : dev->buf_pages);
		if (done <= 0)
			return done;
	}
	return i;
}

/* How many faults the device takes when it accesses all of the pages, or a negative errno. */
static inline long dmirror_faults_of(struct dmirror *dev, char *mem, long npages,
				     long (*verb)(struct dmirror *dev, void *addr, long npages))
{
	__u64 before = dmirror_stats(dev).faults;
	long done = dmirror_whole(dev, mem, npages, verb);

	return done == npages ? (long)(dmirror_stats(dev).faults - before) : done;
}

static inline long dmirror_events(struct dmirror *dev, struct hmm_dmirror_event *events,
				  long room)
{
	struct hmm_dmirror_events arg = { .ptr = (uintptr_t)events, .count = room };

	return ioctl(dev->fd, HMM_DMIRROR_EVENTS, &arg) ? -errno : (long)arg.count;
}

static inline void dmirror_forget(struct dmirror *dev)
{
	struct hmm_dmirror_event events[64];

	while (dmirror_events(dev, events, 64) > 0)
		;
}

static inline bool is_fault(const struct hmm_dmirror_event *event)
{
	return event->event == TOLD_RFAULT || event->event == TOLD_WFAULT;
}

static inline void print_event(const char *what, const struct hmm_dmirror_event *event)
{
	ksft_print_msg("%s: event %u of %#llx-%#llx, %sblockable, result %u\n", what,
		       event->event, (unsigned long long)event->start,
		       (unsigned long long)event->end, event->blockable ? "" : "not ",
		       event->result);
}

/*
 * Of how many leading pages the device was told @want since it was asked last. -1: there was
 * another event as well, or one of something else, or one that may block and should not, or the
 * other way round. Faults of its own do not count.
 */
static inline long dmirror_told_how(struct dmirror *dev, void *addr, long npages,
				    enum told want, bool blockable)
{
	const __u64 start = (uintptr_t)addr, end = start + npages * PAGE_SIZE;
	struct hmm_dmirror_event events[HMM_DMIRROR_LOG_SIZE];
	long i, n = dmirror_events(dev, events, HMM_DMIRROR_LOG_SIZE);
	__u64 reached = start, before;

	if (n < 0)
		return n;
	for (i = 0; i < n; i++) {
		if (is_fault(&events[i]))
			continue;
		if (events[i].event == want && events[i].start < end && events[i].end > start &&
		    events[i].blockable == blockable)
			continue;
		print_event("not expected", &events[i]);
		return -1;
	}
	do {
		before = reached;
		for (i = 0; i < n; i++)
			if (!is_fault(&events[i]) && events[i].start <= reached &&
			    events[i].end > reached)
				reached = events[i].end;
	} while (before != reached);
	return ((reached < end ? reached : end) - start) / PAGE_SIZE;
}

static inline long dmirror_told(struct dmirror *dev, void *addr, long npages, enum told want)
{
	return dmirror_told_how(dev, addr, npages, want, true);
}

static inline bool dmirror_told_nothing(struct dmirror *dev)
{
	return !dmirror_told(dev, NULL, 0, TOLD_NOTHING);
}

/* Was it told of faults of its own that are all @want, and of nothing else? */
static inline bool dmirror_told_of_faults(struct dmirror *dev, enum told want)
{
	struct hmm_dmirror_event events[HMM_DMIRROR_LOG_SIZE];
	long i, n = dmirror_events(dev, events, HMM_DMIRROR_LOG_SIZE);

	for (i = 0; i < n; i++)
		if (events[i].event != want)
			break;
	return n > 0 && i == n;
}

/* Waits for the end of the mirror: nothing comes behind it. */
static inline bool dmirror_released(struct dmirror *dev)
{
	struct hmm_dmirror_event event;
	time_t deadline = in_seconds(20);

	while (before(deadline)) {
		if (dmirror_events(dev, &event, 1) != 1)
			usleep(10000);
		else if (event.event == TOLD_RELEASE)
			return dmirror_events(dev, &event, 1) == 0;
	}
	return false;
}

static inline long dmirror_refuse(struct dmirror *dev, __u64 nonblockable, __u64 faults,
				  __u32 error)
{
	struct hmm_dmirror_refuse refuse = {
		.nonblockable = nonblockable,
		.faults = faults,
		.error = error,
	};

	return ioctl(dev->fd, HMM_DMIRROR_REFUSE, &refuse) ? -errno : 0;
}

static inline long dmirror_hold(struct dmirror *dev, __u64 msecs)
{
	struct hmm_dmirror_hold hold = { .msecs = msecs };

	return ioctl(dev->fd, HMM_DMIRROR_HOLD, &hold) ? -errno : 0;
}

static inline long dmirror_invalidate_for(struct dmirror *dev, void *addr, long npages,
					  __u32 event, __u32 flags, __u64 msecs)
{
	struct hmm_dmirror_invalidate invalidate = {
		.addr = (uintptr_t)addr,
		.npages = npages,
		.msecs = msecs,
		.event = event,
		.flags = flags,
	};

	return ioctl(dev->fd, HMM_DMIRROR_INVALIDATE, &invalidate) ? -errno : 0;
}

static inline long dmirror_invalidate(struct dmirror *dev, void *addr, long npages, __u32 event)
{
	return dmirror_invalidate_for(dev, addr, npages, event, HMM_DMIRROR_NOTIFY_BLOCKABLE, 0);
}

/* On behalf of somebody who must not sleep */
static inline long dmirror_invalidate_now(struct dmirror *dev, void *addr, long npages,
					  __u32 event)
{
	return dmirror_invalidate_for(dev, addr, npages, event, 0, 0);
}

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

/* One call may find the pages still in a per-CPU batch, out of reclaim's reach. */
static inline void swap_out(struct __test_metadata *_metadata, char *mem, long npages)
{
	long swapped = 0;

	for (int tries = 0; tries < 100 && swapped < npages; tries++) {
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
