/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a device sees, maps and is notified of, compared with what a test expects. A function
 * returns a number of pages, or a negative errno: a test compares it with the number of pages
 * that it has passed, and the difference shows where the device stopped.
 */
#ifndef _SELFTESTS_VM_HMM_DMIRROR_EXPECT_H
#define _SELFTESTS_VM_HMM_DMIRROR_EXPECT_H

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../kselftest.h"
#include "hmm-deadlines.h"
#include "hmm-dmirror-ioctl.h"
#include "hmm-stamps.h"

/* A CPU fault on private device memory migrates back up to this number of pages. */
#define FAULT_AROUND	16

enum seen {
	SEEN_NONE	= HMM_DMIRROR_PROT_NONE,
	SEEN_ERROR	= HMM_DMIRROR_PROT_ERROR,
	SEEN_RO		= HMM_DMIRROR_PROT_READ,
	SEEN_RW		= HMM_DMIRROR_PROT_WRITE,
	SEEN_ZERO	= HMM_DMIRROR_PROT_READ | HMM_DMIRROR_PROT_ZERO,
	SEEN_HUGE_RO	= HMM_DMIRROR_PROT_READ | HMM_DMIRROR_PROT_PMD,
	SEEN_HUGE_RW	= HMM_DMIRROR_PROT_WRITE | HMM_DMIRROR_PROT_PMD,
};

/* Access of the device to a page */
enum mapped {
	MAPS_NOTHING	= 0,
	MAPS_RO		= HMM_DMIRROR_PTE_VALID,
	MAPS_RW		= HMM_DMIRROR_PTE_VALID | HMM_DMIRROR_PTE_WRITE,
};

/* Events that the device was notified of */
enum notified {
	EVENT_NOTHING		= HMM_DMIRROR_EVENT_NONE,
	EVENT_MUNMAP		= HMM_DMIRROR_EVENT_MUNMAP,
	EVENT_MIGRATE		= HMM_DMIRROR_EVENT_MIGRATE,
	EVENT_WRITE_PROTECT	= HMM_DMIRROR_EVENT_WRITE_PROTECT,
	EVENT_FORK		= HMM_DMIRROR_EVENT_FORK,
	EVENT_ISDIRTY		= HMM_DMIRROR_EVENT_ISDIRTY,
	EVENT_RFAULT		= HMM_DMIRROR_EVENT_DEVICE_RFAULT,
	EVENT_WFAULT		= HMM_DMIRROR_EVENT_DEVICE_WFAULT,
	EVENT_RELEASE		= HMM_DMIRROR_EVENT_RELEASE,
};

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

/* The number of leading pages for which the bits of @mask equal @want */
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

/* For states in which the kernel may choose the size of the entry */
static inline long dmirror_sees_writable(struct dmirror *dev, void *addr, long npages)
{
	unsigned int mask = HMM_DMIRROR_PROT_READ | HMM_DMIRROR_PROT_WRITE;

	return dmirror_sees_bits(dev, addr, npages, mask, HMM_DMIRROR_PROT_WRITE);
}

/* The mirror page table of the device */

