package quota

// Shape is how a rate is measured: over Samples windows of WindowMillis each (quota.window.num and
// quota.window.size.seconds). Kafka's defaults are 11 of a second.
type Shape struct {
	Samples      int
	WindowMillis int64
	// BurstMillis is how many milliseconds' worth of the bound may be used at once; negative: what the windows let
	// through. See pace.go.
	BurstMillis int64
}

// Millis is how long something that was recorded counts, from the last event in its sample on.
func (s Shape) Millis() int64 { return int64(s.Samples) * s.WindowMillis }

// most is what may be used at once after a pause: the bound over all windows but the one that is being filled.
func (s Shape) most(bound float64) float64 {
	return bound * float64(s.Samples-1) * float64(s.WindowMillis) / 1000
}

// Sample is what was recorded in one window of time. Times are milliseconds.
type Sample struct {
	Start, Last int64 // its beginning, the last event in it
	Value       float64
}

// Window is the sum of what was recorded of late and the time that it took: Kafka's Rate over a WindowedSum. The zero
// Window is empty; its memory, a sample more than the shape says, is made when something is recorded.
type Window struct {
	samples []Sample
	current int
}

// Record adds value at a time that does not go back.
func (w *Window) Record(shape Shape, nowMillis int64, value float64) {
	if len(w.samples) == 0 {
		w.begin(shape, nowMillis)
	}
	s := &w.samples[w.current]
	if nowMillis-s.Start >= shape.WindowMillis {
		s = w.advance(shape, nowMillis)
	}
	s.Value += value
	s.Last = nowMillis
}

func (w *Window) begin(shape Shape, nowMillis int64) {
	if cap(w.samples) == 0 {
		w.samples = make([]Sample, 0, shape.Samples+1)
	}
	w.samples = append(w.samples, Sample{Start: nowMillis, Last: nowMillis})
}

// advance begins the next sample: there is one more than count, so that what overlaps the beginning of the time that is
// looked at is kept.
func (w *Window) advance(shape Shape, nowMillis int64) *Sample {
	w.current = (w.current + 1) % (shape.Samples + 1)
	if w.current >= len(w.samples) {
		w.samples = append(w.samples, Sample{})
	}
	w.samples[w.current] = Sample{Start: nowMillis, Last: nowMillis}
	return &w.samples[w.current]
}

// Rate is what was recorded, a second, and the time that it is measured over. Until the windows are full they count as
// if all but the last were.
func (w *Window) Rate(shape Shape, nowMillis int64) (perSecond float64, spanMillis int64) {
	if len(w.samples) == 0 {
		w.begin(shape, nowMillis)
	}
	sum, oldest := 0.0, nowMillis
	for i := range w.samples {
		s := &w.samples[i]
		if nowMillis-s.Last >= shape.Millis() {
			*s = Sample{Start: nowMillis, Last: nowMillis}
		}
		sum += s.Value
		oldest = min(oldest, s.Start)
	}
	span := nowMillis - oldest
	if full, least := span/shape.WindowMillis, int64(shape.Samples-1); full < least {
		span += (least - full) * shape.WindowMillis
	}
	span = max(span, 1)
	return sum / (float64(span) / 1000), span
}

// Empty says that nothing recorded counts any more.
func (w *Window) Empty(shape Shape, nowMillis int64) bool {
	for i := range w.samples {
		if nowMillis-w.samples[i].Last < shape.Millis() {
			return false
		}
	}
	return true
}

// copyFrom makes w what from is, in w's own memory.
func (w *Window) copyFrom(from *Window) {
	w.samples = append(w.samples[:0], from.samples...)
	w.current = from.current
}
