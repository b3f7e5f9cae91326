/*
 * The networks' kernels: work on a CPU that takes PyTorch many passes, in one.
 *
 * vs_videoinr/networks/kernels.py calls them by ctypes, which lets go of the GIL meanwhile. Each has a twin in PyTorch
 * that does the same work wherever this library cannot.
 *
 *     rows.c           threads that share the rows of a picture
 *     warp_blend.h     two frames warped and blended
 *     siren.h          the decoder of VideoINR
 *     motion.h         flows made exact by what the pictures show
 *     flows.h          where a picture between two frames comes from
 *     clues.h          what is known of a neighbouring frame
 *     warp.h           an image fetched from where a flow leads
 *     correlation.h    features compared with those around the same place
 *     vectors.h        what these share
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

#define KERNELS_VERSION 4

#ifdef _WIN32
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif

/* Pixels around a packed frame that repeat its border: sampling never looks beyond. */
#define BORDER 5

/* Entries of a table of Lanczos's weights: a pixel's distance is divided into so many. */
#define LANCZOS_STEPS 256

/* Rows of planes that kernels make for themselves are as many numbers long as the next multiple of this. */
#define ROW_MULTIPLE 16

/* The farthest that means for `refine_lucas_kanade` reach, in pixels. */
#define MAX_MEAN_RADIUS 30

/* The farthest places that features are compared with, in pixels. */
#define MAX_CORRELATION_RADIUS 16

/* Two frames, warped and blended. Vectors of four are flows (x, y to frame 0; x, y to frame 1) or colours (R, G, B and
 * nothing). */
typedef struct WarpBlend {
    const float *frames[2]; /* packed, see pack_frame: the first pixel of their borders */
    const float *flow;      /* (flow_height, flow_width, 4), in its own pixels */
    float *output;          /* (3, height, width) */
    float *scratch;         /* scratch_floats for each thread */
    const float *lanczos;   /* (LANCZOS_STEPS + 1, 8): weights of six pixels; NULL for bicubic sampling */
    int64_t scratch_floats;
    int32_t height, width; /* of the frames */
    int32_t flow_height, flow_width;
    float t; /* the share of frame 1 */
} WarpBlend;

/* Numbers from one channel, row or column to the next. */
typedef struct Strides {
    int64_t channel, row, column;
} Strides;

/* A picture that is laid out for sampling. */
typedef struct PackFrame {
    const float *picture; /* (3, height, width) */
    float *packed;        /* (height + 2 BORDER, width + 2 BORDER, 4) */
    Strides from;         /* of the picture */
    int32_t height, width;
} PackFrame;

/* A linear layer. Its weights stand in panels of as many outputs as two vectors hold, or one, if that is enough for
 * all: (panels, inputs, outputs of a panel). What goes into a sine is in half turns. */
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
    const float *spatial_table;           /* (cells, spatial.inputs) */
    const float *y_term, *x_term;         /* (rows, spatial.inputs), (columns, spatial.inputs) */
    const float *temporal_table;          /* (cells, temporal.inputs) */
    const float *temporal_bias;           /* (temporal.inputs), with the time's term */
    const float *colour_table;            /* (2, cells, colour.inputs) */
    const float *colour_bias;             /* (colour.inputs), with the time's term */
    const float *y_position, *x_position; /* of rows and columns among the cells */
    const float *y_start, *x_start;       /* of rows and columns, before the flow moves them */
    const int32_t *y_cell, *x_cell;       /* nearest to rows and columns */
    float *continuous;                    /* (rows * columns, continuous_features) */
    float *flow;                          /* (rows * columns, 4) */
    float *rgb;                           /* (3, rows * columns) */
    float *scratch;                       /* scratch_floats for each thread: (tile, 2 width + between_width) */
    int64_t scratch_floats;
    int64_t first_pixel, last_pixel; /* that are made, to before the last */
    int32_t rows, columns;           /* of the picture */
    int32_t cell_rows, cell_columns; /* of the low-resolution maps */
    int32_t continuous_features;
    int32_t width;         /* of the widest layer */
    int32_t between_width; /* twice the continuous features */
    int32_t border;        /* whether the outermost cells go on for ever; else all is zero outside */
    float y_unit, x_unit;  /* pixels per unit of `y_start` and `x_start` */
} Decode;

