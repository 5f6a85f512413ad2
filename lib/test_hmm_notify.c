// SPDX-License-Identifier: GPL-2.0
/*
 * The part of the dmirror test device that is always built in: only the core of mm sends
 * invalidations, so the functions that send them are not exported to modules.
 */
#include <linux/export.h>
#include <linux/mmu_notifier.h>

#include "test_hmm.h"

/**
 * test_hmm_notify_start() - notify of a change of a range
 * @range: the range and the event
 * @blockable: notifiers may sleep
 *
 * Context: That of mmu_notifier_invalidate_range_start() if @blockable, otherwise that of
 * mmu_notifier_invalidate_range_start_nonblock().
 * Return: 0, and test_hmm_notify_end() must follow, or -EAGAIN.
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
 * test_hmm_notify_end() - notify of the end of a change
 * @range: the range for which test_hmm_notify_start() has returned 0
 *
 * Context: May sleep if the range is blockable.
 */
void test_hmm_notify_end(struct mmu_notifier_range *range)
{
	mmu_notifier_invalidate_range_end(range);
}
EXPORT_SYMBOL_NS_GPL(test_hmm_notify_end, TEST_HMM);
