// SPDX-License-Identifier: GPL-2.0
/*
 * How a device loses exclusive access to pages, and that no data is lost then
 */
#include <linux/delay.h>
#include <linux/highmem.h>
#include <linux/kthread.h>
#include <linux/mman.h>
#include <linux/pagemap.h>

#include <asm/futex.h>

#include "hmm_mirror_exclusive.h"

/*
 * A CPU access to an exclusive page revokes it from the device, and keeps the device's
 * data.
 */
static void cpu_access_revokes(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 8);

	hmm_test_write(test, AT(addr, 3));
	hmm_fake_take(fake, addr, 8);
	KUNIT_EXPECT_EQ(test, HMM_UPDATE_DEVICE_WFAULT, fake->fill.event);
	KUNIT_EXPECT_EQ(test, 1, fake->fills);
	KUNIT_EXPECT_EQ(test, 'x', hmm_fake_device_read(fake, AT(addr, 3)));
	hmm_fake_device_write(fake, AT(addr, 3), 'd');
	hmm_fake_device_write(fake, AT(addr, 7), 'e');

	hmm_fake_clear_log(fake);
	KUNIT_EXPECT_EQ(test, 'd', hmm_fake_cpu_read(fake, AT(addr, 3)));
	hmm_fake_expect_one(fake, HMM_UPDATE_MIGRATE, AT(addr, 3), AT(addr, 4));
	KUNIT_EXPECT_FALSE(test, hmm_pte_valid(hmm_fake_entry(fake, AT(addr, 3))));
	hmm_fake_clear_log(fake);
	hmm_test_write(test, AT(addr, 7));
	hmm_fake_expect_one(fake, HMM_UPDATE_MIGRATE, AT(addr, 7), AT(addr, 8));
	hmm_fake_expect_taken(fake, addr, 3);
	hmm_fake_expect_taken(fake, AT(addr, 4), 3);
	KUNIT_EXPECT_EQ(test, 6, hmm_fake_cpu_lost(addr, 8));

	hmm_fake_take(fake, addr, 8);
	KUNIT_EXPECT_EQ(test, 'd', hmm_fake_device_read(fake, AT(addr, 3)));
	KUNIT_EXPECT_EQ(test, 'x', hmm_fake_device_read(fake, AT(addr, 7)));
}

/* A revocation marks a page dirty that the device has written. */
static void revocation_marks_dirty(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 2);
	struct page *page;

	hmm_fake_take(fake, addr, 2);
	page = hmm_pte_page(hmm_fake_entry(fake, addr));
	ClearPageDirty(page);
	hmm_fake_device_write(fake, addr, 'd');
	KUNIT_EXPECT_FALSE(test, PageDirty(page));
	/* A fault for an exclusive page keeps its dirty bit. */
	hmm_fake_take(fake, addr, 2);
	KUNIT_EXPECT_TRUE(test, hmm_pte_dirty(hmm_fake_entry(fake, addr)));
	ClearPageDirty(page);
	hmm_fake_cpu_read(fake, addr);
	KUNIT_EXPECT_TRUE(test, PageDirty(page));
}

/*
 * fork() revokes exclusive access. Both processes get the pages read-only, and the device
 * may read them.
 */
static void fork_revokes(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 8), i;

	hmm_fake_take(fake, AT(addr, 2), 4);
	for (i = 2; i < 6; i++)
		hmm_fake_device_write(fake, AT(addr, i), 'd');
	hmm_fake_clear_log(fake);
	hmm_fake_fork(test);
	KUNIT_EXPECT_EQ(test, 1, fake->count);
	KUNIT_EXPECT_EQ(test, HMM_UPDATE_FORK, fake->log[0].event);
	KUNIT_EXPECT_EQ(test, 0, hmm_fake_cpu_lost(addr, 8));
	KUNIT_EXPECT_EQ(test, 4, hmm_fake_valid(fake, addr, 8));
	KUNIT_EXPECT_EQ(test, 0, hmm_fake_writable(fake, addr, 8));
	KUNIT_EXPECT_EQ(test, 0, hmm_fake_flagged(fake, addr, 8));
	for (i = 2; i < 6; i++)
		KUNIT_EXPECT_EQ(test, 'd', hmm_fake_cpu_read(fake, AT(addr, i)));
	hmm_fake_fault_all(fake, AT(addr, 2), 4, HMM_FAULT_READ);
	KUNIT_EXPECT_EQ(test, 0, hmm_fake_flagged(fake, addr, 8));
	hmm_fake_take(fake, addr, 8);
	for (i = 2; i < 6; i++)
		KUNIT_EXPECT_EQ(test, 'd', hmm_fake_device_read(fake, AT(addr, i)));
}

