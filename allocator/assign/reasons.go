package assign

// Reason says in one word how a Service stands. It is API: users see it in
// status.conditions[].reason, in Events and in metrics.
type Reason string

// All reasons. Where more than one applies to a Service, the message tells all
// of them and the reason is the one that the user should look at first.
const (
	// Allocated: the Service has every address that it asks for.
	Allocated Reason = "Allocated"

	// PartlyAllocated: a Service with ipFamilyPolicy PreferDualStack has an
	// address of one family, and none is to be had of the other.
	PartlyAllocated Reason = "PartlyAllocated"

	// NoConfiguration: no valid configuration has been seen yet. Services keep
	// the addresses that they have; nothing is handed out.
	NoConfiguration Reason = "NoConfiguration"

	// NoPool: no pool hands out addresses of this family to this Service.
	NoPool Reason = "NoPool"

	// PoolExhausted: every address that the Service may have is in use.
	PoolExhausted Reason = "PoolExhausted"

	// PoolNotFound: the pool that the Service asks for does not exist.
	PoolNotFound Reason = "PoolNotFound"

	// PoolNotForService: the pool that the Service asks for, by name or by an
	// address in it, is not for its namespace or its labels.
	PoolNotForService Reason = "PoolNotForService"

	// AddressNotInPool: the address that the Service asks for, or has, is in no
	// pool. Speakers announce no such address.
	AddressNotInPool Reason = "AddressNotInPool"

	// AddressRetired: the address that the Service asks for, or has, is not handed
	// out any more: its pool names it under retired, or a range was removed while it
	// was in use. Who has it keeps it, and speakers announce it.
	AddressRetired Reason = "AddressRetired"

	// AddressInUse: the address that the Service asks for belongs to another
	// Service, and the two may not share it.
	AddressInUse Reason = "AddressInUse"

	// AddressConflict: the Service had an address that an older Service has as
	// well, and the two may not share it. The older one keeps it.
	AddressConflict Reason = "AddressConflict"

	// InvalidRequest: what the Service asks for cannot be read or contradicts
	// itself.
	InvalidRequest Reason = "InvalidRequest"

	// StatusContested: the Service has its addresses, but somebody else writes other
	// things into its status. Herald puts it right after ever longer pauses, of
	// five minutes at most.
	StatusContested Reason = "StatusContested"

	// ServedByAnother: another controller has written the status of the Service,
	// and nobody asks Herald for it. Herald leaves it alone: this word stands in
	// `heraldctl explain`, /state and the metric herald_allocator_services only.
	ServedByAnother Reason = "ServedByAnother"

	// Released: the Service is no longer Herald's. Its address is free, and the
	// condition goes away.
	Released Reason = "Released"
)

// remedies is the closed list, in the order of the documentation.
var remedies = []struct {
	reason Reason
	remedy string
}{
	{Allocated, ""},
	{PartlyAllocated, "the Service is completed as soon as there is such an address; add a range of that family to a pool, or set ipFamilyPolicy: SingleStack"},
	{NoConfiguration, "write the ConfigMap herald; `heraldctl check FILE` and the Events of the ConfigMap tell what is wrong with it"},
	{NoPool, "add a pool for it, or ask for a pool by name with the annotation heraldlb.io/address-pool"},
	{PoolExhausted, "it gets an address as soon as one is free; add a range to a pool, or delete Services that need none"},
	{PoolNotFound, "correct the annotation heraldlb.io/address-pool, or add the pool"},
	{PoolNotForService, "ask for another pool, or change namespaces or serviceSelector of this one"},
	{AddressNotInPool, "add the address to a pool, or ask for another address or for a pool by the annotation heraldlb.io/load-balancer-ips or heraldlb.io/address-pool"},
	{AddressRetired, "ask for another address or for a pool by the annotation heraldlb.io/load-balancer-ips or heraldlb.io/address-pool, or put the address back into the ranges of a pool"},
	{AddressInUse, "ask for another address, or give both Services the same annotation heraldlb.io/allow-shared-ip and different ports"},
	{AddressConflict, "to share an address, give both Services the same annotation heraldlb.io/allow-shared-ip and different ports"},
	{InvalidRequest, "correct the annotations heraldlb.io/load-balancer-ips and heraldlb.io/address-pool, or spec.loadBalancerIP"},
	{StatusContested, "let one of the two serve the Service: tell the other to leave it alone, or make it anew with the spec.loadBalancerClass of the one that shall"},
	{ServedByAnother, "nothing, if that controller shall serve it; else ask for Herald by the annotation heraldlb.io/address-pool or heraldlb.io/load-balancer-ips, and take the Service from the other controller"},
	{Released, ""},
}

// Reasons lists every Reason.
func Reasons() []Reason {
	all := make([]Reason, len(remedies))
	for i, r := range remedies {
		all[i] = r.reason
	}
	return all
}

// Remedy is what the user can do about it; empty where there is nothing to do.
func (r Reason) Remedy() string {
	for _, known := range remedies {
		if known.reason == r {
			return known.remedy
		}
	}
	return ""
}
