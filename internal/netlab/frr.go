package netlab

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// FRR is a router of FRR's daemons on a node.
type FRR struct {
	Zebra, BGP *Process
	node       *Node
	part, dir  string
}

// FRR starts zebra and bgpd of the default release with bgpd's configuration, and
// mgmtd where the release has it. It waits until all answer.
func (n *Node) FRR(conf string) *FRR {
	n.lab.tb.Helper()
	return n.FRROf(DefaultFRR, conf)
}

// FRROf is FRR of one of FRRs.
func (n *Node) FRROf(part, conf string) *FRR {
	n.lab.tb.Helper()
	root := Part(n.lab.tb, part)
	r := &FRR{node: n, part: part, dir: filepath.Join(n.lab.dir, n.Name+"-frr")}
	if err := r.prepare(conf); err != nil {
		n.lab.tb.Fatalf("netlab: FRR on %s: %v", n.Name, err)
	}
	// Since FRR 9 vtysh sends what concerns interfaces to mgmtd.
	if _, err := os.Stat(filepath.Join(root, "usr/lib/frr/mgmtd")); err == nil {
		r.start("mgmtd")
	}
	r.Zebra = r.start("zebra")
	r.StartBGP()
	return r
}

func (r *FRR) prepare(conf string) error {
	if err := os.Mkdir(r.dir, 0o755); err != nil {
		return err
	}
	for name, text := range map[string]string{"zebra.conf": "", "bgpd.conf": conf, "vtysh.conf": ""} {
		if err := r.write(name, text); err != nil {
			return err
		}
	}
	return nil
}

func (r *FRR) write(name, text string) error {
	return os.WriteFile(filepath.Join(r.dir, name), []byte(text), 0o644)
}

// start starts one daemon, and waits until it answers.
func (r *FRR) start(name string) *Process {
	r.node.lab.tb.Helper()
	args := []string{
		"-N", r.node.NS, "--vty_socket", r.dir, "-z", filepath.Join(r.dir, "zserv.api"),
		"-i", filepath.Join(r.dir, name+".pid"), "--log", "stdout",
	}
	if name != "mgmtd" { // which has none
		args = append(args, "-f", filepath.Join(r.dir, name+".conf"))
	}
	argv := InPart(r.part, r.dir, "/usr/lib/frr/"+name, args...)
	p := r.node.Start(argv[0], argv[1:]...)
	r.await(name, p)
	return p
}

// vtysh runs FRR's shell, which needs no network.
func (r *FRR) vtysh(args ...string) (string, error) {
	argv := InPart(r.part, r.dir, "/usr/bin/vtysh", append([]string{"--vty_socket", r.dir, "--config_dir", r.dir}, args...)...)
	return run(argv[0], argv[1:]...)
}

func (r *FRR) await(name string, p *Process) {
	r.node.lab.tb.Helper()
	Eventually(r.node.lab.tb, 10*time.Second, func() string {
		out, err := r.vtysh("-d", name, "-c", "show version")
		if err != nil && !p.Alive() {
			log, _ := os.ReadFile(p.Log)
			r.node.lab.tb.Fatalf("netlab: %s on %s has ended: %s", name, r.node.Name, log)
		}
		if err != nil || !strings.Contains(out, "FRRouting") {
			return fmt.Sprintf("%s on %s does not answer: %v", name, r.node.Name, err)
		}
		return ""
	})
}

// StartBGP starts bgpd again after it was killed.
func (r *FRR) StartBGP() {
	r.node.lab.tb.Helper()
	r.BGP = r.start("bgpd")
}

// StartBFD starts bfdd with its configuration.
func (r *FRR) StartBFD(conf string) *Process {
	r.node.lab.tb.Helper()
	if err := r.write("bfdd.conf", conf); err != nil {
		r.node.lab.tb.Fatalf("netlab: FRR on %s: %v", r.node.Name, err)
	}
	return r.start("bfdd")
}

// Show runs a command in vtysh and returns what it prints.
func (r *FRR) Show(command string) string {
	out, err := r.vtysh("-c", command)
	if err != nil {
		return fmt.Sprintf("%s: %v", command, err)
	}
	return out
}

// ShowJSON runs a command whose output is JSON, and decodes it into v.
func (r *FRR) ShowJSON(command string, v any) error {
	out := r.Show(command)
	if err := json.Unmarshal([]byte(out), v); err != nil {
		return fmt.Errorf("%s: %w in: %.200s", command, err, out)
	}
	return nil
}

// Configure runs configuration commands in vtysh, one in each line.
func (r *FRR) Configure(lines ...string) {
	r.node.lab.tb.Helper()
	args := []string{"-c", "configure terminal"}
	for _, l := range lines {
		args = append(args, "-c", l)
	}
	if _, err := r.vtysh(args...); err != nil {
		r.node.lab.tb.Fatalf("netlab: FRR on %s: %v", r.node.Name, err)
	}
}

// Load feeds a configuration to the daemons by vtysh, as an operator would, and
// returns what it complains of.
func (r *FRR) Load(conf string) error {
	file := filepath.Join(r.dir, "load.conf")
	if err := os.WriteFile(file, []byte(conf), 0o644); err != nil {
		return err
	}
	out, err := r.vtysh("-f", file)
	if err == nil && strings.Contains(out, "%") {
		err = errors.New(out)
	}
	return err
}
