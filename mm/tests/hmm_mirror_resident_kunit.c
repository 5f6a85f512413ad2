// SPDX-License-Identifier: GPL-2.0
/* CPU faults with mmap_lock held for writing must neither start I/O nor wait for I/O. */
#include <linux/kthread.h>
#include <linux/mman.h>
#include <linux/pagemap.h>
#include <linux/rmap.h>
#include <linux/sched/mm.h>
#include <linux/shmem_fs.h>
#include <linux/swap.h>
#include <linux/swapops.h>

#include "../internal.h"
#include "hmm_mirror_test.h"
#include "hmm_range_states.h"

#define RESIDENT_PAGES		8

/**
 * struct resident_file - a file whose pages this test reads
 * @file: a shmem file with other operations
 * @a_ops: the operations of shmem
 * @reads: number of pages read
 * @locked: number of pages read while mmap_lock was held for writing
 */
struct resident_file {
	struct file *file;
	const struct address_space_operations *a_ops;
	unsigned int reads;
	unsigned int locked;
};

static struct resident_file resident;

static int resident_read_folio(struct file *file, struct folio *folio)
{
	struct mm_struct *mm = current->mm;

	resident.reads++;
	if (mmap_read_trylock(mm))
		mmap_read_unlock(mm);
	else
		resident.locked++;
	folio_zero_range(folio, 0, folio_size(folio));
	folio_mark_uptodate(folio);
	/* A batch of new pages holds references, too. */
	lru_add_drain();
	folio_unlock(folio);
	return 0;
}

static const struct address_space_operations resident_aops = {
	.read_folio = resident_read_folio,
	.dirty_folio = noop_dirty_folio,
};

static vm_fault_t resident_mkwrite(struct vm_fault *vmf)
{
	return 0;
}

/* Like a file system, with and without a handler for writes to shared mappings */
static const struct vm_operations_struct resident_ops = {
	.fault = filemap_fault,
	.map_pages = filemap_map_pages,
};

static const struct vm_operations_struct resident_mkwrite_ops = {
	.fault = filemap_fault,
	.map_pages = filemap_map_pages,
	.page_mkwrite = resident_mkwrite,
};

static void resident_put(void *unused)
{
	struct address_space *mapping = resident.file->f_mapping;

	truncate_inode_pages(mapping, 0);
	mapping->a_ops = resident.a_ops;
	fput(resident.file);
}

static void resident_set_ops(unsigned long addr, const struct vm_operations_struct *ops)
{
	struct vm_area_struct *vma;

	mmap_write_lock(current->mm);
	vma = vma_lookup(current->mm, addr);
	vma->vm_ops = ops;
	/* With page_mkwrite, pages are mapped read-only at first. */
	vma_set_page_prot(vma);
	mmap_write_unlock(current->mm);
}

static unsigned long resident_map(struct hmm_fake *fake, unsigned long flags,
				  const struct vm_operations_struct *ops)
{
	struct kunit *test = fake->test;
	unsigned long addr;

	addr = hmm_fake_map_file(fake, SZ_512M, RESIDENT_PAGES * PAGE_SIZE, resident.file,
				 flags);
	resident_set_ops(addr, ops);
	KUNIT_ASSERT_EQ(test, 0, do_madvise(current->mm, addr, RESIDENT_PAGES * PAGE_SIZE,
					    MADV_RANDOM));
	return addr;
}

static unsigned long resident_new(struct hmm_fake *fake, unsigned long flags,
				  const struct vm_operations_struct *ops)
{
	struct kunit *test = fake->test;
	struct file *file = shmem_file_setup("hmm_mirror_resident",
					     RESIDENT_PAGES * PAGE_SIZE, VM_NORESERVE);

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, file);
	resident = (struct resident_file){ .file = file, .a_ops = file->f_mapping->a_ops };
	file->f_mapping->a_ops = &resident_aops;
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, resident_put, NULL));
	return resident_map(fake, flags, ops);
}

static void resident_drop(unsigned long addr)
{
	do_madvise(current->mm, addr, RESIDENT_PAGES * PAGE_SIZE, MADV_DONTNEED);
	truncate_inode_pages(resident.file->f_mapping, 0);
}

