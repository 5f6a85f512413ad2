#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# DAX memory of every kind, its drivers that are unbound, and hugetlb memory that changes.
# Regions 0, 2 and 3 become device DAX under PUDs, PMDs and PTEs; the others become FS-DAX.
# Each of the regions 4 to 6 has a section of 128 MiB of its own, region 7 shares its section
# with ordinary memory. hole_punched needs three huge pages of 1 GiB, which need this much
# memory. Without ERMS the emulated CPU clears them faster.
# boot: --mem 14G --append no5lvl --append numa=fake=2 --append clearcpuid=erms,fsrm --append hugepagesz=1G --append hugepages=3 --append memmap=3G!0x140000000 --append memmap=256M!0x2e0000000 --append memmap=64M!0x300000000 --append memmap=64M!0x308000000 --append memmap=128M!0x310000000 --append memmap=128M!0x320000000 --append memmap=128M!0x330000000 --append memmap=64M!0x340000000 --append memmap=512M%0x350000000-1+0xefffffff
# tests: 97
# timeout: 400
# budget: 300
# shellcheck source=guest/lib.sh
. /suites/lib.sh

load_dmirror
reserve_hugetlb 32
[ "$(cat /sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages)" = 3 ] ||
	fail "no 3 huge pages of 1 GiB"
make_device_dax 0 1073741824
make_device_dax 2 2097152
make_device_dax 3 4096
for region in 1 4 5 6 7; do
	make_file_system $region
done
mkdir /dax /dax-unbound
mount -t ext4 -o dax /dev/pmem1 /dax

# The unbinds come last, because they leave broken file systems.
status=0
run_selftests hmm-dax-tests hmm-hugetlb-tests hmm-dax-unbind-tests || status=1
umount /dax
exit $status
