// SPDX-License-Identifier: GPL-2.0
/*
 * What a device gets of a process that is at a limit, or is stopped; and of pages that another
 * part of the kernel holds or cannot handle: memory cgroups, full file systems, references,
 * device memory and exclusive pages in other system calls, the freezer, core dumps, NUMA policies.
 */
#include "../kselftest_harness.h"

#include <poll.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "../../../../mm/gup_test.h"
#include "hmm-mirror.h"

#define CGROUP_ROOT	"/sys/fs/cgroup/"
#define CGROUP		CGROUP_ROOT "hmm_limits/"

#define SECONDS_MAX	30	/* for what takes no time unless something is wrong */

/*
 * A process that opens a device and does what the test asks for. The test has the device file,
 * too, and a userfaultfd of the process. They talk by memory that they share, because a message
 * takes memory, of which the process may have none.
 */
struct owner {
	pid_t pid;
	struct order *order;
	struct dmirror dev;
	int uffd;
	char *mem;
	long npages;
};

/* A function that the process calls. The address is the same there, because it is a child. */
typedef long owner_verb(struct owner *owner);

struct order {
	owner_verb *verb;	/* NULL: it has been called */
	long ret;
};

static void owner_serve(struct owner *owner)
{
	struct order *order = owner->order;
	owner_verb *verb;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;; usleep(1000)) {
		verb = __atomic_load_n(&order->verb, __ATOMIC_ACQUIRE);
		if (!verb)
			continue;
		order->ret = verb(owner);
		__atomic_store_n(&order->verb, NULL, __ATOMIC_RELEASE);
	}
}

static void owner_ask(struct owner *owner, owner_verb *verb)
{
	__atomic_store_n(&owner->order->verb, verb, __ATOMIC_RELEASE);
}

static bool owner_has_died(struct owner *owner)
{
	siginfo_t info = {};

	return waitid(P_PID, owner->pid, &info, WEXITED | WNOHANG | WNOWAIT) || info.si_pid;
}

/* Returns what the verb has returned, or -EPIPE if the process has died. */
static long owner_do(struct owner *owner, owner_verb *verb)
{
	owner_ask(owner, verb);
	while (__atomic_load_n(&owner->order->verb, __ATOMIC_ACQUIRE)) {
		if (owner_has_died(owner))
			return -EPIPE;
		usleep(1000);
	}
	return owner->order->ret;
}

static long owner_opens_device(struct owner *owner)
{
	owner->dev.fd = open("/dev/hmm_dmirror0", O_RDWR);
	owner->dev.buf_pages = NPAGES;
	owner->dev.buf = malloc(SIZE);
	return owner->dev.fd;
}

/* A file of the process, for the test as well */
static int owner_file(struct owner *owner, int fd)
{
	int pidfd = syscall(SYS_pidfd_open, owner->pid, 0);
	int ours = syscall(SYS_pidfd_getfd, pidfd, fd, 0);

	close(pidfd);
	return ours;
}

static void owner_start(struct __test_metadata *_metadata, struct owner *owner, long npages)
{
	owner->order = map_pages(_metadata, 1, PROT_RW, MAP_SHARED | MAP_ANONYMOUS, -1);
	owner->npages = npages;
	owner->mem = map_small(_metadata, npages);
	owner->pid = fork();
	ASSERT_LE(0, owner->pid);
	if (!owner->pid)
		owner_serve(owner);
	owner->dev.fd = owner_file(owner, owner_do(owner, owner_opens_device));
	ASSERT_LE(0, owner->dev.fd);
}

static void owner_end(struct owner *owner)
{
	if (owner->pid > 0) {
		kill(owner->pid, SIGKILL);
		waitpid(owner->pid, NULL, 0);
	}
	close(owner->dev.fd);
}

/* Verbs of the process */

static long owner_fills(struct owner *owner)
{
	long i;

	for (i = 0; i < owner->npages; i += NPAGES)
		stamp_write(page_at(owner->mem, i), NPAGES, TAG_CPU);
	return i;
}

static long owner_migrates(struct owner *owner)
{
	return dmirror_whole(&owner->dev, owner->mem, owner->npages, dmirror_migrate_to_dev);
}

