package lab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"syscall"
	"time"

	"github.com/heraldlb/herald/e2e/internal/machine"
)

// Down removes the lab and everything in it.
func (l *Lab) Down(ctx context.Context) error { return down(ctx, l.opts.Name, filepath.Dir(l.dir)) }

// Down removes a lab of which only the name is known. It needs nothing but what
// the machine shows, so it also removes what a killed driver left. A lab that
// does not exist is removed already.
func Down(ctx context.Context, name string) error {
	setDefault(&name, DefaultName)
	if !nameRE.MatchString(name) {
		return fmt.Errorf("lab name %q: use 1 to 12 lower-case letters and digits", name)
	}
	return down(ctx, name, baseDir())
}

func down(ctx context.Context, name, base string) error {
	dir := filepath.Join(base, name)
	// An up that still runs would make more while we remove.
	unlock, err := lock(dir, 10*time.Second)
	if err == nil {
		defer unlock()
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("lab %s: %w", name, err)
	}
	return errors.Join(
		removeNamespacesBegunWith(ctx, name),
		machine.RemoveCgroups(nsPrefix(name)),
		unmountBelow(dir),
		os.RemoveAll(dir),
		removeIfEmpty(base),
	)
}

// removeNamespacesBegunWith looks again after it has removed some, since a
// program that died last may have been making one.
func removeNamespacesBegunWith(ctx context.Context, name string) error {
	for {
		if err := killAll(netnsInodes(namespaces(nsPrefix(name))), marker+name); err != nil {
			return fmt.Errorf("lab %s: %w", name, err)
		}
		names := namespaces(nsPrefix(name))
		if len(names) == 0 {
			return nil
		}
		if err := removeNamespaces(ctx, names); err != nil {
			return fmt.Errorf("lab %s: %w", name, err)
		}
	}
}

// unmountBelow unmounts what is mounted on a directory or below it, deepest first.
func unmountBelow(dir string) error {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	defer f.Close()
	var points []string
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) > 4 && (fields[4] == dir || strings.HasPrefix(fields[4], dir+"/")) {
			points = append(points, fields[4])
		}
	}
	sort.Sort(sort.Reverse(sort.StringSlice(points)))
	for _, p := range points {
		if err := syscall.Unmount(p, syscall.MNT_DETACH); err != nil {
			return fmt.Errorf("unmount %s: %w", p, err)
		}
	}
	return nil
}

// removeIfEmpty removes the directory of all labs after the last one.
func removeIfEmpty(dir string) error {
	err := os.Remove(dir)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTEMPTY) || errors.Is(err, syscall.EEXIST) {
		return nil
	}
	return err
}
