#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Our own tools/testing/selftests/vm/hmm-devmem-tests: memory of a process that is in the
# memory of a device; and hmm-limits-tests: limits of a process, and pages that others hold.
# Two nodes, so that pages can move.
# boot: --mem 4G --append no5lvl --append numa=fake=2 --append memmap=512M%0x100000000-1+0xefffffff
# tests: 77
# timeout: 900
# budget: 420
# shellcheck source=guest/lib.sh
. /suites/lib.sh

# khugepaged invalidates what it looks at, and must not collapse what a test has just split.
echo 4294967295 >/sys/kernel/mm/transparent_hugepage/khugepaged/scan_sleep_millisecs
load_dmirror
reserve_hugetlb 64
swap_on_zram
run_programs hmm-devmem-tests hmm-limits-tests
