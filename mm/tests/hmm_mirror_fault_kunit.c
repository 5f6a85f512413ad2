// SPDX-License-Identifier: GPL-2.0
/*
 * hmm_mirror_fault(): its return value, and the contents of the mirror page table
 * afterwards
 */
#include <kunit/static_stub.h>
#include <linux/fdtable.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/hugetlb.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/sched/signal.h>
#include <linux/shmem_fs.h>
#include <linux/swapops.h>

#include <asm/unistd.h>

#include "hmm_mirror_test.h"
#include "hmm_range_states.h"

/* Invalid flags fail with -EINVAL and count as no fault. */
static void bad_flags(struct kunit *test)
{
	static const unsigned int flags[] = {
		0, HMM_FAULT_PRESENT, HMM_FAULT_READ | BIT(8), HMM_FAULT_WRITE | BIT(31),
	};
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 1), i;

	for (i = 0; i < ARRAY_SIZE(flags); i++)
		KUNIT_EXPECT_EQ(test, -EINVAL, hmm_fake_fault(fake, addr, 1, flags[i]));
	KUNIT_EXPECT_EQ(test, 0, fake->fills);
	KUNIT_EXPECT_EQ(test, 0, hmm_fake_stats(fake).faults);
}

static void set_vma_flags(unsigned long addr, unsigned long flags)
{
	mmap_write_lock(current->mm);
	vm_flags_set(vma_lookup(current->mm, addr), flags);
	mmap_write_unlock(current->mm);
}

static unsigned long map_secret(struct hmm_fake *fake)
{
	int fd = hmm_test_syscall(__NR_memfd_secret, 0, 0, 0, 0, 0);
	struct file *file;
	unsigned long addr;

	KUNIT_ASSERT_GE_MSG(fake->test, fd, 0, "boot with secretmem.enable=1");
	file = fget(fd);
	close_fd(fd);
	KUNIT_ASSERT_EQ(fake->test, 0, vfs_truncate(&file->f_path, PAGE_SIZE));
	addr = hmm_fake_map_file(fake, SZ_256M, PAGE_SIZE, file, MAP_SHARED);
	fput(file);
	return addr;
}

/*
 * Each kind of memory that cannot be mirrored fails with its error, and stays unmirrored.
 */
static void unmirrorable_memory_fails(struct kunit *test)
{
	const unsigned int reads = HMM_FAULT_READ, writes = HMM_FAULT_WRITE;
	const unsigned int both = reads | writes;
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 4);

	/* PROT_NONE */
	KUNIT_EXPECT_EQ(test, -EFAULT, hmm_fake_fault(fake, fake->base, 1, reads));
	KUNIT_EXPECT_EQ(test, -EFAULT, hmm_fake_fault(fake, fake->base, 1, writes));
	/* Holes, in a window with mappings and in a window without */
	KUNIT_ASSERT_EQ(test, 0, vm_munmap(fake->base, PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, -EFAULT, hmm_fake_fault(fake, fake->base, 1, reads));
	KUNIT_ASSERT_EQ(test, 0, vm_munmap(fake->base + SZ_1G, SZ_1G));
	KUNIT_EXPECT_EQ(test, -EFAULT, hmm_fake_fault(fake, fake->base + SZ_1G, 1, both));
	/* Read-only */
	KUNIT_ASSERT_EQ(test, 0, hmm_fake_protect(addr, PAGE_SIZE, PROT_READ));
	KUNIT_EXPECT_EQ(test, -EPERM, hmm_fake_fault(fake, addr, 1, writes));
	KUNIT_EXPECT_EQ(test, -EPERM, hmm_fake_fault(fake, addr, 1, both));
	KUNIT_EXPECT_EQ(test, 0, hmm_fake_valid(fake, addr, 1));
	hmm_fake_fault_all(fake, addr, 1, reads);
	KUNIT_EXPECT_EQ(test, -EPERM, hmm_fake_fault(fake, addr, 1, writes));
	KUNIT_EXPECT_EQ(test, 1, hmm_fake_valid(fake, addr, 1));
	/* Special */
	KUNIT_ASSERT_EQ(test, 0, hmm_fake_protect(AT(addr, 1), PAGE_SIZE,
						  PROT_READ | PROT_WRITE | PROT_EXEC));
	set_vma_flags(AT(addr, 1), VM_PFNMAP);
	KUNIT_EXPECT_EQ(test, -EFAULT, hmm_fake_fault(fake, AT(addr, 1), 1, reads));
	KUNIT_EXPECT_EQ(test, -EFAULT, hmm_fake_fault(fake, map_secret(fake), 1, reads));
	KUNIT_EXPECT_EQ(test, 1, fake->fills);
	KUNIT_EXPECT_EQ(test, 1, hmm_fake_valid(fake, fake->base, SZ_1G >> PAGE_SHIFT));
	KUNIT_EXPECT_EQ(test, 1, hmm_fake_stats(fake).pages);
}

/* A fault ends at the end of a file. */
static void ends_at_end_of_file(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	struct file *file = shmem_file_setup("hmm_mirror", 2 * PAGE_SIZE, 0);
	unsigned long addr;

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, file);
	addr = hmm_fake_map_file(fake, SZ_512M, 4 * PAGE_SIZE, file, MAP_SHARED);
	fput(file);
	KUNIT_EXPECT_EQ(test, 2, hmm_fake_fault(fake, addr, 4, HMM_FAULT_READ));
	KUNIT_EXPECT_EQ(test, 2, hmm_fake_valid(fake, addr, 4));
	KUNIT_EXPECT_EQ(test, -EFAULT, hmm_fake_fault(fake, AT(addr, 2), 2, HMM_FAULT_READ));
}

