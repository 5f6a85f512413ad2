// SPDX-License-Identifier: GPL-2.0
/*
 * Device faults that a thread of the same process serves through a userfaultfd.
 *
 * The server changes mappings before it serves a fault, so it needs mmap_lock, which a device
 * fault that waits must not hold.
 */
#include "../kselftest_harness.h"

#include <poll.h>

#include "hmm-fault-workers.h"
#include "hmm-uffd.h"

/* A thread that serves the faults of some memory, one unit at a time */

struct server;

/*
 * Faults that a server serves.
 *
 * @mode, @features: of the userfaultfd
 * @flag: the flag that each of its faults has
 * @filled: the memory has its content before the first fault
 * @again: makes all units fault again
 * @serve: serves one fault
 */
struct duty {
	__u64 mode;
	__u64 features;
	__u64 flag;
	bool filled;
	bool (*again)(struct server *server);
	int (*serve)(struct server *server, char *unit);
};

struct server {
	pthread_t thread;
	const struct duty *duty;
	int uffd;
	int stop[2];
	char *mem;
	char *content;
	long unit;		/* bytes */
	long units;
	long served;
	long wrong;		/* unexpected faults */
	int error;
};

/* Like stamp_write(), for a page that need not be the first */
static void stamp_page(char *mem, long page, enum tag tag)
{
	__u64 *words = (__u64 *)page_at(mem, page);

	words[0] = stamp_of(tag, page);
	words[WORDS_PER_PAGE - 1] = stamp_of(tag, page);
}

static bool has_stamp(const char *mem, long page, enum tag tag)
{
	const __u64 *words = (const __u64 *)(mem + page * PAGE_SIZE);

	return words[0] == stamp_of(tag, page) && words[WORDS_PER_PAGE - 1] == words[0];
}

static bool forget_pages(struct server *server)
{
	return !madvise(server->mem, server->unit * server->units, MADV_DONTNEED);
}

static bool write_protect(struct server *server, char *start, long size, __u64 mode)
{
	struct uffdio_writeprotect wp = {
		.range = { .start = (uintptr_t)start, .len = size },
		.mode = mode,
	};

	return !ioctl(server->uffd, UFFDIO_WRITEPROTECT, &wp);
}

/* Not called while a page is protected */
static bool protect_pages(struct server *server)
{
	for (long i = 0; i < server->units; i++)
		stamp_page(server->mem, i * (server->unit / PAGE_SIZE), TAG_CPU);
	return write_protect(server, server->mem, server->unit * server->units,
			     UFFDIO_WRITEPROTECT_MODE_WP);
}

static int wake(struct server *server, char *unit)
{
	struct uffdio_range range = { .start = (uintptr_t)unit, .len = server->unit };

	return ioctl(server->uffd, UFFDIO_WAKE, &range) ? errno : 0;
}

static int serve_missing(struct server *server, char *unit)
{
	struct uffdio_copy copy = {
		.dst = (uintptr_t)unit,
		.src = (uintptr_t)(server->content + (unit - server->mem)),
		.len = server->unit,
	};

	if (!ioctl(server->uffd, UFFDIO_COPY, &copy))
		return 0;
	/* Another device has faulted on the same unit. */
	return errno == EEXIST ? wake(server, unit) : errno;
}

static int serve_minor(struct server *server, char *unit)
{
	struct uffdio_continue cont = {
		.range = { .start = (uintptr_t)unit, .len = server->unit },
	};

	if (!ioctl(server->uffd, UFFDIO_CONTINUE, &cont))
		return 0;
	return errno == EEXIST ? wake(server, unit) : errno;
}

static int serve_protected(struct server *server, char *unit)
{
	return write_protect(server, unit, server->unit, 0) ? 0 : errno;
}

static const struct duty missing_faults = {
	.mode = UFFDIO_REGISTER_MODE_MISSING,
	.again = forget_pages,
	.serve = serve_missing,
};

