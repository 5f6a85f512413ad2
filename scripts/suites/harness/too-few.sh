#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Prints fewer results than planned.
# boot: --mem 512M
# tests: 2
# timeout: 100
# verdict: too few results: 1 of
# figures: 2 1 0 0

cat <<END
KTAP version 1
1..3
ok 1 - first
ok 2 - second
END
