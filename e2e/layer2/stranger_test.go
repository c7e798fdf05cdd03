package layer2

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/e2e/lab"
	"github.com/heraldlb/herald/e2e/stage"
	"github.com/heraldlb/herald/e2e/stage/stagetest"
)

// A stranger is a host on the segment, here the router, that takes an address of
// ours without asking first.
type stranger struct{ mac string }

const routerDevice = "lan0"

func newStranger(t *testing.T) stranger {
	t.Helper()
	out, err := herald.Exec(t.Context(), lab.Router, "ip", "-j", "link", "show", "dev", routerDevice)
	must(t, err)
	var links []struct{ Address string }
	must(t, json.Unmarshal([]byte(out), &links))
	return stranger{links[0].Address}
}

func (stranger) do(argv ...string) error {
	_, err := herald.Exec(context.Background(), lab.Router, argv...)
	return err
}

func width(a netip.Addr) string {
	if a.Is4() {
		return a.String() + "/24"
	}
	return a.String() + "/64"
}

// take configures the address.
func (s stranger) take(t *testing.T, a netip.Addr) {
	t.Helper()
	t.Cleanup(func() { s.drop(a) })
	must(t, s.do("ip", "addr", "add", width(a), "dev", routerDevice, "nodad"))
}

func (s stranger) drop(a netip.Addr) { _ = s.do("ip", "addr", "del", width(a), "dev", routerDevice) }

// told waits until the owner has told of the stranger, and then, without it, of
// its end.
func (s stranger) told(t *testing.T, w *wire, a netip.Addr, owner string) {
	t.Helper()
	waitEvent(t, "AddressConflict", "the interface with the address "+s.mac+" answers for "+a.String()+" on eth0 too")
	must(t, herald.WaitMetric(t.Context(), 15*time.Second, owner, stage.Above(0), "herald_l2_conflicts_total"))
	must(t, herald.WaitMetric(t.Context(), 15*time.Second, owner, stage.Above(0), "herald_l2_rivals"))
	must(t, stage.Wait(t.Context(), 10*time.Second, func() error {
		got, err := w.askEach(t.Context(), []netip.Addr{a}, 200*time.Millisecond)
		if want := []string{s.mac, owner}; err == nil && !slices.Equal(got[a], want) {
			err = fmt.Errorf("%v answer for %s, want the stranger and the owner, %v", got[a], a, want)
		}
		return err
	}))
	s.drop(a)
	must(t, herald.WaitMetric(t.Context(), 15*time.Second, owner, stage.Is(0), "herald_l2_rivals"))
	waitOwner(t, a, owner)
	reach(t, lab.LANClient, []netip.Addr{a})
}

// A stranger uses an address of ours: that is told, and the owner goes on.
func TestAStrangerUsesAnAddress(t *testing.T) {
	begin(t)
	t.Cleanup(func() { tidy(t, "used") })
	a := serve(t, "used-0", "n1", "n2", "n3")[0]
	owner, s := waitOwner(t, a, all...), newStranger(t)
	s.take(t, a)
	must(t, s.do("ip", "neigh", "flush", "dev", routerDevice))
	// Nobody answers there, but to ask for the neighbour is enough.
	if err := s.do("curl", "-sm1", "--interface", a.String(), "http://"+lab.LANClient4+"/"); err == nil {
		t.Error("the client runs a web server")
	}
	s.told(t, openWire(t), a, owner)
}

// A stranger has an address of ours and is silent: who takes the address over
// finds out.
func TestATakeoverIsVerified(t *testing.T) {
	begin(t)
	t.Cleanup(func() { tidy(t, "verified") })
	must(t, herald.RunPods(t.Context(), "verified", map[string]int{"n1": 1, "n2": 1, "n3": 1}))
	addrs := oneOwner(t, "verified")
	w, s := openWire(t), newStranger(t)
	for _, a := range addrs {
		t.Run(a.String(), func(t *testing.T) {
			owner := waitOwner(t, a, all...)
			before := stagetest.SpeakerOn(t, herald, owner)
			s.take(t, a)
			must(t, herald.RemovePod(t.Context(), before))
			waitSpeaker(t, owner, before)
			s.told(t, w, a, owner)
		})
	}
}

// A host that asks before it takes an address is told that it is in use.
func TestAStrangerThatAsksFirst(t *testing.T) {
	begin(t)
	t.Cleanup(func() { tidy(t, "asked") })
	a := serve(t, "asked-0", "n1", "n2", "n3")[1]
	s, conf := newStranger(t), "net.ipv6.conf."+routerDevice
	must(t, s.do("sysctl", "-qw", conf+".accept_dad=1", conf+".dad_transmits=1"))
	t.Cleanup(func() {
		s.drop(a)
		_ = s.do("sysctl", "-qw", conf+".accept_dad=0")
	})
	must(t, s.do("ip", "addr", "add", width(a), "dev", routerDevice))
	must(t, stage.Wait(t.Context(), 5*time.Second, func() error {
		out, err := herald.Exec(t.Context(), lab.Router, "ip", "-6", "addr", "show", "dev", routerDevice, "dadfailed")
		if err == nil && !regexp.MustCompile(regexp.QuoteMeta(a.String())+`/`).MatchString(out) {
			err = fmt.Errorf("the host did not notice that %s is in use: %q", a, out)
		}
		return err
	}))
	waitOwner(t, a, all...)
}

// A false announcement moves the caches of the clients to the stranger. The
// owner's answer to it moves them back.
func TestAFalseAnnouncementIsAnswered(t *testing.T) {
	begin(t)
	t.Cleanup(func() { tidy(t, "forged") })
	addrs := serve(t, "forged-0", "n1", "n2", "n3")
	a := addrs[0]
	owner := waitOwner(t, a, all...)
	w := openWire(t)
	reach(t, lab.Router, []netip.Addr{a})
	believed := make(chan string, 1)
	go func() {
		out, _ := herald.Exec(t.Context(), lab.Router, "timeout", "4", "ip", "monitor", "neigh") // ended by timeout
		believed <- out
	}()
	p := probe(t, lab.Router, a)
	time.Sleep(500 * time.Millisecond)
	frame := arpRequest(w.mac, a)
	copy(frame[28:32], frame[38:42]) // as if we had the address
	must(t, w.send(frame))
	time.Sleep(2 * time.Second)
	took := longest(p.end(t))
	t.Logf("outage by a false announcement: %s", took)
	if took >= 200*time.Millisecond {
		t.Errorf("a false announcement stopped the traffic for %s, want less than 200 ms", took)
	}
	if out := <-believed; !strings.Contains(out, a.String()+" dev "+routerDevice+" lladdr "+w.mac.String()) {
		t.Errorf("the client has not believed the announcement, so nothing was shown:\n%s", out)
	}
	waitEvent(t, "AddressConflict", w.mac.String()+" answers for "+a.String())
	waitOwner(t, a, owner)
}
