package lab

import (
	"net"
	"strings"
	"testing"
	"time"
)

// testFarNode leaves n3, which is the far one, as it was.
func testFarNode(t *testing.T, l *Lab) {
	ctx := t.Context()
	runPods(t, l, "far", map[string]string{"far-1": "n1", "far-3": "n3"})
	for place, router := range map[string][]string{"n1": {Router4, Router6}, "n3": {FarRouter4, FarRouter6}} {
		other := map[string]Node{"n1": far.node(3), "n3": near.node(1)}[place]
		for i, to := range []string{other.Addr4, other.Addr6} {
			out, err := l.Exec(ctx, place, "ip", "route", "get", to)
			must(t, err)
			if !strings.Contains(out, " via "+router[i]+" ") {
				t.Errorf("%s reaches %s by %q, want the router", place, to, out)
			}
		}
	}
	t.Run("pods of different segments reach each other", func(t *testing.T) {
		for from, to := range map[string]string{"far-1": "far-3", "far-3": "far-1"} {
			p, err := l.Pod(ctx, to)
			must(t, err)
			for _, a := range p.Addrs {
				must(t, oneFlow(ctx, l, "pod:"+from, net.JoinHostPort(a.String(), "8080"), to))
			}
		}
	})
	answers := reach(t, l, "far-3")
	t.Run("its link is cut", func(t *testing.T) {
		must(t, l.Cut(ctx, "n3"))
		if answers() == nil {
			t.Error("a pod behind a cut link answers")
		}
		must(t, l.Restore(ctx, "n3"))
		eventually(t, 10*time.Second, "answer after restore", answers)
	})
	t.Run("its segment falls apart", func(t *testing.T) {
		must(t, l.Split(ctx, "n3"))
		if answers() == nil {
			t.Error("a pod without a router answers")
		}
		must(t, l.Unite(ctx, "n3"))
		eventually(t, 10*time.Second, "answer after it is one again", answers)
	})
	t.Run("it is off and on", func(t *testing.T) {
		must(t, l.PowerOff(ctx, "n3"))
		must(t, l.PowerOn(ctx, "n3"))
		must(t, l.WaitPods(ctx, 30*time.Second, "far-3"))
		must(t, reach(t, l, "far-3")())
	})
}
