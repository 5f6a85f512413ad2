/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * HMM (heterogeneous memory management): the range walker.
 *
 * It reports what the CPU page table holds for a range of virtual addresses, and faults in
 * the pages that the caller requests. linux/hmm_mirror.h has the layer above it: a page
 * table for a device that follows the address space of a process.
 */
#ifndef _LINUX_HMM_H
#define _LINUX_HMM_H

#include <linux/mm.h>

struct hmm_call;
struct hmm_mirror;
struct mmu_interval_notifier;

/*
 * Where the flags of an entry begin: attributes are between the pfn and the order. On 32-bit
 * pfns need the room, and there are no attributes.
 */
#ifdef CONFIG_64BIT
#define HMM_PFN_ATTR_SHIFT	45
#define HMM_PFN_ATTR(n)		(1UL << (HMM_PFN_ATTR_SHIFT + (n)))
#else
#define HMM_PFN_ATTR_SHIFT	(BITS_PER_LONG - 11)
#define HMM_PFN_ATTR(n)		((n) * 0UL)
#endif

/**
 * enum hmm_pfn_flags - flags of an entry of &hmm_range.hmm_pfns
 * @HMM_PFN_VALID: output; the entry holds a pfn, and a device may read it
 * @HMM_PFN_WRITE: output; with %HMM_PFN_VALID: a device may write it too
 * @HMM_PFN_ERROR: output; there is nothing to be had at this address, and a
 *	request would fail: no VMA, one without VM_READ, poison, or memory
 *	that is %HMM_PFN_SPECIAL
 * @HMM_PFN_DMA_MAPPED: sticky; of the driver
 * @HMM_PFN_P2PDMA: sticky; of the driver
 * @HMM_PFN_P2PDMA_BUS: sticky; of the driver
 * @HMM_PFN_ORDER_SHIFT: position of the mapping's order, see
 *	hmm_pfn_to_map_order()
 * @HMM_PFN_READ: attribute; the CPU page table lets the process read the page
 * @HMM_PFN_EMPTY: attribute; inside a VMA, with nothing mapped yet
 * @HMM_PFN_SPECIAL: attribute, with %HMM_PFN_ERROR; memory that is never
 *	mirrored: without struct page, of a device's registers, secret
 * @HMM_PFN_DEVICE: attribute; the page is device memory (ZONE_DEVICE), or
 *	reserved for a device's exclusive access
 * @HMM_PFN_UNADDRESSABLE: attribute, with %HMM_PFN_DEVICE; the CPU cannot
 *	access the page where it is now
 * @HMM_PFN_DIRTY: attribute; the CPU page table entry is marked dirty
 * @HMM_PFN_YOUNG: attribute; the CPU page table entry is marked accessed
 * @HMM_PFN_REQ_FAULT: input; fail unless the page can be made %HMM_PFN_VALID
 * @HMM_PFN_REQ_WRITE: input; with %HMM_PFN_REQ_FAULT: fail unless it can be
 *	made %HMM_PFN_WRITE, too
 * @HMM_PFN_FLAGS: every bit of an entry that does not belong to the pfn
 *
 * An entry without any flag is a page that is not mapped now and that a
 * request could make valid. The attributes come from hmm_range_snapshot()
 * only, and only on 64-bit kernels: elsewhere they are 0.
 *
 * Sticky flags are kept from input to output, whatever &hmm_range.pfn_flags_mask says. HMM
 * gives them no meaning: a driver notes there how it has mapped the page for DMA.
 */
enum hmm_pfn_flags {
	HMM_PFN_VALID		= 1UL << (BITS_PER_LONG - 1),
	HMM_PFN_WRITE		= 1UL << (BITS_PER_LONG - 2),
	HMM_PFN_ERROR		= 1UL << (BITS_PER_LONG - 3),
	HMM_PFN_DMA_MAPPED	= 1UL << (BITS_PER_LONG - 4),
	HMM_PFN_P2PDMA		= 1UL << (BITS_PER_LONG - 5),
	HMM_PFN_P2PDMA_BUS	= 1UL << (BITS_PER_LONG - 6),
	HMM_PFN_ORDER_SHIFT	= BITS_PER_LONG - 11,

