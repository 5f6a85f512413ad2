#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The storm of hmm-storm-tests: two threads discard and protect the same memory that a device
# faults. The rows are the counters of the test. The number of failed tests is also a row, so that
# bench/report can compare it with its bound.
# boot: --smp 2 --mem 4G --append no5lvl --append memmap=512M%0x100000000-1+0xefffffff --append HMM_STORM_SECONDS=60
# timeout: 900
# shellcheck source=guest/lib.sh
. /suites/lib.sh

load_dmirror
kernel=$(uname -r)
storm=hmm_storm.dontneed_and_mprotect
/selftests/vm/hmm-storm-tests -r $storm.one_page -r $storm.many_pages |
	awk -v storm="storm/${kernel##*-}" '
function row(what, unit, value)
{
	rows = rows "bench " storm "/" what " " unit " ours " value "\n"
	count++
}
{
	print
	fflush()
	pages = $2 "-" substr($3, 1, length($3) - 1)
}
# "# 64 pages: 7 accesses, slowest 8 ms, 9 refused"
/^# .* accesses, slowest / {
	row(pages "/accesses", "count", $4)
	row(pages "/slowest-access", "milliseconds", $7)
}
# "# 64 pages: 7 faults, 8 collisions, at most 9 of one"
/^# .* faults, .* at most / {
	row(pages "/faults", "count", $4)
	row(pages "/worst-collisions", "count", $10)
}
/^ok / { passed++ }
END {
	row("failed-tests", "count", 2 - passed)
	# A test that was stopped prints no counters.
	printf "%s%s", rows, count == 9 ? "bench done\n" : ""
}'
