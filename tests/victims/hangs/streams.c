// Streams whose other end is in a process that does not read.
//
//   streams pipe|unix|tcp
#include "truth.h"
#include <arpa/inet.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

static pid_t child;
static int out;
static long call = SYS_write;

static void waits(void) {
    struct stat its;
    until_in(child, SYS_pause);
    until_in(getpid(), call);
    fstat(out, &its);
    say("kind waits-for-peer\naccused %d\nholder %d\n", getpid(), child);
    if (call == SYS_write) say("resource pipe %lu\n", (unsigned long)its.st_ino);
    else say("resource socket\n");
}

int main(int arguments, char **argument) {
    must(arguments > 1, "an argument");
    int ends[2] = {-1, -1}, is_pipe = !strcmp(argument[1], "pipe"), is_tcp = !strcmp(argument[1], "tcp");
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    if (is_tcp) {
        ends[0] = socket(AF_INET, SOCK_STREAM, 0);
        must(!bind(ends[0], (void *)&address, length) && !listen(ends[0], 1), "listen");
        getsockname(ends[0], (void *)&address, &length);
    } else {
        must(!(is_pipe ? pipe(ends) : socketpair(AF_UNIX, SOCK_STREAM, 0, ends)), "a stream");
    }
    if (!(child = forked())) {
        if (!is_tcp) close(ends[1]);
        if (is_tcp) must(accept(ends[0], NULL, NULL) >= 0, "accept");
        for (;;) pause();
    }
    close(ends[0]);
    out = is_tcp ? socket(AF_INET, SOCK_STREAM, 0) : ends[1];
    if (is_tcp) must(!connect(out, (void *)&address, length), "connect");
    if (!is_pipe) call = SYS_sendto;
    herald(waits);
    static char piece[65536];
    for (;;) is_pipe ? write(out, piece, sizeof piece) : send(out, piece, sizeof piece, 0);
}
