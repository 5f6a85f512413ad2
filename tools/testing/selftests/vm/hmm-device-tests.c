// SPDX-License-Identifier: GPL-2.0
/*
 * The interface between a device, its driver and HMM: events and refusals, the mirror's lock,
 * statistics, the event log, debugfs, tracepoints and invalid arguments.
 */
#include "../kselftest_harness.h"

#include <pthread.h>

#include "hmm-mirror-fixture.h"

/* Invalidations without a change: the event of the device, and the access that remains */

struct invalidation {
	__u32 notify;
	enum notified event;
	enum mapped left;
};

static const struct invalidation invalidations[] = {
	{ HMM_DMIRROR_NOTIFY_UNMAP,		EVENT_MUNMAP,		MAPS_NOTHING },
	{ HMM_DMIRROR_NOTIFY_CLEAR,		EVENT_MIGRATE,		MAPS_NOTHING },
	{ HMM_DMIRROR_NOTIFY_PROTECTION_VMA,	EVENT_WRITE_PROTECT,	MAPS_RO },
	{ HMM_DMIRROR_NOTIFY_PROTECTION_PAGE,	EVENT_WRITE_PROTECT,	MAPS_RO },
	{ HMM_DMIRROR_NOTIFY_SOFT_DIRTY,	EVENT_ISDIRTY,		MAPS_RO },
	{ HMM_DMIRROR_NOTIFY_MIGRATE,		EVENT_MIGRATE,		MAPS_NOTHING },
	{ HMM_DMIRROR_NOTIFY_EXCLUSIVE,		EVENT_MIGRATE,		MAPS_NOTHING },
};

#define INVALIDATIONS	((long)(sizeof(invalidations) / sizeof(*invalidations)))

/* Each kind of invalidation notifies the device of the right event and leaves the right access. */
TEST_F(hmm_mirror, every_event)
{
	char *mem = map_small(_metadata, NPAGES);

	for (long i = 0; i < INVALIDATIONS; i++) {
		const struct invalidation *n = &invalidations[i];

		mirror_all(_metadata, &self->dev, mem);
		EXPECT_EQ(0, dmirror_invalidate(&self->dev, mem, NPAGES, n->notify));
		EXPECT_EQ(NPAGES, dmirror_notified(&self->dev, mem, NPAGES, n->event));
		EXPECT_EQ(NPAGES, dmirror_maps(&self->dev, mem, NPAGES, n->left));
	}
}

/* An invalidation that must not block has the same effect as one that may. */
TEST_F(hmm_mirror, every_event_nonblockable)
{
	char *mem = map_small(_metadata, NPAGES);

	for (long i = 0; i < INVALIDATIONS; i++) {
		const struct invalidation *n = &invalidations[i];

		mirror_all(_metadata, &self->dev, mem);
		EXPECT_EQ(0, dmirror_invalidate_now(&self->dev, mem, NPAGES, n->notify));
		EXPECT_EQ(NPAGES, dmirror_notified_how(&self->dev, mem, NPAGES, n->event, false));
		EXPECT_EQ(NPAGES, dmirror_maps(&self->dev, mem, NPAGES, n->left));
	}
}

/* The invalidation of the device's own migration revokes its old pages as well. */
TEST_F(hmm_mirror, own_migration_event)
{
	char *mem = mirrored(_metadata, &self->dev);

	EXPECT_EQ(0, dmirror_invalidate_for(&self->dev, mem, NPAGES, HMM_DMIRROR_NOTIFY_MIGRATE,
					    HMM_DMIRROR_NOTIFY_BLOCKABLE | HMM_DMIRROR_NOTIFY_OWN,
					    0));
	EXPECT_EQ(NPAGES, dmirror_maps(&self->dev, mem, NPAGES, MAPS_NOTHING));
}

/* A refused invalidation that must not block changes nothing, and a later one succeeds. */
TEST_F(hmm_mirror, nonblockable_is_refused)
{
	char *mem = mirrored(_metadata, &self->dev);

	for (long i = 0; i < INVALIDATIONS; i++) {
		const struct invalidation *n = &invalidations[i];

		ASSERT_EQ(0, dmirror_refuse(&self->dev, 2, 0, 0));
		EXPECT_EQ(-EAGAIN, dmirror_invalidate_now(&self->dev, mem, NPAGES, n->notify));
		EXPECT_EQ(-EAGAIN, dmirror_invalidate_now(&self->dev, mem, NPAGES, n->notify));
		EXPECT_EQ(NPAGES, dmirror_maps(&self->dev, mem, NPAGES, MAPS_RW));
		EXPECT_EQ(NPAGES, dmirror_has_written(&self->dev, mem, NPAGES));
		EXPECT_EQ(0, dmirror_faults_of(&self->dev, mem, NPAGES, dmirror_write_stamps));
		EXPECT_EQ(0, dmirror_invalidate_now(&self->dev, mem, NPAGES, n->notify));
		EXPECT_EQ(NPAGES, dmirror_maps(&self->dev, mem, NPAGES, n->left));
		mirror_all(_metadata, &self->dev, mem);
	}
}

/* The driver cannot refuse an invalidation that may block. */
TEST_F(hmm_mirror, blockable_is_not_refused)
{
	char *mem = mirrored(_metadata, &self->dev);

	ASSERT_EQ(0, dmirror_refuse(&self->dev, 1, 0, 0));
	ASSERT_EQ(0, madvise(mem, SIZE, MADV_DONTNEED));
	EXPECT_EQ(NPAGES, dmirror_notified(&self->dev, mem, NPAGES, EVENT_MIGRATE));
	EXPECT_EQ(0ULL, dmirror_stats(&self->dev).refused);
}

