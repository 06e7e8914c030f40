"""A Python process with N threads parked ten frames deep and a heartbeat: parked.py THREADS HEARTBEAT_FILE LIBRARY.

The heartbeat is parked.c's, run outside the interpreter's lock by a thread of its own; it prints "ready" when all
are parked.
"""

import ctypes
import mmap
import sys
import threading

never = threading.Event()
parked = threading.Semaphore(0)


def deeper(depth):
    if depth == 0:
        parked.release()
        never.wait()
        return
    deeper(depth - 1)


threads, file, library = int(sys.argv[1]), sys.argv[2], ctypes.CDLL(sys.argv[3])
PR_SET_PDEATHSIG, SIGKILL = 1, 9
ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, SIGKILL)
for _ in range(threads):
    threading.Thread(target=deeper, args=(10,), daemon=True).start()
for _ in range(threads):
    parked.acquire()
with open(file, "r+b") as opened:
    shared = mmap.mmap(opened.fileno(), 4096)
beats = ctypes.addressof(ctypes.c_char.from_buffer(shared))
threading.Thread(target=library.beat, args=(ctypes.c_void_p(beats),), daemon=True).start()
print("ready", flush=True)
never.wait()
