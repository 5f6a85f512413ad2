// SPDX-License-Identifier: GPL-2.0
/*
 * The node on which a device fault allocates pages. With numa=fake=2 all CPUs are local to one
 * node.
 */
#include "../kselftest_harness.h"

#include "hmm-cgroup.h"
#include "hmm-mirror-fixture.h"

#define MPOL_DEFAULT	0
#define MPOL_BIND	2

static int node_of_access(struct dmirror *dev, char *mem)
{
	return dmirror_write_stamps(dev, mem, NPAGES) == NPAGES ? node_of(mem, NPAGES) : -1;
}

static int node_of_work(struct dmirror *dev, char *mem)
{
	if (dmirror_prefetch_work(dev, mem, NPAGES) || dmirror_wait_work(dev))
		return -1;
	return node_of(mem, NPAGES);
}

FIXTURE(hmm_node)
{
	struct dmirror dev;
	int local;	/* the node of all CPUs */
	int remote;
	char *mem;
};

FIXTURE_SETUP(hmm_node)
{
	unsigned int node;

	ASSERT_EQ(0, syscall(SYS_getcpu, NULL, &node, NULL));
	self->local = node;
	self->remote = !node;
	dmirror_open(_metadata, &self->dev, PRIVATE, NPAGES);
	self->mem = map_small(_metadata, 3 * NPAGES);
}

FIXTURE_TEARDOWN(hmm_node)
{
	close(self->dev.fd);
}

/* Without a policy, a fault allocates memory on the node of the CPU that handles it. */
TEST_F(hmm_node, no_policy)
{
	EXPECT_EQ(self->local, node_of_access(&self->dev, self->mem));
	EXPECT_EQ(self->local, node_of_work(&self->dev, page_at(self->mem, NPAGES)));
}

/* The policy of a mapping applies to each fault, including that of a worker. */
TEST_F(hmm_node, policy_of_mapping)
{
	unsigned long nodes = 1UL << self->remote;

	ASSERT_EQ(0, syscall(SYS_mbind, self->mem, 3 * SIZE, MPOL_BIND, &nodes, 64, 0));
	EXPECT_EQ(self->remote, node_of_access(&self->dev, self->mem));
	EXPECT_EQ(self->remote, node_of_work(&self->dev, page_at(self->mem, NPAGES)));
}

/* The policy of a task applies to its own faults, and not to those of a worker. */
TEST_F(hmm_node, policy_of_task)
{
	unsigned long nodes = 1UL << self->remote;

	ASSERT_EQ(0, syscall(SYS_set_mempolicy, MPOL_BIND, &nodes, 64));
	EXPECT_EQ(self->remote, node_of_access(&self->dev, self->mem));
	EXPECT_EQ(self->local, node_of_work(&self->dev, page_at(self->mem, NPAGES)));
	ASSERT_EQ(0, syscall(SYS_set_mempolicy, MPOL_DEFAULT, NULL, 0));
}

static void cpuset_join(struct __test_metadata *_metadata, int node)
{
	char text[16];

	cgroup_make(_metadata, "+cpuset");
	snprintf(text, sizeof(text), "%d\n", node);
	ASSERT_TRUE(write_text(CGROUP "cpuset.mems", text));
	ASSERT_TRUE(cgroup_add(0));
}

static void cpuset_leave(struct __test_metadata *_metadata)
{
	EXPECT_TRUE(cgroup_leave());
	EXPECT_TRUE(cgroup_has_removed());
}

/* The cpuset of a process applies to its own faults, and not to those of a worker. */
TEST_F(hmm_node, cpuset)
{
	cpuset_join(_metadata, self->remote);
	EXPECT_EQ(self->remote, node_of_access(&self->dev, self->mem));
	EXPECT_EQ(self->local, node_of_work(&self->dev, page_at(self->mem, NPAGES)));
	cpuset_leave(_metadata);
}

TEST_HARNESS_MAIN
