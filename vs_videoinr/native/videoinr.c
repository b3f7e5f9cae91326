/*
 * core.videoinr.*: the native entry of vs_videoinr.
 *
 * What VapourSynth needs fast or without Python is here: names and signatures, requests for source frames, frame
 * properties, conversion to RGB and back by the core's own resize. What an output frame is and how it is made is
 * Python's business (vs_videoinr/filter.py), called with plane addresses and numbers; Python never holds a node or a
 * frame, so nothing of a script outlives it.
 *
 * One clip runs through
 *
 *     clip -> Guard -+-> resize (RGBS) -> Cuts -> Render -> resize (the clip's format) -+-> Upscale / Query -> out
 *                    +------------------------------------------------------------------+
 *
 * Guard refuses frames that cannot be right, Cuts marks the last frames of scenes, Render calls the network, and the
 * last filter puts the properties on and lets source frames through untouched where the output is the source. A clip's
 * _Alpha goes the same way beside it; Flow ends with colours or numbers instead of the clip's format. Nothing of Python is linked: the few functions
 * of its stable ABI are looked up in the running process, so that one binary serves every Python from 3.12 up.
 *
 * Python runs in the main interpreter only (PyGILState_*): subinterpreters and free-threaded builds are not supported.
 * Windows and macOS are written with care but have not been tried.
 */

#if !defined(_WIN32) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE /* RTLD_DEFAULT */
#endif

#define VS_USE_API_42 /* the numbering of _Range, and the oldest core that is supported has it */
#include "VSConstants4.h"
#include "VSHelper4.h"
#include "VapourSynth4.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef _WIN32
#include <windows.h>
#else
#include <dlfcn.h>
#endif

#ifndef VIDEOINR_MAJOR /* setup.py passes the package's version */
#define VIDEOINR_MAJOR 0
#define VIDEOINR_MINOR 0
#endif

/* Messages, what stands behind the function's name in them, and others' words within that. */
enum { MESSAGE_SIZE = 4096, TEXT_SIZE = MESSAGE_SIZE - 16, REASON_SIZE = TEXT_SIZE - 80 };

/* ---------------------------------------------------------------- Python, found in the process */

typedef struct PyObject PyObject;
typedef ptrdiff_t PySize;

typedef struct Python {
    int (*gil_ensure)(void);
    void (*gil_release)(int);
    int (*is_initialized)(void);
    int (*is_finalizing)(void);
    PyObject *(*import_module)(const char *);
    PyObject *(*call_method)(PyObject *, const char *, const char *, ...);
    PyObject *(*build)(const char *, ...);
    int (*parse)(PyObject *, const char *, ...);
    void (*incref)(PyObject *);
    void (*decref)(PyObject *);
    PyObject *(*get_raised)(void);
    void (*clear_error)(void);
    const char *(*utf8)(PyObject *, PySize *);
    PyObject *(*decode_utf8)(const char *, PySize, const char *);
    PyObject *(*new_dict)(void);
    int (*dict_set)(PyObject *, const char *, PyObject *);
    PyObject *(*dict_get)(PyObject *, const char *);
    PyObject *(*new_list)(PySize);
    int (*list_append)(PyObject *, PyObject *);
    PySize (*list_size)(PyObject *);
    PyObject *(*list_get)(PyObject *, PySize);
    PyObject *(*from_int)(long long);
    PyObject *(*from_float)(double);
    PyObject *(*from_memory)(char *, PySize, int);
} Python;

static void *symbol(const char *name) {
#ifdef _WIN32
    HMODULE module = GetModuleHandleA("python3.dll");
    return module ? (void *)(uintptr_t)GetProcAddress(module, name) : NULL;
#else
    return dlsym(RTLD_DEFAULT, name);
#endif
}

/* ISO C has no conversion from an object pointer to a function pointer; the two have one size wherever dlsym exists. */
static int find(void *function, const char *name) {
    void *address = symbol(name);
    memcpy(function, &address, sizeof address);
    return address != NULL;
}

/* The functions of the Python that runs in this process, or NULL if there is none. */
static const Python *python(void) {
    static _Atomic(Python *) found;
    Python *known = atomic_load(&found);
    if (known)
        return known;

    Python *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    int complete =
        find(&p->gil_ensure, "PyGILState_Ensure") && find(&p->gil_release, "PyGILState_Release") &&
        find(&p->is_initialized, "Py_IsInitialized") &&
        (find(&p->is_finalizing, "Py_IsFinalizing") || find(&p->is_finalizing, "_Py_IsFinalizing")) &&
        find(&p->import_module, "PyImport_ImportModule") && find(&p->call_method, "PyObject_CallMethod") &&
        find(&p->build, "Py_BuildValue") && find(&p->parse, "PyArg_ParseTuple") && find(&p->incref, "Py_IncRef") &&
        find(&p->decref, "Py_DecRef") && find(&p->get_raised, "PyErr_GetRaisedException") &&
        find(&p->clear_error, "PyErr_Clear") && find(&p->utf8, "PyUnicode_AsUTF8AndSize") &&
        find(&p->decode_utf8, "PyUnicode_DecodeUTF8") && find(&p->new_dict, "PyDict_New") &&
        find(&p->dict_set, "PyDict_SetItemString") && find(&p->dict_get, "PyDict_GetItemString") &&
        find(&p->new_list, "PyList_New") && find(&p->list_append, "PyList_Append") &&
        find(&p->list_size, "PyList_Size") && find(&p->list_get, "PyList_GetItem") &&
        find(&p->from_int, "PyLong_FromLongLong") && find(&p->from_float, "PyFloat_FromDouble") &&
        find(&p->from_memory, "PyMemoryView_FromMemory");
    Python *nobody = NULL;
    if (!complete || !p->is_initialized()) {
        free(p);
        return NULL;
    }
    if (!atomic_compare_exchange_strong(&found, &nobody, p)) { /* another core was faster */
        free(p);
        return nobody;
    }
    return p;
}

/* Take the GIL. Returns 0, holding nothing, if Python is not there or on its way out. */
static int enter(const Python *p, int *gil) {
    if (!p || !p->is_initialized() || p->is_finalizing())
        return 0;
    *gil = p->gil_ensure();
    return 1;
}

