// SPDX-License-Identifier: GPL-2.0
/*
 * The driver that Documentation/vm/hmm.rst includes, and its tests. Each part that the
 * document shows begins with a comment "hmm.rst: NAME" and ends where the next part
 * begins.
 *
 * The device has a page table of its own, with one PTE for each page and a dirty bit in
 * each PTE, and accesses memory through an IOMMU. The part "device" emulates the
 * hardware.
 */
#include <linux/highmem.h>
#include <linux/kthread.h>
#include <linux/mman.h>

#include "hmm_mirror_test.h"
#include "hmm_pt_test.h"

/* hmm.rst: context */
#define EXAMPLE_SIZE	(64 * PAGE_SIZE)

/* A device PTE: a page-aligned DMA address and these bits */
#define EXAMPLE_VALID	BIT_ULL(0)
#define EXAMPLE_WRITE	BIT_ULL(1)
#define EXAMPLE_DIRTY	BIT_ULL(2)	/* set by the device, only if EXAMPLE_WRITE is set */

/**
 * struct example - the driver's data for one process
 * @mirror: mirrors the address space of the process
 * @base: first address of the EXAMPLE_SIZE bytes that jobs may access
 * @unplugged: the device has been removed, but the process still has it open
 * @queue: serializes access to the device
 * @ptes: the device page table
 */
struct example {
	struct hmm_mirror mirror;
	unsigned long base;
	bool unplugged;
	struct mutex queue;	/* see above */
	atomic64_t ptes[EXAMPLE_SIZE / PAGE_SIZE];
};

static atomic64_t *example_pte(struct example *ex, unsigned long addr)
{
	return &ex->ptes[(addr - ex->base) >> PAGE_SHIFT];
}

/* hmm.rst: flush */
/* Returns when the device has completed all accesses that used old PTEs. */
static void example_flush(struct example *ex, unsigned long start, unsigned long end)
{
	/* This device has no TLB. It accesses memory only with the queue held. */
	lockdep_assert_held(&ex->queue);
}

/* hmm.rst: invalidate */
/* The device may set EXAMPLE_DIRTY until the flush of its TLB returns. */
static void example_revoke(struct example *ex, unsigned long start,
			   unsigned long end, u64 bits)
{
	unsigned long addr;

	for (addr = start; addr < end; addr += PAGE_SIZE)
		atomic64_andnot(bits, example_pte(ex, addr));
	example_flush(ex, start, end);
	for (addr = start; addr < end; addr += PAGE_SIZE) {
		u64 old = atomic64_fetch_andnot(EXAMPLE_DIRTY,
						example_pte(ex, addr));

		if (old & EXAMPLE_DIRTY)
			hmm_mirror_range_dirty(&ex->mirror, addr,
					       addr + PAGE_SIZE);
	}
}

/* hmm.rst: fill */
static void example_fill(struct example *ex, unsigned long start, unsigned long end)
{
	struct hmm_pt_iter iter;
	unsigned long addr;

	hmm_pt_for_each(&iter, &ex->mirror, start, end) {
		u64 pte = hmm_pte_dma(iter.pte) | EXAMPLE_VALID;

		if (hmm_pte_write(iter.pte))
			pte |= EXAMPLE_WRITE;
		for (addr = iter.addr; addr < iter.end; addr += PAGE_SIZE) {
			u64 old = atomic64_xchg(example_pte(ex, addr), pte);

			if (old & EXAMPLE_DIRTY)
				hmm_mirror_range_dirty(&ex->mirror, addr,
						       addr + PAGE_SIZE);
			pte += PAGE_SIZE;
		}
	}
	example_flush(ex, start, end);
}

/* hmm.rst: sync */
static int example_sync(struct hmm_mirror *mirror, const struct hmm_update *update)
{
	struct example *ex = container_of(mirror, struct example, mirror);
	unsigned long start = max(update->start, ex->base);
	unsigned long end = min(update->end, ex->base + EXAMPLE_SIZE);

	if (update->blockable)
		mutex_lock(&ex->queue);
	else if (!mutex_trylock(&ex->queue))
		return -EAGAIN;

	switch (update->event) {
	case HMM_UPDATE_DEVICE_RFAULT:
	case HMM_UPDATE_DEVICE_WFAULT:
		example_fill(ex, start, end);
		break;
	case HMM_UPDATE_WRITE_PROTECT:
	case HMM_UPDATE_FORK:
	case HMM_UPDATE_ISDIRTY:
		example_revoke(ex, start, end, EXAMPLE_WRITE);
		break;
	default:
		example_revoke(ex, start, end, EXAMPLE_VALID | EXAMPLE_WRITE);
		break;
	}
	mutex_unlock(&ex->queue);
	return 0;
}

