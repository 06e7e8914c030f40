package main

/*
#include <unistd.h>

extern void back_in_go(void);

__attribute__((noinline)) static void sleeps_in_c(void) {
	for (;;)
		pause();
}

__attribute__((noinline)) static void calls_back(void) {
	back_in_go();
	__asm__ volatile("" ::: "memory");
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

//go:noinline
func calls(kind string) {
	if kind == "cgo" {
		fmt.Println(chain(inC))
		fmt.Println("ready")
		C.sleeps_in_c()
	} else {
		C.calls_back()
	}
}

//export back_in_go
func back_in_go() {
	// The runtime leaves out what it does not know: C, and the thread's own stack.
	const leftOut = " runtime.systemstack_switch@"
	text := chain(inC)
	at := strings.Index(text, leftOut)
	rest := text[at+len(leftOut):]
	fmt.Println(text[:at] + " .. calls_back .. runtime.asmcgocall " + rest[strings.Index(rest, " "):])
	fmt.Println("ready")
	C.sleeps_in_c()
}
