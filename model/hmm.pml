/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The protocol between a mirror and the memory management, for spin.
 *
 * Each part of the model has the name of the C function that it models:
 *
 *  - mm/mmu_notifier.c: the list of active ranges and the wait for some of them, the sequence that
 *    is odd while an invalidation overlaps a window in the tree, insertion and removal that are
 *    deferred meanwhile, the error path when the interval tree or the hlist refuses;
 *  - mm/hmm_pt.c: entries and blocks; the change that is announced while entries go; how
 *    hmm_pt_has_none() reads entries without mirror->lock;
 *  - mm/hmm_mirror.c: windows and how they are inserted, their callback, which takes mirror->lock
 *    only if an entry is there, goes or is about to come; begin / retry / end of a range,
 *    registration, RELEASE through the sentinel, unregistration: dying, dead, released, the wait
 *    for the users, gone;
 *  - mm/hmm_cancel.c: the list of calls, hmm_mirror_cancel() at any time, for one fault of two, and
 *    a later call by the same task; the flag of the task that ends its wait for user space;
 *  - mm/hmm_fault.c: the fault loop, for reading or for writing; what a fault publishes, the
 *    callback of the driver for it, and how the entries are revoked when the driver fails; blocks
 *    of the mirror page table, which are not cut; the slow path, after COLLISIONS_MAX
 *    collisions;
 *  - mm/hmm_exclusive.c: a fault that takes its page sends an invalidation, which collides with all
 *    ranges except its own. It holds the lock of the folio until the commit;
 *  - mm/hmm.c: which lock the walk takes, and how it continues when a CPU fault has dropped the
 *    lock; the wait of a CPU fault for user space, with no lock held; what CPU faults of the walk
 *    invalidate, which is a collision only where the walk, or an earlier walk, has read;
 *  - the invalidating threads: with mmap_lock (zap, protection; also the OOM reaper, which must not
 *    sleep), with the lock of the VMA alone (CPU faults), with the folio's lock (migration), with
 *    none of them (truncation), nested, in parallel; and the CPU faults of the fault itself;
 *  - the driver: it may refuse where it must not sleep, and it may fail to map after it has mapped
 *    some of the pages; its release() may wait for the faults under way. With
 *    HMM_MIRROR_OWN_TABLES it walks one range part by part, in any order and also twice, and
 *    writes range->start and range->end for that.
 *
 * every_fault_ends says: when no thread invalidates any more, every fault ends, and with LIFE
 * hmm_mirror_unregister() and release() end, too, although user space may never answer. With the
 * knob STORM it says so for storms that never end, for pages that are in memory; for truncation,
 * which the slow path does not keep out, only when the truncation has ended.
 *
 * Two pages are enough: each case with a third page has two pages that are alike. A window is one
 * page or both, and so is a block. A pte is present or not, writable or not. The page that it maps
 * has no number: what a fault has read from the pte is marked when that page is freed.
 *
 * A sequence that grows forever has infinitely many states. The code only asks whether a sequence
 * still has the value that was read before. So each reader that remembers a value has a bit here,
 * and each step of the sequence clears all of these bits. The numbers of active ranges are modelled
 * in the same way.
 *
 * What is left out:
 *  - memory order. All shared data is read and written under a lock of the kernel, the conditions
 *    of the wait queues included, or it is read again under a lock. Between TIF_NOTIFY_SIGNAL and
 *    the state of the task, schedule() and wake_up_state() do that. hmm_pt_publish() writes
 *    entries under mirror->lock, and hmm_pt_has_none() reads them under change_lock. range_lock
 *    orders the two: the callback finds the range committed, or hmm_range_del() came before.
 *    hmm_pt_clear() marks a page dirty before it takes the entry away; the model has these steps
 *    in the other order, because only change_lock orders them for hmm_pt_has_none();
 *  - tables, and hmm_pt_reclaim(), which announces a change of all addresses when it frees tables;
 *  - accesses of a device under way, mm/hmm_access.c: hmm_mirror_wait_accesses() waits for their end, with
 *    mirror->lock dropped, before a change is announced, and hmm_commit_wait_accesses() does before
 *    hmm_range_retry();
 *  - empty windows that go away, hmm_window_gc(): a range holds a reference on its windows, so
 *    that this is mmu_interval_notifier_remove() without a range, which unregistration shows. The
 *    tables that it frees make hmm_pt_publish() return -EAGAIN: one more reason to begin again;
 *  - errors that end a fault before or after its walk (no memory, a signal, a page that DMA does
 *    not reach), what is allocated while no folio is locked, chunks that change their size, and
 *    runs: a fault has one chunk, which is one stage. After the slow path the chunk is the
 *    first page; the rest would be another fault;
 *  - HMM_FAULT_PRESENT;
 *  - the walk's own locks below mmap_lock, and the pagemap: no task waits with them held;
 *  - exclusive entries as such: the pte and the entry stay as they are, only what other faults have
 *    read becomes out of date. An entry that is exclusive already, large folios that are split, and
 *    a second mirror are not modelled; nor is hmm_range_make_exclusive(), which sends the same
 *    invalidation as hmm_exclusive_make();
 *  - real signals, and TIF_NOTIFY_SIGNAL that task work has set: they end a wait for user space
 *    like hmm_mirror_cancel(). A process that exits without unregistration closes its userfaultfd;
 *  - memory that is not resident. A CPU fault that would have to wait for it, so that the progress
 *    path goes back to the usual path, is modelled (MAYFAIL, UFFD). That the reference of the
 *    slow path keeps the folio in memory until then is not;
 *  - threads that change VMAs: without them one lock stands for those of all VMAs, and only faults
 *    hold mmap_lock for writing.
 *
 * Fairness is weak: a process that can always run does run. A lock that other threads take again
 * and again needs more: with STORM locks have queues, as the kernel's hand-off provides, and a
 * writer that waits for the lock of the VMA keeps readers out. Without STORM each waiter may be
 * overtaken forever, which is the wider model for safety. For folios STORM assumes more than
 * hand-off: a walk that finds a migration entry goes on before the next migration starts; and when
 * the slow path looks at a page whose folio it has not locked, or finds none mapped, migrations
 * pause until it has a reference on the folio, or its lock, even migrations of another folio at the
 * same address. No code enforces this. If a migration falls into that interval each time, the fault
 * begins again, as it does with truncation, for which the interval lasts until the commit; or the
 * fault finds the folio locked, and takes the usual path next. What has a reference cannot be
 * migrated. Reclaim can unmap it whenever the fault has not locked it: ALONE_MAX allows for that
 * before the first lock of the folio, and between that and the second one.
 *
 * What no search covers: insertion of a window waits until the mm has no active invalidation at
 * all. That keeps out the threads that take mmap_lock. But two threads that do not take it (some
 * CPU faults under a VMA lock that copy on write, some migrations), and whose invalidations
 * overlap forever, would keep a first fault in a window waiting. In the searches for storms of two
 * such kinds the windows exist from the beginning (SUBSCRIBED).
 *
 * Knobs, set in hmm.runs: WINDOWS (1 or 2), SUBSCRIBED, FAULTS, BLOCKS, WHO0 and WHO1 (which
 * threads invalidate), OTHERS (another subscriber exists), MAYFAIL (refusals), NEST, SELF (CPU
 * faults of the fault itself invalidate), TAKES (the set of faults that take their page), UFFD
 * (user space provides missing pages), CANCEL, OWN_TABLES (in place of the fault), LIFE (register,
 * exit, unregister), LIVE (does every fault end?), STORM (with LIVE: storms never end). MUTATE_x
 * breaks one thing, in place.
 */

#ifndef WINDOWS
#define WINDOWS	1
#endif
#ifndef FAULTS
#define FAULTS	1
#endif
/* The pages that the faults are for. If there are two faults, one reads and one writes. */
#ifndef FIRST
#define FIRST	BOTH
#endif
#ifndef SECOND
#define SECOND	1
#endif
/* Pages that no fault asks for are not invalidated alone. */
#if FAULTS == 1
#define ASKED	FIRST
#else
#define ASKED	(FIRST | SECOND)
#endif
#define COLLISIONS_MAX	1	/* HMM_FAULT_COLLISIONS_MAX */
#define FRUITLESS_MAX	2	/* HMM_FAULT_BUSY_MAX; HMM_WALK_NO_PROGRESS_MAX is 1 */
#ifdef MUTATE_ONE_STEP_LESS
#define ALONE_MAX	5
#else
#define ALONE_MAX	6	/* HMM_SLOW_STEPS_MAX: the least with which the storms end */
#endif
#ifdef LIFE
#define WALKS_MAX	1	/* of a driver with its own tables, until it begins again */
#else
#define WALKS_MAX	3
#endif
#define NAMED		0	/* the fault that hmm_mirror_cancel() names */

/* Does another subscriber have an interval notifier on all of this mm? It defers insertions. */
#ifndef OTHERS
#define OTHERS	false
#endif

/* Do the windows exist from the beginning? */
#ifndef SUBSCRIBED
#define SUBSCRIBED	false
#endif

/* Calls of hmm_mirror_fault() can be cancelled. */
#if defined(LIFE) || defined(CANCEL)
#define CALLS
#endif

/* Kinds of invalidating threads, by the lock that they hold from start to end */
#define NO_THREAD	0
#define MMAP	1		/* mmap_lock for reading: MADV_DONTNEED, COW, OOM reaper */
#define RMAP	2		/* the folio's lock: migration */
#define IMMAP	3		/* neither: truncation, which needs the folio's lock afterwards */
#define CPU	4		/* the VMA's lock: COW. Without that it is MMAP. */
#ifndef WHO0
#define WHO0	MMAP
#endif
#ifndef WHO1
#define WHO1	NO_THREAD
#endif

/* Events */
#define CLEAR	0
#define PROTECT	1
#define RELEASE	2
#define EXCLUSIVE	3

/* Addresses are sets of pages: bit 0, bit 1, and the sentinel's page in bit 2. */
#define PAGES		2
#define BOTH		3
#define LAST_PAGE	4
#define EVERYTHING	7
#define NOTHING		0
#define has(set, p)	(((set) >> (p)) & 1)
#define SENTINEL	WINDOWS
#if WINDOWS == 1
#define pages_of(w)	((w) == SENTINEL -> LAST_PAGE : BOTH)
#else
#define pages_of(w)	(1 << (w))
#endif

