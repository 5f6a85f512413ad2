/* SPDX-License-Identifier: GPL-2.0 */
/* What rows are made with, wherever they are */
#ifndef HMM_BENCH_ROWS_H
#define HMM_BENCH_ROWS_H

/* Rounds of which the shortest counts */
#define ROUNDS		5

#define PAIRS_MAX	2001

extern const char *unit;	/* what a nanosecond of this machine counts */
extern int pairs;		/* measurements of which the median counts */

void say(const char *name, const char *by, double value);
double median(double *values, int count);

/* faults.c: in time, and in instructions */
void faults(void);
void faults_counted(void);

/* devmem.c: of the test device that is loaded, in faults, and in instructions */
void devmem(const char *who);
void devmem_counted(const char *who);

#endif /* HMM_BENCH_ROWS_H */
