package metrics

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"
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
	desc *prometheus.Desc
}

// families is every metric of ours, in the order of declaration.
var families []*family

func declare(f family) *family {
	f.desc = prometheus.NewDesc(f.name, f.help, f.labels, nil)
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

// output is where a scrape's metrics go.
type output chan<- prometheus.Metric

// put gives a value of a counter or gauge. Labels come from clients and topics:
// what is not UTF-8 in them is replaced, and the exposition formats escape the rest.
func (o output) put(f *family, value float64, labels ...string) {
	as := prometheus.GaugeValue
	if f.kind == counter {
		as = prometheus.CounterValue
	}
	m, err := prometheus.NewConstMetric(f.desc, as, value, cleaned(labels)...)
	if err != nil {
		m = prometheus.NewInvalidMetric(f.desc, err)
	}
	o <- m
}

// count is put for a whole number.
func (o output) count(f *family, value uint64, labels ...string) { o.put(f, float64(value), labels...) }

// cleaned are labels of valid UTF-8.
func cleaned(labels []string) []string {
	for i, l := range labels {
		labels[i] = clean(l)
	}
	return labels
}

func clean(label string) string { return strings.ToValidUTF8(label, "\uFFFD") }
