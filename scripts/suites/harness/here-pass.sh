#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# On this machine, all is well.
# run: here
# tests: 2
# figures: 2 0 0 0

cat <<END
KTAP version 1
1..2
ok 1 - first
ok 2 - second
END
