package lab

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// Relay accepts connections from the listening socket that it was given as file
// 3, and passes their bytes to another address. It returns when the socket is
// closed, or never.
func Relay(to string) error {
	f := os.NewFile(3, "listener")
	ln, err := net.FileListener(f)
	if err != nil {
		return err
	}
	f.Close()
	for {
		conn, err := ln.Accept()
		if err != nil {
			return err
		}
		go relay(conn, to)
	}
}

func relay(from net.Conn, to string) {
	defer from.Close()
	conn, err := net.DialTimeout("tcp", to, 5*time.Second)
	if err != nil {
		return // the caller sees the connection close, as it would without us
	}
	defer conn.Close()
	var both sync.WaitGroup
	both.Go(func() { pipe(conn, from) })
	both.Go(func() { pipe(from, conn) })
	both.Wait()
}

// pipe copies one direction. An end of input closes only that direction; an
// error closes both, since the other one may never see it.
func pipe(dst, src net.Conn) {
	_, err := io.Copy(dst, src)
	if err != nil {
		src.Close()
		dst.Close()
		return
	}
	_ = dst.(*net.TCPConn).CloseWrite()
}
