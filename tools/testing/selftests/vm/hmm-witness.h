/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A child that shares the pages of its parent, and checks their content when the parent asks.
 */
#ifndef _SELFTESTS_VM_HMM_WITNESS_H
#define _SELFTESTS_VM_HMM_WITNESS_H

#include <stdbool.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hmm-stamps.h"

struct witness {
	pid_t pid;
	int ask;
};

static inline struct witness witness_fork(struct __test_metadata *_metadata, void *mem,
					  long npages, enum tag tag)
{
	struct witness witness;
	int question[2];
	char byte;

	ASSERT_EQ(0, pipe(question));
	witness.ask = question[1];
	witness.pid = fork();
	ASSERT_LE(0, witness.pid);
	if (!witness.pid) {
		close(question[1]);
		/* Returns when the parent closes its end. */
		if (read(question[0], &byte, 1))
			_exit(2);
		_exit(stamp_run(mem, npages, tag) != npages);
	}
	close(question[0]);
	return witness;
}

static inline bool witness_saw_no_change(struct witness *witness)
{
	int status;

	close(witness->ask);
	return waitpid(witness->pid, &status, 0) == witness->pid &&
	       WIFEXITED(status) && !WEXITSTATUS(status);
}

#endif /* _SELFTESTS_VM_HMM_WITNESS_H */