/* "Function: text" on one line. */
static void say(char *message, const char *function, const char *text) {
    int length = snprintf(message, MESSAGE_SIZE, "%s: %s", function, text);
    for (char *c = message; *c; c++)
        if ((unsigned char)*c < ' ')
            *c = ' ';
    /* What does not fit is cut off, but not within one of UTF-8's characters. */
    if (length >= MESSAGE_SIZE) {
        size_t end = MESSAGE_SIZE - 1;
        while (end > 0 && ((unsigned char)message[end - 1] & 0xC0) == 0x80)
            end--;
        if (end > 0 && (unsigned char)message[end - 1] >= 0xC0)
            end--;
        message[end] = '\0';
    }
}

/* Turn the Python exception that is set into a message; vs_videoinr.filter.describe knows which words to use. */
static void say_raised(const Python *p, char *message, const char *function) {
    PyObject *raised = p->get_raised();
    PyObject *module = p->import_module("vs_videoinr.filter");
    PyObject *text = module && raised ? p->call_method(module, "describe", "O", raised) : NULL;
    const char *utf8 = text ? p->utf8(text, NULL) : NULL;
    if (utf8) {
        say(message, function, utf8);
    } else {
        /* The package itself cannot be imported: the words of that failure are all there is. */
        p->clear_error();
        PyObject *why = raised ? p->call_method(raised, "__str__", NULL) : NULL;
        const char *words = why ? p->utf8(why, NULL) : NULL;
        char line[TEXT_SIZE];
        snprintf(line, sizeof line, "cannot use the Python package vs_videoinr: %s", words ? words : "unknown reason");
        say(message, function, line);
        p->decref(why);
    }
    p->clear_error();
    p->decref(text);
    p->decref(module);
    p->decref(raised);
}

/* ---------------------------------------------------------------- what the filters of one call share */

enum { IGNORE_CUTS, HOLD, SWITCH }; /* what is done about a cut: Filter.output says which */

typedef struct Engine {
    const char *function; /* "Upscale", "Query" or "Flow": how its messages begin */
    PyObject *filter;     /* vs_videoinr.filter.Filter */
    atomic_int users;
    int flow;       /* the output is the motion */
    int same_size;  /* the output is like the clip: source frames may pass */
    int vfr;        /* durations follow those of the source frames */
    int cuts;       /* IGNORE_CUTS, HOLD or SWITCH */
    int around;     /* the frames around a pair tell of its motion and detail, too */
    VSVideoFormat alpha; /* of the transparency that the clip's frames carry; cfUndefined: none */
    int yuv;        /* a matrix is needed */
    int subsampled; /* a chroma location is used */
    int64_t matrix; /* what the way back to the clip's format uses, from its first frame */
    int64_t range;
    int64_t default_range;
    int64_t chroma_location;
} Engine;

static void engine_release(Engine *e) {
    if (!e || atomic_fetch_sub(&e->users, 1) != 1)
        return;
    const Python *p = python();
    int gil;
    /* After the interpreter the object's memory is not ours to touch any more, and there is no one to leak it for. */
    if (e->filter && enter(p, &gil)) {
        PyObject *none = p->call_method(e->filter, "close", NULL);
        if (!none)
            p->clear_error();
        p->decref(none);
        p->decref(e->filter);
        p->gil_release(gil);
    }
    free(e);
}

/* Where output frame n comes from: the answer of Filter.locate. */
typedef struct Place {
    int left, right; /* source frames; equal where there is nothing to move towards */
    double t;        /* from left (0) to right (1) */
    int on_source;   /* the frame falls on a source frame's time */
    int first, last; /* of the frames that have this left one */
    int first_late;  /* of those, the first that is nearer to the right one */
    int last_early;  /* of those, the last that is nearer to the left one */
    int foreshown;   /* the output frame before is nearer to this left frame than to its own */
    long long duration_num, duration_den; /* 0/0: ask Filter.duration with those of left and right */
} Place;

static int locate(const Engine *e, int n, Place *place, char *message) {
    const Python *p = python();
    int gil;
    if (!enter(p, &gil)) {
        say(message, e->function, "Python is shutting down");
        return 0;
    }
    PyObject *answer = p->call_method(e->filter, "locate", "i", n);
    int ok = answer && p->parse(answer, "iidiiiiiiLL", &place->left, &place->right, &place->t, &place->on_source,
                                &place->first, &place->last, &place->first_late, &place->last_early,
                                &place->foreshown, &place->duration_num, &place->duration_den);
    if (!ok)
        say_raised(p, message, e->function);
    p->decref(answer);
    p->gil_release(gil);
    return ok;
}

/* ---------------------------------------------------------------- Guard */

typedef struct Guard {
    VSNode *node;
    Engine *engine;
} Guard;

