// SPDX-License-Identifier: GPL-2.0
/*
 * DAX memory whose driver is unbound while a device mirrors it.
 *
 * Device DAX first unmaps the memory from all page tables, which invalidates mirrors. Later
 * faults fail because the driver is gone. A file system is not involved: entries stay in the page
 * tables of the CPU and in mirrors, and the pages that they map vanish. A device may access such
 * a page only while it holds a reference to the pagemap. A walk that cannot get the reference
 * fails with -EFAULT.
 *
 * An unbind must wait for a walk in progress, and for nothing else that a mirror does. On a slow
 * emulated machine no fixed time limit fits. So each test first measures an unbind that nothing
 * delays, and allows four times as long plus a second. In tests with devices that never pause,
 * the time counts from their end.
 */
#include "../kselftest_harness.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include "hmm-dax.h"

#define NPAGES		40

#define DAX_DRIVER	"/sys/bus/dax/drivers/device_dax"

#define GIVE_UP_SECONDS	20	/* an unbind that waits for a leaked reference never ends */
#define STORM_SECONDS	2	/* time for an unbind before the devices must stop */
#define ENOUGH_WALKS	100

/* Drivers */

struct driver {
	const char *dir;
	const char *device;
};

static int driver_write(const struct driver *driver, const char *file)
{
	const int len = strlen(driver->device);
	char path[PATH_MAX];
	int fd, ret;

	snprintf(path, sizeof(path), "%s/%s", driver->dir, file);
	fd = open(path, O_WRONLY);
	if (fd < 0)
		return -errno;
	ret = write(fd, driver->device, len) == len ? 0 : -errno;
	close(fd);
	return ret;
}

static void driver_bind(struct __test_metadata *_metadata, const struct driver *driver)
{
	ASSERT_EQ(0, driver_write(driver, "bind"));
}

static long milliseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* A child does the unbind, because no signal can kill a process that waits there. */
static pid_t unbind_begin(struct __test_metadata *_metadata, const struct driver *driver)
{
	pid_t pid = fork();

	ASSERT_LE(0, pid);
	if (!pid)
		_exit(-driver_write(driver, "unbind"));
	return pid;
}

static bool unbind_ends(struct __test_metadata *_metadata, pid_t pid, int seconds)
{
	const time_t deadline = in_seconds(seconds);
	pid_t ended = 0;
	int status;

	while (!ended && before(deadline)) {
		usleep(1000);
		ended = waitpid(pid, &status, WNOHANG);
	}
	if (!ended)
		return false;
	ASSERT_EQ(pid, ended);
	ASSERT_TRUE(WIFEXITED(status));
	ASSERT_EQ(0, WEXITSTATUS(status));
	return true;
}

/* Returns the duration in milliseconds. */
static long unbind_timed(struct __test_metadata *_metadata, const struct driver *driver)
{
	const long begin = milliseconds();

	ASSERT_TRUE(unbind_ends(_metadata, unbind_begin(_metadata, driver), GIVE_UP_SECONDS))
		TH_LOG("unbind of %s does not end", driver->device);
	return milliseconds() - begin;
}

/* The time limit for an unbind that waits only for a walk */
static long time_limit(struct __test_metadata *_metadata, const struct driver *driver)
{
	long alone = unbind_timed(_metadata, driver);

	driver_bind(_metadata, driver);
	ksft_print_msg("unbind of %s: %ld ms\n", driver->device, alone);
	return 4 * alone + 1000;
}

static void unbind_in_time(struct __test_metadata *_metadata, const struct driver *driver,
			   long limit)
{
	long took = unbind_timed(_metadata, driver);

	ksft_print_msg("unbind of %s with a mirror: %ld ms of %ld\n", driver->device, took,
		       limit);
	EXPECT_GE(limit, took);
}

/* Devices that access memory until the test stops them */

struct worker {
	long (*work)(struct dmirror *dev, char *mem);
	char *mem;
	long allowed[2];
	struct dmirror dev;
	pthread_t thread;
	atomic_bool over;
	atomic_long rounds;
	atomic_long bad;	/* a result that is not allowed */
};

static long work_snapshot(struct dmirror *dev, char *mem)
{
	unsigned char seen[NPAGES];

	return dmirror_snapshot(dev, mem, NPAGES, seen);
}

static long work_read(struct dmirror *dev, char *mem)
{
	return dmirror_read(dev, mem, NPAGES);
}

static long work_write(struct dmirror *dev, char *mem)
{
	return dmirror_write(dev, mem, NPAGES);
}

/* The range includes the page after the memory. */
static long work_read_too_far(struct dmirror *dev, char *mem)
{
	return dmirror_read(dev, mem, NPAGES + 1);
}

