package layer2

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/heraldlb/herald/e2e/internal/flows"
	"github.com/heraldlb/herald/e2e/lab"
	"github.com/heraldlb/herald/e2e/stage"
)

// serve creates a Local Service of both families with a pod on each of the nodes.
func serve(t *testing.T, name string, nodes ...string) []netip.Addr {
	t.Helper()
	perNode := map[string]int{}
	for _, n := range nodes {
		perNode[n] = 1
	}
	must(t, herald.RunPods(t.Context(), name, perNode))
	must(t, herald.Create(t.Context(), stage.Service{Name: name}))
	addrs, err := herald.WaitAddrs(t.Context(), name, 2)
	must(t, err)
	for _, a := range addrs {
		waitOwner(t, a, nodes...)
		waitServed(t, a)
	}
	return addrs
}

func waitServed(t *testing.T, a netip.Addr) {
	t.Helper()
	var first flows.First
	must(t, herald.Run(t.Context(), lab.LANClient, &first, "flows", "probe", "--until-first-success", "--duration", "20s",
		"--target", netip.AddrPortFrom(a, 80).String()))
}

// outage does something while a client on the link opens a connection to the
// address every 10 ms, and returns for how long it got no answer.
func outage(t *testing.T, a netip.Addr, lasting time.Duration, do func()) time.Duration {
	t.Helper()
	var got flows.Probe
	probe := make(chan error, 1)
	go func() {
		probe <- herald.Run(t.Context(), lab.LANClient, &got, "flows", "probe", "--interval", "10ms",
			"--duration", lasting.String(), "--target", netip.AddrPortFrom(a, 80).String())
	}()
	time.Sleep(time.Second)
	do()
	must(t, <-probe)
	if got.Sent == 0 {
		t.Fatal("nothing was sent")
	}
	t.Logf("%d probes, %d lost, outages %+v", got.Sent, got.Lost, got.Outages)
	return time.Duration(got.LongestMS * float64(time.Millisecond))
}

func TestOneNodeAnswers(t *testing.T) {
	addrs := serve(t, "one", "n1", "n2", "n3")
	for _, a := range addrs {
		owner := waitOwner(t, a, "n1", "n2", "n3")
		t.Logf("%s answers for %s", owner, a)
		must(t, stage.Wait(t.Context(), 5*time.Second, func() error {
			out, err := herald.Kubectl(t.Context(), "get", "events", "--field-selector", "reason=AddressClaimed")
			if want := owner + " answers for " + a.String(); err == nil && !strings.Contains(out, want) {
				err = fmt.Errorf("no Event says %q:\n%s", want, out)
			}
			return err
		}))
	}
	owners := map[string]bool{}
	for i := range 8 {
		name := "one-" + string(rune('a'+i))
		must(t, herald.Create(t.Context(), stage.Service{Name: name, App: "one", SingleStack: true}))
		got, err := herald.WaitAddrs(t.Context(), name, 1)
		must(t, err)
		owners[waitOwner(t, got[0], "n1", "n2", "n3")] = true
	}
	if len(owners) < 2 {
		t.Errorf("eight addresses are all owned by %v", owners)
	}
}

func TestALocalServiceFollowsItsPods(t *testing.T) {
	a := serve(t, "follow", "n1", "n3")[0]
	owner := waitOwner(t, a, "n1", "n3")
	other := map[string]string{"n1": "n3", "n3": "n1"}[owner]
	must(t, herald.RemovePod(t.Context(), "follow-"+owner+"-0"))
	begun := time.Now()
	waitOwner(t, a, other)
	t.Logf("%s answers %.2f s after the deletion of the last pod on %s", other, time.Since(begun).Seconds(), owner)
	waitServed(t, a)
}

func speakerOn(t *testing.T, node string) string {
	t.Helper()
	pods, err := herald.Pods(t.Context())
	must(t, err)
	i := slices.IndexFunc(pods, func(p lab.Pod) bool {
		return p.Node == node && strings.HasPrefix(p.Name, "herald-speaker") && !p.Terminating
	})
	if i < 0 {
		t.Fatalf("no speaker runs on %s", node)
	}
	return pods[i].Namespace + "/" + pods[i].Name
}

