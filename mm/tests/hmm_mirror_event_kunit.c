// SPDX-License-Identifier: GPL-2.0
/*
 * Each event, from the code that sends it: which update the driver gets, for which range,
 * and what the mirror page table contains afterwards
 */
#include <linux/fs.h>
#include <linux/falloc.h>
#include <linux/hugetlb.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/mount.h>
#include <linux/rmap.h>
#include <linux/sched/task.h>
#include <linux/shmem_fs.h>
#include <linux/swap.h>
#include <linux/userfaultfd_k.h>

#include <asm/unistd.h>

#include "../internal.h"
#include "hmm_mirror_test.h"

enum event_backing {
	EVENT_SMALL,		/* 16 anonymous pages */
	EVENT_MANY,		/* 512 anonymous pages, where a THP fits */
	EVENT_THP,		/* 2 THPs of 2 MiB */
	EVENT_SHMEM,		/* 16 shared pages */
	EVENT_HUGETLB,		/* 4 private pages of 2 MiB */
	EVENT_HUGETLB_SHARED,	/* 1 page of 2 MiB in 1 GiB of shared hugetlb memory */
};

/* What happens to the entries in the range of the update */
enum event_result {
	EVENT_GONE,
	EVENT_PROTECTED,
};

struct event;

/**
 * struct event_area - memory that is mirrored
 * @fake: the mirror
 * @event: the event to cause
 * @addr: start of the mapping
 * @size: size of the mapping
 * @mirrored: number of leading pages that are mirrored
 * @start: start of the range of the event
 * @end: end of the range of the event
 * @file: the mapped file, or NULL
 */
struct event_area {
	struct hmm_fake *fake;
	const struct event *event;
	unsigned long addr;
	unsigned long size;
	unsigned long mirrored;
	unsigned long start;
	unsigned long end;
	struct file *file;
};

/**
 * struct event - an event
 * @name: name of the event
 * @backing: the memory that it affects
 * @first: first page that it affects
 * @count: number of pages that it affects
 * @act: causes the event
 * @update: the update that the driver gets
 * @result: what happens to the entries
 * @whole: the update covers the whole mapping
 * @window: the update covers the whole window
 * @calls: the number of updates, one for each page; 0 for a single update
 */
struct event {
	const char *name;
	enum event_backing backing;
	unsigned int first;
	unsigned int count;
	void (*act)(struct event_area *a);
	enum hmm_update_event update;
	enum event_result result;
	bool whole;
	bool window;
	unsigned int calls;
};

static unsigned long event_bytes(const struct event_area *a)
{
	return a->end - a->start;
}

static void event_is_good(struct event_area *a, long ret)
{
	KUNIT_EXPECT_EQ(a->fake->test, 0, ret);
}

static void act_fork(struct event_area *a)
{
	hmm_fake_fork(a->fake->test);
}

static void act_mprotect_read(struct event_area *a)
{
	event_is_good(a, hmm_fake_protect(a->start, event_bytes(a), PROT_READ));
}

static void act_mprotect_none(struct event_area *a)
{
	event_is_good(a, hmm_fake_protect(a->start, event_bytes(a), PROT_NONE));
}

static void act_munmap(struct event_area *a)
{
	event_is_good(a, vm_munmap(a->start, event_bytes(a)));
}

static void act_mmap(struct event_area *a)
{
	unsigned long addr = vm_mmap(NULL, a->start, event_bytes(a), PROT_READ,
				     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, 0);

	KUNIT_EXPECT_EQ(a->fake->test, a->start, addr);
}

static void act_mremap(struct event_area *a)
{
	unsigned long to = a->addr + SZ_64M;

	KUNIT_EXPECT_EQ(a->fake->test, to,
			hmm_test_syscall(__NR_mremap, a->start, event_bytes(a), event_bytes(a),
					 MREMAP_MAYMOVE | MREMAP_FIXED, to));
}

