package lab

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"
)

// With this variable the test's own binary is a client instead: it makes COUNT
// flows to ADDRESS by PROTO and writes each answer as a line.
const clientEnv = "HERALD_LAB_TEST_CLIENT"

// An answer is what the echo server wrote, or why there is none.
type answer struct {
	Pod, Node, Client, Proto string
	Err                      string
}

func clientMain() int {
	count, _ := strconv.Atoi(os.Args[3])
	answers := make([]answer, count)
	var flows sync.WaitGroup
	room := make(chan struct{}, 64)
	for i := range answers {
		room <- struct{}{}
		flows.Go(func() {
			defer func() { <-room }()
			answers[i] = flow(os.Args[1], os.Args[2])
		})
	}
	flows.Wait()
	if err := json.NewEncoder(os.Stdout).Encode(answers); err != nil {
		return 1
	}
	return 0
}

// flow asks once, from a port of its own.
func flow(proto, addr string) (a answer) {
	conn, err := net.DialTimeout(proto, addr, 2*time.Second)
	if err != nil {
		return answer{Err: err.Error()}
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(2 * time.Second))
	if _, err = conn.Write([]byte("?\n")); err != nil {
		return answer{Err: err.Error()}
	}
	line, err := bufio.NewReader(conn).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &a)
	}
	if err != nil {
		a.Err = err.Error()
	}
	return a
}

// flows makes flows from a place and returns the answers.
func flows(ctx context.Context, l *Lab, place, proto, addr string, count int) ([]answer, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd, err := l.Command(ctx, place, exe, proto, addr, strconv.Itoa(count))
	if err != nil {
		return nil, err
	}
	cmd.Env = append(cmd.Env, clientEnv+"=1")
	out, err := output(cmd, "")
	if err != nil {
		return nil, err
	}
	var answers []answer
	return answers, json.Unmarshal([]byte(out), &answers)
}

// oneFlow fails unless that pod answers.
func oneFlow(ctx context.Context, l *Lab, place, addr, pod string) error {
	answers, err := flows(ctx, l, place, "tcp", addr, 1)
	if err != nil {
		return err
	}
	if a := answers[0]; a.Pod != pod {
		return fmt.Errorf("%s from %s: answered by %q (%s), want %s", addr, place, a.Pod, a.Err, pod)
	}
	return nil
}

// shares counts the answers by pod, and fails if a client was not this one.
func shares(t *testing.T, answers []answer, client string) map[string]float64 {
	t.Helper()
	share := map[string]float64{}
	failed := 0
	for _, a := range answers {
		if a.Err != "" {
			failed++
			t.Log(a.Err)
			continue
		}
		if from, err := netip.ParseAddrPort(a.Client); err != nil || from.Addr().String() != client {
			t.Fatalf("pod %s saw %q, want %s", a.Pod, a.Client, client)
		}
		share[a.Pod] += 1 / float64(len(answers))
	}
	if failed > 0 {
		t.Errorf("%d of %d flows failed", failed, len(answers))
	}
	return share
}
