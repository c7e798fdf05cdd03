// Package resume lets a speaker that starts while the API server is away go on
// with what the last one knew: the configuration and the part of the cluster
// that it announced from. The planner runs on it as on any other snapshot, so
// what the gossip and the links say counts as always.
package resume

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/heraldlb/herald/internal/cluster"
	"github.com/heraldlb/herald/internal/config"
	"github.com/heraldlb/herald/speaker/forwarding"
	"github.com/heraldlb/herald/speaker/plan"
)

// version is that of the file's format. A file of another one is not read. Since 2
// the text is packed with gzip.
const version = 2

// mostPacked bounds what is written, and what is read: the emptyDir of the speaker's
// pod has 64 MiB, for two files at a time, and a pod that takes more is evicted. A
// state of 10,000 Services with 10 endpoints each, on 1,000 nodes, is a tenth of it.
const (
	mostPacked = 24 << 20
	mostText   = 1 << 30
)

// errTooLarge: the state would not fit.
var errTooLarge = errors.New("the state is too large")

// State is what one speaker leaves for the next.
type State struct {
	Version   int
	Node      string
	BootID    string // of the kernel that forwards Forwarded
	Saved     time.Time
	Config    string // accepted, as published
	Snapshot  cluster.Snapshot
	Forwarded []forwarding.Key
	Rescue    plan.RescueMemory
}

// errNone: there is no file, as on a new node.
var errNone = errors.New("no state was saved")

// save writes the state so that a crash leaves the old file or the new one.
func save(file string, s State) error {
	s.Version = version
	text, err := pack(s)
	if err != nil {
		return fmt.Errorf("encode the state: %w", err)
	}
	if len(text) > mostPacked {
		return fmt.Errorf("%w: %d bytes, %d at most", errTooLarge, len(text), mostPacked)
	}
	f, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".*")
	if err != nil {
		return fmt.Errorf("save the state: %w", err)
	}
	defer os.Remove(f.Name()) // of no use any more, whether renamed or broken
	_, err = fmt.Fprintf(f, "%s\n%s", sum(text), text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("save the state: %w", err)
	}
	if err := os.Rename(f.Name(), file); err != nil {
		return fmt.Errorf("save the state: %w", err)
	}
	return nil
}

// load reads a state that is whole and this node's.
func load(file, node string) (State, error) {
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return State{}, errNone
	}
	if err != nil {
		return State{}, fmt.Errorf("load the state: %w", err)
	}
	head, text, _ := bytes.Cut(data, []byte("\n"))
	if string(head) != sum(text) {
		return State{}, fmt.Errorf("load the state: %s is damaged: its checksum does not fit", file)
	}
	s, err := unpack(text)
	if err != nil {
		return State{}, fmt.Errorf("load the state: %s: %w", file, err)
	}
	switch {
	case s.Version != version:
		return State{}, fmt.Errorf("load the state: %s has version %d of the format, want %d", file, s.Version, version)
	case s.Node != node:
		return State{}, fmt.Errorf("load the state: %s is of node %s, not %s", file, s.Node, node)
	}
	return s, nil
}

// pack is fast rather than small: it is done often, and read hardly ever.
func pack(s State) ([]byte, error) {
	var out bytes.Buffer
	z, err := gzip.NewWriterLevel(&out, gzip.BestSpeed)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(json.NewEncoder(z).Encode(s), z.Close()); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

func unpack(text []byte) (s State, err error) {
	z, err := gzip.NewReader(bytes.NewReader(text))
	if err != nil {
		return State{}, err
	}
	return s, json.NewDecoder(io.LimitReader(z, mostText)).Decode(&s)
}

// usable refuses a state that is older than the configuration in it allows. One
// from the future comes from a clock that was set back since, so its age is
// unknown.
func usable(s State, now time.Time) (*config.Config, error) {
	c, err := config.Parse([]byte(s.Config))
	if err != nil {
		return nil, fmt.Errorf("the saved configuration: %w", err)
	}
	age := now.Sub(s.Saved)
	if age > c.Nodes.StateMaxAge || age < 0 {
		return nil, fmt.Errorf("the saved state is %s old, more than nodes.stateMaxAge allows: %s", age.Round(time.Second), c.Nodes.StateMaxAge)
	}
	return c, nil
}

func sum(text []byte) string {
	s := sha256.Sum256(text)
	return hex.EncodeToString(s[:])
}

// BootID names the boot of this node's kernel; empty if the kernel does not say.
func BootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// Booted is when this node's kernel was booted; the zero time if it does not say.
func Booted() time.Time {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return time.Time{}
	}
	for line := range strings.Lines(string(b)) {
		if text, ok := strings.CutPrefix(line, "btime "); ok {
			if at, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64); err == nil {
				return time.Unix(at, 0)
			}
		}
	}
	return time.Time{}
}

// relevant is the part of a snapshot that anything can be announced from.
func relevant(s cluster.Snapshot) cluster.Snapshot {
	out := cluster.Snapshot{Nodes: s.Nodes}
	for _, svc := range s.Services {
		if svc.LoadBalancer && len(svc.Ingress) > 0 { // whose class is Herald's stands in the configuration
			out.Services = append(out.Services, svc)
		}
	}
	return out
}
