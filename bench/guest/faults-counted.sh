#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Faults of a device in instructions. instructions.sh describes the CPU.
# boot: --icount --smp 1 --mem 4G --append no5lvl --append nokaslr --append clearcpuid=erms,fsrm
# timeout: 1200
exec /bin/hmm-bench faults-counted
