// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * HMM device faults: copy entries from the CPU page table to the mirror page table, and call
 * the driver. mm/hmm_mirror.c has the protocol of ranges and collisions.
 *
 * hmm_mirror_fault() serves its range in chunks. One attempt to serve a chunk is:
 *
 *	begin a range			hmm_fault_begin()
 *	walk it, with CPU faults	mm/hmm.c: under the lock of each VMA, or mmap_lock
 *	make pages exclusive		mm/hmm_exclusive.c, if requested
 *	commit				mm/hmm_commit.c: publish the entries, notify the driver
 *	end the range
 *
 * An invalidation of the range at any time before the commit is a collision. Then the attempt
 * is repeated. After HMM_FAULT_COLLISIONS_MAX collisions the slow path serves the first page
 * of the chunk, serialized with the invalidating threads (mm/hmm_fault_slow.c):
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
 * The arrows are labelled with the reasons to repeat an attempt, see enum hmm_retry. Only
 * hmm_fault_retry() decides whether an attempt is repeated: it counts and traces the
 * collision, changes the state, stores the reason, and returns -EAGAIN. After HMM_RETRY_BUSY,
 * hmm_fault_pause() sleeps for a jiffy with no lock held, before the range ends.
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

/* Size of a chunk for HMM_FAULT_EXCLUSIVE */
#define HMM_FAULT_EXCLUSIVE_CHUNK (HMM_EXCLUSIVE_MAX * PAGE_SIZE)

/* Consecutive attempts, a jiffy apart, to get a page that another thread holds */
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

/* Make the arrays large enough for the range. */
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
 * @why: why the attempt has failed
 * @error: errno to return if %HMM_RETRY_BUSY has occurred too often
 *
 * Context: Any.
 * Return: -EAGAIN, with @fault->state set for the next attempt; or @error.
 */
int hmm_fault_retry(struct hmm_fault *fault, enum hmm_retry why, int error)
{
	if (READ_ONCE(fault->range.collided)) {
		hmm_mirror_count(fault->mirror, HMM_COUNT_COLLISIONS, 1);
		trace_hmm_collision(&fault->range);
		why = HMM_RETRY_COLLISION;
		/* Other threads make progress, so the page does not stay busy. */
		fault->busy = 0;
		if (++fault->collisions >= HMM_FAULT_COLLISIONS_MAX)
			fault->state = HMM_CHUNK_SLOW;
	} else if (why == HMM_RETRY_WAIT) {
		fault->state = HMM_CHUNK_FAST;
		/* The next collision leads back to the slow path. */
		fault->collisions = HMM_FAULT_COLLISIONS_MAX - 1;
	} else if (why == HMM_RETRY_BUSY && ++fault->busy >= HMM_FAULT_BUSY_MAX) {
		return error;
	}
	fault->retry = why;
	return -EAGAIN;
}

/**
 * hmm_fault_request() - request the pages of the range
 * @fault: fault
 *
 * The range can include pages before and after the chunk, because a block is published as a
 * whole: these pages are requested for reading. An exclusive page is not requested, because a
 * CPU fault would end its exclusive access. The walk ignores %HMM_PFN_ERROR in its input: the
 * flag marks the pages that the walk has not reached.
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
 * hmm_fault_remember() - remember which pages of the range are writable or exclusive
 * @fault: fault
 *
 * The commit keeps these permissions.
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
 * The walk has skipped exclusive pages. Use their entries of the mirror page table: these are
 * valid, or the range has collided.
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
 * Begin a range for the chunk. In the fast path it is widened to whole blocks of the mirror
 * page table.
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

		/* Start from the chunk again: a removed block must not enlarge the range. */
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
	/* Another thread holds the page or its lock, so CPU faults make no progress. */
	return ret == -EBUSY ? hmm_fault_retry(fault, HMM_RETRY_BUSY, -EFAULT) : ret;
}

/* Must all pages be writable? */
static bool hmm_fault_must_write(const struct hmm_fault *fault)
{
	return fault->flags & HMM_FAULT_WRITE && !(fault->flags & HMM_FAULT_MAY_WRITE);
}

/*
 * Return the index of the first page from @index to @stop (exclusive) that the walk has not
 * found as requested. A page of the device's own memory that the CPU maps read-only can be
 * valid without HMM_PFN_WRITE, if the driver has declined to migrate it.
 */
static unsigned long hmm_fault_first_missing(const struct hmm_fault *fault, unsigned long index,
					     unsigned long stop, unsigned long write)
{
	const unsigned long *pfns = fault->range.hmm_pfns;

	while (index < stop && (pfns[index] & (HMM_PFN_ERROR | write)) == write)
		index++;
	return index;
}

/* Return the end (exclusive) of the pages that the walk has found as requested. */
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
 * If a larger mapping begins at the start of the chunk, and the request includes all of it,
 * the chunk becomes that mapping. Return whether the size of the chunk changes.
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
 * The chunk is cut before the first page that cannot be made exclusive now: the next chunk
 * begins with that page.
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
		/* A page before the chunk must not make it fail: revoke the block of both. */
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