/* The file keeps the content. */
static const struct duty minor_faults = {
	.mode = UFFDIO_REGISTER_MODE_MINOR,
	.features = UFFD_FEATURE_MINOR_SHMEM | UFFD_FEATURE_MINOR_HUGETLBFS,
	.flag = UFFD_PAGEFAULT_FLAG_MINOR,
	.filled = true,
	.again = forget_pages,
	.serve = serve_minor,
};

static const struct duty write_faults = {
	.mode = UFFDIO_REGISTER_MODE_WP,
	.features = UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_HUGETLBFS_SHMEM,
	.flag = UFFD_PAGEFAULT_FLAG_WP,
	.filled = true,
	.again = protect_pages,
	.serve = serve_protected,
};

static int server_serve(struct server *server, const struct uffd_msg *msg)
{
	const __u64 kinds = UFFD_PAGEFAULT_FLAG_WP | UFFD_PAGEFAULT_FLAG_MINOR;
	char *unit = (char *)(uintptr_t)(msg->arg.pagefault.address & -(__u64)server->unit);

	if (msg->event != UFFD_EVENT_PAGEFAULT ||
	    (msg->arg.pagefault.flags & kinds) != server->duty->flag ||
	    unit < server->mem || unit >= server->mem + server->unit * server->units)
		server->wrong++;
	/* A fault that waits does not hold a lock that this needs. */
	if (!map_and_unmap())
		return errno;
	server->served++;
	return server->duty->serve(server, unit);
}

/* If the server gives up, waiting faults continue, and the test finds the wrong content. */
static void *server_thread(void *arg)
{
	struct server *server = arg;
	struct pollfd polled[] = {
		{ .fd = server->uffd, .events = POLLIN },
		{ .fd = server->stop[0], .events = POLLIN },
	};
	struct uffd_msg msg;
	ssize_t got;

	while (!server->error) {
		if (poll(polled, 2, -1) < 0)
			server->error = errno;
		if (polled[1].revents)
			return NULL;
		got = read(server->uffd, &msg, sizeof(msg));
		if (got == (ssize_t)sizeof(msg))
			server->error = server_serve(server, &msg);
		else if (errno != EAGAIN)
			server->error = errno;
	}
	ksft_print_msg("no fault is served any more: %s\n", strerror(server->error));
	close(server->uffd);
	return NULL;
}

