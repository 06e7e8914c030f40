// A library with a pause of its own, to be loaded before libc: its frames are in the stacks of those who pause.

#define _GNU_SOURCE
#include <sys/syscall.h>
#include <unistd.h>

int pause(void) {
    int result = syscall(SYS_pause);
    // What is done after it keeps the call from becoming a jump, which would leave no frame.
    __asm__ volatile("" ::: "memory");
    return result;
}
