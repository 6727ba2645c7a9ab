package protocol

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestHeaders reads the headers that kmsg writes for every key and version.
func TestHeaders(t *testing.T) {
	clients := []string{"", "c", "a client id of some length"}
	for key := int16(0); key <= kmsg.MaxKey; key++ {
		req := kmsg.RequestForKey(key)
		if req == nil || APIName(key) == "" || key >= KeyLeaderAndISR && key <= KeyControlledShutdown {
			continue // gone, or not Kafka's
		}
		for version := int16(0); version <= req.MaxVersion(); version++ {
			req.SetVersion(version)
			if got := RequestFlexible(key, version); got != req.IsFlexible() {
				t.Errorf("%s version %d flexible: %v", APIName(key), version, got)
			}
			for _, client := range clients {
				formatter := kmsg.NewRequestFormatter(kmsg.FormatterClientID(client))
				frame := formatter.AppendRequest(nil, req, 77)[FrameLengthBytes:]
				h, body, err := ParseHeader(frame)
				if err != nil {
					t.Fatalf("%s version %d: %v", APIName(key), version, err)
				}
				if h.APIKey != key || h.Version != version || h.CorrelationID != 77 || string(h.ClientID) != client {
					t.Errorf("%s version %d: read %+v", APIName(key), version, h)
				}
				if want := req.AppendTo(nil); !bytes.Equal(body, want) {
					t.Errorf("%s version %d: body is %x, not %x", APIName(key), version, body, want)
				}
			}
		}
	}
}

func TestParseHeaderOddities(t *testing.T) {
	fixed := func(key, version int16) []byte { return AppendInt32(AppendInt16(AppendInt16(nil, key), version), 5) }
	tests := []struct {
		name   string
		frame  []byte
		err    error
		client []byte
	}{
		{"empty", nil, ErrShort, nil},
		{"seven bytes", make([]byte, 7), ErrShort, nil},
		{"no client id", fixed(0, 3), ErrShort, nil},
		{"null client id", AppendNullString(fixed(0, 3)), nil, nil},
		{"empty client id", AppendString(fixed(0, 3), ""), nil, []byte{}},
		{"client id of -2", AppendInt16(fixed(0, 3), -2), ErrLength, nil},
		{"client id longer than the frame", AppendInt16(fixed(0, 3), 3), ErrShort, nil},
		{"tags missing", AppendNullString(fixed(0, 9)), ErrShort, nil},
		{"a tag nobody knows", append(AppendNullString(fixed(0, 9)), 1, 9, 2, 'x', 'y'), nil, nil},
		{"a tag longer than the frame", append(AppendNullString(fixed(0, 9)), 1, 9, 3, 'x', 'y'), ErrShort, nil},
		{"a tag count that is a lie", append(AppendNullString(fixed(0, 9)), 0xff, 0xff, 0xff, 0xff, 0x0f), ErrShort, nil},
		{"a tag count too long", append(AppendNullString(fixed(0, 9)), 0xff, 0xff, 0xff, 0xff, 0xff, 1), ErrVarint, nil},
		{"an unknown key", AppendString(fixed(9999, 9), "c"), nil, []byte("c")},
		{"a negative key", AppendString(fixed(-1, 0), "c"), nil, []byte("c")},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			h, body, err := ParseHeader(test.frame)
			if err != test.err {
				t.Fatalf("error %v, want %v", err, test.err)
			}
			if err == nil && (!bytes.Equal(h.ClientID, test.client) || (h.ClientID == nil) != (test.client == nil) || len(body) != 0) {
				t.Errorf("client %q, body %x", h.ClientID, body)
			}
		})
	}
}

// TestResponseHeaders checks the one exception: a client must be able to read ApiVersions without knowing anything.
func TestResponseHeaders(t *testing.T) {
	for version := int16(0); version < 6; version++ {
		if got := AppendResponseHeader(nil, KeyAPIVersions, version, 9); len(got) != 4 {
			t.Errorf("ApiVersions %d: header of %d bytes", version, len(got))
		}
	}
	if got := AppendResponseHeader(nil, KeyFetch, 12, 9); !bytes.Equal(got, []byte{0, 0, 0, 9, 0}) {
		t.Errorf("Fetch 12: %x", got)
	}
	if got := AppendResponseHeader(nil, KeyFetch, 11, 9); !bytes.Equal(got, []byte{0, 0, 0, 9}) {
		t.Errorf("Fetch 11: %x", got)
	}
	b := BeginFrame([]byte("xx"))
	b = append(b, "abc"...)
	EndFrame(b, 2, 1000)
	if got := binary.BigEndian.Uint32(b[2:]); got != 1003 {
		t.Errorf("length %d", got)
	}
}

// TestVarints runs values through writer, reader and size at the edges of every length.
func TestVarints(t *testing.T) {
	for shift := range 64 {
		for _, d := range []int64{-1, 0, 1} {
			for _, v := range []int64{1<<shift + d, -(1 << shift) + d} {
				b := AppendVarlong(nil, v)
				got, n := Varlong(b)
				if got != v || n != len(b) || varlongBytes(v) != n {
					t.Errorf("varlong %d came back as %d in %d of %d bytes", v, got, n, len(b))
				}
				w := int32(v)
				b = AppendVarint(nil, w)
				back, n := Varint(b)
				if back != w || n != len(b) || varintBytes(w) != n {
					t.Errorf("varint %d came back as %d in %d of %d bytes", w, back, n, len(b))
				}
				u, n := Uvarint(AppendUvarint(nil, uint32(v)))
				if u != uint32(v) || n != uvarintBytes(u) {
					t.Errorf("uvarint %d came back as %d", uint32(v), u)
				}
			}
		}
	}
	if _, n := Uvarint([]byte{0x80, 0x80, 0x80, 0x80}); n != 0 {
		t.Errorf("an unfinished varint: %d", n)
	}
	if v, n := Uvarint([]byte{0xff, 0xff, 0xff, 0xff, 0x7f}); n != 5 || v != 1<<32-1 {
		t.Errorf("bits past the 32nd: %x, %d", v, n)
	}
}

// TestReaderSticks makes sure that nothing is read after an error.
func TestReaderSticks(t *testing.T) {
	r := NewReader([]byte{0, 9, 1, 2, 3})
	if s := r.String(); s != nil || r.Err() != ErrShort {
		t.Fatalf("read %q, %v", s, r.Err())
	}
	if r.Int8() != 0 || r.Len() != 0 || r.Rest() != nil || r.Take(-1) != nil || r.Err() != ErrShort {
		t.Errorf("something was read after an error: %v", r.Err())
	}
	for name, read := range map[string]func(*Reader) int{
		"array":         func(r *Reader) int { return r.ArrayLength(1) },
		"compact array": func(r *Reader) int { return r.CompactArrayLength(1) },
	} {
		r := NewReader([]byte{0x7f, 0xff, 0xff, 0xff, 0x07, 0, 0})
		if n := read(&r); n != 0 || r.Err() != ErrShort {
			t.Errorf("%s: a count of %d was believed, %v", name, n, r.Err())
		}
	}
}
