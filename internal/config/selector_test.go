package config

import (
	"strings"
	"testing"

	"github.com/heraldlb/herald/internal/cluster"
)

func TestSelectorMatches(t *testing.T) {
	for _, row := range []struct {
		selector, labels string
		want             bool
	}{
		{"{}", "", true},
		{"{}", "app=web", true},
		{"{matchLabels: {app: web}}", "app=web tier=1", true},
		{"{matchLabels: {app: web}}", "app=api", false},
		{"{matchLabels: {app: web}}", "", false},
		{"{matchLabels: {app: ''}}", "", false},
		{"{matchLabels: {app: ''}}", "app=", true},
		{"{matchLabels: {app: web, tier: '1'}}", "app=web", false},
		{"{matchExpressions: [{key: app, operator: In, values: [web, api]}]}", "app=api", true},
		{"{matchExpressions: [{key: app, operator: In, values: [web, api]}]}", "app=db", false},
		{"{matchExpressions: [{key: app, operator: In, values: ['']}]}", "", false},
		{"{matchExpressions: [{key: app, operator: NotIn, values: [web]}]}", "app=api", true},
		{"{matchExpressions: [{key: app, operator: NotIn, values: [web]}]}", "app=web", false},
		{"{matchExpressions: [{key: app, operator: NotIn, values: [web]}]}", "", true},
		{"{matchExpressions: [{key: app, operator: Exists}]}", "app=", true},
		{"{matchExpressions: [{key: app, operator: Exists}]}", "tier=1", false},
		{"{matchExpressions: [{key: app, operator: DoesNotExist}]}", "tier=1", true},
		{"{matchExpressions: [{key: app, operator: DoesNotExist}]}", "app=web", false},
		{"{matchLabels: {tier: '1'}, matchExpressions: [{key: app, operator: Exists}]}", "app=web tier=1", true},
		{"{matchLabels: {tier: '1'}, matchExpressions: [{key: app, operator: Exists}]}", "app=web", false},
		{"{matchExpressions: [{key: app, operator: Exists}, {key: tier, operator: Exists}]}", "app=web", false},
	} {
		p := mustParse(t, pool+"  serviceSelector: "+row.selector).Pools[0]
		if got := p.ServiceSelector.Matches(labels(row.labels)); got != row.want {
			t.Errorf("%s on %q: got %v", row.selector, row.labels, got)
		}
	}
}

func TestUnknownOperatorMatchesNothing(t *testing.T) {
	s := Selector{MatchExpressions: []Requirement{{Key: "app", Operator: "Gt"}}}
	if s.Matches(labels("app=web")) {
		t.Error("matches")
	}
}

func TestPoolServes(t *testing.T) {
	for _, row := range []struct {
		desc, pool, namespace, labels string
		want                          bool
	}{
		{"anyone", "", "default", "", true},
		{"its namespace", "namespaces: [a, b]", "b", "", true},
		{"another namespace", "namespaces: [a, b]", "c", "", false},
		{"its namespace's label", "namespaceSelector: {matchLabels: {of: b}}", "b", "", true},
		{"another namespace's label", "namespaceSelector: {matchLabels: {of: b}}", "c", "of=b", false},
		{"by name, not by label", "namespaces: [a]\n  namespaceSelector: {matchLabels: {of: b}}", "a", "", true},
		{"by label, not by name", "namespaces: [a]\n  namespaceSelector: {matchLabels: {of: b}}", "b", "", true},
		{"neither", "namespaces: [a]\n  namespaceSelector: {matchLabels: {of: b}}", "c", "", false},
		{"its namespace's label, and another of its own", "namespaceSelector: {matchLabels: {of: b}}\n  serviceSelector: {matchLabels: {app: web}}", "b", "app=api", false},
		{"its label", "serviceSelector: {matchLabels: {app: web}}", "c", "app=web", true},
		{"another label", "serviceSelector: {matchLabels: {app: web}}", "c", "app=api", false},
		{"both", "namespaces: [a]\n  serviceSelector: {matchLabels: {app: web}}", "a", "app=web", true},
		{"label without namespace", "namespaces: [a]\n  serviceSelector: {matchLabels: {app: web}}", "b", "app=web", false},
		{"namespace without label", "namespaces: [a]\n  serviceSelector: {matchLabels: {app: web}}", "a", "", false},
	} {
		p := mustParse(t, pool+"  "+row.pool).Pools[0]
		s := &cluster.Service{Namespace: row.namespace, Labels: labels(row.labels), NamespaceLabels: map[string]string{"of": row.namespace}}
		if got := p.Serves(s); got != row.want {
			t.Errorf("%s: got %v", row.desc, got)
		}
	}
}

// labels reads "a=b c=d".
func labels(text string) map[string]string {
	m := map[string]string{}
	for _, f := range strings.Fields(text) {
		k, v, _ := strings.Cut(f, "=")
		m[k] = v
	}
	return m
}
