#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# A test fails that is listed as a known failure, so the whole suite fails.
# boot: --mem 512M
# tests: 2
# timeout: 100
# status: 1
# figures: 1 0 0 1

cat <<END
KTAP version 1
1..2
ok 1 - first
not ok 2 - second
END
exit 1
