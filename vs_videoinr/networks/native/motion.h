/* A flow made exact by what two frames show, by rows: see warpinr/flow_refinement.py, whose functions are these
 * kernels' twins. Rows go through all that needs no others than those near by while they are in the cache. What is made
 * of a row depends on nothing but the frames, however rows are shared among threads. Included once per variant. */

/* Places that are sampled together. */
enum { CHUNK = 64 };

/* Numbers before and behind a row in scratch, for what lies beyond the picture; and rows of a mean, at most. */
enum { ROOM = 32, MAX_MEAN_ROWS = 32 };

INLINE int smaller(int one, int other) {
    return one < other ? one : other;
}

INLINE int larger(int one, int other) {
    return one > other ? one : other;
}

/* Rows that a thread takes at a time: many, for those that are needed around them are made again. */
static int rows_at_a_time(int height, int threads) {
    int blocks = threads > 1 ? 4 * threads : 1;
    return larger(24, (height + blocks - 1) / blocks);
}

/* Repeat the ends of a row beyond it. */
INLINE void extend_row(float *row, int width, int count) {
    float left = row[0], right = row[width - 1];
    for (int x = 0; x < count; x++) {
        row[-1 - x] = left;
        row[width + x] = right;
    }
}

INLINE void sum_of(float *to, const float *const *rows, int rows_count, int count) {
    for (int x = 0; x < count; x += LANES) {
        Lanes sum = lanes_at(rows[0] + x);
        for (int row = 1; row < rows_count; row++)
            sum += lanes_at(rows[row] + x);
        *(Lanes *)(to + x) = sum;
    }
}

/* The sum of rows. */
static void sum_rows(float *to, const float *const *rows, int rows_count, int count) {
    switch (rows_count) { /* so that pointers are in registers */
    case 3:
        sum_of(to, rows, 3, count);
        break;
    case 5:
        sum_of(to, rows, 5, count);
        break;
    case 7:
        sum_of(to, rows, 7, count);
        break;
    default:
        sum_of(to, rows, rows_count, count);
    }
}

INLINE void sum_across_of(float *to, const float *row, int radius, int count) {
    for (int x = 0; x < count; x += LANES) {
        Lanes sum = lanes_at(row + x - radius);
        for (int place = 1 - radius; place <= radius; place++)
            sum += lanes_at(row + x + place);
        *(Lanes *)(to + x) = sum;
    }
}

/* Sums of a row's places up to `radius` away; of its ends when it goes beyond them. */
static void sum_across(float *to, float *row, int radius, int width, int stride) {
    extend_row(row, width, radius);
    switch (radius) {
    case 1:
        sum_across_of(to, row, 1, stride);
        break;
    case 2:
        sum_across_of(to, row, 2, stride);
        break;
    case 3:
        sum_across_of(to, row, 3, stride);
        break;
    default:
        sum_across_of(to, row, radius, stride);
    }
}

INLINE Four first_half(Eight both) {
    return (Four){both[0], both[1], both[2], both[3]};
}

INLINE Four second_half(Eight both) {
    return (Four){both[4], both[5], both[6], both[7]};
}

/* Where the pixel before each of `count` places is, counted from the start of a packed frame, and how far behind it. */
INLINE void locate(int32_t *pixel, float *along, float *down, const float *x, const float *y, int count, int columns,
                   Lanes (*inside)(Lanes, int), int width, int height) {
    for (int i = 0; i < count; i += LANES) {
        Lanes rest_x, rest_y;
        IntLanes column = floor_lanes(inside(lanes_at(x + i), width), &rest_x);
        IntLanes row = floor_lanes(inside(lanes_at(y + i), height), &rest_y);
        *(IntLanes *)(pixel + i) = (row + BORDER) * columns + column + BORDER;
        *(Lanes *)(along + i) = rest_x;
        *(Lanes *)(down + i) = rest_y;
    }
}

