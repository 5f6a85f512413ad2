// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * HMM device faults: from the CPU page table to the mirror page table, and on to the
 * driver. mm/hmm_mirror.c has the protocol.
 *
 * A fault is served in pieces. For each: begin a range; walk it, VMA by VMA under the
 * lock of each if that will do, or under mmap_lock, taking CPU faults; prepare what it
 * takes to publish the result, with no lock held; publish it under the lock of the
 * mirror, unless the range has collided with an invalidation; let the driver write its
 * page table, with the lock held for reading. After a collision all of this is done
 * again. Pages that the device is to have for itself are taken from the CPU after the
 * walk, see mm/hmm_exclusive.c.
 *
 * Progress
 *
 * Somebody may invalidate the range again and again, each time before it is published.
 * So after some collisions the page at the beginning alone is served, with those kept
 * out who could invalidate it:
 *
 *	who							waits for
 *	---							---------
 *	system calls: munmap, mprotect, madvise, fork, ...	mmap_lock, for writing
 *	CPU faults that hold the lock of the VMA		that, for writing
 *	reverse mapping: reclaim, migration, writeback, KSM	the lock of the folio
 *
 * What they have begun before is waited for: they need none of these locks to end. The
 * last one cannot be held over a CPU fault, which needs it itself, nor while memory is
 * allocated. So the page is looked at with its folio locked; if it is not mapped, or what it
 * takes to publish it is not there, that is done with the folio unlocked, and then it is
 * locked and looked at again. A reference on the folio keeps it what is to be locked.
 *
 * So the last kind may win once more, but hardly twice. Those who find a page by its file
 * and lock nothing of this may, again and again: truncation, direct I/O, DAX. A CPU fault
 * needs what they hold: nothing can keep them out for as long as it takes. The fault ends
 * when it is faster for once, or when the file does.
 *
 * No CPU fault is taken meanwhile that may start I/O, or wait for it or for user space,
 * which may need mmap_lock: see mm/hmm_resident.c. Such a fault is taken in the usual way,
 * with no lock held, and brings the page into memory for the next time. A reference keeps
 * it there until it is mirrored. A page of a shared mapping becomes writable in the usual
 * way only if the file system takes part in that (->page_mkwrite()). What is left are faults
 * that meet hole punching of shmem.
 */
#include <linux/hmm.h>
#include <linux/pagemap.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include <trace/events/hmm.h>

#include "hmm_internal.h"

/* At once, unless one mapping is larger */
#define HMM_FAULT_PIECE		PMD_SIZE

/* The same for pages that the CPU is to lose */
#define HMM_FAULT_EXCLUSIVE_PIECE (HMM_EXCLUSIVE_MAX * PAGE_SIZE)

/* How often to come back, a jiffy later, for a page that is not to be had */
#define HMM_FAULT_FRUITLESS_MAX	100

/*
 * How many steps to take while others are kept out: two for a page that is mapped, two
 * more each time that it goes. The first time may take away what another fault has
 * mirrored, or was about to.
 */
#define HMM_FAULT_ALONE_MAX		8

/* Faults of so many pages, the commonest, have their arrays on the stack. */
#define HMM_FAULT_SMALL		4

/**
 * struct hmm_fault_arrays - for the arrays of a small range
 * @pfns: for range.hmm_pfns of &struct hmm_fault
 * @words: for words
 * @maps: for maps
 */
struct hmm_fault_arrays {
	unsigned long pfns[HMM_FAULT_SMALL];
	unsigned long words[HMM_FAULT_SMALL];
	dma_addr_t maps[HMM_FAULT_SMALL];
};

/**
 * struct hmm_fault - state of hmm_mirror_fault()
 * @mirror: mirror
 * @call: for those who cancel the fault, see mm/hmm_cancel.c
 * @flags: of the caller
 * @start: of the piece at hand
 * @end: of that
 * @small_end: of that, before it grew
 * @limit: end of all that is asked for
 * @size: what a piece is cut to: less after many collisions
 * @collisions: how many of them the piece has had
 * @fruitless: how many tries in a row have given up because somebody else has the page
 * @path: how the piece was walked
 * @read_only: of the page that is served alone: it is enough to read it
 * @alone: others are kept out, as far as they are by mmap_lock and that of the VMA
 * @vain: why the page was not to be had while others were kept out, though nothing has
 *	collided; 0 if it was
 * @held: has the page at @start, and a reference by which it stays in memory; or NULL
 * @access: to begin when the first page is mirrored, or NULL
 * @accessed: how many pages that is of; 0: it has not begun
 * @empty: nothing is mapped in all of the window
 * @range: the piece, and all of the blocks that are mirrored and that it cuts
 * @exclusive: some of @range is mirrored with HMM_PTE_EXCLUSIVE
 * @small: the arrays of a range of at most HMM_FAULT_SMALL pages
 * @room: how many pages there is room for in the arrays
 * @words: for each page of @range: first HMM_PTE_WRITE if it is mirrored with that, all
 *	of the entry if with HMM_PTE_EXCLUSIVE; then the entry to publish
 * @maps: for the DMA mappings of these; NULL if there are none
 */
struct hmm_fault {
	struct hmm_mirror *mirror;
	struct hmm_call call;
	unsigned int flags;
	unsigned long start;
	unsigned long end;
	unsigned long small_end;
	unsigned long limit;
	unsigned long size;
	unsigned int collisions;
	unsigned int fruitless;
	enum hmm_mirror_count path;
	bool read_only;
	bool alone;
	int vain;
	struct folio *held;
	struct hmm_access *access;
	long accessed;
	bool empty;
	struct hmm_range range;
	bool exclusive;
	struct hmm_fault_arrays *small;
	unsigned long room;
	unsigned long *words;
	dma_addr_t *maps;
};

static unsigned long hmm_fault_index(const struct hmm_fault *fault, unsigned long addr)
{
	return (addr - fault->range.start) >> PAGE_SHIFT;
}

static void hmm_fault_free(struct hmm_fault *fault)
{
	if (fault->words != fault->small->words) {
		kvfree(fault->range.hmm_pfns);
		kvfree(fault->words);
		kvfree(fault->maps);
	}
	fault->range.hmm_pfns = NULL;
	fault->words = NULL;
	fault->maps = NULL;
	fault->room = 0;
}

