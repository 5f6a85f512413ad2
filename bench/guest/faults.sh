#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Rows of the faults of a device that measure time, some beside threads on as many CPUs
# as there are here.
# boot: --smp 2 --mem 4G --append no5lvl
# timeout: 1200
exec /bin/hmm-bench faults
