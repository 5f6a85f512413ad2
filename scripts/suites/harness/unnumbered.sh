#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Prints a failure that is no KTAP: the parser treats it as a comment.
# run: here
# tests: 1
# verdict: too many results: 2, and 1 were planned;
# figures: 1 1 0 0

cat <<END
KTAP version 1
1..1
not ok - first
ok 1 - second
END
