package flows

import (
	"context"
	"log/slog"
	"net/netip"

	"github.com/heraldlb/herald/dataplane"
)

// kernel is this host's.
type kernel struct{ *dataplane.Flows }

// Kernel is the Host that this process runs on.
func Kernel(log *slog.Logger) Host { return kernel{dataplane.NewFlows(log)} }

func (kernel) Uplinks(ctx context.Context, h dataplane.UplinkHints) ([]string, error) {
	return dataplane.Uplinks(ctx, h)
}

func (kernel) Neighbours(ctx context.Context, addrs []netip.Addr) (map[netip.Addr]dataplane.Neighbour, error) {
	return dataplane.Neighbours(ctx, addrs)
}
