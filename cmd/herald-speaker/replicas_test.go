package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/heraldlb/herald/dataplane"
	"github.com/heraldlb/herald/speaker/plan"
)

// order records who was called, and what BGP was told.
type order struct {
	calls []string
	fail  error
	hops  int
}

func (o *order) Add(_ context.Context, want []dataplane.Alias) error {
	o.calls = append(o.calls, fmt.Sprintf("add %d", len(want)))
	return o.fail
}

func (o *order) Keep(_ context.Context, want []dataplane.Alias) error {
	o.calls = append(o.calls, fmt.Sprintf("keep %d", len(want)))
	return nil
}

func (o *order) Apply(_ context.Context, t plan.Table) error {
	o.calls = append(o.calls, "announce")
	o.hops = len(t.Routes[0].NextHops)
	return nil
}

func TestReplicas(t *testing.T) {
	hops := []netip.Addr{netip.MustParseAddr("10.0.0.11"), netip.MustParseAddr("10.0.1.11")}
	table := plan.Table{
		AddPaths: []plan.AddPath{{Peer: "tor-a", IPv4: hops}},
		Routes:   []plan.Route{{Peer: "tor-a", Prefix: netip.MustParsePrefix("198.51.100.1/32"), NextHops: hops}},
	}
	o := &order{}
	if err := (replicas{o, o}).Apply(t.Context(), table); err != nil {
		t.Fatal(err)
	}
	if want := []string{"add 1", "announce", "keep 1"}; !slices.Equal(o.calls, want) || o.hops != 2 {
		t.Errorf("called %v, announced %d next hops; want %v and 2", o.calls, o.hops, want)
	}
	o = &order{fail: fmt.Errorf("add alias: %w", syscall.EPERM)}
	err := (replicas{o, o}).Apply(t.Context(), table)
	if o.hops != 1 {
		t.Errorf("announced %d next hops although the host lacks one", o.hops)
	}
	if !errors.Is(err, syscall.EPERM) || !strings.Contains(err.Error(), "overlays/add-path") {
		t.Errorf("the error does not say what to do: %v", err)
	}
	if len(table.Routes[0].NextHops) != 2 {
		t.Error("the table of the caller was changed")
	}
}
