/* Every feature of one frame compared with those of another around the same place, and a soft maximum over them: see
 * `correlate` and `FlowStep.match` in warpinr/flow_estimator.py. Included once per variant. */

/* Pixels that are laid out together. */
enum { PIXELS = 16 };

/* Numbers that a thread needs for a job. */
EXPORT int64_t VARIANT(correlate_scratch)(const Correlate *job) {
    int64_t side = 2 * job->radius + 1;
    return (side * side + 2) * job->stride + PIXELS * (int64_t)job->channels;
}

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

/* Means of features over a frame, from sums over rows, in the rows behind those. */
static void mean_features(const Correlate *job) {
    size_t channels = (size_t)job->channels, height = (size_t)job->height;
    for (size_t frame = 0; frame < 2; frame++) {
        float *means = job->sums + channels * (2 * height + frame);
        memset(means, 0, channels * sizeof(float));
        for (size_t row = 0; row < height; row++)
            for (size_t c = 0; c < channels; c++)
                means[c] += job->sums[channels * (frame * height + row) + c];
        for (size_t c = 0; c < channels; c++)
            means[c] /= (float)height * (float)job->width;
    }
}

static float *planes_row(const Correlate *job, int row) {
    return job->planes + (size_t)row * (size_t)job->channels * (size_t)job->stride;
}

/* Lay rows out by channels, without what all features have in common and of length one: of `a` from the start of each
 * line, of `b` with zeros around. The last row is nothing but zeros. */
static void normalise_rows(const void *context, int first, int last, int thread) {
    const Correlate *job = context;
    int channels = job->channels, width = job->width, stride = job->stride;
    float *tile = job->scratch + (size_t)job->scratch_floats * (size_t)thread;
    for (int row = first; row < last; row++) {
        float *to = planes_row(job, row);
        int of_b = row >= job->height, left = of_b ? job->radius : 0;
        if (row == 2 * job->height) {
            memset(to, 0, (size_t)channels * (size_t)stride * sizeof(float));
            continue;
        }
        const float *from = features_row(job, row);
        const float *means = job->sums + (size_t)channels * (size_t)(2 * job->height + of_b);
        for (int x = 0; x < width; x += PIXELS) {
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
            if (some == PIXELS)
                for (int c = 0; c < channels; c++)
                    for (int pixel = 0; pixel < PIXELS; pixel++)
                        to[c * stride + left + x + pixel] = tile[pixel * channels + c];
            else
                for (int c = 0; c < channels; c++)
                    for (int pixel = 0; pixel < some; pixel++)
                        to[c * stride + left + x + pixel] = tile[pixel * channels + c];
        }
        for (int c = 0; c < channels; c++) {
            memset(to + c * stride, 0, (size_t)left * sizeof(float));
            memset(to + c * stride + left + width, 0, (size_t)(stride - left - width) * sizeof(float));
        }
    }
}

/* Products of a vector of places of `a` with `span` of `b`, one behind the other. */
INLINE void correlate_places(float *to, size_t plane, const float *a, const float *b, int span, int channels,
                             int stride) {
    Lanes sums[9] = {{0}};
    for (int c = 0; c < channels; c++, a += stride, b += stride)
        for (int n = 0; n < span; n++)
            sums[n] += lanes_at(a) * lanes_at(b + n);
    for (int n = 0; n < span; n++)
        *(Lanes *)(to + (size_t)n * plane) = sums[n];
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

static void correlate_rows(const void *context, int first, int last, int thread) {
    const Correlate *job = context;
    int channels = job->channels, width = job->width, height = job->height, stride = job->stride;
    int side = 2 * job->radius + 1;
    size_t plane = (size_t)height * (size_t)width, bytes = (size_t)width * sizeof(float);
    float *correlations = job->scratch + (size_t)job->scratch_floats * (size_t)thread; /* (side * side + 2, stride) */
    for (int row = first; row < last; row++) {
        const float *a = planes_row(job, row);
        for (int x = 0; x < width; x += LANES)
            for (int i = 0; i < side; i++) {
                int other = row + i - job->radius;
                const float *b = planes_row(job, height + (other >= 0 && other < height ? other : height));
                float *to = correlations + i * side * stride + x;
                switch (side) {
                case 3:
                    correlate_places(to, (size_t)stride, a + x, b + x, 3, channels, stride);
                    break;
                case 5:
                    correlate_places(to, (size_t)stride, a + x, b + x, 5, channels, stride);
                    break;
                case 7:
                    correlate_places(to, (size_t)stride, a + x, b + x, 7, channels, stride);
                    break;
                case 9:
                    correlate_places(to, (size_t)stride, a + x, b + x, 9, channels, stride);
                    break;
                default:
                    for (int n = 0; n < side; n++)
                        correlate_places(to + n * stride, (size_t)stride, a + x, b + x + n, 1, channels, stride);
                }
            }
        match_row(job, correlations);
        for (int n = 0; n < side * side; n++)
            memcpy(job->correlation + plane * (size_t)n + (size_t)width * (size_t)row, correlations + n * stride, bytes);
        for (int n = 0; n < 2; n++)
            memcpy(job->found + plane * (size_t)n + (size_t)width * (size_t)row,
                   correlations + (side * side + n) * stride, bytes);
    }
}

EXPORT void VARIANT(correlate)(const Correlate *job, int threads) {
    run_rows(sum_features_rows, job, 0, 2 * job->height, BLOCK, threads);
    mean_features(job);
    run_rows(normalise_rows, job, 0, 2 * job->height + 1, BLOCK, threads);
    run_rows(correlate_rows, job, 0, job->height, BLOCK, threads);
}
