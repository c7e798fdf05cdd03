// Package kubetest runs a real etcd and kube-apiserver for tests: on loopback,
// with certificates made in the process, gone with the test binary.
//
// There is no controller manager and no kubelet: nothing makes EndpointSlices or
// removes namespaces, so tests write what those would, and use a namespace each.
package kubetest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

const startTimeout = 90 * time.Second // 4 s on a quiet machine

// Server is a control plane without controllers.
type Server struct {
	// Admin may do everything, and has no rate limit.
	Admin kubernetes.Interface

	dir       string
	binary    string
	pki       *pki
	etcdPort  int
	apiPort   int
	etcd, api *Process
}

var shared struct {
	once   sync.Once
	server *Server
	err    error
}

// Shared is the server of this test binary; the first call starts it. The
// package's TestMain must call Main. Without the Kubernetes binary the test is
// skipped, or fails when CI is "true".
func Shared(t testing.TB) *Server {
	t.Helper()
	shared.once.Do(func() { shared.server, shared.err = start() })
	if errors.Is(shared.err, errNoBinary) && os.Getenv("CI") != "true" {
		t.Skip(shared.err)
	}
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.server
}

// Main runs a package's tests and stops the shared server after them.
func Main(m *testing.M) {
	code := m.Run()
	if shared.server != nil {
		shared.server.stop()
	}
	os.Exit(code)
}

func start() (*Server, error) {
	binary, err := findBinary()
	if err != nil {
		return nil, err
	}
	dir, err := makeDir()
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir, binary: binary}
	if err := s.boot(); err != nil {
		s.stop()
		return nil, fmt.Errorf("test API server: %w", err)
	}
	return s, nil
}

func (s *Server) boot() error {
	var err error
	if s.pki, err = newPKI(s.dir); err != nil {
		return err
	}
	ports, err := freePorts(3)
	if err != nil {
		return err
	}
	s.etcdPort, s.apiPort = ports[0], ports[2]
	client, peer := loopback("http", ports[0]), loopback("http", ports[1])
	s.etcd, err = Spawn(s.file("etcd.log"), nil, s.binary, "etcd",
		"--data-dir="+s.file("etcd"), "--unsafe-no-fsync", "--log-level=warn",
		"--listen-client-urls="+client, "--advertise-client-urls="+client,
		"--listen-peer-urls="+peer, "--initial-advertise-peer-urls="+peer,
		"--initial-cluster=default="+peer)
	if err != nil {
		return err
	}
	if err := s.StartAPI(); err != nil {
		return err
	}
	cfg, err := clientcmd.BuildConfigFromFlags("", s.Kubeconfig("admin", "system:masters"))
	if err != nil {
		return err
	}
	cfg.QPS = -1
	s.Admin, err = kubernetes.NewForConfig(cfg)
	return err
}

// StartAPI starts the API server, after KillAPI, and waits until it is ready.
func (s *Server) StartAPI() error {
	var err error
	s.api, err = Spawn(s.file("apiserver.log"), nil, s.binary, "kube-apiserver",
		"--etcd-servers="+loopback("http", s.etcdPort),
		"--bind-address=127.0.0.1", "--secure-port="+strconv.Itoa(s.apiPort),
		"--endpoint-reconciler-type=none", "--advertise-address=127.0.0.1",
		"--service-cluster-ip-range=10.96.0.0/16,fd00:96::/112",
		"--authorization-mode=Node,RBAC", "--profiling=false",
		"--client-ca-file="+s.pki.file("ca.crt"),
		"--tls-cert-file="+s.pki.file("apiserver.crt"),
		"--tls-private-key-file="+s.pki.file("apiserver.key"),
		"--service-account-key-file="+s.pki.file("ca.key"),
		"--service-account-signing-key-file="+s.pki.file("ca.key"),
		"--service-account-issuer=https://kubernetes.default.svc",
		// the default keeps a dead server's port busy for a minute of shutdown
		"--shutdown-delay-duration=0s")
	if err != nil {
		return err
	}
	if err := s.WaitReady(startTimeout); err != nil || s.Admin == nil {
		return err
	}
	// The connection to the server before is broken, and the first to use it is
	// the one to notice.
	for range 3 {
		if _, err = s.Admin.Discovery().ServerVersion(); err == nil {
			break
		}
	}
	return err
}

// KillAPI ends the API server without a chance to say goodbye (SIGKILL).
func (s *Server) KillAPI() { s.api.Kill() }

// FreezeAPI stops the API server's process without closing its connections, as
// a host that hangs would; thaw undoes it.
func (s *Server) FreezeAPI() (thaw func()) {
	s.api.Signal(syscall.SIGSTOP)
	for end := time.Now().Add(time.Second); !s.api.stopped() && time.Now().Before(end); {
		time.Sleep(time.Millisecond) // a thread on another processor goes on for a moment
	}
	return func() { s.api.Signal(syscall.SIGCONT) }
}

// WaitReady waits until /readyz says ok.
func (s *Server) WaitReady(d time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	client := &http.Client{
		Timeout:   time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.pki.pool()}, DisableKeepAlives: true},
	}
	for {
		res, err := client.Get(loopback("https", s.apiPort) + "/readyz")
		if err == nil {
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return nil
			}
			err = errors.New(res.Status)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not ready after %v: %w; see %s", d, err, s.file("apiserver.log"))
		case <-s.api.Done():
			return fmt.Errorf("kube-apiserver ended; see %s", s.file("apiserver.log"))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (s *Server) stop() {
	s.api.Kill()
	s.etcd.Kill()
	if os.Getenv("HERALD_KUBETEST_KEEP") == "" {
		_ = os.RemoveAll(s.dir)
	}
}

func (s *Server) file(name string) string { return filepath.Join(s.dir, name) }

func loopback(scheme string, port int) string {
	return fmt.Sprintf("%s://127.0.0.1:%d", scheme, port)
}

// freePorts asks the kernel for ports that nobody listens on. Somebody may take
// one before we do, but the kernel hands them out round, so nobody does.
func freePorts(n int) ([]int, error) {
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer func() { _ = l.Close() }() // at the end, or the same port comes twice
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}
