/* The filters of one call:
 *
 *     clip -> Guard -> (Recode) -+-> resize (RGBS) -> Cuts -> Render -> resize (the clip's format) -+-> Upscale -> out
 *                                +------------------------------------------------------------------+   or Query
 *
 * A clip's _Alpha goes the same way beside it. Where the output has the clip's size, source frames pass, and Chroma
 * stands after Render. Recode stands there too, and where planes go to RGB by another matrix than the clip's. Flow ends
 * with colours or numbers instead of the clip's format.
 */

#include "videoinr.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---------------------------------------------------------------- engine */

Engine *engine_new(const char *function) {
    Engine *e = calloc(1, sizeof *e);
    if (!e)
        return NULL;
    e->plans = plan_cache_new();
    if (!e->plans) {
        free(e);
        return NULL;
    }
    e->function = function;
    e->flow = !strcmp(function, "Flow");
    atomic_init(&e->users, 1);
    return e;
}

Engine *engine_retain(Engine *e) {
    atomic_fetch_add(&e->users, 1);
    return e;
}

void engine_release(Engine *e) {
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
    plan_cache_free(e->plans);
    free(e);
}

/* ---------------------------------------------------------------- properties and conversions */

int64_t property(const VSMap *map, const char *key, int64_t missing, const VSAPI *vsapi) {
    int error;
    int64_t value = vsapi->mapGetInt(map, key, 0, &error);
    return error ? missing : value;
}

/* Call a function of VapourSynth's own with what `map` holds. Consumes `map`. */
static VSNode *call(const Engine *e, const char *plugin, const char *function, VSMap *map, char *message, VSCore *core,
                    const VSAPI *vsapi) {
    VSNode *result = NULL;
    VSMap *out = vsapi->invoke(vsapi->getPluginByID(plugin, core), function, map);
    if (vsapi->mapGetError(out))
        say(message, e->function, vsapi->mapGetError(out));
    else
        result = vsapi->mapGetNode(out, "clip", 0, NULL);
    vsapi->freeMap(out);
    vsapi->freeMap(map);
    return result;
}

/* Consumes `node` and `map`. */
static VSNode *convert(const Engine *e, VSNode *node, VSMap *map, char *message, VSCore *core, const VSAPI *vsapi) {
    vsapi->mapConsumeNode(map, "clip", node, maReplace);
    return call(e, VSH_RESIZE_PLUGIN_ID, "Bicubic", map, message, core, vsapi);
}

static uint32_t format_id(const VSVideoFormat *f, VSCore *core, const VSAPI *vsapi) {
    return vsapi->queryVideoFormatID(f->colorFamily, f->sampleType, f->bitsPerSample, f->subSamplingW, f->subSamplingH,
                                     core);
}

/* Arguments of resize that lead to the clip's own coding, but for the matrix, which only YUV has. */
static VSMap *to_clips_coding(const Engine *e, const VSVideoFormat *format, int64_t matrix, VSCore *core,
                              const VSAPI *vsapi) {
    VSMap *map = vsapi->createMap();
    vsapi->mapSetInt(map, "format", format_id(format, core, vsapi), maReplace);
    vsapi->mapSetInt(map, "range", e->range, maReplace);
    if (e->yuv)
        vsapi->mapSetInt(map, "matrix", matrix, maReplace);
    if (e->subsampled)
        vsapi->mapSetInt(map, "chromaloc", e->chroma_location, maReplace);
    if (format->sampleType == stInteger)
        vsapi->mapSetData(map, "dither_type", "error_diffusion", -1, dtUtf8, maReplace);
    return map;
}

/* To the output's format, unless that is what the network gives. */
static VSNode *add_way_back(const Engine *e, VSNode *rendered, const VSVideoFormat *format, char *message, VSCore *core,
                            const VSAPI *vsapi) {
    if (vsh_isSameVideoFormat(&vsapi->getVideoInfo(rendered)->format, format))
        return rendered;
    VSMap *map;
    if (e->flow) {
        map = vsapi->createMap();
        vsapi->mapSetInt(map, "format", format_id(format, core, vsapi), maReplace);
        vsapi->mapSetInt(map, "range", 1, maReplace);
    } else {
        map = to_clips_coding(e, format, e->rgb_matrix, core, vsapi);
    }
    return convert(e, rendered, map, message, core, vsapi);
}

/* The clip's format in single precision. */
static VSVideoFormat single_precision(const VSVideoFormat *format, VSCore *core, const VSAPI *vsapi) {
    VSVideoFormat single;
    vsapi->queryVideoFormat(&single, format->colorFamily, stFloat, 32, format->subSamplingW, format->subSamplingH,
                            core);
    return single;
}

