/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Shared by the KUnit tests of the mirror: a driver without a device, which logs its callbacks,
 * and functions that change the mm that it mirrors.
 *
 * README.rst lists the failures of earlier generations, the tests that cover each of them, and
 * the events that KUnit tests do not produce.
 */
#ifndef _MM_TESTS_HMM_MIRROR_TEST_H
#define _MM_TESTS_HMM_MIRROR_TEST_H

#include <linux/completion.h>
#include <linux/sched.h>

#include "../hmm_fault.h"
#include "hmm_test.h"

struct hmm_area;

/* The address of page number @page, counted from @addr */
#define AT(addr, page)	((addr) + (page) * PAGE_SIZE)

#define HMM_FAKE_LOG	256
/* A thread that has not ended after this time is stuck. */
#define HMM_FAKE_STUCK	(60 * HZ)

/**
 * struct hmm_fake - a mirror of the test's mm, with its driver
 * @mirror: mirror
 * @test: test
 * @base: start of an inaccessible area, aligned to a window
 * @lock: protects the members below
 * @log: the invalidations that the callback got, including refused ones
 * @count: number of invalidations that the callback got
 * @fill: the last DEVICE_RFAULT or DEVICE_WFAULT
 * @fills: number of calls for DEVICE_RFAULT and DEVICE_WFAULT
 * @fill_shares: another reader could take mirror->lock during the last fill
 * @refuse: number of invalidations that the driver still refuses
 * @refuse_from: lowest address at which it refuses them
 * @fill_error: what the next fill returns, once, at or above @fill_error_from
 * @fill_error_from: lowest address at which a fill returns @fill_error
 * @hold: the next invalidation waits in the callback until @go completes
 * @held: an invalidation has begun to wait
 * @go: ends that wait
 * @releases: number of calls of the release callback
 * @releaser: the task that called the release callback last
 * @late: number of callbacks after the release
 * @wrong: number of callbacks with an update that must not occur
 */
struct hmm_fake {
	struct hmm_mirror mirror;
	struct kunit *test;
	unsigned long base;
	spinlock_t lock; /* protects the members below */
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
 * struct hmm_fake_call - hmm_mirror_fault() in a separate thread
 * @fake: the mirror
 * @start: first address
 * @end: end address, exclusive
 * @flags: flags of hmm_mirror_fault()
 * @job: job of hmm_mirror_fault_job()
 * @ret: the return value
 * @signal_left: signal_pending() was true after the call
 * @done: the call has returned
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
 * struct hmm_fake_other - an invalidation of a range in a separate thread
 * @event: the event; the test sets it
 * @nonblock: the invalidation must not block; the test sets it
 * @fake: the mirror, whose mm it invalidates
 * @start: first address
 * @end: end address, exclusive
 * @ret: 0, or -EAGAIN if the invalidation was refused
 * @done: the invalidation has ended
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

struct mm_struct *hmm_fake_mm(struct kunit *test);
struct hmm_fake *hmm_fake_new(struct kunit *test, unsigned int flags);
struct hmm_fake *hmm_fake_another(struct hmm_fake *fake, unsigned int flags);
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
void hmm_fake_stop_gc(struct hmm_mirror *mirror);
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
void hmm_fake_release_held(struct hmm_fake_other *held);
void hmm_fake_clear_log(struct hmm_fake *fake);
void hmm_fake_expect(struct hmm_fake *fake, unsigned int nr, enum hmm_update_event event,
		     unsigned long start, unsigned long end);
void hmm_fake_expect_one(struct hmm_fake *fake, enum hmm_update_event event,
			 unsigned long start, unsigned long end);
void hmm_fake_expect_none(struct hmm_fake *fake);

void hmm_fake_fork(struct kunit *test);
int hmm_fake_protect(unsigned long addr, unsigned long size, unsigned long prot);

#endif /* _MM_TESTS_HMM_MIRROR_TEST_H */