/* Make room for all of the range. */
static int hmm_fault_make_room(struct hmm_fault *fault)
{
	unsigned long pages = hmm_fault_index(fault, fault->range.end);

	if (pages <= fault->room)
		return 0;
	hmm_fault_free(fault);
	if (pages <= HMM_FAULT_SMALL) {
		fault->range.hmm_pfns = fault->small->pfns;
		fault->words = fault->small->words;
		fault->maps = fault->mirror->pt.dma_dev ? fault->small->maps : NULL;
		fault->room = HMM_FAULT_SMALL;
		return 0;
	}
	fault->range.hmm_pfns = kvmalloc_array(pages, sizeof(long), GFP_KERNEL);
	fault->words = kvmalloc_array(pages, sizeof(long), GFP_KERNEL);
	if (fault->mirror->pt.dma_dev)
		fault->maps = kvmalloc_array(pages, sizeof(dma_addr_t), GFP_KERNEL);
	if (!fault->range.hmm_pfns || !fault->words ||
	    (fault->mirror->pt.dma_dev && !fault->maps))
		return -ENOMEM;
	fault->room = pages;
	return 0;
}

/*
 * Request each page. Those beside the piece are in the range because they go with a
 * block: nobody writes them. What is exclusive would be lost by a CPU fault. HMM_PFN_ERROR
 * is not looked at, and tells what the walk has not come to.
 */
static void hmm_fault_request(struct hmm_fault *fault)
{
	unsigned long first = hmm_fault_index(fault, fault->start);
	unsigned long behind = hmm_fault_index(fault, fault->end);
	unsigned long *request = fault->range.hmm_pfns;
	unsigned long word = HMM_PFN_ERROR | HMM_PFN_REQ_FAULT;

	memset_l(request, word, first);
	memset_l(request + behind, word, hmm_fault_index(fault, fault->range.end) - behind);
	if (fault->flags & HMM_FAULT_WRITE)
		word |= HMM_PFN_REQ_WRITE;
	memset_l(request + first, word, behind - first);
	if (!fault->exclusive)
		return;
	for (first = 0; first < hmm_fault_index(fault, fault->range.end); first++) {
		if (fault->words[first] & HMM_PTE_EXCLUSIVE)
			request[first] = HMM_PFN_ERROR;
	}
}

/*
 * What the device may write already it may write afterwards, too. What it has for itself
 * stays as it is.
 */
static void hmm_fault_remember(struct hmm_fault *fault)
{
	struct hmm_range *range = &fault->range;
	struct hmm_pt_iter iter;
	unsigned long i, word;

	fault->exclusive = false;
	memset(fault->words, 0, hmm_fault_index(fault, range->end) * sizeof(long));
	hmm_pt_for_each(&iter, fault->mirror, range->start, range->end) {
		if (!hmm_pte_write(iter.pte))
			continue;
		word = iter.pte.pfn & ~HMM_PTE_DIRTY;
		fault->exclusive |= hmm_pte_exclusive(iter.pte);
		for (i = hmm_fault_index(fault, iter.addr);
		     i < hmm_fault_index(fault, iter.end); i++)
			fault->words[i] = word & HMM_PTE_EXCLUSIVE ? word++ : HMM_PTE_WRITE;
	}
}

/*
 * The walk has passed over what is exclusive, and it is as the mirror page table says:
 * or else the range has collided.
 */
static void hmm_fault_keep_exclusive(struct hmm_fault *fault)
{
	unsigned long i, *pfns = fault->range.hmm_pfns, *words = fault->words;

	for (i = 0; i < hmm_fault_index(fault, fault->range.end); i++) {
		if (words[i] & HMM_PTE_EXCLUSIVE && !(pfns[i] & HMM_PFN_ERROR))
			pfns[i] = words[i];
	}
}

/* Begin a range of the piece, and of all of the blocks that it cuts. */
static int hmm_fault_begin(struct hmm_fault *fault)
{
	struct hmm_mirror *mirror = fault->mirror;
	struct hmm_range *range = &fault->range;
	unsigned long start = fault->start, end = fault->end;
	bool fits;
	int ret;

	do {
		range->start = start;
		range->end = end;
		ret = hmm_fault_make_room(fault);
		if (!ret)
			ret = hmm_range_begin_alive(range);
		if (ret)
			return ret;

		/* Blocks come and go: no page is to be faulted for one that has gone. */
		start = fault->start;
		end = fault->end;
		down_read(&mirror->lock);
		hmm_pt_widen(&mirror->pt, &start, &end);
		fits = start == range->start && end == range->end;
		if (fits)
			hmm_fault_remember(fault);
		up_read(&mirror->lock);
		if (!fits)
			hmm_range_end_alive(range);
	} while (!fits);
	return 0;
}

/*
 * Somebody else has the page: come back later, though not for ever; and not with locks
 * held.
 */
static int hmm_fault_fruitless(struct hmm_fault *fault, int error)
{
	if (READ_ONCE(fault->range.collided))
		return -EAGAIN;
	if (fault->alone) {
		fault->vain = error;
		return -EAGAIN;
	}
	if (++fault->fruitless == HMM_FAULT_FRUITLESS_MAX)
		return error;
	schedule_timeout_killable(1);
	return -EAGAIN;
}

static int hmm_fault_walk(struct hmm_fault *fault)
{
	int ret;

	hmm_fault_request(fault);
	ret = hmm_range_fault_entries(&fault->range, &fault->path);
	if (fault->exclusive)
		hmm_fault_keep_exclusive(fault);
	/* Somebody holds the page, or its lock, so that CPU faults bring nothing. */
	return ret == -EBUSY ? hmm_fault_fruitless(fault, -EFAULT) : ret;
}

/* Is a page that the device could only read none at all? */
static bool hmm_fault_must_write(const struct hmm_fault *fault)
{
	return fault->flags & HMM_FAULT_WRITE && !(fault->flags & HMM_FAULT_MAY_WRITE);
}

/*
 * Where the first is of the pages up to @behind that the walk has not got what the device
 * needs for. Of the device's own memory that the CPU maps read-only, the driver may have
 * declined to migrate a page back: that is valid only.
 */
static unsigned long hmm_fault_served(const struct hmm_fault *fault, unsigned long index,
				      unsigned long behind, unsigned long write)
{
	const unsigned long *pfns = fault->range.hmm_pfns;

	while (index < behind && (pfns[index] & (HMM_PFN_ERROR | write)) == write)
		index++;
	return index;
}

/* The end of what the walk has served */
static unsigned long hmm_fault_walked(const struct hmm_fault *fault)
{
	unsigned long first = hmm_fault_index(fault, fault->start);
	unsigned long behind = hmm_fault_index(fault, fault->end);
	unsigned long index;

	if (fault->flags & HMM_FAULT_PRESENT)
		return fault->range.end;
	index = hmm_fault_served(fault, 0, first, 0);
	if (index == first)
		index = hmm_fault_served(fault, first, behind,
					 hmm_fault_must_write(fault) ? HMM_PFN_WRITE : 0);
	if (index == behind)
		index = hmm_fault_served(fault, behind,
					 hmm_fault_index(fault, fault->range.end), 0);
	return fault->range.start + (index << PAGE_SHIFT);
}

