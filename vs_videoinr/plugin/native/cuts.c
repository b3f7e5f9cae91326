/* Cuts: marks the last frame of every scene, where the clip's own marks say so or the detector does. */

#include "videoinr.h"

#include <stdlib.h>

typedef struct Cuts {
    VSNode *node; /* RGBS or GRAYS */
    Engine *engine;
    int last; /* frame of the clip */
} Cuts;

/* Whether somebody has said of a frame that it is the last of its scene (1) or is not (0); -1: nobody has. */
static int64_t mark_of(const VSFrame *frame, const VSAPI *vsapi) {
    return property(vsapi->getFramePropertiesRO(frame), "_SceneChangeNext", -1, vsapi);
}

/* Frames n - reach to n + 1 + reach, as far as the clip has them. */
typedef struct Surroundings {
    int n, reach;
    const VSFrame **frames; /* from n - reach on; NULL where there is none */
} Surroundings;

static const VSFrame *frame_at(const Surroundings *s, int number) {
    return s->frames[number - s->n + s->reach];
}

/* The planes of frames from `first` on, up or down, until the clip ends or a mark says that another scene begins. */
static PyObject *planes_of_scene(const Python *p, const Surroundings *s, int first, int step, const VSAPI *vsapi) {
    PyObject *list = p->new_list(0);
    for (int k = 0; list && k < s->reach; k++) {
        int number = first + k * step;
        const VSFrame *frame = frame_at(s, number);
        if (!frame || mark_of(step < 0 ? frame : frame_at(s, number - 1), vsapi) > 0)
            break;
        PyObject *one = planes(p, frame, NULL, vsapi);
        if (!one || p->list_append(list, one)) {
            p->decref(list);
            list = NULL;
        }
        p->decref(one);
    }
    return list;
}

/* Whether frame n is the last of its scene: IS_CUT and so on, or -1 with a message. */
static int judge(const Cuts *c, const Surroundings *s, char *message, const VSAPI *vsapi) {
    const Python *p = python();
    int gil;
    if (!enter(p, &gil)) {
        say(message, c->engine->function, "Python is shutting down");
        return -1;
    }
    PyObject *frame = planes(p, frame_at(s, s->n), NULL, vsapi);
    PyObject *next = frame ? planes(p, frame_at(s, s->n + 1), NULL, vsapi) : NULL;
    PyObject *before = next ? planes_of_scene(p, s, s->n - 1, -1, vsapi) : NULL;
    PyObject *after = before ? planes_of_scene(p, s, s->n + 2, 1, vsapi) : NULL;
    PyObject *answer = after ? p->call_method(c->engine->filter, "judge", "OOOO", frame, next, before, after) : NULL;
    int verdict = answer ? (int)p->to_int(answer) : -1;
    if (verdict < 0)
        say_raised(p, message, c->engine->function);
    else if (verdict == UNDECIDED && p->list_size(before) < s->reach && p->list_size(after) < s->reach)
        verdict = IS_CUT; /* the scene has no more frames */
    p->decref(answer);
    p->decref(after);
    p->decref(before);
    p->decref(next);
    p->decref(frame);
    p->gil_release(gil);
    return verdict;
}

/* The same with `reach` frames on either side of n and n + 1, which are there. */
static int find_cut(const Cuts *c, int n, int reach, char *message, VSFrameContext *context, const VSAPI *vsapi) {
    int count = 2 * reach + 2;
    Surroundings s = {n, reach, calloc((size_t)count, sizeof *s.frames)};
    if (!s.frames) {
        say(message, c->engine->function, "out of memory");
        return -1;
    }
    for (int k = 0; k < count; k++)
        if (n - reach + k >= 0 && n - reach + k <= c->last)
            s.frames[k] = vsapi->getFrameFilter(n - reach + k, c->node, context);
    int verdict = judge(c, &s, message, vsapi);
    for (int k = 0; k < count; k++)
        vsapi->freeFrame(s.frames[k]);
    free(s.frames);
    return verdict;
}

/* Request the frames at `distance` from n and n + 1. Returns how many of them there are. */
static int request_around(const Cuts *c, int n, int distance, VSFrameContext *context, const VSAPI *vsapi) {
    int before = n - distance >= 0, after = n + 1 + distance <= c->last;
    if (before)
        vsapi->requestFrameFilter(n - distance, c->node, context);
    if (after)
        vsapi->requestFrameFilter(n + 1 + distance, c->node, context);
    return before + after;
}

/* Two frames tell whether they may be a cut. Only where they may, those around them are requested as well, one by one
 * on either side until they tell whether it is a fade: *frame_data is how many are there. */
static const VSFrame *VS_CC cuts_frame(int n, int reason, void *instance, void **frame_data, VSFrameContext *context,
                                       VSCore *core, const VSAPI *vsapi) {
    Cuts *c = instance;
    if (reason == arInitial) {
        request_around(c, n, 0, context, vsapi);
        return NULL;
    }
    if (reason != arAllFramesReady)
        return NULL;

    const VSFrame *frame = vsapi->getFrameFilter(n, c->node, context);
    int64_t cut = mark_of(frame, vsapi);
    if (cut < 0 && n < c->last) {
        char message[MESSAGE_SIZE];
        int reach = (int)(intptr_t)*frame_data;
        cut = find_cut(c, n, reach, message, context, vsapi);
        if (cut < 0) {
            vsapi->freeFrame(frame);
            vsapi->setFilterError(message, context);
            return NULL;
        }
        if (cut == UNDECIDED && request_around(c, n, reach + 1, context, vsapi)) {
            vsapi->freeFrame(frame);
            *frame_data = (void *)(intptr_t)(reach + 1);
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
