package clients

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"slipstream/internal/guarantees"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	soakSession   = 3 * time.Second
	soakHeartbeat = 400 * time.Millisecond
)

// soakGroup is one consumer group of the soak: the protocols that its members choose from, and what they have seen.
type soakGroup struct {
	s         *soak
	name      string
	protocols [][]kgo.Opt

	mu     sync.Mutex
	seen   *guarantees.Group
	broken []error        // promises
	odd    map[string]int // errors that clients met; they are to be expected, and shown
	tally  map[string]int // what happened to members
	live   int
}

// hold notes a broken promise. The group is locked.
func (g *soakGroup) hold(err error) {
	if err != nil {
		g.broken = append(g.broken, err)
	}
}

func (g *soakGroup) happened(what string, causes int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.tally[what]++
	for range causes {
		g.seen.Cause()
	}
}

// soakMember is one life of a consumer, from its join to its leaving or its crash.
type soakMember struct {
	g    *soakGroup
	id   string // ours: member ids are the broker's or the client's
	cl   *kgo.Client
	net  *network
	stop context.CancelFunc

	// Under the group's lock.
	gone    bool
	has     []guarantees.Partition
	epoch   int32                          // of the last assignment
	pending map[guarantees.Partition]int64 // offsets to be committed
	beat    time.Time                      // when its last heartbeat was sent that was answered
	doubted bool                           // the broker may have given it up
}

// network is what a member's connections go through: it can stand still, and it can be cut for good.
type network struct {
	mu    sync.Mutex
	still chan struct{} // closed when it goes on; nil: it does
	cut   bool
	conns []net.Conn
}

func (n *network) dial(ctx context.Context, kind, addr string) (net.Conn, error) {
	n.wait()
	c, err := (&net.Dialer{}).DialContext(ctx, kind, addr)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cut {
		c.Close()
		return nil, net.ErrClosed
	}
	n.conns = append(n.conns, c)
	return networkConn{c, n}, nil
}

func (n *network) wait() {
	n.mu.Lock()
	still := n.still
	n.mu.Unlock()
	if still != nil {
		<-still
	}
}

// freeze lets nothing through until the returned function is called.
func (n *network) freeze() (thaw func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	still := make(chan struct{})
	n.still = still
	return func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.still = nil
		close(still)
	}
}

func (n *network) sever() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut = true
	for _, c := range n.conns {
		c.Close()
	}
}

type networkConn struct {
	net.Conn
	n *network
}

func (c networkConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.n.wait()
	return n, err
}

func (c networkConn) Write(p []byte) (int, error) {
	c.n.wait()
	return c.Conn.Write(p)
}

var soakIDs atomic.Int64

func (g *soakGroup) join() (*soakMember, error) {
	ctx, stop := context.WithCancel(context.Background())
	m := &soakMember{g: g, id: fmt.Sprintf("m%d", soakIDs.Add(1)), net: &network{}, stop: stop, pending: map[guarantees.Partition]int64{}}
	opts := append([]kgo.Opt{kgo.SeedBrokers(g.s.addr), kgo.WithContext(ctx), kgo.Dialer(m.net.dial), kgo.ClientID(g.name + "-" + m.id),
		kgo.ConsumerGroup(g.name), kgo.ConsumeRegex(), kgo.ConsumeTopics("^" + g.s.prefix + ".*"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(), kgo.AlwaysRetryEOF(), kgo.MetadataMinAge(100 * time.Millisecond), kgo.MetadataMaxAge(500 * time.Millisecond),
		kgo.SessionTimeout(soakSession), kgo.HeartbeatInterval(soakHeartbeat), kgo.RebalanceTimeout(5 * time.Second), kgo.FetchMaxWait(300 * time.Millisecond),
		kgo.RetryBackoffFn(func(int) time.Duration { return 50 * time.Millisecond }), kgo.WithHooks(m),
		kgo.OnPartitionsAssigned(m.assigned), kgo.OnPartitionsRevoked(m.revoked), kgo.OnPartitionsLost(m.lost)}, g.protocols[rand.Intn(len(g.protocols))]...)
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, err
	}
	m.cl = cl
	g.mu.Lock()
	g.live++
	g.mu.Unlock()
	return m, nil
}

func flat(byTopic map[string][]int32) (list []guarantees.Partition) {
	for topic, partitions := range byTopic {
		for _, p := range partitions {
			list = append(list, guarantees.Partition{Topic: topic, Number: p})
		}
	}
	return list
}

func (m *soakMember) assigned(_ context.Context, cl *kgo.Client, added map[string][]int32) {
	_, epoch := cl.GroupMetadata()
	m.g.mu.Lock()
	defer m.g.mu.Unlock()
	if m.gone {
		return
	}
	m.has, m.epoch = append(m.has, flat(added)...), epoch
	m.g.hold(m.g.seen.Epoch(m.id, epoch, 0))
	m.g.hold(m.g.seen.Given(time.Now().UnixNano(), m.id, epoch, m.has))
}

func (m *soakMember) revoked(_ context.Context, _ *kgo.Client, byTopic map[string][]int32) {
	m.giveUp(flat(byTopic))
}

// lost: the broker has given the member up. Whoever was not frozen has been slow, which on a busy machine is a reason for
// a rebalance too.
func (m *soakMember) lost(_ context.Context, _ *kgo.Client, byTopic map[string][]int32) {
	m.giveUp(flat(byTopic))
	m.g.happened("given up by the broker", 2)
}

