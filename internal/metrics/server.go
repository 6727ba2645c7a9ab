// Package metrics serves Prometheus what a broker counts. It stands outside the
// cores: a scrape sends each of them a message and waits for what it copies, a bounded
// slice a turn (broker.CoreSnapshot). What is exported, and Kafka's name for it,
// is a table that docs/metrics.md is made from.
package metrics

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"

	"slipstream/internal/broker"
	"slipstream/reactor"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
)

// The bounds of the server. A scrape is one request a few times a minute.
const (
	maxScrapes     = 4  // at a time; the next are refused with 503
	maxConnections = 32 // at a time; the next wait to be accepted
	readLimit      = 5 * time.Second
	writeLimit     = 30 * time.Second
	idleLimit      = 2 * time.Minute
	maxHeaderBytes = 16 << 10
)

// DefaultCacheSeries is Options.CacheSeries unless set.
const DefaultCacheSeries = 1000

// Options make a server.
type Options struct {
	Listen  string // host:port; port 0 lets the kernel choose
	Version string // of the program
	Log     *slog.Logger
	// Helpers are the cores'; nil: what waits for them is not told.
	Helpers *reactor.Pool
	// Attribution tells what the page cache does; nil: it cannot be seen, for the
	// reason that AttributionRefused gives.
	Attribution        Attribution
	AttributionRefused error
	// CacheSeries is how many pairs of a partition and a client are told by name,
	// and how many culprits of evictions; the others are told together.
	CacheSeries int
}

// Server serves /metrics. It is the broker's Watcher.
type Server struct {
	options  Options
	listener net.Listener
}

// New takes the address, so that one that is in use is known before anything is
// opened. Nothing is answered before Watch. Close it if that is never called.
func New(o Options) (*Server, error) {
	if o.CacheSeries <= 0 {
		o.CacheSeries = DefaultCacheSeries
	}
	l, err := net.Listen("tcp", o.Listen)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("metrics address %s is in use by another process: stop it, or choose another --metrics", o.Listen)
	case err != nil:
		return nil, fmt.Errorf("metrics address %s cannot be listened on: %w", o.Listen, err)
	}
	return &Server{o, l}, nil
}

// Address is where the server listens.
func (s *Server) Address() string { return s.listener.Addr().String() }

// Close gives the address back.
func (s *Server) Close() error { return s.listener.Close() }

// Watch implements broker.Watcher: it serves the broker's figures until stop.
func (s *Server) Watch(b *broker.Broker) (stop func(), err error) {
	server := &http.Server{
		Handler: s.handler(b), ReadHeaderTimeout: readLimit, ReadTimeout: readLimit, WriteTimeout: writeLimit,
		IdleTimeout: idleLimit, MaxHeaderBytes: maxHeaderBytes, ErrorLog: slog.NewLogLogger(s.options.Log.Handler(), slog.LevelDebug),
	}
	var ended sync.WaitGroup
	ended.Go(func() {
		if err := server.Serve(limit(s.listener, maxConnections)); !errors.Is(err, http.ErrServerClosed) {
			s.options.Log.Error("metrics are no longer served", "error", err)
		}
	})
	return func() {
		server.Close()
		ended.Wait()
	}, nil
}

func (s *Server) handler(b *broker.Broker) http.Handler {
	c := newCollector(s.options, b)
	process := prometheus.NewRegistry()
	process.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", s.exposition(both{process, c}))
	mux.Handle("GET /metrics/residency", s.exposition(&residency{c, b.Report().DataDirs}))
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprint(w, index)
	})
	return mux
}

func (s *Server) exposition(g prometheus.Gatherer) http.Handler {
	return promhttp.HandlerFor(g, promhttp.HandlerOpts{
		MaxRequestsInFlight: maxScrapes, Timeout: writeLimit - time.Second, ErrorHandling: promhttp.ContinueOnError,
		ErrorLog: slog.NewLogLogger(s.options.Log.Handler(), slog.LevelWarn),
	})
}

// both gathers from two that have no family in common; what comes of the first is
// given though it failed in part.
type both [2]prometheus.Gatherer

// Gather implements prometheus.Gatherer.
func (b both) Gather() ([]*dto.MetricFamily, error) {
	first, err := b[0].Gather()
	second, also := b[1].Gather()
	return append(first, second...), errors.Join(err, also)
}

const index = `<!doctype html>
<title>slipstream</title>
<h1>slipstream</h1>
<p><a href="/metrics">/metrics</a>: what the broker counts</p>
<p><a href="/metrics/residency">/metrics/residency</a>: how much of each log is in the page cache; it looks at every segment</p>
`

// limit bounds the connections of a listener: Accept waits for one to be closed.
func limit(l net.Listener, n int) net.Listener {
	return &limited{Listener: l, room: make(chan struct{}, n), closed: make(chan struct{})}
}

type limited struct {
	net.Listener
	room   chan struct{}
	closed chan struct{}
	once   sync.Once
}

// Accept waits for room and then for a connection.
func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.room <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.room
		return nil, err
	}
	return &limitedConn{Conn: c, leave: func() { <-l.room }}, nil
}

// Close also ends an Accept that waits for room.
func (l *limited) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

type limitedConn struct {
	net.Conn
	once  sync.Once
	leave func()
}

// Close makes room.
func (c *limitedConn) Close() error {
	defer c.once.Do(c.leave)
	return c.Conn.Close()
}
