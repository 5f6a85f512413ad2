// SPDX-License-Identifier: GPL-2.0
/*
 * Device-exclusive entries keep the mapcount of their page, so that code that finds a
 * page through the rmap handles them, and fork() does not need the folio lock.
 *
 * The suite devmem (hmm-exclusive-tests) tests swap-out and memory_failure().
 */
#include <linux/memcontrol.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/pagemap.h>
#include <linux/rmap.h>
#include <linux/swap.h>
#include <linux/swapops.h>

#include <asm/unistd.h>

#include "../internal.h"
#include "hmm_mirror_test.h"

#define AT(addr, page)	((addr) + (page) * PAGE_SIZE)

static int get_pte(pte_t *ptep, unsigned long addr, void *pte)
{
	*(pte_t *)pte = ptep_get(ptep);
	return 0;
}

static pte_t pte_of(unsigned long addr)
{
	pte_t pte = __pte(0);

	apply_to_existing_page_range(current->mm, addr, PAGE_SIZE, get_pte, &pte);
	return pte;
}

static bool is_exclusive(unsigned long addr)
{
	pte_t pte = pte_of(addr);

	return is_swap_pte(pte) && is_device_exclusive_entry(pte_to_swp_entry(pte));
}

static s64 anon_rss(void)
{
	return percpu_counter_sum(&current->mm->rss_stat[MM_ANONPAGES]);
}

/*
 * Make pages exclusive, and write to the first as the device. Return its folio,
 * referenced.
 */
static struct folio *take(struct hmm_fake *fake, unsigned long addr, unsigned long npages)
{
	struct page *page;
	unsigned long i;

	KUNIT_ASSERT_EQ(fake->test, npages,
			hmm_fake_fault(fake, addr, npages, HMM_FAULT_EXCLUSIVE));
	for (i = 0; i < npages; i++)
		KUNIT_ASSERT_TRUE(fake->test, is_exclusive(AT(addr, i)));
	page = hmm_pte_page(hmm_fake_entry(fake, addr));
	*(char *)page_address(page) = 'd';
	get_page(page);
	hmm_fake_clear_log(fake);
	return page_folio(page);
}

static char cpu_reads(struct kunit *test, unsigned long addr)
{
	char value = 0;

	KUNIT_EXPECT_EQ(test, 0, get_user(value, (char __user *)addr));
	return value;
}

/* The page stays mapped when it becomes exclusive, and when the CPU gets it back. */
static void keeps_mapcount(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 8);
	struct folio *folio;
	s64 rss;

	hmm_test_write(test, addr);
	rss = anon_rss();
	folio = take(fake, addr, 1);
	KUNIT_EXPECT_EQ(test, 1, folio_mapcount(folio));
	KUNIT_EXPECT_EQ(test, addr, page_mapped_in_vma(&folio->page,
						       vma_lookup(current->mm, addr)));
	KUNIT_EXPECT_EQ(test, rss, anon_rss());

	KUNIT_EXPECT_EQ(test, 'd', cpu_reads(test, addr));
	KUNIT_EXPECT_FALSE(test, is_exclusive(addr));
	KUNIT_EXPECT_EQ(test, 1, folio_mapcount(folio));
	KUNIT_EXPECT_EQ(test, rss, anon_rss());
	folio_put(folio);
}

/* MADV_DONTNEED drops the mapcount and the rss of exclusive pages. */
static void zap_drops_mapcount(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 8);
	struct folio *folio = take(fake, addr, 8);
	s64 rss = anon_rss();

	KUNIT_EXPECT_EQ(test, 0, do_madvise(current->mm, addr, 3 * PAGE_SIZE, MADV_DONTNEED));
	KUNIT_EXPECT_EQ(test, 0, folio_mapcount(folio));
	KUNIT_EXPECT_EQ(test, rss - 3, anon_rss());
	KUNIT_EXPECT_EQ(test, 5, hmm_fake_valid(fake, addr, 8));
	folio_put(folio);
}

