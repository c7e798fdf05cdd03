package members

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/internal/netlab"
)

// split moves members to a second switch; unite moves all back.
func (c *cluster) split(members ...int) {
	c.sw.Try("ip", "link", "add", "br1", "type", "bridge", "forward_delay", "0", "mcast_snooping", "0")
	c.sw.Run("ip", "link", "set", "br1", "up")
	for _, i := range members {
		c.sw.Run("ip", "link", "set", c.ports[i], "master", "br1")
	}
}

func (c *cluster) unite() {
	for i := range c.ports {
		c.plug(i)
	}
}

func TestPartitionHeals(t *testing.T) {
	c := newCluster(t, 4, nil)
	c.allSeeAll(5 * time.Second)
	for _, apart := range []time.Duration{0, 7 * time.Second} {
		c.split(2, 3)
		for i, p := range c.procs {
			half := []string{"n1", "n2"}
			if i > 1 {
				half = []string{"n3", "n4"}
			}
			p.sees(5*time.Second, half...)
		}
		// After a while the dead are forgotten by memberlist, but not by us.
		time.Sleep(apart)
		began := time.Now()
		c.unite()
		for _, p := range c.procs {
			took := p.await(5*time.Second, began, "all four", func(e event) bool { return len(e.Alive) == 4 })
			if took > 2*time.Second {
				t.Errorf("%s saw the healing after %v", p.spec.Node, took)
			}
			t.Logf("%s saw the healing %v after the cable was in, apart for %v", p.spec.Node, took, apart)
		}
		time.Sleep(time.Second)
		c.allSeeAll(time.Second)
	}
}

func TestComesBackWithAnotherAddress(t *testing.T) {
	c := newCluster(t, 3, nil)
	c.allSeeAll(5 * time.Second)
	for _, ending := range []string{"leave", "kill"} {
		if ending == "leave" {
			c.procs[2].do("leave")
		} else {
			c.procs[2].Kill()
			c.procs[0].sees(3*time.Second, "n1", "n2")
		}
		c.procs[2].Wait(3 * time.Second)
		addr := map[string]string{"leave": "10.0.0.33", "kill": "10.0.0.34"}[ending]
		c.nodes[2].Addr("eth0", addr+"/24")
		s := c.spec(2)
		s.Bind = addr + ":7946"
		began := time.Now()
		c.procs[2] = start(t, c.nodes[2], s)
		for _, p := range c.procs {
			p.sees(3*time.Second, c.names()...)
		}
		t.Logf("after %s all saw n3 at %s within %v", ending, addr, time.Since(began))
		for _, p := range c.procs[:2] {
			is := func(m Member) bool { return m.Node == "n3" && m.Address.Addr().String() == addr }
			netlab.Eventually(t, 3*time.Second, func() string {
				if s := p.state(); !slices.ContainsFunc(s.Members, is) {
					return fmt.Sprintf("%s looks for n3 elsewhere: %+v", p.spec.Node, s.Members)
				}
				return ""
			})
		}
	}
}

// TestWithoutAPI starts members that know nobody. Whoever is known finds them.
func TestWithoutAPI(t *testing.T) {
	c := newCluster(t, 3, func(i int, s *spec) {
		if i > 0 {
			s.Peers = nil
		}
	})
	c.allSeeAll(5 * time.Second)

	// The one that knew the others ends. They still find each other again, from
	// memory.
	c.procs[0].Kill()
	c.procs[1].sees(3*time.Second, "n2", "n3")
	c.procs[2].sees(3*time.Second, "n2", "n3")
	c.cut(1)
	c.procs[1].sees(3*time.Second, "n2")
	c.procs[2].sees(3*time.Second, "n3")
	c.plug(1)
	c.procs[1].sees(3*time.Second, "n2", "n3")

	// The API answers at last. The others may have found it from memory before.
	alone := c.spec(0)
	alone.Peers = nil
	c.procs[0] = start(t, c.nodes[0], alone)
	c.procs[0].do("peers 10.0.0.1:7946 10.0.0.2:7946 10.0.0.3:7946")
	c.allSeeAll(3 * time.Second)
}

func TestWrongKey(t *testing.T) {
	c := newCluster(t, 3, func(i int, s *spec) {
		if i == 2 {
			s.Key = []byte(strings.Repeat("x", KeySize))
		}
	})
	for _, p := range c.procs[:2] {
		p.sees(5*time.Second, "n1", "n2")
	}
	c.procs[2].sees(time.Second, "n3")
	netlab.Eventually(t, 10*time.Second, func() string {
		n1, n3 := c.procs[0].state(), c.procs[2].state()
		switch {
		case n1.Rejected[netip.MustParseAddr("10.0.0.3")] == 0:
			return fmt.Sprintf("n1 does not count n3's messages: %v", n1.Rejected)
		case n3.Rejected[netip.MustParseAddr("10.0.0.1")] == 0:
			return fmt.Sprintf("n3 does not count n1's messages: %v", n3.Rejected)
		}
		return ""
	})
	for i, want := range map[int]string{
		0: `msg="gossip message dropped" from=10.0.0.3 problem="wrong key or not ours"`,
		2: `msg="cannot join peer" peer=10.0.0.1:7946 problem="it has another key"`,
	} {
		netlab.Eventually(t, 10*time.Second, func() string {
			log, _ := os.ReadFile(c.procs[i].Log)
			if n := strings.Count(string(log), want); n != 1 {
				return fmt.Sprintf("n%d has said %d times %s in\n%s", i+1, n, want, tail(log, 3000))
			}
			return ""
		})
	}
	c.procs[0].sees(time.Second, "n1", "n2")
}

