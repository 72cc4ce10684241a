package mysql

import "strings"

// statementKind tells what a statement of the binlog means for us.
type statementKind byte

const (
	stmtOther statementKind = iota
	stmtBegin
	stmtCommit
	stmtRollback
	stmtXAStart // rows of an XA transaction follow
	stmtXA      // its end, or what became of a prepared one
	stmtDDL     // tables may have changed
	stmtTruncate
	stmtSavepoint
)

// words reads identifiers and keywords from the start of a statement; comments are passed over.
type words struct{ s string }

func (w *words) space() {
	for {
		w.s = strings.TrimLeft(w.s, " \t\r\n")
		switch {
		case strings.HasPrefix(w.s, "/*"):
			end := strings.Index(w.s, "*/")
			if end < 0 {
				w.s = ""
				return
			}
			if strings.HasPrefix(w.s, "/*!") || strings.HasPrefix(w.s, "/*M!") { // what is inside is executed
				in := strings.TrimLeft(w.s[strings.IndexByte(w.s, '!')+1:end], "0123456789")
				w.s = in + " " + w.s[end+2:]
				continue
			}
			w.s = w.s[end+2:]
		case strings.HasPrefix(w.s, "-- "), strings.HasPrefix(w.s, "#"):
			end := strings.IndexByte(w.s, '\n')
			if end < 0 {
				w.s = ""
				return
			}
			w.s = w.s[end+1:]
		default:
			return
		}
	}
}

// next returns the next word, unquoted; quoted tells that it cannot be a keyword. Any other character is a word of its own.
func (w *words) next() (word string, quoted bool) {
	w.space()
	if w.s == "" {
		return "", false
	}
	if q := w.s[0]; q == '`' || q == '"' {
		var sb strings.Builder
		for i := 1; i < len(w.s); i++ {
			if w.s[i] == q {
				if i+1 < len(w.s) && w.s[i+1] == q {
					sb.WriteByte(q)
					i++
					continue
				}
				w.s = w.s[i+1:]
				return sb.String(), true
			}
			sb.WriteByte(w.s[i])
		}
		w.s = ""
		return sb.String(), true
	}
	i := 0
	for i < len(w.s) && (w.s[i] == '_' || w.s[i] == '$' || w.s[i] >= '0' && w.s[i] <= '9' || w.s[i]|0x20 >= 'a' && w.s[i]|0x20 <= 'z' || w.s[i] >= 0x80) {
		i++
	}
	i = max(i, 1)
	word, w.s = w.s[:i], w.s[i:]
	return word, false
}

// keyword returns the next word in upper case, "" when it is quoted.
func (w *words) keyword() string {
	s, quoted := w.next()
	if quoted {
		return ""
	}
	return strings.ToUpper(s)
}

// classify tells what a statement is. For TRUNCATE it returns the table's name, with "" for the current schema.
func classify(sql string) (kind statementKind, schema, table string) {
	w := words{sql}
	switch w.keyword() {
	case "BEGIN":
		return stmtBegin, "", ""
	case "START":
		if w.keyword() == "TRANSACTION" {
			return stmtBegin, "", ""
		}
	case "COMMIT":
		return stmtCommit, "", ""
	case "ROLLBACK":
		if w.keyword() == "TO" {
			return stmtSavepoint, "", ""
		}
		return stmtRollback, "", ""
	case "SAVEPOINT", "RELEASE":
		return stmtSavepoint, "", ""
	case "XA":
		switch w.keyword() {
		case "START", "BEGIN":
			return stmtXAStart, "", ""
		}
		return stmtXA, "", ""
	case "TRUNCATE":
		name, quoted := w.next()
		if !quoted && strings.EqualFold(name, "TABLE") {
			name, _ = w.next()
		}
		if dot, _ := w.next(); dot == "." {
			schema = name
			name, _ = w.next()
		}
		return stmtTruncate, schema, name
	case "ALTER", "RENAME":
		return stmtDDL, "", ""
	case "CREATE", "DROP":
		switch k := w.keyword(); k {
		case "TEMPORARY", "USER", "ROLE", "FUNCTION", "PROCEDURE", "TRIGGER", "EVENT", "VIEW", "SERVER":
			return stmtOther, "", ""
		}
		return stmtDDL, "", ""
	}
	return stmtOther, "", ""
}