/* folio_referenced() changes no bit of an exclusive entry, which has no accessed bit. */
static void referenced_changes_nothing(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 8), vm_flags;
	struct folio *folio = take(fake, addr, 8);
	pte_t pte = pte_of(addr);

	folio_clear_referenced(folio);
	KUNIT_EXPECT_EQ(test, 0, folio_referenced(folio, 0, NULL, &vm_flags));
	KUNIT_EXPECT_TRUE(test, pte_same(pte, pte_of(addr)));
	hmm_fake_expect_none(fake);
	folio_put(folio);
}

/* Migrate the page at @addr, drop the reference on @folio, and return the new folio. */
static struct folio *migrate(struct kunit *test, unsigned long addr, struct folio *folio)
{
	struct migration_target_control target = {
		.nid = NUMA_NO_NODE,
		.gfp_mask = GFP_HIGHUSER_MOVABLE,
		.reason = MR_SYSCALL,
	};
	LIST_HEAD(folios);
	pte_t pte;

	lru_add_drain_all();
	KUNIT_ASSERT_TRUE(test, isolate_folio_to_list(folio, &folios));
	folio_put(folio);
	KUNIT_EXPECT_EQ(test, 0, migrate_pages(&folios, alloc_migration_target, NULL,
					       (unsigned long)&target, MIGRATE_SYNC,
					       MR_SYSCALL, NULL));
	if (!list_empty(&folios))
		putback_movable_pages(&folios);
	pte = pte_of(addr);
	KUNIT_ASSERT_TRUE(test, pte_present(pte));
	return page_folio(pte_page(pte));
}

/* Migration of an exclusive page keeps what the device has written, and its dirty state. */
static void migration_keeps_dirty(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 8);
	struct folio *folio = take(fake, AT(addr, 2), 4), *old = folio;
	s64 rss = anon_rss();
	pte_t pte;

	folio_clear_dirty(folio);
	folio = migrate(test, AT(addr, 2), folio);
	KUNIT_EXPECT_PTR_NE(test, old, folio);
	pte = pte_of(AT(addr, 2));
	KUNIT_EXPECT_TRUE(test, pte_write(pte));
	KUNIT_EXPECT_TRUE(test, pte_dirty(pte));
	KUNIT_EXPECT_TRUE(test, pte_soft_dirty(pte));
	KUNIT_EXPECT_TRUE(test, folio_test_dirty(folio));
	KUNIT_EXPECT_TRUE(test, PageAnonExclusive(&folio->page));
	KUNIT_EXPECT_EQ(test, 1, folio_mapcount(folio));
	KUNIT_EXPECT_EQ(test, rss, anon_rss());
	hmm_fake_expect_one(fake, HMM_UPDATE_MIGRATE, AT(addr, 2), AT(addr, 3));
	KUNIT_EXPECT_EQ(test, 3, hmm_fake_valid(fake, addr, 8));
	KUNIT_EXPECT_EQ(test, 'd', cpu_reads(test, AT(addr, 2)));
}

static int clear_soft_dirty(pte_t *ptep, unsigned long addr, void *unused)
{
	set_pte_at(current->mm, addr, ptep, pte_swp_clear_soft_dirty(ptep_get(ptep)));
	return 0;
}

/* After mprotect() the entry is not writable, and migration makes no writable PTE of it. */
static void migration_keeps_read_only(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 8);
	struct folio *folio = take(fake, addr, 8);
	pte_t pte;

	KUNIT_ASSERT_EQ(test, 0, hmm_fake_protect(addr, 8 * PAGE_SIZE, PROT_READ));
	KUNIT_ASSERT_TRUE(test, is_exclusive(addr));
	apply_to_existing_page_range(current->mm, addr, PAGE_SIZE, clear_soft_dirty, NULL);
	folio = migrate(test, addr, folio);
	pte = pte_of(addr);
	KUNIT_EXPECT_FALSE(test, pte_write(pte));
	KUNIT_EXPECT_FALSE(test, pte_soft_dirty(pte));
	/* The page became dirty when it became exclusive, before the device could write. */
	KUNIT_EXPECT_TRUE(test, folio_test_dirty(folio));
	KUNIT_EXPECT_TRUE(test, PageAnonExclusive(&folio->page));
	KUNIT_EXPECT_EQ(test, 'd', cpu_reads(test, addr));
	KUNIT_ASSERT_EQ(test, 0, hmm_fake_protect(addr, 8 * PAGE_SIZE, PROT_READ | PROT_WRITE));
	hmm_test_write(test, addr);
}