/* Farther outside everything is of the border's colour. */
INLINE Lanes inside_cubic(Lanes place, int side) {
    return clamp_lanes(place, -2, (float)(side + 1));
}

INLINE Lanes inside_linear(Lanes place, int side) {
    return clamp_lanes(place, 0, (float)(side - 1));
}

/* Bicubic weights (a = -0.75) of four pixels. */
INLINE void cubic_weights(float *weights, const float *rest, int count) {
    for (int i = 0; i < count; i += LANES) {
        Lanes f = lanes_at(rest + i);
        *(Lanes *)(weights + i) = ((-0.75f * f + 1.5f) * f - 0.75f) * f;
        *(Lanes *)(weights + CHUNK + i) = (1.25f * f - 2.25f) * f * f + 1;
        *(Lanes *)(weights + 2 * CHUNK + i) = ((-1.25f * f + 1.5f) * f + 0.75f) * f;
        *(Lanes *)(weights + 3 * CHUNK + i) = (0.75f * f - 0.75f) * f * f;
    }
}

/* A packed frame sampled bicubically at a row of places (x, y), into three rows that are `plane` numbers apart. */
static void sample_row(float *to, size_t plane, const float *frame, int height, int width, const float *x,
                       const float *y, int count) {
    size_t stride = 4 * ((size_t)width + 2 * BORDER);
    int32_t pixel[CHUNK];
    float along[CHUNK], down[CHUNK], across_weights[4 * CHUNK], down_weights[4 * CHUNK], colours[4 * CHUNK];
    for (int start = 0; start < count; start += CHUNK) {
        int some = smaller(CHUNK, count - start);
        locate(pixel, along, down, x + start, y + start, some, width + 2 * BORDER, inside_cubic, width, height);
        cubic_weights(across_weights, along, some);
        cubic_weights(down_weights, down, some);
        for (int i = 0; i < some; i++) {
            const float *from = frame + 4 * (size_t)pixel[i] - stride - 4;
            Eight left = {0}, right = {0};
            for (int row = 0; row < 4; row++, from += stride) {
                float weight = down_weights[row * CHUNK + i];
                left += weight * *(const Eight *)from;
                right += weight * *(const Eight *)(from + 8);
            }
            const float *weight = across_weights + i;
            *(Four *)(colours + 4 * i) =
                (weight[0] * first_half(left) + weight[CHUNK] * second_half(left)) +
                (weight[2 * CHUNK] * first_half(right) + weight[3 * CHUNK] * second_half(right));
        }
        for (int i = 0; i < some; i++)
            for (size_t c = 0; c < 3; c++)
                to[c * plane + (size_t)(start + i)] = colours[4 * (size_t)i + c];
    }
}

/* The planes of LucasKanade: images of three colours, flows, sums of squared differences. */
enum { FLOW = 0, PICTURE = 2, WARPED = 5, TRIED = 8, CANDIDATE = 11, BEFORE = 13, AFTER = 14 };

/* Sums that a step is made of: of products of slopes (x, y) and differences (e). */
enum { XX, XY, YY, XE, YE, EE, SUMS };

static inline float *plane_row(float *planes, int plane, int height, int stride, int row) {
    return planes + ((size_t)plane * (size_t)height + (size_t)row) * (size_t)stride;
}

static float *plane_of(const LucasKanade *job, int plane, int row) {
    return plane_row(job->planes, plane, job->height, job->stride, row);
}

/* What a thread works in. A tent is the mean of a mean: `inner` and `outer` are their radii. */
typedef struct Tent {
    int inner, outer;
    float share; /* of a value in a mean */
} Tent;

static Tent tent_of(int radius) {
    Tent tent = {(radius + 1) / 2, radius / 2, 0};
    float side = (float)((2 * tent.inner + 1) * (2 * tent.outer + 1));
    tent.share = 1 / (side * side);
    return tent;
}

