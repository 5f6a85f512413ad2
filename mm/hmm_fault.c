// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * HMM device faults: from the CPU page table to the mirror page table and to the driver.
 * mm/hmm_mirror.c has the protocol of ranges and collisions.
 *
 * hmm_mirror_fault() serves its range in chunks. One attempt to serve a chunk is:
 *
 *	begin a range			hmm_fault_begin()
 *	walk it, with CPU faults	mm/hmm.c: each VMA under its lock, or under mmap_lock
 *	make pages exclusive		mm/hmm_exclusive.c, if requested
 *	commit				mm/hmm_commit.c: publish the entries, notify the driver
 *	end the range
 *
 * An invalidation of the range at any time before the commit is a collision. Then the attempt
 * is repeated. After %HMM_FAULT_COLLISIONS_MAX of them the first page of the chunk is served
 * alone, serialized with the invalidating threads (mm/hmm_fault_slow.c):
 *
 *	       stale, resized, busy,
 *	       fewer than 8 collisions
 *	         +-------+
 *	         |       v
 *	        HMM_CHUNK_FAST ---------------------------> chunk done, or error
 *	         |       ^                                    ^
 *	         | 8th   | wait: a CPU fault of the page      |
 *	         | coll- | can start I/O                      |
 *	         | ision |                                    |
 *	         v       |                                    |
 *	        HMM_CHUNK_SLOW -------------------------------+
 *	         |       ^
 *	         +-------+
 *	       step, stale, busy,
 *	       collision
 *
 * hmm_fault_retry() alone decides that an attempt is repeated: it counts and traces the
 * collision, changes the state, stores the reason, and returns -EAGAIN. After
 * %HMM_RETRY_BUSY, hmm_fault_chunk() sleeps for a jiffy with no lock held.
 */
#include <linux/hmm_mirror.h>
#include <linux/pagemap.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include <trace/events/hmm.h>

#include "hmm_fault.h"

/* Size of a chunk, unless one mapping is larger */
#define HMM_FAULT_CHUNK		PMD_SIZE

/* The same for pages to make exclusive */
#define HMM_FAULT_EXCLUSIVE_CHUNK (HMM_EXCLUSIVE_MAX * PAGE_SIZE)

/* Attempts in a row, a jiffy apart, to get a page that another thread holds */
#define HMM_FAULT_BUSY_MAX	100

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
	bool dma = fault->mirror->pt.dma_dev;

	if (pages <= fault->room)
		return 0;
	hmm_fault_free(fault);
	if (pages <= HMM_FAULT_SMALL) {
		fault->range.hmm_pfns = fault->small->pfns;
		fault->words = fault->small->words;
		fault->maps = dma ? fault->small->maps : NULL;
		fault->room = HMM_FAULT_SMALL;
		return 0;
	}
	fault->range.hmm_pfns = kvmalloc_array(pages, sizeof(long), GFP_KERNEL);
	fault->words = kvmalloc_array(pages, sizeof(long), GFP_KERNEL);
	if (dma)
		fault->maps = kvmalloc_array(pages, sizeof(dma_addr_t), GFP_KERNEL);
	if (!fault->range.hmm_pfns || !fault->words || (dma && !fault->maps))
		return -ENOMEM;
	fault->room = pages;
	return 0;
}

/**
 * hmm_fault_retry() - decide whether to repeat an attempt
 * @fault: fault, with its range begun
 * @why: why the attempt has not succeeded
 * @error: errno of the fault if %HMM_RETRY_BUSY lasts too long
 *
 * Context: Any.
 * Return: -EAGAIN, and the state of the chunk for the next attempt; or @error.
 */
