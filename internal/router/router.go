// Package router writes the router's side of a configuration: what the peers of
// Herald must be told so that sessions come up and weights count. It is pure.
package router

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/heraldlb/herald/internal/config"
)

// A language is that of one kind of router. A further kind is one more.
type language struct {
	name    string
	comment string // how a line begins that is one
	write   func(*strings.Builder, side)
	warn    func(side) []string // why weights do not count with this configuration
	hints   func(side) []string // what else a router like that needs
}

var languages = []language{bird, frr}

// Kinds are the kinds of routers that Write knows, in the order of the alphabet.
func Kinds() (names []string) {
	for _, l := range languages {
		names = append(names, l.name)
	}
	return names
}

// Section is what to add to the configuration of one router.
type Section struct {
	Peer  string   // which of the configuration's peers it is, and which of its overrides
	Text  string   // begins with the Notes, as comments
	Notes []string // what was assumed, and why weights do not count
}

// ErrUnknownKind says that Write does not know such routers.
var ErrUnknownKind = errors.New("unknown kind of router; write " + strings.Join(Kinds(), " or "))

// Write writes a section for each peer, and one for each of its overrides that
// asks for something else. An error of type Error says what Options lack.
func Write(kind string, c *config.Config, o Options) ([]Section, error) {
	i := slices.IndexFunc(languages, func(l language) bool { return strings.EqualFold(l.name, kind) })
	if i < 0 {
		return nil, fmt.Errorf("%q: %w", kind, ErrUnknownKind)
	}
	all, err := sides(c, o)
	if err != nil {
		return nil, err
	}
	var list []Section
	written := map[string]bool{}
	for _, s := range all {
		notes := append(s.notes(), languages[i].warn(s)...)
		text := languages[i].text(s, notes)
		if same := s.Name + text; !written[same] {
			written[same] = true
			list = append(list, Section{s.where, languages[i].comment + " " + s.heading() + "\n" + text, notes})
		}
	}
	return list, nil
}

func (l language) text(s side, notes []string) string {
	var b strings.Builder
	for _, n := range slices.Concat(notes, l.hints(s)) {
		fmt.Fprintf(&b, "%s %s\n", l.comment, n)
	}
	l.write(&b, s)
	return b.String()
}
