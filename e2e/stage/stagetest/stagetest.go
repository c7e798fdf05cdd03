// Package stagetest is what the tests on a stage have in common: how they begin, and
// what they want of traffic.
package stagetest

import (
	"net/netip"
	"testing"
	"time"

	"github.com/heraldlb/herald/e2e/internal/flows"
	"github.com/heraldlb/herald/e2e/stage"
)

// Must ends a test at an error.
func Must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Begin is how every test starts: with the configuration of its package in force, and
// nothing under way that another test has set off.
func Begin(t *testing.T, s *stage.Stage, config string) {
	t.Helper()
	Must(t, s.Configure(t.Context(), config))
	Must(t, s.Calm(t.Context()))
}

// SpeakerOn is the name of a node's speaker.
func SpeakerOn(t *testing.T, s *stage.Stage, node string) string {
	t.Helper()
	pod, err := s.SpeakerOn(t.Context(), node)
	Must(t, err)
	return pod
}

// Answer waits until an address answers a client.
func Answer(t *testing.T, s *stage.Stage, client string, a netip.Addr, atMost time.Duration) {
	t.Helper()
	var first flows.First
	Must(t, s.Run(t.Context(), client, &first, "flows", "probe", "--until-first-success", "--duration", atMost.String(), "--target", stage.Target(a)))
}

// NothingLost wants every new connection served, and none broken.
func NothingLost(t *testing.T, x stage.Traffic) {
	t.Helper()
	if x.Probe.Lost > 0 || x.Hold.Broken > 0 {
		t.Errorf("%d of %d probes lost, %d of %d connections broken: want none", x.Probe.Lost, x.Probe.Sent, x.Hold.Broken, x.Hold.Established)
	}
}

// caughtOpen is how many probes may have been open already, for less than a
// millisecond each, when the router turned, as the connections that break then are.
const caughtOpen = 2

// NewServed wants every new connection served.
func NewServed(t *testing.T, x stage.Traffic) {
	t.Helper()
	open := x.Probe.Errors["reset"] // in place of an answer; one that was not open is refused
	if lost := x.Probe.Lost - open; lost > 0 || open > caughtOpen {
		t.Errorf("%d of %d new connections lost, want none, and %d were reset when they were open", lost, x.Probe.Sent, open)
	}
}

// Unmoved wants the router not to change the route of an address while something
// happens.
func Unmoved(t *testing.T, s *stage.Stage, a netip.Addr, do func()) {
	t.Helper()
	m, err := s.Monitor(t.Context())
	Must(t, err)
	defer m.Stop()
	do()
	Must(t, m.Alive())
	if e := m.Events(a.String()); len(e) != 0 {
		t.Errorf("the route to %s changed: %+v", a, e)
	}
}