/* An image fetched from where a flow leads. */
typedef struct Warp {
    const float *image; /* (channels, image_height, image_width) */
    const float *flow;  /* (2, height, width) */
    float *output;      /* (channels, height, width) */
    Strides from, to;   /* of the image and of the output */
    int32_t height, width, image_height, image_width, channels;
    int32_t top; /* the row that the flow's and the output's first one is of the whole */
} Warp;

/* Where a picture at time `t` comes from in two frames, by the flows between these and how their motion changes. */
typedef struct FlowsAt {
    const float *flow01, *flow10;  /* (2, height, width) */
    const float *accelerations[2]; /* (2, height, width) of what each frame shows; NULL, both, where none is known */
    const float *reach;            /* (height, width): how far around nothing moves */
    float *maps;                   /* (4, height + 1, width + 1, 2), to work in */
    float *flows;                  /* (height, width, 4): x and y to frame 0 and to frame 1 */
    int32_t height, width;
    int32_t iterations;
    float t;
} FlowsAt;

/* What is known of a neighbouring frame at each place of some rows of a frame. */
typedef struct Clues {
    const float *frame;     /* (3, rows, width) */
    const float *other;     /* (3, height, width): the neighbour */
    const float *flow_to;   /* (2, rows, width), whose channels are `of_flow_to` numbers apart */
    const float *flow_from; /* (2, height, width) */
    float *clues;           /* (rows, width, 11) */
    float *terms;           /* (rows, width, 8) */
    int64_t *pixel;         /* (2, rows, width): x and y */
    Strides of_frame, of_other;
    int64_t of_flow_to;
    int32_t height, width; /* of the whole frame */
    int32_t top, rows;
    float gain;  /* of colours */
    float limit; /* of a round trip, in pixels */
} Clues;

/* A flow between two frames made exact, step by step; see warpinr/flow_refinement.py. */
typedef struct LucasKanade {
    const float *a, *b; /* packed */
    float *planes;      /* (LUCAS_KANADE_PLANES, height, stride); the first two are the flow */
    float *scratch;     /* scratch_floats for each thread */
    int64_t scratch_floats;
    int32_t height, width, stride;
    int32_t radius;
    float damping;
} LucasKanade;

#define LUCAS_KANADE_PLANES 15

/* A flow and the one of the other direction, and places near by, averaged. */
typedef struct Smooth {
    const float *flow, *other; /* (2, height, width) */
    float *between;            /* (2, height, stride): both directions' mean */
    float *result;             /* (2, height, width) */
    float *scratch;            /* scratch_floats for each thread */
    int64_t scratch_floats;
    int32_t height, width, stride;
    float both_ways, near_by; /* pixels, squared: what is closer is the same motion */
} Smooth;

/* Features compared with those around the same place, and the displacement that this suggests. */
typedef struct Correlate {
    const float *a, *b; /* (height, width, channels) */
    float *sums;        /* (2 height, channels), for correlate_means */
    float *means;       /* (2, channels): of the whole of both frames, of which a and b may be a band of rows */
    float *correlation; /* (height, width, (2 radius + 1)^2) */
    float *found;       /* (height, width, 2) */
    float *scratch;     /* scratch_floats for each thread */
    int64_t scratch_floats;
    int32_t height, width, stride;
    int32_t channels, radius;
    float sharpness;
} Correlate;

/* Work on rows from `first` to before `last`; `thread` is a number from 0. */
typedef void RowWork(const void *context, int first, int last, int thread);

/* Have all rows from `first` to before `last` worked on, `block` at a time, by this thread and up to `threads` - 1
 * others. Where the system gives no more threads, those that there are do it all. */
void run_rows(RowWork *work, const void *context, int first, int last, int block, int threads);

#endif
