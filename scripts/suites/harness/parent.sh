#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# A suite of tests fails, although none of its tests does.
# run: here
# tests: 1
# verdict: failed: outer itself, not the tests in it;
# status: 1
# figures: 1 1 0 0

cat <<END
KTAP version 1
1..1
    KTAP version 1
    # Subtest: outer
    1..1
    ok 1 inner
not ok 1 outer
END
exit 1
