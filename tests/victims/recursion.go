// A goroutine that recurses as often as it is told to, and then runs for ever.
package main

import (
	"fmt"
	"os"
	"strconv"
	"time"
)

var counter int

//go:noinline
func recurse(left int) int {
	var local [64]byte
	local[left%64] = 1
	if left == 0 {
		fmt.Println("ready")
		for {
			counter++
		}
	}
	return recurse(left-1) + int(local[left%64])
}

func main() {
	left, err := strconv.Atoi(os.Args[1])
	if err != nil {
		os.Exit(1)
	}
	go recurse(left)
	time.Sleep(time.Hour)
}
