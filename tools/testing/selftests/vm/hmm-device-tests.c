// SPDX-License-Identifier: GPL-2.0
/*
 * What a device, its driver and HMM make of each other: each event and the answers to it, several
 * devices on the same memory and what is in theirs, what they have for themselves, what is reported
 * of them; and bad input.
 */
#include "../kselftest_harness.h"

#include <pthread.h>
#include <sys/stat.h>

#include "hmm-mirror.h"

/* Invalidations with nothing behind them: how each is told, and what is left */

struct notified {
	__u32 event;
	enum told told;
	enum mapped left;
};

static const struct notified notified[] = {
	{ HMM_DMIRROR_NOTIFY_UNMAP,		TOLD_MUNMAP,		MAPS_NOTHING },
	{ HMM_DMIRROR_NOTIFY_CLEAR,		TOLD_MIGRATE,		MAPS_NOTHING },
	{ HMM_DMIRROR_NOTIFY_PROTECTION_VMA,	TOLD_WRITE_PROTECT,	MAPS_RO },
	{ HMM_DMIRROR_NOTIFY_PROTECTION_PAGE,	TOLD_WRITE_PROTECT,	MAPS_RO },
	{ HMM_DMIRROR_NOTIFY_SOFT_DIRTY,	TOLD_ISDIRTY,		MAPS_RO },
	{ HMM_DMIRROR_NOTIFY_MIGRATE,		TOLD_MIGRATE,		MAPS_NOTHING },
	{ HMM_DMIRROR_NOTIFY_EXCLUSIVE,		TOLD_MIGRATE,		MAPS_NOTHING },
};

#define NOTIFIED	((long)(sizeof(notified) / sizeof(*notified)))

TEST_F(hmm_mirror, every_event)
{
	char *mem = map_small(_metadata, NPAGES);

	for (long i = 0; i < NOTIFIED; i++) {
		const struct notified *n = &notified[i];

		mirror_all(_metadata, &self->dev, mem);
		EXPECT_EQ(0, dmirror_invalidate(&self->dev, mem, NPAGES, n->event));
		EXPECT_EQ(NPAGES, dmirror_told(&self->dev, mem, NPAGES, n->told));
		EXPECT_EQ(NPAGES, dmirror_maps(&self->dev, mem, NPAGES, n->left));
	}
}

TEST_F(hmm_mirror, every_event_nonblockable)
{
	char *mem = map_small(_metadata, NPAGES);

	for (long i = 0; i < NOTIFIED; i++) {
		const struct notified *n = &notified[i];

		mirror_all(_metadata, &self->dev, mem);
		EXPECT_EQ(0, dmirror_invalidate_now(&self->dev, mem, NPAGES, n->event));
		EXPECT_EQ(NPAGES, dmirror_told_how(&self->dev, mem, NPAGES, n->told, false));
		EXPECT_EQ(NPAGES, dmirror_maps(&self->dev, mem, NPAGES, n->left));
	}
}

/* The device's own migration: it is the driver's, so its old pages go as well. */
TEST_F(hmm_mirror, own_event)
{
	char *mem = mirrored(_metadata, &self->dev);

	EXPECT_EQ(0, dmirror_invalidate_for(&self->dev, mem, NPAGES, HMM_DMIRROR_NOTIFY_MIGRATE,
					    HMM_DMIRROR_NOTIFY_BLOCKABLE | HMM_DMIRROR_NOTIFY_OWN,
					    0));
	EXPECT_EQ(NPAGES, dmirror_maps(&self->dev, mem, NPAGES, MAPS_NOTHING));
}

/* Refused: nothing changes. Nobody who may sleep is ever refused. */
TEST_F(hmm_mirror, refused)
{
	char *mem = mirrored(_metadata, &self->dev);

	for (long i = 0; i < NOTIFIED; i++) {
		const struct notified *n = &notified[i];

		ASSERT_EQ(0, dmirror_refuse(&self->dev, 2, 0, 0));
		EXPECT_EQ(-EAGAIN, dmirror_invalidate_now(&self->dev, mem, NPAGES, n->event));
		EXPECT_EQ(-EAGAIN, dmirror_invalidate_now(&self->dev, mem, NPAGES, n->event));
		EXPECT_EQ(NPAGES, dmirror_maps(&self->dev, mem, NPAGES, MAPS_RW));
		EXPECT_EQ(NPAGES, dmirror_has_written(&self->dev, mem, NPAGES));
		EXPECT_EQ(0, dmirror_faults_of(&self->dev, mem, NPAGES, dmirror_write_stamps));
		EXPECT_EQ(0, dmirror_invalidate_now(&self->dev, mem, NPAGES, n->event));
		EXPECT_EQ(NPAGES, dmirror_maps(&self->dev, mem, NPAGES, n->left));
		mirror_all(_metadata, &self->dev, mem);
	}
}

TEST_F(hmm_mirror, blockable_is_not_refused)
{
	char *mem = mirrored(_metadata, &self->dev);

	ASSERT_EQ(0, dmirror_refuse(&self->dev, 1, 0, 0));
	ASSERT_EQ(0, madvise(mem, SIZE, MADV_DONTNEED));
	EXPECT_EQ(NPAGES, dmirror_told(&self->dev, mem, NPAGES, TOLD_MIGRATE));
	EXPECT_EQ(0ULL, dmirror_stats(&self->dev).refused);
}

/* Threads that do something to the device for a while */

struct helper {
	pthread_t thread;
	struct dmirror *dev;
	char *mem;
	__u64 msecs;
	long ret;
};

static void *hold_thread(void *arg)
{
	struct helper *helper = arg;

	helper->ret = dmirror_hold(helper->dev, helper->msecs);
	return NULL;
}

static void *invalidate_thread(void *arg)
{
	struct helper *helper = arg;

	helper->ret = dmirror_invalidate_for(helper->dev, helper->mem, NPAGES,
					     HMM_DMIRROR_NOTIFY_CLEAR,
					     HMM_DMIRROR_NOTIFY_BLOCKABLE, helper->msecs);
	return NULL;
}

static void start_holding(struct __test_metadata *_metadata, struct helper *helper)
{
	ASSERT_EQ(0, pthread_create(&helper->thread, NULL, hold_thread, helper));
	while (!dmirror_stats(helper->dev).holders)
		usleep(1000);
}

static void end_helper(struct __test_metadata *_metadata, struct helper *helper)
{
	ASSERT_EQ(0, pthread_join(helper->thread, NULL));
	EXPECT_EQ(0, helper->ret);
}

