/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Deadlines and durations, by the monotonic clock.
 */
#ifndef _SELFTESTS_VM_HMM_DEADLINES_H
#define _SELFTESTS_VM_HMM_DEADLINES_H

#include <stdbool.h>
#include <time.h>

static inline time_t in_seconds(int seconds)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec + seconds;
}

static inline long msecs_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static inline bool before(time_t deadline)
{
	return in_seconds(0) < deadline;
}

#endif /* _SELFTESTS_VM_HMM_DEADLINES_H */
