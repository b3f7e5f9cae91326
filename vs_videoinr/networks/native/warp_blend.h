/* Two frames warped and blended, row by row in one pass: the flow is brought to the frames' size on the way, and of a
 * pixel's surroundings all colours of a row are one vector. Included once per variant. */

/* A row of the flow in the frames' pixels, bilinear. */
static void flow_row(float *row, float *line, const WarpBlend *job, int y) {
    int width = job->flow_width;
    float shrink_x = (float)width / (float)job->width, shrink_y = (float)job->flow_height / (float)job->height;
    float down, along;
    float at = clamp_float(((float)y + 0.5f) * shrink_y - 0.5f, 0, (float)(job->flow_height - 1));
    int above = floor_of(at, &down), below = clamp_int(above + 1, 0, job->flow_height - 1);
    const float *upper = job->flow + 4 * (size_t)width * (size_t)above;
    const float *lower = job->flow + 4 * (size_t)width * (size_t)below;
    for (int i = 0; i < 4 * width; i++)
        line[i] = upper[i] + down * (lower[i] - upper[i]);
    Four pixels = {1 / shrink_x, 1 / shrink_y, 1 / shrink_x, 1 / shrink_y};
    for (int x = 0; x < job->width; x++) {
        at = clamp_float(((float)x + 0.5f) * shrink_x - 0.5f, 0, (float)(width - 1));
        int first = floor_of(at, &along), second = clamp_int(first + 1, 0, width - 1);
        Four here = four_at(line + 4 * first), next = four_at(line + 4 * second);
        *(Four *)(row + 4 * x) = (here + along * (next - here)) * pixels;
    }
}

/* Bicubic weights (a = -0.75) of the four pixels around a place `f` behind the second. */
static inline Four bicubic(float f) {
    const Four cube = {-0.75f, 1.25f, -1.25f, 0.75f}, square = {1.5f, -2.25f, 1.5f, -0.75f};
    const Four line = {-0.75f, 0, 0.75f, 0}, constant = {0, 1, 0, 0};
    return ((cube * f + square) * f + line) * f + constant;
}

static inline Four sample_bicubic(const float *frame, size_t stride, float x, float y) {
    float along, down;
    int column = floor_of(x, &along), row = floor_of(y, &down);
    const float *from = frame + (size_t)(row + BORDER - 1) * stride + 4 * (size_t)(column + BORDER - 1);
    Four vertical = bicubic(down), horizontal = bicubic(along);
    Sixteen sum = vertical[0] * *(const Sixteen *)from;
    sum += vertical[1] * *(const Sixteen *)(from + stride);
    sum += vertical[2] * *(const Sixteen *)(from + 2 * stride);
    sum += vertical[3] * *(const Sixteen *)(from + 3 * stride);
    union {
        Sixteen all;
        Four tap[4];
    } colours = {sum};
    return (horizontal[0] * colours.tap[0] + horizontal[1] * colours.tap[1]) +
           (horizontal[2] * colours.tap[2] + horizontal[3] * colours.tap[3]);
}

/* Lanczos's weights of the six pixels around a place `f` behind the third. */
static inline void lanczos(Eight *weights, const float *table, float f) {
    float rest, place = f * LANCZOS_STEPS;
    int step = floor_of(place, &rest);
    Eight here = *(const Eight *)(table + 8 * step), next = *(const Eight *)(table + 8 * step + 8);
    *weights = here + rest * (next - here);
}

static inline Four sample_lanczos(const float *frame, size_t stride, const float *table, float x, float y) {
    float along, down;
    int column = floor_of(x, &along), row = floor_of(y, &down);
    const float *from = frame + (size_t)(row + BORDER - 2) * stride + 4 * (size_t)(column + BORDER - 2);
    Eight vertical, horizontal;
    lanczos(&vertical, table, down);
    lanczos(&horizontal, table, along);
    Eight sum0 = {0}, sum1 = {0}, sum2 = {0};
    for (int tap = 0; tap < 6; tap++, from += stride) {
        sum0 += vertical[tap] * *(const Eight *)from;
        sum1 += vertical[tap] * *(const Eight *)(from + 8);
        sum2 += vertical[tap] * *(const Eight *)(from + 16);
    }
    union {
        Eight all[3];
        Four tap[6];
    } colours = {{sum0, sum1, sum2}};
    Four sum = horizontal[0] * colours.tap[0] + horizontal[1] * colours.tap[1];
    sum += horizontal[2] * colours.tap[2] + horizontal[3] * colours.tap[3];
    return sum + (horizontal[4] * colours.tap[4] + horizontal[5] * colours.tap[5]);
}

static void warp_and_blend_rows(const void *context, int first, int last, int thread) {
    const WarpBlend *job = context;
    size_t columns = (size_t)job->width, plane = columns * (size_t)job->height;
    size_t stride = 4 * (columns + 2 * BORDER);
    float *flow = job->scratch + (size_t)job->scratch_floats * (size_t)thread, *line = flow + 4 * columns;
    /* Farther outside everything is of the border's colour. */
    float most_x = (float)(job->width + 1), most_y = (float)(job->height + 1);
    for (int row = first; row < last; row++) {
        flow_row(flow, line, job, row);
        float *output = job->output + columns * (size_t)row;
        for (size_t x = 0; x < columns; x++) {
            Four colours[2];
            for (int n = 0; n < 2; n++) {
                float at_x = clamp_float((float)x + flow[4 * x + 2 * (size_t)n], -2, most_x);
                float at_y = clamp_float((float)row + flow[4 * x + 2 * (size_t)n + 1], -2, most_y);
                colours[n] = job->lanczos ? sample_lanczos(job->frames[n], stride, job->lanczos, at_x, at_y)
                                          : sample_bicubic(job->frames[n], stride, at_x, at_y);
            }
            Four blended = colours[0] + job->t * (colours[1] - colours[0]);
            output[x] = blended[0];
            output[plane + x] = blended[1];
            output[2 * plane + x] = blended[2];
        }
    }
}

/* Make rows from `first` to before `last`. */
EXPORT void VARIANT(warp_and_blend)(const WarpBlend *job, int first, int last, int threads) {
    run_rows(warp_and_blend_rows, job, first, last, BLOCK, threads);
}

static void pack_rows(const void *context, int first, int last, int thread) {
    const PackFrame *job = context;
    (void)thread;
    int width = job->width;
    size_t stride = 4 * ((size_t)width + 2 * BORDER);
    for (int row = first; row < last; row++) {
        const float *from = job->picture + job->from.row * clamp_int(row - BORDER, 0, job->height - 1);
        float *to = job->packed + stride * (size_t)row, *inside = to + 4 * BORDER;
        for (int x = 0; x < width; x++, from += job->from.column)
            *(Four *)(inside + 4 * x) = (Four){from[0], from[job->from.channel], from[2 * job->from.channel], 0};
        Four left = four_at(inside), right = four_at(inside + 4 * (width - 1));
        for (int x = 0; x < BORDER; x++) {
            *(Four *)(to + 4 * x) = left;
            *(Four *)(inside + 4 * (width + x)) = right;
        }
    }
}

EXPORT void VARIANT(pack_frame)(const PackFrame *job, int threads) {
    run_rows(pack_rows, job, 0, job->height + 2 * BORDER, BLOCK, threads);
}
