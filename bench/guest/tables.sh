#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Rows of the mirror page table, which has as many levels as the CPU's: five here, more
# than the other rows that count instructions have.
# boot: --icount --smp 1 --mem 4G --append nokaslr
# timeout: 600
exec /bin/hmm-bench tables
