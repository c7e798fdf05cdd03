package config

import (
	"cmp"
	"maps"
	"slices"

	"github.com/heraldlb/herald/internal/cluster"
)

// Scope says which Services are Herald's.
type Scope struct {
	Class         string // the spec.loadBalancerClass that asks for Herald; empty: cluster.Class
	MetalLB       bool   // default false; true: MetalLB's annotations count where Herald's are missing
	SkipClassless bool   // default false; true: those without a class are not, unless Herald has given them an address
}

// The words of classless.
const (
	ClasslessServe  = "serve"
	ClasslessIgnore = "ignore"
)

// notOurs is a class that is nobody's. It stands for one that would be Herald's but
// for the scope.
const notOurs = "-"

// Own makes Service.Ours true of exactly those Services that are Herald's. It returns
// services as they are if nothing is to change.
func (s Scope) Own(services []cluster.Service) []cluster.Service {
	if s == (Scope{}) {
		return services
	}
	copied := false
	for i := range services {
		class, more := s.classOf(&services[i]), s.borrowed(&services[i])
		if class == services[i].Class && more == nil {
			continue
		}
		if !copied {
			services, copied = slices.Clone(services), true
		}
		services[i].Class = class
		if more != nil {
			services[i].Annotations, services[i].Borrowed = more, true
		}
	}
	return services
}

// metalLB are MetalLB's names of what Herald has as well.
var metalLB = map[string]string{
	cluster.AnnotationAddresses:  "loadBalancerIPs",
	cluster.AnnotationPool:       "address-pool",
	cluster.AnnotationSharingKey: "allow-shared-ip",
}

// borrowed is a Service's annotations with MetalLB's in the place of Herald's, or nil
// if there are none, or the Service has one of Herald's own.
func (s Scope) borrowed(svc *cluster.Service) map[string]string {
	if !s.MetalLB || svc.Borrowed {
		return nil
	}
	var all map[string]string
	for ours, name := range metalLB {
		if svc.Annotations[ours] != "" {
			return nil
		}
		theirs := cmp.Or(svc.Annotations[cluster.MetalLBPrefix+name], svc.Annotations[cluster.OldMetalLBPrefix+name])
		if theirs == "" {
			continue
		}
		if all == nil {
			all = maps.Clone(svc.Annotations)
		}
		all[ours] = theirs
	}
	return all
}

func (s Scope) classOf(svc *cluster.Service) string {
	switch {
	case svc.Class == cmp.Or(s.Class, cluster.Class):
		return cluster.Class
	case svc.Class == cluster.Class:
		return notOurs
	// Who has an address of Herald keeps it: a setting must not take all of them away.
	case svc.Class == "" && s.SkipClassless && (!svc.Condition.Allocated || svc.StatusOf != ""):
		return notOurs
	default:
		return svc.Class
	}
}

// IsClass tells whether a text can be a spec.loadBalancerClass.
func IsClass(text string) bool { return isLabelKey(text) }

// SetClass is Scope with this class.
func (s Scope) SetClass(class string) Scope {
	if s.Class = class; class == cluster.Class {
		s.Class = ""
	}
	return s
}

func (s spot) serviceClass() string {
	got, ok := s.text()
	if ok && !IsClass(got) {
		s.fault("%q: write a class such as %s", got, cluster.Class)
	}
	return got
}
