// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * HMM: calls of hmm_mirror_fault() that are under way, and how another task cancels them.
 *
 * A call is in the list of its mirror from its beginning to its end. Another task cancels
 * it by an errno, which it writes to the call under range_lock, at most once:
 *
 *	fault					another task
 *	=====					============
 *	range_lock: dying? list_add(call)
 *	takes a CPU fault
 *	  queues for userfaultfd
 *	  set_current_state()			range_lock:
 *	  schedule()				  call->error = -ECANCELED
 *						  set_notify_signal(call->task)
 *	  TIF_NOTIFY_SIGNAL: does not sleep
 *	  VM_FAULT_RETRY
 *	call->error: give up
 *	range_lock: list_del(call)
 *	clear_notify_signal()
 *
 * TIF_NOTIFY_SIGNAL stays set until the call ends, so that no wake-up is lost. A task that
 * is about to sleep finds the flag in schedule(), and set_notify_signal() wakes a task that
 * sleeps in TASK_INTERRUPTIBLE, and no other. Walks for a mirror wait for user space in this
 * state (FAULT_FLAG_INTERRUPTIBLE), and a driver may do so in its callback. The flag works
 * for kthreads, too, which need not allow any signal.
 *
 * The cancellation does not wake up a call that waits for I/O, for an invalidation under way,
 * or for a lock. Such a wait ends by itself, and then the call gives up.
 *
 * A call must not begin if its mirror is dying or its job is cancelled. hmm_call_begin()
 * reads both under range_lock, under which they are written. If the cancellation takes
 * range_lock first, the call does not begin. Otherwise the cancellation finds the call in the
 * list. In both cases the call ends. A driver that has cancelled a job can wait for its work
 * item without a race.
 */
#include <linux/hmm_mirror.h>
#include <linux/sched/signal.h>
#include <linux/task_work.h>

#include "hmm_mirror.h"

/**
 * hmm_call_begin() - add a call of hmm_mirror_fault() to the list of its mirror
 * @mirror: mirror
 * @call: call; the caller has set all fields but node, task and error
 *
 * Context: Process context. Does not sleep.
 * Return: 0; -ESRCH if the mirror is dying; -ECANCELED if the job is cancelled. The call must
 * return this error.
 */
int hmm_call_begin(struct hmm_mirror *mirror, struct hmm_call *call)
{
	int ret = 0;

	call->task = current;
	call->error = 0;
	spin_lock(&mirror->range_lock);
	if (mirror->dying)
		ret = -ESRCH;
	else if (call->job && call->job->cancelled)
		ret = -ECANCELED;
	else
		list_add(&call->node, &mirror->calls);
	spin_unlock(&mirror->range_lock);
	return ret;
}

/**
 * hmm_call_end() - remove a call from the list of its mirror
 * @mirror: mirror
 * @call: call that hmm_call_begin() returned 0 for
 *
 * Context: Process context, in the task that began the call. Does not sleep.
 * Return: 0; -ESRCH or -ECANCELED if the call was cancelled with this error.
 */
int hmm_call_end(struct hmm_mirror *mirror, struct hmm_call *call)
{
	spin_lock(&mirror->range_lock);
	list_del(&call->node);
	spin_unlock(&mirror->range_lock);

	/* No other task finds the call any more. */
	if (!call->error)
		return 0;
	clear_notify_signal();
	/* Task work uses the same flag. */
	if (task_work_pending(current))
		set_notify_signal(current);
	return call->error;
}

/* Return true if the call was not cancelled before. */
static bool hmm_call_cancel(struct hmm_mirror *mirror, struct hmm_call *call, int error)
{
	lockdep_assert_held(&mirror->range_lock);
	if (call->error)
		return false;
	WRITE_ONCE(call->error, error);
	set_notify_signal(call->task);
	return true;
}

/**
 * hmm_mirror_set_dying() - cancel all faults and prevent new ones
 * @mirror: mirror
 *
 * Context: Any that may take a spinlock.
 */
void hmm_mirror_set_dying(struct hmm_mirror *mirror)
{
	struct hmm_call *call;

	spin_lock(&mirror->range_lock);
	mirror->dying = true;
	list_for_each_entry(call, &mirror->calls, node)
		hmm_call_cancel(mirror, call, -ESRCH);
	spin_unlock(&mirror->range_lock);
}

/**
 * hmm_mirror_cancel_job() - cancel all faults of a job, permanently
 * @mirror: mirror
 * @job: job of faults of @mirror, see hmm_mirror_fault_job()
 *
 * Faults under way return -ECANCELED, even if they have mirrored some of their pages. These
 * pages stay mirrored. Faults that begin later return -ECANCELED immediately. So the driver
 * can then wait for the work item or thread that faults, for example by cancel_work_sync()
 * or kthread_stop(), and free the object that contains @job.
 *
 * A cancelled fault does not wait for user space (userfaultfd), and takes no new CPU fault.
 * It still waits for events that do not depend on user space: I/O of a CPU fault, an
 * invalidation or an access (hmm_access_begin()) under way, and the driver's own callback.
 * During the callback signal_pending() is true for the faulting task, so interruptible waits
 * end. Other faults are not affected.
 *
 * Context: Any that may take a spinlock, but not in an interrupt. May be called in callbacks
 * and with &hmm_mirror.lock held. Does not sleep, and does not wait for the faults. @mirror
 * is registered, or is unregistered but not freed.
 * Return: The number of faults that this call has cancelled.
 */
unsigned int hmm_mirror_cancel_job(struct hmm_mirror *mirror, struct hmm_job *job)
{
	unsigned int count = 0;
	struct hmm_call *call;

	spin_lock(&mirror->range_lock);
	job->cancelled = true;
	list_for_each_entry(call, &mirror->calls, node) {
		if (call->job == job)
			count += hmm_call_cancel(mirror, call, -ECANCELED);
	}
	spin_unlock(&mirror->range_lock);
	return count;
}
EXPORT_SYMBOL_GPL(hmm_mirror_cancel_job);

/**
 * hmm_mirror_cancel_range() - cancel the faults that are under way in a range
 * @mirror: mirror
 * @start: first address
 * @end: end address, exclusive; from 0 to %ULONG_MAX is the whole address space
 *
 * Faults under way whose range overlaps [@start, @end) return -ECANCELED, as described for
 * hmm_mirror_cancel_job(), with or without a job. Faults that begin later are not affected:
 * to cancel those, too, a driver cancels their jobs or unregisters the mirror.
 *
 * Context: As for hmm_mirror_cancel_job().
 * Return: The number of faults that this call has cancelled.
 */
unsigned int hmm_mirror_cancel_range(struct hmm_mirror *mirror, unsigned long start,
				     unsigned long end)
{
	unsigned int count = 0;
	struct hmm_call *call;

	spin_lock(&mirror->range_lock);
	list_for_each_entry(call, &mirror->calls, node) {
		if (call->start < end && start < call->end)
			count += hmm_call_cancel(mirror, call, -ECANCELED);
	}
	spin_unlock(&mirror->range_lock);
	return count;
}
EXPORT_SYMBOL_GPL(hmm_mirror_cancel_range);
