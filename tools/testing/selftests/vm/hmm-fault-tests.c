// SPDX-License-Identifier: GPL-2.0
/*
 * Faults of a device that have to wait, or that others get in the way of.
 *
 * A thread of the process itself serves them (userfaultfd), and needs mmap_lock for what it
 * does; others change the very pages that the device wants, again and again; the pages are
 * swapped out; the process is killed meanwhile. Every fault has to end, and to cost no more
 * than it should: HMM_DMIRROR_STATS tells the collisions, and the locks that were taken. One
 * thread at a time works for a device where they are counted.
 *
 * HMM_STORM_SECONDS in the environment: how long each storm goes on, at most 120; 2 otherwise.
 * In a guest, it may be an argument of the kernel.
 */
#include "../kselftest_harness.h"

#include <poll.h>
#include <pthread.h>

#include "hmm-dmirror.h"

#define NPAGES		HPAGE_PAGES

/*
 * The kernel's HMM_FAULT_COLLISIONS_MAX: the slow path begins then, and takes as many steps.
 * On a loaded machine it fails once in some hundred times, and then is tried again.
 */
#define COLLISIONS_MAX	8

/* For what should take no time: nobody has to wait that long unless something is wrong. */
#define PATIENCE_MSECS	30000

static bool stopped(const bool *stop)
{
	return __atomic_load_n(stop, __ATOMIC_ACQUIRE);
}

static void set_stopped(bool *stop)
{
	__atomic_store_n(stop, true, __ATOMIC_RELEASE);
}

/* What has happened since */
static struct hmm_dmirror_stats dmirror_stats_since(struct dmirror *dev,
						    const struct hmm_dmirror_stats *before)
{
	struct hmm_dmirror_stats stats = dmirror_stats(dev);

	stats.faults -= before->faults;
	stats.collisions -= before->collisions;
	stats.vma_lock -= before->vma_lock;
	stats.mmap_lock -= before->mmap_lock;
	stats.progress -= before->progress;
	return stats;
}

static void print_stats(const char *what, const struct hmm_dmirror_stats *stats)
{
	ksft_print_msg("%s: %llu faults, %llu collisions\n", what,
		       (unsigned long long)stats->faults, (unsigned long long)stats->collisions);
	ksft_print_msg("%s: pieces: vma_lock %llu, mmap_lock %llu, progress %llu\n", what,
		       (unsigned long long)stats->vma_lock,
		       (unsigned long long)stats->mmap_lock,
		       (unsigned long long)stats->progress);
}

/* Small anonymous memory that no other mapping can merge with, or be merged into */
static char *map_apart(struct __test_metadata *_metadata, long npages)
{
	char *mem = map_pages(_metadata, npages + 2, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1);

	mem += PAGE_SIZE;
	ASSERT_EQ(0, mprotect(mem, npages * PAGE_SIZE, PROT_RW));
	ASSERT_EQ(0, madvise(mem, npages * PAGE_SIZE, MADV_NOHUGEPAGE));
	return mem;
}

