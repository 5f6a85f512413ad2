/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The protocol between a mirror and the memory management, for spin.
 *
 * What is modelled, each piece under the name of the C function it stands for:
 *
 *  - mm/mmu_notifier.c: the count of active invalidations, the sequence that is odd while a window
 *    in the tree is concerned, insertion and removal that are deferred meanwhile, the list of
 *    active ranges, the way out when the interval tree or the hlist refuses;
 *  - mm/hmm_mirror.c: windows, their callback, begin / retry / end of a range, the fault loop with
 *    its progress path, registration, RELEASE through the sentinel, unregistration;
 *  - those who invalidate: with mmap_lock (zap, protection; also the OOM reaper, which may not
 *    sleep), with the folio's lock (migration), with neither (truncation), nested, in parallel;
 *  - the driver, who may refuse where it may not sleep and may fail to map.
 *
 * Two pages are enough: whatever involves a third one involves two that are alike. A window is one
 * page or both. A pte is present or not, writable or not. Which page it maps has no number: what
 * a fault has read from it is marked when that page is freed.
 *
 * A sequence that grows for ever is infinitely many states. All that the code asks of one is "is
 * it still the value that I saw?". So whoever remembers a value has a bit here, and each step of
 * the sequence clears all of them. The same goes for the numbers of active ranges.
 *
 * What is left out:
 *  - memory order. All that is shared is read and written under a lock of the kernel, the wait
 *    queues' conditions included, or the reader looks again under one;
 *  - empty windows that go away: a fault holds a reference on its window, so that this is
 *    mmu_interval_notifier_remove() without a fault, which unregistration shows;
 *  - the walk's own locks below mmap_lock, and the pagemap: they are never held while waiting;
 *  - the invalidation that breaks COW in the fault itself: it collides with its own range, but it
 *    leaves nothing to break for the next attempt, and it runs while the fault holds no lock that
 *    a callback takes. A fault that waits under mirror->lock is what the mutation of this
 *    name shows;
 *  - memory that is unmapped for ever by those who hold neither mmap_lock nor the folio's lock
 *    (truncation), or taken away by reclaim each time: it is not resident, and whether a fault
 *    on such memory ends is not asked.
 *
 * Fairness is weak (who can always go on does). A lock that is taken again and again by others
 * needs more: with LIVE, locks have queues, as the kernel's hand-off gives them. Without them each
 * waiter may be overtaken for ever, which is the wider model for safety. For folios this assumes
 * more than hand-off: that who finds a migration entry, or is about to lock the folio, comes before
 * the next migration, even if that is of another folio at the same address.
 *
 * What LIVE cannot promise, and does not ask: insertion of a window waits until the mm has not a
 * single active invalidation. Faults keep out those who take mmap_lock, but two who do not and who
 * overlap for ever would keep a first fault in a window waiting.
 *
 * Knobs, set in hmm.runs: WINDOWS (1 or 2), FAULTS, WHO0 and WHO1 (who invalidates), OTHERS (who
 * else listens), MAYFAIL (refusals), NEST, LIFE (register, exit, unregister), LIVE (storms that
 * never end). MUTATE_x breaks one thing, where it stands.
 */

#ifndef WINDOWS
#define WINDOWS	1
#endif
#ifndef FAULTS
#define FAULTS	1
#endif
#ifndef TRIES
#define TRIES	1		/* collisions before the progress path */
#endif

/* Has someone else an interval notifier on all of this mm? Then insertions are deferred. */
#ifndef OTHERS
#define OTHERS	false
#endif

/* Who invalidates, by what is held from start to end */
#define NOBODY	0
#define MMAP	1		/* mmap_lock for reading: MADV_DONTNEED, COW, OOM reaper */
#define RMAP	2		/* the folio's lock: migration */
#define IMMAP	3		/* neither: truncation, which needs the folio's lock afterwards */
#ifndef WHO0
#define WHO0	MMAP
#endif
#ifndef WHO1
#define WHO1	NOBODY
#endif

/* Events */
#define CLEAR	0
#define PROTECT	1
#define RELEASE	2

