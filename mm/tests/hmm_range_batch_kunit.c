// SPDX-License-Identifier: GPL-2.0
/*
 * The walker faults runs of empty ptes in by batches: which pages it faults in, how many
 * faults it takes, and what is left when a fault ends the walk
 */
#include <linux/gfp.h>
#include <linux/kprobes.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/prandom.h>
#include <linux/sched/signal.h>

#include "hmm_range_states.h"

/* Maximum number of faults before the walker reads the ptes again */
#define BATCH_MAX	64

/* Size of large anonymous folios in pages, 64 KiB */
#define BATCH_FOLIO	16

#define REQ_READ	HMM_PFN_REQ_FAULT
#define REQ_WRITE	(HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE)

/**
 * struct batch_seen - calls of handle_mm_fault() by the test's thread
 * @task: the test's thread
 * @faults: number of faults, including failed ones
 * @outside: number of faults outside of the VMA
 * @large_from: number of the fault that enables large folios; 0 for no change
 */
static struct batch_seen {
	struct task_struct *task;
	unsigned int faults;
	unsigned int outside;
	unsigned int large_from;
} batch_seen;

static int batch_see_fault(struct kprobe *probe, struct pt_regs *regs)
{
	struct vm_area_struct *vma = (void *)regs_get_kernel_argument(regs, 0);
	unsigned long addr = regs_get_kernel_argument(regs, 1);

	if (current != batch_seen.task)
		return 0;
	batch_seen.outside += addr < vma->vm_start || addr >= vma->vm_end;
	if (++batch_seen.faults == batch_seen.large_from)
		huge_anon_orders_always |= BIT(ilog2(BATCH_FOLIO));
	return 0;
}

static struct kprobe batch_probe = {
	.symbol_name = "handle_mm_fault",
	.pre_handler = batch_see_fault,
};

static int batch_init(struct kunit *test)
{
	/* A probe that was registered before keeps its old state otherwise. */
	batch_probe.addr = NULL;
	batch_probe.flags = 0;
	batch_seen = (struct batch_seen) { .task = current };
	return register_kprobe(&batch_probe);
}

static void batch_exit(struct kunit *test)
{
	unregister_kprobe(&batch_probe);
}

/* Map empty pages that are faulted in one by one: no pmd is empty and no folio is large. */
static struct hmm_range_test *batch_map(struct kunit *test, unsigned long npages)
{
	struct hmm_area a = { .test = test, .state = hmm_states };
	struct hmm_range_test *t;

	a.addr = hmm_test_mmap(test, npages << PAGE_SHIFT, PMD_SIZE);
	KUNIT_ASSERT_EQ(test, 0, do_madvise(current->mm, a.addr, npages << PAGE_SHIFT,
					    MADV_NOHUGEPAGE));
	t = hmm_test_watch(test, a.addr, npages);
	for (; a.addr < t->addr + (npages << PAGE_SHIFT); a.addr += PMD_SIZE)
		hmm_area_entry(&a, 0);
	return t;
}

/* Request the pages [@first, @end), and return the number of faults. */
static unsigned int batch_fault(struct hmm_range_test *t, unsigned long first,
				unsigned long end, unsigned long req, int *ret)
{
	unsigned long i;

	for (i = 0; i < t->npages; i++)
		t->range.hmm_pfns[i] = HMM_TEST_UNTOUCHED;
	t->range.start = t->addr + (first << PAGE_SHIFT);
	t->range.end = t->addr + (end << PAGE_SHIFT);
	batch_seen.faults = 0;
	*ret = hmm_test_fault(t, req);
	return batch_seen.faults;
}

/* Return the number of empty pages, and leave their attributes in the range. */
static unsigned long batch_count_empty(struct kunit *test, struct hmm_range_test *t)
{
	unsigned long i, n = 0;

	t->range.start = t->addr;
	t->range.end = t->addr + (t->npages << PAGE_SHIFT);
	KUNIT_EXPECT_EQ(test, 0, hmm_test_walk(t, hmm_range_snapshot));
	for (i = 0; i < t->npages; i++)
		n += !!(t->range.hmm_pfns[i] & HMM_PFN_EMPTY);
	return n;
}

/* Count the leading entries that have exactly these flags. */
static unsigned long batch_count_stored(const struct hmm_range_test *t,
					unsigned long flags)
{
	unsigned long i = 0;

	while (i < t->npages && hmm_test_flags(t->range.hmm_pfns[i]) == flags)
		i++;
	return i;
}