/* Entries of the CPU's page table, the mirror's, and the device's */
#define WRITE		1
#define PRESENT		2
#define STALE		4
byte pte[PAGES], mpt[PAGES], dev[PAGES];
/* pfns[] and words[] of a fault, by fault and page; STALE as soon as that page is freed */
byte walked[FAULTS * PAGES];
#define seen(f, p)	walked[(f) * PAGES + (p)]
/* What a fault has prepared for its first page, likewise */
byte prepared[FAULTS];
bool block;			/* the mirror has both pages in one block */
byte changing;			/* the pages of the change that is announced */
byte in_use[PAGES];		/* removed entries whose pages it still uses */
#define covered(e, p)	(!((e) & STALE) && (!((e) & WRITE) || (pte[p] & WRITE)))

/* struct mmu_notifier_subscriptions */
#if defined(TAKES)
#define SLOTS		(6 + FAULTS)	/* and one of each fault that takes pages */
#elif defined(SELF)
#define SLOTS		6	/* and one of the fault's own CPU faults */
#else
#define SLOTS		5	/* two (nested) of each invalidating thread, one of exit */
#endif
#define SLOT_EXIT	4
#define SLOT_SELF	5
#define SLOT_TAKE(f)	(6 + (f))
byte active_ranges[SLOTS];		/* the list of active ranges: the pages of each */
bool started[SLOTS];		/* its start succeeded: only properties look */
byte active_invalidate_ranges;
bool odd;			/* invalidate_seq & 1 */
bool in_tree[WINDOWS + 1] = SUBSCRIBED, deferred[WINDOWS + 1];
bool same_seq[WINDOWS + 1];	/* interval_sub->invalidate_seq == invalidate_seq */
#define overlaps(s, set)	(active_ranges[s] & (set))

/* Waiters: the faults, registration, unregistration */
#define REGISTER	FAULTS
#define UNREGISTER	(FAULTS + 1)
bool wait_seq[FAULTS + 2];	/* the sequence has not changed since the waiter read it */
byte wait_active[FAULTS];	/* ranges that were active at the read and still are, by slot */

/* Locks. With a storm, a lock with the suffix _next is promised to a fault. */
bool lock_write;				/* mirror->lock */
byte lock_read;					/* its readers */
bool window_mutex;
bool mmap_write, mmap_next;
bool vma_write, vma_next;
byte mmap_read, vma_read;
bool folio[PAGES], folio_next[PAGES];
/*
 * Relation of fault->held to the first page of the fault: none; another folio; the folio of the
 * page (which is mapped, or which the next CPU fault maps); that folio, and the fault has locked
 * it.
 */
#define OTHER	1
#define SAME	2
#define LOCKED	3
byte held[FAULTS];
#if FAULTS == 1
#define held_at(f)	start_of(FIRST)
#else
#define held_at(f)	((f) == 0 -> start_of(FIRST) : start_of(SECOND))
#endif
#ifdef STORM
chan lock_queue = [3] of { byte };
#define queue(next)	next = true
#else
#define queue(next)	skip
#endif
#define lock_free	(!lock_write && !lock_read)
#define mmap_free	(!mmap_write && !mmap_next)
#define vma_free	(!vma_write && !vma_next)
#define folio_free(p)	(!folio[p] && !folio_next[p])

#ifdef STORM
inline take_lock(free, lock, value)
{
	lock_queue!_pid;
	atomic { free && lock_queue?[eval(_pid)] -> lock_queue?eval(_pid); lock = value }
}
#else
#define take_lock(free, lock, value)	atomic { free -> lock = value }
#endif
#define down_write()	take_lock(lock_free, lock_write, true)
#define down_read()	take_lock(!lock_write, lock_read, lock_read + 1)
/*
 * A read of entries under the lock is one step: they change only with the lock held for writing.
 * But hmm_range_retry() and the read of the pages that follows are two steps. An invalidation
 * whose callback does not take the lock can come between them.
 */

/* struct hmm_mirror */
bool dying, dead, registered, freed;
byte released, users = 1;
bool over;			/* the mirror is unregistered, or never will be */
byte working;			/* workers of the driver that are in hmm_mirror_fault() */
bool have_window[WINDOWS] = SUBSCRIBED;
byte range[FAULTS];		/* the list of ranges: the pages of each */
bool collided[FAULTS], committed[FAULTS];
#ifdef OWN_TABLES
/* range[] is begun_start and begun_end. part[] is start and end, which the driver writes. */
byte part[FAULTS];
byte read_pages[FAULTS];	/* seen_start and seen_end: what walks of the range have read */
#endif
bool faulting[FAULTS];		/* its own task is in a CPU fault of the walk */
byte unseen[FAULTS];		/* the walk has read neither this page nor any page after it */
#ifdef TAKES
bool taking[FAULTS];		/* its own task is in make_device_exclusive_range() */
#endif

/* struct hmm_call, of each fault */
bool in_calls[FAULTS];		/* the list of calls */
byte call_error[FAULTS];
bool notify[FAULTS];		/* TIF_NOTIFY_SIGNAL of its task */
bool named[FAULTS];		/* hmm_mirror_cancel() found it: only properties look */
#ifdef MUTATE_CANCEL_WAKES_SLEEPERS
bool asleep[FAULTS];
#endif

/* User space answers without delay; its userfaultfd is closed. */
bool in_haste, uffd_closed;

byte mm_users = 1;
byte ended;			/* faults that returned */
byte telling;			/* faults that have published, and wait for the driver */
/* Threads that still invalidate, and may end */
#ifdef STORM
byte storms = (WHO0 == IMMAP) + (WHO1 == IMMAP);
#else
byte storms = (WHO0 != NO_THREAD) + (WHO1 != NO_THREAD);
#endif

/* Return values of functions: 0 or */
#define AGAIN		1	/* -EAGAIN */
#define FAILED		2	/* any other errno */
#define BUSY		3	/* -EBUSY */
#define INTERRUPTED	4	/* -EINTR */
#define DYING		5	/* -ESRCH, by which a call is cancelled */
#define CANCELED	6	/* -ECANCELED */

/* The acting process, in the local variable me: the number of a fault, or */
#define NO_FAULT	FAULTS

/*
 * Properties. Each is a variable that is always false, because pan quotes the expression.
 */
hidden byte no_entry_survives, no_stale_commit, refusal_changes_nothing, not_touched_when_freed;
hidden byte released_once, release_comes, mm_is_alive;
hidden byte device_within_table, device_is_told, no_call_after_release, no_freed_folio;
hidden byte blocks_are_whole, only_named_is_cancelled, no_use_after_free;

#define touch()		assert(not_touched_when_freed || !freed)
#define touch_mm()	assert(mm_is_alive || mm_users)

inline check_gone(p)
{
	assert(no_entry_survives || (!mpt[p] && !dev[p]));
	assert(no_use_after_free || !in_use[p])
}

inline check_read_only(p)
{
	assert(no_entry_survives || !((mpt[p] | dev[p]) & WRITE));
	assert(no_use_after_free || !(in_use[p] & WRITE))
}

/* Whenever mirror->lock is not held for writing: the table has all that the device has. */
inline check_within()
{
	assert(device_within_table || !((dev[0] & ~mpt[0]) | (dev[1] & ~mpt[1])));
	assert(blocks_are_whole || !block || (mpt[0] && mpt[0] == mpt[1]))
}

/* ------------------------------------------------------------------ mm/mmu_notifier.c */

inline seq_changes()
{
	for (j : 0 .. WINDOWS) {
		same_seq[j] = false
	}
	for (j : 0 .. FAULTS + 1) {
		wait_seq[j] = false
	}
}

inline mn_itree_inv_start_range(slot, set)
{
	d_step {
		active_ranges[slot] = set;
		active_invalidate_ranges++;
		found = OTHERS;
		for (j : 0 .. WINDOWS) {
			found = found || (in_tree[j] && (pages_of(j) & set))
		}
		if
		:: found && !odd -> odd = true; seq_changes()
		:: else
		fi;
		j = 0
	}
}

inline mn_itree_inv_end(slot)
{
	d_step {
		active_ranges[slot] = 0;
		started[slot] = false;
		for (j : 0 .. FAULTS - 1) {
			wait_active[j] = wait_active[j] & ~(1 << slot);
#ifdef MUTATE_END_FORGETS_COLLISION
			collided[j] = false
#endif
		}
		active_invalidate_ranges--;
		if
		:: active_invalidate_ranges == 0 && odd ->
			odd = false;
			seq_changes();
			for (j : 0 .. WINDOWS) {
				in_tree[j] = (deferred[j] -> !in_tree[j] : in_tree[j]);
				deferred[j] = false
			}
		:: else
		fi;
		j = 0
	}
}

inline mmu_interval_notifier_insert(w)
{
	d_step {
		if
		:: active_invalidate_ranges && odd ->
			deferred[w] = true;
			same_seq[w] = true
		:: active_invalidate_ranges && !odd ->
			odd = true;
			seq_changes();
			in_tree[w] = true;
			same_seq[w] = true
		:: else ->
			in_tree[w] = true;
			same_seq[w] = false
		fi;
		j = 0
	}
}

/* The first half of the function. It waits until !wait_seq[who]. */
inline mmu_interval_read_begin(who, w)
{
	wait_seq[who] = same_seq[w]
}

/* Likewise */
inline mmu_interval_notifier_remove(w)
{
	d_step {
		if
		:: odd && !in_tree[w] -> deferred[w] = false
		:: odd && in_tree[w] -> deferred[w] = true; wait_seq[UNREGISTER] = true
		:: else -> in_tree[w] = false
		fi
	}
}

/*
 * The ranges that are active now and overlap. A wait for later ranges, too, may go on forever
 * without a single collision.
 */
inline mn_itree_is_active(f, set)
{
	d_step {
		wait_active[f] = 0;
		for (j : 0 .. SLOTS - 1) {
			wait_active[f] = wait_active[f] | (overlaps(j, set) -> 1 << j : 0)
		}
		j = 0
	}
}

#ifdef MUTATE_WAIT_UNTIL_IDLE
#define mn_itree_ended(f, set)	(!overlaps(0, set) && !overlaps(1, set) && !overlaps(2, set) && \
				 !overlaps(3, set) && !overlaps(4, set))
#else
#define mn_itree_ended(f, set)	(!wait_active[f])
#endif

inline mmu_interval_wait_active(f, set)
{
#ifdef MUTATE_WAIT_UNDER_LOCK
	down_write();
#endif
#ifdef MUTATE_NO_WAIT
	skip;
#else
	mn_itree_is_active(f, set);
	mn_itree_ended(f, set);
#endif
#ifdef MUTATE_WAIT_UNDER_LOCK
	lock_write = false;
#endif
}

/* ------------------------------------------------------------------------ mm/hmm_pt.c */

