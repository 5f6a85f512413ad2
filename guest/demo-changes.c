// SPDX-License-Identifier: GPL-2.0
/* Rows: the mapping changes after the device has accessed the memory */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "demo.h"

#define PAGEMAP_SWAPPED	(1ull << 62)

/* The device maps the pages and may write to them before the change. */
static int mirrored(struct demo *d)
{
	if (memory_new(d) || write_and_compare(d, FIRST))
		return -1;
	forget(d);
	return forget_events(d);
}

static int unmapped(struct demo *d)
{
	if (mirrored(d) || failed(d, "munmap", munmap(d->mem, d->kind->size)) ||
	    device_is_notified(d))
		return -1;
	return refused(d, "read", dmirror_read, d->mem, EFAULT);
}

static int mapped_again(struct demo *d)
{
	if (mirrored(d) || failed(d, "munmap", munmap(d->mem, d->kind->size)) ||
	    device_is_notified(d) || memory_map(d))
		return -1;
	cpu_writes(d, SECOND);
	return read_and_compare(d, SECOND);
}

static int protect(struct demo *d, int bits)
{
	return failed(d, "mprotect", mprotect(d->mem, d->kind->size, bits));
}

static int made_readonly(struct demo *d)
{
	if (mirrored(d) || protect(d, PROT_READ) || device_is_notified(d) ||
	    refused(d, "write", dmirror_write, d->mem, EPERM))
		return -1;
	return read_and_compare(d, FIRST);
}

static int made_writable_again(struct demo *d)
{
	if (mirrored(d) || protect(d, PROT_READ) || forget_events(d) ||
	    protect(d, PROT_READ | PROT_WRITE) || device_is_notified(d))
		return -1;
	return write_and_compare(d, SECOND);
}

static int moved(struct demo *d)
{
	size_t size = d->kind->size;

	if (mirrored(d) ||
	    failed(d, "mremap", mremap(PLACE, size, size, MREMAP_MAYMOVE | MREMAP_FIXED,
				       OTHER_PLACE) == MAP_FAILED))
		return -1;
	d->mem = OTHER_PLACE;
	if (device_is_notified(d) || read_and_compare(d, FIRST))
		return -1;
	return refused(d, "read", dmirror_read, PLACE, EFAULT);
}

static int discarded(struct demo *d)
{
	if (mirrored(d) || failed(d, "madvise", madvise(d->mem, d->kind->size, MADV_DONTNEED)) ||
	    device_is_notified(d))
		return -1;
	return read_and_compare(d, ZEROES);
}

/* The number of pages in swap, or -1 */
static long swapped_pages(struct demo *d)
{
	uint64_t entry[MAX_SIZE / PAGE];
	size_t len = npages(d) * sizeof(*entry), i;
	int fd = open("/proc/self/pagemap", O_RDONLY);
	long count = 0;
	ssize_t got;

	if (failed(d, "/proc/self/pagemap", fd < 0))
		return -1;
	got = pread(fd, entry, len, (uintptr_t)d->mem / PAGE * sizeof(*entry));
	close(fd);
	if (all_bytes(d, "/proc/self/pagemap", got, len))
		return -1;
	for (i = 0; i < npages(d); i++)
		count += !!(entry[i] & PAGEMAP_SWAPPED);
	return count;
}

/*
 * Reclaim does not see pages in the per-CPU LRU batches of other CPUs. move_pages() drains all
 * batches, even if it moves no page.
 */
static int swap_out(struct demo *d)
{
	long count = 0;
	int node, status;

	for (int tries = 0; tries < 100 && count >= 0 && count < (long)npages(d); tries++) {
		if (failed(d, "move_pages", syscall(SYS_move_pages, 0, 0, NULL, &node, &status, 0)))
			return -1;
		if (failed(d, "madvise", madvise(d->mem, d->kind->size, MADV_PAGEOUT)))
			return -1;
		count = swapped_pages(d);
	}
	if (count >= 0 && count < (long)npages(d))
		return fail(d, "only %ld pages were swapped out: is there a swap device?", count);
	note(d, "%ld pages in swap", count);
	return count < 0 ? -1 : 0;
}

static int swapped_out(struct demo *d)
{
	if (mirrored(d) || swap_out(d) || device_is_notified(d))
		return -1;
	return read_and_compare(d, FIRST);
}

static int soft_dirty_cleared(struct demo *d)
{
	int fd = open("/proc/self/clear_refs", O_WRONLY);
	ssize_t done;

	if (mirrored(d) || failed(d, "/proc/self/clear_refs", fd < 0))
		return -1;
	done = write(fd, "4", 1);
	close(fd);
	if (all_bytes(d, "/proc/self/clear_refs", done, 1) || device_is_notified(d))
		return -1;
	return write_and_compare(d, SECOND);
}

/* An invalidation like that of the OOM reaper, which does not retry forever */
static int nonblockable_refused(struct demo *d)
{
	long ret;

	if (mirrored(d))
		return -1;
	ret = dmirror_refuse(&d->dev, 1, 0, 0);
	if (!ret)
		ret = dmirror_invalidate_now(&d->dev, d->mem, npages(d),
					     HMM_DMIRROR_NOTIFY_UNMAP);
	if (ret != -EAGAIN)
		return fail(d, "the invalidation that must not block returns: %s", strerror(-ret));
	note(d, "the device refuses: EAGAIN");
	if (device_is_notified(d))
		return -1;
	return read_and_compare(d, FIRST);
}

static bool is_hole(unsigned char prot)
{
	return prot == HMM_DMIRROR_PROT_NONE;
}

/* These bits of a snapshot say where a page is. The values share bits. */
#define PROT_PLACE_MASK		0xf0

