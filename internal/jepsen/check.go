package jepsen

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Allowed are the names that are counted and not judged.
var Allowed = []string{"G0", "int-send-skip", "subscribed-poll-skip", "subscribed-nonmonotonic-poll"}

// Result is what Check found, by name.
type Result struct {
	Anomalies map[string][]string
	// Sent and Acked count values, Polled those that were seen by somebody.
	Sent, Acked, Polled int
	// Infos counts operations whose outcome is unknown, Fails those that did not happen.
	OKs, Infos, Fails int
}

// Errors returns the names of what must not be, sorted.
func (r *Result) Errors() []string {
	var names []string
	for _, n := range slices.Sorted(maps.Keys(r.Anomalies)) {
		if !slices.Contains(Allowed, n) {
			names = append(names, n)
		}
	}
	return names
}

// String prints the counts and the first few of each kind of error.
func (r *Result) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d values sent, %d acknowledged, %d polled; operations: %d ok, %d unknown, %d failed\n", r.Sent, r.Acked, r.Polled, r.OKs, r.Infos, r.Fails)
	for _, n := range r.Errors() {
		fmt.Fprintf(&b, "%s: %d\n", n, len(r.Anomalies[n]))
		for _, s := range r.Anomalies[n][:min(5, len(r.Anomalies[n]))] {
			fmt.Fprintf(&b, "  %s\n", s)
		}
	}
	return b.String()
}

// write is what is known of a value.
type write struct {
	op      *Op
	key     int
	acked   int64 // its offset by the acknowledgement, or Unknown
	offsets []int64
	polled  bool
}

// version names a value of a key.
type version struct {
	key   int
	value int64
}

// analysis is the state of one check.
type analysis struct {
	ops    []*Op
	res    *Result
	writes map[version]*write
	// logs holds, by key, the values that exist for readers, by offset: those that somebody polled or that were acknowledged in an
	// operation that happened.
	logs  map[int]map[int64][]int64
	order map[int][]int64 // the offsets of logs, ascending
	last  map[int]int64   // by key, the highest offset polled
}

// Check judges a history. complete says that its end polled every partition to the end, so that what was not polled is not there.
func Check(ops []*Op, complete bool) *Result {
	a := &analysis{ops: ops, res: &Result{Anomalies: map[string][]string{}}, writes: map[version]*write{}, logs: map[int]map[int64][]int64{},
		order: map[int][]int64{}, last: map[int]int64{}}
	a.index()
	a.offsets()
	a.reads()
	a.losses(complete)
	a.sends()
	a.polls()
	a.cycles()
	return a.res
}

func (a *analysis) found(name, format string, args ...any) {
	a.res.Anomalies[name] = append(a.res.Anomalies[name], fmt.Sprintf(format, args...))
}

// polled calls fn for every pair that operations polled. Those of operations that failed count as well: a consumer saw them.
func (a *analysis) polled(fn func(o *Op, key int, p Pair)) {
	for _, o := range a.ops {
		for i := range o.Mops {
			for _, k := range sortedKeys(o.Mops[i].Polled) {
				for _, p := range o.Mops[i].Polled[k] {
					fn(o, k, p)
				}
			}
		}
	}
}

func (a *analysis) index() {
	for _, o := range a.ops {
		switch o.Outcome {
		case OK:
			a.res.OKs++
		case Info:
			a.res.Infos++
		case Fail:
			a.res.Fails++
		}
		for i := range o.Mops {
			m := &o.Mops[i]
			if m.Polled != nil {
				continue
			}
			a.res.Sent++
			a.writes[version{m.Key, m.Sent.Value}] = &write{op: o, key: m.Key, acked: m.Sent.Offset}
			if o.Outcome == OK && m.Sent.Offset != Unknown {
				a.res.Acked++
				a.place(m.Key, m.Sent)
			}
		}
	}
	a.polled(func(_ *Op, key int, p Pair) {
		a.place(key, p)
		a.last[key] = max(a.last[key], p.Offset)
		if w := a.writes[version{key, p.Value}]; w != nil {
			if !w.polled {
				a.res.Polled++
			}
			w.polled = true
		}
	})
	for key, log := range a.logs {
		a.order[key] = slices.Sorted(maps.Keys(log))
	}
}

func (a *analysis) place(key int, p Pair) {
	if a.logs[key] == nil {
		a.logs[key] = map[int64][]int64{}
	}
	if !slices.Contains(a.logs[key][p.Offset], p.Value) {
		a.logs[key][p.Offset] = append(a.logs[key][p.Offset], p.Value)
	}
	if w := a.writes[version{key, p.Value}]; w != nil && !slices.Contains(w.offsets, p.Offset) {
		w.offsets = append(w.offsets, p.Offset)
	}
}

// offsets finds offsets with two values and values with two offsets.
func (a *analysis) offsets() {
	for _, key := range sortedKeys(a.logs) {
		at := map[int64][]int64{}
		for _, off := range a.order[key] {
			if vs := a.logs[key][off]; len(vs) > 1 {
				a.found("inconsistent-offsets", "key %d offset %d holds %v", key, off, vs)
			}
			for _, v := range a.logs[key][off] {
				at[v] = append(at[v], off)
			}
		}
		for _, v := range slices.Sorted(maps.Keys(at)) {
			if len(at[v]) > 1 {
				a.found("duplicate", "key %d value %d is at the offsets %v", key, v, at[v])
			}
		}
	}
}