static void batch_empty(struct hmm_range_test *t)
{
	do_madvise(current->mm, t->addr, t->npages << PAGE_SHIFT, MADV_DONTNEED);
}

/* A walk faults in exactly the pages of its range, each by one fault. */
static void hmm_range_batch_one_fault_per_page(struct kunit *test)
{
	static const unsigned int counts[] = {
		1, 2, 3, 4, 5, 6, 7, 8, 9, 63, 64, 65, 66, 127, 128, 129, 130, 400,
	};
	struct hmm_range_test *t = batch_map(test, PTRS_PER_PTE);
	unsigned long i, first;
	int ret;

	for (i = 0; i < ARRAY_SIZE(counts); i++) {
		for (first = 0; first < 5; first++) {
			const unsigned int n = counts[i];

			batch_empty(t);
			KUNIT_EXPECT_EQ(test, n, batch_fault(t, first, first + n, REQ_WRITE,
							     &ret));
			KUNIT_EXPECT_EQ(test, 0, ret);
			KUNIT_EXPECT_EQ(test, n, batch_count_stored(t, HMM_PFN_VALID |
								       HMM_PFN_WRITE));
			KUNIT_EXPECT_EQ(test, PTRS_PER_PTE - n, batch_count_empty(test, t));
		}
	}
}

/* A walk faults in the pages up to the end of a table and in the following, new table. */
static void hmm_range_batch_table_end(struct kunit *test)
{
	struct hmm_range_test *t = batch_map(test, 3 * PTRS_PER_PTE);
	const unsigned long n = 2 * PTRS_PER_PTE;
	int ret;

	KUNIT_EXPECT_EQ(test, n, batch_fault(t, 101, 101 + n, REQ_READ, &ret));
	KUNIT_EXPECT_EQ(test, 0, ret);
	KUNIT_EXPECT_EQ(test, n, batch_count_stored(t, HMM_PFN_VALID));
	KUNIT_EXPECT_EQ(test, t->npages - n, batch_count_empty(test, t));
}

/*
 * A batch ends at the end of a VMA, although empty ptes of another VMA follow in the
 * table.
 */
static void hmm_range_batch_ends_with_vma(struct kunit *test)
{
	struct hmm_range_test *t = batch_map(test, 300);
	int ret;

	KUNIT_ASSERT_EQ(test, t->addr + 150 * PAGE_SIZE,
			vm_mmap(NULL, t->addr + 150 * PAGE_SIZE, 50 * PAGE_SIZE,
				PROT_READ | PROT_EXEC,
				MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, 0));
	KUNIT_EXPECT_EQ(test, 300, batch_fault(t, 0, 300, REQ_READ, &ret));
	KUNIT_EXPECT_EQ(test, 0, ret);
	KUNIT_EXPECT_EQ(test, 0, batch_seen.outside);
	KUNIT_EXPECT_EQ(test, 300, batch_count_stored(t, HMM_PFN_VALID));
}

/* Present pages between empty ones take no fault. */
static void hmm_range_batch_present_between(struct kunit *test)
{
	struct hmm_range_test *t = batch_map(test, PTRS_PER_PTE);
	unsigned long every, i, empty;
	int ret;

	for (every = 2; every < 150; every = every * 3 / 2) {
		batch_empty(t);
		for (i = every - 1; i < t->npages; i += every)
			hmm_test_write(test, t->addr + (i << PAGE_SHIFT));
		empty = batch_count_empty(test, t);
		KUNIT_EXPECT_EQ(test, empty, batch_fault(t, 0, t->npages, REQ_WRITE, &ret));
		KUNIT_EXPECT_EQ(test, 0, ret);
		KUNIT_EXPECT_EQ(test, 0, batch_count_empty(test, t));
	}
}

/*
 * Runs of pages with one request each: each page is faulted in for its own request. A
 * page that was read maps the zero page, and a write request for it needs another walk.
 */