/*
 * Does the piece begin with a mapping that is larger, and of which all is asked for?
 * Then that is the piece, and no longer than it is there. Return whether it changes.
 */
static bool hmm_fault_resize(struct hmm_fault *fault)
{
	unsigned long pfn = fault->range.hmm_pfns[hmm_fault_index(fault, fault->start)];
	unsigned long size, old = fault->end;

	if (!(pfn & HMM_PFN_VALID))
		return false;
	size = PAGE_SIZE << hmm_pfn_to_map_order(pfn);
	if (IS_ALIGNED(fault->start, size) && size <= fault->limit - fault->start)
		fault->end = max(fault->small_end, fault->start + size);
	else
		fault->end = fault->small_end;
	return fault->end != old;
}

/*
 * How many pages, from the one at hand on, belong to one folio; and let them have its
 * order, if the CPU maps them one by one. That is what they are likely to be changed by.
 */
static unsigned long hmm_fault_folio(const unsigned long *pfn, unsigned long *word,
				     unsigned long pages)
{
	unsigned long order = hmm_pfn_to_map_order(*pfn);
	struct folio *folio;
	struct page *page;
	unsigned long i;

	if (order)
		return min(pages, BIT(order) - (*pfn & (BIT(order) - 1)));
	page = hmm_pfn_to_page(*pfn);
	if (*word & HMM_PTE_DEVICE || !PageCompound(page))
		return 1;
	folio = page_folio(page);
	pages = min_t(unsigned long, pages,
		      folio_nr_pages(folio) - folio_page_idx(folio, page));
	for (i = 0; i < pages && pfn[i] == pfn[0] + i; i++)
		word[i] |= (unsigned long)folio_order(folio) << HMM_PTE_ORDER_SHIFT;
	return i;
}

/* From one page to another: may the device write what it may write already, or all? */
static void hmm_fault_make_words(struct hmm_fault *fault, unsigned long index,
				 unsigned long behind, bool write)
{
	const unsigned long *pfns = fault->range.hmm_pfns;
	unsigned long *words = fault->words;

	if (index >= behind)
		return;
	if (write) {
		memcpy(words + index, pfns + index, (behind - index) * sizeof(*words));
		return;
	}
	for (; index < behind; index++)
		words[index] = pfns[index] & (~HMM_PTE_WRITE | words[index]);
}

/*
 * Make entries of what the walk found from @start to @end, all of it valid. Pages stay
 * what they are while the lock is held, because whoever changes them would have to
 * invalidate them first: so their folios can be looked at.
 */
static int hmm_fault_make_entries(struct hmm_fault *fault, unsigned long start,
				  unsigned long end)
{
	unsigned long i, first = hmm_fault_index(fault, start);
	unsigned long behind = hmm_fault_index(fault, end);
	unsigned long from = clamp(hmm_fault_index(fault, fault->start), first, behind);
	unsigned long to = clamp(hmm_fault_index(fault, fault->end), first, behind);
	const unsigned long *pfns = fault->range.hmm_pfns;
	unsigned long *words = fault->words;

	hmm_fault_make_words(fault, first, from, false);
	hmm_fault_make_words(fault, from, to, fault->flags & HMM_FAULT_WRITE);
	hmm_fault_make_words(fault, to, behind, false);

	guard(rwsem_read)(&fault->mirror->lock);
	if (fault->mirror->dead)
		return -ESRCH;
	if (hmm_range_retry(&fault->range))
		return -EAGAIN;
	for (i = first; i < behind;)
		i += hmm_fault_folio(&pfns[i], &words[i], behind - i);
	return 0;
}

/* The device has what it must not have, or does not know what it has. */
static int hmm_fault_take_back(struct hmm_fault *fault, unsigned long start,
			       unsigned long end)
{
	struct hmm_update update = {
		.start = start,
		.end = end,
		.event = HMM_UPDATE_MIGRATE,
		.blockable = true,
	};

	lockdep_assert_held_write(&fault->mirror->lock);
	if (!fault->mirror->dead)
		hmm_mirror_invalidate(fault->mirror, &update);
	return -EAGAIN;
}

/*
 * Has another fault let the device write what this one would not, or given it for itself?
 * Permissions go by invalidations only, by which the driver learns of it.
 */
static bool hmm_fault_loses_write(struct hmm_fault *fault, const struct hmm_pt_stage *stage)
{
	struct hmm_pt_iter iter;
	unsigned long i;

	if (!hmm_pt_writable(&fault->mirror->pt, stage->start, stage->end))
		return false;
	hmm_pt_for_each(&iter, fault->mirror, stage->start, stage->end) {
		if (!hmm_pte_write(iter.pte))
			continue;
		for (i = hmm_fault_index(fault, iter.addr);
		     i < hmm_fault_index(fault, iter.end); i++) {
			if (iter.pte.pfn & ~fault->words[i] &
			    (HMM_PTE_WRITE | HMM_PTE_EXCLUSIVE))
				return true;
		}
	}
	return false;
}

/* DMA mappings that give way to others must not be in use. The lock may be dropped. */
static void hmm_fault_settle(struct hmm_mirror *mirror, const struct hmm_pt_stage *stage)
{
	unsigned long addr = stage->start, next;

	while (hmm_pt_stage_next_map(stage, &addr, &next)) {
		if (hmm_access_is_under_way(mirror, addr, next - 1, false))
			return hmm_access_wait(mirror, stage->start, stage->end - 1, false);
		addr = next;
	}
}

static int hmm_fault_publish(struct hmm_fault *fault, struct hmm_pt_stage *stage)
{
	unsigned long start = stage->start, end = stage->end;

	if (stage->maps && hmm_access_is_under_way(fault->mirror, start, end - 1, false))
		hmm_fault_settle(fault->mirror, stage);
	if (fault->mirror->dead)
		return -ESRCH;
	if (hmm_range_retry(&fault->range))
		return -EAGAIN;
	/* Not all of a block could be walked: then it has to go. */
	hmm_pt_widen(&fault->mirror->pt, &start, &end);
	if (start != stage->start || end != stage->end)
		return hmm_fault_take_back(fault, start, end);
	if (hmm_fault_loses_write(fault, stage))
		return -EAGAIN;
	return hmm_pt_publish(&fault->mirror->pt, stage);
}

