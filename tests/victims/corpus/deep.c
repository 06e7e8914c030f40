/*
 * `deep N`: two threads, each N calls of one function deep.
 */
#include "chain.h"

static const char *depth;

PLAIN static void leaf(void) {
    ENTER("leaf");
    stay();
    AFTER_CALL();
}

PLAIN static int recurses(int left) {
    if (left == 1)
        leaf();
    else
        recurses(left - 1);
    AFTER_CALL();
    return left;
}

PLAIN static void begins(void) {
    static __thread char all[64];
    snprintf(all, sizeof all, "recurses*%s", depth);
    ENTER("begins");
    /* It writes nothing down itself: there would be no room. */
    enter(all, NULL, NULL, NULL);
    recurses(atoi(depth));
    AFTER_CALL();
}

PLAIN static void *run_thread(void *argument) {
    ENTER("run_thread");
    begins();
    AFTER_CALL();
    return argument;
}

int main(int count, char **arguments) {
    pthread_t thread;
    ENTER("main");
    if (count != 2)
        return 1;
    depth = arguments[1];
    expect_threads(2);
    if (pthread_create(&thread, NULL, run_thread, NULL) != 0)
        return 1;
    begins();
    AFTER_CALL();
    return 0;
}