/* A killed task populates no memory. */
static void killed_task_populates_nothing(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 4);
	long ret;

	/* Create the window. */
	hmm_fake_fault_all(fake, addr, 1, HMM_FAULT_WRITE);
	allow_signal(SIGKILL);
	send_sig(SIGKILL, current, 1);
	ret = hmm_fake_fault(fake, AT(addr, 1), 3, HMM_FAULT_WRITE);
	KUNIT_EXPECT_EQ(test, -EINTR, ret);
	ret = hmm_fake_fault(fake, fake->base + SZ_1G, 1, HMM_FAULT_WRITE);
	KUNIT_EXPECT_EQ(test, -EINTR, ret);
	flush_signals(current);
	disallow_signal(SIGKILL);
	KUNIT_EXPECT_EQ(test, 1, hmm_fake_valid(fake, addr, 4));
	hmm_fake_fault_all(fake, addr, 4, HMM_FAULT_WRITE);
}

/* Pages that are mirrored with enough access stay, and the driver is not called. */
static void sufficient_access_skips_driver(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 8), faults;
	struct hmm_mirror_stats before;

	hmm_fake_fault_all(fake, addr, 8, HMM_FAULT_WRITE);
	hmm_fake_clear_log(fake);
	before = hmm_fake_stats(fake);
	faults = hmm_test_faults();
	KUNIT_EXPECT_EQ(test, 8, hmm_fake_fault(fake, addr, 8, HMM_FAULT_READ));
	KUNIT_EXPECT_EQ(test, 8, hmm_fake_fault(fake, addr, 8, HMM_FAULT_WRITE));
	KUNIT_EXPECT_EQ(test, 8, hmm_fake_fault(fake, addr, 8,
						HMM_FAULT_WRITE | HMM_FAULT_PRESENT));
	KUNIT_EXPECT_EQ(test, 0, fake->fills);
	KUNIT_EXPECT_EQ(test, before.vma_lock, hmm_fake_stats(fake).vma_lock);
	KUNIT_EXPECT_EQ(test, faults, hmm_test_faults());

	/* If a page is missing, the driver is called for the chunk. */
	KUNIT_ASSERT_EQ(test, 0, do_madvise(current->mm, AT(addr, 5), PAGE_SIZE, MADV_DONTNEED));
	KUNIT_EXPECT_EQ(test, 8, hmm_fake_fault(fake, addr, 8, HMM_FAULT_WRITE));
	KUNIT_EXPECT_EQ(test, 1, fake->fills);
	KUNIT_EXPECT_EQ(test, addr, fake->fill.start);
	KUNIT_EXPECT_EQ(test, 8, hmm_fake_writable(fake, addr, 8));

	/* The driver is also called for an upgrade to write access. */
	hmm_fake_clear_log(fake);
	KUNIT_ASSERT_EQ(test, 0, hmm_fake_protect(addr, 2 * PAGE_SIZE, PROT_READ));
	KUNIT_ASSERT_EQ(test, 0, hmm_fake_protect(addr, 2 * PAGE_SIZE, PROT_READ | PROT_WRITE));
	hmm_fake_fault_all(fake, addr, 8, HMM_FAULT_READ);
	KUNIT_EXPECT_EQ(test, 0, fake->fills);
	hmm_fake_fault_all(fake, addr, 2, HMM_FAULT_WRITE);
	KUNIT_EXPECT_EQ(test, 1, fake->fills);
	KUNIT_EXPECT_EQ(test, 8, hmm_fake_writable(fake, addr, 8));
}

/* One page of a THP is mirrored as a page, and all of it as one block. */
static void page_of_huge_page(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_huge(fake, 1);

	hmm_test_write(test, addr);
	hmm_fake_fault_all(fake, AT(addr, 7), 1, HMM_FAULT_READ);
	hmm_fake_fault_all(fake, addr, 1, HMM_FAULT_READ);
	KUNIT_EXPECT_EQ(test, 2, hmm_fake_valid(fake, addr, PTRS_PER_PTE));
	KUNIT_EXPECT_EQ(test, 0, hmm_pte_order(hmm_fake_entry(fake, AT(addr, 7))));
	hmm_fake_fault_all(fake, addr, PTRS_PER_PTE, HMM_FAULT_READ);
	KUNIT_EXPECT_EQ(test, PMD_ORDER, hmm_pte_order(hmm_fake_entry(fake, AT(addr, 7))));
}

/* The driver may set dirty early. Later faults keep it. */
static void dirty_before_write(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 4);

	hmm_fake_fault_all(fake, addr, 2, HMM_FAULT_WRITE);
	down_read(&fake->mirror.lock);
	hmm_mirror_range_dirty(&fake->mirror, addr, AT(addr, 1));
	up_read(&fake->mirror.lock);
	hmm_fake_fault_all(fake, addr, 2, HMM_FAULT_READ);
	hmm_fake_fault_all(fake, addr, 4, HMM_FAULT_WRITE);
	KUNIT_EXPECT_EQ(test, 1, hmm_fake_count(fake, addr, 4, HMM_PTE_DIRTY));
	KUNIT_EXPECT_TRUE(test, hmm_pte_dirty(hmm_fake_entry(fake, addr)));
}

/* The driver of a device without a page table needs no callback. */
static void without_callback(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 4);
	struct hmm_mirror_ops ops = *fake->mirror.ops;

	ops.sync_cpu_device_pagetables = NULL;
	hmm_fake_set_ops(fake, &ops);
	KUNIT_EXPECT_EQ(test, 4, hmm_fake_fault(fake, addr, 4, HMM_FAULT_WRITE));
	KUNIT_EXPECT_EQ(test, 4, hmm_fake_writable(fake, addr, 4));
	KUNIT_ASSERT_EQ(test, 0, hmm_fake_protect(addr, 2 * PAGE_SIZE, PROT_READ));
	KUNIT_EXPECT_EQ(test, 2, hmm_fake_writable(fake, addr, 4));
	KUNIT_ASSERT_EQ(test, 0, do_madvise(current->mm, addr, PAGE_SIZE, MADV_DONTNEED));
	KUNIT_EXPECT_EQ(test, 3, hmm_fake_valid(fake, addr, 4));
	KUNIT_EXPECT_EQ(test, 0, hmm_fake_stats(fake).callbacks);
	hmm_fake_unregister(fake);
	fake->mirror.flags = HMM_MIRROR_OWN_TABLES;
	KUNIT_EXPECT_EQ(test, -EINVAL, hmm_mirror_register(&fake->mirror, current->mm));
}

