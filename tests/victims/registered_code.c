// What registered.c loads: code without relocations, that waits in a function which it is given.
__attribute__((noinline)) static int registered_leaf(int (*waits)(void)) {
    volatile char room[72] = {1};
    return waits() + room[3];
}

__attribute__((noinline)) static int registered_middle(int (*waits)(void), int depth) {
    volatile int room[10] = {depth};
    return depth ? registered_middle(waits, depth - 1) + room[2] : registered_leaf(waits) + room[1];
}

int registered_entry(int (*waits)(void)) { return registered_middle(waits, 2) + 1; }
