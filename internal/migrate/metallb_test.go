package migrate

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/heraldlb/herald/internal/config"
)

var update = flag.Bool("update", false, "write the wanted files anew")

// TestMetalLB compares what comes out with testdata/*.want: the configuration, and
// the notes as comments. Each must be one that the allocator takes.
func TestMetalLB(t *testing.T) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) < 3 {
		t.Fatalf("found %v: %v", files, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			r, err := MetalLB(text)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range r.Problems {
				t.Errorf("the allocator would refuse it: %v", p)
			}
			var got bytes.Buffer
			got.Write(r.YAML)
			for _, n := range r.Notes {
				fmt.Fprintf(&got, "# %s\n", n)
			}
			path := strings.TrimSuffix(file, ".yaml") + ".want"
			if *update {
				if err := os.WriteFile(path, got.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.Bytes(), want) {
				t.Errorf("got\n%s\nwant\n%s", got.Bytes(), want)
			}
		})
	}
}

func TestWhatCannotBeRead(t *testing.T) {
	for _, tt := range []struct{ desc, text, want string }{
		{"nothing", "", ErrNothing.Error()},
		{"others' objects alone", "apiVersion: v1\nkind: Service\nmetadata: {name: web}\n", ErrNothing.Error()},
		{"no YAML", "a: b\n---\n\tx", "yaml: line 3: "},
		{"a wrong type", "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: p}\nspec: {addresses: 7}\n", "IPAddressPool p: spec: "},
		{"twice", aPool("p", "192.0.2.0/24") + aPool("p", "198.51.100.0/24"), "IPAddressPool p is there twice"},
		{"the kind of 0.12", "apiVersion: metallb.io/v1beta1\nkind: AddressPool\nmetadata: {name: p}\n", "AddressPool p: MetalLB 0.13 replaced this kind"},
	} {
		if _, err := MetalLB([]byte(tt.text)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.desc, err, tt.want)
		}
	}
}

func aPool(name, addresses string) string {
	return fmt.Sprintf("---\napiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: %s}\nspec: {addresses: ['%s']}\n", name, addresses)
}

// What MetalLB takes and Herald does not is named as a fault of what comes out.
func TestFaultsOfTheOutcomeAreTold(t *testing.T) {
	r, err := MetalLB([]byte(aPool("a", "192.0.2.0/24") + aPool("b", "169.254.0.0/24")))
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Problems) != 1 || r.Problems[0].Path != "pools[1].ranges[0]" {
		t.Errorf("got %v", r.Problems)
	}
}

func TestUnknownFieldsAreTold(t *testing.T) {
	r, err := MetalLB([]byte("apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: p}\nspec: {addresses: [192.0.2.0/24], fromTheFuture: true}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(r.Notes); !strings.Contains(got, "IPAddressPool p: fromTheFuture: this program does not know it") {
		t.Errorf("got %s", got)
	}
}

// MetalLB takes the pool of the least priority first, those for certain Services
// before those for all, and those without a priority last.
func TestPrioritiesAreTurnedAround(t *testing.T) {
	var text strings.Builder
	for i, p := range []struct{ name, allocation string }{
		{"all", "{}"}, {"none", "{namespaces: [a]}"}, {"five", "{priority: 5, namespaces: [a]}"}, {"nine", "{priority: 9}"}, {"five-too", "{priority: 5}"},
	} {
		text.WriteString(strings.Replace(aPool(p.name, fmt.Sprintf("10.%d.0.0/24", i)), "spec: {", "spec: {serviceAllocation: "+p.allocation+", ", 1))
	}
	r, err := MetalLB([]byte(text.String()))
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Parse(r.YAML)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for _, p := range c.Pools {
		got[p.Name] = p.Priority
	}
	if fmt.Sprint(got) != "map[all:0 five:3 five-too:3 nine:2 none:1]" {
		t.Error(got)
	}
}

func TestEither(t *testing.T) {
	host := func(names ...string) selector {
		return selector{MatchExpressions: []requirement{{"host", "In", names}}}
	}
	label := func(k, v string) selector { return selector{MatchLabels: map[string]string{k: v}} }
	for _, tt := range []struct {
		desc string
		list []selector
		want string
	}{
		{"none", nil, "[]"},
		{"one", []selector{label("host", "n1")}, "[{map[host:n1] []}]"},
		{"two values of one label", []selector{label("host", "n1"), label("host", "n2"), host("n2", "n3")}, "[{map[] [{host In [n1 n2 n3]}]}]"},
		{"everything beside one", []selector{label("host", "n1"), {}}, "[]"},
		{"two labels", []selector{label("host", "n1"), label("rack", "a"), label("host", "n2")}, "[{map[] [{host In [n1 n2]}]} {map[rack:a] []}]"},
		{"another operator", []selector{label("host", "n1"), {MatchExpressions: []requirement{{"host", "Exists", nil}}}}, "[{map[host:n1] []} {map[] [{host Exists []}]}]"},
	} {
		if got := fmt.Sprint(either(tt.list)); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.desc, got, tt.want)
		}
	}
}

func TestSelectorMatches(t *testing.T) {
	labels := map[string]string{"a": "1", "b": "2"}
	for _, tt := range []struct {
		s    selector
		want bool
	}{
		{selector{}, true},
		{selector{MatchLabels: map[string]string{"a": "1"}}, true},
		{selector{MatchLabels: map[string]string{"a": "2"}}, false},
		{selector{MatchLabels: map[string]string{"c": ""}}, false},
		{selector{MatchExpressions: []requirement{{"a", "In", []string{"1", "3"}}, {"b", "NotIn", []string{"3"}}}}, true},
		{selector{MatchExpressions: []requirement{{"c", "NotIn", []string{"3"}}, {"c", "DoesNotExist", nil}}}, true},
		{selector{MatchExpressions: []requirement{{"c", "In", []string{""}}}}, false},
		{selector{MatchExpressions: []requirement{{"c", "Exists", nil}}}, false},
		{selector{MatchExpressions: []requirement{{"a", "DoesNotExist", nil}}}, false},
	} {
		if got := tt.s.matches(labels); got != tt.want {
			t.Errorf("%+v: %v", tt.s, got)
		}
	}
}

// errors.Is must tell an empty text from a broken one.
func TestErrNothing(t *testing.T) {
	if _, err := MetalLB([]byte("---\n")); !errors.Is(err, ErrNothing) {
		t.Error(err)
	}
}
