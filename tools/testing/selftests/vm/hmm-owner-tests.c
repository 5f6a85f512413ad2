// SPDX-License-Identifier: GPL-2.0
/*
 * The end of a process that has mirrors, observed by another process that has its device files:
 * exit, exec, a signal, process_mrelease(), and the OOM killer, whose reaper must not block.
 */
#include "../kselftest_harness.h"

#include <pthread.h>
#include <sys/ptrace.h>
#include <sys/socket.h>

#include "hmm-cgroup.h"
#include "hmm-dmirror-expect.h"
#include "hmm-memory.h"

#define OWNER_PAGES	64

/*
 * Another process that has mirrored its own memory, for writing by one device and for reading by
 * another. The test has both device files.
 */
struct owner {
	pid_t pid;
	int sock;
	char *mem;
	long npages;
	struct dmirror dev;
	struct dmirror reader;
};

static bool fd_send(int sock, int fd)
{
	char space[CMSG_SPACE(sizeof(fd))] = {}, byte = 0;
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = space, .msg_controllen = sizeof(space),
	};
	struct cmsghdr *head = CMSG_FIRSTHDR(&msg);

	head->cmsg_level = SOL_SOCKET;
	head->cmsg_type = SCM_RIGHTS;
	head->cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(head), &fd, sizeof(fd));
	return sendmsg(sock, &msg, 0) == 1;
}

static int fd_receive(int sock)
{
	char space[CMSG_SPACE(sizeof(int))] = {}, byte;
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = space, .msg_controllen = sizeof(space),
	};
	int fd = -1;

	if (recvmsg(sock, &msg, 0) == 1 && CMSG_FIRSTHDR(&msg))
		memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
	return fd;
}

/* What an owner does when the test lets it continue */

static void owner_exits(void)
{
}

static void owner_execs(void)
{
	execl("/bin/cat", "cat", NULL);
	_exit(1);
}

/* Ends with exit(), or becomes a program that waits. */
static void owner_run(struct __test_metadata *_metadata, struct owner *owner, int device,
		      void (*goes_on)(void))
{
	const long npages = owner->npages;
	struct dmirror dev, reader;
	char byte;

	dmirror_open(_metadata, &dev, device, npages);
	dmirror_open(_metadata, &reader, device ^ 1, npages);
	if (dmirror_write_stamps(&dev, owner->mem, npages) != npages ||
	    dmirror_read_stamps(&reader, owner->mem, npages, TAG_DEVICE) != npages ||
	    !fd_send(owner->sock, dev.fd) || !fd_send(owner->sock, reader.fd) ||
	    read(owner->sock, &byte, 1) != 1 || dup2(owner->sock, 0))
		_exit(1);
	goes_on();
	_exit(0);
}

static void owner_start(struct __test_metadata *_metadata, struct owner *owner, int device,
			long npages, void (*goes_on)(void))
{
	int sock[2];

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, sock));
	owner->npages = npages;
	owner->mem = map_small(_metadata, npages);
	owner->pid = fork();
	ASSERT_LE(0, owner->pid);
	owner->sock = sock[!owner->pid];
	close(sock[!!owner->pid]);
	if (!owner->pid)
		owner_run(_metadata, owner, device, goes_on);
	owner->dev.fd = fd_receive(owner->sock);
	owner->reader.fd = fd_receive(owner->sock);
	ASSERT_LE(0, owner->dev.fd);
	ASSERT_LE(0, owner->reader.fd);
	dmirror_forget(&owner->dev);
	dmirror_forget(&owner->reader);
}

static void owner_go(struct __test_metadata *_metadata, struct owner *owner)
{
	ASSERT_EQ(1, write(owner->sock, "", 1));
}

static bool owner_released(struct owner *owner)
{
	return dmirror_released(&owner->dev) && dmirror_released(&owner->reader);
}

static void owner_forget(struct owner *owner)
{
	close(owner->sock);
	close(owner->dev.fd);
	close(owner->reader.fd);
	if (owner->pid > 0) {
		kill(owner->pid, SIGKILL);
		waitpid(owner->pid, NULL, 0);
	}
}

FIXTURE(hmm_owner)
{
	struct owner owner;
};

FIXTURE_SETUP(hmm_owner)
{
}

