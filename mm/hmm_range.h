/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * HMM ranges in flight and calls, internal interface that the walker and the mirror share.
 */
#ifndef _MM_HMM_RANGE_H
#define _MM_HMM_RANGE_H

#include <linux/hmm_mirror.h>
#include <linux/oom.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>

/**
 * enum hmm_inside_op - operation that a task is inside of, see &struct hmm_inside
 * @HMM_INSIDE_CPU_FAULT: a CPU fault during a walk of the range
 * @HMM_INSIDE_MAKE_EXCLUSIVE: make_device_exclusive_range()
 * @HMM_INSIDE_CALLBACK: a callback of the driver
 */
enum hmm_inside_op {
	HMM_INSIDE_CPU_FAULT,
	HMM_INSIDE_MAKE_EXCLUSIVE,
	HMM_INSIDE_CALLBACK,
};

/*
 * A task can call into HMM recursively: it takes a CPU fault that invalidates a part of its own
 * range, or a callback of the driver unregisters the mirror. These functions detect that. They
 * need no lock: hmm_inside() returns true only for the task that called hmm_inside_enter(), and
 * only that task reads inside->op.
 */
static inline void hmm_inside_enter(struct hmm_inside *inside, enum hmm_inside_op op)
{
	inside->op = op;
	WRITE_ONCE(inside->task, current);
}

static inline void hmm_inside_leave(struct hmm_inside *inside)
{
	WRITE_ONCE(inside->task, NULL);
}

static inline bool hmm_inside(const struct hmm_inside *inside, enum hmm_inside_op op)
{
	return READ_ONCE(inside->task) == current && inside->op == op;
}

/**
 * struct hmm_call - a call of hmm_mirror_fault() that is under way
 * @node: in mirror->calls; protected by mirror->range_lock
 * @task: the calling task
 * @start: first address of the call
 * @end: end address, exclusive
 * @job: job of the caller, or NULL
 * @may_write: the call requests pages for writing only where the VMA is writable
 * @error: 0, or the errno that the call must return: -ECANCELED or -ESRCH. It is written at
 *	most once, under mirror->range_lock. hmm_call_end() reads it after the call has left
 *	the list. Earlier reads without the lock are hints that let the call end early.
 */
struct hmm_call {
	struct list_head node;
	struct task_struct *task;
	unsigned long start;
	unsigned long end;
	struct hmm_job *job;
	bool may_write;
	int error;
};

/*
 * A task with a fatal signal must not allocate more memory for the mm. The same holds for a
 * worker that faults in memory of another process. The worker gets no signal when that process
 * is killed, and the memory cannot be freed until the worker has stopped.
 */
static inline bool hmm_mm_is_remote(const struct mm_struct *mm)
{
	return current->mm != mm || current->flags & PF_KTHREAD;
}

static inline bool hmm_mm_is_killed(struct mm_struct *mm)
{
	return fatal_signal_pending(current) || (hmm_mm_is_remote(mm) && mm_is_dying(mm));
}

/* A walk has read [@start, @end): from now on the range depends on these entries. */
static inline void hmm_range_saw(struct hmm_range *range, unsigned long start,
				 unsigned long end)
{
	range->seen_start = range->seen_end ? min(range->seen_start, start) : start;
	range->seen_end = max(range->seen_end, end);
}

#endif /* _MM_HMM_RANGE_H */
