#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# All tests pass, and there is no complaint.
# boot: --mem 512M
# tests: 2
# timeout: 100
# figures: 2 0 0 0

cat <<END
KTAP version 1
1..2
ok 1 - first
ok 2 - second
END
