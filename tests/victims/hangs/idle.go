// A thousand goroutines that wait for a channel, and a server without clients.
package main

import (
	"fmt"
	"net"
	"sync"
	"time"
)

func main() {
	work := make(chan int)
	var begun sync.WaitGroup
	for i := 0; i < 1000; i++ {
		begun.Add(1)
		go func() {
			begun.Done()
			<-work
		}()
	}
	begun.Wait()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Printf("kind none\nsince %.3f\nready\n", float64(time.Now().UnixMilli())/1000)
	listener.Accept()
}
