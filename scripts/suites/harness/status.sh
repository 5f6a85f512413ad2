#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Prints good results and exits with an error.
# boot: --mem 512M
# tests: 2
# timeout: 100
# verdict: exit status 3 of the suite,
# status: 1
# figures: 2 1 0 0

cat <<END
KTAP version 1
1..2
ok 1 - first
ok 2 - second
END
exit 3
