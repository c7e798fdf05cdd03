package routers

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/e2e/internal/flows"
	"github.com/heraldlb/herald/e2e/lab"
	"github.com/heraldlb/herald/e2e/stage"
)

// A router that ignores weights is named: by heraldctl explain, in an Event of the
// Service and by a metric. Before, when it honours them, explain says that too.
func TestIgnoredWeightsAreTold(t *testing.T) {
	begin(t)
	a := serve(t)[0]
	permit(t)
	waitHops(t, 40*time.Second, stage.Host(a), scaled)
	port := 20000
	// Nodes begin to count 30 s after a change, and take a sample every ten seconds,
	// of which the first and the last do not count alone. So there are flows all the
	// time, 100 at once.
	explained := func(atMost time.Duration, words ...string) (out string) {
		t.Helper()
		must(t, stage.Wait(t.Context(), atMost, func() error {
			send(t, a.String(), port, 100)
			port += 100
			time.Sleep(time.Second)
			out = explain(t)
			for _, w := range words {
				if !strings.Contains(out, w) {
					return fmt.Errorf("%q is missing in\n%s", w, out)
				}
			}
			return nil
		}))
		return out
	}
	t.Logf("\n%s", explained(120*time.Second, a.String()+"  as the weights ask for: ", "n1  weight 1  should get 12.5 %  got "))

	must(t, herald.Configure(t.Context(), configured(64513, external+"  linkBandwidth: nonTransitive\n", "")))
	waitHops(t, 40*time.Second, stage.Host(a), equal)
	out := explained(180*time.Second, a.String()+"  NOT as the weights ask for: ",
		"router router ("+lab.Router4+") seems to ignore weights: n1 should get 12.5 % and got ", "    1. more than one path: ", "    4. the form of the weight: ")
	t.Logf("\n%s", out)
	must(t, stage.Wait(t.Context(), 60*time.Second, func() error {
		events, err := herald.Kubectl(t.Context(), "get", "events", "--field-selector", "reason=WeightsIgnored", "-o", "jsonpath={range .items[*]}{.message}{\"\\n\"}{end}")
		if err == nil && !strings.Contains(events, "seems to ignore weights: n1 should get 12.5 % and got ") {
			err = fmt.Errorf("the Events are %q", events)
		}
		return err
	}))
	metrics, err := herald.Exec(t.Context(), "n1", "curl", "-s", "http://127.0.0.1:7473/metrics")
	must(t, err)
	if want := fmt.Sprintf("herald_weights_ignored{address=%q,peer=\"router\"} 1\n", a); !strings.Contains(metrics, want) {
		t.Errorf("no metric %s", want)
	}
}

func explain(t *testing.T) string {
	t.Helper()
	out, _, err := herald.Heraldctl(t.Context(), "explain", "web")
	must(t, err)
	return out
}

func send(t *testing.T, to string, firstPort, n int) {
	t.Helper()
	var got flows.Shares
	must(t, herald.Run(t.Context(), lab.Ext, &got, "flows", "shares", "--json", "--first-port", strconv.Itoa(firstPort),
		"--n", strconv.Itoa(n), "--target", to+":80"))
}
