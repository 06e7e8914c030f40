/* Variables of every kind that C has, in frames that stay as they are. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct node {
    int id;
    const char *name;
    double weight;
    struct node *next;
    unsigned flag : 3;
    signed small : 5;
    char tag[8];
};
enum color { RED, GREEN = 5, BLUE = -1 };
union either {
    int number;
    float fraction;
};
typedef struct {
    long x, y;
} point;

static volatile int sink;

__attribute__((noinline)) static int wait_here(int level, const struct node *node, const char *text, enum color color)
{
    char buffer[16] = "hello\tworld";
    unsigned long long big = 0xfedcba9876543210ull + level;
    short negative = -7;
    unsigned char byte = 200;
    signed char below = -3;
    char newline = '\n';
    float fraction = 1.5f;
    _Bool truth = 1;
    union either either = {.fraction = 2.0f};
    int matrix[2][3] = {{1, 2, 3}, {4, 5, 6}};
    point corner = {level, -level};
    point *address = &corner;
    int many[level + 2];
    int (*function)(const char *) = puts;
    for (int i = 0; i < level + 2; i++)
        many[i] = i * 10;
    if (level > 0) {
        int inner = level * 100;
        int result = wait_here(level - 1, node, text, color);
        return result + inner + negative + byte + below + newline + (int)fraction + truth + either.number + matrix[1][1] + many[0] + buffer[0] + (int)big;
    }
    pause();
    sink = (int)address->x + color + node->id + text[0] + (function != NULL);
    return level + negative + byte + below + newline + (int)fraction + truth + either.number + matrix[1][1] + many[0] + buffer[0] + (int)big;
}

__attribute__((noinline)) static long keeps(long first, long second, char *third)
{
    long sum = first * 3 + second;
    long kept = sum ^ 0x55;
    int code = wait_here(1, &(struct node){.id = (int)first, .name = "inner", .tag = "t"}, "kept", BLUE);
    sink = code;
    return sum + kept + third[0];
}

/* Its arguments are needed no more once it waits: only what the caller says of the call is left. */
__attribute__((noinline)) static int entry_only(int first, long second, const char *third)
{
    sink = first + (int)second + third[0];
    pause();
    return sink;
}

__attribute__((noinline)) static int calls_entry(int base)
{
    int here = base + 1;
    int result = entry_only(77, here * 2, "by the caller");
    return result + here;
}

static inline int inlined(int amount, struct node *node)
{
    int doubled = amount * 2;
    node->id = doubled;
    return entry_only(doubled, amount, node->name) + node->id;
}

static void *first(void *argument)
{
    struct node node = {42, "worker node", 3.25, NULL, 5, -3, "tagged"};
    node.next = &node;
    long value = (long)argument;
    return (void *)(wait_here(3, &node, "a literal", GREEN) + value);
}

static void *second(void *argument)
{
    return (void *)keeps((long)argument, 5, (char *)"third");
}

static void *third(void *argument)
{
    return (void *)(long)calls_entry((int)(long)argument);
}

static void *fourth(void *argument)
{
    struct node node = {7, "inlined node", 0.5, NULL, 1, 1, "x"};
    return (void *)(long)inlined((int)(long)argument, &node);
}

int main(int argc, char **argv)
{
    void *(*const begin[])(void *) = {first, second, third, fourth};
    pthread_t threads[4];
    struct node root = {1, "root", 0.1, NULL, 1, 2, "x"};
    int local = argc * 3;
    for (long number = 0; number < 4; number++)
        pthread_create(&threads[number], NULL, begin[number], (void *)(77 + number));
    puts("ready");
    fflush(stdout);
    pthread_join(threads[0], NULL);
    return root.id + local + (argv != NULL);
}