/* A block is not cut. */
#define hmm_pt_widen(set)	(block && ((set) & BOTH) -> (set) | BOTH : (set))

#define hmm_pt_writable(set)	\
	((has(set, 0) && mpt[0] & WRITE) || (has(set, 1) && mpt[1] & WRITE))
#define hmm_pt_occupied(set)	((has(set, 0) && mpt[0]) || (has(set, 1) && mpt[1]))

/* Does an event revoke anything of the set? */
#define hmm_pt_has(set, event)	\
	(((event) == PROTECT && hmm_pt_writable(set)) || \
	 ((event) != PROTECT && hmm_pt_occupied(set)))

/* One step, because the function holds change_lock */
#if defined(MUTATE_QUICK_WITHOUT_CHANGE) || defined(MUTATE_QUICK_IN_TWO_STEPS)
#define hmm_pt_has_none(set, event)	(!hmm_pt_has(set, event))
#else
#define hmm_pt_has_none(set, event)	(!(changing & (set)) && !hmm_pt_has(set, event))
#endif

inline hmm_pt_begin_change(set)
{
	changing = set
}

/* Until then the change uses the pages: it marks them dirty, and removes DMA mappings. */
inline hmm_pt_end_change()
{
	in_use[0] = 0;
	in_use[1] = 0;
	changing = NOTHING
}

/* hmm_pt_clear(), or hmm_pt_write_protect() */
inline hmm_pt_restrict_range(set, event)
{
	for (p : 0 .. PAGES - 1) {
		in_use[p] = (has(set, p) -> (event == PROTECT -> mpt[p] & WRITE : mpt[p]) : 0);
		mpt[p] = mpt[p] & ~in_use[p]
	}
	block = block && (event == PROTECT || !((set) & BOTH))
}

#define invalid(slot, q)	(started[slot] && has(active_ranges[slot], q))
#define no_active(q)	(!invalid(0, q) && !invalid(1, q) && !invalid(2, q) && !invalid(3, q) && \
			 !invalid(4, q) && !invalid(SLOTS - 3, q) && !invalid(SLOTS - 2, q) && \
			 !invalid(SLOTS - 1, q))

inline hmm_pt_publish(f)
{
	for (p : 0 .. PAGES - 1) {
		assert(no_stale_commit || !has(stage, p) ||
		       (no_active(p) && covered(seen(f, p), p)));
		mpt[p] = (has(stage, p) -> seen(f, p) : mpt[p])
	}
#ifdef BLOCKS
#ifdef MUTATE_BLOCK_IS_CUT
	block = block || stage == BOTH;
#else
	block = (stage == BOTH && mpt[0] == mpt[1]);
#endif
#endif
	p = 0
}

/* -------------------------------------------------------------------- mm/hmm_mirror.c */

#define start_of(set)	(((set) & 1) -> 0 : 1)
#if defined(MUTATE_OWN_INVALIDATIONS_COLLIDE)
#define hmm_range_invalidates_itself(f, set)	false
#elif defined(MUTATE_OWN_INVALIDATION_OF_SEEN)
#define hmm_range_invalidates_itself(f, set)	(faulting[f] && (f) == me)
#elif defined(MUTATE_INVALIDATION_OF_OTHERS_UNSEEN)
#define hmm_range_invalidates_itself(f, set)	(faulting[f] && start_of((set) & range[f]) >= unseen[f])
#else
#define hmm_range_invalidates_itself(f, set)	(faulting[f] && (f) == me && \
					 start_of((set) & range[f]) >= unseen[f])
#endif

/* The range of the task that sends the event does not collide: hmm_mirror_is_owner(). */
#if !defined(TAKES) || defined(MUTATE_TAKER_COLLIDES)
#define hmm_range_takes(f, event)	false
#elif defined(MUTATE_TAKEN_WITHOUT_COLLISION)
#define hmm_range_takes(f, event)	((event) == EXCLUSIVE)
#else
#define hmm_range_takes(f, event)	((event) == EXCLUSIVE && (f) == me && taking[f])
#endif

#ifdef MUTATE_PART_COLLIDES
#define begun(f)	(range[f] & part[f])
#else
#define begun(f)	range[f]
#endif

#define hits(f, set, event)	((begun(f) & (set)) && !hmm_range_invalidates_itself(f, set) && \
				 !hmm_range_takes(f, event))

/* In the code this returns any_committed(). Both are one step, under range_lock. */
inline hmm_mirror_collide(set, event)
{
#ifndef MUTATE_NO_COLLISION
	for (j : 0 .. FAULTS - 1) {
#ifdef MUTATE_COLLISION_ENDS_COMMIT
		committed[j] = committed[j] && !hits(j, set, event);
#endif
		collided[j] = collided[j] || hits(j, set, event)
	}
#else
	skip
#endif
}

#if defined(MUTATE_QUICK_WITHOUT_COMMITTED)
#define any_committed(set, event)	false
#elif FAULTS == 1
#define any_committed(set, event)	(committed[0] && hits(0, set, event))
#else
#define any_committed(set, event)	((committed[0] && hits(0, set, event)) || \
					 (committed[1] && hits(1, set, event)))
#endif

#ifdef OWN_TABLES
#define hmm_mirror_is_affected(set, event)	true
#ifdef MUTATE_QUICK_WITH_OWN_TABLES
#define hmm_mirror_is_unaffected(set, event)	true
#else
#define hmm_mirror_is_unaffected(set, event)	false
#endif
#else
#define hmm_mirror_is_affected(set, event)	hmm_pt_has(set, event)
#define hmm_mirror_is_unaffected(set, event)	hmm_pt_has_none(set, event)
#endif

/* The callback of a driver for an invalidation */
inline hmm_mirror_sync(set, event)
{
	assert(no_call_after_release || !released);
	for (p : 0 .. PAGES - 1) {
		dev[p] = (has(set, p) -> (event == PROTECT -> dev[p] & ~WRITE : 0) : dev[p])
	}
}

#ifdef MUTATE_DRIVER_NOT_WIDENED
#define driver_widen(set)	(set)
#else
#define driver_widen(set)	hmm_pt_widen(set)
#endif

/*
 * With mirror->lock held for writing. The announcement, the call of the driver and the removal of
 * entries are one step: a callback without the lock waits for it as long as there are entries, and
 * when the change is announced. The caller calls hmm_pt_end_change() as another step.
 */
inline hmm_mirror_revoke(set, event, may_block)
{
	if
	:: hmm_mirror_is_affected(set, event) ->
		wide = hmm_pt_widen(set);
		notified = driver_widen(set);
#ifdef MUTATE_CHANGE_NOT_WIDENED
		hmm_pt_begin_change(set);
#else
		hmm_pt_begin_change(wide);
#endif
#ifdef MUTATE_CLEAR_BEFORE_DRIVER
		hmm_pt_restrict_range(wide, event);
#endif
		if
		:: !may_block -> refused = true
		:: true ->
			hmm_mirror_sync(notified, event);
			hmm_pt_restrict_range(wide, event)
		fi;
		wide = 0;
		notified = 0
	:: else
	fi;
	p = 0
}

inline hmm_mirror_invalidate(set, event, may_block)
{
	hmm_mirror_collide(set, event);
	hmm_mirror_revoke(set, event, may_block);
	j = 0
}

#ifdef MUTATE_QUICK_BEFORE_COLLIDE
#define is_quick(event)	(!must_lock)
#else
#define is_quick(event)	(!must_lock && hmm_mirror_is_unaffected(hit, event))
#endif

/* Without mirror->lock. If a range is committed, the callback has to take it in any case. */
inline hmm_window_collide(w, set, event)
{
	touch();
	hit = set & pages_of(w);
#if defined(MUTATE_EMPTY_BEFORE_COLLISION)
	if
	:: hmm_mirror_is_unaffected(hit, event)
	:: else ->
		must_lock = any_committed(hit, event);
		hmm_mirror_collide(hit, event)
	fi;
#elif defined(MUTATE_QUICK_BEFORE_COLLIDE)
	must_lock = !hmm_mirror_is_unaffected(hit, event);
#else
	must_lock = any_committed(hit, event);
	hmm_mirror_collide(hit, event);
#endif
	j = 0
}

/*
 * The read without the lock and the attempt to take the lock are one step. A step between them
 * could as well come before the read. If the callback needs no lock then, it would change nothing
 * with the lock, either.
 */
inline hmm_window_invalidate(event)
{
#if defined(MUTATE_QUICK_BEFORE_COLLIDE)
	d_step {
		must_lock = must_lock || any_committed(hit, event);
		hmm_mirror_collide(hit, event);
		j = 0
	}
#elif defined(MUTATE_QUICK_IN_TWO_STEPS)
	must_lock = must_lock || (changing & hit);
#endif
	if
	:: atomic { is_quick(event) -> touch(); hit = 0 }
	/* Another task has the lock, or had it for a part of the code that is one step here. */
	:: atomic { !is_quick(event) && !blockable ->
			touch();
#ifndef MUTATE_TRYLOCK_SUCCEEDS
			refused = true;
#endif
			hit = 0;
			must_lock = false
		}
	:: atomic { !is_quick(event) && (blockable || lock_free) ->
			if
			:: blockable -> down_write()
			:: else -> lock_write = true
			fi;
			touch();
			was = mpt[0] | (mpt[1] << 4);
			if
			:: dead
			:: else -> hmm_mirror_revoke(hit, event, blockable)
			fi;
			assert(refusal_changes_nothing || !refused ||
			       was == (mpt[0] | (mpt[1] << 4)));
			was = 0;
			hit = 0;
			must_lock = false
		}
		d_step {
			touch();
			hmm_pt_end_change();
			check_within();
			lock_write = false
		}
	fi
}

/* ---------------------------------------------------------------- mm/hmm_cancel.c */

/* At most once for a call. TIF_NOTIFY_SIGNAL stays set until the call ends. */
inline hmm_call_cancel(c, error)
{
	if
	:: !call_error[c] ->
		call_error[c] = error;
#ifdef MUTATE_CANCEL_WAKES_SLEEPERS
		notify[c] = asleep[c]
#else
		notify[c] = true
#endif
	:: else
	fi
}

/* Each function here is one step, because all of it runs under range_lock, a spinlock. */
inline hmm_mirror_set_dying()
{
#ifdef LIFE
	d_step {
		touch();
		dying = true;
		for (j : 0 .. FAULTS - 1) {
			if
			:: in_calls[j] -> hmm_call_cancel(j, DYING)
			:: else
			fi
		}
		j = 0
	}
#else
	skip
#endif
}

