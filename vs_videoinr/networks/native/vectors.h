/* Vectors and small functions that the kernels share. Included once per variant, with LANES: how many numbers a vector
 * of the processor holds. */

#include <string.h>

typedef float Four __attribute__((vector_size(16), aligned(4), may_alias));
typedef float Eight __attribute__((vector_size(32), aligned(4), may_alias));
typedef float Sixteen __attribute__((vector_size(64), aligned(4), may_alias));
typedef float Lanes __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t IntLanes __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

#define INLINE static inline __attribute__((always_inline))

/* Rows that a thread takes at a time. */
enum { BLOCK = 8 };

static inline Four four_at(const float *place) {
    return *(const Four *)place;
}

static inline int clamp_int(int value, int low, int high) {
    return value < low ? low : value > high ? high : value;
}

/* NaN becomes `low`. */
static inline float clamp_float(float value, float low, float high) {
    value = value > low ? value : low;
    return value < high ? value : high;
}

/* The largest whole number up to a small `value`; what is left of it goes to `rest`. */
static inline int floor_of(float value, float *rest) {
    int whole = (int)value;
    whole -= (float)whole > value;
    *rest = value - (float)whole;
    return whole;
}

INLINE Lanes lanes_at(const float *place) {
    return *(const Lanes *)place;
}

INLINE Lanes choose(IntLanes which, Lanes one, Lanes other) {
    return (Lanes)((which & (IntLanes)one) | (~which & (IntLanes)other));
}

/* No number stays none. */
INLINE Lanes clamp_lanes(Lanes value, float low, float high) {
    Lanes lows = (Lanes){0} + low, highs = (Lanes){0} + high;
    value = choose(value < lows, lows, value);
    return choose(value > highs, highs, value);
}

/* As floor_of; of no number it is 0, and what is left is no number. */
INLINE IntLanes floor_lanes(Lanes value, Lanes *rest) {
    Lanes number = choose(value == value, value, (Lanes){0});
    IntLanes whole = __builtin_convertvector(number, IntLanes);
    whole += __builtin_convertvector(whole, Lanes) > number;
    *rest = value - __builtin_convertvector(whole, Lanes);
    return whole;
}

/* As exponential. */
INLINE Lanes exponential_lanes(Lanes x) {
    Lanes whole = x * 1.44269504f + 12582912.0f;
    IntLanes power = ((IntLanes)whole + 127) << 23;
    whole -= 12582912.0f;
    Lanes r = (x - whole * 0.693359375f) + whole * 2.12194440e-4f;
    Lanes p =
        1 + r * (1 + r * (0.5f + r * (0.166666672f + r * (4.16665763e-2f + r * (8.33345205e-3f + r * 1.39e-3f)))));
    return p * (Lanes)power;
}

/* 1 / sqrt(x) of something positive that is neither tiny nor huge, to a few units in the last place. */
INLINE Lanes reciprocal_root(Lanes x) {
    Lanes root = (Lanes)(0x5f3759df - ((IntLanes)x >> 1));
    for (int n = 0; n < 3; n++)
        root = root * (1.5f - (0.5f * x * root) * root);
    return root;
}
