/* The plugin: names and signatures, creation of a filter, and what it says of itself. */

#include "videoinr.h"

#include <string.h>

#if defined(_WIN32)
#include <windows.h>
#elif defined(__APPLE__)
#include <dlfcn.h>
#endif

#ifndef VIDEOINR_MAJOR /* setup.py passes the package's version */
#define VIDEOINR_MAJOR 0
#define VIDEOINR_MINOR 0
#endif

static void VS_CC create(const VSMap *in, VSMap *out, void *user_data, VSCore *core, const VSAPI *vsapi) {
    const char *function = user_data;
    char message[MESSAGE_SIZE] = "";
    VSNode *clip = vsapi->mapGetNode(in, "clip", 0, NULL);
    VSNode *result = NULL;
    Engine *e = engine_new(function);
    if (e)
        result = build_graph(e, clip, in, message, core, vsapi);
    else
        say(message, function, "out of memory");
    vsapi->freeNode(clip);
    engine_release(e);
    if (result)
        vsapi->mapConsumeNode(out, "clip", result, maReplace);
    else
        vsapi->mapSetError(out, message);
}

/* vs_videoinr.plugin.entry.version() is a dict of lists of text. */
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
    PyObject *module = p->import_module("vs_videoinr.plugin.entry");
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

#define SIZE "scale:float:opt;width:int:opt;height:int:opt;"
#define RATE "fps_num:int:opt;fps_den:int:opt;factor_num:int:opt;factor_den:int:opt;"
#define TIMES "times:float[]:opt;seconds:float[]:opt;"
#define TIMECODES "timecodes:data:opt;"
#define CUTS "sc:int:opt;sc_threshold:float:opt;sc_mode:data:opt;"
#define ENGINE "model:data:opt;device:data:opt;fp16:int:opt;"

/* A core unloads its plugins when it goes, and callbacks of another core may still be running in here: the library
 * stays for as long as the process lives. On Linux the linker has seen to that (-z nodelete). */
static void stay_loaded(void) {
    static const char here;
#if defined(_WIN32)
    HMODULE pinned;
    GetModuleHandleExA(GET_MODULE_HANDLE_EX_FLAG_PIN | GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS, &here, &pinned);
#elif defined(__APPLE__)
    Dl_info self;
    if (dladdr(&here, &self))
        dlopen(self.dli_fname, RTLD_LAZY); /* and never closed */
#else
    (void)here;
#endif
}

VS_EXTERNAL_API(void) VapourSynthPluginInit2(VSPlugin *plugin, const VSPLUGINAPI *vspapi) {
    stay_loaded();
    static char upscale[] = "Upscale", query[] = "Query", flow[] = "Flow", about[] = "Version";
    static const char *const returned = "clip:vnode;";
    vspapi->configPlugin("io.github.vs-videoinr", "videoinr", "Video at any size and any frame rate (VideoINR)",
                         VS_MAKE_VERSION(VIDEOINR_MAJOR, VIDEOINR_MINOR), VAPOURSYNTH_API_VERSION, 0, plugin);
    vspapi->registerFunction(upscale, "clip:vnode;" SIZE RATE TIMECODES CUTS ENGINE, returned, create, upscale, plugin);
    vspapi->registerFunction(query, "clip:vnode;" TIMES SIZE TIMECODES CUTS ENGINE, returned, create, query, plugin);
    vspapi->registerFunction(
        flow, "clip:vnode;to:int:opt;reach:float:opt;data:int:opt;" TIMES SIZE RATE TIMECODES CUTS ENGINE, returned,
        create, flow, plugin);
    vspapi->registerFunction(about, "", "version:data;torch:data;devices:data[];models:data[]:empty;", version, about,
                             plugin);
}