/* With the cookie of fault f */
inline hmm_mirror_cancel(f)
{
	d_step {
		for (j : 0 .. FAULTS - 1) {
			named[j] = (j == f && in_calls[j] && !call_error[j]);
			if
#if defined(MUTATE_CANCEL_ALL)
			:: in_calls[j] -> hmm_call_cancel(j, CANCELED)
#elif defined(MUTATE_CANCEL_STICKS)
			:: j == f -> hmm_call_cancel(j, CANCELED)
#else
			:: j == f && in_calls[j] -> hmm_call_cancel(j, CANCELED)
#endif
			:: else
			fi
		}
		j = 0
	}
}

/* ------------------------------------------------------------ mm/hmm_mirror.c, continued */

/*
 * The driver's release() is called once, after all callbacks. It may wait there until the driver's
 * workers have returned from hmm_mirror_fault().
 */
inline hmm_mirror_release()
{
	atomic {
		assert(released_once || !released);
		touch();
		released++
	}
	if
	:: true -> !working
	:: true
	fi;
	touch()
}

/*
 * No page is mapped there. The callback also gets UNMAP of everything when the mm exits. All
 * windows have had their callbacks before, so that nothing is left to be revoked.
 */
inline hmm_sentinel_invalidate(event)
{
	touch();
	if
	:: event == RELEASE ->
		hmm_mirror_set_dying();
		down_write();
		d_step {
			same_seq[SENTINEL] = true;
#ifndef MUTATE_RELEASE_TWICE
			was_dead = dead;
#endif
			dead = true;
			check_gone(0);
			check_gone(1);
			lock_write = false
		}
		if
		:: !was_dead -> hmm_mirror_release()
		:: else
		fi;
		was_dead = false
	:: else
	fi
}

/*
 * Ranges can begin between the steps. After the last one callbacks do nothing, and no fault
 * publishes.
 */
inline hmm_mirror_kill()
{
	down_write();
	was_dead = dead;
	if
	:: !was_dead ->
#ifdef MUTATE_RELEASE_FIRST
		hmm_mirror_release();
		was_dead = true;
#endif
#ifndef MUTATE_KILL_LEAVES_TABLE
		do
		:: w < WINDOWS ->
			d_step {
				if
				:: have_window[w] ->
					hit = pages_of(w);
					hmm_mirror_invalidate(hit, CLEAR, true);
					hit = 0
				:: else
				fi;
				w++
			}
			hmm_pt_end_change()
		:: else -> break
		od;
		w = 0;
#endif
		dead = true
	:: else
	fi;
	d_step { check_within(); lock_write = false }
	if
	:: !was_dead -> hmm_mirror_release()
	:: else
	fi;
	was_dead = false
}

/* ------------------------------------------------------------ invalidating threads */

#define in_tree_at(w, set)	(in_tree[w] && (pages_of(w) & (set)))

/* What __mmu_notifier_invalidate_range_start() does; see mm/mmu_notifier.c for the names. */
inline mn_itree_invalidate(slot, set, event)
{
	atomic { mn_itree_inv_start_range(slot, set); w = 0 }
	do
	:: d_step { found && !refused && w < WINDOWS && !in_tree_at(w, set) -> w++ }
	:: d_step { found && !refused && w < WINDOWS && in_tree_at(w, set) ->
			hmm_window_collide(w, set, event);
			w++
		}
		hmm_window_invalidate(event)
	:: found && !refused && w == SENTINEL ->
#ifdef LIFE
		if
		:: in_tree[w] && (set & LAST_PAGE) -> hmm_sentinel_invalidate(event)
		:: else
		fi;
#endif
		break
	:: else -> break
	od;
	atomic {
		w = 0;
		found = false;
#ifdef MAYFAIL
		if
		:: refused ->
			skip;
#ifndef MUTATE_LEAK_WHEN_TREE_REFUSES
			mn_itree_inv_end(slot)
#endif
		/* A notifier of the hlist */
		:: !refused && !blockable ->
			refused = true;
#ifndef MUTATE_LEAK_WHEN_HLIST_REFUSES
			mn_itree_inv_end(slot)
#endif
		:: !refused -> started[slot] = true
		fi
#else
		started[slot] = true
#endif
	}
}

/*
 * What has been read is out of date in any case. A folio with a reference cannot be migrated, and
 * a reclaimed folio stays in its cache: the same folio is mapped here again.
 */
inline page_freed(q, stays)
{
	for (j : 0 .. FAULTS - 1) {
		seen(j, q) = (seen(j, q) -> seen(j, q) | STALE : 0);
		if
		:: q != held_at(j) || (stays && held[j] >= SAME)
		:: else ->
			prepared[j] = (prepared[j] -> prepared[j] | STALE : 0);
			/* The locked folio is not that of the page any more. */
			folio[q] = folio[q] && held[j] != LOCKED;
			held[j] = (held[j] -> OTHER : 0)
		fi
	}
	j = 0
}

/*
 * The CPU's entry changes between start and end, and the page that it maps is freed:
 * zap_pte_range(), wp_page_copy(), try_to_migrate_one(), change_protection().
 */
inline change(q, event)
{
	atomic {
		if
		:: !pte[q] && (who == RMAP || event == PROTECT)
		:: !pte[q] && who != RMAP && event != PROTECT ->
			page_freed(q, false)	/* the folio was in a cache */
		:: else ->
			if
			:: event == PROTECT ->
				check_read_only(q);
				pte[q] = pte[q] & ~WRITE
			:: event == CLEAR ->	/* unmap */
				check_gone(q);
				pte[q] = 0;
				page_freed(q, who == RMAP)
			:: event == CLEAR ->	/* another page, COW or migration */
				check_gone(q);
				pte[q] = PRESENT | WRITE;
				page_freed(q, who == RMAP)
			fi
		fi
	}
}

/*
 * By kind: zap_page_range_single(), mprotect_fixup(), wp_page_copy() or __oom_reap_task_mm();
 * try_to_migrate(); unmap_mapping_range(); wp_page_copy()
 */
proctype invalidator(byte who, slot)
{
	byte me = NO_FAULT, set, event, inner, w, hit, wide, notified, was, p, j;
	bool blockable = true, found, refused, must_lock, was_dead;

again:
	atomic {
#ifdef STORM
		/* Of the page that the slow path serves, or migration of the other page */
		set = 1;
		if
		:: true
		:: who == RMAP -> set = 2
		fi;
#else
		select(set : 1 .. ASKED);
		if
		:: event = CLEAR
		:: who == MMAP -> event = PROTECT
		fi;
#ifdef MAYFAIL
		if
		:: who == MMAP -> blockable = false
		:: blockable = true
		fi;
#endif
#endif
		if
		:: who == MMAP -> atomic { mmap_free -> mmap_read++ }
		:: who == CPU -> atomic { vma_free -> vma_read++ }
		:: who == RMAP ->
			/* If set == BOTH: hugetlb, whose ranges are wider than the folio */
			if
			:: set != 2 -> atomic { folio_free(0) -> folio[0] = true }
			:: else -> atomic { folio_free(1) -> folio[1] = true }
			fi
		:: who == IMMAP
		fi
	}

	mn_itree_invalidate(slot, set, event);
	if
	:: refused -> refused = false
	:: else ->
#ifdef NEST
		if
		:: true
		:: blockable ->
			if
			:: inner = 1
			:: inner = BOTH
			fi;
			mn_itree_invalidate(slot + 1, inner, event);
			change(0, event);
			mn_itree_inv_end(slot + 1);
			inner = 0
		fi;
#endif
		atomic {
			if
			:: has(set, 0) -> change(0, event)
			:: else
			fi
		}
		atomic {
			if
			:: has(set, 1) && !(who == RMAP && set == BOTH) -> change(1, event)
			:: else
			fi
		}
		mn_itree_inv_end(slot)
	fi;

	atomic {
		if
		:: who == MMAP -> mmap_read--
		:: who == CPU -> vma_read--
		:: who == RMAP -> folio[(set == 2 -> 1 : 0)] = false
		:: who == IMMAP ->
			/* truncate_inode_pages() */
			folio_free(0)
		fi;
		set = 0;
		event = 0;
		blockable = true;
		if
#ifdef STORM
		:: who != IMMAP -> goto again
		:: who == IMMAP -> goto again
		:: who == IMMAP -> storms--
#else
		/* The slot of a range that never ends is not used again. */
		:: !active_ranges[slot] && !active_ranges[slot + 1] -> goto again
		/* A storm may stop at any time. No thread keeps a waiter waiting then. */
		:: storms--
#endif
		fi
	}
}

/* ------------------------------------------------- mm/hmm_mirror.c, ranges and windows */

inline mmap_write_lock()
{
	queue(mmap_next);
	atomic {
		!mmap_write && !mmap_read -> mmap_write = true;
		mmap_next = false
	}
}

/*
 * Waits until the window is in the tree, and until the invalidations have ended that were active
 * at its insertion and that it has not seen. mmap_lock is held, because this wait is for the
 * whole mm.
 */
inline hmm_window_subscribe(f, w)
{
#ifndef MUTATE_WINDOW_WITHOUT_MMAP_LOCK
	mmap_write_lock();
#endif
	touch_mm();
	mmu_interval_notifier_insert(w);
#ifndef MUTATE_NO_READ_BEGIN
	d_step { mmu_interval_read_begin(f, w) }
	!wait_seq[f];
#endif
#ifndef MUTATE_WINDOW_WITHOUT_MMAP_LOCK
	mmap_write = false
#endif
}

inline hmm_window_insert(f, w)
{
	atomic { !window_mutex -> window_mutex = true }
	if
	:: have_window[w]
	:: else ->
		hmm_window_subscribe(f, w);
		have_window[w] = true
	fi;
	window_mutex = false
}

inline hmm_windows_get(f, set)
{
	touch();
	if
	:: (pages_of(0) & (set)) && !have_window[0] -> hmm_window_insert(f, 0)
	:: else
	fi;
#if WINDOWS == 2
	if
	:: (pages_of(1) & (set)) && !have_window[1] -> hmm_window_insert(f, 1)
	:: else
	fi
#endif
}

inline list_add_range(f, set)
{
	d_step {
		touch();
		range[f] = set;
#ifdef OWN_TABLES
		part[f] = set;
		read_pages[f] = NOTHING;
#endif
#ifndef MUTATE_RESET_AFTER_WAIT
		collided[f] = false;
#endif
		committed[f] = false
	}
}

inline hmm_range_add(f, set)
{
#ifdef MUTATE_WAIT_BEFORE_PUBLISH
	mmu_interval_wait_active(f, set);
	list_add_range(f, set);
#else
	list_add_range(f, set);
	mmu_interval_wait_active(f, set);
#endif
#ifdef MUTATE_RESET_AFTER_WAIT
	collided[f] = false
#endif
}

