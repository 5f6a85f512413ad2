// SPDX-License-Identifier: GPL-2.0
/* The rows of the table: how a test creates each state, and the result of a walk */
#include <linux/hugetlb.h>
#include <linux/pagemap.h>
#include <linux/pfn_t.h>
#include <linux/rmap.h>
#include <linux/shmem_fs.h>
#include <linux/swap.h>
#include <linux/swapops.h>

#include "../internal.h"
#include "hmm_range_states.h"

static void make_nothing(struct hmm_area *a)
{
}

static void make_written(struct hmm_area *a)
{
	hmm_test_write(a->test, a->addr);
}

static void make_read(struct hmm_area *a)
{
	hmm_test_read(a->test, a->addr);
}

static void make_read_only(struct hmm_area *a)
{
	make_written(a);
	hmm_area_change(a, pte_wrprotect, pmd_wrprotect);
}

static void make_clean(struct hmm_area *a)
{
	make_written(a);
	hmm_area_change(a, pte_mkclean, pmd_mkclean);
}

static void make_old(struct hmm_area *a)
{
	make_written(a);
	hmm_area_change(a, pte_mkold, pmd_mkold);
}

static pte_t pte_to_protnone(pte_t pte)
{
	return pte_modify(pte, PAGE_NONE);
}

static pmd_t pmd_to_protnone(pmd_t pmd)
{
	return pmd_modify(pmd, PAGE_NONE);
}

static void make_protnone(struct hmm_area *a)
{
	make_written(a);
	hmm_area_change(a, pte_to_protnone, pmd_to_protnone);
}

static pte_t pte_to_uffd_wp(pte_t pte)
{
	return pte_mkuffd_wp(pte);
}

static pmd_t pmd_to_uffd_wp(pmd_t pmd)
{
	return pmd_mkuffd_wp(pmd);
}

static void make_uffd_wp(struct hmm_area *a)
{
	make_written(a);
	hmm_area_change(a, pte_to_uffd_wp, pmd_to_uffd_wp);
}

/* In the page cache, and not mapped */
static void make_cached(struct hmm_area *a)
{
	struct file *file;
	struct page *page;

	mmap_read_lock(current->mm);
	file = find_vma(current->mm, a->addr)->vm_file;
	mmap_read_unlock(current->mm);
	page = shmem_read_mapping_page(file->f_mapping, 0);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(a->test, page);
	put_page(page);
}

/* A THP mapped by 512 ptes */
static void make_pte_mapped(struct hmm_area *a)
{
	struct vm_area_struct *vma;

	make_written(a);
	mmap_write_lock(current->mm);
	vma = find_vma(current->mm, a->addr);
	split_huge_pmd_address(vma, a->addr, false, NULL);
	mmap_write_unlock(current->mm);
}

static void make_unmapped(struct hmm_area *a)
{
	KUNIT_ASSERT_EQ(a->test, 0, vm_munmap(a->addr, a->npages << PAGE_SHIFT));
}

static void make_migrating(struct hmm_area *a)
{
	make_written(a);
	hmm_area_migrate(a);
}

static void put_swp(struct hmm_area *a, swp_entry_t swp)
{
	hmm_area_put(a, hmm_area_entry(a, a->state->order),
		     pte_val(swp_entry_to_pte(swp)));
}

static void make_swapped(struct hmm_area *a)
{
	put_swp(a, swp_entry(0, 1));
}

static void make_marker_uffd_wp(struct hmm_area *a)
{
	put_swp(a, make_pte_marker_entry(PTE_MARKER_UFFD_WP));
}

static void make_marker_poison(struct hmm_area *a)
{
	put_swp(a, make_poisoned_swp_entry());
}

static void make_hwpoison(struct hmm_area *a)
{
	put_swp(a, swp_entry(SWP_HWPOISON, page_to_pfn(ZERO_PAGE(0))));
}

static struct hmm_test_device *device(struct hmm_area *a, enum memory_type type)
{
	struct hmm_test_device *dev = a->test->priv;

