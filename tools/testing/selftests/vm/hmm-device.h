/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Verbs of the dmirror test device, for tests of HMM with and without the kselftest harness.
 *
 * They return a number of pages, or a negative errno: a test compares that with the pages it
 * asked for and learns from one number where the device stopped.
 */
#ifndef _SELFTESTS_VM_HMM_DEVICE_H
#define _SELFTESTS_VM_HMM_DEVICE_H

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/ioctl.h>

#include "../kselftest.h"
#include "test_hmm_uapi.h"

/* The expectations are those of x86-64; the fixtures check the base page size. */
#define PAGE_SIZE	4096L
#define HPAGE_SIZE	(2L << 20)
#define HPAGE_PAGES	(HPAGE_SIZE / PAGE_SIZE)
#define WORDS_PER_PAGE	(PAGE_SIZE / (long)sizeof(__u64))

#define PROT_RW		(PROT_READ | PROT_WRITE)

/* A CPU fault on private memory of a device moves that many pages back, at most. */
#define FAULT_AROUND	16

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
	HMM_DMIRROR_TABLE, HMM_DMIRROR_PREFETCH, HMM_DMIRROR_PREFETCH_WORK,
	HMM_DMIRROR_CANCEL, HMM_DMIRROR_READ_UNLOCKED,
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

static inline long dmirror_prefetch_work(struct dmirror *dev, void *addr, long npages)
{
	return dmirror_ioctl(dev->fd, HMM_DMIRROR_PREFETCH_WORK, addr, npages, NULL);
}

static inline long dmirror_wait_work(struct dmirror *dev)
{
	return ioctl(dev->fd, HMM_DMIRROR_WAIT_WORK) ? -errno : 0;
}

/* Returns how many faults it has cancelled. */
static inline long dmirror_cancel(struct dmirror *dev, void *addr, long npages)
{
	return dmirror_ioctl(dev->fd, HMM_DMIRROR_CANCEL, addr, npages, NULL);
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

/* HMM_DMIRROR_FLAG_* */
static inline long dmirror_set_flags(struct dmirror *dev, unsigned long flags)
{
	return dmirror_ioctl(dev->fd, HMM_DMIRROR_FLAGS, NULL, flags, NULL);
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

/* On behalf of somebody who must not sleep, and so does not get past a lock that is taken */
static inline long dmirror_try_invalidate(struct dmirror *dev, void *addr, long npages,
					  __u32 event)
{
	return dmirror_invalidate_for(dev, addr, npages, event, 0, 0);
}

/*
 * He comes back until it is the driver who answers: HMM takes the lock of a mirror as well, a
 * while after something was taken from the device, to free what that has emptied.
 */
static inline long dmirror_invalidate_now(struct dmirror *dev, void *addr, long npages,
					  __u32 event)
{
	const __u64 refused = dmirror_stats(dev).refused;
	long ret;

	do
		ret = dmirror_try_invalidate(dev, addr, npages, event);
	while (ret == -EAGAIN && dmirror_stats(dev).refused == refused);
	return ret;
}

#endif /* _SELFTESTS_VM_HMM_DEVICE_H */
