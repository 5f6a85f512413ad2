// SPDX-License-Identifier: GPL-2.0
/* Tables of 99 columns, and the texts that rows add to them */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "demo.h"

#define WHAT_COLUMNS	37
#define TEXT_COLUMNS	83

/* Begin a row: forget the results of the row before. */
void forget(struct demo *d)
{
	d->dev.faults = 0;
	d->cpu_sha = NO_DIGEST;
	d->dev_sha = NO_DIGEST;
	d->seen[0] = '\0';
}

void note(struct demo *d, const char *fmt, ...)
{
	size_t used = strlen(d->seen);
	va_list args;

	if (used)
		used += snprintf(d->seen + used, sizeof(d->seen) - used, "; ");
	if (used >= sizeof(d->seen))
		return;
	va_start(args, fmt);
	vsnprintf(d->seen + used, sizeof(d->seen) - used, fmt, args);
	va_end(args);
}

int fail(struct demo *d, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(d->why, sizeof(d->why), fmt, args);
	va_end(args);
	return -1;
}

int failed(struct demo *d, const char *call, bool has)
{
	return has ? fail(d, "%s: %s", call, strerror(errno)) : 0;
}

int all_pages(struct demo *d, const char *verb, long done, size_t wanted)
{
	if (done < 0)
		return fail(d, "device %s: %s", verb, strerror(-done));
	if ((size_t)done != wanted)
		return fail(d, "device %s: only %ld of %zu pages", verb, done, wanted);
	return 0;
}

int all_bytes(struct demo *d, const char *call, ssize_t done, size_t wanted)
{
	if (failed(d, call, done < 0))
		return -1;
	if ((size_t)done != wanted)
		return fail(d, "%s: only %zd of %zu bytes", call, done, wanted);
	return 0;
}

void print_rule(void)
{
	puts("+---------------------------------------+-------+--------+--------------+"
	     "---------------+---------+");
}

void print_head(const char *title)
{
	printf("\n%s\n", title);
	print_rule();
	printf("| %-*s | %5s | %6s | %-12s | %-13s | %-7s |\n", WHAT_COLUMNS, "what", "size",
	       "faults", "CPU sha256", "device sha256", "verdict");
	print_rule();
}

/* The index of a page, counted from the first page of the memory */
static long page_of(uint64_t addr)
{
	return ((long)addr - (long)PLACE) / (long)PAGE;
}

static size_t line_length(const char *text)
{
	size_t full = strnlen(text, TEXT_COLUMNS), len = full;

	while (text[full] && len && text[len] != ' ')
		len--;
	return len ? len : full;
}

static void print_text(const char *label, const char *text)
{
	size_t len;

	for (; *text; text += len, label = "") {
		text += strspn(text, " ");
		len = line_length(text);
		printf("|   %-9s %-*.*s |\n", label, TEXT_COLUMNS, (int)len, text);
	}
}

void print_row(const struct demo *d, bool right)
{
	const struct row *row = d->row;

	printf("| %-*s | %lu MiB | %6lu | %-12.12s | %-13.12s | %-7s |\n", WHAT_COLUMNS, row->what,
	       row->kind->size / MIB, d->dev.faults, d->cpu_sha.hex, d->dev_sha.hex,
	       right ? "right" : "WRONG");
	if (row->expected) {
		print_text("expected:", row->expected);
		print_text("seen:", d->seen);
	}
	if (!right)
		print_text("WRONG:", d->why);
}

void print_change_rule(void)
{
	puts("+---------------------------------------+---------------+-----------+-------+"
	     "------------+---------+");
}

void print_change_head(const char *title)
{
	printf("\n%s\n", title);
	print_change_rule();
	printf("| %-*s | %-13s | %-9s | %-5s | %-10s | %-7s |\n", WHAT_COLUMNS, "what the CPU does",
	       "event", "pages", "block", "still maps", "verdict");
	print_change_rule();
}

void print_change(const struct demo *d, bool right)
{
	const struct notified *notified = &d->notified;
	bool ranged = notified->event && notified->end;
	char pages[48] = "-";

	if (ranged)
		snprintf(pages, sizeof(pages), "%ld-%ld", page_of(notified->start),
			 page_of(notified->end) - 1);
	printf("| %-*s | %-13s | %-9s | %-5s | %-10s | %-7s |\n", WHAT_COLUMNS, d->row->what,
	       notified->event ? notified->event : "-", pages,
	       !ranged ? "-" : notified->blockable ? "may" : "no",
	       d->maps ? d->maps : "-", right ? "right" : "WRONG");
	print_text("seen:", d->seen);
	if (!right)
		print_text("WRONG:", d->why);
}
