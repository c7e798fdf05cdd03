package assign

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/heraldlb/herald/internal/cluster"
)

// request is what the user asks for beyond "an address".
type request struct {
	addrs []netip.Addr // at most one per family
	pool  string       // empty: any
}

// addr is the address asked for of a family, or the zero Addr.
func (r request) addr(f cluster.Family) netip.Addr {
	for _, a := range r.addrs {
		if cluster.FamilyOf(a) == f {
			return a
		}
	}
	return netip.Addr{}
}

// readRequest reads the annotations and spec.loadBalancerIP. A request with a
// fault counts as none, so that a typo takes no address away.
func readRequest(svc *cluster.Service, families []cluster.Family) (request, fault) {
	addrs, err := requestedAddrs(svc)
	if err == nil {
		err = fitFamilies(addrs, families)
	}
	if err != nil {
		return request{}, fault{InvalidRequest, err.Error()}
	}
	return request{addrs, strings.TrimSpace(svc.Annotations[cluster.AnnotationPool])}, fault{}
}

func requestedAddrs(svc *cluster.Service) ([]netip.Addr, error) {
	annotation := svc.Annotations[cluster.AnnotationAddresses]
	addrs, err := parseAddrs(cluster.AnnotationAddresses, annotation)
	if err != nil || svc.LoadBalancerIP == "" {
		return addrs, err
	}
	spec, err := parseAddrs("spec.loadBalancerIP", svc.LoadBalancerIP)
	if err != nil || len(addrs) == 0 {
		return spec, err
	}
	// The field can name only one address, so it agrees with an annotation that
	// names two if it is one of them.
	for _, a := range spec {
		if !slices.Contains(addrs, a) {
			return nil, fmt.Errorf("%s says %s but spec.loadBalancerIP says %s: remove one of them",
				cluster.AnnotationAddresses, cluster.Quote(annotation), cluster.Quote(svc.LoadBalancerIP))
		}
	}
	return addrs, nil
}

// longestRequest is far more than a list of one address per family needs. It is
// read again at every step.
const longestRequest = 1024

func parseAddrs(field, text string) ([]netip.Addr, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	if len(text) > longestRequest {
		return nil, fmt.Errorf("%s: %s is %d bytes long: write one address, or one per family with a comma between", field, cluster.Quote(text), len(text))
	}
	var addrs []netip.Addr
	for part := range strings.SplitSeq(text, ",") {
		a, err := netip.ParseAddr(strings.TrimSpace(part))
		if err != nil || a.Zone() != "" {
			return nil, fmt.Errorf("%s: %s is not an address such as 192.0.2.1", field, cluster.Quote(strings.TrimSpace(part)))
		}
		addrs = append(addrs, a.Unmap())
	}
	return addrs, nil
}

// fitFamilies checks that each address has a family of its own among those of
// the Service.
func fitFamilies(addrs []netip.Addr, families []cluster.Family) error {
	for i, a := range addrs {
		f := cluster.FamilyOf(a)
		if !slices.Contains(families, f) {
			return fmt.Errorf("%s is asked for, but the Service has no %s in spec.ipFamilies", a, f)
		}
		for _, b := range addrs[:i] {
			if cluster.FamilyOf(b) == f {
				return fmt.Errorf("%s and %s are asked for, but a Service has only one address of a family", b, a)
			}
		}
	}
	return nil
}