/* hmm_mirror_zap() revokes entries, whole blocks that the range cuts, and tables. */
static void zap_revokes_blocks_and_tables(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_huge(fake, 2), bytes;

	bytes = atomic_long_read(&fake->mirror.pt.bytes);
	hmm_test_write(test, addr);
	hmm_fake_fault_all(fake, addr, 2 * PTRS_PER_PTE, HMM_FAULT_WRITE);
	hmm_fake_clear_log(fake);
	KUNIT_EXPECT_EQ(test, 0, hmm_mirror_zap(&fake->mirror, AT(addr, 5), AT(addr, 6)));
	hmm_fake_expect_one(fake, HMM_UPDATE_MIGRATE, addr, AT(addr, PTRS_PER_PTE));
	KUNIT_EXPECT_EQ(test, PTRS_PER_PTE, hmm_fake_valid(fake, addr, 2 * PTRS_PER_PTE));
	hmm_fake_clear_log(fake);
	/* Nothing is mirrored in this range. */
	KUNIT_EXPECT_EQ(test, 0, hmm_mirror_zap(&fake->mirror, AT(addr, 5), AT(addr, 6)));
	hmm_fake_expect_none(fake);
	KUNIT_EXPECT_EQ(test, 0, hmm_mirror_zap(&fake->mirror, 0, TASK_SIZE));
	KUNIT_EXPECT_EQ(test, 0, hmm_fake_valid(fake, addr, 2 * PTRS_PER_PTE));
	KUNIT_EXPECT_EQ(test, bytes, atomic_long_read(&fake->mirror.pt.bytes));
	/* The CPU still has its pages, and the device can fault them in again. */
	hmm_fake_fault_all(fake, addr, 2 * PTRS_PER_PTE, HMM_FAULT_READ);

	KUNIT_EXPECT_EQ(test, -EINVAL, hmm_mirror_zap(&fake->mirror, addr, addr));
	KUNIT_EXPECT_EQ(test, -EINVAL, hmm_mirror_zap(&fake->mirror, addr + 1, AT(addr, 1)));
	KUNIT_EXPECT_EQ(test, -EINVAL, hmm_mirror_zap(&fake->mirror, addr, -PAGE_SIZE));
	hmm_fake_unregister(fake);
	KUNIT_EXPECT_EQ(test, -ESRCH, hmm_mirror_zap(&fake->mirror, addr, AT(addr, 1)));
}

/* If the driver fails the fill, the entries of the chunk are revoked. */
static void driver_fails(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 8);

	fake->fill_error = -EIO;
	KUNIT_EXPECT_EQ(test, -EIO, hmm_fake_fault(fake, addr, 4, HMM_FAULT_WRITE));
	hmm_fake_expect_one(fake, HMM_UPDATE_MIGRATE, addr, AT(addr, 4));
	KUNIT_EXPECT_EQ(test, 0, hmm_fake_valid(fake, addr, 8));
	KUNIT_EXPECT_EQ(test, 0, hmm_fake_stats(fake).pages);

	hmm_fake_fault_all(fake, addr, 8, HMM_FAULT_READ);
	hmm_fake_clear_log(fake);
	fake->fill_error = -ENOMEM;
	KUNIT_EXPECT_EQ(test, -ENOMEM, hmm_fake_fault(fake, AT(addr, 2), 2, HMM_FAULT_WRITE));
	hmm_fake_expect_one(fake, HMM_UPDATE_MIGRATE, AT(addr, 2), AT(addr, 4));
	KUNIT_EXPECT_EQ(test, 6, hmm_fake_valid(fake, addr, 8));
	hmm_fake_fault_all(fake, addr, 8, HMM_FAULT_WRITE);
}

/* Pages that were mirrored before the failure stay, and count. */
static void driver_fails_later(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long edge = fake->base + SZ_512M + PMD_SIZE, addr = edge - 4 * PAGE_SIZE;

	hmm_fake_map(fake, SZ_512M, 2 * PMD_SIZE);
	KUNIT_ASSERT_EQ(test, 0, do_madvise(current->mm, fake->base + SZ_512M, 2 * PMD_SIZE,
					    MADV_NOHUGEPAGE));
	hmm_fake_fault_all(fake, addr, 4, HMM_FAULT_WRITE);
	hmm_fake_clear_log(fake);
	fake->fill_error = -EIO;
	KUNIT_EXPECT_EQ(test, -EIO, hmm_fake_fault(fake, edge, 4, HMM_FAULT_WRITE));
	KUNIT_EXPECT_EQ(test, 4, hmm_fake_valid(fake, addr, 8));
	KUNIT_EXPECT_EQ(test, 8, hmm_fake_fault(fake, addr, 8, HMM_FAULT_WRITE));
}

/* The same for pages that are not contiguous */
static void driver_fails_after_hole(struct kunit *test)
{
	const unsigned int flags = HMM_FAULT_PRESENT | HMM_FAULT_READ;
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 4);

	hmm_test_write(test, addr);
	hmm_test_write(test, AT(addr, 2));
	fake->fill_error = -EIO;
	fake->fill_error_from = AT(addr, 1);
	KUNIT_EXPECT_EQ(test, 1, hmm_fake_fault(fake, addr, 4, flags));
	KUNIT_EXPECT_EQ(test, 1, hmm_fake_valid(fake, addr, 1));
	KUNIT_EXPECT_EQ(test, 1, hmm_fake_valid(fake, addr, 4));
	hmm_fake_expect_one(fake, HMM_UPDATE_MIGRATE, AT(addr, 2), AT(addr, 3));
	KUNIT_EXPECT_EQ(test, 2, hmm_fake_fault(fake, addr, 4, flags));
}

/* Other threads may read the mirror page table during a fill. */
static void driver_shares_lock(struct kunit *test)
{
	static const unsigned int flags[] = { HMM_FAULT_READ, HMM_FAULT_WRITE };
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 4), i;

	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		fake->fill_shares = false;
		hmm_fake_fault_all(fake, addr, 4, flags[i]);
		KUNIT_EXPECT_TRUE(test, fake->fill_shares);
	}
}

