package metadata

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
)

// kafkaFile is a file that Apache Kafka 4.3.1 wrote.
func kafkaFile(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "kafka-4.3.1", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestRecordsAsKafkaWritesThem: every record type in every version, with every
// field, as Kafka's own serializer and its own JSON have it (RecordBytes.java).
func TestRecordsAsKafkaWritesThem(t *testing.T) {
	seen := map[string]bool{}
	lines := bufio.NewScanner(bytes.NewReader(kafkaFile(t, "records.txt")))
	for lines.Scan() {
		part := strings.SplitN(lines.Text(), " ", 4)
		name, version, want := part[0], part[1], part[3]
		wire, err := hex.DecodeString(part[2])
		if err != nil {
			t.Fatal(err)
		}
		seen[name+" "+version] = true
		r, err := DecodeRecord(wire)
		if err != nil {
			t.Errorf("%s %s: %v", name, version, err)
			continue
		}
		if RecordName(r) != name || strconv.Itoa(int(r.version())) != version {
			t.Errorf("%s %s is decoded as %s %d", name, version, RecordName(r), r.version())
		}
		if again := AppendRecord(nil, r); !bytes.Equal(again, wire) {
			t.Errorf("%s %s\nis written as %x\nKafka writes  %x", name, version, again, wire)
		}
		compareJSON(t, name+" "+version, r, want)
	}
	for key := range recordTypes {
		rt := &recordTypes[key]
		for v := int16(0); rt.empty != nil && v <= rt.maxVersion; v++ {
			if !seen[fmt.Sprintf("%s %d", rt.name, v)] {
				t.Errorf("no sample of %s version %d", rt.name, v)
			}
		}
	}
	if len(seen) != 37 {
		t.Errorf("%d types and versions are sampled, Kafka 4.3.1 has 37", len(seen))
	}
}

// compareJSON: every field that Kafka shows has the same value here, and every
// field that is set here is shown by Kafka.
func compareJSON(t *testing.T, name string, r Record, want string) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(want))
	d.UseNumber()
	var kafka map[string]any
	if err := d.Decode(&kafka); err != nil {
		t.Fatal(err)
	}
	compareStruct(t, name, reflect.ValueOf(r).Elem(), kafka)
}

func compareStruct(t *testing.T, name string, v reflect.Value, kafka map[string]any) {
	t.Helper()
	known := map[string]bool{}
	for i := range v.NumField() {
		field := v.Type().Field(i).Name
		if field == "Version" || field == "Tags" {
			continue
		}
		key := schemaName(field)
		known[key] = true
		if want, ok := kafka[key]; ok {
			compareValue(t, name+"."+field, v.Field(i), want)
		} else if f := v.Field(i); !f.IsZero() && fmt.Sprint(f) != "-2" && fmt.Sprint(f) != "-1" && fmt.Sprint(f) != "[]" {
			t.Errorf("%s.%s is %v, Kafka does not show it", name, field, f)
		}
	}
	for key := range kafka {
		if !known[key] {
			t.Errorf("%s has no field for %q", name, key)
		}
	}
}

func compareValue(t *testing.T, name string, v reflect.Value, want any) {
	t.Helper()
	if list, ok := want.([]any); ok {
		if v.Len() != len(list) {
			t.Errorf("%s has %d elements, Kafka %d", name, v.Len(), len(list))
			return
		}
		for i := range list {
			compareValue(t, fmt.Sprintf("%s[%d]", name, i), v.Index(i), list[i])
		}
		return
	}
	if object, ok := want.(map[string]any); ok {
		compareStruct(t, name, v, object)
		return
	}
	got := ""
	switch x := v.Interface().(type) {
	case *string:
		if x != nil {
			got = *x
		} else {
			got = "<nil>"
		}
	case []byte:
		got = base64.StdEncoding.EncodeToString(x)
	case float64:
		got = strconv.FormatFloat(x, 'f', -1, 64)
		want = strings.TrimSuffix(fmt.Sprint(want), ".0")
	default:
		got = fmt.Sprint(x)
	}
	if got != fmt.Sprint(want) {
		t.Errorf("%s is %s, Kafka has %v", name, got, want)
	}
}

// schemaName is a field's name in Kafka's schemas.
func schemaName(field string) string {
	for _, r := range [][2]string{{"QuotaKey", "Key"}, {"IDs", "Ids"}, {"ID", "Id"}, {"ISR", "Isr"}, {"LastKnownELR", "LastKnownElr"}} {
		field = strings.Replace(field, r[0], r[1], 1)
	}
	return strings.ToLower(field[:1]) + field[1:]
}

