// SPDX-License-Identifier: GPL-2.0
/*
 * Device memory and exclusive access, as a walk by the device and by another device reports them.
 */
#include "../kselftest_harness.h"

#include "hmm-dmirror-expect.h"
#include "hmm-memory.h"
#include "hmm-witness.h"

#define NPAGES		100

FIXTURE(hmm_device)
{
	struct dmirror dev;
	struct dmirror peer;
};

FIXTURE_VARIANT(hmm_device)
{
	int id;
	int peer_id;
	unsigned int local;	/* what the device sees of its own memory */
	unsigned int remote;	/* what its peer sees of that memory */
	unsigned int after;	/* what the device sees after an access of its peer */
	unsigned int exclusive;	/* what the walk reports under exclusive access */
};

/*
 * Only the device can access the memory. An access of another device or the CPU migrates it back.
 */
FIXTURE_VARIANT_ADD(hmm_device, private)
{
	.id = 0,
	.peer_id = 1,
	.local = HMM_DMIRROR_PROT_DEV_PRIVATE_LOCAL,
	.remote = SEEN_NONE,
	.after = SEEN_RW,
	.exclusive = HMM_DMIRROR_PROT_DEV_PRIVATE_LOCAL | SEEN_RW,
};

/* The CPU and other devices access the memory in place. */
FIXTURE_VARIANT_ADD(hmm_device, coherent)
{
	.id = 2,
	.peer_id = 3,
	.local = HMM_DMIRROR_PROT_DEV_COHERENT_LOCAL,
	.remote = HMM_DMIRROR_PROT_DEV_COHERENT_REMOTE | HMM_DMIRROR_PROT_WRITE,
	.after = HMM_DMIRROR_PROT_DEV_COHERENT_LOCAL | HMM_DMIRROR_PROT_WRITE,
};

FIXTURE_SETUP(hmm_device)
{
	dmirror_open(_metadata, &self->dev, variant->id, NPAGES);
	dmirror_open(_metadata, &self->peer, variant->peer_id, NPAGES);
}

FIXTURE_TEARDOWN(hmm_device)
{
	close(self->peer.fd);
	close(self->dev.fd);
}

/* Stamped pages in device memory */
static char *map_on_device(struct __test_metadata *_metadata, struct dmirror *dev)
{
	char *mem = map_small(_metadata, NPAGES);

	stamp_write(mem, NPAGES, TAG_CPU);
	ASSERT_EQ(NPAGES, dmirror_migrate_to_dev(dev, mem, NPAGES));
	ASSERT_EQ(NPAGES, stamp_run(dev->buf, NPAGES, TAG_CPU));
	return mem;
}

