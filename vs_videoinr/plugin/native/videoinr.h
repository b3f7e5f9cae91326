/*
 * core.videoinr.*: what the files of the native side share.
 *
 * What VapourSynth needs fast or without Python is here: names and signatures, requests for source frames, frame
 * properties, conversion to RGB and back by the core's own resize. What an output frame shows and how it is made is
 * Python's business (vs_videoinr/plugin/entry.py), called with plane addresses and numbers; Python never holds a node
 * or a frame, so nothing of a script outlives it.
 *
 *     plugin.c         names and signatures; creation of a filter
 *     graph.c          the filters of one call, put together
 *     guard.c          refuses frames that cannot be right
 *     recode.c         brings source frames to one matrix, range and chroma location
 *     cuts.c           marks the last frames of scenes
 *     frame_plan.c     what an output frame shows
 *     render.c         calls the network
 *     chroma.c         gives back what the conversion to RGB loses of subsampled chroma
 *     resting.c        lets what rests look the same in every frame
 *     output.c         the last filter: lets source frames pass, puts the properties on
 *     python_bridge.c  the Python that runs in this process
 *
 * Nothing of Python is linked: the few functions of its stable ABI are looked up in the running process, so that one
 * binary serves every Python from 3.12 up. Python runs in the main interpreter only (PyGILState_*): subinterpreters and
 * free-threaded builds are not supported.
 */

#ifndef VIDEOINR_H
#define VIDEOINR_H

#define VS_USE_API_42 /* the numbering of _Range, and the oldest core that is supported has it */
#include "VSConstants4.h"
#include "VSHelper4.h"
#include "VapourSynth4.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* Messages, what stands behind the function's name in them, and others' words within that. */
enum { MESSAGE_SIZE = 4096, TEXT_SIZE = MESSAGE_SIZE - 16, REASON_SIZE = TEXT_SIZE - 80 };

/* ---------------------------------------------------------------- python_bridge.c */

typedef struct PyObject PyObject;
typedef ptrdiff_t PySize;

/* Functions of Python's stable ABI. */
typedef struct Python {
    int (*gil_ensure)(void);
    void (*gil_release)(int);
    int (*is_initialized)(void);
    int (*is_finalizing)(void);
    PyObject *(*import_module)(const char *);
    PyObject *(*call_method)(PyObject *, const char *, const char *, ...);
    PyObject *(*build)(const char *, ...);
    PyObject *(*get_attribute)(PyObject *, const char *);
    void (*decref)(PyObject *);
    PyObject *(*get_raised)(void);
    void (*clear_error)(void);
    PyObject *(*occurred)(void);
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
    long long (*to_int)(PyObject *);
    double (*to_float)(PyObject *);
    PyObject *(*from_memory)(char *, PySize, int);
} Python;

/* The functions of the Python that runs in this process, or NULL if there is none. */
const Python *python(void);

/* Take the GIL. Returns 0, holding nothing, if Python is not there or on its way out. */
int enter(const Python *p, int *gil);

/* Write "Function: text" on one line into `message` (MESSAGE_SIZE bytes). */
void say(char *message, const char *function, const char *text);

/* Turn the Python exception that is set into a message, and clear it. */
void say_raised(const Python *p, char *message, const char *function);

/* The planes of a frame as ((memory, stride), …). `writable` is `frame` itself where it may be written to, else NULL.
 */
PyObject *planes(const Python *p, const VSFrame *frame, VSFrame *writable, const VSAPI *vsapi);

/* The same of a frame that may be missing: None. */
PyObject *planes_or_none(const Python *p, const VSFrame *frame, const VSAPI *vsapi);

/* A number that is an attribute of `object`; on failure *ok becomes 0, with an exception set. */
long long int_attribute(const Python *p, PyObject *object, const char *name, int *ok);
double float_attribute(const Python *p, PyObject *object, const char *name, int *ok);

/* ---------------------------------------------------------------- graph.c: what the filters of one call share */

enum { IGNORE_CUTS, HOLD, SWITCH };     /* what is done about a cut: vs_videoinr.plugin.scene_cuts.Mode */
enum { NO_CUT, IS_CUT, UNDECIDED };     /* between two frames: vs_videoinr.plugin.scene_cuts.Verdict */
enum { PICTURE, TRANSPARENCY, MOTION }; /* what is rendered: vs_videoinr.plugin.entry.Content */
enum { BETWEEN, LEFT, RIGHT };          /* what an output frame shows: something new, or a source frame as it is */

typedef struct PlanCache PlanCache;

typedef struct Engine {
    const char *function; /* "Upscale", "Query" or "Flow": how its messages begin */
    PyObject *filter;     /* vs_videoinr.plugin.entry.Filter; owned */
    PlanCache *plans;     /* owned */
    atomic_int users;
    int flow;            /* the output is the motion */
    int same_size;       /* the output is like the clip: source frames may pass */
    int vfr;             /* durations follow those of the source frames */
    int cuts;            /* IGNORE_CUTS, HOLD or SWITCH */
    int neighbours;      /* the frames around a pair tell of its motion and detail, too */
    VSVideoFormat alpha; /* of the transparency that the clip's frames carry; cfUndefined: none */
    int yuv;             /* a matrix is needed */
    int subsampled;      /* a chroma location is used */
    int64_t matrix;      /* the coding of the clip's first frame, which the whole output has */
    int64_t rgb_matrix;  /* the matrix by which planes go to RGB and come back, mostly the same */
    int64_t range;
    int64_t default_range;
    int64_t chroma_location;
} Engine;

/* An engine with one user, or NULL. */
Engine *engine_new(const char *function);
Engine *engine_retain(Engine *e);
void engine_release(Engine *e);

