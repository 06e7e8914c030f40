// An HTTP service that can be frozen in ways that occur: `frozen PORT`. It answers each request, until one for /freeze/KIND
// has come: `stop`, `lock`, `loop`, `dns` or `pool`. A request for anything else then gets into the same trouble.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netdb.h>
#include <pthread.h>
#include <resolv.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static pthread_mutex_t orders = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t pool = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t returned = PTHREAD_COND_INITIALIZER;
static int connections = 2;
static volatile char kind = 0;
static volatile unsigned long rounds = 0;

static __attribute__((noinline)) void await_database(void) {
    int pair[2];
    char answer;
    socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
    // The other end is open, and says nothing.
    while (recv(pair[0], &answer, 1, 0) < 0) {
    }
}

static __attribute__((noinline)) void update_orders(void) {
    pthread_mutex_lock(&orders);
    if (kind == 'l')
        await_database();
    pthread_mutex_unlock(&orders);
}

static __attribute__((noinline)) void spin_forever(void) {
    while (kind == 'o')
        rounds++;
}

static __attribute__((noinline)) void find_database(void) {
    struct sockaddr_in silent = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof silent;
    int server = socket(AF_INET, SOCK_DGRAM, 0);
    bind(server, (struct sockaddr *)&silent, length);
    getsockname(server, (struct sockaddr *)&silent, &length);
    res_init();
    _res.nscount = 1;
    _res.nsaddr_list[0] = silent;
    _res.retrans = 60;
    struct addrinfo *found;
    getaddrinfo("database.example.", "5432", NULL, &found);
}

static __attribute__((noinline)) void borrow_connection(void) {
    pthread_mutex_lock(&pool);
    while (connections == 0)
        pthread_cond_wait(&returned, &pool);
    connections--;
    pthread_mutex_unlock(&pool);
    await_database();
}

static __attribute__((noinline)) void handle(void) {
    switch (kind) {
    case 's': raise(SIGSTOP); break;
    case 'l': update_orders(); break;
    case 'd': find_database(); break;
    case 'p': borrow_connection(); break;
    }
}

static void *serve(void *argument) {
    int client = (int)(long)argument;
    char request[4096] = "";
    if (read(client, request, sizeof request - 1) <= 0) {
        close(client);
        return NULL;
    }
    char *freeze = strstr(request, "/freeze/");
    if (freeze)
        kind = strncmp(freeze + 8, "loop", 4) ? freeze[8] : 'o';
    handle();
    const char *answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
    write(client, answer, strlen(answer));
    close(client);
    return NULL;
}

int main(int count, char **arguments) {
    signal(SIGPIPE, SIG_IGN);
    int listener = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(atoi(arguments[count - 1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    bind(listener, (struct sockaddr *)&address, sizeof address);
    listen(listener, 64);
    puts("ready");
    fflush(stdout);
    for (;;) {
        int client = accept(listener, NULL, NULL);
        spin_forever();
        pthread_t thread;
        pthread_create(&thread, NULL, serve, (void *)(long)client);
        pthread_detach(thread);
    }
}