/* Let the device know of what was published. */
static int hmm_fault_sync(struct hmm_fault *fault, const struct hmm_pt_stage *stage)
{
	const struct hmm_update update = {
		.start = stage->start,
		.end = stage->end,
		.event = fault->flags & HMM_FAULT_WRITE ? HMM_UPDATE_DEVICE_WFAULT :
							  HMM_UPDATE_DEVICE_RFAULT,
		.blockable = true,
		.job = fault->call.job,
	};
	struct hmm_mirror *mirror = fault->mirror;
	int ret;

	if (!mirror->reg.ops->sync_cpu_device_pagetables)
		return 0;
	WRITE_ONCE(fault->range.syncing, current);
	ret = mirror->reg.ops->sync_cpu_device_pagetables(mirror, &update);
	WRITE_ONCE(fault->range.syncing, NULL);
	if (WARN_ONCE(ret > 0 || ret == -EAGAIN, "%ps returns %d for a fault\n",
		      mirror->reg.ops->sync_cpu_device_pagetables, ret))
		return -EIO;
	return ret;
}

/* The first page is mirrored, and cannot have gone yet. */
static int hmm_fault_begin_access(struct hmm_fault *fault, const struct hmm_pt_stage *stage)
{
	const struct hmm_call *call = &fault->call;

	if (!fault->access || call->start < stage->start || call->start >= stage->end)
		return 0;
	fault->accessed = hmm_access_hold(fault->access, fault->mirror, call->start, call->end,
					  fault->flags);
	return min(fault->accessed, 0);
}

static int hmm_fault_commit_stage(struct hmm_fault *fault, struct hmm_pt_stage *stage)
{
	struct hmm_mirror *mirror = fault->mirror;
	int ret;

	down_write(&mirror->lock);
	ret = hmm_fault_publish(fault, stage);
	if (ret) {
		up_write(&mirror->lock);
		return ret;
	}
	downgrade_write(&mirror->lock);
	ret = hmm_fault_sync(fault, stage) ?: hmm_fault_begin_access(fault, stage);
	up_read(&mirror->lock);
	if (!ret)
		return 0;

	/* Of what it was to write, the driver may have written some. */
	down_write(&mirror->lock);
	hmm_fault_take_back(fault, stage->start, stage->end);
	up_write(&mirror->lock);
	return ret;
}

/* The entry of the page that is alone, if it will do, or 0 */
static unsigned long hmm_fault_entry(const struct hmm_fault *fault)
{
	unsigned long pfn = *fault->range.hmm_pfns, need = HMM_PFN_VALID;

	if (fault->flags & HMM_FAULT_WRITE && !(fault->flags & HMM_FAULT_PRESENT) &&
	    !fault->read_only)
		need |= HMM_PFN_WRITE;
	return (pfn & need) == need ? pfn : 0;
}

/* Commit what is valid from @start to @end: less if DMA does not reach all of it. */
static int hmm_fault_commit(struct hmm_fault *fault, unsigned long start,
			    unsigned long *end)
{
	unsigned long first = hmm_fault_index(fault, start);
	struct hmm_pt *pt = &fault->mirror->pt;
	struct hmm_pt_stage stage;
	int ret;

	ret = hmm_fault_make_entries(fault, start, *end);
	while (!ret) {
		hmm_pt_stage(&stage, start, *end, fault->words + first,
			     fault->maps ? fault->maps + first : NULL);
		ret = hmm_pt_prepare(pt, &stage);
		if (!ret) {
			ret = hmm_fault_commit_stage(fault, &stage);
			hmm_pt_unstage(pt, &stage);
			break;
		}
		hmm_pt_unstage(pt, &stage);
		if (stage.mapped == start)
			break;
		*end = stage.mapped;
		ret = 0;
	}
	return ret;
}

/*
 * Commit what is valid before @end, run by run. Return how many pages of the piece that
 * was, or an errno.
 */
static long hmm_fault_commit_runs(struct hmm_fault *fault, unsigned long end)
{
	const unsigned long *pfns = fault->range.hmm_pfns;
	unsigned long i, stop = hmm_fault_index(fault, end);
	unsigned long addr, behind, done;
	long pages = 0;
	int ret;

	for (addr = fault->range.start; addr < end; addr = behind) {
		i = hmm_fault_index(fault, addr);
		while (i < stop && pfns[i] & HMM_PFN_VALID)
			i++;
		behind = fault->range.start + (i << PAGE_SHIFT);
		if (behind == addr) {
			behind += PAGE_SIZE;
			continue;
		}
		done = behind;
		ret = hmm_fault_commit(fault, addr, &done);
		if (ret)
			return pages && ret != -EAGAIN ? pages : ret;
		if (done > fault->start && addr < fault->end)
			pages += (min(done, fault->end) - max(addr, fault->start)) >> PAGE_SHIFT;
		/* Nothing is to be waited for any more when an access has begun. */
		if (done != behind || fault->accessed)
			break;
	}
	return pages;
}

static void hmm_fault_let_go(struct hmm_fault *fault)
{
	if (fault->held)
		folio_put(fault->held);
	fault->held = NULL;
}

/*
 * Give the device for itself what was walked up to @end. What is not to be had, or not
 * yet, ends the piece, and begins the next one.
 */
static long hmm_fault_take(struct hmm_fault *fault, unsigned long end)
{
	struct hmm_exclusive taken;
	long pages;
	int ret;

	/* A large folio with one reference more cannot be split. */
	hmm_fault_let_go(fault);
	fault->end = min(fault->end, end);
	ret = hmm_exclusive_take(&taken, &fault->range, fault->start, &fault->end,
				 fault->alone);
	if (ret == -EBUSY || (ret && READ_ONCE(fault->range.collided)))
		return hmm_fault_fruitless(fault, ret);
	if (ret)
		return ret;
	pages = hmm_fault_commit_runs(fault, fault->end);
	hmm_exclusive_let_go(&taken);
	/* The less is asked for at once the less it collides with. */
	if (pages == -EAGAIN)
		fault->end = fault->start +
			     max(PAGE_SIZE, PAGE_ALIGN_DOWN((fault->end - fault->start) / 2));
	return pages;
}

