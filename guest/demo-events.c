// SPDX-License-Identifier: GPL-2.0
/* What the device is told when the CPU changes the mapping, and what it maps from then on */
#define _GNU_SOURCE
#include <string.h>

#include "demo.h"
#include "test_hmm_uapi.h"

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

/* The device's own faults: nobody had to tell it */
static bool is_fault(const struct hmm_dmirror_event *event)
{
	return event->event == HMM_DMIRROR_EVENT_DEVICE_RFAULT ||
	       event->event == HMM_DMIRROR_EVENT_DEVICE_WFAULT;
}

static int add_event(struct demo *d, const struct hmm_dmirror_event *event)
{
	struct told *told = &d->told;

	if (is_fault(event))
		return 0;
	if (!told->event) {
		*told = (struct told){
			.event = event_name(event),
			.start = event->start,
			.end = event->end,
			.blockable = event->blockable,
		};
	}
	if (strcmp(told->event, event_name(event)) || told->blockable != event->blockable)
		return fail(d, "the device is told: %s, and then: %s", told->event,
			    event_name(event));
	told->size += event->end - event->start;
	if (event->start < told->start)
		told->start = event->start;
	if (event->end > told->end)
		told->end = event->end;
	return 0;
}

static int read_events(struct demo *d)
{
	struct hmm_dmirror_event events[ROOM];
	long i, n;

	d->told = (struct told){ 0 };
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
	d->told = (struct told){ 0 };
	d->maps = NULL;
	return n < 0 ? fail(d, "event log: %s", strerror(-n)) : 0;
}

/* At the place where the memory was before the change */
static int read_table(struct demo *d)
{
	uint64_t entries[MAX_SIZE / PAGE];
	size_t may_read = 0, may_write = 0, i;

	if (all_pages(d, "table", dmirror_table(&d->dev, PLACE, entries, npages(d)), npages(d)))
		return -1;
	for (i = 0; i < npages(d); i++) {
		may_read += dmirror_may_read(entries[i]);
		may_write += dmirror_may_write(entries[i]);
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

/* What the row expects? Comes right after the change, before the device works on again. */
int device_is_told(struct demo *d)
{
	const char *want = d->row->told;
	struct told *told = &d->told;

	if (read_events(d) || read_table(d))
		return -1;
	if (!told->event)
		told->event = "nothing";
	if (strcmp(told->event, want))
		return fail(d, "the device is told: %s, instead of: %s", told->event, want);
	if (strcmp(want, "nothing") && (told->size < told->end - told->start ||
					told->start > (uintptr_t)PLACE ||
					told->end < (uintptr_t)PLACE + d->kind->size))
		return fail(d, "the device is told of a part only");
	if (strcmp(d->maps, d->row->maps))
		return fail(d, "the device still maps: %s, instead of: %s", d->maps, d->row->maps);
	return 0;
}