// reads finds values that nobody should have seen.
func (a *analysis) reads() {
	a.polled(func(o *Op, key int, p Pair) {
		w := a.writes[version{key, p.Value}]
		switch {
		case w == nil:
			a.found("phantom", "key %d offset %d: value %d was never sent: %s", key, p.Offset, p.Value, o)
		case w.op.Outcome == Fail:
			a.found("G1a", "key %d offset %d: value %d of an operation that failed (%s) was polled by %s", key, p.Offset, p.Value, w.op, o)
		case w.op == o && o.Kind == KindTxn:
			a.found("precommitted-read", "key %d offset %d: value %d was polled in its own transaction: %s", key, p.Offset, p.Value, o)
		}
	})
}

// losses finds acknowledged values that are gone. A transaction of unknown outcome of which one value was polled has happened, with
// all of its values.
func (a *analysis) losses(complete bool) {
	happened := map[*Op]bool{}
	for _, w := range a.writes {
		if w.polled && w.op.Kind == KindTxn {
			happened[w.op] = true
		}
	}
	versions := slices.SortedFunc(maps.Keys(a.writes), func(x, y version) int {
		if x.key != y.key {
			return x.key - y.key
		}
		return int(x.value - y.value)
	})
	for _, v := range versions {
		w := a.writes[v]
		if w.polled || w.op.Outcome == Fail || w.op.Outcome == Info && !happened[w.op] {
			continue
		}
		last, polled := a.last[v.key]
		switch {
		case w.acked != Unknown && polled && w.acked < last:
			a.found("lost-write", "key %d value %d, acknowledged at %d, was never polled, though offset %d was: %s", v.key, v.value, w.acked, last, w.op)
		case w.op.Outcome == Info && complete:
			a.found("lost-write", "key %d value %d was never polled, though another value of its transaction was: %s", v.key, v.value, w.op)
		case complete && w.op.Outcome == OK:
			a.found("unseen", "key %d value %d, acknowledged at %d, was never polled: %s", v.key, v.value, w.acked, w.op)
		}
	}
}

// sends finds producers whose offsets go back, inside of an operation and from one to the next.
func (a *analysis) sends() {
	before := map[int]map[int]int64{} // process, key -> offset
	for _, o := range a.ops {
		if o.Kind == KindCrash {
			delete(before, o.Process)
			continue
		}
		if o.Outcome == Fail {
			continue
		}
		inside := map[int]int64{}
		for i := range o.Mops {
			m := &o.Mops[i]
			if m.Polled != nil || m.Sent.Offset == Unknown {
				continue
			}
			if prev, ok := inside[m.Key]; ok {
				if m.Sent.Offset <= prev {
					a.found("int-nonmonotonic-send", "key %d: offset %d after %d: %s", m.Key, m.Sent.Offset, prev, o)
				} else if a.between(m.Key, prev, m.Sent.Offset) > 0 {
					a.found("int-send-skip", "key %d: from %d to %d: %s", m.Key, prev, m.Sent.Offset, o)
				}
			} else if prev, ok := before[o.Process][m.Key]; ok && m.Sent.Offset <= prev {
				a.found("nonmonotonic-send", "key %d: offset %d after %d: %s", m.Key, m.Sent.Offset, prev, o)
			}
			inside[m.Key] = m.Sent.Offset
		}
		if before[o.Process] == nil {
			before[o.Process] = map[int]int64{}
		}
		maps.Copy(before[o.Process], inside)
	}
}

// between counts the values that exist between two offsets, which are not counted.
func (a *analysis) between(key int, from, to int64) int {
	order := a.order[key]
	i, found := slices.BinarySearch(order, from)
	if found {
		i++
	}
	j, _ := slices.BinarySearch(order, to)
	return max(j-i, 0)
}

// polls finds consumers that go back or leave something out, inside of an operation and from one to the next.
func (a *analysis) polls() {
	before := map[int]map[int]int64{}
	for _, o := range a.ops {
		if o.Kind == KindCrash || o.Kind == KindAssign || o.Kind == KindSubscribe || o.Rebalanced {
			delete(before, o.Process)
		}
		inside := map[int]int64{}
		judge := func(key int, off, prev int64, skip, back string) {
			switch {
			case off <= prev:
				a.found(back, "key %d: offset %d after %d: %s", key, off, prev, o)
			case a.between(key, prev, off) > 0:
				a.found(skip, "key %d: from %d to %d: %s", key, prev, off, o)
			}
		}
		outerSkip, outerBack := "poll-skip", "nonmonotonic-poll"
		if o.Subscribed {
			outerSkip, outerBack = "subscribed-poll-skip", "subscribed-nonmonotonic-poll"
		}
		for i := range o.Mops {
			for _, k := range sortedKeys(o.Mops[i].Polled) {
				for _, p := range o.Mops[i].Polled[k] {
					if prev, ok := inside[k]; ok {
						if !o.Rebalanced {
							judge(k, p.Offset, prev, "int-poll-skip", "int-nonmonotonic-poll")
						}
					} else if prev, ok := before[o.Process][k]; ok {
						judge(k, p.Offset, prev, outerSkip, outerBack)
					}
					inside[k] = p.Offset
				}
			}
		}
		if before[o.Process] == nil {
			before[o.Process] = map[int]int64{}
		}
		maps.Copy(before[o.Process], inside)
	}
}