func TestUnknownRecords(t *testing.T) {
	for _, c := range []struct {
		wire []byte
		want UnknownRecordError
	}{
		{[]byte{1, 99, 3, 0}, UnknownRecordError{Key: 99, Version: 3}},
		{[]byte{1, 6, 0, 0}, UnknownRecordError{Key: 6}},
		{[]byte{1, 0x80, 0x80, 0x80, 0x80, 0x04, 0, 0}, UnknownRecordError{Key: 1 << 30}},
		{[]byte{1, 2, 1, 0}, UnknownRecordError{Key: 2, Version: 1, Name: "TopicRecord"}},
		{[]byte{1, 0, 5, 0}, UnknownRecordError{Version: 5, Name: "RegisterBrokerRecord", Max: 4}},
		{[]byte{1, 2, 0x80, 0x80, 0x04, 0}, UnknownRecordError{Key: 2, Version: 1 << 16, Name: "TopicRecord"}},
	} {
		_, err := DecodeRecord(c.wire)
		var got *UnknownRecordError
		if !errors.As(err, &got) || *got != c.want {
			t.Errorf("%x: %v, want %v", c.wire, err, &c.want)
		}
	}
}

// TestDamagedRecords: every cut and every lying length of every sample is an
// error, and never a panic or a large allocation.
func TestDamagedRecords(t *testing.T) {
	lines := bufio.NewScanner(bytes.NewReader(kafkaFile(t, "records.txt")))
	for lines.Scan() {
		part := strings.SplitN(lines.Text(), " ", 4)
		wire, _ := hex.DecodeString(part[2])
		for cut := range wire {
			if _, err := DecodeRecord(wire[:cut]); err == nil {
				t.Errorf("%s %s cut to %d of %d bytes is decoded", part[0], part[1], cut, len(wire))
			}
		}
		if _, err := DecodeRecord(append(wire[:len(wire):len(wire)], 0)); err == nil {
			t.Errorf("%s %s with a byte more is decoded", part[0], part[1])
		}
	}
	for _, damaged := range []string{
		"",                 // nothing
		"00",               // frame version 0
		"02020000",         // frame version 2
		"ffffffffff7f",     // a varint of six bytes
		"010200ffffffff0f", // a string of 4 GiB
		"0102000000000000000000000000000000000000",           // the name is null
		"010e00ffffffff0700",                                 // 2 billion entities
		"01140001010200",                                     // a tagged field that is cut
		"01140002" + "0500" + "0500",                         // a tag twice
		"01140002" + "0500" + "0400",                         // tags out of order
		"011900" + "01" + "00" + "03" + "02" + "6161" + "00", // a tagged string shorter than its field
	} {
		wire, err := hex.DecodeString(damaged)
		if err != nil {
			t.Fatal(err)
		}
		if r, err := DecodeRecord(wire); err == nil {
			t.Errorf("%s is decoded as %#v", damaged, r)
		}
	}
}

// TestTagsOfTheFuture: what a newer Kafka adds as tagged fields is kept.
func TestTagsOfTheFuture(t *testing.T) {
	for _, wire := range []string{
		"011400" + "02" + "07" + "03" + "010203" + "09" + "00",
		"010500" + "00000005" + "00000000000000000000000000000001" + "03" + "01" + "04" + "00000002" + "02" + "01" + "00" + "08" + "02" + "0100",
		"010500" + "00000005" + "00000000000000000000000000000001" + "02" + "08" + "02" + "ffff" + "63" + "01" + "05", // tag 8 is version 1's
	} {
		b, err := hex.DecodeString(wire)
		if err != nil {
			t.Fatal(err)
		}
		r, err := DecodeRecord(b)
		if err != nil {
			t.Errorf("%s: %v", wire, err)
		} else if again := AppendRecord(nil, r); wire[:8] != "01050000" && !bytes.Equal(again, b) {
			t.Errorf("%s comes back as %x", wire, again)
		}
	}
}

func FuzzDecodeRecord(f *testing.F) {
	lines := bufio.NewScanner(bytes.NewReader(kafkaFile(f, "records.txt")))
	for lines.Scan() {
		wire, _ := hex.DecodeString(strings.SplitN(lines.Text(), " ", 4)[2])
		f.Add(wire)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := DecodeRecord(b)
		if err != nil {
			return
		}
		wire := AppendRecord(nil, r)
		again, err := DecodeRecord(wire)
		if err != nil {
			t.Fatalf("%x is decoded, what is made of it is not: %v", b, err)
		}
		if !reflect.DeepEqual(r, again) && !hasNaN(r) {
			t.Fatalf("%#v comes back as %#v", r, again)
		}
	})
}

func hasNaN(r Record) bool {
	q, ok := r.(*ClientQuotaRecord)
	return ok && q.Value != q.Value
}
