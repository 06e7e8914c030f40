/*
 * `modules KIND [LIBRARY [OTHER]]`: a thread whose functions lie in modules that are loaded in unusual ways.
 */
#include "chain.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>

extern char **environ;

typedef void plugin_function(void (*enter)(const char *, void *), void (*callee)(void));

static plugin_function *second;

static void check(int failed, const char *what) {
    if (failed) {
        perror(what);
        exit(1);
    }
}

PLAIN static void leaf(void) {
    ENTER("leaf");
    stay();
    AFTER_CALL();
}

static void enter_of_plugin(const char *name, void *returns_to) {
    enter(name, returns_to, NULL, NULL);
}

PLAIN static void calls_second(void) {
    ENTER("calls_second");
    second(enter_of_plugin, leaf);
    AFTER_CALL();
}

/* Functions in pages of their own, so that what is done to one of them leaves the others alone. */
__attribute__((aligned(4096))) PLAIN static void inner_page(void) {
    ENTER("inner_page");
    leaf();
    AFTER_CALL();
}

__attribute__((aligned(4096))) PLAIN static void changed_page(void) {
    ENTER("changed_page");
    inner_page();
    AFTER_CALL();
}

__attribute__((aligned(4096))) PLAIN static void outer_page(void) {
    ENTER("outer_page");
    changed_page();
    AFTER_CALL();
}

/* Refers to nothing by how far off it lies, and so runs wherever it is mapped. */
__attribute__((aligned(4096))) PLAIN static void mapped_again(void (*enter)(const char *, void *), const char *name,
                                                              void (*callee)(void)) {
    enter(name, __builtin_return_address(0));
    callee();
    AFTER_CALL();
}

static int in_memory(const char *path) {
    int file = open(path, O_RDONLY), memory = memfd_create("in memory", 0);
    check(file < 0 || memory < 0, path);
    while (sendfile(memory, file, NULL, 1 << 20) > 0)
        ;
    close(file);
    return memory;
}

static plugin_function *load(const char *path) {
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    check(library == NULL, path);
    return (plugin_function *)dlsym(library, "plugin_outer");
}

static void run_in_memory(char **arguments) {
    char *plain[] = {arguments[0], "plain", NULL};
    fexecve(in_memory("/proc/self/exe"), plain, environ);
    check(1, "fexecve");
}

/* Code in an anonymous mapping in the middle of the module, as programs make it that want large pages for their code. */
static void make_anonymous(void *page) {
    void *copy = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    check(copy == MAP_FAILED, "mmap");
    memcpy(copy, page, 4096);
    check(mprotect(copy, 4096, PROT_READ | PROT_EXEC) != 0, "mprotect");
    check(mremap(copy, 4096, 4096, MREMAP_MAYMOVE | MREMAP_FIXED, page) != page, "mremap");
}

/* A page of the program's code, mapped once more and far off: V8 has its own code near what it makes. */
static void *map_again(void *page) {
    unsigned long start, offset, end;
    char line[8192];
    FILE *map = fopen("/proc/self/maps", "r");
    int program = open("/proc/self/exe", O_RDONLY);
    check(map == NULL || program < 0, "this program");
    while (fgets(line, sizeof line, map) != NULL)
        if (sscanf(line, "%lx-%lx %*s %lx", &start, &end, &offset) == 3 && start <= (unsigned long)page &&
            (unsigned long)page < end)
            break;
    offset += (unsigned long)page - start;
    void *copy = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, program, (long)offset);
    check(copy == MAP_FAILED || memcmp(copy, page, 4096) != 0, "mmap");
    fclose(map);
    close(program);
    return copy;
}

int main(int count, char **arguments) {
    const char *kind = count > 1 ? arguments[1] : "";
    const char *path = count > 2 ? arguments[2] : NULL;
    char descriptor[64];
    expect_threads(1);
    ENTER("main");
    if (strcmp(kind, "in-memory") == 0)
        run_in_memory(arguments);
    if (strcmp(kind, "pieces") == 0)
        check(mprotect((void *)changed_page, 4096, PROT_READ | PROT_WRITE | PROT_EXEC) != 0, "mprotect");
    if (strcmp(kind, "anonymous") == 0)
        make_anonymous((void *)changed_page);
    if (strcmp(kind, "again") == 0) {
        void (*again)(void (*)(const char *, void *), const char *, void (*)(void)) = map_again((void *)mapped_again);
        again(enter_of_plugin, "mapped_again", outer_page);
        AFTER_CALL();
        return 0;
    }
    if (path == NULL) {
        outer_page();
        AFTER_CALL();
        return 0;
    }
    if (strcmp(kind, "library-in-memory") == 0) {
        snprintf(descriptor, sizeof descriptor, "/proc/self/fd/%d", in_memory(path));
        path = descriptor;
    }
    plugin_function *first = load(path);
    if (strcmp(kind, "deleted-library") == 0)
        unlink(path);
    if (strcmp(kind, "two-of-one-path") == 0) {
        check(rename(arguments[3], path) != 0, path);
        /* Spelled otherwise, because the dynamic linker knows this spelling. */
        char other[4096];
        const char *name = strrchr(path, '/');
        snprintf(other, sizeof other, "%.*s/.%s", (int)(name - path), path, name);
        second = load(other);
        check(second == first, "two libraries");
        first(enter_of_plugin, calls_second);
    } else {
        first(enter_of_plugin, leaf);
    }
    AFTER_CALL();
    return 0;
}
