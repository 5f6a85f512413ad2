/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A device, and memory of 2 MiB that it has mirrored. The memory consists of small pages unless
 * a comment says otherwise.
 */
#ifndef _SELFTESTS_VM_HMM_MIRROR_FIXTURE_H
#define _SELFTESTS_VM_HMM_MIRROR_FIXTURE_H

#include "hmm-dmirror-expect.h"
#include "hmm-memory.h"
#include "hmm-page-state.h"
#include "hmm-uffd.h"
#include "hmm-witness.h"

#define NPAGES		HPAGE_PAGES
#define SIZE		HPAGE_SIZE

#define WP_ASYNC	(UFFD_FEATURE_WP_ASYNC | UFFD_FEATURE_WP_UNPOPULATED)

static inline char *map_shmem(struct __test_metadata *_metadata, int *fd)
{
	*fd = shmem_file(_metadata, 0, NPAGES);
	return map_pages(_metadata, NPAGES, PROT_RW, MAP_SHARED, *fd);
}

/* A file that the kernel writes back only when the test asks for it */
static inline char *map_file(struct __test_metadata *_metadata, int *fd)
{
	ASSERT_TRUE(write_text("/proc/sys/vm/dirty_writeback_centisecs", "0"));
	*fd = scratch_file(_metadata, NPAGES);
	ASSERT_EQ(0, fsync(*fd));
	return map_pages(_metadata, NPAGES, PROT_RW, MAP_SHARED, *fd);
}

static inline void mirror_all(struct __test_metadata *_metadata, struct dmirror *dev, char *mem)
{
	stamp_write(mem, NPAGES, TAG_CPU);
	ASSERT_EQ(NPAGES, dmirror_write_stamps(dev, mem, NPAGES));
	ASSERT_EQ(NPAGES, dmirror_maps(dev, mem, NPAGES, MAPS_RW));
	dmirror_forget(dev);
}

FIXTURE(hmm_mirror)
{
	struct dmirror dev;
};

FIXTURE_SETUP(hmm_mirror)
{
	dmirror_open(_metadata, &self->dev, PRIVATE, NPAGES);
}

FIXTURE_TEARDOWN(hmm_mirror)
{
	close(self->dev.fd);
}

/* Small anonymous memory that the device has mirrored for writing */
static inline char *mirrored(struct __test_metadata *_metadata, struct dmirror *dev)
{
	char *mem = map_small(_metadata, NPAGES);

	mirror_all(_metadata, dev, mem);
	return mem;
}

static inline bool is_soft_dirty(struct __test_metadata *_metadata, char *addr)
{
	return pagemap_of(_metadata, addr) & PM_SOFT_DIRTY;
}

#endif /* _SELFTESTS_VM_HMM_MIRROR_FIXTURE_H */
