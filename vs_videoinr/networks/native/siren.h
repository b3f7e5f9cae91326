/* The decoder of VideoINR at many pixels: three multilayer perceptrons with sines, a few pixels at a time, so that all
 * that lies between their layers stays in the nearest cache. Included once per variant. */

/* Pixels that go through the layers together, which every number of rows of a product below divides. */
enum { TILE = 24 };

/* Tiles that a thread takes at a time. */
enum { TILE_BLOCK = 4 };

/* sin(pi x): half turns need no reduction but the one to the nearest whole number, which is exact. Of numbers so large
 * that none have a fraction it is 0. */
INLINE Lanes sine_of_half_turns(Lanes x) {
    Lanes whole = x + 12582912.0f; /* 1.5 * 2^23: rounds to a whole number, whose last bit says whether it is odd */
    IntLanes sign = (IntLanes)whole << 31;
    Lanes r = x - (whole - 12582912.0f), s = r * r;
    Lanes p = r * (3.14159274f + s * (-5.16771507f + s * (2.55014086f + s * (-0.598609388f + s * 0.0781972632f))));
    IntLanes large = s > 0.26f;
    return (Lanes)(((IntLanes)p ^ sign) & ~large);
}

/* ROWS pixels' values times a panel of weights, onto what is at `start`: everything is held in registers, if compilers
 * are told to write out the loops over them. */
#define EACH(r, COUNT) _Pragma("GCC unroll 16") for (int r = 0; r < COUNT; r++)
#define PRODUCT(NAME, ROWS, VECTORS)                                                                                   \
    INLINE void NAME(const float *x, size_t x_stride, const float *weights, const float *start, size_t start_stride,   \
                     int inputs, float *y, size_t y_stride, int sines) {                                               \
        Lanes sum[ROWS][VECTORS];                                                                                      \
        EACH(r, ROWS)                                                                                                  \
        EACH(v, VECTORS) sum[r][v] = lanes_at(start + start_stride * (size_t)r + LANES * v);                           \
        for (int i = 0; i < inputs; i++, weights += LANES * VECTORS) {                                                 \
            EACH(r, ROWS)                                                                                              \
            EACH(v, VECTORS)                                                                                           \
            sum[r][v] += x[x_stride * (size_t)r + (size_t)i] * lanes_at(weights + LANES * v);                          \
        }                                                                                                              \
        EACH(r, ROWS)                                                                                                  \
        EACH(v, VECTORS)                                                                                               \
        *(Lanes *)(y + y_stride * (size_t)r + LANES * v) = sines ? sine_of_half_turns(sum[r][v]) : sum[r][v];          \
    }
PRODUCT(wide_product, WIDE_ROWS, 2)
PRODUCT(narrow_product, 12, 1)

/* A layer for a tile of pixels: x (TILE, x_stride) to y (TILE, y_stride), onto what y has if `add`, else onto the bias.
 * Panels are two vectors wide, but for the only one of a layer that has no more outputs than a vector. */
INLINE void apply_layer(const Layer *layer, const float *x, size_t x_stride, float *y, size_t y_stride, int add,
                        int sines) {
    const float *weights = layer->weights;
    if (layer->outputs <= LANES) {
        for (int p = 0; p < TILE; p += 12) {
            float *to = y + y_stride * (size_t)p;
            narrow_product(x + x_stride * (size_t)p, x_stride, weights, add ? to : layer->bias, add ? y_stride : 0,
                           layer->inputs, to, y_stride, sines);
        }
        return;
    }
    for (int o = 0; o < layer->outputs; o += 2 * LANES, weights += 2 * LANES * layer->inputs)
        for (int p = 0; p < TILE; p += WIDE_ROWS) {
            float *to = y + y_stride * (size_t)p + o;
            wide_product(x + x_stride * (size_t)p, x_stride, weights, add ? to : layer->bias + o, add ? y_stride : 0,
                         layer->inputs, to, y_stride, sines);
        }
}

/* The layers of a SIREN behind its first, from values that are in a[0] to values in the one that is returned. */
static float *apply_siren(const Siren *siren, float *const a[2], size_t stride) {
    int from = 0;
    for (int n = 0; n < siren->count; n++, from = !from) {
        if (n + 1 < siren->count)
            apply_layer(&siren->layers[n], a[from], stride, a[!from], stride, 0, 1);
        else
            apply_layer(&siren->layers[n], a[from], stride, a[!from], stride, 0, 0);
    }
    return a[from];
}

