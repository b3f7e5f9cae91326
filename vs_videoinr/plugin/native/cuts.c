/* Cuts: marks the last frame of every scene, where the clip's own marks say so or the detector does. */

#include "videoinr.h"

#include <stdlib.h>

typedef struct Cuts {
    VSNode *node; /* RGBS or GRAYS */
    Engine *engine;
    int last; /* frame of the clip */
} Cuts;

/* Whether `frame` is the last of its scene; -1 with a message if that cannot be told. `before` and `after` are the
 * frames around the two, or NULL. */
static int find_cut(const Cuts *c, const VSFrame *before, const VSFrame *frame, const VSFrame *next,
                    const VSFrame *after, char *message, const VSAPI *vsapi) {
    const Python *p = python();
    int gil;
    if (!enter(p, &gil)) {
        say(message, c->engine->function, "Python is shutting down");
        return -1;
    }
    int cut = -1;
    PyObject *one = planes(p, frame, NULL, vsapi);
    PyObject *other = one ? planes(p, next, NULL, vsapi) : NULL;
    PyObject *first = other ? planes_or_none(p, before, vsapi) : NULL;
    PyObject *last = first ? planes_or_none(p, after, vsapi) : NULL;
    PyObject *answer = last ? p->call_method(c->engine->filter, "is_cut", "OOOO", one, other, first, last) : NULL;
    if (answer)
        cut = p->is_true(answer);
    if (cut < 0)
        say_raised(p, message, c->engine->function);
    p->decref(answer);
    p->decref(last);
    p->decref(first);
    p->decref(other);
    p->decref(one);
    p->gil_release(gil);
    return cut;
}

/* Whether somebody has said of a frame that it is the last of its scene (1) or is not (0); -1: nobody has. */
static int64_t mark_of(const VSFrame *frame, const VSAPI *vsapi) {
    return property(vsapi->getFramePropertiesRO(frame), "_SceneChangeNext", -1, vsapi);
}

/* Two frames tell whether they may be a cut. Only where they may, those around them are requested as well, which tell
 * whether it is a fade, unless they belong to other scenes. */
static const VSFrame *VS_CC cuts_frame(int n, int reason, void *instance, void **frame_data, VSFrameContext *context,
                                       VSCore *core, const VSAPI *vsapi) {
    Cuts *c = instance;
    if (reason == arInitial) {
        vsapi->requestFrameFilter(n, c->node, context);
        if (n < c->last)
            vsapi->requestFrameFilter(n + 1, c->node, context);
        return NULL;
    }
    if (reason != arAllFramesReady)
        return NULL;

    const VSFrame *frame = vsapi->getFrameFilter(n, c->node, context);
    int64_t cut = mark_of(frame, vsapi);
    if (cut < 0 && n < c->last) {
        char message[MESSAGE_SIZE];
        int second = *frame_data != NULL; /* the frames around are there now */
        const VSFrame *next = vsapi->getFrameFilter(n + 1, c->node, context);
        const VSFrame *before = second && n > 0 ? vsapi->getFrameFilter(n - 1, c->node, context) : NULL;
        const VSFrame *after = second && n + 1 < c->last ? vsapi->getFrameFilter(n + 2, c->node, context) : NULL;
        cut = find_cut(c, before && mark_of(before, vsapi) > 0 ? NULL : before, frame, next,
                       mark_of(next, vsapi) > 0 ? NULL : after, message, vsapi);
        vsapi->freeFrame(after);
        vsapi->freeFrame(before);
        vsapi->freeFrame(next);
        if (cut > 0 && !second && c->last > 1) {
            vsapi->freeFrame(frame);
            *frame_data = c;
            if (n > 0)
                vsapi->requestFrameFilter(n - 1, c->node, context);
            if (n + 1 < c->last)
                vsapi->requestFrameFilter(n + 2, c->node, context);
            return NULL;
        }
        if (cut < 0) {
            vsapi->freeFrame(frame);
            vsapi->setFilterError(message, context);
            return NULL;
        }
    }
    VSFrame *marked = vsapi->copyFrame(frame, core);
    vsapi->freeFrame(frame);
    vsapi->mapSetInt(vsapi->getFramePropertiesRW(marked), CUT, cut > 0, maReplace);
    return marked;
}

static void VS_CC cuts_free(void *instance, VSCore *core, const VSAPI *vsapi) {
    (void)core;
    Cuts *c = instance;
    vsapi->freeNode(c->node);
    engine_release(c->engine);
    free(c);
}

VSNode *add_cuts(Engine *e, VSNode *clip, char *message, VSCore *core, const VSAPI *vsapi) {
    if (e->cuts == IGNORE_CUTS)
        return clip;
    Cuts *c = calloc(1, sizeof *c);
    if (!c)
        return out_of_memory(e, clip, message, vsapi);
    c->node = clip;
    c->engine = engine_retain(e);
    c->last = vsapi->getVideoInfo(clip)->numFrames - 1;
    VSFilterDependency on[] = {{clip, rpGeneral}};
    VSNode *node =
        vsapi->createVideoFilter2("Cuts", vsapi->getVideoInfo(clip), cuts_frame, cuts_free, fmParallel, on, 1, c, core);
    if (!node)
        cuts_free(c, core, vsapi);
    return node;
}
