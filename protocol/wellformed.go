package protocol

import (
	"errors"
	"fmt"
	"math"
)

// CheckRequest is the guard before a general decoder. kmsg believes a count of tagged fields: thirty bytes that say four
// billion keep it busy for half a minute, and with it the core and everyone on it. So every request that is not decoded in
// this package is first walked over, by its schema, without allocating; what passes has no count or length that lies.
//
// A schema is a list of fields, in this notation:
//
//	b 1 byte, h 2, i 4, l 8, u 16, s string, y bytes
//	[x]    array of x             {...}  structure; its tagged fields follow it in flexible versions
//	3+:x   from version 3 on      3-5:x  in versions 3 to 5      4:x  in version 4 only
//	x?     may be null            x?2    may be null from version 2 on
//	#1x    tagged field 1

// MaxRequestElements is how many array elements a request may have in all. A general decoder turns a byte of input into up to
// a hundred bytes of memory; this keeps that within 30 MiB or so.
const MaxRequestElements = 1 << 18

// ErrElements: a request has more than MaxRequestElements.
var ErrElements = errors.New("protocol: too many array elements in a request")

// node is a parsed field.
type node struct {
	kind     byte // as in the notation; '[' for arrays, '{' for structures
	from, to int16
	nullFrom int16 // never: not nullable
	tag      int16 // -1: not tagged
	sub      []node
}

type layout struct {
	least, most int16
	fields      []node
}

// layouts is indexed by API key; a key without a request has least > most.
var layouts = parseSchemas(requestSchemas)

func parseSchemas(schemas []requestSchema) (all [len(apiInfos)]layout) {
	for i := range all {
		all[i] = layout{least: 1, most: 0}
	}
	for _, s := range schemas {
		p := schemaParser{text: s.text}
		all[s.key] = layout{s.least, s.most, p.fields()}
		if p.at != len(p.text) {
			panic(fmt.Sprintf("protocol: schema of %s: unexpected %q", APIName(s.key), p.text[p.at:]))
		}
	}
	return all
}

// CheckRequest walks over the body of a request and returns an error if it is malformed: ErrShort, ErrLength, ErrVarint, or
// ErrElements. A key or version that Kafka 4.3 does not have is ErrVersion. What follows the last field is ignored.
func CheckRequest(key, version int16, body []byte) error {
	_, err := walkRequest(key, version, body)
	return err
}

// walkRequest is CheckRequest; it also returns what follows the last field.
func walkRequest(key, version int16, body []byte) (rest []byte, err error) {
	if key < 0 || int(key) >= len(layouts) || version < layouts[key].least || version > layouts[key].most {
		return nil, ErrVersion
	}
	w := schemaWalk{Reader: NewReader(body), version: version, flexible: RequestFlexible(key, version), elements: MaxRequestElements}
	w.structure(layouts[key].fields)
	return w.b, w.err
}

// schemaWalk walks over one request.
type schemaWalk struct {
	Reader
	version  int16
	flexible bool
	elements int // still allowed
}

func (w *schemaWalk) structure(fields []node) {
	for i := range fields {
		f := &fields[i]
		if w.version >= f.from && w.version <= f.to && f.tag < 0 {
			w.field(f)
		}
	}
	if !w.flexible {
		return
	}
	for n := w.Uvarint(); n > 0 && w.err == nil; n-- {
		tag, field := w.Tag()
		if f := tagged(fields, tag); f != nil {
			inner := schemaWalk{Reader: field, version: w.version, flexible: true, elements: w.elements}
			inner.field(f)
			w.elements = inner.elements
			if inner.err != nil {
				w.fail(inner.err)
			}
		}
	}
}

// tagged finds the field with a tag, or nil. The version is not asked: kmsg reads a tag that it knows in versions that do not have
// it, too, so it is walked over there as well.
func tagged(fields []node, tag uint32) *node {
	for i := range fields {
		if f := &fields[i]; f.tag >= 0 && uint32(f.tag) == tag {
			return f
		}
	}
	return nil
}

// fixedBytes are the sizes of the kinds that have one.
var fixedBytes = [256]uint8{'b': 1, 'h': 2, 'i': 4, 'l': 8, 'u': 16}

func (w *schemaWalk) field(f *node) {
	if n := fixedBytes[f.kind]; n > 0 {
		w.Take(int(n))
		return
	}
	nullable := w.version >= f.nullFrom
	switch f.kind {
	case '{':
		if !nullable || w.Int8() >= 0 {
			w.structure(f.sub)
		}
	case '[':
		w.array(f, nullable)
	default:
		if n := w.length(f.kind == 's'); n >= 0 || !nullable {
			w.Take(n)
		}
	}
}

// length reads the length of a string or bytes; negative is null.
func (w *schemaWalk) length(short bool) int {
	switch {
	case w.flexible:
		return w.compactLength()
	case short:
		return int(w.Int16())
	default:
		return int(w.Int32())
	}
}

func (w *schemaWalk) array(f *node, nullable bool) {
	var n int
	if w.flexible {
		n = w.CompactArrayLength(1)
	} else {
		n = w.ArrayLength(1)
	}
	switch {
	case n < 0 && !nullable:
		w.fail(ErrLength)
		return
	case n > w.elements:
		w.fail(ErrElements)
		return
	}
	w.elements -= max(n, 0)
	for ; n > 0 && w.err == nil; n-- {
		w.field(&f.sub[0])
	}
}

// schemaParser parses the notation. The schemas are part of the program, so what it cannot parse is a bug.
type schemaParser struct {
	text string
	at   int
}

func (p *schemaParser) fields() (list []node) {
	for p.at < len(p.text) && p.text[p.at] != '}' {
		if p.text[p.at] == ' ' {
			p.at++
			continue
		}
		list = append(list, p.field())
	}
	return list
}

func (p *schemaParser) field() node {
	f := node{to: math.MaxInt16, tag: -1}
	if n, ok := p.number(); ok {
		f.from, f.to = n, n
		switch {
		case p.accept('+'):
			f.to = math.MaxInt16
		case p.accept('-'):
			f.to, _ = p.number()
		}
		p.accept(':')
	}
	if p.accept('#') {
		f.tag, _ = p.number()
	}
	p.kind(&f)
	f.nullFrom = never
	if p.accept('?') {
		f.nullFrom, _ = p.number()
	}
	return f
}

// kind parses what a field is, without versions and nullability.
func (p *schemaParser) kind(f *node) {
	f.kind = p.text[p.at]
	p.at++
	switch f.kind {
	case '[':
		element := node{nullFrom: never, tag: -1}
		p.kind(&element)
		f.sub = []node{element}
		p.accept(']')
	case '{':
		f.sub = p.fields()
		p.accept('}')
	}
}

func (p *schemaParser) accept(c byte) bool {
	if p.at < len(p.text) && p.text[p.at] == c {
		p.at++
		return true
	}
	return false
}

func (p *schemaParser) number() (n int16, ok bool) {
	for p.at < len(p.text) && p.text[p.at] >= '0' && p.text[p.at] <= '9' {
		n, ok = n*10+int16(p.text[p.at]-'0'), true
		p.at++
	}
	return n, ok
}
