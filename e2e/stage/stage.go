// Package stage installs Herald on a lab as a user would: by kubectl apply -k
// of manifests/ and a ConfigMap. The demo, the benchmark and the tests stand on
// it.
package stage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/heraldlb/herald/e2e/lab"
)

// Config is the configuration that a lab's router fits: pools within the lab's
// range of addresses, and the router as the one peer. Changes of weight are
// damped by seconds instead of minutes, so that tests see them.
const Config = `apiVersion: heraldlb.io/v1
pools:
- name: public
  ranges: [10.99.16.0/20, fd99:1::/112]
- name: tiny
  ranges: [10.99.1.1-10.99.1.1]
  autoAssign: false
peers:
- name: router
  address: ` + lab.Router4 + `
  asn: 64512
  holdTime: 9s
  keepaliveTime: 3s
bgp:
  asn: 64513
  weights: {interval: 4s, minChange: 25, decreaseDelay: 2s, settleTime: 3s}
`

// Stage is Herald on a lab.
type Stage struct {
	*lab.Lab
}

// Install applies manifests/base and a configuration, and waits until every
// replica runs and every speaker's session is up.
func Install(ctx context.Context, l *lab.Lab, config string) (*Stage, error) {
	return InstallFrom(ctx, l, "base", config)
}

// InstallFrom is Install with another folder of manifests/, one that needs no key.
func InstallFrom(ctx context.Context, l *lab.Lab, folder, config string) (*Stage, error) {
	s := &Stage{l}
	if err := s.Manifests(ctx, folder); err != nil {
		return nil, err
	}
	if err := s.Configure(ctx, config); err != nil {
		return nil, err
	}
	return s, s.WaitInstalled(ctx)
}

// Manifests applies a folder of manifests/.
func (s *Stage) Manifests(ctx context.Context, folder string) error {
	dir, err := manifests()
	if err != nil {
		return err
	}
	_, err = s.Kubectl(ctx, "apply", "-k", filepath.Join(dir, folder))
	return err
}

// WaitInstalled waits until every replica runs and every session is up.
func (s *Stage) WaitInstalled(ctx context.Context) error {
	if err := s.WaitReplicas(ctx); err != nil {
		return err
	}
	return Wait(ctx, 20*time.Second, func() error {
		out, err := s.Vtysh(ctx, "show bgp summary json")
		if err != nil {
			return err
		}
		if n := strings.Count(out, `"state":"Established"`); n < len(s.Nodes()) {
			return fmt.Errorf("the router has %d sessions established, want %d", n, len(s.Nodes()))
		}
		return nil
	})
}

// WaitReplicas waits until every replica runs.
func (s *Stage) WaitReplicas(ctx context.Context) error {
	for _, what := range []string{"deployment/herald-allocator", "daemonset/herald-speaker"} {
		if _, err := s.Kubectl(ctx, "-n", "herald-system", "rollout", "status", what, "--timeout=3m"); err != nil {
			return err
		}
	}
	return nil
}

func manifests() (string, error) {
	dir, err := lab.ModuleDir()
	return filepath.Join(filepath.Dir(dir), "manifests"), err
}

// Configure applies the ConfigMap herald.
func (s *Stage) Configure(ctx context.Context, text string) error {
	m := object{
		"apiVersion": "v1", "kind": "ConfigMap",
		"metadata": object{"name": "herald", "namespace": "herald-system"},
		"data":     object{"config.yaml": text},
	}
	return s.apply(ctx, m)
}

type object map[string]any

func (s *Stage) apply(ctx context.Context, o object) error {
	body, err := json.Marshal(o)
	if err != nil {
		return err
	}
	_, err = s.KubectlInput(ctx, string(body), "apply", "-f", "-")
	return err
}

// Service is a Service to create. Its selector is app=Name.
type Service struct {
	Name        string
	Cluster     bool // externalTrafficPolicy; false: Local
	SingleStack bool // IPv4 only; false: RequireDualStack
	Annotations map[string]string
	Unproxied   bool   // kube-proxy leaves it alone, and it has no node ports
	App         string // of the selector; empty: Name
	Protocol    string // TCP or UDP; empty: both
}

