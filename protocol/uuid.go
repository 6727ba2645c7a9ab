package protocol

import (
	"encoding/base64"
	"fmt"
)

// UUID is a topic id or directory id.
type UUID [16]byte

// String returns the form Kafka writes: 22 characters of URL-safe base64 without padding.
func (u UUID) String() string { return base64.RawURLEncoding.EncodeToString(u[:]) }

// ParseUUID reads what String writes.
func ParseUUID(s string) (u UUID, err error) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(b) != len(u) {
		return u, fmt.Errorf("%q is not an id of 22 base64 characters", s)
	}
	copy(u[:], b)
	return u, nil
}

// MarshalText is String, for JSON.
func (u UUID) MarshalText() ([]byte, error) { return []byte(u.String()), nil }
