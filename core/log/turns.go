package log

// syncTurns says which syncs of a log may run at the same time.
//
// A sync of a file makes durable what was written to it before the call, whatever else is under way: it waits for what another sync is
// just writing. So a second one need not wait for the end of the first, and it is the better for not doing so: while the disk is busy
// with the first, the pages of the second are on their way already, and those who append (a producer has a few batches on their way at
// most) are told in smaller steps. With two at a time one partition takes half as much again; a third one brings nothing.
//
// The invariant that it keeps is that a sync which ends may say "everything below my target is durable", though another one is still
// running. That holds as long as both are plain, and of the same file: nothing is to be made durable but what was appended to the active
// segment, no sealed segment, no name of a file or folder. Everything else is done alone:
//
//   - a sync that is not plain, or of another segment than the one that runs, waits for that one, and nothing joins it;
//   - a sync that finds nothing to do while another one runs is none: what it would call durable may be what the other is still writing;
//   - truncations, closing and moving keep all syncs off, and go before syncs that would come in between.
//
// Each of the two has a descriptor of its own. Linux tells of a write that failed once through each open descriptor, so both see it, whoever
// comes first; through a shared one only one of them would, and the other would call durable what is lost. See besideFS.
//
// It is guarded by Log.mu and knows neither locks nor time.
type syncTurns struct {
	held   bool     // nothing may run: somebody holds the syncs
	wanted int      // how many wait to hold them
	busy   [2]bool  // lanes with a sync under way
	on     *segment // of the plain sync or syncs under way; nil when the one under way is alone
	again  bool     // a sync was put off: the log is to be queued again when there is room
}

// running says that a sync is under way, other than by who holds them.
func (t *syncTurns) running() bool { return t.busy[0] || t.busy[1] }

// idle says that no sync is under way and nobody holds them.
func (t *syncTurns) idle() bool { return !t.held && !t.running() }

// joins says whether a plain sync of a segment runs beside another one.
func (t *syncTurns) joins(plain *segment) bool {
	return !t.held && t.wanted == 0 && t.busy[0] != t.busy[1] && t.on != nil && t.on == plain
}

// begin gives a sync its lane: plain is the segment if it is plain, and nil otherwise. When it has to wait, ok is false.
func (t *syncTurns) begin(plain *segment) (lane int, ok bool) {
	switch {
	case t.joins(plain):
		if t.busy[0] {
			lane = 1
		}
	case t.wanted > 0 || !t.idle():
		t.again = true
		return 0, false
	}
	t.busy[lane], t.on = true, plain
	return lane, true
}

// end gives a lane back.
func (t *syncTurns) end(lane int) {
	t.busy[lane] = false
	if !t.running() {
		t.on = nil
	}
}

// putOff gives a lane back whose sync could not begin after all. Another one is under way, which sees to it when it ends.
func (t *syncTurns) putOff(lane int) {
	t.end(lane)
	t.again = true
}

// due says, once, that a sync that was put off can be tried.
func (t *syncTurns) due() bool {
	if !t.again || t.held || t.wanted > 0 {
		return false
	}
	t.again = false
	return true
}

// want is called by who is to hold the syncs, and hold then says whether he does: he waits until it is so.
func (t *syncTurns) want() { t.wanted++ }

func (t *syncTurns) hold() bool {
	if !t.idle() {
		return false
	}
	t.wanted--
	t.held = true
	return true
}

// letGo ends holding them.
func (t *syncTurns) letGo() { t.held = false }
