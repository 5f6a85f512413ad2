#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Skips a test that is not listed as an allowed skip.
# boot: --mem 512M
# tests: 2
# timeout: 100
# verdict: skipped without permission: second;
# figures: 1 1 1 0

cat <<END
KTAP version 1
1..2
ok 1 - first
ok 2 - second # SKIP no such device
END
