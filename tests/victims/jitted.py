# Waits in code that numba has compiled with LLVM.
import ctypes

import numba

pause = ctypes.CDLL(None).pause
pause.argtypes = []
pause.restype = ctypes.c_int


@numba.njit
def numba_middle(depth):
    return numba_middle(depth - 1) * 2 + 1 if depth > 0 else pause()


@numba.njit
def compiled_first():
    return 1


compiled_first()
print("ready", flush=True)
numba_middle(3)
