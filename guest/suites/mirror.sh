#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Our own tools/testing/selftests/vm/hmm-mirror-tests: what a device is told when memory
# changes that it has mirrored; hmm-device-tests: what drivers do, and several of them;
# hmm-owner-tests: when its process ends; and hmm-fault-tests: its faults, and who gets in
# their way.
# Two nodes, so that pages can move. --append HMM_STORM_SECONDS=60 makes storms longer.
# boot: --mem 4G --append no5lvl --append numa=fake=2 --append memmap=512M%0x100000000-1+0xefffffff
# tests: 315
# timeout: 1800
# budget: 720
# shellcheck source=guest/lib.sh
. /suites/lib.sh

load_dmirror
reserve_hugetlb 64
swap_on_zram
run_programs hmm-mirror-tests hmm-device-tests hmm-owner-tests hmm-fault-tests
