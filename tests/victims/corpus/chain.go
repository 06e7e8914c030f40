// `chain KIND`: a goroutine on a thread of its own that sleeps in a system call (`read`), spins (`spin`), is in C that was
// called by Go (`cgo`) or by Go that C called back (`callback`), and the stack that the Go runtime itself tells of it.
package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
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
	fmt.Println(chain(".."))
	fmt.Println("ready")
	var bytes [8]byte
	syscall.Read(descriptor, bytes[:])
}

//go:noinline
func spins() {
	fmt.Println(chain(".."))
	fmt.Println("ready")
	for {
		spun++
	}
}

//go:noinline
func middle(kind string, descriptor int, array [100]int) int {
	switch kind {
	case "read":
		sleeps(descriptor)
	case "spin":
		spins()
	default:
		calls(kind)
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
