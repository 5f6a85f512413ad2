#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The kernel prints a warning and is tainted by it. This is one complaint, not two.
# boot: --mem 512M
# tests: 2
# timeout: 100
# verdict: splat: .*WARNING: CPU: 0 PID: 1 at mm/nowhere.c:1 .*, 2 such lines.*; with source lines in
# status: 1
# figures: 2 1 0 0

echo '<4>WARNING: CPU: 0 PID: 1 at mm/nowhere.c:1 nothing+0x0/0x10' >/dev/kmsg
echo '<4>Call Trace:' >/dev/kmsg
echo 512 >/proc/sys/kernel/tainted
cat <<END
KTAP version 1
1..2
ok 1 - first
ok 2 - second
END