/* A short count tells where a fault ends. A fault from there returns the error. */
static void short_count_at_holes(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 12);

	KUNIT_ASSERT_EQ(test, 0, vm_munmap(AT(addr, 4), 2 * PAGE_SIZE));
	KUNIT_ASSERT_EQ(test, 0, hmm_fake_protect(AT(addr, 9), PAGE_SIZE, PROT_READ));
	KUNIT_EXPECT_EQ(test, 4, hmm_fake_fault(fake, addr, 12, HMM_FAULT_WRITE));
	KUNIT_EXPECT_EQ(test, 4, hmm_fake_writable(fake, addr, 12));
	KUNIT_EXPECT_EQ(test, HMM_UPDATE_DEVICE_WFAULT, fake->fill.event);
	KUNIT_EXPECT_EQ(test, AT(addr, 4), fake->fill.end);
	KUNIT_EXPECT_EQ(test, -EFAULT, hmm_fake_fault(fake, AT(addr, 4), 8, HMM_FAULT_WRITE));
	KUNIT_EXPECT_EQ(test, -EFAULT, hmm_fake_fault(fake, AT(addr, 5), 7, HMM_FAULT_READ));
	KUNIT_EXPECT_EQ(test, 3, hmm_fake_fault(fake, AT(addr, 6), 6, HMM_FAULT_WRITE));
	KUNIT_EXPECT_EQ(test, -EPERM, hmm_fake_fault(fake, AT(addr, 9), 3, HMM_FAULT_WRITE));
	KUNIT_EXPECT_EQ(test, 3, hmm_fake_fault(fake, AT(addr, 9), 3, HMM_FAULT_READ));
	KUNIT_EXPECT_EQ(test, HMM_UPDATE_DEVICE_RFAULT, fake->fill.event);
	KUNIT_EXPECT_EQ(test, 10, hmm_fake_valid(fake, addr, 12));
	KUNIT_EXPECT_EQ(test, 7, hmm_fake_writable(fake, addr, 12));
}

/*
 * HMM_FAULT_MAY_WRITE gives write access where the mapping permits it, and read access
 * elsewhere.
 */
static void may_write(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 12), fills;

	KUNIT_ASSERT_EQ(test, 0, hmm_fake_protect(AT(addr, 4), 4 * PAGE_SIZE, PROT_READ));
	hmm_test_read(test, AT(addr, 8));
	KUNIT_EXPECT_EQ(test, 12, hmm_fake_fault(fake, addr, 12, HMM_FAULT_MAY_WRITE));
	KUNIT_EXPECT_EQ(test, HMM_UPDATE_DEVICE_WFAULT, fake->fill.event);
	KUNIT_EXPECT_EQ(test, 12, hmm_fake_valid(fake, addr, 12));
	KUNIT_EXPECT_EQ(test, 4, hmm_fake_writable(fake, addr, 4));
	KUNIT_EXPECT_EQ(test, 0, hmm_fake_writable(fake, AT(addr, 4), 4));
	KUNIT_EXPECT_EQ(test, 4, hmm_fake_writable(fake, AT(addr, 8), 4));
	/* A page that was mirrored for reading is upgraded if it may be written. */
	hmm_fake_invalidate(fake, MMU_NOTIFY_PROTECTION_PAGE, addr, AT(addr, 2));
	KUNIT_EXPECT_EQ(test, 2, hmm_fake_fault(fake, addr, 2,
						HMM_FAULT_READ | HMM_FAULT_MAY_WRITE));
	KUNIT_EXPECT_EQ(test, 4, hmm_fake_writable(fake, addr, 4));
	fills = fake->fills;
	KUNIT_EXPECT_EQ(test, 4, hmm_fake_fault(fake, addr, 4, HMM_FAULT_MAY_WRITE));
	KUNIT_EXPECT_EQ(test, fills, fake->fills);
	/* A hole fails. */
	KUNIT_ASSERT_EQ(test, 0, vm_munmap(AT(addr, 6), PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, 6, hmm_fake_fault(fake, addr, 12, HMM_FAULT_MAY_WRITE));
	KUNIT_EXPECT_EQ(test, -EFAULT, hmm_fake_fault(fake, AT(addr, 6), 1, HMM_FAULT_MAY_WRITE));
	KUNIT_EXPECT_EQ(test, -EINVAL, hmm_fake_fault(fake, addr, 1,
						      HMM_FAULT_WRITE | HMM_FAULT_MAY_WRITE));
	KUNIT_EXPECT_EQ(test, -EINVAL, hmm_fake_fault(fake, addr, 1, HMM_FAULT_EXCLUSIVE |
						      HMM_FAULT_MAY_WRITE));
}

/* HMM_FAULT_PRESENT skips holes, mirrors present pages and populates nothing. */
static void present_skips_holes(struct kunit *test)
{
	const unsigned int flags = HMM_FAULT_PRESENT | HMM_FAULT_READ;
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 16), faults;

	KUNIT_EXPECT_EQ(test, 0, hmm_fake_fault(fake, addr, 16, flags));
	hmm_test_write(test, AT(addr, 2));
	hmm_test_write(test, AT(addr, 3));
	hmm_test_read(test, AT(addr, 9));
	KUNIT_ASSERT_EQ(test, 0, vm_munmap(AT(addr, 5), PAGE_SIZE));

	faults = hmm_test_faults();
	KUNIT_EXPECT_EQ(test, 3, hmm_fake_fault(fake, addr, 16, flags));
	KUNIT_EXPECT_EQ(test, 3, hmm_fake_valid(fake, addr, 16));
	KUNIT_EXPECT_EQ(test, 0, hmm_fake_writable(fake, addr, 16));
	KUNIT_EXPECT_EQ(test, 2, fake->fills);
	KUNIT_EXPECT_EQ(test, 3, hmm_fake_fault(fake, addr, 16,
						HMM_FAULT_PRESENT | HMM_FAULT_WRITE));
	KUNIT_EXPECT_EQ(test, 2, hmm_fake_writable(fake, addr, 16));
	KUNIT_EXPECT_EQ(test, faults, hmm_test_faults());
}