static void act_dontneed(struct event_area *a)
{
	event_is_good(a, do_madvise(current->mm, a->start, event_bytes(a), MADV_DONTNEED));
}

static void act_free(struct event_area *a)
{
	event_is_good(a, do_madvise(current->mm, a->start, event_bytes(a), MADV_FREE));
}

static void act_collapse(struct event_area *a)
{
	event_is_good(a, do_madvise(current->mm, a->start, event_bytes(a), MADV_HUGEPAGE));
	event_is_good(a, do_madvise(current->mm, a->start, event_bytes(a), MADV_COLLAPSE));
}

static struct vm_area_struct *event_vma(struct event_area *a)
{
	struct vm_area_struct *vma = vma_lookup(current->mm, a->start);

	KUNIT_ASSERT_NOT_NULL(a->fake->test, vma);
	return vma;
}

static void act_split(struct event_area *a)
{
	mmap_write_lock(current->mm);
	split_huge_pmd_address(event_vma(a), a->start, false, NULL);
	mmap_write_unlock(current->mm);
}

static void act_numa(struct event_area *a)
{
	mmap_read_lock(current->mm);
	change_prot_numa(event_vma(a), a->start, a->end);
	mmap_read_unlock(current->mm);
}

static void act_uffd_wp(struct event_area *a)
{
	mmap_read_lock(current->mm);
	KUNIT_EXPECT_GT(a->fake->test, uffd_wp_range(event_vma(a), a->start, event_bytes(a),
						     true), 0);
	mmap_read_unlock(current->mm);
}

static void act_unshare(struct event_area *a)
{
	mmap_write_lock(current->mm);
	hugetlb_unshare_all_pmds(event_vma(a));
	mmap_write_unlock(current->mm);
}

static struct folio *event_folio(struct event_area *a, unsigned long addr)
{
	struct page *page;

	KUNIT_ASSERT_EQ(a->fake->test, 1, get_user_pages_fast(addr, 1, 0, &page));
	return page_folio(page);
}

/* Like reclaim, and like migration of file pages */
static void act_rmap(struct event_area *a)
{
	unsigned long addr;

	for (addr = a->start; addr < a->end; addr += PAGE_SIZE) {
		struct folio *folio = event_folio(a, addr);

		folio_lock(folio);
		try_to_unmap(folio, 0);
		KUNIT_EXPECT_FALSE(a->fake->test, folio_mapped(folio));
		folio_unlock(folio);
		folio_put(folio);
	}
}

/* Like writeback */
static void act_mkclean(struct event_area *a)
{
	unsigned long addr;

	for (addr = a->start; addr < a->end; addr += PAGE_SIZE) {
		struct folio *folio = event_folio(a, addr);

		folio_lock(folio);
		KUNIT_EXPECT_EQ(a->fake->test, 1, folio_mkclean(folio));
		folio_unlock(folio);
		folio_put(folio);
	}
}

static void act_migrate(struct event_area *a)
{
	struct migration_target_control target = {
		.nid = NUMA_NO_NODE,
		.gfp_mask = GFP_HIGHUSER_MOVABLE,
		.reason = MR_SYSCALL,
	};
	struct folio *folio = event_folio(a, a->start);
	LIST_HEAD(folios);

	lru_add_drain_all();
	KUNIT_ASSERT_TRUE(a->fake->test, isolate_folio_to_list(folio, &folios));
	folio_put(folio);
	event_is_good(a, migrate_pages(&folios, alloc_migration_target, NULL,
				       (unsigned long)&target, MIGRATE_SYNC, MR_SYSCALL, NULL));
}

/* Migration by the device's own driver revokes its entries, too. */
static void act_migrate_vma(struct event_area *a)
{
	unsigned long src[16] = {}, dst[16] = {};
	struct migrate_vma args = {
		.src = src,
		.dst = dst,
		.start = a->start,
		.end = a->end,
		.pgmap_owner = a->fake->mirror.dev_private_owner,
		.flags = MIGRATE_VMA_SELECT_SYSTEM,
	};

	mmap_read_lock(current->mm);
	args.vma = event_vma(a);
	event_is_good(a, migrate_vma_setup(&args));
	KUNIT_EXPECT_EQ(a->fake->test, event_bytes(a) >> PAGE_SHIFT, args.cpages);
	migrate_vma_pages(&args);
	migrate_vma_finalize(&args);
	mmap_read_unlock(current->mm);
}

