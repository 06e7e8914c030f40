// `chain KIND`: a goroutine on a thread of its own that sleeps in a system call (`read`), spins (`spin`), waits in the runtime
// (`system stack`), is in C (`cgo`), or in C or Go that was called back by C (`callback`, which a `thread` of C's may have
// begun), and the stack that the Go runtime itself tells of it.
package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"unsafe"
)

var spun uint64

// What the runtime knows of the calling goroutine's stack: functions that were not inlined, with their return addresses.
func chain(inner string) string {
	var counters [64]uintptr
	count := runtime.Callers(2, counters[:])
	frames := runtime.CallersFrames(counters[:count])
	tokens := []string{inner, ""}
	for first := true; ; first = false {
		frame, more := frames.Next()
		if first {
			tokens = append(tokens, frame.Function)
		} else if frame.Func != nil {
			// PC is inside of the call; what lies on the stack is behind it.
			tokens = append(tokens, fmt.Sprintf("%s@%#x", frame.Function, frame.PC+1))
		}
		if !more {
			break
		}
	}
	last := tokens[len(tokens)-1]
	if strings.HasPrefix(last, "runtime.goexit@") {
		tokens[len(tokens)-1] = "root@" + strings.SplitN(last, "@", 2)[1]
	}
	return fmt.Sprintf("chain %d %s", syscall.Gettid(), strings.Join(tokens, " "))
}

//go:noinline
func sleeps(descriptor int) {
	fmt.Println(throughC(chain("..")))
	fmt.Println("ready")
	var bytes [8]byte
	syscall.Read(descriptor, bytes[:])
}

//go:noinline
func spins() {
	fmt.Println(throughC(chain("..")))
	fmt.Println("ready")
	for {
		spun++
	}
}

// Waits on the thread's own stack, in the runtime, for all goroutines to stand still, one of which never does.
//
//go:noinline
func waits() {
	path := append([]byte(fmt.Sprintf("/proc/self/task/%d/syscall", syscall.Gettid())), 0)
	ready := []byte("ready\n")
	spinning := make(chan bool)
	var isAboutTo int32
	go func() {
		spinning <- true
		// Nothing here asks whether the goroutine should make room for others, as functions do where they begin.
		for atomic.LoadInt32(&isAboutTo) == 0 || !isInFutex(&path[0]) {
		}
		syscall.RawSyscall(syscall.SYS_WRITE, 1, uintptr(unsafe.Pointer(&ready[0])), uintptr(len(ready)))
		for {
			spun++
		}
	}()
	<-spinning
	fmt.Println(chain(".. runtime.systemstack .. runtime.GOMAXPROCS"))
	atomic.StoreInt32(&isAboutTo, 1)
	runtime.GOMAXPROCS(3)
}

// Whether the thread waits for a futex whose system call this file tells.
//
//go:nosplit
func isInFutex(path *byte) bool {
	var text [4]byte
	file, _, failed := syscall.RawSyscall(syscall.SYS_OPEN, uintptr(unsafe.Pointer(path)), 0, 0)
	if failed != 0 {
		return false
	}
	syscall.RawSyscall(syscall.SYS_READ, file, uintptr(unsafe.Pointer(&text[0])), uintptr(len(text)))
	syscall.RawSyscall(syscall.SYS_CLOSE, file, 0, 0)
	return text == [4]byte{'2', '0', '2', ' '}
}

//go:noinline
func middle(kind string, descriptor int, array [100]int) int {
	switch kind {
	case "read":
		sleeps(descriptor)
	case "spin":
		spins()
	case "system stack":
		waits()
	default:
		calls(kind, descriptor)
	}
	return array[3]
}

type outer struct{ kind string }

//go:noinline
func (o *outer) run(descriptor int) int {
	return middle(o.kind, descriptor, [100]int{}) + 1
}

func main() {
	// A spinning goroutine would be moved off its thread to give others a turn.
	if os.Getenv("GODEBUG") == "" {
		os.Setenv("GODEBUG", "asyncpreemptoff=1")
		syscall.Exec("/proc/self/exe", os.Args, os.Environ())
	}
	var ends [2]int
	if syscall.Pipe(ends[:]) != nil {
		os.Exit(1)
	}
	done := make(chan int)
	go func() {
		runtime.LockOSThread()
		done <- (&outer{os.Args[1]}).run(ends[0])
	}()
	<-done
}
