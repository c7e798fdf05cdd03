package echo

import (
	"encoding/json"
	"net/netip"
)

// Reply is what every request is answered with, as one line of JSON: who
// answered, and whom it saw.
type Reply struct {
	Pod    string `json:"pod"`
	Node   string `json:"node"`
	Client string `json:"client"` // address and port of the sender
	Proto  string `json:"proto"`  // tcp or udp
}

// template has all of a reply but the client, so that an answer costs one copy.
type template struct{ before, after []byte }

func newTemplate(pod, node, proto string) template {
	quote := func(s string) string {
		b, _ := json.Marshal(s) // a string can always be marshalled
		return string(b)
	}
	return template{
		before: []byte(`{"pod":` + quote(pod) + `,"node":` + quote(node) + `,"client":"`),
		after:  []byte(`","proto":"` + proto + `"}` + "\n"),
	}
}

func (t template) line(client netip.AddrPort) []byte {
	b := make([]byte, 0, 192)
	b = append(b, t.before...)
	b = netip.AddrPortFrom(client.Addr().Unmap(), client.Port()).AppendTo(b)
	return append(b, t.after...)
}
