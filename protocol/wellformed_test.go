package protocol

import (
	"math/rand"
	"reflect"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// fill puts chance into every field of a kmsg message.
func fill(r *rand.Rand, v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[kmsg.Tags]() {
			if tags := v.Addr().Interface().(*kmsg.Tags); r.Intn(3) == 0 {
				tags.Set(uint32(100+r.Intn(5)), randomBytes(r))
			}
			return
		}
		for i := range v.NumField() {
			if name := v.Type().Field(i).Name; v.Field(i).CanSet() && name != "Version" {
				fill(r, v.Field(i))
			}
		}
	case reflect.Pointer:
		if v.IsNil() && r.Intn(2) == 0 {
			v.Set(reflect.New(v.Type().Elem()))
		}
		if !v.IsNil() {
			fill(r, v.Elem())
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), r.Intn(3), 3))
		for i := range v.Len() {
			fill(r, v.Index(i))
		}
	case reflect.Array:
		for i := range v.Len() {
			fill(r, v.Index(i))
		}
	case reflect.String:
		v.SetString(randomString(r))
	case reflect.Bool:
		v.SetBool(r.Intn(2) == 0)
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(r.Int63n(100))
	case reflect.Uint8, reflect.Uint16, reflect.Uint32:
		v.SetUint(uint64(r.Intn(100)))
	case reflect.Float64:
		v.SetFloat(r.Float64())
	}
}

// eachRequest calls f with every request and version that both Kafka 4.3 and kmsg have.
func eachRequest(f func(req kmsg.Request)) (versions int) {
	for key := range layouts {
		for version := layouts[key].least; version <= layouts[key].most; version++ {
			req := kmsg.RequestForKey(int16(key))
			if req == nil || version > req.MaxVersion() {
				continue
			}
			req.SetVersion(version)
			f(req)
			versions++
		}
	}
	return versions
}

// TestCheckRequest walks over what kmsg writes, to the last byte, and refuses all that is shorter.
func TestCheckRequest(t *testing.T) {
	r := rand.New(rand.NewSource(1))
	versions := eachRequest(func(req kmsg.Request) {
		key, version := req.Key(), req.GetVersion()
		for range 30 {
			fill(r, reflect.ValueOf(req).Elem())
			req.SetVersion(version)
			body := req.AppendTo(nil)
			rest, err := walkRequest(key, version, body)
			if err != nil || len(rest) != 0 {
				t.Fatalf("%s %d: %v, %d bytes left of %x", APIName(key), version, err, len(rest), body)
			}
			for n := range body {
				if CheckRequest(key, version, body[:n]) == nil {
					t.Fatalf("%s %d: %d of %d bytes were enough", APIName(key), version, n, len(body))
				}
			}
		}
	})
	if versions < 200 {
		t.Errorf("only %d requests were tried", versions)
	}
}

// TestCheckRequestRefuses has the bodies that keep kmsg busy, or make it take memory.
func TestCheckRequestRefuses(t *testing.T) {
	metadata := kmsg.NewPtrMetadataRequest()
	metadata.SetVersion(12)
	body := metadata.AppendTo(nil)
	body = body[:len(body)-1]
	many := append([]byte{0, 8, 0, 0}, make([]byte, 2<<19)...) // 2^19 topics with empty names
	tests := []struct {
		name         string
		key, version int16
		body         []byte
		want         error
	}{
		{"four billion tags", KeyMetadata, 12, append(body, 0xff, 0xff, 0xff, 0xff, 0x0f), ErrShort},
		{"four billion tags in a tagged structure", KeyFetch, 15, append(append(make([]byte, 21), 1, 1, 1, 1, 1, 17),
			append(make([]byte, 12), 0xff, 0xff, 0xff, 0xff, 0x0f)...), ErrShort},
		{"two billion ids in a tagged array", KeyBrokerHeartbeat, 2, append(make([]byte, 22), 1, 0, 5, 0xff, 0xff, 0xff, 0xff, 0x07), ErrShort},
		{"half a million topics", KeyMetadata, 1, many, ErrElements},
		{"an array of -2, which is null", KeyMetadata, 1, []byte{0xff, 0xff, 0xff, 0xfe}, nil},
		{"a null array where none may be", KeyMetadata, 0, []byte{0xff, 0xff, 0xff, 0xff}, ErrLength},
		{"a null array", KeyMetadata, 1, []byte{0xff, 0xff, 0xff, 0xff}, nil},
		{"a null string where none may be", KeySaslHandshake, 1, []byte{0xff, 0xff}, ErrLength},
		{"a null cursor", KeyDescribeTopicPartitions, 0, []byte{1, 0, 0, 0, 1, 0xff, 0}, nil},
		{"an unknown key", 999, 0, nil, ErrVersion},
		{"a negative key", -1, 0, nil, ErrVersion},
		{"a key without requests", KeyUpdateMetadata, 0, nil, ErrVersion},
		{"a version too high", KeyMetadata, 14, nil, ErrVersion},
		{"a version too low", KeyCreateTopics, 1, nil, ErrVersion},
		{"nothing", KeyMetadata, 12, nil, ErrShort},
	}
	for _, test := range tests {
		if got := CheckRequest(test.key, test.version, test.body); got != test.want {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
	if allocated := testing.AllocsPerRun(100, func() { CheckRequest(KeyMetadata, 1, many) }); allocated != 0 {
		t.Errorf("%v allocations", allocated)
	}
}

// FuzzCheckRequest: what passes, kmsg reads in bounded time and memory, and what kmsg writes of it passes again.
func FuzzCheckRequest(f *testing.F) {
	r := rand.New(rand.NewSource(2))
	eachRequest(func(req kmsg.Request) {
		version := req.GetVersion()
		fill(r, reflect.ValueOf(req).Elem())
		req.SetVersion(version)
		f.Add(req.Key(), version, req.AppendTo(nil))
	})
	f.Fuzz(func(t *testing.T, key, version int16, body []byte) {
		if CheckRequest(key, version, body) != nil {
			return
		}
		req := kmsg.RequestForKey(key)
		if req == nil || version > req.MaxVersion() {
			return
		}
		req.SetVersion(version)
		if err := req.ReadFrom(body); err != nil {
			t.Fatalf("%s %d: kmsg does not read what passed: %v", APIName(key), version, err)
		}
		if again := req.AppendTo(nil); CheckRequest(key, version, again) != nil {
			t.Fatalf("%s %d: kmsg made %x of %x", APIName(key), version, again, body)
		}
	})
}