	if (!dev) {
		dev = hmm_test_device(a->test, type,
				      max(PAGE_SIZE << a->state->order, PMD_SIZE));
		a->test->priv = dev;
	}
	a->pfn = page_to_pfn(dev->page);
	return dev;
}

static void make_private_own(struct hmm_area *a)
{
	a->owner = device(a, MEMORY_DEVICE_PRIVATE);
	put_swp(a, make_writable_device_private_entry(a->pfn));
}

static void make_private_own_read_only(struct hmm_area *a)
{
	a->owner = device(a, MEMORY_DEVICE_PRIVATE);
	put_swp(a, make_readable_device_private_entry(a->pfn));
}

static void make_private_own_given_back(struct hmm_area *a)
{
	make_private_own_read_only(a);
	((struct hmm_test_device *)a->owner)->gives_back = true;
}

static void make_private_foreign(struct hmm_area *a)
{
	device(a, MEMORY_DEVICE_PRIVATE)->gives_back = true;
	put_swp(a, make_writable_device_private_entry(a->pfn));
	/* The owner of the walk has no device memory. */
	a->owner = a;
}

/* Neither the memory nor the walk has an owner, which is no match. */
static void make_private_unowned(struct hmm_area *a)
{
	make_private_foreign(a);
	device(a, MEMORY_DEVICE_PRIVATE)->pgmap.owner = NULL;
	a->owner = NULL;
}

static void take_exclusively(struct hmm_area *a, void *owner)
{
	struct page *page;
	int n;

	make_written(a);
	mmap_read_lock(current->mm);
	n = make_device_exclusive_range(current->mm, a->addr, a->addr + PAGE_SIZE,
					&page, owner);
	mmap_read_unlock(current->mm);
	KUNIT_ASSERT_EQ(a->test, 1, n);
	KUNIT_ASSERT_NOT_NULL(a->test, page);
	unlock_page(page);
	put_page(page);
}

static void make_exclusive_own(struct hmm_area *a)
{
	a->owner = a;
	take_exclusively(a, a);
}

static void make_exclusive_foreign(struct hmm_area *a)
{
	a->owner = a;
	take_exclusively(a, a->test);
}

/* Present, but the pfn must not be accessed */
static void make_special(struct hmm_area *a)
{
	unsigned int order = a->state->order;

	hmm_area_put(a, hmm_area_entry(a, order),
		     hmm_area_special(order, a->npages, PAGE_SHARED));
}

static void put_device_page(struct hmm_area *a, enum memory_type type)
{
	struct hmm_test_device *dev = device(a, type);

	hmm_area_put(a, hmm_area_entry(a, 0), pte_val(mk_pte(dev->page, PAGE_SHARED)));
}

static void make_p2pdma(struct hmm_area *a)
{
	put_device_page(a, MEMORY_DEVICE_PCI_P2PDMA);
}

static void make_coherent(struct hmm_area *a)
{
	put_device_page(a, MEMORY_DEVICE_COHERENT);
}

static void put_devmap(struct hmm_area *a, pgprot_t prot)
{
	device(a, MEMORY_DEVICE_GENERIC);
	hmm_area_put(a, hmm_area_entry(a, a->state->order),
		     hmm_area_devmap(a->state->order, a->pfn, prot));
}

static void make_devmap(struct hmm_area *a)
{
	put_devmap(a, __pgprot(pgprot_val(PAGE_SHARED) | _PAGE_DIRTY));
}

static void make_devmap_old(struct hmm_area *a)
{
	put_devmap(a, __pgprot(pgprot_val(PAGE_SHARED) & ~_PAGE_ACCESSED));
}

static void make_devmap_read_only(struct hmm_area *a)
{
	put_devmap(a, PAGE_READONLY);
}

/* A table entry with a flag that tables do not have */
static void make_bad(struct hmm_area *a)
{
	hmm_area_put(a, hmm_area_entry(a, a->state->order), _KERNPG_TABLE | _PAGE_GLOBAL);
}

/* Not present, not empty and not migrating: 6.12 creates no such entry. */
static void make_nonpresent(struct hmm_area *a)
{
	hmm_area_put(a, hmm_area_entry(a, a->state->order),
		     pmd_val(swp_entry_to_pmd(swp_entry(0, 1))));
}

