/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Declarations that the source files of hmm-coherence share: the oracle, memory of several kinds,
 * and its changes.
 *
 * A region of memory consists of slots. A slot is a page of which the oracle watches some words. A
 * writer of a slot, which is a thread of the CPU or a device, holds the lock of the slot. It writes
 * to each word the numbers of the region, the slot and the word, and a sequence number, which each
 * write increments by one:
 *
 *	writer				reader, at any time, without a lock
 *	  begun = n			  least = published
 *	  write n to the words		  read a word: v
 *	  published = n			  most = begun
 *					  least <= v <= most
 *
 * Otherwise the word is stale, or lost, or belongs to another slot. A writer writes the words in
 * their order. So a reader that has seen the last word publishes the number as well: no thread may
 * see an older number after that. A change that discards content takes a number of the same
 * sequence, also with the locks of the slots held. There is no stamp then until the next write. So
 * a stamp may be missing if the number of the last discard is at least @least.
 *
 * A change that keeps the content does not take the locks, and runs concurrently with writers.
 */
#ifndef _SELFTESTS_VM_HMM_COHERENCE_H
#define _SELFTESTS_VM_HMM_COHERENCE_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "hmm-dmirror-expect.h"
#include "hmm-kernel-files.h"

#define SLOTS		64
#define SLOT_WORDS	8
/* The number of slots that a device accesses together */
#define RUN_MAX		16
#define NDEVICES	3

#define VMSTAT		"/proc/vmstat"

/**
 * struct slot - a page with words that the oracle watches
 * @writer: held while a thread writes or discards the slot
 * @begun: number of the last write or discard that has begun
 * @published: number of the last write or discard that has ended or was seen
 * @discarded: number of the last discard that has begun
 */
struct slot {
	pthread_mutex_t writer;
	atomic_ullong begun;
	atomic_ullong published;
	atomic_ullong discarded;
};

/* Operations that a kind of memory supports */
enum {
	CAN_DISCARD	= 1 << 0,	/* an unmap discards the content */
	CAN_FREE	= 1 << 1,	/* anonymous: MADV_FREE, userfaultfd, exclusive access */
	CAN_MIGRATE	= 1 << 2,	/* to a device */
	CAN_PAGEOUT	= 1 << 3,
	CAN_COLLAPSE	= 1 << 4,
	CAN_TRUNCATE	= 1 << 5,
	CAN_PUNCH	= 1 << 6,
	CAN_SYNC	= 1 << 7,	/* has a file on a disk */
	CAN_MERGE	= 1 << 8,	/* KSM */
	CAN_MOVE	= 1 << 9,	/* single pages, to another node */
	CAN_FILL	= 1 << 10,	/* userfaultfd: the slots are adjacent */
};

/**
 * struct kind - a kind of memory
 * @name: for messages
 * @stride: pages from one slot to the next
 * @grain: number of slots in one page
 * @can: CAN_*
 * @flags: for mmap()
 * @advice: for madvise(), or -1
 * @open: creates the file that is mapped, or NULL
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
 * @kind: kind of the memory
 * @index: index in regions[]
 * @mem: constant address
 * @fd: the file that is mapped, or -1
 * @slots: shared with children
 * @changing: held during a change
 * @doing: name of the change in progress, or NULL
 * @access: held for reading during CPU accesses, and for writing while the memory is unmapped
 * @revoked: odd while device accesses may fail
 * @cpu_reads: number of words that the CPU has read and checked
 * @cpu_writes: number of words that the CPU has written, after a check of the old values
 * @device_reads: number of words that devices have read, all of them checked
 * @device_writes: number of words that devices have written
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

/* The changes that remain until the deck is shuffled again */
struct deck {
	unsigned int left;
	unsigned char card[CARDS_MAX];
};

/**
 * struct actor - a thread
 * @name: for messages
 * @state: state of its random numbers
 * @thread: the thread
 * @deck: the deck of a thread that makes changes
 * @device: its devices, indexed by their numbers; unused by a thread of the CPU
 */
struct actor {
	char name[16];
	pthread_t thread;
	__u64 state;
	struct deck deck;
	struct dmirror device[NDEVICES];
};

/**
 * struct change - a change of memory
 * @name: for messages
 * @can: CAN_* that a region needs
 * @weight: number of cards in a deck; at most CARDS_MAX for all changes
 * @whole: changes the whole region
 * @run: makes the change; returns false if the change has failed
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

/* Random numbers, which a seed determines */
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

/* The offset of a watched word in its page: both ends, and between them */
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

/* hmm-coherence-uffd.c */
void uffd_prepare(void);
bool change_uffd_protect(struct actor *actor, struct region *r, struct slot_span span);
bool change_uffd_missing(struct actor *actor, struct region *r, struct slot_span span);

#endif /* _SELFTESTS_VM_HMM_COHERENCE_H */
