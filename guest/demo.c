// SPDX-License-Identifier: GPL-2.0
/*
 * demo: a device works on the memory of a process, by the process's own virtual
 * addresses, and follows when the mapping changes.
 */
#include <err.h>
#include <getopt.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "demo.h"

static sigjmp_buf row_env;

static void on_cpu_fault(int sig)
{
	siglongjmp(row_env, sig);
}

void catch_cpu_faults(void (*handler)(int sig))
{
	signal(SIGSEGV, handler);
	signal(SIGBUS, handler);
}

static int run_guarded(struct demo *d, const struct row *row)
{
	int sig = sigsetjmp(row_env, 1);

	return sig ? fail(d, "the CPU's access ended in: %s", strsignal(sig)) : row->run(d);
}

/* A table of rows, in one of the two forms */
struct table {
	void (*head)(const char *title);
	void (*row)(const struct demo *d, bool right);
	void (*rule)(void);
};

static const struct table memory_table = { print_head, print_row, print_rule };
static const struct table change_table = {
	print_change_head, print_change, print_change_rule
};

static void run_row(struct demo *d, const struct table *table, const struct row *row)
{
	bool right;

	d->row = row;
	d->kind = row->kind;
	forget(d);
	catch_cpu_faults(on_cpu_fault);
	right = !run_guarded(d, row);
	catch_cpu_faults(SIG_DFL);
	table->row(d, right);
	d->rows++;
	d->right += right;
}

static void run_table(struct demo *d, const struct table *table, const char *title,
		      const struct row *row)
{
	table->head(title);
	for (; row->what; row++)
		run_row(d, table, row);
	table->rule();
}

static int demo(struct demo *d, const char *path)
{
	printf("Process %d and the device %s work on the same memory by the same addresses.\n"
	       "The device is software; its page table is the mirror's, which HMM keeps like the CPU's.\n"
	       "faults: how often it asked the kernel for pages (up to 64 at a time)\n"
	       "sha256: the first 12 of 64 digits; all 64 are compared\n", getpid(), path);
	run_table(d, &memory_table, "Which memory can the device work on?", memory_rows);
	run_table(d, &change_table,
		  "The device has 256 pages mapped, and written. What if the mapping changes?",
		  change_rows);
	printf("\ndemo: %u of %u rows right\n", d->right, d->rows);
	return d->right == d->rows ? 0 : 1;
}

static int usage(FILE *out, int status)
{
	fputs("usage: demo [--device /dev/hmm_dmirror0]\n"
	      "Shows that the HMM test device sees what the CPU sees, and the other way round.\n"
	      "  --device PATH  which device; one with private memory: hmm_dmirror0 (default) or 1\n"
	      "  --help         this text\n"
	      "Exit status: 0 every row right, 1 something is wrong, 2 bad arguments.\n", out);
	return status;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "device", required_argument, NULL, 'd' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	const char *path = "/dev/hmm_dmirror0";
	struct demo d = { .fd = -1 };
	int opt, ret;

	setvbuf(stdout, NULL, _IOLBF, 0);
	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (opt) {
		case 'd':
			path = optarg;
			break;
		case 'h':
			return usage(stdout, 0);
		default:
			return usage(stderr, 2);
		}
	}
	if (optind < argc)
		return usage(stderr, 2);

	ret = dmirror_open(&d.dev, path);
	if (ret)
		errx(1, "%s: %s\n"
		     "Load the test device first: insmod test_hmm.ko (CONFIG_TEST_HMM=m)",
		     path, strerror(-ret));
	ret = demo(&d, path);
	dmirror_close(&d.dev);
	return ret;
}
