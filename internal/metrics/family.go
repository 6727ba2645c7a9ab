package metrics

import (
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"
)

// kind is what a family's values are.
type kind string

const (
	counter   kind = "counter"
	gauge     kind = "gauge"
	histogram kind = "histogram"
)

// family is one metric: a row of the table that docs/metrics.md is made from.
type family struct {
	name   string
	kind   kind
	help   string
	labels []string
	// kafka is the MBean and attribute that it is Kafka's name for; empty: ours.
	kafka string
	// when says on what its being exported depends; empty: it always is.
	when string

	at     int   // its place in families
	sorted []int // the labels' places in the order of their names
}

// families is every metric of ours, in the order of declaration.
var families []*family

func declare(f family) *family {
	f.at = len(families)
	for i := range f.labels {
		f.sorted = append(f.sorted, i)
	}
	slices.SortFunc(f.sorted, func(a, b int) int { return strings.Compare(f.labels[a], f.labels[b]) })
	families = append(families, &f)
	return &f
}

// own declares a metric that Kafka has not.
func own(kind kind, name, help string, labels ...string) *family {
	return declare(family{name: name, kind: kind, help: help, labels: labels})
}

// optional declares one that is not always there.
func optional(when string, kind kind, name, help string, labels ...string) *family {
	return declare(family{name: name, kind: kind, help: help, labels: labels, when: when})
}

// kafkas declares one under the lower-case name that the JMX exporter gives to an
// attribute of Kafka's.
func kafkas(kind kind, name, mbean, help string, labels ...string) *family {
	return declare(family{name: name, kind: kind, help: help, labels: labels, kafka: mbean})
}

var protoTypes = map[kind]dto.MetricType{
	counter: dto.MetricType_COUNTER, gauge: dto.MetricType_GAUGE, histogram: dto.MetricType_HISTOGRAM,
}

// output collects a scrape's metrics, in the form in which they are encoded. It
// stands in for a registry, whose checks of each metric would be most of the work
// with ten thousand partitions, and most of the garbage: a test makes them instead.
type output struct {
	all []*dto.MetricFamily // by place in families; nil: nothing of it

	// Things are taken from blocks, many to an allocation.
	metrics  []dto.Metric
	gauges   []dto.Gauge
	counters []dto.Counter
	values   []float64
	pairs    []dto.LabelPair
	texts    []string
	lists    []*dto.LabelPair
}

func newOutput() *output { return &output{all: make([]*dto.MetricFamily, len(families))} }

const blockLength = 512

func take[T any](block *[]T) *T {
	if len(*block) == 0 {
		*block = make([]T, blockLength)
	}
	first := &(*block)[0]
	*block = (*block)[1:]
	return first
}

// put gives a value of a counter or gauge. Labels come from clients and topics:
// what is not UTF-8 in them is replaced, and the exposition formats escape the rest.
func (o *output) put(f *family, value float64, labels ...string) {
	o.add(f, value, o.label(f, labels...))
}

// count is put for a whole number.
func (o *output) count(f *family, value uint64, labels ...string) {
	o.put(f, float64(value), labels...)
}

// label makes a list of labels, which several metrics may share.
func (o *output) label(f *family, labels ...string) []*dto.LabelPair {
	if len(o.lists) < len(labels) {
		o.lists = make([]*dto.LabelPair, blockLength)
	}
	list := o.lists[:len(labels):len(labels)]
	o.lists = o.lists[len(labels):]
	for i, at := range f.sorted {
		text, pair := take(&o.texts), take(&o.pairs)
		*text = clean(labels[at])
		pair.Name, pair.Value = &f.labels[at], text
		list[i] = pair
	}
	return list
}

// add is put with labels made before.
func (o *output) add(f *family, value float64, labels []*dto.LabelPair) {
	m, v := o.metric(f, labels), take(&o.values)
	*v = value
	if f.kind == counter {
		m.Counter = take(&o.counters)
		m.Counter.Value = v
	} else {
		m.Gauge = take(&o.gauges)
		m.Gauge.Value = v
	}
}

func (o *output) metric(f *family, labels []*dto.LabelPair) *dto.Metric {
	of := o.all[f.at]
	if of == nil {
		of = &dto.MetricFamily{Name: &f.name, Help: &f.help, Type: protoTypes[f.kind].Enum()}
		o.all[f.at] = of
	}
	m := take(&o.metrics)
	m.Label = labels
	of.Metric = append(of.Metric, m)
	return m
}

// gathered are the families that there is something of, in the order of their names.
func (o *output) gathered() []*dto.MetricFamily {
	all := slices.DeleteFunc(o.all, func(f *dto.MetricFamily) bool { return f == nil })
	slices.SortFunc(all, func(a, b *dto.MetricFamily) int { return strings.Compare(a.GetName(), b.GetName()) })
	return all
}

func clean(label string) string { return strings.ToValidUTF8(label, "\uFFFD") }