/* And hmm_range_del(): the windows stay. */
inline __hmm_range_end(f)
{
	d_step {
		touch();
		range[f] = NOTHING;
		collided[f] = false;
		committed[f] = false;
		seen(f, 0) = 0;
		seen(f, 1) = 0
	}
}

inline __hmm_range_begin(f, set)
{
	hmm_windows_get(f, set);
	hmm_range_add(f, set);
	if
	:: dead -> __hmm_range_end(f); ret = FAILED
	:: else -> ret = 0
	fi
}

/* With locks held. What the range has read before, and its collisions, do not count any more. */
inline hmm_range_renew(f, set)
{
#if defined(MUTATE_RENEW_WITHOUT_WAIT)
	list_add_range(f, set);
#elif defined(MUTATE_RENEW_UNDER_LOCK)
	down_write();
	range[f] = NOTHING;		/* hmm_range_del() */
	hmm_range_add(f, set);
	lock_write = false;
#else
	range[f] = NOTHING;		/* hmm_range_del() */
	hmm_range_add(f, set);
#endif
}

#ifdef MUTATE_NO_DEAD_CHECK
#define seen_dead	false
#else
#define seen_dead	dead
#endif

#ifdef MUTATE_NO_CHECK
#define hmm_range_retry(f)	seen_dead
#elif defined(MUTATE_NO_CHECK_IN_PROGRESS)
#define hmm_range_retry(f)	((collided[f] && !alone) || seen_dead)
#else
#define hmm_range_retry(f)	(collided[f] || seen_dead)
#endif

/* hmm_range_retry() also does this when it returns false: one step, under range_lock */
#define hmm_range_commit(f)	committed[f] = true
#ifndef MUTATE_READER_WITHOUT_COMMIT
#define hmm_range_commit_reader(f)	hmm_range_commit(f)
#else
#define hmm_range_commit_reader(f)	skip
#endif

/* --------------------------------------------------------------------- mm/hmm_fault.c */

inline hmm_fault_remember(f)
{
#ifndef MUTATE_NO_REMEMBER_WRITE
	keep = ((mpt[0] & WRITE) | ((mpt[1] & WRITE) << 1)) & range[f]
#else
	skip
#endif
}

/* The range has the chunk, and the block that it cuts. */
inline hmm_fault_begin(f)
{
	set = chunk;
	do
	:: true ->
		__hmm_range_begin(f, set);
		if
		:: ret -> break
		:: else
		fi;
		atomic { down_read(); d_step {
			touch();
			set = hmm_pt_widen(chunk);
			keep = 0;
			fits = (set == range[f]);
			if
			:: fits -> hmm_fault_remember(f)
			:: else
			fi;
			lock_read--
		} }
		if
		:: fits -> break
		:: else -> __hmm_range_end(f)
		fi
	od;
	atomic { set = 0; fits = false }
}

#define wants_write(q)	(write && has(chunk, q))
#define served(q)	(pte[q] && (!wants_write(q) || (pte[q] & WRITE)))

/* ---------------------------------------------------------------------- mm/hmm.c, the walk */

/* A CPU fault waits for a migration, which has the folio locked. */
inline handle_mm_fault(q)
{
	touch_mm();
	pte[q] = (served(q) -> pte[q] : PRESENT | WRITE);
	folio_next[q] = folio_next[q] && mmap_write	/* the slow path keeps it */
}

/*
 * Invalidations by CPU faults of the walk: wp_page_copy(), or migrate_to_ram() of a driver. The
 * latter may fail and leave the page where no CPU reaches it.
 */
inline invalidate_self(q)
{
	mn_itree_invalidate(SLOT_SELF, own, CLEAR);
	atomic {
		for (p : 0 .. PAGES - 1) {
			if
			:: has(own, p) && pte[p] ->
				check_gone(p);
				pte[p] = PRESENT | WRITE;
				page_freed(p, false)
			:: else
			fi
		}
		p = 0;
		own = 0;
		if
		:: true
		:: pte[q] = PRESENT | WRITE
		fi
	}
	mn_itree_inv_end(SLOT_SELF)
}

/*
 * Walks of the range may have read other parts before: max(addr, range->seen_end). A range of a
 * fault is walked once.
 */
#if defined(OWN_TABLES) && !defined(MUTATE_OTHER_PARTS_UNSEEN)
#define first_unseen(f, q)	(has(read_pages[f], 1) -> 2 : (has(read_pages[f], 0) -> 1 : (q)))
#else
#define first_unseen(f, q)	(q)
#endif

/* Without SELF no CPU fault invalidates, and the model does not record which task is in one. */
inline hmm_walk_cpu_fault(f, q)
{
	atomic {
		served(q) || !folio[q] ->
#ifdef SELF
		if
		:: !served(q) ->
			folio_next[q] = false;
			faulting[f] = true;
			unseen[f] = first_unseen(f, q);
			if
			:: own = 1 << q
			:: own = BOTH		/* of a THP, or migrate_to_ram() around it */
			fi
		:: handle_mm_fault(q)
		fi
#else
		handle_mm_fault(q)
#endif
	}
#ifdef SELF
	if
	:: faulting[f] ->
		invalidate_self(q);
		atomic { faulting[f] = false; unseen[f] = 0 }
	:: else
	fi
#endif
}

/* A cancelled call begins no new CPU fault, and gives up after each wait. */
#ifdef CALLS
#define cancelled(f)	call_error[f]
#else
#define cancelled(f)	false
#endif

inline hmm_walk_check(f)
{
	if
	:: cancelled(f) -> ret = INTERRUPTED
	:: !cancelled(f) && collided[f] -> ret = BUSY
	:: else
	fi
}

/* Does the CPU fault wait for user space to provide the page? */
#ifdef UFFD
#define missing(q)	(!pte[q] && !uffd_closed)
#else
#define missing(q)	false
#endif

/* A second CPU fault at a page, after one that made no progress, is busy. */
inline hmm_walk_handle_fault(f, q)
{
#ifdef SELF
	if
	:: tried -> ret = BUSY
	:: else ->
		tried = true;
		hmm_walk_cpu_fault(f, q)
	fi;
#else
	hmm_walk_cpu_fault(f, q);
#endif
	hmm_walk_check(f)
}

/* The lock of a VMA can be unavailable without a task that holds it for writing. */
inline hmm_range_lock()
{
	atomic {
		if
		:: path == CPU && vma_free -> vma_read++	/* lock_vma_under_rcu() */
		:: mmap_free -> path = MMAP; mmap_read++
		fi
	}
}

inline hmm_range_unlock()
{
	if
	:: path == CPU -> vma_read--
	:: else -> mmap_read--
	fi
}

/*
 * A fault that has to wait, or that needs mmap_lock: VM_FAULT_RETRY. What is stored stays.
 * (VM_FAULT_COMPLETED is a subset: the lock may be lost, and the page is present.)
 */
inline hmm_walk_lost_lock(f)
{
	atomic {
		hmm_range_unlock();
		waited = (path == MMAP);
		path = MMAP;
		tried = false;
		folio_next[at] = false
	}
#ifdef MUTATE_RENEW_AFTER_RETRY
	wide = range[f];
	hmm_range_renew(f, wide);
	wide = 0;
#endif
	hmm_walk_check(f)
}

#ifdef UFFD
/* Another fault may hold the folio of the previous page. */
inline uffdio_copy(q)
{
	if
	:: pte[q]
	:: else -> pte[q] = PRESENT | WRITE; page_freed(q, false)
	fi
}

/*
 * The fault waits with no lock held. The wait is interruptible: TIF_NOTIFY_SIGNAL wakes the task,
 * and schedule() returns immediately if the flag is set before. User space answers at any time, or
 * only when no other task can still cancel the fault: with LIFE, never.
 */
inline handle_userfault(f, q)
{
	atomic { hmm_range_unlock() }
	if
	:: atomic { mmap_free -> uffdio_copy(q) }
	:: true ->
#ifdef MUTATE_CANCEL_WAKES_SLEEPERS
		asleep[f] = true;
#endif
		atomic {
			if
#ifndef MUTATE_WAIT_UNINTERRUPTIBLE
			:: notify[f]
#endif
			:: uffd_closed
			:: in_haste && !call_error[f] -> uffdio_copy(q)
			fi
		}
#ifdef MUTATE_CANCEL_WAKES_SLEEPERS
		asleep[f] = false
#endif
	fi
}

/* VM_FAULT_RETRY, hmm_walk_lost_lock(): walk->interrupted is from signal_pending(). */
inline hmm_range_wait_for_user_space(f, q)
{
	handle_userfault(f, q);
	atomic {
		waited = (path == MMAP);
		path = MMAP;
		tried = false;
		folio_next[q] = false
	}
#ifndef MUTATE_CHECK_BEFORE_WAIT_ONLY
	if
	:: notify[f] -> ret = INTERRUPTED
	:: else -> hmm_walk_check(f)
	fi
#endif
}
#endif

#define walk_end(f)	(has(range[f], 1) -> 2 : 1)

/*
 * Walk until the end, or until the lock is lost. At any page the walk can fail for good, or
 * because another task holds the page, so that CPU faults make no progress.
 */
inline hmm_walk_next(f)
{
	hmm_range_lock();
	do
	:: ret || at == walk_end(f) -> atomic { hmm_range_unlock() } break
	:: atomic { !ret && at < walk_end(f) && served(at) ->
			seen(f, at) = pte[at];
			at++;
			tried = false;
			waited = false
		}
	:: !ret && at < walk_end(f) && !served(at) && !missing(at) ->
		queue(folio_next[at]);
		if
		:: hmm_walk_handle_fault(f, at)
		:: !waited -> hmm_walk_lost_lock(f); break
		fi
#ifdef UFFD
	:: !ret && at < walk_end(f) && missing(at) ->
		hmm_range_wait_for_user_space(f, at);
		break
#endif
#if defined(BLOCKS) || defined(MAYFAIL)
	:: !ret && at < walk_end(f) -> atomic { failed = true; hmm_range_unlock() } break
#endif
#ifdef MAYFAIL
	:: !ret && at < walk_end(f) && !served(at) -> ret = BUSY	/* busy */
#endif
	od
}

inline hmm_walk_entries(f)
{
	atomic {
		at = (has(range[f], 0) -> 0 : 1);
		path = CPU;
		hmm_walk_check(f)
	}
	do
	:: ret || failed || at == walk_end(f) -> break
	:: else -> hmm_walk_next(f)
	od;
	atomic { at = 0; path = 0; waited = false; tried = false }
}

