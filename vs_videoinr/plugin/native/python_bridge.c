/* The Python that runs in this process: found, entered, and its exceptions turned into messages. */

#if !defined(_WIN32) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE /* RTLD_DEFAULT */
#endif

#include "videoinr.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef _WIN32
#include <windows.h>
#else
#include <dlfcn.h>
#endif

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

const Python *python(void) {
    static _Atomic(Python *) found;
    Python *known = atomic_load(&found);
    if (known)
        return known;

    Python *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    int complete = find(&p->gil_ensure, "PyGILState_Ensure") && find(&p->gil_release, "PyGILState_Release") &&
                   find(&p->is_initialized, "Py_IsInitialized") &&
                   (find(&p->is_finalizing, "Py_IsFinalizing") || find(&p->is_finalizing, "_Py_IsFinalizing")) &&
                   find(&p->import_module, "PyImport_ImportModule") && find(&p->call_method, "PyObject_CallMethod") &&
                   find(&p->build, "Py_BuildValue") && find(&p->get_attribute, "PyObject_GetAttrString") &&
                   find(&p->decref, "Py_DecRef") && find(&p->get_raised, "PyErr_GetRaisedException") &&
                   find(&p->clear_error, "PyErr_Clear") && find(&p->occurred, "PyErr_Occurred") &&
                   find(&p->utf8, "PyUnicode_AsUTF8AndSize") && find(&p->decode_utf8, "PyUnicode_DecodeUTF8") &&
                   find(&p->new_dict, "PyDict_New") && find(&p->dict_set, "PyDict_SetItemString") &&
                   find(&p->dict_get, "PyDict_GetItemString") && find(&p->new_list, "PyList_New") &&
                   find(&p->list_append, "PyList_Append") && find(&p->list_size, "PyList_Size") &&
                   find(&p->list_get, "PyList_GetItem") && find(&p->from_int, "PyLong_FromLongLong") &&
                   find(&p->from_float, "PyFloat_FromDouble") && find(&p->to_int, "PyLong_AsLongLong") &&
                   find(&p->to_float, "PyFloat_AsDouble") && find(&p->from_memory, "PyMemoryView_FromMemory");
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

int enter(const Python *p, int *gil) {
    if (!p || !p->is_initialized() || p->is_finalizing())
        return 0;
    *gil = p->gil_ensure();
    return 1;
}

void say(char *message, const char *function, const char *text) {
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

/* vs_videoinr.plugin.entry.describe knows which words to use. */
void say_raised(const Python *p, char *message, const char *function) {
    PyObject *raised = p->get_raised();
    PyObject *module = p->import_module("vs_videoinr.plugin.entry");
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

PyObject *planes(const Python *p, const VSFrame *frame, VSFrame *writable, const VSAPI *vsapi) {
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

PyObject *planes_or_none(const Python *p, const VSFrame *frame, const VSAPI *vsapi) {
    return frame ? planes(p, frame, NULL, vsapi) : p->build("");
}

long long int_attribute(const Python *p, PyObject *object, const char *name, int *ok) {
    PyObject *value = *ok ? p->get_attribute(object, name) : NULL;
    long long number = value ? p->to_int(value) : 0;
    *ok = *ok && value && !p->occurred();
    p->decref(value);
    return number;
}

double float_attribute(const Python *p, PyObject *object, const char *name, int *ok) {
    PyObject *value = *ok ? p->get_attribute(object, name) : NULL;
    double number = value ? p->to_float(value) : 0;
    *ok = *ok && value && !p->occurred();
    p->decref(value);
    return number;
}
