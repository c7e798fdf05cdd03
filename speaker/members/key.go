package members

import (
	"bytes"
	"encoding/base64"
	"fmt"
)

// ParseKeys reads the keys of a Secret: each line is the base64 of KeySize
// bytes. The first is for sending, all are for receiving, so that a new key can
// be rolled out: added, moved to the front, then alone.
func ParseKeys(secret []byte) ([][]byte, error) {
	if len(secret) == KeySize {
		return [][]byte{secret}, nil // not base64: the bytes themselves
	}
	var keys [][]byte
	for i, l := range bytes.Split(bytes.TrimSpace(secret), []byte("\n")) {
		key, err := base64.StdEncoding.DecodeString(string(bytes.TrimSpace(l)))
		switch {
		case err != nil:
			return nil, fmt.Errorf("gossip key in line %d: not base64", i+1)
		case len(key) != KeySize:
			return nil, fmt.Errorf("gossip key in line %d: has %d bytes, not %d: make it by openssl rand -base64 %d", i+1, len(key), KeySize, KeySize)
		}
		keys = append(keys, key)
	}
	return keys, nil
}
