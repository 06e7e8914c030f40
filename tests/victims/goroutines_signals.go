package main

import (
	"runtime"
	"syscall"
)

//go:noinline
func isInterrupted() {
	for {
		interrupted++
	}
}

var interrupted uint64

// A thread that spins, and gets a signal as soon as it has handled the last.
func extra() {
	threads := make(chan int)
	go func() {
		runtime.LockOSThread()
		threads <- syscall.Gettid()
		isInterrupted()
	}()
	thread := <-threads
	go func() {
		for {
			syscall.Tgkill(syscall.Getpid(), thread, syscall.SIGURG)
		}
	}()
}