int hmm_fault_retry(struct hmm_fault *fault, enum hmm_retry why, int error)
{
	bool collided = READ_ONCE(fault->range.collided);

	if (collided) {
		hmm_mirror_count(fault->mirror, HMM_COUNT_COLLISIONS, 1);
		trace_hmm_collision(&fault->range);
		fault->collisions++;
		/* Other threads make progress, so the page does not stay busy. */
		fault->busy = 0;
	}
	if (why == HMM_RETRY_WAIT) {
		fault->state = HMM_CHUNK_FAST;
		/* The next collision leads back to the slow path. */
		fault->collisions = HMM_FAULT_COLLISIONS_MAX - 1;
	} else if (collided) {
		why = HMM_RETRY_COLLISION;
		if (fault->collisions >= HMM_FAULT_COLLISIONS_MAX)
			fault->state = HMM_CHUNK_SLOW;
	} else if (why == HMM_RETRY_BUSY && ++fault->busy == HMM_FAULT_BUSY_MAX) {
		return error;
	}
	fault->retry = why;
	return -EAGAIN;
}

/**
 * hmm_fault_request() - request the pages of the range
 * @fault: fault
 *
 * The pages before and after the chunk are in the range because their block goes as a whole:
 * they are requested for reading. A page that is exclusive is not requested, because a CPU
 * fault would end that. HMM_PFN_ERROR in the input has no meaning for the walk, and marks the
 * pages that the walk has not reached.
 *
 * Context: Any.
 */
void hmm_fault_request(struct hmm_fault *fault)
{
	unsigned long first = hmm_fault_index(fault, fault->start);
	unsigned long stop = hmm_fault_index(fault, fault->end);
	unsigned long *request = fault->range.hmm_pfns;
	unsigned long word = HMM_PFN_ERROR | HMM_PFN_REQ_FAULT;

	memset_l(request, word, first);
	memset_l(request + stop, word, hmm_fault_index(fault, fault->range.end) - stop);
	if (fault->flags & HMM_FAULT_WRITE)
		word |= HMM_PFN_REQ_WRITE;
	memset_l(request + first, word, stop - first);
	if (!fault->exclusive)
		return;
	for (first = 0; first < hmm_fault_index(fault, fault->range.end); first++) {
		if (fault->words[first] & HMM_PTE_EXCLUSIVE)
			request[first] = HMM_PFN_ERROR;
	}
}

/**
 * hmm_fault_remember() - remember what of the range is writable or exclusive
 * @fault: fault
 *
 * The commit keeps both.
 *
 * Context: Under mirror->lock, held for reading or writing.
 */
void hmm_fault_remember(struct hmm_fault *fault)
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
 * The walk has skipped exclusive pages. Their entries of the mirror page table are right, or
 * the range has collided.
 */
static void hmm_fault_keep_exclusive(struct hmm_fault *fault)
{
	unsigned long i, *pfns = fault->range.hmm_pfns, *words = fault->words;

	for (i = 0; i < hmm_fault_index(fault, fault->range.end); i++) {
		if (words[i] & HMM_PTE_EXCLUSIVE && !(pfns[i] & HMM_PFN_ERROR))
			pfns[i] = words[i];
	}
}

/*
 * Begin a range of the chunk. In the fast path it includes the rest of the blocks that the
 * chunk cuts.
 */
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
			ret = __hmm_range_begin(range);
		if (ret || fault->state == HMM_CHUNK_SLOW)
			return ret;

		/* A block that is gone by now must not make the range larger than the chunk. */
		start = fault->start;
		end = fault->end;
		down_read(&mirror->lock);
		hmm_pt_widen(&mirror->pt, &start, &end);
		fits = start == range->start && end == range->end;
		if (fits)
			hmm_fault_remember(fault);
		up_read(&mirror->lock);
		if (!fits)
			__hmm_range_end(range);
	} while (!fits);
	return 0;
}

static int hmm_fault_walk(struct hmm_fault *fault)
{
	int ret;

	hmm_fault_request(fault);
	ret = hmm_walk_entries(&fault->range, &fault->lock);
	if (fault->exclusive)
		hmm_fault_keep_exclusive(fault);
	/* Another thread holds the page or its lock, so that CPU faults do not help. */
	return ret == -EBUSY ? hmm_fault_retry(fault, HMM_RETRY_BUSY, -EFAULT) : ret;
}

