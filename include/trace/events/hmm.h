/* SPDX-License-Identifier: GPL-2.0-or-later */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM hmm

#if !defined(_TRACE_HMM_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_HMM_H

#include <linux/hmm_mirror.h>
#include <linux/tracepoint.h>

TRACE_DEFINE_ENUM(HMM_UPDATE_MUNMAP);
TRACE_DEFINE_ENUM(HMM_UPDATE_MIGRATE);
TRACE_DEFINE_ENUM(HMM_UPDATE_WRITE_PROTECT);
TRACE_DEFINE_ENUM(HMM_UPDATE_FORK);
TRACE_DEFINE_ENUM(HMM_UPDATE_ISDIRTY);

#define show_hmm_event(event)					\
	__print_symbolic(event,					\
		{ HMM_UPDATE_MUNMAP,		"munmap" },	\
		{ HMM_UPDATE_MIGRATE,		"migrate" },	\
		{ HMM_UPDATE_WRITE_PROTECT,	"write-protect" }, \
		{ HMM_UPDATE_FORK,		"fork" },	\
		{ HMM_UPDATE_ISDIRTY,		"isdirty" })

#define show_hmm_fault_flags(flags)				\
	__print_flags(flags, "|",				\
		{ HMM_FAULT_READ,		"read" },	\
		{ HMM_FAULT_WRITE,		"write" },	\
		{ HMM_FAULT_PRESENT,		"present" },	\
		{ HMM_FAULT_EXCLUSIVE,		"exclusive" })

DECLARE_EVENT_CLASS(hmm_mirror,

	TP_PROTO(struct hmm_mirror *mirror),

	TP_ARGS(mirror),

	TP_STRUCT__entry(
		__field(struct hmm_mirror *, mirror)
		__field(struct mm_struct *, mm)
	),

	TP_fast_assign(
		__entry->mirror = mirror;
		__entry->mm = mirror->mm;
	),

	TP_printk("mirror=%p mm=%p", __entry->mirror, __entry->mm)
);

DEFINE_EVENT(hmm_mirror, hmm_register,
	TP_PROTO(struct hmm_mirror *mirror),
	TP_ARGS(mirror)
);

DEFINE_EVENT(hmm_mirror, hmm_release,
	TP_PROTO(struct hmm_mirror *mirror),
	TP_ARGS(mirror)
);

DEFINE_EVENT(hmm_mirror, hmm_unregister,
	TP_PROTO(struct hmm_mirror *mirror),
	TP_ARGS(mirror)
);

TRACE_EVENT(hmm_fault,

	TP_PROTO(struct hmm_mirror *mirror, unsigned long start, unsigned long end,
		 unsigned int flags, long ret),

	TP_ARGS(mirror, start, end, flags, ret),

	TP_STRUCT__entry(
		__field(struct hmm_mirror *, mirror)
		__field(unsigned long, start)
		__field(unsigned long, end)
		__field(unsigned int, flags)
		__field(long, ret)
	),

	TP_fast_assign(
		__entry->mirror = mirror;
		__entry->start = start;
		__entry->end = end;
		__entry->flags = flags;
		__entry->ret = ret;
	),

	TP_printk("mirror=%p range=%lx-%lx %s ret=%ld", __entry->mirror,
		  __entry->start, __entry->end, show_hmm_fault_flags(__entry->flags),
		  __entry->ret)
);

TRACE_EVENT(hmm_collision,

	TP_PROTO(const struct hmm_range *range),

	TP_ARGS(range),

	TP_STRUCT__entry(
		__field(struct hmm_mirror *, mirror)
		__field(unsigned long, start)
		__field(unsigned long, end)
	),

	TP_fast_assign(
		__entry->mirror = range->mirror;
		__entry->start = range->start;
		__entry->end = range->end;
	),

	TP_printk("mirror=%p range=%lx-%lx", __entry->mirror, __entry->start,
		  __entry->end)
);

TRACE_EVENT(hmm_invalidate,

	TP_PROTO(struct hmm_mirror *mirror, const struct hmm_update *update, int ret),

	TP_ARGS(mirror, update, ret),

	TP_STRUCT__entry(
		__field(struct hmm_mirror *, mirror)
		__field(unsigned long, start)
		__field(unsigned long, end)
		__field(unsigned int, event)
		__field(bool, blockable)
		__field(int, ret)
	),

	TP_fast_assign(
		__entry->mirror = mirror;
		__entry->start = update->start;
		__entry->end = update->end;
		__entry->event = update->event;
		__entry->blockable = update->blockable;
		__entry->ret = ret;
	),

	TP_printk("mirror=%p range=%lx-%lx %s %s ret=%d", __entry->mirror,
		  __entry->start, __entry->end, show_hmm_event(__entry->event),
		  __entry->blockable ? "blockable" : "non-blockable", __entry->ret)
);

#endif /* _TRACE_HMM_H */

#include <trace/define_trace.h>
