package routers

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/heraldlb/herald/e2e/lab"
)

// A block is a piece of docs/configuration.md between fences.
type block struct {
	line int
	kind string // frr, bird, shell or the language of the fence
	text string
}

// blocks reads them all.
func blocks(t *testing.T) (list []block) {
	t.Helper()
	var b *block
	for i, line := range strings.Split(manual(t), "\n") {
		switch language, fence := strings.CutPrefix(line, "```"); {
		case fence && b == nil:
			b = &block{line: i + 2, kind: language}
		case fence:
			if b.kind == "" {
				b.kind = kindOf(b.text)
			}
			list = append(list, *b)
			b = nil
		case b != nil:
			b.text += line + "\n"
		}
	}
	return list
}

// kindOf tells what an unmarked block is for. What it does not know is FRR's, whose
// parser then refuses it, so that no block goes unread.
func kindOf(text string) string {
	switch {
	case strings.HasPrefix(text, "kubectl "), strings.HasPrefix(text, "$ "):
		return "shell"
	case strings.Contains(text, "\nprotocol "), strings.HasPrefix(text, "protocol "):
		return "bird"
	default:
		return "frr"
	}
}

func manual(t *testing.T) string {
	t.Helper()
	dir, err := lab.ModuleDir()
	must(t, err)
	text, err := os.ReadFile(filepath.Join(dir, "..", "docs", "configuration.md"))
	must(t, err)
	return string(text)
}

// A command of FRR within a sentence, of those that belong into `router bgp`.
var inSentence = regexp.MustCompile("`((?:no )?(?:neighbor|bgp|maximum-paths) [^`]+)`")

// TestRoutersReadTheManual feeds all that the manual says of routers to their
// parsers.
func TestRoutersReadTheManual(t *testing.T) {
	blocksOf := map[string]int{}
	for _, b := range blocks(t) {
		blocksOf[b.kind]++
		if b.kind == "frr" || b.kind == "bird" {
			t.Run(fmt.Sprintf("%s at line %d", b.kind, b.line), func(t *testing.T) { must(t, parse(t, b.kind, b.text)) })
		}
	}
	commands := inSentence.FindAllStringSubmatch(manual(t), -1)
	for _, c := range commands {
		t.Run(c[1], func(t *testing.T) {
			must(t, parse(t, "frr", "router bgp 64512\n neighbor 10.0.0.11 remote-as 64513\n "+c[1]+"\n"))
		})
	}
	if blocksOf["frr"] < 3 || blocksOf["bird"] < 1 || len(commands) < 4 {
		t.Errorf("found only %v blocks, and %d commands: has the manual changed its form?", blocksOf, len(commands))
	}
}

// The parsers must be able to say no.
func TestRoutersRefuseNonsense(t *testing.T) {
	for kind, text := range map[string]string{
		"frr":  "router bgp 64512\n neighbor 10.0.0.11 remote-as 64513\n neighbor 10.0.0.11 heralded\n",
		"bird": "protocol bgp herald { local as 64512; neighbor range 10.0.0.0/24 as 64513; heralded; }\n",
	} {
		if parse(t, kind, text) == nil {
			t.Errorf("the parser of %s takes:\n%s", kind, text)
		}
	}
}

// parsers are routers whose programs must take the documents' blocks.
var parsers = map[string][]string{"frr": {"frr-8.4", "frr-10.3", "frr-sid"}, "bird": {"bird-2.0", "bird-2.17", "bird-3"}}

// parse has routers' own programs read a configuration.
func parse(t *testing.T, kind, text string) error {
	t.Helper()
	for _, part := range parsers[kind] {
		if err := lab.CheckConfig(t.Context(), part, t.TempDir(), text); err != nil {
			return err
		}
	}
	return nil
}
