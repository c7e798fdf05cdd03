// Package rescue tests that connections live on when a router moves them to
// another node.
package rescue

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/heraldlb/herald/e2e/lab"
	"github.com/heraldlb/herald/e2e/stage"
)

var herald *stage.Stage

func TestMain(m *testing.M) {
	os.Exit(stage.Main(stage.Suite{
		Number: 56, AtMost: 15 * time.Minute,
		Install: func(ctx context.Context, l *lab.Lab) (*stage.Stage, error) {
			s := &stage.Stage{Lab: l}
			if err := s.Manifests(ctx, "overlays/flow-rescue"); err != nil {
				return nil, err
			}
			if err := s.Configure(ctx, stage.Config); err != nil {
				return nil, err
			}
			return s, s.WaitInstalled(ctx)
		},
		Run: func(s *stage.Stage) int { herald = s; return m.Run() },
	}))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
