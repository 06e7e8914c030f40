// Part of matrix.c: sockets, with and without timeouts of their own (SO_RCVTIMEO, SO_SNDTIMEO).
//
// A timeout on a socket turns a restart into EINTR; a transfer of which a part is done returns that part.

static void connected(struct row *r, int type) {
    int pair[2];
    MUST(r, socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair));
    r->in = pair[0], r->out = pair[1];
}

static void limit_socket(struct row *r, int option) {
    struct timeval limit = {0, TIMEOUT / 1000};
    MUST(r, setsockopt(r->in, SOL_SOCKET, option, &limit, sizeof limit));
}

// A TCP connection whose buffers hold much less than is sent; false where there is no loopback.
static int connected_by_tcp(struct row *r) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int listener = MUST(r, socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)), small = 32 * 1024;
    r->in = MUST(r, socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    MUST(r, setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &small, sizeof small));
    MUST(r, setsockopt(r->in, SOL_SOCKET, SO_SNDBUF, &small, sizeof small));
    if (bind(listener, (struct sockaddr *)&address, length) || listen(listener, 1) ||
        getsockname(listener, (struct sockaddr *)&address, &length) ||
        connect(r->in, (struct sockaddr *)&address, length)) {
        r->absent = "no TCP on the loopback interface";
        return 0;
    }
    r->out = MUST(r, accept4(listener, NULL, NULL, SOCK_CLOEXEC));
    close(listener);
    return 1;
}

ROW(recv) {
    char bytes[8] = {0};
    connected(r, SOCK_STREAM);
    TRANSFER(r, 8, recv(r->in, bytes + done, 8 - done, 0));
    check_eight(r, bytes);
}
ROW(read_socket) {
    char bytes[8] = {0};
    connected(r, SOCK_STREAM);
    TRANSFER(r, 8, read(r->in, bytes + done, 8 - done));
    check_eight(r, bytes);
}
ROW(recv_tcp) {
    char bytes[8] = {0};
    if (!connected_by_tcp(r)) return;
    TRANSFER(r, 8, recv(r->in, bytes + done, 8 - done, 0));
    check_eight(r, bytes);
}
// Half of it is there when the call begins.
static void give_second_half(struct row *r) { expect(r, "released by", write(r->out, eight + 4, 4), 4); }
ROW(recv_waitall_part) {
    char bytes[8] = {0};
    connected(r, SOCK_STREAM);
    MUST(r, write(r->out, eight, 4));
    TRANSFER(r, 8, recv(r->in, bytes + done, 8 - done, MSG_WAITALL));
    check_eight(r, bytes);
}
ROW(recv_tcp_waitall_part) {
    char bytes[8] = {0};
    if (!connected_by_tcp(r)) return;
    MUST(r, write(r->out, eight, 4));
    TRANSFER(r, 8, recv(r->in, bytes + done, 8 - done, MSG_WAITALL));
    check_eight(r, bytes);
}
ROW(recvfrom) {
    char bytes[16] = {0};
    connected(r, SOCK_DGRAM);
    expect(r, "received", BLOCK(r, recvfrom(r->in, bytes, sizeof bytes, 0, NULL, NULL)), 8);
    check_eight(r, bytes);
}
ROW(recvmsg) {
    char bytes[8] = {0};
    struct iovec piece = {bytes, 8}, before = piece;
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
    connected(r, SOCK_STREAM);
    expect(r, "received", BLOCK(r, recvmsg(r->in, &message, 0)), 8);
    check_eight(r, bytes);
    unchanged(r, &piece, &before, sizeof piece);
}

// So many messages of eight bytes, of which some may be there already. How many came.
static long receive_messages(struct row *r, long count) {
    char bytes[2][8] = {0};
    struct iovec pieces[2] = {{bytes[0], 8}, {bytes[1], 8}};
    struct mmsghdr messages[2] = {0};
    for (int i = 0; i < 2; i++) messages[i].msg_hdr = (struct msghdr){.msg_iov = pieces + i, .msg_iovlen = 1};
    TRANSFER(r, count, recvmmsg(r->in, messages + done, count - done, 0, NULL));
    long whole = 0;
    while (whole < count && memcmp(bytes[whole], eight, 8) == 0) whole++;
    return whole;
}
ROW(recvmmsg) {
    connected(r, SOCK_DGRAM);
    expect(r, "messages", receive_messages(r, 1), 1);
}
ROW(recvmmsg_part) {
    connected(r, SOCK_DGRAM);
    MUST(r, write(r->out, eight, 8));
    expect(r, "messages", receive_messages(r, 2), 2);
}

#define RECEIVE_ROW_TIMED(name, prepare, call) \
    ROW(name) { \
        char bytes[8] = "pattern", before[8] = "pattern"; \
        struct iovec piece = {bytes, 8}; \
        struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1}, message_before = message; \
        struct mmsghdr messages[1] = {{message, 0}}; \
        prepare; \
        limit_socket(r, SO_RCVTIMEO); \
        (void)messages; \
        while (!ending) { \
            int64_t begun = begin(r); \
            timed_out(r, begun, TICKS, call, EAGAIN); \
            unchanged(r, bytes, before, 8); \
            unchanged(r, &message, &message_before, sizeof message); \
        } \
    }