/* The format of a frame's transparency; undefined where it has none that fits the picture. */
static VSVideoFormat alpha_format(const VSFrame *frame, const VSAPI *vsapi) {
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

/* A property, or `missing` where the frame does not have it. */
static int64_t property(const VSMap *map, const char *key, int64_t missing, const VSAPI *vsapi) {
    int error;
    int64_t value = vsapi->mapGetInt(map, key, 0, &error);
    return error ? missing : value;
}

static const VSFrame *VS_CC guard_frame(int n, int reason, void *instance, void **frame_data, VSFrameContext *context,
                                        VSCore *core, const VSAPI *vsapi) {
    (void)frame_data;
    (void)core;
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
        return frame;
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

/* ---------------------------------------------------------------- Cuts */

/* Properties that only the filters of one call see. */
#define CUT "_VideoINRCut"   /* the next frame begins another scene */
#define HELD "_VideoINRHeld" /* the picture is that of LEFT or RIGHT, as it is */

typedef struct Cuts {
    VSNode *node; /* RGBS or GRAYS */
    Engine *engine;
    int last; /* frame of the clip */
} Cuts;

/* The planes of a frame as ((memory, stride), …). `writable` frames must not be shared. */
static PyObject *planes(const Python *p, const VSFrame *frame, VSFrame *writable, const VSAPI *vsapi) {
    PyObject *plane[3] = {NULL, NULL, NULL};
    int count = vsapi->getVideoFrameFormat(frame)->numPlanes;
    for (int i = 0; i < count; i++) {
        PySize stride = vsapi->getStride(frame, i);
        PySize size = stride * vsapi->getFrameHeight(frame, i);
        uint8_t *address =
            writable ? vsapi->getWritePtr(writable, i) : (uint8_t *)(uintptr_t)vsapi->getReadPtr(frame, i);
        PyObject *memory = p->from_memory((char *)address, size, writable ? 0x200 /* PyBUF_WRITE */ : 0x100);
        plane[i] = memory ? p->build("(Nn)", memory, stride) : NULL;
        if (!plane[i]) {
            for (int k = 0; k < i; k++)
                p->decref(plane[k]);
            return NULL;
        }
    }
    return count == 1 ? p->build("(N)", plane[0]) : p->build("(NNN)", plane[0], plane[1], plane[2]);
}

/* The planes of a frame that may be missing: None. */
static PyObject *planes_or_none(const Python *p, const VSFrame *frame, const VSAPI *vsapi) {
    return frame ? planes(p, frame, NULL, vsapi) : p->build("");
}

/* Whether `frame` is the last of its scene; -1 with a message if that cannot be told. `before` and `after` are the frames
 * around the two, or NULL. */
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
    PyObject *tuple = answer ? p->build("(O)", answer) : NULL;
    if (!tuple || !p->parse(tuple, "p", &cut))
        say_raised(p, message, c->engine->function);
    p->decref(tuple);
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
        int around = *frame_data != NULL; /* the second time */
        const VSFrame *next = vsapi->getFrameFilter(n + 1, c->node, context);
        const VSFrame *before = around && n > 0 ? vsapi->getFrameFilter(n - 1, c->node, context) : NULL;
        const VSFrame *after = around && n + 1 < c->last ? vsapi->getFrameFilter(n + 2, c->node, context) : NULL;
        cut = find_cut(c, before && mark_of(before, vsapi) > 0 ? NULL : before, frame, next,
                       mark_of(next, vsapi) > 0 ? NULL : after, message, vsapi);
        vsapi->freeFrame(after);
        vsapi->freeFrame(before);
        vsapi->freeFrame(next);
        if (cut > 0 && !around && c->last > 1) {
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

/* ---------------------------------------------------------------- Render */

enum { BETWEEN, LEFT, RIGHT };      /* what an output frame shows: something new, or a source frame as it is */
enum { PICTURE, TRANSPARENCY, MOTION }; /* what Filter.render makes */

typedef struct Render {
    VSNode *node;   /* RGBS, or GRAYS for a clip that is gray */
    VSNode *marked; /* the same by Cuts, which looks one frame ahead, for frames of which that is to be known */
    Engine *engine;
    VSVideoInfo output;
    int what;
    int last; /* frame of the clip */
    const VSFrame *source, *picture; /* the source frame that was shown as it is last, and how that looks */
    const VSFrame *companion;        /* the frame before it, with which it was made; NULL: it was made alone */
} Render;

/* `before` and `after` are the frames around the pair, or NULL. */
static int render_pair(const Render *r, int left, int right, double t, const VSFrame *before, const VSFrame *frame0,
                       const VSFrame *frame1, const VSFrame *after, VSFrame *output, char *message,
                       const VSAPI *vsapi) {
    const Python *p = python();
    int gil;
    if (!enter(p, &gil)) {
        say(message, r->engine->function, "Python is shutting down");
        return 0;
    }
    PyObject *in0 = planes(p, frame0, NULL, vsapi);
    PyObject *in1 = in0 ? planes(p, frame1, NULL, vsapi) : NULL;
    PyObject *out = in1 ? planes(p, output, output, vsapi) : NULL;
    PyObject *first = out ? planes_or_none(p, before, vsapi) : NULL;
    PyObject *last = first ? planes_or_none(p, after, vsapi) : NULL;
    PyObject *none = last ? p->call_method(r->engine->filter, "render", "iiidOOOOO", r->what, left, right, t, in0, in1,
                                           out, first, last)
                          : NULL;
    int ok = none != NULL;
    if (!ok)
        say_raised(p, message, r->engine->function);
    p->decref(none);
    p->decref(last);
    p->decref(first);
    p->decref(out);
    p->decref(in1);
    p->decref(in0);
    p->gil_release(gil);
    return ok;
}

/* Whether two frames look alike to the last bit; frames that do not differ early, as a rule. */
static int equal(const VSFrame *a, const VSFrame *b, const VSAPI *vsapi) {
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

/* What an output frame shows. Nothing is blended over a cut, and a repeated frame stays what it is, also at its own
 * time: were it made with the help of whatever comes next, it would not look the same twice. */
static int choose(const Render *r, const Place *place, const VSFrame *previous, const VSFrame *left,
                  const VSFrame *right, const VSAPI *vsapi) {
    if (place->right == place->left || equal(left, right, vsapi))
        return LEFT;
    if (property(vsapi->getFramePropertiesRO(left), CUT, 0, vsapi))
        return r->engine->cuts == SWITCH && place->t >= 0.5 ? RIGHT : LEFT;
    return place->t == 0 && previous && equal(previous, left, vsapi) ? LEFT : BETWEEN;
}

/* Whether motion goes on from one frame to the next one: not over a cut, and a repeated frame tells nothing of it. */
static int goes_on(const VSFrame *frame, const VSFrame *next, const VSAPI *vsapi) {
    return !property(vsapi->getFramePropertiesRO(frame), CUT, 0, vsapi) && !equal(frame, next, vsapi);
}

/* Whether two frames last equally long, but for a fifth (durations may be rounded), as far as they say: only frames at
 * even distances tell by how much motion changes. Timecodes.evenly is the same for clips of which more is known. */
static int evenly(const VSFrame *one, const VSFrame *other, const VSAPI *vsapi) {
    double lasts[2];
    const VSFrame *frames[2] = {one, other};
    for (int i = 0; i < 2; i++) {
        const VSMap *properties = vsapi->getFramePropertiesRO(frames[i]);
        double num = (double)property(properties, "_DurationNum", 0, vsapi);
        double den = (double)property(properties, "_DurationDen", 0, vsapi);
        if (num <= 0 || den <= 0)
            return 1;
        lasts[i] = num / den;
    }
    return lasts[0] <= 1.2 * lasts[1] && lasts[1] <= 1.2 * lasts[0];
}

/* A source frame as it looks in the output: made once for all the times that it is shown. `companion` is the frame before
 * it where that shows more of it, or NULL. */
static VSFrame *show(Render *r, int number, const VSFrame *source, const VSFrame *companion, char *message,
                     VSCore *core, const VSAPI *vsapi) {
    if (r->engine->same_size)
        return vsapi->copyFrame(source, core);
    int alike = r->picture && equal(r->source, source, vsapi) && !r->companion == !companion &&
                (!companion || equal(r->companion, companion, vsapi));
    if (!alike) {
        VSFrame *picture = vsapi->newVideoFrame(&r->output.format, r->output.width, r->output.height,
                                                r->what == PICTURE ? source : NULL, core);
        int made = companion ? render_pair(r, number - 1, number, 1.0, NULL, companion, source, NULL, picture, message,
                                           vsapi)
                             : render_pair(r, number, number, 0.0, NULL, source, source, NULL, picture, message, vsapi);
        if (!made) {
            vsapi->freeFrame(picture);
            return NULL;
        }
        vsapi->freeFrame(r->source);
        vsapi->freeFrame(r->companion);
        vsapi->freeFrame(r->picture);
        r->source = vsapi->addFrameRef(source);
        r->companion = companion ? vsapi->addFrameRef(companion) : NULL;
        r->picture = picture;
    }
    return vsapi->copyFrame(r->picture, core);
}

/* Whether neighbours show something of a source frame at its own time: detail, where it is enlarged. */
static int detailed(const Render *r) {
    return r->engine->around && r->what != MOTION && !r->engine->same_size;
}

/* Whether the network wants to see the frames around a pair, which tell of motion in it and of detail. */
static int looks_around(const Render *r, const Place *place) {
    return detailed(r) || (r->engine->around && place->right != place->left && place->t > 0);
}

/* Whether a source frame that is shown as it is ends a scene: the frame before it is its only neighbour then. One that is
 * repeated has none, for it must look the same again. */
static int ends_scene(const Render *r, const Place *place, const VSFrame *previous, const VSFrame *left,
                      const VSFrame *right, const VSAPI *vsapi) {
    return detailed(r) && previous && (place->right == place->left || !equal(left, right, vsapi)) &&
           goes_on(previous, left, vsapi);
}

static const VSFrame *VS_CC render_frame(int n, int reason, void *instance, void **frame_data, VSFrameContext *context,
                                         VSCore *core, const VSAPI *vsapi) {
    Render *r = instance; /* one thread at a time has frames ready: fmParallelRequests */
    char message[MESSAGE_SIZE];
    Place *place = *frame_data;

    if (reason == arInitial) {
        place = malloc(sizeof *place);
        if (!place || !locate(r->engine, n, place, message)) {
            if (!place)
                say(message, r->engine->function, "out of memory");
            free(place);
            vsapi->setFilterError(message, context);
            return NULL;
        }
        *frame_data = place;
        vsapi->requestFrameFilter(place->left, r->marked, context);
        int around = looks_around(r, place);
        if (place->right != place->left)
            vsapi->requestFrameFilter(place->right, around ? r->marked : r->node, context);
        if (place->left > 0 && (around || place->t == 0))
            vsapi->requestFrameFilter(place->left - 1, around ? r->marked : r->node, context);
        if (place->right < r->last && around)
            vsapi->requestFrameFilter(place->right + 1, r->node, context);
        return NULL;
    }
    if (reason != arAllFramesReady) {
        free(place);
        *frame_data = NULL;
        return NULL;
    }

    int around = looks_around(r, place);
    VSNode *beside = around ? r->marked : r->node;
    const VSFrame *left = vsapi->getFrameFilter(place->left, r->marked, context);
    const VSFrame *right = place->right == place->left ? vsapi->addFrameRef(left)
                                                       : vsapi->getFrameFilter(place->right, beside, context);
    const VSFrame *previous = place->left > 0 && (around || place->t == 0)
                                  ? vsapi->getFrameFilter(place->left - 1, beside, context)
                                  : NULL;
    const VSFrame *next =
        place->right < r->last && around ? vsapi->getFrameFilter(place->right + 1, r->node, context) : NULL;
    int shown = choose(r, place, previous, left, right, vsapi);
    VSFrame *output;
    if (shown == BETWEEN) {
        output = vsapi->newVideoFrame(&r->output.format, r->output.width, r->output.height,
                                      r->what == PICTURE ? left : NULL, core);
        const VSFrame *before = around && previous && goes_on(previous, left, vsapi) && evenly(previous, left, vsapi)
                                    ? previous
                                    : NULL;
        const VSFrame *after =
            next && goes_on(right, next, vsapi) && evenly(left, right, vsapi) ? next : NULL;
        if (!render_pair(r, place->left, place->right, place->t, before, left, right, after, output, message,
                         vsapi)) {
            vsapi->freeFrame(output);
            output = NULL;
        }
    } else if (shown == LEFT) {
        const VSFrame *companion = ends_scene(r, place, previous, left, right, vsapi) ? previous : NULL;
        output = show(r, place->left, left, companion, message, core, vsapi);
    } else {
        output = show(r, place->right, right, NULL, message, core, vsapi);
    }
    vsapi->freeFrame(next);
    vsapi->freeFrame(previous);
    vsapi->freeFrame(right);
    vsapi->freeFrame(left);
    free(place);
    *frame_data = NULL;
    if (!output)
        vsapi->setFilterError(message, context);
    else
        vsapi->mapSetInt(vsapi->getFramePropertiesRW(output), HELD, shown, maReplace);
    return output;
}

static void VS_CC render_free(void *instance, VSCore *core, const VSAPI *vsapi) {
    (void)core;
    Render *r = instance;
    vsapi->freeFrame(r->source);
    vsapi->freeFrame(r->companion);
    vsapi->freeFrame(r->picture);
    vsapi->freeNode(r->marked);
    vsapi->freeNode(r->node);
    engine_release(r->engine);
    free(r);
}

/* ---------------------------------------------------------------- the last filter */

typedef struct Output {
    VSNode *source;   /* behind Guard */
    VSNode *rendered; /* in the output's format */
    VSNode *alpha;    /* its _Alpha; NULL where there is none */
    Engine *engine;
    VSVideoInfo info;
} Output;

/* The duration of a variable rate clip's frame, from those of the source frames that it lies in. */
static int duration_between(const Output *o, int n, const VSMap *left, const VSMap *right, int64_t *num, int64_t *den,
                            char *message, const VSAPI *vsapi) {
    const Python *p = python();
    int gil;
    if (!enter(p, &gil)) {
        say(message, o->engine->function, "Python is shutting down");
        return 0;
    }
    long long answer[2] = {0, 0};
    PyObject *pair = p->call_method(o->engine->filter, "duration", "iLLLL", n,
                                    (long long)property(left, "_DurationNum", 0, vsapi),
                                    (long long)property(left, "_DurationDen", 0, vsapi),
                                    (long long)property(right, "_DurationNum", 0, vsapi),
                                    (long long)property(right, "_DurationDen", 0, vsapi));
    int ok = pair && p->parse(pair, "LL", &answer[0], &answer[1]);
    if (!ok)
        say_raised(p, message, o->engine->function);
    p->decref(pair);
    p->gil_release(gil);
    *num = answer[0];
    *den = answer[1];
    return ok;
}

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
static void correct_scenes(const Output *o, VSMap *properties, const Place *place, int shown, const VSAPI *vsapi) {
    int switches = o->engine->cuts == SWITCH;
    int keep_previous, keep_next;
    if (shown == RIGHT) { /* of the frames after the switch, the right one's own come later */
        keep_previous = place->first_late;
        keep_next = 0;
    } else {
        keep_previous = place->first && !(switches && place->foreshown);
        keep_next = switches && place->right != place->left ? place->last_early : place->last;
    }
    if (!keep_previous)
        vsapi->mapDeleteKey(properties, "_SceneChangePrev");
    if (!keep_next)
        vsapi->mapDeleteKey(properties, "_SceneChangeNext");
}

/* Everything that is true of a source frame but not of the frame made from it. */
static void correct_properties(const Output *o, VSMap *properties, const Place *place, int shown, int is_source,
                               int64_t num, int64_t den, const VSAPI *vsapi) {
    if (num > 0 && den > 0) {
        vsapi->mapSetInt(properties, "_DurationNum", num, maReplace);
        vsapi->mapSetInt(properties, "_DurationDen", den, maReplace);
    } else {
        vsapi->mapDeleteKey(properties, "_DurationNum");
        vsapi->mapDeleteKey(properties, "_DurationDen");
    }
    correct_scenes(o, properties, place, shown, vsapi);
    if (!place->on_source) {
        vsapi->mapDeleteKey(properties, "_AbsoluteTime");
        vsapi->mapDeleteKey(properties, "_PictType");
    }
    if (is_source)
        return;
    vsapi->mapDeleteKey(properties, "_Field");
    vsapi->mapDeleteKey(properties, "_Alpha"); /* has the source's size and time */
    if (o->engine->flow) {                     /* colours of our own: RGB as screens have it */
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

static const VSFrame *VS_CC output_frame(int n, int reason, void *instance, void **frame_data, VSFrameContext *context,
                                         VSCore *core, const VSAPI *vsapi) {
    const Output *o = instance;
    char message[MESSAGE_SIZE];
    Place *state = *frame_data;

    if (reason == arInitial) {
        state = malloc(sizeof *state);
        if (!state || !locate(o->engine, n, state, message)) {
            if (!state)
                say(message, o->engine->function, "out of memory");
            free(state);
            vsapi->setFilterError(message, context);
            return NULL;
        }
        *frame_data = state;
        vsapi->requestFrameFilter(state->left, o->source, context);
        if ((o->engine->vfr || o->engine->cuts == SWITCH) && state->right != state->left)
            vsapi->requestFrameFilter(state->right, o->source, context);
        if (!o->engine->same_size || state->t > 0) {
            vsapi->requestFrameFilter(n, o->rendered, context);
            if (o->alpha)
                vsapi->requestFrameFilter(n, o->alpha, context);
        }
        return NULL;
    }
    if (reason != arAllFramesReady) {
        free(state);
        *frame_data = NULL;
        return NULL;
    }

    const Place place = *state;
    free(state);
    *frame_data = NULL;
    const VSFrame *left = vsapi->getFrameFilter(place.left, o->source, context);
    const VSFrame *right = (o->engine->vfr || o->engine->cuts == SWITCH) && place.right != place.left
                               ? vsapi->getFrameFilter(place.right, o->source, context)
                               : vsapi->addFrameRef(left);
    const VSFrame *rendered =
        !o->engine->same_size || place.t > 0 ? vsapi->getFrameFilter(n, o->rendered, context) : NULL;
    int shown = rendered ? (int)property(vsapi->getFramePropertiesRO(rendered), HELD, BETWEEN, vsapi) : LEFT;
    int is_source = o->engine->same_size && shown != BETWEEN;
    const VSFrame *like = shown == RIGHT ? right : left;

    VSFrame *frame;
    if (is_source) {
        frame = vsapi->copyFrame(like, core);
    } else {
        const VSFrame *from[3] = {rendered, rendered, rendered};
        const int plane[3] = {0, 1, 2};
        frame = vsapi->newVideoFrame2(&o->info.format, o->info.width, o->info.height, from, plane, like, core);
    }
    vsapi->freeFrame(rendered);

    VSMap *properties = vsapi->getFramePropertiesRW(frame);
    int64_t num = place.duration_num, den = place.duration_den;
    int ok = !o->engine->vfr || duration_between(o, n, vsapi->getFramePropertiesRO(left),
                                                 vsapi->getFramePropertiesRO(right), &num, &den, message, vsapi);
    if (ok) {
        correct_properties(o, properties, &place, shown, is_source, num, den, vsapi);
        if (!is_source)
            keep_aspect(properties, like, &o->info, vsapi);
        if (!is_source && o->alpha) {
            const VSFrame *made = vsapi->getFrameFilter(n, o->alpha, context);
            const int first = 0;
            VSFrame *alpha = vsapi->newVideoFrame2(vsapi->getVideoFrameFormat(made), o->info.width, o->info.height,
                                                   &made, &first, NULL, core);
            vsapi->mapSetInt(vsapi->getFramePropertiesRW(alpha), "_Range", 1, maReplace);
            vsapi->mapConsumeFrame(properties, "_Alpha", alpha, maReplace);
            vsapi->freeFrame(made);
        }
    } else {
        vsapi->freeFrame(frame);
        frame = NULL;
        vsapi->setFilterError(message, context);
    }
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

/* ---------------------------------------------------------------- creation */

/* The arguments as a dict: integers, floats, strings; arrays as lists. Only those that were given. */
static PyObject *arguments(const Python *p, const VSMap *in, const VSAPI *vsapi) {
    PyObject *dict = p->new_dict();
    for (int k = 0; dict && k < vsapi->mapNumKeys(in); k++) {
        const char *key = vsapi->mapGetKey(in, k);
        int type = vsapi->mapGetType(in, key);
        int count = vsapi->mapNumElements(in, key);
        int is_array = !strcmp(key, "times") || !strcmp(key, "seconds");
        if (type != ptInt && type != ptFloat && type != ptData)
            continue;
        PyObject *list = p->new_list(0);
        int ok = list != NULL;
        for (int i = 0; ok && i < count; i++) {
            PyObject *value = NULL;
            if (type == ptInt)
                value = p->from_int(vsapi->mapGetInt(in, key, i, NULL));
            else if (type == ptFloat)
                value = p->from_float(vsapi->mapGetFloat(in, key, i, NULL));
            else
                value = p->decode_utf8(vsapi->mapGetData(in, key, i, NULL), vsapi->mapGetDataSize(in, key, i, NULL),
                                       "surrogateescape");
            ok = value && p->list_append(list, value) == 0;
            p->decref(value);
        }
        if (ok)
            ok = p->dict_set(dict, key, is_array ? list : p->list_get(list, 0)) == 0;
        p->decref(list);
        if (!ok) {
            p->decref(dict);
            dict = NULL;
        }
    }
    return dict;
}

/* Have Python check the arguments and prepare the network; learn what the output is. */
static int prepare(Engine *e, const VSVideoInfo *source, VSVideoInfo *output, const VSMap *in, char *message,
                   VSCore *core, const VSAPI *vsapi) {
    const Python *p = python();
    int gil;
    if (!enter(p, &gil)) {
        say(message, e->function, "there is no Python in this process; run the script with vspipe or from Python");
        return 0;
    }
    char format[32] = "";
    if (source->format.colorFamily != cfUndefined)
        vsapi->getVideoFormatName(&source->format, format);
    PyObject *module = p->import_module("vs_videoinr.filter");
    PyObject *given = module ? arguments(p, in, vsapi) : NULL;
    PyObject *clip =
        given ? p->build("(siiiiiiiiLL)", format, source->format.colorFamily, source->format.sampleType,
                         source->format.bitsPerSample, source->format.subSamplingW, source->format.subSamplingH,
                         source->width, source->height, source->numFrames, (long long)source->fpsNum,
                         (long long)source->fpsDen)
              : NULL;
    e->filter = clip ? p->call_method(module, "create", "sOO", e->function, clip, given) : NULL;
    PyObject *answer = e->filter ? p->call_method(e->filter, "output", NULL) : NULL;
    long long fps[2] = {0, 1};
    *output = *source;
    int ok = answer && p->parse(answer, "iiiLLip", &output->width, &output->height, &output->numFrames, &fps[0],
                                &fps[1], &e->cuts, &e->around);
    if (!ok)
        say_raised(p, message, e->function);
    p->decref(answer);
    p->decref(clip);
    p->decref(given);
    p->decref(module);
    p->gil_release(gil);
    if (e->flow) {
        int error;
        int data = vsapi->mapGetInt(in, "data", 0, &error) != 0 && !error;
        vsapi->getVideoFormatByID(&output->format, data ? pfRGBS : pfRGB24, core);
    }
    output->fpsNum = fps[0];
    output->fpsDen = fps[0] ? fps[1] : 0; /* a variable rate is 0/0 */
    e->same_size = !e->flow && output->width == source->width && output->height == source->height;
    e->vfr = fps[0] == 0;
    e->yuv = source->format.colorFamily == cfYUV;
    e->subsampled = source->format.subSamplingW || source->format.subSamplingH;
    e->default_range = source->format.colorFamily == cfRGB ? 1 : 0;
    return ok;
}

/* Call a function of VapourSynth's own on `node`, with what `map` holds besides. Consumes `node` and `map`. */
static VSNode *call(const Engine *e, const char *plugin, const char *function, VSNode *node, VSMap *map, char *message,
                    VSCore *core, const VSAPI *vsapi) {
    VSNode *result = NULL;
    vsapi->mapConsumeNode(map, "clip", node, maReplace);
    VSMap *out = vsapi->invoke(vsapi->getPluginByID(plugin, core), function, map);
    if (vsapi->mapGetError(out))
        say(message, e->function, vsapi->mapGetError(out));
    else
        result = vsapi->mapGetNode(out, "clip", 0, NULL);
    vsapi->freeMap(out);
    vsapi->freeMap(map);
    return result;
}

static VSNode *convert(const Engine *e, VSNode *node, VSMap *map, char *message, VSCore *core, const VSAPI *vsapi) {
    return call(e, VSH_RESIZE_PLUGIN_ID, "Bicubic", node, map, message, core, vsapi);
}

static uint32_t format_id(const VSVideoFormat *f, VSCore *core, const VSAPI *vsapi) {
    return vsapi->queryVideoFormatID(f->colorFamily, f->sampleType, f->bitsPerSample, f->subSamplingW, f->subSamplingH,
                                     core);
}

/* Choose how to go back to the clip's format, from its first frame, and see whether it has transparency. */
static int learn_colour(Engine *e, VSNode *guarded, char *message, const VSAPI *vsapi) {
    char why[REASON_SIZE] = "";
    char text[TEXT_SIZE];
    const VSFrame *frame = vsapi->getFrame(0, guarded, why, sizeof why);
    if (!frame) {
        size_t own = strlen(e->function);
        int from_guard = !strncmp(why, e->function, own) && !strncmp(why + own, ": ", 2);
        snprintf(text, sizeof text, from_guard ? "%s" : "the clip's first frame cannot be read: %s",
                 from_guard ? why + own + 2 : why);
        say(message, e->function, text);
        return 0;
    }
    const VSMap *properties = vsapi->getFramePropertiesRO(frame);
    e->matrix = property(properties, "_Matrix", 2, vsapi);
    e->range = property(properties, "_Range", e->default_range, vsapi);
    e->chroma_location = property(properties, "_ChromaLocation", VSC_CHROMA_LEFT, vsapi);
    if (e->chroma_location < VSC_CHROMA_LEFT)
        e->chroma_location = VSC_CHROMA_LEFT;
    if (!e->flow)
        e->alpha = alpha_format(frame, vsapi);
    vsapi->freeFrame(frame);
    return 1;
}

/* A frame that resize cannot convert fails here, at creation, and not in the middle of an encode. */
static int try_frame(const Engine *e, VSNode *node, char *message, const VSAPI *vsapi) {
    char why[REASON_SIZE] = "";
    char text[TEXT_SIZE];
    const VSFrame *frame = vsapi->getFrame(0, node, why, sizeof why);
    if (!frame) {
        snprintf(text, sizeof text, "the clip cannot be converted to RGB: %s", why);
        say(message, e->function, text);
    }
    vsapi->freeFrame(frame);
    return frame != NULL;
}

static VSNode *out_of_memory(const Engine *e, VSNode *clip, char *message, const VSAPI *vsapi) {
    vsapi->freeNode(clip);
    say(message, e->function, "out of memory");
    return NULL;
}

/* The stages of the graph, each on top of `clip`, which it consumes. A filter that was created owns its instance. All
 * return NULL on failure, mostly with a message. */

static VSNode *add_guard(Engine *e, VSNode *clip, char *message, VSCore *core, const VSAPI *vsapi) {
    Guard *g = calloc(1, sizeof *g);
    if (!g)
        return out_of_memory(e, clip, message, vsapi);
    g->node = clip;
    g->engine = e;
    atomic_fetch_add(&e->users, 1);
    VSFilterDependency on[] = {{clip, rpStrictSpatial}};
    VSNode *node = vsapi->createVideoFilter2("Guard", vsapi->getVideoInfo(clip), guard_frame, guard_free, fmParallel,
                                             on, 1, g, core);
    if (!node)
        guard_free(g, core, vsapi);
    return node;
}

static VSNode *add_cuts(Engine *e, VSNode *clip, char *message, VSCore *core, const VSAPI *vsapi) {
    if (e->cuts == IGNORE_CUTS)
        return clip;
    Cuts *c = calloc(1, sizeof *c);
    if (!c)
        return out_of_memory(e, clip, message, vsapi);
    c->node = clip;
    c->engine = e;
    c->last = vsapi->getVideoInfo(clip)->numFrames - 1;
    atomic_fetch_add(&e->users, 1);
    VSFilterDependency on[] = {{clip, rpGeneral}};
    VSNode *node =
        vsapi->createVideoFilter2("Cuts", vsapi->getVideoInfo(clip), cuts_frame, cuts_free, fmParallel, on, 1, c, core);
    if (!node)
        cuts_free(c, core, vsapi);
    return node;
}

static VSNode *add_render(Engine *e, VSNode *clip, VSNode *marked, int what, const VSVideoInfo *output, char *message,
                          VSCore *core, const VSAPI *vsapi) {
    Render *r = calloc(1, sizeof *r);
    if (!r) {
        vsapi->freeNode(marked);
        return out_of_memory(e, clip, message, vsapi);
    }
    r->node = clip;
    r->marked = marked;
    r->engine = e;
    r->what = what;
    r->last = vsapi->getVideoInfo(clip)->numFrames - 1;
    r->output = *output;
    r->output.format = vsapi->getVideoInfo(clip)->format;
    if (what == MOTION)
        vsapi->getVideoFormatByID(&r->output.format, pfRGBS, core);
    atomic_fetch_add(&e->users, 1);
    VSFilterDependency on[] = {{clip, rpGeneral}, {marked, rpGeneral}};
    VSNode *node = vsapi->createVideoFilter2("Render", &r->output, render_frame, render_free, fmParallelRequests, on, 2,
                                             r, core);
    if (!node)
        render_free(r, core, vsapi);
    return node;
}

/* To the output's format, unless that is what the network gives. */
static VSNode *add_way_back(const Engine *e, VSNode *rendered, const VSVideoInfo *output, char *message, VSCore *core,
                            const VSAPI *vsapi) {
    if (vsh_isSameVideoFormat(&vsapi->getVideoInfo(rendered)->format, &output->format))
        return rendered;
    VSMap *map = vsapi->createMap();
    vsapi->mapSetInt(map, "format", format_id(&output->format, core, vsapi), maReplace);
    vsapi->mapSetInt(map, "range", e->flow ? 1 : e->range, maReplace);
    if (e->yuv && !e->flow)
        vsapi->mapSetInt(map, "matrix", e->matrix, maReplace);
    if (e->subsampled && !e->flow)
        vsapi->mapSetInt(map, "chromaloc", e->chroma_location, maReplace);
    if (output->format.sampleType == stInteger && !e->flow)
        vsapi->mapSetData(map, "dither_type", "error_diffusion", -1, dtUtf8, maReplace);
    return convert(e, rendered, map, message, core, vsapi);
}

/* What becomes of `_Alpha`: the same as of a gray clip with the cuts of the picture. Consumes both nodes. */
static VSNode *add_alpha(Engine *e, VSNode *guarded, VSNode *marked, const VSVideoInfo *output, char *message,
                         VSCore *core, const VSAPI *vsapi) {
    VSMap *map = vsapi->createMap();
    vsapi->mapSetData(map, "prop", "_Alpha", -1, dtUtf8, maReplace);
    VSNode *alpha = call(e, VSH_STD_PLUGIN_ID, "PropToClip", guarded, map, message, core, vsapi);
    if (alpha) {
        VSVideoInfo info = *output;
        info.format = vsapi->getVideoInfo(alpha)->format;
        map = vsapi->createMap();
        vsapi->mapSetInt(map, "format", pfGrayS, maReplace);
        vsapi->mapSetInt(map, "range_in", 1, maReplace);
        vsapi->mapSetInt(map, "range", 1, maReplace);
        alpha = convert(e, alpha, map, message, core, vsapi);
        VSNode *marked_alpha = NULL;
        if (alpha) {
            map = vsapi->createMap();
            vsapi->mapSetNode(map, "prop_src", marked, maReplace);
            vsapi->mapSetData(map, "props", CUT, -1, dtUtf8, maReplace);
            marked_alpha =
                call(e, VSH_STD_PLUGIN_ID, "CopyFrameProps", vsapi->addNodeRef(alpha), map, message, core, vsapi);
        }
        if (marked_alpha) {
            alpha = add_render(e, alpha, marked_alpha, TRANSPARENCY, &info, message, core, vsapi);
        } else {
            vsapi->freeNode(alpha);
            alpha = NULL;
        }
        if (alpha && !vsh_isSameVideoFormat(&vsapi->getVideoInfo(alpha)->format, &info.format)) {
            map = vsapi->createMap();
            vsapi->mapSetInt(map, "format", format_id(&info.format, core, vsapi), maReplace);
            vsapi->mapSetInt(map, "range_in", 1, maReplace);
            vsapi->mapSetInt(map, "range", 1, maReplace);
            alpha = convert(e, alpha, map, message, core, vsapi);
        }
    }
    vsapi->freeNode(marked);
    return alpha;
}

/* Build the graph in the picture at the top. Consumes `clip`. Returns NULL with a message on failure. */
static VSNode *build(Engine *e, VSNode *clip, const VSVideoInfo *output, char *message, VSCore *core,
                     const VSAPI *vsapi) {
    VSNode *rgb = NULL, *marked = NULL, *result = NULL;
    Output *o = calloc(1, sizeof *o);
    if (!o)
        return out_of_memory(e, clip, message, vsapi);
    o->info = *output;
    o->engine = e;
    atomic_fetch_add(&e->users, 1);

    o->source = add_guard(e, clip, message, core, vsapi);
    if (!o->source || !learn_colour(e, o->source, message, vsapi))
        goto done;
    VSMap *map = vsapi->createMap();
    int gray = vsapi->getVideoInfo(o->source)->format.colorFamily == cfGray;
    vsapi->mapSetInt(map, "format", gray ? pfGrayS : pfRGBS, maReplace);
    rgb = convert(e, vsapi->addNodeRef(o->source), map, message, core, vsapi);
    if (!rgb || !try_frame(e, rgb, message, vsapi))
        goto done;
    marked = add_cuts(e, vsapi->addNodeRef(rgb), message, core, vsapi);
    if (!marked)
        goto done;
    o->rendered = add_render(e, vsapi->addNodeRef(rgb), vsapi->addNodeRef(marked), e->flow ? MOTION : PICTURE, output,
                             message, core, vsapi);
    if (o->rendered)
        o->rendered = add_way_back(e, o->rendered, output, message, core, vsapi);
    if (!o->rendered)
        goto done;
    if (e->alpha.colorFamily != cfUndefined) {
        o->alpha = add_alpha(e, vsapi->addNodeRef(o->source), vsapi->addNodeRef(marked), output, message, core, vsapi);
        if (!o->alpha)
            goto done;
    }
    VSFilterDependency on[] = {{o->source, rpGeneral}, {o->rendered, rpNoFrameReuse}, {o->alpha, rpNoFrameReuse}};
    result = vsapi->createVideoFilter2(e->function, output, output_frame, output_free, fmParallel, on,
                                       o->alpha ? 3 : 2, o, core);
    if (result)
        o = NULL;

done:
    if (!result && !message[0])
        say(message, e->function, "VapourSynth refuses to create the filter");
    vsapi->freeNode(marked);
    vsapi->freeNode(rgb);
    if (o)
        output_free(o, core, vsapi);
    return result;
}

static void VS_CC create(const VSMap *in, VSMap *out, void *user_data, VSCore *core, const VSAPI *vsapi) {
    const char *function = user_data;
    char message[MESSAGE_SIZE] = "";
    VSNode *clip = vsapi->mapGetNode(in, "clip", 0, NULL);
    const VSVideoInfo source = *vsapi->getVideoInfo(clip);
    VSVideoInfo output;
    VSNode *result = NULL;

    Engine *e = calloc(1, sizeof *e);
    if (e) {
        e->function = function;
        e->flow = !strcmp(function, "Flow");
        atomic_init(&e->users, 1);
    }
    if (!e)
        say(message, function, "out of memory");
    else if (prepare(e, &source, &output, in, message, core, vsapi))
        result = build(e, vsapi->addNodeRef(clip), &output, message, core, vsapi);
    vsapi->freeNode(clip);
    engine_release(e);
    if (result)
        vsapi->mapConsumeNode(out, "clip", result, maReplace);
    else
        vsapi->mapSetError(out, message);
}

/* ---------------------------------------------------------------- Version */

/* vs_videoinr.filter.version() is a dict of lists of text. */
static void VS_CC version(const VSMap *in, VSMap *out, void *user_data, VSCore *core, const VSAPI *vsapi) {
    (void)in;
    (void)core;
    const char *function = user_data;
    char message[MESSAGE_SIZE] = "";
    const Python *p = python();
    int gil;
    if (!enter(p, &gil)) {
        say(message, function, "there is no Python in this process; run the script with vspipe or from Python");
        vsapi->mapSetError(out, message);
        return;
    }
    PyObject *module = p->import_module("vs_videoinr.filter");
    PyObject *entries = module ? p->call_method(module, "version", NULL) : NULL;
    static const char *const keys[] = {"version", "torch", "devices", "models"};
    int ok = entries != NULL;
    for (size_t k = 0; ok && k < sizeof keys / sizeof *keys; k++) {
        PyObject *values = p->dict_get(entries, keys[k]); /* borrowed, as is what list_get returns */
        PySize count = values ? p->list_size(values) : -1;
        ok = count >= 0;
        for (PySize i = 0; ok && i < count; i++) {
            PySize size = 0;
            const char *text = p->utf8(p->list_get(values, i), &size);
            ok = text != NULL;
            if (ok)
                vsapi->mapSetData(out, keys[k], text, (int)size, dtUtf8, maAppend);
        }
        if (ok && count == 0)
            vsapi->mapSetEmpty(out, keys[k], ptData);
    }
    if (!ok) {
        say_raised(p, message, function);
        vsapi->mapSetError(out, message);
    }
    p->decref(entries);
    p->decref(module);
    p->gil_release(gil);
}

/* ---------------------------------------------------------------- the plugin */

#define SIZE "scale:float:opt;width:int:opt;height:int:opt;"
#define RATE "fps_num:int:opt;fps_den:int:opt;factor_num:int:opt;factor_den:int:opt;"
#define TIMES "times:float[]:opt;seconds:float[]:opt;"
#define TIMECODES "timecodes:data:opt;"
#define CUTS "sc:int:opt;sc_threshold:float:opt;sc_mode:data:opt;"
#define ENGINE "model:data:opt;device:data:opt;fp16:int:opt;"

VS_EXTERNAL_API(void) VapourSynthPluginInit2(VSPlugin *plugin, const VSPLUGINAPI *vspapi) {
    static char upscale[] = "Upscale", query[] = "Query", flow[] = "Flow", about[] = "Version";
    static const char *const returned = "clip:vnode;";
    vspapi->configPlugin("io.github.vs-videoinr", "videoinr", "Video at any size and any frame rate (VideoINR)",
                         VS_MAKE_VERSION(VIDEOINR_MAJOR, VIDEOINR_MINOR), VAPOURSYNTH_API_VERSION, 0, plugin);
    vspapi->registerFunction(upscale, "clip:vnode;" SIZE RATE TIMECODES CUTS ENGINE, returned, create, upscale, plugin);
    vspapi->registerFunction(query, "clip:vnode;" TIMES SIZE TIMECODES CUTS ENGINE, returned, create, query, plugin);
    vspapi->registerFunction(flow, "clip:vnode;to:int:opt;reach:float:opt;data:int:opt;" TIMES SIZE RATE TIMECODES CUTS ENGINE,
                             returned, create, flow, plugin);
    vspapi->registerFunction(about, "", "version:data;torch:data;devices:data[];models:data[]:empty;", version, about,
                             plugin);
}
