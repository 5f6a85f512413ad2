/* SPDX-License-Identifier: GPL-2.0 */
/* The base tree's walker */
#ifndef _HMM_BENCH_PEER_H
#define _HMM_BENCH_PEER_H

struct hmm_range;

/* hmm_range_fault() of the base tree */
int hmm_bench_peer(struct hmm_range *range);

#endif /* _HMM_BENCH_PEER_H */
