// SPDX-License-Identifier: GPL-2.0
/*
 * How the walker pins the pagemaps of devmap entries: once for consecutive entries, not
 * during a fault or a wait, and never after the walk
 */
#include <linux/delay.h>
#include <linux/kprobes.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/mman.h>

#include "hmm_range_states.h"

/* Number of calls of get_dev_pagemap() that took a reference */
static atomic_t pagemap_gets;
/* Number of all calls of get_dev_pagemap() */
static atomic_t pagemap_lookups;

static int pagemap_get_entry(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	*(unsigned long *)instance->data = regs_get_kernel_argument(regs, 1);
	return 0;
}

static int pagemap_get_return(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	unsigned long got = regs_return_value(regs);

	atomic_inc(&pagemap_lookups);
	if (got && got != *(unsigned long *)instance->data)
		atomic_inc(&pagemap_gets);
	return 0;
}

static struct kretprobe pagemap_probe = {
	.kp.symbol_name = "get_dev_pagemap",
	.entry_handler = pagemap_get_entry,
	.handler = pagemap_get_return,
	.data_size = sizeof(unsigned long),
};

static void pagemap_unprobe(void *probe)
{
	unregister_kretprobe(probe);
}

static void pagemap_probe_gets(struct kunit *test)
{
	/* A probe that was registered before keeps its old state otherwise. */
	pagemap_probe.kp.addr = NULL;
	pagemap_probe.kp.flags = 0;
	KUNIT_ASSERT_EQ(test, 0, register_kretprobe(&pagemap_probe));
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, pagemap_unprobe,
							   &pagemap_probe));
}

static struct hmm_test_device *pagemap_device(struct kunit *test, unsigned long size)
{
	struct hmm_test_device *dev = hmm_test_device(test, MEMORY_DEVICE_GENERIC, size);

	/*
	 * Atomic mode lets pagemap_refs() read the count. Without allow_reinit the switch
	 * to atomic mode would kill the reference.
	 */
	dev->pgmap.ref.data->allow_reinit = true;
	percpu_ref_switch_to_atomic_sync(&dev->pgmap.ref);
	return dev;
}

static long pagemap_refs(struct hmm_test_device *dev)
{
	return atomic_long_read(&dev->pgmap.ref.data->count);
}

/* Write a devmap entry of @order at @addr. hmm_area_restore() undoes this. */
static struct hmm_area *pagemap_put(struct kunit *test, unsigned long addr,
				    unsigned int order, unsigned long pfn)
{
	struct hmm_area *a = kunit_kzalloc(test, sizeof(*a), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, a);
	a->test = test;
	a->state = hmm_states;
	a->addr = addr;
	hmm_area_put(a, hmm_area_entry(a, order),
		     hmm_area_devmap(order, pfn, PAGE_SHARED));
	return a;
}

/* Walk, and return the number of references taken meanwhile. */
static int pagemap_walk_gets(struct kunit *test, struct hmm_range_test *t,
			     int (*walker)(struct hmm_range *))
{
	atomic_set(&pagemap_gets, 0);
	KUNIT_EXPECT_EQ(test, 0, hmm_test_walk(t, walker));
	return atomic_read(&pagemap_gets);
}

