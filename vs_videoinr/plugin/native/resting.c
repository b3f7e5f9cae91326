/* What rests between two source frames looks in the frames between like it does there. */

#include "videoinr.h"

#include <stdlib.h>
#include <string.h>

/* Differences that rounding and dithering make, which in a picture at rest would be seen to flicker. */
#define FLOAT_NOISE 1e-4f

/* Without branches (& where && could be), so that compilers make loops of vectors of all this. */

/* Where both source frames have the same value and the frame between them all but the same, take theirs. */
#define KEEP_RESTING(NAME, TYPE, NOISE)                                                                                \
    static void NAME(void *output, const void *between, const void *left, const void *right, int width) {              \
        TYPE *restrict to = output;                                                                                    \
        const TYPE *new = between, *a = left, *b = right;                                                              \
        for (int x = 0; x < width; x++)                                                                                \
            to[x] = ((a[x] == b[x]) & (new[x] - a[x] <= NOISE) & (a[x] - new[x] <= NOISE)) ? a[x] : new[x];            \
    }
KEEP_RESTING(keep_resting_8, uint8_t, 1)
KEEP_RESTING(keep_resting_16, uint16_t, 1)
KEEP_RESTING(keep_resting_float, float, FLOAT_NOISE)

/* Take the chroma of both source frames where they agree and all brightness that it goes with is theirs as well. What
 * moves close by colours it on the way through RGB. */
#define KEEP_RESTING_CHROMA(NAME, TYPE)                                                                                \
    static void NAME(void *output, const void *between, const void *left, const void *right, const uint8_t *moves,     \
                     int width) {                                                                                      \
        TYPE *restrict to = output;                                                                                    \
        const TYPE *new = between, *a = left, *b = right;                                                              \
        for (int x = 0; x < width; x++) {                                                                              \
            const TYPE made = new[x], kept = a[x];                                                                     \
            to[x] = ((kept == b[x]) & !moves[x]) ? kept : made;                                                        \
        }                                                                                                              \
    }
KEEP_RESTING_CHROMA(keep_resting_chroma_8, uint8_t)
KEEP_RESTING_CHROMA(keep_resting_chroma_16, uint16_t)
KEEP_RESTING_CHROMA(keep_resting_chroma_float, float)

/* Mark where the bits of three rows are not the same. */
#define MARK_MOTION(NAME, TYPE)                                                                                        \
    static void NAME(uint8_t *moves, const void *one, const void *other, const void *third, int width) {               \
        uint8_t *restrict to = moves;                                                                                  \
        const TYPE *a = one, *b = other, *c = third;                                                                   \
        for (int x = 0; x < width; x++)                                                                                \
            to[x] |= (a[x] != b[x]) | (a[x] != c[x]);                                                                  \
    }
MARK_MOTION(mark_motion_8, uint8_t)
MARK_MOTION(mark_motion_16, uint16_t)
MARK_MOTION(mark_motion_32, uint32_t)

/* A row of the frame between two source frames, and of these. */
typedef struct Rows {
    const uint8_t *between, *left, *right;
} Rows;

static Rows rows_of(const VSFrame *between, const VSFrame *left, const VSFrame *right, int plane, int y,
                    const VSAPI *vsapi) {
    Rows rows = {vsapi->getReadPtr(between, plane) + y * vsapi->getStride(between, plane),
                 vsapi->getReadPtr(left, plane) + y * vsapi->getStride(left, plane),
                 vsapi->getReadPtr(right, plane) + y * vsapi->getStride(right, plane)};
    return rows;
}

/* Whether any brightness that goes with a row of chroma differs between three frames, for each of its samples. `moves`
 * has room for a row of brightness. */
static void see_motion(uint8_t *moves, const VSFrame *frame, const VSFrame *left, const VSFrame *right, int row,
                       const VSAPI *vsapi) {
    const VSVideoFormat *format = vsapi->getVideoFrameFormat(frame);
    int width = vsapi->getFrameWidth(frame, 0), rows = 1 << format->subSamplingH, size = format->bytesPerSample;
    memset(moves, 0, (size_t)width);
    for (int y = row * rows; y < (row + 1) * rows; y++) {
        const Rows r = rows_of(frame, left, right, 0, y, vsapi);
        (size == 1   ? mark_motion_8
         : size == 2 ? mark_motion_16
                     : mark_motion_32)(moves, r.left, r.right, r.between, width);
    }
    for (int halvings = format->subSamplingW; halvings > 0; halvings--) {
        width /= 2;
        for (int x = 0; x < width; x++)
            moves[x] = moves[2 * x] | moves[2 * x + 1];
    }
}

/* Planes in which every sample is for itself. */
static void keep_resting_plane(VSFrame *frame, const VSFrame *between, const VSFrame *left, const VSFrame *right,
                               int plane, const VSAPI *vsapi) {
    int width = vsapi->getFrameWidth(frame, plane), size = vsapi->getVideoFrameFormat(frame)->bytesPerSample;
    uint8_t *to = vsapi->getWritePtr(frame, plane);
    for (int y = 0; y < vsapi->getFrameHeight(frame, plane); y++, to += vsapi->getStride(frame, plane)) {
        const Rows r = rows_of(between, left, right, plane, y, vsapi);
        (size == 1   ? keep_resting_8
         : size == 2 ? keep_resting_16
                     : keep_resting_float)(to, r.between, r.left, r.right, width);
    }
}

/* Both planes of subsampled chroma; the brightness of `frame` is there already. */
static void keep_resting_chroma(VSFrame *frame, const VSFrame *between, const VSFrame *left, const VSFrame *right,
                                const VSAPI *vsapi) {
    int width = vsapi->getFrameWidth(frame, 1), size = vsapi->getVideoFrameFormat(frame)->bytesPerSample;
    uint8_t *moves = malloc((size_t)vsapi->getFrameWidth(frame, 0));
    for (int y = 0; y < vsapi->getFrameHeight(frame, 1); y++) {
        if (moves)
            see_motion(moves, frame, left, right, y, vsapi);
        for (int plane = 1; plane < 3; plane++) {
            uint8_t *to = vsapi->getWritePtr(frame, plane) + y * vsapi->getStride(frame, plane);
            const Rows r = rows_of(between, left, right, plane, y, vsapi);
            if (!moves)
                memcpy(to, r.between, (size_t)width * (size_t)size);
            else
                (size == 1   ? keep_resting_chroma_8
                 : size == 2 ? keep_resting_chroma_16
                             : keep_resting_chroma_float)(to, r.between, r.left, r.right, moves, width);
        }
    }
    free(moves);
}

void keep_resting(VSFrame *frame, const VSFrame *between, const VSFrame *left, const VSFrame *right,
                  const VSAPI *vsapi) {
    const VSVideoFormat *format = vsapi->getVideoFrameFormat(frame);
    int subsampled = format->subSamplingW || format->subSamplingH;
    for (int plane = 0; plane < (subsampled ? 1 : format->numPlanes); plane++)
        keep_resting_plane(frame, between, left, right, plane, vsapi);
    if (subsampled)
        keep_resting_chroma(frame, between, left, right, vsapi);
}
