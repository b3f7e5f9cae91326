/* The kernels for every processor of the platform. */

#include "kernels.h"

#define VARIANT(name) name##_baseline
#define LANES 4
#define WIDE_ROWS 6
#include "vectors.h"
#include "warp_blend.h"
#include "siren.h"
#include "motion.h"
#include "flows.h"
#include "clues.h"
#include "warp.h"
#include "correlation.h"
