// SPDX-License-Identifier: GPL-2.0
/*
 * The oracle of hmm-coherence: the values that a word may have, and the report of a violation.
 */
#define _GNU_SOURCE
#include <stdarg.h>
#include <stdio.h>

#include "hmm-coherence.h"

#define STAMP		0xc5ULL
#define SEQ_BITS	32
#define SEQ_MASK	((1ULL << SEQ_BITS) - 1)

#define HISTORY		64
#define EVENTS_SHOWN	16
#define WATCHED_MAX	16

/* A recent change; @end is 0 while it is in progress. */
struct record {
	const char *name;
	const struct region *region;
	struct slot_span span;
	long begin;
	atomic_long end;
};

static struct record history[HISTORY];
static atomic_uint history_next;
static struct dmirror *watched[WATCHED_MAX];
static unsigned int nwatched;
static pthread_mutex_t report_lock = PTHREAD_MUTEX_INITIALIZER;

atomic_bool stopping;
atomic_ulong violations;
__u64 seed;

/* KSM merges only equal pages, so all slots of such a region have the same stamps. */
__u64 stamp(const struct region *r, unsigned int slot, unsigned int word, __u64 n)
{
	__u64 id = r->kind->can & CAN_MERGE ? 0 : slot;

	return STAMP << 56 | (__u64)r->index << 48 | id << 40 | (__u64)word << SEQ_BITS | n;
}

/* The content of a slot; words that are not watched are 0. */
void page_stamp(const struct region *r, unsigned int slot, __u64 *page, __u64 n)
{
	memset(page, 0, PAGE_SIZE);
	for (unsigned int w = 0; w < SLOT_WORDS; w++)
		page[word_offset(w)] = stamp(r, slot, w, n);
}

/* Files begin with stamps of number 0; new pages are all zeros. */
static bool word_is_bare(const struct region *r, unsigned int slot, unsigned int word, __u64 value)
{
	return !value || value == stamp(r, slot, word, 0);
}

__u64 slot_least(const struct region *r, unsigned int slot)
{
	return atomic_load(&r->slots[slot].published);
}

/* The lock of the slot is held. */
__u64 slot_begin(struct region *r, unsigned int slot)
{
	return atomic_fetch_add(&r->slots[slot].begun, 1) + 1;
}

void slot_publish(struct region *r, unsigned int slot, __u64 n)
{
	atomic_ullong *published = &r->slots[slot].published;
	__u64 old = atomic_load(published);

	while (old < n && !atomic_compare_exchange_weak(published, &old, n))
		;
}

void span_unlock(struct region *r, struct slot_span span)
{
	while (span.count--)
		pthread_mutex_unlock(&r->slots[span.first + span.count].writer);
}

void span_lock(struct region *r, struct slot_span span)
{
	for (unsigned int i = 0; i < span.count; i++)
		pthread_mutex_lock(&r->slots[span.first + i].writer);
}

bool span_trylock(struct region *r, struct slot_span span)
{
	for (unsigned int i = 0; i < span.count; i++) {
		if (pthread_mutex_trylock(&r->slots[span.first + i].writer)) {
			span.count = i;
			span_unlock(r, span);
			return false;
		}
	}
	return true;
}

/* The content may be lost from now on. The locks are held. */
void span_discard(struct region *r, struct slot_span span)
{
	for (unsigned int i = span.first; i < span.first + span.count; i++) {
		struct slot *slot = &r->slots[i];

		/* A thread that reads the new @begun also reads the new @discarded. */
		atomic_store(&slot->discarded, atomic_load(&slot->begun) + 1);
		atomic_fetch_add(&slot->begun, 1);
	}
}

/* The content is lost. */
void span_discarded(struct region *r, struct slot_span span)
{
	for (unsigned int i = span.first; i < span.first + span.count; i++)
		slot_publish(r, i, atomic_load(&r->slots[i].discarded));
}

/* @least: result of slot_least() before the word was read */
static void word_check(const char *who, struct region *r, unsigned int slot, unsigned int word,
		       __u64 value, __u64 least)
{
	unsigned long long most = atomic_load(&r->slots[slot].begun);
	unsigned long long discarded = atomic_load(&r->slots[slot].discarded);
	const __u64 n = value & SEQ_MASK;
	const char *wrong = NULL;

	if (word_is_bare(r, slot, word, value))
		wrong = discarded < least ? "has lost its stamp" : NULL;
	else if (value != stamp(r, slot, word, n))
		wrong = "is not its own";
	else if (n < least)
		wrong = "is stale";
	else if (n > most)
		wrong = "is still to come";
	else if (word == SLOT_WORDS - 1)
		/* The writer has written the other words before. */
		slot_publish(r, slot, n);

	if (wrong)
		violation(who, r, slot,
			  "word %u %s: %#llx, expected %#llx to %#llx; discarded at %#llx",
			  word, wrong, (unsigned long long)value,
			  (unsigned long long)stamp(r, slot, word, least), most, discarded);
}

