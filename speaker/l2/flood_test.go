package l2

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"
)

// flood sends requests for a range of addresses, a given number each second, as
// a process of its own. HERALD_TEST_FLOOD is "rate seconds".
func flood() {
	var rate, seconds int
	fmt.Sscan(os.Getenv(asFlood), &rate, &seconds)
	ifi, err := net.InterfaceByName("eth0")
	if err != nil {
		panic(err)
	}
	p, err := packet.Listen(ifi, packet.Raw, unix.ETH_P_ARP, nil)
	if err != nil {
		panic(err)
	}
	from := mac(ifi.HardwareAddr)
	sent := 0
	for start := time.Now(); time.Since(start) < time.Duration(seconds)*time.Second; time.Sleep(time.Millisecond) {
		for due := int(time.Since(start).Seconds() * float64(rate)); sent < due; sent++ {
			target := netip.AddrFrom4([4]byte{198, 19, byte(sent >> 8), byte(sent)})
			p.WriteTo(arpFrame(from, netip.MustParseAddr("192.0.2.99"), target), &packet.Addr{HardwareAddr: broadcast.hardware()})
		}
	}
	fmt.Fprintln(os.Stderr, "sent", sent)
}

// TestOthersRequestsWakeNobody floods the segment with 10,000 requests a second
// for addresses of others while 1,000 are claimed, prints what that costs, and
// fails if any of them leaves the kernel.
func TestOthersRequestsWakeNobody(t *testing.T) {
	lab, sw, client := segment(t)
	a := startAnnouncer(t, server(t, lab, sw, 1), false)
	four, _ := scattered(1000)
	a.claim(four...)
	time.Sleep(5 * time.Second)
	idle := measure(a, 3*time.Second)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := client.Command(self)
	cmd.Env = append(os.Environ(), asFlood+"=10000 4")
	before := a.stats("eth0")
	p := client.StartCommand(cmd)
	busy := measure(a, 3*time.Second)
	if !p.Wait(10 * time.Second) {
		t.Error("the flood does not end")
	}
	log, _ := os.ReadFile(p.Log)
	after := a.stats("eth0")
	t.Logf("CPU of the announcer: idle %.2f %%, under the flood %.2f %% of one core; %s", idle, busy, log)
	if n := after.ARP.Frames - before.ARP.Frames; n != 0 {
		t.Errorf("%d of the requests for others woke the reader", n)
	}
	for _, addr := range []netip.Addr{four[0], four[999]} {
		if got := whoHas(t, client, addr.String()); len(got) != 1 {
			t.Errorf("%v is answered by %v after the flood", addr, got)
		}
	}
}

// measure is the share of one core that an announcer uses, in percent.
func measure(a *remote, d time.Duration) float64 {
	before, start := a.tell(order{}).CPU, time.Now()
	time.Sleep(d)
	return 100 * float64(a.tell(order{}).CPU-before) / float64(time.Since(start))
}

// TestHostileFrames sends the committed corpus of the fuzz targets, and changed
// copies of it, to a live announcer.
func TestHostileFrames(t *testing.T) {
	lab, sw, client := segment(t)
	node := server(t, lab, sw, 1)
	a := startAnnouncer(t, node, true)
	a.claim(addrs(vips...)...)
	r := rand.New(rand.NewPCG(3, 4))
	for target, protocol := range map[string]int{"FuzzARP": unix.ETH_P_ARP, "FuzzNDP": unix.ETH_P_IPV6} {
		w := openWire(t, client, "eth0", protocol)
		for _, frame := range corpus(t, target) {
			for i := range 20 {
				b := append([]byte(nil), frame...)
				for range i {
					b[r.IntN(len(b))] = byte(r.Uint32())
				}
				if len(b) >= ethLen {
					w.send(b)
				}
			}
		}
	}
	served(t, client, macOf(node, "eth0"))
	if !a.Alive() {
		t.Error("the announcer is dead")
	}
	s := a.stats("eth0")
	t.Logf("after the frames: ARP %+v, NDP %+v", s.ARP, s.NDP)
}

var corpusLine = regexp.MustCompile(`(?m)^\[\]byte\((".*")\)$`)

// corpus reads the committed seeds of a fuzz target.
func corpus(t *testing.T, target string) (frames [][]byte) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "fuzz", target, "*"))
	if err != nil || len(files) < 10 {
		t.Fatalf("%d files for %s, error %v", len(files), target, err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		m := corpusLine.FindSubmatch(text)
		if m == nil {
			t.Fatalf("%s holds no frame", f)
		}
		frame, err := strconv.Unquote(string(m[1]))
		if err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		if len(frame) > 0 {
			frames = append(frames, []byte(frame))
		}
	}
	return frames
}
