package layer2

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/heraldlb/herald/e2e/lab"
	"github.com/heraldlb/herald/e2e/stage"
)

// secondLinks connects each node to the segment once more, by lan1 with an
// address in a subnet that eth0 has none in. Its MAC tells which link answered.
func secondLinks(t *testing.T) (macs []string) {
	t.Helper()
	lan, err := herald.Netns(t.Context(), "lan")
	must(t, err)
	for i, n := range herald.Nodes() {
		ns, err := herald.Netns(t.Context(), n.Name)
		must(t, err)
		port, mac := n.Name+"b", fmt.Sprintf("02:01:00:00:00:%02x", i+1)
		macs = append(macs, mac)
		t.Cleanup(func() { _, _ = herald.Exec(context.Background(), "lan", "ip", "link", "del", port) })
		for _, argv := range []string{
			"-n " + lan + " link add " + port + " type veth peer name lan1 address " + mac + " netns " + ns,
			"-n " + lan + " link set " + port + " master br0 up",
			"-n " + ns + " link set lan1 up",
			fmt.Sprintf("-n %s addr add 10.79.0.%d/24 dev lan1", ns, 200+i),
		} {
			_, err := herald.Exec(t.Context(), lab.LANClient, append([]string{"ip"}, strings.Fields(argv)...)...)
			must(t, err)
		}
	}
	return macs
}

const twoLinks = `- name: second
  ranges: [10.79.0.0/29]
  autoAssign: false
  announce: [l2]
`

// One Service is answered for on the link that its pool's configuration names,
// on none if that excludes all that would do, and by default on the link in
// whose subnet it is.
func TestAPoolSelectsLinks(t *testing.T) {
	begin(t)
	macs := secondLinks(t)
	configure(t, twoLinks)
	must(t, herald.RunPods(t.Context(), "links", map[string]int{"n1": 1, "n2": 1, "n3": 1}))
	w := openWire(t)
	addrs := many(t, 4, stage.Service{Name: "links", SingleStack: true}, "second")
	w.waitOwners(t, addrs, macs...)

	must(t, herald.Configure(t.Context(), stage.Layer2Config+twoLinks+`  excludeInterfaces: ["lan?"]`))
	w.waitNobody(t, addrs...)
	t.Run("the owner says why nobody answers", func(t *testing.T) { noUsableLink(t, addrs[0]) })

	must(t, herald.Configure(t.Context(), stage.Layer2Config+twoLinks+"  interfaces: [eth0]\n"))
	w.waitOwners(t, addrs, "n1", "n2", "n3")
}

// noUsableLink checks that the owner, and nobody else, has nothing to answer on.
func noUsableLink(t *testing.T, a netip.Addr) {
	var owners []string
	for _, n := range herald.Nodes() {
		for _, d := range decisions(t, n.Name) {
			if d.Addr == a && d.Reason == "NoUsableLink" {
				owners = append(owners, n.Name)
			}
		}
	}
	if len(owners) != 1 {
		t.Errorf("NoUsableLink is what %v say of %s, want one node", owners, a)
	}
}

type decision struct {
	Service string
	Addr    netip.Addr
	Reason  string
	Owner   string
}

// decisions are what the speaker of a node says in /state.
func decisions(t *testing.T, node string) []decision {
	t.Helper()
	out, err := herald.Exec(t.Context(), node, "curl", "-sfm2", "http://127.0.0.1:7473/state")
	must(t, err)
	var state struct {
		Table struct{ Decisions []decision }
	}
	must(t, json.Unmarshal([]byte(out), &state))
	return state.Table.Decisions
}
