#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The numbers of the tests are not consecutive.
# run: here
# tests: 2
# verdict: malformed KTAP: .*Expected test number 2 but found 3
# figures: 2 1 0 0

cat <<END
KTAP version 1
1..2
ok 1 - first
ok 3 - second
END
