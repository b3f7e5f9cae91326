/* What rests between two source frames looks in the frames between like it does there. */

#include "videoinr.h"

#include <stdlib.h>
#include <string.h>

/* Differences that rounding and dithering make, which in a picture at rest would be seen to flicker. */
#define FLOAT_NOISE 1e-4f

/* Where both source frames have the same value and the frame between them all but the same, take theirs. */
#define KEEP_RESTING(NAME, TYPE, NOISE)                                                                                \
    static void NAME(void *output, const void *between, const void *left, const void *right, int width) {              \
        TYPE *restrict to = output;                                                                                    \
        const TYPE *new = between, *a = left, *b = right;                                                              \
        for (int x = 0; x < width; x++)                                                                                \
            to[x] = a[x] == b[x] && new[x] - a[x] <= NOISE && a[x] - new[x] <= NOISE ? a[x] : new[x];                  \
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
        for (int x = 0; x < width; x++)                                                                                \
            to[x] = a[x] == b[x] && !moves[x] ? a[x] : new[x];                                                         \
    }
KEEP_RESTING_CHROMA(keep_resting_chroma_8, uint8_t)
KEEP_RESTING_CHROMA(keep_resting_chroma_16, uint16_t)
KEEP_RESTING_CHROMA(keep_resting_chroma_float, float)

/* Whether any brightness of a row of chroma differs between two frames, for each of its `width` samples. */
static void see_motion(uint8_t *moves, const VSFrame *one, const VSFrame *other, int row, int width,
                       const VSAPI *vsapi) {
    const VSVideoFormat *format = vsapi->getVideoFrameFormat(one);
    int columns = 1 << format->subSamplingW, rows = 1 << format->subSamplingH, size = format->bytesPerSample;
    for (int y = row * rows; y < (row + 1) * rows; y++) {
        const uint8_t *a = vsapi->getReadPtr(one, 0) + y * vsapi->getStride(one, 0);
        const uint8_t *b = vsapi->getReadPtr(other, 0) + y * vsapi->getStride(other, 0);
        size_t step = (size_t)columns * (size_t)size;
        for (int x = 0; x < width; x++)
            moves[x] |= memcmp(a + (size_t)x * step, b + (size_t)x * step, step) != 0;
    }
}

void keep_resting(VSFrame *frame, const VSFrame *between, const VSFrame *left, const VSFrame *right,
                  const VSAPI *vsapi) {
    const VSVideoFormat *format = vsapi->getVideoFrameFormat(frame);
    int size = format->bytesPerSample, subsampled = format->subSamplingW || format->subSamplingH;
    uint8_t *moves = subsampled ? malloc((size_t)vsapi->getFrameWidth(frame, 1)) : NULL;
    for (int plane = 0; plane < format->numPlanes; plane++) {
        int width = vsapi->getFrameWidth(frame, plane);
        for (int y = 0; y < vsapi->getFrameHeight(frame, plane); y++) {
            uint8_t *to = vsapi->getWritePtr(frame, plane) + y * vsapi->getStride(frame, plane);
            const uint8_t *new = vsapi->getReadPtr(between, plane) + y * vsapi->getStride(between, plane);
            const uint8_t *a = vsapi->getReadPtr(left, plane) + y * vsapi->getStride(left, plane);
            const uint8_t *b = vsapi->getReadPtr(right, plane) + y * vsapi->getStride(right, plane);
            if (plane == 0 || !subsampled) {
                (size == 1 ? keep_resting_8 : size == 2 ? keep_resting_16 : keep_resting_float)(to, new, a, b, width);
            } else if (moves) {
                memset(moves, 0, (size_t)width);
                see_motion(moves, left, right, y, width, vsapi);
                see_motion(moves, left, frame, y, width, vsapi);
                (size == 1   ? keep_resting_chroma_8
                 : size == 2 ? keep_resting_chroma_16
                             : keep_resting_chroma_float)(to, new, a, b, moves, width);
            } else {
                memcpy(to, new, (size_t)width * (size_t)size);
            }
        }
    }
    free(moves);
}
