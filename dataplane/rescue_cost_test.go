package dataplane

import (
	"encoding/binary"
	"net"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// injector writes frames to a node from its router's side.
type injector struct {
	fd int
	to unix.SockaddrLinklayer
}

func (l *rescueLab) injector(t *testing.T) *injector {
	t.Helper()
	i := &injector{}
	inside(t, l.router, func() {
		link, err := net.InterfaceByName("lan0")
		if err == nil {
			i.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
		}
		if err != nil {
			t.Error(err)
			return
		}
		i.to = unix.SockaddrLinklayer{Ifindex: link.Index}
	})
	t.Cleanup(func() { _ = unix.Close(i.fd) })
	return i
}

func (i *injector) send(frame []byte) { _ = unix.Sendto(i.fd, frame, 0, &i.to) }

// ackFrame is a TCP acknowledgement for the service, sent to a node.
func ackFrame(n *rescueNode, src [4]byte, port uint16) []byte {
	frame := []byte{2, 0, 0, 0, 0, byte(n.number), 2, 0, 0, 0, 0, 0xfe, 0x08, 0x00}
	vip := addrOf(vip4).As4()
	ip := []byte{0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, unix.IPPROTO_TCP, 0, 0, src[0], src[1], src[2], src[3], vip[0], vip[1], vip[2], vip[3]}
	binary.BigEndian.PutUint16(ip[10:], checksum(ip))
	tcp := make([]byte, 20)
	binary.BigEndian.PutUint16(tcp, port)
	binary.BigEndian.PutUint16(tcp[2:], 80)
	tcp[12], tcp[13], tcp[14] = 5<<4, 0x10, 0xff
	pseudo := append(append([]byte{}, ip[12:20]...), 0, unix.IPPROTO_TCP, 0, 20)
	binary.BigEndian.PutUint16(tcp[16:], checksum(append(pseudo, tcp...)))
	return append(append(frame, ip...), tcp...)
}

func checksum(b []byte) uint16 {
	var sum uint32
	for ; len(b) > 1; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

const dropAll = "table netdev bench {\nchain in {\ntype filter hook ingress device eth0 priority 0\ncounter drop\n}\n}\n"

// TestRescueCost sends packets of a connection that the node knows. What the node
// does with one is the time that is left when the time is taken off in which it is
// dropped at the node's door. Turns close to each other are compared, since other
// work on the machine slows whole turns.
func TestRescueCost(t *testing.T) {
	l := newRescueLab(t, 0, 0, 0)
	l.weights(1)
	node := l.nodes[0]
	c := l.dial(vip4, 1)[0]
	if _, err := ask(c, '.'); err != nil {
		t.Fatal(err)
	}
	port := c.LocalAddr().(*net.TCPAddr).Port
	// The sequence numbers are not those of the connection.
	node.Run("sysctl", "-qw", "net.netfilter.nf_conntrack_tcp_be_liberal=1")
	pods := node.pods
	pods.Run("nft", dropAll)
	in := l.injector(t)
	frame := ackFrame(node, [4]byte{10, 1, 0, 2}, uint16(port))
	const packets, turns = 5000, 41
	turn := func() float64 {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		began := threadTime(t)
		for range packets {
			in.send(frame)
		}
		return float64(threadTime(t)-began) / packets
	}
	var without, with, ratios []float64
	for range turns {
		node.rescued(l, false)
		off := turn()
		node.Run("nft", dropAll)
		door := turn()
		node.Run("nft", "delete table netdev bench")
		node.rescued(l, true)
		on := turn()
		without, with, ratios = append(without, off-door), append(with, on-door), append(ratios, (on-door)/(off-door))
	}
	if out := pods.Run("nft", "list table netdev bench"); counted(out) < 2*turns*packets {
		t.Errorf("of %d packets not all have reached the pods:\n%s", 2*turns*packets, out)
	}
	for _, l := range [][]float64{without, with, ratios} {
		slices.Sort(l)
	}
	t.Logf("a node's part of a packet: %.0f ns without rescue, %.0f ns with it: %.2f times as much (quartiles %.2f and %.2f)",
		without[turns/2], with[turns/2], ratios[turns/2], ratios[turns/4], ratios[turns*3/4])
	if ratios[turns/2] > 1.6 {
		t.Error("that is far more than 1.3 times as much")
	}
}

// threadTime is the CPU time of this thread in nanoseconds. What a node does with a
// packet is in the sender's: a veth hands it on in the same thread.
func threadTime(t *testing.T) int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
		t.Fatal(err)
	}
	return ts.Nano()
}

// TestRescueUnderFlood has a node get packets of no connection while others work.
func TestRescueUnderFlood(t *testing.T) {
	const (
		rate   = 200_000
		lasts  = 4 * time.Second
		every  = 5 * time.Millisecond
		tuples = 400_000
	)
	l := newRescueLab(t, 0, 0, 0, 0)
	l.router.Run("ip", "route", "add", "blackhole", "10.50.0.0/16")
	l.rescue(true)
	l.weights(1, 1, 1)
	v4, v6 := l.families(50)
	both := append(v4, v6...)
	defer closeAll(both)
	l.weights(1, 1, 1, 1)
	time.Sleep(500 * time.Millisecond)

	target := l.nodes[3]
	in := l.injector(t)
	frames := make([][]byte, tuples)
	for i := range frames {
		frames[i] = ackFrame(target, [4]byte{10, 50, byte(i >> 8), byte(i)}, uint16(1024+i>>16))
	}
	before := l.counters()
	sent, began := 0, time.Now()
	for next := began; time.Since(began) < lasts; next = next.Add(every) {
		time.Sleep(time.Until(next))
		for range rate / int(time.Second/every) {
			in.send(frames[sent%tuples])
			sent++
		}
	}
	took := time.Since(began)
	after := l.counters()
	if got := judge(both, began); got.broken() > 0 {
		t.Errorf("%d of %d connections are broken: %+v", got.broken(), len(both), got)
	}
	asked := after.Asked - before.Asked
	copies := asked * uint64(len(l.nodes)-1)
	t.Logf("%d bogus packets in %v (%.0f a second): %d questions, %d copies, %d limited, %d given up, %d owned connections asked for",
		sent, took.Round(time.Millisecond), float64(sent)/took.Seconds(), asked, copies, after.Limited-before.Limited, after.GivenUp-before.GivenUp, after.Claimed-before.Claimed)
	if bound := uint64(askLimit * (took.Seconds() + 1.2)); asked > bound {
		t.Errorf("%d questions, more than %d", asked, bound)
	}
	// A loaded machine does not come to the whole rate.
	if float64(sent)/took.Seconds() < 3*askLimit {
		t.Error("that is no flood")
	}
}

// counted is what the first counter in a text has counted.
func counted(text string) int {
	_, rest, _ := strings.Cut(text, "packets ")
	n, _ := strconv.Atoi(strings.Fields(rest + " 0")[0])
	return n
}
