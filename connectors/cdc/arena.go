package cdc

import "github.com/moldau-io/moldau/plugins/data"

// Sizes of the slabs an Arena cuts from. A record kept alive keeps its slabs alive, so they are small beside a queue's bound.
const (
	valueSlab  = 2048
	structSlab = 256
	byteSlab   = 64 << 10
)

// Arena hands out values, structs and bytes from slabs, so that an event costs a fraction of an allocation. What it handed out is never
// reused: the garbage collector frees a slab when the last event in it is gone. An Arena belongs to one goroutine; its zero value is
// ready.
type Arena struct {
	values  []data.Value
	structs []data.Struct
	bytes   []byte
}

// Values returns n null values.
func (a *Arena) Values(n int) []data.Value {
	if n > len(a.values) {
		if n > valueSlab/4 {
			return make([]data.Value, n)
		}
		a.values = make([]data.Value, valueSlab)
	}
	v := a.values[:n:n]
	a.values = a.values[n:]
	return v
}

// Struct returns a struct value of schema s over values, which it keeps.
func (a *Arena) Struct(s *data.Schema, values []data.Value) data.Value {
	if len(a.structs) == 0 {
		a.structs = make([]data.Struct, structSlab)
	}
	st := &a.structs[0]
	a.structs = a.structs[1:]
	st.Schema, st.Values = s, values
	return data.StructOf(st)
}

// Alloc returns n bytes of any content, with no room behind them.
func (a *Arena) Alloc(n int) []byte {
	if n > len(a.bytes) {
		if n > byteSlab/4 {
			return make([]byte, n)
		}
		a.bytes = make([]byte, byteSlab)
	}
	b := a.bytes[:n:n]
	a.bytes = a.bytes[n:]
	return b
}

// Copy returns a copy of b.
func (a *Arena) Copy(b []byte) []byte {
	c := a.Alloc(len(b))
	copy(c, b)
	return c
}

// String returns b as a string value, copied.
func (a *Arena) String(b []byte) data.Value { return data.StringBytes(a.Copy(b)) }

// Scratch returns an empty slice with room for n bytes to append to; Keep says how much of it was used. Appending more than n is
// fine too and only costs an allocation.
func (a *Arena) Scratch(n int) []byte {
	if n > len(a.bytes) {
		if n > byteSlab/4 {
			return make([]byte, 0, n)
		}
		a.bytes = make([]byte, byteSlab)
	}
	return a.bytes[:0:n]
}

// Keep makes b, which began as the last Scratch, permanent.
func (a *Arena) Keep(b []byte) []byte {
	if len(b) > 0 && len(a.bytes) > 0 && &b[0] == &a.bytes[0] {
		a.bytes = a.bytes[len(b):]
	}
	return b[:len(b):len(b)]
}

// Slab hands out zeroed Ts, 256 of them an allocation. Its zero value is ready.
type Slab[T any] struct{ free []T }

// New returns the next.
func (s *Slab[T]) New() *T {
	if len(s.free) == 0 {
		s.free = make([]T, structSlab)
	}
	t := &s.free[0]
	s.free = s.free[1:]
	return t
}
