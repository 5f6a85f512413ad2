// SPDX-License-Identifier: GPL-2.0
/*
 * Changes of the memory of hmm-coherence while other threads access it.
 *
 * A region has one change at a time. A change takes what it needs, in this order: the region from
 * the threads of the CPU, if they cannot access it during the change (withdraw()); the locks of
 * the slots, if it discards their content.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <linux/mempolicy.h>
#include <linux/mman.h>

#include "hmm-coherence.h"

/* Exit status of a child: it saw a wrong word, or a slot of its private memory changed */
#define CHILD_SAW	1
#define CHILD_CHANGED	2

#define KSM_DIR		"/sys/kernel/mm/ksm/"
#define KSM_MSECS	2000
#define NODES		2

/* Distance of the second address of a region */
#define AWAY		0x10000000000UL

/* Exclude the threads of the CPU. Device accesses may fail. */
static void withdraw(struct region *r)
{
	pthread_rwlock_wrlock(&r->access);
	atomic_fetch_add(&r->revoked, 1);
}

static void give_back(struct region *r)
{
	atomic_fetch_add(&r->revoked, 1);
	pthread_rwlock_unlock(&r->access);
}

/* The slots that lose their content when private pages are unmapped */
static void lose_begin(struct region *r, struct slot_span span)
{
	if (r->kind->can & CAN_DISCARD) {
		span_lock(r, span);
		span_discard(r, span);
	}
}

static void lose_end(struct region *r, struct slot_span span)
{
	if (r->kind->can & CAN_DISCARD) {
		span_discarded(r, span);
		span_unlock(r, span);
	}
}

static bool change_munmap(struct actor *actor, struct region *r, struct slot_span span)
{
	bool done;

	withdraw(r);
	lose_begin(r, span);
	done = !munmap(r->mem, region_size(r));
	actor_pause(actor);
	region_map(r);
	lose_end(r, span);
	give_back(r);
	return done;
}

static bool change_mremap(struct actor *actor, struct region *r, struct slot_span span)
{
	long size = region_size(r);
	char *away = r->mem + AWAY;
	bool done;

	withdraw(r);
	done = mremap(r->mem, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, away) == away;
	if (done) {
		/* Devices can access the memory at the second address. */
		span = (struct slot_span){ random_below(actor, SLOTS), 1 };
		device_look_at(actor, random_below(actor, NDEVICES), r, span,
			       slot_page(r, span.first) + AWAY);
		actor_pause(actor);
		if (mremap(away, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, r->mem) != r->mem)
			ksft_exit_fail_msg("mremap of %s back: %m\n", r->kind->name);
	}
	give_back(r);
	return done;
}

/* Check a device access to a page that may at most be read. The slot's lock is held. */
static void probe(struct actor *actor, struct region *r, unsigned int slot, int prot)
{
	struct dmirror *device = &actor->device[random_below(actor, NDEVICES)];
	long wanted = prot & PROT_READ ? 1 : -EFAULT, got;

	got = dmirror_read(device, slot_page(r, slot), 1);
	if (got != wanted)
		violation(actor->name, r, slot, "read with protection %d: %ld, expected %ld", prot,
			  got, wanted);
	/* Write the content of the page, in case that the write succeeds. */
	wanted = prot & PROT_READ ? -EPERM : -EFAULT;
	got = dmirror_write(device, slot_page(r, slot), 1);
	if (got >= 0)
		violation(actor->name, r, slot, "write with protection %d: %ld, expected %ld", prot,
			  got, wanted);
}

static bool change_mprotect(struct actor *actor, struct region *r, struct slot_span span)
{
	int prot = random_below(actor, 2) ? PROT_READ : PROT_NONE;
	char *mem = slot_page(r, span.first);
	struct slot_span one = { span.first, 1 };
	bool done;

	withdraw(r);
	span_lock(r, one);
	done = !mprotect(mem, span_size(r, span), prot);
	if (done)
		probe(actor, r, span.first, prot);
	span_unlock(r, one);
	actor_pause(actor);
	if (mprotect(mem, span_size(r, span), PROT_READ | PROT_WRITE))
		ksft_exit_fail_msg("mprotect of %s: %m\n", r->kind->name);
	give_back(r);
	return done;
}

