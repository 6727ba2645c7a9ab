package clients

import (
	"fmt"
	"net"
	"reflect"
	"sort"
	"strconv"
)

// normaliser turns a response into plain values in which what two sound brokers draw differently has a name instead.
type normaliser struct {
	port      int
	ids       map[[16]byte]string
	producers map[int64]string
	sessions  map[int32]string
	texts     bool            // error messages are compared word for word
	skipped   map[string]bool // fields that a script does not compare
	members   map[string]string
}

func newNormaliser(addr string) *normaliser {
	_, p, _ := net.SplitHostPort(addr)
	port, _ := strconv.Atoi(p)
	return &normaliser{port: port, ids: map[[16]byte]string{{}: "zero"}, producers: map[int64]string{-1: "none"}, sessions: map[int32]string{0: "none"},
		members: map[string]string{"": "", "nobody": "nobody"}}
}

func (n *normaliser) member(id string) { name(n.members, id, "member") }

func (n *normaliser) id(id [16]byte, name string) { n.ids[id] = name }

// Fields whose value is drawn by the broker, and what becomes of it.
var drawn = map[string]func(n *normaliser, v reflect.Value) any{
	"Port": func(n *normaliser, v reflect.Value) any {
		if int(v.Int()) == n.port {
			return "the broker's port"
		}
		return v.Int()
	},
	"ClusterID":              func(n *normaliser, v reflect.Value) any { return present(v) },
	"TopicID":                func(n *normaliser, v reflect.Value) any { return n.named(v) },
	"ProducerID":             func(n *normaliser, v reflect.Value) any { return name(n.producers, v.Int(), "producer") },
	"SessionID":              func(n *normaliser, v reflect.Value) any { return name(n.sessions, int32(v.Int()), "session") },
	"ErrorMessage":           func(n *normaliser, v reflect.Value) any { return present(v) },
	"LastTimestamp":          func(n *normaliser, v reflect.Value) any { return moment(v) },
	"StartTimestamp":         func(n *normaliser, v reflect.Value) any { return moment(v) },
	"StatusMessage":          func(n *normaliser, v reflect.Value) any { return present(v) },
	"FeaturesEpoch":          func(n *normaliser, v reflect.Value) any { return "an epoch" },
	"FinalizedFeaturesEpoch": func(n *normaliser, v reflect.Value) any { return "an epoch" },
	"ThrottleMillis":         func(n *normaliser, v reflect.Value) any { return "not compared" },
	"MemberID":               func(n *normaliser, v reflect.Value) any { return n.memberName(v) },
	"LeaderID":               func(n *normaliser, v reflect.Value) any { return n.memberName(v) },
	"Version":                func(n *normaliser, v reflect.Value) any { return v.Int() },
	"Dir":                    func(n *normaliser, v reflect.Value) any { return "the data directory" },
	"ReplicaDirectoryID":     func(n *normaliser, v reflect.Value) any { return "a directory's id" },
	"ClientInstanceID":       func(n *normaliser, v reflect.Value) any { return n.named(v) },
	"TotalBytes":             func(n *normaliser, v reflect.Value) any { return sign(v.Int()) },
	"UsableBytes":            func(n *normaliser, v reflect.Value) any { return sign(v.Int()) },
	"LastFetchTimestamp":     func(n *normaliser, v reflect.Value) any { return sign(v.Int()) },
	"LastCaughtUpTimestamp":  func(n *normaliser, v reflect.Value) any { return sign(v.Int()) },
	"Documentation":          func(n *normaliser, v reflect.Value) any { return present(v) },
}

func (n *normaliser) named(v reflect.Value) any {
	var id [16]byte
	reflect.Copy(reflect.ValueOf(&id).Elem(), v)
	return name(n.ids, id, "id")
}

// memberName is a member's id, which may be null.
func (n *normaliser) memberName(v reflect.Value) any {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return nil
		}
		v = v.Elem()
	}
	if v.Kind() != reflect.String {
		return v.Interface() // of a broker
	}
	return name(n.members, v.String(), "member")
}

func name[K comparable](known map[K]string, k K, what string) string {
	if _, ok := known[k]; !ok {
		known[k] = fmt.Sprintf("%s-%d", what, len(known))
	}
	return known[k]
}

// sign is all that is compared of figures that every machine has its own of.
func sign(n int64) any {
	switch {
	case n > 0:
		return "a positive number"
	case n < 0:
		return n
	}
	return "zero"
}

// moment is a time of the broker's clock, unless it is none or one that a script has set.
func moment(v reflect.Value) any {
	if t := v.Int(); t <= 1_700_000_100_000 {
		return t
	}
	return "some time"
}

func present(v reflect.Value) any {
	if v.Kind() == reflect.Pointer && v.IsNil() {
		return nil
	}
	return "some text"
}

// Lists whose order means nothing are compared sorted by these fields.
var unordered = map[string]string{"TransactionStates": "TransactionalID", "ActiveProducers": "ProducerID", "Configs": "Name", "ApiKeys": "ApiKey", "SupportedFeatures": "Name", "FinalizedFeatures": "Name", "Topics": "Topic", "Groups": "Group", "Members": "MemberID", "ConfigSynonyms": ""}

func (n *normaliser) value(v any) any { return n.reflect(reflect.ValueOf(v), "") }

func (n *normaliser) reflect(v reflect.Value, field string) any {
	if n.skipped[field] {
		return "not compared"
	}
	if f := drawn[field]; f != nil && !(n.texts && field == "ErrorMessage") {
		return f(n, v)
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return nil
		}
		return n.reflect(v.Elem(), field)
	case reflect.Struct:
		out := map[string]any{}
		for i := range v.NumField() {
			f := v.Type().Field(i)
			if !f.IsExported() || f.Name == "UnknownTags" {
				continue
			}
			out[f.Name] = n.reflect(v.Field(i), f.Name)
		}
		return out
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			if v.IsNil() {
				return nil
			}
			return fmt.Sprintf("%x", v.Bytes())
		}
		if v.IsNil() {
			return nil // kmsg keeps null and empty apart where the protocol does, and Java clients fall over the difference
		}
		out := []any{}
		for i := range v.Len() {
			out = append(out, n.reflect(v.Index(i), ""))
		}
		if by, ok := unordered[field]; ok && by != "" {
			sort.SliceStable(out, func(i, j int) bool { return sortKey(out[i], by) < sortKey(out[j], by) })
		}
		return out
	case reflect.Array:
		return n.named(v)
	}
	return v.Interface()
}

func sortKey(v any, by string) string {
	m, ok := v.(map[string]any)
	if !ok {
		return ""
	}
	if n, ok := m[by].(int16); ok {
		return fmt.Sprintf("%05d", n)
	}
	return fmt.Sprint(m[by])
}