static void act_exclusive(struct event_area *a)
{
	struct page *page = NULL;

	mmap_read_lock(current->mm);
	make_device_exclusive_range(current->mm, a->start, a->start + PAGE_SIZE, &page,
				    a->fake->mirror.dev_private_owner);
	mmap_read_unlock(current->mm);
	KUNIT_ASSERT_NOT_NULL(a->fake->test, page);
	unlock_page(page);
	put_page(page);
}

static void act_truncate(struct event_area *a)
{
	event_is_good(a, vfs_truncate(&a->file->f_path, a->start - a->addr));
}

static void act_punch_hole(struct event_area *a)
{
	event_is_good(a, vfs_fallocate(a->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				       a->start - a->addr, event_bytes(a)));
}

/*
 * A kernel thread cannot use these files of /proc, because it has no mm of its own. So a
 * user-mode thread that runs kernel code shares the mm and uses them.
 */
struct event_proc {
	const char *path;
	int flags;
	long (*use)(struct event_area *a, struct file *file);
	struct event_area *a;
	long ret;
	struct completion done;
};

static long event_open(struct event_proc *proc)
{
	struct file_system_type *type = get_fs_type("proc");
	struct vfsmount *mnt;
	struct file *file;
	long ret;

	if (!type)
		return -ENODEV;
	mnt = kern_mount(type);
	put_filesystem(type);
	if (IS_ERR(mnt))
		return PTR_ERR(mnt);
	file = file_open_root_mnt(mnt, proc->path, proc->flags, 0);
	ret = PTR_ERR_OR_ZERO(file);
	if (!ret) {
		ret = proc->use(proc->a, file);
		__fput_sync(file);
	}
	kern_unmount(mnt);
	return ret;
}

static int event_user(void *arg)
{
	struct event_proc *proc = arg;

	proc->ret = event_open(proc);
	complete(&proc->done);
	do_exit(0);
}

static void event_use_proc(struct event_area *a, const char *path, int flags,
			   long (*use)(struct event_area *a, struct file *file))
{
	struct event_proc proc = { .path = path, .flags = flags, .use = use, .a = a };

	init_completion(&proc.done);
	KUNIT_ASSERT_GT(a->fake->test, user_mode_thread(event_user, &proc, SIGCHLD), 0);
	wait_for_completion(&proc.done);
	event_is_good(a, proc.ret);
}

static long event_clear_refs(struct event_area *a, struct file *file)
{
	char __user *buf = (char __user *)a->fake->base;
	loff_t pos = 0;
	long ret;

	if (put_user('4', buf))
		return -EFAULT;
	ret = vfs_write(file, buf, 1, &pos);
	return ret == 1 ? 0 : ret ?: -EIO;
}

/* The first page of the area holds the arguments of the system calls. */
static void act_clear_refs(struct event_area *a)
{
	hmm_fake_map(a->fake, 0, PAGE_SIZE);
	event_use_proc(a, "self/clear_refs", O_WRONLY, event_clear_refs);
}

static long event_pagemap_scan(struct event_area *a, struct file *file)
{
	struct pm_scan_arg __user *uarg = (void __user *)a->fake->base;
	struct pm_scan_arg arg = {
		.size = sizeof(arg),
		.flags = PM_SCAN_WP_MATCHING,
		.start = a->start,
		.end = a->end,
		.category_mask = PAGE_IS_PRESENT,
		.return_mask = PAGE_IS_PRESENT,
	};
	long ret;

	if (copy_to_user(uarg, &arg, sizeof(arg)))
		return -EFAULT;
	ret = file->f_op->unlocked_ioctl(file, PAGEMAP_SCAN, (unsigned long)uarg);
	return ret < 0 ? ret : 0;
}