/* The piece once. -EAGAIN: begin again. */
static long hmm_fault_try(struct hmm_fault *fault)
{
	unsigned long end;
	long pages;
	int ret;

	ret = hmm_fault_walk(fault);
	if (ret == -EAGAIN || ret == -EINTR)
		return ret;
	end = hmm_fault_walked(fault);
	if (ret && end == fault->start)
		return ret;
	if (ret && end < fault->start) {
		/* What is beside the piece must not make it fail. */
		down_write(&fault->mirror->lock);
		hmm_fault_take_back(fault, fault->range.start, fault->range.end);
		up_write(&fault->mirror->lock);
		return -EAGAIN;
	}
	if (fault->flags & HMM_FAULT_EXCLUSIVE && end > fault->start)
		return hmm_fault_take(fault, end);
	if (end > fault->start && hmm_fault_resize(fault))
		return -EAGAIN;
	pages = hmm_fault_commit_runs(fault, end);
	return pages ?: ret;
}

static void hmm_fault_count_collision(struct hmm_fault *fault)
{
	if (!READ_ONCE(fault->range.collided))
		return;
	fault->collisions++;
	/* Others are at work: it is not in vain for ever. */
	fault->fruitless = 0;
	hmm_mirror_count(fault->mirror, HMM_COUNT_COLLISIONS, 1);
	trace_hmm_collision(&fault->range);
}

/* The piece once, with no lock held to begin with. -EAGAIN: once more. */
static long hmm_fault_round(struct hmm_fault *fault)
{
	long ret = hmm_fault_begin(fault);

	fault->empty = ret == -EFAULT;
	if (ret)
		return ret;
	ret = hmm_fault_try(fault);
	if (ret == -EAGAIN)
		hmm_fault_count_collision(fault);
	hmm_range_end_alive(&fault->range);
	return ret;
}

/* Have the folio of the page at the beginning, by which it stays in memory. */
static void hmm_fault_hold(struct hmm_fault *fault)
{
	struct mm_struct *mm = fault->mirror->mm;
	struct folio *folio;

	if (mmap_read_lock_killable(mm))
		return;
	folio = hmm_resident_folio(mm, fault->start);
	mmap_read_unlock(mm);
	if (!folio)
		return;
	hmm_fault_let_go(fault);
	fault->held = folio;
}

/* What is mapped at the page now, and mirrored? Who began before has come to its end. */
static int hmm_fault_look(struct hmm_fault *fault)
{
	struct hmm_range *range = &fault->range;
	int ret = hmm_range_renew(range);

	if (ret)
		return ret;
	*range->hmm_pfns = 0;
	ret = hmm_range_fault_locked(range);
	if (ret)
		return ret == -EBUSY ? -EAGAIN : ret;
	down_read(&fault->mirror->lock);
	hmm_fault_remember(fault);
	up_read(&fault->mirror->lock);
	/* What the device has for itself is its own, also where the CPU does not say so. */
	if (fault->exclusive)
		*range->hmm_pfns = *fault->words;
	return hmm_fault_entry(fault) ? hmm_fault_make_entries(fault, fault->start, fault->end) :
					0;
}

/* Take the CPU fault. It may collide: what it has brought is looked at again. */
static int hmm_fault_bring(struct hmm_fault *fault)
{
	int ret;

	hmm_fault_request(fault);
	ret = hmm_range_fault_locked(&fault->range);
	/* The usual way waits, with no lock held. */
	if (ret == -EAGAIN)
		fault->collisions = HMM_FAULT_COLLISIONS_MAX - 1;
	if (ret && ret != -EBUSY)
		return ret;
	return ret || !hmm_fault_entry(fault) ? hmm_fault_fruitless(fault, -EFAULT) : -EAGAIN;
}

/*
 * Is @folio what others would have to lock who come to the page by the reverse mapping?
 * Who migrates memory of a device comes once, and does not lock it. What is exclusive is
 * not mapped.
 */
static bool hmm_fault_is_alone(struct hmm_fault *fault, const struct folio *folio)
{
	unsigned long pfn = *fault->range.hmm_pfns;

	if (pfn & (HMM_PFN_DEVICE | HMM_PTE_EXCLUSIVE))
		return true;
	guard(rwsem_read)(&fault->mirror->lock);
	return folio && !hmm_range_retry(&fault->range) &&
	       page_folio(hmm_pfn_to_page(pfn)) == folio;
}

/*
 * Have the folio of the page that was seen, and look again with it locked. After a collision
 * it is not known what was seen: then the one that is held is as good as any.
 */
static int hmm_fault_keep(struct hmm_fault *fault)
{
	struct folio *folio;

	/* Under the lock the page is what it was, and its struct page is there. */
	scoped_guard(rwsem_read, &fault->mirror->lock) {
		if (hmm_range_retry(&fault->range))
			return -EAGAIN;
		folio = page_folio(hmm_pfn_to_page(*fault->range.hmm_pfns));
		if (!folio_try_get(folio))
			return -EAGAIN;
	}
	hmm_fault_let_go(fault);
	fault->held = folio;
	return -EAGAIN;
}

/**
 * struct hmm_fault_alone - what is prepared for a page while others are kept out
 * @stage: for hmm_pt_publish()
 * @entry: what it is for; 0: for nothing
 * @word: the same, as hmm_pt_prepare() has left it
 */
struct hmm_fault_alone {
	struct hmm_pt_stage stage;
	unsigned long entry;
	unsigned long word;
};

static void hmm_fault_unprepare(struct hmm_fault *fault, struct hmm_fault_alone *alone)
{
	if (alone->entry)
		hmm_pt_unstage(&fault->mirror->pt, &alone->stage);
	alone->entry = 0;
}

/* This allocates memory, for which a folio that is locked might have to be waited. */
static int hmm_fault_prepare(struct hmm_fault *fault, struct hmm_fault_alone *alone)
{
	hmm_fault_unprepare(fault, alone);
	alone->entry = *fault->words;
	alone->word = alone->entry;
	hmm_pt_stage(&alone->stage, fault->start, fault->end, &alone->word, fault->maps);
	return hmm_pt_prepare(&fault->mirror->pt, &alone->stage) ?: -EAGAIN;
}

/* The last look, and if all is prepared the commit: then the number of pages, or an errno */
static long hmm_fault_finish(struct hmm_fault *fault, struct hmm_fault_alone *alone,
			     const struct folio *folio, bool *is_alone)
{
	long ret = hmm_fault_look(fault);

	*is_alone = !ret && hmm_fault_entry(fault) && hmm_fault_is_alone(fault, folio);
	if (!*is_alone || !alone->entry || *fault->words != alone->entry)
		return ret;
	ret = hmm_fault_commit_stage(fault, &alone->stage) ?: 1;
	if (ret == -EAGAIN)
		hmm_fault_unprepare(fault, alone);
	return ret;
}

/*
 * One step with mmap_lock held for writing: take the CPU fault, prepare what it takes to
 * publish the page, or do that. It is done with the folio locked since before the last
 * look, so that nobody comes by the reverse mapping. For hugetlb the look takes a lock
 * that belongs before that of the folio: who has it and waits for a folio holds mmap_lock,
 * or that of the VMA, and is kept out as well.
 */
