package dataplane

import (
	"fmt"
	"strings"

	"github.com/google/nftables"
)

// Ruleset is what `nft list table ip herald` and `nft list table ip6 herald` show
// of the spec, without what packets have left there.
func (s RescueSpec) Ruleset() string {
	links := map[string]int{}
	for i, name := range s.links() {
		links[name] = i + 1
	}
	var b strings.Builder
	for _, t := range s.tables(links) {
		b.WriteString(t.String())
	}
	return b.String()
}

func (t table) String() string {
	var blocks []string
	if t.name == tableName && len(t.sets) > 1 {
		for _, c := range counters {
			blocks = append(blocks, fmt.Sprintf("\tcounter %s {\n\t\tpackets 0 bytes 0\n\t}\n", c))
		}
	}
	for _, s := range t.sets {
		blocks = append(blocks, s.String())
	}
	for _, c := range t.chains {
		blocks = append(blocks, c.String())
	}
	return fmt.Sprintf("table %s %s {\n%s}\n", t.family.name, t.name, strings.Join(blocks, "\n"))
}

func (s set) String() string {
	var b strings.Builder
	if s.isMap() {
		fmt.Fprintf(&b, "\tmap %s {\n\t\ttype %s : %s\n", s.name, s.key.Name, s.data.Name)
	} else {
		fmt.Fprintf(&b, "\tset %s {\n\t\ttype %s\n", s.name, s.key.Name)
	}
	if s.dynamic() {
		timeout := strings.Replace(s.timeout.String(), "m0s", "m", 1)
		fmt.Fprintf(&b, "\t\tsize %d\n\t\tflags dynamic,timeout\n\t\ttimeout %s\n", s.size, timeout)
	}
	if s.counter {
		b.WriteString("\t\tcounter\n")
	}
	s.writeElements(&b)
	b.WriteString("\t}\n")
	return b.String()
}

// perLine is how many elements nft puts into a line.
func (s set) perLine() int {
	if s.key.Name == nftables.TypeIPAddr.Name {
		return 2
	}
	return 1
}

func (s set) writeElements(b *strings.Builder) {
	if len(s.elements) == 0 {
		return
	}
	b.WriteString("\t\telements = { ")
	for i, e := range s.elements {
		switch {
		case i == 0:
		case i%s.perLine() == 0:
			b.WriteString(",\n\t\t\t     ")
		default:
			b.WriteString(", ")
		}
		b.WriteString(e.text)
		if s.counter {
			b.WriteString(" counter packets 0 bytes 0")
		}
	}
	b.WriteString(" }\n")
}

var hookNames = map[*nftables.ChainHook]string{
	nftables.ChainHookPrerouting: "prerouting", nftables.ChainHookInput: "input", nftables.ChainHookOutput: "output",
}

func (c chain) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "\tchain %s {\n", c.name)
	if c.hook != nil {
		kind, priority := "filter", "mangle"
		if c.first {
			kind, priority = "nat", fmt.Sprint(firstPriority)
		}
		fmt.Fprintf(&b, "\t\ttype %s hook %s priority %s; policy accept;\n", kind, hookNames[c.hook], priority)
	}
	for _, r := range c.rules {
		fmt.Fprintf(&b, "\t\t%s\n", r)
	}
	b.WriteString("\t}\n")
	return b.String()
}

func (r rule) String() string {
	var parts []string
	for _, w := range r.words {
		if w.text != "" {
			parts = append(parts, w.text)
		}
	}
	if r.comment != "" {
		parts = append(parts, fmt.Sprintf("comment %q", r.comment))
	}
	return strings.Join(parts, " ")
}
