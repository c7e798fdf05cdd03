package rescue

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/e2e/stage"
)

// heraldctl asks each node whether flow rescue is on there, and for its sessions.
// A node on which somebody else owns the tables says so; the others may have heard
// of it. Without their password no node has a session, whatever is planned.
func TestExplainAsksTheNodes(t *testing.T) {
	begin(t)
	if inRacks() {
		return
	}
	ctx := t.Context()
	serve(t, "told")
	configure(t, true)
	explains(t, 5*time.Second, "flow rescue: auto, for TCP 80\n", "\n  established: n1, n2, n3\n", "\n  on: n1, n2, n3\n")
	release := seize(t, "n2")
	explains(t, 8*time.Second, ": n1, n3", "\n  off: n2: rescue tables: ")
	release()

	must(t, herald.Configure(ctx, strings.Replace(config, "- name: public\n", "- name: public\n  flowRescue: off\n", 1)))
	explains(t, 5*time.Second, "flow rescue: off: pool public has flowRescue: off\n")

	must(t, herald.Configure(ctx, strings.Replace(config, "- name: router\n", "- name: router\n  passwordKey: lost\n", 1)))
	explains(t, 10*time.Second, "n3  cannot  weight 1  announce it: no BGP session is up", "\n  router: ", ": n1, n2, n3: no password: key \"lost\" of the Secret herald-bgp: ")
	configure(t, true)
	explains(t, 30*time.Second, "\n  established: n1, n2, n3\n", "\n  on: n1, n2, n3\n")
}

// explains waits until the Service is explained by these words.
func explains(t *testing.T, atMost time.Duration, words ...string) {
	t.Helper()
	explainsOf(t, "told", atMost, words...)
}

func explainsOf(t *testing.T, service string, atMost time.Duration, words ...string) {
	t.Helper()
	must(t, stage.Wait(t.Context(), atMost, func() error {
		out, _, err := herald.Heraldctl(t.Context(), "explain", service)
		for _, w := range words {
			if err == nil && !strings.Contains(out, w) {
				err = fmt.Errorf("%q is missing", w)
			}
		}
		if err != nil {
			return fmt.Errorf("%w in\n%s", err, out)
		}
		t.Logf("\n%s", out)
		return nil
	}))
}

// seize takes a node's table away, by one of the same name that the kernel lets
// nobody change but its owner, for as long as that one lives.
func seize(t *testing.T, node string) (release func()) {
	t.Helper()
	cmd, err := herald.Command(t.Context(), node, "nft", "-i")
	must(t, err)
	in, err := cmd.StdinPipe()
	must(t, err)
	must(t, cmd.Start())
	_, err = io.WriteString(in, "delete table ip herald; add table ip herald { flags owner; }\n")
	must(t, err)
	return func() {
		must(t, in.Close())
		must(t, cmd.Wait())
	}
}
