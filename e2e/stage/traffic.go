package stage

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/heraldlb/herald/e2e/internal/flows"
	"github.com/heraldlb/herald/e2e/lab"
)

// Target is where a Service's address is tried.
func Target(a netip.Addr) string { return netip.AddrPortFrom(a, 80).String() }

// Traffic is what clients behind the router saw.
type Traffic struct {
	Probe flows.Probe // new connections
	Hold  flows.Hold  // 200 connections with a request every 100 ms
}

func (x Traffic) String() string {
	return fmt.Sprintf("%d of %d probes lost %v, outages %+v; %d of %d connections broken %v",
		x.Probe.Lost, x.Probe.Sent, x.Probe.Errors, x.Probe.Outages, x.Hold.Broken, x.Hold.Established, x.Hold.Kinds)
}

// beforehand is for how long traffic flows before anything happens to it.
const beforehand = 2 * time.Second

// Traffic sends traffic to an address while something happens, and for so long at
// least: a new connection every so often, and 200 that are held open.
func (s *Stage) Traffic(ctx context.Context, a netip.Addr, every, atLeast time.Duration, do func()) (got Traffic, err error) {
	end := time.Now().Add(atLeast)
	probe, err := s.startFlows(ctx, a, "probe", "--interval", every.String())
	if err != nil {
		return got, err
	}
	defer probe.kill()
	hold, err := s.startFlows(ctx, a, "hold")
	if err != nil {
		return got, err
	}
	defer hold.kill()
	time.Sleep(beforehand)
	do()
	time.Sleep(time.Until(end))
	if err := errors.Join(probe.finish(&got.Probe), hold.finish(&got.Hold)); err != nil {
		return got, err
	}
	if got.Probe.Sent == 0 || got.Hold.Established != got.Hold.Connections {
		return got, fmt.Errorf("%d probes, %d of %d connections", got.Probe.Sent, got.Hold.Established, got.Hold.Connections)
	}
	return got, nil
}

// sender is a program that sends traffic until it is told to end.
type sender struct {
	*exec.Cmd
	out, errOut *bytes.Buffer
}

func (s *Stage) startFlows(ctx context.Context, a netip.Addr, what string, args ...string) (sender, error) {
	bin, err := lab.BinDir()
	if err != nil {
		return sender{}, err
	}
	argv := append([]string{
		filepath.Join(bin, "flows"), what, "--duration", "30m", "--target", Target(a),
	}, args...)
	cmd, err := s.Command(ctx, lab.Ext, argv...)
	if err != nil {
		return sender{}, err
	}
	x := sender{cmd, &bytes.Buffer{}, &bytes.Buffer{}}
	cmd.Stdout, cmd.Stderr = x.out, x.errOut
	return x, cmd.Start()
}

// finish ends the sending and reads what came of it.
func (x sender) finish(into any) error {
	err := errors.Join(x.Process.Signal(os.Interrupt), x.Wait())
	if jsonErr := json.Unmarshal(x.out.Bytes(), into); jsonErr != nil {
		return fmt.Errorf("%s: %w: %s%s", x.Args, errors.Join(err, jsonErr), x.out, x.errOut)
	}
	return nil
}

// kill ends it if finish did not.
func (x sender) kill() {
	if x.ProcessState == nil {
		_ = x.Process.Kill()
		_ = x.Wait()
	}
}