static bool is_in_this_device(unsigned char prot)
{
	unsigned char place = prot & PROT_PLACE_MASK;

	return place == HMM_DMIRROR_PROT_DEV_PRIVATE_LOCAL ||
	       place == HMM_DMIRROR_PROT_DEV_COHERENT_LOCAL;
}

static int populated_by_device(struct demo *d)
{
	if (memory_new(d) || pages_must_be(d, "empty", is_hole, npages(d)) ||
	    forget_events(d) || write_and_compare(d, SECOND))
		return -1;
	return device_is_notified(d);
}

static int pages_in_device(struct demo *d, size_t want)
{
	return pages_must_be(d, "in the device", is_in_this_device, want);
}

/* The device writes to its own memory, and no page migrates back. */
static int changed_in_device(struct demo *d)
{
	if (mirrored(d) || device_takes_over(d, FIRST) || device_writes(d, SECOND))
		return -1;
	return pages_in_device(d, npages(d));
}

static int read_by_cpu(struct demo *d)
{
	if (changed_in_device(d) || forget_events(d) || both_have(d, SECOND) ||
	    device_is_notified(d))
		return -1;
	return pages_in_device(d, 0);
}

static int returned_by_driver(struct demo *d)
{
	long done;

	if (changed_in_device(d) || forget_events(d))
		return -1;
	done = dmirror_migrate_to_sys(&d->dev, d->mem, npages(d));
	if (all_pages(d, "migration back", done, npages(d)) || device_is_notified(d) ||
	    pages_in_device(d, 0))
		return -1;
	return read_and_compare(d, SECOND);
}

static bool receive(int sock, void *buf, size_t len)
{
	return recv(sock, buf, len, MSG_WAITALL) == (ssize_t)len;
}

static bool transmit(int sock, const void *buf, size_t len)
{
	return send(sock, buf, len, MSG_NOSIGNAL) == (ssize_t)len;
}

/*
 * Send "ready", wait for the parent, then send the digest of the child's memory. A signal ends
 * the child, because the parent's handler would continue with the rows of the parent.
 */
static void child_side(struct demo *d, int sock, enum content copy_has)
{
	char word = 0;

	catch_cpu_faults(SIG_DFL);
	if (copy_has == CHILD)
		cpu_writes(d, CHILD);
	if (transmit(sock, &word, 1) && receive(sock, &word, 1)) {
		cpu_reads(d);
		transmit(sock, &d->cpu_sha, sizeof(d->cpu_sha));
	}
	_exit(0);
}

static int parent_side(struct demo *d, int sock, enum content copy_has)
{
	struct digest copy;
	char word;

	if (!receive(sock, &word, 1))
		return fail(d, "the child ended before it was ready");
	if (device_is_notified(d))
		return -1;
	if (copy_has == CHILD ? read_and_compare(d, FIRST) : write_and_compare(d, SECOND))
		return -1;
	if (!transmit(sock, &word, 1) || !receive(sock, &copy, sizeof(copy)))
		return fail(d, "the child ended before it sent its digest");
	if (must_be(d, "the child sees", &copy, copy_has))
		return -1;
	note(d, "child: %s", content_name[copy_has]);
	return 0;
}

static int with_child(struct demo *d, enum content copy_has)
{
	int sock[2], ret;
	pid_t pid;

	if (mirrored(d) || failed(d, "socketpair", socketpair(AF_UNIX, SOCK_STREAM, 0, sock)))
		return -1;
	pid = fork();
	if (!pid) {
		close(sock[0]);
		child_side(d, sock[1], copy_has);
	}
	close(sock[1]);
	ret = failed(d, "fork", pid < 0) || parent_side(d, sock[0], copy_has) ? -1 : 0;
	close(sock[0]);		/* ends a child that still waits */
	if (pid > 0)
		waitpid(pid, NULL, 0);
	return ret;
}

static int child_wrote(struct demo *d)
{
	return with_child(d, CHILD);
}

static int device_wrote_after_fork(struct demo *d)
{
	return with_child(d, FIRST);
}

/* A row of this table: the event that the change causes, and the access that remains */
#define CHANGE(_what, _run, _event, _maps) \
	{ .what = _what, .kind = &small_pages, .run = _run, .event = _event, .maps = _maps }

const struct row change_rows[] = {
	CHANGE("munmap()", unmapped, "munmap", "nothing"),
	CHANGE("munmap(), mmap() at the same address", mapped_again, "munmap", "nothing"),
	CHANGE("mprotect() to read-only", made_readonly, "write-protect", "read-only"),
	CHANGE("mprotect() back to read-write", made_writable_again, "nothing", "read-only"),
	CHANGE("fork(), then the child writes", child_wrote, "fork", "read-only"),
	CHANGE("fork(), then the device writes", device_wrote_after_fork, "fork", "read-only"),
	CHANGE("reads device memory", read_by_cpu, "migrate", "nothing"),
	CHANGE("has the driver migrate it back", returned_by_driver, "migrate", "nothing"),
	CHANGE("mremap() moves the mapping", moved, "munmap", "nothing"),
	CHANGE("madvise(MADV_DONTNEED)", discarded, "migrate", "nothing"),
	CHANGE("swaps out (MADV_PAGEOUT)", swapped_out, "migrate", "nothing"),
	CHANGE("clears soft-dirty (clear_refs)", soft_dirty_cleared, "isdirty", "read-only"),
	CHANGE("invalidates, must not block", nonblockable_refused, "munmap", "read-write"),
	CHANGE("has never accessed it", populated_by_device, "nothing", "read-write"),
	{ 0 },
};
