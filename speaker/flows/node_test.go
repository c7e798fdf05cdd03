package flows_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/heraldlb/herald/internal/netlab"
	"github.com/heraldlb/herald/internal/share"
	"github.com/heraldlb/herald/speaker/bgp"
	"github.com/heraldlb/herald/speaker/flows"
	"github.com/heraldlb/herald/speaker/plan"
)

// asNode makes the test binary what a speaker is beside Kubernetes: an announcer,
// a Meter and the HTTP server by which Meters ask each other. It takes orders on
// standard input. It needs a process of its own to live in a namespace.
const asNode = "HERALD_TEST_NODE"

// The main thread stands for the process in /proc, and what tears a namespace down
// ends the processes in it. So no test may take the main thread there.
func init() { runtime.LockOSThread() }

func TestMain(m *testing.M) {
	if name := os.Getenv(asNode); name != "" {
		beNode(name, os.Stdin, os.Stdout)
		return
	}
	// These tests wait most of the time, so more of them fit than there are CPUs.
	flag.Parse()
	if n := flag.Lookup("test.parallel"); n.Value.String() == n.DefValue {
		_ = flag.Set("test.parallel", "4")
	}
	os.Exit(m.Run())
}

// order is what a test tells a node: to announce a table, or to count from zero.
// Each is answered with what the node knows.
type order struct {
	Table *plan.Table
	Nodes map[string]netip.Addr
	Count bool
}

type answer struct {
	Error    string
	Up       int // sessions
	Report   share.Report
	Verdicts []share.Verdict
	Wrong    []string // what would have become Events
	Unheard  map[string]string
}

const (
	port        = 7473
	sampleEvery = 200 * time.Millisecond
	settleFor   = 400 * time.Millisecond
	judgeEvery  = 300 * time.Millisecond
)

// process is a node's.
type process struct {
	name      string
	announcer *bgp.Announcer
	situation atomic.Pointer[flows.Situation]
	wrong     atomic.Pointer[[]string]
	meter     atomic.Pointer[flows.Meter]
	stop      func() // counting
}

func beNode(name string, in io.Reader, out io.Writer) {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	a, err := bgp.New(bgp.Options{Log: log})
	if err != nil {
		panic(err)
	}
	p := &process{name: name, announcer: a, stop: func() {}}
	p.situation.Store(&flows.Situation{})
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	listener, err := net.Listen("tcp", net.JoinHostPort("", "7473"))
	if err != nil {
		panic(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /flows", func(w http.ResponseWriter, r *http.Request) { p.meter.Load().Handler().ServeHTTP(w, r) })
	go func() { _ = http.Serve(listener, mux) }()
	p.count(ctx, log)
	orders, answers := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var o order
		if err := orders.Decode(&o); err != nil {
			break
		}
		if o.Count {
			p.stop()
			p.count(ctx, log)
		}
		_ = answers.Encode(p.obey(ctx, o))
	}
	p.stop()
	stop()
	if err := <-ended; err != nil {
		panic(err)
	}
}

// count begins with a new Meter.
func (p *process) count(ctx context.Context, log *slog.Logger) {
	p.wrong.Store(&[]string{})
	m, err := flows.New(flows.Options{
		Node: p.name, Host: flows.Kernel(log), Ask: flows.Asker(p.name, port), Log: log,
		Situation: func() flows.Situation {
			s := *p.situation.Load()
			for _, x := range p.announcer.Peers() {
				s.Peers = append(s.Peers, flows.Peer{Name: x.Name, Address: x.Address, Up: x.State == bgp.Established && x.Withheld == "", Paths: x.AddPath})
			}
			return s
		},
		Wrong: func(v share.Verdict) {
			all := append(*p.wrong.Load(), v.Says())
			p.wrong.Store(&all)
		},
		SampleEvery: sampleEvery, SettleFor: settleFor, JudgeEvery: judgeEvery,
	})
	if err != nil {
		panic(err)
	}
	p.meter.Store(m)
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	p.stop = func() {
		cancel()
		if err := <-done; err != nil {
			panic(err)
		}
	}
}

func (p *process) obey(ctx context.Context, o order) (say answer) {
	if o.Table != nil {
		p.situation.Store(&flows.Situation{Table: *o.Table, Nodes: o.Nodes})
		if err := p.announcer.Apply(ctx, *o.Table); err != nil {
			say.Error = err.Error()
		}
		p.meter.Load().Wake()
	}
	for _, x := range p.announcer.Peers() {
		if x.State == bgp.Established {
			say.Up++
		}
	}
	m := p.meter.Load()
	say.Report, say.Verdicts, say.Wrong, say.Unheard = m.Report(), m.Verdicts(), *p.wrong.Load(), m.Unheard()
	return say
}

// remote is a node's process as the test sees it.
type remote struct {
	*netlab.Process
	t       *testing.T
	orders  *json.Encoder
	answers *json.Decoder
}

func startNode(t *testing.T, n *netlab.Node) *remote {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := n.Command(self)
	cmd.Env = append(os.Environ(), asNode+"="+n.Name)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	outRead, outWrite := io.Pipe()
	cmd.Stdout = outWrite
	r := &remote{Process: n.StartCommand(cmd), t: t, orders: json.NewEncoder(in), answers: json.NewDecoder(outRead)}
	t.Cleanup(func() {
		_ = in.Close()
		if !r.Wait(10 * time.Second) {
			t.Errorf("the process on %s has not stopped within 10 s", n.Name)
		}
		log, _ := os.ReadFile(r.Log)
		if r.Failed() || bytes.Contains(log, []byte("DATA RACE")) {
			t.Errorf("the process on %s has failed", n.Name)
		}
		if t.Failed() {
			t.Logf("log of the process on %s:\n%s", n.Name, log[max(0, len(log)-4000):])
		}
	})
	return r
}

func (r *remote) tell(o order) (a answer) {
	r.t.Helper()
	if err := r.orders.Encode(o); err != nil {
		r.t.Fatalf("the process is gone: %v", err)
	}
	said := make(chan error, 1)
	go func() { said <- r.answers.Decode(&a) }()
	select {
	case err := <-said:
		if err != nil || a.Error != "" {
			r.t.Fatalf("the process says %v, %s", err, a.Error)
		}
	case <-time.After(20 * time.Second):
		r.t.Fatalf("the process does not answer; alive: %v", r.Alive())
	}
	return a
}