/* Check the arguments and build the filter's graph on `clip`, which stays the caller's. NULL with a message on failure.
 */
VSNode *build_graph(Engine *e, VSNode *clip, const VSMap *in, char *message, VSCore *core, const VSAPI *vsapi);

/* ---------------------------------------------------------------- frame properties */

/* Properties of our own, which are removed from the frames of the clip. All but PAIR only the filters of one call see.
 */
#define PRIVATE "_VideoINR"
#define PAIR PRIVATE "Pair"       /* of an output frame: the source frame at or before its time */
#define CUT PRIVATE "Cut"         /* the next frame begins another scene */
#define HELD PRIVATE "Held"       /* LEFT or RIGHT: the picture is that source frame as it is; BETWEEN: it is new */
#define RESIDUAL PRIVATE "Chroma" /* a frame: the chroma that this one lacks */

/* An integer property, or `missing` where the frame does not have it. */
int64_t property(const VSMap *map, const char *key, int64_t missing, const VSAPI *vsapi);

/* ---------------------------------------------------------------- frame_plan.c */

/* What an output frame shows, as vs_videoinr.plugin.frame_plan.FramePlan says it. */
typedef struct FramePlan {
    int left, right;       /* source frames; equal where there is nothing to move towards */
    double t;              /* from left (0) to right (1) */
    int on_source;         /* the frame falls on a source frame's time */
    int shows_right;       /* at a cut the right frame is shown, not the left one */
    int keeps_start;       /* of the frames that show the left one it keeps the mark that a scene begins */
    int keeps_end;         /* … that one ends */
    int keeps_right_start; /* the same of the right one's beginning, where that is shown */
    double durations[4];   /* seconds that left - 2, left - 1, left and right last; 0 where only the frames say it */
    int64_t duration_num, duration_den; /* how long it lasts; 0/0: ask duration_between */
} FramePlan;

/* The source frames around an output frame's time, once they are there. Only left and right always are; of the others,
 * those that are not asked for, or that there are not, are NULL. */
typedef struct Sources {
    const VSFrame *earlier, *previous; /* the two before left */
    const VSFrame *left, *right;
    const VSFrame *next; /* the one after right */
} Sources;

/* What is known of an output frame, once its sources are there. */
typedef struct Shown {
    int what;      /* BETWEEN, LEFT or RIGHT */
    int companion; /* LEFT: the frame before it shows more of it, as a pair of which it is the end */
    int before;    /* BETWEEN or with a companion: the frame before the pair tells of its motion and detail */
    int after;     /* BETWEEN: the frame after it does */
} Shown;

PlanCache *plan_cache_new(void);
void plan_cache_free(PlanCache *cache);

/* Output frame n's plan, asked for in Python once. Returns 0 with a message on failure. */
int find_plan(Engine *e, int n, FramePlan *plan, char *message);

/* The duration of a variable rate clip's frame, from those of the source frames that it lies in. */
int duration_between(const Engine *e, int n, const VSMap *left, const VSMap *right, int64_t *num, int64_t *den,
                     char *message, const VSAPI *vsapi);

/* Whether neighbours show something of a source frame at its own time: detail, where it is enlarged. */
int enlarges_with_neighbours(const Engine *e, int what);

/* Whether the network wants to see the frames around the pair, which tell of motion in it and of detail. */
int uses_neighbours(const Engine *e, const FramePlan *plan, int what);

/* What the frame shows. */
Shown decide(const Engine *e, const FramePlan *plan, int what, const Sources *s, const VSAPI *vsapi);

/* Whether two frames of single precision are equal to the last bit. */
int equal(const VSFrame *a, const VSFrame *b, const VSAPI *vsapi);

/* ---------------------------------------------------------------- the stages of the graph */

/* Each stands on top of nodes that it consumes, and returns NULL on failure, mostly with a message. */

/* What they return where memory ran out. Consumes `clip`. */
VSNode *out_of_memory(const Engine *e, VSNode *clip, char *message, const VSAPI *vsapi);

VSNode *add_guard(Engine *e, VSNode *clip, char *message, VSCore *core, const VSAPI *vsapi);

/* `recoded` is `clip` with the engine's matrix, range and chroma location throughout. */
VSNode *add_recode(Engine *e, VSNode *clip, VSNode *recoded, char *message, VSCore *core, const VSAPI *vsapi);

VSNode *add_cuts(Engine *e, VSNode *clip, char *message, VSCore *core, const VSAPI *vsapi);

/* `marked` is `clip` behind Cuts. `residual` is the chroma that its frames lack, or NULL. */
VSNode *add_render(Engine *e, VSNode *clip, VSNode *marked, VSNode *residual, int what, const VSVideoInfo *output,
                   char *message, VSCore *core, const VSAPI *vsapi);

VSNode *add_chroma(Engine *e, VSNode *rendered, char *message, VSCore *core, const VSAPI *vsapi);

/* `source` is behind Guard, `rendered` in the output's format, `alpha` its transparency or NULL. */
VSNode *add_output(Engine *e, VSNode *source, VSNode *rendered, VSNode *alpha, const VSVideoInfo *info, char *message,
                   VSCore *core, const VSAPI *vsapi);

/* The format of a frame's transparency; undefined where it has none that fits the picture. */
VSVideoFormat alpha_format(const VSFrame *frame, const VSAPI *vsapi);

/* ---------------------------------------------------------------- resting.c */

/* Fill `frame` with the frame between two source frames, all of the output's format, but let what rests in these look
 * like it does there. */
void keep_resting(VSFrame *frame, const VSFrame *between, const VSFrame *left, const VSFrame *right,
                  const VSAPI *vsapi);

#endif
