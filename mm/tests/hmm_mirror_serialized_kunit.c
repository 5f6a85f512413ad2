// SPDX-License-Identifier: GPL-2.0
/*
 * The slow path of hmm_mirror_fault(): after many collisions it serves one page with mmap_lock
 * held for writing, and so serialized with the threads that change the range.
 */
#include <linux/file.h>
#include <linux/mman.h>
#include <linux/pagemap.h>
#include <linux/shmem_fs.h>
#include <linux/swap.h>
#include <linux/swapops.h>

#include "hmm_mirror_path.h"
#include "hmm_range_states.h"

/* After the maximum of collisions the slow path serves one page; then chunks grow again. */
static void many_collisions_are_serialized(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_path_map(fake, HMM_FAULT_COLLISIONS_MAX, HMM_PATH_IS_INVALIDATED);
	struct hmm_mirror_stats before = hmm_fake_stats(fake);

	hmm_fake_fault_all(fake, addr, 14, HMM_FAULT_WRITE);
	KUNIT_EXPECT_EQ(test, HMM_FAULT_COLLISIONS_MAX,
			hmm_fake_stats(fake).collisions - before.collisions);
	/* 1 page on the slow path, then 1, 2, 4 and the remaining 6 pages */
	hmm_path_expect(fake, &before, 4, 0, 1);
}

/*
 * HMM_FAULT_MAY_WRITE makes a page writable on the slow path exactly if its mapping
 * permits that.
 */
static void serialized_may_write(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_path_map(fake, HMM_FAULT_COLLISIONS_MAX, HMM_PATH_IS_INVALIDATED);
	struct hmm_mirror_stats before = hmm_fake_stats(fake);

	KUNIT_EXPECT_EQ(test, 2, hmm_fake_fault(fake, addr, 2, HMM_FAULT_MAY_WRITE));
	KUNIT_EXPECT_EQ(test, 2, hmm_fake_writable(fake, addr, 2));
	KUNIT_EXPECT_EQ(test, 1, hmm_fake_stats(fake).slow_path - before.slow_path);
	KUNIT_ASSERT_EQ(test, 0, hmm_fake_protect(addr, 2 * PAGE_SIZE, PROT_READ));
	hmm_fake_invalidate(fake, MMU_NOTIFY_CLEAR, addr, AT(addr, 2));
	KUNIT_ASSERT_EQ(test, 0, do_madvise(current->mm, addr, 2 * PAGE_SIZE, MADV_DONTNEED));
	hmm_path_file.left = HMM_FAULT_COLLISIONS_MAX;
	KUNIT_EXPECT_EQ(test, 2, hmm_fake_fault(fake, addr, 2, HMM_FAULT_MAY_WRITE));
	KUNIT_EXPECT_EQ(test, 0, hmm_fake_writable(fake, addr, 2));
	KUNIT_EXPECT_EQ(test, 2, hmm_fake_stats(fake).slow_path - before.slow_path);
}

/*
 * On the slow path a fault retries after CPU faults that map nothing. It fails with
 * -EFAULT if no CPU fault ever maps the page.
 */
static void serialized_collides(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_path_map(fake, HMM_FAULT_COLLISIONS_MAX + 3,
					  HMM_PATH_IS_INVALIDATED);
	struct hmm_mirror_stats before = hmm_fake_stats(fake);

	hmm_fake_fault_all(fake, addr, 1, HMM_FAULT_WRITE);
	KUNIT_EXPECT_EQ(test, HMM_FAULT_COLLISIONS_MAX + 4, hmm_path_file.done);
	KUNIT_EXPECT_FALSE(test, hmm_path_file.vma_lock_only);
	KUNIT_EXPECT_FALSE(test, hmm_path_file.may_retry);
	KUNIT_EXPECT_FALSE(test, hmm_path_file.lets_vma_lock);
	KUNIT_EXPECT_EQ(test, HMM_FAULT_COLLISIONS_MAX + 3,
			hmm_fake_stats(fake).collisions - before.collisions);
	hmm_path_expect(fake, &before, 0, 0, 1);
	/* No CPU fault ever maps the page. */
	hmm_path_file.left = UINT_MAX;
	hmm_path_file.how = HMM_PATH_INVALIDATES_ITSELF;
	KUNIT_EXPECT_EQ(test, -EFAULT, hmm_fake_fault(fake, AT(addr, 1), 1, HMM_FAULT_READ));
	hmm_path_file.left = 0;
}

