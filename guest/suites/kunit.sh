#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# All KUnit suites of mm/tests/. They are built in and run before init starts.
# boot: --mem 4G --append kunit.enable=1 --append hugepagesz=1G --append hugepages=1 --append hugepagesz=2M --append hugepages=16 --append memmap=2M%0x40200000-1+2
# tests: 858
# timeout: 1500
# budget: 420
# shellcheck source=guest/lib.sh
. /suites/lib.sh

# debugfs has a KTAP document for each suite. Merge them into one document.
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

# configs/ decides which kernel has five levels.
[ ! -e /selected ] || exit $status
case $(uname -r) in
*-release) grep -q 'crosses_every_level: 5 levels' /sys/kernel/debug/kunit/hmm_range/results ||
	fail "no five-level page tables: what has become of the CPU's LA57?" ;;
esac
exit $status
