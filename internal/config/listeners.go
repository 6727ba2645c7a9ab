package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Listener is one entry of listeners or advertised.listeners: NAME://host:port.
type Listener struct {
	Name     string
	Protocol string // by listener.security.protocol.map: PLAINTEXT, SSL, ...
	Host     string // empty: every address; of IPv6 ones without brackets
	Port     uint16 // 0: the kernel chooses
}

// Listeners are those for clients. Controllers' are left out: a node is its own
// controller and has no need of a connection to it.
func (c *Config) Listeners() ([]Listener, error) { return c.clientListeners("listeners") }

// Advertised are the addresses that clients are told, where they are not those of
// the listeners.
func (c *Config) Advertised() ([]Listener, error) { return c.clientListeners("advertised.listeners") }

func (c *Config) clientListeners(setting string) (out []Listener, err error) {
	controllers := SplitList(c.Get("controller.listener.names"))
	for _, text := range SplitList(c.Get(setting)) {
		l, err := ParseListener(text)
		if err != nil {
			return nil, fmt.Errorf("%s=%s: %w", setting, c.Get(setting), err)
		}
		if slices.Contains(controllers, l.Name) {
			continue
		}
		if slices.ContainsFunc(out, func(o Listener) bool { return o.Name == l.Name }) {
			return nil, fmt.Errorf("%s=%s: the name %s stands there twice", setting, c.Get(setting), l.Name)
		}
		l.Protocol = c.protocolOf(l.Name)
		if l.Protocol != "PLAINTEXT" {
			return nil, fmt.Errorf("%s=%s: listener %s is %s; only PLAINTEXT is served yet", setting, c.Get(setting), l.Name, l.Protocol)
		}
		out = append(out, l)
	}
	return out, nil
}

// protocolOf is the security protocol of a listener's name.
func (c *Config) protocolOf(name string) string {
	for _, pair := range SplitList(c.Get("listener.security.protocol.map")) {
		if n, protocol, ok := strings.Cut(pair, ":"); ok && n == name {
			return strings.ToUpper(protocol)
		}
	}
	return name
}

// ParseListener reads NAME://host:port.
func ParseListener(text string) (l Listener, err error) {
	name, address, ok := strings.Cut(text, "://")
	if !ok || name == "" {
		return l, fmt.Errorf("%q is not NAME://host:port", text)
	}
	l.Host, l.Port, err = ParseAddress(address)
	l.Name = strings.ToUpper(name)
	return l, err
}

// ParseAddress reads host:port, where the host may be empty, and is in brackets if
// it is an IPv6 address.
func ParseAddress(text string) (host string, port uint16, err error) {
	i := strings.LastIndexByte(text, ':')
	if i < 0 || strings.HasSuffix(text, "]") {
		return "", 0, fmt.Errorf("address %q: want host:port", text)
	}
	n, err := strconv.ParseUint(text[i+1:], 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("address %q: %q is not a port", text, text[i+1:])
	}
	host = text[:i]
	if bare, ok := strings.CutPrefix(host, "["); ok {
		if host, ok = strings.CutSuffix(bare, "]"); !ok {
			return "", 0, fmt.Errorf("address %q: the bracket is not closed", text)
		}
	}
	return host, uint16(n), nil
}