/* A fault that must wait on the slow path waits without the locks. */
static void serialized_waits_without_locks(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_path_map(fake, HMM_FAULT_COLLISIONS_MAX, HMM_PATH_IS_INVALIDATED);
	struct hmm_mirror_stats before = hmm_fake_stats(fake);

	hmm_path_file.then = HMM_PATH_WAITS;
	hmm_path_file.then_left = 1;
	hmm_fake_fault_all(fake, addr, 1, HMM_FAULT_WRITE);
	KUNIT_EXPECT_EQ(test, HMM_FAULT_COLLISIONS_MAX,
			hmm_fake_stats(fake).collisions - before.collisions);
	/* The usual path serves the page after the wait. */
	hmm_path_expect(fake, &before, 1, 0, 0);
}

/*
 * The slow path releases mmap_lock from time to time, however often the page is
 * invalidated.
 */
static void serialized_releases_mmap_lock(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_path_map(fake, HMM_FAULT_COLLISIONS_MAX + 10,
					   HMM_PATH_IS_INVALIDATED);

	hmm_fake_fault_all(fake, addr, 1, HMM_FAULT_WRITE);
	KUNIT_EXPECT_EQ(test, 2, hmm_path_file.locks);
}

/*
 * On the slow path a fault retries after CPU faults that invalidate the page themselves.
 * It fails with -EFAULT if they never stop.
 */
static void serialized_no_progress(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_path_map(fake, HMM_FAULT_COLLISIONS_MAX, HMM_PATH_IS_INVALIDATED);
	struct hmm_mirror_stats before = hmm_fake_stats(fake);

	hmm_path_file.then = HMM_PATH_INVALIDATES_ITSELF;
	hmm_path_file.then_left = 40;
	hmm_fake_fault_all(fake, addr, 1, HMM_FAULT_WRITE);
	KUNIT_EXPECT_EQ(test, HMM_FAULT_COLLISIONS_MAX,
			hmm_fake_stats(fake).collisions - before.collisions);
	hmm_path_expect(fake, &before, 0, 0, 1);
	/* The CPU faults never stop invalidating the page. */
	hmm_path_file.how = HMM_PATH_IS_INVALIDATED;
	hmm_path_file.left = HMM_FAULT_COLLISIONS_MAX;
	hmm_path_file.then = HMM_PATH_INVALIDATES_ITSELF;
	hmm_path_file.then_left = UINT_MAX;
	KUNIT_EXPECT_EQ(test, -EFAULT, hmm_fake_fault(fake, AT(addr, 1), 1, HMM_FAULT_READ));
	hmm_path_file.left = 0;
}

/* The slow path waits for an invalidation under way before it reads the page table. */
static void serialized_waits_for_active(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_path_map(fake, HMM_FAULT_COLLISIONS_MAX, HMM_PATH_IS_INVALIDATED);

	hmm_path_file.then = HMM_PATH_IS_INVALIDATED_LONG;
	hmm_path_file.then_left = 1;
	hmm_fake_fault_all(fake, addr, 1, HMM_FAULT_WRITE);
	flush_delayed_work(&hmm_path_long_end);
	KUNIT_EXPECT_EQ(test, HMM_FAULT_COLLISIONS_MAX + 2, hmm_path_file.done);
	KUNIT_EXPECT_FALSE(test, hmm_path_file.early);
}

/*
 * The slow path revokes the whole block that a page belongs to, and then mirrors the
 * page.
 */