/* The walk of the slow path, for one page */
static int fault_locked(struct hmm_fake *fake, unsigned long addr, bool write)
{
	unsigned long pfn = HMM_PFN_REQ_FAULT | (write ? HMM_PFN_REQ_WRITE : 0);
	struct hmm_range range = {
		.mirror = &fake->mirror,
		.start = addr,
		.end = addr + PAGE_SIZE,
		.hmm_pfns = &pfn,
		.pfn_flags_mask = HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE,
	};
	int ret = hmm_range_begin(&range);

	KUNIT_ASSERT_EQ(fake->test, 0, ret);
	mmap_write_lock(current->mm);
	ret = hmm_walk_entries_nowait(&range);
	mmap_write_unlock(current->mm);
	hmm_range_end(&range);
	return ret;
}

/* The slow path does not read a file page that a fault would read synchronously. */
static void does_not_read_file(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = resident_new(fake, MAP_SHARED, &resident_ops);

	KUNIT_EXPECT_EQ(test, -EAGAIN, fault_locked(fake, addr, false));
	KUNIT_EXPECT_EQ(test, -EAGAIN, fault_locked(fake, addr, true));
	KUNIT_EXPECT_EQ(test, 0, resident.reads);
	/*
	 * The usual path reads the page, with no lock held. Then the slow path needs
	 * memory only.
	 */
	hmm_fake_fault_all(fake, addr, 1, HMM_FAULT_READ);
	KUNIT_EXPECT_EQ(test, 1, resident.reads);
	do_madvise(current->mm, addr, PAGE_SIZE, MADV_DONTNEED);
	KUNIT_EXPECT_EQ(test, 0, fault_locked(fake, addr, false));
	KUNIT_EXPECT_EQ(test, 0, fault_locked(fake, addr, true));
	KUNIT_EXPECT_EQ(test, 1, resident.reads);
	KUNIT_EXPECT_EQ(test, 0, resident.locked);
	resident_drop(addr);
}

/* The slow path does not start read-ahead for a marked page, if read-ahead is enabled. */
static void does_not_start_readahead(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = resident_new(fake, MAP_SHARED, &resident_ops);
	struct folio *folio;

	hmm_fake_fault_all(fake, addr, 1, HMM_FAULT_READ);
	folio = filemap_get_folio(resident.file->f_mapping, 0);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, folio);
	folio_set_readahead(folio);
	do_madvise(current->mm, addr, PAGE_SIZE, MADV_DONTNEED);
	KUNIT_EXPECT_EQ(test, 0, fault_locked(fake, addr, false));
	do_madvise(current->mm, addr, PAGE_SIZE, MADV_DONTNEED);
	do_madvise(current->mm, addr, RESIDENT_PAGES * PAGE_SIZE, MADV_NORMAL);
	resident.file->f_ra.ra_pages = 4;
	KUNIT_EXPECT_EQ(test, -EAGAIN, fault_locked(fake, addr, false));
	resident.file->f_ra.ra_pages = 0;
	KUNIT_EXPECT_EQ(test, 0, fault_locked(fake, addr, false));
	folio_clear_readahead(folio);
	/* A locked folio may be under I/O. */
	do_madvise(current->mm, addr, PAGE_SIZE, MADV_DONTNEED);
	folio_lock(folio);
	KUNIT_EXPECT_EQ(test, -EAGAIN, fault_locked(fake, addr, false));
	folio_unlock(folio);
	folio_put(folio);
	resident_drop(addr);
}

/* The slow path does not call page_mkwrite, which only shared mappings need. */
static void does_not_call_mkwrite(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = resident_new(fake, MAP_SHARED, &resident_mkwrite_ops);

	hmm_fake_fault_all(fake, addr, 1, HMM_FAULT_READ);
	KUNIT_EXPECT_EQ(test, -EAGAIN, fault_locked(fake, addr, true));
	KUNIT_EXPECT_EQ(test, 0, fault_locked(fake, addr, false));
	do_madvise(current->mm, addr, PAGE_SIZE, MADV_DONTNEED);
	KUNIT_EXPECT_EQ(test, -EAGAIN, fault_locked(fake, addr, true));
	hmm_fake_fault_all(fake, addr, 1, HMM_FAULT_WRITE);
	KUNIT_EXPECT_EQ(test, 0, fault_locked(fake, addr, true));
	addr = resident_map(fake, MAP_PRIVATE, &resident_mkwrite_ops);
	KUNIT_EXPECT_EQ(test, 0, fault_locked(fake, addr, true));
	KUNIT_EXPECT_EQ(test, 0, fault_locked(fake, addr, true));
	KUNIT_EXPECT_EQ(test, 1, resident.reads);
	resident_drop(addr);
}

