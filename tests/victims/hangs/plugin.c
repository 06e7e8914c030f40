// A library whose constructor waits for a thread that opens another library.
#include "truth.h"
#include <dlfcn.h>

static void *open_another(void *argument) {
    char tid[16];
    snprintf(tid, sizeof tid, "%d", own_tid());
    setenv("HANGS_LOADER_TID", tid, 1);
    return dlopen("libm.so.6", RTLD_NOW) ? argument : NULL;
}

__attribute__((constructor)) static void prepare(void) { pthread_join(start(0, open_another), NULL); }
