// `exceptions KIND`: threads that stay where they are while an exception is in flight or has just been caught.
#include "chain.h"

#include <exception>
#include <stdexcept>

namespace {

PLAIN void leaf() {
    ENTER("leaf");
    stay();
    AFTER_CALL();
}

PLAIN void throws() {
    throw std::runtime_error("thrown");
}

PLAIN void catches() {
    ENTER("catches");
    try {
        throws();
    } catch (const std::exception &) {
        leaf();
    }
    AFTER_CALL();
}

struct Guard {
    PLAIN ~Guard() {
        ENTER("~Guard");
        leaf();
        AFTER_CALL();
    }
};

// Its destructor runs on the way from the throw to the catch.
PLAIN void unwound() {
    Guard guard;
    ENTER("unwound");
    throws();
}

PLAIN void unwinds() {
    ENTER("unwinds");
    try {
        unwound();
    } catch (const std::exception &) {
        abort();
    }
    AFTER_CALL();
}

// Called by the C++ library, on top of the function that threw or of the one that may not.
PLAIN void on_terminate() {
    ENTER_CALLBACK("on_terminate");
    leaf();
    AFTER_CALL();
}

// Whether the function that threw is gone by then, the language leaves to the compiler: its destructors tell.
struct Entered {
    ~Entered() { entered_count--; }
};

PLAIN void throws_for_good() {
    ENTER("throws_for_good");
    Entered unless_unwound;
    throw 1;
}

PLAIN void may_not_throw() noexcept {
    ENTER("may_not_throw");
    throws_for_good();
    AFTER_CALL();
}

// An exception that is thrown and caught while another is being handled.
PLAIN void catches_twice() {
    ENTER("catches_twice");
    try {
        throws();
    } catch (const std::exception &) {
        try {
            throws();
        } catch (...) {
            leaf();
        }
    }
    AFTER_CALL();
}

template <typename Callee> struct Virtual {
    virtual ~Virtual() = default;
    PLAIN virtual void calls(Callee callee) {
        ENTER("calls");
        callee();
        AFTER_CALL();
    }
};

PLAIN void calls_virtual() {
    ENTER("calls_virtual");
    static Virtual<void (*)()> object;
    object.calls(leaf);
    AFTER_CALL();
}

void (*kind)();

PLAIN void *run_thread(void *argument) {
    ENTER("run_thread");
    kind();
    AFTER_CALL();
    return argument;
}

} // namespace

int main(int count, char **arguments) {
    static const struct {
        const char *name;
        void (*function)();
    } kinds[] = {
        {"catch", catches},      {"destructor", unwinds},    {"terminate", may_not_throw},
        {"nested", catches_twice}, {"virtual", calls_virtual},
    };
    pthread_t thread;
    ENTER("main");
    for (const auto &one : kinds)
        if (count == 2 && strcmp(one.name, arguments[1]) == 0)
            kind = one.function;
    if (kind == nullptr)
        return 1;
    std::set_terminate(on_terminate);
    expect_threads(2);
    if (pthread_create(&thread, nullptr, run_thread, nullptr) != 0)
        return 1;
    kind();
    AFTER_CALL();
    return 0;
}