/* Is a page that the device can only read of no use? */
static bool hmm_fault_must_write(const struct hmm_fault *fault)
{
	return fault->flags & HMM_FAULT_WRITE && !(fault->flags & HMM_FAULT_MAY_WRITE);
}

/*
 * Return the index of the first page, from @index up to @stop, that the walk has not found as
 * requested. A page of the device's own memory that the CPU maps read-only can be valid without
 * HMM_PFN_WRITE, if the driver has declined to migrate it.
 */
static unsigned long hmm_fault_first_missing(const struct hmm_fault *fault, unsigned long index,
					     unsigned long stop, unsigned long write)
{
	const unsigned long *pfns = fault->range.hmm_pfns;

	while (index < stop && (pfns[index] & (HMM_PFN_ERROR | write)) == write)
		index++;
	return index;
}

/* The end of the pages that the walk has found as requested */
static unsigned long hmm_fault_walked(const struct hmm_fault *fault)
{
	unsigned long first = hmm_fault_index(fault, fault->start);
	unsigned long stop = hmm_fault_index(fault, fault->end);
	unsigned long index;

	if (fault->flags & HMM_FAULT_PRESENT)
		return fault->range.end;
	index = hmm_fault_first_missing(fault, 0, first, 0);
	if (index == first)
		index = hmm_fault_first_missing(fault, first, stop, hmm_fault_must_write(fault) ?
						HMM_PFN_WRITE : 0);
	if (index == stop)
		index = hmm_fault_first_missing(fault, stop,
						hmm_fault_index(fault, fault->range.end), 0);
	return fault->range.start + (index << PAGE_SHIFT);
}

/*
 * If the chunk begins with a larger mapping, and the whole mapping is requested, it becomes the
 * chunk. Return whether the size of the chunk changes.
 */
static bool hmm_fault_resize(struct hmm_fault *fault)
{
	unsigned long pfn = fault->range.hmm_pfns[hmm_fault_index(fault, fault->start)];
	unsigned long size, old = fault->end;

	if (!(pfn & HMM_PFN_VALID))
		return false;
	size = PAGE_SIZE << hmm_pfn_to_map_order(pfn);
	if (IS_ALIGNED(fault->start, size) && size <= fault->limit - fault->start)
		fault->end = max(fault->min_end, fault->start + size);
	else
		fault->end = fault->min_end;
	return fault->end != old;
}

/**
 * hmm_fault_make_exclusive() - make pages exclusive and commit them
 * @fault: fault
 * @end: end of the pages that the walk has found, exclusive
 *
 * The chunk ends before the first page that cannot be made exclusive, or not yet: the next
 * chunk begins with that page.
 *
 * Context: Process context; mmap_lock is held for writing in the slow path, and no lock
 * otherwise. Sleeps.
 * Return: As hmm_commit_runs().
 */
long hmm_fault_make_exclusive(struct hmm_fault *fault, unsigned long end)
{
	struct hmm_exclusive excl;
	long pages;
	int ret;

	/* A large folio with another reference cannot be split. */
	hmm_fault_put_folio(fault);
	fault->end = min(fault->end, end);
	ret = hmm_exclusive_make(&excl, &fault->range, fault->start, &fault->end,
				 fault->state == HMM_CHUNK_SLOW);
	if (ret == -EBUSY || (ret && READ_ONCE(fault->range.collided)))
		return hmm_fault_retry(fault, HMM_RETRY_BUSY, ret);
	if (ret)
		return ret == -EAGAIN ? hmm_fault_retry(fault, HMM_RETRY_STALE, 0) : ret;
	pages = hmm_commit_runs(fault, fault->end);
	hmm_exclusive_release(&excl);
	if (pages != -EAGAIN)
		return pages;
	/* A smaller chunk collides with less. */
	fault->end = fault->start +
		     max(PAGE_SIZE, PAGE_ALIGN_DOWN((fault->end - fault->start) / 2));
	return hmm_fault_retry(fault, HMM_RETRY_STALE, 0);
}

