#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Programs of tools/testing/selftests/vm: pages in device memory, exclusive access, and processes
# that are at a limit, that are stopped, or that have a NUMA policy.
# Two nodes, so that pages can migrate.
# boot: --mem 4G --append no5lvl --append numa=fake=2 --append memmap=512M%0x100000000-1+0xefffffff
# tests: 90
# timeout: 900
# budget: 420
# shellcheck source=guest/lib.sh
. /suites/lib.sh

# khugepaged invalidates the ranges that it scans, and could collapse pages that a test has split.
echo 4294967295 >/sys/kernel/mm/transparent_hugepage/khugepaged/scan_sleep_millisecs
load_dmirror
reserve_hugetlb 64
swap_on_zram
run_selftests hmm-devmem-tests hmm-exclusive-tests hmm-limits-tests hmm-stopped-tests \
	hmm-numa-tests
