// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * HMM statistics: counters of each mirror, for its driver and in debugfs. The debugfs file is
 * hmm/PID-N: PID is the process that registered the mirror, N counts all mirrors.
 */
#include <linux/debugfs.h>
#include <linux/hmm_mirror.h>
#include <linux/sched.h>
#include <linux/seq_file.h>

#include "hmm_mirror.h"

static struct dentry *hmm_stats_dir;

static unsigned long hmm_stats_count(struct hmm_mirror *mirror, enum hmm_mirror_count count)
{
	return atomic_long_read(&mirror->counts[count]);
}

/**
 * hmm_mirror_get_stats() - get the statistics of a mirror
 * @mirror: mirror
 * @stats: out: the counters, each read at some time during the call
 *
 * Context: Any.
 */
void hmm_mirror_get_stats(struct hmm_mirror *mirror, struct hmm_mirror_stats *stats)
{
	stats->faults = hmm_stats_count(mirror, HMM_COUNT_FAULTS);
	stats->pages = hmm_stats_count(mirror, HMM_COUNT_PAGES);
	stats->collisions = hmm_stats_count(mirror, HMM_COUNT_COLLISIONS);
	stats->vma_lock = hmm_stats_count(mirror, HMM_COUNT_VMA_LOCK);
	stats->mmap_lock = hmm_stats_count(mirror, HMM_COUNT_MMAP_LOCK);
	stats->slow_path = hmm_stats_count(mirror, HMM_COUNT_SLOW_PATH);
	stats->callbacks = hmm_stats_count(mirror, HMM_COUNT_CALLBACKS);
	stats->callbacks_skipped = hmm_stats_count(mirror, HMM_COUNT_SKIPPED);
	stats->refused = hmm_stats_count(mirror, HMM_COUNT_REFUSED);
}
EXPORT_SYMBOL_GPL(hmm_mirror_get_stats);

static int hmm_stats_show(struct seq_file *seq, void *unused)
{
	struct hmm_mirror *mirror = seq->private;
	struct hmm_mirror_stats stats;

	hmm_mirror_get_stats(mirror, &stats);
	seq_printf(seq, "faults %lu\npages %lu\ncollisions %lu\n", stats.faults,
		   stats.pages, stats.collisions);
	seq_printf(seq, "vma-lock %lu\nmmap-lock %lu\nslow-path %lu\n", stats.vma_lock,
		   stats.mmap_lock, stats.slow_path);
	seq_printf(seq, "callbacks %lu\ncallbacks-skipped %lu\nrefused %lu\n",
		   stats.callbacks, stats.callbacks_skipped, stats.refused);
	seq_printf(seq, "table-bytes %ld\n", atomic_long_read(&mirror->pt.bytes));
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(hmm_stats);

void hmm_stats_add(struct hmm_mirror *mirror)
{
	static atomic_t count = ATOMIC_INIT(0);
	char name[32];

	snprintf(name, sizeof(name), "%d-%d", task_tgid_nr(current),
		 atomic_inc_return(&count));
	mirror->debugfs = debugfs_create_file(name, 0400, hmm_stats_dir, mirror,
					      &hmm_stats_fops);
}

/* Wait until no task reads the file. */
void hmm_stats_remove(struct hmm_mirror *mirror)
{
	debugfs_remove(mirror->debugfs);
}

static int __init hmm_stats_init(void)
{
	hmm_stats_dir = debugfs_create_dir("hmm", NULL);
	return 0;
}
subsys_initcall(hmm_stats_init);
