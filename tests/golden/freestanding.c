// What a golden recording was made of: a program without any library, of two threads, whose stacks are known from reading it.
//
//   gcc -O1 -fno-omit-frame-pointer -fcf-protection=none -fno-stack-protector -fno-optimize-sibling-calls -static -nostdlib
//       -Wl,--build-id -Wl,-z,noseparate-code -o opt/freestanding freestanding.c
//
// One thread, called `napper`, pauses for ever. The first one reads a byte of its standard input in `listens`; when that has
// come it calls `deeper`, which calls itself until there are four of it, and waits for a word, 0x2a, to change.

enum { READ = 0, PAUSE = 34, PRCTL = 157, FUTEX = 202 };
enum { SET_NAME = 15, WAIT = 0 };

static unsigned word = 0x2a;
__attribute__((aligned(16), used)) static char stack[16384];

static inline long call(long number, long a, long b, long c, long d) {
    long result;
    register long fourth __asm__("r10") = d;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(fourth) : "rcx", "r11", "memory");
    return result;
}

__attribute__((noinline)) void naps(void) {
    call(PRCTL, SET_NAME, (long)"napper", 0, 0);
    for (;;) call(PAUSE, 0, 0, 0, 0);
}

__attribute__((noinline)) void waits(void) {
    for (;;) call(FUTEX, (long)&word, WAIT, 0x2a, 0);
}

__attribute__((noinline)) void deeper(int more) {
    if (more) deeper(more - 1);
    else waits();
    __asm__ volatile("");
}

__attribute__((noinline)) void listens(void) {
    char byte;
    call(READ, 0, (long)&byte, 1, 0);
    __asm__ volatile("");
}

// Both threads begin here, with nobody who called them: clone is 56, and its flags are CLONE_VM, _FS, _FILES, _SIGHAND, _THREAD
// and _SYSVSEM.
__asm__(".globl _start\n.type _start, @function\n_start: .cfi_startproc\n.cfi_undefined rip\nxor %ebp, %ebp\n"
        "lea stack+16384(%rip), %rsi\nmov $0x50f00, %edi\nxor %edx, %edx\nxor %r10d, %r10d\nxor %r8d, %r8d\nmov $56, %eax\n"
        "syscall\ntest %eax, %eax\njnz 1f\ncall naps\n1: call begins\nud2\n.cfi_endproc\n.size _start, . - _start\n");

__attribute__((used)) void begins(void) {
    listens();
    deeper(3);
    __builtin_trap();
}
