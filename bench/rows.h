/* SPDX-License-Identifier: GPL-2.0 */
/* The rows that the program prints: their unit, name and value */
#ifndef HMM_BENCH_ROWS_H
#define HMM_BENCH_ROWS_H

/* A measurement has this number of rounds, and the shortest round counts. */
#define ROUNDS		5

#define PAIRS_MAX	2001

/* main() sets these before it runs a part. */
extern const char *prefix;	/* of the name of each row */
extern const char *unit;	/* of the rows that say() prints */
extern int pairs;		/* number of measurements, of which the median counts */

void say(const char *name, const char *by, double value);
void say_in(const char *other_unit, const char *name, const char *by, double value);
double median(double *values, int count);

#endif /* HMM_BENCH_ROWS_H */
