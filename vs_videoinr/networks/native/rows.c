/* Threads that share the rows of a picture. They live for one call: starting them takes some ten microseconds, and
 * nothing is left that would have to be ended with the process. */

#include "kernels.h"

#include <stdatomic.h>

#ifdef _WIN32
#include <windows.h>
#else
#include <pthread.h>
#endif

enum { MAX_THREADS = 64 };

typedef struct Shared {
    RowWork *work;
    const void *context;
    int last, block;
    atomic_int next_row;
    atomic_int next_thread;
} Shared;

static void take_rows(Shared *shared) {
    int thread = atomic_fetch_add(&shared->next_thread, 1);
    for (;;) {
        int first = atomic_fetch_add(&shared->next_row, shared->block);
        if (first >= shared->last)
            return;
        int rest = shared->last - first;
        shared->work(shared->context, first, first + (rest < shared->block ? rest : shared->block), thread);
    }
}

#ifdef _WIN32
typedef HANDLE Thread;
static DWORD WINAPI thread_main(void *shared) {
    take_rows(shared);
    return 0;
}
static int start(Thread *thread, Shared *shared) {
    *thread = CreateThread(NULL, 0, thread_main, shared, 0, NULL);
    return *thread != NULL;
}
static void join(Thread thread) {
    WaitForSingleObject(thread, INFINITE);
    CloseHandle(thread);
}
#else
typedef pthread_t Thread;
static void *thread_main(void *shared) {
    take_rows(shared);
    return NULL;
}
static int start(Thread *thread, Shared *shared) {
    return pthread_create(thread, NULL, thread_main, shared) == 0;
}
static void join(Thread thread) {
    pthread_join(thread, NULL);
}
#endif

void run_rows(RowWork *work, const void *context, int first, int last, int block, int threads) {
    Shared shared = {.work = work, .context = context, .last = last, .block = block};
    atomic_init(&shared.next_row, first);
    atomic_init(&shared.next_thread, 0);
    int blocks = (last - first + block - 1) / block, started = 0;
    Thread others[MAX_THREADS];
    threads = threads < MAX_THREADS ? threads : MAX_THREADS;
    while (started + 1 < threads && started + 1 < blocks && start(&others[started], &shared))
        started++;
    take_rows(&shared);
    while (started > 0)
        join(others[--started]);
}

EXPORT int kernels_version(void) {
    return KERNELS_VERSION;
}
