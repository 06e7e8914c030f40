/*
 * A library whose functions call back into the program. With -DVARIANT its functions lie elsewhere.
 */
#define AFTER_CALL() __asm__ volatile("" ::: "memory")

typedef void enter_function(const char *name, void *returns_to);

#ifdef VARIANT
__attribute__((used)) static int padding(int number) {
    volatile int array[1000];
    for (int i = 0; i < 1000; i++)
        array[i] = number * i;
    return array[number];
}
#endif

__attribute__((noipa)) void plugin_inner(enter_function *enter, void (*callee)(void)) {
#ifdef VARIANT
    volatile char bytes[500];
    bytes[0] = 0;
#endif
    enter("plugin_inner", __builtin_return_address(0));
    callee();
    AFTER_CALL();
}

__attribute__((noipa)) void plugin_outer(enter_function *enter, void (*callee)(void)) {
    enter("plugin_outer", __builtin_return_address(0));
    plugin_inner(enter, callee);
    AFTER_CALL();
}
