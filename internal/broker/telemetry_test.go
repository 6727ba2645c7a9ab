package broker

import (
	"fmt"
	"strings"
	"testing"

	"slipstream/internal/metadata"
	"slipstream/protocol"
)

// TestTelemetryClients: who is subscribed to what, who may ask and push when, and
// that no number of clients makes a core hold more than its bound.
func TestTelemetryClients(t *testing.T) {
	im := metadata.NewImage()
	set := func(name, setting, value string) {
		im.Apply(&metadata.ConfigRecord{ResourceType: int8(metadata.ResourceClientMetrics), ResourceName: name, Name: setting, Value: &value})
	}
	set("all", "metrics", "a.,b.")
	set("all", "interval.ms", "5000")
	set("apps", "metrics", "b.,c.")
	set("apps", "interval.ms", "1000")
	set("apps", "match", "client_id=app-.*,client_software_name=test")
	var tel telemetry
	tel.subscribe(im)
	is := func(id, software string) func(string) string {
		return func(name string) string {
			return map[string]string{"client_id": id, "client_software_name": software}[name]
		}
	}
	id := func(n int) (u protocol.UUID) { u[0], u[14], u[15] = 1, byte(n>>8), byte(n); return u }
	for i, c := range []struct {
		clientID, software string
		metrics            string
		interval           int32
	}{{"app-1", "test", "a.,b.,c.", 1000}, {"app-1", "other", "a.,b.", 5000}, {"an-app-1", "test", "a.,b.", 5000}} {
		got := tel.client(id(i), is(c.clientID, c.software))
		if strings.Join(got.metrics, ",") != c.metrics || got.intervalMillis != c.interval || got.subscription == 0 {
			t.Errorf("%s of %s: %v each %d ms, number %d", c.clientID, c.software, got.metrics, got.intervalMillis, got.subscription)
		}
	}
	app := tel.client(id(0), is("app-1", "test"))
	number := app.subscription
	push := func(at int64, subscription int32, codec int8, bytes int) protocol.ErrorCode {
		app.lastError = app.pushed(at, subscription, false, codec, bytes)
		return app.lastError
	}
	for i, step := range []struct {
		got, want any
	}{
		{app.mayGet(10_000), true},
		{app.mayGet(10_500), false},
		{push(10_600, number, 0, 5), protocol.NONE}, // within the interval of its question
		{push(11_000, number, 0, 5), protocol.THROTTLING_QUOTA_EXCEEDED},
		{push(11_700, number+1, 0, 5), protocol.UNKNOWN_SUBSCRIPTION_ID},
		{app.mayGet(11_701), true}, // it could not know
		{push(11_702, number, 5, 5), protocol.UNSUPPORTED_COMPRESSION_TYPE},
		{push(13_000, number, -1, 5), protocol.UNSUPPORTED_COMPRESSION_TYPE},
		{push(15_000, number, 4, maxTelemetryBytes+1), protocol.TELEMETRY_TOO_LARGE},
		{push(17_000, number, 4, maxTelemetryBytes), protocol.NONE},
		{app.mayGet(17_500), false},
	} {
		if fmt.Sprint(step.got) != fmt.Sprint(step.want) {
			t.Errorf("step %d: %v, want %v", i, step.got, step.want)
		}
	}
	set("all", "metrics", "*")
	tel.subscribe(im)
	if app = tel.client(id(0), is("app-1", "test")); fmt.Sprint(app.metrics) != "[*]" || app.subscription == number {
		t.Errorf("after a change: %v, number %d", app.metrics, app.subscription)
	}
	for i := range 3 * maxTelemetryClients {
		tel.client(id(i), is("many", ""))
		tel.client(id(0), is("app-1", "test"))
	}
	if len(tel.clients) != maxTelemetryClients || tel.counters.Clients != maxTelemetryClients {
		t.Errorf("%d clients are remembered, counted %d", len(tel.clients), tel.counters.Clients)
	}
	if tel.clients[id(0)] != app || tel.clients[id(1)] != nil {
		t.Error("it is not the client that was silent longest that was forgotten")
	}
}