/* HMM_FAULT_PRESENT covers all of the range, also after windows without mappings. */
static void present_skips_windows(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long pages = 3UL << (30 - PAGE_SHIFT);

	KUNIT_ASSERT_EQ(test, 0, vm_munmap(fake->base, 3UL << 30));
	hmm_test_write(test, hmm_fake_map(fake, SZ_1G - PAGE_SIZE, PAGE_SIZE));
	hmm_test_write(test, hmm_fake_map(fake, SZ_2G, PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, 2, hmm_fake_fault(fake, fake->base, pages,
						HMM_FAULT_PRESENT | HMM_FAULT_READ));
	KUNIT_EXPECT_EQ(test, 2, hmm_fake_valid(fake, fake->base, pages));
}

/* A read fault does not break COW. */
static void read_breaks_no_cow(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 4), i, pfn[4];

	hmm_fake_fault_all(fake, addr, 4, HMM_FAULT_READ);
	for (i = 0; i < 4; i++) {
		KUNIT_EXPECT_TRUE(test, is_zero_pfn(hmm_pte_pfn(hmm_fake_entry(fake,
									       AT(addr, i)))));
		hmm_test_write(test, AT(addr, i));
	}
	KUNIT_EXPECT_EQ(test, 0, hmm_fake_valid(fake, addr, 4));
	hmm_fake_fault_all(fake, addr, 4, HMM_FAULT_READ);
	/* The CPU may write, but the device has not asked for write access. */
	KUNIT_EXPECT_EQ(test, 0, hmm_fake_writable(fake, addr, 4));
	for (i = 0; i < 4; i++)
		pfn[i] = hmm_pte_pfn(hmm_fake_entry(fake, AT(addr, i)));

	hmm_fake_fork(test);
	hmm_fake_invalidate(fake, MMU_NOTIFY_CLEAR, addr, AT(addr, 4));
	hmm_fake_fault_all(fake, addr, 4, HMM_FAULT_READ);
	for (i = 0; i < 4; i++)
		KUNIT_EXPECT_EQ(test, pfn[i], hmm_pte_pfn(hmm_fake_entry(fake, AT(addr, i))));
}

/*
 * A write fault upgrades a part of a range, and a later read fault keeps the write
 * access.
 */
static void upgrade_part_of_range(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 8), i, pfn[8];

	for (i = 0; i < 8; i++)
		hmm_test_write(test, AT(addr, i));
	hmm_fake_fault_all(fake, addr, 8, HMM_FAULT_READ);
	for (i = 0; i < 8; i++)
		pfn[i] = hmm_pte_pfn(hmm_fake_entry(fake, AT(addr, i)));
	hmm_fake_clear_log(fake);
	hmm_fake_fault_all(fake, AT(addr, 2), 4, HMM_FAULT_WRITE);
	KUNIT_EXPECT_EQ(test, 4, hmm_fake_writable(fake, addr, 8));
	hmm_fake_fault_all(fake, addr, 8, HMM_FAULT_READ);
	/* A read fault keeps write access. */
	KUNIT_EXPECT_EQ(test, 4, hmm_fake_writable(fake, addr, 8));
	KUNIT_EXPECT_EQ(test, 4, hmm_fake_writable(fake, AT(addr, 2), 4));
	for (i = 0; i < 8; i++)
		KUNIT_EXPECT_EQ(test, pfn[i], hmm_pte_pfn(hmm_fake_entry(fake, AT(addr, i))));
	hmm_fake_expect_none(fake);
}

static unsigned int order_at(struct hmm_fake *fake, unsigned long addr)
{
	return hmm_pte_order(hmm_fake_entry(fake, addr));
}

/* A block has the order of its folio, within the range of the fault. */
static void folio_orders(struct kunit *test)
{
	const unsigned long pages = PTRS_PER_PTE;
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_huge(fake, 2), pfn;

	/* A pmd maps the folio. */
	hmm_fake_fault_all(fake, addr, pages, HMM_FAULT_WRITE);
	KUNIT_EXPECT_EQ(test, PMD_ORDER, order_at(fake, addr));
	KUNIT_EXPECT_EQ(test, PMD_ORDER, order_at(fake, AT(addr, 511)));
	pfn = hmm_pte_pfn(hmm_fake_entry(fake, addr));
	hmm_fake_clear_log(fake);
	hmm_fake_invalidate(fake, MMU_NOTIFY_CLEAR, addr, AT(addr, pages));
	hmm_fake_fault_all(fake, AT(addr, 3), 6, HMM_FAULT_WRITE);
	KUNIT_EXPECT_EQ(test, 0, order_at(fake, AT(addr, 3)));
	KUNIT_EXPECT_EQ(test, 2, order_at(fake, AT(addr, 4)));
	KUNIT_EXPECT_EQ(test, 2, order_at(fake, AT(addr, 7)));
	KUNIT_EXPECT_EQ(test, 0, order_at(fake, AT(addr, 8)));
	KUNIT_EXPECT_EQ(test, 6, hmm_fake_valid(fake, addr, 2 * pages));
	hmm_fake_fault_all(fake, addr, pages, HMM_FAULT_READ);
	KUNIT_EXPECT_EQ(test, 6, hmm_fake_writable(fake, addr, pages));

	/* ptes map the folio. */
	mmap_write_lock(current->mm);
	split_huge_pmd_address(vma_lookup(current->mm, addr), addr, false, NULL);
	mmap_write_unlock(current->mm);
	KUNIT_EXPECT_EQ(test, 0, hmm_fake_valid(fake, addr, pages));
	hmm_fake_fault_all(fake, addr, pages, HMM_FAULT_WRITE);
	KUNIT_EXPECT_EQ(test, PMD_ORDER, order_at(fake, addr));
	KUNIT_EXPECT_EQ(test, PMD_ORDER, order_at(fake, AT(addr, 511)));
	KUNIT_EXPECT_EQ(test, pfn, hmm_pte_pfn(hmm_fake_entry(fake, addr)));
	KUNIT_EXPECT_EQ(test, pfn + 511, hmm_pte_pfn(hmm_fake_entry(fake, AT(addr, 511))));

	/* A page of the folio that is written has a block of its own. */
	hmm_fake_invalidate(fake, MMU_NOTIFY_CLEAR, addr, AT(addr, pages));
	hmm_fake_fault_all(fake, AT(addr, 16), 1, HMM_FAULT_WRITE);
	hmm_fake_fault_all(fake, addr, pages, HMM_FAULT_READ);
	KUNIT_EXPECT_EQ(test, 1, hmm_fake_writable(fake, addr, pages));
	KUNIT_EXPECT_EQ(test, 0, order_at(fake, AT(addr, 16)));
	KUNIT_EXPECT_EQ(test, 4, order_at(fake, addr));
	KUNIT_EXPECT_EQ(test, 0, order_at(fake, AT(addr, 17)));
	KUNIT_EXPECT_EQ(test, 8, order_at(fake, AT(addr, 256)));
}

