/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A cgroup for the processes of a test.
 */
#ifndef _SELFTESTS_VM_HMM_CGROUP_H
#define _SELFTESTS_VM_HMM_CGROUP_H

#include <sys/stat.h>
#include <sys/types.h>

#include "hmm-deadlines.h"
#include "hmm-kernel-files.h"

#define CGROUP_ROOT	"/sys/fs/cgroup/"
#define CGROUP		CGROUP_ROOT "hmm_tests/"

#define CGROUP_SECONDS	30	/* longer than the kernel needs to empty a cgroup */

static inline void cgroup_make(struct __test_metadata *_metadata, const char *controller)
{
	ASSERT_TRUE(write_text(CGROUP_ROOT "cgroup.subtree_control", controller))
		TH_LOG("no cgroup controller %s", controller);
	ASSERT_EQ(0, mkdir(CGROUP, 0755));
}

static inline bool cgroup_has_removed(void)
{
	for (time_t deadline = in_seconds(CGROUP_SECONDS); before(deadline); usleep(10000))
		if (!rmdir(CGROUP))
			return true;
	return false;
}

/* @pid: 0 for the calling process */
static inline bool cgroup_add(pid_t pid)
{
	char text[32];

	snprintf(text, sizeof(text), "%d\n", pid);
	return write_text(CGROUP "cgroup.procs", text);
}

static inline bool cgroup_leave(void)
{
	return write_text(CGROUP_ROOT "cgroup.procs", "0\n");
}

static inline long cgroup_bytes(void)
{
	return read_number(CGROUP "memory.current", "");
}

static inline bool cgroup_falls_below(long bytes)
{
	for (time_t deadline = in_seconds(CGROUP_SECONDS); before(deadline); usleep(10000)) {
		const long now = cgroup_bytes();

		if (now >= 0 && now < bytes)
			return true;
	}
	return false;
}

#endif /* _SELFTESTS_VM_HMM_CGROUP_H */
