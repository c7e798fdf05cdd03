package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/heraldlb/herald/internal/cluster"
)

// crossCheck asks each node's kube-proxy how many ready endpoints of a Service it
// has there (KEP-3836), and prints it beside what the API server says. A Service
// has a port for that if its externalTrafficPolicy is Local.
func crossCheck(ctx context.Context, w io.Writer, snapshot cluster.Snapshot, key string) error {
	i := slices.IndexFunc(snapshot.Services, func(s cluster.Service) bool { return s.Key() == key })
	if i < 0 || snapshot.Services[i].HealthPort == 0 || len(snapshot.Services[i].Ingress) == 0 {
		return nil
	}
	svc := snapshot.Services[i]
	family := cluster.FamilyOf(svc.Ingress[0])
	said := make([]string, len(snapshot.Nodes))
	silent := make([]string, len(snapshot.Nodes))
	var wg sync.WaitGroup
	for i, n := range snapshot.Nodes {
		if a := n.Addr(family); a.IsValid() {
			wg.Go(func() {
				got := kubeProxyCount(ctx, netip.AddrPortFrom(a, svc.HealthPort))
				if got == unanswered {
					silent[i] = n.Name
					return
				}
				said[i] = compare(n.Name, endpointsOn(svc, family, n.Name), got)
			})
		}
	}
	wg.Wait()
	_, err := fmt.Fprintf(w, "\nkube-proxy, asked on port %d: %s\n", svc.HealthPort, together(said, silent))
	return err
}

// together has one remark about all that are silent: seen from an admin's desk,
// that is often every node, and no fault.
func together(said, silent []string) string {
	empty := func(s string) bool { return s == "" }
	said, silent = slices.DeleteFunc(said, empty), slices.DeleteFunc(silent, empty)
	text := strings.Join(said, ", ")
	if len(silent) == 0 {
		return text
	}
	if text != "" {
		text += "\n  "
	}
	return text + "no answer from here of " + strings.Join(silent, ", ") +
		" (a firewall, this host has no route to the nodes, or no kube-proxy runs there): not checked"
}

// unanswered is the count of a kube-proxy that said none.
const unanswered = -1

func compare(node string, want, got int) string {
	if got != want {
		return fmt.Sprintf("%s counts %d, but the API server says %d", node, got, want)
	}
	return fmt.Sprintf("%s counts %d", node, got)
}

func endpointsOn(s cluster.Service, f cluster.Family, node string) int {
	n := 0
	for _, e := range s.Endpoints {
		if e.Ready && e.Node == node && cluster.FamilyOf(e.Addr) == f {
			n++
		}
	}
	return n
}

// direct takes no proxy of the environment: nodes are asked, not the world.
var direct = http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

func kubeProxyCount(ctx context.Context, at netip.AddrPort) int {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at.String()+"/", nil)
	if err != nil {
		return unanswered
	}
	r, err := direct.Do(req)
	if err != nil {
		return unanswered
	}
	defer r.Body.Close()
	n, err := strconv.Atoi(r.Header.Get("X-Load-Balancing-Endpoint-Weight"))
	if err != nil {
		return unanswered
	}
	return n
}