/* One attempt of the fast path, with the range begun */
static long hmm_fault_fast(struct hmm_fault *fault)
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
		/* A page before the chunk must not make it fail: its block goes. */
		down_write(&fault->mirror->lock);
		hmm_commit_revoke(fault, fault->range.start, fault->range.end);
		up_write(&fault->mirror->lock);
		return hmm_fault_retry(fault, HMM_RETRY_STALE, 0);
	}
	if (fault->flags & HMM_FAULT_EXCLUSIVE && end > fault->start)
		return hmm_fault_make_exclusive(fault, end);
	if (end > fault->start && hmm_fault_resize(fault))
		return hmm_fault_retry(fault, HMM_RETRY_RESIZED, 0);
	pages = hmm_commit_runs(fault, end);
	if (pages == -EAGAIN)
		return hmm_fault_retry(fault, HMM_RETRY_STALE, 0);
	return pages ?: ret;
}

/* Must the fault end, whatever it has served? */
static bool hmm_fault_is_stopped(const struct hmm_fault *fault)
{
	return READ_ONCE(fault->call.error) || hmm_mm_is_killed(fault->mirror->mm);
}

/* One attempt, see the diagram in the opening comment */
static long hmm_fault_attempt(struct hmm_fault *fault)
{
	bool slow = fault->state == HMM_CHUNK_SLOW;
	long ret;

	if (hmm_fault_is_stopped(fault))
		return -EINTR;
	if (slow) {
		/* One page, so that it does not hold mmap_lock for long */
		fault->size = PAGE_SIZE;
		fault->min_end = fault->start + PAGE_SIZE;
		fault->end = fault->min_end;
		hmm_fault_get_folio(fault);
	}
	ret = hmm_fault_begin(fault);
	fault->empty = ret == -EFAULT;
	if (ret)
		return ret;
	ret = slow ? hmm_fault_slow(fault) : hmm_fault_fast(fault);
	__hmm_range_end(&fault->range);
	return ret;
}

static enum hmm_mirror_count hmm_fault_counter(const struct hmm_fault *fault)
{
	if (fault->state == HMM_CHUNK_SLOW)
		return HMM_COUNT_SLOW_PATH;
	return fault->lock == HMM_WALK_VMA_LOCK ? HMM_COUNT_VMA_LOCK : HMM_COUNT_MMAP_LOCK;
}

/*
 * Serve the chunk. Return the number of its pages that are mirrored, from the first on, or an
 * errno.
 */
static long hmm_fault_chunk(struct hmm_fault *fault)
{
	long ret;

	fault->state = HMM_CHUNK_FAST;
	fault->collisions = 0;
	fault->busy = 0;
	for (;;) {
		ret = hmm_fault_attempt(fault);
		if (ret != -EAGAIN)
			break;
		if (fault->retry == HMM_RETRY_BUSY)
			schedule_timeout_killable(1);
	}
	hmm_fault_put_folio(fault);
	if (ret > 0)
		hmm_mirror_count(fault->mirror, hmm_fault_counter(fault), 1);
	/* After many collisions chunks grow slowly. */
	if (!fault->collisions)
		fault->size = min(2 * fault->size, HMM_FAULT_CHUNK);
	return ret;
}

/*
 * Does the mirror page table already have all that is requested of the chunk? Then nothing
 * changes, not even a DMA address. Otherwise the whole chunk is served, so that its pages can
 * become a larger block.
 */
static bool hmm_fault_is_served(const struct hmm_fault *fault)
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