TEST_F(hmm_mirror, held)
{
	char *mem = mirrored(_metadata, &self->dev);
	struct helper helper = { .dev = &self->dev, .msecs = 5000 };

	start_holding(_metadata, &helper);
	EXPECT_EQ(-EAGAIN, dmirror_try_invalidate(&self->dev, mem, NPAGES,
						  HMM_DMIRROR_NOTIFY_CLEAR));
	EXPECT_TRUE(dmirror_told_nothing(&self->dev));
	EXPECT_EQ(NPAGES, dmirror_maps(&self->dev, mem, NPAGES, MAPS_RW));
	EXPECT_EQ(1ULL, dmirror_stats(&self->dev).holders);
	ASSERT_EQ(0, madvise(mem, SIZE, MADV_DONTNEED));
	EXPECT_EQ(0ULL, dmirror_stats(&self->dev).holders);
	EXPECT_EQ(NPAGES, dmirror_told(&self->dev, mem, NPAGES, TOLD_MIGRATE));
	end_helper(_metadata, &helper);
	EXPECT_EQ(0, dmirror_invalidate_now(&self->dev, mem, NPAGES, HMM_DMIRROR_NOTIFY_CLEAR));
}

/* An invalidation that goes on delays faults in its range, and no others. */
TEST_F(hmm_mirror, fault_beside_invalidation)
{
	char *mem = map_small(_metadata, 2 * NPAGES);
	struct helper helper = { .dev = &self->dev, .mem = mem, .msecs = 3000 };
	long begin;

	stamp_write(mem, 2 * NPAGES, TAG_CPU);
	mirror_all(_metadata, &self->dev, mem);
	ASSERT_EQ(0, madvise(page_at(mem, NPAGES), SIZE, MADV_DONTNEED));
	begin = msecs_now();
	ASSERT_EQ(0, pthread_create(&helper.thread, NULL, invalidate_thread, &helper));
	while (dmirror_maps(&self->dev, mem, 1, MAPS_NOTHING) != 1)
		usleep(1000);

	EXPECT_EQ(NPAGES, dmirror_read_zeros(&self->dev, page_at(mem, NPAGES), NPAGES));
	EXPECT_GT(2500, msecs_now() - begin);
	EXPECT_EQ(NPAGES, dmirror_read_stamps(&self->dev, mem, NPAGES, TAG_DEVICE));
	EXPECT_LE(3000, msecs_now() - begin);
	end_helper(_metadata, &helper);
}

/* Several mirrors of one mm */

FIXTURE(hmm_pair)
{
	struct dmirror dev;
	struct dmirror peer;
	char *mem;
};

FIXTURE_VARIANT(hmm_pair)
{
	int device;
	int peer;
	bool remote;	/* the peer reaches the memory of the device where it is */
};

FIXTURE_VARIANT_ADD(hmm_pair, private)
{
	.device = PRIVATE,
	.peer = OTHER_PRIVATE,
};

FIXTURE_VARIANT_ADD(hmm_pair, coherent)
{
	.device = COHERENT,
	.peer = OTHER_COHERENT,
	.remote = true,
};

FIXTURE_VARIANT_ADD(hmm_pair, private_and_coherent)
{
	.device = PRIVATE,
	.peer = COHERENT,
};

FIXTURE_SETUP(hmm_pair)
{
	dmirror_open(_metadata, &self->dev, variant->device, NPAGES);
	dmirror_open(_metadata, &self->peer, variant->peer, NPAGES);
	self->mem = map_small(_metadata, NPAGES);
	mirror_all(_metadata, &self->dev, self->mem);
}

FIXTURE_TEARDOWN(hmm_pair)
{
	close(self->peer.fd);
	close(self->dev.fd);
}

TEST_F(hmm_pair, both_are_told)
{
	ASSERT_EQ(NPAGES, dmirror_read_stamps(&self->peer, self->mem, NPAGES, TAG_DEVICE));
	dmirror_forget(&self->peer);
	ASSERT_EQ(0, munmap(self->mem, SIZE));
	EXPECT_EQ(NPAGES, dmirror_told(&self->dev, self->mem, NPAGES, TOLD_MUNMAP));
	EXPECT_EQ(NPAGES, dmirror_told(&self->peer, self->mem, NPAGES, TOLD_MUNMAP));
}

TEST_F(hmm_pair, only_the_writer_is_told)
{
	ASSERT_EQ(NPAGES, dmirror_read_stamps(&self->peer, self->mem, NPAGES, TAG_DEVICE));
	dmirror_forget(&self->peer);
	ASSERT_EQ(0, mprotect(self->mem, SIZE, PROT_READ));
	EXPECT_EQ(NPAGES, dmirror_told(&self->dev, self->mem, NPAGES, TOLD_WRITE_PROTECT));
	EXPECT_TRUE(dmirror_told_nothing(&self->peer));
}

TEST_F(hmm_pair, to_the_device)
{
	ASSERT_EQ(NPAGES, dmirror_read(&self->peer, self->mem, NPAGES));
	dmirror_forget(&self->peer);
	ASSERT_EQ(NPAGES, dmirror_migrate_to_dev(&self->dev, self->mem, NPAGES));
	EXPECT_EQ(NPAGES, dmirror_told(&self->peer, self->mem, NPAGES, TOLD_MIGRATE));
	EXPECT_EQ(NPAGES, dmirror_maps(&self->peer, self->mem, NPAGES, MAPS_NOTHING));
	EXPECT_EQ(NPAGES, dmirror_maps_bits(&self->dev, self->mem, NPAGES,
					    HMM_DMIRROR_PTE_DEVICE, HMM_DMIRROR_PTE_DEVICE));
	EXPECT_EQ(NPAGES, dmirror_write_stamps(&self->dev, self->mem, NPAGES));
	EXPECT_EQ(NPAGES, dmirror_migrate_to_sys(&self->dev, self->mem, NPAGES));
	EXPECT_EQ(NPAGES, dmirror_maps(&self->dev, self->mem, NPAGES, MAPS_NOTHING));
	EXPECT_EQ(NPAGES, stamp_run(self->mem, NPAGES, TAG_DEVICE));
}

