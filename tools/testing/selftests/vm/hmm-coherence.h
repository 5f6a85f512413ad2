/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the parts of hmm-coherence share: the oracle, memory of several kinds, changes of it.
 *
 * A region of memory has slots, each of them a page of which some words are watched. Whoever
 * writes a slot, a thread of the CPU or a device, holds its lock and writes to each word what
 * region, slot and word it is and a sequence number, which grows by one each time:
 *
 *	writer				whoever reads, at any time, with no lock
 *	  begun = n			  least = published
 *	  write n to the words		  read a word: v
 *	  published = n			  most = begun
 *					  least <= v <= most
 *
 * or else the word is stale, or lost, or somebody else's. Words are
 * written in their order; when the last one has been seen the number is published as well:
 * nobody may see an older one behind it. Changes that discard content take a number
 * of the same sequence, also under the locks of the slots: no stamp is there then until the
 * next write. So it may be missing if the number of the last discard is at least @least.
 *
 * Changes that keep the content take no such lock: they run beside the writers.
 */
#ifndef _SELFTESTS_VM_HMM_COHERENCE_H
#define _SELFTESTS_VM_HMM_COHERENCE_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "hmm-device.h"

#define SLOTS		64
#define SLOT_WORDS	8
/* How many slots a device accesses at once */
#define RUN_MAX		16
#define NDEVICES	3

#define VMSTAT		"/proc/vmstat"

/**
 * struct slot - a page of which words are watched
 * @writer: held by who writes it, or has it discarded
 * @begun: number of the last write or discard that has begun
 * @published: of the last one that is over, or was seen
 * @discarded: of the last discard that has begun
 */
struct slot {
	pthread_mutex_t writer;
	atomic_ullong begun;
	atomic_ullong published;
	atomic_ullong discarded;
};

/* What can be done to a kind of memory */
enum {
	CAN_DISCARD	= 1 << 0,	/* what is unmapped is lost */
	CAN_FREE	= 1 << 1,	/* anonymous: MADV_FREE, userfaultfd, exclusive access */
	CAN_MIGRATE	= 1 << 2,	/* to a device */
	CAN_PAGEOUT	= 1 << 3,
	CAN_COLLAPSE	= 1 << 4,
	CAN_TRUNCATE	= 1 << 5,
	CAN_PUNCH	= 1 << 6,
	CAN_SYNC	= 1 << 7,	/* has a file on a disk */
	CAN_MERGE	= 1 << 8,	/* KSM */
	CAN_MOVE	= 1 << 9,	/* single pages, to another node */
	CAN_FILL	= 1 << 10,	/* userfaultfd: nothing lies between the slots */
};

/**
 * struct kind - of memory
 * @name: for people
 * @stride: pages from one slot to the next
 * @grain: slots that are in one page
 * @can: CAN_*
 * @flags: for mmap()
 * @advice: for madvise(), or -1
 * @open: make the file that is mapped, or NULL
 */
struct kind {
	const char *name;
	long stride;
	long grain;
	unsigned int can;
	int flags;
	int advice;
	int (*open)(size_t size);
};

/**
 * struct region - memory under test
 * @kind: what it is
 * @index: of it in regions[]
 * @mem: where, for ever
 * @fd: the file behind it, or -1
 * @slots: shared with children
 * @changing: held by the one change that goes on
 * @doing: name of that change, or NULL
 * @access: held for reading by threads of the CPU, for writing while they could not access it
 * @revoked: odd while devices may be refused
 * @cpu_reads: words that the CPU has read, all of them compared with what they may be
 * @cpu_writes: that it has written, and what was there before compared
 * @device_reads: the same, by devices
 * @device_writes: that they have written
 */
struct region {
	const struct kind *kind;
	unsigned int index;
	char *mem;
	int fd;
	struct slot *slots;
	pthread_mutex_t changing;
	const char *doing;
	pthread_rwlock_t access;
	atomic_ulong revoked;
	atomic_ulong cpu_reads;
	atomic_ulong cpu_writes;
	atomic_ulong device_reads;
	atomic_ulong device_writes;
};

/* Slots [first, first + count) */
struct slot_span {
	unsigned int first;
	unsigned int count;
};

#define CARDS_MAX	128

/* The changes that are still to be made until they are all shuffled again */
struct deck {
	unsigned int left;
	unsigned char card[CARDS_MAX];
};

/**
 * struct actor - a thread
 * @name: for people
 * @state: of its random numbers
 * @thread: itself
 * @deck: of a thread that makes changes
 * @device: its devices, by their numbers; a thread of the CPU has none
 */
