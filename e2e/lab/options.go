package lab

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"time"
)

// DefaultName names the lab that commands mean if no other is named.
const DefaultName = "lab"

// Options say what a lab looks like. The zero value is a good lab.
type Options struct {
	Name  string // empty: "lab"; lower-case letters and digits, at most 12
	Nodes int    // zero: 3; at most 60
	// FarNodes stand on a segment of their own, with its own subnet, behind the
	// same router; as in n3. Only the router leads from one segment to the other.
	FarNodes []string

	ProxyMode string // kube-proxy's: empty: nftables; or iptables
	// The least time between two syncs of kube-proxy; zero: 1s, as in Kubernetes.
	ProxyMinSync time.Duration
	NoProxy      bool // no kube-proxy: Services do not work, not even that of the API

	NodeMonitorGracePeriod time.Duration // zero: 50s, as in Kubernetes
	Heartbeat              time.Duration // of the nodes; zero: 2s
	NodeLabels             map[string]map[string]string
	// Kubelets are the nodes with real containerd and a real kubelet, or All; the
	// others have the stand-in, nodelet.
	Kubelets []string

	Router            string        // a name that Parts lists: frr-... or bird-...; empty: DefaultRouter
	ASN               uint32        // the router's; zero: 64512
	PeerAS            string        // what the router accepts: empty: external; or internal, or a number
	Keepalive         time.Duration // of BGP; zero: 3s
	Hold              time.Duration // of BGP; zero: 9s
	BFD               bool          // the router asks BFD of its peers
	RouterExtraConfig string        // appended to its configuration; in FRR's, it may open `router bgp` again

	APIServerArgs []string // appended, so they win
	APIPort       int      // on the host's loopback; zero: any free one
	BinDir        string   // empty: BinDir() of the module that the caller stands in
	ExtraBinDirs  []string // searched for the programs of pods after BinDir
	BaseDir       string   // empty: $HERALD_LAB_DIR, else /run/herald-lab

	Log io.Writer `json:"-"` // progress, a line for each step; nil: none
}

var nameRE = regexp.MustCompile(`^[a-z0-9]{1,12}$`)

// complete fills in the defaults and refuses what cannot work.
func (o Options) complete() (Options, error) {
	setDefault(&o.Name, DefaultName)
	setDefault(&o.Nodes, 3)
	setDefault(&o.ProxyMode, "nftables")
	setDefault(&o.NodeMonitorGracePeriod, 50*time.Second)
	setDefault(&o.Heartbeat, 2*time.Second)
	setDefault(&o.ProxyMinSync, time.Second)
	setDefault(&o.Router, DefaultRouter)
	setDefault(&o.ASN, 64512)
	setDefault(&o.PeerAS, "external")
	setDefault(&o.Keepalive, 3*time.Second)
	setDefault(&o.Hold, 9*time.Second)
	setDefault(&o.BaseDir, baseDir())
	if o.Log == nil {
		o.Log = io.Discard
	}
	if o.BinDir == "" {
		dir, err := BinDir()
		if err != nil {
			return o, err
		}
		o.BinDir = dir
	}
	return o, o.validate()
}

func (o Options) validate() error {
	if !nameRE.MatchString(o.Name) {
		return fmt.Errorf("lab name %q: use 1 to 12 lower-case letters and digits", o.Name)
	}
	if o.Nodes < 1 || o.Nodes > 60 {
		return fmt.Errorf("lab %s: %d nodes: use 1 to 60", o.Name, o.Nodes)
	}
	for _, name := range o.FarNodes {
		if _, err := (&Lab{opts: o}).Node(name); err != nil {
			return err
		}
	}
	for _, name := range o.Kubelets {
		if _, err := (&Lab{opts: o}).Node(name); err != nil && name != All {
			return err
		}
	}
	if o.ProxyMode != "nftables" && o.ProxyMode != "iptables" {
		return fmt.Errorf("lab %s: proxy mode %q: use nftables or iptables", o.Name, o.ProxyMode)
	}
	// The longest socket below the directory must fit into a sockaddr_un.
	if dir := filepath.Join(o.BaseDir, o.Name); len(dir) > 80 {
		return fmt.Errorf("lab %s: directory %s: too long for sockets in it; use a shorter $HERALD_LAB_DIR", o.Name, dir)
	}
	return nil
}

func baseDir() string {
	if d := os.Getenv("HERALD_LAB_DIR"); d != "" {
		return d
	}
	return "/run/herald-lab"
}

func setDefault[T comparable](v *T, to T) {
	var zero T
	if *v == zero {
		*v = to
	}
}
