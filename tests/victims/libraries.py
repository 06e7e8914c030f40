# Threads that wait in the middle of calls through one library after another: each calls back what goes into the next.

import ctypes
import pyexpat
import sqlite3
import ssl
import threading

lock = threading.Lock()
lock.acquire()
arrived = threading.Semaphore(0)


def waits():
    arrived.release()
    lock.acquire()


def through_openssl(then):
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.sni_callback = lambda *_: then()
    client = ssl.create_default_context()
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        client.wrap_bio(back, there, server_hostname="name.example").do_handshake()
    except ssl.SSLWantReadError:
        pass
    server.wrap_bio(there, back, server_side=True).do_handshake()


def through_expat(then):
    parser = pyexpat.ParserCreate()
    parser.StartElementHandler = lambda *_: then()
    parser.Parse("<a/>")


def through_sqlite(then):
    connection = sqlite3.connect(":memory:")
    connection.create_function("f", 0, then)
    connection.execute("select f()").fetchall()


def through_libc(then):
    compares = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
    ctypes.CDLL(None).qsort((ctypes.c_int * 2)(), 2, 4, compares(lambda *_: then() or 0))


def thread():
    through_libc(lambda: through_sqlite(lambda: through_expat(lambda: through_openssl(waits))))


for _ in range(4):
    threading.Thread(target=thread, daemon=True).start()
for _ in range(4):
    arrived.acquire()
print("ready", flush=True)
lock.acquire()
