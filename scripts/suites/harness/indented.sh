#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Indents the head of its KTAP: the parser cuts the same width off each line, here "not ".
# run: here
# tests: 1
# verdict: no plan:
# figures: 1 1 0 0

cat <<END
    KTAP version 1
    1..1
not ok 1 - first
END
