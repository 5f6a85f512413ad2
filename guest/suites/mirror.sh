#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Programs of tools/testing/selftests/vm: memory changes that a device has mirrored, drivers and
# several devices, the end of a process, and device faults that wait, collide or are killed.
# Two nodes, so that pages can migrate. --append HMM_STORM_SECONDS=60 makes storms longer.
# boot: --mem 4G --append no5lvl --append numa=fake=2 --append memmap=512M%0x100000000-1+0xefffffff
# tests: 302
# timeout: 1800
# budget: 720
# shellcheck source=guest/lib.sh
. /suites/lib.sh

load_dmirror
reserve_hugetlb 64
swap_on_zram
run_selftests hmm-mirror-tests hmm-change-tests hmm-dirty-tests hmm-device-tests \
	hmm-pair-tests hmm-owner-tests hmm-fault-tests hmm-uffd-tests hmm-storm-tests
