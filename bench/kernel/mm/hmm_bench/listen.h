/* SPDX-License-Identifier: GPL-2.0 */
/* Listeners for changes of an mm */
#ifndef _HMM_BENCH_LISTEN_H
#define _HMM_BENCH_LISTEN_H

#include <linux/fs.h>

long hmm_bench_listen(struct file *file, void __user *arg);
int hmm_bench_release(struct inode *inode, struct file *file);

#endif /* _HMM_BENCH_LISTEN_H */
