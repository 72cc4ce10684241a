package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// row is what one system reached at one measurement.
type row struct {
	what   string // "produce 1 KiB, 1 partition, lean client"
	system string // "moldau", "Apache Kafka 4.3.1"
	mode   string // durability, converter
	unit   string
	values []float64
	note   string // instead of values
}

// report gathers values; rows keep the order in which they were first seen.
type report struct {
	mu   sync.Mutex
	rows []*row
	gaps []string
}

func (r *report) find(what, system, mode, unit string) *row {
	i := slices.IndexFunc(r.rows, func(x *row) bool { return x.what == what && x.system == system && x.mode == mode })
	if i < 0 {
		r.rows = append(r.rows, &row{what: what, system: system, mode: mode, unit: unit})
		i = len(r.rows) - 1
	}
	return r.rows[i]
}

// add notes one value and shows it.
func (r *report) add(what, system, mode, unit string, v float64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	x := r.find(what, system, mode, unit)
	x.values = append(x.values, v)
	fmt.Fprintf(os.Stderr, "  %-48s %-34s %-26s %s %s\n", what, system, mode, number(v), unit)
}

// note puts words where there is no value to be had.
func (r *report) note(what, system, mode, words string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.find(what, system, mode, "").note = words
}

// gap tells of a measurement that did not run.
func (r *report) gap(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	g := fmt.Sprintf(format, args...)
	if !slices.Contains(r.gaps, g) {
		r.gaps = append(r.gaps, g)
	}
	fmt.Fprintln(os.Stderr, "  ! "+g)
}

func number(v float64) string {
	switch {
	case v >= 1000:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}

// markdown renders the machine, the table of medians and the gaps.
func (r *report) markdown(head string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var sb strings.Builder
	sb.WriteString(head + "\n| measurement | system | mode | median | lowest | highest | unit |\n|---|---|---|---:|---:|---:|---|\n")
	// Rows of one measurement stand together, in the order of their first values.
	var order []string
	for _, x := range r.rows {
		if !slices.Contains(order, x.what) {
			order = append(order, x.what)
		}
	}
	for _, what := range order {
		for _, x := range r.rows {
			if x.what != what {
				continue
			}
			if len(x.values) == 0 {
				fmt.Fprintf(&sb, "| %s | %s | %s | %s | | | |\n", x.what, x.system, x.mode, x.note)
				continue
			}
			fmt.Fprintf(&sb, "| %s | %s | %s | %s | %s | %s | %s |\n", x.what, x.system, x.mode, number(median(x.values)),
				number(slices.Min(x.values)), number(slices.Max(x.values)), x.unit)
		}
	}
	for _, g := range r.gaps {
		sb.WriteString("\nNot measured: " + g + "\n")
	}
	return sb.String()
}

// pivot renders medians with a column for each system and mode, and a line for each measurement.
func (r *report) pivot(head string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var columns, lines []string
	cells := map[[2]string]string{}
	for _, x := range r.rows {
		column, line := x.system+", "+x.mode, x.what+" ("+x.unit+")"
		if !slices.Contains(columns, column) {
			columns = append(columns, column)
		}
		if !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
		if len(x.values) > 0 {
			cells[[2]string{column, line}] = number(median(x.values))
		}
	}
	slices.Sort(columns) // whoever was first in a round
	slices.Reverse(columns)
	var sb strings.Builder
	sb.WriteString(head + "\n| measurement | " + strings.Join(columns, " | ") + " |\n|---|" + strings.Repeat("---:|", len(columns)) + "\n")
	for _, line := range lines {
		sb.WriteString("| " + line + " |")
		for _, column := range columns {
			sb.WriteString(" " + cells[[2]string{column, line}] + " |")
		}
		sb.WriteString("\n")
	}
	for _, g := range r.gaps {
		sb.WriteString("\nNot measured: " + g + "\n")
	}
	return sb.String()
}

// machine describes where the figures come from.
func machine() string {
	model, mem := "unknown processor", "unknown memory"
	for line := range strings.Lines(read("/proc/cpuinfo")) {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == "model name" {
			model = strings.TrimSpace(v)
			break
		}
	}
	for line := range strings.Lines(read("/proc/meminfo")) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "MemTotal:" {
			kb, _ := strconv.Atoi(f[1])
			mem = fmt.Sprintf("%.1f GiB of memory", float64(kb)/(1<<20))
		}
	}
	kernel, _ := exec.Command("uname", "-sr").Output()
	return fmt.Sprintf("%d cores (%s), %s, %s, %s", runtime.NumCPU(), model, mem, bytes.TrimSpace(kernel), runtime.Version())
}

func read(file string) string { b, _ := os.ReadFile(file); return string(b) }

// rss returns a process's resident memory in MB.
func rss(pid int) float64 {
	for line := range strings.Lines(read(fmt.Sprintf("/proc/%d/status", pid))) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "VmRSS:" {
			kb, _ := strconv.Atoi(f[1])
			return float64(kb) / 1024
		}
	}
	return 0
}
