#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The kernel panics after good results.
# boot: --mem 512M
# tests: 2
# timeout: 100
# verdict: panic: .*:[0-9]+: Kernel panic - not syncing: sysrq triggered crash; with source lines in
# status: 1
# figures: 2 1 0 0

cat <<END
KTAP version 1
1..2
ok 1 - first
ok 2 - second
END
sleep 2 # until they have left the guest
echo c >/proc/sysrq-trigger
