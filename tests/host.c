/*
 * A host without Python: host VAPOURSYNTH [PLUGIN].
 *
 * Loads VapourSynth's library, and that plugin, or lets it find all plugins by itself; prints videoinr's functions and
 * what Version and Upscale say.
 */

#include <VapourSynth4.h>
#include <stdio.h>
#include <string.h>

#ifdef _WIN32
#include <windows.h>
#include <shellapi.h>

/* An argument of the program in UTF-8: main is given it in the code page, which does not have every name of a file. */
static const char *argument(char **words, int n) {
    static char text[4096];
    int count;
    (void)words;
    WideCharToMultiByte(CP_UTF8, 0, CommandLineToArgvW(GetCommandLineW(), &count)[n], -1, text, sizeof text, NULL, NULL);
    return text;
}

static void *load(const char *library, const char *function) {
    HMODULE module = LoadLibraryA(library);
    return module ? (void *)(uintptr_t)GetProcAddress(module, function) : NULL;
}
#else
#include <dlfcn.h>

static const char *argument(char **words, int n) { return words[n]; }

static void *load(const char *library, const char *function) {
    void *module = dlopen(library, RTLD_NOW);
    return module ? dlsym(module, function) : NULL;
}
#endif

static const VSAPI *api;

/* Call a function of a plugin, print its error if there is one, and return what it returns; takes the arguments. */
static VSMap *call(VSPlugin *plugin, const char *function, VSMap *arguments) {
    VSMap *result = api->invoke(plugin, function, arguments);
    if (api->mapGetError(result))
        puts(api->mapGetError(result));
    api->freeMap(arguments);
    return result;
}

int main(int count, char **words) {
    void *address = count > 1 ? load(argument(words, 1), "getVapourSynthAPI") : NULL;
    if (!address)
        return 1;
    const VSAPI *(VS_CC *get)(int);
    memcpy(&get, &address, sizeof get);
    api = get(VAPOURSYNTH_API_VERSION);
    VSCore *core = api->createCore(count > 2 ? ccfDisableAutoLoading : 0);
    VSPlugin *std = api->getPluginByNamespace("std", core);
    if (count > 2) {
        VSMap *arguments = api->createMap();
        api->mapSetData(arguments, "path", argument(words, 2), -1, dtUtf8, maReplace);
        api->freeMap(call(std, "LoadPlugin", arguments));
    }
    VSPlugin *plugin = api->getPluginByNamespace("videoinr", core);
    if (!plugin)
        return 1;
    for (VSPluginFunction *f = api->getNextPluginFunction(NULL, plugin); f; f = api->getNextPluginFunction(f, plugin))
        printf("%s\n", api->getPluginFunctionName(f));
    api->freeMap(call(plugin, "Version", api->createMap()));
    VSMap *clip = call(std, "BlankClip", api->createMap());
    VSMap *arguments = api->createMap();
    api->mapConsumeNode(arguments, "clip", api->mapGetNode(clip, "clip", 0, NULL), maReplace);
    api->mapSetFloat(arguments, "scale", 2, maReplace);
    api->freeMap(call(plugin, "Upscale", arguments));
    api->freeMap(clip);
    api->freeCore(core);
#ifdef _WIN32 /* elsewhere the library itself says that it stays */
    puts(GetModuleHandleA("libvideoinr.dll") ? "stays" : "is gone");
#endif
    return 0;
}
