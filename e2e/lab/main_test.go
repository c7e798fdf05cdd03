package lab

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"
)

var shared struct {
	once sync.Once
	lab  *Lab
	skip string
	err  error
}

// TestMain also is the client that runs in a lab's namespaces: see client_test.go.
func TestMain(m *testing.M) {
	if os.Getenv(clientEnv) != "" {
		os.Exit(clientMain())
	}
	code := m.Run()
	if shared.lab != nil {
		if err := shared.lab.Down(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

var prepared = sync.OnceValues(func() (string, error) { return Prepare(context.Background(), BuildLab) })

// needMachine skips or fails where there can be no lab.
func needMachine(t *testing.T) {
	t.Helper()
	skip, err := prepared()
	if err != nil {
		t.Fatal(err)
	}
	if skip != "" {
		t.Skip(skip)
	}
}

// running returns the lab that most tests share. Each leaves it as it was.
func running(t *testing.T) *Lab {
	t.Helper()
	needMachine(t)
	shared.once.Do(func() { shared.lab, shared.err = bring(t.Context(), 0, Options{}) })
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.lab
}

func bring(ctx context.Context, number int, o Options) (*Lab, error) {
	o.Name, o.NodeMonitorGracePeriod, o.Log = TestName(number), 8*time.Second, os.Stderr
	l, err := Up(ctx, o)
	if err != nil {
		_ = Down(context.Background(), o.Name)
	}
	return l, err
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually fails the test if something does not come true in time.
func eventually(t *testing.T, atMost time.Duration, what string, ask func() error) {
	t.Helper()
	begin := time.Now()
	must(t, waitFor(t.Context(), atMost, what, ask))
	t.Logf("%s: after %v", what, time.Since(begin).Round(time.Millisecond))
}