static long owner_evicts(struct owner *owner)
{
	return dmirror_whole(&owner->dev, owner->mem, owner->npages, dmirror_migrate_to_sys);
}

/* The number of leading pages that are in the memory of the device */
static long owner_has_on_device(struct owner *owner)
{
	return dmirror_maps_bits(&owner->dev, owner->mem, owner->npages,
				 HMM_DMIRROR_PTE_DEVICE, HMM_DMIRROR_PTE_DEVICE);
}

static long owner_reads_stamps(struct owner *owner)
{
	long i;

	for (i = 0; i < owner->npages; i += NPAGES)
		if (stamp_run(page_at(owner->mem, i), NPAGES, TAG_CPU) != NPAGES)
			break;
	return i;
}

static long owner_unmaps(struct owner *owner)
{
	return munmap(owner->mem, owner->npages * PAGE_SIZE);
}

static long owner_prefetches(struct owner *owner)
{
	return dmirror_prefetch_work(&owner->dev, owner->mem, owner->npages);
}

/* A process in a memory cgroup */

#define MEMCG_LIMIT	"32M"
#define MEMCG_PAGES	((16L << 20) / PAGE_SIZE)	/* half of that */
#define MEMCG_TOO_MANY	((64L << 20) / PAGE_SIZE)	/* twice that */
#define MEMCG_SLACK	(4L << 20)	/* for what else the process has */

static void cgroup_make(struct __test_metadata *_metadata, const char *controller)
{
	ASSERT_TRUE(write_text(CGROUP_ROOT "cgroup.subtree_control", controller))
		TH_LOG("no cgroup controller %s", controller);
	ASSERT_EQ(0, mkdir(CGROUP, 0755));
}

static bool cgroup_has_removed(void)
{
	for (time_t deadline = in_seconds(SECONDS_MAX); before(deadline); usleep(10000))
		if (!rmdir(CGROUP))
			return true;
	return false;
}

static bool cgroup_take(struct owner *owner)
{
	char text[32];

	snprintf(text, sizeof(text), "%d\n", owner->pid);
	return write_text(CGROUP "cgroup.procs", text);
}

/* The number after @key in a file of the kernel, or the first one if @key is "" */
static long value_of(const char *path, const char *key)
{
	FILE *file = fopen(path, "r");
	size_t length = strlen(key);
	long value = -1;
	char line[256];

	while (file && value < 0 && fgets(line, sizeof(line), file))
		if (!strncmp(line, key, length))
			value = strtol(line + length, NULL, 10);
	if (file)
		fclose(file);
	return value;
}

static long memcg_bytes(void)
{
	return value_of(CGROUP "memory.current", "");
}

static bool memcg_falls_below(long bytes)
{
	for (time_t deadline = in_seconds(SECONDS_MAX); before(deadline); usleep(10000))
		if (memcg_bytes() < bytes)
			return true;
	return false;
}

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
	ASSERT_TRUE(cgroup_take(owner));
}

FIXTURE_TEARDOWN(hmm_memcg)
{
	owner_end(&self->owner);
	EXPECT_TRUE(cgroup_has_removed());
}

static void owner_moves_to_device(struct __test_metadata *_metadata, struct owner *owner)
{
	ASSERT_EQ(owner->npages, owner_do(owner, owner_fills));
	ASSERT_EQ(owner->npages, owner_do(owner, owner_migrates));
	ASSERT_EQ(owner->npages, owner_do(owner, owner_has_on_device));
}

/* A page in device memory is charged like the page that it replaces, and only once. */
TEST_F_TIMEOUT(hmm_memcg, device_memory_is_charged, 120)
{
	struct owner *owner = &self->owner;
	long before;

	ASSERT_EQ(MEMCG_PAGES, owner_do(owner, owner_fills));
	before = memcg_bytes();
	EXPECT_LE(MEMCG_PAGES * PAGE_SIZE, before);
	ASSERT_EQ(MEMCG_PAGES, owner_do(owner, owner_migrates));
	EXPECT_LE(MEMCG_PAGES * PAGE_SIZE, memcg_bytes());
	EXPECT_GT(before + MEMCG_SLACK, memcg_bytes());
	ASSERT_EQ(0, owner_do(owner, owner_unmaps));
	EXPECT_TRUE(memcg_falls_below(MEMCG_SLACK));
}

