package pages

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// Mermaid checks a diagram and returns its statements without the texts that people read. It knows the statements of
// flowchart, sequenceDiagram and stateDiagram-v2 that the pages use; another one, or another way to write one, is an
// error, also where mermaid would accept it.
func Mermaid(lines []string) (statements []string, err error) {
	var d *diagram
	var errs []error
	for i, line := range lines {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "%%") && !strings.HasPrefix(line, "%%{") {
			continue
		}
		if d == nil {
			if d = diagrams[strings.Fields(line)[0]]; d == nil || !d.first.MatchString(line) {
				return nil, fmt.Errorf("line %d: a diagram begins with flowchart LR (or TD, TB, RL, BT), "+
					"sequenceDiagram or stateDiagram-v2, not with %q", i+1, line)
			}
			statements = append(statements, line)
			continue
		}
		statement, err := d.statement(line)
		if err != nil {
			errs = append(errs, fmt.Errorf("line %d: %w", i+1, err))
		}
		statements = append(statements, statement)
	}
	switch {
	case d == nil || len(statements) < 2:
		errs = append(errs, errors.New("the diagram is empty"))
	case len(errs) == 0:
		errs = append(errs, nested(statements))
	}
	return statements, errors.Join(errs...)
}

// diagram is the grammar of a kind of diagrams.
type diagram struct {
	first      *regexp.Regexp
	statements []*regexp.Regexp
}

// The parts of statements. text is what people read; a quoted one may have anything but quotes, a plain one nothing
// that mermaid takes for syntax. Both leave out ";", which ends a statement, and "#", which begins an entity.
const (
	id     = `[A-Za-z][A-Za-z0-9_]*`
	quoted = `"(?P<text>[^"#;` + "`" + `]+)"`
	plain  = `(?P<text>[^"#;` + "`" + `()\[\]{}|<>]+)`
	rest   = `(?P<text>[^#;]+)`
	either = `(?:` + quoted + `|` + plain + `)`
	node   = id + `(?:\[\(` + either + `\)\]|\[\[` + either + `\]\]|\[` + either + `\]|\(\[` + either +
		`\]\)|\(\(` + either + `\)\)|\(` + either + `\)|\{\{` + either + `\}\}|\{` + either + `\})?`
	nodes = node + `(?: & ` + node + `)*`
	arrow = `(?:-->|---|-\.->|-\.-|==>|===|<-->|--o|--x)(?:\|` + either + `\|)?`
	state = `(?:` + id + `|\[\*\])`
)

func grammar(first string, statements ...string) *diagram {
	d := &diagram{first: regexp.MustCompile(`^` + first + `$`)}
	for _, s := range statements {
		d.statements = append(d.statements, regexp.MustCompile(`^`+s+`$`))
	}
	return d
}

var diagrams = map[string]*diagram{
	"flowchart": grammar(`flowchart (?:LR|RL|TD|TB|BT)`,
		nodes+`(?: `+arrow+` `+nodes+`)*`,
		`subgraph `+id+`(?:\[`+either+`\])?`,
		`direction (?:LR|RL|TD|TB|BT)`,
		`end`,
	),
	"sequenceDiagram": grammar(`sequenceDiagram`,
		`(?:participant|actor) `+id+`(?: as `+rest+`)?`,
		`autonumber`,
		`(?:activate|deactivate) `+id,
		id+`(?:->>|-->>|->|-->|-x|--x|-\)|--\))[+-]?`+id+`: ?`+rest,
		`Note (?:over `+id+`(?:,`+id+`)?|(?:left|right) of `+id+`): ?`+rest,
		`(?:alt|opt|loop|par|critical|break) `+rest,
		`(?:else|and|option)(?: `+rest+`)?`,
		`end`,
	),
	"stateDiagram-v2": grammar(`stateDiagram-v2`,
		state+` --> `+state+`(?: ?: ?`+rest+`)?`,
		`state `+quoted+` as `+id,
		`state `+id+` <<(?:choice|fork|join)>>`,
		`state `+id+` \{`,
		`\}`,
		id+`(?: ?: ?`+rest+`)?`,
		`note (?:left|right) of `+id+` ?: ?`+rest,
		`direction (?:LR|RL|TB|BT)`,
	),
}

// reserved are words that cannot be ids.
var reserved = regexp.MustCompile(
	`(?:^|[ &>|+-])(?:end|subgraph|graph|flowchart|class|click|style|default)(?:[\[({]|$| [&-]|:)`)

// statement returns a statement with "..." for its texts.
func (d *diagram) statement(line string) (string, error) {
	for _, form := range d.statements {
		at := form.FindStringSubmatchIndex(line)
		if at == nil {
			continue
		}
		shape, from := "", 0
		for group, name := range form.SubexpNames() {
			if begin := at[2*group]; name == "text" && begin >= from {
				shape, from = shape+line[from:begin]+"...", at[2*group+1]
			}
		}
		shape += line[from:]
		if line != "end" && reserved.MatchString(shape) {
			return line, fmt.Errorf("%q uses a reserved word as an id", line)
		}
		return shape, nil
	}
	return line, fmt.Errorf("%q is no statement that the pages use", line)
}

var opening = regexp.MustCompile(`^(subgraph|alt|opt|loop|par|critical|break) |\{$`)

// nested checks that what begins ends.
func nested(statements []string) error {
	var open []string
	for _, s := range statements {
		closing := ""
		switch {
		case opening.MatchString(s):
			open = append(open, s)
		case s == "end", s == "}":
			closing = s
		case strings.HasPrefix(s, "else"), strings.HasPrefix(s, "and"), strings.HasPrefix(s, "option"):
			word, _, _ := strings.Cut(s, " ")
			want := map[string]string{"else": "alt ", "and": "par ", "option": "critical "}[word]
			if want != "" && (len(open) == 0 || !strings.HasPrefix(open[len(open)-1], want)) {
				return fmt.Errorf("%q stands outside of %s", s, want)
			}
		}
		if closing == "" {
			continue
		}
		if len(open) == 0 || strings.HasSuffix(open[len(open)-1], "{") != (closing == "}") {
			return fmt.Errorf("a %q ends nothing", closing)
		}
		open = open[:len(open)-1]
	}
	if len(open) > 0 {
		return fmt.Errorf("%q does not end", open[len(open)-1])
	}
	return nil
}
