#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# One test of two fails. Its reason is among the lines that every test prints.
# boot: --mem 512M
# tests: 2
# timeout: 100
# verdict: failed: second: fail.c:1:second:Expected 1 .1. == 2 .2.;
# status: 1
# figures: 1 1 0 0

cat <<END
KTAP version 1
1..2
#  RUN           first ...
#            OK  first
ok 1 - first
#  RUN           second ...
# fail.c:1:second:Expected 1 (1) == 2 (2)
# second: Test failed
#          FAIL  second
not ok 2 - second
END
exit 1
