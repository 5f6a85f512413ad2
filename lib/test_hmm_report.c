// SPDX-License-Identifier: GPL-2.0
/*
 * The dmirror test device: reports of the CPU page table, as hmm_range_fault() and
 * hmm_range_snapshot() see it, and of the mirror page table.
 */
#include <linux/mmu_notifier.h>
#include <linux/sched/signal.h>
#include <linux/uaccess.h>

#include "test_hmm.h"

/**
 * struct dmirror_watch - detects changes of a range during a walk
 * @notifier: notifier of the range
 */
struct dmirror_watch {
	struct mmu_interval_notifier	notifier;
	/** @lock: protects the sequence number of @notifier */
	spinlock_t			lock;
};

static bool dmirror_watch_invalidate(struct mmu_interval_notifier *notifier,
				     const struct mmu_notifier_range *range,
				     unsigned long seq)
{
	struct dmirror_watch *watch = container_of(notifier, struct dmirror_watch, notifier);

	spin_lock(&watch->lock);
	mmu_interval_set_seq(notifier, seq);
	spin_unlock(&watch->lock);
	return true;
}

static const struct mmu_interval_notifier_ops dmirror_watch_ops = {
	.invalidate = dmirror_watch_invalidate,
};

/* Walk the range once and describe its entries. Returns -EBUSY if the range has changed. */
static int dmirror_try_walk(struct dmirror *dm, struct dmirror_watch *watch,
			    struct hmm_range *range, int (*walk)(struct hmm_range *range),
			    u64 (*describe)(struct dmirror *dm, unsigned long entry),
			    u64 *words)
{
	unsigned long i, npages = (range->end - range->start) >> PAGE_SHIFT;
	int ret;

	range->notifier_seq = mmu_interval_read_begin(range->notifier);
	mmap_read_lock(dm->mirror.mm);
	ret = walk(range);
	mmap_read_unlock(dm->mirror.mm);
	if (ret)
		return ret;

	spin_lock(&watch->lock);
	if (mmu_interval_read_retry(range->notifier, range->notifier_seq))
		ret = -EBUSY;
	for (i = 0; i < npages && !ret; i++)
		words[i] = describe(dm, range->hmm_pfns[i]);
	spin_unlock(&watch->lock);
	return ret;
}

static int dmirror_walk(struct dmirror *dm, unsigned long start, unsigned long end,
			int (*walk)(struct hmm_range *range),
			u64 (*describe)(struct dmirror *dm, unsigned long entry), u64 *words)
{
	unsigned long entries[DMIRROR_BATCH];
	struct dmirror_watch watch;
	struct hmm_range range = {
		.notifier = &watch.notifier,
		.start = start,
		.end = end,
		.hmm_pfns = entries,
		.dev_private_owner = dm->mdevice,
	};
	int ret;

	spin_lock_init(&watch.lock);
	ret = mmu_interval_notifier_insert(&watch.notifier, dm->mirror.mm, start,
					   end - start, &dmirror_watch_ops);
	if (ret)
		return ret;
	do {
		ret = dmirror_try_walk(dm, &watch, &range, walk, describe, words);
	} while (ret == -EBUSY && !fatal_signal_pending(current));
	mmu_interval_notifier_remove(&watch.notifier);
	return ret;
}

/* Do not access the struct page: no reference is held, and that of device memory may be gone. */
static u64 dmirror_place(struct dmirror *dm, unsigned long pfn)
{
	struct dev_pagemap *pgmap = get_dev_pagemap(pfn, NULL);
	bool local;
	u64 place = 0;

	if (!pgmap)
		return is_zero_pfn(pfn) ? HMM_DMIRROR_PROT_ZERO : 0;
	local = pgmap->owner == dm->mdevice;
	if (pgmap->type == MEMORY_DEVICE_PRIVATE)
		place = local ? HMM_DMIRROR_PROT_DEV_PRIVATE_LOCAL :
				HMM_DMIRROR_PROT_DEV_PRIVATE_REMOTE;
	else if (pgmap->type == MEMORY_DEVICE_COHERENT)
		place = local ? HMM_DMIRROR_PROT_DEV_COHERENT_LOCAL :
				HMM_DMIRROR_PROT_DEV_COHERENT_REMOTE;
	put_dev_pagemap(pgmap);
	return place;
}

static u64 dmirror_mapping_size(unsigned int order)
{
	if (order + PAGE_SHIFT == PMD_SHIFT)
		return HMM_DMIRROR_PROT_PMD;
	if (order + PAGE_SHIFT == PUD_SHIFT)
		return HMM_DMIRROR_PROT_PUD;
	return 0;
}

static u64 dmirror_describe_prot(struct dmirror *dm, unsigned long entry)
{
	u64 prot;

	if (entry & HMM_PFN_ERROR)
		return HMM_DMIRROR_PROT_ERROR;
	if (!(entry & HMM_PFN_VALID))
		return HMM_DMIRROR_PROT_NONE;
	prot = entry & HMM_PFN_WRITE ? HMM_DMIRROR_PROT_WRITE : HMM_DMIRROR_PROT_READ;
	prot |= dmirror_mapping_size(hmm_pfn_to_map_order(entry));
	return prot | dmirror_place(dm, entry & ~HMM_PFN_FLAGS);
}