/* The CPU fetches what it cannot reach, and leaves what it can. */
TEST_F(hmm_pair, fetched_by_the_cpu)
{
	ASSERT_EQ(NPAGES, dmirror_migrate_to_dev(&self->dev, self->mem, NPAGES));
	ASSERT_EQ(NPAGES, dmirror_write_stamps(&self->dev, self->mem, NPAGES));
	dmirror_forget(&self->dev);
	EXPECT_EQ(NPAGES, stamp_run(self->mem, NPAGES, TAG_DEVICE));
	EXPECT_EQ(variant->remote ? 0 : NPAGES,
		  dmirror_told(&self->dev, self->mem, NPAGES,
			       variant->remote ? TOLD_NOTHING : TOLD_MIGRATE));
	EXPECT_EQ(NPAGES, dmirror_read_stamps(&self->dev, self->mem, NPAGES, TAG_DEVICE));
}

TEST_F(hmm_pair, fetched_by_the_peer)
{
	ASSERT_EQ(NPAGES, dmirror_migrate_to_dev(&self->dev, self->mem, NPAGES));
	ASSERT_EQ(NPAGES, dmirror_write_stamps(&self->dev, self->mem, NPAGES));
	dmirror_forget(&self->dev);
	EXPECT_EQ(NPAGES, dmirror_read_stamps(&self->peer, self->mem, NPAGES, TAG_DEVICE));
	EXPECT_EQ(variant->remote ? 0 : NPAGES,
		  dmirror_told(&self->dev, self->mem, NPAGES,
			       variant->remote ? TOLD_NOTHING : TOLD_MIGRATE));
	EXPECT_EQ(NPAGES, stamp_run(self->mem, NPAGES, TAG_DEVICE));
}

/* From the memory of the one to that of the other, by way of the system's */
TEST_F(hmm_pair, handed_on)
{
	ASSERT_EQ(NPAGES, dmirror_migrate_to_dev(&self->dev, self->mem, NPAGES));
	ASSERT_EQ(NPAGES, dmirror_write_stamps(&self->dev, self->mem, NPAGES));
	ASSERT_EQ(NPAGES, dmirror_migrate_to_sys(&self->dev, self->mem, NPAGES));
	ASSERT_EQ(NPAGES, dmirror_migrate_to_dev(&self->peer, self->mem, NPAGES));
	EXPECT_EQ(NPAGES, dmirror_read_stamps(&self->peer, self->mem, NPAGES, TAG_DEVICE));
	EXPECT_EQ(NPAGES, dmirror_maps_bits(&self->peer, self->mem, NPAGES,
					    HMM_DMIRROR_PTE_DEVICE, HMM_DMIRROR_PTE_DEVICE));
	EXPECT_EQ(NPAGES, dmirror_read_stamps(&self->dev, self->mem, NPAGES, TAG_DEVICE));
}

TEST_F(hmm_pair, forked_on_the_device)
{
	struct witness child;

	ASSERT_EQ(NPAGES, dmirror_migrate_to_dev(&self->dev, self->mem, NPAGES));
	ASSERT_EQ(NPAGES, dmirror_write_stamps(&self->dev, self->mem, NPAGES));
	dmirror_forget(&self->dev);
	child = witness_fork(_metadata, self->mem, NPAGES, TAG_DEVICE);
	EXPECT_EQ(NPAGES, dmirror_told(&self->dev, self->mem, NPAGES, TOLD_FORK));
	EXPECT_EQ(0, dmirror_faults_of(&self->dev, self->mem, NPAGES, dmirror_read));
	EXPECT_TRUE(witness_saw_no_change(&child));
}

/* Does a page stay on the device, and does the device write it? */
static bool stays_on_the_device(struct dmirror *dev, char *mem)
{
	return dmirror_write_stamps(dev, mem, NPAGES) == NPAGES &&
	       dmirror_maps_bits(dev, mem, NPAGES, HMM_DMIRROR_PTE_DEVICE | MAPS_RW,
				 HMM_DMIRROR_PTE_DEVICE | MAPS_RW) == NPAGES;
}

/* Permissions come and go; the page stays, as long as no other process has it. */
TEST_F(hmm_pair, written_on_the_device)
{
	pid_t child;

	ASSERT_EQ(NPAGES, dmirror_migrate_to_dev(&self->dev, self->mem, NPAGES));
	EXPECT_TRUE(stays_on_the_device(&self->dev, self->mem));
	ASSERT_EQ(0, mprotect(self->mem, SIZE, PROT_READ));
	ASSERT_EQ(0, mprotect(self->mem, SIZE, PROT_READ | PROT_WRITE));
	EXPECT_TRUE(stays_on_the_device(&self->dev, self->mem));
	child = fork();
	if (!child)
		_exit(0);
	ASSERT_EQ(child, waitpid(child, NULL, 0));
	EXPECT_TRUE(stays_on_the_device(&self->dev, self->mem));
	EXPECT_EQ(NPAGES, stamp_run(self->mem, NPAGES, TAG_DEVICE));
}

/* While a child has the pages, too, the device writes copies. */
TEST_F(hmm_pair, shared_on_the_device)
{
	struct witness child;

	stamp_write(self->mem, NPAGES, TAG_CPU);
	ASSERT_EQ(NPAGES, dmirror_migrate_to_dev(&self->dev, self->mem, NPAGES));
	child = witness_fork(_metadata, self->mem, NPAGES, TAG_CPU);
	EXPECT_EQ(NPAGES, dmirror_write_stamps(&self->dev, self->mem, NPAGES));
	EXPECT_TRUE(witness_saw_no_change(&child));
	EXPECT_EQ(NPAGES, stamp_run(self->mem, NPAGES, TAG_DEVICE));
}

/*
 * There it stays. Private memory is not exclusive: the CPU does not reach it, and another
 * mirror of the same device does.
 */
TEST_F(hmm_pair, exclusive_on_the_device)
{
	const long exclusive = variant->device == PRIVATE ? 0 : NPAGES;

	stamp_write(self->mem, NPAGES, TAG_CPU);
	ASSERT_EQ(NPAGES, dmirror_migrate_to_dev(&self->dev, self->mem, NPAGES));
	ASSERT_EQ(NPAGES, dmirror_exclusive(&self->dev, self->mem, NPAGES));
	EXPECT_EQ(NPAGES, stamp_run(self->dev.buf, NPAGES, TAG_CPU));
	EXPECT_EQ(exclusive, dmirror_has_exclusive(&self->dev, self->mem, NPAGES));
	EXPECT_EQ(NPAGES, dmirror_maps(&self->dev, self->mem, NPAGES, MAPS_RW));
	EXPECT_EQ(NPAGES, dmirror_maps_bits(&self->dev, self->mem, NPAGES,
					    HMM_DMIRROR_PTE_DEVICE, HMM_DMIRROR_PTE_DEVICE));
	ASSERT_EQ(NPAGES, dmirror_write_stamps(&self->dev, self->mem, NPAGES));
	dmirror_forget(&self->dev);
	EXPECT_EQ(NPAGES, stamp_run(self->mem, NPAGES, TAG_DEVICE));
	EXPECT_EQ(NPAGES, dmirror_told(&self->dev, self->mem, NPAGES, TOLD_MIGRATE));
}