static bool change_dontneed(struct actor *actor, struct region *r, struct slot_span span)
{
	bool done;

	lose_begin(r, span);
	done = span_advise(r, span, MADV_DONTNEED);
	lose_end(r, span);
	return done;
}

/*
 * The content is lost later, or never if it is written before. In half of the cases a device
 * writes to one slot, which only the device can report.
 */
static bool change_free(struct actor *actor, struct region *r, struct slot_span span)
{
	struct slot_span one = { span.first, 1 };
	bool done;

	span_lock(r, span);
	span_discard(r, span);
	done = span_advise(r, span, MADV_FREE);
	if (random_below(actor, 2)) {
		device_store(actor, random_below(actor, NDEVICES), r, one);
		span_advise(r, one, MADV_PAGEOUT);
	}
	span_unlock(r, span);
	return done;
}

/* The first call writes most pages, and the second frees pages that are clean since then. */
static bool change_pageout(struct actor *actor, struct region *r, struct slot_span span)
{
	bool done = span_advise(r, span, MADV_PAGEOUT);

	actor_pause(actor);
	return span_advise(r, span, MADV_PAGEOUT) && done;
}

static bool change_collapse(struct actor *actor, struct region *r, struct slot_span span)
{
	return span_advise(r, span, MADV_COLLAPSE);
}

static bool change_writeback(struct actor *actor, struct region *r, struct slot_span span)
{
	return !fsync(r->fd) && span_advise(r, span, MADV_PAGEOUT);
}

/* In a child: private memory must not change between two looks */
static void child_look_again(const struct region *r, unsigned int slot, const __u64 *seen)
{
	__u64 again[WORDS_PER_PAGE];

	cpu_load(r, slot, again);
	for (unsigned int w = 0; w < SLOT_WORDS; w++)
		if (again[word_offset(w)] != seen[word_offset(w)])
			_exit(CHILD_CHANGED + slot);
}

static void child_run(struct region *r, const __u64 *least, unsigned int usecs)
{
	static __u64 seen[SLOTS][WORDS_PER_PAGE];
	bool own = r->kind->can & CAN_DISCARD;

	for (unsigned int i = 0; i < SLOTS; i++) {
		__u64 now = slot_least(r, i);

		cpu_load(r, i, seen[i]);
		page_check("a child", r, i, seen[i], own ? least[i] : now);
	}
	if (atomic_load(&violations))
		_exit(CHILD_SAW);
	usleep(usecs);
	for (unsigned int i = 0; own && i < SLOTS; i++)
		child_look_again(r, i, seen[i]);
	/* No other process may see this content. */
	for (unsigned int i = 0; own && i < SLOTS; i += r->kind->grain)
		memset(slot_page(r, i), 0xbd, PAGE_SIZE);
	usleep(usecs);
	_exit(0);
}

static void child_judge(struct actor *actor, struct region *r, int status)
{
	if (!WIFEXITED(status))
		violation(actor->name, r, 0, "a child died of signal %d", WTERMSIG(status));
	else if (WEXITSTATUS(status) == CHILD_SAW)
		violation(actor->name, r, 0, "a child saw what is printed above");
	else if (WEXITSTATUS(status))
		violation(actor->name, r, WEXITSTATUS(status) - CHILD_CHANGED,
			  "the memory of a child changed");
}

static bool change_fork(struct actor *actor, struct region *r, struct slot_span span)
{
	unsigned int usecs = random_below(actor, 3000);
	__u64 least[SLOTS];
	int status;
	pid_t pid;

	for (unsigned int i = 0; i < SLOTS; i++)
		least[i] = slot_least(r, i);
	pid = fork();
	if (!pid)
		child_run(r, least, usecs);
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return false;
	child_judge(actor, r, status);
	return true;
}

static bool change_to_device(struct actor *actor, struct region *r, struct slot_span span)
{
	unsigned int number = random_below(actor, NDEVICES);
	struct dmirror *device = &actor->device[number];

	if (span.count > RUN_MAX)
		span.count = RUN_MAX;
	return dmirror_migrate_to_dev(device, slot_page(r, span.first),
				      span.count * r->kind->stride) > 0;
}

