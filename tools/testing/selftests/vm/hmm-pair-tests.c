// SPDX-License-Identifier: GPL-2.0
/*
 * Two mirrors of one address space: events, device memory, and releases of all device memory.
 */
#include "../kselftest_harness.h"

#include <pthread.h>

#include "hmm-mirror-fixture.h"

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
	bool remote;	/* the peer can access the memory of the device in place */
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

/* munmap() notifies both devices. */
TEST_F(hmm_pair, both_are_notified)
{
	ASSERT_EQ(NPAGES, dmirror_read_stamps(&self->peer, self->mem, NPAGES, TAG_DEVICE));
	dmirror_forget(&self->peer);
	ASSERT_EQ(0, munmap(self->mem, SIZE));
	EXPECT_EQ(NPAGES, dmirror_notified(&self->dev, self->mem, NPAGES, EVENT_MUNMAP));
	EXPECT_EQ(NPAGES, dmirror_notified(&self->peer, self->mem, NPAGES, EVENT_MUNMAP));
}

/* mprotect(PROT_READ) notifies only the device that may write. */
TEST_F(hmm_pair, only_the_writer_is_notified)
{
	ASSERT_EQ(NPAGES, dmirror_read_stamps(&self->peer, self->mem, NPAGES, TAG_DEVICE));
	dmirror_forget(&self->peer);
	ASSERT_EQ(0, mprotect(self->mem, SIZE, PROT_READ));
	EXPECT_EQ(NPAGES, dmirror_notified(&self->dev, self->mem, NPAGES, EVENT_WRITE_PROTECT));
	EXPECT_TRUE(dmirror_not_notified(&self->peer));
}

/* A migration to one device revokes the access of the other. */
TEST_F(hmm_pair, migrated_to_the_device)
{
	ASSERT_EQ(NPAGES, dmirror_read(&self->peer, self->mem, NPAGES));
	dmirror_forget(&self->peer);
	ASSERT_EQ(NPAGES, dmirror_migrate_to_dev(&self->dev, self->mem, NPAGES));
	EXPECT_EQ(NPAGES, dmirror_notified(&self->peer, self->mem, NPAGES, EVENT_MIGRATE));
	EXPECT_EQ(NPAGES, dmirror_maps(&self->peer, self->mem, NPAGES, MAPS_NOTHING));
	EXPECT_EQ(NPAGES, dmirror_maps_bits(&self->dev, self->mem, NPAGES,
					    HMM_DMIRROR_PTE_DEVICE, HMM_DMIRROR_PTE_DEVICE));
	EXPECT_EQ(NPAGES, dmirror_write_stamps(&self->dev, self->mem, NPAGES));
	EXPECT_EQ(NPAGES, dmirror_migrate_to_sys(&self->dev, self->mem, NPAGES));
	EXPECT_EQ(NPAGES, dmirror_maps(&self->dev, self->mem, NPAGES, MAPS_NOTHING));
	EXPECT_EQ(NPAGES, stamp_run(self->mem, NPAGES, TAG_DEVICE));
}

/* A CPU access migrates private device memory back and leaves coherent memory on the device. */
TEST_F(hmm_pair, read_by_the_cpu)
{
	ASSERT_EQ(NPAGES, dmirror_migrate_to_dev(&self->dev, self->mem, NPAGES));
	ASSERT_EQ(NPAGES, dmirror_write_stamps(&self->dev, self->mem, NPAGES));
	dmirror_forget(&self->dev);
	EXPECT_EQ(NPAGES, stamp_run(self->mem, NPAGES, TAG_DEVICE));
	EXPECT_EQ(variant->remote ? 0 : NPAGES,
		  dmirror_notified(&self->dev, self->mem, NPAGES,
				   variant->remote ? EVENT_NOTHING : EVENT_MIGRATE));
	EXPECT_EQ(NPAGES, dmirror_read_stamps(&self->dev, self->mem, NPAGES, TAG_DEVICE));
}

/* An access of the other device migrates the memory back if that device cannot reach it. */
TEST_F(hmm_pair, read_by_the_peer)
{
	ASSERT_EQ(NPAGES, dmirror_migrate_to_dev(&self->dev, self->mem, NPAGES));
	ASSERT_EQ(NPAGES, dmirror_write_stamps(&self->dev, self->mem, NPAGES));
	dmirror_forget(&self->dev);
	EXPECT_EQ(NPAGES, dmirror_read_stamps(&self->peer, self->mem, NPAGES, TAG_DEVICE));
	EXPECT_EQ(variant->remote ? 0 : NPAGES,
		  dmirror_notified(&self->dev, self->mem, NPAGES,
				   variant->remote ? EVENT_NOTHING : EVENT_MIGRATE));
	EXPECT_EQ(NPAGES, stamp_run(self->mem, NPAGES, TAG_DEVICE));
}

/* Memory migrates from one device to the other by way of system memory. */
TEST_F(hmm_pair, migrated_to_the_peer)
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

