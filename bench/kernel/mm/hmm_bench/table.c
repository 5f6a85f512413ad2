// SPDX-License-Identifier: GPL-2.0
/*
 * HMM_BENCH_TABLE and HMM_BENCH_GAP: the cost of a table with an entry for each page. The table
 * is a mirror page table or an xarray.
 *
 * The entries refer to no real memory, because the measured code does not access the pages.
 */
#include <linux/hmm_mirror.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/timekeeping.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

#include "hmm_bench.h"
#include "table.h"

#define HMM_BENCH_GIB		BIT(30)
#define HMM_BENCH_GAP_SIZE	BIT(40)
/* An address as in a process, aligned for entries of each size */
#define HMM_BENCH_BASE		0x7f0000000000
#define HMM_BENCH_PFN		BIT(20)
#define HMM_BENCH_FOLIO_ORDER	4

static const struct hmm_bench_holder *hmm_bench_holder(unsigned int who)
{
	switch (who) {
	case HMM_BENCH_XARRAY:
		return &hmm_bench_xarray;
	case HMM_BENCH_PT:
	case HMM_BENCH_PT_DMA:
		return &hmm_bench_pt;
	default:
		return NULL;
	}
}

/* The entry of page number @page of a range */
static unsigned long hmm_bench_word(unsigned int layout, unsigned long page)
{
	unsigned long word = HMM_PTE_VALID | HMM_PTE_WRITE | HMM_BENCH_PFN;
	unsigned long order = 0;

	switch (layout) {
	case HMM_BENCH_FOLIOS:
		/* A hole follows each folio. */
		order = HMM_BENCH_FOLIO_ORDER;
		page += round_down(page, BIT(order));
		break;
	case HMM_BENCH_SCATTERED:
		page *= 2;
		break;
	case HMM_BENCH_HUGE:
		order = PMD_SHIFT - PAGE_SHIFT;
		break;
	}
	return (word + page) | order << HMM_PTE_ORDER_SHIFT;
}

static int hmm_bench_range_init(struct hmm_bench_range *range, unsigned int layout)
{
	unsigned long page;

	range->words = vmalloc_array(range->npages, sizeof(*range->words));
	if (!range->words)
		return -ENOMEM;
	for (page = 0; page < range->npages; page++)
		range->words[page] = hmm_bench_word(layout, page);
	return 0;
}

/* Check that the table holds all pages of the range (@held), or none of them. */
static int hmm_bench_range_check(const struct hmm_bench_holder *holder,
				 struct hmm_bench_range *range, bool held)
{
	unsigned long page;

	for (page = 0; page < range->npages; page++) {
		if (holder->holds(range, page) != held)
			return -EIO;
	}
	return 0;
}

static int hmm_bench_time(struct hmm_bench_range *range,
			  int (*what)(struct hmm_bench_range *range), __u64 *best)
{
	u64 begin = ktime_get_ns();
	int ret = what(range);

	*best = min(*best, ktime_get_ns() - begin);
	return ret;
}

static int hmm_bench_table_locked(const struct hmm_bench_holder *holder,
				  struct hmm_bench_range *range,
				  struct hmm_bench_table *args, bool check)
{
	int ret;

	ret = hmm_bench_time(range, holder->fill, &args->fill);
	if (!ret && check)
		ret = hmm_bench_range_check(holder, range, true);
	if (ret)
		return ret;
	args->bytes = holder->bytes(range);
	if (range->order)
		return 0;
	if (hmm_bench_time(range, holder->iterate, &args->iterate) != range->npages)
		return -EIO;
	ret = hmm_bench_time(range, holder->clear, &args->clear);
	if (!ret && check)
		ret = hmm_bench_range_check(holder, range, false);
	return ret;
}

static int hmm_bench_table_round(const struct hmm_bench_holder *holder,
				 struct hmm_bench_range *range,
				 struct hmm_bench_table *args, bool check)
{
	int ret = holder->prepare(range);

	if (!ret) {
		holder->lock(range);
		ret = hmm_bench_table_locked(holder, range, args, check);
		holder->unlock(range);
	}
	holder->unprepare(range);
	return ret;
}

static int hmm_bench_table_rounds(const struct hmm_bench_holder *holder,
				  struct hmm_bench_range *range,
				  struct hmm_bench_table *args)
{
	unsigned long round;
	int ret = 0;

	args->fill = U64_MAX;
	args->iterate = U64_MAX;
	args->clear = U64_MAX;
	for (round = 0; !ret && round < args->rounds; round++) {
		if (fatal_signal_pending(current))
			return -EINTR;
		ret = hmm_bench_table_round(holder, range, args, !round);
		cond_resched();
	}
	return ret;
}

