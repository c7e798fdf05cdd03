package l2

import (
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/heraldlb/herald/internal/netlab"
)

// patrolEnv is the patrolEvery of an announcer in a process of its own.
const patrolEnv = "HERALD_TEST_PATROL"

func init() {
	if d, err := time.ParseDuration(os.Getenv(patrolEnv)); err == nil {
		patrolEvery = d
	}
}

func TestPatrol(t *testing.T) {
	list := make([]netip.Addr, 100)
	for i := range list {
		list[i] = netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})
	}
	rows := []struct {
		desc          string
		addrs         int
		tick, for_    time.Duration
		least, most   int // how often each address is asked for
		mostInOneTurn int
	}{
		{"one address", 1, time.Second, time.Hour, 11, 12, 1},
		{"a hundred", 100, time.Second, time.Hour, 11, 12, 1},
		{"more than ticks", 100, 30 * time.Second, time.Hour, 11, 12, 10},
		{"a tick that is longer than a round", 100, time.Hour, 3 * time.Hour, 3, 3, 100},
		{"none", 0, time.Second, time.Hour, 0, 0, 0},
	}
	for _, r := range rows {
		p, now, asked := patrol{every: 5 * time.Minute}, time.Unix(1, 0), map[netip.Addr]int{}
		p.turn(now, list[:r.addrs])
		for end := now.Add(r.for_); now.Before(end); {
			now = now.Add(r.tick)
			due := p.turn(now, list[:r.addrs])
			if len(due) > r.mostInOneTurn {
				t.Fatalf("%s: %d in one turn, want at most %d", r.desc, len(due), r.mostInOneTurn)
			}
			for _, a := range due {
				asked[a]++
			}
		}
		for _, a := range list[:r.addrs] {
			if n := asked[a]; n < r.least || n > r.most {
				t.Errorf("%s: %s was asked for %d times, want %d to %d", r.desc, a, n, r.least, r.most)
			}
		}
	}
}

func TestPatrolWhileAddressesComeAndGo(t *testing.T) {
	p, now := patrol{every: time.Minute}, time.Unix(1, 0)
	asked := 0
	for i := range 600 {
		now = now.Add(time.Second)
		asked += len(p.turn(now, addrs("192.0.2.1", "192.0.2.2", "192.0.2.3")[:i%4]))
	}
	if asked < 10 || asked > 30 {
		t.Errorf("asked %d times in ten minutes", asked)
	}
}

// A host has taken addresses of ours, and says nothing until it is asked.
func TestASilentStrangerIsFoundOut(t *testing.T) {
	t.Setenv(patrolEnv, "2s")
	lab, sw, _ := segment(t)
	n1, other := server(t, lab, sw, 1), lab.Node("stranger")
	sw.Attach(other, "eth0")
	first := startAnnouncer(t, n1, true)
	first.claim(addrs(vips...)...)
	netlab.Eventually(t, 8*time.Second, func() string {
		if s := first.stats("eth0"); s.ARP.Probes < 4 { // three of them verify the claim
			return "it does not ask"
		}
		return ""
	})
	for _, vip := range vips {
		other.Run("ip", "addr", "add", vip, "dev", "eth0", "nodad")
		told(t, first, vip, "the stranger", func(c Conflict) bool { return !c.Resolved && c.MAC.String() == macOf(other, "eth0") })
	}
}
