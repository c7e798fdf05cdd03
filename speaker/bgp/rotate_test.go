package bgp

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/internal/netlab"
	"github.com/heraldlb/herald/speaker/plan"
)

// The password of a session is changed on both sides, with the commands that
// docs/configuration.md gives for FRR.
func TestPasswordChanges(t *testing.T) {
	for _, part := range netlab.FRRs {
		for _, ranged := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, range %v", part, ranged), func(t *testing.T) {
				t.Parallel()
				r := newRack(t, 1)
				conf := strings.Replace(bgpd(64513, "10.8.0.11"), " timers 1 3\n", " timers 1 3\n neighbor N password old\n", 1)
				if ranged {
					conf = strings.Replace(conf, " neighbor 10.8.0.11 peer-group N\n", " bgp listen range 10.8.0.0/24 peer-group N\n", 1)
				}
				frr := r.router.FRROf(part, conf)
				n := startAnnouncer(t, r.nodes[0])
				n.tell(order{Passwords: map[string]string{"tor": "old"}})
				s := tor("tor", "10.8.0.1", 64512, "")
				s.PasswordKey = "tor"
				tab := table(1, 64513, []plan.Session{s}, vip4+"/32 1")
				n.apply(tab)
				established := func() string {
					if p := n.peer("tor"); p.State != Established {
						return fmt.Sprintf("%+v", p)
					}
					return ""
				}
				netlab.Eventually(t, 20*time.Second, established)
				before := n.peer("tor").Since
				frr.Configure("router bgp 64512", "neighbor N password new")
				n.tell(order{Passwords: map[string]string{"tor": "new"}})
				n.apply(tab)
				netlab.Eventually(t, 40*time.Second, func() string {
					if p := n.peer("tor"); p.Since.Equal(before) {
						return "the session is still the one before"
					}
					return established()
				})
				// The old one is not taken any more.
				n.tell(order{Passwords: map[string]string{"tor": "old"}})
				n.apply(tab)
				netlab.Eventually(t, 20*time.Second, func() string {
					if established() == "" {
						return "the session is up with the old password"
					}
					return ""
				})
				netlab.Always(t, 6*time.Second, func() string {
					if established() == "" {
						return "the session is up with the old password"
					}
					return ""
				})
			})
		}
	}
}
