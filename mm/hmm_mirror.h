/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * HMM mirror, internal interface: hmm_mirror.c registers and unregisters mirrors. hmm_window.c
 * has windows and ranges in flight, hmm_invalidate.c invalidations, hmm_access.c accesses of
 * the device, hmm_cancel.c the cancellation of faults, hmm_stats.c statistics.
 */
#ifndef _MM_HMM_MIRROR_H
#define _MM_HMM_MIRROR_H

#include <linux/hmm_mirror.h>
#include <linux/memcontrol.h>

#include "hmm_pt.h"
#include "hmm_range.h"

/*
 * Size of a window: large enough that a mirror has few windows, small enough that most memory
 * that is not mirrored is in no window. A block of the mirror page table never crosses the
 * end of a window.
 */
#define HMM_WINDOW_SHIFT	MAX(PUD_SHIFT, BITS_PER_LONG == 64 ? 30 : 28)
#define HMM_WINDOW_SIZE		BIT(HMM_WINDOW_SHIFT)

static inline void hmm_mirror_count(struct hmm_mirror *mirror, enum hmm_mirror_count count,
				    long n)
{
	atomic_long_add(n, &mirror->counts[count]);
}

/* Charge allocations of this task to the memory cgroup of @mm until hmm_charge_end(). */
static inline struct mem_cgroup *hmm_charge_begin(struct mm_struct *mm)
{
	return set_active_memcg(get_mem_cgroup_from_mm(mm));
}

static inline void hmm_charge_end(struct mem_cgroup *old)
{
	mem_cgroup_put(set_active_memcg(old));
}

/* hmm_mirror.c */
bool hmm_mirror_get(struct hmm_mirror *mirror);
void hmm_mirror_put(struct hmm_mirror *mirror);
bool hmm_mirror_bad_range(const struct hmm_mirror *mirror, unsigned long start,
			  unsigned long end);
bool hmm_mirror_bad_flags(const struct hmm_mirror *mirror, unsigned int flags);

/* hmm_invalidate.c */
bool hmm_mirror_invalidate(struct hmm_mirror *mirror, struct hmm_update *update);
bool hmm_mirror_notify(struct hmm_mirror *mirror, const struct mmu_notifier_range *range,
		       unsigned long start, unsigned long end);

/* hmm_window.c */
void hmm_window_gc(struct work_struct *work);
void hmm_window_gc_later(struct hmm_mirror *mirror);
void hmm_windows_remove(struct hmm_mirror *mirror);
int __hmm_range_begin(struct hmm_range *range);
int hmm_range_renew(struct hmm_range *range);
void __hmm_range_end(struct hmm_range *range);

/* hmm_access.c */
void hmm_access_init(struct hmm_mirror *mirror);
bool hmm_access_is_under_way(struct hmm_mirror *mirror, unsigned long start,
			     unsigned long last, bool write);
void hmm_access_wait(struct hmm_mirror *mirror, unsigned long start, unsigned long last,
		     bool write);
bool hmm_access_is_allowed(struct hmm_mirror *mirror, unsigned long addr, bool write);
int hmm_access_wait_allowed(struct hmm_mirror *mirror, unsigned long addr, bool write);
long hmm_access_hold(struct hmm_access *access, struct hmm_mirror *mirror,
		     unsigned long start, unsigned long end, unsigned int flags);

/*
 * Does an entry allow the access that @flags (enum hmm_fault_flags) request? Private memory of
 * the device itself counts as exclusive.
 */
static inline bool hmm_pte_serves(hmm_pte_t pte, unsigned int flags)
{
	if (flags & HMM_FAULT_EXCLUSIVE && !hmm_pte_exclusive(pte) && !hmm_pte_unaddressable(pte))
		return false;
	return hmm_pte_write(pte) || !(flags & (HMM_FAULT_WRITE | HMM_FAULT_EXCLUSIVE));
}

/* hmm_cancel.c */
int hmm_call_begin(struct hmm_mirror *mirror, struct hmm_call *call);
int hmm_call_end(struct hmm_mirror *mirror, struct hmm_call *call);
void hmm_mirror_set_dying(struct hmm_mirror *mirror);

/* hmm_stats.c */
void hmm_stats_add(struct hmm_mirror *mirror);
void hmm_stats_remove(struct hmm_mirror *mirror);

#endif /* _MM_HMM_MIRROR_H */
