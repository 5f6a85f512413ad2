// SPDX-License-Identifier: GPL-2.0
/* Rows: the mapping changes after the device has used it */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <unistd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "demo.h"

#define PAGEMAP_SWAPPED	(1ull << 62)

/* A change only proves something when the device has the old pages in its page table */
static int mirrored(struct demo *d)
{
	if (memory_new(d))
		return -1;
	cpu_writes(d, FIRST);
	if (read_and_compare(d, FIRST))
		return -1;
	forget(d);
	return 0;
}

static int unmapped(struct demo *d)
{
	if (mirrored(d) || failed(d, "munmap", munmap(d->mem, d->kind->size)))
		return -1;
	return refused(d, "read", dmirror_read, d->mem, EFAULT);
}

static int mapped_again(struct demo *d)
{
	if (mirrored(d) || failed(d, "munmap", munmap(d->mem, d->kind->size)) || memory_map(d))
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
	if (mirrored(d) || protect(d, PROT_READ) ||
	    refused(d, "write", dmirror_write, d->mem, EPERM))
		return -1;
	return read_and_compare(d, FIRST);
}

static int made_writable_again(struct demo *d)
{
	if (mirrored(d) || protect(d, PROT_READ) || read_and_compare(d, FIRST) ||
	    protect(d, PROT_READ | PROT_WRITE))
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
	if (read_and_compare(d, FIRST))
		return -1;
	return refused(d, "read", dmirror_read, PLACE, EFAULT);
}

static int discarded(struct demo *d)
{
	if (mirrored(d) || failed(d, "madvise", madvise(d->mem, d->kind->size, MADV_DONTNEED)))
		return -1;
	return read_and_compare(d, ZEROES);
}

static int must_be_swapped(struct demo *d)
{
	uint64_t entry[MAX_SIZE / PAGE];
	size_t len = npages(d) * sizeof(*entry), count = 0, i;
	int fd = open("/proc/self/pagemap", O_RDONLY);
	ssize_t got;

	if (failed(d, "/proc/self/pagemap", fd < 0))
		return -1;
	got = pread(fd, entry, len, (uintptr_t)d->mem / PAGE * sizeof(*entry));
	close(fd);
	if (all_bytes(d, "/proc/self/pagemap", got, len))
		return -1;
	for (i = 0; i < npages(d); i++)
		count += !!(entry[i] & PAGEMAP_SWAPPED);
	if (!count)
		return fail(d, "no page was swapped out: is there a swap device?");
	note(d, "%zu of %zu pages in swap", count, npages(d));
	return 0;
}

static int swapped_out(struct demo *d)
{
	if (mirrored(d) || failed(d, "madvise", madvise(d->mem, d->kind->size, MADV_PAGEOUT)) ||
	    must_be_swapped(d))
		return -1;
	return read_and_compare(d, FIRST);
}

static int populated_by_device(struct demo *d)
{
	if (memory_new(d) || pages_must_be(d, "empty", dmirror_is_hole, npages(d)))
		return -1;
	return write_and_compare(d, SECOND);
}

static int pages_in_device(struct demo *d, size_t want)
{
	return pages_must_be(d, "in the device", dmirror_is_in_this_device, want);
}

/* Looked at after the device's store: it must not have fetched the pages back for that */
static int changed_in_device(struct demo *d)
{
	if (mirrored(d) || device_takes_over(d, FIRST) || device_writes(d, SECOND))
		return -1;
	return pages_in_device(d, npages(d));
}

static int fetched_by_cpu(struct demo *d)
{
	return changed_in_device(d) || both_have(d, SECOND) ? -1 : pages_in_device(d, 0);
}

static int returned_by_driver(struct demo *d)
{
	long done;

	if (changed_in_device(d))
		return -1;
	done = dmirror_migrate_to_system(&d->dev, d->mem, npages(d));
	if (all_pages(d, "migration back", done, npages(d)) || pages_in_device(d, 0))
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
 * Ready, then wait for the parent's word, then tell what is in the child's copy by now.
 * A CPU fault ends the child: with the parent's handler it would go on with the parent's rows.
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
	if (copy_has == CHILD ? read_and_compare(d, FIRST) : write_and_compare(d, SECOND))
		return -1;
	if (!transmit(sock, &word, 1) || !receive(sock, &copy, sizeof(copy)))
		return fail(d, "the child ended before it told what it sees");
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
	close(sock[0]);		/* a child that still waits gives up */
	if (pid > 0)
		waitpid(pid, NULL, 0);
	return ret;
}

static int child_wrote(struct demo *d)
{
	return with_child(d, CHILD);
}

static int device_wrote_beside_child(struct demo *d)
{
	return with_child(d, FIRST);
}

const struct row change_rows[] = {
	{ "munmap()", &small_pages, unmapped, "EFAULT from every old address, no stale data" },
	{ "munmap(), mmap() at the same address", &small_pages, mapped_again,
	  "only what the CPU wrote to the new mapping" },
	{ "mprotect() to read-only", &small_pages, made_readonly,
	  "EPERM for every device write, content unchanged and still readable" },
	{ "mprotect() back to read-write", &small_pages, made_writable_again,
	  "the device may write again" },
	{ "fork(), then the child writes", &small_pages, child_wrote,
	  "device and parent keep the first content, the child has its own" },
	{ "fork(), then the device writes", &small_pages, device_wrote_beside_child,
	  "the parent sees it, the child keeps the first content" },
	{ "to device memory, CPU touches it", &small_pages, fetched_by_cpu,
	  "256 pages in the device, written there; none after the CPU's touch" },
	{ "to device memory, driver returns it", &small_pages, returned_by_driver,
	  "256 pages in the device, written there; none after the return" },
	{ "mremap() moves the mapping", &small_pages, moved,
	  "the content at the new address, EFAULT from every old one" },
	{ "madvise(MADV_DONTNEED)", &small_pages, discarded, "zeroes" },
	{ "swapped out (MADV_PAGEOUT)", &small_pages, swapped_out,
	  "pages in swap, the device's read gets the content back" },
	{ "hole the CPU never touched", &small_pages, populated_by_device,
	  "empty pages, then the CPU sees what the device wrote" },
	{ 0 },
};
