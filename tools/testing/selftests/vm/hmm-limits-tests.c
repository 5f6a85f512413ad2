// SPDX-License-Identifier: GPL-2.0
/*
 * Device faults and device memory of a process at a limit: memory cgroups, full file systems and
 * an empty pool of hugetlb pages.
 */
#include "../kselftest_harness.h"

#include <sys/mount.h>

#include "hmm-cgroup.h"
#include "hmm-mirror-fixture.h"
#include "hmm-owner-process.h"

/* A process in a memory cgroup */

#define MEMCG_LIMIT	"32M"
#define MEMCG_PAGES	((16L << 20) / PAGE_SIZE)	/* half of MEMCG_LIMIT */
#define MEMCG_TOO_MANY	((64L << 20) / PAGE_SIZE)	/* twice MEMCG_LIMIT */
#define MEMCG_SLACK	(4L << 20)	/* for other memory of the process */

FIXTURE(hmm_memcg)
{
	struct owner owner;
};

FIXTURE_SETUP(hmm_memcg)
{
	struct owner *owner = &self->owner;

	cgroup_make(_metadata, "+memory");
	ASSERT_TRUE(write_text(CGROUP "memory.max", MEMCG_LIMIT));
	owner_start(_metadata, owner, MEMCG_PAGES);
	ASSERT_TRUE(cgroup_add(owner->pid));
}

FIXTURE_TEARDOWN(hmm_memcg)
{
	owner_end(&self->owner);
	EXPECT_TRUE(cgroup_has_removed());
}

/* A page of device memory is charged like the page that it replaces, and only once. */
TEST_F_TIMEOUT(hmm_memcg, device_memory_is_charged, 120)
{
	struct owner *owner = &self->owner;
	long before;

	ASSERT_EQ(MEMCG_PAGES, owner_do(owner, owner_fills));
	before = cgroup_bytes();
	EXPECT_LE(MEMCG_PAGES * PAGE_SIZE, before);
	ASSERT_EQ(MEMCG_PAGES, owner_do(owner, owner_migrates));
	EXPECT_LE(MEMCG_PAGES * PAGE_SIZE, cgroup_bytes());
	EXPECT_GT(before + MEMCG_SLACK, cgroup_bytes());
	ASSERT_EQ(0, owner_do(owner, owner_unmaps));
	EXPECT_TRUE(cgroup_falls_below(MEMCG_SLACK));
}

/* Reclaim leaves device memory in place. */
TEST_F_TIMEOUT(hmm_memcg, device_memory_is_not_reclaimed, 120)
{
	struct owner *owner = &self->owner;

	owner_moves_to_device(_metadata, owner);
	dmirror_forget(&owner->dev);
	EXPECT_FALSE(write_text(CGROUP "memory.reclaim", "8M"));
	EXPECT_TRUE(dmirror_not_notified(&owner->dev));
	EXPECT_EQ(MEMCG_PAGES, owner_do(owner, owner_has_on_device));
	EXPECT_LE(MEMCG_PAGES * PAGE_SIZE, cgroup_bytes());
}

/* Reclaim frees memory that the driver has migrated back. */
TEST_F_TIMEOUT(hmm_memcg, evicted_memory_is_reclaimed, 120)
{
	struct owner *owner = &self->owner;

	owner_moves_to_device(_metadata, owner);
	ASSERT_EQ(MEMCG_PAGES, owner_do(owner, owner_evicts));
	for (int tries = 0; tries < 100 && cgroup_bytes() > MEMCG_PAGES * PAGE_SIZE / 2; tries++) {
		drain_lru_batches(_metadata);
		write_text(CGROUP "memory.reclaim", "4M");
	}
	EXPECT_GE(MEMCG_PAGES * PAGE_SIZE / 2, cgroup_bytes());
	EXPECT_EQ(MEMCG_PAGES, owner_do(owner, owner_reads_stamps));
}

/*
 * Migrate memory that is not mapped to the device chunk by chunk, and let the device write it. At
 * most @kept pages are on the device at the same time.
 */
