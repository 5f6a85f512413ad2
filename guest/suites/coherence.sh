#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Our own tools/testing/selftests/vm/hmm-coherence: CPU and devices on memory that changes in
# all ways there are. Two nodes, so that pages can move. --append HMM_COHERENCE_SECONDS=900
# makes it longer, --append HMM_COHERENCE_SEED=1 repeats the order of changes.
# boot: --mem 4G --append no5lvl --append numa=fake=2 --append memmap=512M%0x100000000-1+0xefffffff
# tests: 29
# variants: debug
# timeout: 600
# budget: 240
# shellcheck source=guest/lib.sh
. /suites/lib.sh

load_dmirror
reserve_hugetlb 64
swap_on_file
swap_on_zram
exec /bin/hmm-coherence