#define V	HMM_PFN_VALID
#define W	HMM_PFN_WRITE
#define ORDER(n) ((unsigned long)(n) << HMM_PFN_ORDER_SHIFT)
#define HUGE	ORDER(PMD_ORDER)
#define GIANT	ORDER(PUD_ORDER)
/* After an access of the CPU: the page was read, or written */
#define R	HMM_PFN_READ
#define RY	(R | HMM_PFN_YOUNG)
#define RDY	(RY | HMM_PFN_DIRTY)
#define UNADDRESSABLE (HMM_PFN_DEVICE | HMM_PFN_UNADDRESSABLE)
#define REFUSED	(HMM_PFN_ERROR | HMM_PFN_SPECIAL)

/* NOT REQUESTED, ATTRIBUTES, REQUESTED, REQUESTED WRITE */
#define GIVES(e)	{ .entry = (e) }
#define AFTER(n, e)	{ .entry = (e), .faults = (n) }
#define FAILS(err)	{ .ret = -(err) }
#define FAILS_AFTER(n, err) { .ret = -(err), .faults = (n) }
#define ABSENT(why)	{ .absent = (why) }
/* The same flags in all four columns, without a fault */
#define PRESENT(flags, attributes)					\
	{ GIVES(flags), GIVES((flags) | (attributes)),			\
	  GIVES(flags), GIVES(flags) }
#define NEVER(attributes)						\
	{ GIVES(HMM_PFN_ERROR), GIVES(attributes), FAILS(EFAULT), FAILS(EFAULT) }

