package members

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The measurement of ADR 6 is made by
//
//	go test ./speaker/members -run TestMeasureStarvation -starve 20s -v -timeout 60m
var (
	starveFor = flag.Duration("starve", 0, "how long each row of the starvation measurement lasts; 0: no measurement")
	starveRow = flag.String("starve-rows", "", "only rows whose name contains this")
)

// hunger is a way to be short of CPU. All members share the machine with twice
// to four times as many busy loops as it has CPUs.
type hunger struct {
	name        string
	loops       int // at nice 0
	nice, nice1 int // of the members, and of n1
}

var hungers = []hunger{
	{"equal priority", 8, 0, 0},
	{"members at nice 5", 8, 5, 5},
	{"members at nice 10", 8, 10, 10},
	{"members at nice 15", 8, 15, 15},
	{"only n1, at nice 19", 8, -5, 19},
}

// falseDeaths counts how often a view lost a node; nobody dies here.
func (c *cluster) falseDeaths(since time.Time) (lost, byN1 int) {
	for i, p := range c.procs {
		var before []string
		for _, e := range p.history() {
			for _, name := range before {
				if e.At >= since.UnixNano() && !slices.Contains(e.Alive, name) {
					lost++
					if i == 0 {
						byN1++
					}
				}
			}
			before = e.Alive
		}
	}
	return lost, byN1
}

func (c *cluster) rumours() (n uint64) {
	for _, p := range c.procs {
		n += p.state().Rumours
	}
	return n
}

func (c *cluster) starve(h hunger, d time.Duration) (lost, byN1 int, rumours uint64) {
	c.tb.Helper()
	for i, p := range c.procs {
		nice := h.nice
		if i == 0 {
			nice = h.nice1
		}
		renice(c.tb, p.PID(), nice)
	}
	since := time.Now()
	stop := burners(c.tb, h.loops, 0)
	time.Sleep(d)
	stop()
	time.Sleep(time.Second)
	lost, byN1 = c.falseDeaths(since)
	return lost, byN1, c.rumours()
}

// renice changes all threads of a process: Linux knows priorities of threads only.
func renice(tb testing.TB, pid, nice int) {
	tb.Helper()
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		tb.Fatal(err)
	}
	for _, t := range threads {
		var tid int
		fmt.Sscan(t.Name(), &tid)
		if err := syscall.Setpriority(syscall.PRIO_PROCESS, tid, nice); err != nil {
			tb.Fatal(err)
		}
	}
}

func TestStarvedMembersStay(t *testing.T) {
	c := newCluster(t, 3, nil)
	c.allSeeAll(5 * time.Second)
	lost, _, rumours := c.starve(hunger{"", 8, 0, 5}, 4*time.Second)
	if lost > 0 {
		t.Errorf("%d members were thrown out for want of CPU", lost)
	}
	t.Logf("%d deaths were told in vain", rumours)
}

// TestStalledMemberStays stops a member for longer than several probes take.
func TestStalledMemberStays(t *testing.T) {
	c := newCluster(t, 3, nil)
	c.allSeeAll(5 * time.Second)
	since := time.Now()
	for range 8 {
		c.procs[0].Signal(syscall.SIGSTOP)
		time.Sleep(300 * time.Millisecond)
		c.procs[0].Signal(syscall.SIGCONT)
		time.Sleep(200 * time.Millisecond)
	}
	if lost, _ := c.falseDeaths(since); lost > 0 {
		t.Errorf("stalls of 300ms cost %d deaths", lost)
	}
	t.Logf("%d deaths were told in vain", c.rumours())
}

func TestMeasureStarvation(t *testing.T) {
	if *starveFor == 0 {
		t.Log("a measurement: wants -starve 20s")
		return
	}
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	lan := Timings{ProbeInterval: ms(1000), ProbeTimeout: ms(500), GossipInterval: ms(200), SuspicionMult: 4, SuspicionMaxMult: 6, AwarenessMax: 8, Questions: -1}
	quick := Timings{ProbeInterval: ms(200), ProbeTimeout: ms(100), GossipInterval: ms(200), SuspicionMult: 2, SuspicionMaxMult: 1, AwarenessMax: 8, Questions: -1}
	chatty := quick
	chatty.GossipInterval = ms(20)
	none := Timings{Questions: -1}
	rows := []struct {
		name string
		t    Timings
	}{
		{"memberlist's LAN profile: 1s, mult 4, max 6, gossip 200ms", lan},
		{"200ms, mult 2, max 1, gossip 200ms", quick},
		{"200ms, mult 2, max 1, gossip 20ms", chatty},
		{"100ms, mult 3, max 2, gossip 20ms", none},
		{"100ms, one question", Timings{Questions: 1}},
		{"100ms, two questions", Timings{Questions: 2}},
		{"100ms, four questions (default)", Timings{}},
	}
	for _, row := range rows {
		if !strings.Contains(row.name, *starveRow) {
			continue
		}
		c := newCluster(t, 5, func(_ int, s *spec) { s.Timings = row.t })
		c.allSeeAll(10 * time.Second)
		text := ""
		for _, h := range hungers {
			before := c.rumours()
			lost, byN1, after := c.starve(h, *starveFor)
			text += fmt.Sprintf(" | %d+%d (%d)", lost-byN1, byN1, after-before)
			time.Sleep(3 * time.Second)
		}
		var took []time.Duration
		for range 5 {
			for _, p := range c.procs {
				renice(t, p.PID(), 0)
			}
			c.allSeeAll(20 * time.Second)
			began := time.Now()
			c.procs[4].Kill()
			took = append(took, c.procs[0].await(30*time.Second, began, "n5 dead", without("n5")))
			c.start(4)
		}
		t.Logf("| %s%s | %v | %v |", row.name, text, median(took).Round(ms(10)), slices.Max(took).Round(ms(10)))
		for _, p := range c.procs {
			p.Kill()
		}
	}
}