	HMM_PFN_READ		= HMM_PFN_ATTR(0),
	HMM_PFN_EMPTY		= HMM_PFN_ATTR(1),
	HMM_PFN_SPECIAL		= HMM_PFN_ATTR(2),
	HMM_PFN_DEVICE		= HMM_PFN_ATTR(3),
	HMM_PFN_UNADDRESSABLE	= HMM_PFN_ATTR(4),
	HMM_PFN_DIRTY		= HMM_PFN_ATTR(5),
	HMM_PFN_YOUNG		= HMM_PFN_ATTR(6),

	HMM_PFN_REQ_FAULT	= HMM_PFN_VALID,
	HMM_PFN_REQ_WRITE	= HMM_PFN_WRITE,

	HMM_PFN_FLAGS		= ~0UL << HMM_PFN_ATTR_SHIFT,
};

/**
 * hmm_pfn_to_page() - the page behind a valid entry
 * @hmm_pfn: entry with %HMM_PFN_VALID set
 *
 * The walker takes no reference: the page is the process's only as long as no
 * invalidation came in between.
 *
 * Context: Under the lock that the driver's invalidation callback takes, after
 * mmu_interval_read_retry() has said that the range still holds.
 * Return: The page.
 */
static inline struct page *hmm_pfn_to_page(unsigned long hmm_pfn)
{
	return pfn_to_page(hmm_pfn & ~HMM_PFN_FLAGS);
}

/**
 * hmm_pfn_to_map_order() - the size of the CPU mapping behind a valid entry
 * @hmm_pfn: entry with %HMM_PFN_VALID set
 *
 * The CPU maps the page as part of a naturally aligned block of this order
 * with one permission, so that a device may map it alike. The block can begin
 * before and end after the range that was walked. Entries of one block differ
 * when they were stored before and after a fault that another page requested;
 * each is right for itself.
 *
 * Context: As for hmm_pfn_to_page().
 * Return: log2 of the size of the mapping in pages.
 */
static inline unsigned int hmm_pfn_to_map_order(unsigned long hmm_pfn)
{
	return (hmm_pfn >> HMM_PFN_ORDER_SHIFT) & 0x1f;
}

/* private: the task that is inside of an operation, or NULL; and which operation that is */
struct hmm_inside {
	struct task_struct	*task;
	unsigned int		op;
};

/**
 * struct hmm_range - a range of virtual addresses to walk
 * @notifier: interval notifier that covers the range
 * @notifier_seq: what mmu_interval_read_begin() returned for @notifier
 * @start: first address, page aligned
 * @end: end address, exclusive, page aligned
 * @hmm_pfns: one entry for each page; in: requests and sticky flags, out: pfn, flags, and
 *	the sticky flags
 * @default_flags: request flags that hold for every page of the range
 * @pfn_flags_mask: which request flags of an input entry count; 0 when
 *	@default_flags says it all
 * @dev_private_owner: whose device private pages are reported as they are,
 *	instead of being migrated back to system memory; NULL: nobody's
 * @mirror: instead of @notifier and @notifier_seq: the mirror that the range is for,
 *	see hmm_range_begin(); NULL: these two count
 *
 * hmm_range_begin() copies @mirror, @start and @end. A driver may change all fields until
 * hmm_range_end(), to walk the range part by part. One task at a time uses a range.
 */
struct hmm_range {
	struct mmu_interval_notifier *notifier;
	unsigned long		notifier_seq;
	unsigned long		start;
	unsigned long		end;
	unsigned long		*hmm_pfns;
	unsigned long		default_flags;
	unsigned long		pfn_flags_mask;
	void			*dev_private_owner;
	struct hmm_mirror	*mirror;
	/* private: from hmm_range_begin() to hmm_range_end(); first, what was begun */
	struct hmm_mirror	*begun;		/* NULL: not begun */
	unsigned long		begun_start;	/* constant while begun */
	unsigned long		begun_end;
	struct list_head	node;		/* begun->range_lock */
	bool			collided;	/* begun->range_lock */
	bool			committed;	/* the same */
	struct hmm_inside	inside;		/* see mm/hmm_range.h */
	unsigned long		seen_start;	/* what walks have read, for the task only */
	unsigned long		seen_end;
	unsigned long		unseen;		/* no walk has read from here on */
	const struct hmm_call	*call;		/* of hmm_mirror_fault(), or NULL */
};

int hmm_range_fault(struct hmm_range *range);
int hmm_range_snapshot(struct hmm_range *range);

/*
 * How long, in milliseconds, a driver should go on retrying a range that
 * invalidations keep colliding with before it gives up.
 */
#define HMM_RANGE_DEFAULT_TIMEOUT 1000

#endif /* _LINUX_HMM_H */
