/* Render: the network's pictures, one thread at a time. */

#include "videoinr.h"

#include <stdlib.h>

typedef struct Render {
    VSNode *node;     /* RGBS, or GRAYS for a clip that is gray */
    VSNode *marked;   /* the same by Cuts, which looks ahead, for frames of which that is to be known */
    VSNode *residual; /* chroma that these frames lack, in the clip's subsampling and single precision; NULL: none */
    Engine *engine;
    VSVideoInfo output;
    int what;
    int last;                        /* frame of the clip */
    const VSFrame *source, *picture; /* the source frame that was shown as it is last, and how that looks */
    const VSFrame *companion;        /* the frame before it, with which it was made; NULL: it was made alone */
    const VSFrame *before;           /* the one before that, likewise */
} Render;

/* What is rendered: a time between two source frames, and what may be looked at beside them. */
typedef struct Pair {
    int left, right;
    double t;
    const VSFrame *frame0, *frame1;
    const VSFrame *before, *after;        /* the frames around the pair, or NULL */
    const VSFrame *residual0, *residual1; /* chroma that frame0 and frame1 lack, or NULL */
} Pair;

/* The chroma that both frames of a pair lack, and where that of the frame between goes: three times planes; or None. */
static PyObject *residuals(const Python *p, const Pair *pair, VSFrame *output, const VSAPI *vsapi) {
    if (!output)
        return p->build("");
    PyObject *one = planes(p, pair->residual0, NULL, vsapi);
    PyObject *other = one ? planes(p, pair->residual1, NULL, vsapi) : NULL;
    PyObject *out = other ? planes(p, output, output, vsapi) : NULL;
    if (out)
        return p->build("(NNN)", one, other, out);
    p->decref(other);
    p->decref(one);
    return NULL;
}

/* Render into `output`, and into `residual` what its chroma lacks, unless that is NULL. */
static int render_pair(const Render *r, const Pair *pair, VSFrame *output, VSFrame *residual, char *message,
                       const VSAPI *vsapi) {
    const Python *p = python();
    int gil;
    if (!enter(p, &gil)) {
        say(message, r->engine->function, "Python is shutting down");
        return 0;
    }
    PyObject *in0 = planes(p, pair->frame0, NULL, vsapi);
    PyObject *in1 = in0 ? planes(p, pair->frame1, NULL, vsapi) : NULL;
    PyObject *out = in1 ? planes(p, output, output, vsapi) : NULL;
    PyObject *first = out ? planes_or_none(p, pair->before, vsapi) : NULL;
    PyObject *last = first ? planes_or_none(p, pair->after, vsapi) : NULL;
    PyObject *chroma = last ? residuals(p, pair, residual, vsapi) : NULL;
    PyObject *none = chroma ? p->call_method(r->engine->filter, "render", "iiidOOOOOO", r->what, pair->left,
                                             pair->right, pair->t, in0, in1, out, first, last, chroma)
                            : NULL;
    int ok = none != NULL;
    if (!ok)
        say_raised(p, message, r->engine->function);
    p->decref(none);
    p->decref(chroma);
    p->decref(last);
    p->decref(first);
    p->decref(out);
    p->decref(in1);
    p->decref(in0);
    p->gil_release(gil);
    return ok;
}

/* Whether two frames are equal, or both are NULL. */
static int alike(const VSFrame *a, const VSFrame *b, const VSAPI *vsapi) {
    return a && b ? equal(a, b, vsapi) : a == b;
}

/* A source frame as it looks in the output: made once for all the times that it is shown. `companion` is the frame
 * before it where that shows more of it, and `before` the frame before both; or NULL. */
