package routers

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/heraldlb/herald/e2e/internal/flows"
	"github.com/heraldlb/herald/e2e/lab"
	"github.com/heraldlb/herald/e2e/stage"
)

// TestDrain takes n2 out where GRACEFUL_SHUTDOWN alone does nothing: routers must
// turn away from it while its route is still there.
func TestDrain(t *testing.T) {
	begin(t)
	a := serve(t)[0]
	for _, tc := range []struct {
		desc          string
		router        router
		asn           int
		peer          string
		before, after string
		seen          func(*testing.T, netip.Addr) error
	}{
		{
			"BIRD, by the documented filter", documentedBIRD(t), 64513, external,
			exact, "10.77.0.11*1 10.77.0.13*4", birdSeesDrain,
		},
		{
			"FRR inside the AS, by LOCAL_PREF", reflected(t), 64512, internal,
			equal, "10.77.0.11*1 10.77.0.13*1", frrSeesDrain,
		},
	} {
		t.Run(tc.desc, func(t *testing.T) {
			ctx := t.Context()
			use(t, tc.router)
			must(t, herald.Configure(ctx, configured(tc.asn, tc.peer, "nodes: {drainTime: 8s}\n")))
			waitHops(t, 40*time.Second, stage.Host(a), tc.before)
			t.Cleanup(func() { annotate(context.Background(), t, "n2", "heraldlb.io/drain-") })
			annotate(ctx, t, "n2", "heraldlb.io/drain=")
			begun := time.Now()
			waitHops(t, 5*time.Second, stage.Host(a), tc.after)
			t.Logf("n2 gets nothing more after %d ms", time.Since(begun).Milliseconds())
			must(t, tc.seen(t, a))
			annotate(ctx, t, "n2", "heraldlb.io/drain-")
			waitHops(t, 20*time.Second, stage.Host(a), tc.before)
		})
	}
}

func annotate(ctx context.Context, t *testing.T, node, annotation string) {
	t.Helper()
	_, err := herald.Kubectl(ctx, "annotate", "--overwrite", "node", node, annotation)
	must(t, err)
}

func birdSeesDrain(t *testing.T, a netip.Addr) error {
	out, err := herald.Birdc(t.Context(), "show", "route", "for", a.String(), "all")
	if err == nil && (strings.Count(out, "BGP.next_hop") != 3 || strings.Count(out, "(65535,0)") != 1 || strings.Count(out, "BGP.local_pref: 0\n") != 1) {
		err = fmt.Errorf("BIRD should have three paths, one of which drains:\n%s", out)
	}
	return err
}

func frrSeesDrain(t *testing.T, a netip.Addr) error {
	paths, err := learnt(t, stage.Host(a))
	if err != nil {
		return err
	}
	got := ""
	for _, p := range paths {
		got += fmt.Sprintf("%s by %s %s, LOCAL_PREF %d, %s\n", p.OriginatorID, p.Peer.PeerID, p.Peer.Type, p.LocPrf, p.Community.String)
	}
	want := `10.77.0.11 by 10.77.0.100 internal, LOCAL_PREF 100, 64512:10001
10.77.0.12 by 10.77.0.100 internal, LOCAL_PREF 0, 64512:10003 graceful-shutdown
10.77.0.13 by 10.77.0.100 internal, LOCAL_PREF 100, 64512:10004
`
	if got != want {
		return fmt.Errorf("FRR has the paths\n%swant\n%s", got, want)
	}
	return nil
}

// TestPathsFollowThePods gives a node more pods and takes them away again, while
// clients open connections all the time, which must not notice.
func TestPathsFollowThePods(t *testing.T) {
	begin(t)
	ctx := t.Context()
	permit(t)
	use(t, plainFRR)
	must(t, herald.Configure(ctx, configured(64513, external+byPaths, "")))
	must(t, herald.RunPods(ctx, "grow", map[string]int{"n1": 1, "n2": 1}))
	must(t, herald.Create(ctx, stage.Service{Name: "grow"}))
	t.Cleanup(func() { must(t, herald.Delete(context.Background(), "grow")) })
	addrs, err := herald.WaitAddrs(ctx, "grow", 2)
	must(t, err)
	for _, a := range addrs {
		waitPathsOf(t, a, "11", "12")
		wantAnswer(t, a)
	}
	time.Sleep(4 * time.Second) // past settleTime: from here on, changes are damped
	stopped := make(chan struct{})
	stop := sync.OnceFunc(func() { close(stopped) })
	defer stop()
	probes := probe(t, addrs, stopped)
	more := []string{"grow-n1-1", "grow-n1-2"}
	for _, name := range more {
		must(t, herald.RunPod(ctx, lab.PodSpec{Name: name, Node: "n1", Labels: map[string]string{"app": "grow"}}))
	}
	must(t, herald.WaitPods(ctx, 20*time.Second, more...))
	for _, a := range addrs {
		waitPathsOf(t, a, "11", "12", "75", "91")
	}
	for _, name := range more {
		must(t, herald.RemovePod(ctx, name))
	}
	for _, a := range addrs {
		waitPathsOf(t, a, "11", "12")
	}
	time.Sleep(time.Second)
	stop()
	for range addrs {
		p := <-probes
		must(t, p.err)
		t.Logf("%s: %d of %d probes lost, %+v", p.Target, p.Lost, p.Sent, p.Outages)
		// A connection that is half open while the router spreads anew is lost.
		if p.Sent < 100 || p.Lost > 3 || p.LongestMS > 50 {
			t.Errorf("%s: %d of %d probes lost, for %.0f ms at a time", p.Target, p.Lost, p.Sent, p.LongestMS)
		}
	}
}

// waitPathsOf waits for next hops of 10.77.0.0/24, and those of fd77::/64 that
// stand for them.
func waitPathsOf(t *testing.T, a netip.Addr, last ...string) {
	t.Helper()
	six := map[string]string{"11": "11", "12": "12", "75": "111", "91": "211"}
	var want []string
	for _, l := range last {
		if a.Is4() {
			want = append(want, "10.77.0."+l+"*1")
		} else {
			want = append(want, "fd77::"+six[l]+"*1")
		}
	}
	waitHops(t, 30*time.Second, stage.Host(a), strings.Join(want, " "))
}

type probed struct {
	flows.Probe
	err error
}

// probe opens a connection to each address every 10 ms until stopped is closed.
func probe(t *testing.T, addrs []netip.Addr, stopped <-chan struct{}) <-chan probed {
	done := make(chan probed, len(addrs))
	bin, err := lab.BinDir()
	must(t, err)
	for _, a := range addrs {
		cmd, err := herald.Command(t.Context(), lab.Ext, filepath.Join(bin, "flows"), "probe", "--interval", "10ms", "--duration", "5m",
			"--target", stage.Target(a))
		must(t, err)
		var out bytes.Buffer
		cmd.Stdout = &out
		must(t, cmd.Start())
		go func() {
			<-stopped
			_ = cmd.Process.Signal(os.Interrupt) // it then tells what it saw
			p := probed{err: cmd.Wait()}
			p.err = errors.Join(p.err, json.Unmarshal(out.Bytes(), &p.Probe))
			done <- p
		}()
	}
	return done
}
