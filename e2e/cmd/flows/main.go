// Command flows sends test traffic from the network namespace that it is
// started in, and says what became of it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/heraldlb/herald/e2e/internal/flows"
)

const usage = `flows: test traffic

usage: flows COMMAND --target ADDRESS:PORT [FLAG...]

  shares  open N flows, each from its own port; who answered how many, and
          from which addresses the servers saw them come
  probe   open a new flow every interval; when was there no answer
          with --until-first-success: when came the first answer
  hold    keep N TCP connections open and ask on each; which of them broke

flows COMMAND -h shows the flags.
`

var commands = map[string]func(context.Context, []string) error{
	"shares": shares, "probe": probe, "hold": hold,
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	err := commands[os.Args[1]](ctx, os.Args[2:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "flows:", err)
		os.Exit(1)
	}
}

// target adds the flags that all commands have. The function that it returns is
// for after parsing.
func target(fs *flag.FlagSet) func(args []string) (flows.Target, error) {
	addr := fs.String("target", "", "`address:port` to send to")
	proto := fs.String("proto", "tcp", "tcp or udp")
	return func(args []string) (flows.Target, error) {
		if err := fs.Parse(args); err != nil {
			return flows.Target{}, err
		}
		if fs.NArg() > 0 {
			return flows.Target{}, fmt.Errorf("unexpected argument %s", fs.Arg(0))
		}
		return flows.ParseTarget(*addr, *proto)
	}
}

func shares(ctx context.Context, args []string) (err error) {
	var o flows.SharesOptions
	fs := flag.NewFlagSet("flows shares", flag.ContinueOnError)
	parse := target(fs)
	fs.IntVar(&o.N, "n", 1000, "number of flows")
	fs.IntVar(&o.Concurrency, "concurrency", 64, "flows at the same time")
	fs.DurationVar(&o.Timeout, "timeout", 2*time.Second, "of one try")
	first := fs.Uint("first-port", 0, "lowest source port (default random)")
	asJSON := fs.Bool("json", false, "print JSON instead of a table")
	if o.Target, err = parse(args); err != nil {
		return err
	}
	o.FirstPort = uint16(min(*first, 65535))
	s, err := flows.RunShares(ctx, o)
	if err != nil {
		return err
	}
	if *asJSON {
		return printJSON(s)
	}
	printShares(os.Stdout, s)
	return nil
}

func printShares(out io.Writer, s flows.Shares) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NODE\tPOD\tFLOWS\tSHARE")
	for _, p := range s.Pods {
		fmt.Fprintf(w, "%s\t%s\t%d\t%.2f %%\n", p.Node, p.Pod, p.Flows, 100*p.Share)
	}
	w.Flush()
	fmt.Fprintf(out, "%d flows by %s to %s in %.1f s, %d failed %v; clients %v\n",
		s.Flows, s.Proto, s.Target, s.Seconds, s.Failed, s.Errors, s.Clients)
}

func probe(ctx context.Context, args []string) (err error) {
	var o flows.ProbeOptions
	fs := flag.NewFlagSet("flows probe", flag.ContinueOnError)
	parse := target(fs)
	fs.DurationVar(&o.Interval, "interval", 0, "between probes (default 10ms; 2ms with --until-first-success)")
	fs.DurationVar(&o.Timeout, "timeout", 0, "of one probe (default 1s; 250ms with --until-first-success)")
	fs.DurationVar(&o.Duration, "duration", 30*time.Second, "when to end")
	first := fs.Bool("until-first-success", false, "end with the first answer; exit code 1 if there is none")
	if o.Target, err = parse(args); err != nil {
		return err
	}
	if *first {
		f, err := flows.RunFirst(ctx, o)
		if err != nil {
			return err
		}
		return printJSON(f)
	}
	p, err := flows.RunProbe(ctx, o)
	if err != nil {
		return err
	}
	return printJSON(p)
}

func hold(ctx context.Context, args []string) (err error) {
	var o flows.HoldOptions
	fs := flag.NewFlagSet("flows hold", flag.ContinueOnError)
	parse := target(fs)
	fs.IntVar(&o.N, "n", 200, "number of connections")
	fs.IntVar(&o.Size, "size", 2, "bytes of a request")
	fs.DurationVar(&o.Interval, "interval", 100*time.Millisecond, "between the requests of one connection")
	fs.DurationVar(&o.Timeout, "timeout", 2*time.Second, "for an answer")
	fs.DurationVar(&o.Duration, "duration", 30*time.Second, "when to end")
	if o.Target, err = parse(args); err != nil {
		return err
	}
	h, err := flows.RunHold(ctx, o)
	if err != nil {
		return err
	}
	return printJSON(h)
}

func printJSON(v any) error { return json.NewEncoder(os.Stdout).Encode(v) }
