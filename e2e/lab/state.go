package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// A Lab is a running lab. All that it remembers is in a file, so that any
// number of processes may hold the same one.
type Lab struct {
	opts Options
	dir  string
	log  io.Writer
	at   time.Time
}

// state is the content of the file. It helps to find processes quickly; down
// does not depend on it.
type state struct {
	Options Options
	APIPort int
	Procs   map[string]proc
	Cut     map[string]string // node -> silent or carrier
	Off     map[string]bool   // nodes without power
	Ready   bool              // up has come to its end
}

// Open returns a lab that is up already.
func Open(name string) (*Lab, error) {
	setDefault(&name, DefaultName)
	l := &Lab{dir: filepath.Join(baseDir(), name), log: io.Discard, at: time.Now()}
	s, err := l.read()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("lab %s: not up: nothing in %s", name, l.dir)
	}
	if err != nil {
		return nil, fmt.Errorf("lab %s: read its state: %w", name, err)
	}
	l.opts = s.Options
	return l, nil
}

// Names returns the names of the labs that have a directory.
func Names() []string {
	var names []string
	found, _ := filepath.Glob(filepath.Join(baseDir(), "*", "state.json"))
	for _, f := range found {
		names = append(names, filepath.Base(filepath.Dir(f)))
	}
	return names
}

// Name returns the lab's name.
func (l *Lab) Name() string { return l.opts.Name }

// Dir returns the lab's directory: logs, keys, sockets.
func (l *Lab) Dir() string { return l.dir }

// Options returns what the lab was made of, defaults filled in.
func (l *Lab) Options() Options { return l.opts }

func (l *Lab) path(elem ...string) string {
	return filepath.Join(append([]string{l.dir}, elem...)...)
}

func (l *Lab) read() (state, error) {
	s := state{Procs: map[string]proc{}, Cut: map[string]string{}, Off: map[string]bool{}}
	b, err := os.ReadFile(l.path("state.json"))
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(b, &s)
}

// state is empty if the lab has gone, which is then what the caller sees.
func (l *Lab) state() state {
	s, _ := l.read()
	return s
}

// update changes the state while no other process does.
func (l *Lab) update(change func(*state)) error {
	unlock, err := lock(l.path("lock"), time.Minute)
	if err != nil {
		return err
	}
	defer unlock()
	s, err := l.read()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("lab %s: read its state: %w", l.opts.Name, err)
	}
	change(&s)
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	// A reader must never see half a file, nor a killed driver leave one.
	tmp := l.path("state.json.new")
	if err := os.WriteFile(tmp, append(b, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, l.path("state.json"))
}

// lock takes an exclusive lock on a file or directory. The kernel gives it back
// if we are killed.
func lock(path string, wait time.Duration) (unlock func(), err error) {
	f, err := openLock(path)
	if err != nil {
		return nil, err
	}
	for end := time.Now().Add(wait); ; time.Sleep(20 * time.Millisecond) {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if time.Now().After(end) {
			f.Close()
			return nil, fmt.Errorf("lock %s: another command works on it: %w", path, err)
		}
	}
}

func openLock(path string) (*os.File, error) {
	if st, err := os.Stat(path); err == nil && st.IsDir() {
		return os.Open(path)
	}
	return os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
}
