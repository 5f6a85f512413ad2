#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# A signal kills it in the middle of a line.
# boot: --mem 512M
# tests: 2
# timeout: 100
# verdict: exit status 137 of the suite,
# status: 1
# figures: 2 1 0 0

cat <<END
KTAP version 1
1..2
ok 1 - first
END
printf 'ok 2 - sec'
kill -9 $$
