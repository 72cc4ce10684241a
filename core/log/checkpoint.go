package log

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
)

// Checkpoints are Kafka's text files: a version line "0", a line with the number of entries, and a line for each.

const (
	fileRecoveryPoint = "recovery-point-offset-checkpoint"
	fileLogStart      = "log-start-offset-checkpoint"
	fileCleaner       = "cleaner-offset-checkpoint"
	fileEpochs        = "leader-epoch-checkpoint"
	fileCleanShutdown = ".kafka_cleanshutdown"
	fileLock          = ".lock"
	fileMeta          = "meta.properties"
	fileTopicID       = "partition.metadata"

	maxCheckpointBytes = 64 << 20
)

// topicPartition names a partition in a checkpoint.
type topicPartition struct {
	topic     string
	partition int32
}

// parseCheckpoint splits the lines of a checkpoint into fields and hands each to line. A last line without its end is one that was torn:
// its number may have lost digits.
func parseCheckpoint(p []byte, fields int, line func(f []string) error) error {
	if len(p) > 0 && p[len(p)-1] != '\n' {
		return errors.New("checkpoint is cut off: its last line does not end")
	}
	sc := bufio.NewScanner(bytes.NewReader(p))
	sc.Buffer(nil, 64<<10)
	if !sc.Scan() {
		return errors.New("checkpoint is empty")
	}
	if v := strings.TrimSpace(sc.Text()); v != "0" {
		return fmt.Errorf("unrecognized checkpoint version %q", v)
	}
	if !sc.Scan() {
		return errors.New("checkpoint has no entry count")
	}
	want, err := strconv.Atoi(strings.TrimSpace(sc.Text()))
	if err != nil || want < 0 {
		return fmt.Errorf("malformed checkpoint entry count %q", sc.Text())
	}
	got := 0
	for sc.Scan() {
		f := strings.Fields(sc.Text())
		if len(f) == 0 {
			continue
		}
		if len(f) != fields {
			return fmt.Errorf("malformed checkpoint line %q", sc.Text())
		}
		if err := line(f); err != nil {
			return err
		}
		got++
	}
	if err := sc.Err(); err != nil {
		return fmt.Errorf("read checkpoint: %w", err)
	}
	if got != want {
		return fmt.Errorf("checkpoint has %d entries, its header says %d", got, want)
	}
	return nil
}

func parseOffsets(p []byte) (map[topicPartition]int64, error) {
	m := make(map[topicPartition]int64)
	err := parseCheckpoint(p, 3, func(f []string) error {
		part, err1 := strconv.ParseInt(f[1], 10, 32)
		off, err2 := strconv.ParseInt(f[2], 10, 64)
		if err1 != nil || err2 != nil || part < 0 || off < 0 {
			return fmt.Errorf("malformed checkpoint line %q", strings.Join(f, " "))
		}
		m[topicPartition{f[0], int32(part)}] = off
		return nil
	})
	return m, err
}

// sortedPartitions lists the keys by topic and number.
func sortedPartitions(m map[topicPartition]int64) []topicPartition {
	keys := make([]topicPartition, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b topicPartition) int {
		if c := strings.Compare(a.topic, b.topic); c != 0 {
			return c
		}
		return int(a.partition) - int(b.partition)
	})
	return keys
}

func formatOffsets(m map[topicPartition]int64) []byte {
	keys := sortedPartitions(m)
	b := fmt.Appendf(nil, "0\n%d\n", len(keys))
	for _, k := range keys {
		b = fmt.Appendf(b, "%s %d %d\n", k.topic, k.partition, m[k])
	}
	return b
}

// readOffsets reads an offset checkpoint; one that is absent is empty. One that is damaged is reported and ignored:
// every use of these offsets is safe without them, only slower or later.
func (d *Dir) readOffsets(name string) map[topicPartition]int64 {
	p, err := readFile(d.fs, d.file(name), maxCheckpointBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return map[topicPartition]int64{}
	}
	if err == nil && len(p) == 0 {
		return map[topicPartition]int64{} // Kafka creates them so
	}
	var m map[topicPartition]int64
	if err == nil {
		m, err = parseOffsets(p)
	}
	if err != nil {
		d.log.Warn("checkpoint is unreadable and ignored", "file", d.file(name), "err", err)
		return map[topicPartition]int64{}
	}
	return m
}

func (d *Dir) writeOffsets(name string, m map[topicPartition]int64) error {
	if err := replaceFile(d.fs, d.file(name), formatOffsets(m)); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}
