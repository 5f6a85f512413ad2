#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The kernel finds no init.
# boot: --mem 512M --append rdinit=/nonexistent
# tests: 2
# timeout: 100
# verdict: panic: .*: Kernel panic - not syncing: VFS:
# verdict: no plan:
# verdict: too few tests: 0,
# status: 1
# figures: 0 3 0 0

cat <<END
KTAP version 1
1..2
ok 1 - first
ok 2 - second
END
