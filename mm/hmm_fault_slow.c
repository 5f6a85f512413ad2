// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * HMM device faults: the slow path, which makes progress despite concurrent invalidations.
 *
 * Other threads may invalidate the range repeatedly, each time before the commit. So after
 * many collisions the slow path serves the first page of the chunk alone, serialized with
 * these threads:
 *
 *	invalidating thread				waits for
 *	===================				=========
 *	system call: munmap, mprotect, madvise, fork	mmap_lock, for writing
 *	CPU fault that holds the lock of the VMA	the lock of the VMA, for writing
 *	reverse mapping: reclaim, migration, KSM	the lock of the folio
 *
 * The slow path waits for invalidations that have started before: they need none of these
 * locks to end.
 *
 * The lock of the folio cannot be held during a CPU fault, which takes it, or during a memory
 * allocation. So each step rechecks the page with its folio locked. If the page is not mapped,
 * or its tables and its DMA mapping are not prepared, the step unlocks the folio, takes the CPU
 * fault or prepares, and ends. The next step rechecks the page. A reference keeps the folio in
 * memory between the steps.
 *
 *	mmap_lock and the lock of the VMA, for writing
 *	  step: lock folio, recheck	not mapped: CPU fault
 *	  step: lock folio, recheck	mapped, another folio: get a reference
 *	  step: lock folio, recheck	mapped: prepare
 *	  step: lock folio, recheck	mapped, prepared: commit
 *
 * While a step holds the folio lock, the reverse mapping cannot invalidate the page. It can do
 * so between two steps: then the next steps take the CPU fault again. This hardly ever happens
 * twice.
 *
 * The slow path does not exclude invalidations that reach the page through its address_space:
 * truncation, direct I/O, DAX. The slow path cannot hold the locks that these operations
 * hold, because the CPU fault takes the same locks. While such invalidations continue, the
 * fault ends when an attempt fits between two of them, or when the page is beyond the end of
 * the file.
 *
 * The slow path holds mmap_lock for writing. So it takes no CPU fault that can start I/O, or
 * wait for I/O or for user space: a thread that must complete the I/O, or end the wait, may
 * need mmap_lock, see mm/hmm_resident.c. The fast path takes such a fault, which can drop the
 * locks. The page is then in memory for the next attempt, and a reference keeps it there
 * until it is mirrored. Only the fast path makes a page of a shared mapping writable if the
 * file system has ->page_mkwrite(). One wait remains: a CPU fault of shmem waits for hole
 * punching.
 */
#include <linux/hmm_mirror.h>
#include <linux/mm.h>
#include <linux/pagemap.h>

#include "hmm_fault.h"

/*
 * Steps before mmap_lock is dropped: two for a page that is mapped, two more each time that
 * the page is unmapped, or that the commit revokes a block of another fault.
 */
#define HMM_SLOW_STEPS_MAX	8

/**
 * struct hmm_slow - state that the steps of the slow path share
 * @stage: stage for hmm_pt_publish()
 * @entry: entry that @stage was prepared for; 0: none
 * @word: the same entry, which hmm_pt_prepare() may have changed
 * @read_only: %HMM_FAULT_MAY_WRITE is set and the VMA is not writable
 */
struct hmm_slow {
	struct hmm_pt_stage stage;
	unsigned long entry;
	unsigned long word;
	bool read_only;
};

/**
 * hmm_fault_get_folio() - get the folio of the first page of the chunk, if it is in memory
 * @fault: fault; the folio replaces @fault->folio
 *
 * Context: Process context, mmap_lock not held. Takes mmap_lock for reading. Sleeps.
 */
void hmm_fault_get_folio(struct hmm_fault *fault)
{
	struct mm_struct *mm = fault->mirror->mm;
	struct folio *folio;

	if (mmap_read_lock_killable(mm))
		return;
	folio = hmm_resident_folio(mm, fault->start);
	mmap_read_unlock(mm);
	if (!folio)
		return;
	hmm_fault_put_folio(fault);
	fault->folio = folio;
}

