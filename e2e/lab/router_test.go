package lab

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

const birdOfNode = `router id %[1]s;
protocol device {}
protocol static { ipv4; route 10.99.9.0/24 blackhole; }
protocol static { ipv6; route fd99:9::/64 blackhole; }
protocol bgp {
	local %[3]s as %[4]d;
	neighbor %[5]s as 64512;
	ipv4 { import none; export all; next hop address %[1]s; };
	ipv6 { import none; export all; next hop address %[2]s; };
}
`

// speak runs a BGP speaker on a node until the test ends.
func speak(t *testing.T, l *Lab, n Node, asn int, local, neighbor string) {
	t.Helper()
	dir := t.TempDir()
	conf := fmt.Sprintf(birdOfNode, n.Addr4, n.Addr6, local, asn, neighbor)
	must(t, os.WriteFile(filepath.Join(dir, "bird.conf"), []byte(conf), 0o600))
	argv, err := InPart(DefaultBIRD, dir, "/usr/sbin/bird", "-f", "-c", filepath.Join(dir, "bird.conf"), "-s", filepath.Join(dir, "ctl"))
	must(t, err)
	must(t, Part(t.Context(), DefaultBIRD))
	cmd, err := l.Command(t.Context(), n.Name, argv...)
	must(t, err)
	var out *os.File
	out, err = os.Create(filepath.Join(dir, "log"))
	must(t, err)
	cmd.Stdout, cmd.Stderr = out, out
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			b, _ := exec.Command("tail", out.Name()).Output()
			t.Logf("bird of %s: %s", n.Name, b)
		}
	})
}

// waitHops waits until the router's kernel has exactly these ways, as text.
func waitHops(t *testing.T, l *Lab, atMost time.Duration, prefix, want string) {
	t.Helper()
	eventually(t, atMost, prefix+" via "+want, func() error {
		hops, err := l.RouterRoute(t.Context(), netip.MustParsePrefix(prefix))
		if got := hopsText(hops); err == nil && got != want {
			err = fmt.Errorf("it goes via %s", got)
		}
		return err
	})
}

func hopsText(hops []NextHop) string {
	text := ""
	for _, h := range hops {
		text += fmt.Sprintf("%v*%d ", h.Via, h.Weight)
	}
	return text
}

// bird names its link-local address beside the global one, and FRR prefers that.
const (
	linkLocal1 = "fe80::aff:fe4d:b*1 "
	linkLocal2 = "fe80::aff:fe4d:c*1 "
	linkLocal3 = "fe80::aff:fe4d:d*1 "
)

// Speakers of any AS may call the router over IPv4 or IPv6, and one session
// carries both families.
func TestRouterAcceptsSpeakers(t *testing.T) {
	l := running(t)
	speak(t, l, NodeAt(1), 64601, "10.77.0.11", Router4)
	speak(t, l, NodeAt(2), 64602, "10.77.0.12", Router4)
	waitHops(t, l, 15*time.Second, "10.99.9.0/24", "10.77.0.11*1 10.77.0.12*1 ")
	waitHops(t, l, 5*time.Second, "fd99:9::/64", linkLocal1+linkLocal2)
	speak(t, l, NodeAt(3), 64603, "fd77::13", Router6)
	waitHops(t, l, 15*time.Second, "fd99:9::/64", linkLocal1+linkLocal2+linkLocal3)

	waitHops(t, l, 5*time.Second, "10.99.9.0/24", "10.77.0.11*1 10.77.0.12*1 10.77.0.13*1 ")

	// The hold time is 9 s, and nothing else tells the router.
	must(t, l.Cut(t.Context(), "n2"))
	t.Cleanup(func() { _ = l.Restore(context.Background(), "n2") })
	waitHops(t, l, 12*time.Second, "10.99.9.0/24", "10.77.0.11*1 10.77.0.13*1 ")
	must(t, l.Restore(t.Context(), "n2"))
	waitHops(t, l, 30*time.Second, "10.99.9.0/24", "10.77.0.11*1 10.77.0.12*1 10.77.0.13*1 ")
}
