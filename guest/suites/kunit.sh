#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Every KUnit suite of ours: each module is one, and runs when it is loaded.
# boot: --mem 2G
# tests: 18
# timeout: 600
# budget: 90
# shellcheck source=guest/lib.sh
. /suites/lib.sh

set -- /lib/modules/*_kunit.ko
[ -f "$1" ] || fail "no KUnit modules in the initramfs"

# debugfs has a KTAP document with one suite for each: make them one document.
echo "KTAP version 1"
echo "1..$#"
n=0
for module; do
	n=$((n + 1))
	name=$(basename "$module" _kunit.ko)
	insmod "$module"
	sed -e 1,2d -e "s/^\(ok\|not ok\) 1 /\1 $n /" \
		"/sys/kernel/debug/kunit/$name/results"
done
