package netlab

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// BIRD is a BIRD router on a node.
type BIRD struct {
	*Process
	node   *Node
	socket string
}

// BIRD starts bird with a configuration and waits until it answers.
func (n *Node) BIRD(conf string) *BIRD {
	n.lab.tb.Helper()
	base := filepath.Join(n.lab.dir, n.Name+"-bird")
	if err := os.WriteFile(base+".conf", []byte(conf), 0o644); err != nil {
		n.lab.tb.Fatalf("netlab: %v", err)
	}
	b := &BIRD{node: n, socket: base + ".ctl"}
	b.Process = n.Start("bird", "-f", "-c", base+".conf", "-s", b.socket, "-P", base+".pid")
	Eventually(n.lab.tb, 10*time.Second, func() string {
		if !b.Alive() {
			log, _ := os.ReadFile(b.Log)
			n.lab.tb.Fatalf("netlab: bird on %s has ended: %s", n.Name, log)
		}
		if out := b.Show("show status"); !strings.Contains(out, "Daemon is up") {
			return fmt.Sprintf("bird on %s does not answer: %s", n.Name, out)
		}
		return ""
	})
	return b
}

// Show runs a command in birdc and returns what it prints.
func (b *BIRD) Show(command string) string {
	out, err := run("birdc", append([]string{"-s", b.socket}, strings.Fields(command)...)...)
	if err != nil {
		return err.Error()
	}
	return out
}
