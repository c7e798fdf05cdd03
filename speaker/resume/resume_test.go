package resume

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/heraldlb/herald/internal/cluster"
	"github.com/heraldlb/herald/speaker/forwarding"
	"github.com/heraldlb/herald/speaker/plan"
)

// away is an API server that may be away.
type away struct {
	synced   atomic.Bool
	snapshot cluster.Snapshot
	wake     chan struct{}
}

const text = `apiVersion: heraldlb.io/v1
pools:
- name: public
  ranges: [198.51.100.0/24]
`

func (a *away) Snapshot() (cluster.Snapshot, bool) {
	if a.synced.Load() {
		return a.snapshot, true
	}
	return cluster.Snapshot{}, false
}
func (a *away) Config() (string, bool) { return text, a.synced.Load() }
func (a *away) Wake() <-chan struct{}  { return a.wake }
func (a *away) LastAway() time.Time    { return time.Time{} }

func newAway() *away {
	return &away{wake: make(chan struct{}, 1), snapshot: cluster.Snapshot{
		Services: []cluster.Service{
			{Namespace: "default", Name: "web", LoadBalancer: true, Ingress: []netip.Addr{netip.MustParseAddr("198.51.100.1")}},
			{Namespace: "default", Name: "inner"},
		},
		Nodes: []cluster.Node{{Name: "n1", Ready: true}},
	}}
}

func run(t *testing.T, c Cluster, o Options) *Source {
	t.Helper()
	s := New(c, o)
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Run(t.Context()) }()
	t.Cleanup(func() { <-done })
	return s
}

func TestTheNextSpeakerGoesOn(t *testing.T) {
	o := Options{File: filepath.Join(t.TempDir(), "state.json"), Node: "n1", BootID: "boot"}
	first := newAway()
	first.synced.Store(true)
	forwarded := []forwarding.Key{{Service: "default/web", Family: cluster.IPv4}}
	run(t, first, o).Save(forwarded, plan.RescueMemory{"public": {Now: []string{"n1"}}})
	waitFile(t, o.File)

	second := newAway()
	s := run(t, second, o)
	if _, ok := s.Snapshot(); ok {
		t.Fatal("it goes on before the API server had the time to answer")
	}
	select {
	case <-s.Wake():
	case <-time.After(2 * waitFor):
		t.Fatal("it never steps in")
	}
	got, ok := s.Snapshot()
	if !ok || len(got.Services) != 1 || got.Services[0].Key() != "default/web" || len(got.Nodes) != 1 {
		t.Errorf("the snapshot is %+v, want the one Service that has an address and the node", got)
	}
	if c, ok := s.Config(); !ok || c != text || s.Resumed().IsZero() {
		t.Errorf("config %q, resumed %v", c, s.Resumed())
	}
	if !reflect.DeepEqual(s.Forwarded(), forwarded) {
		t.Errorf("forwarded %v, want %v", s.Forwarded(), forwarded)
	}
	if m := s.Rescue(); len(m["public"].Now) != 1 {
		t.Errorf("remembered %+v, want the node n1 of pool public", m)
	}
	second.synced.Store(true)
	if got, _ := s.Snapshot(); len(got.Services) != 2 || !s.Resumed().IsZero() {
		t.Errorf("the API server has answered, and the snapshot is %+v, resumed %v", got, s.Resumed())
	}
	if got, _ := s.Snapshot(); len(got.Missing.Services)+len(got.Missing.Endpoints)+len(got.Missing.Nodes) > 0 {
		t.Errorf("nothing is missing, and Missing is %+v", got.Missing)
	}
	other := New(second, Options{File: o.File, Node: "n1", BootID: "another boot"})
	if other.Forwarded() != nil {
		t.Error("after a reboot it takes kube-proxy's rules for present")
	}
}

func waitFile(t *testing.T, file string) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(file); err == nil {
			return
		}
	}
	t.Fatal("the state was not saved")
}

func TestWhatIsRefused(t *testing.T) {
	now := time.Now()
	good := State{Node: "n1", Saved: now.Add(-time.Hour), Config: text}
	for _, tt := range []struct {
		what, want string
		change     func(file string, s *State)
	}{
		{"an hour old", "", nil},
		{"two days old", "nodes.stateMaxAge", func(_ string, s *State) { s.Saved = now.Add(-48 * time.Hour) }},
		{"from the future", "nodes.stateMaxAge", func(_ string, s *State) { s.Saved = now.Add(time.Hour) }},
		{"of another node", "of node n2", func(_ string, s *State) { s.Node = "n2" }},
		{"with a broken configuration", "saved configuration", func(_ string, s *State) { s.Config = "pools: 3" }},
		{"a flipped bit", "damaged", func(file string, _ *State) { flip(file) }},
		{"cut short", "damaged", func(file string, _ *State) { _ = os.Truncate(file, 90) }},
		{"empty", "damaged", func(file string, _ *State) { _ = os.Truncate(file, 0) }},
		{"none", "no state", func(file string, _ *State) { _ = os.Remove(file) }},
	} {
		file := filepath.Join(t.TempDir(), "state.json")
		s := good
		if tt.change != nil {
			tt.change(file, &s)
		}
		if err := save(file, s); err != nil {
			t.Fatal(err)
		}
		if tt.change != nil {
			tt.change(file, &s)
		}
		got, err := load(file, "n1")
		if err == nil {
			_, err = usable(got, now)
		}
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.what, err, tt.want)
		}
	}
}

func flip(file string) {
	b, err := os.ReadFile(file)
	if err == nil {
		b[len(b)/2] ^= 1
		_ = os.WriteFile(file, b, 0o600)
	}
}