/* Must the fault end now, with or without some pages mirrored? */
static bool hmm_fault_is_stopped(const struct hmm_fault *fault)
{
	return READ_ONCE(fault->call.error) || hmm_mm_is_killed(fault->mirror->mm);
}

/*
 * Another thread holds the page. Wait for a jiffy, with no lock held. The range stays begun, so
 * an invalidation in this time is a collision: the slow path may get the page.
 */
static void hmm_fault_pause(struct hmm_fault *fault)
{
	schedule_timeout_killable(1);
	if (READ_ONCE(fault->range.collided))
		hmm_fault_retry(fault, HMM_RETRY_BUSY, 0);
}

/* One attempt, see the diagram in the opening comment */
static long hmm_fault_attempt(struct hmm_fault *fault)
{
	bool slow = fault->state == HMM_CHUNK_SLOW;
	long ret;

	if (hmm_fault_is_stopped(fault))
		return -EINTR;
	if (slow) {
		/* Only one page, so that mmap_lock is not held for long. */
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
	if (ret == -EAGAIN && fault->retry == HMM_RETRY_BUSY)
		hmm_fault_pause(fault);
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
 * Serve the chunk. Return the number of its pages that are mirrored, counted from the first
 * one, or an errno.
 */
static long hmm_fault_chunk(struct hmm_fault *fault)
{
	long ret;

	fault->state = HMM_CHUNK_FAST;
	fault->collisions = 0;
	fault->busy = 0;
	fault->empty = false;
	do {
		ret = hmm_fault_attempt(fault);
	} while (ret == -EAGAIN);
	hmm_fault_put_folio(fault);
	if (ret > 0)
		hmm_mirror_count(fault->mirror, hmm_fault_counter(fault), 1);
	/* The slow path has reduced the size. It grows again while there are no collisions. */
	if (!fault->collisions)
		fault->size = min(2 * fault->size, HMM_FAULT_CHUNK);
	return ret;
}

/*
 * Are all pages of the chunk mirrored already as requested? Then nothing changes, including
 * DMA addresses. Otherwise the whole chunk is served, so that its pages can become a larger
 * block.
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

/* Set the next chunk, which begins at @start. */
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

/* Begin an access of pages that are mirrored already. Wait until an access is allowed. */
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
 * The commit is repeated only if the access was not allowed, see hmm_access_is_allowed().
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
	/* Asynchronous: exit_mmap() calls release(), which may wait for this fault. */
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
	/* An access of pages that are mirrored already is not counted as a fault. */
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
 * @end: end address, exclusive, page aligned
 * @flags: %HMM_FAULT_READ, %HMM_FAULT_WRITE or both, or %HMM_FAULT_MAY_WRITE; each with or
 *	without %HMM_FAULT_PRESENT. Or %HMM_FAULT_EXCLUSIVE, to which the first two add
 *	nothing. See &enum hmm_fault_flags
 * @job: job of the fault, for hmm_mirror_cancel_job() and for &hmm_update.job; or NULL. It
 *	must exist until this function returns
 *
 * Faults pages in, mirrors them, and calls the driver to write its page table, see
 * %HMM_UPDATE_DEVICE_RFAULT. The driver is called several times for a large range. Pages
 * outside of the range can be included if they were mirrored in one block with pages of the
 * range. With %HMM_FAULT_PRESENT no page is faulted in, and %HMM_FAULT_WRITE mirrors pages
 * that the CPU maps read-only as read-only.
 *
 * The driver is not called for a chunk if all of its pages are mirrored already as requested.
 * For %HMM_FAULT_WRITE and %HMM_FAULT_MAY_WRITE this means writable, even with
 * %HMM_FAULT_PRESENT. A page that is mirrored as requested keeps its DMA address in any case,
 * unless it becomes part of a larger block. If the DMA address of a page changes, the fault
 * waits for accesses that use the old address, see hmm_access_begin().
 *
 * The fault holds no lock while it waits for userfaultfd or I/O. A fault of pages that are in
 * memory makes progress however often other threads invalidate the range by system calls, CPU
 * faults or the reverse mapping. Concurrently with truncation, it ends as soon as an attempt
 * fits between two truncations.
 *
 * With %HMM_FAULT_EXCLUSIVE the pages become inaccessible to the CPU and to other mirrors. The
 * entries are hmm_pte_exclusive(), and each entry has order 0: large folios are split. When the
 * CPU accesses a page, including accesses by the kernel and on behalf of another device, the
 * driver is called with %HMM_UPDATE_MIGRATE first. fork(), and mprotect() that leaves the page
 * readable, turn the entry into an ordinary read-only entry. Later faults with other flags do
 * not change an exclusive page. Memory of the device itself that the CPU cannot address is not
 * changed, but mirrored as for %HMM_FAULT_WRITE.
 *
 * Context: Process context, in any task, with no lock held. Sleeps.
 * Return: The number of pages that are mirrored. Without %HMM_FAULT_PRESENT these are the first
 * pages of the range; if some are missing, the page after them has failed. With
 * %HMM_FAULT_PRESENT they are anywhere in the range, and their number can be 0. Or, if no page
 * is mirrored:
 *
 * * %-EINVAL: the flags are unknown or contradict each other, or %HMM_FAULT_EXCLUSIVE is set
 *   without &hmm_mirror.dev_private_owner; the range is empty, not page aligned, or not of
 *   user space; or the driver of the mirror has its own page tables
 * * %-EFAULT: nothing is mapped at @start; or the page is not readable, special, poisoned,
 *   beyond the end of its file, or device memory whose driver is going away; or CPU faults
 *   succeed repeatedly without mapping the page
 * * %-EPERM: the mapping at @start is read-only, and @flags require write access
 * * %-ESRCH: the mm is gone, or the mirror is being or has been unregistered; even if some
 *   pages were mirrored
 * * %-ECANCELED: the job is cancelled, or the range was cancelled while the fault was under
 *   way; even if some pages were mirrored
 * * %-EINTR: the task has a fatal signal pending, or any signal while it waits for
 *   userfaultfd; or the process that the mm belongs to is being killed
 * * %-ENOMEM: no memory for the page, or for page tables
 * * %-ENOSPC: an IOMMU translates for the device, and all of its DMA addresses are in use.
 *   hmm_mirror_zap() frees some
 * * %-EOPNOTSUPP: DMA of &hmm_mirror.dma_dev to the page would bounce. Or, with
 *   %HMM_FAULT_EXCLUSIVE: the page is not anonymous, or is a hugetlb page, or the kernel has
 *   no CONFIG_DEVICE_PRIVATE
 * * %-EBUSY: with %HMM_FAULT_EXCLUSIVE, another thread holds the lock of the page, or a
 *   reference that prevents the split of its large folio, even after many attempts
 * * the error of &hmm_mirror_ops.sync_cpu_device_pagetables; %-EIO if that was -EAGAIN or
 *   positive
 */
long hmm_mirror_fault_job(struct hmm_mirror *mirror, unsigned long start, unsigned long end,
			  unsigned int flags, struct hmm_job *job)
{
	return hmm_fault_serve(mirror, start, end, flags, job, NULL);
}
EXPORT_SYMBOL_GPL(hmm_mirror_fault_job);

/**
 * hmm_access_begin() - serve a device fault, and begin an access of the pages
 * @access: access; it must exist until hmm_access_end()
 * @mirror: mirror without %HMM_MIRROR_OWN_TABLES
 * @start: first address, page aligned
 * @end: end address, exclusive, page aligned
 * @flags: %HMM_FAULT_READ, %HMM_FAULT_WRITE or both, or %HMM_FAULT_EXCLUSIVE
 * @job: as for hmm_mirror_fault_job(), or NULL
 *
 * With this function a driver needs no device page table and no callback to run transfers in
 * the address space of a process, and a software device makes progress with each call.
 *
 * Mirrors the pages that are not mirrored yet as @flags require, as hmm_mirror_fault_job()
 * does. Until hmm_access_end() the pages stay mirrored at the DMA addresses that
 * hmm_pt_for_each() reports: invalidations, hmm_mirror_zap() and hmm_mirror_unregister() wait,
 * or are refused if they must not block. The driver is called for them after the access.
 * Pages that the access only reads can be write-protected meanwhile. Pages of an access for
 * writing are marked dirty. If the pages are memory of another device, a reference keeps the
 * driver of that device from going away.
 *
 * The access can have fewer pages than requested: at least one, and at most those that are
 * mirrored already and 2 MiB more, or one mapping if that is larger.
 *
 * An access must end soon, and its end must depend on the device alone: munmap(), reclaim and
 * the exit of the process wait for it, uninterruptibly, and the driver is not notified of the
 * wait. So an access is for a transfer that runs, not for a buffer that waits for data from a
 * remote side. If the device does not respond, the driver resets it and ends the access. It
 * must not wait for the file to be closed, for &hmm_mirror_ops.release or for
 * hmm_mirror_unregister() to do so: all of these come after the end of the accesses.
 *
 * The end of an access must not depend on:
 *
 * - mmap_lock, access to user memory, the lock of a folio, a file or an address_space, or I/O
 *   to a file whose pages are accessed
 * - memory allocation other than %GFP_NOWAIT and %GFP_ATOMIC, or a lock that is held during
 *   other allocations
 * - a work item on a workqueue that has no %WQ_MEM_RECLAIM, or on which accesses begin
 * - a fault, hmm_access_begin(), hmm_mirror_zap(), hmm_mirror_register() or
 *   hmm_mirror_unregister() of any mirror
 *
 * If the interrupt handler of the device ends an access without help of other tasks, other
 * accesses may begin meanwhile. For several ranges at the same time see hmm_access_try(). The
 * end may depend on &hmm_mirror.lock: no callback of the driver may wait for an access.
 *
 * Context: Process context, in any task, with no lock held. Sleeps.
 * Return: The number of pages of the access, from @start on. Otherwise no access has begun:
 * the error of hmm_mirror_fault_job(), or -EINVAL if %HMM_FAULT_PRESENT or
 * %HMM_FAULT_MAY_WRITE is set.
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
