package assign

import (
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"slices"
	"strconv"
	"testing"
)

// declared reads the constants of type Reason out of the source.
func declared(t *testing.T) map[Reason]*ast.CommentGroup {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "reasons.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	all := map[Reason]*ast.CommentGroup{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if id, ok := spec.Type.(*ast.Ident); ok && id.Name == "Reason" {
			value, _ := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			all[Reason(value)] = spec.Doc
		}
		return true
	})
	return all
}

func TestReasonsAreAllThatAreDeclared(t *testing.T) {
	all := declared(t)
	if len(all) != len(Reasons()) {
		t.Errorf("%d are declared, %d are listed", len(all), len(Reasons()))
	}
	word := regexp.MustCompile(`^([A-Z][a-z]+)+$`) // what status.conditions[].reason takes, and more
	for reason, doc := range all {
		if !slices.Contains(Reasons(), reason) || doc == nil || !word.MatchString(string(reason)) {
			t.Errorf("%s: not listed, not documented, or not a word", reason)
		}
	}
}

func TestEveryReasonButTheGoodOnesHasARemedy(t *testing.T) {
	for _, r := range Reasons() {
		if good := r == Allocated || r == Released; good != (r.Remedy() == "") {
			t.Errorf("%s: remedy %q", r, r.Remedy())
		}
	}
	if got := Reason("Unheard").Remedy(); got != "" {
		t.Errorf("a reason that is unheard of has the remedy %q", got)
	}
}
