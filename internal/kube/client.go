package kube

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Manager is the field manager of everything that Herald applies. It is API:
// after a rename the old manager's fields would stay for ever.
const Manager = "herald-allocator"

// Options say how to reach the API server.
type Options struct {
	Kubeconfig string       // files, separated as in $PATH; empty: the service account of the pod
	Context    string       // of Kubeconfig; empty: its current one
	Namespace  string       // required; where Herald's own objects are
	UserAgent  string       // required; also names the sender of Events
	Log        *slog.Logger // nil: discard
}

// Client speaks to one API server. It holds no state of the cluster.
type Client struct {
	api       kubernetes.Interface
	namespace string
	name      string
	log       *slog.Logger
	events    *events
}

// New checks the options and reads credentials. It does not connect.
func New(o Options) (*Client, error) {
	if o.Namespace == "" || o.UserAgent == "" {
		return nil, errors.New("kube: options: namespace and user agent are required")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	cfg, err := restConfig(o.Kubeconfig, o.Context)
	if err != nil {
		return nil, err
	}
	tune(cfg)
	cfg.UserAgent = o.UserAgent
	api, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("kubernetes client: %w", err)
	}
	return &Client{
		api:       api,
		namespace: o.Namespace,
		name:      o.UserAgent,
		log:       o.Log,
		events:    newEvents(api, o.UserAgent, o.Log),
	}, nil
}

// Namespace is where Herald's own objects are.
func (c *Client) Namespace() string { return c.namespace }

func restConfig(kubeconfig, context string) (*rest.Config, error) {
	if kubeconfig == "" {
		cfg, err := rest.InClusterConfig()
		if err != nil {
			return nil, fmt.Errorf("service account of the pod: %w", err)
		}
		return cfg, nil
	}
	cfg, err := clientConfig(kubeconfig, context).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("kubeconfig %s: %w", kubeconfig, err)
	}
	return cfg, nil
}

// clientConfig reads kubeconfig files as kubectl does: of several those that are
// missing are passed over, and the first that sets something counts.
func clientConfig(kubeconfig, context string) clientcmd.ClientConfig {
	rules := &clientcmd.ClientConfigLoadingRules{ExplicitPath: kubeconfig}
	if list := filepath.SplitList(kubeconfig); len(list) > 1 {
		rules = &clientcmd.ClientConfigLoadingRules{Precedence: list}
	}
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: context})
}

// NamespaceOf is the namespace that a context of kubeconfig files is for, or default.
func NamespaceOf(kubeconfig, context string) string {
	ns, _, err := clientConfig(kubeconfig, context).Namespace()
	if err != nil || ns == "" {
		return "default"
	}
	return ns
}

// tune makes the client fast, and quick to notice a server that has gone.
func tune(cfg *rest.Config) {
	// client-go's own limit is 5 requests a second: 500 new Services would wait
	// 100 s for their addresses. The server has priority and fairness.
	cfg.QPS = -1
	cfg.ContentType = runtime.ContentTypeProtobuf
	cfg.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON

	// A server that vanished without a word (its host lost power) answers neither
	// a ping on the old connection nor a new one; the defaults notice after 45 s
	// and 30 s. client-go reads the first two from the environment only.
	setDefaultEnv("HTTP2_READ_IDLE_TIMEOUT_SECONDS", "3")
	setDefaultEnv("HTTP2_PING_TIMEOUT_SECONDS", "3")
	cfg.Dial = (&net.Dialer{Timeout: 3 * time.Second, KeepAlive: 15 * time.Second}).DialContext
}

func setDefaultEnv(key, value string) {
	if _, set := os.LookupEnv(key); !set {
		_ = os.Setenv(key, value) // fails only for a malformed key
	}
}