/* Addresses are sets of pages: bit 0, bit 1, and the sentinel's page in bit 2. */
#define PAGES		2
#define BOTH		3
#define LAST_PAGE	4
#define EVERYTHING	7
#define has(set, p)	(((set) >> (p)) & 1)
#define SENTINEL	WINDOWS
#if WINDOWS == 1
#define window_of(p)	0
#define pages_of(w)	((w) == SENTINEL -> LAST_PAGE : BOTH)
#else
#define window_of(p)	(p)
#define pages_of(w)	(1 << (w))
#endif

/* Entries of the CPU's page table, the mirror's, and the device's */
#define WRITE		1
#define PRESENT		2
#define STALE		4
byte pte[PAGES], mpt[PAGES], dev[PAGES];
/* What a fault has seen in the CPU's, by fault and page; STALE as soon as that page is freed */
byte walked[FAULTS * PAGES];
#define seen(f, p)	walked[(f) * PAGES + (p)]
#define covered(e, p)	(!((e) & STALE) && (!((e) & WRITE) || (pte[p] & WRITE)))

/* struct mmu_notifier_subscriptions */
#define SLOTS		5	/* two (nested) of each who invalidates, one of exit */
#define SLOT_EXIT	4
byte active_ranges[SLOTS];		/* the list of active ranges: the pages of each */
bool started[SLOTS];		/* its start succeeded: only properties look */
byte active_invalidate_ranges;
bool odd;			/* invalidate_seq & 1 */
bool in_tree[WINDOWS + 1], deferred[WINDOWS + 1];
bool same_seq[WINDOWS + 1];	/* interval_sub->invalidate_seq == invalidate_seq */
#define overlaps(s, set)	(active_ranges[s] & (set))

/* Waiters: the faults, registration, unregistration */
#define REGISTER	FAULTS
#define UNREGISTER	(FAULTS + 1)
bool wait_seq[FAULTS + 2];	/* the sequence is still what it was when I looked */
byte wait_active[FAULTS];	/* ranges that were active when I looked and still are, by slot */

/* Locks; those called next have been promised to a fault */
bool lock_write, lock_read;			/* mirror->lock */
#ifdef LIVE
chan lock_queue = [3] of { byte };
#endif
bool mmap_write, mmap_next;
byte mmap_read;
bool folio[PAGES], folio_next[PAGES];
#ifdef LIVE
#define queue(next)	next = true
#else
#define queue(next)	skip
#endif
#define lock_free	(!lock_write && !lock_read)
#define mmap_free	(!mmap_write && !mmap_next)
#define folio_free(p)	(!folio[p] && !folio_next[p])

inline lock_for_writing()
{
#ifdef LIVE
	lock_queue!_pid;
	atomic { lock_free && lock_queue?[eval(_pid)] -> lock_queue?eval(_pid); lock_write = true }
#else
	atomic { lock_free -> lock_write = true }
#endif
}

/* struct hmm_mirror */
bool dead, registered, freed;
byte released, users;
bool have_window[WINDOWS];
byte range[FAULTS];		/* the list of ranges: the pages of each */
bool collided[FAULTS];

byte mm_users = 1;
byte ended;			/* faults that returned */

/*
 * Properties. Each is a variable that is always false, because pan quotes the expression.
 */
hidden byte no_entry_survives, no_stale_commit, refusal_changes_nothing, not_touched_when_freed;
hidden byte released_once, release_comes, mm_is_alive;

#define touch()		assert(not_touched_when_freed || !freed)
#define touch_mm()	assert(mm_is_alive || mm_users)

inline check_gone(p)
{
	assert(no_entry_survives || (!mpt[p] && !dev[p]))
}

inline check_read_only(p)
{
	assert(no_entry_survives || !((mpt[p] | dev[p]) & WRITE))
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

/* Its first half, and the condition that it waits for is !wait_seq[who]. */
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
 * New in the core: the ranges that are active now and overlap. Who waits for those that come later,
 * too, may wait for ever without a single collision.
 */
inline mn_itree_active_ranges(f, set)
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
#define waited_for(f, set)	(!overlaps(0, set) && !overlaps(1, set) && !overlaps(2, set) && \
				 !overlaps(3, set) && !overlaps(4, set))
