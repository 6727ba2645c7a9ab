package metrics

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// BenchmarkScrape is a scrape of a core that has ten thousand partitions: how long
// it takes, how long it holds the core at a time, and what a producer beside it sees,
// with scrapes and without. Run it with -benchtime 20x.
func BenchmarkScrape(b *testing.B) {
	w := startWatched(b, Options{}, "slipstream.cores=1")
	w.createTopic("many", 5000)
	w.createTopic("more", 5000)
	w.createTopic("busy", 1)
	producer := w.client("producer")
	w.produce(producer, "busy", 0, 500, 1000)
	b.Run("nobody scrapes", func(b *testing.B) {
		w.beside(b, producer, func() {
			for b.Loop() {
				time.Sleep(100 * time.Millisecond)
			}
		})
	})
	b.Run("scraped", func(b *testing.B) {
		w.beside(b, producer, func() {
			for b.Loop() {
				if status, _, _ := w.get("/metrics", asProtobuf); status != 200 {
					b.Fatal(status)
				}
				time.Sleep(shareLimit)
			}
		})
		s := w.scrape("/metrics", asProtobuf)
		b.ReportMetric(s.value("slipstream_core_scrape_longest_slice_seconds", "core", "0")*1e6, "longest-slice-us")
		b.ReportMetric(s.value("slipstream_core_scrape_slices", "core", "0"), "slices")
		b.ReportMetric(s.value("slipstream_scrape_seconds")*1e3, "scrape-ms")
	})
}

// beside runs f while a producer makes round trips, and reports what those took.
func (w *watched) beside(b *testing.B, c *kgo.Client, f func()) {
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan []time.Duration)
	go func() {
		var took []time.Duration
		for ctx.Err() == nil {
			begun := time.Now()
			if c.ProduceSync(b.Context(), &kgo.Record{Topic: "busy", Value: make([]byte, 1000)}).FirstErr() != nil {
				break
			}
			took = append(took, time.Since(begun))
		}
		done <- took
	}()
	f()
	cancel()
	took := <-done
	slices.Sort(took)
	for _, q := range []struct {
		name  string
		share float64
	}{{"p50-us", .5}, {"p99-us", .99}, {"p99.9-us", .999}, {"max-us", 1}} {
		b.ReportMetric(float64(took[int(q.share*float64(len(took)-1))].Microseconds()), q.name)
	}
}
