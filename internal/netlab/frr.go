package netlab

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// FRR is a router of FRR's daemons on a node.
type FRR struct {
	Zebra, BGP *Process
	node       *Node
	dir        string
}

// FRR starts zebra and bgpd with bgpd's configuration, and waits until both
// answer.
func (n *Node) FRR(conf string) *FRR {
	n.lab.tb.Helper()
	r := &FRR{node: n, dir: filepath.Join(n.lab.dir, n.Name+"-frr")}
	if err := r.prepare(conf); err != nil {
		n.lab.tb.Fatalf("netlab: FRR on %s: %v", n.Name, err)
	}
	r.Zebra = r.start("/usr/lib/frr/zebra", "zebra")
	r.StartBGP()
	return r
}

// prepare makes a directory that the daemons, who run as the user frr, can use.
func (r *FRR) prepare(conf string) error {
	if err := os.Mkdir(r.dir, 0o755); err != nil {
		return err
	}
	for name, text := range map[string]string{"zebra.conf": "", "bgpd.conf": conf, "vtysh.conf": ""} {
		if err := r.write(name, text); err != nil {
			return err
		}
	}
	return r.own(r.dir)
}

func (r *FRR) write(name, text string) error {
	file := filepath.Join(r.dir, name)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		return err
	}
	return r.own(file)
}

// own gives a file to the daemons.
func (r *FRR) own(file string) error {
	frr, err := user.Lookup("frr")
	if err != nil {
		return fmt.Errorf("FRR is not installed: %w", err)
	}
	uid, _ := strconv.Atoi(frr.Uid)
	gid, _ := strconv.Atoi(frr.Gid)
	return os.Chown(file, uid, gid)
}

// start starts one daemon. bgpd is named with its path because other packages
// install a /usr/sbin/bgpd.
func (r *FRR) start(path, name string, args ...string) *Process {
	r.node.lab.tb.Helper()
	p := r.node.Start(path, append([]string{
		"-N", r.node.NS, "--vty_socket", r.dir, "-z", filepath.Join(r.dir, "zserv.api"),
		"-f", filepath.Join(r.dir, name+".conf"), "-i", filepath.Join(r.dir, name+".pid"), "--log", "stdout",
	}, args...)...)
	r.node.lab.tb.Cleanup(func() { removeCrashLogs(name, p.PID()) })
	r.await(name, p)
	return p
}

func (r *FRR) await(name string, p *Process) {
	r.node.lab.tb.Helper()
	Eventually(r.node.lab.tb, 10*time.Second, func() string {
		out, err := run("vtysh", "--vty_socket", r.dir, "--config_dir", r.dir, "-d", name, "-c", "show version")
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
	r.BGP = r.start("/usr/lib/frr/bgpd", "bgpd")
}

// StartBFD starts bfdd with its configuration.
func (r *FRR) StartBFD(conf string) *Process {
	r.node.lab.tb.Helper()
	if err := r.write("bfdd.conf", conf); err != nil {
		r.node.lab.tb.Fatalf("netlab: FRR on %s: %v", r.node.Name, err)
	}
	return r.start("/usr/lib/frr/bfdd", "bfdd", "--bfdctl", filepath.Join(r.dir, "bfdd.sock"))
}

// Show runs a command in vtysh and returns what it prints.
func (r *FRR) Show(command string) string {
	out, err := exec.Command("vtysh", "--vty_socket", r.dir, "--config_dir", r.dir, "-c", command).CombinedOutput()
	if err != nil {
		return fmt.Sprintf("%s: %v: %s", command, err, out)
	}
	return string(out)
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
	args := []string{"--vty_socket", r.dir, "--config_dir", r.dir, "-c", "configure terminal"}
	for _, l := range lines {
		args = append(args, "-c", l)
	}
	if _, err := run("vtysh", args...); err != nil {
		r.node.lab.tb.Fatalf("netlab: FRR on %s: %v", r.node.Name, err)
	}
}

// removeCrashLogs removes what an FRR daemon writes to a fixed place in case it
// should crash.
func removeCrashLogs(name string, pid int) {
	left, _ := filepath.Glob(fmt.Sprintf("/var/tmp/frr/%s*.%d", name, pid))
	for _, dir := range left {
		_ = os.RemoveAll(dir)
	}
}
