// SPDX-License-Identifier: GPL-2.0
/*
 * Threads that register, unregister, fault, invalidate and exit concurrently
 */
#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/mman.h>
#include <linux/prandom.h>
#include <linux/sched/mm.h>
#include <linux/shmem_fs.h>

#include "hmm_mirror_test.h"

/* The race: in each round several threads end a mm with mirrors concurrently. */
#define LIFE_MIRRORS	3
#define LIFE_ACTORS	6
#define LIFE_CHUNKS	3
#define LIFE_SIZE	(LIFE_CHUNKS * PMD_SIZE)
#define LIFE_ROUNDS	2000

struct life;

/**
 * struct life_mirror - one of the mirrors, freed as soon as it is unregistered
 * @mirror: mirror
 * @life: the race that it belongs to
 * @faulting: the actors fault on this mirror
 * @lock: protects the members below
 * @releases: number of calls of the release callback
 * @late: number of callbacks after the release
 */
struct life_mirror {
	struct hmm_mirror mirror;
	struct life *life;
	bool faulting;
	spinlock_t lock; /* protects the members below */
	unsigned int releases;
	unsigned int late;
};

struct life_actor {
	struct life *life;
	void (*act)(struct life *life, struct rnd_state *rnd);
	struct rnd_state rnd;
	struct task_struct *task;
};

/**
 * struct life - the race
 * @mm: the mm of this round
 * @addr: anonymous memory, with a page of @file mapped after its first page
 * @file: a file that one actor unmaps from every mm
 * @mirrors: the mirrors; the pointers are stale after unregistration
 * @entered: a fault on the first mirror has begun or has ended
 * @fault_flags: flags of that fault
 * @fault_size: size of that fault
 * @actors: the threads
 * @round: number of the round; its change starts the actors
 * @begin: where the actors wait for the next round
 * @working: number of actors that have not finished the round
 * @done: all actors have finished the round
 * @stop: the last round is over
 * @wrong: number of mirrors with a wrong number of releases or a late callback, and of
 *	wrong errors
 * @faulted: number of successful faults
 */
struct life {
	struct mm_struct *mm;
	unsigned long addr;
	struct file *file;
	struct life_mirror *mirrors[LIFE_MIRRORS];
	struct completion entered;
	unsigned int fault_flags;
	unsigned long fault_size;
	struct life_actor actors[LIFE_ACTORS];
	unsigned int round;
	wait_queue_head_t begin;
	atomic_t working;
	struct completion done;
	bool stop;
	atomic_t wrong;
	atomic_t faulted;
};

static void life_wait_a_bit(struct rnd_state *rnd)
{
	u32 some = prandom_u32_state(rnd) % 16;

	if (some < 6)
		udelay(20 * some);
	else if (some < 8)
		usleep_range(50, 500 * (some - 5));
}

static void life_unregister(struct life *life, unsigned int nr)
{
	struct life_mirror *m = life->mirrors[nr];

	hmm_mirror_unregister(&m->mirror);
	if (m->releases != 1 || m->late)
		atomic_inc(&life->wrong);
	memset(m, 0x5a, sizeof(*m));
	kfree(m);
}

static void life_unregister_faulting(struct life *life, struct rnd_state *rnd)
{
	wait_for_completion(&life->entered);
	life_wait_a_bit(rnd);
	life_unregister(life, 0);
}

static void life_unregister_others(struct life *life, struct rnd_state *rnd)
{
	life_wait_a_bit(rnd);
	life_unregister(life, 1);
	life_wait_a_bit(rnd);
	life_unregister(life, 2);
}

/* The callback reports that a fault has begun. */
static int life_sync(struct hmm_mirror *mirror, const struct hmm_update *update)
{
	struct life_mirror *m = container_of(mirror, struct life_mirror, mirror);

	if (m->faulting && (update->event == HMM_UPDATE_DEVICE_RFAULT ||
			    update->event == HMM_UPDATE_DEVICE_WFAULT))
		complete(&m->life->entered);
	spin_lock(&m->lock);
	m->late += m->releases;
	spin_unlock(&m->lock);
	return 0;
}

static void life_release(struct hmm_mirror *mirror)
{
	struct life_mirror *m = container_of(mirror, struct life_mirror, mirror);

	spin_lock(&m->lock);
	m->releases++;
	spin_unlock(&m->lock);
}

static const struct hmm_mirror_ops life_ops = {
	.sync_cpu_device_pagetables = life_sync,
	.release = life_release,
};

static void life_fault(struct life *life, struct rnd_state *rnd)
{
	struct hmm_mirror *mirror = &life->mirrors[0]->mirror;
	long ret;

	ret = hmm_mirror_fault(mirror, life->addr, life->addr + life->fault_size,
			       life->fault_flags);
	/* Another actor may free the mirror from here on. */
	complete(&life->entered);
	if (ret > 0)
		atomic_inc(&life->faulted);
	else if (ret != -ESRCH && ret != -EFAULT)
		atomic_inc(&life->wrong);
}