/* mprotect() revokes exclusive access, and leaves read access if @readable. */
static void protected_by(struct kunit *test, unsigned long prot, bool readable)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 8);

	hmm_fake_take(fake, addr, 8);
	hmm_fake_device_write(fake, AT(addr, 3), 'd');
	hmm_fake_clear_log(fake);
	KUNIT_ASSERT_EQ(test, 0, hmm_fake_protect(AT(addr, 2), 4 * PAGE_SIZE, prot));
	hmm_fake_expect_one(fake, readable ? HMM_UPDATE_WRITE_PROTECT : HMM_UPDATE_MIGRATE,
			    AT(addr, 2), AT(addr, 6));
	KUNIT_EXPECT_EQ(test, readable ? 4 : 0, hmm_fake_valid(fake, AT(addr, 2), 4));
	KUNIT_EXPECT_EQ(test, 0, hmm_fake_writable(fake, AT(addr, 2), 4));
	KUNIT_EXPECT_EQ(test, 0, hmm_fake_flagged(fake, AT(addr, 2), 4));
	hmm_fake_expect_taken(fake, addr, 2);
	hmm_fake_expect_taken(fake, AT(addr, 6), 2);
	if (readable) {
		KUNIT_EXPECT_EQ(test, -EPERM, hmm_fake_fault(fake, AT(addr, 2), 1,
							     HMM_FAULT_EXCLUSIVE));
		KUNIT_EXPECT_EQ(test, -EPERM, hmm_fake_fault(fake, AT(addr, 2), 1,
							     HMM_FAULT_WRITE));
		hmm_fake_fault_all(fake, AT(addr, 2), 4, HMM_FAULT_READ);
		KUNIT_EXPECT_EQ(test, 'd', hmm_fake_cpu_read(fake, AT(addr, 3)));
	}
	KUNIT_ASSERT_EQ(test, 0, hmm_fake_protect(AT(addr, 2), 4 * PAGE_SIZE,
						  PROT_READ | PROT_WRITE));
	hmm_fake_take(fake, addr, 8);
	KUNIT_EXPECT_EQ(test, 'd', hmm_fake_device_read(fake, AT(addr, 3)));
}

/* mprotect(PROT_READ) leaves the device read access. */
static void mprotect_read_revokes(struct kunit *test)
{
	protected_by(test, PROT_READ, true);
}

/* mprotect(PROT_NONE) leaves the device no access. */
static void mprotect_none_revokes(struct kunit *test)
{
	protected_by(test, PROT_NONE, false);
}

/* MADV_DONTNEED and munmap() revoke exclusive pages. */
static void unmap_revokes(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 8);

	hmm_fake_take(fake, addr, 8);
	hmm_fake_clear_log(fake);
	KUNIT_EXPECT_EQ(test, 0, do_madvise(current->mm, addr, 2 * PAGE_SIZE, MADV_DONTNEED));
	hmm_fake_expect_one(fake, HMM_UPDATE_MIGRATE, addr, AT(addr, 2));
	hmm_fake_clear_log(fake);
	KUNIT_EXPECT_EQ(test, 0, vm_munmap(AT(addr, 6), 2 * PAGE_SIZE));
	hmm_fake_expect_one(fake, HMM_UPDATE_MUNMAP, AT(addr, 6), AT(addr, 8));
	KUNIT_EXPECT_EQ(test, 4, hmm_fake_valid(fake, addr, 8));
	hmm_fake_expect_taken(fake, AT(addr, 2), 4);
	KUNIT_EXPECT_EQ(test, 0, hmm_fake_cpu_lost(addr, 2));
	hmm_fake_take(fake, addr, 6);
}

/* MADV_COLLAPSE revokes exclusive pages before it makes a THP of them. */
static void collapse_revokes(struct kunit *test)
{
	const unsigned long pages = PTRS_PER_PTE;
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_huge(fake, 1);

	hmm_fake_take(fake, addr, pages);
	hmm_fake_device_write(fake, AT(addr, 300), 'd');
	/* MADV_COLLAPSE needs one present page. */
	hmm_test_write(test, addr);
	KUNIT_ASSERT_EQ(test, 0, do_madvise(current->mm, addr, PMD_SIZE, MADV_COLLAPSE));
	KUNIT_EXPECT_EQ(test, 0, hmm_fake_valid(fake, addr, pages));
	KUNIT_EXPECT_EQ(test, 'd', hmm_fake_cpu_read(fake, AT(addr, 300)));
	hmm_fake_take(fake, addr, pages);
}

/*
 * An exclusive fault revokes the pages from another device, which can fault them in
 * again.
 */
