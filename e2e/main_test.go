// Package e2e tests Herald as users run it: installed from manifests/ on a real
// Kubernetes control plane, with kube-proxy, a router, and real packets. All
// tests share one lab and use Services of their own.
package e2e

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/heraldlb/herald/e2e/lab"
	"github.com/heraldlb/herald/e2e/stage"
	"github.com/heraldlb/herald/e2e/stage/stagetest"
)

var (
	herald *stage.Stage
	must   = stagetest.Must
)

func TestMain(m *testing.M) {
	os.Exit(stage.Main(stage.Suite{
		Number: 50, AtMost: 30 * time.Minute,
		Install: func(ctx context.Context, l *lab.Lab) (*stage.Stage, error) {
			return stage.Install(ctx, l, stage.Config)
		},
		Run: func(s *stage.Stage) int { herald = s; return m.Run() },
	}))
}

// begin is how every test starts.
func begin(t *testing.T) {
	t.Helper()
	stagetest.Begin(t, herald, stage.Config)
}