/* Before another access migrates the pages back */
static bool change_from_device(struct actor *actor, struct region *r, struct slot_span span)
{
	struct dmirror *device = &actor->device[random_below(actor, NDEVICES)];
	char *mem = slot_page(r, span.first);

	if (span.count > RUN_MAX)
		span.count = RUN_MAX;
	dmirror_migrate_to_dev(device, mem, span.count * r->kind->stride);
	return dmirror_migrate_to_sys(device, mem, span.count * r->kind->stride) > 0;
}

static bool change_exclusive(struct actor *actor, struct region *r, struct slot_span span)
{
	unsigned int number = random_below(actor, NDEVICES);
	struct dmirror *device = &actor->device[number];
	__u64 least = slot_least(r, span.first);

	if (dmirror_exclusive(device, slot_page(r, span.first), 1) != 1)
		return false;
	page_check(actor->name, r, span.first, (__u64 *)device->buf, least);
	return true;
}

static bool change_node(struct actor *actor, struct region *r, struct slot_span span)
{
	int nodes[SLOTS], status[SLOTS], moved = 0;
	void *pages[SLOTS];

	for (unsigned int i = 0; i < span.count; i++) {
		pages[i] = slot_page(r, span.first + i);
		nodes[i] = random_below(actor, NODES);
		status[i] = -1;
	}
	if (syscall(SYS_move_pages, 0, span.count, pages, nodes, status, MPOL_MF_MOVE) < 0)
		return false;
	for (unsigned int i = 0; i < span.count; i++)
		moved += status[i] == nodes[i];
	return moved;
}

static bool change_compaction(struct actor *actor, struct region *r, struct slot_span span)
{
	long before = read_number(VMSTAT, "compact_isolated ");

	return write_text("/proc/sys/vm/compact_memory", "1") &&
	       read_number(VMSTAT, "compact_isolated ") > before;
}

/* Write the same content to all pages, and wait until KSM has merged some. */
static bool change_ksm(struct actor *actor, struct region *r, struct slot_span span)
{
	long deadline = msecs_now() + KSM_MSECS, merged;
	__u64 n = 0;

	span_lock(r, span);
	for (unsigned int i = 0; i < SLOTS; i++)
		if (atomic_load(&r->slots[i].begun) > n)
			n = atomic_load(&r->slots[i].begun);
	n++;
	for (unsigned int i = 0; i < SLOTS; i++) {
		atomic_store(&r->slots[i].begun, n);
		cpu_store(r, i, n);
		slot_publish(r, i, n);
	}
	do {
		usleep(10000);
		merged = read_number(KSM_DIR "pages_sharing", "");
	} while (merged <= 0 && msecs_now() < deadline && !atomic_load(&stopping));
	span_unlock(r, span);
	return merged > 0;
}

static long span_offset(const struct region *r, struct slot_span span)
{
	return slot_page(r, span.first) - r->mem;
}

static bool change_truncate(struct actor *actor, struct region *r, struct slot_span span)
{
	bool done;

	span.count = SLOTS - span.first;
	withdraw(r);
	span_lock(r, span);
	span_discard(r, span);
	done = !ftruncate(r->fd, span_offset(r, span));
	actor_pause(actor);
	if (ftruncate(r->fd, region_size(r)))
		ksft_exit_fail_msg("ftruncate of %s: %m\n", r->kind->name);
	span_discarded(r, span);
	span_unlock(r, span);
	give_back(r);
	return done;
}

static bool change_punch(struct actor *actor, struct region *r, struct slot_span span)
{
	bool done;

	span_lock(r, span);
	span_discard(r, span);
	done = !fallocate(r->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			  span_offset(r, span), span_size(r, span));
	if (done)
		span_discarded(r, span);
	span_unlock(r, span);
	return done;
}

