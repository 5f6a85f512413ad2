#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# selftests/mm/hmm-tests of 6.12, unmodified: on our test device, which uses the mirror, and
# on the test device of 6.12, also unmodified, which uses our walker.
# boot: --mem 4G --append no5lvl --append memmap=512M%0x100000000-1+0xefffffff
# tests: 116
# timeout: 600
# budget: 240
# shellcheck source=guest/lib.sh
. /suites/lib.sh

# The hugetlb tests pass silently if there are no pages.
reserve_hugetlb 64
grep -q '\[always\]' /sys/kernel/mm/transparent_hugepage/enabled ||
	fail "THP is not set to always"
# The tests expect each migration to succeed, but khugepaged, which scans every 10 s, may hold
# references to the pages.
echo 4294967295 >/sys/kernel/mm/transparent_hugepage/khugepaged/scan_sleep_millisecs
status=0
echo "KTAP version 1"
echo "1..2"
load_driver test_hmm
run_subtest 1 test_hmm /selftests/mm/hmm-tests || status=1
rmmod test_hmm
# Last, and never unloaded, because the names of its devices leak on unload.
load_driver test_hmm_pristine
run_subtest 2 test_hmm_pristine /selftests/mm/hmm-tests || status=1
exit $status
