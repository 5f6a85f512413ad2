#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# One test of two fails.
# boot: --mem 512M
# tests: 2
# timeout: 100
# verdict: failed: second;
# status: 1
# figures: 1 1 0 0

cat <<END
KTAP version 1
1..2
ok 1 - first
not ok 2 - second
END
exit 1