/* Cut the next chunk from @start on. */
static void hmm_fault_cut(struct hmm_fault *fault, unsigned long start)
{
	unsigned long size = fault->flags & HMM_FAULT_EXCLUSIVE ? HMM_FAULT_EXCLUSIVE_CHUNK :
								  HMM_FAULT_CHUNK;

	fault->start = start;
	fault->min_end = min3(fault->limit, start + fault->size,
			      ALIGN_DOWN(start, size) + size);
	fault->end = fault->min_end;
}

static long hmm_fault_chunks(struct hmm_fault *fault)
{
	bool present = fault->flags & HMM_FAULT_PRESENT;
	unsigned long start = fault->call.start;
	long pages = 0, ret = 0;

	for (; start < fault->limit; start = fault->end) {
		hmm_fault_cut(fault, start);
		if (hmm_fault_is_served(fault)) {
			pages += (fault->end - start) >> PAGE_SHIFT;
			continue;
		}
		ret = hmm_fault_chunk(fault);
		if (fault->empty && present) {
			ret = 0;
			fault->end = min(fault->limit, ALIGN_DOWN(start, HMM_WINDOW_SIZE) +
						       HMM_WINDOW_SIZE);
			continue;
		}
		if (ret < 0)
			break;
		pages += ret;
		/* Without HMM_FAULT_PRESENT the page after the last one has failed. */
		if (!present && ret < (fault->end - fault->start) >> PAGE_SHIFT)
			break;
		cond_resched();
	}
	if (pages || (present && !ret))
		return pages;
	return ret < 0 ? ret : -EFAULT;
}

/* Begin an access of what is mirrored already. Wait while an invalidation waits for accesses. */
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
 * The commit of the first page begins the access, before an invalidation can revoke that page.
 * One commit is enough, unless an invalidation of the page waits for other accesses then.
 */
static long hmm_fault_access(struct hmm_fault *fault)
{
	long ret;

	do {
		ret = hmm_fault_try_access(fault);
		if (ret)
			return ret;
		hmm_fault_cut(fault, fault->call.start);
		ret = hmm_fault_chunk(fault);
	} while (ret > 0 && !fault->accessed);
	return ret < 0 ? ret : fault->accessed ?: -EFAULT;
}

/* Serve the fault, with a reference on the mirror. */
static long hmm_fault_run(struct hmm_fault *fault)
{
	struct hmm_mirror *mirror = fault->mirror;
	struct mm_struct *mm = mirror->mm, *old_mm;
	struct mem_cgroup *old_memcg;
	long ret;
	int error;

	if (!mmget_not_zero(mm))
		return -ESRCH;
	ret = hmm_call_begin(mirror, &fault->call);
	if (ret)
		goto put;
	old_mm = set_remote_mm(mm);
	old_memcg = hmm_charge_begin(mm);
	ret = fault->access ? hmm_fault_access(fault) : hmm_fault_chunks(fault);
	hmm_charge_end(old_memcg);
	set_remote_mm(old_mm);
	hmm_fault_free(fault);
	/* An allocation for a dying mm fails although memory is free. */
	if (ret == -ENOMEM && mm_is_dying(mm))
		ret = -EINTR;
	error = hmm_call_end(mirror, &fault->call);
	if (error && fault->access && ret > 0)
		hmm_access_end(fault->access);
	ret = error ?: ret;
put:
	/* Asynchronous: the exit of the mm would cancel this fault, which is done. */
	mmput_async(mm);
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
		.size = flags & HMM_FAULT_EXCLUSIVE ? HMM_FAULT_EXCLUSIVE_CHUNK : HMM_FAULT_CHUNK,
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
	if (hmm_mirror_bad_flags(mirror, flags) || mirror->reg.own_tables ||
	    hmm_mirror_bad_range(mirror, start, end))
		goto put;
	if (flags & (HMM_FAULT_EXCLUSIVE | HMM_FAULT_MAY_WRITE))
		fault.flags |= HMM_FAULT_WRITE;
	fault.range.dev_private_owner = mirror->reg.owner;
	ret = hmm_fault_run(&fault);
	/* An access of what is mirrored already is not counted as a fault. */
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
