// SPDX-License-Identifier: GPL-2.0
/*
 * The first driver that Documentation/vm/hmm.rst includes, and its tests. Each part that
 * the document shows begins with a comment "hmm.rst: NAME" and ends where the next part
 * begins.
 *
 * The device is a DMA engine without a page table of its own. It copies between memory
 * and its own storage through an IOMMU, and interrupts the CPU when it has finished. The
 * parts "engine device" and "engine end" emulate the hardware.
 */
#include <linux/delay.h>
#include <linux/highmem.h>
#include <linux/irq_work.h>
#include <linux/mman.h>

#include "hmm_mirror_test.h"
#include "hmm_pt_test.h"

/* hmm.rst: engine device */
#define ENGINE_STORAGE	(16 * PAGE_SIZE)

/* One step of the engine: copy @len bytes from or to a DMA address. */
struct engine_step {
	dma_addr_t dma;
	unsigned int len;
};

/* The queue of the engine */
struct engine {
	struct work_struct work;
	struct irq_work irq;
	struct engine_step steps[ENGINE_STORAGE / PAGE_SIZE + 1];
	unsigned int nsteps;
	char *storage;
};

static void engine_push(struct engine *engine, dma_addr_t dma, unsigned int len);
static void engine_start(struct engine *engine);

/* hmm.rst: engine open */
/* The mirror of a process that has opened the device */
static const struct hmm_mirror_ops engine_ops = {};

static int engine_open(struct hmm_mirror *mirror, struct device *dev)
{
	mirror->ops = &engine_ops;
	mirror->dma_dev = dev;
	return hmm_mirror_register(mirror, current->mm);
}

/* hmm.rst: engine transfer */
/**
 * struct transfer - a job of the engine
 * @mirror: the mirror of the process's address space
 * @addr: user address of the next byte to transfer
 * @size: number of bytes left to transfer
 * @write: the engine writes to memory
 * @work: begins the transfer, and continues it
 * @job: identifies the transfer to hmm_mirror_cancel_job()
 * @access: the access that the engine makes now
 * @len: number of bytes that the engine transfers now
 * @engine: the queue of the engine
 * @ret: 0 or an errno, valid after @done
 * @done: the transfer has finished
 */
struct transfer {
	struct hmm_mirror *mirror;
	unsigned long addr;
	unsigned long size;
	bool write;
	struct work_struct work;
	struct hmm_job job;
	struct hmm_access access;
	unsigned long len;
	struct engine engine;
	int ret;
	struct completion done;
};

/* hmm.rst: engine work */
static void transfer_work(struct work_struct *work)
{
	struct transfer *t = container_of(work, struct transfer, work);
	unsigned long start = PAGE_ALIGN_DOWN(t->addr), offset = t->addr - start;
	struct hmm_pt_iter iter;
	long pages;

	pages = hmm_access_begin(&t->access, t->mirror, start, PAGE_ALIGN(t->addr + t->size),
				 t->write ? HMM_FAULT_WRITE : HMM_FAULT_READ, &t->job);
	if (pages < 0) {
		t->ret = pages;
		complete(&t->done);
		return;
	}
	t->len = min(t->size, pages * PAGE_SIZE - offset);

	down_read(&t->mirror->lock);
	hmm_pt_for_each(&iter, t->mirror, start, start + pages * PAGE_SIZE) {
		unsigned long from = max(iter.addr, t->addr);
		unsigned long to = min(iter.end, t->addr + t->len);

		engine_push(&t->engine, hmm_pte_dma(iter.pte) + (from - iter.addr),
			    to - from);
	}
	up_read(&t->mirror->lock);
	engine_start(&t->engine);
}

/* In the interrupt handler: the engine has finished all queued steps. */
static void transfer_interrupt(struct transfer *t)
{
	hmm_access_end(&t->access);
	t->addr += t->len;
	t->size -= t->len;
	if (t->size)
		queue_work(system_unbound_wq, &t->work);
	else
		complete(&t->done);
}

