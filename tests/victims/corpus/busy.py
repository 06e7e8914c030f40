"""Threads that compute in Python and in C, and wait for each other, for ever; the file that is named is
made once they are at work."""
import hashlib
import json
import queue
import re
import sys
import threading
import time
import zlib

TEXT = open(__file__, encoding="utf-8").read() * 50
numbers = queue.Queue(10)


def computes():
    while True:
        words = sorted(re.findall(r"\w+", TEXT), key=lambda word: word[::-1])
        json.loads(json.dumps(words))
        numbers.put(hashlib.sha256(zlib.compress(TEXT.encode())).digest()[0])


def recurses(depth):
    return 1 if depth == 0 else recurses(depth - 1) + sum(range(10))


def consumes():
    while True:
        recurses(numbers.get() % 100)


for target in (computes, consumes, consumes):
    threading.Thread(target=target, daemon=True).start()
open(sys.argv[1], "w").close()
while True:
    time.sleep(0.001)
