#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Our tests as kselftest installs and runs them. One program is enough.
# boot: --mem 4G --append no5lvl --append memmap=512M%0x100000000-1+0xefffffff
# tests: 1
# timeout: 300
# figures: 1 0 0 0
# shellcheck source=guest/lib.sh
. /suites/lib.sh

load_dmirror
reserve_hugetlb 64
swap_on_zram
# Where its output goes; whatever boots other machines makes that.
ln -s /proc/self/fd/1 /dev/stdout
exec /kselftest/run_kselftest.sh -t vm:hmm-tests
