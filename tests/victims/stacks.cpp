// Threads parked below what C++ makes of functions: templates, lambdas, virtual calls, inlined members, catch blocks.
//
// `stacks N` starts N - 1 threads besides the main one. Each is named KIND-DEPTH: below it there are DEPTH calls of
// `descend`, and then what KIND stands for, which ends in `wait_in_KIND`. `ready` is printed once each has announced
// itself and sleeps in the kernel.
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#define PLAIN __attribute__((noipa, used))
#define INLINED __attribute__((always_inline)) inline

namespace waits {

std::atomic<int> arrived{0};
// Something to do after a call, so that it does not become a jump.
std::atomic<int> after_call{0};
std::mutex held;
std::promise<int> promise;
std::shared_future<int> future = promise.get_future().share();

template <typename Lock>
class Gate {
public:
    INLINED void pass(Lock &lock) {
        waits::arrived++;
        condition.wait(lock, [this] { return is_open(); });
        after_call++;
    }

private:
    INLINED bool is_open() const { return open; }
    std::condition_variable condition;
    bool open = false;
};

PLAIN void wait_in_cond() {
    static std::mutex mutex;
    static Gate<std::unique_lock<std::mutex>> gate;
    std::unique_lock<std::mutex> lock(mutex);
    gate.pass(lock);
}

PLAIN void wait_in_mutex() {
    arrived++;
    std::lock_guard<std::mutex> guard(held);
    after_call++;
}

PLAIN void wait_in_future() {
    arrived++;
    after_call += future.get();
}

PLAIN void wait_in_pause() {
    arrived++;
    for (;;)
        pause();
}

template <typename Key, int Number>
struct Table {
    template <typename Action>
    PLAIN void each(const Action &action) {
        for (const auto &[key, value] : entries)
            action(key, value);
        after_call++;
    }
    std::map<Key, std::array<int, Number>> entries;
};

PLAIN void wait_in_template() {
    Table<std::string, 3> table;
    table.entries["one"] = {1, 2, 3};
    table.each([](const std::string &key, const std::array<int, 3> &) {
        after_call += key.size();
        wait_in_pause();
        after_call++;
    });
    after_call++;
}

struct Shape {
    virtual ~Shape() = default;
    virtual int area(int scale) const = 0;
    int operator()(int scale) const { return area(scale) + 1; }
};

struct Square final : Shape {
    PLAIN int area(int scale) const override {
        wait_in_cond();
        return scale + after_call++;
    }
};

PLAIN void wait_in_virtual() {
    std::unique_ptr<Shape> shape = std::make_unique<Square>();
    after_call += (*shape)(2);
}

PLAIN void throw_error(int number) {
    throw std::runtime_error(std::to_string(number));
}

PLAIN void wait_in_catch() {
    try {
        throw_error(7);
    } catch (const std::exception &error) {
        after_call += error.what()[0];
        wait_in_pause();
        after_call++;
    }
}

struct Cleanup {
    ~Cleanup() {
        wait_in_mutex();
        after_call++;
    }
};

// The destructor runs while the exception passes: called by the landing pad, below the unwinder's own frames.
PLAIN void wait_in_cleanup() {
    try {
        Cleanup cleanup;
        throw_error(8);
    } catch (const std::exception &) {
        after_call++;
    }
}

PLAIN void wait_in_sort() {
    std::vector<int> values{3, 1, 2};
    std::sort(values.begin(), values.end(), [](int left, int right) {
        wait_in_pause();
        return left < right;
    });
    after_call++;
}

PLAIN void wait_in_function() {
    std::function<int(int)> inner = [](int value) {
        wait_in_future();
        return value + after_call++;
    };
    std::function<int(int)> outer = [&inner](int value) { return inner(value) + after_call++; };
    after_call += outer(1);
}

PLAIN void wait_in_once() {
    // Each thread has its own, so that each is the one that runs it.
    std::once_flag once;
    std::call_once(once, [] {
        wait_in_pause();
        after_call++;
    });
    after_call++;
}

struct Kind {
    const char *name;
    void (*wait)();
};

constexpr Kind kinds[] = {
    {"pause", wait_in_pause}, {"cond", wait_in_cond}, {"mutex", wait_in_mutex}, {"future", wait_in_future},
    {"template", wait_in_template}, {"virtual", wait_in_virtual}, {"catch", wait_in_catch},
    {"cleanup", wait_in_cleanup}, {"sort", wait_in_sort}, {"function", wait_in_function}, {"once", wait_in_once},
};

PLAIN int descend(const Kind &kind, int depth) {
    if (depth == 0)
        kind.wait();
    else
        descend(kind, depth - 1);
    return after_call++;
}

// Whether every thread but this one sleeps.
bool all_sleep() {
    for (const auto &task : std::filesystem::directory_iterator("/proc/self/task")) {
        if (task.path().filename() == std::to_string(gettid()))
            continue;
        std::string text;
        std::getline(std::ifstream(task.path() / "stat"), text);
        if (text.at(text.rfind(')') + 2) != 'S')
            return false;
    }
    return true;
}

} // namespace waits

int main(int count, char **arguments) {
    const int threads = count > 1 ? std::atoi(arguments[1]) - 1 : 9;
    waits::held.lock();
    std::vector<std::thread> all;
    for (int i = 0; i < threads; i++) {
        const waits::Kind &kind = waits::kinds[i % std::size(waits::kinds)];
        const int depth = 1 + (i * 7) % 23;
        auto run_thread = [&kind, depth] {
            waits::descend(kind, depth - 1);
            waits::after_call++;
        };
        all.emplace_back(run_thread);
        const std::string name = kind.name + ("-" + std::to_string(depth));
        pthread_setname_np(all.back().native_handle(), name.c_str());
    }
    while (waits::arrived < threads || !waits::all_sleep())
        sched_yield();
    std::puts("ready");
    std::fflush(stdout);
    all[0].join();
}