/* A fault inside of a block keeps all of the block mirrored. */
static void fault_inside_block(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_huge(fake, 1);

	hmm_test_write(test, addr);
	hmm_fake_fault_all(fake, addr, PTRS_PER_PTE, HMM_FAULT_READ);
	hmm_fake_clear_log(fake);
	KUNIT_EXPECT_EQ(test, 1, hmm_fake_fault(fake, AT(addr, 7), 1, HMM_FAULT_READ));
	KUNIT_EXPECT_EQ(test, PMD_ORDER, order_at(fake, AT(addr, 7)));
	KUNIT_EXPECT_EQ(test, 1, hmm_fake_fault(fake, AT(addr, 7), 1, HMM_FAULT_WRITE));
	KUNIT_EXPECT_TRUE(test, hmm_pte_write(hmm_fake_entry(fake, AT(addr, 7))));
	KUNIT_EXPECT_EQ(test, PTRS_PER_PTE, hmm_fake_valid(fake, addr, PTRS_PER_PTE));
	KUNIT_EXPECT_EQ(test, 1, hmm_fake_writable(fake, addr, PTRS_PER_PTE));
	hmm_fake_expect_none(fake);
}

/*
 * If a part of a block may no longer be accessed, the whole block is revoked, and the
 * rest of it is mirrored again.
 */
static void fault_splits_block(struct kunit *test)
{
	const unsigned long pages = PTRS_PER_PTE, half = pages / 2;
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_huge(fake, 1);
	struct hmm_fake_call *call;

	hmm_test_write(test, addr);
	KUNIT_ASSERT_EQ(test, 0, hmm_fake_protect(AT(addr, half), half * PAGE_SIZE, PROT_READ));
	hmm_fake_fault_all(fake, addr, pages, HMM_FAULT_READ);
	KUNIT_ASSERT_EQ(test, PMD_ORDER, order_at(fake, addr));
	hmm_fake_clear_log(fake);
	call = hmm_fake_call(fake, addr, pages, HMM_FAULT_WRITE);
	KUNIT_EXPECT_EQ(test, half, hmm_fake_call_ends(call));
	hmm_fake_expect_one(fake, HMM_UPDATE_MIGRATE, addr, AT(addr, pages));
	KUNIT_EXPECT_EQ(test, half, hmm_fake_writable(fake, addr, pages));
	KUNIT_EXPECT_EQ(test, half, hmm_fake_valid(fake, addr, pages));
}

/* If the walk fails next to the page in its block, the fault succeeds. */
static void walk_fails_next_to_page(struct kunit *test)
{
	const unsigned long pages = PTRS_PER_PTE, half = pages / 2;
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_huge(fake, 1);
	struct hmm_fake_call *call;

	hmm_test_write(test, addr);
	KUNIT_ASSERT_EQ(test, 0, hmm_fake_protect(addr, half * PAGE_SIZE, PROT_READ));
	hmm_fake_fault_all(fake, addr, pages, HMM_FAULT_READ);
	KUNIT_ASSERT_EQ(test, PMD_ORDER, order_at(fake, addr));
	hmm_fake_clear_log(fake);
	/* No notifier is called for this. */
	mmap_write_lock(current->mm);
	vm_flags_clear(vma_lookup(current->mm, addr), VM_READ);
	mmap_write_unlock(current->mm);
	call = hmm_fake_call(fake, AT(addr, pages - 1), 1, HMM_FAULT_WRITE);
	KUNIT_EXPECT_EQ(test, 1, hmm_fake_call_ends(call));
	hmm_fake_expect_one(fake, HMM_UPDATE_MIGRATE, addr, AT(addr, pages));
	KUNIT_EXPECT_EQ(test, 1, hmm_fake_valid(fake, addr, pages));
}

/* hugetlb pages of 2 MiB are mirrored and revoked as blocks. */
static void hugetlb(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	struct file *file = hmm_fake_hugetlb(test, 2 * PMD_SIZE, PMD_ORDER);
	unsigned long addr;

	addr = hmm_fake_map_file(fake, SZ_512M, 2 * PMD_SIZE, file, MAP_SHARED);
	hmm_fake_fault_all(fake, addr, 2 * PTRS_PER_PTE, HMM_FAULT_WRITE);
	KUNIT_EXPECT_EQ(test, PMD_ORDER, order_at(fake, addr));
	KUNIT_EXPECT_EQ(test, PMD_ORDER, order_at(fake, addr + PMD_SIZE));
	hmm_fake_clear_log(fake);
	hmm_fake_invalidate(fake, MMU_NOTIFY_CLEAR, AT(addr, 600), AT(addr, 601));
	hmm_fake_expect_one(fake, HMM_UPDATE_MIGRATE, addr + PMD_SIZE, addr + 2 * PMD_SIZE);
	KUNIT_EXPECT_EQ(test, PTRS_PER_PTE, hmm_fake_valid(fake, addr, 2 * PTRS_PER_PTE));
	KUNIT_EXPECT_EQ(test, 0, vm_munmap(addr, 2 * PMD_SIZE));
	__fput_sync(file);
}

