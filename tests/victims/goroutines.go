// Goroutines on threads of their own: one blocked in a system call, one in another that is locked to its thread, one that
// spins. The functions are not inlined, so that each is on its stack.

package main

import (
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
)

var spins uint64

var isSpinning uint32

//go:noinline
func blocksInRead(descriptor int, buffer []byte) int {
	count, _ := syscall.Read(descriptor, buffer)
	return count + len(buffer)
}

//go:noinline
func callsRead(descriptor int) int {
	var buffer [300]byte
	return blocksInRead(descriptor, buffer[:]) + int(buffer[7])
}

//go:noinline
func readsForEver(descriptor int) {
	for {
		callsRead(descriptor)
	}
}

//go:noinline
func readsLocked(descriptor int) {
	runtime.LockOSThread()
	for {
		callsRead(descriptor)
	}
}

//go:noinline
func spinsAround() {
	for {
		spins++
	}
}

//go:noinline
func spinsForEver() {
	atomic.StoreUint32(&isSpinning, 1)
	for {
		spinsAround()
	}
}

func pipe() int {
	var ends [2]int
	if err := syscall.Pipe(ends[:]); err != nil {
		panic(err)
	}
	return ends[0]
}

func main() {
	go readsForEver(pipe())
	go readsLocked(pipe())
	go spinsForEver()
	extra()
	for atomic.LoadUint32(&isSpinning) == 0 {
		runtime.Gosched()
	}
	fmt.Println("ready")
	os.Stdout.Sync()
	select {}
}
