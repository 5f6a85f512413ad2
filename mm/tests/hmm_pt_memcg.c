// SPDX-License-Identifier: GPL-2.0
/* Which memory cgroup the tables of the mirror page table are charged to */
#include <linux/cgroup.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/memcontrol.h>
#include <linux/mount.h>
#include <linux/namei.h>
#include <linux/sched/mm.h>

#include "hmm_pt_test.h"

#define NAME	"hmm_pt_test"

static void control(struct kunit *test, struct vfsmount *mnt, const char *what)
{
	struct file *file = file_open_root_mnt(mnt, "cgroup.subtree_control", O_WRONLY, 0);
	loff_t pos = 0;

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, file);
	KUNIT_EXPECT_EQ(test, strlen(what), kernel_write(file, what, strlen(what), &pos));
	fput(file);
}

static void make_cgroup(struct kunit *test, struct dentry *root)
{
	struct inode *dir = d_inode(root);
	struct dentry *dentry;

	inode_lock_nested(dir, I_MUTEX_PARENT);
	dentry = lookup_one_len(NAME, root, strlen(NAME));
	if (!IS_ERR(dentry)) {
		KUNIT_EXPECT_EQ(test, 0, vfs_mkdir(&nop_mnt_idmap, dir, dentry, 0755));
		dput(dentry);
	}
	inode_unlock(dir);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, dentry);
}

static void remove_cgroup(struct kunit *test, struct dentry *root)
{
	struct inode *dir = d_inode(root);
	struct dentry *dentry;

	inode_lock_nested(dir, I_MUTEX_PARENT);
	dentry = lookup_one_len(NAME, root, strlen(NAME));
	if (!IS_ERR(dentry)) {
		KUNIT_EXPECT_EQ(test, 0, vfs_rmdir(&nop_mnt_idmap, dir, dentry));
		dput(dentry);
	}
	inode_unlock(dir);
}

/* Count the tables below @page that are charged to @memcg. */
static unsigned int count_charged(struct page *page, struct mem_cgroup *memcg)
{
	const unsigned long *slots = page_address(page);
	unsigned int slot, charged = 0;

	for (slot = 0; slot < PTRS_PER_PTE; slot++) {
		struct page *below = pfn_to_page(slots[slot]);

		if (!slots[slot] || slots[slot] & HMM_PTE_VALID)
			continue;
		rcu_read_lock();
		charged += PageMemcgKmem(below) && page_memcg_check(below) == memcg;
		rcu_read_unlock();
		charged += count_charged(below, memcg);
	}
	return charged;
}

/* Tables are charged to the active memcg at the time of preparation. */
static void publish_for(struct kunit *test, struct mem_cgroup *memcg)
{
	unsigned long npages = 2 * PTRS_PER_PTE, start = 0, end = TASK_SIZE_MAX;
	struct hmm_pt_test *t = test->priv;
	struct mem_cgroup *old = set_active_memcg(memcg);

	hmm_pt_test_map(test, BIT(39) - PMD_SIZE, npages, HMM_PTE_VALID | BIT(40));
	set_active_memcg(old);
	/* Tables of both pages, one for each level below the root */
	KUNIT_EXPECT_EQ(test, 6 + (t->pt.top == 4), count_charged(t->pt.root, memcg));

	hmm_pt_test_clear(test, &start, &end);
	hmm_pt_reclaim(&t->pt, 0, TASK_SIZE_MAX);
	/* Without an active memcg, tables are charged to none. */
	hmm_pt_test_map(test, 0, npages, HMM_PTE_VALID | BIT(40));
	KUNIT_EXPECT_EQ(test, 0, count_charged(t->pt.root, memcg));
	hmm_pt_test_clear(test, &start, &end);
}

/* Tables are charged to the active memcg, which the test creates. */
void hmm_pt_memcg(struct kunit *test)
{
	struct cgroup_subsys_state *css;
	struct file_system_type *type;
	struct cgroup *cgroup;
	struct vfsmount *mnt;

	type = get_fs_type("cgroup2");
	KUNIT_ASSERT_NOT_NULL(test, type);
	mnt = kern_mount(type);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, mnt);
	control(test, mnt, "+memory");
	make_cgroup(test, mnt->mnt_root);

	cgroup = cgroup_get_from_path("/" NAME);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, cgroup);
	css = cgroup_get_e_css(cgroup, &memory_cgrp_subsys);
	KUNIT_EXPECT_PTR_EQ(test, cgroup, css->cgroup);
	publish_for(test, mem_cgroup_from_css(css));
	css_put(css);
	cgroup_put(cgroup);

	remove_cgroup(test, mnt->mnt_root);
	control(test, mnt, "-memory");
	kern_unmount(mnt);
}