/* hmm.rst: engine stop */
/*
 * Returns when the transfer has finished. It ends early if user space does not answer a
 * fault.
 */
static void transfer_stop(struct transfer *t)
{
	hmm_mirror_cancel_job(t->mirror, &t->job);
	wait_for_completion(&t->done);
}

/* hmm.rst: engine end */
static void engine_interrupt(struct irq_work *irq)
{
	transfer_interrupt(container_of(irq, struct transfer, engine.irq));
}

static void engine_push(struct engine *engine, dma_addr_t dma, unsigned int len)
{
	engine->steps[engine->nsteps++] = (struct engine_step){ .dma = dma, .len = len };
}

/* Runs the emulated engine */
static struct workqueue_struct *engine_wq;

/* Copy one page at most, if the IOMMU permits it. */
static int engine_copy(struct transfer *t, dma_addr_t dma, unsigned int len)
{
	struct hmm_pt_device *device = dev_get_drvdata(t->mirror->dma_dev);
	const struct hmm_pt_mapping *mapping = hmm_pt_device_find(device, dma & PAGE_MASK);
	char *mem;

	if (!mapping || (t->write && mapping->dir != DMA_BIDIRECTIONAL))
		return -EIO;
	mem = kmap_local_page(pfn_to_page(mapping->pfn)) + offset_in_page(dma);
	if (t->write)
		memcpy(mem, t->engine.storage, len);
	else
		memcpy(t->engine.storage, mem, len);
	kunmap_local(mem);
	t->engine.storage += len;
	return 0;
}

/*
 * The engine runs some time later, page by page. The end of an access must not wait for
 * memory, so the workqueue has a rescuer.
 */
static void engine_run(struct work_struct *work)
{
	struct transfer *t = container_of(work, struct transfer, engine.work);
	unsigned int i;

	msleep(20);
	for (i = 0; i < t->engine.nsteps; i++) {
		struct engine_step step = t->engine.steps[i];

		while (step.len) {
			unsigned int len = min(step.len, PAGE_SIZE - offset_in_page(step.dma));

			t->ret = engine_copy(t, step.dma, len) ?: t->ret;
			step.dma += len;
			step.len -= len;
		}
	}
	t->engine.nsteps = 0;
	irq_work_queue(&t->engine.irq);
}

static void engine_start(struct engine *engine)
{
	queue_work(engine_wq, &engine->work);
}

static struct transfer *transfer_start(struct kunit *test, struct hmm_mirror *mirror,
				       unsigned long addr, unsigned long size, void *storage,
				       bool write)
{
	struct transfer *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, t);
	t->mirror = mirror;
	t->addr = addr;
	t->size = size;
	t->write = write;
	t->engine.storage = storage;
	hmm_job_init(&t->job);
	init_completion(&t->done);
	INIT_WORK(&t->work, transfer_work);
	INIT_WORK(&t->engine.work, engine_run);
	init_irq_work(&t->engine.irq, engine_interrupt);
	queue_work(system_unbound_wq, &t->work);
	return t;
}

static int transfer_wait(struct transfer *t)
{
	wait_for_completion(&t->done);
	irq_work_sync(&t->engine.irq);
	return t->ret;
}

struct opened {
	struct hmm_mirror mirror;
	struct hmm_pt_device *device;
	unsigned long addr;
	char *storage;
};

static void engine_close(void *mirror)
{
	hmm_mirror_unregister(mirror);
}

static struct opened *open_engine(struct kunit *test)
{
	struct opened *o = kunit_kzalloc(test, sizeof(*o), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, o);
	o->device = hmm_pt_device(test);
	o->storage = kunit_kzalloc(test, ENGINE_STORAGE, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, o->storage);
	o->addr = kunit_vm_mmap(test, NULL, 0, ENGINE_STORAGE, PROT_READ | PROT_WRITE,
				MAP_ANONYMOUS | MAP_PRIVATE, 0);
	KUNIT_ASSERT_NE(test, 0, o->addr);
	KUNIT_ASSERT_EQ(test, 0, engine_open(&o->mirror, o->device->dev));
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, engine_close, &o->mirror));
	test->priv = o->device;
	return o;
}

