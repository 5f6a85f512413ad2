// SPDX-License-Identifier: GPL-2.0
/*
 * The walker of the base tree, which scripts/overlay has put aside, with its
 * entry point renamed.
 */
#define hmm_range_fault		hmm_bench_peer
#include "../../.hmm-overlay/orig/mm/hmm.c"
