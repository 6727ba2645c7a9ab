package reactor

import (
	"math/rand/v2"
	"sync"
	"testing"

	"slipstream/ring"
)

// TestEcho sends frames of all sizes, fragmented at random and pipelined, and
// wants them back byte for byte and in order, whenever the service finishes.
func TestEcho(t *testing.T) {
	levels(t, func(t *testing.T, level ring.Level) {
		for how := range echoKinds {
			t.Run(how.String(), func(t *testing.T) {
				s := serve(t, Config{Level: level}, newEcho(how))
				var wait sync.WaitGroup
				for client := range 4 {
					c := s.dial()
					wait.Go(func() {
						if err := exchange(c, mixedFrames(client, 100), uint64(client)); err != nil {
							t.Error(err)
						}
					})
				}
				wait.Wait()
			})
		}
	})
}

// mixedFrames are n frames: mostly small, some large, a few very large.
func mixedFrames(seed, n int) [][]byte {
	r := rand.New(rand.NewPCG(uint64(seed), 3))
	frames := make([][]byte, n)
	for i := range frames {
		size := 1 + r.IntN(2000)
		switch r.IntN(20) {
		case 0:
			size = 16<<10 - 8 + r.IntN(16) // around a provided buffer
		case 1, 2:
			size = r.IntN(64 << 10)
		case 3:
			size = r.IntN(600 << 10)
		case 4:
			if i%5 == 0 {
				size = r.IntN(8 << 20)
			}
		}
		frames[i] = frame(seed<<16|i, size)
	}
	return frames
}

// TestEchoSizes sends each size alone: 5 bytes to 8 MiB, around every boundary.
func TestEchoSizes(t *testing.T) {
	var sizes []int
	for n := 1; n <= 8<<20; n *= 2 {
		sizes = append(sizes, n-1, n, n+1)
	}
	sizes = append(sizes, 16<<10-5, 16<<10-4, 16<<10-3, 256<<10-5, 256<<10-4, 256<<10-3)
	levels(t, func(t *testing.T, level ring.Level) {
		s := serve(t, Config{Level: level}, newEcho(echoAtOnce))
		c := s.dial()
		for i, n := range sizes {
			if err := exchange(c, [][]byte{frame(i, n)}, uint64(i)); err != nil {
				t.Fatalf("%d bytes: %v", n, err)
			}
		}
	})
}

// TestEchoByteByByte fragments to the utmost.
func TestEchoByteByByte(t *testing.T) {
	levels(t, func(t *testing.T, level ring.Level) {
		s := serve(t, Config{Level: level}, newEcho(echoAtOnce))
		c := s.dial()
		for _, f := range [][]byte{frame(1, 0), frame(2, 1), frame(3, 300), frame(4, 17<<10)} {
			step := 1 + len(f)/600
			for i := 0; i < len(f); i += step {
				if _, err := c.Write(f[i:min(i+step, len(f))]); err != nil {
					t.Fatal(err)
				}
			}
			got, err := readFrame(c, make([]byte, 4))
			if err != nil || string(got) != string(f) {
				t.Fatalf("echo of %d bytes: %v", len(f), err)
			}
		}
	})
}

// TestEchoPipelinedLarge keeps large frames coming back to back: once direct,
// hardly a byte is copied.
func TestEchoPipelinedLarge(t *testing.T) {
	levels(t, func(t *testing.T, level ring.Level) {
		for _, size := range []int{16 << 10, 100_000, 1 << 20} {
			s := serve(t, Config{Level: level}, newEcho(echoEndTurn))
			c := s.dial()
			frames := make([][]byte, 16<<20/size)
			total := 0
			for i := range frames {
				frames[i] = frame(i, size)
				total += len(frames[i])
			}
			go func() {
				for _, f := range frames {
					if _, err := c.Write(f); err != nil {
						t.Error(err)
						return
					}
				}
			}()
			buf := make([]byte, 4)
			for i, f := range frames {
				got, err := readFrame(c, buf)
				if err != nil || string(got) != string(f) {
					t.Fatalf("%d bytes: echo %d: %v", size, i, err)
				}
				buf = got
			}
			stats := s.stats(0)
			t.Logf("%d bytes: %d receives, %d sends, copied %.1f%%, %d turns", size, stats.Receives, stats.Sends,
				100*float64(stats.BytesCopied)/float64(total), stats.Turns)
			if stats.BytesCopied > uint64(total)/5 {
				t.Errorf("%d bytes: copied %d of %d bytes received", size, stats.BytesCopied, total)
			}
			s.stop()
		}
	})
}
