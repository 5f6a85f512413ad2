#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The kernel prints a stack dump that is listed as allowed.
# boot: --mem 512M
# tests: 2
# timeout: 100
# figures: 2 0 0 0

echo '<4>a stack dump on request' >/dev/kmsg
echo '<4>Call Trace:' >/dev/kmsg
echo '<4> </TASK>' >/dev/kmsg
cat <<END
KTAP version 1
1..2
ok 1 - first
ok 2 - second
END
