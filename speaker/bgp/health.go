package bgp

import (
	"fmt"
	"sync"
	"time"
)

// calls watches the calls into gobgp. Each one waits for gobgp's own management
// goroutine and for its lock, so that a deadlock in there shows as a call that
// never returns. Its zero value is ready.
type calls struct {
	mu    sync.Mutex
	what  string // empty: none is under way
	since time.Time
}

// do runs a call. Calls are made one after the other.
func (c *calls) do(what string, f func() error) error {
	c.set(what)
	defer c.set("")
	return f()
}

func (c *calls) set(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.what, c.since = what, time.Now()
}

func (c *calls) hung(limit time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if took := time.Since(c.since); c.what != "" && took > limit {
		return fmt.Errorf("bgp: gobgp has not answered for %v: %s", took.Round(time.Second), c.what)
	}
	return nil
}