/* to += weight * row */
INLINE void add_row(float *to, float weight, const float *row, int count) {
    int c = 0;
    for (; c + LANES <= count; c += LANES)
        *(Lanes *)(to + c) = lanes_at(to + c) + weight * lanes_at(row + c);
    for (; c < count; c++)
        to[c] += weight * row[c];
}

/* Rows of a table (of `count` numbers each), four of them weighted. */
typedef struct Taps {
    size_t row[4];
    float weight[4];
} Taps;

INLINE void add_taps(float *to, const Taps *taps, const float *table, int count) {
    const float *rows[4];
    for (int n = 0; n < 4; n++)
        rows[n] = table + taps->row[n] * (size_t)count;
    int c = 0;
    for (; c + LANES <= count; c += LANES)
        *(Lanes *)(to + c) = lanes_at(to + c) + taps->weight[0] * lanes_at(rows[0] + c) +
                             taps->weight[1] * lanes_at(rows[1] + c) + taps->weight[2] * lanes_at(rows[2] + c) +
                             taps->weight[3] * lanes_at(rows[3] + c);
    for (; c < count; c++)
        to[c] += taps->weight[0] * rows[0][c] + taps->weight[1] * rows[1][c] + taps->weight[2] * rows[2][c] +
                 taps->weight[3] * rows[3][c];
}

/* Two neighbours of a position among `n` cells and their weights, which are no numbers where the position is none. */
INLINE void linear_taps(float position, int n, int border, int index[2], float weight[2]) {
    if (border)
        position = position<0 ? 0 : position>(float)(n - 1) ? (float)(n - 1) : position;
    int below = position > -1 && position < (float)n ? (int)(position + 1) - 1 : -1;
    float rest = position - (float)below;
    index[0] = clamp_int(below, 0, n - 1);
    index[1] = clamp_int(below + 1, 0, n - 1);
    weight[0] = (1 - rest) * (float)(below >= 0);
    weight[1] = rest * (float)(below + 1 < n);
}

INLINE void bilinear_taps(Taps *taps, float y, float x, int height, int width, int border) {
    int rows[2], columns[2];
    float row_weights[2], column_weights[2];
    linear_taps(y, height, border, rows, row_weights);
    linear_taps(x, width, border, columns, column_weights);
    for (int n = 0; n < 4; n++) {
        taps->row[n] = (size_t)rows[n / 2] * (size_t)width + (size_t)columns[n % 2];
        taps->weight[n] = row_weights[n / 2] * column_weights[n % 2];
    }
}

/* What a thread works in: two buffers (TILE, width) for the layers, and one for what is between the SIRENs. */
typedef struct Buffers {
    float *layers[2];
    float *between; /* (TILE, between_width) */
} Buffers;

static Buffers buffers_of(const Decode *job, int thread) {
    float *start = job->scratch + (size_t)job->scratch_floats * (size_t)thread;
    size_t size = (size_t)TILE * (size_t)job->width;
    return (Buffers){{start, start + size}, start + 2 * size};
}

/* The first two SIRENs: the continuous feature and the flow of tiles from `first` to before `last`. */
static void decode_flow_tiles(const void *context, int first, int last, int thread) {
    const Decode *job = context;
    Buffers buffers = buffers_of(job, thread);
    size_t width = (size_t)job->width, between = (size_t)job->between_width;
    int spatial = job->spatial.inputs, temporal = job->temporal.inputs, features = job->continuous_features;
    for (int tile = first; tile < last; tile++) {
        int64_t start = job->first_pixel + (int64_t)tile * TILE;
        for (int p = 0; p < TILE; p++) {
            int64_t pixel = start + p < job->last_pixel ? start + p : job->last_pixel - 1;
            int y = (int)(pixel / job->columns), x = (int)(pixel % job->columns);
            size_t cell = (size_t)job->y_cell[y] * (size_t)job->cell_columns + (size_t)job->x_cell[x];
            float *to = buffers.layers[0] + width * (size_t)p;
            const float *near = job->spatial_table + cell * (size_t)spatial;
            const float *y_term = job->y_term + (size_t)y * (size_t)spatial;
            const float *x_term = job->x_term + (size_t)x * (size_t)spatial;
            int c = 0;
            for (; c + LANES <= spatial; c += LANES)
                *(Lanes *)(to + c) =
                    sine_of_half_turns(lanes_at(near + c) + lanes_at(y_term + c) + lanes_at(x_term + c));
            for (; c < spatial; c++)
                to[c] = sine_of_half_turns((Lanes){near[c] + y_term[c] + x_term[c]})[0];
        }
        const float *found = apply_siren(&job->spatial, buffers.layers, width);
        for (int p = 0; p < TILE; p++) {
            memcpy(buffers.between + between * (size_t)p, found + width * (size_t)p, (size_t)features * sizeof(float));
            if (start + p < job->last_pixel)
                memcpy(job->continuous + (size_t)(start + p) * (size_t)features, found + width * (size_t)p,
                       (size_t)features * sizeof(float));
        }
        for (int p = 0; p < TILE; p++) {
            int64_t pixel = start + p < job->last_pixel ? start + p : job->last_pixel - 1;
            Taps taps;
            bilinear_taps(&taps, job->y_position[pixel / job->columns], job->x_position[pixel % job->columns],
                          job->cell_rows, job->cell_columns, job->border);
            float *to = buffers.layers[0] + width * (size_t)p;
            memcpy(to, job->temporal_bias, (size_t)temporal * sizeof(float));
            add_taps(to, &taps, job->temporal_table, temporal);
        }
        apply_layer(&job->temporal_continuous, buffers.between, between, buffers.layers[0], width, 1, 1);
        found = apply_siren(&job->temporal, buffers.layers, width);
        for (int p = 0; p < TILE && start + p < job->last_pixel; p++)
            memcpy(job->flow + 4 * (start + p), found + width * (size_t)p, 4 * sizeof(float));
    }
}

