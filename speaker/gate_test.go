package speaker

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/heraldlb/herald/internal/bubble"
	"github.com/heraldlb/herald/internal/cluster"
	"github.com/heraldlb/herald/speaker/forwarding"
	"github.com/heraldlb/herald/speaker/plan"
)

// proxy is a kube-proxy that is ready when the test says so.
type proxy struct {
	mu      sync.Mutex
	ready   bool
	off     bool
	targets []forwarding.Target
	stale   string // why the rules are outdated
	asked   map[string]netip.Addr
	able    bool
	told    []string        // troubles
	kept    bool            // what is ready was so before
	waiting map[string]bool // Services that are not ready, whatever the others are
	wake    chan struct{}
}

func (p *proxy) Want(targets []forwarding.Target, off bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.targets, p.off = targets, off
}

func (p *proxy) Forwarding(k forwarding.Key) forwarding.Answer {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.waiting[k.Service]:
		return forwarding.Answer{Why: "kube-proxy sleeps"}
	case p.off || p.ready && p.stale == "":
		return forwarding.Answer{OK: true, Kept: p.kept}
	case p.ready:
		return forwarding.Answer{OK: true, Outdated: true, Why: p.stale}
	default:
		return forwarding.Answer{Why: "kube-proxy sleeps"}
	}
}

func (p *proxy) Joined(time.Time) {}

func (p *proxy) Others(nodes map[string]netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = nodes
}

func (p *proxy) Able(string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.able
}

func (p *proxy) Settled() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return (p.ready || p.off || len(p.targets) == 0) && len(p.waiting) == 0
}

func (p *proxy) Wake() <-chan struct{} { return p.wake }

func (p *proxy) set(ready bool) { p.change(func() { p.ready = ready }) }

func (p *proxy) change(change func()) {
	p.mu.Lock()
	change()
	p.mu.Unlock()
	p.wake <- struct{}{}
}

