package machine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// PauseImage is what holds a pod's namespaces.
const PauseImage = "docker.io/lab/pause:v1"

// Adjusting the score of the out-of-memory killer downwards takes a capability
// that a container as a machine may lack.
const containerdFile = `version = 2
oom_score = 0
[grpc]
  address = "` + socket + `"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "` + PauseImage + `"
  restrict_oom_score_adj = true
  disable_apparmor = true
  tolerate_missing_hugetlb_controller = true
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "/usr/lib/cni"
  conf_dir = "/etc/cni/net.d"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
`

// Each pod has a routed pair of links, as in many real clusters: no bridge.
const cniFile = `{
  "cniVersion": "0.4.0", "name": "lab",
  "plugins": [{
    "type": "ptp", "mtu": 1500,
    "ipam": {
      "type": "host-local",
      "ranges": [[{"subnet": "%s"}], [{"subnet": "%s"}]],
      "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]
    }
  }]
}
`

// What differs from a kubelet's defaults is owed to the machine: its cgroups may
// be of version 1, it may lack CAP_SYS_RESOURCE, its disk is that of all the
// others, and others look after packet filters.
const kubeletFile = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix://` + socket + `
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: ` + clientCA + `}
authorization: {mode: Webhook}
cgroupDriver: cgroupfs
cgroupRoot: /%[1]s
failCgroupV1: false
enforceNodeAllocatable: []
oomScoreAdj: 0
makeIPTablesUtilChains: false
failSwapOn: false
localStorageCapacityIsolation: false
imageGCHighThresholdPercent: 100
evictionHard: {nodefs.available: 0%%, nodefs.inodesFree: 0%%, imagefs.available: 0%%}
featureGates: {KubeletInUserNamespace: true}
resolvConf: ""
maxPods: 250
nodeStatusUpdateFrequency: %[2]s
nodeLeaseDurationSeconds: %[3]d
shutdownGracePeriod: %[4]s
shutdownGracePeriodCriticalPods: %[5]s
`

// How long the kubelet holds a shutdown up, and how much of that is for pods with a
// critical priority, which go last. Speakers are among these and may take 60 s.
const shutdownGrace, criticalGrace = 90 * time.Second, 60 * time.Second

// The kubelet hears of a shutdown from logind, or here from elogind, which is logind
// without systemd. The configuration of a bus for root alone has no policy.
const busFile = `<busconfig>
  <type>system</type>
  <listen>unix:path=` + busSocket + `</listen>
  <policy context="default">
    <allow own="*"/>
    <allow send_type="method_call"/><allow send_type="signal"/><allow send_type="method_return"/><allow send_type="error"/>
    <allow receive_type="method_call"/><allow receive_type="signal"/><allow receive_type="method_return"/><allow receive_type="error"/>
  </policy>
</busconfig>
`

const elogindFile = "[Login]\nInhibitDelayMaxSec=%d\n"

// leasePeriods is how many renewals a lease lasts: the kubelet's own share.
const leasePeriods = 4

// writeFiles writes the machine's configuration below Dir/root.
func writeFiles(c Config) error {
	seconds := max(1, int(leasePeriods*c.Heartbeat.Seconds()))
	files := map[string]string{
		"/etc/dbus.conf":              busFile,
		"/etc/elogind/logind.conf":    fmt.Sprintf(elogindFile, int(shutdownGrace.Seconds())),
		"/etc/hostname":               c.Node + "\n",
		"/etc/hosts":                  "127.0.0.1 localhost\n::1 localhost\n",
		"/etc/containerd/config.toml": containerdFile,
		"/etc/cni/net.d/lab.conflist": fmt.Sprintf(cniFile, c.PodCIDR4, c.PodCIDR6),
		kubeletConfig:                 fmt.Sprintf(kubeletFile, c.Cgroup, c.Heartbeat, seconds, shutdownGrace, criticalGrace),
	}
	for to, from := range map[string]string{kubeconfig: c.Kubeconfig, clientCA: c.CA} {
		b, err := os.ReadFile(from)
		if err != nil {
			return err
		}
		files[to] = string(b)
	}
	root := filepath.Join(c.Dir, "root")
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Join(root, filepath.Dir(busSocket)), 0o755); err != nil {
		return err
	}
	for name, to := range map[string]string{
		"/var/run":       "/run", // containerd keeps pods' network namespaces below it
		"/sbin/poweroff": programs + "/lab",
	} {
		err := os.Symlink(to, filepath.Join(root, name))
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}
