/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * HMM device memory: moves memory of a process to the memory of a device and back.
 */
#ifndef _LINUX_HMM_DEVMEM_H
#define _LINUX_HMM_DEVMEM_H

#include <linux/memremap.h>
#include <linux/mm_types.h>

struct hmm_devmem;
struct hmm_job;
struct hmm_mirror;

/**
 * struct hmm_devmem_ops - what a driver does for the memory of its device
 *
 * Both are called with pages locked, and mmap_lock may be held for reading. They may sleep and
 * allocate memory. They must not take mmap_lock, access user memory, or fault.
 */
struct hmm_devmem_ops {
	/**
	 * @alloc: take pages that are free.
	 *
	 * 2^order pages with contiguous pfns, naturally aligned. None of them has a
	 * reference; &page.zone_device_data and what else the driver needs to find the
	 * content must be set, because another thread can lock the page as soon as HMM has
	 * given it a reference. &dev_pagemap_ops.page_free frees each of them, also if it is
	 * not used in the end.
	 *
	 * It must not call memremap_pages(): offlining of memory waits for the locked pages,
	 * and keeps memremap_pages() waiting.
	 *
	 * Returns the first page, or NULL. HMM asks for 0 and for the order of 2 MiB, and for
	 * single pages if it does not get a block.
	 */
	struct page *(*alloc)(struct hmm_devmem *devmem, unsigned int order);
	/**
	 * @copy: copy @npages pages, and wait until they are copied.
	 *
	 * Of @to and @from, one is device memory of @devmem, the other system memory. @from
	 * has NULL where memory was never written: then the page becomes zero.
	 *
	 * Returns 0, or an errno. In that case no page of them moves.
	 */
	int (*copy)(struct hmm_devmem *devmem, struct page **to, struct page **from,
		    unsigned long npages);
};

/**
 * struct hmm_devmem - memory of a device that memory of processes can move to
 * @ops: of the driver
 * @type: %MEMORY_DEVICE_PRIVATE or %MEMORY_DEVICE_COHERENT
 * @owner: &dev_pagemap.owner of all of its memory
 *
 * It is embedded in an object of the driver, which sets all fields. It can have any number of
 * dev_pagemaps.
 */
struct hmm_devmem {
	const struct hmm_devmem_ops	*ops;
	enum memory_type		type;
	void				*owner;
};

long hmm_devmem_migrate(struct hmm_devmem *devmem, struct mm_struct *mm, unsigned long start,
			unsigned long end);
long hmm_devmem_migrate_back(struct hmm_devmem *devmem, struct mm_struct *mm,
			     unsigned long start, unsigned long end);
vm_fault_t hmm_devmem_migrate_to_ram(struct hmm_devmem *devmem, struct vm_fault *vmf);
long hmm_devmem_evict(struct hmm_devmem *devmem, unsigned long pfn, unsigned long npages);
long hmm_mirror_migrate(struct hmm_mirror *mirror, struct hmm_devmem *devmem,
			unsigned long start, unsigned long end, unsigned int flags,
			struct hmm_job *job);

#endif /* _LINUX_HMM_DEVMEM_H */
