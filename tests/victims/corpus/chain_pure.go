package main

// Only with cgo can C be called.
func calls(kind string) {
	panic(kind)
}
