// Variables of every kind that C++ has, in frames that stay as they are.
#include <cstdio>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>
#include <unistd.h>

namespace shop {

enum class State : unsigned char { Idle, Busy = 7 };

struct Base {
    int base_number = 3;
    virtual ~Base() = default;
};

struct Order : Base {
    std::string customer;
    std::vector<int> amounts;
    State state = State::Busy;
    const char *note = "note";
    std::optional<double> discount;
    Order *next = nullptr;
};

template <typename T> struct Box {
    T value;
    T *address() { return &value; }
};

struct Desk {
    long served = 0;
    __attribute__((noinline)) int serve(Order &order, const std::string &word, bool urgent);
};

static volatile int sink;

__attribute__((noinline)) int Desk::serve(Order &order, const std::string &word, bool urgent)
{
    std::string brief = "short";
    std::string longer = "a string that is longer than the room in the object itself";
    std::vector<unsigned short> numbers{1, 2, 3, 5, 8};
    std::vector<std::string> words{"alpha", "beta"};
    std::vector<double> none;
    auto alone = std::make_unique<int>(99);
    auto shared = std::make_shared<long>(41);
    std::optional<int> some = 5;
    std::optional<int> nothing;
    std::map<int, std::string> table{{1, "one"}, {2, "two"}};
    std::unordered_map<int, int> hashed{{4, 16}};
    Box<short> box{-4};
    int array[3] = {7, 8, 9};
    int &reference = array[1];
    State state = State::Busy;
    wchar_t wide = L'x';
    char32_t character = U'y';
    long long big = -1234567890123LL;
    std::mutex mutex;
    std::lock_guard<std::mutex> guard(mutex);
    served += order.amounts.size() + word.size();
    pause();
    sink = numbers[0] + *alone + *shared + *some + nothing.has_value() + table.size() + hashed.size() + *box.address() + reference + int(state) + wide +
           character + brief.size() + longer.size() + words.size() + none.size() + int(big) + urgent;
    return sink;
}

__attribute__((noinline)) int work(int depth, double price)
{
    Order order;
    order.customer = "customer";
    order.amounts = {10, 20, 30};
    order.discount = price / 2;
    Desk desk;
    std::string word = "word";
    auto add = [&desk, depth](int more) { return int(desk.served) + depth + more; };
    int result = depth > 0 ? work(depth - 1, price) : desk.serve(order, word, true);
    return result + add(1);
}

}

int main()
{
    std::puts("ready");
    std::fflush(stdout);
    return shop::work(2, 12.5);
}