static void act_pagemap_scan(struct event_area *a)
{
	hmm_fake_map(a->fake, 0, PAGE_SIZE);
	event_use_proc(a, "self/pagemap", O_RDONLY, event_pagemap_scan);
}

/* Scan two VMAs, of which only the first is readable. */
static void act_pagemap_scan_two(struct event_area *a)
{
	unsigned long middle = a->start + event_bytes(a) / 2;

	event_is_good(a, hmm_fake_protect(middle, a->end - middle, PROT_NONE));
	hmm_fake_clear_log(a->fake);
	act_pagemap_scan(a);
}

/* Scan two VMAs that are both readable; the kernel does not check that. */
static void act_pagemap_scan_both(struct event_area *a)
{
	unsigned long middle = a->start + event_bytes(a) / 2;

	event_is_good(a, hmm_fake_protect(middle, a->end - middle, PROT_READ));
	hmm_fake_clear_log(a->fake);
	act_pagemap_scan(a);
}

static const struct event events[] = {
	{ "fork", EVENT_SMALL, 4, 8, act_fork,
	  HMM_UPDATE_FORK, EVENT_PROTECTED, .whole = true },
	{ "fork_thp", EVENT_THP, 0, 1, act_fork,
	  HMM_UPDATE_FORK, EVENT_PROTECTED, .whole = true },
	{ "fork_hugetlb", EVENT_HUGETLB, 0, 512, act_fork,
	  HMM_UPDATE_MIGRATE, EVENT_GONE, .whole = true },
	{ "mprotect_read", EVENT_SMALL, 4, 8, act_mprotect_read,
	  HMM_UPDATE_WRITE_PROTECT, EVENT_PROTECTED },
	{ "mprotect_read_shmem", EVENT_SHMEM, 0, 1, act_mprotect_read,
	  HMM_UPDATE_WRITE_PROTECT, EVENT_PROTECTED },
	{ "mprotect_none", EVENT_SMALL, 4, 8, act_mprotect_none,
	  HMM_UPDATE_MIGRATE, EVENT_GONE },
	{ "mprotect_none_first", EVENT_SMALL, 0, 1, act_mprotect_none,
	  HMM_UPDATE_MIGRATE, EVENT_GONE },
	{ "mprotect_none_last", EVENT_SMALL, 15, 1, act_mprotect_none,
	  HMM_UPDATE_MIGRATE, EVENT_GONE },
	{ "mprotect_hugetlb", EVENT_HUGETLB, 512, 1024, act_mprotect_read,
	  HMM_UPDATE_MIGRATE, EVENT_GONE },
	{ "munmap", EVENT_SMALL, 4, 8, act_munmap,
	  HMM_UPDATE_MUNMAP, EVENT_GONE },
	{ "munmap_all", EVENT_SMALL, 0, 16, act_munmap,
	  HMM_UPDATE_MUNMAP, EVENT_GONE },
	{ "munmap_hugetlb", EVENT_HUGETLB, 512, 512, act_munmap,
	  HMM_UPDATE_MUNMAP, EVENT_GONE },
	{ "mmap", EVENT_SMALL, 4, 8, act_mmap,
	  HMM_UPDATE_MUNMAP, EVENT_GONE },
	{ "mremap", EVENT_SMALL, 4, 8, act_mremap,
	  HMM_UPDATE_MUNMAP, EVENT_GONE },
	{ "mremap_thp", EVENT_THP, 512, 512, act_mremap,
	  HMM_UPDATE_MUNMAP, EVENT_GONE },
	{ "dontneed", EVENT_SMALL, 4, 8, act_dontneed,
	  HMM_UPDATE_MIGRATE, EVENT_GONE },
	{ "dontneed_shmem", EVENT_SHMEM, 3, 2, act_dontneed,
	  HMM_UPDATE_MIGRATE, EVENT_GONE },
	{ "dontneed_thp", EVENT_THP, 0, 512, act_dontneed,
	  HMM_UPDATE_MIGRATE, EVENT_GONE },
	{ "free", EVENT_SMALL, 4, 8, act_free,
	  HMM_UPDATE_MIGRATE, EVENT_GONE },
	{ "collapse", EVENT_MANY, 0, 512, act_collapse,
	  HMM_UPDATE_MIGRATE, EVENT_GONE },
	{ "split", EVENT_THP, 512, 512, act_split,
	  HMM_UPDATE_MIGRATE, EVENT_GONE },
	{ "rmap", EVENT_SHMEM, 4, 3, act_rmap,
	  HMM_UPDATE_MIGRATE, EVENT_GONE, .calls = 3 },
	{ "migrate", EVENT_SMALL, 4, 1, act_migrate,
	  HMM_UPDATE_MIGRATE, EVENT_GONE },
	{ "migrate_shmem", EVENT_SHMEM, 4, 1, act_migrate,
	  HMM_UPDATE_MIGRATE, EVENT_GONE },
	{ "migrate_thp", EVENT_THP, 512, 512, act_migrate,
	  HMM_UPDATE_MIGRATE, EVENT_GONE },
	{ "migrate_vma", EVENT_SMALL, 4, 8, act_migrate_vma,
	  HMM_UPDATE_MIGRATE, EVENT_GONE },
	{ "exclusive", EVENT_SMALL, 4, 1, act_exclusive,
	  HMM_UPDATE_MIGRATE, EVENT_GONE },
	{ "mkclean", EVENT_SHMEM, 4, 3, act_mkclean,
	  HMM_UPDATE_WRITE_PROTECT, EVENT_PROTECTED, .calls = 3 },
	{ "truncate", EVENT_SHMEM, 4, 12, act_truncate,
	  HMM_UPDATE_MIGRATE, EVENT_GONE },
	{ "punch_hole", EVENT_SHMEM, 4, 3, act_punch_hole,
	  HMM_UPDATE_MIGRATE, EVENT_GONE },
	{ "numa_hint", EVENT_SMALL, 4, 8, act_numa,
	  HMM_UPDATE_WRITE_PROTECT, EVENT_PROTECTED },
	{ "uffd_wp", EVENT_SMALL, 4, 8, act_uffd_wp,
	  HMM_UPDATE_WRITE_PROTECT, EVENT_PROTECTED },
	{ "clear_refs", EVENT_SMALL, 0, 16, act_clear_refs,
	  HMM_UPDATE_ISDIRTY, EVENT_PROTECTED, .window = true },
	{ "pagemap_scan", EVENT_SMALL, 4, 8, act_pagemap_scan,
	  HMM_UPDATE_WRITE_PROTECT, EVENT_PROTECTED },
	{ "pagemap_scan_two", EVENT_SMALL, 4, 12, act_pagemap_scan_two,
	  HMM_UPDATE_MIGRATE, EVENT_GONE },
	{ "pagemap_scan_both", EVENT_SMALL, 4, 12, act_pagemap_scan_both,
	  HMM_UPDATE_MIGRATE, EVENT_GONE },
	{ "hugetlb_unshare", EVENT_HUGETLB_SHARED, 0, 512, act_unshare,
	  HMM_UPDATE_MIGRATE, EVENT_GONE, .whole = true },
	{ "mprotect_hugetlb_shared", EVENT_HUGETLB_SHARED, 0, 512, act_mprotect_read,
	  HMM_UPDATE_MIGRATE, EVENT_GONE, .whole = true },
};

