package reactor

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"slipstream/ring"
)

// TestEchoMuted has a service that mutes its connections time and again: every frame
// still comes back, in order, whenever it is finished.
func TestEchoMuted(t *testing.T) {
	levels(t, func(t *testing.T, level ring.Level) {
		for how := range echoKinds {
			e := newEcho(how)
			r := rand.New(rand.NewPCG(7, uint64(how)))
			take := e.service.request
			e.service.request = func(q *Request) Disposition {
				c := q.Conn
				d := take(q)
				if r.IntN(4) == 0 {
					c.Mute(int64(r.IntN(1_000_000)))
				}
				return d
			}
			s := serve(t, Config{Level: level}, e)
			var wait sync.WaitGroup
			for client := range 3 {
				c := s.dial()
				wait.Go(func() {
					defer c.Close()
					if err := exchange(c, mixedFrames(client, 30), uint64(client)); err != nil {
						t.Errorf("%s: %v", how, err)
					}
				})
			}
			wait.Wait()
			if stats := s.stats(0); stats.Mutes == 0 {
				t.Errorf("%s: nothing was muted", how)
			}
			s.stop()
			if n := s.cores[0].Stats.ConnectionsMuted; n != 0 {
				t.Errorf("%s: %d connections are muted and there are none", how, n)
			}
		}
	})
}

// TestMutedCostNobody: connections that are muted and send all the same take none of
// the buffers that the others share, and are heard when their time has passed.
func TestMutedCostNobody(t *testing.T) {
	const mute = 200 * time.Millisecond
	levels(t, func(t *testing.T, level ring.Level) {
		svc := &service{}
		svc.request = func(r *Request) Disposition {
			c, muting := r.Conn, r.Payload[0] == 'm'
			echoFrame(r)
			if muting {
				c.Mute(int64(mute))
			}
			return Next
		}
		s := serve(t, Config{Level: level, Limits: Limits{ProvidedBuffers: 4}}, svc)
		muting, other := frame(1, 100), frame(2, 9000)
		muting[4], other[4] = 'm', 'o'
		var wait sync.WaitGroup
		for range 20 {
			c := s.dial()
			wait.Go(func() {
				begun := time.Now()
				if err := exchange(c, [][]byte{muting, other, other, muting, other}, 1); err != nil {
					t.Error(err)
				}
				if took := time.Since(begun); took < 2*mute {
					t.Errorf("muted twice for %v, answered after %v", mute, took)
				}
			})
		}
		s.eventually(0, "all are muted", func(c *Core) bool { return c.Stats.ConnectionsMuted == 20 })
		s.eventually(0, "the buffers are home", func(c *Core) bool {
			return c.provided == nil || c.provided.home == len(c.provided.blocks)
		})
		begun := time.Now()
		if err := exchange(s.dial(), [][]byte{other, other}, 2); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begun); took > mute/2 {
			t.Errorf("a neighbour waited %v", took)
		}
		wait.Wait()
	})
}

// TestMutedEnds: a muted connection that its client has closed is noticed when it is
// heard again, one that idles too long is closed, and draining does not wait.
func TestMutedEnds(t *testing.T) {
	levels(t, func(t *testing.T, level ring.Level) {
		svc := &service{}
		svc.request = func(r *Request) Disposition {
			c, millis := r.Conn, int64(r.Payload[0])
			echoFrame(r)
			c.Mute(millis * 10e6)
			return Next
		}
		s := serve(t, Config{Level: level, Limits: Limits{IdleNanos: int64(600 * time.Millisecond)}}, svc)
		short, long := frame(1, 10), frame(2, 10)
		short[4], long[4] = 5, 255
		c := s.dial()
		if err := exchange(c, [][]byte{short}, 1); err != nil {
			t.Fatal(err)
		}
		c.Write(short)
		c.CloseWrite()
		if got, err := readFrame(c, make([]byte, 4)); err != nil || string(got) != string(short) {
			t.Errorf("what came before the end was not answered: %v", err)
		}
		idle := s.dial()
		if err := exchange(idle, [][]byte{long}, 1); err != nil {
			t.Fatal(err)
		}
		wantClosed(t, idle)
		if err := exchange(s.dial(), [][]byte{long}, 1); err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		s.stop()
		if took := time.Since(begun); took > 2*time.Second {
			t.Errorf("draining took %v", took)
		}
	})
}
