package layer2

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/e2e/stage/stagetest"
)

const floodFor = 10 * time.Second

// floodForOthers measures what requests that are nobody's business cost the
// speakers, while they still answer for what is theirs. A client on the link
// uses one of these, which must be in its subnet, all the time.
func floodForOthers(t *testing.T, w *wire, addrs []netip.Addr, used netip.Addr) {
	time.Sleep(5 * time.Second) // the last announcements and probes of the burst
	idle := speakersCPU(t, func() { time.Sleep(floodFor / 2) })
	var busy map[string]float64
	var sent int
	waitServed(t, used)
	lost := outage(t, used, floodFor+3*time.Second, func() {
		busy = speakersCPU(t, func() { sent = flood(t, w, addrs) })
	})
	if lost > 0 {
		t.Errorf("a client had no answer for %s", lost)
	}
	if rate := float64(sent) / floodFor.Seconds(); rate < 9000 {
		t.Errorf("only %.0f requests a second were sent", rate)
	}
	for node, used := range busy {
		t.Logf("%s: its speaker used %.2f %% of a core idle, %.2f %% under %d requests in %s", node, idle[node], used, sent, floodFor)
		if used > idle[node]+5 {
			t.Errorf("%s: its speaker used %.2f %% of a core more than idle, want less than 5", node, used-idle[node])
		}
	}
}

// flood asks for addresses that nobody has, and ten times a second for one of
// ours, all of which must be answered.
func flood(t *testing.T, w *wire, addrs []netip.Addr) (sent int) {
	t.Helper()
	foreign, asked, answered := [4]byte{10, 78}, 0, owners{}
	begun := time.Now()
	for ; time.Since(begun) < floodFor; time.Sleep(time.Millisecond) {
		for due := int(time.Since(begun).Seconds() * 10_000); sent < due; sent++ {
			binary.BigEndian.PutUint16(foreign[2:], uint16(sent))
			must(t, w.send(arpRequest(w.mac, netip.AddrFrom4(foreign))))
		}
		if due := int(time.Since(begun).Seconds() * 10); asked < due {
			must(t, w.send(w.request(addrs[asked])))
			asked++
		}
		answered.addAll(w.hear())
	}
	time.Sleep(100 * time.Millisecond)
	answered.addAll(w.hear())
	must(t, answered.exactlyOne(addrs[:asked]))
	return sent
}

// speakersCPU is the share of one core in percent that the speaker of each node
// used while something was done.
func speakersCPU(t *testing.T, do func()) map[string]float64 {
	t.Helper()
	pids := map[string]int{}
	before := map[string]time.Duration{}
	for _, n := range herald.Nodes() {
		list, err := herald.PodPIDs(stagetest.SpeakerOn(t, herald, n.Name))
		must(t, err)
		if len(list) != 1 {
			t.Fatalf("the speaker of %s has the processes %v, want one", n.Name, list)
		}
		pids[n.Name], before[n.Name] = list[0], cpuOf(t, list[0])
	}
	begun := time.Now()
	do()
	took := time.Since(begun)
	used := map[string]float64{}
	for node, pid := range pids {
		used[node] = 100 * float64(cpuOf(t, pid)-before[node]) / float64(took)
	}
	return used
}

// cpuOf is the time that all threads of a process have run, in user and kernel
// mode.
func cpuOf(t *testing.T, pid int) time.Duration {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	must(t, err)
	_, rest, _ := strings.Cut(string(b), ") ") // the name may have blanks
	fields := strings.Fields(rest)
	var user, system time.Duration
	_, err = fmt.Sscan(fields[11]+" "+fields[12], &user, &system)
	must(t, err)
	const tick = time.Second / 100 // USER_HZ
	return (user + system) * tick
}
