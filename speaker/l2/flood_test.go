package l2

import (
	"encoding/binary"
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

	"github.com/heraldlb/herald/internal/netlab"
)

// flood sends requests as a process of its own, a given number each second, for
// a network's 1,000 first even addresses in turn, of which scattered makes
// 198.18.0.0/16. HERALD_TEST_FLOOD is "rate seconds network".
func flood() {
	var rate, seconds int
	var network string
	fmt.Sscan(os.Getenv(asFlood), &rate, &seconds, &network)
	base := netip.MustParseAddr(network).As4()
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
			binary.BigEndian.PutUint16(base[2:], uint16(2*(sent%1000)+2))
			p.WriteTo(arpFrame(from, host4, netip.AddrFrom4(base)), &packet.Addr{HardwareAddr: broadcast.hardware()})
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
	before := a.stats("eth0").ARP
	busy := underFlood(t, a, client, "198.19.0.0")
	after := a.stats("eth0").ARP
	t.Logf("CPU of the announcer: idle %.2f %%, 10,000 requests/s for others %.2f %% of one core", idle, busy)
	if n := after.Frames - before.Frames; n != 0 {
		t.Errorf("%d of the requests for others woke the reader", n)
	}
	busy = underFlood(t, a, client, "198.18.0.0")
	last := a.stats("eth0").ARP
	t.Logf("10,000 requests/s for ours: %.1f %%; %d answered, %d dropped", busy, last.Answers-after.Answers, last.Dropped-after.Dropped)
	for _, addr := range []netip.Addr{four[0], four[999]} {
		if got := whoHas(t, client, addr.String()); len(got) != 1 {
			t.Errorf("%v is answered by %v after the flood", addr, got)
		}
	}
}

// underFlood measures an announcer while a client floods a network.
func underFlood(t *testing.T, a *remote, client *netlab.Node, network string) float64 {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := client.Command(self)
	cmd.Env = append(os.Environ(), asFlood+"=10000 4 "+network)
	p := client.StartCommand(cmd)
	busy := measure(a, 3*time.Second)
	if !p.Wait(10 * time.Second) {
		t.Error("the flood does not end")
	}
	return busy
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
