#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Rows of the mirror page table. It has as many levels as the CPU page table: five here, four for
# the other rows that count instructions.
# boot: --icount --smp 1 --mem 4G --append nokaslr
# timeout: 600
exec /bin/hmm-bench tables