/* ------------------------------------------------------------- mm/hmm_fault.c, continued */

/* Gives up after a while. The length of this time only matters for when the fault ends. */
inline retry_busy()
{
	atomic {
		if
#ifdef LIVE
		:: busy++; ret = (busy == FRUITLESS_MAX -> FAILED : AGAIN)
#else
		:: ret = AGAIN
		:: ret = FAILED
#endif
		fi
	}
}

inline hmm_fault_walk(f)
{
	hmm_walk_entries(f);
	if
	:: ret == BUSY && collided[f] -> ret = AGAIN
	:: ret == BUSY && !collided[f] -> retry_busy()
	:: else
	fi
}

/* A page is writable only if that is requested, or if it is writable already. */
#define word_of(f, q)	(wants_write(q) || has(keep, q) -> seen(f, q) : seen(f, q) & ~WRITE)

/* While the lock is held, the folios of a range that has not collided can be read. */
inline hmm_commit_make_entries(f)
{
	atomic { down_read(); d_step {
		touch();
		seen(f, 0) = word_of(f, 0);
		seen(f, 1) = word_of(f, 1);
		stage = (seen(f, 0) -> 1 : 0) | (seen(f, 1) -> 2 : 0);
		keep = 0;
		if
		:: seen_dead -> ret = FAILED; lock_read--
#ifndef MUTATE_FOLIO_WITHOUT_CHECK
		:: !seen_dead && hmm_range_retry(f) -> ret = AGAIN; lock_read--
#endif
		:: else -> hmm_range_commit_reader(f)
		fi
	} }
	if
	:: ret
	:: else ->
		d_step {
			touch();
			assert(no_freed_folio || !((seen(f, 0) | seen(f, 1)) & STALE));
			lock_read--
		}
	fi
}

/*
 * Other faults may have published the same pages meanwhile, and their drivers were called. The
 * pages are revoked from them, too.
 */
inline hmm_commit_revoke(f, set)
{
#ifdef MUTATE_TAKE_BACK_WITHOUT_DRIVER
	hmm_mirror_collide(set, CLEAR);
	wide = hmm_pt_widen(set);
	hmm_pt_restrict_range(wide, CLEAR);
	wide = 0;
	p = 0;
	j = 0
#elif !defined(MUTATE_NO_TAKE_BACK)
	if
	:: !dead -> hmm_mirror_invalidate(set, CLEAR, true)
	:: else
	fi
#else
	skip
#endif
}

#ifdef MUTATE_NO_LOSES_WRITE
#define hmm_commit_loses_write(f)	false
#else
#define hmm_commit_loses_write(f)	\
	((has(stage, 0) && mpt[0] & WRITE && !(seen(f, 0) & WRITE)) || \
	 (has(stage, 1) && mpt[1] & WRITE && !(seen(f, 1) & WRITE)))
#endif
#ifdef MUTATE_BLOCK_IS_CUT
#define cuts_block	false
#else
#define cuts_block	(hmm_pt_widen(stage) != stage)
#endif

inline hmm_commit_check(f)
{
	if
	:: cuts_block -> ret = AGAIN; hmm_commit_revoke(f, BOTH)
	:: !cuts_block && hmm_commit_loses_write(f) -> ret = AGAIN
	:: else -> hmm_pt_publish(f)
	fi
}

inline driver_writes(set)
{
	dev[0] = (has(set, 0) -> mpt[0] : dev[0]);
	dev[1] = (has(set, 1) -> mpt[1] : dev[1])
}

/* DEVICE_?FAULT. A driver that fails has written nothing, some, or all. */
inline hmm_commit_sync(f)
{
	atomic {
		touch();
		assert(no_call_after_release || !released);
		if
		:: driver_writes(stage)
#ifdef MAYFAIL
		:: ret = FAILED
		:: ret = FAILED; driver_writes(stage & 1)
		:: ret = FAILED; driver_writes(stage)
#endif
		fi;
		check_within();
		lock_read--
	}
}

/* After a change, if something was revoked */
inline hmm_fault_unlock(f)
{
	d_step {
		touch();
		hmm_pt_end_change();
		check_within();
		lock_write = false
	}
}

inline hmm_commit_stage(f)
{
	atomic { down_write(); d_step {
		touch();
		if
		:: seen_dead -> ret = FAILED; lock_write = false
		:: !seen_dead && hmm_range_retry(f) -> ret = AGAIN; lock_write = false
		:: else -> hmm_range_commit(f)
		fi
	} }
	if
	:: ret
	:: else ->
		d_step {
			hmm_commit_check(f);
			if
			:: ret
			:: else ->		/* downgrade_write() */
				check_within();
				lock_write = false;
				lock_read++;
				telling++
			fi
		}
		if
		:: ret -> hmm_fault_unlock(f)
		:: else ->
			hmm_commit_sync(f);
			if
			:: !ret -> telling--
			:: else ->
				atomic { down_write(); d_step {
					touch();
					hmm_commit_revoke(f, stage)
				} }
				atomic { hmm_fault_unlock(f); telling-- }
			fi
		fi
	fi
}

/* And hmm_commit(), for faults outside the slow path */
inline hmm_commit_runs(f)
{
	hmm_commit_make_entries(f);
	if
	:: ret
	:: else -> hmm_commit_stage(f)
	fi
}

/* -------------------------------------------------------------- mm/hmm_exclusive.c */

#ifdef TAKES
#define takes(f)	has(TAKES, f)

/*
 * The CPU's entry is replaced by one that faults. The CPU gets the page back by an invalidation
 * under the folio's lock, as for a migration. What other faults have read from the old entry is
 * out of date.
 */
inline page_make_device_exclusive(f, q)
{
	atomic {
		if
		:: pte[q] && !(seen(f, q) & STALE) ->
			check_gone(q);
			for (j : 0 .. FAULTS - 1) {
				seen(j, q) = (j != f && seen(j, q) -> seen(j, q) | STALE :
							seen(j, q))
			}
			j = 0
		/* Another page is mapped, or none. */
		:: else -> folio[q] = false; ret = AGAIN
		fi
	}
}

/* For one page. GUP finds it again, or faults it in. There is no wait for the folio's lock. */
inline make_device_exclusive_range(f, q)
{
	if
	:: pte[q] & WRITE
	:: !(pte[q] & WRITE) && !folio[q] -> handle_mm_fault(q)
	:: !(pte[q] & WRITE) && folio[q] -> ret = AGAIN
	fi;
	if
	:: atomic { !ret && pte[q] & WRITE && folio_free(q) ->
			seen(f, q) = pte[q];
			folio[q] = true
		}
		mn_itree_invalidate(SLOT_TAKE(f), 1 << q, EXCLUSIVE);
		page_make_device_exclusive(f, q);
		mn_itree_inv_end(SLOT_TAKE(f))
	:: else -> ret = AGAIN
	fi
}

inline hmm_exclusive_make_all(f, q)
{
	taking[f] = true;
	make_device_exclusive_range(f, q);
	taking[f] = false
}

inline hmm_exclusive_release(q)
{
	atomic {
		folio[q] = false;
		mmap_read = (alone -> mmap_read : mmap_read - 1)
	}
}

/* And hmm_exclusive_survey(); hmm_exclusive_wait() comes last. */
inline hmm_exclusive_make(f, q)
{
	atomic { down_read(); d_step {
		touch();
		if
		:: hmm_range_retry(f) -> ret = AGAIN
		:: else -> hmm_range_commit_reader(f)
		fi;
		lock_read--
	} }
	if
	:: ret
	:: else ->
		atomic {
			if
			:: alone
			:: !alone && mmap_free -> mmap_read++
			fi
		}
		hmm_exclusive_make_all(f, q);
		if
		:: ret ->
			atomic { mmap_read = (alone -> mmap_read : mmap_read - 1) }
			!folio[q]
		:: else
		fi
	fi
}

inline hmm_fault_make_exclusive(f, q)
{
	hmm_exclusive_make(f, q);
	if
	:: ret
	:: else ->
		hmm_commit_runs(f);
		hmm_exclusive_release(q)
	fi
}
#else
#define takes(f)	false
#endif

/* ------------------------------------------------------------- mm/hmm_fault.c, continued */

/* Of the chunk, and whether the walk has reached it: hmm_fault_walked() */
#define first_page		(has(chunk, 0) -> 0 : 1)
#define served_all_before(f)	(has(chunk, 0) || !has(range[f], 0) || seen(f, 0))

inline hmm_fault_fast(f)
{
	hmm_fault_walk(f);
	if
	:: ret
	:: !ret && failed && !served_all_before(f) ->
		/* Pages before the chunk must not make it fail. */
		atomic { down_write(); d_step {
			set = range[f];
#ifndef MUTATE_BLOCK_STAYS
			hmm_commit_revoke(f, set);
#endif
			set = 0;
			ret = AGAIN
		} }
		hmm_fault_unlock(f)
	:: !ret && failed && served_all_before(f) && !seen(f, first_page) -> ret = FAILED
	:: else ->
#ifdef TAKES
		if
		:: takes(f) -> hmm_fault_make_exclusive(f, first_page)
		:: else -> hmm_commit_runs(f)
		fi
#else
		hmm_commit_runs(f)
#endif
	fi
}

inline retry_collided(f)
{
	collisions = (ret == AGAIN && collided[f] -> COLLISIONS_MAX : collisions)
}

inline hmm_fault_attempt(f)
{
	hmm_fault_begin(f);
	if
	:: ret
	:: else ->
		hmm_fault_fast(f);
		atomic {
			keep = 0;
			stage = 0;
			failed = false;
			retry_collided(f);
			__hmm_range_end(f)
		}
	fi
}

/* ------------------------------------------------------ mm/hmm_fault.c, the slow path */

/*
 * A page that is not mapped may be in a cache. Or the cache has another folio than the one that
 * the next CPU fault maps, as when a page of a file is copied. Or the cache has none.
 */
inline hmm_fault_get_folio(f, q)
{
	atomic {
		mmap_free ->
		touch_mm();
		if
		:: pte[q] -> held[f] = SAME
		:: !pte[q] && !missing(q) -> held[f] = SAME
		:: !pte[q] && !missing(q) -> held[f] = OTHER
		:: !pte[q]
		fi
	}
}

