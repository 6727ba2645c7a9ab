package broker

import "testing"

// TestShareKeys: what Apache Kafka 4.3.1 takes for the key of a share-partition.
func TestShareKeys(t *testing.T) {
	const topic = "AAAAAAAAAAAAAAAAAAAAAQ"
	for key, want := range map[string]bool{
		"g:" + topic + ":0":          true,
		"a:b:" + topic + ":0":        true,
		":a:" + topic + ":0":         true,
		"a::" + topic + ":0":         true,
		"::" + topic + ":0":          true, // the group ":"
		":" + topic + ":0":           false,
		" \t:" + topic + ":0":        false,
		topic + ":0":                 false,
		"no key":                     false,
		"":                           false,
		":::":                        false,
		"g:" + topic + ":0::":        true,
		"g:" + topic + ":":           false,
		"g:" + topic + ":-1":         true,
		"g:" + topic + ":+1":         true,
		"g:" + topic + ":007":        true,
		"g:" + topic + ":2147483647": true,
		"g:" + topic + ":2147483648": false,
		"g:" + topic + ": 1":         false,
		"g:" + topic + ":1_0":        false,
		"g:" + topic + ":x":          false,
		"g:" + topic + "==:0":        true,
		"g:" + topic + "=:0":         false,
		"g:" + topic + "A:0":         false,
		"g:" + topic + "\n:0":        false,
		"g:AAAA:0":                   false,
		"g::0":                       false,
	} {
		if validShareKey(key) != want {
			t.Errorf("%q: valid is %t", key, !want)
		}
	}
}
