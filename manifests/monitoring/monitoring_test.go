// Package monitoring tests the manifests of this directory: what they ask for exists,
// and Prometheus itself finds that each alert fires when it must, and only then.
package monitoring

import (
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/heraldlb/herald/internal/netlab"
)

const root = "../.."

type alert struct {
	Alert       string
	Expr        string
	Annotations struct{ Summary, Command string }
}

// groups are the rules as Prometheus reads them, without the Operator's wrapping.
func groups(t *testing.T) (alerts []alert, text []byte) {
	t.Helper()
	var rule struct{ Spec yaml.Node }
	decode(t, "alerts.yaml", &rule)
	var spec struct{ Groups []struct{ Rules []alert } }
	if err := rule.Spec.Decode(&spec); err != nil {
		t.Fatal(err)
	}
	for _, g := range spec.Groups {
		alerts = append(alerts, g.Rules...)
	}
	text, err := yaml.Marshal(&rule.Spec)
	if err != nil {
		t.Fatal(err)
	}
	return alerts, text
}

func decode(t *testing.T, file string, into any) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err == nil {
		err = yaml.Unmarshal(text, into)
	}
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

// Several Prometheuses test the alerts, as people run several.
func TestAlerts(t *testing.T) {
	_, rules := groups(t)
	cases, err := os.ReadFile("testdata/alerts_test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"prometheus-2.42", "prometheus-2.53"} {
		t.Run(part, func(t *testing.T) {
			netlab.Part(t, part)
			dir := t.TempDir()
			for file, text := range map[string][]byte{"alerts.yaml": rules, "alerts_test.yaml": cases} {
				if err := os.WriteFile(filepath.Join(dir, file), text, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			for _, args := range [][]string{{"check", "rules", filepath.Join(dir, "alerts.yaml")}, {"test", "rules", filepath.Join(dir, "alerts_test.yaml")}} {
				argv := netlab.InPart(part, dir, "/usr/bin/promtool", args...)
				if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
					t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
				}
			}
		})
	}
}

// Each alert is tried, and the manual says what to do about it.
func TestEveryAlertIsTriedAndExplained(t *testing.T) {
	cases, err := os.ReadFile("testdata/alerts_test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	manual, err := os.ReadFile(filepath.Join(root, "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	alerts, _ := groups(t)
	for _, a := range alerts {
		if !strings.Contains(string(cases), `alertname="`+a.Alert+`"`) {
			t.Errorf("%s fires in no test", a.Alert)
		}
		if !strings.Contains(string(manual), "| `"+a.Alert+"` |") {
			t.Errorf("docs/operations.md says nothing of %s", a.Alert)
		}
		if a.Annotations.Summary == "" || a.Annotations.Command == "" {
			t.Errorf("%s has no summary or no command", a.Alert)
		}
	}
	if len(alerts) < 20 {
		t.Errorf("only %d alerts were read", len(alerts))
	}
}

var metric = regexp.MustCompile(`\bherald_[a-z0-9_]+`)

// What alerts and dashboard ask for is there: in the code, and in the manual.
func TestMetricsExist(t *testing.T) {
	manual, err := os.ReadFile(filepath.Join(root, "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	there := metricsInCode(t)
	dashboard, err := os.ReadFile("herald.json")
	if err != nil {
		t.Fatal(err)
	}
	var panels struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(dashboard, &panels); err != nil {
		t.Fatal(err)
	}
	asked := map[string]string{}
	alerts, _ := groups(t)
	for _, a := range alerts {
		asked[a.Alert] = a.Expr
	}
	for _, p := range panels.Panels {
		for _, x := range p.Targets {
			asked["panel "+p.Title] += " " + x.Expr
		}
	}
	for who, expr := range asked {
		names := metric.FindAllString(expr, -1)
		if len(names) == 0 {
			t.Errorf("%s asks for nothing: %s", who, expr)
		}
		for _, name := range names {
			name = strings.TrimSuffix(name, "_bucket")
			if !there[name] || !strings.Contains(string(manual), "| `"+name+"` |") {
				t.Errorf("%s asks for %s, which is not in the code, or not in docs/operations.md", who, name)
			}
		}
	}
}

// metricsInCode are the names that stand in the daemons' code.
func metricsInCode(t *testing.T) map[string]bool {
	t.Helper()
	there, quoted := map[string]bool{}, regexp.MustCompile(`"(herald_[a-z0-9_]+)"`)
	for _, dir := range []string{"allocator", "cmd"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, _ fs.DirEntry, err error) error {
			if err != nil || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			for _, m := range quoted.FindAllStringSubmatch(string(text), -1) {
				there[m[1]] = true
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return there
}

// The PodMonitor finds the pods of the base by their labels and the name of their port.
func TestPodsAreScraped(t *testing.T) {
	var monitor struct {
		Spec struct {
			Selector struct {
				MatchLabels      map[string]string `yaml:"matchLabels"`
				MatchExpressions []struct {
					Key, Operator string
					Values        []string
				} `yaml:"matchExpressions"`
			}
			PodMetricsEndpoints []struct{ Port string } `yaml:"podMetricsEndpoints"`
		}
	}
	decode(t, "pods.yaml", &monitor)
	for _, file := range []string{"allocator.yaml", "speaker.yaml"} {
		var workload struct {
			Spec struct {
				Template struct {
					Metadata struct{ Labels map[string]string }
					Spec     struct {
						Containers []struct{ Ports []struct{ Name string } }
					}
				}
			}
		}
		decode(t, filepath.Join(root, "manifests", "base", file), &workload)
		labels := workload.Spec.Template.Metadata.Labels
		for k, v := range monitor.Spec.Selector.MatchLabels {
			if labels[k] != v {
				t.Errorf("%s: label %s is %q, want %q", file, k, labels[k], v)
			}
		}
		for _, x := range monitor.Spec.Selector.MatchExpressions {
			if x.Operator != "In" || !slices.Contains(x.Values, labels[x.Key]) {
				t.Errorf("%s: label %s is %q, want %s %v", file, x.Key, labels[x.Key], x.Operator, x.Values)
			}
		}
		for _, e := range monitor.Spec.PodMetricsEndpoints {
			if !slices.ContainsFunc(workload.Spec.Template.Spec.Containers[0].Ports, func(p struct{ Name string }) bool { return p.Name == e.Port }) {
				t.Errorf("%s has no port %s", file, e.Port)
			}
		}
	}
}

// kubectl renders the directory: all that the kustomization names is there.
func TestKustomize(t *testing.T) {
	kubectl := filepath.Join(root, "e2e", "bin", "kubectl")
	if _, err := os.Stat(kubectl); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip("make lab builds kubectl")
	}
	out, err := exec.Command(kubectl, "kustomize", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"kind: ConfigMap\n", "kind: PodMonitor\n", "kind: PrometheusRule\n"} {
		if strings.Count(string(out), kind) != 1 {
			t.Errorf("no %s in\n%s", kind, out)
		}
	}
	if !strings.Contains(string(out), `"title": "Herald"`) {
		t.Error("the dashboard is missing")
	}
}
