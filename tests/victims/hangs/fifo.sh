#!/bin/sh
# cat(1) opens a FIFO into which nothing writes.
# fifo.sh FIFO
mkfifo "$1"
cat "$1" &
waiter=$!
until grep -qs cat "/proc/$waiter/comm" && grep -q '^257 ' "/proc/$waiter/syscall"; do sleep 0.01; done
echo "target $waiter
kind waits-for-peer
accused $waiter
resource fifo $1
since $(date +%s.%3N)
ready"
wait
