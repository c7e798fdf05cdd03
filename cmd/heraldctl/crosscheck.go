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
	var wg sync.WaitGroup
	for i, n := range snapshot.Nodes {
		if a := n.Addr(family); a.IsValid() {
			wg.Go(func() {
				said[i] = compare(n.Name, endpointsOn(svc, family, n.Name), kubeProxyCount(ctx, netip.AddrPortFrom(a, svc.HealthPort)))
			})
		}
	}
	wg.Wait()
	said = slices.DeleteFunc(said, func(s string) bool { return s == "" })
	_, err := fmt.Fprintf(w, "\nkube-proxy, asked on port %d: %s\n", svc.HealthPort, strings.Join(said, ", "))
	return err
}

// unanswered is the count of a kube-proxy that said none.
const unanswered = -1

func compare(node string, want, got int) string {
	switch {
	case got == unanswered:
		return node + " does not answer from here"
	case got != want:
		return fmt.Sprintf("%s counts %d, but the API server says %d", node, got, want)
	default:
		return fmt.Sprintf("%s counts %d", node, got)
	}
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