static void serialized_block(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long huge = hmm_fake_map_huge(fake, 1), addr, page;
	struct hmm_mirror_stats before;

	hmm_test_write(test, huge);
	addr = hmm_path_map(fake, 0, HMM_PATH_IS_INVALIDATED);
	page = AT(addr, -1);
	hmm_fake_fault_all(fake, huge, SZ_1M >> PAGE_SHIFT, HMM_FAULT_READ);
	KUNIT_ASSERT_EQ(test, 8, hmm_pte_order(hmm_fake_entry(fake, page)));
	hmm_fake_invalidate(fake, MMU_NOTIFY_CLEAR, addr, addr + SZ_64K);
	hmm_fake_clear_log(fake);
	before = hmm_fake_stats(fake);

	hmm_path_file.left = HMM_FAULT_COLLISIONS_MAX;
	KUNIT_EXPECT_EQ(test, 2, hmm_fake_fault(fake, page, 2, HMM_FAULT_WRITE));
	hmm_fake_expect_one(fake, HMM_UPDATE_MIGRATE, huge, addr);
	KUNIT_EXPECT_EQ(test, 2, hmm_fake_valid(fake, huge, PTRS_PER_PTE));
	KUNIT_EXPECT_EQ(test, 0, hmm_pte_order(hmm_fake_entry(fake, page)));
	KUNIT_EXPECT_EQ(test, HMM_FAULT_COLLISIONS_MAX + 1,
			hmm_fake_stats(fake).collisions - before.collisions);
	hmm_path_expect(fake, &before, 1, 0, 1);
}

struct written {
	struct work_struct work;
	struct hmm_fake *fake;
	unsigned long page;
};

static void write_work(struct work_struct *work)
{
	struct written *w = container_of(work, struct written, work);

	hmm_fake_fault_all(w->fake, w->page, 1, HMM_FAULT_WRITE);
}

/*
 * A read fault on the slow path keeps the write access that another fault has just given.
 */
static void serialized_keeps_write_access(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	struct written w = { .fake = fake };
	struct hmm_fake_call *call;

	w.page = hmm_fake_map_small(fake, SZ_1M >> PAGE_SHIFT) + SZ_1M - PAGE_SIZE;
	hmm_test_write(test, w.page);
	hmm_path_map(fake, HMM_FAULT_COLLISIONS_MAX, HMM_PATH_IS_INVALIDATED);
	INIT_WORK_ONSTACK(&w.work, write_work);
	hmm_path_file.also = &w.work;
	call = hmm_fake_call(fake, w.page, 2, HMM_FAULT_READ);
	KUNIT_EXPECT_EQ(test, 2, hmm_fake_call_ends(call));
	destroy_work_on_stack(&w.work);
	KUNIT_EXPECT_EQ(test, 1, hmm_fake_writable(fake, w.page, 2));
	KUNIT_EXPECT_EQ(test, 1, hmm_fake_stats(fake).slow_path);
}

/*
 * A write fault to device memory that the CPU may not write, and that the driver leaves
 * so, fails with -EFAULT on the slow path, too.
 */
static void serialized_device_declines_write(struct kunit *test)
{
	struct hmm_test_device *dev = hmm_test_device(test, MEMORY_DEVICE_PRIVATE, PMD_SIZE);
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long page = hmm_fake_map_small(fake, SZ_1M >> PAGE_SHIFT) + SZ_1M - PAGE_SIZE;
	struct hmm_area a = { .test = test, .state = hmm_states, .addr = page };
	swp_entry_t swp = make_readable_device_private_entry(page_to_pfn(dev->page));
	unsigned long addr = hmm_path_map(fake, HMM_FAULT_COLLISIONS_MAX, HMM_PATH_IS_INVALIDATED);

	hmm_fake_set_owner(fake, dev);
	hmm_area_put(&a, hmm_area_entry(&a, 0), pte_val(swp_entry_to_pte(swp)));
	KUNIT_EXPECT_EQ(test, -EFAULT, hmm_fake_fault(fake, page, 2, HMM_FAULT_WRITE));
	KUNIT_EXPECT_EQ(test, 0, hmm_path_file.left);
	KUNIT_EXPECT_EQ(test, 0, hmm_fake_valid(fake, page, 1));
	/* The device may read it. */
	KUNIT_ASSERT_EQ(test, 0, do_madvise(current->mm, addr, SZ_64K, MADV_DONTNEED));
	hmm_path_file.left = HMM_FAULT_COLLISIONS_MAX;
	KUNIT_EXPECT_EQ(test, 2, hmm_fake_fault(fake, page, 2, HMM_FAULT_READ));
	KUNIT_EXPECT_TRUE(test, hmm_pte_device(hmm_fake_entry(fake, page)));
	hmm_area_restore(&a);
	hmm_fake_invalidate(fake, MMU_NOTIFY_CLEAR, page, AT(page, 1));
}

