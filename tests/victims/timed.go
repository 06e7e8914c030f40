// Goroutines that wait in system calls of their own with timeouts that do not come while a test runs.
package main

import (
	"fmt"
	"os"
	"syscall"
	"time"
	"unsafe"
)

var word uint32

func main() {
	hour := syscall.Timespec{Sec: 3600}
	go func() { syscall.Nanosleep(&hour, nil) }()
	go func() { syscall.Syscall6(syscall.SYS_FUTEX, uintptr(unsafe.Pointer(&word)), 128, 0, uintptr(unsafe.Pointer(&hour)), 0, 0) }()
	go func() { syscall.Syscall(syscall.SYS_POLL, 0, 0, 3600*1000) }()
	fmt.Println("ready")
	os.Stdout.Sync()
	time.Sleep(time.Hour)
}
