package stage

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// CreateMany creates n Services like v, named NAME-0 and so on, eight at a time,
// and waits until all have their addresses, of which no two may be the same.
// The pods of v.App, or of v.Name, serve them.
func (s *Stage) CreateMany(ctx context.Context, n int, v Service) ([]netip.Addr, error) {
	if v.App == "" {
		v.App = v.Name
	}
	err := each(n, func(i int) error {
		one := v
		one.Name = fmt.Sprintf("%s-%d", v.Name, i)
		return s.Create(ctx, one)
	})
	if err != nil {
		return nil, err
	}
	perService := 2
	if v.SingleStack {
		perService = 1
	}
	var addrs []netip.Addr
	err = Wait(ctx, 60*time.Second, func() (err error) {
		if addrs, err = s.addrsOf(ctx, v.Name+"-"); err == nil && len(addrs) < n*perService {
			err = fmt.Errorf("%d Services have %d addresses, want %d each", n, len(addrs), perService)
		}
		return err
	})
	return addrs, err
}

// DeleteMany deletes what CreateMany created.
func (s *Stage) DeleteMany(ctx context.Context, n int, name string) error {
	return each(n, func(i int) error { return s.Delete(ctx, fmt.Sprintf("%s-%d", name, i)) })
}

// addrsOf are the addresses of all Services whose names begin so.
func (s *Stage) addrsOf(ctx context.Context, prefix string) ([]netip.Addr, error) {
	all, err := s.Statuses(ctx)
	if err != nil {
		return nil, err
	}
	seen := map[netip.Addr]bool{}
	var addrs []netip.Addr
	for _, v := range all {
		if !strings.HasPrefix(v.Metadata.Name, prefix) {
			continue
		}
		for _, a := range v.Addrs() {
			if seen[a] {
				return nil, fmt.Errorf("%s was given to two Services", a)
			}
			seen[a] = true
			addrs = append(addrs, a)
		}
	}
	return addrs, nil
}
