/* Chroma: gives rendered frames the chroma that the way through RGB, and so through full resolution, has cost. */

#include "videoinr.h"

#include <stdlib.h>

typedef struct Chroma {
    VSNode *node; /* rendered frames in the clip's subsampling and single precision */
    Engine *engine;
} Chroma;

static const VSFrame *VS_CC chroma_frame(int n, int reason, void *instance, void **frame_data, VSFrameContext *context,
                                         VSCore *core, const VSAPI *vsapi) {
    (void)frame_data;
    const Chroma *c = instance;
    if (reason == arInitial) {
        vsapi->requestFrameFilter(n, c->node, context);
        return NULL;
    }
    if (reason != arAllFramesReady)
        return NULL;

    const VSFrame *frame = vsapi->getFrameFilter(n, c->node, context);
    int error;
    const VSFrame *residual = vsapi->mapGetFrame(vsapi->getFramePropertiesRO(frame), RESIDUAL, 0, &error);
    if (!residual) /* a source frame as it is */
        return frame;
    VSFrame *sum = vsapi->copyFrame(frame, core);
    vsapi->freeFrame(frame);
    for (int plane = 1; plane < 3; plane++) {
        int width = vsapi->getFrameWidth(sum, plane);
        for (int y = 0; y < vsapi->getFrameHeight(sum, plane); y++) {
            float *restrict to = (float *)(void *)(vsapi->getWritePtr(sum, plane) + y * vsapi->getStride(sum, plane));
            const float *more = (const float *)(const void *)(vsapi->getReadPtr(residual, plane) +
                                                              y * vsapi->getStride(residual, plane));
            for (int x = 0; x < width; x++)
                to[x] += more[x];
        }
    }
    vsapi->freeFrame(residual);
    vsapi->mapDeleteKey(vsapi->getFramePropertiesRW(sum), RESIDUAL);
    return sum;
}

static void VS_CC chroma_free(void *instance, VSCore *core, const VSAPI *vsapi) {
    (void)core;
    Chroma *c = instance;
    vsapi->freeNode(c->node);
    engine_release(c->engine);
    free(c);
}

VSNode *add_chroma(Engine *e, VSNode *rendered, char *message, VSCore *core, const VSAPI *vsapi) {
    Chroma *c = calloc(1, sizeof *c);
    if (!c)
        return out_of_memory(e, rendered, message, vsapi);
    c->node = rendered;
    c->engine = engine_retain(e);
    VSFilterDependency on[] = {{rendered, rpStrictSpatial}};
    VSNode *node = vsapi->createVideoFilter2("Chroma", vsapi->getVideoInfo(rendered), chroma_frame, chroma_free,
                                             fmParallel, on, 1, c, core);
    if (!node)
        chroma_free(c, core, vsapi);
    return node;
}
