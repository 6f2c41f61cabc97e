// peer_net.go: the line service on Go's net package, for the bench.
//
// What a careful user of the package writes: a goroutine for each connection, and the replies to
// all lines of one read leave in one write. GOMAXPROCS is how many threads run Go code at a time.
// Less than 06: no idle timeout.
//
//	peer_net -p PORT [-w LOOPS]
package main

import (
	"bytes"
	"flag"
	"fmt"
	"net"
	"os"
	"runtime"
)

const lineLimit = 65536 // bytes of a line, its newline included

// answer appends the replies to the complete lines of data, and returns them and how many bytes of
// data are answered.
func answer(replies, data []byte) ([]byte, int) {
	used := 0
	for {
		length := bytes.IndexByte(data[used:], '\n') + 1
		if length == 0 {
			return replies, used
		}
		replies = append(replies, '+')
		replies = append(replies, data[used:used+length]...)
		used += length
	}
}

func serve(connection net.Conn) {
	defer connection.Close()
	buffer := make([]byte, 4096) // grows for a longer line
	var replies []byte
	size := 0
	for {
		n, err := connection.Read(buffer[size:])
		if n == 0 && err != nil {
			return
		}
		size += n
		var used int
		replies, used = answer(replies[:0], buffer[:size])
		size = copy(buffer, buffer[used:size])
		if size == lineLimit {
			replies = append(replies, fmt.Sprintf("-line of more than %d bytes\n", lineLimit)...)
		}
		if len(replies) > 0 {
			if _, err := connection.Write(replies); err != nil {
				return
			}
		}
		if size == lineLimit {
			return
		}
		if size == len(buffer) {
			buffer = append(buffer, make([]byte, len(buffer))...)
		}
	}
}

func main() {
	port := flag.Int("p", 0, "port")
	loops := flag.Int("w", runtime.NumCPU(), "threads")
	flag.Parse()
	runtime.GOMAXPROCS(*loops)
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", *port))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("listening on", listener.Addr())
	for {
		connection, err := listener.Accept()
		if err == nil {
			go serve(connection)
		}
	}
}
