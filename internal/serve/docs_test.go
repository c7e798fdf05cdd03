package serve

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const root = "../.."

var (
	metricName = regexp.MustCompile(`^herald_[a-z0-9_]+$`)
	metricWord = regexp.MustCompile(`\bherald_[a-z0-9_]+`)
	metricRow  = regexp.MustCompile("(?m)^\\| `(herald_[a-z0-9_]+)` \\|")
)

// goFiles are the product's own, e2e's tests among them.
func goFiles(t *testing.T) (out []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == ".git" || d.Name() == "bin") {
			return fs.SkipDir
		}
		if strings.HasSuffix(path, ".go") {
			out = append(out, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// named are the metrics that the code names, each with the files that do: a
// string of its own in a file that has to do with Prometheus.
func named(t *testing.T) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	for _, path := range goFiles(t) {
		if strings.HasSuffix(path, "_test.go") || strings.HasPrefix(path, filepath.Join(root, "e2e")) {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(file.Imports, func(i *ast.ImportSpec) bool { return strings.Contains(i.Path.Value, "prometheus/client_golang") }) {
			continue
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING {
				if text, err := strconv.Unquote(l.Value); err == nil && metricName.MatchString(text) {
					out[text] = append(out[text], path)
				}
			}
			return true
		})
	}
	if len(out) < 30 {
		t.Fatalf("only %d metrics are found in the code: %v", len(out), out)
	}
	return out
}

// A metric is API: what is not in the manual is not there for its reader, and
// what is in the manual alone is an alert that never fires.
func TestEveryMetricIsInTheManual(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	code := named(t)
	for _, program := range []struct{ title, folder string }{
		{"### Metrics of a speaker\n", "speaker"}, {"### Metrics of the allocator\n", "allocator"},
	} {
		_, section, ok := strings.Cut(string(text), program.title)
		section, _, _ = strings.Cut(section, "\n### ")
		if !ok {
			t.Fatalf("docs/operations.md has no %q", program.title)
		}
		var documented []string
		for _, m := range metricRow.FindAllStringSubmatch(section, -1) {
			documented = append(documented, m[1])
		}
		for name, files := range code {
			if strings.Contains(files[0], program.folder) && !slices.Contains(documented, name) {
				t.Errorf("%s of %s is not among the metrics of a %s in docs/operations.md", name, files[0], program.folder)
			}
		}
		for i, name := range documented {
			switch files := code[name]; {
			case len(files) == 0 || !strings.Contains(files[0], program.folder):
				t.Errorf("docs/operations.md tells of %s, which is no metric of a %s", name, program.folder)
			case slices.Contains(documented[:i], name):
				t.Errorf("docs/operations.md tells of %s twice", name)
			}
		}
	}
}

func TestDocumentsNameNoOtherMetric(t *testing.T) {
	code := named(t)
	docs, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil || len(docs) < 4 {
		t.Fatalf("%v %v", docs, err)
	}
	for _, path := range append(docs, filepath.Join(root, "README.md")) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range metricWord.FindAllString(string(text), -1) {
			if len(code[name]) == 0 {
				t.Errorf("%s names %s, which is no metric", path, name)
			}
		}
	}
}

// Tests of the lab read metrics as users do; others compare whole sets of them.
func TestEveryMetricIsInATest(t *testing.T) {
	missing := maps.Clone(named(t))
	for _, path := range goFiles(t) {
		if !strings.HasSuffix(path, "_test.go") {
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range metricWord.FindAllString(string(text), -1) {
			delete(missing, name)
		}
	}
	for name, files := range missing {
		t.Errorf("no test names %s of %s", name, files[0])
	}
}
