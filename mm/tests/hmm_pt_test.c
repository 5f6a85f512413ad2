// SPDX-License-Identifier: GPL-2.0
/*
 * Helpers that the KUnit tests of the mirror page table share: its operations, each under
 * the lock that it needs
 */
#include <linux/cleanup.h>
#include <linux/pgtable.h>
#include <linux/vmalloc.h>

#include "hmm_pt_test.h"

static struct hmm_pt_test *new_test(struct kunit *test)
{
	struct hmm_pt_test *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, t);
	init_rwsem(&t->lock);
	test->priv = t;
	return t;
}

int hmm_pt_test_init(struct kunit *test)
{
	struct hmm_pt_test *t = new_test(test);

	return hmm_pt_init(&t->pt, &t->lock, NULL);
}

/* The same with DMA addresses */
int hmm_pt_test_init_dma(struct kunit *test)
{
	struct hmm_pt_test *t = new_test(test);

	t->device = hmm_pt_device(test);
	t->maps = (dma_addr_t *)hmm_pt_test_words(test, BIT(PUD_SHIFT - PAGE_SHIFT));
	return hmm_pt_init(&t->pt, &t->lock, t->device->dev);
}

/* Destroying the page table frees all that the test has left. */
void hmm_pt_test_exit(struct kunit *test)
{
	struct hmm_pt_test *t = test->priv;

	if (!t || !t->pt.root)
		return;
	hmm_pt_destroy(&t->pt);
	KUNIT_EXPECT_EQ(test, 0, atomic_long_read(&t->pt.bytes));
	if (t->device) {
		KUNIT_EXPECT_EQ(test, 0, t->device->live);
		KUNIT_EXPECT_EQ(test, t->device->maps, t->device->unmaps);
		KUNIT_EXPECT_STREQ(test, "", t->device->complaint ?: "");
	}
}

static void hmm_pt_test_vfree(void *memory)
{
	vfree(memory);
}

unsigned long *hmm_pt_test_words(struct kunit *test, unsigned long npages)
{
	unsigned long *words = vcalloc(npages, sizeof(*words));

	KUNIT_ASSERT_NOT_NULL(test, words);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, hmm_pt_test_vfree, words));
	return words;
}

unsigned long hmm_pt_test_block(unsigned long word, unsigned int order)
{
	return word | (unsigned long)order << HMM_PTE_ORDER_SHIFT;
}

/* Fill @words with contiguous memory, from that of @word on. */
void hmm_pt_test_fill(unsigned long *words, unsigned long npages, unsigned long word)
{
	unsigned long i;

	for (i = 0; i < npages; i++)
		words[i] = word + i;
}

/* Stage at most 1 GiB. The test uses one stage at a time. */
void hmm_pt_test_stage(struct kunit *test, struct hmm_pt_stage *stage, unsigned long addr,
		       unsigned long npages, unsigned long *words)
{
	struct hmm_pt_test *t = test->priv;

	hmm_pt_stage(stage, addr, addr + (npages << PAGE_SHIFT), words, t->maps);
}

int hmm_pt_test_publish_staged(struct kunit *test, struct hmm_pt_stage *stage)
{
	struct hmm_pt_test *t = test->priv;

	guard(rwsem_write)(&t->lock);
	return hmm_pt_publish(&t->pt, stage);
}

int hmm_pt_test_publish(struct kunit *test, unsigned long addr, unsigned long npages,
			unsigned long *words)
{
	struct hmm_pt_test *t = test->priv;
	struct hmm_pt_stage stage;
	int ret;

	hmm_pt_test_stage(test, &stage, addr, npages, words);
	ret = hmm_pt_prepare(&t->pt, &stage);
	if (!ret)
		ret = hmm_pt_test_publish_staged(test, &stage);
	hmm_pt_unstage(&t->pt, &stage);
	return ret;
}

/* Map contiguous memory, from that of @word on, in blocks of its order. */
void hmm_pt_test_map(struct kunit *test, unsigned long addr, unsigned long npages,
		     unsigned long word)
{
	unsigned long *words = hmm_pt_test_words(test, npages);

	hmm_pt_test_fill(words, npages, word);
	KUNIT_ASSERT_EQ(test, 0, hmm_pt_test_publish(test, addr, npages, words));
	kunit_release_action(test, hmm_pt_test_vfree, words);
}

hmm_pte_t hmm_pt_test_lookup(struct kunit *test, unsigned long addr)
{
	struct hmm_pt_test *t = test->priv;

	guard(rwsem_read)(&t->lock);
	return hmm_pt_load(&t->pt, addr);
}

void hmm_pt_test_clear(struct kunit *test, unsigned long *start, unsigned long *end)
{
	struct hmm_pt_test *t = test->priv;

	guard(rwsem_write)(&t->lock);
	hmm_pt_clear(&t->pt, start, end);
}

void hmm_pt_test_protect(struct kunit *test, unsigned long *start, unsigned long *end)
{
	struct hmm_pt_test *t = test->priv;

	guard(rwsem_write)(&t->lock);
	hmm_pt_write_protect(&t->pt, start, end);
}

void hmm_pt_test_dirty(struct kunit *test, unsigned long start, unsigned long end)
{
	struct hmm_pt_test *t = test->priv;

	guard(rwsem_read)(&t->lock);
	hmm_pt_set_dirty(&t->pt, start, end);
}

bool hmm_pt_test_occupied(struct kunit *test, unsigned long start, unsigned long end)
{
	struct hmm_pt_test *t = test->priv;

	guard(rwsem_read)(&t->lock);
	return hmm_pt_occupied(&t->pt, start, end);
}

bool hmm_pt_test_writable(struct kunit *test, unsigned long start, unsigned long end)
{
	struct hmm_pt_test *t = test->priv;

	guard(rwsem_read)(&t->lock);
	return hmm_pt_writable(&t->pt, start, end);
}