/*
 * On the slow path, too, a fault ends at a page that cannot be exclusive, and does not
 * wait.
 */
static void serialized_ends_at_non_exclusive(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long page = hmm_fake_map_small(fake, SZ_1M >> PAGE_SHIFT) + SZ_1M - PAGE_SIZE;
	unsigned long addr = hmm_path_map(fake, HMM_FAULT_COLLISIONS_MAX + 2,
					   HMM_PATH_IS_INVALIDATED);
	struct hmm_mirror_stats before;

	before = hmm_fake_stats(fake);
	KUNIT_EXPECT_EQ(test, 1, hmm_fake_fault(fake, page, 2, HMM_FAULT_EXCLUSIVE));
	KUNIT_EXPECT_EQ(test, 1, hmm_fake_count(fake, page, 2, HMM_PTE_EXCLUSIVE));
	KUNIT_EXPECT_EQ(test, 0, hmm_path_file.left);
	hmm_path_expect(fake, &before, 1, 0, 0);

	/* A page that the device has lost is faulted in like any other page. */
	KUNIT_ASSERT_EQ(test, 0, do_madvise(current->mm, addr, SZ_64K, MADV_DONTNEED));
	KUNIT_ASSERT_EQ(test, 0, hmm_mirror_zap(&fake->mirror, page, addr));
	hmm_path_file.left = HMM_FAULT_COLLISIONS_MAX;
	hmm_path_file.from = page;
	KUNIT_EXPECT_EQ(test, 2, hmm_fake_fault(fake, page, 2, HMM_FAULT_READ));
	KUNIT_EXPECT_EQ(test, 0, hmm_fake_count(fake, page, 2, HMM_PTE_EXCLUSIVE));
	hmm_path_expect(fake, &before, 2, 0, 1);
}

/* Either invalidate the page without a change, or truncate the file, without a lock. */
static void invalidate_unlocked(struct hmm_fake *fake, unsigned long page, struct file *file)
{
	struct mmu_notifier_range range;

	hmm_fake_range(fake, &range, MMU_NOTIFY_CLEAR, page, page + PAGE_SIZE);
	mmu_notifier_invalidate_range_start(&range);
	mmu_notifier_invalidate_range_end(&range);
}

static void truncate_unlocked(struct hmm_fake *fake, unsigned long page, struct file *file)
{
	unmap_mapping_range(file->f_mapping, 0, 0, 1);
}

/*
 * While another thread holds the folio lock, the slow path waits, and reads the page
 * table again afterwards.
 */
static void waits_for_folio(struct kunit *test,
			    void (*meanwhile)(struct hmm_fake *fake, unsigned long page,
					      struct file *file))
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	struct file *file = shmem_file_setup("hmm_mirror_serialized", PAGE_SIZE, VM_NORESERVE);
	struct hmm_mirror_stats before;
	struct hmm_fake_call *call;
	struct page *seen = NULL;
	struct folio *folio;
	unsigned long page;
	int refs;

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, file);
	page = hmm_fake_map_file(fake, HMM_PATH_OFFSET - PAGE_SIZE, PAGE_SIZE, file, MAP_SHARED);
	hmm_test_write(test, page);
	hmm_path_map(fake, HMM_FAULT_COLLISIONS_MAX, HMM_PATH_IS_INVALIDATED);
	before = hmm_fake_stats(fake);
	folio = filemap_lock_folio(file->f_mapping, 0);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, folio);
	/* Drain references that other threads could drop meanwhile. */
	lru_add_drain_all();
	refs = folio_ref_count(folio);
	call = hmm_fake_call(fake, page, 2, HMM_FAULT_READ);
	KUNIT_EXPECT_TRUE(test, hmm_fake_call_blocks(call));
	meanwhile(fake, page, file);
	folio_unlock(folio);
	KUNIT_EXPECT_EQ(test, 2, hmm_fake_call_ends(call));
	lru_add_drain_all();
	KUNIT_EXPECT_EQ(test, refs, folio_ref_count(folio));
	folio_put(folio);

	/*
	 * The fault read the page table after the wait, so that the invalidation is no
	 * collision.
	 */
	KUNIT_EXPECT_EQ(test, HMM_FAULT_COLLISIONS_MAX,
			hmm_fake_stats(fake).collisions - before.collisions);
	hmm_path_expect(fake, &before, 1, 0, 1);
	KUNIT_EXPECT_TRUE(test, get_user_page_fast_only(page, 0, &seen));
	KUNIT_EXPECT_PTR_EQ(test, seen, hmm_pte_page(hmm_fake_entry(fake, page)));
	if (seen)
		put_page(seen);
	fput(file);
}

