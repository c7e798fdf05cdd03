package stage

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// calmState is a speaker's /state when nothing is under way.
const calmState = `{
	"ConfigHash": "abc", "Alive": ["n1", "n2", "n3"], "Members": {},
	"Holds": {"192.0.2.1": {"Due": "0001-01-01T00:00:00Z"}},
	"Forwarding": {"Pending": {}}, "Resumed": null,
	"Peers": [
		{"Name": "router", "Address": "10.0.0.1", "State": "Established", "BFD": "Up", "Since": "2026-01-01T00:00:00Z"},
		{"Name": "whoever comes", "Address": "", "State": "Active"}
	]
}`

func TestWhatIsNotCalm(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 1, 0, 0, time.UTC)
	for _, tt := range []struct{ desc, old, changed, want string }{
		{"calm", "", "", ""},
		{"no BFD", `"Up"`, `""`, ""},
		{"another configuration", `"abc"`, `"def", "ConfigError": "bad"`, "the configuration def is in force, not abc; bad"},
		{"not applied", `"abc"`, `"abc", "Error": "not permitted"`, "the table is not applied: not permitted"},
		{"drains", `"abc"`, `"abc", "Drains": "by annotation"`, "the node drains: by annotation"},
		{"a saved state", `"Resumed": null`, `"Resumed": "2026-01-01T00:00:00Z"`, "a saved state is announced"},
		{"the fuse", `"abc"`, `"abc", "Fused": 500`, "the fuse holds 500 withdrawals back"},
		{"damping", "0001-01-01T00:00:00Z", "2026-01-01T00:02:00Z", "1 changes of weight are held back"},
		{"doubts", `"abc"`, `"abc", "Doubted": 3`, "3 endpoints or nodes are doubted"},
		{"kube-proxy", `"Pending": {}`, `"Pending": {"default/b IPv4": "", "default/a IPv4": ""}`, "kube-proxy has no rules yet for [default/a IPv4 default/b IPv4]"},
		{"a dead node", `, "n3"`, "", "the gossip knows only [n1 n2]"},
		{"no gossip", `"Alive": ["n1", "n2", "n3"], "Members": {}`, `"Alive": null, "Members": null`, ""},
		{"no session", "Established", "Active", `the session with router (10.0.0.1) is Active since 00:00:00, BFD "Up"; `},
		{"BFD is not up", `"Up"`, `"Down"`, `the session with router (10.0.0.1) is Established since 00:00:00, BFD "Down"; `},
		{"a session so new that BFD has not begun", `"Since": "2026-01-01T00:00:00Z"`, `"Since": "2026-01-01T00:00:59Z"`, `the session with router (10.0.0.1) is Established since 00:00:59, BFD "Up"; `},
	} {
		text := strings.Replace(calmState, tt.old, tt.changed, 1)
		if tt.old != "" && text == calmState {
			t.Fatalf("%s: %s is not in the state", tt.desc, tt.old)
		}
		var st speakerState
		if err := json.Unmarshal([]byte(text), &st); err != nil {
			t.Fatalf("%s: %v", tt.desc, err)
		}
		if got := st.unrest(now, "abc", 3); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.desc, got, tt.want)
		}
	}
}

func TestSumOfAMetric(t *testing.T) {
	const m = Metrics(`# HELP herald_up 1 while it is up.
# TYPE herald_up gauge
herald_up{address="10.0.0.1",peer="a"} 1
herald_up{address="10.0.0.2",peer="b"} 0
herald_upper 7
herald_big 1.5e+06
`)
	for _, tt := range []struct {
		name   string
		labels []string
		want   float64
		has    bool
	}{
		{"herald_up", nil, 1, true},
		{"herald_up", []string{`peer="b"`}, 0, true},
		{"herald_up", []string{`peer="a"`, `address="10.0.0.1"`}, 1, true},
		{"herald_up", []string{`peer="c"`}, 0, false},
		{"herald_upper", nil, 7, true},
		{"herald_big", nil, 1.5e6, true},
		{"herald_u", nil, 0, false},
	} {
		if v, has := m.Sum(tt.name, tt.labels...), m.Has(tt.name, tt.labels...); v != tt.want || has != tt.has {
			t.Errorf("%s %v: %v, %v; want %v, %v", tt.name, tt.labels, v, has, tt.want, tt.has)
		}
	}
}

// off are tests that do not use the lab of their package.
var off = map[string]bool{
	"TestDemo": true, "TestBench": true, "TestFRRAcceptsTheREADME": true,
	"TestRoutersReadTheManual": true, "TestRoutersRefuseNonsense": true,
}

// No test of a shared lab may inherit what another has left: each begins with
// begin(t).
func TestEveryTestWaitsForACalmStart(t *testing.T) {
	var files []string
	for _, pattern := range []string{"../*_test.go", "../*/*_test.go"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	suites, tests := map[string]bool{}, map[string]*ast.FuncDecl{}
	for _, path := range files {
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Recv != nil {
				continue
			}
			switch name := fn.Name.Name; {
			case name == "begin":
				suites[filepath.Dir(path)] = true
			case strings.HasPrefix(name, "Test") && name != "TestMain":
				tests[filepath.Dir(path)+" "+name] = fn
			}
		}
	}
	if len(suites) < 5 {
		t.Fatalf("only %v have a function begin", suites)
	}
	checked := 0
	for key, fn := range tests {
		dir, name, _ := strings.Cut(key, " ")
		if !suites[dir] || off[name] {
			continue
		}
		checked++
		if !beginsCalm(fn) {
			t.Errorf("%s of %s does not start with begin(t)", name, dir)
		}
	}
	if checked < 50 {
		t.Errorf("only %d tests were looked at", checked)
	}
}

func beginsCalm(fn *ast.FuncDecl) bool {
	if len(fn.Body.List) == 0 {
		return false
	}
	s, ok := fn.Body.List[0].(*ast.ExprStmt)
	if !ok {
		return false
	}
	call, ok := s.X.(*ast.CallExpr)
	if !ok {
		return false
	}
	name, ok := call.Fun.(*ast.Ident)
	return ok && name.Name == "begin"
}
