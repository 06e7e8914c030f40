"""Python programs that hang: abba, queue, gil.

abba: two threads with a threading.Lock each want the other's. queue: a thread waits for an entry
of a queue into which nothing will put one. gil: a thread calls into C and keeps the interpreter's
lock there, others want it.
"""
import ctypes
import os
import queue
import sys
import threading
import time


def until_in(tid, call):
    """Waits until a thread, of any process, has slept in this call for some looks."""
    before, same = None, 0
    while same < 3:
        with open(f"/proc/{tid}/syscall", encoding="ascii") as file:
            now = file.read()
        same = same + 1 if now.startswith(f"{call} ") and now == before else 0
        before = now
        time.sleep(0.002)
    return before.split()[1]


def say(*lines):
    os.write(1, "".join(f"{line}\n" for line in (*lines, f"since {time.time():.3f}", "ready")).encode())


def herald(truth):
    threading.Thread(target=lambda: say(*truth()), daemon=True).start()


def start(work, *arguments):
    worker = threading.Thread(target=work, args=arguments)
    worker.start()
    return worker


def abba():
    # The barrier where they meet is a futex, too.
    locks, both, passed = [threading.Lock(), threading.Lock()], threading.Barrier(2), []

    def member(own):
        with locks[own]:
            both.wait()
            passed.append(own)
            with locks[1 - own]:
                pass

    workers = [start(member, own) for own in (0, 1)]
    tids = [worker.native_id for worker in workers]

    def truth():
        while len(passed) < 2:
            time.sleep(0.002)
        words = [until_in(tid, 202) for tid in tids]
        return ["kind deadlock", *(f"resource lock {word}" for word in words), *(f"accused {tid}" for tid in tids)]

    herald(truth)
    workers[0].join()


def wait_for_queue():
    entries = queue.Queue()
    worker = start(entries.get)
    tid = worker.native_id
    herald(lambda: (until_in(tid, 202), ["kind lost-wakeup", f"accused {tid}"])[1])
    worker.join()


def keep_gil():
    # Nothing in this process could say anything any more: a process apart looks at it.
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        if os.fork() == 0:
            holder = int(os.read(ours, 16))
            until_in(holder, 230)
            say("kind gil", f"accused {holder}", f"holder {holder}")
        os._exit(0)
    os.waitpid(child, 0)
    library = ctypes.PyDLL(None)

    def hold():
        os.write(theirs, str(threading.get_native_id()).encode())
        library.sleep(3600)

    def want():
        while True:
            pass

    for _ in range(3):
        threading.Thread(target=want, daemon=True).start()
    start(hold).join()


{"abba": abba, "queue": wait_for_queue, "gil": keep_gil}[sys.argv[1]]()