static void revokes_from_other_device(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0), *other = hmm_fake_another(fake, 0);
	unsigned long addr = hmm_fake_map_small(fake, 8);

	hmm_fake_fault_all(other, addr, 8, HMM_FAULT_WRITE);
	hmm_fake_device_write(other, AT(addr, 3), 'o');
	hmm_fake_take(fake, AT(addr, 2), 4);
	KUNIT_EXPECT_EQ(test, 4, hmm_fake_valid(other, addr, 8));
	KUNIT_EXPECT_EQ(test, 0, hmm_fake_valid(other, AT(addr, 2), 4));
	KUNIT_EXPECT_EQ(test, 'o', hmm_fake_device_read(fake, AT(addr, 3)));

	hmm_fake_fault_all(other, AT(addr, 3), 1, HMM_FAULT_READ);
	KUNIT_EXPECT_EQ(test, 3, hmm_fake_exclusive(fake, addr, 8));
	KUNIT_EXPECT_EQ(test, 3, hmm_fake_valid(fake, addr, 8));
	hmm_fake_take(other, addr, 8);
	KUNIT_EXPECT_EQ(test, 0, hmm_fake_valid(fake, addr, 8));
}

/* Two devices and the CPU, each of which increments the same word for a while */
struct adder {
	struct hmm_fake *fake;
	struct mm_struct *mm;
	unsigned long addr;
	unsigned long end;
	unsigned long added;
	bool wrong;
	struct completion done;
};

/*
 * This increment is not atomic. It is correct only if neither the CPU nor the other
 * device has the page.
 */
static bool device_adds(struct adder *adder)
{
	struct hmm_mirror *mirror = &adder->fake->mirror;
	u32 *map, value;
	hmm_pte_t pte;

	if (hmm_mirror_fault(mirror, adder->addr, adder->addr + 4 * PAGE_SIZE,
			     HMM_FAULT_EXCLUSIVE) != 4)
		adder->wrong = true;
	guard(rwsem_read)(&mirror->lock);
	pte = hmm_pt_lookup(mirror, adder->addr, NULL);
	if (!hmm_pte_exclusive(pte))
		return false;
	map = kmap_local_page(hmm_pte_page(pte));
	value = READ_ONCE(*map);
	udelay(5);
	WRITE_ONCE(*map, value + 1);
	kunmap_local(map);
	hmm_mirror_range_dirty(mirror, adder->addr, adder->addr + PAGE_SIZE);
	return true;
}

static bool cpu_adds(struct adder *adder)
{
	int old;

	if (arch_futex_atomic_op_inuser(FUTEX_OP_ADD, 1, &old, (u32 __user *)adder->addr))
		adder->wrong = true;
	udelay(5);
	return true;
}

static int adder_thread(void *arg)
{
	struct adder *adder = arg;

	if (!adder->fake)
		kthread_use_mm(adder->mm);
	while (time_before(jiffies, adder->end)) {
		adder->added += adder->fake ? device_adds(adder) : cpu_adds(adder);
		cond_resched();
	}
	if (!adder->fake)
		kthread_unuse_mm(adder->mm);
	complete(&adder->done);
	return 0;
}

/* No increment is lost, so access is exclusive. */
static void no_lost_increments(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0), *other = hmm_fake_another(fake, 0);
	unsigned long addr = hmm_fake_map_small(fake, 4), sum = 0, i;
	struct adder adders[] = {
		{ .fake = fake }, { .fake = other }, { .mm = current->mm },
	};
	u32 value = 0;

	for (i = 0; i < ARRAY_SIZE(adders); i++) {
		adders[i].addr = addr;
		adders[i].end = jiffies + 2 * HZ;
		init_completion(&adders[i].done);
		KUNIT_EXPECT_NOT_ERR_OR_NULL(test, kthread_run(adder_thread, &adders[i],
							       "hmm_adder"));
	}
	for (i = 0; i < ARRAY_SIZE(adders); i++) {
		wait_for_completion(&adders[i].done);
		KUNIT_EXPECT_GT(test, adders[i].added, 0);
		KUNIT_EXPECT_FALSE(test, adders[i].wrong);
		sum += adders[i].added;
	}
	KUNIT_EXPECT_EQ(test, 0, get_user(value, (u32 __user *)addr));
	KUNIT_EXPECT_EQ(test, (u32)sum, value);
	kunit_info(test, "added by devices: %lu, %lu; by the CPU: %lu; collisions: %lu, %lu\n",
		   adders[0].added, adders[1].added, adders[2].added,
		   hmm_fake_stats(fake).collisions, hmm_fake_stats(other).collisions);
}

static struct kunit_case hmm_mirror_revoke_cases[] = {
	KUNIT_CASE(cpu_access_revokes),
	KUNIT_CASE(revocation_marks_dirty),
	KUNIT_CASE(fork_revokes),
	KUNIT_CASE(mprotect_read_revokes),
	KUNIT_CASE(mprotect_none_revokes),
	KUNIT_CASE(unmap_revokes),
	KUNIT_CASE(collapse_revokes),
	KUNIT_CASE(revokes_from_other_device),
	KUNIT_CASE_SLOW(no_lost_increments),
	{}
};

static struct kunit_suite hmm_mirror_revoke_suite = {
	.name = "hmm_mirror_revoke",
	.test_cases = hmm_mirror_revoke_cases,
};

kunit_test_suite(hmm_mirror_revoke_suite);