/* A 1 GiB hugetlb page is mirrored and revoked as one block. */
static void hugetlb_1g(struct kunit *test)
{
	const unsigned long pages = PUD_SIZE >> PAGE_SHIFT;
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	struct file *file = hmm_fake_hugetlb(test, PUD_SIZE, PUD_ORDER);
	unsigned long addr;

	addr = hmm_fake_map_file(fake, SZ_1G, PUD_SIZE, file, MAP_SHARED);
	hmm_fake_fault_all(fake, addr, pages, HMM_FAULT_WRITE);
	KUNIT_EXPECT_EQ(test, PUD_ORDER, order_at(fake, addr));
	KUNIT_EXPECT_EQ(test, PUD_ORDER, order_at(fake, AT(addr, pages - 1)));
	KUNIT_EXPECT_EQ(test, 1, fake->fills);
	/* A fault in the middle of the block */
	KUNIT_EXPECT_EQ(test, 1, hmm_fake_fault(fake, AT(addr, 7777), 1, HMM_FAULT_READ));
	KUNIT_EXPECT_EQ(test, PUD_ORDER, order_at(fake, addr));
	KUNIT_EXPECT_EQ(test, pages, hmm_fake_writable(fake, addr, pages));
	hmm_fake_clear_log(fake);
	hmm_fake_invalidate(fake, MMU_NOTIFY_CLEAR, AT(addr, 600), AT(addr, 601));
	hmm_fake_expect_one(fake, HMM_UPDATE_MIGRATE, addr, addr + PUD_SIZE);
	KUNIT_EXPECT_EQ(test, 0, hmm_fake_valid(fake, addr, pages));
	KUNIT_EXPECT_EQ(test, 0, vm_munmap(addr, PUD_SIZE));
	__fput_sync(file);
}

/* An invalidation marks pages dirty that the device has written. */
static void invalidation_marks_dirty(struct kunit *test)
{
	static const enum mmu_notifier_event events[] = {
		MMU_NOTIFY_PROTECTION_PAGE, MMU_NOTIFY_CLEAR, MMU_NOTIFY_UNMAP,
		MMU_NOTIFY_SOFT_DIRTY,
	};
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 4), i;

	for (i = 0; i < ARRAY_SIZE(events); i++) {
		struct page *page[2];

		hmm_fake_fault_all(fake, addr, 2, HMM_FAULT_WRITE);
		page[0] = hmm_pte_page(hmm_fake_entry(fake, addr));
		page[1] = hmm_pte_page(hmm_fake_entry(fake, AT(addr, 1)));
		ClearPageDirty(page[0]);
		ClearPageDirty(page[1]);
		down_read(&fake->mirror.lock);
		hmm_mirror_range_dirty(&fake->mirror, AT(addr, 1), AT(addr, 2));
		up_read(&fake->mirror.lock);
		KUNIT_EXPECT_FALSE(test, PageDirty(page[1]));
		hmm_fake_invalidate(fake, events[i], addr, AT(addr, 2));
		KUNIT_EXPECT_FALSE(test, PageDirty(page[0]));
		KUNIT_EXPECT_TRUE(test, PageDirty(page[1]));
	}
}

static void put_entry(struct hmm_area *a, unsigned long value)
{
	hmm_area_put(a, hmm_area_entry(a, 0), value);
}

/* A pagemap whose driver is about to go ends a fault. */
static void dying_pagemap(struct kunit *test)
{
	struct hmm_test_device *dev = hmm_test_device(test, MEMORY_DEVICE_GENERIC, PMD_SIZE);
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 4);
	struct hmm_area *a = hmm_fake_area(fake, AT(addr, 2));
	hmm_pte_t pte;

	put_entry(a, hmm_area_devmap(0, page_to_pfn(dev->page), PAGE_SHARED));
	KUNIT_EXPECT_EQ(test, 4, hmm_fake_fault(fake, addr, 4, HMM_FAULT_WRITE));
	pte = hmm_fake_entry(fake, AT(addr, 2));
	KUNIT_EXPECT_TRUE(test, hmm_pte_device(pte));
	KUNIT_EXPECT_EQ(test, page_to_pfn(dev->page), hmm_pte_pfn(pte));

	hmm_test_device_unplug(dev);
	/* The struct page may be gone, and HMM does not access it. */
	hmm_fake_invalidate(fake, MMU_NOTIFY_CLEAR, addr, AT(addr, 4));
	KUNIT_EXPECT_EQ(test, 2, hmm_fake_fault(fake, addr, 4, HMM_FAULT_WRITE));
	KUNIT_EXPECT_EQ(test, -EFAULT, hmm_fake_fault(fake, AT(addr, 2), 2, HMM_FAULT_WRITE));
	KUNIT_EXPECT_EQ(test, 0, hmm_fake_fault(fake, AT(addr, 2), 1, HMM_FAULT_READ |
						HMM_FAULT_PRESENT));
	KUNIT_EXPECT_EQ(test, 2, hmm_fake_valid(fake, addr, 4));
	hmm_area_restore(a);
}

/*
 * A fault leaves private memory of the device in place, and migrates that of other
 * devices back.
 */
