package assign

import (
	"strings"
	"testing"
)

func TestQuarantine(t *testing.T) {
	for _, tt := range []struct{ name, situation, want string }{
		{"one that nobody has had comes first", `
pool p 192.0.2.0/30 quarantine
left 192.0.2.0 192.0.2.1
svc a/new`, "a/new 192.0.2.2"},
		{"the one that was left first comes first of those", `
pool p 192.0.2.0/30 quarantine
left 192.0.2.3 192.0.2.1 192.0.2.2
svc a/old has=192.0.2.0
svc a/new`, "a/new 192.0.2.3"},
		{"who asks for it has it", `
pool p 192.0.2.0/30 quarantine
left 192.0.2.0
svc a/new ips=192.0.2.0`, "a/new 192.0.2.0"},
		{"another pool is preferred to it", `
pool p 192.0.2.0/32 priority=1 quarantine
pool q 192.0.2.8/31
left 192.0.2.0
svc a/new`, "a/new 192.0.2.8"},
		{"another pool for one family is preferred to it", `
pool p 192.0.2.0/32 2001:db8::1-2001:db8::1 quarantine
pool q 192.0.2.8/31
left 192.0.2.0
svc a/new families=46 policy=Require`, "a/new 192.0.2.8 2001:db8::1"},
		{"no other for both families", `
pool p 192.0.2.0/32 2001:db8::1-2001:db8::1 quarantine
left 2001:db8::1 192.0.2.0
svc a/new families=46 policy=Require`, "a/new 192.0.2.0 2001:db8::1"},
		{"what is left now is in it", `
pool p 192.0.2.0/30 quarantine
svc a/moves has=192.0.2.0 ips=192.0.2.1
svc a/new`, "a/new 192.0.2.2"},
		{"what is left now goes last", `
pool p 192.0.2.0/31 192.0.2.3/32 quarantine
left 192.0.2.3
svc a/moves has=192.0.2.0 ips=192.0.2.1
svc a/new
svc a/newer`, "a/new 192.0.2.3\na/newer 192.0.2.0"},
		{"a pool without it", `
pool p 192.0.2.0/30
left 192.0.2.0
svc a/new`, "a/new 192.0.2.0"},
		{"somebody has it again", `
pool p 192.0.2.0/31 quarantine
left 192.0.2.0
svc a/old has=192.0.2.0
svc a/new`, "a/new 192.0.2.1"},
		{"in no pool any more", `
pool p 192.0.2.0/31 quarantine
left 198.51.100.1
svc a/new`, "a/new 192.0.2.0"},
		{"retired", `
pool p 192.0.2.0/31 retired=192.0.2.4/32 quarantine
left 192.0.2.4
svc a/one
svc a/two
svc a/new`, "a/new Pool"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := long(compute(read(t, tt.situation)))
			for want := range strings.Lines(tt.want) {
				if !strings.Contains(got, strings.TrimSpace(want)) {
					t.Errorf("got\n%swant %s", got, want)
				}
			}
		})
	}
}