/* What is lost of the clip's chroma when it goes to RGB, and so to full resolution, and back. Consumes both nodes. */
static VSNode *add_residual(const Engine *e, VSNode *clip, VSNode *rgb, char *message, VSCore *core,
                            const VSAPI *vsapi) {
    const VSVideoFormat single = single_precision(&vsapi->getVideoInfo(clip)->format, core, vsapi);
    VSNode *exact = convert(e, clip, to_clips_coding(e, &single, e->rgb_matrix, core, vsapi), message, core, vsapi);
    VSNode *back = convert(e, rgb, to_clips_coding(e, &single, e->rgb_matrix, core, vsapi), message, core, vsapi);
    if (!exact || !back) {
        vsapi->freeNode(exact);
        vsapi->freeNode(back);
        return NULL;
    }
    VSMap *map = vsapi->createMap();
    vsapi->mapConsumeNode(map, "clipa", exact, maReplace);
    vsapi->mapConsumeNode(map, "clipb", back, maReplace);
    vsapi->mapSetInt(map, "planes", 1, maAppend);
    vsapi->mapSetInt(map, "planes", 2, maAppend);
    return call(e, VSH_STD_PLUGIN_ID, "MakeDiff", map, message, core, vsapi);
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
    PyObject *module = p->import_module("vs_videoinr.plugin.entry");
    PyObject *given = module ? arguments(p, in, vsapi) : NULL;
    PyObject *clip = given ? p->build("(siiiiiiiiLL)", format, source->format.colorFamily, source->format.sampleType,
                                      source->format.bitsPerSample, source->format.subSamplingW,
                                      source->format.subSamplingH, source->width, source->height, source->numFrames,
                                      (long long)source->fpsNum, (long long)source->fpsDen)
                           : NULL;
    e->filter = clip ? p->call_method(module, "create", "sOO", e->function, clip, given) : NULL;
    PyObject *result = e->filter ? p->get_attribute(e->filter, "output") : NULL;
    int ok = result != NULL;
    *output = *source;
    output->width = (int)int_attribute(p, result, "width", &ok);
    output->height = (int)int_attribute(p, result, "height", &ok);
    output->numFrames = (int)int_attribute(p, result, "num_frames", &ok);
    output->fpsNum = int_attribute(p, result, "fps_num", &ok);
    output->fpsDen = int_attribute(p, result, "fps_den", &ok);
    e->cuts = (int)int_attribute(p, result, "scene_cuts", &ok);
    e->neighbours = (int)int_attribute(p, result, "uses_neighbours", &ok);
    if (!ok)
        say_raised(p, message, e->function);
    p->decref(result);
    p->decref(clip);
    p->decref(given);
    p->decref(module);
    p->gil_release(gil);
    if (e->flow) {
        int error;
        int data = vsapi->mapGetInt(in, "data", 0, &error) != 0 && !error;
        vsapi->getVideoFormatByID(&output->format, data ? pfRGBS : pfRGB24, core);
    }
    e->same_size = !e->flow && output->width == source->width && output->height == source->height;
    e->vfr = output->fpsNum == 0;
    e->yuv = source->format.colorFamily == cfYUV;
    e->subsampled = source->format.subSamplingW || source->format.subSamplingH;
    e->default_range = source->format.colorFamily == cfRGB ? 1 : 0;
    return ok;
}

/* The matrix by which planes go to RGB and come back: mostly the clip's own. From constant luminance and ICtCp resize
 * gets to RGB through linear light, where it clips what is negative, and for what is derived from primaries these must
 * be known. As numbers of a plain matrix all of them lose nothing. */
static int64_t choose_rgb_matrix(const Engine *e) {
    switch (e->yuv ? e->matrix : VSC_MATRIX_UNSPECIFIED) {
    case VSC_MATRIX_BT2020_CL:
    case VSC_MATRIX_CHROMATICITY_DERIVED_NCL:
    case VSC_MATRIX_CHROMATICITY_DERIVED_CL:
    case VSC_MATRIX_ICTCP:
        return VSC_MATRIX_BT2020_NCL;
    default:
        return e->matrix;
    }
}

