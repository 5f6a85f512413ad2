#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The same after a character that ends a line for Python, but not for KTAP.
# boot: --mem 512M
# tests: 1
# timeout: 100
# verdict: too many results: 2, and 1 were planned;
# figures: 1 1 0 0

printf 'KTAP version 1\n1..1\nok 1 - first\n# \r@end mark-line 0 1\nnot ok 2 - second\n'
