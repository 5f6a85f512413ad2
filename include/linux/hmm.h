/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * HMM (heterogeneous memory management): the range walker.
 *
 * It reports the contents of the CPU page table for a range of virtual addresses, and faults
 * in the pages that the caller requests. linux/hmm_mirror.h has the layer above it: a page
 * table for a device that follows the address space of a process.
 */
#ifndef _LINUX_HMM_H
#define _LINUX_HMM_H

#include <linux/mm.h>

struct hmm_call;
struct hmm_mirror;
struct mmu_interval_notifier;

/*
 * The first bit of the flags. Attributes are between the pfn and the order. On 32-bit, the pfn
 * needs these bits, and there are no attributes.
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
 * @HMM_PFN_WRITE: output; with %HMM_PFN_VALID: a device may write it, too
 * @HMM_PFN_ERROR: output; a request for this page would fail: there is no VMA,
 *	the VMA is without VM_READ, or the memory is poisoned or
 *	%HMM_PFN_SPECIAL
 * @HMM_PFN_DMA_MAPPED: sticky; for use by the driver
 * @HMM_PFN_P2PDMA: sticky; for use by the driver
 * @HMM_PFN_P2PDMA_BUS: sticky; for use by the driver
 * @HMM_PFN_ORDER_SHIFT: position of the mapping's order, see
 *	hmm_pfn_to_map_order()
 * @HMM_PFN_READ: attribute; the CPU page table allows the process to read the page
 * @HMM_PFN_EMPTY: attribute; the address is in a VMA, and nothing is mapped yet
 * @HMM_PFN_SPECIAL: attribute, with %HMM_PFN_ERROR; memory that is never
 *	mirrored: memory without struct page, device registers, secret memory
 * @HMM_PFN_DEVICE: attribute; the page is device memory (ZONE_DEVICE), or a
 *	device has exclusive access to it
 * @HMM_PFN_UNADDRESSABLE: attribute, with %HMM_PFN_DEVICE; the CPU cannot
 *	access the page at its present location
 * @HMM_PFN_DIRTY: attribute; the CPU page table entry is marked dirty
 * @HMM_PFN_YOUNG: attribute; the CPU page table entry is marked accessed
 * @HMM_PFN_REQ_FAULT: input; the call fails unless the page can be made %HMM_PFN_VALID
 * @HMM_PFN_REQ_WRITE: input; with %HMM_PFN_REQ_FAULT: the call fails unless the
 *	page can be made %HMM_PFN_WRITE, too
 * @HMM_PFN_FLAGS: all bits of an entry that do not belong to the pfn
 *
 * An entry without any flag is a page that is not mapped now. A request could
 * make it valid. Only hmm_range_snapshot() reports attributes, and only on
 * 64-bit kernels. Elsewhere they are 0.
 *
 * The output keeps the sticky flags of the input, whatever the value of
 * &hmm_range.pfn_flags_mask. HMM does not use them: a driver records in them how it has mapped
 * the page for DMA.
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
 * hmm_pfn_to_page() - get the page of a valid entry
 * @hmm_pfn: entry with %HMM_PFN_VALID set
 *
 * The walker takes no reference. The page belongs to the process only until the
 * next invalidation.
 *
 * Context: Under the lock that the driver's invalidation callback takes, after
 * hmm_range_retry() or mmu_interval_read_retry() has returned false.
 * Return: The page.
 */
static inline struct page *hmm_pfn_to_page(unsigned long hmm_pfn)
{
	return pfn_to_page(hmm_pfn & ~HMM_PFN_FLAGS);
}

/**
 * hmm_pfn_to_map_order() - get the size of the CPU mapping of a valid entry
 * @hmm_pfn: entry with %HMM_PFN_VALID set
 *
 * The CPU maps the page as part of a naturally aligned block of this order with
 * one permission, and a device may do the same. The block can begin before and
 * end after the range that was walked. Entries of one block can have different
 * orders if the walk stored some before and some after it took a fault for
 * another page. Each of them is correct for its page.
 *
 * Context: As for hmm_pfn_to_page().
 * Return: log2 of the size of the mapping in pages.
 */
static inline unsigned int hmm_pfn_to_map_order(unsigned long hmm_pfn)
{
	return (hmm_pfn >> HMM_PFN_ORDER_SHIFT) & 0x1f;
}

/* private: the task that is inside of an operation, or NULL; and the operation */
struct hmm_inside {
	struct task_struct	*task;
	unsigned int		op;
};

/**
 * struct hmm_range - a range of virtual addresses to walk
 * @notifier: interval notifier that covers the range
 * @notifier_seq: return value of mmu_interval_read_begin() for @notifier
 * @start: first address, page aligned
 * @end: end address, exclusive, page aligned
 * @hmm_pfns: one entry for each page; in: requests and sticky flags, out: pfn, flags, and
 *	the sticky flags
 * @default_flags: request flags of every page of the range
 * @pfn_flags_mask: the request flags of an input entry that count; 0 if @default_flags
 *	has all requests
 * @dev_private_owner: owner of the device private pages that are reported and not
 *	migrated back to system memory; NULL: no device private page is reported
 * @mirror: the mirror that the range is for, see hmm_range_begin(); NULL: @notifier and
 *	@notifier_seq are used
 *
 * hmm_range_begin() copies @mirror, @start and @end. A driver may change all fields until
 * hmm_range_end(), to walk the range part by part. Only one task at a time may use a range.
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
	/* private: from hmm_range_begin() to hmm_range_end(); first, the copies */
	struct hmm_mirror	*begun;		/* NULL: not begun */
	unsigned long		begun_start;	/* constant while begun */
	unsigned long		begun_end;
	struct list_head	node;		/* begun->range_lock */
	bool			collided;	/* begun->range_lock */
	bool			committed;	/* begun->range_lock */
	struct hmm_inside	inside;		/* see mm/hmm_range.h */
	unsigned long		seen_start;	/* read by walks; used by the task only */
	unsigned long		seen_end;
	unsigned long		unseen;		/* no walk has read from here on */
	const struct hmm_call	*call;		/* of hmm_mirror_fault(), or NULL */
};

int hmm_range_fault(struct hmm_range *range);
int hmm_range_snapshot(struct hmm_range *range);

/*
 * Time, in milliseconds, for which a driver should retry a range that collides
 * again and again before it gives up.
 */
#define HMM_RANGE_DEFAULT_TIMEOUT 1000

#endif /* _LINUX_HMM_H */
