// SPDX-License-Identifier: GPL-2.0
/*
 * Accesses of hmm-coherence by the CPU and by devices, and the threads that make them.
 *
 * A thread of the CPU holds &region.access, because a CPU access to memory that is unmapped for a
 * moment would kill the process. A device access may fail then, and only then.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>

#include "hmm-coherence.h"

static struct dmirror mirrors[NDEVICES];

static void device_open(unsigned int number)
{
	struct dmirror *device = &mirrors[number];
	/* The CPU can access the memory of the last device. */
	static const char * const paths[NDEVICES] = {
		"/dev/hmm_dmirror0", "/dev/hmm_dmirror1", "/dev/hmm_dmirror2",
	};

	device->fd = open(paths[number], O_RDWR | O_CLOEXEC);
	if (device->fd < 0)
		ksft_exit_fail_msg("%s: %m\n", paths[number]);
	oracle_watch(device);
}

/*
 * A device for one thread, with its own buffer. All threads share the mirror, like jobs of a
 * process.
 */
static struct dmirror device_for(unsigned int number)
{
	struct dmirror device = {};

	if (!mirrors[number].fd)
		device_open(number);
	device.fd = mirrors[number].fd;
	device.buf_pages = HPAGE_PAGES;
	device.buf = mmap(NULL, HPAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			  -1, 0);
	if (device.buf == MAP_FAILED)
		ksft_exit_fail_msg("a buffer: %m\n");
	return device;
}

void actor_init(struct actor *actor, unsigned int number, const char *name, bool devices)
{
	snprintf(actor->name, sizeof(actor->name), "%s %u", name, number);
	actor->state = seed * 0x9e3779b97f4a7c15ULL + number + 1;
	for (unsigned int i = 0; devices && i < NDEVICES; i++)
		actor->device[i] = device_for(i);
}

void actor_pause(struct actor *actor)
{
	usleep(random_below(actor, 3000));
}

/* Accesses are much faster than changes. Leave time for the changes. */
static void rest(struct actor *actor)
{
	if (!random_below(actor, 16))
		usleep(random_below(actor, 2000));
}

/* The CPU. The caller holds &region.access, and the lock of the slot for a store. */

void cpu_load(const struct region *r, unsigned int slot, __u64 *page)
{
	const __u64 *words = (const __u64 *)slot_page(r, slot);

	for (unsigned int w = 0; w < SLOT_WORDS; w++)
		page[word_offset(w)] = __atomic_load_n(&words[word_offset(w)], __ATOMIC_ACQUIRE);
}

void cpu_store(const struct region *r, unsigned int slot, __u64 n)
{
	__u64 *words = (__u64 *)slot_page(r, slot);

	for (unsigned int w = 0; w < SLOT_WORDS; w++)
		__atomic_store_n(&words[word_offset(w)], stamp(r, slot, w, n), __ATOMIC_RELEASE);
}

static void cpu_read(struct actor *actor, struct region *r, unsigned int slot)
{
	__u64 page[WORDS_PER_PAGE], least = slot_least(r, slot);

	cpu_load(r, slot, page);
	page_check(actor->name, r, slot, page, least);
	atomic_fetch_add(&r->cpu_reads, SLOT_WORDS);
}

static void cpu_write(struct actor *actor, struct region *r, unsigned int slot)
{
	struct slot_span span = { slot, 1 };
	__u64 page[WORDS_PER_PAGE], least, n;

	if (!span_trylock(r, span))
		return;
	least = slot_least(r, slot);
	cpu_load(r, slot, page);
	page_check(actor->name, r, slot, page, least);
	page_check_whole(actor->name, r, slot, page);
	n = slot_begin(r, slot);
	cpu_store(r, slot, n);
	slot_publish(r, slot, n);
	span_unlock(r, span);
	atomic_fetch_add(&r->cpu_writes, SLOT_WORDS);
}

