#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The machine is reset after good results.
# boot: --mem 512M
# tests: 2
# timeout: 100
# verdict: unexpected end:
# status: 1
# figures: 2 1 0 0

cat <<END
KTAP version 1
1..2
ok 1 - first
ok 2 - second
END
sleep 2 # until they have left the guest
echo b >/proc/sysrq-trigger
