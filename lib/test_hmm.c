// SPDX-License-Identifier: GPL-2.0
/*
 * The dmirror test device: a device in software, for tests of HMM.
 *
 * The device accesses the memory of a process by the process's addresses, like a device with a
 * TLB: through the entries of the mirror page table, with the lock of the mirror held. If there
 * is no entry, or if the entry does not permit the access, the device faults: it drops the lock,
 * calls hmm_mirror_fault() and tries again.
 *
 * The driver does not access user memory with that lock held: it copies through a buffer.
 *
 * test_hmm_mem.c contains the device memory, test_hmm_events.c the callbacks, and
 * test_hmm_report.c the reports of page tables.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/device.h>
#include <linux/fs.h>
#include <linux/highmem.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "test_hmm.h"

#define DMIRROR_NDEVICES	4

/* User space determines the size of these allocations, so charge them, and fail before an OOM. */
#define DMIRROR_GFP		(GFP_KERNEL_ACCOUNT | __GFP_RETRY_MAYFAIL | __GFP_NOWARN)

static unsigned long spm_addr_dev0;
module_param(spm_addr_dev0, ulong, 0444);
MODULE_PARM_DESC(spm_addr_dev0,
		 "Physical address of 256 MiB, the memory of hmm_dmirror2, which the CPU can access. Needs spm_addr_dev1, too.");

static unsigned long spm_addr_dev1;
module_param(spm_addr_dev1, ulong, 0444);
MODULE_PARM_DESC(spm_addr_dev1, "The same for hmm_dmirror3.");

static struct dmirror_device dmirror_devices[DMIRROR_NDEVICES];
static unsigned int dmirror_ndevices;
static struct class *dmirror_class;
static int dmirror_major;

/**
 * struct dmirror_access - a read or a write of the device
 * @addr: address of the first page that remains
 * @end: end address, exclusive
 * @buf: buffer for the content of the page at @addr
 * @need: HMM_FAULT_*, the access that the device needs
 * @write: the device writes
 * @local: fail if a page is not in the device's own memory
 * @faulted: the device has faulted for the whole remaining range
 */
struct dmirror_access {
	unsigned long	addr;
	unsigned long	end;
	void		*buf;
	unsigned int	need;
	bool		write;
	bool		local;
	bool		faulted;
};

/*
 * A device accesses aligned words atomically, and memcpy() does not guarantee that: with FSRM it
 * moves bytes, and another access to the same word can see half of it.
 */
static void dmirror_copy_words(u64 *to, const u64 *from)
{
	unsigned int i;

	for (i = 0; i < PAGE_SIZE / sizeof(*to); i++)
		WRITE_ONCE(to[i], READ_ONCE(from[i]));
}

static void dmirror_copy_page(struct dmirror_access *access, struct page *page)
{
	void *content = kmap_local_page(page);

	if (access->write)
		dmirror_copy_words(content, access->buf);
	else
		dmirror_copy_words(access->buf, content);
	kunmap_local(content);
	access->addr += PAGE_SIZE;
	access->buf += PAGE_SIZE;
}

/* The run of pages at access->addr. It stays valid while the access is in progress. */
static struct hmm_pt_iter dmirror_next_run(struct dmirror *dm,
					   const struct dmirror_access *access,
					   unsigned long end)
{
	struct hmm_pt_iter iter;

	guard(rwsem_read)(&dm->mirror.lock);
	hmm_pt_first(&iter, &dm->mirror.pt, access->addr, end);
	hmm_pt_next(&iter);
	return iter;
}

/* Copy the pages of the access in progress, up to @end. */
static int dmirror_access_pages(struct dmirror *dm, struct dmirror_access *access,
				unsigned long end)
{
	while (access->addr < end) {
		struct hmm_pt_iter iter = dmirror_next_run(dm, access, end);
		unsigned long pfn = hmm_pte_pfn(iter.pte);
		struct dev_pagemap *pgmap = NULL;

		if (hmm_pte_device(iter.pte))
			pgmap = pfn_to_page(pfn)->pgmap;
		if (access->local && (!pgmap || pgmap->owner != dm->mdevice))
			return -ENOENT;
		for (; access->addr < iter.end; pfn++) {
			dmirror_copy_page(access, dmirror_content(pfn_to_page(pfn)));
			cond_resched();
		}
	}
	return 0;
}

