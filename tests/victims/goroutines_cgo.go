package main

/*
#include <unistd.h>

static __attribute__((noipa)) int sleeps_in_c(int times) {
    while (times > 0) pause();
    return times + 1;
}

static __attribute__((noipa)) int called_by_go(int times) {
    return sleeps_in_c(times) + 1;
}
*/
import "C"

//go:noinline
func callsC() {
	C.called_by_go(1)
}

// A thread that sleeps in C, called from Go.
func extra() {
	go callsC()
}
