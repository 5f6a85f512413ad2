/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A process that opens a device and calls a function whenever the test asks for it. The test has
 * the device file and a userfaultfd of the process, too. The test and the process communicate by
 * shared memory, because a message takes memory, and the process may be unable to get any.
 */
#ifndef _SELFTESTS_VM_HMM_OWNER_PROCESS_H
#define _SELFTESTS_VM_HMM_OWNER_PROCESS_H

#include <sys/prctl.h>

#include "hmm-dmirror-expect.h"
#include "hmm-memory.h"

struct owner {
	pid_t pid;
	struct order *order;
	struct dmirror dev;
	int uffd;
	char *mem;
	long npages;
};

/*
 * A function that the process calls. It has the same address there, because the process is a
 * child.
 */
typedef long owner_verb(struct owner *owner);

struct order {
	owner_verb *verb;	/* NULL after the call */
	long ret;
};

static inline void owner_serve(struct owner *owner)
{
	struct order *order = owner->order;
	owner_verb *verb;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;; usleep(1000)) {
		verb = __atomic_load_n(&order->verb, __ATOMIC_ACQUIRE);
		if (!verb)
			continue;
		order->ret = verb(owner);
		__atomic_store_n(&order->verb, NULL, __ATOMIC_RELEASE);
	}
}

static inline void owner_ask(struct owner *owner, owner_verb *verb)
{
	__atomic_store_n(&owner->order->verb, verb, __ATOMIC_RELEASE);
}

static inline bool owner_has_died(struct owner *owner)
{
	siginfo_t info = {};

	return waitid(P_PID, owner->pid, &info, WEXITED | WNOHANG | WNOWAIT) || info.si_pid;
}

/* Returns the result of @verb, or -EPIPE if the process has died. */
static inline long owner_do(struct owner *owner, owner_verb *verb)
{
	owner_ask(owner, verb);
	while (__atomic_load_n(&owner->order->verb, __ATOMIC_ACQUIRE)) {
		if (owner_has_died(owner))
			return -EPIPE;
		usleep(1000);
	}
	return owner->order->ret;
}

static inline long owner_opens_device(struct owner *owner)
{
	owner->dev.fd = open("/dev/hmm_dmirror0", O_RDWR);
	owner->dev.buf_pages = NPAGES;
	owner->dev.buf = malloc(SIZE);
	return owner->dev.fd;
}

/* Duplicate a file of the process. */
static inline int owner_file(struct owner *owner, int fd)
{
	int pidfd = syscall(SYS_pidfd_open, owner->pid, 0);
	int ours = syscall(SYS_pidfd_getfd, pidfd, fd, 0);

	close(pidfd);
	return ours;
}

static inline void owner_start(struct __test_metadata *_metadata, struct owner *owner, long npages)
{
	owner->order = map_pages(_metadata, 1, PROT_RW, MAP_SHARED | MAP_ANONYMOUS, -1);
	owner->npages = npages;
	owner->mem = map_small(_metadata, npages);
	owner->pid = fork();
	ASSERT_LE(0, owner->pid);
	if (!owner->pid)
		owner_serve(owner);
	owner->dev.fd = owner_file(owner, owner_do(owner, owner_opens_device));
	ASSERT_LE(0, owner->dev.fd);
}

static inline void owner_end(struct owner *owner)
{
	if (owner->pid > 0) {
		kill(owner->pid, SIGKILL);
		waitpid(owner->pid, NULL, 0);
	}
	close(owner->dev.fd);
}

static inline long owner_fills(struct owner *owner)
{
	long i;

	for (i = 0; i < owner->npages; i += NPAGES)
		stamp_write(page_at(owner->mem, i), NPAGES, TAG_CPU);
	return i;
}

static inline long owner_migrates(struct owner *owner)
{
	return dmirror_whole(&owner->dev, owner->mem, owner->npages, dmirror_migrate_to_dev);
}

static inline long owner_evicts(struct owner *owner)
{
	return dmirror_whole(&owner->dev, owner->mem, owner->npages, dmirror_migrate_to_sys);
}

/* The number of leading pages in device memory */
static inline long owner_has_on_device(struct owner *owner)
{
	return dmirror_maps_bits(&owner->dev, owner->mem, owner->npages,
				 HMM_DMIRROR_PTE_DEVICE, HMM_DMIRROR_PTE_DEVICE);
}

static inline long owner_reads_stamps(struct owner *owner)
{
	long i;

	for (i = 0; i < owner->npages; i += NPAGES)
		if (stamp_run(page_at(owner->mem, i), NPAGES, TAG_CPU) != NPAGES)
			break;
	return i;
}

static inline long owner_unmaps(struct owner *owner)
{
	return munmap(owner->mem, owner->npages * PAGE_SIZE);
}

static inline long owner_prefetches(struct owner *owner)
{
	return dmirror_prefetch_work(&owner->dev, owner->mem, owner->npages);
}

static inline void owner_moves_to_device(struct __test_metadata *_metadata, struct owner *owner)
{
	ASSERT_EQ(owner->npages, owner_do(owner, owner_fills));
	ASSERT_EQ(owner->npages, owner_do(owner, owner_migrates));
	ASSERT_EQ(owner->npages, owner_do(owner, owner_has_on_device));
}

#endif /* _SELFTESTS_VM_HMM_OWNER_PROCESS_H */
