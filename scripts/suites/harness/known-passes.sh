#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# A test passes that is listed as a known failure: no complaint, but a note.
# boot: --mem 512M
# tests: 2
# timeout: 100
# note: second passes: remove it from the known failures in .*known-passes.expect$
# figures: 2 0 0 0

cat <<END
KTAP version 1
1..2
ok 1 - first
ok 2 - second
END
