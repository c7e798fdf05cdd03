package layer2

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/e2e/internal/flows"
	"github.com/heraldlb/herald/e2e/lab"
	"github.com/heraldlb/herald/e2e/stage"
	"github.com/heraldlb/herald/e2e/stage/stagetest"
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
	stagetest.Answer(t, herald, lab.LANClient, a, 20*time.Second)
}

// outage does something while a client on the link opens a connection to the
// address every 10 ms, and returns for how long it got no answer.
func outage(t *testing.T, a netip.Addr, lasting time.Duration, do func()) time.Duration {
	t.Helper()
	var got flows.Probe
	probe := make(chan error, 1)
	go func() {
		probe <- herald.Run(t.Context(), lab.LANClient, &got, "flows", "probe", "--interval", "10ms",
			"--duration", lasting.String(), "--target", stage.Target(a))
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
	begin(t)
	before := answeredFor(t)
	addrs := serve(t, "one", "n1", "n2", "n3")
	must(t, stage.Wait(t.Context(), 5*time.Second, func() (err error) {
		if now := answeredFor(t); now != before+float64(len(addrs)) {
			err = fmt.Errorf("herald_l2_addresses of all nodes: %v before %v were added, and now %v", before, addrs, now)
		}
		return err
	}))
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

// answeredFor is how many addresses all nodes together say that they answer for.
func answeredFor(t *testing.T) (sum float64) {
	t.Helper()
	for _, n := range all {
		sum += speakerMetrics(t, n).Sum("herald_l2_addresses")
	}
	return sum
}

func TestALocalServiceFollowsItsPods(t *testing.T) {
	begin(t)
	a := serve(t, "follow", "n1", "n3")[0]
	owner := waitOwner(t, a, "n1", "n3")
	other := map[string]string{"n1": "n3", "n3": "n1"}[owner]
	must(t, herald.RemovePod(t.Context(), "follow-"+owner+"-0"))
	begun := time.Now()
	waitOwner(t, a, other)
	t.Logf("%s answers %.2f s after the deletion of the last pod on %s", other, time.Since(begun).Seconds(), owner)
	waitServed(t, a)
}
