package broker

import (
	"fmt"
	"net"
	"net/netip"

	"slipstream/internal/config"
)

// listenAddress is listen, or where that is empty the listener for clients that
// the settings name.
func listenAddress(c *config.Config, listen string) (netip.AddrPort, error) {
	if listen != "" {
		host, port, err := config.ParseAddress(listen)
		if err != nil {
			return netip.AddrPort{}, err
		}
		return resolve(config.Listener{Host: host, Port: port})
	}
	all, err := c.Listeners()
	if err != nil {
		return netip.AddrPort{}, err
	}
	if len(all) != 1 {
		return netip.AddrPort{}, fmt.Errorf("listeners=%s names %d listeners for clients; one is served", c.Get("listeners"), len(all))
	}
	return resolve(all[0])
}

// resolve finds the address of a listener's host, an IPv4 one if there is one.
func resolve(l config.Listener) (netip.AddrPort, error) {
	if l.Host == "" {
		return netip.AddrPortFrom(netip.IPv4Unspecified(), l.Port), nil
	}
	if addr, err := netip.ParseAddr(l.Host); err == nil {
		return netip.AddrPortFrom(addr, l.Port), nil
	}
	names, err := net.LookupHost(l.Host)
	var found netip.Addr
	for _, name := range names {
		if addr, err := netip.ParseAddr(name); err == nil && (!found.IsValid() || addr.Is4() && !found.Is4()) {
			found = addr
		}
	}
	if !found.IsValid() {
		return netip.AddrPort{}, fmt.Errorf("%s cannot be resolved to listen on it: %v", l.Host, err)
	}
	return netip.AddrPortFrom(found, l.Port), nil
}

// advertise finds what clients are told to connect to, if not the address that the
// broker listens on: advertised.listeners, or an address of this machine where it
// listens on all of them.
func (s *Settings) advertise(c *config.Config) error {
	all, err := c.Advertised()
	if err != nil {
		return err
	}
	if len(all) > 0 {
		l := all[0]
		if l.Host == "" || l.Port == 0 {
			return fmt.Errorf("advertised.listeners=%s: clients need a host and a port", c.Get("advertised.listeners"))
		}
		s.AdvertisedHost, s.AdvertisedPort = l.Host, int32(l.Port)
		return nil
	}
	if s.Listen.Addr().IsUnspecified() {
		s.AdvertisedHost = firstIPv4()
	}
	return nil
}

// firstIPv4 is the first IPv4 address of this machine that others can reach, or
// the loopback one.
func firstIPv4() string {
	addrs, _ := net.InterfaceAddrs()
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && n.IP.IsGlobalUnicast() {
			return n.IP.String()
		}
	}
	return "127.0.0.1"
}
