#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# A test provokes a warning of the kernel, which is tainted by it.
# boot: --mem 512M
# tests: 2
# timeout: 100
# status: 1
# figures: 2 0 0 0

echo '<4>a caller violates a rule' >/dev/kmsg
echo '<4>WARNING: CPU: 0 PID: 1 at mm/nowhere.c:1 nothing+0x0/0x10' >/dev/kmsg
echo '<4>Call Trace:' >/dev/kmsg
echo '<4> </TASK>' >/dev/kmsg
echo 512 >/proc/sys/kernel/tainted
cat <<END
KTAP version 1
1..2
ok 1 - first
ok 2 - second
END
