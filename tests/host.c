/*
 * A host without Python: host VAPOURSYNTH [PLUGIN].
 *
 * Loads VapourSynth's library, and that plugin, or lets it find all plugins by itself; prints videoinr's functions and
 * what Version and Upscale say. Where a step fails, stderr has which and why, and the exit code is 1.
 */

#include <VapourSynth4.h>
#include <stdio.h>
#include <string.h>

#ifdef _WIN32
#include <windows.h>
#include <shellapi.h>

/* An argument of the program: main is given it in the code page, which does not have every name of a file. */
static const wchar_t *wide(int n) {
    int count;
    return CommandLineToArgvW(GetCommandLineW(), &count)[n];
}

/* The same in UTF-8. */
static const char *argument(char **words, int n) {
    static char text[4096];
    (void)words;
    WideCharToMultiByte(CP_UTF8, 0, wide(n), -1, text, sizeof text, NULL, NULL);
    return text;
}

static void *load(char **words, int n, const char *function) {
    HMODULE module = LoadLibraryW(wide(n));
    void *address = module ? (void *)(uintptr_t)GetProcAddress(module, function) : NULL;
    if (!address)
        fprintf(stderr, "%s of %s: error %lu\n", function, argument(words, n), GetLastError());
    return address;
}
#else
#include <dlfcn.h>

static const char *argument(char **words, int n) { return words[n]; }

static void *load(char **words, int n, const char *function) {
    void *module = dlopen(argument(words, n), RTLD_NOW);
    void *address = module ? dlsym(module, function) : NULL;
    if (!address)
        fprintf(stderr, "%s of %s: %s\n", function, argument(words, n), dlerror());
    return address;
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
    void *address = count > 1 ? load(words, 1, "getVapourSynthAPI") : NULL;
    if (!address)
        return 1;
    const VSAPI *(VS_CC *get)(int);
    memcpy(&get, &address, sizeof get);
    api = get(VAPOURSYNTH_API_VERSION);
    if (!api) {
        fprintf(stderr, "VapourSynth has not the API version %d\n", VAPOURSYNTH_API_VERSION);
        return 1;
    }
    VSCore *core = api->createCore(count > 2 ? ccfDisableAutoLoading : 0);
    VSPlugin *std = api->getPluginByNamespace("std", core);
    if (count > 2) {
        VSMap *arguments = api->createMap();
        api->mapSetData(arguments, "path", argument(words, 2), -1, dtUtf8, maReplace);
        api->freeMap(call(std, "LoadPlugin", arguments));
    }
    VSPlugin *plugin = api->getPluginByNamespace("videoinr", core);
    if (!plugin) {
        fprintf(stderr, "no plugin has the namespace videoinr\n");
        return 1;
    }
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
