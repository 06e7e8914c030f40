// A program whose every instruction is looked at: functions of each kind that a compiler makes frames for, few instructions
// in each. `calls` stays in this file, `library` calls the C library.
#include <stdlib.h>
#include <string.h>

#define FUNCTION __attribute__((noinline, noclone))

static volatile int sink;

static FUNCTION int leaf(int n) {
    return n * 3 + 1;
}

static FUNCTION int leaf_with_array(int n) {
    volatile int room[16];
    room[n & 15] = n;
    return room[n & 15];
}

static FUNCTION int plain(int n) {
    return leaf(n) + leaf_with_array(n + 1);
}

static FUNCTION int many(int a, int b, int c, int d, int e, int f, int g, int h, int i, int j) {
    int sum = plain(a + j);
    return sum + leaf(b * c) + leaf(d * e) + leaf(f * g) + leaf(h * i) + a + b + c + d + e + f + g + h + i + j;
}

static FUNCTION int varying(int n) {
    volatile char room[n];
    room[n - 1] = 1;
    return many(n, n + 1, n + 2, n + 3, n + 4, n + 5, n + 6, n + 7, n + 8, n + 9) + room[n - 1];
}

static FUNCTION int early(int n) {
    if (n > 100) return n;
    return plain(n) + 1;
}

static FUNCTION int large(int n) {
    volatile char room[5000];
    room[n] = 1;
    return early(n) + early(n + 200) + room[n];
}

static FUNCTION int recursion(int n) {
    return n == 0 ? leaf(n) : recursion(n - 1) + n;
}

static int by_number(const void *a, const void *b) {
    return *(const int *)a - *(const int *)b;
}

static FUNCTION int through(int (*function)(int), int n) {
    return function(n) + 1;
}

int main(int count, char **words) {
    sink = count;
    if (count > 1 && !strcmp(words[1], "library")) {
        int numbers[] = {3, 1, 2};
        qsort(numbers, 3, sizeof *numbers, by_number);
        free(strdup(words[0]));
        return 0;
    }
    sink += varying(count + 30) + large(count) + recursion(5) + through(plain, count);
    return 0;
}
