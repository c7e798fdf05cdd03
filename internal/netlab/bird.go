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
	node      *Node
	part, dir string
}

// BIRD starts bird of the default release with a configuration and waits until it
// answers.
func (n *Node) BIRD(conf string) *BIRD {
	n.lab.tb.Helper()
	return n.BIRDOf(DefaultBIRD, conf)
}

// BIRDOf is BIRD of one of BIRDs.
func (n *Node) BIRDOf(part, conf string) *BIRD {
	n.lab.tb.Helper()
	Part(n.lab.tb, part)
	b := &BIRD{node: n, part: part, dir: filepath.Join(n.lab.dir, n.Name+"-bird")}
	err := os.Mkdir(b.dir, 0o755)
	if err == nil {
		err = os.WriteFile(filepath.Join(b.dir, "bird.conf"), []byte(conf), 0o644)
	}
	if err != nil {
		n.lab.tb.Fatalf("netlab: BIRD on %s: %v", n.Name, err)
	}
	argv := InPart(part, b.dir, "/usr/sbin/bird", "-f", "-c", filepath.Join(b.dir, "bird.conf"), "-s", b.socket(), "-P", filepath.Join(b.dir, "pid"))
	b.Process = n.Start(argv[0], argv[1:]...)
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
	argv := InPart(b.part, b.dir, "/usr/sbin/birdc", append([]string{"-s", b.socket()}, strings.Fields(command)...)...)
	out, err := run(argv[0], argv[1:]...)
	if err != nil {
		return err.Error()
	}
	return out
}

func (b *BIRD) socket() string { return filepath.Join(b.dir, "ctl") }
