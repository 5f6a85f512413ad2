#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# On the host, prints good results and exits with an error.
# run: here
# tests: 2
# verdict: exit status 3, though the results are good;
# status: 3
# figures: 2 1 0 0

cat <<END
KTAP version 1
1..2
ok 1 - first
ok 2 - second
END
exit 3
