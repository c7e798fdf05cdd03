package assign

import (
	"strings"
	"testing"
)

type row struct {
	desc, given, want string
}

func check(t *testing.T, rows []row) {
	t.Helper()
	for _, r := range rows {
		t.Run(r.desc, func(t *testing.T) {
			got := short(compute(read(t, r.given)))
			if want := unindent(r.want); got != want {
				t.Errorf("given\n%s\ngot\n%s\nwant\n%s", unindent(r.given), got, want)
			}
		})
	}
}

func unindent(text string) string {
	var lines []string
	for line := range strings.SplitSeq(text, "\n") {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}

func TestAutomatic(t *testing.T) {
	check(t, []row{
		{"reserved addresses are for who asks for one", `
			pool p 192.0.2.0/30 reserved=192.0.2.0/31
			svc a/asks ips=192.0.2.1
			svc a/one
			svc a/pool pool=p
			svc a/waits
		`, `
			a/asks 192.0.2.1 Allocated
			a/one 192.0.2.3 Allocated
			a/pool 192.0.2.2 Allocated
			a/waits PoolExhausted
		`},
		{"who has one keeps it", `
			pool p 192.0.2.0/30 reserved=192.0.2.0/31
			svc a/has has=192.0.2.0
			svc a/one
		`, `
			a/has 192.0.2.0 Allocated
			a/one 192.0.2.2 Allocated
		`},
		{"the lowest free address, the oldest first", `
			pool p 192.0.2.0/30
			svc a/new at=2
			svc a/old at=1
		`, `
			a/new 192.0.2.1 Allocated
			a/old 192.0.2.0 Allocated
		`},
		{"the same age: by key", `
			pool p 192.0.2.0/30
			svc b/x at=1
			svc a/x at=1
		`, `
			a/x 192.0.2.0 Allocated
			b/x 192.0.2.1 Allocated
		`},
		{"the higher priority first, then the order of the file", `
			pool p 192.0.2.0/32
			pool q 192.0.2.1/32
			pool r 192.0.2.2/32 priority=1
			svc a/1
			svc a/2
			svc a/3
		`, `
			a/1 192.0.2.2 Allocated
			a/2 192.0.2.0 Allocated
			a/3 192.0.2.1 Allocated
		`},
		{"a pool that is for others is left out", `
			pool ns 192.0.2.0/32 namespaces=b
			pool label 192.0.2.1/32 app=web
			pool manual 192.0.2.2/32 auto=false
			svc a/1
			svc b/2
			svc a/3 app=web
		`, `
			a/1 NoPool
			a/3 192.0.2.1 Allocated
			b/2 192.0.2.0 Allocated
		`},
		{"one range after the other", `
			pool p 192.0.2.9/32 192.0.2.1-192.0.2.2
			svc a/1
			svc a/2
			svc a/3
		`, `
			a/1 192.0.2.1 Allocated
			a/2 192.0.2.2 Allocated
			a/3 192.0.2.9 Allocated
		`},
		{"the last address that there is", `
			pool p 255.255.255.255/32
			svc a/1
			svc a/2
		`, `
			a/1 255.255.255.255 Allocated
			a/2 PoolExhausted
		`},
		{"a full pool, and the holder is younger than who waits", `
			pool p 192.0.2.0/32
			svc a/1
			svc a/2 has=192.0.2.0
		`, `
			a/1 PoolExhausted
			a/2 192.0.2.0 Allocated
		`},
		{"a Service that is being deleted keeps its address until it is gone", `
			pool p 192.0.2.0/32
			svc a/1
			svc a/2 has=192.0.2.0 deleting said=Allocated
		`, `
			a/1 PoolExhausted
		`},
		{"one that is no LoadBalancer any more leaves it at once", `
			pool p 192.0.2.0/32
			svc a/1
			svc a/2 has=192.0.2.0 said=Allocated type=ClusterIP
		`, `
			a/1 192.0.2.0 Allocated
			a/2 Released
		`},
		{"a Service that never was ours is left alone, and so is its address", `
			pool p 192.0.2.0/30
			svc a/1
			svc a/2 class=example.com/other has=192.0.2.0
			svc a/3 type=ClusterIP
		`, `
			a/1 192.0.2.1 Allocated
		`},
		{"our class by name", `
			pool p 192.0.2.0/30
			svc a/1 class=heraldlb.io/herald
		`, `
			a/1 192.0.2.0 Allocated
		`},
		{".0 and .255 only for those who ask", `
			pool p 192.0.2.254-192.0.3.1 buggy
			svc a/1
			svc a/2
			svc a/3
			svc a/4 ips=192.0.2.255
		`, `
			a/1 192.0.2.254 Allocated
			a/2 192.0.3.1 Allocated
			a/3 PoolExhausted
			a/4 192.0.2.255 Allocated
		`},
		{"no families at all means IPv4", `
			pool p 192.0.2.0/30 2001:db8::/126
			svc a/1 families=
		`, `
			a/1 192.0.2.0 Allocated
		`},
		{"one that another controller has taken over leaves its address when its status does", `
			pool p 192.0.2.0/32
			svc a/1
			svc a/2 has=192.0.2.0 said=Allocated class=example.com/other
		`, `
			a/1 PoolExhausted
			a/2 Released
		`},
		{"and not at all if that controller has given it the same address", `
			pool p 192.0.2.0/30
			svc a/1
			svc a/2 by=other has=192.0.2.0 said=Allocated class=example.com/other
			svc a/3 by=other has=192.0.2.1 class=example.com/other
		`, `
			a/1 192.0.2.2 Allocated
			a/2 Released
		`},
	})
}

func TestHolders(t *testing.T) {
	check(t, []row{
		{"keep, whatever the configuration says now", `
			pool new 192.0.2.0/30 priority=9
			pool old 198.51.100.0/30 auto=false namespaces=other app=other
			svc a/1 has=198.51.100.3
		`, `
			a/1 198.51.100.3 Allocated
		`},
		{"keep an address that is in no pool any more", `
			pool p 192.0.2.0/30
			svc a/1 has=203.0.113.9
		`, `
			a/1 203.0.113.9 AddressNotInPool
		`},
		{"keep while there is no configuration", `
			nothing configured
			svc a/1 has=192.0.2.1
			svc a/2 has=192.0.2.2 said=Allocated
			svc a/3
			svc a/4 has=192.0.2.4 ips=192.0.2.5
		`, `
			a/1 192.0.2.1 NoConfiguration
			a/2 192.0.2.2 Allocated
			a/3 NoConfiguration
			a/4 192.0.2.4 NoConfiguration
		`},
		{"of two with one address the older keeps it", `
			pool p 192.0.2.0/30
			svc a/new at=2 has=192.0.2.0
			svc a/old at=1 has=192.0.2.0
		`, `
			a/new 192.0.2.1 AddressConflict
			a/old 192.0.2.0 Allocated
		`},
		{"the younger loses it even if there is no other", `
			pool p 192.0.2.0/32
			svc a/new at=2 has=192.0.2.0
			svc a/old at=1 has=192.0.2.0
		`, `
			a/new AddressConflict
			a/old 192.0.2.0 Allocated
		`},
		{"the younger keeps it when the older moves away", `
			pool p 192.0.2.0/30
			svc a/new at=2 has=192.0.2.3 key=k ports=81
			svc a/old at=1 has=192.0.2.3 ips=192.0.2.1
		`, `
			a/new 192.0.2.3 Allocated
			a/old 192.0.2.1 Allocated
		`},
		{"and not when somebody asks for it", `
			pool p 192.0.2.0/30
			svc a/asks at=3 ips=192.0.2.3
			svc a/new at=2 has=192.0.2.3
			svc a/old at=1 has=192.0.2.3 ips=192.0.2.1
		`, `
			a/asks 192.0.2.3 Allocated
			a/new 192.0.2.0 AddressConflict
			a/old 192.0.2.1 Allocated
		`},
		{"nor when it asks for another pool", `
			pool p 192.0.2.0/30
			pool q 192.0.2.8/30
			svc a/new at=2 has=192.0.2.3 pool=q
			svc a/old at=1 has=192.0.2.3 ips=192.0.2.1
		`, `
			a/new 192.0.2.8 AddressConflict
			a/old 192.0.2.1 Allocated
		`},
		{"the younger gets nothing else if it asks for just this one", `
			pool p 192.0.2.0/30
			svc a/new at=2 has=192.0.2.0 ips=192.0.2.0
			svc a/old at=1 has=192.0.2.0
		`, `
			a/new AddressConflict
			a/old 192.0.2.0 Allocated
		`},
		{"the younger keeps its other family", `
			pool p 192.0.2.0/32 2001:db8::/126
			svc a/new at=2 has=192.0.2.0,2001:db8::1 families=46 policy=Require
			svc a/old at=1 has=192.0.2.0
		`, `
			a/new 2001:db8::1 AddressConflict
			a/old 192.0.2.0 Allocated
		`},
		{"a holder of ours keeps what another controller has given as well", `
			pool p 192.0.2.0/30
			svc a/ours has=192.0.2.0
			svc a/theirs class=example.com/other has=192.0.2.0 at=-5
		`, `
			a/ours 192.0.2.0 Allocated
		`},
		{"give up a family that is wanted no more, and get the one that is", `
			pool p 192.0.2.0/30 2001:db8::/126
			svc a/1 has=192.0.2.3 families=6
			svc a/2 has=192.0.2.2,2001:db8::2 families=46
		`, `
			a/1 2001:db8:: Allocated
			a/2 192.0.2.2 Allocated
		`},
		{"of several addresses of a family keep the one that is asked for, or the first", `
			pool p 192.0.2.0/29
			svc a/1 has=192.0.2.3,192.0.2.2 ips=192.0.2.2
			svc a/2 has=192.0.2.5,192.0.2.4
		`, `
			a/1 192.0.2.2 Allocated
			a/2 192.0.2.5 Allocated
		`},
		{"a mapped IPv4 address in the status is IPv4", `
			pool p 192.0.2.0/29
			svc a/1 has=::ffff:192.0.2.3
		`, `
			a/1 192.0.2.3 Allocated
		`},
		{"the younger gets it back if the older leaves it", `
			pool p 192.0.2.0/29
			svc a/new at=2 has=192.0.2.0
			svc a/old at=1 has=192.0.2.0 ips=192.0.2.7
		`, `
			a/new 192.0.2.0 Allocated
			a/old 192.0.2.7 Allocated
		`},
		{"of several addresses keep the one that is asked for, against an older request", `
			pool p 192.0.2.0/29
			svc a/1 ips=192.0.2.2
			svc a/2 has=192.0.2.3,192.0.2.2 ips=192.0.2.2
		`, `
			a/1 AddressInUse
			a/2 192.0.2.2 Allocated
		`},
		{"do not repeat what is no longer so, while there is no configuration", `
			nothing configured
			svc a/1 has=2001:db8::1 families=4 said=Allocated
		`, `
			a/1 NoConfiguration
		`},
	})
}

func TestRequests(t *testing.T) {
	check(t, []row{
		{"for a free address, by annotation or by field or by both", `
			pool p 192.0.2.0/29 auto=false
			svc a/1 ips=192.0.2.1
			svc a/2 lbip=192.0.2.2
			svc a/3 lbip=192.0.2.3 ips=192.0.2.3
		`, `
			a/1 192.0.2.1 Allocated
			a/2 192.0.2.2 Allocated
			a/3 192.0.2.3 Allocated
		`},
		{"come before older Services that ask for nothing", `
			pool p 192.0.2.0/29
			svc a/1
			svc a/2 ips=192.0.2.0
		`, `
			a/1 192.0.2.1 Allocated
			a/2 192.0.2.0 Allocated
		`},
		{"for two addresses of a dual-stack Service, in any order", `
			pool p 192.0.2.0/29 2001:db8::/126
			svc a/1 ips=2001:db8::3,192.0.2.3 families=46 policy=Require
		`, `
			a/1 192.0.2.3 2001:db8::3 Allocated
		`},
		{"for one address of a dual-stack Service: the other from the same pool", `
			pool p 192.0.2.0/29 2001:db8:1::/126
			pool q 198.51.100.0/29 2001:db8:2::/126
			svc a/1 ips=198.51.100.3 families=64 policy=Require
		`, `
			a/1 2001:db8:2:: 198.51.100.3 Allocated
		`},
		{"for an address that another has", `
			pool p 192.0.2.0/29
			svc a/1 ips=192.0.2.1
			svc a/2 has=192.0.2.1
		`, `
			a/1 AddressInUse
			a/2 192.0.2.1 Allocated
		`},
		{"for an address that another controller has given", `
			pool p 192.0.2.0/29
			svc a/1 ips=192.0.2.1
			svc a/2 has=192.0.2.1 class=example.com/other
		`, `
			a/1 AddressInUse
		`},
		{"for one address by two: the older gets it", `
			pool p 192.0.2.0/29
			svc a/1 ips=192.0.2.1 at=2
			svc a/2 ips=192.0.2.1 at=1
		`, `
			a/1 AddressInUse
			a/2 192.0.2.1 Allocated
		`},
		{"for an address of no pool, or of one that is for others", `
			pool p 192.0.2.0/29 namespaces=b
			svc a/1 ips=203.0.113.1
			svc a/2 ips=192.0.2.1
		`, `
			a/1 AddressNotInPool
			a/2 PoolNotForService
		`},
		{"for a pool by the labels of namespaces", `
			pool p 192.0.2.0/29 team=red
			pool q 198.51.100.0/29 team=red namespaces=c
			svc a/1 ips=192.0.2.1 team=red
			svc b/2 ips=192.0.2.2 team=blue
			svc c/3 ips=192.0.2.3
			svc c/4 ips=198.51.100.1 team=blue
			svc d/5 pool=q team=red
			svc d/6 team=blue
		`, `
			a/1 192.0.2.1 Allocated
			b/2 PoolNotForService
			c/3 PoolNotForService
			c/4 198.51.100.1 Allocated
			d/5 198.51.100.0 Allocated
			d/6 NoPool
		`},
		{"that make no sense", `
			pool p 192.0.2.0/29 2001:db8::/126
			pool q 198.51.100.0/30
			svc a/1 ips=192.0.2
			svc a/2 ips=2001:db8::1
			svc a/3 ips=192.0.2.1,192.0.2.2
			svc a/4 ips=192.0.2.1 lbip=192.0.2.2
			svc a/5 lbip=localhost
			svc a/6 ips=192.0.2.1 pool=q
			svc a/7 ips=192.0.2.1,
			svc a/8 ips=fe80::1%eth0 families=6
		`, `
			a/1 InvalidRequest
			a/2 InvalidRequest
			a/3 InvalidRequest
			a/4 InvalidRequest
			a/5 InvalidRequest
			a/6 InvalidRequest
			a/7 InvalidRequest
			a/8 InvalidRequest
		`},
		{"that are empty are none", `
			pool p 192.0.2.0/29
			svc a/1 ips= pool=
		`, `
			a/1 192.0.2.0 Allocated
		`},
		{"the field names one of the two addresses of the annotation", `
			pool p 192.0.2.0/29 2001:db8::/126
			svc a/1 ips=192.0.2.1,2001:db8::1 lbip=192.0.2.1 families=46 policy=Prefer
		`, `
			a/1 192.0.2.1 2001:db8::1 Allocated
		`},
		{"for a pool override autoAssign, not namespaces and selector", `
			pool p 192.0.2.0/29
			pool manual 198.51.100.0/29 auto=false
			pool theirs 203.0.113.0/29 namespaces=b
			svc a/1 pool=manual
			svc a/2 pool=theirs
			svc a/3 pool=typo
		`, `
			a/1 198.51.100.0 Allocated
			a/2 PoolNotForService
			a/3 PoolNotFound
		`},
		{"for a pool without that family, and for a full one", `
			pool p 192.0.2.0/32
			pool q 198.51.100.0/30
			svc a/1 pool=p families=6
			svc a/2 pool=p
			svc a/3 pool=p
		`, `
			a/1 NoPool
			a/2 192.0.2.0 Allocated
			a/3 PoolExhausted
		`},
		{"for a pool come before older Services that ask for nothing", `
			pool p 192.0.2.0/32
			pool q 198.51.100.0/32
			svc a/1
			svc a/2 pool=p
		`, `
			a/1 198.51.100.0 Allocated
			a/2 192.0.2.0 Allocated
		`},
	})
}

func TestMoves(t *testing.T) {
	check(t, []row{
		{"to the address that the user asks for", `
			pool p 192.0.2.0/29
			svc a/1 has=192.0.2.1 ips=192.0.2.2
			svc a/2 has=192.0.2.3 lbip=192.0.2.4
		`, `
			a/1 192.0.2.2 Allocated
			a/2 192.0.2.4 Allocated
		`},
		{"to the pool that the user asks for", `
			pool p 192.0.2.0/29
			pool q 198.51.100.0/29 auto=false
			svc a/1 has=192.0.2.1 pool=q
			svc a/2 has=198.51.100.5 pool=q
		`, `
			a/1 198.51.100.0 Allocated
			a/2 198.51.100.5 Allocated
		`},
		{"not at all while the request cannot be granted", `
			pool p 192.0.2.0/29
			pool q 198.51.100.0/32
			svc a/1 has=192.0.2.1 ips=192.0.2.x
			svc a/2 has=192.0.2.2 ips=192.0.2.1
			svc a/3 has=192.0.2.3 ips=203.0.113.1
			svc a/4 has=192.0.2.4 pool=typo
			svc a/5 has=198.51.100.0
			svc a/6 has=192.0.2.5 pool=q
		`, `
			a/1 192.0.2.1 InvalidRequest
			a/2 192.0.2.2 AddressInUse
			a/3 192.0.2.3 AddressNotInPool
			a/4 192.0.2.4 PoolNotFound
			a/5 198.51.100.0 Allocated
			a/6 192.0.2.5 PoolExhausted
		`},
		{"the address left behind goes to the one who asked for it before", `
			pool p 192.0.2.0/29
			svc a/1 ips=192.0.2.1
			svc a/2 has=192.0.2.1 ips=192.0.2.2
			svc a/3 has=192.0.2.2 ips=192.0.2.3
		`, `
			a/1 192.0.2.1 Allocated
			a/2 192.0.2.2 Allocated
			a/3 192.0.2.3 Allocated
		`},
		{"the address left behind goes to the one who waits for any", `
			pool p 192.0.2.0/32
			pool q 198.51.100.0/29 auto=false
			svc a/1
			svc a/2 has=192.0.2.0 ips=198.51.100.1
			svc a/3
		`, `
			a/1 192.0.2.0 Allocated
			a/2 198.51.100.1 Allocated
			a/3 PoolExhausted
		`},
		{"two exchange their addresses", `
			pool p 192.0.2.0/29
			svc a/1 has=192.0.2.1 ips=192.0.2.2
			svc a/2 has=192.0.2.2 ips=192.0.2.1
		`, `
			a/1 192.0.2.2 Allocated
			a/2 192.0.2.1 Allocated
		`},
		{"three exchange their addresses, a fourth has asked in vain", `
			pool p 192.0.2.0/29
			svc a/0 has=192.0.2.0 ips=192.0.2.1
			svc a/1 has=192.0.2.1 ips=192.0.2.2 at=-3
			svc a/2 has=192.0.2.2 ips=192.0.2.3 at=-2
			svc a/3 has=192.0.2.3 ips=192.0.2.1 at=-1
		`, `
			a/0 192.0.2.0 AddressInUse
			a/1 192.0.2.2 Allocated
			a/2 192.0.2.3 Allocated
			a/3 192.0.2.1 Allocated
		`},
		{"only the family that the request is about", `
			pool p 192.0.2.0/29 2001:db8::/126
			svc a/1 has=192.0.2.1,2001:db8::2 ips=192.0.2.3 families=46 policy=Prefer
		`, `
			a/1 192.0.2.3 2001:db8::2 Allocated
		`},
		{"to a pool that lacks a family: that family stays", `
			pool p 192.0.2.0/29 2001:db8::/126
			pool q 198.51.100.0/29
			svc a/1 has=192.0.2.1,2001:db8::2 pool=q families=46 policy=Prefer
		`, `
			a/1 198.51.100.0 2001:db8::2 NoPool
		`},
		{"the address left behind goes to the one who waits for its pool", `
			pool p 192.0.2.0/32
			pool q 198.51.100.0/29
			svc a/1 pool=p
			svc a/2 has=192.0.2.0 pool=q
		`, `
			a/1 192.0.2.0 Allocated
			a/2 198.51.100.0 Allocated
		`},
		{"unless the pool keeps it back", `
			pool p 192.0.2.0/31 buggy
			pool q 198.51.100.0/29
			svc a/1 pool=p
			svc a/2 has=192.0.2.0 pool=q
			svc a/3 has=192.0.2.1
		`, `
			a/1 PoolExhausted
			a/2 198.51.100.0 Allocated
			a/3 192.0.2.1 Allocated
		`},
		{"the address left behind is the lowest again", `
			pool p 192.0.2.0/30
			pool q 198.51.100.0/29
			svc a/1 pool=p
			svc a/2 has=192.0.2.0 pool=q
			svc a/3
		`, `
			a/1 192.0.2.1 Allocated
			a/2 198.51.100.0 Allocated
			a/3 192.0.2.0 Allocated
		`},
	})
}

func TestDualStack(t *testing.T) {
	check(t, []row{
		{"one pool with both is better than a pool for each", `
			pool four 192.0.2.0/29
			pool six 2001:db8::/126
			pool both 198.51.100.0/29 2001:db8:1::/126
			svc a/1 families=64 policy=Prefer
		`, `
			a/1 2001:db8:1:: 198.51.100.0 Allocated
		`},
		{"a pool for each will do", `
			pool four 192.0.2.0/29
			pool six 2001:db8::/126
			svc a/1 families=46 policy=Require
		`, `
			a/1 192.0.2.0 2001:db8:: Allocated
		`},
		{"require: both or nothing", `
			pool p 192.0.2.0/29 2001:db8::/128
			pool q 198.51.100.0/29
			svc a/1 has=2001:db8:: families=6
			svc a/2 families=46 policy=Require
			svc a/3
		`, `
			a/1 2001:db8:: Allocated
			a/2 PoolExhausted
			a/3 192.0.2.0 Allocated
		`},
		{"require, and there is no pool of that family", `
			pool p 192.0.2.0/29
			svc a/1 families=46 policy=Require
		`, `
			a/1 NoPool
		`},
		{"require, by a Service that has one already: it keeps that", `
			pool p 192.0.2.0/29
			svc a/1 has=192.0.2.3 families=46 policy=Require
		`, `
			a/1 192.0.2.3 NoPool
		`},
		{"prefer: what there is", `
			pool p 192.0.2.0/29 2001:db8::/128
			svc a/1 has=2001:db8:: families=6
			svc a/2 families=64 policy=Prefer
			svc a/3 families=46 policy=Prefer ips=192.0.2.7,2001:db8::
		`, `
			a/1 2001:db8:: Allocated
			a/2 192.0.2.0 PartlyAllocated
			a/3 192.0.2.7 AddressInUse
		`},
		{"prefer, and the missing one has become free", `
			pool p 192.0.2.0/29 2001:db8::/126
			svc a/1 has=192.0.2.4 families=46 policy=Prefer
		`, `
			a/1 192.0.2.4 2001:db8:: Allocated
		`},
		{"completed from the pool of the address that it has", `
			pool p 192.0.2.0/29 2001:db8:1::/126
			pool q 198.51.100.0/29 2001:db8:2::/126
			svc a/1 has=198.51.100.1 families=46 policy=Prefer
		`, `
			a/1 198.51.100.1 2001:db8:2:: Allocated
		`},
		{"prefer, and there is nothing at all", `
			pool p 192.0.2.0/29 auto=false
			svc a/1 families=46 policy=Prefer
		`, `
			a/1 NoPool
		`},
		{"a single-stack policy counts only the first family", `
			pool p 192.0.2.0/29 2001:db8:1::/126
			svc a/1 families=64
		`, `
			a/1 2001:db8:1:: Allocated
		`},
		{"require, by a Service that has one already: that moves when asked to", `
			pool p 192.0.2.0/29
			svc a/1 has=192.0.2.3 ips=192.0.2.4 families=46 policy=Require
		`, `
			a/1 192.0.2.4 NoPool
		`},
	})
}

func TestSharing(t *testing.T) {
	check(t, []row{
		{"in one namespace, unless the pool says more", `
			pool p 192.0.2.0/29
			pool q 198.51.100.0/29 across auto=false
			svc a/1 key=k ports=80 has=192.0.2.0
			svc b/2 key=k ports=443
			svc a/3 key=k ports=81
			svc b/4 key=k ports=82
			svc b/5 key=k ports=83 ips=192.0.2.0
			svc a/6 key=k ports=84 pool=q
			svc b/7 key=k ports=85 pool=q
		`, `
			a/1 192.0.2.0 Allocated
			a/3 192.0.2.0 Allocated
			a/6 198.51.100.0 Allocated
			b/2 192.0.2.1 Allocated
			b/4 192.0.2.1 Allocated
			b/5 AddressInUse
			b/7 198.51.100.0 Allocated
		`},
		{"those who share across namespaces already go on, and nobody joins them", `
			pool p 192.0.2.0/29
			svc a/1 key=k ports=80 has=192.0.2.0
			svc b/2 key=k ports=443 has=192.0.2.0
			svc b/3 key=k ports=444
			svc a/4 key=k ports=445
		`, `
			a/1 192.0.2.0 Allocated
			a/4 192.0.2.2 Allocated
			b/2 192.0.2.0 Allocated
			b/3 192.0.2.1 Allocated
		`},
		{"blanks around a key are none of it", `
			pool p 192.0.2.0/29
			svc a/1 key=dns ports=80
			svc a/2 key=dns_ ports=81
			svc a/3 key=_dns ports=82
			svc a/4 key=_ ports=83
		`, `
			a/1 192.0.2.0 Allocated
			a/2 192.0.2.0 Allocated
			a/3 192.0.2.0 Allocated
			a/4 192.0.2.1 Allocated
		`},
		{"not a port of one that is being deleted, beside others", `
			pool p 192.0.2.0/29
			svc a/old key=k ports=80 has=192.0.2.3 deleting
			svc a/keep key=k ports=443 has=192.0.2.3
			svc a/new key=k ports=80
			svc a/asks key=k ports=80 ips=192.0.2.3
			svc a/other key=k ports=81
		`, `
			a/asks AddressInUse
			a/keep 192.0.2.3 Allocated
			a/new 192.0.2.0 Allocated
			a/other 192.0.2.3 Allocated
		`},
		{"other ports of one that is being deleted, alone", `
			pool p 192.0.2.0/29
			svc a/old key=k ports=80 has=192.0.2.3 deleting
			svc a/new key=k ports=443 ips=192.0.2.3
		`, `
			a/new 192.0.2.3 Allocated
		`},
		{"nothing of one that another controller serves, beside others", `
			pool p 192.0.2.0/29
			svc a/old key=k ports=80 has=192.0.2.3 class=example.com/x
			svc a/keep key=k ports=443 has=192.0.2.3
			svc a/new key=k ports=80
			svc a/asks key=k ports=81 ips=192.0.2.3
		`, `
			a/asks AddressInUse
			a/keep 192.0.2.3 Allocated
			a/new 192.0.2.0 Allocated
		`},
		{"the same key and other ports", `
			pool p 192.0.2.0/29 across
			svc a/1 key=k ports=80
			svc b/2 key=k ports=443
			svc a/3 key=k ports=udp/80
		`, `
			a/1 192.0.2.0 Allocated
			a/3 192.0.2.0 Allocated
			b/2 192.0.2.0 Allocated
		`},
		{"a port in common, another key, no key", `
			pool p 192.0.2.0/29
			svc a/1 key=k ports=80,81
			svc a/2 key=k ports=81,82
			svc a/3 key=l ports=83
			svc a/4 ports=84
		`, `
			a/1 192.0.2.0 Allocated
			a/2 192.0.2.1 Allocated
			a/3 192.0.2.2 Allocated
			a/4 192.0.2.3 Allocated
		`},
		{"the first of several where it fits", `
			pool p 192.0.2.0/29
			svc a/1 key=k ports=80 has=192.0.2.3
			svc a/2 key=k ports=80,81 has=192.0.2.1
			svc a/3 key=k ports=80,81 has=192.0.2.2
			svc a/4 key=k ports=81
			svc a/5 key=k ports=82
			svc a/6 key=k ports=81
		`, `
			a/1 192.0.2.3 Allocated
			a/2 192.0.2.1 Allocated
			a/3 192.0.2.2 Allocated
			a/4 192.0.2.3 Allocated
			a/5 192.0.2.3 Allocated
			a/6 192.0.2.0 Allocated
		`},
		{"by request", `
			pool p 192.0.2.0/29
			svc a/1 key=k ports=80 ips=192.0.2.5
			svc a/2 key=k ports=81 lbip=192.0.2.5
			svc a/3 key=k ports=81 ips=192.0.2.5
			svc a/4 ports=82 ips=192.0.2.5
		`, `
			a/1 192.0.2.5 Allocated
			a/2 192.0.2.5 Allocated
			a/3 AddressInUse
			a/4 AddressInUse
		`},
		{"not an address of a pool that is for others, or that one must ask for", `
			pool ns 192.0.2.0/29 namespaces=a
			pool manual 198.51.100.0/29 auto=false
			pool all 203.0.113.0/29
			svc a/1 key=k ports=80
			svc a/2 key=l ports=80 pool=manual
			svc b/3 key=k ports=81
			svc a/4 key=l ports=81
			svc a/5 key=l ports=82 pool=manual
		`, `
			a/1 192.0.2.0 Allocated
			a/2 198.51.100.0 Allocated
			a/4 192.0.2.1 Allocated
			a/5 198.51.100.0 Allocated
			b/3 203.0.113.0 Allocated
		`},
		{"not an address that is in no pool", `
			pool p 192.0.2.0/29
			svc a/1 key=k ports=80 has=203.0.113.1
			svc a/2 key=k ports=81
		`, `
			a/1 203.0.113.1 AddressNotInPool
			a/2 192.0.2.0 Allocated
		`},
		{"both families", `
			pool p 192.0.2.0/29 2001:db8::/126
			svc a/1 key=k ports=80 families=46 policy=Require
			svc a/2 key=k ports=81 families=64 policy=Require
			svc a/3 key=k ports=82 families=6
		`, `
			a/1 192.0.2.0 2001:db8:: Allocated
			a/2 2001:db8:: 192.0.2.0 Allocated
			a/3 2001:db8:: Allocated
		`},
		{"one family shared, the other new, from the same pool", `
			pool p 192.0.2.0/29 2001:db8:1::/126
			pool q 198.51.100.0/29 2001:db8:2::/126
			svc a/1 key=k ports=80 has=198.51.100.4
			svc a/2 key=k ports=81 families=46 policy=Require
		`, `
			a/1 198.51.100.4 Allocated
			a/2 198.51.100.4 2001:db8:2:: Allocated
		`},
		{"when the key is gone the older keeps the address", `
			pool p 192.0.2.0/29
			svc a/1 at=2 key=k ports=80 has=192.0.2.0
			svc a/2 at=1 ports=81 has=192.0.2.0
		`, `
			a/1 192.0.2.1 AddressConflict
			a/2 192.0.2.0 Allocated
		`},
		{"when the ports have come to overlap too", `
			pool p 192.0.2.0/29
			svc a/1 at=2 key=k ports=80 has=192.0.2.0
			svc a/2 at=1 key=k ports=81,80 has=192.0.2.0
		`, `
			a/1 192.0.2.1 AddressConflict
			a/2 192.0.2.0 Allocated
		`},
		{"whoever moves away makes room on a shared address", `
			pool p 192.0.2.0/29
			svc a/1 key=k ports=80 ips=192.0.2.1
			svc a/2 key=k ports=80 has=192.0.2.1 ips=192.0.2.2
			svc a/3 key=k ports=81 has=192.0.2.1
		`, `
			a/1 192.0.2.1 Allocated
			a/2 192.0.2.2 Allocated
			a/3 192.0.2.1 Allocated
		`},
		{"whoever moves away makes room for the one who waits for any", `
			pool p 192.0.2.0/32
			pool q 198.51.100.0/29
			svc a/1 key=k ports=80 pool=p
			svc a/2 key=k ports=80 has=192.0.2.0 pool=q
			svc a/3 key=k ports=81 has=192.0.2.0
		`, `
			a/1 192.0.2.0 Allocated
			a/2 198.51.100.0 Allocated
			a/3 192.0.2.0 Allocated
		`},
	})
}

// An ingress that another field manager has written is taken by nobody who has
// nothing better to give, and by nobody who was not asked.
func TestStatusesOfOthers(t *testing.T) {
	check(t, []row{
		{"left alone, with their addresses", `
			pool p 192.0.2.0/30
			svc a/1 by=cloud has=192.0.2.0
			svc a/2 by=k3s has=10.0.0.11,10.0.0.12
			svc a/3 by=k3s has=10.0.0.11,10.0.0.12
			svc a/4 by=cloud host
			svc a/5
		`, `
			a/1 ServedByAnother
			a/2 ServedByAnother
			a/3 ServedByAnother
			a/4 ServedByAnother
			a/5 192.0.2.1 Allocated
		`},
		{"without any configuration, too", `
			nothing configured
			svc a/1 by=cloud host
			svc a/2 by=cloud has=10.0.0.11 class=heraldlb.io/herald
		`, `
			a/1 ServedByAnother
			a/2 NoConfiguration
		`},
		{"who asks for Herald keeps an address that a pool has, and gets one for another", `
			pool p 192.0.2.0/29
			svc a/1 by=metallb has=192.0.2.3 class=heraldlb.io/herald
			svc a/2 by=metallb has=10.0.0.11 pool=p
			svc a/3 by=cloud host ips=192.0.2.5
			svc a/4 by=cloud has=10.0.0.11 key=k
		`, `
			a/1 192.0.2.3 Allocated
			a/2 192.0.2.0 Allocated
			a/3 192.0.2.5 Allocated
			a/4 192.0.2.1 Allocated
		`},
		{"who asks in vain is told so, and keeps what the other gave", `
			pool p 192.0.2.0/32
			svc a/1 has=192.0.2.0
			svc a/2 by=cloud has=10.0.0.11 pool=p
			svc a/3 by=cloud has=10.0.0.12 said=Allocated
		`, `
			a/1 192.0.2.0 Allocated
			a/2 PoolExhausted
			a/3 ServedByAnother
		`},
		{"an address that a pool does not give to this Service is not kept", `
			pool p 192.0.2.0/30 namespaces=b
			pool q 198.51.100.0/30
			svc a/1 by=metallb has=192.0.2.0 class=heraldlb.io/herald
		`, `
			a/1 198.51.100.0 Allocated
		`},
		{"what Herald had only spoken of becomes the other's", `
			pool p 192.0.2.0/32
			svc a/1 by=cloud said=NoPool has=203.0.113.1
			svc a/2
		`, `
			a/1 ServedByAnother
			a/2 192.0.2.0 Allocated
		`},
		{"what Herald had given is given again", `
			pool p 192.0.2.0/30
			svc a/1 by=cloud has=203.0.113.1 said=Allocated
			svc a/2 by=kubectl-patch has=192.0.2.3 said=Allocated
		`, `
			a/1 192.0.2.0 Allocated
			a/2 192.0.2.3 Allocated
		`},
	})
}

func TestRetiredAddresses(t *testing.T) {
	check(t, []row{
		{"are kept, and given to nobody else", `
			pool p 192.0.2.0/31 retired=192.0.2.4/30
			pool q retired=198.51.100.1/32
			svc a/1 has=192.0.2.4
			svc a/2 ips=192.0.2.5
			svc a/3 pool=q
			svc a/4 has=198.51.100.1 ips=198.51.100.1
			svc a/5 has=192.0.2.6 ips=192.0.2.1
			svc a/6 key=k ports=80 has=192.0.2.7
			svc a/7 key=k ports=81
			svc a/8
		`, `
			a/1 192.0.2.4 AddressRetired
			a/2 AddressRetired
			a/3 PoolExhausted
			a/4 198.51.100.1 AddressRetired
			a/5 192.0.2.1 Allocated
			a/6 192.0.2.7 AddressRetired
			a/7 192.0.2.0 Allocated
			a/8 PoolExhausted
		`},
		{"or those in no pool are released, if the configuration says so and there are others", `
			removed is released
			pool p 192.0.2.0/31
			svc a/1 has=198.51.100.1
			svc a/2 has=198.51.100.2
			svc a/3 has=198.51.100.3
		`, `
			a/1 192.0.2.0 Allocated
			a/2 192.0.2.1 Allocated
			a/3 198.51.100.3 AddressNotInPool
		`},
	})
}

func TestAddressesThatAreNobodysToGive(t *testing.T) {
	check(t, []row{
		{"the anycast address of a subnet's routers, at layer 2", `
			pool p 2001:db8::/64 l2
			pool q 2001:db8:1::/64
			pool r 2001:db8:2::10/124 l2 auto=false
			pool s 2001:db8:3::4/127 l2 auto=false
			svc a/1 families=6
			svc a/2 families=6 pool=q
			svc a/3 families=6 ips=2001:db8::
			svc a/4 families=6 pool=r
			svc a/5 families=6 pool=s
		`, `
			a/1 2001:db8::1 Allocated
			a/2 2001:db8:1:: Allocated
			a/3 2001:db8:: Allocated
			a/4 2001:db8:2::11 Allocated
			a/5 2001:db8:3::4 Allocated
		`},
		{"externalIPs of a Service of any type", `
			pool p 192.0.2.0/29
			svc a/1 type=ClusterIP external=192.0.2.0
			svc a/2
			svc a/3 ips=192.0.2.0
			svc a/4 external=192.0.2.5 ips=192.0.2.5 has=192.0.2.5
		`, `
			a/2 192.0.2.1 Allocated
			a/3 AddressInUse
			a/4 192.0.2.5 Allocated
		`},
		{"nodes' own addresses, but who has one keeps it", `
			pool p 192.0.2.0/29
			node n1 192.0.2.0,192.0.2.2
			node n2 192.0.2.1
			svc a/1
			svc a/2 ips=192.0.2.2
			svc a/3 has=192.0.2.1
		`, `
			a/1 192.0.2.3 Allocated
			a/2 AddressInUse
			a/3 192.0.2.1 Allocated
		`},
	})
}

// The message of a clash names what clashes, and who.
func TestWhyAnAddressIsNotToBeHad(t *testing.T) {
	for desc, tt := range map[string]struct{ given, want string }{
		"a port": {`
			pool p 192.0.2.0/29
			svc a/1 key=k ports=80,udp/53 has=192.0.2.3
			svc a/x key=k ports=81,udp/53 ips=192.0.2.3
		`, "UDP port 53 of 192.0.2.3 is in use by a/1; "},
		"no key": {`
			pool p 192.0.2.0/29
			svc a/1 has=192.0.2.3
			svc a/x key=k ports=81 ips=192.0.2.3
		`, "192.0.2.3 is in use by a/1; "},
		"another namespace": {`
			pool p 192.0.2.0/29
			svc b/1 key=k has=192.0.2.3
			svc a/x key=k ports=81 ips=192.0.2.3
		`, "192.0.2.3 is in use by b/1, of another namespace, and its pool does not say sharing: acrossNamespaces; "},
		"it is being deleted": {`
			pool p 192.0.2.0/29
			svc a/1 key=k has=192.0.2.3 deleting
			svc a/x key=k ips=192.0.2.3
		`, "TCP port 80 of 192.0.2.3 is in use by a/1, which is being deleted; "},
		"it is of others": {`
			pool p 192.0.2.0/29
			svc a/1 class=example.com/x has=192.0.2.3
			svc a/x ips=192.0.2.3
		`, "192.0.2.3 is in use by a/1, which is not Herald's; "},
		"it is a node's": {`
			pool p 192.0.2.0/29
			node n1 192.0.2.3
			svc a/x ips=192.0.2.3
		`, "192.0.2.3 is an address of node n1; "},
		"it is an external IP": {`
			pool p 192.0.2.0/29
			svc a/1 type=ClusterIP external=192.0.2.3
			svc a/x ips=192.0.2.3
		`, "192.0.2.3 is in spec.externalIPs of a/1; "},
		"the older has the port": {`
			pool p 192.0.2.0/32
			svc a/1 at=1 key=k ports=443 has=192.0.2.0
			svc a/x at=2 key=k ports=443 has=192.0.2.0
		`, "TCP port 443 of 192.0.2.0 belongs to a/1, which is older; "},
	} {
		t.Run(desc, func(t *testing.T) {
			for _, a := range compute(read(t, tt.given)).Assignments {
				if a.Service == "a/x" && !strings.Contains(a.Message, "; "+tt.want) {
					t.Errorf("got %s\nwant %s", a.Message, tt.want)
				}
			}
		})
	}
}