static VSFrame *show(Render *r, int number, const VSFrame *source, const VSFrame *companion, const VSFrame *before,
                     char *message, VSCore *core, const VSAPI *vsapi) {
    if (r->engine->same_size)
        return vsapi->copyFrame(source, core);
    if (!r->picture || !alike(r->source, source, vsapi) || !alike(r->companion, companion, vsapi) ||
        !alike(r->before, before, vsapi)) {
        VSFrame *picture = vsapi->newVideoFrame(&r->output.format, r->output.width, r->output.height,
                                                r->what == PICTURE ? source : NULL, core);
        Pair pair = {number, number, 0.0, source, source, NULL, NULL, NULL, NULL};
        if (companion) {
            pair.left = number - 1;
            pair.frame0 = companion;
            pair.before = before;
            pair.t = 1.0;
        }
        if (!render_pair(r, &pair, picture, NULL, message, vsapi)) {
            vsapi->freeFrame(picture);
            return NULL;
        }
        vsapi->freeFrame(r->source);
        vsapi->freeFrame(r->companion);
        vsapi->freeFrame(r->before);
        vsapi->freeFrame(r->picture);
        r->source = vsapi->addFrameRef(source);
        r->companion = companion ? vsapi->addFrameRef(companion) : NULL;
        r->before = before ? vsapi->addFrameRef(before) : NULL;
        r->picture = picture;
    }
    return vsapi->copyFrame(r->picture, core);
}

/* A frame that no source frame is, with its chroma's residual as a property. */
static VSFrame *render_between(const Render *r, const Pair *pair, char *message, VSCore *core, const VSAPI *vsapi) {
    VSFrame *output = vsapi->newVideoFrame(&r->output.format, r->output.width, r->output.height,
                                           r->what == PICTURE ? pair->frame0 : NULL, core);
    VSFrame *residual = NULL;
    if (pair->residual0)
        residual =
            vsapi->newVideoFrame(vsapi->getVideoFrameFormat(pair->residual0), vsapi->getFrameWidth(pair->residual0, 0),
                                 vsapi->getFrameHeight(pair->residual0, 0), NULL, core);
    if (!render_pair(r, pair, output, residual, message, vsapi)) {
        vsapi->freeFrame(residual);
        vsapi->freeFrame(output);
        return NULL;
    }
    if (residual)
        vsapi->mapConsumeFrame(vsapi->getFramePropertiesRW(output), RESIDUAL, residual, maReplace);
    return output;
}

/* Where the frame before the pair is read: from Cuts where a cut behind it matters, and at a source time for
 * comparison. */
static VSNode *previous_node(const Render *r, const FramePlan *plan, int neighbours) {
    if (plan->left == 0 || !(neighbours || plan->t == 0))
        return NULL;
    return neighbours ? r->marked : r->node;
}

/* Whether the frame before that one is read: the left one may turn out to end a scene. */
static int sees_earlier(const Render *r, const FramePlan *plan) {
    return plan->left >= 2 && enlarges_with_neighbours(r->engine, r->what);
}

static void request_sources(const Render *r, const FramePlan *plan, VSFrameContext *context, const VSAPI *vsapi) {
    int neighbours = uses_neighbours(r->engine, plan, r->what);
    VSNode *previous = previous_node(r, plan, neighbours);
    vsapi->requestFrameFilter(plan->left, r->marked, context);
    if (plan->right != plan->left)
        vsapi->requestFrameFilter(plan->right, neighbours ? r->marked : r->node, context);
    if (previous)
        vsapi->requestFrameFilter(plan->left - 1, previous, context);
    if (sees_earlier(r, plan))
        vsapi->requestFrameFilter(plan->left - 2, r->marked, context);
    if (neighbours && plan->right < r->last)
        vsapi->requestFrameFilter(plan->right + 1, r->node, context);
    if (r->residual && plan->right != plan->left) {
        vsapi->requestFrameFilter(plan->left, r->residual, context);
        vsapi->requestFrameFilter(plan->right, r->residual, context);
    }
}

static Sources get_sources(const Render *r, const FramePlan *plan, VSFrameContext *context, const VSAPI *vsapi) {
    int neighbours = uses_neighbours(r->engine, plan, r->what);
    VSNode *previous = previous_node(r, plan, neighbours);
    Sources s = {NULL, NULL, vsapi->getFrameFilter(plan->left, r->marked, context), NULL, NULL};
    s.right = plan->right == plan->left ? vsapi->addFrameRef(s.left)
                                        : vsapi->getFrameFilter(plan->right, neighbours ? r->marked : r->node, context);
    if (sees_earlier(r, plan))
        s.earlier = vsapi->getFrameFilter(plan->left - 2, r->marked, context);
    if (previous)
        s.previous = vsapi->getFrameFilter(plan->left - 1, previous, context);
    if (neighbours && plan->right < r->last)
        s.next = vsapi->getFrameFilter(plan->right + 1, r->node, context);
    return s;
}