/* A 1 GiB entry takes one reference, also if two VMAs map it. */
static void hmm_range_pagemap_pud(struct kunit *test)
{
	struct hmm_test_device *dev = pagemap_device(test, PUD_SIZE);
	unsigned long addr = hmm_test_mmap(test, PUD_SIZE, PUD_SIZE);
	unsigned long i, bad = 0, pfn = page_to_pfn(dev->page);
	long refs = pagemap_refs(dev);
	struct hmm_range_test *t;
	struct hmm_area *a;

	pagemap_probe_gets(test);
	t = hmm_test_watch(test, addr, PUD_SIZE >> PAGE_SHIFT);
	a = pagemap_put(test, addr, PUD_ORDER, pfn);
	KUNIT_EXPECT_EQ(test, 1, pagemap_walk_gets(test, t, hmm_range_snapshot));
	KUNIT_EXPECT_EQ(test, refs, pagemap_refs(dev));
	for (i = 0; i < t->npages; i++)
		bad += hmm_pfn_to_map_order(t->range.hmm_pfns[i]) != PUD_ORDER ||
		       (t->range.hmm_pfns[i] & ~HMM_PFN_FLAGS) != pfn + i;
	KUNIT_EXPECT_EQ(test, 0, bad);
	hmm_area_restore(a);

	KUNIT_ASSERT_EQ(test, addr, vm_mmap(NULL, addr, PUD_SIZE / 2, PROT_READ,
					    MAP_ANONYMOUS | MAP_PRIVATE | MAP_FIXED, 0));
	a = pagemap_put(test, addr, PUD_ORDER, pfn);
	KUNIT_EXPECT_EQ(test, 1, pagemap_walk_gets(test, t, hmm_range_fault));
	KUNIT_EXPECT_EQ(test, refs, pagemap_refs(dev));
	KUNIT_EXPECT_FALSE(test, t->range.hmm_pfns[0] & HMM_PFN_WRITE);
	KUNIT_EXPECT_TRUE(test, t->range.hmm_pfns[t->npages - 1] & HMM_PFN_WRITE);
	hmm_area_restore(a);
}

/* pmds and ptes of one device with other memory between them take one reference. */
static void hmm_range_pagemap_levels(struct kunit *test)
{
	struct hmm_test_device *dev = pagemap_device(test, 4 * PMD_SIZE);
	unsigned long addr = hmm_test_mmap(test, 4 * PMD_SIZE, PMD_SIZE);
	unsigned long i, pfn = page_to_pfn(dev->page);
	long refs = pagemap_refs(dev);
	struct hmm_area *pmds[2], *ptes[8];
	struct hmm_range_test *t;

	pagemap_probe_gets(test);
	/* pmd; THP; pmd; some ptes */
	pmds[0] = pagemap_put(test, addr, PMD_ORDER, pfn);
	hmm_test_write(test, addr + PMD_SIZE);
	pmds[1] = pagemap_put(test, addr + 2 * PMD_SIZE, PMD_ORDER, pfn + HPAGE_PMD_NR);
	for (i = 0; i < ARRAY_SIZE(ptes); i++)
		ptes[i] = pagemap_put(test, addr + 3 * PMD_SIZE + i * PAGE_SIZE, 0,
				      pfn + 2 * HPAGE_PMD_NR + i);
	t = hmm_test_watch(test, addr, 3 * HPAGE_PMD_NR + ARRAY_SIZE(ptes));
	t->range.default_flags = HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE;
	KUNIT_EXPECT_EQ(test, 1, pagemap_walk_gets(test, t, hmm_range_fault));
	KUNIT_EXPECT_EQ(test, 1, pagemap_walk_gets(test, t, hmm_range_snapshot));
	KUNIT_EXPECT_EQ(test, refs, pagemap_refs(dev));

	for (i = 0; i < ARRAY_SIZE(ptes); i++)
		hmm_area_restore(ptes[i]);
	hmm_area_restore(pmds[1]);
	hmm_area_restore(pmds[0]);
}

/* Each change to the memory of another device takes one reference. */
static void hmm_range_pagemap_devices(struct kunit *test)
{
	struct hmm_test_device *devs[] = {
		pagemap_device(test, PMD_SIZE), pagemap_device(test, PMD_SIZE),
	};
	const long refs[] = { pagemap_refs(devs[0]), pagemap_refs(devs[1]) };
	static const unsigned int order[] = { 0, 0, 1, 1, 0, 1 };
	struct hmm_area *ptes[ARRAY_SIZE(order)];
	struct hmm_range_test *t;
	unsigned long addr, i;

	addr = hmm_test_mmap(test, ARRAY_SIZE(order) << PAGE_SHIFT, PAGE_SIZE);
	pagemap_probe_gets(test);
	for (i = 0; i < ARRAY_SIZE(order); i++)
		ptes[i] = pagemap_put(test, addr + (i << PAGE_SHIFT), 0,
				      page_to_pfn(devs[order[i]]->page) + i);
	t = hmm_test_watch(test, addr, ARRAY_SIZE(order));
	KUNIT_EXPECT_EQ(test, 4, pagemap_walk_gets(test, t, hmm_range_fault));
	for (i = 0; i < ARRAY_SIZE(devs); i++)
		KUNIT_EXPECT_EQ(test, refs[i], pagemap_refs(devs[i]));
	for (i = 0; i < ARRAY_SIZE(order); i++)
		hmm_area_restore(ptes[i]);
}