// Manifest has port 80, to port 8080 of the pods.
func (v Service) Manifest() any {
	policy, families := "Local", object{"ipFamilyPolicy": "RequireDualStack", "ipFamilies": []string{"IPv4", "IPv6"}}
	if v.Cluster {
		policy = "Cluster"
	}
	if v.SingleStack {
		families = object{"ipFamilyPolicy": "SingleStack", "ipFamilies": []string{"IPv4"}}
	}
	app := v.App
	if app == "" {
		app = v.Name
	}
	spec := object{
		"type": "LoadBalancer", "externalTrafficPolicy": policy, "selector": object{"app": app},
		"ports": v.ports(),
	}
	for k, v := range families {
		spec[k] = v
	}
	labels := object{}
	if v.Unproxied {
		labels["service.kubernetes.io/service-proxy-name"] = "none"
		spec["allocateLoadBalancerNodePorts"] = false
	}
	return object{
		"apiVersion": "v1", "kind": "Service",
		"metadata": object{"name": v.Name, "namespace": "default", "annotations": v.Annotations, "labels": labels},
		"spec":     spec,
	}
}

func (v Service) ports() (ports []object) {
	for _, proto := range []string{"TCP", "UDP"} {
		if v.Protocol == "" || v.Protocol == proto {
			ports = append(ports, object{"name": strings.ToLower(proto), "protocol": proto, "port": 80, "targetPort": 8080})
		}
	}
	return ports
}

// Create creates a Service through the API, without kubectl's start-up time.
func (s *Stage) Create(ctx context.Context, v Service) error {
	body, err := json.Marshal(v.Manifest())
	if err != nil {
		return err
	}
	_, err = s.API(ctx, "POST", servicesPath, body)
	return err
}

// Delete deletes a Service.
func (s *Stage) Delete(ctx context.Context, name string) error {
	_, err := s.API(ctx, "DELETE", servicesPath+"/"+name, nil)
	return err
}

const servicesPath = "/api/v1/namespaces/default/services"

// Status is what the API says of a Service.
type Status struct {
	Metadata struct{ Name string }
	Status   struct {
		LoadBalancer struct {
			Ingress []struct {
				IP     netip.Addr
				IPMode string
			}
		}
		Conditions []struct{ Type, Status, Reason, Message string }
	}
}

// Addrs are the addresses in the status.
func (v Status) Addrs() []netip.Addr {
	var out []netip.Addr
	for _, i := range v.Status.LoadBalancer.Ingress {
		out = append(out, i.IP)
	}
	return out
}

// Reason is that of Herald's condition.
func (v Status) Reason() string {
	for _, c := range v.Status.Conditions {
		if c.Type == "heraldlb.io/Allocated" {
			return c.Reason
		}
	}
	return ""
}

// Status reads one Service.
func (s *Stage) Status(ctx context.Context, name string) (Status, error) {
	var v Status
	return v, s.Get(ctx, servicesPath+"/"+name, &v)
}

// Statuses reads all Services of the namespace default.
func (s *Stage) Statuses(ctx context.Context) ([]Status, error) {
	var list struct{ Items []Status }
	return list.Items, s.Get(ctx, servicesPath, &list)
}

// WaitAddrs waits until a Service has n addresses, for 10 s at most.
func (s *Stage) WaitAddrs(ctx context.Context, name string, n int) ([]netip.Addr, error) {
	return s.WaitAddrsWithin(ctx, 10*time.Second, name, n)
}

// WaitAddrsWithin waits until a Service has n addresses.
func (s *Stage) WaitAddrsWithin(ctx context.Context, atMost time.Duration, name string, n int) ([]netip.Addr, error) {
	var addrs []netip.Addr
	err := Wait(ctx, atMost, func() error {
		v, err := s.Status(ctx, name)
		if err != nil {
			return err
		}
		if addrs = v.Addrs(); len(addrs) != n {
			return fmt.Errorf("addresses of Service %s: %v (%s), want %d", name, addrs, v.Reason(), n)
		}
		return nil
	})
	return addrs, err
}

// RunPods runs pods NODE times COUNT, named NAME-NODE-NUMBER and labelled
// app=NAME, and waits until they are ready.
func (s *Stage) RunPods(ctx context.Context, name string, perNode map[string]int) error {
	var names []string
	for node, count := range perNode {
		for i := range count {
			pod := fmt.Sprintf("%s-%s-%d", name, node, i)
			if err := s.RunPod(ctx, lab.PodSpec{Name: pod, Node: node, Labels: map[string]string{"app": name}}); err != nil {
				return err
			}
			names = append(names, pod)
		}
	}
	return s.WaitPods(ctx, 60*time.Second, names...)
}

