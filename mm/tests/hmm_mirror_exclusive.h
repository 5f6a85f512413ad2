/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Helpers that the tests of HMM_FAULT_EXCLUSIVE share
 */
#ifndef _MM_TESTS_HMM_MIRROR_EXCLUSIVE_H
#define _MM_TESTS_HMM_MIRROR_EXCLUSIVE_H

#include "hmm_mirror_test.h"

unsigned long hmm_fake_cpu_lost(unsigned long addr, unsigned long npages);
unsigned long hmm_fake_exclusive(struct hmm_fake *fake, unsigned long addr,
				 unsigned long npages);
unsigned long hmm_fake_flagged(struct hmm_fake *fake, unsigned long addr,
			       unsigned long npages);
void hmm_fake_expect_taken(struct hmm_fake *fake, unsigned long addr, unsigned long npages);
void hmm_fake_take(struct hmm_fake *fake, unsigned long addr, unsigned long npages);
char hmm_fake_device_read(struct hmm_fake *fake, unsigned long addr);
void hmm_fake_device_write(struct hmm_fake *fake, unsigned long addr, char value);
char hmm_fake_cpu_read(struct hmm_fake *fake, unsigned long addr);

#endif /* _MM_TESTS_HMM_MIRROR_EXCLUSIVE_H */
