package reactor

// coldStream is where one connection reads one file in the cold lane.
type coldStream struct {
	lane   *coldLane
	file   File // nil: free
	conn   *Conn
	reader uint32
	tail   bool
	at     int64 // the place it is sent from next
	wanted int64 // the end of the last stretch that it asked for
	end    int64 // how far steps were made for it
	ahead  int64 // how far behind wanted to read
	used   int64 // when it was followed last

	// What was not in the page cache before the stream's reads: so what of it is now
	// came in by them, the kernel's own read-ahead included.
	absent  [maxAbsent]fileRange
	runs    int   // of them in use
	scanned int64 // how far was looked
}

// fileRange is a run of bytes of a file.
type fileRange struct {
	off int64
	n   int
}

func (r fileRange) end() int64 { return r.off + int64(r.n) }

const (
	// maxAbsent runs of pages are known ahead of a stream. In a page cache that has
	// more holes than that what lies behind them is taken to have been there.
	maxAbsent = 8
	// kernelAheadBytes is how far behind the end of a step the kernel's own read-ahead
	// may go: twice the 8 MiB of read_ahead_kb that fast disks are given. Switching it
	// off (FADV_RANDOM) costs more than it saves: pages come in one by one then, 0.55
	// s of processor a GB against 0.25.
	kernelAheadBytes = 16 << 20
	// scanBytes is how much is looked at for one step: by mincore some 150 us.
	scanBytes = 6 << 20
)

// follow finds the connection's stream of a stretch's file, or begins one, and
// brings it up to date.
func (l *coldLane) follow(c *Conn, s *segment) *coldStream {
	stream := l.streamOf(c, s.file)
	end := s.off + int64(s.n)
	switch {
	case end == stream.wanted && s.off >= stream.at: // on in the same stretch
	case s.off >= stream.wanted && s.off <= max(stream.wanted, stream.end, stream.scanned):
		// A new one, where the last one ended, or behind what was in the page cache.
		stream.ahead = min(max(2*stream.ahead, stepBytes), int64(l.core.limits.ColdAheadBytes))
		stream.wanted = end
	default:
		stream.dropAhead()
		stream.ahead, stream.wanted, stream.end = 0, end, s.off
	}
	stream.at, stream.end = s.off, max(stream.end, s.off)
	stream.reader, stream.tail, stream.used = s.reader, s.tail, l.core.Now
	return stream
}

// streamOf is the connection's stream of a file; if need be the one used longest
// ago is given up for it.
func (l *coldLane) streamOf(c *Conn, f File) *coldStream {
	oldest := &l.streams[0]
	for i := range l.streams {
		s := &l.streams[i]
		if s.conn == c && s.file == f {
			return s
		}
		if oldest.file != nil && (s.file == nil || s.used < oldest.used) {
			oldest = s
		}
	}
	if oldest.file != nil {
		oldest.forget()
	}
	f.Retain()
	l.live++
	*oldest = coldStream{lane: l, file: f, conn: c, wanted: -1}
	return oldest
}

// streamFor is the stream that a step was made for, nil if it is gone.
func (l *coldLane) streamFor(s *coldStep) *coldStream {
	for i := range l.streams {
		if x := &l.streams[i]; x.file == s.file && x.conn == s.conn {
			return x
		}
	}
	return nil
}

// scan finds out what is not in the page cache from a place on: of a step that is
// about to be read, and of what the kernel may read ahead of it. Not past what is
// final: pages there come in by being written.
func (s *coldStream) scan(from, end int64) {
	for s.runs > 0 && s.absent[0].end() <= s.at {
		copy(s.absent[:], s.absent[1:s.runs])
		s.runs--
	}
	k, fd := s.lane.core.Kernel, s.file.FD()
	s.scanned = max(s.scanned, from)
	to := min(end+kernelAheadBytes, s.scanned+scanBytes, max(s.file.Readable(), end))
	for s.scanned < to && s.runs < maxAbsent {
		there := k.Resident(fd, s.scanned, int(to-s.scanned))
		run := fileRange{off: s.scanned + int64(there)}
		run.n = k.Absent(fd, run.off, int(to-run.off))
		if there+run.n == 0 {
			break // the kernel would not say
		}
		s.scanned = run.end()
		switch last := s.runs - 1; {
		case run.n == 0:
		case last >= 0 && s.absent[last].end() == run.off:
			s.absent[last].n += run.n
		default:
			s.absent[s.runs] = run
			s.runs++
		}
	}
	s.scanned = max(s.scanned, to)
}

