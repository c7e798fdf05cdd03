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

func TestAnnotationsOfMetalLB(t *testing.T) {
	const ips, pool = cluster.AnnotationAddresses, cluster.AnnotationPool
	for _, tt := range []struct {
		desc     string
		given    map[string]string
		ips      string
		pool     string
		borrowed bool
	}{
		{"none", nil, "", "", false},
		{"the new names", map[string]string{"metallb.io/loadBalancerIPs": "192.0.2.1", "metallb.io/address-pool": "p"}, "192.0.2.1", "p", true},
		{"the old names", map[string]string{"metallb.universe.tf/loadBalancerIPs": "192.0.2.1"}, "192.0.2.1", "", true},
		{"both: the new one", map[string]string{"metallb.universe.tf/address-pool": "old", "metallb.io/address-pool": "new"}, "", "new", true},
		{"beside ours: ours alone", map[string]string{"metallb.io/loadBalancerIPs": "192.0.2.1", pool: "p"}, "", "p", false},
	} {
		given := []cluster.Service{{LoadBalancer: true, Annotations: tt.given}}
		got := Scope{MetalLB: true}.Own(given)[0]
		if got.Annotations[ips] != tt.ips || got.Annotations[pool] != tt.pool || got.Borrowed != tt.borrowed || got.Asked() != (tt.pool != "" && !tt.borrowed) {
			t.Errorf("%s: %+v, asked %v", tt.desc, got, got.Asked())
		}
		if again := (Scope{MetalLB: true}).Own([]cluster.Service{got})[0]; !reflect.DeepEqual(again, got) {
			t.Errorf("%s: a second time %+v", tt.desc, again)
		}
		if without := (Scope{}).Own(given)[0]; without.Annotations[ips] != "" || len(given[0].Annotations) != len(tt.given) {
			t.Errorf("%s: without compatibility %+v", tt.desc, without)
		}
	}
}

func TestScopeIsRead(t *testing.T) {
	for text, want := range map[string]Scope{
		"": {}, "serviceClass: heraldlb.io/herald\nclassless: serve\n": {},
		"serviceClass: example.com/x\nclassless: ignore\n": {Class: "example.com/x", SkipClassless: true},
		"compatibility: metallb\n":                         {MetalLB: true}, "compatibility: none\n": {},
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
