#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The kernel's own selftests/mm/hmm-tests on its own lib/test_hmm.c, unmodified.
# boot: --mem 4G --append no5lvl --append memmap=512M%0x100000000-1+0xefffffff
# tests: 58
# timeout: 600
# budget: 240
# shellcheck source=guest/lib.sh
. /suites/lib.sh

load_dmirror
# Its hugetlb cases pass silently without pages.
reserve_hugetlb 64
grep -q '\[always\]' /sys/kernel/mm/transparent_hugepage/enabled ||
	fail "THP is not set to always"
exec /bin/upstream-hmm-tests
