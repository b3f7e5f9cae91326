/*
 * The networks' kernels: work on a CPU that takes PyTorch many passes, in one.
 *
 * vs_videoinr/networks/kernels.py calls them by ctypes, which lets go of the GIL meanwhile. Each has a twin in PyTorch
 * that does the same work wherever this library cannot.
 *
 *     rows.c           threads that share the rows of a picture
 *     warp_blend.h     two frames warped, blended and repaired
 *     siren.h          the decoder of VideoINR
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

/* A linear layer. Its weights stand in panels of as many outputs as two vectors hold, or one, if that is enough for all:
 * (panels, inputs, outputs of a panel). What goes into a sine is in half turns. */
typedef struct Layer {
    const float *weights;
    const float *bias; /* (outputs) */
    int32_t inputs;
    int32_t outputs; /* as many as all panels have */
} Layer;

/* The layers of a SIREN behind the first, whose outputs are the `inputs`. */
typedef struct Siren {
    const Layer *layers;
    int32_t count;
    int32_t inputs;
} Siren;

/* A picture that VideoINR's decoder makes of the low-resolution maps of a pair. See networks/videoinr/field.py, which
 * has the same names. */
typedef struct Decode {
    Siren spatial, temporal, colour;
    Layer temporal_continuous, colour_continuous;
    const float *spatial_table;              /* (cells, spatial.inputs) */
    const float *y_term, *x_term;            /* (rows, spatial.inputs), (columns, spatial.inputs) */
    const float *temporal_table;             /* (cells, temporal.inputs) */
    const float *temporal_bias;              /* (temporal.inputs), with the time's term */
    const float *colour_table;               /* (2, cells, colour.inputs) */
    const float *colour_bias;                /* (colour.inputs), with the time's term */
    const float *y_position, *x_position;    /* of rows and columns among the cells */
    const float *y_start, *x_start;          /* of rows and columns, before the flow moves them */
    const int32_t *y_cell, *x_cell;          /* nearest to rows and columns */
    float *continuous;                       /* (rows * columns, continuous_features) */
    float *flow;                             /* (rows * columns, 4) */
    float *rgb;                              /* (3, rows * columns) */
    float *scratch;                          /* scratch_floats for each thread: (tile, 2 width + between_width) */
    int64_t scratch_floats;
    int64_t first_pixel, last_pixel;         /* that are made, to before the last */
    int32_t rows, columns;                   /* of the picture */
    int32_t cell_rows, cell_columns;         /* of the low-resolution maps */
    int32_t continuous_features;
    int32_t width;                           /* of the widest layer */
    int32_t between_width;                   /* twice the continuous features */
    int32_t border;                          /* whether the outermost cells go on for ever; else all is zero outside */
    float y_unit, x_unit;                    /* pixels per unit of `y_start` and `x_start` */
} Decode;

/* Work on rows from `first` to before `last`; `thread` is a number from 0. */
typedef void RowWork(const void *context, int first, int last, int thread);

/* Have all rows from `first` to before `last` worked on, `block` at a time, by this thread and up to `threads` - 1
 * others. Where the system gives no more threads, those that there are do it all. */
void run_rows(RowWork *work, const void *context, int first, int last, int block, int threads);

#endif