#else
#define waited_for(f, set)	(!wait_active[f])
#endif

/* -------------------------------------------------------------------- mm/hmm_mirror.c */

inline hmm_pt_clear(set, event)
{
	for (p : 0 .. PAGES - 1) {
		mpt[p] = (has(set, p) -> (event == PROTECT -> mpt[p] & ~WRITE : 0) : mpt[p])
	}
}

/* What a driver does for an invalidation */
inline driver_clear(set, event)
{
	for (p : 0 .. PAGES - 1) {
		dev[p] = (has(set, p) -> (event == PROTECT -> dev[p] & ~WRITE : 0) : dev[p])
	}
}

/* Does the mirror page table hold something there that the event takes away? */
#define entry_held(p, set, event)	(has(set, p) && \
					 ((event) == PROTECT -> mpt[p] & WRITE : mpt[p]))
#define hmm_pt_held(set, event)		(entry_held(0, set, event) || entry_held(1, set, event))

inline hmm_ranges_collide(set)
{
	for (j : 0 .. FAULTS - 1) {
		collided[j] = collided[j] || (range[j] & set)
	}
}

/*
 * mirror->lock is held for writing from the first step to the last, so that what is between them is
 * one step.
 */
inline hmm_window_invalidate(w, set, event)
{
	touch();
	if
	:: blockable -> lock_for_writing()
	:: !blockable -> atomic {
		if
		:: lock_free -> lock_write = true
		:: else ->
#ifndef MUTATE_TRYLOCK_SUCCEEDS
			refused = true
#else
			skipped = true
#endif
		fi
	}
	fi;
	atomic {
		if
		:: !refused && !skipped ->
			touch();
			hit = set & pages_of(w);
			same_seq[w] = true;		/* mmu_interval_set_seq() */
			was = mpt[0] | (mpt[1] << 4);
			if
			:: dead -> skip
			:: else ->
#ifdef MUTATE_EMPTY_BEFORE_COLLISION
				if
				:: hmm_pt_held(hit, event) -> hmm_ranges_collide(hit)
				:: else
				fi;
#elif !defined(MUTATE_NO_COLLISION)
				hmm_ranges_collide(hit);
#endif
				if
				:: hmm_pt_held(hit, event) ->
#ifdef MUTATE_CLEAR_BEFORE_DRIVER
					hmm_pt_clear(hit, event);
#endif
					if
					:: !blockable -> refused = true
					:: true ->
						driver_clear(hit, event);
						hmm_pt_clear(hit, event)
					fi
				:: else
				fi
			fi;
			assert(refusal_changes_nothing || !refused ||
			       was == (mpt[0] | (mpt[1] << 4)));
			was = 0;
			hit = 0;
			p = 0;
			j = 0;
			lock_write = false
		:: else -> skipped = false
		fi
	}
}

/* Nobody's page is there; UNMAP of everything at exit comes along, too. */
inline hmm_sentinel_invalidate(event)
{
	touch();
	if
	:: event == RELEASE ->
		hmm_mirror_kill();
		if
		:: kill -> touch(); driver_release()
		:: else
		fi;
		kill = false
	:: else
	fi
}

/*
 * From now on callbacks do nothing and no fault commits. Therefore the table is emptied in the
 * same breath.
 */
inline hmm_mirror_kill()
{
	lock_for_writing();
	d_step {
		kill = !dead;
		dead = true;
		if
#ifndef MUTATE_KILL_LEAVES_TABLE
		:: kill -> driver_clear(BOTH, CLEAR); hmm_pt_clear(BOTH, CLEAR)
#endif
		:: else
		fi;
		p = 0;
		lock_write = false
	}
}

inline driver_release()
{
	atomic {
		assert(released_once || !released);
		released++
	}
}