/* The references that the fault handler, or the end of the migration, found */
static struct hmm_test_device *pagemap_seen_device;
static long pagemap_seen_refs;

static vm_fault_t pagemap_see_fault(struct vm_fault *vmf)
{
	pagemap_seen_refs = pagemap_refs(pagemap_seen_device);
	return VM_FAULT_SIGBUS;
}

static const struct vm_operations_struct pagemap_see_ops = {
	.fault = pagemap_see_fault,
};

/* The walker holds no reference during a fault. */
static void hmm_range_pagemap_fault(struct kunit *test)
{
	struct hmm_test_device *dev = pagemap_device(test, PMD_SIZE);
	unsigned long addr = hmm_test_mmap(test, 2 * PAGE_SIZE, PAGE_SIZE);
	struct hmm_range_test *t = hmm_test_watch(test, addr, 2);
	long refs = pagemap_refs(dev);
	struct vm_area_struct *vma;
	struct hmm_area *a;

	pagemap_seen_device = dev;
	pagemap_seen_refs = -1;
	a = pagemap_put(test, addr, 0, page_to_pfn(dev->page));
	mmap_read_lock(current->mm);
	vma = vma_lookup(current->mm, addr);
	mmap_read_unlock(current->mm);
	vma->vm_ops = &pagemap_see_ops;
	KUNIT_EXPECT_EQ(test, -EFAULT, hmm_test_fault(t, HMM_PFN_REQ_FAULT));
	vma->vm_ops = NULL;
	KUNIT_EXPECT_EQ(test, refs, pagemap_seen_refs);
	KUNIT_EXPECT_EQ(test, refs, pagemap_refs(dev));
	KUNIT_EXPECT_TRUE(test, t->range.hmm_pfns[0] & HMM_PFN_VALID);
	hmm_area_restore(a);
}

static void pagemap_see_wait(struct hmm_area *a)
{
	pagemap_seen_refs = pagemap_refs(pagemap_seen_device);
}

/* The walker holds no reference while it waits for a migration, at each level. */
static void hmm_range_pagemap_wait(struct kunit *test)
{
	struct hmm_test_device *dev = pagemap_device(test, PMD_SIZE);
	const struct hmm_state *state;
	long refs = pagemap_refs(dev);
	struct hmm_range_test *t;
	struct hmm_area *before;
	unsigned int kinds = 0;
	struct hmm_area *a;

	pagemap_seen_device = dev;
	for (state = hmm_states; state < hmm_states + hmm_nr_states; state++) {
		test->priv = NULL;
		a = hmm_area_alloc(test, state);
		t = hmm_test_watch(test, a->addr - PAGE_SIZE, 2);
		hmm_area_enter(a);
		if (a->folio && !state->cell[HMM_REQUESTED_WRITE].ret) {
			kinds++;
			pagemap_seen_refs = -1;
			before = pagemap_put(test, t->addr, 0, page_to_pfn(dev->page));
			a->arriving = pagemap_see_wait;
			hmm_area_await(a);
			KUNIT_EXPECT_EQ_MSG(test, 0, hmm_test_fault(t, HMM_PFN_REQ_FAULT),
					    "%s", state->name);
			flush_delayed_work(&a->arrival);
			KUNIT_EXPECT_EQ_MSG(test, refs, pagemap_seen_refs, "%s", state->name);
			KUNIT_EXPECT_EQ_MSG(test, refs, pagemap_refs(dev), "%s", state->name);
			hmm_area_restore(before);
		}
		hmm_area_leave(a);
		hmm_test_unwatch(test, t);
	}
	KUNIT_EXPECT_EQ(test, 3, kinds);
}

