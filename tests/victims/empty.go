// Go's runtime and nothing else.

package main

func main() {}
