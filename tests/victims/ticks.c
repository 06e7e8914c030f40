// Works a little every 50 ms and touches the file that it is given, until a byte comes in: then it does what that says. `d`: waits
// for a child without being interruptible, as vfork(2) has it. `w`: works all the time. Anything else: waits for ever.
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int count, char **arguments) {
    struct pollfd input = {.fd = 0, .events = POLLIN};
    char order = 0;
    volatile unsigned long rounds = 0;
    puts("ready");
    fflush(stdout);
    while (poll(&input, 1, 50) == 0) {
        if (count > 1)
            close(open(arguments[1], O_CREAT | O_WRONLY | O_TRUNC, 0600));
        for (int i = 0; i < 1000; i++)
            rounds++;
    }
    if (read(0, &order, 1) != 1)
        return 0;
    if (order == 'd') {
        pid_t child = vfork();
        if (child == 0) {
            // Until the test ends its parent.
            while (getppid() != 1)
                usleep(50000);
            _exit(0);
        }
    }
    while (order == 'w')
        rounds++;
    for (;;)
        pause();
}
