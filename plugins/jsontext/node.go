package jsontext

import (
	"fmt"
	"strconv"
	"unicode/utf8"
)

// Node is a JSON value as a tree. Object members keep the order of the text; of a repeated name the last value counts.
type Node struct {
	Kind    Kind
	Bool    bool
	Text    string // a string's content, or a number as it was written
	Elems   []*Node
	Members []Member
}

// Member is one pair of an object.
type Member struct {
	Name  string
	Value *Node
}

// Parse reads one value from b. What follows it is ignored, as Connect does; an empty text is [ErrEmpty].
func Parse(b []byte) (*Node, error) {
	if !utf8.Valid(b) {
		return nil, fmt.Errorf("invalid JSON: not UTF-8")
	}
	r := NewReader(b)
	k, err := r.Kind()
	if err != nil {
		return nil, err
	}
	if k == None {
		return nil, ErrEmpty
	}
	return r.Node()
}

// ParseWhole is Parse, but nothing but white space may follow the value.
func ParseWhole(b []byte) (*Node, error) {
	if !utf8.Valid(b) {
		return nil, fmt.Errorf("invalid JSON: not UTF-8")
	}
	r := NewReader(b)
	n, err := r.Node()
	if err != nil {
		return nil, err
	}
	if r.space(); r.pos < len(r.b) {
		return nil, r.fail("unexpected text after the value")
	}
	return n, nil
}

// Node reads the next value as a tree.
func (r *Reader) Node() (*Node, error) {
	k, err := r.Kind()
	if err != nil {
		return nil, err
	}
	n := &Node{Kind: k}
	switch k {
	case NullKind:
		return n, r.Null()
	case BoolKind:
		n.Bool, err = r.Bool()
	case NumberKind:
		var t []byte
		t, _, err = r.Number()
		n.Text = string(t)
	case StringKind:
		var t []byte
		t, err = r.Text()
		n.Text = string(t)
	case ArrayKind:
		err = r.Array(func() error {
			e, err := r.Node()
			n.Elems = append(n.Elems, e)
			return err
		})
	case ObjectKind:
		var index map[string]int
		err = r.Object(func(name []byte) error {
			key := string(name)
			v, err := r.Node()
			if err != nil {
				return err
			}
			if len(n.Members) >= 16 && index == nil {
				index = make(map[string]int, 32)
				for i := range n.Members {
					index[n.Members[i].Name] = i
				}
			}
			at := -1
			if index != nil {
				if i, ok := index[key]; ok {
					at = i
				}
			} else {
				for i := range n.Members {
					if n.Members[i].Name == key {
						at = i
					}
				}
			}
			if at >= 0 {
				n.Members[at].Value = v
				return nil
			}
			if index != nil {
				index[key] = len(n.Members)
			}
			n.Members = append(n.Members, Member{key, v})
			return nil
		})
	default:
		return nil, r.fail("unexpected end")
	}
	if err != nil {
		return nil, err
	}
	return n, nil
}

// Get returns the value of an object's member, or nil.
func (n *Node) Get(name string) *Node {
	if n == nil {
		return nil
	}
	for i := range n.Members {
		if n.Members[i].Name == name {
			return n.Members[i].Value
		}
	}
	return nil
}

// Is reports whether n is there and of kind k.
func (n *Node) Is(k Kind) bool { return n != nil && n.Kind == k }

// Str returns a string member's content; ok is false when there is no such member or it is no string.
func (n *Node) Str(name string) (s string, ok bool) {
	m := n.Get(name)
	if !m.Is(StringKind) {
		return "", false
	}
	return m.Text, true
}

// Int returns the value of an integral number.
func (n *Node) Int() (v int64, ok bool) {
	if !n.Is(NumberKind) {
		return 0, false
	}
	v, err := strconv.ParseInt(n.Text, 10, 64)
	return v, err == nil
}

// Append writes n back as compact JSON.
func (n *Node) Append(dst []byte) []byte {
	switch n.Kind {
	case BoolKind:
		return strconv.AppendBool(dst, n.Bool)
	case NumberKind:
		return append(dst, n.Text...)
	case StringKind:
		return AppendString(dst, n.Text)
	case ArrayKind:
		dst = append(dst, '[')
		for i, e := range n.Elems {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = e.Append(dst)
		}
		return append(dst, ']')
	case ObjectKind:
		dst = append(dst, '{')
		for i := range n.Members {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = AppendString(dst, n.Members[i].Name)
			dst = append(dst, ':')
			dst = n.Members[i].Value.Append(dst)
		}
		return append(dst, '}')
	default:
		return append(dst, "null"...)
	}
}
