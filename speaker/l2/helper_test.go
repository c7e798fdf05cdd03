package l2

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/heraldlb/herald/dataplane"
	"github.com/heraldlb/herald/internal/netlab"
	"github.com/heraldlb/herald/internal/netlab/kernel"
	"github.com/heraldlb/herald/speaker/plan"
)

// asAnnouncer makes the test binary an announcer that takes orders on standard
// input: to live in a namespace it needs a process of its own.
const asAnnouncer = "HERALD_TEST_L2"

// asFlood makes it send what TestOthersRequestsWakeNobody needs.
const asFlood = "HERALD_TEST_FLOOD"

func TestMain(m *testing.M) {
	kernel.Guest()
	switch {
	case os.Getenv(asAnnouncer) != "":
		announce(os.Stdin, os.Stdout)
	case os.Getenv(asFlood) != "":
		flood()
	default:
		os.Exit(m.Run())
	}
}

// order is what a test tells an announcer. Whatever it holds, the answer tells
// how the announcer is.
type order struct {
	Table      *plan.Table
	Links      []string
	Reannounce string
	Peers      map[string]string // MAC to node, from now on; nil: as before
}

type answer struct {
	Error     string
	Took      time.Duration
	Stats     []LinkStats
	Conflicts []Conflict // since the start
	CPU       time.Duration
}

// announcing is an announcer and what it has told.
type announcing struct {
	*Announcer
	mu        sync.Mutex
	peers     map[string]string
	conflicts []Conflict
}

func announce(in io.Reader, out io.Writer) {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	a := &announcing{}
	o := Options{Log: log, OnConflict: a.conflict}
	if os.Getenv(asAnnouncer) == "peers" {
		o.Peer = a.peer
	}
	var err error
	if a.Announcer, err = New(o); err != nil {
		panic(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	if os.Getenv(asAnnouncer) == "watching" {
		go a.watch(ctx)
	}
	orders, answers := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var o order
		if err := orders.Decode(&o); err != nil {
			break
		}
		answers.Encode(a.obey(ctx, o))
	}
	stop()
	if err := <-ended; err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}

// watch tells what has changed, as the speaker does.
func (a *announcing) watch(ctx context.Context) {
	w := dataplane.NewWatcher(dataplane.Options{})
	go w.Run(ctx)
	var before []dataplane.Link
	for range w.Wake() {
		now := w.Links()
		a.LinksChanged(dataplane.Changed(before, now)...)
		before = now
	}
}

func (a *announcing) conflict(c Conflict) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.conflicts = append(a.conflicts, c)
}

func (a *announcing) peer(m net.HardwareAddr) (string, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	node, ok := a.peers[m.String()]
	return node, ok
}

func (a *announcing) obey(ctx context.Context, o order) (say answer) {
	if o.Peers != nil {
		a.mu.Lock()
		a.peers = o.Peers
		a.mu.Unlock()
	}
	if o.Table != nil {
		start := time.Now()
		if err := a.Apply(ctx, *o.Table); err != nil {
			say.Error = err.Error()
		}
		say.Took = time.Since(start)
	}
	if o.Links != nil {
		a.LinksChanged(o.Links...)
	}
	if o.Reannounce != "" {
		a.Reannounce(o.Reannounce)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	say.Stats, say.Conflicts = a.Stats(), append([]Conflict(nil), a.conflicts...)
	var used unix.Rusage
	unix.Getrusage(unix.RUSAGE_SELF, &used)
	say.CPU = time.Duration(used.Utime.Nano() + used.Stime.Nano())
	return say
}

// remote is an announcer in a process of its own.
type remote struct {
	*netlab.Process
	tb  testing.TB
	in  io.WriteCloser
	out *bufio.Reader
}

// startAnnouncer starts one on a node. With peers it is told which MACs are
// those of nodes, at first none.
func startAnnouncer(tb testing.TB, n *netlab.Node, peers bool) *remote {
	tb.Helper()
	if peers {
		return startAs(tb, n, "peers")
	}
	return startAs(tb, n, "1")
}

func startAs(tb testing.TB, n *netlab.Node, mode string) *remote {
	tb.Helper()
	self, err := os.Executable()
	if err != nil {
		tb.Fatal(err)
	}
	cmd := n.Command(self)
	// A race in there must end it, or no test would know.
	cmd.Env = append(os.Environ(), asAnnouncer+"="+mode, "GORACE=halt_on_error=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	outRead, outWrite := io.Pipe()
	cmd.Stdout = outWrite
	r := &remote{tb: tb, in: in, out: bufio.NewReaderSize(outRead, 1<<20)}
	r.Process = n.StartCommand(cmd)
	tb.Cleanup(func() {
		if tb.Failed() {
			log, _ := os.ReadFile(r.Log)
			tb.Logf("log of the announcer on %s:\n%s", n.Name, log[max(0, len(log)-4000):])
		}
	})
	return r
}

func (r *remote) tell(o order) answer {
	r.tb.Helper()
	if err := json.NewEncoder(r.in).Encode(o); err != nil {
		r.tb.Fatalf("announcer is gone: %v", err)
	}
	said := make(chan answer, 1)
	go func() {
		var a answer
		if line, err := r.out.ReadBytes('\n'); err == nil {
			if err := json.Unmarshal(line, &a); err == nil {
				said <- a
			}
		}
	}()
	select {
	case a := <-said:
		return a
	case <-time.After(20 * time.Second):
		r.tb.Fatalf("announcer does not answer; alive: %v", r.Alive())
		return answer{}
	}
}

// claim makes the announcer claim addresses on eth0 and nothing else.
func (r *remote) claim(addrs ...netip.Addr) answer {
	r.tb.Helper()
	return r.claimOn("eth0", addrs...)
}

func (r *remote) claimOn(link string, addrs ...netip.Addr) answer {
	r.tb.Helper()
	t := plan.Table{}
	for _, a := range addrs {
		t.Claims = append(t.Claims, plan.Claim{Addr: a, Links: []string{link}})
	}
	said := r.tell(order{Table: &t})
	if said.Error != "" {
		r.tb.Fatalf("apply: %s", said.Error)
	}
	return said
}

// stats are those of one link.
func (r *remote) stats(link string) LinkStats {
	r.tb.Helper()
	for _, s := range r.tell(order{}).Stats {
		if s.Link == link {
			return s
		}
	}
	return LinkStats{Link: link}
}

// inside runs f on a thread that is in the node's namespace. Sockets that f
// opens stay there.
func inside(tb testing.TB, n *netlab.Node, f func()) {
	tb.Helper()
	runtime.LockOSThread()
	home, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		tb.Fatal(err)
	}
	defer unix.Close(home)
	there, err := unix.Open("/run/netns/"+n.NS, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		tb.Fatal(err)
	}
	defer unix.Close(there)
	if err := unix.Setns(there, unix.CLONE_NEWNET); err != nil {
		tb.Fatalf("enter %s: %v", n.NS, err)
	}
	f()
	// A thread left behind would be taken for a process of the namespace.
	if err := unix.Setns(home, unix.CLONE_NEWNET); err != nil {
		panic(err)
	}
	runtime.UnlockOSThread()
}

func addrs(list ...string) (out []netip.Addr) {
	for _, s := range list {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}
