#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# CPU faults of threads that touch 64 MiB on a private device, with our test device and then with
# the test device of 6.12. The script does not unload the latter, because it leaks the names of
# its devices on unload.
# boot: --smp 4 --mem 4G --append no5lvl --append memmap=512M%0x100000000-1+0xefffffff
# timeout: 1200
# shellcheck source=guest/lib.sh
. /suites/lib.sh

load_driver test_hmm
/bin/hmm-bench devmem ours || exit
rmmod test_hmm
load_driver test_hmm_pristine
exec /bin/hmm-bench devmem peer