static long hmm_fault_try_alone(struct hmm_fault *fault, struct hmm_fault_alone *alone)
{
	struct folio *folio = fault->held;
	bool is_alone;
	long ret;

	if (folio && folio_lock_killable(folio))
		return -EINTR;
	ret = hmm_fault_finish(fault, alone, folio, &is_alone);
	if (folio)
		folio_unlock(folio);
	if (ret)
		return ret;
	if (!hmm_fault_entry(fault))
		return fault->flags & HMM_FAULT_PRESENT ? 0 : hmm_fault_bring(fault);
	if (fault->flags & HMM_FAULT_EXCLUSIVE)
		return hmm_fault_take(fault, fault->end);
	return is_alone ? hmm_fault_prepare(fault, alone) : hmm_fault_keep(fault);
}

/* With mmap_lock held for writing */
static long hmm_fault_progress_locked(struct hmm_fault *fault)
{
	struct vm_area_struct *vma = vma_lookup(fault->mirror->mm, fault->start);
	struct hmm_fault_alone alone = {};
	unsigned int tries;
	long ret = -EAGAIN;

	if (!vma)
		return fault->flags & HMM_FAULT_PRESENT ? 0 : -EFAULT;
	vma_start_write(vma);
	fault->read_only = fault->flags & HMM_FAULT_MAY_WRITE && !(vma->vm_flags & VM_WRITE);
	fault->alone = true;
	for (tries = 0; ret == -EAGAIN && tries < HMM_FAULT_ALONE_MAX; tries++) {
		ret = hmm_fault_try_alone(fault, &alone);
		if (ret == -EAGAIN)
			hmm_fault_count_collision(fault);
		if (fault->vain || fault->collisions < HMM_FAULT_COLLISIONS_MAX)
			break;
	}
	fault->alone = false;
	fault->read_only = false;
	hmm_fault_unprepare(fault, &alone);
	return ret;
}

/* The page at the beginning alone, while others are kept out. -EAGAIN: once more. */
static long hmm_fault_progress(struct hmm_fault *fault)
{
	struct mm_struct *mm = fault->mirror->mm;
	struct hmm_range *range = &fault->range;
	long ret;

	fault->size = PAGE_SIZE;
	fault->small_end = fault->start + PAGE_SIZE;
	fault->end = fault->small_end;
	fault->path = HMM_COUNT_PROGRESS;
	fault->vain = 0;
	hmm_fault_hold(fault);
	range->start = fault->start;
	range->end = fault->end;
	ret = hmm_fault_make_room(fault);
	if (!ret)
		ret = hmm_range_begin_alive(range);
	fault->empty = ret == -EFAULT;
	if (ret)
		return ret;
	if (mmap_write_lock_killable(mm)) {
		ret = -EINTR;
	} else {
		ret = hmm_fault_progress_locked(fault);
		mmap_write_unlock(mm);
	}
	hmm_range_end_alive(range);
	return fault->vain ? hmm_fault_fruitless(fault, fault->vain) : ret;
}

/* Must the fault end, whatever it has served? */
static bool hmm_fault_is_stopped(const struct hmm_fault *fault)
{
	return READ_ONCE(fault->call.error) || hmm_mm_is_killed(fault->mirror->mm);
}

/* The piece, until it has succeeded or failed for good */
static long hmm_fault_piece(struct hmm_fault *fault)
{
	long ret;

	fault->collisions = 0;
	fault->fruitless = 0;
	do {
		if (hmm_fault_is_stopped(fault))
			ret = -EINTR;
		else if (fault->collisions < HMM_FAULT_COLLISIONS_MAX)
			ret = hmm_fault_round(fault);
		else
			ret = hmm_fault_progress(fault);
	} while (ret == -EAGAIN);
	hmm_fault_let_go(fault);
	if (ret > 0)
		hmm_mirror_count(fault->mirror, fault->path, 1);
	/* After many collisions, little by little */
	if (!fault->collisions)
		fault->size = min(2 * fault->size, HMM_FAULT_PIECE);
	return ret;
}

/*
 * Has the device all that is asked for of the piece? Then it stays as it is, also its DMA
 * addresses. If not all of it is served, so that pages can become a larger block.
 */
static bool hmm_fault_suffices(const struct hmm_fault *fault)
{
	unsigned long addr = fault->start;
	struct hmm_pt_iter iter;

	guard(rwsem_read)(&fault->mirror->lock);
	if (fault->mirror->dead)
		return false;
	hmm_pt_for_each(&iter, fault->mirror, fault->start, fault->end) {
		if (iter.addr != addr || !hmm_pte_serves(iter.pte, fault->flags))
			break;
		addr = iter.end;
	}
	return addr == fault->end;
}

/* Which is the next piece, from @start on? */
static void hmm_fault_cut(struct hmm_fault *fault, unsigned long start)
{
	unsigned long size = fault->flags & HMM_FAULT_EXCLUSIVE ? HMM_FAULT_EXCLUSIVE_PIECE :
								   HMM_FAULT_PIECE;

	fault->start = start;
	fault->small_end = min3(fault->limit, start + fault->size,
				ALIGN_DOWN(start, size) + size);
	fault->end = fault->small_end;
}

static long hmm_fault_pieces(struct hmm_fault *fault, unsigned long start)
{
	long pages = 0, ret = 0;

	for (; start < fault->limit; start = fault->end) {
		hmm_fault_cut(fault, start);
		if (hmm_fault_suffices(fault)) {
			pages += (fault->end - start) >> PAGE_SHIFT;
			continue;
		}
		ret = hmm_fault_piece(fault);
		if (fault->empty && fault->flags & HMM_FAULT_PRESENT) {
			fault->end = min(fault->limit, ALIGN_DOWN(start, HMM_WINDOW_SIZE) +
						       HMM_WINDOW_SIZE);
			continue;
		}
		if (ret < 0)
			break;
		pages += ret;
		/* Short, though nothing may be left out? There it failed. */
		if (!(fault->flags & HMM_FAULT_PRESENT) &&
		    ret < (fault->end - fault->start) >> PAGE_SHIFT)
			break;
		cond_resched();
	}
	if (pages)
		return pages;
	if (fault->flags & HMM_FAULT_PRESENT && (fault->empty || !ret))
		return 0;
	return ret < 0 ? ret : -EFAULT;
}