static void life_change(struct life *life, struct rnd_state *rnd)
{
	unsigned int i;

	for (i = 0; i < 4 && mmget_not_zero(life->mm); i++) {
		unsigned long addr = life->addr + prandom_u32_state(rnd) % LIFE_CHUNKS * PMD_SIZE;

		if (i % 2) {
			do_madvise(life->mm, addr, PAGE_SIZE, MADV_DONTNEED);
		} else {
			kthread_use_mm(life->mm);
			put_user('x', (char __user *)addr);
			hmm_fake_protect(addr, PAGE_SIZE, PROT_READ);
			kthread_unuse_mm(life->mm);
		}
		mmput(life->mm);
		life_wait_a_bit(rnd);
	}
}

/* This needs no mm_users reference, and runs while the mm exits. */
static void life_unmap_file(struct life *life, struct rnd_state *rnd)
{
	unsigned int i;

	for (i = 0; i < 10; i++) {
		unmap_mapping_range(life->file->f_mapping, 0, 0, 1);
		cond_resched();
	}
}

static void life_mmput(struct life *life, struct rnd_state *rnd)
{
	life_wait_a_bit(rnd);
	mmput(life->mm);
}

/* Pairs with the smp_load_acquire() in life_thread(). */
static void life_begin(struct life *life)
{
	reinit_completion(&life->done);
	atomic_set(&life->working, LIFE_ACTORS);
	/* An actor that reads the new round also reads the members of this round. */
	smp_store_release(&life->round, life->round + 1);
	wake_up_all(&life->begin);
}

static int life_thread(void *arg)
{
	struct life_actor *actor = arg;
	struct life *life = actor->life;
	unsigned int round = 0;

	for (;;) {
		/* Pairs with the smp_store_release() in life_begin(). */
		wait_event(life->begin, smp_load_acquire(&life->round) != round);
		round = life->round;
		if (life->stop)
			break;
		actor->act(life, &actor->rnd);
		if (atomic_dec_and_test(&life->working))
			complete(&life->done);
	}
	if (atomic_dec_and_test(&life->working))
		complete(&life->done);
	return 0;
}

static void life_run(struct kunit *test, struct life *life)
{
	life_begin(life);
	if (!wait_for_completion_timeout(&life->done, HMM_FAKE_STUCK)) {
		KUNIT_FAIL(test, "stuck in round %u", life->round);
		wait_for_completion(&life->done);
	}
}

static void life_stop(void *arg)
{
	struct life *life = arg;

	life->stop = true;
	life_begin(life);
	wait_for_completion(&life->done);
	__fput_sync(life->file);
}

static void life_map(struct kunit *test, struct life *life)
{
	unsigned long i;

	life->addr = ALIGN(vm_mmap(NULL, 0, LIFE_SIZE + PMD_SIZE, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, 0), PMD_SIZE);
	KUNIT_ASSERT_EQ(test, 0, do_madvise(life->mm, life->addr, LIFE_SIZE, MADV_NOHUGEPAGE));
	/* Populate each chunk. */
	for (i = 0; i < LIFE_SIZE; i += PMD_SIZE)
		hmm_test_write(test, life->addr + i);
	KUNIT_ASSERT_EQ(test, life->addr + PAGE_SIZE,
			vm_mmap(life->file, life->addr + PAGE_SIZE, PAGE_SIZE, PROT_READ,
				MAP_SHARED | MAP_FIXED, 0));
	hmm_test_read(test, life->addr + PAGE_SIZE);
}

static struct life_mirror *life_register(struct kunit *test, struct life *life,
					 unsigned int nr)
{
	struct life_mirror *m = kmalloc(sizeof(*m), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, m);
	/* Members that the driver does not set are ignored. */
	memset(m, 0x6b, sizeof(*m));
	m->mirror.ops = &life_ops;
	m->mirror.dma_dev = NULL;
	m->mirror.dev_private_owner = m;
	m->mirror.flags = 0;
	m->life = life;
	m->faulting = !nr;
	spin_lock_init(&m->lock);
	m->releases = 0;
	m->late = 0;
	KUNIT_ASSERT_EQ(test, 0, hmm_mirror_register(&m->mirror, life->mm));
	return m;
}