static u64 dmirror_describe_attributes(struct dmirror *dm, unsigned long entry)
{
	static const struct {
		unsigned long flag;
		u64 attribute;
	} table[] = {
		{ HMM_PFN_VALID,		HMM_DMIRROR_ATTR_VALID },
		{ HMM_PFN_WRITE,		HMM_DMIRROR_ATTR_WRITE },
		{ HMM_PFN_ERROR,		HMM_DMIRROR_ATTR_ERROR },
		{ HMM_PFN_READ,			HMM_DMIRROR_ATTR_READ },
		{ HMM_PFN_EMPTY,		HMM_DMIRROR_ATTR_EMPTY },
		{ HMM_PFN_SPECIAL,		HMM_DMIRROR_ATTR_SPECIAL },
		{ HMM_PFN_DEVICE,		HMM_DMIRROR_ATTR_DEVICE },
		{ HMM_PFN_UNADDRESSABLE,	HMM_DMIRROR_ATTR_UNADDRESSABLE },
		{ HMM_PFN_DIRTY,		HMM_DMIRROR_ATTR_DIRTY },
		{ HMM_PFN_YOUNG,		HMM_DMIRROR_ATTR_YOUNG },
	};
	u64 word = 0;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(table); i++)
		word |= entry & table[i].flag ? table[i].attribute : 0;
	if (entry & HMM_PFN_VALID)
		word |= (u64)hmm_pfn_to_map_order(entry) << HMM_DMIRROR_ORDER_SHIFT;
	return word;
}

static int dmirror_fill_prots(struct dmirror *dm, unsigned long start, unsigned long end,
			      u64 *words)
{
	return dmirror_walk(dm, start, end, hmm_range_fault, dmirror_describe_prot, words);
}

static int dmirror_fill_attributes(struct dmirror *dm, unsigned long start,
				   unsigned long end, u64 *words)
{
	return dmirror_walk(dm, start, end, hmm_range_snapshot, dmirror_describe_attributes,
			    words);
}

static u64 dmirror_describe_pte(hmm_pte_t pte, unsigned int order)
{
	u64 word = HMM_DMIRROR_PTE_VALID;

	if (!hmm_pte_valid(pte))
		return 0;
	if (hmm_pte_write(pte))
		word |= HMM_DMIRROR_PTE_WRITE;
	if (hmm_pte_dirty(pte))
		word |= HMM_DMIRROR_PTE_DIRTY;
	if (hmm_pte_device(pte))
		word |= HMM_DMIRROR_PTE_DEVICE;
	if (hmm_pte_exclusive(pte))
		word |= HMM_DMIRROR_PTE_EXCLUSIVE;
	return word | (u64)order << HMM_DMIRROR_ORDER_SHIFT;
}

static int dmirror_fill_ptes(struct dmirror *dm, unsigned long start, unsigned long end,
			     u64 *words)
{
	unsigned int order = 0;
	unsigned long addr;

	guard(rwsem_read)(&dm->mirror.lock);
	for (addr = start; addr < end; addr += PAGE_SIZE) {
		hmm_pte_t pte = hmm_pt_lookup(&dm->mirror, addr, &order);

		*words++ = dmirror_describe_pte(pte, order);
	}
	return 0;
}

/* Copy a word, or a byte, for each page to user space. */
static int dmirror_report(struct dmirror *dm, struct hmm_dmirror_cmd *cmd, size_t size,
			  int (*fill)(struct dmirror *dm, unsigned long start,
				      unsigned long end, u64 *words))
{
	unsigned long addr, next, i, npages, end = dmirror_cmd_end(cmd);
	void __user *to = u64_to_user_ptr(cmd->ptr);
	u64 words[DMIRROR_BATCH];
	int ret;

	for (addr = cmd->addr; addr < end; addr = next) {
		next = min(end, addr + DMIRROR_BATCH * PAGE_SIZE);
		npages = (next - addr) >> PAGE_SHIFT;
		ret = fill(dm, addr, next, words);
		for (i = 0; i < npages && !ret; i++, to += size) {
			if (size == sizeof(u8))
				ret = put_user(words[i], (u8 __user *)to);
			else
				ret = put_user(words[i], (u64 __user *)to);
		}
		if (ret)
			return ret;
		if (fatal_signal_pending(current))
			return -EINTR;
		cmd->cpages += npages;
		cond_resched();
	}
	return 0;
}

int dmirror_snapshot(struct dmirror *dm, void *arg)
{
	return dmirror_report(dm, arg, sizeof(u8), dmirror_fill_prots);
}

int dmirror_attributes(struct dmirror *dm, void *arg)
{
	return dmirror_report(dm, arg, sizeof(u64), dmirror_fill_attributes);
}

int dmirror_table(struct dmirror *dm, void *arg)
{
	return dmirror_report(dm, arg, sizeof(u64), dmirror_fill_ptes);
}

int dmirror_check_exclusive(struct dmirror *dm, void *arg)
{
	const struct hmm_dmirror_cmd *cmd = arg;
	struct hmm_pt_iter iter;

	guard(rwsem_read)(&dm->mirror.lock);
	hmm_pt_for_each(&iter, &dm->mirror, cmd->addr, dmirror_cmd_end(cmd)) {
		if (hmm_pte_exclusive(iter.pte))
			return -EPERM;
	}
	return 0;
}