/* A fault of the device, for the whole range */
static int dmirror_fault(struct dmirror *dm, unsigned long addr, unsigned long end,
			 unsigned int need)
{
	long npages;

	while (addr < end) {
		npages = hmm_mirror_fault(&dm->mirror, addr, end, need);
		if (npages < 0)
			return npages;
		if (WARN_ON_ONCE(!npages))
			return -EIO;
		addr += npages << PAGE_SHIFT;
	}
	return 0;
}

/*
 * Map what has migrated to the memory of the device. Fail where the device has no memory: do not
 * fault pages in, and do not migrate them from another device.
 */
static int dmirror_map_local(struct dmirror *dm, unsigned long addr, unsigned long end,
			     unsigned int need)
{
	long npages = hmm_mirror_fault(&dm->mirror, addr, end, need | HMM_FAULT_PRESENT);

	if (!npages || npages == -EFAULT)
		return -ENOENT;
	return min(npages, 0);
}

/*
 * Fault for the rest of the range first, so that the device accesses nothing if a part of it
 * fails. Afterwards most pages are mirrored, and the device needs few accesses.
 */
static long dmirror_fault_and_begin(struct dmirror *dm, struct dmirror_access *access,
				    struct hmm_access *held)
{
	int ret = 0;

	if (!access->faulted)
		ret = dmirror_fault(dm, access->addr, access->end, access->need);
	access->faulted = true;
	return ret ?: hmm_access_begin(held, &dm->mirror, access->addr, access->end,
				       access->need, NULL);
}

/*
 * Begin to access what is mirrored. The device faults if the first page lacks an entry that
 * permits the access.
 */
static long dmirror_begin(struct dmirror *dm, struct dmirror_access *access,
			  struct hmm_access *held, u64 *faults)
{
	unsigned long addr = access->addr, end = access->end;
	long npages;

	while (!(npages = hmm_access_try(held, &dm->mirror, addr, end, access->need))) {
		++*faults;
		if (!access->local)
			return dmirror_fault_and_begin(dm, access, held);
		npages = dmirror_map_local(dm, addr, end, access->need);
		if (npages)
			return npages;
		if (fatal_signal_pending(current))
			return -EINTR;
		cond_resched();
		/* A page is mirrored, but possibly not the first one. */
		end = addr + PAGE_SIZE;
	}
	return npages;
}

static int dmirror_access(struct dmirror *dm, struct dmirror_access *access, u64 *faults)
{
	struct hmm_access held;
	long npages;
	int ret = 0;

	while (!ret && access->addr < access->end) {
		npages = dmirror_begin(dm, access, &held, faults);
		if (npages < 0)
			return npages;
		ret = dmirror_access_pages(dm, access, access->addr + npages * PAGE_SIZE);
		hmm_access_end(&held);
	}
	return ret;
}

static void *dmirror_alloc_buffer(const struct hmm_dmirror_cmd *cmd)
{
	return kvmalloc(cmd->npages << PAGE_SHIFT, DMIRROR_GFP);
}

static int dmirror_read_into(struct dmirror *dm, struct hmm_dmirror_cmd *cmd, void *buf,
			     unsigned int need, bool local)
{
	struct dmirror_access access = {
		.addr = cmd->addr,
		.end = dmirror_cmd_end(cmd),
		.buf = buf,
		.need = need,
		.local = local,
	};
	int ret;

	ret = dmirror_access(dm, &access, &cmd->faults);
	if (ret)
		return ret;
	if (copy_to_user(u64_to_user_ptr(cmd->ptr), buf, cmd->npages << PAGE_SHIFT))
		return -EFAULT;
	cmd->cpages = cmd->npages;
	return 0;
}

static int dmirror_read(struct dmirror *dm, void *arg)
{
	void *buf __free(kvfree) = dmirror_alloc_buffer(arg);

	if (!buf)
		return -ENOMEM;
	return dmirror_read_into(dm, arg, buf, HMM_FAULT_READ, false);
}