static void event_fput(void *file)
{
	__fput_sync(file);
}

static void event_map_file(struct event_area *a, unsigned long offset, unsigned long flags)
{
	struct kunit *test = a->fake->test;

	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, event_fput, a->file));
	a->addr = hmm_fake_map_file(a->fake, offset, a->size, a->file, flags);
}

static void event_map(struct event_area *a)
{
	struct kunit *test = a->fake->test;

	a->size = 16 * PAGE_SIZE;
	switch (a->event->backing) {
	case EVENT_MANY:
		a->size = PMD_SIZE;
		fallthrough;
	case EVENT_SMALL:
		a->addr = hmm_fake_map_small(a->fake, a->size >> PAGE_SHIFT);
		break;
	case EVENT_THP:
		a->size = 2 * PMD_SIZE;
		a->addr = hmm_fake_map_huge(a->fake, 2);
		break;
	case EVENT_SHMEM:
		a->file = shmem_file_setup("hmm_mirror", a->size, 0);
		KUNIT_ASSERT_NOT_ERR_OR_NULL(test, a->file);
		event_map_file(a, SZ_512M, MAP_SHARED);
		break;
	case EVENT_HUGETLB:
		a->size = 4 * PMD_SIZE;
		a->file = hmm_fake_hugetlb(test, a->size, PMD_ORDER);
		event_map_file(a, SZ_512M, MAP_PRIVATE);
		break;
	case EVENT_HUGETLB_SHARED:
		a->size = SZ_1G;
		a->file = hmm_fake_hugetlb(test, a->size, PMD_ORDER);
		event_map_file(a, SZ_1G, MAP_SHARED);
		break;
	}
	a->mirrored = a->size >> PAGE_SHIFT;
	if (a->event->backing == EVENT_HUGETLB_SHARED)
		a->mirrored = PTRS_PER_PTE;
}

