/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The parts of the program that have a file of their own. hmm-bench.c calls them, and they call
 * measure.c and rows.c.
 */
#ifndef HMM_BENCH_PARTS_H
#define HMM_BENCH_PARTS_H

/* faults.c: faults of a device, in nanoseconds and in instructions */
void faults(void);
void faults_counted(void);

/*
 * devmem.c: migration by the test device that is loaded, in CPU faults and in instructions. @who
 * is "ours" or "peer".
 */
void devmem(const char *who);
void devmem_counted(const char *who);

#endif /* HMM_BENCH_PARTS_H */
