package l2

import (
	"bytes"
	"testing"
)

// FuzzARP looks for frames that crash us, or that make us send what we must not.
func FuzzARP(f *testing.F) {
	f.Fuzz(func(t *testing.T, frame []byte) {
		before := bytes.Clone(frame)
		v := answerARP(ours, frame, nil)
		checkVerdict(t, v)
		if !bytes.Equal(frame, before) {
			t.Fatal("the frame was changed")
		}
		if v.reply != nil {
			checkARPReply(t, ours, frame, v.reply)
			checkAsked(t, ours, frame, arpFilter)
		}
	})
}

// FuzzNDP does the same for neighbour discovery.
func FuzzNDP(f *testing.F) {
	f.Fuzz(func(t *testing.T, frame []byte) {
		before := bytes.Clone(frame)
		v := answerNDP(ours, frame, nil)
		checkVerdict(t, v)
		if !bytes.Equal(frame, before) {
			t.Fatal("the frame was changed")
		}
		if v.reply != nil {
			checkNA(t, ours, frame, v.reply)
			checkAsked(t, ours, frame, ndpFilter)
		}
	})
}

func checkVerdict(t *testing.T, v verdict) {
	t.Helper()
	if v.malformed && (v.request || v.reply != nil || v.hasRival()) {
		t.Fatalf("a malformed frame has consequences: %+v", v)
	}
	if v.request != (v.reply != nil) {
		t.Fatalf("a request without reply, or the other way round: %+v", v)
	}
	if v.hasRival() && (!ours.has(v.addr) || v.rival == us || !v.rival.station()) {
		t.Fatalf("not a rival: %+v", v)
	}
}