static void private_memory_stays(struct kunit *test)
{
	struct hmm_test_device *dev = hmm_test_device(test, MEMORY_DEVICE_PRIVATE, PMD_SIZE);
	struct hmm_fake *fake = hmm_fake_new(test, 0), *other = hmm_fake_another(fake, 0);
	unsigned long addr = hmm_fake_map_small(fake, 4), pfn = page_to_pfn(dev->page);
	struct hmm_area *a = hmm_fake_area(fake, AT(addr, 2));
	hmm_pte_t pte;

	hmm_fake_set_owner(fake, dev);
	dev->gives_back = true;
	put_entry(a, pte_val(swp_entry_to_pte(make_writable_device_private_entry(pfn))));
	KUNIT_EXPECT_EQ(test, 4, hmm_fake_fault(fake, addr, 4, HMM_FAULT_WRITE));
	KUNIT_EXPECT_EQ(test, 0, dev->asked);
	pte = hmm_fake_entry(fake, AT(addr, 2));
	KUNIT_EXPECT_EQ(test, pfn, hmm_pte_pfn(pte));
	KUNIT_EXPECT_TRUE(test, hmm_pte_device(pte));
	KUNIT_EXPECT_TRUE(test, pte.pfn & HMM_PTE_UNADDRESSABLE);

	KUNIT_EXPECT_EQ(test, 4, hmm_fake_fault(other, addr, 4, HMM_FAULT_READ));
	KUNIT_EXPECT_EQ(test, 1, dev->asked);
	KUNIT_EXPECT_FALSE(test, hmm_pte_device(hmm_fake_entry(other, AT(addr, 2))));
	hmm_area_restore(a);
	hmm_fake_invalidate(fake, MMU_NOTIFY_CLEAR, addr, AT(addr, 4));
}

/* Coherent device memory is mirrored in place. */
static void coherent_memory(struct kunit *test)
{
	struct hmm_test_device *dev = hmm_test_device(test, MEMORY_DEVICE_COHERENT, PMD_SIZE);
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 4);
	struct hmm_area *a = hmm_fake_area(fake, AT(addr, 1));
	hmm_pte_t pte;

	put_entry(a, pte_val(mk_pte(dev->page, PAGE_SHARED)));
	KUNIT_EXPECT_EQ(test, 4, hmm_fake_fault(fake, addr, 4, HMM_FAULT_WRITE));
	pte = hmm_fake_entry(fake, AT(addr, 1));
	KUNIT_EXPECT_TRUE(test, hmm_pte_device(pte));
	KUNIT_EXPECT_FALSE(test, pte.pfn & HMM_PTE_UNADDRESSABLE);
	hmm_fake_invalidate(fake, MMU_NOTIFY_CLEAR, addr, AT(addr, 4));
	hmm_area_restore(a);
}

/*
 * Tables are charged to the memcg of the mirrored mm, and not to that of the faulting
 * task.
 */
static struct page *alloc_table_charged(struct hmm_pt *pt, unsigned int level)
{
	struct hmm_fake *fake = container_of(pt, struct hmm_fake, mirror.pt);
	struct mem_cgroup *memcg = get_mem_cgroup_from_mm(fake->mirror.mm);

	KUNIT_EXPECT_PTR_EQ(fake->test, memcg, current->active_memcg);
	mem_cgroup_put(memcg);
	kunit_deactivate_static_stub(fake->test, hmm_pt_alloc_table);
	return hmm_pt_alloc_table(pt, level);
}

/* A fault charges tables to the memcg of the mm, and restores active_memcg. */
static void tables_charged_to_mm(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 1);

	kunit_activate_static_stub(test, hmm_pt_alloc_table, alloc_table_charged);
	hmm_fake_fault_all(fake, addr, 1, HMM_FAULT_WRITE);
	KUNIT_EXPECT_NULL(test, current->active_memcg);
}

/* A range of several chunks with unaligned ends is one fault. */
static void several_chunks(struct kunit *test)
{
	const unsigned long pages = 4 * PTRS_PER_PTE - 5;
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_huge(fake, 4) + 3 * PAGE_SIZE;

	hmm_fake_fault_all(fake, addr, pages, HMM_FAULT_READ | HMM_FAULT_WRITE);
	KUNIT_EXPECT_EQ(test, 4, fake->fills);
	KUNIT_EXPECT_EQ(test, HMM_UPDATE_DEVICE_WFAULT, fake->fill.event);
	KUNIT_EXPECT_EQ(test, PMD_ORDER, order_at(fake, addr + PMD_SIZE));
	KUNIT_EXPECT_EQ(test, pages, hmm_fake_valid(fake, fake->base, SZ_1G >> PAGE_SHIFT));
	KUNIT_EXPECT_EQ(test, 1, hmm_fake_stats(fake).faults);
	KUNIT_EXPECT_EQ(test, pages, hmm_fake_stats(fake).pages);
}

static struct kunit_case hmm_mirror_fault_cases[] = {
	KUNIT_CASE(bad_flags),
	KUNIT_CASE(unmirrorable_memory_fails),
	KUNIT_CASE(ends_at_end_of_file),
	KUNIT_CASE(killed_task_populates_nothing),
	KUNIT_CASE(sufficient_access_skips_driver),
	KUNIT_CASE(page_of_huge_page),
	KUNIT_CASE(dirty_before_write),
	KUNIT_CASE(without_callback),
	KUNIT_CASE(zap_revokes_blocks_and_tables),
	KUNIT_CASE(driver_fails),
	KUNIT_CASE(driver_fails_later),
	KUNIT_CASE(driver_fails_after_hole),
	KUNIT_CASE(driver_shares_lock),
	KUNIT_CASE(short_count_at_holes),
	KUNIT_CASE(may_write),
	KUNIT_CASE(present_skips_holes),
	KUNIT_CASE(present_skips_windows),
	KUNIT_CASE(read_breaks_no_cow),
	KUNIT_CASE(upgrade_part_of_range),
	KUNIT_CASE(folio_orders),
	KUNIT_CASE(fault_inside_block),
	KUNIT_CASE(fault_splits_block),
	KUNIT_CASE(walk_fails_next_to_page),
	KUNIT_CASE(hugetlb),
	KUNIT_CASE(hugetlb_1g),
	KUNIT_CASE(invalidation_marks_dirty),
	KUNIT_CASE(dying_pagemap),
	KUNIT_CASE(private_memory_stays),
	KUNIT_CASE(coherent_memory),
	KUNIT_CASE(tables_charged_to_mm),
	KUNIT_CASE(several_chunks),
	{}
};

static struct kunit_suite hmm_mirror_fault_suite = {
	.name = "hmm_mirror_fault",
	.test_cases = hmm_mirror_fault_cases,
};

kunit_test_suite(hmm_mirror_fault_suite);