static void hmm_range_batch_requests(struct kunit *test)
{
	static const unsigned long reqs[] = { 0, REQ_READ, REQ_WRITE, HMM_PFN_REQ_WRITE };
	static unsigned long wanted[PTRS_PER_PTE];
	struct hmm_range_test *t = batch_map(test, PTRS_PER_PTE);
	unsigned long *pfns = t->range.hmm_pfns, i, requested, bad;
	unsigned int round, left = 0;
	u32 seed = get_random_u32();
	unsigned long req = 0;
	struct rnd_state rnd;

	kunit_info(test, "seed %u", seed);
	prandom_seed_state(&rnd, seed);
	t->range.pfn_flags_mask = ~0UL;
	for (round = 0; round < 30; round++) {
		batch_empty(t);
		requested = 0;
		bad = 0;
		for (i = 0; i < t->npages; i++) {
			if (!left--) {
				left = prandom_u32_state(&rnd) % (round % 2 ? 100 : 3);
				req = reqs[prandom_u32_state(&rnd) % ARRAY_SIZE(reqs)];
			}
			pfns[i] = HMM_TEST_UNTOUCHED | req;
			wanted[i] = req & HMM_PFN_REQ_FAULT ? req : 0;
			requested += !!wanted[i];
		}
		batch_seen.faults = 0;
		KUNIT_EXPECT_EQ(test, 0, hmm_test_walk(t, hmm_range_fault));
		KUNIT_EXPECT_EQ(test, requested, batch_seen.faults);
		for (i = 0; i < t->npages; i++)
			bad += hmm_test_flags(pfns[i]) != wanted[i];
		KUNIT_EXPECT_EQ(test, 0, bad);
		KUNIT_EXPECT_EQ(test, t->npages - requested, batch_count_empty(test, t));
	}
}

static int batch_write_protect(pte_t *ptep, unsigned long addr, void *mm)
{
	ptep_set_wrprotect(mm, addr, ptep);
	return 0;
}

/*
 * One page requests write access that its pte lacks, and takes one fault. All ptes are
 * equal.
 */
static void hmm_range_batch_one_write_request(struct kunit *test)
{
	struct hmm_range_test *t = batch_map(test, 40);
	unsigned long *pfns = t->range.hmm_pfns, i, writes, bad = 0;
	int ret;

	batch_fault(t, 0, t->npages, REQ_WRITE, &ret);
	KUNIT_ASSERT_EQ(test, 0, ret);
	t->range.default_flags = 0;
	t->range.pfn_flags_mask = ~0UL;
	for (writes = 0; writes < t->npages; writes++) {
		ret = apply_to_existing_page_range(current->mm, t->addr,
						   t->npages << PAGE_SHIFT,
						   batch_write_protect, current->mm);
		KUNIT_ASSERT_EQ(test, 0, ret);
		for (i = 0; i < t->npages; i++)
			pfns[i] = HMM_TEST_UNTOUCHED | (i % 3 ? REQ_READ : 0);
		pfns[writes] = REQ_WRITE;
		batch_seen.faults = 0;
		KUNIT_EXPECT_EQ(test, 0, hmm_test_walk(t, hmm_range_fault));
		KUNIT_EXPECT_EQ(test, 1, batch_seen.faults);
		for (i = 0; i < t->npages; i++)
			bad += hmm_test_flags(pfns[i]) !=
			       (i == writes ? HMM_PFN_VALID | HMM_PFN_WRITE : HMM_PFN_VALID);
	}
	KUNIT_EXPECT_EQ(test, 0, bad);
}

/* huge_anon_orders_always before the test changed it */
static void *batch_orders_before;

static void batch_restore_orders(void *orders)
{
	huge_anon_orders_always = (unsigned long)orders;
}

static void batch_let_large_folios_come(struct kunit *test, unsigned int from)
{
	batch_orders_before = (void *)huge_anon_orders_always;
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, batch_restore_orders,
							   batch_orders_before));
	batch_seen.large_from = from;
	if (!from)
		huge_anon_orders_always |= BIT(ilog2(BATCH_FOLIO));
}

/* Map @npages for large folios, too few for a THP. */
static struct hmm_range_test *batch_map_folios(struct kunit *test, unsigned long npages)
{
	unsigned long align = BATCH_FOLIO << PAGE_SHIFT;

	return hmm_test_watch(test, hmm_test_mmap(test, npages << PAGE_SHIFT, align), npages);
}

/* Each large folio takes one fault, wherever the range begins in the first one. */
static void hmm_range_batch_large_folios(struct kunit *test)
{
	struct hmm_range_test *t = batch_map_folios(test, 20 * BATCH_FOLIO);
	unsigned long first, last, folios;
	int ret;

	batch_let_large_folios_come(test, 0);
	for (first = 0; first < BATCH_FOLIO; first++) {
		for (last = t->npages - 3; last < t->npages; last++) {
			batch_empty(t);
			folios = last / BATCH_FOLIO + 1;
			KUNIT_EXPECT_EQ(test, folios, batch_fault(t, first, last + 1,
								  REQ_WRITE, &ret));
			KUNIT_EXPECT_EQ(test, 0, ret);
			KUNIT_EXPECT_EQ(test, 0, batch_count_empty(test, t));
		}
	}
}