struct actor {
	char name[16];
	pthread_t thread;
	__u64 state;
	struct deck deck;
	struct dmirror device[NDEVICES];
};

/**
 * struct change - something that happens to memory
 * @name: for people
 * @can: CAN_* that a region needs
 * @weight: how often, beside the others; CARDS_MAX in all
 * @whole: it is of all the region
 * @run: do it; false if that did not work out
 */
struct change {
	const char *name;
	unsigned int can;
	unsigned int weight;
	bool whole;
	bool (*run)(struct actor *actor, struct region *r, struct slot_span span);
};

extern const struct change changes[];
extern const unsigned int nchanges;
extern struct region regions[];
extern const unsigned int nregions;
extern atomic_uint hot;
extern atomic_bool stopping;
extern atomic_ulong violations;
extern __u64 seed;

/* Random numbers, the same for the same seed */
static inline __u64 random_next(struct actor *actor)
{
	actor->state ^= actor->state >> 12;
	actor->state ^= actor->state << 25;
	actor->state ^= actor->state >> 27;
	return actor->state * 0x2545f4914f6cdd1dULL;
}

static inline unsigned int random_below(struct actor *actor, unsigned int limit)
{
	return (random_next(actor) >> 32) % limit;
}

static inline char *slot_page(const struct region *r, unsigned int slot)
{
	return page_at(r->mem, slot * r->kind->stride);
}

static inline long region_size(const struct region *r)
{
	return SLOTS * r->kind->stride * PAGE_SIZE;
}

static inline long span_size(const struct region *r, struct slot_span span)
{
	return span.count * r->kind->stride * PAGE_SIZE;
}

/* Where in its page a watched word is: both ends, and in between */
static inline unsigned int word_offset(unsigned int word)
{
	return word * (WORDS_PER_PAGE - 1) / (SLOT_WORDS - 1);
}

/* hmm-coherence-oracle.c */
__u64 stamp(const struct region *r, unsigned int slot, unsigned int word, __u64 n);
void page_stamp(const struct region *r, unsigned int slot, __u64 *page, __u64 n);
void page_check(const char *who, struct region *r, unsigned int slot, const __u64 *page,
		__u64 least);
void page_check_whole(const char *who, struct region *r, unsigned int slot, const __u64 *page);
__u64 slot_least(const struct region *r, unsigned int slot);
__u64 slot_begin(struct region *r, unsigned int slot);
void slot_publish(struct region *r, unsigned int slot, __u64 n);
void span_lock(struct region *r, struct slot_span span);
bool span_trylock(struct region *r, struct slot_span span);
void span_unlock(struct region *r, struct slot_span span);
void span_discard(struct region *r, struct slot_span span);
void span_discarded(struct region *r, struct slot_span span);
__printf(4, 5)
void violation(const char *who, struct region *r, unsigned int slot, const char *fmt, ...);
unsigned int history_begin(const char *name, const struct region *r, struct slot_span span);
void history_end(unsigned int entry);
void history_print(void);
void oracle_watch(struct dmirror *device);

/* hmm-coherence-memory.c */
void regions_create(void);
void region_map(struct region *r);
bool span_advise(struct region *r, struct slot_span span, int advice);
struct region *random_region(struct actor *actor);
struct region *region_of(__u64 addr, unsigned int *slot);

/* hmm-coherence-access.c */
void actor_init(struct actor *actor, unsigned int number, const char *name, bool devices);
void actor_pause(struct actor *actor);
void cpu_load(const struct region *r, unsigned int slot, __u64 *page);
void cpu_store(const struct region *r, unsigned int slot, __u64 n);
bool device_look(struct actor *actor, unsigned int device, struct region *r, struct slot_span span);
bool device_look_at(struct actor *actor, unsigned int device, struct region *r,
		    struct slot_span span, char *where);
void device_store(struct actor *actor, unsigned int device, struct region *r,
		  struct slot_span span);
void *cpu_thread(void *actor);
void *device_thread(void *actor);

/* hmm-coherence-changes.c */
void changes_prepare(void);
void *change_thread(void *actor);
void changes_count(unsigned int i, unsigned long *done, unsigned long *tried);
long read_number(const char *path, const char *name);

/* hmm-coherence-uffd.c */
void uffd_prepare(void);
bool change_uffd_protect(struct actor *actor, struct region *r, struct slot_span span);
bool change_uffd_missing(struct actor *actor, struct region *r, struct slot_span span);

#endif /* _SELFTESTS_VM_HMM_COHERENCE_H */
