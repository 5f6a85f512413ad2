#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The kernel is tainted as by a warning, and the console does not show why.
# boot: --mem 512M
# tests: 2
# timeout: 100
# verdict: tainted: the taint mask is 512,
# status: 1
# figures: 2 1 0 0

echo 512 >/proc/sys/kernel/tainted
cat <<END
KTAP version 1
1..2
ok 1 - first
ok 2 - second
END
