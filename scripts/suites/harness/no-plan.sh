#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Prints results without a plan.
# boot: --mem 512M
# tests: 2
# timeout: 100
# verdict: no plan:
# figures: 2 1 0 0

cat <<END
KTAP version 1
ok 1 - first
ok 2 - second
END
