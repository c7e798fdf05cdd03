package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/e2e/lab"
	"github.com/heraldlb/herald/e2e/stage"
)

// heraldctl explains a Service of the live cluster, and just so from a snapshot
// of it. The Service's Events tell its story too.
func TestExplainLiveAndFromASnapshot(t *testing.T) {
	begin(t)
	ctx := t.Context()
	must(t, herald.RunPods(ctx, "told", map[string]int{"n1": 1, "n2": 2}))
	must(t, herald.Create(ctx, stage.Service{Name: "told", SingleStack: true}))
	addrs, err := herald.WaitAddrs(ctx, "told", 1)
	must(t, err)
	must(t, herald.WaitWeights(ctx, 10*time.Second, addrs[0], map[string]int{"n1": 1, "n2": 2}))

	live := heraldctl(t, "explain", "told")
	for _, want := range []string{
		"allocation: Allocated: has " + addrs[0].String() + " of pool public",
		"n1  announces  weight 1  33.3 % of the traffic",
		"n2  announces  weight 2  66.7 % of the traffic",
		"n3  silent     -         NoReadyEndpointOnNode: ready on n1, n2",
		"peers router (" + lab.Router4 + ")",
		"\n  established: n1, n2\n",
		"\n  off: n1, n2, n3: try the rules of ip in nftables: ", // without its overlay
		"; apply manifests/overlays/flow-rescue or full, which permit it\n",
		"\n  not counted: n1, n2: try the rules of ip in nftables: ",
		"; apply manifests/overlays/measure, add-path, flow-rescue or full, which permit it\n",
	} {
		if !strings.Contains(live, want) {
			t.Errorf("%q is not in\n%s", want, live)
		}
	}
	file := filepath.Join(t.TempDir(), "saved.json")
	must(t, os.WriteFile(file, []byte(heraldctl(t, "snapshot")), 0o600))
	saved := heraldctl(t, "explain", "--snapshot", file, "told")
	decided, rest, _ := strings.Cut(saved, "\nBGP sessions, measured shares, flow rescue: ")
	if !strings.HasPrefix(live, decided) || strings.Contains(saved, "kube-proxy, asked") || !strings.HasSuffix(rest, "were not asked\n") {
		t.Errorf("from the snapshot:\n%s\nlive:\n%s", saved, live)
	}
	if !strings.Contains(live, "kube-proxy, asked on port ") {
		t.Errorf("kube-proxy was not asked:\n%s", live)
	}
	if e := events(t, "Service", "told"); !strings.Contains(e, "Normal Allocated has "+addrs[0].String()) {
		t.Errorf("no Event tells of the address; there is\n%s", e)
	}
}

// heraldctl status names what is wrong in the live cluster, here a password that the
// nodes do not have and a configuration that is broken, and nothing after that.
func TestStatusNamesWhatIsWrong(t *testing.T) {
	begin(t)
	ctx := t.Context()
	t.Cleanup(func() { must(t, herald.Configure(context.Background(), stage.Config)) })
	must(t, herald.Configure(ctx, strings.Replace(stage.Config, "- name: router\n", "- name: router\n  passwordKey: lost\n", 1)))
	statusSays(t, 15*time.Second,
		"\n  n1: session with router ("+lab.Router4+"): ", "\n  n2: session with router ("+lab.Router4+"): ",
		": no password: key \"lost\" of the Secret herald-bgp: ",
	)
	must(t, herald.Configure(ctx, "pools: 7\n"))
	statusSays(t, 5*time.Second, "\n  the newest configuration is refused: ", "\n  n3: session with router ("+lab.Router4+"): ")
	must(t, herald.Configure(ctx, stage.Config))
	must(t, herald.Calm(ctx))
	out := statusSays(t, 15*time.Second, "\nn1    runs     ", "\nn3    router  "+lab.Router4+"  Established  ", "\npublic  IPv4    ")
	for _, gone := range []string{"refused", "session with"} {
		if strings.Contains(out, gone) {
			t.Errorf("%q is still in\n%s", gone, out)
		}
	}
	var data struct {
		Kind     string
		Sessions []struct{ Node, Peer, State string }
	}
	must(t, json.Unmarshal([]byte(heraldctl(t, "status", "sessions", "-o", "json")), &data))
	if len(data.Sessions) != 3 || data.Kind != "Status" || data.Sessions[2].Node != "n3" || data.Sessions[2].Peer != "router" || data.Sessions[2].State != "Established" {
		t.Errorf("as data: %+v", data)
	}
}

// statusSays waits until heraldctl status prints all of this. It exits with 1 where
// there are problems, also such as other tests have left.
func statusSays(t *testing.T, atMost time.Duration, words ...string) (text string) {
	t.Helper()
	must(t, stage.Wait(t.Context(), atMost, func() error {
		out, wrong, err := herald.Heraldctl(t.Context(), "status")
		if err != nil {
			return err
		}
		text = out
		if problems := !strings.Contains(text, "\nproblems: 0\n"); problems != wrong {
			return fmt.Errorf("it ended with 1: %t, and printed\n%s", wrong, out)
		}
		for _, w := range words {
			if !strings.Contains(text, w) {
				return fmt.Errorf("%q is missing in\n%s", w, text)
			}
		}
		return nil
	}))
	return text
}

// heraldctl finds that all is as it should be.
func heraldctl(t *testing.T, args ...string) string {
	t.Helper()
	out, wrong, err := herald.Heraldctl(t.Context(), args...)
	must(t, err)
	if wrong {
		t.Fatalf("heraldctl %s finds faults:\n%s", strings.Join(args, " "), out)
	}
	return out
}
