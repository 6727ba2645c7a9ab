package config_test

import (
	"reflect"
	"strings"
	"testing"

	"slipstream/internal/config"
)

func TestProperties(t *testing.T) {
	type p = config.Property
	for _, c := range []struct {
		text string
		want []p
	}{
		{"", nil},
		{"# comment\n! comment\n\n   # indented\na=b", []p{{"a", "b", 5}}},
		{"a=b\r\nc=d\r\n", []p{{"a", "b", 1}, {"c", "d", 2}}},
		{"a=b\rc=d\r", []p{{"a", "b", 1}, {"c", "d", 2}}},
		{"a = b \n c\t:\td", []p{{"a", "b ", 1}, {"c", "d", 2}}},
		{"a b c\nd\ne=", []p{{"a", "b c", 1}, {"d", "", 2}, {"e", "", 3}}},
		{"a==b\nc:=d", []p{{"a", "=b", 1}, {"c", "=d", 2}}},
		{"a=1,\\\n   2,\\\n\t3\nb=4", []p{{"a", "1,2,3", 1}, {"b", "4", 4}}},
		{"a=b\\\\\nc=d", []p{{"a", `b\`, 1}, {"c", "d", 2}}},
		{"a=b\\", []p{{"a", "b", 1}}},
		{"a=b\\\n", []p{{"a", "b", 1}}},
		{`a\=b\:c\ d = e\t\u00e9\n\q`, []p{{"a=b:c d", "e\té\nq", 1}}},
		{"a=b#c", []p{{"a", "b#c", 1}}},
		{"a=\\u00fc\\ud83d\\ude00", []p{{"a", "ü😀", 1}}},
		{"a=b\\\n# no comment", []p{{"a", "b# no comment", 1}}},
		{"path=C:\\\\x", []p{{"path", `C:\x`, 1}}},
	} {
		got, err := config.ParseProperties(c.text)
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q: %+v, %v, want %+v", c.text, got, err, c.want)
		}
	}
	for _, text := range []string{`a=\u12`, `a=\uzzzz`, "a\\u=b"} {
		if _, err := config.ParseProperties(text); err == nil || !strings.Contains(err.Error(), "line 1") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// FuzzProperties: nothing makes the parser fail otherwise than by an error, and
// no name or value comes out of a comment.
func FuzzProperties(f *testing.F) {
	for _, s := range []string{"a=b", "a\\\n=b", "\\u0041:x", "#x\n!y\nz", "a=\\", "\\", "=\n:", "a=b\r\nc"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		properties, err := config.ParseProperties(text)
		if err != nil {
			return
		}
		last := 0
		for _, p := range properties {
			if p.Line <= last || len(p.Name)+len(p.Value) > len(text)+2 {
				t.Fatalf("%q: %+v", text, p)
			}
			last = p.Line
		}
	})
}
