/* SPDX-License-Identifier: GPL-2.0 */
/* What peer.c has of the base tree */
#ifndef _HMM_BENCH_PEER_H
#define _HMM_BENCH_PEER_H

struct hmm_range;

/* Its hmm_range_fault() */
int hmm_bench_peer(struct hmm_range *range);

#endif /* _HMM_BENCH_PEER_H */