/* Migration of an exclusive page keeps its uffd-wp bit. */
static void migration_keeps_uffd_wp(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 8);
	struct folio *folio = take(fake, addr, 8);

	mmap_read_lock(current->mm);
	KUNIT_EXPECT_EQ(test, 1, uffd_wp_range(vma_lookup(current->mm, addr), addr, PAGE_SIZE,
					       true));
	mmap_read_unlock(current->mm);
	KUNIT_ASSERT_TRUE(test, is_exclusive(addr));
	migrate(test, addr, folio);
	KUNIT_EXPECT_TRUE(test, pte_uffd_wp(pte_of(addr)));
	KUNIT_EXPECT_FALSE(test, pte_write(pte_of(addr)));
}

/* remove_migration_ptes() does not change an exclusive entry. */
static void is_no_migration_entry(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 8);
	struct folio *folio = take(fake, addr, 8);

	folio_lock(folio);
	remove_migration_ptes(folio, folio, 0);
	folio_unlock(folio);
	KUNIT_EXPECT_TRUE(test, is_exclusive(addr));
	KUNIT_EXPECT_EQ(test, 1, folio_mapcount(folio));
	hmm_fake_expect_none(fake);
	folio_put(folio);
}

/*
 * Only the first page of a large folio becomes exclusive. The others stay present, and
 * the folio can be split.
 */
static void first_page_of_large_folio(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_huge(fake, 1), present = 0, i;
	struct page *pages[2] = {};
	struct folio *folio;

	for (i = 0; i < PTRS_PER_PTE; i++)
		hmm_test_write(test, AT(addr, i));
	mmap_read_lock(current->mm);
	KUNIT_EXPECT_EQ(test, 2, make_device_exclusive_range(current->mm, addr, AT(addr, 2),
							     pages, fake));
	mmap_read_unlock(current->mm);
	KUNIT_ASSERT_NOT_NULL(test, pages[0]);
	KUNIT_EXPECT_NULL(test, pages[1]);
	folio = page_folio(pages[0]);
	KUNIT_EXPECT_TRUE(test, folio_test_large(folio));
	KUNIT_EXPECT_TRUE(test, is_exclusive(addr));
	for (i = 1; i < PTRS_PER_PTE; i++)
		present += pte_present(pte_of(AT(addr, i)));
	KUNIT_EXPECT_EQ(test, PTRS_PER_PTE - 1, present);
	KUNIT_EXPECT_EQ(test, PTRS_PER_PTE, folio_mapcount(folio));

	KUNIT_EXPECT_EQ(test, 0, split_folio(folio));
	KUNIT_EXPECT_FALSE(test, folio_test_large(folio));
	KUNIT_EXPECT_EQ(test, 1, folio_mapcount(folio));
	KUNIT_EXPECT_FALSE(test, is_exclusive(addr));
	KUNIT_EXPECT_TRUE(test, pte_write(pte_of(addr)));
	folio_unlock(folio);
	folio_put(folio);
	for (i = 0; i < PTRS_PER_PTE; i++)
		KUNIT_EXPECT_EQ(test, 'x', cpu_reads(test, AT(addr, i)));
}

/* A page that the process may not write does not become exclusive. */
static void read_only_page_fails(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 8);

	hmm_test_write(test, addr);
	KUNIT_ASSERT_EQ(test, 0, hmm_fake_protect(addr, PAGE_SIZE, PROT_READ));
	KUNIT_EXPECT_EQ(test, -EPERM, hmm_fake_fault(fake, addr, 1, HMM_FAULT_EXCLUSIVE));
	KUNIT_EXPECT_FALSE(test, is_exclusive(addr));
	KUNIT_EXPECT_EQ(test, 'x', cpu_reads(test, addr));
}

