package lab

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// controllers are those whose work a lab can show. Each one less starts sooner.
var controllers = []string{
	"serviceaccount-token", "serviceaccount", "root-ca-certificate-publisher", "namespace", "endpoints", "endpointslice",
	"endpointslice-mirroring", "node-lifecycle", "taint-eviction", "pod-garbage-collector", "garbage-collector",
	"deployment", "replicaset", "daemonset", "statefulset", "job", "disruption", "clusterrole-aggregation",
}

func (l *Lab) bin(name string) string { return filepath.Join(l.opts.BinDir, name) }

func (l *Lab) startEtcd() error {
	return l.start(daemon{name: "etcd", ns: l.ns(CP), argv: []string{
		l.bin("etcd"), "--name=" + l.opts.Name, "--data-dir=" + l.path("etcd"), "--log-level=warn",
		"--listen-client-urls=http://127.0.0.1:2379", "--advertise-client-urls=http://127.0.0.1:2379",
		"--listen-peer-urls=http://127.0.0.1:2380", "--initial-advertise-peer-urls=http://127.0.0.1:2380",
		"--initial-cluster=" + l.opts.Name + "=http://127.0.0.1:2380",
		"--unsafe-no-fsync", // the lab does not outlive the machine
	}})
}

// StartAPIServer starts the API server, and does not wait until it is ready.
func (l *Lab) StartAPIServer() error {
	pki := func(name string) string { return l.path("pki", name) }
	argv := []string{
		l.bin("kube-apiserver"), "--etcd-servers=http://127.0.0.1:2379", "--secure-port=6443",
		// The endpoint of the Service "kubernetes": the pods' way to us.
		"--advertise-address=" + CP4, "--bind-address=::",
		"--service-cluster-ip-range=" + serviceCIDRs,
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
		"--client-ca-file=" + pki("ca.crt"),
		"--tls-cert-file=" + pki("apiserver.crt"), "--tls-private-key-file=" + pki("apiserver.key"),
		"--requestheader-client-ca-file=" + pki("front-proxy-ca.crt"), "--requestheader-allowed-names=front-proxy",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + pki("sa.key"), "--service-account-signing-key-file=" + pki("sa.key"),
		"--kubelet-preferred-address-types=InternalIP",
		"--kubelet-client-certificate=" + pki("apiserver.crt"), "--kubelet-client-key=" + pki("apiserver.key"),
		"--allow-privileged=true", "--profiling=false",
	}
	return l.start(daemon{name: "kube-apiserver", ns: l.ns(CP), argv: append(argv, l.opts.APIServerArgs...)})
}

// KillAPIServer ends the API server as kill -9 does.
func (l *Lab) KillAPIServer() error { return l.kill("kube-apiserver") }

// WaitAPI waits until the API server says that it is ready.
func (l *Lab) WaitAPI(ctx context.Context) error {
	return waitFor(ctx, time.Minute, "the API server (log: "+l.path("log", "kube-apiserver.log")+")", func() error {
		_, err := l.API(ctx, "GET", "/readyz", nil)
		return err
	})
}

func (l *Lab) startControllers() error {
	var names []string
	for _, c := range controllers {
		names = append(names, c+"-controller")
	}
	conf := l.path("pki", "kube-controller-manager.conf")
	if err := l.start(daemon{name: "kube-controller-manager", ns: l.ns(CP), argv: []string{
		l.bin("kube-controller-manager"), "--kubeconfig=" + conf,
		"--authentication-kubeconfig=" + conf, "--authorization-kubeconfig=" + conf,
		"--use-service-account-credentials=true", "--leader-elect=false", "--allocate-node-cidrs=false",
		"--controllers=" + strings.Join(names, ","), "--bind-address=127.0.0.1",
		"--service-account-private-key-file=" + l.path("pki", "sa.key"), "--root-ca-file=" + l.path("pki", "ca.crt"),
		// The default of 20 requests a second would spread the EndpointSlices of 500
		// new Services over 25 s.
		"--kube-api-qps=500", "--kube-api-burst=1000",
		"--node-monitor-period=1s", "--node-monitor-grace-period=" + l.opts.NodeMonitorGracePeriod.String(),
	}}); err != nil {
		return err
	}
	conf = l.path("pki", "kube-scheduler.conf")
	return l.start(daemon{name: "kube-scheduler", ns: l.ns(CP), argv: []string{
		l.bin("kube-scheduler"), "--kubeconfig=" + conf, "--bind-address=127.0.0.1",
		"--authentication-kubeconfig=" + conf, "--authorization-kubeconfig=" + conf, "--leader-elect=false",
	}})
}

// waitControllers waits for what must be there before a pod may be created.
func (l *Lab) waitControllers(ctx context.Context) error {
	for _, path := range []string{"serviceaccounts/default", "configmaps/kube-root-ca.crt"} {
		err := waitFor(ctx, time.Minute, "the controllers", func() error {
			_, err := l.API(ctx, "GET", "/api/v1/namespaces/default/"+path, nil)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// listen opens the lab's one socket in the host's namespace. It is handed to
// the relay, which lives in the control plane's namespace: a socket stays where
// it was made.
func (l *Lab) listen() (*net.TCPListener, error) {
	ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", l.opts.APIPort))
	if err != nil {
		return nil, fmt.Errorf("lab %s: listen for its API: %w", l.opts.Name, err)
	}
	return ln.(*net.TCPListener), nil
}

func (l *Lab) startRelay(ln *net.TCPListener) error {
	f, err := ln.File()
	if err != nil {
		return err
	}
	defer f.Close()
	return l.start(daemon{
		name: "relay", ns: l.ns(CP), extra: []*os.File{f},
		argv: []string{l.bin("lab"), "relay", CP4 + ":6443"},
	})
}
