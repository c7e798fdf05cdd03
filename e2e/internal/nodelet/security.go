package nodelet

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/heraldlb/herald/e2e/internal/contain"
)

// defaultCapabilities are what containerd grants a container that asks for nothing.
var defaultCapabilities = []string{
	"AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "NET_RAW",
	"SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
}

// applySecurity writes into s what the pod's and the container's
// securityContext come to. Images here have no user of their own: it is root.
func applySecurity(s *contain.Spec, pod *corev1.Pod, c *corev1.Container) error {
	p := pod.Spec.SecurityContext
	if p == nil {
		p = &corev1.PodSecurityContext{}
	}
	sc := c.SecurityContext
	if sc == nil {
		sc = &corev1.SecurityContext{}
	}
	s.UID, s.GID = uint32(firstSet(sc.RunAsUser, p.RunAsUser, 0)), uint32(firstSet(sc.RunAsGroup, p.RunAsGroup, 0))
	if firstSet(sc.RunAsNonRoot, p.RunAsNonRoot, false) && s.UID == 0 {
		return errors.New("container has runAsNonRoot and image will run as root")
	}
	s.Groups = groups(s.GID, p)
	s.Privileged = deref(sc.Privileged)
	s.ReadOnlyRoot = deref(sc.ReadOnlyRootFilesystem)
	s.NoNewPrivs = sc.AllowPrivilegeEscalation != nil && !*sc.AllowPrivilegeEscalation
	caps, err := capabilitySet(sc.Capabilities)
	s.Capabilities = caps
	return err
}

func groups(primary uint32, p *corev1.PodSecurityContext) []uint32 {
	out := []uint32{primary}
	for _, g := range p.SupplementalGroups {
		out = append(out, uint32(g))
	}
	if p.FSGroup != nil {
		out = append(out, uint32(*p.FSGroup))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// capabilitySet drops before it adds, so that "drop ALL, add X" leaves X.
func capabilitySet(c *corev1.Capabilities) ([]string, error) {
	set := slices.Clone(defaultCapabilities)
	if c == nil {
		return set, nil
	}
	for _, d := range c.Drop {
		name := capabilityName(d)
		if name == "ALL" {
			set = nil
			continue
		}
		if !contain.KnownCapability(name) {
			return nil, fmt.Errorf("unknown capability to drop: %s", d)
		}
		set = slices.DeleteFunc(set, func(s string) bool { return s == name })
	}
	for _, add := range c.Add {
		name := capabilityName(add)
		if name == "ALL" {
			set = append(set, contain.AllCapabilities()...)
			continue
		}
		if !contain.KnownCapability(name) {
			return nil, fmt.Errorf("unknown capability to add: %s", add)
		}
		set = append(set, name)
	}
	slices.Sort(set)
	return slices.Compact(set), nil
}

func capabilityName(c corev1.Capability) string {
	return strings.TrimPrefix(strings.ToUpper(string(c)), "CAP_")
}

// firstSet is the container's setting, else the pod's, else none.
func firstSet[T any](container, pod *T, none T) T {
	switch {
	case container != nil:
		return *container
	case pod != nil:
		return *pod
	}
	return none
}

func deref[T any](p *T) T {
	var zero T
	if p == nil {
		return zero
	}
	return *p
}
