// Command echo is the server in the lab's pods. Each request, by HTTP, by line
// or by datagram, is answered with the pod, the node and the client's address.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/heraldlb/herald/e2e/internal/echo"
)

func main() {
	var o echo.Options
	flag.IntVar(&o.Port, "port", 8080, "TCP and UDP `port`")
	flag.BoolVar(&o.Unready, "unready", false, "fail /healthz until POST /ready")
	drain := flag.Duration("drain", 0, "serve for this `time` after SIGTERM; 0: until killed")
	keepReady := flag.Bool("keep-ready", false, "stay ready after SIGTERM")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "echo: unexpected argument", flag.Arg(0))
		os.Exit(2)
	}
	o.Pod, o.Node = name("POD_NAME"), os.Getenv("NODE_NAME")
	if err := run(o, *drain, *keepReady); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// name of the pod is its host name where the manifest does not give it.
func name(variable string) string {
	if s := os.Getenv(variable); s != "" {
		return s
	}
	host, err := os.Hostname()
	if err != nil {
		return "unknown"
	}
	return host
}

func run(o echo.Options, drain time.Duration, keepReady bool) error {
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM, syscall.SIGINT)
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	s, err := echo.Listen(ctx, o)
	if err != nil {
		return err
	}
	go func() {
		<-term
		if !keepReady {
			s.SetReady(false)
		}
		if drain > 0 {
			time.Sleep(drain)
			stop()
		}
	}()
	s.Serve(ctx)
	return nil
}