/* The walker drops its reference, whatever state follows and however the walk ends. */
static void hmm_range_pagemap_ends(struct kunit *test)
{
	struct hmm_test_device *dev = pagemap_device(test, PMD_SIZE);
	const struct hmm_state *state;
	long refs = pagemap_refs(dev);
	struct hmm_range_test *t;
	struct hmm_area *before;
	struct hmm_area *a;

	for (state = hmm_states; state < hmm_states + hmm_nr_states; state++) {
		/* States that cannot be faulted in here */
		if (state->cell[HMM_REQUESTED_WRITE].absent)
			continue;
		test->priv = NULL;
		a = hmm_area_alloc(test, state);
		t = hmm_test_watch(test, a->addr - PAGE_SIZE, 2);
		hmm_area_enter(a);
		t->range.dev_private_owner = a->owner;
		before = pagemap_put(test, t->addr, 0, page_to_pfn(dev->page));
		hmm_test_walk(t, hmm_range_snapshot);
		KUNIT_EXPECT_EQ_MSG(test, refs, pagemap_refs(dev), "%s", state->name);
		/* No task would end a wait. */
		if (!a->folio) {
			hmm_test_fault(t, HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE);
			KUNIT_EXPECT_EQ_MSG(test, refs, pagemap_refs(dev), "%s",
					    state->name);
		}
		hmm_area_restore(before);
		hmm_area_leave(a);
		hmm_test_unwatch(test, t);
	}
}

static int pagemap_remove(void *arg)
{
	hmm_test_device_unplug(arg);
	return 0;
}

static void pagemap_check_dying(struct kunit *test, struct hmm_test_device *dev,
				struct hmm_range_test *t)
{
	unsigned long before = hmm_test_faults();

	t->range.hmm_pfns[0] = HMM_TEST_UNTOUCHED;
	t->range.hmm_pfns[t->npages - 1] = HMM_TEST_UNTOUCHED;
	atomic_set(&pagemap_lookups, 0);
	KUNIT_EXPECT_EQ(test, -EBUSY, hmm_test_fault(t, HMM_PFN_REQ_FAULT));
	/* The walker does not look the pagemap up again. */
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&pagemap_lookups));
	KUNIT_EXPECT_EQ(test, HMM_TEST_UNTOUCHED, t->range.hmm_pfns[0]);
	KUNIT_EXPECT_EQ(test, HMM_TEST_UNTOUCHED, t->range.hmm_pfns[t->npages - 1]);
	KUNIT_EXPECT_EQ(test, before, hmm_test_faults());
	KUNIT_EXPECT_EQ(test, 0, hmm_test_fault(t, 0));
	KUNIT_EXPECT_EQ(test, 0, t->range.hmm_pfns[0]);
	KUNIT_EXPECT_EQ(test, 0, t->range.hmm_pfns[t->npages - 1]);
	KUNIT_EXPECT_EQ(test, 0, hmm_test_walk(t, hmm_range_snapshot));
	KUNIT_EXPECT_EQ(test, 0, t->range.hmm_pfns[0]);
}

/* Pages of a driver that is about to go, or is gone, fail with -EBUSY if requested. */
static void hmm_range_pagemap_dying(struct kunit *test)
{
	static const unsigned int orders[] = { 0, PMD_ORDER, PUD_ORDER };
	struct hmm_range_test *t;
	struct hmm_test_device *dev;
	struct task_struct *task;
	unsigned long addr, size, i;
	struct dev_pagemap *held;
	struct hmm_area *a;

	pagemap_probe_gets(test);
	for (i = 0; i < ARRAY_SIZE(orders); i++) {
		size = PAGE_SIZE << orders[i];
		dev = hmm_test_device(test, MEMORY_DEVICE_GENERIC, max(size, PMD_SIZE));
		addr = hmm_test_mmap(test, size, size);
		t = hmm_test_watch(test, addr, size >> PAGE_SHIFT);
		a = pagemap_put(test, addr, orders[i], page_to_pfn(dev->page));
		KUNIT_EXPECT_EQ(test, 0, hmm_test_fault(t, HMM_PFN_REQ_FAULT));

		held = get_dev_pagemap(page_to_pfn(dev->page), NULL);
		KUNIT_EXPECT_PTR_EQ(test, &dev->pgmap, held);
		task = kthread_create(pagemap_remove, dev, "hmm_remove");
		KUNIT_EXPECT_NOT_ERR_OR_NULL(test, task);
		get_task_struct(task);
		wake_up_process(task);
		while (!percpu_ref_is_dying(&dev->pgmap.ref))
			msleep(20);
		pagemap_check_dying(test, dev, t);
		put_dev_pagemap(held);
		kthread_stop(task);
		put_task_struct(task);
		pagemap_check_dying(test, dev, t);
		hmm_area_restore(a);
	}
}

