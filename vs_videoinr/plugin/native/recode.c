/* Recode: source frames, brought to one matrix, range and chroma location where these change within the clip. */

#include "videoinr.h"

#include <stdlib.h>

typedef struct Recode {
    VSNode *node;    /* behind Guard */
    VSNode *recoded; /* the same by resize, with the engine's matrix, range and chroma location */
    Engine *engine;
} Recode;

/* Whether a frame's numbers mean what those of the clip's first frame do. */
static int coded_alike(const Engine *e, const VSMap *properties, const VSAPI *vsapi) {
    return (!e->yuv || property(properties, "_Matrix", 2, vsapi) == e->matrix) &&
           property(properties, "_Range", e->default_range, vsapi) == e->range &&
           (!e->subsampled || property(properties, "_ChromaLocation", e->chroma_location, vsapi) == e->chroma_location);
}

static const VSFrame *VS_CC recode_frame(int n, int reason, void *instance, void **frame_data, VSFrameContext *context,
                                         VSCore *core, const VSAPI *vsapi) {
    (void)core;
    Recode *r = instance;
    if (reason == arInitial) {
        vsapi->requestFrameFilter(n, r->node, context);
        return NULL;
    }
    if (reason != arAllFramesReady)
        return NULL;
    if (*frame_data) /* it was coded otherwise, and the recoded one is there now */
        return vsapi->getFrameFilter(n, r->recoded, context);

    const VSFrame *frame = vsapi->getFrameFilter(n, r->node, context);
    if (coded_alike(r->engine, vsapi->getFramePropertiesRO(frame), vsapi))
        return frame;
    vsapi->freeFrame(frame);
    *frame_data = r;
    vsapi->requestFrameFilter(n, r->recoded, context);
    return NULL;
}

static void VS_CC recode_free(void *instance, VSCore *core, const VSAPI *vsapi) {
    (void)core;
    Recode *r = instance;
    vsapi->freeNode(r->node);
    vsapi->freeNode(r->recoded);
    engine_release(r->engine);
    free(r);
}

VSNode *add_recode(Engine *e, VSNode *clip, VSNode *recoded, char *message, VSCore *core, const VSAPI *vsapi) {
    Recode *r = calloc(1, sizeof *r);
    if (!r) {
        vsapi->freeNode(recoded);
        return out_of_memory(e, clip, message, vsapi);
    }
    r->node = clip;
    r->recoded = recoded;
    r->engine = engine_retain(e);
    VSFilterDependency on[] = {{clip, rpStrictSpatial}, {recoded, rpStrictSpatial}};
    VSNode *node = vsapi->createVideoFilter2("Recode", vsapi->getVideoInfo(clip), recode_frame, recode_free, fmParallel,
                                             on, 2, r, core);
    if (!node)
        recode_free(r, core, vsapi);
    return node;
}