/* The slow path does not wait for the migration of a file page, which may need I/O. */
static void does_not_wait_for_migration(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = resident_new(fake, MAP_SHARED, &resident_ops);
	struct hmm_area a = { .test = test, .state = hmm_states, .addr = addr };
	struct folio *folio;
	swp_entry_t swp;

	hmm_fake_fault_all(fake, addr, 1, HMM_FAULT_READ);
	folio = filemap_lock_folio(resident.file->f_mapping, 0);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, folio);
	swp = make_readable_migration_entry(folio_pfn(folio));
	hmm_area_put(&a, hmm_area_entry(&a, 0), pte_val(swp_entry_to_pte(swp)));
	KUNIT_EXPECT_EQ(test, -EAGAIN, fault_locked(fake, addr, false));
	hmm_area_restore(&a);
	folio_unlock(folio);
	folio_put(folio);
	hmm_fake_invalidate(fake, MMU_NOTIFY_CLEAR, addr, AT(addr, 1));
	KUNIT_EXPECT_EQ(test, 0, fault_locked(fake, addr, false));
	resident_drop(addr);
}

/* A fault handler that HMM has no information about */
static vm_fault_t unknown_fault(struct vm_fault *vmf)
{
	resident.reads++;
	return filemap_fault(vmf);
}

/* The slow path does not call an unknown fault handler. */
static void does_not_call_unknown_handler(struct kunit *test)
{
	static const struct vm_operations_struct ops = { .fault = unknown_fault };
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = resident_new(fake, MAP_SHARED, &ops);

	KUNIT_EXPECT_EQ(test, -EAGAIN, fault_locked(fake, addr, false));
	KUNIT_EXPECT_EQ(test, 0, resident.reads);
	hmm_fake_fault_all(fake, addr, 1, HMM_FAULT_READ);
	/*
	 * The same if the page is in the page cache, because the handler may do anything.
	 */
	do_madvise(current->mm, addr, PAGE_SIZE, MADV_DONTNEED);
	KUNIT_EXPECT_EQ(test, -EAGAIN, fault_locked(fake, addr, false));
	resident_drop(addr);
}

static struct page *special_page;

static vm_fault_t special_fault(const struct vm_special_mapping *sm, struct vm_area_struct *vma,
				struct vm_fault *vmf)
{
	get_page(special_page);
	vmf->page = special_page;
	return 0;
}

/* The slow path leaves the faults of a special mapping, which has no file, to the fast path. */
static void does_not_call_special_mapping(struct kunit *test)
{
	static const struct vm_special_mapping special = {
		.name = "[hmm]",
		.fault = special_fault,
	};
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	struct vm_area_struct *vma;
	unsigned long addr;

	special_page = alloc_page(GFP_KERNEL | __GFP_ZERO);
	KUNIT_ASSERT_NOT_NULL(test, special_page);
	mmap_write_lock(current->mm);
	addr = get_unmapped_area(NULL, 0, PAGE_SIZE, 0, 0);
	vma = _install_special_mapping(current->mm, addr, PAGE_SIZE, VM_READ | VM_MAYREAD,
				       &special);
	mmap_write_unlock(current->mm);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, vma);

	KUNIT_EXPECT_EQ(test, -EAGAIN, fault_locked(fake, addr, false));
	hmm_fake_fault_all(fake, addr, 1, HMM_FAULT_READ);
	KUNIT_EXPECT_EQ(test, 0, fault_locked(fake, addr, false));
	vm_munmap(addr, PAGE_SIZE);
	put_page(special_page);
}

