// Children that do not end, and processes that may not run.
//
//   children waitpid|vfork      the parent waits for a child that sleeps
//   children stopped            all threads of a child were stopped by a signal
//   children traced             a thread of a child is stopped by its tracer
//   children frozen             the cgroup of a child is frozen
#include "truth.h"
#include <sys/ptrace.h>
#include <sys/stat.h>

static pid_t child;
static _Atomic int *second;
static char group[128], file[160];

static void waits(void) {
    char text[64];
    int is_vfork = !child;
    // The first thread's children are listed by the kernel, also when vfork has not returned to it.
    for (snprintf(file, sizeof file, "task/%d/children", getpid()); !child; a_moment()) {
        kernel_says(getpid(), file, text, sizeof text);
        child = atoi(text);
    }
    until_in(child, is_vfork ? SYS_clock_nanosleep : SYS_pause);
    until_in(getpid(), is_vfork ? SYS_vfork : SYS_wait4);
    say("kind waits-for-child\naccused %d\nholder %d\nresource child %d\n", getpid(), child, child);
}

static void *idle(void *argument) {
    for (*second = own_tid();;) pause();
    return argument;
}

static int put(const char *name, const char *text) {
    snprintf(file, sizeof file, "%s/%s", group, name);
    int to = open(file, O_WRONLY), done = to >= 0 && write(to, text, strlen(text)) > 0;
    if (to >= 0) close(to);
    return done;
}

// Freezes the child by whichever of the two kinds of cgroup there is, or says that it cannot.
static int freeze(void) {
    const char *roots[] = {"/sys/fs/cgroup/freezer", "/sys/fs/cgroup", "/sys/fs/cgroup/unified"};
    char pid[16], text[256];
    snprintf(pid, sizeof pid, "%d", child);
    for (int i = 0; i < 3; i++) {
        snprintf(group, sizeof group, "%s/hangsnap-frozen-%d", roots[i], getpid());
        if (mkdir(group, 0700)) continue;
        if (put("cgroup.procs", pid) && (i ? put("cgroup.freeze", "1") : put("freezer.state", "FROZEN"))) {
            for (;; a_moment()) {
                snprintf(file, sizeof file, "%s/%s", group, i ? "cgroup.events" : "freezer.state");
                int from = open(file, O_RDONLY);
                ssize_t length = read(from, text, sizeof text - 1);
                text[length > 0 ? length : 0] = 0;
                close(from);
                if (strstr(text, i ? "frozen 1" : "FROZEN")) return i + 1;
            }
        }
        rmdir(group);
    }
    say("skipped neither kind of freezer can be used here\n");
    return 0;
}

int main(int arguments, char **argument) {
    must(arguments > 1, "an argument");
    const char *which = argument[1];
    if (!strcmp(which, "vfork")) {
        herald(waits);
        if (!vfork()) prctl(PR_SET_PDEATHSIG, SIGKILL), nanosleep(&(struct timespec){HOUR, 0}, NULL), _exit(0);
    }
    int shared[2];
    must(!pipe(shared), "pipe");
    if (!(child = forked())) {
        int tid = 0;
        second = (_Atomic int *)&tid;
        if (strcmp(which, "waitpid")) {
            start(0, idle);
            while (!tid) a_moment();
            must(write(shared[1], &tid, sizeof tid) == sizeof tid, "a pipe");
        }
        for (;;) pause();
    }
    if (!strcmp(which, "waitpid")) {
        herald(waits);
        waitpid(child, NULL, 0);
    }
    int tid = 0, frozen = 0;
    must(read(shared[0], &tid, sizeof tid) == sizeof tid, "a pipe");
    until_in(child, SYS_pause);
    until_in(tid, SYS_pause);
    say("target %d\nkind %s\naccused %d\n", child, which, child);
    if (!strcmp(which, "stopped")) {
        kill(child, SIGSTOP);
        until_state(child, 'T'), until_state(tid, 'T');
        say("accused %d\n", tid);
    } else if (!strcmp(which, "traced")) {
        must(!ptrace(PTRACE_SEIZE, child, 0, PTRACE_O_EXITKILL) && !ptrace(PTRACE_INTERRUPT, child, 0, 0), "ptrace");
        until_state(child, 't');
        say("holder %d\n", getpid());
    } else if ((frozen = freeze())) {
        say("accused %d\n", tid);
    }
    until_the_end();
    if (frozen) put(frozen > 1 ? "cgroup.freeze" : "freezer.state", frozen > 1 ? "0" : "THAWED");
    kill(child, SIGKILL);
    while (waitpid(child, NULL, 0) != child || state_of(child)) {}
    while (frozen && rmdir(group) && errno == EBUSY) a_moment();
}