// TestNewKey restarts one member after the other with a new key in three rounds,
// as a rollout of the Secret does, and never are there two halves.
func TestNewKey(t *testing.T) {
	fresh := []byte(strings.Repeat("f", KeySize))
	key, accept := testKey, [][]byte(nil)
	c := newCluster(t, 3, func(_ int, s *spec) { s.Key, s.Accept = key, accept })
	c.allSeeAll(5 * time.Second)
	for _, step := range [][][]byte{{testKey, fresh}, {fresh, testKey}, {fresh}} {
		key, accept = step[0], step[1:]
		for i := range c.procs {
			c.procs[i].do("leave")
			c.procs[i].Wait(3 * time.Second)
			c.start(i)
			c.allSeeAll(3 * time.Second)
		}
	}
	for _, p := range c.procs {
		if s := p.state(); len(s.Rejected) > 0 || s.Deaths > 0 {
			t.Errorf("%s rejected %v and saw %d deaths", s.Self, s.Rejected, s.Deaths)
		}
	}
}

func TestFamilies(t *testing.T) {
	for name, tune := range map[string]func(i int, s *spec){
		"IPv6 only": func(i int, s *spec) {
			s.Bind, s.Peers = fmt.Sprintf("[fd00::%d]:7946", i+1), []string{"[fd00::1]:7946", "[fd00::2]:7946"}
		},
		"both, gossip by IPv6": func(i int, s *spec) {
			s.Bind, s.Advertise = "[::]:7946", fmt.Sprintf("[fd00::%d]:7946", i+1)
			s.Peers = []string{"10.0.0.1:7946", "10.0.0.2:7946", "[fd00::1]:7946", "[fd00::2]:7946"}
		},
		"both, gossip by IPv4": func(i int, s *spec) {
			s.Bind, s.Advertise = "[::]:7946", fmt.Sprintf("10.0.0.%d:7946", i+1)
			s.Peers = []string{"10.0.0.1:7946", "10.0.0.2:7946", "[fd00::1]:7946", "[fd00::2]:7946"}
		},
		"without a key": func(_ int, s *spec) { s.Key, s.Insecure = nil, true },
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, 2, tune)
			c.allSeeAll(5 * time.Second)
			began := time.Now()
			c.procs[1].Kill()
			t.Logf("death known after %v", c.procs[0].await(3*time.Second, began, "n2 dead", without("n2")))
			c.start(1)
			c.allSeeAll(5 * time.Second)
		})
	}
}

// TestLateAddress binds to an address that the node gets only later.
func TestLateAddress(t *testing.T) {
	lab := netlab.New(t)
	n := lab.Node("n1")
	p := start(t, n, spec{Node: "n1", Bind: "10.9.9.9:7946", Key: testKey})
	netlab.Eventually(t, 5*time.Second, func() string {
		if log, _ := os.ReadFile(p.Log); !strings.Contains(string(log), "gossip cannot start yet") {
			return "it does not say that it cannot start"
		}
		return ""
	})
	n.Addr("lo", "10.9.9.9/32")
	netlab.Eventually(t, 5*time.Second, func() string {
		if !p.state().Running {
			return "it does not run"
		}
		return ""
	})
}

// TestGarbage sends what no member would, from a host on the segment.
func TestGarbage(t *testing.T) {
	c := newCluster(t, 2, func(i int, s *spec) { s.Bind, s.Advertise = "0.0.0.0:7946", fmt.Sprintf("10.0.0.%d:7946", i+1) })
	c.allSeeAll(5 * time.Second)
	c.nodes[0].Run("ip", "addr", "add", "127.0.0.66/8", "dev", "lo")
	flood := c.nodes[0].Command(os.Args[0])
	flood.Env = append(os.Environ(), garbageEnv+"=127.0.0.1:7946")
	if out, err := flood.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	s := c.procs[0].state()
	if n := s.Rejected[netip.MustParseAddr("127.0.0.1")]; n < 1000 {
		t.Errorf("only %d messages were counted as dropped", n)
	}
	if s.Deaths+c.procs[1].state().Deaths > 0 {
		t.Error("garbage has killed a member")
	}
	c.allSeeAll(time.Second)
	log, _ := os.ReadFile(c.procs[0].Log)
	if n := strings.Count(string(log), "dropped"); n > 3 {
		t.Errorf("%d lines were logged about one sender", n)
	}
}

const garbageEnv = "HERALD_TEST_GARBAGE"

// beHostile sends random bytes, and all first bytes that have a meaning.
func beHostile(to string) {
	udp, err := net.Dial("udp", to)
	if err != nil {
		panic(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 20000 {
		b := make([]byte, r.IntN(1400))
		for j := range b {
			b[j] = byte(r.Uint32())
		}
		if len(b) > 2 && i%2 == 0 {
			b[0] = byte(i / 2)
		}
		if len(b) > 20 && i%7 == 0 {
			copy(b, "\xf4\x06herald") // our label
		}
		_, _ = udp.Write(b)
		if i%20 == 0 { // a full socket would lose what members say as well
			time.Sleep(time.Millisecond)
		}
		if i%200 == 0 {
			tcp, err := net.DialTimeout("tcp", to, time.Second)
			if err == nil {
				_, _ = tcp.Write(b)
				_ = tcp.Close()
			}
		}
	}
}