/* Reclaim leaves device memory where it is. */
TEST_F_TIMEOUT(hmm_memcg, device_memory_is_not_reclaimed, 120)
{
	struct owner *owner = &self->owner;

	owner_moves_to_device(_metadata, owner);
	dmirror_forget(&owner->dev);
	EXPECT_FALSE(write_text(CGROUP "memory.reclaim", "8M"));
	EXPECT_TRUE(dmirror_told_nothing(&owner->dev));
	EXPECT_EQ(MEMCG_PAGES, owner_do(owner, owner_has_on_device));
	EXPECT_LE(MEMCG_PAGES * PAGE_SIZE, memcg_bytes());
}

/* Reclaim takes what the driver has moved back. */
TEST_F_TIMEOUT(hmm_memcg, evicted_memory_is_reclaimed, 120)
{
	struct owner *owner = &self->owner;

	owner_moves_to_device(_metadata, owner);
	ASSERT_EQ(MEMCG_PAGES, owner_do(owner, owner_evicts));
	for (int tries = 0; tries < 100 && memcg_bytes() > MEMCG_PAGES * PAGE_SIZE / 2; tries++) {
		drain_lru_batches(_metadata);
		write_text(CGROUP "memory.reclaim", "4M");
	}
	EXPECT_GE(MEMCG_PAGES * PAGE_SIZE / 2, memcg_bytes());
	EXPECT_EQ(MEMCG_PAGES, owner_do(owner, owner_reads_stamps));
}

/*
 * Memory of which nothing is mapped goes to the device chunk by chunk, and the device writes it.
 * At most @kept pages are on the device at the same time.
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

/* At the limit the OOM killer comes, though there is swap, if the driver does not evict. */
TEST_F_TIMEOUT(hmm_memcg, device_memory_at_the_limit, 240)
{
	struct owner *owner = &self->owner;
	int status;

	ASSERT_EQ(-EPIPE, owner_do(owner, owner_fills_device_to_the_limit));
	ASSERT_EQ(owner->pid, waitpid(owner->pid, &status, 0));
	owner->pid = 0;
	EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	EXPECT_EQ(1, value_of(CGROUP "memory.events", "oom_kill "));
}

/* With a driver that evicts, the process goes on past the limit. */
TEST_F_TIMEOUT(hmm_memcg, driver_evicts_at_the_limit, 240)
{
	struct owner *owner = &self->owner;

	EXPECT_EQ(MEMCG_TOO_MANY, owner_do(owner, owner_fills_device_and_evicts));
	EXPECT_EQ(0, value_of(CGROUP "memory.events", "oom_kill "));
}

/* A process that the OOM killer spares, and whose pages cannot be swapped out */

FIXTURE(hmm_no_memory)
{
	struct owner owner;
};

/* Memory that the process has before the cgroup is full */
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

/* The first page, so that the mirror page table for the others is there */
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
	/* In one table */
	mem = map_small(_metadata, 2 * NPAGES);
	reserve = (char *)(((uintptr_t)mem + HPAGE_SIZE - 1) & -HPAGE_SIZE);
	owner_start(_metadata, owner, MEMCG_TOO_MANY);
	ASSERT_TRUE(cgroup_take(owner));
	ASSERT_EQ(1, owner_do(owner, owner_cannot_be_killed));
}

FIXTURE_TEARDOWN(hmm_no_memory)
{
	owner_end(&self->owner);
	EXPECT_TRUE(cgroup_has_removed());
}

/*
 * A fault for which there is no memory ends with -ENOMEM, and succeeds when there is some. The
 * first work item fills the cgroup, the second finds no memory for a page.
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

/* A page in device memory is charged already: it goes back also where there is no memory left. */
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

/* References of others on a page that the device has for itself */

