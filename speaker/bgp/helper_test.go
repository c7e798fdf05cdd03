package bgp

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/heraldlb/herald/internal/netlab"
	"github.com/heraldlb/herald/speaker/plan"
)

// asAnnouncer makes the test binary an announcer that takes tables on standard
// input. An announcer needs a process of its own to live in a namespace, and so
// that a panic in a goroutine of gobgp is seen for what it is.
const asAnnouncer = "HERALD_TEST_ANNOUNCER"

func TestMain(m *testing.M) {
	if os.Getenv(asAnnouncer) != "" {
		announce(os.Stdin, os.Stdout)
		return
	}
	if os.Getenv(asGoBGP) != "" {
		beGoBGP(os.Stdin)
		return
	}
	// These tests wait most of the time, so more of them fit than there are CPUs.
	flag.Parse()
	if n := flag.Lookup("test.parallel"); n.Value.String() == n.DefValue {
		_ = flag.Set("test.parallel", "12")
	}
	os.Exit(m.Run())
}

// order is what a test tells an announcer: a table to apply, or to say how its
// peers are.
type order struct {
	Table     *plan.Table
	Passwords map[string]string // nil: as before
	Leave     bool
}

// answer is what it says.
type answer struct {
	Error   string
	Healthy string
	Took    time.Duration
	Peers   []PeerStatus
}

// announce runs an announcer until its input ends, and then stops it in order.
func announce(in io.Reader, out io.Writer) {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	var secrets passwords
	a, err := New(Options{Log: log, Password: secrets.read})
	if err != nil {
		panic(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	orders, answers := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var o order
		if err := orders.Decode(&o); err != nil {
			break
		}
		if o.Leave {
			a.Leave()
		}
		if o.Passwords != nil {
			secrets.Store(&o.Passwords)
		}
		answers.Encode(obey(ctx, a, o))
	}
	stop()
	if err := <-ended; err != nil {
		panic(err)
	}
	if err := a.Apply(context.Background(), plan.Table{}); err == nil {
		panic("Apply works although Run has ended")
	}
}

// passwords is a Secret.
type passwords struct {
	atomic.Pointer[map[string]string]
}

func (p *passwords) read(key string) (string, error) {
	if all := p.Load(); all != nil {
		if password, ok := (*all)[key]; ok {
			return password, nil
		}
	}
	return "", errors.New("no such file")
}

func obey(ctx context.Context, a *Announcer, o order) (say answer) {
	if o.Table != nil {
		start := time.Now()
		if err := a.Apply(ctx, *o.Table); err != nil {
			say.Error = err.Error()
		}
		say.Took = time.Since(start)
	}
	if err := a.Healthy(); err != nil {
		say.Healthy = err.Error()
	}
	say.Peers = a.Peers()
	return say
}

// remote is an announcer in a process of its own.
type remote struct {
	*netlab.Process
	tb  testing.TB
	in  io.WriteCloser
	out *bufio.Reader
}

// startAnnouncer starts an announcer on a node.
func startAnnouncer(tb testing.TB, n *netlab.Node) *remote {
	tb.Helper()
	return startRemote(tb, n.Name, n.Command(executable(tb)), n.StartCommand)
}

func executable(tb testing.TB) string {
	tb.Helper()
	self, err := os.Executable()
	if err != nil {
		tb.Fatal(err)
	}
	return self
}

func startRemote(tb testing.TB, where string, cmd *exec.Cmd, start func(*exec.Cmd) *netlab.Process) *remote {
	tb.Helper()
	cmd.Env = append(os.Environ(), asAnnouncer+"=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	outRead, outWrite := io.Pipe()
	cmd.Stdout = outWrite
	r := &remote{tb: tb, in: in, out: bufio.NewReaderSize(outRead, 1<<20)}
	r.Process = start(cmd)
	tb.Cleanup(func() {
		r.stop()
		log, _ := os.ReadFile(r.Log)
		if r.Failed() || bytes.Contains(log, []byte("DATA RACE")) {
			tb.Errorf("the announcer on %s has failed", where)
		}
		if tb.Failed() {
			tb.Logf("log of the announcer on %s:\n%s", where, last(log, 6000))
		}
	})
	return r
}

// startLoopback starts an announcer for routers on loopback addresses. gobgp has
// global variables, so two announcers do not fit into one process.
func startLoopback(tb testing.TB) *remote {
	tb.Helper()
	return startRemote(tb, "loopback", exec.Command(executable(tb)), func(cmd *exec.Cmd) *netlab.Process {
		return netlab.StartProcess(tb, cmd, filepath.Join(tb.TempDir(), "log"))
	})
}

func last(b []byte, n int) []byte { return b[max(0, len(b)-n):] }

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

// apply applies a table that must be accepted.
func (r *remote) apply(t plan.Table) answer {
	r.tb.Helper()
	a := r.tell(order{Table: &t})
	if a.Error != "" {
		r.tb.Fatalf("apply: %s", a.Error)
	}
	return a
}

func (r *remote) peers() []PeerStatus {
	r.tb.Helper()
	return r.tell(order{}).Peers
}

// peer is the status of one session, and zero if there is none of that name.
func (r *remote) peer(name string) PeerStatus {
	r.tb.Helper()
	for _, p := range r.peers() {
		if p.Name == name {
			return p
		}
	}
	return PeerStatus{}
}

// stop ends the announcer in order.
func (r *remote) stop() {
	r.tb.Helper()
	r.in.Close()
	if !r.Wait(10 * time.Second) {
		r.tb.Error("announcer has not stopped within 10 s")
	}
}
