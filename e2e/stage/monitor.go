package stage

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
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
	if err := s.markers(ctx, m); err != nil {
		m.Stop()
		return nil, err
	}
	return m, nil
}

// markers adds and deletes routes that mean nothing until the monitor has heard
// of one in each family: silence afterwards is then real.
func (s *Stage) markers(ctx context.Context, m *Monitor) error {
	return Wait(ctx, 5*time.Second, func() error {
		for family, prefix := range map[string]string{"-4": "192.0.2.1/32", "-6": "2001:db8::1/128"} {
			for _, verb := range []string{"add", "del"} {
				if _, err := s.Exec(ctx, lab.Router, "ip", family, "route", verb, "blackhole", prefix); err != nil {
					return err
				}
			}
		}
		time.Sleep(20 * time.Millisecond)
		if len(m.Events("192.0.2.1")) == 0 || len(m.Events("2001:db8::1")) == 0 {
			return errors.New("ip monitor does not tell of the router's routes")
		}
		return nil
	})
}

// Events are the changes of routes to an address.
func (m *Monitor) Events(addr string) []RouteEvent {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []RouteEvent
	for _, e := range m.events {
		if slices.Contains(strings.Fields(e.Text), addr) {
			out = append(out, e)
		}
	}
	return out
}

// Alive is an error if the monitor has stopped listening.
func (m *Monitor) Alive() error {
	for _, c := range m.cmds {
		if err := c.Process.Signal(syscall.Signal(0)); err != nil {
			return fmt.Errorf("ip monitor has ended: %w", err)
		}
	}
	return nil
}

// Stop ends the listening.
func (m *Monitor) Stop() {
	for _, c := range m.cmds {
		_ = c.Process.Kill() // it may have ended with its context
		_ = c.Wait()
	}
	m.wg.Wait()
}