/* Return the entry of the page if it meets the request, or 0. */
static unsigned long hmm_slow_entry(const struct hmm_fault *fault, const struct hmm_slow *slow)
{
	unsigned long pfn = *fault->range.hmm_pfns, need = HMM_PFN_VALID;

	if (fault->flags & HMM_FAULT_WRITE && !(fault->flags & HMM_FAULT_PRESENT) &&
	    !slow->read_only)
		need |= HMM_PFN_WRITE;
	return (pfn & need) == need ? pfn : 0;
}

/*
 * Read the entries of the page in the CPU page table and in the mirror page table. The range
 * begins again, after the invalidations that started before.
 */
static int hmm_slow_recheck(struct hmm_fault *fault, const struct hmm_slow *slow)
{
	struct hmm_range *range = &fault->range;
	int ret = hmm_range_renew(range);

	if (ret)
		return ret;
	*range->hmm_pfns = 0;
	ret = hmm_walk_entries_nowait(range);
	if (ret)
		return ret == -EBUSY ? hmm_fault_retry(fault, HMM_RETRY_STALE, 0) : ret;
	down_read(&fault->mirror->lock);
	hmm_fault_remember(fault);
	up_read(&fault->mirror->lock);
	/* An exclusive page has no valid entry in the CPU page table. */
	if (fault->exclusive)
		*range->hmm_pfns = *fault->words;
	if (!hmm_slow_entry(fault, slow))
		return 0;
	ret = hmm_commit_make_entries(fault, fault->start, fault->end);
	return ret == -EAGAIN ? hmm_fault_retry(fault, HMM_RETRY_STALE, 0) : ret;
}

/* Take the CPU fault. It may collide with the range: the next step rechecks the page. */
static int hmm_slow_fault_in(struct hmm_fault *fault, const struct hmm_slow *slow)
{
	int ret;

	hmm_fault_request(fault);
	ret = hmm_walk_entries_nowait(&fault->range);
	if (ret == -EAGAIN)
		return hmm_fault_retry(fault, HMM_RETRY_WAIT, 0);
	if (ret && ret != -EBUSY)
		return ret;
	if (ret || !hmm_slow_entry(fault, slow))
		return hmm_fault_retry(fault, HMM_RETRY_BUSY, -EFAULT);
	return hmm_fault_retry(fault, HMM_RETRY_STEP, 0);
}

/*
 * Does the lock of @folio exclude the reverse mapping? Device memory and exclusive pages need
 * no lock: the reverse mapping invalidates them only once, to migrate the page or to end its
 * exclusive access.
 */
static bool hmm_slow_is_serialized(struct hmm_fault *fault, const struct folio *folio)
{
	unsigned long pfn = *fault->range.hmm_pfns;

	if (pfn & (HMM_PFN_DEVICE | HMM_PTE_EXCLUSIVE))
		return true;
	guard(rwsem_read)(&fault->mirror->lock);
	return folio && !hmm_range_retry(&fault->range) &&
	       page_folio(hmm_pfn_to_page(pfn)) == folio;
}

/*
 * Get a reference on the folio of the page that the recheck has found. After a collision the
 * page may have been freed: then keep the old reference.
 */
static int hmm_slow_keep_folio(struct hmm_fault *fault)
{
	struct folio *folio = NULL;

	/* A page that has not collided is not freed while the lock is held. */
	down_read(&fault->mirror->lock);
	if (!hmm_range_retry(&fault->range)) {
		folio = page_folio(hmm_pfn_to_page(*fault->range.hmm_pfns));
		if (!folio_try_get(folio))
			folio = NULL;
	}
	up_read(&fault->mirror->lock);
	if (folio) {
		hmm_fault_put_folio(fault);
		fault->folio = folio;
	}
	return hmm_fault_retry(fault, HMM_RETRY_STEP, 0);
}

static void hmm_slow_unprepare(struct hmm_fault *fault, struct hmm_slow *slow)
{
	if (slow->entry)
		hmm_pt_unstage(&fault->mirror->pt, &slow->stage);
	slow->entry = 0;
}

