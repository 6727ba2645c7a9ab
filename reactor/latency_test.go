package reactor

import (
	"io"
	"net"
	"testing"

	"slipstream/ring"
)

// BenchmarkEcho is a blocking client's 1 KiB round trip, to a core under each
// waiting policy and to a plain Go server.
func BenchmarkEcho(b *testing.B) {
	for wait := Park; wait <= Adaptive; wait++ {
		b.Run(wait.String(), func(b *testing.B) {
			k := ring.NewLinux()
			core := NewCore(Config{Kernel: k, Wait: wait}, newEcho(echoAtOnce))
			fd, addr, err := k.Listen(anyPort, 16, false)
			if err != nil {
				b.Fatal(err)
			}
			core.Listen(fd)
			done := make(chan error)
			go func() { done <- core.Run() }()
			roundTrips(b, addr.String())
			core.Inject(call(func(c *Core) { c.Drain(0) }))
			if err := <-done; err != nil {
				b.Fatal(err)
			}
		})
	}
	b.Run("net", func(b *testing.B) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		defer l.Close()
		go func() {
			c, err := l.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			buf := make([]byte, 4, 64<<10)
			for {
				f, err := readFrame(c, buf)
				if err != nil {
					return
				}
				c.Write(f)
			}
		}()
		roundTrips(b, l.Addr().String())
	})
}

func roundTrips(b *testing.B, addr string) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	out, in := frame(1, 1024), make([]byte, 4+1024)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Write(out); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(c, in); err != nil {
			b.Fatal(err)
		}
	}
}
