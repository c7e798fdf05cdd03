package members

import (
	"bytes"
	"context"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// bridge turns memberlist's log lines into records. It holds back what is told
// again and again, and counts what strangers send.
type bridge struct {
	log *slog.Logger

	mu       sync.Mutex
	heard    map[string]time.Time // message and sender, to when it was last told
	rejected map[netip.Addr]uint64
}

const (
	repeatAfter = time.Minute
	// maxSenders bounds the memory that forged senders can take.
	maxSenders = 256
)

func newBridge(log *slog.Logger) *bridge {
	return &bridge{log: log, heard: make(map[string]time.Time), rejected: make(map[netip.Addr]uint64)}
}

// Write implements io.Writer for a log.Logger without flags: each call is a line.
func (b *bridge) Write(p []byte) (int, error) {
	l := parseLine(string(bytes.TrimSpace(p)))
	if l.level < slog.LevelInfo && !b.log.Enabled(context.Background(), l.level) {
		return len(p), nil
	}
	if l.rejected() {
		b.reject(l)
	} else if b.news(l.what, l.from) {
		b.log.Log(context.Background(), l.level, "gossip", "event", l.what, "detail", l.detail)
	}
	return len(p), nil
}

// reject names who sends what we drop. An operator who has rolled out a new key
// sees which nodes still have the old one.
func (b *bridge) reject(l line) {
	b.mu.Lock()
	if _, known := b.rejected[l.from]; known || len(b.rejected) < maxSenders {
		b.rejected[l.from]++
	}
	b.mu.Unlock()
	if b.news("rejected", l.from) {
		b.log.Warn("gossip message dropped", "from", l.from, "problem", l.problem())
	}
}

// news tells whether something was not told of late.
func (b *bridge) news(what string, from netip.Addr) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	key, now := what+" "+from.String(), time.Now()
	if last, ok := b.heard[key]; ok && now.Sub(last) < repeatAfter {
		return false
	}
	if len(b.heard) >= 4*maxSenders {
		clear(b.heard)
	}
	b.heard[key] = now
	return true
}

func (b *bridge) rejects() map[netip.Addr]uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make(map[netip.Addr]uint64, len(b.rejected))
	for a, n := range b.rejected {
		out[a] = n
	}
	return out
}

// line is a line such as
//
//	[ERR] memberlist: Decrypt packet failed: No installed keys could decrypt the message from=192.0.2.1:7946
type line struct {
	level  slog.Level
	what   string // up to the first colon; the same for every node and time
	detail string
	from   netip.Addr
}

func parseLine(s string) line {
	l := line{level: slog.LevelWarn}
	if tag, rest, ok := strings.Cut(s, "] "); ok && strings.HasPrefix(tag, "[") {
		l.level, s = levelOf(tag[1:]), rest
	}
	s = strings.TrimPrefix(s, "memberlist: ")
	if i := strings.LastIndex(s, "from="); i >= 0 {
		if ap, err := netip.ParseAddrPort(strings.TrimSuffix(s[i+len("from="):], ")")); err == nil {
			l.from, s = ap.Addr().Unmap(), strings.TrimSpace(s[:i])
		}
	}
	l.detail = s
	l.what, _, _ = strings.Cut(s, ":")
	return l
}

// levelOf keeps memberlist's errors below ours: it goes on after each of them.
// What it calls info is what question and the speaker tell better.
func levelOf(tag string) slog.Level {
	switch tag {
	case "DEBUG", "INFO":
		return slog.LevelDebug
	case "WARN":
		return slog.LevelInfo
	}
	return slog.LevelWarn
}

// rejected tells whether the line speaks of input that was dropped.
func (l line) rejected() bool {
	if !l.from.IsValid() {
		return false
	}
	for _, prefix := range []string{
		"Decrypt packet failed", "failed to receive", "discarding", "unexpected double", "missing message type",
		"msg type", "Received invalid msgType", "Failed to decode", "Failed to decompress", "Failed to read remote state",
		"cannot decode label", "UDP packet too short", "Too many pending",
	} {
		if strings.HasPrefix(l.what, prefix) {
			return true
		}
	}
	return strings.Contains(l.detail, "label")
}

func (l line) problem() string {
	switch {
	case strings.Contains(l.detail, "No installed keys"), strings.Contains(l.detail, "ecrypt"):
		return "wrong key or not ours"
	case strings.Contains(l.detail, "label"):
		return "not our gossip"
	}
	return l.detail
}