/* Numbers that a thread needs for a job. */
EXPORT int64_t VARIANT(lucas_kanade_scratch)(const LucasKanade *job) {
    Tent tent = tent_of(job->radius);
    int64_t stride = job->stride, wide = stride + 2 * ROOM;
    return 15 * wide + (int64_t)(2 * (tent.inner + tent.outer) + 2) * SUMS * stride + 2 * wide + (SUMS + 2) * stride;
}

/* Lay out frame a, and warp frame b by the flow that is to be improved. */
static void lucas_kanade_start_rows(const void *context, int first, int last, int thread) {
    const LucasKanade *job = context;
    int stride = job->stride, width = job->width;
    size_t plane = (size_t)job->height * (size_t)stride;
    float *x = job->scratch + (size_t)job->scratch_floats * (size_t)thread, *y = x + stride;
    for (int row = first; row < last; row++) {
        const float *from = job->a + 4 * (((size_t)width + 2 * BORDER) * (size_t)(row + BORDER) + BORDER);
        float *to = plane_of(job, PICTURE, row);
        for (int i = 0; i < width; i++)
            for (size_t c = 0; c < 3; c++)
                to[c * plane + (size_t)i] = from[4 * (size_t)i + c];
        for (size_t c = 0; c < 3; c++)
            memset(to + c * plane + width, 0, (size_t)(stride - width) * sizeof(float));
        const float *flow_x = plane_of(job, FLOW, row), *flow_y = plane_of(job, FLOW + 1, row);
        for (int i = 0; i < stride; i++) {
            x[i] = (float)i + flow_x[i];
            y[i] = (float)row + flow_y[i];
        }
        sample_row(plane_of(job, WARPED, row), plane, job->b, job->height, width, x, y, stride);
    }
}

/* The mean of both images in a row, the ends of which are repeated: (3, wide). */
static void mean_row(const LucasKanade *job, float *to, int wide, int row) {
    for (int c = 0; c < 3; c++, to += wide) {
        const float *picture = plane_of(job, PICTURE + c, row), *warped = plane_of(job, WARPED + c, row);
        for (int x = 0; x < job->stride; x += LANES)
            *(Lanes *)(to + x) = 0.5f * (lanes_at(picture + x) + lanes_at(warped + x));
        extend_row(to, job->width, 2);
    }
}

INLINE Lanes slope(Lanes two_before, Lanes before, Lanes behind, Lanes two_behind) {
    return (8 * (behind - before) - (two_behind - two_before)) * (1 / 12.0f);
}

/* The products of a row, (SUMS, stride), from five rows of means around it. */
static void product_row(const LucasKanade *job, float *to, const float *const *means, int wide, int row) {
    int stride = job->stride;
    const float *pictures[3], *warped[3];
    for (int c = 0; c < 3; c++) {
        pictures[c] = plane_of(job, PICTURE + c, row);
        warped[c] = plane_of(job, WARPED + c, row);
    }
    for (int i = 0; i < stride; i += LANES) {
        Lanes sums[SUMS] = {{0}};
        for (int c = 0; c < 3; c++) {
            int at = c * wide + i;
            Lanes x = slope(lanes_at(means[2] + at - 2), lanes_at(means[2] + at - 1), lanes_at(means[2] + at + 1),
                            lanes_at(means[2] + at + 2));
            Lanes y = slope(lanes_at(means[0] + at), lanes_at(means[1] + at), lanes_at(means[3] + at),
                            lanes_at(means[4] + at));
            Lanes error = lanes_at(pictures[c] + i) - lanes_at(warped[c] + i);
            sums[XX] += x * x;
            sums[XY] += x * y;
            sums[YY] += y * y;
            sums[XE] += x * error;
            sums[YE] += y * error;
            sums[EE] += error * error;
        }
        for (int n = 0; n < SUMS; n++)
            *(Lanes *)(to + n * stride + i) = sums[n];
    }
}

