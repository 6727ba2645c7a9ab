package protocol

import "encoding/binary"

// A frame is a length and that many bytes:
//
//	0        4                                        4 + length
//	+--------+----------------------------------------+
//	| length | header, body                           |
//	+--------+----------------------------------------+
//
// The header of a request (version 1; version 2 ends in tagged fields):
//
//	0         2         4                8           10
//	+---------+---------+----------------+-----------+-----------+--------+
//	| API key | version | correlation id | length n  | client id | tagged |
//	| int16   | int16   | int32          | int16, -1 | n bytes   | fields |
//	+---------+---------+----------------+-----------+-----------+--------+
//
// The header of a response (version 0; version 1 ends in tagged fields):
//
//	0                4
//	+----------------+--------+
//	| correlation id | tagged |
//	| int32          | fields |
//	+----------------+--------+

// FrameLengthBytes is the size of the length in front of every frame.
const FrameLengthBytes = 4

// Header is the header of a request.
type Header struct {
	APIKey, Version int16
	CorrelationID   int32
	ClientID        []byte // aliases the frame; nil if null
}

// ParseHeader reads the header of a request from a frame (without its length) and
// returns the body that follows. Header version 2 is read for the keys and versions
// that have it; a key nobody knows is read as version 1.
//
// With an error the header holds what could be read: key, version and correlation id are
// right when the frame had at least 8 bytes.
func ParseHeader(frame []byte) (h Header, body []byte, err error) {
	r := NewReader(frame)
	h.APIKey = r.Int16()
	h.Version = r.Int16()
	h.CorrelationID = r.Int32()
	if n := r.Int16(); n != -1 { // here Kafka takes no other negative length for null
		h.ClientID = r.Take(int(n))
	}
	if RequestFlexible(h.APIKey, h.Version) {
		r.SkipTags()
	}
	if r.err != nil {
		return h, nil, r.err
	}
	return h, r.b, nil
}

// BeginFrame appends room for a frame's length. EndFrame fills it in.
func BeginFrame(b []byte) []byte { return append(b, 0, 0, 0, 0) }

// EndFrame writes the length of the frame that begins at b[start:]: all that was appended since
// BeginFrame, plus outside, the bytes of the frame that are not in b because they are sent from files.
func EndFrame(b []byte, start, outside int) {
	binary.BigEndian.PutUint32(b[start:], uint32(len(b)-start-FrameLengthBytes+outside))
}

// AppendResponseHeader appends the header of a response to a request of this key and version.
func AppendResponseHeader(b []byte, key, version int16, correlationID int32) []byte {
	b = AppendInt32(b, correlationID)
	if ResponseHeaderFlexible(key, version) {
		b = append(b, 0)
	}
	return b
}
