/* SPDX-License-Identifier: GPL-2.0 */
/* What fault.c measures, by what it is done */
#ifndef _HMM_BENCH_FAULT_H
#define _HMM_BENCH_FAULT_H

#include <linux/types.h>

struct hmm_bench_fault;
struct mm_struct;

/**
 * struct hmm_bench_driver - of a device that faults
 * @probe: make a device that has nothing mapped of @mm; it or an ERR_PTR()
 * @remove: free it
 * @fault: have the device map the range for writing, all of it; 0 or an errno
 * @look: find out what it has mapped of the range: args->writable and args->sum, and
 *	args->retries
 *
 * Whatever is invalidated by an MMU notifier the device does not map any more.
 */
struct hmm_bench_driver {
	void *(*probe)(struct mm_struct *mm);
	void (*remove)(void *device);
	int (*fault)(void *device, unsigned long start, unsigned long end);
	void (*look)(void *device, struct hmm_bench_fault *args);
};

extern const struct hmm_bench_driver hmm_bench_driver;

long hmm_bench_fault(void __user *arg);

#endif /* _HMM_BENCH_FAULT_H */
