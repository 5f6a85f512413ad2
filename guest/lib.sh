# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# What the guest's suites share. Sourced.

set -eu

fail()
{
	echo "guest: $*" >&2
	exit 1
}

# The coherent devices want the memory that memmap=...%...+0xefffffff set aside.
load_dmirror()
{
	[ ! -d /sys/module/test_hmm ] || return 0
	start=$(sed -n 's/^\([0-9a-f]*\)-.* : Soft Reserved$/\1/p' /proc/iomem | head -n 1)
	[ -n "$start" ] || fail "no soft-reserved memory for the coherent devices"
	insmod /lib/modules/test_hmm.ko spm_addr_dev0=$((0x$start)) \
		spm_addr_dev1=$((0x$start + 0x10000000))
	for n in 0 1 2 3; do
		[ -c /dev/hmm_dmirror$n ] || fail "test_hmm.ko made no /dev/hmm_dmirror$n"
	done
}

reserve_hugetlb()	# NUMBER of 2 MiB pages
{
	echo "$1" >/proc/sys/vm/nr_hugepages
	[ "$(cat /proc/sys/vm/nr_hugepages)" = "$1" ] || fail "no $1 hugetlb pages"
}

swap_on_zram()
{
	! grep -q zram0 /proc/swaps || return 0
	echo 512M >/sys/block/zram0/disksize
	mkswap /dev/zram0 >/dev/null
	swapon /dev/zram0
}
