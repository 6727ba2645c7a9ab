package main

import (
	"fmt"
	"log/slog"
	"net"

	"slipstream/internal/broker"
	"slipstream/internal/config"
	"slipstream/internal/metrics"
	"slipstream/reactor"
)

// figuresServer is what serves /metrics for this broker, if anything does.
type figuresServer struct {
	server *metrics.Server // nil: nothing
}

// serveMetrics takes the address of flag, or else of slipstream.metrics.listener,
// and has the broker watched. Without either nothing is served.
func serveMetrics(flag string, cfg *config.Config, s *broker.Settings, helpers *reactor.Pool, cache *pageCache, log *slog.Logger) (figuresServer, error) {
	address := flag
	if address == "" {
		address = cfg.Get("slipstream.metrics.listener")
	}
	if address == "" {
		return figuresServer{}, nil
	}
	if _, _, err := net.SplitHostPort(address); err != nil {
		return figuresServer{}, fmt.Errorf("--metrics %s: want HOST:PORT, as in 127.0.0.1:9404", address)
	}
	o := metrics.Options{
		Listen: address, Version: version, Log: log, Helpers: helpers,
		AttributionRefused: cache.refused, CacheSeries: int(cfg.Int("slipstream.metrics.cache.series")),
	}
	if cache.attribution != nil {
		o.Attribution = cache.attribution
	}
	server, err := metrics.New(o)
	if err != nil {
		return figuresServer{}, err
	}
	s.Watcher = server
	return figuresServer{server}, nil
}

// url is where the metrics are, "" if nowhere.
func (f figuresServer) url() string {
	if f.server == nil {
		return ""
	}
	return "http://" + f.server.Address() + "/metrics"
}

// close gives the address back, if the broker has not.
func (f figuresServer) close() {
	if f.server != nil {
		f.server.Close()
	}
}
