// SPDX-License-Identifier: GPL-2.0
/*
 * demo: a device accesses the memory of a process by the process's virtual addresses, also
 * after the mapping changes.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
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

	return sig ? fail(d, "the CPU access ended in: %s", strsignal(sig)) : row->run(d);
}

/* The output functions of a table */
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
	printf("Process %d and the device %s access the same memory by the same addresses.\n"
	       "The device is software. It uses the mirror page table, which HMM keeps up to date.\n"
	       "faults: number of device faults (each for up to 64 pages)\n"
	       "sha256: the first 12 of 64 digits; the demo compares all 64\n", getpid(), path);
	run_table(d, &memory_table, "Which memory can the device access?", memory_rows);
	run_table(d, &change_table,
		  "The device has mapped and written 256 pages. What happens if the mapping changes?",
		  change_rows);
	printf("\ndemo: %u of %u rows right\n", d->right, d->rows);
	return d->right == d->rows ? 0 : 1;
}

static int usage(FILE *out, int status)
{
	fputs("usage: demo [--device /dev/hmm_dmirror0]\n"
	      "Shows that the HMM test device and the CPU see the same content.\n"
	      "  --device PATH  a device with private memory: hmm_dmirror0 (default) or 1\n"
	      "  --help         this text\n"
	      "Exit status: 0 every row is right, 1 a row is wrong, 2 bad arguments.\n", out);
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

	d.dev.fd = open(path, O_RDWR | O_CLOEXEC);
	if (d.dev.fd < 0)
		errx(1, "%s: %s\n"
		     "Load the test device first: insmod test_hmm.ko (CONFIG_TEST_HMM=m)",
		     path, strerror(errno));
	ret = demo(&d, path);
	close(d.dev.fd);
	return ret;
}