/* Of two mirrors of one device never does one have for itself what the other may write. */
TEST_F(hmm_pair, exclusive_of_one_device)
{
	struct dmirror second;

	dmirror_open(_metadata, &second, variant->device, NPAGES);
	stamp_write(self->mem, NPAGES, TAG_CPU);
	ASSERT_EQ(NPAGES, dmirror_migrate_to_dev(&self->dev, self->mem, NPAGES));
	ASSERT_EQ(NPAGES, dmirror_write_stamps(&self->dev, self->mem, NPAGES));
	ASSERT_EQ(NPAGES, dmirror_exclusive(&second, self->mem, NPAGES));
	if (dmirror_has_exclusive(&second, self->mem, NPAGES))
		EXPECT_EQ(0, dmirror_maps(&self->dev, self->mem, NPAGES, MAPS_RW));
	ASSERT_EQ(NPAGES, dmirror_write_stamps(&self->dev, self->mem, NPAGES));
	if (dmirror_has_exclusive(&second, self->mem, NPAGES))
		EXPECT_EQ(0, dmirror_maps(&self->dev, self->mem, NPAGES, MAPS_RW));
	close(second.fd);
}

/* All of the device's memory is taken from it. */
TEST_F(hmm_pair, memory_taken)
{
	ASSERT_EQ(NPAGES, dmirror_migrate_to_dev(&self->dev, self->mem, NPAGES));
	ASSERT_EQ(NPAGES, dmirror_write_stamps(&self->dev, self->mem, NPAGES));
	EXPECT_LE((__u64)NPAGES, dmirror_stats(&self->dev).devmem_pages);
	dmirror_forget(&self->dev);
	ASSERT_EQ(0, dmirror_ioctl(self->dev.fd, HMM_DMIRROR_RELEASE, self->mem, 1, NULL));
	EXPECT_EQ(0ULL, dmirror_stats(&self->dev).devmem_pages);
	EXPECT_EQ(NPAGES, dmirror_told(&self->dev, self->mem, NPAGES, TOLD_MIGRATE));
	EXPECT_EQ(NPAGES, dmirror_read_stamps(&self->dev, self->mem, NPAGES, TAG_DEVICE));
}

static bool takers_stop;

/* Move a page to the device, look at it, give it back, and again. */
static void *take_thread(void *arg)
{
	struct helper *helper = arg;
	__u64 content = stamp_of(TAG_CPU, 0);

	while (!__atomic_load_n(&takers_stop, __ATOMIC_RELAXED)) {
		__atomic_store_n((__u64 *)helper->mem, content, __ATOMIC_RELAXED);
		dmirror_migrate_to_dev(helper->dev, helper->mem, 1);
		if (__atomic_load_n((__u64 *)helper->mem, __ATOMIC_RELAXED) != content)
			helper->ret = -EIO;
		madvise(helper->mem, PAGE_SIZE, MADV_DONTNEED);
	}
	return NULL;
}

/*
 * All memory is taken while threads move pages to the device. A page that they have just
 * taken has no content yet, and one that has moved back has none any more.
 */
TEST_F(hmm_pair, memory_taken_in_use)
{
	struct helper helpers[4] = {};
	long begin, longest = 0, releases = 0, ret, i;

	takers_stop = false;
	for (i = 0; i < 4; i++) {
		helpers[i].dev = &self->dev;
		helpers[i].mem = self->mem + i * PAGE_SIZE;
		ASSERT_EQ(0, pthread_create(&helpers[i].thread, NULL, take_thread, &helpers[i]));
	}
	for (begin = msecs_now(); msecs_now() - begin < 3000; releases++) {
		long before = msecs_now();

		ret = dmirror_ioctl(self->dev.fd, HMM_DMIRROR_RELEASE, self->mem, 1, NULL);
		EXPECT_TRUE(!ret || ret == -EBUSY);
		longest = longest > msecs_now() - before ? longest : msecs_now() - before;
	}
	__atomic_store_n(&takers_stop, true, __ATOMIC_RELAXED);
	for (i = 0; i < 4; i++)
		end_helper(_metadata, &helpers[i]);
	ksft_print_msg("%ld releases, the longest took %ld ms\n", releases, longest);
	/* It is of what there is when it begins, and tries for a second. */
	EXPECT_GT(20000, longest);
}

/* What is reported */

TEST_F(hmm_mirror, statistics)
{
	struct hmm_dmirror_stats old, new;
	char *mem = map_small(_metadata, 2 * NPAGES);

	stamp_write(mem, 2 * NPAGES, TAG_CPU);
	ASSERT_EQ(1, dmirror_read(&self->dev, page_at(mem, NPAGES), 1));
	old = dmirror_stats(&self->dev);
	ASSERT_EQ(10, dmirror_read(&self->dev, mem, 10));
	ASSERT_EQ(10, dmirror_read(&self->dev, mem, 10));
	ASSERT_EQ(0, dmirror_invalidate(&self->dev, mem, 20, HMM_DMIRROR_NOTIFY_CLEAR));
	ASSERT_EQ(0, dmirror_invalidate(&self->dev, mem, 20, HMM_DMIRROR_NOTIFY_CLEAR));
	new = dmirror_stats(&self->dev);
	EXPECT_EQ(1ULL, new.faults - old.faults);
	EXPECT_EQ(10ULL, new.pages - old.pages);
	EXPECT_EQ(0ULL, new.collisions - old.collisions);
	EXPECT_EQ(1ULL, new.callbacks - old.callbacks);
	EXPECT_EQ(1ULL, new.callbacks_skipped - old.callbacks_skipped);
	EXPECT_EQ(2ULL, new.events - old.events);
	EXPECT_EQ(0ULL, new.refused | new.events_lost | new.holders);
}