static void take_exclusive(struct __test_metadata *_metadata, struct dmirror *dev, char *mem,
			   long npages)
{
	ASSERT_EQ(npages, dmirror_exclusive(dev, mem, npages));
	ASSERT_EQ(npages, dmirror_has_exclusive(dev, mem, npages));
	ASSERT_EQ(npages, dmirror_write_stamps(dev, mem, npages));
	dmirror_forget(dev);
}

struct pipe_end {
	int read;
	int write;
};

static struct pipe_end splice_page(struct __test_metadata *_metadata, char *page)
{
	struct iovec iov = { page, PAGE_SIZE };
	int fds[2];

	ASSERT_EQ(0, pipe(fds));
	ASSERT_EQ(PAGE_SIZE, vmsplice(fds[1], &iov, 1, 0));
	return (struct pipe_end){ fds[0], fds[1] };
}

static void pipe_close(struct pipe_end *pipe)
{
	close(pipe->read);
	close(pipe->write);
}

/* A page in a pipe can be exclusive. The reader of the pipe sees what the device writes. */
TEST_F(hmm_mirror, exclusive_in_pipe)
{
	char *mem = map_small(_metadata, 1), page[PAGE_SIZE];
	struct pipe_end pipe;
	__u64 pfn;

	stamp_write(mem, 1, TAG_CPU);
	pfn = pfn_of(_metadata, mem);
	pipe = splice_page(_metadata, mem);
	take_exclusive(_metadata, &self->dev, mem, 1);
	ASSERT_EQ(PAGE_SIZE, read(pipe.read, page, PAGE_SIZE));
	EXPECT_EQ(1, stamp_run(page, 1, TAG_DEVICE));
	EXPECT_TRUE(dmirror_told_nothing(&self->dev));
	EXPECT_EQ(1, dmirror_has_exclusive(&self->dev, mem, 1));
	EXPECT_EQ(1, stamp_run(mem, 1, TAG_DEVICE));
	EXPECT_EQ(pfn, pfn_of(_metadata, mem));
	pipe_close(&pipe);
}

/* A large folio with a page in a pipe cannot be split: -EBUSY, and nothing changes. */
TEST_F_TIMEOUT(hmm_mirror, exclusive_thp_in_pipe, 120)
{
	char *mem = map_thp(_metadata, 1);
	struct pipe_end pipe;
	__u64 pfn;

	mirror_all(_metadata, &self->dev, mem);
	pfn = pfn_of(_metadata, mem);
	pipe = splice_page(_metadata, mem);
	EXPECT_EQ(-EBUSY, dmirror_exclusive(&self->dev, mem, NPAGES));
	EXPECT_EQ(pfn, pfn_of(_metadata, mem));
	EXPECT_EQ(NPAGES, stamp_run(mem, NPAGES, TAG_DEVICE));
	pipe_close(&pipe);
	EXPECT_EQ(NPAGES, dmirror_exclusive(&self->dev, mem, NPAGES));
}

/* Pages that are pinned for as long as the file is open */
static int pin_pages(struct __test_metadata *_metadata, char *mem, long npages)
{
	struct pin_longterm_test pin = {
		.addr = (uintptr_t)mem,
		.size = npages * PAGE_SIZE,
		.flags = PIN_LONGTERM_TEST_FLAG_USE_WRITE,
	};
	int fd = open(DEBUG_DIR "/gup_test", O_RDWR);

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ioctl(fd, PIN_LONGTERM_TEST_START, &pin))
		TH_LOG("PIN_LONGTERM_TEST_START: %m");
	return fd;
}

/* The number of leading pages that hold their stamp, as the user of the pin finds them */
static long pinned_run(int fd, long npages, enum tag tag)
{
	char *content = malloc(npages * PAGE_SIZE);
	__u64 addr = (uintptr_t)content;
	long run = ioctl(fd, PIN_LONGTERM_TEST_READ, &addr) ? -errno :
							      stamp_run(content, npages, tag);

	free(content);
	return run;
}

