package kernel

import (
	"os/exec"
	"strings"
	"testing"
)

// Kind is a kind of link that not every kernel makes.
type Kind struct {
	name    string
	modules []string
	probe   string // arguments of ip link add; there is a veth called v0
}

// The kinds that tests ask for.
var (
	VLAN    = Kind{"vlan", []string{"8021q"}, "link v0 name x0 type vlan id 7"}
	Bond    = Kind{"bond", []string{"bonding"}, "name x0 type bond mode active-backup"}
	Macvlan = Kind{"macvlan", []string{"macvlan"}, "link v0 name x0 type macvlan"}
)

// lacking are those of the kinds that this kernel does not make. Each is tried in
// a namespace that ends with the command.
func lacking(t *testing.T, kinds []Kind) (missing []Kind) {
	t.Helper()
	for _, k := range kinds {
		script := "ip link add v0 type veth peer name v1 && ip link add " + k.probe
		if out, err := exec.Command("unshare", "--net", "sh", "-c", script).CombinedOutput(); err != nil {
			t.Logf("%s: %v: %s", k.name, err, strings.TrimSpace(string(out)))
			missing = append(missing, k)
		}
	}
	return missing
}

func names(kinds []Kind) string {
	var out []string
	for _, k := range kinds {
		out = append(out, k.name)
	}
	return strings.Join(out, ", ")
}
