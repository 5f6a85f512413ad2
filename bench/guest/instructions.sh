#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Rows that count instructions: the guest has one CPU, on which each instruction takes one
# nanosecond. PUDs, PMDs and PTEs map the three DAX devices. Without ERMS the kernel clears a page
# by 512 stores, which -icount counts. With ERMS one instruction would count 4096 times.
# boot: --icount --smp 1 --mem 12G --append no5lvl --append nokaslr --append clearcpuid=erms,fsrm --append hugepagesz=1G --append hugepages=1 --append hugepagesz=2M --append hugepages=32 --append memmap=3G!0x140000000 --append memmap=256M!0x2e0000000 --append memmap=256M!0x300000000
# timeout: 1200
# shellcheck source=guest/lib.sh
. /suites/lib.sh

make_device_dax 0 1073741824
make_device_dax 1 2097152
make_device_dax 2 4096
exec /bin/hmm-bench instructions
