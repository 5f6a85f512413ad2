#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# How often threads fault on memory that they want back from a private device: 64 MiB of our
# test device, and of the kernel's own. That stays, because its devices' names leak when it goes.
# boot: --smp 4 --mem 4G --append no5lvl --append memmap=512M%0x100000000-1+0xefffffff
# timeout: 1200
# shellcheck source=guest/lib.sh
. /suites/lib.sh

load_driver test_hmm
/bin/hmm-bench devmem ours || exit
rmmod test_hmm
load_driver test_hmm_pristine
exec /bin/hmm-bench devmem peer
