// SPDX-License-Identifier: GPL-2.0
/*
 * The part of the dmirror test device that is built in, also if the rest is a
 * module: nothing but the core of mm has a reason to send invalidations, so the
 * functions that do are not exported.
 */
#include <linux/export.h>
#include <linux/mmu_notifier.h>

#include "test_hmm.h"

/**
 * test_hmm_notify_start() - say that a range is about to change
 * @range: which, and how
 * @blockable: whether who hears of it may sleep
 *
 * Context: As for the one of mmu_notifier_invalidate_range_start() and
 * mmu_notifier_invalidate_range_start_nonblock() that is called.
 * Return: 0, and test_hmm_notify_end() has to follow, or -EAGAIN.
 */
int test_hmm_notify_start(struct mmu_notifier_range *range, bool blockable)
{
	if (!blockable)
		return mmu_notifier_invalidate_range_start_nonblock(range);
	mmu_notifier_invalidate_range_start(range);
	return 0;
}
EXPORT_SYMBOL_NS_GPL(test_hmm_notify_start, TEST_HMM);

/**
 * test_hmm_notify_end() - say that a range has changed
 * @range: what test_hmm_notify_start() has returned 0 for
 *
 * Context: May sleep, unless the range is not blockable.
 */
void test_hmm_notify_end(struct mmu_notifier_range *range)
{
	mmu_notifier_invalidate_range_end(range);
}
EXPORT_SYMBOL_NS_GPL(test_hmm_notify_end, TEST_HMM);
