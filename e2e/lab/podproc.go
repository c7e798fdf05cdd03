package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// A podRecord is what a nodelet writes down of a pod, so that it can be found
// while the API is away.
type podRecord struct {
	Namespace string
	Name      string
	NetNS     string // empty: the node's
	node      string
	dir       string
}

// podRecord finds the record of NAMESPACE/NAME, or of NAME in default.
func (l *Lab) podRecord(pod string) (podRecord, error) {
	ns, name := splitPod(pod)
	files, _ := filepath.Glob(l.path("nodes", "*", "pods", "*", "pod.json"))
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			continue // removed meanwhile
		}
		var r podRecord
		if json.Unmarshal(b, &r) != nil || r.Namespace != ns || r.Name != name {
			continue
		}
		r.dir = filepath.Dir(f)
		r.node = filepath.Base(filepath.Dir(filepath.Dir(r.dir)))
		return r, nil
	}
	return podRecord{}, fmt.Errorf("pod %s/%s: no node runs it", ns, name)
}

func (l *Lab) podNetns(ctx context.Context, pod string) (string, error) {
	r, err := l.podRecord(pod)
	if err != nil && len(l.opts.Kubelets) > 0 {
		pause, _, err := l.machinePod(pod)
		return fmt.Sprintf("/proc/%d/ns/net", pause), err
	}
	if err != nil {
		return "", err
	}
	if r.NetNS == "" {
		return l.Netns(ctx, r.node)
	}
	return r.NetNS, nil
}

// PodPIDs returns the first process of each container of a pod, as the machine
// numbers them.
func (l *Lab) PodPIDs(pod string) ([]int, error) {
	r, err := l.podRecord(pod)
	if err != nil && len(l.opts.Kubelets) > 0 {
		_, pids, err := l.machinePod(pod)
		if err == nil && len(pids) == 0 {
			err = errors.New("pod " + pod + ": no process of it runs")
		}
		return pids, err
	}
	if err != nil {
		return nil, err
	}
	files, _ := filepath.Glob(filepath.Join(r.dir, "*.pid"))
	var pids []int
	for _, f := range files {
		var p proc
		b, _ := os.ReadFile(f)
		if _, err := fmt.Fscan(strings.NewReader(string(b)), &p.PID, &p.Start); err == nil && p.alive() {
			pids = append(pids, p.PID)
		}
	}
	if len(pids) == 0 {
		return nil, errors.New("pod " + pod + ": no process of it runs")
	}
	return pids, nil
}

// KillPod ends a pod's processes as kill -9 does: with the first process of a
// container end all its others.
func (l *Lab) KillPod(pod string) error {
	pids, err := l.PodPIDs(pod)
	if err != nil {
		return err
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("pod %s: kill process %d: %w", pod, pid, err)
		}
	}
	return nil
}