/* hmm.rst: register */
static const struct hmm_mirror_ops example_ops = {
	.sync_cpu_device_pagetables = example_sync,
};

/* A process opens the device. */
static int example_open(struct example *ex, struct device *dev, unsigned long base)
{
	ex->base = base;
	mutex_init(&ex->queue);
	ex->mirror.ops = &example_ops;
	ex->mirror.dma_dev = dev;
	return hmm_mirror_register(&ex->mirror, current->mm);
}

/* The last reference to the file is gone, and no job runs. */
static void example_close(struct example *ex)
{
	if (!ex->unplugged)
		hmm_mirror_unregister(&ex->mirror);
}

/* hmm.rst: fault */
/* Called from a work item: the device has no PTE that permits its access. */
static int example_fault(struct example *ex, unsigned long addr, bool write)
{
	unsigned long start = PAGE_ALIGN_DOWN(addr);
	long pages;

	if (addr < ex->base || addr - ex->base >= EXAMPLE_SIZE)
		return -EFAULT;
	pages = hmm_mirror_fault(&ex->mirror, start, start + PAGE_SIZE,
				 write ? HMM_FAULT_WRITE : HMM_FAULT_READ);
	return pages < 0 ? pages : 0;
}

/* hmm.rst: job */
/**
 * struct example_job - a job of the device
 * @ex: the process that the job belongs to
 * @faults: identifies the job to HMM
 * @work: handles a fault of the device
 * @addr: the address at which the device faulted
 * @ret: the result of the last fault, 0 or an errno
 */
struct example_job {
	struct example *ex;
	struct hmm_job faults;
	struct work_struct work;
	unsigned long addr;
	int ret;
};

static void example_job_work(struct work_struct *work)
{
	struct example_job *job = container_of(work, struct example_job, work);
	unsigned long start = PAGE_ALIGN_DOWN(job->addr);
	long pages = hmm_mirror_fault_job(&job->ex->mirror, start, start + PAGE_SIZE,
					  HMM_FAULT_WRITE, &job->faults);

	job->ret = pages < 0 ? pages : 0;
}

static void example_job_init(struct example_job *job, struct example *ex)
{
	job->ex = ex;
	hmm_job_init(&job->faults);
	INIT_WORK(&job->work, example_job_work);
}

/*
 * Stop the job early. Afterwards the caller may free it, even if user space never answers
 * a fault.
 */
static void example_job_stop(struct example_job *job)
{
	hmm_mirror_cancel_job(&job->ex->mirror, &job->faults);
	cancel_work_sync(&job->work);
}

/* hmm.rst: remove */
/*
 * The driver's remove() calls this for each process that has the device open. The DMA
 * mappings of the device must be gone when remove() returns. Faults of other tasks return
 * -ESRCH from now on. The memory of the mirror stays until example_close(). A lock of the
 * driver, not shown here, prevents that the two run concurrently.
 */
static void example_remove(struct example *ex)
{
	hmm_mirror_unregister(&ex->mirror);
	ex->unplugged = true;
}

/* hmm.rst: device */
/* Translate a device PTE as the IOMMU does. */
static struct page *example_page(struct example *ex, u64 pte)
{
	struct hmm_pt_device *device = dev_get_drvdata(ex->mirror.dma_dev);
	const struct hmm_pt_mapping *mapping;

	mapping = hmm_pt_device_find(device, pte & PAGE_MASK);
	if (!mapping || (pte & EXAMPLE_WRITE && mapping->dir != DMA_BIDIRECTIONAL))
		return NULL;
	return pfn_to_page(mapping->pfn);
}

