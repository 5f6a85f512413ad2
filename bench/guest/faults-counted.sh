#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Those that count instructions: one CPU, a nanosecond for each, and a page cleared by
# as many as it takes without ERMS: see instructions.sh.
# boot: --icount --smp 1 --mem 4G --append no5lvl --append nokaslr --append clearcpuid=erms,fsrm
# timeout: 1200
exec /bin/hmm-bench faults-counted
