package forwarding

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
)

// Path is where a speaker tells others whether its node's kube-proxy is well.
const Path = "/forwarding"

// Handler answers with 200 if it is, and with 503 if it is not.
func (p *Prober) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !p.Well() {
			http.Error(w, "kube-proxy on this node does not keep its rules up to date", http.StatusServiceUnavailable)
			return
		}
		_, _ = fmt.Fprintln(w, "ok") // a client that has gone misses nothing
	})
}

// Asker asks other speakers, on the port on which this one answers. One of an older
// version has no such answer; it is taken to be well.
func Asker(port uint16) func(context.Context, netip.Addr) bool {
	c := newClient()
	return func(ctx context.Context, at netip.Addr) bool {
		u := url.URL{Scheme: "http", Host: net.JoinHostPort(at.String(), strconv.Itoa(int(port))), Path: Path}
		r, err := c.get(ctx, u.String())
		if err != nil {
			return false
		}
		defer r.Body.Close()
		_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, 4096)) // what it says in words is not needed
		return r.StatusCode == http.StatusOK || r.StatusCode == http.StatusNotFound
	}
}
