/*
 * The networks' kernels: work on a CPU that takes PyTorch many passes, in one.
 *
 * vs_videoinr/networks/kernels.py calls them by ctypes, which lets go of the GIL meanwhile. Each has a twin in PyTorch
 * that does the same work wherever this library cannot.
 *
 *     rows.c           threads that share the rows of a picture
 *     warp_blend.h     two frames warped, blended and repaired
 *     baseline.c       the kernels for every processor of the wheel's platform
 *     avx2.c           the same for those of x86-64 that have AVX2 and FMA
 *
 * Written in vectors, for GCC and Clang (so Zig as well). All that Python and C hand over is in the structures here;
 * whoever changes one raises KERNELS_VERSION, and the same number in kernels.py.
 */

#ifndef VIDEOINR_KERNELS_H
#define VIDEOINR_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#define KERNELS_VERSION 1

#ifdef _WIN32
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif

/* Pixels around a packed frame that repeat its border: sampling never looks beyond. */
#define BORDER 5

/* Entries of a table of Lanczos's weights: a pixel's distance is divided into so many. */
#define LANCZOS_STEPS 256

/* What an output row or column of a resized picture is made of. */
typedef struct Resize {
    const int32_t *first; /* of each output row or column: the first that it is made of */
    const float *weights; /* (output, taps) */
    int32_t taps;
    int32_t inputs;
} Resize;

/* Two frames, warped, blended and repaired. Vectors of four are flows (x, y to frame 0; x, y to frame 1), colours (R,
 * G, B and nothing), or how colours are put together (occlusion logit; R, G, B of the repair). */
typedef struct WarpBlend {
    const float *frames[2];         /* packed, see pack_frame: the first pixel of their borders */
    const float *flow;              /* (flow_height, flow_width, 4), in its own pixels */
    const float *fine;              /* (fine_rows.inputs, fine_columns.inputs, 4) */
    float *output;                  /* (3, rows, columns): the window */
    float *scratch;                 /* scratch_floats for each thread */
    const float *lanczos;           /* (LANCZOS_STEPS + 1, 8): weights of six pixels; NULL for bicubic sampling */
    Resize fine_rows, fine_columns; /* to the frames' size */
    int64_t scratch_floats;
    int32_t height, width; /* of the frames */
    int32_t flow_height, flow_width;
    int32_t top, left, rows, columns; /* of the window */
    float odds;                       /* of frame 1 against frame 0 where the logit is 0 */
    float max_logit;
} WarpBlend;

/* A picture that is laid out for sampling. */
typedef struct PackFrame {
    const float *picture; /* (3, height, width) */
    float *packed;        /* (height + 2 BORDER, width + 2 BORDER, 4) */
    int32_t height, width;
} PackFrame;

/* Work on rows from `first` to before `last`; `thread` is a number from 0. */
typedef void RowWork(const void *context, int first, int last, int thread);

/* Have all rows from `first` to before `last` worked on, `block` at a time, by this thread and up to `threads` - 1
 * others. Where the system gives no more threads, those that there are do it all. */
void run_rows(RowWork *work, const void *context, int first, int last, int block, int threads);

#endif
