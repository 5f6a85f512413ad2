// SPDX-License-Identifier: GPL-2.0
/*
 * Processes that do not run while a work item faults for their device: frozen, stopped, or
 * dumping core.
 */
#include "../kselftest_harness.h"

#include <poll.h>

#include "hmm-cgroup.h"
#include "hmm-mirror-fixture.h"
#include "hmm-owner-process.h"

#define SECONDS_MAX	30	/* for operations that take no time unless there is a bug */

/* A process that does not run while a work item faults for its device */

static long owner_registers(struct owner *owner)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = {
		.range = { .start = (uintptr_t)owner->mem, .len = owner->npages * PAGE_SIZE },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (fd < 0 || ioctl(fd, UFFDIO_API, &api) || ioctl(fd, UFFDIO_REGISTER, &reg))
		return -errno;
	return fd;
}

/* Mirror memory that is not registered with the userfaultfd. */
static long owner_mirrors_more(struct owner *owner)
{
	void *mem = mmap(NULL, SIZE, PROT_RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return mem == MAP_FAILED ? -errno : dmirror_write_stamps(&owner->dev, mem, NPAGES);
}

static long owner_maps_for_writing(struct owner *owner)
{
	return dmirror_maps(&owner->dev, owner->mem, owner->npages, MAPS_RW);
}

FIXTURE(hmm_stopped)
{
	struct owner owner;
};

/* The work item waits for the userfaultfd. The test serves it later. */
FIXTURE_SETUP(hmm_stopped)
{
	struct owner *owner = &self->owner;
	struct pollfd event = { .events = POLLIN };

	cgroup_make(_metadata, "+memory");
	owner_start(_metadata, owner, NPAGES);
	ASSERT_TRUE(cgroup_add(owner->pid));
	owner->uffd = owner_file(owner, owner_do(owner, owner_registers));
	ASSERT_LE(0, owner->uffd);
	ASSERT_EQ(0, owner_do(owner, owner_prefetches));
	event.fd = owner->uffd;
	ASSERT_EQ(1, poll(&event, 1, SECONDS_MAX * 1000));
}

FIXTURE_TEARDOWN(hmm_stopped)
{
	close(self->owner.uffd);
	owner_end(&self->owner);
	EXPECT_TRUE(cgroup_has_removed());
}

static void owner_is_served(struct __test_metadata *_metadata, struct owner *owner)
{
	struct uffdio_zeropage zero = {
		.range = { .start = (uintptr_t)owner->mem, .len = owner->npages * PAGE_SIZE },
	};

	ASSERT_EQ(0, ioctl(owner->uffd, UFFDIO_ZEROPAGE, &zero))
		TH_LOG("UFFDIO_ZEROPAGE: %m");
}

static bool cgroup_freezes(const char *frozen)
{
	const long want = strtol(frozen, NULL, 10);

	if (!write_text(CGROUP "cgroup.freeze", frozen))
		return false;
	for (time_t deadline = in_seconds(SECONDS_MAX); before(deadline); usleep(10000))
		if (read_number(CGROUP "cgroup.events", "frozen ") == want)
			return true;
	return false;
}

/* A worker faults memory in for a process in a frozen cgroup. */
TEST_F_TIMEOUT(hmm_stopped, faults_for_frozen_process, 120)
{
	struct owner *owner = &self->owner;

	ASSERT_TRUE(cgroup_freezes("1"));
	owner_is_served(_metadata, owner);
	EXPECT_EQ(0, dmirror_wait_work(&owner->dev));
	EXPECT_EQ(1, read_number(CGROUP "cgroup.events", "frozen "));
	EXPECT_EQ((__u64)NPAGES, dmirror_stats(&owner->dev).pages);
	ASSERT_TRUE(cgroup_freezes("0"));
	EXPECT_EQ(NPAGES, owner_do(owner, owner_maps_for_writing));
}

/* A worker faults memory in for a process that SIGSTOP has stopped. */
TEST_F_TIMEOUT(hmm_stopped, faults_for_stopped_process, 120)
{
	struct owner *owner = &self->owner;
	int status;

	ASSERT_EQ(0, kill(owner->pid, SIGSTOP));
	ASSERT_EQ(owner->pid, waitpid(owner->pid, &status, WUNTRACED));
	ASSERT_TRUE(WIFSTOPPED(status));
	owner_is_served(_metadata, owner);
	EXPECT_EQ(0, dmirror_wait_work(&owner->dev));
	EXPECT_EQ((__u64)NPAGES, dmirror_stats(&owner->dev).pages);
	EXPECT_EQ(0, waitpid(owner->pid, &status, WNOHANG | WCONTINUED));
	ASSERT_EQ(0, kill(owner->pid, SIGCONT));
	EXPECT_EQ(NPAGES, owner_do(owner, owner_maps_for_writing));
}

/* Core dumps go to a program, which passes them on when the test reads. */

#define CORE_PATTERN	"/proc/sys/kernel/core_pattern"
#define CORE_PROGRAM	"/tmp/hmm-core.sh"
#define CORE_PIPE	"/tmp/hmm-core"

static void core_catch(struct __test_metadata *_metadata)
{
	int fd = open(CORE_PROGRAM, O_CREAT | O_TRUNC | O_WRONLY, 0755);

	ASSERT_LE(0, fd);
	close(fd);
	ASSERT_TRUE(write_text(CORE_PROGRAM, "#!/bin/sh\nexec /bin/cat >" CORE_PIPE "\n"));
	unlink(CORE_PIPE);
	ASSERT_EQ(0, mkfifo(CORE_PIPE, 0600));
	ASSERT_TRUE(write_text(CORE_PATTERN, "|" CORE_PROGRAM))
		TH_LOG("no core_pattern: %m");
}

static bool core_begins(struct owner *owner)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/status", owner->pid);
	if (kill(owner->pid, SIGQUIT))
		return false;
	for (time_t deadline = in_seconds(SECONDS_MAX); before(deadline); usleep(10000))
		if (read_number(path, "CoreDumping:") == 1)
			return true;
	return false;
}

