/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the KUnit tests of the mirror share: a driver without a device, which keeps a log
 * of what it is told, and ways to make things happen to the mm it mirrors.
 *
 * Tests by failures of earlier generations, see the number in the document of the design.
 * Those of hmm_range are tests of the walker, 13 and 20 by lockdep on the debug kernel:
 *
 *   1, 16 hmm_mirror_life.race, .exit_then_unregister	2 hmm_mirror_life.race
 *   3	hmm_mirror_life.race, .freed_at_once	4 hmm_mirror_life.unregister_first
 *   5	hmm_mirror_inval.refused_by_driver, .refused_by_lock, .refused_often
 *   6	hmm_mirror_inval.refused_by_driver, .refused_in_second_window
 *   7	hmm_mirror_inval.nested			8 hmm_mirror_inval.half_open
 *   9	hmm_range.hmm_range_pagemap_fault, .hmm_range_pagemap_wait
 *   10	hmm_mirror_fault.dying_pagemap		11 hmm_mirror_fault.errors
 *   12	hmm_mirror_fault.holes			13 hmm_range, all of it
 *   14	hmm_range.hmm_range_cell "private_foreign"
 *   15	hmm_range.hmm_range_cell "devmap"	17 hmm_mirror_life.race, hmm_mirror_inval.reap_race
 *   18	hmm_mirror_fault.folio_orders		19 hmm_mirror_inval.waits_for_active
 *   20	hmm_range.hmm_range_cell "hole_hugetlb"
 *   21	hmm_mirror_fault.dirty			22 hmm_mirror_event.pagemap_scan
 *   23	hmm_mirror_fault.read_breaks_no_cow	24 hmm_mirror_inval.elsewhere
 *   26	hmm_mirror_event.migrate_vma		27 hmm_mirror_event.hugetlb_unshare
 *   28	hmm_mirror_inval.new_window, .nested
 *
 * 25 is hmm_fault.swapped_out of the suite mirror.
 *
 * Events that KUnit has no way to: swap-out (there is no swap device before init; the
 * sender, try_to_unmap(), is that of event "rmap"), KSM (runs by sysfs alone; its senders
 * are those of "rmap" and of COW), the OOM reaper (wants a victim; its non-blockable
 * invalidation is made by hand), userfaultfd's move. The suite vm has them.
 */
#ifndef _MM_TESTS_HMM_MIRROR_TEST_H
#define _MM_TESTS_HMM_MIRROR_TEST_H

#include <linux/completion.h>
#include <linux/sched.h>

#include "../hmm_internal.h"
#include "hmm_test.h"

struct hmm_area;

/* The address of a page, counted from @addr */
#define AT(addr, page)	((addr) + (page) * PAGE_SIZE)

#define HMM_FAKE_LOG	256
/* Who has not come to an end by then is stuck. */
#define HMM_FAKE_STUCK	(60 * HZ)

/**
 * struct hmm_fake - a mirror of the test's mm, and its driver
 * @mirror: mirror
 * @test: test
 * @base: of an area with no access, at the beginning of a window
 * @lock: of what follows
 * @log: the invalidations that the driver was called for, refused ones too
 * @count: how many these are
 * @fill: the last DEVICE_?FAULT
 * @fills: how many of them there were
 * @fill_shares: somebody else could have taken the lock for reading then
 * @refuse: how many invalidations from now on are refused, if ...
 * @refuse_from: ... they are of addresses from here on
 * @fill_error: what the next DEVICE_?FAULT returns that is of ...
 * @fill_error_from: ... addresses from here on
 * @hold: the next invalidation is held, in the driver, until @go
 * @held: it is
 * @go: lets it go on
 * @releases: how often the mirror was released
 * @releaser: who has released it
 * @late: callbacks after that
 * @wrong: callbacks with an update that must not be
 */
struct hmm_fake {
	struct hmm_mirror mirror;
	struct kunit *test;
	unsigned long base;
	spinlock_t lock; /* of what follows */
	struct hmm_update log[HMM_FAKE_LOG];
	unsigned int count;
	struct hmm_update fill;
	unsigned int fills;
	bool fill_shares;
	unsigned int refuse;
	unsigned long refuse_from;
	int fill_error;
	unsigned long fill_error_from;
	bool hold;
	struct completion held;
	struct completion go;
	unsigned int releases;
	struct task_struct *releaser;
	unsigned int late;
	unsigned int wrong;
};

/**
 * struct hmm_fake_call - hmm_mirror_fault() in a thread of its own
 * @fake: whose
 * @start: first address
 * @end: first address behind
 * @flags: of hmm_mirror_fault()
 * @job: of hmm_mirror_fault_job()
 * @ret: what it returned
 * @signal_left: signal_pending() was true then
 * @done: when it has
 * @task: the thread
 */
struct hmm_fake_call {
	struct hmm_fake *fake;
	unsigned long start;
	unsigned long end;
	unsigned int flags;
	struct hmm_job *job;
	long ret;
	bool signal_left;
	struct completion done;
	struct task_struct *task;
};