/* The walk requests nothing. */
inline hmm_slow_recheck(f, q)
{
	hmm_range_renew(f, chunk);
	if
	:: cancelled(f) -> ret = INTERRUPTED		/* hmm_walk_check() */
	:: !cancelled(f) && collided[f] -> ret = AGAIN
	:: else ->
		/*
		 * And the read of the mirror page table: one step, because what is published
		 * between the two could as well have been published before, and what is revoked
		 * between them is a collision.
		 */
		atomic { down_read(); d_step {
			seen(f, q) = (served(q) -> pte[q] : 0);
#ifdef MUTATE_PROGRESS_TAKES_ALL
			seen(f, 1) = pte[1];
#endif
			if
			:: seen(f, q) -> hmm_fault_remember(f)
			:: else
			fi;
			lock_read--
		} }
		if
		:: seen(f, q) -> hmm_commit_make_entries(f)
		:: else
		fi
	fi
}

/*
 * A CPU fault that would have to wait returns: hmm_walk_lost_lock(). It does wait for a
 * migration, which needs none of the locks that are held.
 */
inline hmm_walk_entries_nowait(f, q)
{
	hmm_walk_check(f);
	do
	:: !ret && served(q) -> break
#ifdef UFFD
	:: atomic { !ret && missing(q) -> ret = AGAIN }
#endif
	:: !ret && !served(q) && !missing(q) ->
		queue(folio_next[q]);
		hmm_walk_handle_fault(f, q)
	:: atomic { !ret && !served(q) && folio[q] -> ret = AGAIN }
#ifdef MAYFAIL
	:: !ret && !served(q) -> ret = AGAIN
	:: !ret && !served(q) -> ret = BUSY		/* busy */
	:: !ret && !served(q) -> ret = FAILED
#endif
	:: else -> break
	od;
	tried = false
}

/* The page is read again after the CPU fault, whether the range has collided or not. */
inline hmm_slow_fault_in(f, q)
{
	hmm_walk_entries_nowait(f, q);
	atomic {
		if
		:: ret == AGAIN -> collisions = COLLISIONS_MAX - 1
		:: ret == FAILED || ret == INTERRUPTED
		:: else ->
			vain = (ret == BUSY && !collided[f]);
			ret = AGAIN
		fi
	}
}

/* And is what was prepared for the same entry? */
inline hmm_slow_is_serialized(f, q)
{
	atomic { down_read(); d_step {
		touch();
		if
		:: !held[f] -> lock_read--
#ifndef MUTATE_ALONE_WITHOUT_CHECK
		:: held[f] && hmm_range_retry(f) -> lock_read--
#endif
		:: else -> hmm_range_commit_reader(f); is_alone = true
		fi
	} }
	if
	:: !is_alone
	:: else ->
		d_step {
			touch();
			assert(no_freed_folio || !(seen(f, q) & STALE));
#ifndef MUTATE_OTHER_FOLIO_IS_ALONE
			is_alone = (held[f] >= SAME);
#endif
#ifndef MUTATE_COMMITS_OTHER_ENTRY
			ready = (is_alone && prepared[f] && prepared[f] == seen(f, q));
#else
			ready = (is_alone && prepared[f]);
#endif
			lock_read--;
			/*
			 * The folio is locked, or is assumed to be. From here on nothing more is
			 * assumed.
			 */
			folio_next[q] = folio_next[q] && !is_alone
		}
	fi
}

inline hmm_slow_keep_folio(f, q)
{
	atomic { down_read(); d_step {
		touch();
		if
#ifndef MUTATE_KEEP_WITHOUT_CHECK
		:: hmm_range_retry(f) ->
			lock_read--;
			folio_next[q] = false;
			ret = AGAIN
#endif
		:: else -> hmm_range_commit_reader(f)
		fi
	} }
	if
	:: ret
	:: else ->
		d_step {
			touch();
			assert(no_freed_folio || !(seen(f, q) & STALE));
			held[f] = SAME;
			lock_read--;
			folio_next[q] = false;
			ret = AGAIN
		}
	fi
}

/* The lock of the folio that is held, even if the page has been unmapped meanwhile */
inline hmm_slow_prepare(f, q)
{
	d_step {
		prepared[f] = (held[f] >= SAME -> seen(f, q) & ~STALE : seen(f, q));
		ret = AGAIN
	}
}

/* With a storm: the assumption for a read of the page without the folio lock, see above */
#ifdef STORM
#define migrations_paused(q)	!folio[q]
#define migrations_pause(f, q)	folio_next[q] = folio_next[q] || (!ret && !seen(f, q))
#else
#define migrations_paused(q)	true
#define migrations_pause(f, q)	skip
#endif

/*
 * The lock of another folio is not modelled: no task holds it forever. A page that was unmapped
 * may be mapped here again.
 */
inline folio_lock_killable(f, q)
{
	queue(folio_next[q]);
	atomic {
		if
#ifndef MUTATE_PROGRESS_WITHOUT_FOLIO
		:: held[f] == SAME && !folio[q] ->
			folio[q] = true;
			held[f] = LOCKED;
			folio_next[q] = false
		:: held[f] == OTHER && pte[q] && !folio[q] ->
			prepared[f] = prepared[f] & ~STALE;
			folio[q] = true;
			held[f] = LOCKED;
			folio_next[q] = false
#else
		:: held[f] == SAME -> folio_next[q] = false
#endif
		:: held[f] < SAME && migrations_paused(q)
		:: held[f] == LOCKED
		fi
	}
}

inline folio_unlock(f, q)
{
	atomic {
		if
#ifdef MUTATE_FOLIO_DURING_FAULT
		:: held[f] == LOCKED && !ret && !seen(f, q)
#endif
		:: held[f] == LOCKED -> folio[q] = false; held[f] = SAME
		:: else
		fi;
		migrations_pause(f, q)
	}
}

inline hmm_slow_commit(f, q)
{
	hmm_slow_recheck(f, q);
	if
	:: ret || !seen(f, q)
	:: else ->
#ifdef MUTATE_FOLIO_AFTER_LOOK
		folio_lock_killable(f, q);
#endif
		hmm_slow_is_serialized(f, q);
		if
		:: ready ->
			seen(f, q) = prepared[f];
			hmm_commit_stage(f);
			prepared[f] = (ret == AGAIN -> 0 : prepared[f])
		:: else
		fi
	fi
}

/* The holders have released it. A task that is about to take it waits. */
inline vma_start_write()
{
#ifndef MUTATE_PROGRESS_WITHOUT_VMA
	queue(vma_next);
	atomic { !vma_read -> vma_write = true; vma_next = false }
#else
	skip
#endif
}

#define nothing_yet	(!ret && !ready)

inline hmm_slow_step(f, q)
{
#ifndef MUTATE_FOLIO_AFTER_LOOK
	folio_lock_killable(f, q);
#endif
	hmm_slow_commit(f, q);
	folio_unlock(f, q);
	if
	:: ret || ready
	:: nothing_yet && !seen(f, q) -> hmm_slow_fault_in(f, q)
#ifdef TAKES
	:: atomic { nothing_yet && seen(f, q) && takes(f) -> held[f] = NOTHING }
		hmm_fault_make_exclusive(f, q)
#endif
	:: atomic { nothing_yet && seen(f, q) && !takes(f) && is_alone -> hmm_slow_prepare(f, q) }
	:: atomic { nothing_yet && seen(f, q) && !takes(f) && !is_alone -> hmm_slow_keep_folio(f, q) }
	fi
}

#ifdef MUTATE_NO_PROGRESS_PATH
#define usual	true
#else
#define usual	(collisions < COLLISIONS_MAX)
#endif

/*
 * The number of steps only matters for when the fault ends, and only a storm revokes the page
 * again and again. Without a storm any number of steps is right for safety, and no limit is
 * necessary for liveness.
 */
#ifdef STORM
#define more_steps	(tries < ALONE_MAX - 1)
#define no_more_steps	!more_steps
#define next_step	tries++
#define no_steps	tries = 0
#elif defined(LIVE)
#define more_steps	true
#define no_more_steps	false
#define next_step	skip
#define no_steps	skip
#else
#define more_steps	true
#define no_more_steps	true
#define next_step	skip
#define no_steps	skip
#endif

inline hmm_slow_steps(f, q)
{
	touch_mm();
	vma_start_write();
	alone = true;
	do
	:: true ->
		hmm_slow_step(f, q);
		atomic {
			keep = 0;
			stage = 0;
			seen(f, q) = 0;
			is_alone = false;
			ready = false;
			retry_collided(f);
			if
			:: ret == AGAIN && !vain && !usual && more_steps -> ret = 0; next_step
			:: ret != AGAIN || vain || usual || no_more_steps -> break
			fi
		}
	od;
	/*
	 * hmm_fault_put_folio() comes later. Until then the reference only keeps the folio in
	 * memory: hmm_fault_get_folio() finds it again, or finds another one.
	 */
	atomic {
		alone = false;
		prepared[f] = 0;
		held[f] = NOTHING;
		no_steps
	}
}

inline hmm_fault_slow(f)
{
#ifndef MUTATE_PROGRESS_TAKES_ALL
	chunk = 1 << first_page;
#endif
	hmm_fault_get_folio(f, first_page);
	__hmm_range_begin(f, chunk);
	if
	:: ret -> held[f] = NOTHING
	:: else ->
#ifndef MUTATE_PROGRESS_WITHOUT_MMAP
		mmap_write_lock();
#endif
		hmm_slow_steps(f, first_page);
		atomic {
			mmap_write = false;		/* mmap_write_unlock() */
			vma_write = false;
			folio_next[first_page] = false;
#ifndef MUTATE_PROGRESS_NEVER_FRUITLESS
			if
			:: vain && !collided[f] -> retry_busy()
			:: else
			fi;
#endif
			vain = false;
			__hmm_range_end(f)
		}
	fi
}

#ifdef MUTATE_CHECK_BEFORE_WAIT_ONLY
#define hmm_fault_is_stopped(f)	false
#else
#define hmm_fault_is_stopped(f)	cancelled(f)
#endif

inline hmm_fault_chunk(f)
{
	ret = AGAIN;
	do
	:: ret == AGAIN && hmm_fault_is_stopped(f) -> ret = INTERRUPTED; break
	:: ret == AGAIN && !hmm_fault_is_stopped(f) && usual -> ret = 0; hmm_fault_attempt(f)
	:: ret == AGAIN && !hmm_fault_is_stopped(f) && !usual -> ret = 0; hmm_fault_slow(f)
	:: else -> break
	od
}

/* mm/hmm_cancel.c: -ESRCH if the mirror is dying */
inline hmm_call_begin(f)
{
	d_step {
		touch();
#ifndef MUTATE_CANCEL_STICKS
		call_error[f] = 0;
#endif
#ifdef MUTATE_CALL_BEGINS_WHILE_DYING
		in_calls[f] = true;
#else
		in_calls[f] = !dying;
#endif
		ret = (in_calls[f] -> 0 : FAILED)
	}
}