/* What __mmu_notifier_invalidate_range_start() does; see mm/mmu_notifier.c for the names. */
inline mn_itree_invalidate(slot, set, event)
{
	mn_itree_inv_start_range(slot, set);
	w = 0;
	do
	:: found && !refused && w < WINDOWS ->
		if
		:: in_tree[w] && (pages_of(w) & set) -> hmm_window_invalidate(w, set, event)
		:: else
		fi;
		w++
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

inline page_freed(q)
{
	for (j : 0 .. FAULTS - 1) {
		seen(j, q) = (seen(j, q) -> seen(j, q) | STALE : 0)
	}
	j = 0
}

/* The CPU's entry changes between start and end, and the page behind it is freed. */
inline change(q, event)
{
	atomic {
		if
		:: !pte[q]
		:: else ->
			if
			:: event == PROTECT ->
				check_read_only(q);
				pte[q] = pte[q] & ~WRITE
			:: event == CLEAR ->	/* unmap */
				check_gone(q);
				pte[q] = 0;
				page_freed(q)
			:: event == CLEAR ->	/* another page, COW or migration */
				check_gone(q);
				pte[q] = PRESENT | WRITE;
				page_freed(q)
			fi
		fi
	}
}

proctype invalidator(byte who, slot)
{
	byte set, event, inner, w, hit, was, p, j;
	bool blockable = true, found, refused, skipped, kill;

again:
#ifdef LIVE
	/* A storm on the page that the progress path is about, or migration of the other one */
	set = 1;
	if
	:: true
	:: who == RMAP -> set = 2
	fi;
#else
	atomic {
		select(set : 1 .. BOTH);
		if
		:: event = CLEAR
		:: who == MMAP -> event = PROTECT
		fi;
#ifdef MAYFAIL
		if
		:: who == MMAP -> blockable = false
		:: blockable = true
		fi
#endif
	}
#endif
	if
	:: who == MMAP -> atomic { mmap_free -> mmap_read++ }
	:: who == RMAP ->
		/* Of set == BOTH: hugetlb, whose ranges are wider than the folio */
		if
		:: set != 2 -> atomic { folio_free(0) -> folio[0] = true }
		:: else -> atomic { folio_free(1) -> folio[1] = true }
		fi
	:: who == IMMAP
	fi;

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
		if
		:: has(set, 0) -> change(0, event)
		:: else
		fi;
		if
		:: has(set, 1) && !(who == RMAP && set == BOTH) -> change(1, event)
		:: else
		fi;
		mn_itree_inv_end(slot)
	fi;

	atomic {
		if
		:: who == MMAP -> mmap_read--
		:: who == RMAP -> folio[(set == 2 -> 1 : 0)] = false
		:: who == IMMAP ->
			/* truncate_inode_pages() */
			folio_free(0)
		fi;
		set = 0;
		event = 0;
		blockable = true
	}
#ifdef LIVE
	goto again
#else
	if
	:: goto again
	:: true		/* for ever only as long as it likes: who waits then has nobody left */
	fi
#endif
}

/* ------------------------------------------------------------------------- the fault */

inline mmap_write_lock()
{
	queue(mmap_next);
	atomic {
		!mmap_write && !mmap_read -> mmap_write = true;
		mmap_next = false
	}
}

/*
 * Window w is there, and what invalidated when it was inserted, unseen by it, is over. With only
 * mmap_lock held, because this wait is for the whole mm.
 */
inline hmm_window_insert(f, w)
{
	d_step {
		touch_mm();
		if
		:: !have_window[w] ->
			have_window[w] = true;
			mmu_interval_notifier_insert(w)
		:: else
		fi;
#ifndef MUTATE_NO_READ_BEGIN
		mmu_interval_read_begin(f, w)
#endif
	}
	if
	:: !wait_seq[f]
#ifndef MUTATE_WINDOW_WITHOUT_MMAP_LOCK
	:: wait_seq[f] ->	/* long enough */
		mmap_write_lock();
		!wait_seq[f];
		mmap_write = false
#endif
	fi
}

inline publish(f, set)
{
	d_step {
		touch();
		range[f] = set;
#ifndef MUTATE_RESET_AFTER_WAIT
		collided[f] = false
#endif
	}
}

inline wait_for_active(f, set)
{
#ifdef MUTATE_WAIT_UNDER_LOCK
	lock_for_writing();
#endif
#ifdef MUTATE_NO_WAIT
	skip;
#else
	mn_itree_active_ranges(f, set);
	waited_for(f, set);
#endif
#ifdef MUTATE_WAIT_UNDER_LOCK
	lock_write = false;
#endif
}

inline hmm_range_begin(f, set)
{
#ifdef MUTATE_WAIT_BEFORE_PUBLISH
	wait_for_active(f, set);
	publish(f, set);
#else
	publish(f, set);
	wait_for_active(f, set);
#endif
#ifdef MUTATE_RESET_AFTER_WAIT
	collided[f] = false;
#endif
}

inline hmm_range_end(f)
{
	d_step {
		touch();
		range[f] = 0;
		collided[f] = false;
		seen(f, 0) = 0;
		seen(f, 1) = 0
	}
}

/* handle_mm_fault(): waits for a migration, which has the folio locked. */
inline fault_in(q)
{
	queue(folio_next[q]);
	atomic {
		pte[q] || !folio[q];
		touch_mm();
		pte[q] = (pte[q] -> pte[q] : PRESENT | WRITE)
	}
}

inline walk(f, q)
{
	if
	:: has(range[f], q) ->
#ifdef LIVE
		if
		:: !slow -> fault_in(q)
		:: else
		fi;
		d_step { seen(f, q) = pte[q]; folio_next[q] = false }
#else
		if
		:: !slow && !pte[q] -> fault_in(q)
		:: else
		fi;
		seen(f, q) = pte[q]
#endif
	:: else
	fi
}

#define invalid(slot, q)	(started[slot] && has(active_ranges[slot], q))
#define no_active(q)	(!invalid(0, q) && !invalid(1, q) && !invalid(2, q) && !invalid(3, q) && \
			 !invalid(4, q))