/* Check the updates that the driver got and the entries that are left. */
static void event_expect(struct event_area *a, unsigned long pfn)
{
	const struct event *event = a->event;
	struct hmm_fake *fake = a->fake;
	struct kunit *test = fake->test;
	unsigned long start = a->start, end = a->end, pages, left, i;

	if (event->whole) {
		start = a->addr;
		end = a->addr + a->size;
	} else if (event->window) {
		start = ALIGN_DOWN(start, SZ_1G);
		end = start + SZ_1G;
	}
	if (event->calls) {
		KUNIT_EXPECT_EQ(test, event->calls, fake->count);
		for (i = 0; i < event->calls; i++)
			hmm_fake_expect(fake, i, event->update, start + i * PAGE_SIZE,
					start + (i + 1) * PAGE_SIZE);
	} else {
		hmm_fake_expect_one(fake, event->update, start, end);
	}

	start = max(start, a->addr);
	end = min(end, a->addr + (a->mirrored << PAGE_SHIFT));
	pages = (end - start) >> PAGE_SHIFT;
	left = event->result == EVENT_PROTECTED ? pages : 0;
	KUNIT_EXPECT_EQ(test, left, hmm_fake_valid(fake, start, pages));
	KUNIT_EXPECT_EQ(test, 0, hmm_fake_writable(fake, start, pages));
	if (left)
		KUNIT_EXPECT_EQ(test, pfn, hmm_pte_pfn(hmm_fake_entry(fake, start)));

	/* The entries outside of the range are unchanged. */
	KUNIT_EXPECT_EQ(test, (start - a->addr) >> PAGE_SHIFT,
			hmm_fake_writable(fake, a->addr, (start - a->addr) >> PAGE_SHIFT));
	pages = a->mirrored - ((end - a->addr) >> PAGE_SHIFT);
	KUNIT_EXPECT_EQ(test, pages, hmm_fake_writable(fake, end, pages));
}

/* An event causes the right update, and leaves the right entries. */
static void event(struct kunit *test)
{
	const struct event *event = test->param_value;
	struct event_area a = { .event = event };
	unsigned long pfn;

	a.fake = hmm_fake_new(test, 0);
	event_map(&a);
	a.start = a.addr + event->first * PAGE_SIZE;
	a.end = a.start + event->count * PAGE_SIZE;
	hmm_fake_fault_all(a.fake, a.addr, a.mirrored, HMM_FAULT_WRITE);
	KUNIT_ASSERT_EQ(test, HMM_UPDATE_DEVICE_WFAULT, a.fake->fill.event);

	pfn = hmm_pte_pfn(hmm_fake_entry(a.fake, event->whole || event->window ?
					 a.addr : a.start));
	hmm_fake_clear_log(a.fake);
	event->act(&a);
	event_expect(&a, pfn);
}