inline hmm_call_end(f)
{
	d_step {
		touch();
		in_calls[f] = false;
		ret = (call_error[f] -> call_error[f] : ret);
		assert(only_named_is_cancelled || (ret == CANCELED) == named[f]);
		assert(only_named_is_cancelled || ret != INTERRUPTED);
		call_error[f] = 0;		/* the call has it on its stack */
#ifndef MUTATE_CALL_LEAVES_FLAG
		notify[f] = false;
#endif
		named[f] = false
	}
}

proctype hmm_mirror_fault(byte f, chunk; bool write)
{
	byte me = f, set, keep, stage, wide, notified, ret, collisions, busy, j, p;
	byte at, path;
#ifdef STORM
	byte tries;
#endif
	bool alone, is_alone, ready, vain, fits, failed, refused, waited, tried;
#ifdef CANCEL
	bool later;
#endif
#if defined(SELF) || defined(TAKES)
	byte w, hit, was, own;
	bool blockable = true, found, must_lock;
#endif

#ifdef LIFE
end_without_mirror:
	/*
	 * The driver calls nothing after hmm_mirror_unregister() has returned. But a call that
	 * began before may not have its reference yet: it must not get one any more.
	 */
	atomic { registered -> working++ }
	atomic {			/* hmm_mirror_get() */
		if
		:: freed -> goto out
#ifndef MUTATE_GET_INCREMENTS_ZERO
		:: !freed && !users -> goto out
		:: !freed && users -> users++
#else
		:: !freed -> users++
#endif
		fi
	}
#endif
#ifdef CALLS
call:	hmm_call_begin(f);
	if
	:: ret -> goto put
	:: else
	fi;
#endif
#if defined(LIFE) && !defined(MUTATE_NO_MMGET)
	atomic {
		touch();
		if
		:: mm_users -> mm_users++
		:: else -> goto end_call
		fi
	}
#endif
	hmm_fault_chunk(f);
#if defined(LIFE) && !defined(MUTATE_NO_MMGET)
	mm_users--;			/* mmput_async() */
#endif
#ifdef CALLS
end_call:
	hmm_call_end(f);
put:
	skip;
#endif
#ifdef CANCEL
	/* Its task may call hmm_mirror_fault() again. */
	if
	:: f == NAMED && !later ->
		atomic { later = true; ret = 0; collisions = 0; busy = 0 }
		goto call
	:: true
	fi;
#endif
#ifdef LIFE
	atomic {			/* hmm_mirror_put() */
		touch();
		users--
	}
out:	working--;
#endif
	atomic {
		ended++;
		assert(device_is_told || telling || (mpt[0] == dev[0] && mpt[1] == dev[1]))
	}
}

#ifdef CANCEL
/* At any time: before the call begins, after it has ended, or while it is under way */
proctype canceller()
{
	byte j;

	hmm_mirror_cancel(NAMED);
	in_haste = true
}
#endif

/* ---------------------- a driver with its own page tables, HMM_MIRROR_OWN_TABLES */

#ifdef OWN_TABLES
/* Pages that other walks have read count, unless this walk reads all of them again. */
inline hmm_walk_begin(f)
{
	d_step {
		at = start_of(part[f]);
		read_pages[f] = (read_pages[f] & ~part[f] -> read_pages[f] : NOTHING)
	}
}

inline hmm_walk_end(f)
{
	read_pages[f] = read_pages[f] | part[f]
}

/* mmap_lock is held, and is not dropped. */
inline hmm_range_fault(f)
{
	hmm_walk_begin(f);
	hmm_walk_check(f);
	do
	:: atomic { !ret && has(part[f], at) && served(at) ->
			seen(f, at) = pte[at];
			at++;
			tried = false
		}
	:: !ret && has(part[f], at) && !served(at) -> hmm_walk_handle_fault(f, at)
	:: else -> break
	od;
	atomic {
		hmm_walk_end(f);
		at = 0;
		tried = false
	}
}

/* The driver walks one range of both pages part by part, in any order, and also twice. */
inline own_tables_walk(f)
{
	do
	:: atomic { !ret && walks < WALKS_MAX ->
			walks++;
#if WALKS_MAX == 1
			set = BOTH;
#else
			select(set : 1 .. BOTH);
#endif
			part[f] = set;
			set = 0
		}
		hmm_range_fault(f)
	:: atomic { !ret && seen(f, 0) && seen(f, 1) } break
	:: atomic { ret || walks == WALKS_MAX -> ret = (ret -> ret : AGAIN) } break
	od;
	walks = 0
}

/*
 * The table of the driver is both mpt[] and dev[]. hmm_range_retry() and what follows are one step:
 * every callback takes mirror->lock, whether a range is committed or not.
 */
inline own_tables_commit(f)
{
	atomic { down_write(); d_step {
		if
		:: hmm_range_retry(f) -> ret = AGAIN
		:: else ->
			stage = BOTH;
			hmm_pt_publish(f);
			driver_writes(BOTH);
			stage = 0
		fi;
		lock_write = false
	} }
}

/* hmm_range_begin() and a reference on mm_users, which the walk needs */
inline hmm_range_begin(f)
{
#ifdef LIFE
	atomic {			/* hmm_mirror_get() */
		if
		:: freed || !users -> ret = FAILED
		:: else ->
			users++;
			if
			:: mm_users -> mm_users++
			:: else -> users--; ret = FAILED
			fi
		fi
	}
	if
	:: ret
	:: else ->
		__hmm_range_begin(f, BOTH);
		atomic {
			if
			:: ret -> users--; mm_users--
			:: else
			fi
		}
	fi
#else
	__hmm_range_begin(f, BOTH)
#endif
}

inline hmm_range_end(f)
{
	__hmm_range_end(f);
#ifdef LIFE
	users--				/* hmm_mirror_put() */
#endif
}

inline own_tables_once(f)
{
	atomic { mmap_free -> mmap_read++ }
	own_tables_walk(f);
	atomic {
		mmap_read--;
#ifdef LIFE
		mm_users--
#endif
	}
	if
	:: ret
	:: else -> own_tables_commit(f)
	fi;
	hmm_range_end(f);
	ret = (ret -> AGAIN : 0)
}

/* The driver begins again until the range has not collided. */
proctype own_tables(byte f; bool write)
{
	byte me = f, chunk = BOTH, set, stage, wide, notified, ret, j, p, at, walks;
	bool refused, tried;
	byte w, hit, was, own;
	bool blockable = true, found, must_lock, was_dead;

#ifdef LIFE
end_without_mirror:
	atomic { registered -> working++ }
#endif
	do
	:: true ->
		hmm_range_begin(f);
		if
		:: ret -> break
		:: else -> own_tables_once(f)
		fi;
		if
		:: ret -> ret = 0
		:: else -> break
		fi
	od;
	atomic {
#ifdef LIFE
		working--;
#endif
		ended++
	}
}
#endif

/* --------------------------------- mm/hmm_mirror.c, registration; exit of the mm */

#ifdef LIFE
proctype lifetime()
{
	byte me = NO_FAULT, w, hit, wide, notified, p, j;
	bool refused, was_dead;

	/* hmm_mirror_register() */
	atomic {
		if
		:: mm_users -> mm_users++
		:: else -> goto failed
		fi
	}
	mmu_interval_notifier_insert(SENTINEL);
#ifndef MUTATE_REGISTER_DOES_NOT_WAIT
	d_step { mmu_interval_read_begin(REGISTER, SENTINEL) }
	!wait_seq[REGISTER];
#endif
	atomic { registered = true; mm_users-- }

	/* hmm_mirror_unregister() */
	if
	:: true
	/* Never. The process exits, and its userfaultfd is closed. */
	:: uffd_closed = true; goto failed
	fi;
#ifndef MUTATE_RELEASE_BEFORE_CANCEL
	hmm_mirror_set_dying();
	hmm_mirror_kill();
#else
	hmm_mirror_kill();
	hmm_mirror_set_dying();
#endif
	users--;		/* hmm_mirror_put() */
#ifndef MUTATE_UNREGISTER_LEAVES_FAULTS
	!users;
#endif
	mmu_interval_notifier_remove(SENTINEL);
#ifndef MUTATE_UNREGISTER_LEAVES_CALLBACKS
	!wait_seq[UNREGISTER];
#endif
	do
	:: w < WINDOWS && have_window[w] ->
		mmu_interval_notifier_remove(w);	/* hmm_window_remove() */
#ifndef MUTATE_UNREGISTER_LEAVES_CALLBACKS
		!wait_seq[UNREGISTER];
#endif
		w++
	:: w < WINDOWS && !have_window[w] -> w++
	:: else -> break
	od;
	atomic {
		assert(released_once || released == 1);
		check_gone(0);
		check_gone(1);
		freed = true
	}
failed:
	over = true
}

proctype exit_mm()
{
	byte me = NO_FAULT, w, hit, wide, notified, was, p, j;
	bool blockable = true, found, refused, must_lock, was_dead;

	/* mmput() */
	mm_users--;
	mm_users == 0;
	/* mn_itree_release() */
	mn_itree_invalidate(SLOT_EXIT, EVERYTHING, RELEASE);
	mn_itree_inv_end(SLOT_EXIT);
	assert(release_comes || !registered || dead);
	/* exit_mmap() */
	mn_itree_invalidate(SLOT_EXIT, EVERYTHING, CLEAR);
	d_step {
		check_gone(0);
		check_gone(1);
		pte[0] = 0;
		pte[1] = 0
	}
	mn_itree_inv_end(SLOT_EXIT)
}
#endif

init {
	bool write;

	atomic {
#ifndef UFFD
		pte[0] = PRESENT | WRITE;
		pte[1] = PRESENT | WRITE;
#endif
#if WHO0 != NO_THREAD
		run invalidator(WHO0, 0);
#endif
#if WHO1 != NO_THREAD
		run invalidator(WHO1, 2);
#endif
#ifdef LIFE
		run lifetime();
		run exit_mm();
#endif
#ifdef CANCEL
		run canceller();
#endif
		select(write : 0 .. 1);
#ifdef OWN_TABLES
		run own_tables(0, write);
#else
		run hmm_mirror_fault(0, FIRST, write || takes(0));
#if FAULTS == 2
		run hmm_mirror_fault(1, SECOND, !write || takes(1));
#endif
#endif
		write = false
	}
}

#define calm	(storms == 0)
#ifdef LIFE
#define all_ended	(over && (ended == FAULTS || !registered))
#else
#define all_ended	(ended == FAULTS)
#endif
#ifdef LIVE
ltl every_fault_ends { (<> calm) -> (<> all_ended) }
#endif
