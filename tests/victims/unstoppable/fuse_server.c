// A FUSE server that never answers a READ, and never a LOOKUP of `lost`. Everything else is answered as little as will
// do.
//
// It has two files: `direct` is read past the page cache. `mixed` is read through it by whoever opens it first, and
// past it by whoever opens it later.

#define _GNU_SOURCE
#include "fixture.h"

#include <errno.h>
#include <linux/fuse.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { ROOT = FUSE_ROOT_ID, DIRECT, MIXED };

static void answer(int fuse, uint64_t unique, int error, const void *body, size_t length) {
    struct fuse_out_header header = {(uint32_t)(sizeof header + length), -error, unique};
    struct iovec parts[] = {{&header, sizeof header}, {(void *)body, length}};
    // ENOENT: whoever asked was killed in the meantime. ENODEV: the connection was aborted, which the next read tells
    // too.
    if (writev(fuse, parts, 2) < 0 && errno != ENOENT && errno != ENODEV) fail("answering");
}

static struct fuse_attr attributes(uint64_t node) {
    return (struct fuse_attr){
        .ino = node,
        .size = node == ROOT ? 0 : 16 * PAGE,
        .mode = node == ROOT ? S_IFDIR | 0700 : S_IFREG | 0600,
        .nlink = 1,
        .blksize = PAGE,
    };
}

static void look_up(int fuse, const struct fuse_in_header *in, const char *name, struct shared *shared) {
    if (strcmp(name, "lost") == 0) {
        shared->unanswered++;
        return;
    }
    uint64_t node = strcmp(name, "direct") == 0 ? DIRECT : strcmp(name, "mixed") == 0 ? MIXED : 0;
    // Valid for longer than any fixture lives, so that nothing is asked twice.
    struct fuse_entry_out entry = {.nodeid = node, .entry_valid = 3600, .attr_valid = 3600, .attr = attributes(node)};
    if (node) answer(fuse, in->unique, 0, &entry, sizeof entry);
    else answer(fuse, in->unique, ENOENT, NULL, 0);
}

static void open_file(int fuse, const struct fuse_in_header *in) {
    static int opened;
    // Keeping the cache: otherwise the second open, and not what it is there for, would wait for the pages being read.
    uint32_t flags = in->nodeid == DIRECT || opened++ > 0 ? FOPEN_DIRECT_IO | FOPEN_KEEP_CACHE : FOPEN_KEEP_CACHE;
    struct fuse_open_out out = {.fh = in->nodeid, .open_flags = flags};
    answer(fuse, in->unique, 0, &out, sizeof out);
}

void serve_fuse(const struct fixture *fixture) {
    static char request[1 << 16];
    struct fuse_in_header *in = (struct fuse_in_header *)request;
    int fuse = fixture->fuse;
    for (;;) {
        if (read(fuse, request, sizeof request) < 0) {
            if (errno == ENODEV) _exit(0);
            // ENOENT: a request was withdrawn before it could be read.
            if (errno == EINTR || errno == ENOENT || errno == EAGAIN) continue;
            fail("reading a request");
        }
        const char *body = request + sizeof *in;
        switch (in->opcode) {
        case FUSE_INIT: {
            const struct fuse_init_in *asked = (const struct fuse_init_in *)body;
            struct fuse_init_out out = {
                .major = FUSE_KERNEL_VERSION,
                .minor = FUSE_KERNEL_MINOR_VERSION,
                .max_readahead = asked->max_readahead,
                .flags = asked->flags & FUSE_ASYNC_READ,
                .max_write = PAGE,
            };
            answer(fuse, in->unique, 0, &out, sizeof out);
            break;
        }
        case FUSE_LOOKUP: look_up(fuse, in, body, fixture->shared); break;
        case FUSE_GETATTR: {
            struct fuse_attr_out out = {.attr_valid = 3600, .attr = attributes(in->nodeid)};
            answer(fuse, in->unique, 0, &out, sizeof out);
            break;
        }
        case FUSE_OPEN: open_file(fuse, in); break;
        case FUSE_READ: fixture->shared->unanswered++; break;
        // These have no answer.
        case FUSE_FORGET:
        case FUSE_BATCH_FORGET:
        case FUSE_INTERRUPT: break;
        default: answer(fuse, in->unique, ENOSYS, NULL, 0);
        }
    }
}