// A client that has not cached the neighbour asks from the moment in which the
// owner's speaker was killed.
func TestASpeakerIsKilled(t *testing.T) {
	a := serve(t, "killed", "n1", "n2", "n3")[0]
	owner := waitOwner(t, a, "n1", "n2", "n3")
	must(t, herald.KillPod(speakerOn(t, owner)))
	begun := time.Now()
	var got []string
	must(t, stage.Wait(t.Context(), 10*time.Second, func() (err error) {
		if got, err = answerers(t.Context(), a, 20*time.Millisecond); err == nil && len(got) == 0 {
			err = fmt.Errorf("nobody answers for %s", a)
		}
		return err
	}))
	took := time.Since(begun)
	t.Logf("%v answered %s after the speaker of %s was killed", got, took, owner)
	if took >= 1200*time.Millisecond {
		t.Errorf("nobody answered for %s, want less than 1.2 s", took)
	}
	must(t, herald.WaitReplicas(t.Context()))
	waitOwner(t, a, "n1", "n2", "n3")
}

func TestASpeakerStopsGracefully(t *testing.T) {
	a := serve(t, "graceful", "n1", "n2", "n3")[0]
	owner := waitOwner(t, a, "n1", "n2", "n3")
	speaker := speakerOn(t, owner)
	took := outage(t, a, 5*time.Second, func() {
		must(t, herald.RemovePod(t.Context(), speaker))
	})
	t.Logf("outage while the speaker of the owner %s was replaced: %s", owner, took)
	if took >= 500*time.Millisecond {
		t.Errorf("the outage was %s, want less than 0.5 s", took)
	}
	must(t, herald.WaitReplicas(t.Context()))
	waitOwner(t, a, "n1", "n2", "n3")
}

// oneOwner creates Services with the pods of another until one node owns both
// addresses of one.
func oneOwner(t *testing.T, app string) []netip.Addr {
	t.Helper()
	for i := range 20 {
		name := fmt.Sprintf("%s-%d", app, i)
		must(t, herald.Create(t.Context(), stage.Service{Name: name, App: app}))
		addrs, err := herald.WaitAddrs(t.Context(), name, 2)
		must(t, err)
		if waitOwner(t, addrs[0], "n1", "n2", "n3") == waitOwner(t, addrs[1], "n1", "n2", "n3") {
			return addrs
		}
	}
	t.Fatal("of 20 Services none has both addresses on one node")
	return nil
}

func TestTheOwnerLosesPower(t *testing.T) {
	must(t, herald.RunPods(t.Context(), "power", map[string]int{"n1": 1, "n2": 1, "n3": 1}))
	addrs := oneOwner(t, "power")
	outages := make([][]time.Duration, 2)
	for range 3 {
		for _, a := range addrs {
			waitServed(t, a)
		}
		owner := waitOwner(t, addrs[0], "n1", "n2", "n3")
		waitOwner(t, addrs[1], owner)
		var v6 time.Duration
		var wg sync.WaitGroup
		wg.Go(func() { v6 = outage(t, addrs[1], 4*time.Second, func() {}) })
		v4 := outage(t, addrs[0], 4*time.Second, func() { must(t, herald.PowerOff(t.Context(), owner)) })
		wg.Wait()
		t.Logf("outage after %s lost its power: IPv4 %s, IPv6 %s", owner, v4, v6)
		outages[0], outages[1] = append(outages[0], v4), append(outages[1], v6)
		must(t, herald.PowerOn(t.Context(), owner))
		must(t, herald.WaitReplicas(t.Context()))
		must(t, herald.WaitPods(t.Context(), 60*time.Second, "power-n1-0", "power-n2-0", "power-n3-0"))
	}
	for i, family := range []string{"IPv4", "IPv6"} {
		slices.Sort(outages[i])
		if median := outages[i][1]; median >= time.Second {
			t.Errorf("%s: the median outage was %s, want less than 1 s: %v", family, median, outages[i])
		}
	}
}