// gated is run with a kube-proxy.
func gated(t *testing.T, body func(t *testing.T, s *Speaker, w *world, r *recorder, p *proxy)) {
	bubble.Test(t, func(t *testing.T) {
		w, r, p := &world{wake: make(chan struct{}, 1)}, &recorder{}, &proxy{wake: make(chan struct{}, 1)}
		s, err := New(Options{
			Node: "n1", Source: w, Announcers: []Announcer{r}, Forwarding: p,
			Trouble: func(_ cluster.Service, _ plan.Reason, note string) {
				p.mu.Lock()
				defer p.mu.Unlock()
				p.told = append(p.told, note)
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		body(t, s, w, r, p)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

func TestNothingIsAnnouncedBeforeItIsForwarded(t *testing.T) {
	gated(t, func(t *testing.T, s *Speaker, w *world, r *recorder, p *proxy) {
		w.set(func() { w.conf, w.snap, w.synced = conf, pods(1), true })
		time.Sleep(firstWithin + time.Second)
		r.want(t, 0) // the sessions do not wait for ever
		if d := s.State().Table.Decisions[0]; d.Reason != "NotForwarding" || d.Detail != "kube-proxy sleeps" {
			t.Errorf("decided %s, %q", d.Reason, d.Detail)
		}
		p.set(true)
		r.want(t, 0, 1)
	})
}

// A router that kept our routes over a restart drops what the first table lacks.
func TestTheFirstTableWaitsForKubeProxysAnswer(t *testing.T) {
	gated(t, func(t *testing.T, _ *Speaker, w *world, r *recorder, p *proxy) {
		w.set(func() { w.conf, w.snap, w.synced = conf, pods(1), true })
		time.Sleep(firstWithin / 2)
		r.want(t)
		p.set(true)
		r.want(t, 1)
	})
}

// sharers are two Services with one address.
func sharers() cluster.Snapshot {
	snap := pods(1)
	second := snap.Services[0]
	second.Name = "web2"
	snap.Services = append(snap.Services, second)
	return snap
}

func TestASharerThatIsForwardedDoesNotOpenTheGateForAnother(t *testing.T) {
	gated(t, func(t *testing.T, _ *Speaker, w *world, r *recorder, p *proxy) {
		p.change(func() { p.ready, p.waiting = true, map[string]bool{"default/web2": true} })
		w.set(func() { w.conf, w.snap, w.synced = conf, sharers(), true })
		time.Sleep(firstWithin + time.Second)
		r.want(t, 0)
		p.change(func() { p.waiting = nil })
		time.Sleep(time.Second)
		r.want(t, 0, 2)
		// Once it is announced, a newcomer costs the others nothing.
		p.change(func() { p.waiting = map[string]bool{"default/web": true} })
		time.Sleep(time.Second)
		r.want(t, 0, 2)
	})
}

func TestWhatWasAnnouncedBeforeARestartDoesNotWaitForANewSharer(t *testing.T) {
	gated(t, func(t *testing.T, _ *Speaker, w *world, r *recorder, p *proxy) {
		p.change(func() { p.ready, p.kept, p.waiting = true, true, map[string]bool{"default/web2": true} })
		w.set(func() { w.conf, w.snap, w.synced = conf, sharers(), true })
		time.Sleep(firstWithin + time.Second)
		r.want(t, 2)
	})
}

func TestTheGateCanBeTurnedOff(t *testing.T) {
	gated(t, func(t *testing.T, _ *Speaker, w *world, r *recorder, _ *proxy) {
		w.set(func() { w.conf, w.snap, w.synced = conf+"nodes: {forwardingGate: off}\n", pods(1), true })
		time.Sleep(time.Second)
		r.want(t, 1)
	})
}

// kube-proxy is dead, and its rules lead to a pod that is gone. The node drains as
// soon as another one is known to be well, and comes back with kube-proxy.
func TestOutdatedRulesGiveWayToAnotherNode(t *testing.T) {
	gated(t, func(t *testing.T, s *Speaker, w *world, r *recorder, p *proxy) {
		p.change(func() { p.ready = true })
		snap := pods(1)
		snap.Nodes[1].Addrs = []netip.Addr{netip.MustParseAddr("10.0.0.12")}
		w.set(func() { w.conf, w.snap, w.synced = conf+"nodes: {drainTime: 5s}\n", snap, true })
		time.Sleep(time.Second)
		r.want(t, 1)
		p.change(func() { p.stale = "it is dead" })
		time.Sleep(time.Second)
		r.want(t, 1)
		if d := s.State().Table.Decisions[0]; d.Reason != plan.RulesOutdated || !d.Announce || d.Draining {
			t.Errorf("%+v", d)
		}
		if want := (map[string]netip.Addr{"n2": netip.MustParseAddr("10.0.0.12")}); !maps.Equal(p.asked, want) {
			t.Errorf("asked are %v, want %v", p.asked, want)
		}
		p.change(func() { p.able = true })
		time.Sleep(time.Second)
		r.want(t, 1, 1)
		if d := s.State().Table.Decisions[0]; d.Reason != plan.RulesOutdated || !d.Draining {
			t.Errorf("%+v", d)
		}
		time.Sleep(6 * time.Second)
		r.want(t, 1, 1, 0)
		p.change(func() { p.stale = "" })
		time.Sleep(time.Second)
		r.want(t, 1, 1, 0, 1)
		if len(p.asked) != 0 {
			t.Errorf("%v are asked on", p.asked)
		}
		if want := []string{"n1 does not serve 198.51.100.10 as it should: it is dead; no other node is known to serve it better"}; !slices.Equal(p.told, want) {
			t.Errorf("told %q, want %q", p.told, want)
		}
	})
}

func TestTargets(t *testing.T) {
	v4, v6 := netip.MustParseAddr("10.244.1.2"), netip.MustParseAddr("fd01::2")
	nodes := []cluster.Node{{Name: "n1", Addrs: []netip.Addr{netip.MustParseAddr("10.0.0.11"), netip.MustParseAddr("fd00::11")}}, {Name: "n2"}}
	web := func(change func(*cluster.Service)) cluster.Service {
		s := cluster.Service{
			Namespace: "default", Name: "web", LoadBalancer: true, LocalOnly: true, HealthPort: 30001,
			Ingress:   []netip.Addr{netip.MustParseAddr("198.51.100.10"), netip.MustParseAddr("2001:db8::10")},
			Endpoints: []cluster.Endpoint{{Addr: v4, Node: "n1", Ready: true}, {Addr: v6, Node: "n1", Ready: true}},
		}
		if change != nil {
			change(&s)
		}
		return s
	}
	for _, tt := range []struct {
		what   string
		change func(*cluster.Service)
		want   []string
	}{
		{"a Local Service is asked for on both of the node's addresses", nil, []string{"IPv4 10.0.0.11:30001", "IPv6 [fd00::11]:30001"}},
		{"a Cluster Service has no port of its own", func(s *cluster.Service) { s.LocalOnly = false }, []string{"IPv4", "IPv6"}},
		{"nor has a Local one without", func(s *cluster.Service) { s.HealthPort = 0 }, []string{"IPv4", "IPv6"}},
		{"endpoints elsewhere count for Cluster", func(s *cluster.Service) { s.LocalOnly, s.Endpoints[0].Node = false, "n2" }, []string{"IPv4", "IPv6"}},
		{"but not for Local", func(s *cluster.Service) { s.Endpoints[0].Node = "n2" }, []string{"IPv6 [fd00::11]:30001"}},
		{"an endpoint that terminates is not waited for", func(s *cluster.Service) { s.Endpoints[0].Ready = false }, []string{"IPv6 [fd00::11]:30001"}},
		{"without an address there is nothing to announce", func(s *cluster.Service) { s.Ingress = nil }, nil},
		{"a Service that goes is not asked for", func(s *cluster.Service) { s.Deleting = true }, nil},
		{"nor one that another proxy takes care of", func(s *cluster.Service) { s.Labels = map[string]string{cluster.LabelProxy: "other"} }, nil},
		{"nor one of another class", func(s *cluster.Service) { s.Class = "example.com/other" }, nil},
	} {
		var got []string
		for _, x := range targets(cluster.Snapshot{Services: []cluster.Service{web(tt.change)}, Nodes: nodes}, "n1") {
			text := string(x.Family)
			if x.Health.IsValid() {
				text += " " + x.Health.String()
			}
			got = append(got, text)
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: targets %q, want %q", tt.what, got, tt.want)
		}
	}
}

func TestLeaveReturnsWhenNothingIsAnnounced(t *testing.T) {
	gated(t, func(t *testing.T, s *Speaker, w *world, r *recorder, p *proxy) {
		p.change(func() { p.ready = true })
		w.set(func() { w.conf, w.snap, w.synced = conf+"nodes: {drainTime: 5s}\n", pods(1), true })
		time.Sleep(time.Second)
		r.want(t, 1)
		begun := time.Now()
		if err := s.Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begun); took < 5*time.Second || took > 5100*time.Millisecond {
			t.Errorf("left after %s, want the drain time of 5 s", took)
		}
		r.want(t, 1, 1, 0)
	})
}

func TestLeaveWithoutAnythingAnnouncedIsAtOnce(t *testing.T) {
	gated(t, func(t *testing.T, s *Speaker, _ *world, _ *recorder, _ *proxy) {
		begun := time.Now()
		if err := s.Leave(t.Context()); err != nil || time.Since(begun) > pauseFloor {
			t.Errorf("%v after %s", err, time.Since(begun))
		}
	})
}

// However many addresses are outdated on however many nodes, few speakers are asked.
func TestFewOtherSpeakersAreAsked(t *testing.T) {
	p := &proxy{wake: make(chan struct{}, 1)}
	s, err := New(Options{Node: "n500", Source: &world{}, Forwarding: p})
	if err != nil {
		t.Fatal(err)
	}
	var nodes []cluster.Node
	var table plan.Table
	for i := range 1000 {
		nodes = append(nodes, cluster.Node{Name: fmt.Sprintf("n%03d", i), Addrs: []netip.Addr{netip.AddrFrom4([4]byte{10, 0, byte(i / 250), byte(i % 250)})}})
	}
	for i := range 900 {
		d := plan.Decision{Reason: plan.RulesOutdated}
		for j := range 10 {
			d.Nodes = append(d.Nodes, plan.NodeWeight{Node: nodes[i+10*j].Name, Weight: 1})
		}
		table.Decisions = append(table.Decisions, d)
	}
	s.askOthers(table, nodes)
	if n := len(p.asked); n < 10 || n > forwarding.MostOthers {
		t.Errorf("%d are asked, want %d at most", n, forwarding.MostOthers)
	}
	table.Decisions = table.Decisions[500:501]
	s.askOthers(table, nodes)
	if n := len(p.asked); n != 3 {
		t.Errorf("%d are asked about one address, want the next three: %v", n, p.asked)
	}
}
