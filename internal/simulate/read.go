package simulate

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/groupgate/groupgate/internal/decisionlog"
	"github.com/groupgate/groupgate/internal/policy"
)

// maxLine bounds a line; a decision has some 300 bytes.
const maxLine = 1 << 20

// byteOrderMark is what Windows puts before a text.
const byteOrderMark = "\ufeff"

// Read replays the decisions of a log, or of a table with the header group,account,trigger, also compressed by gzip.
// name is that of the file, for messages.
func (s *Simulation) Read(name string, in io.Reader) error {
	buffered := bufio.NewReaderSize(in, maxLine)
	if magic, _ := buffered.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		unzipped, err := gzip.NewReader(buffered)
		if err != nil {
			return fmt.Errorf("%s: unpack it with gzip: %w", name, err)
		}
		buffered = bufio.NewReaderSize(unzipped, maxLine)
	}
	if mark, _ := buffered.Peek(len(byteOrderMark)); string(mark) == byteOrderMark {
		_, _ = buffered.Discard(len(byteOrderMark)) // they are in the buffer
	}
	if isHeading(firstLine(buffered)) {
		if err := s.readTable(name, buffered); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	}
	if err := s.readLog(name, buffered); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// firstLine returns the first line without reading it, as far as it fits into the buffer.
func firstLine(in *bufio.Reader) string {
	for {
		text, err := in.Peek(in.Buffered() + 1)
		if line, _, ended := bytes.Cut(text, []byte("\n")); ended || err != nil {
			return string(line)
		}
	}
}

func (s *Simulation) readLog(name string, in *bufio.Reader) error {
	for number := 1; ; number++ {
		text, err := in.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			s.malformed(name, number, fmt.Errorf("it has more than %d bytes", maxLine))
			for errors.Is(err, bufio.ErrBufferFull) {
				_, err = in.ReadSlice('\n')
			}
		case len(bytes.TrimSpace(text)) > 0:
			s.addLine(name, number, string(text))
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}

func (s *Simulation) addLine(name string, number int, line string) {
	recorded, err := decisionlog.Parse(line)
	switch {
	case errors.Is(err, decisionlog.ErrNotDecision):
		s.report.Skipped.OtherLines++
	case err != nil:
		s.malformed(name, number, err)
	default:
		s.Add(&recorded)
	}
}

func (s *Simulation) malformed(name string, number int, err error) {
	if s.report.Skipped.Malformed++; s.report.Skipped.Malformed <= maxNamed {
		s.report.Malformed = append(s.report.Malformed, Malformed{File: name, Line: number, Error: err.Error()})
	}
}

// Columns of a table. The first three are required.
var columns = []string{"group", "account", "trigger", "app", "groupType", "time"}

// isHeading reports whether a line is that of a table.
func isHeading(line string) bool {
	names, err := csv.NewReader(strings.NewReader(line)).Read()
	return err == nil && slices.Contains(names, "group") && slices.Contains(names, "account")
}

func (s *Simulation) readTable(name string, in io.Reader) error {
	if s.options.Before == nil {
		return errors.New("a table has no verdicts: say what to compare with by --against")
	}
	table := csv.NewReader(in)
	table.ReuseRecord = true
	heading, err := table.Read()
	if err != nil {
		return err
	}
	heading = slices.Clone(heading)
	for _, column := range columns[:3] {
		if !slices.Contains(heading, column) {
			return fmt.Errorf("the header has no column %s: want group,account,trigger", column)
		}
	}
	for i, column := range heading {
		if slices.Contains(heading[:i], column) {
			return fmt.Errorf("column %s comes twice", column)
		}
		if !slices.Contains(columns, column) {
			return fmt.Errorf("the header has an unknown column %q: use %s", column, strings.Join(columns, ", "))
		}
	}
	app := s.app
	if app == "" {
		switch only, err := s.plain.now.App(""); {
		case err == nil:
			app = only.Object().Key()
		case !slices.Contains(heading, "app"):
			return fmt.Errorf("the table has no column app: %w", err)
		}
	}
	for {
		cells, err := table.Read()
		var syntax *csv.ParseError
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.As(err, &syntax) && errors.Is(syntax.Err, csv.ErrQuote) && syntax.Line > syntax.StartLine:
			// What follows the quote, perhaps all of the table, was taken for one cell.
			return fmt.Errorf("line %d: a quote is opened and not closed: write it twice if it belongs to an id, "+
				"within quotes", syntax.StartLine)
		case errors.As(err, &syntax):
			s.malformed(name, syntax.StartLine, syntax.Err)
			continue
		case err != nil:
			return err
		}
		if err := s.addRow(app, heading, cells); err != nil {
			line, _ := table.FieldPos(0)
			s.malformed(name, line, err)
		}
	}
}

// addRow replays one row. An empty cell that is not required is as if the column were not there.
func (s *Simulation) addRow(app string, heading, cells []string) error {
	r := decisionlog.Recorded{Decision: decisionlog.Decision{App: app, Time: s.options.At}}
	for i, cell := range cells {
		var err error
		switch column := heading[i]; {
		case column == "group":
			r.Group = cell
		case column == "account":
			r.Account = cell
		case column == "trigger":
			r.Trigger, err = decisionlog.ParseTrigger(cell)
		case cell == "":
		case column == "app":
			r.App = cell
		case column == "groupType":
			if r.GroupType = policy.ParseGroupType(cell); r.GroupType == policy.TypeUnknown && cell != "Unknown" {
				err = fmt.Errorf("%q: want Work, Public, Meeting, AVChatRoom or Community", cell)
			}
		case column == "time":
			if r.Time, err = time.Parse(time.RFC3339, cell); err != nil {
				err = fmt.Errorf("%q: want RFC 3339", cell)
			}
		}
		if err != nil {
			return fmt.Errorf("column %s is %w", heading[i], err)
		}
	}
	if r.Group == "" || r.Account == "" || r.App == "" {
		return errors.New("group, account or app is empty")
	}
	s.Add(&r)
	return nil
}