inline put_entry(f, q)
{
	old[q] = mpt[q];
	if
	:: seen(f, q) ->
		assert(no_stale_commit || (no_active(q) && covered(seen(f, q), q)));
		mpt[q] = seen(f, q)
	:: else
	fi
}

#ifdef MUTATE_NO_DEAD_CHECK
#define seen_dead	false
#else
#define seen_dead	dead
#endif

#ifdef MUTATE_NO_CHECK
#define seen_collided(f)	false
#elif defined(MUTATE_NO_CHECK_IN_PROGRESS)
#define seen_collided(f)	(collided[f] && !slow)
#else
#define seen_collided(f)	collided[f]
#endif

/* To what was there before: the device still has that. */
#ifdef MUTATE_UNDO_CLEARS
#define undone(q)	0
#else
#define undone(q)	old[q]
#endif

inline undo(f)
{
	mpt[0] = (seen(f, 0) -> undone(0) : mpt[0]);
	mpt[1] = (seen(f, 1) -> undone(1) : mpt[1])
}
/* What hmm_range_retry() says is in retry, whether there is nothing left to do in done. */
inline hmm_mirror_commit(f)
{
	lock_for_writing();
	d_step {
		touch();
		if
		:: seen_dead -> done = true; lock_write = false
		:: !seen_dead && seen_collided(f) -> retry = true; lock_write = false
		:: else ->
			put_entry(f, 0);
			put_entry(f, 1);
			lock_write = false;	/* downgrade_write() */
			lock_read = true;
			committed = true
		fi
	}
	if
	:: committed ->
		/* DEVICE_RFAULT */
		atomic {
			if
			:: dev[0] = (seen(f, 0) -> seen(f, 0) : dev[0]);
			   dev[1] = (seen(f, 1) -> seen(f, 1) : dev[1]);
			   lock_read = false
#ifdef MAYFAIL
			:: true ->
#ifdef MUTATE_UNDO_LATE
				lock_read = false;
				undoing = true
#else
				undo(f);
				lock_read = false
#endif
#endif
			fi;
		}
#ifdef MUTATE_UNDO_LATE
		if
		:: undoing ->
			atomic { lock_free -> undo(f); undoing = false }
		:: else
		fi;
#endif
		d_step { done = true; committed = false; old[0] = 0; old[1] = 0 }
	:: else
	fi
}
proctype hmm_mirror_fault(byte f, pages)
{
	byte old[PAGES], tries, j;
	bool slow, done, retry, committed, undoing;

#ifdef LIFE
end_without_mirror:
	registered;
	/*
	 * The driver calls nothing after it unregistered: that is its part. Ours is that nobody
	 * gets in whom unregistration, having waited for the others, does not know of.
	 */
	atomic {
		if
		:: freed -> goto out
#ifndef MUTATE_ENTER_WHEN_DEAD
		:: !freed && dead -> goto out
		:: !freed && !dead -> users++
#else
		:: !freed -> users++
#endif
		fi
	}
#ifndef MUTATE_NO_MMGET
	atomic {
		touch();
		if
		:: mm_users -> mm_users++
		:: else -> goto put
		fi
	}
#endif
#endif
	hmm_window_insert(f, window_of(0));
#if WINDOWS == 2
	if
	:: has(pages, 1) -> hmm_window_insert(f, window_of(1))
	:: else
	fi;
#endif

	do
	:: !done && !slow ->
		hmm_range_begin(f, pages);
		atomic { mmap_free -> mmap_read++ }
		walk(f, 0);
		walk(f, 1);
		mmap_read--;
		hmm_mirror_commit(f);
		hmm_range_end(f);
		atomic {
			if
			:: retry ->
				retry = false;
#ifndef MUTATE_NO_PROGRESS_PATH
				tries++;
				slow = (tries == TRIES)
#endif
			:: else
			fi
		}
	/*
	 * Who holds mmap_lock has come to its end, who is about to take it waits; the same
	 * goes for the folio. Truncation takes neither, so that there is a check here, too.
	 */
	:: !done && slow ->
		mmap_write_lock();
		do
		:: !done ->
			fault_in(0);
			atomic { !folio[0] -> folio[0] = true; folio_next[0] = false }
#ifdef MUTATE_PROGRESS_TAKES_ALL
			hmm_range_begin(f, pages);
#else
			hmm_range_begin(f, 1);
#endif
			walk(f, 0);
#ifdef MUTATE_PROGRESS_TAKES_ALL
			walk(f, 1);
#endif
			if
			:: seen(f, 0) -> hmm_mirror_commit(f)
			:: else
			fi;
			hmm_range_end(f);
			d_step { retry = false; folio[0] = false }
		:: else -> break
		od;
		mmap_write = false
	:: else -> break
	od;

#ifdef LIFE
#ifndef MUTATE_NO_MMGET
	mm_users--;
#endif
put:	atomic {
		touch();
		users--
	}
out:
#endif
	ended++
}

