/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Declarations that the source files of the demo share. A function that returns an int returns
 * 0, or -1 after fail() has stored the reason.
 */
#ifndef GUEST_DEMO_H
#define GUEST_DEMO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "hmm-dmirror-ioctl.h"

#define MIB		(1024 * 1024ul)
#define PAGE		4096ul
#define MAX_SIZE	(4 * MIB)

/* Aligned for huge pages. No other mapping is near, so the kernel cannot merge VMAs. */
#define PLACE		((unsigned char *)(64ul << 30))
#define OTHER_PLACE	(PLACE + 2 * MAX_SIZE)

/* UNKNOWN fills a buffer before a read, so that a read that stores nothing is detected. */
enum content { ZEROES, FIRST, SECOND, CHILD, UNKNOWN };

struct digest { char hex[65]; };
#define NO_DIGEST	((struct digest){ "-" })

/* The callbacks for a change, all of the same kind */
struct notified {
	const char *event;
	uint64_t start, end, size;
	bool blockable;
};

struct demo {
	struct dmirror dev;
	unsigned int scene, rows, right;
	/* The current row. It may reuse the memory of the row before. */
	const struct kind *kind;
	unsigned char *mem;	/* NULL: not mapped */
	int fd;
	struct digest cpu_sha, dev_sha;
	const struct row *row;
	struct notified notified;
	const char *maps;	/* access of the device after the change */
	char seen[200], why[200];
};

struct kind {
	size_t size;
	int (*open)(struct demo *d);
	bool written;		/* open() writes the first content */
	int flags, advice;
};

struct row {
	const char *what;
	const struct kind *kind;
	int (*run)(struct demo *d);
	const char *expected;	/* printed; NULL for a change, which has @event and @maps */
	const char *event, *maps;
};

static inline size_t npages(const struct demo *d)
{
	return d->kind->size / PAGE;
}

/* demo.c */
void catch_cpu_faults(void (*handler)(int sig));

/* demo-table.c */
void forget(struct demo *d);
void note(struct demo *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int fail(struct demo *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int failed(struct demo *d, const char *call, bool has);
int all_pages(struct demo *d, const char *verb, long done, size_t wanted);
int all_bytes(struct demo *d, const char *call, ssize_t done, size_t wanted);
void print_head(const char *title);
void print_row(const struct demo *d, bool right);
void print_change_head(const char *title);
void print_change(const struct demo *d, bool right);
void print_rule(void);
void print_change_rule(void);

/* demo-sha256.c */
void sha256(const void *buf, size_t len, struct digest *digest);

/* demo-content.c */
extern const char * const content_name[];
void cpu_writes(struct demo *d, enum content c);
void cpu_reads(struct demo *d);
int device_writes(struct demo *d, enum content c);
int device_takes_over(struct demo *d, enum content c);
int file_is_written(struct demo *d, enum content c);
int file_must_hold(struct demo *d, enum content c);
int must_be(struct demo *d, const char *observer, const struct digest *digest, enum content c);
int both_have(struct demo *d, enum content c);
int read_and_compare(struct demo *d, enum content c);
int write_and_compare(struct demo *d, enum content c);
int refused(struct demo *d, const char *name, dmirror_verb *verb, unsigned char *addr, int err);
int pages_must_be(struct demo *d, const char *what, bool (*is)(unsigned char), size_t want);

/* demo-events.c */
int forget_events(struct demo *d);
int device_is_notified(struct demo *d);

/* demo-memory.c */
extern const struct kind small_pages;
extern const struct row memory_rows[];
int memory_new(struct demo *d);
int memory_map(struct demo *d);

/* demo-changes.c */
extern const struct row change_rows[];

#endif