/*
 * fork() handles exclusive pages while another thread, such as reclaim, has the folio
 * locked.
 */
static void fork_with_locked_folio(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 8);
	struct folio *folio = take(fake, addr, 8);

	folio_lock(folio);
	hmm_fake_fork(test);
	folio_unlock(folio);
	KUNIT_EXPECT_EQ(test, 1, fake->count);
	KUNIT_EXPECT_EQ(test, HMM_UPDATE_FORK, fake->log[0].event);
	KUNIT_EXPECT_EQ(test, 0, hmm_fake_writable(fake, addr, 8));
	KUNIT_EXPECT_TRUE(test, pte_present(pte_of(addr)));
	KUNIT_EXPECT_FALSE(test, pte_write(pte_of(addr)));
	KUNIT_EXPECT_EQ(test, 'd', cpu_reads(test, addr));
	folio_put(folio);
}

static bool is_mlocked(struct folio *folio)
{
	lru_add_drain_all();
	return folio_test_mlocked(folio);
}

/* mlock() and munlock() mark an exclusive page. */
static void mlock_exclusive(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 8);
	struct folio *folio = take(fake, addr, 8);

	KUNIT_ASSERT_EQ(test, 0, hmm_test_syscall(__NR_mlock2, addr, 8 * PAGE_SIZE,
						  MLOCK_ONFAULT, 0, 0));
	KUNIT_EXPECT_TRUE(test, is_exclusive(addr));
	KUNIT_EXPECT_TRUE(test, is_mlocked(folio));
	KUNIT_ASSERT_EQ(test, 0, hmm_test_syscall(__NR_munlock, addr, 8 * PAGE_SIZE, 0, 0, 0));
	KUNIT_EXPECT_TRUE(test, is_exclusive(addr));
	KUNIT_EXPECT_FALSE(test, is_mlocked(folio));
	folio_put(folio);
}

/* An mlocked page stays mlocked when it becomes exclusive and when the CPU gets it back. */
static void exclusive_stays_mlocked(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 8);
	struct folio *folio;

	KUNIT_ASSERT_EQ(test, 0, hmm_test_syscall(__NR_mlock2, addr, 8 * PAGE_SIZE,
						  MLOCK_ONFAULT, 0, 0));
	folio = take(fake, addr, 8);
	KUNIT_EXPECT_TRUE(test, is_mlocked(folio));
	KUNIT_EXPECT_EQ(test, 'd', cpu_reads(test, addr));
	KUNIT_EXPECT_TRUE(test, is_mlocked(folio));
	KUNIT_ASSERT_EQ(test, 0, hmm_test_syscall(__NR_munlock, addr, 8 * PAGE_SIZE, 0, 0, 0));
	KUNIT_EXPECT_FALSE(test, is_mlocked(folio));
	folio_put(folio);
}

static struct kunit_case hmm_exclusive_core_cases[] = {
	KUNIT_CASE(keeps_mapcount),
	KUNIT_CASE(zap_drops_mapcount),
	KUNIT_CASE(referenced_changes_nothing),
	KUNIT_CASE(migration_keeps_dirty),
	KUNIT_CASE(migration_keeps_read_only),
	KUNIT_CASE(migration_keeps_uffd_wp),
	KUNIT_CASE(is_no_migration_entry),
	KUNIT_CASE(first_page_of_large_folio),
	KUNIT_CASE(read_only_page_fails),
	KUNIT_CASE(fork_with_locked_folio),
	KUNIT_CASE(mlock_exclusive),
	KUNIT_CASE(exclusive_stays_mlocked),
	{}
};

static struct kunit_suite hmm_exclusive_core_suite = {
	.name = "hmm_exclusive_core",
	.test_cases = hmm_exclusive_core_cases,
};

kunit_test_suite(hmm_exclusive_core_suite);
