#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# Usage: scripts/suites/clients.sh
# Compile the drivers of the tree that call hmm_range_fault(), unmodified, and our
# mm/hmm*.c for other architectures and configurations. No warning is allowed.
# tests: 15
# timeout: 600
# budget: 150
. "$(dirname "$0")/../host.sh"

case ${1:-} in '') ;; -h | --help) usage; exit ;; *) bad_usage "this takes no arguments" ;; esac

parts=(hmm.o hmm_access.o hmm_cancel.o hmm_commit.o hmm_dma.o hmm_fault.o hmm_fault_slow.o
	hmm_invalidate.o hmm_mirror.o hmm_pt.o hmm_pt_iter.o hmm_pt_stage.o hmm_resident.o
	hmm_stats.o hmm_walk_fault.o hmm_walk_pte.o hmm_window.o tests/hmm_range_mainline.o)
# Only if CONFIG_HMM_DEVMEM is set
devmem=hmm_devmem.o

# The names that kbuild uses
clients=(
	drivers/gpu/drm/amd/amdgpu/amdgpu_hmm.o
	drivers/gpu/drm/amd/amdgpu/../amdkfd/kfd_svm.o
	drivers/gpu/drm/nouveau/nouveau_svm.o
	drivers/gpu/drm/xe/xe_hmm.o
	drivers/infiniband/core/umem_odp.o
)

# Neither edits/ nor one of our files changes the directories of the drivers.
unmodified()
{
	local touched

	touched=$(cd "$LINUX/.hmm-overlay/installed" && find . -type f \
		\( -path './drivers/gpu/*' -o -path './drivers/infiniband/*' \)) || return
	[ -z "$touched" ] || echo "changed by us: $touched"
	[ -z "$touched" ]
}

client()	# OBJECT
{
	compile "$DRIVERS" "$1" W=e
}

# RDMA is the smallest subsystem that selects HMM_MIRROR. Huge pages need sysfs.
walker=(EXPERT NET INET INFINIBAND INFINIBAND_USER_ACCESS INFINIBAND_ON_DEMAND_PAGING
	MMU_NOTIFIER HMM_MIRROR SYSFS SHMEM BLOCK SWAP MIGRATION USERFAULTFD)
huge=(TRANSPARENT_HUGEPAGE HUGETLBFS)
device=(SPARSEMEM_VMEMMAP MEMORY_HOTPLUG MEMORY_HOTREMOVE ZONE_DEVICE)
x86_64=("${walker[@]}" 64BIT SECRETMEM MEMORY_FAILURE X86_MCE PCI)

# A subshell, because of the exported variables
walker()	# DIRECTORY ARCH OPTION|-OPTION...
(
	dir=$BUILD/clients/$1
	export ARCH=$2
	[ "$ARCH" != arm64 ] || export CROSS_COMPILE=aarch64-linux-gnu-
	shift 2
	mkdir -p "$dir"
	for option in "$@"; do
		case $option in
		-*) echo "# CONFIG_${option#-} is not set" ;;
		*) echo "CONFIG_$option=y" ;;
		esac
	done >"$dir/fragment"

	"$ROOT/scripts/config" --into "$dir" "$dir/fragment" || exit
	grep -qx CONFIG_HMM_DEVMEM=y "$dir/.config" || devmem=
	for part in "${parts[@]}" $devmem; do
		compile "$dir" "mm/$part" W=1e || exit
	done
	# The configuration must have each line of the fragment: a "not set" of an option
	# that does not exist, or that cannot be set, would not prove anything.
	if grep -vxFf "$dir/.config" "$dir/fragment"; then
		echo "these lines are not in $dir/.config"
		exit 1
	fi
)

# Without ZONE_DEVICE, the walker has no code that pins pagemaps.
no_pagemap()
{
	local with=$BUILD/clients/no-thp/mm without=$BUILD/clients/no-zone-device/mm
	local symbols='pagemap|pgmap|percpu_ref'

	# The search must find something in an object with ZONE_DEVICE.
	nm "$with"/hmm{,_walk_pte,_walk_fault}.o | grep -E "$symbols" >/dev/null ||
		{ echo "the walker with ZONE_DEVICE uses no pagemap"; return 1; }
	if nm "$without"/hmm{,_walk_pte,_walk_fault}.o | grep -E "$symbols"; then
		return 1
	fi
}

add_walker()	# DIRECTORY ARCH OPTION|-OPTION...
{
	add_test "mm/hmm.o: $1" walker "$@"
}

add_test "the drivers' sources are unmodified" unmodified
add_test "the drivers' configuration" configure_drivers
for object in "${clients[@]}"; do
	add_test "$(basename "$object")" client "$object"
done
add_walker i386 i386 "${walker[@]}" "${huge[@]}" X86_32 HIGHMEM4G
add_walker i386-pae i386 "${walker[@]}" "${huge[@]}" X86_32 HIGHMEM64G X86_PAE
add_walker arm64-4k arm64 "${walker[@]}" "${huge[@]}" "${device[@]}" ARM64_4K_PAGES
add_walker arm64-64k arm64 "${walker[@]}" "${huge[@]}" "${device[@]}" ARM64_64K_PAGES
add_walker no-zone-device x86_64 "${x86_64[@]}" "${huge[@]}" "${device[@]/#ZONE/-ZONE}"
add_walker no-thp x86_64 "${x86_64[@]}" "${device[@]}" DEVICE_PRIVATE PCI_P2PDMA \
	HUGETLBFS -TRANSPARENT_HUGEPAGE
add_walker no-hugetlb x86_64 "${x86_64[@]}" "${device[@]}" DEVICE_PRIVATE PCI_P2PDMA \
	TRANSPARENT_HUGEPAGE -HUGETLBFS
add_test "no pagemap without ZONE_DEVICE" no_pagemap

prepare_tree clients
run_tests
