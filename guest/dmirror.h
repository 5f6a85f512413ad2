/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the dmirror test device can be told to do, one function per verb.
 *
 * An open device mirrors the address space of the process that opened it: addresses
 * are that process's own. Buffers lie in the caller's memory, outside of what
 * the device is told to work on.
 *
 * Every verb that is given pages returns how many of them the driver says it has handled, or a
 * negative errno; only the caller knows whether fewer than it asked for are an error.
 */
#ifndef GUEST_DMIRROR_H
#define GUEST_DMIRROR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hmm_dmirror_event;
struct hmm_dmirror_refuse;
struct hmm_dmirror_stats;

struct dmirror {
	int fd;
	unsigned long faults;	/* device page faults since the caller last set it to zero */
	unsigned long lost;	/* events that the log had no room for, as of dmirror_events() */
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
/* attributes gets a uint64_t per page with HMM_DMIRROR_ATTR_*: the CPU's page table */
long dmirror_attributes(struct dmirror *dm, void *addr, void *attributes, size_t npages);
/* entries gets a uint64_t per page with HMM_DMIRROR_PTE_*: the mirror page table */
long dmirror_table(struct dmirror *dm, void *addr, void *entries, size_t npages);

/* What the mirror was called for moves from the log to events. Returns how many there were. */
long dmirror_events(struct dmirror *dm, struct hmm_dmirror_event *events, size_t room);

/* Those that follow return 0 or a negative errno. */

/* Hold the mirror's lock for reading */
long dmirror_hold(struct dmirror *dm, unsigned int msecs);
/* Have the next callbacks fail */
long dmirror_refuse(struct dmirror *dm, const struct hmm_dmirror_refuse *refuse);
/* An invalidation that changes nothing, of HMM_DMIRROR_NOTIFY_*, which goes on for msecs */
long dmirror_invalidate(struct dmirror *dm, void *addr, size_t npages, unsigned int event,
			unsigned int flags, unsigned int msecs);
long dmirror_stats(struct dmirror *dm, struct hmm_dmirror_stats *stats);

/* What a byte of a snapshot says */
bool dmirror_is_hole(unsigned char prot);
bool dmirror_is_pmd_mapped(unsigned char prot);
bool dmirror_is_in_this_device(unsigned char prot);

/* What an entry of the table says */
bool dmirror_may_read(uint64_t entry);
bool dmirror_may_write(uint64_t entry);
bool dmirror_has_written(uint64_t entry);
unsigned int dmirror_order(uint64_t entry);

#endif
