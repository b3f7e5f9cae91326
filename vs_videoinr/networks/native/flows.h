/* Where a picture at a time between two frames comes from in both: `flows_at` in warpinr/fusion.py. What belongs to
 * frame 0 and to frame 1 is worked on side by side, (x, y, x, y). Included once per variant. */

typedef int32_t IntFour __attribute__((vector_size(16), aligned(4), may_alias));
typedef float Two __attribute__((vector_size(8), aligned(4), may_alias));

/* Maps that are sampled: both frames' motion, and both frames' bends. */
enum { MOTION = 0, BEND = 2 };

INLINE float *laid_out(const FlowsAt *job, int map) {
    return job->maps + 2 * (size_t)map * (size_t)(job->height + 1) * (size_t)(job->width + 1);
}

/* Lay a row of the maps out, x beside y, with one more place behind it, and one more row below the last. */
static void lay_out_rows(const void *context, int first, int last, int thread) {
    const FlowsAt *job = context;
    (void)thread;
    int width = job->width;
    size_t plane = (size_t)job->height * (size_t)width, pitch = 2 * (size_t)(width + 1);
    const float *const from[4] = {job->flow01, job->flow10, job->accelerations[0], job->accelerations[1]};
    float bend = job->t * (1 - job->t) / 4;
    const float times[4] = {1, -1, bend, bend};
    for (int map = 0; map < 4; map++) {
        if (from[map] == NULL)
            continue;
        for (int row = first; row < last; row++) {
            const float *x = from[map] + (size_t)width * (size_t)smaller(row, job->height - 1), *y = x + plane;
            float *to = laid_out(job, map) + pitch * (size_t)row;
            for (int i = 0; i < width; i++) {
                to[2 * i] = times[map] * x[i];
                to[2 * i + 1] = times[map] * y[i];
            }
            to[2 * width] = to[2 * width - 2];
            to[2 * width + 1] = to[2 * width - 1];
        }
    }
}

INLINE Two way_at(const float *map, size_t pitch, int column, int row, float along, float down) {
    const float *upper = map + pitch * (size_t)row + 2 * (size_t)column;
    Four sides = four_at(upper);
    sides += down * (four_at(upper + pitch) - sides);
    Two left = {sides[0], sides[1]}, right = {sides[2], sides[3]};
    return left + along * (right - left);
}

/* The first of two maps at the first place (x, y), the second at the second; bilinear, and beyond their borders what
 * is there. No number counts as 0. */
INLINE Four ways_at(const float *const maps[2], size_t pitch, Four places, Four most) {
    places = (Four)((IntFour)places & (IntFour)(places > 0));
    IntFour beyond = places > most;
    places = (Four)((beyond & (IntFour)most) | (~beyond & (IntFour)places));
    IntFour cell = __builtin_convertvector(places, IntFour);
    Four rest = places - __builtin_convertvector(cell, Four);
    Two first = way_at(maps[0], pitch, cell[0], cell[1], rest[0], rest[1]);
    Two second = way_at(maps[1], pitch, cell[2], cell[3], rest[2], rest[3]);
    return (Four){first[0], first[1], second[0], second[1]};
}

/* Both halves' sum, in both. */
INLINE Four sum_of_halves(Four both) {
    float x = both[0] + both[2], y = both[1] + both[3];
    return (Four){x, y, x, y};
}

/* How far each of two ways rests that are as long as that: `static_mask` in static_regions.py. */
INLINE Four resting(Four way, float reach) {
    Four squares = way * way;
    Lanes lengths = {squares[0] + squares[1], squares[2] + squares[3]};
    lengths *= reciprocal_root(lengths);
    float first = clamp_float(reach + 1 - lengths[0], 0, 1), second = clamp_float(reach + 1 - lengths[1], 0, 1);
    return (Four){first, first, second, second};
}

/* The places that ways lead to which begin at `offsets`, in both frames. */
INLINE Four place_of(const Four *offsets, const Four *ways, Four to_frame, int i, int x, int row) {
    Four here = {(float)(x + i), (float)row, (float)(x + i), (float)row};
    return here + offsets[i] + ways[i] * to_frame;
}

static void flows_rows(const void *context, int first, int last, int thread) {
    const FlowsAt *job = context;
    (void)thread;
    int width = job->width;
    size_t pitch = 2 * (size_t)(width + 1);
    const float *const motion[2] = {laid_out(job, MOTION), laid_out(job, MOTION + 1)};
    const float *const bend[2] = {laid_out(job, BEND), laid_out(job, BEND + 1)};
    int bends = job->accelerations[0] != NULL;
    float t = job->t;
    Four ends = {(float)(width - 1), (float)(job->height - 1), (float)(width - 1), (float)(job->height - 1)};
    Four to_frame = {-t, -t, 1 - t, 1 - t};
    Four ways[CHUNK], offsets[CHUNK];
    for (int row = first; row < last; row++)
        for (int x = 0; x < width; x += CHUNK) {
            int some = smaller(CHUNK, width - x);
            const float *one = motion[0] + pitch * (size_t)row + 2 * x,
                        *other = motion[1] + pitch * (size_t)row + 2 * x;
            for (int i = 0; i < some; i++) {
                float along = one[2 * i] + t * (other[2 * i] - one[2 * i]);
                float down = one[2 * i + 1] + t * (other[2 * i + 1] - one[2 * i + 1]);
                ways[i] = (Four){along, down, along, down};
                offsets[i] = (Four){0};
            }
            /* Step by step for many places: what is of one place waits for the step before. */
            for (int n = 0; n <= job->iterations; n++) {
                if (n > 0)
                    for (int i = 0; i < some; i++)
                        ways[i] = ways_at(motion, pitch, place_of(offsets, ways, to_frame, i, x, row), ends);
                if (bends)
                    for (int i = 0; i < some; i++)
                        offsets[i] =
                            sum_of_halves(ways_at(bend, pitch, place_of(offsets, ways, to_frame, i, x, row), ends));
            }
            const float *reach = job->reach + (size_t)width * (size_t)row + x;
            float *to = job->flows + 4 * ((size_t)width * (size_t)row + (size_t)x);
            for (int i = 0; i < some; i++) {
                if (reach[i] > 0) {
                    Four rests = resting(ways[i], reach[i]);
                    ways[i] *= 1 - rests;
                    offsets[i] *= 1 - rests[0] * rests[2];
                }
                *(Four *)(to + 4 * i) = offsets[i] + ways[i] * to_frame;
            }
        }
}

EXPORT void VARIANT(flows_at)(const FlowsAt *job, int threads) {
    run_rows(lay_out_rows, job, 0, job->height + 1, 4 * BLOCK, threads);
    run_rows(flows_rows, job, 0, job->height, BLOCK, threads);
}
