#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Every KUnit suite of ours: they are modules, and run when they are loaded.
# boot: --mem 2G
# tests: 18
# timeout: 600
# budget: 90
# shellcheck source=guest/lib.sh
. /suites/lib.sh

for module in /lib/modules/*_kunit.ko; do
	[ -f "$module" ] || fail "no KUnit modules in the initramfs"
	insmod "$module"
done

# debugfs has a KTAP document with one suite for each: make them one document.
set -- /sys/kernel/debug/kunit/*/results
[ -f "$1" ] || fail "no KUnit suite has run"
echo "KTAP version 1"
echo "1..$#"
n=0
status=0
for results; do
	n=$((n + 1))
	sed -e 1,2d -e "s/^\(ok\|not ok\) 1 /\1 $n /" "$results"
	! grep -q '^ *not ok' "$results" || status=1
done
exit $status
