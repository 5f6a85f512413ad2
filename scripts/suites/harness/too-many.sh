#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Prints more results than planned.
# boot: --mem 512M
# tests: 1
# timeout: 100
# verdict: too many results: 2, and 1 were planned;
# figures: 1 1 0 0

cat <<END
KTAP version 1
1..1
ok 1 - first
ok 2 - second
END