/* The slow path waits for the folio lock while the page is invalidated. */
static void serialized_waits_for_invalidated_folio(struct kunit *test)
{
	waits_for_folio(test, invalidate_unlocked);
}

/* The slow path waits for the folio lock while the page is truncated. */
static void serialized_waits_for_truncated_folio(struct kunit *test)
{
	waits_for_folio(test, truncate_unlocked);
}

/*
 * vm_normal_page() asks the VMA for a special page. The handler invalidates, so that a
 * walk without any CPU fault collides, too.
 */
static unsigned int special_left;

static struct page *special_page(struct vm_area_struct *vma, unsigned long addr)
{
	struct mmu_notifier_range range;

	if (!special_left)
		return NULL;
	special_left--;
	mmu_notifier_range_init(&range, MMU_NOTIFY_CLEAR, 0, vma->vm_mm, addr,
				addr + PAGE_SIZE);
	if (!mmu_notifier_invalidate_range_start_nonblock(&range))
		mmu_notifier_invalidate_range_end(&range);
	return NULL;
}

static void set_vm_ops(unsigned long addr, const struct vm_operations_struct *ops)
{
	struct vm_area_struct *vma;

	mmap_write_lock(current->mm);
	vma = vma_lookup(current->mm, addr);
	vma_start_write(vma);
	vma->vm_ops = ops;
	mmap_write_unlock(current->mm);
}

/*
 * HMM_FAULT_PRESENT on the slow path skips holes and empty pages, mirrors present pages,
 * and faults nothing in.
 */
static void serialized_present(struct kunit *test)
{
	static const struct vm_operations_struct ops = { .find_special_page = special_page };
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 4), first;
	struct hmm_area a = { .test = test, .state = hmm_states, .addr = AT(addr, 3) };
	struct hmm_mirror_stats before;

	KUNIT_ASSERT_EQ(test, 0, vm_munmap(addr, PAGE_SIZE));
	/* The CPU has read-only access, so the device can have no more. */
	hmm_test_read(test, AT(addr, 2));
	hmm_area_put(&a, hmm_area_entry(&a, 0), hmm_area_special(0, 1, PAGE_SHARED));
	set_vm_ops(AT(addr, 3), &ops);
	/* This maps nothing, but creates the window. */
	KUNIT_EXPECT_EQ(test, 0, hmm_fake_fault(fake, AT(addr, 1), 1,
						HMM_FAULT_PRESENT | HMM_FAULT_WRITE));
	hmm_fake_stop_gc(&fake->mirror);
	for (first = 0; first < 3; first++) {
		before = hmm_fake_stats(fake);
		special_left = HMM_FAULT_COLLISIONS_MAX;
		KUNIT_EXPECT_EQ(test, 1, hmm_fake_fault(fake, AT(addr, first), 4 - first,
							HMM_FAULT_PRESENT | HMM_FAULT_WRITE));
		KUNIT_EXPECT_EQ(test, HMM_FAULT_COLLISIONS_MAX,
				hmm_fake_stats(fake).collisions - before.collisions);
		KUNIT_EXPECT_EQ(test, 1, hmm_fake_valid(fake, addr, 4));
	}
	/* The present page was the one that the slow path served. */
	KUNIT_EXPECT_EQ(test, 1, hmm_fake_stats(fake).slow_path - before.slow_path);
	set_vm_ops(AT(addr, 3), NULL);
	hmm_area_restore(&a);
	hmm_fake_invalidate(fake, MMU_NOTIFY_CLEAR, addr, AT(addr, 4));
}

