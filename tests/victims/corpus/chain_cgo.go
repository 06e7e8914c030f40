package main

/*
#include <pthread.h>
#include <unistd.h>

extern void back_in_go(int);

__attribute__((noinline)) static void sleeps_in_c(void) {
	for (;;)
		pause();
}

__attribute__((noinline)) static void calls_back(int then) {
	back_in_go(then);
	__asm__ volatile("" ::: "memory");
}

__attribute__((noinline)) static void *begins_in_c(void *then) {
	back_in_go((int)(long)then);
	__asm__ volatile("" ::: "memory");
	return then;
}

static void starts_thread(long then) {
	pthread_t thread;
	if (pthread_create(&thread, NULL, begins_in_c, (void *)then) == 0)
		pthread_join(thread, NULL);
}
*/
import "C"

import (
	"fmt"
	"strings"
)

// How C is called by Go, innermost first: what cgo makes of the function, the switch to the thread's own stack, and the
// runtime on the goroutine's.
const inC = ".. sleeps_in_c .. runtime.asmcgocall .. runtime.cgocall .."

// What Go does that was called back by C.
const (
	thenC = iota
	thenRead
	thenSpin
)

// Whether a thread of C's own has called, which Go's runtime had never seen.
var fromThread bool

//go:noinline
func calls(kind string, descriptor int) {
	switch kind {
	case "cgo":
		fmt.Println(chain(inC))
		fmt.Println("ready")
		C.sleeps_in_c()
	case "callback":
		C.calls_back(thenC)
	case "callback, read":
		toRead = descriptor
		C.calls_back(thenRead)
	case "callback, spin":
		C.calls_back(thenSpin)
	case "thread, cgo":
		fromThread = true
		C.starts_thread(thenC)
	case "thread, read":
		fromThread = true
		toRead = descriptor
		C.starts_thread(thenRead)
	case "thread, spin":
		fromThread = true
		C.starts_thread(thenSpin)
	}
}

var toRead int

//export back_in_go
func back_in_go(then C.int) {
	switch then {
	case thenC:
		fmt.Println(throughC(chain(inC)))
		fmt.Println("ready")
		C.sleeps_in_c()
	case thenRead:
		sleeps(toRead)
	case thenSpin:
		spins()
	}
}

// The chain with what the runtime leaves out of it because it knows nothing of C and of the thread's own stack.
func throughC(text string) string {
	// By which assembly calls a function of Go's; the runtime leaves it out, and newer versions do without.
	text = strings.Replace(text, " runtime.cgocallback@", " runtime.cgocallbackg? runtime.cgocallback@", 1)
	if fromThread {
		// To the runtime the goroutine that it lent to the thread has begun with the callback.
		return text[:strings.LastIndex(text, " ")] + " .. begins_in_c .. root"
	}
	const leftOut = " runtime.systemstack_switch@"
	at := strings.Index(text, leftOut)
	if at < 0 {
		return text
	}
	rest := text[at+len(leftOut):]
	return text[:at] + " .. calls_back .. runtime.asmcgocall " + rest[strings.Index(rest, " ")+1:]
}