func (m *soakMember) giveUp(list []guarantees.Partition) {
	m.g.mu.Lock()
	defer m.g.mu.Unlock()
	if !m.gone {
		m.has = slices.DeleteFunc(m.has, func(p guarantees.Partition) bool { return slices.Contains(list, p) })
		maps.DeleteFunc(m.pending, func(p guarantees.Partition, _ int64) bool { return slices.Contains(list, p) })
		m.g.seen.GaveUp(m.id, list)
	}
}

// OnBrokerE2E keeps the member's session in mind: counted from before a heartbeat was sent. One that came so long after the
// last that the session may have ended in between may have been answered with just that: such a member is relied on no more.
func (m *soakMember) OnBrokerE2E(_ kgo.BrokerMetadata, key int16, e kgo.BrokerE2E) {
	if e.Err() != nil || key != int16(kmsg.Heartbeat) && key != int16(kmsg.ConsumerGroupHeartbeat) {
		return
	}
	sent := time.Now().Add(-e.DurationE2E() - e.WriteWait - time.Millisecond)
	m.g.mu.Lock()
	defer m.g.mu.Unlock()
	if m.gone || len(m.has) == 0 {
		return
	}
	m.doubted = m.doubted || !m.beat.IsZero() && time.Since(m.beat) >= soakSession
	m.beat = sent
	if !m.doubted {
		m.g.seen.Alive(m.id, sent.Add(soakSession).UnixNano())
	}
}

// end takes the member out of the account; nothing that its client does afterwards counts.
func (m *soakMember) end() {
	m.g.mu.Lock()
	defer m.g.mu.Unlock()
	if !m.gone {
		m.gone = true
		m.g.live--
		m.g.seen.Gone(m.id)
	}
}

// leave says good-bye to the group.
func (m *soakMember) leave() {
	m.g.happened("left", 1)
	m.cl.CloseAllowingRebalance()
	m.end()
	m.stop()
}

// crash is what the broker sees of a kill -9 of the member's machine: nothing, until the session ends.
func (m *soakMember) crash() {
	m.g.happened("crashed", 1)
	m.end()
	m.net.sever()
	m.stop()
	m.g.s.ends.Add(1)
	go func() {
		defer m.g.s.ends.Done()
		m.cl.CloseAllowingRebalance()
	}()
}

// work polls, processes and commits once.
func (m *soakMember) work(rng *rand.Rand) {
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	fetches := m.cl.PollRecords(ctx, 1+rng.Intn(1000))
	cancel()
	defer m.cl.AllowRebalance()
	fetches.EachError(func(topic string, p int32, err error) {
		if !errors.Is(err, context.DeadlineExceeded) {
			m.g.oddity("polling", err)
		}
	})
	m.process(fetches)
	if rng.Intn(5) == 0 && !wait(m.g.s.calm, 0) {
		return // should it crash now, its records come again to another
	}
	if rng.Intn(20) == 0 {
		time.Sleep(time.Duration(rng.Intn(300)) * time.Millisecond)
	}
	m.commit()
}

func (m *soakMember) process(fetches kgo.Fetches) {
	m.g.mu.Lock()
	defer m.g.mu.Unlock()
	fetches.EachPartition(func(f kgo.FetchTopicPartition) {
		if len(f.Records) == 0 {
			return
		}
		p := guarantees.Partition{Topic: f.Topic, Number: f.Partition}
		from := f.Records[0].Offset
		for i, r := range f.Records {
			if r.Offset != from+int64(i) || string(r.Key) != f.Topic {
				m.g.hold(fmt.Errorf("group %s: %s-%d: offset %d where %d was due, of topic %q", m.g.name, f.Topic, f.Partition, r.Offset, from+int64(i), r.Key))
				return
			}
		}
		to := from + int64(len(f.Records))
		m.g.hold(m.g.seen.Processed(m.id, m.epoch, p, from, to))
		m.g.tally["records processed"] += len(f.Records)
		m.pending[p] = to
	})
}

// commit commits what was processed. The offsets stay pending until that is accepted.
func (m *soakMember) commit() {
	offsets, floors := map[string]map[int32]kgo.EpochOffset{}, map[guarantees.Partition]int64{}
	m.g.mu.Lock()
	for p, offset := range m.pending {
		if offsets[p.Topic] == nil {
			offsets[p.Topic] = map[int32]kgo.EpochOffset{}
		}
		offsets[p.Topic][p.Number] = kgo.EpochOffset{Epoch: -1, Offset: offset}
		floors[p] = m.g.seen.Committable(p)
	}
	m.g.mu.Unlock()
	if len(offsets) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	m.cl.CommitOffsetsSync(ctx, offsets, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
		if err != nil {
			m.g.oddity("committing", err)
			return
		}
		m.g.mu.Lock()
		defer m.g.mu.Unlock()
		for _, t := range resp.Topics {
			for _, p := range t.Partitions {
				if p.ErrorCode != 0 {
					m.g.tally[fmt.Sprintf("commits refused with error %d", p.ErrorCode)]++
					continue
				}
				at := guarantees.Partition{Topic: t.Topic, Number: p.Partition}
				m.g.tally["commits"]++
				delete(m.pending, at)
				m.g.hold(m.g.seen.Committed(at, offsets[t.Topic][p.Partition].Offset, floors[at]))
			}
		}
	})
}

func (g *soakGroup) oddity(doing string, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.odd[doing+": "+err.Error()]++
}
