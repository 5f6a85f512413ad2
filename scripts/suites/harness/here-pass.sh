#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# On the host, all tests pass.
# run: here
# tests: 2
# figures: 2 0 0 0

cat <<END
KTAP version 1
1..2
ok 1 - first
ok 2 - second
END
