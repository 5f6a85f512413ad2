# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# Functions that the suites of the guest share. Sourced.

set -eu

fail()
{
	echo "guest: $*" >&2
	exit 1
}

# The coherent devices use the memory that memmap=...%...+0xefffffff sets aside.
load_driver()	# test_hmm, or test_hmm_pristine, the driver of 6.12
{
	driver=$1
	[ ! -d /sys/module/"$driver" ] || return 0
	start=$(sed -n 's/^\([0-9a-f]*\)-.* : Soft Reserved$/\1/p' /proc/iomem | head -n 1)
	[ -n "$start" ] || fail "no soft-reserved memory for the coherent devices"
	insmod /lib/modules/"$driver".ko spm_addr_dev0=$((0x$start)) \
		spm_addr_dev1=$((0x$start + 0x10000000))
	for n in 0 1 2 3; do
		[ -c /dev/hmm_dmirror$n ] || fail "$driver.ko made no /dev/hmm_dmirror$n"
	done
}

load_dmirror()
{
	load_driver test_hmm
}

# Options by which a program runs only the tests that /selected names. make check TEST=
# adds this file to the initramfs.
selected_tests()	# PROGRAM
{
	[ ! -e /selected ] || sed -n "s/^$1 /-r /p" /selected
}

# Run programs of tools/testing/selftests/vm, with one KTAP document for all of them.
# Returns 1 if one of them has failed.
run_selftests()	# PROGRAM...
{
	# shellcheck disable=SC2046 # a list of words
	[ ! -e /selected ] || set -- $(for p; do [ -z "$(selected_tests "$p")" ] || echo "$p"; done)
	echo "KTAP version 1"
	echo "1..$#"
	n=0
	status=0
	for program; do
		n=$((n + 1))
		# shellcheck disable=SC2046 # a list of options
		run_subtest "$n" "$program" "/selftests/vm/$program" $(selected_tests "$program") ||
			status=1
	done
	return $status
}

# A test reports on stderr why it has failed.
run_subtest()	# NUMBER NAME COMMAND...
{
	what="$1 $2"
	printf '    KTAP version 1\n    # Subtest: %s\n' "$2"
	shift 2
	{ KSFT_TAP_LEVEL=1 "$@" 2>&1 || : >/tmp/failed; } |
		awk '{ print "    " $0; fflush() }'
	if [ -e /tmp/failed ]; then
		rm /tmp/failed
		echo "not ok $what"
		return 1
	fi
	echo "ok $what"
}

reserve_hugetlb()	# NUMBER of pages of 2 MiB
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

# Unlike with zram, a page that was read from here stays in the swap cache, and is written
# again only if it is dirty. When called before swap_on_zram, the kernel uses this device
# first. It is so small that the kernel uses both.
swap_on_file()
{
	dd if=/dev/zero of=/scratch/swap bs=1M count=4 conv=fsync 2>/dev/null
	chmod 600 /scratch/swap
	mkswap /scratch/swap >/dev/null
	swapon /scratch/swap
}

# Each memmap=SIZE!ADDRESS on the command line is a pmem region. The regions have numbers
# from 0 in the order of their addresses, and each is a disk with one namespace at first.

make_file_system()	# REGION
{
	# By its path, because busybox's shell prefers its own mke2fs, which has no ext4.
	/bin/mke2fs -q -t ext4 -b 4096 -E stride=512,stripe-width=512 /dev/pmem"$1" ||
		fail "no ext4 on /dev/pmem$1"
}

# The size of page table entries is ALIGNMENT.
make_device_dax()	# REGION ALIGNMENT
{
	bus=$(readlink -f /sys/block/pmem"$1"/device/subsystem)
	echo namespace"$1".0 >"$bus"/drivers/nd_pmem/unbind
	echo "$2" >"$bus"/devices/dax"$1".0/align
	cat /proc/sys/kernel/random/uuid >"$bus"/devices/dax"$1".0/uuid
	echo pmem >"$bus"/devices/dax"$1".0/mode
	echo namespace"$1".0 >"$bus"/devices/dax"$1".0/namespace
	echo dax"$1".0 >"$bus"/drivers/dax_pmem/bind
	[ -c /dev/dax"$1".0 ] || fail "no /dev/dax$1.0"
}