// No watch told of what the API server does not have any more, or does not have
// yet, when it is back.
func TestTheFirstListMayLackWhatWasSaved(t *testing.T) {
	o := Options{File: filepath.Join(t.TempDir(), "state.json"), Node: "n1", BootID: "boot"}
	first := newAway()
	first.snapshot.Services[0].Endpoints = []cluster.Endpoint{{Addr: netip.MustParseAddr("10.244.1.2"), Node: "n1", Ready: true}}
	other := first.snapshot.Services[0]
	other.Name = "xeb"
	first.snapshot.Services = append(first.snapshot.Services[:1], other)
	first.synced.Store(true)
	run(t, first, o).Save(nil, nil)
	waitFile(t, o.File)

	second := newAway()
	s := run(t, second, o)
	select {
	case <-s.Wake():
	case <-time.After(2 * waitFor):
		t.Fatal("it never steps in")
	}
	second.snapshot.Services = second.snapshot.Services[:1]
	second.snapshot.Nodes = nil
	second.synced.Store(true)
	got, _ := s.Snapshot()
	want := cluster.Missing{
		Services: map[string]bool{"default/xeb": true}, Endpoints: map[string]bool{"default/web": true}, Nodes: map[string]bool{"n1": true},
	}
	if !reflect.DeepEqual(got.Missing, want) {
		t.Errorf("missing %+v, want %+v", got.Missing, want)
	}
	second.snapshot = first.snapshot
	if got, _ := s.Snapshot(); !reflect.DeepEqual(got.Missing, cluster.Missing{}) {
		t.Errorf("all has come, and missing is %+v", got.Missing)
	}
	second.snapshot.Services = second.snapshot.Services[:1]
	if got, _ := s.Snapshot(); len(got.Missing.Services) != 0 {
		t.Errorf("xeb came and was deleted, and missing is %+v", got.Missing)
	}
}

func TestTheKernelSaysWhenItWasBooted(t *testing.T) {
	up, err := os.ReadFile("/proc/uptime")
	if err != nil {
		t.Fatal(err)
	}
	d, err := time.ParseDuration(strings.Fields(string(up))[0] + "s")
	if err != nil {
		t.Fatal(err)
	}
	if off := time.Since(Booted()) - d; off.Abs() > time.Minute {
		t.Errorf("booted %s, and up for %s", Booted(), d)
	}
}

// large is a state of so many Services with ten endpoints each, on 1,000 nodes.
func large(services int) State {
	st := State{Node: "n1", Saved: time.Now(), Config: text}
	for i := range 1000 {
		st.Snapshot.Nodes = append(st.Snapshot.Nodes, cluster.Node{
			Name: fmt.Sprintf("node-%04d.example.com", i), Ready: true, Created: st.Saved,
			Addrs:  []netip.Addr{netip.AddrFrom4([4]byte{10, 0, byte(i / 250), byte(i % 250)})},
			Labels: map[string]string{"kubernetes.io/hostname": fmt.Sprintf("node-%04d.example.com", i), "topology.kubernetes.io/zone": fmt.Sprintf("zone-%d", i%3)},
		})
	}
	for i := range services {
		s := cluster.Service{
			Namespace: fmt.Sprintf("team-%d", i%100), Name: fmt.Sprintf("service-%d", i), UID: fmt.Sprintf("%08x-1111-2222-3333-444455556666", i*2654435761),
			LoadBalancer: true, Ports: []cluster.Port{{Protocol: "TCP", Port: 443}}, Ingress: []netip.Addr{netip.AddrFrom4([4]byte{198, 18, byte(i / 250), byte(i % 250)})},
		}
		for j := range 10 {
			n := (i*7 + j*101) % 1000
			s.Endpoints = append(s.Endpoints, cluster.Endpoint{
				Addr: netip.AddrFrom4([4]byte{10, 64 + byte(i%60), byte(n / 4), byte(i*10 + j)}), Node: st.Snapshot.Nodes[n].Name, Ready: true, Serving: true,
				Pod: fmt.Sprintf("team-%d/service-%d-%08x", i%100, i, (i*10+j)*2654435761),
			})
		}
		st.Snapshot.Services = append(st.Snapshot.Services, s)
		st.Forwarded = append(st.Forwarded, forwarding.Key{Service: s.Key(), Family: cluster.IPv4})
	}
	return st
}

func TestALargeStateFits(t *testing.T) {
	file := filepath.Join(t.TempDir(), "state.json")
	begun := time.Now()
	if err := save(file, large(10000)); err != nil {
		t.Fatal(err)
	}
	took := time.Since(begun)
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%.1f MB, saved in %s", float64(info.Size())/1e6, took)
	if info.Size() > mostPacked/4 {
		t.Errorf("%d bytes, want a quarter of %d at most", info.Size(), mostPacked)
	}
	if st, err := load(file, "n1"); err != nil || len(st.Snapshot.Services) != 10000 || len(st.Snapshot.Services[9999].Endpoints) != 10 {
		t.Errorf("%v, %d Services", err, len(st.Snapshot.Services))
	}
}

// What would not fit beside the last one must not take the pod's room: the last one
// stays.
func TestAStateThatIsTooLargeIsNotSaved(t *testing.T) {
	file := filepath.Join(t.TempDir(), "state.json")
	small := large(1)
	if err := save(file, small); err != nil {
		t.Fatal(err)
	}
	noise := make([]byte, mostPacked)
	r := rand.NewChaCha8([32]byte{})
	if _, err := r.Read(noise); err != nil {
		t.Fatal(err)
	}
	big := small
	big.Config = hex.EncodeToString(noise)
	if err := save(file, big); !errors.Is(err, errTooLarge) {
		t.Errorf("saved: %v", err)
	}
	if st, err := load(file, "n1"); err != nil || len(st.Snapshot.Services) != 1 {
		t.Errorf("the last one: %v", err)
	}
}
