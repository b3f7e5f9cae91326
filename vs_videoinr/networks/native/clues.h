/* What is known of a neighbouring frame at each place of a frame: see warpinr/clues.py. Included once per variant. */

/* Numbers of a place: clues, and products of powers of the phase. */
enum { CLUES = 11, TERMS = 8 };

/* Where the taps of bicubic sampling are. */
typedef struct CubicTaps {
    Four across, down;
    int64_t rows[4], columns[4]; /* numbers from a plane's first one */
    int together;                /* whether the columns' are side by side */
} CubicTaps;

INLINE void cubic_taps(CubicTaps *taps, float x, float y, const Clues *job) {
    float along, down;
    int column = floor_of(clamp_float(x, -2, (float)(job->width + 1)), &along);
    int row = floor_of(clamp_float(y, -2, (float)(job->height + 1)), &down);
    taps->across = bicubic(along);
    taps->down = bicubic(down);
    taps->together = job->of_other.column == 1 && column >= 1 && column + 2 < job->width;
    for (int n = 0; n < 4; n++) {
        taps->rows[n] = clamp_int(row - 1 + n, 0, job->height - 1) * job->of_other.row;
        taps->columns[n] = clamp_int(column - 1 + n, 0, job->width - 1) * job->of_other.column;
    }
}

INLINE float cubic_at(const float *plane, const CubicTaps *taps) {
    Four sum = {0};
    for (int n = 0; n < 4; n++) {
        const float *row = plane + taps->rows[n];
        Four colours = taps->together ? four_at(row + taps->columns[0])
                                      : (Four){row[taps->columns[0]], row[taps->columns[1]], row[taps->columns[2]],
                                               row[taps->columns[3]]};
        sum += taps->down[n] * colours;
    }
    sum *= taps->across;
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

/* The nearest whole number to one that is not large; of two as near the even one. */
INLINE float nearest(float value) {
    return (value + 12582912.0f) - 12582912.0f;
}

/* How a colour differs, and how much. */
INLINE void put_errors(float *to, const Clues *job, const CubicTaps *taps, int row, int column) {
    const float *frame = job->frame + row * job->of_frame.row + column * job->of_frame.column;
    for (int c = 0; c < 3; c++) {
        float error = cubic_at(job->other + c * job->of_other.channel, taps) - frame[c * job->of_frame.channel];
        error *= job->gain;
        to[c] = error;
        to[3 + c] = error < 0 ? -error : error;
    }
}

/* How far behind the nearest pixel's centre a place is, and that pixel. */
INLINE void put_phase(float *to, float *terms, int64_t *pixel_x, int64_t *pixel_y, float place_x, float place_y,
                      const Clues *job) {
    place_x = clamp_float(place_x, 0, (float)(job->width - 1));
    place_y = clamp_float(place_y, 0, (float)(job->height - 1));
    float at_x = nearest(place_x), at_y = nearest(place_y);
    *pixel_x = (int64_t)at_x;
    *pixel_y = (int64_t)at_y;
    float x = (place_x - at_x) * 2, y = (place_y - at_y) * 2, xx = x * x, yy = y * y;
    to[0] = x;
    to[1] = y;
    const float products[TERMS] = {x, y, xx, yy, x * y, xx * y, x * yy, xx * yy};
    memcpy(terms, products, sizeof products);
}

/* Where a way there and back ends; returns the square of how far that is. */
INLINE float put_round_trip(float *to, const float *way, float place_x, float place_y, const Clues *job) {
    float along, down, square = 1e-12f;
    int left = floor_of(clamp_float(place_x, 0, (float)(job->width - 1)), &along);
    int above = floor_of(clamp_float(place_y, 0, (float)(job->height - 1)), &down);
    int64_t upper = (int64_t)above * job->width, lower = (int64_t)smaller(above + 1, job->height - 1) * job->width;
    int right = smaller(left + 1, job->width - 1);
    for (int c = 0; c < 2; c++) {
        const float *back = job->flow_from + (int64_t)c * job->height * job->width;
        float start = back[upper + left] + down * (back[lower + left] - back[upper + left]);
        float end = back[upper + right] + down * (back[lower + right] - back[upper + right]);
        to[c] = clamp_float(way[c] + (start + along * (end - start)), -job->limit, job->limit);
        square += to[c] * to[c];
    }
    return square;
}

static void clues_rows(const void *context, int first, int last, int thread) {
    const Clues *job = context;
    (void)thread;
    int width = job->width;
    int64_t pixels = (int64_t)job->rows * width;
    float squares[CHUNK];
    for (int n = 0; n < CHUNK; n++)
        squares[n] = 1;
    for (int row = first; row < last; row++)
        for (int start = 0; start < width; start += CHUNK) {
            int some = smaller(CHUNK, width - start);
            int64_t place = (int64_t)row * width + start;
            float *to = job->clues + CLUES * place, *terms = job->terms + TERMS * place;
            for (int i = 0; i < some; i++) {
                float way[2] = {job->flow_to[place + i], job->flow_to[job->of_flow_to + place + i]};
                float x = (float)(start + i) + way[0], y = (float)(job->top + row) + way[1];
                CubicTaps taps;
                cubic_taps(&taps, x, y, job);
                put_errors(to + CLUES * i, job, &taps, row, start + i);
                put_phase(to + CLUES * i + 6, terms + TERMS * i, job->pixel + place + i,
                          job->pixel + pixels + place + i, x, y, job);
                squares[i] = put_round_trip(to + CLUES * i + 8, way, x, y, job);
            }
            for (int i = 0; i < CHUNK; i += LANES)
                *(Lanes *)(squares + i) = lanes_at(squares + i) * reciprocal_root(lanes_at(squares + i));
            for (int i = 0; i < some; i++)
                to[CLUES * i + CLUES - 1] = squares[i];
        }
}

EXPORT void VARIANT(clues)(const Clues *job, int threads) {
    run_rows(clues_rows, job, 0, job->rows, BLOCK, threads);
}