static int dmirror_write(struct dmirror *dm, void *arg)
{
	void *buf __free(kvfree) = dmirror_alloc_buffer(arg);
	struct hmm_dmirror_cmd *cmd = arg;
	struct dmirror_access access = {
		.addr = cmd->addr,
		.end = dmirror_cmd_end(cmd),
		.buf = buf,
		.need = HMM_FAULT_READ | HMM_FAULT_WRITE,
		.write = true,
	};
	int ret;

	if (!buf)
		return -ENOMEM;
	if (copy_from_user(buf, u64_to_user_ptr(cmd->ptr), cmd->npages << PAGE_SHIFT))
		return -EFAULT;
	ret = dmirror_access(dm, &access, &cmd->faults);
	if (!ret)
		cmd->cpages = cmd->npages;
	return ret;
}

static int dmirror_prefetch(struct dmirror *dm, void *arg)
{
	struct hmm_dmirror_cmd *cmd = arg;
	int ret;

	cmd->faults = 1;
	ret = dmirror_fault(dm, cmd->addr, dmirror_cmd_end(cmd), HMM_FAULT_READ);
	if (!ret)
		cmd->cpages = cmd->npages;
	return ret;
}

static void dmirror_prefetch_work(struct work_struct *work)
{
	struct dmirror *dm = container_of(work, struct dmirror, prefetch);

	dm->prefetch_ret = dmirror_fault(dm, dm->prefetch_start, dm->prefetch_end,
					 HMM_FAULT_WRITE);
}

static int dmirror_start_prefetch(struct dmirror *dm, void *arg)
{
	const struct hmm_dmirror_cmd *cmd = arg;

	guard(mutex)(&dm->read_lock);
	if (work_busy(&dm->prefetch))
		return -EBUSY;
	dm->prefetch_start = cmd->addr;
	dm->prefetch_end = dmirror_cmd_end(cmd);
	queue_work(system_unbound_wq, &dm->prefetch);
	return 0;
}

static int dmirror_wait_prefetch(struct dmirror *dm, void *arg)
{
	flush_work(&dm->prefetch);
	return dm->prefetch_ret;
}

static int dmirror_cancel(struct dmirror *dm, void *arg)
{
	struct hmm_dmirror_cmd *cmd = arg;

	cmd->cpages = hmm_mirror_cancel_range(&dm->mirror, cmd->addr, dmirror_cmd_end(cmd));
	return 0;
}

static int dmirror_exclusive(struct dmirror *dm, void *arg)
{
	void *buf __free(kvfree) = dmirror_alloc_buffer(arg);

	if (!buf)
		return -ENOMEM;
	return dmirror_read_into(dm, arg, buf, HMM_FAULT_EXCLUSIVE, false);
}

#define DMIRROR_MIGRATE_TRIES	8

/* Returns true if the whole range is mapped and readable. */
static bool dmirror_is_readable(struct dmirror *dm, unsigned long start, unsigned long end)
{
	struct mm_struct *mm = dm->mirror.mm;
	struct vm_area_struct *vma;

	mmap_read_lock(mm);
	for (; start < end; start = vma->vm_end) {
		vma = vma_lookup(mm, start);
		if (!vma || !(vma->vm_flags & VM_READ))
			break;
	}
	mmap_read_unlock(mm);
	return start >= end;
}

static int dmirror_migrate_to_dev(struct dmirror *dm, void *arg)
{
	void *buf __free(kvfree) = dmirror_alloc_buffer(arg);
	struct hmm_dmirror_cmd *cmd = arg;
	unsigned long end = dmirror_cmd_end(cmd);
	unsigned int tries;
	long ret;

	if (!buf)
		return -ENOMEM;
	if (!dmirror_is_readable(dm, cmd->addr, end))
		return -EINVAL;
	/* A page does not migrate while another task, for example khugepaged, holds a reference. */
	for (tries = 0; tries < DMIRROR_MIGRATE_TRIES; tries++) {
		dmirror_devmem_reserve(dm->mdevice, cmd->npages);
		ret = hmm_mirror_migrate(&dm->mirror, &dm->mdevice->devmem, cmd->addr, end,
					 HMM_FAULT_READ | HMM_FAULT_PRESENT, NULL);
		if (ret >= 0)
			ret = dmirror_read_into(dm, cmd, buf, HMM_FAULT_READ, true);
		if (ret != -ENOENT || schedule_timeout_killable(1))
			break;
	}
	return ret;
}

