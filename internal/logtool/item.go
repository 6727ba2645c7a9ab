package logtool

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// Item is one thing that Dump found: a file, a batch, a record, an entry, or a problem.
type Item struct {
	Kind   string // file, batch, record, index, timeindex, aborted, producer, epoch, offset, line, problem
	Fields []Field
}

// Field is a named value of an item: a number, bool, string, []byte, or what encoding/json can make text of.
type Field struct {
	Name  string
	Value any
}

func item(kind string, fields ...Field) Item { return Item{kind, fields} }

// MarshalJSON is an object whose first member is kind; the others follow in their order. Bytes are base64.
func (it Item) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteString(`{"kind":` + strconv.Quote(it.Kind))
	for _, f := range it.Fields {
		v, err := json.Marshal(f.Value)
		if err != nil {
			return nil, err
		}
		name, err := json.Marshal(f.Name)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, ",%s:%s", name, v)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// textBytes is how much of a key or value the text form shows.
const textBytes = 100

// String is the text form: the kind, then names and values, in one line.
func (it Item) String() string {
	var b strings.Builder
	b.WriteString(it.Kind)
	for _, f := range it.Fields {
		b.WriteString(" " + f.Name + ": " + text(f.Value))
	}
	return b.String()
}

func text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case []byte:
		switch {
		case v == nil:
			return "null"
		case len(v) > textBytes:
			return fmt.Sprintf("%q... (%d bytes)", v[:textBytes], len(v))
		}
		return strconv.Quote(string(v))
	case fmt.Stringer:
		return v.String()
	case bool, int, int8, int16, int32, int64, uint32:
		return fmt.Sprint(v)
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(b)
}
