package stage

import (
	"bufio"
	"context"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/heraldlb/herald/e2e/lab"
)

// Monitor listens to the changes of the router's kernel routes.
type Monitor struct {
	cmds []*exec.Cmd
	wg   sync.WaitGroup

	mu     sync.Mutex
	events []RouteEvent
}

// RouteEvent is one change of a route.
type RouteEvent struct {
	At   time.Time
	Text string // as ip monitor prints it
}

// Monitor starts to listen. Stop ends it.
func (s *Stage) Monitor(ctx context.Context) (*Monitor, error) {
	m := &Monitor{}
	for _, family := range []string{"-4", "-6"} {
		cmd, err := s.Command(ctx, lab.Router, "ip", family, "-o", "monitor", "route")
		if err != nil {
			return nil, err
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			return nil, err
		}
		if err := cmd.Start(); err != nil {
			return nil, fmt.Errorf("listen to the router's routes: %w", err)
		}
		m.cmds = append(m.cmds, cmd)
		m.wg.Go(func() {
			for lines := bufio.NewScanner(out); lines.Scan(); {
				m.mu.Lock()
				m.events = append(m.events, RouteEvent{time.Now(), lines.Text()})
				m.mu.Unlock()
			}
		})
	}
	// ip says nothing when its socket is ready.
	time.Sleep(200 * time.Millisecond)
	return m, nil
}

// Events are the changes of routes whose text contains what.
func (m *Monitor) Events(what string) []RouteEvent {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []RouteEvent
	for _, e := range m.events {
		if strings.Contains(e.Text, what) {
			out = append(out, e)
		}
	}
	return out
}

// Stop ends the listening.
func (m *Monitor) Stop() {
	for _, c := range m.cmds {
		_ = c.Process.Kill() // it may have ended with its context
		_ = c.Wait()
	}
	m.wg.Wait()
}
