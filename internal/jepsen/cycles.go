package jepsen

import (
	"slices"
	"strings"
)

// cycles finds transactions that depend on each other in a circle: by what they read of each other (G1c), and, which is allowed, by the
// order of what they wrote (G0).
func (a *analysis) cycles() {
	nodes := map[*Op]int{}
	var ops []*Op
	node := func(o *Op) int {
		if i, ok := nodes[o]; ok {
			return i
		}
		nodes[o] = len(ops)
		ops = append(ops, o)
		return len(ops) - 1
	}
	var reads, writes [][2]int
	a.polled(func(o *Op, key int, p Pair) {
		if w := a.writes[version{key, p.Value}]; w != nil && w.op != o && o.Outcome == OK && o.Kind == KindTxn && w.op.Kind == KindTxn {
			reads = append(reads, [2]int{node(w.op), node(o)})
		}
	})
	for key, order := range a.order {
		var prev *Op
		for _, off := range order {
			for _, v := range a.logs[key][off] {
				w := a.writes[version{key, v}]
				if w == nil || w.op.Kind != KindTxn {
					continue
				}
				if prev != nil && prev != w.op {
					writes = append(writes, [2]int{node(prev), node(w.op)})
				}
				prev = w.op
			}
		}
	}
	for _, c := range components(len(ops), reads) {
		a.found("G1c", "%s", describe(ops, c))
	}
	for _, c := range components(len(ops), writes) {
		a.found("G0", "%s", describe(ops, c))
	}
}

func describe(ops []*Op, c []int) string {
	var l []string
	for _, i := range c[:min(len(c), 4)] {
		l = append(l, ops[i].String())
	}
	return strings.Join(l, " <-> ")
}

// components returns the strongly connected components of more than one node (Tarjan's algorithm, without recursion).
func components(n int, edges [][2]int) [][]int {
	out := make([][]int, n)
	for _, e := range edges {
		out[e[0]] = append(out[e[0]], e[1])
	}
	var (
		result  [][]int
		index   = make([]int, n) // 0: not seen yet
		low     = make([]int, n)
		onStack = make([]bool, n)
		stack   []int
		next    = 1
	)
	type frame struct{ node, edge int }
	for root := range n {
		if index[root] != 0 {
			continue
		}
		call := []frame{{root, 0}}
		for len(call) > 0 {
			f := &call[len(call)-1]
			v := f.node
			if f.edge == 0 && index[v] == 0 {
				index[v], low[v] = next, next
				next++
				stack, onStack[v] = append(stack, v), true
			}
			if f.edge < len(out[v]) {
				w := out[v][f.edge]
				f.edge++
				if index[w] == 0 {
					call = append(call, frame{w, 0})
				} else if onStack[w] {
					low[v] = min(low[v], index[w])
				}
				continue
			}
			call = call[:len(call)-1]
			if len(call) > 0 {
				p := call[len(call)-1].node
				low[p] = min(low[p], low[v])
			}
			if low[v] != index[v] {
				continue
			}
			i := slices.Index(stack, v)
			if len(stack)-i > 1 {
				result = append(result, slices.Clone(stack[i:]))
			}
			for _, w := range stack[i:] {
				onStack[w] = false
			}
			stack = stack[:i]
		}
	}
	return result
}