static int dmirror_migrate_to_sys(struct dmirror *dm, void *arg)
{
	struct hmm_dmirror_cmd *cmd = arg;
	unsigned long end = dmirror_cmd_end(cmd);
	long moved;

	if (!dmirror_is_readable(dm, cmd->addr, end))
		return -EINVAL;
	moved = hmm_devmem_migrate_back(&dm->mdevice->devmem, dm->mirror.mm, cmd->addr, end);
	if (moved < 0)
		return moved;
	cmd->cpages = moved;
	return 0;
}

static int dmirror_set_flags(struct dmirror *dm, void *arg)
{
	const struct hmm_dmirror_cmd *cmd = arg;

	if (cmd->npages & ~HMM_DMIRROR_FLAG_FAIL_ALLOC)
		return -EINVAL;
	WRITE_ONCE(dm->mdevice->flags, cmd->npages);
	return 0;
}

static int dmirror_release_memory(struct dmirror *dm, void *arg)
{
	return dmirror_devmem_release(dm->mdevice);
}

/* Check for a range of user space of at least one page whose addresses do not wrap. */
int dmirror_check_range(struct dmirror *dm, u64 addr, u64 npages)
{
	u64 limit = dm->mirror.mm->task_size;

	if (!npages || npages > limit >> PAGE_SHIFT || !PAGE_ALIGNED(addr))
		return -EINVAL;
	if (addr > limit - (npages << PAGE_SHIFT))
		return -EINVAL;
	return 0;
}

/**
 * struct dmirror_verb - an ioctl
 * @command: number of the ioctl
 * @pages: the argument is a &struct hmm_dmirror_cmd
 * @any_mm: any process may use the ioctl
 * @run: called with a kernel copy of the argument, which it may change
 */
struct dmirror_verb {
	unsigned int	command;
	bool		pages;
	bool		any_mm;
	int		(*run)(struct dmirror *dm, void *arg);
};

static const struct dmirror_verb dmirror_verbs[] = {
	{ HMM_DMIRROR_READ,		.pages = true,	.run = dmirror_read },
	{ HMM_DMIRROR_WRITE,		.pages = true,	.run = dmirror_write },
	{ HMM_DMIRROR_MIGRATE_TO_DEV,	.pages = true,	.run = dmirror_migrate_to_dev },
	{ HMM_DMIRROR_MIGRATE_TO_SYS,	.pages = true,	.run = dmirror_migrate_to_sys },
	{ HMM_DMIRROR_SNAPSHOT,		.pages = true,	.run = dmirror_snapshot },
	{ HMM_DMIRROR_EXCLUSIVE,	.pages = true,	.run = dmirror_exclusive },
	{ HMM_DMIRROR_CHECK_EXCLUSIVE,	.pages = true,	.run = dmirror_check_exclusive },
	{ HMM_DMIRROR_RELEASE,		.pages = true,	.run = dmirror_release_memory },
	{ HMM_DMIRROR_READ_UNLOCKED,	.pages = true,	.run = dmirror_read },
	{ HMM_DMIRROR_ATTRIBUTES,	.pages = true,	.run = dmirror_attributes },
	{ HMM_DMIRROR_TABLE,		.pages = true,	.run = dmirror_table },
	{ HMM_DMIRROR_PREFETCH,		.pages = true,	.run = dmirror_prefetch },
	{ HMM_DMIRROR_PREFETCH_WORK,	.pages = true,	.run = dmirror_start_prefetch },
	{ HMM_DMIRROR_CANCEL,		.pages = true,	.run = dmirror_cancel },
	{ HMM_DMIRROR_WAIT_WORK,	.any_mm = true,	.run = dmirror_wait_prefetch },
	{ HMM_DMIRROR_FLAGS,		.any_mm = true,	.run = dmirror_set_flags },
	{ HMM_DMIRROR_INVALIDATE,			.run = dmirror_invalidate },
	{ HMM_DMIRROR_EVENTS,		.any_mm = true,	.run = dmirror_events },
	{ HMM_DMIRROR_HOLD,		.any_mm = true,	.run = dmirror_hold },
	{ HMM_DMIRROR_REFUSE,		.any_mm = true,	.run = dmirror_refuse },
	{ HMM_DMIRROR_STATS,		.any_mm = true,	.run = dmirror_stats },
};

