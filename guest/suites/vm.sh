#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Our own tools/testing/selftests/vm/hmm-tests: page states that user space makes
# boot: --mem 4G --append no5lvl --append memmap=512M%0x100000000-1+0xefffffff
# tests: 87
# timeout: 600
# budget: 240
# shellcheck source=guest/lib.sh
. /suites/lib.sh

load_dmirror
reserve_hugetlb 64
swap_on_zram
exec /bin/vm-hmm-tests 2>&1