/* Learn the coding of the output from the clip's first frame, and whether it has transparency. */
static int learn_coding(Engine *e, VSNode *guarded, char *message, const VSAPI *vsapi) {
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
    e->rgb_matrix = choose_rgb_matrix(e);
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

VSNode *out_of_memory(const Engine *e, VSNode *clip, char *message, const VSAPI *vsapi) {
    vsapi->freeNode(clip);
    say(message, e->function, "out of memory");
    return NULL;
}

/* What becomes of `_Alpha`: the same as of a gray clip with the cuts of the picture. Consumes both nodes. */
static VSNode *add_alpha(Engine *e, VSNode *guarded, VSNode *marked, const VSVideoInfo *output, char *message,
                         VSCore *core, const VSAPI *vsapi) {
    VSMap *map = vsapi->createMap();
    vsapi->mapConsumeNode(map, "clip", guarded, maReplace);
    vsapi->mapSetData(map, "prop", "_Alpha", -1, dtUtf8, maReplace);
    VSNode *alpha = call(e, VSH_STD_PLUGIN_ID, "PropToClip", map, message, core, vsapi);
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
            vsapi->mapSetNode(map, "clip", alpha, maReplace);
            vsapi->mapSetNode(map, "prop_src", marked, maReplace);
            vsapi->mapSetData(map, "props", CUT, -1, dtUtf8, maReplace);
            marked_alpha = call(e, VSH_STD_PLUGIN_ID, "CopyFrameProps", map, message, core, vsapi);
        }
        if (marked_alpha) {
            alpha = add_render(e, alpha, marked_alpha, NULL, TRANSPARENCY, &info, message, core, vsapi);
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

/* All frames in the coding of the first one. Consumes `guarded`. */
static VSNode *add_one_coding(Engine *e, VSNode *guarded, char *message, VSCore *core, const VSAPI *vsapi) {
    const VSVideoFormat *format = &vsapi->getVideoInfo(guarded)->format;
    VSMap *coding = to_clips_coding(e, format, e->matrix, core, vsapi);
    VSNode *recoded = convert(e, vsapi->addNodeRef(guarded), coding, message, core, vsapi);
    if (recoded)
        return add_recode(e, guarded, recoded, message, core, vsapi);
    vsapi->freeNode(guarded);
    return NULL;
}

/* The clip with the matrix by which it goes to RGB. Consumes `clip`. */
static VSNode *add_rgb_matrix(const Engine *e, VSNode *clip, char *message, VSCore *core, const VSAPI *vsapi) {
    if (e->rgb_matrix == e->matrix)
        return clip;
    VSMap *map = vsapi->createMap();
    vsapi->mapConsumeNode(map, "clip", clip, maReplace);
    vsapi->mapSetInt(map, "_Matrix", e->rgb_matrix, maReplace);
    return call(e, VSH_STD_PLUGIN_ID, "SetFrameProps", map, message, core, vsapi);
}

/* The stages in the picture above on `clip`, which stays the caller's. NULL with a message on failure. */
static VSNode *connect(Engine *e, VSNode *clip, const VSVideoInfo *output, char *message, VSCore *core,
                       const VSAPI *vsapi) {
    VSNode *readable = NULL, *rgb = NULL, *marked = NULL, *residual = NULL, *rendered = NULL, *alpha = NULL;
    VSNode *result = NULL;
    VSNode *source = add_guard(e, vsapi->addNodeRef(clip), message, core, vsapi);
    if (!source || !learn_coding(e, source, message, vsapi))
        goto done;
    if (e->same_size || e->rgb_matrix != e->matrix) {
        source = add_one_coding(e, source, message, core, vsapi);
        if (!source)
            goto done;
    }
    readable = add_rgb_matrix(e, vsapi->addNodeRef(source), message, core, vsapi);
    if (!readable)
        goto done;
    VSMap *map = vsapi->createMap();
    int gray = vsapi->getVideoInfo(source)->format.colorFamily == cfGray;
    vsapi->mapSetInt(map, "format", gray ? pfGrayS : pfRGBS, maReplace);
    rgb = convert(e, vsapi->addNodeRef(readable), map, message, core, vsapi);
    if (!rgb || !try_frame(e, rgb, message, vsapi))
        goto done;
    marked = add_cuts(e, vsapi->addNodeRef(rgb), message, core, vsapi);
    if (!marked)
        goto done;
    if (e->alpha.colorFamily != cfUndefined) {
        alpha = add_alpha(e, vsapi->addNodeRef(source), vsapi->addNodeRef(marked), output, message, core, vsapi);
        if (!alpha)
            goto done;
    }
    if (e->same_size && e->subsampled) {
        residual = add_residual(e, vsapi->addNodeRef(readable), vsapi->addNodeRef(rgb), message, core, vsapi);
        if (!residual)
            goto done;
    }
    rendered =
        add_render(e, vsapi->addNodeRef(rgb), vsapi->addNodeRef(marked), residual ? vsapi->addNodeRef(residual) : NULL,
                   e->flow ? MOTION : PICTURE, output, message, core, vsapi);
    if (rendered && residual) {
        const VSVideoFormat single = single_precision(&output->format, core, vsapi);
        rendered = convert(e, rendered, to_clips_coding(e, &single, e->rgb_matrix, core, vsapi), message, core, vsapi);
        if (rendered)
            rendered = add_chroma(e, rendered, message, core, vsapi);
    }
    if (rendered)
        rendered = add_way_back(e, rendered, &output->format, message, core, vsapi);
    if (!rendered)
        goto done;
    result = add_output(e, source, rendered, alpha, output, message, core, vsapi);
    source = rendered = alpha = NULL;

done:
    if (!result && !message[0])
        say(message, e->function, "VapourSynth refuses to create the filter");
    vsapi->freeNode(alpha);
    vsapi->freeNode(rendered);
    vsapi->freeNode(residual);
    vsapi->freeNode(marked);
    vsapi->freeNode(rgb);
    vsapi->freeNode(readable);
    vsapi->freeNode(source);
    return result;
}

VSNode *build_graph(Engine *e, VSNode *clip, const VSMap *in, char *message, VSCore *core, const VSAPI *vsapi) {
    const VSVideoInfo source = *vsapi->getVideoInfo(clip);
    VSVideoInfo output;
    if (!prepare(e, &source, &output, in, message, core, vsapi))
        return NULL;
    return connect(e, clip, &output, message, core, vsapi);
}
