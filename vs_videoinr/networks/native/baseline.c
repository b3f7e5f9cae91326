/* The kernels for every processor of the platform. */

#include "kernels.h"

#define VARIANT(name) name##_baseline
#include "warp_blend.h"