// dropAhead drops what the kernel has read ahead of the stream and it will not
// read any more.
func (s *coldStream) dropAhead() {
	from := max(s.end, s.at)
	for _, run := range s.absent[:s.runs] {
		if at := max(run.off, from); at < run.end() && !s.tail {
			s.lane.drop(s.file, at, int(run.end()-at))
		}
	}
	s.runs, s.scanned = 0, 0
}

// owns tells whether the page at a place of a file, if it is in the cache, came in by
// the lane's own reads: then it is read by the lane too, and dropped behind it.
func (l *coldLane) owns(f File, off int64) bool {
	for i := range l.streams {
		if s := &l.streams[i]; s.file == f && off >= s.at && off < s.scanned && s.owns(off) {
			return true
		}
	}
	return false
}

func (s *coldStream) owns(off int64) bool {
	for _, run := range s.absent[:s.runs] {
		if off >= run.off && off < run.end() {
			return true
		}
	}
	return false
}

func (s *coldStream) forget() {
	s.dropAhead()
	s.file.Release()
	s.lane.live--
	*s = coldStream{}
}

// target is how far a stream is to be read now: to the end of its stretch and as
// far ahead of that as it has earned, but never farther ahead of what is being
// sent than two steps, or its read-ahead, and not past what is final.
func (s *coldStream) target() int64 {
	to := s.wanted
	if s.ahead > 0 {
		to = (s.wanted + s.ahead) &^ (stepBytes - 1)
		to = max(min(to, s.file.Readable()), s.wanted)
	}
	return min(to, s.at&^(stepBytes-1)+max(s.ahead, stepBytes)+stepBytes)
}

// readAhead makes the steps that a stream is to have next, as long as reads can be
// started at once and memory lies idle.
func (l *coldLane) readAhead(s *coldStream) {
	for to := s.target(); s.end < to; {
		if l.first != nil || l.reading >= l.core.limits.ColdReads {
			return
		}
		if have := l.find(s.file, s.end); have != nil {
			s.end = have.end()
			continue
		}
		n := l.pieceAt(s, s.end, to)
		if l.core.forced != RungCold && !s.owns(s.end) {
			l.core.Stats.ResidencyChecks++
			if there := l.core.Kernel.Resident(s.file.FD(), s.end, n); there >= pageBytes || there == n {
				s.end += int64(there)
				continue
			}
		}
		step := l.take(false)
		if step == nil {
			return
		}
		step.begin(s, s.end, n)
		s.end = step.end()
		l.submit()
	}
}

// demand makes the step that a stretch is next to be sent from. nil: there is no
// memory for one that nobody wants more.
func (l *coldLane) demand(stream *coldStream, s *segment) *coldStep {
	step := l.take(true)
	if step == nil {
		return nil
	}
	base := s.off &^ (pageBytes - 1)
	// A file may be longer than it says; that it is as long as the response says is
	// the response's word.
	to := max(stream.target(), s.off+1)
	step.begin(stream, base, l.pieceAt(stream, base, to))
	stream.end = max(stream.end, step.end())
	return step
}

// pieceAt is how many bytes a step at base is to have: to the next multiple of
// stepBytes, to the end of the page of what is to be read if that is final or
// wanted anyway, and not into a step that is there.
func (l *coldLane) pieceAt(s *coldStream, base, to int64) int {
	end := (base + stepBytes) &^ (stepBytes - 1)
	if to < end {
		end = min((to+pageBytes-1)&^(pageBytes-1), end)
		end = min(end, max(s.file.Readable(), s.wanted))
	}
	for i := range l.steps {
		if x := &l.steps[i]; x.state != stepFree && x.file == s.file && x.base > base && x.base < end {
			end = x.base
		}
	}
	return int(end - base)
}

// near tells whether another consumer than the one who reads it will soon be at
// a step's pages, or tail readers are: then they are not dropped.
func (l *coldLane) near(step *coldStep) bool {
	if step.tail {
		return true
	}
	for i := range l.streams {
		s := &l.streams[i]
		if s.file == step.file && s.conn != step.conn && s.at < step.end() && s.at > step.base-nearBytes {
			return true
		}
	}
	return false
}