/* The log keeps the newest events, and says how many are gone. */
TEST_F(hmm_mirror, log_overflows)
{
	const long more = 76, changes = (HMM_DMIRROR_LOG_SIZE + more) / 2;
	char *mem = map_small(_metadata, 1);
	struct hmm_dmirror_event events[2];

	for (long i = 0; i < changes; i++) {
		ASSERT_EQ(1, dmirror_read(&self->dev, mem, 1));
		ASSERT_EQ(0, madvise(mem, PAGE_SIZE, MADV_DONTNEED));
	}
	EXPECT_EQ((__u64)more, dmirror_stats(&self->dev).events_lost);
	ASSERT_EQ(2, dmirror_events(&self->dev, events, 2));
	EXPECT_EQ((__u64)more, events[0].seq);
	EXPECT_EQ((__u64)more + 1, events[1].seq);
	EXPECT_EQ((__u32)TOLD_RFAULT, events[0].event);
	EXPECT_EQ((__u32)TOLD_MIGRATE, events[1].event);
}

/* The file in debugfs of the only mirror that this process has */
static bool debugfs_path(char *path, size_t size)
{
	DIR *dir = opendir(DEBUG_DIR "/hmm");
	struct dirent *entry;
	char own[16];
	bool found = false;

	snprintf(own, sizeof(own), "%d-", getpid());
	while (dir && !found && (entry = readdir(dir))) {
		found = !strncmp(entry->d_name, own, strlen(own));
		snprintf(path, size, DEBUG_DIR "/hmm/%s", entry->d_name);
	}
	if (dir)
		closedir(dir);
	return found;
}

TEST_F(hmm_mirror, debugfs)
{
	char *mem = mirrored(_metadata, &self->dev);
	struct hmm_dmirror_stats stats = dmirror_stats(&self->dev);
	char path[PATH_MAX], text[64];

	ASSERT_TRUE(debugfs_path(path, sizeof(path)));
	snprintf(text, sizeof(text), "faults %llu\n", (unsigned long long)stats.faults);
	EXPECT_TRUE(file_has(path, text));
	snprintf(text, sizeof(text), "pages %llu\n", (unsigned long long)stats.pages);
	EXPECT_TRUE(file_has(path, text));
	EXPECT_FALSE(file_has(path, "table-bytes 0\n"));
	ASSERT_EQ(0, munmap(mem, SIZE));
	snprintf(text, sizeof(text), "callbacks %llu\n",
		 (unsigned long long)dmirror_stats(&self->dev).callbacks);
	EXPECT_TRUE(file_has(path, text));
	close(self->dev.fd);
	EXPECT_FALSE(debugfs_path(path, sizeof(path)));
}

TEST(tracepoints)
{
	struct dmirror dev;
	char *mem;

	ASSERT_TRUE(write_text(TRACE_DIR "trace", "\n"));
	ASSERT_TRUE(write_text(TRACE_DIR "events/hmm/enable", "1"));
	dmirror_open(_metadata, &dev, PRIVATE, NPAGES);
	mem = mirrored(_metadata, &dev);
	ASSERT_EQ(0, dmirror_refuse(&dev, 1, 0, 0));
	ASSERT_EQ(-EAGAIN, dmirror_invalidate_now(&dev, mem, 1, HMM_DMIRROR_NOTIFY_CLEAR));
	ASSERT_EQ(0, munmap(mem, SIZE));
	close(dev.fd);
	ASSERT_TRUE(write_text(TRACE_DIR "events/hmm/enable", "0"));

	EXPECT_TRUE(file_has(TRACE_DIR "trace", "hmm_register: "));
	EXPECT_TRUE(file_has(TRACE_DIR "trace", "hmm_fault: "));
	EXPECT_TRUE(file_has(TRACE_DIR "trace", "read|write ret=512"));
	EXPECT_TRUE(file_has(TRACE_DIR "trace", "migrate non-blockable ret=-11"));
	EXPECT_TRUE(file_has(TRACE_DIR "trace", "munmap blockable ret=0"));
	EXPECT_TRUE(file_has(TRACE_DIR "trace", "hmm_release: "));
	EXPECT_TRUE(file_has(TRACE_DIR "trace", "hmm_unregister: "));
}

/* What the device has for itself */

/* Stamped by the CPU; the device has it and has written it. */
static void take_all(struct __test_metadata *_metadata, struct dmirror *dev, char *mem)
{
	stamp_write(mem, NPAGES, TAG_CPU);
	ASSERT_EQ(NPAGES, dmirror_exclusive(dev, mem, NPAGES));
	ASSERT_EQ(NPAGES, stamp_run(dev->buf, NPAGES, TAG_CPU));
	ASSERT_EQ(NPAGES, dmirror_has_exclusive(dev, mem, NPAGES));
	ASSERT_EQ(0, dmirror_faults_of(dev, mem, NPAGES, dmirror_read));
	ASSERT_EQ(NPAGES, dmirror_write_stamps(dev, mem, NPAGES));
	ASSERT_EQ(NPAGES, dmirror_has_exclusive(dev, mem, NPAGES));
	dmirror_forget(dev);
}