/* The engine copies data to memory and back, with ends inside of pages. */
static void copies_there_and_back(struct kunit *test)
{
	struct opened *o = open_engine(test);
	unsigned long size = 8 * PAGE_SIZE - 200, i;
	char *back = kunit_kzalloc(test, ENGINE_STORAGE, GFP_KERNEL);
	struct transfer *t;

	KUNIT_ASSERT_NOT_NULL(test, back);
	for (i = 0; i < size; i++)
		o->storage[i] = i % 251;
	t = transfer_start(test, &o->mirror, o->addr + 100, size, o->storage, true);
	KUNIT_EXPECT_EQ(test, 0, transfer_wait(t));
	KUNIT_EXPECT_EQ(test, 0, copy_from_user(back, (void __user *)(o->addr + 100), size));
	KUNIT_EXPECT_MEMEQ(test, back, o->storage, size);
	memset(back, 0, size);
	t = transfer_start(test, &o->mirror, o->addr + 100, size, back, false);
	KUNIT_EXPECT_EQ(test, 0, transfer_wait(t));
	KUNIT_EXPECT_MEMEQ(test, back, o->storage, size);
}

/* munmap() of memory that the engine accesses waits until the access ends. */
static void munmap_waits_for_engine(struct kunit *test)
{
	struct opened *o = open_engine(test);
	struct transfer *t;

	t = transfer_start(test, &o->mirror, o->addr, PAGE_SIZE, o->storage, true);
	while (!hmm_access_is_under_way(&o->mirror, 0, ULONG_MAX, false) &&
	       !completion_done(&t->done))
		usleep_range(100, 200);
	KUNIT_EXPECT_EQ(test, 0, vm_munmap(o->addr, ENGINE_STORAGE));
	KUNIT_EXPECT_EQ(test, 0, transfer_wait(t));
	t = transfer_start(test, &o->mirror, o->addr, PAGE_SIZE, o->storage, true);
	KUNIT_EXPECT_EQ(test, -EFAULT, transfer_wait(t));
}

/* A stopped transfer finishes, and leaves no access under way. */
static void stop_ends_transfer(struct kunit *test)
{
	struct opened *o = open_engine(test);
	struct transfer *t;

	t = transfer_start(test, &o->mirror, o->addr, ENGINE_STORAGE, o->storage, true);
	transfer_stop(t);
	KUNIT_EXPECT_TRUE(test, !t->ret || t->ret == -ECANCELED);
	KUNIT_EXPECT_TRUE(test, !hmm_access_is_under_way(&o->mirror, 0, ULONG_MAX, false));
	irq_work_sync(&t->engine.irq);
}

/*
 * The mirror is gone: all DMA mappings must be gone, too, each unmapped as it was mapped.
 */
static void transfer_exit(struct kunit *test)
{
	struct hmm_pt_device *device = test->priv;

	KUNIT_EXPECT_STREQ(test, "", device->complaint ?: "");
}

static struct kunit_case hmm_mirror_transfer_cases[] = {
	KUNIT_CASE(copies_there_and_back),
	KUNIT_CASE(munmap_waits_for_engine),
	KUNIT_CASE(stop_ends_transfer),
	{}
};

static int transfer_suite_init(struct kunit_suite *suite)
{
	engine_wq = alloc_workqueue("hmm_mirror_transfer", WQ_UNBOUND | WQ_MEM_RECLAIM, 0);
	return engine_wq ? 0 : -ENOMEM;
}

static void transfer_suite_exit(struct kunit_suite *suite)
{
	destroy_workqueue(engine_wq);
}

static struct kunit_suite hmm_mirror_transfer_suite = {
	.name = "hmm_mirror_transfer",
	.suite_init = transfer_suite_init,
	.suite_exit = transfer_suite_exit,
	.exit = transfer_exit,
	.test_cases = hmm_mirror_transfer_cases,
};

kunit_test_suite(hmm_mirror_transfer_suite);
