// SPDX-License-Identifier: MIT
// lttng_tracepoints.hpp: the tracepoint of three integers; LTTng's macros include this file again to write its code.
#undef LTTNG_UST_TRACEPOINT_PROVIDER
#define LTTNG_UST_TRACEPOINT_PROVIDER thence_bench
#undef LTTNG_UST_TRACEPOINT_INCLUDE
#define LTTNG_UST_TRACEPOINT_INCLUDE "rivals/lttng_tracepoints.hpp"

#if !defined(THENCE_BENCH_LTTNG_TRACEPOINTS) || defined(LTTNG_UST_TRACEPOINT_HEADER_MULTI_READ)
#define THENCE_BENCH_LTTNG_TRACEPOINTS
#include <lttng/tracepoint.h>

#include <cstdint>

LTTNG_UST_TRACEPOINT_EVENT(thence_bench, three_integers,
                           LTTNG_UST_TP_ARGS(std::uint64_t, a, std::uint64_t, b, std::uint64_t, c),
                           LTTNG_UST_TP_FIELDS(lttng_ust_field_integer(std::uint64_t, a, a)
                                                   lttng_ust_field_integer(std::uint64_t, b, b)
                                                       lttng_ust_field_integer(std::uint64_t, c, c)))
#endif
#include <lttng/tracepoint-event.h>
