# Threads parked in Python's lock, queue, sleep and select, a few dozen frames of C deep.
import queue, select, sys, threading, time
sys.setswitchinterval(1000)
lock = threading.Lock(); lock.acquire()
waiting = []
def deep(work, depth):
    if depth > 0:
        return deep(work, depth - 1)
    waiting.append(depth)
    return work()
waits = [lock.acquire, queue.Queue().get, lambda: time.sleep(1000), lambda: select.select([], [], [])]
threads = [threading.Thread(target=deep, args=(wait, depth), daemon=True) for wait in waits for depth in range(1, 13)]
for thread in threads: thread.start()
while len(waiting) < len(threads): time.sleep(0)
print('ready', flush=True)
lock.acquire()
