/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the dmirror test device can be told to do, one function per verb.
 *
 * An open device mirrors the address space of the process that opened it: addresses
 * are that process's own. Buffers lie in the caller's memory, outside of what
 * the device is told to work on.
 *
 * Every verb but open and close returns the number of pages that the driver says it has
 * handled, or a negative errno; only the caller knows whether fewer than it asked for are an error.
 */
#ifndef GUEST_DMIRROR_H
#define GUEST_DMIRROR_H

#include <stdbool.h>
#include <stddef.h>

struct dmirror {
	int fd;
	unsigned long faults;	/* device page faults since the caller last set it to zero */
};

typedef long (*dmirror_verb)(struct dmirror *dm, void *addr, void *buf, size_t npages);

int dmirror_open(struct dmirror *dm, const char *path);
void dmirror_close(struct dmirror *dm);

/* memory -> device -> buf */
long dmirror_read(struct dmirror *dm, void *addr, void *buf, size_t npages);
/* buf -> device -> memory */
long dmirror_write(struct dmirror *dm, void *addr, void *buf, size_t npages);
/* Anonymous memory becomes device memory; buf gets what the device then finds in it */
long dmirror_migrate_to_device(struct dmirror *dm, void *addr, void *buf, size_t npages);
/* The driver brings it back of its own accord, no CPU access needed */
long dmirror_migrate_to_system(struct dmirror *dm, void *addr, size_t npages);
/* prot gets one HMM_DMIRROR_PROT_* byte per page; nothing is faulted in */
long dmirror_snapshot(struct dmirror *dm, void *addr, void *prot, size_t npages);

/* What a byte of a snapshot says */
bool dmirror_is_hole(unsigned char prot);
bool dmirror_is_pmd_mapped(unsigned char prot);
bool dmirror_is_in_this_device(unsigned char prot);

#endif
