// SPDX-License-Identifier: GPL-2.0
/* The events that a change causes, and the access that the device has afterwards */
#define _GNU_SOURCE
#include <string.h>

#include "demo.h"

#define ROOM	64

static const char *event_name(const struct hmm_dmirror_event *event)
{
	static const char * const names[] = {
		[HMM_DMIRROR_EVENT_MUNMAP] = "munmap",
		[HMM_DMIRROR_EVENT_MIGRATE] = "migrate",
		[HMM_DMIRROR_EVENT_WRITE_PROTECT] = "write-protect",
		[HMM_DMIRROR_EVENT_FORK] = "fork",
		[HMM_DMIRROR_EVENT_ISDIRTY] = "isdirty",
		[HMM_DMIRROR_EVENT_RELEASE] = "release",
	};
	const char *name = NULL;

	if (event->event < sizeof(names) / sizeof(*names))
		name = names[event->event];
	return name ? name : "?";
}

/* The device's own faults do not count. */
static bool is_fault(const struct hmm_dmirror_event *event)
{
	return event->event == HMM_DMIRROR_EVENT_DEVICE_RFAULT ||
	       event->event == HMM_DMIRROR_EVENT_DEVICE_WFAULT;
}

static int add_event(struct demo *d, const struct hmm_dmirror_event *event)
{
	struct notified *notified = &d->notified;

	if (is_fault(event))
		return 0;
	if (!notified->event) {
		*notified = (struct notified){
			.event = event_name(event),
			.start = event->start,
			.end = event->end,
			.blockable = event->blockable,
		};
	}
	if (strcmp(notified->event, event_name(event)) || notified->blockable != event->blockable)
		return fail(d, "the device is notified of: %s, and then of: %s", notified->event,
			    event_name(event));
	notified->size += event->end - event->start;
	if (event->start < notified->start)
		notified->start = event->start;
	if (event->end > notified->end)
		notified->end = event->end;
	return 0;
}

static int read_events(struct demo *d)
{
	struct hmm_dmirror_event events[ROOM];
	long i, n;

	d->notified = (struct notified){ 0 };
	do {
		n = dmirror_events(&d->dev, events, ROOM);
		if (n < 0)
			return fail(d, "event log: %s", strerror(-n));
		for (i = 0; i < n; i++)
			if (add_event(d, &events[i]))
				return -1;
	} while (n);
	return 0;
}

int forget_events(struct demo *d)
{
	struct hmm_dmirror_event events[ROOM];
	long n;

	do {
		n = dmirror_events(&d->dev, events, ROOM);
	} while (n > 0);
	d->notified = (struct notified){ 0 };
	d->maps = NULL;
	return n < 0 ? fail(d, "event log: %s", strerror(-n)) : 0;
}

/* The entries at the address that the memory had before the change */
static int read_table(struct demo *d)
{
	__u64 entries[MAX_SIZE / PAGE];
	size_t may_read = 0, may_write = 0, i;

	if (all_pages(d, "table", dmirror_table(&d->dev, PLACE, npages(d), entries), npages(d)))
		return -1;
	for (i = 0; i < npages(d); i++) {
		may_read += !!(entries[i] & HMM_DMIRROR_PTE_VALID);
		may_write += !!(entries[i] & HMM_DMIRROR_PTE_WRITE);
	}
	if (!may_read)
		d->maps = "nothing";
	else if (may_read == npages(d) && !may_write)
		d->maps = "read-only";
	else if (may_write == npages(d))
		d->maps = "read-write";
	else
		d->maps = "some of it";
	return 0;
}

/* Compare with the row, after the change and before the next access of the device. */
int device_is_notified(struct demo *d)
{
	const char *want = d->row->event;
	struct notified *notified = &d->notified;

	if (read_events(d) || read_table(d))
		return -1;
	if (!notified->event)
		notified->event = "nothing";
	if (strcmp(notified->event, want))
		return fail(d, "the device is notified of: %s, instead of: %s", notified->event,
			    want);
	if (strcmp(want, "nothing") && (notified->size < notified->end - notified->start ||
					notified->start > (uintptr_t)PLACE ||
					notified->end < (uintptr_t)PLACE + d->kind->size))
		return fail(d, "the device is notified of a part of the range only");
	if (strcmp(d->maps, d->row->maps))
		return fail(d, "the device still maps: %s, instead of: %s", d->maps, d->row->maps);
	return 0;
}
