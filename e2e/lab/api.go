package lab

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync"
	"time"
)

// A client speaks to one lab's API. Starting kubectl costs 0.1 s each time,
// which is too long for something that is asked in a loop.
type client struct {
	http *http.Client
	url  string
}

var clients sync.Map // by the path of the kubeconfig and its content

var configField = regexp.MustCompile(`(?m)^\s+(server|certificate-authority-data|client-certificate-data|client-key-data): (\S+)$`)

func (l *Lab) client() (*client, error) {
	b, err := os.ReadFile(l.Kubeconfig())
	if err != nil {
		return nil, err
	}
	if c, ok := clients.Load(string(b)); ok {
		return c.(*client), nil
	}
	c, err := newClient(b)
	if err == nil {
		clients.Store(string(b), c)
	}
	return c, err
}

// newClient reads a kubeconfig that this package wrote.
func newClient(kubeconfig []byte) (*client, error) {
	field := map[string]string{}
	for _, m := range configField.FindAllSubmatch(kubeconfig, -1) {
		field[string(m[1])] = string(m[2])
	}
	data := func(name string) []byte {
		b, _ := base64.StdEncoding.DecodeString(field[name])
		return b
	}
	pair, err := tls.X509KeyPair(data("client-certificate-data"), data("client-key-data"))
	if err != nil {
		return nil, fmt.Errorf("read the lab's kubeconfig: %w", err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(data("certificate-authority-data"))
	return &client{
		url: field["server"],
		http: &http.Client{Timeout: 15 * time.Second, Transport: &http.Transport{
			TLSClientConfig:   &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}},
			ForceAttemptHTTP2: true,
		}},
	}, nil
}

// API sends one request to the API server as its administrator. The body, if
// any, is JSON (a merge patch, if the method is PATCH). An answer other than
// 2xx is an error that holds the server's words.
func (l *Lab) API(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	c, err := l.client()
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, c.url+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	if method == http.MethodPatch {
		req.Header.Set("Content-Type", "application/merge-patch+json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode/100 != 2 {
		err = fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, message(answer))
	}
	return answer, err
}

// message returns the words of a Status object, or of anything else the start.
func message(answer []byte) string {
	var status struct{ Message string }
	if json.Unmarshal(answer, &status) == nil && status.Message != "" {
		return status.Message
	}
	return strings.TrimSpace(string(answer[:min(len(answer), 300)]))
}

// Get reads one object or list into a value.
func (l *Lab) Get(ctx context.Context, path string, into any) error {
	b, err := l.API(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, into)
}

// Kubeconfig returns the file that lets the host's kubectl administer the lab.
func (l *Lab) Kubeconfig() string { return l.path("kubeconfig") }

// Kubectl runs kubectl as administrator and returns its standard output.
func (l *Lab) Kubectl(ctx context.Context, args ...string) (string, error) {
	return l.KubectlInput(ctx, "", args...)
}

// KubectlInput is Kubectl with something to read, as for `apply -f -`.
func (l *Lab) KubectlInput(ctx context.Context, stdin string, args ...string) (string, error) {
	return run(ctx, stdin, l.KubectlArgv(args...)...)
}

// KubectlArgv is the command line that Kubectl runs.
func (l *Lab) KubectlArgv(args ...string) []string {
	return append([]string{l.bin("kubectl"), "--kubeconfig=" + l.Kubeconfig(), "--cache-dir=" + l.path("kubectl-cache")}, args...)
}