/* The step that means of products suggest, and where it leads. */
static void step_row(const LucasKanade *job, const float *means, float share, float *x, float *y, int row) {
    int stride = job->stride;
    const float *flow_x = plane_of(job, FLOW, row), *flow_y = plane_of(job, FLOW + 1, row);
    float *to_x = plane_of(job, CANDIDATE, row), *to_y = plane_of(job, CANDIDATE + 1, row);
    for (int i = 0; i < stride; i += LANES) {
        const float *at = means + i;
        Lanes xx = lanes_at(at + XX * stride) * share + job->damping;
        Lanes yy = lanes_at(at + YY * stride) * share + job->damping;
        Lanes xy = lanes_at(at + XY * stride) * share;
        Lanes x_error = lanes_at(at + XE * stride) * share, y_error = lanes_at(at + YE * stride) * share;
        Lanes over = 1 / (xx * yy - xy * xy);
        Lanes step_x = (yy * x_error - xy * y_error) * over, step_y = (xx * y_error - xy * x_error) * over;
        Lanes square = step_x * step_x + step_y * step_y, one = (Lanes){0} + 1;
        Lanes shorter = choose(square > one, reciprocal_root(square), one);
        *(Lanes *)(to_x + i) = lanes_at(flow_x + i) + step_x * shorter;
        *(Lanes *)(to_y + i) = lanes_at(flow_y + i) + step_y * shorter;
    }
    for (int i = 0; i < stride; i++) {
        x[i] = (float)i + to_x[i];
        y[i] = (float)row + to_y[i];
    }
}

/* Find a step for each pixel, and how well the images would fit then. */
static void lucas_kanade_solve_rows(const void *context, int first, int last, int thread) {
    const LucasKanade *job = context;
    int height = job->height, width = job->width, stride = job->stride, wide = stride + 2 * ROOM, floor = height - 1;
    size_t plane = (size_t)height * (size_t)stride;
    Tent tent = tent_of(job->radius);
    int inner_rows = 2 * tent.inner + 1, outer_rows = 2 * tent.outer + 1;
    float *means = job->scratch + (size_t)job->scratch_floats * (size_t)thread + ROOM; /* of 5 rows */
    float *products = means - ROOM + 15 * wide;                                        /* of inner_rows */
    float *inner_sums = products + inner_rows * SUMS * stride;                         /* of outer_rows */
    float *line = inner_sums + outer_rows * SUMS * stride + ROOM, *inner_line = line + wide;
    float *sums = inner_line - ROOM + wide, *x = sums + SUMS * stride, *y = x + stride;
    const float *rows[MAX_MEAN_ROWS];
    int inner = larger(0, first - tent.outer), product = larger(0, inner - tent.inner), mean = larger(0, product - 2);
    for (int row = first; row < last; row++) {
        for (; inner <= smaller(row + tent.outer, floor); inner++) {
            for (; product <= smaller(inner + tent.inner, floor); product++) {
                for (; mean <= smaller(product + 2, floor); mean++)
                    mean_row(job, means + mean % 5 * 3 * wide, wide, mean);
                for (int n = 0; n < 5; n++)
                    rows[n] = means + clamp_int(product + n - 2, 0, floor) % 5 * 3 * wide;
                product_row(job, products + product % inner_rows * SUMS * stride, rows, wide, product);
            }
            for (int n = 0; n < inner_rows; n++)
                rows[n] = products + clamp_int(inner + n - tent.inner, 0, floor) % inner_rows * SUMS * stride;
            sum_rows(inner_sums + inner % outer_rows * SUMS * stride, rows, inner_rows, SUMS * stride);
        }
        for (int sum = 0; sum < SUMS; sum++) {
            for (int n = 0; n < outer_rows; n++)
                rows[n] = inner_sums + (clamp_int(row + n - tent.outer, 0, floor) % outer_rows * SUMS + sum) * stride;
            sum_rows(line, rows, outer_rows, stride);
            sum_across(inner_line, line, tent.inner, width, stride);
            sum_across(sum == EE ? plane_of(job, BEFORE, row) : sums + sum * stride, inner_line, tent.outer, width,
                       stride);
        }
        step_row(job, sums, tent.share, x, y, row);
        float *tried = plane_of(job, TRIED, row), *after = plane_of(job, AFTER, row);
        sample_row(tried, plane, job->b, height, width, x, y, stride);
        const float *picture = plane_of(job, PICTURE, row);
        for (int i = 0; i < stride; i += LANES) {
            Lanes sum = {0};
            for (size_t c = 0; c < 3; c++) {
                Lanes error = lanes_at(picture + c * plane + i) - lanes_at(tried + c * plane + i);
                sum += error * error;
            }
            *(Lanes *)(after + i) = sum;
        }
    }
}

