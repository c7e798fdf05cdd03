package bfd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// State is a state of a BFD session (RFC 5880 section 4.1).
type State uint8

// The states, by their number on the wire.
const (
	AdminDown State = iota
	Down
	Init
	Up
)

func (s State) String() string { return [...]string{"AdminDown", "Down", "Init", "Up"}[s&3] }

// diagnostic says why a session left the state Up last.
type diagnostic uint8

const (
	timeExpired  diagnostic = 1
	neighborDown diagnostic = 3
	adminDown    diagnostic = 7
)

// packet is a BFD Control packet without authentication.
type packet struct {
	diag         diagnostic
	state        State
	poll, final  bool
	multiplier   uint8
	mine, yours  uint32        // discriminators
	minTx, minRx time.Duration // what the sender desires, and requires
}

const packetLength = 24

const (
	flagPoll      = 0x20
	flagFinal     = 0x10
	flagAuth      = 0x04
	flagMultipart = 0x01
)

func (p packet) bytes() []byte {
	b := make([]byte, 0, packetLength)
	flags := byte(p.state) << 6
	if p.poll {
		flags |= flagPoll
	}
	if p.final {
		flags |= flagFinal
	}
	b = append(b, 1<<5|byte(p.diag), flags, p.multiplier, packetLength)
	b = binary.BigEndian.AppendUint32(b, p.mine)
	b = binary.BigEndian.AppendUint32(b, p.yours)
	b = binary.BigEndian.AppendUint32(b, uint32(p.minTx.Microseconds()))
	b = binary.BigEndian.AppendUint32(b, uint32(p.minRx.Microseconds()))
	return binary.BigEndian.AppendUint32(b, 0) // no echoes
}

// parse reads a packet, and refuses what RFC 5880 section 6.8.6 has discarded
// before a session is looked for.
func parse(b []byte) (packet, error) {
	if len(b) < packetLength || int(b[3]) < packetLength || int(b[3]) > len(b) {
		return packet{}, errors.New("too short")
	}
	p := packet{
		diag: diagnostic(b[0] & 0x1f), state: State(b[1] >> 6), poll: b[1]&flagPoll != 0, final: b[1]&flagFinal != 0,
		multiplier: b[2], mine: binary.BigEndian.Uint32(b[4:]), yours: binary.BigEndian.Uint32(b[8:]),
		minTx: microseconds(b[12:]), minRx: microseconds(b[16:]),
	}
	switch {
	case b[0]>>5 != 1:
		return packet{}, fmt.Errorf("version %d", b[0]>>5)
	case b[1]&flagMultipart != 0:
		return packet{}, errors.New("multipoint")
	case b[1]&flagAuth != 0:
		return packet{}, errors.New("authenticated, and this node has no key")
	case p.multiplier == 0 || p.mine == 0:
		return packet{}, errors.New("no multiplier or discriminator")
	case p.yours == 0 && p.state != Down && p.state != AdminDown:
		return packet{}, errors.New("no discriminator of ours")
	}
	return p, nil
}

func microseconds(b []byte) time.Duration {
	return time.Duration(binary.BigEndian.Uint32(b)) * time.Microsecond
}