/* The number of leading pages whose entries equal @want in the bits of @mask */
static inline long dmirror_maps_bits(struct dmirror *dev, void *addr, long npages,
				     __u64 mask, __u64 want)
{
	__u64 *entry = malloc(npages * sizeof(*entry));
	long run, done = dmirror_table(dev, addr, npages, entry);

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

/* The number of leading pages with exclusive access of the device */
static inline long dmirror_has_exclusive(struct dmirror *dev, void *addr, long npages)
{
	const __u64 want = HMM_DMIRROR_PTE_EXCLUSIVE | MAPS_RW;

	return dmirror_maps_bits(dev, addr, npages, want, want);
}

/* The number of leading pages that the device maps in blocks of @order */
static inline long dmirror_maps_order(struct dmirror *dev, void *addr, long npages, __u64 order)
{
	return dmirror_maps_bits(dev, addr, npages,
				 HMM_DMIRROR_ORDER_MASK << HMM_DMIRROR_ORDER_SHIFT | MAPS_RO,
				 order << HMM_DMIRROR_ORDER_SHIFT | MAPS_RO);
}

/* The number of leading pages that are dirty in the mirror page table */
static inline long dmirror_has_written(struct dmirror *dev, void *addr, long npages)
{
	return dmirror_maps_bits(dev, addr, npages, HMM_DMIRROR_PTE_DIRTY,
				 HMM_DMIRROR_PTE_DIRTY);
}

static inline struct hmm_dmirror_stats dmirror_stats(struct dmirror *dev)
{
	struct hmm_dmirror_stats stats = {};
	long ret = dmirror_get_stats(dev, &stats);

	if (ret)
		ksft_print_msg("HMM_DMIRROR_STATS: %s\n", strerror(-ret));
	return stats;
}

static inline long dmirror_whole(struct dmirror *dev, char *mem, long npages,
				 dmirror_verb *verb)
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

/* Returns the number of faults that the device takes for all pages, or a negative errno. */
static inline long dmirror_faults_of(struct dmirror *dev, char *mem, long npages,
				     dmirror_verb *verb)
{
	__u64 before = dmirror_stats(dev).faults;
	long done = dmirror_whole(dev, mem, npages, verb);

	return done == npages ? (long)(dmirror_stats(dev).faults - before) : done;
}

static inline void dmirror_forget(struct dmirror *dev)
{
	struct hmm_dmirror_event events[64];

	while (dmirror_events(dev, events, 64) > 0)
		;
}

static inline bool is_fault(const struct hmm_dmirror_event *event)
{
	return event->event == EVENT_RFAULT || event->event == EVENT_WFAULT;
}

static inline void print_event(const char *what, const struct hmm_dmirror_event *event)
{
	ksft_print_msg("%s: event %u of %#llx-%#llx, %sblockable, result %u\n", what,
		       event->event, (unsigned long long)event->start,
		       (unsigned long long)event->end, event->blockable ? "" : "not ",
		       event->result);
}

/*
 * The number of leading pages that events since the last call have covered. Returns -1 if there
 * was an event of another kind or for another range, or with another value of @blockable. The
 * device's own faults do not count.
 */
static inline long dmirror_notified_how(struct dmirror *dev, void *addr, long npages,
					enum notified want, bool blockable)
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

static inline long dmirror_notified(struct dmirror *dev, void *addr, long npages,
				    enum notified want)
{
	return dmirror_notified_how(dev, addr, npages, want, true);
}

static inline bool dmirror_not_notified(struct dmirror *dev)
{
	return !dmirror_notified(dev, NULL, 0, EVENT_NOTHING);
}

/* Returns true if all events are device faults of the kind @want. */
static inline bool dmirror_notified_of_faults(struct dmirror *dev, enum notified want)
{
	struct hmm_dmirror_event events[HMM_DMIRROR_LOG_SIZE];
	long i, n = dmirror_events(dev, events, HMM_DMIRROR_LOG_SIZE);

	for (i = 0; i < n; i++)
		if (events[i].event != want)
			break;
	return n > 0 && i == n;
}

/* Wait for the release of the mirror, which must be the last event. */
static inline bool dmirror_released(struct dmirror *dev)
{
	struct hmm_dmirror_event event;
	time_t deadline = in_seconds(20);

	while (before(deadline)) {
		if (dmirror_events(dev, &event, 1) != 1)
			usleep(10000);
		else if (event.event == EVENT_RELEASE)
			return dmirror_events(dev, &event, 1) == 0;
	}
	return false;
}

static inline long dmirror_invalidate(struct dmirror *dev, void *addr, long npages, __u32 event)
{
	return dmirror_invalidate_for(dev, addr, npages, event, HMM_DMIRROR_NOTIFY_BLOCKABLE, 0);
}

/* An invalidation that must not block, and so fails while the lock of the mirror is taken */
static inline long dmirror_try_invalidate(struct dmirror *dev, void *addr, long npages,
					  __u32 event)
{
	return dmirror_invalidate_for(dev, addr, npages, event, 0, 0);
}

#endif /* _SELFTESTS_VM_HMM_DMIRROR_EXPECT_H */
