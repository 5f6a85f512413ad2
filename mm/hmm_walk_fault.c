// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * HMM range walker: CPU faults.
 *
 * The walk holds no pointer into a pte table when it calls hmm_walk_handle_faults(), which also
 * unpins the pagemap. Afterwards the walk reads the entry again.
 */
#include <linux/hmm_mirror.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>

#include "hmm_walk.h"

/*
 * @entry does not meet the request of the page at @addr. Can a fault change that?
 *
 * Return: 0 if it can, -EFAULT if no device may access the memory, -EPERM if the
 * VMA does not allow the access.
 */
int hmm_walk_may_fault(const struct hmm_walk *walk, unsigned long addr, unsigned long entry)
{
	unsigned long req;

	if (entry & HMM_PFN_ERROR)
		return -EFAULT;

	req = hmm_walk_request(walk, *hmm_walk_slot(walk, addr));
	if (!hmm_walk_satisfies(walk->grant, req))
		return -EPERM;
	return 0;
}

/*
 * The fault is complete, has waited, or needs mmap_lock. The last two must be repeated, and
 * do not count as faults without progress. After a wait, the repeated fault has
 * FAULT_FLAG_TRIED and need not drop the lock again, as for any CPU fault.
 */
static int hmm_walk_lost_lock(struct hmm_walk *walk, unsigned long addr,
			      vm_fault_t fault, unsigned int flags)
{
	/* With this flag a fault does not drop the caller's lock. */
	if (walk->fault_flags & FAULT_FLAG_RETRY_NOWAIT)
		return -EAGAIN;
	if (fault & VM_FAULT_COMPLETED)
		return HMM_WALK_UNLOCKED;
	if (!(walk->fault_flags & FAULT_FLAG_VMA_LOCK))
		walk->waited = addr;
	walk->interrupted = flags & FAULT_FLAG_INTERRUPTIBLE && signal_pending(current);
	walk->lock = HMM_WALK_MMAP_LOCK;
	walk->fault_addr = addr;
	walk->no_progress = 0;
	return HMM_WALK_UNLOCKED;
}

/*
 * This walk has read nothing from @addr on. Earlier walks, of other parts of the range, have
 * read nothing from seen_end on. So an invalidation by this fault that is after both does not
 * collide with the range.
 */
static vm_fault_t hmm_walk_cpu_fault(struct hmm_walk *walk, unsigned long addr,
				     unsigned int flags)
{
	struct hmm_range *range = walk->range;
	vm_fault_t fault;

	if (!range->mirror)
		return handle_mm_fault(walk->vma, addr, flags, NULL);
	range->unseen = max(addr, range->seen_end);
	hmm_inside_enter(&range->inside, HMM_INSIDE_CPU_FAULT);
	fault = handle_mm_fault(walk->vma, addr, flags, NULL);
	hmm_inside_leave(&range->inside);
	return fault;
}

/*
 * Check whether a careful fault may be taken now, see hmm_walk_handle_faults(). If @folio is
 * set, the caller keeps the reference until after the fault.
 */
static int hmm_walk_check_fault(const struct hmm_walk *walk, unsigned long addr,
				unsigned int flags, struct folio **folio)
{
	if (hmm_mm_is_killed(walk->mm))
		return -EINTR;
	if (flags & FAULT_FLAG_RETRY_NOWAIT &&
	    !hmm_resident_fault_needs_no_io(walk->vma, addr, flags & FAULT_FLAG_WRITE, folio))
		return -EAGAIN;
	return 0;
}

/*
 * Take faults for @count pages with the same request. hmm_walk_may_fault() has returned 0
 * for the first. Only the first fault returns an error. If a later fault fails, the walk
 * stores the pages before it, and repeats that fault as the first.
 */
static __always_inline int hmm_walk_cpu_faults(struct hmm_walk *walk,
					       unsigned long addr, unsigned int count,
						 unsigned int flags, bool careful)
{
	struct folio *folio = NULL;
	unsigned int done;
	vm_fault_t fault;
	int ret;

	for (done = 0; done < count; done++, addr += PAGE_SIZE) {
		if (done && fatal_signal_pending(current))
			break;
		ret = careful ? hmm_walk_check_fault(walk, addr, flags, &folio) : 0;
		if (ret)
			return done ? 0 : ret;
		fault = hmm_walk_cpu_fault(walk, addr, addr == walk->waited ?
				flags | FAULT_FLAG_TRIED : flags);
		if (careful && folio)
			folio_put(folio);
		if (unlikely(fault & (VM_FAULT_RETRY | VM_FAULT_COMPLETED) &&
			     flags & FAULT_FLAG_ALLOW_RETRY))
			return hmm_walk_lost_lock(walk, addr, fault, flags);
		if (unlikely(fault & VM_FAULT_ERROR)) {
			if (done)
				break;
			/* The fault can fail because the mm is dying. */
			if (careful && hmm_mm_is_killed(walk->mm))
				return -EINTR;
			return vm_fault_to_errno(fault, 0) ?: -EFAULT;
		}
		if (hmm_walk_check(walk))
			return -EBUSY;
	}
	return 0;
}

static noinline int hmm_walk_cpu_faults_careful(struct hmm_walk *walk,
						unsigned long addr, unsigned int count,
						    unsigned int flags)
{
	struct mm_struct *old = set_remote_mm(walk->mm);
	int ret = hmm_walk_cpu_faults(walk, addr, count, flags, true);

	set_remote_mm(old);
	return ret;
}

/*
 * Take faults for @count pages from @addr on. A fault is careful if it is for another process,
 * which can be killed meanwhile, or if it must not start I/O.
 */
int hmm_walk_handle_faults(struct hmm_walk *walk, unsigned long addr, unsigned int count)
{
	unsigned long req = hmm_walk_request(walk, *hmm_walk_slot(walk, addr));
	unsigned int flags = walk->fault_flags;

	if (fatal_signal_pending(current))
		return -EINTR;

	if (walk->fault_addr != addr) {
		walk->fault_addr = addr;
		walk->no_progress = 0;
	} else if (++walk->no_progress >= HMM_WALK_NO_PROGRESS_MAX) {
		return -EBUSY;
	}

	if (req & HMM_PFN_REQ_WRITE)
		flags |= FAULT_FLAG_WRITE;

	hmm_walk_unpin(walk);
	if (unlikely(walk->careful))
		return hmm_walk_cpu_faults_careful(walk, addr, count, flags);
	return hmm_walk_cpu_faults(walk, addr, count, flags, false);
}
