#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# DAX memory of every kind, drivers of it that go away, and hugetlb memory that changes.
# Regions 0, 2, 3 become device DAX: under puds, pmds, ptes; the others FS-DAX. Each of 4
# to 6 has its 128 MiB section to itself, region 7 shares one with ordinary memory. The
# huge pages of 1 GiB are as many as hole_punched needs, and with less memory there is no
# room for them; without ERMS they are cleared sooner.
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

# The unbinds come last: they could leave ruins.
status=0
run_programs hmm-dax-tests hmm-hugetlb-tests hmm-dax-unbind-tests || status=1
umount /dax
exit $status
