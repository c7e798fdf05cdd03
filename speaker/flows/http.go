package flows

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"

	"github.com/heraldlb/herald/internal/share"
)

// maxAnswer bounds what a speaker's answer may take.
const maxAnswer = 8 << 20

// Handler answers other nodes' speakers with this one's report, about the addresses
// that they judge.
func (m *Meter) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		report := m.Report()
		if node := r.URL.Query().Get("first"); node != "" {
			report = First(report, node)
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(report) // a client that has gone misses nothing
	})
}

// Asker asks other speakers over HTTP, on the port on which this one answers.
func Asker(node string, port uint16) func(context.Context, netip.Addr) (share.Report, error) {
	// A proxy of the environment is for other things than the next node.
	client := &http.Client{Transport: &http.Transport{Proxy: nil, DisableKeepAlives: true}}
	query := url.Values{"first": {node}}.Encode()
	return func(ctx context.Context, at netip.Addr) (report share.Report, err error) {
		u := url.URL{Scheme: "http", Host: net.JoinHostPort(at.String(), strconv.Itoa(int(port))), Path: "/flows", RawQuery: query}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), http.NoBody)
		if err != nil {
			return report, err
		}
		answer, err := client.Do(req)
		if err != nil {
			return report, err
		}
		defer func() { _ = answer.Body.Close() }()
		if answer.StatusCode != http.StatusOK {
			return report, fmt.Errorf("%s: %s: is its speaker of an older version?", u.String(), answer.Status)
		}
		if err := json.NewDecoder(io.LimitReader(answer.Body, maxAnswer)).Decode(&report); err != nil {
			return report, fmt.Errorf("%s: %w", u.String(), err)
		}
		return report, nil
	}
}