void *cpu_thread(void *arg)
{
	struct actor *actor = arg;

	while (!atomic_load(&stopping)) {
		struct region *r = random_region(actor);
		unsigned int slot = random_below(actor, SLOTS);

		rest(actor);
		if (pthread_rwlock_tryrdlock(&r->access))
			continue;
		if (random_below(actor, 4))
			cpu_read(actor, r, slot);
		else
			cpu_write(actor, r, slot);
		pthread_rwlock_unlock(&r->access);
	}
	return NULL;
}

/* Devices */

/* A device access may fail only while a change has revoked the memory. */
static void device_refused(struct actor *actor, const char *what, struct region *r,
			   unsigned int slot, unsigned long revoked, long error)
{
	if (!(revoked & 1) && atomic_load(&r->revoked) == revoked)
		violation(actor->name, r, slot, "the device could not %s: %s", what,
			  strerror(-error));
}

/* The device reads a run of slots at the address that they have for the moment. */
bool device_look_at(struct actor *actor, unsigned int number, struct region *r,
		    struct slot_span span, char *where)
{
	struct dmirror *device = &actor->device[number];
	unsigned long revoked = atomic_load(&r->revoked);
	long done, step = r->kind->stride;
	__u64 least[RUN_MAX];

	for (unsigned int i = 0; i < span.count; i++)
		least[i] = slot_least(r, span.first + i);
	done = dmirror_read(device, where, (span.count - 1) * step + 1);
	if (done < 0) {
		device_refused(actor, "read", r, span.first, revoked, done);
		return false;
	}
	for (unsigned int i = 0; i < span.count; i++)
		page_check(actor->name, r, span.first + i,
			   (__u64 *)page_at(device->buf, i * step), least[i]);
	atomic_fetch_add(&r->device_reads, span.count * SLOT_WORDS);
	return true;
}

bool device_look(struct actor *actor, unsigned int number, struct region *r, struct slot_span span)
{
	return device_look_at(actor, number, r, span, slot_page(r, span.first));
}

/* @span is a run of adjacent slots whose locks the caller holds. */
void device_store(struct actor *actor, unsigned int number, struct region *r,
		  struct slot_span span)
{
	struct dmirror *device = &actor->device[number];
	unsigned long revoked = atomic_load(&r->revoked);
	__u64 n[RUN_MAX];
	long done;

	for (unsigned int i = 0; i < span.count; i++) {
		n[i] = slot_begin(r, span.first + i);
		page_stamp(r, span.first + i, (__u64 *)page_at(device->buf, i), n[i]);
	}
	done = dmirror_write(device, slot_page(r, span.first), span.count);
	if (done < 0) {
		device_refused(actor, "write", r, span.first, revoked, done);
		return;
	}
	for (unsigned int i = 0; i < span.count; i++)
		slot_publish(r, span.first + i, n[i]);
	atomic_fetch_add(&r->device_writes, span.count * SLOT_WORDS);
}

static struct slot_span random_run(struct actor *actor, struct region *r)
{
	unsigned int most = r->kind->stride == 1 ? RUN_MAX : 1;
	struct slot_span span;

	span.count = 1 + random_below(actor, most);
	span.first = random_below(actor, SLOTS - span.count + 1);
	return span;
}

static void device_access(struct actor *actor, unsigned int number, struct region *r)
{
	struct slot_span span = random_run(actor, r);

	switch (random_below(actor, 8)) {
	case 0:
		/* A long fault meets more changes. */
		dmirror_prefetch(&actor->device[number], r->mem, region_size(r) / PAGE_SIZE);
		break;
	case 1 ... 3:
		if (span_trylock(r, span)) {
			device_store(actor, number, r, span);
			span_unlock(r, span);
		}
		break;
	default:
		device_look(actor, number, r, span);
	}
}

void *device_thread(void *arg)
{
	struct actor *actor = arg;

	while (!atomic_load(&stopping)) {
		unsigned int number = random_below(actor, NDEVICES);

		rest(actor);
		device_access(actor, number, random_region(actor));
	}
	return NULL;
}