const struct change changes[] = {
	{ "munmap and mmap", 0, 3, true, change_munmap },
	{ "mremap", 0, 3, true, change_mremap },
	{ "mprotect", 0, 4, false, change_mprotect },
	{ "MADV_DONTNEED", 0, 4, false, change_dontneed },
	{ "MADV_FREE", CAN_FREE, 4, false, change_free },
	{ "MADV_PAGEOUT", CAN_PAGEOUT, 10, false, change_pageout },
	{ "MADV_COLLAPSE", CAN_COLLAPSE, 2, true, change_collapse },
	{ "fork and exit", 0, 2, true, change_fork },
	{ "migration to a device", CAN_MIGRATE, 5, false, change_to_device },
	{ "migration from a device", CAN_MIGRATE, 2, false, change_from_device },
	{ "exclusive access", CAN_FREE, 2, false, change_exclusive },
	{ "migration to a node", CAN_MOVE, 4, false, change_node },
	{ "compaction", CAN_MOVE, 1, true, change_compaction },
	{ "writeback", CAN_SYNC, 2, false, change_writeback },
	{ "KSM", CAN_MERGE, 1, true, change_ksm },
	{ "truncate", CAN_TRUNCATE, 2, false, change_truncate },
	{ "hole punch", CAN_PUNCH, 4, false, change_punch },
	{ "userfaultfd write-protect", CAN_FREE, 3, false, change_uffd_protect },
	{ "userfaultfd missing", CAN_FILL, 3, false, change_uffd_missing },
};

const unsigned int nchanges = ARRAY_SIZE(changes);

static atomic_ulong tried[ARRAY_SIZE(changes)], done[ARRAY_SIZE(changes)];

void changes_count(unsigned int i, unsigned long *was_done, unsigned long *was_tried)
{
	*was_done = atomic_load(&done[i]);
	*was_tried = atomic_load(&tried[i]);
}

void changes_prepare(void)
{
	uffd_prepare();
	if (!write_text(KSM_DIR "pages_to_scan", "1000") ||
	    !write_text(KSM_DIR "sleep_millisecs", "20") || !write_text(KSM_DIR "run", "1"))
		ksft_exit_fail_msg("KSM: %m\n");
}

/* Like dealing cards: each change has its turn in a short run, and the order differs. */
static unsigned int random_change(struct actor *actor)
{
	struct deck *deck = &actor->deck;
	unsigned int i, card;

	if (!deck->left)
		for (unsigned int change = 0; change < nchanges; change++)
			for (i = 0; i < changes[change].weight; i++)
				deck->card[deck->left++] = change;
	i = random_below(actor, deck->left);
	card = deck->card[i];
	deck->card[i] = deck->card[--deck->left];
	return card;
}

/* No other thread changes the region until it is unlocked. NULL: the run has ended. */
static struct region *random_region_locked(struct actor *actor, unsigned int can)
{
	while (!atomic_load(&stopping)) {
		struct region *r = random_region(actor);

		if ((r->kind->can & can) == can && !pthread_mutex_trylock(&r->changing))
			return r;
		usleep(100);
	}
	return NULL;
}

/* One in four spans is the whole region. */
static struct slot_span random_span(struct actor *actor, const struct region *r, bool whole)
{
	unsigned int grains = SLOTS / r->kind->grain, first, count;

	if (whole || !random_below(actor, 4))
		return (struct slot_span){ 0, SLOTS };
	first = random_below(actor, grains);
	count = 1 + random_below(actor, grains - first < 8 ? grains - first : 8);
	return (struct slot_span){ first * r->kind->grain, count * r->kind->grain };
}

/* A device must still see the content. */
static void look_behind(struct actor *actor, struct region *r, struct slot_span span)
{
	if (r->kind->stride > 1)
		span.count = 1;
	else if (span.count > RUN_MAX)
		span.count = RUN_MAX;
	device_look(actor, random_below(actor, NDEVICES), r, span);
}

static void make_change(struct actor *actor, unsigned int i, struct region *r)
{
	struct slot_span span = random_span(actor, r, changes[i].whole);
	unsigned int entry;

	__atomic_store_n(&r->doing, changes[i].name, __ATOMIC_SEQ_CST);
	entry = history_begin(changes[i].name, r, span);
	atomic_fetch_add(&tried[i], 1);
	if (changes[i].run(actor, r, span))
		atomic_fetch_add(&done[i], 1);
	history_end(entry);
	look_behind(actor, r, span);
	__atomic_store_n(&r->doing, NULL, __ATOMIC_SEQ_CST);
}

void *change_thread(void *arg)
{
	struct actor *actor = arg;

	while (!atomic_load(&stopping)) {
		unsigned int i = random_change(actor);
		struct region *r = random_region_locked(actor, changes[i].can);

		if (!r)
			break;
		make_change(actor, i, r);
		pthread_mutex_unlock(&r->changing);
	}
	return NULL;
}