static long owner_fills_device(struct owner *owner, long kept)
{
	char *mem = mmap(NULL, MEMCG_TOO_MANY * PAGE_SIZE, PROT_RW, MAP_PRIVATE | MAP_ANONYMOUS,
			 -1, 0);
	long i;

	if (mem == MAP_FAILED || madvise(mem, MEMCG_TOO_MANY * PAGE_SIZE, MADV_NOHUGEPAGE))
		return -errno;
	for (i = 0; i < MEMCG_TOO_MANY; i += NPAGES) {
		if (i >= kept && dmirror_migrate_to_sys(&owner->dev, page_at(mem, i - kept),
							NPAGES) != NPAGES)
			return i;
		if (dmirror_migrate_to_dev(&owner->dev, page_at(mem, i), NPAGES) != NPAGES ||
		    dmirror_write_stamps(&owner->dev, page_at(mem, i), NPAGES) != NPAGES)
			return i;
	}
	for (i = 0; i < MEMCG_TOO_MANY; i += NPAGES)
		if (stamp_run(page_at(mem, i), NPAGES, TAG_DEVICE) != NPAGES)
			break;
	return i;
}

static long owner_fills_device_to_the_limit(struct owner *owner)
{
	return owner_fills_device(owner, MEMCG_TOO_MANY);
}

static long owner_fills_device_and_evicts(struct owner *owner)
{
	return owner_fills_device(owner, MEMCG_PAGES);
}

/*
 * At the limit the OOM killer kills the process, in spite of free swap, if the driver does not
 * evict.
 */
TEST_F_TIMEOUT(hmm_memcg, device_memory_at_the_limit, 240)
{
	struct owner *owner = &self->owner;
	int status;

	ASSERT_EQ(-EPIPE, owner_do(owner, owner_fills_device_to_the_limit));
	ASSERT_EQ(owner->pid, waitpid(owner->pid, &status, 0));
	owner->pid = 0;
	EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	EXPECT_EQ(1, read_number(CGROUP "memory.events", "oom_kill "));
}

/* With a driver that evicts, the process continues beyond the limit. */
TEST_F_TIMEOUT(hmm_memcg, driver_evicts_at_the_limit, 240)
{
	struct owner *owner = &self->owner;

	EXPECT_EQ(MEMCG_TOO_MANY, owner_do(owner, owner_fills_device_and_evicts));
	EXPECT_EQ(0, read_number(CGROUP "memory.events", "oom_kill "));
}

/* A process that the OOM killer does not kill, and whose pages cannot be swapped out */

FIXTURE(hmm_no_memory)
{
	struct owner owner;
};

/* Memory that the process gets before the cgroup is full */
static char *reserve;

static long owner_reserves_on_device(struct owner *owner)
{
	stamp_write(reserve, NPAGES, TAG_CPU);
	return dmirror_migrate_to_dev(&owner->dev, reserve, NPAGES);
}

static long owner_reads_reserve(struct owner *owner)
{
	return stamp_run(reserve, NPAGES, TAG_CPU);
}

/* The first page, so that the mirror page table for the other pages exists */
static long owner_reserves_a_page(struct owner *owner)
{
	return dmirror_prefetch(&owner->dev, reserve, 1);
}

static long owner_prefetches_reserve(struct owner *owner)
{
	return dmirror_prefetch_work(&owner->dev, reserve, NPAGES);
}

static long owner_cannot_be_killed(struct owner *owner)
{
	return write_text("/proc/self/oom_score_adj", "-1000");
}

FIXTURE_SETUP(hmm_no_memory)
{
	struct owner *owner = &self->owner;
	char *mem;

	cgroup_make(_metadata, "+memory");
	ASSERT_TRUE(write_text(CGROUP "memory.max", MEMCG_LIMIT));
	ASSERT_TRUE(write_text(CGROUP "memory.swap.max", "0"));
	/* In one page table */
	mem = map_small(_metadata, 2 * NPAGES);
	reserve = (char *)(((uintptr_t)mem + HPAGE_SIZE - 1) & -HPAGE_SIZE);
	owner_start(_metadata, owner, MEMCG_TOO_MANY);
	ASSERT_TRUE(cgroup_add(owner->pid));
	ASSERT_EQ(1, owner_do(owner, owner_cannot_be_killed));
}