/* The same, and each walk faults. */
static long work_fault_too_far(struct dmirror *dev, char *mem)
{
	if (madvise(mem, NPAGES * PAGE_SIZE, MADV_DONTNEED))
		return -errno;
	return dmirror_read(dev, mem, NPAGES + 1);
}

static void *worker_thread(void *arg)
{
	struct worker *worker = arg;
	bool good = true;

	while (good && !worker->over) {
		long ret = worker->work(&worker->dev, worker->mem);

		good = ret == worker->allowed[0] || ret == worker->allowed[1];
		if (!good)
			worker->bad = ret;
		worker->rounds++;
	}
	return NULL;
}

static void workers_start(struct __test_metadata *_metadata, struct worker *workers, int count)
{
	for (int i = 0; i < count; i++) {
		dmirror_open(_metadata, &workers[i].dev, i % 2, NPAGES + 1);
		ASSERT_EQ(0, pthread_create(&workers[i].thread, NULL, worker_thread, &workers[i]));
	}
}

static void workers_go_on(struct __test_metadata *_metadata, struct worker *workers, int count,
			  long rounds)
{
	const time_t deadline = in_seconds(GIVE_UP_SECONDS);

	for (int i = 0; i < count; i++) {
		long until = workers[i].rounds + rounds;

		while (workers[i].rounds < until && !workers[i].bad && before(deadline))
			usleep(1000);
		EXPECT_LE(until, workers[i].rounds)
			TH_LOG("worker %d is stuck, or has got %ld", i, workers[i].bad);
	}
}

static void workers_stop(struct __test_metadata *_metadata, struct worker *workers, int count)
{
	for (int i = 0; i < count; i++)
		workers[i].over = true;
	for (int i = 0; i < count; i++) {
		ASSERT_EQ(0, pthread_join(workers[i].thread, NULL));
		EXPECT_EQ(0, workers[i].bad);
		close(workers[i].dev.fd);
	}
}

static void unbind_under_workers(struct __test_metadata *_metadata, const struct driver *driver,
				 long limit, struct worker *workers, int count)
{
	long begin = milliseconds();
	pid_t pid = unbind_begin(_metadata, driver);
	bool ended = unbind_ends(_metadata, pid, STORM_SECONDS);

	ksft_print_msg("unbind of %s under way or done after %ld ms\n", driver->device,
		       milliseconds() - begin);
	workers_go_on(_metadata, workers, count, 2);
	workers_stop(_metadata, workers, count);
	begin = milliseconds();
	ASSERT_TRUE(ended || unbind_ends(_metadata, pid, GIVE_UP_SECONDS))
		TH_LOG("unbind of %s does not end", driver->device);
	ksft_print_msg("and %ld ms of %ld more\n", milliseconds() - begin, limit);
	EXPECT_GE(limit, milliseconds() - begin);
}

/* Device DAX */

FIXTURE(hmm_unbind_device)
{
	struct driver driver;
	struct dmirror dev;
	long limit;
	int fd;
	char *mem;
};

FIXTURE_VARIANT(hmm_unbind_device)
{
	const char *name;
	struct dax_kind kind;
};

FIXTURE_VARIANT_ADD(hmm_unbind_device, pte)
{
	.name = DEVICE_PTE,
	.kind = DAX_PTE("/dev/" DEVICE_PTE),
};

FIXTURE_VARIANT_ADD(hmm_unbind_device, pmd)
{
	.name = DEVICE_PMD,
	.kind = DAX_PMD("/dev/" DEVICE_PMD),
};

FIXTURE_VARIANT_ADD(hmm_unbind_device, pud)
{
	.name = DEVICE_PUD,
	.kind = DAX_PUD("/dev/" DEVICE_PUD),
};

FIXTURE_SETUP(hmm_unbind_device)
{
	self->driver.dir = DAX_DRIVER;
	self->driver.device = variant->name;
	self->limit = time_limit(_metadata, &self->driver);
	dmirror_open(_metadata, &self->dev, 0, NPAGES + 1);
	self->fd = dax_open(_metadata, &variant->kind);
	self->mem = dax_map_before_none(_metadata, &variant->kind, self->fd);
}

/* This order matters: 6.12 reuses the character device in place, even if a file is still open. */
static void device_close(const struct dax_kind *kind, char *mem, int fd)
{
	munmap(mem, kind->pages * PAGE_SIZE);
	close(fd);
}

FIXTURE_TEARDOWN(hmm_unbind_device)
{
	device_close(&variant->kind, self->mem, self->fd);
	driver_write(&self->driver, "bind");
	close(self->dev.fd);
}

