package nodelet

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// prober runs one probe of one life of a container.
type prober struct {
	probe *corev1.Probe
	check func(context.Context) error
}

// run calls judged whenever as many results of a kind came in a row as the probe
// asks for, until judged returns false or ctx ends.
func (p prober) run(ctx context.Context, judged func(good bool, why error) (goOn bool)) {
	if !sleep(ctx, time.Duration(p.probe.InitialDelaySeconds)*time.Second) {
		return
	}
	tick := time.NewTicker(seconds(p.probe.PeriodSeconds, 10))
	defer tick.Stop()
	p.awaitStart(ctx)
	count := counter{good: atLeastOne(p.probe.SuccessThreshold, 1), bad: atLeastOne(p.probe.FailureThreshold, 3)}
	for {
		err := p.once(ctx)
		if ctx.Err() != nil {
			return
		}
		if count.reached(err == nil) && !judged(err == nil, err) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// startLimit bounds how long a refused first probe is tried again.
const (
	startLimit = 500 * time.Millisecond
	startStep  = 20 * time.Millisecond
)

// awaitStart returns when the container listens, or soon. A pod of the lab is
// probed milliseconds after its start; counting that first refusal would only
// cost it a whole period.
func (p prober) awaitStart(ctx context.Context) {
	begin := time.Now()
	for errors.Is(p.once(ctx), syscall.ECONNREFUSED) && time.Since(begin) < startLimit && sleep(ctx, startStep) {
	}
}

func (p prober) once(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, seconds(p.probe.TimeoutSeconds, 1))
	defer cancel()
	return p.check(ctx)
}

// counter tells when enough results of a kind came in a row.
type counter struct {
	good, bad int // how many are enough
	last      bool
	run       int
}

func (c *counter) reached(result bool) bool {
	if result != c.last {
		c.last, c.run = result, 0
	}
	c.run++
	if result {
		return c.run == c.good
	}
	return c.run == c.bad
}

func atLeastOne(n int32, unset int) int {
	if n <= 0 {
		return unset
	}
	return int(n)
}

func seconds(n int32, unset int) time.Duration {
	return time.Duration(atLeastOne(n, unset)) * time.Second
}

// checkOf returns what a probe does. Probes start from the node, not the pod.
func checkOf(p *corev1.Probe, c *corev1.Container, podIP string) func(context.Context) error {
	switch {
	case p.HTTPGet != nil:
		return func(ctx context.Context) error { return httpGet(ctx, p.HTTPGet, c, podIP) }
	case p.TCPSocket != nil:
		return func(ctx context.Context) error { return tcpOpen(ctx, p.TCPSocket, c, podIP) }
	}
	return func(context.Context) error { return errors.New("only httpGet and tcpSocket probes are supported") }
}

var probeClient = &http.Client{
	Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, // a pod's certificate is its own; kubelets do not verify it
	},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

func httpGet(ctx context.Context, g *corev1.HTTPGetAction, c *corev1.Container, podIP string) error {
	port, err := portNumber(g.Port, c)
	if err != nil {
		return err
	}
	host, scheme := podIP, "http"
	if g.Host != "" {
		host = g.Host
	}
	if g.Scheme == corev1.URISchemeHTTPS {
		scheme = "https"
	}
	url := scheme + "://" + net.JoinHostPort(host, strconv.Itoa(port)) + g.Path
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", "kube-probe/nodelet")
	for _, h := range g.HTTPHeaders {
		req.Header.Set(h.Name, h.Value)
	}
	resp, err := probeClient.Do(req)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode >= 400 {
		return fmt.Errorf("HTTP probe failed with statuscode: %d", resp.StatusCode)
	}
	return nil
}

func tcpOpen(ctx context.Context, g *corev1.TCPSocketAction, c *corev1.Container, podIP string) error {
	port, err := portNumber(g.Port, c)
	if err != nil {
		return err
	}
	host := podIP
	if g.Host != "" {
		host = g.Host
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		return err
	}
	return conn.Close()
}

func portNumber(p intstr.IntOrString, c *corev1.Container) (int, error) {
	if p.Type == intstr.Int {
		return p.IntValue(), nil
	}
	for _, named := range c.Ports {
		if named.Name == p.StrVal {
			return int(named.ContainerPort), nil
		}
	}
	if n, err := strconv.Atoi(p.StrVal); err == nil {
		return n, nil
	}
	return 0, fmt.Errorf("container %s has no port named %s", c.Name, p.StrVal)
}
