package speaker

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/heraldlb/herald/speaker/plan"
)

// leaving is how the loop learns that this speaker shall leave for good, and
// tells that it has.
type leaving struct {
	told atomic.Bool
	wake chan struct{}
	once sync.Once
	left chan struct{} // closed
}

func newLeaving() *leaving {
	return &leaving{wake: make(chan struct{}, 1), left: make(chan struct{})}
}

func (l *leaving) asked() bool { return l.told.Load() }

// note is told of what is announced. The zero table says that nothing ever was.
func (l *leaving) note(applied plan.Table, failed bool) {
	if l.asked() && !failed && len(applied.Routes) == 0 {
		l.once.Do(func() { close(l.left) })
	}
}

// Leave drains this node: its routes tell the routers to turn to others
// (RFC 8326), and go after nodes.drainTime. It returns when they have gone, or
// with ctx. Run must be running.
func (s *Speaker) Leave(ctx context.Context) error {
	s.leaving.told.Store(true)
	select {
	case s.leaving.wake <- struct{}{}:
	default:
	}
	select {
	case <-s.leaving.left:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