static void life_round(struct kunit *test, struct life *life, struct rnd_state *rnd)
{
	struct mm_struct *mm = hmm_fake_mm(test);
	unsigned int i;

	life->mm = mm;
	mmgrab(mm);
	kthread_use_mm(mm);
	life_map(test, life);
	reinit_completion(&life->entered);
	for (i = 0; i < LIFE_MIRRORS; i++)
		life->mirrors[i] = life_register(test, life, i);
	hmm_mirror_fault(&life->mirrors[1]->mirror, life->addr, life->addr + LIFE_SIZE,
			 HMM_FAULT_PRESENT | HMM_FAULT_WRITE);
	kthread_unuse_mm(mm);

	/* Either a fault of many chunks, or one that needs CPU faults */
	life->fault_flags = HMM_FAULT_PRESENT | HMM_FAULT_READ;
	life->fault_size = LIFE_SIZE;
	if (prandom_u32_state(rnd) % 4 == 0) {
		life->fault_flags = HMM_FAULT_READ;
		life->fault_size = SZ_256K;
	}
	life_run(test, life);
	mmdrop(mm);
}

/*
 * Each mirror is released once and gets no late callback, in whatever order the actors
 * run.
 */
static void released_once_in_race(struct kunit *test)
{
	static void (*const acts[LIFE_ACTORS])(struct life *, struct rnd_state *) = {
		life_unregister_faulting, life_unregister_others, life_fault,
		life_change, life_unmap_file, life_mmput,
	};
	struct life *life = kunit_kzalloc(test, sizeof(*life), GFP_KERNEL);
	u32 seed = get_random_u32();
	struct rnd_state rnd;
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, life);
	kunit_info(test, "seed %u", seed);
	prandom_seed_state(&rnd, seed);
	init_completion(&life->entered);
	init_completion(&life->done);
	init_waitqueue_head(&life->begin);
	life->file = shmem_file_setup("hmm_mirror", PAGE_SIZE, 0);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, life->file);
	for (i = 0; i < LIFE_ACTORS; i++) {
		struct life_actor *actor = &life->actors[i];

		actor->life = life;
		actor->act = acts[i];
		prandom_seed_state(&actor->rnd, ++seed);
		actor->task = kthread_run(life_thread, actor, "hmm_life_%u", i);
		KUNIT_ASSERT_NOT_ERR_OR_NULL(test, actor->task);
	}
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, life_stop, life));

	for (i = 0; i < LIFE_ROUNDS; i++) {
		life_round(test, life, &rnd);
		KUNIT_ASSERT_EQ(test, 0, atomic_read(&life->wrong));
	}
	kunit_info(test, "%u rounds, %d faults", i, atomic_read(&life->faulted));
	KUNIT_EXPECT_GT(test, atomic_read(&life->faulted), 0);
}

/*
 * Several threads that register and unregister, while the first one creates what they
 * share
 */
struct crowd {
	struct mm_struct *mm;
	unsigned long addr;
	atomic_t wrong;
	atomic_t working;
	struct completion done;
};

static int crowd_thread(void *arg)
{
	struct crowd *crowd = arg;
	struct hmm_fake *fake;
	unsigned int i;

	for (i = 0; i < 25; i++) {
		fake = kmalloc(sizeof(*fake), GFP_KERNEL);
		if (!fake)
			break;
		hmm_fake_init(fake);
		if (hmm_mirror_register(&fake->mirror, crowd->mm)) {
			atomic_inc(&crowd->wrong);
			kfree(fake);
			break;
		}
		if (hmm_fake_fault(fake, crowd->addr, 4, HMM_FAULT_READ) != 4)
			atomic_inc(&crowd->wrong);
		do_madvise(crowd->mm, crowd->addr, PAGE_SIZE, MADV_DONTNEED);
		hmm_mirror_unregister(&fake->mirror);
		if (fake->releases != 1 || fake->late || fake->wrong)
			atomic_inc(&crowd->wrong);
		memset(fake, 0x5a, sizeof(*fake));
		kfree(fake);
	}
	if (atomic_dec_and_test(&crowd->working))
		complete(&crowd->done);
	return 0;
}

/* Concurrent registration and unregistration in one mm succeed. */
static void concurrent_registration(struct kunit *test)
{
	struct crowd crowd = { .mm = hmm_fake_mm(test) };
	unsigned int i;

	kthread_use_mm(crowd.mm);
	crowd.addr = vm_mmap(NULL, 0, 4 * PAGE_SIZE, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, 0);
	kthread_unuse_mm(crowd.mm);
	init_completion(&crowd.done);
	atomic_set(&crowd.working, 4);
	for (i = 0; i < 4; i++)
		kthread_run(crowd_thread, &crowd, "hmm_crowd");
	wait_for_completion(&crowd.done);
	KUNIT_EXPECT_EQ(test, 0, atomic_read(&crowd.wrong));
	mmput(crowd.mm);
}

static struct kunit_case hmm_mirror_life_race_cases[] = {
	KUNIT_CASE(concurrent_registration),
	KUNIT_CASE_SLOW(released_once_in_race),
	{}
};

static struct kunit_suite hmm_mirror_life_race_suite = {
	.name = "hmm_mirror_life_race",
	.test_cases = hmm_mirror_life_race_cases,
};

kunit_test_suite(hmm_mirror_life_race_suite);
