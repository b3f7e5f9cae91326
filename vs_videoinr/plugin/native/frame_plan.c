/* What an output frame shows: its plan, which Python makes, and what the source frames themselves decide. */

#include "videoinr.h"

#include <stdlib.h>
#include <string.h>

/* ---------------------------------------------------------------- plans, asked for once */

/* A plan is wanted by several filters within a short time: by Output, by Render, by the Render of the transparency. */
enum { PLANS = 64 };

struct PlanCache {
    atomic_flag taken; /* for as long as a plan is copied */
    int numbers[PLANS];
    FramePlan plans[PLANS];
};

PlanCache *plan_cache_new(void) {
    PlanCache *cache = calloc(1, sizeof *cache);
    if (!cache)
        return NULL;
    atomic_flag_clear(&cache->taken);
    for (int k = 0; k < PLANS; k++)
        cache->numbers[k] = -1;
    return cache;
}

void plan_cache_free(PlanCache *cache) {
    free(cache);
}

/* Copy frame n's plan out of the cache, if it is there, or into it. */
static int exchange_plan(PlanCache *cache, int n, FramePlan *plan, int put) {
    int k = n % PLANS;
    while (atomic_flag_test_and_set(&cache->taken))
        ;
    int there = cache->numbers[k] == n;
    if (put) {
        cache->numbers[k] = n;
        cache->plans[k] = *plan;
    } else if (there) {
        *plan = cache->plans[k];
    }
    atomic_flag_clear(&cache->taken);
    return there;
}

/* Of FramePlan.durations. */
enum { EARLIER, PREVIOUS, AT_LEFT, AT_RIGHT };

/* Read the attributes of a vs_videoinr.plugin.frame_plan.FramePlan. */
static int read_plan(const Python *p, PyObject *object, FramePlan *plan) {
    int ok = 1;
    plan->left = (int)int_attribute(p, object, "left", &ok);
    plan->right = (int)int_attribute(p, object, "right", &ok);
    plan->t = float_attribute(p, object, "t", &ok);
    plan->on_source = (int)int_attribute(p, object, "on_source", &ok);
    plan->shows_right = (int)int_attribute(p, object, "shows_right", &ok);
    plan->keeps_start = (int)int_attribute(p, object, "keeps_start", &ok);
    plan->keeps_end = (int)int_attribute(p, object, "keeps_end", &ok);
    plan->keeps_right_start = (int)int_attribute(p, object, "keeps_right_start", &ok);
    plan->durations[EARLIER] = float_attribute(p, object, "earlier_duration", &ok);
    plan->durations[PREVIOUS] = float_attribute(p, object, "previous_duration", &ok);
    plan->durations[AT_LEFT] = float_attribute(p, object, "left_duration", &ok);
    plan->durations[AT_RIGHT] = float_attribute(p, object, "right_duration", &ok);
    plan->duration_num = int_attribute(p, object, "duration_num", &ok);
    plan->duration_den = int_attribute(p, object, "duration_den", &ok);
    return ok;
}

int find_plan(Engine *e, int n, FramePlan *plan, char *message) {
    if (exchange_plan(e->plans, n, plan, 0))
        return 1;
    const Python *p = python();
    int gil;
    if (!enter(p, &gil)) {
        say(message, e->function, "Python is shutting down");
        return 0;
    }
    PyObject *object = p->call_method(e->filter, "plan", "i", n);
    int ok = object && read_plan(p, object, plan);
    if (!ok)
        say_raised(p, message, e->function);
    p->decref(object);
    p->gil_release(gil);
    if (ok)
        exchange_plan(e->plans, n, plan, 1);
    return ok;
}

int duration_between(const Engine *e, int n, const VSMap *left, const VSMap *right, int64_t *num, int64_t *den,
                     char *message, const VSAPI *vsapi) {
    const Python *p = python();
    int gil;
    if (!enter(p, &gil)) {
        say(message, e->function, "Python is shutting down");
        return 0;
    }
    PyObject *duration = p->call_method(
        e->filter, "duration", "iLLLL", n, (long long)property(left, "_DurationNum", 0, vsapi),
        (long long)property(left, "_DurationDen", 0, vsapi), (long long)property(right, "_DurationNum", 0, vsapi),
        (long long)property(right, "_DurationDen", 0, vsapi));
    int ok = duration != NULL;
    *num = int_attribute(p, duration, "numerator", &ok);
    *den = int_attribute(p, duration, "denominator", &ok);
    if (!ok)
        say_raised(p, message, e->function);
    p->decref(duration);
    p->gil_release(gil);
    return ok;
}

/* ---------------------------------------------------------------- what the frames decide */

