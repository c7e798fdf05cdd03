package lab

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// reach returns a question whether a pod answers by both its addresses.
func reach(t *testing.T, l *Lab, pod string) func() error {
	t.Helper()
	p, err := l.Pod(t.Context(), pod)
	must(t, err)
	return func() error {
		for _, a := range p.Addrs {
			if err := oneFlow(t.Context(), l, Ext, net.JoinHostPort(a.String(), "8080"), pod); err != nil {
				return err
			}
		}
		return nil
	}
}

func hasCarrier(t *testing.T, l *Lab, place, link string) bool {
	t.Helper()
	out, err := l.Exec(t.Context(), place, "ip", "-br", "link", "show", link)
	must(t, err)
	return strings.Contains(out, "LOWER_UP")
}

func TestCut(t *testing.T) {
	l := running(t)
	runPods(t, l, "cut", map[string]string{"cut-2": "n2"})
	rows := []struct {
		desc    string
		cut     func(context.Context, string) error
		carrier bool
	}{
		{"silently", l.Cut, true},
		{"with loss of carrier", l.CutCarrier, false},
	}
	for _, r := range rows {
		t.Run(r.desc, func(t *testing.T) {
			answers := reach(t, l, "cut-2")
			must(t, answers())
			must(t, r.cut(t.Context(), "n2"))
			if answers() == nil {
				t.Error("a pod behind a cut link answers")
			}
			if got := hasCarrier(t, l, "n2", "eth0"); got != r.carrier {
				t.Errorf("the node sees a carrier: %v, want %v", got, r.carrier)
			}
			if !hasCarrier(t, l, Router, "lan0") {
				t.Error("the router lost its carrier")
			}
			must(t, l.Restore(t.Context(), "n2"))
			eventually(t, 10*time.Second, "answer after restore", answers)
		})
	}
	eventually(t, 20*time.Second, "node ready", func() error { return l.nodeIs(t.Context(), "n2", true) })
}

func (l *Lab) nodeIs(ctx context.Context, node string, want bool) error {
	ready, err := l.readyNodes(ctx)
	if err == nil && ready[node] != want {
		err = fmt.Errorf("node %s ready: %v, want %v", node, ready[node], want)
	}
	return err
}

// n1 and n2 are on a switch of their own, and see each other but nobody else.
func TestSplit(t *testing.T) {
	l := running(t)
	// Every node's kube-proxy tells about itself.
	ask := func(from, to string) error {
		_, err := l.Exec(t.Context(), from, "curl", "-sm1", "-o", "/dev/null", "http://"+net.JoinHostPort(to, "10256")+"/healthz")
		return err
	}
	must(t, l.Split(t.Context(), "n1", "n2"))
	t.Cleanup(func() { _ = l.Unite(context.Background(), "n1", "n2") })
	rows := []struct {
		from, to string
		apart    bool
	}{
		{"n1", NodeAt(2).Addr4, false},
		{LANClient, NodeAt(3).Addr4, false},
		{"n1", NodeAt(3).Addr4, true},
		{LANClient, NodeAt(2).Addr6, true},
	}
	for _, r := range rows {
		if err := ask(r.from, r.to); (err != nil) != r.apart {
			t.Errorf("split: %s to %s: %v", r.from, r.to, err)
		}
	}
	must(t, l.Unite(t.Context(), "n1", "n2"))
	for _, r := range rows {
		eventually(t, 5*time.Second, r.from+" reaches "+r.to, func() error { return ask(r.from, r.to) })
	}
}

func TestHeartbeat(t *testing.T) {
	l := running(t)
	runPods(t, l, "beat", map[string]string{"beat-1": "n1"})
	must(t, l.StopHeartbeat("n1"))
	t.Cleanup(func() { _ = l.ResumeHeartbeat("n1") })
	eventually(t, 15*time.Second, "node not ready", func() error { return l.nodeIs(t.Context(), "n1", false) })
	must(t, reach(t, l, "beat-1")())
	must(t, l.ResumeHeartbeat("n1"))
	eventually(t, 10*time.Second, "node ready", func() error { return l.nodeIs(t.Context(), "n1", true) })
	must(t, l.WaitPods(t.Context(), 10*time.Second, "beat-1"))
}

func TestPower(t *testing.T) {
	l := running(t)
	runPods(t, l, "power", map[string]string{"power-3": "n3"})
	must(t, reach(t, l, "power-3")())
	must(t, l.PowerOff(t.Context(), "n3"))
	if ns := namespaces(l.podPrefix("n3")); len(ns) > 0 {
		t.Errorf("namespaces of pods of a node without power: %v", ns)
	}
	for name, p := range l.state().Procs {
		if strings.HasSuffix(name, "-n3") && p.alive() {
			t.Errorf("%s runs on a node without power", name)
		}
	}
	if _, err := l.Exec(t.Context(), "n3", "true"); err == nil {
		t.Error("a node without power runs commands")
	}
	eventually(t, 15*time.Second, "node not ready", func() error { return l.nodeIs(t.Context(), "n3", false) })

	must(t, l.PowerOn(t.Context(), "n3"))
	eventually(t, 15*time.Second, "pod ready", func() error { return l.WaitPods(t.Context(), 10*time.Second, "power-3") })
	eventually(t, 10*time.Second, "pod answers", func() error { return reach(t, l, "power-3")() })
	if problems := l.Status(t.Context()).Problems(); len(problems) > 0 {
		t.Errorf("problems: %v", problems)
	}
}

func TestKillPod(t *testing.T) {
	l := running(t)
	runPods(t, l, "victim", map[string]string{"victim": "n1"})
	pids, err := l.PodPIDs("victim")
	must(t, err)
	must(t, l.KillPod("victim"))
	eventually(t, 5*time.Second, "the process is gone", func() error {
		if startTime(pids[0]) != "" {
			return fmt.Errorf("process %d runs", pids[0])
		}
		return nil
	})
}