/* What takes mmap_lock for writing, and leaves nothing behind */
static bool map_and_unmap(void)
{
	char *mem = mmap(NULL, 16 * PAGE_SIZE, PROT_RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (mem == MAP_FAILED)
		return false;
	*mem = 1;
	return !mprotect(mem, 8 * PAGE_SIZE, PROT_READ) && !munmap(mem, 16 * PAGE_SIZE);
}

/* Threads that do something again and again until they are stopped */

struct worker {
	pthread_t thread;
	bool (*act)(char *mem, long npages, long round);
	char *mem;
	long npages;
	bool stop;
	long done;	/* how often it has succeeded */
};

static void *worker_thread(void *arg)
{
	struct worker *worker = arg;

	for (long round = 0; !stopped(&worker->stop); round++)
		if (worker->act(worker->mem, worker->npages, round))
			__atomic_add_fetch(&worker->done, 1, __ATOMIC_RELEASE);
	return NULL;
}

/* Returns when it has succeeded once: it can. */
static void worker_start(struct __test_metadata *_metadata, struct worker *worker,
			 bool (*act)(char *mem, long npages, long round), char *mem, long npages)
{
	long deadline = msecs_now() + PATIENCE_MSECS;

	*worker = (struct worker){ .act = act, .mem = mem, .npages = npages };
	ASSERT_EQ(0, pthread_create(&worker->thread, NULL, worker_thread, worker));
	while (!__atomic_load_n(&worker->done, __ATOMIC_ACQUIRE) && msecs_now() < deadline)
		usleep(1000);
	ASSERT_GT(deadline, msecs_now());
}

/* How often it has succeeded */
static long worker_end(struct __test_metadata *_metadata, struct worker *worker)
{
	set_stopped(&worker->stop);
	ASSERT_EQ(0, pthread_join(worker->thread, NULL));
	return worker->done;
}

static bool act_elsewhere(char *mem, long npages, long round)
{
	return map_and_unmap();
}

static bool act_dontneed(char *mem, long npages, long round)
{
	return !madvise(mem, npages * PAGE_SIZE, MADV_DONTNEED);
}

static bool act_mprotect(char *mem, long npages, long round)
{
	return !mprotect(mem, npages * PAGE_SIZE, round & 1 ? PROT_RW : PROT_READ);
}

static bool act_move(char *mem, long npages, long round)
{
	return move_to_node(mem, npages, 1, round & 1) > 0;
}

/* Nobody waits for it, and no fault for whoever opened it: UFFD_FEATURE_WP_ASYNC */
static int recorder = -1;

static bool act_record(char *mem, long npages, long round)
{
	struct uffdio_writeprotect wp = {
		.range = { .start = (uintptr_t)mem, .len = npages * PAGE_SIZE },
		.mode = UFFDIO_WRITEPROTECT_MODE_WP,
	};

	return !ioctl(recorder, UFFDIO_WRITEPROTECT, &wp);
}

static bool act_pageout(char *mem, long npages, long round)
{
	return !madvise(mem, npages * PAGE_SIZE, MADV_PAGEOUT);
}

/* The room that it moves to is behind the page behind the memory. */
static bool act_mremap(char *mem, long npages, long round)
{
	const long size = npages * PAGE_SIZE;
	char *to = mem + size + PAGE_SIZE;

	return mremap(mem, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to &&
	       mremap(to, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, mem) == mem;
}

static bool act_fork(char *mem, long npages, long round)
{
	pid_t pid = fork();
	int status;

	if (!pid)
		_exit(0);
	return pid > 0 && waitpid(pid, &status, 0) == pid && !status;
}

/* A thread that serves the faults of some memory, one unit at a time */

struct server;

/*
 * What there is to serve.
 *
 * @mode, @features: of the userfaultfd
 * @told: the flag that each of its faults has
 * @filled: the memory has its content before
 * @again: makes all of the units fault again
 * @serve: one of them
 */
struct duty {
	__u64 mode;
	__u64 features;
	__u64 told;
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
	long wrong;		/* faults that should not have come, or not so */
	int error;
};

/* As stamp_write(), of a page that need not be the first */
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

/* Nothing is protected now. */
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
	/* Two devices that want the same */
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
	.told = UFFD_PAGEFAULT_FLAG_MINOR,
	.filled = true,
	.again = forget_pages,
	.serve = serve_minor,
};

static const struct duty write_faults = {
	.mode = UFFDIO_REGISTER_MODE_WP,
	.features = UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_HUGETLBFS_SHMEM,
	.told = UFFD_PAGEFAULT_FLAG_WP,
	.filled = true,
	.again = protect_pages,
	.serve = serve_protected,
};

static int server_serve(struct server *server, const struct uffd_msg *msg)
{
	const __u64 kinds = UFFD_PAGEFAULT_FLAG_WP | UFFD_PAGEFAULT_FLAG_MINOR;
	char *unit = (char *)(uintptr_t)(msg->arg.pagefault.address & -(__u64)server->unit);

	if (msg->event != UFFD_EVENT_PAGEFAULT ||
	    (msg->arg.pagefault.flags & kinds) != server->duty->told ||
	    unit < server->mem || unit >= server->mem + server->unit * server->units)
		server->wrong++;
	/* The fault that waits has no lock that this needs. */
	if (!map_and_unmap())
		return errno;
	server->served++;
	return server->duty->serve(server, unit);
}

/* When it gives up, the faults that wait go on, and what they bring is not what is wanted. */
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

/* How many faults it has served */
static long server_end(struct __test_metadata *_metadata, struct server *server)
{
	ASSERT_EQ(1, write(server->stop[1], "", 1));
	ASSERT_EQ(0, pthread_join(server->thread, NULL));
	EXPECT_EQ(0, server->error);
	EXPECT_EQ(0, server->wrong);
	return server->served;
}

/* Each kind of memory, and of faults, and how many pages the device wants at once */

#define SERVED		1024	/* faults, in each test */
#define SERVED_HUGE	256	/* of hugetlb memory: it takes longer */
#define HUGE_UNITS	16

struct work {
	const struct duty *duty;
	char *(*map)(struct __test_metadata *_metadata, int *fd);
	long unit;
	long units;
	long at_once;	/* pages; of each unit, if that is larger */
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
	done = dmirror_ioctl(dev->fd, HMM_DMIRROR_READ, page_at(mem, page), npages,
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
	done = dmirror_ioctl(dev->fd, HMM_DMIRROR_WRITE, page_at(mem, page), npages,
			     page_at(dev->buf, page));
	for (long i = 0; i < done; i++)
		right += has_stamp(mem, page + i, TAG_DEVICE);
	return done < 0 ? done : right;
}

/* The device reads or writes some pages of each unit: of how many units was that right? */
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
 * As often as it takes for as many faults as there have to be. Who serves them changes mappings
 * each time, and so does somebody else.
 */
TEST_F_TIMEOUT(hmm_uffd, served, 240)
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

/* Several devices wait for the same. */

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

TEST_F_TIMEOUT(hmm_uffd, wanted_by_many, 240)
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

/* One device */

FIXTURE(hmm_fault)
{
	struct dmirror dev;
};

FIXTURE_SETUP(hmm_fault)
{
	dmirror_open(_metadata, &self->dev, PRIVATE, 2 * NPAGES);
}

FIXTURE_TEARDOWN(hmm_fault)
{
	close(self->dev.fd);
}

TEST_F(hmm_fault, uffd_user_mode_only)
{
	char *mem = map_small(_metadata, NPAGES);
	int uffd = uffd_open(_metadata, UFFD_USER_MODE_ONLY, 0);

	uffd_register(_metadata, uffd, mem, NPAGES, UFFDIO_REGISTER_MODE_MISSING);
	EXPECT_EQ(-EFAULT, dmirror_read(&self->dev, mem, 1));
	EXPECT_EQ(-EFAULT, dmirror_read(&self->dev, mem, NPAGES));
	EXPECT_EQ(-EFAULT, dmirror_write_stamps(&self->dev, mem, NPAGES));
	close(uffd);
	EXPECT_EQ(NPAGES, dmirror_write_stamps(&self->dev, mem, NPAGES));
}

/* A device that waits for a userfaultfd which nobody serves */

struct waiter {
	pthread_t thread;
	struct dmirror *dev;
	char *mem;
	int uffd;
	long ret;
};

static void *waiter_thread(void *arg)
{
	struct waiter *waiter = arg;

	waiter->ret = dmirror_read_zeros(waiter->dev, waiter->mem, NPAGES);
	return NULL;
}

static bool has_fault(int uffd)
{
	struct pollfd polled = { .fd = uffd, .events = POLLIN };

	return poll(&polled, 1, PATIENCE_MSECS) == 1 && polled.revents == POLLIN;
}

static void waiter_start(struct __test_metadata *_metadata, struct waiter *waiter,
			 struct dmirror *dev)
{
	waiter->dev = dev;
	waiter->mem = map_apart(_metadata, NPAGES);
	waiter->uffd = uffd_open(_metadata, O_NONBLOCK, 0);
	uffd_register(_metadata, waiter->uffd, waiter->mem, NPAGES,
		      UFFDIO_REGISTER_MODE_MISSING);
	ASSERT_EQ(0, pthread_create(&waiter->thread, NULL, waiter_thread, waiter));
	ASSERT_TRUE(has_fault(waiter->uffd));
}

static long waiter_end(struct __test_metadata *_metadata, struct waiter *waiter)
{
	ASSERT_EQ(0, pthread_join(waiter->thread, NULL));
	return waiter->ret;
}

TEST_F(hmm_fault, uffd_closed)
{
	struct waiter waiter;

	waiter_start(_metadata, &waiter, &self->dev);
	ASSERT_EQ(0, close(waiter.uffd));
	EXPECT_EQ(NPAGES, waiter_end(_metadata, &waiter));
}

TEST_F(hmm_fault, uffd_unregistered)
{
	struct waiter waiter;
	struct uffdio_range range = { .len = NPAGES * PAGE_SIZE };

	waiter_start(_metadata, &waiter, &self->dev);
	range.start = (uintptr_t)waiter.mem;
	ASSERT_EQ(0, ioctl(waiter.uffd, UFFDIO_UNREGISTER, &range));
	EXPECT_EQ(NPAGES, waiter_end(_metadata, &waiter));
	close(waiter.uffd);
}

/* What it waits for goes away: it is woken, and has to find that out. */
TEST_F(hmm_fault, uffd_unmapped)
{
	struct waiter waiter;
	struct uffdio_range range = { .len = NPAGES * PAGE_SIZE };

	waiter_start(_metadata, &waiter, &self->dev);
	range.start = (uintptr_t)waiter.mem;
	ASSERT_EQ(0, munmap(waiter.mem, NPAGES * PAGE_SIZE));
	ASSERT_EQ(0, ioctl(waiter.uffd, UFFDIO_WAKE, &range));
	EXPECT_EQ(-EFAULT, waiter_end(_metadata, &waiter));
	close(waiter.uffd);
}

/* The fault of a work item, which gets no signals */
static void work_waits(struct __test_metadata *_metadata, struct waiter *waiter,
		       struct dmirror *dev)
{
	waiter->mem = map_apart(_metadata, NPAGES);
	uffd_register(_metadata, waiter->uffd, waiter->mem, NPAGES,
		      UFFDIO_REGISTER_MODE_MISSING);
	ASSERT_EQ(0, dmirror_prefetch_work(dev, waiter->mem, NPAGES));
	ASSERT_TRUE(has_fault(waiter->uffd));
}

/* By another thread, while other faults wait on; and later ones wait as well. */
TEST_F(hmm_fault, cancelled)
{
	struct waiter worker, waiter;

	waiter_start(_metadata, &waiter, &self->dev);
	worker.uffd = uffd_open(_metadata, O_NONBLOCK, 0);
	work_waits(_metadata, &worker, &self->dev);
	EXPECT_EQ(-EBUSY, dmirror_prefetch_work(&self->dev, worker.mem, NPAGES));
	EXPECT_EQ(1, dmirror_cancel(&self->dev, worker.mem + PAGE_SIZE, 1));
	EXPECT_EQ(-ECANCELED, dmirror_wait_work(&self->dev));
	EXPECT_EQ(0, dmirror_cancel(&self->dev, worker.mem, NPAGES));
	ASSERT_EQ(0, dmirror_prefetch_work(&self->dev, worker.mem, NPAGES));
	ASSERT_TRUE(has_fault(worker.uffd));
	ASSERT_EQ(0, close(worker.uffd));
	EXPECT_EQ(0, dmirror_wait_work(&self->dev));
	EXPECT_EQ(1, dmirror_cancel(&self->dev, waiter.mem, NPAGES));
	EXPECT_EQ(-ECANCELED, waiter_end(_metadata, &waiter));
	close(waiter.uffd);
}

/*
 * A process ends, whose device has a work item that waits for its userfaultfd: files are
 * closed in the order in which they were not opened, the device's before the userfaultfd.
 */
TEST_F(hmm_fault, exit_while_work_waits)
{
	pid_t pid = fork();
	int status;

	ASSERT_LE(0, pid);
	if (!pid) {
		struct waiter worker = { .uffd = uffd_open(_metadata, O_NONBLOCK, 0) };
		struct dmirror dev;

		dmirror_open(_metadata, &dev, PRIVATE, NPAGES);
		work_waits(_metadata, &worker, &dev);
		_exit(0);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
}

/* Other pages of the same mapping, and all that others do to mappings, go on. */
TEST_F(hmm_fault, uffd_keeps_nobody)
{
	struct waiter waiter;
	struct dmirror other;
	char *mem = map_small(_metadata, NPAGES);

	dmirror_open(_metadata, &other, PRIVATE, NPAGES);
	waiter_start(_metadata, &waiter, &self->dev);
	for (long i = 0; i < 100; i++)
		ASSERT_TRUE(map_and_unmap());
	EXPECT_TRUE(act_fork(NULL, 0, 0));
	EXPECT_EQ(0, mprotect(waiter.mem, PAGE_SIZE, PROT_READ));
	EXPECT_EQ(0, madvise(waiter.mem, NPAGES * PAGE_SIZE, MADV_DONTNEED));
	EXPECT_EQ(NPAGES, dmirror_write_stamps(&other, mem, NPAGES));
	ASSERT_EQ(0, close(waiter.uffd));
	EXPECT_EQ(NPAGES, waiter_end(_metadata, &waiter));
	close(other.fd);
}

/* A process that is killed while its device faults */

struct victim {
	pid_t pid;
	pthread_t watcher;
	struct dmirror dev;
	int uffd;
	int ready;	/* there it says that it may be killed now */
};

static void victim_fork(struct __test_metadata *_metadata, struct victim *victim,
			void (*run)(struct __test_metadata *_metadata, struct victim *victim,
				    char *(*map)(struct __test_metadata *_metadata)),
			char *(*map)(struct __test_metadata *_metadata))
{
	int ready[2];

	ASSERT_EQ(0, pipe(ready));
	victim->pid = fork();
	ASSERT_LE(0, victim->pid);
	if (!victim->pid) {
		close(ready[0]);
		victim->ready = ready[1];
		run(_metadata, victim, map);
		_exit(1);
	}
	close(ready[1]);
	victim->ready = ready[0];
}

/* How long does it take until it is gone? */
static long victim_kill(struct __test_metadata *_metadata, struct victim *victim)
{
	long begin;
	int status;
	char byte;

	ASSERT_EQ(1, read(victim->ready, &byte, 1));
	begin = msecs_now();
	ASSERT_EQ(0, kill(victim->pid, SIGKILL));
	ASSERT_EQ(victim->pid, waitpid(victim->pid, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	close(victim->ready);
	return msecs_now() - begin;
}

static void *watch_uffd(void *arg)
{
	struct victim *victim = arg;

	if (!has_fault(victim->uffd) || write(victim->ready, "", 1) != 1)
		_exit(2);
	return NULL;
}

static void wait_in_vain(struct __test_metadata *_metadata, struct victim *victim,
			 char *(*map)(struct __test_metadata *_metadata))
{
	char *mem = map(_metadata);

	dmirror_open(_metadata, &victim->dev, PRIVATE, 1);
	victim->uffd = uffd_open(_metadata, O_NONBLOCK, 0);
	uffd_register(_metadata, victim->uffd, mem, NPAGES, UFFDIO_REGISTER_MODE_MISSING);
	ASSERT_EQ(0, pthread_create(&victim->watcher, NULL, watch_uffd, victim));
	dmirror_prefetch(&victim->dev, mem, NPAGES);
}

static char *map_victim_small(struct __test_metadata *_metadata)
{
	return map_small(_metadata, NPAGES);
}

static char *map_victim_hugetlb(struct __test_metadata *_metadata)
{
	return map_hugetlb(_metadata, 1, PROT_RW);
}

static void test_never_served(struct __test_metadata *_metadata,
			      char *(*map)(struct __test_metadata *_metadata))
{
	struct victim victim;
	long msecs;

	victim_fork(_metadata, &victim, wait_in_vain, map);
	msecs = victim_kill(_metadata, &victim);
	ksft_print_msg("killed in %ld ms\n", msecs);
	EXPECT_GT(PATIENCE_MSECS, msecs);
}

TEST_F_TIMEOUT(hmm_fault, uffd_never_served, 60)
{
	test_never_served(_metadata, map_victim_small);
}

TEST_F_TIMEOUT(hmm_fault, uffd_never_served_hugetlb, 60)
{
	test_never_served(_metadata, map_victim_hugetlb);
}

/* 1 GiB that is not there, in one call */

#define PREFETCH_PAGES	(512 * HPAGE_PAGES)
#define PREFETCHED	16	/* pieces of it, when the process is killed */

static void *watch_prefetch(void *arg)
{
	struct victim *victim = arg;
	struct hmm_dmirror_stats stats;

	do {
		usleep(100);
		stats = dmirror_stats(&victim->dev);
	} while (stats.vma_lock + stats.mmap_lock < PREFETCHED);
	if (write(victim->ready, "", 1) != 1)
		_exit(2);
	return NULL;
}

static void prefetch(struct __test_metadata *_metadata, struct victim *victim,
		     char *(*map)(struct __test_metadata *_metadata))
{
	char *mem = map(_metadata);

	dmirror_open(_metadata, &victim->dev, PRIVATE, 1);
	ASSERT_EQ(0, pthread_create(&victim->watcher, NULL, watch_prefetch, victim));
	dmirror_prefetch(&victim->dev, mem, PREFETCH_PAGES);
}

static char *map_prefetch_small(struct __test_metadata *_metadata)
{
	return map_small(_metadata, PREFETCH_PAGES);
}

static char *map_prefetch_thp(struct __test_metadata *_metadata)
{
	return map_thp(_metadata, PREFETCH_PAGES / HPAGE_PAGES);
}

static void test_prefetch_killed(struct __test_metadata *_metadata,
				 char *(*map)(struct __test_metadata *_metadata))
{
	struct victim victim;
	long msecs;

	victim_fork(_metadata, &victim, prefetch, map);
	msecs = victim_kill(_metadata, &victim);
	ksft_print_msg("killed in %ld ms\n", msecs);
	EXPECT_GT(PATIENCE_MSECS, msecs);
}

TEST_F_TIMEOUT(hmm_fault, prefetch_killed, 120)
{
	test_prefetch_killed(_metadata, map_prefetch_small);
}

TEST_F_TIMEOUT(hmm_fault, prefetch_of_thp_killed, 120)
{
	test_prefetch_killed(_metadata, map_prefetch_thp);
}

/*
 * Pages that the CPU fault has to copy: it invalidates them itself, with which the fault of the
 * device does not collide.
 */
static void test_copied(struct __test_metadata *_metadata, struct dmirror *dev, char *mem)
{
	struct hmm_dmirror_stats stats = dmirror_stats(dev);
	long begin = msecs_now();

	EXPECT_EQ(NPAGES, dmirror_write_stamps(dev, mem, NPAGES));
	stats = dmirror_stats_since(dev, &stats);
	ksft_print_msg("%ld pages in %ld ms\n", NPAGES, msecs_now() - begin);
	print_stats("copied", &stats);
	EXPECT_EQ(NPAGES, stamp_run(mem, NPAGES, TAG_DEVICE));
	EXPECT_EQ(1ULL, stats.faults);
	EXPECT_GE((__u64)COLLISIONS_MAX, stats.collisions);
	EXPECT_EQ(0ULL, stats.progress);
}

TEST_F(hmm_fault, copied_after_fork)
{
	char *mem = map_small(_metadata, NPAGES);
	struct witness child;

	stamp_write(mem, NPAGES, TAG_CPU);
	child = witness_fork(_metadata, mem, NPAGES, TAG_CPU);
	test_copied(_metadata, &self->dev, mem);
	EXPECT_TRUE(witness_saw_no_change(&child));
}

TEST_F(hmm_fault, copied_zero_page)
{
	char *mem = map_small(_metadata, NPAGES);

	ASSERT_EQ(NPAGES, dmirror_read_zeros(&self->dev, mem, NPAGES));
	test_copied(_metadata, &self->dev, mem);
}

/* Swapped-out memory: see the kworker that never ends with it, of an earlier generation */

#define SWAPPED_PAGES	(2 * NPAGES)	/* 4 MiB */

static void test_swapped_out(struct __test_metadata *_metadata, struct dmirror *dev,
			     char *mem, bool write)
{
	struct hmm_dmirror_stats stats;
	long begin, done;

	stats = dmirror_stats(dev);
	begin = msecs_now();
	if (write)
		done = dmirror_write_stamps(dev, mem, SWAPPED_PAGES);
	else
		done = dmirror_read_stamps(dev, mem, SWAPPED_PAGES, TAG_CPU);
	EXPECT_EQ(SWAPPED_PAGES, done);
	EXPECT_GT(PATIENCE_MSECS, msecs_now() - begin);
	if (write)
		EXPECT_EQ(SWAPPED_PAGES, stamp_run(mem, SWAPPED_PAGES, TAG_DEVICE));

	stats = dmirror_stats_since(dev, &stats);
	ksft_print_msg("4 MiB in %ld ms\n", msecs_now() - begin);
	print_stats("swapped out", &stats);
	EXPECT_EQ(1ULL, stats.faults);
	EXPECT_GE((__u64)COLLISIONS_MAX, stats.collisions);
	EXPECT_LE(2ULL, stats.vma_lock + stats.mmap_lock);
	EXPECT_EQ(0ULL, stats.progress);
}

static char *map_swapped(struct __test_metadata *_metadata)
{
	char *mem = map_small(_metadata, SWAPPED_PAGES);

	stamp_write(mem, SWAPPED_PAGES, TAG_CPU);
	swap_out(_metadata, mem, SWAPPED_PAGES);
	return mem;
}

TEST_F_TIMEOUT(hmm_fault, swapped_out, 60)
{
	test_swapped_out(_metadata, &self->dev, map_swapped(_metadata), false);
}

TEST_F_TIMEOUT(hmm_fault, swapped_out_written, 60)
{
	test_swapped_out(_metadata, &self->dev, map_swapped(_metadata), true);
}

TEST_F_TIMEOUT(hmm_fault, swapped_out_of_shmem, 60)
{
	int fd = shmem_file(_metadata, 0, SWAPPED_PAGES);
	char *mem = map_pages(_metadata, SWAPPED_PAGES, PROT_RW, MAP_SHARED, fd);

	stamp_write(mem, SWAPPED_PAGES, TAG_CPU);
	reclaim_file(_metadata, mem, SWAPPED_PAGES);
	test_swapped_out(_metadata, &self->dev, mem, false);
	close(fd);
}

/*
 * The cheapest way: a page in memory, while others change what is elsewhere. Its VMA is
 * locked, which needs that nobody changes the VMA, and nothing collides.
 */

#define ROUNDS		200
#define LARGE_PAGES	(32 * NPAGES)

FIXTURE(hmm_beside)
{
	struct dmirror dev;
};

FIXTURE_VARIANT(hmm_beside)
{
	bool (*act)(char *mem, long npages, long round);
};

FIXTURE_VARIANT_ADD(hmm_beside, nobody)
{
	.act = NULL,
};

FIXTURE_VARIANT_ADD(hmm_beside, mprotect)
{
	.act = act_mprotect,
};

FIXTURE_VARIANT_ADD(hmm_beside, dontneed)
{
	.act = act_dontneed,
};

FIXTURE_VARIANT_ADD(hmm_beside, mmap)
{
	.act = act_elsewhere,
};

FIXTURE_SETUP(hmm_beside)
{
	dmirror_open(_metadata, &self->dev, PRIVATE, 1);
}

FIXTURE_TEARDOWN(hmm_beside)
{
	close(self->dev.fd);
}

TEST_F_TIMEOUT(hmm_beside, vma_lock, 120)
{
	char *mem = map_apart(_metadata, 1), *large = map_apart(_metadata, LARGE_PAGES);
	struct hmm_dmirror_stats stats;
	struct worker worker;
	long done = 0;

	stamp_write(mem, 1, TAG_CPU);
	stamp_write(large, LARGE_PAGES, TAG_CPU);
	ASSERT_EQ(1, dmirror_read_stamps(&self->dev, large, 1, TAG_CPU));
	stats = dmirror_stats(&self->dev);
	if (variant->act)
		worker_start(_metadata, &worker, variant->act, large, LARGE_PAGES);
	for (long i = 0; i < ROUNDS; i++) {
		ASSERT_EQ(1, dmirror_read_stamps(&self->dev, mem, 1, TAG_CPU));
		ASSERT_EQ(0, dmirror_invalidate(&self->dev, mem, 1, HMM_DMIRROR_NOTIFY_CLEAR));
	}
	if (variant->act)
		done = worker_end(_metadata, &worker);
	stats = dmirror_stats_since(&self->dev, &stats);
	print_stats("one page each", &stats);
	ksft_print_msg("meanwhile %ld changes elsewhere\n", done);
	EXPECT_EQ((__u64)ROUNDS, stats.faults);
	EXPECT_EQ((__u64)ROUNDS, stats.vma_lock);
	EXPECT_EQ(0ULL, stats.mmap_lock);
	EXPECT_EQ(0ULL, stats.progress);
	EXPECT_EQ(0ULL, stats.collisions);
}

/* Storms: two threads change the very pages that the device wants. */

#define STORM_PAGES	64
#define STORM_TIMEOUT	300

struct storm {
	bool (*act[2])(char *mem, long npages, long round);
	bool discards;		/* pages become zero */
	bool records;		/* what the device writes */
	bool exclusive;		/* wanted so by the device */
	int read_error;		/* because of what happens: the device may get that */
	int write_error;
};

/* What it wants all the time */
struct prey {
	struct dmirror dev;
	char *mem;
	__u64 written;		/* by the device, last */
};

FIXTURE(hmm_storm)
{
	struct prey prey;
};

FIXTURE_VARIANT(hmm_storm)
{
	struct storm storm;
};

FIXTURE_VARIANT_ADD(hmm_storm, dontneed)
{
	.storm = {
		.act = { act_dontneed, act_dontneed },
		.discards = true,
	},
};

FIXTURE_VARIANT_ADD(hmm_storm, mprotect)
{
	.storm = {
		.act = { act_mprotect, act_mprotect },
		.write_error = EPERM,
	},
};

FIXTURE_VARIANT_ADD(hmm_storm, dontneed_and_mprotect)
{
	.storm = {
		.act = { act_dontneed, act_mprotect },
		.discards = true, .write_error = EPERM,
	},
};

FIXTURE_VARIANT_ADD(hmm_storm, nodes)
{
	.storm = {
		.act = { act_move, act_move },
	},
};

FIXTURE_VARIANT_ADD(hmm_storm, pageout)
{
	.storm = {
		.act = { act_pageout, act_pageout },
	},
};

FIXTURE_VARIANT_ADD(hmm_storm, nodes_and_pageout)
{
	.storm = {
		.act = { act_move, act_pageout },
	},
};

/* It is elsewhere half of the time. */
FIXTURE_VARIANT_ADD(hmm_storm, mremap)
{
	.storm = {
		.act = { act_mremap, act_pageout },
		.read_error = EFAULT, .write_error = EFAULT,
	},
};

FIXTURE_VARIANT_ADD(hmm_storm, recorded)
{
	.storm = {
		.act = { act_record, act_record },
		.records = true,
	},
};

FIXTURE_VARIANT_ADD(hmm_storm, recorded_and_dontneed)
{
	.storm = {
		.act = { act_record, act_dontneed },
		.discards = true, .records = true,
	},
};

FIXTURE_VARIANT_ADD(hmm_storm, fork)
{
	.storm = {
		.act = { act_fork, act_fork },
	},
};

FIXTURE_VARIANT_ADD(hmm_storm, fork_and_dontneed)
{
	.storm = {
		.act = { act_fork, act_dontneed },
		.discards = true,
	},
};

FIXTURE_VARIANT_ADD(hmm_storm, dontneed_and_exclusive)
{
	.storm = {
		.act = { act_dontneed, act_dontneed },
		.exclusive = true,
	},
};

FIXTURE_VARIANT_ADD(hmm_storm, mprotect_and_exclusive)
{
	.storm = {
		.act = { act_mprotect, act_mprotect },
		.exclusive = true, .read_error = EPERM, .write_error = EPERM,
	},
};

FIXTURE_SETUP(hmm_storm)
{
	char *room = map_pages(_metadata, 2 * STORM_PAGES + 3, PROT_NONE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1);

	dmirror_open(_metadata, &self->prey.dev, PRIVATE, STORM_PAGES);
	self->prey.mem = room + PAGE_SIZE;
	ASSERT_EQ(0, mprotect(self->prey.mem, STORM_PAGES * PAGE_SIZE, PROT_RW));
	ASSERT_EQ(0, madvise(self->prey.mem, STORM_PAGES * PAGE_SIZE, MADV_NOHUGEPAGE));
	memset(self->prey.mem, 0, STORM_PAGES * PAGE_SIZE);
	if (!variant->storm.records)
		return;
	recorder = uffd_open(_metadata, 0, UFFD_FEATURE_WP_UNPOPULATED | UFFD_FEATURE_WP_ASYNC);
	uffd_register(_metadata, recorder, self->prey.mem, STORM_PAGES,
		      UFFDIO_REGISTER_MODE_WP);
}

FIXTURE_TEARDOWN(hmm_storm)
{
	close(recorder);
	close(self->prey.dev.fd);
}

static int storm_seconds(void)
{
	const char *seconds = getenv("HMM_STORM_SECONDS");

	return seconds ? atoi(seconds) : 2;
}

/* What came of the accesses of the device */
struct score {
	long calls;
	long errors;		/* that may be */
	long wrong;		/* errors that may not be, and wrong content */
	long slowest;		/* ms */
	__u64 faults;
	__u64 collisions;
	__u64 vma_lock;
	__u64 mmap_lock;
	__u64 progress;
	__u64 worst;		/* collisions of a fault; the mean, where a call took several */
};

static void score_add(struct score *score, const struct hmm_dmirror_stats *stats, long msecs)
{
	score->calls++;
	if (msecs > score->slowest)
		score->slowest = msecs;
	score->faults += stats->faults;
	score->collisions += stats->collisions;
	score->vma_lock += stats->vma_lock;
	score->mmap_lock += stats->mmap_lock;
	score->progress += stats->progress;
	if (stats->collisions > score->worst * stats->faults)
		score->worst = (stats->collisions + stats->faults - 1) / stats->faults;
}

static void score_print(const struct score *score, const char *what)
{
	ksft_print_msg("%s: %ld accesses, slowest %ld ms, %ld refused\n", what, score->calls,
		       score->slowest, score->errors);
	ksft_print_msg("%s: %llu faults, %llu collisions, at most %llu of one\n", what,
		       (unsigned long long)score->faults,
		       (unsigned long long)score->collisions, (unsigned long long)score->worst);
	ksft_print_msg("%s: pieces: vma_lock %llu, mmap_lock %llu, progress %llu\n", what,
		       (unsigned long long)score->vma_lock,
		       (unsigned long long)score->mmap_lock,
		       (unsigned long long)score->progress);
}

/*
 * A page holds what was written last, or nothing where that may be. Of many, some may have been
 * written by what failed at others.
 */
static bool storm_content_is_right(const struct prey *prey, long npages, bool discards)
{
	const __u64 *words = (const __u64 *)prey->dev.buf;

	for (long i = 0; i < npages; i++, words += WORDS_PER_PAGE)
		if (words[0] != words[WORDS_PER_PAGE - 1] ||
		    (npages == 1 && words[0] != prey->written && (words[0] || !discards)))
			return false;
	return true;
}

static long storm_read(struct prey *prey, const struct storm *storm, long npages)
{
	long done = dmirror_read(&prey->dev, prey->mem, npages);

	if (done == npages && !storm_content_is_right(prey, npages, storm->discards))
		return -EILSEQ;
	return done;
}

static long storm_write(struct prey *prey, long npages)
{
	__u64 *words = (__u64 *)prey->dev.buf, value = prey->written + 1;
	long done;

	for (long i = 0; i < npages * WORDS_PER_PAGE; i++)
		words[i] = value;
	done = dmirror_write(&prey->dev, prey->mem, npages);
	if (done == npages)
		prey->written = value;
	return done;
}

/* Reads and writes by turns, unless it wants the pages for itself */
static long storm_access_once(struct prey *prey, const struct storm *storm, long npages,
			      bool write)
{
	if (storm->exclusive)
		return dmirror_exclusive(&prey->dev, prey->mem, npages);
	return write ? storm_write(prey, npages) : storm_read(prey, storm, npages);
}

static void storm_access(struct prey *prey, const struct storm *storm, long npages,
			 struct score *score)
{
	const bool write = score->calls & 1;
	const int allowed = write ? storm->write_error : storm->read_error;
	struct hmm_dmirror_stats stats = dmirror_stats(&prey->dev);
	long begin = msecs_now();
	long done = storm_access_once(prey, storm, npages, write);

	stats = dmirror_stats_since(&prey->dev, &stats);
	score_add(score, &stats, msecs_now() - begin);
	if (allowed && done == -allowed) {
		score->errors++;
	} else if (done != npages) {
		ksft_print_msg("%s of %ld pages: %ld\n", write ? "write" : "read", npages, done);
		score->wrong++;
	}
}

static void test_storm(struct __test_metadata *_metadata, struct prey *prey,
		       const struct storm *storm, long npages, struct score *score)
{
	struct worker workers[2];
	time_t deadline;
	int i;

	*score = (struct score){};
	for (i = 0; i < 2; i++)
		worker_start(_metadata, &workers[i], storm->act[i], prey->mem, npages);
	deadline = in_seconds(storm_seconds() + 1);
	while (before(deadline) && !score->wrong)
		storm_access(prey, storm, npages, score);
	for (i = 0; i < 2; i++)
		worker_end(_metadata, &workers[i]);
	ksft_print_msg("meanwhile %ld and %ld changes\n", workers[0].done, workers[1].done);
	EXPECT_EQ(0, score->wrong);
}

TEST_F_TIMEOUT(hmm_storm, one_page, STORM_TIMEOUT)
{
	struct score score;

	test_storm(_metadata, &self->prey, &variant->storm, 1, &score);
	score_print(&score, "one page");
	EXPECT_LT(0ULL, score.faults);
	EXPECT_GE(3ULL * COLLISIONS_MAX, score.worst);
}

TEST_F_TIMEOUT(hmm_storm, many_pages, STORM_TIMEOUT)
{
	struct score score;

	test_storm(_metadata, &self->prey, &variant->storm, STORM_PAGES, &score);
	score_print(&score, "64 pages");
	EXPECT_LT(0ULL, score.faults);
}

TEST_HARNESS_MAIN
