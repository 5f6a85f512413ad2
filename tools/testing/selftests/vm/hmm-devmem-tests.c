// SPDX-License-Identifier: GPL-2.0
/*
 * Pages of a process in device memory: the effect of other parts of the kernel on them, and what
 * they keep when they migrate there and back.
 */
#include "../kselftest_harness.h"

#include <pthread.h>
#include <linux/fs.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "hmm-mirror-fixture.h"

FIXTURE(hmm_devmem)
{
	struct dmirror dev;
	char *mem;
};

FIXTURE_VARIANT(hmm_devmem)
{
	int device;
	bool cpu_reaches;	/* the CPU accesses the memory in place */
};

FIXTURE_VARIANT_ADD(hmm_devmem, private)
{
	.device = PRIVATE,
};

FIXTURE_VARIANT_ADD(hmm_devmem, coherent)
{
	.device = COHERENT,
	.cpu_reaches = true,
};

FIXTURE_SETUP(hmm_devmem)
{
	dmirror_open(_metadata, &self->dev, variant->device, NPAGES);
	self->mem = map_small(_metadata, NPAGES);
	stamp_write(self->mem, NPAGES, TAG_CPU);
}

FIXTURE_TEARDOWN(hmm_devmem)
{
	close(self->dev.fd);
}

/*
 * The number of leading pages in device memory, by the CPU page table. The mirror page table can
 * lose entries at any time, for example because khugepaged scans the range.
 */
static long on_device(struct dmirror *dev, void *mem, long npages)
{
	unsigned char *seen = malloc(npages);
	long run, done = dmirror_snapshot(dev, mem, npages, seen);

	for (run = 0; run < done; run++) {
		unsigned char place = seen[run] & 0xf0;

		if (place != HMM_DMIRROR_PROT_DEV_PRIVATE_LOCAL &&
		    place != HMM_DMIRROR_PROT_DEV_COHERENT_LOCAL)
			break;
	}
	free(seen);
	return done < 0 ? done : run;
}

/* Migration of each kind of memory to the device and back */

