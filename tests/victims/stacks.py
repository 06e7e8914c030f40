"""Threads parked in the interpreter's waits, for comparing stack walkers.

`stacks.py N` starts N - 1 threads besides the main one. Each is named py.KIND. `ready` is printed once each
has announced itself and is in the system call that it will stay in.
"""

import os
import queue
import select
import socket
import sys
import threading
import time

arrived = []
never = threading.Event()
held = threading.Lock()
held.acquire()
condition = threading.Condition()
reading, _writing = os.pipe()
left, _right = socket.socketpair()


def wait_in_lock():
    held.acquire()


def wait_in_event():
    never.wait()


def wait_in_condition():
    with condition:
        condition.wait()


def wait_in_queue():
    queue.Queue().get()


def wait_in_sleep():
    time.sleep(1_000_000)


def wait_in_select():
    select.select([reading], [], [])


def wait_in_poll():
    poll = select.poll()
    poll.register(reading, select.POLLIN)
    poll.poll()


def wait_in_read():
    os.read(reading, 1)


def wait_in_recv():
    left.recv(1)


def wait_in_sort():
    # Python calls C, which calls Python.
    sorted([3, 1, 2], key=lambda value: held.acquire())


KINDS = [wait_in_lock, wait_in_event, wait_in_condition, wait_in_queue, wait_in_sleep, wait_in_select, wait_in_poll,
         wait_in_read, wait_in_recv, wait_in_sort]


def descend(wait, depth):
    if depth == 0:
        wait()
    else:
        descend(wait, depth - 1)


def name_thread(name):
    with open(f"/proc/self/task/{threading.get_native_id()}/comm", "w") as comm:
        comm.write(f"py.{name}")


def run_thread(wait, depth):
    name_thread(wait.__name__.removeprefix("wait_in_"))
    arrived.append(threading.get_native_id())
    descend(wait, depth)


def is_parked(tid):
    with open(f"/proc/self/task/{tid}/syscall") as file:
        words = file.read().split()
    # A thread that wants the interpreter's lock waits in a futex (202) as well, but not for ever: it has a timeout.
    return words[0] != "running" and not (words[0] == "202" and words[4] != "0x0")


def main():
    count = int(sys.argv[1]) - 1
    name_thread("main")
    threads = []
    for number in range(count):
        arguments = (KINDS[number % len(KINDS)], number % 5)
        threads.append(threading.Thread(target=run_thread, args=arguments, daemon=True))
        threads[-1].start()
    while len(arrived) < count or not all(map(is_parked, arrived)):
        os.sched_yield()
    print("ready", flush=True)
    threads[0].join()


main()
