package config

import (
	"reflect"
	"testing"

	"github.com/heraldlb/herald/internal/cluster"
)

func TestWhichServicesAreOurs(t *testing.T) {
	has := cluster.Condition{Allocated: true, Reason: "Allocated"}
	services := map[string]cluster.Service{
		"classless":             {LoadBalancer: true},
		"classless, has one":    {LoadBalancer: true, Condition: has},
		"classless, of another": {LoadBalancer: true, Condition: has, StatusOf: "k3s"},
		"of Herald's class":     {LoadBalancer: true, Class: cluster.Class},
		"of class x":            {LoadBalancer: true, Class: "example.com/x"},
		"no load balancer":      {},
	}
	for _, tt := range []struct {
		scope Scope
		ours  []string
	}{
		{Scope{}, []string{"classless", "classless, has one", "classless, of another", "of Herald's class"}},
		{Scope{SkipClassless: true}, []string{"classless, has one", "of Herald's class"}},
		{Scope{Class: "example.com/x"}, []string{"classless", "classless, has one", "classless, of another", "of class x"}},
		{Scope{Class: "example.com/x", SkipClassless: true}, []string{"classless, has one", "of class x"}},
	} {
		ours := map[string]bool{}
		for _, name := range tt.ours {
			ours[name] = true
		}
		for name, svc := range services {
			given := []cluster.Service{svc}
			if got := tt.scope.Own(given)[0].Ours(); got != ours[name] {
				t.Errorf("%+v: %s: %v", tt.scope, name, got)
			}
			if !reflect.DeepEqual(given[0], svc) {
				t.Errorf("%+v: %s was changed in place", tt.scope, name)
			}
		}
	}
}

func TestScopeIsRead(t *testing.T) {
	for text, want := range map[string]Scope{
		"": {}, "serviceClass: heraldlb.io/herald\nclassless: serve\n": {},
		"serviceClass: example.com/x\nclassless: ignore\n": {"example.com/x", true},
	} {
		c, err := Parse([]byte(pool + text))
		if err != nil || c.Scope != want {
			t.Errorf("%q: %+v, %v", text, c, err)
		}
	}
	for text, want := range map[string]string{
		"serviceClass: a b\n":  `serviceClass: "a b": write a class such as heraldlb.io/herald`,
		"classless: ignored\n": `classless: "ignored": write serve or ignore`,
	} {
		if _, err := Parse([]byte(pool + text)); err == nil || err.Error() != want {
			t.Errorf("%q: %v", text, err)
		}
	}
}
