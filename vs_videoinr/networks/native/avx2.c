/* The kernels for processors of x86-64 that have AVX2 and FMA; kernels.py asks whether this one has. The instructions
 * are named here and not by flags, so that all files are compiled alike. */

#include "kernels.h"

#if defined(__x86_64__) || defined(_M_X64)
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif

#define VARIANT(name) name##_avx2
#define LANES 8
#define WIDE_ROWS 6
#include "vectors.h"
#include "warp_blend.h"
#include "siren.h"
#include "motion.h"
#include "flows.h"
#include "clues.h"
#include "warp.h"
#include "correlation.h"

#ifdef __clang__
#pragma clang attribute pop
#endif
#endif