static void server_start(struct __test_metadata *_metadata, struct server *server)
{
	const struct duty *duty = server->duty;
	long npages = server->unit * server->units / PAGE_SIZE;

	server->content = map_pages(_metadata, npages, PROT_RW, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	stamp_write(server->content, npages, TAG_CPU);
	if (duty->filled)
		stamp_write(server->mem, npages, TAG_CPU);
	server->uffd = uffd_open(_metadata, O_NONBLOCK, duty->features);
	uffd_register(_metadata, server->uffd, server->mem, npages, duty->mode);
	ASSERT_EQ(0, pipe(server->stop));
	ASSERT_EQ(0, pthread_create(&server->thread, NULL, server_thread, server));
}

/* Returns the number of faults that it has served. */
static long server_end(struct __test_metadata *_metadata, struct server *server)
{
	ASSERT_EQ(1, write(server->stop[1], "", 1));
	ASSERT_EQ(0, pthread_join(server->thread, NULL));
	EXPECT_EQ(0, server->error);
	EXPECT_EQ(0, server->wrong);
	return server->served;
}

/* Kinds of memory and faults, and the number of pages that the device requests together */

#define SERVED		1024	/* faults of each test */
#define SERVED_HUGE	256	/* of hugetlb memory, which takes longer */
#define HUGE_UNITS	16

struct work {
	const struct duty *duty;
	char *(*map)(struct __test_metadata *_metadata, int *fd);
	long unit;
	long units;
	long at_once;	/* pages; of each unit, if a unit is larger */
	bool write;
};

FIXTURE(hmm_uffd)
{
	struct dmirror dev;
	struct server server;
	int fd;
};

FIXTURE_VARIANT(hmm_uffd)
{
	struct work work;
};

static char *map_anon(struct __test_metadata *_metadata, int *fd)
{
	return map_small(_metadata, SERVED);
}

static char *map_shmem(struct __test_metadata *_metadata, int *fd)
{
	*fd = shmem_file(_metadata, 0, SERVED);
	return map_pages(_metadata, SERVED, PROT_RW, MAP_SHARED, *fd);
}

static char *map_huge_file(struct __test_metadata *_metadata, int *fd)
{
	*fd = shmem_file(_metadata, MFD_HUGETLB | MFD_HUGE_2MB, HUGE_UNITS * HPAGE_PAGES);
	return map_pages(_metadata, HUGE_UNITS * HPAGE_PAGES, PROT_RW, MAP_SHARED, *fd);
}

FIXTURE_VARIANT_ADD(hmm_uffd, missing)
{
	.work = {
		.duty = &missing_faults, .map = map_anon, .unit = PAGE_SIZE,
		.units = SERVED, .at_once = 1,
	},
};

FIXTURE_VARIANT_ADD(hmm_uffd, missing_many)
{
	.work = {
		.duty = &missing_faults, .map = map_anon, .unit = PAGE_SIZE,
		.units = SERVED, .at_once = SERVED,
	},
};

FIXTURE_VARIANT_ADD(hmm_uffd, missing_written)
{
	.work = {
		.duty = &missing_faults, .map = map_anon, .unit = PAGE_SIZE,
		.units = SERVED, .at_once = 64, .write = true,
	},
};

FIXTURE_VARIANT_ADD(hmm_uffd, minor)
{
	.work = {
		.duty = &minor_faults, .map = map_shmem, .unit = PAGE_SIZE,
		.units = SERVED, .at_once = 1,
	},
};

FIXTURE_VARIANT_ADD(hmm_uffd, minor_many)
{
	.work = {
		.duty = &minor_faults, .map = map_shmem, .unit = PAGE_SIZE,
		.units = SERVED, .at_once = SERVED,
	},
};

FIXTURE_VARIANT_ADD(hmm_uffd, minor_of_hugetlb)
{
	.work = {
		.duty = &minor_faults, .map = map_huge_file, .unit = HPAGE_SIZE,
		.units = HUGE_UNITS, .at_once = 1,
	},
};

FIXTURE_VARIANT_ADD(hmm_uffd, protected)
{
	.work = {
		.duty = &write_faults, .map = map_anon, .unit = PAGE_SIZE,
		.units = SERVED, .at_once = 1, .write = true,
	},
};

FIXTURE_VARIANT_ADD(hmm_uffd, protected_many)
{
	.work = {
		.duty = &write_faults, .map = map_anon, .unit = PAGE_SIZE,
		.units = SERVED, .at_once = SERVED, .write = true,
	},
};

FIXTURE_VARIANT_ADD(hmm_uffd, protected_shmem)
{
	.work = {
		.duty = &write_faults, .map = map_shmem, .unit = PAGE_SIZE,
		.units = SERVED, .at_once = 64, .write = true,
	},
};

FIXTURE_VARIANT_ADD(hmm_uffd, protected_hugetlb)
{
	.work = {
		.duty = &write_faults, .map = map_huge_file, .unit = HPAGE_SIZE,
		.units = HUGE_UNITS, .at_once = 1, .write = true,
	},
};

FIXTURE_SETUP(hmm_uffd)
{
	const struct work *work = &variant->work;

	self->fd = -1;
	self->server.duty = work->duty;
	self->server.unit = work->unit;
	self->server.units = work->units;
	self->server.mem = work->map(_metadata, &self->fd);
	dmirror_open(_metadata, &self->dev, PRIVATE, work->unit * work->units / PAGE_SIZE);
}

FIXTURE_TEARDOWN(hmm_uffd)
{
	close(self->fd);
	close(self->dev.fd);
}

static long read_at(struct dmirror *dev, char *mem, long page, long npages)
{
	long done, right = 0;

	memset(page_at(dev->buf, page), 0, npages * PAGE_SIZE);
	done = dmirror_ioctl(dev, HMM_DMIRROR_READ, page_at(mem, page), npages,
			     page_at(dev->buf, page));
	for (long i = 0; i < done; i++)
		right += has_stamp(dev->buf, page + i, TAG_CPU);
	return done < 0 ? done : right;
}

static long write_at(struct dmirror *dev, char *mem, long page, long npages)
{
	long done, right = 0;

	for (long i = 0; i < npages; i++)
		stamp_page(dev->buf, page + i, TAG_DEVICE);
	done = dmirror_ioctl(dev, HMM_DMIRROR_WRITE, page_at(mem, page), npages,
			     page_at(dev->buf, page));
	for (long i = 0; i < done; i++)
		right += has_stamp(mem, page + i, TAG_DEVICE);
	return done < 0 ? done : right;
}

/*
 * The device accesses some pages of each unit. Returns the number of units with the right result.
 */
static long access_units(const struct work *work, struct dmirror *dev, char *mem)
{
	const long per_unit = work->unit / PAGE_SIZE, npages = per_unit * work->units;
	const long step = work->at_once > per_unit ? work->at_once : per_unit;
	long right, units = 0;

	for (long page = 0; page < npages; page += step) {
		right = work->write ? write_at(dev, mem, page, work->at_once) :
				      read_at(dev, mem, page, work->at_once);
		if (right != work->at_once) {
			ksft_print_msg("pages from %ld on: %ld\n", page, right);
			return right < 0 ? right : units;
		}
		units += step / per_unit;
	}
	return units;
}

/*
 * Each fault of the device reaches the userfaultfd once, while the server and another thread
 * change mappings.
 */
TEST_F_TIMEOUT(hmm_uffd, all_faults_served, 240)
{
	const struct work *work = &variant->work;
	struct server *server = &self->server;
	struct hmm_dmirror_stats stats = dmirror_stats(&self->dev);
	struct worker elsewhere;
	const long expected = work->unit == PAGE_SIZE ? SERVED : SERVED_HUGE;
	long begin = msecs_now(), served;

	worker_start(_metadata, &elsewhere, act_elsewhere, NULL, 0);
	server_start(_metadata, server);
	for (long n = 0; n < expected; n += work->units) {
		ASSERT_TRUE(work->duty->again(server));
		ASSERT_EQ(work->units, access_units(work, &self->dev, server->mem));
	}
	served = server_end(_metadata, server);
	ksft_print_msg("%ld faults served in %ld ms\n", served, msecs_now() - begin);
	worker_end(_metadata, &elsewhere);
	stats = dmirror_stats_since(&self->dev, &stats);
	print_stats("all", &stats);
	EXPECT_EQ(expected, served);
}

/* Several devices that fault on the same memory */

struct user {
	pthread_t thread;
	const struct work *work;
	struct dmirror dev;
	char *mem;
	long units;
};

static void *user_thread(void *arg)
{
	struct user *user = arg;

	user->units = access_units(user->work, &user->dev, user->mem);
	return NULL;
}

/* Several devices that fault on the same memory all get the content that the server provides. */
TEST_F_TIMEOUT(hmm_uffd, shared_by_devices, 240)
{
	const struct work *work = &variant->work;
	struct server *server = &self->server;
	struct user users[4];
	int i;

	for (i = 0; i < 4; i++) {
		users[i] = (struct user){ .work = work, .mem = server->mem };
		dmirror_open(_metadata, &users[i].dev, i / 2, self->dev.buf_pages);
	}
	server_start(_metadata, server);
	ASSERT_TRUE(work->duty->again(server));
	for (i = 0; i < 4; i++)
		ASSERT_EQ(0, pthread_create(&users[i].thread, NULL, user_thread, &users[i]));
	for (i = 0; i < 4; i++) {
		ASSERT_EQ(0, pthread_join(users[i].thread, NULL));
		EXPECT_EQ(work->units, users[i].units);
		close(users[i].dev.fd);
	}
	EXPECT_LE(work->units, server_end(_metadata, server));
}

TEST_HARNESS_MAIN
