package quota

import "math"

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

// use is what is known of a scope's use.
type use struct {
	window Window
	pace   pace
}

func (u *use) record(shape Shape, nowMillis int64, bound, value float64) {
	u.window.Record(shape, nowMillis, value)
	u.pace.use(shape, nowMillis, bound, value)
}

// Account is a scope's use as one core knows it.
type Account struct {
	home   *Home // on the home's own core: what it knows is what this account does
	own    use
	unsaid float64 // used since the last report
	away   bool    // a report has not been answered
	line   float64 // the time, in milliseconds, at which it is the next one's turn
}

// AtHome makes a new account one of the home's own core. It never has anything to report.
func (a *Account) AtHome(h *Home) { a.home = h }

func (a *Account) known() *use {
	if a.home != nil {
		return &a.home.use
	}
	return &a.own
}

// Record adds what was used under a bound, or takes back what was not in the end.
func (a *Account) Record(shape Shape, nowMillis int64, bound, value float64) {
	a.known().record(shape, nowMillis, bound, value)
	if a.home == nil {
		a.unsaid += value
	}
}

// Owed is how long a client has to wait for what was used before, in milliseconds.
func (a *Account) Owed(shape Shape, nowMillis int64) int32 {
	return a.known().pace.delay(shape, nowMillis)
}

// Line is how long a client has to wait with what it would use, because of what was used before: behind those that were
// told to wait already, for as long as what they want takes. (Were all of them told the same time, all would come at
// once, and all but one would be told to wait again.) 0: it need not wait; up to an eighth of a burst may be owed.
func (a *Account) Line(shape Shape, nowMillis int64, bound, value float64) int32 {
	owed := a.known().pace.owed(shape, nowMillis)
	if shape.BurstMillis < 0 || owed <= float64(shape.BurstMillis)/8 {
		return 0
	}
	now := float64(nowMillis)
	a.line = max(a.line, now+owed)
	delay := a.line - now
	a.line += value / bound * 1000
	return millis(math.Ceil(delay))
}

// Excess is how long a client has to wait for the rate over the windows to come back to the bound.
func (a *Account) Excess(shape Shape, nowMillis int64, bound float64) int32 {
	rate, span := a.known().window.Rate(shape, nowMillis)
	return Delay(rate, bound, span)
}

// Delay is how long a client that has just used something has to wait.
func (a *Account) Delay(shape Shape, nowMillis int64, bound float64) int32 {
	return max(a.Excess(shape, nowMillis, bound), a.Owed(shape, nowMillis))
}

// Most is the most that a client should be given at once now. More than Kafka's windows allow would never get through.
func (a *Account) Most(shape Shape, nowMillis int64, bound float64) float64 {
	most := shape.most(bound)
	if shape.BurstMillis < 0 {
		return most
	}
	spare := max(-a.known().pace.owed(shape, nowMillis), float64(shape.BurstMillis)/4)
	return min(most, bound*spare/1000)
}

// Rate is what the scope used of late on all cores, a second.
func (a *Account) Rate(shape Shape, nowMillis int64) float64 {
	rate, _ := a.known().window.Rate(shape, nowMillis)
	return rate
}

// Unsaid says whether there is something to report and no report under way.
func (a *Account) Unsaid() bool { return a.unsaid != 0 && !a.away }

// Report is what the home is to be told. Until Settle there is no other.
func (a *Account) Report() float64 {
	said := a.unsaid
	a.unsaid, a.away = 0, true
	return said
}

// Settle takes in the home's answer to a report. What was used since is put at this time.
func (a *Account) Settle(shape Shape, nowMillis int64, bound float64, answer *Answer) {
	a.own.window.copyFrom(&answer.window)
	a.own.pace = answer.pace
	a.away = false
	if a.unsaid != 0 {
		a.own.record(shape, nowMillis, bound, a.unsaid)
	}
}

// Home is where a scope's use is measured.
type Home struct{ use }

// Answer is a copy of what a home knows. It is used again with its memory.
type Answer struct{ use }

// Record adds what a core reports, under the bound that it knows.
func (h *Home) Record(shape Shape, nowMillis int64, bound, value float64) {
	h.record(shape, nowMillis, bound, value)
}

// Copy makes the answer to a report.
func (h *Home) Copy(to *Answer) {
	to.window.copyFrom(&h.window)
	to.pace = h.pace
}