FIXTURE_TEARDOWN(hmm_owner)
{
	owner_forget(&self->owner);
}

/* The exit of a process releases its mirrors, as the last event. */
TEST_F(hmm_owner, exit)
{
	struct owner *owner = &self->owner;
	int status;

	owner_start(_metadata, owner, PRIVATE, OWNER_PAGES, owner_exits);
	owner_go(_metadata, owner);
	EXPECT_TRUE(owner_released(owner));
	ASSERT_EQ(owner->pid, waitpid(owner->pid, &status, 0));
	EXPECT_EQ(0, status);
	owner->pid = 0;
}

/* exec() releases the mirrors, and the device has no access to the new address space. */
TEST_F(hmm_owner, exec)
{
	struct owner *owner = &self->owner;

	owner_start(_metadata, owner, PRIVATE, OWNER_PAGES, owner_execs);
	owner_go(_metadata, owner);
	EXPECT_TRUE(owner_released(owner));
	EXPECT_EQ(0, waitpid(owner->pid, NULL, WNOHANG));
	EXPECT_EQ(-EPERM, dmirror_read(&owner->dev, owner->mem, 1));
}

/* SIGKILL releases the mirrors of the process. */
TEST_F(hmm_owner, killed)
{
	struct owner *owner = &self->owner;

	owner_start(_metadata, owner, COHERENT, OWNER_PAGES, owner_exits);
	ASSERT_EQ(0, kill(owner->pid, SIGKILL));
	EXPECT_TRUE(owner_released(owner));
}

/* After the release of the mirror, ioctls that take no addresses still work. */
TEST_F(hmm_owner, ioctls_after_release)
{
	struct owner *owner = &self->owner;

	owner_start(_metadata, owner, PRIVATE, OWNER_PAGES, owner_exits);
	owner_go(_metadata, owner);
	ASSERT_TRUE(owner_released(owner));
	EXPECT_EQ(0, dmirror_hold(&owner->dev, 0));
	EXPECT_EQ(0, dmirror_refuse(&owner->dev, 1, 0, 0));
	EXPECT_EQ(0ULL, dmirror_stats(&owner->dev).refused);
	EXPECT_TRUE(dmirror_not_notified(&owner->dev));
}

/* Only the owner can access its memory, and no process can after the end of the owner. */
static void device_is_of_others(struct __test_metadata *_metadata, struct owner *owner)
{
	char page[PAGE_SIZE];

	for (size_t v = 0; v < PAGE_REQUESTS; v++) {
		EXPECT_EQ(-EPERM, dmirror_ioctl(&owner->dev, page_requests[v], owner->mem, 1, page))
			TH_LOG("verb %zu", v);
	}
	EXPECT_EQ(-EPERM, dmirror_invalidate(&owner->dev, owner->mem, 1,
					     HMM_DMIRROR_NOTIFY_CLEAR));
}

/*
 * A process that has received the device file cannot access the memory of the owner, before and
 * after the owner's exit.
 */
TEST_F(hmm_owner, other_process_is_refused)
{
	struct owner *owner = &self->owner;

	owner_start(_metadata, owner, PRIVATE, OWNER_PAGES, owner_exits);
	device_is_of_others(_metadata, owner);
	EXPECT_TRUE(dmirror_not_notified(&owner->dev));
	owner_go(_metadata, owner);
	EXPECT_TRUE(owner_released(owner));
	device_is_of_others(_metadata, owner);
}

/*
 * Of two mirrors of different address spaces on one device, each is notified of its own events
 * only.
 */
TEST_F(hmm_owner, two_owners)
{
	struct owner *owner = &self->owner;
	struct dmirror dev;

	dmirror_open(_metadata, &dev, PRIVATE, OWNER_PAGES);
	owner_start(_metadata, owner, PRIVATE, OWNER_PAGES, owner_exits);
	ASSERT_EQ(OWNER_PAGES, dmirror_write_stamps(&dev, owner->mem, OWNER_PAGES));
	dmirror_forget(&dev);
	ASSERT_EQ(0, munmap(owner->mem, OWNER_PAGES * PAGE_SIZE));
	EXPECT_TRUE(dmirror_not_notified(&owner->dev));
	EXPECT_EQ(OWNER_PAGES, dmirror_notified(&dev, owner->mem, OWNER_PAGES, EVENT_MUNMAP));
	owner_go(_metadata, owner);
	EXPECT_TRUE(owner_released(owner));
	EXPECT_TRUE(dmirror_not_notified(&dev));
	close(dev.fd);
}