/* Pinned pages can be exclusive. The user of the pin goes on accessing the same pages. */
TEST_F(hmm_mirror, exclusive_while_pinned)
{
	char *mem = map_small(_metadata, NPAGES);
	__u64 pfn;
	int pin;

	stamp_write(mem, NPAGES, TAG_CPU);
	pin = pin_pages(_metadata, mem, NPAGES);
	pfn = pfn_of(_metadata, mem);
	take_exclusive(_metadata, &self->dev, mem, NPAGES);
	EXPECT_EQ(NPAGES, pinned_run(pin, NPAGES, TAG_DEVICE));
	EXPECT_TRUE(dmirror_told_nothing(&self->dev));
	EXPECT_EQ(NPAGES, stamp_run(mem, NPAGES, TAG_DEVICE));
	EXPECT_EQ(pfn, pfn_of(_metadata, mem));
	EXPECT_EQ(NPAGES, pinned_run(pin, NPAGES, TAG_DEVICE));
	close(pin);
}

/* fork() copies pinned pages for the child: the user of the pin and the parent keep theirs. */
TEST_F(hmm_mirror, fork_of_exclusive_pinned)
{
	char *mem = map_small(_metadata, NPAGES);
	struct witness child;
	int pin;

	stamp_write(mem, NPAGES, TAG_CPU);
	pin = pin_pages(_metadata, mem, NPAGES);
	take_exclusive(_metadata, &self->dev, mem, NPAGES);
	child = witness_fork(_metadata, mem, NPAGES, TAG_DEVICE);
	stamp_write(mem, NPAGES, TAG_CPU);
	EXPECT_EQ(NPAGES, pinned_run(pin, NPAGES, TAG_CPU));
	take_exclusive(_metadata, &self->dev, mem, NPAGES);
	EXPECT_EQ(NPAGES, pinned_run(pin, NPAGES, TAG_DEVICE));
	EXPECT_TRUE(witness_saw_no_change(&child));
	close(pin);
}

/* A pin takes exclusive pages back, like an access of the CPU. */
TEST_F(hmm_mirror, pin_of_exclusive)
{
	char *mem = map_small(_metadata, NPAGES);
	int pin;

	take_exclusive(_metadata, &self->dev, mem, NPAGES);
	pin = pin_pages(_metadata, mem, NPAGES);
	EXPECT_EQ(NPAGES, dmirror_told(&self->dev, mem, NPAGES, TOLD_MIGRATE));
	EXPECT_EQ(NPAGES, dmirror_maps(&self->dev, mem, NPAGES, MAPS_NOTHING));
	EXPECT_EQ(NPAGES, pinned_run(pin, NPAGES, TAG_DEVICE));
	close(pin);
}

/* So does direct I/O. What the device has written reaches the disk. */
TEST_F_TIMEOUT(hmm_mirror, direct_io_of_exclusive, 120)
{
	char *mem = map_small(_metadata, NPAGES);
	int fd = open(SCRATCH_DIR, O_TMPFILE | O_RDWR | O_DIRECT, 0600);

	ASSERT_LE(0, fd);
	take_exclusive(_metadata, &self->dev, mem, NPAGES);
	ASSERT_EQ(SIZE, pwrite(fd, mem, SIZE, 0));
	EXPECT_EQ(NPAGES, dmirror_told(&self->dev, mem, NPAGES, TOLD_MIGRATE));
	ASSERT_EQ(0, madvise(mem, SIZE, MADV_DONTNEED));
	ASSERT_EQ(SIZE, pread(fd, mem, SIZE, 0));
	EXPECT_EQ(NPAGES, stamp_run(mem, NPAGES, TAG_DEVICE));
	close(fd);
}

/* Exclusive pages, and pages in device memory, where the kernel moves pages */

/*
 * An exclusive page does not move to the device before the CPU has it back; others do. The
 * device loses it, and gets it again.
 */
