#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The kernel prints a stack that the list of what may be printed has.
# boot: --mem 512M
# tests: 2
# timeout: 100
# figures: 2 0 0 0

echo '<4>a stack that somebody asked for' >/dev/kmsg
echo '<4>Call Trace:' >/dev/kmsg
echo '<4> </TASK>' >/dev/kmsg
cat <<END
KTAP version 1
1..2
ok 1 - first
ok 2 - second
END
