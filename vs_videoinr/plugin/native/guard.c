/* Guard: refuses frames that cannot be right, and drops properties that are named like the plugin's own. */

#include "videoinr.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct Guard {
    VSNode *node;
    Engine *engine;
} Guard;

VSVideoFormat alpha_format(const VSFrame *frame, const VSAPI *vsapi) {
    VSVideoFormat format = {cfUndefined, 0, 0, 0, 0, 0, 0};
    int error;
    const VSFrame *alpha = vsapi->mapGetFrame(vsapi->getFramePropertiesRO(frame), "_Alpha", 0, &error);
    if (alpha && vsapi->getFrameType(alpha) == mtVideo && vsapi->getVideoFrameFormat(alpha)->colorFamily == cfGray &&
        vsapi->getFrameWidth(alpha, 0) == vsapi->getFrameWidth(frame, 0) &&
        vsapi->getFrameHeight(alpha, 0) == vsapi->getFrameHeight(frame, 0))
        format = *vsapi->getVideoFrameFormat(alpha);
    vsapi->freeFrame(alpha);
    return format;
}

/* A frame without properties that are named like ours, which mean nothing here. Consumes `frame`. */
static const VSFrame *without_private(const VSFrame *frame, VSCore *core, const VSAPI *vsapi) {
    VSFrame *copy = NULL;
    const VSMap *properties = vsapi->getFramePropertiesRO(frame);
    for (int k = vsapi->mapNumKeys(properties) - 1; k >= 0; k--) {
        const char *key = vsapi->mapGetKey(properties, k);
        if (strncmp(key, PRIVATE, strlen(PRIVATE)))
            continue;
        if (!copy)
            copy = vsapi->copyFrame(frame, core);
        vsapi->mapDeleteKey(vsapi->getFramePropertiesRW(copy), key);
    }
    if (!copy)
        return frame;
    vsapi->freeFrame(frame);
    return copy;
}

static const VSFrame *VS_CC guard_frame(int n, int reason, void *instance, void **frame_data, VSFrameContext *context,
                                        VSCore *core, const VSAPI *vsapi) {
    (void)frame_data;
    const Guard *g = instance;
    if (reason == arInitial) {
        vsapi->requestFrameFilter(n, g->node, context);
        return NULL;
    }
    if (reason != arAllFramesReady)
        return NULL;

    const VSFrame *frame = vsapi->getFrameFilter(n, g->node, context);
    const VSMap *properties = vsapi->getFramePropertiesRO(frame);
    int64_t fields = property(properties, "_FieldBased", 0, vsapi);
    int64_t matrix = property(properties, "_Matrix", 2, vsapi);
    char text[256] = "";
    char message[MESSAGE_SIZE];
    if (fields != 0)
        snprintf(text, sizeof text,
                 "frame %d is interlaced (_FieldBased=%lld); deinterlace the clip, or if it is not interlaced: "
                 "clip = core.std.SetFieldBased(clip, 0)",
                 n, (long long)fields);
    else if (g->engine->yuv && (matrix == 2 || matrix == 0 || matrix == 3))
        snprintf(text, sizeof text,
                 "the clip's matrix is unknown (frame %d); set it, for example: "
                 "clip = core.std.SetFrameProps(clip, _Matrix=1)",
                 n);
    else if (g->engine->alpha.colorFamily != cfUndefined) {
        const VSVideoFormat alpha = alpha_format(frame, vsapi);
        if (!vsh_isSameVideoFormat(&alpha, &g->engine->alpha))
            snprintf(text, sizeof text,
                     "frame %d has no _Alpha like that of the clip's first frame; give it one, or remove all: "
                     "clip = core.std.RemoveFrameProps(clip, \"_Alpha\")",
                     n);
    }
    if (!text[0])
        return without_private(frame, core, vsapi);
    vsapi->freeFrame(frame);
    say(message, g->engine->function, text);
    vsapi->setFilterError(message, context);
    return NULL;
}

static void VS_CC guard_free(void *instance, VSCore *core, const VSAPI *vsapi) {
    (void)core;
    Guard *g = instance;
    vsapi->freeNode(g->node);
    engine_release(g->engine);
    free(g);
}

VSNode *add_guard(Engine *e, VSNode *clip, char *message, VSCore *core, const VSAPI *vsapi) {
    Guard *g = calloc(1, sizeof *g);
    if (!g)
        return out_of_memory(e, clip, message, vsapi);
    g->node = clip;
    g->engine = engine_retain(e);
    VSFilterDependency on[] = {{clip, rpStrictSpatial}};
    VSNode *node = vsapi->createVideoFilter2("Guard", vsapi->getVideoInfo(clip), guard_frame, guard_free, fmParallel,
                                             on, 1, g, core);
    if (!node)
        guard_free(g, core, vsapi);
    return node;
}