FIXTURE_TEARDOWN(hmm_no_memory)
{
	owner_end(&self->owner);
	EXPECT_TRUE(cgroup_has_removed());
}

/*
 * A device fault without free memory fails with -ENOMEM, and succeeds when memory is free.
 *
 * The first work item fills the cgroup, and the second finds no memory for a page.
 */
TEST_F_TIMEOUT(hmm_no_memory, fault_fails, 120)
{
	struct owner *owner = &self->owner;

	ASSERT_EQ(1, owner_do(owner, owner_reserves_a_page));
	ASSERT_EQ(0, owner_do(owner, owner_prefetches));
	EXPECT_EQ(-ENOMEM, dmirror_wait_work(&owner->dev));
	ASSERT_EQ(0, owner_do(owner, owner_prefetches_reserve));
	EXPECT_EQ(-ENOMEM, dmirror_wait_work(&owner->dev));
	EXPECT_FALSE(owner_has_died(owner));
	ASSERT_TRUE(write_text(CGROUP "memory.max", "max"));
	ASSERT_EQ(0, owner_do(owner, owner_prefetches));
	EXPECT_EQ(0, dmirror_wait_work(&owner->dev));
	ASSERT_EQ(0, owner_do(owner, owner_prefetches_reserve));
	EXPECT_EQ(0, dmirror_wait_work(&owner->dev));
}

/* Device memory, which is charged already, migrates back without free memory. */
TEST_F_TIMEOUT(hmm_no_memory, device_memory_goes_back, 120)
{
	struct owner *owner = &self->owner;
	__u64 faults;

	ASSERT_EQ(NPAGES, owner_do(owner, owner_reserves_on_device));
	faults = dmirror_stats(&owner->dev).devmem_faults;
	ASSERT_EQ(0, owner_do(owner, owner_prefetches));
	ASSERT_EQ(-ENOMEM, dmirror_wait_work(&owner->dev));
	EXPECT_EQ(NPAGES, owner_do(owner, owner_reads_reserve));
	EXPECT_EQ((__u64)NPAGES / FAULT_AROUND,
		  dmirror_stats(&owner->dev).devmem_faults - faults);
}

/* Full file systems */

#define SMALL_DIR	"/tmp/hmm-small"

FIXTURE(hmm_full)
{
	struct dmirror dev;
	long disk;	/* number of the disk, or -1 */
	int fill;	/* a file that takes all free space */
	int fd;
	char *mem;	/* mapping of the other file, which is a hole */
};

FIXTURE_VARIANT(hmm_full)
{
	const char *type;
	bool reads;	/* a read of a hole needs no space */
};

FIXTURE_VARIANT_ADD(hmm_full, tmpfs)
{
	.type = "tmpfs",
};

FIXTURE_VARIANT_ADD(hmm_full, ext4)
{
	.type = "ext4",
	.reads = true,
};

/* A disk in memory. Returns its number. */
static long disk_make(struct __test_metadata *_metadata, char *path, size_t size)
{
	long disk = read_number("/sys/class/zram-control/hot_add", "");
	char command[128];

	ASSERT_LE(0, disk);
	snprintf(path, size, "/sys/block/zram%ld/disksize", disk);
	ASSERT_TRUE(write_text(path, "32M"));
	snprintf(path, size, "/dev/zram%ld", disk);
	snprintf(command, sizeof(command), "/bin/mke2fs -q -t ext4 %s", path);
	ASSERT_EQ(0, system(command));
	return disk;
}

static bool disk_remove(long disk)
{
	char text[32];

	snprintf(text, sizeof(text), "%ld", disk);
	return write_text("/sys/class/zram-control/hot_remove", text);
}

