package bgp

import (
	"fmt"
	"strings"

	"github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"github.com/heraldlb/herald/speaker/plan"
)

// What gobgp says nothing about.
const (
	silent   = "the peer accepted the connection but said nothing: look for TTL security on one side only, or a router under load"
	holdHint = "look for a cut link, a router under load, or TTL security on one side only"
	deaf     = "the peer said OPEN but nothing since, so it most likely drops what this node sends: look for TTL security on one side only"
)

// dialError says what a failed connection means. The system's own words come
// last in the error.
func dialError(err string) string {
	cause := err[strings.LastIndex(err, ": ")+1:]
	cause = strings.TrimSpace(cause)
	hint := map[string]string{
		"connection refused":              "nothing listens there: look at the peer's address and port, and whether its BGP daemon runs",
		"i/o timeout":                     "no answer: look for a firewall, a wrong address, or a password that differs",
		"no route to host":                "this network knows no such host: look at the address and the link",
		"network is unreachable":          "this node has no route to the peer",
		"no such device":                  "this node does not have the interface of the session",
		"no such network interface":       "this node does not have the interface of the session",
		"cannot assign requested address": "this node does not have the source address of the session",
		"operation not permitted":         "binding to an interface needs the capability NET_RAW",
		"connection reset by peer":        "the peer refused: most often it does not know this node's address as a neighbor",
	}[cause]
	if hint == "" {
		return "cannot connect: " + err
	}
	return "cannot connect: " + cause + ": " + hint
}

// received says what a notification of the peer means.
func received(code, subcode uint8, communication string, of plan.Session) string {
	s := "the peer sent " + notification(code, subcode)
	if communication != "" {
		s += fmt.Sprintf(" (%q)", communication)
	}
	return s + hint(code, subcode, map[uint16]string{
		pair(bgp.BGP_ERROR_OPEN_MESSAGE_ERROR, bgp.BGP_ERROR_SUB_BAD_PEER_AS):           fmt.Sprintf("it expects another AS number of this node than %d, which the configuration says", of.LocalASN),
		pair(bgp.BGP_ERROR_OPEN_MESSAGE_ERROR, bgp.BGP_ERROR_SUB_BAD_BGP_IDENTIFIER):    "its router ID is ours, or ours is taken",
		pair(bgp.BGP_ERROR_CEASE, bgp.BGP_ERROR_SUB_ADMINISTRATIVE_SHUTDOWN):            "an operator shut the session down there",
		pair(bgp.BGP_ERROR_CEASE, bgp.BGP_ERROR_SUB_PEER_DECONFIGURED):                  "it does not have this node as a neighbor any more",
		pair(bgp.BGP_ERROR_CEASE, bgp.BGP_ERROR_SUB_CONNECTION_REJECTED):                "it does not have this node as a neighbor",
		pair(bgp.BGP_ERROR_CEASE, bgp.BGP_ERROR_SUB_MAXIMUM_NUMBER_OF_PREFIXES_REACHED): "we announce more prefixes than it permits",
		pair(bgp.BGP_ERROR_CEASE, bfdDown):                                              "its BFD session with this node went down",
		pair(bgp.BGP_ERROR_HOLD_TIMER_EXPIRED, 0):                                       "it heard nothing of this node for the whole hold time; " + holdHint,
	})
}

// sent says why we sent a notification. gobgp keeps to itself which AS number the
// peer has.
func sent(code, subcode uint8, of plan.Session) string {
	return "closed the session with " + notification(code, subcode) + hint(code, subcode, map[uint16]string{
		pair(bgp.BGP_ERROR_OPEN_MESSAGE_ERROR, bgp.BGP_ERROR_SUB_BAD_PEER_AS): fmt.Sprintf("the peer has another AS number than %d, which the configuration says", of.ASN),
		pair(bgp.BGP_ERROR_HOLD_TIMER_EXPIRED, 0):                             "the peer was silent for the whole hold time; " + holdHint,
		pair(bgp.BGP_ERROR_FSM_ERROR, 1):                                      "the peer answered OPEN with something else, most often a refusal: look whether it has this node as a neighbor, with this node's AS number",
	})
}

// bfdDown is a subcode of Cease (RFC 9384).
const bfdDown = 10

func pair(code, subcode uint8) uint16 { return uint16(code)<<8 | uint16(subcode) }

func hint(code, subcode uint8, hints map[uint16]string) string {
	if h := hints[pair(code, subcode)]; h != "" {
		return ": " + h
	}
	return ""
}

func notification(code, subcode uint8) string {
	return "notification " + bgp.NewNotificationErrorCode(code, subcode).String()
}
