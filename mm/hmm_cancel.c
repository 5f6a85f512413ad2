// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * HMM: calls of hmm_mirror_fault() that are under way, and how another task ends them.
 *
 * A call is in the list of its mirror from its beginning to its end. It is cancelled by
 * an errno that is written into it, at most once, under range_lock:
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
 * The flag of the task stays set until the call ends, so that no wake-up is lost: a task
 * that is about to sleep finds the flag in schedule(), and one that sleeps is woken if
 * it waits in TASK_INTERRUPTIBLE, and not otherwise. Walks for a mirror wait so for user
 * space (FAULT_FLAG_INTERRUPTIBLE), and a driver may do so in its callback. Kthreads have
 * the flag, too, and need not allow any signal for it.
 *
 * Waits of other kinds end without help: for I/O, for an invalidation under way, for a
 * lock. The call gives up after them.
 *
 * A call that begins later is another call. It must not begin if its mirror is dying, or its
 * job was cancelled: hmm_call_begin() reads both under the lock under which they are
 * written. So whichever of the two critical sections comes first, the call ends. A driver
 * that has cancelled a job can wait for its work item, without a race of its own.
 */
#include <linux/hmm_mirror.h>
#include <linux/sched/signal.h>
#include <linux/task_work.h>

#include "hmm_mirror.h"

/**
 * hmm_call_begin() - let a call of hmm_mirror_fault() be found
 * @mirror: mirror
 * @call: with everything but node, task and error set
 *
 * Context: Process context. Does not sleep.
 * Return: 0, or the errno that the call must return instead: -ESRCH if the mirror is dying,
 * -ECANCELED if the job was cancelled.
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
 * hmm_call_end() - end what hmm_call_begin() has begun
 * @mirror: mirror
 * @call: call
 *
 * Context: Process context, the task that has called. Does not sleep.
 * Return: 0, or the errno by which the call was cancelled.
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
	/* Task work may have been announced by the same flag. */
	if (task_work_pending(current))
		set_notify_signal(current);
	return call->error;
}

/* Return whether it was not cancelled before. */
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
 * hmm_mirror_set_dying() - let all faults end, and none begin
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
 * hmm_mirror_cancel_job() - cancel all faults of a job, for good
 * @mirror: mirror
 * @job: job of faults of @mirror, see hmm_mirror_fault_job()
 *
 * Faults under way return -ECANCELED, also if they have mirrored some of their pages, which
 * stay mirrored. Faults that begin later return it immediately. So the driver can wait
 * afterwards for the work item or thread that faults, as by cancel_work_sync() or
 * kthread_stop(), and free what @job is embedded in.
 *
 * A cancelled fault does not wait for user space (userfaultfd), and begins no new CPU
 * fault. It still waits for what ends without user space: for a CPU fault that waits for
 * I/O, for an invalidation or an access (hmm_access_begin()) under way, and for the driver's
 * own callback. During the callback signal_pending() is true for the faulting task, so that
 * interruptible waits end. Other faults are not affected.
 *
 * Context: Any that may take a spinlock, but not in an interrupt; also in callbacks and
 * with &hmm_mirror.lock held. Does not sleep, and does not wait for the faults. @mirror
 * is registered, or was and still exists.
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
 * @end: end address, exclusive; 0 and %ULONG_MAX are the whole address space
 *
 * Faults under way, of any job or none, whose range overlaps [@start, @end) return
 * -ECANCELED, as described for hmm_mirror_cancel_job(). Faults that begin later are not
 * affected: a driver that needs that cancels their jobs, or unregisters the mirror.
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