/* Write a pte for each page of @t, and count the references and calls of a walk. */
static void pagemap_check_run(struct kunit *test, struct hmm_range_test *t,
			      const unsigned long *ptes, int gets, int asked)
{
	struct hmm_area a = { .test = test, .state = hmm_states, .addr = t->addr };
	unsigned long *table = hmm_area_entry(&a, 0);

	memcpy(table, ptes, t->npages * sizeof(*ptes));
	atomic_set(&pagemap_lookups, 0);
	KUNIT_EXPECT_EQ(test, gets, pagemap_walk_gets(test, t, hmm_range_fault));
	KUNIT_EXPECT_EQ(test, asked, atomic_read(&pagemap_lookups));
	memset(table, 0, t->npages * sizeof(*ptes));
}

/*
 * After a failed lookup of a pagemap that is gone, the walker holds no other pagemap, so
 * the next pte takes its own reference, whichever earlier pte it resembles.
 */
static void hmm_range_pagemap_gone_between(struct kunit *test)
{
	struct hmm_test_device *dev = pagemap_device(test, PMD_SIZE);
	struct hmm_test_device *gone = pagemap_device(test, PMD_SIZE);
	unsigned long pfn = page_to_pfn(dev->page), gone_pfn = page_to_pfn(gone->page);
	long refs = pagemap_refs(dev);
	const unsigned long ptes[] = {
		hmm_area_devmap(0, pfn, PAGE_SHARED),
		hmm_area_devmap(0, pfn + 1, PAGE_SHARED),
		hmm_area_devmap(0, pfn + 2, PAGE_READONLY),
		hmm_area_devmap(0, gone_pfn, PAGE_SHARED),
		hmm_area_devmap(0, pfn + 3, PAGE_SHARED),
		hmm_area_devmap(0, gone_pfn + 1, PAGE_SHARED),
		hmm_area_devmap(0, pfn + 4, PAGE_READONLY),
	};
	struct hmm_range_test *t;

	hmm_test_device_unplug(gone);
	t = hmm_test_watch(test, hmm_test_mmap(test, PMD_SIZE, PMD_SIZE), ARRAY_SIZE(ptes));
	pagemap_probe_gets(test);
	pagemap_check_run(test, t, ptes, 3, 5);
	KUNIT_EXPECT_EQ(test, refs, pagemap_refs(dev));
	KUNIT_EXPECT_EQ(test, 0, t->range.hmm_pfns[3]);
	KUNIT_EXPECT_EQ(test, 0, t->range.hmm_pfns[5]);
	KUNIT_EXPECT_EQ(test, pfn + 3, t->range.hmm_pfns[4] & ~HMM_PFN_FLAGS);
}

/*
 * The walker looks a pagemap up once, whatever the protection and the order of the pages.
 */
static void hmm_range_pagemap_looks_up_once(struct kunit *test)
{
	struct hmm_test_device *dev = pagemap_device(test, PMD_SIZE);
	unsigned long i, ptes[100], expected[100], pfn, bad = 0;
	struct hmm_range_test *t;

	for (i = 0; i < ARRAY_SIZE(ptes); i++) {
		pfn = page_to_pfn(dev->page) + (37 * i) % ARRAY_SIZE(ptes);
		ptes[i] = hmm_area_devmap(0, pfn, i % 3 ? PAGE_SHARED : PAGE_READONLY);
		expected[i] = pfn | HMM_PFN_VALID | (i % 3 ? HMM_PFN_WRITE : 0);
	}
	t = hmm_test_watch(test, hmm_test_mmap(test, PMD_SIZE, PMD_SIZE), ARRAY_SIZE(ptes));
	pagemap_probe_gets(test);
	pagemap_check_run(test, t, ptes, 1, 1);
	for (i = 0; i < ARRAY_SIZE(ptes); i++)
		bad += t->range.hmm_pfns[i] != expected[i];
	KUNIT_EXPECT_EQ(test, 0, bad);
}

static void pagemap_unmap(void *pgmap)
{
	memunmap_pages(pgmap);
}

