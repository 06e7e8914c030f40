/*
 * `stubs KIND`: a thread inside of a stub of the procedure linkage table that this program was linked with.
 *
 * `entry`: the slot that the stub jumps through is made to point at the stub itself. `resolver`: the slot behind the
 * first stub, which leads to the dynamic linker, is made to point at the jump there. Both are real stubs, with the call
 * frame information that the linker made for them.
 */
#include "chain.h"

#include <stdint.h>
#include <sys/mman.h>

/* The stub of the function that is called, as a call reaches it. */
__asm__(".text\nstub_of_getppid: lea getppid@PLT(%rip), %rax\nret\n.type stub_of_getppid, @function\n");
unsigned char *stub_of_getppid(void);

static int is_about_to;

/* Behind the instructions that stubs begin with, `endbr64` and `bnd`, is a jump through a slot. */
static uint64_t *slot_of(unsigned char *stub, unsigned char **jump) {
    if (memcmp(stub, "\xf3\x0f\x1e\xfa", 4) == 0)
        stub += 4;
    if (*stub == 0xf2)
        stub++;
    if (stub[0] != 0xff || stub[1] != 0x25)
        _exit(1);
    int32_t offset;
    memcpy(&offset, stub + 2, sizeof offset);
    *jump = stub;
    return (uint64_t *)(stub + 6 + offset);
}

static void set(uint64_t *slot, const void *target) {
    uintptr_t page = (uintptr_t)slot & ~0xfffUL;
    if (mprotect((void *)page, 0x1000, PROT_READ | PROT_WRITE) != 0)
        _exit(1);
    *slot = (uint64_t)target;
}

/* The first stub pushes a word and jumps through the one behind it; every other one leads there by way of the push behind
 * its own jump, until its function has been found. */
static void redirect_resolver(unsigned char *jump, uint64_t *slot) {
    extern uint64_t _GLOBAL_OFFSET_TABLE_[];
    unsigned char *push = jump + 6;
    int32_t offset;
    if (push[0] != 0x68 || push[5] != 0xe9)
        _exit(1);
    memcpy(&offset, push + 6, sizeof offset);
    unsigned char *first = push + 10 + offset;
    if (first[0] != 0xff || first[1] != 0x35 || first[6] != 0xff || first[7] != 0x25)
        _exit(1);
    set(slot, push);
    set(&_GLOBAL_OFFSET_TABLE_[2], first + 6);
}

PLAIN static void calls_stub(void) {
    ENTER("calls_stub");
    /* A stub's name is not in any table. */
    announce("?");
    __atomic_store_n(&is_about_to, 1, __ATOMIC_SEQ_CST);
    getppid();
    AFTER_CALL();
}

PLAIN static void *run_thread(void *argument) {
    ENTER("run_thread");
    calls_stub();
    AFTER_CALL();
    return argument;
}

int main(int count, char **arguments) {
    pthread_t thread;
    unsigned char *jump;
    ENTER("main");
    if (count != 2)
        return 1;
    /* Nobody but the thread is to find the way to the dynamic linker barred. */
    if (getenv("LD_BIND_NOW") == NULL) {
        setenv("LD_BIND_NOW", "1", 1);
        execv("/proc/self/exe", arguments);
        return 1;
    }
    uint64_t *slot = slot_of(stub_of_getppid(), &jump);
    if (strcmp(arguments[1], "resolver") == 0)
        redirect_resolver(jump, slot);
    else
        set(slot, jump);
    expect_threads(2);
    if (pthread_create(&thread, NULL, run_thread, NULL) != 0)
        return 1;
    arrive_for_spinner(thread, &is_about_to);
    stay();
    return 0;
}
