#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The demo of "make run"
# boot: --mem 4G --append memmap=512M%0x100000000-1+0xefffffff
# timeout: 300
# shellcheck source=guest/lib.sh
. /suites/lib.sh

load_dmirror
reserve_hugetlb 32
swap_on_zram
exec /bin/demo
