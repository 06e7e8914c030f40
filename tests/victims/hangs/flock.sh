#!/bin/sh
# flock(1) waits for a file that a process has inherited locked: the process that took the lock has
# ended. flock.sh FILE
(exec 9>"$1"; flock 9; exec sleep 3600) &
holder=$!
until grep -qs sleep "/proc/$holder/comm" && grep -q '^230 ' "/proc/$holder/syscall"; do sleep 0.01; done
exec 8>"$1"
flock 8 &
waiter=$!
until grep -qs '^73 ' "/proc/$waiter/syscall"; do sleep 0.01; done
echo "target $waiter
kind waits-for-file-lock
accused $waiter
holder $holder
resource file $1
since $(date +%s.%3N)
ready"
wait
