/* Every feature of one frame compared with those of another around the same place, and a soft maximum over them: see
 * `correlate` and `FlowStep.match` in warpinr/flow_estimator.py. Included once per variant. */

/* Pixels of a row whose features are laid out together, by channels, so that all that is compared at a time is near. */
enum { PIXELS = 16 };

/* Numbers of a displacement; rows of displacements, at most. */
enum { FLOWS = 2, MAX_SPAN = 2 * MAX_CORRELATION_RADIUS + 1 };

static const float *features_row(const Correlate *job, int row) {
    size_t size = (size_t)job->width * (size_t)job->channels;
    return row < job->height ? job->a + size * (size_t)row : job->b + size * (size_t)(row - job->height);
}

/* Sums of features over rows of `a`, and then of `b`. */
static void sum_features_rows(const void *context, int first, int last, int thread) {
    const Correlate *job = context;
    (void)thread;
    size_t channels = (size_t)job->channels;
    for (int row = first; row < last; row++) {
        const float *from = features_row(job, row);
        float *sums = job->sums + channels * (size_t)row;
        memset(sums, 0, channels * sizeof(float));
        for (int x = 0; x < job->width; x++, from += channels)
            for (size_t c = 0; c < channels; c++)
                sums[c] += from[c];
    }
}

/* Means of features over a frame, from sums over rows. */
static void mean_features(const Correlate *job) {
    size_t channels = (size_t)job->channels, height = (size_t)job->height;
    for (size_t frame = 0; frame < 2; frame++) {
        float *means = job->means + channels * frame;
        memset(means, 0, channels * sizeof(float));
        for (size_t row = 0; row < height; row++)
            for (size_t c = 0; c < channels; c++)
                means[c] += job->sums[channels * (frame * height + row) + c];
        for (size_t c = 0; c < channels; c++)
            means[c] /= (float)height * (float)job->width;
    }
}

/* Numbers of a channel in a tile of a row: PIXELS, and those up to `reach` away. */
INLINE int pitch_of(int reach) {
    return PIXELS + 2 * reach;
}

/* Lay a row out in tiles, (stride / PIXELS, channels, pitch), without what all features have in common and of length
 * one; beyond the row lie zeros. `tile` is scratch for PIXELS pixels. */
static void normalise_row(const Correlate *job, float *to, float *tile, int row, int reach) {
    int channels = job->channels, width = job->width, pitch = pitch_of(reach), size = channels * pitch;
    const float *from = features_row(job, row);
    const float *means = job->means + (size_t)channels * (size_t)(row >= job->height);
    float *places = to;
    for (int x = 0; x < width; x += PIXELS, places += size) {
        int some = smaller(PIXELS, width - x);
        for (int pixel = 0; pixel < some; pixel++, from += channels) {
            float *feature = tile + pixel * channels, length = 0;
            Lanes squares = {0};
            int c = 0;
            for (; c + LANES <= channels; c += LANES) {
                Lanes apart = lanes_at(from + c) - lanes_at(means + c);
                *(Lanes *)(feature + c) = apart;
                squares += apart * apart;
            }
            for (; c < channels; c++) {
                feature[c] = from[c] - means[c];
                length += feature[c] * feature[c];
            }
            for (int lane = 0; lane < LANES; lane++)
                length += squares[lane];
            /* Shorter ones than 1e-12 are not made as long as others. */
            float share = length > 1e-24f ? reciprocal_root((Lanes){length})[0] : 1e12f;
            for (c = 0; c + LANES <= channels; c += LANES)
                *(Lanes *)(feature + c) = lanes_at(feature + c) * share;
            for (; c < channels; c++)
                feature[c] *= share;
        }
        memset(tile + some * channels, 0, (size_t)((PIXELS - some) * channels) * sizeof(float));
        for (int c = 0; c < channels; c++)
            for (int pixel = 0; pixel < PIXELS; pixel++)
                places[c * pitch + reach + pixel] = tile[pixel * channels + c];
    }
    for (float *here = to; here < places; here += size)
        for (int c = 0; c < size; c += pitch)
            for (int n = 0; n < reach; n++) {
                here[c + n] = here > to ? here[c - size + PIXELS + n] : 0;
                here[c + reach + PIXELS + n] = here + size < places ? here[c + size + reach + n] : 0;
            }
}

/* Products of a vector of places of `count` rows of `a` with `span` of `b`, one behind the other. */
INLINE void correlate_places(float *const *to, int stride, const float *const *a, int count, const float *b, int pitch,
                             int span, int channels) {
    Lanes sums[2][4] = {{{0}}};
    for (int c = 0; c < channels; c++)
        for (int n = 0; n < span; n++) {
            Lanes feature = lanes_at(b + c * pitch + n);
            for (int row = 0; row < count; row++)
                sums[row][n] += lanes_at(a[row] + c * PIXELS) * feature;
        }
    for (int row = 0; row < count; row++)
        for (int n = 0; n < span; n++)
            *(Lanes *)(to[row] + n * stride) = sums[row][n];
}

/* The same of all displacements in a row; as many at a time as there are registers. */
INLINE void correlate_row(float *const *to, int stride, const float *const *a, int count, const float *b, int radius,
                          int channels) {
    int pitch = pitch_of(radius), side = 2 * radius + 1;
    for (int n = 0; n < side; n += 4, b += 4) {
        float *const parts[2] = {to[0] + n * stride, count > 1 ? to[1] + n * stride : NULL};
        switch (smaller(side - n, 4)) {
        case 1:
            correlate_places(parts, stride, a, count, b, pitch, 1, channels);
            break;
        case 3:
            correlate_places(parts, stride, a, count, b, pitch, 3, channels);
            break;
        default: /* for the number is odd */
            correlate_places(parts, stride, a, count, b, pitch, 4, channels);
        }
    }
}

