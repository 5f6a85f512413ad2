#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Fails, and prints success on the console.
# boot: --mem 512M
# tests: 1
# timeout: 100
# verdict: failed: truth;
# status: 1
# figures: 0 1 0 0

cat <<END >/dev/console
KTAP version 1
1..1
ok 1 - truth
@end lie-fails 0 1
@tainted 0
@done
success
END
cat <<END
KTAP version 1
1..1
not ok 1 - truth
END
exit 1
