package members

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// TestCost tells what the gossip costs a member while nothing happens.
func TestCost(t *testing.T) {
	c := newCluster(t, 5, nil)
	c.allSeeAll(5 * time.Second)
	const d = 2 * time.Second
	least := 100.0
	for range 3 { // what else the machine does can only add
		before := cpu(t, c.procs[0].PID())
		packets := received(t, c)
		time.Sleep(d)
		share := float64(cpu(t, c.procs[0].PID())-before) / float64(d) * 100
		t.Logf("one of 5 members takes %.2f %% of a CPU, and receives %.0f packets/s", share, float64(received(t, c)-packets)/d.Seconds())
		least = min(least, share)
	}
	if least > 8 {
		t.Errorf("idle gossip takes %.2f %% of a CPU", least)
	}
}

// cpu is the time that a process has run.
func cpu(t *testing.T, pid int) time.Duration {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	var user, system int
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	fmt.Sscan(fields[11], &user)
	fmt.Sscan(fields[12], &system)
	return time.Duration(user+system) * 10 * time.Millisecond
}

func received(t *testing.T, c *cluster) (n int) {
	t.Helper()
	var links []struct {
		Stats struct{ RX struct{ Packets int } } `json:"stats64"`
	}
	out := c.nodes[0].Run("ip", "-j", "-s", "link", "show", "eth0")
	if err := json.Unmarshal([]byte(out), &links); err != nil || len(links) != 1 {
		t.Fatalf("%v in %s", err, out)
	}
	return links[0].Stats.RX.Packets
}
