/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Files by which the kernel reports and is configured, and the directories of the tests.
 */
#ifndef _SELFTESTS_VM_HMM_KERNEL_FILES_H
#define _SELFTESTS_VM_HMM_KERNEL_FILES_H

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SCRATCH_DIR	"/scratch"
#define DEBUG_DIR	"/sys/kernel/debug"
#define TRACE_DIR	DEBUG_DIR "/tracing/"

static inline bool write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_TRUNC);
	ssize_t len = strlen(text);
	bool done = fd >= 0 && write(fd, text, len) == len;

	close(fd);
	return done;
}

static inline bool file_has(const char *path, const char *text)
{
	FILE *file = fopen(path, "r");
	char line[1024];
	bool found = false;

	while (file && !found && fgets(line, sizeof(line), file))
		found = strstr(line, text);
	if (file)
		fclose(file);
	return found;
}

/* The number after @key at the start of a line, which may be ""; -1 if there is no such line */
static inline long read_number(const char *path, const char *key)
{
	FILE *file = fopen(path, "r");
	size_t length = strlen(key);
	long value = -1;
	char line[256];

	while (file && value < 0 && fgets(line, sizeof(line), file))
		if (!strncmp(line, key, length))
			value = strtol(line + length, NULL, 10);
	if (file)
		fclose(file);
	return value;
}

#endif /* _SELFTESTS_VM_HMM_KERNEL_FILES_H */
