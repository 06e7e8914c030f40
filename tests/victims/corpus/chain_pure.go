package main

// Only with cgo can C be called.
func calls(kind string, descriptor int) {
	panic(kind)
}

func throughC(chain string) string { return chain }