void page_check(const char *who, struct region *r, unsigned int slot, const __u64 *page,
		__u64 least)
{
	for (unsigned int w = 0; w < SLOT_WORDS; w++)
		word_check(who, r, slot, w, page[word_offset(w)], least);
}

/* With the lock of the slot held, all words of a page come from one write. */
void page_check_whole(const char *who, struct region *r, unsigned int slot, const __u64 *page)
{
	const __u64 first = page[0];
	bool bare = word_is_bare(r, slot, 0, first);

	for (unsigned int w = 1; w < SLOT_WORDS; w++) {
		__u64 value = page[word_offset(w)];

		if (bare ? !word_is_bare(r, slot, w, value) : (value ^ first) & SEQ_MASK) {
			violation(who, r, slot, "torn: word 0 is %#llx and word %u %#llx",
				  (unsigned long long)first, w, (unsigned long long)value);
			return;
		}
	}
}

unsigned int history_begin(const char *name, const struct region *r, struct slot_span span)
{
	unsigned int entry = atomic_fetch_add(&history_next, 1) % HISTORY;

	history[entry].name = name;
	history[entry].region = r;
	history[entry].span = span;
	history[entry].begin = msecs_now();
	atomic_store(&history[entry].end, 0);
	return entry;
}

void history_end(unsigned int entry)
{
	atomic_store(&history[entry].end, msecs_now());
}

void history_print(void)
{
	unsigned int next = atomic_load(&history_next);

	for (unsigned int i = 0; i < nregions; i++)
		if (__atomic_load_n(&regions[i].doing, __ATOMIC_SEQ_CST))
			ksft_print_msg("%s is being changed: %s\n", regions[i].kind->name,
				       regions[i].doing);

	ksft_print_msg("what happened, the oldest first; the time now is %ld ms\n", msecs_now());
	for (unsigned int i = next > HISTORY ? next - HISTORY : 0; i != next; i++) {
		const struct record *was = &history[i % HISTORY];
		long end = atomic_load(&was->end);

		ksft_print_msg("  %s %u+%u: %s, %ld to %ld%s\n", was->region->kind->name,
			       was->span.first, was->span.count, was->name, was->begin, end,
			       end ? "" : " (goes on)");
	}
}

/* A violation prints the log of this device. */
void oracle_watch(struct dmirror *device)
{
	watched[nwatched++] = device;
}

static bool event_concerns(const struct hmm_dmirror_event *event, __u64 start, __u64 end)
{
	return event->start < end && start < event->end;
}

static void events_print(struct dmirror *device, __u64 start, __u64 end)
{
	static struct hmm_dmirror_event events[HMM_DMIRROR_LOG_SIZE];
	long i, n = dmirror_events(device, events, HMM_DMIRROR_LOG_SIZE), shown = 0;

	for (i = n; i > 0 && shown < EVENTS_SHOWN; i--)
		shown += event_concerns(&events[i - 1], start, end);
	ksft_print_msg("the last %ld events of mirror %d in this page, of %ld events\n", shown,
		       device->fd, n);
	for (; i < n; i++)
		if (event_concerns(&events[i], start, end))
			print_event("  logged", &events[i]);
}

/* The first violation is reported in full and stops all threads. */
void violation(const char *who, struct region *r, unsigned int slot, const char *fmt, ...)
{
	__u64 addr = (uintptr_t)slot_page(r, slot);
	char what[256];
	va_list args;

	atomic_store(&stopping, true);
	if (atomic_fetch_add(&violations, 1))
		return;
	va_start(args, fmt);
	vsnprintf(what, sizeof(what), fmt, args);
	va_end(args);
	pthread_mutex_lock(&report_lock);
	ksft_print_msg("VIOLATION at %#llx, slot %u of %s, seen by %s: %s\n",
		       (unsigned long long)addr, slot, r->kind->name, who, what);
	ksft_print_msg("begun %llu, published %llu, discarded %llu; HMM_COHERENCE_SEED=%llu\n",
		       (unsigned long long)atomic_load(&r->slots[slot].begun),
		       (unsigned long long)atomic_load(&r->slots[slot].published),
		       (unsigned long long)atomic_load(&r->slots[slot].discarded),
		       (unsigned long long)seed);
	history_print();
	for (unsigned int i = 0; i < nwatched; i++)
		events_print(watched[i], addr, addr + PAGE_SIZE);
	pthread_mutex_unlock(&report_lock);
}