/* Prepare the commit with the folio unlocked: it allocates, and reclaim may lock folios. */
static int hmm_slow_prepare(struct hmm_fault *fault, struct hmm_slow *slow)
{
	int ret;

	hmm_slow_unprepare(fault, slow);
	slow->entry = *fault->words;
	slow->word = slow->entry;
	hmm_pt_stage(&slow->stage, fault->start, fault->end, &slow->word, fault->maps);
	ret = hmm_pt_prepare(&fault->mirror->pt, &slow->stage);
	return ret ?: hmm_fault_retry(fault, HMM_RETRY_STEP, 0);
}

/*
 * Recheck the page with @folio locked, and commit it if the commit is prepared. Return the
 * number of pages, an errno, or 0 if the step has to continue without the lock.
 */
static long hmm_slow_commit(struct hmm_fault *fault, struct hmm_slow *slow,
			    const struct folio *folio, bool *serialized)
{
	long ret = hmm_slow_recheck(fault, slow);

	*serialized = !ret && hmm_slow_entry(fault, slow) && hmm_slow_is_serialized(fault, folio);
	if (!*serialized || !slow->entry || *fault->words != slow->entry)
		return ret;
	ret = hmm_commit_stage(fault, &slow->stage);
	if (!ret)
		return 1;
	if (ret != -EAGAIN)
		return ret;
	hmm_slow_unprepare(fault, slow);
	return hmm_fault_retry(fault, HMM_RETRY_STALE, 0);
}

/*
 * One step. The folio is locked before the recheck, so that the reverse mapping is excluded from
 * the recheck to the commit. For hugetlb the recheck takes the hugetlb lock of the VMA, which
 * other code takes before the lock of the folio. This cannot deadlock: a thread that holds the
 * hugetlb lock and waits for the folio also holds mmap_lock or the lock of the VMA, so it is
 * excluded.
 */
static long hmm_slow_step(struct hmm_fault *fault, struct hmm_slow *slow)
{
	struct folio *folio = fault->folio;
	bool serialized;
	long ret;

	if (folio && folio_lock_killable(folio))
		return -EINTR;
	ret = hmm_slow_commit(fault, slow, folio, &serialized);
	if (folio)
		folio_unlock(folio);
	if (ret)
		return ret;
	if (!hmm_slow_entry(fault, slow))
		return fault->flags & HMM_FAULT_PRESENT ? 0 : hmm_slow_fault_in(fault, slow);
	if (fault->flags & HMM_FAULT_EXCLUSIVE)
		return hmm_fault_make_exclusive(fault, fault->end);
	return serialized ? hmm_slow_prepare(fault, slow) : hmm_slow_keep_folio(fault);
}

static long hmm_slow_steps(struct hmm_fault *fault)
{
	struct vm_area_struct *vma = vma_lookup(fault->mirror->mm, fault->start);
	struct hmm_slow slow = {};
	unsigned int steps = 0;
	long ret;

	if (!vma)
		return fault->flags & HMM_FAULT_PRESENT ? 0 : -EFAULT;
	vma_start_write(vma);
	slow.read_only = fault->flags & HMM_FAULT_MAY_WRITE && !(vma->vm_flags & VM_WRITE);
	/* The waits for other threads and for I/O come after mmap_lock is dropped. */
	do {
		ret = hmm_slow_step(fault, &slow);
	} while (ret == -EAGAIN && fault->retry != HMM_RETRY_BUSY &&
		 fault->retry != HMM_RETRY_WAIT && ++steps < HMM_SLOW_STEPS_MAX);
	hmm_slow_unprepare(fault, &slow);
	return ret;
}

/**
 * hmm_fault_slow() - one attempt of the slow path
 * @fault: fault; its range is the first page of the chunk, and has begun
 *
 * Context: Process context, with no lock held. Takes mmap_lock for writing. Sleeps.
 * Return: 1 if the page is mirrored; 0 if it is not mapped and %HMM_FAULT_PRESENT is set;
 * -EAGAIN, see hmm_fault_retry(); or the error of the fault.
 */
long hmm_fault_slow(struct hmm_fault *fault)
{
	struct mm_struct *mm = fault->mirror->mm;
	long ret;

	if (mmap_write_lock_killable(mm))
		return -EINTR;
	ret = hmm_slow_steps(fault);
	mmap_write_unlock(mm);
	return ret;
}