/*
 * Callers in the kernel that must not block: they free the memory of a dying process. The process
 * stops on its way to the end, because a tracer asks for it.
 */
static void owner_trace(struct __test_metadata *_metadata, struct owner *owner)
{
	ASSERT_EQ(0, ptrace(PTRACE_SEIZE, owner->pid, NULL, PTRACE_O_TRACEEXIT));
}

static void owner_is_dying(struct __test_metadata *_metadata, struct owner *owner)
{
	int status;

	ASSERT_EQ(owner->pid, waitpid(owner->pid, &status, 0));
	ASSERT_EQ(SIGTRAP | PTRACE_EVENT_EXIT << 8, status >> 8);
}

static void owner_dies(struct __test_metadata *_metadata, struct owner *owner)
{
	ASSERT_EQ(0, ptrace(PTRACE_CONT, owner->pid, NULL, NULL));
	ASSERT_EQ(owner->pid, waitpid(owner->pid, NULL, 0));
	owner->pid = 0;
	EXPECT_TRUE(owner_released(owner));
}

static void owner_is_killed(struct __test_metadata *_metadata, struct owner *owner)
{
	owner_trace(_metadata, owner);
	ASSERT_EQ(0, kill(owner->pid, SIGKILL));
	owner_is_dying(_metadata, owner);
}

/* Until the driver has answered, as in dmirror_invalidate_now() */
static long reap(struct owner *owner)
{
	const __u64 refused = dmirror_stats(&owner->dev).refused;
	int pidfd = syscall(SYS_pidfd_open, owner->pid, 0);
	long ret;

	do
		ret = syscall(SYS_process_mrelease, pidfd, 0) ? -errno : 0;
	while (ret == -EAGAIN && dmirror_stats(&owner->dev).refused == refused);
	close(pidfd);
	return ret;
}

/* process_mrelease() revokes all access of the devices of a dying process without blocking. */
TEST_F(hmm_owner, mrelease)
{
	struct owner *owner = &self->owner;

	owner_start(_metadata, owner, PRIVATE, OWNER_PAGES, owner_exits);
	owner_is_killed(_metadata, owner);
	EXPECT_EQ(0, reap(owner));
	EXPECT_EQ(OWNER_PAGES, dmirror_notified_how(&owner->dev, owner->mem, OWNER_PAGES,
						    EVENT_MUNMAP, false));
	owner_dies(_metadata, owner);
}

/* process_mrelease() fails with -EAGAIN while the driver refuses, and succeeds afterwards. */
TEST_F(hmm_owner, mrelease_refused)
{
	struct owner *owner = &self->owner;

	owner_start(_metadata, owner, PRIVATE, OWNER_PAGES, owner_exits);
	owner_is_killed(_metadata, owner);
	ASSERT_EQ(0, dmirror_refuse(&owner->dev, 1, 0, 0));
	EXPECT_EQ(-EAGAIN, reap(owner));
	EXPECT_EQ(1ULL, dmirror_stats(&owner->dev).refused);
	dmirror_forget(&owner->dev);
	EXPECT_EQ(0, reap(owner));
	EXPECT_EQ(OWNER_PAGES, dmirror_notified_how(&owner->dev, owner->mem, OWNER_PAGES,
						    EVENT_MUNMAP, false));
	owner_dies(_metadata, owner);
}

/*
 * The OOM killer of a cgroup, and its reaper, which starts two seconds later and tries ten times
 * at intervals of a tenth of a second.
 */

#define OOM_LIMIT	"48M"
#define OOM_PAGES	2048	/* mirrored pages */
#define OOM_LEFT	(4L << 20)	/* less memory than this means that the pages are gone */

FIXTURE(hmm_oom)
{
	struct owner owner;
	struct dmirror bystander;
	char *mem;
};

