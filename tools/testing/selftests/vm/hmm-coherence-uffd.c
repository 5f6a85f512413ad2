// SPDX-License-Identifier: GPL-2.0
/*
 * Changes of hmm-coherence with userfaultfd. One thread serves all faults, of the CPU and of
 * devices.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <sys/syscall.h>
#include <linux/userfaultfd.h>

#include "hmm-coherence.h"

static int uffd;

static bool uffd_register(struct region *r, struct slot_span span, __u64 mode)
{
	struct uffdio_register reg = {
		.range = { (uintptr_t)slot_page(r, span.first), span_size(r, span) },
		.mode = mode,
	};

	return !ioctl(uffd, UFFDIO_REGISTER, &reg);
}

static void uffd_unregister(struct region *r, struct slot_span span)
{
	struct uffdio_range range = { (uintptr_t)slot_page(r, span.first), span_size(r, span) };

	if (ioctl(uffd, UFFDIO_UNREGISTER, &range))
		ksft_exit_fail_msg("UFFDIO_UNREGISTER of %s: %m\n", r->kind->name);
}

static bool uffd_protect(__u64 start, long size, bool protect)
{
	struct uffdio_writeprotect wp = {
		.range = { start, size },
		.mode = protect ? UFFDIO_WRITEPROTECT_MODE_WP : 0,
	};

	return !ioctl(uffd, UFFDIO_WRITEPROTECT, &wp);
}

/* Fill a missing page with the write that has begun. */
static void uffd_fill(struct region *r, unsigned int slot)
{
	__u64 page[WORDS_PER_PAGE];
	struct uffdio_copy copy = {
		.dst = (uintptr_t)slot_page(r, slot),
		.src = (uintptr_t)page,
		.len = PAGE_SIZE,
	};

	page_stamp(r, slot, page, atomic_load(&r->slots[slot].begun));
	while (ioctl(uffd, UFFDIO_COPY, &copy) && errno == EAGAIN)
		copy.copy = 0;
}

static void uffd_serve(__u64 addr, __u64 flags)
{
	struct uffdio_range page = { addr & -PAGE_SIZE, PAGE_SIZE };
	struct region *r;
	unsigned int slot;

	r = region_of(page.start, &slot);
	if (flags & UFFD_PAGEFAULT_FLAG_WP)
		uffd_protect(page.start, PAGE_SIZE, false);
	else if (r)
		uffd_fill(r, slot);
	/*
	 * Neither call wakes the fault if it comes too late, and UFFDIO_UNREGISTER does not
	 * either.
	 */
	ioctl(uffd, UFFDIO_WAKE, &page);
}

/* Runs until the end of the process, because a fault may wait until then. */
static void *uffd_thread(void *arg)
{
	struct pollfd pollfd = { .fd = uffd, .events = POLLIN };
	struct uffd_msg msg;

	while (poll(&pollfd, 1, -1) >= 0)
		while (read(uffd, &msg, sizeof(msg)) == sizeof(msg))
			uffd_serve(msg.arg.pagefault.address, msg.arg.pagefault.flags);
	return NULL;
}

bool change_uffd_protect(struct actor *actor, struct region *r, struct slot_span span)
{
	bool done;

	if (!uffd_register(r, span, UFFDIO_REGISTER_MODE_WP))
		return false;
	done = uffd_protect((uintptr_t)slot_page(r, span.first), span_size(r, span), true);
	actor_pause(actor);
	uffd_unregister(r, span);
	return done;
}

/* The pages are discarded, and user space fills the missing pages. */
bool change_uffd_missing(struct actor *actor, struct region *r, struct slot_span span)
{
	bool done;

	span_lock(r, span);
	done = uffd_register(r, span, UFFDIO_REGISTER_MODE_MISSING);
	if (done) {
		for (unsigned int i = 0; i < span.count; i++)
			slot_begin(r, span.first + i);
		done = span_advise(r, span, MADV_DONTNEED);
		actor_pause(actor);
		for (unsigned int i = span.first; i < span.first + span.count; i++) {
			uffd_fill(r, i);
			slot_publish(r, i, atomic_load(&r->slots[i].begun));
		}
		uffd_unregister(r, span);
	}
	span_unlock(r, span);
	return done;
}

void uffd_prepare(void)
{
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_PAGEFAULT_FLAG_WP };
	pthread_t thread;

	uffd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (uffd < 0 || ioctl(uffd, UFFDIO_API, &api) ||
	    pthread_create(&thread, NULL, uffd_thread, NULL))
		ksft_exit_fail_msg("userfaultfd: %m\n");
}
