package bgp

import (
	"time"

	"github.com/osrg/gobgp/v4/api"
	"github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"github.com/heraldlb/herald/internal/config"
	"github.com/heraldlb/herald/speaker/plan"
)

// neighbor is a session as gobgp takes it. Both families go over each session.
func neighbor(s plan.Session, vrf, password string) *api.Peer {
	n := &api.Peer{
		Conf: &api.PeerConf{
			NeighborAddress: s.Address.String(), PeerAsn: s.ASN, LocalAsn: s.LocalASN,
			AuthPassword: password, Vrf: vrf,
		},
		Timers: &api.Timers{Config: &api.TimersConfig{
			HoldTime:          seconds(s.HoldTime),
			KeepaliveInterval: seconds(s.KeepaliveTime),
			ConnectRetry:      seconds(s.ConnectRetryTime),
			// gobgp's own default is 30 s, and 0 would mean that default.
			IdleHoldTimeAfterReset: 1,
		}},
		Transport: &api.Transport{RemotePort: uint32(s.Port), BindInterface: s.Interface, PassiveMode: s.Passive},
		AfiSafis:  []*api.AfiSafi{family(bgp.RF_IPv4_UC, s), family(bgp.RF_IPv6_UC, s)},
	}
	if s.RestartTime > 0 {
		n.GracefulRestart = &api.GracefulRestart{
			Enabled: true, RestartTime: uint32(seconds(s.RestartTime)),
			// This is how gobgp says that the node has forwarded all the time. Without
			// it BIRD deletes the routes that it has kept as soon as we are back.
			LocalRestarting: true,
			// gobgp waits for what all its peers send before it sends anything. We do
			// not want to know, so a peer that is down must not cost more than this.
			DeferralTime: 1,
		}
	}
	if s.Source.IsValid() {
		n.Transport.LocalAddress = s.Source.String()
	}
	if s.EBGPMultihop > 0 && !s.Internal {
		n.EbgpMultihop = &api.EbgpMultihop{Enabled: true, MultihopTtl: uint32(s.EBGPMultihop)}
	}
	if s.TTLSecurity > 0 {
		// What was sent with 255 arrives with 255 from the next node (RFC 5082).
		n.TtlSecurity = &api.TtlSecurity{Enabled: true, TtlMin: 256 - uint32(s.TTLSecurity)}
	}
	return n
}

func family(f bgp.Family, s plan.Session) *api.AfiSafi {
	a := &api.AfiSafi{Config: &api.AfiSafiConfig{
		Family:  &api.Family{Afi: api.Family_Afi(f.Afi()), Safi: api.Family_Safi(f.Safi())},
		Enabled: true,
	}}
	if s.RestartTime > 0 {
		a.MpGracefulRestart = &api.MpGracefulRestart{Config: &api.MpGracefulRestartConfig{Enabled: true}}
	}
	if s.Weights == config.EncodeAddPath {
		a.AddPaths = &api.AddPaths{Config: &api.AddPathsConfig{SendMax: mostPaths}}
	}
	return a
}

// mostPaths is how many paths of a prefix gobgp sends. It counts a path that
// changes as one more, so this is well above what it is ever given.
const mostPaths = 255

// seconds rounds up, as gobgp takes 0 for its own default.
func seconds(d time.Duration) uint64 { return uint64((d + time.Second - 1) / time.Second) }