static void event_name(const struct event *event, char *desc)
{
	strscpy(desc, event->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(event, events, event_name);

/* An event that revokes write access skips a driver that has no write access. */
static void event_skips_read_only(struct kunit *test)
{
	const struct event *event = test->param_value;
	struct event_area a = { .event = event };
	unsigned long skipped;

	a.fake = hmm_fake_new(test, 0);
	event_map(&a);
	a.start = a.addr + event->first * PAGE_SIZE;
	a.end = a.start + event->count * PAGE_SIZE;
	/* Populate, so that the CPU has something to protect. */
	hmm_fake_fault_all(a.fake, a.addr, a.mirrored, HMM_FAULT_WRITE);
	hmm_fake_invalidate(a.fake, MMU_NOTIFY_CLEAR, a.addr, a.addr + a.size);
	hmm_fake_fault_all(a.fake, a.addr, a.mirrored, HMM_FAULT_READ);
	KUNIT_ASSERT_EQ(test, 0, hmm_fake_writable(a.fake, a.addr, a.mirrored));
	hmm_fake_clear_log(a.fake);
	skipped = hmm_fake_stats(a.fake).callbacks_skipped;

	event->act(&a);
	hmm_fake_expect_none(a.fake);
	KUNIT_EXPECT_EQ(test, a.mirrored, hmm_fake_valid(a.fake, a.addr, a.mirrored));
	KUNIT_EXPECT_GT(test, hmm_fake_stats(a.fake).callbacks_skipped, skipped);
}

static const void *event_protecting_gen_params(const void *prev, char *desc)
{
	const struct event *event = prev;

	do {
		event = event_gen_params(event, desc);
	} while (event && event->result != EVENT_PROTECTED);
	return event;
}

/* A CPU write revokes a zero page that the device reads. */
static void cow_revokes_zero_page(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 4);

	hmm_fake_fault_all(fake, addr, 4, HMM_FAULT_READ);
	hmm_fake_clear_log(fake);
	hmm_test_write(test, addr + PAGE_SIZE);
	hmm_fake_expect_one(fake, HMM_UPDATE_MIGRATE, addr + PAGE_SIZE, addr + 2 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, 3, hmm_fake_valid(fake, addr, 4));
	KUNIT_EXPECT_FALSE(test, hmm_pte_valid(hmm_fake_entry(fake, addr + PAGE_SIZE)));
}

/* Write access that mprotect() gives back reaches the device at its next fault. */
static void write_access_returns_on_fault(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 4), faults;

	hmm_fake_fault_all(fake, addr, 4, HMM_FAULT_WRITE);
	hmm_fake_clear_log(fake);
	KUNIT_EXPECT_EQ(test, 0, hmm_fake_protect(addr, 4 * PAGE_SIZE, PROT_READ));
	KUNIT_EXPECT_EQ(test, 0, hmm_fake_protect(addr, 4 * PAGE_SIZE, PROT_READ | PROT_WRITE));
	hmm_fake_expect_one(fake, HMM_UPDATE_WRITE_PROTECT, addr, addr + 4 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, 4, hmm_fake_valid(fake, addr, 4));
	KUNIT_EXPECT_EQ(test, 0, hmm_fake_writable(fake, addr, 4));
	faults = hmm_fake_stats(fake).faults;
	hmm_fake_fault_all(fake, addr, 4, HMM_FAULT_WRITE);
	KUNIT_EXPECT_EQ(test, faults + 1, hmm_fake_stats(fake).faults);
}