/* The CPU takes back what it touches. */
static void give_back(struct __test_metadata *_metadata, struct dmirror *dev, char *mem)
{
	dmirror_forget(dev);
	EXPECT_EQ(1, stamp_run(mem, 1, TAG_DEVICE));
	EXPECT_EQ(1, dmirror_told(dev, mem, 1, TOLD_MIGRATE));
	EXPECT_EQ(1, dmirror_maps(dev, mem, 1, MAPS_NOTHING));
	EXPECT_EQ(-EPERM, dmirror_check_exclusive(dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, stamp_run(mem, NPAGES, TAG_DEVICE));
	EXPECT_EQ(0, dmirror_check_exclusive(dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, dmirror_maps(dev, mem, NPAGES, MAPS_NOTHING));
}

TEST_F(hmm_mirror, exclusive)
{
	char *mem = map_small(_metadata, NPAGES);

	take_all(_metadata, &self->dev, mem);
	give_back(_metadata, &self->dev, mem);
}

TEST_F(hmm_mirror, exclusive_of_thp)
{
	char *mem = map_thp(_metadata, 1);

	mirror_all(_metadata, &self->dev, mem);
	take_all(_metadata, &self->dev, mem);
	EXPECT_EQ(NPAGES, dmirror_maps_order(&self->dev, mem, NPAGES, 0));
	give_back(_metadata, &self->dev, mem);
}

TEST_F(hmm_mirror, exclusive_of_swapped)
{
	char *mem = map_small(_metadata, NPAGES);

	stamp_write(mem, NPAGES, TAG_CPU);
	swap_out(_metadata, mem, NPAGES);
	ASSERT_EQ(NPAGES, dmirror_exclusive(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, stamp_run(self->dev.buf, NPAGES, TAG_CPU));
	EXPECT_EQ(NPAGES, dmirror_has_exclusive(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, stamp_run(mem, NPAGES, TAG_CPU));
}

/* MADV_PAGEOUT is for memory that the CPU maps: it does not take the device's pages. */
TEST_F(hmm_mirror, exclusive_then_pageout)
{
	char *mem = map_small(_metadata, NPAGES);

	take_all(_metadata, &self->dev, mem);
	ASSERT_EQ(0, madvise(mem, SIZE, MADV_PAGEOUT));
	EXPECT_TRUE(dmirror_told_nothing(&self->dev));
	EXPECT_EQ(NPAGES, dmirror_has_exclusive(&self->dev, mem, NPAGES));
	give_back(_metadata, &self->dev, mem);
	swap_out(_metadata, mem, NPAGES);
	EXPECT_EQ(NPAGES, stamp_run(mem, NPAGES, TAG_DEVICE));
}

/*
 * Reclaim takes pages of the device as it takes others: those of a cgroup, which has room for some
 * of them only.
 */

#define CGROUP_ROOT	"/sys/fs/cgroup/"
#define CGROUP		CGROUP_ROOT "hmm_exclusive/"

#define CGROUP_LIMIT	"12M"
#define CGROUP_PAGES	2048	/* 8 MiB */

FIXTURE(hmm_reclaim)
{
	struct dmirror dev;
	char *mem;
};

static char *take_cgroup_pages(struct __test_metadata *_metadata, struct dmirror *dev)
{
	char *mem = map_small(_metadata, CGROUP_PAGES);

	ASSERT_EQ(CGROUP_PAGES, dmirror_whole(dev, mem, CGROUP_PAGES, dmirror_exclusive));
	ASSERT_EQ(CGROUP_PAGES, dmirror_whole(dev, mem, CGROUP_PAGES, dmirror_write_stamps));
	return mem;
}

FIXTURE_SETUP(hmm_reclaim)
{
	ASSERT_TRUE(write_text(CGROUP_ROOT "cgroup.subtree_control", "+memory"));
	ASSERT_EQ(0, mkdir(CGROUP, 0755));
	ASSERT_TRUE(write_text(CGROUP "memory.max", CGROUP_LIMIT));
	dmirror_open(_metadata, &self->dev, PRIVATE, NPAGES);
	ASSERT_TRUE(write_text(CGROUP "cgroup.procs", "0\n"));
	self->mem = take_cgroup_pages(_metadata, &self->dev);
	ASSERT_EQ(CGROUP_PAGES, dmirror_has_exclusive(&self->dev, self->mem, CGROUP_PAGES));
	dmirror_forget(&self->dev);
}

FIXTURE_TEARDOWN(hmm_reclaim)
{
	EXPECT_TRUE(write_text(CGROUP_ROOT "cgroup.procs", "0\n"));
	EXPECT_EQ(0, rmdir(CGROUP));
	close(self->dev.fd);
}

static long stamps_left(char *mem, long npages)
{
	long i;

	for (i = 0; i < npages; i += NPAGES)
		if (stamp_run(page_at(mem, i), NPAGES, TAG_DEVICE) != NPAGES)
			break;
	return i;
}

static long exclusive_left(struct dmirror *dev, char *mem, long npages)
{
	__u64 *entry = malloc(npages * sizeof(*entry));
	long left = 0, done = dmirror_ioctl(dev->fd, HMM_DMIRROR_TABLE, mem, npages, entry);

	for (long i = 0; i < done; i++)
		left += !!(entry[i] & HMM_DMIRROR_PTE_EXCLUSIVE);
	free(entry);
	return done < 0 ? done : left;
}

/* How many pages the device keeps of them, when reclaim is asked until it has half of them */
static long reclaim_half(struct __test_metadata *_metadata, struct dmirror *dev, char *mem)
{
	long left = CGROUP_PAGES;

	for (int tries = 0; tries < 100 && left > CGROUP_PAGES / 2; tries++) {
		drain_lru_batches(_metadata);
		write_text(CGROUP "memory.reclaim", "1M");
		left = exclusive_left(dev, mem, CGROUP_PAGES);
	}
	return left;
}

/* What the device has written is not lost. */
TEST_F_TIMEOUT(hmm_reclaim, asked_for, 240)
{
	EXPECT_GE(CGROUP_PAGES / 2, reclaim_half(_metadata, &self->dev, self->mem));
	EXPECT_EQ(CGROUP_PAGES, stamps_left(self->mem, CGROUP_PAGES));
}

/* The device takes more than there is room for. The process survives. */
TEST_F_TIMEOUT(hmm_reclaim, needed, 240)
{
	char *more = take_cgroup_pages(_metadata, &self->dev);

	EXPECT_EQ(CGROUP_PAGES, stamps_left(more, CGROUP_PAGES));
	EXPECT_EQ(CGROUP_PAGES, stamps_left(self->mem, CGROUP_PAGES));
}

/* No page of locked memory is reclaimed. */
TEST_F_TIMEOUT(hmm_reclaim, locked, 240)
{
	ASSERT_EQ(0, mlock2(self->mem, CGROUP_PAGES * PAGE_SIZE, MLOCK_ONFAULT));
	drain_lru_batches(_metadata);
	write_text(CGROUP "memory.reclaim", "1M");
	EXPECT_EQ(CGROUP_PAGES, dmirror_has_exclusive(&self->dev, self->mem, CGROUP_PAGES));
	EXPECT_TRUE(dmirror_told_nothing(&self->dev));
	ASSERT_EQ(0, munlock(self->mem, CGROUP_PAGES * PAGE_SIZE));
	EXPECT_GE(CGROUP_PAGES / 2, reclaim_half(_metadata, &self->dev, self->mem));
}

/* Memory that fails */

/* The signal that the CPU gets for a touch, 0 for none */
static int signal_of_touch(struct __test_metadata *_metadata, char *addr)
{
	int status;
	pid_t pid = fork();

	ASSERT_LE(0, pid);
	if (!pid) {
		stamp_write(addr, 1, TAG_CPU);
		_exit(0);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static bool write_number(const char *path, __u64 number)
{
	char text[32];

	snprintf(text, sizeof(text), "%#llx", (unsigned long long)number);
	return write_text(path, text);
}

TEST_F(hmm_mirror, exclusive_poisoned)
{
	char *mem = map_small(_metadata, NPAGES), *bad = page_at(mem, 3);
	__u64 pfn;

	stamp_write(mem, NPAGES, TAG_CPU);
	pfn = pfn_of(_metadata, bad);
	take_all(_metadata, &self->dev, mem);
	drain_lru_batches(_metadata);
	ASSERT_TRUE(write_number("/sys/kernel/debug/hwpoison/corrupt-pfn", pfn));
	EXPECT_EQ(1, dmirror_told(&self->dev, bad, 1, TOLD_MIGRATE));
	EXPECT_EQ(1, dmirror_maps(&self->dev, bad, 1, MAPS_NOTHING));
	EXPECT_EQ(-EFAULT, dmirror_read(&self->dev, bad, 1));
	EXPECT_EQ(-EFAULT, dmirror_exclusive(&self->dev, bad, 1));
	EXPECT_EQ(SIGBUS, signal_of_touch(_metadata, bad));
	EXPECT_EQ(3, stamp_run(mem, 3, TAG_DEVICE));
	ASSERT_EQ(0, munmap(mem, SIZE));
	page_unpoison(_metadata, pfn);
}

/* Memory that is about to fail: its content moves. */
TEST_F(hmm_mirror, exclusive_soft_offlined)
{
	char *mem = map_small(_metadata, NPAGES), *bad = page_at(mem, 3);
	__u64 pfn;

	stamp_write(mem, NPAGES, TAG_CPU);
	pfn = pfn_of(_metadata, bad);
	take_all(_metadata, &self->dev, mem);
	drain_lru_batches(_metadata);
	ASSERT_TRUE(write_number("/sys/devices/system/memory/soft_offline_page",
				 pfn * PAGE_SIZE));
	EXPECT_EQ(1, dmirror_told(&self->dev, bad, 1, TOLD_MIGRATE));
	EXPECT_EQ(1, dmirror_maps(&self->dev, bad, 1, MAPS_NOTHING));
	EXPECT_NE(pfn, pfn_of(_metadata, bad));
	EXPECT_EQ(NPAGES, stamp_run(mem, NPAGES, TAG_DEVICE));
	page_unpoison(_metadata, pfn);
}

TEST_F(hmm_mirror, exclusive_then_fork)
{
	char *mem = map_small(_metadata, NPAGES);
	struct witness child;

	take_all(_metadata, &self->dev, mem);
	child = witness_fork(_metadata, mem, NPAGES, TAG_DEVICE);
	EXPECT_EQ(NPAGES, dmirror_told(&self->dev, mem, NPAGES, TOLD_FORK));
	EXPECT_EQ(NPAGES, dmirror_maps(&self->dev, mem, NPAGES, MAPS_RO));
	EXPECT_EQ(0, dmirror_check_exclusive(&self->dev, mem, NPAGES));
	ASSERT_EQ(NPAGES, dmirror_exclusive(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, dmirror_write_stamps(&self->dev, mem, NPAGES));
	EXPECT_TRUE(witness_saw_no_change(&child));
}

TEST_F(hmm_mirror, exclusive_then_soft_dirty)
{
	char *mem = map_small(_metadata, NPAGES);

	take_all(_metadata, &self->dev, mem);
	ASSERT_TRUE(write_text("/proc/self/clear_refs", "4"));
	EXPECT_EQ(NPAGES, dmirror_told(&self->dev, mem, NPAGES, TOLD_ISDIRTY));
	EXPECT_EQ(NPAGES, dmirror_maps(&self->dev, mem, NPAGES, MAPS_RO));
	EXPECT_EQ(0, dmirror_check_exclusive(&self->dev, mem, NPAGES));
	ASSERT_EQ(NPAGES, dmirror_exclusive(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, stamp_run(self->dev.buf, NPAGES, TAG_DEVICE));
	EXPECT_EQ(NPAGES, stamp_run(mem, NPAGES, TAG_DEVICE));
	EXPECT_TRUE(is_soft_dirty(_metadata, mem));
}

TEST_F(hmm_mirror, exclusive_then_uffd_wp)
{
	char *mem = map_small(_metadata, NPAGES);
	int uffd = uffd_open(_metadata, 0, WP_ASYNC);

	uffd_register(_metadata, uffd, mem, NPAGES, UFFDIO_REGISTER_MODE_WP);
	take_all(_metadata, &self->dev, mem);
	uffd_write_protect(_metadata, uffd, mem, NPAGES);
	EXPECT_EQ(NPAGES, dmirror_told(&self->dev, mem, NPAGES, TOLD_WRITE_PROTECT));
	EXPECT_EQ(NPAGES, dmirror_maps(&self->dev, mem, NPAGES, MAPS_RO));
	EXPECT_EQ(0, dmirror_check_exclusive(&self->dev, mem, NPAGES));
	EXPECT_TRUE(is_uffd_wp(_metadata, mem));
	ASSERT_EQ(1, dmirror_exclusive(&self->dev, mem, 1));
	EXPECT_FALSE(is_uffd_wp(_metadata, mem));
	EXPECT_TRUE(is_uffd_wp(_metadata, page_at(mem, 1)));
	EXPECT_EQ(NPAGES, stamp_run(mem, NPAGES, TAG_DEVICE));
	close(uffd);
}

/* Only anonymous memory can be had. */
TEST_F(hmm_mirror, exclusive_of_others)
{
	int fd;
	char *mem = map_shmem(_metadata, &fd);

	EXPECT_EQ(-EOPNOTSUPP, dmirror_exclusive(&self->dev, mem, NPAGES));
	close(fd);
	mem = map_file(_metadata, &fd);
	EXPECT_EQ(-EOPNOTSUPP, dmirror_exclusive(&self->dev, mem, NPAGES));
	close(fd);
	mem = map_hugetlb(_metadata, 1, PROT_RW);
	EXPECT_EQ(-EOPNOTSUPP, dmirror_exclusive(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, dmirror_maps(&self->dev, mem, NPAGES, MAPS_NOTHING));
}

/* Bad input gets an errno and changes nothing. */

TEST_F(hmm_mirror, bad_ranges)
{
	char *mem = mirrored(_metadata, &self->dev);
	const struct { char *addr; long npages; } bad[] = {
		{ mem, 0 },
		{ mem + 1, 1 },
		{ mem + PAGE_SIZE / 2, 1 },
		{ mem, -1 },
		{ mem, LONG_MAX },
		{ mem, 1L << 52 },
		{ mem, (1L << 52) + 1 },
		{ (char *)-PAGE_SIZE, 1 },
		{ (char *)-PAGE_SIZE, 2 },
		{ (char *)(1UL << 63), 1 },
		{ (char *)0xffff888000000000, 1 },
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		for (size_t v = 0; v < PAGE_VERBS; v++) {
			EXPECT_EQ(-EINVAL, dmirror_ioctl(self->dev.fd, page_verbs[v], bad[i].addr,
							 bad[i].npages, self->dev.buf))
				TH_LOG("range %zu, verb %zu", i, v);
		}
		EXPECT_EQ(-EINVAL, dmirror_invalidate(&self->dev, bad[i].addr, bad[i].npages,
						      HMM_DMIRROR_NOTIFY_CLEAR));
	}
	EXPECT_TRUE(dmirror_told_nothing(&self->dev));
	EXPECT_EQ(NPAGES, dmirror_maps(&self->dev, mem, NPAGES, MAPS_RW));
}

/* As many pages as can be, of which none is there: nobody gets a buffer of that size. */
TEST_F(hmm_mirror, too_many_pages)
{
	const long all = 1L << 34;

	EXPECT_EQ(-ENOMEM, dmirror_read(&self->dev, NULL, all));
	EXPECT_EQ(-ENOMEM, dmirror_write(&self->dev, NULL, all));
	EXPECT_EQ(-ENOMEM, dmirror_migrate_to_dev(&self->dev, NULL, all));
	EXPECT_EQ(-ENOMEM, dmirror_exclusive(&self->dev, NULL, all));
}

TEST_F(hmm_mirror, bad_buffers)
{
	char *mem = mirrored(_metadata, &self->dev), *none = map_small(_metadata, 1);

	ASSERT_EQ(0, munmap(none, PAGE_SIZE));
	for (size_t v = 0; v < PAGE_VERBS; v++) {
		if (page_verbs[v] == HMM_DMIRROR_MIGRATE_TO_SYS ||
		    page_verbs[v] == HMM_DMIRROR_CHECK_EXCLUSIVE ||
		    page_verbs[v] == HMM_DMIRROR_PREFETCH ||
		    page_verbs[v] == HMM_DMIRROR_PREFETCH_WORK ||
		    page_verbs[v] == HMM_DMIRROR_CANCEL ||
		    page_verbs[v] == HMM_DMIRROR_RELEASE)
			continue;	/* have no buffer */
		EXPECT_EQ(-EFAULT, dmirror_ioctl(self->dev.fd, page_verbs[v], mem, 1, none))
			TH_LOG("verb %zu", v);
		EXPECT_EQ(-1, ioctl(self->dev.fd, page_verbs[v], none));
		EXPECT_EQ(EFAULT, errno);
	}
	ASSERT_EQ(0, dmirror_invalidate(&self->dev, mem, 1, HMM_DMIRROR_NOTIFY_CLEAR));
	EXPECT_EQ(-EFAULT, dmirror_events(&self->dev, (void *)none, 1));
	EXPECT_LT(0, dmirror_events(&self->dev, (void *)self->dev.buf, 1));
}

TEST_F(hmm_mirror, bad_arguments)
{
	char *mem = mirrored(_metadata, &self->dev);
	struct hmm_dmirror_events events = { .reserved = 1 };
	struct hmm_dmirror_hold hold = { .reserved = 1 };
	struct hmm_dmirror_refuse refuse = { .reserved = 1 };

	EXPECT_EQ(-1, ioctl(self->dev.fd, HMM_DMIRROR_EVENTS, &events));
	EXPECT_EQ(-1, ioctl(self->dev.fd, HMM_DMIRROR_HOLD, &hold));
	EXPECT_EQ(-1, ioctl(self->dev.fd, HMM_DMIRROR_REFUSE, &refuse));
	EXPECT_EQ(-EINVAL, dmirror_hold(&self->dev, HMM_DMIRROR_MSECS_MAX + 1));
	EXPECT_EQ(-EINVAL, dmirror_hold(&self->dev, -1ULL));
	EXPECT_EQ(-EINVAL, dmirror_refuse(&self->dev, 0, 1, 0));
	EXPECT_EQ(-EINVAL, dmirror_refuse(&self->dev, 0, 0, ENOMEM));
	EXPECT_EQ(-EINVAL, dmirror_refuse(&self->dev, 0, 1, 4096));
	EXPECT_EQ(-EINVAL, dmirror_invalidate(&self->dev, mem, 1, 0));
	EXPECT_EQ(-EINVAL, dmirror_invalidate(&self->dev, mem, 1,
					      HMM_DMIRROR_NOTIFY_EXCLUSIVE + 1));
	EXPECT_EQ(-EINVAL, dmirror_invalidate_for(&self->dev, mem, 1, HMM_DMIRROR_NOTIFY_CLEAR,
						  1 << 2, 0));
	EXPECT_EQ(-EINVAL, dmirror_invalidate_for(&self->dev, mem, 1, HMM_DMIRROR_NOTIFY_CLEAR,
						  0, HMM_DMIRROR_MSECS_MAX + 1));
	EXPECT_EQ(-1, ioctl(self->dev.fd, _IOWR('H', 0x7f, struct hmm_dmirror_cmd), &events));
	EXPECT_EQ(ENOTTY, errno);
	EXPECT_TRUE(dmirror_told_nothing(&self->dev));
	EXPECT_EQ(NPAGES, dmirror_maps(&self->dev, mem, NPAGES, MAPS_RW));
}

/* What is mapped, and not for devices: it cannot be had in any way. */
TEST_F(hmm_mirror, bad_memory)
{
	char *none = map_pages(_metadata, 1, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	int fd = secret_file(_metadata, 1);
	char *secret = map_pages(_metadata, 1, PROT_RW, MAP_SHARED, fd);
	char *const bad[] = { none, secret, find_vvar(_metadata), map_any_bar(_metadata) };

	*secret = 1;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		EXPECT_EQ(-EFAULT, dmirror_read(&self->dev, bad[i], 1));
		EXPECT_EQ(-EFAULT, dmirror_write(&self->dev, bad[i], 1));
		EXPECT_EQ(-EFAULT, dmirror_prefetch(&self->dev, bad[i], 1));
		EXPECT_EQ(-EFAULT, dmirror_exclusive(&self->dev, bad[i], 1));
		EXPECT_GT(0, dmirror_migrate_to_dev(&self->dev, bad[i], 1));
		EXPECT_EQ(1, dmirror_sees(&self->dev, bad[i], 1, SEEN_ERROR));
		EXPECT_EQ(1, dmirror_maps(&self->dev, bad[i], 1, MAPS_NOTHING));
	}
	EXPECT_EQ(1, *secret);
	close(fd);
}

TEST_HARNESS_MAIN