const struct hmm_state hmm_states[] = {
	/* Hole in a VMA, uffd-wp marker */
	{
		"hole", .make = make_nothing,
		.cell = { GIVES(0), GIVES(HMM_PFN_EMPTY), AFTER(1, V), AFTER(1, V | W) },
	}, {
		"hole_thp", .order = PMD_ORDER, .make = make_nothing,
		.cell = { GIVES(0), GIVES(HMM_PFN_EMPTY),
			  AFTER(1, V | HUGE), AFTER(1, V | W | HUGE) },
	}, {
		"hole_shmem", HMM_SHMEM, .make = make_nothing,
		.cell = { GIVES(0), GIVES(HMM_PFN_EMPTY), AFTER(1, V | W), AFTER(1, V | W) },
	}, {
		"hole_shmem_cached", HMM_SHMEM, .make = make_cached,
		.cell = { GIVES(0), GIVES(HMM_PFN_EMPTY), AFTER(1, V | W), AFTER(1, V | W) },
	}, {
		"hole_hugetlb", HMM_HUGETLB, PMD_ORDER, .make = make_nothing,
		.cell = { GIVES(0), GIVES(HMM_PFN_EMPTY),
			  AFTER(1, V | W | HUGE), AFTER(1, V | W | HUGE) },
	}, {
		"hole_read_only", .clear = VM_WRITE, .make = make_nothing,
		.cell = { GIVES(0), GIVES(HMM_PFN_EMPTY), AFTER(1, V), FAILS(EPERM) },
	}, {
		"uffd_wp_marker", .make = make_marker_uffd_wp,
		.cell = { GIVES(0), GIVES(HMM_PFN_EMPTY), AFTER(2, V), AFTER(2, V | W) },
	}, {
		"uffd_wp_marker_armed", .set = VM_UFFD_WP, .make = make_marker_uffd_wp,
		.cell = { GIVES(0), GIVES(HMM_PFN_EMPTY), AFTER(1, V),
			  FAILS_AFTER(1, EFAULT) },
	}, {
		"uffd_wp_marker_hugetlb", HMM_HUGETLB, PMD_ORDER, .set = VM_UFFD_WP,
		.make = make_marker_uffd_wp,
		.cell = { GIVES(0), GIVES(HMM_PFN_EMPTY), AFTER(1, V | HUGE),
			  FAILS_AFTER(1, EFAULT) },
	},
	/* No VMA */
	{
		"no_vma", .make = make_unmapped, .cell = NEVER(HMM_PFN_ERROR),
	}, {
		"no_vma_huge", .order = PMD_ORDER, .make = make_unmapped,
		.cell = NEVER(HMM_PFN_ERROR),
	}, {
		/* Below memory that grows down on a CPU fault */
		"below_stack", .set = VM_GROWSDOWN, .make = make_unmapped,
		.cell = NEVER(HMM_PFN_ERROR),
	},
	/* VM_IO, VM_PFNMAP, no VM_READ */
	{
		"vm_io", .set = VM_IO, .make = make_written, .cell = NEVER(REFUSED),
	}, {
		"vm_io_hole", .set = VM_IO, .make = make_nothing, .cell = NEVER(REFUSED),
	}, {
		"vm_pfnmap", .set = VM_PFNMAP, .make = make_special,
		.cell = NEVER(REFUSED),
	}, {
		"vm_pfnmap_page", .set = VM_PFNMAP, .make = make_written,
		.cell = NEVER(REFUSED),
	}, {
		"no_read", .clear = VM_READ, .make = make_written,
		.cell = NEVER(HMM_PFN_ERROR),
	}, {
		"no_read_thp", .order = PMD_ORDER, .clear = VM_READ,
		.make = make_written, .cell = NEVER(HMM_PFN_ERROR),
	}, {
		"no_read_hugetlb", HMM_HUGETLB, PMD_ORDER, .clear = VM_READ,
		.make = make_written, .cell = NEVER(HMM_PFN_ERROR),
	}, {
		"prot_none", .clear = VM_READ | VM_WRITE, .make = make_protnone,
		.cell = NEVER(HMM_PFN_ERROR),
	}, {
		"prot_none_hole", .clear = VM_READ | VM_WRITE, .make = make_nothing,
		.cell = NEVER(HMM_PFN_ERROR),
	},
	/* secretmem */
	{
		"secretmem", HMM_SECRETMEM, .make = make_written,
		.cell = NEVER(REFUSED),
	}, {
		"secretmem_hole", HMM_SECRETMEM, .make = make_nothing,
		.cell = NEVER(REFUSED),
	},
	/* Write to a VMA without VM_WRITE, to a shadow stack */
	{
		"read_only", .clear = VM_WRITE, .make = make_read_only,
		.cell = { GIVES(V), GIVES(V | RDY), GIVES(V), FAILS(EPERM) },
	}, {
		"read_only_thp", .order = PMD_ORDER, .clear = VM_WRITE,
		.make = make_read_only,
		.cell = { GIVES(V | HUGE), GIVES(V | RDY | HUGE), GIVES(V | HUGE),
			  FAILS(EPERM) },
	}, {
		"read_only_hugetlb", HMM_HUGETLB, PMD_ORDER, .clear = VM_WRITE,
		.make = make_read_only,
		.cell = { GIVES(V | HUGE), GIVES(V | RDY | HUGE), GIVES(V | HUGE),
			  FAILS(EPERM) },
	}, {
		"read_only_swap", .clear = VM_WRITE, .make = make_swapped,
		.cell = { GIVES(0), GIVES(0), ABSENT("needs a swap device"),
			  FAILS(EPERM) },
	}, {
		/* The ptes of a shadow stack are writable in their own way. */
		"shadow_stack", .set = VM_SHADOW_STACK, .make = make_written,
		.cell = { GIVES(V), GIVES(V | RDY), GIVES(V), FAILS(EPERM) },
	}, {
		"shadow_stack_swap", .set = VM_SHADOW_STACK, .make = make_swapped,
		.cell = { GIVES(0), GIVES(0), ABSENT("needs a swap device"),
			  FAILS(EPERM) },
	},
	/* Present */
	{
		"written", .make = make_written, .cell = PRESENT(V | W, RDY),
	}, {
		"clean", .make = make_clean, .cell = PRESENT(V | W, RY),
	}, {
		"old", .make = make_old, .cell = PRESENT(V | W, R | HMM_PFN_DIRTY),
	}, {
		"cow", .make = make_read_only,
		.cell = { GIVES(V), GIVES(V | RDY), GIVES(V), AFTER(1, V | W) },
	}, {
		"shmem", HMM_SHMEM, .make = make_written, .cell = PRESENT(V | W, RDY),
	}, {
		"vm_mixedmap", .set = VM_MIXEDMAP, .make = make_written,
		.cell = PRESENT(V | W, RDY),
	}, {
		"thp", .order = PMD_ORDER, .make = make_written,
		.cell = PRESENT(V | W | HUGE, RDY),
	}, {
		"thp_clean", .order = PMD_ORDER, .make = make_clean,
		.cell = PRESENT(V | W | HUGE, RY),
	}, {
		"thp_old", .order = PMD_ORDER, .make = make_old,
		.cell = PRESENT(V | W | HUGE, R | HMM_PFN_DIRTY),
	}, {
		"thp_cow", .order = PMD_ORDER, .make = make_read_only,
		.cell = { GIVES(V | HUGE), GIVES(V | RDY | HUGE), GIVES(V | HUGE),
			  AFTER(1, V | W | HUGE) },
	}, {
		"hugetlb", HMM_HUGETLB, PMD_ORDER, .make = make_written,
		.cell = PRESENT(V | W | HUGE, RDY),
	}, {
		"hugetlb_clean", HMM_HUGETLB, PMD_ORDER, .make = make_clean,
		.cell = PRESENT(V | W | HUGE, RY),
	}, {
		"hugetlb_old", HMM_HUGETLB, PMD_ORDER, .make = make_old,
		.cell = PRESENT(V | W | HUGE, R | HMM_PFN_DIRTY),
	}, {
		"hugetlb_cow", HMM_HUGETLB_PRIVATE, PMD_ORDER, .make = make_read_only,
		.cell = { GIVES(V | HUGE), GIVES(V | RDY | HUGE), GIVES(V | HUGE),
			  AFTER(1, V | W | HUGE) },
	}, {
		"hugetlb_1g", HMM_HUGETLB, PUD_ORDER, .make = make_written,
		.cell = PRESENT(V | W | GIANT, RDY),
	},
	/* Device memory that the CPU maps like system memory */
	{
		"coherent", .make = make_coherent,
		.cell = PRESENT(V | W, RY | HMM_PFN_DEVICE),
	},
	/* PTE-mapped large folio */
	{
		/* Otherwise khugepaged collapses it. */
		"pte_mapped_thp", .order = PMD_ORDER, .set = VM_NOHUGEPAGE,
		.make = make_pte_mapped,
		.cell = PRESENT(V | W, RDY),
	},
	/* NUMA hint, swap */
	{
		"protnone", .make = make_protnone,
		.cell = { GIVES(0), GIVES(0), AFTER(1, V | W), AFTER(1, V | W) },
	}, {
		"protnone_thp", .order = PMD_ORDER, .make = make_protnone,
		.cell = { GIVES(0), GIVES(0), AFTER(1, V | W | HUGE),
			  AFTER(1, V | W | HUGE) },
	}, {
		"swap", .make = make_swapped,
		.cell = { GIVES(0), GIVES(0), ABSENT("needs a swap device"),
			  ABSENT("needs a swap device") },
	},
	/* Migration entry */
	{
		"migrating", .make = make_migrating, .cell = {
			GIVES(0), GIVES(0), GIVES(V | W), GIVES(V | W) },
	}, {
		"migrating_thp", .order = PMD_ORDER, .make = make_migrating, .cell = {
			GIVES(0), GIVES(0), GIVES(V | W | HUGE), GIVES(V | W | HUGE) },
	}, {
		"migrating_hugetlb", HMM_HUGETLB, PMD_ORDER, .make = make_migrating,
		.cell = { GIVES(0), GIVES(0), GIVES(V | W | HUGE),
			  GIVES(V | W | HUGE) },
	}, {
		"migrating_read_only", .clear = VM_WRITE, .make = make_migrating,
		.cell = { GIVES(0), GIVES(0), GIVES(V), FAILS(EPERM) },
	},
	/* Device private, device exclusive */
	{
		"private_own", .make = make_private_own,
		.cell = PRESENT(V | W, UNADDRESSABLE),
	}, {
		/* The driver keeps the page, however often it gets a fault. */
		"private_own_read_only", .make = make_private_own_read_only,
		.cell = { GIVES(V), GIVES(V | UNADDRESSABLE), GIVES(V), AFTER(32, V) },
	}, {
		"private_own_given_back", .make = make_private_own_given_back,
		.cell = { GIVES(V), GIVES(V | UNADDRESSABLE), GIVES(V), AFTER(2, V | W) },
	}, {
		"private_own_vma_read_only", .clear = VM_WRITE,
		.make = make_private_own,
		.cell = { GIVES(V), GIVES(V | UNADDRESSABLE), GIVES(V), FAILS(EPERM) },
	}, {
		"private_foreign", .make = make_private_foreign,
		.cell = { GIVES(0), GIVES(UNADDRESSABLE), AFTER(2, V), AFTER(2, V | W) },
	}, {
		"private_unowned", .make = make_private_unowned,
		.cell = { GIVES(0), GIVES(UNADDRESSABLE), AFTER(2, V), AFTER(2, V | W) },
	}, {
		"exclusive_own", .make = make_exclusive_own,
		.cell = { GIVES(0), GIVES(UNADDRESSABLE), AFTER(1, V | W),
			  AFTER(1, V | W) },
	}, {
		"exclusive_foreign", .make = make_exclusive_foreign,
		.cell = { GIVES(0), GIVES(UNADDRESSABLE), AFTER(1, V | W),
			  AFTER(1, V | W) },
	},
	/* Poison */
	{
		"hwpoison", .make = make_hwpoison, .cell = NEVER(HMM_PFN_ERROR),
	}, {
		"hwpoison_hugetlb", HMM_HUGETLB, PMD_ORDER, .make = make_hwpoison,
		.cell = NEVER(HMM_PFN_ERROR),
	}, {
		"poison_marker", .make = make_marker_poison,
		.cell = NEVER(HMM_PFN_ERROR),
	}, {
		"poison_marker_hugetlb", HMM_HUGETLB, PMD_ORDER,
		.make = make_marker_poison, .cell = NEVER(HMM_PFN_ERROR),
	},
	/* Not normal, special, P2PDMA, bad */
	{
		"special", .set = VM_MIXEDMAP, .make = make_special,
		.cell = NEVER(REFUSED),
	}, {
		"special_pmd", .order = PMD_ORDER, .make = make_special,
		.cell = NEVER(REFUSED),
	}, {
		"special_pud", .order = PUD_ORDER, .make = make_special,
		.cell = NEVER(REFUSED),
	}, {
		"p2pdma", .set = VM_MIXEDMAP, .make = make_p2pdma,
		.cell = NEVER(REFUSED),
	}, {
		"bad_pmd", .order = PMD_ORDER, .make = make_bad, .cell = NEVER(REFUSED),
	}, {
		"bad_pud", .order = PUD_ORDER, .make = make_bad, .cell = NEVER(REFUSED),
	}, {
		"nonpresent_pmd", .order = PMD_ORDER, .make = make_nonpresent,
		.cell = NEVER(REFUSED),
	}, {
		"nonpresent_pud", .order = PUD_ORDER, .make = make_nonpresent,
		.cell = NEVER(REFUSED),
	},
	/* Zero page */
	{
		"zero_page", .make = make_read,
		.cell = { GIVES(V), GIVES(V | R), GIVES(V), AFTER(1, V | W) },
	}, {
		/* A write splits the mapping, so each page takes a fault. */
		"huge_zero_page", .order = PMD_ORDER, .set = VM_NOHUGEPAGE,
		.make = make_read,
		.cell = { GIVES(V | HUGE), GIVES(V | R | HUGE), GIVES(V | HUGE),
			  AFTER(HPAGE_PMD_NR, V | W) },
	},
	/* Devmap */
	{
		"devmap", .make = make_devmap,
		.cell = PRESENT(V | W, RDY | HMM_PFN_DEVICE),
	}, {
		"devmap_old", .make = make_devmap_old,
		.cell = PRESENT(V | W, R | HMM_PFN_DEVICE),
	}, {
		"devmap_pmd_old", .order = PMD_ORDER, .make = make_devmap_old,
		.cell = PRESENT(V | W | HUGE, R | HMM_PFN_DEVICE),
	}, {
		"devmap_pud_old", .order = PUD_ORDER, .make = make_devmap_old,
		.cell = PRESENT(V | W | GIANT, R | HMM_PFN_DEVICE),
	}, {
		/* Like after a sync of the file: the next write must be noticed. */
		"devmap_write_protected", .make = make_devmap_read_only,
		.cell = { GIVES(V), GIVES(V | RY | HMM_PFN_DEVICE), GIVES(V),
			  ABSENT("needs a file on DAX") },
	}, {
		"devmap_pmd_write_protected", .order = PMD_ORDER,
		.make = make_devmap_read_only,
		.cell = { GIVES(V | HUGE), GIVES(V | RY | HUGE | HMM_PFN_DEVICE),
			  GIVES(V | HUGE), ABSENT("needs a file on DAX") },
	}, {
		"devmap_pud_write_protected", .order = PUD_ORDER,
		.make = make_devmap_read_only,
		.cell = { GIVES(V | GIANT), GIVES(V | RY | GIANT | HMM_PFN_DEVICE),
			  GIVES(V | GIANT), ABSENT("needs a file on DAX") },
	}, {
		"devmap_read_only", .clear = VM_WRITE, .make = make_devmap_read_only,
		.cell = { GIVES(V), GIVES(V | RY | HMM_PFN_DEVICE), GIVES(V),
			  FAILS(EPERM) },
	}, {
		"devmap_pmd", .order = PMD_ORDER, .make = make_devmap,
		.cell = PRESENT(V | W | HUGE, RDY | HMM_PFN_DEVICE),
	}, {
		"devmap_pmd_read_only", .order = PMD_ORDER, .clear = VM_WRITE,
		.make = make_devmap_read_only,
		.cell = { GIVES(V | HUGE), GIVES(V | RY | HUGE | HMM_PFN_DEVICE),
			  GIVES(V | HUGE), FAILS(EPERM) },
	}, {
		"devmap_pud", .order = PUD_ORDER, .make = make_devmap,
		.cell = PRESENT(V | W | GIANT, RDY | HMM_PFN_DEVICE),
	}, {
		"devmap_pud_read_only", .order = PUD_ORDER, .clear = VM_WRITE,
		.make = make_devmap_read_only,
		.cell = { GIVES(V | GIANT), GIVES(V | RY | GIANT | HMM_PFN_DEVICE),
			  GIVES(V | GIANT), FAILS(EPERM) },
	},
	/* userfaultfd: no task resolves the fault, as when the caller holds the lock */
	{
		"uffd_missing", .set = VM_UFFD_MISSING, .make = make_nothing,
		.cell = { GIVES(0), GIVES(HMM_PFN_EMPTY), FAILS(EFAULT), FAILS(EFAULT) },
	}, {
		"uffd_minor", HMM_SHMEM, .set = VM_UFFD_MINOR, .make = make_cached,
		.cell = { GIVES(0), GIVES(HMM_PFN_EMPTY), FAILS(EFAULT), FAILS(EFAULT) },
	}, {
		"uffd_wp", .set = VM_UFFD_WP, .make = make_uffd_wp,
		.cell = { GIVES(V), GIVES(V | RDY), GIVES(V), FAILS(EFAULT) },
	}, {
		"uffd_wp_thp", .order = PMD_ORDER, .set = VM_UFFD_WP, .make = make_uffd_wp,
		.cell = { GIVES(V | HUGE), GIVES(V | RDY | HUGE), GIVES(V | HUGE),
			  FAILS(EFAULT) },
	},
};

const unsigned int hmm_nr_states = ARRAY_SIZE(hmm_states);