static void take_work(struct work_struct *work)
{
	struct written *w = container_of(work, struct written, work);

	hmm_fake_fault_all(w->fake, w->page, 1, HMM_FAULT_EXCLUSIVE);
}

/* The slow path keeps a page exclusive that another fault has just made exclusive. */
static void serialized_keeps_exclusive(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_path_map(fake, 0, HMM_PATH_IS_INVALIDATED);
	struct written w = { .fake = fake, .page = addr };
	struct hmm_mirror_stats before;
	struct hmm_fake_call *call;

	hmm_fake_map(fake, HMM_PATH_OFFSET, PAGE_SIZE);
	hmm_test_write(test, addr);
	before = hmm_fake_stats(fake);
	hmm_path_file.left = HMM_FAULT_COLLISIONS_MAX;
	INIT_WORK_ONSTACK(&w.work, take_work);
	hmm_path_file.also = &w.work;
	call = hmm_fake_call(fake, addr, 2, HMM_FAULT_READ);
	KUNIT_EXPECT_EQ(test, 2, hmm_fake_call_ends(call));
	destroy_work_on_stack(&w.work);
	/* The fault that made the page exclusive counts as one chunk. */
	hmm_path_expect(fake, &before, 2, 0, 1);
	KUNIT_EXPECT_EQ(test, 1, hmm_fake_count(fake, addr, 1, HMM_PTE_EXCLUSIVE));
}

/* The slow path works if the device has mirrored the range before. */
static void serialized_mirrored_before(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_path_map(fake, 0, HMM_PATH_IS_INVALIDATED);
	struct hmm_mirror_stats before;

	hmm_fake_fault_all(fake, addr, 8, HMM_FAULT_READ);
	before = hmm_fake_stats(fake);
	KUNIT_ASSERT_EQ(test, 0, do_madvise(current->mm, addr, PAGE_SIZE, MADV_DONTNEED));
	hmm_path_file.left = HMM_FAULT_COLLISIONS_MAX;
	KUNIT_EXPECT_EQ(test, 8, hmm_fake_fault(fake, addr, 8, HMM_FAULT_WRITE));
	KUNIT_EXPECT_EQ(test, 8, hmm_fake_writable(fake, addr, 8));
	KUNIT_EXPECT_EQ(test, 1, hmm_fake_stats(fake).slow_path - before.slow_path);
}

static struct kunit_case hmm_mirror_serialized_cases[] = {
	KUNIT_CASE(many_collisions_are_serialized),
	KUNIT_CASE(serialized_may_write),
	KUNIT_CASE(serialized_collides),
	KUNIT_CASE(serialized_waits_without_locks),
	KUNIT_CASE(serialized_releases_mmap_lock),
	KUNIT_CASE(serialized_no_progress),
	KUNIT_CASE(serialized_waits_for_active),
	KUNIT_CASE(serialized_block),
	KUNIT_CASE(serialized_keeps_write_access),
	KUNIT_CASE(serialized_device_declines_write),
	KUNIT_CASE(serialized_ends_at_non_exclusive),
	KUNIT_CASE(serialized_waits_for_invalidated_folio),
	KUNIT_CASE(serialized_waits_for_truncated_folio),
	KUNIT_CASE(serialized_present),
	KUNIT_CASE(serialized_keeps_exclusive),
	KUNIT_CASE(serialized_mirrored_before),
	{}
};

static struct kunit_suite hmm_mirror_serialized_suite = {
	.name = "hmm_mirror_serialized",
	.test_cases = hmm_mirror_serialized_cases,
};

kunit_test_suite(hmm_mirror_serialized_suite);
