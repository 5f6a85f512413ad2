// SPDX-License-Identifier: GPL-2.0
/*
 * The walker of the base tree with a renamed entry point. scripts/overlay keeps the original
 * file in .hmm-overlay/orig.
 */
#define hmm_range_fault		hmm_bench_peer
#include "../../.hmm-overlay/orig/mm/hmm.c"
