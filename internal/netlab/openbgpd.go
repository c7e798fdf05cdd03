package netlab

import (
	"os"
	"path/filepath"
	"time"
)

// OpenBGPD starts OpenBGPD's bgpd with a configuration, and waits until it listens.
func (n *Node) OpenBGPD(conf string) *Process {
	n.lab.tb.Helper()
	const part = "openbgpd"
	Part(n.lab.tb, part)
	dir := filepath.Join(n.lab.dir, n.Name+"-openbgpd")
	file := filepath.Join(dir, "bgpd.conf")
	err := os.Mkdir(dir, 0o755)
	if err == nil {
		// It refuses a file that others may write.
		err = os.WriteFile(file, []byte(`socket "`+filepath.Join(dir, "ctl")+"\"\n"+conf), 0o600)
	}
	if err != nil {
		n.lab.tb.Fatalf("netlab: OpenBGPD on %s: %v", n.Name, err)
	}
	argv := InPart(part, dir, "/usr/sbin/bgpd", "-d", "-f", file)
	p := n.Start(argv[0], argv[1:]...)
	Eventually(n.lab.tb, 10*time.Second, func() string {
		if !p.Alive() {
			log, _ := os.ReadFile(p.Log)
			n.lab.tb.Fatalf("netlab: OpenBGPD on %s has ended: %s", n.Name, log)
		}
		if _, err := os.Stat(filepath.Join(dir, "ctl")); err != nil {
			return "OpenBGPD on " + n.Name + " does not listen"
		}
		return ""
	})
	return p
}