/* mprotect() of several VMAs causes an update for each VMA. */
static void mprotect_updates_each_vma(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 8), middle = addr + 4 * PAGE_SIZE;

	/* Make two VMAs of it. */
	KUNIT_ASSERT_EQ(test, 0, do_madvise(current->mm, middle, 4 * PAGE_SIZE, MADV_DONTDUMP));
	hmm_fake_fault_all(fake, addr, 8, HMM_FAULT_WRITE);
	hmm_fake_clear_log(fake);
	KUNIT_EXPECT_EQ(test, 0, hmm_fake_protect(addr, 8 * PAGE_SIZE, PROT_READ));
	KUNIT_EXPECT_EQ(test, 2, fake->count);
	hmm_fake_expect(fake, 0, HMM_UPDATE_WRITE_PROTECT, addr, middle);
	hmm_fake_expect(fake, 1, HMM_UPDATE_WRITE_PROTECT, middle, middle + 4 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, 8, hmm_fake_valid(fake, addr, 8));
}

/* After fork() the device reads without a fault, and faults once to write. */
static void reads_after_fork_need_no_fault(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0);
	unsigned long addr = hmm_fake_map_small(fake, 16), faults;
	struct event_area a = { .fake = fake };

	hmm_fake_fault_all(fake, addr, 16, HMM_FAULT_WRITE);
	faults = hmm_fake_stats(fake).faults;
	act_fork(&a);
	KUNIT_EXPECT_EQ(test, 16, hmm_fake_valid(fake, addr, 16));
	KUNIT_EXPECT_EQ(test, faults, hmm_fake_stats(fake).faults);
	KUNIT_EXPECT_EQ(test, 0, hmm_fake_writable(fake, addr, 16));
	hmm_fake_fault_all(fake, addr, 16, HMM_FAULT_WRITE);
	KUNIT_EXPECT_EQ(test, faults + 1, hmm_fake_stats(fake).faults);
}

/* Each of two mirrors of one mm gets updates only for pages that it mirrors. */
static void two_mirrors(struct kunit *test)
{
	struct hmm_fake *fake = hmm_fake_new(test, 0), *other = hmm_fake_another(fake, 0);
	unsigned long addr = hmm_fake_map_small(fake, 8);

	hmm_fake_fault_all(fake, addr, 8, HMM_FAULT_WRITE);
	hmm_fake_fault_all(other, addr, 4, HMM_FAULT_READ);
	KUNIT_EXPECT_EQ(test, 0, hmm_fake_protect(addr, 8 * PAGE_SIZE, PROT_READ));
	hmm_fake_expect_one(fake, HMM_UPDATE_WRITE_PROTECT, addr, addr + 8 * PAGE_SIZE);
	hmm_fake_expect_none(other);
	KUNIT_EXPECT_EQ(test, 0, vm_munmap(addr + 4 * PAGE_SIZE, 4 * PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, 2, fake->count);
	hmm_fake_expect_none(other);
	KUNIT_EXPECT_EQ(test, 4, hmm_fake_valid(other, addr, 8));
	KUNIT_EXPECT_EQ(test, 0, vm_munmap(addr, 4 * PAGE_SIZE));
	hmm_fake_expect_one(other, HMM_UPDATE_MUNMAP, addr, addr + 4 * PAGE_SIZE);
}

static struct kunit_case hmm_mirror_event_cases[] = {
	KUNIT_CASE_PARAM(event, event_gen_params),
	KUNIT_CASE_PARAM(event_skips_read_only, event_protecting_gen_params),
	KUNIT_CASE(cow_revokes_zero_page),
	KUNIT_CASE(write_access_returns_on_fault),
	KUNIT_CASE(mprotect_updates_each_vma),
	KUNIT_CASE(reads_after_fork_need_no_fault),
	KUNIT_CASE(two_mirrors),
	{}
};

static struct kunit_suite hmm_mirror_event_suite = {
	.name = "hmm_mirror_event",
	.test_cases = hmm_mirror_event_cases,
};

kunit_test_suite(hmm_mirror_event_suite);