/* The device reads or writes a word. Returns -EAGAIN if the device faults. */
static int example_try(struct example *ex, unsigned long addr, unsigned long *value, bool write)
{
	u64 need = EXAMPLE_VALID | (write ? EXAMPLE_WRITE : 0);
	atomic64_t *entry = example_pte(ex, addr);
	unsigned long *word;
	struct page *page;

	guard(mutex)(&ex->queue);
	if ((atomic64_read(entry) & need) != need)
		return -EAGAIN;
	page = example_page(ex, atomic64_read(entry));
	if (!page)
		return -EIO;
	if (write)
		atomic64_or(EXAMPLE_DIRTY, entry);
	word = kmap_local_page(page) + offset_in_page(addr);
	if (write)
		*word = *value;
	else
		*value = *word;
	kunmap_local(word);
	return 0;
}

static int example_access(struct example *ex, unsigned long addr, unsigned long *value,
			  bool write)
{
	int ret;

	while ((ret = example_try(ex, addr, value, write)) == -EAGAIN) {
		ret = example_fault(ex, addr, write);
		if (ret)
			break;
	}
	return ret;
}

/* hmm.rst: tests */
#define STAMP	0x68656c6c6fUL

static void example_close_action(void *ex)
{
	example_close(ex);
}

/* The page after the last page for jobs is mapped, too. */
static struct example *example_new(struct kunit *test)
{
	struct example *ex = kunit_kzalloc(test, sizeof(*ex), GFP_KERNEL);
	struct hmm_pt_device *device = hmm_pt_device(test);
	unsigned long addr;

	KUNIT_ASSERT_NOT_NULL(test, ex);
	addr = kunit_vm_mmap(test, NULL, 0, EXAMPLE_SIZE + PAGE_SIZE, PROT_READ | PROT_WRITE,
			     MAP_ANONYMOUS | MAP_PRIVATE, 0);
	KUNIT_ASSERT_NE(test, 0, addr);
	KUNIT_ASSERT_EQ(test, 0, example_open(ex, device->dev, addr));
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, example_close_action, ex));
	test->priv = device;
	return ex;
}

/*
 * The mirror is gone: all DMA mappings must be gone, too, each unmapped as it was mapped.
 */
static void example_exit(struct kunit *test)
{
	struct hmm_pt_device *device = test->priv;

	KUNIT_EXPECT_STREQ(test, "", device->complaint ?: "");
}

static void write_word(struct kunit *test, struct example *ex, unsigned long addr)
{
	unsigned long word = STAMP;

	KUNIT_ASSERT_EQ(test, 0, example_access(ex, addr, &word, true));
}

static unsigned long read_word(struct kunit *test, struct example *ex, unsigned long addr)
{
	unsigned long word = 0;

	KUNIT_ASSERT_EQ(test, 0, example_access(ex, addr, &word, false));
	return word;
}

/* Count the PTEs that have all of @bits. */
static unsigned long count_ptes(struct example *ex, u64 bits)
{
	unsigned long i, count = 0;

	for (i = 0; i < ARRAY_SIZE(ex->ptes); i++)
		count += (atomic64_read(&ex->ptes[i]) & bits) == bits;
	return count;
}

/* CPU and device see each other's writes. Faults outside of the driver's range fail. */
static void shares_memory(struct kunit *test)
{
	struct example *ex = example_new(test);
	unsigned long __user *first = (unsigned long __user *)ex->base;
	unsigned long __user *last = first + (EXAMPLE_SIZE / sizeof(long)) - 1;
	unsigned long word = 0;

	KUNIT_ASSERT_EQ(test, 0, put_user(STAMP, first));
	KUNIT_EXPECT_EQ(test, STAMP, read_word(test, ex, ex->base));
	write_word(test, ex, (unsigned long)last);
	KUNIT_ASSERT_EQ(test, 0, get_user(word, last));
	KUNIT_EXPECT_EQ(test, STAMP, word);
	KUNIT_EXPECT_EQ(test, 2, count_ptes(ex, EXAMPLE_VALID));
	KUNIT_EXPECT_EQ(test, 1, count_ptes(ex, EXAMPLE_DIRTY));
	KUNIT_EXPECT_EQ(test, -EFAULT, example_fault(ex, ex->base + EXAMPLE_SIZE, false));
	KUNIT_EXPECT_EQ(test, -EFAULT, example_fault(ex, ex->base - 1, false));
}

