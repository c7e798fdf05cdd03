package e2e

import (
	"os"
	"os/exec"
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

	live := heraldctl(t, "explain", "--kubeconfig", herald.Kubeconfig(), "told")
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
	must(t, os.WriteFile(file, []byte(heraldctl(t, "snapshot", "--kubeconfig", herald.Kubeconfig())), 0o600))
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

func heraldctl(t *testing.T, args ...string) string {
	t.Helper()
	bin, err := lab.BinDir()
	must(t, err)
	cmd := exec.CommandContext(t.Context(), filepath.Join(bin, "heraldctl"), args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("heraldctl %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return string(out)
}
