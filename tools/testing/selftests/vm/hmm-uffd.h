/* SPDX-License-Identifier: GPL-2.0 */
/*
 * userfaultfd for the tests that use the kselftest harness.
 */
#ifndef _SELFTESTS_VM_HMM_UFFD_H
#define _SELFTESTS_VM_HMM_UFFD_H

#include <fcntl.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <linux/userfaultfd.h>

#include "hmm-stamps.h"

static inline int uffd_open(struct __test_metadata *_metadata, int flags, __u64 features)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC | flags);

	ASSERT_LE(0, fd)
		TH_LOG("userfaultfd: %m");
	ASSERT_EQ(0, ioctl(fd, UFFDIO_API, &api))
		TH_LOG("features %#llx: %m", (unsigned long long)features);
	return fd;
}

static inline void uffd_register(struct __test_metadata *_metadata, int fd, void *mem,
				 long npages, __u64 mode)
{
	struct uffdio_register reg = {
		.range = { .start = (uintptr_t)mem, .len = npages * PAGE_SIZE },
		.mode = mode,
	};

	ASSERT_EQ(0, ioctl(fd, UFFDIO_REGISTER, &reg))
		TH_LOG("UFFDIO_REGISTER mode %#llx: %m", (unsigned long long)mode);
}

static inline void uffd_write_protect(struct __test_metadata *_metadata, int fd, void *mem,
				      long npages)
{
	struct uffdio_writeprotect wp = {
		.range = { .start = (uintptr_t)mem, .len = npages * PAGE_SIZE },
		.mode = UFFDIO_WRITEPROTECT_MODE_WP,
	};

	ASSERT_EQ(0, ioctl(fd, UFFDIO_WRITEPROTECT, &wp));
}

static inline void uffd_poison(struct __test_metadata *_metadata, int fd, void *mem, long npages)
{
	struct uffdio_poison poison = {
		.range = { .start = (uintptr_t)mem, .len = npages * PAGE_SIZE },
	};

	ASSERT_EQ(0, ioctl(fd, UFFDIO_POISON, &poison));
}

#endif /* _SELFTESTS_VM_HMM_UFFD_H */