/* fork() makes device memory read-only for the device, and the child keeps its content. */
TEST_F(hmm_pair, forked_on_the_device)
{
	struct witness child;

	ASSERT_EQ(NPAGES, dmirror_migrate_to_dev(&self->dev, self->mem, NPAGES));
	ASSERT_EQ(NPAGES, dmirror_write_stamps(&self->dev, self->mem, NPAGES));
	dmirror_forget(&self->dev);
	child = witness_fork(_metadata, self->mem, NPAGES, TAG_DEVICE);
	EXPECT_EQ(NPAGES, dmirror_notified(&self->dev, self->mem, NPAGES, EVENT_FORK));
	EXPECT_EQ(0, dmirror_faults_of(&self->dev, self->mem, NPAGES, dmirror_read));
	EXPECT_TRUE(witness_saw_no_change(&child));
}

/* Returns true if the device can write all pages and they stay in device memory. */
static bool stays_on_the_device(struct dmirror *dev, char *mem)
{
	return dmirror_write_stamps(dev, mem, NPAGES) == NPAGES &&
	       dmirror_maps_bits(dev, mem, NPAGES, HMM_DMIRROR_PTE_DEVICE | MAPS_RW,
				 HMM_DMIRROR_PTE_DEVICE | MAPS_RW) == NPAGES;
}

/*
 * Device memory stays on the device when permissions change, as long as no other process maps
 * it.
 */
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

/* The device writes to copies while a child shares the device memory. */
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
 * Exclusive access leaves device memory on the device, and a CPU access revokes it.
 *
 * Private memory does not become exclusive: the CPU cannot reach it, and another mirror of the
 * same device can.
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
	EXPECT_EQ(NPAGES, dmirror_notified(&self->dev, self->mem, NPAGES, EVENT_MIGRATE));
}

/* Two mirrors of one device never have exclusive access and write access to the same page. */
TEST_F(hmm_pair, exclusive_of_second_mirror)
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

/* A release of all device memory migrates it back with its content. */
TEST_F(hmm_pair, memory_released)
{
	ASSERT_EQ(NPAGES, dmirror_migrate_to_dev(&self->dev, self->mem, NPAGES));
	ASSERT_EQ(NPAGES, dmirror_write_stamps(&self->dev, self->mem, NPAGES));
	EXPECT_LE((__u64)NPAGES, dmirror_stats(&self->dev).devmem_pages);
	dmirror_forget(&self->dev);
	ASSERT_EQ(0, dmirror_release(&self->dev, self->mem));
	EXPECT_EQ(0ULL, dmirror_stats(&self->dev).devmem_pages);
	EXPECT_EQ(NPAGES, dmirror_notified(&self->dev, self->mem, NPAGES, EVENT_MIGRATE));
	EXPECT_EQ(NPAGES, dmirror_read_stamps(&self->dev, self->mem, NPAGES, TAG_DEVICE));
}

struct taker {
	pthread_t thread;
	struct dmirror *dev;
	char *mem;
	long ret;
};

static bool takers_stop;

/* Migrate a page to the device, read it, discard it, and repeat. */
static void *take_thread(void *arg)
{
	struct taker *taker = arg;
	__u64 content = stamp_of(TAG_CPU, 0);

	while (!__atomic_load_n(&takers_stop, __ATOMIC_RELAXED)) {
		__atomic_store_n((__u64 *)taker->mem, content, __ATOMIC_RELAXED);
		dmirror_migrate_to_dev(taker->dev, taker->mem, 1);
		if (__atomic_load_n((__u64 *)taker->mem, __ATOMIC_RELAXED) != content)
			taker->ret = -EIO;
		madvise(taker->mem, PAGE_SIZE, MADV_DONTNEED);
	}
	return NULL;
}

/*
 * Releases of all device memory complete while threads migrate pages to the device, and no
 * content is lost.
 *
 * A page that was just allocated has no content yet, and a page that has migrated back has none
 * any more.
 */
TEST_F(hmm_pair, memory_released_in_use)
{
	struct taker takers[4] = {};
	long begin, longest = 0, releases = 0, ret, i;

	takers_stop = false;
	for (i = 0; i < 4; i++) {
		takers[i].dev = &self->dev;
		takers[i].mem = self->mem + i * PAGE_SIZE;
		ASSERT_EQ(0, pthread_create(&takers[i].thread, NULL, take_thread, &takers[i]));
	}
	for (begin = msecs_now(); msecs_now() - begin < 3000; releases++) {
		long before = msecs_now();

		ret = dmirror_release(&self->dev, self->mem);
		EXPECT_TRUE(!ret || ret == -EBUSY);
		longest = longest > msecs_now() - before ? longest : msecs_now() - before;
	}
	__atomic_store_n(&takers_stop, true, __ATOMIC_RELAXED);
	for (i = 0; i < 4; i++) {
		ASSERT_EQ(0, pthread_join(takers[i].thread, NULL));
		EXPECT_EQ(0, takers[i].ret);
	}
	ksft_print_msg("%ld releases, the longest took %ld ms\n", releases, longest);
	/* A release covers the chunks that exist when it begins, and tries for a second. */
	EXPECT_GT(20000, longest);
}

TEST_HARNESS_MAIN
