package forwarding

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// answer is what kube-proxy said about one target.
type answer struct {
	weight int // -1: not told

	// Of a Service with a port of its own.
	own    bool
	status int
	err    error

	proxy proxy
}

// proxy is the whole of kube-proxy.
type proxy struct {
	heard   bool // it said something
	healthy bool
	why     string
	told    bool          // whether metrics told the next
	behind  bool          // it has been told what it has not written yet
	age     time.Duration // since it has written last
}

// heard tells whether anybody said anything.
func (a answer) heard() bool { return a.own && a.err == nil || a.proxy.heard }

// forwards judges an answer about a target that has been wanted for so long.
func (a answer) forwards(wanted time.Duration) (bool, string) {
	switch {
	case a.own && a.err != nil && (wanted < ownFor || !a.proxy.healthy):
		return false, "kube-proxy does not answer on the Service's healthCheckNodePort: " + a.err.Error()
	case a.own && a.err == nil && a.status != http.StatusOK:
		return false, fmt.Sprintf("kube-proxy answers %d on the Service's healthCheckNodePort: it has no ready endpoint on this node in its rules", a.status)
	case a.own && a.err == nil:
		return true, ""
	default:
		return a.proxy.wrote(wanted)
	}
}

// wrote judges whether kube-proxy has written what we heard of so long ago.
func (p proxy) wrote(heard time.Duration) (bool, string) {
	switch {
	case !p.healthy:
		return false, p.why
	// Where something changes all the time it is always behind; what it wrote long
	// after we heard of the Service has the Service in it.
	case p.told && p.behind && heard-p.age < blindFor:
		return false, "kube-proxy has changes to write yet"
	case p.told && heard >= calmFor, heard >= blindFor:
		return true, ""
	default:
		return false, "kube-proxy may not have heard of the Service yet"
	}
}

// depth is what is asked of the whole of kube-proxy.
type depth int

const (
	nothing depth = iota
	life          // whether it is alive
	work          // and whether it has written what it was told, which costs it milliseconds
)

// ask asks about all targets, a few at a time, and about the whole of kube-proxy.
func (p *Prober) ask(ctx context.Context, due []Target, d depth) (map[Key]answer, proxy) {
	var whole proxy
	if d != nothing {
		whole = p.askProxy(ctx, d)
	}
	answers := make(map[Key]answer, len(due))
	var mu sync.Mutex
	var wg sync.WaitGroup
	tokens := make(chan struct{}, 16)
	for _, t := range due {
		if !t.Health.IsValid() {
			mu.Lock()
			answers[t.Key] = answer{weight: -1, proxy: whole}
			mu.Unlock()
			continue
		}
		tokens <- struct{}{}
		wg.Go(func() {
			a := p.askService(ctx, t)
			a.proxy = whole
			mu.Lock()
			answers[t.Key] = a
			mu.Unlock()
			<-tokens
		})
	}
	wg.Wait()
	return answers, whole
}

// weightHeader is that of KEP-3836.
const weightHeader = "X-Load-Balancing-Endpoint-Weight"

func (p *Prober) askService(ctx context.Context, t Target) answer {
	a := answer{own: true, weight: -1}
	r, err := p.client.get(ctx, "http://"+t.Health.String()+"/")
	if err != nil {
		a.err = err
		return a
	}
	defer r.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, 4096)) // what it says in words is not needed
	a.status = r.StatusCode
	if n, err := strconv.Atoi(r.Header.Get(weightHeader)); err == nil {
		a.weight = n
	}
	return a
}

func (p *Prober) askProxy(ctx context.Context, d depth) proxy {
	r, err := p.client.get(ctx, p.o.Healthz)
	if err != nil {
		return proxy{why: "kube-proxy's healthz does not answer: " + err.Error()}
	}
	defer r.Body.Close()
	whole := proxy{heard: true, healthy: r.StatusCode == http.StatusOK}
	if !whole.healthy {
		whole.why = fmt.Sprintf("kube-proxy's healthz answers %d", r.StatusCode)
		return whole
	}
	if d == work && p.o.Metrics != "" {
		whole.told, whole.behind, whole.age = p.askMetrics(ctx)
	}
	return whole
}

// askMetrics tells whether kube-proxy has written all that it was told. Since
// both families have a gauge each, the last of the one and the first of the
// other count.
func (p *Prober) askMetrics(ctx context.Context) (told, behind bool, age time.Duration) {
	r, err := p.client.get(ctx, p.o.Metrics)
	if err != nil || r.StatusCode != http.StatusOK {
		return false, false, 0
	}
	defer r.Body.Close()
	now := time.Now()
	queued, written := map[string]float64{}, map[string]float64{}
	lines := bufio.NewScanner(io.LimitReader(r.Body, 4<<20))
	for lines.Scan() {
		gauge(lines.Text(), "kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds", queued)
		gauge(lines.Text(), "kubeproxy_sync_proxy_rules_last_timestamp_seconds", written)
	}
	for labels, at := range written {
		told = true
		// Queued, but not written since: a sync that is under way counts as such.
		behind = behind || queued[labels] > at || at == 0
		age = max(age, now.Sub(time.UnixMilli(int64(at*1000))))
	}
	return told, behind, age
}

// gauge reads a line of the text format, if it is of that name.
func gauge(line, name string, into map[string]float64) {
	rest, ok := strings.CutPrefix(line, name)
	if !ok || rest == "" || rest[0] != '{' && rest[0] != ' ' {
		return
	}
	i := strings.LastIndexByte(rest, ' ')
	if v, err := strconv.ParseFloat(rest[i+1:], 64); err == nil {
		into[rest[:i]] = v
	}
}

type client struct{ http.Client }

// newClient asks this host and other nodes only, so a proxy of the environment has no say, and a
// connection is no use for long.
func newClient() client {
	return client{http.Client{
		Timeout: time.Second,
		Transport: &http.Transport{
			Proxy:             nil,
			DisableKeepAlives: true,
			DialContext:       (&net.Dialer{Timeout: 500 * time.Millisecond}).DialContext,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func (c *client) get(ctx context.Context, url string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	return c.Do(req)
}
