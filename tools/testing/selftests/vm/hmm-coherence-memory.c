// SPDX-License-Identifier: GPL-2.0
/*
 * The memory of hmm-coherence: a region of each kind
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <linux/memfd.h>
#include <linux/mman.h>

#include "hmm-coherence.h"

/*
 * Regions have fixed addresses at which the kernel maps nothing by itself, so that no other
 * mapping can take the address of an unmapped region. Two regions in each GiB share a page table
 * of a mirror.
 */
#define FIRST_REGION	0x100000000000UL
#define REGION_DISTANCE	0x20000000UL

static int open_shmem(size_t size)
{
	return memfd_create("hmm-coherence", MFD_CLOEXEC);
}

static int open_hugetlb(size_t size)
{
	return memfd_create("hmm-coherence", MFD_CLOEXEC | MFD_HUGETLB | MFD_HUGE_2MB);
}

static int open_file(size_t size)
{
	return open(SCRATCH_DIR, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
}

/*
 * Two bugs of 6.12 with KSM, which need no device, are excluded here:
 * - migrate_vma_setup() isolates a page that ksmd is about to merge, which no rmap walk finds for a
 *   moment, and leaves a migration entry; ksmd reads what is in private device memory;
 * - MADV_FREE of a merged page that is mapped once marks it as lazily freed, and the mark stays
 *   when ksmd merges other pages with it that are not freed: their content is lost.
 */
#define CAN_ANON	(CAN_DISCARD | CAN_FREE | CAN_PAGEOUT | CAN_MOVE)

static const struct kind kinds[] = {
	{ .name = "anonymous", .stride = 1, .grain = 1, .can = CAN_ANON | CAN_MIGRATE | CAN_FILL,
	  .flags = MAP_PRIVATE | MAP_ANONYMOUS, .advice = MADV_NOHUGEPAGE },
	{ .name = "THP", .stride = 16, .grain = 1, .can = CAN_ANON | CAN_MIGRATE | CAN_COLLAPSE,
	  .flags = MAP_PRIVATE | MAP_ANONYMOUS, .advice = MADV_HUGEPAGE },
	{ .name = "KSM", .stride = 1, .grain = 1,
	  .can = (CAN_ANON & ~CAN_FREE) | CAN_FILL | CAN_MERGE,
	  .flags = MAP_PRIVATE | MAP_ANONYMOUS, .advice = MADV_MERGEABLE },
	{ .name = "private-file", .stride = 1, .grain = 1,
	  .can = CAN_DISCARD | CAN_PAGEOUT | CAN_MOVE | CAN_TRUNCATE,
	  .flags = MAP_PRIVATE, .advice = -1, .open = open_file },
	{ .name = "file", .stride = 1, .grain = 1,
	  .can = CAN_PAGEOUT | CAN_MOVE | CAN_TRUNCATE | CAN_PUNCH | CAN_SYNC,
	  .flags = MAP_SHARED, .advice = -1, .open = open_file },
	{ .name = "shmem", .stride = 16, .grain = 1,
	  .can = CAN_PAGEOUT | CAN_MOVE | CAN_COLLAPSE | CAN_TRUNCATE | CAN_PUNCH,
	  .flags = MAP_SHARED, .advice = -1, .open = open_shmem },
	{ .name = "hugetlb", .stride = 16, .grain = HPAGE_PAGES / 16, .can = CAN_DISCARD,
	  .flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_HUGE_2MB, .advice = -1 },
	{ .name = "hugetlb-file", .stride = 16, .grain = HPAGE_PAGES / 16,
	  .can = CAN_TRUNCATE | CAN_PUNCH,
	  .flags = MAP_SHARED, .advice = -1, .open = open_hugetlb },
};

struct region regions[ARRAY_SIZE(kinds)];
const unsigned int nregions = ARRAY_SIZE(kinds);

/* Map a whole region with the flags and the advice of its kind. */
void region_map(struct region *r)
{
	void *mem = mmap(r->mem, region_size(r), PROT_READ | PROT_WRITE,
			 r->kind->flags | MAP_FIXED_NOREPLACE, r->fd, 0);

	if (mem != r->mem)
		ksft_exit_fail_msg("mmap of %s: %m\n", r->kind->name);
	if (r->kind->advice >= 0 && madvise(mem, region_size(r), r->kind->advice))
		ksft_exit_fail_msg("madvise of %s: %m\n", r->kind->name);
}

bool span_advise(struct region *r, struct slot_span span, int advice)
{
	return !madvise(slot_page(r, span.first), span_size(r, span), advice);
}

/* Write number 0 to each slot. */
static void file_fill(struct region *r)
{
	__u64 page[WORDS_PER_PAGE];

	for (unsigned int i = 0; i < SLOTS; i++) {
		page_stamp(r, i, page, 0);
		if (pwrite(r->fd, page, PAGE_SIZE, i * r->kind->stride * PAGE_SIZE) != PAGE_SIZE)
			ksft_exit_fail_msg("file of %s: %m\n", r->kind->name);
	}
}

static void region_open(struct region *r)
{
	r->fd = r->kind->open(region_size(r));
	if (r->fd < 0 || ftruncate(r->fd, region_size(r)))
		ksft_exit_fail_msg("file of %s: %m\n", r->kind->name);
	if (r->kind->open == open_file)
		file_fill(r);
}

static void region_create(struct region *r, unsigned int index)
{
	pthread_rwlockattr_t attr;
	size_t size = SLOTS * sizeof(*r->slots);

	r->kind = &kinds[index];
	r->index = index;
	r->mem = (char *)(FIRST_REGION + index * REGION_DISTANCE);
	r->fd = -1;
	r->slots = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (r->slots == MAP_FAILED)
		ksft_exit_fail_msg("mmap of %zu bytes: %m\n", size);
	for (unsigned int i = 0; i < SLOTS; i++)
		pthread_mutex_init(&r->slots[i].writer, NULL);
	pthread_mutex_init(&r->changing, NULL);
	/* Readers hold the lock most of the time, so prefer writers. */
	pthread_rwlockattr_init(&attr);
	pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&r->access, &attr);
	if (r->kind->open)
		region_open(r);
	region_map(r);
}

void regions_create(void)
{
	for (unsigned int i = 0; i < nregions; i++)
		region_create(&regions[i], i);
}

/* The region that half of all accesses and changes go to, for a while */
atomic_uint hot;

struct region *random_region(struct actor *actor)
{
	if (random_below(actor, 2))
		return &regions[atomic_load(&hot)];
	return &regions[random_below(actor, nregions)];
}

/* The region and the slot of an address; NULL if the address is in no slot */
struct region *region_of(__u64 addr, unsigned int *slot)
{
	unsigned long index = (addr - FIRST_REGION) / REGION_DISTANCE;
	unsigned long page = (addr - FIRST_REGION) % REGION_DISTANCE / PAGE_SIZE;
	struct region *r;

	if (addr < FIRST_REGION || index >= nregions)
		return NULL;
	r = &regions[index];
	*slot = page / r->kind->stride;
	return *slot < SLOTS && page % r->kind->stride == 0 ? r : NULL;
}
