package bgp

import (
	"strings"
	"testing"

	"github.com/heraldlb/herald/speaker/plan"
)

func TestReasons(t *testing.T) {
	ours := plan.Session{ASN: 64512, LocalASN: 64513}
	for _, tc := range []struct{ what, got, want string }{
		{"refused", dialError("dial tcp 0.0.0.0:0->10.8.0.1:179: connect: connection refused"), "cannot connect: connection refused: nothing listens there"},
		{"silence", dialError("dial tcp 10.8.0.1:179: i/o timeout"), "cannot connect: i/o timeout: no answer: look for a firewall"},
		{"no such host", dialError("dial tcp 10.8.0.1:179: connect: no route to host"), "cannot connect: no route to host: this network knows no such host"},
		{"something new", dialError("dial tcp: odd"), "cannot connect: dial tcp: odd"},
		{"shut down", received(6, 2, "back at noon", ours), `the peer sent notification code 6(cease) subcode 2(administrative shutdown) ("back at noon"): an operator shut the session down there`},
		{"not a neighbor", received(6, 5, "", ours), "it does not have this node as a neighbor"},
		{"their AS", received(2, 2, "", ours), "it expects another AS number of this node than 64513, which"},
		{"our AS", sent(2, 2, ours), "the peer has another AS number than 64512, which the configuration says"},
		{"no hint", sent(3, 1, ours), "closed the session with notification code 3(update) subcode 1(malformed attribute list)"},
		{"unknown code", received(99, 99, "", ours), "the peer sent notification code 99(undefined) subcode 99(undefined)"},
	} {
		if !strings.Contains(tc.got, tc.want) {
			t.Errorf("%s: got %q, want %q in it", tc.what, tc.got, tc.want)
		}
	}
}