static void expect_gone(struct __test_metadata *_metadata, struct dmirror *dev, char *mem)
{
	EXPECT_EQ(-EFAULT, dmirror_read(dev, mem, NPAGES));
	EXPECT_EQ(-EFAULT, dmirror_write(dev, mem, NPAGES));
	EXPECT_EQ(NPAGES, dmirror_sees(dev, mem, NPAGES, SEEN_NONE));
}

/* An unbind revokes what the device has mirrored, and the content is there after a new bind. */
TEST_F_TIMEOUT(hmm_unbind_device, mirrored, 180)
{
	ASSERT_EQ(NPAGES, dmirror_write_stamps(&self->dev, self->mem, NPAGES));

	unbind_in_time(_metadata, &self->driver, self->limit);
	expect_gone(_metadata, &self->dev, self->mem);

	device_close(&variant->kind, self->mem, self->fd);
	driver_bind(_metadata, &self->driver);
	self->fd = dax_open(_metadata, &variant->kind);
	self->mem = dax_map_before_none(_metadata, &variant->kind, self->fd);
	EXPECT_EQ(NPAGES, dmirror_read_stamps(&self->dev, self->mem, NPAGES, TAG_DEVICE));
	EXPECT_EQ(NPAGES,
		  dmirror_sees(&self->dev, self->mem, NPAGES, SEEN_RW | variant->kind.size));
}

/* An unbind completes while devices walk the memory, and their accesses fail afterwards. */
TEST_F_TIMEOUT(hmm_unbind_device, while_walked, 180)
{
	struct worker workers[] = {
		{ .work = work_snapshot, .allowed = { NPAGES } },
		{ .work = work_read, .allowed = { NPAGES, -EFAULT } },
		{ .work = work_write, .allowed = { NPAGES, -EFAULT } },
	};

	for (int i = 0; i < 3; i++)
		workers[i].mem = self->mem;
	dax_populate(&variant->kind, self->mem);
	workers_start(_metadata, workers, 3);
	workers_go_on(_metadata, workers, 3, ENOUGH_WALKS);

	unbind_under_workers(_metadata, &self->driver, self->limit, workers, 3);
	expect_gone(_metadata, &self->dev, self->mem);
}

/*
 * A walk that fails after the end of the memory drops all references, so that an unbind
 * completes.
 */
TEST_F_TIMEOUT(hmm_unbind_device, after_failed_walks, 180)
{
	char *tail = page_at(self->mem, variant->kind.pages - NPAGES);

	dax_populate(&variant->kind, self->mem);
	for (int i = 0; i < ENOUGH_WALKS; i++)
		ASSERT_EQ(-EFAULT, work_read_too_far(&self->dev, tail));

	unbind_in_time(_metadata, &self->driver, self->limit);
}

/*
 * FS-DAX. The kernel shuts the file system down permanently, so each test has one of its own. The
 * broken file system stays mounted, because an unmount would write to the missing disk and report
 * errors. The driver must be bound again before a file is closed: 6.12 writes to the struct page
 * of a page that it removes from a file.
 */

enum { UNDER_PTES, UNDER_PMDS, FAULTED, FILES };

static const struct dax_kind file_kinds[FILES] = {
	[UNDER_PTES] = DAX_PTE(FS_DIR_UNBOUND),
	[UNDER_PMDS] = DAX_PMD(FS_DIR_UNBOUND),
	[FAULTED] = DAX_PMD(FS_DIR_UNBOUND),
};

struct files {
	struct driver driver;
	char dir[PATH_MAX];
	char namespace[16];
	long limit;
	int fd[FILES];
	char *mem[FILES];
	char *tail[FILES];	/* NPAGES, followed by a page that no device may read */
};

static void files_open(struct __test_metadata *_metadata, struct files *files, int region)
{
	char disk[16], link[64];

	snprintf(files->namespace, sizeof(files->namespace), "namespace%d.0", region);
	snprintf(disk, sizeof(disk), "/dev/pmem%d", region);
	snprintf(link, sizeof(link), "/sys/block/pmem%d/device/driver", region);
	ASSERT_NE(NULL, realpath(link, files->dir));
	files->driver.dir = files->dir;
	files->driver.device = files->namespace;
	files->limit = time_limit(_metadata, &files->driver);
	ASSERT_EQ(0, mount(disk, FS_DIR_UNBOUND, "ext4", 0, "dax"))
		TH_LOG("mount of %s: %m", disk);
	for (int i = 0; i < FILES; i++) {
		const struct dax_kind *kind = &file_kinds[i];

		files->fd[i] = dax_open(_metadata, kind);
		files->mem[i] = dax_map_before_none(_metadata, kind, files->fd[i]);
		files->tail[i] = page_at(files->mem[i], kind->pages - NPAGES);
		dax_populate(kind, files->mem[i]);
	}
}