/* Take the steps that make images fit better. */
static void lucas_kanade_accept_rows(const void *context, int first, int last, int thread) {
    const LucasKanade *job = context;
    int height = job->height, width = job->width, stride = job->stride, wide = stride + 2 * ROOM, floor = height - 1;
    Tent tent = tent_of(job->radius);
    int inner_rows = 2 * tent.inner + 1, outer_rows = 2 * tent.outer + 1;
    float *inner_sums = job->scratch + (size_t)job->scratch_floats * (size_t)thread; /* of outer_rows */
    float *line = inner_sums + outer_rows * stride + ROOM, *inner_line = line + wide;
    float *after = inner_line - ROOM + wide;
    const float *rows[MAX_MEAN_ROWS];
    int inner = larger(0, first - tent.outer);
    for (int row = first; row < last; row++) {
        for (; inner <= smaller(row + tent.outer, floor); inner++) {
            for (int n = 0; n < inner_rows; n++)
                rows[n] = plane_of(job, AFTER, clamp_int(inner + n - tent.inner, 0, floor));
            sum_rows(inner_sums + inner % outer_rows * stride, rows, inner_rows, stride);
        }
        for (int n = 0; n < outer_rows; n++)
            rows[n] = inner_sums + clamp_int(row + n - tent.outer, 0, floor) % outer_rows * stride;
        sum_rows(line, rows, outer_rows, stride);
        sum_across(inner_line, line, tent.inner, width, stride);
        sum_across(after, inner_line, tent.outer, width, stride);
        const float *before = plane_of(job, BEFORE, row);
        for (int n = 0; n < 5; n++) {
            float *to = plane_of(job, n < 2 ? FLOW + n : WARPED + n - 2, row);
            const float *tried = plane_of(job, n < 2 ? CANDIDATE + n : TRIED + n - 2, row);
            for (int i = 0; i < stride; i += LANES)
                *(Lanes *)(to + i) =
                    choose(lanes_at(after + i) < lanes_at(before + i), lanes_at(tried + i), lanes_at(to + i));
        }
    }
}

EXPORT void VARIANT(lucas_kanade_start)(const LucasKanade *job, int threads) {
    run_rows(lucas_kanade_start_rows, job, 0, job->height, BLOCK, threads);
}

EXPORT void VARIANT(lucas_kanade_solve)(const LucasKanade *job, int threads) {
    run_rows(lucas_kanade_solve_rows, job, 0, job->height, rows_at_a_time(job->height, threads), threads);
}

EXPORT void VARIANT(lucas_kanade_accept)(const LucasKanade *job, int threads) {
    run_rows(lucas_kanade_accept_rows, job, 0, job->height, rows_at_a_time(job->height, threads), threads);
}

/* A wide line and three more rows. */
EXPORT int64_t VARIANT(smooth_scratch)(const Smooth *job) {
    return 2 * ((int64_t)job->stride + 2 * ROOM) + 2 * (int64_t)job->stride;
}

