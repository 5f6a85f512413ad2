#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# kmemleak reports a leak: a file takes its place, which init overwrites with "scan".
# boot: --mem 512M
# tests: 2
# timeout: 100
# verdict: kmemleak: scan : unreferenced object 0xffff888000000000
# status: 1
# figures: 2 1 0 0

mount -t tmpfs none /sys/kernel/debug
echo '.... : unreferenced object 0xffff888000000000 (size 64):' >/sys/kernel/debug/kmemleak
cat <<END
KTAP version 1
1..2
ok 1 - first
ok 2 - second
END