static void files_close(struct files *files)
{
	driver_write(&files->driver, "bind");
	for (int i = 0; i < FILES; i++) {
		munmap(files->mem[i], file_kinds[i].pages * PAGE_SIZE);
		close(files->fd[i]);
	}
}

FIXTURE(hmm_unbind_fs)
{
	struct dmirror dev;
	struct files files;
};

FIXTURE_SETUP(hmm_unbind_fs)
{
	dmirror_open(_metadata, &self->dev, 0, NPAGES + 1);
}

FIXTURE_TEARDOWN(hmm_unbind_fs)
{
	files_close(&self->files);
	close(self->dev.fd);
}

/* The device may have mirrored the pages before, or not. */
static void expect_stale(struct __test_metadata *_metadata, struct dmirror *dev, char *tail)
{
	EXPECT_EQ(-EFAULT, dmirror_read(dev, tail, NPAGES));
	EXPECT_EQ(-EFAULT, dmirror_write(dev, tail, NPAGES));
	EXPECT_EQ(NPAGES, dmirror_sees(dev, tail, NPAGES, SEEN_NONE));
}

/* After an unbind no device can access the pages, whether it has mirrored them before or not. */
TEST_F_TIMEOUT(hmm_unbind_fs, mirrored, 180)
{
	struct files *files = &self->files;
	struct dmirror late;

	files_open(_metadata, files, 4);
	dmirror_open(_metadata, &late, 1, NPAGES + 1);
	for (int i = 0; i < FILES; i++)
		ASSERT_EQ(NPAGES, dmirror_write_stamps(&self->dev, files->tail[i], NPAGES));

	unbind_in_time(_metadata, &files->driver, files->limit);
	expect_stale(_metadata, &late, files->tail[UNDER_PTES]);
	expect_stale(_metadata, &late, files->tail[UNDER_PMDS]);
	EXPECT_EQ(NPAGES, dmirror_maps(&late, files->tail[UNDER_PTES], NPAGES, MAPS_NOTHING));
	expect_stale(_metadata, &self->dev, files->tail[UNDER_PTES]);
	expect_stale(_metadata, &self->dev, files->tail[UNDER_PMDS]);
	close(late.fd);
}

/*
 * After a new bind a snapshot reports the entries again, read-only because the file system has
 * written the pages back.
 */
TEST_F_TIMEOUT(hmm_unbind_fs, driver_comes_back, 180)
{
	struct files *files = &self->files;

	files_open(_metadata, files, 5);
	unbind_in_time(_metadata, &files->driver, files->limit);
	driver_bind(_metadata, &files->driver);
	for (int i = 0; i < FILES; i++)
		EXPECT_EQ(NPAGES, dmirror_sees(&self->dev, files->tail[i], NPAGES,
					       SEEN_RO | file_kinds[i].size));
}

/* A walk that fails after the end of the file drops all references, so that an unbind completes. */
TEST_F_TIMEOUT(hmm_unbind_fs, after_failed_walks, 180)
{
	struct files *files = &self->files;

	files_open(_metadata, files, 6);
	for (int i = 0; i < ENOUGH_WALKS; i++)
		ASSERT_EQ(-EFAULT, work_read_too_far(&self->dev, files->tail[i % FILES]));
	unbind_in_time(_metadata, &files->driver, files->limit);
}

/*
 * An unbind completes while devices walk the memory, also if the kernel keeps the struct pages.
 *
 * Region 7 shares its section with ordinary memory, so the kernel keeps the struct pages, and only
 * the pagemap shows a walk that the memory is gone.
 */
TEST_F_TIMEOUT(hmm_unbind_fs, while_walked, 180)
{
	struct files *files = &self->files;
	struct worker workers[] = {
		{ .work = work_snapshot, .allowed = { NPAGES } },
		{ .work = work_snapshot, .allowed = { NPAGES } },
		{ .work = work_read, .allowed = { NPAGES, -EFAULT } },
		{ .work = work_write, .allowed = { NPAGES, -EFAULT } },
		{ .work = work_fault_too_far, .allowed = { -EFAULT } },
	};

	files_open(_metadata, files, 7);
	workers[0].mem = files->tail[UNDER_PTES];
	workers[1].mem = files->tail[UNDER_PMDS];
	workers[2].mem = files->tail[UNDER_PTES];
	workers[3].mem = files->tail[UNDER_PMDS];
	workers[4].mem = files->tail[FAULTED];
	workers_start(_metadata, workers, 5);
	workers_go_on(_metadata, workers, 5, ENOUGH_WALKS);

	unbind_under_workers(_metadata, &files->driver, files->limit, workers, 5);
	expect_stale(_metadata, &self->dev, files->tail[UNDER_PTES]);
	expect_stale(_metadata, &self->dev, files->tail[UNDER_PMDS]);
}

TEST_HARNESS_MAIN
