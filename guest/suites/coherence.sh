#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# tools/testing/selftests/vm/hmm-coherence: the CPU and devices access memory while it changes.
# Two nodes, so that pages can migrate. --append HMM_COHERENCE_SECONDS=900 makes a run longer,
# --append HMM_COHERENCE_SEED=1 repeats the order of changes.
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
exec /selftests/vm/hmm-coherence