int equal(const VSFrame *a, const VSFrame *b, const VSAPI *vsapi) {
    if (a == b)
        return 1;
    for (int plane = 0; plane < vsapi->getVideoFrameFormat(a)->numPlanes; plane++) {
        const uint8_t *one = vsapi->getReadPtr(a, plane), *other = vsapi->getReadPtr(b, plane);
        if (one == other)
            continue;
        size_t length = (size_t)vsapi->getFrameWidth(a, plane) * sizeof(float);
        for (int y = 0; y < vsapi->getFrameHeight(a, plane); y++)
            if (memcmp(one + y * vsapi->getStride(a, plane), other + y * vsapi->getStride(b, plane), length))
                return 0;
    }
    return 1;
}

/* Whether a frame is the last of its scene, if that matters. */
static int at_cut(const Engine *e, const VSFrame *frame, const VSAPI *vsapi) {
    return e->cuts != IGNORE_CUTS && property(vsapi->getFramePropertiesRO(frame), CUT, 0, vsapi);
}

/* Whether motion goes on from one frame, which Cuts has seen, to the next one: not over a cut, and a repeated frame
 * tells nothing of it. */
static int goes_on(const Engine *e, const VSFrame *frame, const VSFrame *next, const VSAPI *vsapi) {
    return !at_cut(e, frame, vsapi) && !equal(frame, next, vsapi);
}

/* Seconds that a frame lasts: as the plan has it, or as the frame says; 0 where neither does. */
static double seconds(double planned, const VSFrame *frame, const VSAPI *vsapi) {
    if (planned > 0)
        return planned;
    const VSMap *properties = vsapi->getFramePropertiesRO(frame);
    double num = (double)property(properties, "_DurationNum", 0, vsapi);
    double den = (double)property(properties, "_DurationDen", 0, vsapi);
    return num > 0 && den > 0 ? num / den : 0;
}

/* Only frames at even distances tell by how much motion changes. Durations may be rounded: a fifth more is none, and
 * where a frame does not say how long it lasts, nothing speaks against it. */
static int evenly(double one, double other) {
    return one <= 0 || other <= 0 || (one <= 1.2 * other && other <= 1.2 * one);
}

int enlarges_with_neighbours(const Engine *e, int what) {
    return e->neighbours && what != MOTION && !e->same_size;
}

int uses_neighbours(const Engine *e, const FramePlan *plan, int what) {
    return enlarges_with_neighbours(e, what) || (e->neighbours && plan->right != plan->left && plan->t > 0);
}

/* Nothing is blended over a cut, and a repeated frame stays what it is, also at its own time: were it made with the
 * help of whatever comes next, it would not look the same twice. */
static int choose(const Engine *e, const FramePlan *plan, const VSFrame *previous, const VSFrame *left,
                  const VSFrame *right, const VSAPI *vsapi) {
    if (plan->right == plan->left || equal(left, right, vsapi))
        return LEFT;
    if (at_cut(e, left, vsapi))
        return plan->shows_right ? RIGHT : LEFT;
    return plan->t == 0 && previous && equal(previous, left, vsapi) ? LEFT : BETWEEN;
}

/* Whether a pair that begins with `first` is helped by the frame before it: not over a cut, not by one that it repeats,
 * and not at uneven distances. */
static int helps_before(const Engine *e, const FramePlan *plan, const VSFrame *before, int before_duration,
                        const VSFrame *first, int first_duration, const VSAPI *vsapi) {
    return before &&
           evenly(seconds(plan->durations[before_duration], before, vsapi),
                  seconds(plan->durations[first_duration], first, vsapi)) &&
           goes_on(e, before, first, vsapi);
}

Shown decide(const Engine *e, const FramePlan *plan, int what, const Sources *s, const VSAPI *vsapi) {
    Shown shown = {choose(e, plan, s->previous, s->left, s->right, vsapi), 0, 0, 0};
    if (shown.what == BETWEEN && uses_neighbours(e, plan, what)) {
        double pair = seconds(plan->durations[AT_LEFT], s->left, vsapi);
        double after = seconds(plan->durations[AT_RIGHT], s->right, vsapi);
        shown.before = helps_before(e, plan, s->previous, PREVIOUS, s->left, AT_LEFT, vsapi);
        shown.after = s->next && evenly(pair, after) && goes_on(e, s->right, s->next, vsapi);
    }
    /* A frame that ends a scene is the end of the pair before it, made like the rest of that pair. One that is repeated
     * is made alone, for it must look the same again. */
    if (shown.what == LEFT && enlarges_with_neighbours(e, what) && s->previous &&
        (plan->right == plan->left || !equal(s->left, s->right, vsapi)) && goes_on(e, s->previous, s->left, vsapi)) {
        shown.companion = 1;
        shown.before = helps_before(e, plan, s->earlier, EARLIER, s->previous, PREVIOUS, vsapi);
    }
    return shown;
}