long hmm_bench_table(void __user *arg)
{
	struct hmm_bench_range range = {
		.start = HMM_BENCH_BASE,
		.npages = HMM_BENCH_GIB >> PAGE_SHIFT,
	};
	const struct hmm_bench_holder *holder;
	struct hmm_bench_table args;
	int ret;

	if (copy_from_user(&args, arg, sizeof(args)))
		return -EFAULT;
	holder = hmm_bench_holder(args.holder);
	if (!holder || args.layout > HMM_BENCH_HUGE || !args.rounds)
		return -EINVAL;
	if (args.layout == HMM_BENCH_HUGE)
		range.order = PMD_SHIFT - PAGE_SHIFT;
	range.dma = args.holder == HMM_BENCH_PT_DMA;
	args.entries = range.npages >> range.order;

	ret = hmm_bench_range_init(&range, args.layout);
	if (ret)
		return ret;
	ret = holder->init(&range);
	if (!ret) {
		ret = hmm_bench_table_rounds(holder, &range, &args);
		holder->exit(&range);
	}
	vfree(range.words);
	if (!ret && copy_to_user(arg, &args, sizeof(args)))
		return -EFAULT;
	return ret;
}

/* Store an entry for the page at @addr, next to the gap. */
static int hmm_bench_gap_neighbour(const struct hmm_bench_holder *holder,
				   struct hmm_bench_range *range, unsigned long addr)
{
	int ret;

	range->start = addr;
	range->npages = 1;
	ret = holder->prepare(range);
	if (!ret) {
		holder->lock(range);
		ret = holder->fill(range);
		holder->unlock(range);
	}
	holder->unprepare(range);
	return ret;
}

static int hmm_bench_gap_rounds(const struct hmm_bench_holder *holder,
				struct hmm_bench_range *range,
				struct hmm_bench_gap *args)
{
	unsigned long round;
	unsigned int call;
	int ret = 0;

	args->clear = U64_MAX;
	args->occupied = U64_MAX;
	for (round = 0; round < args->rounds; round++) {
		u64 begin = ktime_get_ns();

		for (call = 0; call < HMM_BENCH_GAP_CALLS; call++)
			ret |= holder->clear(range);
		args->clear = min(args->clear, ktime_get_ns() - begin);
		begin = ktime_get_ns();
		for (call = 0; call < HMM_BENCH_GAP_CALLS; call++)
			ret |= holder->occupied(range);
		args->occupied = min(args->occupied, ktime_get_ns() - begin);
	}
	return ret ? -EIO : 0;
}

/*
 * Make the most expensive gap of 1 TiB for a table of five levels. The gap spans two adjacent
 * tables of 512 GiB slots. At each lower level, both ends of the gap are in the middle of a group
 * of slots, and the same group holds an entry outside of the gap.
 */
static int hmm_bench_gap_make(const struct hmm_bench_holder *holder,
			      struct hmm_bench_range *range)
{
	const unsigned long start = 3 * PGDIR_SIZE - 2 * P4D_SIZE +
				    4 * (PUD_SIZE + PMD_SIZE + PAGE_SIZE);
	const unsigned long end = start + HMM_BENCH_GAP_SIZE;
	const unsigned long sizes[] = { PAGE_SIZE, PMD_SIZE, PUD_SIZE, P4D_SIZE };
	unsigned int i;
	int ret = 0;

	for (i = 0; !ret && i < ARRAY_SIZE(sizes); i++) {
		ret = hmm_bench_gap_neighbour(holder, range, start - sizes[i]) ?:
		      hmm_bench_gap_neighbour(holder, range, end + sizes[i] - PAGE_SIZE);
	}
	range->start = start;
	range->npages = HMM_BENCH_GAP_SIZE >> PAGE_SHIFT;
	return ret;
}

/* Check that the table still holds the two pages next to the gap. */
static int hmm_bench_gap_check(const struct hmm_bench_holder *holder,
			       struct hmm_bench_range *range)
{
	struct hmm_bench_range before = *range, after = *range;

	before.start -= PAGE_SIZE;
	after.start = hmm_bench_range_end(range);
	before.npages = 1;
	after.npages = 1;
	return holder->occupied(&before) && holder->occupied(&after) ? 0 : -EIO;
}

long hmm_bench_gap(void __user *arg)
{
	const struct hmm_bench_holder *holder;
	struct hmm_bench_range range = { .npages = 1 };
	struct hmm_bench_gap args;
	int ret;

	if (copy_from_user(&args, arg, sizeof(args)))
		return -EFAULT;
	holder = hmm_bench_holder(args.holder);
	if (!holder || !args.rounds)
		return -EINVAL;

	range.dma = args.holder == HMM_BENCH_PT_DMA;
	ret = hmm_bench_range_init(&range, HMM_BENCH_CONTIGUOUS);
	if (ret)
		return ret;
	ret = holder->init(&range);
	if (ret)
		goto out;
	ret = hmm_bench_gap_make(holder, &range);
	if (!ret) {
		holder->lock(&range);
		ret = hmm_bench_gap_rounds(holder, &range, &args) ?:
		      hmm_bench_gap_check(holder, &range);
		holder->unlock(&range);
	}
	holder->exit(&range);
out:
	vfree(range.words);
	if (!ret && copy_to_user(arg, &args, sizeof(args)))
		return -EFAULT;
	return ret;
}