/* The slow path serves faults that need memory only. */
static void serves_faults_without_io(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 4);
	struct file *file = shmem_file_setup("hmm_mirror", PAGE_SIZE, VM_NORESERVE);

	KUNIT_EXPECT_EQ(test, 0, fault_locked(fake, addr, false));
	KUNIT_EXPECT_EQ(test, 0, fault_locked(fake, addr, true));
	KUNIT_EXPECT_EQ(test, 0, fault_locked(fake, AT(addr, 1), true));
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, file);
	addr = hmm_fake_map_file(fake, SZ_256M, PAGE_SIZE, file, MAP_SHARED);
	fput(file);
	KUNIT_EXPECT_EQ(test, 0, fault_locked(fake, addr, false));
	do_madvise(current->mm, addr, PAGE_SIZE, MADV_DONTNEED);
	KUNIT_EXPECT_EQ(test, 0, fault_locked(fake, addr, true));
	file = hmm_fake_hugetlb(test, PMD_SIZE, PMD_ORDER);
	addr = hmm_fake_map_file(fake, SZ_128M, PMD_SIZE, file, MAP_SHARED);
	fput(file);
	KUNIT_EXPECT_EQ(test, 0, fault_locked(fake, addr, true));
	addr = hmm_fake_map(fake, SZ_512M, PMD_SIZE);
	KUNIT_EXPECT_EQ(test, 0, fault_locked(fake, addr, true));
}

/* Like reclaim, free all pages that have no extra reference. */
static void reclaim(struct address_space *mapping)
{
	unsigned long i;

	for (i = 0; i < RESIDENT_PAGES; i++) {
		struct folio *folio = filemap_lock_folio(mapping, i);

		if (IS_ERR(folio))
			continue;
		try_to_unmap(folio, 0);
		folio_unlock(folio);
		folio_put(folio);
	}
	invalidate_mapping_pages(mapping, 0, -1);
}

/*
 * Reclaim between the check for residency and the fault, which calls this first and must
 * not sleep.
 */
static vm_fault_t reclaim_around(struct vm_fault *vmf, pgoff_t first, pgoff_t last)
{
	struct address_space *mapping = vmf->vma->vm_file->f_mapping;
	struct folio *folio;

	if (!(vmf->flags & FAULT_FLAG_RETRY_NOWAIT))
		return 0;
	folio = filemap_get_folio(mapping, vmf->pgoff);
	if (IS_ERR(folio))
		return 0;
	if (folio_trylock(folio)) {
		mapping_evict_folio(mapping, folio);
		folio_unlock(folio);
	}
	folio_put(folio);
	return 0;
}

/* The slow path keeps a resident page from reclaim until its CPU fault. */
static void page_kept_for_fault(struct kunit *test)
{
	static const struct vm_operations_struct ops = {
		.fault = filemap_fault,
		.map_pages = reclaim_around,
	};
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = resident_new(fake, MAP_SHARED, &ops);

	hmm_fake_fault_all(fake, addr, 1, HMM_FAULT_READ);
	do_madvise(current->mm, addr, PAGE_SIZE, MADV_DONTNEED);
	/* Batches hold references, too. */
	lru_add_drain_all();
	KUNIT_EXPECT_EQ(test, 0, fault_locked(fake, addr, false));
	KUNIT_EXPECT_EQ(test, 1, resident.reads);
	KUNIT_EXPECT_EQ(test, 0, resident.locked);
	resident_drop(addr);
}

/*
 * A fault of two pages, whose second page collides repeatedly. The first page is
 * reclaimed while the fault waits for mmap_lock to enter the slow path for that page.
 */
static struct {
	struct mmu_notifier_range range;
	struct work_struct collide, reclaim;
	struct completion locked;
	unsigned int left;
} waiting;

static void waiting_collide(struct work_struct *work)
{
	mmu_notifier_invalidate_range_start(&waiting.range);
	mmu_notifier_invalidate_range_end(&waiting.range);
}

static void waiting_reclaim(struct work_struct *work)
{
	struct mm_struct *mm = waiting.range.mm;

	mmap_read_lock(mm);
	complete(&waiting.locked);
	while (!rwsem_is_contended(&mm->mmap_lock))
		schedule_timeout_idle(1);
	reclaim(resident.file->f_mapping);
	mmap_read_unlock(mm);
}

static vm_fault_t waiting_fault(struct vm_fault *vmf)
{
	if (!waiting.left)
		return filemap_fault(vmf);
	schedule_work(&waiting.collide);
	flush_work(&waiting.collide);
	if (!--waiting.left) {
		schedule_work(&waiting.reclaim);
		wait_for_completion(&waiting.locked);
	}
	return VM_FAULT_NOPAGE;
}

/*
 * The usual path reads the reclaimed page once, and keeps it until the slow path mirrors
 * it.
 */
