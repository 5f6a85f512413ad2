// SPDX-License-Identifier: GPL-2.0
/*
 * HMM_FAULT_EXCLUSIVE on each kind of memory, as the table in section "Exclusive access"
 * of Documentation/vm/hmm.rst lists them. hmm_mirror_exclusive_kunit.c tests its rows for
 * device memory: private_memory_stays and devmap_is_not_supported.
 */
#include <linux/fdtable.h>
#include <linux/file.h>
#include <linux/mman.h>
#include <linux/shmem_fs.h>

#include <asm/unistd.h>

#include "hmm_mirror_test.h"

#define KIND_PAGES	4

/**
 * struct kind - a kind of memory
 * @name: name of the row
 * @map: maps KIND_PAGES pages of that kind and returns their address
 * @ret: what a fault of all these pages returns
 */
struct kind {
	const char *name;
	unsigned long (*map)(struct hmm_fake *fake);
	long ret;
};

static unsigned long kind_anonymous(struct hmm_fake *fake)
{
	unsigned long addr = hmm_fake_map_small(fake, KIND_PAGES), i;

	for (i = 0; i < KIND_PAGES; i++)
		hmm_test_write(fake->test, addr + i * PAGE_SIZE);
	return addr;
}

static unsigned long kind_missing(struct hmm_fake *fake)
{
	return hmm_fake_map_small(fake, KIND_PAGES);
}

static unsigned long kind_zero_page(struct hmm_fake *fake)
{
	unsigned long addr = hmm_fake_map_small(fake, KIND_PAGES), i;

	for (i = 0; i < KIND_PAGES; i++)
		hmm_test_read(fake->test, addr + i * PAGE_SIZE);
	return addr;
}

static unsigned long kind_thp(struct hmm_fake *fake)
{
	unsigned long addr = hmm_fake_map_huge(fake, 1);

	hmm_test_write(fake->test, addr);
	return addr;
}

static unsigned long kind_shmem(struct hmm_fake *fake, unsigned long flags)
{
	struct file *file = shmem_file_setup("hmm_mirror", KIND_PAGES * PAGE_SIZE, 0);
	unsigned long addr;

	KUNIT_ASSERT_NOT_ERR_OR_NULL(fake->test, file);
	addr = hmm_fake_map_file(fake, SZ_512M, KIND_PAGES * PAGE_SIZE, file, flags);
	fput(file);
	return addr;
}

static unsigned long kind_private_file(struct hmm_fake *fake)
{
	unsigned long addr = kind_shmem(fake, MAP_PRIVATE);

	/* One page was written, one was read, and two were not touched. */
	hmm_test_write(fake->test, addr);
	hmm_test_read(fake->test, addr + PAGE_SIZE);
	return addr;
}

static unsigned long kind_shared_file(struct hmm_fake *fake)
{
	unsigned long addr = kind_shmem(fake, MAP_SHARED);

	hmm_test_write(fake->test, addr);
	return addr;
}

static unsigned long kind_shared_anonymous(struct hmm_fake *fake)
{
	return hmm_fake_map_file(fake, SZ_512M, KIND_PAGES * PAGE_SIZE, NULL,
				 MAP_ANONYMOUS | MAP_SHARED);
}

static unsigned long kind_hugetlb(struct hmm_fake *fake, unsigned long flags)
{
	struct file *file = hmm_fake_hugetlb(fake->test, PMD_SIZE, PMD_ORDER);
	unsigned long addr = hmm_fake_map_file(fake, SZ_512M, PMD_SIZE, file, flags);

	fput(file);
	return addr;
}

static unsigned long kind_private_hugetlb(struct hmm_fake *fake)
{
	return kind_hugetlb(fake, MAP_PRIVATE);
}

static unsigned long kind_shared_hugetlb(struct hmm_fake *fake)
{
	return kind_hugetlb(fake, MAP_SHARED);
}

static unsigned long kind_read_only(struct hmm_fake *fake)
{
	unsigned long addr = kind_anonymous(fake);

	KUNIT_ASSERT_EQ(fake->test, 0, hmm_fake_protect(addr, KIND_PAGES * PAGE_SIZE,
							PROT_READ));
	return addr;
}