/* The third SIREN: the colours of tiles from `first` to before `last`. */
static void decode_colour_tiles(const void *context, int first, int last, int thread) {
    const Decode *job = context;
    Buffers buffers = buffers_of(job, thread);
    size_t width = (size_t)job->width, between = (size_t)job->between_width;
    size_t pixels = (size_t)job->rows * (size_t)job->columns;
    size_t cells = (size_t)job->cell_rows * (size_t)job->cell_columns;
    int hidden = job->colour.inputs, features = job->continuous_features;
    const float edge = 1 - 1e-6f;
    for (int tile = first; tile < last; tile++) {
        int64_t start = job->first_pixel + (int64_t)tile * TILE;
        for (int p = 0; p < TILE; p++) {
            int64_t pixel = start + p < job->last_pixel ? start + p : job->last_pixel - 1;
            float *to = buffers.layers[0] + width * (size_t)p;
            memcpy(to, job->colour_bias, (size_t)hidden * sizeof(float));
            for (int end = 0; end < 2; end++) {
                /* No number stays none. */
                float x = job->x_start[pixel % job->columns] + job->flow[4 * pixel + 2 * end] / job->x_unit;
                float y = job->y_start[pixel / job->columns] + job->flow[4 * pixel + 2 * end + 1] / job->y_unit;
                x = x < -edge ? -edge : x > edge ? edge : x;
                y = y < -edge ? -edge : y > edge ? edge : y;
                Taps taps;
                bilinear_taps(&taps, ((y + 1) * (float)job->cell_rows - 1) / 2,
                              ((x + 1) * (float)job->cell_columns - 1) / 2, job->cell_rows, job->cell_columns,
                              job->border);
                add_taps(to, &taps, job->colour_table + (size_t)end * cells * (size_t)hidden, hidden);
                bilinear_taps(&taps, ((y + 1) * (float)job->rows - 1) / 2, ((x + 1) * (float)job->columns - 1) / 2,
                              job->rows, job->columns, job->border);
                float *feature = buffers.between + between * (size_t)p + (size_t)(end * features);
                memset(feature, 0, (size_t)features * sizeof(float));
                add_taps(feature, &taps, job->continuous, features);
            }
        }
        apply_layer(&job->colour_continuous, buffers.between, between, buffers.layers[0], width, 1, 1);
        const float *found = apply_siren(&job->colour, buffers.layers, width);
        for (int p = 0; p < TILE && start + p < job->last_pixel; p++)
            for (int c = 0; c < 3; c++)
                job->rgb[pixels * (size_t)c + (size_t)(start + p)] = found[width * (size_t)p + (size_t)c];
    }
}

EXPORT void VARIANT(decode_flow)(const Decode *job, int threads) {
    int64_t tiles = (job->last_pixel - job->first_pixel + TILE - 1) / TILE;
    run_rows(decode_flow_tiles, job, 0, (int)tiles, TILE_BLOCK, threads);
}

EXPORT void VARIANT(decode_colours)(const Decode *job, int threads) {
    int64_t tiles = (job->last_pixel - job->first_pixel + TILE - 1) / TILE;
    run_rows(decode_colour_tiles, job, 0, (int)tiles, TILE_BLOCK, threads);
}

/* How many numbers a vector has, and how many pixels a tile: what weights and buffers are laid out for. */
EXPORT int VARIANT(lanes)(void) {
    return LANES;
}

EXPORT int VARIANT(tile)(void) {
    return TILE;
}