// Host is the host prefix of an address.
func Host(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// Weights are the kernel weights of the router's route to an address, by node.
func (s *Stage) Weights(ctx context.Context, a netip.Addr) (map[string]int, error) {
	hops, err := s.RouterRoute(ctx, Host(a))
	if err != nil {
		return nil, err
	}
	out := map[string]int{}
	for _, h := range hops {
		out[s.nodeOf(h.Via)] = h.Weight
	}
	return out, nil
}

func (s *Stage) nodeOf(a netip.Addr) string {
	for _, n := range s.Nodes() {
		if n.Addr4 == a.String() || n.Addr6 == a.String() {
			return n.Name
		}
	}
	return a.String()
}

// roundingOf is how far a router's own rounding may move a node's share: FRR 8
// writes whole percents.
const roundingOf = 0.011

// WaitWeights waits until the router's route to an address has weights in this
// proportion; an empty map: until there is no route.
func (s *Stage) WaitWeights(ctx context.Context, atMost time.Duration, a netip.Addr, want map[string]int) error {
	return Wait(ctx, atMost, func() error {
		got, err := s.Weights(ctx, a)
		if err != nil {
			return err
		}
		if len(got) != len(want) {
			return fmt.Errorf("the router's route to %s has next hops %v, want %v", a, got, want)
		}
		sum := func(m map[string]int) (n int) {
			for _, w := range m {
				n += w
			}
			return n
		}
		for node, w := range want {
			share, ideal := float64(got[node])/float64(sum(got)), float64(w)/float64(sum(want))
			if math.Abs(share-ideal) > roundingOf {
				return fmt.Errorf("the router's route to %s has weights %v, want them as %v", a, got, want)
			}
		}
		return nil
	})
}

// Run runs a program of the lab in a place and decodes the JSON that it prints.
func (s *Stage) Run(ctx context.Context, place string, into any, argv ...string) error {
	bin, err := lab.BinDir()
	if err != nil {
		return err
	}
	argv[0] = filepath.Join(bin, argv[0])
	out, err := s.Exec(ctx, place, argv...)
	// Some programs report failed flows by their exit status, after the JSON.
	if jsonErr := json.Unmarshal([]byte(lastLines(out)), into); jsonErr != nil {
		return errors.Join(err, fmt.Errorf("%s: %w in %q", strings.Join(argv, " "), jsonErr, out))
	}
	return nil
}

func lastLines(out string) string {
	if i := strings.IndexByte(out, '{'); i > 0 {
		return out[i:]
	}
	return out
}

// SpeakerOn is the speaker's pod on a node, as namespace/name.
func (s *Stage) SpeakerOn(ctx context.Context, node string) (string, error) {
	pods, err := s.Pods(ctx)
	if err != nil {
		return "", err
	}
	for _, p := range pods {
		if p.Node == node && strings.HasPrefix(p.Name, "herald-speaker") && !p.Terminating {
			return p.Namespace + "/" + p.Name, nil
		}
	}
	return "", fmt.Errorf("no speaker runs on %s", node)
}

// HeraldPods are the pods of a component, allocator or speaker, sorted, as NAMESPACE/NAME.
func (s *Stage) HeraldPods(ctx context.Context, component string) ([]string, error) {
	pods, err := s.Pods(ctx)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, p := range pods {
		if p.Namespace == "herald-system" && strings.HasPrefix(p.Name, "herald-"+component) && !p.Terminating {
			out = append(out, p.Namespace+"/"+p.Name)
		}
	}
	slices.Sort(out)
	return out, nil
}

// Wait polls until check returns nil, and returns its last error after atMost.
func Wait(ctx context.Context, atMost time.Duration, check func() error) error {
	ctx, cancel := context.WithTimeout(ctx, atMost)
	defer cancel()
	for {
		err := check()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("after %s: %w", atMost, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Say writes a line of progress with the time since begin.
func Say(w io.Writer, begin time.Time, format string, args ...any) {
	fmt.Fprintf(w, "%6.1fs  %s\n", time.Since(begin).Seconds(), fmt.Sprintf(format, args...))
}