/* Correlations of two rows, which share most of the rows that they are compared with. */
static void correlate_pair(const Correlate *job, float *const *correlations, const float *const *a,
                           const float *const *b, int count) {
    int radius = job->radius, side = 2 * radius + 1, stride = job->stride, channels = job->channels;
    for (int x = 0; x < job->width; x += PIXELS)
        for (int n = 0; n < side + count - 1; n++)
            for (int v = 0; v < PIXELS; v += LANES) {
                int own = x * channels + v, other = x / PIXELS * channels * pitch_of(radius) + v;
                const float *places[2] = {a[0] + own, count > 1 ? a[1] + own : NULL};
                float *to[2] = {correlations[0] + n * side * stride + x + v,
                                count > 1 ? correlations[1] + (n - 1) * side * stride + x + v : NULL};
                int last = n == side;
                if (count > 1 && n > 0 && !last)
                    correlate_row(to, stride, places, 2, b[n] + other, radius, channels);
                else
                    correlate_row(to + last, stride, places + last, 1, b[n] + other, radius, channels);
            }
}

/* A soft maximum over the correlations of a row: the displacement (x, y) in the two rows behind them. */
static void match_row(const Correlate *job, float *correlations) {
    int side = 2 * job->radius + 1, stride = job->stride;
    for (int x = 0; x < job->width; x += LANES) {
        const float *from = correlations + x;
        Lanes most = lanes_at(from) * job->sharpness, sum = {0}, sum_x = {0}, sum_y = {0};
        for (int n = 1; n < side * side; n++) {
            Lanes value = lanes_at(from + n * stride) * job->sharpness;
            most = choose(value > most, value, most);
        }
        for (int i = 0; i < side; i++)
            for (int j = 0; j < side; j++) {
                Lanes value = lanes_at(from + (i * side + j) * stride) * job->sharpness - most;
                Lanes chance = exponential_lanes(clamp_lanes(value, -80, 0));
                sum += chance;
                sum_x += chance * (float)(j - job->radius);
                sum_y += chance * (float)(i - job->radius);
            }
        *(Lanes *)(correlations + side * side * stride + x) = sum_x / sum;
        *(Lanes *)(correlations + (side * side + 1) * stride + x) = sum_y / sum;
    }
}

/* What a thread works in: rows of `b` around two rows, and one of zeros; both rows of `a`; both rows' correlations. */
EXPORT int64_t VARIANT(correlate_scratch)(const Correlate *job) {
    int64_t side = 2 * job->radius + 1, tiles = job->stride / PIXELS;
    return ((side + 2) * pitch_of(job->radius) + 2 * PIXELS) * job->channels * tiles +
           2 * (side * side + FLOWS) * job->stride + PIXELS * (int64_t)job->channels;
}

static void correlate_rows(const void *context, int first, int last, int thread) {
    const Correlate *job = context;
    int width = job->width, height = job->height, stride = job->stride, radius = job->radius, side = 2 * radius + 1;
    int own_floats = job->channels * stride, row_floats = own_floats / PIXELS * pitch_of(radius), count = side * side;
    float *around = job->scratch + (size_t)job->scratch_floats * (size_t)thread; /* of side + 1 rows */
    float *zeros = around + (side + 1) * row_floats, *own = zeros + row_floats;
    float *both[2] = {own + 2 * own_floats, own + 2 * own_floats + (count + FLOWS) * stride};
    float *tile = both[1] + (count + FLOWS) * stride;
    const float *const a[2] = {own, own + own_floats};
    const float *b[MAX_SPAN + 1];
    memset(zeros, 0, (size_t)row_floats * sizeof(float));
    int next = larger(0, first - radius);
    for (int row = first; row < last; row += 2) {
        int rows = smaller(2, last - row);
        for (; next <= smaller(row + rows - 1 + radius, height - 1); next++)
            normalise_row(job, around + next % (side + 1) * row_floats, tile, height + next, radius);
        for (int n = 0; n < side + rows - 1; n++) {
            int other = row + n - radius;
            b[n] = other >= 0 && other < height ? around + other % (side + 1) * row_floats : zeros;
        }
        for (int n = 0; n < rows; n++)
            normalise_row(job, own + n * own_floats, tile, row + n, 0);
        correlate_pair(job, both, a, b, rows);
        for (int n = 0; n < rows; n++) {
            match_row(job, both[n]);
            size_t pixel = (size_t)(row + n) * (size_t)width;
            float *to = job->correlation + pixel * (size_t)count, *found = job->found + pixel * FLOWS;
            for (int x = 0; x < width; x++, to += count, found += FLOWS) {
                for (int i = 0; i < count; i++)
                    to[i] = both[n][i * stride + x];
                for (int i = 0; i < FLOWS; i++)
                    found[i] = both[n][(count + i) * stride + x];
            }
        }
    }
}

EXPORT void VARIANT(correlate_means)(const Correlate *job, int threads) {
    run_rows(sum_features_rows, job, 0, 2 * job->height, BLOCK, threads);
    mean_features(job);
}

EXPORT void VARIANT(correlate)(const Correlate *job, int threads) {
    run_rows(correlate_rows, job, 0, job->height, rows_at_a_time(job->height, threads), threads);
}
