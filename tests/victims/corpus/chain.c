/*
 * Two threads, each at the end of a chain of functions with the kinds of frames that compilers make: plain ones, one with
 * an array of variable length, one with arguments on the stack, a realigned one, and one that ends with a call that does not
 * return.
 */
#include "chain.h"

PLAIN __attribute__((noreturn)) static void leaf(void) {
    ENTER("leaf");
    stay();
    abort();
}

/* Its call is its last instruction: it returns into whatever comes next. */
PLAIN __attribute__((noreturn)) static void ends_with_call(void) {
    ENTER("ends_with_call");
    leaf();
}

PLAIN static int realigned(int size) {
    /* Both an alignment and an unknown size: the frame is found through a register of its own. */
    _Alignas(64) volatile char aligned[64];
    volatile char unknown[size];
    ENTER("realigned");
    aligned[0] = unknown[0] = 1;
    ends_with_call();
    AFTER_CALL();
    return aligned[0] + unknown[0];
}

PLAIN static int many_arguments(int a, int b, int c, int d, int e, int f, int g, int h, int i) {
    ENTER("many_arguments");
    int result = realigned(a + b + c + d + e + f + g + h + i);
    AFTER_CALL();
    return result;
}

PLAIN static int variable_array(int size) {
    volatile char bytes[size];
    ENTER("variable_array");
    bytes[size - 1] = 1;
    int result = many_arguments(1, 2, 3, 4, 5, 6, 7, 8, size);
    AFTER_CALL();
    return result + bytes[size - 1];
}

PLAIN static int plain(int size) {
    ENTER("plain");
    int result = variable_array(size);
    AFTER_CALL();
    return result;
}

PLAIN static void *run_thread(void *argument) {
    ENTER("run_thread");
    plain(200);
    AFTER_CALL();
    return argument;
}

int main(void) {
    pthread_t thread;
    ENTER("main");
    expect_threads(2);
    if (pthread_create(&thread, NULL, run_thread, NULL) != 0)
        return 1;
    plain(100);
    AFTER_CALL();
    return 0;
}