TEST_F(hmm_mirror, migration_of_exclusive)
{
	char *mem = map_small(_metadata, NPAGES);

	stamp_write(mem, NPAGES, TAG_CPU);
	take_exclusive(_metadata, &self->dev, mem, NPAGES / 2);
	EXPECT_EQ(-ENOENT, dmirror_migrate_to_dev(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES / 2, dmirror_maps(&self->dev, mem, NPAGES / 2, MAPS_NOTHING));
	EXPECT_EQ(1, dmirror_sees(&self->dev, page_at(mem, NPAGES / 2), 1,
				  HMM_DMIRROR_PROT_DEV_PRIVATE_LOCAL | SEEN_RW));
	EXPECT_EQ(NPAGES / 2, dmirror_exclusive(&self->dev, mem, NPAGES / 2));
	EXPECT_EQ(NPAGES / 2, dmirror_has_exclusive(&self->dev, mem, NPAGES / 2));

	/* A driver gives a page back by a fault for reading, after its entry has gone. */
	ASSERT_EQ(0, dmirror_invalidate(&self->dev, mem, NPAGES / 2, HMM_DMIRROR_NOTIFY_CLEAR));
	EXPECT_EQ(NPAGES / 2, dmirror_read_stamps(&self->dev, mem, NPAGES / 2, TAG_DEVICE));
	/* A page in the batch of another CPU has a reference, and would not move. */
	drain_lru_batches(_metadata);
	EXPECT_EQ(NPAGES, dmirror_migrate_to_dev(&self->dev, mem, NPAGES));
	EXPECT_EQ(NPAGES / 2, stamp_run(mem, NPAGES / 2, TAG_DEVICE));
}

struct move {
	int uffd;
	char *from;
	char *to;
	long done;	/* bytes, or a negative errno */
};

static void move_prepare(struct __test_metadata *_metadata, struct move *move)
{
	move->uffd = uffd_open(_metadata, 0, UFFD_FEATURE_MOVE);
	move->from = map_small(_metadata, NPAGES);
	move->to = map_small(_metadata, NPAGES);
	uffd_register(_metadata, move->uffd, move->to, NPAGES, UFFDIO_REGISTER_MODE_MISSING);
	stamp_write(move->from, NPAGES, TAG_CPU);
}

/* Returns 0, or a negative errno, which says less than @done. */
static long move_pages(struct move *move, long first, long npages)
{
	struct uffdio_move arg = {
		.src = (uintptr_t)page_at(move->from, first),
		.dst = (uintptr_t)page_at(move->to, first),
		.len = npages * PAGE_SIZE,
	};
	long ret = ioctl(move->uffd, UFFDIO_MOVE, &arg) ? -errno : 0;

	move->done = arg.move;
	return ret;
}

static bool is_empty(struct __test_metadata *_metadata, char *page)
{
	return !(pagemap_of(_metadata, page) & (PM_PRESENT | PM_SWAP));
}

/* UFFDIO_MOVE of device memory: -EFAULT. The page stays on the device with its content. */
TEST_F_TIMEOUT(hmm_mirror, uffd_move_of_device_memory, 120)
{
	struct move move;

	move_prepare(_metadata, &move);
	ASSERT_EQ(NPAGES, dmirror_migrate_to_dev(&self->dev, move.from, NPAGES));
	ASSERT_EQ(NPAGES, dmirror_write_stamps(&self->dev, move.from, NPAGES));
	dmirror_forget(&self->dev);
	EXPECT_EQ(-EFAULT, move_pages(&move, 0, NPAGES));
	EXPECT_EQ(-EFAULT, move.done);
	EXPECT_EQ(1, dmirror_told(&self->dev, move.from, 1, TOLD_MIGRATE));
	EXPECT_TRUE(is_empty(_metadata, move.to));
	EXPECT_EQ(NPAGES, dmirror_read_stamps(&self->dev, move.from, NPAGES, TAG_DEVICE));
	EXPECT_EQ(NPAGES, dmirror_maps_bits(&self->dev, move.from, NPAGES,
					    HMM_DMIRROR_PTE_DEVICE, HMM_DMIRROR_PTE_DEVICE));
	EXPECT_EQ(NPAGES, stamp_run(move.from, NPAGES, TAG_DEVICE));
	EXPECT_EQ(0, move_pages(&move, 0, NPAGES));
	EXPECT_EQ(NPAGES, stamp_run(move.to, NPAGES, TAG_DEVICE));
	close(move.uffd);
}

/* UFFDIO_MOVE of an exclusive page: -EFAULT. The device loses the page, and gets it again. */
TEST_F_TIMEOUT(hmm_mirror, uffd_move_of_exclusive, 120)
{
	struct move move;

	move_prepare(_metadata, &move);
	take_exclusive(_metadata, &self->dev, move.from, NPAGES);
	EXPECT_EQ(-EFAULT, move_pages(&move, 0, NPAGES));
	EXPECT_EQ(-EFAULT, move.done);
	EXPECT_EQ(1, dmirror_told(&self->dev, move.from, 1, TOLD_MIGRATE));
	EXPECT_TRUE(is_empty(_metadata, move.to));
	EXPECT_EQ(1, dmirror_exclusive(&self->dev, move.from, 1));
	EXPECT_EQ(1, stamp_run(self->dev.buf, 1, TAG_DEVICE));
	EXPECT_EQ(NPAGES, dmirror_has_exclusive(&self->dev, move.from, NPAGES));
	EXPECT_EQ(NPAGES, stamp_run(move.from, NPAGES, TAG_DEVICE));
	EXPECT_EQ(0, move_pages(&move, 0, NPAGES));
	EXPECT_EQ(NPAGES, stamp_run(move.to, NPAGES, TAG_DEVICE));
	close(move.uffd);
}

/* UFFDIO_MOVE stops at the first page that is exclusive, and says how far it came. */
TEST_F(hmm_mirror, uffd_move_in_part)
{
	struct move move;

	move_prepare(_metadata, &move);
	take_exclusive(_metadata, &self->dev, page_at(move.from, 2), 1);
	EXPECT_EQ(-EAGAIN, move_pages(&move, 0, 4));
	EXPECT_EQ(2 * PAGE_SIZE, move.done);
	EXPECT_EQ(2, stamp_run(move.to, 2, TAG_CPU));
	EXPECT_EQ(1, stamp_run(page_at(move.from, 2), 1, TAG_DEVICE));
	close(move.uffd);
}

/* Files for which there is no room */

#define SMALL_DIR	"/tmp/hmm-small"

FIXTURE(hmm_full)
{
	struct dmirror dev;
	long disk;	/* its number, or -1 */
	int fill;	/* takes all room that there is */
	int fd;
	char *mem;	/* of the other file, which is a hole */
};

FIXTURE_VARIANT(hmm_full)
{
	const char *type;
	bool reads;	/* a hole that is read takes no room */
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
	long disk = value_of("/sys/class/zram-control/hot_add", "");
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

/* All room, also that which the file system gets back when it writes the file. */
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

/* The signal that the CPU gets for an access, 0 for none */
static int signal_of_access(struct __test_metadata *_metadata, char *addr, bool write)
{
	int status;
	pid_t pid = fork();

	ASSERT_LE(0, pid);
	if (!pid) {
		if (write)
			__atomic_store_n(addr, 1, __ATOMIC_RELAXED);
		else
			__atomic_load_n(addr, __ATOMIC_RELAXED);
		_exit(0);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

/* Where the CPU gets SIGBUS for want of room, a device gets -EFAULT, until there is room. */
TEST_F_TIMEOUT(hmm_full, fault, 120)
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

/* So it is where no hugetlb page is left. */
TEST_F(hmm_mirror, no_hugetlb_page)
{
	long nfree = value_of("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "");
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

/* A process that does not run, while a work item faults for its device */

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

/* Other memory than that of the userfaultfd */
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

/* The work item waits for the userfaultfd, which the test serves. */
FIXTURE_SETUP(hmm_stopped)
{
	struct owner *owner = &self->owner;
	struct pollfd event = { .events = POLLIN };

	cgroup_make(_metadata, "+memory");
	owner_start(_metadata, owner, NPAGES);
	ASSERT_TRUE(cgroup_take(owner));
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
		if (value_of(CGROUP "cgroup.events", "frozen ") == want)
			return true;
	return false;
}

/* The worker of a device fills the memory of a process in a frozen cgroup. */
TEST_F_TIMEOUT(hmm_stopped, frozen, 120)
{
	struct owner *owner = &self->owner;

	ASSERT_TRUE(cgroup_freezes("1"));
	owner_is_served(_metadata, owner);
	EXPECT_EQ(0, dmirror_wait_work(&owner->dev));
	EXPECT_EQ(1, value_of(CGROUP "cgroup.events", "frozen "));
	EXPECT_EQ((__u64)NPAGES, dmirror_stats(&owner->dev).pages);
	ASSERT_TRUE(cgroup_freezes("0"));
	EXPECT_EQ(NPAGES, owner_do(owner, owner_maps_for_writing));
}

/* The same of a process that SIGSTOP has stopped. */
TEST_F_TIMEOUT(hmm_stopped, sigstop, 120)
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

/* Core dumps go to a program, which passes them on as soon as the test reads. */

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
		if (value_of(path, "CoreDumping:") == 1)
			return true;
	return false;
}

/* All of the dump. Returns its size. */
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
 * While the process dumps core its faults end with -EINTR, as those of one that is killed. The
 * device keeps what it has mirrored.
 */
TEST_F_TIMEOUT(hmm_stopped, dumps_core, 120)
{
	struct owner *owner = &self->owner;
	char *core;

	ASSERT_EQ(NPAGES, owner_do(owner, owner_mirrors_more));
	dmirror_forget(&owner->dev);
	core_catch(_metadata);
	ASSERT_TRUE(core_begins(owner));
	owner_is_served(_metadata, owner);
	EXPECT_EQ(-EINTR, dmirror_wait_work(&owner->dev));
	EXPECT_TRUE(dmirror_told_nothing(&owner->dev));
	EXPECT_EQ(0, waitpid(owner->pid, NULL, WNOHANG));
	EXPECT_LT(0UL, core_read(_metadata, &core));
	free(core);
	core_release(_metadata);
}

/* The dump holds what the device has in its own memory. */
TEST_F_TIMEOUT(hmm_memcg, core_of_device_memory, 120)
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

/* On which node the pages of a fault are. With numa=fake=2 all CPUs are local to one node. */

#define MPOL_DEFAULT	0
#define MPOL_BIND	2

/* That of all pages, or -1 */
static int node_of(char *mem, long npages)
{
	int status, node = -1;
	void *page;

	for (long i = 0; i < npages; i++) {
		page = page_at(mem, i);
		if (syscall(SYS_move_pages, 0, 1, &page, NULL, &status, 0) || status < 0)
			return -1;
		if (i && status != node)
			return -1;
		node = status;
	}
	return node;
}

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

/* Without a policy, memory is on the node of the CPU that faults. */
TEST_F(hmm_node, no_policy)
{
	EXPECT_EQ(self->local, node_of_access(&self->dev, self->mem));
	EXPECT_EQ(self->local, node_of_work(&self->dev, page_at(self->mem, NPAGES)));
}

/* The policy of a mapping holds for each fault, also for that of a worker. */
TEST_F(hmm_node, policy_of_mapping)
{
	unsigned long nodes = 1UL << self->remote;

	ASSERT_EQ(0, syscall(SYS_mbind, self->mem, 3 * SIZE, MPOL_BIND, &nodes, 64, 0));
	EXPECT_EQ(self->remote, node_of_access(&self->dev, self->mem));
	EXPECT_EQ(self->remote, node_of_work(&self->dev, page_at(self->mem, NPAGES)));
}

/* The policy of a task holds for its own faults, and not for those of a worker. */
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
	ASSERT_TRUE(write_text(CGROUP "cgroup.procs", "0\n"));
}

static void cpuset_leave(struct __test_metadata *_metadata)
{
	EXPECT_TRUE(write_text(CGROUP_ROOT "cgroup.procs", "0\n"));
	EXPECT_TRUE(cgroup_has_removed());
}

/* So it is with the cpuset: a worker allocates from nodes that the process may not use. */
TEST_F(hmm_node, cpuset)
{
	cpuset_join(_metadata, self->remote);
	EXPECT_EQ(self->remote, node_of_access(&self->dev, self->mem));
	EXPECT_EQ(self->local, node_of_work(&self->dev, page_at(self->mem, NPAGES)));
	cpuset_leave(_metadata);
}

TEST_HARNESS_MAIN