/**
 * struct hmm_fake_other - an invalidation of a range, in a thread of its own
 * @event: why; set by the test
 * @nonblock: it must not wait; set by the test
 * @fake: whose mm
 * @start: first address
 * @end: end address, exclusive
 * @ret: what came of that: 0 or -EAGAIN
 * @done: it has
 * @task: the thread
 */
struct hmm_fake_other {
	enum mmu_notifier_event event;
	bool nonblock;
	struct hmm_fake *fake;
	unsigned long start;
	unsigned long end;
	int ret;
	struct completion done;
	struct task_struct *task;
};

struct hmm_fake *hmm_fake_new(struct kunit *test, unsigned int flags);
struct hmm_fake *hmm_fake_beside(struct hmm_fake *fake, unsigned int flags);
void hmm_fake_init(struct hmm_fake *fake);
void hmm_fake_unregister(struct hmm_fake *fake);
void hmm_fake_set_owner(struct hmm_fake *fake, void *owner);
void hmm_fake_set_device(struct hmm_fake *fake, struct device *dev);
void hmm_fake_set_ops(struct hmm_fake *fake, const struct hmm_mirror_ops *ops);

struct hmm_area *hmm_fake_area(struct hmm_fake *fake, unsigned long addr);
unsigned long hmm_fake_map_file(struct hmm_fake *fake, unsigned long offset,
				unsigned long size, struct file *file, unsigned long flags);
unsigned long hmm_fake_map(struct hmm_fake *fake, unsigned long offset, unsigned long size);
unsigned long hmm_fake_map_small(struct hmm_fake *fake, unsigned long npages);
unsigned long hmm_fake_map_huge(struct hmm_fake *fake, unsigned long count);
struct file *hmm_fake_hugetlb(struct kunit *test, unsigned long size, unsigned int order);

long hmm_fake_fault(struct hmm_fake *fake, unsigned long addr, unsigned long npages,
		    unsigned int flags);
void hmm_fake_fault_all(struct hmm_fake *fake, unsigned long addr, unsigned long npages,
			unsigned int flags);
struct hmm_fake_call *hmm_fake_call(struct hmm_fake *fake, unsigned long addr,
				    unsigned long npages, unsigned int flags);
struct hmm_fake_call *hmm_fake_call_job(struct hmm_fake *fake, unsigned long addr,
					unsigned long npages, unsigned int flags,
					struct hmm_job *job);
bool hmm_fake_call_blocks(struct hmm_fake_call *call);
long hmm_fake_call_ends(struct hmm_fake_call *call);

hmm_pte_t hmm_fake_entry(struct hmm_fake *fake, unsigned long addr);
unsigned long hmm_fake_count(struct hmm_fake *fake, unsigned long addr,
			     unsigned long npages, unsigned long flags);
#define hmm_fake_valid(fake, addr, npages)				\
	hmm_fake_count(fake, addr, npages, HMM_PTE_VALID)
#define hmm_fake_writable(fake, addr, npages)				\
	hmm_fake_count(fake, addr, npages, HMM_PTE_VALID | HMM_PTE_WRITE)
struct hmm_mirror_stats hmm_fake_stats(struct hmm_fake *fake);

void hmm_fake_range(struct hmm_fake *fake, struct mmu_notifier_range *range,
		    enum mmu_notifier_event event, unsigned long start, unsigned long end);
void hmm_fake_invalidate(struct hmm_fake *fake, enum mmu_notifier_event event,
			 unsigned long start, unsigned long end);
void hmm_fake_stop_reaper(struct hmm_mirror *mirror);
int hmm_fake_invalidate_nonblock(struct hmm_fake *fake, enum mmu_notifier_event event,
				 unsigned long start, unsigned long end);
void hmm_fake_other_create(struct hmm_fake_other *other, struct hmm_fake *fake,
			   unsigned long start, unsigned long end);
void hmm_fake_other_start(struct hmm_fake_other *other, struct hmm_fake *fake,
			  unsigned long start, unsigned long end);
bool hmm_fake_other_waits(struct hmm_fake_other *other);
bool hmm_fake_other_ends(struct hmm_fake_other *other);
void hmm_fake_hold(struct hmm_fake_other *held, struct hmm_fake *fake, unsigned long start,
		   unsigned long end);
void hmm_fake_let_go(struct hmm_fake_other *held);
void hmm_fake_forget(struct hmm_fake *fake);
void hmm_fake_expect(struct hmm_fake *fake, unsigned int nr, enum hmm_update_event event,
		     unsigned long start, unsigned long end);
void hmm_fake_expect_one(struct hmm_fake *fake, enum hmm_update_event event,
			 unsigned long start, unsigned long end);
void hmm_fake_expect_none(struct hmm_fake *fake);

void hmm_fake_fork(struct kunit *test);
int hmm_fake_protect(unsigned long addr, unsigned long size, unsigned long prot);

#endif /* _MM_TESTS_HMM_MIRROR_TEST_H */