/* Begin the access of what is mirrored already; wait while an invalidation waits for others. */
static long hmm_fault_try_access(struct hmm_fault *fault)
{
	bool write = fault->flags & HMM_FAULT_WRITE;
	unsigned long start = fault->call.start;
	long ret;

	do {
		ret = hmm_access_try(fault->access, fault->mirror, start, fault->limit,
				     fault->flags);
		if (ret || hmm_access_is_allowed(fault->mirror, start, write))
			return ret;
		ret = hmm_access_wait_allowed(fault->mirror, start, write);
	} while (!ret && !hmm_fault_is_stopped(fault));
	return -EINTR;
}

/*
 * The access begins when its first page is committed, before that can go: one commit will do.
 * It is made again only if an invalidation of that page waits for other accesses then.
 */
static long hmm_fault_access(struct hmm_fault *fault)
{
	long ret;

	do {
		ret = hmm_fault_try_access(fault);
		if (ret)
			return ret;
		hmm_fault_cut(fault, fault->call.start);
		ret = hmm_fault_piece(fault);
	} while (ret > 0 && !fault->accessed);
	return ret < 0 ? ret : fault->accessed ?: -EFAULT;
}

bool hmm_fault_bad_flags(const struct hmm_mirror *mirror, unsigned int flags)
{
	const unsigned int access = HMM_FAULT_READ | HMM_FAULT_WRITE | HMM_FAULT_EXCLUSIVE |
				    HMM_FAULT_MAY_WRITE;

	/* The event of taking a page is told from others by its owner. */
	if (flags & HMM_FAULT_EXCLUSIVE &&
	    (flags & (HMM_FAULT_PRESENT | HMM_FAULT_MAY_WRITE) || !mirror->reg.owner))
		return true;
	/* It writes in any case, or not. */
	if (flags & HMM_FAULT_MAY_WRITE && flags & HMM_FAULT_WRITE)
		return true;
	return !(flags & access) || flags & ~(access | HMM_FAULT_PRESENT);
}

/* With references on mm_users and on the users of the mirror */
static long hmm_fault_run(struct hmm_fault *fault)
{
	struct mm_struct *mm = fault->mirror->mm, *old_mm = set_remote_mm(mm);
	struct mem_cgroup *old = hmm_charge_begin(mm);
	long ret;

	fault->size = fault->flags & HMM_FAULT_EXCLUSIVE ? HMM_FAULT_EXCLUSIVE_PIECE :
							    HMM_FAULT_PIECE;
	ret = fault->access ? hmm_fault_access(fault) :
			      hmm_fault_pieces(fault, fault->call.start);
	hmm_charge_end(old);
	set_remote_mm(old_mm);
	hmm_fault_free(fault);
	/* There may be memory, but not for a mm that is dying. */
	return ret == -ENOMEM && mm_is_dying(mm) ? -EINTR : ret;
}

/* With a reference on the users of the mirror */
static long hmm_fault_call(struct hmm_fault *fault)
{
	struct hmm_mirror *mirror = fault->mirror;
	long ret;
	int error;

	if (!mmget_not_zero(mirror->mm))
		return -ESRCH;
	ret = hmm_call_begin(mirror, &fault->call);
	if (!ret) {
		ret = hmm_fault_run(fault);
		error = hmm_call_end(mirror, &fault->call);
		if (error && fault->access && ret > 0)
			hmm_access_end(fault->access);
		ret = error ?: ret;
	}
	/* The mm may die here: that must not cancel a fault which is done. */
	mmput_async(mirror->mm);
	return ret;
}

static long hmm_fault_serve(struct hmm_mirror *mirror, unsigned long start, unsigned long end,
			    unsigned int flags, struct hmm_job *job, struct hmm_access *access)
{
	struct hmm_fault_arrays small;
	struct hmm_fault fault = {
		.mirror = mirror,
		.small = &small,
		.call = {
			.start = start,
			.end = end,
			.job = job,
			.may_write = flags & HMM_FAULT_MAY_WRITE,
		},
		.flags = flags,
		.limit = end,
		.access = access,
		.range = {
			.mirror = mirror,
			.call = &fault.call,
			.pfn_flags_mask = flags & HMM_FAULT_PRESENT ? 0 :
					  HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE,
		},
	};
	long ret = -EINVAL;

	if (!hmm_mirror_get(mirror))
		return -ESRCH;
	if (hmm_fault_bad_flags(mirror, flags) || mirror->reg.own_tables ||
	    hmm_mirror_bad_range(mirror, start, end))
		goto put;
	if (flags & (HMM_FAULT_EXCLUSIVE | HMM_FAULT_MAY_WRITE))
		fault.flags |= HMM_FAULT_WRITE;
	fault.range.dev_private_owner = mirror->reg.owner;
	ret = hmm_fault_call(&fault);
	/* What was mirrored already is no fault, but an access. */
	if (access && ret > 0 && !fault.accessed)
		goto put;
	trace_hmm_fault(mirror, start, end, flags, ret);
	hmm_mirror_count(mirror, HMM_COUNT_FAULTS, 1);
	if (ret > 0)
		hmm_mirror_count(mirror, HMM_COUNT_PAGES, ret);
put:
	hmm_mirror_put(mirror);
	return ret;
}

