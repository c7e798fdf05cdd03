package sessions

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/e2e/lab"
	"github.com/heraldlb/herald/e2e/stage"
)

// What a session really is can be read from the metrics.
func TestMetricsOfASession(t *testing.T) {
	begin(t)
	serve(t, "metrics", on("n1", "n2", "n3"), equal)
	peer := `{address="` + lab.Router4 + `",peer="router"} `
	must(t, stage.Wait(t.Context(), 20*time.Second, func() error {
		out, err := herald.Exec(t.Context(), "n1", "curl", "-s", "http://127.0.0.1:7473/metrics")
		if err != nil {
			return err
		}
		for _, want := range []string{
			"herald_bgp_session_up" + peer + "1\n",
			"herald_bgp_bfd_up" + peer + "1\n",
			"herald_bgp_routes_withheld" + peer + "0\n",
			"herald_bgp_session_since_timestamp_seconds" + peer,
			"herald_bgp_peers_refused 0\n",
			"herald_speaker_not_forwarded 0\n",
			"herald_speaker_resumed 0\n",
			"herald_speaker_fuse_held 0\n",
		} {
			if !strings.Contains(out, want) {
				return fmt.Errorf("no %q in the metrics:\n%s", want, grep(out, "herald_"))
			}
		}
		if strings.Contains(out, "herald_bgp_routes_announced"+peer+"0\n") {
			return fmt.Errorf("no route was announced:\n%s", grep(out, "herald_bgp"))
		}
		return nil
	}))
}

func grep(text, prefix string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, prefix) {
			b.WriteString(line)
		}
	}
	return b.String()
}
