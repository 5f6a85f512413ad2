// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <unistd.h>
#include <sys/ioctl.h>

#include "dmirror.h"
#include "test_hmm_uapi.h"

/* Where the page is: these values share bits with one another, but not with the access bits */
#define PROT_PLACE_MASK		0xf0

static long dmirror_ioctl(struct dmirror *dm, unsigned long request,
			  void *addr, void *buf, size_t npages)
{
	struct hmm_dmirror_cmd cmd = {
		.addr = (uintptr_t)addr,
		.ptr = (uintptr_t)buf,
		.npages = npages,
	};

	if (ioctl(dm->fd, request, &cmd))
		return -errno;
	dm->faults += cmd.faults;
	return cmd.cpages;
}

int dmirror_open(struct dmirror *dm, const char *path)
{
	dm->faults = 0;
	dm->fd = open(path, O_RDWR | O_CLOEXEC);
	return dm->fd < 0 ? -errno : 0;
}

void dmirror_close(struct dmirror *dm)
{
	close(dm->fd);
}

long dmirror_read(struct dmirror *dm, void *addr, void *buf, size_t npages)
{
	return dmirror_ioctl(dm, HMM_DMIRROR_READ, addr, buf, npages);
}

long dmirror_write(struct dmirror *dm, void *addr, void *buf, size_t npages)
{
	return dmirror_ioctl(dm, HMM_DMIRROR_WRITE, addr, buf, npages);
}

long dmirror_migrate_to_device(struct dmirror *dm, void *addr, void *buf, size_t npages)
{
	return dmirror_ioctl(dm, HMM_DMIRROR_MIGRATE_TO_DEV, addr, buf, npages);
}

long dmirror_migrate_to_system(struct dmirror *dm, void *addr, size_t npages)
{
	return dmirror_ioctl(dm, HMM_DMIRROR_MIGRATE_TO_SYS, addr, NULL, npages);
}

long dmirror_snapshot(struct dmirror *dm, void *addr, void *prot, size_t npages)
{
	return dmirror_ioctl(dm, HMM_DMIRROR_SNAPSHOT, addr, prot, npages);
}

bool dmirror_is_hole(unsigned char prot)
{
	return prot == HMM_DMIRROR_PROT_NONE;
}

bool dmirror_is_pmd_mapped(unsigned char prot)
{
	return prot != HMM_DMIRROR_PROT_ERROR && prot & HMM_DMIRROR_PROT_PMD;
}

bool dmirror_is_in_this_device(unsigned char prot)
{
	unsigned char place = prot & PROT_PLACE_MASK;

	return place == HMM_DMIRROR_PROT_DEV_PRIVATE_LOCAL ||
	       place == HMM_DMIRROR_PROT_DEV_COHERENT_LOCAL;
}