union dmirror_arg {
	struct hmm_dmirror_cmd		cmd;
	struct hmm_dmirror_events	events;
	struct hmm_dmirror_hold		hold;
	struct hmm_dmirror_refuse	refuse;
	struct hmm_dmirror_invalidate	invalidate;
	struct hmm_dmirror_stats	stats;
};

static const struct dmirror_verb *dmirror_find_verb(unsigned int command)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(dmirror_verbs); i++) {
		if (dmirror_verbs[i].command == command)
			return &dmirror_verbs[i];
	}
	return NULL;
}

static int dmirror_run(struct dmirror *dm, const struct dmirror_verb *verb,
		       union dmirror_arg *arg)
{
	int ret;

	/* The mirror and its mm belong to the process that has opened the file. */
	if (!verb->any_mm && current->mm != dm->mirror.mm)
		return -EPERM;
	if (verb->pages) {
		ret = dmirror_check_range(dm, arg->cmd.addr, arg->cmd.npages);
		if (ret)
			return ret;
		arg->cmd.cpages = 0;
		arg->cmd.faults = 0;
	}
	return verb->run(dm, arg);
}

static long dmirror_ioctl(struct file *file, unsigned int command, unsigned long uarg)
{
	const struct dmirror_verb *verb = dmirror_find_verb(command);
	void __user *user = (void __user *)uarg;
	union dmirror_arg arg;
	int ret;

	if (!verb)
		return -ENOTTY;
	if (_IOC_DIR(command) & _IOC_WRITE && copy_from_user(&arg, user, _IOC_SIZE(command)))
		return -EFAULT;
	ret = dmirror_run(file->private_data, verb, &arg);
	if (ret)
		return ret;
	if (_IOC_DIR(command) & _IOC_READ && copy_to_user(user, &arg, _IOC_SIZE(command)))
		return -EFAULT;
	return 0;
}

static int dmirror_open(struct inode *inode, struct file *file)
{
	struct dmirror *dm;
	int ret;

	dm = kvzalloc(sizeof(*dm), GFP_KERNEL);
	if (!dm)
		return -ENOMEM;
	dm->mdevice = &dmirror_devices[iminor(inode)];
	dmirror_log_init(dm);
	INIT_WORK(&dm->prefetch, dmirror_prefetch_work);
	dm->mirror.ops = &dmirror_mirror_ops;
	dm->mirror.dev_private_owner = dm->mdevice;
	ret = hmm_mirror_register(&dm->mirror, current->mm);
	if (ret) {
		kvfree(dm);
		return ret;
	}
	file->private_data = dm;
	return 0;
}

static int dmirror_release(struct inode *inode, struct file *file)
{
	struct dmirror *dm = file->private_data;

	hmm_mirror_unregister(&dm->mirror);
	WARN_ON_ONCE(!dm->log.released);
	kvfree(dm);
	return 0;
}

/* Memory of the driver: pages that have struct pages, and no rmap */
static int dmirror_mmap(struct file *file, struct vm_area_struct *vma)
{
	unsigned long addr;
	struct page *page;
	int ret;

	for (addr = vma->vm_start; addr < vma->vm_end; addr += PAGE_SIZE) {
		page = alloc_page(DMIRROR_GFP | __GFP_ZERO);
		if (!page)
			return -ENOMEM;
		ret = vm_insert_page(vma, addr, page);
		put_page(page);
		if (ret)
			return ret;
	}
	return 0;
}