static void page_kept_until_mirrored(struct kunit *test)
{
	static const struct vm_operations_struct ops = { .fault = waiting_fault };
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = AT(resident_new(fake, MAP_SHARED, &resident_ops),
				RESIDENT_PAGES - 1);
	struct hmm_mirror_stats before;

	hmm_fake_map_file(fake, SZ_512M + RESIDENT_PAGES * PAGE_SIZE, PAGE_SIZE,
			  resident.file, MAP_SHARED);
	resident_set_ops(AT(addr, 1), &ops);
	/* Create the window. */
	hmm_fake_fault_all(fake, AT(addr, -1), 1, HMM_FAULT_READ);
	resident.reads = 0;
	before = hmm_fake_stats(fake);
	mmu_notifier_range_init(&waiting.range, MMU_NOTIFY_CLEAR, 0, current->mm, addr,
				AT(addr, 2));
	INIT_WORK(&waiting.collide, waiting_collide);
	INIT_WORK(&waiting.reclaim, waiting_reclaim);
	init_completion(&waiting.locked);
	waiting.left = HMM_FAULT_COLLISIONS_MAX;
	KUNIT_EXPECT_EQ(test, 2, hmm_fake_fault(fake, addr, 2, HMM_FAULT_READ));
	flush_work(&waiting.reclaim);
	KUNIT_EXPECT_EQ(test, 1, hmm_fake_stats(fake).slow_path - before.slow_path);
	/* The first page once, and the second page */
	KUNIT_EXPECT_EQ(test, 2, resident.reads);
	KUNIT_EXPECT_EQ(test, 0, resident.locked);
	resident_drop(addr);
}

static int reclaim_thread(void *arg)
{
	while (!kthread_should_stop()) {
		reclaim(arg);
		cond_resched();
	}
	return 0;
}

static void stop_reclaim(void *arg)
{
	kthread_stop(arg);
}

/*
 * A fault of a page that is reclaimed repeatedly ends with a bounded number of
 * collisions.
 */
static void faults_end_during_reclaim(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = resident_new(fake, MAP_SHARED, &resident_ops);
	ktime_t end = ktime_add_ms(ktime_get(), MSEC_PER_SEC);
	struct task_struct *task;
	unsigned long i, before, worst = 0;

	hmm_fake_fault_all(fake, addr, RESIDENT_PAGES, HMM_FAULT_READ);
	task = kthread_run(reclaim_thread, resident.file->f_mapping, "hmm_reclaim");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, task);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, stop_reclaim, task));
	for (i = 0; i < 100 || ktime_before(ktime_get(), end); i++) {
		before = hmm_fake_stats(fake).collisions;
		KUNIT_ASSERT_EQ(test, 1, hmm_fake_fault(fake, AT(addr, i % RESIDENT_PAGES), 1,
							HMM_FAULT_READ));
		worst = max(worst, hmm_fake_stats(fake).collisions - before);
	}
	kunit_release_action(test, stop_reclaim, task);
	kunit_info(test, "%lu faults, %u reads, %lu collisions, %lu at most, progress %lu", i,
		   resident.reads, hmm_fake_stats(fake).collisions, worst,
		   hmm_fake_stats(fake).slow_path);
	KUNIT_EXPECT_GT(test, resident.reads, RESIDENT_PAGES);
	/*
	 * If the page is reclaimed before the fault has a reference, it is read once
	 * more.
	 */
	KUNIT_EXPECT_LE(test, worst, 4 * HMM_FAULT_COLLISIONS_MAX);
	KUNIT_EXPECT_EQ(test, 0, resident.locked);
	resident_drop(addr);
}

static struct kunit_case hmm_mirror_resident_cases[] = {
	KUNIT_CASE(does_not_read_file),
	KUNIT_CASE(does_not_start_readahead),
	KUNIT_CASE(does_not_call_mkwrite),
	KUNIT_CASE(does_not_wait_for_migration),
	KUNIT_CASE(does_not_call_unknown_handler),
	KUNIT_CASE(does_not_call_special_mapping),
	KUNIT_CASE(serves_faults_without_io),
	KUNIT_CASE(page_kept_for_fault),
	KUNIT_CASE(page_kept_until_mirrored),
	KUNIT_CASE(faults_end_during_reclaim),
	{}
};

static struct kunit_suite hmm_mirror_resident_suite = {
	.name = "hmm_mirror_resident",
	.test_cases = hmm_mirror_resident_cases,
};

kunit_test_suite(hmm_mirror_resident_suite);