static unsigned long kind_no_access(struct hmm_fake *fake)
{
	return fake->base;
}

static unsigned long kind_no_mapping(struct hmm_fake *fake)
{
	KUNIT_ASSERT_EQ(fake->test, 0, vm_munmap(fake->base, KIND_PAGES * PAGE_SIZE));
	return fake->base;
}

static unsigned long kind_special(struct hmm_fake *fake)
{
	unsigned long addr = kind_missing(fake);

	mmap_write_lock(current->mm);
	vm_flags_set(vma_lookup(current->mm, addr), VM_PFNMAP);
	mmap_write_unlock(current->mm);
	return addr;
}

static unsigned long kind_secret(struct hmm_fake *fake)
{
	int fd = hmm_test_syscall(__NR_memfd_secret, 0, 0, 0, 0, 0);
	struct file *file;
	unsigned long addr;

	KUNIT_ASSERT_GE_MSG(fake->test, fd, 0, "boot with secretmem.enable=1");
	file = fget(fd);
	close_fd(fd);
	KUNIT_ASSERT_EQ(fake->test, 0, vfs_truncate(&file->f_path, KIND_PAGES * PAGE_SIZE));
	addr = hmm_fake_map_file(fake, SZ_512M, KIND_PAGES * PAGE_SIZE, file, MAP_SHARED);
	fput(file);
	return addr;
}

static const struct kind kinds[] = {
	{ "anonymous",		kind_anonymous,		KIND_PAGES },
	{ "missing",		kind_missing,		KIND_PAGES },
	{ "zero_page",		kind_zero_page,		KIND_PAGES },
	{ "thp",		kind_thp,		KIND_PAGES },
	{ "private_file",	kind_private_file,	KIND_PAGES },
	{ "shared_file",	kind_shared_file,	-EOPNOTSUPP },
	{ "shared_anonymous",	kind_shared_anonymous,	-EOPNOTSUPP },
	{ "private_hugetlb",	kind_private_hugetlb,	-EOPNOTSUPP },
	{ "shared_hugetlb",	kind_shared_hugetlb,	-EOPNOTSUPP },
	{ "read_only",		kind_read_only,		-EPERM },
	{ "no_access",		kind_no_access,		-EFAULT },
	{ "no_mapping",		kind_no_mapping,	-EFAULT },
	{ "special",		kind_special,		-EFAULT },
	{ "secret",		kind_secret,		-EFAULT },
};

KUNIT_ARRAY_PARAM_DESC(kinds, kinds, name);

/* An exclusive fault returns the result of the table for each kind of memory. */
static void exclusive_by_kind(struct kunit *test)
{
	const struct kind *kind = test->param_value;
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = kind->map(fake);

	KUNIT_EXPECT_EQ(test, kind->ret,
			hmm_fake_fault(fake, addr, KIND_PAGES, HMM_FAULT_EXCLUSIVE));
	KUNIT_EXPECT_EQ(test, max(kind->ret, 0),
			hmm_fake_count(fake, addr, KIND_PAGES, HMM_PTE_EXCLUSIVE));
	/*
	 * A second fault of one page keeps exclusive pages exclusive, and returns the
	 * same error.
	 */
	KUNIT_EXPECT_EQ(test, min(kind->ret, 1),
			hmm_fake_fault(fake, addr + PAGE_SIZE, 1, HMM_FAULT_EXCLUSIVE));
	KUNIT_EXPECT_EQ(test, max(kind->ret, 0),
			hmm_fake_count(fake, addr, KIND_PAGES, HMM_PTE_EXCLUSIVE));
}

static struct kunit_case hmm_mirror_kinds_cases[] = {
	KUNIT_CASE_PARAM(exclusive_by_kind, kinds_gen_params),
	{}
};

static struct kunit_suite hmm_mirror_kinds_suite = {
	.name = "hmm_mirror_kinds",
	.test_cases = hmm_mirror_kinds_cases,
};

kunit_test_suite(hmm_mirror_kinds_suite);
