package members

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/hashicorp/memberlist"
)

func TestMetas(t *testing.T) {
	said := func(meta string) *memberlist.Node {
		n := node("n2", "10.0.0.2:7946")
		n.Meta = []byte(meta)
		return n
	}
	for _, tt := range []struct {
		what  string
		steps func(*roster)
		want  string
	}{
		{"it joined", func(r *roster) { r.NotifyJoin(said("a")) }, "a"},
		{"it says something else", func(r *roster) { r.NotifyJoin(said("a")); r.NotifyUpdate(said("b")) }, "b"},
		{"it is dead", func(r *roster) { r.NotifyJoin(said("a")); r.NotifyLeave(said("a")); r.takeDoubted(); r.settle("n2") }, "a"},
		{"it left", func(r *roster) { r.NotifyJoin(said("a")); r.NotifyMsg(farewell("n2")); r.NotifyLeave(said("a")) }, "a"},
		{"it is back", func(r *roster) { r.NotifyJoin(said("a")); r.NotifyJoin(said("c")) }, "c"},
		{"it says nothing any more", func(r *roster) { r.NotifyJoin(said("a")); r.NotifyUpdate(said("")) }, ""},
		{"it speaks after the end", func(r *roster) { r.NotifyJoin(said("a")); r.close(); r.NotifyUpdate(said("b")) }, "a"},
	} {
		r := newRoster("n1", nil)
		tt.steps(r)
		if got := string(r.said()["n2"]); got != tt.want {
			t.Errorf("%s: known of it is %q, want %q", tt.what, got, tt.want)
		}
	}
}

func TestMetaIsCut(t *testing.T) {
	long := func() []byte { return bytes.Repeat([]byte("x"), 2*MetaSize) }
	if got := len(newRoster("n1", long).NodeMeta(MetaSize)); got != MetaSize {
		t.Errorf("%d bytes of our meta are sent, want %d: memberlist panics at more", got, MetaSize)
	}
	if got := newRoster("n1", nil).NodeMeta(MetaSize); got != nil {
		t.Errorf("without meta %q is sent", got)
	}
}

func TestThoseThatAreGoneAreForgottenWhenThereAreMany(t *testing.T) {
	r := newRoster("n1", nil)
	here := node("here", "10.0.0.2:7946")
	here.Meta = []byte("h")
	r.NotifyJoin(here)
	for i := range 3 * mostGone {
		n := node(fmt.Sprintf("gone-%d", i), "10.0.0.3:7946")
		n.Meta = []byte("g")
		r.NotifyJoin(n)
		r.NotifyMsg(farewell(n.Name))
		r.NotifyLeave(n)
	}
	if got := r.said(); len(got) > mostGone+2 || string(got["here"]) != "h" {
		t.Errorf("%d are remembered, %d at most; who is here says %q", len(got), mostGone, got["here"])
	}
}