/* Each migration keeps what was written before it. */
static void goes_there_and_back(struct __test_metadata *_metadata, struct dmirror *dev, char *mem)
{
	ASSERT_EQ(NPAGES, dmirror_migrate_to_dev(dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, on_device(dev, mem, NPAGES));
	ASSERT_EQ(NPAGES, dmirror_write_stamps(dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, on_device(dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, dmirror_migrate_to_sys(dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, stamp_run(mem, NPAGES, TAG_DEVICE));
}

/* A THP migrates to one block of device memory. */
TEST_F(hmm_devmem, huge_page)
{
	char *mem = map_thp(_metadata, 1);
	__u64 blocks;

	stamp_write(mem, NPAGES, TAG_CPU);
	blocks = dmirror_stats(&self->dev).devmem_blocks;
	goes_there_and_back(_metadata, &self->dev, mem);
	EXPECT_EQ(blocks + 1, dmirror_stats(&self->dev).devmem_blocks);
}

/* Memory for a THP that was never touched migrates to zeroed device memory. */
TEST_F(hmm_devmem, huge_page_never_touched)
{
	char *mem = map_thp(_metadata, 1);

	ASSERT_EQ(NPAGES, dmirror_migrate_to_dev(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, zero_run(self->dev.buf, NPAGES));
	goes_there_and_back(_metadata, &self->dev, mem);
}

/* The huge zero page does not migrate: the device gets zeroed pages instead. */
TEST_F(hmm_devmem, huge_zero_page)
{
	char *mem = map_thp(_metadata, 1);

	ASSERT_EQ(0, __atomic_load_n(mem, __ATOMIC_RELAXED));
	ASSERT_EQ(NPAGES, dmirror_migrate_to_dev(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, zero_run(self->dev.buf, NPAGES));
	goes_there_and_back(_metadata, &self->dev, mem);
}

/* A THP migrates page by page if the device has no free block. */
TEST_F(hmm_devmem, huge_page_without_block)
{
	char *mem = map_thp(_metadata, 1);
	__u64 blocks;

	stamp_write(mem, NPAGES, TAG_CPU);
	EXPECT_EQ(-EINVAL, dmirror_set_flags(&self->dev, 2 | HMM_DMIRROR_FLAG_FAIL_ALLOC));
	ASSERT_EQ(0, dmirror_set_flags(&self->dev, HMM_DMIRROR_FLAG_FAIL_ALLOC));
	blocks = dmirror_stats(&self->dev).devmem_blocks;
	goes_there_and_back(_metadata, &self->dev, mem);
	EXPECT_EQ(blocks, dmirror_stats(&self->dev).devmem_blocks);
	stamp_write(mem, NPAGES, TAG_CPU);
	goes_there_and_back(_metadata, &self->dev, mem);
	EXPECT_EQ(blocks + 1, dmirror_stats(&self->dev).devmem_blocks);
}

#define TOUCHERS	8

struct toucher {
	char *mem;
	pthread_barrier_t *barrier;
	pthread_t thread;
	long found;
};

static void *touch_thread(void *arg)
{
	struct toucher *toucher = arg;

	pthread_barrier_wait(toucher->barrier);
	toucher->found = stamp_run(toucher->mem, NPAGES, TAG_CPU);
	return NULL;
}

/*
 * Threads that access the same pages of device memory do not keep each other from migrating
 * them back.
 */
TEST_F_TIMEOUT(hmm_devmem, touched_by_threads, 120)
{
	struct toucher touchers[TOUCHERS];
	const long rounds = 8;
	pthread_barrier_t barrier;
	__u64 faults = 0, before;

	ASSERT_EQ(0, pthread_barrier_init(&barrier, NULL, TOUCHERS));
	for (long round = 0; round < rounds; round++) {
		ASSERT_EQ(NPAGES, dmirror_migrate_to_dev(&self->dev, self->mem, NPAGES));
		before = dmirror_stats(&self->dev).devmem_faults;
		for (long i = 0; i < TOUCHERS; i++) {
			touchers[i] = (struct toucher){ .mem = self->mem, .barrier = &barrier };
			ASSERT_EQ(0, pthread_create(&touchers[i].thread, NULL, touch_thread,
						    &touchers[i]));
		}
		for (long i = 0; i < TOUCHERS; i++) {
			ASSERT_EQ(0, pthread_join(touchers[i].thread, NULL));
			EXPECT_EQ(NPAGES, touchers[i].found);
		}
		faults += dmirror_stats(&self->dev).devmem_faults - before;
	}
	/* One fault also migrates neighbouring pages. */
	EXPECT_GE((__u64)(rounds * NPAGES), faults);
	ksft_print_msg("%llu faults for %ld pages\n", (unsigned long long)faults,
		       rounds * NPAGES);
}

/* Pages that KSM has merged stay in system memory, and the other pages migrate. */
TEST_F(hmm_devmem, merged_pages_stay)
{
	time_t deadline = in_seconds(30);
	char *mem = map_small(_metadata, NPAGES);

	memset(mem, 0x5a, 2 * PAGE_SIZE);
	stamp_write(page_at(mem, 2), NPAGES - 2, TAG_CPU);
	ASSERT_EQ(0, madvise(mem, 2 * PAGE_SIZE, MADV_MERGEABLE));
	ASSERT_TRUE(write_text("/sys/kernel/mm/ksm/run", "1"));
	while (pfn_of(_metadata, mem) != pfn_of(_metadata, page_at(mem, 1)) && before(deadline))
		usleep(10000);
	ASSERT_TRUE(write_text("/sys/kernel/mm/ksm/run", "0"));
	ASSERT_EQ(pfn_of(_metadata, mem), pfn_of(_metadata, page_at(mem, 1)));
	EXPECT_EQ(-ENOENT, dmirror_migrate_to_dev(&self->dev, mem, NPAGES));
	ASSERT_EQ(NPAGES, dmirror_read(&self->dev, mem, NPAGES));
	EXPECT_EQ(0, on_device(&self->dev, mem, 1));
	EXPECT_EQ(0, on_device(&self->dev, page_at(mem, 1), 1));
	EXPECT_EQ(NPAGES - 2, on_device(&self->dev, page_at(mem, 2), NPAGES - 2));
	EXPECT_EQ(0x5a, self->dev.buf[0]);
	ASSERT_TRUE(write_text("/sys/kernel/mm/ksm/run", "2"));
	ASSERT_TRUE(write_text("/sys/kernel/mm/ksm/run", "0"));
}

/* The number of leading pages that hold their stamp or zeros */
static long stamped_or_zero(char *mem, long npages, enum tag tag)
{
	const __u64 *word = (__u64 *)mem;
	long i;

	for (i = 0; i < npages; i++, word += WORDS_PER_PAGE)
		if (*word && *word != stamp_of(tag, i))
			break;
	return i;
}

/* Lazily freed memory migrates, and what the device writes to it is kept. */
TEST_F(hmm_devmem, lazyfree_then_migrated)
{
	ASSERT_EQ(0, madvise(self->mem, SIZE, MADV_FREE));
	ASSERT_EQ(NPAGES, dmirror_migrate_to_dev(&self->dev, self->mem, NPAGES));
	EXPECT_EQ(NPAGES, stamped_or_zero(self->dev.buf, NPAGES, TAG_CPU));
	goes_there_and_back(_metadata, &self->dev, self->mem);
	swap_out(_metadata, self->mem, NPAGES);
	EXPECT_EQ(NPAGES, stamp_run(self->mem, NPAGES, TAG_DEVICE));
}

/* What the device writes to lazily freed memory under exclusive access is kept. */
TEST_F(hmm_devmem, lazyfree_then_exclusive)
{
	ASSERT_EQ(0, madvise(self->mem, SIZE, MADV_FREE));
	ASSERT_EQ(NPAGES, dmirror_exclusive(&self->dev, self->mem, NPAGES));
	ASSERT_EQ(NPAGES, dmirror_has_exclusive(&self->dev, self->mem, NPAGES));
	ASSERT_EQ(NPAGES, dmirror_write_stamps(&self->dev, self->mem, NPAGES));
	swap_out(_metadata, self->mem, NPAGES);
	EXPECT_EQ(NPAGES, stamp_run(self->mem, NPAGES, TAG_DEVICE));
}

/* What the device writes to lazily freed memory that it mirrors is kept. */
TEST_F(hmm_devmem, lazyfree_then_mirrored)
{
	ASSERT_EQ(0, madvise(self->mem, SIZE, MADV_FREE));
	ASSERT_EQ(NPAGES, dmirror_write_stamps(&self->dev, self->mem, NPAGES));
	swap_out(_metadata, self->mem, NPAGES);
	EXPECT_EQ(NPAGES, stamp_run(self->mem, NPAGES, TAG_DEVICE));
}

/* MADV_FREE does not free device memory, and what the device writes afterwards is kept. */
TEST_F(hmm_devmem, migrated_then_lazyfree)
{
	ASSERT_EQ(NPAGES, dmirror_migrate_to_dev(&self->dev, self->mem, NPAGES));
	ASSERT_EQ(0, madvise(self->mem, SIZE, MADV_FREE));
	EXPECT_EQ(NPAGES, dmirror_read(&self->dev, self->mem, NPAGES));
	EXPECT_EQ(NPAGES, stamped_or_zero(self->dev.buf, NPAGES, TAG_CPU));
	goes_there_and_back(_metadata, &self->dev, self->mem);
	swap_out(_metadata, self->mem, NPAGES);
	EXPECT_EQ(NPAGES, stamp_run(self->mem, NPAGES, TAG_DEVICE));
}

/* A partial unmap frees exactly that part of the device memory. */
TEST_F(hmm_devmem, unmapped_in_part)
{
	char *mem = map_thp(_metadata, 1);
	__u64 used = dmirror_stats(&self->dev).devmem_pages;

	stamp_write(mem, NPAGES, TAG_CPU);
	ASSERT_EQ(NPAGES, dmirror_migrate_to_dev(&self->dev, mem, NPAGES));
	ASSERT_EQ(0, munmap(page_at(mem, 100), 300 * PAGE_SIZE));
	EXPECT_EQ(used + NPAGES - 300, dmirror_stats(&self->dev).devmem_pages);
	EXPECT_EQ(100, dmirror_read_stamps(&self->dev, mem, 100, TAG_CPU));
	EXPECT_EQ(NPAGES - 400, dmirror_read(&self->dev, page_at(mem, 400), NPAGES - 400));
	EXPECT_EQ(100, stamp_run(mem, 100, TAG_CPU));
	EXPECT_EQ(stamp_of(TAG_CPU, 400), *(__u64 *)page_at(mem, 400));
	ASSERT_EQ(0, munmap(mem, SIZE));
	EXPECT_EQ(used, dmirror_stats(&self->dev).devmem_pages);
}

/* Move @mem to an aligned address plus @skew pages. */
static char *move_addresses(struct __test_metadata *_metadata, char *mem, int flags, long skew)
{
	char *to = page_at(map_thp(_metadata, 2), skew);

	ASSERT_EQ(to, mremap(mem, SIZE, SIZE, MREMAP_MAYMOVE | MREMAP_FIXED | flags, to))
		TH_LOG("mremap: %m");
	return to;
}

/* Pages stay on the device when mremap() changes their addresses. */
TEST_F(hmm_devmem, remapped)
{
	for (long skew = 0; skew < 2; skew++) {
		char *mem = map_thp(_metadata, 1);

		stamp_write(mem, NPAGES, TAG_CPU);
		ASSERT_EQ(NPAGES, dmirror_migrate_to_dev(&self->dev, mem, NPAGES));
		mem = move_addresses(_metadata, mem, 0, skew);
		EXPECT_EQ(NPAGES, dmirror_read_stamps(&self->dev, mem, NPAGES, TAG_CPU));
		EXPECT_EQ(NPAGES, on_device(&self->dev, mem, NPAGES));
		EXPECT_EQ(NPAGES, stamp_run(mem, NPAGES, TAG_CPU));
		goes_there_and_back(_metadata, &self->dev, mem);
	}
}

/* A THP that mremap() has moved to an unaligned address, so that PTEs map it, migrates. */
TEST_F(hmm_devmem, remapped_then_migrated)
{
	char *mem = map_thp(_metadata, 1);

	stamp_write(mem, NPAGES, TAG_CPU);
	mem = move_addresses(_metadata, mem, 0, 1);
	ASSERT_EQ(NPAGES, dmirror_migrate_to_dev(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, stamp_run(self->dev.buf, NPAGES, TAG_CPU));
	goes_there_and_back(_metadata, &self->dev, mem);
}

/* A THP of which a part was protected for a while migrates. */
TEST_F(hmm_devmem, protected_in_part)
{
	char *mem = map_thp(_metadata, 1);

	stamp_write(mem, NPAGES, TAG_CPU);
	ASSERT_EQ(0, mprotect(page_at(mem, 100), PAGE_SIZE, PROT_READ));
	ASSERT_EQ(0, mprotect(page_at(mem, 100), PAGE_SIZE, PROT_RW));
	ASSERT_EQ(NPAGES, dmirror_migrate_to_dev(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, stamp_run(self->dev.buf, NPAGES, TAG_CPU));
	goes_there_and_back(_metadata, &self->dev, mem);
}

/* A THP that cannot be split because of a reference does not migrate, and keeps its content. */
TEST_F(hmm_devmem, pinned_in_part)
{
	char *mem = map_thp(_metadata, 1);
	int pipes[2];
	struct iovec part = { page_at(mem, 100), PAGE_SIZE };

	stamp_write(mem, NPAGES, TAG_CPU);
	ASSERT_EQ(0, mprotect(page_at(mem, 200), PAGE_SIZE, PROT_READ));
	ASSERT_EQ(0, pipe(pipes));
	ASSERT_EQ(PAGE_SIZE, vmsplice(pipes[1], &part, 1, 0));
	EXPECT_EQ(-ENOENT, dmirror_migrate_to_dev(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, dmirror_read_stamps(&self->dev, mem, NPAGES, TAG_CPU));
	EXPECT_EQ(0, on_device(&self->dev, mem, 1));
	close(pipes[0]);
	close(pipes[1]);
	ASSERT_EQ(0, mprotect(page_at(mem, 200), PAGE_SIZE, PROT_RW));
	EXPECT_EQ(NPAGES, stamp_run(mem, NPAGES, TAG_CPU));
	goes_there_and_back(_metadata, &self->dev, mem);
}

/* MREMAP_DONTUNMAP moves device memory and leaves the old addresses mapped and empty. */
TEST_F(hmm_devmem, remapped_dontunmap)
{
	char *mem = map_thp(_metadata, 1), *to;

	stamp_write(mem, NPAGES, TAG_CPU);
	ASSERT_EQ(NPAGES, dmirror_migrate_to_dev(&self->dev, mem, NPAGES));
	to = move_addresses(_metadata, mem, MREMAP_DONTUNMAP, 0);
	EXPECT_EQ(NPAGES, dmirror_read_stamps(&self->dev, to, NPAGES, TAG_CPU));
	EXPECT_EQ(NPAGES, dmirror_read_zeros(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, stamp_run(to, NPAGES, TAG_CPU));
	goes_there_and_back(_metadata, &self->dev, mem);
	goes_there_and_back(_metadata, &self->dev, to);
}

/* Tracking of writes */

static long soft_dirty_run(struct __test_metadata *_metadata, char *mem, long npages, bool dirty)
{
	long i;

	for (i = 0; i < npages; i++)
		if (is_soft_dirty(_metadata, page_at(mem, i)) != dirty)
			break;
	return i;
}

/* Write the pages and migrate them. A new mapping is soft-dirty as a whole, so clear that first. */
static void to_device_soft_dirty(struct __test_metadata *_metadata, struct dmirror *dev, char *mem)
{
	ASSERT_TRUE(write_text("/proc/self/clear_refs", "4"));
	ASSERT_EQ(NPAGES, soft_dirty_run(_metadata, mem, NPAGES, false));
	stamp_write(mem, NPAGES, TAG_CPU);
	ASSERT_EQ(NPAGES, dmirror_migrate_to_dev(dev, mem, NPAGES));
	ASSERT_EQ(NPAGES, soft_dirty_run(_metadata, mem, NPAGES, true));
}

/* A change of the permission keeps the soft-dirty bit of device memory. */
TEST_F(hmm_devmem, soft_dirty_after_mprotect)
{
	to_device_soft_dirty(_metadata, &self->dev, self->mem);
	ASSERT_EQ(0, mprotect(self->mem, SIZE, PROT_READ));
	EXPECT_EQ(NPAGES, soft_dirty_run(_metadata, self->mem, NPAGES, true));
}

/* fork() keeps the soft-dirty bit of device memory in the parent. */
TEST_F(hmm_devmem, soft_dirty_after_fork)
{
	pid_t child;

	to_device_soft_dirty(_metadata, &self->dev, self->mem);
	child = fork();
	if (!child)
		_exit(0);
	ASSERT_EQ(child, waitpid(child, NULL, 0));
	EXPECT_EQ(NPAGES, soft_dirty_run(_metadata, self->mem, NPAGES, true));
}

/* A CPU write after clear_refs makes device memory soft-dirty, and a CPU read does not. */
TEST_F(hmm_devmem, soft_dirty_by_the_cpu)
{
	ASSERT_EQ(NPAGES, dmirror_migrate_to_dev(&self->dev, self->mem, NPAGES));
	ASSERT_TRUE(write_text("/proc/self/clear_refs", "4"));
	ASSERT_EQ(NPAGES, soft_dirty_run(_metadata, self->mem, NPAGES, false));
	ASSERT_EQ(NPAGES, stamp_run(self->mem, NPAGES, TAG_CPU));
	EXPECT_EQ(NPAGES, soft_dirty_run(_metadata, self->mem, NPAGES, false));
	stamp_write(self->mem, NPAGES, TAG_DEVICE);
	EXPECT_EQ(NPAGES, soft_dirty_run(_metadata, self->mem, NPAGES, true));
}

/* A write of the device after clear_refs makes device memory soft-dirty, and a read does not. */
TEST_F(hmm_devmem, soft_dirty_by_the_device)
{
	ASSERT_EQ(NPAGES, dmirror_migrate_to_dev(&self->dev, self->mem, NPAGES));
	ASSERT_TRUE(write_text("/proc/self/clear_refs", "4"));
	ASSERT_EQ(NPAGES, dmirror_read_stamps(&self->dev, self->mem, NPAGES, TAG_CPU));
	EXPECT_EQ(NPAGES, soft_dirty_run(_metadata, self->mem, NPAGES, false));
	ASSERT_EQ(NPAGES, dmirror_write_stamps(&self->dev, self->mem, NPAGES));
	EXPECT_EQ(NPAGES, on_device(&self->dev, self->mem, NPAGES));
	EXPECT_EQ(NPAGES, soft_dirty_run(_metadata, self->mem, NPAGES, true));
}

/* Returns the number of pages that were written since the last scan, and write-protects them. */
static long written_since(struct __test_metadata *_metadata, char *mem)
{
	struct page_region regions[NPAGES];
	struct pm_scan_arg scan = {
		.size = sizeof(scan),
		.flags = PM_SCAN_WP_MATCHING | PM_SCAN_CHECK_WPASYNC,
		.start = (uintptr_t)mem,
		.end = (uintptr_t)mem + SIZE,
		.vec = (uintptr_t)regions,
		.vec_len = NPAGES,
		.category_mask = PAGE_IS_WRITTEN,
		.return_mask = PAGE_IS_WRITTEN,
	};
	long written = 0, n;
	int fd = open("/proc/self/pagemap", O_RDONLY);

	n = ioctl(fd, PAGEMAP_SCAN, &scan);
	ASSERT_LE(0, n)
		TH_LOG("PAGEMAP_SCAN: %m");
	while (n--)
		written += (regions[n].end - regions[n].start) / PAGE_SIZE;
	close(fd);
	return written;
}

/* PAGEMAP_SCAN of device memory reports only pages that were written since the last scan. */
TEST_F(hmm_devmem, scanned_on_the_device)
{
	int uffd = uffd_open(_metadata, 0, WP_ASYNC);

	uffd_register(_metadata, uffd, self->mem, NPAGES, UFFDIO_REGISTER_MODE_WP);
	ASSERT_EQ(NPAGES, dmirror_migrate_to_dev(&self->dev, self->mem, NPAGES));
	ASSERT_EQ(NPAGES, written_since(_metadata, self->mem));
	ASSERT_EQ(NPAGES, stamp_run(self->mem, NPAGES, TAG_CPU));
	EXPECT_EQ(0, written_since(_metadata, self->mem));
	stamp_write(self->mem, NPAGES / 2, TAG_CPU);
	EXPECT_EQ(NPAGES / 2, written_since(_metadata, self->mem));
	close(uffd);
}

static bool mover_stops;

static void *move_thread(void *mem)
{
	int node = 0;

	while (!__atomic_load_n(&mover_stops, __ATOMIC_RELAXED))
		move_to_node(mem, NPAGES, 1, node = !node);
	return NULL;
}

/* A CPU write after a clear_refs that meets migration entries makes the page soft-dirty. */
TEST(soft_dirty_in_migration)
{
	char *mem = map_small(_metadata, NPAGES);
	time_t deadline = in_seconds(4);
	long rounds = 0, lost = 0;
	pthread_t mover;

	stamp_write(mem, NPAGES, TAG_CPU);
	ASSERT_EQ(0, pthread_create(&mover, NULL, move_thread, mem));
	for (; before(deadline); rounds++) {
		ASSERT_TRUE(write_text("/proc/self/clear_refs", "4"));
		stamp_write(mem, NPAGES, TAG_CPU);
		lost += NPAGES - soft_dirty_run(_metadata, mem, NPAGES, true);
	}
	__atomic_store_n(&mover_stops, true, __ATOMIC_RELAXED);
	ASSERT_EQ(0, pthread_join(mover, NULL));
	EXPECT_EQ(0, lost)
		TH_LOG("in %ld rounds", rounds);
}

/* Accounting of locked memory */

static long mlocked_pages(struct __test_metadata *_metadata)
{
	FILE *meminfo;
	long kbytes = -1;
	char line[128];

	drain_lru_batches(_metadata);
	ASSERT_TRUE(write_text("/proc/sys/vm/stat_refresh", "1"));
	meminfo = fopen("/proc/meminfo", "r");
	ASSERT_NE(NULL, meminfo);
	while (kbytes < 0 && fgets(line, sizeof(line), meminfo))
		sscanf(line, "Mlocked: %ld", &kbytes);
	fclose(meminfo);
	return kbytes * 1024 / PAGE_SIZE;
}

/* munlock() of device memory leaves no page counted as locked. */
TEST_F(hmm_devmem, unlocked_on_the_device)
{
	long was = mlocked_pages(_metadata);

	ASSERT_EQ(0, mlock(self->mem, SIZE));
	ASSERT_EQ(NPAGES, mlocked_pages(_metadata) - was);
	ASSERT_EQ(NPAGES, dmirror_migrate_to_dev(&self->dev, self->mem, NPAGES));
	ASSERT_EQ(0, munlock(self->mem, SIZE));
	EXPECT_EQ(0, mlocked_pages(_metadata) - was);
	ASSERT_EQ(0, munmap(self->mem, SIZE));
	EXPECT_EQ(0, mlocked_pages(_metadata) - was);
}

/* A locked page is counted as locked again after its return from the device. */
TEST_F(hmm_devmem, locked_there_and_back)
{
	long was = mlocked_pages(_metadata);

	ASSERT_EQ(0, mlock(self->mem, SIZE));
	ASSERT_EQ(NPAGES, dmirror_migrate_to_dev(&self->dev, self->mem, NPAGES));
	ASSERT_EQ(NPAGES, dmirror_migrate_to_sys(&self->dev, self->mem, NPAGES));
	EXPECT_EQ(NPAGES, mlocked_pages(_metadata) - was);
	ASSERT_EQ(0, munmap(self->mem, SIZE));
	EXPECT_EQ(0, mlocked_pages(_metadata) - was);
}

/* Failure of device memory */

/* memory_failure() rejects device memory with -ENXIO and does not change it. */
TEST_F(hmm_devmem, memory_failure)
{
	char text[32];
	__u64 pfn;

	ASSERT_EQ(NPAGES, dmirror_migrate_to_dev(&self->dev, self->mem, NPAGES));
	/* For a private page, the lowest five bits in pagemap are the type of the swap entry. */
	pfn = pagemap_of(_metadata, self->mem) & PM_PFN_MASK;
	if (!variant->cpu_reaches)
		pfn >>= 5;
	snprintf(text, sizeof(text), "%#llx", (unsigned long long)pfn);
	EXPECT_FALSE(write_text(DEBUG_DIR "/hwpoison/corrupt-pfn", text));
	EXPECT_EQ(ENXIO, errno);
	EXPECT_EQ(NPAGES, dmirror_read_stamps(&self->dev, self->mem, NPAGES, TAG_CPU));
}

TEST_HARNESS_MAIN