#define TCP_OR_NOT if (!connected_by_tcp(r)) return
RECEIVE_ROW_TIMED(recv_timed, connected(r, SOCK_STREAM), recv(r->in, bytes, 8, 0))
RECEIVE_ROW_TIMED(recv_tcp_timed, TCP_OR_NOT, recv(r->in, bytes, 8, 0))
RECEIVE_ROW_TIMED(read_socket_timed, connected(r, SOCK_STREAM), read(r->in, bytes, 8))
RECEIVE_ROW_TIMED(recvfrom_timed, connected(r, SOCK_DGRAM), recvfrom(r->in, bytes, 8, 0, NULL, NULL))
RECEIVE_ROW_TIMED(recvmsg_timed, connected(r, SOCK_STREAM), recvmsg(r->in, &message, 0))
RECEIVE_ROW_TIMED(recvmmsg_timed, connected(r, SOCK_DGRAM), recvmmsg(r->in, messages, 1, 0, NULL))

// A name of its own that needs no file.
static struct sockaddr_un place(struct row *r) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "hangsnap-matrix-%d-%s", getpid(), r->name);
    return address;
}
static int listening(struct row *r, int backlog) {
    struct sockaddr_un address = place(r);
    int listener = MUST(r, socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    MUST(r, bind(listener, (struct sockaddr *)&address, sizeof address));
    MUST(r, listen(listener, backlog));
    return listener;
}
static int connecting(struct row *r, int flags) {
    struct sockaddr_un address = place(r);
    int fd = MUST(r, socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0));
    return connect(fd, (struct sockaddr *)&address, sizeof address);
}
static void give_connection(struct row *r) { expect(r, "released by", connecting(r, 0), 0); }
ROW(accept) {
    r->in = listening(r, 1);
    if (BLOCK(r, accept(r->in, NULL, NULL)) < 0) wrong(r, "accepted", -1, 0);
}
ROW(accept_timed) {
    r->in = listening(r, 1);
    limit_socket(r, SO_RCVTIMEO);
    while (!ending) {
        int64_t begun = begin(r);
        timed_out(r, begun, TICKS, accept(r->in, NULL, NULL), EAGAIN);
    }
}
// No connection fits into the listener's queue any more.
static void crowded(struct row *r) {
    r->out = listening(r, 0);
    while (connecting(r, SOCK_NONBLOCK) == 0) {}
    r->in = MUST(r, socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
}
static void take_connection(struct row *r) { close(MUST(r, accept(r->out, NULL, NULL))); }
ROW(connect) {
    struct sockaddr_un address = place(r), before = address;
    crowded(r);
    expect(r, "connected", BLOCK(r, connect(r->in, (struct sockaddr *)&address, sizeof address)), 0);
    unchanged(r, &address, &before, sizeof address);
}
ROW(connect_timed) {
    struct sockaddr_un address = place(r), before = address;
    crowded(r);
    limit_socket(r, SO_SNDTIMEO);
    while (!ending) {
        int64_t begun = begin(r);
        timed_out(r, begun, TICKS, connect(r->in, (struct sockaddr *)&address, sizeof address), EAGAIN);
        unchanged(r, &address, &before, sizeof address);
    }
}

ROW(send_large) {
    connected(r, SOCK_STREAM);
    TRANSFER(r, LARGE, send(r->in, large + done, LARGE - done, 0));
}
ROW(send_tcp_large) {
    if (!connected_by_tcp(r)) return;
    TRANSFER(r, LARGE, send(r->in, large + done, LARGE - done, 0));
}
ROW(write_socket_large) {
    connected(r, SOCK_STREAM);
    TRANSFER(r, LARGE, write(r->in, large + done, LARGE - done));
}
ROW(sendmsg_large) {
    connected(r, SOCK_STREAM);
    TRANSFER(r, LARGE, ({
                 struct iovec piece = {large + done, LARGE - done};
                 struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
                 sendmsg(r->in, &message, 0);
             }));
}
ROW(sendfile_large) {
    int file = MUST(r, memfd_create(r->name, MFD_CLOEXEC));
    off_t from = 0;
    MUST(r, pwrite(file, large, LARGE, 0));
    connected(r, SOCK_STREAM);
    TRANSFER(r, LARGE, sendfile(r->in, file, &from, LARGE - done));
    expect(r, "offset", from, LARGE);
}
static void fill(struct row *r, int bytes) {
    while (send(r->in, large, bytes, MSG_DONTWAIT) > 0) {}
}
ROW(send_datagram) {
    connected(r, SOCK_DGRAM);
    fill(r, 7);
    expect(r, "sent", BLOCK(r, send(r->in, eight, 8, 0)), 8);
}
// Until the row's own comes, which is the only one of eight bytes.
static void take_datagrams(struct row *r) {
    char bytes[16];
    while (MUST(r, recv(r->out, bytes, sizeof bytes, 0)) != 8) {}
    check_eight(r, bytes);
}
ROW(send_timed) {
    connected(r, SOCK_STREAM);
    fill(r, 1024);
    limit_socket(r, SO_SNDTIMEO);
    while (!ending) {
        int64_t begun = begin(r);
        timed_out(r, begun, TICKS, send(r->in, large, 1024, 0), EAGAIN);
    }
}
