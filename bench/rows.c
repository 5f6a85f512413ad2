// SPDX-License-Identifier: GPL-2.0
#include <stdio.h>
#include <stdlib.h>

#include "rows.h"

const char *prefix = "";
const char *unit;
int pairs;

void say_in(const char *other_unit, const char *name, const char *by, double value)
{
	printf("bench %s%s %s %s %.4f\n", prefix, name, other_unit, by, value);
	fflush(stdout);
}

void say(const char *name, const char *by, double value)
{
	say_in(unit, name, by, value);
}

static int by_value(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double median(double *values, int count)
{
	qsort(values, count, sizeof(*values), by_value);
	return values[count / 2];
}
