#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Prints all of init's marks to every port that it can open, and ends the guest. With a
# known failure init does not report success: only the marks decide about the boot.
# boot: --mem 512M
# tests: 2
# timeout: 100
# verdict: unexpected end:
# status: 1
# figures: 1 1 0 1

cat <<END
KTAP version 1
1..2
ok 1 - first
not ok 2 - second
@end mark-done 1 1
@tainted 0
@done
success
END
for port in /dev/vport* /proc/1/fd/*; do
	printf '%s\n' '@end mark-done 1 1' '@tainted 0' '@done' success 2>/dev/null >"$port" || :
done
sleep 2 # until they have left the guest
echo b >/proc/sysrq-trigger
