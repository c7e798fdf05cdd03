package stage

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"time"
)

// WaitCounted waits until the speakers have counted so many new flows to an address
// since they began, and returns how many each node has. They take a sample every ten
// seconds.
func (s *Stage) WaitCounted(ctx context.Context, atMost time.Duration, a netip.Addr, want int) (map[string]uint64, error) {
	var counts map[string]uint64
	err := Wait(ctx, atMost, func() (err error) {
		if counts, err = s.counted(ctx, a); err != nil {
			return err
		}
		var sum uint64
		for _, n := range counts {
			sum += n
		}
		if sum < uint64(want) {
			time.Sleep(500 * time.Millisecond) // asking takes the machine's time
			return fmt.Errorf("the speakers have counted %d of %d new flows: %v", sum, want, counts)
		}
		return nil
	})
	return counts, err
}

// WaitCounting waits until all nodes' speakers count the flows to an address.
func (s *Stage) WaitCounting(ctx context.Context, atMost time.Duration, a netip.Addr) error {
	return Wait(ctx, atMost, func() error {
		counts, err := s.counted(ctx, a)
		if err == nil && len(counts) < len(s.Nodes()) {
			time.Sleep(200 * time.Millisecond) // asking takes the machine's time
			err = fmt.Errorf("%d of %d speakers count the flows to %s", len(counts), len(s.Nodes()), a)
		}
		return err
	})
}

func (s *Stage) counted(ctx context.Context, a netip.Addr) (map[string]uint64, error) {
	out := map[string]uint64{}
	for _, n := range s.Nodes() {
		text, err := s.Exec(ctx, n.Name, "curl", "-sS", "http://127.0.0.1:7473/flows")
		if err != nil {
			return nil, err
		}
		var report struct {
			Off       string
			Addresses []struct {
				Addr  netip.Addr
				Total uint64
			}
		}
		if err := json.Unmarshal([]byte(text), &report); err != nil {
			return nil, fmt.Errorf("flows of %s: %w", n.Name, err)
		}
		if report.Off != "" {
			return nil, fmt.Errorf("%s counts no flows: %s", n.Name, report.Off)
		}
		for _, x := range report.Addresses {
			if x.Addr == a {
				out[n.Name] = x.Total
			}
		}
	}
	return out, nil
}