/* Create a pagemap with two ranges, and room for another one between them, after @dev. */
static struct dev_pagemap *pagemap_two_ranges(struct kunit *test,
					      const struct hmm_test_device *dev)
{
	u64 start = dev->pgmap.range.end + 1, i;
	struct dev_pagemap *pgmap;

	pgmap = kunit_kzalloc(test, struct_size(pgmap, ranges, 2), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, pgmap);
	pgmap->type = MEMORY_DEVICE_GENERIC;
	pgmap->nr_range = 2;
	for (i = 0; i < 2; i++) {
		pgmap->ranges[i].start = start + i * 2 * SUBSECTION_SIZE;
		pgmap->ranges[i].end = pgmap->ranges[i].start + SUBSECTION_SIZE - 1;
	}
	KUNIT_ASSERT_FALSE(test, IS_ERR(memremap_pages(pgmap, NUMA_NO_NODE)));
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, pagemap_unmap, pgmap));
	return pgmap;
}

/* A reference from get_dev_pagemap() for one range pins the whole pagemap. */
static void hmm_range_pagemap_ranges(struct kunit *test)
{
	struct hmm_test_device *dev = pagemap_device(test, 2 * PMD_SIZE);
	struct dev_pagemap *pgmap = pagemap_two_ranges(test, dev);
	unsigned long first = PHYS_PFN(pgmap->ranges[0].start);
	unsigned long second = PHYS_PFN(pgmap->ranges[1].start);
	struct hmm_test_device *between =
		hmm_test_device_at(test, MEMORY_DEVICE_GENERIC,
				   pgmap->ranges[0].end + 1, SUBSECTION_SIZE);
	const unsigned long n = PAGES_PER_SUBSECTION;
	const unsigned long pfns[] = {
		second, second + 1, first, first + n - 1, page_to_pfn(between->page),
		second - 1, second, second + n - 1, first + n - 1, first + n, first - 1,
		second + n - 1, first,
	};
	struct hmm_range_test *t;
	unsigned long ptes[ARRAY_SIZE(pfns)], i;
	long refs = pagemap_refs(dev);

	hmm_test_device_unplug(between);
	for (i = 0; i < ARRAY_SIZE(pfns); i++)
		ptes[i] = hmm_area_devmap(0, pfns[i], PAGE_SHARED);
	t = hmm_test_watch(test, hmm_test_mmap(test, PMD_SIZE, PMD_SIZE), ARRAY_SIZE(pfns));
	pagemap_probe_gets(test);
	/* Each page of the second range needs a lookup, and pages of no other range do. */
	pagemap_check_run(test, t, ptes, 4, 9);
	for (i = 0; i < ARRAY_SIZE(pfns); i++)
		KUNIT_EXPECT_EQ_MSG(test, i == 4 || i == 5 || i == 9 ? 0 :
				    pfns[i] | HMM_PFN_VALID | HMM_PFN_WRITE,
				    t->range.hmm_pfns[i], "pte %lu", i);
	KUNIT_EXPECT_EQ(test, refs, pagemap_refs(dev));
}

static struct kunit_case hmm_range_pagemap_cases[] = {
	KUNIT_CASE(hmm_range_pagemap_pud),
	KUNIT_CASE(hmm_range_pagemap_levels),
	KUNIT_CASE(hmm_range_pagemap_devices),
	KUNIT_CASE(hmm_range_pagemap_fault),
	KUNIT_CASE(hmm_range_pagemap_wait),
	KUNIT_CASE(hmm_range_pagemap_ends),
	KUNIT_CASE(hmm_range_pagemap_dying),
	KUNIT_CASE(hmm_range_pagemap_gone_between),
	KUNIT_CASE(hmm_range_pagemap_looks_up_once),
	KUNIT_CASE(hmm_range_pagemap_ranges),
	{}
};

static void hmm_range_pagemap_exit(struct kunit_suite *suite)
{
	hmm_range_release_giant();
}

static struct kunit_suite hmm_range_pagemap_suite = {
	.name = "hmm_range_pagemap",
	.suite_exit = hmm_range_pagemap_exit,
	.test_cases = hmm_range_pagemap_cases,
};

kunit_test_suite(hmm_range_pagemap_suite);
