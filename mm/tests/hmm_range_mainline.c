// SPDX-License-Identifier: GPL-2.0
/*
 * The positions of the flags of &hmm_range.hmm_pfns in mainline. A driver for mainline
 * also sets the sticky flags, and some drivers compute with the others. All checks are at
 * build time.
 */
#include <linux/build_bug.h>
#include <linux/hmm_mirror.h>

/* A flag, counted from the most significant bit */
#define FROM_TOP(n)	(1UL << (BITS_PER_LONG - (n)))

static_assert(HMM_PFN_VALID == FROM_TOP(1));
static_assert(HMM_PFN_WRITE == FROM_TOP(2));
static_assert(HMM_PFN_ERROR == FROM_TOP(3));
static_assert(HMM_PFN_DMA_MAPPED == FROM_TOP(4));
static_assert(HMM_PFN_P2PDMA == FROM_TOP(5));
static_assert(HMM_PFN_P2PDMA_BUS == FROM_TOP(6));
static_assert(HMM_PFN_ORDER_SHIFT == BITS_PER_LONG - 11);
static_assert(HMM_PFN_REQ_FAULT == HMM_PFN_VALID);
static_assert(HMM_PFN_REQ_WRITE == HMM_PFN_WRITE);

/*
 * Bits that are flags in mainline are flags here. Our flags begin no lower than on 32-bit
 * mainline.
 */
static_assert((HMM_PFN_FLAGS & (~0UL << HMM_PFN_ORDER_SHIFT)) == ~0UL << HMM_PFN_ORDER_SHIFT);
static_assert((HMM_PFN_FLAGS & 0xff) == 0);

/* Attributes use neither bits of pfns nor bits that mainline uses. */
static_assert(((HMM_PFN_READ | HMM_PFN_EMPTY | HMM_PFN_SPECIAL | HMM_PFN_DEVICE |
		HMM_PFN_UNADDRESSABLE | HMM_PFN_DIRTY | HMM_PFN_YOUNG | HMM_PTE_EXCLUSIVE) &
	       (~0UL << HMM_PFN_ORDER_SHIFT)) == 0);
static_assert(((HMM_PFN_READ | HMM_PFN_EMPTY | HMM_PFN_SPECIAL | HMM_PFN_DEVICE |
		HMM_PFN_UNADDRESSABLE | HMM_PFN_DIRTY | HMM_PFN_YOUNG | HMM_PTE_EXCLUSIVE) &
	       ~HMM_PFN_FLAGS) == 0);
