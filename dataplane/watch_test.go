package dataplane

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/internal/netlab"
)

// The main thread stands for the process in /proc, and what tears a namespace
// down ends the processes in it. So no test may take the main thread there.
func init() { runtime.LockOSThread() }

// runIn runs a part in a node's namespace until the end of the test.
func runIn(t *testing.T, n *netlab.Node, run func(context.Context) error) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		// The thread stays in the namespace, so it is not given back.
		runtime.LockOSThread()
		if err := n.Enter(); err != nil {
			done <- err
			return
		}
		done <- run(ctx)
	}()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// watch runs a Watcher in a node's namespace until the end of the test.
func watch(t *testing.T, n *netlab.Node, change func(*Watcher)) *Watcher {
	t.Helper()
	w := NewWatcher(Options{Resync: time.Hour})
	if change != nil {
		change(w)
	}
	runIn(t, n, w.Run)
	eventually(t, w, "the first listing", func(links map[string]Link) bool { return len(links) > 0 })
	return w
}

func byName(links []Link) map[string]Link {
	out := make(map[string]Link)
	for _, l := range links {
		out[l.Name] = l
	}
	return out
}

// eventually looks only when the Watcher pokes, as its user does, and returns how
// long it took.
func eventually(t *testing.T, w *Watcher, what string, right func(map[string]Link) bool) time.Duration {
	t.Helper()
	began, limit := time.Now(), time.After(10*time.Second)
	for {
		if right(byName(w.Links())) {
			return time.Since(began)
		}
		select {
		case <-w.Wake():
		case <-limit:
			t.Fatalf("not yet: %s; the links are %+v", what, w.Links())
		}
	}
}

func pair(t *testing.T) (here, far *netlab.Node) {
	t.Helper()
	lab := netlab.New(t)
	here, far = lab.Node("here"), lab.Node("far")
	lab.Pair(here, "eth0", far, "eth0")
	return here, far
}

func TestCarrierOfTheFarEnd(t *testing.T) {
	here, far := pair(t)
	here.Addr("eth0", "192.0.2.7/24", "2001:db8::7/64")
	w := watch(t, here, nil)
	want := Selection{Addr: netip.MustParseAddr("192.0.2.100")}
	judge := func(v Verdict) func(map[string]Link) bool {
		return func(l map[string]Link) bool { return want.Judge(l["eth0"]) == v }
	}
	eventually(t, w, "eth0 is usable", judge(Fits))
	for range 3 {
		far.Run("ip", "link", "set", "eth0", "down")
		lost := eventually(t, w, "the carrier is lost", judge(NoCarrier))
		far.Run("ip", "link", "set", "eth0", "up")
		back := eventually(t, w, "the carrier is back", judge(Fits))
		t.Logf("loss seen %v, return %v after the command had ended", lost, back)
		// The kernel itself may take a second to call a link ready again.
		if lost > 500*time.Millisecond || back > 2*time.Second {
			t.Errorf("the carrier was seen to go after %v, to return after %v", lost, back)
		}
	}
	here.Run("ip", "link", "set", "eth0", "down")
	eventually(t, w, "eth0 is down", judge(IsDown))
}

func TestKindsOfLinks(t *testing.T) {
	here, _ := pair(t)
	w := watch(t, here, nil)
	want := Selection{Addr: netip.MustParseAddr("192.0.2.100")}
	for _, command := range []string{
		"link add br0 type bridge forward_delay 0",
		"link set eth0 master br0",
		"link set br0 up",
		"addr add 192.0.2.7/24 dev br0",
		"link add m0 link br0 type macvlan",
		"addr add 198.51.100.7/24 dev m0",
		"link set m0 up",
		"link add tun9 type vxlan id 9 dstport 4789 dev br0",
		"addr add 203.0.113.7/24 dev tun9",
		"link set tun9 up",
	} {
		here.Run("ip", strings.Fields(command)...)
	}
	eventually(t, w, "the bridge carries what its port does not", func(l map[string]Link) bool {
		return want.Judge(l["br0"]) == Fits && want.Judge(l["eth0"]) == IsPort && l["eth0"].Master == "br0" && l["br0"].Kind == "bridge"
	})
	eventually(t, w, "the macvlan carries its own subnet", func(l map[string]Link) bool {
		return Selection{Addr: netip.MustParseAddr("198.51.100.100")}.Judge(l["m0"]) == Fits && l["m0"].Kind == "macvlan"
	})
	eventually(t, w, "a pod network's tunnel carries nothing", func(l map[string]Link) bool {
		return Selection{Addr: netip.MustParseAddr("203.0.113.100")}.Judge(l["tun9"]) == Internal && l["tun9"].Kind == "vxlan"
	})
}

