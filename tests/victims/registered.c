// Loads an object file as a JIT compiler does, registers it for gdb, and waits in its code: registered FILE HOW.
#define _GNU_SOURCE
#include <elf.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <unistd.h>

struct entry { struct entry *next, *previous; const char *object; uint64_t size; };
struct { uint32_t version, action; struct entry *relevant, *first; } __jit_debug_descriptor = {1, 0, 0, 0};
void __attribute__((noinline)) __jit_debug_register_code(void) { __asm__ volatile("" ::: "memory"); }

static void add(const void *object, uint64_t size) {
    struct entry *entry = calloc(1, sizeof *entry);
    *entry = (struct entry){__jit_debug_descriptor.first, 0, object, size};
    if (entry->next) entry->next->previous = entry;
    __jit_debug_descriptor.relevant = __jit_debug_descriptor.first = entry;
    __jit_debug_descriptor.action = 1;
    __jit_debug_register_code();
}

static void *adds_and_removes(void *object) {
    for (;;) {
        add(object, 4096);
        struct entry *gone = __jit_debug_descriptor.first;
        __jit_debug_descriptor.relevant = gone, __jit_debug_descriptor.action = 2;
        __jit_debug_descriptor.first = gone->next;
        memset(gone, 0xff, sizeof *gone);
        free(gone);
    }
}

static void woken(int signal) { (void)signal; }

static int waits(void) { return pause(); }

static char *copy_of(const char *object, long size) { return memcpy(malloc(size), object, size); }

static Elf64_Shdr *section(char *object, const char *name) {
    Elf64_Ehdr *header = (void *)object;
    Elf64_Shdr *sections = (void *)(object + header->e_shoff);
    for (int i = 0; i < header->e_shnum; i++)
        if (!strcmp(object + sections[header->e_shstrndx].sh_offset + sections[i].sh_name, name)) return &sections[i];
    return 0;
}

static void rename_functions(char *object, const char *name) {
    Elf64_Shdr *symbols = section(object, ".symtab");
    char *names = object + section(object, ".strtab")->sh_offset;
    for (Elf64_Sym *s = (void *)(object + symbols->sh_offset); (char *)s < object + symbols->sh_offset + symbols->sh_size; s++) {
        if (ELF64_ST_TYPE(s->st_info) != STT_FUNC) continue;
        if (name) memcpy(names + s->st_name, name, strlen(name)); else s->st_info = STT_NOTYPE;
    }
}

int main(int argc, char **argv) {
    const char *how = argv[2];
    int file = open(argv[1], O_RDONLY);
    long size = lseek(file, 0, SEEK_END);
    char *object = malloc(size);
    pread(file, object, size, 0);
    Elf64_Shdr *text = section(object, ".text");
    char *code = mmap(0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memcpy(code, object + text->sh_offset, text->sh_size);
    text->sh_addr = (uintptr_t)code;
    long entry = 0;
    Elf64_Shdr *symbols = section(object, ".symtab");
    for (Elf64_Sym *s = (void *)(object + symbols->sh_offset); (char *)s < object + symbols->sh_offset + symbols->sh_size; s++)
        if (!strcmp(object + section(object, ".strtab")->sh_offset + s->st_name, "registered_entry")) entry = s->st_value;

    char *other = copy_of(object, size);
    rename_functions(other, "forged");
    if (!strcmp(how, "overlapping")) add(other, size);
    if (!strcmp(how, "no-names")) rename_functions(object, 0);
    if (!strcmp(how, "no-tables")) section(object, ".eh_frame")->sh_name = 0;
    if (!strcmp(how, "nothing")) return printf("ready\n"), fflush(stdout), ((int (*)(int (*)(void)))(code + entry))(waits);
    add(object, size);
    if (!strcmp(how, "unmapped")) for (int i = 0; i < 50; i++) add((void *)8, 4096);
    if (!strcmp(how, "enormous")) for (int i = 0; i < 50; i++) add(object, i % 2 ? 1ul << 63 : -1ul);
    if (!strcmp(how, "garbage")) for (int i = 0; i < 50; i++) add(code - i, 4096);
    if (!strcmp(how, "cyclic")) __jit_debug_descriptor.first->next = __jit_debug_descriptor.first;
    if (!strcmp(how, "endless") || !strcmp(how, "oversized")) {
        struct entry *many = calloc(1000000, sizeof *many);
        unsigned long claimed = strcmp(how, "endless") ? 1ul << 40 : (unsigned long)size;
        for (long i = 0; i < 1000000; i++) many[i] = (struct entry){many + i + 1, 0, object, claimed};
        __jit_debug_descriptor.first->next = many;
    }
    pthread_t thread;
    if (!strcmp(how, "changing")) pthread_create(&thread, 0, adds_and_removes, code);
    printf("ready\n"), fflush(stdout);
    if (!strcmp(how, "replaced")) {
        // Another object takes the place of the first, as of one that was freed: entry, address and size are the same.
        char *first = copy_of(object, size);
        struct itimerval often = {{0, 500000}, {0, 500000}};
        signal(SIGALRM, woken);
        setitimer(ITIMER_REAL, &often, 0);
        for (int i = 1;; i++) {
            ((int (*)(int (*)(void)))(code + entry))(waits);
            memcpy(object, i % 2 ? other : first, size);
        }
    }
    return ((int (*)(int (*)(void)))(code + entry))(waits);
}
