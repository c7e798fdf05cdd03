// Command bench measures how long a new Service takes from its creation to the
// first answer that a client gets, split into the steps on the way, and how
// long 500 Services created at once take. It prints; it judges nothing.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/heraldlb/herald/e2e/internal/flows"
	"github.com/heraldlb/herald/e2e/lab"
	"github.com/heraldlb/herald/e2e/stage"
)

func main() {
	runs := flag.Int("runs", 20, "Services to create one after the other")
	many := flag.Int("many", 500, "Services to create at once")
	name := flag.String("name", "bench", "`name` of the lab")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := bench(ctx, *name, *runs, *many); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func bench(ctx context.Context, name string, runs, many int) error {
	// kube-proxy's default adds up to a second that is not Herald's. What the gate adds
	// is seen beside a run without it.
	for _, pause := range []time.Duration{100 * time.Millisecond, time.Second} {
		err := withLab(ctx, lab.Options{Name: name, ProxyMinSync: pause}, func(s *stage.Stage) error {
			for _, gate := range []string{"auto", "off"} {
				if err := s.Configure(ctx, stage.Config+"nodes: {forwardingGate: "+gate+"}\n"); err != nil {
					return err
				}
				what := fmt.Sprintf("kube-proxy syncs every %s at most, forwardingGate: %s", pause, gate)
				if err := one(ctx, s, what, runs); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return withLab(ctx, lab.Options{Name: name}, func(s *stage.Stage) error { return burst(ctx, s, many) })
}

// withLab runs f with Herald and eight pods on a lab.
func withLab(ctx context.Context, o lab.Options, f func(*stage.Stage) error) (err error) {
	o.Log = os.Stderr
	l, err := lab.Up(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Down(context.Background())) }()
	s, err := stage.Install(ctx, l, stage.Config)
	if err != nil {
		return err
	}
	if err := s.RunPods(ctx, "web", map[string]int{"n1": 1, "n2": 3, "n3": 4}); err != nil {
		return err
	}
	return f(s)
}

// steps are moments since the request to create the Service was sent.
type steps struct{ address, fib, answer time.Duration }

func one(ctx context.Context, s *stage.Stage, what string, runs int) error {
	before, err := used(ctx, s)
	if err != nil {
		return err
	}
	m, err := s.Monitor(ctx)
	if err != nil {
		return err
	}
	defer m.Stop()
	var all []steps
	for i := range runs {
		st, err := measure(ctx, s, m, fmt.Sprintf("web-%d", i))
		if err != nil {
			return err
		}
		all = append(all, st)
		time.Sleep(time.Second)
	}
	after, err := used(ctx, s)
	if err != nil {
		return err
	}
	fmt.Printf("\n%s: %d Services with ready endpoints on three nodes, one after the other, IPv4, milliseconds since the creation:\n\n", what, runs)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\tmin\tmedian\tmax\t")
	row(w, "address in status", all, func(s steps) time.Duration { return s.address })
	row(w, "next hops of all three nodes in the router's FIB", all, func(s steps) time.Duration { return s.fib })
	row(w, "first good answer", all, func(s steps) time.Duration { return s.answer })
	if err := w.Flush(); err != nil {
		return err
	}
	each := func(a, b float64) float64 { return (b - a) * 1000 / float64(runs) / float64(len(s.Nodes())) }
	fmt.Printf("CPU for a Service and node, milliseconds: speaker %.1f, kube-proxy %.1f\n", each(before.speaker, after.speaker), each(before.proxy, after.proxy))
	return nil
}

// cpu are seconds of all nodes.
type cpu struct{ speaker, proxy float64 }

func used(ctx context.Context, s *stage.Stage) (sum cpu, err error) {
	for _, n := range s.Nodes() {
		m, err := s.SpeakerMetrics(ctx, n.Name)
		if err != nil {
			return cpu{}, err
		}
		out, err := s.Exec(ctx, n.Name, "curl", "-sfm5", "http://127.0.0.1:10249/metrics")
		if err != nil {
			return cpu{}, err
		}
		sum.speaker += m.Sum("process_cpu_seconds_total")
		sum.proxy += stage.Metrics(out).Sum("process_cpu_seconds_total")
	}
	return sum, nil
}

func row(w *tabwriter.Writer, name string, all []steps, of func(steps) time.Duration) {
	var ms []float64
	for _, s := range all {
		ms = append(ms, float64(of(s).Microseconds())/1000)
	}
	slices.Sort(ms)
	fmt.Fprintf(w, "%s\t%.0f\t%.0f\t%.0f\t\n", name, ms[0], ms[len(ms)/2], ms[len(ms)-1])
}

func measure(ctx context.Context, s *stage.Stage, m *stage.Monitor, name string) (steps, error) {
	begin := time.Now()
	if err := s.Create(ctx, stage.Service{Name: name, App: "web", SingleStack: true}); err != nil {
		return steps{}, err
	}
	addr, err := pollAddr(ctx, s, name)
	if err != nil {
		return steps{}, err
	}
	st := steps{address: time.Since(begin)}
	defer func() { _ = s.Delete(context.WithoutCancel(ctx), name) }() // so that every run begins alike
	var first flows.First
	if err := s.Run(ctx, lab.Ext, &first, "flows", "probe", "--until-first-success", "--duration", "20s",
		"--target", netip.AddrPortFrom(addr, 80).String()); err != nil {
		return steps{}, err
	}
	st.answer = time.Unix(0, first.AnsweredNS).Sub(begin)
	if err := s.WaitWeights(ctx, 20*time.Second, addr, map[string]int{"n1": 1, "n2": 3, "n3": 4}); err != nil {
		return steps{}, err
	}
	for _, e := range m.Events(addr.String()) {
		// The last change is the one that completed the three next hops.
		st.fib = e.At.Sub(begin)
	}
	return st, nil
}

// pollAddr asks every few milliseconds: more would take the processor away from
// what is measured.
func pollAddr(ctx context.Context, s *stage.Stage, name string) (netip.Addr, error) {
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		v, err := s.Status(ctx, name)
		if err != nil {
			return netip.Addr{}, err
		}
		if a := v.Addrs(); len(a) > 0 {
			return a[0], nil
		}
		time.Sleep(3 * time.Millisecond)
	}
	return netip.Addr{}, fmt.Errorf("no address for Service %s after 20 s", name)
}

func burst(ctx context.Context, s *stage.Stage, n int) error {
	b, err := s.Burst(ctx, n, "web", 3)
	if err != nil {
		return err
	}
	fmt.Printf("\n%d Services created at once, in %.1f s: addresses of all %.2f s, routes of all by three nodes %.2f s after the last creation\n",
		n, b.Creating.Seconds(), b.Addressed.Seconds(), b.Routed.Seconds())
	return nil
}