/* ------------------------------------------------------------- registration, exit, end */

#ifdef LIFE
proctype lifetime()
{
	byte w, p, j;
	bool kill;

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
	:: goto failed		/* never: exit comes alone */
	fi;
	hmm_mirror_kill();
	if
	:: kill -> driver_release()
	:: else
	fi;
	kill = false;
#ifndef MUTATE_UNREGISTER_LEAVES_FAULTS
	!users;
#endif
	do
	:: w < WINDOWS && have_window[w] ->
		mmu_interval_notifier_remove(w);
#ifndef MUTATE_UNREGISTER_LEAVES_CALLBACKS
		!wait_seq[UNREGISTER];
#endif
		w++
	:: w < WINDOWS && !have_window[w] -> w++
	:: w == WINDOWS ->
		mmu_interval_notifier_remove(SENTINEL);
#ifndef MUTATE_UNREGISTER_LEAVES_CALLBACKS
		!wait_seq[UNREGISTER];
#endif
		break
	od;
	atomic {
		assert(released_once || released == 1);
		check_gone(0);
		check_gone(1);
		freed = true
	}
failed:
	skip
}

proctype exit_mm()
{
	byte w, hit, was, p, j;
	bool blockable = true, found, refused, skipped, kill;

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
	atomic {
		pte[0] = PRESENT | WRITE;
		pte[1] = PRESENT | WRITE;
		run hmm_mirror_fault(0, BOTH);
#if FAULTS == 2
		run hmm_mirror_fault(1, 1);
#endif
		run invalidator(WHO0, 0);
#if WHO1 != NOBODY
		run invalidator(WHO1, 2);
#endif
#ifdef LIFE
		run lifetime();
		run exit_mm();
#endif
	}
}

#ifdef LIVE
ltl every_fault_ends { <> (ended == FAULTS) }
#endif
