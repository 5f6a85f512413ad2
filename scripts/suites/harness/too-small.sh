#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Plans fewer tests than its header says.
# boot: --mem 512M
# tests: 3
# timeout: 100
# verdict: too few tests: 2, and too-small has 3;
# figures: 2 1 0 0

cat <<END
KTAP version 1
1..2
ok 1 - first
ok 2 - second
END
