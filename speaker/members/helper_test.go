package members

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/heraldlb/herald/internal/netlab"
)

// The test binary is also the member, and the program that burns CPU.
const (
	memberEnv = "HERALD_TEST_MEMBER"
	burnEnv   = "HERALD_TEST_BURN"
)

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(memberEnv) != "":
		beMember(os.Getenv(memberEnv))
	case os.Getenv(garbageEnv) != "":
		beHostile(os.Getenv(garbageEnv))
	case os.Getenv(burnEnv) != "":
		burn()
	default:
		os.Exit(m.Run())
	}
}

// spec is a member as the test describes it to the process.
type spec struct {
	Node, Bind, Advertise string
	Key                   []byte
	Accept                [][]byte
	Insecure              bool
	Peers                 []string
	Timings               Timings
}

// event is what the process prints whenever something changes.
type event struct {
	At    int64    // wall clock, ns
	Alive []string // sorted
	Left  bool     // Leave has returned
	State *State   // on demand
}

func beMember(text string) {
	var s spec
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		panic(err)
	}
	o := Options{Node: s.Node, Bind: netip.MustParseAddrPort(s.Bind), Key: s.Key, Accept: s.Accept, Insecure: s.Insecure, Timings: s.Timings}
	o.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if s.Advertise != "" {
		o.Advertise = netip.MustParseAddrPort(s.Advertise)
	}
	var mu sync.Mutex
	peers := parseAddrs(s.Peers)
	o.Peers = func() []netip.AddrPort { mu.Lock(); defer mu.Unlock(); return slices.Clone(peers) }
	m, err := New(o)
	if err != nil {
		panic(err)
	}
	go obey(m, func(p []string) { mu.Lock(); defer mu.Unlock(); peers = parseAddrs(p) })
	go func() {
		tell(m, event{})
		for range m.Wake() {
			tell(m, event{})
		}
	}()
	if err := m.Run(context.Background()); err != nil {
		panic(err)
	}
}

func parseAddrs(texts []string) []netip.AddrPort {
	var out []netip.AddrPort
	for _, t := range texts {
		out = append(out, netip.MustParseAddrPort(t))
	}
	return out
}

func tell(m *Members, e event) {
	e.At, e.Alive = time.Now().UnixNano(), slices.Sorted(maps.Keys(m.Alive()))
	b, _ := json.Marshal(e)
	os.Stdout.Write(append(b, '\n'))
}

func obey(m *Members, setPeers func([]string)) {
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		verb, rest, _ := strings.Cut(in.Text(), " ")
		switch verb {
		case "leave":
			if err := m.Leave(2 * time.Second); err != nil {
				panic(err)
			}
			tell(m, event{Left: true})
		case "peers":
			setPeers(strings.Fields(rest))
		case "state":
			s := m.State()
			tell(m, event{State: &s})
		}
	}
	os.Exit(0) // the test is gone
}

// burn takes one CPU, for a minute at most.
func burn() {
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		for x := 0; x < 1e7; x++ {
			_ = x
		}
		if os.Getppid() == 1 {
			return
		}
	}
}

// proc is a member in a process of its own.
type proc struct {
	*netlab.Process
	tb    testing.TB
	spec  spec
	stdin io.Writer

	mu     sync.Mutex
	events []event
}

func start(tb testing.TB, n *netlab.Node, s spec) *proc {
	tb.Helper()
	text, _ := json.Marshal(s)
	cmd := n.Command(os.Args[0])
	cmd.Env = append(os.Environ(), memberEnv+"="+string(text))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, outW, err := os.Pipe()
	if err != nil {
		tb.Fatal(err)
	}
	cmd.Stdout = outW
	in, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	p := &proc{tb: tb, spec: s, stdin: in}
	p.Process = n.StartCommand(cmd)
	outW.Close()
	go p.listen(out)
	return p
}

func (p *proc) listen(out *os.File) {
	defer out.Close()
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			fmt.Fprintf(os.Stderr, "%s wrote %q\n", p.spec.Node, lines.Text())
			continue
		}
		p.mu.Lock()
		p.events = append(p.events, e)
		p.mu.Unlock()
	}
}

func (p *proc) do(command string) { fmt.Fprintln(p.stdin, command) }

func (p *proc) history() []event {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.events)
}

