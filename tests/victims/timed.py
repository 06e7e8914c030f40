"""Threads that wait as Python waits, with timeouts that do not come while a test runs."""
import os
import select
import threading
import time

HOUR = 3600
taken = threading.Lock()
taken.acquire()
poll = select.poll()
poll.register(os.pipe()[0], select.POLLIN)
for wait in (lambda: taken.acquire(timeout=HOUR), lambda: threading.Event().wait(HOUR), lambda: poll.poll(HOUR * 1000)):
    threading.Thread(target=wait, daemon=True).start()
print("ready", flush=True)
time.sleep(HOUR)