static const VSFrame *VS_CC render_frame(int n, int reason, void *instance, void **frame_data, VSFrameContext *context,
                                         VSCore *core, const VSAPI *vsapi) {
    (void)frame_data;
    Render *r = instance; /* one thread at a time has frames ready: fmParallelRequests */
    char message[MESSAGE_SIZE];
    FramePlan plan;
    if (reason != arInitial && reason != arAllFramesReady)
        return NULL;
    if (!find_plan(r->engine, n, &plan, message)) {
        vsapi->setFilterError(message, context);
        return NULL;
    }
    if (reason == arInitial) {
        request_sources(r, &plan, context, vsapi);
        return NULL;
    }

    const Sources s = get_sources(r, &plan, context, vsapi);
    const Shown shown = decide(r->engine, &plan, r->what, &s, vsapi);
    VSFrame *output;
    if (shown.what == BETWEEN) {
        Pair pair = {plan.left, plan.right, plan.t, s.left, s.right, NULL, NULL, NULL, NULL};
        pair.before = shown.before ? s.previous : NULL;
        pair.after = shown.after ? s.next : NULL;
        if (r->residual) {
            pair.residual0 = vsapi->getFrameFilter(plan.left, r->residual, context);
            pair.residual1 = vsapi->getFrameFilter(plan.right, r->residual, context);
        }
        output = render_between(r, &pair, message, core, vsapi);
        vsapi->freeFrame(pair.residual1);
        vsapi->freeFrame(pair.residual0);
    } else if (shown.what == LEFT) {
        output = show(r, plan.left, s.left, shown.companion ? s.previous : NULL,
                      shown.companion && shown.before ? s.earlier : NULL, message, core, vsapi);
    } else {
        output = show(r, plan.right, s.right, NULL, NULL, message, core, vsapi);
    }
    vsapi->freeFrame(s.next);
    vsapi->freeFrame(s.previous);
    vsapi->freeFrame(s.earlier);
    vsapi->freeFrame(s.right);
    vsapi->freeFrame(s.left);
    if (!output)
        vsapi->setFilterError(message, context);
    else
        vsapi->mapSetInt(vsapi->getFramePropertiesRW(output), HELD, shown.what, maReplace);
    return output;
}

static void VS_CC render_free(void *instance, VSCore *core, const VSAPI *vsapi) {
    (void)core;
    Render *r = instance;
    vsapi->freeFrame(r->source);
    vsapi->freeFrame(r->companion);
    vsapi->freeFrame(r->before);
    vsapi->freeFrame(r->picture);
    vsapi->freeNode(r->residual);
    vsapi->freeNode(r->marked);
    vsapi->freeNode(r->node);
    engine_release(r->engine);
    free(r);
}

VSNode *add_render(Engine *e, VSNode *clip, VSNode *marked, VSNode *residual, int what, const VSVideoInfo *output,
                   char *message, VSCore *core, const VSAPI *vsapi) {
    Render *r = calloc(1, sizeof *r);
    if (!r) {
        vsapi->freeNode(residual);
        vsapi->freeNode(marked);
        return out_of_memory(e, clip, message, vsapi);
    }
    r->node = clip;
    r->marked = marked;
    r->residual = residual;
    r->engine = engine_retain(e);
    r->what = what;
    r->last = vsapi->getVideoInfo(clip)->numFrames - 1;
    r->output = *output;
    r->output.format = vsapi->getVideoInfo(clip)->format;
    if (what == MOTION)
        vsapi->getVideoFormatByID(&r->output.format, pfRGBS, core);
    VSFilterDependency on[] = {{clip, rpGeneral}, {marked, rpGeneral}, {residual, rpGeneral}};
    VSNode *node = vsapi->createVideoFilter2("Render", &r->output, render_frame, render_free, fmParallelRequests, on,
                                             residual ? 3 : 2, r, core);
    if (!node)
        render_free(r, core, vsapi);
    return node;
}