static const struct file_operations dmirror_fops = {
	.owner		= THIS_MODULE,
	.open		= dmirror_open,
	.release	= dmirror_release,
	.mmap		= dmirror_mmap,
	.unlocked_ioctl	= dmirror_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
	.llseek		= noop_llseek,
};

static void dmirror_exit_devices(void)
{
	while (dmirror_ndevices)
		dmirror_devmem_exit(&dmirror_devices[--dmirror_ndevices]);
}

static int __init dmirror_init_device(enum memory_type type, unsigned long spm)
{
	int ret = dmirror_devmem_init(&dmirror_devices[dmirror_ndevices], type, spm);

	if (!ret)
		dmirror_ndevices++;
	return ret;
}

static int __init dmirror_init_devices(void)
{
	int ret;

	ret = dmirror_init_device(MEMORY_DEVICE_PRIVATE, 0);
	if (!ret)
		ret = dmirror_init_device(MEMORY_DEVICE_PRIVATE, 0);
	if (!ret && spm_addr_dev0)
		ret = dmirror_init_device(MEMORY_DEVICE_COHERENT, spm_addr_dev0);
	if (!ret && spm_addr_dev1)
		ret = dmirror_init_device(MEMORY_DEVICE_COHERENT, spm_addr_dev1);
	if (ret)
		dmirror_exit_devices();
	return ret;
}

static void dmirror_destroy_nodes(unsigned int count)
{
	while (count--)
		device_destroy(dmirror_class, MKDEV(dmirror_major, count));
}

static int __init dmirror_create_nodes(void)
{
	struct device *device;
	unsigned int i;

	for (i = 0; i < dmirror_ndevices; i++) {
		device = device_create(dmirror_class, NULL, MKDEV(dmirror_major, i), NULL,
				       "hmm_dmirror%u", i);
		if (IS_ERR(device)) {
			dmirror_destroy_nodes(i);
			return PTR_ERR(device);
		}
	}
	return 0;
}

/* memremap_pages() would trigger a WARN. */
static bool __init dmirror_spm_is_valid(void)
{
	if (!spm_addr_dev0 && !spm_addr_dev1)
		return true;
	return spm_addr_dev0 && spm_addr_dev1 &&
	       IS_ALIGNED(spm_addr_dev0 | spm_addr_dev1, memremap_compat_align()) &&
	       abs_diff(spm_addr_dev0, spm_addr_dev1) >= DMIRROR_CHUNK_SIZE;
}

static int __init dmirror_init(void)
{
	int ret;

	if (!dmirror_spm_is_valid())
		return -EINVAL;
	ret = dmirror_init_devices();
	if (ret)
		return ret;

	dmirror_class = class_create("hmm_dmirror");
	if (IS_ERR(dmirror_class)) {
		ret = PTR_ERR(dmirror_class);
		goto exit_devices;
	}
	/* Scripts search for this name in /proc/devices. */
	dmirror_major = __register_chrdev(0, 0, dmirror_ndevices, "HMM_DMIRROR", &dmirror_fops);
	if (dmirror_major < 0) {
		ret = dmirror_major;
		goto destroy_class;
	}
	ret = dmirror_create_nodes();
	if (ret)
		goto unregister;
	pr_info("%u devices, only for tests of HMM\n", dmirror_ndevices);
	return 0;

unregister:
	__unregister_chrdev(dmirror_major, 0, dmirror_ndevices, "HMM_DMIRROR");
destroy_class:
	class_destroy(dmirror_class);
exit_devices:
	dmirror_exit_devices();
	return ret;
}

static void __exit dmirror_exit(void)
{
	dmirror_destroy_nodes(dmirror_ndevices);
	__unregister_chrdev(dmirror_major, 0, dmirror_ndevices, "HMM_DMIRROR");
	class_destroy(dmirror_class);
	dmirror_exit_devices();
}

module_init(dmirror_init);
module_exit(dmirror_exit);
MODULE_DESCRIPTION("Device in software for tests of HMM");
MODULE_IMPORT_NS(TEST_HMM);
MODULE_LICENSE("GPL");
