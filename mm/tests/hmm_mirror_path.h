/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A file whose CPU faults wait or invalidate, for the tests of the paths of a fault
 */
#ifndef _MM_TESTS_HMM_MIRROR_PATH_H
#define _MM_TESTS_HMM_MIRROR_PATH_H

#include <linux/workqueue.h>

#include "hmm_mirror_test.h"

/*
 * A file whose next CPU faults do something to the page first: wait, or invalidate the
 * page and map nothing
 */
enum hmm_path_how {
	HMM_PATH_WAITS = 1,
	HMM_PATH_SLEEPS,
	HMM_PATH_IS_INVALIDATED,
	HMM_PATH_IS_INVALIDATED_LONG,
	HMM_PATH_INVALIDATES_ITSELF,
};

/**
 * struct hmm_path_file - the file, and what its CPU faults have observed
 * @real_ops: vm_ops of the VMA before
 * @ops: the same, with other fault handlers
 * @left: how many of the next CPU faults do @how first
 * @done: number of CPU faults
 * @how: what those CPU faults do
 * @then: what they do after the first @left, 0 for nothing
 * @then_left: the number of CPU faults that do @then
 * @from: start of the invalidation by the last CPU fault of @left, 0 for the file's start
 * @also: work that runs during the last CPU fault of @left
 * @woken: how often a sleeping CPU fault was woken
 * @vma_lock_only: the last CPU fault held the VMA lock only
 * @may_retry: the last CPU fault could have dropped the lock to wait
 * @killable: a kill ends the wait of the last CPU fault
 * @interruptible: any signal ends the wait of the last CPU fault
 * @lets_vma_lock: other threads could take the VMA lock during the last CPU fault
 * @locks: how often mmap_lock was taken for CPU faults that must not wait
 * @lock_seq: mm_lock_seq at the last of these
 * @active: an invalidation is under way
 * @early: a CPU fault happened while an invalidation was under way
 */
struct hmm_path_file {
	const struct vm_operations_struct *real_ops;
	struct vm_operations_struct ops;
	unsigned int left;
	unsigned int done;
	enum hmm_path_how how;
	enum hmm_path_how then;
	unsigned int then_left;
	unsigned long from;
	struct work_struct *also;
	unsigned int woken;
	bool vma_lock_only;
	bool may_retry;
	bool killable;
	bool interruptible;
	bool lets_vma_lock;
	unsigned int locks;
	unsigned int lock_seq;
	bool active;
	bool early;
};

/* The tests map other memory before the file, in the same chunk. */
#define HMM_PATH_OFFSET	(SZ_512M + SZ_1M)

extern struct hmm_path_file hmm_path_file;
extern struct delayed_work hmm_path_long_end;

void hmm_path_expect(struct hmm_fake *fake, const struct hmm_mirror_stats *before,
		     unsigned long vma_lock, unsigned long mmap_lock, unsigned long serialized);
unsigned long hmm_path_map(struct hmm_fake *fake, unsigned int left, enum hmm_path_how how);

#endif /* _MM_TESTS_HMM_MIRROR_PATH_H */