/* The walker notices within one batch that folios become large. */
static void hmm_range_batch_folios_grow(struct kunit *test)
{
	const unsigned long large = 16 * BATCH_FOLIO, most = 14 * BATCH_FOLIO;
	struct hmm_range_test *t = batch_map_folios(test, most + large);
	unsigned long small, least;
	unsigned int faults;
	int ret;

	for (small = BATCH_FOLIO; small <= most; small += BATCH_FOLIO) {
		batch_empty(t);
		/*
		 * This folio is no longer empty, so the following one is the first large
		 * folio.
		 */
		batch_let_large_folios_come(test, small);
		faults = batch_fault(t, 0, small + large, REQ_WRITE, &ret);
		kunit_release_action(test, batch_restore_orders, batch_orders_before);
		least = small + large / BATCH_FOLIO;
		KUNIT_EXPECT_EQ(test, 0, ret);
		KUNIT_EXPECT_EQ(test, small + large, batch_count_stored(t, REQ_WRITE));
		KUNIT_EXPECT_GE(test, faults, least);
		KUNIT_EXPECT_LT_MSG(test, faults, least + BATCH_MAX, "from %lu", small);
	}
}

/**
 * struct batch_event - what happens in a fault
 * @addr: the address of the fault
 * @area: for @act, begins at @addr
 * @act: what to do first, or NULL
 * @ret: the return value of the fault; 0 to map a page
 */
struct batch_event {
	unsigned long addr;
	struct hmm_area area;
	void (*act)(struct hmm_area *a);
	vm_fault_t ret;
};

static vm_fault_t batch_serve(struct vm_fault *vmf)
{
	struct batch_event *event = vmf->vma->vm_private_data;

	if (vmf->address == event->addr) {
		if (event->act)
			event->act(&event->area);
		if (event->ret)
			return event->ret;
	}
	vmf->page = alloc_page(GFP_KERNEL | __GFP_ZERO);
	return vmf->page ? 0 : VM_FAULT_OOM;
}

static const struct vm_operations_struct batch_ops = {
	.fault = batch_serve,
};

static const struct vm_operations_struct *batch_set_ops(struct hmm_range_test *t,
							const struct vm_operations_struct *ops,
							struct batch_event *event)
{
	const struct vm_operations_struct *before;
	struct vm_area_struct *vma;

	mmap_write_lock(current->mm);
	vma = vma_lookup(current->mm, t->addr);
	before = vma->vm_ops;
	vma->vm_ops = ops;
	vma->vm_private_data = event;
	mmap_write_unlock(current->mm);
	return before;
}

/* Fault in a run of empty ptes, with @event at page @at. Return the number of faults. */
static unsigned int batch_meet(struct hmm_range_test *t, struct batch_event *event,
			       unsigned long at, unsigned long req, int *ret)
{
	const struct vm_operations_struct *ops;
	unsigned int faults;

	batch_empty(t);
	event->addr = t->addr + (at << PAGE_SHIFT);
	event->area.addr = event->addr;
	event->area.mm = current->mm;
	ops = batch_set_ops(t, &batch_ops, event);
	faults = batch_fault(t, 0, t->npages, req, ret);
	batch_set_ops(t, ops, NULL);
	return faults;
}

/* The first @stored entries are final, and all others still have their input. */
static void batch_check_stored(struct kunit *test, const struct hmm_range_test *t,
			       unsigned long stored, unsigned long req, unsigned long at)
{
	unsigned long i, bad = 0;

	KUNIT_EXPECT_EQ_MSG(test, stored, batch_count_stored(t, req), "at %lu", at);
	for (i = stored; i < t->npages; i++)
		bad += t->range.hmm_pfns[i] != HMM_TEST_UNTOUCHED;
	KUNIT_EXPECT_EQ_MSG(test, 0, bad, "at %lu", at);
}

/* The first and last pages of batches of each size, and pages between them */
static const unsigned int batch_places[] = {
	0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 15, 16, 20, 30, 31, 40, 60, 61, 62, 63, 64,
	65, 90, 100, 126, 127, 128, 129, 180, 198, 199,
};

