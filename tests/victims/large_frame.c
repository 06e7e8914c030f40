// A function whose frame is larger than a page, over what calls that have returned have left on the stack. Compiled without
// call frame information, it must not be taken for called by any of those.
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static volatile char kept;

__attribute__((noinline)) static void leaves_much_behind(void) {
    char text[100];
    snprintf(text, sizeof text, "%f %d %s", 1.5, 7, "words");
    free(malloc(strtoul("100000", NULL, 10)));
    FILE *file = fopen("/proc/self/status", "r");
    if (file && fgets(text, sizeof text, file)) kept = text[1];
    if (file) fclose(file);
}

__attribute__((noinline)) static int waits(char *room) {
    pause();
    return room[1];
}

__attribute__((noinline)) static int has_much_room(int at) {
    char room[9000];
    room[at] = kept;
    return waits(room) + room[at];
}

__attribute__((noinline)) static int calls_it(int at) {
    return has_much_room(at) + 1;
}

int main(int argc, char **argv) {
    (void)argv;
    leaves_much_behind();
    puts("ready");
    fflush(stdout);
    return calls_it(argc) + 1;
}
