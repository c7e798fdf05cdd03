package lab

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"
)

// StartBIRD makes the router a BIRD with this configuration, after KillRouter has
// ended FRR's bgpd. StopBIRD and StartRouter turn back.
func (l *Lab) StartBIRD(ctx context.Context, config string) error {
	if err := os.MkdirAll(l.path("bird"), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(l.path("bird", "bird.conf"), []byte(config), 0o644); err != nil {
		return err
	}
	argv := []string{"bird", "-f", "-c", l.path("bird", "bird.conf"), "-s", l.path("bird", "ctl"), "-P", l.path("bird", "pid")}
	if err := l.start(daemon{name: "bird", ns: l.ns(Router), argv: argv}); err != nil {
		return err
	}
	return waitFor(ctx, 10*time.Second, "bird (log: "+l.path("log", "bird.log")+")", func() error {
		out, err := l.Birdc(ctx, "show", "status")
		if err == nil && !strings.Contains(out, "Daemon is up") {
			err = fmt.Errorf("%s", strings.TrimSpace(out))
		}
		return err
	})
}

// StopBIRD ends bird, which takes its routes out of the kernel.
func (l *Lab) StopBIRD(ctx context.Context) error {
	bird := l.state().Procs["bird"]
	if _, err := l.Birdc(ctx, "down"); err != nil {
		return err
	}
	return waitFor(ctx, 10*time.Second, "bird to end", func() error {
		if bird.alive() {
			return fmt.Errorf("process %d is still there", bird.PID)
		}
		return nil
	})
}

// Birdc runs a command in the shell of the router's BIRD.
func (l *Lab) Birdc(ctx context.Context, command ...string) (string, error) {
	return run(ctx, "", append([]string{"birdc", "-s", l.path("bird", "ctl")}, command...)...)
}
