package quota

// A scope's use is measured once, at its Home. Each core that serves its clients has an Account: a copy of the home's
// window, and what was used on this core since that copy was made. A report takes that to the home, the answer brings a
// fresh copy:
//
//	core 1   Record Record Delay   Report ----->                    ----> Settle  Record Delay
//	home                                         Record, Copy ----->
//	core 2                  Record Delay   Report -----> ...
//
// So a bound is one for all cores together. What the others used since the last report is missing in between, and counts
// with the next: it is late, never lost, so that the rate over the windows holds whatever the reports cost. A core that
// serves the home's clients itself records there, and misses nothing of its own.

// Account is a scope's use as one core knows it.
type Account struct {
	home   *Home // on the home's own core: its window is this account's
	window Window
	unsaid float64 // used since the last report
	said   float64 // in a report that has not been answered
	away   bool    // that report
}

// AtHome makes a new account one of the home's own core. It never has anything to report.
func (a *Account) AtHome(h *Home) { a.home = h }

func (a *Account) known() *Window {
	if a.home != nil {
		return &a.home.window
	}
	return &a.window
}

// Record adds what was used, or takes back what was not in the end.
func (a *Account) Record(shape Shape, nowMillis int64, value float64) {
	a.known().Record(shape, nowMillis, value)
	if a.home == nil {
		a.unsaid += value
	}
}

// Delay is how long a client that has just used something has to wait.
func (a *Account) Delay(shape Shape, nowMillis int64, bound float64) int32 {
	rate, span := a.known().Rate(shape, nowMillis)
	return Delay(rate, bound, span)
}

// Rate is what the scope used of late on all cores, a second.
func (a *Account) Rate(shape Shape, nowMillis int64) float64 {
	rate, _ := a.known().Rate(shape, nowMillis)
	return rate
}

// Empty says that nothing is known that would delay anybody, and nothing is to be told.
func (a *Account) Empty(shape Shape, nowMillis int64) bool {
	return a.unsaid == 0 && !a.away && a.known().Empty(shape, nowMillis)
}

// Unsaid says whether there is something to report and no report under way.
func (a *Account) Unsaid() bool { return a.unsaid != 0 && !a.away }

// Report is what the home is to be told. Until Settle there is no other.
func (a *Account) Report() float64 {
	a.said, a.unsaid, a.away = a.unsaid, 0, true
	return a.said
}

// Settle takes in the home's answer to a report. What was used since is put at this time.
func (a *Account) Settle(shape Shape, nowMillis int64, answer *Window) {
	a.window.copyFrom(answer)
	a.said, a.away = 0, false
	if a.unsaid != 0 {
		a.window.Record(shape, nowMillis, a.unsaid)
	}
}

// Home is where a scope's use is measured.
type Home struct{ window Window }

// Record adds what a core reports.
func (h *Home) Record(shape Shape, nowMillis int64, value float64) {
	h.window.Record(shape, nowMillis, value)
}

// Copy is the answer to a report, made in memory of the report's.
func (h *Home) Copy(to *Window) { to.copyFrom(&h.window) }

// Empty says that nothing is known that would delay anybody.
func (h *Home) Empty(shape Shape, nowMillis int64) bool { return h.window.Empty(shape, nowMillis) }

// Most is the most that a client may use at once: a fetch asks for no more.
func Most(shape Shape, bound float64) float64 { return shape.most(bound) }
