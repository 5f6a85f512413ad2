#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Faults of a device in nanoseconds, partly concurrent with other threads. The number of CPUs is
# that of the build machine.
# boot: --smp 2 --mem 4G --append no5lvl
# timeout: 1200
exec /bin/hmm-bench faults