/* Where the other direction says the same, both directions' mean. */
static void smooth_directions_rows(const void *context, int first, int last, int thread) {
    const Smooth *job = context;
    (void)thread;
    int height = job->height, width = job->width;
    size_t plane = (size_t)height * (size_t)width;
    for (int row = first; row < last; row++) {
        const float *flow_x = job->flow + (size_t)row * (size_t)width, *flow_y = flow_x + plane;
        float *to_x = plane_row(job->between, 0, height, job->stride, row);
        float *to_y = plane_row(job->between, 1, height, job->stride, row);
        for (int i = 0; i < width; i++) {
            float along, down, x = flow_x[i], y = flow_y[i];
            int left = floor_of(clamp_float((float)i + x, 0, (float)(width - 1)), &along);
            int above = floor_of(clamp_float((float)row + y, 0, (float)(height - 1)), &down);
            size_t upper = (size_t)above * (size_t)width,
                   lower = (size_t)smaller(above + 1, height - 1) * (size_t)width;
            int right = smaller(left + 1, width - 1);
            float other[2];
            for (size_t c = 0; c < 2; c++) {
                const float *from = job->other + c * plane;
                float start = from[upper + left] + down * (from[lower + left] - from[upper + left]);
                float end = from[upper + right] + down * (from[lower + right] - from[upper + right]);
                other[c] = -(start + along * (end - start));
            }
            float apart_x = other[0] - x, apart_y = other[1] - y;
            int same = apart_x * apart_x + apart_y * apart_y < job->both_ways;
            to_x[i] = same ? x + apart_x * 0.5f : x;
            to_y[i] = same ? y + apart_y * 0.5f : y;
        }
        for (int i = width; i < job->stride; i++)
            to_x[i] = to_y[i] = 0;
    }
}

/* Where places near by say the same, their mean. */
static void smooth_places_rows(const void *context, int first, int last, int thread) {
    const Smooth *job = context;
    int height = job->height, width = job->width, stride = job->stride, wide = stride + 2 * ROOM;
    float *line = job->scratch + (size_t)job->scratch_floats * (size_t)thread + ROOM, *means = line - ROOM + 2 * wide;
    const float *rows[5];
    for (int row = first; row < last; row++) {
        for (int c = 0; c < 2; c++) {
            for (int n = 0; n < 5; n++)
                rows[n] = plane_row(job->between, c, height, stride, clamp_int(row + n - 2, 0, height - 1));
            sum_rows(line, rows, 5, stride);
            sum_across(means + c * stride, line, 2, width, stride);
        }
        const float *flow_x = plane_row(job->between, 0, height, stride, row);
        const float *flow_y = plane_row(job->between, 1, height, stride, row);
        for (int i = 0; i < stride; i += LANES) {
            Lanes x = lanes_at(flow_x + i), y = lanes_at(flow_y + i);
            Lanes mean_x = lanes_at(means + i) * (1 / 25.0f), mean_y = lanes_at(means + stride + i) * (1 / 25.0f);
            Lanes apart_x = x - mean_x, apart_y = y - mean_y;
            IntLanes same = apart_x * apart_x + apart_y * apart_y < job->near_by;
            *(Lanes *)(means + i) = choose(same, mean_x, x);
            *(Lanes *)(means + stride + i) = choose(same, mean_y, y);
        }
        float *to = job->result + (size_t)row * (size_t)width;
        memcpy(to, means, (size_t)width * sizeof(float));
        memcpy(to + (size_t)height * (size_t)width, means + stride, (size_t)width * sizeof(float));
    }
}

EXPORT void VARIANT(smooth_directions)(const Smooth *job, int threads) {
    run_rows(smooth_directions_rows, job, 0, job->height, BLOCK, threads);
}

EXPORT void VARIANT(smooth_places)(const Smooth *job, int threads) {
    run_rows(smooth_places_rows, job, 0, job->height, BLOCK, threads);
}