/* The device PTEs follow MADV_DONTNEED, mprotect() and munmap(). */
static void ptes_follow_cpu_changes(struct kunit *test)
{
	struct example *ex = example_new(test);
	unsigned long word = STAMP;

	write_word(test, ex, ex->base);
	write_word(test, ex, ex->base + PAGE_SIZE);
	KUNIT_ASSERT_EQ(test, 0, do_madvise(current->mm, ex->base, PAGE_SIZE, MADV_DONTNEED));
	KUNIT_EXPECT_EQ(test, 1, count_ptes(ex, EXAMPLE_VALID));
	KUNIT_EXPECT_EQ(test, 0, read_word(test, ex, ex->base));

	KUNIT_ASSERT_EQ(test, 0, hmm_fake_protect(ex->base, EXAMPLE_SIZE, PROT_READ));
	KUNIT_EXPECT_EQ(test, 0, count_ptes(ex, EXAMPLE_WRITE));
	KUNIT_EXPECT_EQ(test, 2, count_ptes(ex, EXAMPLE_VALID));
	KUNIT_EXPECT_EQ(test, STAMP, read_word(test, ex, ex->base + PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, -EPERM, example_access(ex, ex->base + PAGE_SIZE, &word, true));

	KUNIT_ASSERT_EQ(test, 0, vm_munmap(ex->base, EXAMPLE_SIZE));
	KUNIT_EXPECT_EQ(test, 0, count_ptes(ex, EXAMPLE_VALID));
	KUNIT_EXPECT_EQ(test, -EFAULT, example_access(ex, ex->base, &word, false));
}

/* After fork() the device may read the pages, and must fault before it writes them. */
static void fork_revokes_write(struct kunit *test)
{
	struct example *ex = example_new(test);

	write_word(test, ex, ex->base);
	hmm_fake_fork(test);
	KUNIT_EXPECT_EQ(test, 1, count_ptes(ex, EXAMPLE_VALID));
	KUNIT_EXPECT_EQ(test, 0, count_ptes(ex, EXAMPLE_WRITE));
	KUNIT_EXPECT_EQ(test, STAMP, read_word(test, ex, ex->base));
	write_word(test, ex, ex->base);
	KUNIT_EXPECT_EQ(test, 1, count_ptes(ex, EXAMPLE_WRITE));
}

static bool page_is_dirty(struct kunit *test, struct example *ex, unsigned long addr)
{
	hmm_pte_t pte;

	guard(rwsem_read)(&ex->mirror.lock);
	pte = hmm_pt_lookup(&ex->mirror, addr, NULL);
	KUNIT_ASSERT_TRUE(test, hmm_pte_valid(pte));
	return PageDirty(hmm_pte_page(pte));
}

/*
 * A fault that changes nothing keeps the device's dirty bits, and the next invalidation
 * reports them.
 */
static void reports_dirty_pages(struct kunit *test)
{
	struct example *ex = example_new(test);

	KUNIT_ASSERT_EQ(test, 0, example_fault(ex, ex->base, true));
	KUNIT_ASSERT_EQ(test, 0, example_fault(ex, ex->base + PAGE_SIZE, true));
	write_word(test, ex, ex->base);
	KUNIT_ASSERT_EQ(test, 0, example_fault(ex, ex->base, false));
	KUNIT_EXPECT_EQ(test, 2, count_ptes(ex, EXAMPLE_WRITE));
	KUNIT_EXPECT_FALSE(test, page_is_dirty(test, ex, ex->base));

	KUNIT_ASSERT_EQ(test, 0, hmm_fake_protect(ex->base, EXAMPLE_SIZE, PROT_READ));
	KUNIT_EXPECT_TRUE(test, page_is_dirty(test, ex, ex->base));
	KUNIT_EXPECT_FALSE(test, page_is_dirty(test, ex, ex->base + PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, 0, count_ptes(ex, EXAMPLE_DIRTY));
}

static int clear_nonblock(struct example *ex)
{
	struct mmu_notifier_range range;
	int ret;

	hmm_fake_stop_gc(&ex->mirror);
	mmu_notifier_range_init(&range, MMU_NOTIFY_CLEAR, 0, current->mm, ex->base,
				ex->base + EXAMPLE_SIZE);
	ret = mmu_notifier_invalidate_range_start_nonblock(&range);
	if (!ret)
		mmu_notifier_invalidate_range_end(&range);
	return ret;
}

struct queue_holder {
	struct example *ex;
	struct completion held;
};

/*
 * A thread that holds the queue must not wait for an invalidation, so another thread
 * invalidates.
 */
static int queue_holder_thread(void *arg)
{
	struct queue_holder *holder = arg;

	mutex_lock(&holder->ex->queue);
	complete(&holder->held);
	while (!kthread_should_stop())
		schedule_timeout_interruptible(1);
	mutex_unlock(&holder->ex->queue);
	return 0;
}

/*
 * While another task holds the queue, a non-blockable invalidation is refused and changes
 * no PTE.
 */
static void nonblock_refused_while_queue_held(struct kunit *test)
{
	struct queue_holder holder = { .ex = example_new(test) };
	struct example *ex = holder.ex;
	struct task_struct *task;

	init_completion(&holder.held);
	write_word(test, ex, ex->base);
	task = kthread_run(queue_holder_thread, &holder, "hmm_queue");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, task);
	wait_for_completion(&holder.held);
	KUNIT_EXPECT_EQ(test, -EAGAIN, clear_nonblock(ex));
	kthread_stop(task);
	KUNIT_EXPECT_EQ(test, 1, count_ptes(ex, EXAMPLE_VALID));
	KUNIT_EXPECT_EQ(test, 0, clear_nonblock(ex));
	KUNIT_EXPECT_EQ(test, 0, count_ptes(ex, EXAMPLE_VALID));
}

/* Closing the device clears all PTEs and unmaps all DMA mappings. */
static void close_clears_ptes(struct kunit *test)
{
	struct example *ex = example_new(test);
	struct hmm_pt_device *device = test->priv;

	write_word(test, ex, ex->base);
	KUNIT_EXPECT_EQ(test, 1, device->live);
	kunit_release_action(test, example_close_action, ex);
	KUNIT_EXPECT_EQ(test, 0, count_ptes(ex, EXAMPLE_VALID));
	KUNIT_EXPECT_EQ(test, 0, device->live);
	KUNIT_EXPECT_EQ(test, device->maps, device->unmaps);
}

/* A stopped job faults no more. The process and its other jobs continue. */
static void stopped_job_faults_no_more(struct kunit *test)
{
	struct example *ex = example_new(test);
	struct example_job job;

	example_job_init(&job, ex);
	job.addr = ex->base + 8;
	queue_work(system_unbound_wq, &job.work);
	flush_work(&job.work);
	KUNIT_EXPECT_EQ(test, 0, job.ret);
	KUNIT_EXPECT_EQ(test, 1, count_ptes(ex, EXAMPLE_WRITE));
	queue_work(system_unbound_wq, &job.work);
	example_job_stop(&job);
	queue_work(system_unbound_wq, &job.work);
	flush_work(&job.work);
	KUNIT_EXPECT_EQ(test, -ECANCELED, job.ret);
	write_word(test, ex, ex->base + PAGE_SIZE);
}

/* Removing the device clears all PTEs and unmaps all DMA mappings. Accesses then fail. */
static void remove_clears_ptes(struct kunit *test)
{
	struct example *ex = example_new(test);
	struct hmm_pt_device *device = test->priv;
	unsigned long word = 0;

	write_word(test, ex, ex->base);
	example_remove(ex);
	KUNIT_EXPECT_EQ(test, 0, count_ptes(ex, EXAMPLE_VALID));
	KUNIT_EXPECT_EQ(test, 0, device->live);
	KUNIT_EXPECT_EQ(test, -ESRCH, example_access(ex, ex->base, &word, false));
}

static struct kunit_case hmm_mirror_example_cases[] = {
	KUNIT_CASE(shares_memory),
	KUNIT_CASE(ptes_follow_cpu_changes),
	KUNIT_CASE(fork_revokes_write),
	KUNIT_CASE(reports_dirty_pages),
	KUNIT_CASE(nonblock_refused_while_queue_held),
	KUNIT_CASE(close_clears_ptes),
	KUNIT_CASE(stopped_job_faults_no_more),
	KUNIT_CASE(remove_clears_ptes),
	{}
};

static struct kunit_suite hmm_mirror_example_suite = {
	.name = "hmm_mirror_example",
	.exit = example_exit,
	.test_cases = hmm_mirror_example_cases,
};

kunit_test_suite(hmm_mirror_example_suite);
