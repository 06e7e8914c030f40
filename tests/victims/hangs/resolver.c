// A name that is asked for at a server that never answers: a child that has the port, and reads the
// question.
#include "truth.h"
#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <resolv.h>
#include <sys/socket.h>

static pid_t child;

static void waits(void) {
    until_in(child, SYS_pause);
    until_in(getpid(), SYS_poll);
    say("kind waits-for-peer\naccused %d\nholder %d\nresource socket\n", getpid(), child);
}

int main(void) {
    int server = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    must(!bind(server, (void *)&address, length) && !getsockname(server, (void *)&address, &length), "bind");
    if (!(child = forked())) {
        char question[512];
        must(recv(server, question, sizeof question, 0) > 0, "recv");
        for (;;) pause();
    }
    close(server);
    must(!res_init(), "res_init");
    _res.nscount = 1;
    _res.nsaddr_list[0] = address;
    _res.retrans = 600;
    _res.retry = 5;
    _res.options |= RES_INIT;
    herald(waits);
    struct addrinfo *found, hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
    getaddrinfo("nothing.example.com", "80", &hints, &found);
    must(0, "getaddrinfo returned");
}