/**
 * hmm_mirror_fault_job() - serve a device fault, or prefetch
 * @mirror: mirror without %HMM_MIRROR_OWN_TABLES
 * @start: first address, page aligned
 * @end: first address behind the range, page aligned
 * @flags: %HMM_FAULT_READ, %HMM_FAULT_WRITE or both; or %HMM_FAULT_MAY_WRITE, for a device
 *	that writes where it can; and %HMM_FAULT_PRESENT if only those pages matter that are
 *	mapped on the CPU already. With that, pages which the CPU maps read-only are mirrored
 *	so also if the device is to write. Or %HMM_FAULT_EXCLUSIVE, which the first two add
 *	nothing to
 * @job: what faults, for hmm_mirror_cancel_job() and for the callbacks of the fault, see
 *	&hmm_update.job; or NULL. It must exist until this returns
 *
 * Faults the pages in, mirrors them, and has the driver write its page table, see
 * %HMM_UPDATE_DEVICE_RFAULT. That is called a number of times for a large range. Pages
 * are mirrored in blocks that can reach beyond the range, if they did before. The driver is
 * not called for a piece of which all is mirrored already as it is to be: for writing, with
 * %HMM_FAULT_MAY_WRITE and with %HMM_FAULT_PRESENT, too. Pages that are
 * keep their DMA addresses in any case, unless they become part of a larger block.
 *
 * If the DMA address of a page changes, the fault waits for accesses that use the old one, see
 * hmm_access_begin().
 *
 * While userfaultfd is waited for, and I/O, no lock is held. Faults of what is in memory
 * end beside others who invalidate the range by system calls, CPU faults and the reverse
 * mapping, however often they do; beside truncation, when that leaves a gap.
 *
 * With %HMM_FAULT_EXCLUSIVE the CPU loses the pages, and what else is mirrored of them
 * goes from other mirrors. The entries are hmm_pte_exclusive(), and each is of one page:
 * large folios are split. When the CPU touches a page, on behalf of another device or in
 * the kernel, too, it is taken back by %HMM_UPDATE_MIGRATE; by fork() and by mprotect()
 * that leaves it readable, the entry becomes an ordinary one. Faults of any kind leave a
 * page as it is that the device has for itself already. Memory of the device itself that
 * the CPU cannot address stays where it is.
 *
 * Context: Process context, of any task, with no lock held. Sleeps.
 * Return: How many pages are mirrored, counted from @start; with %HMM_FAULT_PRESENT, of
 * the whole range, which may be none. Otherwise less than all means that the next page
 * fails. If there are none:
 *
 * * %-EINVAL: flags that do not exist or make no sense (%HMM_FAULT_EXCLUSIVE does not with
 *   %HMM_FAULT_PRESENT or %HMM_FAULT_MAY_WRITE, nor without &hmm_mirror.dev_private_owner;
 *   %HMM_FAULT_MAY_WRITE does not with %HMM_FAULT_WRITE), a range that is empty,
 *   not page aligned, or not of user space, or a mirror whose driver has its own page
 *   tables
 * * %-EFAULT: nothing is mapped at @start, or it may not be read, or is special,
 *   poisoned, behind the end of its file, or memory whose driver is going away
 * * %-EPERM: @start is mapped read-only, and was to be written (%HMM_FAULT_WRITE)
 * * %-ESRCH: the mm is gone, or the mirror is being unregistered, or has been; also if
 *   some pages were mirrored
 * * %-ECANCELED: the job was cancelled, or the range while the fault was under way; also
 *   if some pages were mirrored
 * * %-EINTR: the task has a fatal signal pending, or one of any kind while userfaultfd is
 *   waited for; or the process that the mm belongs to is being killed
 * * %-ENOMEM: no memory for the page, or for the page tables
 * * %-ENOSPC: no DMA address is left for the page: an IOMMU translates, and its addresses
 *   are all in use. hmm_mirror_zap() gives some back
 * * %-EOPNOTSUPP: the page is where &hmm_mirror.dma_dev reaches only a copy of it; or it
 *   was to be exclusive, and is not of private anonymous memory, or is of hugetlb, or the
 *   kernel has no CONFIG_DEVICE_PRIVATE
 * * %-EBUSY: the page was to be exclusive, and somebody else had it locked, or had a
 *   reference so that its large folio could not be split, when tried again for a while, too
 * * what &hmm_mirror_ops.sync_cpu_device_pagetables returned; %-EIO if that was positive, or
 *   -EAGAIN
 */
long hmm_mirror_fault_job(struct hmm_mirror *mirror, unsigned long start, unsigned long end,
			  unsigned int flags, struct hmm_job *job)
{
	return hmm_fault_serve(mirror, start, end, flags, job, NULL);
}
EXPORT_SYMBOL_GPL(hmm_mirror_fault_job);

/**
 * hmm_access_begin() - serve a device fault, and keep the pages until the access has ended
 * @access: to be filled in; it exists until hmm_access_end()
 * @mirror: mirror without %HMM_MIRROR_OWN_TABLES
 * @start: first address, page aligned
 * @end: end address, exclusive, page aligned
 * @flags: %HMM_FAULT_READ, %HMM_FAULT_WRITE or both, or %HMM_FAULT_EXCLUSIVE
 * @job: as for hmm_mirror_fault_job(), or NULL
 *
 * Mirrors the pages that are not mirrored so yet, as hmm_mirror_fault_job() does. Until
 * hmm_access_end() nothing takes away from the device what the access is of: invalidations,
 * hmm_mirror_zap() and the end of the mirror wait, or are refused if they must not block.
 * The driver is called for them after that. What the access only reads can be
 * write-protected meanwhile. Its pages stay mirrored at their DMA addresses, which
 * hmm_pt_for_each() tells. Pages of an access that writes are marked dirty. A reference keeps
 * the driver of another device, whose memory the pages are of, from going away.
 *
 * So a driver needs no device page table and no callback to run transfers in the address
 * space of a process, and a software device makes progress by each call.
 *
 * The access can have fewer pages than requested: at least one, and at most those that are
 * mirrored already and 2 MiB more, or one mapping if that is larger.
 *
 * The device alone must determine when an access ends, and soon: munmap(), reclaim and the
 * exit of the process wait for it, are not interruptible, and the driver is not notified that
 * they wait. So an access is for a transfer that runs, not for a buffer that is posted until a
 * remote side sends something. If the device does not answer, the driver resets it and ends
 * the access. It must not rely on the file being closed, on &hmm_mirror_ops.release or on
 * hmm_mirror_unregister() for that: all of these come after the end of the accesses.
 *
 * The end must not depend on mmap_lock, access to user memory, the lock of a folio, of a file
 * or of its mapping, or I/O to that file; on memory, except by %GFP_NOWAIT and %GFP_ATOMIC, or
 * on a lock under which memory is allocated; on a work item of a queue without
 * %WQ_MEM_RECLAIM, or of one in which accesses begin; nor on a fault, hmm_access_begin(),
 * hmm_mirror_zap(), hmm_mirror_register() or hmm_mirror_unregister() of any mirror. If the
 * interrupt handler of the device ends an access by itself, other accesses may begin meanwhile.
 * For several ranges at the same time see hmm_access_try(). &hmm_mirror.lock may be taken: no
 * callback of the driver may wait for an access.
 *
 * Context: Process context, of any task, with no lock held. Sleeps.
 * Return: The number of pages of the access, from @start on. Or, without an access, the error
 * of hmm_mirror_fault_job(); -EINVAL with %HMM_FAULT_PRESENT and with
 * %HMM_FAULT_MAY_WRITE.
 */
long hmm_access_begin(struct hmm_access *access, struct hmm_mirror *mirror,
		      unsigned long start, unsigned long end, unsigned int flags,
		      struct hmm_job *job)
{
	if (flags & (HMM_FAULT_PRESENT | HMM_FAULT_MAY_WRITE))
		return -EINVAL;
	return hmm_fault_serve(mirror, start, end, flags, job, access);
}
EXPORT_SYMBOL_GPL(hmm_access_begin);
