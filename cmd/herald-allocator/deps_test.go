package main

import (
	"os/exec"
	"strings"
	"testing"
)

// The allocator needs the API server and nothing else: no raw socket, no BGP, no
// routes of the host.
func TestAllocatorLinksNoNetworkingLibraries(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for dep := range strings.Lines(string(out)) {
		for _, banned := range []string{"osrg/gobgp", "vishvananda/", "mdlayher/", "cilium/ebpf", "hashicorp/memberlist", "herald/speaker", "herald/dataplane"} {
			if strings.Contains(dep, banned) {
				t.Errorf("links %s", strings.TrimSpace(dep))
			}
		}
	}
}
