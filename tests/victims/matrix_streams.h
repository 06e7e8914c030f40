// Part of matrix.c: pipes, FIFOs, terminals, and what moves bytes between them.
//
// A write that has put a part through returns that part when it is stopped; the part that a pipe holds is 64 KiB.

static void piped(struct row *r) {
    int pair[2];
    MUST(r, pipe2(pair, O_CLOEXEC));
    r->in = pair[0], r->out = pair[1];
}
ROW(read_pipe) {
    char bytes[8] = {0};
    piped(r);
    TRANSFER(r, 8, read(r->in, bytes + done, 8 - done));
    check_eight(r, bytes);
}
ROW(readv_pipe) {
    char bytes[8] = {0};
    struct iovec pieces[2] = {{bytes, 4}, {bytes + 4, 4}};
    piped(r);
    expect(r, "read", BLOCK(r, readv(r->in, pieces, 2)), 8);
    check_eight(r, bytes);
}

// A row that writes has its end in `in`, and `out` is where the bytes come out.
static void piped_outwards(struct row *r) {
    piped(r);
    int written = r->out;
    r->out = r->in, r->in = written;
}
ROW(write_pipe_large) {
    piped_outwards(r);
    TRANSFER(r, LARGE, write(r->in, large + done, LARGE - done));
}
ROW(writev_pipe_large) {
    piped_outwards(r);
    TRANSFER(r, LARGE, ({
                 long half = (LARGE - done) / 2;
                 struct iovec pieces[2] = {{large + done, half}, {large + done + half, LARGE - done - half}};
                 writev(r->in, pieces, 2);
             }));
}

static void path_of(struct row *r, char path[PATH_MAX]) {
    MUST(r, snprintf(path, PATH_MAX, "%s/%s", directory, r->name));
}
ROW(open_fifo) {
    char path[PATH_MAX];
    path_of(r, path);
    MUST(r, mkfifo(path, 0600));
    r->in = BLOCK(r, open(path, O_RDONLY | O_CLOEXEC));
    if (r->in < 0) wrong(r, "opened", r->in, 0);
}
static void open_other_end(struct row *r) {
    char path[PATH_MAX];
    path_of(r, path);
    close(MUST(r, open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC)));
}
ROW(read_fifo) {
    char path[PATH_MAX], bytes[8] = {0};
    path_of(r, path);
    MUST(r, mkfifo(path, 0600));
    r->out = r->in = MUST(r, open(path, O_RDWR | O_CLOEXEC));
    TRANSFER(r, 8, read(r->in, bytes + done, 8 - done));
    check_eight(r, bytes);
}

// The row sits at the terminal, and the other side is `out`. Eight bytes are asked for at least.
static void at_terminal(struct row *r) {
    struct termios raw;
    MUST(r, openpty(&r->out, &r->in, NULL, NULL, NULL));
    MUST(r, tcgetattr(r->in, &raw));
    cfmakeraw(&raw);
    raw.c_cc[VMIN] = 8;
    MUST(r, tcsetattr(r->in, TCSANOW, &raw));
}
ROW(read_tty) {
    char bytes[8] = {0};
    at_terminal(r);
    TRANSFER(r, 8, read(r->in, bytes + done, 8 - done));
    check_eight(r, bytes);
}
ROW(read_tty_part) {
    char bytes[8] = {0};
    at_terminal(r);
    MUST(r, write(r->out, eight, 4));
    TRANSFER(r, 8, read(r->in, bytes + done, 8 - done));
    check_eight(r, bytes);
}
ROW(write_tty_large) {
    at_terminal(r);
    TRANSFER(r, LARGE, write(r->in, large + done, LARGE - done));
}

// From an empty pipe into another one, which `other` reads.
static int beside(struct row *r) {
    int pair[2];
    MUST(r, pipe2(pair, O_CLOEXEC));
    r->other = pair[0];
    return pair[1];
}
static void check_other(struct row *r) {
    char bytes[8] = {0};
    expect(r, "read", read(r->other, bytes, 8), 8);
    check_eight(r, bytes);
}
ROW(splice) {
    piped(r);
    int to = beside(r);
    expect(r, "spliced", BLOCK(r, splice(r->in, NULL, to, NULL, 8, 0)), 8);
    check_other(r);
}
ROW(tee) {
    piped(r);
    int to = beside(r);
    expect(r, "copied", BLOCK(r, tee(r->in, to, 8, 0)), 8);
    check_other(r);
}

// Into a pipe that is full.
static void full(struct row *r) {
    piped_outwards(r);
    MUST(r, fcntl(r->in, F_SETFL, O_NONBLOCK));
    while (write(r->in, large, PAGE) == PAGE) {}
    MUST(r, fcntl(r->in, F_SETFL, 0));
}
// Makes room; the eight bytes come last.
static void take_pages(struct row *r) {
    static char bytes[PAGE];
    long part;
    while ((part = MUST(r, read(r->out, bytes, PAGE))) == PAGE) {}
    expect(r, "at the end", part, 8);
    check_eight(r, bytes);
}
ROW(write_pipe_full) {
    full(r);
    expect(r, "written", BLOCK(r, write(r->in, eight, 8)), 8);
}
ROW(splice_full) {
    full(r);
    int to = beside(r);
    MUST(r, write(to, eight, 8));
    expect(r, "spliced", BLOCK(r, splice(r->other, NULL, r->in, NULL, 8, 0)), 8);
}
ROW(vmsplice_full) {
    full(r);
    struct iovec piece = {(void *)eight, 8};
    expect(r, "spliced", BLOCK(r, vmsplice(r->in, &piece, 1, 0)), 8);
}
