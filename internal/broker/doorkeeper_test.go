package broker

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"slipstream/internal/quota"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// setBroker sets a dynamic setting of all brokers.
func (w *wire) setBroker(name, value string) {
	w.t.Helper()
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType = kmsg.ConfigResourceTypeBroker
	c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	c.Name, c.Value, c.Op = name, &value, kmsg.IncrementalAlterConfigOpSet
	if value == "" {
		c.Op = kmsg.IncrementalAlterConfigOpDelete
	}
	r.Configs = append(r.Configs, c)
	req.Resources = append(req.Resources, r)
	resp := w.ask(1, req).(*kmsg.IncrementalAlterConfigsResponse).Resources[0]
	if resp.ErrorCode != 0 {
		w.t.Fatalf("set %s=%s: error %d %s", name, value, resp.ErrorCode, *resp.ErrorMessage)
	}
}

// dialFrom connects from an address of the loopback network. A connection that is answered is served.
func dialFrom(t *testing.T, b *testBroker, from string) *wire {
	t.Helper()
	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(from), 0)), Timeout: 5 * time.Second}
	c, err := d.Dial("tcp", b.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &wire{t: t, conn: c}
}

// served asks on a connection and says what came of it within the time: "served", "closed" or "waits".
func (w *wire) served(within time.Duration) string {
	w.t.Helper()
	req := kmsg.NewPtrApiVersionsRequest()
	req.SetVersion(0)
	w.corr++
	w.conn.Write(kmsg.NewRequestFormatter().AppendRequest(nil, req, w.corr))
	w.conn.SetReadDeadline(time.Now().Add(within))
	_, err := readFrame(w.conn, make([]byte, 1<<16))
	ne, timeout := err.(net.Error)
	switch {
	case err == nil:
		return "served"
	case timeout && ne.Timeout():
		return "waits"
	}
	return "closed"
}

func (w *wire) want(what string, within time.Duration) {
	w.t.Helper()
	if got := w.served(within); got != what {
		w.t.Errorf("a connection is %s, want %s", got, what)
	}
}

const soon = 5 * time.Second

// TestConnectionsPerAddress: over the number of its address a connection is closed; those that were there when the
// limit was set count.
func TestConnectionsPerAddress(t *testing.T) {
	for _, cores := range []int{1, 2} {
		t.Run(fmt.Sprint(cores), func(t *testing.T) {
			b := startTestBroker(t, "", setCores(cores))
			admin := b.dial()
			var early []*wire
			for range 5 {
				w := dialFrom(t, b, "127.0.0.2")
				w.want("served", soon)
				early = append(early, w)
			}
			admin.setBroker("max.connections.per.ip", "6")
			time.Sleep(50 * time.Millisecond) // they are counted
			sixth := dialFrom(t, b, "127.0.0.2")
			sixth.want("served", soon)
			dialFrom(t, b, "127.0.0.2").want("closed", soon)
			dialFrom(t, b, "127.0.0.3").want("served", soon)
			early[0].conn.Close()
			eventuallyServed(t, b, "127.0.0.2")
			admin.setBroker("max.connections.per.ip.overrides", "127.0.0.2:7,127.0.0.9:0")
			dialFrom(t, b, "127.0.0.2").want("served", soon)
			dialFrom(t, b, "127.0.0.9").want("closed", soon)
			admin.setBroker("max.connections.per.ip", "")
			admin.setBroker("max.connections.per.ip.overrides", "")
			for range 10 {
				dialFrom(t, b, "127.0.0.2").want("served", soon)
			}
			admin.setBroker("max.connections.per.ip", "3")
			time.Sleep(50 * time.Millisecond)
			dialFrom(t, b, "127.0.0.2").want("closed", soon)
		})
	}
}

// eventuallyServed tries until one more connection of an address is let in.
func eventuallyServed(t *testing.T, b *testBroker, from string) {
	t.Helper()
	for end := time.Now().Add(soon); ; time.Sleep(10 * time.Millisecond) {
		w := dialFrom(t, b, from)
		if w.served(soon) == "served" {
			return
		}
		if time.Now().After(end) {
			t.Fatal("a connection has ended, and no other is let in")
		}
	}
}

// TestMaxConnections: over max.connections a connection waits until another ends, or the limit is raised.
func TestMaxConnections(t *testing.T) {
	b := startTestBroker(t, "", setCores(2), "max.connections=3")
	admin := b.dial()
	admin.want("served", soon)
	second, third := b.dial(), b.dial()
	second.want("served", soon)
	third.want("served", soon)
	waiting := b.dial()
	waiting.want("waits", 200*time.Millisecond)
	second.conn.Close()
	waiting.conn.SetReadDeadline(time.Now().Add(soon))
	if _, err := readFrame(waiting.conn, make([]byte, 1<<16)); err != nil {
		t.Errorf("a slot is free, and the next is not served: %v", err)
	}
	more := b.dial()
	more.want("waits", 200*time.Millisecond)
	admin.setBroker("max.connections", "100")
	more.conn.SetReadDeadline(time.Now().Add(soon))
	if _, err := readFrame(more.conn, make([]byte, 1<<16)); err != nil {
		t.Errorf("the limit is raised, and a waiting connection is not served: %v", err)
	}
}

// TestConnectionRates: faster than the broker's rate connections wait, faster than their address's they are closed,
// later.
func TestConnectionRates(t *testing.T) {
	b := startTestBroker(t, "", setCores(2), "quota.window.num=2")
	admin := b.dial()
	admin.setQuota("ip=127.0.0.5", quota.ConnectionRate.String(), 5)
	outcomes := map[string]int{}
	begun := time.Now()
	for range 12 {
		w := dialFrom(t, b, "127.0.0.5")
		asked := time.Now()
		got := w.served(soon)
		outcomes[got]++
		if took := time.Since(asked); got == "closed" && took < 10*time.Millisecond {
			t.Errorf("closed after %v: it should have been kept waiting", took)
		}
		if time.Since(begun) > 4*time.Second {
			break
		}
	}
	if outcomes["served"] < 4 || outcomes["closed"] == 0 || outcomes["waits"] > 0 {
		t.Errorf("5 a second: %v", outcomes)
	}
	dialFrom(t, b, "127.0.0.6").want("served", soon)
	admin.setQuota("ip=127.0.0.5", quota.ConnectionRate.String(), 0)
	admin.setBroker("max.connection.creation.rate", "10")
	begun = time.Now()
	for range 25 {
		dialFrom(t, b, "127.0.0.5").want("served", soon)
	}
	if took := time.Since(begun); took < 500*time.Millisecond {
		t.Errorf("25 connections at 10 a second, and 10 at once: let in after %v", took)
	}
	onEachShard(b, func(s *Shard) {
		if s.core.ID == doorCore && (s.doorkeeper.Figures.TooFast == 0 || s.doorkeeper.Figures.Waited == 0) {
			t.Errorf("figures: %+v", s.doorkeeper.Figures)
		}
	})
}