/* Threads that hold the lock, or keep an invalidation in progress */

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

/*
 * While the mirror's lock is held, an invalidation that must not block fails with -EAGAIN, and
 * one that may block waits.
 */
TEST_F(hmm_mirror, lock_held_for_reading)
{
	char *mem = mirrored(_metadata, &self->dev);
	struct helper helper = { .dev = &self->dev, .msecs = 5000 };

	start_holding(_metadata, &helper);
	EXPECT_EQ(-EAGAIN, dmirror_try_invalidate(&self->dev, mem, NPAGES,
						  HMM_DMIRROR_NOTIFY_CLEAR));
	EXPECT_TRUE(dmirror_not_notified(&self->dev));
	EXPECT_EQ(NPAGES, dmirror_maps(&self->dev, mem, NPAGES, MAPS_RW));
	EXPECT_EQ(1ULL, dmirror_stats(&self->dev).holders);
	ASSERT_EQ(0, madvise(mem, SIZE, MADV_DONTNEED));
	EXPECT_EQ(0ULL, dmirror_stats(&self->dev).holders);
	EXPECT_EQ(NPAGES, dmirror_notified(&self->dev, mem, NPAGES, EVENT_MIGRATE));
	end_helper(_metadata, &helper);
	EXPECT_EQ(0, dmirror_invalidate_now(&self->dev, mem, NPAGES, HMM_DMIRROR_NOTIFY_CLEAR));
}

/* An invalidation in progress delays faults in its range, and no others. */
TEST_F(hmm_mirror, fault_during_invalidation)
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

/* Reports */

/* The statistics count faults, pages and callbacks exactly. */
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

/* The log keeps the newest events and counts the lost ones. */
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
	EXPECT_EQ((__u32)EVENT_RFAULT, events[0].event);
	EXPECT_EQ((__u32)EVENT_MIGRATE, events[1].event);
}

/* The debugfs file of the only mirror of this process */
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

/* The file of the mirror in debugfs shows the statistics, and vanishes with the mirror. */
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

/* The tracepoints report the life of a mirror, its faults and its invalidations. */
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

/* Invalid arguments */

/* An ioctl with an invalid range fails with -EINVAL and changes nothing. */
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
		for (size_t v = 0; v < PAGE_REQUESTS; v++) {
			EXPECT_EQ(-EINVAL, dmirror_ioctl(&self->dev, page_requests[v], bad[i].addr,
							 bad[i].npages, self->dev.buf))
				TH_LOG("range %zu, verb %zu", i, v);
		}
		EXPECT_EQ(-EINVAL, dmirror_invalidate(&self->dev, bad[i].addr, bad[i].npages,
						      HMM_DMIRROR_NOTIFY_CLEAR));
	}
	EXPECT_TRUE(dmirror_not_notified(&self->dev));
	EXPECT_EQ(NPAGES, dmirror_maps(&self->dev, mem, NPAGES, MAPS_RW));
}

/* An ioctl whose range needs a larger buffer than the kernel can allocate fails with -ENOMEM. */
TEST_F(hmm_mirror, too_many_pages)
{
	const long all = 1L << 34;

	EXPECT_EQ(-ENOMEM, dmirror_read(&self->dev, NULL, all));
	EXPECT_EQ(-ENOMEM, dmirror_write(&self->dev, NULL, all));
	EXPECT_EQ(-ENOMEM, dmirror_migrate_to_dev(&self->dev, NULL, all));
	EXPECT_EQ(-ENOMEM, dmirror_exclusive(&self->dev, NULL, all));
}

/* An ioctl with an invalid buffer or argument pointer fails with -EFAULT, and no event is lost. */
TEST_F(hmm_mirror, bad_buffers)
{
	char *mem = mirrored(_metadata, &self->dev), *none = map_small(_metadata, 1);

	ASSERT_EQ(0, munmap(none, PAGE_SIZE));
	for (size_t v = 0; v < PAGE_REQUESTS; v++) {
		if (page_requests[v] == HMM_DMIRROR_MIGRATE_TO_SYS ||
		    page_requests[v] == HMM_DMIRROR_CHECK_EXCLUSIVE ||
		    page_requests[v] == HMM_DMIRROR_PREFETCH ||
		    page_requests[v] == HMM_DMIRROR_PREFETCH_WORK ||
		    page_requests[v] == HMM_DMIRROR_CANCEL ||
		    page_requests[v] == HMM_DMIRROR_RELEASE)
			continue;	/* has no buffer */
		EXPECT_EQ(-EFAULT, dmirror_ioctl(&self->dev, page_requests[v], mem, 1, none))
			TH_LOG("verb %zu", v);
		EXPECT_EQ(-1, ioctl(self->dev.fd, page_requests[v], none));
		EXPECT_EQ(EFAULT, errno);
	}
	ASSERT_EQ(0, dmirror_invalidate(&self->dev, mem, 1, HMM_DMIRROR_NOTIFY_CLEAR));
	EXPECT_EQ(-EFAULT, dmirror_events(&self->dev, (void *)none, 1));
	EXPECT_LT(0, dmirror_events(&self->dev, (void *)self->dev.buf, 1));
}

/* An ioctl with an invalid argument fails with an errno and changes nothing. */
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
	EXPECT_TRUE(dmirror_not_notified(&self->dev));
	EXPECT_EQ(NPAGES, dmirror_maps(&self->dev, mem, NPAGES, MAPS_RW));
}

/* No ioctl gives the device access to memory that is not for devices. */
TEST_F(hmm_mirror, unmappable_memory)
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
