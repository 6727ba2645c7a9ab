package broker

import (
	"net"
	"net/netip"
	"strings"
	"testing"

	"slipstream/internal/config"
)

func TestAddresses(t *testing.T) {
	first := firstIPv4()
	if ip := net.ParseIP(first); ip == nil || ip.To4() == nil || ip.IsUnspecified() {
		t.Fatalf("the first IPv4 address is %q", first)
	}
	for _, c := range []struct {
		sets       []string
		listen     string
		wantListen string
		wantHost   string // advertised; empty: that of the listener
		wantPort   int32
		wantErr    string
	}{
		{listen: "127.0.0.1:0", wantListen: "127.0.0.1:0"},
		{listen: "[::1]:9092", wantListen: "[::1]:9092"},
		{listen: "localhost:9092", wantListen: "127.0.0.1:9092"},
		{listen: ":9092", wantListen: "0.0.0.0:9092", wantHost: first},
		{wantListen: "0.0.0.0:9092", wantHost: first},
		{listen: "9092", wantErr: "want host:port"},
		{listen: "127.0.0.1:port", wantErr: `"port" is not a port`},
		{listen: "no such host:1", wantErr: "cannot be resolved"},
		{sets: []string{"listeners=PLAINTEXT://127.0.0.1:9192"}, wantListen: "127.0.0.1:9192"},
		{sets: []string{"listeners=PLAINTEXT://127.0.0.1:9192"}, listen: "127.0.0.1:7", wantListen: "127.0.0.1:7"},
		{sets: []string{"controller.listener.names=C", "listener.security.protocol.map=C:PLAINTEXT,I:PLAINTEXT", "listeners=C://:9093,I://127.0.0.1:1"}, wantListen: "127.0.0.1:1"},
		{sets: []string{"controller.listener.names=C", "listeners=C://:9093"}, wantErr: "names 0 listeners for clients"},
		{sets: []string{"listener.security.protocol.map=A:PLAINTEXT,B:PLAINTEXT", "listeners=A://:1,B://:2"}, wantErr: "names 2 listeners for clients; one is served"},
		{sets: []string{"advertised.listeners=PLAINTEXT://broker.example:29092"}, wantListen: "0.0.0.0:9092", wantHost: "broker.example", wantPort: 29092},
		{sets: []string{"advertised.listeners=PLAINTEXT://:29092"}, wantErr: "clients need a host and a port"},
	} {
		cfg, err := config.Load("", c.sets)
		if err != nil {
			t.Fatal(err)
		}
		s, err := SettingsFrom(cfg, "data", c.listen, 1024)
		if c.wantErr != "" {
			if err == nil || !strings.Contains(err.Error(), c.wantErr) {
				t.Errorf("%v %q: %v, want %q", c.sets, c.listen, err, c.wantErr)
			}
			continue
		}
		if err != nil || s.Listen != netip.MustParseAddrPort(c.wantListen) || s.AdvertisedHost != c.wantHost || s.AdvertisedPort != c.wantPort {
			t.Errorf("%v %q: listens on %v, advertises %s:%d, %v", c.sets, c.listen, s.Listen, s.AdvertisedHost, s.AdvertisedPort, err)
		}
	}
}
