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
 * struct hmm_devmem_ops - operations of a driver on the memory of its device
 *
 * HMM calls both with pages locked, and mmap_lock may be held for reading. They may sleep and
 * allocate memory. They must not take mmap_lock, access user memory, or fault.
 */
struct hmm_devmem_ops {
	/**
	 * @alloc: allocate free device pages.
	 *
	 * Allocates 2^order naturally aligned pages with contiguous pfns. No page has a
	 * reference. The driver must set &page.zone_device_data, and everything else that it
	 * needs to find the content, because another thread can lock the page as soon as HMM
	 * has given it a reference. &dev_pagemap_ops.page_free frees each page, even if it
	 * was never used.
	 *
	 * It must not call memremap_pages(): offlining of memory waits for the locked pages,
	 * and memremap_pages() waits for the offlining.
	 *
	 * Returns the first page, or NULL. @order is 0 or the order of 2 MiB. HMM requests
	 * single pages if it does not get a block.
	 */
	struct page *(*alloc)(struct hmm_devmem *devmem, unsigned int order);
	/**
	 * @copy: copy @npages pages, and wait until they are copied.
	 *
	 * One of @to and @from has pages of @devmem, the other has system memory. An element
	 * of @from is NULL if the memory was never written: the driver zeroes the page in @to.
	 *
	 * Returns 0, or an errno. After an error none of these pages moves.
	 */
	int (*copy)(struct hmm_devmem *devmem, struct page **to, struct page **from,
		    unsigned long npages);
};

/**
 * struct hmm_devmem - memory of a device, to which memory of processes can move
 * @ops: operations of the driver
 * @type: %MEMORY_DEVICE_PRIVATE or %MEMORY_DEVICE_COHERENT
 * @owner: &dev_pagemap.owner of all of the memory
 *
 * The driver embeds it in an object of its own, and sets all fields. It can have any number of
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
