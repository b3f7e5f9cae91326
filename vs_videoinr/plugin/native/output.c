/* Output: the last filter. It lets source frames pass where the output has the clip's size, and puts the properties on.
 */

#include "videoinr.h"

#include <stdlib.h>

typedef struct Output {
    VSNode *source;   /* behind Guard, and Recode where frames of it pass */
    VSNode *rendered; /* in the output's format */
    VSNode *alpha;    /* its _Alpha; NULL where there is none */
    Engine *engine;
    VSVideoInfo info;
} Output;

/* Pixel shape: a picture that grows more in one direction has flatter or taller pixels. */
static void keep_aspect(VSMap *properties, const VSFrame *source, const VSVideoInfo *output, const VSAPI *vsapi) {
    int64_t num = property(properties, "_SARNum", 0, vsapi);
    int64_t den = property(properties, "_SARDen", 0, vsapi);
    if (num <= 0 || den <= 0 || num > INT32_MAX || den > INT32_MAX)
        return;
    vsh_muldivRational(&num, &den, vsapi->getFrameWidth(source, 0), output->width);
    vsh_muldivRational(&num, &den, output->height, vsapi->getFrameHeight(source, 0));
    vsapi->mapSetInt(properties, "_SARNum", num, maReplace);
    vsapi->mapSetInt(properties, "_SARDen", den, maReplace);
}

static void set_if_different(VSMap *properties, const char *key, int64_t missing, int64_t value, const VSAPI *vsapi) {
    if (property(properties, key, missing, vsapi) != value)
        vsapi->mapSetInt(properties, key, value, maReplace);
}

/* Of the frames made from one source frame the first keeps its _SceneChangePrev, and the last its _SceneChangeNext. */
static void correct_scenes(VSMap *properties, const FramePlan *plan, int shown, const VSAPI *vsapi) {
    if (!(shown == RIGHT ? plan->keeps_right_start : plan->keeps_start))
        vsapi->mapDeleteKey(properties, "_SceneChangePrev");
    if (shown == RIGHT || !plan->keeps_end) /* the right frame's own time comes later */
        vsapi->mapDeleteKey(properties, "_SceneChangeNext");
}

/* Everything that is true of a source frame but not of the frame made from it. */
static void correct_properties(const Output *o, VSMap *properties, const FramePlan *plan, int shown, int is_source,
                               int64_t num, int64_t den, const VSAPI *vsapi) {
    if (num > 0 && den > 0) {
        vsapi->mapSetInt(properties, "_DurationNum", num, maReplace);
        vsapi->mapSetInt(properties, "_DurationDen", den, maReplace);
    } else {
        vsapi->mapDeleteKey(properties, "_DurationNum");
        vsapi->mapDeleteKey(properties, "_DurationDen");
    }
    correct_scenes(properties, plan, shown, vsapi);
    vsapi->mapSetInt(properties, PAIR, plan->left, maReplace);
    if (!plan->on_source) {
        vsapi->mapDeleteKey(properties, "_AbsoluteTime");
        vsapi->mapDeleteKey(properties, "_PictType");
    }
    if (!is_source || o->engine->alpha.colorFamily == cfUndefined)
        vsapi->mapDeleteKey(properties, "_Alpha"); /* has the source's size, or other frames have none */
    if (is_source)
        return;
    vsapi->mapDeleteKey(properties, "_Field");
    if (o->engine->flow) { /* colours of our own: RGB as screens have it */
        vsapi->mapDeleteKey(properties, "_ChromaLocation");
        vsapi->mapSetInt(properties, "_Matrix", VSC_MATRIX_RGB, maReplace);
        vsapi->mapSetInt(properties, "_Range", 1, maReplace);
        vsapi->mapSetInt(properties, "_Primaries", VSC_PRIMARIES_BT709, maReplace);
        vsapi->mapSetInt(properties, "_Transfer", VSC_TRANSFER_IEC_61966_2_1, maReplace);
        return;
    }
    if (o->engine->yuv)
        set_if_different(properties, "_Matrix", 2, o->engine->matrix, vsapi);
    set_if_different(properties, "_Range", o->engine->default_range, o->engine->range, vsapi);
    if (o->engine->subsampled)
        set_if_different(properties, "_ChromaLocation", 0, o->engine->chroma_location, vsapi);
}

/* Whether the source frame after an output frame's time is looked at. */
static int sees_right(const Engine *e, const FramePlan *plan) {
    return plan->right != plan->left && (e->vfr || e->cuts == SWITCH || (e->same_size && plan->t > 0));
}

/* Whether the output frame is made from a rendered one; else it is a source frame, whatever the pictures say. */
static int is_rendered(const Engine *e, const FramePlan *plan) {
    return !e->same_size || plan->t > 0;
}