func TestSameNameAgain(t *testing.T) {
	lab := netlab.New(t)
	here, far := lab.Node("here"), lab.Node("far")
	lab.Pair(here, "eth0", far, "eth0")
	here.Addr("eth0", "192.0.2.7/24")
	w := watch(t, here, nil)
	first := byName(w.Links())["eth0"]
	here.Run("ip", "link", "del", "eth0")
	eventually(t, w, "eth0 is gone", func(l map[string]Link) bool { _, there := l["eth0"]; return !there })
	lab.Pair(here, "eth0", far, "eth0")
	here.Addr("eth0", "192.0.2.8/24")
	eventually(t, w, "eth0 is another one", func(l map[string]Link) bool {
		eth0 := l["eth0"]
		return eth0.Index != first.Index && len(eth0.Prefixes) > 0 && eth0.Prefixes[0].String() == "192.0.2.8/24" && eth0.Carrier
	})
}

func TestRename(t *testing.T) {
	here, _ := pair(t)
	w := watch(t, here, nil)
	here.Run("ip", "link", "set", "eth0", "down")
	here.Run("ip", "link", "set", "eth0", "name", "lan0")
	eventually(t, w, "lan0 was eth0", func(l map[string]Link) bool {
		_, old := l["eth0"]
		_, now := l["lan0"]
		return now && !old
	})
}

const many = 5000

func batch(t *testing.T, verb string) string {
	t.Helper()
	var b strings.Builder
	for i := range many {
		fmt.Fprintf(&b, "addr %s 10.1.%d.%d/32 dev eth0\n", verb, i/250, i%250+1)
	}
	file := filepath.Join(t.TempDir(), verb)
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func hasAddrs(n int) func(map[string]Link) bool {
	return func(l map[string]Link) bool {
		v4 := 0
		for _, p := range l["eth0"].Prefixes {
			if p.Addr().Is4() {
				v4++
			}
		}
		return v4 == n
	}
}

func TestFiveThousandAddresses(t *testing.T) {
	here, _ := pair(t)
	w := watch(t, here, nil)
	began := time.Now()
	here.Run("ip", "-batch", batch(t, "add"))
	after := eventually(t, w, "all addresses are there", hasAddrs(many))
	t.Logf("%d came within %v, all known %v later", many, time.Since(began)-after, after)
	here.Run("ip", "-batch", batch(t, "del"))
	after = eventually(t, w, "all addresses are gone", hasAddrs(0))
	t.Logf("all gone %v later", after)
}

// TestBrokenSubscription is what a full receive buffer does: the library closes
// its channel, and says nothing any more.
func TestBrokenSubscription(t *testing.T) {
	here, _ := pair(t)
	broke := make(chan *events, 10)
	failed := false
	w := watch(t, here, func(w *Watcher) {
		w.events = func(done <-chan struct{}) (*events, error) {
			if !failed {
				failed = true
				return nil, errors.New("no buffer space")
			}
			e, err := w.subscribe(done)
			broke <- e
			return e, err
		}
	})
	e := <-broke
	here.Addr("eth0", "192.0.2.7/24")
	eventually(t, w, "an address before the break", hasAddrs(1))
	poke(e.closed)
	<-broke
	here.Addr("eth0", "192.0.2.8/24")
	eventually(t, w, "an address after the break", hasAddrs(2))
}

// TestOverflow makes the kernel drop events for real: nobody reads them.
func TestOverflow(t *testing.T) {
	here, _ := pair(t)
	stuck := make(chan struct{})
	broke := make(chan *events, 10)
	w := watch(t, here, func(w *Watcher) {
		first := true
		w.events = func(done <-chan struct{}) (*events, error) {
			if first {
				first = false
				return smallAndStuck(done, stuck)
			}
			e, err := w.subscribe(done)
			broke <- e
			return e, err
		}
	})
	here.Run("ip", "-batch", batch(t, "add"))
	close(stuck)
	<-broke
	eventually(t, w, "what was dropped is known", hasAddrs(many))
}
