#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Programs of tools/testing/selftests/vm: a walk of each page state that user space can make
# boot: --mem 4G --append no5lvl --append memmap=512M%0x100000000-1+0xefffffff
# tests: 87
# timeout: 600
# budget: 240
# shellcheck source=guest/lib.sh
. /suites/lib.sh

load_dmirror
reserve_hugetlb 64
swap_on_zram
run_selftests hmm-tests hmm-walk-fault-tests hmm-devmem-walk-tests