/* The transparency that goes with a rendered frame, as the property of `properties`. */
static void set_alpha(const Output *o, VSMap *properties, int n, VSFrameContext *context, VSCore *core,
                      const VSAPI *vsapi) {
    const VSFrame *rendered = vsapi->getFrameFilter(n, o->alpha, context);
    const int first = 0;
    VSFrame *alpha = vsapi->newVideoFrame2(vsapi->getVideoFrameFormat(rendered), o->info.width, o->info.height,
                                           &rendered, &first, NULL, core);
    vsapi->mapSetInt(vsapi->getFramePropertiesRW(alpha), "_Range", 1, maReplace);
    vsapi->mapConsumeFrame(properties, "_Alpha", alpha, maReplace);
    vsapi->freeFrame(rendered);
}

static const VSFrame *VS_CC output_frame(int n, int reason, void *instance, void **frame_data, VSFrameContext *context,
                                         VSCore *core, const VSAPI *vsapi) {
    (void)frame_data;
    const Output *o = instance;
    Engine *e = o->engine;
    char message[MESSAGE_SIZE];
    FramePlan plan;
    if (reason != arInitial && reason != arAllFramesReady)
        return NULL;
    if (!find_plan(e, n, &plan, message)) {
        vsapi->setFilterError(message, context);
        return NULL;
    }
    if (reason == arInitial) {
        vsapi->requestFrameFilter(plan.left, o->source, context);
        if (sees_right(e, &plan))
            vsapi->requestFrameFilter(plan.right, o->source, context);
        if (is_rendered(e, &plan)) {
            vsapi->requestFrameFilter(n, o->rendered, context);
            if (o->alpha)
                vsapi->requestFrameFilter(n, o->alpha, context);
        }
        return NULL;
    }

    const VSFrame *left = vsapi->getFrameFilter(plan.left, o->source, context);
    const VSFrame *right =
        sees_right(e, &plan) ? vsapi->getFrameFilter(plan.right, o->source, context) : vsapi->addFrameRef(left);
    const VSFrame *rendered = is_rendered(e, &plan) ? vsapi->getFrameFilter(n, o->rendered, context) : NULL;
    int shown = rendered ? (int)property(vsapi->getFramePropertiesRO(rendered), HELD, BETWEEN, vsapi) : LEFT;
    int is_source = e->same_size && shown != BETWEEN;
    const VSFrame *like = shown == RIGHT ? right : left;

    int64_t num = plan.duration_num, den = plan.duration_den;
    VSFrame *frame = NULL;
    if (e->vfr && !duration_between(e, n, vsapi->getFramePropertiesRO(left), vsapi->getFramePropertiesRO(right), &num,
                                    &den, message, vsapi)) {
        vsapi->setFilterError(message, context);
    } else if (is_source) {
        frame = vsapi->copyFrame(like, core);
    } else if (e->same_size) {
        frame = vsapi->newVideoFrame(&o->info.format, o->info.width, o->info.height, like, core);
        keep_resting(frame, rendered, left, right, vsapi);
    } else {
        const VSFrame *from[3] = {rendered, rendered, rendered};
        const int plane[3] = {0, 1, 2};
        frame = vsapi->newVideoFrame2(&o->info.format, o->info.width, o->info.height, from, plane, like, core);
    }
    if (frame) {
        VSMap *properties = vsapi->getFramePropertiesRW(frame);
        correct_properties(o, properties, &plan, shown, is_source, num, den, vsapi);
        if (!is_source)
            keep_aspect(properties, like, &o->info, vsapi);
        if (rendered && o->alpha)
            set_alpha(o, properties, n, context, core, vsapi);
    }
    vsapi->freeFrame(rendered);
    vsapi->freeFrame(right);
    vsapi->freeFrame(left);
    return frame;
}

static void VS_CC output_free(void *instance, VSCore *core, const VSAPI *vsapi) {
    (void)core;
    Output *o = instance;
    vsapi->freeNode(o->source);
    vsapi->freeNode(o->rendered);
    vsapi->freeNode(o->alpha);
    engine_release(o->engine);
    free(o);
}

VSNode *add_output(Engine *e, VSNode *source, VSNode *rendered, VSNode *alpha, const VSVideoInfo *info, char *message,
                   VSCore *core, const VSAPI *vsapi) {
    Output *o = calloc(1, sizeof *o);
    if (!o) {
        vsapi->freeNode(alpha);
        vsapi->freeNode(rendered);
        return out_of_memory(e, source, message, vsapi);
    }
    o->source = source;
    o->rendered = rendered;
    o->alpha = alpha;
    o->engine = engine_retain(e);
    o->info = *info;
    VSFilterDependency on[] = {{source, rpGeneral}, {rendered, rpNoFrameReuse}, {alpha, rpNoFrameReuse}};
    VSNode *node =
        vsapi->createVideoFilter2(e->function, info, output_frame, output_free, fmParallel, on, alpha ? 3 : 2, o, core);
    if (!node)
        output_free(o, core, vsapi);
    return node;
}
