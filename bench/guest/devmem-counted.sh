#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Instructions to move memory to a private device and back. instructions.sh describes the CPU.
# boot: --icount --smp 1 --mem 4G --append no5lvl --append nokaslr --append clearcpuid=erms,fsrm --append memmap=512M%0x100000000-1+0xefffffff
# timeout: 1200
# shellcheck source=guest/lib.sh
. /suites/lib.sh

load_driver test_hmm
/bin/hmm-bench devmem-counted ours || exit
rmmod test_hmm
load_driver test_hmm_pristine
exec /bin/hmm-bench devmem-counted peer