// await waits until the member has told of an event that is right, after the
// given time, and returns how long after that it was.
func (p *proc) await(limit time.Duration, since time.Time, what string, right func(event) bool) time.Duration {
	p.tb.Helper()
	for deadline := time.Now().Add(limit); ; time.Sleep(2 * time.Millisecond) {
		for _, e := range p.history() {
			if e.At >= since.UnixNano() && right(e) {
				return time.Duration(e.At - since.UnixNano())
			}
		}
		if time.Now().After(deadline) {
			log, _ := os.ReadFile(p.Log)
			p.tb.Fatalf("%s: not after %v: %s; it wrote:\n%s", p.spec.Node, limit, what, tail(log, 4000))
		}
	}
}

func tail(b []byte, n int) []byte { return b[max(0, len(b)-n):] }

// sees waits until the member's latest view is exactly these nodes.
func (p *proc) sees(limit time.Duration, names ...string) {
	p.tb.Helper()
	slices.Sort(names)
	netlab.Eventually(p.tb, limit, func() string {
		h := p.history()
		if len(h) == 0 {
			return p.spec.Node + " says nothing"
		}
		if last := h[len(h)-1].Alive; !slices.Equal(last, names) {
			log, _ := os.ReadFile(p.Log)
			return fmt.Sprintf("%s sees %v, not %v; it wrote:\n%s", p.spec.Node, last, names, tail(log, 3000))
		}
		return ""
	})
}

func (p *proc) state() State {
	p.tb.Helper()
	var got *State
	since := time.Now()
	p.do("state")
	p.await(5*time.Second, since, "its state", func(e event) bool { got = e.State; return got != nil })
	return *got
}

func without(name string) func(event) bool {
	return func(e event) bool { return !slices.Contains(e.Alive, name) }
}

func with(name string) func(event) bool {
	return func(e event) bool { return slices.Contains(e.Alive, name) }
}

var testKey = bytes.Repeat([]byte("k"), KeySize)

// cluster is members on a switch: n1 is 10.0.0.1, n2 is 10.0.0.2 and so on.
type cluster struct {
	tb    testing.TB
	lab   *netlab.Lab
	sw    *netlab.Switch
	nodes []*netlab.Node
	ports []string
	procs []*proc
	tune  func(i int, s *spec)
}

func newCluster(tb testing.TB, size int, tune func(i int, s *spec)) *cluster {
	tb.Helper()
	c := &cluster{tb: tb, lab: netlab.New(tb), tune: tune}
	c.sw = c.lab.Switch("sw")
	for i := range size {
		n := c.lab.Node(fmt.Sprintf("n%d", i+1))
		c.ports = append(c.ports, c.sw.Attach(n, "eth0", fmt.Sprintf("10.0.0.%d/24", i+1), fmt.Sprintf("fd00::%d/64", i+1)))
		c.nodes = append(c.nodes, n)
		c.procs = append(c.procs, nil)
	}
	for i := range size {
		c.start(i)
	}
	return c
}

func (c *cluster) spec(i int) spec {
	s := spec{Node: fmt.Sprintf("n%d", i+1), Bind: fmt.Sprintf("10.0.0.%d:7946", i+1), Key: testKey}
	for j := range c.nodes {
		s.Peers = append(s.Peers, fmt.Sprintf("10.0.0.%d:7946", j+1))
	}
	if c.tune != nil {
		c.tune(i, &s)
	}
	return s
}

func (c *cluster) start(i int) *proc {
	c.tb.Helper()
	c.procs[i] = start(c.tb, c.nodes[i], c.spec(i))
	return c.procs[i]
}

func (c *cluster) names() []string {
	var out []string
	for i := range c.procs {
		out = append(out, fmt.Sprintf("n%d", i+1))
	}
	return out
}

func (c *cluster) allSeeAll(limit time.Duration) {
	c.tb.Helper()
	for _, p := range c.procs {
		p.sees(limit, c.names()...)
	}
}

// cut takes a node's cable out, silently for both ends' programs.
func (c *cluster) cut(i int)  { c.sw.Run("ip", "link", "set", c.ports[i], "nomaster") }
func (c *cluster) plug(i int) { c.sw.Run("ip", "link", "set", c.ports[i], "master", "br0") }

// burners keep every CPU busy until they are stopped.
func burners(tb testing.TB, n, nice int) (stop func()) {
	tb.Helper()
	var all []*exec.Cmd
	for range n {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), burnEnv+"=1", "GOMAXPROCS=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := cmd.Start(); err != nil {
			tb.Fatal(err)
		}
		_ = syscall.Setpriority(syscall.PRIO_PROCESS, cmd.Process.Pid, nice)
		all = append(all, cmd)
	}
	stop = sync.OnceFunc(func() {
		for _, cmd := range all {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
	tb.Cleanup(stop)
	return stop
}