/* Read the complete dump. Returns its size. */
static size_t core_read(struct __test_metadata *_metadata, char **core)
{
	size_t size = 0, room = 64L << 20;
	int fd = open(CORE_PIPE, O_RDONLY);
	ssize_t n;

	*core = malloc(room);
	ASSERT_LE(0, fd);
	while ((n = read(fd, *core + size, room - size)) > 0)
		size += n;
	close(fd);
	return size;
}

static void core_release(struct __test_metadata *_metadata)
{
	EXPECT_TRUE(write_text(CORE_PATTERN, "core"));
	unlink(CORE_PIPE);
	unlink(CORE_PROGRAM);
}

/*
 * A fault fails with -EINTR while the process dumps core, and the device keeps what it has
 * mirrored.
 */
TEST_F_TIMEOUT(hmm_stopped, fault_fails_in_core_dump, 120)
{
	struct owner *owner = &self->owner;
	char *core;

	ASSERT_EQ(NPAGES, owner_do(owner, owner_mirrors_more));
	dmirror_forget(&owner->dev);
	core_catch(_metadata);
	ASSERT_TRUE(core_begins(owner));
	owner_is_served(_metadata, owner);
	EXPECT_EQ(-EINTR, dmirror_wait_work(&owner->dev));
	EXPECT_TRUE(dmirror_not_notified(&owner->dev));
	EXPECT_EQ(0, waitpid(owner->pid, NULL, WNOHANG));
	EXPECT_LT(0UL, core_read(_metadata, &core));
	free(core);
	core_release(_metadata);
}

/* A process in a cgroup with a limit that is twice its device memory */

#define CORE_PAGES	(8 * NPAGES)
#define CORE_LIMIT	"32M"

FIXTURE(hmm_core)
{
	struct owner owner;
};

FIXTURE_SETUP(hmm_core)
{
	cgroup_make(_metadata, "+memory");
	ASSERT_TRUE(write_text(CGROUP "memory.max", CORE_LIMIT));
	owner_start(_metadata, &self->owner, CORE_PAGES);
	ASSERT_TRUE(cgroup_add(self->owner.pid));
}

FIXTURE_TEARDOWN(hmm_core)
{
	owner_end(&self->owner);
	EXPECT_TRUE(cgroup_has_removed());
}

/* A core dump contains the content of device memory. */
TEST_F_TIMEOUT(hmm_core, dump_has_device_memory, 120)
{
	struct owner *owner = &self->owner;
	const __u64 faults = dmirror_stats(&owner->dev).devmem_faults;
	bool found = false;
	size_t size;
	char *core;

	owner_moves_to_device(_metadata, owner);
	core_catch(_metadata);
	ASSERT_TRUE(core_begins(owner));
	size = core_read(_metadata, &core);
	for (size_t at = 0; at + SIZE <= size && !found; at += PAGE_SIZE)
		found = stamp_run(core + at, NPAGES, TAG_CPU) == NPAGES;
	EXPECT_TRUE(found);
	EXPECT_LE((__u64)NPAGES / FAULT_AROUND,
		  dmirror_stats(&owner->dev).devmem_faults - faults);
	free(core);
	core_release(_metadata);
}

TEST_HARNESS_MAIN
