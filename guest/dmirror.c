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
	dm->lost = 0;
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

long dmirror_attributes(struct dmirror *dm, void *addr, void *attributes, size_t npages)
{
	return dmirror_ioctl(dm, HMM_DMIRROR_ATTRIBUTES, addr, attributes, npages);
}

long dmirror_table(struct dmirror *dm, void *addr, void *entries, size_t npages)
{
	return dmirror_ioctl(dm, HMM_DMIRROR_TABLE, addr, entries, npages);
}

long dmirror_events(struct dmirror *dm, struct hmm_dmirror_event *events, size_t room)
{
	struct hmm_dmirror_events arg = {
		.ptr = (uintptr_t)events,
		.count = room,
	};

	if (ioctl(dm->fd, HMM_DMIRROR_EVENTS, &arg))
		return -errno;
	dm->lost = arg.lost;
	return arg.count;
}

long dmirror_hold(struct dmirror *dm, unsigned int msecs)
{
	struct hmm_dmirror_hold arg = { .msecs = msecs };

	return ioctl(dm->fd, HMM_DMIRROR_HOLD, &arg) ? -errno : 0;
}

long dmirror_refuse(struct dmirror *dm, const struct hmm_dmirror_refuse *refuse)
{
	return ioctl(dm->fd, HMM_DMIRROR_REFUSE, refuse) ? -errno : 0;
}

long dmirror_invalidate(struct dmirror *dm, void *addr, size_t npages, unsigned int event,
			unsigned int flags, unsigned int msecs)
{
	struct hmm_dmirror_invalidate arg = {
		.addr = (uintptr_t)addr,
		.npages = npages,
		.msecs = msecs,
		.event = event,
		.flags = flags,
	};

	return ioctl(dm->fd, HMM_DMIRROR_INVALIDATE, &arg) ? -errno : 0;
}

long dmirror_stats(struct dmirror *dm, struct hmm_dmirror_stats *stats)
{
	return ioctl(dm->fd, HMM_DMIRROR_STATS, stats) ? -errno : 0;
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

bool dmirror_may_read(uint64_t entry)
{
	return entry & HMM_DMIRROR_PTE_VALID;
}

bool dmirror_may_write(uint64_t entry)
{
	return entry & HMM_DMIRROR_PTE_WRITE;
}

bool dmirror_has_written(uint64_t entry)
{
	return entry & HMM_DMIRROR_PTE_DIRTY;
}

unsigned int dmirror_order(uint64_t entry)
{
	return entry >> HMM_DMIRROR_ORDER_SHIFT & HMM_DMIRROR_ORDER_MASK;
}
