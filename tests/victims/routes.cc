// Waits in a chain of functions of which some were inlined: members of classes in namespaces, named
// and unnamed, whose abstract instances have no linkage names.
#include <cstdio>
#include <unistd.h>

namespace net {
static volatile int kept;

__attribute__((noinline)) int waits(int n) {
    pause();
    kept = n;
    return n;
}

namespace {
struct RouteTable {
    int size;
    inline __attribute__((always_inline)) int add(int n) {
        int r = waits(n + size);
        kept = r;
        return r;
    }
};
} // namespace

template <typename T> struct Pool {
    T size;
    inline __attribute__((always_inline)) T take(T n) {
        RouteTable table{2};
        T r = table.add(n);
        kept = r;
        return r;
    }
};

__attribute__((noinline)) int serves(int n) {
    Pool<int> pool{n};
    int r = pool.take(n);
    kept = r;
    return r;
}
} // namespace net

int main() {
    alarm(300);
    puts("ready");
    fflush(stdout);
    int r = net::serves(7);
    net::kept = r;
    return 0;
}
