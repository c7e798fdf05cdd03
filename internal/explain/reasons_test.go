package explain_test

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/allocator/assign"
	"github.com/heraldlb/herald/speaker/plan"
)

var update = flag.Bool("update", false, "write docs/reasons.md and the kept files")

const reasonsDoc = "../../docs/reasons.md"

// docs/reasons.md is made from the constants and their comments, so that it
// cannot tell of a Reason that does not exist, nor leave one out.
func TestReasonsAreDocumented(t *testing.T) {
	want := reasons(t)
	if *update {
		if err := os.WriteFile(reasonsDoc, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(reasonsDoc)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("%s differs from the constants; run go test ./internal/explain -update (-want +got)\n%s", reasonsDoc, diff)
	}
}

func reasons(t *testing.T) string {
	var b strings.Builder
	b.WriteString(`# Reasons

Why a Service has an address or not, and why a node announces it or not. The values are API: conditions, Events, metrics
and ` + "`heraldctl explain`" + ` use them. This page is made from the source by ` + "`go test ./internal/explain -update`" + `.

## Of the allocator
In the condition ` + "`heraldlb.io/Allocated`" + ` of a Service and in its Events.

| Reason | means | what to do |
|---|---|---|
`)
	comments := commentsOf(t, "../../allocator/assign/reasons.go")
	for _, r := range assign.Reasons() {
		row(&b, t, string(r), comments[string(r)], r.Remedy())
	}
	b.WriteString(`
## Of a speaker
In ` + "`heraldctl explain`" + `, in /state, and as a label of the metric ` + "`herald_speaker_decisions`" + `.

| Reason | means | what to do |
|---|---|---|
`)
	comments = commentsOf(t, "../../speaker/plan/reason.go")
	for _, r := range plan.Reasons() {
		row(&b, t, string(r), comments[string(r)], r.Remedy())
	}
	return b.String()
}

func row(b *strings.Builder, t *testing.T, reason, comment, remedy string) {
	t.Helper()
	if comment == "" {
		t.Errorf("%s has no comment", reason)
	}
	if remedy == "" {
		remedy = "nothing"
	}
	fmt.Fprintf(b, "| `%s` | %s | %s |\n", reason, comment, remedy)
}

// commentsOf are the doc comments of a file's string constants, by value,
// without the leading name.
func commentsOf(t *testing.T, file string) map[string]string {
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	ast.Inspect(f, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok || v.Doc == nil || len(v.Values) != 1 {
			return true
		}
		text := strings.Join(strings.Fields(v.Doc.Text()), " ")
		name := v.Names[0].Name
		for _, start := range []string{name + ": ", name + " means that ", name + " "} {
			if rest, cut := strings.CutPrefix(text, start); cut {
				text = rest
				break
			}
		}
		if lit, ok := v.Values[0].(*ast.BasicLit); ok {
			out[strings.Trim(lit.Value, `"`)] = text
		}
		return true
	})
	return out
}
