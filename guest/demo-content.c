// SPDX-License-Identifier: GPL-2.0
/*
 * Accesses of the CPU, the device and files to the content of memory. A content is pseudo random
 * and defined by its seed. All copies go through one bounce buffer, so only loads and stores of
 * the CPU and the device access the memory under test.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "demo.h"

#define CHUNK_PAGES	64ul	/* pages of one ioctl */
#define POISON		0xa5

const char * const content_name[] = {
	[ZEROES] = "zeroes",
	[FIRST] = "the first content",
	[SECOND] = "the new content",
	[CHILD] = "the child's content",
	[UNKNOWN] = "something unknown",
};

static unsigned char bounce[MAX_SIZE] __attribute__((aligned(sizeof(uint64_t))));

/*
 * A content differs from scene to scene, so that stale memory never has the right content.
 * A state of zero stays zero in xorshift64, which makes ZEROES a content like the others.
 */
static void generate(const struct demo *d, enum content c, void *buf)
{
	uint64_t state = c == ZEROES ? 0 : d->scene * 0x9e3779b97f4a7c15ull + c;
	uint64_t *word = buf;
	uint64_t *end = word + d->kind->size / sizeof(*word);

	for (; word < end; word++) {
		state ^= state << 13;
		state ^= state >> 7;
		state ^= state << 17;
		*word = state;
	}
}

void cpu_writes(struct demo *d, enum content c)
{
	generate(d, c, d->mem);
}

void cpu_reads(struct demo *d)
{
	d->cpu_sha = NO_DIGEST;
	memcpy(bounce, d->mem, d->kind->size);
	sha256(bounce, d->kind->size, &d->cpu_sha);
}

static int device_works(struct demo *d, const char *name, dmirror_verb *verb, enum content c)
{
	size_t offset;
	long done;

	d->dev_sha = NO_DIGEST;
	generate(d, c, bounce);
	for (offset = 0; offset < d->kind->size; offset += CHUNK_PAGES * PAGE) {
		d->dev.buf = (char *)bounce + offset;
		done = verb(&d->dev, d->mem + offset, CHUNK_PAGES);
		if (all_pages(d, name, done, CHUNK_PAGES))
			return -1;
	}
	sha256(bounce, d->kind->size, &d->dev_sha);
	return 0;
}

int device_takes_over(struct demo *d, enum content c)
{
	if (device_works(d, "migration", dmirror_migrate_to_dev, UNKNOWN))
		return -1;
	return must_be(d, "the device received", &d->dev_sha, c);
}

int device_writes(struct demo *d, enum content c)
{
	return device_works(d, "write", dmirror_write, c);
}

int file_is_written(struct demo *d, enum content c)
{
	size_t size = d->kind->size;

	generate(d, c, bounce);
	if (all_bytes(d, "pwrite", pwrite(d->fd, bounce, size, 0), size))
		return -1;
	return failed(d, "fsync", fsync(d->fd));
}

/* pread() reads the page cache, and so detects a device that has written to a private copy. */
int file_must_hold(struct demo *d, enum content c)
{
	size_t size = d->kind->size;
	struct digest held;

	if (all_bytes(d, "pread", pread(d->fd, bounce, size, 0), size))
		return -1;
	sha256(bounce, size, &held);
	return must_be(d, "pread() sees", &held, c);
}

static bool is_content(struct demo *d, const struct digest *digest, enum content c)
{
	struct digest known;

	generate(d, c, bounce);
	sha256(bounce, d->kind->size, &known);
	return !strcmp(digest->hex, known.hex);
}

int must_be(struct demo *d, const char *observer, const struct digest *digest, enum content c)
{
	enum content got = ZEROES;

	if (is_content(d, digest, c))
		return 0;
	while (got < UNKNOWN && !is_content(d, digest, got))
		got++;
	return fail(d, "%s %s instead of %s", observer, content_name[got], content_name[c]);
}

int both_have(struct demo *d, enum content c)
{
	cpu_reads(d);
	if (must_be(d, "the device has", &d->dev_sha, c) ||
	    must_be(d, "the CPU sees", &d->cpu_sha, c))
		return -1;
	note(d, "CPU and device: %s", content_name[c]);
	return 0;
}

/* The device reads first, so that the device and not the CPU faults missing pages in. */
int read_and_compare(struct demo *d, enum content c)
{
	return device_works(d, "read", dmirror_read, UNKNOWN) ? -1 : both_have(d, c);
}

int write_and_compare(struct demo *d, enum content c)
{
	return device_writes(d, c) ? -1 : both_have(d, c);
}

/* One ioctl for each page, because the first page that is refused ends an ioctl. */
int refused(struct demo *d, const char *name, dmirror_verb *verb, unsigned char *addr, int err)
{
	size_t i;
	long ret;

	d->dev.buf = (char *)bounce;
	for (i = 0; i < npages(d); i++) {
		memset(bounce, POISON, PAGE);
		ret = verb(&d->dev, addr + i * PAGE, 1);
		if (ret >= 0)
			return fail(d, "the device may still %s page %zu", name, i);
		if (ret != -err)
			return fail(d, "device %s of page %zu: %s", name, i, strerror(-ret));
		if (bounce[0] != POISON || memcmp(bounce, bounce + 1, PAGE - 1))
			return fail(d, "device %s of page %zu fails, but stores data", name, i);
	}
	note(d, "%s of %zu pages: %s", name, npages(d), strerrorname_np(err));
	return 0;
}

int pages_must_be(struct demo *d, const char *what, bool (*is)(unsigned char), size_t want)
{
	unsigned char prot[MAX_SIZE / PAGE];
	size_t count = 0, i;

	if (all_pages(d, "snapshot", dmirror_snapshot(&d->dev, d->mem, npages(d), prot), npages(d)))
		return -1;
	for (i = 0; i < npages(d); i++)
		count += is(prot[i]);
	if (count != want)
		return fail(d, "%zu pages %s instead of %zu", count, what, want);
	note(d, "%zu pages %s", count, what);
	return 0;
}
