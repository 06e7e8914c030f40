// Locks of the C++ standard library.
//
//   stdcxx ring        three threads, each with one std::mutex, want the next one's
//   stdcxx once        a function run by std::call_once calls it again
//   stdcxx upgrade     a reader of a std::shared_mutex wants to write
//   stdcxx future      a std::future that nothing will set
#include <condition_variable>
#include <future>
#include <mutex>
#include <shared_mutex>
#include <thread>

#include "truth.h"

static std::mutex locks[3];
static std::shared_mutex shared_lock;
static std::once_flag once;
static _Atomic(int) arrived;

static void *member(void *argument) {
    auto own = reinterpret_cast<intptr_t>(argument);
    std::lock_guard<std::mutex> first(locks[own]);
    for (arrived++; arrived < 3;) a_moment();
    std::lock_guard<std::mutex> second(locks[(own + 1) % 3]);
    return nullptr;
}

static void *upgrade(void *argument) {
    std::shared_lock<std::shared_mutex> to_read(shared_lock);
    std::unique_lock<std::shared_mutex> to_write(shared_lock);
    return argument;
}

static void prepare() { std::call_once(once, prepare); }

static void ring() {
    for (int i = 0; i < 3; i++) until_in(tid_of(i), SYS_futex);
    until_in(getpid(), SYS_futex);
    say("kind deadlock\n");
    for (int i = 0; i < 3; i++) say("accused %d\nresource mutex %p\n", tid_of(i), static_cast<void *>(&locks[i]));
}

static void itself(int tid, const char *what, void *lock) {
    until_in(tid, SYS_futex);
    say("kind self-deadlock\naccused %d\nholder %d\nresource %s %p\n", tid, tid, what, lock);
}

static void never_set() {
    uintptr_t word = until_in(getpid(), SYS_futex);
    say("kind lost-wakeup\naccused %d\nresource futex %#lx\n", getpid(), static_cast<unsigned long>(word));
}

int main(int arguments, char **argument) {
    must(arguments > 1, "an argument");
    std::string which = argument[1];
    if (which == "ring") {
        herald(ring);
        pthread_t first = start(0, member);
        start(1, member), start(2, member);
        pthread_join(first, nullptr);
    } else if (which == "once") {
        herald([] { itself(getpid(), "once", &once); });
        prepare();
    } else if (which == "upgrade") {
        herald([] { itself(tid_of(0), "rwlock", shared_lock.native_handle()); });
        pthread_join(start(0, upgrade), nullptr);
    } else {
        std::promise<int> promise;
        herald(never_set);
        return promise.get_future().get();
    }
}
