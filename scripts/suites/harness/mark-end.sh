#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Prints init's mark of the end, so that later lines would not be results.
# boot: --mem 512M
# tests: 1
# timeout: 100
# verdict: too many results: 2, and 1 were planned;
# figures: 1 1 0 0

cat <<END
KTAP version 1
1..1
ok 1 - first
@end mark-end 0 1
not ok 2 - second
END