/* A snapshot reports where a page is, on the device and after its return. */
TEST_F(hmm_device, migrated)
{
	char *mem = map_on_device(_metadata, &self->dev);

	EXPECT_EQ(NPAGES, dmirror_sees(&self->dev, mem, NPAGES, variant->local | SEEN_RW));
	EXPECT_EQ(NPAGES, dmirror_migrate_to_sys(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, dmirror_sees(&self->dev, mem, NPAGES, SEEN_RW));
	EXPECT_EQ(NPAGES, stamp_run(mem, NPAGES, TAG_CPU));
}

/* A hole that migrates to the device becomes zeroed device memory. */
TEST_F(hmm_device, hole_migrated)
{
	char *mem = map_small(_metadata, NPAGES);

	ASSERT_EQ(NPAGES, dmirror_migrate_to_dev(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, dmirror_sees(&self->dev, mem, NPAGES, variant->local | SEEN_RW));
	EXPECT_EQ(NPAGES, dmirror_read_zeros(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, zero_run(mem, NPAGES));
}

/* The device reads and writes its own memory without a migration. */
TEST_F(hmm_device, access_in_place)
{
	char *mem = map_on_device(_metadata, &self->dev);

	EXPECT_EQ(NPAGES, dmirror_read_stamps(&self->dev, mem, NPAGES, TAG_CPU));
	EXPECT_EQ(NPAGES, dmirror_write_stamps(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, dmirror_sees(&self->dev, mem, NPAGES, variant->local | SEEN_RW));
	EXPECT_EQ(NPAGES, stamp_run(mem, NPAGES, TAG_DEVICE));
}

/* Another device reads private memory after a migration, and coherent memory in place. */
TEST_F(hmm_device, seen_by_peer)
{
	char *mem = map_on_device(_metadata, &self->dev);

	EXPECT_EQ(NPAGES, dmirror_sees(&self->peer, mem, NPAGES, variant->remote));
	EXPECT_EQ(NPAGES, dmirror_sees(&self->dev, mem, NPAGES, variant->local | SEEN_RW));
	EXPECT_EQ(NPAGES, dmirror_read_stamps(&self->peer, mem, NPAGES, TAG_CPU));
	EXPECT_EQ(NPAGES, dmirror_sees(&self->dev, mem, NPAGES, variant->after));
}

/* The CPU and the device see what another device has written to device memory. */
TEST_F(hmm_device, written_by_peer)
{
	char *mem = map_on_device(_metadata, &self->dev);

	EXPECT_EQ(NPAGES, dmirror_write_stamps(&self->peer, mem, NPAGES));
	EXPECT_EQ(NPAGES, dmirror_sees(&self->dev, mem, NPAGES, variant->after));
	EXPECT_EQ(NPAGES, stamp_run(mem, NPAGES, TAG_DEVICE));
}

/* A write of the device makes a read-only entry writable if the VMA permits it. */
TEST_F(hmm_device, write_through_read_only_entry)
{
	char *mem = map_on_device(_metadata, &self->dev);

	ASSERT_EQ(0, mprotect(mem, NPAGES * PAGE_SIZE, PROT_READ));
	EXPECT_EQ(NPAGES, dmirror_sees(&self->dev, mem, NPAGES, variant->local | SEEN_RO));
	ASSERT_EQ(0, mprotect(mem, NPAGES * PAGE_SIZE, PROT_RW));

	EXPECT_EQ(NPAGES, dmirror_write_stamps(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, dmirror_sees_writable(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, stamp_run(mem, NPAGES, TAG_DEVICE));
}

/* A write of the device to its own memory fails with -EPERM in a read-only VMA. */
TEST_F(hmm_device, write_to_read_only_vma)
{
	char *mem = map_on_device(_metadata, &self->dev);

	ASSERT_EQ(0, mprotect(mem, NPAGES * PAGE_SIZE, PROT_READ));
	EXPECT_EQ(-EPERM, dmirror_write_stamps(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, stamp_run(mem, NPAGES, TAG_CPU));
}

/* A write of the device to device memory that is shared with a child breaks COW. */
TEST_F(hmm_device, cow_after_fork)
{
	char *mem = map_on_device(_metadata, &self->dev);
	struct witness child = witness_fork(_metadata, mem, NPAGES, TAG_CPU);

	EXPECT_EQ(NPAGES, dmirror_write_stamps(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, stamp_run(mem, NPAGES, TAG_DEVICE));
	EXPECT_TRUE(witness_saw_no_change(&child));
}

/* A read of another device ends exclusive access. */
TEST_F(hmm_device, exclusive_read_by_peer)
{
	char *mem = map_small(_metadata, NPAGES);

	stamp_write(mem, NPAGES, TAG_CPU);
	ASSERT_EQ(NPAGES, dmirror_exclusive(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, dmirror_sees(&self->peer, mem, NPAGES, SEEN_NONE));
	EXPECT_EQ(-EPERM, dmirror_check_exclusive(&self->dev, mem, NPAGES));

	EXPECT_EQ(NPAGES, dmirror_read_stamps(&self->peer, mem, NPAGES, TAG_CPU));
	EXPECT_EQ(0, dmirror_check_exclusive(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, dmirror_sees(&self->dev, mem, NPAGES, SEEN_RW));
}

/* Writes of the device keep exclusive access, and a CPU access ends it. */
TEST_F(hmm_device, exclusive_then_written)
{
	char *mem = map_small(_metadata, NPAGES);

	stamp_write(mem, NPAGES, TAG_CPU);
	ASSERT_EQ(NPAGES, dmirror_exclusive(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, dmirror_sees(&self->dev, mem, NPAGES, SEEN_NONE));

	/* A write of the device does not end its exclusive access. */
	EXPECT_EQ(NPAGES, dmirror_write_stamps(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, dmirror_sees(&self->dev, mem, NPAGES, SEEN_NONE));
	EXPECT_EQ(-EPERM, dmirror_check_exclusive(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, stamp_run(mem, NPAGES, TAG_DEVICE));
	EXPECT_EQ(NPAGES, dmirror_sees(&self->dev, mem, NPAGES, SEEN_RW));
	EXPECT_EQ(0, dmirror_check_exclusive(&self->dev, mem, NPAGES));
}

/*
 * The device gets write access to its own private memory without exclusive access, because the
 * device may share it.
 */
TEST_F(hmm_device, exclusive_on_the_device)
{
	char *mem = map_on_device(_metadata, &self->dev);
	const long exclusive = variant->id == PRIVATE ? 0 : NPAGES;

	ASSERT_EQ(NPAGES, dmirror_exclusive(&self->dev, mem, NPAGES));
	EXPECT_EQ(exclusive, dmirror_has_exclusive(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, dmirror_maps(&self->dev, mem, NPAGES, MAPS_RW));
	EXPECT_EQ(NPAGES, dmirror_sees(&self->dev, mem, NPAGES, variant->exclusive));
	EXPECT_EQ(NPAGES, dmirror_write_stamps(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, stamp_run(mem, NPAGES, TAG_DEVICE));
	EXPECT_EQ(0, dmirror_check_exclusive(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, dmirror_sees(&self->dev, mem, NPAGES, variant->after));
}

/* Exclusive access to the memory of another device migrates it to system memory first. */
TEST_F(hmm_device, exclusive_on_the_peer)
{
	char *mem = map_on_device(_metadata, &self->peer);

	ASSERT_EQ(NPAGES, dmirror_exclusive(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, stamp_run(self->dev.buf, NPAGES, TAG_CPU));
	EXPECT_EQ(NPAGES, dmirror_has_exclusive(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, dmirror_sees(&self->dev, mem, NPAGES, SEEN_NONE));
	EXPECT_EQ(NPAGES, dmirror_write_stamps(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, stamp_run(mem, NPAGES, TAG_DEVICE));
}

TEST_HARNESS_MAIN
