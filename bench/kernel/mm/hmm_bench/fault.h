/* SPDX-License-Identifier: GPL-2.0 */
/* Faults of a device: the drivers that fault.c measures */
#ifndef _HMM_BENCH_FAULT_H
#define _HMM_BENCH_FAULT_H

#include <linux/types.h>

struct hmm_bench_fault;
struct mm_struct;

/**
 * struct hmm_bench_driver - the driver of a device that faults
 * @probe: create a device that maps nothing of @mm; return it or an ERR_PTR()
 * @remove: free the device
 * @fault: map all of the range on the device for writing; return 0 or an errno
 * @look: store what the device maps of the range in args->writable and args->sum, and the number
 *	of restarted faults in args->retries
 *
 * An MMU notifier invalidation removes the entries of its range from the device.
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
