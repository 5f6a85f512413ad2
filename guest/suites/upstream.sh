#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The kernel's own selftests/mm/hmm-tests, unmodified: with our test device, which is on
# the mirror, and with the kernel's own, unmodified as well, on our walker.
# boot: --mem 4G --append no5lvl --append memmap=512M%0x100000000-1+0xefffffff
# tests: 116
# timeout: 600
# budget: 240
# shellcheck source=guest/lib.sh
. /suites/lib.sh

# Its hugetlb cases pass silently without pages.
reserve_hugetlb 64
grep -q '\[always\]' /sys/kernel/mm/transparent_hugepage/enabled ||
	fail "THP is not set to always"
# Its pages are to be migrated the moment that they are asked for: khugepaged, which
# looks at them every 10 s, must not have them just then.
echo 4294967295 >/sys/kernel/mm/transparent_hugepage/khugepaged/scan_sleep_millisecs
status=0
echo "KTAP version 1"
echo "1..2"
load_driver test_hmm
run_subtest 1 test_hmm upstream-hmm-tests || status=1
rmmod test_hmm
# Last, and it stays: its devices' names leak when it goes.
load_driver test_hmm_pristine
run_subtest 2 test_hmm_pristine upstream-hmm-tests || status=1
exit $status