static void owner_eats(void)
{
	for (;;) {
		char *mem = mmap(NULL, HPAGE_SIZE, PROT_RW,
				 MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

		if (mem == MAP_FAILED)
			_exit(1);
	}
}

FIXTURE_SETUP(hmm_oom)
{
	cgroup_make(_metadata, "+memory");
	ASSERT_TRUE(write_text(CGROUP "memory.max", OOM_LIMIT));
	ASSERT_TRUE(write_text(CGROUP "memory.swap.max", "0"));
	/* The process starts in the cgroup, so that all of its memory is charged there. */
	ASSERT_TRUE(cgroup_add(0));
	owner_start(_metadata, &self->owner, PRIVATE, OOM_PAGES, owner_eats);
	ASSERT_TRUE(cgroup_leave());
	owner_trace(_metadata, &self->owner);
	ASSERT_LE(OOM_PAGES * PAGE_SIZE, cgroup_bytes());

	dmirror_open(_metadata, &self->bystander, PRIVATE, OWNER_PAGES);
	self->mem = map_small(_metadata, OWNER_PAGES);
	ASSERT_EQ(OWNER_PAGES,
		  dmirror_write_stamps(&self->bystander, self->mem, OWNER_PAGES));
	dmirror_forget(&self->bystander);
}

FIXTURE_TEARDOWN(hmm_oom)
{
	owner_forget(&self->owner);
	EXPECT_TRUE(cgroup_has_removed());
	EXPECT_EQ(OWNER_PAGES, dmirror_maps(&self->bystander, self->mem, OWNER_PAGES, MAPS_RW));
	EXPECT_TRUE(dmirror_not_notified(&self->bystander));
	close(self->bystander.fd);
}

/* Both devices of the owner were notified of the unmap by a caller that must not block. */
static void owner_was_reaped(struct __test_metadata *_metadata, struct owner *owner)
{
	EXPECT_TRUE(cgroup_falls_below(OOM_LEFT));
	EXPECT_EQ(OOM_PAGES, dmirror_notified_how(&owner->dev, owner->mem, OOM_PAGES,
						  EVENT_MUNMAP, false));
	EXPECT_EQ(OOM_PAGES, dmirror_notified_how(&owner->reader, owner->mem, OOM_PAGES,
						  EVENT_MUNMAP, false));
}

/* The OOM reaper frees mirrored memory of the process that it reaps. */
TEST_F_TIMEOUT(hmm_oom, reaped, 120)
{
	struct owner *owner = &self->owner;

	owner_go(_metadata, owner);
	owner_is_dying(_metadata, owner);
	owner_was_reaped(_metadata, owner);
	owner_dies(_metadata, owner);
}

#define REFUSALS	3

/* The OOM reaper retries until the driver stops refusing. */
TEST_F_TIMEOUT(hmm_oom, reaper_refused, 120)
{
	struct owner *owner = &self->owner;

	ASSERT_EQ(0, dmirror_refuse(&owner->dev, REFUSALS, 0, 0));
	owner_go(_metadata, owner);
	owner_is_dying(_metadata, owner);
	owner_was_reaped(_metadata, owner);
	EXPECT_EQ((__u64)REFUSALS, dmirror_stats(&owner->dev).refused);
	owner_dies(_metadata, owner);
}

/* A callback for a fault that sleeps holds the lock of its mirror. */
static void *callback_run(void *arg)
{
	return (void *)dmirror_hold(arg, HMM_DMIRROR_MSECS_MAX);
}

static void wake(int signo)
{
}

static pthread_t callback_sleeps(struct __test_metadata *_metadata, struct dmirror *dev)
{
	const struct sigaction action = { .sa_handler = wake };
	pthread_t thread;

	ASSERT_EQ(0, sigaction(SIGUSR1, &action, NULL));
	ASSERT_EQ(0, pthread_create(&thread, NULL, callback_run, dev));
	while (!dmirror_stats(dev).holders)
		usleep(1000);
	return thread;
}

static void callback_wakes(struct __test_metadata *_metadata, pthread_t thread)
{
	void *result;

	ASSERT_EQ(0, pthread_kill(thread, SIGUSR1));
	ASSERT_EQ(0, pthread_join(thread, &result));
	EXPECT_EQ(-EINTR, (long)result);
}

/* The number of times that the reaper has started */
static int reaper_came(void)
{
	FILE *file = fopen(TRACE_DIR "trace", "r");
	char line[1024];
	int n = 0;

	while (file && fgets(line, sizeof(line), file))
		n += !!strstr(line, " start_task_reaping: ");
	if (file)
		fclose(file);
	return n;
}

static bool reaper_came_back(void)
{
	for (time_t deadline = in_seconds(10); before(deadline); usleep(1000))
		if (reaper_came() >= 2)
			return true;
	return false;
}

/* The OOM reaper retries until a callback of the driver no longer holds the mirror's lock. */
TEST_F_TIMEOUT(hmm_oom, reaper_retries_while_callback_sleeps, 120)
{
	struct owner *owner = &self->owner;
	pthread_t callback;

	ASSERT_TRUE(write_text(TRACE_DIR "trace", "\n"));
	ASSERT_TRUE(write_text(TRACE_DIR "events/oom/start_task_reaping/enable", "1"));
	owner_go(_metadata, owner);
	owner_is_dying(_metadata, owner);
	callback = callback_sleeps(_metadata, &owner->dev);
	EXPECT_TRUE(reaper_came_back());
	/* The reaper has freed the memory that is not mirrored in its first attempt. */
	EXPECT_LE(OOM_PAGES * PAGE_SIZE, cgroup_bytes());
	callback_wakes(_metadata, callback);
	owner_was_reaped(_metadata, owner);
	ASSERT_TRUE(write_text(TRACE_DIR "events/oom/start_task_reaping/enable", "0"));
	owner_dies(_metadata, owner);
}

/*
 * A work item fills the memory of a process beyond the limit of its cgroup. Another process of
 * the cgroup has inherited the device and must survive.
 */

#define EATEN_PAGES	((256L << 20) / PAGE_SIZE)
#define INNOCENT_BYTES	(4L << 20)

struct innocent {
	pid_t owner;
	int sock;
};

/* Answers after the end of the work item. */
static void innocent_run(struct dmirror *dev, int sock)
{
	char *mem = malloc(INNOCENT_BYTES), byte;

	memset(mem, 1, INNOCENT_BYTES);
	while (read(sock, &byte, 1) == 1) {
		dmirror_wait_work(dev);
		if (write(sock, &byte, 1) != 1)
			break;
	}
	_exit(0);
}

static bool innocent_lives(const struct innocent *innocent)
{
	char byte = 1;

	return send(innocent->sock, &byte, 1, MSG_NOSIGNAL) == 1 &&
	       read(innocent->sock, &byte, 1) == 1;
}

static void innocent_start(struct __test_metadata *_metadata, struct innocent *innocent)
{
	int sock[2];

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, sock));
	innocent->owner = fork();
	ASSERT_LE(0, innocent->owner);
	if (!innocent->owner) {
		struct dmirror dev;
		char *mem;

		close(sock[0]);
		dmirror_open(_metadata, &dev, PRIVATE, 1);
		mem = map_small(_metadata, EATEN_PAGES);
		if (!fork())
			innocent_run(&dev, sock[1]);
		close(sock[1]);
		if (dmirror_prefetch_work(&dev, mem, EATEN_PAGES))
			_exit(1);
		for (;;)
			pause();
	}
	close(sock[1]);
	innocent->sock = sock[0];
}

FIXTURE(hmm_worker)
{
	struct innocent innocent;
};

FIXTURE_SETUP(hmm_worker)
{
	cgroup_make(_metadata, "+memory");
	ASSERT_TRUE(write_text(CGROUP "memory.max", OOM_LIMIT));
	ASSERT_TRUE(write_text(CGROUP "memory.swap.max", "0"));
	ASSERT_TRUE(cgroup_add(0));
	innocent_start(_metadata, &self->innocent);
	ASSERT_TRUE(cgroup_leave());
}

FIXTURE_TEARDOWN(hmm_worker)
{
	close(self->innocent.sock);
	/* The other process exits, and init reaps it. */
	EXPECT_TRUE(cgroup_has_removed());
}

/*
 * A work item that exceeds the limit gets the owner of the mirror killed, and no other process
 * of the cgroup.
 */
TEST_F_TIMEOUT(hmm_worker, oom_spares_other_process, 120)
{
	struct innocent *innocent = &self->innocent;
	int status;

	ASSERT_EQ(innocent->owner, waitpid(innocent->owner, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	EXPECT_TRUE(innocent_lives(innocent));
}

TEST_HARNESS_MAIN
