#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Our own tools/testing/selftests/vm/hmm-mirror-tests: what a device is told when memory
# changes that it has mirrored. Two nodes, so that pages can move.
# boot: --mem 4G --append no5lvl --append numa=fake=2 --append memmap=512M%0x100000000-1+0xefffffff
# tests: 197
# timeout: 900
# budget: 300
# shellcheck source=guest/lib.sh
. /suites/lib.sh

load_dmirror
reserve_hugetlb 64
swap_on_zram
exec /bin/hmm-mirror-tests