/* A failing page ends the walk at that page, whether or not it is inside of a batch. */
static void hmm_range_batch_ends_at_error(struct kunit *test)
{
	static const struct {
		vm_fault_t fault;
		int ret;
	} errors[] = {
		{ VM_FAULT_SIGBUS, -EFAULT }, { VM_FAULT_OOM, -ENOMEM },
		{ VM_FAULT_HWPOISON, -EFAULT },
	};
	struct hmm_range_test *t = batch_map(test, 200);
	unsigned int i, j, k, at, faults;
	struct batch_event event = {};
	int ret;

	for (i = 0; i < ARRAY_SIZE(errors); i++) {
		for (j = 0; j < ARRAY_SIZE(batch_places); j++) {
			for (k = 0; k < 2; k++) {
				const unsigned long req = k ? REQ_WRITE : REQ_READ;

				at = batch_places[j];
				event.ret = errors[i].fault;
				faults = batch_meet(t, &event, at, req, &ret);
				KUNIT_EXPECT_EQ_MSG(test, errors[i].ret, ret, "at %u", at);
				batch_check_stored(test, t, at, req, at);
				/*
				 * The page may take a second fault, and no later page
				 * takes any.
				 */
				KUNIT_EXPECT_GE(test, faults, at + 1);
				KUNIT_EXPECT_LE(test, faults, at + 2);
				KUNIT_EXPECT_EQ(test, 200 - at, batch_count_empty(test, t));
			}
		}
	}
}

/* A collision ends the walk, which then stores no more entries. */
static void hmm_range_batch_ends_at_collision(struct kunit *test)
{
	struct batch_event event = { .act = hmm_area_invalidate };
	struct hmm_range_test *t = batch_map(test, 200);
	unsigned long stored;
	unsigned int i, at;
	int ret;

	for (i = 0; i < ARRAY_SIZE(batch_places); i++) {
		at = batch_places[i];
		KUNIT_EXPECT_EQ(test, at + 1, batch_meet(t, &event, at, REQ_READ, &ret));
		KUNIT_EXPECT_EQ_MSG(test, -EBUSY, ret, "at %u", at);
		stored = batch_count_stored(t, HMM_PFN_VALID);
		KUNIT_EXPECT_LE(test, stored, at);
		KUNIT_EXPECT_LT(test, at - stored, BATCH_MAX);
		batch_check_stored(test, t, stored, REQ_READ, at);
		KUNIT_EXPECT_EQ(test, 200 - at - 1, batch_count_empty(test, t));
	}
}

static void batch_kill(struct hmm_area *a)
{
	send_sig(SIGKILL, current, 1);
}

/* After a kill during a fault, the page of that fault is the last one. */
static void hmm_range_batch_ends_when_killed(struct kunit *test)
{
	struct batch_event event = { .act = batch_kill };
	struct hmm_range_test *t = batch_map(test, 200);
	unsigned int i, at, faults;
	int ret;

	for (i = 0; i < ARRAY_SIZE(batch_places); i++) {
		at = batch_places[i];
		allow_signal(SIGKILL);
		faults = batch_meet(t, &event, at, REQ_READ, &ret);
		flush_signals(current);
		disallow_signal(SIGKILL);
		KUNIT_EXPECT_EQ(test, at + 1, faults);
		/* After the last page nothing is left out. */
		KUNIT_EXPECT_EQ_MSG(test, at == 199 ? 0 : -EINTR, ret, "at %u", at);
		batch_check_stored(test, t, at + 1, REQ_READ, at);
		KUNIT_EXPECT_EQ(test, 200 - at - 1, batch_count_empty(test, t));
	}
}

static struct kunit_case hmm_range_batch_cases[] = {
	KUNIT_CASE(hmm_range_batch_one_fault_per_page),
	KUNIT_CASE(hmm_range_batch_table_end),
	KUNIT_CASE(hmm_range_batch_ends_with_vma),
	KUNIT_CASE(hmm_range_batch_present_between),
	KUNIT_CASE(hmm_range_batch_requests),
	KUNIT_CASE(hmm_range_batch_one_write_request),
	KUNIT_CASE(hmm_range_batch_large_folios),
	KUNIT_CASE(hmm_range_batch_folios_grow),
	KUNIT_CASE(hmm_range_batch_ends_at_error),
	KUNIT_CASE(hmm_range_batch_ends_at_collision),
	KUNIT_CASE(hmm_range_batch_ends_when_killed),
	{}
};

static struct kunit_suite hmm_range_batch_suite = {
	.name = "hmm_range_batch",
	.init = batch_init,
	.exit = batch_exit,
	.test_cases = hmm_range_batch_cases,
};

kunit_test_suite(hmm_range_batch_suite);