/* Returns the number of the disk, or -1. */
static long small_mount(struct __test_metadata *_metadata, const char *type)
{
	char path[64] = "none";
	bool tmpfs = !strcmp(type, "tmpfs");
	long disk = tmpfs ? -1 : disk_make(_metadata, path, sizeof(path));

	mkdir(SMALL_DIR, 0755);
	ASSERT_EQ(0, mount(path, SMALL_DIR, type, 0, tmpfs ? "size=16M" : NULL))
		TH_LOG("mount of %s: %m", type);
	return disk;
}

/* Take all free space, including space that the file system frees when it writes the file. */
static void fill_up(int fd)
{
	char page[PAGE_SIZE] = {};

	do {
		while (write(fd, page, sizeof(page)) > 0)
			;
	} while (!fsync(fd) && write(fd, page, sizeof(page)) > 0);
}

FIXTURE_SETUP(hmm_full)
{
	self->disk = small_mount(_metadata, variant->type);
	dmirror_open(_metadata, &self->dev, PRIVATE, NPAGES);
	self->fill = open(SMALL_DIR "/fill", O_CREAT | O_RDWR, 0600);
	self->fd = open(SMALL_DIR "/hole", O_CREAT | O_RDWR, 0600);
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, ftruncate(self->fd, SIZE));
	fill_up(self->fill);
	self->mem = map_pages(_metadata, NPAGES, PROT_RW, MAP_SHARED, self->fd);
}

FIXTURE_TEARDOWN(hmm_full)
{
	munmap(self->mem, SIZE);
	close(self->fd);
	close(self->fill);
	close(self->dev.fd);
	EXPECT_EQ(0, umount(SMALL_DIR));
	if (self->disk >= 0)
		EXPECT_TRUE(disk_remove(self->disk));
}

/*
 * A device fault fails with -EFAULT while a CPU access gets SIGBUS because the file system is
 * full.
 */
TEST_F_TIMEOUT(hmm_full, fault_without_space, 120)
{
	EXPECT_EQ(variant->reads ? 0 : SIGBUS, signal_of_access(_metadata, self->mem, false));
	EXPECT_EQ(variant->reads ? 1 : -EFAULT, dmirror_read_zeros(&self->dev, self->mem, 1));
	EXPECT_EQ(SIGBUS, signal_of_access(_metadata, self->mem, true));
	EXPECT_EQ(-EFAULT, dmirror_write_stamps(&self->dev, self->mem, 1));
	EXPECT_EQ(-EFAULT, dmirror_prefetch_work(&self->dev, self->mem, 1) ?:
			   dmirror_wait_work(&self->dev));

	ASSERT_EQ(0, ftruncate(self->fill, 0));
	ASSERT_EQ(0, fsync(self->fill));
	EXPECT_EQ(NPAGES, dmirror_write_stamps(&self->dev, self->mem, NPAGES));
	EXPECT_EQ(NPAGES, file_run(self->fd, NPAGES, TAG_DEVICE));
}

/* A device fault fails with -EFAULT while no hugetlb page is free. */
TEST_F(hmm_mirror, no_hugetlb_page)
{
	long nfree = read_number("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "");
	const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_HUGE_2MB;
	char *mem = map_pages(_metadata, NPAGES, PROT_RW, flags | MAP_NORESERVE, -1);
	char *all;

	ASSERT_LT(0, nfree);
	all = map_pages(_metadata, nfree * NPAGES, PROT_RW, flags | MAP_POPULATE, -1);
	EXPECT_EQ(SIGBUS, signal_of_access(_metadata, mem, false));
	EXPECT_EQ(-EFAULT, dmirror_read(&self->dev, mem, 1));
	EXPECT_EQ(-EFAULT, dmirror_write_stamps(&self->dev, mem, 1));
	ASSERT_EQ(0, munmap(all, nfree * SIZE));
	EXPECT_EQ(NPAGES, dmirror_write_stamps(&self->dev, mem, NPAGES));
}

TEST_HARNESS_MAIN
