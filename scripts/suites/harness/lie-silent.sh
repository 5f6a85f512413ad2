#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Prints good results, but not on the results channel.
# boot: --mem 512M
# tests: 1
# timeout: 100
# verdict: no plan:
# verdict: too few tests: 0,
# figures: 0 2 0 0

cat <<END >/dev/console
KTAP version 1
1..1
ok 1 - truth
@end lie-silent 0 1
@tainted 0
@done
success
END
